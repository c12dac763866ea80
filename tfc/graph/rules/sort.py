"""Sorting: the order of the elements along an axis, and the largest of them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from tfc.dialects.tfc.elementwise import CastOp
from tfc.dialects.tfc.gather import GatherElementsOp
from tfc.dialects.tfc.shape import SliceOp
from tfc.dialects.tfc.sort import ArgsortOp
from tfc.dialects.tfc.types import element
from tfc.errors import GraphError
from tfc.graph.emit import Deferred, Emitter, rule


def _order(emit: Emitter, x: SSAValue, axis: int, descending: bool) -> SSAValue:
    if not isinstance(emit.shape(x)[axis], int):
        raise Deferred("the extent of the axis that is sorted")
    return emit(ArgsortOp(x, axis, descending))


@rule("Argsort", elements=lambda x, axis, descending: [i32])
def argsort(emit: Emitter, x: SSAValue, axis: int, descending: bool) -> SSAValue:
    """The places of the elements in order."""
    return emit(CastOp(_order(emit, x, emit.axis(x, axis), descending), i32))


@rule("Sort")
def sort(emit: Emitter, x: SSAValue, axis: int, descending: bool) -> SSAValue:
    """The elements in order."""
    axis = emit.axis(x, axis)
    return emit(GatherElementsOp(x, _order(emit, x, axis, descending), axis))


@rule("TopKV2", elements=lambda x, k: [element(x), i32])
def top_k(emit: Emitter, x: SSAValue, k: SSAValue) -> Sequence[SSAValue]:
    """The largest elements along the last axis, and their places."""
    shape, (count,) = emit.shape(x), emit.ints(k)
    if not shape:
        raise GraphError("'tfc.top_k': expected an input of rank 1 or more, got a scalar")
    size, axis = shape[-1], len(shape) - 1
    if isinstance(size, int) and not 0 <= count <= size:
        raise GraphError(f"'tfc.top_k': expected at most {size} elements, as many as the last axis has, got k = {count}")
    order = _order(emit, x, axis, True)
    places = emit(SliceOp(order, [0] * len(shape), [*shape[:-1], count], [1] * len(shape)))
    return [emit(GatherElementsOp(x, places, axis)), emit(CastOp(places, i32))]
