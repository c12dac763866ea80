"""Where in one arena each buffer lies: intervals of time to offsets.

    plan([Interval(0, 1, 64), Interval(1, 2, 64), Interval(2, 3, 64)])  ->  [0, 64, 0], total 128

A buffer is needed at the steps ``first..last``; two that share a step may not share a byte. Finding
the smallest arena is NP-hard (dynamic storage allocation); placing large buffers first, each in
the tightest gap, comes close, and no single order is best on all graphs: several are tried, and
what did not fit below the largest live set is placed earlier the next time.

Sizes that depend on named dims are planned twice, and the plan that is smaller at `SAMPLE` is kept:
once in families of sizes that are multiples of one polynomial, which are planned as
numbers, and once in slots, where a buffer may follow a smaller one that `at_least` can compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfc.dims import Dim, Expr, at_least, evaluate, names

ALIGNMENT = 64
"""Of every buffer: one cache line, and the widest vector."""

SAMPLE = 16
"""The value of every named dim where plans are compared."""

_CLOSE = 1.01
"""A plan within this factor of the largest live set is good enough to stop."""

_ROUNDS = 30
"""How often buffers are placed again, from each order to begin with."""

_WORK = 12_000
"""At most so many buffers are placed in the rounds of one order: each takes 15 us."""


@dataclass(frozen=True)
class Interval:
    """A buffer of ``size`` bytes, needed at the steps ``first..last``."""

    first: int
    last: int
    size: int


@dataclass(frozen=True)
class SymbolicInterval:
    """The same, its size a function of named dims."""

    first: int
    last: int
    size: Dim


def largest_live_set(intervals: Sequence[Interval]) -> int:
    """The most bytes needed at one step: no plan is smaller."""
    return max(_live(intervals), default=0)


def plan(intervals: Sequence[Interval]) -> tuple[list[int], int]:
    """Offsets, multiples of `ALIGNMENT`, and the size of the arena."""
    if not intervals:
        return [], 0
    aligned = [Interval(i.first, i.last, align(i.size)) for i in intervals]
    bound = largest_live_set(aligned)
    rounds = max(1, min(_ROUNDS, _WORK // len(aligned)))
    best: tuple[list[int], int] | None = None
    for order in _orders(aligned):
        found = _squeak(aligned, order, bound, rounds)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] <= bound * _CLOSE:
            break
    assert best is not None, "there is at least one order"
    return best


def plan_symbolic(intervals: Sequence[SymbolicInterval]) -> tuple[list[Dim], Dim]:
    """Offsets and the size of the arena as functions of the named dims."""
    if all(isinstance(i.size, int) for i in intervals):
        known = [Interval(i.first, i.last, i.size) for i in intervals if isinstance(i.size, int)]
        offsets, total = plan(known)
        return list(offsets), total
    return min(_families(intervals), _slots(intervals), key=lambda p: at_sample(p[1]))


def align(size: int) -> int:
    """``size`` rounded up to `ALIGNMENT`."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def align_dim(size: Dim, to: int = ALIGNMENT) -> Dim:
    """The same for an expression; free of roundings where all coefficients are multiples."""
    if not isinstance(size, int) and all(c % to == 0 for _, c in size.terms):
        return size
    return (size + (to - 1)) // to * to


def at_sample(size: Dim) -> int:
    """A size where every named dim is `SAMPLE`."""
    return evaluate(size, dict.fromkeys(names(size), SAMPLE))


# Numbers.


def _live(intervals: Sequence[Interval]) -> list[int]:
    steps = max((i.last for i in intervals), default=-1) + 2
    change = [0] * steps
    for i in intervals:
        change[i.first] += i.size
        change[i.last + 1] -= i.size
    live, total = list[int](), 0
    for c in change:
        total += c
        live.append(total)
    return live


def _orders(intervals: Sequence[Interval]) -> list[list[int]]:
    """Orders of placing: by size, by what is live at the peak, by area, by time."""
    live = _live(intervals)
    peak = max(range(len(live)), key=live.__getitem__)

    def at_peak(i: Interval) -> bool:
        return i.first <= peak <= i.last

    def pressure(i: Interval) -> int:
        return max(live[i.first : i.last + 1])

    keys: list[Callable[[Interval], tuple[int, ...]]] = [
        lambda i: (-i.size, i.first),
        lambda i: (-pressure(i), -i.size, i.first),
        lambda i: (not at_peak(i), i.first - i.last, -i.size),
        lambda i: (-i.size * (i.last - i.first + 1), i.first),
        lambda i: (i.first - i.last, -i.size),
        lambda i: (i.first, -i.size),
        lambda i: (-i.last, -i.size),
    ]
    return [sorted(range(len(intervals)), key=lambda k, key=key: key(intervals[k])) for key in keys]


def _place(
    intervals: Sequence[Interval], order: Sequence[int], tightest: bool
) -> tuple[list[int], int]:
    """Place in this order, each in the tightest (or else the lowest) gap that holds it."""
    count = len(intervals)
    first, last = np.empty(count, np.int64), np.empty(count, np.int64)
    low, high = np.empty(count, np.int64), np.empty(count, np.int64)
    offsets, total = [0] * count, 0
    for placed, k in enumerate(order):
        i = intervals[k]
        clash = (first[:placed] <= i.last) & (last[:placed] >= i.first)
        at = _gap(low[:placed][clash], high[:placed][clash], i.size, tightest)
        first[placed], last[placed], low[placed], high[placed] = i.first, i.last, at, at + i.size
        offsets[k] = at
        total = max(total, at + i.size)
    return offsets, total


