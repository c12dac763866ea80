"""Attention as one kernel: what its operations give one by one, for all shapes, masks and element types."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_operations import close, module_of

from tfc.compiler import load, lower
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.base import Sample
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.dims import Dim, symbol
from tfc.options import Options
from tfc.passes import find_attention

KINDS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
HEADS = [[0, 2, 1, 3], [0, 2, 1, 3], [0, 2, 1, 3], [0, 2, 1, 3]]


@pytest.fixture(autouse=True, scope="module")
def small_ones():
    """Attentions are kernels of their own from the first score on."""
    scores, find_attention.SCORES = find_attention.SCORES, 1
    yield
    find_attention.SCORES = scores


def run(sample: Sample, threads: int = 1, types: Any = None) -> tuple[Array, Array]:
    """What one kernel gives, and the reference."""
    module, _ = module_of(sample, types)
    lowered = lower(module, Options(threads=threads))
    assert "attention" in [name for work in lowered.works for name in work.operations]
    (found,) = load(lowered).run(sample.args)
    return found, module_of(sample)[1].reference(*sample.args)  # pyright: ignore[reportReturnType]


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    rows=st.one_of(st.integers(1, 30), st.integers(90, 220)),
    keys=st.one_of(st.integers(2, 70), st.integers(250, 600)),
    depth=st.sampled_from([3, 64]),
    columns=st.sampled_from([1, 16, 40, 64, 100]),
    kind=st.sampled_from(KINDS),
    mask=st.sampled_from(["none", "floats", "bools", "row", "keys"]),
    causal=st.sampled_from([None, None, 0, 3]),
    heads=st.booleans(),
)
def test_attention_is_the_reference(
    rows: int, keys: int, depth: int, columns: int, kind: Any, mask: str, causal: int | None, heads: bool
) -> None:
    rng = np.random.default_rng(rows + 1000 * keys)
    q, k, v = (rng.standard_normal((2, 2, n, m)).astype(kind) for n, m in ((rows, depth), (keys, depth), (keys, columns)))
    masks = {
        "floats": rng.standard_normal((1, 2, rows, keys)).astype(kind),
        "bools": rng.random((2, 1, rows, keys)) < 0.8,
        "row": rng.standard_normal((1, 1, rows, 1)).astype(np.float32),
        "keys": np.where(rng.random((1, 1, 1, keys)) < 0.5, 0, -np.inf).astype(np.float32),
    }
    args = [a.transpose(0, 2, 1, 3).copy() if heads else a for a in (q, k, v)]
    args += [masks[mask]] if mask in masks else []
    orders = HEADS if heads else [[0, 1, 2, 3]] * 4
    sample = Sample(lambda *x: AttentionOp(*x, orders=orders, scale=0.3, fill=-7.0, causal=causal), *args)
    found, want = run(sample)
    close(found, want, 1e-5, str(sample.args[0].shape))


def test_special_values() -> None:
    """Not-a-numbers reach their row, infinite scores make one, a row without keys is one."""
    q = np.zeros((4, 8), np.float32)
    q[1, 0], q[2, 0], q[3, 0] = np.nan, np.inf, -np.inf
    k, v = np.ones((300, 8), np.float32), np.arange(300 * 3, dtype=np.float32).reshape(300, 3)
    found, want = run(Sample(lambda *x: AttentionOp(*x, orders=[[0, 1]] * 4), q, k, v))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
    np.testing.assert_allclose(found[0], want[0], 1e-5)
    hidden = np.zeros((4, 300), np.bool_)
    hidden[1, 299] = True
    found, want = run(Sample(lambda *x: AttentionOp(*x, orders=[[0, 1]] * 4), np.zeros_like(q), k, v, hidden))
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("causal", [None, 1])
def test_any_number_of_threads_gives_the_same_bits(causal: int | None) -> None:
    rng = np.random.default_rng(3)
    args = [rng.standard_normal((3, n, 16), np.float32) for n in (211, 307, 307)]
    sample = Sample(lambda *x: AttentionOp(*x, orders=[[0, 1, 2]] * 4, causal=causal), *args)
    one, three = run(sample, 1)[0], run(sample, 3)[0]
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (100, 300), (7, 257)])
def test_lengths_that_are_not_known(rows: int, keys: int) -> None:
    rng = np.random.default_rng(4)
    args = [rng.standard_normal((2, n, 16), np.float32) for n in (rows, keys, keys)]
    lengths: list[Dim] = [symbol("rows"), symbol("keys"), symbol("keys")]
    types = [tensor_type([2, n, 16], element_of(np.float32)) for n in lengths]
    found, want = run(Sample(lambda *x: AttentionOp(*x, orders=[[0, 1, 2]] * 4, scale=0.25), *args), 2, types)
    close(found, want, 1e-5, f"{rows} x {keys}")
