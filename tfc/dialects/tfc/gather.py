"""Reading at positions that are themselves data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, IntegerType, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    compatible,
    element,
    is_bool,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, at_least
from tfc.errors import RunError, require


def out_of_range(op: Operation, extent: Dim) -> str:
    """What a run says of an index outside ``[0, extent)``."""
    return f"'{op.name}': an index is out of range [0, {extent})"


def check_range(op: Operation, indices: Array, extent: int) -> None:
    """The same, in the reference of ``op``."""
    if np.any((indices < 0) | (indices >= extent)):
        raise RunError(out_of_range(op, extent))


def is_integer(kind: Attribute) -> bool:
    return isinstance(kind, IntegerType) and not is_bool(kind)


def _slice(
    at: Access, x: SSAValue, index: Callable[[Dim], list[Dim]], position: SSAValue, axis: int
) -> SSAValue:
    """The element of ``x`` at a position that was read; a wrong one is reported, and 0 is read.

    Where there may be no element 0 either, nothing is read.
    """
    extent = shape_of(x)[axis]
    i = at.index(position, extent)
    if at_least(extent, 1):
        return at.read(0, index(i))
    return at.guard([(i, extent)], lambda: at.read(0, index(i)), lambda: at.constant(0, element(x)))


@tfc_op
class GatherOp(TensorOp):
    """Slices of ``x`` along ``axis``: ``result[b.., i.., j.., k..] = x[b.., i.., indices[b.., j..], k..]``.

    The first ``batch_dims`` dims of ``x`` and ``indices`` go together. An index outside
    ``[0, dim(x, axis))`` is an error when the program runs.

    (C1) ``indices`` are integers.
    (C2) ``batch_dims <= axis < rank(x)``, and ``batch_dims`` is at most the rank of ``indices``.
    (C3) The batch dims of ``x`` and ``indices`` are equal.

    Source: ``tf.gather``, ``numpy.take``.
    """

    name = "tfc.gather"
    x = operand_def(Tensor)
    indices = operand_def(Tensor)
    axis = prop_def(IntegerAttr.constr(i64))
    batch_dims = prop_def(IntegerAttr.constr(i64))
    result = result_def(Tensor)
    assembly_format = (
        "$x `at` $indices `along` $axis `batch` $batch_dims attr-dict "
        "`:` type($x) `,` type($indices) `->` type($result)"
    )

    def __init__(
        self, x: SSAValue | Operation, indices: SSAValue | Operation, axis: int, batch_dims: int = 0
    ) -> None:
        properties = {"axis": IntegerAttr(axis, i64), "batch_dims": IntegerAttr(batch_dims, i64)}
        self.construct([SSAValue.get(x), SSAValue.get(indices)], properties)

    def infer(self) -> Sequence[Attribute]:
        x, i = shape_of(self.x), shape_of(self.indices)
        axis, batch = self.axis.value.data, self.batch_dims.value.data
        require(is_integer(element(self.indices)), self, "C1", "indices of integers", self.indices.type)
        expected = f"0 <= batch_dims <= {len(i)} and batch_dims <= axis < {len(x)}"
        require(0 <= batch <= axis < len(x) and batch <= len(i), self, "C2", expected, f"{batch} and {axis}")
        equal = all(compatible(a, b) for a, b in zip(x[:batch], i[:batch], strict=True))
        require(equal, self, "C3", f"batch dims {list(x[:batch])}", list(i[:batch]))
        return [tensor_type((*x[:axis], *i[batch:], *x[axis + 1 :]), element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, indices = args
        axis, batch = self.axis.value.data, self.batch_dims.value.data
        check_range(self, indices, x.shape[axis])
        if not batch:
            return np.take(x, indices, axis)
        lead = x.shape[:batch]
        flat = x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:])
        rows = [np.take(a, i, axis - batch) for a, i in zip(*flat, strict=True)]
        tail = (*x.shape[batch:axis], *indices.shape[batch:], *x.shape[axis + 1 :])
        return np.array(rows, x.dtype).reshape(*lead, *tail)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        axis, batch = self.axis.value.data, self.batch_dims.value.data
        width = len(shape_of(self.indices)) - batch
        lead, picked, rest = index[:axis], index[axis : axis + width], index[axis + width :]
        position = at.read(1, [*lead[:batch], *picked])
        return _slice(at, self.x, lambda i: [*lead, i, *rest], position, axis)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        from tfc.dialects.tfc.scatter import of_slices

        return [of_slices(emit, g[0], self.x, self.indices, self.axis.value.data, self.batch_dims.value.data), None]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, i = float_range(4, 3, 5), np.array([[2, 0], [1, 2]], np.int64)
        j = np.array([[0, 2], [1, 1], [2, 0], [0, 0]], np.int32)

        def make(*args: int) -> Any:
            return lambda x, i: cls(x, i, *args)

        return [
            Sample(make(0), x, i), Sample(make(1), x, i), Sample(make(2), x, i[0].astype(np.int32)),
            Sample(make(1), x, np.array(2)), Sample(make(1, 1), x, j), Sample(make(2, 1), x, j),
            Sample(make(0), x, i[:0]), Sample(make(1, 1), x[:, :, 0] > 0, j[:, 0].astype(np.uint8)),
        ]  # fmt: skip


@tfc_op
class GatherElementsOp(TensorOp):
    """``result[i, j, k] = x[i, indices[i, j, k], k]``, for ``axis`` 1 of three.

    An index outside ``[0, dim(x, axis))`` is an error when the program runs.

    (C1) ``indices`` are integers, of the rank of ``x``.
    (C2) ``axis`` is one of the dims; no other extent of ``indices`` is above that of ``x``.

    Source: ``numpy.take_along_axis``, ONNX ``GatherElements``.
    """

    name = "tfc.gather_elements"
    x = operand_def(Tensor)
    indices = operand_def(Tensor)
    axis = prop_def(IntegerAttr.constr(i64))
    result = result_def(Tensor)
    assembly_format = (
        "$x `at` $indices `along` $axis attr-dict `:` type($x) `,` type($indices) `->` type($result)"
    )

    def __init__(self, x: SSAValue | Operation, indices: SSAValue | Operation, axis: int) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(indices)], {"axis": IntegerAttr(axis, i64)})

    def infer(self) -> Sequence[Attribute]:
        x, i, axis = shape_of(self.x), shape_of(self.indices), self.axis.value.data
        fits = is_integer(element(self.indices)) and len(i) == len(x)
        require(fits, self, "C1", f"integers of rank {len(x)}", self.indices.type)
        pairs = [(a, b) for d, (a, b) in enumerate(zip(x, i, strict=True)) if d != axis]
        within = all(not (isinstance(a, int) and isinstance(b, int)) or b <= a for a, b in pairs)
        require(0 <= axis < len(x) and within, self, "C2", f"an axis and extents within {list(x)}", f"{axis} and {list(i)}")
        return [tensor_type(i, element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, indices = args
        check_range(self, indices, x.shape[self.axis.value.data])
        where = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        where[self.axis.value.data] = indices
        return x[tuple(where)]

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        axis = self.axis.value.data
        position = at.read(1, index)
        return _slice(at, self.x, lambda i: [*index[:axis], i, *index[axis + 1 :]], position, axis)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        from tfc.dialects.tfc.scatter import of_elements

        return [of_elements(emit, g[0], self.x, self.indices, self.axis.value.data), None]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, i = float_range(3, 4), np.array([[2, 0, 1], [1, 1, 2]], np.int64)
        many, far = np.arange(250).astype(np.int8), np.array([249, 0, 200], np.uint8)
        return [
            Sample(lambda x, i: cls(x, i, 0), many, far),
            Sample(lambda x, i: cls(x, i, 0), x, i),
            Sample(lambda x, i: cls(x, i, 1), x, i + 1),
        ]
