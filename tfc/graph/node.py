"""The nodes of a graph and the tensors that flow between them.

    y = x * 2 + 1           makes the nodes mul/y, mul, add/y and add
    y.name, y.op.name       'add:0', 'add'

Tensors and variables share their operators (`Operators`); every operator is the function of
the same meaning in the API, so both ways give the same nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from xdsl.dialects.builtin import LocationAttr, TensorType, UnrankedTensorType
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.types import ResourceType, shape_of, tensor_type
from tfc.errors import GraphError
from tfc.graph.dtypes import DType, of_element
from tfc.graph.emit import element_at
from tfc.graph.shape import TensorShape
from tfc.graph.source import describe, here, quoted

if TYPE_CHECKING:
    from tfc.graph.graph import Graph


class UsageError(GraphError, TypeError):
    """A tensor used where Python wants a value."""


def _misused(message: str, help: str) -> GraphError:
    return quoted(UsageError(message, help=help), here())


class Operation:
    """A node: its kind, inputs, attributes, and where in the user's program it was made."""

    __slots__ = (
        "_outputs",
        "attrs",
        "colocated",
        "control_inputs",
        "device",
        "graph",
        "index",
        "inputs",
        "location",
        "name",
        "type",
    )

    def __init__(
        self,
        graph: Graph,
        type_: str,
        name: str,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any],
        location: LocationAttr,
    ) -> None:
        self.graph, self.type, self.name = graph, type_, name
        self.inputs, self.attrs, self.location = tuple(inputs), attrs, location
        self.control_inputs: tuple[Operation, ...] = ()
        self.device = ""
        """The device asked for, perhaps in part: ``/device:GPU:0``."""
        self.colocated: tuple[str, ...] = ()
        """Names of the nodes that this one must share its device with."""
        self.index = -1
        """The position in the graph; inputs come before."""
        self._outputs: tuple[Tensor, ...] = ()

    @property
    def outputs(self) -> list[Tensor]:
        return list(self._outputs)

    @property
    def node_def(self) -> dict[str, Any]:
        """Name, op, inputs, device and attributes, as TensorFlow's NodeDef lists them."""
        inputs = [t.op.name if t.value_index == 0 else t.name for t in self.inputs]
        inputs += [f"^{c.name}" for c in self.control_inputs]
        return {
            "name": self.name,
            "op": self.type,
            "input": inputs,
            "device": self.device,
            "attr": dict(self.attrs),
        }

    @property
    def made_at(self) -> str:
        """``file:line`` of the call that made the node."""
        return describe(self.location)

    def get_attr(self, name: str) -> Any:
        if name not in self.attrs:
            raise GraphError(f"the operation '{self.name}' has no attribute '{name}'")
        return self.attrs[name]

    def values(self) -> tuple[Tensor, ...]:
        return self._outputs

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run the node in ``session``, or in the default one."""
        from tfc.graph.session import default_session

        default_session(session, self.graph).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"


class Operators:
    """Python's operators on tensors and variables."""

    __slots__ = ()
    __array_priority__ = 100
    __array_ufunc__ = None  # numpy's arrays leave `array * tensor` to the tensor

    def __add__(self, other: Any) -> Tensor:
        return _api("math").operator("AddV2", "add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _api("math").operator("AddV2", "add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _api("math").operator("Sub", "sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _api("math").operator("Sub", "sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _api("math").operator("Mul", "mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _api("math").operator("Mul", "mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _api("math").truediv(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _api("math").truediv(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _api("math").operator("FloorDiv", "floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _api("math").operator("FloorDiv", "floordiv", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _api("math").operator("FloorMod", "mod", self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _api("math").operator("FloorMod", "mod", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _api("math").operator("Pow", "pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _api("math").operator("Pow", "pow", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _api("math").matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _api("math").matmul(other, self)

    def __and__(self, other: Any) -> Tensor:
        return _api("math").bit_operator("And", "and", self, other)

    def __rand__(self, other: Any) -> Tensor:
        return _api("math").bit_operator("And", "and", other, self)

    def __or__(self, other: Any) -> Tensor:
        return _api("math").bit_operator("Or", "or", self, other)

    def __ror__(self, other: Any) -> Tensor:
        return _api("math").bit_operator("Or", "or", other, self)

    def __xor__(self, other: Any) -> Tensor:
        return _api("math").bit_operator("Xor", "xor", self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return _api("math").bit_operator("Xor", "xor", other, self)

    def __invert__(self) -> Tensor:
        return _api("math").invert(self)

    def __neg__(self) -> Tensor:
        return _api("math").negative(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Tensor:
        return _api("math").abs(self)

    def __lt__(self, other: Any) -> Tensor:
        return _api("math").less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return _api("math").less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _api("math").greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _api("math").greater_equal(self, other)

    def __getitem__(self, key: Any) -> Tensor:
        return _api("slicing").index(self, key)

    def __iter__(self) -> NoReturn:
        raise _misused(
            f"{self!r} cannot be iterated: its size is known only when the graph runs",
            "tf.unstack(x) gives the parts along an axis of known size",
        )

    def __len__(self) -> NoReturn:
        raise _misused(
            f"{self!r} has no len(): its size is known only when the graph runs",
            "x.shape[0] is the size where it is known, tf.shape(x)[0] always",
        )

    def __bool__(self) -> NoReturn:
        raise _misused(
            f"{self!r} is no Python bool: its value is known only when the graph runs",
            "tf.where chooses by value; `x is None` and `x is y` compare the objects",
        )

    def __array__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise _misused(
            f"{self!r} is no array: its value is known only when the graph runs",
            "session.run(x) gives the array; use functions of tfc instead of numpy's",
        )


class Tensor(Operators):
    """A result of a node: a value that exists when the graph runs."""

    __slots__ = ("op", "value", "value_index")

    def __init__(self, op: Operation, value_index: int, value: SSAValue) -> None:
        self.op, self.value_index, self.value = op, value_index, value

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.value_index}"

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def dtype(self) -> DType:
        return of_element(element_at(self.value))

    @property
    def type(self) -> Attribute:
        """The tensor type; for a variable's handle, that of its content."""
        type_ = self.value.type
        return type_.content if isinstance(type_, ResourceType) else type_

    @property
    def shape(self) -> TensorShape:
        """What is known of the shape when the graph is built."""
        return TensorShape.of(self.type)

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """State what the shape will be.

        Raises:
            GraphError: it contradicts what is known.
        """
        merged = self.shape.merge_with(shape)
        if merged.dims is None or isinstance(self.value.type, ResourceType):
            return
        old = shape_of(self.type) if isinstance(self.type, TensorType) else (None,) * len(merged.dims)
        dims = [
            new if new is not None else (was if was is not None else self.graph.fresh_dim())
            for new, was in zip(merged.dims, old, strict=True)
        ]
        self.value._type = tensor_type(dims, element_at(self.value))  # pyright: ignore # knows more now

    @property
    def is_handle(self) -> bool:
        """Whether this is a variable itself, not a value of it."""
        return isinstance(self.value.type, ResourceType)

    def consumers(self) -> list[Operation]:
        """The nodes that read the tensor."""
        return [op for op in self.graph.get_operations() if any(t is self for t in op.inputs)]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value, computed by ``session``, or by the default one."""
        from tfc.graph.session import default_session

        return default_session(session, self.graph).run(self, feed_dict)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __str__(self) -> str:
        shape = "" if isinstance(self.type, UnrankedTensorType) else f", shape={self.shape}"
        return f'Tensor("{self.name}"{shape}, dtype={self.dtype.name})'

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


def _api(module: str) -> Any:
    """A module of the API, which itself is built on this one."""
    from importlib import import_module

    return import_module(f"tfc.graph.{module}")
