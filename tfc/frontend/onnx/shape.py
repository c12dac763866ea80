"""Operators that rearrange elements by their positions: reshape, transpose, concat, tile."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.dynamic import DynamicBroadcastOp, DynamicReshapeOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import ShapeOfOp
from tfc.dialects.tfc.types import shape_of
from tfc.dims import Dim, product
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    broadcast_shape,
    concat,
    ints,
    reshape,
    splat,
    squeeze,
    take,
    transpose,
    unsqueeze,
)


@onnx_op("Reshape")
def reshape_to(node: Node) -> SSAValue:
    wanted = node.dims(1)
    if wanted is None:
        return node.make(DynamicReshapeOp(node[0], node[1]))
    old = node.shape(0)
    if not node.attr("allowzero"):
        if any(d == 0 and i >= len(old) for i, d in enumerate(wanted)):
            node.fail(f"a 0 in the shape {wanted} has no extent to copy from {list(old)}")
        wanted = [old[i] if d == 0 else d for i, d in enumerate(wanted)]
    if wanted.count(-1) > 1 or any(isinstance(d, int) and d < -1 for d in wanted):
        node.fail(f"expected extents and at most one -1, got {wanted}")
    if -1 in wanted:
        rest = product(d for d in wanted if d != -1)
        if rest == 0:
            node.fail(f"the -1 of {wanted} is not determined")
        wanted[wanted.index(-1)] = product(old) // rest
    return reshape(node.emit, node[0], wanted)


@onnx_op("Flatten")
def flatten(node: Node) -> SSAValue:
    dims = node.shape(0)
    axis = node.axis(len(dims), end=True)
    return reshape(node.emit, node[0], [product(dims[:axis]), product(dims[axis:])])


@onnx_op("Transpose")
def permute(node: Node) -> SSAValue:
    perm = node.attr("perm", list(range(node.rank(0)))[::-1])
    return transpose(node.emit, node[0], perm)


@onnx_op("Squeeze")
def drop_axes(node: Node) -> SSAValue:
    dims = node.shape(0)
    axes = node.axes(len(dims), 1)
    if axes is None:
        axes = [i for i, d in enumerate(dims) if d == 1]
    if any(isinstance(dims[a], int) and dims[a] != 1 for a in axes):
        node.fail(f"expected extents 1 at the axes {axes}, got shape {list(dims)}")
    return squeeze(node.emit, node[0], axes)


@onnx_op("Unsqueeze")
def add_axes(node: Node) -> SSAValue:
    given = node.attr("axes") if node.has("axes") else node.known_ints(1, "axes")
    rank = node.rank(0) + len(given)
    axes = [node.normal_axis(a, rank) for a in given]
    if len(set(axes)) != len(axes):
        node.fail(f"expected distinct axes, got {given}")
    return unsqueeze(node.emit, node[0], axes)


@onnx_op("Concat")
def join(node: Node) -> SSAValue:
    return concat(node.emit, node.all(), node.axis(node.rank(0), default=1))


@onnx_op("Split")
def split(node: Node) -> Sequence[SSAValue]:
    """Parts of the given sizes, or equal ones of which the last may be smaller."""
    axis, outputs = node.axis(node.rank(0)), len(node.proto.output)
    total = node.shape(0)[axis]
    sizes: list[Dim] = list(node.attr("split") or node.dims(1) or [])
    if not sizes and node.get(1) is not None:
        node.fail("the sizes (input number 1) must be constant or follow from static shapes")
    if not sizes:
        count = node.attr("num_outputs", outputs)
        if count < 1:
            node.fail(f"expected at least one output, got {count}")
        part = (total + (count - 1)) // count if isinstance(total, int) else total // count
        sizes = [part] * (count - 1) + [total - part * (count - 1)]
    if len(sizes) != outputs or sum(sizes[1:], sizes[0]) != total:
        node.fail(f"expected sizes for {outputs} outputs that add up to {total}, got {list(sizes)}")
    starts = [sum(sizes[1:i], sizes[0]) if i else 0 for i in range(len(sizes))]
    return [take(node.emit, node[0], axis, a, n) for a, n in zip(starts, sizes, strict=True)]


@onnx_op("Shape")
def shape_as_tensor(node: Node) -> SSAValue:
    dims = node.shape(0)
    start, stop, _ = slice(node.attr("start", 0), node.attr("end")).indices(len(dims))
    kept = dims[start:stop]
    if all(isinstance(d, int) for d in kept):
        return ints(node.emit, [d for d in kept if isinstance(d, int)])
    return take(node.emit, node.make(ShapeOfOp(node[0])), 0, start, len(kept))


@onnx_op("Size")
def size(node: Node) -> SSAValue:
    count = product(node.shape(0))
    if isinstance(count, int):
        return splat(node.emit, count, i64)
    return node.make(ReduceOp(node.make(ShapeOfOp(node[0])), "prod", [0]))


@onnx_op("Expand")
def expand(node: Node) -> SSAValue:
    wanted = node.dims(1)
    if wanted is None:
        return node.make(DynamicBroadcastOp(node[0], node[1]))
    return broadcast(node.emit, node[0], broadcast_shape(node.shape(0), tuple(wanted)))


@onnx_op("Tile")
def tile(node: Node) -> SSAValue:
    repeats = node.dims(1)
    dims = node.shape(0)
    if repeats is None or len(repeats) != len(dims):
        node.fail(f"expected {len(dims)} constant repeats, got {repeats}")
    return repeat(node, node[0], repeats)


def repeat(node: Node, x: SSAValue, repeats: Sequence[Dim]) -> SSAValue:
    """``x`` ``repeats[d]`` times along each axis: [n] -> [1, n] -> [r, n] -> [r * n]."""
    dims = shape_of(x)
    if all(r == 1 for r in repeats):
        return x
    pairs = list(zip(repeats, dims, strict=True))
    apart = reshape(node.emit, x, [d for _, n in pairs for d in (1, n)])
    wide = broadcast(node.emit, apart, tuple(d for r, n in pairs for d in (r, n)))
    return reshape(node.emit, wide, [r * n for r, n in pairs])


@onnx_op("DepthToSpace")
def depth_to_space(node: Node) -> SSAValue:
    n, c, h, w = _image(node)
    b = _block(node)
    if node.attr("mode", "DCR") == "CRD":
        apart = reshape(node.emit, node[0], [n, c // (b * b), b, b, h, w])
        mixed = transpose(node.emit, apart, [0, 1, 4, 2, 5, 3])
    else:
        apart = reshape(node.emit, node[0], [n, b, b, c // (b * b), h, w])
        mixed = transpose(node.emit, apart, [0, 3, 4, 1, 5, 2])
    return reshape(node.emit, mixed, [n, c // (b * b), h * b, w * b])


@onnx_op("SpaceToDepth")
def space_to_depth(node: Node) -> SSAValue:
    n, c, h, w = _image(node)
    b = _block(node)
    apart = reshape(node.emit, node[0], [n, c, h // b, b, w // b, b])
    if node.attr("mode", "DCR") == "CRD":
        mixed = transpose(node.emit, apart, [0, 1, 3, 5, 2, 4])
    else:
        mixed = transpose(node.emit, apart, [0, 3, 5, 1, 2, 4])
    return reshape(node.emit, mixed, [n, c * b * b, h // b, w // b])


def _image(node: Node) -> Sequence[Dim]:
    if node.rank(0) != 4:
        node.fail(f"expected an input [n, c, h, w], got {list(node.shape(0))}")
    return node.shape(0)


def _block(node: Node) -> int:
    size = int(node.attr("blocksize"))
    if size < 1:
        node.fail(f"expected a block size of at least 1, got {size}")
    return size
