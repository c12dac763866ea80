"""What all functions of the API share: values become tensors, tensors become inputs of nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfc.dialects.tfc.types import LiteralAttr
from tfc.errors import GraphError
from tfc.graph.dtypes import DType, as_dtype, bool_, float32, float64, int32, int64
from tfc.graph.graph import get_default_graph, graph_of, name_scope
from tfc.graph.node import Operation, Tensor
from tfc.graph.source import here, quoted


def convert(
    value: Any, dtype: Any = None, name: str | None = None, preferred: Any = None
) -> Tensor:
    """``value`` as a tensor: itself, a variable's value, or a new constant.

    Args:
        dtype: the element type it must have; numbers and arrays are converted.
        preferred: the element type of numbers and arrays where ``dtype`` is left out and the
            conversion loses nothing.

    Raises:
        GraphError: a tensor of another element type, or a value that is no tensor.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    to_tensor = getattr(value, "_as_tensor", None)
    found = to_tensor() if to_tensor else value
    if isinstance(found, Tensor):
        if wanted is not None and found.dtype is not wanted:
            message = f"expected a tensor of {wanted.name}, got '{found.name}' of {found.dtype.name}"
            raise quoted(GraphError(message, help=f"tf.cast(x, tf.{wanted.name}) converts it"), here())
        return found
    if isinstance(value, list | tuple) and _holds_tensor(value):
        return _pack(value, wanted, name)
    if wanted is None and preferred is not None:
        try:
            return constant(value, as_dtype(preferred), name=name or "Const")
        except GraphError:
            pass
    return constant(value, wanted, name=name or "Const")


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const") -> Tensor:
    """A tensor known now. Python's numbers are float32 and int32, arrays keep their type.

    Args:
        shape: the shape to give it; a single value fills it.
    """
    array = as_array(value, None if dtype is None else as_dtype(dtype))
    if shape is not None:
        array = _shaped(array, tuple(int(d) for d in shape))
    return single("Const", [], name, value=LiteralAttr.of(array))


def as_array(value: Any, dtype: DType | None = None) -> Any:
    """A number, nested list or array as an array that nobody else will change."""
    if isinstance(value, Tensor | Operation):
        raise quoted(GraphError(f"expected a value, got the tensor {value!r}"), here())
    try:
        array = np.array(value)
    except ValueError as error:
        raise quoted(GraphError(f"{value!r} is no tensor: {error}"), here()) from None
    given = isinstance(value, np.ndarray | np.generic)
    if dtype is not None:
        return _converted(array, dtype, value)
    if array.size == 0 and not given:
        return array.astype(np.float32)
    if not given and array.dtype == np.float64:
        return array.astype(np.float32)
    if not given and array.dtype == np.int64:
        small = array.astype(np.int32)
        return small if np.array_equal(small, array) else array
    return _converted(array, as_dtype(_known(array, value)), value)


def _known(array: Any, value: Any) -> Any:
    if array.dtype.kind in "OUSc":
        text = repr(value)
        shown = text if len(text) < 40 else text[:37] + "..."
        raise quoted(GraphError(f"{shown} is no tensor of numbers"), here())
    return array.dtype


def _converted(array: Any, dtype: DType, value: Any) -> Any:
    if array.dtype == dtype.numpy:
        return array
    kind = _known(array, value).kind
    fits = array.size == 0 or (
        (dtype.is_floating and kind in "iufV")
        or (dtype.is_integer and kind in "iu")
        or (dtype.is_bool and kind == "b")
    )
    if not fits:
        text = repr(value) if np.ndim(value) == 0 else f"an array of {array.dtype}"
        message = f"expected {dtype.name}, got {text} of type '{type(value).__name__}'"
        raise quoted(GraphError(message), here())
    if dtype.is_integer and array.size:
        low, high = int(array.min()), int(array.max())
        if low < dtype.min or high > dtype.max:
            raise quoted(GraphError(f"{low if low < dtype.min else high} does not fit {dtype.name}"), here())
    with np.errstate(over="ignore"):
        return array.astype(dtype.numpy)


