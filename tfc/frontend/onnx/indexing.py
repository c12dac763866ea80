"""Operators that pick or surround elements: slice, gather, pad, triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.dynamic import DynamicPadOp, DynamicSliceOp
from tfc.dialects.tfc.elementwise import AddOp, MulOp
from tfc.dialects.tfc.gather import GatherElementsOp, GatherOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.shape import BandPartOp, PadOp, ReverseOp
from tfc.dialects.tfc.types import element, is_unsigned, shape_of
from tfc.dims import Dim, at_least, maximum, product
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    cast,
    concat,
    constant,
    constant_array,
    extent,
    ints,
    like,
    reshape,
    splat,
    squeeze,
    take,
)


@onnx_op("Slice", since=1)
def slice_by_attributes(node: Node) -> SSAValue:
    starts, ends = node.attr("starts"), node.attr("ends")
    axes = node.attr("axes", list(range(len(starts))))
    return _slice(node, starts, ends, axes, [1] * len(starts))


@onnx_op("Slice", since=10)
def slice_by_operands(node: Node) -> SSAValue:
    starts, ends = node.dims(1), node.dims(2)
    if starts is None or ends is None:
        return _dynamic_slice(node)
    given = node.get(3) is not None
    axes = node.known_ints(3, "axes") if given else list(range(len(starts)))
    steps = node.known_ints(4, "steps") if node.get(4) is not None else [1] * len(starts)
    return _slice(node, starts, ends, axes, steps)


def _slice(
    node: Node,
    starts: Sequence[Dim],
    ends: Sequence[Dim],
    axes: Sequence[int],
    steps: Sequence[int],
) -> SSAValue:
    x = node[0]
    if not len(starts) == len(ends) == len(axes) == len(steps):
        node.fail("expected as many starts, ends, axes and steps")
    if any(s == 0 for s in steps):
        node.fail("expected steps other than 0")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = node.normal_axis(axis, node.rank(0))
        size = shape_of(x)[axis]
        bounds = _bound(start, size, step), _bound(end, size, step)
        if bounds[0] is None or bounds[1] is None:
            if any(s < 0 for s in steps):
                node.fail(
                    f"a slice from {start} to {end} of an extent {size} is not known to be in range"
                )
            return _dynamic_slice(node)
        first, last = bounds[0], bounds[1]
        if step < 0:  # count from the other end
            x = node.make(ReverseOp(x, [axis]))
            first, last, step = size - 1 - first, size - 1 - last, -step
        count = maximum((last - first + (step - 1)) // step, 0)
        x = take(node.emit, x, axis, first if count != 0 else 0, count, step)
    return x


def _bound(position: Dim, size: Dim, step: int) -> Dim | None:
    """A slice's bound clamped as numpy does, from 0 to size (from -1 to size - 1 backwards)."""
    if not at_least(position, 0):
        if not at_least(-1, position):
            return None
        position = maximum(position + size, 0 if step > 0 else -1)
        return position if step > 0 or at_least(position, 0) or isinstance(size, int) else None
    limit = size if step > 0 else size - 1
    return limit if at_least(position, limit) else position + limit - maximum(position, limit)


def _dynamic_slice(node: Node) -> SSAValue:
    """A slice whose bounds are computed, brought to one entry for each axis."""
    rank, count = node.rank(0), node.shape(1)[0]
    axes = list(range(rank))
    if node.get(3) is not None:
        axes = [node.normal_axis(a, rank) for a in node.known_ints(3, "axes")]
    elif isinstance(count, int):
        axes = axes[:count]
    full = np.iinfo(np.int64).max

    def spread(operand: int, otherwise: int) -> SSAValue:
        whole = ints(node.emit, [otherwise] * rank)
        if node.get(operand) is None:
            return whole
        given = cast(node.emit, node[operand], i64)
        parts = [
            take(node.emit, given, 0, axes.index(d), 1)
            if d in axes
            else take(node.emit, whole, 0, d, 1)
            for d in range(rank)
        ]
        return concat(node.emit, parts, 0)

    return node.make(DynamicSliceOp(node[0], spread(1, 0), spread(2, full), spread(4, 1)))


