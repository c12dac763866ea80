"""Which operations share one kernel.

    %y = tfc.fusion "nest"(%x, %b) : (tensor<8x100xf32>, tensor<100xf32>) -> tensor<8x100xf32> {
    ^bb0(%x1 : tensor<8x100xf32>, %b1 : tensor<100xf32>):
      %c = tfc.broadcast %b1 ...
      %s = tfc.add %x1, %c ...
      tfc.yield %s : tensor<8x100xf32>
    }

``kind`` names the generator: ``nest`` (one loop nest, elements computed on demand),
``contraction`` (one ``tfc.contract`` and elementwise operations on its result), ``scatter`` (one
``tfc.segment_sum``), ``running`` (one ``tfc.cumulative``), ``merge`` (one ``tfc.merge_runs``), ``radix`` (one
``tfc.radix_pass``) or ``attention`` (one ``tfc.attention``).
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_op_definition,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure

from tfc.dialects.tfc.types import ControlType, Tensor
from tfc.errors import require


@irdl_op_definition
class YieldOp(IRDLOperation):
    """The results of a region: tensors, and in branches and loops also tokens."""

    name = "tfc.yield"
    values = var_operand_def(Tensor | base(ControlType))
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "$values attr-dict `:` type($values)"

    def __init__(self, values: Sequence[SSAValue]) -> None:
        super().__init__(operands=[values])


@irdl_op_definition
class FusionOp(IRDLOperation):
    """Operations that become one kernel.

    (C1) The region's arguments have the types of the operands, its yield those of the results.
    """

    name = "tfc.fusion"
    kind = prop_def(StringAttr)
    inputs = var_operand_def(Tensor)
    outputs = var_result_def(Tensor)
    body = region_def("single_block")
    traits = traits_def(Pure(), IsolatedFromAbove())
    assembly_format = "$kind `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs) $body"

    def __init__(self, kind: str, inputs: Sequence[SSAValue], results: Sequence[Attribute], body: Region):
        super().__init__(
            operands=[inputs],
            result_types=[results],
            properties={"kind": StringAttr(kind)},
            regions=[body],
        )

    @property
    def block(self) -> Block:
        return self.body.block

    @property
    def results_inside(self) -> Sequence[SSAValue]:
        """The values that the region yields."""
        last = self.block.last_op
        assert isinstance(last, YieldOp), "the verifier demands a terminator"
        return last.operands

    @property
    def inner(self) -> Sequence[Operation]:
        """The fused operations, without the yield."""
        return [op for op in self.block.ops if not isinstance(op, YieldOp)]

    def verify_(self) -> None:
        arguments = [a.type for a in self.block.args]
        operands = [o.type for o in self.operands]
        require(arguments == operands, self, "C1", f"region arguments {operands}", arguments)
        require(isinstance(self.block.last_op, YieldOp), self, "C1", "a tfc.yield", self.block.last_op)
        inside, results = [v.type for v in self.results_inside], [r.type for r in self.results]
        require(inside == results, self, "C1", f"a yield of {results}", inside)


FUSION_OPERATIONS: list[type[Operation]] = [FusionOp, YieldOp]
