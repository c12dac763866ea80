"""Operations that compute each element from the same element of their operands.

Division, powers and shifts are in `arithmetic.py`; comparisons, selection and conversions
between element types in `select.py`; all of them can be imported from here.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from xdsl.dialects import arith, math
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.arithmetic import (
    DivOp,
    FloordivOp,
    FloormodOp,
    PowOp,
    RemOp,
    ShiftLeftOp,
    ShiftRightOp,
)
from tfc.dialects.tfc.base import Emit, Sample, flat, tfc_op
from tfc.dialects.tfc.pointwise import SPECIALS, BinaryOp, ElementwiseOp, UnaryOp, formula, widened
from tfc.dialects.tfc.scalar import Scalars, constant_like, element_type, zero_like
from tfc.dialects.tfc.select import (
    BitcastOp,
    CastOp,
    CompareOp,
    IsFiniteOp,
    IsInfOp,
    IsNanOp,
    SelectOp,
)
from tfc.dialects.tfc.types import Array, element, is_float, is_unsigned
from tfc.errors import require

if TYPE_CHECKING:
    from tfc.dialects.tfc.formula import Formula

__all__ = [
    "SPECIALS", "AbsOp", "AcosOp", "AcoshOp", "AddOp", "AndOp", "AsinOp", "AsinhOp", "Atan2Op",
    "AtanOp", "AtanhOp", "BinaryOp", "BitcastOp", "CastOp", "CeilOp", "CompareOp", "CosOp", "CoshOp",
    "DivOp", "ElementwiseOp", "ErfOp", "ErfcOp", "ExpOp", "Expm1Op", "FloorOp", "FloordivOp",
    "FloormodOp", "IsFiniteOp", "IsInfOp", "IsNanOp", "Log1pOp", "LogOp", "MaxOp", "MinOp", "MulOp",
    "NegOp", "NotOp", "OrOp", "PowOp", "RemOp", "RoundOp", "RsqrtOp", "SelectOp", "ShiftLeftOp",
    "ShiftRightOp", "SignOp", "SinOp", "SinhOp", "SqrtOp", "SubOp", "TanOp", "TanhOp", "UnaryOp",
    "XorOp", "constant_like", "zero_like",
]  # fmt: skip


def _to_one(emit: Emit, first: SSAValue, g: SSAValue) -> Sequence[SSAValue | None]:
    """``g`` for ``x`` where ``first`` holds, else for ``y``: of equals, ``x`` has it all."""
    f = formula(emit)
    return [f.select(first, g, 0.0), f.select(first, 0.0, g)]


@tfc_op
class AddOp(BinaryOp):
    """Sum. Integers wrap around. Source: ``tf.add``."""

    name = "tfc.add"
    UFUNC: ClassVar = np.add
    FLOAT: ClassVar = arith.AddfOp
    SIGNED: ClassVar = arith.AddiOp
    UNSIGNED: ClassVar = arith.AddiOp
    COMMUTATIVE: ClassVar = True

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [g[0], g[0]]


@tfc_op
class SubOp(BinaryOp):
    """Difference. Integers wrap around. Source: ``tf.subtract``."""

    name = "tfc.sub"
    UFUNC: ClassVar = np.subtract
    FLOAT: ClassVar = arith.SubfOp
    SIGNED: ClassVar = arith.SubiOp
    UNSIGNED: ClassVar = arith.SubiOp

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [g[0], emit(NegOp(g[0]))]


@tfc_op
class MulOp(BinaryOp):
    """Product. Integers wrap around. Source: ``tf.multiply``."""

    name = "tfc.mul"
    UFUNC: ClassVar = np.multiply
    FLOAT: ClassVar = arith.MulfOp
    SIGNED: ClassVar = arith.MuliOp
    UNSIGNED: ClassVar = arith.MuliOp
    COMMUTATIVE: ClassVar = True

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(MulOp(g[0], self.y)), emit(MulOp(g[0], self.x))]


@tfc_op
class MaxOp(BinaryOp):
    """Maximum; NaN if either is. Source: ``tf.maximum``."""

    name = "tfc.max"
    UFUNC: ClassVar = np.maximum
    FLOAT: ClassVar = arith.MaximumfOp
    SIGNED: ClassVar = arith.MaxSIOp
    UNSIGNED: ClassVar = arith.MaxUIOp
    COMMUTATIVE: ClassVar = True
    TAKES: ClassVar = "float int bool"

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return _to_one(emit, emit(CompareOp("ge", self.x, self.y)), g[0])


@tfc_op
class MinOp(BinaryOp):
    """Minimum; NaN if either is. Source: ``tf.minimum``."""

    name = "tfc.min"
    UFUNC: ClassVar = np.minimum
    FLOAT: ClassVar = arith.MinimumfOp
    SIGNED: ClassVar = arith.MinSIOp
    UNSIGNED: ClassVar = arith.MinUIOp
    COMMUTATIVE: ClassVar = True
    TAKES: ClassVar = "float int bool"

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return _to_one(emit, emit(CompareOp("le", self.x, self.y)), g[0])


@tfc_op
class Atan2Op(BinaryOp):
    """The angle of the point ``(y, x)``: ``atan2(x, y)`` of the operands. Source: ``tf.atan2``."""

    name = "tfc.atan2"
    UFUNC: ClassVar = staticmethod(lambda x, y: np.arctan2(widened(x), widened(y)))
    FLOAT: ClassVar = math.Atan2Op
    TAKES: ClassVar = "float"
    HEAVY: ClassVar = True

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, x, y = formula(emit), self.x, self.y
        share = f.div(g[0], f.add(f.mul(x, x), f.mul(y, y)))
        return [f.mul(share, y), f.neg(f.mul(share, x))]


@tfc_op
class AndOp(BinaryOp):
    """Bits that are set in both. Source: ``tf.bitwise.bitwise_and``, ``tf.logical_and``."""

    name = "tfc.and"
    UFUNC: ClassVar = np.bitwise_and
    SIGNED: ClassVar = arith.AndIOp
    UNSIGNED: ClassVar = arith.AndIOp
    COMMUTATIVE: ClassVar = True
    TAKES: ClassVar = "int bool"

    grad = flat


@tfc_op
class OrOp(BinaryOp):
    """Bits that are set in either. Source: ``tf.bitwise.bitwise_or``, ``tf.logical_or``."""

    name = "tfc.or"
    UFUNC: ClassVar = np.bitwise_or
    SIGNED: ClassVar = arith.OrIOp
    UNSIGNED: ClassVar = arith.OrIOp
    COMMUTATIVE: ClassVar = True
    TAKES: ClassVar = "int bool"

    grad = flat


@tfc_op
class XorOp(BinaryOp):
    """Bits that are set in one of the two. Source: ``tf.bitwise.bitwise_xor``."""

    name = "tfc.xor"
    UFUNC: ClassVar = np.bitwise_xor
    SIGNED: ClassVar = arith.XOrIOp
    UNSIGNED: ClassVar = arith.XOrIOp
    COMMUTATIVE: ClassVar = True
    TAKES: ClassVar = "int bool"

    grad = flat


def _erf(x: Array) -> Array:
    return np.vectorize(pymath.erf, otypes=[np.float64])(x)


def _erfc(x: Array) -> Array:
    return np.vectorize(pymath.erfc, otypes=[np.float64])(x)


def _unary(
    op: str, ufunc: Any, scalar: Any, meaning: str, pull: Any = None, *, heavy: bool = True
) -> type[UnaryOp]:
    """A function of real numbers that one operation of the math dialect computes.

    Args:
        pull: the gradient of ``x``, ``pull(f, g, x, y)`` for ``y`` the result; None where ``y`` moves in steps.
    """
    # One line of the table below per operation: they differ in nothing else.
    body = {
        "__doc__": f"{meaning}. Source: ``tf.math.{op}``.",
        "__module__": __name__,
        "name": f"tfc.{op}",
        "UFUNC": ufunc,
        "SCALAR": scalar,
        "HEAVY": heavy,
        "PULL": staticmethod(pull or flat),
        "__annotations__": dict.fromkeys(("UFUNC", "SCALAR", "HEAVY", "PULL"), "ClassVar"),
    }
    if pull is None:
        body["grad"] = flat
    return tfc_op(type(op.capitalize() + "Op", (UnaryOp,), body))


_ERF_SLOPE = 2 / pymath.sqrt(pymath.pi)


def _bell(f: Formula, x: SSAValue) -> SSAValue:
    """``exp(-x*x)``."""
    return f.exp(f.neg(f.mul(x, x)))


def _one_minus_square(f: Formula, x: SSAValue) -> SSAValue:
    """``1 - x*x``, as a product that loses nothing where it is small."""
    return f.mul(f.sub(1.0, x), f.add(x, 1.0))


def _root(f: Formula, x: SSAValue) -> SSAValue:
    return f.emit(SqrtOp(x))


ExpOp = _unary("exp", np.exp, math.ExpOp, "Exponential", lambda f, g, x, y: f.mul(g, y))
Expm1Op = _unary(
    "expm1", np.expm1, math.ExpM1Op, "``exp(x) - 1``, exact near 0", lambda f, g, x, y: f.mul(g, f.exp(x))
)
LogOp = _unary("log", np.log, math.LogOp, "Natural logarithm; NaN below 0", lambda f, g, x, y: f.div(g, x))
Log1pOp = _unary(
    "log1p", np.log1p, math.Log1pOp, "``log(1 + x)``, exact near 0", lambda f, g, x, y: f.div(g, f.add(x, 1.0))
)
SqrtOp = _unary(
    "sqrt", np.sqrt, math.SqrtOp, "Square root; NaN below 0", lambda f, g, x, y: f.div(f.mul(g, 0.5), y), heavy=False
)
RsqrtOp = _unary(
    "rsqrt", lambda x: 1 / np.sqrt(x), math.RsqrtOp, "``1 / sqrt(x)``",
    lambda f, g, x, y: f.mul(f.mul(g, -0.5), f.mul(f.mul(y, y), y)), heavy=False,
)  # fmt: skip
SinOp = _unary("sin", np.sin, math.SinOp, "Sine of radians", lambda f, g, x, y: f.mul(g, f.emit(CosOp(x))))
CosOp = _unary("cos", np.cos, math.CosOp, "Cosine of radians", lambda f, g, x, y: f.neg(f.mul(g, f.emit(SinOp(x)))))
TanOp = _unary(
    "tan", np.tan, math.TanOp, "Tangent of radians", lambda f, g, x, y: f.mul(g, f.add(f.mul(y, y), 1.0))
)
AsinOp = _unary(
    "asin", np.arcsin, math.AsinOp, "Inverse sine", lambda f, g, x, y: f.mul(g, f.rsqrt(_one_minus_square(f, x)))
)
AcosOp = _unary(
    "acos", np.arccos, math.AcosOp, "Inverse cosine",
    lambda f, g, x, y: f.neg(f.mul(g, f.rsqrt(_one_minus_square(f, x)))),
)  # fmt: skip
AtanOp = _unary(
    "atan", np.arctan, math.AtanOp, "Inverse tangent", lambda f, g, x, y: f.div(g, f.add(f.mul(x, x), 1.0))
)
SinhOp = _unary("sinh", np.sinh, math.SinhOp, "Hyperbolic sine", lambda f, g, x, y: f.mul(g, f.emit(CoshOp(x))))
CoshOp = _unary("cosh", np.cosh, math.CoshOp, "Hyperbolic cosine", lambda f, g, x, y: f.mul(g, f.emit(SinhOp(x))))
TanhOp = _unary(
    "tanh", np.tanh, math.TanhOp, "Hyperbolic tangent", lambda f, g, x, y: f.mul(g, f.sub(1.0, f.mul(y, y)))
)
AsinhOp = _unary(
    "asinh", np.arcsinh, math.AsinhOp, "Inverse hyperbolic sine",
    lambda f, g, x, y: f.div(g, _root(f, f.add(f.mul(x, x), 1.0))),
)  # fmt: skip
AcoshOp = _unary(
    "acosh", np.arccosh, math.AcoshOp, "Inverse hyperbolic cosine",
    lambda f, g, x, y: f.div(g, _root(f, f.mul(f.sub(x, 1.0), f.add(x, 1.0)))),
)  # fmt: skip
AtanhOp = _unary(
    "atanh", np.arctanh, math.AtanhOp, "Inverse hyperbolic tangent",
    lambda f, g, x, y: f.div(g, _one_minus_square(f, x)),
)  # fmt: skip
ErfOp = _unary(
    "erf", _erf, math.ErfOp, "Gauss error function", lambda f, g, x, y: f.mul(g, f.mul(_bell(f, x), _ERF_SLOPE))
)
FloorOp = _unary("floor", np.floor, math.FloorOp, "The next integer below", heavy=False)
CeilOp = _unary("ceil", np.ceil, math.CeilOp, "The next integer above", heavy=False)
RoundOp = _unary("round", np.rint, math.RoundEvenOp, "The nearest integer, halves to even", heavy=False)


@tfc_op
class ErfcOp(UnaryOp):
    """``1 - erf(x)``, to full relative precision where that is small. Source: ``tf.math.erfc``."""

    name = "tfc.erfc"
    UFUNC: ClassVar = staticmethod(_erfc)
    HEAVY: ClassVar = True

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        from tfc.dialects.tfc.erfc import erfc

        return erfc(Scalars(emit), args[0])

    PULL: ClassVar = staticmethod(lambda f, g, x, y: f.mul(g, f.mul(_bell(f, x), -_ERF_SLOPE)))


@tfc_op
class NegOp(UnaryOp):
    """Negation. Integers wrap around. Source: ``tf.negative``."""

    name = "tfc.neg"
    UFUNC: ClassVar = np.negative
    REAL: ClassVar = False

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return Scalars(emit).neg(args[0])

    PULL: ClassVar = staticmethod(lambda f, g, x, y: f.neg(g))


@tfc_op
class AbsOp(UnaryOp):
    """Absolute value; that of the least integer is itself. Source: ``tf.abs``."""

    name = "tfc.abs"
    UFUNC: ClassVar = np.abs
    REAL: ClassVar = False

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        if is_float(element(self.x)):
            return emit(math.AbsFOp(args[0]))
        if is_unsigned(element(self.x)):
            return args[0]
        s = Scalars(emit)
        return s.maximum(args[0], s.neg(args[0]))

    PULL: ClassVar = staticmethod(lambda f, g, x, y: f.mul(g, f.emit(SignOp(x))))


@tfc_op
class SignOp(UnaryOp):
    """-1, 0 or 1; NaN of NaN. Source: ``tf.sign``."""

    name = "tfc.sign"
    UFUNC: ClassVar = np.sign
    REAL: ClassVar = False

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        s, x = Scalars(emit), args[0]
        less, more, equal = ("olt", "ogt", "oeq") if is_float(element_type(x)) else ("slt", "sgt", "eq")
        if is_unsigned(element(self.x)):
            return s.select(s.compare("eq", x, 0), x, 1)
        zero_or_nan = s.select(s.compare(equal, x, 0), 0, x)
        negative = s.select(s.compare(less, x, 0), -1, zero_or_nan)
        return s.select(s.compare(more, x, 0), 1, negative)

    grad = flat


@tfc_op
class NotOp(UnaryOp):
    """Every bit inverted. (C2) Integers or bool. Source: ``tf.logical_not``, ``tf.bitwise.invert``."""

    name = "tfc.not"
    UFUNC: ClassVar = np.invert
    REAL: ClassVar = False

    def infer(self) -> Sequence[Attribute]:
        kind = element(self.x)
        require(not is_float(kind), self, "C2", "elements of integers or bool", kind)
        return super().infer()

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return Scalars(emit).bit_xor(args[0], -1)

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        arrays = [np.array([True, False]), np.array([-128, 0, 7], np.int8), np.array([0, 9], np.uint32)]
        return [Sample(cls, a) for a in arrays]
