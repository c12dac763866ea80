"""Reductions, the positions of extremes, and running totals."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import f64, i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.elementwise import AbsOp, AddOp, ExpOp, LogOp, MulOp, SqrtOp, SubOp
from tfc.dialects.tfc.reduce import ArgReduceOp, CumulativeOp, MeanOp, ReduceOp
from tfc.dialects.tfc.select import IsFiniteOp, SelectOp
from tfc.dialects.tfc.shape import ReverseOp
from tfc.dialects.tfc.types import element, is_bool, is_float, shape_of
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import broadcast, cast, extent, like, unsqueeze


def total(node: Node, x: SSAValue, axes: list[int], kind: str = "sum") -> SSAValue:
    """``x`` reduced along ``axes``, which are dropped."""
    return node.make(ReduceOp(x, kind, axes)) if axes else x


def _extreme(kind: str, logical: str) -> Callable[[Node, SSAValue, list[int]], SSAValue]:
    return lambda node, x, axes: total(node, x, axes, logical if is_bool(element(x)) else kind)


def mean(node: Node, x: SSAValue, axes: list[int]) -> SSAValue:
    return node.make(MeanOp(x, axes)) if axes else x


def _log_sum_exp(node: Node, x: SSAValue, axes: list[int]) -> SSAValue:
    """log(sum(exp(x - top))) + top, where top is the maximum, or 0 if that is infinite."""
    if not is_float(element(x)):
        return cast(node.emit, _log_sum_exp(node, cast(node.emit, x, f64), axes), element(x))
    top = total(node, x, axes, "max")
    top = node.make(SelectOp(node.make(IsFiniteOp(top)), top, like(node.emit, 0.0, top)))
    wide = broadcast(node.emit, unsqueeze(node.emit, top, axes), shape_of(x))
    summed = total(node, node.make(ExpOp(node.make(SubOp(x, wide)))), axes)
    return node.make(AddOp(node.make(LogOp(summed)), top))


REDUCTIONS: dict[str, Callable[[Node, SSAValue, list[int]], SSAValue]] = {
    "ReduceSum": lambda node, x, axes: total(node, x, axes),
    "ReduceProd": lambda node, x, axes: total(node, x, axes, "prod"),
    "ReduceMax": _extreme("max", "or"),
    "ReduceMin": _extreme("min", "and"),
    "ReduceMean": mean,
    "ReduceL1": lambda node, x, axes: total(node, node.make(AbsOp(x)), axes),
    "ReduceL2": lambda node, x, axes: _in_floats(node, node.make(MulOp(x, x)), axes, _root),
    "ReduceSumSquare": lambda node, x, axes: total(node, node.make(MulOp(x, x)), axes),
    "ReduceLogSum": lambda node, x, axes: _in_floats(node, x, axes, _log),
    "ReduceLogSumExp": _log_sum_exp,
}


def _root(node: Node, x: SSAValue) -> SSAValue:
    return node.make(SqrtOp(x))


def _log(node: Node, x: SSAValue) -> SSAValue:
    return node.make(LogOp(x))


def _in_floats(
    node: Node, x: SSAValue, axes: list[int], then: Callable[[Node, SSAValue], SSAValue]
) -> SSAValue:
    """A function of the sum; of integers, computed in f64."""
    summed, kind = total(node, x, axes), element(x)
    return cast(
        node.emit, then(node, cast(node.emit, summed, kind if is_float(kind) else f64)), kind
    )


@onnx_op(*REDUCTIONS)
def reduce(node: Node) -> SSAValue:
    x, rank = node[0], node.rank(0)
    axes = node.axes(rank, 1)
    if not axes:
        axes = [] if node.attr("noop_with_empty_axes") else list(range(rank))
    result = REDUCTIONS[node.kind](node, x, axes)
    return unsqueeze(node.emit, result, axes) if node.attr("keepdims", 1) else result


@onnx_op("ArgMax", "ArgMin")
def arg_reduce(node: Node) -> SSAValue:
    """The first of equal extremes, or the last: then it is sought from the other end."""
    x, axis = node[0], node.axis(node.rank(0))
    last = bool(node.attr("select_last_index", 0))
    if last:
        x = node.make(ReverseOp(x, [axis]))
    place = node.make(ArgReduceOp(x, node.kind[3:].lower(), axis))
    if last:
        size = broadcast(node.emit, extent(node.emit, x, axis, i64), shape_of(place))
        end = node.make(SubOp(size, like(node.emit, 1, size)))
        place = node.make(SubOp(end, place))
    place = cast(node.emit, place, i64)
    return unsqueeze(node.emit, place, [axis]) if node.attr("keepdims") else place


@onnx_op("CumSum", "CumProd")
def cumulative(node: Node) -> SSAValue:
    (axis,) = node.known_ints(1, "axis")
    axis = node.normal_axis(axis, node.rank(0))
    kind = "sum" if node.kind == "CumSum" else "prod"
    exclusive, reverse = bool(node.attr("exclusive")), bool(node.attr("reverse"))
    return node.make(CumulativeOp(node[0], kind, axis, exclusive, reverse))
