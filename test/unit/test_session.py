"""Sessions: what runs, in which order, on which values, and what is compiled for it."""

from __future__ import annotations

import platform
import time
from collections import namedtuple

import numpy as np
import pytest

import tfc as tf
from tfc.graph.programs import Runnable


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.fixture(params=["compiled", "interpreted"])
def session(request):
    """Makes a session of the default graph."""

    def make(**config):
        options = tf.ConfigProto(**config) if config else None
        return tf.Session(config=options, interpret=request.param == "interpreted")

    return make


# Fetching.


def test_fetches_keep_their_structure(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    double, total = x * 2, tf.reduce_sum(x)
    pair = namedtuple("pair", "a b")
    feed = {x: np.array([1, 2], np.float32)}
    s = session()
    assert s.run(total, feed) == 3
    assert isinstance(s.run(total, feed), np.float32)
    assert [v.tolist() for v in s.run([double, total], feed)] == [[2, 4], 3]
    found = s.run({"d": double, "t": (total, None, [double])}, feed)
    assert found["d"].tolist() == [2, 4]
    assert found["t"][0] == 3
    assert found["t"][1] is None
    assert found["t"][2][0].tolist() == [2, 4]
    assert s.run(pair(total, double), feed).a == 3
    assert s.run(tf.no_op()) is None
    assert s.run([double, double], feed)[1].tolist() == [2, 4]
    assert s.run("mul:0", feed).tolist() == [2, 4]
    assert s.run(["Sum:0", "mul"], feed) == [3, None]
    assert s.run([], feed) == []


def test_what_cannot_be_fetched_is_refused(session):
    tf.constant(1.0, name="weight")
    with pytest.raises(tf.GraphError, match="cannot fetch 3 of type int"):
        session().run(3)
    with pytest.raises(tf.GraphError, match="did you mean 'weight:0'"):
        session().run("wight:0")
    with tf.Graph().as_default():
        other = tf.constant(1.0, name="other")
    with pytest.raises(tf.GraphError, match=r"'other:0'.*not of graph 'default'"):
        session().run(other)


# Feeding.


def test_any_tensor_can_be_fed_and_its_producers_do_not_run(session):
    counter = tf.Variable(0, name="counter")
    x = tf.placeholder(tf.float32, [], name="x")
    with tf.control_dependencies([counter.assign_add(1)]):
        middle = tf.identity(x * 2, name="middle")
    y = middle + 1
    s = session()
    s.run(tf.global_variables_initializer())
    assert s.run(y, {x: 5.0}) == 11
    assert s.run(counter) == 1
    assert s.run(y, {middle: 100.0}) == 101  # x is not needed, and nothing counts
    assert s.run(counter) == 1
    assert s.run([y, middle], {middle: 7.0}) == [8, 7]
    assert s.run(counter, {counter: 40}) == 40
    assert s.run(counter + 1, {"counter/read:0": 41}) == 42


def test_an_unfed_placeholder_is_named_in_tensorflows_words(session):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    n = tf.placeholder(tf.int64, name="n")
    with pytest.raises(tf.FeedError) as caught:
        session().run(x * 2)
    text = str(caught.value)
    assert "You must feed a value for placeholder tensor 'x' with dtype float and shape [?, 3]" in text
    assert "test_session.py:" in text
    with pytest.raises(tf.FeedError, match="placeholder tensor 'n' with dtype int64"):
        session().run(n * 2)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.ones((2, 4), np.float32), r"Cannot feed value of shape \(2, 4\) for Tensor 'x:0', which has shape '\(\?, 3\)'"),
        (np.ones(3, np.float32), r"Cannot feed value of shape \(3,\)"),
        (np.ones((2, 3), np.complex64), "expected float32 .* got complex64"),
        ("text", "expected float32"),
        ([[1, 2, 3], [4, 5]], "expected float32"),
    ],
)
def test_a_feed_that_does_not_fit_names_placeholder_and_line(session, value, words):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    with pytest.raises(tf.FeedError, match=words) as caught:
        session().run(x * 2, {x: value})
    assert "test_session.py:" in str(caught.value)


