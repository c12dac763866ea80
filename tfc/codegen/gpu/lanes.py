"""Rules for what `kernel` says of lanes and rows: a value's lanes stand side by side, so most only pick some.

A tile ``vector<r x c x T>`` is its ``r * c`` elements, row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import VectorType
from xdsl.ir import Operation, SSAValue

from tfc.codegen.cpu.arith import combine
from tfc.codegen.cpu.tiles import multiply_add
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value


def _columns(value: SSAValue) -> int:
    assert isinstance(value.type, VectorType), "the verifier excludes others"
    return value.type.get_shape()[-1]


def _given(values: list[str], as_: SSAValue) -> Value:
    """Lanes as the value of a type: a scalar's stands for itself."""
    return values if isinstance(as_.type, VectorType) else values[0]


def _lanes(t: Translator, op: Operation) -> Value:
    return [str(i) for i in range(t.shape(op.results[0].type).rows)]


def _mask(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.MaskOp), "the table says so"
    valid = t.text(op.valid)
    return [t.code.op(f"icmp slt i64 {i}, {valid}") for i in range(t.shape(op.result.type).rows)]


def _splat(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.SplatOp), "the table says so"
    values = t.rows(op.value)
    return values * (t.shape(op.result.type).rows // len(values))


def _row(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.RowOp), "the table says so"
    columns, row = _columns(op.tile), op.row.value.data
    return _given(t.rows(op.tile)[row * columns : (row + 1) * columns], op.result)


def _tile(t: Translator, op: Operation) -> Value:
    return [lane for row in op.operands for lane in t.rows(row)]


def _transpose(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.TransposeOp), "the table says so"
    side, values = _columns(op.tile), t.rows(op.tile)
    return [values[column * side + row] for row in range(side) for column in range(side)]


def _outer(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.OuterOp), "the table says so"
    kind, tile, row = t.shape(op.tile.type).kind, t.rows(op.tile), t.rows(op.row)
    return [
        multiply_add(t.code, kind, x, y, tile[r * len(row) + c])
        for r, x in enumerate(t.rows(op.column))
        for c, y in enumerate(row)
    ]


def _half(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.HalfOp), "the table says so"
    values, upper = t.rows(op.value), op.upper.value.data
    half = len(values) // 2
    return _given(values[upper * half : (upper + 1) * half], op.result)


def _join(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.JoinOp), "the table says so"
    return [*t.rows(op.low), *t.rows(op.high)]


def _reduce_lanes(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.ReduceLanesOp), "the table says so"
    kind, values = t.shape(op.value.type).kind, list(t.rows(op.value))
    while len(values) > 1:
        half = len(values) // 2
        pairs = zip(values[:half], values[half : 2 * half], strict=True)
        rest = values[2 * half :]
        values = [combine(t.code, op.kind.data, kind, x, y) for x, y in pairs]
        if rest:
            values[0] = combine(t.code, op.kind.data, kind, values[0], rest[0])
    return values[0]


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
    kernel.ReduceLanesOp: _reduce_lanes,
}
"""What each of them becomes on a GPU."""
