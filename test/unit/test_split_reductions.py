"""Reductions in two steps: results against numpy, the same bits for any number of threads."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tfc

DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f64": np.float64, "i32": np.int32}


@pytest.mark.parametrize(
    ("shape", "axes", "kind", "dtype"),
    [
        ((300_000,), [0], "sum", "f32"),
        ((262_147,), [0], "sum", "f16"),  # a prime: padded
        ((262_147,), [0], "max", "bf16"),
        ((262_147,), [0], "min", "i32"),
        ((700, 768), [0], "sum", "f32"),
        ((3, 500, 301), [1, 2], "sum", "f64"),
        ((100, 60, 50), [0, 1, 2], "max", "f32"),
        ((2, 90, 40, 50), [0, 1, 2], "sum", "i32"),
    ],
)
def test_like_numpy(tmp_path: Path, shape: tuple[int, ...], axes: list[int], kind: str, dtype: str) -> None:
    kept = [n for d, n in enumerate(shape) if d not in axes]
    source = f"tensor<{'x'.join(map(str, shape))}x{dtype}>"
    result = f"tensor<{''.join(f'{n}x' for n in kept)}{dtype}>"
    path = tmp_path / "model.mlir"
    path.write_text(
        f"func.func @main(%x : {source}) -> {result} {{\n"
        f"  %y = tfc.reduce {kind} %x over {axes} : {source} -> {result}\n  func.return %y : {result}\n}}\n"
    )
    x = (np.random.default_rng(0).standard_normal(shape) * 3).astype(DTYPES[dtype])
    one, three = (np.asarray(tfc.compile(path, threads=n)(x)) for n in (1, 3))
    np.testing.assert_array_equal(one, three)
    wide = x.astype(np.int64 if dtype == "i32" else np.float64)
    want = {"sum": np.sum, "max": np.max, "min": np.min}[kind](wide, axis=tuple(axes))
    exact = kind != "sum" or dtype == "i32"
    of_result, of_sums = {"f16": (2.0**-11, 2.0**-26), "f32": (2.0**-23, 2.0**-26)}.get(dtype, (2.0**-52, 2.0**-55))
    bound = 0 if exact else of_result * np.abs(want) + of_sums * np.sum(np.abs(wide), axis=tuple(axes))
    assert (np.abs(one.astype(wide.dtype) - want) <= bound).all()
