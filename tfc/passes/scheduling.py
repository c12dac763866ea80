"""Orders of a graph of tasks that need little memory at once.

    best_order(Tasks(before=[(), (0,), (0,), (1, 2)], ...))  ->  [0, 2, 1, 3]

A task allocates the values that it makes and frees those that nobody reads afterwards; while it
runs, both are there. Finding the least peak is NP-hard. Up to `EXACT` allocating tasks it is found,
by best-first search over sets of finished tasks (the peak never falls along a path, so
the first complete one is the best). Beyond, several greedy orders and a beam search compete, with
the order that was given among them: the result is never worse than that.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

EXACT = 14
"""Allocating tasks up to which the order is optimal."""

BEAM_WIDTHS = ((60, 64), (200, 24), (600, 6))
"""States kept by the number of tasks; more tasks are ordered greedily only."""


@dataclass(frozen=True)
class Tasks:
    """Tasks ``0, 1, ...`` in an order in which they may run.

    Attributes:
        before: for each task, those that run before it.
        makes: for each task, the values it allocates.
        reads: for each task, the values it reads, each once.
        sizes: of the values, in bytes.
        kept: values that are still there in the end.
    """

    before: Sequence[Sequence[int]]
    makes: Sequence[Sequence[int]]
    reads: Sequence[Sequence[int]]
    sizes: Sequence[int]
    kept: frozenset[int] = frozenset()

    @property
    def count(self) -> int:
        return len(self.before)

    @cached_property
    def after(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(self.count)]
        for task, earlier in enumerate(self.before):
            for e in earlier:
                found[e].append(task)
        return found

    @cached_property
    def readers(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.sizes]
        for task, values in enumerate(self.reads):
            for v in values:
                found[v].append(task)
        return found

    @cached_property
    def allocates(self) -> list[int]:
        return [sum(self.sizes[v] for v in values) for values in self.makes]

    @cached_property
    def drops(self) -> list[int]:
        """Bytes of each task's own results that nobody reads."""
        return [
            sum(self.sizes[v] for v in values if not self.readers[v] and v not in self.kept)
            for values in self.makes
        ]


def peak(tasks: Tasks, order: Sequence[int]) -> int:
    """The most bytes that are there at once."""
    left = [len(r) for r in tasks.readers]
    live = most = 0
    for task in order:
        live += tasks.allocates[task]
        most = max(most, live)
        live -= tasks.drops[task]
        for v in tasks.reads[task]:
            left[v] -= 1
            if not left[v] and v not in tasks.kept:
                live -= tasks.sizes[v]
    return most


def floor(tasks: Tasks) -> int:
    """Bytes that every order needs: for a task beside what it reads, and for what is kept in the end."""
    sizes = tasks.sizes
    at_work = (sum(sizes[v] for v in {*m, *r}) for m, r in zip(tasks.makes, tasks.reads, strict=True))
    return max(sum(sizes[v] for v in tasks.kept), max(at_work, default=0))


def best_order(tasks: Tasks) -> list[int]:
    """An order of least peak among those tried; the given one where none is better."""
    given = list(range(tasks.count))
    if peak(tasks, given) == floor(tasks):
        return given
    if sum(1 for a in tasks.allocates if a) <= EXACT:
        found = _search(tasks, 0, peak(tasks, given))
        return given if found is None else found
    candidates = [given, _greedy(tasks, False), _greedy(tasks, True), _depth_first(tasks)]
    width = next((w for most, w in BEAM_WIDTHS if tasks.count <= most), 0)
    best = min(candidates, key=lambda order: peak(tasks, order))
    if width and (found := _search(tasks, width, peak(tasks, best))) is not None:
        return found
    return best


# Greedy orders.


def _greedy(tasks: Tasks, newest: bool) -> list[int]:
    """Whatever frees most first; else the least growth, or what became ready last (``newest``)."""
    left = [len(r) for r in tasks.readers]
    waits = [len(set(b)) for b in tasks.before]
    done = [False] * tasks.count
    ready: list[tuple[Any, ...]] = []
    clock = 0

    def growth(task: int) -> int:
        freed = sum(tasks.sizes[v] for v in tasks.reads[task] if left[v] == 1 and v not in tasks.kept)
        return tasks.allocates[task] - tasks.drops[task] - freed

    def offer(task: int) -> None:
        nonlocal clock
        clock += 1
        g = growth(task)
        key = (g > 0, -clock, g) if newest and g > 0 else (g > 0, g, 0)
        heapq.heappush(ready, (*key, task))

    for task, count in enumerate(waits):
        if not count:
            offer(task)
    order: list[int] = []
    while ready:
        task = heapq.heappop(ready)[-1]
        if done[task]:
            continue  # an entry from before something about it changed
        done[task] = True
        order.append(task)
        for v in tasks.reads[task]:
            left[v] -= 1
            if left[v] == 1:  # its last reader now frees it
                for reader in tasks.readers[v]:
                    if not done[reader] and not waits[reader]:
                        offer(reader)
        for later in set(tasks.after[task]):
            waits[later] -= 1
            if not waits[later]:
                offer(later)
    return order


