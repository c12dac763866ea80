"""Gradients through branches and loops: against differences, of first and second order."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Operation

import tfc as tf
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import AddOp, MulOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.region_copy import RegionCopy
from tfc.dialects.tfc.types import tensor_type
from tfc.errors import GraphError

RNG = np.random.default_rng(0)
X, W = np.array([0.3, 0.4, -0.5]), np.array([0.7, 1.1, 0.9])


@pytest.fixture(autouse=True)
def graph() -> Generator[Any]:
    with tf.Graph().as_default() as made:
        yield made


@pytest.fixture(params=["interpreted", "compiled"])
def interpret(request: Any) -> bool:
    return request.param == "interpreted"


def check(
    y: Any, feeds: Mapping[Any, Any], interpret: bool, *, xs: Sequence[Any] = (), order: int = 1, tolerance: float = 1e-5
) -> None:
    """The derivatives of the sum of ``y`` by ``xs``, all fed if left out, against central differences."""
    feeds = {x: np.asarray(v) for x, v in feeds.items()}
    wanted = list(xs) or [x for x, v in feeds.items() if v.dtype == np.float64]
    for _ in range(order - 1):
        (y,) = tf.gradients(y, wanted[:1])
    y = tf.reduce_sum(y)
    grads = [tf.convert_to_tensor(g) for g in tf.gradients(y, wanted)]
    with tf.Session(interpret=interpret) as session:
        if tf.global_variables():
            session.run(tf.global_variables_initializer())
        found = session.run(grads, feeds)
        rng = np.random.default_rng(1)
        for x, g in zip(wanted, found, strict=True):
            move = rng.standard_normal(feeds[x].shape)
            high, low = (session.run(y, {**feeds, x: feeds[x] + s * 1e-6 * move}) for s in (1, -1))
            want = (high - low) / 2e-6
            assert abs(np.sum(g * move) - want) <= tolerance * max(abs(want), 1.0)


def two() -> tuple[Any, Any]:
    return tf.placeholder(tf.float64, [3]), tf.placeholder(tf.float64, [3])


@pytest.mark.parametrize("sign", [1, -1])
def test_of_a_branch(interpret: bool, sign: int) -> None:
    x, w = two()
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.exp(x) * w, lambda: x * x * x)
    check(y * w, {x: sign * X, w: W}, interpret, order=2)


def test_of_a_branch_in_a_branch(interpret: bool) -> None:
    x, w = two()
    y = tf.cond(x[0] > 0, lambda: tf.cond(w[0] > 1, lambda: x * w, lambda: tf.sin(x) * w), lambda: x)
    check(y * w, {x: X, w: W}, interpret)


@pytest.mark.parametrize("order", [1, 2])
def test_of_a_loop(interpret: bool, order: int) -> None:
    x, w = two()
    _, y = tf.while_loop(lambda i, a: i < 5, lambda i, a: (i + 1, tf.sin(a * w) + tf.reduce_sum(a)), [0, x])
    check(y, {x: X, w: W}, interpret, order=order)


def test_third_order_of_a_loop(interpret: bool) -> None:
    x, w = two()
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.sin(a * w) * a), [0, x])
    check(y, {x: X, w: W}, interpret, order=3)


@pytest.mark.parametrize("order", [1, 2])
def test_of_a_loop_of_unknown_length(interpret: bool, order: int) -> None:
    x, w = two()
    y = tf.while_loop(lambda a: tf.reduce_sum(a) < 100.0, lambda a: a * w * 2 + 1.0, [x])
    check(y, {x: X, w: W}, interpret, order=order)


def test_of_a_loop_that_ends_before_its_bound(interpret: bool) -> None:
    x, w = two()
    y = tf.while_loop(lambda a: tf.reduce_sum(a) < 100.0, lambda a: a * w * 2 + 1.0, [x], maximum_iterations=30)
    check(y, {x: X, w: W}, interpret)


def test_of_a_loop_of_fed_length(interpret: bool) -> None:
    x, w = two()
    n = tf.placeholder(tf.int32, [])
    _, y = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, tf.tanh(a * w)), [0, x])
    for turns in (4, 0):
        check(y, {x: X, w: W, n: turns}, interpret)


def test_of_a_loop_as_long_as_an_extent(interpret: bool) -> None:
    x = tf.placeholder(tf.float64, [None, 3])
    w = tf.placeholder(tf.float64, [3])
    _, y = tf.while_loop(lambda i, a: i < tf.shape(x)[0], lambda i, a: (i + 1, tf.tanh(a * w + x[i])), [0, w])
    check(y, {x: RNG.standard_normal((4, 3)), w: W}, interpret)


def test_of_a_loop_in_a_loop(interpret: bool) -> None:
    x, w = two()

    def outer(i: Any, a: Any) -> Any:
        _, b = tf.while_loop(lambda j, b: j < 2 + i, lambda j, b: (j + 1, tf.sin(b) * w + a), [0, a])
        return i + 1, b + a

    _, y = tf.while_loop(lambda i, a: i < 3, outer, [0, x])
    check(y, {x: X, w: W}, interpret)


def test_of_a_branch_in_a_loop(interpret: bool) -> None:
    x, w = two()

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: tf.exp(a * w * 0.3), lambda: a * a + x)

    _, y = tf.while_loop(lambda i, a: i < 4, body, [0, x])
    check(y, {x: X, w: W}, interpret)


def test_matrix_products_are_kept(interpret: bool) -> None:
    x, w = tf.placeholder(tf.float64, [2, 3]), tf.placeholder(tf.float64, [3, 3])
    _, y = tf.while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, tf.tanh(tf.matmul(a, w)) + a), [0, x])
    check(y, {x: RNG.standard_normal((2, 3)), w: RNG.standard_normal((3, 3))}, interpret, order=2)


def test_of_arrays(interpret: bool) -> None:
    x, w = tf.placeholder(tf.float64, [5, 3]), tf.placeholder(tf.float64, [3])
    rows = tf.TensorArray(tf.float64, 5).unstack(x)

    def body(i: Any, a: Any, out: Any) -> Any:
        a = tf.tanh(a * w + rows.read(i))
        return i + 1, a, out.write(i, a * a)

    _, _, out = tf.while_loop(lambda i, *_: i < 5, body, [0, w, tf.TensorArray(tf.float64, 5)])
    check(out.stack() * x, {x: RNG.standard_normal((5, 3)), w: W}, interpret, order=2)


def test_of_a_scan(interpret: bool) -> None:
    x = tf.placeholder(tf.float64, [5, 3])
    y = tf.scan(lambda a, row: tf.sin(a) * row, x)
    check(y, {x: RNG.standard_normal((5, 3))}, interpret)


def test_random_numbers_are_the_same_in_both_passes(interpret: bool) -> None:
    x = tf.placeholder(tf.float32, [4])

    def body(i: Any, a: Any, total: Any) -> Any:
        mask = tf.cast(tf.random_uniform([4], seed=3) > 0.5, tf.float32)
        return i + 1, a * (1 + mask), total + mask

    _, y, masks = tf.while_loop(lambda i, *_: i < 6, body, [0, x, tf.zeros([4])])
    (g,) = tf.gradients(y, x)
    with tf.Session(interpret=interpret) as session:
        slope, count = session.run([g, masks], {x: np.ones(4, np.float32)})
    assert 0 < count.sum() < 24
    np.testing.assert_allclose(slope, 2.0**count)


def test_random_numbers_of_a_branch(interpret: bool) -> None:
    x = tf.placeholder(tf.float32, [4])
    training = tf.placeholder(tf.bool, [])
    y = tf.cond(training, lambda: x * tf.random_uniform([4], seed=3), lambda: x)
    (g,) = tf.gradients(y, x)
    with tf.Session(interpret=interpret) as session:
        value, slope = session.run([y, g], {x: np.full(4, 2, np.float32), training: True})
        np.testing.assert_allclose(slope, value / 2)
        np.testing.assert_allclose(session.run(g, {x: np.ones(4, np.float32), training: False}), np.ones(4))


def test_effects_happen_once(interpret: bool) -> None:
    v = tf.Variable(0.0)
    x = tf.placeholder(tf.float32, [])

    def body(i: Any, a: Any) -> Any:
        with tf.control_dependencies([tf.assign_add(v, 1.0)]):
            return i + 1, a * x

    _, y = tf.while_loop(lambda i, a: i < 3, body, [0, x])
    (g,) = tf.gradients(y, x)
    with tf.Session(interpret=interpret) as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(session.run([y, g], {x: 2.0}), [16.0, 32.0])
        assert session.run(v) == 3.0


def reading(v: Any, x: Any) -> dict[str, Any]:
    """Functions of ``x`` that read a variable inside of a branch, loop or function."""

    @tf.function
    def f(a: Any) -> Any:
        return a * v.read_value()

    def chosen(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(tf.equal(i, 1), lambda: a, lambda: tf.sin(a * v.read_value()))

    def changing(i: Any, a: Any) -> Any:
        b = tf.cond(i > 0, lambda: a * v.read_value(), lambda: a)
        with tf.control_dependencies([b]), tf.control_dependencies([v.assign(v.read_value() * 0.5)]):
            return i + 1, b * a

    loop = {"loop": lambda i, a: (i + 1, a * v.read_value()), "branch in a loop": chosen, "call in a loop": lambda i, a: (i + 1, f(a))}
    made = {k: tf.while_loop(lambda i, a: i < 3, body, [0, x])[1] for k, body in loop.items()}
    return made | {
        "branch": tf.cond(x[0] > 0, lambda: x * v.read_value(), lambda: x),
        "other branch": tf.cond(x[0] < 0, lambda: x * v.read_value(), lambda: x * v.read_value() * v.read_value()),
        "call": f(x),
        "changed": tf.while_loop(lambda i, a: i < 3, changing, [0, x])[1],
    }


WAYS = ["loop", "branch in a loop", "call in a loop", "branch", "other branch", "call", "changed"]


@pytest.mark.parametrize("way", WAYS)
def test_of_a_variable_that_is_read_inside(interpret: bool, way: str) -> None:
    """By differences of what the run gives when the variable begins elsewhere."""
    v = tf.Variable(W[0], name="v", dtype=tf.float64)
    x = tf.placeholder(tf.float64, [3])
    y = tf.reduce_sum(reading(v, x)[way])
    grads = tf.gradients(y, [v, x])
    with tf.Session(interpret=interpret) as session:

        def at(value: float, fetch: Any) -> Any:
            v.load(np.float64(value), session)
            return session.run(fetch, {x: X})

        found = at(W[0], grads)
        want = (at(W[0] + 1e-6, y) - at(W[0] - 1e-6, y)) / 2e-6
    if way == "changed":  # a gradient ends at an assignment: what follows it does not depend on the first value
        r = W[0] * np.array([0.5, 0.25])
        want = np.sum(X**8 * (2 * r[0] * r[1] + r[0] ** 2))
        np.testing.assert_allclose(found[1], 8 * X**7 * r[0] ** 2 * r[1], rtol=1e-6)
    np.testing.assert_allclose(found[0], want, rtol=1e-6)


def test_second_order_of_a_variable_that_is_read_inside(interpret: bool) -> None:
    v = tf.Variable(W[0], name="v", dtype=tf.float64)
    x = tf.placeholder(tf.float64, [3])
    ways = reading(v, x)
    first = [tf.gradients(tf.reduce_sum(ways[k]), v)[0] for k in ("loop", "branch")]
    with tf.Session(interpret=interpret) as session:
        session.run(tf.global_variables_initializer())
        found = session.run(tf.gradients(first[0], v), {x: X})
        np.testing.assert_allclose(found[0], 6 * W[0] * X.sum(), rtol=1e-12)
    message = "the gradient of 'while_3' .While., which has effects or reads variables"
    with pytest.raises(GraphError, match=message):
        tf.gradients(tf.gradients(ways["changed"], x), v)


def test_of_a_call_with_effects(interpret: bool) -> None:
    v, calls = tf.Variable(2.0), tf.Variable(0.0)
    x = tf.placeholder(tf.float32, [])

    @tf.function
    def f(x: Any) -> Any:
        calls.assign_add(1.0)
        v.assign_add(1.0)
        return x * x * v

    grads = tf.gradients(f(x), [v, x])
    with tf.Session(interpret=interpret) as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(session.run(grads, {x: 3.0}), [9.0, 18.0])
        assert session.run([calls, v]) == [1.0, 3.0]


def test_a_read_before_a_loop_follows_what_the_loop_follows(interpret: bool) -> None:
    """The read that serves all turns comes after an assignment that gives a loop variable its value."""
    v = tf.Variable(1.0)
    first = v.assign(5.0)
    _, y = tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, a * v.read_value()), [0, first])
    with tf.Session(interpret=interpret) as session:
        session.run(tf.global_variables_initializer())
        assert session.run(y) == 125.0


def test_no_influence_through_a_loop() -> None:
    x = tf.placeholder(tf.float32, [])
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2), [0, 1.0])
    assert tf.gradients(y, x) == [None]


@pytest.mark.parametrize("turns", [0, 1, 65, 200])
def test_of_many_turns_without_a_bound(turns: int) -> None:
    """More turns than are kept: what is between them is run again."""
    x, w, end = (tf.placeholder(tf.float64, s) for s in ([2, 4], [4, 4], []))
    _, y = tf.while_loop(lambda t, a: t < end, lambda t, a: (t + 1.0, tf.sin(tf.matmul(a, w))), [np.float64(0), x])
    turned = np.linalg.qr(RNG.standard_normal((4, 4)))[0] * 1.2
    before = [RNG.standard_normal((2, 4))]
    for _ in range(turns):
        before.append(np.sin(before[-1] @ turned))
    to_x, to_w = 2 * before.pop(), np.zeros((4, 4))
    for a in reversed(before):
        g = to_x * np.cos(a @ turned)
        to_x, to_w = g @ turned.T, to_w + a.T @ g
    with tf.Session() as session:
        feeds = {x: before[0] if before else to_x / 2, w: turned, end: turns}
        found = session.run(tf.gradients(tf.reduce_sum(y * y), [x, w]), feeds)
    np.testing.assert_allclose(found[0], to_x, rtol=1e-9)
    np.testing.assert_allclose(found[1], to_w, rtol=1e-9)


def test_what_cannot_be_kept_is_refused() -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.while_loop(lambda a: a < 100.0, lambda a: a * (1 + tf.random_uniform([])), [x])
    (g,) = tf.gradients(y, x)
    with pytest.raises(GraphError, match="where nothing bounds its turns"), tf.Session(interpret=True) as session:
        session.run(g, {x: 1.0})


@pytest.mark.parametrize("order", [1, 2])
def test_of_an_lstm(interpret: bool, order: int) -> None:
    x = tf.placeholder(tf.float64, [2, 4, 3])
    outputs, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.LSTMCell(3), x, sequence_length=[4, 2], dtype=tf.float64)
    kernel, bias = tf.trainable_variables()
    feeds = {x: RNG.normal(size=(2, 4, 3)), kernel: RNG.normal(size=(6, 12)), bias: RNG.normal(size=12)}
    check(outputs * outputs, feeds, interpret, order=order)


@pytest.mark.parametrize(("start", "step", "end"), [(0, 1, 5), (4, -1, -1), (1, 1, 4), (0, 2, 5), (4, -2, -1), (2, 1, 2)])
def test_of_rows_that_a_counter_names(interpret: bool, start: int, step: int, end: int) -> None:
    """Each row gets what its turns give it, zero where there is none; rows that are read twice get both."""
    x, w = tf.placeholder(tf.float64, [6, 3]), tf.placeholder(tf.float64, [3])

    def body(i: Any, a: Any, array: Any) -> Any:
        a = tf.sin(a * w + rows.read(i) * rows.read(i + 1) + tf.cast(i, tf.float64))
        return i + step, a, array.write(i, a * a)

    rows = tf.TensorArray(tf.float64, 6).unstack(x)
    ends = (lambda i, *_: i < end) if step > 0 else (lambda i, *_: i > end)
    _, a, made = tf.while_loop(ends, body, (start, w, tf.TensorArray(tf.float64, 5)))
    feeds = {x: np.linspace(-1, 1, 18).reshape(6, 3), w: W}
    check(tf.reduce_sum(made.stack()) + tf.reduce_sum(a), feeds, interpret, order=2)


def test_the_rows_of_an_array_that_is_not_filled_are_zeros() -> None:
    """In memory that earlier runs left full of other numbers."""
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [300])
    array = tf.TensorArray(tf.float32, 20)

    def filled(end: Any) -> Any:
        return tf.while_loop(lambda i, _: i < end, lambda i, a: (i + 1, a.write(i, x)), (0, array))[1].stack()

    with tf.Session() as session:
        for count in (20, 3):
            some, all_ = session.run([filled(n) * 2.0, filled(20) * 3.0], {n: count, x: np.full(300, 7)})
            np.testing.assert_array_equal(some[:count], np.full((count, 300), 14))
            np.testing.assert_array_equal(some[count:], 0)
            np.testing.assert_array_equal(all_, np.full((20, 300), 21))


def test_what_is_kept_is_the_last_that_says_it() -> None:
    """Of a product that is read once, what elementwise work makes of it; where its sum is read twice, that sum."""
    source = Block(arg_types=[tensor_type([2, 2], f32)] * 2)
    x, w = source.args
    total = AddOp(DotOp(x, w, [], [], [1], [0]), x)
    square, double = MulOp(total, total), AddOp(total, total)
    ops = [total.x.owner, total, square, double, YieldOp([square.result, double.result])]
    source.add_ops([op for op in ops if isinstance(op, Operation)])
    block = Block(arg_types=[a.type for a in source.args])
    copy = RegionCopy(block, dict(zip(source.args, block.args, strict=True)))
    first, second = copy.take(source)
    one, both = AddOp(first, first).result, AddOp(first, second).result
    assert [copy.original(v) for v in copy.wanted([one], set(), again=False)] == [square.result]
    assert [copy.original(v) for v in copy.wanted([both], set(), again=False)] == [total.result]
    assert copy.wanted([both], set(), again=True) == []
