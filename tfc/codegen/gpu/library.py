"""Functions of f64 that code for CPUs calls in libm, for machines that have none.

    call double @sin(double %x)   ->   define internal double @sin(double %x) { ... }

Errors are below 4 units in the last place, but for ``pow``, whose relative error may be 1e-13. What C says of zeros,
infinities and NaN holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tfc.codegen.cpu.formulas import exponential, logarithm
from tfc.codegen.cpu.ir import Code, Kind, Module
from tfc.codegen.cpu.number import Number
from tfc.codegen.gpu.lines import Lines

INFINITY, NAN = float("inf"), float("nan")
LN2, LOG2_E, LOG10_E, LOG10_2 = 0.6931471805599453, 1.4426950408889634, 0.4342944819032518, 0.3010299956639812
MAGIC, MAGIC_BITS = exponential.DOUBLE.magic, exponential.DOUBLE.magic_bits

HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973848591e-33)
"""Half of pi in three parts."""

NEAR_TURNS = 2.0**30
"""Up to here the three parts reduce a number exactly enough."""

# Terms of the series: beyond the last, less than 2**-60 of the sum for |x| <= pi/4.
SIN = (-0.16666666666666666, 0.008333333333333333, -0.0001984126984126984, 2.7557319223985893e-06, -2.505210838544172e-08,
       1.6059043836821613e-10, -7.647163731819816e-13, 2.8114572543455206e-15)  # fmt: skip
COS = (0.041666666666666664, -0.001388888888888889, 2.48015873015873e-05, -2.755731922398589e-07, 2.08767569878681e-09,
       -1.1470745597729725e-11, 4.779477332387385e-14, -1.5619206968586225e-16)  # fmt: skip

# (atan(x)/x - 1)/x**2 in x**2 up to tan(pi/8)**2: 2**-59.6
ATAN = (-0.3333333333333333, 0.19999999999999804, -0.14285714285659806, 0.11111111105153429, -0.09090908753400499,
        0.07692296372129964, -0.06666424833613552, 0.05878928398517232, -0.052304498567092406, 0.04551573086664191,
        -0.034570044186095536, 0.016285183029865667)  # fmt: skip

# erf(x)/x - 1 in x**2 up to 1: 2**-68
ERF_NEAR = (0.1283791670955126, -0.37612638903183754, 0.1128379167095512, -0.02686617064512984, 0.0052239776254232985,
            -0.000854832702193483, 0.00012055332902888736, -1.4925647567519332e-05, 1.6462045441468418e-06,
            -1.6364642158167616e-07, 1.4792401209404813e-08, -1.216456005728345e-09, 8.709045129053106e-11,
            -4.230945824295338e-12)  # fmt: skip

# exp(x*x) * erfc(x) in (x - 2.5)/(x + 2.5), from 1 to 6.1: 2**-63
ERF_FAR = (0.2108063640611436, -0.37173673394897333, 0.25171319321744934, -0.12503305237882922, 0.03992253907558298,
           -0.0039937011658675355, -0.0026423659642069667, 0.0008759154505181072, 0.00022838037667136527,
           -0.00012887717964956162, -3.418220827873326e-05, 1.8614558624538573e-05, 7.552374865434757e-06,
           -2.2988037208136953e-06, -1.8011679061015023e-06, 8.023983726746349e-08, 3.4290101724522876e-07,
           6.590426451277367e-08)  # fmt: skip

TWO_OVER_PI = (
    0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484,
    0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip
"""The bits of 2/pi behind the point, as many as the largest double asks for."""

TABLE = "tfc.two_over_pi"
_WORD = Kind("i64")


def nearest(x: Number) -> tuple[Number, Number]:
    """The nearest integer below ``2**51``, as a float and as an i64."""
    shifted = x + MAGIC
    return shifted - MAGIC, shifted.bits - MAGIC_BITS


# Exponentials and logarithms


def exp2(x: Number) -> Number:
    held = x.at_most(1100.0).at_least(-1100.0)
    n, whole = nearest(held)
    power, _ = exponential.reduced((held - n) * LN2)
    half = whole >> 1
    # Two factors, as in `exponential.exp`; less than half of ln 2 is left, so `reduced` finds no whole part.
    return (power + 1.0) * exponential.power_of_two(half) * exponential.power_of_two(whole - half)


def _split(x: Number) -> tuple[Number, Number]:
    """``n`` and ``log(m)`` of a positive number ``2**n * m``, where m is near 1."""
    tiny = x.compare("olt", 2.0**-1022)
    bits = tiny.where(x * 2.0**54, x).bits
    e = (bits - logarithm.ROOT_HALF_BITS_DOUBLE) >> 52
    n = e.cast("sitofp", "double") + tiny.where(x.constant(-54.0), 0.0)
    return n, logarithm.log_double((bits - (e << 52)).as_float(), subnormals=False)


def log2(x: Number) -> Number:
    n, fraction = _split(x)
    return logarithm.specials(x, x, fraction.fma(LOG2_E, n))


def log10(x: Number) -> Number:
    n, fraction = _split(x)
    return logarithm.specials(x, x, n.fma(LOG10_2, fraction * LOG10_E))


def log1p(x: Number) -> Number:
    """``log(u) * x / (u - 1)`` with ``u`` the rounded ``1 + x``: the quotient mends what rounding took."""
    u = x + 1.0
    exact = logarithm.log_double(u) * (x / (u - 1.0))
    kept = u.compare("oeq", 1.0) | x.compare("oeq", 0.0)
    y = kept.where(x, exact)
    return logarithm.specials(x, u, y)


def pow(x: Number, y: Number) -> Number:  # its name in C
    n, fraction = _split(abs(x))
    high, ln2 = n * exponential.DOUBLE.ln2[0], exponential.DOUBLE.ln2[1]
    low = n.fma(ln2, fraction)
    logarithm_of_x = high + low
    rest = (high - logarithm_of_x) + low
    special = abs(x).compare("oeq", 0.0) | abs(x).compare("oeq", INFINITY)
    of_special = abs(x).compare("oeq", 0.0).where(x.constant(-INFINITY), INFINITY)
    product = y * special.where(of_special, logarithm_of_x)
    inside = abs(product).compare("olt", 800.0)
    lost = inside.where(y.fma(logarithm_of_x, -product) + y * rest, 0.0)
    size = exponential.exp(product.at_most(800.0).at_least(-800.0)) * (lost + 1.0)
    magnitude = abs(y)
    large = magnitude.compare("oge", 2.0**53)
    shifted = magnitude + 2.0**52
    middle = magnitude.compare("oge", 2.0**52)
    whole = middle | (shifted - 2.0**52).compare("oeq", magnitude)
    units = middle.where(magnitude, shifted).bits & 1
    odd = (whole & large.negated()).where(units, 0)
    result = (size.bits | ((odd << 63) & x.bits)).as_float()
    undefined = x.compare("olt", 0.0) & abs(x).compare("olt", INFINITY) & whole.negated()
    result = undefined.where(result.constant(NAN), result)
    result = (x.is_nan() | y.is_nan()).where(result.constant(NAN), result)
    one = x.compare("oeq", 1.0) | y.compare("oeq", 0.0)
    one = one | (magnitude.compare("oeq", INFINITY) & abs(x).compare("oeq", 1.0))
    return one.where(result.constant(1.0), result)


def cbrt(x: Number) -> Number:
    """By logarithms, and one step of Newton's method."""
    a = abs(x)
    n, fraction = _split(a)
    root = exponential.exp((n * LN2 + fraction) * (1.0 / 3.0))
    root = root - (root - a / (root * root)) * (1.0 / 3.0)
    keeps = a.compare("oeq", 0.0) | a.compare("ueq", INFINITY)
    return keeps.where(a, root).with_sign_of(x)


