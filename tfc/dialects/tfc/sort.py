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
    IntegerType,
    UnitAttr,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import operand_def, opt_prop_def, prop_def, result_def

from tfc.dialects.tfc.base import Emit, Sample, TensorOp, flat, float_range, tfc_op
from tfc.dialects.tfc.constant import ConstantOp, IotaOp, splat, splat_like
from tfc.dialects.tfc.control import WhileOp
from tfc.dialects.tfc.elementwise import AndOp, BitcastOp, NotOp, OrOp, XorOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.shape import PadOp, SliceOp
from tfc.dialects.tfc.types import (
    Array,
    LiteralAttr,
    Tensor,
    dtype_of,
    element,
    is_bool,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.errors import require


@tfc_op
class ArgsortOp(TensorOp):
    """The places of the elements along ``axis`` in ascending order, or in descending order.

    Equal elements keep their order, and so do -0 and 0; a NaN counts as larger than every number.

    (C1) ``axis`` is one of the dims, and its extent is a number below ``2**30``.

    It is made of Batcher's bitonic network, as a loop over its ``log2(n) (log2(n) + 1) / 2`` stages: in each,
    every element is compared with one other, and all at once.

    Source: ``tf.argsort``, K. Batcher, "Sorting networks and their applications", 1968.
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
        shape = shape_of(moved)
        count = shape[-1]
        assert isinstance(count, int), "(C1)"
        size = 1 << max(count - 1, 0).bit_length()
        keys = _padded(f, _keys(f, moved, self.descending is not None), size - count)
        places = emit(IotaOp([*shape[:-1], size], i32, rank - 1))
        if size > 1:
            places = _network(emit, keys, places, size)
        found = emit(SliceOp(places, [0] * rank, list(shape), [1] * rank)) if size > count else places
        back = [order.index(d) for d in range(rank)]
        return [f.transpose(f.cast(found, i64), back)]

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


def _keys(f: Formula, x: SSAValue, descending: bool) -> SSAValue:
    """Integers in the order that the elements shall have."""
    kind = element(x)
    if is_float(kind):
        x = f.select(f.compare("eq", x, 0.0), f.zeros(x), x)  # -0 is 0
        x = f.select(f.compare("eq", x, x), x, float("nan"))  # one NaN, the positive one
        whole = i16 if isinstance(kind, Float16Type | BFloat16Type) else i64 if isinstance(kind, Float64Type) else i32
        bits = f.emit(BitcastOp(x, whole))
        # Negative numbers are larger the further they are from 0: all bits but the sign turn over.
        most = splat_like(f.emit, bits, (1 << (whole.width.data - 1)) - 1)
        x = f.select(f.compare("lt", bits, 0), f.emit(XorOp(bits, most)), bits)
    elif is_bool(kind):
        x = f.cast(x, i8)
    return f.emit(NotOp(x)) if descending else x


def _padded(f: Formula, keys: SSAValue, more: int) -> SSAValue:
    """With ``more`` of the largest key behind."""
    if not more:
        return keys
    kind = element(keys)
    assert isinstance(kind, IntegerType), "keys are integers"
    rank = len(shape_of(keys))
    largest = splat(f.emit, [], int(np.iinfo(dtype_of(kind)).max), kind)
    return f.emit(PadOp(keys, largest, [0] * rank, [*[0] * (rank - 1), more]))


def _stages(size: int) -> list[tuple[int, int]]:
    """Of each stage how long the runs are that it makes, and how far apart it compares."""
    runs = [1 << k for k in range(1, size.bit_length())]
    return [(run, run >> j) for run in runs for j in range(1, run.bit_length())]


def _network(emit: Emit, keys: SSAValue, places: SSAValue, size: int) -> SSAValue:
    """The places, sorted by key, and by place where keys are equal."""
    stages = _stages(size)
    start = splat(emit, [], 0, i32)
    types = [start.type, keys.type, places.type]
    asked, body = Block(arg_types=types), Block(arg_types=types)
    more = _into(asked)
    _end(asked, [Formula(more).compare("lt", asked.args[0], len(stages))])
    inner = _into(body)
    _end(body, _stage(inner, stages, size, *body.args))
    loop = WhileOp([start, keys, places], [], Region(asked), Region(body))
    emit(loop)
    return loop.results[2]


def _stage(
    emit: Emit, stages: Sequence[tuple[int, int]], size: int, k: SSAValue, keys: SSAValue, places: SSAValue
) -> list[SSAValue]:
    f, shape = Formula(emit), shape_of(keys)
    last = len(shape) - 1
    lane = emit(IotaOp([size], i32, 0))

    def parameter(which: int) -> SSAValue:
        values = np.array([s[which] for s in stages], np.int32)
        one = emit(GatherOp(emit(ConstantOp(LiteralAttr.of(values))), k, 0))
        return f.broadcast(one, [size], [])

    def clear(bit: SSAValue) -> SSAValue:
        return f.compare("eq", emit(AndOp(lane, bit)), 0)

    run, distance = parameter(0), parameter(1)
    partner = emit(XorOp(lane, distance))
    other, there = (emit(GatherOp(v, partner, last)) for v in (keys, places))
    tied = emit(AndOp(f.compare("eq", keys, other), f.compare("lt", places, there)))
    before = emit(OrOp(f.compare("lt", keys, other), tied))
    # The lower of two lanes keeps what comes first, in runs that ascend.
    turned = f.broadcast(emit(XorOp(clear(distance), clear(run))), shape, [last])
    kept = emit(XorOp(before, turned))
    return [f.add(k, 1), f.select(kept, keys, other), f.select(kept, places, there)]


def _into(block: Block) -> Emit:
    def emit(op: Operation) -> SSAValue:
        block.add_op(op)
        return op.results[0]

    return emit


def _end(block: Block, values: Sequence[SSAValue]) -> None:
    block.add_op(YieldOp(values))
