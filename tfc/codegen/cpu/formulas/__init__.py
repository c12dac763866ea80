"""Transcendental functions as vector code, with the error each may make.

Every formula is written once, for scalars and vectors of any length, without branches but for the
few lanes that are left to libm. NaN, infinities, zeros with their signs and subnormal numbers are
treated as C's functions treat them. Errors are against the exact value, in units in
the last place of the result; tests hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tfc.codegen.cpu.formulas import (
    error_function,
    exponential,
    logarithm,
    power,
    rounding,
    trigonometry,
)
from tfc.codegen.cpu.formulas.libm import lane_by_lane
from tfc.codegen.cpu.number import Number


@dataclass(frozen=True)
class Formula:
    """How a function is computed.

    Attributes:
        write: writes the instructions.
        ulp: the greatest error, in units in the last place.
        copies: how often it is written out in one kernel; from then on a helper is called. Written
            out it is 5 to 12 % faster, and values that are alive stay in registers.
    """

    write: Callable[..., Number]
    ulp: float
    copies: int = 2


ALWAYS = 1 << 30


def _rsqrt(x: Number) -> Number:
    return 1.0 / x.sqrt()


SINGLE: dict[str, Formula] = {
    "exp": Formula(exponential.exp, 1.0),
    "exp_of_never_positive": Formula(exponential.exp_of_never_positive, 1.0),
    "exp2": Formula(exponential.exp2, 0.6),
    "expm1": Formula(exponential.expm1, 1.5),
    "log": Formula(logarithm.log, 1.0),
    "log1p": Formula(logarithm.log1p, 1.5),
    "log2": Formula(logarithm.log2, 0.6),
    "log10": Formula(logarithm.log10, 0.6),
    "sqrt": Formula(Number.sqrt, 0.5, ALWAYS),
    "rsqrt": Formula(_rsqrt, 1.5, ALWAYS),
    "cbrt": Formula(power.cbrt, 0.6),
    "sin": Formula(trigonometry.sin, 1.7),
    "cos": Formula(trigonometry.cos, 1.7),
    "tan": Formula(trigonometry.tan, 0.6),
    "asin": Formula(trigonometry.asin, 0.6),
    "acos": Formula(trigonometry.acos, 0.6),
    "atan": Formula(trigonometry.atan, 0.6),
    "atan2": Formula(trigonometry.atan2, 0.6),
    "sinh": Formula(exponential.sinh, 0.6),
    "cosh": Formula(exponential.cosh, 0.6),
    "tanh": Formula(exponential.tanh, 2.0),
    "asinh": Formula(logarithm.asinh, 0.6),
    "acosh": Formula(logarithm.acosh, 0.6),
    "atanh": Formula(logarithm.atanh, 0.6),
    "erf": Formula(error_function.erf, 2.0),
    "powf": Formula(power.pow, 0.6),
}
"""Of f32."""

_LIBM = {name: name for name in ("exp2", "log1p", "log2", "log10", "cbrt", "sin", "cos", "tan",
                                 "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh",
                                 "acosh", "atanh", "erf")} | {"powf": "pow"}  # fmt: skip

DOUBLE: dict[str, Formula] = {
    "exp": Formula(exponential.exp, 1.5),
    "exp_of_never_positive": Formula(exponential.exp_of_never_positive, 1.5),
    "expm1": Formula(exponential.expm1, 2.5),
    "log": Formula(logarithm.log, 1.0),
    "tanh": Formula(exponential.tanh, 2.5),
    "sqrt": Formula(Number.sqrt, 0.5, ALWAYS),
    "rsqrt": Formula(_rsqrt, 1.5, ALWAYS),
    **{name: Formula(lane_by_lane(libm), 4.0, copies=0) for name, libm in _LIBM.items()},
}
"""Of f64. The errors of libm's are those of glibc 2.31 and later (4 for cbrt, mostly below 1)."""

ROUNDING: dict[str, Callable[[Number], Number]] = {
    "floor": rounding.floor,
    "ceil": rounding.ceil,
    "trunc": rounding.trunc,
    "round": rounding.round,
    "roundeven": rounding.roundeven,
}
"""Where the target has no instruction for it."""
