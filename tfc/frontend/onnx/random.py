"""Operators that draw random numbers.

Each node has a stream of its own: Philox with the node's seed (its name where it has none) as key. Where the stream
stands is a hidden variable, so every run of a session draws other numbers, and each new session the same.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import Float64Type, IntegerType, f32, f64
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.elementwise import AddOp, CosOp, SqrtOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.random import U32, U64, RandomUniformOp
from tfc.dialects.tfc.reduce import ArgReduceOp
from tfc.dialects.tfc.select import CompareOp
from tfc.dialects.tfc.state import AssignOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import element_of, is_float, is_static, shape_of, tensor_type
from tfc.dims import Dim
from tfc.frontend.onnx.elementwise import element_numbered
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    cast,
    concat,
    constant,
    reshape,
    splat,
    squeeze,
    take,
    unsqueeze,
)

SMALL = 1e-7
"""What stands for 0 under a logarithm."""


@onnx_op("RandomUniform")
def uniform(node: Node) -> SSAValue:
    return _scaled_uniform(node, node.attr("shape"), _kind(node, element_of(np.float32)))


@onnx_op("RandomUniformLike")
def uniform_like(node: Node) -> SSAValue:
    return _scaled_uniform(node, node.shape(0), _kind(node, node.element()))


@onnx_op("RandomNormal")
def normal(node: Node) -> SSAValue:
    return _scaled_normal(node, node.attr("shape"), _kind(node, element_of(np.float32)))


@onnx_op("RandomNormalLike")
def normal_like(node: Node) -> SSAValue:
    return _scaled_normal(node, node.shape(0), _kind(node, node.element()))


@onnx_op("Bernoulli")
def bernoulli(node: Node) -> SSAValue:
    """1 as often as the operand says. (ONNX's own definition by other operators gives 0 as often.)"""
    kind = element_numbered(node, node.attr("dtype")) if node.has("dtype") else node.element()
    below = _drawn(node, node.shape(0), _wide(node.element()))
    held = cast(node.emit, node[0], _wide(node.element()))
    return cast(node.emit, node.make(CompareOp("lt", below, held)), kind)


@onnx_op("Multinomial")
def multinomial(node: Node) -> SSAValue:
    """The class whose logit with noise of Gumbel's distribution is the largest."""
    f, count = Formula(node.emit), node.attr("sample_size", 1)
    batch, classes = node.shape(0)
    noise = _drawn(node, [batch, count, classes], f32)
    gumbel = f.neg(f.log(f.max(f.neg(f.log(f.max(noise, SMALL))), SMALL)))
    logits = unsqueeze(node.emit, cast(node.emit, node[0], f32), [1])
    noisy = node.make(AddOp(gumbel, broadcast(node.emit, logits, shape_of(gumbel))))
    kind = element_numbered(node, node.attr("dtype", 6))
    if not isinstance(kind, IntegerType):
        node.fail(f"expected a dtype of integers, got {kind}")
    return node.make(ArgReduceOp(noisy, "max", 2, kind))


def _kind(node: Node, default: Attribute) -> Attribute:
    kind = element_numbered(node, node.attr("dtype")) if node.has("dtype") else default
    if not is_float(kind):
        node.fail(f"expected a dtype of floats, got {kind}")
    return kind


def _scaled_uniform(node: Node, shape: Sequence[Dim], kind: Attribute) -> SSAValue:
    f, low, high = Formula(node.emit), node.attr("low", 0.0), node.attr("high", 1.0)
    return cast(node.emit, f.add(f.mul(_drawn(node, shape, _wide(kind)), high - low), low), kind)


def _scaled_normal(node: Node, shape: Sequence[Dim], kind: Attribute) -> SSAValue:
    """By Box and Muller, of two uniform numbers each."""
    f, emit = Formula(node.emit), node.emit
    both = _drawn(node, [2, *shape], _wide(kind))
    u, v = (squeeze(emit, take(emit, both, 0, k, 1), [0]) for k in (0, 1))
    radius = node.make(SqrtOp(f.mul(f.log(f.max(u, SMALL)), -2.0)))
    z = f.mul(radius, node.make(CosOp(f.mul(v, 2 * math.pi))))
    return cast(emit, f.add(f.mul(z, node.attr("scale", 1.0)), node.attr("mean", 0.0)), kind)


def _wide(kind: Attribute) -> Attribute:
    return f64 if isinstance(kind, Float64Type) else f32


def _drawn(node: Node, shape: Sequence[Dim], kind: Attribute) -> SSAValue:
    """Numbers in [0, 1) from the node's stream, which moves on."""
    if not is_static(tuple(shape)):
        node.fail(f"expected extents that are numbers, got {list(shape)}")
    if node.emit.block is not node.scope.importer.block:
        node.fail("random numbers inside of a branch or loop are not supported")
    emit, name = node.emit, "/".join((*node.scope.path, node.proto.name or node.proto.output[0]))
    state = emit(VariableOp(f"{name}/state", tensor_type([], U64)))
    reading = ReadOp(state)
    place = emit(reading)
    count = math.prod(d for d in shape if isinstance(d, int))
    emit(
        AssignOp(state, splat(emit, count, U64), [reading.token], "add")
    )  # 4 numbers a block: more than are used
    given = struct.pack("<f", node.attr("seed")) if node.has("seed") else name.encode()
    key = np.frombuffer(hashlib.sha256(given).digest()[:8], np.uint32)
    words = [reshape(emit, cast(emit, place, U32), [1]), splat(emit, 0, U32, (3,))]
    return emit(
        RandomUniformOp(constant(emit, key, np.uint32), concat(emit, words, 0), shape, kind)
    )
