"""Rules for what `kernel` says of lanes and rows: splat, mask, outer product, reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.ir import Operation

from tfc.codegen.cpu.arith import combine
from tfc.codegen.cpu.ir import Code, Kind, constant_int, shape_of
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value


def lane_numbers(kind: Kind) -> str:
    """The literal ``0, 1, 2, ...``."""
    return "<" + ", ".join(f"{kind.element} {i}" for i in range(kind.lanes)) + ">"


def _lanes(t: Translator, op: Operation) -> Value:
    return lane_numbers(shape_of(op.results[0].type).kind)


def _mask(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.MaskOp), "the table says so"
    lanes = shape_of(op.result.type).kind.lanes
    valid = t.text(op.valid)
    known = constant_int(valid)
    if known is not None:
        bits = ", ".join(f"i1 {'true' if i < known else 'false'}" for i in range(lanes))
        return f"<{bits}>"
    return prefix_mask(t.code, valid, lanes)


def prefix_mask(code: Code, valid: str, lanes: int) -> str:
    """The vector of truths whose first ``valid`` lanes are true; any integer will do."""
    # Comparing bytes costs one instruction for 64 lanes, where 64-bit ones cost eight.
    narrow = Kind("i8" if lanes < 128 else "i16", lanes)
    top = code.op(f"icmp slt i64 {valid}, {lanes}")
    low = code.op(f"select i1 {top}, i64 {valid}, i64 {lanes}")
    bottom = code.op(f"icmp sgt i64 {low}, 0")
    bound = code.op(f"select i1 {bottom}, i64 {low}, i64 0")
    short = code.op(f"trunc i64 {bound} to {narrow.element}")
    return code.op(
        f"icmp slt {narrow.text} {lane_numbers(narrow)}, {code.splat(narrow, short)}"
    )


def _splat(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.SplatOp), "the table says so"
    source, shape = shape_of(op.value.type), shape_of(op.result.type)
    value = t.text(op.value)
    if source.kind != shape.kind:
        value = t.code.splat(shape.kind, value)
    return [value] * shape.rows if shape.rows else value


def _row(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.RowOp), "the table says so"
    return t.rows(op.tile)[op.row.value.data]


def _tile(t: Translator, op: Operation) -> Value:
    return [t.text(o) for o in op.operands]


def _transpose(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.TransposeOp), "the table says so"
    return transposed(t.code, shape_of(op.tile.type).kind, t.rows(op.tile))


def transposed(code: Code, kind: Kind, rows: Sequence[str]) -> list[str]:
    """Columns of a square tile: blocks change places across the diagonal, halves first, then theirs."""
    rows, lanes = list(rows), range(kind.lanes)
    size = kind.lanes // 2
    while size:
        for first in (r for r in lanes if not r & size):
            x, y = rows[first], rows[first + size]
            low = [i if not i & size else kind.lanes + i - size for i in lanes]
            high = [i + size if not i & size else kind.lanes + i for i in lanes]
            rows[first] = code.shuffle(kind, x, y, low)
            rows[first + size] = code.shuffle(kind, x, y, high)
        size //= 2
    return rows


def _outer(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.OuterOp), "the table says so"
    code, shape = t.code, shape_of(op.tile.type)
    source = shape_of(op.column.type)
    column = t.rows(op.column)
    if not source.rows:
        column = [code.extract(source.kind, column[0], r) for r in range(shape.rows)]
    row = t.text(op.row)
    return [
        multiply_add(code, shape.kind, code.splat(shape.kind, scalar), row, sum_)
        for scalar, sum_ in zip(column, t.rows(op.tile), strict=True)
    ]


def multiply_add(code: Code, kind: Kind, x: str, y: str, z: str) -> str:
    """``x*y + z``, fused where the target does that at no cost."""
    if kind.is_float:
        return code.intrinsic("fmuladd", kind, [x, y, z])
    return code.op(f"add {kind.text} {code.op(f'mul {kind.text} {x}, {y}')}, {z}")


def _reduce_lanes(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.ReduceLanesOp), "the table says so"
    code, kind = t.code, shape_of(op.value.type).kind
    value = t.text(op.value)
    if kind.element == "i1" and op.kind.data in ("and", "or"):
        return code.intrinsic(f"vector.reduce.{op.kind.data}", kind, [value], result=kind.scalar)
    lanes = kind.lanes
    while lanes > 1:
        wide, half = Kind(kind.element, lanes), lanes // 2
        rest = code.extract(wide, value, lanes - 1) if lanes % 2 else ""
        low = code.shuffle(wide, value, "poison", range(half))
        high = code.shuffle(wide, value, "poison", range(half, 2 * half))
        narrow = Kind(kind.element, half)
        value = combine(code, op.kind.data, narrow, low, high)
        if rest:
            first = code.extract(narrow, value, 0)
            one = combine(code, op.kind.data, kind.scalar, first, rest)
            value = code.insert(narrow, value, one, 0)
        lanes = half
    return code.extract(Kind(kind.element, 1), value, 0)


def _half(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.HalfOp), "the table says so"
    kind, value = shape_of(op.value.type).kind, t.text(op.value)
    half, upper = kind.lanes // 2, op.upper.value.data
    if half == 1:
        return t.code.extract(kind, value, upper)
    return t.code.shuffle(kind, value, "poison", range(upper * half, (upper + 1) * half))


RULES: dict[type[Operation], Rule] = {
    kernel.HalfOp: _half,
    kernel.LanesOp: _lanes,
    kernel.MaskOp: _mask,
    kernel.SplatOp: _splat,
    kernel.RowOp: _row,
    kernel.TransposeOp: _transpose,
    kernel.TileOp: _tile,
    kernel.OuterOp: _outer,
    kernel.ReduceLanesOp: _reduce_lanes,
}

