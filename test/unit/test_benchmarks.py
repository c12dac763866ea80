"""The benchmarks' workloads, small: tfc gives what numpy gives in float64, and so do their ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import tfc

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import networks
import workloads
from form import Workload
from numpy_form import NumpyForm
from onnx_form import model_of

SMALL = {
    "matmul": lambda: workloads.matmul(24),
    "dense": lambda: workloads.dense(5, 24),
    "mlp": lambda: workloads.mlp(6, (20, 12, 12, 5)),
    "fusion": lambda: workloads.fusion(9, 37),
    "softmax": lambda: workloads.softmax(7, 41),
    "layernorm": lambda: workloads.layer_norm(7, 41),
    "lstm": lambda: workloads.lstm(3, 2, 8),
    "tiny": lambda: workloads.tiny(16),
    "resnet50": lambda: networks.resnet50(32, 4, (1, 2)),
    "bert": lambda: networks.bert(1, 16, 2, 6),
    "gpt2": lambda: networks.gpt2(1, 16, 2, 5, 30),
}


def reference(workload: Workload) -> tuple[np.ndarray, ...]:
    form = NumpyForm(np.float64)
    return form.run(workload, {k: form.keep(a) for k, a in workload.inputs.items()})


@pytest.mark.parametrize("name", SMALL)
def test_tfc_computes_the_workload(name: str) -> None:
    workload = SMALL[name]()
    model = tfc.compile(model_of(workload, unroll=True))
    results = model.run(workload.inputs)
    for k, expected in enumerate(reference(workload)):
        # sums of at most a few hundred terms in f32: 1e-5 of the largest is ten times what is seen
        bound = 1e-5 * max(1.0, float(np.max(np.abs(expected))))
        np.testing.assert_allclose(results[f"y{k}"], expected, rtol=0, atol=bound)
