"""``tf.gradients``: derivatives as nodes of the graph.

    dx, dw = tf.gradients(loss, [x, w])     nodes gradients/MatMul_grad/MatMul, ...

From ``ys`` back to ``xs``, each node on the way gets one node that computes the gradients of its inputs from
those of its results (`tfc.graph.rules.gradient`); where a tensor is read by several nodes, their sum is
an ``AddN``. The gradient of rows that are gathered is left in rows: `IndexedSlices`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xdsl.ir import Block

from tfc.dialects.tfc.differentiate import MissingGradient
from tfc.errors import GraphError
from tfc.graph.arrays import identity, ones_like, reshape, stack, zeros_like
from tfc.graph.checks import check_numerics
from tfc.graph.emit import Deferred, Emitter
from tfc.graph.graph import Graph, get_default_graph, name_scope, parts_of
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import convert, is_tensor, node, single
from tfc.graph.ordering import WRITES
from tfc.graph.rules.gradient import pulled_back
from tfc.graph.slices import IndexedSlices, gathered_rows, total_of_slices
from tfc.graph.source import describe, here, quoted
from tfc.graph.subgraph import has_effect
from tfc.graph.variables import Variable

Found: TypeAlias = "Tensor | IndexedSlices"
"""A gradient."""

GradientFunction: TypeAlias = Callable[..., Any]
"""``function(op, *grads)``: the gradients of a node's inputs from those of its results."""

STOPS = ("StopGradient", *WRITES)
"""Nodes whose results do not pass gradients on."""

_registered: dict[str, GradientFunction] = {}


class UnconnectedGradients:
    """What the gradient is to a tensor that has no influence."""

    NONE = "none"
    ZERO = "zero"


class AggregationMethod:
    """How gradients of one tensor are added up; all are the same here."""

    ADD_N = 0
    DEFAULT = ADD_N
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: Any = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: str = UnconnectedGradients.NONE,
) -> list[Any]:
    """The derivatives of the sum of ``ys`` by each of ``xs``.

    Args:
        ys: a tensor of floats, or several.
        xs: a tensor or variable, or several.
        grad_ys: the gradient of each of ``ys``; None is 1 for every element.
        colocate_gradients_with_ops: whether a gradient shares the device of its node.
        gate_gradients: whether all gradients of a node are there before one is used.
        aggregation_method: accepted; sums are always one node.
        stop_gradients: tensors that are taken for constants, beside ``tf.stop_gradient``.
        unconnected_gradients: ``"none"`` or ``"zero"``: what stands for no influence.

    Returns:
        For each of ``xs`` a tensor of its shape, `IndexedSlices` where only rows were gathered, or None.

    Raises:
        GraphError: a node on the way has no gradient; ``ys`` that are not floats; a gradient in
            ``grad_ys`` that does not fit.

    Source: TensorFlow's ``tf.gradients``.
    """
    if unconnected_gradients not in (UnconnectedGradients.NONE, UnconnectedGradients.ZERO):
        raise quoted(GraphError(f"expected unconnected_gradients 'none' or 'zero', got {unconnected_gradients!r}"), here())
    targets = [convert(y) for y in _listed(ys)]
    wanted = _listed(xs)
    graph = targets[0].graph if targets else get_default_graph()
    with graph.as_default(), name_scope(name, "gradients"):
        seeds = _seeds(targets, grad_ys)
        sources = [_sources(graph, x) for x in wanted]
        stops = {t for s in _listed(stop_gradients or ()) for t in _sources(graph, s)}
        walk = _Walk(graph, {t for ts in sources for t in ts}, stops, colocate_gradients_with_ops)
        walk.run(targets, seeds)
        found = [walk.total([g for t in ts for g in walk.found[t]]) for ts in sources]
        if unconnected_gradients == UnconnectedGradients.ZERO:
            found = [zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True)]
        return _gated(found) if gate_gradients else found


