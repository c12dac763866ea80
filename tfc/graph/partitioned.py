"""Variables in parts: ``tf.get_variable(..., partitioner=tf.fixed_size_partitioner(3))``.

    table/part_0, table/part_1, table/part_2        three variables, cut along one dim
    tf.gather(table, ids)                           used as a tensor, it is all of them

Each part is a variable of its own, for instance on a server of its own; the whole has no storage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfc.errors import GraphError
from tfc.graph.arrays import concat, group, slice_
from tfc.graph.dtypes import DType, as_dtype
from tfc.graph.node import Operation, Operators, Tensor
from tfc.graph.ops import is_tensor
from tfc.graph.shape import TensorShape
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable

Partitioner = Callable[..., Sequence[int]]


@dataclass(frozen=True)
class Part:
    """A part of a whole: what initializers are told as ``partition_info``."""

    full_shape: Sequence[int]
    var_offset: Sequence[int]
    shape: Sequence[int]

    def of_value(self, whole: Any) -> Any:
        """The part of a tensor or array."""
        if is_tensor(whole):
            return slice_(whole, list(self.var_offset), list(self.shape))
        cuts = tuple(slice(o, o + n) for o, n in zip(self.var_offset, self.shape, strict=True))
        return np.asarray(whole)[cuts]


def extents_of(shape: TensorShape) -> list[int]:
    """The extents of a shape that is fully known."""
    return [d for d in shape.as_list() if d is not None]


def parts_of(counts: Any, shape: Sequence[int]) -> list[Part]:
    """The parts of a whole of ``shape`` that is cut into ``counts`` along its dims; the first ones are larger.

    Raises:
        GraphError: not one positive number for each dim, more than one above 1, or one above the extent.
    """
    numbers = [int(c) for c in counts]
    good = len(numbers) == len(shape) and all(c >= 1 for c in numbers)
    if not good or sum(c > 1 for c in numbers) > 1:
        message = f"expected from a partitioner one number for each of {len(shape)} dims, one of them above 1"
        raise quoted(GraphError(f"{message}, got {numbers}"), here())
    axis = next((d for d, c in enumerate(numbers) if c > 1), 0)
    count = numbers[axis] if numbers else 1
    if numbers and count > max(shape[axis], 1):
        raise quoted(GraphError(f"expected at most {shape[axis]} parts along axis {axis}, got {count}"), here())
    parts: list[Part] = []
    start = 0
    for k in range(count):
        size, offset = list(shape), [0] * len(shape)
        if shape:
            size[axis] = shape[axis] // count + (k < shape[axis] % count)
            offset[axis] = start
            start += size[axis]
        parts.append(Part(list(shape), offset, size))
    return parts


class PartitionedVariable(Operators):
    """Variables that are parts of one whole; used as a tensor, they are joined."""

    def __init__(self, name: str, shape: TensorShape, variables: Sequence[Variable], parts: Sequence[Part]) -> None:
        self._name, self._shape, self._parts, self._where = name, shape, list(variables), list(parts)
        for variable, part in self.parts():
            variable.part_of = name, part

    @property
    def name(self) -> str:
        return self._name

    @property
    def dtype(self) -> DType:
        return self._parts[0].dtype

    @property
    def graph(self) -> Any:
        return self._parts[0].graph

    @property
    def shape(self) -> TensorShape:
        return self._shape

    def get_shape(self) -> TensorShape:
        return self._shape

    def parts(self) -> list[tuple[Variable, Part]]:
        """The variables, and which part each is."""
        return list(zip(self._parts, self._where, strict=True))

    def __iter__(self) -> Iterator[Variable]:  # pyright: ignore[reportIncompatibleMethodOverride] # a list of parts
        return iter(self._parts)

    def __len__(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride] # how many parts
        return len(self._parts)

    def _axis(self) -> int:
        first = self._where[0]
        cut = [d for d, n in enumerate(first.shape) if n != first.full_shape[d]]
        return cut[0] if cut else 0

    def as_tensor(self) -> Tensor:
        """The whole."""
        values = [v._as_tensor() for v in self._parts]  # pyright: ignore[reportPrivateUsage] # of a variable
        return values[0] if len(values) == 1 else concat(values, self._axis())

    _as_tensor = as_tensor

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Operation:
        """A node that replaces the value of all parts."""
        return self._each("assign", value, name)

    def assign_add(self, value: Any, use_locking: bool = False, name: str | None = None) -> Operation:
        """A node that adds to all parts."""
        return self._each("assign_add", value, name)

    def assign_sub(self, value: Any, use_locking: bool = False, name: str | None = None) -> Operation:
        """A node that subtracts from all parts."""
        return self._each("assign_sub", value, name)

    def _each(self, method: str, value: Any, name: str | None) -> Operation:
        return group(*[getattr(v, method)(part.of_value(value)) for v, part in self.parts()], name=name)

    @property
    def initializer(self) -> Operation:
        """A node that initializes all parts."""
        return group(*[v.initializer for v in self._parts])

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<tf.PartitionedVariable '{self.name}' shape={self.shape} in {len(self)} parts>"


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """A partitioner that cuts ``axis`` into ``num_shards`` parts."""

    def partition(shape: TensorShape, **_others: Any) -> list[int]:
        counts = [1] * (shape.ndims or 0)
        counts[axis] = min(num_shards, extents_of(shape)[axis])
        return counts

    return partition


def variable_axis_size_partitioner(
    max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16, max_shards: int | None = None
) -> Partitioner:
    """A partitioner that cuts ``axis`` into parts of at most ``max_shard_bytes``, and at most ``max_shards``."""
    if max_shard_bytes < 1 or (max_shards is not None and max_shards < 1):
        raise quoted(GraphError(f"expected at least one byte and one part, got {max_shard_bytes} and {max_shards}"), here())

    def partition(shape: TensorShape, dtype: Any) -> list[int]:
        sizes = extents_of(shape)
        slice_bytes = math.prod(sizes) // max(sizes[axis], 1) * as_dtype(dtype).size
        per_shard = max(1, max_shard_bytes // max(slice_bytes, 1))
        count = -(-sizes[axis] // per_shard)
        counts = [1] * len(sizes)
        counts[axis] = max(1, count if max_shards is None else min(count, max_shards))
        return counts

    return partition


def min_max_variable_partitioner(
    max_partitions: int = 1, axis: int = 0, min_slice_size: int = 256 << 10, bytes_per_string_element: int = 16
) -> Partitioner:
    """A partitioner that cuts ``axis`` into at most ``max_partitions`` parts of at least ``min_slice_size`` bytes."""

    def partition(shape: TensorShape, dtype: Any) -> list[int]:
        sizes = extents_of(shape)
        total = math.prod(sizes) * as_dtype(dtype).size
        counts = [1] * len(sizes)
        counts[axis] = max(1, min(sizes[axis], max_partitions, -(-total // min_slice_size)))
        return counts

    return partition