def wrapped(node: Node, indices: SSAValue, size: SSAValue, known: Dim) -> SSAValue:
    """Indices that count from the front: ONNX lets negative ones count from the end."""
    array = constant_array(indices)
    if is_unsigned(element(indices)) or (
        array is not None and (array.size == 0 or array.min() >= 0)
    ):
        return indices
    if array is not None and isinstance(known, int):
        return constant(node.emit, np.where(array < 0, array + known, array), array.dtype)
    wide = broadcast(node.emit, size, shape_of(indices))
    negative = node.make(CompareOp("lt", indices, like(node.emit, 0, indices)))
    return node.make(SelectOp(negative, node.make(AddOp(indices, wide)), indices))


@onnx_op("Gather")
def gather(node: Node) -> SSAValue:
    axis = node.axis(node.rank(0))
    size = node.shape(0)[axis]
    array = node.array(1)
    if array is not None and array.ndim == 0:  # one position is a slice
        index = int(array)
        if isinstance(size, int) and not -size <= index < size:
            node.fail(f"index {index} is out of range for an extent of {size}")
        if index >= 0 or isinstance(size, int) or at_least(size + index, 0):
            start = index if index >= 0 else size + index
            return squeeze(node.emit, take(node.emit, node[0], axis, start, 1), [axis])
    bound = extent(node.emit, node[0], axis, element(node[1]))
    return node.make(GatherOp(node[0], wrapped(node, node[1], bound, size), axis))


@onnx_op("GatherElements")
def gather_elements(node: Node) -> SSAValue:
    axis = node.axis(node.rank(0))
    bound = extent(node.emit, node[0], axis, element(node[1]))
    indices = wrapped(node, node[1], bound, node.shape(0)[axis])
    return node.make(GatherElementsOp(node[0], indices, axis))


@onnx_op("GatherND")
def gather_nd(node: Node) -> SSAValue:
    """The indexed axes become one, and so do the positions along them."""
    batch, dims, where = node.attr("batch_dims", 0), node.shape(0), node.shape(1)
    depth = where[-1] if where else None
    if not isinstance(depth, int) or batch < 0 or batch + depth > len(dims) or batch >= len(where):
        node.fail(f"indices {list(where)} do not fit the input {list(dims)}")
    inner, outer = dims[batch : batch + depth], dims[:batch]
    total = splat(node.emit, 0, i64, where[:-1])
    for k in range(depth):
        one = squeeze(node.emit, take(node.emit, node[1], len(where) - 1, k, 1), [len(where) - 1])
        one = wrapped(node, one, extent(node.emit, node[0], batch + k, i64), inner[k])
        scaled = node.make(
            MulOp(
                total, broadcast(node.emit, extent(node.emit, node[0], batch + k, i64), where[:-1])
            )
        )
        total = node.make(AddOp(scaled, one))
    count = product(outer)
    data = reshape(node.emit, node[0], [count, product(inner), *dims[batch + depth :]])
    places = reshape(node.emit, total, [count, *where[batch:-1]])
    found = node.make(GatherOp(data, places, 1, 1))
    return reshape(node.emit, found, [*outer, *where[batch:-1], *dims[batch + depth :]])


@onnx_op("Trilu")
def trilu(node: Node) -> SSAValue:
    """A triangle: what lies above (below) the diagonal k stays, the rest becomes 0.

    ``k`` may be computed: the mask of a decoder begins at the diagonal after the tokens of its cache.
    """
    dims, upper = node.shape(0), bool(node.attr("upper"))
    if len(dims) < 2:
        node.fail(f"expected matrices, got {list(dims)}")
    given = node.get(1)
    known = [0] if given is None else node.dims(1)
    if known is not None and len(known) != 1:
        node.fail(f"expected one number k, got {known}")
    k = known[0] if known is not None else None
    if isinstance(k, int) and upper and k <= 0:
        return node.make(BandPartOp(node[0], -k, -1))
    if isinstance(k, int) and not upper and k >= 0:
        return node.make(BandPartOp(node[0], -1, k))
    rows = node.make(IotaOp(dims[-2:], i64, 0))
    columns = node.make(IotaOp(dims[-2:], i64, 1))
    if isinstance(k, int):
        diagonal = like(node.emit, k, rows)
    else:
        diagonal = broadcast(node.emit, reshape(node.emit, node[1], []), dims[-2:])
    shifted = node.make(AddOp(rows, diagonal))
    inside = node.make(CompareOp("ge" if upper else "le", columns, shifted))
    kept = broadcast(node.emit, inside, dims)
    return node.make(SelectOp(kept, node[0], like(node.emit, 0, node[0])))


