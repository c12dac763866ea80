"""``tf.cond``, ``tf.while_loop`` and what is built on them, interpreted and compiled."""

from __future__ import annotations

import doctest
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfc as tf
from tfc.errors import GraphError, RunError

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def graph() -> Iterator[Any]:
    with tf.Graph().as_default() as g:
        yield g


@pytest.fixture(params=["interpreted", "compiled"])
def session(request: pytest.FixtureRequest, graph: Any) -> Any:
    return tf.Session(graph=graph, interpret=request.param == "interpreted")


def initialized(session: Any) -> Any:
    session.run(tf.global_variables_initializer())
    return session


def refused(function: Any) -> str:
    with pytest.raises(GraphError) as caught:
        function()
    text = str(caught.value)
    assert "test_control_flow.py:" in text
    return text


# tf.cond


def test_only_the_branch_that_is_taken_runs(session: Any) -> None:
    p = tf.placeholder(tf.bool, [])
    v, w = tf.Variable(0), tf.Variable(0)
    chosen = tf.cond(p, lambda: v.assign_add(1), lambda: w.assign_add(10))
    initialized(session)
    assert session.run(chosen, {p: True}) == 1
    assert session.run(chosen, {p: False}) == 10
    assert session.run(chosen, {p: False}) == 20
    assert session.run([v, w]) == [1, 20]


def test_nodes_made_outside_of_the_branches_run_anyway(session: Any) -> None:
    p, v = tf.placeholder(tf.bool, []), tf.Variable(0)
    outside = v.assign_add(1)
    y = tf.cond(p, lambda: outside + 0, lambda: tf.constant(-1))
    initialized(session)
    assert session.run(y, {p: False}) == -1
    assert session.run(v) == 1


def test_results_keep_their_structure(session: Any) -> None:
    Pair = namedtuple("Pair", "a b")
    x = tf.placeholder(tf.float32, [3])
    make = lambda k: lambda: Pair({"m": x * k, "l": [x, (x + k,)]}, k)  # noqa: E731
    y = tf.cond(tf.reduce_sum(x) > 0, make(2.0), make(3.0))
    assert isinstance(y, Pair)
    assert set(y.a) == {"m", "l"}
    got = session.run(y, {x: [1, 2, 3]})
    assert got.a["m"].tolist() == [2, 4, 6]
    assert got.a["l"][1][0].tolist() == [3, 4, 5]
    assert got.b == 2.0
    assert session.run(y, {x: [-1, -2, -3]}).b == 3.0


def test_a_list_of_one_is_the_tensor_unless_strict() -> None:
    p = tf.placeholder(tf.bool, [])
    assert isinstance(tf.cond(p, lambda: [tf.constant(1)], lambda: [tf.constant(2)]), tf.Tensor)
    assert isinstance(tf.cond(p, lambda: [tf.constant(1)], lambda: [tf.constant(2)], strict=True), list)


def test_branches_of_effects_alone(session: Any) -> None:
    p, v = tf.placeholder(tf.bool, []), tf.Variable(0)
    op = tf.cond(p, lambda: v.assign(7).op, lambda: tf.no_op())
    assert isinstance(op, tf.Operation)
    initialized(session)
    session.run(op, {p: False})
    assert session.run(v) == 0
    session.run(op, {p: True})
    assert session.run(v) == 7


def test_nested_conditions(session: Any) -> None:
    x = tf.placeholder(tf.int32, [])
    inner = lambda: tf.cond(x > 5, lambda: x * 10, lambda: x + 100)  # noqa: E731
    y = tf.cond(x > 0, inner, lambda: tf.negative(x))
    assert [session.run(y, {x: v}) for v in (7, 2, -3)] == [70, 102, 3]


def test_branches_of_two_shapes(session: Any) -> None:
    """What may turn out to be one shape when values are fed has to."""
    x, z = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    y = tf.cond(x[0] > 0, lambda: x, lambda: tf.concat([z, z], 0))
    assert y.shape.as_list() == [None]
    assert session.run(y, {x: [1, 0], z: [5]}).tolist() == [1, 0]
    assert session.run(y, {x: [-1, 0], z: [5]}).tolist() == [5, 5]
    text = refused(lambda: session.run(y, {x: [1], z: [5]}))
    assert "result 0 of the branches: expected one type, got float32 (1,)" in text
    assert text.count("test_control_flow.py:") >= 3


