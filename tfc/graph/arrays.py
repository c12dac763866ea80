"""Inputs, constants, and what moves or selects elements: ``tf.placeholder``, ``tf.reshape``, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfc.dialects.tfc.types import LiteralAttr
from tfc.errors import GraphError
from tfc.graph.dtypes import as_dtype, bool_, float32, int32, int64
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import constant, convert, convert_pair, is_tensor, name_scope, node, single
from tfc.graph.shape import TensorShape
from tfc.graph.source import here, quoted


def placeholder(dtype: Any = float32, shape: Any = None, name: str | None = None) -> Tensor:
    """An input, whose value is fed to each run.

    Args:
        dtype: its element type; float32 where left out.
        shape: its extents: numbers, names of extents, None where unknown; left out, any shape
            may be fed.
    """
    return single("Placeholder", [], name, dtype=as_dtype(dtype), shape=TensorShape(shape))


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that may be fed, and is ``input`` where it is not."""
    with name_scope(name, "PlaceholderWithDefault", [input]) as scope:
        x = convert(input, name="input")
        wanted = TensorShape(shape)
        return single("PlaceholderWithDefault", [x], scope, dtype=x.dtype, shape=wanted)


def identity(input: Any, name: str | None = None) -> Tensor:
    """A node of its own with the value of ``input``."""
    with name_scope(name, "Identity", [input]) as scope:
        return single("Identity", [convert(input, name="input")], scope)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """``input``, as a constant to differentiation."""
    with name_scope(name, "StopGradient", [input]) as scope:
        return single("StopGradient", [convert(input)], scope)


def no_op(name: str | None = None) -> Operation:
    """A node that does nothing: something to hang control dependencies on."""
    return node("NoOp", [], name)


def group(*inputs: Any, name: str | None = None) -> Operation:
    """A node that is done when all ``inputs`` (nodes, tensors, lists of them) are."""
    from tfc.graph.graph import get_default_graph, graph_of

    flat = list(_flatten(inputs))
    graph = graph_of(flat) if flat else get_default_graph()
    with graph.as_default(), graph.control_dependencies([x for x in flat if x is not None]):
        return no_op(name or "group_deps")


