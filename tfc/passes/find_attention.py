"""Make one operation of a softmax between two dots: its kernel keeps the scores out of memory.

    %s = dot(%q, %k) * 0.125 + %mask
    %y = dot(softmax(%s), %v)             ->   %y = attention(%q, %k, %v, %mask) scale 0.125

The scores of 2048 tokens and 12 heads are 200 MB, written and read four times; a kernel of the whole
has those of a block of rows in its caches. It runs after the layout is settled, so that dots
say which dims of their operands are heads, and on softmax in primitives, whoever wrote them.

Scores may be multiplied by one number, then masked: by floats that are added, by bools that choose between
a score and a number, or by either of these as a constant that hides just what comes later, which skips
the work. Whatever else happens to them, or who else reads them, leaves the operations as they are.

On a GPU, a block has to have room for heads of that size, and there have to be rows for more than a few blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.gpu.blocks import attention_tile
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import AddOp, CastOp, DivOp, ExpOp, MulOp, NotOp, SelectOp, SubOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, TransposeOp
from tfc.dialects.tfc.transfer import device_of
from tfc.dialects.tfc.types import Array, Shape, element, is_bool, is_float, shape_of
from tfc.passes.prune import Prune
from tfc.passes.rewriting import (
    Emitter,
    Rewritten,
    Rule,
    RulePass,
    RuleSet,
    apply_rules,
    producer,
    rule,
)

SCORES = 1 << 16
"""Scores of one batch from which on a CPU gains by keeping them in its caches."""

HIDDEN = -1e30
"""What hides a score for certain: no score makes up for it."""


@dataclass(frozen=True)
class Scores:
    """What is done to the product of ``q`` and ``k`` before the softmax."""

    dot: DotOp
    scale: float = 1.0
    mask: SSAValue | None = None
    hides: bool = False
    """Whether ``mask``, of bools, is true where a score is replaced."""
    fill: float = -np.inf
    causal: int | None = None


@rule(exact=False)
def attend(op: DotOp, emit: Emitter) -> Rewritten:
    """dot(softmax(mask(dot(q, k) * scale)), v) -> attention(q, k, v, mask)"""
    return attended(op, emit, _pays)


def attended(op: DotOp, emit: Emitter, pays: Callable[[DotOp, DotOp], bool]) -> Rewritten:
    """`attend` where ``pays``, of the products after and before the softmax, says so."""
    rank = len(shape_of(op.x))
    bp, bv, cp, cv = op.dims()
    if bp != list(range(rank - 2)) or cp != [rank - 1] or len(op.free()[1]) != 1:
        return None
    scores = _shared_out(_uncast(op.x))
    found = None if scores is None else _peeled(scores, rank)
    if found is None or not pays(op, found.dot):
        return None
    bq, bk, cq, ck = found.dot.dims()
    fq, fk = found.dot.free()
    if len(bq) != rank - 2 or not len(fq) == len(fk) == len(cq) == 1:
        return None
    orders = [[*bq, *fq, *cq], [*bk, *fk, *ck], [*bv, *cv, *op.free()[1]], list(range(rank))]
    mask = None if found.mask is None else _narrow(found.mask, rank, emit)
    if mask is not None and found.hides:
        mask = emit(NotOp(mask))
    q, k = found.dot.operands
    options = {"scale": found.scale, "fill": found.fill, "causal": found.causal}
    return emit(AttentionOp(q, k, op.y, mask, orders=orders, **options))  # pyright: ignore[reportArgumentType]


@rule
def write_in_order(op: TransposeOp, emit: Emitter) -> Rewritten:
    """transpose(attention(...)) -> attention(...) in that order"""
    inner = producer(op.x, AttentionOp)
    if inner is None or not op.x.has_one_use():
        return None
    perm, (*orders, order) = list(op.perm.get_values()), inner.orders()
    causal = None if inner.causal is None else inner.causal.value.data
    return emit(
        AttentionOp(
            inner.q, inner.k, inner.v, inner.mask, orders=[*orders, [perm.index(d) for d in order]],
            scale=inner.scale.value.data, fill=inner.filling, causal=causal,
        )
    )  # fmt: skip


def _pays(op: DotOp, dot: DotOp) -> bool:
    """Whether the scores do not stay in the caches of a CPU by themselves."""
    rows, keys = shape_of(dot.result)[-2:]
    many = rows * keys
    return not isinstance(many, int) or many >= SCORES


# The softmax


def _shared_out(shares: SSAValue) -> SSAValue | None:
    """The values of which ``shares`` are a softmax along the last dim; None where they are not."""
    for powers, total in _factors(shares):
        shifted = producer(powers.operands[0], SubOp)
        least = None if shifted is None else _of_rows(shifted.y)
        top = None if least is None else producer(least, ReduceOp)
        if shifted is None or top is None or total.x is not powers.results[0] or top.x is not shifted.x:
            continue
        last = [len(shape_of(shares)) - 1]
        sums = (total.kind.data.value, top.kind.data.value) == ("sum", "max")
        along = [list(r.axes.get_values()) for r in (total, top)] == [last, last]
        own = [_uses(v) for v in (shares, powers.results[0], shifted.result, top.x)] == [1, 2, 1, 2]
        if sums and along and own:
            return top.x
    return None


def _factors(shares: SSAValue) -> Iterator[tuple[TensorOp, ReduceOp]]:
    """The powers and their sum of which ``shares`` may be the quotient."""
    pairs: list[tuple[SSAValue, SSAValue]] = []
    if (quotient := producer(shares, DivOp)) is not None:
        pairs = [(quotient.x, quotient.y)]
    elif (scaled := producer(shares, MulOp)) is not None:
        for x, y in ((scaled.x, scaled.y), (scaled.y, scaled.x)):
            row = _of_rows(y)
            inverse = None if row is None else producer(row, DivOp)
            if inverse is not None and _number(inverse.x) == 1:
                pairs.append((x, inverse.y))
    for x, y in pairs:
        powers, row = x.owner, _of_rows(y)
        total = producer(y if row is None else row, ReduceOp)
        if isinstance(powers, ExpOp) and total is not None:
            yield powers, total


def _of_rows(value: SSAValue) -> SSAValue | None:
    """What is repeated along the last dim to give ``value``."""
    spread = producer(value, BroadcastOp)
    if spread is None:
        return None
    rank, dims, source = len(shape_of(value)), list(spread.dims.get_values()), spread.x
    if dims == list(range(rank)) and shape_of(source)[-1] == 1:
        inner = producer(source, ReshapeOp)
        return inner.x if inner is not None and shape_of(inner.x) == shape_of(source)[:-1] else None
    return source if dims == list(range(rank - 1)) else None


# The scores


def _peeled(value: SSAValue, rank: int) -> Scores | None:
    """What ``value`` is made of, from the product on; None where that is something else."""
    op, rest = value.owner, lambda inner: _peeled(inner, rank) if _uses(inner) == 1 else None
    match op:
        case DotOp():
            return Scores(op)
        case CastOp() if is_float(element(op.x)):
            return rest(op.x)
        case MulOp() | DivOp() if (factor := _number(op.y)) is not None:
            found = rest(op.x)
            if found is None or found.mask is not None or found.causal is not None:
                return None
            return replace(found, scale=found.scale * factor if isinstance(op, MulOp) else found.scale / factor)
        case AddOp():
            for inner, mask in ((op.x, op.y), (op.y, op.x)):
                if (found := rest(inner)) is not None:
                    return _masked(found, mask, None, rank)
        case SelectOp():
            for inner, other in ((op.x, op.y), (op.y, op.x)):
                fill = _number(other)
                if fill is not None and (found := rest(inner)) is not None:
                    return _masked(replace(found, fill=fill), op.condition, inner is op.y, rank)
        case _:
            pass
    return None


def _masked(scores: Scores, mask: SSAValue, hides: bool | None, rank: int) -> Scores | None:
    """``scores`` with a mask; ``hides`` says what a bool means, and is None for floats that are added."""
    array = _constant(mask, rank)
    if array is not None and scores.causal is None:
        seen = array == 0 if hides is None else array != hides
        certain = scores.fill <= HIDDEN if hides is not None else bool(np.all(array[~seen] <= HIDDEN))
        causal = _diagonal(seen) if certain else None
        if causal is not None:
            return replace(scores, causal=causal, fill=-np.inf if scores.mask is None else scores.fill)
    return None if scores.mask is not None else replace(scores, mask=mask, hides=bool(hides))


def _diagonal(seen: Array) -> int | None:
    """The number ``n >= 0`` such that just the keys up to ``row + n`` are seen."""
    if seen.ndim < 2 or any(n != 1 for n in seen.shape[:-2]) or 0 in seen.shape:
        return None
    plane = seen.reshape(seen.shape[-2:])
    first = int(np.sum(plane[0])) - 1
    hidden = not bool(np.all(plane))
    return first if hidden and first >= 0 and np.array_equal(plane, np.tri(*plane.shape, first) > 0) else None


def _constant(mask: SSAValue, rank: int) -> Array | None:
    """The elements of a constant mask, with as many dims as the scores; others of extent 1."""
    source, shape = _source(mask, rank)
    found = producer(source, ConstantOp)
    return None if found is None or found.value.data.is_splat else found.value.data.array.reshape(shape)  # pyright: ignore


def _narrow(mask: SSAValue, rank: int, emit: Emitter) -> SSAValue:
    """``mask`` with the extents of the scores, or 1 where it is repeated."""
    source, shape = _source(mask, rank)
    return source if shape_of(source) == shape else emit(ReshapeOp(source, shape))


def _source(mask: SSAValue, rank: int) -> tuple[SSAValue, Shape]:
    """What a mask is repeated from, and its extents among the dims of the scores."""
    spread = producer(mask, BroadcastOp)
    if spread is None:
        return mask, shape_of(mask)
    extents = dict(zip(spread.dims.get_values(), shape_of(spread.x), strict=True))
    return spread.x, tuple(extents.get(d, 1) for d in range(rank))


def _number(value: SSAValue) -> float | None:
    """The one number that ``value`` holds everywhere."""
    spread = producer(value, BroadcastOp)
    found = producer(value if spread is None else spread.x, ConstantOp)
    array = None if found is None else found.value.data.array
    if found is None or array is None or not found.value.data.is_splat or not array.size or is_bool(element(value)):
        return None
    return float(array.reshape(-1)[0])


def _uncast(value: SSAValue) -> SSAValue:
    """``value`` before it was rounded to half precision."""
    cast = producer(value, CastOp)
    return cast.x if cast is not None and _uses(value) == 1 and is_float(element(cast.x)) else value


def _uses(value: SSAValue) -> int:
    return len({(u.operation, u.index) for u in value.uses})


@dataclass(frozen=True)
class FindAttention(RulePass):
    """Make attentions of softmaxes between two dots.

    Attributes:
        gpu: what code is generated for where operations are placed on a GPU.
        only_gpus: leave those alone that run elsewhere.
    """

    name = "find-attention"
    gpu: str | None = None
    only_gpus: bool = False
    RULES: ClassVar[RuleSet] = RuleSet([attend, write_in_order])

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = GpuTarget.parse(self.gpu)

        def pays(op: DotOp, dot: DotOp) -> bool:
            device = device_of(op)
            if device is None or device.kind != "GPU":
                return not self.only_gpus and _pays(op, dot)
            rows, keys = shape_of(dot.result)[-2:]
            depth, columns = (shape_of(v)[d] for v, d in ((dot.x, dot.dims()[2][0]), (op.y, op.free()[1][0])))
            return keys != 0 and attention_tile(depth, columns, rows, element(dot.x), target) is not None

        here = Rule(attend.name, lambda op, emit: attended(op, emit, pays), attend.matches, exact=False)
        if apply_rules(op, RuleSet([here, write_in_order])):
            Prune().apply(ctx, op)  # what it was found in


