"""The part of a graph that some fetches need, as a module of its own.

    module = specialise([loss], feeds=[x, y], shapes={"x": ["batch", 784]})

Its function ``main`` takes the fed tensors and gives the fetched ones. Nodes that the fetches do
not need are not in it; neither is what stands behind a fed tensor. All shapes follow from
those of the feeds: the rule of every node is run again on them.

Control dependencies become tokens: an effect takes the tokens of what its node must follow, and a
value whose node must follow an effect passes a gate.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    UnrankedTensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.state import GateOp, JoinOp
from tfc.dialects.tfc.types import Array, ControlType, ResourceType, element, shape_of, tensor_type
from tfc.dims import Dim, Expr, symbol
from tfc.errors import FeedError, GraphError
from tfc.graph.emit import RULES, Deferred, Emitter
from tfc.graph.graph import Graph, as_values, describe_inputs
from tfc.graph.node import Operation, Tensor
from tfc.graph.ordering import WRITES, Accesses
from tfc.graph.shape import TensorShape, is_anonymous
from tfc.graph.source import here, quoted

_MANY_TOKENS = 4
"""More tokens than this are joined to one before an operation takes them."""


@dataclass(frozen=True)
class Request:
    """What a run computes.

    Attributes:
        fetches: tensors whose values are wanted.
        targets: nodes that shall run.
        feeds: tensors whose values are given, and of which types.
        frozen: values of variables that become constants.
    """

    graph: Graph
    fetches: Sequence[Tensor]
    targets: Sequence[Operation] = ()
    feeds: Sequence[Tensor] = ()
    types: Sequence[TensorType] = ()
    frozen: Mapping[Operation, Array] = field(default_factory=dict[Operation, "Array"])


@dataclass(frozen=True)
class Extract:
    """The module of a request.

    Attributes:
        nodes: those that it contains, in order.
        reads: variables whose value before the run matters, each with a node that reads it.
    """

    module: ModuleOp
    nodes: Sequence[Operation]
    reads: Mapping[Operation, Operation]


def specialise(
    fetches: Any,
    feeds: Sequence[Any] | None = None,
    *,
    shapes: Mapping[str, Sequence[Dim]] | None = None,
    name: str = "model",
    session: Any = None,
) -> ModuleOp:
    """The module of some tensors as functions of others.

    Args:
        fetches: a tensor (or variable), or a list of them: the outputs.
        feeds: the inputs in order; the placeholders that the fetches need where left out.
        shapes: extents of inputs by name, in place of their declared ones. An extent that is
            unknown becomes a named dim of its own.
        session: whose values the variables have, as constants; the default session where left
            out. Variables that the fetches change stay variables.

    Raises:
        GraphError: an unknown tensor, an extent that must be known, or a variable without value.
        FeedError: a placeholder that is needed and not fed.
    """
    wanted = list(fetches) if isinstance(fetches, list | tuple) else [fetches]
    graph = _graph_of(wanted)
    outputs = [as_fetch(graph, f) for f in wanted]
    tensors = [f for f in outputs if isinstance(f, Tensor)]
    targets = [f for f in outputs if isinstance(f, Operation)]
    if feeds is None:
        inputs = [op.values()[0] for op in closure(tensors, targets, ()) if op.type == "Placeholder"]
    else:
        inputs = [as_feed(graph, f) for f in feeds]
    given = dict(shapes or {})
    types = [_input_type(t, given) for t in inputs]
    if given:
        known = ", ".join(repr(_port(t)) for t in inputs)
        raise GraphError(f"there is no input {next(iter(given))!r}", help=f"the inputs are {known}")
    request = Request(graph, tensors, targets, inputs, types)
    return extract(replace(request, frozen=_frozen(request, session)), name).module


def _frozen(request: Request, session: Any) -> Mapping[Operation, Array]:
    """The values of the variables that a request reads and does not change."""
    nodes = closure(request.fetches, request.targets, request.feeds)
    changed = {t.op for op in nodes if op.type in WRITES for t in op.inputs if t.is_handle}
    variables = [op for op in nodes if op.type == "VariableV2" and op not in changed]
    if not variables:
        return {}
    from tfc.graph.session import get_default_session

    found = session or get_default_session()
    if found is None:
        message = f"the variable '{variables[0].name}' has no value without a session"
        help = "compile(..., session=session) takes the values of its variables as constants"
        raise GraphError(message, where=variables[0].made_at, help=help)
    return {op: found.value_of(op) for op in variables}


def _graph_of(values: Sequence[Any]) -> Graph:
    if not values:
        raise quoted(GraphError("expected at least one tensor to compile, got none"), here())
    graph = getattr(values[0], "graph", None)
    if not isinstance(graph, Graph):
        raise quoted(GraphError(f"expected tensors of a graph, got {values[0]!r}"), here())
    return graph


def as_fetch(graph: Graph, obj: Any) -> Tensor | Operation:
    """The tensor or node that is fetched by ``obj``; of a variable, its value."""
    found = obj._as_tensor() if hasattr(obj, "_as_tensor") else obj
    return _value(graph.as_graph_element(found))


def as_feed(graph: Graph, obj: Any) -> Tensor:
    """The tensor that is fed by ``obj``; of a variable, its value."""
    found = obj._as_tensor() if hasattr(obj, "_as_tensor") else obj
    return _value(graph.as_graph_element(found, allow_operation=False))


def _value(found: Any) -> Any:
    """Of a variable's handle, the node that reads it."""
    if isinstance(found, Tensor) and found.is_handle:
        return found.graph.get_tensor_by_name(f"{found.op.name}/read:0")
    return found


