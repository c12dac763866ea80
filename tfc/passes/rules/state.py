"""Rewrites of variables' operations and of the tokens that order them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from tfc.dialects.tfc.state import AssignOp, GateOp, JoinOp, ReadOp
from tfc.passes.rewriting import Emitter, Rewritten, producer, rule


def flat(tokens: Sequence[SSAValue]) -> list[SSAValue]:
    """The tokens, with those that a join stands for in its place, each once."""
    found: dict[SSAValue, None] = {}
    for token in tokens:
        join = producer(token, JoinOp)
        found.update(dict.fromkeys(join.tokens if join else [token]))
    return list(found)


@rule
def drop_gate(op: GateOp, emit: Emitter) -> Rewritten:
    """gate(x after nothing) -> x"""
    return None if op.after else op.value


@rule
def drop_join(op: JoinOp, emit: Emitter) -> Rewritten:
    """join(t) -> t"""
    return op.tokens[0] if len(op.tokens) == 1 else None


@rule
def flatten_join(op: JoinOp, emit: Emitter) -> Rewritten:
    """join(join(s, t), u) -> join(s, t, u)"""
    tokens = flat(op.tokens)
    return emit(JoinOp(tokens)) if tokens != list(op.tokens) else None


@rule
def flatten_after(op: GateOp | ReadOp | AssignOp, emit: Emitter) -> Rewritten:
    """read(v after join(s, t)) -> read(v after s, t)"""
    tokens = flat(op.after)
    if tokens == list(op.after):
        return None
    if isinstance(op, GateOp):
        return emit(GateOp(op.value, tokens))
    if isinstance(op, ReadOp):
        return emit.add(ReadOp(op.handle, tokens))
    return emit(AssignOp(op.handle, op.value, tokens, op.kind.data))


@rule
def forget_unused_read(op: ReadOp, emit: Emitter) -> Rewritten:
    """x, t = read(v after s) -> t = join(s), where nobody uses x"""
    if op.value.first_use is not None or op.token.first_use is None:
        return None
    return [op.value, emit(JoinOp(list(op.after)))]


RULES = (drop_gate, drop_join, flatten_join, flatten_after, forget_unused_read)
