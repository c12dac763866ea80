"""What the nodes of a run do to variables, and whether their order is determined.

A read and a write of one variable, or two writes, must be ordered by data or by control
dependencies; otherwise the result would depend on chance, and the run is refused with both
lines. One order is given by tfc itself: a variable's initializer comes before other accesses
that were made after it and do not lead to it.

A node that runs parts (the branches of a condition, a loop, a function) does to variables what the
nodes of its parts do; within each part the same rule holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfc.errors import GraphError
from tfc.graph.graph import parts_of
from tfc.graph.node import Operation, Tensor
from tfc.graph.source import quoted

STEPS = (
    "ApplyAdadelta", "ApplyAdagrad", "ApplyAdam", "ApplyAdamWeightDecay", "ApplyCenteredRMSProp",
    "ApplyFtrl", "ApplyGradientDescent", "ApplyMomentum", "ApplyProximalAdagrad",
    "ApplyProximalGradientDescent", "ApplyRMSProp",
)  # fmt: skip
"""Steps of optimizers: they change a variable and its moments."""

SCATTERS = (
    "ScatterAdd", "ScatterDiv", "ScatterMax", "ScatterMin", "ScatterMul", "ScatterSub", "ScatterUpdate",
    "ScatterNdAdd", "ScatterNdSub", "ScatterNdUpdate",
)  # fmt: skip
"""Changes of some rows or elements."""

WRITES = {
    "Assign": "replaces", "AssignAdd": "adds to", "AssignSub": "subtracts from", "CountUpTo": "counts up",
    **dict.fromkeys([*STEPS, *(f"Sparse{s}" for s in STEPS)], "steps"),
    **dict.fromkeys(SCATTERS, "changes a part of"),
}  # fmt: skip
"""Nodes that change variables: all whose handles they take."""


@dataclass(frozen=True)
class Access:
    """A node that reads or writes a variable."""

    node: Operation
    verb: str

    @property
    def writes(self) -> bool:
        return self.verb in WRITES.values()

    @property
    def sets(self) -> bool:
        """Whether the value before does not matter."""
        return self.node.type == "Assign"

    @property
    def reads(self) -> bool:
        """Whether the value before matters."""
        return self.verb != WRITES["Assign"]


@dataclass
class Accesses:
    """All accesses to variables in a run of ``nodes`` when ``feeds`` are given."""

    nodes: Sequence[Operation]
    feeds: Sequence[Tensor]
    initializers: Mapping[Operation, Operation]
    extra: dict[Operation, list[Operation]] = field(default_factory=dict)
    """Edges that `check` adds: nodes and what they come after."""

    def __post_init__(self) -> None:
        self._of: dict[Operation, list[Access]] = defaultdict(list)
        given = set(self.feeds)
        for op in self.nodes:
            if all(t in given for t in op.values()) and op.values():
                continue
            for variable, verb in accesses_of(op, given):
                self._of[variable].append(Access(op, verb))
        self._before: dict[Operation, int] | None = None

    def check(self) -> None:
        """Order the initializers; refuse accesses that have no order, here and in parts of the graph.

        Raises:
            GraphError: two accesses, one of them a write, have no order.
        """
        for part in (p for op in self.nodes for p in parts_of(op)):
            Accesses(needed(part), (), self.initializers).check()
        for variable, found in self._of.items():
            if len(found) < 2 or not any(a.writes for a in found):
                continue
            self._order_initializer(variable, found)
            for k, x in enumerate(found):
                for y in found[k + 1 :]:
                    if (x.writes or y.writes) and not self._ordered(x.node, y.node):
                        raise _unordered(variable, x, y)

    def reads_before_run(self) -> dict[Operation, Operation]:
        """The variables whose value before the run matters, each with a node that reads it."""
        matter: dict[Operation, Operation] = {}
        for variable, found in self._of.items():
            for access in found:
                if access.reads and not self._set_before(access, found):
                    matter.setdefault(variable, access.node)
        return matter

    def writes(self) -> bool:
        """Whether any variable is written."""
        return any(a.writes for found in self._of.values() for a in found)

    def _set_before(self, access: Access, found: Sequence[Access]) -> bool:
        return any(a.sets and a is not access and self._precedes(a.node, access.node) for a in found)

    def _order_initializer(self, variable: Operation, found: Sequence[Access]) -> None:
        first = self.initializers.get(variable)
        if first is None or all(a.node is not first for a in found):
            return
        for access in found:
            later = access.node.index > first.index
            if access.node is not first and later and not self._ordered(first, access.node):
                self.extra.setdefault(access.node, []).append(first)
                self._before = None

    def _ordered(self, x: Operation, y: Operation) -> bool:
        return x is y or self._precedes(x, y) or self._precedes(y, x)

    def _precedes(self, x: Operation, y: Operation) -> bool:
        """Whether ``y`` depends on ``x``. Each node has a bit; its ancestors are a number."""
        if self._before is None:
            self._before = self._ancestors()
        before = self._before
        return bool(before.get(y, 0) >> self._bit[x] & 1) and x is not y

    def _ancestors(self) -> dict[Operation, int]:
        self._bit = {op: k for k, op in enumerate(self.nodes)}
        given, before = set(self.feeds), dict[Operation, int]()
        for op in self.nodes:
            mask = 1 << self._bit[op]
            sources = [t.op for t in op.inputs if t not in given]
            for source in (*sources, *op.control_inputs, *self.extra.get(op, ())):
                mask |= before.get(source, 0)
            before[op] = mask
        return before


def closure(
    fetches: Iterable[Tensor],
    targets: Iterable[Operation],
    feeds: Iterable[Tensor],
    done: Collection[Operation] = (),
) -> list[Operation]:
    """The nodes that must run, in order, when ``feeds`` are given and ``done`` have run."""
    given = set(feeds)
    stack = [t.op for t in fetches if t not in given] + list(targets)
    seen = {*stack, *done}
    while stack:
        op = stack.pop()
        for before in [t.op for t in op.inputs if t not in given] + list(op.control_inputs):
            if before not in seen:
                seen.add(before)
                stack.append(before)
    return sorted(seen.difference(done), key=lambda op: op.index)


def needed(part: Any) -> list[Operation]:
    """The nodes that run when a part of a graph (`tfc.graph.subgraph`) does."""
    return [n for n in closure(part.outputs, part.targets, ()) if n.type != "Argument"]


def variable_of(handle: Tensor) -> Operation:
    """The node of the variable that a handle is of, also inside parts of the graph."""
    while (outer := handle.op.attrs.get("outer")) is not None:
        handle = outer
    return handle.op


def accesses_of(op: Operation, given: Collection[Tensor] = ()) -> Iterator[tuple[Operation, str]]:
    """The variables that a node touches, and how. ``given``: fed tensors, which are no handles."""
    parts = parts_of(op)
    if parts:
        found = (a for part in parts for n in needed(part) for a in accesses_of(n))
        yield from dict.fromkeys(found)
        return
    for t in op.inputs:
        if t.is_handle and t not in given:
            yield variable_of(t), WRITES.get(op.type, "reads")


def written(nodes: Iterable[Operation]) -> set[Operation]:
    """The variables that nodes, or what they run, change."""
    return {v for op in nodes for v, verb in accesses_of(op) if verb in WRITES.values()}


def _unordered(variable: Operation, x: Access, y: Access) -> GraphError:
    first, second = sorted((x, y), key=lambda a: a.node.index)
    message = (
        f"two accesses to the variable '{variable.name}' have no order: '{first.node.name}' "
        f"{first.verb} it (made at {first.node.made_at}), '{second.node.name}' {second.verb} it"
    )
    help = "with tf.control_dependencies([...]): around the one that comes later, or run them apart"
    return quoted(GraphError(message, help=help), second.node.location)
