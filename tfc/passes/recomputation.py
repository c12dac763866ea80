"""Which tasks to run twice, so that their results need not be kept.

    a = f(x)                      a = f(x)
    b = g(a)   (large a, b)  ->   b = g(a)           a is gone here
    c = h(b)                      c = h(b)
    d = k(c, a)                   a' = f(x)
                                  d = k(c, a')

While more bytes than the limit are there at once, one value that is there at the worst moment, and not used
there, is dropped and made again just before it is read next, with as much of what it is made of as is
gone by then. Of all such values and depths the one is taken that lowers the sum of what is above the limit
most for its cost; a step that lowers nothing is not taken, so the end is reached.

Source: Chen et al., "Training deep nets with sublinear memory cost", 2016, chooses by layers; Kumar et al.,
"Efficient rematerialization for deep networks", 2019, show that the best choice is NP-hard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from tfc.passes.scheduling import Tasks

_DEPTHS = (0, 1, 2, 4, 8, 16, 32)
"""How many tasks in a row are run again to make one value."""

_CANDIDATES = 16
"""Values that are tried at each moment: the largest."""


@dataclass(frozen=True)
class Step:
    """A run of a task: versions of the values that it reads and makes, in the order of `Tasks`."""

    task: int
    reads: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass
class Recomputation:
    """Tasks in an order, of which some are run again.

    Attributes:
        costs: seconds of each task; None for what cannot run twice.
        until: tasks before which a task's copies must have run: they destroy what it reads.
    """

    tasks: Tasks
    costs: Sequence[float | None]
    until: Mapping[int, Collection[int]] = field(default_factory=dict[int, "Collection[int]"])
    sizes: list[int] = field(init=False)
    """Of the versions; those of the tasks' values come first."""

    def __post_init__(self) -> None:
        self.sizes = list(self.tasks.sizes)

    def run(self, order: Sequence[int], limit: int) -> list[Step]:
        """The steps, in order; their `peak` is at most ``limit``, or the least that was found."""
        steps = [Step(t, tuple(self.tasks.reads[t]), tuple(self.tasks.makes[t])) for t in order]
        least = steps
        while (above := self._above(steps, limit)) > 0:
            found = self._best(steps, above, limit)
            if found is None:
                break
            steps = found
            # What lowers the sum of what is above the limit may still raise the highest moment.
            if self.peak(steps) <= self.peak(least):
                least = steps
        return least

    def peak(self, steps: Sequence[Step]) -> int:
        """The most bytes that are there at once."""
        return max(self._live(steps), default=0)

    def _live(self, steps: Sequence[Step]) -> list[int]:
        """The bytes that are there at each step."""
        change = [0] * (len(steps) + 1)
        for version, (first, last) in self._spans(steps).items():
            change[first] += self.sizes[version]
            change[last + 1] -= self.sizes[version]
        return list(accumulate(change[:-1]))

    def _spans(self, steps: Sequence[Step]) -> dict[int, tuple[int, int]]:
        """From which to which step each version is there."""
        first, last = dict[int, int](), dict[int, int]()
        for k, step in enumerate(steps):
            for v in step.makes:
                first[v] = last[v] = k
            for v in step.reads:
                last[v] = k
        last.update((v, len(steps) - 1) for v in self.tasks.kept)
        return {v: (k, last[v]) for v, k in first.items()}

    def _above(self, steps: Sequence[Step], limit: int) -> int:
        return sum(live - limit for live in self._live(steps) if live > limit)

    def _best(self, steps: Sequence[Step], above: int, limit: int) -> list[Step] | None:
        """The steps with one value made again; None where none lowers what is above the limit."""
        live, spans = self._live(steps), self._spans(steps)
        worst = max(range(len(steps)), key=live.__getitem__)
        used = {*steps[worst].reads, *steps[worst].makes}
        idle = [v for v, (first, last) in spans.items() if first < worst < last and v not in used]
        best: tuple[float, list[Step]] | None = None
        for version in sorted(idle, key=lambda v: (-self.sizes[v], v))[:_CANDIDATES]:
            at = next((k for k in range(worst + 1, len(steps)) if version in steps[k].reads), None)
            if at is None:
                continue  # it is an output
            tried: set[tuple[int, ...]] = set()
            for depth in _DEPTHS:
                again = self._chain(version, steps, spans, at, depth)
                if again is None or tuple(again) in tried:
                    break
                tried.add(tuple(again))
                known = len(self.sizes)
                changed = self._again(steps, again, at)
                lowered = above - self._above(changed, limit)
                cost = sum(self.costs[steps[k].task] or 0.0 for k in again)
                if lowered > 0 and (best is None or lowered / cost > best[0]):
                    best = lowered / cost, changed
                else:
                    del self.sizes[known:]
        return best and best[1]

    def _chain(
        self,
        version: int,
        steps: Sequence[Step],
        spans: Mapping[int, tuple[int, int]],
        at: int,
        depth: int,
    ) -> list[int] | None:
        """The steps to run again before ``at``, in order, to have ``version`` there; None if that cannot be."""
        maker = spans[version][0]
        task = steps[maker].task
        if self.costs[task] is None:
            return None
        if (until := self.until.get(task)) and any(s.task in until for s in steps[:at]):
            return None
        found: set[int] = {maker}
        for v in steps[maker].reads:
            if spans[v][1] < at and depth:
                found.update(self._chain(v, steps, spans, at, depth - 1) or ())
        return sorted(found)

    def _again(self, steps: Sequence[Step], again: Sequence[int], at: int) -> list[Step]:
        """The steps with copies of ``again`` before ``at``, which later steps read."""
        fresh: dict[int, int] = {}
        copies: list[Step] = []
        for k in again:
            step = steps[k]
            reads = tuple(fresh.get(v, v) for v in step.reads)
            for v in step.makes:
                fresh[v] = len(self.sizes)
                self.sizes.append(self.sizes[v])
            copies.append(Step(step.task, reads, tuple(fresh[v] for v in step.makes)))
        later = [
            Step(s.task, tuple(fresh.get(v, v) for v in s.reads), s.makes)
            if any(v in fresh for v in s.reads)
            else s
            for s in steps[at:]
        ]
        return [*steps[:at], *copies, *later]
