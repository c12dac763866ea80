"""Buffers of a host program: who owns them, and in which memory they lie."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    IntegerAttr,
    IntegerType,
    MemRefType,
    StringAttr,
    TensorType,
    UnitAttr,
    i64,
)
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_attr_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryAllocEffect, MemoryReadEffect, MemoryWriteEffect, Pure

from tfc.dialects.definition import define
from tfc.dialects.kernel import buffer_type
from tfc.dialects.tfc.types import LiteralAttr, dtype_of, shape_of
from tfc.dims import Dim, parse, product

Buffer = base(MemRefType)

HOST = ""
"""The memory of the host, which has no name in the text; others are called by their device: ``GPU:0``."""


@irdl_attr_definition
class PortAttr(ParametrizedAttribute):
    """An input, output or variable: its name in the user's graph, and its type there."""

    name = "host.port"
    label: StringAttr
    content: TensorType[Attribute]


def port(name: str, type_: Attribute) -> PortAttr:
    """The port ``name`` of a tensor type."""
    assert isinstance(type_, TensorType), "ports are ranked"
    return PortAttr(StringAttr(name), type_)


def kernel_element(element: Attribute) -> Attribute:
    """How kernels type an element: integers are signless."""
    return IntegerType(element.width) if isinstance(element, IntegerType) else element


def tensor_bytes(type_: Attribute) -> Dim:
    """The size of a tensor's buffer. ``i1`` takes one byte."""
    assert isinstance(type_, TensorType), "buffers hold ranked tensors"
    return product(shape_of(type_)) * dtype_of(type_.element_type).itemsize


def buffer_of(type_: Attribute) -> MemRefType[Attribute]:
    """The buffer type of a tensor type."""
    assert isinstance(type_, TensorType), "buffers hold ranked tensors"
    size = product(shape_of(type_))
    return buffer_type(kernel_element(type_.element_type), size if isinstance(size, int) else None)


class PlacedOp(IRDLOperation):
    """A buffer in the memory of ``device``; where that is left out, in the host's."""

    device = opt_prop_def(StringAttr)

    @property
    def memory(self) -> str:
        return HOST if self.device is None else self.device.data


def _device(memory: str) -> StringAttr | None:
    return StringAttr(memory) if memory != HOST else None


class PortOp(PlacedOp):
    """A buffer that the caller or the handle owns, by its position among the ports."""

    index = prop_def(IntegerAttr.constr(i64))
    result = result_def(Buffer)
    traits = traits_def(Pure())
    assembly_format = "$index (`on` $device^)? attr-dict `:` type($result)"

    def __init__(self, index: int, result: Attribute, memory: str = HOST) -> None:
        properties = {"index": IntegerAttr(index, i64), "device": _device(memory)}
        super().__init__(properties=properties, result_types=[result])

    @property
    def position(self) -> int:
        return self.index.value.data


@define
class InputOp(PortOp):
    """The caller's input: only read. On a device, the caller gives it there, or the model copies it there first."""

    name = "host.input"


@define
class OutputOp(PortOp):
    """The caller's output: undefined at first, overlaps nothing else. On a device as an input is."""

    name = "host.output"


@define
class VariableOp(PortOp):
    """The storage of a variable: what a run leaves there, the next one finds."""

    name = "host.variable"


@define
class ConstantOp(PlacedOp):
    """A constant at ``offset`` of the model's weights: only read.

    On a device it is a copy of these bytes, which is made once; constants of one device lie in its memory in
    the order of their offsets (`device_weights`).
    """

    name = "host.constant"
    value = prop_def(LiteralAttr)
    offset = prop_def(IntegerAttr.constr(i64))
    result = result_def(Buffer)
    traits = traits_def(Pure())
    assembly_format = "$value (`on` $device^)? `at` $offset attr-dict `:` type($result)"

    def __init__(self, value: LiteralAttr, offset: int, result: Attribute, memory: str = HOST) -> None:
        properties = {"value": value, "offset": IntegerAttr(offset, i64), "device": _device(memory)}
        super().__init__(properties=properties, result_types=[result])


@define
class BufferOp(PlacedOp):
    """``bytes`` of scratch memory, undefined at first; ``offset`` is its place in the arena of its memory."""

    name = "host.buffer"
    bytes = prop_def(StringAttr)
    offset = opt_prop_def(StringAttr)
    result = result_def(Buffer)
    traits = traits_def(MemoryAllocEffect())
    assembly_format = "$bytes (`on` $device^)? (`at` $offset^)? attr-dict `:` type($result)"

    def __init__(self, size: Dim, result: Attribute, offset: Dim | None = None, memory: str = HOST) -> None:
        place = None if offset is None else StringAttr(str(offset))
        properties = {"bytes": StringAttr(str(size)), "offset": place, "device": _device(memory)}
        super().__init__(properties=properties, result_types=[result])

    @property
    def size(self) -> Dim:
        return parse(self.bytes.data)


@define
class ViewOp(IRDLOperation):
    """The bytes of ``source`` from ``offset`` on, under another type."""

    name = "host.view"
    source = operand_def(Buffer)
    offset = prop_def(StringAttr)
    result = result_def(Buffer)
    traits = traits_def(Pure())
    assembly_format = "$source `at` $offset attr-dict `:` type($source) `->` type($result)"

    def __init__(self, source: SSAValue, result: Attribute, offset: Dim = 0) -> None:
        properties = {"offset": StringAttr(str(offset))}
        super().__init__(operands=[source], properties=properties, result_types=[result])


@define
class RowOp(IRDLOperation):
    """The ``bytes`` bytes of ``source`` from row ``index`` on; no other row is touched through it.

    ``message`` is the error of the run where the index is not in ``[0, extent)``.
    """

    name = "host.row"
    source = operand_def(Buffer)
    index = operand_def(Buffer)
    extent = prop_def(StringAttr)
    bytes = prop_def(StringAttr)
    message = prop_def(StringAttr)
    unsigned = opt_prop_def(UnitAttr)
    result = result_def(Buffer)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$source `at` (`unsigned` $unsigned^)? $index `below` $extent `rows` `of` $bytes `,` $message attr-dict "
        "`:` type($source) `,` type($index) `->` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        index: SSAValue,
        extent: Dim,
        size: Dim,
        message: str,
        result: Attribute,
        unsigned: bool = False,
    ) -> None:
        texts = {"extent": str(extent), "bytes": str(size), "message": message}
        properties: dict[str, Attribute | None] = {k: StringAttr(t) for k, t in texts.items()}
        properties["unsigned"] = UnitAttr() if unsigned else None
        super().__init__(operands=[source, index], properties=properties, result_types=[result])


def memory_of(value: SSAValue) -> str:
    """The memory that a buffer lies in: `HOST`, or the name of a device."""
    op = value.owner
    while isinstance(op, ViewOp | RowOp):
        op = op.source.owner
    return op.memory if isinstance(op, PlacedOp) else HOST
