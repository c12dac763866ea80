"""Arrays of tensors: ``tf.TensorArray`` is one tensor whose rows are its elements.

An array of which nobody has said what its elements look like is *unformed*: a stand-in of unknown rank that
only holds the size. The first write gives it its rows (`formed`); loops and branches look into
their parts for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    UnitAttr,
    UnrankedTensorType,
    UnrealizedConversionCastOp,
    i32,
)
from xdsl.ir import Block, SSAValue

from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.elementwise import CastOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.shape import IdentityOp, ReshapeOp, ShapeOfOp, SliceOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, compatible, element, shape_of, tensor_type
from tfc.dims import Dim, Expr
from tfc.errors import GraphError
from tfc.graph.dtypes import DType, of_element
from tfc.graph.emit import Deferred, Emitter, rule
from tfc.graph.shape import TensorShape, is_anonymous
from tfc.graph.source import quoted

_MARK = "tfc.array"
"""What tells an unformed array from other stand-ins."""


def is_unformed(array: SSAValue) -> bool:
    """Whether nothing is known of the rows."""
    return isinstance(array.type, UnrankedTensorType)


def formed(emit: Emitter, array: SSAValue, row: Sequence[Dim]) -> SSAValue:
    """An unformed array with rows of shape ``row``, all zeros."""
    kind, size = element(array), _size_of(array)
    if size is None:  # an argument of a region that will be made again with what is found out now
        type_ = tensor_type([UNKNOWN_DIM, *row], kind)
        return emit(UnrealizedConversionCastOp.get([array], [type_]))
    return emit.full(0, kind, [*emit.dims(size), *row])


def drop_unformed(block: Block, final: bool) -> None:
    """Erase stand-ins that nothing needs any more; in a module that is ``final`` none may be left.

    Raises:
        GraphError: an array is used to which nothing is ever written.
    """
    for op in reversed(list(block.ops)):
        if isinstance(op, UnrealizedConversionCastOp) and not any(r.first_use for r in op.results):
            block.erase_op(op)
        elif final and (op.regions or isinstance(op, UnrealizedConversionCastOp)):
            for inner in op.walk():
                if isinstance(inner, UnrealizedConversionCastOp):
                    raise quoted(_empty(), inner.location)


def _empty() -> GraphError:
    help = "TensorArray(..., element_shape=[...]) says what its elements are before the first write"
    return GraphError("nothing has been written to the array", help=help)


def _size_of(array: SSAValue) -> SSAValue | None:
    """The size that an unformed array was made with."""
    owner = array.owner
    return owner.operands[0] if isinstance(owner, UnrealizedConversionCastOp) and _MARK in owner.attributes else None


def known_size(emit: Emitter, array: SSAValue) -> Dim:
    """The number of elements of an unformed array; a new symbol where it is not known."""
    size = _size_of(array)
    found = None if size is None else emit.known(size)
    return found[0] if found else emit.fresh()


def _written(emit: Emitter, array: SSAValue) -> SSAValue:
    if is_unformed(array):
        if emit.strict:
            raise _empty()
        raise Deferred("the shape of the array's elements")
    return array


@rule("TensorArrayV3", elements=lambda size, dtype, element_shape: [dtype.element])
def make(emit: Emitter, size: SSAValue, dtype: DType, element_shape: TensorShape) -> SSAValue:
    """An array of zeros, or an unformed one."""
    dims = element_shape.dims
    if dims is not None and all(d is not None and not (isinstance(d, Expr) and is_anonymous(d)) for d in dims):
        row = [d for d in dims if d is not None]
        if (count := emit.known(size)) is not None:
            return emit.full(0, dtype.element, [*count, *row])
        if not emit.strict:
            raise Deferred("the size of the array", [tensor_type([emit.fresh(), *row], dtype.element)])
    unformed = UnrealizedConversionCastOp.get([size], [UnrankedTensorType(dtype.element)])
    unformed.attributes[_MARK] = UnitAttr()
    return emit(unformed)


@rule("TensorArrayWriteV3")
def write(emit: Emitter, array: SSAValue, index: SSAValue, value: SSAValue) -> SSAValue:
    """The array with another element."""
    if element(array) != element(value):
        names = f"{of_element(element(array)).name}, got one of {of_element(element(value)).name}"
        raise GraphError(f"expected an element of {names}", help="tf.cast(x, dtype) converts it")
    row = emit.shape(value)
    if is_unformed(array):
        if not emit.strict:
            raise Deferred("an array", [tensor_type([known_size(emit, array), *row], element(value))])
        array = formed(emit, array, row)
    mine = shape_of(array)[1:]
    if len(mine) != len(row) or not all(_may_equal(emit, a, b) for a, b in zip(mine, row, strict=True)):
        expected, got = TensorShape(list(mine)), TensorShape(list(row))
        raise GraphError(f"expected an element of shape {expected}, as the others have, got {got}")
    return emit(UpdateRowOp(array, index, value))


def _may_equal(emit: Emitter, x: Dim, y: Dim) -> bool:
    return compatible(x, y) if emit.strict else x == y or not (isinstance(x, int) and isinstance(y, int))


@rule("TensorArrayReadV3", "TensorArrayGatherV3")
def read(emit: Emitter, array: SSAValue, index: SSAValue) -> SSAValue:
    """One element, or those at a list of places."""
    emit.shape(index)
    return emit(GatherOp(_written(emit, array), index, 0))


@rule("TensorArrayStack")
def stack(emit: Emitter, array: SSAValue) -> SSAValue:
    """All elements as one tensor."""
    return emit(IdentityOp(_written(emit, array)))


@rule("TensorArrayConcatV3")
def concat(emit: Emitter, array: SSAValue) -> SSAValue:
    """All elements one after another along their first axis."""
    count, *row = emit.shape(_written(emit, array))
    if not row:
        raise GraphError("expected elements of rank 1 or more to concatenate, got scalars")
    return emit(ReshapeOp(array, [count * row[0], *row[1:]]))


@rule("TensorArrayUnstack")
def unstack(emit: Emitter, array: SSAValue, value: SSAValue) -> SSAValue:
    """The rows of a tensor as the elements."""
    dims = emit.shape(value)
    if not dims:
        raise GraphError("expected a tensor of rank 1 or more, got a scalar")
    mine: Sequence[Dim] | None = None if is_unformed(array) else shape_of(array)[:1]
    if mine is None and emit.strict and (size := _size_of(array)) is not None:
        mine = emit.known(size)
    if mine and isinstance(mine[0], int) and isinstance(dims[0], int) and mine[0] != dims[0]:
        raise GraphError(f"expected a tensor of {mine[0]} rows for an array of that size, got {dims[0]}")
    return emit(IdentityOp(value))


@rule("TensorArraySplit")
def split(emit: Emitter, array: SSAValue, value: SSAValue, lengths: SSAValue) -> SSAValue:
    """Parts of a tensor, all of one length, as the elements."""
    total, *rest = emit.shape(value)
    known = emit.ints(lengths)
    if len(set(known)) > 1:
        raise GraphError(f"expected parts of one length, got {known}", help="the elements of an array have one shape")
    if isinstance(total, int) and sum(known) != total:
        raise GraphError(f"expected lengths that add up to {total}, got {known}")
    return emit(ReshapeOp(value, [len(known), known[0] if known else 0, *rest]))


@rule("TensorArraySizeV3", elements=lambda array: [i32])
def size(emit: Emitter, array: SSAValue) -> SSAValue:
    """The number of elements."""
    if not is_unformed(array):
        extent = shape_of(array)[0]
        if isinstance(extent, int):
            return emit.constant(extent, i32)
        return emit(CastOp(emit(ReshapeOp(emit(SliceOp(emit(ShapeOfOp(array)), [0], [1], [1])), [])), i32))
    if (known := _size_of(array)) is None or not emit.strict:
        if emit.strict:  # in a region that will be made again
            return emit(UnrealizedConversionCastOp.get([array], [tensor_type([], i32)]))
        raise Deferred("the size of the array", [tensor_type([], i32)])
    return emit(IdentityOp(known) if element(known) == i32 else CastOp(known, i32))


@rule("TensorArrayScatterV3")
def scatter(emit: Emitter, array: SSAValue, indices: SSAValue, value: SSAValue) -> SSAValue:
    """The array with rows of a tensor at a list of places."""
    count, *row = emit.shape(value)
    if not isinstance(count, int):
        raise Deferred("the number of rows")
    if is_unformed(array):
        if not emit.strict:
            raise Deferred("an array", [tensor_type([known_size(emit, array), *row], element(value))])
        array = formed(emit, array, row)
    for k in range(count):
        place = emit(ReshapeOp(emit(SliceOp(indices, [k], [1], [1])), []))
        starts = [k, *(0 for _ in row)]
        part = emit(ReshapeOp(emit(SliceOp(value, starts, [1, *row], [1] * len(starts))), row))
        array = emit(UpdateRowOp(array, place, part))
    return array

