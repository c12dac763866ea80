"""What the kernel dialect does with memory: loads, stores, and what the caches are told."""

from __future__ import annotations

from functools import cache

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    IndexType,
    IntegerAttr,
    MemRefType,
    VectorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
    operand_def,
    opt_operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import (
    MemoryReadEffect,
    MemoryWriteEffect,
    Pure,
)

from tfc.dialects.definition import define

STREAMING = "streaming"
"""The attribute of a ``kernel.store`` whose lanes nobody reads soon: past the caches, where a machine can.
Its first lane is ``LINE`` bytes (or the lanes themselves) aligned."""

ALIGNED = "aligned"
"""The attribute of a load or store on a GPU whose lanes lie side by side, the first (of each row) at a multiple of
as many bytes of its buffer as all lanes have, or of ``WIDEST``: they are one access, or a few of ``WIDEST`` bytes."""

WIDEST = 16
"""Bytes of the widest access of a thread of a GPU; every buffer begins there at a multiple of it."""

LINE = 64
"""Bytes of a line of the caches."""

Buffer = base(MemRefType)
Index = base(IndexType)


@define
class LoadOp(IRDLOperation):
    """Elements of ``buffer`` from ``offset`` on, as a scalar, a vector or a tile.

    Lane ``c`` of row ``r`` comes from ``offset + r*row_stride + c*lane_stride`` (the lane stride is
    1 where it is left out). Lanes whose ``mask`` is false are not read and are zero.
    """

    name = "kernel.load"
    buffer = operand_def(Buffer)
    offset = operand_def(Index)
    lane_stride = opt_operand_def(Index)
    row_stride = opt_operand_def(Index)
    mask = opt_operand_def(base(VectorType))
    result = result_def()
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryReadEffect())
    assembly_format = (
        "$buffer `[` $offset `]` (`lanes` $lane_stride^)? (`rows` $row_stride^)? "
        "(`mask` $mask^ `:` type($mask))? attr-dict `:` type($buffer) `,` type($result)"
    )

    def __init__(
        self,
        buffer: SSAValue,
        offset: SSAValue,
        result: Attribute,
        *,
        lane_stride: SSAValue | None = None,
        row_stride: SSAValue | None = None,
        mask: SSAValue | None = None,
    ) -> None:
        super().__init__(operands=[buffer, offset, lane_stride, row_stride, mask], result_types=[result])


@define
class GatherOp(IRDLOperation):
    """Lane ``c`` is element ``offset + offsets[c]`` of the buffer; masked lanes are zero, unread."""

    name = "kernel.gather"
    buffer = operand_def(Buffer)
    offset = operand_def(Index)
    offsets = operand_def(base(VectorType))
    mask = opt_operand_def(base(VectorType))
    result = result_def(base(VectorType))
    traits = traits_def(MemoryReadEffect())
    assembly_format = (
        "$buffer `[` $offset `+` $offsets `]` (`mask` $mask^ `:` type($mask))? attr-dict "
        "`:` type($buffer) `,` type($offsets) `,` type($result)"
    )

    def __init__(
        self,
        buffer: SSAValue,
        offset: SSAValue,
        offsets: SSAValue,
        result: Attribute,
        mask: SSAValue | None = None,
    ) -> None:
        super().__init__(operands=[buffer, offset, offsets, mask], result_types=[result])


@define
class StoreOp(IRDLOperation):
    """The inverse of ``kernel.load``; lanes whose ``mask`` is false are not written."""

    name = "kernel.store"
    value = operand_def()
    buffer = operand_def(Buffer)
    offset = operand_def(Index)
    lane_stride = opt_operand_def(Index)
    row_stride = opt_operand_def(Index)
    mask = opt_operand_def(base(VectorType))
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$value `,` $buffer `[` $offset `]` (`lanes` $lane_stride^)? (`rows` $row_stride^)? "
        "(`mask` $mask^ `:` type($mask))? attr-dict `:` type($value) `,` type($buffer)"
    )

    def __init__(
        self,
        value: SSAValue,
        buffer: SSAValue,
        offset: SSAValue,
        *,
        lane_stride: SSAValue | None = None,
        row_stride: SSAValue | None = None,
        mask: SSAValue | None = None,
    ) -> None:
        super().__init__(operands=[value, buffer, offset, lane_stride, row_stride, mask])


@define
class ScratchOp(IRDLOperation):
    """A small buffer of static size, private to the thread; undefined at first."""

    name = "kernel.scratch"
    result = result_def(Buffer)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, size: int, element: Attribute) -> None:
        super().__init__(result_types=[MemRefType(element, [size])])


@define
class AlignedOp(IRDLOperation):
    """Whether an element of a buffer begins a line of the caches."""

    name = "kernel.aligned"
    buffer = operand_def(Buffer)
    offset = operand_def(Index)
    result = result_def(i1)
    traits = traits_def(Pure())
    assembly_format = "$buffer `[` $offset `]` attr-dict `:` type($buffer)"

    def __init__(self, buffer: SSAValue, offset: SSAValue) -> None:
        super().__init__(operands=[buffer, offset], result_types=[i1])


@define
class PrefetchOp(IRDLOperation):
    """Ask for ``lines`` lines of the caches from an element on, which may lie outside of the buffer."""

    name = "kernel.prefetch"
    buffer = operand_def(Buffer)
    offset = operand_def(Index)
    lines = prop_def(IntegerAttr)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$buffer `[` $offset `]` `,` $lines attr-dict `:` type($buffer)"

    def __init__(self, buffer: SSAValue, offset: SSAValue, lines: int) -> None:
        super().__init__(operands=[buffer, offset], properties={"lines": IntegerAttr(lines, i64)})


@cache  # the constructor looks into all parts of the type
def buffer_type(element: Attribute, size: int | None) -> MemRefType[Attribute]:
    """A flat buffer of ``size`` elements, of a size known only at run time where None."""
    return MemRefType(element, [DYNAMIC_INDEX if size is None else size])
