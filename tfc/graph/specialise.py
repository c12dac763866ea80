"""The part of a graph that some fetches need, as a module of its own.

    module = specialise([loss], feeds=[x, y], shapes={"x": ["batch", 784]})

Its function ``main`` takes the fed tensors and gives the fetched ones. Nodes that the fetches do
not need are not in it; neither is what stands behind a fed tensor. All shapes follow from
those of the feeds: the rule of every node is run again on them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region
from xdsl.ir import Operation as Instruction

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.state import INITIAL, AssignOp
from tfc.dialects.tfc.types import Array, LiteralAttr, element, shape_of, tensor_type
from tfc.dims import Dim, Expr, symbol
from tfc.errors import FeedError, GraphError
from tfc.graph.building import Builder
from tfc.graph.function import Function
from tfc.graph.graph import Graph
from tfc.graph.node import Operation, Tensor
from tfc.graph.ordering import asked, closure, written
from tfc.graph.rules.state import BEGUN, Begun
from tfc.graph.shape import TensorShape, is_anonymous
from tfc.graph.source import here, quoted
from tfc.passes.check_effects import Summary, effects_of, order_exclusive, order_first


@dataclass(frozen=True)
class Request:
    """What a run computes.

    Attributes:
        fetches: tensors whose values are wanted.
        targets: nodes that shall run.
        feeds: tensors whose values are given, and of which types.
        frozen: values of variables that become constants.
        done: nodes that have run already; what is needed of their results is among the feeds.
        begun: the names of the variables that have a value; None for all.
    """

    graph: Graph
    fetches: Sequence[Tensor]
    targets: Sequence[Operation] = ()
    feeds: Sequence[Tensor] = ()
    types: Sequence[TensorType] = ()
    frozen: Mapping[Operation, Array] = field(default_factory=dict[Operation, "Array"])
    done: Collection[Operation] = ()
    begun: Collection[str] | None = None


@dataclass(frozen=True)
class Extract:
    """The module of a request.

    Attributes:
        nodes: those that it contains, in order.
        reads: variables whose value before the run matters, each with an operation that reads it.
        effects: what is done to each variable, by its name.
        missed: variables without a value of which the request asks whether they have one.
        uses: of the reads before which a variable has no value, the assignment that they are for.
    """

    module: ModuleOp
    nodes: Sequence[Operation]
    reads: Mapping[Operation, Instruction]
    effects: Mapping[str, Summary]
    missed: Collection[str] = ()
    uses: Mapping[Operation, Instruction] = field(default_factory=dict[Operation, Instruction])

    @property
    def sets(self) -> set[str]:
        """The names of the variables that have a value after the run, whatever was there before."""
        return {n for n, e in self.effects.items() if e.sets}


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
        fetches: a tensor (or variable), or a list of them: the outputs; or a function (`tfc.function`)
            with an input signature.
        feeds: the inputs in order; the placeholders that the fetches need where left out.
        shapes: extents of inputs by name, in place of their declared ones. An extent that is
            unknown becomes a named dim of its own.
        session: whose values the variables have, as constants; the default session where left
            out. Variables that the fetches change stay variables.

    Raises:
        GraphError: an unknown tensor, an extent that must be known, or a variable without value.
        FeedError: a placeholder that is needed and not fed.
    """
    if isinstance(fetches, Function):
        fetches, feeds = fetches.compile_arguments()
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
    frozen = _frozen(request, session)
    found = extract(replace(request, frozen=frozen), name)
    if changed := [v for v in graph.initializers if v.attrs["shared_name"] in found.effects and v not in frozen]:
        values = _initial(graph, changed, session)
        found.module.attributes[INITIAL] = DictionaryAttr(values)
    return found.module


