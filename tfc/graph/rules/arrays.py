"""Constants, inputs, and nodes that move or select elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import IntegerType, UnrankedTensorType, i64
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.dynamic import DynamicBroadcastOp, DynamicReshapeOp
from tfc.dialects.tfc.elementwise import AddOp, BitcastOp, CastOp, MulOp, SelectOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.nn import OneHotOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import (
    BandPartOp,
    BroadcastOp,
    ConcatOp,
    IdentityOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    ShapeOfOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.types import LiteralAttr, element, is_bool, tensor_type
from tfc.dims import Dim, Expr, at_least, product
from tfc.errors import GraphError
from tfc.graph.dtypes import DType, of_element
from tfc.graph.emit import Deferred, Emitter, rule
from tfc.graph.shape import TensorShape, as_dim


@rule("Const", elements=lambda value: [])
def const(emit: Emitter, value: LiteralAttr) -> SSAValue:
    return emit(ConstantOp(value))


@rule("Placeholder", elements=lambda dtype, shape: [dtype.element])
def placeholder(emit: Emitter, dtype: DType, shape: TensorShape) -> SSAValue:
    if emit.strict:
        raise GraphError("a placeholder has no value of its own")  # the session says it better
    type_: Attribute = UnrankedTensorType(dtype.element)
    if shape.dims is not None:
        type_ = tensor_type([as_dim(d, emit.fresh()) for d in shape.dims], dtype.element)
    return emit.block.insert_arg(type_, len(emit.block.args))


@rule("PlaceholderWithDefault")
def placeholder_with_default(emit: Emitter, x: SSAValue, dtype: DType, shape: TensorShape) -> SSAValue:
    if emit.strict:
        return emit(IdentityOp(x))
    return placeholder(emit, dtype, shape)


@rule("NoOp", elements=lambda: [])
def no_op(emit: Emitter) -> None:
    return None


@rule("StopGradient", "PreventGradient")
def identity(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit(IdentityOp(x))


@rule("Fill", elements=lambda dims, value: [element(value)])
def fill(emit: Emitter, dims: SSAValue, value: SSAValue) -> SSAValue:
    if (shape := emit.known(dims)) is None:
        return emit(DynamicBroadcastOp(value, as_i64(emit, dims)))
    return emit.broadcast(value, shape)


@rule("ZerosLike")
def zeros_like(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit.full(0, element(x), emit.shape(x))


@rule("OnesLike")
def ones_like(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit.full(1, element(x), emit.shape(x))


@rule("Range")
def range_(emit: Emitter, start: SSAValue, limit: SSAValue, delta: SSAValue) -> SSAValue:
    kind = element(start)
    if not isinstance(kind, IntegerType):
        return _float_range(emit, start, limit, delta)
    low, high, step = (emit.dims(v)[0] for v in (start, limit, delta))
    if step == 0:
        raise GraphError("'tfc.range': expected a delta other than 0")
    if not isinstance(step, int):
        raise Deferred("the delta of a range")
    size = clamp_low((high - low + step - (1 if step > 0 else -1)) // step)
    counted = emit(IotaOp([size], kind, 0))
    if (low, step) == (0, 1):
        return counted
    scaled = emit(MulOp(counted, emit.full(step, kind, [size])))
    return emit(AddOp(scaled, emit.broadcast(emit(ReshapeOp(start, [])), [size])))


def _float_range(emit: Emitter, start: SSAValue, limit: SSAValue, delta: SSAValue) -> SSAValue:
    values = [_float_constant(v) for v in (start, limit, delta)]
    if any(v is None for v in values):
        raise GraphError("'tfc.range': a range of floats needs constant limits")
    low, high, step = (cast(float, v) for v in values)
    size = max(int(np.ceil((high - low) / step)), 0)
    dtype = of_element(element(start)).numpy
    return emit(ConstantOp(LiteralAttr.of((low + np.arange(size) * step).astype(dtype))))


def _float_constant(x: SSAValue) -> float | None:
    return float(x.owner.value.data.array.reshape(())) if isinstance(x.owner, ConstantOp) else None


def clamp_low(size: Dim) -> Dim:
    """A size that is not below 0, where that is not known already."""
    return size if at_least(size, 0) or isinstance(size, Expr) else 0


@rule("LinSpace")
def lin_space(emit: Emitter, start: SSAValue, stop: SSAValue, num: SSAValue) -> SSAValue:
    low, high = _float_constant(start), _float_constant(stop)
    if low is None or high is None:
        raise GraphError("'tfc.linspace': expected constant limits")
    dtype = of_element(element(start)).numpy
    return emit(ConstantOp(LiteralAttr.of(np.linspace(low, high, emit.ints(num)[0]).astype(dtype))))


def _out_type(_x: SSAValue, out_type: DType, **_: Any) -> Sequence[Attribute]:
    return [out_type.element]


@rule("Shape", elements=_out_type)
def shape(emit: Emitter, x: SSAValue, out_type: DType) -> SSAValue:
    emit.shape(x)
    found = emit(ShapeOfOp(x))
    return found if out_type.element == i64 else emit(CastOp(found, out_type.element))


@rule("Size", elements=_out_type)
def size(emit: Emitter, x: SSAValue, out_type: DType) -> SSAValue:
    count = product(emit.shape(x))
    if isinstance(count, int):
        return emit.constant(count, out_type.element)
    return emit(CastOp(emit(ReduceOp(emit(ShapeOfOp(x)), "prod", [0])), out_type.element))


@rule("Rank", elements=_out_type)
def rank(emit: Emitter, x: SSAValue, out_type: DType) -> SSAValue:
    return emit.constant(emit.rank(x), out_type.element)


def as_i64(emit: Emitter, x: SSAValue) -> SSAValue:
    return x if element(x) == i64 else emit(CastOp(x, i64))


@rule("Reshape")
def reshape(emit: Emitter, x: SSAValue, shape: SSAValue) -> SSAValue:
    if (wanted := emit.known(shape)) is None:
        return emit(DynamicReshapeOp(x, as_i64(emit, shape)))
    if isinstance(x.type, UnrankedTensorType):
        dims = [emit.fresh() if d == -1 else d for d in wanted]
        raise Deferred("the rank of an input", [tensor_type(dims, element(x))])
    return emit(ReshapeOp(x, filled_in(wanted, product(emit.shape(x)))))


def filled_in(wanted: Sequence[Dim], total: Dim) -> list[Dim]:
    """A reshape's extents with the -1 replaced; ``total`` elements are there to share."""
    holes = [k for k, d in enumerate(wanted) if d == -1]
    if len(holes) > 1:
        raise GraphError(f"'tfc.reshape': expected at most one -1, got {list(wanted)}")
    rest = product(d for d in wanted if d != -1)
    out = list(wanted)
    numbers = isinstance(total, int) and isinstance(rest, int)
    if holes:
        if numbers and (rest == 0 or total % rest):
            raise GraphError(f"'tfc.reshape': {total} elements do not fill {list(wanted)}")
        out[holes[0]] = total // rest
    elif numbers and total != rest:
        raise GraphError(f"'tfc.reshape': {total} elements do not fill {list(wanted)}")
    return out