def sinh(x: Number) -> Number:
    a = abs(x)
    power = exponential.expm1(a.at_most(709.0))
    small = (power + power / (power + 1.0)) * 0.5
    small = a.compare("olt", 2.0**-28).where(a, small)
    half = exponential.exp(a * 0.5)
    return a.compare("ogt", 708.0).where((half * 0.5) * half, small).with_sign_of(x)


def cosh(x: Number) -> Number:
    half = exponential.exp(abs(x) * 0.5)
    square = half * half
    return abs(x).compare("ogt", 708.0).where((half * 0.5) * half, (square + 1.0 / square) * 0.5)


def asinh(x: Number) -> Number:
    a = abs(x)
    square = a * a
    small = log1p(a + square / ((square + 1.0).sqrt() + 1.0))
    return a.compare("ogt", 2.0**28).where(logarithm.log_double(a) + LN2, small).with_sign_of(x)


def acosh(x: Number) -> Number:
    over = x - 1.0
    small = log1p(over + (over * 2.0 + over * over).sqrt())
    y = x.compare("ogt", 2.0**28).where(logarithm.log_double(x) + LN2, small)
    return x.compare("ult", 1.0).where(x.constant(NAN), y)


def atanh(x: Number) -> Number:
    a = abs(x)
    y = log1p(a * 2.0 / (1.0 - a)) * 0.5
    y = a.compare("oeq", 1.0).where(y.constant(INFINITY), y)
    return a.compare("ugt", 1.0).where(a.constant(NAN), y).with_sign_of(x)