def _port(t: Tensor) -> str:
    """The name of an input or output of the module."""
    return t.op.name if t.value_index == 0 else t.name


def _input_type(t: Tensor, shapes: dict[str, Sequence[Dim]]) -> TensorType:
    wanted = shapes.pop(t.op.name, shapes.pop(t.name, None))
    shape = TensorShape(wanted) if wanted is not None else t.shape
    try:
        shape = shape.merge_with(t.shape)
    except GraphError as error:
        raise GraphError(f"input '{t.name}': {error.message}", where=t.op.made_at) from None
    if shape.dims is None:
        help = f"compile(..., shapes={{'{_port(t)}': [...]}}) gives it, with names for open extents"
        raise GraphError(f"the shape of the input '{t.name}' is unknown", where=t.op.made_at, help=help)
    prefix = re.sub(r"\W", "_", _port(t)).strip("_") or "input"
    dims: list[Dim] = [
        symbol(f"{prefix}_{k}") if d is None or (isinstance(d, Expr) and is_anonymous(d)) else d
        for k, d in enumerate(shape.dims)
    ]
    return tensor_type(dims, t.dtype.element)


def closure(
    fetches: Sequence[Tensor], targets: Sequence[Operation], feeds: Sequence[Tensor]
) -> list[Operation]:
    """The nodes that must run, in order, when ``feeds`` are given."""
    given = set(feeds)
    stack = [t.op for t in fetches if t not in given] + list(targets)
    seen = set(stack)
    while stack:
        op = stack.pop()
        for before in [t.op for t in op.inputs if t not in given] + list(op.control_inputs):
            if before not in seen:
                seen.add(before)
                stack.append(before)
    return sorted(seen, key=lambda op: op.index)


def extract(request: Request, name: str = "model") -> Extract:
    """The module of a request.

    Raises:
        FeedError: a placeholder is needed and not fed.
        GraphError: shapes that do not fit, or unordered accesses to a variable.
    """
    nodes = closure(request.fetches, request.targets, request.feeds)
    for op in nodes:
        if op.type == "Placeholder":
            raise unfed(op)
    accesses = Accesses(nodes, request.feeds, request.graph.initializers)
    accesses.check()
    build = _Build(request, nodes, accesses)
    return Extract(build.module(name), nodes, accesses.reads_before_run())


def unfed(op: Operation) -> FeedError:
    """The error of a placeholder that a run needs and nobody feeds."""
    shape = op.values()[0].shape
    text = f" and shape {str(list(shape.as_list())).replace('None', '?')}" if shape.ndims else ""
    dtype = op.values()[0].dtype.text
    message = f"You must feed a value for placeholder tensor '{op.name}' with dtype {dtype}{text}"
    return FeedError(f"{message}\nnote: it was made at {op.made_at}", where=op.made_at)