@rule("Transpose")
def transpose(emit: Emitter, x: SSAValue, perm: SSAValue) -> SSAValue:
    return emit(TransposeOp(x, [emit.axis(x, p) for p in emit.ints(perm)]))


@rule("ReverseAxes")
def reverse_axes(emit: Emitter, x: SSAValue) -> SSAValue:
    """A transpose without a permutation."""
    return emit(TransposeOp(x, range(emit.rank(x))[::-1]))


@rule("ReverseV2")
def reverse(emit: Emitter, x: SSAValue, axes: SSAValue) -> SSAValue:
    return emit(ReverseOp(x, [emit.axis(x, a) for a in emit.ints(axes)]))


@rule("Squeeze")
def squeeze(emit: Emitter, x: SSAValue, squeeze_dims: Sequence[int] = ()) -> SSAValue:
    extents = emit.shape(x)
    axes = [emit.axis(x, a) for a in squeeze_dims]
    if not axes and not all(isinstance(d, int) for d in extents) and not emit.strict:
        raise Deferred("which extents are 1")
    axes = axes or [k for k, d in enumerate(extents) if d == 1]
    for a in axes:
        if extents[a] != 1 and (isinstance(extents[a], int) or emit.strict):
            raise GraphError(f"'tfc.squeeze': expected extent 1 at axis {a}, got {extents[a]}")
    return emit(ReshapeOp(x, [d for k, d in enumerate(extents) if k not in axes]))


