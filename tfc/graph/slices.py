"""`IndexedSlices`: rows of a tensor that is zero elsewhere, as the gradient of an embedding is.

    rows = tf.gather(table, ids)
    tf.gradients(loss, table)       [IndexedSlices(values: [n, width], indices: [n])]

An optimizer changes those rows alone; where a plain tensor is asked for, it is added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfc.dialects.tfc.types import LiteralAttr
from tfc.graph.arrays import concat, reshape, shape
from tfc.graph.dtypes import DType
from tfc.graph.graph import Graph
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import constant, convert, name_scope, single


class IndexedSlicesValue(NamedTuple):
    """What a run gives for fetched `IndexedSlices`."""

    values: Any
    indices: Any
    dense_shape: Any


class IndexedSlices:
    """Rows ``values[k]`` at ``indices[k]`` of a tensor of ``dense_shape``; rows of equal index add up.

    Args:
        values: ``[n, ...]``.
        indices: ``[n]``, integers.
        dense_shape: the extents of the whole, as a tensor.
    """

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Tensor | None = None) -> None:
        self._values, self._indices, self._dense_shape = values, indices, dense_shape
        self._dense: Tensor | None = None

    @property
    def values(self) -> Tensor:
        return self._values

    @property
    def indices(self) -> Tensor:
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        return self._dense_shape

    @property
    def op(self) -> Operation:
        return self._values.op

    @property
    def name(self) -> str:
        return self._values.name

    @property
    def graph(self) -> Graph:
        return self._values.graph

    @property
    def device(self) -> str:
        return self._values.device

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    def _as_tensor(self) -> Tensor:
        """The whole tensor, made once."""
        if self._dense is None:
            if self._dense_shape is None:
                raise _without_shape(self)
            count = self._dense_shape[0]
            self._dense = unsorted_segment_sum(self._values, self._indices, count)
        return self._dense

    def __neg__(self) -> IndexedSlices:
        return IndexedSlices(-self._values, self._indices, self._dense_shape)

    def __repr__(self) -> str:
        return f"<tf.IndexedSlices values={self._values.name} indices={self._indices.name} dtype={self.dtype.name}>"


def _without_shape(slices: IndexedSlices) -> Exception:
    from tfc.errors import GraphError
    from tfc.graph.source import here, quoted

    return quoted(GraphError(f"{slices!r} has no dense_shape, so the whole tensor is not known"), here())


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """``result[s]`` is the sum of ``data[i]`` where ``segment_ids[i] == s``; other ids are left out."""
    with name_scope(name, "UnsortedSegmentSum", [data]) as scope:
        ids = convert(segment_ids, name="segment_ids")
        inputs = [convert(data, name="data"), ids, convert(num_segments, name="num_segments")]
        return single("UnsortedSegmentSum", inputs, scope)


def gathered_rows(op: Operation, g: Any) -> IndexedSlices | None:
    """The gradient of what ``op`` gathers rows of; None if it does something else."""
    if op.type != "GatherV2" or op.attrs.get("batch_dims", 0) or not _is_zero(op.inputs[2]):
        return None
    params, indices, _ = op.inputs
    rank = params.shape.ndims
    if rank is None or indices.shape.ndims is None:
        return None
    with name_scope(f"{op.name}_grad"):
        extents = shape(params)
        # One row for each index, whatever the shape of the indices.
        row = params.shape.as_list()[1:]
        flat = convert(g) if indices.shape.ndims == 1 else reshape(convert(g), _rows_of(extents, row))
        return IndexedSlices(flat, indices if indices.shape.ndims == 1 else reshape(indices, [-1]), extents)


def _rows_of(extents: Tensor, row: Sequence[int | None]) -> Any:
    if all(d is not None for d in row):
        return [-1, *row]
    return concat([constant([-1], extents.dtype), extents[1:]], 0)


def _is_zero(t: Tensor) -> bool:
    value = t.op.attrs.get("value") if t.op.type == "Const" else None
    return isinstance(value, LiteralAttr) and not np.any(value.data.array)


def total_of_slices(parts: Sequence[IndexedSlices]) -> IndexedSlices:
    """All rows of several, one after another."""
    from tfc.graph.math import cast

    kinds = {p.indices.dtype for p in parts}
    widest = max(kinds, key=lambda k: k.size)
    indices = [p.indices if p.indices.dtype is widest else cast(p.indices, widest) for p in parts]
    return IndexedSlices(concat([p.values for p in parts], 0), concat(indices, 0), parts[0].dense_shape)