def _shaped(array: Any, shape: tuple[int, ...]) -> Any:
    size = int(np.prod(shape))
    if array.size == size:
        return array.reshape(shape)
    if array.size == 0 or array.size > size:
        raise quoted(GraphError(f"{array.size} elements do not fill the shape {list(shape)}"), here())
    if array.size == 1:
        return np.broadcast_to(array.reshape(()), shape)
    flat = np.concatenate([array.reshape(-1), np.repeat(array.reshape(-1)[-1], size - array.size)])
    return flat.reshape(shape)  # as TensorFlow does: the last element repeats


def _holds_tensor(values: Sequence[Any]) -> bool:
    return any(
        isinstance(v, Tensor) or hasattr(v, "_as_tensor")
        or (isinstance(v, list | tuple) and _holds_tensor(v))
        for v in values
    )  # fmt: skip


def _first_tensor(values: Sequence[Any]) -> Any:
    for v in values:
        if isinstance(v, Tensor) or hasattr(v, "_as_tensor"):
            return v
        if isinstance(v, list | tuple) and (found := _first_tensor(v)) is not None:
            return found
    return None


def _pack(values: Sequence[Any], dtype: DType | None, name: str | None) -> Tensor:
    """A list in which tensors stand, as one tensor."""
    first = _first_tensor(values)
    dtype = dtype or first.dtype
    with name_scope(name, "packed", [first]) as scope:
        parts = [convert(v, dtype, name=str(k)) for k, v in enumerate(values)]
        return single("Pack", parts, scope, axis=0)


def convert_pair(x: Any, y: Any, names: tuple[str, str] = ("x", "y")) -> tuple[Tensor, Tensor]:
    """Two values as tensors; a number or array takes the element type of a tensor beside it."""
    if is_tensor(x):
        x = convert(x)
        return x, convert(y, None if is_tensor(y) else x.dtype, names[1])
    if is_tensor(y):
        y = convert(y)
        return convert(x, y.dtype, names[0]), y
    x = convert(x, name=names[0])
    return x, convert(y, x.dtype, names[1])


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is a tensor or variable (also in a list), not a number or array."""
    if isinstance(value, list | tuple):
        return _holds_tensor(value)
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def node(type_: str, inputs: Sequence[Tensor], name: str | None, **attrs: Any) -> Operation:
    """A node in the graph of its inputs, or in the default graph."""
    graph = graph_of(inputs) if inputs else get_default_graph()
    return graph.create(type_, inputs, name, **attrs)


def single(type_: str, inputs: Sequence[Tensor], name: str | None, **attrs: Any) -> Tensor:
    """The one result of a new node."""
    return node(type_, inputs, name, **attrs).values()[0]


def unary(type_: str, doc: str) -> Callable[..., Tensor]:
    """The API function of nodes with one input."""

    def function(x: Any, name: str | None = None) -> Tensor:
        with name_scope(name, type_, [x]) as scope:
            return single(type_, [convert(x, name="x")], scope)

    function.__doc__ = f"{doc} Source: TensorFlow's ``{type_}``."
    return function


def binary(type_: str, doc: str, default_name: str | None = None) -> Callable[..., Tensor]:
    """The API function of nodes with two inputs, which broadcast as numpy's."""

    def function(x: Any, y: Any, name: str | None = None) -> Tensor:
        with name_scope(name, default_name or type_, [x, y]) as scope:
            return single(type_, convert_pair(x, y), scope)

    function.__doc__ = f"{doc} Source: TensorFlow's ``{type_}``."
    return function


__all__ = [
    "as_array", "binary", "bool_", "constant", "convert", "convert_pair", "float32", "float64",
    "int32", "int64", "is_tensor", "name_scope", "node", "single", "unary",
]  # fmt: skip
