"""Gradients beside those of jax, kept in a file by ``jax_gradients.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jax_gradients import FILE, IDS, LABELS, SHAPES, inputs

import tfc as tf


def norm(x: Any, scale: Any, bias: Any) -> Any:
    d = x - tf.reduce_mean(x, -1, keepdims=True)
    return d * tf.rsqrt(tf.reduce_mean(d * d, -1, keepdims=True) + 1e-3) * scale + bias


def lstm(x: Any, w: Any, r: Any, b: Any) -> Any:
    rows = tf.TensorArray(tf.float64, 6).unstack(x)
    zero = tf.zeros([2, 3], tf.float64)

    def step(t: Any, state: Any, cell: Any, states: Any) -> Any:
        i, f, c, o = tf.split(tf.matmul(rows.read(t), w) + tf.matmul(state, r) + b, 4, -1)
        cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
        state = tf.sigmoid(o) * tf.tanh(cell)
        return t + 1, state, cell, states.write(t, state)

    first = [0, zero, zero, tf.TensorArray(tf.float64, 6)]
    return tf.while_loop(lambda t, *_: t < 6, step, first)[3].stack()


def product_with_a_zero(x: Any) -> Any:
    holes = np.zeros((3, 4))
    holes[0, 1] = 1
    return tf.reduce_prod(x * (1 - holes), 1)


FUNCTIONS: dict[str, Any] = {
    "conv": lambda x, w: tf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME"),
    "conv_dilated": lambda x, w: tf.nn.conv2d(x, w, [1, 1, 1, 1], "VALID", dilations=[1, 2, 3, 1]),
    "depthwise": lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"),
    "max_pool": lambda x: tf.nn.max_pool(x, [1, 3, 2, 1], [1, 2, 2, 1], "SAME"),
    "avg_pool": lambda x: tf.nn.avg_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME"),
    "layer_norm": norm,
    "cross_entropy": lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(logits=x, labels=LABELS),
    "gelu": tf.nn.gelu,
    "gelu_tanh": lambda x: tf.nn.gelu(x, True),
    "attention": lambda q, k, v: tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / 2), v),
    "lstm": lstm,
    "logsumexp": lambda x: tf.reduce_logsumexp(x, 1),
    "cumprod": lambda x: tf.cumprod(x, 1),
    "prod": product_with_a_zero,
    "embedding": lambda x: tf.gather(x, IDS),
    "elementwise": lambda x, y: (
        tf.atan2(x, y) + tf.tanh(x) * tf.log1p(y * y) + tf.maximum(x, y) ** 3 + tf.expm1(-x * x) * tf.asinh(y)
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_are_those_of_jax(name: str) -> None:
    arrays = inputs(name)
    with tf.Graph().as_default(), tf.Session() as session:
        xs = [tf.placeholder(tf.float64, a.shape) for a in arrays]
        grads = tf.gradients(tf.reduce_sum(tf.sin(FUNCTIONS[name](*xs))), xs)
        found = session.run([tf.convert_to_tensor(g) for g in grads], dict(zip(xs, arrays, strict=True)))
    with np.load(FILE) as kept:
        for k, g in enumerate(found):
            np.testing.assert_allclose(g, kept[f"{name}_{k}"], rtol=1e-9, atol=1e-10)
