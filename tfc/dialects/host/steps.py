"""What a host program does with buffers: launches, copies, branches and loops."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr, SymbolRefAttr
from xdsl.ir import Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    operand_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, NoTerminator, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.definition import define
from tfc.dialects.host.buffers import HOST, Buffer, BufferOp, memory_of
from tfc.dims import Dim, parse


@define
class LaunchOp(IRDLOperation):
    """Run a kernel; its arguments are the buffers it reads, then those it writes.

    The dims, the grid and the grain are those of the ``kernel.func``.
    """

    name = "host.launch"
    kernel = prop_def(SymbolRefAttr)
    reads = var_operand_def(Buffer)
    writes = var_operand_def(Buffer)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$kernel `reads` `(` $reads `)` `writes` `(` $writes `)` attr-dict "
        "`:` type($reads) `->` type($writes)"
    )

    def __init__(self, kernel: str, reads: Sequence[SSAValue], writes: Sequence[SSAValue]) -> None:
        super().__init__(operands=[reads, writes], properties={"kernel": SymbolRefAttr(kernel)})

    @property
    def callee(self) -> str:
        return self.kernel.root_reference.data

    @property
    def memory(self) -> str:
        """Where its buffers are: the device it runs on, or `HOST`."""
        return next((memory_of(o) for o in self.operands), HOST)


@define
class CopyOp(IRDLOperation):
    """Copy ``bytes`` bytes, within a memory or from one to another; the two do not overlap."""

    name = "host.copy"
    source = operand_def(Buffer)
    target = operand_def(Buffer)
    bytes = prop_def(StringAttr)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$source `to` $target `,` $bytes attr-dict `:` type($source) `,` type($target)"

    def __init__(self, source: SSAValue, target: SSAValue, size: Dim) -> None:
        properties = {"bytes": StringAttr(str(size))}
        super().__init__(operands=[source, target], properties=properties)

    @property
    def size(self) -> Dim:
        return parse(self.bytes.data)


@define
class SwapOp(IRDLOperation):
    """Let each of two buffers be the bytes that the other one was: no byte is moved.

    (C1) Both are a ``host.buffer``, of one size.
    """

    name = "host.swap"
    x = operand_def(Buffer)
    y = operand_def(Buffer)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$x `,` $y attr-dict `:` type($x) `,` type($y)"

    def __init__(self, x: SSAValue, y: SSAValue) -> None:
        super().__init__(operands=[x, y])

    def verify_(self) -> None:
        sizes = [o.owner.bytes for o in self.operands if isinstance(o.owner, BufferOp)]
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise VerifyException(f"'{self.name}' (C1): expected two buffers of one size, got {sizes}")


@define
class IfOp(IRDLOperation):
    """Run ``then`` where the byte of ``predicate`` is not 0, and ``otherwise`` where it is."""

    name = "host.if"
    predicate = operand_def(Buffer)
    then = region_def("single_block")
    otherwise = region_def("single_block")
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect())
    assembly_format = "$predicate `:` type($predicate) attr-dict-with-keyword $then `else` $otherwise"

    def __init__(self, predicate: SSAValue, then: Region, otherwise: Region) -> None:
        super().__init__(operands=[predicate], regions=[then, otherwise])


@define
class WhileOp(IRDLOperation):
    """Run ``condition``; where the byte of ``predicate`` is not 0 then, run ``body``, and begin again."""

    name = "host.while"
    predicate = operand_def(Buffer)
    condition = region_def("single_block")
    body = region_def("single_block")
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect())
    assembly_format = (
        "$condition `more` $predicate `:` type($predicate) attr-dict-with-keyword `do` $body"
    )

    def __init__(self, predicate: SSAValue, condition: Region, body: Region) -> None:
        super().__init__(operands=[predicate], regions=[condition, body])
