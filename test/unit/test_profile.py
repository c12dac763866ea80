"""``model.profile`` and ``--profile-report``: each launch has its time, its work and its origin."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import tfc
from tfc.cli.compile import main
from tfc.devices import Placement
from tfc.errors import ArtifactError
from tfc.model import as_module
from tfc.modulefile import write_module
from tfc.options import Options
from tfc.profiling import Row, costs, table
from tfc.runtime.rates import Rates, measure_rates

X = np.random.default_rng(0).standard_normal((64, 96), dtype=np.float32)
W = np.random.default_rng(1).standard_normal((96, 32), dtype=np.float32)


def network(x: tfc.Tensor) -> tfc.Tensor:
    """A kernel of rows, and one with a contraction."""
    return tfc.nn.relu(tfc.matmul(tfc.nn.softmax(x), W))


def compiled(rows: int | None = 64, threads: int = 1) -> tfc.Compiled:
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [rows, 96], name="x")
        return tfc.compile(network(x), [x], threads=threads)


@pytest.mark.parametrize("rows", [64, None], ids=["static", "named dim"])
def test_the_work_of_a_contraction_is_counted(rows: int | None) -> None:
    """2mnk for the products and one each for the relu; the operands and the result once."""
    rows_of_softmax, contraction = compiled(rows).profile(X, runs=3)
    assert contraction.operations == ("contract", "max")
    assert contraction.flops == 2 * 64 * 96 * 32 + 64 * 32
    assert contraction.moved == 4 * (64 * 96 + 96 * 32 + 64 * 32)
    assert "exp" in rows_of_softmax.operations
    assert rows_of_softmax.moved == 4 * 2 * 64 * 96


def test_shares_add_up_and_times_are_no_longer_than_the_run() -> None:
    rows = compiled().profile(X, runs=5)
    assert sum(r.share for r in rows) == pytest.approx(1.0)
    assert all(0 < r.seconds < 1.0 for r in rows)


def test_results_and_threads_are_those_of_the_model() -> None:
    model = compiled(threads=2)
    before = np.asarray(model(X))
    assert len(model.profile(X, runs=2)) == len(compiled().profile(X, runs=2))
    np.testing.assert_array_equal(before, np.asarray(model(X)))


def test_the_state_of_the_model_is_left_alone() -> None:
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [4], name="x")
        total = tfc.Variable(np.zeros(4, np.float32))
        model = tfc.compile(tfc.assign_add(total, x), [x])
    ones = np.ones(4, np.float32)
    model(ones)
    model.profile(ones, runs=5)
    np.testing.assert_array_equal(np.asarray(model(ones)), 2 * ones)


def test_a_loaded_model_has_no_clocks(tmp_path: Path) -> None:
    compiled().save(tmp_path / "m.so")
    with pytest.raises(ArtifactError, match="cannot be profiled"):
        tfc.load(tmp_path / "m.so").profile(X)


def test_an_artifact_has_no_clocks(tmp_path: Path) -> None:
    """Those who profile a model do not change what they save."""
    model = compiled()
    model.save(tmp_path / "before.so")
    model.profile(X, runs=1)
    model.save(tmp_path / "after.so")
    assert (tmp_path / "before.so").read_bytes() == (tmp_path / "after.so").read_bytes()


def test_launches_of_one_kernel_share_a_line() -> None:
    rates = Rates(1e11, {1 << 20: 1e10})
    rows = [Row("a", ("add",), "x", 1e-3, 0.25, 10**7, 10**6)] * 2 + [Row("b", ("mul",), "y", 2e-3, 0.5, 0, 1)]
    lines = list(table(rows, rates))
    assert len(lines) == 5
    a = next(line for line in lines if " a: " in line)
    assert a.split()[:6] == ["2.000", "50.0%", "2", "10.0", "1.0", "10%"]
    assert lines[-2].split()[:3] == ["4.000", "100.0%", "3"]


def test_a_bound_takes_the_slower_of_both_rates() -> None:
    rates = Rates(1e9, {1000: 4e9, 10**6: 1e9})
    assert rates.bound(2e9, 10) == 2.0
    assert rates.bound(0, 1000) == pytest.approx(2.5e-7)  # fits the cache
    assert rates.bound(0, 1e9) == 1.0


def test_rates_of_this_machine_are_plausible() -> None:
    """Between one operation a nanosecond and 64 lanes of two units at 6 GHz, and so on."""
    rates = measure_rates()
    assert 1e9 < rates.flops < 2e12
    assert 1e8 < rates.memory <= max(rates.bandwidth.values()) < 1e13


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [64, 96], name="x")
        write_module(as_module(network(x), [x], Options()), tmp_path / "m.mlir")
    return tmp_path / "m.mlir"


def test_the_tool_prints_a_line_for_each_kernel(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "-o", str(file.with_suffix(".so")), "-q", "--profile-report"]) == 0
    head, *lines, total, roof = capsys.readouterr().err.splitlines()
    assert head.split() == ["ms", "share", "times", "GFLOP/s", "GB/s", "roof", "kernel"]
    assert any(re.search(r"contract_max_1: contract max  \[.*m\.mlir:\d+", line) for line in lines)
    assert total.endswith("in all")
    assert "GFLOP/s" in roof


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--emit=llvm"], "--emit=llvm makes none"),
        (["-o", "m.o", "--target=aarch64-linux-gnu"], "is elsewhere"),
    ],
)
def test_what_cannot_be_run_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main([str(file), "--profile-report", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_what_kernels_took_places_them_the_next_time(tmp_path: Path) -> None:
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [64, 64], name="x")
        y = tfc.nn.relu(tfc.matmul(x, x, name="product"), name="positive")
    rows = tfc.compile(y).profile(np.ones((64, 64), np.float32), runs=2)
    text = costs(rows)
    (kernel,) = json.loads(text)["kernels"]
    assert kernel["nodes"] == ["product", "positive"]
    assert kernel["seconds"]["CPU"] == rows[0].seconds
    (tmp_path / "costs.json").write_text(text)
    model = tfc.compile(y, placement=Placement(cpus=2, costs=str(tmp_path / "costs.json")))
    np.testing.assert_array_equal(model(np.eye(64, dtype=np.float32)), np.eye(64))


def test_the_tool_writes_and_reads_costs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, output = str(file.with_suffix(".json")), str(file.with_suffix(".so"))
    assert main([str(file), "-o", output, "-q", "--save-costs", saved]) == 0
    assert json.loads(Path(saved).read_text()).keys() == {"kernels"}
    wanted = ["--device=auto", "--cpu=sm_90", "--placement-costs", saved, "--explain-placement"]
    assert main([str(file), "-o", output, "-q", *wanted]) == 0
    assert "estimated for a run: " in capsys.readouterr().err
    assert main([str(file), "-o", output, "--placement-costs", "absent.json"]) == 2
    assert "cannot read the costs: 'absent.json': no such file" in capsys.readouterr().err
    Path(saved).write_text("[1]")
    assert main([str(file), "-o", output, "--placement-costs", saved]) == 2
    assert "holds no JSON object" in capsys.readouterr().err
