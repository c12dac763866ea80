"""Nodes as operations in a block: of the module of a run, of a region, of a function that is inlined.

The rule of every node is run again on the types that the values have now.

Control dependencies become tokens: an effect takes the tokens of what its node must follow, and a
value whose node must follow an effect passes a gate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import StringAttr, UnrankedTensorType
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.ir import Operation as Instruction

from tfc.dialects.tfc.state import GateOp, JoinOp
from tfc.dialects.tfc.transfer import DEVICE
from tfc.dialects.tfc.types import ControlType, ResourceType
from tfc.errors import GraphError
from tfc.graph.emit import RULES, Deferred, Emitter
from tfc.graph.graph import Graph, as_values, describe_inputs
from tfc.graph.node import Operation, Tensor
from tfc.graph.ordering import needed
from tfc.graph.rules.tensor_array import drop_unformed
from tfc.graph.shape import TensorShape
from tfc.graph.source import quoted
from tfc.graph.subgraph import Subgraph

_MANY_TOKENS = 4
"""More tokens than this are joined to one before an operation takes them."""


@dataclass
class Builder:
    """Emits ``nodes``, which are in order, at the end of ``block``.

    Attributes:
        fetches: tensors whose values are wanted.
        feeds: tensors whose values are given.
        start: what effects that follow nothing else come after.
        marks: attributes of the operations of a node.
    """

    graph: Graph
    nodes: Sequence[Operation]
    block: Block
    fetches: Sequence[Tensor]
    feeds: Sequence[Tensor] = ()
    start: Sequence[SSAValue] = ()
    marks: Mapping[Operation, dict[str, Attribute]] = field(
        default_factory=dict[Operation, "dict[str, Attribute]"]
    )
    values: dict[Tensor, SSAValue] = field(default_factory=dict[Tensor, SSAValue])
    done: dict[Operation, tuple[SSAValue, ...]] = field(
        default_factory=dict[Operation, "tuple[SSAValue, ...]"]
    )
    """Of each node the tokens after which it, and all it follows, have happened."""
    effects: list[SSAValue] = field(default_factory=list[SSAValue])
    """The tokens of all effects."""
    initial: set[Instruction] = field(default_factory=set[Instruction])
    """The assignments that initialize variables."""

    def run(self, given: Sequence[SSAValue]) -> list[SSAValue]:
        """Emit all nodes with the values of ``feeds``; gives the values of ``fetches``."""
        self.readers: dict[Operation, list[Operation]] = defaultdict(list)
        for op in self.nodes:
            for t in op.inputs:
                self.readers[t.op].append(op)
        self.values.update(zip(self.feeds, given, strict=True))
        read_by = {t for op in self.nodes for t in op.inputs} | set(self.fetches)
        ordered = any(op.control_inputs for op in self.nodes)
        initializers = set(self.graph.initializers.values())
        for op in self.nodes:
            used = [k for k, t in enumerate(op.values()) if t in read_by]
            self._emit(op, used, ordered)
            if op in initializers:
                self.initial.update(t.owner for t in self.effects[-1:] if isinstance(t.owner, Instruction))
        drop_unformed(self.block, final=self.graph.root is self.graph)
        return [self.values[t] for t in self.fetches]

    def _emit(self, op: Operation, used: Sequence[int], ordered: bool) -> None:
        if all(t in self.values for t in op.values()) and op.values():
            return  # all its results are fed, but it is wanted for its control edges
        after = self._after(op) if ordered else ()
        emitter = self.emitter(op, after or self.start, used)
        try:
            rule = RULES[op.type]
            results = as_values(rule.emit(emitter, *(self.values[t] for t in op.inputs), **op.attrs))
        except Deferred as why:
            raise self._undetermined(op, why) from None
        except GraphError as error:
            raise quoted(error, op.location, self._notes(op)) from None
        if after and not emitter.tokens and not self._covered(op):
            results = [self._gated(emitter, r) if k in used else r for k, r in enumerate(results)]
        for t, value in zip(op.values(), results, strict=True):
            self.values.setdefault(t, value)
        self.effects += emitter.tokens
        if ordered:
            before = [*after, *self._done_before(op)]
            self.done[op] = tuple(emitter.tokens or dict.fromkeys(before))

    def emitter(
        self, op: Operation, after: Sequence[SSAValue] = (), used: Sequence[int] = ()
    ) -> Emitter:
        fresh, marks = self.graph.fresh_dim, self.marks.get(op, {})
        return Emitter(
            self.block, op.location, fresh, strict=True, after=after, used=used, marks=marks, results=self.values
        )

    def _after(self, op: Operation) -> tuple[SSAValue, ...]:
        """The tokens that the node itself waits for."""
        tokens = tuple(dict.fromkeys(t for c in op.control_inputs for t in self.done.get(c, ())))
        if len(tokens) <= _MANY_TOKENS:
            return tokens
        return (self.emitter(op)(JoinOp(tokens)),)

    def _done_before(self, op: Operation) -> list[SSAValue]:
        fed = self.feeds
        return [k for t in op.inputs if t not in fed for k in self.done.get(t.op, ())]

    def _covered(self, op: Operation) -> bool:
        """Whether a constant needs no gate, as all that reads it waits for the same anyway."""
        mine = set(op.control_inputs)
        return op.type == "Const" and all(mine <= set(r.control_inputs) for r in self.readers[op])

    def _gated(self, emitter: Emitter, value: SSAValue) -> SSAValue:
        if isinstance(value.type, ResourceType | ControlType):
            return value
        return emitter(GateOp(value, emitter.after))

    def _notes(self, op: Operation) -> str:
        """The shapes that the inputs have in this run."""
        lines = [
            f"{t.name} is {t.dtype.name} {TensorShape.of(self.values[t].type)} from {t.op.made_at}"
            for t in dict.fromkeys(op.inputs)
            if t.op.type != "Const" and not isinstance(self.values[t].type, ResourceType)
        ]
        return "; ".join(lines)

    def _undetermined(self, op: Operation, why: Deferred) -> GraphError:
        message = f"'{op.name}' ({op.type}) cannot be compiled: {why.needed} is not known"
        unknown = [t.name for t in op.inputs if isinstance(self.values[t].type, UnrankedTensorType)]
        help = f"the rank of {', '.join(unknown)} depends on values" if unknown else (
            "it may depend on constants and on shapes, not on values that are fed"
        )
        return quoted(GraphError(message, help=help), op.location, describe_inputs(op.inputs))


def emit_part(
    part: Subgraph, block: Block, given: Sequence[SSAValue], start: Sequence[SSAValue]
) -> tuple[list[SSAValue], list[SSAValue]]:
    """Emit the nodes of ``part`` at the end of ``block``.

    Args:
        given: the values of the part's arguments, then of what it captures.
        start: the token that its effects come after.

    Returns:
        The values of its outputs, and the tokens of its effects.
    """
    nodes = needed(part)
    feeds = [*part.arguments, *(part.captures[t] for t in part.captured)]
    marks: dict[Operation, dict[str, Attribute]] = {op: {DEVICE: StringAttr(op.device)} for op in nodes if op.device}
    build = Builder(part, nodes, block, part.outputs, feeds, start, marks)
    return build.run(given), build.effects
