"""Fresh arrays for the outputs of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfc.errors import ArtifactError

LINE = 64
"""Bytes of a line of the caches."""

LARGE = 1 << 16
"""Bytes from which on an array begins a line: numpy's own begin anywhere, so that every vector store of
a kernel would touch two lines."""


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], large: int = LARGE) -> NDArray[Any]:
    """``np.empty``, but an array of ``large`` bytes or more begins a line of the caches."""
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    if size < large:
        return np.empty(shape, dtype)
    try:
        block = np.empty(size + LINE, np.uint8)
    except (MemoryError, ValueError):  # too much for the machine, or for an array of numpy
        raise ArtifactError(f"out of memory: an output of shape {list(shape)} has {size:,} bytes") from None
    start = -block.ctypes.data % LINE
    return block[start : start + size].view(dtype).reshape(shape)


def allocator(outputs: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> Callable[..., NDArray[Any]]:
    """What makes arrays of these shapes and dtypes: numpy's own function where none is large."""
    large = any(np.prod(shape, dtype=np.int64) * dtype.itemsize >= LARGE for shape, dtype in outputs)
    return empty if large else np.empty
