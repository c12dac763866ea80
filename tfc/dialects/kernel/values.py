"""Values of the kernel dialect: vectors and tiles, comparisons, conversions, sums of products."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    IndexType,
    IntegerAttr,
    StringAttr,
    VectorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import (
    MemoryWriteEffect,
    Pure,
)
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.definition import define

NEVER_POSITIVE = "never_positive"
"""The attribute of a ``math.exp`` whose operand is known to be at most 0, or NaN."""

Index = base(IndexType)


@define
class LanesOp(IRDLOperation):
    """The vector ``0, 1, 2, ...`` of index."""

    name = "kernel.lanes"
    result = result_def(VectorType[IndexType])
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, lanes: int) -> None:
        super().__init__(result_types=[VectorType(IndexType(), [lanes])])


@define
class MaskOp(IRDLOperation):
    """Lane ``c`` is true where ``c < valid``."""

    name = "kernel.mask"
    valid = operand_def(Index)
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$valid attr-dict `:` type($result)"

    def __init__(self, valid: SSAValue, lanes: int) -> None:
        super().__init__(operands=[valid], result_types=[VectorType(i1, [lanes])])


@define
class SplatOp(IRDLOperation):
    """A scalar in every lane (of every row), or a vector as every row of a tile."""

    name = "kernel.splat"
    value = operand_def()
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue, result: Attribute) -> None:
        super().__init__(operands=[value], result_types=[result])


@define
class RowOp(IRDLOperation):
    """Row ``row`` of a tile: a vector, or a scalar where the tile has one column."""

    name = "kernel.row"
    tile = operand_def(base(VectorType))
    row = prop_def(IntegerAttr)
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = "$tile `[` $row `]` attr-dict `:` type($tile) `->` type($result)"

    def __init__(self, tile: SSAValue, row: int) -> None:
        assert isinstance(tile.type, VectorType), "the generator makes tiles"
        _, columns = tile.type.get_shape()
        kind = tile.type.element_type
        result = VectorType(kind, [columns]) if columns > 1 else kind
        super().__init__(
            operands=[tile], properties={"row": IntegerAttr(row, i64)}, result_types=[result]
        )


@define
class TransposeOp(IRDLOperation):
    """Rows become columns: of a square tile whose side is a power of two."""

    name = "kernel.transpose"
    tile = operand_def(base(VectorType))
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$tile attr-dict `:` type($tile) `->` type($result)"

    def __init__(self, tile: SSAValue) -> None:
        super().__init__(operands=[tile], result_types=[tile.type])

    def verify_(self) -> None:
        shape = self.tile.type.get_shape() if isinstance(self.tile.type, VectorType) else ()
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] & (shape[0] - 1) or shape[0] < 2:
            raise VerifyException(f"'{self.name}': expected a tile of 2**n rows and columns, got {self.tile.type}")
        if self.result.type != self.tile.type:
            raise VerifyException(f"'{self.name}': expected {self.tile.type}, got {self.result.type}")


@define
class TileOp(IRDLOperation):
    """A tile from its rows."""

    name = "kernel.tile"
    rows = var_operand_def()
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$rows attr-dict `:` type($rows) `->` type($result)"

    def __init__(self, rows: Sequence[SSAValue]) -> None:
        first = rows[0].type
        columns = first.get_shape()[0] if isinstance(first, VectorType) else 1
        kind = first.element_type if isinstance(first, VectorType) else first
        super().__init__(operands=[rows], result_types=[VectorType(kind, [len(rows), columns])])


@define
class OuterOp(IRDLOperation):
    """``tile[r, c] + column[r] * row[c]``: the step of every contraction.

    Floats: fused or not as the target prefers (``llvm.fmuladd``). Integers wrap around.
    """

    name = "kernel.outer"
    column = operand_def(base(VectorType))
    row = operand_def()
    tile = operand_def(base(VectorType))
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$column `,` $row `,` $tile attr-dict `:` type($column) `,` type($row) `,` type($tile) `->` type($result)"

    def __init__(self, column: SSAValue, row: SSAValue, tile: SSAValue) -> None:
        super().__init__(operands=[column, row, tile], result_types=[tile.type])


COMBINERS: dict[str, str] = {
    "add": "addf/addi",
    "mul": "mulf/muli",
    "max": "maximumf/maxsi",
    "min": "minimumf/minsi",
    "umax": "maxui",
    "umin": "minui",
    "and": "andi",
    "or": "ori",
}
"""What ``kernel.reduce_lanes`` and reductions combine with."""


@define
class ReduceLanesOp(IRDLOperation):
    """One scalar from all lanes, halving the vector: lane ``i`` with lane ``i + n/2``."""

    name = "kernel.reduce_lanes"
    kind = prop_def(StringAttr)
    value = operand_def(base(VectorType))
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = "$kind `,` $value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, kind: str, value: SSAValue) -> None:
        assert isinstance(value.type, VectorType), "the generator reduces vectors"
        super().__init__(
            operands=[value],
            properties={"kind": StringAttr(kind)},
            result_types=[value.type.element_type],
        )

    def verify_(self) -> None:
        if self.kind.data not in COMBINERS:
            raise VerifyException(f"'{self.name}': expected one of {sorted(COMBINERS)}, got {self.kind.data}")


PREDICATES = (
    *("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"),
    *("oeq", "one", "olt", "ole", "ogt", "oge", "ueq", "une", "ord", "uno"),
)
"""LLVM's names of comparisons: of integers, then of floats (ordered, unordered)."""


