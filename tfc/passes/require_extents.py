"""Write down what has to hold of the named dims for the program to make sense.

    func.func @main(%x : tensor<?xf32, #tfc.dims<["n"]>>, %y : tensor<?xf32, #tfc.dims<["m"]>>)
      tfc.add %x, %y                    ->   attributes {tfc.requires = [["m-n", "..."], ["-m+n", "..."]]}

Shape rules take extents to be equal that only the sizes of a run can tell, and slices to lie
inside. Each such expectation that is not proven becomes an expression of named dims that has to be at
least 0, with the words of the error. The compiled program checks them before it touches
memory (`tfc.codegen.host`).

Runs as soon as shapes are known: what a later pass makes of the operations rests on the same extents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, NoneAttr, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.shape import SliceOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, assumptions, shape_of
from tfc.dims import Dim, at_least, names
from tfc.location import describe

_UNKNOWN = names(UNKNOWN_DIM)

Requirement = tuple[Dim, str]
"""What is at least 0, and the error where it is not."""


@dataclass(frozen=True)
class RequireExtents(ModulePass):
    """Record unproven expectations about named dims in ``tfc.requires``."""

    name = "require-extents"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, FuncOp):
                _record(function)


def _record(function: FuncOp) -> None:
    found: dict[str, str] = {}
    for op in function.walk():
        if isinstance(op, TensorOp) and _is_symbolic(op):
            where = describe(op.location)
            head = f"{where}: '{op.name}'" if where else f"'{op.name}'"
            for extent, text in requirements(op):
                if not at_least(extent, 0) and not names(extent) & _UNKNOWN:
                    found.setdefault(str(extent), f"{head}: {text}")
    pairs = [ArrayAttr([StringAttr(e), StringAttr(m)]) for e, m in found.items()]
    function.attributes.pop("tfc.requires", None)
    if pairs:
        function.attributes["tfc.requires"] = ArrayAttr(pairs)


def _is_symbolic(op: Operation) -> bool:
    return any(
        isinstance(v.type, TensorType) and not isinstance(v.type.encoding, NoneAttr)
        for v in (*op.operands, *op.results)
    )


def requirements(op: TensorOp) -> Iterator[Requirement]:
    """What ``op`` expects of extents, proven or not."""
    if not all(isinstance(o.type, TensorType) for o in op.operands):
        return
    with assumptions() as pairs:
        op.infer()
    for x, y in pairs:
        text = f"expected equal extents, {x} and {y}"
        yield x - y, text
        yield y - x, text
    for result in op.results:
        if isinstance(result.type, TensorType):
            for extent in shape_of(result):
                yield extent, f"expected an extent {extent} of at least 0"
    if isinstance(op, SliceOp):
        strides = op.strides.get_values()
        each = zip(shape_of(op.x), op.starts.data, op.sizes.data, strides, strict=True)
        for extent, start, size, stride in each:
            end = start + (size - 1) * stride + 1
            yield start, f"expected a start {start} of at least 0"
            yield extent - end, f"expected an end {end} of at most {extent}"
