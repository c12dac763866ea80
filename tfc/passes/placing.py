"""Where tasks run so that the last one is done early: a simulation, and a search with it.

    best(Problem(...))  ->  a device for each group of tasks, and the seconds until all is done

The simulation runs the tasks in their order. One begins when its processor is free and its values are there; a value
that is elsewhere goes over the link between the two memories, which carries one at a time, once for each memory.
Devices may share a processor and a memory, as virtual CPUs do: then they gain nothing over one.

A first solution comes from a greedy run: each task, where it would be done first. Then stretches of the text, from
all of it down to single groups, are tried on other devices, and what is better is kept, until nothing is or
the work is up. So no solution is worse than all on one device; few groups are solved exactly by trying all.

Source: Abadi et al., "TensorFlow: Large-scale machine learning on heterogeneous distributed systems", 2015,
section 3.2.1, which is the greedy run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

WORK = 100_000
"""Tasks that are simulated in a search, at most: each takes 2 us."""


@dataclass(frozen=True)
class Problem:
    """Tasks in order, the devices they may run on, and the values between them.

    Attributes:
        seconds: of each task on each device.
        group: of each task; a group has one device.
        candidates: the devices that each group may have, the preferred one first.
        inputs: the values that each task reads.
        source: of each value, the task that makes it, or ``-1 - device`` where it is there in the beginning.
        sizes: bytes of each value.
        wanted: values that have to be at a device in the end.
        processor, memory: of each device.
        transfer: seconds before the first byte, and seconds for all, of so many bytes between two memories.
    """

    seconds: Sequence[Sequence[float]]
    group: Sequence[int]
    candidates: Sequence[Sequence[int]]
    inputs: Sequence[Sequence[int]]
    source: Sequence[int]
    sizes: Sequence[int]
    wanted: Sequence[tuple[int, int]]
    processor: Sequence[int]
    memory: Sequence[int]
    transfer: Callable[[int, int, int], tuple[float, float]]


@dataclass
class _Clock:
    """A simulation as far as it has come."""

    problem: Problem
    free: list[float] = field(init=False)
    links: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    made: list[float] = field(init=False)
    """When each task is done."""
    where: list[int] = field(init=False)
    """In which memory its results are."""
    there: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """When a value that came over a link was in a memory."""

    def __post_init__(self) -> None:
        self.free = [0.0] * (max(self.problem.processor, default=0) + 1)
        self.made = [0.0] * len(self.problem.group)
        self.where = [-1] * len(self.problem.group)

    def arrival(self, value: int, memory: int, commit: bool) -> float:
        """When ``value`` is in ``memory``."""
        p = self.problem
        task = p.source[value]
        source, made = (p.memory[-1 - task], 0.0) if task < 0 else (self.where[task], self.made[task])
        if source == memory:
            return made
        if (known := self.there.get((value, memory))) is not None:
            return known
        latency, seconds = p.transfer(p.sizes[value], source, memory)
        start = max(made, self.links.get((source, memory), 0.0))
        if commit:
            self.links[source, memory] = start + seconds
            self.there[value, memory] = start + latency + seconds
        return start + latency + seconds

    def run(self, task: int, device: int, commit: bool = True) -> float:
        """When ``task`` is done on ``device``."""
        p, made, where = self.problem, self.made, self.where
        processor, memory = p.processor[device], p.memory[device]
        done = self.free[processor]
        for value in p.inputs[task]:
            maker = p.source[value]
            near = maker >= 0 and where[maker] == memory
            there = made[maker] if near else self.arrival(value, memory, commit)
            if there > done:
                done = there
        done += p.seconds[task][device]
        if commit:
            self.free[processor] = made[task] = done
            where[task] = memory
        return done

    def end(self) -> float:
        """When all is done and the wanted values are where they have to be."""
        done = max(self.made, default=0.0)
        return max([done, *(self.arrival(v, self.problem.memory[d], True) for v, d in self.problem.wanted)])


def makespan(problem: Problem, places: Sequence[int]) -> float:
    """Seconds until all is done where group ``g`` is on device ``places[g]``."""
    clock = _Clock(problem)
    for task, group in enumerate(problem.group):
        clock.run(task, places[group])
    return clock.end()


def greedy(problem: Problem) -> list[int]:
    """Each group where its first task, and then the others of the group, would be done first."""
    clock = _Clock(problem)
    rest = [[0.0] * len(problem.processor) for _ in problem.candidates]
    for task, group in enumerate(problem.group):
        rest[group] = [x + y for x, y in zip(rest[group], problem.seconds[task], strict=True)]
    places = [-1] * len(problem.candidates)
    for task, group in enumerate(problem.group):
        if places[group] < 0:
            others = [x - y for x, y in zip(rest[group], problem.seconds[task], strict=True)]
            places[group] = min(
                problem.candidates[group], key=lambda d: clock.run(task, d, commit=False) + others[d]
            )
        clock.run(task, places[group])
    return [p if p >= 0 else c[0] for p, c in zip(places, problem.candidates, strict=True)]


def on_one(problem: Problem, device: int) -> list[int]:
    """All on ``device``, but for groups that may not be there."""
    return [device if device in c else c[0] for c in problem.candidates]


def best(problem: Problem, work: int = WORK) -> tuple[list[int], float]:
    """The best solution found, and its makespan: never longer than that of any `on_one`."""
    tasks = max(len(problem.group), 1)
    if prod(map(len, problem.candidates)) * tasks <= work:
        return _shortest(problem, map(list, product(*problem.candidates)))
    devices = sorted({d for c in problem.candidates for d in c})
    places, least = _shortest(problem, [*(on_one(problem, d) for d in devices), greedy(problem)])
    return _improved(problem, places, least, max(work // tasks, 1))


def _shortest(problem: Problem, solutions: Sequence[list[int]] | Iterator[list[int]]) -> tuple[list[int], float]:
    """The first of the solutions with the least makespan."""
    spans = ((s, makespan(problem, s)) for s in solutions)
    return min(spans, key=lambda found: found[1])


def _improved(problem: Problem, places: list[int], least: float, tries: int) -> tuple[list[int], float]:
    """``places``, changed a stretch at a time as long as that shortens the makespan and there are tries left."""
    free = [g for g, c in enumerate(problem.candidates) if len(c) > 1]
    better = True
    while better:
        better = False
        size = len(free)
        while size:
            for start in range(0, len(free), max(size // 2, 1)):
                stretch = free[start : start + size]
                for device in dict.fromkeys(d for g in stretch for d in problem.candidates[g]):
                    moved = list(places)
                    for g in stretch:
                        if device in problem.candidates[g]:
                            moved[g] = device
                    if moved == places:
                        continue
                    if not tries:
                        return places, least
                    tries -= 1
                    if (span := makespan(problem, moved)) < least:
                        places, least, better = moved, span, True
            size //= 2
    return places, least
