"""The one kind of node that differentiates, and what sparse gradients are made of.

A ``Gradient`` node takes the inputs of another node and the gradients of its results. Its rule emits that
node once more, which common subexpressions make one with the first, and asks the operations for their
gradients. So a new kind of node needs no gradient of its own, and shapes that only a feed tells are no
problem; and as a gradient is made of ordinary operations, it has one again.

A branch or loop is not emitted again: the one that runs keeps what its gradient needs, and its effects
happen once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xdsl.dialects.builtin import UnrankedTensorType
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.dialects.tfc.constant import splat_like
from tfc.dialects.tfc.control import RegionOp
from tfc.dialects.tfc.differentiate import Gradient, MissingGradient, fitted, vjp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.shape import IdentityOp
from tfc.dialects.tfc.state import GateOp
from tfc.dialects.tfc.types import ResourceType, element
from tfc.errors import GraphError
from tfc.graph.emit import RULES, Deferred, Emitter, element_at, rule
from tfc.graph.graph import as_values
from tfc.graph.node import Operation as Node


def _elements(*values: SSAValue, wrt: Sequence[int], **_attributes: Any) -> Sequence[Attribute]:
    return [element_at(values[k]) for k in wrt]


@rule("Gradient", elements=_elements)
def gradient(
    emit: Emitter,
    *values: SSAValue,
    forward: str,
    attributes: dict[str, Any],
    wrt: Sequence[int],
    given: Sequence[int],
    of: Node | None = None,
) -> Sequence[SSAValue]:
    """The gradients of some inputs of a node.

    Args:
        values: the node's inputs, then the gradients of its results ``given``.
        forward, attributes: which node it is.
        wrt: the inputs whose gradients are wanted.
        of: the node itself, if it is a branch or loop.
    """
    count = len(values) - len(given)
    if any(isinstance(values[k].type, ResourceType) for k in wrt):
        help = "read it before the branch or loop, and pass the value"
        raise GraphError("the gradient of a variable that is read inside of a branch or loop is not known", help=help)
    if (op := _running(emit, of)) is not None:
        seeds = [(op.results[k], fitted(emit, g, op.results[k])) for k, g in zip(given, values[count:], strict=True)]
        found = vjp([op], seeds, [values[k] for k in wrt], emit)
    else:
        found = pulled_back(emit, values[:count], values[count:], forward, attributes, wrt, given)
    return [splat_like(emit, values[k], 0) if g is None else g for k, g in zip(wrt, found, strict=True)]


def pulled_back(
    emit: Emitter,
    inputs: Sequence[SSAValue],
    gs: Sequence[SSAValue],
    forward: str,
    attributes: dict[str, Any],
    wrt: Sequence[int],
    given: Sequence[int],
) -> list[Gradient]:
    """The same with None for a gradient that is always zero.

    Raises:
        Deferred: a rank is not known.
        MissingGradient: an operation of the node has none.
    """
    wanted = [_content(inputs[k].type) for k in wrt]
    if not emit.strict and any(isinstance(v.type, UnrankedTensorType) for v in (*inputs, *gs)):
        raise Deferred("the rank of an input", wanted)
    own = list(inputs)
    for k in wrt:  # each its own value, so that each has its own gradient
        if own.count(own[k]) > 1 and not isinstance(own[k].type, ResourceType):
            own[k] = emit(IdentityOp(own[k]))
    last = emit.block.last_op
    replay = replace(emit, used=tuple(given), tokens=[], results={})
    try:
        results = as_values(RULES[forward].emit(replay, *own, **attributes))
    except Deferred as why:
        raise Deferred(why.needed, wanted) from None
    if replay.tokens:
        raise MissingGradient(f"a node of kind {forward} with effects has no gradient here")
    ops = _after(emit, last)
    if not emit.strict and any(isinstance(o.type, UnrankedTensorType) for op in ops for o in (*op.operands, *op.results)):
        raise Deferred("the rank of an input", wanted)
    seeds = [(results[k], fitted(emit, g, results[k])) for k, g in zip(given, gs, strict=True)]
    return vjp(ops, seeds, [own[k] for k in wrt], emit)


def _running(emit: Emitter, of: Node | None) -> RegionOp | None:
    """The branch or loop that a node has become, if it stands in the same block."""
    if of is None or of.type == "Call" or (value := emit.results.get(of.values()[0])) is None:
        return None
    op = value.owner
    while isinstance(op, GateOp):
        op = op.value.owner
    return op if isinstance(op, RegionOp) and op.parent is emit.block else None


def _after(emit: Emitter, last: Operation | None) -> list[Operation]:
    """The operations at the end of the block, behind ``last``."""
    found: list[Operation] = []
    op = emit.block.last_op
    while op is not last and op is not None:
        found.append(op)
        op = op.prev_op
    return found[::-1]


def _content(type_: Attribute) -> Attribute:
    return type_.content if isinstance(type_, ResourceType) else type_


@rule("IdentityN", elements=lambda *xs: [element(x) for x in xs])
def identity_n(emit: Emitter, *xs: SSAValue) -> Sequence[SSAValue]:
    return [emit(IdentityOp(x)) for x in xs]


@rule("UnsortedSegmentSum")
def unsorted_segment_sum(emit: Emitter, data: SSAValue, ids: SSAValue, count: SSAValue) -> SSAValue:
    emit.rank(data)
    emit.rank(ids)
    return emit(SegmentSumOp(data, ids, emit.dims(count)[0]))

