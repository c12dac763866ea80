"""Powers of f32, in double: ``2**(y * log2 |x|)``, whose error is far below one of f32.

Special cases are those of C's ``pow``: 1 to anything and anything to 0 are 1, also for NaN; a
negative number has powers to integers only, and the sign of odd ones.
"""

from __future__ import annotations

from tfc.codegen.cpu.formulas.exponential import exp_double
from tfc.codegen.cpu.formulas.logarithm import log_double
from tfc.codegen.cpu.number import Number

WHOLE = 2.0**24
"""From here on every f32 is an even integer."""


def pow(x: Number, y: Number) -> Number:  # its name everywhere
    logarithm = log_double(abs(x).widen(), subnormals=False)
    # Results beyond 2**1000 or below 2**-1000 are infinite or 0 as f32; NaN passes.
    exponent = (y.widen() * logarithm).at_most(690.0).at_least(-690.0)
    result = exp_double(exponent).narrow()
    size = abs(y)
    large = size.compare("oge", WHOLE)
    shifted = size + 2.0**23
    whole = large | size.compare("oge", 2.0**23) | (shifted - 2.0**23).compare("oeq", size)
    # The lowest bit of an integer below 2**24: of the fraction itself, or once shifted there.
    units = size.compare("oge", 2.0**23).where(size, shifted).bits & 1
    odd = (whole & large.negated()).where(units, 0)
    result = (result.bits | ((odd << 31) & x.bits)).as_float()
    finite = abs(x).compare("olt", float("inf"))
    undefined = x.compare("olt", 0.0) & finite & whole.negated()
    result = undefined.where(result.constant(float("nan")), result)
    infinite = size.compare("oeq", float("inf")) & abs(x).compare("oeq", 1.0)
    one = x.compare("oeq", 1.0) | y.compare("oeq", 0.0) | infinite
    return one.where(result.constant(1.0), result)


def cbrt(x: Number) -> Number:
    """The cube root of f32."""
    a = abs(x)
    logarithm = log_double(a.widen(), subnormals=False)
    root = exp_double((logarithm * (1.0 / 3.0)).at_most(690.0).at_least(-690.0)).narrow()
    keeps = a.compare("oeq", 0.0) | a.compare("oeq", float("inf"))
    return keeps.where(a, root).with_sign_of(x)
