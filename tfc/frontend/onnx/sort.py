"""Operators that sort, and that change elements at computed places: TopK, ScatterND, ScatterElements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.elementwise import AddOp, MaxOp, MinOp, MulOp, SubOp
from tfc.dialects.tfc.gather import GatherElementsOp, GatherOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.sort import ArgsortOp
from tfc.dialects.tfc.types import is_static, shape_of
from tfc.dims import Dim, product
from tfc.frontend.onnx.indexing import wrapped
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.regions import loop
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    cast,
    extent,
    like,
    reshape,
    splat,
    squeeze,
    take,
    transpose,
)

COMBINE: dict[str, Callable[[SSAValue, SSAValue], Operation] | None] = {
    "none": None, "add": AddOp, "mul": MulOp, "max": MaxOp, "min": MinOp,
}  # fmt: skip
"""How an update meets what is there, by the name of the attribute ``reduction``."""


@onnx_op("TopK", since=1)
def largest_by_attribute(node: Node) -> Sequence[SSAValue]:
    return _top(node, node.attr("k"), True)


@onnx_op("TopK", since=10)
def largest(node: Node) -> Sequence[SSAValue]:
    (count,) = node.known_ints(1, "the number of elements")
    return _top(node, count, bool(node.attr("largest", 1)))


def _top(node: Node, count: int, descending: bool) -> Sequence[SSAValue]:
    """The first elements of the sorted axis, and their places."""
    axis = node.axis(node.rank(0), default=-1)
    size = node.shape(0)[axis]
    if not isinstance(size, int) or not 0 <= count <= size:
        node.fail(
            f"expected at most as many elements as the axis has, which is {size}, got {count}"
        )
    order = node.make(ArgsortOp(node[0], axis, descending))
    places = take(node.emit, order, axis, 0, count)
    return [node.make(GatherElementsOp(node[0], places, axis)), places]


@onnx_op("ScatterND", since=11)
def scatter_nd(node: Node) -> SSAValue:
    """The updates become rows, and what addresses them one number each."""
    shape, where = node.shape(0), node.shape(1)
    depth = where[-1] if where else None
    if not isinstance(depth, int) or not 1 <= depth <= len(shape):
        node.fail(f"expected indices with a last extent of 1 to {len(shape)}, got {list(where)}")
    lead, row = shape[:depth], shape[depth:]
    count = product(where[:-1])
    flat = reshape(node.emit, cast(node.emit, node[1], i64), [count, depth])
    columns = [squeeze(node.emit, take(node.emit, flat, 1, d, 1), [1]) for d in range(depth)]
    places = _addresses(node, columns, lead)
    data = reshape(node.emit, node[0], [product(lead), *row])
    updates = reshape(node.emit, node[2], [count, *row])
    return reshape(node.emit, _changed(node, data, places, updates), shape)


@onnx_op("Scatter", since=9)
@onnx_op("ScatterElements", since=11)
def scatter_elements(node: Node) -> SSAValue:
    """Every element is a row of its own."""
    shape, where = node.shape(0), node.shape(1)
    axis = node.axis(len(shape))
    columns: list[SSAValue] = []
    for d in range(len(shape)):
        here = cast(node.emit, node[1], i64) if d == axis else node.make(IotaOp(where, i64, d))
        columns.append(reshape(node.emit, here, [product(where)]))
    places = _addresses(node, columns, shape)
    data = reshape(node.emit, node[0], [product(shape)])
    updates = reshape(node.emit, node[2], [product(where)])
    return reshape(node.emit, _changed(node, data, places, updates), shape)


def _addresses(node: Node, columns: Sequence[SSAValue], extents: Sequence[Dim]) -> SSAValue:
    """Row-major addresses of positions, of which negative ones count from the end."""
    if not is_static(tuple(extents[1:])):
        node.fail(f"expected extents that are numbers, got {list(extents)}")
    total: SSAValue | None = None
    for d, (column, size) in enumerate(zip(columns, extents, strict=True)):
        bound = extent(node.emit, node[0], d, i64)
        place = wrapped(node, column, bound, size)
        if total is None:
            total = place
        else:
            total = node.make(AddOp(node.make(MulOp(total, like(node.emit, size, total))), place))
    assert total is not None, "there is at least one column"
    return total


def _changed(node: Node, data: SSAValue, places: SSAValue, updates: SSAValue) -> SSAValue:
    """The rows ``data`` after each of the updates in turn, so that the last of several wins."""
    reduction = node.attr("reduction", "none")
    reduction = reduction.decode() if isinstance(reduction, bytes) else reduction
    if reduction not in COMBINE:
        node.fail(f"expected a reduction of {', '.join(COMBINE)}, got {reduction!r}")
    combine, emit = COMBINE[reduction], node.emit
    turns = extent(emit, places, 0, i64)

    def body(i: SSAValue, rows: SSAValue) -> Sequence[SSAValue]:
        place, new = emit(GatherOp(places, i, 0)), emit(GatherOp(updates, i, 0))
        if combine is not None:
            new = emit(combine(emit(GatherOp(rows, place, 0)), new))
        return [emit(AddOp(i, splat(emit, 1, i64))), emit(UpdateRowOp(rows, place, new))]

    ask = lambda i, _: [emit(CompareOp("lt", i, turns))]  # noqa: E731
    return loop(emit, [splat(emit, 0, i64), data], ask, body)[1]


@onnx_op("ReverseSequence", since=10)
def reverse_sequence(node: Node) -> SSAValue:
    """The first elements of each batch entry in the opposite order."""
    emit, rank = node.emit, node.rank(0)
    time, batch = node.axis(rank, "time_axis"), node.axis(rank, "batch_axis", default=1)
    order = [batch, time, *(d for d in range(rank) if d not in (batch, time))]
    x = transpose(emit, node[0], order)
    shape = shape_of(x)[:2]
    lengths = broadcast(emit, reshape(emit, cast(emit, node[1], i64), [shape[0], 1]), shape)
    place = node.make(IotaOp(shape, i64, 1))
    turned = node.make(SubOp(node.make(SubOp(lengths, like(emit, 1, lengths))), place))
    inside = node.make(CompareOp("lt", place, lengths))
    found = node.make(GatherOp(x, node.make(SelectOp(inside, turned, place)), 1, 1))
    return transpose(emit, found, [int(d) for d in np.argsort(order)])
