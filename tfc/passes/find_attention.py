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

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.gpu.blocks import attention_tile
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import (
    AddOp,
    CastOp,
    CompareOp,
    DivOp,
    ExpOp,
    MulOp,
    NotOp,
    SelectOp,
    SubOp,
)
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, TransposeOp
from tfc.dialects.tfc.transfer import device_of
from tfc.dialects.tfc.types import Array, Shape, element, is_bool, is_float, shape_of
from tfc.dims import Dim
from tfc.passes.prune import Prune
from tfc.passes.rewriting import Emitter, Rewritten, Rule, RuleSet, apply_rules, producer, rule

SCORES = 1 << 16
"""Scores of one batch from which on a CPU gains by keeping them in its caches."""

WIDEST = 256
"""Terms of a score and columns of the result of which a CPU's caches hold a block."""

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


def attend(op: DotOp, emit: Emitter, gpu: GpuTarget) -> Rewritten:
    """dot(softmax(mask(dot(q, k) * scale)), v) -> attention(q, k, v, mask)"""
    rank = len(shape_of(op.x))
    bp, bv, cp, cv = op.dims()
    if bp != list(range(rank - 2)) or cp != [rank - 1] or len(op.free()[1]) != 1:
        return None
    scores = _shared_out(_uncast(op.x))
    found = None if scores is None else _peeled(scores, rank)
    if found is None:
        return None
    bq, bk, cq, ck = found.dot.dims()
    fq, fk = found.dot.free()
    if len(bq) != rank - 2 or not len(fq) == len(fk) == len(cq) == 1:
        return None
    orders = [[*bq, *fq, *cq], [*bk, *fk, *ck], [*bv, *cv, *op.free()[1]], list(range(rank))]
    if orders[2][-1] != rank - 1 or not _pays(op, shape_of(found.dot.x)[cq[0]], gpu):
        return None
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
    if perm[-1] != len(perm) - 1:
        return None  # columns stay side by side
    causal = None if inner.causal is None else inner.causal.value.data
    return emit(
        AttentionOp(
            inner.q, inner.k, inner.v, inner.mask, orders=[*orders, [perm.index(d) for d in order]],
            scale=inner.scale.value.data, fill=inner.filling, causal=causal,
        )
    )  # fmt: skip


def _pays(op: DotOp, depth: Dim, gpu: GpuTarget) -> bool:
    """Whether a kernel of the whole is faster: on a CPU, where scores do not stay in the caches by themselves."""
    (rows, keys), columns = shape_of(op.x)[-2:], shape_of(op.result)[-1]
    if (device := device_of(op)) is not None and device.kind == "GPU":
        return keys != 0 and attention_tile(depth, columns, rows, element(op.x), gpu) is not None
    holds = all(isinstance(n, int) and 0 < n <= WIDEST for n in (depth, columns))
    return holds and (not isinstance(rows * keys, int) or rows * keys >= SCORES)  # pyright: ignore[reportOperatorIssue]


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
                    return _masked(found, mask, None, -np.inf, rank)
        case SelectOp():
            for inner, other in ((op.x, op.y), (op.y, op.x)):
                fill = _number(other)
                if fill is not None and (found := rest(inner)) is not None:
                    return _masked(found, op.condition, inner is op.y, fill, rank)
        case _:
            pass
    return None


def _masked(scores: Scores, mask: SSAValue, hides: bool | None, fill: float, rank: int) -> Scores | None:
    """``scores`` with a mask; ``hides`` says what a bool means, and is None for floats that are added."""
    if scores.causal is None:
        causal, array = None, _constant(mask, rank)
        if array is not None:
            seen = array == 0 if hides is None else array != hides
            certain = fill <= HIDDEN if hides is not None else bool(np.all(array[~seen] <= HIDDEN))
            causal = _diagonal(seen) if certain else None
        elif hides is False and fill <= HIDDEN:
            causal = _compared(mask, rank)
        if causal is not None:
            return replace(scores, causal=causal)
    if scores.mask is not None or (scores.causal is not None and fill > HIDDEN):
        return None  # what is hidden first would be filled again
    return replace(scores, mask=mask, hides=bool(hides), fill=fill)


def _diagonal(seen: Array) -> int | None:
    """The number ``n >= 0`` such that just the keys up to ``row + n`` are seen."""
    if seen.ndim < 2 or any(n != 1 for n in seen.shape[:-2]) or 0 in seen.shape:
        return None
    plane = seen.reshape(seen.shape[-2:])
    first = int(np.sum(plane[0])) - 1
    hidden = not bool(np.all(plane))
    return first if hidden and first >= 0 and np.array_equal(plane, np.tri(*plane.shape, first) > 0) else None


def _compared(mask: SSAValue, rank: int) -> int | None:
    """The same of ``key <= row + n``, computed."""
    source = producer(mask, BroadcastOp)
    op = producer(mask if source is None else source.x, CompareOp)
    if op is None or op.predicate.data.value not in ("le", "lt", "ge", "gt"):
        return None
    relation, sides = op.predicate.data.value, [op.x, op.y]
    low, high = (_counter(x) for x in (sides if relation[0] == "l" else sides[::-1]))
    dims = list(range(rank)) if source is None else list(source.dims.get_values())
    if low is None or high is None or (dims[low[0]], dims[high[0]]) != (rank - 1, rank - 2):
        return None
    number = high[1] - low[1] - (relation[1] == "t")
    return number if number >= 0 else None


def _counter(value: SSAValue) -> tuple[int, int] | None:
    """The dim along which ``value`` counts, and from where."""
    op = value.owner
    match op:
        case IotaOp():
            return op.axis.value.data, 0
        case AddOp() | SubOp() if (number := _number(op.y)) is not None and (found := _counter(op.x)) is not None:
            return found[0], found[1] + (int(number) if isinstance(op, AddOp) else -int(number))
        case BroadcastOp() if (found := _counter(op.x)) is not None:
            return op.dims.get_values()[found[0]], found[1]
        case _:
            return None


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
class FindAttention(ModulePass):
    """Make attentions of softmaxes between two dots.

    Attributes:
        gpu: what code is generated for where operations are placed on a GPU: one whose blocks have room for it.
    """

    name = "find-attention"
    EXACT: ClassVar[bool] = False
    """Sums are added in another order."""
    gpu: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        gpu = GpuTarget.parse(self.gpu)
        found = Rule("attend", lambda dot, emit: attend(dot, emit, gpu), (DotOp,), exact=False)
        if apply_rules(op, RuleSet([found, write_in_order])):
            Prune().apply(ctx, op)  # what it was found in
