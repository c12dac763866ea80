"""Emit small groups of `tfc` operations: constants, numpy broadcasting, axes that come and go.

Every function takes ``emit`` first, and emits nothing where the value already is as wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.ir import Operation as AnyOperation

from tfc import location
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.select import CastOp
from tfc.dialects.tfc.shape import BroadcastOp, ConcatOp, ReshapeOp, ShapeOfOp, SliceOp, TransposeOp
from tfc.dialects.tfc.types import (
    SMALL,
    Array,
    LiteralAttr,
    Shape,
    dtype_of,
    element,
    is_static,
    shape_of,
)
from tfc.dims import Dim
from tfc.errors import ModelFileError, TfcError


class Emitter:
    """Appends operations to a block; each gets the location of the node being imported."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.location: LocationAttr = location.UNKNOWN

    def __call__(self, op: AnyOperation) -> SSAValue:
        op = _folded(op)
        op.location = self.location
        self.block.add_op(op)
        return op.results[0]


def _folded(op: AnyOperation) -> AnyOperation:
    """The constant that ``op`` gives where it computes few elements from few known ones.

    Models compute scales, axes and conditions this way, and importing depends on their values.
    """
    if not isinstance(op, TensorOp) or len(op.results) != 1 or not op.operands:
        return op
    arrays = [constant_array(o) for o in op.operands]
    known = [a for a in arrays if a is not None and a.size < SMALL]
    if len(known) < len(arrays) or not _may_fold(op, shape_of(op.results[0])):
        return op
    try:
        result = op.reference(*known)
    except (TfcError, IndexError, ValueError):  # the program will report it when it runs
        return op
    if isinstance(result, tuple) or result.size >= SMALL:
        return op
    op.drop_all_references()
    return ConstantOp(LiteralAttr.of(np.array(result)))


def _may_fold(op: TensorOp, shape: Shape) -> bool:
    """Whether the result is small, or a matter of the operands' values."""
    if is_static(shape):
        return math.prod(d for d in shape if isinstance(d, int)) < SMALL
    return isinstance(op, DynamicOp)


def constant(emit: Emitter, value: Any, dtype: Any) -> SSAValue:
    """The constant ``value`` with its own shape."""
    return emit(ConstantOp(LiteralAttr.of(np.asarray(value).astype(dtype))))


def ints(emit: Emitter, values: Sequence[int]) -> SSAValue:
    """A constant one-dimensional tensor of i64."""
    return constant(emit, np.array(values, np.int64).reshape(-1), np.int64)


def splat(emit: Emitter, value: Any, kind: Attribute, shape: Shape = ()) -> SSAValue:
    """A tensor all of whose elements are ``value``."""
    dtype = dtype_of(kind)
    if is_static(shape):
        sizes = [d for d in shape if isinstance(d, int)]
        return emit(ConstantOp(LiteralAttr.splat(value, dtype, sizes)))
    return broadcast(emit, emit(ConstantOp(LiteralAttr.splat(value, dtype))), shape)


def like(emit: Emitter, value: Any, x: SSAValue) -> SSAValue:
    """``value`` in the shape and type of ``x``."""
    return splat(emit, value, element(x), shape_of(x))


def constant_array(x: SSAValue | None) -> Array | None:
    """The elements of ``x`` where it is a constant."""
    return x.owner.value.data.array if x is not None and isinstance(x.owner, ConstantOp) else None


def cast(emit: Emitter, x: SSAValue, kind: Attribute) -> SSAValue:
    """``x`` with elements of type ``kind``."""
    return x if element(x) == kind else emit(CastOp(x, kind))


def reshape(emit: Emitter, x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
    """``x`` with other extents."""
    return x if tuple(shape) == shape_of(x) else emit(ReshapeOp(x, shape))


def transpose(emit: Emitter, x: SSAValue, perm: Sequence[int]) -> SSAValue:
    """``x`` with its axes permuted."""
    return x if list(perm) == list(range(len(perm))) else emit(TransposeOp(x, perm))


def unsqueeze(emit: Emitter, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """``x`` with axes of extent 1 at these positions of the result."""
    dims = list(shape_of(x))
    for axis in sorted(axes):
        dims.insert(axis, 1)
    return reshape(emit, x, dims)


def squeeze(emit: Emitter, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """``x`` without these axes, which have extent 1."""
    return reshape(emit, x, [d for i, d in enumerate(shape_of(x)) if i not in axes])


def broadcast_shape(*shapes: Shape) -> Shape:
    """The extents that numpy's rule gives operands of these extents.

    A named dim beside another extent than 1 is taken to be that extent.
    """
    rank = max(map(len, shapes))
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for i, dim in enumerate(shape, rank - len(shape)):
            known = result[i]
            if known == 1 or (dim != 1 and isinstance(dim, int) and not isinstance(known, int)):
                result[i] = dim
            elif dim not in (1, known) and isinstance(dim, int) and isinstance(known, int):
                texts = " and ".join(str(list(s)) for s in shapes)
                raise ModelFileError(f"expected shapes that broadcast, got {texts}")
    return tuple(result)


def broadcast(emit: Emitter, x: SSAValue, shape: Shape) -> SSAValue:
    """``x`` stretched to ``shape`` by numpy's rule."""
    own = shape_of(x)
    if own == shape:
        return x
    array = constant_array(x)
    if array is not None and array.size == 1 and is_static(shape):
        return splat(emit, array.reshape(())[()], element(x), shape)
    return emit(BroadcastOp(x, shape, range(len(shape) - len(own), len(shape))))


def broadcast_together(emit: Emitter, *values: SSAValue) -> list[SSAValue]:
    """All operands in the one shape that numpy's rule gives."""
    shape = broadcast_shape(*map(shape_of, values))
    return [broadcast(emit, v, shape) for v in values]


def along(emit: Emitter, x: SSAValue, axis: int, rank: int) -> SSAValue:
    """A one-dimensional ``x`` as a tensor of ``rank`` whose other axes have extent 1."""
    (size,) = shape_of(x)
    return reshape(emit, x, [size if i == axis else 1 for i in range(rank)])


def take(emit: Emitter, x: SSAValue, axis: int, start: Dim, size: Dim, stride: int = 1) -> SSAValue:
    """``x[start : start + size * stride : stride]`` along one axis."""
    dims = shape_of(x)
    if start == 0 and size == dims[axis] and stride == 1:
        return x
    starts = [start if i == axis else 0 for i in range(len(dims))]
    sizes = [size if i == axis else d for i, d in enumerate(dims)]
    return emit(SliceOp(x, starts, sizes, [stride if i == axis else 1 for i in range(len(dims))]))


def concat(emit: Emitter, values: Sequence[SSAValue], axis: int) -> SSAValue:
    """The values side by side along ``axis``."""
    return values[0] if len(values) == 1 else emit(ConcatOp(values, axis))


def extent(emit: Emitter, x: SSAValue, axis: int, kind: Attribute) -> SSAValue:
    """The extent of one axis as a scalar."""
    size = shape_of(x)[axis]
    if isinstance(size, int):
        return splat(emit, size, kind)
    return cast(emit, reshape(emit, take(emit, emit(ShapeOfOp(x)), 0, axis, 1), []), kind)
