"""Quantised numbers and the integer products made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import Float32Type, IntegerType, f32, i32
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.activation import ClipOp
from tfc.dialects.tfc.arithmetic import DivOp
from tfc.dialects.tfc.elementwise import AddOp, MaxOp, MinOp, MulOp, RoundOp, SubOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.types import dtype_of, element, element_of, shape_of
from tfc.dims import Dim
from tfc.frontend.onnx.convolution import convolve, kernel_shape, window
from tfc.frontend.onnx.elementwise import element_numbered
from tfc.frontend.onnx.linear import product
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import along, broadcast, cast, reshape, splat, unsqueeze


def spread(
    node: Node, scale: SSAValue, shape: Sequence[Dim], axis: int, block: int = 0
) -> SSAValue:
    """Scales in the shape of what they scale: one for all, for each index of ``axis``, or for blocks."""
    dims = tuple(shape)
    own = shape_of(scale)
    if own in ((), (1,)):
        return broadcast(node.emit, reshape(node.emit, scale, []), dims)
    if len(own) == 1 and not block:
        return broadcast(node.emit, along(node.emit, scale, axis, len(dims)), dims)
    if not block or len(own) != len(dims):
        node.fail(f"scales {list(own)} do not fit {list(dims)}")
    wide = unsqueeze(node.emit, scale, [axis + 1])
    wide = broadcast(node.emit, wide, (*own[: axis + 1], block, *own[axis + 1 :]))
    return reshape(node.emit, wide, dims)


def _axis(node: Node) -> int:
    rank = node.rank(0)
    return node.axis(rank) if rank and -rank <= node.attr("axis", 1) < rank else 0


def quantized(
    node: Node, x: SSAValue, scale: SSAValue, zero: SSAValue | None, kind: Attribute
) -> SSAValue:
    """round(x / scale) + zero, saturated to the range of ``kind``; all in one shape, in f32."""
    return saturated(node, node.make(DivOp(x, scale)), zero, kind)


def saturated(node: Node, x: SSAValue, zero: SSAValue | None, kind: Attribute) -> SSAValue:
    """round(x) + zero, saturated to the range of ``kind``."""
    if not isinstance(kind, IntegerType) or kind.width.data > 16:
        node.fail(f"expected a quantised type of 8 or 16 bits, got {kind}")
    rounded = node.make(RoundOp(x))
    if zero is not None:
        rounded = node.make(AddOp(rounded, cast(node.emit, zero, element(x))))
    limits = np.iinfo(dtype_of(kind))
    return cast(node.emit, node.make(ClipOp(rounded, float(limits.min), float(limits.max))), kind)


@onnx_op("QuantizeLinear")
def quantize(node: Node) -> SSAValue:
    kind = element_of(np.uint8)
    if node.get(2) is not None:
        kind = element(node[2])
    elif node.attr("output_dtype"):
        kind = element_numbered(node, node.attr("output_dtype"))
    shape, axis, block = node.shape(0), _axis(node), node.attr("block_size", 0)
    x = cast(node.emit, node[0], f32)
    scale = spread(node, cast(node.emit, node[1], f32), shape, axis, block)
    zero = spread(node, node[2], shape, axis, block) if node.get(2) is not None else None
    return quantized(node, x, scale, zero, kind)


@onnx_op("DequantizeLinear")
def dequantize(node: Node) -> SSAValue:
    shape, axis, block = node.shape(0), _axis(node), node.attr("block_size", 0)
    kind = element(node[1])
    wide = f32 if isinstance(kind, Float32Type) else kind
    if node.attr("output_dtype"):
        kind = element_numbered(node, node.attr("output_dtype"))
    x = cast(node.emit, node[0], i32)
    if node.get(2) is not None:
        zero = spread(node, cast(node.emit, node[2], i32), shape, axis, block)
        x = node.make(SubOp(x, zero))
    scale = spread(node, node[1], shape, axis, block)
    return cast(node.emit, node.make(MulOp(cast(node.emit, x, wide), scale)), kind)


def _centred(node: Node, operand: int, zero: int, axis: int) -> SSAValue:
    """An operand as i32 less its zero point, which may differ along ``axis``."""
    x = cast(node.emit, node[operand], i32)
    if node.get(zero) is None:
        return x
    shift = cast(node.emit, node[zero], i32)
    if len(shape_of(shift)) > 1:
        return node.make(SubOp(x, broadcast(node.emit, shift, shape_of(x))))
    return node.make(SubOp(x, spread(node, shift, shape_of(x), axis % max(len(shape_of(x)), 1))))


@onnx_op("MatMulInteger")
def matmul_integer(node: Node) -> SSAValue:
    return product(node, _centred(node, 0, 2, -2), _centred(node, 1, 3, -1))


@onnx_op("QLinearMatMul")
def quantized_matmul(node: Node) -> SSAValue:
    """Operands with their scales and zero points, then scale and zero point of the result."""
    summed = product(node, _centred(node, 0, 2, -2), _centred(node, 3, 5, -1))
    factor = node.make(MulOp(_scalar(node, 1), _scalar(node, 4)))
    return _requantized(node, summed, factor, 6, 7)


@onnx_op("ConvInteger")
def conv_integer(node: Node) -> SSAValue:
    frame = window(node, node.shape(0)[2:], kernel_shape(node, node.shape(1)))
    x, w = _centred(node, 0, 2, 1), _centred(node, 1, 3, 0)
    return convolve(node, x, w, frame, node.attr("group"), None)


@onnx_op("QLinearConv")
def quantized_conv(node: Node) -> SSAValue:
    frame = window(node, node.shape(0)[2:], kernel_shape(node, node.shape(3)))
    x, w = _centred(node, 0, 2, 1), _centred(node, 3, 5, 0)
    summed = convolve(node, x, w, frame, node.attr("group"), node.get(8))
    scale = node[4]
    if shape_of(scale) not in ((), (1,)):
        factor = node.make(MulOp(broadcast(node.emit, _scalar(node, 1), shape_of(scale)), cast(node.emit, scale, f32)))
        factor = along(node.emit, factor, 1, len(shape_of(summed)))
    else:
        factor = node.make(MulOp(_scalar(node, 1), _scalar(node, 4)))
    return _requantized(node, summed, factor, 6, 7)


def _scalar(node: Node, operand: int) -> SSAValue:
    if shape_of(node[operand]) not in ((), (1,)):
        node.fail(f"expected one scale as input number {operand}, got {list(node.shape(operand))}")
    return cast(node.emit, reshape(node.emit, node[operand], []), f32)


def _requantized(node: Node, summed: SSAValue, factor: SSAValue, scale: int, zero: int) -> SSAValue:
    """One multiplication by the quotient of the scales, as the runtimes of the format do it."""
    dims = shape_of(summed)
    target = broadcast(node.emit, _scalar(node, scale), shape_of(factor))
    whole = broadcast(node.emit, node.make(DivOp(factor, target)), dims)
    x = node.make(MulOp(cast(node.emit, summed, f32), whole))
    shift = broadcast(node.emit, reshape(node.emit, node[zero], []), dims)
    return saturated(node, x, shift, element(node[zero]))


@onnx_op("DynamicQuantizeLinear")
def dynamic_quantize(node: Node) -> Sequence[SSAValue]:
    """Scale and zero point from the range of the input, which always takes in 0."""
    x, axes = node[0], list(range(node.rank(0)))
    nothing = splat(node.emit, 0.0, f32)
    top = node.make(MaxOp(node.make(ReduceOp(x, "max", axes)) if axes else x, nothing))
    bottom = node.make(MinOp(node.make(ReduceOp(x, "min", axes)) if axes else x, nothing))
    scale = node.make(DivOp(node.make(SubOp(top, bottom)), splat(node.emit, 255.0, f32)))
    shift = node.make(RoundOp(node.make(DivOp(node.make(SubOp(nothing, bottom)), scale))))
    zero = cast(node.emit, node.make(ClipOp(shift, 0.0, 255.0)), element_of(np.uint8))
    dims = node.shape(0)
    wide = broadcast(node.emit, scale, dims)
    return [quantized(node, x, wide, broadcast(node.emit, zero, dims), element(zero)), scale, zero]
