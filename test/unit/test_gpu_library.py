"""Functions of f64 on GPUs, against libm: errors in units in the last place, and what C says of special values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from gpu_harness import GpuRunner
from harness import fusion

from tfc.dialects.tfc.base import OPERATIONS
from tfc.dialects.tfc.types import Array, element_of, tensor_type

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, 5e-324, -2.3e-308, 1.7e308, -1.7e308])
RNG = np.random.default_rng(0)
SMALL = RNG.standard_normal(400)
ALL = np.concatenate([SMALL, SMALL * 10.0 ** RNG.uniform(-20, 3, 400)])
HUGE = np.concatenate([ALL, SMALL * 10.0 ** RNG.uniform(3, 300, 400), np.arange(1, 200) * (np.pi / 2)])
UNIT = np.concatenate([RNG.uniform(-1, 1, 400), SMALL * 1e-6])

CASES: dict[str, tuple[Array, float]] = {
    "acos": (UNIT, 4), "acosh": (1 + np.abs(ALL), 4), "asin": (UNIT, 4), "asinh": (HUGE, 4), "atan": (HUGE, 4),
    "atanh": (UNIT, 4), "cos": (HUGE, 4), "cosh": (ALL[np.abs(ALL) < 700], 4), "erf": (ALL, 4), "log1p": (np.abs(ALL), 4),
    "sin": (HUGE, 4), "sinh": (ALL[np.abs(ALL) < 700], 4), "tan": (HUGE, 6),
}  # fmt: skip
"""Arguments of each function, and the greatest error."""


def apply(name: str, *arrays: Array) -> Array:
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    return GpuRunner(fusion("nest", types, lambda *v: [OPERATIONS[f"tfc.{name}"](*v)]))(*arrays)[0]


def units(got: Array, want: Array) -> float:
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(got - want) / np.spacing(np.abs(want)), initial=0.0))


def libm(name: str) -> Callable[[Array], Array]:
    return np.vectorize(math.erf, otypes=[float]) if name == "erf" else getattr(np, name.replace("acos", "arccos").replace("asin", "arcsin").replace("atan", "arctan"))


@pytest.mark.parametrize("name", sorted(CASES))
def test_errors(name: str) -> None:
    x, bound = CASES[name]
    assert units(apply(name, x), libm(name)(x)) <= bound
    with np.errstate(all="ignore"):
        want = libm(name)(SPECIAL)
    got = apply(name, SPECIAL)
    np.testing.assert_allclose(got, want, rtol=1e-15, atol=0)
    zeros = want == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))


def test_powers() -> None:
    x, y = np.abs(HUGE[:1200]), np.resize(SMALL * 20, 1200)
    with np.errstate(all="ignore"):
        want = np.power(x, y)
        np.testing.assert_allclose(apply("pow", x, y), want, rtol=1e-13, atol=5e-324)
        a, b = (v.ravel().copy() for v in np.meshgrid(SPECIAL, [*SPECIAL, 3.0, 2.5, -3.0, 2.0**53, 2.0**52 + 1]))
        np.testing.assert_allclose(apply("pow", a, b), np.power(a, b), rtol=1e-13)


def test_angles_of_points() -> None:
    x, y = HUGE[:800], np.resize(ALL, 800)
    assert units(apply("atan2", y, x), np.arctan2(y, x)) <= 4
    a, b = (v.ravel().copy() for v in np.meshgrid(SPECIAL, SPECIAL))
    np.testing.assert_allclose(apply("atan2", a, b), np.arctan2(a, b), rtol=1e-15)


def test_sine_of_large_single_numbers() -> None:
    x = (SMALL * 10.0 ** RNG.uniform(4, 38, 400)).astype(np.float32)
    x = x[np.isfinite(x)]
    for name in ("sin", "cos", "tan"):
        np.testing.assert_allclose(apply(name, x), libm(name)(x.astype(np.float64)), rtol=3e-7)
