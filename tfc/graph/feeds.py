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
        if not (np.can_cast(array.dtype, dtype, "same_kind") or _exact(array, dtype)):
            message = f"'{t.name}': expected {t.dtype.name} {t.shape}, got {array.dtype} {array.shape}"
            raise FeedError(message, where=where, help=f"value.astype('{t.dtype.name}') converts it")
        return array.astype(dtype)
    try:
        array = np.asarray(value)
        if array.size and not (np.can_cast(array.dtype, dtype, "same_kind") or _exact(array, dtype)):
            raise TypeError(f"got {array.dtype}")
        return array.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"'{t.name}': expected {t.dtype.name} {t.shape}: {error}"
        raise FeedError(message, where=where) from None


def _exact(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether integers become floats, or integers that fit: what numpy calls another kind."""
    if array.dtype.kind not in "iub" or dtype.kind not in "iufV":
        return False
    if dtype.kind in "fV":
        return array.dtype.kind != "b"
    limits = np.iinfo(dtype)
    return array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)


def check_shape(t: Tensor, value: Array) -> None:
    if not t.shape.is_compatible_with(value.shape):
        raise FeedError(
            f"Cannot feed value of shape {value.shape} for Tensor '{t.name}', which has shape '{t.shape}'",
            where=t.op.made_at,
        )