def hessians(ys: Any, xs: Any, name: str = "hessians", **options: Any) -> list[Tensor]:
    """The second derivatives of the sum of ``ys`` by each of ``xs``.

    Args:
        options: as of `gradients`.

    Returns:
        For each of ``xs``, of shape ``s``, a tensor of shape ``s + s``. Each element of ``x`` makes nodes of its
        own, so this is for few.

    Raises:
        GraphError: an ``x`` of unknown shape; otherwise as `gradients`.

    Source: TensorFlow's ``tf.hessians``.
    """
    wanted = _listed(xs)
    with name_scope(name, "hessians", wanted):
        return [_hessian(g, x, options) for g, x in zip(gradients(ys, wanted, **options), wanted, strict=True)]


def _hessian(g: Any, x: Any, options: dict[str, Any]) -> Tensor:
    shape, count = x.shape, x.shape.num_elements()
    if count is None:
        raise quoted(GraphError(f"expected an x of known shape, got {x!r}"), here())
    extents = shape.as_list()
    whole = zeros_like(x) if g is None else convert(g)
    flat = reshape(whole, [count])
    rows = [gradients(flat[k], x, **options)[0] for k in range(count)]
    filled = [zeros_like(x) if r is None else convert(r) for r in rows]
    return reshape(stack(filled) if filled else whole, [*extents, *extents])


