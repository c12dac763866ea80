"""Rounding to integers where the target has no instruction for it.

Adding and taking away ``2**fraction`` rounds to the nearest integer, halves to even; numbers
beyond that are integers already.
"""

from __future__ import annotations

from tfc.codegen.cpu.formulas.exponential import format_of
from tfc.codegen.cpu.number import Number


def _nearest(x: Number) -> Number:
    """``x`` >= 0, or NaN."""
    limit = 2.0 ** format_of(x).fraction
    return x.compare("olt", limit).where((x + limit) - limit, x)


def roundeven(x: Number) -> Number:
    return _nearest(abs(x)).with_sign_of(x)


def floor(x: Number) -> Number:
    y = roundeven(x)
    return y.compare("ogt", x).where(y - 1.0, y).with_sign_of_zero(x)


def ceil(x: Number) -> Number:
    y = roundeven(x)
    return y.compare("olt", x).where(y + 1.0, y).with_sign_of_zero(x)


def trunc(x: Number) -> Number:
    a = abs(x)
    y = _nearest(a)
    return y.compare("ogt", a).where(y - 1.0, y).with_sign_of(x)


def round(x: Number) -> Number:  # the operation's name
    """Halves away from 0."""
    a = abs(x)
    y = trunc(a)
    return (a - y).compare("oge", 0.5).where(y + 1.0, y).with_sign_of(x)
