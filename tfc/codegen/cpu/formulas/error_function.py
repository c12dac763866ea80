"""The error function of f32.

    erf(x) = x + x * P(x*x)         below CUT
    erf(x) = 1 - exp(Q(x))          above: Q is the logarithm of erfc

Where registers are tables, it is taken from those (`pieces.py`).
"""

from __future__ import annotations

from tfc.codegen.cpu.formulas import pieces, x86
from tfc.codegen.cpu.formulas.exponential import power_of_two, reduced
from tfc.codegen.cpu.number import Number

CUT = 0.85
SATURATED = 3.95
"""From here on the nearest f32 is 1."""

# 2**-27.1
NEAR = (0.12837916612625122, -0.37612593173980713, 0.1128290519118309, -0.0268089696764946,
        0.005060471594333649, -0.000636421435046941)  # fmt: skip

# 2**-31.9
FAR = (0.00015450225328095257, -1.1294156312942505, -0.6335520148277283, -0.10804973542690277,
       0.024967633187770844, -0.0041124094277620316, 0.0004221624112688005,
       -2.0015544578200206e-05)  # fmt: skip


def erf(x: Number) -> Number:
    if x86.has_lookup(x):
        return pieces.ERF(x)
    a = abs(x).at_most(SATURATED)
    square = a * a
    near = (a * square.polynomial(NEAR)) + a
    tail, n = reduced(a.polynomial(FAR))
    power = power_of_two(n)
    far = 1.0 - power.fma(tail, power)
    return a.compare("olt", CUT).where(near, far).with_sign_of(x)
