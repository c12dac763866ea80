"""Write an assignment that adds as a read, an addition and a plain assignment.

    assign add %v, %d after %t   ->   %x, %r = read %v after %t
                                      %y = add %x, %d
                                      assign set %v, %y after %t, %r

Where this is the only assignment of the variable, a read before it gave the same value, which is
used again. Runs before fusion: the sum is then part of the kernel that makes ``%d``, and that
kernel works in place on the variable.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.control import accesses
from tfc.dialects.tfc.elementwise import AddOp, SubOp
from tfc.dialects.tfc.state import AssignOp, ReadOp, VariableOp
from tfc.passes.rewriting import Emitter, replace


@dataclass(frozen=True)
class ExpandUpdates(ModulePass):
    """Leave assignments that replace the whole value only."""

    name = "expand-updates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.walk():
            for region in function.regions:
                for block in region.blocks:
                    _expand(block)


def _expand(block: Block) -> None:
    updates = [o for o in block.ops if isinstance(o, AssignOp)]
    if all(o.kind.data == "set" for o in updates):
        return
    written = Counter(_variable(a.handle) for o in block.ops for a in accesses(o) if isinstance(a, AssignOp))
    known: dict[str, ReadOp] = {}
    for op in list(block.ops):
        if isinstance(op, ReadOp):
            known.setdefault(_variable(op.handle), op)
        elif isinstance(op, AssignOp) and op.kind.data != "set":
            name = _variable(op.handle)
            _write_out(op, known.get(name) if written[name] == 1 else None)


def _write_out(assign: AssignOp, read: ReadOp | None) -> None:
    emit, after = Emitter(assign), list(assign.after)
    if read is None:
        emit(read := ReadOp(assign.handle, after))
        after.append(read.token)
    combine = AddOp if assign.kind.data == "add" else SubOp
    value = emit(combine(read.value, assign.value))
    replace(assign, [emit(AssignOp(assign.handle, value, after))])


def _variable(handle: SSAValue) -> str:
    owner = handle.owner
    return owner.variable.data if isinstance(owner, VariableOp) else f"handle {id(handle)}"
