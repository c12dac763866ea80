"""Keeping gradients small: ``tf.clip_by_norm``, ``tf.clip_by_global_norm``, ...

What the gradient of a gather gives, rows at indices, is clipped by its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph.arrays import identity
from tfc.graph.math import add_n, maximum, multiply, reduce_sum, square
from tfc.graph.math import sqrt as square_root
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope
from tfc.graph.source import here, quoted


def _rows(t: Any) -> Tensor:
    return convert(t.values if hasattr(t, "indices") else t, name="t")


def _like(t: Any, values: Tensor) -> Any:
    """``values`` as what ``t`` is: a tensor, or rows at indices."""
    return type(t)(values, t.indices, t.dense_shape) if hasattr(t, "indices") else values


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """``t``, made smaller where its Euclidean norm along ``axes`` (all left out) is above ``clip_norm``."""
    with name_scope(name, "clip_by_norm", [_rows(t), clip_norm]) as scope:
        x = _rows(t)
        norm = square_root(reduce_sum(square(x), axes, keepdims=True))
        limit = convert(clip_norm, x.dtype)
        clipped = x * limit / maximum(norm, limit)
        return _like(t, identity(clipped, name=scope))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Any:
    """``t``, made smaller where its norm divided by its number of elements is above ``clip_norm``."""
    with name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        from tfc.graph.arrays import size
        from tfc.graph.math import cast

        x = convert(t, name="t")
        average = square_root(reduce_sum(square(x))) / cast(size(x), x.dtype)
        limit = convert(clip_norm, x.dtype)
        return multiply(x, limit / maximum(average, limit), name=scope)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """The Euclidean norm of all elements of all tensors; those that are None are left out."""
    given = _all(t_list)
    if not given:
        raise quoted(GraphError("'global_norm': expected at least one tensor"), here())
    with name_scope(name, "global_norm", [_rows(t) for t in given]) as scope:
        return square_root(add_n([reduce_sum(square(_rows(t))) for t in given]), name=scope)


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """The tensors, all made smaller alike where their `global_norm` is above ``clip_norm``; and that norm.

    Where the norm is not finite, all results are NaN, so that it shows.
    """
    given = _all(t_list)
    norm = global_norm(given) if use_norm is None else convert(use_norm)
    with name_scope(name, "clip_by_global_norm", [_rows(t) for t in given]):
        limit = convert(clip_norm, norm.dtype)
        scale = limit / maximum(norm, limit) + (norm - norm)
        clip: Callable[[Any], Any] = lambda t: _like(t, _rows(t) * scale)  # noqa: E731
        return [None if t is None else clip(t) for t in t_list], norm


def _all(t_list: Any) -> list[Any]:
    if isinstance(t_list, Tensor) or not isinstance(t_list, Sequence):
        raise quoted(GraphError(f"expected a list of tensors, got {t_list!r}"), here())
    return [t for t in t_list if t is not None]

