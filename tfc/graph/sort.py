"""Sorting: ``tf.argsort``, ``tf.sort``, ``tf.nn.top_k``."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfc.errors import GraphError
from tfc.graph.dtypes import int32
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope, node, single
from tfc.graph.source import here, quoted


class TopK(NamedTuple):
    """The largest elements and their places."""

    values: Tensor
    indices: Tensor


def _sorted(type_: str, default: str, values: Any, axis: int, direction: str, name: str | None) -> Tensor:
    if direction not in ("ASCENDING", "DESCENDING"):
        message = f"'tfc.{default}': expected a direction of ASCENDING or DESCENDING, got {direction!r}"
        raise quoted(GraphError(message), here())
    with name_scope(name, default, [values]) as scope:
        return single(type_, [convert(values, name="values")], scope, axis=axis, descending=direction == "DESCENDING")


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Tensor:
    """The places of the elements along ``axis`` in order, as int32; equal elements keep their order.

    A NaN counts as larger than all numbers.
    """
    return _sorted("Argsort", "argsort", values, axis, direction, name)


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """The elements along ``axis`` in order."""
    return _sorted("Sort", "sort", values, axis, direction, name)


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopK:
    """The ``k`` largest elements along the last axis in descending order, and their places as int32.

    Of equal elements the first comes first.
    """
    with name_scope(name, "TopKV2", [input, k]) as scope:
        return TopK(*node("TopKV2", [convert(input, name="input"), convert(k, int32, name="k")], scope).values())


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether fewer than ``k`` predictions are larger than that of the target: ``[batch]`` of ``[batch, classes]``."""
    from tfc.graph.arrays import expand_dims, gather
    from tfc.graph.math import cast, greater, less, reduce_sum

    with name_scope(name, "in_top_k", [predictions, targets, k]):
        p = convert(predictions, name="predictions")
        own = gather(p, convert(targets, name="targets"), axis=1, batch_dims=1)
        larger = reduce_sum(cast(greater(p, expand_dims(own, 1)), int32), 1)
        return less(larger, convert(k, int32))