@dataclass
class _Walk:
    """From some tensors back to ``sources``, which ``stops`` end."""

    graph: Graph
    sources: set[Tensor]
    stops: set[Tensor]
    colocate: bool
    found: dict[Tensor, list[Found]] = field(default_factory=lambda: defaultdict[Tensor, "list[Found]"](list))

    def run(self, targets: Sequence[Tensor], seeds: Sequence[Tensor]) -> None:
        """Fill ``found`` with the gradients of every tensor between the sources and ``targets``."""
        reached, path = self._path(targets)
        for y, g in zip(targets, seeds, strict=True):
            if y in reached:
                self.found[y].append(g)
        for op in reversed(path):
            for t in op.values():
                if t in self.found:
                    self.found[t] = [self.total(self.found[t])]
            gs = [self.found[t][0] if t in self.found and t not in self.stops else None for t in op.values()]
            into = [k for k, t in enumerate(op.inputs) if t in reached]
            if into and any(g is not None for g in gs):
                for k, g in self._through(op, gs, into):
                    self.found[op.inputs[k]].append(g)

    def _path(self, targets: Sequence[Tensor]) -> tuple[set[Tensor], list[Operation]]:
        """The tensors that depend on the sources, and the nodes between the two, in order."""
        before = {t.op for t in targets}
        pending = list(before)
        while pending:
            for op in {t.op for t in pending.pop().inputs} - before:
                before.add(op)
                pending.append(op)
        reached, path = set(self.sources), list[Operation]()
        for op in sorted(before, key=lambda op: op.index):
            if op.type not in STOPS and any(t in reached for t in op.inputs):
                path.append(op)
                reached.update(t for t in op.values() if t.dtype.is_floating)
        return reached, path

    def total(self, gs: Sequence[Found]) -> Any:
        """The sum of gradients of one tensor, None of none."""
        if len(gs) <= 1:
            return gs[0] if gs else None
        if all(isinstance(g, IndexedSlices) for g in gs):
            return total_of_slices([g for g in gs if isinstance(g, IndexedSlices)])
        return single("AddN", [convert(g) for g in gs], "AddN")

    def _through(self, op: Operation, gs: Sequence[Any], into: Sequence[int]) -> list[tuple[int, Found]]:
        """The gradients of inputs of ``op``, each with the input's number."""
        if (function := self._function(op)) is not None:
            return self._called(function, op, gs, into)
        if op.type in ("Identity", "Print"):
            return [(0, gs[0])]
        if op.type == "CheckNumerics":
            text = "Not a number (NaN) or infinity (Inf) values detected in gradient."
            return [(0, check_numerics(gs[0], text, name=f"{op.name}_grad/CheckNumerics"))]
        if (of := op.attrs.get("of")) is not None and has_effect(of):
            message = f"the gradient of '{of.name}' ({of.type}), which has effects or reads variables that it changes, has none itself"
            raise quoted(MissingGradient(message), of.location, f"tf.gradients was called at {describe(here())}")
        if (rows := gathered_rows(op, gs[0])) is not None:
            return [(0, rows)]
        given = [k for k, g in enumerate(gs) if g is not None]
        inputs = [*op.inputs, *(convert(gs[k]) for k in given)]
        wrt = self._connected(op, inputs, into, given)
        if not wrt:
            return []
        attrs: dict[str, Any] = {"forward": op.type, "attributes": op.attrs, "wrt": tuple(wrt), "given": tuple(given)}
        if parts_of(op):
            attrs["of"] = op
        name = f"{op.name}_grad/{op.type}"
        with ExitStack() as scopes:
            if self.colocate:
                scopes.enter_context(self.graph.colocate_with(op))
            if parts_of(op) and has_effect(op):  # what it keeps is kept by the one that runs
                scopes.enter_context(self.graph.control_dependencies([op]))
            made = node("Gradient", inputs, name, **attrs)
        return list(zip(wrt, made.values(), strict=True))

    def _connected(
        self, op: Operation, inputs: Sequence[Tensor], into: Sequence[int], given: Sequence[int]
    ) -> Sequence[int]:
        """The inputs that get a gradient: found by computing them on the side."""
        block = Block()
        emit = Emitter(block, op.location, self.graph.fresh_dim)
        values = [t.value for t in inputs]
        count = len(op.inputs)
        try:
            found = pulled_back(emit, values[:count], values[count:], op.type, op.attrs, into, given)
        except Deferred:
            return into
        except MissingGradient as missing:
            message = f"'{op.name}' ({op.type}): {missing.message}"
            help = "tf.stop_gradient, or stop_gradients=, ends what is differentiated"
            error = GraphError(message, help=help)
            raise quoted(error, op.location, f"tf.gradients was called at {describe(here())}") from None
        finally:
            while (last := block.last_op) is not None:
                block.erase_op(last, safe_erase=False)
        return [k for k, g in zip(into, found, strict=True) if g is not None]

    def _function(self, op: Operation) -> GradientFunction | None:
        """The gradient that somebody else gave the node."""
        name = self.graph.gradient_names.get(op)
        if name is not None and name not in _registered:
            help = f"@tf.RegisterGradient({name!r}) enters a function"
            raise quoted(GraphError(f"no gradient is registered under {name!r}", help=help), op.location)
        return self.graph.gradient_functions.get(op) if name is None else _registered[name]

    def _called(
        self, function: GradientFunction, op: Operation, gs: Sequence[Any], into: Sequence[int]
    ) -> list[tuple[int, Found]]:
        filled = [zeros_like(t) if g is None else g for t, g in zip(op.values(), gs, strict=True)]
        with name_scope(f"{op.name}_grad"):
            answer = _listed(function(op, *filled))
        if len(answer) != len(op.inputs):
            message = f"the gradient of '{op.name}' gives {len(answer)} values for {len(op.inputs)} inputs"
            raise quoted(GraphError(message), op.location)
        return [(k, answer[k]) for k in into if answer[k] is not None]


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _seeds(ys: Sequence[Tensor], grad_ys: Any) -> list[Tensor]:
    """The gradients to begin with."""
    given = [None] * len(ys) if grad_ys is None else _listed(grad_ys)
    if len(given) != len(ys):
        raise quoted(GraphError(f"expected {len(ys)} gradients in grad_ys, got {len(given)}"), here())
    seeds: list[Tensor] = []
    for k, (y, g) in enumerate(zip(ys, given, strict=True)):
        if not y.dtype.is_floating:
            help = "only floats have gradients; tf.cast(y, tf.float32) converts"
            raise quoted(GraphError(f"expected ys of floats, got '{y.name}' of {y.dtype.name}", help=help), here())
        if g is None:
            seeds.append(ones_like(y, name=f"grad_ys_{k}"))
            continue
        g = convert(g, y.dtype, name=f"grad_ys_{k}")
        if not g.shape.is_compatible_with(y.shape):
            raise quoted(GraphError(f"expected a gradient of shape {y.shape} for '{y.name}', got {g.shape}"), here())
        seeds.append(g)
    return seeds


