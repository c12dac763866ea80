"""Sorting in the graph API and in ONNX models, and ONNX's scatters, against numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx_models import INT, info, model, node, run

import tfc as tf
from tfc.errors import GraphError, ModelFileError

X = np.round(np.random.default_rng(3).normal(size=(3, 37)) * 3).astype(np.float32)


@pytest.fixture(autouse=True)
def graph() -> Iterator[Any]:
    with tf.Graph().as_default() as g:
        yield g


@pytest.fixture(params=["interpreted", "compiled"])
def session(request: pytest.FixtureRequest, graph: Any) -> Any:
    return tf.Session(graph=graph, interpret=request.param == "interpreted")


def test_the_graph_sorts(session: Any) -> None:
    x = tf.placeholder(tf.float32, [None, 37])
    k = tf.placeholder(tf.int32, [3])
    fetches = [
        tf.argsort(x), tf.argsort(x, axis=0, direction="DESCENDING"), tf.sort(x, direction="DESCENDING"),
        tf.nn.top_k(x, 5), tf.nn.in_top_k(x, k, 3),
    ]  # fmt: skip
    rows, columns, ordered, top, inside = session.run(fetches, {x: X, k: [0, 5, 9]})
    assert np.array_equal(rows, np.argsort(X, 1, kind="stable"))
    assert np.array_equal(columns, np.argsort(-X, 0, kind="stable"))
    assert np.array_equal(ordered, -np.sort(-X, 1))
    assert np.array_equal(top.indices, np.argsort(-X, 1, kind="stable")[:, :5])
    assert np.array_equal(top.values, ordered[:, :5])
    larger = [(row > row[c]).sum() for row, c in zip(X, (0, 5, 9), strict=True)]
    assert inside.tolist() == [n < 3 for n in larger]


@pytest.mark.parametrize("count", [32, 33, 4097, (1 << 17) + 5])
@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_long_rows_are_sorted_by_bits_and_merged(count: int, kind: Any) -> None:
    """Equal elements, NaN and both zeros, at the lengths at which the way to sort changes."""
    rng = np.random.default_rng(count)
    values = rng.integers(-50, 50, (2, count)).astype(kind) * kind(1 << 30)
    values[0] += rng.integers(-(2**30), 2**30, count).astype(kind)
    if kind is np.float32:
        values[1, ::7], values[1, 1::7], values[1, 2::7] = np.nan, -0.0, 0.0
    x = tf.placeholder(kind, [2, count])
    up, down = tf.Session().run([tf.argsort(x), tf.argsort(x, direction="DESCENDING")], {x: values})
    assert np.array_equal(up, np.argsort(values, 1, kind="stable"))
    turned = np.argsort(values[:, ::-1], 1, kind="stable")[:, ::-1]
    assert np.array_equal(down, count - 1 - turned)


def test_mistakes_of_sorting() -> None:
    x = tf.placeholder(tf.float32, [3])
    for make, words in (
        (lambda: tf.nn.top_k(x, 4), "at most 3 elements"),
        (lambda: tf.nn.top_k(x[0], 1), "rank 1 or more"),
        (lambda: tf.argsort(x, direction="UP"), "ASCENDING or DESCENDING"),
        (lambda: tf.sort(x, axis=1), "expected an axis"),
    ):
        with pytest.raises(GraphError, match=words) as caught:
            make()
        assert "test_sort.py:" in str(caught.value)


def scattered(reduction: str) -> Any:
    """ScatterND of two rows (one of them twice, one counted from the end) into [4, 3], and of elements."""
    nodes = [
        node("ScatterND", ["x", "at", "rows"], ["y"], reduction=reduction),
        node("ScatterElements", ["x", "to", "some"], ["z"], axis=1, reduction=reduction),
    ]
    inputs = [info("x", 4, 3), info("at", 3, 1, kind=INT), info("rows", 3, 3), info("to", 2, 2, kind=INT), info("some", 2, 2)]
    return model(nodes, inputs, ("y", "z"))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters(reduction: str) -> None:
    combine = {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
    x, rows = X[:, :4].reshape(4, 3), X[:, 4:7]
    feeds = {"x": x, "at": np.int64([[1], [-1], [1]]), "rows": rows, "to": np.int64([[0, -1], [2, 2]]), "some": X[:2, 8:10]}
    y, z = x.copy(), x.copy()
    for place, row in zip((1, 3, 1), rows, strict=True):
        y[place] = combine(y[place], row)
    for i, j, place in ((0, 0, 0), (0, 1, 2), (1, 0, 2), (1, 1, 2)):
        z[i, place] = combine(z[i, place], feeds["some"][i, j])
    proto = scattered(reduction)
    native = tf.compile(proto).run(feeds)
    for got in (run(proto, **feeds), [native["y"], native["z"]]):
        assert np.array_equal(got[0], y)
        assert np.array_equal(got[1], z)
    with pytest.raises(tf.RunError, match="out of range"):
        run(proto, **feeds | {"at": np.int64([[1], [4], [0]])})


def test_mistakes_of_imported_sorts() -> None:
    many = model([node("TopK", ["x", "k"], ["y", "z"], "best")], [info("x", 3)], ("y", "z"), k=np.int64([4]))
    with pytest.raises(ModelFileError, match=r"\(best\).*at most as many elements as the axis has, which is 3, got 4"):
        tf.compile(many)
    named = model([node("TopK", ["x", "k"], ["y", "z"])], [info("x", "n")], ("y", "z"), k=np.int64([1]))
    with pytest.raises(ModelFileError, match="which is n"):
        tf.compile(named)
    with pytest.raises(ModelFileError, match="a reduction of none, add, mul, max, min, got 'avg'"):
        tf.compile(scattered("avg"))
