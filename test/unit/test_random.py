"""Random tensors: TensorFlow's numbers, their distributions, and streams that go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_draws import STREAM_SEEDS, exact, near, streams, three_runs

import tfc as tf

KNOWN = np.load(Path(__file__).parents[1] / "data" / "draws.npz")


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def drawn(*tensors, **options):
    return tf.Session(**options).run(list(tensors))


def ulps(found, known):
    """The distance in units in the last place of the larger."""
    spacing = np.spacing(np.maximum(np.abs(found), np.abs(known)))
    return np.abs(found.astype(np.float64) - known) / spacing


@pytest.mark.parametrize("interpret", [False, True])
def test_uniform_numbers_are_tensorflows_bit_for_bit(interpret):
    cases = exact()
    found = drawn(*(make(tf) for make in cases.values()), interpret=interpret)
    for name, value in zip(cases, found, strict=True):
        assert value.dtype == KNOWN[name].dtype, name
        assert np.array_equal(value, KNOWN[name]), name


def test_normal_numbers_are_tensorflows_up_to_the_last_places():
    cases = near()
    for name, value in zip(cases, drawn(*(make(tf) for make in cases.values())), strict=True):
        # A radius and a sine, each rounded, are multiplied: libraries differ in the last place of each.
        assert ulps(value, KNOWN[name]).max() <= 3, name
        assert np.mean(value != KNOWN[name]) < 0.1, name


@pytest.mark.parametrize("seeds", STREAM_SEEDS)
@pytest.mark.parametrize("name", streams())
def test_streams_are_tensorflows(name, seeds):
    known = KNOWN[f"stream-{name}-{seeds}"]
    found = three_runs(tf, streams()[name], seeds)
    assert (ulps(found, known).max() <= 3) if known.dtype.kind == "f" else np.array_equal(found, known)


def test_the_same_seeds_give_the_same_stream_and_each_run_goes_on():
    def graph():
        with tf.Graph().as_default() as g:
            tf.set_random_seed(1)
            return g, tf.random_uniform([4]), tf.random_uniform([4])

    (first, a, b), (second, c, d) = graph(), graph()
    one, two = tf.Session(graph=first), tf.Session(graph=second)
    runs = [one.run([a, b]) for _ in range(2)]
    assert np.array_equal(runs, [two.run([c, d]) for _ in range(2)])
    assert len({x.tobytes() for run in runs for x in run}) == 4
    assert np.array_equal(runs[0], tf.Session(graph=first).run([a, b]))  # a session begins anew
    chance = drawn(tf.random_uniform([4]), tf.random_uniform([4]))
    assert not np.array_equal(*chance)


def test_the_number_of_threads_is_no_reason_for_other_numbers():
    wide, seed = 200_003, [8, 9]
    made = [tf.random.stateless_uniform([wide], seed), tf.random.stateless_normal([wide], seed)]
    made.append(tf.random.stateless_truncated_normal([wide], seed))
    one = drawn(*made)
    many = drawn(*made, config=tf.ConfigProto(intra_op_parallelism_threads=3))
    for x, y in zip(one, many, strict=True):
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize(
    ("kind", "mean", "stddev", "bound"),
    [("uniform", 0.5, np.sqrt(1 / 12), 1), ("normal", 0, 1, 6), ("truncated_normal", 0, 0.8796257, 2)],
)
def test_moments(kind, mean, stddev, bound):
    (x,) = drawn(getattr(tf.random, f"stateless_{kind}")([300, 1000], [3, 4]))
    assert abs(x.mean() - mean) < 4 * stddev / np.sqrt(x.size)
    assert abs(x.std() - stddev) < 4 * stddev / np.sqrt(x.size)
    assert np.abs(x).max() < bound
    if kind == "truncated_normal":
        # The share beyond one: of the normal distribution without its tails.
        share = (0.317310508 - 0.045500264) / (1 - 0.045500264)
        assert abs(np.mean(np.abs(x) > 1) - share) < 4 * np.sqrt(share / x.size)


def test_a_seed_may_be_fed():
    seed = tf.placeholder(tf.int64, [2])
    x = tf.random.stateless_uniform([3], seed)
    session = tf.Session()
    assert np.array_equal(session.run(x, {seed: [3, 4]}), drawn(tf.random.stateless_uniform([3], [3, 4]))[0])
    assert not np.array_equal(session.run(x, {seed: [3, 5]}), session.run(x, {seed: [3, 4]}))


def test_shuffling_keeps_all_rows_and_is_fair():
    x = tf.placeholder(tf.int32, [None, 2])
    shuffled = tf.random_shuffle(x, seed=4)
    session = tf.Session()
    rows = np.arange(12).reshape(6, 2)
    seen = np.zeros((6, 6))
    for _ in range(600):
        found = session.run(shuffled, {x: rows})
        order = found[:, 0] // 2
        assert np.array_equal(rows[order], found)
        assert sorted(order) == list(range(6))
        seen[np.arange(6), order] += 1
    assert np.abs(seen - 100).max() < 4.5 * np.sqrt(600 * 5 / 36)
    assert session.run(shuffled, {x: np.zeros((0, 2), np.int32)}).shape == (0, 2)


@pytest.mark.parametrize("function", [tf.multinomial, tf.random.categorical])
def test_classes_come_as_often_as_their_logits_say(function):
    chances = np.array([[0.1, 0.0, 0.6, 0.3], [0.25, 0.25, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        logits = np.log(chances).astype(np.float32) + 5
    (found,) = drawn(function(logits, 20000, seed=3))
    assert (found.shape, found.dtype) == ((2, 20000), np.int64)
    shares = np.array([np.bincount(row, minlength=4) / 20000 for row in found])
    assert np.all(shares[chances == 0] == 0)
    assert np.abs(shares - chances).max() < 4 * np.sqrt(0.25 / 20000)


def test_dropout_keeps_the_mean():
    kept, all_ = drawn(tf.nn.dropout(tf.ones([500, 200]), rate=0.25, seed=3), tf.nn.dropout(tf.ones([3]), 1.0))
    assert set(np.unique(kept)) == {0, np.float32(1 / 0.75)}
    assert abs(np.mean(kept == 0) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / kept.size)
    assert all_.tolist() == [1, 1, 1]


def test_the_stream_of_an_artifact_goes_on(tmp_path):
    tf.set_random_seed(3)
    x = tf.placeholder(tf.float32, [3], name="x")
    y = x + tf.random_uniform([3], seed=5)
    session = tf.Session()
    wanted = [session.run(y, {x: np.zeros(3, np.float32)}) for _ in range(2)]
    tf.compile(y, feeds=[x]).save(tmp_path / "model.so")
    model = tf.load(tmp_path / "model.so")
    assert np.array_equal([model(np.zeros(3, np.float32)) for _ in range(2)], wanted)


def test_misuse_is_told():
    with pytest.raises(tf.GraphError, match=r"expected a seed of two integers, got \(3,\)"):
        tf.random.stateless_uniform([2], [1, 2, 3])
    with pytest.raises(tf.GraphError, match="expected a seed of two integers, got float32"):
        tf.random.stateless_normal([2], [1.0, 2.0])
    with pytest.raises(tf.GraphError, match="integers need a maxval"):
        tf.random.stateless_uniform([2], [1, 2], dtype=tf.int32)
    with pytest.raises(tf.GraphError, match=r"expected logits of shape \[batch, classes\]"):
        tf.multinomial(tf.zeros([3]), 2)
