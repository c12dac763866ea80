"""``tf.nn``: activations, convolution, pooling, normalisation, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfc.errors import GraphError
from tfc.graph import rnn_cell
from tfc.graph.arrays import embedding_lookup
from tfc.graph.math import (
    add,
    multiply,
    reduce_mean,
    reduce_sum,
    rsqrt,
    sigmoid,
    softplus,
    softsign,
    squared_difference,
    tanh,
)
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, convert_pair, name_scope, node, single, unary
from tfc.graph.rnn import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
    static_bidirectional_rnn,
    static_rnn,
)
from tfc.graph.sort import in_top_k, top_k
from tfc.graph.source import here, quoted

relu = unary("Relu", "``max(x, 0)``.")
relu6 = unary("Relu6", "``min(max(x, 0), 6)``.")
elu = unary("Elu", "``x`` above 0, ``e ** x - 1`` below.")
selu = unary("Selu", "The scaled `elu` that keeps mean and variance.")
l2_loss = unary("L2Loss", "``sum(x * x) / 2``.")

__all__ = [
    "atrous_conv2d", "avg_pool", "batch_normalization", "bias_add", "bidirectional_dynamic_rnn", "conv1d", "conv2d",
    "conv2d_transpose", "conv3d", "crelu", "depthwise_conv2d", "dropout", "dynamic_rnn", "elu", "embedding_lookup",
    "fused_batch_norm", "gelu", "in_top_k", "l2_loss", "l2_normalize", "leaky_relu", "local_response_normalization",
    "log_softmax", "lrn", "max_pool", "moments", "relu", "relu6", "rnn_cell", "selu", "separable_conv2d",
    "sigmoid", "sigmoid_cross_entropy_with_logits", "silu", "softmax",
    "softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2", "softplus", "softsign",
    "sparse_softmax_cross_entropy_with_logits", "static_bidirectional_rnn", "static_rnn", "swish", "tanh", "top_k", "xw_plus_b",
]  # fmt: skip


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """``x`` above 0, ``alpha * x`` below."""
    with name_scope(name, "LeakyRelu", [features]) as scope:
        return single("LeakyRelu", [convert(features, name="features")], scope, alpha=float(alpha))


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Tensor:
    """``x`` times the normal distribution's probability of a value below ``x``."""
    with name_scope(name, "Gelu", [features]) as scope:
        return single("Gelu", [convert(features, name="features")], scope, approximate=approximate)


def swish(features: Any, name: str | None = None) -> Tensor:
    """``x * sigmoid(x)``."""
    with name_scope(name, "swish", [features]) as scope:
        x = convert(features, name="features")
        return multiply(x, sigmoid(x), name=scope)


silu = swish


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """`relu` of x beside `relu` of -x."""
    from tfc.graph.arrays import concat

    with name_scope(name, "CRelu", [features]) as scope:
        x = convert(features, name="features")
        return relu(concat([x, -x], axis), name=scope)


def softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``axis``, the last unless given."""
    return _along("Softmax", logits, axis, dim, name)


def log_softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """The logarithm of `softmax`."""
    return _along("LogSoftmax", logits, axis, dim, name)


def _along(type_: str, x: Any, axis: Any, dim: Any, name: str | None) -> Tensor:
    axis = dim if axis is None else axis
    with name_scope(name, type_, [x]) as scope:
        return single(type_, [convert(x, name="logits")], scope, axis=-1 if axis is None else int(axis))


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """``value`` plus one number for each channel."""
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        x, b = convert_pair(value, bias, ("input", "bias"))
        return single("BiasAdd", [x, b], scope, data_format=data_format or "NHWC")


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """``x . weights + biases``."""
    from tfc.graph.math import matmul

    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        return bias_add(matmul(x, weights), biases, name=scope)


def _windows(value: Any, rank: int, data_format: str) -> tuple[int, ...]:
    """A number, or one for each spatial dim, as one for each dim."""
    values = [int(value)] if np.ndim(value) == 0 else [int(v) for v in value]
    if min(values, default=1) < 1:
        raise quoted(GraphError(f"expected strides and windows of at least 1, got {values}"), here())
    if len(values) == rank:
        return tuple(values)
    values = values * (rank - 2) if len(values) == 1 else values
    if len(values) != rank - 2:
        raise quoted(GraphError(f"expected {rank} numbers, one for each dim, got {list(values)}"), here())
    return (1, 1, *values) if data_format.startswith("NC") else (1, *values, 1)


def _padding(padding: Any) -> Any:
    return padding.upper() if isinstance(padding, str) else tuple(map(tuple, padding))


def _convolution(
    type_: str, x: Any, filters: Any, strides: Any, padding: Any, data_format: str, dilations: Any,
    name: str | None, rank: int = 4,
) -> Tensor:  # fmt: skip
    with name_scope(name, type_, [x, filters]) as scope:
        x, filters = convert_pair(x, filters, ("input", "filter"))
        return single(
            type_, [x, filters], scope, strides=_windows(strides, rank, data_format),
            padding=_padding(padding), data_format=data_format,
            dilations=_windows(1 if dilations is None else dilations, rank, data_format),
        )  # fmt: skip


def conv2d(
    input: Any, filter: Any = None, strides: Any = 1, padding: Any = "VALID", use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC", dilations: Any = None, name: str | None = None, filters: Any = None,
) -> Tensor:  # fmt: skip
    """Convolution of ``input: [n, h, w, c]`` with ``filter: [h, w, c / groups, o]``."""
    kernel = filters if filter is None else filter
    return _convolution("Conv2D", input, kernel, strides, padding, data_format, dilations, name)


def conv3d(
    input: Any, filter: Any, strides: Any = 1, padding: Any = "VALID", data_format: str = "NDHWC",
    dilations: Any = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Convolution of ``input: [n, d, h, w, c]`` with ``filter: [d, h, w, c / groups, o]``."""
    return _convolution("Conv3D", input, filter, strides, padding, data_format, dilations, name, rank=5)


