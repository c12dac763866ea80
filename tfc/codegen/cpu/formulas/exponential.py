"""exp, expm1 and what is made of them: tanh, sinh, cosh.

    exp(x) = 2**n * exp(r),   n = round(x / ln 2),   |r| <= ln(2) / 2
    exp(r) = 1 + r + r*r * P(r)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfc.codegen.cpu.formulas import pieces, x86
from tfc.codegen.cpu.number import Number

LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Format:
    """What the formulas need to know of a float type.

    Attributes:
        fraction: its stored bits of fraction.
        bias: of its exponent.
        magic: ``1.5 * 2**fraction``: adding it rounds to an integer, which stands in the low bits.
        magic_bits: the bits of ``magic``.
        ln2: the logarithm of 2 in two parts, the first so short that its product with ``n`` is exact.
        tail: the coefficients of ``P``.
        largest: above this ``exp`` is infinite, which it computes by itself.
        least: below this ``exp`` is 0.
        normal: the least multiple of ln 2 whose ``exp`` is a normal number.
    """

    fraction: int
    bias: int
    magic: float
    magic_bits: int
    ln2: tuple[float, float]
    tail: Sequence[float]
    largest: float
    least: float
    normal: float


SINGLE = Format(
    fraction=23,
    bias=127,
    magic=12582912.0,
    magic_bits=0x4B400000,
    ln2=(0.693359375, -2.12194440e-4),
    # 2**-28.3
    tail=(0.4999999343293555, 0.16666520397358583, 0.041668390614804214, 0.008368745270603824,
          0.0013814548841939688),
    largest=89.0,
    least=-104.0,
    normal=-87.33654475055310898657,
)  # fmt: skip

DOUBLE = Format(
    fraction=52,
    bias=1023,
    magic=6755399441055744.0,
    magic_bits=0x4338000000000000,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    # 2**-56
    tail=(0.5000000000000001, 0.16666666666666677, 0.04166666666662411, 0.008333333333320234,
          0.0013888888917224004, 0.00019841269893487953, 2.480152128013717e-05,
          2.755723359051054e-06, 2.76200958935337e-07, 2.511368883431425e-08),
    largest=710.0,
    least=-746.0,
    normal=-708.39641853226410622,
)  # fmt: skip


def format_of(x: Number) -> Format:
    return SINGLE if x.kind.element == "float" else DOUBLE


def reduced(x: Number) -> tuple[Number, Number]:
    """``exp(r) - 1`` and the integer ``n`` (as an integer of the float's width)."""
    tail, _, shifted = _parts(x)
    return tail, shifted.bits - format_of(x).magic_bits


def _parts(x: Number, bias: int = 0) -> tuple[Number, Number, Number]:
    """``exp(r) - 1``, ``n`` as a float, and ``n + bias`` with the magic number still in it."""
    of = format_of(x)
    magic = of.magic + bias
    shifted = x.fma(LOG2_E, magic)
    n = shifted - magic
    r = n.fma(-of.ln2[0], x)
    r = n.fma(-of.ln2[1], r)
    return r.polynomial(of.tail).fma(r * r, r), n, shifted


def power_of_two(n: Number) -> Number:
    """``2**n`` for an integer within the range of normal exponents."""
    of = SINGLE if n.kind.width == 32 else DOUBLE
    return ((n + of.bias) << of.fraction).as_float()


def exp(x: Number) -> Number:
    of = format_of(x)
    tail, n, shifted = _parts(x.at_most(of.largest).at_least(of.least))
    if x86.has_scale(x.kind, x.code.target.required_features):
        return x86.scale(tail + 1.0, n)
    # Two factors: n may be below the least normal exponent, or above the largest.
    whole = shifted.bits - of.magic_bits
    half = whole >> 1
    return (tail + 1.0) * power_of_two(half) * power_of_two(whole - half)


def exp_of_never_positive(x: Number) -> Number:
    """The same for ``x <= 0``; what is less than a normal number may be 0."""
    of = format_of(x)
    if x86.has_scale(x.kind, x.code.target.required_features):
        tail, n, _ = _parts(x.at_least(of.least))
        return x86.scale(tail + 1.0, n)
    # The exponent field of 2**n comes by a shift alone, and is 0 for the least n that is left.
    tail, _, shifted = _parts(x.at_least(of.normal - 0.6), of.bias)
    return (tail + 1.0) * (shifted.bits << of.fraction).as_float()


def expm1(x: Number) -> Number:
    """``2**n * (exp(r) - 1) + (2**n - 1)``, which loses nothing near 0, where n is 0."""
    of = format_of(x)
    tail, n = reduced(x.at_most(of.largest).at_least(-0.8 * (of.fraction + 2)))
    # Half of it, so that the power of two is finite for every finite result.
    power = power_of_two(n - 1)
    y = power.fma(tail, power - 0.5) * 2.0
    return x.compare("oeq", 0.0).where(x, y)


def tanh(x: Number) -> Number:
    """``1 - 2/(m + 2)`` with ``m = exp(2|x|) - 1``; near 0 ``h - h * m/(m + 2)`` with ``h = m/2``."""
    if format_of(x) is SINGLE and x86.has_lookup(x):
        return pieces.TANH(x)
    a = abs(x)
    bound = 10.0 if format_of(x) is SINGLE else 20.0
    held = a.at_most(bound)
    tail, n = reduced(held + held)
    power = power_of_two(n)
    m = power.fma(tail, power - 1.0)
    large = a.compare("ogt", 0.55)
    quotient = large.where(m.constant(2.0), m) / (m + 2.0)
    base = large.where(m.constant(1.0), m * 0.5)
    return (-base).fma(quotient, base).with_sign_of(x)


def exp_double(x: Number) -> Number:
    """exp of a double whose result is a normal number: for formulas of f32 in double."""
    tail, n = reduced(x)
    return power_of_two(n).fma(tail, power_of_two(n))


def sinh(x: Number) -> Number:
    """Of f32, in double: ``(e - 1/e) / 2``, and two terms of the series near 0."""
    a = abs(x).at_most(91.0).widen()
    e = exp_double(a)
    large = (e - 1.0 / e) * 0.5
    small = a + a * a * a * (1.0 / 6.0)
    return a.compare("olt", 1e-3).where(small, large).narrow().with_sign_of(x)


def cosh(x: Number) -> Number:
    """Of f32, in double: ``(e + 1/e) / 2``."""
    e = exp_double(abs(x).at_most(91.0).widen())
    return ((e + 1.0 / e) * 0.5).narrow()


def exp2(x: Number) -> Number:
    """Of f32, in double."""
    return exp_double(x.at_most(130.0).at_least(-160.0).widen() * 0.6931471805599453).narrow()
