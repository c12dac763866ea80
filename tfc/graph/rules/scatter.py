"""Changes of some rows or elements of a variable, and counting up.

    ScatterAdd(ref, indices, updates)         ref[indices[i..]] += updates[i..]
    ScatterNdAdd(ref, indices, updates)       ref[indices[i.., 0], indices[i.., 1], ..] += updates[i..]

All updates of one row count: sums, products and extremes take all of them, of those that replace the
last one stays. An index outside is an error of the run. A new value is computed for the whole variable,
in place: rows that no index names keep theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, UnrankedTensorType, i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.control import AssertOp
from tfc.dialects.tfc.elementwise import (
    AddOp,
    AndOp,
    CastOp,
    CompareOp,
    DivOp,
    MaxOp,
    MinOp,
    MulOp,
    SelectOp,
    SubOp,
)
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, SliceOp
from tfc.dialects.tfc.state import AssignOp, ReadOp
from tfc.dialects.tfc.types import ResourceType, dtype_of, element, shape_of
from tfc.dims import Dim
from tfc.errors import GraphError
from tfc.graph.dtypes import of_element
from tfc.graph.emit import Deferred, Emitter, element_at, rule
from tfc.graph.rules.state import read
from tfc.graph.shape import TensorShape

Change = Callable[[Emitter, SSAValue, SSAValue, SSAValue], SSAValue]
"""The new rows from the old ones, the row that each update is of, and the updates."""


def _summed(op: type[AddOp] | type[SubOp]) -> Change:
    def change(emit: Emitter, old: SSAValue, ids: SSAValue, updates: SSAValue) -> SSAValue:
        return emit(op(old, emit(SegmentSumOp(updates, ids, shape_of(old)[0]))))

    return change


def _reduced(kind: str, start: Callable[[Any], Any], op: Any) -> Change:
    """Combine the old rows with the product or extreme of the updates of each."""

    def change(emit: Emitter, old: SSAValue, ids: SSAValue, updates: SSAValue) -> SSAValue:
        of = element(old)
        wide = (shape_of(old)[0], *shape_of(updates))  # [row, update, ...]
        own = emit(BroadcastOp(_is_of(emit, old, ids), wide, [0, 1]))
        every = emit(BroadcastOp(updates, wide, range(1, len(wide))))
        kept = emit(SelectOp(own, every, emit.full(start(np.dtype(dtype_of(of))), of, wide)))
        return emit(op(old, emit(ReduceOp(kept, kind, [1]))))

    return change


def _replaced(emit: Emitter, old: SSAValue, ids: SSAValue, updates: SSAValue) -> SSAValue:
    """The last update of each row."""
    shape, pairs = shape_of(old), (shape_of(old)[0], shape_of(ids)[0])
    if pairs[1] == 0:
        return old
    number = emit(AddOp(emit(IotaOp(pairs, i64, 1)), emit.full(1, i64, pairs)))
    own = emit(SelectOp(_is_of(emit, old, ids), number, emit.full(0, i64, pairs)))
    last = emit(ReduceOp(own, "max", [1]))  # 0: none
    any_ = emit(CompareOp("gt", last, emit.full(0, i64, pairs[:1])))
    place = emit(SubOp(emit(MaxOp(last, emit.full(1, i64, pairs[:1]))), emit.full(1, i64, pairs[:1])))
    rows = emit(GatherOp(updates, place, 0))
    return emit(SelectOp(emit(BroadcastOp(any_, shape, [0])), rows, old))


def _is_of(emit: Emitter, old: SSAValue, ids: SSAValue) -> SSAValue:
    """Whether each update is of each row: ``[row, update]``."""
    pairs = (shape_of(old)[0], shape_of(ids)[0])
    return emit(CompareOp("eq", emit(IotaOp(pairs, i64, 0)), emit(BroadcastOp(ids, pairs, [1]))))


def _least(kind: Any) -> Any:
    return -math.inf if kind.kind == "f" else np.iinfo(kind).min


def _most(kind: Any) -> Any:
    return math.inf if kind.kind == "f" else np.iinfo(kind).max


def _one(_kind: Any) -> Any:
    return 1


CHANGES: dict[str, Change] = {
    "ScatterAdd": _summed(AddOp),
    "ScatterSub": _summed(SubOp),
    "ScatterMul": _reduced("prod", _one, MulOp),
    "ScatterDiv": _reduced("prod", _one, DivOp),
    "ScatterMin": _reduced("min", _most, MinOp),
    "ScatterMax": _reduced("max", _least, MaxOp),
    "ScatterUpdate": _replaced,
    "ScatterNdAdd": _summed(AddOp),
    "ScatterNdSub": _summed(SubOp),
    "ScatterNdUpdate": _replaced,
}


def _define(type_: str, change: Change, nd: bool) -> None:
    def emit_scatter(emit: Emitter, handle: SSAValue, indices: SSAValue, updates: SSAValue) -> SSAValue:
        if not isinstance(handle.type, ResourceType) or not isinstance(content := handle.type.content, TensorType):
            raise GraphError(f"'{type_}': expected a variable, got a tensor")
        if element(updates) != element(content):
            names = f"{of_element(element(content)).name}, got {of_element(element(updates)).name}"
            raise GraphError(f"'{type_}': expected updates of {names}")
        if any(isinstance(v.type, UnrankedTensorType) for v in (indices, updates)):
            raise Deferred("the shape of indices or updates", [content])
        shape, places = shape_of(content), shape_of(indices)
        depth = _depth(type_, shape, places) if nd else 1
        lead = places[:-1] if nd else places
        updates = _fitting(emit, type_, updates, (*lead, *shape[depth:]), len(lead))
        indices = emit(CastOp(indices, i64)) if element(indices) != i64 else indices
        columns = [_column(emit, indices, k) for k in range(depth)] if nd else [_flat(emit, indices)]
        after = list(emit.after)
        if emit.strict:
            after = [_check(emit, type_, column, size, after) for column, size in zip(columns, shape, strict=False)]
        rows = math.prod(d for d in shape[:depth] if isinstance(d, int))
        old, token = emit.all(ReadOp(handle, after))
        flat = emit(ReshapeOp(old, [rows, *shape[depth:]])) if depth != 1 else old
        many = emit(ReshapeOp(updates, [*shape_of(columns[0]), *shape[depth:]]))
        new = change(emit, flat, _linear(emit, columns, shape), many)
        new = emit(ReshapeOp(new, shape)) if depth != 1 else new
        done = emit(AssignOp(handle, new, [*after, token]))
        emit.tokens[:] = [done]
        return read(emit, handle, [done]) if 0 in emit.used else old

    rule(type_, elements=lambda handle, *_: [element_at(handle)])(emit_scatter)


def _depth(type_: str, shape: Sequence[Dim], places: Sequence[Dim]) -> int:
    """How many dims an index of several numbers addresses."""
    depth = places[-1] if places else None
    if not isinstance(depth, int) or not 1 <= depth <= len(shape):
        message = f"'{type_}': expected indices of 1 to {len(shape)} numbers along the last dim"
        raise GraphError(f"{message}, got {TensorShape(list(places))}")
    return depth


def _fitting(emit: Emitter, type_: str, updates: SSAValue, wanted: Sequence[Dim], lead: int) -> SSAValue:
    """``updates`` of the shape ``wanted``; one number stands for all."""
    found = shape_of(updates)
    if not found:
        return emit(BroadcastOp(updates, wanted, []))
    if found != tuple(wanted):
        shapes = f"{TensorShape(list(wanted))}, got {TensorShape(list(found))}"
        raise GraphError(f"'{type_}': expected updates of shape {shapes}")
    return updates


def _flat(emit: Emitter, x: SSAValue) -> SSAValue:
    count: Dim = 1
    for d in shape_of(x):
        count = count * d
    return x if len(shape_of(x)) == 1 else emit(ReshapeOp(x, [count]))


def _column(emit: Emitter, indices: SSAValue, k: int) -> SSAValue:
    *lead, _ = shape_of(indices)
    starts = [*(0 for _ in lead), k]
    return _flat(emit, emit(SliceOp(indices, starts, [*lead, 1], [1] * len(starts))))


def _linear(emit: Emitter, columns: Sequence[SSAValue], shape: Sequence[Dim]) -> SSAValue:
    """The row that indices of several numbers address."""
    position = columns[0]
    for column, size in zip(columns[1:], shape[1:], strict=False):
        scaled = emit(MulOp(position, emit.full(size, i64, shape_of(column))))
        position = emit(AddOp(scaled, column))
    return position


def _check(emit: Emitter, type_: str, indices: SSAValue, size: Dim, after: Sequence[SSAValue]) -> SSAValue:
    """The token that all indices are in ``[0, size)``."""
    shape = shape_of(indices)
    inside = emit(CompareOp("ge", indices, emit.full(0, i64, shape)))
    below = emit(CompareOp("lt", indices, emit.full(size, i64, shape)))
    holds = emit(ReduceOp(emit(AndOp(inside, below)), "and", [0]))
    texts = [f"{type_}: expected indices in [0, {size}), got ", ""]
    return emit(AssertOp(holds, texts, [indices], after))


for _type, _change in CHANGES.items():
    _define(_type, _change, _type.startswith("ScatterNd"))


@rule("CountUpTo")
def count_up_to(emit: Emitter, handle: SSAValue, limit: int) -> SSAValue:
    """The number in a variable, which is then one more; an error of the run where it is ``limit``."""
    if not isinstance(handle.type, ResourceType) or shape_of(handle.type.content):
        raise GraphError("'CountUpTo': expected a variable of one number")
    of = element_at(handle)
    if not of_element(of).is_integer:
        raise GraphError(f"'CountUpTo': expected a variable of integers, got {of_element(of).name}")
    old, token = emit.all(ReadOp(handle, list(emit.after)))
    if not emit.strict:
        return old
    below = emit(CompareOp("lt", old, emit.constant(limit, of)))
    token = emit(AssertOp(below, [f"CountUpTo: reached the limit of {limit}"], [], [token]))
    emit.tokens[:] = [emit(AssignOp(handle, emit(AddOp(old, emit.constant(1, of))), [token]))]
    return old
