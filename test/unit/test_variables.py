"""Variables beyond the guide: parts, templates, scatters, defaults of scopes, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tfc as tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def started(**options):
    session = tf.Session(**options)
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    return session


# What is scattered


STEPS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum, "max": np.maximum,
    "update": lambda _old, new: new,
}  # fmt: skip


def scattered(kind, old, indices, updates):
    """The same in numpy: one update after the other."""
    new = old.copy()
    for i, u in zip(indices.reshape(-1), updates.reshape(-1, *old.shape[1:]), strict=True):
        new[i] = STEPS[kind](new[i], u)
    return new


@pytest.mark.parametrize("interpret", [False, True])
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div", "min", "max", "update"])
def test_rows_that_come_twice_count_twice(kind, interpret):
    rng = np.random.default_rng(3)
    old, updates = rng.integers(1, 9, (5, 3)) * 2.0, 2.0 ** rng.integers(-1, 2, (2, 2, 3))
    indices = np.array([[4, 1], [1, 0]], np.int64)
    v = tf.Variable(old.astype(np.float32))
    change = getattr(tf, f"scatter_{kind}")(v, indices, updates.astype(np.float32))
    session = started(interpret=interpret)
    wanted = scattered(kind, old, indices, updates).astype(np.float32)
    assert session.run(change).tolist() == session.run(v).tolist() == wanted.tolist()


@pytest.mark.parametrize("kind", ["add", "sub", "update"])
def test_indices_of_several_numbers(kind):
    v = tf.Variable(np.arange(24).reshape(2, 3, 4))
    function = getattr(v, f"scatter_nd_{kind}")
    rows = function([[1, 2], [0, 0]], np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))
    ones = function([[0, 1, 3], [1, 0, 2]], [100, 200])
    session = started()
    wanted = np.arange(24).reshape(2, 3, 4)
    for where, what in ((([1, 0], [2, 0]), [[1, 2, 3, 4], [5, 6, 7, 8]]), (([0, 1], [1, 0], [3, 2]), [100, 200])):
        wanted[where] = STEPS[kind](wanted[where], what)
    session.run(rows)
    assert session.run(ones).tolist() == wanted.tolist()


def test_an_index_outside_is_an_error_of_the_run_and_changes_nothing():
    v, at = tf.Variable(np.zeros((3, 2), np.float32)), tf.placeholder(tf.int32, [1])
    change = tf.scatter_add(v, at, 1.0)
    session = started()
    with pytest.raises(tf.RunError, match=r"test_variables.py:\d+.*ScatterAdd: expected indices in \[0, 3\), got \[3\]"):
        session.run(change, {at: [3]})
    assert session.run(change, {at: [2]}).tolist() == [[0, 0], [0, 0], [1, 1]]


def test_scatters_are_checked_where_they_are_made():
    v = tf.Variable(np.zeros((3, 2), np.float32))
    with pytest.raises(tf.GraphError, match=r"expected updates of shape \(1, 2\), got \(1, 3\)"):
        tf.scatter_add(v, [0], np.zeros((1, 3), np.float32))
    with pytest.raises(tf.GraphError, match="expected indices of 1 to 2 numbers"):
        tf.scatter_nd_add(v, [[0, 0, 0]], [1.0])
    with pytest.raises(tf.GraphError, match="expected indices of integers"):
        tf.scatter_add(v, [0.5], [[1.0, 1.0]])
    with pytest.raises(tf.GraphError, match="'ScatterAdd': expected a variable to assign to"):
        tf.scatter_add(tf.zeros([3]), [0], [1.0])


def test_counting_up():
    v = tf.Variable(0)
    count = v.count_up_to(2)
    session = started()
    assert [session.run(count) for _ in range(2)] == [0, 1]
    with pytest.raises(tf.RunError, match=r"test_variables.py:\d+.*CountUpTo: reached the limit of 2"):
        session.run(count)
    assert session.run(v) == 2


# Parts


def test_a_partitioned_variable_is_its_parts_joined():
    with tf.variable_scope("a", partitioner=tf.fixed_size_partitioner(3)):
        v = tf.get_variable("v", [7, 2], initializer=tf.ones_initializer())
        w = tf.get_variable("w", [7], initializer=tf.zeros_initializer())
    assert [p.name for p in v] == ["a/v/part_0:0", "a/v/part_1:0", "a/v/part_2:0"]
    assert [p.shape.as_list() for p in v] == [[3, 2], [2, 2], [2, 2]]
    assert (v.name, v.shape, len(v), len(w)) == ("a/v", [7, 2], 3, 3)
    assert len(tf.trainable_variables()) == 6
    with tf.variable_scope("a", reuse=True, partitioner=tf.fixed_size_partitioner(3)):
        assert tf.get_variable("v", [7, 2]) is v
    with pytest.raises(tf.GraphError, match="Variable a/v already exists"), tf.variable_scope("a"):
        tf.get_variable("v", [7, 2], partitioner=tf.fixed_size_partitioner(3))
    change, doubled = v.assign(np.arange(14.0).reshape(7, 2)), v * 2.0
    session = started()
    session.run(change)
    assert session.run(doubled).tolist() == (np.arange(14.0).reshape(7, 2) * 2).tolist()


def test_partitioners():
    shape = tf.TensorShape([100, 64])
    assert tf.fixed_size_partitioner(4)(shape, dtype=tf.float32) == [4, 1]
    assert tf.variable_axis_size_partitioner(64 * 4 * 30)(shape, dtype=tf.float32) == [4, 1]
    assert tf.variable_axis_size_partitioner(64 * 4 * 30, max_shards=2)(shape, dtype=tf.float32) == [2, 1]
    assert tf.min_max_variable_partitioner(8, min_slice_size=64 * 4 * 25)(shape, dtype=tf.float32) == [4, 1]
    for counts, message in (([2, 2], "one of them above 1"), ([200, 1], "at most 100 parts"), ([2], "one number for each")):
        with pytest.raises(tf.GraphError, match=message):
            tf.get_variable("v", shape, partitioner=lambda counts=counts, **_: counts)


def test_parts_are_scaled_like_the_whole():
    v = tf.get_variable("v", [400, 100], partitioner=tf.fixed_size_partitioner(8))
    session = started()
    x = session.run(v.as_tensor())
    limit = np.sqrt(6 / 500)  # glorot's, of 400 inputs and 100 outputs
    assert 0.99 * limit < np.abs(x).max() <= limit


# Templates


def test_all_calls_of_a_template_share_its_variables():
    def scale(x, by):
        return x * tf.get_variable("scale", [], initializer=tf.constant_initializer(by))

    double, triple = (tf.make_template("layer", scale, by=k) for k in (2.0, 3.0))
    values = [double(tf.constant(1.0)), double(tf.constant(10.0)), triple(tf.constant(1.0))]
    assert [v.name for v in tf.global_variables()] == ["layer/scale:0", "layer_1/scale:0"]
    assert double.trainable_variables == tf.global_variables()[:1]
    assert started().run(values) == [2, 20, 3]


def test_a_later_call_of_a_template_makes_no_variable():
    names = iter("abc")
    layer = tf.make_template("layer", lambda: tf.Variable(1.0, name=next(names)))
    layer()
    with pytest.raises(tf.GraphError, match=r"later call of the template 'layer' .*test_variables.py.*b:0"):
        layer()


# Scopes


def test_a_scope_object_keeps_what_it_was_given():
    with tf.variable_scope("a", initializer=tf.constant_initializer(3.0)) as a:
        a.set_dtype(tf.float64)
    with tf.variable_scope("elsewhere"), tf.variable_scope(a, auxiliary_name_scope=False) as again:
        v = tf.get_variable("v", [1])
        x = tf.constant(1, name="x")
    assert (v.name, v.dtype, x.name) == ("a/v:0", tf.float64, "elsewhere/x:0")
    assert again.original_name_scope == "a/"
    with tf.variable_scope("b", auxiliary_name_scope=False):
        assert tf.constant(1, name="y").name == "y:0"
    with tf.variable_scope("a"):
        assert tf.constant(1, name="z").name == "a_1/z:0"
        assert tf.get_variable("w", [1]).name == "a/w:0"


def test_reuse_is_inherited_and_ends_with_its_scope():
    with tf.variable_scope("a"):
        v = tf.get_variable("v", [1])
    with tf.variable_scope("", reuse=True), tf.variable_scope("a", reuse=False):
        assert tf.get_variable("v", [1]) is v
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE) as scope:
        assert tf.get_variable("v", [1]) is v
        w = tf.get_variable("w", [1])
        scope.reuse_variables()
        with pytest.raises(tf.GraphError, match="Variable a/u does not exist"):
            tf.get_variable("u", [1])
    with tf.variable_scope("a"), pytest.raises(tf.GraphError, match=r"Variable a/w already exists.*test_variables.py"):
        tf.get_variable("w", [1])
    assert scope.trainable_variables() == [v, w]


def test_custom_getters_go_from_the_inner_to_the_outer():
    def prefix(word):
        def getter(make, name, *args, **arguments):
            return make(f"{word}_{name}", *args, **arguments)

        return getter

    with tf.variable_scope("a", custom_getter=prefix("outer")), tf.variable_scope("b", custom_getter=prefix("inner")):
        assert tf.get_variable("v", [1]).name == "outer_inner_a/b/v:0"


def test_a_regularizer_can_be_switched_off():
    with tf.variable_scope("a", regularizer=tf.nn.l2_loss):
        tf.get_variable("v", [2], initializer=tf.ones_initializer())
        tf.get_variable("w", [2], regularizer=tf.no_regularizer)
    assert started().run(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == [1.0]


def test_local_variables_are_not_trained():
    v = tf.get_local_variable("v", [2])
    w = tf.get_variable("w", [], collections=[tf.GraphKeys.LOCAL_VARIABLES])
    u = tf.get_variable("u", [], collections=[tf.GraphKeys.LOCAL_VARIABLES], trainable=True)
    assert tf.local_variables() == [v, w, u]
    assert tf.trainable_variables() == [u]
    assert tf.global_variables() == []


# Initial values


def test_an_initial_value_may_come_from_another_variable_in_any_way():
    v = tf.get_variable("v", initializer=lambda: tf.random_uniform([3], 1.0, 2.0))
    w = tf.get_variable("w", initializer=v + 1)
    u = tf.get_variable("u", initializer=w.initialized_value() * 2)
    session = started()
    a, b, c = session.run([v, w, u])
    assert np.array_equal(b, a + 1)
    assert np.array_equal(c, b * 2)


def test_an_initial_value_that_needs_itself_is_refused_with_the_lines():
    def first(shape, dtype):
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            return tf.get_variable("b", shape, initializer=second) + 1.0

    def second(shape, dtype):
        return tf.get_variable("a", shape, initializer=first) + 1.0

    with pytest.raises(tf.GraphError, match=r"variable a needs that variable itself: 'a' \(.*test_variables.py:\d+\) needs 'b'"):
        tf.get_variable("a", [2], initializer=first)
    assert tf.get_variable("a", [2]) in tf.global_variables()  # and can be made after that


def test_initial_values_are_checked():
    with pytest.raises(tf.GraphError, match=r"gave the shape \(3,\), not \(2,\)"):
        tf.get_variable("v", [2], initializer=lambda shape, dtype: tf.zeros([3], dtype))
    with pytest.raises(tf.GraphError, match="expected a tensor of int32, got 'x:0' of float32"):
        tf.get_variable("w", initializer=tf.constant(1.0, name="x"), dtype=tf.int32)
    with pytest.raises(tf.GraphError, match=r"'variance_scaling': expected .*got 1.0, 'fan'"):
        tf.variance_scaling_initializer(1.0, "fan")
    with pytest.raises(tf.GraphError, match="the name of a variable, got None"):
        tf.get_variable(None, [2])


@pytest.mark.parametrize("shape", [(20, 20), (7, 30), (3, 3, 4, 8)])
def test_orthogonal_matrices(shape):
    v = tf.get_variable("v", shape, initializer=tf.orthogonal_initializer(gain=2.0, seed=3))
    q = started().run(v).reshape(-1, shape[-1]).astype(np.float64) / 2
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    assert np.abs(small - np.eye(len(small))).max() < 3e-6  # f32
    assert np.abs(q).max() < 1


# Where values are kept


def test_sessions_of_one_server_share_their_variables():
    server, other = tf.train.Server.create_local_server(), tf.train.Server.create_local_server()
    v = tf.get_variable("v", initializer=tf.constant(1.0))
    add, start = v.assign_add(1.0), tf.global_variables_initializer()
    with tf.Session(server.target) as a:
        a.run(start)
    b, c, alone = tf.Session(server.target), tf.Session(server.target), tf.Session()
    assert b.run(add) == 2  # the value outlives the session that gave it
    assert c.run(v) == 2
    for apart in (alone, tf.Session(other.target)):
        with pytest.raises(tf.RunError, match="Attempting to use uninitialized value v"):
            apart.run(v)
    with tf.Graph().as_default():
        again = tf.get_variable("v", initializer=tf.constant(7.0))
        assert tf.Session(server.target).run(again) == 2  # found by name, from another graph
    with tf.Graph().as_default():
        wide = tf.get_variable("v", [3])
        with pytest.raises(tf.RunError, match=r"'v' is float32 \[\] in another session, not float32 \[3\]"):
            tf.Session(server.target).run(wide.initializer)


def test_containers_are_reset_one_by_one():
    server = tf.train.Server.create_local_server()
    with tf.container("one"):
        v = tf.get_variable("v", initializer=tf.constant(1.0))
        with tf.container("two"):
            w = tf.get_variable("w", initializer=tf.constant(2.0))
    u = tf.get_variable("u", initializer=tf.constant(3.0))
    assert (v.name, v.op.get_attr("container"), u.op.get_attr("container")) == ("v:0", "one", "")
    session = tf.Session(server.target)
    session.run(tf.global_variables_initializer())
    tf.Session.reset(server.target, ["one"])
    with pytest.raises(tf.RunError, match="closed Session"):
        session.run(u)
    session = tf.Session(server.target)
    assert session.run(tf.report_uninitialized_variables()).tolist() == [b"v"]
    assert session.run([w, u]) == [2, 3]
    tf.Session.reset(server.target)
    assert len(tf.Session(server.target).run(tf.report_uninitialized_variables())) == 3
    with pytest.raises(tf.GraphError, match="sessions without a target"):
        tf.Session.reset("")


def test_a_variable_keeps_its_shape():
    v = tf.get_variable("v", [2])
    with pytest.raises(tf.GraphError, match=r"'Assign': expected a value of shape \(2,\) for the variable 'v', got \(3,\)") as caught:
        tf.assign(v, [1.0, 2.0, 3.0], validate_shape=False)
    assert re.search(r"test_variables.py:\d+(.|\n)*made at .*test_variables.py:\d+, and keeps its shape, with validate_shape=False", str(caught.value))
    with pytest.raises(tf.GraphError, match=r"(?s)initial value of known shape.*never changes, with validate_shape=False either"):
        tf.Variable(tf.placeholder(tf.float32, [None]), validate_shape=False)
