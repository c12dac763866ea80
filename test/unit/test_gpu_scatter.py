"""Sums by position on a GPU, run by the emulator: against numpy, and the same bits in every run."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from gpu_harness import GpuRunner
from harness import fusion
from test_nest import check

from tfc.dialects.tfc.base import Sample
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.dims import symbol


def scatter(data: Array, ids: Array, count: int) -> FusionOp:
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in (data, ids)]
    return fusion("scatter", types, lambda d, i: [SegmentSumOp(d, i, count)])


def run(data: Array, ids: Array, count: int, tolerance: float = 0.0) -> GpuRunner:
    op = scatter(data, ids, count)
    runner = GpuRunner(op)
    got = runner(data, ids)[0]
    check(got, np.asarray(op.inner[0].reference(data, ids)), tolerance, sums=True)  # pyright: ignore
    assert got.tobytes() == runner(data, ids)[0].tobytes()
    return runner


def test_samples() -> None:
    for sample in SegmentSumOp.samples():
        assert isinstance(sample, Sample)
        data, ids = (np.array(a, order="C") for a in sample.args)
        op = fusion("scatter", [tensor_type(a.shape, element_of(a.dtype)) for a in (data, ids)], lambda d, i, s=sample: [s.make(d, i)])
        check(GpuRunner(op)(data, ids)[0], np.asarray(op.inner[0].reference(data, ids)), 1e-6)  # pyright: ignore


@pytest.mark.parametrize(
    ("rows", "columns", "count", "dtype"),
    [(50, 300, 7, np.float32), (1000, 3, 2, np.float32), (700, 1, 1, np.float64), (40, 128, 9, np.int8), (33, 66, 4, np.int64),
     (90, 40, 3, ml_dtypes.bfloat16), (90, 24, 3, np.float16), (5, 2000, 3, np.float32)],
)  # fmt: skip
def test_shapes_and_types(rows: int, columns: int, count: int, dtype: Any) -> None:
    rng = np.random.default_rng(rows)
    data = (rng.standard_normal((rows, columns)) * 9).astype(dtype)
    run(data, rng.integers(-1, count + 1, rows), count, 1e-2 if np.dtype(dtype).itemsize == 2 else 1e-5)


def test_what_is_not_a_number_stays_in_its_segment() -> None:
    data = np.ones((6, 4), np.float32)
    data[2, 1], data[4, 2] = np.nan, np.inf
    run(data, np.array([0, 1, 1, -5, 2, 9], np.int32), 3)


def test_named_dims() -> None:
    f32, i64 = element_of(np.float32), element_of(np.int64)
    types = [tensor_type([symbol("n"), 5], f32), tensor_type([symbol("n")], i64)]
    op = fusion("scatter", types, lambda d, i: [SegmentSumOp(d, i, 3)])
    runner = GpuRunner(op)
    for n in (0, 1, 70):
        data, ids = np.random.default_rng(n).standard_normal((n, 5)).astype(np.float32), np.arange(n) % 4
        check(runner(data, ids, dims={"n": n})[0], np.asarray(SegmentSumOp.reference(scatter(data, ids, 3).inner[0], data, ids)), 1e-5)  # pyright: ignore