# Angles


def _angle(y: Number, x: Number) -> Number:
    """The angle of the point ``(x, y)``, both >= 0: between 0, pi/4 and pi/2."""
    steep = y.compare("ogt", x)
    low, high = steep.where(x, y), steep.where(y, x)
    both = low.compare("oeq", high)  # also where both are infinite, or both zero
    q = both.where(high.compare("oeq", 0.0).where(low, low.constant(1.0)), low / high)
    # Beyond tan(pi/8) the angle is told from pi/4.
    far = q.compare("ogt", 0.41421356237309503)
    q = far.where((q - 1.0) / (q + 1.0), q)
    square = q * q
    small = (q * square).fma(square.polynomial(ATAN), q)
    angle = far.where(small + (HALF_PI[1] * 0.5) + (HALF_PI[0] * 0.5), small)
    return steep.where((HALF_PI[0] - angle) + HALF_PI[1], angle)


def atan(x: Number) -> Number:
    a = abs(x)
    angle = _angle(a, a.constant(1.0))
    return x.is_nan().where(x, angle.with_sign_of(x))


def _other_side(a: Number) -> Number:
    """``sqrt(1 - a*a)``; NaN beyond 1."""
    return ((1.0 - a) * (a + 1.0)).sqrt()


def _nan_beyond(angle: Number, a: Number) -> Number:
    return a.compare("ugt", 1.0).where(a.constant(NAN), angle)


def asin(x: Number) -> Number:
    a = abs(x)
    return _nan_beyond(_angle(a, _other_side(a)), a).with_sign_of(x)


def acos(x: Number) -> Number:
    a = abs(x)
    angle = _nan_beyond(_angle(_other_side(a), a), a)
    return x.compare("olt", 0.0).where((2 * HALF_PI[0] - angle) + 2 * HALF_PI[1], angle)


def atan2(y: Number, x: Number) -> Number:
    angle = _angle(abs(y), abs(x))
    left = x.bits.compare("slt", 0)  # also -0
    angle = left.where((2 * HALF_PI[0] - angle) + 2 * HALF_PI[1], angle)
    return y.compare("uno", x).where(angle.constant(NAN), angle).with_sign_of(y)


def _near(x: Number) -> tuple[Number, Number]:
    """What is left of ``x`` beside a multiple of pi/2, and the multiple, where that is below ``2**31``."""
    n, whole = nearest(x * 0.6366197723675814)
    r = n.fma(-HALF_PI[0], x)  # exact
    r = n.fma(-HALF_PI[1], r)
    return n.fma(-HALF_PI[2], r), whole


def _far(x: Number) -> tuple[Number, Number]:
    """The same of any number, by the bits of 2/pi that matter to it (M. Payne, R. Hanek, 1983).

    Of ``m * 2**e * 2/pi`` these are the 192 bits from the one that makes 2 of the lowest bit of ``m``: those before make
    multiples of 4.
    """
    code, bits = x.code, abs(x).bits
    exponent = bits.unsigned_shift_right(52)
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    place = exponent - (1075 + 2 - 64)
    shift, word = place & 63, place.unsigned_shift_right(6)
    kind = f"[{len(TWO_OVER_PI) + 1} x i64]"
    texts = ", ".join(f"i64 {w - (1 << 64) if w >> 63 else w}" for w in (0, *TWO_OVER_PI))
    code.module.helpers[TABLE] = f"@{TABLE} = internal addrspace(4) constant {kind} [{texts}], align 8"

    def read(k: int) -> Number:
        # An infinity has no place in the table: any will do, as its sine is NaN.
        at = (word + k).compare("ult", len(TWO_OVER_PI) + 1).where(word + k, 0)
        address = code.op(f"getelementptr inbounds {kind}, ptr addrspace(4) @{TABLE}, i64 0, i64 {at.text}")
        return m.new(code.op(f"load i64, ptr addrspace(4) {address}, align 8"))

    words = [read(k) for k in range(4)]
    high, middle, low = (_funnel(words[k], words[k + 1], shift) for k in range(3))
    first = _high(m, middle)
    sum_ = m * middle + _high(m, low)
    carry = sum_.compare("ult", m * middle).cast("zext", "i64")
    top = m * high + first + carry
    turns = top.unsigned_shift_right(62) + (top.unsigned_shift_right(61) & 1)
    upper, lower = _funnel(top, sum_, m.constant(2)), _funnel(sum_, m * low, m.constant(2))
    negative = upper.compare("slt", 0)
    upper, lower = negative.where(upper ^ -1, upper), negative.where(lower ^ -1, lower)
    part = upper.cast("uitofp", "double") * 2.0**-64 + lower.cast("uitofp", "double") * 2.0**-128
    r = part.fma(HALF_PI[0], part * HALF_PI[1])
    back = negative.where(-r, r)
    minus = x.compare("olt", 0.0)
    r = minus.where(-back, back)
    r = abs(x).compare("olt", INFINITY).where(r, r.constant(NAN))
    return r, minus.where(turns * -1, turns)


