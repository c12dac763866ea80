"""Activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc import activation as ops
from tfc.dialects.tfc.elementwise import MaxOp, MulOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.types import element, is_float, shape_of
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import broadcast, like, reshape

SIMPLE: dict[str, Callable[[SSAValue], Operation]] = {
    "HardSwish": ops.HardSwishOp,
    "Mish": ops.MishOp,
    "Sigmoid": ops.SigmoidOp,
    "Softplus": ops.SoftplusOp,
    "Softsign": ops.SoftsignOp,
}

SCALED: dict[str, tuple[Callable[..., Operation], tuple[str, ...]]] = {
    "Celu": (ops.CeluOp, ("alpha",)),
    "Elu": (ops.EluOp, ("alpha",)),
    "HardSigmoid": (ops.HardSigmoidOp, ("alpha", "beta")),
    "LeakyRelu": (ops.LeakyReluOp, ("alpha",)),
    "Selu": (ops.SeluOp, ("alpha", "gamma")),
    "ThresholdedRelu": (ops.ThresholdedReluOp, ("alpha",)),
}
"""The operation and the attributes that become its arguments."""


@onnx_op(*SIMPLE)
def simple(node: Node) -> SSAValue:
    return node.make(SIMPLE[node.kind](node[0]))


@onnx_op(*SCALED)
def scaled(node: Node) -> SSAValue:
    op, names = SCALED[node.kind]
    return node.make(op(node[0], *(node.attr(n) for n in names)))


@onnx_op("Relu")
def relu(node: Node) -> SSAValue:
    if is_float(element(node[0])):
        return node.make(ops.ReluOp(node[0]))
    return node.make(MaxOp(node[0], like(node.emit, 0, node[0])))


@onnx_op("Gelu")
def gelu(node: Node) -> SSAValue:
    approximate = node.attr("approximate")
    if approximate not in ("none", "tanh"):
        node.fail(f"expected approximate to be none or tanh, got {approximate!r}")
    return node.make(ops.GeluOp(node[0], approximate == "tanh"))


@onnx_op("PRelu")
def p_relu(node: Node) -> SSAValue:
    """A leaky relu whose slope is a tensor; before set 7, one slope for each channel."""
    x, slope = node[0], node[1]
    if node.version < 7 and node.rank(1) == 1 and shape_of(slope) != (1,):
        slope = reshape(node.emit, slope, [*shape_of(slope), *[1] * (node.rank(0) - 2)])
    scaled = node.make(MulOp(x, broadcast(node.emit, slope, shape_of(x))))
    negative = node.make(CompareOp("lt", x, like(node.emit, np.float32(0), x)))
    return node.make(SelectOp(negative, scaled, x))
