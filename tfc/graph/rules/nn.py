"""Nodes of neural networks: activations, convolution, pooling, normalisation, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from tfc.dialects.tfc.activation import EluOp, GeluOp, LeakyReluOp, SeluOp
from tfc.dialects.tfc.contraction import ConvolutionOp
from tfc.dialects.tfc.elementwise import CastOp, MulOp, NegOp, SubOp
from tfc.dialects.tfc.nn import (
    AveragePoolOp,
    BatchNormOp,
    BiasAddOp,
    L2LossOp,
    LogSoftmaxOp,
    LrnOp,
    ResizeBilinearOp,
    SoftmaxOp,
    SparseSoftmaxCrossEntropyOp,
)
from tfc.dialects.tfc.reduce import ReduceOp, WindowReduceOp
from tfc.dialects.tfc.shape import PadOp, ReshapeOp, ReverseOp, TransposeOp
from tfc.dialects.tfc.types import element, is_float
from tfc.dims import Dim
from tfc.errors import GraphError
from tfc.graph.dtypes import of_element
from tfc.graph.emit import Deferred, Emitter, rule
from tfc.graph.rules.math import same_element


@rule("Elu")
def elu(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit(EluOp(_floats(x, "elu"), 1.0))


@rule("Selu")
def selu(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit(SeluOp(_floats(x, "selu")))


@rule("LeakyRelu")
def leaky_relu(emit: Emitter, x: SSAValue, alpha: float = 0.2) -> SSAValue:
    return emit(LeakyReluOp(_floats(x, "leaky_relu"), alpha))


@rule("Gelu")
def gelu(emit: Emitter, x: SSAValue, approximate: bool = False) -> SSAValue:
    return emit(GeluOp(_floats(x, "gelu"), approximate))


def _floats(x: SSAValue, kind: str) -> SSAValue:
    if not is_float(element(x)):
        got = of_element(element(x)).name
        raise GraphError(f"'tfc.{kind}': expected a floating-point input, got {got}")
    return x


@rule("Softmax")
def softmax(emit: Emitter, x: SSAValue, axis: int = -1) -> SSAValue:
    return emit(SoftmaxOp(_floats(x, "softmax"), emit.axis(x, axis)))


@rule("LogSoftmax")
def log_softmax(emit: Emitter, x: SSAValue, axis: int = -1) -> SSAValue:
    return emit(LogSoftmaxOp(_floats(x, "log_softmax"), emit.axis(x, axis)))


@rule("BiasAdd")
def bias_add(emit: Emitter, x: SSAValue, bias: SSAValue, data_format: str = "NHWC") -> SSAValue:
    same_element("bias_add", x, bias)
    axis = 1 if data_format.startswith("NC") else emit.rank(x) - 1
    if emit.rank(bias) != 1 or emit.rank(x) < 2:
        ranks = f"{emit.rank(x)} and {emit.rank(bias)}"
        raise GraphError(f"'tfc.bias_add' (C1): expected ranks of at least 2 and 1, got {ranks}")
    channels, size = emit.shape(x)[axis], emit.shape(bias)[0]
    if channels != size and isinstance(channels, int) and isinstance(size, int):
        raise GraphError(f"'tfc.bias_add' (C2): expected a bias of {channels} elements, got {size}")
    return emit(BiasAddOp(x, bias, axis))


@rule("L2Loss")
def l2_loss(emit: Emitter, x: SSAValue) -> SSAValue:
    emit.shape(x)
    return emit(L2LossOp(_floats(x, "l2_loss")))


@rule("SoftmaxCrossEntropyWithLogits", elements=lambda x, y: [element(x)] * 2)
def softmax_cross_entropy(emit: Emitter, logits: SSAValue, labels: SSAValue) -> Sequence[SSAValue]:
    """The loss of each row, and the gradient towards the logits."""
    same_element("softmax_cross_entropy", logits, labels)
    logits, labels = emit.together(logits, labels)
    if emit.rank(logits) != 2:
        raise GraphError(f"'tfc.softmax_cross_entropy': expected rank 2, got {emit.rank(logits)}")
    logs = emit(LogSoftmaxOp(logits, 1))
    weighted = emit(MulOp(labels, logs))
    loss = emit(NegOp(emit(ReduceOp(weighted, "sum", [1]))))
    if 1 not in emit.used:
        return [loss, loss]
    return [loss, emit(SubOp(emit(SoftmaxOp(logits, 1)), labels))]


@rule("SparseSoftmaxCrossEntropyWithLogits")
def sparse_softmax_cross_entropy(emit: Emitter, logits: SSAValue, labels: SSAValue) -> SSAValue:
    rank, expected = emit.rank(labels), emit.rank(logits) - 1
    if rank != expected:
        message = f"'tfc.sparse_softmax_cross_entropy': expected labels of rank {expected}, got {rank}"
        raise GraphError(message, help="one label for each row of the logits")
    return emit(SparseSoftmaxCrossEntropyOp(logits, labels))


# Windows: convolution and pooling work on [n, spatial..., c]; other layouts are transposed.

Pads = tuple[list[int], list[int]]


def _to_channels_last(emit: Emitter, x: SSAValue, data_format: str) -> SSAValue:
    if not data_format.startswith("NC"):
        return x
    rank = emit.rank(x)
    return emit(TransposeOp(x, [0, *range(2, rank), 1]))


def _from_channels_last(emit: Emitter, x: SSAValue, data_format: str) -> SSAValue:
    if not data_format.startswith("NC"):
        return x
    rank = emit.rank(x)
    return emit(TransposeOp(x, [0, rank - 1, *range(1, rank - 1)]))


def _spatial(values: Sequence[int], data_format: str) -> list[int]:
    """The entries for the spatial dims of a list with one for each dim."""
    return list(values[2:] if data_format.startswith("NC") else values[1:-1])


def _padding(
    emit: Emitter,
    extents: Sequence[Dim],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Any,
    data_format: str,
) -> Pads:
    """How many elements are added in front of and behind each spatial dim."""
    if not isinstance(padding, str):
        pairs = [tuple(p) for p in padding]
        spatial = pairs[2:] if data_format.startswith("NC") else pairs[1:-1]
        return [p[0] for p in spatial], [p[1] for p in spatial]
    if padding == "VALID":
        return [0] * len(window), [0] * len(window)
    if padding != "SAME":
        raise GraphError(f"expected padding 'SAME', 'VALID' or a list of pairs, got {padding!r}")
    low: list[int] = []
    high: list[int] = []
    for extent, size, stride in zip(extents, window, strides, strict=True):
        total = _same_padding(extent, size, stride)
        low.append(total // 2)
        high.append(total - total // 2)
    return low, high


def _same_padding(extent: Dim, window: int, stride: int) -> int:
    if stride == 1:
        return window - 1
    if not isinstance(extent, int):
        raise Deferred("a spatial extent, on which SAME padding depends")
    return max((-(-extent // stride) - 1) * stride + window - extent, 0)


def _dilated(window: Sequence[Dim], dilations: Sequence[int]) -> list[int]:
    sizes = [d for d in window if isinstance(d, int)]
    if len(sizes) != len(window):
        raise Deferred("the extents of a filter")
    return [(n - 1) * d + 1 for n, d in zip(sizes, dilations, strict=True)]


@rule("Conv2D", "Conv1D", "Conv3D")
def convolution(
    emit: Emitter,
    x: SSAValue,
    filters: SSAValue,
    strides: Sequence[int],
    padding: Any,
    data_format: str = "NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> SSAValue:
    """``x: [n, spatial..., c]`` with ``filters: [spatial..., c / groups, o]``."""
    same_element("convolution", x, filters)
    rank = len(strides)
    for name, v in (("an input", x), ("filters", filters)):
        if emit.rank(v) != rank:
            raise GraphError(f"'tfc.convolution': expected {name} of rank {rank}, got {emit.rank(v)}")
    x = _to_channels_last(emit, x, data_format)
    channels, each = emit.shape(x)[-1], emit.shape(filters)[-2]
    if not (isinstance(channels, int) and isinstance(each, int)):
        raise Deferred("the number of channels")
    if each == 0 or channels % each:
        raise GraphError(
            f"'tfc.convolution' (C2): expected filters for {channels} channels, got filters for {each}"
        )
    result = _convolve(emit, x, filters, strides, padding, data_format, dilations, channels // each)
    return _from_channels_last(emit, result, data_format)


def _convolve(
    emit: Emitter,
    x: SSAValue,
    filters: SSAValue,
    strides: Sequence[int],
    padding: Any,
    data_format: str,
    dilations: Sequence[int],
    groups: int,
) -> SSAValue:
    steps, spread = _spatial(strides, data_format), _spatial(dilations, data_format)
    window = _dilated(emit.shape(filters)[:-2], spread)
    low, high = _padding(emit, emit.shape(x)[1:-1], window, steps, padding, data_format)
    return emit(ConvolutionOp(x, filters, steps, spread, low, high, groups))


@rule("DepthwiseConv2dNative")
def depthwise_convolution(
    emit: Emitter,
    x: SSAValue,
    filters: SSAValue,
    strides: Sequence[int],
    padding: Any,
    data_format: str = "NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> SSAValue:
    """``filters: [h, w, c, m]``: ``m`` results of each channel alone."""
    same_element("convolution", x, filters)
    x = _to_channels_last(emit, x, data_format)
    h, w, c, m = emit.shape(filters)
    channels = emit.shape(x)[-1]
    if not isinstance(c, int) or not isinstance(channels, int):
        raise Deferred("the number of channels")
    if channels != c:
        raise GraphError(f"'tfc.convolution' (C2): expected filters for {channels} channels, got {c}")
    flat = emit(ReshapeOp(filters, [h, w, 1, c * m]))
    result = _convolve(emit, x, flat, strides, padding, data_format, dilations, c)
    return _from_channels_last(emit, result, data_format)


@rule("Conv2DBackpropInput")
def transposed_convolution(
    emit: Emitter,
    sizes: SSAValue,
    filters: SSAValue,
    g: SSAValue,
    strides: Sequence[int],
    padding: Any,
    data_format: str = "NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> SSAValue:
    """The convolution's transpose: ``g`` spread by the strides, convolved with turned filters."""
    wanted = _spatial(emit.ints(sizes), data_format)
    g = _to_channels_last(emit, g, data_format)
    steps, spread = _spatial(strides, data_format), _spatial(dilations, data_format)
    window = _dilated(emit.shape(filters)[:-2], spread)
    low, _ = _padding(emit, wanted, window, steps, padding, data_format)
    before = [n - 1 - p for n, p in zip(window, low, strict=True)]
    counts = [d for d in emit.shape(g)[1:-1] if isinstance(d, int)]
    if len(counts) != len(wanted):
        raise Deferred("the extents of the input of a transposed convolution")
    spans = [(n - 1) * s + 1 for n, s in zip(counts, steps, strict=True)]
    after = [
        size - span - b + n - 1 for size, span, b, n in zip(wanted, spans, before, window, strict=True)
    ]
    zero = emit.constant(0, element(g))
    spaced = emit(PadOp(g, zero, [0, *before, 0], [0, *after, 0], [0, *(s - 1 for s in steps), 0]))
    axes = range(len(wanted))
    turned = emit(ReverseOp(filters, axes))
    swapped = emit(TransposeOp(turned, [*axes, len(wanted) + 1, len(wanted)]))
    none, ones = [0] * len(wanted), [1] * len(wanted)
    result = emit(ConvolutionOp(spaced, swapped, ones, spread, none, none, 1))
    return _from_channels_last(emit, result, data_format)


