"""Loop nests over buffers: what a code generator writes and a target's translator reads.

    kernel.func @relu(%x: memref<?xf32>, %y: memref<?xf32>, %batch: index)
        attributes {dims = ["batch"], grid = "batch", grain = 16 : i64} {
      kernel.parallel %row to %batch {
        %at = arith.muli %row, %c64 : index
        %v = kernel.load %x[%at] : memref<?xf32>, vector<64xf32>
        ...
        kernel.store %r, %y[%at] : vector<64xf32>, memref<?xf32>
      }
    }

* A buffer is flat: a one-dimensional ``memref`` of elements (``?`` where its size is a
  function of named dims), addressed by an offset in elements. ``i1`` takes one byte.
* Values are scalars, vectors ``vector<n x T>`` and register tiles ``vector<r x c x T>``, whose
  rows are vectors (scalars where ``c`` is 1). Arithmetic is ``arith`` and ``math``; loops and
  branches are ``scf.for`` and ``scf.if``; ``arith.*`` and ``math.*`` apply to tiles row by row.
* Integers are signless; the operation says how to read them. Floats are f32 or f64 in
  arithmetic; f16 and bf16 stand only in buffers, loads, stores and the casts
  ``extf`` and ``truncf`` (round to nearest even). What ``arith`` restricts to scalars (comparisons,
  selection, conversions) stands here for both.
* A function has at most one ``kernel.parallel``, at its top: a CPU splits its range over
  threads, a GPU over the grid. What stands before it is done by every thread.
* The arguments are the operand buffers, the result buffers, and one ``index`` for each name
  of ``dims``. Buffers that are written overlap no other argument, but for those that
  ``in_place`` pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    VectorType,
    i1,
    i64,
)
from xdsl.dialects.utils import parse_func_op_like, print_func_op_like
from xdsl.ir import Attribute, Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    IsolatedFromAbove,
    MemoryReadEffect,
    MemoryWriteEffect,
    NoTerminator,
    Pure,
    RecursiveMemoryEffect,
    SymbolOpInterface,
)
from xdsl.utils.exceptions import VerifyException

_SHOWN = ("dims", "grid", "grain", "target", "in_place")

NEVER_POSITIVE = "never_positive"
"""The attribute of a ``math.exp`` whose operand is known to be at most 0, or NaN."""

STREAMING = "streaming"
"""The attribute of a ``kernel.store`` whose lanes nobody reads soon: past the caches, where a machine can.
Its first lane is ``LINE`` bytes (or the lanes themselves) aligned."""

LINE = 64
"""Bytes of a line of the caches."""

Buffer = base(MemRefType)
Index = base(IndexType)


@irdl_op_definition
class FuncOp(IRDLOperation):
    """A kernel: see the module's docstring for its arguments.

    ``grid`` is the extent of its ``kernel.parallel`` as an expression over ``dims`` ("1" where
    it has none), ``grain`` the least number of iterations that are worth a thread.
    """

    name = "kernel.func"
    sym_name = prop_def(SymbolNameConstraint())
    function_type = prop_def(FunctionType)
    dims = prop_def(ArrayAttr[StringAttr])
    grid = prop_def(StringAttr)
    grain = prop_def(IntegerAttr)
    target = prop_def(StringAttr)
    in_place = opt_prop_def(DenseArrayBase)
    """Pairs of an operand's and a result's position among the arguments that may share memory."""
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NoTerminator())

    def __init__(
        self,
        name: str,
        arguments: Sequence[Attribute],
        region: Region,
        *,
        dims: Sequence[str] = (),
        grid: str = "1",
        grain: int = 1,
        target: str = "cpu",
        in_place: Sequence[int] = (),
    ) -> None:
        super().__init__(
            properties={
                "in_place": DenseArrayBase.from_list(i64, list(in_place)) if in_place else None,
                "sym_name": StringAttr(name),
                "function_type": FunctionType.from_lists(list(arguments), []),
                "dims": ArrayAttr([StringAttr(d) for d in dims]),
                "grid": StringAttr(grid),
                "grain": IntegerAttr(grain, i64),
                "target": StringAttr(target),
            },
            regions=[region],
        )

    @classmethod
    def parse(cls, parser: Parser) -> FuncOp:
        name, inputs, _, region, extra, _, _ = parse_func_op_like(
            parser, reserved_attr_names=("sym_name", "function_type")
        )
        data = extra.data if extra else {}
        op = cls(name, inputs, region)
        op.properties.update({k: v for k, v in data.items() if k in _SHOWN})
        return op

    def print(self, printer: Printer) -> None:
        shown = {k: self.properties[k] for k in _SHOWN if k in self.properties}
        print_func_op_like(
            printer,
            self.sym_name,
            self.function_type,
            self.body,
            shown,
            reserved_attr_names=("sym_name", "function_type"),
        )


@irdl_op_definition
class ParallelOp(IRDLOperation):
    """Iterations ``0 <= i < upper`` in any order, on any threads."""

    name = "kernel.parallel"
    upper = operand_def(Index)
    body = region_def("single_block")
    traits = traits_def(RecursiveMemoryEffect(), NoTerminator())

    def __init__(self, upper: SSAValue | Operation, body: Region | None = None) -> None:
        region = body or Region(Block(arg_types=[IndexType()]))
        super().__init__(operands=[upper], regions=[region])

    @classmethod
    def parse(cls, parser: Parser) -> ParallelOp:
        argument = parser.parse_argument(expect_type=False)
        parser.parse_keyword("to")
        upper = parser.resolve_operand(parser.parse_unresolved_operand(), IndexType())
        region = parser.parse_region([argument.resolve(IndexType())])
        return cls(upper, region)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.body.block.args[0])
        printer.print_string(" to ")
        printer.print_ssa_value(self.upper)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
class ScratchOp(IRDLOperation):
    """A small buffer of static size, private to the thread; undefined at first."""

    name = "kernel.scratch"
    result = result_def(Buffer)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, size: int, element: Attribute) -> None:
        super().__init__(result_types=[MemRefType(element, [size])])


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
class LanesOp(IRDLOperation):
    """The vector ``0, 1, 2, ...`` of index."""

    name = "kernel.lanes"
    result = result_def(VectorType[IndexType])
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, lanes: int) -> None:
        super().__init__(result_types=[VectorType(IndexType(), [lanes])])


@irdl_op_definition
class MaskOp(IRDLOperation):
    """Lane ``c`` is true where ``c < valid``."""

    name = "kernel.mask"
    valid = operand_def(Index)
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$valid attr-dict `:` type($result)"

    def __init__(self, valid: SSAValue, lanes: int) -> None:
        super().__init__(operands=[valid], result_types=[VectorType(i1, [lanes])])


@irdl_op_definition
class SplatOp(IRDLOperation):
    """A scalar in every lane (of every row), or a vector as every row of a tile."""

    name = "kernel.splat"
    value = operand_def()
    result = result_def(base(VectorType))
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue, result: Attribute) -> None:
        super().__init__(operands=[value], result_types=[result])


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
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


@irdl_op_definition
class CheckOp(IRDLOperation):
    """Report ``message`` as the error of the run unless ``holds`` (in every lane)."""

    name = "kernel.check"
    holds = operand_def()
    message = prop_def(StringAttr)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$holds `,` $message attr-dict `:` type($holds)"

    def __init__(self, holds: SSAValue, message: str) -> None:
        super().__init__(operands=[holds], properties={"message": StringAttr(message)})


@cache  # the constructor looks into all parts of the type
def buffer_type(element: Attribute, size: int | None) -> MemRefType[Attribute]:
    """A flat buffer of ``size`` elements, of a size known only at run time where None."""
    return MemRefType(element, [DYNAMIC_INDEX if size is None else size])


OPS: list[type[Operation]] = [
    FuncOp, ParallelOp, LoadOp, GatherOp, StoreOp, ScratchOp, AlignedOp, PrefetchOp, LanesOp, MaskOp, SplatOp,
    RowOp, TransposeOp, TileOp, OuterOp, DotBytesOp, CompareOp, SelectOp, CastOp, HalfOp, ReduceLanesOp, CheckOp,
]  # fmt: skip

Kernel = Dialect("kernel", OPS, [])