def test_mistakes_of_cond() -> None:
    x, p = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.bool, [])
    one, half = (lambda: tf.constant(1)), (lambda: tf.constant(0.5))
    assert "got True" in refused(lambda: tf.cond(True, one, one))
    assert "got bool (2,)" in refused(lambda: tf.cond(x > 0, one, one))
    assert "got float32 ()" in refused(lambda: tf.cond(x[0], one, one))
    text = refused(lambda: tf.cond(p, one, half))
    assert "int32 () by true_fn" in text
    assert "float32 () by false_fn" in text
    assert text.count("test_control_flow.py:") >= 3
    assert "expected one structure" in refused(lambda: tf.cond(p, lambda: [x, x], one))
    assert "(2,) by true_fn" in refused(lambda: tf.cond(p, lambda: x, half))
    assert "true_fn returned nothing" in refused(lambda: tf.cond(p, lambda: None, one))
    assert "one branch gives tensors" in refused(lambda: tf.cond(p, one, tf.no_op))
    assert "expected a function as false_fn" in refused(lambda: tf.cond(p, one))


def test_what_is_made_in_a_branch_stays_there() -> None:
    p, kept = tf.placeholder(tf.bool, []), []
    tf.cond(p, lambda: kept.append(tf.constant(1) + 1) or kept[0], lambda: tf.constant(1))
    for use in (lambda: kept[0] + 1, lambda: tf.Session().run(kept[0]), lambda: tf.cond(p, lambda: kept[0], lambda: 1)):
        text = refused(use)
        assert "exists only inside the branch true_fn of 'cond'" in text
        assert text.count("test_control_flow.py:") >= 3


def test_a_predicate_may_turn_out_to_be_many() -> None:
    p = tf.placeholder(tf.bool)
    y = tf.cond(p, lambda: tf.constant(1), lambda: tf.constant(2))
    z = tf.while_loop(lambda i: tf.logical_and(i < 3, p), lambda i: i + 1, [0])
    for fetch in (y, z):
        assert "shape (), got bool (2,)" in refused(lambda fetch=fetch: tf.Session().run(fetch, {p: [True, False]}))


# tf.case


def test_case_takes_the_first_that_holds(session: Any) -> None:
    x = tf.placeholder(tf.int32, [])
    pairs = [(x < 0, lambda: tf.constant(-1)), (x < 10, lambda: tf.constant(1)), (x < 100, lambda: tf.constant(2))]
    y = tf.case(pairs, default=lambda: tf.constant(3))
    assert [session.run(y, {x: v}) for v in (-5, 5, 50, 500)] == [-1, 1, 2, 3]
    with pytest.raises(GraphError, match="pairs of a predicate and a function"):
        tf.case([tf.constant(True)])


def test_case_checks(session: Any) -> None:
    x = tf.placeholder(tf.int32, [])
    pairs = [(x < 10, lambda: tf.constant(1)), (x > 5, lambda: tf.constant(2))]
    some, one = tf.case(pairs), tf.case(dict(pairs), exclusive=True)
    assert [session.run(some, {x: v}) for v in (1, 7, 20)] == [1, 1, 2]
    assert [session.run(one, {x: v}) for v in (1, 20)] == [1, 2]
    with pytest.raises(RunError, match=r"More than one condition evaluated as True.*\[1\]\[1\]"):
        session.run(one, {x: 7})
    none = tf.case([(x > 5, lambda: tf.constant(2))])
    with pytest.raises(RunError, match="None of the conditions evaluated as True"):
        session.run(none, {x: 1})


# tf.while_loop


def test_a_loop_runs_as_often_as_its_condition_says(session: Any) -> None:
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [None, 3])
    i, total = tf.while_loop(lambda i, s: i < n, lambda i, s: [i + 1, s + x], [0, tf.zeros_like(x)])
    for count in (0, 1, 5):
        got = session.run([i, total], {n: count, x: X})
        assert got[0] == count
        assert np.array_equal(got[1], X * count)


