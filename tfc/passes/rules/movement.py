"""Rewrites of data movement: reshape, transpose, broadcast, slice, pad, concat, reverse, gather.

A chain of one kind becomes one operation, and one that moves nothing goes away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    IdentityOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.types import UNKNOWN_DIM, LiteralAttr, is_static, shape_of
from tfc.dims import Dim, at_least, names
from tfc.passes.rewriting import Emitter, Rewritten, producer, rule
from tfc.passes.rules.constants import constant, uniform

_UNKNOWN = next(iter(names(UNKNOWN_DIM)))


def equal_shapes(x: Sequence[Dim], y: Sequence[Dim]) -> bool:
    """Whether two shapes are surely the same: two unknown extents may differ."""
    if tuple(x) != tuple(y):
        return False
    return all(isinstance(d, int) or _UNKNOWN not in names(d) for d in x)


def squeezed(shape: Sequence[Dim]) -> list[Dim]:
    """The extents that are not 1."""
    return [d for d in shape if d != 1]


@rule
def drop_identity(op: IdentityOp, emit: Emitter) -> Rewritten:
    """identity(x) -> x"""
    return op.x


@rule
def compose_transposes(op: TransposeOp, emit: Emitter) -> Rewritten:
    """transpose(transpose(x, p), q) -> transpose(x, [p[d] for d in q])"""
    if (inner := producer(op.x, TransposeOp)) is None:
        return None
    p = inner.perm.get_values()
    return emit(TransposeOp(inner.x, [p[d] for d in op.perm.get_values()]))


@rule
def drop_transpose(op: TransposeOp, emit: Emitter) -> Rewritten:
    """transpose(x, [0, 1, ...]) -> x"""
    perm = op.perm.get_values()
    return op.x if list(perm) == list(range(len(perm))) else None


@rule
def compose_reshapes(op: ReshapeOp, emit: Emitter) -> Rewritten:
    """reshape(reshape(x)) -> reshape(x)"""
    inner = producer(op.x, ReshapeOp)
    return emit(ReshapeOp(inner.x, op.shape.data)) if inner else None


@rule
def drop_reshape(op: ReshapeOp, emit: Emitter) -> Rewritten:
    """reshape(x, shape(x)) -> x"""
    return op.x if equal_shapes(shape_of(op.x), op.shape.data) else None


@rule
def compose_broadcasts(op: BroadcastOp, emit: Emitter) -> Rewritten:
    """broadcast(broadcast(x, a), b) -> broadcast(x, [b[d] for d in a])"""
    if (inner := producer(op.x, BroadcastOp)) is None:
        return None
    dims = op.dims.get_values()
    return emit(BroadcastOp(inner.x, op.shape.data, [dims[d] for d in inner.dims.get_values()]))


@rule
def drop_broadcast(op: BroadcastOp, emit: Emitter) -> Rewritten:
    """broadcast(x, shape(x)) -> x;  one that only adds dims of extent 1 -> reshape"""
    source, shape = shape_of(op.x), op.shape.data
    if equal_shapes(source, shape):
        return op.x
    kept = [shape[d] for d in op.dims.get_values()]
    if equal_shapes(source, kept) and squeezed(shape) == squeezed(kept):
        return emit(ReshapeOp(op.x, shape))
    return None


@rule
def broadcast_of_unit_dims(op: BroadcastOp, emit: Emitter) -> Rewritten:
    """broadcast(reshape(x)) -> broadcast(x), where the reshape only adds or drops extents of 1"""
    if (inner := producer(op.x, ReshapeOp)) is None:
        return None
    source, middle, dims = shape_of(inner.x), inner.shape.data, op.dims.get_values()
    if squeezed(source) != squeezed(middle) or not equal_shapes(squeezed(source), squeezed(middle)):
        return None
    taken = iter([d for d, n in zip(dims, middle, strict=True) if n != 1])
    places = [-1 if n == 1 else next(taken) for n in source]
    if (filled := _fill(places, len(op.shape.data))) is None:
        return None
    return emit(BroadcastOp(inner.x, op.shape.data, filled))


def _fill(places: list[int], rank: int) -> list[int] | None:
    """Rising places below ``rank``: those given, and any for the -1 between; None if too tight."""
    filled = list(places)
    after = rank
    for k in reversed(range(len(places))):
        filled[k] = after - 1 if places[k] == -1 else places[k]
        if filled[k] < 0 or filled[k] >= after:
            return None
        after = filled[k]
    return filled


@rule
def movement_of_splat(
    op: BroadcastOp | ReshapeOp | TransposeOp | SliceOp | ReverseOp, emit: Emitter
) -> Rewritten:
    """reshape(splat c) -> splat c, and so for whatever else moves elements"""
    source = producer(op.x, ConstantOp)
    shape = shape_of(op.result)
    if source is None or not source.value.data.is_splat or not is_static(shape):
        return None
    array = source.value.data.array
    if array.size == 0:
        return None
    sizes = [d for d in shape if isinstance(d, int)]
    return emit(ConstantOp(LiteralAttr.splat(array.reshape(-1)[0], array.dtype, sizes)))


@rule
def drop_slice(op: SliceOp, emit: Emitter) -> Rewritten:
    """slice(x, all of x) -> x"""
    if any(s != 1 for s in op.strides.get_values()) or any(s != 0 for s in op.starts.data):
        return None
    return op.x if equal_shapes(shape_of(op.x), op.sizes.data) else None


@rule
def compose_slices(op: SliceOp, emit: Emitter) -> Rewritten:
    """slice(slice(x)) -> slice(x)"""
    if (inner := producer(op.x, SliceOp)) is None:
        return None
    steps = inner.strides.get_values()
    starts = [a + b * s for a, b, s in zip(inner.starts.data, op.starts.data, steps, strict=True)]
    strides = [s * t for s, t in zip(steps, op.strides.get_values(), strict=True)]
    return emit(SliceOp(inner.x, starts, op.sizes.data, strides))


@rule
def slice_of_concat(op: SliceOp, emit: Emitter) -> Rewritten:
    """slice(concat(x, y)) -> slice(x), where it lies in x"""
    if (inner := producer(op.x, ConcatOp)) is None:
        return None
    axis = inner.axis.value.data
    start, size, stride = op.starts.data[axis], op.sizes.data[axis], op.strides.get_values()[axis]
    if not isinstance(start, int) or not isinstance(size, int) or size == 0:
        return None
    end = start + (size - 1) * stride + 1
    for x in inner.xs:
        extent = shape_of(x)[axis]
        if start >= 0 and at_least(extent, end):
            starts = [start if d == axis else b for d, b in enumerate(op.starts.data)]
            return emit(SliceOp(x, starts, op.sizes.data, list(op.strides.get_values())))
        if not isinstance(extent, int) or start < extent:
            return None
        start, end = start - extent, end - extent
    return None


@rule
def drop_pad(op: PadOp, emit: Emitter) -> Rewritten:
    """pad(x, nothing) -> x"""
    amounts = (*op.low.get_values(), *op.high.get_values(), *op.interior.get_values())
    return None if any(amounts) else op.x


@rule
def compose_pads(op: PadOp, emit: Emitter) -> Rewritten:
    """pad(pad(x, c), c) -> pad(x, c), where neither pads between elements"""
    inner = producer(op.x, PadOp)
    if inner is None or any((*op.interior.get_values(), *inner.interior.get_values())):
        return None
    if op.value is not inner.value:
        x, y = uniform(op.value), uniform(inner.value)
        if x is None or y is None or x.tobytes() != y.tobytes():
            return None
    low = [a + b for a, b in zip(op.low.get_values(), inner.low.get_values(), strict=True)]
    high = [a + b for a, b in zip(op.high.get_values(), inner.high.get_values(), strict=True)]
    return emit(PadOp(inner.x, op.value, low, high))


@rule
def drop_concat(op: ConcatOp, emit: Emitter) -> Rewritten:
    """concat(x) -> x;  concat(x, empty) -> x"""
    axis = op.axis.value.data
    xs = [x for x in op.xs if shape_of(x)[axis] != 0] or list(op.xs[:1])
    if len(xs) == len(op.xs) > 1:
        return None
    return xs[0] if len(xs) == 1 else emit(ConcatOp(xs, axis))


@rule
def flatten_concat(op: ConcatOp, emit: Emitter) -> Rewritten:
    """concat(concat(x, y), z) -> concat(x, y, z), where the inner one has no other use"""
    flat: list[SSAValue] = []
    for x in op.xs:
        inner = producer(x, ConcatOp)
        same = inner is not None and inner.axis == op.axis and x.has_one_use()
        flat += inner.xs if inner is not None and same else [x]
    return emit(ConcatOp(flat, op.axis.value.data)) if len(flat) > len(op.xs) else None


@rule
def drop_reverse(op: ReverseOp, emit: Emitter) -> Rewritten:
    """reverse(x, axes of extent 1) -> x;  reverse(reverse(x)) -> reverse(x)"""
    shape, axes = shape_of(op.x), set(op.axes.get_values())
    moving = {d for d in axes if shape[d] != 1}
    if not moving:
        return op.x
    if inner := producer(op.x, ReverseOp):
        return emit(ReverseOp(inner.x, sorted(moving ^ set(inner.axes.get_values()))))
    return emit(ReverseOp(op.x, sorted(moving))) if moving != axes else None


@rule
def gather_of_constant(op: GatherOp, emit: Emitter) -> Rewritten:
    """gather(x, [k, k+s, k+2s, ...]) -> slice(x), then the reshape to the shape of the indices"""
    indices = constant(op.indices)
    if indices is None or op.batch_dims.value.data or not 0 < indices.size <= 4096:
        return None
    shape, axis = shape_of(op.x), op.axis.value.data
    flat = indices.reshape(-1).astype(np.int64)
    steps = np.diff(flat)
    stride = int(steps[0]) if steps.size else 1
    extent = shape[axis]
    inside = isinstance(extent, int) and flat[0] >= 0 and flat[-1] < extent
    if stride < 1 or (steps != stride).any() or not inside:
        return None
    starts: list[Dim] = [0] * len(shape)
    sizes, strides = list(shape), [1] * len(shape)
    starts[axis], sizes[axis], strides[axis] = int(flat[0]), int(flat.size), stride
    cut = emit(SliceOp(op.x, starts, sizes, strides))
    return emit(ReshapeOp(cut, shape_of(op.result)))


RULES = (
    drop_identity, compose_transposes, drop_transpose, compose_reshapes, drop_reshape,
    compose_broadcasts, drop_broadcast, broadcast_of_unit_dims, movement_of_splat,
    drop_slice, compose_slices, slice_of_concat, drop_pad, compose_pads,
    drop_concat, flatten_concat, drop_reverse, gather_of_constant,
)  # fmt: skip
