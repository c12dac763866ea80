"""Sixty-four threads on one session: no update lost, nothing seen half, each signature compiled once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfc as tf
from tfc.graph.sharing import State

THREADS = 64


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def together(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """What ``count`` threads give that begin at the same time; the first error, if any."""
    results: list[Any] = [None] * count
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(k: int) -> None:
        try:
            start.wait(timeout=60)
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]
    return results


@pytest.mark.parametrize("locked", [False, True])
def test_no_update_is_lost(locked: bool) -> None:
    v = tf.Variable(0, name="v")
    add = v.assign_add(1, use_locking=locked)
    session = tf.Session()
    session.run(v.initializer)
    seen = together(lambda _: [int(session.run(add)) for _ in range(30)])
    assert session.run(v) == THREADS * 30
    # Each run saw its own update: all values are different, and grow in each thread.
    assert sorted(x for xs in seen for x in xs) == list(range(1, THREADS * 30 + 1))
    assert all(xs == sorted(xs) for xs in seen)


def test_a_read_and_write_is_one_step() -> None:
    """v = v + 1 from a read: another run cannot come between, also of another signature."""
    v = tf.Variable(0, name="v")
    adds = [v.assign(v.read_value() + k % 3) for k in range(8)]
    session = tf.Session()
    session.run(v.initializer)
    together(lambda k: [session.run(adds[k % 8]) for _ in range(20)])
    assert session.run(v) == sum(20 * (k % 8 % 3) for k in range(THREADS))


def test_runs_see_variables_whole() -> None:
    """Two large variables change together; readers of other signatures see both before, or both after."""
    size = 20_000
    a, b = (tf.Variable(tf.zeros([size]), name=n) for n in "ab")
    step = tf.group(a.assign_add(tf.ones([size])), b.assign_add(tf.ones([size])))
    views = [(tf.reduce_min(a), tf.reduce_max(a), tf.reduce_min(b), tf.reduce_max(b)), (tf.concat([a, b], 0),)]
    session = tf.Session()
    session.run(tf.global_variables_initializer())

    def work(k: int) -> None:
        for _ in range(10):
            if k % 4 == 0:
                session.run(step)
            else:
                values = session.run(views[k % 2])
                assert len({float(x) for value in values for x in np.unique(value)}) == 1

    together(work)
    assert session.run(views[0]) == (160.0,) * 4


def test_each_signature_is_compiled_once() -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.reduce_sum(x * 2.0)
    session = tf.Session()
    results = together(lambda k: float(session.run(y, {x: np.ones(k % 4 + 1, np.float32)})))
    assert results == [2.0 * (k % 4 + 1) for k in range(THREADS)]
    assert session.compilations == 4


def test_initializing_loading_and_saving_beside_runs(tmp_path: Path) -> None:
    a, b = (tf.Variable(np.zeros(1000, np.float32), name=n) for n in "ab")
    total = tf.reduce_sum(a) - tf.reduce_sum(b)
    session = tf.Session()
    init = tf.global_variables_initializer()
    session.run(init)
    saver = tf.train.Saver(max_to_keep=0)
    first = saver.save(session, tmp_path / "first")

    def work(k: int) -> None:
        for turn in range(3):
            match k % 8:
                case 0:
                    session.run(init)
                case 1:
                    session.load_all([(a, np.full(1000, k)), (b, np.full(1000, k))])
                case 2:
                    saver.save(session, tmp_path / "net", global_step=100 * k + turn, write_state=False)
                case 3:
                    saver.restore(session, first)
                case _:
                    assert session.run(total) == 0

    together(work)
    for k in range(2, THREADS, 8):
        reader = tf.train.load_checkpoint(tmp_path / f"net-{100 * k}")
        assert len({*reader.get_tensor("a").tolist(), *reader.get_tensor("b").tolist()}) == 1


def test_an_error_in_a_run_leaves_no_lock() -> None:
    v = tf.Variable(np.zeros(4, np.float32), name="v")
    i = tf.placeholder(tf.int32, [1])
    row = tf.gather(v, i)
    change = v.assign(tf.gather(v, tf.concat([i, i, i, i], 0)))
    session = tf.Session()
    session.run(v.initializer)

    def work(k: int) -> None:
        for fetch in (row, change):
            if k % 2:
                with pytest.raises(tf.RunError):
                    session.run(fetch, {i: [9]})
            else:
                session.run(fetch, {i: [1]})

    together(work)
    assert session.run(v).tolist() == [0] * 4


def test_one_handle_from_many_threads(tmp_path: Path) -> None:
    """A loaded model: calls wait for each other, so its variables are changed one call at a time."""
    v = tf.Variable(np.zeros(100, np.int64), name="v")
    tf.compile(v.assign_add(np.ones(100, np.int64)), session=tf.Session()).save(tmp_path / "m.so")
    model = tf.load(tmp_path / "m.so")
    results = together(lambda _: [model() for _ in range(10)])
    last = [r for rs in results for r in rs]
    assert all((r == r[0]).all() for r in last)
    assert sorted(int(r[0]) for r in last) == list(range(1, THREADS * 10 + 1))


def test_sessions_share_nothing() -> None:
    v = tf.Variable(0, name="v")
    add = v.assign_add(1)
    sessions = [tf.Session() for _ in range(8)]
    for session in sessions:
        session.run(v.initializer)
    together(lambda k: [sessions[k % 8].run(add) for _ in range(5)])
    assert [int(s.run(v)) for s in sessions] == [THREADS // 8 * 5] * 8


def test_a_writer_waits_for_readers_and_not_for_ever() -> None:
    """Readers that come all the time do not keep a writer out."""
    state, log = State(), list[str]()
    stop = threading.Event()

    def read(_: int) -> None:
        while not stop.is_set():
            with state.reading:
                pass

    def write(_: int) -> None:
        for k in range(100):
            with state.writing:
                assert state.readers == 0
                log.append(str(k))
        stop.set()

    together(lambda k: write(k) if k == 0 else read(k), 8)
    assert len(log) == 100
    assert (state.readers, state.waiting) == (0, 0)
