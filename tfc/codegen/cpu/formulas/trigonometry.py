"""sin, cos, tan and their inverses, of f32.

    x = n * pi/2 + r,   |r| <= pi/4,   in double

The first part of pi/2 has 33 bits, so ``n`` times it is exact up to ``LIMIT``. Beyond that the lanes in
question are left to libm's functions of double, which reduce any number exactly.
"""

from __future__ import annotations

from tfc.codegen.cpu.formulas.exponential import DOUBLE
from tfc.codegen.cpu.formulas.libm import patched
from tfc.codegen.cpu.number import Number

LIMIT = 2.0**20
TWO_OVER_PI = 0.6366197723675814
HALF_PI_HIGH, HALF_PI_LOW = 1.57079632673412561417e00, 6.07710050650619224932e-11
HALF_PI = 1.5707963267948966

# 2**-28.0, 2**-33.1
SIN = (-0.16666655242443085, 0.008332190103828907, -0.0001951839221874252)
COS = (0.04166664555668831, -0.00138873013202101, 2.4430670237052254e-05)

# 2**-47.6, 2**-53.5
SIN_DOUBLE = (-0.1666666666663118, 0.008333333325194916, -0.00019841263779753337,
              2.7555348352578957e-06, -2.4760956753678516e-08)  # fmt: skip
COS_DOUBLE = (0.04166666666660143, -0.0013888888878165878, 2.4801580923248272e-05,
              -2.7555558213539846e-07, 2.064715675830451e-09)  # fmt: skip

# 2**-34.0
ATAN = (-0.3333333223542947, 0.19999932202091128, -0.14284250939055623, 0.11095203042782736,
        -0.0898879482715401, 0.07269392211131459, -0.0547046340590108, 0.034704832600275806,
        -0.016471585893204032, 0.00499937066060575, -0.0007113145112308382)  # fmt: skip


def _reduced(x: Number) -> tuple[Number, Number]:
    """``r`` in double, and ``n`` as a 32-bit integer."""
    wide = x.widen()
    shifted = wide.fma(TWO_OVER_PI, DOUBLE.magic)
    n = shifted - DOUBLE.magic
    r = n.fma(-HALF_PI_HIGH, wide)
    r = n.fma(-HALF_PI_LOW, r)
    return r, shifted.bits.cast("trunc", "i32")


def _sine(x: Number, turns: int) -> Number:
    """``sin(x + turns * pi/2)``."""
    wide, n = _reduced(x)
    r = wide.narrow()
    square = r * r
    sine = (r * square).fma(square.polynomial(SIN), r)
    cosine = (square * square).fma(square.polynomial(COS), square.fma(-0.5, 1.0))
    quarter = n + turns if turns else n
    value = (quarter & 1).compare("eq", 0).where(sine, cosine)
    return (value.bits ^ ((quarter & 2) << 30)).as_float()


def sin(x: Number) -> Number:
    y = patched(x, _sine(x, 0), abs(x).compare("ogt", LIMIT), "sin")
    return x.compare("oeq", 0.0).where(x, y)


def cos(x: Number) -> Number:
    return patched(x, _sine(x, 1), abs(x).compare("ogt", LIMIT), "cos")


def tan(x: Number) -> Number:
    """In double: the quotient would add an error to those of both parts."""
    r, n = _reduced(x)
    square = r * r
    sine = (r * square).fma(square.polynomial(SIN_DOUBLE), r)
    cosine = (square * square).fma(square.polynomial(COS_DOUBLE), square.fma(-0.5, 1.0))
    even = (n & 1).compare("eq", 0)
    y = (even.where(sine, -cosine) / even.where(cosine, sine)).narrow()
    y = patched(x, y, abs(x).compare("ogt", LIMIT), "tan")
    return x.compare("oeq", 0.0).where(x, y)


def _angle(y: Number, x: Number) -> Number:
    """The angle of the point ``(x, y)``, both >= 0, in double."""
    steep = y.compare("ogt", x)
    low, high = steep.where(x, y), steep.where(y, x)
    both = low.compare("oeq", high)  # also where both are infinite, or both zero
    quotient = both.where(high.compare("oeq", 0.0).where(low, low.constant(1.0)), low / high)
    square = quotient * quotient
    angle = (quotient * square).fma(square.polynomial(ATAN), quotient)
    return steep.where(HALF_PI - angle, angle)


def atan(x: Number) -> Number:
    a = abs(x).widen()
    return _angle(a, a.constant(1.0)).narrow().with_sign_of(x)


def _other_side(x: Number) -> Number:
    """``sqrt(1 - x*x)``; NaN beyond 1."""
    return ((1.0 - x) * (x + 1.0)).sqrt()


def asin(x: Number) -> Number:
    a = abs(x).widen()
    return _nan_of(_angle(a, _other_side(a)), a).narrow().with_sign_of(x)


def acos(x: Number) -> Number:
    a = abs(x).widen()
    angle = _nan_of(_angle(_other_side(a), a), a)
    return x.compare("olt", 0.0).where(2 * HALF_PI - angle, angle).narrow()


def _nan_of(angle: Number, a: Number) -> Number:
    """NaN where ``a`` is beyond 1 or NaN: comparisons with NaN may have hidden it."""
    return a.compare("ugt", 1.0).where(a.constant(float("nan")), angle)


def atan2(y: Number, x: Number) -> Number:
    a, b = abs(y).widen(), abs(x).widen()
    angle = _angle(a, b)
    left = x.bits.compare("slt", 0)  # also -0
    angle = left.where(2 * HALF_PI - angle, angle)
    unordered = y.compare("uno", x)
    return unordered.where(angle.constant(float("nan")), angle).narrow().with_sign_of(y)
