"""Sorting: in which order the elements along an axis stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float64Type,
    IntegerAttr,
    UnitAttr,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import operand_def, opt_prop_def, prop_def, result_def

from tfc.dialects.tfc.arithmetic import ShiftLeftOp, ShiftRightOp
from tfc.dialects.tfc.base import Emit, Sample, TensorOp, flat, float_range, tfc_op
from tfc.dialects.tfc.constant import IotaOp, splat, splat_like
from tfc.dialects.tfc.control import WhileOp
from tfc.dialects.tfc.elementwise import AndOp, BitcastOp, NotOp, OrOp, XorOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherElementsOp
from tfc.dialects.tfc.merge import MergeRunsOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.radix import RadixPassOp
from tfc.dialects.tfc.transfer import memory_of
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    dtype_of,
    element,
    is_float,
    is_unsigned,
    shape_of,
    tensor_type,
)
from tfc.errors import require

RUN = 1 << 17
"""Elements that passes over bits sort at once: what they read and write stays in the second cache or the third."""

SHORT = 32
"""Rows up to this length are merged: counters for all values of some bits would take longer than the elements."""

LOWER = (1 << 32) - 1
"""The bits of the lower half of an i64."""


@tfc_op
class ArgsortOp(TensorOp):
    """The places of the elements along ``axis`` in ascending order, or in descending order.

    Equal elements keep their order, and so do -0 and 0; a NaN counts as larger than every number.

    (C1) ``axis`` is one of the dims, and its extent is a number below ``2**30``.

    It sorts integers whose upper half is the key and whose lower half the place: on a CPU long rows by passes over
    some bits of the key, in runs of `RUN` elements that are merged then; on a GPU, and short rows, by merging alone, as
    a loop over ``log2(n)`` passes. Keys of 64 bits are sorted by their lower halves first, then by the upper.

    Source: ``tf.argsort``.
    """

    name = "tfc.argsort"
    x = operand_def(Tensor)
    axis = prop_def(IntegerAttr.constr(i64))
    descending = opt_prop_def(UnitAttr)
    result = result_def(Tensor)
    assembly_format = "$x `along` $axis (`descending` $descending^)? attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, axis: int, descending: bool = False) -> None:
        properties = {"axis": IntegerAttr(axis, i64), "descending": UnitAttr() if descending else None}
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        shape, axis = shape_of(self.x), self.axis.value.data
        extent = shape[axis] if 0 <= axis < len(shape) else None
        holds = isinstance(extent, int) and extent < 2**30
        require(holds, self, "C1", f"an axis below {len(shape)} of an extent that is a number", f"{axis} of {list(shape)}")
        return [tensor_type(shape, i64)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [i64]

    def reference(self, *args: Array) -> Array:
        x = args[0].astype(np.float32) if args[0].dtype in HALVES else args[0]
        axis, size = self.axis.value.data, x.shape[self.axis.value.data]
        if not self.descending:
            return np.argsort(x, axis, kind="stable").astype(np.int64)
        # From behind, ascending: read backwards, equal elements stand in their own order.
        return np.flip(size - 1 - np.argsort(np.flip(x, axis), axis, kind="stable"), axis).astype(np.int64)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, axis = Formula(emit), self.axis.value.data
        rank = len(shape_of(self.x))
        order = [*(d for d in range(rank) if d != axis), axis]
        moved = f.transpose(self.x, order)
        found: SSAValue | None = None
        for keys in _keys(f, moved, self.descending is not None):
            turned = keys if found is None else emit(GatherElementsOp(keys, found, rank - 1))
            places = _places(emit, turned, memory_of(self) == "")
            found = places if found is None else emit(GatherElementsOp(found, places, rank - 1))
        assert found is not None, "there is a key"
        back = [order.index(d) for d in range(rank)]
        return [f.transpose(found, back)]

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(axis: int, descending: bool) -> Any:
            return lambda x: cls(x, axis, descending)

        x = float_range(3, 5, 2)
        special = np.array([[0.0, np.nan, -0.0, np.inf, -np.inf, 1.0, np.nan, -1.0, 0.0]], np.float32)
        ties = np.round(float_range(4, 9) * 2)
        arrays = [special, ties, ties.astype(np.float16), ties.astype(np.int8), (ties + 9).astype(np.uint32), ties > 0,
                  special.astype(np.float64)]  # fmt: skip
        low = np.array([[-128, 127, 0, -1, 127]], np.int8), np.array([[0, 2**64 - 1, 2**63]], np.uint64)
        out = [Sample(make(1, d), v) for v in (*arrays, *low) for d in (False, True)]
        return [*out, *(Sample(make(a, True), x) for a in (0, 1, 2)), Sample(make(1, False), x[:, :1]), Sample(make(1, True), x[:, :0])]


def _keys(f: Formula, x: SSAValue, descending: bool) -> list[SSAValue]:
    """Integers of 32 bits, held in i64, in whose order the elements shall stand: the last counts most."""
    kind = element(x)
    if is_float(kind):
        x = f.select(f.compare("eq", x, 0.0), f.zeros(x), x)  # -0 is 0
        x = f.select(f.compare("eq", x, x), x, float("nan"))  # one NaN, the positive one
        whole = i16 if isinstance(kind, Float16Type | BFloat16Type) else i64 if isinstance(kind, Float64Type) else i32
        bits = f.emit(BitcastOp(x, whole))
        # Negative numbers are larger the further they are from 0: all bits but the sign turn over.
        most = splat_like(f.emit, bits, (1 << (whole.width.data - 1)) - 1)
        x = f.select(f.compare("lt", bits, 0), f.emit(XorOp(bits, most)), bits)
    size = dtype_of(kind).itemsize
    if is_unsigned(kind) and size == 8:
        x = f.emit(BitcastOp(f.emit(XorOp(x, splat_like(f.emit, x, 1 << 63))), i64))
    x = f.cast(x, i64)
    if is_unsigned(kind) and size == 4:
        x = f.sub(x, 1 << 31)
    if descending:
        x = f.emit(NotOp(x))
    if size < 8:
        return [x]
    lower = f.sub(f.emit(AndOp(x, splat_like(f.emit, x, LOWER))), 1 << 31)
    return [lower, f.emit(ShiftRightOp(x, splat_like(f.emit, x, 32)))]


def _places(emit: Emit, keys: SSAValue, on_cpu: bool) -> SSAValue:
    """The places of keys of 32 bits, sorted by key, and by place where keys are equal."""
    f, shape = Formula(emit), shape_of(keys)
    count, last = shape[-1], len(shape) - 1
    assert isinstance(count, int), "(C1)"
    upper = f.emit(ShiftLeftOp(keys, splat_like(emit, keys, 32)))
    packed = emit(OrOp(upper, emit(IotaOp(list(shape), i64, last))))
    start = 1
    if count > SHORT and on_cpu:
        packed, start = _in_runs(emit, packed, count), RUN
    if count > start:
        packed = _merged(emit, packed, count, start)
    return emit(AndOp(packed, splat_like(emit, packed, LOWER)))


def _in_runs(emit: Emit, x: SSAValue, count: int) -> SSAValue:
    """The rows of ``x`` in runs of `RUN`, each sorted by the upper halves, whose signs count."""
    sign = splat_like(emit, x, -1 << 63)
    x = emit(XorOp(x, sign))
    for shift, bits in ((32, 11), (43, 11), (54, 10)) if count > 4096 else ((32, 8), (40, 8), (48, 8), (56, 8)):
        x = emit(RadixPassOp(x, RUN, shift, bits))
    return emit(XorOp(x, sign))


def _merged(emit: Emit, x: SSAValue, count: int, first: int) -> SSAValue:
    """The rows of ``x``, which is sorted in runs of ``first``, sorted."""
    start = splat(emit, [], first, i32)
    types = [start.type, x.type]
    asked, body = Block(arg_types=types), Block(arg_types=types)
    more, inner = _into(asked), _into(body)
    _end(asked, [Formula(more).compare("lt", asked.args[0], count)])
    run, rows = body.args
    _end(body, [Formula(inner).add(run, run), inner(MergeRunsOp(rows, run))])
    loop = WhileOp([start, x], [], Region(asked), Region(body))
    emit(loop)
    return loop.results[1]


def _into(block: Block) -> Emit:
    def emit(op: Operation) -> SSAValue:
        block.add_op(op)
        return op.results[0]

    return emit


def _end(block: Block, values: Sequence[SSAValue]) -> None:
    block.add_op(YieldOp(values))
