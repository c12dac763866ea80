"""Workloads in jax; images are ``[n, h, w, c]`` inside, for XLA has no fast path for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from form import Array, Form, Workload
from jax import lax

T = Any
_IMAGES = ("NHWC", "HWIO", "NHWC")


class JaxForm(Form):
    """Traced by jax."""

    def keep_filter(self, array: Array) -> Array:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))

    def image(self, x: T) -> T:
        return x.transpose(0, 2, 3, 1)

    def matmul(self, x: T, y: T) -> T:
        return jnp.matmul(x, y)

    def matmul_transposed(self, x: T, y: T) -> T:
        return x @ y.T

    def relu(self, x: T) -> T:
        return jax.nn.relu(x)

    def sigmoid(self, x: T) -> T:
        return jax.nn.sigmoid(x)

    def tanh(self, x: T) -> T:
        return jnp.tanh(x)

    def gelu(self, x: T, approximate: bool = False) -> T:
        return jax.nn.gelu(x, approximate=approximate)

    def softmax(self, x: T) -> T:
        return jax.nn.softmax(x, -1)

    def layer_norm(self, x: T, scale: T, bias: T, epsilon: float) -> T:
        d = x - x.mean(-1, keepdims=True)
        return d * lax.rsqrt(jnp.square(d).mean(-1, keepdims=True) + epsilon) * scale + bias

    def mean_last(self, x: T) -> T:
        return x.mean(-1)

    def cross_entropy(self, logits: T, labels: T) -> T:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    def reshape(self, x: T, shape: Sequence[int]) -> T:
        return jnp.reshape(x, tuple(shape))

    def transpose(self, x: T, perm: Sequence[int]) -> T:
        return jnp.transpose(x, tuple(perm))

    def concat(self, xs: Sequence[T], axis: int) -> T:
        return jnp.concatenate(xs, axis)

    def split_last(self, x: T, parts: int) -> Sequence[T]:
        return jnp.split(x, parts, -1)

    def take(self, x: T, indices: T) -> T:
        return jnp.take(x, indices, 0)

    def element(self, x: T, index: int) -> T:
        return x[index]

    def conv(self, x: T, w: T, stride: int, pad: int) -> T:
        return lax.conv_general_dilated(
            x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_IMAGES
        )

    def batch_norm(self, x: T, scale: T, bias: T, mean: T, variance: T) -> T:
        factor = scale * lax.rsqrt(variance + 1e-5)
        return x * factor + (bias - mean * factor)

    def max_pool(self, x: T, window: int, stride: int, pad: int) -> T:
        padding = [(0, 0), (pad, pad), (pad, pad), (0, 0)]
        size, steps = (1, window, window, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, size, steps, padding)

    def flat(self, x: T, shape: Sequence[int]) -> T:
        return self.reshape(x.transpose(0, 3, 1, 2), shape)

    def spatial_mean(self, x: T) -> T:
        return x.mean((1, 2))

    def lstm(self, x: T, shape: tuple[int, int, int], hidden: int) -> T:
        w, r, b = self.lstm_weights(shape[2], hidden)

        def step(carry: tuple[T, T], gates: T) -> tuple[tuple[T, T], T]:
            i, f, c, o = jnp.split(gates + carry[0] @ r, 4, -1)
            cell = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(c)
            state = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (state, cell), state

        zero = jnp.zeros((shape[1], hidden), x.dtype)
        return lax.scan(step, (zero, zero), x @ w + b)[1]


def compiled(workload: Workload, drawn: Sequence[Array]) -> Callable[[], list[Any]]:
    """The workload under ``jax.jit``; weights and inputs are arguments on the device."""
    form = JaxForm(drawn)
    jax.eval_shape(lambda inputs: form.run(workload, inputs), workload.inputs)
    weights, inputs = jax.device_put((form.kept, workload.inputs))

    @jax.jit
    def function(weights: list[T], inputs: dict[str, T]) -> tuple[T, ...]:
        form.kept = list(weights)
        return form.run(workload, inputs)

    return lambda: [np.asarray(y) for y in function(weights, inputs)]