def test_feeds_convert_what_loses_nothing_of_kind(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    y = x * 2
    s = session()
    for value in ([1, 2], (1.0, 2.0), np.array([1.0, 2.0]), np.array([1, 2]), np.array([[1, 9], [2, 9]], np.float32)[:, 0]):
        assert s.run(y, {x: value}).tolist() == [2, 4]
    n = tf.placeholder(tf.int32, [], name="n")
    with pytest.raises(tf.FeedError, match="got float64"):
        s.run(n + 1, {n: np.float64(1.5)})
    assert s.run(n + 1, {n: np.int64(-5)}) == -4
    for large in (2**40, np.int64(2**40), np.uint32(2**31), 2**70):
        with pytest.raises(tf.FeedError, match="expected int32"):
            s.run(n + 1, {n: large})
    with pytest.raises(tf.FeedError, match="cannot be a tensor"):
        s.run(y, {x: y})


def test_a_default_is_used_only_where_nothing_is_fed(session):
    counter = tf.Variable(0, name="counter")
    with tf.control_dependencies([counter.assign_add(1)]):
        value = tf.identity([1.0, 2.0])
    x = tf.placeholder_with_default(value, [None], name="x")
    y = x * 10
    s = session()
    s.run(tf.global_variables_initializer())
    assert s.run(y).tolist() == [10, 20]
    assert s.run(y, {x: [3.0]}).tolist() == [30]
    assert s.run(counter) == 1


def test_shapes_are_checked_when_they_are_fed(session):
    x, y = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.float32, name="y")
    z = tf.matmul(x, y)
    s = session()
    assert s.run(z, {x: np.ones((2, 3)), y: np.ones((3, 4))}).shape == (2, 4)
    with pytest.raises(tf.GraphError) as caught:
        s.run(z, {x: np.ones((2, 3)), y: np.ones((4, 4))})
    text = str(caught.value)
    assert "test_session.py:" in text
    assert "got 3 and 4" in text
    assert "x:0 is float32 (2, 3)" in text


# Pruning.


def test_only_what_is_needed_runs(session):
    counter = tf.Variable(0, name="counter")
    step = counter.assign_add(1)
    x = tf.constant(2.0)
    with tf.control_dependencies([step]):
        y = x * 3
    s = session()
    s.run(tf.global_variables_initializer())
    s.run(x + 1)
    assert s.run(counter) == 0
    assert s.run(y) == 6
    assert s.run(counter) == 1
    assert s.run(tf.group(y, x)) is None
    assert s.run(counter) == 2


# Signatures.


def test_a_signature_is_compiled_once(session):
    x = tf.placeholder(tf.float32, [None], name="x")
    y, z = x + 1, x * 2
    s = session()
    for _ in range(3):
        s.run(y, {x: [1.0, 2.0]})
    assert s.compilations == 1
    s.run(y, {x: [1.0, 2.0, 3.0]})
    assert s.compilations == 2
    s.run([y, z], {x: [1.0, 2.0]})
    assert s.compilations == 3
    s.run(y, {x: np.ones(2)})
    assert s.compilations == 3


def test_a_graph_may_grow_between_runs(session):
    x = tf.placeholder(tf.float32, [], name="x")
    v = tf.Variable(1.0, name="v")
    y = x + v
    s = session()
    s.run(v.initializer)
    assert s.run(y, {x: 1.0}) == 2
    compiled = s.compilations
    w = tf.Variable(5.0, name="w")
    z = y * w
    assert s.run(y, {x: 1.0}) == 2
    assert s.compilations == compiled  # growing recompiles nothing
    s.run(w.initializer)
    assert s.run(z, {x: 1.0}) == 10
    assert s.compilations == compiled + 2


