"""Rules for what `kernel` says of lanes and rows: splat, mask, outer product, reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from xdsl.ir import Operation

from tfc.codegen.cpu.arith import combine
from tfc.codegen.cpu.ir import Code, Kind, constant_int, literal, shape_of
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


def _dot_bytes(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.DotBytesOp), "the table says so"
    code, kind = t.code, shape_of(op.tile.type).kind
    size = min(kind.lanes, code.target.vector_bits // 32)
    part = Kind("i32", size)
    parts = range(0, kind.lanes, size)
    bytes_, row = shape_of(op.row.type).kind, t.text(op.row)
    rows = [
        code.bitcast(Kind("i8", 4 * size), _cut(code, bytes_, row, 4 * at, 4 * size), part) for at in parts
    ]
    step = _byte_step(code, part)
    columns = [code.bitcast(Kind("i8", 4), c, Kind("i32")) for c in t.rows(op.column)]
    prepared = [step.row(w) for w in rows]
    result: list[str] = []
    for column, tile in zip(columns, t.rows(op.tile), strict=True):
        x = step.column(column)
        sums = [_cut(code, kind, tile, at, size) for at in parts]
        sums = [step.add(x, w, s) for w, s in zip(prepared, sums, strict=True)]
        result.append(_joined(code, part, sums))
    return result


def _cut(code: Code, kind: Kind, value: str, first: int, lanes: int) -> str:
    """Lanes ``first`` to ``first + lanes`` of a vector."""
    if lanes == kind.lanes:
        return value
    return code.shuffle(kind, value, "poison", range(first, first + lanes))


def _joined(code: Code, kind: Kind, parts: Sequence[str]) -> str:
    """One vector of 2**n vectors."""
    while len(parts) > 1:
        both = range(2 * kind.lanes)
        parts = [code.shuffle(kind, x, y, both) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        kind = Kind(kind.element, 2 * kind.lanes)
    return parts[0]


class _Bytes:
    """Four products a lane, of bytes: by shifts and multiplications, as any machine can."""

    def __init__(self, code: Code, kind: Kind) -> None:
        self.code, self.kind = code, kind

    def row(self, w: str) -> Sequence[str]:
        """What is made of a row of the panel, once: its signed bytes."""
        up = [self._shift("shl", w, 24 - 8 * j) for j in range(4)]
        return [self._shift("ashr", u, 24) for u in up]

    def column(self, x: str) -> Sequence[str]:
        """What is made of four unsigned bytes of ``x``, for all lanes."""
        code = self.code
        ones = [code.op(f"and i32 {code.op(f'lshr i32 {x}, {8 * j}')}, 255") for j in range(4)]
        return [code.splat(self.kind, o) for o in ones]

    def add(self, x: Sequence[str], w: Sequence[str], total: str) -> str:
        """``total`` and the products."""
        for a, b in zip(x, w, strict=True):
            total = multiply_add(self.code, self.kind, a, b, total)
        return total

    def _shift(self, name: str, value: str, by: int) -> str:
        return self.code.op(f"{name} {self.kind.text} {value}, {literal(self.kind, by)}") if by else value


class _Pairs(_Bytes):
    """The same by an instruction that multiplies pairs of 16-bit numbers and adds two products."""

    NAMES: ClassVar = {128: "sse2.pmadd.wd", 256: "avx2.pmadd.wd", 512: "avx512.pmaddw.d.512"}

    def row(self, w: str) -> Sequence[str]:
        short = Kind("i16", 2 * self.kind.lanes)
        eight = literal(short, 8)
        code, halves = self.code, self.code.bitcast(self.kind, w, Kind("i16", 2 * self.kind.lanes))
        low = code.op(f"shl {short.text} {halves}, {eight}")
        return [code.op(f"ashr {short.text} {v}, {eight}") for v in (low, halves)]

    def column(self, x: str) -> Sequence[str]:
        code, short = self.code, Kind("i16", 2 * self.kind.lanes)
        low = code.op(f"and i32 {x}, 16711935")
        high = code.op(f"and i32 {code.op(f'lshr i32 {x}, 8')}, 16711935")
        return [code.bitcast(self.kind, code.splat(self.kind, v), short) for v in (low, high)]

    def add(self, x: Sequence[str], w: Sequence[str], total: str) -> str:
        code, short = self.code, Kind("i16", 2 * self.kind.lanes)
        name = f"llvm.x86.{self.NAMES[32 * self.kind.lanes]}"
        code.module.declare(name, self.kind.text, [short.text] * 2)
        for a, b in zip(x, w, strict=True):
            two = code.call(name, self.kind, [(short, a), (short, b)])
            total = code.op(f"add {self.kind.text} {total}, {two}")
        return total


class _Quads(_Bytes):
    """The same by one instruction."""

    def row(self, w: str) -> Sequence[str]:
        return [self.code.bitcast(self.kind, w, Kind("i8", 4 * self.kind.lanes))]

    def column(self, x: str) -> Sequence[str]:
        wide = self.code.splat(self.kind, x)
        return [self.code.bitcast(self.kind, wide, Kind("i8", 4 * self.kind.lanes))]

    def add(self, x: Sequence[str], w: Sequence[str], total: str) -> str:
        code, four = self.code, Kind("i8", 4 * self.kind.lanes)
        name = f"llvm.x86.avx512.vpdpbusd.{32 * self.kind.lanes}"
        code.module.declare(name, self.kind.text, [self.kind.text, four.text, four.text])
        return code.call(name, self.kind, [(self.kind, total), (four, x[0]), (four, w[0])])


def _byte_step(code: Code, kind: Kind) -> _Bytes:
    """The fastest way that the target has for vectors of ``kind``."""
    target, bits = code.target, 32 * kind.lanes
    if target.arch != "x86_64" or bits not in _Pairs.NAMES:
        return _Bytes(code, kind)
    return _Quads(code, kind) if target.dots_bytes else _Pairs(code, kind)


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


def _join(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.JoinOp), "the table says so"
    code, low, high = t.code, t.text(op.low), t.text(op.high)
    kind = shape_of(op.low.type).kind
    if kind.lanes:
        return code.shuffle(kind, low, high, range(2 * kind.lanes))
    pair = Kind(kind.element, 2)
    return code.insert(pair, code.insert(pair, "poison", low, 0), high, 1)


RULES: dict[type[Operation], Rule] = {
    kernel.HalfOp: _half,
    kernel.JoinOp: _join,
    kernel.LanesOp: _lanes,
    kernel.MaskOp: _mask,
    kernel.SplatOp: _splat,
    kernel.RowOp: _row,
    kernel.TransposeOp: _transpose,
    kernel.TileOp: _tile,
    kernel.OuterOp: _outer,
    kernel.DotBytesOp: _dot_bytes,
    kernel.ReduceLanesOp: _reduce_lanes,
}

