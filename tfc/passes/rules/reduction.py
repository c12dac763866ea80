"""Rewrites of reductions."""

from __future__ import annotations

from tfc.dialects.tfc.reduce import MeanOp, ReduceOp, WindowReduceOp, identity
from tfc.dialects.tfc.shape import PadOp, ReshapeOp
from tfc.dialects.tfc.types import element, is_float, shape_of
from tfc.passes.rewriting import Emitter, Rewritten, producer, rule
from tfc.passes.rules.constants import is_uniform


@rule
def reduce_nothing(op: ReduceOp | MeanOp, emit: Emitter) -> Rewritten:
    """reduce(x, no axes) -> x;  reduce(x, axes of extent 1) -> reshape(x)"""
    shape = shape_of(op.x)
    if any(shape[a] != 1 for a in op.axes.get_values()):
        return None
    return emit(ReshapeOp(op.x, shape_of(op.result))) if op.axes.get_values() else op.x


@rule
def compose_reductions(op: ReduceOp, emit: Emitter) -> Rewritten:
    """max(max(x, a), b) -> max(x, a and b), and so for whatever does not round"""
    inner = producer(op.x, ReduceOp)
    if inner is None or inner.kind != op.kind or not op.x.has_one_use():
        return None
    if op.kind.data in ("sum", "prod") and is_float(element(op.x)):
        return None
    first = set(inner.axes.get_values())
    left = [d for d in range(len(shape_of(inner.x))) if d not in first]
    return emit(
        ReduceOp(inner.x, op.kind.data, sorted(first | {left[a] for a in op.axes.get_values()}))
    )


@rule
def pad_into_window(op: WindowReduceOp, emit: Emitter) -> Rewritten:
    """window_reduce(pad(x, identity)) -> window_reduce(x, more padding)"""
    inner = producer(op.x, PadOp)
    if inner is None or any(inner.interior.get_values()):
        return None
    if not is_uniform(inner.value, identity(op.kind.data, element(op.x))):
        return None
    low = [a + b for a, b in zip(op.low.get_values(), inner.low.get_values(), strict=True)]
    high = [a + b for a, b in zip(op.high.get_values(), inner.high.get_values(), strict=True)]
    window, strides, dilations = (p.get_values() for p in (op.window, op.strides, op.dilations))
    return emit(WindowReduceOp(inner.x, op.kind.data, window, strides, dilations, low, high))


RULES = (reduce_nothing, compose_reductions, pad_into_window)