def _gap(low: NDArray[Any], high: NDArray[Any], size: int, tightest: bool) -> int:
    """Where ``size`` bytes fit between the blocks ``low..high``, or above all of them."""
    if not len(low):
        return 0
    order = np.argsort(low, kind="stable")
    below = np.concatenate(([0], np.maximum.accumulate(high[order])))
    room = low[order] - below[:-1]
    fits = np.flatnonzero(room >= size)
    if not len(fits):
        return int(below[-1])
    return int(below[fits[np.argmin(room[fits])] if tightest else fits[0]])


def _squeak(
    intervals: Sequence[Interval], order: Sequence[int], bound: int, rounds: int
) -> tuple[list[int], int]:
    """Place in this order, then again with what lay above ``bound`` earlier, and so on; the best.

    Source: Joslin and Clements, "Squeaky wheel optimization", JAIR 10, 1999.
    """
    rank = {k: place for place, k in enumerate(order)}
    complaints = [0] * len(intervals)
    best: tuple[list[int], int] | None = None
    for step in range(rounds):
        found = _place(intervals, order, tightest=step % 2 == 0)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] <= bound * _CLOSE:
            break
        for k, offset in enumerate(found[0]):
            complaints[k] += offset + intervals[k].size > bound
        order = sorted(order, key=lambda k: (-complaints[k], rank[k]))
    assert best is not None, "there is at least one round"
    return best


# Functions of named dims.


@dataclass(frozen=True)
class _Family:
    """Sizes that are multiples of ``unit``, itself a multiple of `ALIGNMENT`."""

    unit: Dim
    multiples: tuple[int, ...]
    members: tuple[int, ...]


def _families(intervals: Sequence[SymbolicInterval]) -> tuple[list[Dim], Dim]:
    """Plan each family as numbers; one lies above the other."""
    offsets: list[Dim] = [0] * len(intervals)
    total: Dim = 0
    for family in _split(intervals):
        sized = [
            Interval(intervals[k].first, intervals[k].last, m * ALIGNMENT)
            for k, m in zip(family.members, family.multiples, strict=True)
        ]
        places, size = plan(sized)
        for k, place in zip(family.members, places, strict=True):
            offsets[k] = total + place // ALIGNMENT * family.unit
        total = total + size // ALIGNMENT * family.unit
    return offsets, total


def _split(intervals: Sequence[SymbolicInterval]) -> list[_Family]:
    found: dict[Dim, list[tuple[int, int]]] = {}
    for k, i in enumerate(intervals):
        content, primitive = _primitive(i.size)
        found.setdefault(primitive, []).append((k, content))
    families = list[_Family]()
    for primitive, members in found.items():
        largest = max(c for _, c in members)
        exact: dict[int, list[int]] = {}
        rounded = list[tuple[int, int]]()
        for k, c in members:
            # Rounding the coefficient wastes up to 63 units: nothing beside a large one.
            if c % ALIGNMENT == 0 or 16 * align(c) <= max(largest, 16 * c + c):
                rounded.append((k, align(c) // ALIGNMENT))
            else:
                exact.setdefault(c, []).append(k)
        if rounded:
            ks, ms = zip(*rounded, strict=True)
            families.append(_Family(ALIGNMENT * primitive, ms, ks))
        for c, ks in exact.items():
            families.append(_Family(align_dim(c * primitive), (1,) * len(ks), tuple(ks)))
    return families


def _primitive(size: Dim) -> tuple[int, Dim]:
    """``size`` as an integer times a polynomial whose coefficients have no common factor."""
    if isinstance(size, int):
        return max(size, 1), 1
    content = gcd(*(c for _, c in size.terms))
    return content, Expr(tuple((m, c // content) for m, c in size.terms))


@lru_cache(maxsize=4096)
def _covers(large: Dim, small: Dim) -> bool:
    return at_least(large, small)


def _slots(intervals: Sequence[SymbolicInterval]) -> tuple[list[Dim], Dim]:
    """Slots one above the other, each of the size of its largest buffer."""
    sizes, free_from = list[Dim](), list[int]()
    slot_of = [0] * len(intervals)
    for k in sorted(range(len(intervals)), key=lambda k: (intervals[k].first, -at_sample(intervals[k].size))):
        i = intervals[k]
        free = [s for s, step in enumerate(free_from) if step <= i.first]
        holding = [s for s in free if _covers(sizes[s], i.size)]
        growing = [s for s in free if _covers(i.size, sizes[s])]
        if holding:
            slot = min(holding, key=lambda s: at_sample(sizes[s]))
        elif growing:
            slot = max(growing, key=lambda s: at_sample(sizes[s]))
            sizes[slot] = i.size
        else:
            slot = len(sizes)
            sizes.append(i.size)
            free_from.append(0)
        free_from[slot] = i.last + 1
        slot_of[k] = slot
    places = list[Dim]()
    total: Dim = 0
    for size in sizes:
        places.append(total)
        total = total + align_dim(size)
    return [places[s] for s in slot_of], total
