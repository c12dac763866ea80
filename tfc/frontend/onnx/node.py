"""One node of the model while it is imported: its operands, its attributes, how to emit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import onnx
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.dialects.tfc.symbolic import contents
from tfc.dialects.tfc.types import UNKNOWN_DIM, Array, Shape, element, is_ranked, shape_of
from tfc.dims import Dim, names
from tfc.errors import ModelFileError
from tfc.frontend.onnx.values import Emitter, constant_array

if TYPE_CHECKING:
    from tfc.frontend.onnx.importer import Scope


@dataclass(frozen=True)
class TensorSequence:
    """A value of ONNX's sequence type: tensors, their number known while importing."""

    items: tuple[SSAValue, ...]
    kind: Attribute


Value: TypeAlias = "SSAValue | TensorSequence"


class Node:
    """What a function of the table gets.

    ``node[0]`` is a required operand, ``node.get(2)`` an optional one; ``node.attr("axis")``
    is an attribute or the default of the model's operator set.
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        version: int,
        attributes: Mapping[str, Any],
        operands: Sequence[Value | None],
        emit: Emitter,
        scope: Scope,
    ) -> None:
        self.proto, self.version, self.attributes = proto, version, attributes
        self.operands, self.emit, self.scope = list(operands), emit, scope

    @property
    def kind(self) -> str:
        """The operator's name."""
        return self.proto.op_type

    def fail(self, message: str, help: str = "") -> NoReturn:
        """Refuse the node; the importer adds its name."""
        raise ModelFileError(f"{self.kind}: {message}", help=help)

    def make(self, op: Operation) -> SSAValue:
        """Emit an operation and give its first result."""
        return self.emit(op)

    def __len__(self) -> int:
        return len(self.operands)

    def get(self, i: int) -> SSAValue | None:
        """Operand ``i``, None where it is left out."""
        value = self.operands[i] if i < len(self.operands) else None
        if isinstance(value, TensorSequence):
            self.fail(f"expected a tensor as input number {i}, got a sequence")
        return value

    def sequence(self, i: int) -> TensorSequence:
        """Operand ``i``, which is a sequence."""
        value = self.operands[i] if i < len(self.operands) else None
        if not isinstance(value, TensorSequence):
            self.fail(f"expected a sequence as input number {i}")
        return value

    def __getitem__(self, i: int) -> SSAValue:
        value = self.get(i)
        if value is None:
            self.fail(f"expected an input number {i}, and it is left out")
        if not is_ranked(value):
            self.fail(f"the rank of input number {i} is not known", "name its shape with --shape")
        return value

    def all(self) -> list[SSAValue]:
        """All operands, none of which may be left out."""
        return [self[i] for i in range(len(self))]

    def wants(self, output: int) -> bool:
        """Whether anything may use this output."""
        return output < len(self.proto.output) and bool(self.proto.output[output])

    def has(self, name: str) -> bool:
        return name in self.attributes

    def attr(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def array_attr(self, name: str) -> Array:
        """A tensor attribute."""
        return self.scope.model.array(self.attributes[name])

    def shape(self, i: int) -> Shape:
        return shape_of(self[i])

    def rank(self, i: int) -> int:
        return len(shape_of(self[i]))

    def element(self, i: int = 0) -> Attribute:
        return element(self[i])

    def axis(self, rank: int, name: str = "axis", *, end: bool = False, default: int = 0) -> int:
        """An attribute that names an axis, counted from 0. ``end``: one past the last is allowed."""
        return self.normal_axis(self.attr(name, default), rank, end=end)

    def normal_axis(self, axis: int, rank: int, *, end: bool = False) -> int:
        if not -rank <= axis < rank + end:
            self.fail(f"expected an axis of a tensor of rank {rank}, got {axis}")
        return axis % rank if axis < 0 else axis

    def axes(self, rank: int, operand: int) -> list[int] | None:
        """Axes from the attribute ``axes`` or, in newer sets, from an operand; None if left out."""
        given = self.attr("axes") if self.has("axes") else None
        if given is None and self.get(operand) is not None:
            given = self.known_ints(operand, "axes")
        if given is None:
            return None
        axes = [self.normal_axis(a, rank) for a in given]
        if len(set(axes)) != len(axes):
            self.fail(f"expected distinct axes, got {list(given)}")
        return axes

    def array(self, i: int) -> Array | None:
        """The elements of operand ``i`` where it is a constant."""
        return constant_array(self.get(i))

    def dims(self, i: int) -> list[Dim] | None:
        """The elements of an integer operand as functions of the named dims, where known."""
        value = self.get(i)
        found = contents(value) if value is not None else None
        if found is None:
            array = self.array(i)
            return None if array is None or array.dtype.kind not in "iu" else _flat(array)
        flat = _flat(found)
        unknown = names(UNKNOWN_DIM)
        return None if any(names(d) & unknown for d in flat) else flat

    def known_ints(self, i: int, what: str) -> list[int]:
        """The elements of an integer operand that has to be constant."""
        found = self.dims(i)
        if found is None or not all(isinstance(d, int) for d in found):
            self.fail(f"{what} (input number {i}) must be constant or follow from static shapes")
        return [d for d in found if isinstance(d, int)]


def _flat(array: Array) -> list[Dim]:
    return [int(d) if not hasattr(d, "terms") else d for d in array.reshape(-1).tolist()]
