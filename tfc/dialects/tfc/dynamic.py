"""Shape operations whose amounts are operands: what frontends import where nothing is known.

They have no code of their own. ``simplify-shapes`` replaces each by its static counterpart once
`symbolic.contents` finds the amounts, as numbers or as functions of named dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, result_def

from tfc.dialects.tfc.base import Emit, Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.constant import scalar_constant
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.shape import ReshapeOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, Array, Tensor, element, shape_of, tensor_type
from tfc.dims import Dim
from tfc.errors import require


class DynamicOp(TensorOp):
    """An operation on ``x`` whose further operands are lists of i64."""

    def count(self, value: SSAValue, label: str, expected: int | None = None) -> int:
        """The number of entries of a list operand, which is a constant of its type."""
        shape = shape_of(value)
        known = len(shape) == 1 and isinstance(shape[0], int) and element(value) == i64
        count = shape[0] if known and isinstance(shape[0], int) else -1
        wanted = "a static number" if expected is None else str(expected)
        right = known and expected in (None, count)
        require(right, self, label, f"tensor<n x i64> with {wanted} of entries", value.type)
        return count


@tfc_op
class DynamicReshapeOp(DynamicOp):
    """``tfc.reshape`` to extents that are computed; one may be -1: whatever is left.

    (C1) ``shape`` is a list of i64 of static length.

    Source: ``tf.reshape``.
    """

    name = "tfc.dynamic_reshape"
    x = operand_def(Tensor)
    shape = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x `to` $shape attr-dict `:` type($x) `,` type($shape) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, shape: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(shape)])

    def infer(self) -> Sequence[Attribute]:
        return [tensor_type([UNKNOWN_DIM] * self.count(self.shape, "C1"), element(self.x))]

    def reference(self, *args: Array) -> Array:
        return args[0].reshape([int(d) for d in args[1]])

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(ReshapeOp(g[0], shape_of(self.x))), None]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(4, 6)
        return [Sample(cls, x, np.array(s, np.int64)) for s in ([3, 8], [-1, 2, 3], [-1], [24])]


@tfc_op
class DynamicBroadcastOp(DynamicOp):
    """Both shapes broadcast together, from the right, as numpy does. Source: ONNX ``Expand``.

    (C1) ``shape`` is a list of i64 of static length.
    """

    name = "tfc.dynamic_broadcast"
    x = operand_def(Tensor)
    shape = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x `to` $shape attr-dict `:` type($x) `,` type($shape) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, shape: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(shape)])

    def infer(self) -> Sequence[Attribute]:
        rank = max(self.count(self.shape, "C1"), len(shape_of(self.x)))
        return [tensor_type([UNKNOWN_DIM] * rank, element(self.x))]

    def reference(self, *args: Array) -> Array:
        return np.broadcast_to(args[0], np.broadcast_shapes(args[0].shape, tuple(int(d) for d in args[1])))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(3, 1)
        return [Sample(cls, x, np.array(s, np.int64)) for s in ([3, 4], [2, 1, 6], [1], [2, 3, 1], [])]


@tfc_op
class DynamicSliceOp(DynamicOp):
    """``x[starts:limits:strides]`` in numpy's sense: negative positions count from the end.

    (C1) Each list has one i64 for each dim of ``x``.

    Source: ``tf.strided_slice``, ONNX ``Slice``.
    """

    name = "tfc.dynamic_slice"
    x = operand_def(Tensor)
    starts = operand_def(Tensor)
    limits = operand_def(Tensor)
    strides = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = (
        "$x `from` $starts `to` $limits `by` $strides attr-dict "
        "`:` type($x) `,` type($starts) `,` type($limits) `,` type($strides) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        starts: SSAValue | Operation,
        limits: SSAValue | Operation,
        strides: SSAValue | Operation,
    ) -> None:
        self.construct([SSAValue.get(v) for v in (x, starts, limits, strides)])

    def infer(self) -> Sequence[Attribute]:
        rank = len(shape_of(self.x))
        for value in (self.starts, self.limits, self.strides):
            self.count(value, "C1", rank)
        return [tensor_type([UNKNOWN_DIM] * rank, element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, *lists = args
        parts: list[slice] = []
        for n, start, limit, stride in zip(x.shape, *lists, strict=True):
            start, limit, stride = int(start), int(limit), int(stride)
            # Going down, a limit below -n means "to the first element, inclusive".
            parts.append(slice(start, None if stride < 0 and limit < -n else limit, stride))
        return x[tuple(parts)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(5, 6)
        cases = [([1, 0], [4, 6], [1, 2]), ([-3, 1], [1000, -1], [1, 1]), ([4, 5], [-1000, 1], [-1, -2]),
                 ([3, 0], [3, 6], [1, 1]), ([-1, 0], [0, 2], [-2, 1])]  # fmt: skip
        return [Sample(cls, x, *(np.array(v, np.int64) for v in case)) for case in cases]


@tfc_op
class DynamicPadOp(DynamicOp):
    """``tfc.pad`` by computed amounts; a negative amount cuts off. Source: ``tf.pad``, ONNX ``Pad``.

    (C1) ``low`` and ``high`` have one i64 for each dim of ``x``.
    (C2) ``value`` is one element of the type of ``x``.
    """

    name = "tfc.dynamic_pad"
    x = operand_def(Tensor)
    value = operand_def(Tensor)
    low = operand_def(Tensor)
    high = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = (
        "$x `with` $value `low` $low `high` $high attr-dict "
        "`:` type($x) `,` type($value) `,` type($low) `,` type($high) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        value: SSAValue | Operation,
        low: SSAValue | Operation,
        high: SSAValue | Operation,
    ) -> None:
        self.construct([SSAValue.get(v) for v in (x, value, low, high)])

    def infer(self) -> Sequence[Attribute]:
        rank = len(shape_of(self.x))
        for amount in (self.low, self.high):
            self.count(amount, "C1", rank)
        scalar = shape_of(self.value) == () and element(self.value) == element(self.x)
        require(scalar, self, "C2", f"tensor<{element(self.x)}>", self.value.type)
        unknown: list[Dim] = [UNKNOWN_DIM] * rank
        return [tensor_type(unknown, element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, value, low, high = args
        around = [(max(int(b), 0), max(int(a), 0)) for b, a in zip(low, high, strict=True)]
        padded = np.pad(x, around, constant_values=value.item()) if x.ndim else x
        cut = [slice(max(-int(b), 0), n - max(-int(a), 0)) for n, b, a in zip(padded.shape, low, high, strict=True)]
        return padded[tuple(cut)]

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, zero = Formula(emit), emit(scalar_constant(0, element(self.x)))
        low, high = (f.neg(v) for v in (self.low, self.high))
        inner = emit(ReshapeOp(emit(DynamicPadOp(g[0], zero, low, high)), shape_of(self.x)))
        axes = list(range(len(shape_of(self.x))))
        return [inner, f.sub(f.reduce("sum", g[0], axes), f.reduce("sum", inner, axes)), None, None]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, v = float_range(3, 4), np.array(0.5, np.float32)
        cases = [([1, 0], [0, 2]), ([0, -1], [1, -2]), ([0, 0], [0, 0])]
        return [Sample(cls, x, v, *(np.array(a, np.int64) for a in case)) for case in cases]
