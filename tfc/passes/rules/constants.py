"""Seeing constants, also through data movement.

A tensor all of whose elements have one known value is *uniform*: a splat constant, or data
movement of one (`tfc.broadcast` of a scalar to a shape with named dims has no other form).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, SliceOp, TransposeOp
from tfc.dialects.tfc.types import Array

MOVES = (BroadcastOp, ReshapeOp, TransposeOp, SliceOp)
"""Operations each element of whose result is an element of their operand."""


def constant(value: SSAValue) -> Array | None:
    """The array that ``value`` is, if it is a `tfc.constant`."""
    owner = value.owner
    return owner.value.data.array if isinstance(owner, ConstantOp) else None


def is_constant_like(value: SSAValue) -> bool:
    """Whether ``value`` is a constant, or data movement of one."""
    owner = value.owner
    while isinstance(owner, MOVES):
        owner = owner.operands[0].owner
    return isinstance(owner, ConstantOp)


def uniform(value: SSAValue) -> Any | None:
    """The numpy scalar that every element of ``value`` has, if that is known."""
    owner = value.owner
    while isinstance(owner, MOVES):
        owner = owner.operands[0].owner
    if not isinstance(owner, ConstantOp):
        return None
    literal = owner.value.data
    if not literal.is_splat or literal.array.size == 0:
        return None
    return literal.array.reshape(-1)[0]


def is_uniform(value: SSAValue, number: float) -> bool:
    """Whether every element of ``value`` is ``number``; 0.0 and -0.0 are told apart."""
    found = uniform(value)
    if found is None:
        return False
    return bool(found == number) and bool(np.signbit(float(found)) == np.signbit(number))
