"""``tf.linalg``: names that TensorFlow keeps there."""

from __future__ import annotations

from tfc.graph.arrays import matrix_band_part as band_part
from tfc.graph.arrays import matrix_transpose
from tfc.graph.math import einsum, matmul, tensordot
from tfc.graph.nn import l2_normalize

__all__ = ["band_part", "einsum", "l2_normalize", "matmul", "matrix_transpose", "tensordot"]