def test_a_single_variable_comes_without_its_list(session: Any) -> None:
    assert session.run(tf.while_loop(lambda i: i < 10, lambda i: i + 3, [0])) == 12
    assert session.run(tf.while_loop(lambda i: i < 10, lambda i: [i + 3], [0])) == 12
    same = tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0], return_same_structure=True)
    assert session.run(same) == [3]


def test_the_most_turns(session: Any) -> None:
    n = tf.placeholder(tf.int32, [])
    forever = tf.while_loop(lambda i: True, lambda i: i + 2, [0], maximum_iterations=n)
    either = tf.while_loop(lambda i, s: i < 4, lambda i, s: (i + 1, s * 2), (0, 1), maximum_iterations=n)
    assert session.run(forever, {n: 5}) == 10
    assert session.run(either, {n: 3}) == (3, 8)
    assert session.run(either, {n: 30}) == (4, 16)
    assert session.run(either, {n: -1}) == (0, 1)


def test_loop_variables_in_structures(session: Any) -> None:
    State = namedtuple("State", "h c")
    x = tf.placeholder(tf.float32, [2])
    first = (0, State(x, {"a": tf.zeros([2]), "b": [x]}))

    def body(i: Any, s: Any) -> Any:
        return i + 1, State(s.h + s.c["a"], {"a": s.c["a"] + 1, "b": [s.c["b"][0] * 2]})

    i, s = tf.while_loop(lambda i, _: i < 3, body, first)
    assert isinstance(s, State)
    got = session.run(s, {x: [1, 2]})
    assert got.h.tolist() == [4, 5]
    assert got.c["a"].tolist() == [3, 3]
    assert got.c["b"][0].tolist() == [8, 16]
    assert session.run(i, {x: [1, 2]}) == 3


def test_loops_and_conditions_inside_each_other(session: Any) -> None:
    """The greatest common divisors by subtraction, of all pairs up to n."""
    n = tf.placeholder(tf.int32, [])

    def gcd(a: Any, b: Any) -> Any:
        step = lambda a, b: tf.cond(a > b, lambda: (a - b, b), lambda: (a, b - a))  # noqa: E731
        return tf.while_loop(lambda a, b: tf.not_equal(a, b), step, (a, b))[0]

    def row(i: Any, total: Any) -> Any:
        inner = lambda j, t: (j + 1, t + gcd(i, j))  # noqa: E731
        return i + 1, tf.while_loop(lambda j, _: j <= n, inner, (1, total))[1]

    _, total = tf.while_loop(lambda i, _: i <= n, row, (1, 0))
    expected = sum(int(np.gcd(i, j)) for i in range(1, 6) for j in range(1, 6))
    assert session.run(total, {n: 5}) == expected


def test_what_is_around_a_loop_is_seen_inside(session: Any) -> None:
    """Tensors, constants that say shapes and axes, variables."""
    x = tf.placeholder(tf.float32, [None, 3])
    w, axis, size = tf.Variable(tf.ones([3, 3])), tf.constant(1), tf.shape(x)
    body = lambda i, h: (i + 1, tf.reshape(tf.matmul(h, w) / tf.reduce_sum(h, axis, keepdims=True), size))  # noqa: E731
    _, y = tf.while_loop(lambda i, _: i < 2, body, (0, x + 1))
    initialized(session)
    assert np.allclose(session.run(y, {x: X}), 1)


def test_effects_of_a_body_happen_in_each_turn(session: Any) -> None:
    v, n = tf.Variable(0), tf.placeholder(tf.int32, [])

    def body(i: Any, seen: Any) -> Any:
        with tf.control_dependencies([v.assign_add(i)]):
            return i + 1, seen * 10 + v.read_value()

    _, seen = tf.while_loop(lambda i, _: i < n, body, (0, 0))
    initialized(session)
    assert session.run(seen, {n: 4}) == ((0 * 10 + 1) * 10 + 3) * 10 + 6
    assert session.run(v) == 6
    session.run(seen, {n: 0})
    assert session.run(v) == 6


def test_accesses_inside_a_body_need_an_order() -> None:
    v = tf.Variable(0)
    body = lambda i: tf.group(v.assign(i), v.assign_add(1)) and i + v.assign_add(i) + v.assign_sub(i)  # noqa: E731
    loop = tf.while_loop(lambda i: i < 3, body, [1])
    text = refused(lambda: initialized(tf.Session()).run(loop))
    assert "have no order" in text
    assert "adds to" in text
    assert "subtracts from" in text


