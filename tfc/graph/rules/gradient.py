"""The one kind of node that differentiates, and what sparse gradients are made of.

A ``Gradient`` node takes the inputs of another node and the gradients of its results. Its rule emits that
node once more, which common subexpressions make one with the first, and asks the operations for their
gradients. So a new kind of node needs no gradient of its own, and shapes that only a feed tells are no
problem; and as a gradient is made of ordinary operations, it has one again.

A branch or loop is not emitted again: the one that runs keeps what its gradient needs, and its effects
happen once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue

from tfc.dialects.tfc.constant import splat
from tfc.dialects.tfc.control import RegionOp, variable_of
from tfc.dialects.tfc.control_gradient import offset_of_reads
from tfc.dialects.tfc.differentiate import Gradient, MissingGradient, fitted, vjp
from tfc.dialects.tfc.elementwise import AddOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.shape import IdentityOp
from tfc.dialects.tfc.state import GateOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import ResourceType, element, shape_of
from tfc.graph.emit import RULES, Deferred, Emitter, element_at, rule
from tfc.graph.graph import as_values
from tfc.graph.node import Operation as Node
from tfc.graph.subgraph import has_effect


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
    inputs = values[:count]
    running = _running(emit, of, inputs)
    if running is None:
        if any(isinstance(values[k].type, ResourceType) for k in wrt):
            raise Deferred("what a variable is read by", [_content(values[k].type) for k in wrt])
        found = pulled_back(emit, inputs, values[count:], forward, attributes, wrt, given)
    else:
        ops, results = running
        seeds = [(results[k], fitted(emit, g, results[k])) for k, g in zip(given, values[count:], strict=True)]
        found = _pulled_back_through(emit, ops, seeds, [values[k] for k in wrt])
    return [_zeros(emit, values[k]) if g is None else g for k, g in zip(wrt, found, strict=True)]


def _pulled_back_through(
    emit: Emitter, ops: Sequence[Operation], seeds: Sequence[tuple[SSAValue, Gradient]], wanted: Sequence[SSAValue]
) -> list[Gradient]:
    """The gradients of tensors that ``ops`` take, and of variables that they read: of all these reads."""
    sources = [_reads(emit, ops, v) if isinstance(v.type, ResourceType) else [v] for v in wanted]
    found = iter(vjp(ops, seeds, [v for values in sources for v in values], emit))
    totals: list[Gradient] = []
    for values in sources:
        gs = [g for _ in values if (g := next(found)) is not None]
        totals.append(functools.reduce(lambda x, y: emit(AddOp(x, y)), gs) if gs else None)
    return totals


def _reads(emit: Emitter, ops: Sequence[Operation], handle: SSAValue) -> list[SSAValue]:
    """What ``ops`` read of a variable; of a branch or loop, what can be added to all that it reads."""
    name, found = _name(handle), list[SSAValue]()
    for op in ops:
        if isinstance(op, ReadOp) and variable_of(op) == name:
            found.append(op.value)
        elif isinstance(op, RegionOp) and (offset := offset_of_reads(op, name)) is not None:
            found.append(offset)
    return found


def _name(handle: SSAValue) -> str:
    assert isinstance(handle.owner, VariableOp), "handles come from variables"
    return handle.owner.variable.data


def _zeros(emit: Emitter, like: SSAValue) -> SSAValue:
    content = _content(like.type)
    return splat(emit, shape_of(content), 0, element(content))


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


def _running(
    emit: Emitter, of: Node | None, inputs: Sequence[SSAValue]
) -> tuple[list[Operation], Sequence[SSAValue]] | None:
    """The operations that a branch or loop, or a call with effects, has become, and its results.

    None if they do not stand in the same block, or may as well be made again.
    """
    if of is None or (of.type == "Call" and not has_effect(of)):
        return None
    results = [emit.results.get(t) for t in of.values()]
    if of.type == "Call":
        known = [r for r in results if r is not None]
        return (_between(emit.block, inputs, known), known) if len(known) == len(results) else None
    op = results[0].owner if results[0] is not None else None
    while isinstance(op, GateOp):
        op = op.value.owner
    return ([op], op.results) if isinstance(op, RegionOp) and op.parent is emit.block else None


def _between(block: Block, inputs: Sequence[SSAValue], results: Sequence[SSAValue]) -> list[Operation]:
    """The operations of ``block`` that ``results`` are computed by from ``inputs``."""
    pending, seen, found = list(results), set(inputs), set[Operation]()
    while pending:
        value = pending.pop()
        if value in seen or not isinstance(value, OpResult) or not isinstance(value.type, TensorType):
            continue
        seen.add(value)
        found.add(value.op)
        pending += value.op.operands
    return [op for op in block.ops if op in found]


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