def _initial(graph: Graph, variables: Sequence[Operation], session: Any) -> dict[str, LiteralAttr]:
    """The values that variables begin with: those of the session, or what their initializers give."""
    from tfc.graph.session import Session, get_default_session

    found = session or get_default_session()
    values: dict[Operation, Array] = {}
    if found is not None and found.graph is graph:
        known = [v for v in variables if found.is_initialized(v)]
        values.update(zip(known, found.values_of(known), strict=True))
    if missing := [v for v in variables if v not in values]:
        scratch, needed = Session(graph=graph), dict.fromkeys(missing)
        for v in graph.initializers:  # an initial value may be that of another variable
            nodes = closure((), [graph.initializers[n] for n in needed], ())
            if v in nodes:
                needed.setdefault(v)
        scratch.run([graph.initializers[v] for v in needed])
        values.update(zip(missing, scratch.values_of(missing), strict=True))
    return {v.attrs["shared_name"]: LiteralAttr.of(values[v]) for v in variables}


def _frozen(request: Request, session: Any) -> Mapping[Operation, Array]:
    """The values of the variables that a request reads and does not change."""
    nodes = closure(request.fetches, request.targets, request.feeds)
    changed = written(nodes)
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


def extract(request: Request, name: str = "model") -> Extract:
    """The module of a request.

    Raises:
        FeedError: a placeholder is needed and not fed.
        GraphError: shapes that do not fit.
    """
    nodes = closure(request.fetches, request.targets, request.feeds, request.done)
    for op in nodes:
        if op.type == "Placeholder":
            raise unfed(op)
    begun = None if request.begun is None else Begun(frozenset(request.begun) | _begin(request.graph, nodes))
    token = BEGUN.set(begun)
    try:
        module = _module(request, nodes, name)
    finally:
        BEGUN.reset(token)
    effects = effects_of(module)
    # Hidden variables (the places of random streams) are no nodes, and begin as zeros.
    variables = {op.attrs["shared_name"]: op for op in request.graph.initializers}
    reads = {variables[n]: e.reads for n, e in effects.items() if e.reads is not None and n in variables}
    if begun is None:
        return Extract(module, nodes, reads, effects)
    absent = {v: read for v, read in reads.items() if v.attrs["shared_name"] not in begun.names}
    uses = {v: use for v, read in absent.items() if (use := _assigned_from(read)) is not None}
    return Extract(module, nodes, reads, effects, begun.missed, uses)


def _assigned_from(read: Instruction) -> Instruction | None:
    """The first assignment of a value that comes from ``read``."""
    pending, seen = [read], set[Instruction]()
    for op in pending:
        for value in op.results:
            if isinstance(value.type, TensorType):
                users = {use.operation for use in value.uses} - seen
                seen |= users
                pending += users
        if isinstance(op, AssignOp):
            return op
    return None


def _begin(graph: Graph, nodes: Collection[Operation]) -> set[str]:
    """The names of the variables that ``nodes`` initialize before anybody asks whether they are."""
    run = set(nodes)
    return {
        v.attrs["shared_name"] for v, first in graph.initializers.items()
        if first in run and v not in asked(closure((), [first], ()))
    }  # fmt: skip


def unfed(op: Operation) -> FeedError:
    """The error of a placeholder that a run needs and nobody feeds."""
    shape = op.values()[0].shape
    text = f" and shape {str(list(shape.as_list())).replace('None', '?')}" if shape.ndims else ""
    dtype = op.values()[0].dtype.text
    message = f"You must feed a value for placeholder tensor '{op.name}' with dtype {dtype}{text}"
    return FeedError(f"{message}\nnote: it was made at {op.made_at}", where=op.made_at)


def _module(request: Request, nodes: Sequence[Operation], name: str) -> ModuleOp:
    block = Block(arg_types=request.types)
    build = Builder(request.graph, nodes, block, request.fetches, request.feeds, marks=_all_marks(nodes))
    for op, array in request.frozen.items():
        build.values[op.values()[0]] = build.emitter(op)(ConstantOp(array))
    results = build.run(block.args)
    block.add_op(ReturnOp(*results))
    types = [r.type for r in results]
    function = FuncOp(
        "main",
        (list(request.types), types),
        Region(block),
        arg_attrs=_names(request.feeds),
        res_attrs=_names(request.fetches),
    )
    module = ModuleOp([function], {"sym_name": StringAttr(name)})
    order_first(module, build.initial)
    order_exclusive(module, request.graph.exclusive)
    return module


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
