"""Convolutions and pooling.

ONNX images are [n, c, spatial...]; `tfc.convolution` takes [n, spatial..., c] and kernels
[spatial..., c / groups, o], so transposes stand around each convolution, which a pass sinks
and cancels later. Windows of pooling need no order of axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.arithmetic import DivOp, FloordivOp, FloormodOp, PowOp
from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.contraction import ConvolutionOp
from tfc.dialects.tfc.elementwise import AbsOp, AddOp, MulOp, SubOp
from tfc.dialects.tfc.nn import AveragePoolOp
from tfc.dialects.tfc.reduce import MeanOp, ReduceOp, WindowArgMaxOp, WindowReduceOp
from tfc.dialects.tfc.shape import PadOp, ReverseOp
from tfc.dialects.tfc.types import Shape, element, shape_of
from tfc.dims import Dim
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import Results, onnx_op
from tfc.frontend.onnx.values import (
    along,
    broadcast,
    like,
    reshape,
    splat,
    take,
    transpose,
    unsqueeze,
)


@dataclass
class Window:
    """How a kernel moves over the spatial axes."""

    sizes: list[int]
    strides: list[int]
    dilations: list[int]
    low: list[int]
    high: list[int]

    @property
    def spans(self) -> list[int]:
        """From the first element under the kernel to one past the last."""
        return [(k - 1) * d + 1 for k, d in zip(self.sizes, self.dilations, strict=True)]


def _numbers(node: Node, name: str, count: int, default: int, least: int) -> list[int]:
    values = list(node.attr(name) or [default] * count)
    if len(values) != count or any(v < least for v in values):
        node.fail(f"expected {count} {name} of at least {least}, got {values}")
    return values


def window(node: Node, spatial: Shape, sizes: Sequence[int]) -> Window:
    """The window of a node, with ``auto_pad`` resolved for these extents."""
    n = len(spatial)
    found = Window(
        list(sizes),
        _numbers(node, "strides", n, 1, 1),
        _numbers(node, "dilations", n, 1, 1),
        *_halves(_numbers(node, "pads", 2 * n, 0, 0)),
    )
    mode = node.attr("auto_pad", "NOTSET")
    if mode == "VALID":
        found.low, found.high = [0] * n, [0] * n
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        for i, (size, span, stride) in enumerate(
            zip(spatial, found.spans, found.strides, strict=True)
        ):
            total = _same(node, size, span, stride)
            small, large = total // 2, total - total // 2
            found.low[i], found.high[i] = (small, large) if mode == "SAME_UPPER" else (large, small)
    elif mode not in ("NOTSET", ""):
        node.fail(f"expected auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {mode!r}")
    return found


def _halves(values: list[int]) -> tuple[list[int], list[int]]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def _same(node: Node, size: Dim, span: int, stride: int) -> int:
    if stride == 1:
        return span - 1
    if not isinstance(size, int):
        node.fail(f"auto_pad with stride {stride} needs a known extent, got {size}")
    return max((-(-size // stride) - 1) * stride + span - size, 0)


def kernel_shape(node: Node, weight: Shape) -> list[int]:
    sizes = [d for d in weight[2:] if isinstance(d, int)]
    given = node.attr("kernel_shape")
    if (
        len(sizes) != len(weight) - 2
        or any(s < 1 for s in sizes)
        or (given and list(given) != sizes)
    ):
        node.fail(f"expected a kernel [o, c, {given or 'spatial...'}], got {list(weight)}")
    return sizes


def _to_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]


def _to_first(rank: int) -> list[int]:
    return [0, rank - 1, *range(1, rank - 1)]


def convolve(
    node: Node, x: SSAValue, w: SSAValue, frame: Window, groups: int, bias: SSAValue | None
) -> SSAValue:
    """[n, c, spatial...] with kernels [o, c / groups, spatial...] and a bias for each output."""
    rank = len(shape_of(x))
    images = transpose(node.emit, x, _to_last(rank))
    kernels = transpose(node.emit, w, [*range(2, rank), 1, 0])
    result = node.make(
        ConvolutionOp(
            images, kernels, frame.strides, frame.dilations, frame.low, frame.high, groups
        )
    )
    if bias is not None:
        wide = broadcast(node.emit, along(node.emit, bias, rank - 1, rank), shape_of(result))
        result = node.make(AddOp(result, wide))
    return transpose(node.emit, result, _to_first(rank))


def _checked(node: Node) -> tuple[Shape, Shape, int]:
    dims, weight, groups = node.shape(0), node.shape(1), node.attr("group")
    if len(dims) < 3 or len(weight) != len(dims) or groups < 1:
        node.fail(
            f"expected an image and kernels of one rank >= 3, got {list(dims)} and {list(weight)}"
        )
    if node.get(2) is not None and node.rank(2) != 1:
        node.fail(f"expected a bias of rank 1, got {list(node.shape(2))}")
    return dims, weight, groups


@onnx_op("Conv")
def conv(node: Node) -> SSAValue:
    dims, weight, groups = _checked(node)
    frame = window(node, dims[2:], kernel_shape(node, weight))
    return convolve(node, node[0], node[1], frame, groups, node.get(2))


@onnx_op("ConvTranspose")
def conv_transpose(node: Node) -> SSAValue:
    """The gradient of a convolution: zeros between the elements, then the kernel turned around."""
    dims, weight, groups = _checked(node)
    sizes = kernel_shape(node, weight)
    n = len(sizes)
    strides = _numbers(node, "strides", n, 1, 1)
    frame = Window(
        sizes,
        [1] * n,
        _numbers(node, "dilations", n, 1, 1),
        *_transposed_pads(node, dims[2:], sizes),
    )
    zero = splat(node.emit, 0, node.element())
    none = [0, 0, *[0] * n]
    x = node[0]
    if any(s > 1 for s in strides):
        x = node.make(PadOp(x, zero, none, none, [0, 0, *(s - 1 for s in strides)]))
    x, frame.low, frame.high = _cut(node, x, frame.low, frame.high)
    spread = list(range(2, n + 2))
    # [c, o / groups, ...] -> [o, c / groups, ...], turned around
    c, o = weight[0], weight[1]
    apart = reshape(node.emit, node[1], [groups, c // groups, o, *sizes])
    swapped = transpose(node.emit, apart, [0, 2, 1, *range(3, n + 3)])
    kernels = reshape(node.emit, swapped, [o * groups, c // groups, *sizes])
    turned = node.make(ReverseOp(kernels, spread))
    return convolve(node, x, turned, frame, groups, node.get(2))


def _transposed_pads(node: Node, spatial: Shape, sizes: list[int]) -> tuple[list[int], list[int]]:
    """Amounts around the spread image; an amount below 0 cuts off."""
    n = len(sizes)
    strides = _numbers(node, "strides", n, 1, 1)
    spans = [
        (k - 1) * d + 1 for k, d in zip(sizes, _numbers(node, "dilations", n, 1, 1), strict=True)
    ]
    extra = _numbers(node, "output_padding", n, 0, 0)
    low, high = _halves(_numbers(node, "pads", 2 * n, 0, 0))
    mode, wanted = node.attr("auto_pad"), node.attr("output_shape")
    if mode == "VALID":
        low, high = [0] * n, [0] * n
    if wanted or mode in ("SAME_UPPER", "SAME_LOWER"):
        for i, (size, span, stride) in enumerate(zip(spatial, spans, strides, strict=True)):
            if wanted and not isinstance(size, int):
                node.fail(f"output_shape needs a known extent, got {size}")
            target = wanted[-n:][i] if wanted else size * stride
            total = stride * (size - 1) + extra[i] + span - target
            if not isinstance(total, int):
                node.fail(f"auto_pad needs a known extent, got {size}")
            if total < 0:
                extra[i], total = extra[i] - total, 0
            small, large = total // 2, total - total // 2
            low[i], high[i] = (small, large) if mode != "SAME_LOWER" else (large, small)
    first = [s - 1 - p for s, p in zip(spans, low, strict=True)]
    last = [s - 1 - p + e for s, p, e in zip(spans, high, extra, strict=True)]
    return first, last


def _cut(
    node: Node, x: SSAValue, low: list[int], high: list[int]
) -> tuple[SSAValue, list[int], list[int]]:
    for i, (a, b) in enumerate(zip(low, high, strict=True), 2):
        if min(a, 0) + min(b, 0):
            x = take(node.emit, x, i, -min(a, 0), shape_of(x)[i] + min(a, 0) + min(b, 0))
    return x, [max(a, 0) for a in low], [max(b, 0) for b in high]


def pool_window(node: Node) -> Window:
    """A pooling window; ``ceil_mode`` lengthens the high padding so that the last window fits."""
    spatial = node.shape(0)[2:]
    sizes = _numbers(node, "kernel_shape", len(spatial), 1, 1)
    frame = window(node, spatial, sizes)
    if node.attr("ceil_mode", 0) and node.attr("auto_pad", "NOTSET") in ("NOTSET", ""):
        for i, (size, span, stride) in enumerate(
            zip(spatial, frame.spans, frame.strides, strict=True)
        ):
            if stride == 1:
                continue
            if not isinstance(size, int):
                node.fail(f"ceil_mode with stride {stride} needs a known extent, got {size}")
            room = size + frame.low[i] + frame.high[i] - span
            steps = -(-room // stride)
            if steps * stride >= size + frame.low[i]:  # a window must not start past the image
                steps -= 1
            frame.high[i] += max(steps * stride - room, 0)
    return frame


def _all_axes(values: list[int], fill: int) -> list[int]:
    return [fill, fill, *values]


def reduce_windows(node: Node, x: SSAValue, kind: str, frame: Window) -> SSAValue:
    """``x`` reduced under each position of the window."""
    return node.make(
        WindowReduceOp(
            x, kind, _all_axes(frame.sizes, 1), _all_axes(frame.strides, 1),
            _all_axes(frame.dilations, 1), _all_axes(frame.low, 0), _all_axes(frame.high, 0),
        )
    )  # fmt: skip


@onnx_op("MaxPool")
def max_pool(node: Node) -> Results:
    frame = pool_window(node)
    highest = reduce_windows(node, node[0], "max", frame)
    return [highest, _places(node, frame)] if node.wants(1) else highest


def _places(node: Node, frame: Window) -> SSAValue:
    """Where each maximum stands in the flattened input."""
    x, dims = node[0], node.shape(0)
    sizes = [d for d in dims[1:] if isinstance(d, int)]
    if len(sizes) < len(dims) - 1:
        node.fail(f"its output Indices needs known extents, got {list(dims)}")
    place = node.make(
        WindowArgMaxOp(
            x, _all_axes(frame.sizes, 1), _all_axes(frame.strides, 1), _all_axes(frame.dilations, 1),
            _all_axes(frame.low, 0), _all_axes(frame.high, 0),
        )
    )  # fmt: skip
    shape = shape_of(place)

    def times(value: SSAValue, factor: int) -> SSAValue:
        return node.make(MulOp(value, like(node.emit, factor, value))) if factor != 1 else value

    def along_axis(axis: int) -> SSAValue:
        return node.make(IotaOp(shape, i64, axis))

    image = node.make(AddOp(times(along_axis(0), sizes[0]), along_axis(1)))
    total = times(image, math.prod(sizes[1:]))
    spatial = range(len(frame.sizes))
    for i in reversed(spatial):  # the place inside the window, one axis after another
        inside = node.make(FloormodOp(place, like(node.emit, frame.sizes[i], place)))
        place = node.make(FloordivOp(place, like(node.emit, frame.sizes[i], place)))
        start = times(along_axis(i + 2), frame.strides[i])
        at = node.make(AddOp(start, times(inside, frame.dilations[i])))
        at = node.make(SubOp(at, like(node.emit, frame.low[i], at)))
        inner = sizes[1 : i + 1] if node.attr("storage_order", 0) else sizes[i + 2 :]
        total = node.make(AddOp(total, times(at, math.prod(inner))))
    return total


@onnx_op("AveragePool")
def average_pool(node: Node) -> SSAValue:
    """The mean under the window; with ``count_include_pad``, over the zeros of ``pads`` too."""
    x, frame = node[0], pool_window(node)
    include = bool(node.attr("count_include_pad", 0))
    explicit = window(node, node.shape(0)[2:], frame.sizes)
    if all(d == 1 for d in frame.dilations) and (not include or explicit.high == frame.high):
        return node.make(
            AveragePoolOp(
                x, _all_axes(frame.sizes, 1), _all_axes(frame.strides, 1),
                _all_axes(frame.low, 0), _all_axes(frame.high, 0), include,
            )
        )  # fmt: skip
    return node.make(
        DivOp(reduce_windows(node, x, "sum", frame), _counts(node, frame, explicit, include))
    )


def _counts(node: Node, frame: Window, explicit: Window, include: bool) -> SSAValue:
    """How many elements each window averages, in the shape of the result."""
    x = node[0]
    ones = splat(node.emit, 1, element(x), (1, 1, *shape_of(x)[2:]))
    counted = frame
    if include:
        one = splat(node.emit, 1, element(x))
        low, high = _all_axes(explicit.low, 0), _all_axes(explicit.high, 0)
        ones = node.make(PadOp(ones, one, low, high))
        rest = [a - b for a, b in zip(frame.high, explicit.high, strict=True)]
        counted = Window(frame.sizes, frame.strides, frame.dilations, [0] * len(rest), rest)
    counts = reduce_windows(node, ones, "sum", counted)
    return broadcast(node.emit, counts, (*shape_of(x)[:2], *shape_of(counts)[2:]))


@onnx_op("LpPool")
def lp_pool(node: Node) -> SSAValue:
    p = float(node.attr("p"))
    powers = _power(node, node.make(AbsOp(node[0])), p)
    return _power(
        node, reduce_windows(node, powers, "sum", pool_window(node)), 1 / p if p else np.inf
    )


def _power(node: Node, x: SSAValue, p: float) -> SSAValue:
    return x if p == 1 else node.make(PowOp(x, like(node.emit, p, x)))


@onnx_op("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node) -> SSAValue:
    x, axes = node[0], list(range(2, node.rank(0)))
    if not axes:
        node.fail(f"expected an image [n, c, spatial...], got {list(node.shape(0))}")
    if node.kind == "GlobalMaxPool":
        pooled = node.make(ReduceOp(x, "max", axes))
    elif node.kind == "GlobalAveragePool":
        pooled = node.make(MeanOp(x, axes))
    else:
        p = float(node.attr("p"))
        summed = node.make(ReduceOp(_power(node, node.make(AbsOp(x)), p), "sum", axes))
        pooled = _power(node, summed, 1 / p if p else np.inf)
    return unsqueeze(node.emit, pooled, axes)
