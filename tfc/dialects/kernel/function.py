"""Functions of the kernel dialect, and their parallel loop."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FixedBitwidthType,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    i64,
)
from xdsl.dialects.utils import parse_func_op_like, print_func_op_like
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    IsolatedFromAbove,
    NoTerminator,
    RecursiveMemoryEffect,
    SymbolOpInterface,
)
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.definition import define

_SHOWN = ("dims", "grid", "grain", "target", "in_place", "block", "shared")

Index = base(IndexType)

WARP = 32
"""Threads of a GPU that execute together."""

MAX_THREADS = 1024
"""Of a thread block."""

SHARED_ALIGNMENT = 128
"""Bytes of whose multiples a shared buffer begins: all banks once."""

STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a block may have without asking at its launch."""


@define
class FuncOp(IRDLOperation):
    """A kernel: see the module's docstring for its arguments.

    ``grid`` is the extent of its ``kernel.parallel`` as an expression over ``dims`` ("1" where
    it has none), ``grain`` the least number of iterations that are worth a thread. On a GPU, ``block`` is the
    number of threads of a block, and ``shared`` the bytes of shared memory that its launch asks for: all of
    its ``kernel.shared`` where these are more than ``STATIC_SHARED``, else it is left out.
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
    block = opt_prop_def(IntegerAttr)
    shared = opt_prop_def(IntegerAttr)
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
        block: int = 0,
        shared: int = 0,
    ) -> None:
        super().__init__(
            properties={
                "block": IntegerAttr(block, i64) if block else None,
                "shared": IntegerAttr(shared, i64) if shared else None,
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

    def verify_(self) -> None:
        if self.target.data != "gpu":
            if self.block or self.shared:
                raise VerifyException(f"'{self.name}': 'block' and 'shared' are of kernels for gpu")
            return
        threads = self.block.value.data if self.block else 0
        if threads not in range(WARP, MAX_THREADS + 1, WARP):
            raise VerifyException(
                f"'{self.name}': expected whole warps of {WARP} as 'block', {MAX_THREADS} threads at most, got {threads}"
            )
        size = shared_layout(self)[1]
        asked = self.shared.value.data if self.shared else 0
        if asked != (size if size > STATIC_SHARED else 0):
            raise VerifyException(f"'{self.name}': expected 'shared' of {size} where above {STATIC_SHARED}, got {asked}")


def shared_layout(function: FuncOp) -> tuple[dict[Operation, int], int]:
    """Where each ``kernel.shared`` lies in the shared memory of a block, and the bytes of all."""
    places: dict[Operation, int] = {}
    size = 0
    for op in function.walk():
        if op.name == "kernel.shared":
            size = -(-size // SHARED_ALIGNMENT) * SHARED_ALIGNMENT
            places[op] = size
            size += _bytes(op.results[0].type)
    return places, size


def _bytes(buffer: Attribute) -> int:
    assert isinstance(buffer, MemRefType), "the verifier excludes others"
    element: Attribute = buffer.element_type
    bits = element.bitwidth if isinstance(element, FixedBitwidthType) else 64
    return buffer.get_shape()[0] * (max(8, bits) // 8)


@define
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