@onnx_op("Pad", since=1)
def pad_by_attributes(node: Node) -> SSAValue:
    value = splat(node.emit, node.attr("value", 0.0), node.element())
    return _pad(node, node[0], node.attr("pads") or node.attr("paddings"), value)


@onnx_op("Pad", since=11)
def pad(node: Node) -> SSAValue:
    rank = node.rank(0)
    value = (
        reshape(node.emit, node[2], [])
        if node.get(2) is not None
        else splat(node.emit, 0, node.element())
    )
    amounts = node.dims(1)
    if amounts is None or not all(isinstance(d, int) for d in amounts):
        if node.get(3) is not None or node.attr("mode") != "constant":
            node.known_ints(1, "pads")
        low = take(node.emit, node[1], 0, 0, rank)
        return node.make(DynamicPadOp(node[0], value, low, take(node.emit, node[1], 0, rank, rank)))
    pads = node.known_ints(1, "pads")
    if node.get(3) is not None:
        axes = [node.normal_axis(a, rank) for a in node.known_ints(3, "axes")]
        if len(pads) != 2 * len(axes):
            node.fail(f"expected {2 * len(axes)} pads, got {len(pads)}")
        spread = dict(zip([*axes, *(a + rank for a in axes)], pads, strict=True))
        pads = [spread.get(i, 0) for i in range(2 * rank)]
    return _pad(node, node[0], pads, value)


def _pad(node: Node, x: SSAValue, pads: Sequence[int], value: SSAValue) -> SSAValue:
    rank, mode = len(shape_of(x)), node.attr("mode", "constant")
    if len(pads) != 2 * rank:
        node.fail(f"expected {2 * rank} pads, got {len(pads)}")
    for axis in range(rank):  # a negative amount cuts off
        low, high = min(pads[axis], 0), min(pads[axis + rank], 0)
        size = shape_of(x)[axis]
        if low + high:
            if isinstance(size, int) and size + low + high < 0:
                node.fail(f"pads cut {-low - high} from an extent of {size}")
            x = take(node.emit, x, axis, -low, size + low + high)
    amounts = [max(p, 0) for p in pads]
    if not any(amounts):
        return x
    if mode == "constant":
        return node.make(PadOp(x, value, amounts[:rank], amounts[rank:]))
    if mode not in ("reflect", "edge", "wrap"):
        node.fail(f"expected mode constant, reflect, edge or wrap, got {mode!r}")
    for axis in range(rank):
        x = _mirror(node, x, axis, amounts[axis], amounts[axis + rank], mode)
    return x


def _mirror(node: Node, x: SSAValue, axis: int, low: int, high: int, mode: str) -> SSAValue:
    """Pad one axis by elements of ``x`` itself: a gather whose positions are known."""
    size = shape_of(x)[axis]
    if not low and not high:
        return x
    if not isinstance(size, int) or size == 0:
        node.fail(f"mode {mode} needs a known extent of at least 1 along axis {axis}, got {size}")
    places = np.arange(-low, size + high)
    if mode == "edge":
        places = np.clip(places, 0, size - 1)
    elif mode == "wrap":
        places = places % size
    else:
        period = max(2 * size - 2, 1)
        places = np.abs((places + size - 1) % period - (size - 1)) if size > 1 else places * 0
    return node.make(GatherOp(x, constant(node.emit, places, np.int64), axis))
