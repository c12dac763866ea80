"""Workloads as graphs of tfc's own interface: weights are variables; images are ``[n, h, w, c]`` inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from form import Array, Form

import tfc as tf

T = Any


class GraphForm(Form):
    """Makes nodes of the default graph."""

    def keep(self, array: Array) -> T:
        return tf.Variable(array)

    def keep_filter(self, array: Array) -> T:
        return tf.Variable(np.ascontiguousarray(array.transpose(2, 3, 1, 0)))

    def image(self, x: T) -> T:
        return tf.transpose(x, [0, 2, 3, 1])

    def matmul(self, x: T, y: T) -> T:
        return tf.matmul(x, y)

    def matmul_transposed(self, x: T, y: T) -> T:
        return tf.matmul(x, y, transpose_b=True)

    def relu(self, x: T) -> T:
        return tf.nn.relu(x)

    def sigmoid(self, x: T) -> T:
        return tf.sigmoid(x)

    def tanh(self, x: T) -> T:
        return tf.tanh(x)

    def gelu(self, x: T, approximate: bool = False) -> T:
        return tf.nn.gelu(x, approximate)

    def softmax(self, x: T) -> T:
        return tf.nn.softmax(x)

    def layer_norm(self, x: T, scale: T, bias: T, epsilon: float) -> T:
        d = x - tf.reduce_mean(x, -1, keepdims=True)
        return d * tf.rsqrt(tf.reduce_mean(tf.square(d), -1, keepdims=True) + epsilon) * scale + bias

    def mean_last(self, x: T) -> T:
        return tf.reduce_mean(x, -1)

    def cross_entropy(self, logits: T, labels: T) -> T:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels))

    def reshape(self, x: T, shape: Sequence[int]) -> T:
        return tf.reshape(x, list(shape))

    def transpose(self, x: T, perm: Sequence[int]) -> T:
        return tf.transpose(x, list(perm))

    def concat(self, xs: Sequence[T], axis: int) -> T:
        return tf.concat(list(xs), axis)

    def split_last(self, x: T, parts: int) -> Sequence[T]:
        return tf.split(x, parts, -1)

    def take(self, x: T, indices: T) -> T:
        return tf.gather(x, indices)

    def element(self, x: T, index: int) -> T:
        return x[index]

    def conv(self, x: T, w: T, stride: int, pad: int) -> T:
        around = [[0, 0], [pad, pad], [pad, pad], [0, 0]]
        return tf.nn.conv2d(x, w, [1, stride, stride, 1], around)

    def batch_norm(self, x: T, scale: T, bias: T, mean: T, variance: T) -> T:
        return tf.nn.batch_normalization(x, mean, variance, bias, scale, 1e-5)

    def max_pool(self, x: T, window: int, stride: int, pad: int) -> T:
        assert pad == 0, "no workload that is trained pads its pools"
        return tf.nn.max_pool(x, [1, window, window, 1], [1, stride, stride, 1], "VALID")

    def flat(self, x: T, shape: Sequence[int]) -> T:
        return self.reshape(tf.transpose(x, [0, 3, 1, 2]), shape)

    def spatial_mean(self, x: T) -> T:
        return tf.reduce_mean(x, [1, 2])

    def lstm(self, x: T, shape: tuple[int, int, int], hidden: int) -> T:
        w, r, b = self.lstm_weights(shape[2], hidden)
        steps = tf.TensorArray(tf.float32, shape[0]).unstack(tf.matmul(x, w) + b)
        zero = tf.zeros([shape[1], hidden])

        def step(t: T, state: T, cell: T, states: T) -> Sequence[T]:
            i, f, c, o = tf.split(steps.read(t) + tf.matmul(state, r), 4, -1)
            cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
            state = tf.sigmoid(o) * tf.tanh(cell)
            return t + 1, state, cell, states.write(t, state)

        first = [0, zero, zero, tf.TensorArray(tf.float32, shape[0])]
        return tf.while_loop(lambda t, *_: t < shape[0], step, first)[3].stack()