@define
class DotBytesOp(IRDLOperation):
    """``tile[r, c] + sum over j of column[r, j] * row[4*c + j]``: four bytes a step, exactly.

    The column ``vector<r x 4 x i8>`` holds unsigned numbers, the row ``vector<4*c x i8>`` signed ones,
    the tile ``vector<r x c x i32>`` wraps around.
    """

    name = "kernel.dot_bytes"
    column = operand_def(base(VectorType))
    row = operand_def(base(VectorType))
    tile = operand_def(base(VectorType))
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$column `,` $row `,` $tile attr-dict `:` type($column) `,` type($row) `,` type($tile) `->` type($result)"

    def __init__(self, column: SSAValue, row: SSAValue, tile: SSAValue) -> None:
        super().__init__(operands=[column, row, tile], result_types=[tile.type])


@define
class CompareOp(IRDLOperation):
    """``x predicate y`` in every lane, as ``i1`` (``arith.cmpi`` and ``arith.cmpf`` take scalars only)."""

    name = "kernel.compare"
    predicate = prop_def(StringAttr)
    x = operand_def()
    y = operand_def()
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = "$predicate `,` $x `,` $y attr-dict `:` type($x) `,` type($y) `->` type($result)"

    def __init__(self, predicate: str, x: SSAValue, y: SSAValue) -> None:
        kind = VectorType(i1, x.type.get_shape()) if isinstance(x.type, VectorType) else i1
        super().__init__(
            operands=[x, y], properties={"predicate": StringAttr(predicate)}, result_types=[kind]
        )

    def verify_(self) -> None:
        if self.predicate.data not in PREDICATES:
            raise VerifyException(f"'{self.name}': expected one of {PREDICATES}, got {self.predicate}")


@define
class SelectOp(IRDLOperation):
    """``x`` in lanes where the condition holds, else ``y`` (``arith.select`` takes one condition)."""

    name = "kernel.select"
    condition = operand_def()
    x = operand_def()
    y = operand_def()
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = (
        "$condition `,` $x `,` $y attr-dict "
        "`:` type($condition) `,` type($x) `,` type($y) `->` type($result)"
    )

    def __init__(self, condition: SSAValue, x: SSAValue, y: SSAValue) -> None:
        super().__init__(operands=[condition, x, y], result_types=[x.type])


CASTS = (
    *("extf", "truncf", "extsi", "extui", "trunci", "sitofp", "uitofp", "fptosi", "fptoui"),
    *("index", "bitcast"),
)
"""Conversions as in arith; ``index`` is to or from ``index``, signed; ``truncf`` rounds to even."""


@define
class CastOp(IRDLOperation):
    """Another type for the same value (``arith``'s conversions take scalars only)."""

    name = "kernel.cast"
    kind = prop_def(StringAttr)
    value = operand_def()
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = "$kind `,` $value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, kind: str, value: SSAValue, result: Attribute) -> None:
        super().__init__(
            operands=[value], properties={"kind": StringAttr(kind)}, result_types=[result]
        )

    def verify_(self) -> None:
        if self.kind.data not in CASTS:
            raise VerifyException(f"'{self.name}': expected one of {CASTS}, got {self.kind}")


@define
class HalfOp(IRDLOperation):
    """The lower or the upper half of a vector's lanes; a scalar where there are two."""

    name = "kernel.half"
    upper = prop_def(IntegerAttr)
    value = operand_def(base(VectorType))
    result = result_def()
    traits = traits_def(Pure())
    assembly_format = "$value `[` $upper `]` attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue, upper: bool) -> None:
        assert isinstance(value.type, VectorType), "the generator halves vectors"
        (lanes,), kind = value.type.get_shape(), value.type.element_type
        super().__init__(
            operands=[value],
            properties={"upper": IntegerAttr(int(upper), i64)},
            result_types=[VectorType(kind, [lanes // 2]) if lanes > 2 else kind],
        )


@define
class JoinOp(IRDLOperation):
    """The lanes of two scalars or vectors as one vector: the inverse of the two `HalfOp`."""

    name = "kernel.join"
    low = operand_def()
    high = operand_def()
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$low `,` $high attr-dict `:` type($low) `,` type($high) `->` type($result)"

    def __init__(self, low: SSAValue, high: SSAValue) -> None:
        kind, lanes = low.type, 1
        if isinstance(low.type, VectorType):
            (lanes,), kind = low.type.get_shape(), low.type.element_type
        super().__init__(operands=[low, high], result_types=[VectorType(kind, [2 * lanes])])

    def verify_(self) -> None:
        if self.low.type != self.high.type:
            raise VerifyException(f"'{self.name}': expected two of {self.low.type}, got {self.high.type}")


@define
class CheckOp(IRDLOperation):
    """Report ``message`` as the error of the run unless ``holds`` (in every lane)."""

    name = "kernel.check"
    holds = operand_def()
    message = prop_def(StringAttr)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$holds `,` $message attr-dict `:` type($holds)"

    def __init__(self, holds: SSAValue, message: str) -> None:
        super().__init__(operands=[holds], properties={"message": StringAttr(message)})


