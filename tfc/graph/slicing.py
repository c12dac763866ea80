"""``x[...]``: numpy's indexing, as nodes.

    x[1:, ::-2]     slices          x[..., -1]      an ellipsis, a single element
    x[:, None]      a new axis      x[i]            i an integer tensor, known when the graph runs
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfc.errors import GraphError
from tfc.graph.dtypes import int32
from tfc.graph.node import Tensor
from tfc.graph.ops import constant, convert, is_tensor, name_scope, single
from tfc.graph.source import here, quoted

newaxis = None
_OPEN = slice(None)


def index(x: Any, key: Any, name: str | None = None) -> Tensor:
    """The node of ``x[key]``.

    Raises:
        GraphError: an index that numpy would take but that has no static result shape (a mask,
            a list of positions), or none at all.
    """
    items = list(key) if isinstance(key, tuple) else [key]
    if sum(i is Ellipsis for i in items) > 1:
        raise quoted(GraphError("an index can only have a single ellipsis ('...')"), here())
    chosen = [k for k, i in enumerate(items) if is_tensor(i)]
    with name_scope(name, "strided_slice", [x]) as scope:
        x = convert(x)
        if not chosen:
            return _strided(x, items, scope)
        rest = [_OPEN if k in chosen else i for k, i in enumerate(items)]
        taken = _strided(x, rest, None)
        return _gathered(taken, items, chosen, scope)


def _strided(x: Tensor, items: list[Any], name: str | None) -> Tensor:
    begin, end, strides = [], [], []
    masks = dict.fromkeys(("begin", "end", "ellipsis", "new_axis", "shrink_axis"), 0)
    for k, item in enumerate(items):
        low, high, step = 0, 0, 1
        if item is Ellipsis:
            masks["ellipsis"] |= 1 << k
        elif item is None:
            masks["new_axis"] |= 1 << k
        elif isinstance(item, slice):
            low, high, step = item.start, item.stop, 1 if item.step is None else item.step
            masks["begin"] |= (low is None) << k
            masks["end"] |= (high is None) << k
        else:
            low = _integer(item)
            high = low + 1
            masks["shrink_axis"] |= 1 << k
        begin.append(0 if low is None else low)
        end.append(0 if high is None else high)
        strides.append(step)
    attrs = {f"{k}_mask": v for k, v in masks.items()}
    bounds = [_bound(b, n) for b, n in ((begin, "stack"), (end, "stack_1"), (strides, "stack_2"))]
    return single("StridedSlice", [x, *bounds], name or "strided_slice", **attrs)


def _bound(values: list[Any], name: str) -> Tensor:
    if is_tensor(values):
        first = next(convert(v).dtype for v in values if is_tensor(v))
        return convert(values, first, name=name)
    return constant(np.array([_integer(v) for v in values], np.int32), name=name)


def _integer(item: Any) -> int:
    try:
        if not isinstance(item, bool | np.bool_):
            return item.__index__()
    except (AttributeError, TypeError):
        pass
    help = ""
    if isinstance(item, list | np.ndarray | bool):
        help = "tf.gather(x, [...]) takes a list of positions, tf.where a mask"
    message = f"an index is an integer, a slice, '...', None or an integer tensor, got {item!r}"
    raise quoted(GraphError(message, help=help), here())


def _gathered(x: Tensor, items: list[Any], chosen: list[int], name: str) -> Tensor:
    """The elements at positions that are tensors; the last axis first, so that others stay."""
    from tfc.graph.arrays import gather, shape, where

    for k in reversed(chosen):
        axis = _axis(x, items, k)
        at = convert(items[k])
        if not at.dtype.is_integer or at.shape.ndims not in (0, None):
            message = f"an index is a single integer, got '{at.name}' of {at.dtype.name} {at.shape}"
            raise quoted(GraphError(message, help="tf.gather takes many positions"), here())
        extent = shape(x, out_type=at.dtype)[axis]
        x = gather(x, where(at < 0, at + extent, at), axis=axis, name=name if k == chosen[0] else None)
    return x


def _axis(x: Tensor, items: list[Any], k: int) -> int:
    """The axis of ``x`` (the slice of all other items) that item ``k`` indexes."""
    before = items[:k]
    if Ellipsis not in before:
        return sum(i is None or isinstance(i, slice) or is_tensor(i) for i in before)
    return -sum(i is None or isinstance(i, slice) or is_tensor(i) for i in items[k:])


def strided_slice(
    input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0,
    ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0, name: str | None = None,
) -> Tensor:  # fmt: skip
    """``input_[begin:end:strides]`` along each axis; see TensorFlow for the masks."""
    with name_scope(name, "StridedSlice", [input_]) as scope:
        x, low, high = convert(input_), convert(begin, name="begin"), convert(end, name="end")
        if strides is None:
            strides = np.ones(low.shape.num_elements() or 0, np.int32)
        steps = convert(strides, None if is_tensor(strides) else int32, name="strides")
        return single(
            "StridedSlice", [x, low, high, steps], scope, begin_mask=begin_mask, end_mask=end_mask,
            ellipsis_mask=ellipsis_mask, new_axis_mask=new_axis_mask, shrink_axis_mask=shrink_axis_mask,
        )  # fmt: skip