def test_control_dependencies_reach_into_a_loop(session: Any) -> None:
    v = tf.Variable(1)
    before = v.assign(5)

    def body(i: Any) -> Any:
        with tf.control_dependencies([before]):
            return i + v.read_value()

    last = tf.while_loop(lambda i: i < 10, body, [0])
    initialized(session)
    assert session.run(last) == 10


def test_an_extent_may_change_where_it_is_left_open(session: Any) -> None:
    grow = lambda i, a: (i + 1, tf.concat([a, a], 0))  # noqa: E731
    shapes = [tf.TensorShape([]), tf.TensorShape([None])]
    _, y = tf.while_loop(lambda i, _: i < 3, grow, [0, tf.ones([2])], shape_invariants=shapes)
    assert y.shape.as_list() == [None]
    if session._interpret:
        assert session.run(y).tolist() == [1.0] * 16


def test_shapes_that_settle_need_no_invariants(session: Any) -> None:
    x = tf.placeholder(tf.float32, [None])
    _, y = tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, tf.concat([a[1:], a[:1]], 0)), [0, x])
    assert session.run(y, {x: [1, 2, 3, 4]}).tolist() == [4, 1, 2, 3]


def test_mistakes_of_while_loop() -> None:
    x, less = tf.placeholder(tf.float32, [2]), lambda i, *_: i < 3

    def loop(body: Any, *first: Any, **options: Any) -> Any:
        return lambda: tf.while_loop(less, body, list(first), **options)

    text = refused(loop(lambda i, a: (i + 1, tf.concat([a, a], 0)), 0, x))
    assert "loop variable 1 ('Placeholder')" in text
    assert "expected float32 (2,), got float32 (4,)" in text
    assert "shape_invariants" in text
    assert "expected int32 (), got float32 ()" in refused(loop(lambda i: tf.to_float(i), 0))
    assert "expected one structure, got [., .] and [., ., .]" in refused(loop(lambda i, a: [i, a, a], 0, x))
    assert "got bool (2,)" in refused(lambda: tf.while_loop(lambda a: a < 0, lambda a: a, [x]))
    assert "expected a list of loop variables" in refused(lambda: tf.while_loop(less, less, x))
    assert "expected a function as body" in refused(lambda: tf.while_loop(less, 3, [x]))
    shapes = [tf.TensorShape([]), tf.TensorShape([3])]
    assert "begins with shape (2,)" in refused(loop(lambda i, a: (i + 1, a), 0, x, shape_invariants=shapes))


def test_a_loop_that_changes_shapes_at_run_time_names_the_line() -> None:
    x = tf.placeholder(tf.float32, ["n"])
    _, y = tf.while_loop(lambda i, _: i < 2, lambda i, a: (i + 1, tf.concat([a, a], 0)), [0, x])
    text = refused(lambda: tf.Session().run(y, {x: [1, 2]}))
    assert "loop variable 1" in text
    assert "expected float32 (2,), got float32 (4,)" in text


def test_variables_made_inside_belong_to_the_graph(session: Any) -> None:
    def body(i: Any, h: Any) -> Any:
        with tf.variable_scope("cell", reuse=tf.AUTO_REUSE):
            return i + 1, h * tf.get_variable("scale", [], initializer=tf.constant_initializer(2.0))

    _, y = tf.while_loop(lambda i, _: i < 3, body, (0, tf.ones([2])))
    assert [v.name for v in tf.global_variables()] == ["cell/scale:0"]
    initialized(session)
    assert session.run(y).tolist() == [8, 8]


# Arrays


def test_arrays_outside_of_loops(session: Any) -> None:
    a = tf.TensorArray(tf.float32, size=3)
    a = a.write(0, [1.0, 2.0]).write(2, tf.constant([3.0, 4.0]))
    assert a.element_shape.as_list() == [2]
    got = session.run([a.stack(), a.read(2), a.gather([2, 0]), a.concat(), a.size()])
    assert got[0].tolist() == [[1, 2], [0, 0], [3, 4]]
    assert got[1].tolist() == [3, 4]
    assert got[2].tolist() == [[3, 4], [1, 2]]
    assert got[3].tolist() == [1, 2, 0, 0, 3, 4]
    assert got[4] == 3


