"""Drop what nobody needs: dead operations, and variables that nobody reads or assigns.

What stays is what the results of the function need, and every effect and what it needs.
Unused arguments stay too: they are part of the signature that callers know.

One walk from the last operation to the first: when an operation is reached, all its users
have been judged already.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from tfc.passes.effects import is_dead


@dataclass(frozen=True)
class Prune(ModulePass):
    """Drop operations whose results nobody uses and whose effects nobody sees."""

    name = "prune"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _prune(op)


def _prune(parent: Operation) -> None:
    for region in parent.regions:
        for block in region.blocks:
            prune_block(block)


def prune_block(block: Block) -> None:
    """Drop the dead operations of ``block`` and of the regions inside it."""
    for op in list(block.ops)[::-1]:
        if (op.results or op.regions) and is_dead(op):
            block.erase_op(op)
        elif op.regions:
            _prune(op)
