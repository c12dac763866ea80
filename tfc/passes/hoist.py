"""Compute before a loop what is the same in each of its turns.

    while (i, h) with (w) {..} do {            %e = exp w
      %e = exp w                               while (i, h) with (e) {..} do {
      %g = mul h, e                      ->      %g = mul h, e
      yield i+1, g                               yield i+1, g
    }                                          }

    dot(row i of x, w)                   ->    row i of dot(x, w)          x and w the same in each turn
    dot(concat(row i of x, h), w)        ->    dot(row i of x, w[..]) + dot(h, w[..])

    while (i, a) do {                          while (i) with (a) do {
      %r = row i of a                            %r = row i of a
      yield i+1, a with another row i      ->    yield i+1

The second rule makes one large product of the many small ones by which a recurrent network takes in its
inputs, and the third finds them where the network joins its input and its state. By the last one a loop that
goes back over an array of gradients needs none of its own, where nobody wants the array in the end. What costs nothing in a kernel (a broadcast, a splat) stays inside, and so does what may fail: a loop
that never turns reports nothing. A variable that the loop does not assign to is read once. Inner loops come
first, so that what they leave to the outer loop may leave that one, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp, TensorType, i32
from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.control import UpdateRowOp, WhileOp, accesses, variable_of
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.elementwise import AddOp, SubOp
from tfc.dialects.tfc.gather import GatherElementsOp, GatherOp
from tfc.dialects.tfc.select import CastOp
from tfc.dialects.tfc.shape import BroadcastOp, ConcatOp, ReshapeOp, SliceOp
from tfc.dialects.tfc.state import AssignOp, JoinOp, ReadOp, StateOp, VariableOp
from tfc.dialects.tfc.transfer import TransferOp
from tfc.dialects.tfc.turns import count_of
from tfc.dialects.tfc.types import ControlType, dtype_of, element, is_static, shape_of
from tfc.dims import Dim, evaluate, names, product
from tfc.passes.effects import is_pure
from tfc.passes.prune import prune_block
from tfc.passes.rewriting import Emitter, replace_value
from tfc.passes.simplify_control import simplify_while

FREE = (BroadcastOp, ConstantOp, IotaOp, ReshapeOp, SliceOp)
"""Operations that cost a kernel nothing: they are not worth a value in memory."""

FAILING = (GatherOp, GatherElementsOp, UpdateRowOp, DynamicOp)
"""Operations that may report an error when the program runs."""

LARGE = 1 << 26
"""A value of more bytes than this is not kept if it is larger than what it is made of."""


@dataclass(frozen=True)
class Hoist(ModulePass):
    """Compute before a loop what is the same in each of its turns."""

    name = "hoist"
    EXACT: ClassVar[bool] = False
    """A product of many rows may be summed in another order."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for loop in [o for o in op.walk() if isinstance(o, WhileOp)][::-1]:
            _read_before(loop)
            _leave_arrays(loop)
            for region in loop.regions:
                _Hoister(loop, region.block).run()
            simplify_while(loop)  # some values are read before the loop only now


