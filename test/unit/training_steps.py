"""Single steps of optimizers, rates, norms and averages, in words that TensorFlow 1 and tfc both understand.

`test/data/training.py` keeps what TensorFlow says; `test_optimizers.py` compares. ``tf`` is the one or
the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from training_models import OPTIMIZERS

INDICES = np.array([1, 4, 1], np.int32)


def dense(tf: Any, optimizer: str) -> list[Any]:
    """A variable and its slots after each of four steps with given gradients."""
    rng = np.random.default_rng(1)
    var = tf.get_variable("var", initializer=tf.constant(rng.normal(size=(5, 3)).astype(np.float32)))
    grad = tf.placeholder(tf.float32, [5, 3])
    return _steps(tf, optimizer, var, grad, grad, lambda: rng.normal(size=(5, 3)))


def sparse(tf: Any, optimizer: str) -> list[Any]:
    """The same with rows at indices, of which one comes twice."""
    rng = np.random.default_rng(2)
    var = tf.get_variable("var", initializer=tf.constant(rng.normal(size=(6, 2)).astype(np.float32)))
    rows = tf.placeholder(tf.float32, [3, 2])
    grad = tf.IndexedSlices(rows, tf.constant(INDICES), tf.constant([6, 2]))
    return _steps(tf, optimizer, var, grad, rows, lambda: rng.normal(size=(3, 2)))


def _steps(tf: Any, optimizer: str, var: Any, grad: Any, fed: Any, draw: Any) -> list[Any]:
    made = OPTIMIZERS[optimizer](tf)
    step = made.apply_gradients([(grad, var)])
    slots = [made.get_slot(var, name) for name in made.get_slot_names()]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    found: list[Any] = []
    for _ in range(4):
        session.run(step, {fed: draw().astype(np.float32)})
        found += session.run([var, *slots])
    return found


def rates(tf: Any) -> list[Any]:
    """Every schedule at some steps."""
    step, train = tf.placeholder(tf.int64, []), tf.train
    made = [
        train.exponential_decay(0.1, step, 10, 0.9), train.exponential_decay(0.1, step, 10, 0.9, staircase=True),
        train.natural_exp_decay(0.1, step, 10, 0.5), train.inverse_time_decay(0.1, step, 10, 0.5, True),
        train.polynomial_decay(0.1, step, 20, 0.01, 0.5), train.polynomial_decay(0.1, step, 20, 0.01, 2.0, cycle=True),
        train.cosine_decay(0.1, step, 20, 0.1), train.linear_cosine_decay(0.1, step, 20),
        train.piecewise_constant(step, [5, 30], [1.0, 0.5, 0.1]), train.cosine_decay_restarts(0.1, step, 7),
        train.cosine_decay_restarts(0.1, step, 7, 1.0, 0.5, 0.1),
    ]  # fmt: skip
    session = tf.Session()
    return [np.array(session.run(made, {step: k})) for k in (0, 1, 5, 6, 13, 20, 29, 50)]


def norms(tf: Any) -> list[Any]:
    """Every way to clip."""
    t = tf.constant(np.arange(-5, 7, dtype=np.float32).reshape(3, 4))
    clipped, norm = tf.clip_by_global_norm([t, None, t * 2.0], 3.0)
    untouched, _ = tf.clip_by_global_norm([t], 100.0)
    broken, _ = tf.clip_by_global_norm([t, t * np.float32(np.inf)], 1.0)
    made = [tf.clip_by_norm(t, 2.0), tf.clip_by_norm(t, 2.0, axes=[1]), clipped[0], clipped[2], norm, untouched[0]]
    return tf.Session().run([*made, broken[0], tf.clip_by_average_norm(t, 0.1)])


def averages(tf: Any) -> list[Any]:
    """Averages of a variable that changes, and of a tensor."""
    w, count = tf.Variable([1.0, 2.0], name="w"), tf.Variable(0, name="count", trainable=False)
    slow = tf.train.ExponentialMovingAverage(0.9, num_updates=count)
    with tf.control_dependencies([w.assign_add([1.0, 1.0])]):
        moved = slow.apply([w])
    x = tf.placeholder(tf.float32, [2])
    y = x * 1.0
    fair = tf.train.ExponentialMovingAverage(0.9, zero_debias=True)
    both = tf.group(moved, fair.apply([y]))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    found: list[Any] = []
    for k in range(4):
        session.run(both, {x: [k, 2.0]})
        found += session.run([slow.average(w), fair.average(y)])
    return found


def cases() -> dict[str, Any]:
    """Every case: what runs it."""
    every = {f"{f.__name__}-{o}": (lambda tf, f=f, o=o: f(tf, o)) for f in (dense, sparse) for o in OPTIMIZERS}
    return every | {f.__name__: f for f in (rates, norms, averages)}


def flat(values: list[Any]) -> np.ndarray[Any, Any]:
    """Many arrays as one."""
    return np.concatenate([np.asarray(v, np.float32).reshape(-1) for v in values])
