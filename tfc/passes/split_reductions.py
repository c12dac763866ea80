"""Reduce long inputs in two steps, so that threads have something to share.

    %y = tfc.reduce sum %x over [0] : tensor<16777216xf32>                     -> tensor<f32>
becomes
    %p = tfc.reshape %x to [64, 262144]
    %q = tfc.reduce sum %p over [1]                                            -> tensor<64xf32>
    %y = tfc.reduce sum %q over [0]                                            -> tensor<f32>

A kernel is cut along its results only, of which a loss has one and the gradient of a bias one for each vector of
columns. The pieces depend on the shape alone, so results do not depend on the number of threads. Where
the longest axis has no divisor of the right size it is padded with what changes nothing. Runs before
fusion, which takes what is reduced into the kernel of the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import f32

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.reduce import ReduceOp, identity
from tfc.dialects.tfc.select import CastOp
from tfc.dialects.tfc.shape import PadOp, ReshapeOp
from tfc.dialects.tfc.transfer import memory_of
from tfc.dialects.tfc.types import LiteralAttr, dtype_of, element, is_static, shape_of
from tfc.dims import evaluate, product
from tfc.passes.rewriting import Emitter, Rewritten, RulePass, RuleSet, rule


@dataclass(frozen=True)
class Sizes:
    """What is worth a second kernel.

    Attributes:
        long: elements of an input from which on it is.
        piece: the fewest elements of a piece.
        pieces: parallel iterations that are enough.
        few: parallel iterations that are too few.
        across: neighbouring results that are one iteration; 0 for all along the last dim.
    """

    long: int
    piece: int
    pieces: int
    few: int
    across: int = 0


CPU = Sizes(long=1 << 18, piece=1 << 14, pieces=64, few=16)
"""Two kernels cost about 50 us more than one, a piece takes about 3 us; 64 are enough for any number of threads that
share memory well."""

GPU = Sizes(long=1 << 17, piece=1 << 13, pieces=512, few=128, across=32)
"""Iterations are blocks, of which a GPU wants a few on each of its hundred-odd processors; in one a warp has 32 columns."""


@rule(exact=False)
def split(op: ReduceOp, emit: Emitter) -> Rewritten:
    """reduce(x) -> reduce(reduce(reshape(x)))"""
    x, kind = op.x, op.kind.data
    sizes = GPU if memory_of(op) else CPU
    if not is_static(shape_of(x)) or evaluate(product(shape_of(x)), {}) < sizes.long:
        return None
    shape = [evaluate(d, {}) for d in shape_of(x)]
    axes, size = list(op.axes.get_values()), evaluate(product(shape), {})
    results = evaluate(product(shape_of(op.result)), {})
    last = len(shape) - 1
    iterations = results if last in axes else results // (sizes.across or shape[last])
    if not axes or iterations >= sizes.few:
        return None
    wanted = min(sizes.pieces // max(1, iterations), size // sizes.piece, size // results // 8)
    axis = max(axes, key=lambda a: shape[a])
    if wanted < 2:
        return None
    of = element(x)
    if dtype_of(of).itemsize == 2 and dtype_of(of).kind not in "iu":
        x = emit(CastOp(x, f32))  # sums of halves are rounded once
    if shape[axis] <= 2 * wanted and len(axes) > 1:
        inner, outer = [a for a in axes if a != axis], axis - sum(a < axis for a in axes)
    else:
        pieces = next((k for k in range(wanted, wanted // 2, -1) if shape[axis] % k == 0), wanted)
        length = -(-shape[axis] // pieces)
        if excess := pieces * length - shape[axis]:
            nothing = ConstantOp(LiteralAttr.splat(identity(kind, element(x)), dtype_of(element(x))))
            high = [excess if a == axis else 0 for a in range(len(shape))]
            x = emit(PadOp(x, emit(nothing), [0] * len(shape), high))
        x = emit(ReshapeOp(x, [*shape[:axis], pieces, length, *shape[axis + 1 :]]))
        inner, outer = [a + (a >= axis) for a in axes], axis - sum(a < axis for a in axes)
    parts = emit(ReduceOp(x, kind.value, inner))
    whole = emit(ReduceOp(parts, kind.value, [outer]))
    return whole if element(whole) == of else emit(CastOp(whole, of))


@dataclass(frozen=True)
class SplitReductions(RulePass):
    """Leave no reduction of a long input to one thread."""

    name = "split-reductions"
    RULES: ClassVar[RuleSet] = RuleSet([split])
