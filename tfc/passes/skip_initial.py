"""Do not fill an array before a loop that writes all its rows and reads none.

    %z = tfc.constant splat 0.0                     %z = tfc.constant splat 0.0 {tfc.unread}
    while (i = 0, a = %z) {i < 64} do {
      yield i+1, a with row i                  ->   the same
    }

Memory is left as it is for a constant that nobody reads. So a loop begins with arrays of its own, whatever the array
that it was given is used for beside, and neither zeros nor copies of them are written: a recurrent network keeps
several arrays for its backward pass. Runs behind all passes that merge constants, before ``fuse``.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.constant import UNREAD, ConstantOp
from tfc.dialects.tfc.control import UpdateRowOp, WhileOp
from tfc.dialects.tfc.shape import BroadcastOp
from tfc.dialects.tfc.turns import visits_all
from tfc.dialects.tfc.types import shape_of
from tfc.passes.effects import is_dead
from tfc.passes.rewriting import Emitter, erase_dead


@dataclass(frozen=True)
class SkipInitial(ModulePass):
    """Mark the initial values of arrays that loops fill."""

    name = "skip-initial"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for loop in [o for o in op.walk() if isinstance(o, WhileOp)]:
            for k, value in enumerate(loop.carried):
                initial = value.owner
                if isinstance(initial, ConstantOp | BroadcastOp) and _is_filled(loop, k):
                    loop.operands[k] = _unread(loop, initial)
                    if is_dead(initial):
                        erase_dead(initial)


def _is_filled(loop: WhileOp, k: int) -> bool:
    """Whether each row of carried value ``k`` is written in one of the turns, and nothing of it is read in any."""
    argument, last = loop.body.block.args[k], loop.yielded(loop.body)[k].owner
    return (
        isinstance(last, UpdateRowOp)
        and last.array is argument
        and argument.has_one_use()
        and loop.condition.block.args[k].first_use is None
        and visits_all(loop, last.index, shape_of(argument)[0])
    )


def _unread(loop: WhileOp, initial: ConstantOp | BroadcastOp) -> SSAValue:
    """A constant of its own for one loop."""
    made = initial.clone()
    made.attributes[UNREAD] = UnitAttr()
    return Emitter(loop)(made)