@rule("ExpandDims")
def expand_dims(emit: Emitter, x: SSAValue, axis: SSAValue) -> SSAValue:
    at = emit.axis(x, emit.ints(axis)[0], extra=1)
    extents = list(emit.shape(x))
    return emit(ReshapeOp(x, [*extents[:at], 1, *extents[at:]]))


@rule("Pack")
def pack(emit: Emitter, *xs: SSAValue, axis: int = 0) -> SSAValue:
    at = emit.axis(xs[0], axis, extra=1)
    first = emit.shape(xs[0])
    for x in xs[1:]:
        if not TensorShape(list(first)).is_compatible_with(list(emit.shape(x))):
            texts = f"{TensorShape(list(first))} and {TensorShape(list(emit.shape(x)))}"
            raise GraphError(f"'tfc.stack': expected inputs of one shape, got {texts}")
    parts = [emit(ReshapeOp(x, [*emit.shape(x)[:at], 1, *emit.shape(x)[at:]])) for x in xs]
    return emit(ConcatOp(parts, at)) if len(parts) > 1 else parts[0]


@rule("Unpack", elements=lambda x, num, axis=0: [element(x)] * num)
def unpack(emit: Emitter, x: SSAValue, num: int, axis: int = 0) -> Sequence[SSAValue]:
    at = emit.axis(x, axis)
    extents = emit.shape(x)
    if extents[at] != num and (isinstance(extents[at], int) or emit.strict):
        raise GraphError(f"'tfc.unstack': expected extent {num} at axis {at}, got {extents[at]}")
    kept = [d for k, d in enumerate(extents) if k != at]
    return [emit(ReshapeOp(_part(emit, x, at, k, 1), kept)) for k in range(num)]


def _part(emit: Emitter, x: SSAValue, axis: int, start: Dim, size: Dim) -> SSAValue:
    extents = emit.shape(x)
    starts: list[Dim] = [start if k == axis else 0 for k in range(len(extents))]
    sizes = [size if k == axis else d for k, d in enumerate(extents)]
    return emit(SliceOp(x, starts, sizes, [1] * len(extents)))


@rule("ConcatV2")
def concat(emit: Emitter, *xs_and_axis: SSAValue) -> SSAValue:
    *xs, axis = xs_and_axis
    at = emit.axis(xs[0], emit.ints(axis)[0])
    for x in xs:
        emit.shape(x)
        if element(x) != element(xs[0]):
            names = " and ".join(of_element(element(v)).name for v in (xs[0], x))
            raise GraphError(f"'tfc.concat': expected inputs of one element type, got {names}")
    return emit(ConcatOp(xs, at)) if len(xs) > 1 else emit(IdentityOp(xs[0]))


@rule("Split", elements=lambda axis, x, num_split: [element(x)] * num_split)
def split(emit: Emitter, axis: SSAValue, x: SSAValue, num_split: int) -> Sequence[SSAValue]:
    at = emit.axis(x, emit.ints(axis)[0])
    extent = emit.shape(x)[at]
    if isinstance(extent, int) and extent % num_split:
        raise GraphError(f"'tfc.split': {extent} elements do not split into {num_split} equal parts")
    each = extent // num_split
    return [_part(emit, x, at, each * k, each) for k in range(num_split)]