@dataclass
class _Hoister:
    loop: WhileOp
    block: Block

    def run(self) -> None:
        self.outside: dict[SSAValue, SSAValue] = {}
        """The values of the block that are there before the loop, and what they are there."""
        self.same: dict[SSAValue, None] = dict.fromkeys(self.block.args[len(self.loop.carried) :])
        self.outside.update(zip(self.same, self.loop.invariants, strict=True))
        for op in list(self.block.ops):
            for dot in self.in_parts(op) if isinstance(op, DotOp) else [op]:
                made = self.of_rows(dot) if isinstance(dot, DotOp) else dot
                if self.is_same(made):
                    self.same.update(dict.fromkeys(made.results))
        ops = [o for o in self.block.ops if any(r in self.same for r in o.results)]
        for op in ops:
            if _pays(op):
                self.move(op)
        prune_block(self.block)

    def is_same(self, op: Operation) -> bool:
        fine = isinstance(op, TransferOp) or (isinstance(op, TensorOp) and not isinstance(op, (StateOp, *FAILING)))
        return fine and is_pure(op) and all(o in self.same for o in op.operands)

    def before(self, value: SSAValue) -> SSAValue:
        """``value``, which is the same in each turn, before the loop."""
        if value not in self.outside:
            op = value.owner
            assert isinstance(op, Operation), "arguments are known from the start"
            copy = op.clone(value_mapper={o: self.before(o) for o in op.operands})
            copy.location = op.location
            self.outside.update(zip(op.results, Emitter(self.loop).add(copy), strict=True))
        return self.outside[value]

    def move(self, op: Operation) -> None:
        """Make ``op`` before the loop, and give its results to what stays inside."""
        for result in op.results:
            value = self.before(result)
            if any(not self.moves(use.operation) for use in result.uses):
                argument = add_invariant(self.loop, value, self.block)
                replace_value(result, argument)
                self.outside[argument] = value

    def moves(self, op: Operation) -> bool:
        return all(r in self.same for r in op.results) and bool(op.results) and _pays(op)

    def in_parts(self, op: DotOp) -> list[DotOp]:
        """dot(concat(row i of x, h), w) -> dot(row i of x, w[..]) + dot(h, w[..])"""
        joined = op.x.owner
        bx, _, cx, cy = op.dims()
        if not isinstance(joined, ConcatOp) or bx or list(cx) != [joined.axis.value.data]:
            return [op]
        extents = [shape_of(x)[cx[0]] for x in joined.xs]
        if op.y not in self.same or not any(self.row_of(x) for x in joined.xs) or not is_static(extents):
            return [op]
        emit, dots, start = Emitter(op), list[DotOp](), 0
        for x, extent in zip(joined.xs, extents, strict=True):
            assert isinstance(extent, int), "they are static"
            part = self.slice_of(op, cy[0], start, extent)
            emit(dot := DotOp(x, part, [], [], list(cx), list(cy)))
            dots.append(dot)
            start += extent
        total = dots[0].results[0]
        for dot in dots[1:]:
            total = emit(AddOp(total, dot.results[0]))
        replace_value(op.results[0], total)
        assert op.parent is not None, "the operation stands in the loop"
        op.parent.erase_op(op)
        return dots

    def slice_of(self, op: DotOp, axis: int, start: int, extent: int) -> SSAValue:
        """``extent`` rows of the right operand, as a value that is there before the loop."""
        if isinstance(op.y.owner, ConstantOp):
            array = op.y.owner.value.data.array
            some = ConstantOp(np.take(array, range(start, start + extent), axis))
            self.same[some.result] = None
            return Emitter(op)(some)
        shape = list(shape_of(op.y))
        starts: list[Dim] = [start if d == axis else 0 for d in range(len(shape))]
        shape[axis] = extent
        emit = Emitter(self.loop)
        value = emit(SliceOp(self.before(op.y), starts, shape, [1] * len(shape)))
        argument = add_invariant(self.loop, value, self.block)
        self.same[argument], self.outside[argument] = None, value
        return argument

    def row_of(self, value: SSAValue) -> GatherOp | None:
        """The operation that reads ``value``, a row that goes with the turns, of what is the same in each."""
        row = value.owner
        if not isinstance(row, GatherOp) or shape_of(row.indices) != () or row.axis.value.data != 0:
            return None
        return row if row.x in self.same and self.counts(row.indices) else None

    def of_rows(self, op: DotOp) -> Operation:
        """dot(row i of x, w) -> row i of dot(x, w), where x and w are the same in each turn"""
        row = self.row_of(op.x)
        bx, _, cx, cy = op.dims()
        if row is None or bx or op.y not in self.same:
            return op
        emit = Emitter(op)
        whole = DotOp(row.x, op.y, [], [], [d + 1 for d in cx], list(cy))
        if not _pays(whole):
            whole.erase()
            return op
        emit(whole)  # the same in each turn: it leaves the loop in the end
        emit(picked := GatherOp(whole.result, row.indices, 0))
        picked.location = row.location
        replace_value(op.results[0], picked.result)
        assert op.parent is not None, "the operation stands in the loop"
        op.parent.erase_op(op)
        return whole

    def counts(self, index: SSAValue) -> bool:
        """Whether ``index`` goes from row to row with the turns: most rows will be wanted."""
        if isinstance(index, BlockArgument):
            if index.index >= len(self.loop.carried):
                return False
            step = self.loop.yielded(self.loop.body)[index.index].owner
            return isinstance(step, AddOp | SubOp) and any(
                x is self.loop.body.block.args[index.index] and isinstance(y.owner, ConstantOp)
                for x, y in (tuple(step.operands), tuple(step.operands)[::-1])
            )
        op = index.owner
        if not isinstance(op, AddOp | SubOp | CastOp | ReshapeOp):
            return False
        changing = [o for o in op.operands if o not in self.same]
        return len(changing) == 1 and self.counts(changing[0])


