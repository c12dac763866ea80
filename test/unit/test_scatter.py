"""Sums by position: the kernel that goes through the data once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operations import module_of

from tfc.compiler import load, lower
from tfc.dialects.tfc.base import Sample
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.options import Options

KINDS = ["float32", "float64", "int32", "int8", "float16"]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(0, 40),
    segments=st.integers(0, 9),
    width=st.sampled_from([1, 3, 16, 65, 130]),
    kind=st.sampled_from(KINDS),
    ids=st.sampled_from(["int8", "uint8", "int32", "int64", "uint64"]),
    threads=st.sampled_from([1, 2]),
)
def test_sums_by_position(rows: int, segments: int, width: int, kind: str, ids: str, threads: int) -> None:
    """Ids that name no segment, too small or too large, are left out."""
    rng = np.random.default_rng(rows + 100 * segments)
    data = rng.integers(-9, 9, (rows, width)).astype(kind)
    places = rng.integers(0 if ids[0] == "u" else -3, segments + 3, rows).astype(ids)
    sample = Sample(lambda d, i: SegmentSumOp(d, i, segments), data, places)
    module, op = module_of(sample)
    (found,) = load(lower(module, Options(threads=threads))).run([data, places])
    want = op.reference(data, places)
    assert found.dtype == data.dtype
    np.testing.assert_array_equal(found, want)