def test_arrays_from_tensors(session: Any) -> None:
    a = tf.TensorArray(tf.float32, size=2).unstack(X)
    b = tf.TensorArray(tf.float32, size=4).scatter([3, 1], X)
    c = tf.TensorArray(tf.float32, size=3).split(tf.to_float(tf.range(6)), [2, 2, 2])
    got = session.run([a.read(1), b.stack(), c.stack(), a.identity().stack()])
    assert np.array_equal(got[0], X[1])
    assert np.array_equal(got[1], [0 * X[0], X[1], 0 * X[0], X[0]])
    assert got[2].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert np.array_equal(got[3], X)


def test_arrays_that_loops_carry(session: Any) -> None:
    """One whose elements are known only inside the inner loop, and one that is read while it is written."""
    n = tf.placeholder(tf.int32, [])

    def outer(i: Any, out: Any, fib: Any) -> Any:
        inner = lambda j, a: (j + 1, a.write(i * 2 + j, tf.stack([i, j])))  # noqa: E731
        _, out = tf.while_loop(lambda j, _: j < 2, inner, (0, out))
        return i + 1, out, fib.write(i + 2, fib.read(i) + fib.read(i + 1))

    fib = tf.TensorArray(tf.int32, size=10).write(0, 0).write(1, 1)
    _, out, fib = tf.while_loop(lambda i, *_: i < n, outer, (0, tf.TensorArray(tf.int32, size=6), fib))
    got = session.run([out.stack(), fib.stack()], {n: 3})
    assert got[0].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    assert got[1].tolist() == [0, 1, 1, 2, 3, 0, 0, 0, 0, 0]


def test_arrays_that_branches_write(session: Any) -> None:
    n = tf.placeholder(tf.int32, [])

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: a.write(i, tf.add(tf.to_float(i), [1.0, 2.0])), lambda: a)

    _, a = tf.while_loop(lambda i, _: i < n, body, (0, tf.TensorArray(tf.float32, size=4)))
    assert session.run(a.stack(), {n: 3}).tolist() == [[1, 2], [0, 0], [3, 4], [0, 0]]


def test_places_outside_of_an_array(session: Any) -> None:
    k = tf.placeholder(tf.int32, [])
    a = tf.TensorArray(tf.float32, size=2).unstack(X)
    read, written = a.read(k), a.write(k, X[0]).stack()
    assert np.array_equal(session.run(read, {k: 1}), X[1])
    for fetch in (read, written):
        for place in (2, -1):
            with pytest.raises(RunError, match=r"index .*\[0, 2\)") as caught:
                session.run(fetch, {k: place})
            assert "test_control_flow.py:" in str(caught.value)


def test_mistakes_of_arrays() -> None:
    a = tf.TensorArray(tf.float32, size=3).write(0, [1.0, 2.0])
    assert "shape (2,), as the others have, got (3,)" in refused(lambda: a.write(1, [1.0, 2.0, 3.0]))
    assert "expected an element of float32" in refused(lambda: a.write(1, tf.constant([1, 2])))
    assert "dynamic_size" in refused(lambda: tf.TensorArray(tf.float32, size=0, dynamic_size=True))
    assert "expected a size" in refused(lambda: tf.TensorArray(tf.float32))
    assert "rank 1 or more" in refused(lambda: tf.TensorArray(tf.float32, size=3).unstack(tf.constant(1.0)))
    empty = tf.TensorArray(tf.float32, size=3)
    assert "nothing has been written" in refused(lambda: tf.Session().run(empty.stack()))
    short = tf.TensorArray(tf.float32, size=3)
    assert "expected a tensor of 3 rows" in refused(lambda: tf.Session().run(short.unstack(X).stack()))


# Walks over rows


def test_map(session: Any) -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    squares = tf.map_fn(lambda r: tf.reduce_sum(r * r), x)
    pairs = tf.map_fn(lambda r: (r[0] + r[1], tf.cast(r[1] > 1, tf.int32)), (x[:, 0], x[:, 1]), dtype=(tf.float32, tf.int32))
    got = session.run([squares, *pairs], {x: X})
    assert got[0].tolist() == [5, 50]
    assert got[1].tolist() == [1, 7]
    assert got[2].tolist() == [0, 1]
    assert session.run(squares, {x: X[:0]}).tolist() == []


