"""log, log1p and what is made of them.

    log(x) = e * ln 2 + log(m),   x = 2**e * m,   sqrt(1/2) <= m < sqrt(2)

In f32, ``log(1 + z) = z - z*z/2 + z**3 * P(z)``. In f64, with ``s = z / (2 + z)``,
``log(1 + z) = z - (z*z/2 - s * (z*z/2 + R(s*s)))``, as in W. Kahan's and fdlibm's.
"""

from __future__ import annotations

from tfc.codegen.cpu.formulas.exponential import DOUBLE, SINGLE
from tfc.codegen.cpu.number import Number

INFINITY, NAN = float("inf"), float("nan")

# 2**-29.9
TAIL = (0.3333331346511841, -0.2500002980232239, 0.2000204622745514, -0.1666756570339203,
        0.1422058492898941, -0.12405553460121155, 0.11878597736358643, -0.1170646995306015,
        0.06829073280096054)  # fmt: skip

# 2**-58.5
TAIL_DOUBLE = (0.6666666666666735, 0.39999999999411917, 0.2857142874306243, 0.22222198498194887,
               0.18183568504381653, 0.15313936827926647, 0.14797152838067487)  # fmt: skip

ROOT_HALF_BITS = 0x3F3504F3
ROOT_HALF_BITS_DOUBLE = 0x3FE6A09E667F3BCD


def log(x: Number) -> Number:
    return _log_single(x) if x.kind.element == "float" else log_double(x)


def _log_single(x: Number) -> Number:
    tiny = x.compare("olt", 2.0**-126)
    bits = tiny.where(x * 2.0**23, x).bits
    e = (bits - ROOT_HALF_BITS) >> 23
    n = e.cast("sitofp", "float") + tiny.where(x.constant(-23.0), 0.0)
    z = (bits - (e << 23)).as_float() - 1.0
    return specials(x, x, _sum_single(n, z))


def _sum_single(n: Number, z: Number) -> Number:
    """``n * ln 2 + log(1 + z)``, the small parts first."""
    square = z * z
    y = z.polynomial(TAIL) * (z * square)
    y = n.fma(SINGLE.ln2[1], y)
    y = square.fma(-0.5, y)
    return n.fma(SINGLE.ln2[0], z + y)


def specials(x: Number, argument: Number, result: Number) -> Number:
    """The logarithm of ``argument`` where it is 0, negative, infinite or NaN."""
    y = argument.compare("oeq", 0.0).where(result.constant(-INFINITY), result)
    y = argument.compare("ult", 0.0).where(result.constant(NAN), y)
    return x.compare("oeq", INFINITY).where(result.constant(INFINITY), y)


def log1p(x: Number) -> Number:
    """Of f32. The exponent comes from ``1 + x`` rounded, the fraction from ``x`` itself."""
    u = x + 1.0
    bits = u.bits
    e = (bits - ROOT_HALF_BITS) >> 23
    n = e.cast("sitofp", "float")
    scale = ((127 - e) << 23).as_float()
    # Beyond 2**25 the 1 does not count, and 2**-e may not be a normal number.
    exact = scale.fma(x, scale - 1.0)
    z = x.compare("ogt", 2.0**25).where((bits - (e << 23)).as_float() - 1.0, exact)
    y = specials(x, u, _sum_single(n, z))
    return x.compare("oeq", 0.0).where(x, y)


def log_double(x: Number, *, subnormals: bool = True) -> Number:
    """Of f64. ``subnormals``: whether the argument may be one."""
    scaled = x
    tiny = None
    if subnormals:
        tiny = x.compare("olt", 2.0**-1022)
        scaled = tiny.where(x * 2.0**54, x)
    bits = scaled.bits
    # The exponent as an unsigned number, read as a double by its place under a large one.
    biased = (bits - (ROOT_HALF_BITS_DOUBLE - (1023 << 52))).unsigned_shift_right(52)
    n = (biased | DOUBLE.magic_bits).as_float() - (DOUBLE.magic + 1023.0)
    z = (bits - ((biased - 1023) << 52)).as_float() - 1.0
    if tiny is not None:
        n = n + tiny.where(x.constant(-54.0), 0.0)
    half_square = z * z * 0.5
    s = z / (z + 2.0)
    square = s * s
    rest = square * square.polynomial(TAIL_DOUBLE)
    inner = s.fma(half_square + rest, n * DOUBLE.ln2[1])
    y = n.fma(DOUBLE.ln2[0], z - (half_square - inner))
    return specials(x, x, y)


def log2(x: Number) -> Number:
    """Of f32, in double; exact at powers of two."""
    return (log_double(x.widen(), subnormals=False) * 1.4426950408889634).narrow()


def log10(x: Number) -> Number:
    """Of f32, in double; exact at powers of ten."""
    return (log_double(x.widen(), subnormals=False) * 0.4342944819032518).narrow()


def asinh(x: Number) -> Number:
    """Of f32, in double: ``log(a + sqrt(a*a + 1))``, and two terms of the series near 0."""
    a = abs(x).widen()
    square = a * a
    large = log_double(a + (square + 1.0).sqrt(), subnormals=False)
    small = a - square * a * (1.0 / 6.0)
    return a.compare("olt", 1e-3).where(small, large).narrow().with_sign_of(x)


def acosh(x: Number) -> Number:
    """Of f32, in double; NaN below 1."""
    a = x.widen()
    # At -inf the sum would be NaN by itself; other negative roots must not cancel to one.
    inside = a + ((a - 1.0) * (a + 1.0)).sqrt()
    y = log_double(inside, subnormals=False)
    return a.compare("ult", 1.0).where(a.constant(NAN), y).narrow()


def atanh(x: Number) -> Number:
    """Of f32, in double: ``log((1 + a) / (1 - a)) / 2``; NaN beyond 1."""
    a = abs(x).widen()
    large = log_double((a + 1.0) / (1.0 - a), subnormals=False) * 0.5
    small = a + a * a * a * (1.0 / 3.0)
    return a.compare("olt", 1e-3).where(small, large).narrow().with_sign_of(x)
