"""What the nodes of a run do to variables, and which nodes those are.

A node that runs parts (the branches of a condition, a loop, a function) does to variables what the
nodes of its parts do. Whether the order of accesses is determined is seen in the module that is made of
the nodes (`tfc.passes.check_effects`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tfc.graph.graph import parts_of
from tfc.graph.node import Operation, Tensor

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

WRITES = {"Assign", "AssignAdd", "AssignSub", "CountUpTo", *STEPS, *(f"Sparse{s}" for s in STEPS), *SCATTERS}
"""Nodes that change variables: all whose handles they take."""


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


def shared_name(variable: Operation) -> str:
    """The name of the variable that a handle's node is of: all nodes with it are one variable."""
    return variable_of(variable.values()[0]).attrs["shared_name"]


def written(nodes: Iterable[Operation]) -> set[Operation]:
    """The variables that nodes, or what they run, change."""
    return set(_handled(nodes, WRITES))


def asked(nodes: Iterable[Operation]) -> set[Operation]:
    """The variables of which nodes, or what they run, ask whether they have a value."""
    return set(_handled(nodes, ("IsVariableInitialized",)))


def _handled(nodes: Iterable[Operation], types: Collection[str]) -> Iterator[Operation]:
    for op in nodes:
        for part in parts_of(op):
            yield from _handled(needed(part), types)
        if op.type in types:
            yield from (variable_of(t) for t in op.inputs if t.is_handle)
