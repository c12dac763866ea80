"""What the kernel of each fusion has to do: operations, floating-point work, bytes.

    %y = tfc.fusion "contraction"(%x, %w) {...}    ->    Work("contract, add", 2*64*128*100 + ..., ...)

Counted are multiplications and additions of a sum of products, one operation for an element of any
other result that is computed, and one for each element that a reduction reads. What is executed may
be more (padding, a polynomial for an exponential): the roofline is about what was asked for. Bytes
are those of operands and results, each once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from tfc.dialects.host import tensor_bytes
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.elementwise import ElementwiseOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.reduce import ArgReduceOp, ReduceOp
from tfc.dialects.tfc.types import shape_of
from tfc.dims import Dim, product
from tfc.location import describe, nodes_of
from tfc.passes.instrumentation import Instrument

SILENT = ("constant", "broadcast", "reshape")
"""Operations that cost nothing beside others."""


@dataclass(frozen=True)
class Work:
    """What one launch does.

    Attributes:
        operations: names of operations of ``tfc``, each once.
        places: where they come from, in words.
        flops: operations on elements.
        moved: bytes of operands and results.
        nodes: the nodes of the user's graph that they come from.
    """

    operations: tuple[str, ...]
    places: str
    flops: Dim
    moved: Dim
    nodes: tuple[str, ...] = ()


@dataclass
class CountWork(Instrument):
    """Count before fusions become kernels; the order is that of the launches."""

    works: list[Work] = field(default_factory=list[Work])

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        if pass_.name == "lower-to-kernels":
            self.works = [count(op) for op in module.walk() if isinstance(op, FusionOp)]


def count(op: FusionOp) -> Work:
    """The work of one fusion."""
    names = dict.fromkeys(o.name.removeprefix("tfc.") for o in op.inner)
    told = [n for n in names if n not in SILENT] or names
    values = dict.fromkeys([*op.operands, *op.results])
    return Work(
        tuple(told),
        describe(op.location),
        sum(map(flops, op.inner)),
        sum(tensor_bytes(v.type) for v in values),
        tuple(nodes_of(op.location)),
    )


def flops(op: Operation) -> Dim:
    """Operations on elements."""
    if isinstance(op, ContractOp):
        return product([2 * op.terms, *(a.extent for a in op.axes.data if a.role != "panel")])
    if isinstance(op, AttentionOp):
        batch, rows, keys, depth, columns = op.sizes()
        return product([2, *batch, rows, keys, depth + columns])
    if isinstance(op, ReduceOp | ArgReduceOp):
        return product(shape_of(op.operands[0]))
    return product(shape_of(op.results[0])) if isinstance(op, ElementwiseOp) else 0