def tuple_(tensors: Sequence[Any], name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The tensors, none of which is there before all are."""
    from tfc.graph.graph import control_dependencies

    with name_scope(name, "tuple", list(tensors)):
        done = [t for t in tensors if t is not None] + list(control_inputs or ())
        gate = group(*done)
        with control_dependencies([gate]):
            return [None if t is None else identity(t, name="control_dependency") for t in tensors]


def _flatten(values: Any) -> Any:
    for v in values:
        if isinstance(v, list | tuple):
            yield from _flatten(v)
        else:
            yield v


def extents_tensor(shape: Any, name: str = "shape", least: int = 0) -> Tensor:
    """A shape, of numbers not below ``least`` and perhaps tensors, as a tensor."""
    if isinstance(shape, TensorShape):
        shape = shape.as_list()
        if None in shape:
            help = "tf.shape(x) gives the extents when the graph runs"
            raise quoted(GraphError(f"expected known extents, got {shape}", help=help), here())
    if is_tensor(shape):
        return convert(shape, name=name)
    try:
        array = np.array(shape, np.int64).reshape(-1)
        good = not array.size or array.min() >= least
    except (TypeError, ValueError, OverflowError):
        array, good = np.zeros(0, np.int64), False
    if not good:
        raise quoted(GraphError(f"expected extents of at least {least}, got {shape}"), here())
    small = array.size == 0 or array.max() < 2**31
    return constant(array.astype(np.int32 if small else np.int64), name=name)


def _filled(value: int, default_name: str, shape: Any, dtype: Any, name: str | None) -> Tensor:
    kind = as_dtype(dtype)
    with name_scope(name, default_name, [shape]) as scope:
        if not is_tensor(shape):
            try:
                sizes = TensorShape(shape)
            except GraphError as error:
                raise quoted(error, here()) from None
            if sizes.is_fully_defined() and (sizes.num_elements() or 0) < 1000:
                attr = LiteralAttr.splat(value, kind.numpy, [d or 0 for d in sizes.as_list()])
                return single("Const", [], scope, value=attr)
        return single("Fill", [extents_tensor(shape, "shape_as_tensor"), constant(value, kind)], scope)


def zeros(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """A tensor of zeros."""
    return _filled(0, "zeros", shape, dtype, name)


def ones(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """A tensor of ones."""
    return _filled(1, "ones", shape, dtype, name)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of extents ``dims`` whose elements are all ``value``."""
    with name_scope(name, "Fill", [dims, value]) as scope:
        return single("Fill", [extents_tensor(dims, "dims"), convert(value, name="value")], scope)


def _like(type_: str, default_name: str, x: Any, dtype: Any, name: str | None) -> Tensor:
    with name_scope(name, default_name, [x]) as scope:
        x = convert(x, name="tensor")
        if dtype is not None and as_dtype(dtype) is not x.dtype:
            from tfc.graph.math import cast

            x = cast(x, dtype)
        return single(type_, [x], scope)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Zeros with the shape of ``tensor``, and its element type unless given."""
    return _like("ZerosLike", "zeros_like", tensor, dtype, name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Ones with the shape of ``tensor``, and its element type unless given."""
    return _like("OnesLike", "ones_like", tensor, dtype, name)


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """``start, start + delta, ...`` below ``limit``; with one argument, from 0 to it."""
    if limit is None:
        start, limit = 0, start
    with name_scope(name, "Range", [start, limit, delta]) as scope:
        given = ((start, "start"), (limit, "limit"), (delta, "delta"))
        kind = None if dtype is None else as_dtype(dtype)
        values = [convert(v, kind, name=n) for v, n in given]
        kinds = {v.dtype for v in values}
        if len(kinds) > 1:
            from tfc.graph.math import cast

            order = [int32, int64, float32]
            widest = max(kinds, key=lambda k: order.index(k) if k in order else 3)
            # Numbers are written in the wider type at once: a range of floats has to know them.
            values = [cast(x, widest) if is_tensor(v) else convert(v, widest, name=n) for x, (v, n) in zip(values, given, strict=True)]
        return single("Range", values, scope)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """``num`` values in equal steps from ``start`` to ``stop``."""
    with name_scope(name, "LinSpace", [start, stop]) as scope:
        start = convert(start, float32 if not is_tensor(start) else None)
        return single("LinSpace", [start, convert(stop, start.dtype), convert(num, int32)], scope)


def shape(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The extents, as a tensor."""
    with name_scope(name, "Shape", [input]) as scope:
        x = convert(input)
        if x.shape.is_fully_defined():
            value = np.array(x.shape.as_list(), as_dtype(out_type).numpy)
            return constant(value, name=scope)
        return single("Shape", [x], scope, out_type=as_dtype(out_type))


def size(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The number of elements, as a tensor."""
    with name_scope(name, "Size", [input]) as scope:
        x = convert(input)
        if x.shape.is_fully_defined():
            return constant(np.array(x.shape.num_elements(), as_dtype(out_type).numpy), name=scope)
        return single("Size", [x], scope, out_type=as_dtype(out_type))


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of dims, as a tensor."""
    with name_scope(name, "Rank", [input]) as scope:
        x = convert(input)
        if x.shape.ndims is not None:
            return constant(x.shape.ndims, int32, name=scope)
        return single("Rank", [x], scope, out_type=int32)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in row-major order under other extents, of which one may be -1."""
    with name_scope(name, "Reshape", [tensor, shape]) as scope:
        x = convert(tensor, name="tensor")
        if isinstance(shape, TensorShape):
            shape = [-1 if d is None else d for d in shape.as_list()]
        return single("Reshape", [x, extents_tensor(shape, least=-1)], scope)


def transpose(a: Any, perm: Any = None, name: str = "transpose") -> Tensor:
    """The axes in another order; reversed where ``perm`` is left out."""
    with name_scope(name, "transpose", [a]) as scope:
        x = convert(a, name="a")
        if perm is None:
            if x.shape.ndims is None:
                return single("ReverseAxes", [x], scope)
            perm = np.arange(x.shape.ndims, dtype=np.int32)[::-1].copy()
        return single("Transpose", [x, convert(perm, name="perm")], scope)


def matrix_transpose(a: Any, name: str = "matrix_transpose") -> Tensor:
    """The last two axes exchanged."""
    with name_scope(name, None, [a]) as scope:
        x = convert(a)
        if x.shape.ndims is None or x.shape.ndims < 2:
            raise quoted(GraphError(f"expected a tensor of rank 2 or more, got shape {x.shape}"), here())
        axes = list(range(x.shape.ndims))
        return transpose(x, [*axes[:-2], axes[-1], axes[-2]], name=scope)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """The elements in the opposite order along the axes ``axis``."""
    with name_scope(name, "ReverseV2", [tensor]) as scope:
        x = convert(tensor, name="tensor")
        return single("ReverseV2", [x, convert(axis, int32, name="axis")], scope)


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """Without the axes ``axis``, of extent 1; all such where left out."""
    axis = squeeze_dims if axis is None else axis
    axes = [] if axis is None else [axis] if np.ndim(axis) == 0 else list(axis)
    with name_scope(name, "Squeeze", [input]) as scope:
        return single("Squeeze", [convert(input, name="input")], scope, squeeze_dims=tuple(map(int, axes)))


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """With a new axis of extent 1 in front of axis ``axis``."""
    with name_scope(name, "ExpandDims", [input]) as scope:
        where = convert(dim if axis is None else axis, int32, name="dim")
        return single("ExpandDims", [convert(input, name="input"), where], scope)


def stack(values: Sequence[Any], axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape, one after another along a new axis."""
    values = list(values)
    if not values:
        raise quoted(GraphError("'tfc.stack': expected at least one tensor, got none"), here())
    with name_scope(name, None, values) as scope:
        first = next((convert(v).dtype for v in values if is_tensor(v)), None)
        parts = [convert(v, first, name=f"values_{k}") for k, v in enumerate(values)]
        return single("Pack", parts, scope, axis=axis)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The parts of a tensor along ``axis``, without that axis."""
    with name_scope(name, None, [value]) as scope:
        x = convert(value, name="value")
        if num is None:
            extents = None if x.shape.ndims is None else x.shape.as_list()
            if extents is None or not -len(extents) <= axis < len(extents) or extents[axis] is None:
                help = "unstack(x, num=...) says how many parts there are"
                raise quoted(GraphError(f"cannot infer the number of parts of shape {x.shape}", help=help), here())
            num = extents[axis]
        return list(node("Unpack", [x], scope, num=num, axis=axis).values())


def concat(values: Sequence[Any], axis: Any, name: str = "concat") -> Tensor:
    """Tensors one after another along an axis that they have."""
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values:
        raise quoted(GraphError("'tfc.concat': expected at least one tensor, got none"), here())
    with name_scope(name, None, values) as scope:
        first = next((convert(v).dtype for v in values if is_tensor(v)), None)
        parts = [convert(v, first, name=f"values_{k}") for k, v in enumerate(values)]
        return single("ConcatV2", [*parts, convert(axis, int32, name="axis")], scope)


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """Parts of a tensor along ``axis``: that many equal ones, or of the given sizes."""
    with name_scope(name, None, [value]) as scope:
        x = convert(value, name="value")
        if isinstance(num_or_size_splits, int | np.integer):
            where = convert(axis, int32, name="split_dim")
            parts = node("Split", [where, x], scope, num_split=int(num_or_size_splits))
        else:
            sizes = convert(num_or_size_splits, name="Const")
            count = sizes.shape.num_elements() if num is None else num
            if count is None:
                raise quoted(GraphError("'tfc.split': expected a known number of sizes"), here())
            parts = node("SplitV", [x, sizes, convert(axis, int32, name="split_dim")], scope, num_split=count)
        return list(parts.values())


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """``size`` elements from ``begin`` along each axis; -1 takes all that follow."""
    with name_scope(name, "Slice", [input_]) as scope:
        x = convert(input_, name="input")
        begin, size = convert(begin, name="begin"), convert(size, name="size")
        return single("Slice", [x, begin, size], scope)


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0
) -> Tensor:
    """With elements added in front of and behind each axis: ``paddings: [rank, 2]``."""
    with name_scope(name, "Pad", [tensor]) as scope:
        x = convert(tensor, name="tensor")
        amounts = convert(paddings, int32 if not is_tensor(paddings) else None, name="paddings")
        if mode.upper() == "CONSTANT":
            return single("PadV2", [x, amounts, convert(constant_values, x.dtype)], scope)
        if mode.upper() not in ("REFLECT", "SYMMETRIC"):
            message = f"expected mode 'CONSTANT', 'REFLECT' or 'SYMMETRIC', got {mode!r}"
            raise quoted(GraphError(message), here())
        return single("MirrorPad", [x, amounts], scope, mode=mode.upper())


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """The tensor repeated ``multiples`` times along each axis."""
    with name_scope(name, "Tile", [input]) as scope:
        return single("Tile", [convert(input, name="input"), extents_tensor(multiples, "multiples")], scope)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """The tensor stretched to ``shape`` by numpy's rule."""
    with name_scope(name, "BroadcastTo", [input]) as scope:
        return single("BroadcastTo", [convert(input, name="input"), extents_tensor(shape, least=-1)], scope)


def gather(
    params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = 0,
    batch_dims: int = 0,
) -> Tensor:  # fmt: skip
    """The slices of ``params`` at ``indices`` along ``axis``."""
    with name_scope(name, "GatherV2", [params, indices]) as scope:
        x, where = convert(params, name="params"), convert(indices, name="indices")
        at = convert(0 if axis is None else axis, int32, name="axis")
        return single("GatherV2", [x, where, at], scope, batch_dims=batch_dims)


def embedding_lookup(params: Any, ids: Any, name: str | None = None) -> Tensor:
    """The rows of ``params`` at ``ids``."""
    with name_scope(name, "embedding_lookup", [params, ids]) as scope:
        return gather(params, ids, name=scope)


def one_hot(
    indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: int | None = None,
    dtype: Any = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """``on_value`` where the new axis (the last unless given) has the index, else ``off_value``."""
    with name_scope(name, "one_hot", [indices]) as scope:
        where = convert(indices, name="indices")
        kind = float32 if dtype is None and on_value is None and off_value is None else dtype
        on = convert(1 if on_value is None else on_value, kind, name="on_value")
        off = convert(0 if off_value is None else off_value, on.dtype, name="off_value")
        at = -1 if axis is None else axis
        return single("OneHot", [where, convert(depth, int32, name="depth"), on, off], scope, axis=at)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """Elements of ``x`` where ``condition``, of ``y`` elsewhere."""
    if x is None or y is None:
        message = "tf.where(condition) alone gives a tensor whose shape depends on values"
        raise quoted(GraphError(message, help="tf.where(condition, x, y) chooses elements"), here())
    with name_scope(name, "Select", [condition, x, y]) as scope:
        x, y = convert_pair(x, y, ("t", "e"))
        return single("Select", [convert(condition, name="condition"), x, y], scope)


def boolean_mask(*_args: Any, **_names: Any) -> Tensor:
    """Not supported: its result has a shape that depends on values."""
    message = "tf.boolean_mask gives a tensor whose shape depends on values"
    raise quoted(GraphError(message, help="tf.where(mask, x, 0) keeps the shape"), here())


def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Zero outside a band around the main diagonal; a negative number keeps that side."""
    with name_scope(name, "MatrixBandPart", [input]) as scope:
        x = convert(input, name="input")
        bounds = [convert(n, int64, name=k) for n, k in ((num_lower, "num_lower"), (num_upper, "num_upper"))]
        return single("MatrixBandPart", [x, *bounds], scope)


def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """The same bits as another element type."""
    with name_scope(name, "Bitcast", [input]) as scope:
        return single("Bitcast", [convert(input, name="input")], scope, type=as_dtype(type))


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """``x``, which must have ``shape`` when the graph runs."""
    with name_scope(name, "EnsureShape", [x]) as scope:
        result = single("EnsureShape", [convert(x)], scope, shape=TensorShape(shape))
        result.set_shape(shape)
        return result


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = bool_, name: str | None = None) -> Tensor:
    """For each length, true in as many places of a row of ``maxlen``."""
    from tfc.graph.math import cast, less

    with name_scope(name, "SequenceMask", [lengths]):
        counts = convert(lengths)
        if maxlen is None:
            raise quoted(GraphError("'tfc.sequence_mask': expected maxlen, a number"), here())
        row = range_(0, maxlen, dtype=counts.dtype)
        return cast(less(row, expand_dims(counts, -1)), dtype)
