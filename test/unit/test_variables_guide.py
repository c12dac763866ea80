"""The snippets of TensorFlow's guide to variables (1.13), in its order."""

from __future__ import annotations

import numpy as np
import pytest

import tfc as tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def test_creating_a_variable():
    my_variable = tf.get_variable("my_variable", [1, 2, 3])
    my_int_variable = tf.get_variable("my_int_variable", [1, 2, 3], dtype=tf.int32,
      initializer=tf.zeros_initializer)  # fmt: skip
    other_variable = tf.get_variable("other_variable", dtype=tf.int32,
      initializer=tf.constant([23, 42]))  # fmt: skip
    assert (my_variable.name, my_variable.dtype, my_variable.shape) == ("my_variable:0", tf.float32, [1, 2, 3])
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    first, zeros, numbers = session.run([my_variable, my_int_variable, other_variable])
    assert 0 < np.abs(first).max() <= np.sqrt(6 / 5)  # glorot: 2 inputs, 3 outputs
    assert zeros.tolist() == [[[0] * 3] * 2]
    assert zeros.dtype == np.int32
    assert numbers.tolist() == [23, 42]
    with pytest.raises(tf.GraphError, match="If initializer is a constant, do not specify shape"):
        tf.get_variable("third", [2], initializer=tf.constant([23, 42]))


def test_variable_collections():
    my_local = tf.get_variable("my_local", shape=(),
    collections=[tf.GraphKeys.LOCAL_VARIABLES])  # fmt: skip
    my_non_trainable = tf.get_variable("my_non_trainable",
                                       shape=(),
                                       trainable=False)  # fmt: skip
    tf.add_to_collection("my_collection_name", my_local)
    assert tf.get_collection("my_collection_name") == [my_local]
    assert tf.global_variables() == [my_non_trainable]
    assert tf.local_variables() == [my_local]
    assert tf.trainable_variables() == []  # neither is: a local variable is not trained, either
    assert (my_local.trainable, my_non_trainable.trainable) == (False, False)
    both = tf.get_variable("both", [2])
    assert both in tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
    assert both in tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
    assert tf.get_collection("no_such_collection") == []


def test_device_placement():
    with tf.device("/device:GPU:1"):
        v = tf.get_variable("v", [1])
    assert v.device == "/device:GPU:1"
    with pytest.raises(tf.GraphError, match=r"guide.py:\d+ \(v/.*cannot run on /device:GPU:1: there is no such device"):
        tf.Session().run(v.initializer)
    session = tf.Session(config=tf.ConfigProto(allow_soft_placement=True))
    session.run(v.initializer)
    assert session.run(v).shape == (1,)
    cluster_spec = {
        "ps": ["ps0:2222", "ps1:2222"],
        "worker": ["worker0:2222", "worker1:2222", "worker2:2222"]}  # fmt: skip
    with tf.device(tf.train.replica_device_setter(cluster=cluster_spec)):
        a = tf.get_variable("a", shape=[20, 20])
        b = tf.get_variable("b", shape=[20, 20])
        c = tf.get_variable("c", shape=[20, 20])
        y = tf.matmul(a, b)
    assert [x.device for x in (a, b, c, y)] == ["/job:ps/task:0", "/job:ps/task:1", "/job:ps/task:0", "/job:worker"]
    assert a.initializer.device == a.value().device == "/job:ps/task:0"


def test_initializing_variables():
    my_variable = tf.get_variable("my_variable", [2])
    v = tf.get_variable("v", shape=(), initializer=tf.zeros_initializer())
    w = tf.get_variable("w", initializer=v.initialized_value() + 1)
    session = tf.Session()
    report = tf.report_uninitialized_variables()
    assert session.run(report).tolist() == [b"my_variable", b"v", b"w"]
    session.run(my_variable.initializer)
    assert session.run(report).tolist() == [b"v", b"w"]
    assert not session.run(tf.is_variable_initialized(v))
    session.run(tf.global_variables_initializer())
    assert session.run(report).tolist() == []
    assert session.run([v, w]) == [0, 1]


