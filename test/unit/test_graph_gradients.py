"""``tf.gradients``: nodes, values against differences, paths and their ends, errors."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfc as tf
from tfc.errors import GraphError


@pytest.fixture(autouse=True)
def graph() -> Generator[Any]:
    with tf.Graph().as_default() as made:
        yield made


def evaluated(fetches: Any, feeds: Any = None, interpret: bool = False) -> Any:
    with tf.Session(interpret=interpret) as session:
        if tf.global_variables():
            session.run(tf.global_variables_initializer())
        return session.run(fetches, feeds)


def check(function: Callable[..., Any], *values: Any, tolerance: float = 1e-6) -> list[Any]:
    """Gradients of the sum of ``function`` against central differences along random directions, in f64."""
    arrays = [np.asarray(v, np.float64) for v in values]
    xs = [tf.placeholder(tf.float64, a.shape) for a in arrays]
    y = tf.reduce_sum(function(*xs))
    grads = [tf.convert_to_tensor(g) for g in tf.gradients(y, xs)]
    rng = np.random.default_rng(0)
    with tf.Session() as session:
        if tf.global_variables():
            session.run(tf.global_variables_initializer())
        found = session.run(grads, dict(zip(xs, arrays, strict=True)))
        for _ in range(3):
            moves = [rng.standard_normal(a.shape) for a in arrays]
            high, low = (
                session.run(y, {x: a + sign * 1e-6 * m for x, a, m in zip(xs, arrays, moves, strict=True)})
                for sign in (1, -1)
            )
            want, got = (high - low) / 2e-6, sum(np.sum(g * m) for g, m in zip(found, moves, strict=True))
            assert abs(got - want) <= tolerance * max(abs(want), 1.0)
    return found


RNG = np.random.default_rng(1)
A, B, C = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 5)), RNG.standard_normal((2, 6, 6, 3))


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda x, y: tf.matmul(x, y) ** 2, (A, B)),
        (lambda x, y: tf.matmul(x, y, transpose_a=True, transpose_b=True) ** 2, (A, RNG.standard_normal((5, 3)))),
        (lambda x, y: tf.matmul(x, y) ** 2, (RNG.standard_normal((2, 3, 4)), B)),
        (lambda x, y: tf.einsum("bij,bkj->bik", x, y) ** 2, (RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 5, 4)))),
        (lambda x, y: tf.tensordot(x, y, [[0, 1], [0, 1]]) * x, (A, A + 1)),
        (lambda x, y: tf.exp(x * y) / (1 + x * x), (A, A[:, :1])),
        (lambda x: tf.nn.softmax(x)[:, 1] * tf.nn.log_softmax(x)[:, 0], (A,)),
        (lambda x: tf.reduce_max(x, 1) * tf.reduce_min(x) + tf.reduce_prod(x, 0)[:3], (A,)),
        (lambda x: tf.reduce_mean(x, 0, keepdims=True) * x, (A,)),
        (lambda x: tf.reduce_logsumexp(x, 1), (A,)),
        (lambda x: tf.reduce_std(x, 1), (A,)),
        (lambda x: tf.concat([x, 2 * x], 0)[1:5, ::2] ** 2, (A,)),
        (lambda x: tf.stack(tf.unstack(x), 1) * tf.transpose(x), (A,)),
        (lambda x: tf.pad(tf.tile(x, [2, 1]), [[1, 0], [0, 2]]) ** 3, (A,)),
        (lambda x: tf.gather(x, [2, 0, 2], axis=1) ** 2, (A,)),
        (lambda x: tf.gather(x, [[2, 0], [0, 1]]) ** 2, (A,)),
        (lambda x: tf.where(x > 0, x, x * x), (A,)),
        (lambda x: tf.clip_by_value(x, -0.5, 0.5) ** 2 + tf.maximum(x, 0.1) * tf.abs(x), (A,)),
        (lambda x: tf.cumsum(x, 1, exclusive=True, reverse=True) ** 2, (A,)),
        (lambda x, w: tf.nn.conv2d(x, w, [1, 2, 2, 1], "SAME") ** 2, (C, RNG.standard_normal((3, 3, 3, 2)))),
        (lambda x, w: tf.nn.conv2d(x, w, [1, 1, 1, 1], "VALID") ** 2, (C, RNG.standard_normal((2, 3, 3, 2)))),
        (lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME") ** 2, (C, RNG.standard_normal((3, 3, 3, 2)))),
        (lambda x: tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID") ** 2, (C,)),
        (lambda x: tf.nn.max_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME") ** 2, (C,)),
        (lambda x: tf.nn.avg_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME") ** 2, (C,)),
        (lambda x: tf.nn.softmax_cross_entropy_with_logits(logits=x, labels=tf.nn.softmax(x * 2)), (A,)),
        (lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(logits=x, labels=[0, 3, 1]), (A,)),
        (lambda x: tf.nn.sigmoid_cross_entropy_with_logits(logits=x, labels=tf.ones_like(x) * 0.3), (A,)),
        (lambda x: tf.nn.l2_loss(x) + tf.nn.l2_normalize(x, 1)[0, 0], (A,)),
    ],
)  # fmt: skip
def test_gradients_are_those_of_differences(function: Any, values: Any) -> None:
    check(function, *values)


def test_second_and_third_derivatives() -> None:
    x = tf.placeholder(tf.float64, [])
    y = tf.sin(x * x) * tf.exp(x)
    derivatives = [y]
    for _ in range(3):
        derivatives += tf.gradients(derivatives[-1], x)
    at, h = 0.7, 1e-5
    values = evaluated(derivatives, {x: at})
    for k in range(3):
        low, high = (evaluated(derivatives[k], {x: at + s * h}) for s in (-1, 1))
        assert values[k + 1] == pytest.approx((high - low) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("kind", ["conv", "pool", "matmul", "softmax", "gather", "layer"])
def test_gradients_have_gradients(kind: str) -> None:
    def once(x: Any) -> Any:
        if kind == "conv":
            y = tf.nn.conv2d(x, tf.constant(RNG.standard_normal((3, 3, 3, 2))), [1, 1, 1, 1], "SAME")
        elif kind == "pool":
            y = tf.nn.max_pool(tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 1, 1, 1], "SAME"), [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        elif kind == "matmul":
            y = tf.matmul(x, x, transpose_b=True)
        elif kind == "softmax":
            y = tf.nn.softmax(x) * tf.nn.log_softmax(x)
        elif kind == "gather":
            y = tf.gather(x, [0, 1, 1])
        else:
            centre = x - tf.reduce_mean(x, -1, keepdims=True)
            y = centre * tf.rsqrt(tf.reduce_mean(centre * centre, -1, keepdims=True) + 1e-3)
        g = tf.convert_to_tensor(tf.gradients(tf.reduce_sum(y**3), x)[0])
        return g * g

    check(once, C if kind in ("conv", "pool") else A, tolerance=1e-5)


def test_hessians() -> None:
    x, y = tf.placeholder(tf.float64, [2, 2]), tf.placeholder(tf.float64, [])
    value = tf.reduce_sum(tf.matmul(x, x)) * y + tf.reduce_prod(x)
    h, k = tf.hessians(value, [x, y])
    assert h.shape == [2, 2, 2, 2]
    a = np.array([[1.0, 2.0], [3.0, 5.0]])
    found, flat = evaluated([h, k], {x: a, y: 2.0}, interpret=True)
    assert flat == 0.0
    for i, j in np.ndindex(2, 2):
        step = np.zeros((2, 2))
        step[i, j] = 1e-5
        (g,) = tf.gradients(value, x)
        high, low = (evaluated(g, {x: a + s * step, y: 2.0}, interpret=True) for s in (1, -1))
        np.testing.assert_allclose(found[i, j], (high - low) / 2e-5, rtol=1e-5, atol=1e-6)


def test_nodes_stand_in_a_scope_of_their_own() -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    with tf.name_scope("dense"):
        y = tf.matmul(x, tf.ones([3, 4]), name="product")
    (g,) = tf.gradients(y, x)
    assert g.op.name == "gradients/dense/product_grad/MatMul"
    assert g.shape == [2, 3]
    assert tf.gradients(y, [x])[0].op.name.startswith("gradients_1/")


def test_only_what_was_asked_for_is_computed() -> None:
    x, w = tf.placeholder(tf.float32, [2, 3]), tf.ones([3, 4])
    (g,) = tf.gradients(tf.matmul(x, w), x)
    assert len(g.op.values()) == 1


def test_fan_out_is_one_sum() -> None:
    x = tf.placeholder(tf.float32, [3])
    (g,) = tf.gradients([x * x, tf.exp(x), tf.sin(x)], x)
    assert g.op.type == "AddN"
    v = np.array([0.5, 1.0, -2.0], np.float32)
    np.testing.assert_allclose(evaluated(g, {x: v}), 2 * v + np.exp(v) + np.cos(v), rtol=1e-5)


def test_grad_ys() -> None:
    x = tf.placeholder(tf.float32, [2])
    (g,) = tf.gradients([x * x, 3 * x], x, grad_ys=[tf.constant([1.0, 10.0]), None])
    np.testing.assert_allclose(evaluated(g, {x: [1.0, 2.0]}), [5.0, 43.0])
    with pytest.raises(GraphError, match="expected 1 gradients in grad_ys, got 2"):
        tf.gradients(x, x, grad_ys=[None, None])
    with pytest.raises(GraphError, match=r"expected a gradient of shape \(2,\)"):
        tf.gradients(x, x, grad_ys=[tf.zeros([3])])


def test_of_a_tensor_between() -> None:
    x = tf.placeholder(tf.float32, [])
    h = x * x
    y = tf.exp(h) + x
    assert evaluated(tf.gradients(y, [x, h]), {x: 0.0}) == [1.0, 1.0]
    assert evaluated(tf.gradients(x, x), {x: 3.0}) == [1.0]


def test_of_a_variable_read_twice() -> None:
    v = tf.Variable([1.0, 2.0])
    (g,) = tf.gradients(v * v + v.read_value(), v)
    np.testing.assert_allclose(evaluated(g), [3.0, 5.0])


def test_shapes_that_only_a_feed_tells() -> None:
    x = tf.placeholder(tf.float32)
    y = tf.placeholder(tf.float32, [None, None])
    gx, gy = tf.gradients(tf.reduce_sum(tf.matmul(tf.exp(x), y)), [x, y])
    assert gx.shape.ndims is None
    values = evaluated([gx, gy], {x: np.zeros((2, 3), np.float32), y: np.ones((3, 4), np.float32)})
    np.testing.assert_allclose(values[0], np.full((2, 3), 4.0))
    np.testing.assert_allclose(values[1], np.full((3, 4), 2.0))


def test_broadcasts_of_unknown_extents_are_summed() -> None:
    x, b = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None])
    (g,) = tf.gradients(x * b, b)
    for rows, n in ((4, 3), (2, 1)):
        found = evaluated(g, {x: np.ones((rows, 3), np.float32), b: np.ones(n, np.float32)})
        np.testing.assert_allclose(found, np.full(n, rows * 3 / n))


# Ends


def test_no_influence_is_none_or_zero() -> None:
    x, y = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.int32, [2])
    for nothing in (tf.floor(x), tf.cast(tf.argmax(x, 0), tf.float32), tf.ones_like(x), tf.stop_gradient(x)):
        assert tf.gradients(nothing, x) == [None]
        (zero,) = tf.gradients(nothing, x, unconnected_gradients="zero")
        np.testing.assert_array_equal(evaluated(zero, {x: [1, 2]}), [0, 0])
    assert tf.gradients(tf.cast(y, tf.float32) * x, [y, x])[0] is None


def test_stop_gradients() -> None:
    a = tf.constant(2.0)
    b = 3 * a
    assert evaluated(tf.gradients(a + b, [a, b], stop_gradients=[a, b])) == [1.0, 1.0]
    assert evaluated(tf.gradients(a + b, [a, b])) == [4.0, 1.0]


def test_an_assignment_ends_the_path() -> None:
    v = tf.Variable(1.0)
    x = tf.placeholder(tf.float32, [])
    assert tf.gradients(tf.assign(v, x * 2) * 3, x) == [None]


# Rows


def test_gathered_rows_stay_rows() -> None:
    table = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))
    ids = tf.constant([[1, 3], [1, 1]])
    (g,) = tf.gradients(tf.reduce_sum(tf.gather(table, ids) ** 2), table)
    assert isinstance(g, tf.IndexedSlices)
    value, dense = evaluated([g, tf.convert_to_tensor(g)])
    np.testing.assert_array_equal(value.indices, [1, 3, 1, 1])
    np.testing.assert_array_equal(value.dense_shape, [4, 3])
    np.testing.assert_allclose(dense[1], 3 * 2 * np.array([3.0, 4.0, 5.0]))
    np.testing.assert_allclose(dense[[0, 2]], 0)


def test_rows_and_more() -> None:
    table = tf.Variable(np.ones((4, 2), np.float32))
    rows = tf.gather(table, [0, 3]) + tf.gather(table, tf.constant([3, 3], tf.int64))
    (both,) = tf.gradients(rows, table)
    assert isinstance(both, tf.IndexedSlices)
    (dense,) = tf.gradients([rows, 2 * table], table)
    assert not isinstance(dense, tf.IndexedSlices)
    (before,) = tf.gradients(tf.gather(tf.exp(table * 0), [1]), table)
    found = evaluated([tf.convert_to_tensor(both), dense, before])
    np.testing.assert_allclose(found[0][:, 0], [1, 0, 0, 3])
    np.testing.assert_allclose(found[1][:, 0], [3, 2, 2, 5])
    np.testing.assert_allclose(found[2], np.zeros((4, 2)))


def test_segment_sum() -> None:
    found = evaluated(tf.unsorted_segment_sum(tf.constant([1.0, 2.0, 4.0, 8.0]), [1, -1, 1, 0], 3))
    np.testing.assert_array_equal(found, [8, 5, 0])
    check(lambda x: tf.unsorted_segment_sum(x, [1, 0, 1], 2) ** 2, A)


# Gradients by others


def test_custom_gradient() -> None:
    @tf.custom_gradient
    def log1pexp(x: Any) -> Any:
        e = tf.exp(x)
        return tf.log(1 + e), lambda g: g * (1 - 1 / (1 + e))

    x = tf.placeholder(tf.float32, [])
    y = log1pexp(x * 1.0)
    assert evaluated(tf.gradients(2 * y, x), {x: 0.0}) == [1.0]

    @tf.custom_gradient
    def swapped(x: Any, y: Any) -> Any:
        return [x + y, x - y], lambda g, h: [10 * g, 100 * h]

    a, b = swapped(x, x)
    assert evaluated(tf.gradients([a, b], x), {x: 1.0}) == [110.0]


def test_custom_gradient_of_a_variable_is_refused() -> None:
    v = tf.Variable(1.0)
    tf.cond(v > 0, lambda: v * 2, lambda: v * 3)

    @tf.custom_gradient
    def scaled(x: Any) -> Any:
        return x * v, lambda g: g

    with pytest.raises(GraphError, match="reads the variable 'Variable'"):
        scaled(tf.constant(1.0))


def test_override_map(graph: Any) -> None:
    @tf.RegisterGradient("GuidedRelu")
    def guided(op: Any, g: Any) -> Any:
        return tf.where(g > 0, g, tf.zeros_like(g)) * tf.cast(op.outputs[0] > 0, g.dtype)

    x = tf.placeholder(tf.float32, [3])
    with graph.gradient_override_map({"Relu": "GuidedRelu"}):
        y = tf.nn.relu(x)
    found = evaluated(tf.gradients(y, x, grad_ys=[tf.constant([1.0, -1.0, 5.0])]), {x: [1.0, 2.0, -3.0]})
    np.testing.assert_array_equal(found[0], [1.0, 0.0, 0.0])


# Errors


def test_ys_of_integers() -> None:
    with pytest.raises(GraphError, match="expected ys of floats"):
        tf.gradients(tf.constant(1), tf.constant(1.0))


def test_xs_that_are_no_tensor() -> None:
    with pytest.raises(GraphError, match="expected a tensor or variable in xs, got 3"):
        tf.gradients(tf.constant(1.0), 3)


def test_a_missing_gradient_names_node_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfc.dialects.tfc.base import OPERATIONS, TensorOp

    monkeypatch.setattr(OPERATIONS["tfc.tan"], "grad", TensorOp.grad)
    x = tf.placeholder(tf.float32, [2])
    y = tf.tan(x, name="bend")
    with pytest.raises(GraphError, match=r"'bend' \(Tan\): 'tfc.tan' has no gradient") as caught:
        tf.gradients(y, x)
    assert "y = tf.tan(x" in str(caught.value)
    assert "tf.gradients was called at" in str(caught.value)


@pytest.mark.parametrize(("rows", "columns"), [(37, 48), (64, 10), (1, 33), (130, 129)])
def test_a_product_changes_a_variable_in_place(rows: int, columns: int) -> None:
    """Each element is read and written once, also where tiles do not fit."""
    start = RNG.standard_normal((rows, columns)).astype(np.float32)
    x, g = (RNG.standard_normal((19, n)).astype(np.float32) for n in (rows, columns))
    v = tf.Variable(start)
    step = tf.assign_sub(v, 0.5 * tf.matmul(tf.constant(x), tf.placeholder_with_default(g, g.shape), transpose_a=True))
    with tf.Session() as session:
        session.run(v.initializer)
        for _ in range(3):
            session.run(step)
        np.testing.assert_allclose(session.run(v), start - 1.5 * x.T @ g, rtol=1e-4, atol=1e-4)


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gradients.md").read_text(encoding="utf-8")
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out == "[[12. 12.]\n [24. 24.]\n [36. 36.]]\n"
