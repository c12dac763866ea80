"""Values that are fed: as arrays of their tensors' elements and shapes, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfc.dialects.tfc.types import Array
from tfc.errors import FeedError
from tfc.graph.node import Operation, Tensor


def as_dict(feeds: Any) -> dict[Any, Any]:
    if not isinstance(feeds, Mapping):
        raise FeedError(f"expected a dict from tensors to values, got {type(feeds).__name__}")
    return dict(feeds)


def as_fed(t: Tensor, value: Any) -> Array:
    """A fed value as an array of the tensor's element type."""
    dtype = t.dtype.numpy
    where = t.op.made_at
    if isinstance(value, Tensor | Operation) or hasattr(value, "_as_tensor"):
        message = f"the value of a feed cannot be a tensor: '{t.name}' is fed {value!r}"
        raise FeedError(message, where=where, help="run the tensor first and feed its value")
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype == dtype:
            return array
        if not _fits(array, dtype):
            message = f"'{t.name}': expected {t.dtype.name} {t.shape}, got {array.dtype} {array.shape}"
            raise FeedError(message, where=where, help=f"value.astype('{t.dtype.name}') converts it")
        return array.astype(dtype)
    try:
        array = np.asarray(value)
        if array.size and not _fits(array, dtype):
            raise TypeError(_got(array))
        return array.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"'{t.name}': expected {t.dtype.name} {t.shape}: {error}"
        raise FeedError(message, where=where) from None


def _fits(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether the values stay what they are, but for rounding; integers have to be in range, whatever numpy casts."""
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        if np.can_cast(array.dtype, dtype) or array.size == 0:
            return True
        limits = np.iinfo(dtype)
        return int(array.min()) >= limits.min and int(array.max()) <= limits.max
    return bool(np.can_cast(array.dtype, dtype, "same_kind"))


def _got(array: Array) -> str:
    """What was found where a Python value does not fit."""
    if array.dtype.kind in "iu":
        return f"got integers from {array.min()} to {array.max()}"
    return "got what is no array of numbers" if array.dtype.kind == "O" else f"got {array.dtype}"


def check_shape(t: Tensor, value: Array) -> None:
    if not t.shape.is_compatible_with(value.shape):
        raise FeedError(
            f"Cannot feed value of shape {value.shape} for Tensor '{t.name}', which has shape '{t.shape}'",
            where=t.op.made_at,
        )
