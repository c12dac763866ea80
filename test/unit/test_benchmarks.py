"""The benchmarks' workloads, small: tfc gives what numpy gives in float64, and so do their ONNX files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tfc
from tfc.runtime import cuda
from tfc.runtime.rates import Rates

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu
import networks
import report
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


def test_workloads_go_by_their_names() -> None:
    assert all(make().name == name for name, make in workloads.WORKLOADS.items())


def test_bound_is_the_slower_of_computing_and_moving() -> None:
    rates = Rates(100.0, {10: 8.0, 1000: 2.0})
    assert rates.bound(200.0, 4.0) == 2.0  # at 8 bytes a second moving takes a quarter of that
    assert rates.bound(200.0, 40.0) == 20.0
    assert rates.bound(0.0, 4000.0) == 2000.0  # larger than all that was measured


def test_page_and_chart_tell_who_is_faster() -> None:
    def figures(seconds: float) -> dict[str, float]:
        spread = {"low": seconds * 0.9, "high": seconds * 1.1, "processor": seconds}
        return {"median": seconds, "prepare": 0.25, "memory": 5e7, "beside": seconds * 1.5, **spread}

    document = {
        "machine": {"cpu": "a cpu & its name", "cores": 2, "system": "Linux", "python": "3"},
        "threads": 1,
        "rounds": 3,
        "rates": {"flops": 1e11, "bandwidth": {"1048576": 1e10}},
        "versions": {"tfc": "1", "numpy": "2"},
        "results": [
            {
                "name": "softmax", "title": "softmax [2, 3]", "flops": 1e8, "moved": 1e6,
                "peers": {"tfc": figures(2e-3), "numpy": figures(5e-3), "jax": {"error": "no"}},
            }
        ],
    }  # fmt: skip
    results = report.joined([document])
    page = report.page([document], results, "chart.svg")
    assert (
        "| softmax [2, 3] | 2 (1.8 to 2.2) | numpy 5 (4.5 to 5.5) | **2.50 (2.05 to 3.06)**" in page
    )
    assert "| 50 % |" in page
    assert "| softmax [2, 3] | 3 (1.50) | 7.5 (1.50) | - |" in page
    assert "softmax [2, 3], jax: no" in page
    drawing = ElementTree.fromstring(report.drawing("a cpu & its name", results))
    assert any(
        title.text == "numpy 2.50" for title in drawing.iter("{http://www.w3.org/2000/svg}title")
    )


@pytest.fixture
def no_gpu() -> Iterator[None]:
    """The machine's own driver, if any, is not asked; afterwards it is again."""
    cuda.use_driver(None)
    yield
    cuda.use_driver(None)


@pytest.mark.usefixtures("no_gpu")
def test_cases_of_a_gpu_on_the_emulator(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--emulate", "matmul-tf32-*", "relu*", "softmax-bf16-*"]) == 0
    errors = [float(line.split("by ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(errors) == 3
    assert max(errors) < 5e-3


@pytest.mark.usefixtures("no_gpu")
def test_where_there_is_no_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "gpus_here", lambda: 0)
    assert gpu.main([]) == 1
    assert "there is no GPU here" in capsys.readouterr().err


def test_what_a_line_says() -> None:
    case = next(c for c in gpu.cases(small=False) if c.name == "matmul-bf16-4096")
    line = gpu.Figures(case, 2e-4, {"torch": 1e-4}).line({"bf16": 1.4e15}, 4e12)
    assert "687.2 TFLOP/s   0.49 x peak" in line
    assert "torch 0.50" in line
    copied = next(c for c in gpu.cases(small=False) if c.name.startswith("relu"))
    assert "0.50 x copy" in gpu.Figures(copied, 2 * copied.moved / 4e12, {}).line({}, 4e12)
