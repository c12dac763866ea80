"""Attention as one kernel of a GPU, run by the emulator; and what NVIDIA's assembler says of the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from gpu_harness import GpuRunner
from harness import fusion
from hypothesis import given, settings
from hypothesis import strategies as st

from tfc.codegen.gpu.assemble import assembler
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.gpu import blocks
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.dims import Dim, symbol

BF16 = ml_dtypes.bfloat16
HEADS = [[0, 2, 1, 3]] * 4
TOLERANCES: dict[Any, float] = {np.float64: 1e-12, np.float32: 2e-6, np.float16: 2e-3, BF16: 1.6e-2}


def attention(*args: Any, **options: Any) -> FusionOp:
    types = [a if not isinstance(a, np.ndarray) else tensor_type(a.shape, element_of(a.dtype)) for a in args]
    return fusion("attention", types, lambda *values: [AttentionOp(*values, **options)])


def check(*args: Array, cpu: str = "sm_90", **options: Any) -> None:
    op = attention(*args, **options)
    (got,) = GpuRunner(op, cpu)(*args)
    with np.errstate(all="ignore"):
        want = np.asarray(op.inner[0].reference(*args))  # pyright: ignore
    assert got.shape == want.shape
    tolerance = TOLERANCES[args[0].dtype.type]
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance)


def numbers(*shape: int, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(dtype)


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST_ROWS", 0)


def usual(n: int) -> Any:
    return n if n in (3, 6, 7, 9, 11) else pytest.param(n, marks=pytest.mark.slow)


@pytest.mark.parametrize("number", [usual(n) for n, s in enumerate(AttentionOp.samples()) if 0 not in s.args[0].shape])
def test_samples(number: int) -> None:
    """Masks, orders of dims, rows that see nothing, NaN and infinities, other types."""
    sample = AttentionOp.samples()[number]
    args = [np.ascontiguousarray(a) for a in sample.args]
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in args]
    op = fusion("attention", types, lambda *values: [sample.make(*values)])
    with np.errstate(all="ignore"):
        want = np.asarray(op.inner[0].reference(*args))  # pyright: ignore
    tolerance = TOLERANCES[args[0].dtype.type]
    (got,) = GpuRunner(op, "sm_90")(*args)
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float16, BF16, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_several_tiles_of_rows_and_keys(dtype: Any) -> None:
    """Heads between rows and columns, the last tiles not full, a depth that is no multiple of what is multiplied at once."""
    q, k, v = numbers(1, 70, 2, 40, dtype=dtype), numbers(1, 130, 2, 40, dtype=dtype), numbers(1, 130, 2, 24, dtype=dtype)
    check(q, k, v, orders=HEADS, scale=40**-0.5)


def test_causal_blocks_end_early() -> None:
    q, k, v = (numbers(1, 140, 16, dtype=np.float16) for _ in range(3))
    check(q, k, v, orders=[[0, 1, 2]] * 4, causal=3)


def test_large_scores_do_not_overflow() -> None:
    """Scores of 1000 and -1000, the largest one in the last tile."""
    q, k, v = numbers(1, 4, 16, dtype=np.float16), numbers(1, 100, 16, dtype=np.float16), numbers(1, 100, 8, dtype=np.float16)
    k[0, 99] = 60
    check(q, k, v, orders=[[0, 1, 2]] * 4, scale=30.0)


def test_lesser_gpus() -> None:
    q, k, v = (numbers(1, 20, 8, dtype=np.float16) for _ in range(3))
    check(q, k, v, orders=[[0, 1, 2]] * 4, cpu="sm_75")


def test_only_the_rows_come_asynchronously() -> None:
    """Pairs of q are copied at once; those of k, whose depth comes first, and of a single column of v are not."""
    q, k, v = (numbers(*shape, dtype=np.float16) for shape in ((1, 1, 2), (2, 1, 1), (1, 1, 1)))
    check(q, k, v, orders=[[0, 1, 2], [1, 2, 0], [0, 1, 2], [0, 1, 2]], scale=0.7)


@pytest.mark.parametrize("keys", [0, symbol("keys")])
def test_without_keys_there_are_zeros(keys: Dim) -> None:
    types = [tensor_type(shape, element_of(np.float16)) for shape in ((2, 20, 8), (2, keys, 8), (2, keys, 3))]
    runner = GpuRunner(attention(*types, orders=[[0, 1, 2]] * 4))
    (got,) = runner(*(numbers(2, n, m, dtype=np.float16) for n, m in ((20, 8), (0, 8), (0, 3))), dims={"keys": 0})
    assert not got.any()


@given(st.data())
@settings(max_examples=3, deadline=None)
def test_any_extents(data: st.DataObject) -> None:
    draw, blocks.LEAST_ROWS = data.draw, 0
    batch, rows, keys = (draw(st.integers(1, n)) for n in (3, 80, 80))
    depth, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    orders = [draw(st.permutations(range(3))) for _ in range(4)]
    shapes = [(batch, rows, depth), (batch, keys, depth), (batch, keys, columns)]
    args = [
        numbers(*(shape[order.index(d)] for d in range(3)), dtype=np.float16)
        for shape, order in zip(shapes, orders, strict=False)
    ]
    mask = [numbers(*(1 if draw(st.booleans()) else n for n in (batch, rows, keys)))] if draw(st.booleans()) else []
    causal = draw(st.none() | st.integers(0, 9))
    check(*args, *mask, orders=orders, scale=0.7, causal=causal)


def test_who_has_a_tile() -> None:
    target, half, f32 = GpuTarget.parse("sm_90"), element_of(np.dtype(np.float16)), element_of(np.dtype(np.float32))
    assert blocks.attention_tile(128, 128, 2048, half, target) is not None
    assert blocks.attention_tile(256, 256, 2048, half, target) is not None
    assert blocks.attention_tile(512, 64, 2048, half, target) is None
    assert blocks.attention_tile(256, 256, 2048, f32, target) is None


@pytest.mark.skipif(not assembler(), reason="there is no ptxas")
@pytest.mark.parametrize(
    ("dtype", "depth"),
    [(np.float16, 64), (BF16, 128), (np.float32, 128), *(pytest.param(*p, marks=pytest.mark.slow) for p in ((BF16, 64), (np.float32, 64), (np.float16, 128)))],
)
def test_fits_a_multiprocessor(dtype: Any, depth: int, tmp_path: Path) -> None:
    type_ = tensor_type([2, 12, 2048, depth], element_of(np.dtype(dtype)))
    runner = GpuRunner(attention(type_, type_, type_, orders=[[0, 1, 2, 3]] * 4, scale=0.1, causal=0), "sm_90")
    source = tmp_path / "k.ptx"
    source.write_text(runner.ptx)
    command = [assembler(), "-v", "-arch=sm_90", "-o", str(tmp_path / "k.cubin"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entry = done.stderr.split("Compiling entry function")[1].split("Compile time")[0]
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in entry, entry
    registers = int(re.search(r"Used (\d+) registers", entry)[1])  # pyright: ignore
    assert registers <= (128 if dtype != np.float32 and depth == 64 else 255), entry