def test_a_callable_runs_one_signature(session):
    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.placeholder(tf.float32, [], name="y")
    s = session()
    call = s.make_callable([x * y, tf.reduce_sum(x)], [x, y])
    assert [v.tolist() for v in call([1.0, 2.0], 3.0)] == [[3, 6], 3]
    assert call([1.0], 2.0)[1] == 1
    with pytest.raises(tf.FeedError, match="expected 2 values, got 1"):
        call([1.0])


def test_a_closed_session_does_not_run():
    x = tf.constant(1.0)
    s = tf.Session(interpret=True)
    call = s.make_callable(x)
    s.close()
    for use in (lambda: s.run(x), call):
        with pytest.raises(tf.RunError, match="closed Session"):
            use()


def test_the_default_session(session):
    x = tf.constant(3.0)
    with pytest.raises(tf.GraphError, match="no default session"):
        x.eval()
    with session() as s:
        assert tf.get_default_session() is s
        assert x.eval() == 3
        assert (x * 2).eval(session=s) == 6
    assert tf.get_default_session() is None
    v = tf.Variable(1.0)
    s = tf.InteractiveSession()
    v.initializer.run()
    v.load(7.0)
    assert v.eval() == 7
    s.close()


# Variables.


def test_variables_keep_their_value(session):
    v = tf.Variable([1.0, 2.0], name="v")
    add, take, put = v.assign_add([1.0, 1.0]), tf.assign_sub(v, [0.5, 0.5]), v.assign([9.0, 8.0])
    s = session()
    s.run(tf.global_variables_initializer())
    assert s.run(v).tolist() == [1, 2]
    assert s.run(add).tolist() == [2, 3]
    assert s.run(take).tolist() == [1.5, 2.5]
    assert s.run(v * 2).tolist() == [3, 5]
    assert s.run(put.op) is None
    assert s.run(v).tolist() == [9, 8]
    assert s.run("v:0").tolist() == [9, 8]
    first = s.run(v)
    s.run(add)
    assert first.tolist() == [9, 8]  # what a run returned does not change
    other = session()
    with pytest.raises(tf.RunError):
        other.run(v)


def test_reading_an_uninitialized_variable_names_it_and_the_line(session):
    v = tf.Variable(1.0, name="v")
    w = tf.Variable(2.0, name="w")
    y = v + w
    s = session()
    s.run(v.initializer)
    with pytest.raises(tf.RunError, match=r"Attempting to use uninitialized value w\b") as caught:
        s.run(y)
    assert str(caught.value).count("test_session.py:") >= 2
    with pytest.raises(tf.RunError, match="uninitialized value w"):
        s.run(w.assign_add(1.0))
    s.run(w.initializer)
    assert s.run(y) == 3


def test_control_dependencies_order_reads_and_writes(session):
    v = tf.Variable(1.0, name="v")
    before = v.read_value()
    with tf.control_dependencies([before]):
        step = v.assign_add(10.0)
    with tf.control_dependencies([step]):
        after = v.read_value()
        with tf.control_dependencies([after]):
            again = v.assign(after * 2)
    s = session()
    s.run(v.initializer)
    assert s.run([before, after, again]) == [1, 11, 22]
    assert s.run([again, before]) == [64, 22]


def test_order_passes_through_nodes_without_effects(session):
    v = tf.Variable(1.0, name="v")
    with tf.control_dependencies([v.assign(5.0)]):
        gate = tf.no_op()
    with tf.control_dependencies([tf.group(gate)]):
        x = tf.identity(2.0)
    with tf.control_dependencies([x * 3]):
        y = v.read_value() + x
    s = session()
    s.run(v.initializer)
    assert s.run(y) == 7


def test_accesses_without_an_order_are_refused(session):
    v = tf.Variable(1.0, name="v")
    one, two = v.assign_add(1.0), v.assign(5.0)
    s = session()
    s.run(v.initializer)
    with pytest.raises(tf.GraphError) as caught:
        s.run([one, two])
    text = str(caught.value)
    assert "two accesses to the variable 'v' have no order" in text
    assert "one, two = v.assign_add(1.0), v.assign(5.0)" in text
    assert "missing: 'AssignAdd' before 'Assign'" in text
    assert "tf.control_dependencies(['AssignAdd'])" in text
    assert text.count("have no order") == 1
    with pytest.raises(tf.GraphError, match="no order"):
        s.run([v, one])
    assert s.run(v) == 1