def test_scans_and_folds(session: Any) -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    twice = lambda a, b: a * 2 + b  # noqa: E731
    fetches = [
        tf.scan(twice, x), tf.scan(twice, x, tf.ones([3])), tf.scan(twice, x, reverse=True),
        tf.foldl(twice, x), tf.foldr(twice, x), tf.foldl(twice, x, tf.ones([3])),
        tf.scan(lambda a, b: (a[1], a[0] + b), x, (tf.zeros([3]), tf.ones([3]))),
    ]  # fmt: skip
    got = session.run(fetches, {x: X})
    a, b = X
    expected = [[a, a * 2 + b], [2 + a, (2 + a) * 2 + b], [b * 2 + a, b], a * 2 + b, b * 2 + a, (2 + a) * 2 + b]
    for value, wanted in zip(got, expected, strict=False):
        assert np.array_equal(value, wanted)
    assert np.array_equal(got[-1][1], [a, 1 + b])
    assert np.array_equal(got[-1][0], [np.ones(3), a])


def test_mistakes_of_walks() -> None:
    x, s = tf.placeholder(tf.float32, [2, 3]), tf.placeholder(tf.float32, [])
    assert "rank 1 or more" in refused(lambda: tf.map_fn(lambda r: r, s))
    assert "one number of rows" in refused(lambda: tf.map_fn(lambda r: r[0], (x, tf.zeros([4])), dtype=tf.float32))
    assert "expected one structure" in refused(lambda: tf.map_fn(lambda r: (r, r), x))
    assert "has to keep its type" in refused(lambda: tf.foldl(lambda a, b: a[:2], x))
    assert "expected a function" in refused(lambda: tf.scan(3, x))


# Checks and messages


def test_assertions(session: Any) -> None:
    x = tf.placeholder(tf.float32, [None])
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x > 0), ["x is", x, tf.size(x)])]):
        y = tf.identity(x)
    assert session.run(y, {x: [1, 2]}).tolist() == [1, 2]
    with pytest.raises(RunError, match=r"assertion failed: \[x is\]\[1 -2\]\[2\]") as caught:
        session.run(y, {x: [1, -2]})
    assert "test_control_flow.py:" in str(caught.value)


CHECKS = [
    (lambda x: tf.assert_equal(x, x * x), [1, 0], [1, 2]),
    (lambda x: tf.assert_none_equal(x, x * 0), [1, 2], [1, 0]),
    (lambda x: tf.assert_less(x, 3.0), [1, 2], [3]),
    (lambda x: tf.assert_less_equal(x, 3.0), [3], [4]),
    (lambda x: tf.assert_greater(x, 3.0), [4], [3]),
    (lambda x: tf.assert_greater_equal(x, 3.0), [3], [np.nan]),
    (lambda x: tf.assert_positive(x), [1], [0]),
    (lambda x: tf.assert_negative(x), [-1], [0]),
    (lambda x: tf.assert_non_negative(x), [0], [-1]),
    (lambda x: tf.assert_non_positive(x), [0], [1]),
    (lambda x: tf.debugging.assert_near(x, 1.0), [1 + 1e-7], [1.1]),
    (lambda x: tf.check_numerics(x, "here").op, [1], [np.nan]),
    (lambda x: tf.verify_tensor_all_finite(x, "here").op, [1], [-np.inf]),
]


@pytest.mark.parametrize(("check", "good", "bad"), CHECKS)
def test_checks(session: Any, check: Any, good: Any, bad: Any) -> None:
    x = tf.placeholder(tf.float32, [None])
    node = check(x)
    session.run(node, {x: good})
    with pytest.raises(RunError, match=r"Condition x|here : Tensor had|not equal to tolerance"):
        session.run(node, {x: bad})


