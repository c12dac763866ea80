"""Gradients of branches and loops: branches and loops themselves.

    if p (x) {y = f(x)}              if p (x, g) {vjp of f at x, applied to g}

    while (c) with (w)               while (c, stacks) with (w)                 keeps what goes in each turn
        c = f(c, w)                      c, stacks[k] = f(c, w), c
                                     while (k, g, gw) with (w, stacks)          from the last turn to the first
                                         g, more = vjp of f at stacks[k], w
                                         gw = gw + more

What the backward pass reads is made again where that is cheap (elementwise work, moves) and kept where it is
not (contractions, sums, random numbers, what a variable held): as further results of the branch or loop itself,
which is changed in place. What counts the turns follows from their number. A loop keeps it in arrays with a row for
each turn, so the most turns that it can take have to be known: from a counter that the condition compares with a
number or extent.
Where they are not, the values of some turns are kept (`checkpoints.py`), and the backward loop computes those
between again: about three times each, for a thousand turns.

Effects happen once: in the forward pass. So a gradient is asked of the branch or loop that runs, not of
a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, TensorType, i32, i64
from xdsl.ir import Attribute, Block, BlockArgument, Operation, OpResult, Region, SSAValue

from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.checkpoints import SLOTS, last_kept, slot_of
from tfc.dialects.tfc.constant import ConstantOp, scalar_constant, splat, splat_like
from tfc.dialects.tfc.control import IfOp, RegionOp, UpdateRowOp, WhileOp, accesses, variable_of
from tfc.dialects.tfc.differentiate import Gradient, MissingGradient, is_real
from tfc.dialects.tfc.elementwise import AddOp, CompareOp, MulOp, SubOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.region_copy import RegionCopy
from tfc.dialects.tfc.select import CastOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
)
from tfc.dialects.tfc.state import ReadOp
from tfc.dialects.tfc.turns import count_of, most_turns, number, step_of
from tfc.dialects.tfc.types import element, shape_of, tensor_type
from tfc.dims import Dim


def of_region(op: RegionOp, emit: Emit, gs: Sequence[Gradient], wanted: Sequence[bool]) -> Sequence[Gradient]:
    """The gradients of the operands of a branch or loop that are ``wanted``; it may get further results.

    Raises:
        MissingGradient: what it holds has none, or its effects could not be kept.
    """
    if isinstance(op, IfOp):
        return _of_if(op, emit, gs, wanted)
    assert isinstance(op, WhileOp), "there are two kinds"
    return _of_while(op, emit, gs, wanted)


def offset_of_reads(op: RegionOp, variable: str) -> SSAValue | None:
    """A further operand of ``op``, -0, that it adds to all that it reads of ``variable``.

    That changes no value, and the gradient of the operand is that of the variable. None if ``op`` does not read it.
    """
    for read in accesses(op):
        if isinstance(read, ReadOp) and variable_of(read) == variable:
            offset = splat_like(_before(op), read.value, -0.0)
            _add_to_reads(op, variable, offset)
            return offset
    return None


def _add_to_reads(op: RegionOp, variable: str, offset: SSAValue) -> None:
    op.operands = [*op.operands, offset]
    if isinstance(op, WhileOp):
        sizes = [len(op.results), len(op.operands) - len(op.results)]
        op.properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, sizes)
    for region in op.regions:
        argument = region.block.insert_arg(offset.type, len(region.block.args))
        for inner in list(region.block.ops):
            if isinstance(inner, RegionOp):
                _add_to_reads(inner, variable, argument)
            elif isinstance(inner, ReadOp) and variable_of(inner) == variable:
                moved = AddOp(inner.value, argument)
                moved.location = inner.location
                region.block.insert_op_after(moved, inner)
                inner.value.replace_uses_with_if(moved.result, lambda use, moved=moved: use.operation is not moved)


def _emitting(block: Block, like: Operation) -> Emit:
    """Inserts at the end of ``block``."""

    def emit(op: Operation) -> SSAValue:
        op.location = like.location
        block.add_op(op)
        return op.results[0]

    return emit


def _before(op: Operation) -> Emit:
    """Inserts before ``op``."""

    def emit(new: Operation) -> SSAValue:
        block = op.parent
        assert block is not None, "a gradient is asked of an operation that stands in a block"
        new.location = op.location
        block.insert_op_before(new, op)
        return new.results[0]

    return emit


def _end(block: Block, values: Sequence[SSAValue], like: Operation) -> Region:
    end = YieldOp(values)
    end.location = like.location
    block.add_op(end)
    return Region(block)


def _drop_dead(block: Block) -> None:
    """Erase what nothing reads; all of it is without effects."""
    for op in reversed(list(block.ops)):
        if not isinstance(op, YieldOp) and not any(r.first_use for r in op.results):
            block.erase_op(op)


def _yield_also(block: Block, value: SSAValue) -> None:
    last = block.last_op
    assert last is not None, "a region ends with a yield"
    last.operands = [*last.operands, value]


def _add_result(op: Operation, type_: Attribute) -> SSAValue:
    """A further result of ``op``, behind the others."""
    result = OpResult(type_, op, len(op.results))
    op.results = type(op.results)((*op.results, result))
    return result


# Branches


def _of_if(op: IfOp, emit: Emit, gs: Sequence[Gradient], wanted: Sequence[bool]) -> Sequence[Gradient]:
    inputs = list(op.inputs)
    given = [k for k, g in enumerate(gs) if g is not None]
    asked = [k for k, v in enumerate(inputs) if wanted[k + 1] and is_real(v)]
    copies: list[RegionCopy] = []
    found: list[list[Gradient]] = []
    for region in op.regions:
        block = Block(arg_types=[v.type for v in inputs])
        seeds = [block.insert_arg(cast("SSAValue", gs[k]).type, len(block.args)) for k in given]
        copy = RegionCopy(block, dict(zip(region.block.args, block.args, strict=False)))
        yielded = copy.take(region.block)
        pairs = [(yielded[k], g) for k, g in zip(given, seeds, strict=True)]
        found.append(copy.pull_back(pairs, [block.args[k] for k in asked], _emitting(block, op)))
        copies.append(copy)
    moving = [n for n in range(len(asked)) if any(f[n] is not None for f in found)]
    passed = [*inputs, *(cast("SSAValue", gs[k]) for k in given)]
    kept: list[tuple[RegionCopy, SSAValue, SSAValue]] = []
    for copy, gradients in zip(copies, found, strict=True):
        inside = _emitting(copy.block, op)
        outs = [g if (g := gradients[n]) is not None else splat_like(inside, inputs[asked[n]], 0) for n in moving]
        for value in copy.wanted(outs, set(), again=False):
            kept.append((copy, value, _result_of_branch(op, copies.index(copy), copy.original(value))))
        _end(copy.block, outs, op)
    for copy, value, result in kept:
        for c in copies:
            argument = c.block.insert_arg(result.type, len(c.block.args))
            if c is copy:
                value.replace_all_uses_with(argument)
        passed.append(result)
    for copy in copies:
        _drop_dead(copy.block)
        for argument in copy.kept:
            assert isinstance(argument, BlockArgument), "these are arguments"
            copy.block.erase_arg(argument)
    back = IfOp(op.predicate, passed, *(cast("Region", c.block.parent) for c in copies))
    if moving:
        emit(back)
    results: list[Gradient] = [None] * (len(inputs) + 1)
    for n, result in zip(moving, back.results, strict=True):
        results[asked[n] + 1] = result
    return results


def _result_of_branch(op: IfOp, which: int, value: SSAValue) -> SSAValue:
    """``value`` of one of the branches as a result; where the other one runs it is zero."""
    for k, region in enumerate(op.regions):
        block = region.block
        assert block.last_op is not None, "a region ends with a yield"
        other = value if k == which else splat(_before(block.last_op), shape_of(value), 0, element(value))
        _yield_also(block, other)
    return _add_result(op, value.type)


# Loops


def _of_while(op: WhileOp, emit: Emit, gs: Sequence[Gradient], wanted: Sequence[bool]) -> Sequence[Gradient]:
    count = len(op.carried)
    asked = [k for k in range(count, len(op.operands)) if wanted[k] and is_real(op.operands[k])]
    active = [k for k, g in enumerate(gs) if g is not None]
    while True:
        turn = _Turn(op, active, asked)
        more = [k for k in range(count) if k in active or turn.found[k] is not None]
        if more == active:
            break
        active = more
    return turn.loop(emit, gs)


class _Turn:
    """One turn of the backward loop.

    Args:
        active: the carried values whose gradients are carried backward.
        asked: the operands whose gradients are added up over all turns.
    """

    def __init__(self, op: WhileOp, active: Sequence[int], asked: Sequence[int]) -> None:
        self.op, self.active, self.asked = op, active, asked
        self.count = count = len(op.carried)
        source = op.body.block
        self.block = block = Block(arg_types=[tensor_type([], i64)])
        self.inside = _emitting(block, op)
        seeds = [self._argument(source.args[k].type) for k in active]
        self.seeds = seeds
        self.carried = [self._argument(a.type) for a in source.args[:count]]
        self.invariants = [self._argument(a.type) for a in source.args[count:]]
        arguments = [*self.carried, *self.invariants]
        self.copy = RegionCopy(block, dict(zip(source.args, arguments, strict=True)))
        yielded = self.copy.take(source)
        pairs = [(yielded[k], g) for k, g in zip(active, seeds, strict=True)]
        inputs = [k for k in range(count) if is_real(arguments[k])] + list(asked)
        gradients = self.copy.pull_back(pairs, [arguments[k] for k in inputs], self.inside)
        self.found: dict[int, Gradient] = dict.fromkeys(range(len(arguments)))
        self.found.update(zip(inputs, gradients, strict=True))

    def _argument(self, type_: Attribute) -> BlockArgument:
        return self.block.insert_arg(type_, len(self.block.args))

    def loop(self, emit: Emit, gs: Sequence[Gradient]) -> Sequence[Gradient]:
        """The whole backward loop, behind the forward one."""
        op, inside = self.op, self.inside
        operands = list(op.operands)
        turns = most_turns(op)
        totals = [k for k in self.asked if self.found[k] is not None]
        sums = [self.block.insert_arg(operands[k].type, 1 + len(self.active) + n) for n, k in enumerate(totals)]
        nexts = [
            g if (g := self.found[k]) is not None else splat_like(inside, operands[k], 0) for k in self.active
        ] + [self._added(s, cast("SSAValue", self.found[k])) for s, k in zip(sums, totals, strict=True)]
        given: set[SSAValue] = set(self.carried)
        kept = self.copy.wanted(nexts, given, again=turns is None)
        counter = _counter(op)
        passed = [*operands[self.count :]]
        arrays: list[SSAValue] = []
        if turns is None:
            arrays, later = self._go_on(counter, 1 + len(nexts))
            nexts += later
        else:
            passed += self._read_rows(kept, counter, turns)
        one = inside(scalar_constant(1, i64))
        previous = inside(SubOp(self.block.args[0], one))
        last = emit(SubOp(op.results[counter], emit(scalar_constant(1, i64))))
        body = _end(self.block, [previous, *nexts], op)
        _drop_dead(self.block)
        for argument in (*self.carried, *(cast("BlockArgument", a) for a in self.copy.kept)):
            self.block.erase_arg(argument)
        first: list[SSAValue] = [last]
        for k in self.active:
            g = gs[k] if k < len(gs) else None
            first.append(splat_like(emit, op.results[k], 0) if g is None else g)
        first += [splat_like(emit, operands[k], 0) for k in totals]
        first += arrays
        back = WhileOp(first, passed, self._condition(), body)
        emit(back)
        results: list[Gradient] = [None] * len(operands)
        for k, result in zip([*self.active, *totals], back.results[1:], strict=False):
            results[k] = result
        return results

    def _condition(self) -> Region:
        block = Block(arg_types=[a.type for a in self.block.args])
        emit = _emitting(block, self.op)
        more = emit(CompareOp("ge", block.args[0], emit(scalar_constant(0, i64))))
        return _end(block, [more], self.op)

    def _read_rows(self, kept: Sequence[SSAValue], counter: int, turns: Dim) -> list[SSAValue]:
        """Give each value of ``kept`` from an array that the forward loop fills; gives the arrays."""
        arrays: list[SSAValue] = []
        for value in kept:
            if self._counted(value):
                continue
            arrays.append(_stacked(self.op, self._original(value), counter, turns))
            row = GatherOp(self._argument(arrays[-1].type), self.block.args[0], 0)
            row.location = self.op.location
            first = self.block.first_op
            assert first is not None, "there are operations by now"
            self.block.insert_op_before(row, first)
            value.replace_all_uses_with(row.result)
        return arrays

    def _counted(self, value: SSAValue) -> bool:
        """Give ``value`` from the number of the turn, if it counts turns."""
        count, first = count_of(self.op, self._original(value)), self.block.first_op
        if count is None or not isinstance(count[0], int) or first is None:
            return False
        emit = _before(first)
        turns = emit(MulOp(self.block.args[0], emit(scalar_constant(count[1], i64))))
        now = emit(AddOp(turns, emit(scalar_constant(count[0], i64))))
        value.replace_all_uses_with(emit(CastOp(now, element(value))))
        return True

    def _added(self, total: SSAValue, g: SSAValue) -> SSAValue:
        """``total + g``. Where ``g`` is one row in zeros, another one in each turn, it is put there."""
        row = g.owner
        if isinstance(row, UpdateRowOp) and _is_zero(row.array) and row.index in self.copy.values.values():
            count = count_of(self.op, self._original(row.index))
            if count is not None and count[1] != 0:
                return self.inside(UpdateRowOp(total, row.index, row.value))
        return _added(self.inside, total, g)

    def _original(self, value: SSAValue) -> SSAValue:
        """What ``value`` is in the forward loop."""
        if isinstance(value, BlockArgument) and value in self.carried:
            return self.op.body.block.args[self.carried.index(value)]
        return self.copy.original(value)

    def _go_on(self, counter: int, place: int) -> tuple[list[SSAValue], list[SSAValue]]:
        """Give the carried values by running the loop again from the last turn before this one that is kept.

        Args:
            place: where arguments of the block may be inserted that the backward loop carries.

        Returns:
            The arrays of what is kept after the forward loop, and after this turn: the turns that were run again
            are kept, too.
        """
        if self.copy.kept:
            raise MissingGradient(
                "a loop that draws random numbers or reads a variable has no gradient where nothing bounds its turns",
                help="maximum_iterations=... bounds them",
            )
        op = self.op
        own = [k for k in range(len(op.carried)) if isinstance(op.carried[k].type, TensorType) and k != counter]
        kept = _checkpoints(op, counter, own)
        arrays = [self.block.insert_arg(a.type, place + n) for n, a in enumerate(kept)]
        now = self.block.args[0]
        ops: list[Operation] = []

        def emit(new: Operation) -> SSAValue:
            new.location = op.location
            ops.append(new)
            return new.results[0]

        turn = last_kept(emit, arrays[0], now)
        row = slot_of(emit, turn)
        states = [emit(GatherOp(a, row, 0)) for a in arrays[1:]]
        again = self._up_to(now, [turn, *states, *arrays], own)
        emit(again)
        first = self.block.first_op
        for new in ops:
            if first is None:
                self.block.add_op(new)
            else:
                self.block.insert_op_before(new, first)
        for k, result in zip((counter, *own), again.results, strict=False):
            if k < self.count:
                self.carried[k].replace_all_uses_with(result)
        return kept, list(again.results[1 + len(own) :])

    def _up_to(self, end: SSAValue, starts: Sequence[SSAValue], own: Sequence[int]) -> WhileOp:
        """The forward loop up to turn ``end``, from a turn, its values, and the arrays that keep such values."""
        op, source, counter = self.op, self.op.body.block, self.block.args[0].type
        types = [s.type for s in starts] + [counter] + [a.type for a in self.invariants]
        asked, block = Block(arg_types=types), Block(arg_types=types)
        emit = _emitting(asked, op)
        more = emit(CompareOp("lt", asked.args[0], asked.args[len(starts)]))
        turn, *rest = block.args[: len(starts)]
        states, arrays = rest[: len(own)], rest[len(own) :]
        arguments: dict[SSAValue, SSAValue] = dict(zip((source.args[k] for k in own), states, strict=True))
        arguments[source.args[_counter(op)]] = turn
        arguments.update(zip(source.args[len(op.carried) :], block.args[len(starts) + 1 :], strict=True))
        yielded = RegionCopy(block, arguments).take(source)
        emit = _emitting(block, op)
        following = emit(AddOp(turn, emit(scalar_constant(1, i64))))
        values = [yielded[k] for k in own]
        row = slot_of(emit, following)
        rows = [emit(UpdateRowOp(a, row, v)) for a, v in zip(arrays, (following, *values), strict=True)]
        body = _end(block, [following, *values, *rows], op)
        _drop_dead(block)  # what the forward loop keeps
        return WhileOp(starts, [end, *self.invariants], _end(asked, [more], op), body)


def _checkpoints(op: WhileOp, counter: int, own: Sequence[int]) -> list[SSAValue]:
    """Let a loop keep the number of some turns, and carried values ``own`` at their begin; gives the arrays."""
    body, last = op.body.block, op.body.block.last_op
    assert last is not None, "a region ends with a yield"
    row = slot_of(_before(last), body.args[counter])
    found: list[SSAValue] = []
    for k in (counter, *own):
        value = body.args[k]
        empty = splat(_before(op), (SLOTS, *shape_of(value)), -1 if k == counter else 0, element(value))
        at = _carry(op, empty, lambda emit, array, v=value: emit(UpdateRowOp(array, row, v)))
        found.append(op.results[at])
    return found


def _added(emit: Emit, total: SSAValue, g: SSAValue) -> SSAValue:
    """``total + g``; of a ``g`` that is one row in zeros, only the row is added."""
    op = g.owner
    if isinstance(op, AddOp):
        return _added(emit, _added(emit, total, op.x), op.y)
    if isinstance(op, UpdateRowOp) and _is_zero(op.array):
        row = emit(AddOp(emit(GatherOp(total, op.index, 0)), op.value))
        return emit(UpdateRowOp(total, op.index, row))
    return emit(AddOp(total, g))


def _is_zero(value: SSAValue) -> bool:
    op = value.owner
    while isinstance(op, BroadcastOp):
        op = op.x.owner
    return isinstance(op, ConstantOp) and op.value.data.is_splat and not np.any(op.value.data.array)


def _carry(op: WhileOp, initial: SSAValue, following: Callable[[Emit, SSAValue], SSAValue]) -> int:
    """A further carried value: the number of its result. ``following`` gives the next one in the body."""
    at = len(op.carried)
    arguments = [region.block.insert_arg(initial.type, at) for region in (op.condition, op.body)]
    op.operands = [*op.operands[:at], initial, *op.operands[at:]]
    sizes = [at + 1, len(op.operands) - at - 1]
    op.properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, sizes)
    last = op.body.block.last_op
    assert last is not None, "a region ends with a yield"
    _yield_also(op.body.block, following(_before(last), arguments[1]))
    _add_result(op, initial.type)
    return len(op.results) - 1


def _counter(op: WhileOp) -> int:
    """The number of the carried i64 that counts the turns from 0; made if there is none."""
    for k, value in enumerate(op.carried):
        if value.type == tensor_type([], i64) and number(value) == 0 and step_of(op, k) == 1:
            return k
    zero = _before(op)(scalar_constant(0, i64))
    return _carry(op, zero, lambda emit, n: emit(AddOp(n, emit(scalar_constant(1, i64)))))


def _stacked(op: WhileOp, value: SSAValue, counter: int, turns: Dim) -> SSAValue:
    """The array of what ``value``, of the body, is in each turn."""
    place = op.body.block.args[counter]
    for use in value.uses:  # another gradient has asked for it already
        row = use.operation
        if isinstance(row, UpdateRowOp) and row.value is value and row.index is place:
            known = row.array
            if isinstance(known, BlockArgument) and _yielded(op)[known.index] is row.result:
                array = op.carried[known.index]
                if _is_zero(array) and shape_of(array)[0] == turns:
                    return op.results[known.index]
    zeros = splat(_before(op), (turns, *shape_of(value)), 0, element(value))
    found = _carry(op, zeros, lambda emit, array: emit(UpdateRowOp(array, place, value)))
    return op.results[found]


def _yielded(op: WhileOp) -> Sequence[SSAValue]:
    return op.yielded(op.body)
