"""Fresh arrays for outputs: large ones begin a line of the caches."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfc.runtime.arrays import LARGE, LINE, allocator, empty


@pytest.mark.parametrize("dtype", [np.bool_, np.float16, ml_dtypes.bfloat16, np.float32, np.int64])
@pytest.mark.parametrize("shape", [(), (0, 5), (3, 7), (300, 1001)])
def test_large_arrays_begin_a_line(shape: tuple[int, ...], dtype: type) -> None:
    kind = np.dtype(dtype)
    a = empty(shape, kind)
    assert (a.shape, a.dtype) == (shape, kind)
    assert a.flags.c_contiguous
    assert a.flags.writeable
    assert a.nbytes < LARGE or a.ctypes.data % LINE == 0


def test_small_arrays_are_left_to_numpy() -> None:
    kind = np.dtype(np.float32)
    assert allocator([((2,), kind), ((LARGE // 4 - 1,), kind)]) is np.empty
    assert allocator([((2,), kind), ((LARGE // 4,), kind)]) is empty
