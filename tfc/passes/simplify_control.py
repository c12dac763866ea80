"""Say branches and loops with fewer words, so that other passes see what is inside.

    if true (x) {A} else {B}                       ->  A(x)
    if p (x, c) {..}                               ->  if p (x) {c is made inside ..}        c constant
    while (i, s, x) {..} do {yield i+1, s*x, x}    ->  while (i, s) with (x) {..}
    while (i, s, n) ...                            ->  while (i, s) ...                      n only feeds itself
    while (x) {yield false}                        ->  x
    %n = while (0) {i < 64} do {yield i+1}         ->  %n = 64

Constants that go in are made inside, where they can be folded; arguments that nobody reads, and the same
twice, are left out; so are results that nobody uses and what only they need; a result that both ways give
alike is made outside. Inner branches and loops come first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp, scalar_constant
from tfc.dialects.tfc.control import IfOp, RegionOp, WhileOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.turns import all_turns, count_of
from tfc.dialects.tfc.types import Array, element
from tfc.errors import RunError
from tfc.passes.effects import is_pure, is_removable
from tfc.passes.prune import prune_block
from tfc.passes.rewriting import Emitter, replace_value

FEW = 64
"""A condition of so many operations, on values of as few elements, is computed to see whether it is false."""


@dataclass(frozen=True)
class SimplifyControl(ModulePass):
    """Leave no branch or loop that need not be, and nothing around the others that need not be."""

    name = "simplify-control"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in [o for o in op.walk() if isinstance(o, RegionOp)][::-1]:
            for region in found.regions:
                prune_block(region.block)
            if isinstance(found, IfOp):
                simplify_if(found)
            elif isinstance(found, WhileOp):
                simplify_while(found)


# Branches.


def simplify_if(op: IfOp) -> None:
    """Decide a branch, or make it smaller."""
    if (constant := op.predicate.owner) and isinstance(constant, ConstantOp):
        _inline(op, op.then if constant.value.data.array else op.otherwise)
        return
    blocks = [region.block for region in op.regions]
    _make_constants_inside(blocks, op.inputs, 0)
    _merge_arguments(blocks, op.inputs, 0)
    for k, result in enumerate(op.results):
        if (value := _alike(op, k)) is not None and value.type == result.type:
            replace_value(result, value)
    results = [k for k, r in enumerate(op.results) if r.first_use is not None]
    for region in op.regions:
        _yield_only(region, results)
        prune_block(region.block)
    inputs = [k for k in range(len(op.inputs)) if any(b.args[k].first_use is not None for b in blocks)]
    if len(results) == len(op.results) and len(inputs) == len(op.inputs):
        return
    operands = [op.inputs[k] for k in inputs]
    for block in blocks:
        _rearrange(block, inputs)
    then, otherwise = (op.detach_region(r) for r in tuple(op.regions))
    _replace(op, IfOp(op.predicate, operands, then, otherwise), {k: n for n, k in enumerate(results)})


def _inline(op: IfOp, region: Region) -> None:
    """The operations of a region in the place of its branch."""
    emit = Emitter(op)
    values: dict[SSAValue, SSAValue] = dict(zip(region.block.args, op.inputs, strict=True))
    for inner in region.block.ops:
        if not isinstance(inner, YieldOp):
            copy = inner.clone(value_mapper=values)
            values.update(zip(inner.results, emit.add(copy), strict=True))
    for result, value in zip(op.results, op.yielded(region), strict=True):
        replace_value(result, values[value])
    _erase(op)


def _alike(op: IfOp, k: int) -> SSAValue | None:
    """Result ``k`` without the branch, where both ways lead to the same value."""
    then, otherwise = (op.yielded(region)[k] for region in op.regions)
    if isinstance(then, BlockArgument) and isinstance(otherwise, BlockArgument):
        value = op.inputs[then.index]
        return value if op.inputs[otherwise.index] is value else None
    x, y = then.owner, otherwise.owner
    if isinstance(x, ConstantOp) and isinstance(y, ConstantOp) and x.value == y.value:
        return Emitter(op)(ConstantOp(x.value))
    return None


# Loops.


def simplify_while(op: WhileOp) -> None:
    """Drop a loop that never turns, or make it smaller."""
    blocks = [op.condition.block, op.body.block]
    if _never_runs(op) and all(r.type == o.type for r, o in zip(op.results, op.carried, strict=True)):
        for result, value in zip(op.results, op.carried, strict=True):
            replace_value(result, value)
        _erase(op)
        return
    _replace_counters(op)
    count = len(op.carried)
    same = [k for k in range(count) if _stays(op, k)]
    for k in same:
        replace_value(op.results[k], op.carried[k])
    order = [*(k for k in range(count) if k not in same), *same, *range(count, len(op.operands))]
    operands = [op.operands[k] for k in order]
    changing = count - len(same)
    for block in blocks:
        _rearrange(block, order)
    _yield_only(op.body, order[:changing])
    _make_constants_inside(blocks, operands, changing)
    _merge_arguments(blocks, operands, changing)
    for block in blocks:
        prune_block(block)
    needed = _needed(op, {n for n, k in enumerate(order[:changing]) if op.results[k].first_use is not None})
    _yield_only(op.body, needed)
    prune_block(op.body.block)
    read = [k for k in range(changing, len(operands)) if any(b.args[k].first_use for b in blocks)]
    for block in blocks:
        _rearrange(block, [*needed, *read])
    left = {order[n]: k for k, n in enumerate(needed)}
    if len(needed) == count and len(read) == len(op.invariants):
        op.operands = [operands[k] for k in (*needed, *read)]
        return
    condition, body = (op.detach_region(r) for r in tuple(op.regions))
    made = WhileOp([operands[k] for k in needed], [operands[k] for k in read], condition, body)
    _replace(op, made, left)


def _replace_counters(op: WhileOp) -> None:
    """Say what a counter is in the end, if the number of turns is known."""
    if not isinstance(turns := all_turns(op), int):
        return
    for k, result in enumerate(op.results):
        read = result.first_use is not None and result.type == op.carried[k].type
        count = count_of(op, op.body.block.args[k]) if read else None
        if count is not None and isinstance(end := count[0] + count[1] * turns, int):
            replace_value(result, Emitter(op)(scalar_constant(end, element(result))))


def _stays(op: WhileOp, k: int) -> bool:
    """Whether a carried value is handed on as it is."""
    argument = op.body.block.args[k]
    same = op.yielded(op.body)[k] is argument
    return same and op.carried[k].type == op.results[k].type == argument.type


def _needed(op: WhileOp, used: set[int]) -> list[int]:
    """The carried values that results, the condition or effects depend on."""
    condition, body = op.condition.block, op.body.block
    count = len(op.yielded(op.body))
    found = used | _reached(condition, op.yielded(op.condition))
    while True:
        wanted = {k for k in found if k < count}
        more = found | _reached(body, [op.yielded(op.body)[k] for k in wanted])
        if more == found:
            return sorted(wanted)
        found = more


def _reached(block: Block, wanted: Collection[SSAValue]) -> set[int]:
    """The arguments that the values ``wanted`` and the effects of a block depend on."""
    needed = set(wanted)
    for op in reversed(block.ops):
        if isinstance(op, YieldOp):
            continue
        if not is_removable(op) or any(r in needed for r in op.results):
            needed.update(op.operands)
    return {k for k, a in enumerate(block.args) if a in needed}


def _never_runs(op: WhileOp) -> bool:
    """Whether the condition is false for the values before the loop."""
    values: dict[SSAValue, Array] = {}
    for argument, operand in zip(op.condition.block.args, op.operands, strict=True):
        if isinstance(operand.owner, ConstantOp):
            values[argument] = operand.owner.value.data.array
    for number, inner in enumerate(op.condition.block.ops):
        if isinstance(inner, YieldOp):
            known = values.get(inner.operands[0])
            return known is not None and not known
        args = [values[o] for o in inner.operands if o in values]
        few = number < FEW and len(args) == len(inner.operands) and all(a.size <= FEW for a in args)
        if few and isinstance(inner, TensorOp) and is_pure(inner) and len(inner.results) == 1:
            try:
                values[inner.results[0]] = np.asarray(inner.reference(*args))
            except (NotImplementedError, RunError):
                return False
    return False


# Regions.


def _make_constants_inside(blocks: Sequence[Block], operands: Sequence[SSAValue], first: int) -> None:
    for k in range(first, len(operands)):
        constant = operands[k].owner
        if not isinstance(constant, ConstantOp) or operands[k].type != blocks[0].args[k].type:
            continue
        for block in blocks:
            if block.args[k].first_use is not None and block.first_op is not None:
                made = constant.clone()
                block.insert_op_before(made, block.first_op)
                replace_value(block.args[k], made.results[0])


def _merge_arguments(blocks: Sequence[Block], operands: Sequence[SSAValue], first: int) -> None:
    """Let the first of several arguments that are the same value stand for all."""
    seen: dict[SSAValue, int] = {}
    for k in range(first, len(operands)):
        other = seen.setdefault(operands[k], k)
        for block in blocks:
            if other != k and block.args[k].type == block.args[other].type:
                replace_value(block.args[k], block.args[other])


def _yield_only(region: Region, kept: Sequence[int]) -> None:
    last = region.block.last_op
    assert isinstance(last, YieldOp), "the verifier demands a terminator"
    if len(kept) != len(last.operands) or list(kept) != sorted(kept):
        values = [last.operands[k] for k in kept]
        location = last.location
        region.block.erase_op(last)
        region.block.add_op(made := YieldOp(values))
        made.location = location


def _rearrange(block: Block, order: Sequence[int]) -> None:
    """Let the arguments of ``block`` be those of these numbers, in this order."""
    old = list(block.args)
    if list(order) == list(range(len(old))):
        return
    for k in order:
        made = block.insert_arg(old[k].type, len(block.args))
        replace_value(old[k], made)
    for argument in old:
        block.erase_arg(argument)


def _replace(op: RegionOp, made: RegionOp, results: dict[int, int]) -> None:
    """Put ``made`` in the place of ``op``; ``results``: which of its results are which of the old ones."""
    emit = Emitter(op)
    emit.add(made)
    for old, new in results.items():
        replace_value(op.results[old], made.results[new])
    _erase(op)


def _erase(op: Operation) -> None:
    assert op.parent is not None, "the operation stands in a block"
    op.parent.erase_op(op)
