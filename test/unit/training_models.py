"""Four small models and every optimizer, in words that TensorFlow 1 and tfc both understand.

`test/data/training.py` trains them with TensorFlow and keeps what came out; `test_training.py` does the
same with tfc. ``tf`` is the one or the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STEPS = 100


class Model:
    """Variables with fixed first values, and data."""

    def __init__(self, tf: Any, dtype: Any) -> None:
        self.tf, self.dtype, self.rng = tf, dtype, np.random.default_rng(5)

    def weight(self, name: str, *shape: int, scale: float | None = None) -> Any:
        scale = 1 / np.sqrt(shape[0] if len(shape) < 3 else np.prod(shape[:-1])) if scale is None else scale
        value = (self.rng.normal(size=shape) * scale).astype(self.dtype)
        return self.tf.get_variable(name, initializer=self.tf.constant(value))

    def data(self, *shape: int) -> Any:
        return self.tf.constant(self.rng.normal(size=shape).astype(self.dtype))

    def classes(self, count: int, *shape: int) -> Any:
        return self.tf.constant(self.rng.integers(0, count, shape).astype(np.int32))

    def loss(self, logits: Any, labels: Any) -> Any:
        tf = self.tf
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def mlp(m: Model) -> Any:
    tf = m.tf
    h = tf.tanh(tf.matmul(m.data(16, 8), m.weight("w1", 8, 12)) + m.weight("b1", 12, scale=0.1))
    return m.loss(tf.matmul(h, m.weight("w2", 12, 4)) + m.weight("b2", 4, scale=0.1), m.classes(4, 16))


def cnn(m: Model) -> Any:
    tf = m.tf
    x = m.data(8, 8, 8, 1)
    h = tf.nn.relu(tf.nn.conv2d(x, m.weight("c1", 3, 3, 1, 4), strides=[1, 1, 1, 1], padding="SAME") + m.weight("d1", 4, scale=0.1))
    h = tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    h = tf.nn.relu(tf.nn.conv2d(h, m.weight("c2", 3, 3, 4, 6), strides=[1, 1, 1, 1], padding="VALID"))
    h = tf.nn.avg_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    return m.loss(tf.matmul(tf.reshape(h, [8, 6]), m.weight("w", 6, 5)), m.classes(5, 8))


def lstm(m: Model) -> Any:
    tf, width = m.tf, 6
    x, w, b = m.data(5, 4, 3), m.weight("w", 3 + width, 4 * width), m.weight("b", 4 * width, scale=0.1)
    h = c = tf.constant(np.zeros((4, width), m.dtype))
    for t in range(5):
        i, j, f, o = tf.split(tf.matmul(tf.concat([x[t], h], 1), w) + b, 4, axis=1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
    return m.loss(tf.matmul(h, m.weight("out", width, 3)), m.classes(3, 4))


def transformer(m: Model) -> Any:
    tf, batch, length, width, heads, words = m.tf, 2, 6, 8, 2, 11

    def norm(x: Any, name: str) -> Any:
        mean, variance = tf.nn.moments(x, [-1], keep_dims=True)
        return (x - mean) * tf.rsqrt(variance + 1e-5) * (1.0 + m.weight(f"{name}_g", width, scale=0.1))

    def heads_of(x: Any) -> Any:
        return tf.transpose(tf.reshape(x, [batch, length, heads, width // heads]), [0, 2, 1, 3])

    table = m.weight("table", words, width, scale=0.5)
    ids = m.classes(words, batch, length)
    x = tf.gather(table, ids) + m.weight("places", length, width, scale=0.5)
    flat = tf.reshape(norm(x, "n1"), [batch * length, width])
    q, k, v = (heads_of(tf.matmul(flat, m.weight(n, width, width))) for n in ("q", "k", "v"))
    scores = tf.matmul(q, k, transpose_b=True) / 2.0 + np.triu(np.full((length, length), -1e9, m.dtype), 1)
    mixed = tf.reshape(tf.transpose(tf.matmul(tf.nn.softmax(scores), v), [0, 2, 1, 3]), [batch * length, width])
    x = tf.reshape(x, [batch * length, width]) + tf.matmul(mixed, m.weight("o", width, width))
    h = tf.nn.relu(tf.matmul(norm(x, "n2"), m.weight("w1", width, 16)) + m.weight("b1", 16, scale=0.1))
    x = x + tf.matmul(h, m.weight("w2", 16, width))
    return m.loss(tf.matmul(norm(x, "n3"), m.weight("head", width, words)), m.classes(words, batch * length))


MODELS = {f.__name__: f for f in (mlp, cnn, lstm, transformer)}

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda tf, n=float: tf.train.GradientDescentOptimizer(0.02),
    "momentum": lambda tf, n=float: tf.train.MomentumOptimizer(0.02, 0.9),
    "nesterov": lambda tf, n=float: tf.train.MomentumOptimizer(0.02, 0.9, use_nesterov=True),
    "adagrad": lambda tf, n=float: tf.train.AdagradOptimizer(0.1),
    "adadelta": lambda tf, n=float: tf.train.AdadeltaOptimizer(1.0, 0.9, 1e-6),
    "rmsprop": lambda tf, n=float: tf.train.RMSPropOptimizer(0.002, momentum=0.5, epsilon=1e-3),
    "centered": lambda tf, n=float: tf.train.RMSPropOptimizer(0.002, epsilon=1e-2, centered=True),
    "adam": lambda tf, n=float: tf.train.AdamOptimizer(0.01, epsilon=1e-5),
    "ftrl": lambda tf, n=float: tf.train.FtrlOptimizer(
        0.1, l1_regularization_strength=0.001, l2_regularization_strength=0.01,
        l2_shrinkage_regularization_strength=0.01,
    ),
    "ftrl_power": lambda tf, n=float: tf.train.FtrlOptimizer(0.05, learning_rate_power=-0.7),
    "proximal": lambda tf, n=float: tf.train.ProximalGradientDescentOptimizer(
        n(0.02), l1_regularization_strength=n(0.001), l2_regularization_strength=n(0.01)
    ),
    "proximal_adagrad": lambda tf, n=float: tf.train.ProximalAdagradOptimizer(
        n(0.1), l1_regularization_strength=n(0.001), l2_regularization_strength=n(0.01)
    ),
}  # fmt: skip
"""``n`` makes the numbers that TensorFlow wants of the element type of the variables.

Rates are such that a hundred steps learn, and that TensorFlow's own losses in f32 are those in f64 to 1e-5: with larger
ones a unit passes the corner of a relu, or a weight that of an L1 penalty, at another step when a last bit differs.
"""


def build(tf: Any, model: str, optimizer: str, dtype: Any = np.float64) -> tuple[Any, Any, list[Any]]:
    """The step, the loss and the variables."""
    loss = MODELS[model](Model(tf, dtype))
    step = OPTIMIZERS[optimizer](tf, dtype).minimize(loss, tf.train.get_or_create_global_step())
    return step, loss, tf.trainable_variables()


def off(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> Any:
    """How far the losses of one digest are from another's, at most, relatively."""
    return np.max(np.abs(found[:5] - wanted[:5]) / np.abs(wanted[:5]))


def digest(losses: list[Any], values: list[Any]) -> np.ndarray[Any, Any]:
    """What is kept of a training: some losses, and of each variable the sum of squares and one element."""
    kept = [float(losses[k]) for k in (0, 1, 9, 49, 99)]
    for v in values:
        kept += [float(np.sum(np.square(v, dtype=np.float64))), float(v.reshape(-1)[-1])]
    return np.array(kept)