@rule("MaxPool", "AvgPool")
def pool(
    emit: Emitter,
    x: SSAValue,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: Any,
    data_format: str = "NHWC",
    average: bool = False,
) -> SSAValue:
    if emit.rank(x) != len(ksize):
        raise GraphError(f"'tfc.pool': expected an input of rank {len(ksize)}, got {emit.rank(x)}")
    x = _to_channels_last(emit, x, data_format)
    window, steps = _spatial(ksize, data_format), _spatial(strides, data_format)
    low, high = _padding(emit, emit.shape(x)[1:-1], window, steps, padding, data_format)
    window, steps = [1, *window, 1], [1, *steps, 1]
    low, high = [0, *low, 0], [0, *high, 0]
    if average:
        result = emit(AveragePoolOp(x, window, steps, low, high, False))
    else:
        result = emit(WindowReduceOp(x, "max", window, steps, [1] * len(window), low, high))
    return _from_channels_last(emit, result, data_format)


@rule("LRN")
def local_response_normalization(
    emit: Emitter,
    x: SSAValue,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
) -> SSAValue:
    """Squares are summed over ``2 * depth_radius + 1`` channels."""
    if emit.rank(x) != 4:
        raise GraphError(f"'tfc.lrn': expected an input of rank 4, got {emit.rank(x)}")
    return emit(LrnOp(x, 3, 2 * depth_radius + 1, alpha, beta, bias))


@rule("FusedBatchNormInference")
def fused_batch_norm(
    emit: Emitter,
    x: SSAValue,
    scale: SSAValue,
    offset: SSAValue,
    mean: SSAValue,
    variance: SSAValue,
    epsilon: float = 1e-3,
    data_format: str = "NHWC",
) -> SSAValue:
    axis = 1 if data_format.startswith("NC") else emit.rank(x) - 1
    return emit(BatchNormOp(x, scale, offset, mean, variance, epsilon, axis))


@rule("ResizeBilinear", elements=lambda x, size, **_: [f32])
def resize_bilinear(
    emit: Emitter,
    x: SSAValue,
    size: SSAValue,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> SSAValue:
    if emit.rank(x) != 4:
        raise GraphError(f"'tfc.resize_bilinear': expected an input of rank 4, got {emit.rank(x)}")
    height, width = emit.ints(size)
    x = x if element(x) == f32 else emit(CastOp(x, f32))
    return emit(ResizeBilinearOp(x, height, width, align_corners, half_pixel_centers))