def test_checks_that_need_no_run() -> None:
    x = tf.placeholder(tf.float32, [2])
    assert "Condition x == y did not hold" in refused(lambda: tf.assert_equal(1, 2))
    assert "expected a tensor of rank 1, got one of rank 0" in refused(lambda: tf.assert_rank(3.0, 1))
    assert "rank 2 or more" in refused(lambda: tf.assert_rank_at_least(x, 2))
    assert "integer type" in refused(lambda: tf.assert_integer(x))
    assert "of type int32" in refused(lambda: tf.assert_type(x, tf.int32))
    assert "rank 0, got one of rank 1" in refused(lambda: tf.assert_scalar(x))
    assert "expected bool" in refused(lambda: tf.Assert(x, []))


@pytest.mark.parametrize("interpret", [False, True])
def test_checks_and_messages_pass_gradients_on(interpret: bool) -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.check_numerics(tf.sqrt(tf.Print(tf.verify_tensor_all_finite(x, "x"), [x])), "y")
    (g,) = tf.gradients(y, x)
    with tf.Session(interpret=interpret) as session:
        assert session.run(g, {x: [4.0, 16.0]}).tolist() == [0.25, 0.125]
        with pytest.raises(RunError, match="y : Tensor had NaN values"):
            session.run([y, g], {x: [4.0, -1.0]})
    (g,) = tf.gradients(tf.check_numerics(x, "x"), x, tf.log(x))
    with tf.Session(interpret=interpret) as session, pytest.raises(RunError, match=r"detected in gradient\. : Tensor had Inf"):
        session.run(g, {x: [4.0, 0.0]})


@pytest.mark.parametrize("interpret", [False, True])
def test_constants_that_fail_do_so_where_they_run(interpret: bool) -> None:
    n = tf.placeholder(tf.int32, [])
    c = tf.constant([1.0, 2.0])
    y = tf.cond(n > 0, lambda: tf.gather(c, [5]), lambda: c[:1])
    rows = tf.TensorArray(tf.float32, 2).write(5, 1.0).stack()
    with tf.Session(interpret=interpret) as session:
        assert session.run(y, {n: -1}).tolist() == [1.0]
        with pytest.raises(RunError, match=r"test_control_flow.py:\d+ .*'tfc.gather': an index is out of range \[0, 2\)"):
            session.run(y, {n: 1})
        with pytest.raises(RunError, match=r"test_control_flow.py:\d+ .*an index is out of range \[0, 2\)"):
            session.run(rows)


def test_extents_that_depend_on_values_are_refused_where_they_arise() -> None:
    x, shape = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [2])
    grown = tf.while_loop(
        lambda a: tf.size(a) < 10, lambda a: tf.concat([a, a], 0), [x], shape_invariants=[tf.TensorShape([None])]
    )
    for y, name in ((grown, "tfc.while"), (tf.reshape(x, shape), "tfc.dynamic_reshape")):
        feeds = {x: [1.0], shape: [1, 1]} if y is not grown else {x: [1.0]}
        expected = rf"test_control_flow.py:\d+ .*'{name}': expected extents that follow from those of the inputs"
        with pytest.raises(GraphError, match=expected), tf.Session() as session:
            session.run(y, feeds)
        assert tf.Session(interpret=True).run(y, feeds).size


def test_a_misused_tensor_is_an_error_at_its_line() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    for use in (bool, len, list, np.asarray):
        with pytest.raises(GraphError, match=r"test_control_flow.py:\d+.*'x:0'"):
            use(x)
    session = tf.Session()
    session.close()
    with pytest.raises(RunError, match=r"test_control_flow.py:\d+: .*closed Session"):
        session.run(x)


def test_all_numerics_are_checked(session: Any) -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.log(x)
    everything = tf.add_check_numerics_ops()
    session.run(everything, {x: [1, 2]})
    with pytest.raises(RunError, match="Log:0 : Tensor had NaN values"):
        session.run([y, everything], {x: [1, -2]})


def test_messages(session: Any, capfd: pytest.CaptureFixture[str]) -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.Print(x, [x, tf.size(x)], "x: ", summarize=2)
    shown = tf.print("sum", tf.reduce_sum(x), "of", x)
    assert session.run(y, {x: [1, 2, 3, 4, 5]}).tolist() == [1, 2, 3, 4, 5]
    session.run(shown, {x: [0.5]})
    once = tf.Print(x, [x], "once: ", first_n=2)
    for k in range(4):
        session.run(once, {x: [k]})
    assert capfd.readouterr().err == "x: [1 2 ... 4 5][5]\nsum 0.5 of [0.5]\nonce: [0]\nonce: [1]\n"