@dataclass
class _Build:
    """Emits the nodes of a request, in order."""

    request: Request
    nodes: Sequence[Operation]
    accesses: Accesses
    block: Block = field(init=False)
    marks: dict[Operation, dict[str, Attribute]] = field(init=False)
    readers: dict[Operation, list[Operation]] = field(init=False)
    values: dict[Tensor, SSAValue] = field(default_factory=dict)
    done: dict[Operation, tuple[SSAValue, ...]] = field(default_factory=dict)
    """Of each node the tokens after which it, and all it follows, have happened."""

    def module(self, name: str) -> ModuleOp:
        request = self.request
        self.block = Block(arg_types=request.types)
        self.marks = _all_marks(self.nodes)
        self.readers = defaultdict(list)
        for op in self.nodes:
            for t in op.inputs:
                self.readers[t.op].append(op)
        self.values.update(zip(request.feeds, self.block.args, strict=True))
        for op, array in request.frozen.items():
            self.values[op.values()[0]] = self._emitter(op, (), ())(ConstantOp(array))
        read_by = {t for op in self.nodes for t in op.inputs} | set(request.fetches)
        ordered = any(op.control_inputs for op in self.nodes) or bool(self.accesses.extra)
        for op in self.nodes:
            used = [k for k, t in enumerate(op.values()) if t in read_by]
            self._emit(op, used, ordered)
        results = [self.values[t] for t in request.fetches]
        self.block.add_op(ReturnOp(*results))
        types = [r.type for r in results]
        function = FuncOp(
            "main",
            (list(request.types), types),
            Region(self.block),
            arg_attrs=_names(request.feeds),
            res_attrs=_names(request.fetches),
        )
        return ModuleOp([function], {"sym_name": StringAttr(name)})

    def _emit(self, op: Operation, used: Sequence[int], ordered: bool) -> None:
        if all(t in self.values for t in op.values()) and op.values():
            return  # all its results are fed, but it is wanted for its control edges
        after = self._after(op) if ordered else ()
        emitter = self._emitter(op, after, used)
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
        if ordered:
            before = [*after, *self._done_before(op)]
            self.done[op] = tuple(emitter.tokens or dict.fromkeys(before))

    def _emitter(self, op: Operation, after: Sequence[SSAValue], used: Sequence[int]) -> Emitter:
        fresh, marks = self.request.graph.fresh_dim, self.marks.get(op, {})
        return Emitter(
            self.block, op.location, fresh, strict=True, after=after, used=used, marks=marks
        )

    def _after(self, op: Operation) -> tuple[SSAValue, ...]:
        """The tokens that the node itself waits for."""
        before = [*op.control_inputs, *self.accesses.extra.get(op, ())]
        tokens = tuple(dict.fromkeys(t for c in before for t in self.done.get(c, ())))
        if len(tokens) <= _MANY_TOKENS:
            return tokens
        return (self._emitter(op, (), ())(JoinOp(tokens)),)

    def _done_before(self, op: Operation) -> list[SSAValue]:
        fed = self.request.feeds
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


def _all_marks(nodes: Sequence[Operation]) -> dict[Operation, dict[str, Attribute]]:
    """Of each node where it wants to run, if any asks for a device: else nothing is to be placed."""
    if not any(op.device for op in nodes):
        return {}
    targets = {name for op in nodes for name in op.colocated}
    marks: dict[Operation, dict[str, Attribute]] = {}
    for op in nodes:
        own = marks[op] = {}
        if op.device:
            own["tfc.device"] = StringAttr(op.device)
        labels = [*op.colocated, *([op.name] if op.name in targets else [])]
        if labels:
            own["tfc.colocate"] = ArrayAttr([StringAttr(f"loc:@{n}") for n in labels])
    return marks


def _names(tensors: Sequence[Tensor]) -> ArrayAttr[DictionaryAttr]:
    """The ``tfc.name`` of each input or output, each different."""
    names: dict[str, None] = {}
    for t in tensors:
        name, k = _port(t), 1
        while name in names:
            name, k = f"{_port(t)}_{k}", k + 1
        names[name] = None
    return ArrayAttr([DictionaryAttr({"tfc.name": StringAttr(n)}) for n in names])


def output_types(module: ModuleOp) -> list[tuple[tuple[Dim, ...], Attribute]]:
    """Shape and element type of each output of a module made by `extract`."""
    function = module.body.block.first_op
    assert isinstance(function, FuncOp), "a module of a request holds one function"
    return [(shape_of(t), element(t)) for t in function.function_type.outputs]