def conv1d(
    value: Any, filters: Any, stride: Any = 1, padding: Any = "VALID", data_format: str = "NWC",
    dilations: Any = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Convolution of ``value: [n, w, c]`` with ``filters: [w, c / groups, o]``."""
    layout = "NCW" if data_format.startswith("NC") else "NWC"
    return _convolution("Conv1D", value, filters, stride, padding, layout, dilations, name, rank=3)


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: Any, name: str | None = None) -> Tensor:
    """`conv2d` with ``rate - 1`` zeros between the filter's elements."""
    return _convolution("Conv2D", value, filters, 1, padding, "NHWC", rate, name)


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any = 1, padding: Any = "VALID", rate: Any = None,
    name: str | None = None, data_format: str = "NHWC", dilations: Any = None,
) -> Tensor:  # fmt: skip
    """Each channel convolved alone: ``filter: [h, w, c, m]`` makes ``c * m`` channels."""
    spread = dilations if rate is None else rate
    kind = "DepthwiseConv2dNative"
    return _convolution(kind, input, filter, strides, padding, data_format, spread, name or "depthwise")


depthwise_conv2d_native = depthwise_conv2d


def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any,
    rate: Any = None, name: str | None = None, data_format: str = "NHWC",
) -> Tensor:  # fmt: skip
    """`depthwise_conv2d`, and a convolution of 1 by 1 that mixes the channels."""
    with name_scope(name, "separable_conv2d", [input]) as scope:
        each = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, "depthwise", data_format)
        return conv2d(each, pointwise_filter, 1, "VALID", data_format=data_format, name=scope)


def conv2d_transpose(
    value: Any, filter: Any, output_shape: Any, strides: Any, padding: Any = "SAME",
    data_format: str = "NHWC", name: str | None = None,
) -> Tensor:  # fmt: skip
    """The transpose of `conv2d`: ``filter: [h, w, o, c]`` gives ``output_shape``."""
    with name_scope(name, "conv2d_transpose", [value, filter]) as scope:
        x, kernel = convert_pair(value, filter, ("value", "filter"))
        return single(
            "Conv2DBackpropInput", [convert(output_shape, name="output_shape"), kernel, x], scope,
            strides=_windows(strides, 4, data_format), padding=_padding(padding),
            data_format=data_format, dilations=(1, 1, 1, 1),
        )  # fmt: skip


def _pool(
    type_: str, value: Any, ksize: Any, strides: Any, padding: Any, data_format: str, name: str | None
) -> Tensor:
    with name_scope(name, type_, [value]) as scope:
        window, steps = _windows(ksize, 4, data_format), _windows(strides, 4, data_format)
        return single(
            type_, [convert(value, name="input")], scope, ksize=window, strides=steps,
            padding=_padding(padding), data_format=data_format, average=type_ == "AvgPool",
        )  # fmt: skip


def max_pool(
    value: Any, ksize: Any, strides: Any, padding: Any = "VALID", data_format: str = "NHWC", name: Any = None
) -> Tensor:
    """The maximum of each window."""
    return _pool("MaxPool", value, ksize, strides, padding, data_format, name)


def avg_pool(
    value: Any, ksize: Any, strides: Any, padding: Any = "VALID", data_format: str = "NHWC", name: Any = None
) -> Tensor:
    """The mean of each window, of the elements that lie inside the tensor."""
    return _pool("AvgPool", value, ksize, strides, padding, data_format, name)


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """``x / (bias + alpha * sum of squares of near channels) ** beta``."""
    with name_scope(name, "LRN", [input]) as scope:
        return single(
            "LRN", [convert(input, name="input")], scope, depth_radius=int(depth_radius),
            bias=float(bias), alpha=float(alpha), beta=float(beta),
        )  # fmt: skip