def _pays(op: Operation) -> bool:
    """Whether ``op`` is worth a value in memory."""
    if isinstance(op, FREE):
        return False
    if isinstance(op, TransferOp):
        return True
    made = sum(_bytes(r) for r in op.results)
    return made <= LARGE or made <= 4 * sum(_bytes(o) for o in op.operands)


def _bytes(value: SSAValue) -> int:
    if not isinstance(value.type, TensorType):
        return 0
    size = product(shape_of(value))
    return evaluate(size, dict.fromkeys(names(size), 16)) * dtype_of(element(value)).itemsize


def add_invariant(loop: WhileOp, value: SSAValue, block: Block) -> SSAValue:
    """Let ``loop`` take ``value``; the argument of ``block``, one of its regions, that it becomes."""
    made: dict[Block, SSAValue] = {}
    for region in loop.regions:
        made[region.block] = region.block.insert_arg(value.type, len(region.block.args))
        made[region.block].name_hint = value.name_hint
    count = len(loop.carried)
    loop.operands = [*loop.operands, value]
    sizes = [count, len(loop.operands) - count]
    loop.properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, sizes)
    return made[block]


def _read_before(loop: WhileOp) -> None:
    """Read before the loop what it only reads."""
    assigned = {variable_of(a) for a in accesses(loop) if isinstance(a, AssignOp)}
    tokens = [o for o in loop.carried if isinstance(o.type, ControlType)]
    for region in loop.regions:
        for op in [o for o in region.block.ops if isinstance(o, ReadOp)]:
            name = variable_of(op)
            if name in assigned:
                continue
            emit = Emitter(loop)
            variable = VariableOp(name, op.value.type)
            assert isinstance(op.handle.owner, VariableOp), "handles come from variables"
            variable.attributes = dict(op.handle.owner.attributes)
            read = ReadOp(emit(variable), tokens)
            emit.add(read)
            read.location = op.location
            replace_value(op.value, add_invariant(loop, read.value, region.block))
            replace_value(op.token, Emitter(op)(JoinOp(list(op.after))))
            region.block.erase_op(op)
        prune_block(region.block)


def _leave_arrays(loop: WhileOp) -> None:
    """Read rows of an array as it was before the loop, where no turn before has changed the row that a turn reads."""
    body = loop.body.block
    for k, argument in list(enumerate(body.args[: len(loop.carried)])):
        last = loop.yielded(loop.body)[k].owner
        if loop.results[k].first_use is not None or not isinstance(last, UpdateRowOp) or last.array is not argument:
            continue
        count = count_of(loop, last.index)
        rows = [u.operation for u in argument.uses if u.operation is not last]
        same = all(
            isinstance(r, GatherOp) and r.x is argument and r.indices is last.index and r.axis.value.data == 0 for r in rows
        )
        unread = loop.condition.block.args[k].first_use is None and argument not in (last.value, last.index)
        if count is not None and count[1] != 0 and rows and same and unread:
            before = add_invariant(loop, loop.carried[k], body)
            for row in rows:
                row.operands[0] = before