def _depth_first(tasks: Tasks) -> list[int]:
    """Finish one operand before the next begins, the one that needs most memory first.

    Source: Sethi and Ullman, "The generation of optimal code for arithmetic expressions", 1970.
    """
    need = [0] * tasks.count
    kept = [sum(tasks.sizes[v] for v in m) for m in tasks.makes]
    for task in range(tasks.count):
        held = most = 0
        for e in sorted(tasks.before[task], key=lambda e: kept[e] - need[e]):
            most = max(most, held + need[e])
            held += kept[e]
        need[task] = max(most, held + tasks.allocates[task])
    order, done = list[int](), [False] * tasks.count
    ends = [t for t in range(tasks.count) if not tasks.after[t]]
    stack = [(t, False) for t in sorted(ends, key=lambda t: (need[t], -t))]
    while stack:
        task, expanded = stack.pop()
        if done[task]:
            continue
        if expanded:
            done[task] = True
            order.append(task)
            continue
        stack.append((task, True))
        waiting = [e for e in tasks.before[task] if not done[e]]
        stack += ((e, False) for e in sorted(waiting, key=lambda e: need[e] - kept[e]))
    return order


# Search over sets of finished tasks.


@dataclass(slots=True)
class _State:
    """Tasks that are finished, as bits; what is live and was live at most; the way here."""

    done: int
    live: int
    most: int
    last: Sequence[int]
    parent: _State | None

    def order(self) -> list[int]:
        parts: list[Sequence[int]] = []
        state: _State | None = self
        while state is not None:
            parts.append(state.last)
            state = state.parent
        return [task for part in reversed(parts) for task in part]


class _Space:
    """The moves from a state. Tasks that allocate nothing run as soon as they can: it never hurts."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.needs = [sum(1 << e for e in set(b)) for b in tasks.before]
        self.readers = [sum(1 << r for r in set(rs)) for rs in tasks.readers]
        self.all = (1 << tasks.count) - 1
        self.start = self.settle(_State(0, 0, 0, (), None), range(tasks.count))

    def run(self, state: _State, task: int) -> tuple[int, int, int]:
        """The set, what is live and the most there was after ``task``."""
        tasks, done = self.tasks, state.done | 1 << task
        live = state.live + tasks.allocates[task]
        most = max(state.most, live)
        live -= tasks.drops[task]
        for v in tasks.reads[task]:
            if not self.readers[v] & ~done and v not in tasks.kept:
                live -= tasks.sizes[v]
        return done, live, most

    def settle(self, state: _State, woken: Sequence[int]) -> _State:
        """Run every ready task that allocates nothing."""
        queue, ran = list(woken), list(state.last)
        while queue:
            task = queue.pop()
            free = not self.tasks.allocates[task] and not state.done >> task & 1
            if free and not self.needs[task] & ~state.done:
                done, live, most = self.run(state, task)
                ran.append(task)
                state = _State(done, live, most, ran, state.parent)
                queue += self.tasks.after[task]
        return state

    def moves(self, state: _State, limit: int) -> list[_State]:
        """The states after one more task, those whose peak reaches ``limit`` left out."""
        found: list[_State] = []
        for task in self.ready(state.done):
            done, live, most = self.run(state, task)
            if most < limit:
                following = _State(done, live, most, [task], state)
                found.append(self.settle(following, self.tasks.after[task]))
        return found

    def ready(self, done: int) -> list[int]:
        left, found = self.all & ~done, list[int]()
        while left:
            bit = left & -left
            task = bit.bit_length() - 1
            if not self.needs[task] & ~done:
                found.append(task)
            left ^= bit
        return found


def _search(tasks: Tasks, width: int, limit: int) -> list[int] | None:
    """An order whose peak is below ``limit``: the best, or with a ``width`` one of a beam."""
    space = _Space(tasks)
    return _beam(space, width, limit) if width else _best_first(space, limit)


def _best_first(space: _Space, limit: int) -> list[int] | None:
    seen: dict[int, int] = {space.start.done: 0}
    least = floor(space.tasks)  # below it all are alike, and the furthest goes on
    heap = [(space.start.most, 0, 0, space.start)]
    count = 0
    while heap:
        most, _, _, state = heapq.heappop(heap)
        if state.done == space.all:
            return state.order() if most < limit else None
        for following in space.moves(state, limit):
            if following.most < seen.get(following.done, limit):
                seen[following.done] = following.most
                count += 1
                finished = following.done.bit_count()
                heapq.heappush(heap, (max(least, following.most), -finished, count, following))
    return None


def _beam(space: _Space, width: int, limit: int) -> list[int] | None:
    beam = [space.start]
    key: Callable[[_State], tuple[int, int]] = lambda s: (max(s.most, s.live), s.live)  # noqa: E731
    while beam and beam[0].done != space.all:
        best: dict[int, _State] = {}
        for state in beam:
            if state.done == space.all:
                return state.order()
            for following in space.moves(state, limit):
                known = best.get(following.done)
                if known is None or following.most < known.most:
                    best[following.done] = following
        beam = heapq.nsmallest(width, best.values(), key=key)
    return beam[0].order() if beam else None
