"""Graphs inside graphs: the branches of a condition, the parts of a loop, functions.

    part = Subgraph(graph, "the body of the loop 'while'", "while/body")
    with part.tracing():
        y = part.argument(float32 type) + outer         reads ``outer`` through a capture
        part.outputs = [y]

Nodes of a part may read tensors of the graphs around it. Each becomes a *capture*: an input of the node
that runs the part, and an argument of the part. A constant is made again instead, so that what depends on
its value still does.

The part's nodes are checked when they are made, like all others, and their rules run again whenever
a node that runs the part is compiled (`tfc.graph.building`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from xdsl.ir import Attribute

from tfc.dims import Expr
from tfc.errors import GraphError
from tfc.graph.graph import Graph, parts_of
from tfc.graph.node import Operation, Tensor
from tfc.graph.ordering import variable_of, written
from tfc.graph.source import describe, here, quoted

EFFECTS = ("Assert", "CheckNumerics", "Print", "PrintV2")
"""Nodes that do something beside reading and writing variables."""


class Subgraph(Graph):
    """A part of the graph ``parent``.

    Args:
        what: the part in words, for errors.
        scope: the prefix of its nodes' names.
        ordered: whether effects happen in the order in which they were written.
    """

    def __init__(self, parent: Graph, what: str, scope: str, ordered: bool = False) -> None:
        super().__init__(scope)
        self.parent, self.what, self.place = parent, what, here()
        self.ordered = ordered or parent.ordered
        self.seed, self.initializers, self.exclusive = parent.seed, parent.initializers, parent.exclusive
        self._collections = parent._collections
        self._scope = scope
        self.arguments: list[Tensor] = []
        self.captures: dict[Tensor, Tensor] = {}
        """Tensors of ``parent`` and what stands for them here."""
        self.outputs: list[Tensor] = []
        self.targets: list[Operation] = []
        """Nodes that run though no output needs them."""
        self.controls: dict[Operation, None] = {}
        """Nodes of ``parent`` that nodes here wait for."""
        self._last: Operation | None = None

    @property
    def root(self) -> Graph:
        return self.parent.root

    @property
    def label(self) -> str:
        return f"{self.what} (made at {describe(self.place)})"

    def fresh_dim(self) -> Expr:
        return self.root.fresh_dim()

    @contextmanager
    def tracing(self) -> Generator[Subgraph]:
        """Nodes made inside belong to the part, which is complete afterwards."""
        try:
            with self.as_default():
                yield self
        finally:
            self.closed = True

    # What is around.

    def sees(self, graph: Graph) -> bool:
        return graph is self or self.parent.sees(graph)

    def inside(self, t: Tensor) -> Tensor:
        """``t`` itself, or the capture that stands for it."""
        if t.graph is self:
            return t
        if not self.parent.sees(t.graph):
            self._check_graph([t], here())
        if t.op.type == "Const":
            if (known := self.captures.get(t)) is None:
                known = self.captures[t] = self._plain("Const", t.op.name.rpartition("/")[2], **t.op.attrs)
            return known
        outer = self.parent.inside(t)
        if (known := self.captures.get(outer)) is None:
            known = self.captures[outer] = self.argument(outer.value.type, outer.op.name.rpartition("/")[2], outer)
        return known

    @property
    def captured(self) -> list[Tensor]:
        """The captures that are inputs of the node that runs the part, as ``parent`` knows them."""
        return [t for t, inner in self.captures.items() if inner.op.type != "Const"]

    def argument(self, type_: Attribute, name: str = "argument", outer: Tensor | None = None) -> Tensor:
        """A tensor whose value is given whenever the part runs."""
        made = self._plain("Argument", name, type=type_, outer=outer)
        if outer is None:
            self.arguments.append(made)
        return made

    def only_reads(self, handle: Tensor) -> bool:
        """Whether all that nodes here do with the variable that is captured by ``handle`` is to read it."""
        inner = self.captures.get(handle)
        return inner is None or all(op.type == "Identity" for op in self._operations.values() if inner in op.inputs)

    def take_value(self, handle: Tensor, value: Tensor) -> None:
        """Capture ``value``, which has been read, in place of the variable: what read it here passes it on."""
        if (inner := self.captures.pop(handle, None)) is not None:
            self.captures[value] = inner
            inner.op.attrs.update(type=value.value.type, outer=value)
            inner.value._type = value.value.type  # pyright: ignore # no handle any more

    def _plain(self, type_: str, name: str, **attrs: Any) -> Tensor:
        """A node outside of all scopes."""
        saved, self._scope = self._scope, self.name
        try:
            with self.control_dependencies(None):
                return super().create(type_, [], name, **attrs).values()[0]
        finally:
            self._scope = saved

    def waited_for(self, obj: Any) -> Operation | None:
        convert = getattr(obj, "_as_graph_element", None)
        found = convert() if convert else obj
        op = found.op if isinstance(found, Tensor) else found
        if not isinstance(op, Operation) or op.graph is self or not self.parent.sees(op.graph):
            return self.as_operation(obj)
        if (outer := self.parent.waited_for(op)) is not None:
            self.controls[outer] = None
        return None

    # Nodes.

    def create(
        self, type_: str, inputs: Sequence[Tensor] = (), name: str | None = None, **attrs: Any
    ) -> Operation:
        if self.closed:
            raise quoted(GraphError(f"{self.label} is complete and cannot change"), here())
        return super().create(type_, [self.inside(t) for t in inputs], name, **attrs)

    def _enter(self, op: Operation) -> None:
        super()._enter(op)
        if not self.ordered or not has_effect(op):
            return
        if self._last is not None and self._last not in op.control_inputs:
            op.control_inputs = (*op.control_inputs, self._last)
        self._last = op
        self.targets = [op]
        self.fresh |= written([op])

    def stale(self) -> set[Operation]:
        """Variables that are read before the part runs, though it changes them."""
        read = {variable_of(t.op.inputs[0]) for t in self.captured if is_snapshot(t)}
        return read & written(self._operations.values())


def is_snapshot(t: Tensor) -> bool:
    """Whether this is what a variable held when the run began, or rather: a read that nothing precedes."""
    return t.op.type == "Identity" and t.op.inputs[0].is_handle


def has_effect(op: Operation) -> bool:
    """Whether something happens beside giving results; a read of a variable counts."""
    if op.type in EFFECTS or "state" in op.attrs:
        return True
    parts = parts_of(op)
    if parts:
        return any(has_effect(n) for part in parts for n in part.get_operations())
    return op.type != "Argument" and any(t.is_handle for t in op.inputs)


def trace(
    parent: Graph, what: str, scope: str, function: Callable[[Subgraph], None], ordered: bool = False
) -> Subgraph:
    """A part made by ``function``; made again if it changes a variable that it read from around it."""
    fresh: set[Operation] = set()
    while True:
        part = Subgraph(parent, what, scope, ordered)
        part.fresh |= fresh.union(parent.fresh)
        with part.tracing():
            function(part)
        stale = part.stale() if part.ordered else set[Operation]()
        if stale <= fresh:
            return part
        fresh |= stale
