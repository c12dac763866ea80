"""Operations that compute each element from the same element of their operands.

All operands have one shape; frontends insert `tfc.broadcast`. An operation gives its numpy
function and its scalar form, which serves scalars and vectors alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import auto
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IntegerType, VectorType, f32, i1
from xdsl.dialects.utils.enum_attribute import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import irdl_attr_definition, operand_def, prop_def, result_def
from xdsl.utils.str_enum import StrEnum

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    compatible,
    dtype_of,
    element,
    is_bool,
    is_float,
    is_unsigned,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require

SPECIALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, 3e38], np.float32)
"""What every floating-point operation is tried on."""


class ElementwiseOp(TensorOp):
    """Element ``i`` of the result from element ``i`` of each operand."""

    def infer(self) -> Sequence[Attribute]:
        first = self.operands[0]
        for other in self.operands[1:]:
            x, y = shape_of(first), shape_of(other)
            same = len(x) == len(y) and all(compatible(a, b) for a, b in zip(x, y, strict=True))
            require(same, self, "C1", f"operands of one shape, {first.type}", other.type)
        known = [min(d, key=lambda n: not isinstance(n, int)) for d in zip(*map(shape_of, self.operands), strict=True)]
        return [tensor_type(known, e) for e in self.infer_elements()]

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        return self.scalar(at.emit, *(at.read(k, index) for k in range(len(self.operands))))

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        """The same on scalars or vectors of kernel types; f16 and bf16 arrive as f32."""
        raise NotImplementedError


class UnaryOp(ElementwiseOp):
    """``result = f(x)`` with the type of ``x``."""

    x = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    UFUNC: ClassVar[Any] = None
    SCALAR: ClassVar[Any] = None

    def __init__(self, x: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x)])

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.UFUNC(args[0])).astype(args[0].dtype, copy=False)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return emit(self.SCALAR(args[0]))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [Sample(cls, float_range(3, 5)), Sample(cls, SPECIALS), Sample(cls, float_range(0, 3))]


class BinaryOp(ElementwiseOp):
    """``result = f(x, y)``; operands and result have one type."""

    x = operand_def(Tensor)
    y = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x `,` $y attr-dict `:` type($x) `,` type($y) `->` type($result)"

    UFUNC: ClassVar[Any] = None
    FLOAT: ClassVar[Any] = None
    SIGNED: ClassVar[Any] = None
    UNSIGNED: ClassVar[Any] = None
    COMMUTATIVE: ClassVar[bool] = False

    def __init__(self, x: SSAValue | Operation, y: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(y)])

    def infer(self) -> Sequence[Attribute]:
        x, y = element(self.x), element(self.y)
        require(x == y, self, "C2", f"one element type, {x}", y)
        return super().infer()

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.UFUNC(*args)).astype(args[0].dtype, copy=False)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        kind = element(self.x)
        op = self.FLOAT if is_float(kind) else self.UNSIGNED if is_unsigned(kind) else self.SIGNED
        return emit(op(*args))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, y = (a.ravel() for a in np.meshgrid(SPECIALS, SPECIALS))
        i = np.arange(-7, 8, dtype=np.int32)
        out = [Sample(cls, float_range(3, 5), float_range(3, 5)[::-1].copy()), Sample(cls, x, y)]
        return out + ([Sample(cls, i, i[::-1] * 3 + 1)] if cls.SIGNED else [])


@tfc_op
class AddOp(BinaryOp):
    """Sum. Integers wrap around. Source: ``tf.add``."""

    name = "tfc.add"
    UFUNC: ClassVar = np.add
    FLOAT: ClassVar = arith.AddfOp
    SIGNED: ClassVar = arith.AddiOp
    UNSIGNED: ClassVar = arith.AddiOp
    COMMUTATIVE: ClassVar = True


@tfc_op
class SubOp(BinaryOp):
    """Difference. Integers wrap around. Source: ``tf.subtract``."""

    name = "tfc.sub"
    UFUNC: ClassVar = np.subtract
    FLOAT: ClassVar = arith.SubfOp
    SIGNED: ClassVar = arith.SubiOp
    UNSIGNED: ClassVar = arith.SubiOp


@tfc_op
class MulOp(BinaryOp):
    """Product. Integers wrap around. Source: ``tf.multiply``."""

    name = "tfc.mul"
    UFUNC: ClassVar = np.multiply
    FLOAT: ClassVar = arith.MulfOp
    SIGNED: ClassVar = arith.MuliOp
    UNSIGNED: ClassVar = arith.MuliOp
    COMMUTATIVE: ClassVar = True


@tfc_op
class MaxOp(BinaryOp):
    """Maximum; NaN if either is. Source: ``tf.maximum``."""

    name = "tfc.max"
    UFUNC: ClassVar = np.maximum
    FLOAT: ClassVar = arith.MaximumfOp
    SIGNED: ClassVar = arith.MaxSIOp
    UNSIGNED: ClassVar = arith.MaxUIOp
    COMMUTATIVE: ClassVar = True


@tfc_op
class MinOp(BinaryOp):
    """Minimum; NaN if either is. Source: ``tf.minimum``."""

    name = "tfc.min"
    UFUNC: ClassVar = np.minimum
    FLOAT: ClassVar = arith.MinimumfOp
    SIGNED: ClassVar = arith.MinSIOp
    UNSIGNED: ClassVar = arith.MinUIOp
    COMMUTATIVE: ClassVar = True


@tfc_op
class ExpOp(UnaryOp):
    """Exponential. Source: ``tf.exp``."""

    name = "tfc.exp"
    UFUNC: ClassVar = np.exp
    SCALAR: ClassVar = math.ExpOp
    HEAVY: ClassVar = True


@tfc_op
class TanhOp(UnaryOp):
    """Hyperbolic tangent. Source: ``tf.tanh``."""

    name = "tfc.tanh"
    UFUNC: ClassVar = np.tanh
    SCALAR: ClassVar = math.TanhOp
    HEAVY: ClassVar = True


@tfc_op
class NegOp(UnaryOp):
    """Negation. Source: ``tf.negative``."""

    name = "tfc.neg"
    UFUNC: ClassVar = np.negative

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        if is_float(element(self.x)):
            return emit(arith.NegfOp(args[0]))
        return emit(arith.SubiOp(zero_like(emit, args[0]), args[0]))


def constant_like(emit: Emit, x: SSAValue, value: float | int) -> SSAValue:
    """A constant of the type of ``x``, scalar or vector, in kernel types."""
    from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr

    kind = x.type.element_type if isinstance(x.type, VectorType) else x.type
    if isinstance(x.type, VectorType):
        return emit(arith.ConstantOp(DenseIntOrFPElementsAttr.from_list(x.type, [value])))
    attr = IntegerAttr(int(value), kind) if isinstance(kind, IntegerType) else FloatAttr(value, kind)  # pyright: ignore
    return emit(arith.ConstantOp(attr))


def zero_like(emit: Emit, x: SSAValue) -> SSAValue:
    return constant_like(emit, x, 0)
