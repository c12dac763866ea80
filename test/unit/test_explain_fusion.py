"""``--explain-fusion``: every operation is named once, and each reason by a graph that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfc
from tfc.cli.compile import main
from tfc.compiler import run_stages
from tfc.model import as_module
from tfc.modulefile import write_module
from tfc.options import Options
from tfc.passes.explain_fusion import ExplainFusion

Make = Callable[[tfc.Tensor, tfc.Tensor], "tfc.Tensor | list[tfc.Tensor]"]
W = np.random.default_rng(0).standard_normal((16, 16), dtype=np.float32)


def explained(make: Make, stages: str = "optimise,lower") -> list[str]:
    """The report about ``make(x, y)``, its lines without places."""
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [64, 16], name="x")
        y = tfc.placeholder(tfc.float32, [64, 16], name="y")
        told = ExplainFusion()
        run_stages(as_module(make(x, y), [x, y], Options()), stages, Options(instruments=[told]))
    return [line[:20].rstrip() if line.startswith("    ") else line for line in told.lines()]


def test_a_chain_is_one_kernel() -> None:
    assert explained(lambda x, y: tfc.exp(x + y) * y) == [
        "add_exp_mul_0 (nest)",
        "    tfc.add",
        "    tfc.exp",
        "    tfc.mul",
        "  stored: it is an output",
    ]


def test_before_kernels_have_names_they_have_numbers() -> None:
    lines = explained(lambda x, y: x + y, "optimise,fusion")
    assert lines[0] == "kernel 0 (nest)"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda x, y: tfc.matmul(x + y, W),
            "a contraction reads its operands from memory; read in contract_1",
        ),
        (
            lambda x, y: tfc.tanh(tfc.matmul(x, W)),
            "tfc.tanh costs as much on the accumulators as in a pass of its own; read in tanh_1",
        ),
        (
            lambda x, y: tfc.reduce_sum(tfc.matmul(x, W), axis=1),
            "tfc.reduce is not elementwise: no epilogue of a contraction; read in reduce_1",
        ),
        (
            lambda x, y: x + tfc.reduce_sum(x * y, axis=0),
            "tfc.broadcast reads elements of it more than once, or not in order; read in ",
        ),
        (
            lambda x, y: [tfc.reduce_sum(z := tfc.exp(x), axis=0), tfc.reduce_sum(z, axis=1)],
            "2 kernels read it; read in ",
        ),
    ],
    ids=["operand", "heavy epilogue", "epilogue", "again", "two readers"],
)
def test_why_a_result_is_stored(make: Make, reason: str) -> None:
    stored = [line for line in explained(make) if line.startswith("  stored: ")]
    assert stored[0].removeprefix("  stored: ").startswith(reason)


def test_a_long_chain_is_cut() -> None:
    def chain(x: tfc.Tensor, y: tfc.Tensor) -> tfc.Tensor:
        for _ in range(40):
            x = tfc.exp(x) * y
        return x

    stored = [line for line in explained(chain) if line.startswith("  stored: ")]
    assert stored[0].startswith("  stored: the kernel has 64 operations")


def test_what_is_copied_is_told() -> None:
    """A broadcast that two kernels read costs nothing in either."""
    lines = explained(
        lambda x, y: [
            tfc.reduce_sum(x * (b := tfc.reshape(y, [1024])[:16]), axis=0),
            tfc.reduce_sum(y * b, axis=1),
        ]
    )
    at = lines.index("in no kernel of their own")
    assert any("tfc.broadcast" in line for line in lines[at:])


def test_the_tool_prints_it_with_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [64, 16], name="x")
        module = as_module(tfc.nn.relu(tfc.matmul(x, W) + x), [x], Options())
    write_module(module, tmp_path / "m.mlir")
    assert main([str(tmp_path / "m.mlir"), "-o", str(tmp_path / "m.so"), "-q", "--explain-fusion"]) == 0
    told = capsys.readouterr()
    assert not told.out
    first, contract, *_, last = told.err.splitlines()
    assert first == "contract_add_max_0 (contraction)"
    assert contract.split()[0] == "tfc.contract"
    assert "m.mlir:" in contract
    assert last == "  stored: it is an output"
