"""Native calls of a model: what they take, what they leave to Python, and that nothing crashes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfc
import tfc as tf
from tfc.errors import FeedError, RunError, TfcError


def made(build, feeds=None, **options: Any):
    graph = tf.Graph()
    with graph.as_default():
        return tfc.compile(*build(), **options)


@pytest.fixture(scope="module")
def model():
    model = made(affine)
    model(X, N)
    return model


def affine():
    x = tf.placeholder(tf.float32, [4, 3], name="x")
    n = tf.placeholder(tf.int32, [], name="n")
    y = x * 2.0 + tf.cast(n, tf.float32)
    return [y, n + 1], [x, n]


X = np.arange(12, dtype=np.float32).reshape(4, 3)
N = np.array(5, np.int32)


def native(model, *arrays: Any) -> Any:
    return model._program.call(*arrays)


def test_plain_arrays_are_called_natively(model):
    y, n = native(model, X, N)
    np.testing.assert_array_equal(y, X * 2 + 5)
    assert (type(n), n.shape, int(n), y.dtype) == (np.ndarray, (), 6, np.float32)
    assert y.flags.owndata
    assert y.flags.writeable


UNUSUAL = {
    "list": X.tolist(),
    "float64": X.astype(np.float64),
    "other byte order": X.astype(">f4"),
    "fortran": np.asfortranarray(X),
    "strided": np.zeros((8, 3), np.float32)[::2],
    "misaligned": np.frombuffer(b"\0" * 49, np.uint8)[1:].view(np.float32).reshape(4, 3),
    "subclass": X.view(type("Sub", (np.ndarray,), {})),
    "masked": np.ma.masked_array(X),
    "records": np.rec.array(X),
    "rank": X.reshape(12),
    "more rank": X.reshape(4, 3, 1),
    "extent": X[:3],
    "empty": X[:0],
    "scalar": np.float32(1),
    "none": None,
    "class": np.ndarray,
    "dtype": X.dtype,
    "object": X.astype(object),
    "text": "x",
    "int": 3,
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_anything_else_is_left_to_python(model, kind):
    value = UNUSUAL[kind]
    assert native(model, value, N) is NotImplemented
    try:
        y, _ = model(value, N)
    except FeedError:
        return
    np.testing.assert_array_equal(y, np.asarray(value, np.float32) * 2 + 5)


def test_the_number_of_inputs_is_checked(model):
    for arrays in ((), (X,), (X, N, N)):
        assert native(model, *arrays) is NotImplemented
        with pytest.raises(FeedError, match="expected 2 inputs"):
            model(*arrays)
    with pytest.raises(TypeError):
        model._program.call(X, n=N)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([X, N, *UNUSUAL.values()]), max_size=4))
def test_any_mixture_gives_a_result_or_an_error_of_tfc(model, arrays):
    with suppress(TfcError):
        model(*arrays)


def test_read_only_arrays_are_taken(model):
    x = X.copy()
    x.flags.writeable = False
    assert native(model, x, N) is not NotImplemented


def test_references_are_kept_and_dropped(model):
    x, n = X.copy(), N.copy()
    before = [sys.getrefcount(v) for v in (x, n, x.dtype, None, NotImplemented, True)]
    for _ in range(2000):
        native(model, x, n)
        native(model, None, n)
        native(model)
    after = [sys.getrefcount(v) for v in (x, n, x.dtype, None, NotImplemented, True)]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True))
    y, m = native(model, x, n)
    died = [weakref.ref(y), weakref.ref(m)]
    del y, m
    assert [d() for d in died] == [None, None]


def test_a_model_goes_with_its_last_reference():
    model = made(affine)
    model(X, N)
    gc.disable()
    try:
        program = weakref.ref(model._program)
        del model
        assert program() is None
    finally:
        gc.enable()


def gathered():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    i = tf.placeholder(tf.int32, [2], name="i")
    return [tf.gather(x, i)], [x, i]


def test_the_error_of_a_run_is_raised_and_leaves_the_model_usable():
    model = made(gathered)
    good, bad = np.array([0, 1], np.int32), np.array([0, 9], np.int32)
    model(X, good)
    assert native(model, X, good) is not NotImplemented
    for _ in range(3):
        with pytest.raises(RunError, match="gather"):
            native(model, X, bad)
        np.testing.assert_array_equal(native(model, X, good), X[:2])


def test_named_dims_are_called_natively_from_the_second_run_on():
    model = made(gathered)
    i = np.array([1, 0], np.int32)
    for rows in (4, 2, 4):
        x = X[:rows].copy()
        assert native(model, x, i) is NotImplemented
        model(x, i)
        np.testing.assert_array_equal(native(model, x, i), x[[1, 0]])


def test_no_inputs_and_no_elements():
    constant = made(lambda: ([tf.constant([1.0, 2.0]) + 1.0], []))
    assert native(constant) is NotImplemented  # the first run finds out what the next ones are
    constant()
    np.testing.assert_array_equal(native(constant), [2, 3])

    def nothing():
        x = tf.placeholder(tf.float32, [0, 3], name="x")
        return [x + 1.0], [x]

    empty, model = np.zeros((0, 3), np.float32), made(nothing)
    model(empty)
    assert native(model, empty).shape == (0, 3)


def test_a_variable_fed_to_its_own_assignment_is_copied():
    graph = tf.Graph()
    with graph.as_default():
        v = tf.get_variable("v", [8], initializer=tf.zeros_initializer())
        x = tf.placeholder(tf.float32, [8], name="x")
        with tf.control_dependencies([tf.assign(v, v + 1.0)]):
            y = x + 0.0
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            model = tfc.compile([y], [x], session=session)
    storage = model._program.variable(0)
    storage[...] = 7
    model(storage)
    storage[...] = 7
    assert native(model, storage) is NotImplemented
    np.testing.assert_array_equal(model(storage), np.full(8, 7.0))
    np.testing.assert_array_equal(storage, np.full(8, 8.0))
    assert native(model, storage.copy()) is not NotImplemented


def test_threads_take_turns(model):
    failures: list[int] = []

    def work(k: int) -> None:
        x, n = np.full((4, 3), k, np.float32), np.array(k, np.int32)
        for _ in range(300):
            y, m = model(x, n)
            if not (y == 3 * k).all() or m != k + 1:
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


LOADED = """
import sys
import numpy as np
import tfc
model = tfc.load(sys.argv[1])
x, n = np.ones((4, 3), np.float32), np.array(2, np.int32)
model(x, n)
y, m = model._program.call(x, n)
assert (y == 4).all() and m == 3
assert model._program.call(x.tolist(), n) is NotImplemented
assert not {"xdsl", "llvmlite"} & set(sys.modules)
"""


def test_a_loaded_library_is_called_natively_without_a_compiler(model, tmp_path: Path):
    model.save(tmp_path / "model.so")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path / "model.so")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