@rule("SplitV", elements=lambda x, sizes, axis, num_split: [element(x)] * num_split)
def split_v(
    emit: Emitter, x: SSAValue, sizes: SSAValue, axis: SSAValue, num_split: int
) -> Sequence[SSAValue]:
    at = emit.axis(x, emit.ints(axis)[0])
    extent, wanted = emit.shape(x)[at], emit.dims(sizes)
    if -1 in wanted:
        rest = extent - sum((d for d in wanted if d != -1), start=cast("Dim", 0))
        wanted = [rest if d == -1 else d for d in wanted]
    total = sum(wanted, start=cast("Dim", 0))
    if total != extent and isinstance(total, int) and isinstance(extent, int):
        raise GraphError(f"'tfc.split': expected sizes that sum to {extent}, got {wanted}")
    starts = [sum(wanted[:k], start=cast("Dim", 0)) for k in range(num_split)]
    return [_part(emit, x, at, b, n) for b, n in zip(starts, wanted, strict=True)]


@rule("Slice")
def slice_(emit: Emitter, x: SSAValue, begin: SSAValue, size: SSAValue) -> SSAValue:
    extents = emit.shape(x)
    starts, sizes = emit.known(begin), emit.dims(size)
    if len(sizes) != len(extents):
        raise GraphError(f"'tfc.slice': expected {len(extents)} sizes, got {len(sizes)}")
    if starts is None:
        return _sliding(emit, x, begin, sizes)
    sizes = [n - b if s == -1 else s for n, b, s in zip(extents, starts, sizes, strict=True)]
    for n, b, s in zip(extents, starts, sizes, strict=True):
        end = b + s
        if isinstance(end, int) and isinstance(n, int) and not (0 <= end <= n and at_least(b, 0)):
            raise GraphError(f"'tfc.slice': [{b}, {end}) is not inside an extent of {n}")
    return emit(SliceOp(x, starts, sizes, [1] * len(sizes)))


def _sliding(emit: Emitter, x: SSAValue, begin: SSAValue, sizes: Sequence[Dim]) -> SSAValue:
    """A slice of known size whose start is a value: along each axis, a gather of a window."""
    if -1 in sizes:
        raise GraphError("'tfc.slice': a size of -1 needs a constant begin")
    starts = as_i64(emit, begin)
    for axis, size in enumerate(sizes):
        if size == emit.shape(x)[axis]:
            continue
        start = emit(ReshapeOp(emit(SliceOp(starts, [axis], [1], [1])), []))
        window = emit(AddOp(emit(IotaOp([size], i64, 0)), emit.broadcast(start, [size])))
        x = emit(GatherOp(x, window, axis))
    return x


@rule("StridedSlice")
def strided_slice(
    emit: Emitter, x: SSAValue, begin: SSAValue, end: SSAValue, strides: SSAValue, **masks: int
) -> SSAValue:
    from tfc.graph.rules.slices import slice_by

    return slice_by(emit, x, begin, end, strides, **masks)


@rule("PadV2")
def pad(emit: Emitter, x: SSAValue, paddings: SSAValue, value: SSAValue) -> SSAValue:
    amounts = emit.ints(paddings)
    if len(amounts) != 2 * emit.rank(x):
        raise GraphError(f"'tfc.pad': expected paddings of shape ({emit.rank(x)}, 2)")
    return emit(PadOp(x, value, amounts[::2], amounts[1::2]))


