"""Sequences of tensors. Their lengths are known while importing, so they leave no trace in `tfc`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.types import element, element_of, shape_of
from tfc.frontend.onnx.elementwise import element_numbered
from tfc.frontend.onnx.node import Node, TensorSequence
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import concat, splat, squeeze, take, unsqueeze


@onnx_op("SequenceEmpty")
def empty(node: Node) -> TensorSequence:
    kind = (
        element_numbered(node, node.attr("dtype")) if node.has("dtype") else element_of(np.float32)
    )
    return TensorSequence((), kind)


@onnx_op("SequenceConstruct")
def construct(node: Node) -> TensorSequence:
    return TensorSequence(tuple(node.all()), node.element())


def _place(node: Node, operand: int, count: int, last: int) -> int:
    """A position from 0 to ``count`` - 1; ``last`` where the operand is left out."""
    if node.get(operand) is None:
        return last
    (place,) = node.known_ints(operand, "the position")
    if not -count <= place < count:
        node.fail(f"position {place} is outside of {count} places")
    return place % count


@onnx_op("SequenceInsert")
def insert(node: Node) -> TensorSequence:
    items = list(node.sequence(0).items)
    place = len(items)
    if node.get(2) is not None and node.known_ints(2, "the position") != [len(items)]:
        place = _place(node, 2, len(items), 0)
    if element(node[1]) != node.sequence(0).kind:
        node.fail(f"expected elements of {node.sequence(0).kind}, got {element(node[1])}")
    return TensorSequence((*items[:place], node[1], *items[place:]), element(node[1]))


@onnx_op("SequenceErase")
def erase(node: Node) -> TensorSequence:
    items = list(node.sequence(0).items)
    if not items:
        node.fail("the sequence is empty")
    del items[_place(node, 1, len(items), len(items) - 1)]
    return TensorSequence(tuple(items), node.sequence(0).kind)


@onnx_op("SequenceAt")
def at(node: Node) -> SSAValue:
    items = node.sequence(0).items
    if not items:
        node.fail("the sequence is empty")
    return items[_place(node, 1, len(items), 0)]


@onnx_op("SequenceLength")
def length(node: Node) -> SSAValue:
    return splat(node.emit, len(node.sequence(0).items), i64)


@onnx_op("SplitToSequence")
def split_to_sequence(node: Node) -> TensorSequence:
    """Parts of given sizes, or of one size (the last may be smaller), or of 1."""
    axis = node.axis(node.rank(0))
    total = node.shape(0)[axis]
    if not isinstance(total, int):
        node.fail(f"expected a known extent along axis {axis}, got {total}")
    sizes = _sizes(node, total)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [take(node.emit, node[0], axis, a, n) for a, n in zip(starts, sizes, strict=True)]
    if node.get(1) is None and not node.attr("keepdims"):
        parts = [squeeze(node.emit, p, [axis]) for p in parts]
    return TensorSequence(tuple(parts), node.element())


def _sizes(node: Node, total: int) -> Sequence[int]:
    sizes = node.known_ints(1, "the sizes") if node.get(1) is not None else [1]
    if any(s < 0 for s in sizes):
        node.fail(f"expected sizes of at least 0, got {sizes}")
    if node.get(1) is None or not shape_of(node[1]):
        if not sizes[0]:
            node.fail("expected a size of at least 1, got 0")
        return [min(sizes[0], total - i) for i in range(0, total, sizes[0])]
    if sum(sizes) != total:
        node.fail(f"expected sizes that add up to {total}, got {sizes}")
    return sizes


@onnx_op("ConcatFromSequence")
def concat_from_sequence(node: Node) -> SSAValue:
    items = node.sequence(0).items
    if not items:
        node.fail("the sequence is empty")
    rank, new = len(shape_of(items[0])), bool(node.attr("new_axis"))
    axis = node.normal_axis(node.attr("axis"), rank + new)
    return concat(node.emit, [unsqueeze(node.emit, v, [axis]) if new else v for v in items], axis)
