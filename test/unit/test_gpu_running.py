"""Running sums and products on a GPU, run by the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpu_harness import GpuRunner
from harness import fusion
from test_nest import check

from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.reduce import CumulativeOp
from tfc.dialects.tfc.types import element_of, tensor_type
from tfc.dims import symbol


def running(shape: Any, dtype: Any, *how: Any) -> FusionOp:
    return fusion("running", [tensor_type(shape, element_of(dtype))], lambda x: [CumulativeOp(x, *how)])


def test_samples() -> None:
    for sample in CumulativeOp.samples():
        x = np.array(sample.args[0], order="C")
        op = fusion("running", [tensor_type(x.shape, element_of(x.dtype))], lambda v, s=sample: [s.make(v)])
        check(GpuRunner(op)(x)[0], np.asarray(op.inner[0].reference(x)), sample.tolerance, sums=True)  # pyright: ignore


@pytest.mark.parametrize(("shape", "axis"), [((9, 700), 1), ((3, 128), 1), ((5, 33), 1), ((70, 40), 0), ((2, 50, 3), 1)])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_shapes(shape: tuple[int, ...], axis: int, exclusive: bool, reverse: bool) -> None:
    x = np.random.default_rng(0).integers(-9, 9, shape)
    op = running(shape, x.dtype, "sum", axis, exclusive, reverse)
    np.testing.assert_array_equal(GpuRunner(op)(x)[0], op.inner[0].reference(x))  # pyright: ignore


def test_named_dims() -> None:
    runner = GpuRunner(running([symbol("n"), symbol("m")], np.float32, "sum", 1))
    for n, m in ((3, 200), (1, 1), (2, 0)):
        x = np.random.default_rng(n).standard_normal((n, m)).astype(np.float32)
        check(runner(x, dims={"n": n, "m": m})[0], np.cumsum(x, 1), 1e-5, sums=True)
