"""Matrix units of a GPU, and copies into shared memory that go on beside other work.

    kernel.copy_async 4 of %x[%at] to %tile[%place] if %inside : memref<?xf32>, memref<2560xf32>
    kernel.commit_async
    kernel.wait_async 1                                   all groups but the latest one are there
    kernel.barrier
    %a = kernel.load_matrix %tile[%row] : memref<2560xbf16>, vector<4xi32>
    %s = kernel.mma "bf16" %a, %b, %c : vector<4xi32>, vector<2xi32>, vector<4xf32>

A matrix lies in the registers of a warp, a part with each thread. With ``g = lane / 4`` and ``t = lane % 4`` the
product ``[16, 8]`` has in a thread the elements ``(g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)``. Of operands, a
register holds 32 bits of a row of ``a`` (of a column of ``b``): with ``n`` elements a register, the first one is

    a: (g, n*t), (g+8, n*t), (g, n*(t+4)), (g+8, n*(t+4))        b: (n*t, g), (n*(t+4), g)

which is what `LoadMatrixOp` reads where rows of 16 bytes stand in shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import (
    I64,
    FixedBitwidthType,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    UnitAttr,
    VectorType,
    bf16,
    f16,
    f32,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    base,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.definition import define
from tfc.dialects.kernel.threads import OnThreads

Buffer = base(MemRefType)
Index = base(IndexType)

ASYNC_BYTES = (4, 8, 16)
"""What one asynchronous copy may move."""


@define
class CopyAsyncOp(OnThreads):
    """Begin to copy ``lanes`` neighbours from global to shared memory: 4, 8 or 16 bytes, a multiple of that away
    from the beginning of either buffer.

    Where ``inside`` is false nothing is read, and zeros are written. `CommitAsyncOp` puts the copies since the
    last one into a group. The thread itself sees a group that it has waited for; others, behind a barrier.
    """

    name = "kernel.copy_async"
    source = operand_def(Buffer)
    at = operand_def(Index)
    target = operand_def(Buffer)
    place = operand_def(Index)
    lanes = prop_def(IntegerAttr[I64])
    inside = opt_operand_def(i1)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$lanes `of` $source `[` $at `]` `to` $target `[` $place `]` (`if` $inside^)? attr-dict "
        "`:` type($source) `,` type($target)"
    )

    def __init__(
        self,
        source: SSAValue,
        at: SSAValue,
        target: SSAValue,
        place: SSAValue,
        lanes: int,
        inside: SSAValue | None = None,
    ) -> None:
        super().__init__(
            operands=[source, at, target, place, [inside] if inside is not None else []],
            properties={"lanes": IntegerAttr(lanes, i64)},
        )

    @property
    def bytes_moved(self) -> int:
        """By one thread."""
        assert isinstance(self.source.type, MemRefType), "the verifier excludes others"
        kind: Attribute = self.source.type.element_type
        bits = kind.bitwidth if isinstance(kind, FixedBitwidthType) else 64
        return self.lanes.value.data * max(8, bits) // 8

    def verify_(self) -> None:
        super().verify_()
        if self.bytes_moved not in ASYNC_BYTES:
            raise VerifyException(f"'{self.name}': expected {ASYNC_BYTES} bytes, got {self.bytes_moved}")
        kinds = [t.element_type for t in (self.source.type, self.target.type) if isinstance(t, MemRefType)]
        if kinds[0] != kinds[1]:
            raise VerifyException(f"'{self.name}': expected elements of {kinds[0]}, got {kinds[1]}")


@define
class CommitAsyncOp(OnThreads):
    """The copies that this thread began since the last group become a group, which may be empty."""

    name = "kernel.commit_async"
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@define
class WaitAsyncOp(OnThreads):
    """Wait until at most the latest ``pending`` groups of this thread are under way."""

    name = "kernel.wait_async"
    pending = prop_def(IntegerAttr[I64])
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$pending attr-dict"

    def __init__(self, pending: int) -> None:
        super().__init__(properties={"pending": IntegerAttr(pending, i64)})


@define
class LoadMatrixOp(OnThreads):
    """One, two or four matrices of 8 rows of 16 bytes from shared memory, a register of each in every thread.

    Lane ``8*j + r`` of the warp says where row ``r`` of matrix ``j`` begins, a multiple of 16 bytes. Lane ``l``
    gets the 32 bits ``l % 4`` of row ``l / 4``; where ``transposed`` (of elements of 16 bits), the elements
    ``2*(l % 4)`` and the next one of column ``l / 4``. All threads of the warp reach it, or none.
    """

    name = "kernel.load_matrix"
    buffer = operand_def(Buffer)
    offset = operand_def(Index)
    transposed = opt_prop_def(UnitAttr)
    result = result_def(VectorType)
    traits = traits_def(MemoryReadEffect())
    assembly_format = (
        "$buffer `[` $offset `]` (`transposed` $transposed^)? attr-dict `:` type($buffer) `,` type($result)"
    )

    def __init__(self, buffer: SSAValue, offset: SSAValue, count: int, *, transposed: bool = False) -> None:
        super().__init__(
            operands=[buffer, offset],
            properties={"transposed": UnitAttr() if transposed else None},
            result_types=[VectorType(i32, [count])],
        )

    def verify_(self) -> None:
        super().verify_()
        if self.result.type not in [VectorType(i32, [n]) for n in (1, 2, 4)]:
            raise VerifyException(f"'{self.name}': expected a vector of 1, 2 or 4 i32, got {self.result.type}")


@define
class RoundTf32Op(OnThreads):
    """f32 to the nearest number with 10 bits behind the point (away from zero between two), as 32 bits."""

    name = "kernel.round_tf32"
    value = operand_def()
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue) -> None:
        result = VectorType(i32, value.type.get_shape()) if isinstance(value.type, VectorType) else i32
        super().__init__(operands=[value], result_types=[result])


@define
class PackOp(OnThreads):
    """Neighbours of 16 bits as registers of 32, the first one in the lower half: what operands of `MmaOp` are."""

    name = "kernel.pack"
    value = operand_def(VectorType)
    result = result_def(VectorType)
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue) -> None:
        assert isinstance(value.type, VectorType), "the generator packs vectors"
        (lanes,) = value.type.get_shape()
        super().__init__(operands=[value], result_types=[VectorType(i32, [lanes // 2])])

    def verify_(self) -> None:
        super().verify_()
        lanes = self.value.type.get_shape() if isinstance(self.value.type, VectorType) else ()
        halves = isinstance(self.value.type, VectorType) and self.value.type.element_type in (f16, bf16)
        if not halves or len(lanes) != 1 or self.result.type != VectorType(i32, [lanes[0] // 2]):
            raise VerifyException(f"'{self.name}': expected halves as half as many i32, got {self.value.type}")


@dataclass(frozen=True)
class MatrixUnit:
    """What one `MmaOp` computes: ``[16, depth] x [depth, 8]``.

    Attributes:
        depth: terms of the sum.
        sums: the element type of sums.
        least: the compute capability that has it, times ten.
    """

    depth: int
    sums: Attribute
    least: int


UNITS: Mapping[str, MatrixUnit] = {
    "f16": MatrixUnit(16, f32, 80),
    "bf16": MatrixUnit(16, f32, 80),
    "tf32": MatrixUnit(8, f32, 80),
    "s8": MatrixUnit(32, i32, 80),
    "u8s8": MatrixUnit(32, i32, 80),
}
"""Element types of the operands (``u8s8``: of ``a``, then of ``b``)."""


@define
class MmaOp(OnThreads):
    """``a x b + c`` by a warp: the module's docstring says which thread holds what.

    Products of floats are exact, and sums of them f32, in an order and rounding of the machine's own; integers
    wrap around. All threads of the warp reach it, or none.
    """

    name = "kernel.mma"
    kind = prop_def(StringAttr)
    a = operand_def(VectorType(i32, [4]))
    b = operand_def(VectorType(i32, [2]))
    c = operand_def(VectorType)
    result = result_def(VectorType)
    traits = traits_def(MemoryReadEffect())  # it may not move into a branch
    assembly_format = (
        "$kind $a `,` $b `,` $c attr-dict `:` type($a) `,` type($b) `,` type($c) `->` type($result)"
    )

    def __init__(self, kind: str, a: SSAValue, b: SSAValue, c: SSAValue) -> None:
        super().__init__(operands=[a, b, c], properties={"kind": StringAttr(kind)}, result_types=[c.type])

    def verify_(self) -> None:
        super().verify_()
        unit = UNITS.get(self.kind.data)
        if unit is None:
            raise VerifyException(f"'{self.name}': expected one of {sorted(UNITS)}, got {self.kind.data}")
        wanted = VectorType(unit.sums, [4])
        if self.c.type != wanted or self.result.type != wanted:
            raise VerifyException(f"'{self.name}': expected sums of {wanted}, got {self.c.type}")


__all__ = [
    "ASYNC_BYTES", "UNITS", "CommitAsyncOp", "CopyAsyncOp", "LoadMatrixOp", "MatrixUnit", "MmaOp",
    "PackOp", "RoundTf32Op", "WaitAsyncOp",
]  # fmt: skip
