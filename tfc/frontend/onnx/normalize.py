"""Normalisations, softmax, and dropout."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import f32, i1
from xdsl.ir import SSAValue

from tfc.dialects.tfc.activation import SquareOp
from tfc.dialects.tfc.arithmetic import DivOp, PowOp
from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.elementwise import AbsOp, AddOp, MulOp, RsqrtOp, SubOp
from tfc.dialects.tfc.nn import BatchNormOp, LayerNormOp, LogSoftmaxOp, LrnOp, SoftmaxOp
from tfc.dialects.tfc.reduce import ArgReduceOp, MeanOp, ReduceOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import product
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import Results, onnx_op
from tfc.frontend.onnx.values import along, broadcast, cast, like, reshape, splat, unsqueeze


@onnx_op("Softmax", "LogSoftmax", "Hardmax", since=1)
def flat_softmax(node: Node) -> SSAValue:
    """Before set 13 all axes from ``axis`` on count as one."""
    dims = node.shape(0)
    axis = node.axis(len(dims), end=True)
    flat = reshape(node.emit, node[0], [product(dims[:axis]), product(dims[axis:])])
    if axis == len(dims) - 1:
        return _softmax(node, node[0], axis)
    return reshape(node.emit, _softmax(node, flat, 1), dims)


@onnx_op("Softmax", "LogSoftmax", "Hardmax", since=13)
def softmax(node: Node) -> SSAValue:
    return _softmax(node, node[0], node.axis(node.rank(0)))


def _softmax(node: Node, x: SSAValue, axis: int) -> SSAValue:
    if node.kind == "Softmax":
        return node.make(SoftmaxOp(x, axis))
    if node.kind == "LogSoftmax":
        return node.make(LogSoftmaxOp(x, axis))
    top = unsqueeze(node.emit, node.make(ArgReduceOp(x, "max", axis)), [axis])
    places = node.make(IotaOp(shape_of(x), element(top), axis))
    is_top = node.make(CompareOp("eq", places, broadcast(node.emit, top, shape_of(x))))
    return cast(node.emit, is_top, element(x))


@onnx_op("BatchNormalization")
def batch_norm(node: Node) -> Results:
    """By the stored mean and variance; in training mode by those of the batch."""
    x, kind = node[0], node.element()
    if node.version < 9 and not node.attr("spatial", 1):
        node.fail("tfc normalises over the spatial axes: expected spatial=1, got 0")
    if len(shape_of(x)) < 2:
        node.fail(f"expected [n, c, ...], got {list(shape_of(x))}")
    scale, bias, mean, variance = (cast(node.emit, node[i], kind) for i in range(1, 5))
    training = node.attr("training_mode", 0) if node.version >= 7 else not node.attr("is_test", 0)
    extra = [i for i in range(1, len(node.proto.output)) if node.wants(i)]
    if not training or (node.version < 7 and not extra):
        if extra:
            node.fail("only training mode gives more than one output")
        return node.make(BatchNormOp(x, scale, bias, mean, variance, node.attr("epsilon"), 1))
    if node.version < 14:
        node.fail("training mode is read from operator set 14 on")
    axes = [i for i in range(len(shape_of(x))) if i != 1]
    now = node.make(MeanOp(x, axes))
    spread = node.make(
        SubOp(x, broadcast(node.emit, along(node.emit, now, 1, len(shape_of(x))), shape_of(x)))
    )
    now_variance = node.make(MeanOp(node.make(SquareOp(spread)), axes))
    y = node.make(BatchNormOp(x, scale, bias, now, now_variance, node.attr("epsilon"), 1))
    keep = node.attr("momentum")

    def running(operand: int, now: SSAValue) -> SSAValue:
        old, now = node[operand], cast(node.emit, now, node.element(operand))
        old = node.make(MulOp(old, like(node.emit, keep, old)))
        return node.make(AddOp(old, node.make(MulOp(now, like(node.emit, 1 - keep, now)))))

    return [y, running(3, now), running(4, now_variance)]


@onnx_op("LayerNormalization")
def layer_norm(node: Node) -> Results:
    x = node[0]
    axis = node.axis(node.rank(0))
    wide = cast(node.emit, x, f32) if node.attr("stash_type") == 1 else x
    extra = node.wants(1) or node.wants(2)
    operands = [node[1], node.get(2)]
    normal = shape_of(x)[axis:]
    fitting = [v if v is None else broadcast(node.emit, v, normal) for v in operands]
    y = node.make(LayerNormOp(x, fitting[0], fitting[1], axis, node.attr("epsilon")))
    if not extra:
        return y
    axes = list(range(axis, node.rank(0)))
    mean, inverse = _moments(node, wide, axes, node.attr("epsilon"))
    return [y, mean, inverse]


def _moments(
    node: Node, x: SSAValue, axes: Sequence[int], epsilon: float
) -> tuple[SSAValue, SSAValue]:
    """The mean and the reciprocal standard deviation along ``axes``, which keep extent 1."""
    mean = unsqueeze(node.emit, node.make(MeanOp(x, axes)), axes)
    spread = node.make(SubOp(x, broadcast(node.emit, mean, shape_of(x))))
    variance = unsqueeze(node.emit, node.make(MeanOp(node.make(SquareOp(spread)), axes)), axes)
    shifted = node.make(AddOp(variance, like(node.emit, epsilon, variance)))
    return mean, node.make(RsqrtOp(shifted))


@onnx_op("RMSNormalization")
def rms_norm(node: Node) -> SSAValue:
    x, kind = node[0], node.element()
    axes = list(range(node.axis(node.rank(0)), node.rank(0)))
    wide = cast(node.emit, x, f32) if node.attr("stash_type") == 1 else x
    square = unsqueeze(node.emit, node.make(MeanOp(node.make(SquareOp(wide)), axes)), axes)
    shifted = node.make(AddOp(square, like(node.emit, node.attr("epsilon"), square)))
    inverse = broadcast(node.emit, node.make(RsqrtOp(shifted)), shape_of(wide))
    normal = cast(node.emit, node.make(MulOp(wide, inverse)), kind)
    scale = cast(node.emit, node[1], kind)
    return node.make(MulOp(normal, broadcast(node.emit, scale, shape_of(x))))


@onnx_op("InstanceNormalization")
def instance_norm(node: Node) -> SSAValue:
    x = node[0]
    return _scaled(node, _normal(node, x, list(range(2, node.rank(0)))), node[1], node[2])


@onnx_op("GroupNormalization", since=18)
def group_norm_by_groups(node: Node) -> SSAValue:
    """Before set 21 there is one scale and bias for each group."""
    apart = _groups(node)
    normal = _normal(node, apart, list(range(2, len(shape_of(apart)))))
    scaled = _scaled(node, normal, node[1], node[2])
    return reshape(node.emit, scaled, shape_of(node[0]))


@onnx_op("GroupNormalization", since=21)
def group_norm(node: Node) -> SSAValue:
    kind = node.element()
    apart = _groups(node)
    wide = cast(node.emit, apart, f32) if node.attr("stash_type") == 1 else apart
    normal = _normal(node, wide, list(range(2, len(shape_of(apart)))))
    flat = cast(node.emit, reshape(node.emit, normal, shape_of(node[0])), kind)
    return _scaled(node, flat, cast(node.emit, node[1], kind), cast(node.emit, node[2], kind))


def _groups(node: Node) -> SSAValue:
    dims, groups = node.shape(0), node.attr("num_groups")
    if len(dims) < 3 or groups < 1 or (isinstance(dims[1], int) and dims[1] % groups):
        node.fail(f"{groups} groups do not fit {list(dims)}")
    return reshape(node.emit, node[0], [dims[0], groups, dims[1] // groups, *dims[2:]])


def _normal(node: Node, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """``x`` with mean 0 and variance 1 along ``axes``."""
    mean, inverse = _moments(node, x, axes, node.attr("epsilon"))
    spread = node.make(SubOp(x, broadcast(node.emit, mean, shape_of(x))))
    return node.make(MulOp(spread, broadcast(node.emit, inverse, shape_of(x))))


def _scaled(node: Node, x: SSAValue, scale: SSAValue, bias: SSAValue) -> SSAValue:
    """A factor and an addend for each position of axis 1."""
    dims = shape_of(x)
    factor = broadcast(node.emit, along(node.emit, scale, 1, len(dims)), dims)
    addend = broadcast(node.emit, along(node.emit, bias, 1, len(dims)), dims)
    return node.make(AddOp(node.make(MulOp(x, factor)), addend))


@onnx_op("LRN")
def lrn(node: Node) -> SSAValue:
    names = ("size", "alpha", "beta", "bias")
    size, alpha, beta, bias = (node.attr(n) for n in names)
    return node.make(LrnOp(node[0], 1, size, alpha / max(size, 1), beta, bias))


@onnx_op("LpNormalization")
def lp_norm(node: Node) -> SSAValue:
    """Divided by the norm along an axis; where that is 0, the result is 0."""
    x, p = node[0], node.attr("p")
    axis = node.axis(node.rank(0))
    size = node.make(AbsOp(x))
    powers = size if p == 1 else node.make(PowOp(size, like(node.emit, p, x)))
    summed = unsqueeze(node.emit, node.make(ReduceOp(powers, "sum", [axis])), [axis])
    norm = summed if p == 1 else node.make(PowOp(summed, like(node.emit, 1 / p, summed)))
    wide = broadcast(node.emit, norm, shape_of(x))
    zero = like(node.emit, 0, x)
    divided = node.make(DivOp(x, wide))
    return node.make(SelectOp(node.make(CompareOp("eq", wide, zero)), zero, divided))


@onnx_op("Dropout")
def dropout(node: Node) -> Results:
    """Nothing, since tfc runs models and does not train them from ONNX; the mask keeps all."""
    training = node.get(2)
    if training is not None:
        flag, ratio = node.array(2), node.array(1)
        off = flag is not None and not flag.any()
        if not off and not (ratio is not None and float(ratio.reshape(())) == 0):
            node.fail("training mode drops elements at random, which tfc does not import")
    mask_kind = i1 if node.version >= 10 else node.element()
    return [node[0], splat(node.emit, 1, mask_kind, node.shape(0))] if node.wants(1) else node[0]
