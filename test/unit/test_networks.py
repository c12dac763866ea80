"""Whole networks ahead of time: random weights, the library, and the onnx package's evaluator."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tfc
from tfc.cli.compile import main

onnx = pytest.importorskip("onnx")

ATOL, RTOL = 1e-6, 1e-3
"""Probabilities of a few units in the last place per layer; the smallest are 1e-20."""


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet",
        "shufflenet",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("inception_v2", marks=pytest.mark.slow),
    ],
)
def test_library_agrees_with_the_evaluator(demo: ModuleType, name: str, tmp_path: Path) -> None:
    network = demo.with_weights(onnx.load(str(demo.LIGHT / f"light_{name}.onnx")))
    path = tmp_path / f"{name}.onnx"
    onnx.save(network, str(path))
    assert main([str(path), "-o", str(path.with_suffix(".so")), "-q"]) == 0
    model = tfc.load(path.with_suffix(".so"))
    x = demo.noise(model)
    got, expected = model(x), demo.evaluated(network, x)
    assert np.ptp(expected) > 1e-4, "a network whose outputs are all equal shows nothing"
    np.testing.assert_allclose(got, expected, rtol=RTOL, atol=ATOL)