def test_initializers_that_depend_on_others_are_run_after_them():
    v = tf.get_variable("v", shape=(), initializer=tf.random_normal_initializer())
    w = tf.get_variable("w", initializer=v + 1)
    u = tf.get_variable("u", initializer=w.initialized_value() * v)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    a, b, c = session.run([v, w, u])
    assert (b, c) == (a + 1, b * a)
    alone = r"guide.py:\d+.*uninitialized value v: the variable was made at .*guide.py:\d+, .* for 'w/Assign' \(.*guide.py:\d+\)"
    with pytest.raises(tf.RunError, match=alone):
        tf.Session().run(w.initializer)


@pytest.mark.parametrize("interpret", [False, True])
def test_an_initialized_value_needs_no_initialized_variable(interpret):
    v = tf.get_variable("v", [2], initializer=tf.random_normal_initializer())
    w = tf.get_variable("w", initializer=v.initialized_value() * 2)
    session = tf.Session(interpret=interpret)
    session.run(w.initializer)
    assert session.run(tf.report_uninitialized_variables()).tolist() == [b"v"]
    first = session.run(w)
    session.run(v.initializer)
    session.run(w.initializer)  # another program: now there is a value
    value, again = session.run([v, w])
    assert np.array_equal(again, value * 2)
    assert not np.array_equal(again, first)


@pytest.mark.parametrize("interpret", [False, True])
def test_whether_a_variable_has_a_value_is_a_tensor(interpret):
    v = tf.get_variable("v", [2], initializer=tf.ones_initializer())
    there = tf.is_variable_initialized(v)
    y = tf.cond(there, v.read_value, lambda: tf.zeros([2]))
    z = tf.cond(tf.logical_and(tf.logical_not(there), tf.equal(tf.reduce_sum(y), 0)), lambda: y - 1, lambda: y + v.read_value())
    with tf.control_dependencies([v.assign([5.0, 6.0])]):
        after = tf.is_variable_initialized(v)
    session = tf.Session(interpret=interpret)
    values = session.make_callable([y, there])
    for _ in range(2):
        found, known = values()
        assert (found.tolist(), bool(known)) == ([0, 0], False)
    with pytest.raises(tf.RunError, match="uninitialized value v"):
        session.run(z)  # what decides is known only in part
    assert bool(session.run(after))
    for _ in range(2):
        found, known = values()
        assert (found.tolist(), bool(known)) == ([5, 6], True)
    assert session.run(z).tolist() == [10, 12]
    assert tf.compile([there, y], session=session)()[0]


def test_a_variable_without_a_value_is_named():
    v = tf.get_variable("v", [2])
    y = v * 2.0
    session = tf.Session()
    with pytest.raises(tf.RunError, match=r"uninitialized value v: the variable was made at .*guide.py:\d+, 'v/read' reads it"):
        session.run(y)
    with pytest.raises(tf.RunError, match=r"uninitialized value v"):
        session.run(v.assign_add([1.0, 1.0]))
    session.run(v.assign([1.0, 2.0]))
    assert session.run(y).tolist() == [2, 4]


def test_a_read_and_a_write_without_an_order_are_refused():
    v = tf.get_variable("v", shape=(), initializer=tf.zeros_initializer())
    w, assignment = v + 1, v.assign_add(1)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    with pytest.raises(tf.GraphError, match=r"test_variables_guide.py:\d+[\s\S]*'v'"):
        session.run([w, assignment])


def test_using_variables():
    v = tf.get_variable("v", shape=(), initializer=tf.zeros_initializer())
    w = v + 1
    assert isinstance(w, tf.Tensor)
    assignment = v.assign_add(1)
    with tf.control_dependencies([assignment]):
        w = v.read_value()
    with tf.Session() as sess:
        tf.global_variables_initializer().run()
        sess.run(assignment)
        assignment.op.run()
        assert assignment.eval() == 3
        assert sess.run(w) == 4


