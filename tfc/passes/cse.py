"""Merge operations that compute the same from the same operands.

    %a = tfc.add %x, %y        ->   %a = tfc.add %x, %y
    %b = tfc.add %y, %x             %c = tfc.mul %a, %a
    %c = tfc.mul %a, %b

One walk in program order with a table of what has been seen. An operation in a nested
region may use a value of an outer one, never the other way round; a region that is isolated
from above starts with an empty table. Only pure operations are merged: a variable may have
another value at the second read. Running it twice changes nothing more, because operands
are replaced before their users are looked up.

xDSL's own pass knows no commutative operations and takes quadratic time on reads.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.traits import IsolatedFromAbove

from tfc.dialects.tfc.elementwise import BinaryOp, CompareOp
from tfc.passes.effects import is_pure
from tfc.passes.rewriting import erase_dead, replace_value

_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


@dataclass(frozen=True)
class Cse(ModulePass):
    """Merge operations that compute the same from the same operands."""

    name = "cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _merge_regions(op, {})


def _merge_regions(op: Operation, seen: dict[Hashable, Operation]) -> None:
    if op.has_trait(IsolatedFromAbove, value_if_unregistered=False):
        seen = {}
    for region in op.regions:
        for block in region.blocks:
            _merge_block(block, seen)


def _merge_block(block: Block, seen: dict[Hashable, Operation]) -> None:
    added: list[Hashable] = []
    for op in list(block.ops):
        if op.regions:
            _merge_regions(op, seen)
            continue
        if not op.results or not is_pure(op):
            continue
        key = _key(op)
        first = seen.setdefault(key, op)
        if first is op:
            added.append(key)
        elif all(x.type == y.type for x, y in zip(op.results, first.results, strict=True)):
            for result, value in zip(op.results, first.results, strict=True):
                replace_value(result, value)
            erase_dead(op)
    for key in added:  # the end of their scope
        del seen[key]


def _key(op: Operation) -> Hashable:
    """Equal for two operations that compute the same."""
    operands = [id(o) for o in op.operands]
    # Types are not in the key: those of results follow from the rest, or are compared.
    extra = frozenset(op.attributes.items()) if op.attributes else None
    if isinstance(op, BinaryOp):
        if op.COMMUTATIVE:
            operands.sort()
    elif isinstance(op, CompareOp):
        predicate = op.predicate.data
        if operands[0] > operands[1]:
            operands.reverse()
            predicate = _MIRRORED[predicate]
        return CompareOp, predicate, *operands, extra
    properties = frozenset(op.properties.items()) if op.properties else None
    return type(op), properties, *operands, extra
