"""What is known of the sign of values, from how they are made.

    never_positive(sub(x, broadcast(reduce max x)))        True: a softmax's argument of ``exp``
    never_positive(neg(abs(x)))                            True: a sigmoid's

NaN may stand anywhere. What comes from outside of a fusion is not looked at.
"""

from __future__ import annotations

from xdsl.ir import BlockArgument, SSAValue

from tfc.dialects.tfc.elementwise import AbsOp, ExpOp, MaxOp, MinOp, MulOp, NegOp, SqrtOp, SubOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp
from tfc.dialects.tfc.types import shape_of


def never_positive(value: SSAValue) -> bool:
    """Whether every element is at most 0, or NaN."""
    if isinstance(value, BlockArgument):
        return False
    match value.owner:
        case NegOp() as op:
            return never_negative(op.x)
        case SubOp() as op:
            return _is_largest_of(op.y, op.x)
        case MinOp() as op:
            return never_positive(op.x) or never_positive(op.y)
        case MaxOp() as op:
            return never_positive(op.x) and never_positive(op.y)
        case _:
            return False


def never_negative(value: SSAValue) -> bool:
    """Whether every element is at least 0, or NaN."""
    if isinstance(value, BlockArgument):
        return False
    match value.owner:
        case AbsOp() | ExpOp() | SqrtOp():
            return True
        case NegOp() as op:
            return never_positive(op.x)
        case MulOp() as op:
            return op.x is op.y or (never_negative(op.x) and never_negative(op.y))
        case MaxOp() as op:
            return never_negative(op.x) or never_negative(op.y)
        case MinOp() as op:
            return never_negative(op.x) and never_negative(op.y)
        case _:
            return False


def _is_largest_of(top: SSAValue, values: SSAValue) -> bool:
    """Whether ``top`` is the maximum of ``values`` along some axes, in their shape again."""
    spread: list[int] | None = None
    while isinstance(owner := top.owner, BroadcastOp | ReshapeOp):
        if isinstance(owner, BroadcastOp):
            if spread is not None:
                return False
            spread = list(owner.dims.get_values())
            source, result = shape_of(owner.operands[0]), shape_of(owner.results[0])
            spread = [d for d, n in zip(spread, source, strict=True) if n != 1 or result[d] == 1]
        top = owner.operands[0]
    if not isinstance(owner, ReduceOp) or str(owner.kind.data) != "max" or owner.x is not values:
        return False
    shape, axes = shape_of(values), owner.axes.get_values()
    kept = [d for d in range(len(shape)) if d not in axes and shape[d] != 1]
    return spread is not None and [d for d in spread if shape[d] != 1] == kept
