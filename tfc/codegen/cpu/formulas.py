"""Transcendental functions of f32, lane by lane, without branches."""

from __future__ import annotations

from tfc.codegen.cpu.number import Number

LOG2_E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
"""The natural logarithm of 2 in two parts; the first has so few bits that its product with a
small integer is exact."""

MAGIC = 12582912.0
"""1.5 * 2**23: adding it to an f32 rounds that to an integer, which stands in the low bits."""

EXP = (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)


def exp(x: Number) -> Number:
    x = x.at_most(89.0).at_least(-104.0)
    shifted = x.fma(LOG2_E, MAGIC)
    n = shifted - MAGIC
    r = n.fma(-LN2_HIGH, x)
    r = n.fma(-LN2_LOW, r)
    y = r.polynomial(EXP).fma(r * r, r) + 1.0
    return scale(y, shifted.bits - 0x4B400000)


def scale(y: Number, n: Number) -> Number:
    """``y * 2**n`` in two steps, so that results may be subnormal or infinite."""
    half = n >> 1
    first = (y.bits + (half << 23)).as_float()
    second = (((n - half) << 23) + 0x3F800000).as_float()
    return first * second


def tanh(x: Number) -> Number:
    """``m / (m + 2)`` with ``m = exp(2|x|) - 1``."""
    a = abs(x).at_most(10.0)
    twice = a + a
    shifted = twice.fma(LOG2_E, MAGIC)
    n = shifted - MAGIC
    r = n.fma(-LN2_HIGH, twice)
    r = n.fma(-LN2_LOW, r)
    q = r.polynomial(EXP).fma(r * r, r)
    power = ((shifted.bits - (0x4B400000 - 127)) << 23).as_float()
    m = power.fma(q, power - 1.0)
    return (m / (m + 2.0)).with_sign_of(x)


LOG = (3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1,
       -1.2420140846e-1, 1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2)  # fmt: skip


def log(x: Number) -> Number:
    tiny = x.compare("olt", 1.17549435e-38)
    scaled = tiny.where(x * 8388608.0, x)
    bits = scaled.bits
    e = (bits - 0x3F3504F3) >> 23
    n = e.cast("sitofp", "float") + tiny.where(x.constant(-23.0), 0.0)
    z = (bits - (e << 23)).as_float() - 1.0
    z2 = z * z
    y = z.polynomial(LOG) * z * z2
    y = n.fma(LN2_LOW, y)
    y = z2.fma(-0.5, y)
    r = n.fma(LN2_HIGH, z + y)
    r = x.compare("oeq", 0.0).where(x.constant(float("-inf")), r)
    r = x.compare("ult", 0.0).where(x.constant(float("nan")), r)
    return x.compare("oeq", float("inf")).where(x, r)


def rsqrt(x: Number) -> Number:
    return 1.0 / x.sqrt()


SINGLE = {"exp": exp, "tanh": tanh, "log": log, "rsqrt": rsqrt}


def _libm(name: str):
    def formula(*args: Number) -> Number:
        x = args[0]
        x.code.module.declare(name, "double", ["double"])
        return x.each_lane(lambda code, lane: code.op(f"call double @{name}(double {lane})"))
    return formula


DOUBLE = {"exp": _libm("exp"), "tanh": _libm("tanh"), "log": _libm("log"), "rsqrt": rsqrt}
