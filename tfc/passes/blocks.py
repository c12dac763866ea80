"""The blocks of a function that passes take one by one: its own, and those of branches and loops.

A region of ``tfc.if`` or ``tfc.while`` sees its arguments only, so what holds of the block of a function
holds of its block: arguments come from outside, and the values that it ends with are wanted. The
regions of fusions are no such blocks: they are kernels.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.func import FuncOp
from xdsl.ir import Block

from tfc.dialects.tfc.control import RegionOp


def blocks_of(function: FuncOp) -> Iterator[Block]:
    """The blocks of ``function``, outer ones first; none of a declaration."""
    if function.body.blocks:
        yield from _inside(function.body.block)


def _inside(block: Block) -> Iterator[Block]:
    yield block
    for op in list(block.ops):
        if isinstance(op, RegionOp):
            for region in op.regions:
                yield from _inside(region.block)
