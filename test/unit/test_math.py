"""Each formula against exact values: its stated error, special values, several ISAs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_runner import RUNNABLE, apply

from tfc.codegen.cpu.formulas import DOUBLE, SINGLE

Array = np.ndarray[Any, Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])

REFERENCES: dict[str, Callable[..., Array]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "cbrt": np.cbrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": _erf,
    "atan2": np.arctan2, "powf": np.power,
}  # fmt: skip
BINARY = ("atan2", "powf")
UNARY = [name for name in REFERENCES if name not in BINARY]

SPECIALS = [
    0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.5, 3.0, -3.0,
    1e-45, -1e-45, 1e-40, -1e-40, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 1e30, -1e30,
    88.72, 88.73, 89.1, -87.3, -87.4, -103.9, -104.1, 9.0, 9.02, 10.0, -10.0, 20.0, 3.9, 4.0,
    2.0**23 - 0.5, 2.0**23 + 1, 2.0**24 - 1, -(2.0**24) + 1, 2.0**24, 1e5, 1048576.0, 1048577.0,
    1e6, 1e22, 1.0000001, 0.99999994, -0.99999994, 0.70710677, 1.4142135, 0.8500001,
]  # fmt: skip


def samples(dtype: Any, count: int = 40_000) -> Array:
    """Specials, numbers near 1, within exp's range, and any bits at all."""
    rng = np.random.default_rng(1)
    width = np.dtype(dtype).itemsize
    any_bits = np.frombuffer(rng.bytes(count * width), dtype)
    parts = [np.array(SPECIALS), rng.normal(size=count), rng.uniform(-110, 110, count)]
    quiet = np.where(np.isnan(any_bits), np.array(math.nan, dtype), any_bits)  # numpy warns of others
    parts += [rng.uniform(0, 2, count), quiet]
    with np.errstate(over="ignore"):
        return np.concatenate([p.astype(dtype) for p in parts])


def check(name: str, ulp: float, result: Array, *arguments: Array) -> None:
    """``result`` is within ``ulp`` of the exact values, and its specials are theirs."""
    dtype = result.dtype
    exact_type = np.float64 if dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        exact = REFERENCES[name](*(a.astype(exact_type) for a in arguments))
        nearest = exact.astype(dtype)
        spacing = np.spacing(np.abs(nearest)).astype(exact_type)
        error = np.abs(result.astype(exact_type) - exact) / spacing
    same = (result == nearest) | (np.isnan(result) & np.isnan(nearest))
    finite = np.isfinite(result) & np.isfinite(nearest)
    wrong = np.where(finite, error > ulp, ~same)
    wrong |= (nearest == 0) & (np.signbit(nearest) != np.signbit(result))
    shown = [(*(a[wrong][:5] for a in arguments), result[wrong][:5], nearest[wrong][:5])]
    assert not wrong.any(), f"{wrong.sum()} wrong, such as {shown}; worst {np.nanmax(error[finite])}"


@pytest.mark.parametrize("cpu", RUNNABLE)
@pytest.mark.parametrize("name", UNARY)
def test_single(name: str, cpu: str) -> None:
    x = samples(np.float32)
    check(name, SINGLE[name].ulp, apply(f"math.{name}", x, lanes=32, cpu=cpu), x)


@pytest.mark.parametrize("name", UNARY)
def test_scalars_agree_with_vectors(name: str) -> None:
    x = samples(np.float32, 2000)
    scalar, *vectors = (apply(f"math.{name}", x, lanes=n) for n in (0, 5, 16, 48, 64))
    for vector in vectors:
        np.testing.assert_array_equal(vector, scalar)


@pytest.mark.parametrize("name", [n for n in UNARY if n in DOUBLE and n != "erf"])
def test_double(name: str) -> None:
    x = samples(np.float64, 10_000)
    for lanes in (0, 8, 16):
        check(name, DOUBLE[name].ulp, apply(f"math.{name}", x, lanes=lanes), x)


