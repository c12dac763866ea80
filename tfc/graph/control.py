"""Branches and loops: ``tf.cond``, ``tf.case``, ``tf.while_loop``.

    y = tf.cond(x > 0, lambda: x * 2, lambda: x + 1)                one node, If
    i, s = tf.while_loop(lambda i, s: i < 10, lambda i, s: (i + 1, s + i), [0, 0])

The functions are called once, when the node is made; what they make is a part of the graph
(`tfc.graph.subgraph`) that runs when the branch is taken, or in each turn of the loop. Nodes made before run
in any case, as in TensorFlow 1: a variable that a body uses has the value from before the loop, and
``v.read_value()`` in the body reads it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute

from tfc.dialects.tfc.types import element, shape_of, tensor_type
from tfc.errors import GraphError
from tfc.graph import nest
from tfc.graph.checks import Assert
from tfc.graph.dtypes import bool_, int32, of_element
from tfc.graph.graph import Graph, get_default_graph
from tfc.graph.math import cast, less, logical_and, reduce_sum
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import constant, convert, name_scope, node, single
from tfc.graph.ordering import closure, needed, shared_name, written
from tfc.graph.rules.control import captures_of, changed
from tfc.graph.shape import TensorShape, as_dim
from tfc.graph.source import here, quoted
from tfc.graph.subgraph import Subgraph, trace
from tfc.graph.tensor_array import TensorArray, arrays_to_tensors, tensors_to_arrays

Structure = Any
"""A tensor or `TensorArray`, or lists, tuples and dicts of them."""


def make(
    graph: Graph,
    type_: str,
    inputs: Sequence[Tensor],
    name: str,
    *parts: Subgraph,
    captures: Sequence[Tensor] | None = None,
    **attrs: Any,
) -> Operation:
    """The node that runs ``parts``: on ``inputs`` and what they capture, after what they wait for."""
    controls = [c for part in parts for c in part.controls]
    captures = captures_of(*parts) if captures is None else captures
    with graph.control_dependencies(controls):
        return node(type_, [*inputs, *captures], name, **attrs)


def _read_before(graph: Graph, inputs: Sequence[Tensor], parts: Sequence[Subgraph]) -> None:
    """Read variables that ``parts`` read and do not change before them, once: as values, which have gradients.

    The read comes after what ``inputs`` and captures depend on, as the node that runs the parts does.
    """
    captures = captures_of(*parts)
    changed = {shared_name(v) for part in parts for v in written(needed(part))}
    for handle in (t for t in captures if t.is_handle):
        if shared_name(handle.op) in changed or not all(part.only_reads(handle) for part in parts):
            continue
        around = [t for t in (*inputs, *captures) if t.graph is graph]
        writers = written(closure(around, (), ()))
        before = {t.op for t in around} if shared_name(handle.op) in map(shared_name, writers) else ()
        with graph.control_dependencies([*before, *(c for part in parts for c in part.controls)]):
            value = single("Identity", [handle], "read")
        for part in parts:
            part.take_value(handle, value)


def predicate_of(value: Any, what: str) -> Tensor:
    """A condition: one truth value that is a tensor.

    Raises:
        GraphError: a Python value, another element type or shape.
    """
    if not isinstance(value, Tensor) and not hasattr(value, "_as_tensor"):
        help = "a condition known in Python is an `if` in Python; tf.constant(...) makes a tensor of it"
        message = f"'tfc.{what}': expected a predicate that is a tensor of type bool, got {value!r}"
        raise quoted(GraphError(message, help=help), here())
    t = convert(value)
    if t.dtype is not bool_ or t.shape.ndims not in (None, 0):
        message = f"'tfc.{what}': expected a predicate of type bool and shape (), got {t.dtype.name} {t.shape}"
        help = "tf.reduce_all(p) or tf.reduce_any(p) makes one truth value of many" if t.dtype is bool_ else (
            "compare it with a value: x > 0"
        )
        raise quoted(GraphError(f"{message} from {t.op.made_at}", help=help), here())
    return t


# tf.cond


def cond(
    pred: Any,
    true_fn: Callable[[], Structure] | None = None,
    false_fn: Callable[[], Structure] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Any = None,
    fn2: Any = None,
) -> Structure:
    """What ``true_fn`` gives if ``pred`` is true, and what ``false_fn`` gives if it is not.

    Only the nodes that the chosen function made are run. Nodes made outside of both run in any case.

    Args:
        pred: one truth value.
        true_fn, false_fn: functions without arguments that give tensors in one structure, or nodes.
        strict: a list or tuple of one tensor stays one; else it becomes the tensor.

    Raises:
        GraphError: a predicate that is no tensor or not one truth value; branches whose results differ
            in structure or type; a branch that gives nothing.

    Source: TensorFlow 1's ``tf.cond``.
    """
    true_fn, false_fn = true_fn or fn1, false_fn or fn2
    for which, function in (("true_fn", true_fn), ("false_fn", false_fn)):
        if not callable(function):
            raise quoted(GraphError(f"'tfc.cond': expected a function as {which}, got {function!r}"), here())
    predicate = predicate_of(pred, "cond")
    with name_scope(name, "cond", [predicate]) as scope:
        graph = get_default_graph()
        given: list[Any] = []
        parts: list[Subgraph] = []
        for which, function in (("true", true_fn), ("false", false_fn)):
            part, result = _branch(graph, which, scope, function, strict)
            parts.append(part)
            given.append(result)
        _check_branches(parts, given)
        if not any(op.type == "IsVariableInitialized" for op in closure([predicate], (), ())):
            _read_before(graph, [predicate], parts)  # else a branch may be there so that nothing is read
        op = make(graph, "If", [predicate], scope, *parts, then=parts[0], otherwise=parts[1])
        return op if given[0] is None else tensors_to_arrays(given[0], op.values())


def _branch(graph: Graph, which: str, scope: str, function: Any, strict: bool) -> tuple[Subgraph, Any]:
    """A branch, and the structure that its function gave; None where it only gave nodes."""
    results: list[Any] = []

    def body(part: Subgraph) -> None:
        result = function()
        if result is None:
            help = "a branch that only has effects may return their nodes, or tf.no_op()"
            raise quoted(GraphError(f"'tfc.cond': {which}_fn returned nothing", help=help), here())
        if not strict and isinstance(result, list | tuple) and len(result) == 1:
            result = result[0]
        leaves = nest.flatten(result)
        if leaves and all(isinstance(leaf, Operation) for leaf in leaves):
            part.targets += [n for n in map(part.waited_for, leaves) if n is not None]
            results.append(None)
            return
        kept = nest.map_structure(_as_result, result)
        part.outputs = [part.inside(t) for t in arrays_to_tensors(kept)]
        results.append(kept)

    part = trace(graph, f"the branch {which}_fn of '{scope[:-1]}'", f"{scope}{which}", body)
    return part, results[-1]


def _as_result(leaf: Any) -> Any:
    if isinstance(leaf, TensorArray):
        return leaf
    if isinstance(leaf, Operation):
        help = "return tensors or nodes, not both; tf.control_dependencies orders them"
        raise quoted(GraphError(f"'tfc.cond': the node '{leaf.name}' is no tensor", help=help), here())
    return convert(leaf)


def _check_branches(parts: Sequence[Subgraph], given: Sequence[Any]) -> None:
    """Refuse branches whose results differ."""
    x, y = given
    try:
        if (x is None) != (y is None):
            raise GraphError("'tfc.cond': one branch gives tensors, the other only nodes")
        nest.check_same(x, y, "'tfc.cond': the results of true_fn and false_fn")
        for k, (a, b) in enumerate(zip(parts[0].outputs, parts[1].outputs, strict=True)):
            m, n = a.shape.ndims, b.shape.ndims
            if a.dtype is not b.dtype or (m is not None and n is not None and m != n):
                raise GraphError(
                    f"'tfc.cond': result {k} of the branches has to have one type, got {a.dtype.name} {a.shape} "
                    f"by true_fn ({_origin(a)}) and {b.dtype.name} {b.shape} by false_fn ({_origin(b)})",
                    help="tf.cast and tf.reshape make them equal" if a.dtype is not b.dtype else "",
                )
    except GraphError as error:
        raise quoted(error, here()) from None


def _origin(t: Tensor) -> str:
    outer = t.op.attrs.get("outer")
    return outer.op.made_at if outer is not None else t.op.made_at


# tf.case


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Structure] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Structure:
    """What the function beside the first true predicate gives.

    Args:
        pred_fn_pairs: pairs of a predicate and a function, in a list or (``exclusive``) a dict.
        default: the function for where no predicate is true; without it that is an error of the run.
        exclusive: more than one true predicate is an error of the run.

    Source: TensorFlow 1's ``tf.case``.
    """
    pairs: list[Any] = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, Mapping) else pred_fn_pairs)
    fits = pairs and all(isinstance(p, tuple | list) and len(p) == 2 and callable(p[1]) for p in pairs)
    if not fits:
        raise quoted(GraphError(f"'tfc.case': expected pairs of a predicate and a function, got {pairs!r}"), here())
    with name_scope(name, None, [p for p, _ in pairs]):
        predicates = [predicate_of(p, "case") for p, _ in pairs]
        checks: list[Operation] = []
        if exclusive:
            count = reduce_sum(cast([*predicates], int32))
            texts = ["More than one condition evaluated as True but exclusive=True.  Conditions: ", *predicates]
            checks.append(Assert(less(count, 2), texts, summarize=len(pairs)))
        chosen = default or _last_with_check(predicates, pairs[-1][1])
        rest = list(zip(predicates, (f for _, f in pairs), strict=True))
        if default is None:
            rest = rest[:-1]
        with get_default_graph().control_dependencies(checks):
            for predicate, function in reversed(rest):
                chosen = _choice(predicate, function, chosen, strict)
            return chosen()


def _last_with_check(predicates: Sequence[Tensor], function: Callable[[], Structure]) -> Callable[[], Structure]:
    """The last function, where its predicate has to hold."""

    def checked() -> Structure:
        texts = ["None of the conditions evaluated as True. Conditions: ", *predicates]
        with get_default_graph().control_dependencies([Assert(predicates[-1], texts, summarize=len(predicates))]):
            result = function()
            return nest.map_structure(_after_here, result)

    return checked


def _after_here(leaf: Any) -> Any:
    from tfc.graph.arrays import group, identity

    if isinstance(leaf, Operation):
        return group(leaf)
    return leaf if isinstance(leaf, TensorArray) else identity(leaf)


def _choice(predicate: Tensor, function: Any, otherwise: Any, strict: bool) -> Callable[[], Structure]:
    return lambda: cond(predicate, function, otherwise, strict)


# tf.while_loop


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Structure],
    loop_vars: Sequence[Structure],
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Structure:
    """The loop variables after ``body`` has been applied to them as long as ``cond`` holds.

    Args:
        cond: a function of the loop variables that gives one truth value.
        body: a function of the loop variables that gives their next values in the same structure.
        loop_vars: their first values: a list or tuple of tensors, arrays and structures of them.
        shape_invariants: shapes that hold in every turn, in the structure of ``loop_vars``, where an
            extent changes: None stands for it.
        parallel_iterations, back_prop, swap_memory: not needed; for TensorFlow's signature.
        maximum_iterations: the most turns that are taken.
        return_same_structure: a single loop variable stays in its list; else it comes as it is.

    Raises:
        GraphError: a condition that is not one truth value; a body that gives other variables, or changes the
            element type or shape of one.

    Source: TensorFlow 1's ``tf.while_loop``.
    """
    for which, function in (("cond", cond), ("body", body)):
        if not callable(function):
            raise quoted(GraphError(f"'tfc.while_loop': expected a function as {which}, got {function!r}"), here())
    if not isinstance(loop_vars, list | tuple) or not nest.flatten(loop_vars):
        help = "while_loop(cond, body, [x, y])"
        got = f"got {loop_vars!r}"
        raise quoted(GraphError(f"'tfc.while_loop': expected a list of loop variables, {got}", help=help), here())
    given = nest.flatten(loop_vars)
    with name_scope(name, "while", [v for v in given if isinstance(v, Tensor)]) as scope:
        first = nest.pack(loop_vars, [v if isinstance(v, TensorArray) else convert(v) for v in given])
        invariants = _invariants(first, shape_invariants)
        if maximum_iterations is None:
            last = _loop(scope, cond, body, first, invariants)
        else:
            bound = convert(maximum_iterations, int32 if not isinstance(maximum_iterations, Tensor) else None)
            counted = (convert(np.zeros((), bound.dtype.numpy)), first)
            _, last = _loop(
                scope,
                lambda i, v: logical_and(less(i, bound), cond(*v)),
                lambda i, v: (i + 1, _as_sequence(body(*v), first)),
                counted,
                [TensorShape([]), *invariants],
            )
        if return_same_structure or len(last) > 1 or nest.is_structure(last[0]):
            return last
        return last[0]


def _as_sequence(result: Any, like: Any) -> Any:
    """What a body gave, in the form of the loop variables: one may come without its list."""
    values: Any = [result] if len(like) == 1 and not _is_list_of_one(result, like[0]) else result
    if hasattr(like, "_fields") or not isinstance(values, list | tuple):
        return values
    return type(like)(values)


def _is_list_of_one(result: Any, like: Any) -> bool:
    return isinstance(result, list | tuple) and len(result) == 1 and nest.shown(result[0]) == nest.shown(like)


def _invariants(first: Any, given: Any) -> list[TensorShape]:
    """The shapes that hold in every turn: what is known of the first values where none are given."""
    leaves = nest.flatten(first)
    if given is None:
        return [TensorShape(None) if isinstance(v, TensorArray) else v.shape for v in leaves]
    shapes = _flat_shapes(given, first)
    for k, (v, shape) in enumerate(zip(leaves, shapes, strict=True)):
        if not isinstance(v, TensorArray) and not _allows(shape, v.shape):
            message = f"'tfc.while_loop': loop variable {k} begins with shape {v.shape}, which its invariant {shape} excludes"
            raise quoted(GraphError(message), here())
    return shapes


def _flat_shapes(given: Any, like: Any) -> list[TensorShape]:
    """Shapes in the structure of the loop variables, where a list may be a structure or a shape."""
    if not nest.is_structure(like):
        return [TensorShape(given)]
    if isinstance(like, dict):
        return [s for k in sorted(like) for s in _flat_shapes(given[k], like[k])]
    if not isinstance(given, list | tuple) or len(given) != len(like):
        message = f"'tfc.while_loop': expected shape_invariants in the structure of the loop variables, got {given!r}"
        raise quoted(GraphError(message), here())
    return [s for g, v in zip(given, like, strict=True) for s in _flat_shapes(g, v)]


def _allows(invariant: TensorShape, shape: TensorShape) -> bool:
    if invariant.dims is None or shape.dims is None:
        return invariant.dims is None
    pairs = zip(invariant.dims, shape.dims, strict=False)
    return len(invariant.dims) == len(shape.dims) and all(i is None or i == s for i, s in pairs)


def _loop(
    scope: str, condition: Any, body: Any, first: Any, invariants: Sequence[TensorShape]
) -> Any:
    """The node of a loop, and its results in the structure of ``first``."""
    graph = get_default_graph()
    inputs = arrays_to_tensors(first)
    label = f"of the loop '{scope[:-1]}'"

    def trace_condition(part: Subgraph) -> None:
        arguments = _arguments(part, inputs, invariants)
        asked = condition(*tensors_to_arrays(first, arguments))
        asked = constant(bool(asked)) if isinstance(asked, bool | np.bool_) else asked
        part.outputs = [part.inside(predicate_of(asked, "while_loop"))]

    def trace_body(part: Subgraph) -> None:
        arguments = _arguments(part, inputs, invariants)
        result = _as_sequence(body(*tensors_to_arrays(first, arguments)), first)
        nest.check_same(first, result, "'tfc.while_loop': the loop variables and what the body gives")
        leaves = zip(nest.flatten(first), nest.flatten(result), strict=True)
        values = [_next(k, *pair) for k, pair in enumerate(leaves)]
        part.outputs = [part.inside(t) for t in arrays_to_tensors(nest.pack(first, values))]
        for k, out in enumerate(part.outputs):
            _check_kept(part, k, out, invariants[k])

    try:
        asked = trace(graph, f"the condition {label}", f"{scope}cond", trace_condition)
        done = trace(graph, f"the body {label}", f"{scope}body", trace_body)
    except GraphError as error:
        raise quoted(error, here()) from None
    _read_before(graph, inputs, [asked, done])
    op = make(
        graph, "While", inputs, scope, asked, done, condition=asked, body=done, invariants=tuple(invariants)
    )
    return tensors_to_arrays(first, op.values())


def _arguments(part: Subgraph, inputs: Sequence[Tensor], invariants: Sequence[TensorShape]) -> list[Tensor]:
    pairs = zip(inputs, invariants, strict=True)
    return [part.argument(_argument_type(part, t, s), t.op.name.rpartition("/")[2]) for t, s in pairs]


def _argument_type(part: Subgraph, t: Tensor, invariant: TensorShape) -> Attribute:
    """The type that holds in every turn, as far as it is known now."""
    type_ = t.value.type
    if not isinstance(type_, TensorType):
        return type_
    if invariant.dims is None:
        return type_ if t.shape.dims is None or _is_array(t) else UnrankedTensorType(element(type_))
    pairs = zip(invariant.dims, shape_of(type_), strict=True)
    dims = [d if i == d else as_dim(i, part.fresh_dim()) for i, d in pairs]
    return tensor_type(dims, element(type_))


def _is_array(t: Tensor) -> bool:
    return t.op.type.startswith("TensorArray")


def _next(k: int, first: Any, result: Any) -> Any:
    if isinstance(first, TensorArray) != isinstance(result, TensorArray):
        kinds = [("an array" if isinstance(v, TensorArray) else "a tensor") for v in (first, result)]
        message = f"'tfc.while_loop': loop variable {k} is {kinds[0]}, the body gives {kinds[1]}"
        raise quoted(GraphError(message), here())
    if isinstance(result, TensorArray):
        return result
    if isinstance(result, Operation) or result is None:
        raise quoted(GraphError(f"'tfc.while_loop': the body gives {result!r} for loop variable {k}"), here())
    return convert(result) if isinstance(result, Tensor) else convert(result, preferred=first.dtype)


def _check_kept(part: Subgraph, k: int, out: Tensor, invariant: TensorShape) -> None:
    """Refuse a variable whose element type changes, or whose shape is known to."""
    given, made = part.arguments[k].value.type, out.value.type
    argument = part.arguments[k]
    if of_element(element(given)) is not of_element(element(made)):
        raise quoted(changed(part, k, given, made), here())
    if not argument.shape.is_compatible_with(out.shape) or not _may_keep(argument.shape, out.shape):
        raise quoted(changed(part, k, given, made), here())


def _may_keep(given: TensorShape, made: TensorShape) -> bool:
    if given.dims is None or made.dims is None:
        return True
    return len(given.dims) == len(made.dims)

