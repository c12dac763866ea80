"""Workloads in torch, by its own fused functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from form import Array, Form

T = torch.Tensor


class TorchForm(Form):
    """Computes at once, or is traced by ``torch.compile``.

    Attributes:
        unroll: write the LSTM step by step, for the compiler, instead of calling torch's.
        layers: torch's own layers, by the weights that they were made of.
    """

    def __init__(self, drawn: Sequence[Array] = (), *, unroll: bool = False) -> None:
        super().__init__(drawn)
        self.unroll = unroll
        self.layers: dict[int, torch.nn.LSTM] = {}

    def keep(self, array: Array) -> T:
        return torch.from_numpy(array)

    def matmul(self, x: T, y: T) -> T:
        return torch.matmul(x, y)

    def matmul_transposed(self, x: T, y: T) -> T:
        return F.linear(x, y)

    def relu(self, x: T) -> T:
        return torch.relu(x)

    def sigmoid(self, x: T) -> T:
        return torch.sigmoid(x)

    def tanh(self, x: T) -> T:
        return torch.tanh(x)

    def gelu(self, x: T, approximate: bool = False) -> T:
        return F.gelu(x, approximate="tanh" if approximate else "none")

    def softmax(self, x: T) -> T:
        return torch.softmax(x, -1)

    def layer_norm(self, x: T, scale: T, bias: T, epsilon: float) -> T:
        return F.layer_norm(x, x.shape[-1:], scale, bias, epsilon)

    def mean_last(self, x: T) -> T:
        return x.mean(-1)

    def cross_entropy(self, logits: T, labels: T) -> T:
        return F.cross_entropy(logits, labels)

    def reshape(self, x: T, shape: Sequence[int]) -> T:
        return x.reshape(tuple(shape))

    def transpose(self, x: T, perm: Sequence[int]) -> T:
        return x.permute(tuple(perm))

    def concat(self, xs: Sequence[T], axis: int) -> T:
        return torch.cat(list(xs), axis)

    def split_last(self, x: T, parts: int) -> Sequence[T]:
        return x.chunk(parts, -1)

    def take(self, x: T, indices: T) -> T:
        return F.embedding(indices, x)

    def element(self, x: T, index: int) -> T:
        return x[index]

    def conv(self, x: T, w: T, stride: int, pad: int) -> T:
        return F.conv2d(x, w, None, stride, pad)

    def batch_norm(self, x: T, scale: T, bias: T, mean: T, variance: T) -> T:
        return F.batch_norm(x, mean, variance, scale, bias, eps=1e-5)

    def max_pool(self, x: T, window: int, stride: int, pad: int) -> T:
        return F.max_pool2d(x, window, stride, pad)

    def spatial_mean(self, x: T) -> T:
        return x.mean((2, 3))

    def attention(self, q: T, k: T, v: T, width: int) -> T:
        return F.scaled_dot_product_attention(q, k, v)

    def lstm(self, x: T, shape: tuple[int, int, int], hidden: int) -> T:
        if self.unroll:
            return super().lstm(x, shape, hidden)
        w, r, b = self.lstm_weights(shape[2], hidden)
        if self._next not in self.layers:
            layer = self.layers[self._next] = torch.nn.LSTM(shape[2], hidden)
            for parameter, value in zip(layer.parameters(), (w.T, r.T, b, 0 * b), strict=True):
                parameter.data = value.contiguous()
        return self.layers[self._next](x)[0]


def arguments(inputs: dict[str, Array]) -> dict[str, Any]:
    """Inputs of a workload as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in inputs.items()}