def conv_relu(input, kernel_shape, bias_shape):
    weights = tf.get_variable("weights", kernel_shape,
        initializer=tf.random_normal_initializer())  # fmt: skip
    biases = tf.get_variable("biases", bias_shape,
        initializer=tf.constant_initializer(0.0))  # fmt: skip
    conv = tf.nn.conv2d(input, weights,
        strides=[1, 1, 1, 1], padding='SAME')  # fmt: skip
    return tf.nn.relu(conv + biases)


def my_image_filter(input_images):
    with tf.variable_scope("conv1"):
        relu1 = conv_relu(input_images, [5, 5, 32, 32], [32])
    with tf.variable_scope("conv2"):
        return conv_relu(relu1, [5, 5, 32, 32], [32])


NAMES = [f"model/conv{k}/{n}:0" for k in (1, 2) for n in ("weights", "biases")]


def inputs():
    return tf.random_normal([1, 10, 10, 32]), tf.random_normal([1, 20, 20, 32])


def test_a_second_call_without_a_scope_fails():
    input1, _ = inputs()
    x = conv_relu(input1, kernel_shape=[5, 5, 32, 32], bias_shape=[32])
    with pytest.raises(tf.GraphError, match=r"Variable weights already exists, disallowed[\s\S]*test_variables_guide.py"):
        conv_relu(x, kernel_shape=[5, 5, 32, 32], bias_shape=[32])


def by_name(input1, input2):
    with tf.variable_scope("model"):
        output1 = my_image_filter(input1)
    with tf.variable_scope("model", reuse=True):
        output2 = my_image_filter(input2)
    return output1, output2


def by_call(input1, input2):
    with tf.variable_scope("model") as scope:
        output1 = my_image_filter(input1)
        scope.reuse_variables()
        output2 = my_image_filter(input2)
    return output1, output2


def by_scope(input1, input2):
    with tf.variable_scope("model") as scope:
        output1 = my_image_filter(input1)
    with tf.variable_scope(scope, reuse=True):
        output2 = my_image_filter(input2)
    return output1, output2


def by_auto_reuse(input1, input2):
    with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
        return my_image_filter(input1), my_image_filter(input2)


@pytest.mark.parametrize("build", [by_name, by_call, by_scope, by_auto_reuse])
def test_variables_are_shared(build):
    one, two = build(*inputs())
    assert [v.name for v in tf.global_variables()] == NAMES
    assert (one.shape, two.shape) == ([1, 10, 10, 32], [1, 20, 20, 32])


def test_shared_filters_run():
    one, two = by_name(*inputs())
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    x, y = session.run([one, two])
    assert (x.shape, y.shape) == ((1, 10, 10, 32), (1, 20, 20, 32))
    assert x.min() == 0 < x.max()


# What the guide does not show.


