"""Which operations compute each element from the same elements of their operands.

They do not care in which order dims lie, and on splats they give splats.
"""

from __future__ import annotations

from tfc.dialects.tfc.activation import ActivationOp, SquaredDifferenceOp
from tfc.dialects.tfc.pointwise import ElementwiseOp

ELEMENTWISE = (ElementwiseOp, ActivationOp, SquaredDifferenceOp)
