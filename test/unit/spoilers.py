"""Passes that are wrong on purpose: what the tools must notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tfc.dialects.tfc.elementwise import AddOp, ExpOp, NegOp, SubOp, TanhOp
from tfc.passes.rewriting import Emitter, Rewritten, RulePass, RuleSet, producer, rule


@rule
def tanh_is_odd(op: TanhOp, emit: Emitter) -> Rewritten:
    """tanh(x) -> neg(tanh(x)), which is wrong"""
    inner = producer(op.x, ExpOp)
    return emit(NegOp(inner.result)) if inner else None


@dataclass(frozen=True)
class ChangeValues(RulePass):
    """A rewrite that is wrong."""

    name = "change-values"
    RULES: ClassVar[RuleSet] = RuleSet([tanh_is_odd])


@rule
def swap(op: AddOp | SubOp, emit: Emitter) -> Rewritten:
    """x + y -> x - neg(y) -> x + y -> ..., for ever"""
    other = SubOp if isinstance(op, AddOp) else AddOp
    return emit(other(op.x, emit(NegOp(op.y))))


@dataclass(frozen=True)
class GoRound(RulePass):
    """Rules that undo each other."""

    name = "go-round"
    RULES: ClassVar[RuleSet] = RuleSet([swap])


@dataclass(frozen=True)
class Crash(ModulePass):
    """Raises where there is a tanh."""

    name = "crash"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        assert not any(isinstance(o, TanhOp) for o in op.walk()), "tanh is too much"


@dataclass(frozen=True)
class UseBeforeDefinition(ModulePass):
    """Moves the last operation of a function before the others."""

    name = "use-before-definition"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for tanh in [o for o in op.walk() if isinstance(o, TanhOp)]:
            block = tanh.parent
            assert block is not None, "it is in a function"
            tanh.detach()
            first = block.first_op
            assert first is not None, "a function returns"
            block.insert_op_before(tanh, first)


SPOILERS = {
    cls.name: f"spoilers:{cls.__name__}"
    for cls in (ChangeValues, GoRound, Crash, UseBeforeDefinition)
}