def test_scopes_give_defaults_and_unique_names():
    with tf.variable_scope("a", initializer=tf.ones_initializer(), dtype=tf.float64, regularizer=tf.nn.l2_loss):
        v = tf.get_variable("v", [2])
        with tf.variable_scope("b"):
            w = tf.get_variable("w", [3])
    assert (v.dtype, w.name) == (tf.float64, "a/b/w:0")
    names = []
    for _ in range(2):
        with tf.variable_scope(None, default_name="layer"):
            names.append(tf.get_variable("k", []).name)
    assert names == ["layer/k:0", "layer_1/k:0"]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    assert session.run(w).tolist() == [1, 1, 1]
    assert session.run(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == [1.0, 1.5]


def test_a_variable_that_is_shared_must_fit():
    tf.get_variable("v", [2])
    with tf.variable_scope("", reuse=True):
        with pytest.raises(tf.GraphError, match=r"specified shape \(3,\) and found shape \(2,\)"):
            tf.get_variable("v", [3])
        with pytest.raises(tf.GraphError, match="specified dtype int32 and found dtype float32"):
            tf.get_variable("v", [2], tf.int32)
        with pytest.raises(tf.GraphError, match="Variable u does not exist"):
            tf.get_variable("u", [2])
    with pytest.raises(tf.GraphError, match="must be fully defined, but instead was <unknown>"):
        tf.get_variable("s")


def test_a_custom_getter_sees_every_variable():
    seen = []

    def getter(make, name, **arguments):
        seen.append(name)
        return make(name, **arguments)

    with tf.variable_scope("a", custom_getter=getter), tf.variable_scope("b"):
        tf.get_variable("v", [1])
    assert seen == ["a/b/v"]


@pytest.mark.parametrize(
    ("initializer", "low", "high", "mean", "stddev"),
    [
        (tf.random_uniform_initializer(-2, 4, seed=1), -2, 4, 1, np.sqrt(3)),
        (tf.random_normal_initializer(1, 3, seed=1), -20, 20, 1, 3),
        (tf.truncated_normal_initializer(1, 3, seed=1), -5, 7, 1, 3 * 0.8796257),
        (tf.glorot_uniform_initializer(seed=1), -0.1, 0.1, 0, 0.1 / np.sqrt(3)),
        (tf.glorot_normal_initializer(seed=1), -0.132, 0.132, 0, 0.1 / np.sqrt(3)),
        (tf.initializers.he_normal(seed=1), -0.17, 0.17, 0, np.sqrt(2 / 400)),
        (tf.initializers.lecun_uniform(seed=1), -0.0867, 0.0867, 0, np.sqrt(1 / 400)),
        (tf.initializers.he_uniform(seed=1), -0.1225, 0.1225, 0, np.sqrt(2 / 400)),
        (tf.initializers.lecun_normal(seed=1), -0.1137, 0.1137, 0, np.sqrt(1 / 400)),
        (tf.variance_scaling_initializer(3.0, "fan_out", "uniform", seed=1), -0.2122, 0.2122, 0, np.sqrt(3 / 200)),
        (tf.variance_scaling_initializer(mode="fan_avg", distribution="untruncated_normal", seed=1), -0.4, 0.4, 0, np.sqrt(1 / 300)),
        (tf.uniform_unit_scaling_initializer(seed=1), -0.0867, 0.0867, 0, 0.05),
        (tf.orthogonal_initializer(seed=1), -0.4, 0.4, 0, 0.05),
        (tf.zeros_initializer(), 0, 0, 0, 0),
        (tf.constant_initializer(3.0), 3, 3, 3, 0),
        (tf.ones_initializer(), 1, 1, 1, 0),
    ],
)
def test_initializers_have_their_moments(initializer, low, high, mean, stddev):
    v = tf.get_variable("v", [400, 200], initializer=initializer)
    session = tf.Session()
    session.run(v.initializer)
    x = session.run(v)
    assert low <= x.min() <= x.max() <= high
    assert abs(x.mean() - mean) <= 4 * stddev / np.sqrt(x.size)
    assert abs(x.std() - stddev) <= 0.01 * stddev


def test_initializers_of_given_values():
    v = tf.get_variable("v", [2, 3], tf.int32, tf.constant_initializer([1, 2, 3, 4, 5, 6]))
    w = tf.get_variable("w", [3, 2], initializer=tf.initializers.identity(2.0))
    u = tf.get_variable("u", initializer=np.array([1.5, 2.5]))
    session = tf.Session()
    session.run(tf.variables_initializer([v, w, u]))
    assert [x.tolist() for x in session.run([v, w, u])] == [[[1, 2, 3], [4, 5, 6]], [[2, 0], [0, 2], [0, 0]], [1.5, 2.5]]
    assert (u.dtype, v.dtype) == (tf.float64, tf.int32)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [("assign", 5), ("assign_add", 8), ("assign_sub", -2)],
)
def test_assignments_give_the_new_value_and_can_be_loaded(change, wanted):
    v = tf.get_variable("v", initializer=tf.constant(3.0))
    node = getattr(v, change)(5.0)
    with tf.Session() as session:
        v.load(3.0)
        assert session.run(node) == wanted == v.eval()
    with pytest.raises(tf.GraphError, match=r"expected a value of shape \(\) for the variable 'v', got \(2,\)"):
        getattr(v, change)([1.0, 2.0])