def _sources(graph: Graph, x: Any) -> list[Tensor]:
    """The tensors of ``graph`` that are ``x``: in a part of a graph, what is captured of it."""
    if isinstance(x, IndexedSlices):
        return [x.values]
    if not is_tensor(x) or isinstance(x, list | tuple):
        raise quoted(GraphError(f"expected a tensor or variable in xs, got {x!r}"), here())
    own = x.handle if isinstance(x, Variable) else convert(x)
    if own.graph is graph:
        return [own]
    captures: dict[Tensor, Tensor] = getattr(graph, "captures", {})
    if not captures and not hasattr(graph, "parent"):
        graph.as_graph_element(own)  # says which graphs these are
    found = [inner for outer, inner in captures.items() if outer is own or _reads(outer, own)]
    return found


def _reads(t: Tensor, handle: Tensor) -> bool:
    return handle.is_handle and t.op.type == "Identity" and t.op.inputs[0] is handle


def _gated(found: Sequence[Any]) -> list[Any]:
    from tfc.graph.arrays import tuple_

    return tuple_([None if g is None else convert(g) for g in found])


# Gradients by others


class RegisterGradient:
    """Enter the decorated ``function(op, *grads)`` as the gradient ``name``, for `gradient_override_map`."""

    def __init__(self, name: str) -> None:
        if name in _registered:
            raise quoted(GraphError(f"a gradient is registered under {name!r} already"), here())
        self._name = name

    def __call__(self, function: GradientFunction) -> GradientFunction:
        _registered[self._name] = function
        return function


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, whose gradient is what it says itself.

    Args:
        f: gives its results (a tensor or several) and a function from their gradients to those of
            the arguments: a tensor, or as many as there are arguments.

    Raises:
        GraphError: when called: ``f`` reads a variable, whose gradient nobody would give.

    Source: TensorFlow's ``tf.custom_gradient``.
    """

    def decorated(*args: Any, **kwargs: Any) -> Any:
        with name_scope(getattr(f, "__name__", "CustomGradient").strip("<>"), None, args):
            inputs = [identity(a) for a in args]
            graph = inputs[0].graph if inputs else get_default_graph()
            size = len(graph.get_operations())
            result, grad = f(*inputs, **kwargs)
            results = [convert(r) for r in _listed(result)]
            _refuse_variables(graph, size)
            made = node("IdentityN", [*results, *inputs], "IdentityN")
        count = len(results)

        def function(op: Operation, *gs: Any) -> list[Any]:
            return [*[None] * count, *_listed(grad(*gs[:count]))]

        graph.gradient_functions[made] = function
        outputs = list(made.values())[:count]
        return type(result)(outputs) if isinstance(result, list | tuple) else outputs[0]

    return decorated


def _refuse_variables(graph: Graph, first: int) -> None:
    for op in graph.get_operations()[first:]:
        for t in op.inputs:
            handle = t if t.is_handle else t.op.inputs[0] if t.op.type == "Identity" and t.op.inputs else t
            if handle.is_handle and handle.dtype.is_floating:
                message = f"a function with a gradient of its own reads the variable '{handle.op.name}'"
                raise quoted(GraphError(message, help="give the variable as an argument"), op.location)


