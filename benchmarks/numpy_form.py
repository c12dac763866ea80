"""Workloads in numpy: what the results should be, and a peer where numpy has the functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from form import Array, Form

_erf = np.frompyfunc(math.erf, 1, 1)


class NumpyForm(Form):
    """Computes at once, with floating-point numbers of ``dtype``."""

    def __init__(self, dtype: Any = np.float32, drawn: Sequence[Array] = ()) -> None:
        super().__init__(drawn)
        self.dtype = dtype

    def keep(self, array: Array) -> Array:
        return array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array

    def matmul(self, x: Array, y: Array) -> Array:
        return np.matmul(x, y)

    def matmul_transposed(self, x: Array, y: Array) -> Array:
        return x @ y.T

    def relu(self, x: Array) -> Array:
        return np.maximum(x, x.dtype.type(0))

    def sigmoid(self, x: Array) -> Array:
        return 1 / (1 + np.exp(-x))

    def tanh(self, x: Array) -> Array:
        return np.tanh(x)

    def gelu(self, x: Array, approximate: bool = False) -> Array:
        if approximate:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + _erf(x * math.sqrt(0.5)).astype(x.dtype))

    def softmax(self, x: Array) -> Array:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def layer_norm(self, x: Array, scale: Array, bias: Array, epsilon: float) -> Array:
        d = x - x.mean(-1, keepdims=True)
        return d / np.sqrt(np.square(d).mean(-1, keepdims=True) + epsilon) * scale + bias

    def mean_last(self, x: Array) -> Array:
        return x.mean(-1)

    def cross_entropy(self, logits: Array, labels: Array) -> Any:
        z = logits - logits.max(-1, keepdims=True)
        chosen = np.take_along_axis(z, labels[:, None], -1)[:, 0]
        return (np.log(np.exp(z).sum(-1)) - chosen).mean()

    def reshape(self, x: Array, shape: Sequence[int]) -> Array:
        return x.reshape(shape)

    def transpose(self, x: Array, perm: Sequence[int]) -> Array:
        return x.transpose(perm)

    def concat(self, xs: Sequence[Array], axis: int) -> Array:
        return np.concatenate(xs, axis)

    def split_last(self, x: Array, parts: int) -> Sequence[Array]:
        return np.split(x, parts, -1)

    def take(self, x: Array, indices: Array) -> Array:
        return x[indices]

    def element(self, x: Array, index: int) -> Array:
        return x[index]

    def conv(self, x: Array, w: Array, stride: int, pad: int) -> Array:
        windows = self._windows(x, w.shape[2], stride, pad, 0.0)
        return np.moveaxis(np.tensordot(windows, w, ([1, 4, 5], [1, 2, 3])), -1, 1)

    def batch_norm(
        self, x: Array, scale: Array, bias: Array, mean: Array, variance: Array
    ) -> Array:
        factor = scale / np.sqrt(variance + 1e-5)
        return x * factor[:, None, None] + (bias - mean * factor)[:, None, None]

    def max_pool(self, x: Array, window: int, stride: int, pad: int) -> Array:
        return self._windows(x, window, stride, pad, -np.inf).max((-1, -2))

    def spatial_mean(self, x: Array) -> Array:
        return x.mean((2, 3))

    def _windows(self, x: Array, size: int, stride: int, pad: int, value: float) -> Array:
        """``[n, c, h, w, size, size]``: what a window over the image sees."""
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=value)
        views = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
        return views[:, :, ::stride, ::stride]
