"""Programs within a limit of memory: kernels run again, results keep every bit, errors list what is there."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfc as tf
from tfc.cli.compile import main, read_size
from tfc.errors import MemoryLimitError, OptionError
from tfc.passes.recomputation import Recomputation, Step
from tfc.passes.scheduling import Tasks, peak


def backward_chain(count: int) -> Tasks:
    """``count`` values, each made of the one before, and then read in the opposite order."""
    before = [[k - 1] if k else [] for k in range(count)]
    makes, reads = [[k] for k in range(count)], [[k - 1] if k else [] for k in range(count)]
    for k in reversed(range(count)):
        before.append([len(before) - 1, k])
        makes.append([])
        reads.append([k])
    return Tasks(before, makes, reads, [1] * count)


def replay(tasks: Tasks, steps: list[Step]) -> None:
    """Check that each step reads what its task reads, and that it has been made by then."""
    there: dict[int, tuple[int, int]] = {}
    original = {v: (k, j) for k, makes in enumerate(tasks.makes) for j, v in enumerate(makes)}
    for step in steps:
        for version, value in zip(step.reads, tasks.reads[step.task], strict=True):
            assert there[version] == original[value]
        there.update((v, (step.task, j)) for j, v in enumerate(step.makes))


@pytest.mark.parametrize("limit", [20, 12, 8])
def test_a_chain_needs_less_than_it_keeps(limit: int) -> None:
    tasks = backward_chain(32)
    order = range(tasks.count)
    assert peak(tasks, order) == 32
    recomputation = Recomputation(tasks, [1.0] * tasks.count)
    steps = recomputation.run(order, limit)
    replay(tasks, steps)
    assert recomputation.peak(steps) <= limit
    assert len(steps) <= tasks.count + 4 * 32, "no chain is run again and again"


def test_nothing_runs_again_without_need() -> None:
    tasks = backward_chain(8)
    steps = Recomputation(tasks, [1.0] * tasks.count).run(range(tasks.count), 8)
    assert [s.task for s in steps] == list(range(tasks.count))


def test_what_has_effects_runs_once() -> None:
    tasks = backward_chain(8)
    steps = Recomputation(tasks, [None] * tasks.count).run(range(tasks.count), 3)
    assert len(steps) == tasks.count


def test_no_copy_runs_after_what_it_reads_is_destroyed() -> None:
    tasks = backward_chain(8)
    until = {k: {8} for k in range(8)}  # the first step backward writes what all forward steps read
    steps = Recomputation(tasks, [1.0] * tasks.count, until).run(range(tasks.count), 3)
    assert len(steps) == tasks.count


@given(st.randoms(use_true_random=False), st.integers(3, 24), st.floats(0.3, 1.0))
@settings(deadline=None, max_examples=60)
def test_random_graphs_stay_what_they_are(chance: random.Random, size: int, part: float) -> None:
    reads = [chance.sample(range(k), min(k, chance.randint(0, 3))) for k in range(size)]
    sizes = [chance.choice([1, 3, 10]) for _ in range(size)]
    tasks = Tasks(reads, [[k] for k in range(size)], [sorted(r) for r in reads], sizes, frozenset([size - 1]))
    most = peak(tasks, range(size))
    recomputation = Recomputation(tasks, [chance.choice([None, 1.0, 5.0]) for _ in range(size)])
    steps = recomputation.run(range(size), int(most * part))
    replay(tasks, steps)
    assert recomputation.peak(steps) <= most
    assert {s.task for s in steps} == set(range(size))


def network(depth: int) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """Values of ``depth`` layers that are read again from last to first, through views, and a variable between."""
    x = tf.placeholder(tf.float32, [32, 32], name="x")
    w = tf.constant(np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32) / 6)
    v = tf.Variable(tf.ones([32, 32]), name="v")
    layers = [x * v]
    for _ in range(depth):
        layers.append(tf.tanh(tf.matmul(layers[-1], w)))
    y = layers[-1]
    with tf.control_dependencies([y]):
        step = tf.assign_add(v, tf.ones([32, 32]))
    for layer in reversed(layers):
        flat = tf.reshape(layer, [1024])
        y = tf.tanh(tf.matmul(y, tf.reshape(flat * (1 - flat), [32, 32]), transpose_b=True))
    return [y, step], x, v


@pytest.mark.parametrize("limit", [None, 40_000, 24_000])
def test_sessions_keep_every_bit(limit: int | None) -> None:
    value = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    found = []
    for bound in (None, limit):
        with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(memory_limit=bound)) as session:
            fetches, x, v = network(12)
            session.run(tf.global_variables_initializer())
            runs = [session.run(fetches, {x: value}) for _ in range(3)]
            found.append([*runs, session.run(v)])
    for before, after in zip(*found, strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_arena_is_within_the_limit() -> None:
    with tf.Graph().as_default():
        fetches, x, _ = network(12)
        free, bound = (
            tf.compile(fetches[0], [x], memory_limit=n, session=started()) for n in (None, 24_000)
        )
    value = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    assert free.arena_size() > 24_000 >= bound.arena_size()
    np.testing.assert_array_equal(free(value), bound(value))


def started() -> tf.Session:
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def test_what_cannot_fit_is_listed() -> None:
    with tf.Graph().as_default():
        fetches, x, _ = network(12)
        with pytest.raises(MemoryLimitError) as error:
            tf.compile(fetches[0], [x], memory_limit=1000, session=started())
    text = str(error.value)
    assert "and 1,000 are allowed" in text
    assert "4,096 bytes, made by" in text
    assert "test_memory_limit.py:" in text


def test_open_extents_have_no_limit() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 8], name="x")
        y = tf.reduce_sum(tf.matmul(tf.exp(x), tf.ones([8, 8])) ** 2, 0)
        with pytest.raises(OptionError, match="needs extents that are numbers"):
            tf.compile(y, [x], shapes={"x": ["batch", 8]}, memory_limit=1)


def test_sizes() -> None:
    assert [read_size(t) for t in ("77", "3B", "64KiB", "1.5MiB", "2GiB")] == [77, 3, 65536, 3 << 19, 2 << 30]
    for text in ("", "MiB", "1.5", "-3", "3KB", "1 MiB", "1e3", "٣"):
        with pytest.raises(OptionError, match="expected a size"):
            read_size(text)
    with pytest.raises(OptionError, match="limit of memory in bytes"):
        tf.compile("model.onnx", memory_limit=-1)


def test_the_tool_refuses_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model.onnx", "--memory-limit=much"]) == 2
    assert "expected a size, got 'much'" in capsys.readouterr().err
