"""Orders of tasks: optimal when small, never worse than given, fast when large."""

from __future__ import annotations

import random
import time
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfc.passes.scheduling import EXACT, Tasks, best_order, floor, peak


def graph(chance: random.Random, size: int, *, joins: int = 2, effects: float = 0.1) -> Tasks:
    """Random tasks, each with up to ``joins`` operands among the earlier ones; some make nothing."""
    before: list[list[int]] = []
    makes: list[list[int]] = []
    reads: list[list[int]] = []
    sizes: list[int] = []
    made: list[tuple[int, int]] = []
    for task in range(size):
        taken = chance.sample(made, min(len(made), chance.randint(0, joins)))
        reads.append([v for v, _ in taken])
        before.append([t for _, t in taken])
        if chance.random() < effects:
            makes.append([])
            continue
        makes.append([len(sizes)])
        made.append((len(sizes), task))
        sizes.append(chance.choice([1, 2, 5, 10, 100]))
    kept = frozenset(v for v, _ in made if chance.random() < 0.1)
    return Tasks(before, makes, reads, sizes, kept)


def is_topological(tasks: Tasks, order: list[int]) -> bool:
    place = {task: k for k, task in enumerate(order)}
    if sorted(order) != list(range(tasks.count)):
        return False
    return all(place[e] < place[t] for t in range(tasks.count) for e in tasks.before[t])


def least_peak(tasks: Tasks) -> int:
    """By trying, for each set of finished tasks, all that can come last."""
    best = {0: (0, 0)}  # set -> (peak, live): what is live depends on the set alone
    for done in range(1, 1 << tasks.count):
        found = None
        for task in range(tasks.count):
            rest = done & ~(1 << task)
            if not done >> task & 1 or rest not in best:
                continue
            if any(not rest >> e & 1 for e in tasks.before[task]):
                continue
            most, live = best[rest]
            during = live + sum(tasks.sizes[v] for v in tasks.makes[task])
            after = during
            for v in {*tasks.reads[task], *tasks.makes[task]}:
                if v not in tasks.kept and all(done >> r & 1 for r in tasks.readers[v]):
                    after -= tasks.sizes[v]
            if found is None or max(most, during) < found[0]:
                found = max(most, during), after
        if found is not None:
            best[done] = found
    return best[(1 << tasks.count) - 1][0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 10))
def test_small_graphs_are_ordered_optimally(seed: int, size: int) -> None:
    tasks = graph(random.Random(seed), size)
    order = best_order(tasks)
    assert is_topological(tasks, order)
    assert floor(tasks) <= peak(tasks, order) == least_peak(tasks)


@pytest.mark.parametrize("seed", range(4))
def test_graphs_of_fourteen_are_ordered_optimally(seed: int) -> None:
    tasks = graph(random.Random(seed), EXACT, joins=3)
    assert peak(tasks, best_order(tasks)) == least_peak(tasks)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.integers(15, 80))
def test_larger_graphs_are_never_worse_than_given(seed: int, size: int) -> None:
    tasks = graph(random.Random(seed), size, joins=3)
    order = best_order(tasks)
    assert is_topological(tasks, order)
    assert peak(tasks, order) <= peak(tasks, range(tasks.count))


def test_independent_chains_do_not_interleave() -> None:
    """8 chains big -> small, written breadth first: depth first needs one big value at a time."""
    chains, number = 8, count()
    before, makes, reads, sizes = [], [], [], []
    for _ in range(chains):
        before.append([])
        makes.append([next(number)])
        reads.append([])
        sizes.append(100)
    for k in range(chains):
        before.append([k])
        makes.append([next(number)])
        reads.append([k])
        sizes.append(1)
    before.append(list(range(chains, 2 * chains)))
    makes.append([next(number)])
    reads.append(list(range(chains, 2 * chains)))
    sizes.append(1)
    tasks = Tasks(before, makes, reads, sizes)
    assert peak(tasks, range(tasks.count)) == 801
    assert peak(tasks, best_order(tasks)) == 100 + 8


def test_two_thousand_tasks_take_little_time() -> None:
    tasks = graph(random.Random(0), 2000, joins=3)
    start = time.process_time()
    order = best_order(tasks)
    assert time.process_time() - start < 1.0
    assert is_topological(tasks, order)
