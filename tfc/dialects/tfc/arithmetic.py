"""Division, remainder, power and shifts: the binary operations with corner cases.

For integers every case has a value, and no input stops the program: ``x / 0 = 0``,
``x mod 0 = 0``, the least integer divided by -1 is itself, a shift by more than all bits
shifts all bits out. This is also what numpy says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects import math
from xdsl.dialects.builtin import Float64Type, IntegerType, f64
from xdsl.ir import SSAValue

from tfc.dialects import kernel
from tfc.dialects.tfc.base import Access, Emit, flat, tfc_op
from tfc.dialects.tfc.pointwise import BinaryOp, formula, widened
from tfc.dialects.tfc.scalar import Scalars, element_type, with_element
from tfc.dialects.tfc.types import Array, element, is_float, is_unsigned
from tfc.dims import Dim


class DivisionOp(BinaryOp):
    """A quotient or remainder: floats and integers have formulas of their own."""

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        s, kind = Scalars(emit), element(self.x)
        if is_float(kind):
            return self.of_floats(s, *args)
        if is_unsigned(kind):
            return self.of_unsigned(s, *args)
        return self.of_signed(s, *args)

    def of_floats(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        raise NotImplementedError

    def of_unsigned(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        raise NotImplementedError

    def of_signed(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        raise NotImplementedError


def _unsigned_quotient(s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
    is_zero = s.compare("eq", y, 0)
    return s.select(is_zero, 0, s.binary("udiv", x, s.select(is_zero, 1, y)))


def _signed_quotient(s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
    """Rounded toward zero; division by 0 and -1, which trap, is done without dividing."""
    is_zero, is_minus = s.compare("eq", y, 0), s.compare("eq", y, -1)
    safe = s.select(s.bit_or(is_zero, is_minus), 1, y)
    quotient = s.select(is_minus, s.neg(x), s.div(x, safe))
    return s.select(is_zero, 0, quotient)


def _remainder(s: Scalars, x: SSAValue, y: SSAValue, quotient: SSAValue) -> SSAValue:
    rest = s.sub(x, s.mul(quotient, y))
    return s.select(s.compare("eq", y, 0), 0, rest)


def _float_remainder(s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
    """The remainder of the truncated quotient, computed in f64.

    Each round takes away a multiple of ``y``. From f32 it is exact: a quotient cut to 2^28
    times a 24-bit ``y`` fits into 53 bits, and 10 rounds reach the largest quotient (2^277). From f64
    one round with a fused multiply-add is exact while the quotient is below 2^53.
    """
    narrow = element_type(x)
    if not isinstance(narrow, Float64Type):
        wide: Any = with_element(x, f64)
        a, b = (s.emit(kernel.CastOp("extf", v, wide)) for v in (x, y))
    else:
        a, b = x, y
    size, rest = s.emit(math.AbsFOp(b)), s.emit(math.AbsFOp(a))
    for scale in [2.0 ** (28 * k) for k in range(9, 0, -1)] if narrow != f64 else []:
        step = s.mul(size, scale)
        rest = s.sub(rest, s.mul(s.truncate(s.div(rest, step)), step))
        rest = s.select(s.compare("olt", rest, 0.0), s.add(rest, step), rest)
    quotient = s.truncate(s.div(rest, size))
    rest = s.emit(math.FmaOp(s.neg(quotient), size, rest))
    # The quotient may have been rounded up to the next integer, or down from it.
    rest = s.select(s.compare("olt", rest, 0.0), s.add(rest, size), rest)
    rest = s.select(s.compare("oge", rest, size), s.sub(rest, size), rest)
    infinite = s.compare("oeq", size, float("inf"))
    finite = s.compare("olt", s.emit(math.AbsFOp(a)), float("inf"))
    rest = s.select(s.bit_and(infinite, finite), s.emit(math.AbsFOp(a)), rest)
    signed = s.emit(math.CopySignOp(rest, a))
    return signed if narrow == f64 else s.emit(kernel.CastOp("truncf", signed, x.type))


@tfc_op
class DivOp(DivisionOp):
    """Quotient; of integers rounded toward zero, and 0 for a divisor of 0.

    Source: ``tf.truediv``, ``tf.truncatediv``.
    """

    name = "tfc.div"

    def reference(self, *args: Array) -> Array:
        x, y = args
        with np.errstate(all="ignore"):
            if is_float(element(self.x)):
                return np.asarray(np.divide(widened(x), widened(y))).astype(x.dtype)
            quotient = np.floor_divide(x, y)
            inexact = (quotient * y != x) & ((x < 0) != (y < 0)) & (y != 0)
            return np.asarray(quotient + inexact).astype(x.dtype)

    def of_floats(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return s.div(x, y)

    def of_unsigned(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return _unsigned_quotient(s, x, y)

    def of_signed(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return _signed_quotient(s, x, y)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, share = formula(emit), emit(DivOp(g[0], self.y))
        return [share, f.neg(f.mul(share, self.result))]


@tfc_op
class FloordivOp(DivisionOp):
    """Quotient rounded down: ``floor(x / y)``. Source: ``tf.floordiv``."""

    name = "tfc.floordiv"

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            if is_float(element(self.x)):
                wide = [a.astype(np.float32) if a.dtype.itemsize == 2 else a for a in args]
                return np.asarray(np.floor(np.divide(*wide))).astype(args[0].dtype)
            return np.asarray(np.floor_divide(*args))

    def of_floats(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return s.floor(s.div(x, y))

    def of_unsigned(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return _unsigned_quotient(s, x, y)

    def of_signed(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = _signed_quotient(s, x, y)
        rest = _remainder(s, x, y, quotient)
        opposite = s.compare("slt", s.bit_xor(rest, y), 0)
        down = s.bit_and(opposite, s.compare("ne", rest, 0))
        return s.select(down, s.sub(quotient, 1), quotient)

    grad = flat


class RemainderOp(DivisionOp):
    """``x - y * truncate(x / y)``, from which both remainders are made."""

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            wide = [widened(a) if is_float(element(self.x)) else a for a in args]
            return np.asarray(np.fmod(*wide)).astype(args[0].dtype)

    def of_floats(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return _float_remainder(s, x, y)

    def of_unsigned(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return _remainder(s, x, y, _unsigned_quotient(s, x, y))

    def of_signed(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return _remainder(s, x, y, _signed_quotient(s, x, y))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        from tfc.dialects.tfc.elementwise import RoundOp

        f = formula(emit)
        quotient = f.emit(RoundOp(f.div(f.sub(self.x, self.result), self.y)))
        return [g[0], f.neg(f.mul(g[0], quotient))]


@tfc_op
class RemOp(RemainderOp):
    """Remainder with the sign of the dividend; of integers 0 for a divisor of 0.

    Source: ``tf.truncatemod``, C's ``fmod``.
    """

    name = "tfc.rem"


@tfc_op
class FloormodOp(RemainderOp):
    """Remainder with the sign of the divisor; a zero keeps its sign; of integers 0 for a divisor of 0.

    Source: ``tf.math.floormod``.
    """

    name = "tfc.floormod"

    def reference(self, *args: Array) -> Array:
        rest = np.asarray(super().reference(*args))
        with np.errstate(all="ignore"):
            other = (rest != 0) & ((rest < 0) != (args[1] < 0))
            return np.where(other, rest + args[1], rest).astype(args[0].dtype)

    def of_floats(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return self._same_sign(s, super().of_floats(s, x, y), y, "olt", "une")

    def of_signed(self, s: Scalars, x: SSAValue, y: SSAValue) -> SSAValue:
        return self._same_sign(s, super().of_signed(s, x, y), y, "slt", "ne")

    def _same_sign(self, s: Scalars, rest: SSAValue, y: SSAValue, less: str, differs: str) -> SSAValue:
        opposite = s.bit_xor(s.compare(less, rest, 0), s.compare(less, y, 0))
        other = s.bit_and(opposite, s.compare(differs, rest, 0))
        return s.select(other, s.add(rest, y), rest)


@tfc_op
class PowOp(BinaryOp):
    """``x`` to the power of ``y``. Integers wrap around, and a negative power is truncated to 0.

    Source: ``tf.pow``.
    """

    name = "tfc.pow"
    FLOAT: ClassVar = math.PowFOp
    HEAVY: ClassVar = True

    def reference(self, *args: Array) -> Array:
        x, y = args
        with np.errstate(all="ignore"):
            if is_float(element(self.x)):
                return np.asarray(np.power(widened(x), widened(y))).astype(x.dtype)
            result = np.asarray(np.power(x, np.maximum(y, 0)))
            unit = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 0, 1, -1), 0)).astype(x.dtype)
            return np.where(y < 0, unit, result).astype(x.dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        if is_float(element(self.x)):
            return super().value_at(at, index)
        x, y = at.read(0, index), at.read(1, index)
        s, kind = Scalars(at.emit), element_type(x)
        assert isinstance(kind, IntegerType), "(C3) excludes others"
        one = at.constant(1, element(self.x))

        def square_and_multiply(_: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            result, base, power = carried
            odd = s.compare("ne", s.bit_and(power, 1), 0)
            more = s.select(odd, s.mul(result, base), result)
            return [more, s.mul(base, base), s.binary("lshr", power, 1)]

        result, _, _ = at.fold([kind.width.data], [one, x, y], square_and_multiply)
        if is_unsigned(element(self.x)):
            return result
        even = s.compare("eq", s.bit_and(y, 1), 0)
        of_minus = s.select(s.compare("eq", x, -1), s.select(even, 1, s.constant_like(x, -1)), 0)
        unit = s.select(s.compare("eq", x, 1), 1, of_minus)
        return s.select(s.compare("slt", y, 0), unit, result)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        x, y = args
        return emit(math.PowFOp(x, y))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        # Where a factor is 0 the product is, whatever power or logarithm of 0 stands beside it.
        f, x, y = formula(emit), self.x, self.y
        slope = f.mul(y, f.emit(PowOp(x, f.sub(y, 1.0))))
        to_x = f.mul(g[0], f.select(f.compare("eq", y, 0.0), 0.0, slope))
        positive = f.compare("gt", x, 0.0)
        logarithm = f.select(positive, f.log(f.select(positive, x, 1.0)), 0.0)
        return [to_x, f.mul(g[0], f.mul(self.result, logarithm))]


class ShiftOp(BinaryOp):
    """``x`` shifted by ``y`` bits, read as an unsigned count."""

    TAKES: ClassVar = "int"

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        s, (x, y) = Scalars(emit), args
        kind = element_type(x)
        assert isinstance(kind, IntegerType), "(C3) excludes others"
        width = kind.width.data
        fits = s.compare("ult", y, width)
        return self.shifted(s, x, s.select(fits, y, 0), fits, width)

    def shifted(self, s: Scalars, x: SSAValue, y: SSAValue, fits: SSAValue, width: int) -> SSAValue:
        raise NotImplementedError

    grad = flat


@tfc_op
class ShiftLeftOp(ShiftOp):
    """``x * 2**y``, wrapping around; 0 where ``y`` is at least the width. Source: ``tf.bitwise.left_shift``."""

    name = "tfc.shift_left"

    def reference(self, *args: Array) -> Array:
        x, y = args
        width = x.dtype.itemsize * 8
        count = y.astype(f"u{x.dtype.itemsize}")
        return np.where(count < width, np.left_shift(x, count.astype(x.dtype) % width), 0).astype(x.dtype)

    def shifted(self, s: Scalars, x: SSAValue, y: SSAValue, fits: SSAValue, width: int) -> SSAValue:
        return s.select(fits, s.binary("shl", x, y), 0)


@tfc_op
class ShiftRightOp(ShiftOp):
    """``floor(x / 2**y)``: the sign is kept. Source: ``tf.bitwise.right_shift``."""

    name = "tfc.shift_right"

    def reference(self, *args: Array) -> Array:
        x, y = args
        width = x.dtype.itemsize * 8
        count = y.astype(f"u{x.dtype.itemsize}")
        all_out = np.where(x < 0, -1, 0).astype(x.dtype)
        shifted = np.right_shift(x, np.minimum(count, width - 1).astype(x.dtype))
        return np.where(count < width, shifted, all_out).astype(x.dtype)

    def shifted(self, s: Scalars, x: SSAValue, y: SSAValue, fits: SSAValue, width: int) -> SSAValue:
        if is_unsigned(element(self.x)):
            return s.select(fits, s.binary("lshr", x, y), 0)
        return s.binary("ashr", x, s.select(fits, y, width - 1))
