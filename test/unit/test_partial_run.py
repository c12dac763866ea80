"""Runs in several steps: each node once, values kept between steps, misuse refused."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tfc as tf
from tfc.errors import FeedError, GraphError


@pytest.fixture(params=[False, True], ids=["compiled", "interpreted"])
def session(request):
    with tf.Graph().as_default(), tf.Session(interpret=request.param) as session:
        yield session


def test_steps_feed_and_fetch_in_turn(session):
    a, b, c = (tf.placeholder(tf.float32, [], name=n) for n in "abc")
    r1 = a + b
    r2 = r1 * c
    run = session.partial_run_setup([r1, r2], [a, b, c])
    first = session.partial_run(run, r1, {a: 1.0, b: 2.0})
    assert first == 3.0
    assert session.partial_run(run, r2, {c: first * 17}) == 153.0


def test_a_node_runs_once(session):
    x = tf.placeholder(tf.float32, [3], name="x")
    n = tf.Variable(0.0, name="n")
    session.run(tf.global_variables_initializer())
    count = tf.assign_add(n, 1.0)
    with tf.control_dependencies([count]):
        y = tf.identity(x) * 2
    z = y + count
    run = session.partial_run_setup([y, z], [x])
    np.testing.assert_array_equal(session.partial_run(run, y, {x: [1, 2, 3]}), [2, 4, 6])
    np.testing.assert_array_equal(session.partial_run(run, z), [3, 5, 7])
    assert session.run(n) == 1.0


def test_a_training_operation_is_a_fetch(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    w = tf.Variable([1.0, 1.0], name="w")
    session.run(tf.global_variables_initializer())
    loss = tf.reduce_sum(w * x)
    step = tf.assign_sub(w, 0.5 * x).op
    with tf.control_dependencies([loss]):
        step = tf.group(step)
    # The read of `loss` and the assignment are ordered by the steps themselves.
    run = session.partial_run_setup([loss, step], [x])
    assert session.partial_run(run, loss, {x: [2.0, 4.0]}) == 6.0
    assert session.partial_run(run, step) is None
    np.testing.assert_array_equal(session.run(w), [0.0, -1.0])


def test_shapes_may_differ_between_runs(session):
    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.exp(x)
    z = tf.reduce_sum(y)
    for size in (1, 5, 0):
        run = session.partial_run_setup([y, z], [x])
        value = np.arange(size, dtype=np.float32)
        np.testing.assert_allclose(session.partial_run(run, {"y": y}, {x: value})["y"], np.exp(value), rtol=1e-6)
        np.testing.assert_allclose(session.partial_run(run, [z])[0], np.exp(value).sum(), rtol=1e-6)


def test_programs_are_compiled_once(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    y = x * 3
    z = y + 1
    for _ in range(3):
        run = session.partial_run_setup([y, z], [x])
        session.partial_run(run, y, {x: [1, 2]})
        session.partial_run(run, z)
    assert session.compilations == 2


def test_a_feed_of_an_inner_tensor_and_a_fetch_of_a_feed(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    y = x * 3
    z = y + 1
    run = session.partial_run_setup([y, z], [y])
    np.testing.assert_array_equal(session.partial_run(run, y, {y: [1, 2]}), [1, 2])
    np.testing.assert_array_equal(session.partial_run(run, z), [2, 3])


def test_an_abandoned_run_frees_its_values(session):
    x = tf.placeholder(tf.float32, [1000], name="x")
    y = x * 3
    z = y + 1
    run = session.partial_run_setup([y, z], [x])
    session.partial_run(run, y, {x: np.ones(1000, np.float32)})
    (value,) = run.values.values()
    kept = weakref.ref(value)
    del value
    gc.collect()
    assert kept() is not None, "the next step needs it"
    del run
    gc.collect()
    assert kept() is None


def test_the_caller_may_change_what_it_has(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    y = x * 3
    z = y + x
    run = session.partial_run_setup([y, z], [x])
    fed = np.array([1, 2], np.float32)
    fetched = session.partial_run(run, y, {x: fed})
    fed[:] = fetched[:] = 0
    np.testing.assert_array_equal(session.partial_run(run, z), [4, 8])


def test_a_failed_step_changes_nothing(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    y = x * 3
    run = session.partial_run_setup([y], [x])
    with pytest.raises(FeedError, match="Cannot feed value of shape"):
        session.partial_run(run, y, {x: [1, 2, 3]})
    with pytest.raises(FeedError, match="must feed a value for placeholder tensor 'x'"):
        session.partial_run(run, y)
    np.testing.assert_array_equal(session.partial_run(run, y, {x: [1, 2]}), [3, 6])


def test_misuse_is_refused(session):
    x, other = (tf.placeholder(tf.float32, [2], name=n) for n in ("x", "other"))
    y = x * 3
    z = y + 1
    with pytest.raises(FeedError, match="placeholder tensor 'x'"):
        session.partial_run_setup([y], [])
    run = session.partial_run_setup([y, z], [x])
    with pytest.raises(GraphError, match=r"'other:0' cannot be fed") as error:
        session.partial_run(run, y, {other: [1, 2]})
    assert "still to be fed: 'x:0'" in str(error.value)
    session.partial_run(run, y, {x: [1, 2]})
    with pytest.raises(GraphError, match="cannot be fetched in this step"):
        session.partial_run(run, y)
    with pytest.raises(GraphError, match="'x:0' cannot be fed"):
        session.partial_run(run, z, {x: [1, 2]})
    with pytest.raises(GraphError, match="expected a handle"):
        session.partial_run("handle", z)
    with tf.Session() as stranger, pytest.raises(GraphError, match="expected a handle"):
        stranger.partial_run(run, z)
    np.testing.assert_array_equal(session.partial_run(run, z), [4, 7])
