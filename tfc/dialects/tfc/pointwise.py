"""What elementwise operations share: shapes, special values, and the two large families.

All operands have one shape; frontends insert `tfc.broadcast`. An operation gives its numpy
function and its scalar form, which serves scalars and vectors alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import ml_dtypes
import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    compatible,
    element,
    is_bool,
    is_float,
    is_unsigned,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require

if TYPE_CHECKING:
    from tfc.dialects.tfc.formula import Formula

SPECIALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, 3e38], np.float32)
"""What every floating-point operation is tried on."""

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
"""The dtypes that are computed in f32."""


def widened(x: Array) -> Array:
    """The values in a wider float type, so that a reference is exact but for its last rounding."""
    if x.dtype in HALVES:
        return x.astype(np.float32)
    return x.astype(np.float64) if x.dtype == np.float32 else x


def formula(emit: Emit) -> Formula:
    """Tensor arithmetic, which is made of these operations itself."""
    from tfc.dialects.tfc.formula import Formula

    return Formula(emit)


class ElementwiseOp(TensorOp):
    """Element ``i`` of the result from element ``i`` of each operand."""

    def infer(self) -> Sequence[Attribute]:
        first, *others = self.operands
        if all(o.type is first.type or o.type == first.type for o in others):
            return [first.type if e == element(first) else tensor_type(shape_of(first), e) for e in self.infer_elements()]
        for other in others:
            x, y = shape_of(first), shape_of(other)
            same = len(x) == len(y) and all(compatible(a, b) for a, b in zip(x, y, strict=True))
            if not same:  # printing a type costs more than all the rest
                require(same, self, "C1", f"operands of one shape, {first.type}", other.type)
        shapes = zip(*map(shape_of, self.operands), strict=True)
        known = [min(d, key=lambda n: not isinstance(n, int)) for d in shapes]
        return [tensor_type(known, e) for e in self.infer_elements()]

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        return self.scalar(at.emit, *(at.read(k, index) for k in range(len(self.operands))))

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        """The same on scalars or vectors of kernel types; f16 and bf16 arrive as f32."""
        raise NotImplementedError


class UnaryOp(ElementwiseOp):
    """``result = f(x)`` with the type of ``x``.

    (C2) ``x`` is of floating point, where the function is one of real numbers.
    """

    x = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    UFUNC: ClassVar[Any] = None
    SCALAR: ClassVar[Any] = None
    PULL: ClassVar[Any] = None
    """The gradient of ``x``, in tensor arithmetic: ``PULL(f, g, x, result)``."""
    REAL: ClassVar[bool] = True

    def __init__(self, x: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x)])

    def infer(self) -> Sequence[Attribute]:
        kind = element(self.x)
        require(is_float(kind) or not self.REAL, self, "C2", "elements of floating point", kind)
        return super().infer()

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            wide = widened(args[0])
            return np.asarray(type(self).UFUNC(wide)).astype(args[0].dtype, copy=False)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return emit(self.SCALAR(args[0]))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        if self.PULL is None:
            return super().grad(emit, *g)
        return [type(self).PULL(formula(emit), g[0], self.x, self.result)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        tolerance = 1e-6 if cls.HEAVY else 0.0
        wide = float_range(7, low=-5.0, high=5.0)
        arrays = [float_range(3, 5), SPECIALS, float_range(0, 3), np.array(0.75, np.float32)]
        arrays += [wide.astype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float64)]
        if not cls.REAL:
            arrays += [np.array([-128, -3, 0, 5, 127], np.int8), np.array([0, 7, 2**64 - 1], np.uint64)]
        return [Sample(cls, a, tolerance=tolerance) for a in arrays]


class BinaryOp(ElementwiseOp):
    """``result = f(x, y)``; operands and result have one type.

    (C1) ``x`` and ``y`` have one shape.
    (C2) ``x`` and ``y`` have one element type.
    (C3) It is one that the operation is defined on: numbers, integers, or integers and bool.
    """

    x = operand_def(Tensor)
    y = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x `,` $y attr-dict `:` type($x) `,` type($y) `->` type($result)"

    UFUNC: ClassVar[Any] = None
    FLOAT: ClassVar[Any] = None
    SIGNED: ClassVar[Any] = None
    UNSIGNED: ClassVar[Any] = None
    COMMUTATIVE: ClassVar[bool] = False
    TAKES: ClassVar[str] = "float int"
    """The kinds of elements, of ``float``, ``int``, ``bool``."""

    def __init__(self, x: SSAValue | Operation, y: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(y)])

    def infer(self) -> Sequence[Attribute]:
        x, y = element(self.x), element(self.y)
        if x != y:
            require(False, self, "C2", f"one element type, {x}", y)
        kind = "float" if is_float(x) else "bool" if is_bool(x) else "int"
        require(kind in self.TAKES.split(), self, "C3", f"elements of {self.TAKES}", x)
        return super().infer()

    def reference(self, *args: Array) -> Array:
        x, y = (a.astype(np.float32) if a.dtype in HALVES else a for a in args)
        with np.errstate(all="ignore"):
            return np.asarray(type(self).UFUNC(x, y)).astype(args[0].dtype, copy=False)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        kind = element(self.x)
        signed = not (is_unsigned(kind) or is_bool(kind))
        op = self.FLOAT if is_float(kind) else self.SIGNED if signed else self.UNSIGNED
        return emit(op(*args))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        tolerance = 1e-6 if cls.HEAVY else 0.0
        pairs: list[tuple[Array, Array]] = []
        if "float" in cls.TAKES:
            x, y = (a.ravel() for a in np.meshgrid(SPECIALS, SPECIALS))
            u, v = float_range(3, 5), float_range(3, 5, low=3.0, high=-0.6)
            halves = [(u.astype(t), v.astype(t)) for t in (*HALVES, np.float64)]
            pairs += [(u, v), (x, y), (u[:0], v[:0]), *halves]
        if "int" in cls.TAKES:
            i = np.arange(-7, 8, dtype=np.int32)
            e = np.array([-128, 127, -1, 0, 5, -128], np.int8)
            u = np.array([0, 1, 200, 255, 7], np.uint8)
            pairs += [(i, i[::-1] * 3 + 1), (e, np.array([-1, -1, 0, 0, -2, 127], np.int8)), (u, u[::-1].copy())]
            pairs += [(np.array([2**63 - 1, -5], np.int64), np.array([2, -3], np.int64))]
        if "bool" in cls.TAKES:
            pairs += [(np.array([False, False, True, True]), np.array([False, True, False, True]))]
        return [Sample(cls, *p, tolerance=tolerance) for p in pairs]
