"""Optimizers, rates, norms and averages beside TensorFlow's, and what the compiler makes of steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_models import OPTIMIZERS
from training_steps import cases, flat

import tfc as tf
from tfc.compiler import lower
from tfc.dialects.host import CopyOp, LaunchOp
from tfc.graph.specialise import Request, extract
from tfc.options import Options

KNOWN = np.load(Path(__file__).parents[1] / "data" / "training.npz")


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.mark.parametrize("name", cases())
def test_the_same_as_tensorflow(name):
    found = flat(cases()[name](tf))
    # Rates and moments are sums and quotients of few terms in f32, some near 5 that cancel: units in the last place.
    np.testing.assert_allclose(found, KNOWN[name], rtol=4e-6, atol=4e-7)


def test_decay_of_weights_is_no_gradient():
    rng = np.random.default_rng(4)
    w, grads = rng.normal(size=7), rng.normal(size=(5, 7))
    var, fed = tf.Variable(w), tf.placeholder(tf.float64, [7])
    rate, decay = np.float64(0.02), np.float64(0.01)
    step = tf.train.AdamWOptimizer(decay, rate, np.float64(0.9), np.float64(0.999), np.float64(1e-8)).apply_gradients([(fed, var)])
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    m, v = np.zeros(7), np.zeros(7)
    for k, g in enumerate(grads, 1):
        session.run(step, {fed: g})
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - decay * w - rate * np.sqrt(1 - 0.999**k) / (1 - 0.9**k) * m / (np.sqrt(v) + 1e-8)
    np.testing.assert_allclose(session.run(var), w, rtol=1e-12)


def launches(target, feeds):
    """The kernels and copies of a run."""
    request = Request(target.graph, [], [target], feeds, [f.type for f in feeds])
    module = lower(extract(request).module, Options(threads=1)).module
    return [op.callee if isinstance(op, LaunchOp) else "copy" for op in module.walk() if isinstance(op, LaunchOp | CopyOp)]


@pytest.mark.parametrize("name", [*OPTIMIZERS, "adamw"])
def test_a_step_is_one_kernel_for_each_variable_that_works_in_place(name):
    make = OPTIMIZERS.get(name, lambda tf: tf.train.AdamWOptimizer(0.01))
    feeds = [tf.placeholder(tf.float32, [40, 50]) for _ in range(2)]
    variables = [tf.get_variable(n, [40, 50]) for n in "ab"]
    step = make(tf).apply_gradients(list(zip(feeds, variables, strict=True)))
    # Adam has one kernel of scalars for the rate, and one for each power of a beta.
    shared = 3 if "adam" in name else 0
    found = launches(step, feeds)
    assert len(found) == 2 + shared
    assert "copy" not in found


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_a_training_copies_no_variable(name):
    x, y = tf.placeholder(tf.float32, [32, 20]), tf.placeholder(tf.int32, [32])
    h = tf.layers.dense(tf.layers.dense(x, 30, tf.nn.relu), 30, tf.nn.relu)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=tf.layers.dense(h, 10)))
    step = OPTIMIZERS[name](tf).minimize(loss, tf.train.get_or_create_global_step())
    # What reads a weight, the gradient of its layer's input, comes before the kernel that makes the next one.
    assert "copy" not in launches(step, [x, y])


def test_slots_have_tensorflows_names_and_are_not_trained():
    a, b = tf.get_variable("a", [2]), tf.get_variable("b", [3])
    optimizer = tf.train.AdamOptimizer()
    assert optimizer.get_slot(a, "m") is None
    optimizer.apply_gradients([(tf.ones([2]), a), (None, b)])
    assert optimizer.get_slot_names() == ["m", "v"]
    assert [v.name for v in optimizer.variables()] == ["a/Adam:0", "a/Adam_1:0", "beta1_power:0", "beta2_power:0"]
    assert optimizer.get_slot(a, "v").name == "a/Adam_1:0"
    assert optimizer.get_slot(b, "v") is None
    assert tf.trainable_variables() == [a, b]


def test_steps_are_counted_and_both_can_be_fetched():
    w = tf.get_variable("w", initializer=tf.constant([1.0, 2.0]))
    count = tf.train.get_or_create_global_step()
    assert tf.train.get_or_create_global_step() is count
    assert (count.dtype, count.name) == (tf.int64, "global_step:0")
    rate = tf.train.piecewise_constant(count, [0], [1.0, 0.5])
    step = tf.train.GradientDescentOptimizer(rate).apply_gradients([(tf.ones([2]), w)], count)
    assert tf.get_collection(tf.GraphKeys.TRAIN_OP) == [step]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        _, before, value = session.run([step, count, w])
        assert (before, value.tolist()) == (0, [1, 2])  # what nodes share is read before the step
        session.run(step)
        assert tf.train.global_step(session, count) == 2
        assert session.run(w).tolist() == [-0.5, 0.5]


def test_a_constraint_holds_after_each_step():
    w = tf.get_variable("w", initializer=tf.constant([1.0, 2.0]), constraint=lambda v: tf.clip_by_value(v, 0.0, 1.5))
    step = tf.train.GradientDescentOptimizer(2.0).apply_gradients([(tf.constant([1.0, 0.1]), w)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run(w).tolist() == [0, 1.5]


def test_rates_may_be_tensors_that_are_fed():
    w, rate = tf.get_variable("w", initializer=tf.constant(1.0)), tf.placeholder(tf.float32, [])
    step = tf.train.MomentumOptimizer(rate, lambda: tf.constant(0.5)).apply_gradients([(tf.constant(1.0), w)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step, {rate: 0.25})
        session.run(step, {rate: 0.5})
        assert session.run(w) == 1 - 0.25 - 0.75


def test_misuse_is_told():
    w = tf.get_variable("w", [2])
    sgd = tf.train.GradientDescentOptimizer(0.1)
    with pytest.raises(tf.GraphError, match=r"gradient of the variable's shape \(2,\), got \(3,\)"):
        sgd.apply_gradients([(tf.ones([3]), w)])
    with pytest.raises(tf.GraphError, match="no gradients are given"):
        sgd.apply_gradients([(None, w)])
    with pytest.raises(tf.GraphError, match="expected a pair of gradient and variable"):
        sgd.apply_gradients([(tf.ones([2]), tf.ones([2]))])
    with pytest.raises(tf.GraphError, match="initial_accumulator_value above 0"):
        tf.train.AdagradOptimizer(0.1, 0.0)
    with pytest.raises(tf.GraphError, match="expected 2 values for 1 boundaries"):
        tf.train.piecewise_constant(tf.constant(1), [1], [1.0])
    with pytest.raises(tf.GraphError, match="expected a global_step"):
        tf.train.exponential_decay(0.1, None, 1, 0.5)
    with pytest.raises(tf.GraphError, match="expected a list of tensors"):
        tf.clip_by_global_norm(tf.ones([2]), 1.0)
    tf.train.create_global_step()
    with pytest.raises(tf.GraphError, match="there is a global step already"):
        tf.train.create_global_step()
