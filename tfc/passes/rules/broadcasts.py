"""Compute on the small tensor, then broadcast.

    add(broadcast(x), broadcast(y))   ->   broadcast(add(x, y))

Every element is computed once instead of once for each copy, and what is computed may then
turn out to be a constant.
"""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import python_scalar, splat_like
from tfc.dialects.tfc.shape import BroadcastOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.passes.elementwise import ELEMENTWISE
from tfc.passes.rewriting import Emitter, Rewritten, producer, rule
from tfc.passes.rules.constants import uniform


def with_operands(op: Operation, operands: list[SSAValue]) -> TensorOp:
    """The same operation on other operands, with the result types that these give."""
    copy = type(op).create(
        operands=operands,
        result_types=op.result_types,
        properties=op.properties,
        attributes=op.attributes,
        location=op.location,
    )
    assert isinstance(copy, TensorOp), "it has the class of op"
    copy.refresh()
    return copy


@rule
def compute_before_broadcast(op: TensorOp, emit: Emitter) -> Rewritten:
    """f(broadcast(x), broadcast(y), constant) -> broadcast(f(x, y, constant)), for elementwise f"""
    if not isinstance(op, ELEMENTWISE):
        return None
    wide = [producer(o, BroadcastOp) for o in op.operands]
    lead = next((b for b in wide if b is not None and uniform(b.result) is None), None)
    if lead is None or not all(_fits(b, o, lead) for b, o in zip(wide, op.operands, strict=True)):
        return None
    small = [_narrow(b, o, lead, emit) for b, o in zip(wide, op.operands, strict=True)]
    return emit(
        BroadcastOp(emit(with_operands(op, small)), lead.shape.data, lead.dims.get_values())
    )


def _fits(broadcast: BroadcastOp | None, operand: SSAValue, lead: BroadcastOp) -> bool:
    if uniform(operand) is not None:
        return True
    return (
        broadcast is not None
        and broadcast.dims == lead.dims
        and broadcast.shape == lead.shape
        and shape_of(broadcast.x) == shape_of(lead.x)
    )


def _narrow(
    broadcast: BroadcastOp | None, operand: SSAValue, lead: BroadcastOp, emit: Emitter
) -> SSAValue:
    if (number := uniform(operand)) is not None:
        return splat_like(emit, lead.x, python_scalar(number), element(operand))
    assert broadcast is not None, "it fits"
    return broadcast.x


RULES = (compute_before_broadcast,)
