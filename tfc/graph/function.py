"""``tfc.function``: a Python function that becomes a part of the graph, once for each signature.

    @tfc.function
    def step(x):
        v.assign_add(x)                 happens, and before what follows it
        return v * 2

    y = step(a)                         a node Call; step(b) is another call of the same part

Inside, effects happen in the order in which they are written, and a variable that the function changes is
read where it is used. Tensors and arrays are arguments; all other values (numbers, strings, variables) are
part of the signature.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from xdsl.dialects.builtin import UnrankedTensorType
from xdsl.ir import Attribute

from tfc.dialects.tfc.types import tensor_type
from tfc.errors import GraphError
from tfc.graph import nest
from tfc.graph.arrays import placeholder
from tfc.graph.control import make
from tfc.graph.dtypes import DType, as_dtype, float32
from tfc.graph.graph import Graph, get_default_graph
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.shape import TensorShape, as_dim
from tfc.graph.source import describe, here, quoted
from tfc.graph.subgraph import Subgraph, is_snapshot, trace
from tfc.graph.tensor_array import TensorArray, arrays_to_tensors, tensors_to_arrays

NESTING = 64
"""How deep functions may call each other while they are traced."""


@dataclass(frozen=True)
class TensorSpec:
    """Shape and element type of an argument."""

    shape: Any
    dtype: Any = float32
    name: str | None = None


@dataclass
class _Traced:
    """A function for one signature."""

    part: Subgraph
    result: Any = None
    """The structure that the function gave, None where it gave no tensors."""


@dataclass
class _Active:
    function: Function
    key: Any
    place: Any


_active: list[_Active] = []


class Function:
    """What `function` gives: called like the Python function, it makes a node Call."""

    def __init__(self, python: Callable[..., Any], signature: Sequence[TensorSpec] | None, name: str | None) -> None:
        self.python, self.name = python, name or _scope_name(getattr(python, "__name__", "function"))
        self.signature = None if signature is None else list(signature)
        self._parameters = inspect.signature(python)
        self._traced: WeakKeyDictionary[Graph, dict[Any, _Traced]] = WeakKeyDictionary()
        functools.update_wrapper(self, python)

    @property
    def traces(self) -> int:
        """For how many signatures the function has been traced."""
        return sum(map(len, self._traced.values()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._bound(args, kwargs)
        leaves = nest.flatten(bound)
        with name_scope(self.name, None, [v for v in leaves if isinstance(v, Tensor)]) as scope:
            graph = get_default_graph()
            given = [convert(v) if isinstance(v, np.ndarray) else v for v in leaves]
            inputs = arrays_to_tensors([v for v in given if _is_argument(v)])
            traced = self._trace(graph, nest.pack(bound, given))
            calls = [_now(graph, t) for t in traced.part.captured]
            op = make(graph, "Call", inputs, scope, traced.part, captures=calls, function=traced.part)
            return op if traced.result is None else _unfolded(traced.result, op.values())

    def compile_arguments(self) -> tuple[list[Any], list[Tensor]]:
        """What `tfc.compile` needs: the results on placeholders for the declared arguments, and those.

        Raises:
            GraphError: the function was made without an input signature.
        """
        if self.signature is None:
            help = "@tfc.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])"
            raise quoted(GraphError(f"the function '{self.name}' has no input signature", help=help), here())
        names = list(self._parameters.parameters)
        inputs = [
            placeholder(spec.dtype, spec.shape, name=spec.name or n) for spec, n in zip(self.signature, names, strict=False)
        ]
        result = self(*inputs)
        return [t for t in nest.flatten(result) if t is not None], inputs

    def _bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            bound = self._parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise quoted(GraphError(f"the function '{self.name}': {error}"), here()) from None
        bound.apply_defaults()
        if self.signature is None:
            return {"args": bound.args, "kwargs": bound.kwargs}
        if len(bound.args) != len(self.signature) or bound.kwargs:
            message = f"the function '{self.name}': expected {len(self.signature)} arguments, got {len(args)}"
            raise quoted(GraphError(message), here())
        pairs = zip(bound.args, self.signature, strict=True)
        return {"args": tuple(self._fitted(k, *pair) for k, pair in enumerate(pairs)), "kwargs": {}}

    def _fitted(self, k: int, value: Any, spec: TensorSpec) -> Tensor:
        t = convert(value, as_dtype(spec.dtype))
        if not t.shape.is_compatible_with(TensorShape(spec.shape)):
            message = f"argument {k} of the function '{self.name}': expected shape {TensorShape(spec.shape)}, got {t.shape}"
            raise quoted(GraphError(message), here())
        return t

    def _trace(self, graph: Graph, bound: dict[str, Any]) -> _Traced:
        """The part for the signature of these arguments; traced now if it has not been."""
        leaves = nest.flatten(bound)
        key = nest.shown(bound), tuple(_key(v) for v in leaves)
        known = self._traced.setdefault(graph, {})
        if key not in known:
            self._refuse_recursion(graph, key)
            _active.append(_Active(self, key, here()))
            try:
                known[key] = self._traced_now(graph, bound, leaves)
            finally:
                _active.pop()
        return known[key]

    def _traced_now(self, graph: Graph, bound: dict[str, Any], leaves: Sequence[Any]) -> _Traced:
        results: list[Any] = []

        def body(part: Subgraph) -> None:
            given = iter(self._argument_types(part, leaves))
            args = [_as_argument(part, v, given) if _is_argument(v) else v for v in leaves]
            packed = nest.pack(bound, args)
            result = self.python(*packed["args"], **packed["kwargs"])
            if isinstance(result, Operation):
                part.targets.append(result)
                result = None
            kept = None if result is None else nest.map_structure(_as_result, result)
            leaves_made = [v for v in nest.flatten(kept) if v is not None]
            part.outputs = [part.inside(t) for t in arrays_to_tensors(leaves_made)]
            results.append(kept)

        scope = f"{graph.get_name_scope()}/body".lstrip("/")
        part = trace(graph, f"the function '{self.name}'", scope, body, ordered=True)
        return _Traced(part, results[-1])

    def _argument_types(self, part: Graph, leaves: Sequence[Any]) -> list[tuple[Attribute, str]]:
        names = list(self._parameters.parameters)
        found: list[tuple[Attribute, str]] = []
        for k, v in enumerate(v for v in leaves if _is_argument(v)):
            t = v.flow if isinstance(v, TensorArray) else v
            shape, kind = t.shape, t.dtype.element
            if self.signature is not None:
                shape = TensorShape(self.signature[k].shape)
            dims = None if shape.dims is None else TensorShape(_key_of(shape)).dims
            type_ = UnrankedTensorType(kind) if dims is None else (
                tensor_type([as_dim(d, part.fresh_dim()) for d in dims], kind)
            )
            found.append((type_, names[k] if k < len(names) else f"argument_{k}"))
        return found

    def _refuse_recursion(self, graph: Graph, key: Any) -> None:
        around = [a for a in _active if a.function is self]
        if any(a.key == key for a in around) or len(_active) >= NESTING:
            first = around[0] if around else _active[0]
            code = getattr(self.python, "__code__", None)
            made = f" (defined at {code.co_filename}:{code.co_firstlineno})" if code else ""
            message = (
                f"the function '{self.name}'{made} calls itself, which never ends: "
                f"first called at {describe(first.place)}, again here"
            )
            raise quoted(GraphError(message, help="tf.while_loop and tf.scan repeat"), here())

    def __repr__(self) -> str:
        return f"<tfc.function '{self.name}'>"


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Sequence[TensorSpec] | None = None,
    name: str | None = None,
    **_others: Any,
) -> Any:
    """Make a Python function a part of the graph, traced once for each signature.

    Args:
        func: the function; left out where this is used as ``@tfc.function(...)``.
        input_signature: shapes and element types of the arguments: then there is one signature, and
            `tfc.compile` takes the function.

    Source: TensorFlow's ``tf.function``.
    """
    if func is None:
        return lambda python: Function(python, input_signature, name)
    return Function(func, input_signature, name)


def _scope_name(name: str) -> str:
    """The name of a Python function as one of a scope: that of a lambda is none."""
    return re.sub(r"[^A-Za-z0-9_.]", "", name).lstrip("_") or "function"


def _is_argument(value: Any) -> bool:
    return isinstance(value, Tensor | TensorArray)


def _as_argument(part: Subgraph, value: Any, types: Any) -> Any:
    made = part.argument(*next(types))
    return TensorArray(value.dtype, flow=made) if isinstance(value, TensorArray) else made


def _as_result(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, TensorArray):
        return leaf
    if isinstance(leaf, Operation):
        raise quoted(GraphError(f"a function gives tensors or one node, not the node '{leaf.name}' among them"), here())
    return convert(leaf)


def _unfolded(result: Any, outputs: Sequence[Tensor]) -> Any:
    """The structure of results with None where the function gave None."""
    rest = iter(outputs)
    leaves = [None if leaf is None else next(rest) for leaf in nest.flatten(result)]
    kept = [leaf for leaf in nest.flatten(result) if leaf is not None]
    arrays = iter(nest.flatten(tensors_to_arrays(kept, [t for t in leaves if t is not None])))
    return nest.pack(result, [None if leaf is None else next(arrays) for leaf in leaves])


def _now(graph: Graph, t: Tensor) -> Tensor:
    """What the function reads for what it captures: of a variable, the value after what is waited for here."""
    if is_snapshot(t) and (graph.waits or t.op.inputs[0].op in graph.fresh):
        return single("Identity", [t.op.inputs[0]], "read")
    return t


def _key_of(shape: TensorShape) -> list[Any] | None:
    return None if shape.dims is None else [d if isinstance(d, int) else None for d in shape.dims]


def _key(value: Any) -> Any:
    """What of an argument belongs to the signature."""
    if isinstance(value, Tensor | TensorArray):
        dtype: DType = value.dtype
        t = value.flow if isinstance(value, TensorArray) else value
        dims = _key_of(t.shape)
        return type(value).__name__, dtype.name, None if dims is None else tuple(dims)
    try:
        hash(value)
    except TypeError:
        return "object", id(value)
    return type(value).__name__, value
