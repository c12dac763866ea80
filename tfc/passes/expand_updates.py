"""Write an assignment that adds as a read, an addition and a plain assignment.

    assign add %v, %d after %t   ->   %x, %r = read %v after %t
                                      %y = add %x, %d
                                      assign set %v, %y after %t, %r

Runs before fusion: the sum is then a kernel like any other, and works in place on the variable.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tfc.dialects.tfc.elementwise import AddOp, SubOp
from tfc.dialects.tfc.state import AssignOp, ReadOp
from tfc.passes.rewriting import Emitter, replace


@dataclass(frozen=True)
class ExpandUpdates(ModulePass):
    """Leave assignments that replace the whole value only."""

    name = "expand-updates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for assign in [o for o in op.walk() if isinstance(o, AssignOp) and o.kind.data != "set"]:
            emit = Emitter(assign)
            tokens = list(assign.after)
            read = ReadOp(assign.handle, tokens)
            old = emit(read)
            combine = AddOp if assign.kind.data == "add" else SubOp
            value = emit(combine(old, assign.value))
            replace(assign, [emit(AssignOp(assign.handle, value, [*tokens, read.token]))])