lrn = local_response_normalization


def moments(
    x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: bool = False,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The mean and the variance over ``axes``."""
    from tfc.graph.arrays import squeeze, stop_gradient

    keep = keep_dims if keepdims is None else keepdims
    with name_scope(name, "moments", [x]):
        x = convert(x, name="x")
        mean = reduce_mean(x, axes, keepdims=True, name="mean")
        variance = reduce_mean(
            squared_difference(x, stop_gradient(mean)), axes, keepdims=True, name="variance"
        )
        if keep:
            return mean, variance
        flat = list(range(x.shape.ndims or 0)) if axes is None else axes
        return squeeze(mean, flat), squeeze(variance, flat)


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float, name: Any = None
) -> Tensor:
    """``scale * (x - mean) / sqrt(variance + variance_epsilon) + offset``."""
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        inverse = rsqrt(convert(variance) + variance_epsilon)
        if scale is not None:
            inverse = inverse * scale
        shift = -mean * inverse if offset is None else offset - mean * inverse
        return convert(x) * inverse + shift


def fused_batch_norm(
    x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None, epsilon: float = 1e-3,
    data_format: str = "NHWC", is_training: bool = True, name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Normalised ``x`` with the mean and variance used: of the batch when training, else given."""
    with name_scope(name, "FusedBatchNorm", [x]) as scope:
        x = convert(x)
        if is_training:
            axes = [0, 2, 3] if data_format.startswith("NC") else [0, 1, 2]
            mean, variance = moments(x, axes)
        mean, variance, scale, offset = (convert(v, x.dtype) for v in (mean, variance, scale, offset))
        y = single(
            "FusedBatchNormInference", [x, scale, offset, mean, variance], scope,
            epsilon=float(epsilon), data_format=data_format,
        )  # fmt: skip
        return y, mean, variance


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None, dim: Any = None) -> Tensor:
    """``x`` divided by its length along ``axis``."""
    from tfc.graph.math import maximum, square

    with name_scope(name, "l2_normalize", [x]) as scope:
        x = convert(x, name="x")
        length = reduce_sum(square(x), dim if axis is None else axis, keepdims=True)
        return multiply(x, rsqrt(maximum(length, epsilon)), name=scope)


def dropout(
    x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: Any = None, name: Any = None, rate: Any = None
) -> Tensor:
    """``x`` with a share ``rate`` of its elements 0, and the others enlarged to keep the sum."""
    from tfc.graph.arrays import shape, where, zeros_like
    from tfc.graph.math import greater_equal
    from tfc.graph.random import random_uniform

    if (rate is None) == (keep_prob is None):
        raise quoted(GraphError("'tfc.dropout': expected either rate or keep_prob"), here())
    with name_scope(name, "dropout", [x]):
        x = convert(x, name="x")
        rate = 1 - keep_prob if rate is None else rate
        if isinstance(rate, int | float):
            if not 0 <= rate < 1:
                raise quoted(GraphError(f"'tfc.dropout': expected a rate in [0, 1), got {rate}"), here())
            if rate == 0:
                return x
        noise = random_uniform(shape(x) if noise_shape is None else noise_shape, dtype=x.dtype, seed=seed)
        return where(greater_equal(noise, rate), x / (1 - rate), zeros_like(x))


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, dim: int = -1, name: str | None = None
) -> Tensor:
    """The cross entropy of each row of ``softmax(logits)`` and ``labels``, both ``[n, classes]``."""
    _by_name(_sentinel, labels, logits)
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        x, y = convert_pair(logits, labels, ("logits", "labels"))
        if dim not in (-1, (x.shape.ndims or 0) - 1):
            raise quoted(GraphError("expected dim=-1: the classes stand on the last axis"), here())
        if x.shape.ndims in (None, 2):
            return node("SoftmaxCrossEntropyWithLogits", [x, y], scope).values()[0]
        return -reduce_sum(y * log_softmax(x), -1)


softmax_cross_entropy_with_logits_v2 = softmax_cross_entropy_with_logits


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """The cross entropy of each row of ``softmax(logits)`` and the class ``labels`` names."""
    _by_name(_sentinel, labels, logits)
    with name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [logits, labels]) as scope:
        inputs = [convert(logits, name="logits"), convert(labels, name="labels")]
        return single("SparseSoftmaxCrossEntropyWithLogits", inputs, scope)


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """The cross entropy of ``sigmoid(logits)`` and ``labels``, element by element."""
    from tfc.graph.math import abs, exp, log1p

    _by_name(_sentinel, labels, logits)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        x, z = convert_pair(logits, labels, ("logits", "labels"))
        return add(relu(x) - x * z, log1p(exp(-abs(x))), name=scope)


def _by_name(sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None or labels is None or logits is None:
        message = "expected labels and logits by name: they are easily confused"
        raise quoted(GraphError(message, help="call it with labels=..., logits=..."), here())