def _funnel(high: Number, low: Number, shift: Number) -> Number:
    """The upper word of two, moved to the left."""
    return high.new(high.code.intrinsic("fshl", _WORD, [high.text, low.text, shift.text]))


def _high(x: Number, y: Number) -> Number:
    """The upper half of a product."""
    wide = Kind("i128")
    a, b = (x.code.cast("zext", _WORD, v.text, wide) for v in (x, y))
    product = x.code.op(f"lshr i128 {x.code.op(f'mul i128 {a}, {b}')}, 64")
    return x.new(x.code.cast("trunc", wide, product, _WORD))


def _reduced(x: Number) -> tuple[Number, Number]:
    code = x.code
    far, near, done = code.fresh("far"), code.fresh("near"), code.fresh("done")
    code.branch(abs(x).compare("ogt", NEAR_TURNS).text, far, near, ", !prof !0")
    ends: list[tuple[tuple[Number, Number], str]] = []
    for label, way in ((far, _far), (near, _near)):
        code.start(label)
        ends.append((way(x), code.block))
        code.jump(done)
    code.start(done)
    joined: list[Number] = []
    for k in range(2):
        kind = ends[0][0][k].kind
        sources = ", ".join(f"[ {values[k].text}, %{block} ]" for values, block in ends)
        joined.append(x.new(code.op(f"phi {kind.text} {sources}"), kind))
    return joined[0], joined[1]


def _waves(x: Number) -> tuple[Number, Number, Number]:
    """Sine and cosine of what is left of ``x``, and the multiple of pi/2."""
    r, n = _reduced(x)
    square = r * r
    sine = (r * square).fma(square.polynomial(SIN), r)
    return sine, (square * square).fma(square.polynomial(COS), square.fma(-0.5, 1.0)), n


def _sine(x: Number, turns: int) -> Number:
    sine, cosine, n = _waves(x)
    quarter = n + turns
    value = (quarter & 1).compare("eq", 0).where(sine, cosine)
    return (value.bits ^ ((quarter & 2) << 62)).as_float()


def sin(x: Number) -> Number:
    return x.compare("oeq", 0.0).where(x, _sine(x, 0))


def cos(x: Number) -> Number:
    return _sine(x, 1)


def tan(x: Number) -> Number:
    sine, cosine, n = _waves(x)
    even = (n & 1).compare("eq", 0)
    y = even.where(sine, -cosine) / even.where(cosine, sine)
    return x.compare("oeq", 0.0).where(x, y)


def erf(x: Number) -> Number:
    a = abs(x)
    square = a * a
    near = (a * square.polynomial(ERF_NEAR)) + a
    held = a.at_most(6.0)
    t = (held - 2.5) / (held + 2.5)
    far = 1.0 - exponential.exp(-(held * held)) * t.polynomial(ERF_FAR)
    return a.compare("olt", 1.0).where(near, far).with_sign_of(x)


FUNCTIONS: dict[str, Callable[..., Number]] = {
    f.__name__: f
    for f in (exp2, log2, log10, log1p, pow, cbrt, sinh, cosh, asinh, acosh, atanh, atan, asin, acos, atan2, sin, cos, tan, erf)
}
"""By the names that libm has for them."""


@dataclass
class GpuModule(Module):
    """What the kernels of one text share; functions of libm are in it where they are called."""

    lines: Lines = field(default_factory=Lines)

    @property
    def text(self) -> str:
        return super().text + self.lines.text

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> None:
        if (formula := FUNCTIONS.get(name)) is None:
            super().declare(name, result, arguments)
        elif name not in self.helpers:
            self.helpers[name] = ""  # its place, before what it asks for itself
            code, double = Code(self), Kind("double")
            names = [f"%{letter}" for letter in "xy"[: len(arguments)]]
            made = formula(*(Number(code, double, n) for n in names))
            parameters = ", ".join(f"double {n}" for n in names)
            body = "\n".join(code.lines)
            self.helpers[name] = (
                f"define internal double @{name}({parameters}) nounwind {{\nentry:\n{body}\n  ret double {made.text}\n}}\n"
            )