@rule("MirrorPad")
def mirror_pad(emit: Emitter, x: SSAValue, paddings: SSAValue, mode: str) -> SSAValue:
    amounts, edge = emit.ints(paddings), 1 if mode == "REFLECT" else 0
    for axis in range(emit.rank(x)):
        low, high = amounts[2 * axis], amounts[2 * axis + 1]
        extent = emit.shape(x)[axis]
        if isinstance(extent, int) and max(low, high) > extent - edge:
            raise GraphError(f"'tfc.pad': {max(low, high)} mirrored elements need a larger axis {axis}")
        before = [emit(ReverseOp(_part(emit, x, axis, edge, low), [axis]))] if low else []
        after = [emit(ReverseOp(_part(emit, x, axis, extent - edge - high, high), [axis]))] if high else []
        if before or after:
            x = emit(ConcatOp([*before, x, *after], axis))
    return emit(IdentityOp(x))


@rule("Tile")
def tile(emit: Emitter, x: SSAValue, multiples: SSAValue) -> SSAValue:
    extents, counts = emit.shape(x), emit.dims(multiples)
    if len(counts) != len(extents):
        raise GraphError(f"'tfc.tile': expected {len(extents)} multiples, got {len(counts)}")
    wide = [d for pair in zip(counts, extents, strict=True) for d in pair]
    spread = emit(BroadcastOp(x, wide, range(1, 2 * len(extents), 2)))
    return emit(ReshapeOp(spread, [c * n for c, n in zip(counts, extents, strict=True)]))


@rule("BroadcastTo")
def broadcast_to(emit: Emitter, x: SSAValue, shape: SSAValue) -> SSAValue:
    if (wanted := emit.known(shape)) is None:
        return emit(DynamicBroadcastOp(x, as_i64(emit, shape)))
    return emit(IdentityOp(emit.broadcast(x, wanted)))


@rule("GatherV2")
def gather(emit: Emitter, x: SSAValue, indices: SSAValue, axis: SSAValue, batch_dims: int = 0) -> SSAValue:
    emit.shape(indices)
    return emit(GatherOp(x, indices, emit.axis(x, emit.ints(axis)[0]), batch_dims))


@rule("OneHot", elements=lambda indices, depth, on, off, axis: [element(on)])
def one_hot(
    emit: Emitter, indices: SSAValue, depth: SSAValue, on: SSAValue, off: SSAValue, axis: int
) -> SSAValue:
    at = emit.axis(indices, axis, extra=1)
    return emit(OneHotOp(indices, emit.ints(depth)[0], on, off, at))


@rule("Select", elements=lambda condition, x, y: [element(x)])
def select(emit: Emitter, condition: SSAValue, x: SSAValue, y: SSAValue) -> SSAValue:
    if not is_bool(element(condition)):
        got = of_element(element(condition)).name
        raise GraphError(f"'tfc.select': expected a bool condition, got {got}")
    if element(x) != element(y):
        names = " and ".join(of_element(element(v)).name for v in (x, y))
        raise GraphError(f"'tfc.select': expected inputs of one element type, got {names}")
    x, y = emit.together(x, y)
    rows = emit.shape(condition)
    if len(rows) == 1 and emit.rank(x) > 1 and rows[0] == emit.shape(x)[0]:
        # A vector chooses among rows.
        condition = emit(BroadcastOp(condition, emit.shape(x), [0]))
    return emit(SelectOp(*emit.together(condition, x, y)))


@rule("MatrixBandPart")
def matrix_band_part(emit: Emitter, x: SSAValue, lower: SSAValue, upper: SSAValue) -> SSAValue:
    return emit(BandPartOp(x, emit.ints(lower)[0], emit.ints(upper)[0]))


@rule("Bitcast", elements=lambda x, type: [type.element])
def bitcast(emit: Emitter, x: SSAValue, type: DType) -> SSAValue:
    return emit(BitcastOp(x, type.element))


@rule("EnsureShape")
def ensure_shape(emit: Emitter, x: SSAValue, shape: TensorShape) -> SSAValue:
    if emit.strict and not TensorShape(list(emit.shape(x))).is_compatible_with(shape):
        raise GraphError(f"expected a tensor of shape {shape}, got {TensorShape(list(emit.shape(x)))}")
    return emit(IdentityOp(x))
