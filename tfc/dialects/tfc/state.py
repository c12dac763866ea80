"""Variables, and the tokens that order what is done to them.

    %v = tfc.variable "w" : !tfc.resource<tensor<2xf32>>
    %x, %t = tfc.read %v after %s : ...
    %u = tfc.assign set %v, %y after %t : ...

A read or write happens after those whose tokens it takes, and after nothing else: the order of
the text says nothing. A token that nobody takes still happens if the function returns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import StringAttr
from xdsl.dialects.utils.enum_attribute import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    base,
    irdl_attr_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect
from xdsl.utils.str_enum import StrEnum

from tfc.dialects.tfc.base import Emit, Sample, TensorOp, tfc_op
from tfc.dialects.tfc.types import (
    Array,
    ControlType,
    ResourceType,
    Tensor,
    element,
    is_bool,
    is_static,
    shape_of,
)
from tfc.errors import require

INITIAL = "tfc.initial"
"""The attribute of a module that has the initial values of its variables, by name."""

Token = base(ControlType)
Handle = base(ResourceType)


class StateOp(TensorOp):
    """An operation on variables or tokens. An interpreter knows what it does; numpy does not."""

    def result_types_of_operands(self) -> Sequence[Attribute]:
        return self.infer()

    def reference(self, *args: Array) -> Array:
        raise NotImplementedError(f"{self.name} has no meaning without its variables")

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return []


def content_of(handle: SSAValue) -> Attribute:
    """The tensor type of the variable behind a handle."""
    assert isinstance(handle.type, ResourceType), "the declaration excludes this"
    return handle.type.content


@tfc_op
class VariableOp(StateOp):
    """The handle of the variable called ``name``; all handles of one name are one variable.

    (C1) It holds a tensor of static shape.

    Source: ``tf.raw_ops.VarHandleOp``.
    """

    name = "tfc.variable"
    variable = prop_def(StringAttr)
    content = prop_def()
    result = result_def(Handle)
    assembly_format = "$variable `of` $content attr-dict `:` type($result)"

    def __init__(self, name: str, content: Attribute) -> None:
        self.construct([], {"variable": StringAttr(name), "content": content})

    def infer(self) -> Sequence[Attribute]:
        require(is_static(shape_of(self.content)), self, "C1", "a static shape", self.content)
        return [ResourceType(self.content)]


@tfc_op
class ReadOp(StateOp):
    """The value of a variable after ``after``, and the token that it has been read.

    Source: ``tf.raw_ops.ReadVariableOp``.
    """

    name = "tfc.read"
    handle = operand_def(Handle)
    after = var_operand_def(Token)
    value = result_def(Tensor)
    token = result_def(Token)
    traits = traits_def(MemoryReadEffect())
    assembly_format = (
        "$handle (`after` $after^)? attr-dict `:` type($handle) (`,` type($after)^)? "
        "`->` type($value) `,` type($token)"
    )

    def __init__(self, handle: SSAValue | Operation, after: Sequence[SSAValue] = ()) -> None:
        self.construct([SSAValue.get(handle), list(after)], results=2)

    def infer(self) -> Sequence[Attribute]:
        return [content_of(self.handle), ControlType()]


class AssignKind(StrEnum):
    SET = "set"
    ADD = "add"
    SUB = "sub"


@irdl_attr_definition
class AssignKindAttr(EnumAttribute[AssignKind], SpacedOpaqueSyntaxAttribute):
    """What an assignment does to the old value."""

    name = "tfc.assign_kind"


@tfc_op
class AssignOp(StateOp):
    """Put a value into a variable, or add it to or subtract it from what is there.

    (C1) ``value`` has the type of the variable.
    (C2) ``add`` and ``sub`` take numbers.

    Source: ``tf.raw_ops.AssignVariableOp``, ``tf.raw_ops.AssignAddVariableOp``.
    """

    name = "tfc.assign"
    handle = operand_def(Handle)
    value = operand_def(Tensor)
    after = var_operand_def(Token)
    kind = prop_def(AssignKindAttr)
    token = result_def(Token)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$kind $handle `,` $value (`after` $after^)? attr-dict "
        "`:` type($handle) `,` type($value) (`,` type($after)^)? `->` type($token)"
    )

    def __init__(
        self,
        handle: SSAValue | Operation,
        value: SSAValue | Operation,
        after: Sequence[SSAValue] = (),
        kind: str = "set",
    ) -> None:
        properties = {"kind": AssignKindAttr(AssignKind(kind))}
        self.construct([SSAValue.get(handle), SSAValue.get(value), list(after)], properties)

    def infer(self) -> Sequence[Attribute]:
        content = content_of(self.handle)
        require(self.value.type == content, self, "C1", content, self.value.type)
        numbers = self.kind.data == "set" or not is_bool(element(content))
        require(numbers, self, "C2", "elements of numbers", element(content))
        return [ControlType()]


@tfc_op
class GateOp(StateOp):
    """``value``, once the effects of ``after`` have happened. Source: ``tf.control_dependencies``."""

    name = "tfc.gate"
    value = operand_def(Tensor)
    after = var_operand_def(Token)
    result = result_def(Tensor)
    assembly_format = "$value (`after` $after^)? attr-dict `:` type($value) (`,` type($after)^)? `->` type($result)"

    def __init__(self, value: SSAValue | Operation, after: Sequence[SSAValue]) -> None:
        self.construct([SSAValue.get(value), list(after)])

    def infer(self) -> Sequence[Attribute]:
        return [self.value.type]

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [g[0], *(None for _ in self.after)]


@tfc_op
class JoinOp(StateOp):
    """One token for many; for none, one that is there at once. Source: ``tf.group``."""

    name = "tfc.join"
    tokens = var_operand_def(Token)
    token = result_def(Token)
    assembly_format = "($tokens^)? attr-dict (`:` type($tokens)^)? `->` type($token)"

    def __init__(self, tokens: Sequence[SSAValue]) -> None:
        self.construct([list(tokens)])

    def infer(self) -> Sequence[Attribute]:
        return [ControlType()]
