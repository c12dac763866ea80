"""Which turns of a loop of unknown length are kept, so that few have to be run again on the way back.

    turn      0  1  2  3  4  5  6  7  8  ...          turns with t zeros at the end of their binary number
    slot     62  0 *2  1 *4  0 *3 ...                 share the slots 2t and 2t + 1 by turns

Of each level ``t`` the last two turns are kept: many of those nearby, few of those far back, 64 in all. On the way
back a turn is run again from the last one before it that is kept; the turns on that way are kept in turn. So
1,000 turns are run again 2.5 times on average, and 10,000 turns 3.5 times, in the memory of 64.

Source: the idea of Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
differentiation", 1992, with slots that follow from the number of a turn alone.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.arithmetic import ShiftRightOp
from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.constant import ConstantOp, scalar_constant, splat_like
from tfc.dialects.tfc.elementwise import AndOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.types import LiteralAttr

LEVELS = 32
"""Numbers of zeros that are told apart: no loop takes ``2**33`` turns."""

SLOTS = 2 * LEVELS
"""How many turns are kept."""


def slot_of(emit: Emit, turn: SSAValue) -> SSAValue:
    """The slot of a turn: one i64 from one i64."""
    f = Formula(emit)
    masks = emit(ConstantOp(LiteralAttr.of(np.array([(2 << k) - 1 for k in range(LEVELS - 1)]))))
    every = f.broadcast(turn, [LEVELS - 1], [])
    zeros = f.reduce("sum", f.cast(f.compare("eq", emit(AndOp(every, masks)), 0), i64), [0])
    one = emit(scalar_constant(1, i64))
    side = emit(AndOp(emit(ShiftRightOp(turn, f.add(zeros, one))), one))
    return f.add(f.add(zeros, zeros), side)


def last_kept(emit: Emit, turns: SSAValue, now: SSAValue) -> SSAValue:
    """The last turn that is kept and not after ``now``; ``turns`` has the turn of each slot, or -1."""
    f = Formula(emit)
    before = f.compare("le", turns, f.broadcast(now, [SLOTS], []))
    return f.reduce("max", f.select(before, turns, splat_like(emit, turns, -1)), [0])
