"""Operators that compute each element alone: arithmetic, comparison, logic, casts."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.dialects.tfc import arithmetic, elementwise, select
from tfc.dialects.tfc.activation import ClipOp, ReciprocalOp
from tfc.dialects.tfc.types import element, element_of, is_bool, is_float, shape_of
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.reader import DTYPES
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    broadcast_together,
    cast,
    like,
    reshape,
)

UNARY: dict[str, Callable[[SSAValue], Operation]] = {
    "Abs": elementwise.AbsOp,
    "Acos": elementwise.AcosOp,
    "Acosh": elementwise.AcoshOp,
    "Asin": elementwise.AsinOp,
    "Asinh": elementwise.AsinhOp,
    "Atan": elementwise.AtanOp,
    "Atanh": elementwise.AtanhOp,
    "BitwiseNot": elementwise.NotOp,
    "Ceil": elementwise.CeilOp,
    "Cos": elementwise.CosOp,
    "Cosh": elementwise.CoshOp,
    "Erf": elementwise.ErfOp,
    "Exp": elementwise.ExpOp,
    "Floor": elementwise.FloorOp,
    "IsNaN": select.IsNanOp,
    "Log": elementwise.LogOp,
    "Neg": elementwise.NegOp,
    "Not": elementwise.NotOp,
    "Reciprocal": ReciprocalOp,
    "Round": elementwise.RoundOp,
    "Sign": elementwise.SignOp,
    "Sin": elementwise.SinOp,
    "Sinh": elementwise.SinhOp,
    "Sqrt": elementwise.SqrtOp,
    "Tan": elementwise.TanOp,
    "Tanh": elementwise.TanhOp,
}

BINARY: dict[str, Callable[[SSAValue, SSAValue], Operation]] = {
    "Add": elementwise.AddOp,
    "Sub": elementwise.SubOp,
    "Mul": elementwise.MulOp,
    "Div": arithmetic.DivOp,
    "And": elementwise.AndOp,
    "Or": elementwise.OrOp,
    "Xor": elementwise.XorOp,
    "BitwiseAnd": elementwise.AndOp,
    "BitwiseOr": elementwise.OrOp,
    "BitwiseXor": elementwise.XorOp,
}

COMPARE = {
    "Equal": "eq",
    "Less": "lt",
    "Greater": "gt",
    "LessOrEqual": "le",
    "GreaterOrEqual": "ge",
}

VARIADIC: dict[str, Callable[[SSAValue, SSAValue], Operation]] = {
    "Max": elementwise.MaxOp,
    "Min": elementwise.MinOp,
    "Sum": elementwise.AddOp,
    "Mean": elementwise.AddOp,
}


@onnx_op(*UNARY)
def unary(node: Node) -> SSAValue:
    return node.make(UNARY[node.kind](node[0]))


@onnx_op("Identity")
def identity(node: Node) -> SSAValue:
    return node[0]


def operands(node: Node) -> list[SSAValue]:
    """Both operands in one shape. Before set 7 only ``broadcast`` and ``axis`` allow to differ."""
    x, y = node[0], node[1]
    if node.version < 7 and node.attr("broadcast") and len(shape_of(y)) < len(shape_of(x)):
        after = len(shape_of(x)) - node.axis(
            len(shape_of(x)), end=True, default=len(shape_of(x)) - len(shape_of(y))
        )
        dims = (*shape_of(y), *[1] * (after - len(shape_of(y))))
        y = reshape(node.emit, y, dims)
    return broadcast_together(node.emit, x, y)


@onnx_op(*BINARY)
def binary(node: Node) -> SSAValue:
    return node.make(BINARY[node.kind](*operands(node)))


@onnx_op(*COMPARE)
def compare(node: Node) -> SSAValue:
    return node.make(select.CompareOp(COMPARE[node.kind], *operands(node)))


@onnx_op("Pow")
def power(node: Node) -> SSAValue:
    """The result has the type of the base; an integer to a float power is computed in floats."""
    x, y = operands(node)
    kind = element(x)
    if is_float(element(y)) and not is_float(kind):
        wide = node.make(arithmetic.PowOp(cast(node.emit, x, element(y)), y))
        return cast(node.emit, wide, kind)
    return node.make(arithmetic.PowOp(x, cast(node.emit, y, kind)))


@onnx_op("Mod")
def modulo(node: Node) -> SSAValue:
    x, y = operands(node)
    if node.attr("fmod"):
        return node.make(arithmetic.RemOp(x, y))
    return node.make(arithmetic.FloormodOp(x, y))


@onnx_op("BitShift")
def bit_shift(node: Node) -> SSAValue:
    direction = node.attr("direction")
    if direction not in ("LEFT", "RIGHT"):
        node.fail(f"expected direction LEFT or RIGHT, got {direction!r}")
    op = arithmetic.ShiftLeftOp if direction == "LEFT" else arithmetic.ShiftRightOp
    return node.make(op(*operands(node)))


@onnx_op(*VARIADIC)
def variadic(node: Node) -> SSAValue:
    values = broadcast_together(node.emit, *node.all())
    total = reduce(lambda x, y: node.make(VARIADIC[node.kind](x, y)), values)
    if node.kind != "Mean" or len(values) == 1:
        return total
    return node.make(arithmetic.DivOp(total, like(node.emit, len(values), total)))


@onnx_op("IsInf")
def is_inf(node: Node) -> SSAValue:
    found = node.make(select.IsInfOp(node[0]))
    positive, negative = node.attr("detect_positive"), node.attr("detect_negative")
    if positive and negative:
        return found
    if not positive and not negative:
        return like(node.emit, False, found)
    zero = like(node.emit, 0, node[0])
    sign = node.make(select.CompareOp("gt" if positive else "lt", node[0], zero))
    return node.make(elementwise.AndOp(found, sign))


@onnx_op("Where")
def where(node: Node) -> SSAValue:
    return node.make(select.SelectOp(*broadcast_together(node.emit, *node.all())))


@onnx_op("Cast")
def cast_to(node: Node) -> SSAValue:
    return cast(node.emit, node[0], element_numbered(node, node.attr("to")))


@onnx_op("CastLike")
def cast_like(node: Node) -> SSAValue:
    return cast(node.emit, node[0], element(node[1]))


@onnx_op("BitCast")
def bit_cast(node: Node) -> SSAValue:
    kind = element_numbered(node, node.attr("to"))
    if kind == element(node[0]):
        return node[0]
    if is_bool(element(node[0])) and kind == element_of(np.uint8):
        return cast(node.emit, node[0], kind)
    return node.make(select.BitcastOp(node[0], kind))


@onnx_op("Clip", since=1)
def clip_by_attributes(node: Node) -> SSAValue:
    return node.make(ClipOp(node[0], node.attr("min"), node.attr("max")))


@onnx_op("Clip", since=11)
def clip(node: Node) -> SSAValue:
    x = node[0]
    low, high = node.get(1), node.get(2)
    arrays = node.array(1), node.array(2)
    constant = all(b is None or a is not None for a, b in zip(arrays, (low, high), strict=True))
    if constant and is_float(element(x)):
        bounds = [None if a is None else float(a.reshape(())) for a in arrays]
        return x if bounds == [None, None] else node.make(ClipOp(x, *bounds))
    if low is not None:
        x = node.make(elementwise.MaxOp(x, broadcast(node.emit, low, shape_of(x))))
    if high is not None:
        x = node.make(elementwise.MinOp(x, broadcast(node.emit, high, shape_of(x))))
    return x


def element_numbered(node: Node, number: Any) -> Attribute:
    """The element type that ONNX gives this number."""
    dtype = DTYPES.get(number)
    if dtype is None:
        known = onnx.TensorProto.DataType
        name = known.Name(number) if number in known.values() else f"number {number}"
        node.fail(f"tfc has no element type {name}")
    return element_of(dtype.newbyteorder("="))
