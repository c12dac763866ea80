"""Rewrites of contractions."""

from __future__ import annotations

from tfc.dialects.tfc.contraction import ConvolutionOp
from tfc.dialects.tfc.shape import PadOp
from tfc.passes.rewriting import Emitter, Rewritten, producer, rule
from tfc.passes.rules.constants import is_uniform


@rule
def pad_into_convolution(op: ConvolutionOp, emit: Emitter) -> Rewritten:
    """convolution(pad(x, 0), w) -> convolution(x, w, more padding)"""
    inner = producer(op.x, PadOp)
    if inner is None or not (is_uniform(inner.value, 0) or is_uniform(inner.value, -0.0)):
        return None
    before, after = list(inner.low.get_values()), list(inner.high.get_values())
    outside = (before[0], before[-1], after[0], after[-1], *inner.interior.get_values())
    if any(outside):  # batch, channels, and between elements: no padding of a convolution
        return None
    strides, dilations, low, high = op.amounts()
    low = [a + b for a, b in zip(low, before[1:-1], strict=True)]
    high = [a + b for a, b in zip(high, after[1:-1], strict=True)]
    return emit(ConvolutionOp(inner.x, op.w, strides, dilations, low, high, op.groups.value.data))


RULES = (pad_into_convolution,)
