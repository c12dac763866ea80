"""Operators that make a tensor from nothing but a shape or a few numbers."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.dynamic import DynamicBroadcastOp
from tfc.dialects.tfc.elementwise import AddOp, MulOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.types import LiteralAttr, element_of, shape_of
from tfc.dims import at_least, maximum
from tfc.frontend.onnx.elementwise import element_numbered
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    cast,
    constant,
    like,
    reshape,
    splat,
    squeeze,
    take,
    unsqueeze,
)


@onnx_op("Constant")
def literal(node: Node) -> SSAValue:
    for name, dtype in (
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float32),
        ("value_floats", np.float32),
    ):
        if node.has(name):
            return constant(node.emit, node.attr(name), dtype)
    if not node.has("value"):
        node.fail("expected a tensor or numbers, got " + (", ".join(node.attributes) or "nothing"))
    return node.emit(ConstantOp(LiteralAttr.of(node.array_attr("value"))))


@onnx_op("ConstantOfShape")
def filled(node: Node) -> SSAValue:
    value = (
        node.array_attr("value").reshape(-1)[:1] if node.has("value") else np.zeros(1, np.float32)
    )
    kind = element_of(value.dtype.newbyteorder("="))
    shape = node.dims(0)
    if shape is None:
        return node.make(DynamicBroadcastOp(splat(node.emit, value[0], kind), node[0]))
    if any(not at_least(d, 0) for d in shape):
        node.fail(f"expected extents of at least 0, got {shape}")
    return splat(node.emit, value[0], kind, tuple(shape))


@onnx_op("Range")
def arange(node: Node) -> SSAValue:
    """Known numbers give a constant; a length that depends on named dims, an iota."""
    arrays = [node.array(i) for i in range(3)]
    kind = node.element()
    if arrays[0] is not None and arrays[1] is not None and arrays[2] is not None:
        start, limit, step = (a.reshape(()) for a in arrays if a is not None)
        if step == 0:
            node.fail("expected a step other than 0")
        count = max(int(np.ceil((limit - start) / step)), 0)
        steps = np.arange(count).astype(start.dtype)
        return constant(node.emit, start + steps * step, start.dtype)
    known = [node.dims(i) for i in range(3)]
    if known[0] is None or known[1] is None or known[2] is None:
        node.fail("start, limit and step must be constant or follow from shapes")
    (start,), (limit,), (step,) = known[0], known[1], known[2]
    if not isinstance(step, int) or step == 0:
        node.fail(f"expected a constant step other than 0, got {step}")
    span = limit - start if step > 0 else start - limit
    count = maximum((span + (abs(step) - 1)) // abs(step), 0)
    places = node.make(IotaOp([count], kind, 0))
    if step != 1:
        places = node.make(MulOp(places, like(node.emit, step, places)))
    if start == 0:
        return places
    return node.make(
        AddOp(places, broadcast(node.emit, reshape(node.emit, node[0], []), shape_of(places)))
    )


@onnx_op("EyeLike")
def eye_like(node: Node) -> SSAValue:
    dims, k = node.shape(0), node.attr("k")
    if len(dims) != 2:
        node.fail(f"expected a matrix, got {list(dims)}")
    kind = element_numbered(node, node.attr("dtype")) if node.has("dtype") else node.element()
    rows, columns = node.make(IotaOp(dims, i64, 0)), node.make(IotaOp(dims, i64, 1))
    shifted = node.make(AddOp(rows, like(node.emit, k, rows)))
    return cast(node.emit, node.make(CompareOp("eq", shifted, columns)), kind)


@onnx_op("OneHot")
def one_hot(node: Node) -> SSAValue:
    """values[1] where the position along the new axis is the index, values[0] elsewhere."""
    depth = node.dims(1)
    if depth is None and (array := node.array(1)) is not None:
        depth = [int(array.reshape(()))]
    if depth is None or len(depth) != 1 or len(shape_of(node[2])) != 1:
        node.fail("the depth (input number 1) must be constant or follow from static shapes")
    axis = node.axis(node.rank(0) + 1)
    indices = cast(node.emit, node[0], i64)
    dims = shape_of(indices)
    full = (*dims[:axis], depth[0], *dims[axis:])
    places = node.make(IotaOp(full, i64, axis))
    wide = broadcast(node.emit, unsqueeze(node.emit, indices, [axis]), full)
    size = (
        like(node.emit, depth[0], wide)
        if isinstance(depth[0], int)
        else broadcast(node.emit, reshape(node.emit, cast(node.emit, node[1], i64), []), full)
    )
    negative = node.make(CompareOp("lt", wide, like(node.emit, 0, wide)))
    wrapped = node.make(SelectOp(negative, node.make(AddOp(wide, size)), wide))
    on = node.make(CompareOp("eq", places, wrapped))
    values = [squeeze(node.emit, take(node.emit, node[2], 0, i, 1), [0]) for i in (0, 1)]
    off_value, on_value = (broadcast(node.emit, v, full) for v in values)
    return node.make(SelectOp(on, on_value, off_value))
