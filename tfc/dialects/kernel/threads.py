"""What the threads of a GPU's block say to each other.

    kernel.func @sum(%x: memref<8192xf32>, %y: memref<32xf32>)
        attributes {dims = [], grid = "32", grain = 1 : i64, target = "gpu", block = 256 : i64} {
      kernel.parallel %row to %c32 {
        %t = kernel.thread
        ...                                                     each thread its own elements
        %other = kernel.shuffle "xor" %mine, %c16 : f32         within a warp
        %part = kernel.shared : memref<8xf32>                   between warps
        kernel.store %warp, %part[%w] : f32, memref<8xf32>
        kernel.barrier
        ...
      }
    }

On a GPU an iteration of ``kernel.parallel`` is run by all ``block`` threads of a thread block, and what a
value holds may differ between them; a vector belongs to one thread. What a thread writes to global memory
other threads of the launch must neither read nor write, but for those of its block, behind a barrier.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IndexType, MemRefType, StringAttr, i1, i32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.definition import define
from tfc.dialects.kernel.function import FuncOp

Index = base(IndexType)


class OnThreads(IRDLOperation):
    """An operation that only the threads of a GPU have."""

    def verify_(self) -> None:
        around = self.parent_op()
        while around is not None and not isinstance(around, FuncOp):
            around = around.parent_op()
        if around is not None and around.target.data != "gpu":
            raise VerifyException(f"'{self.name}': expected a kernel for gpu, got one for {around.target.data}")


@define
class ThreadOp(OnThreads):
    """The number of this thread in its block: ``0 <= t < block``. Threads ``32*w`` to ``32*w + 31`` are warp ``w``."""

    name = "kernel.thread"
    result = result_def(Index)
    traits = traits_def(Pure())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__(result_types=[IndexType()])


@define
class SharedOp(OnThreads):
    """A buffer of static size that the threads of a block share; undefined at first.

    It begins at a multiple of ``SHARED_ALIGNMENT`` bytes. Iterations of ``kernel.parallel`` that one block runs
    after each other have the same memory: where one reads it at its end and the next writes it at its
    beginning, a barrier has to stand between.
    """

    name = "kernel.shared"
    result = result_def(base(MemRefType))
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, size: int, element: Attribute) -> None:
        super().__init__(result_types=[MemRefType(element, [size])])

    def verify_(self) -> None:
        super().verify_()
        shape = self.result.type.get_shape()
        if len(shape) != 1 or shape[0] < 0:
            raise VerifyException(f"'{self.name}': expected a flat buffer of static size, got {self.result.type}")


@define
class BarrierOp(OnThreads):
    """No thread of the block goes on before all have come here, and see what the others wrote before.

    All threads of the block reach it, or none: it stands in no branch or loop on which they differ.
    """

    name = "kernel.barrier"
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


SHUFFLES = ("xor", "down", "up", "index")
"""From which lane of the warp, of lane ``i``: ``i ^ lane``, ``i + lane``, ``i - lane``, ``lane``."""


@define
class ShuffleOp(OnThreads):
    """The ``value`` of another thread of the warp; a thread's own where there is no such lane.

    All threads of the warp reach it, or none.
    """

    name = "kernel.shuffle"
    kind = prop_def(StringAttr)
    value = operand_def()
    lane = operand_def(Index)
    result = result_def()
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())  # it may not move into a branch
    assembly_format = "$kind $value `,` $lane attr-dict `:` type($value) `->` type($result)"

    def __init__(self, kind: str, value: SSAValue, lane: SSAValue | Operation) -> None:
        super().__init__(
            operands=[value, lane], properties={"kind": StringAttr(kind)}, result_types=[value.type]
        )

    def verify_(self) -> None:
        super().verify_()
        if self.kind.data not in SHUFFLES:
            raise VerifyException(f"'{self.name}': expected one of {SHUFFLES}, got {self.kind.data}")
        if self.result.type != self.value.type:
            raise VerifyException(f"'{self.name}': expected {self.value.type}, got {self.result.type}")


@define
class BallotOp(OnThreads):
    """Of each thread of the warp whether its condition holds: bit ``i`` is that of lane ``i``.

    All threads of the warp reach it, or none.
    """

    name = "kernel.ballot"
    holds = operand_def(i1)
    result = result_def(i32)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())  # it may not move into a branch
    assembly_format = "$holds attr-dict"

    def __init__(self, holds: SSAValue | Operation) -> None:
        super().__init__(operands=[holds], result_types=[i32])