# Functions


def test_a_function_is_traced_once_for_each_signature(session: Any) -> None:
    @tf.function
    def scaled(x: Any, factor: float = 2.0) -> Any:
        """Doc."""
        return {"y": x * factor, "n": None}

    x = tf.placeholder(tf.float32, [None])
    calls = [scaled(x), scaled(x + 1), scaled(x, 3.0), scaled(np.float32([1, 2]))]
    assert scaled.traces == 3
    assert scaled.__doc__ == "Doc."
    got = session.run(calls, {x: [1, 2, 3]})
    assert [g["y"].tolist() for g in got] == [[2, 4, 6], [4, 6, 8], [3, 6, 9], [2, 4]]
    assert got[0]["n"] is None


def test_effects_of_a_function_happen_as_written(session: Any) -> None:
    v = tf.Variable(1.0)

    @tf.function
    def step(x: Any) -> Any:
        v.assign_add(x)
        doubled = v * 2
        tf.while_loop(lambda i: i < 3, lambda i: i + tf.cast(v.assign(v + 1) * 0 + 1, tf.int32), [0])
        tf.cond(v > 100, lambda: v.assign(0.0), lambda: v + 0)
        return doubled, v + 0

    first = step(10.0)
    with tf.control_dependencies([first[0]]):
        second = step(tf.constant(100.0))
    initialized(session)
    assert session.run(first) == (22.0, 14.0)
    assert session.run(second) == (2 * (24 + 3 + 100 - 0), 0.0)


def test_functions_call_functions_and_are_called_in_loops(session: Any) -> None:
    @tf.function
    def inner(x: Any) -> Any:
        return x + 1

    @tf.function
    def outer(x: Any) -> Any:
        return inner(x) * inner(inner(x))

    y = tf.while_loop(lambda i: i < 50, lambda i: outer(i), [0])
    assert session.run(y) == 182


def test_recursion_is_diagnosed() -> None:
    @tf.function
    def ping(x: Any) -> Any:
        return pong(x) + 1

    @tf.function
    def pong(x: Any) -> Any:
        return ping(x) * 2

    text = refused(lambda: ping(tf.constant(1.0)))
    assert "the function 'ping'" in text
    assert "calls itself" in text
    assert text.count("test_control_flow.py:") >= 3


def test_a_function_is_compiled_by_its_signature() -> None:
    @tf.function(input_signature=[tf.TensorSpec(["n", 3], tf.float32), tf.TensorSpec([], tf.float32, "scale")])
    def model(x: Any, by: Any) -> Any:
        return tf.reduce_sum(x, 1) * by

    compiled = tf.compile(model)
    assert [i.name for i in compiled.inputs] == ["x", "scale"]
    assert compiled(X, np.float32(2)).tolist() == [6, 24]
    bad = tf.placeholder(tf.float32, [4])
    assert "expected 2 arguments" in refused(lambda: model(bad))
    assert "argument 0 of the function 'model': expected shape (n, 3)" in refused(lambda: model(bad, 1.0))
    assert "no input signature" in refused(lambda: tf.compile(tf.function(lambda x: x)))


def test_the_page_tells_the_truth() -> None:
    page = Path(__file__).parents[2] / "docs" / "control-flow.md"
    failures, attempted = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert attempted > 20
    assert not failures


def test_gradients_go_through_functions(session: Any) -> None:
    x = tf.placeholder(tf.float32, [2])
    grown = tf.function(lambda a, b: tf.while_loop(lambda i, c: i < 3, lambda i, c: (i + 1, c * b), (0, a))[1])
    either = tf.function(lambda a, b: tf.cond(tf.reduce_sum(a) > 0, lambda: a * b, lambda: a - b))
    y = grown(x, x + 1) + either(x, x + 1)
    value, slope = session.run([y, tf.gradients(y, x)[0]], {x: [1, 2]})
    assert value.tolist() == [8 + 2, 54 + 6]
    assert slope.tolist() == [8 + 12 + 3, 27 + 54 + 5]