def test_erf_of_double() -> None:
    x = samples(np.float64, 2000)
    np.testing.assert_allclose(apply("math.erf", x, lanes=8), _erf(x), rtol=4e-16, atol=0)


@pytest.mark.parametrize("cpu", RUNNABLE)
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name: str, cpu: str) -> None:
    rng = np.random.default_rng(2)
    pairs = np.meshgrid(np.array(SPECIALS, np.float32), np.array(SPECIALS, np.float32))
    near = [rng.uniform(0, 10, 50_000), rng.uniform(-40, 40, 50_000)]
    whole = [rng.normal(size=10_000) * 4, rng.integers(-30, 30, 10_000)]
    groups = [pairs, near, whole]
    x, y = (np.concatenate([g[k].ravel() for g in groups]).astype(np.float32) for k in (0, 1))
    check(name, SINGLE[name].ulp, apply(f"math.{name}", x, y, lanes=16, cpu=cpu), x, y)


@pytest.mark.parametrize("cpu", RUNNABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_of_what_is_never_positive(dtype: Any, cpu: str) -> None:
    x = -np.abs(samples(dtype, 20_000))
    table = SINGLE if dtype == np.float32 else DOUBLE
    for lanes in (0, 5, 32):
        result = apply("math.exp", x, lanes=lanes, cpu=cpu, attributes="{never_positive}")
        with np.errstate(all="ignore"):
            normal = ~(np.exp(x) < np.finfo(dtype).tiny)
        check("exp", table["exp_of_never_positive"].ulp, result[normal], x[normal])
        small = result[~normal]
        assert ((small >= 0) & (small < np.finfo(dtype).tiny * 1.01)).all()
        assert (result[x == -math.inf] == 0).all()


def test_saturation_is_exact() -> None:
    x = np.linspace(9.1, 50, 1000, dtype=np.float32)
    assert (apply("math.tanh", x) == 1).all()
    assert (apply("math.tanh", -x) == -1).all()
    assert (apply("math.erf", x) == 1).all()


@pytest.mark.parametrize("cpu", RUNNABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "function"),
    [("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("roundeven", np.rint)],
)
def test_rounding(name: str, function: Callable[[Array], Array], dtype: Any, cpu: str) -> None:
    halves = np.arange(-40, 40) * 0.25
    x = np.concatenate([samples(dtype, 2000), halves.astype(dtype), (halves + 2.0**22).astype(dtype)])
    result = apply(f"math.{name}", x, cpu=cpu)
    np.testing.assert_array_equal(result, function(x))
    zeros = result == 0
    np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(function(x)[zeros]))


@pytest.mark.parametrize("cpu", RUNNABLE)
def test_round_goes_away_from_zero(cpu: str) -> None:
    x = np.array([0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388609.0, -0.2, math.inf], np.float32)
    expected = np.array([1, -1, 2, 3, -3, 0, 8388609, -0.0, math.inf], np.float32)
    np.testing.assert_array_equal(apply("math.round", x, cpu=cpu), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_integer_powers_wrap_around(dtype: Any) -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.arange(-9, 10), np.arange(0, 40)))
    expected = np.array([int(a) ** int(b) for a, b in zip(x, y, strict=True)], object)
    bits = 8 * np.dtype(dtype).itemsize
    wrapped = np.array([(v + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)) for v in expected])
    result = apply("math.ipowi", x.astype(dtype), y.astype(dtype))
    np.testing.assert_array_equal(result, wrapped.astype(dtype))


def test_integer_powers_below_zero() -> None:
    x = np.array([1, -1, -1, 2, 0, -2], np.int32)
    y = np.array([-3, -3, -2, -1, -1, -3], np.int32)
    np.testing.assert_array_equal(apply("math.ipowi", x, y), [1, -1, 1, 0, 0, 0])
