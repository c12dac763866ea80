"""``x[1:, ..., None, -1]``: the slice with steps, by numpy's rules, as TensorFlow encodes it.

Each position of ``begin``, ``end`` and ``strides`` is one item of the index; bits of the masks
say which items are an ellipsis, a new axis, a single element (``shrink``), or open at an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from tfc.dialects.tfc.shape import IdentityOp, ReshapeOp, ReverseOp, SliceOp
from tfc.dims import Dim, Expr, at_least, maximum
from tfc.errors import GraphError
from tfc.graph.emit import Emitter, clamp


@dataclass(frozen=True)
class Span:
    """The elements taken along one axis: ``size`` of them, from ``start``, each ``stride``-th."""

    start: Dim
    size: Dim
    stride: int
    backwards: bool = False
    single: bool = False
    """Whether the axis is dropped from the result."""


def slice_by(
    emit: Emitter,
    x: SSAValue,
    begin: SSAValue,
    end: SSAValue,
    strides: SSAValue,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> SSAValue:
    """Emit the slice that the node's inputs and masks describe."""
    extents = emit.shape(x)
    first, last, steps = emit.dims(begin), emit.dims(end), emit.ints(strides)
    spans: list[Span] = []
    shape: list[Dim] = []
    items = len(first)
    taking = items - bin((ellipsis_mask | new_axis_mask) & ((1 << items) - 1)).count("1")
    if taking > len(extents):
        raise GraphError(f"'tfc.slice': {taking} indices for a tensor of rank {len(extents)}")
    if not ellipsis_mask:
        items, ellipsis_mask = items + 1, 1 << items  # what is not indexed is taken whole
    for k in range(items):
        bit = 1 << k
        if ellipsis_mask & bit:
            for n in extents[len(spans) : len(spans) + len(extents) - taking]:
                spans.append(Span(0, n, 1))
                shape.append(n)
        elif new_axis_mask & bit:
            shape.append(1)
        elif shrink_axis_mask & bit:
            spans.append(_single(first[k], extents[len(spans)], len(spans)))
        else:
            low = None if begin_mask & bit else first[k]
            high = None if end_mask & bit else last[k]
            spans.append(span(low, high, steps[k], extents[len(spans)]))
            shape.append(spans[-1].size)
    return _take(emit, x, spans, shape)


def span(begin: Dim | None, end: Dim | None, stride: int, extent: Dim) -> Span:
    """What ``begin:end:stride`` takes of an axis of ``extent`` elements."""
    if stride == 0:
        raise GraphError("'tfc.slice': expected a step other than 0")
    if stride > 0:
        low = 0 if begin is None else clamp(_from_front(begin, extent), 0, extent)
        high = extent if end is None else clamp(_from_front(end, extent), 0, extent)
        return Span(low, _count(high - low, stride), stride)
    low = extent - 1 if begin is None else clamp(_from_front(begin, extent), -1, extent - 1)
    high = -1 if end is None else clamp(_from_front(end, extent), -1, extent - 1)
    size = _count(low - high, -stride)
    return Span(low + (size - 1) * stride if size != 0 else 0, size, -stride, backwards=True)


def _single(index: Dim, extent: Dim, axis: int) -> Span:
    where = _from_front(index, extent)
    if isinstance(where, int) and (where < 0 or (isinstance(extent, int) and where >= extent)):
        raise GraphError(f"'tfc.slice': index {index} is out of range for axis {axis} with size {extent}")
    return Span(where, 1, 1, single=True)


def _from_front(index: Dim, extent: Dim) -> Dim:
    negative = index < 0 if isinstance(index, int) else all(c < 0 for _, c in index.terms)
    return index + extent if negative else index


def _count(distance: Dim, step: int) -> Dim:
    count = (distance + (step - 1)) // step
    if at_least(count, 0):
        return count
    return max(count, 0) if not isinstance(count, Expr) else maximum(count, 0)


def _take(emit: Emitter, x: SSAValue, spans: Sequence[Span], shape: Sequence[Dim]) -> SSAValue:
    extents = emit.shape(x)
    if any((s.start, s.size, s.stride) != (0, n, 1) for s, n in zip(spans, extents, strict=True)):
        starts, sizes = [s.start for s in spans], [s.size for s in spans]
        x = emit(SliceOp(x, starts, sizes, [s.stride for s in spans]))
    if turned := [k for k, s in enumerate(spans) if s.backwards and s.size != 1]:
        x = emit(ReverseOp(x, turned))
    return emit(ReshapeOp(x, shape) if emit.shape(x) != tuple(shape) else IdentityOp(x))