def test_an_initializer_comes_before_what_reads_it(session):
    v = tf.Variable(tf.constant(3.0), name="v")
    w = tf.Variable(v + 1.0, name="w")
    s = session()
    s.run(tf.global_variables_initializer())
    assert s.run([v, w]) == [3, 4]


def test_a_loop_trains(session):
    """Least squares by hand-made gradients."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(64, 3)).astype(np.float32)
    truth = np.array([[1.0], [-2.0], [0.5]], np.float32)
    x, y = tf.placeholder(tf.float32, [64, 3]), tf.placeholder(tf.float32, [64, 1])
    w = tf.Variable(tf.zeros([3, 1]))
    error = tf.matmul(x, w) - y
    loss = tf.reduce_mean(tf.square(error))
    step = w.assign_sub(0.2 * tf.matmul(x, error, transpose_a=True) / 64.0)
    s = session()
    s.run(tf.global_variables_initializer())
    losses = [s.run([loss, step], {x: data, y: data @ truth})[0] for _ in range(60)]
    assert losses[-1] < 1e-6 * losses[0]
    np.testing.assert_allclose(s.run(w), truth, atol=1e-2)


def test_an_index_out_of_range_is_an_error_that_names_the_node(session):
    i = tf.placeholder(tf.int32, [2], name="i")
    y = tf.gather(np.arange(12, dtype=np.float32).reshape(4, 3), i, name="rows")
    s = session()
    assert s.run(y, {i: [3, 0]})[:, 0].tolist() == [9, 0]
    with pytest.raises(tf.RunError) as caught:
        s.run(y, {i: [1, 4]})
    assert "test_session.py:" in str(caught.value)
    assert "rows" in str(caught.value)


# Random numbers.


def test_random_numbers_go_on_from_run_to_run(session):
    u = tf.random_uniform([1000], -1, 1, seed=7)
    n = tf.random_normal([10001], 3.0, 2.0, seed=7)
    t = tf.truncated_normal([5000], seed=7)
    k = tf.random_uniform([4000], 2, 7, tf.int32, seed=7)
    s, other = session(), session()
    first, second = s.run([u, n, t, k]), s.run([u, n, t, k])
    for a, b, c in zip(first, second, other.run([u, n, t, k]), strict=True):
        assert not np.array_equal(a, b)
        np.testing.assert_allclose(a, c)
    u, n, t, k = first
    assert -1 <= u.min() < -0.98
    assert 0.98 < u.max() < 1
    assert abs(u.mean()) < 4 / np.sqrt(3 * 1000)
    assert abs(n.mean() - 3) < 4 * 2 / 100
    assert abs(n.std() - 2) < 4 * 2 / np.sqrt(2 * 10001)
    assert np.abs(t).max() <= 2
    assert abs(t.std() - 0.8796) < 0.03
    assert set(k.tolist()) == {2, 3, 4, 5, 6}


def test_two_random_nodes_differ_and_one_is_drawn_once(session):
    tf.set_random_seed(1)
    a, b = tf.random_uniform([8]), tf.random_uniform([8])
    x, y, z, w = session().run([a, b, a + 0.0, a])
    assert not np.array_equal(x, y)
    np.testing.assert_array_equal(x, z)
    np.testing.assert_array_equal(x, w)


def test_dropout_keeps_the_mean(session):
    y = session().run(tf.nn.dropout(tf.ones([10000]), rate=0.25, seed=3))
    assert set(np.unique(y).tolist()) <= {0.0, np.float32(1 / 0.75).item()}
    assert abs(y.mean() - 1) < 0.03


# Cost.


def test_a_second_run_costs_little(session):
    x = tf.placeholder(tf.float32, [4], name="x")
    y = x * 2 + 1
    s = session()
    feed = {x: np.ones(4, np.float32)}
    s.run(y, feed)
    plan = next(iter(s._plans.values()))
    (entry,) = plan.entries.values()
    entry.program = Runnable(lambda fed: fed, ())  # what is left is the session's own work
    plan.call = entry.program.call

    def cost():
        start = time.thread_time()  # other processes do not count
        for _ in range(2000):
            s.run(y, feed)
        return (time.thread_time() - start) / 2000

    assert min(cost() for _ in range(5)) < 10e-6


# Ahead of time.


def test_a_compiled_graph_holds_the_sessions_variables():
    x = tf.placeholder(tf.float32, ["batch", 3], name="x")
    w = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="w")
    y = tf.nn.relu(x @ w, name="y")
    with pytest.raises(tf.GraphError, match="'w' has no value without a session"):
        tf.compile(y, feeds=[x])
    s = tf.Session()
    with pytest.raises(tf.RunError, match="uninitialized value w"):
        tf.compile(y, feeds=[x], session=s)
    s.run(w.initializer)
    model = tf.compile(y, feeds=[x], session=s)
    for batch in (1, 4):
        value = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float32)
        np.testing.assert_allclose(model(value), s.run(y, {x: value}), rtol=1e-6)
    assert (model.inputs[0].name, model.outputs[0].name) == ("x", "y")
    s.run(w.assign(tf.zeros([3, 2])))
    assert model(np.ones((1, 3), np.float32)).any()  # the model keeps the values it was made with


def test_a_compilation_that_cannot_be_is_told():
    x = tf.placeholder(tf.float32, [2], name="x")
    with pytest.raises(tf.GraphError, match="expected tensors of a graph, got 3"):
        tf.compile(3)
    other = "haswell" if platform.machine() == "aarch64" else "neoverse-n1"
    with pytest.raises(tf.OptionError, match=f"'{other}' is of .*, this machine is of"):
        tf.compile(-x, cpu=other)
    for threads in (0, -1, 1025, "3"):
        with pytest.raises(tf.OptionError, match=f"from 1 to 1024, got {threads!r}"):
            tf.compile(-x, threads=threads)
    with pytest.raises(tf.OptionError, match="the shape of 'x': 'b c' is no extent"):
        tf.compile(-x, shapes={"x": ["b c"]})
    for wrong, words in (([(2,)], "expected shapes="), ({"x": 2}, "expected a list of extents"), ({"x": [None]}, "None is no")):
        with pytest.raises(tf.OptionError, match=words):
            tf.compile(-x, shapes=wrong)
    with pytest.raises(tf.GraphError, match=r"expected config=tf.ConfigProto\(...\), got dict"):
        tf.Session(config={"allow_soft_placement": True})


def test_tensors_too_large_for_any_memory(session):
    with pytest.raises(tf.GraphError, match=r"test_session.py:.*has more bytes than 64 bits can count"):
        tf.random_uniform([2**40, 2**40])
    with pytest.raises(tf.GraphError, match="has more bytes than 64 bits can count"):
        session().run(tf.broadcast_to(tf.placeholder_with_default(1.0, []), [2**40, 2**40]))
    with pytest.raises(tf.ArtifactError, match=r"out of memory: an output .* has 70,368,744,177,664 bytes"):
        tf.compile(tf.placeholder(tf.float32, [], name="x") + tf.zeros([2**24, 2**20]))(np.float32(1))


def test_a_call_of_a_model_takes_its_own_elements():
    x = tf.placeholder(tf.float32, [2], name="x")
    with pytest.raises(tf.FeedError, match=r"float32\[2\], got float64\[2\]\n.*x.astype\('float32'\)"):
        tf.compile(-x)(np.ones(2))


def test_what_cannot_be_fetched_or_fed_by_kind(session):
    x = tf.placeholder(tf.float32, name="x")
    with pytest.raises(tf.GraphError, match="cannot fetch"):
        session().run(np.ones(2))
    with pytest.raises(tf.FeedError, match="expected a dict"):
        session().run(x, [1])
