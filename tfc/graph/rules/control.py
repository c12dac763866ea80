"""Branches, loops and calls: nodes that run parts of the graph (`tfc.graph.subgraph`).

A part becomes a region, whose arguments are the node's inputs and what the part captures. Handles and
constants are made again inside. Effects begin with a token among the arguments and end with one that
is yielded; where there are none there is no token.

A loop first has the types of its initial values. Where its body gives other extents, and what is known when
the graph is built leaves them open, it becomes a loop over tensors of unknown extents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, UnrankedTensorType, i1
from xdsl.ir import Attribute, Block, BlockArgument, Region, SSAValue

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.control import IfOp, WhileOp
from tfc.dialects.tfc.elementwise import AndOp, NotOp, OrOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.shape import IdentityOp
from tfc.dialects.tfc.state import GateOp, JoinOp, VariableOp
from tfc.dialects.tfc.symbolic import contents
from tfc.dialects.tfc.types import (
    UNKNOWN_DIM,
    ControlType,
    LiteralAttr,
    ResourceType,
    agrees,
    dtype_of,
    element,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, Expr
from tfc.errors import GraphError
from tfc.graph.emit import Deferred, Emitter, rule
from tfc.graph.node import Tensor
from tfc.graph.rules.tensor_array import formed, is_unformed, known_size
from tfc.graph.shape import TensorShape, is_anonymous
from tfc.graph.subgraph import Subgraph

_ATTEMPTS = 16
"""So often a loop is emitted again, each time with a type that is known better or less."""


@rule("Argument", elements=lambda type, outer: [])
def argument(emit: Emitter, type: Attribute, outer: Tensor | None) -> SSAValue:
    """What is given to a part; when it is compiled there is a value."""
    return emit.block.insert_arg(type, len(emit.block.args))


def captures_of(*parts: Subgraph) -> list[Tensor]:
    """What the parts of a node capture: its last inputs, in this order."""
    return list(dict.fromkeys(t for part in parts for t in part.captured))


@dataclass
class _Around:
    """What is captured: passed to the regions, or made again in each."""

    emit: Emitter
    values: dict[Tensor, SSAValue]

    @property
    def passed(self) -> list[Tensor]:
        return [t for t, v in self.values.items() if not _is_remade(v)]

    def inside(self, block: Block, arguments: Sequence[SSAValue]) -> Mapping[Tensor, SSAValue]:
        """The values in a region whose arguments for what is passed are ``arguments``."""
        emit = replace(self.emit, block=block, after=(), tokens=[])
        given = iter(arguments)
        return {t: _remade(emit, v) if _is_remade(v) else next(given) for t, v in self.values.items()}


def _is_remade(value: SSAValue) -> bool:
    return isinstance(value.type, ResourceType) or isinstance(value.owner, ConstantOp) or _numbers(value) is not None


def _numbers(value: SSAValue) -> Any:
    """The elements of a small integer tensor where they are numbers."""
    found = contents(value) if isinstance(value.type, TensorType) else None
    if found is None or any(isinstance(d, Expr) for d in found.flat):
        return None
    return found.astype(dtype_of(element(value)))


def _remade(emit: Emitter, value: SSAValue) -> SSAValue:
    owner = value.owner
    if isinstance(owner, VariableOp):
        handle = emit(again := VariableOp(owner.variable.data, owner.content))
        again.attributes = dict(owner.attributes)  # its device is the variable's, not that of the loop
        return handle
    if isinstance(owner, ConstantOp):
        return emit(ConstantOp(owner.value))
    return emit(ConstantOp(LiteralAttr.of(_numbers(value))))


def _fill(
    part: Subgraph, block: Block, arguments: Sequence[SSAValue], around: Mapping[Tensor, SSAValue]
) -> tuple[list[SSAValue], list[SSAValue]]:
    """Emit a part into its block, whose last argument is the token that effects begin with."""
    from tfc.graph.building import emit_part

    given = [*arguments, *(around[t] for t in part.captured)]
    return emit_part(part, block, given, [block.args[-1]])


def _finish(emit: Emitter, block: Block, outputs: Sequence[SSAValue], tokens: Sequence[SSAValue] | None) -> Region:
    """End a region with ``outputs`` and, unless ``tokens`` is None, the token that all has happened."""
    inner = replace(emit, block=block, after=(), tokens=[])
    values = list(outputs)
    if tokens is not None:
        values.append(block.args[-1] if not tokens else tokens[0] if len(tokens) == 1 else inner(JoinOp(tokens)))
    end = YieldOp(values)
    end.location = emit.location
    block.add_op(end)
    return Region(block)


def _start(emit: Emitter) -> SSAValue:
    """The token of what must have happened before."""
    return emit.after[0] if len(emit.after) == 1 else emit(JoinOp(list(emit.after)))


def _results(emit: Emitter, op: IfOp | WhileOp, effects: bool) -> Sequence[SSAValue]:
    results = emit.all(op)
    if not effects:
        return results
    emit.tokens[:] = [results[-1]]
    return results[:-1]


# Branches


@rule("If", elements=lambda *_, **__: [])
def branch(
    emit: Emitter, predicate: SSAValue, *values: SSAValue, then: Subgraph, otherwise: Subgraph
) -> Sequence[SSAValue]:
    """One of two parts."""
    if not emit.strict:
        pairs = zip(then.outputs, otherwise.outputs, strict=True)
        raise Deferred("a branch", [_either(emit, x.value.type, y.value.type) for x, y in pairs])
    _check_predicate(predicate)
    captured = dict(zip(captures_of(then, otherwise), values, strict=True))
    if (known := _truth(predicate)) is not None:
        return _inlined(emit, then if known else otherwise, captured)
    around = _Around(emit, captured)
    filled = [_branch(around, part) for part in (then, otherwise)]
    while _form_yielded(around, *(outputs for _, outputs, _ in filled)):
        filled = [_branch(around, part) for part in (then, otherwise)]
    _check_branches(then, otherwise, *(outputs for _, outputs, _ in filled))
    effects = any(tokens for *_, tokens in filled)
    regions: list[Region] = []
    for block, outputs, tokens in filled:
        if not effects:
            block.erase_arg(block.args[-1])
        regions.append(_finish(emit, block, outputs, tokens if effects else None))
    inputs = [around.values[t] for t in around.passed] + ([_start(emit)] if effects else [])
    return _results(emit, IfOp(predicate, inputs, *regions), effects)


def _truth(value: SSAValue) -> bool | None:
    """What a truth value is, where it follows from constants."""
    op = value.owner
    if isinstance(op, GateOp):
        return _truth(op.value)
    if isinstance(op, ConstantOp):
        return bool(op.value.data.array)
    if not isinstance(op, IdentityOp | NotOp | AndOp | OrOp):
        return None
    known = [_truth(o) if o.type == value.type else None for o in op.operands]
    if isinstance(op, AndOp | OrOp) and isinstance(op, OrOp) in known:
        return isinstance(op, OrOp)  # whatever the other one is
    return None if None in known else bool(op.reference(*map(np.array, known)))


def _inlined(emit: Emitter, part: Subgraph, captured: Mapping[Tensor, SSAValue]) -> Sequence[SSAValue]:
    """The branch that is taken, in place: what the other one would read need not be there."""
    from tfc.graph.building import emit_part

    outputs, tokens = emit_part(part, emit.block, [captured[t] for t in part.captured], emit.after)
    emit.tokens[:] = tokens
    return outputs


def _check_predicate(predicate: SSAValue) -> None:
    """Refuse a condition whose rank only the feeds told."""
    if predicate.type != tensor_type([], i1):
        message = f"expected a predicate of type bool and shape (), got {_shown(predicate.type)}"
        raise GraphError(message, help="tf.reduce_all(p) or tf.reduce_any(p) makes one truth value of many")


def _branch(around: _Around, part: Subgraph) -> tuple[Block, list[SSAValue], list[SSAValue]]:
    passed = around.passed
    block = Block(arg_types=[*(around.values[t].type for t in passed), ControlType()])
    outputs, tokens = _fill(part, block, [], around.inside(block, block.args[:-1]))
    return block, outputs, tokens


def _either(emit: Emitter, x: Attribute, y: Attribute) -> Attribute:
    """What is known of a tensor that is of one type or of the other."""
    if x == y or not (isinstance(x, TensorType) and isinstance(y, TensorType)):
        return x if x == y else UnrankedTensorType(element(x))
    a, b = shape_of(x), shape_of(y)
    if len(a) != len(b):
        return UnrankedTensorType(element(x))
    return tensor_type([m if m == n else emit.fresh() for m, n in zip(a, b, strict=True)], element(x))


def _form_yielded(around: _Around, *yields: Sequence[SSAValue]) -> bool:
    """Give arrays that one branch passes on, and that have no rows yet, the rows that the other writes."""
    changed = False
    for pair in zip(*yields, strict=True):
        for mine, other in (pair, pair[::-1]):
            if isinstance(mine, BlockArgument) and is_unformed(mine):
                t = around.passed[mine.index]
                row = () if is_unformed(other) else shape_of(other)[1:]
                if is_unformed(around.values[t]):
                    around.values[t] = formed(around.emit, around.values[t], row)
                    changed = True
    return changed


def _check_branches(
    then: Subgraph, otherwise: Subgraph, yields: Sequence[SSAValue], others: Sequence[SSAValue]
) -> None:
    for k, (x, y) in enumerate(zip(yields, others, strict=True)):
        if not agrees(x.type, y.type):
            lines = [f"{_shown(v.type)} by {p.outputs[k].op.made_at}" for v, p in ((x, then), (y, otherwise))]
            raise GraphError(f"result {k} of the branches: expected one type, got {' and '.join(lines)}")


def _shown(type_: Attribute) -> str:
    from tfc.graph.dtypes import of_element

    return f"{of_element(element(type_)).name} {TensorShape.of(type_)}"


# Loops


@rule("While", elements=lambda *_, **__: [])
def loop(
    emit: Emitter, *values: SSAValue, condition: Subgraph, body: Subgraph, invariants: Sequence[TensorShape]
) -> Sequence[SSAValue]:
    """A part again and again while another says so."""
    count = len(body.arguments)
    if not emit.strict:
        turns = zip(values[:count], body.arguments, body.outputs, strict=True)
        raise Deferred("a loop", [_result_type(emit, *turn) for turn in turns])
    around = _Around(emit, dict(zip(captures_of(condition, body), values[count:], strict=True)))
    block, outputs, tokens, carried = _settled(around, body, list(values[:count]), invariants)
    asked = Block(arg_types=[a.type for a in block.args])
    inside = around.inside(asked, asked.args[count:-1])
    predicate, checks = _fill(condition, asked, asked.args[:count], inside)
    _check_predicate(predicate[0])
    effects = bool(tokens or checks)
    for b in (block, asked):
        _place_token(b, count, effects)
    # The condition's effects happen before the body's, as it runs before it.
    ends = _finish(emit, asked, predicate, None), _close_body(emit, block, count, outputs, tokens, effects)
    passed = [around.values[t] for t in around.passed]
    op = WhileOp([*carried, *([_start(emit)] if effects else [])], passed, *ends)
    return _results(emit, op, effects)


def _result_type(emit: Emitter, first: SSAValue, given: Tensor, made: Tensor) -> Attribute:
    """What is known of a loop's result: it is the argument, or what the body makes of it."""
    if isinstance(given.value.type, UnrankedTensorType):
        type_ = made.value.type
        if isinstance(type_, TensorType) and isinstance(first.type, UnrankedTensorType):
            return tensor_type([known_size(emit, first), *shape_of(type_)[1:]], element(type_))
        return type_
    return _either(emit, given.value.type, made.value.type)


def _settled(
    around: _Around, body: Subgraph, carried: list[SSAValue], invariants: Sequence[TensorShape]
) -> tuple[Block, list[SSAValue], list[SSAValue], list[SSAValue]]:
    """The body on types that it keeps: its block, outputs and tokens, and the initial values."""
    types = [v.type for v in carried]
    for _ in range(_ATTEMPTS):
        passed = [around.values[t].type for t in around.passed]
        block = Block(arg_types=[*types, *passed, ControlType()])
        arguments = block.args[: len(types)]
        outputs, tokens = _fill(body, block, arguments, around.inside(block, block.args[len(types) : -1]))
        found = list(types)
        for k, out in enumerate(outputs):
            if is_unformed(arguments[k]):
                carried[k] = formed(around.emit, carried[k], () if is_unformed(out) else shape_of(out)[1:])
                found[k] = carried[k].type
            else:
                found[k] = _next_type(body, k, types[k], out.type, invariants[k])
        if found == types:
            return block, outputs, tokens, carried
        types = found
    raise GraphError("the extents of the loop variables do not settle", help="shape_invariants=... leaves them open")


def _next_type(part: Subgraph, k: int, given: Attribute, made: Attribute, invariant: TensorShape) -> Attribute:
    """The type that loop variable ``k`` has to have if the body makes ``made`` of ``given``."""
    if given == made:
        return given
    if isinstance(made, TensorType) and element(given) == element(made):
        old, new = shape_of(given), shape_of(made)
        free = invariant.dims if invariant.dims is not None else (None,) * len(old)
        if len(old) == len(new):
            dims = [_next_dim(*dims) for dims in zip(old, new, free, strict=True)]
            if None not in dims:
                return tensor_type([d for d in dims if d is not None], element(given))
    raise changed(part, k, given, made)


def _next_dim(old: Dim, new: Dim, free: Dim | None) -> Dim | None:
    if old in (new, UNKNOWN_DIM):
        return old
    open_ = free is None or (isinstance(free, Expr) and is_anonymous(free))
    return UNKNOWN_DIM if open_ else None


def changed(part: Subgraph, k: int, given: Attribute, made: Attribute) -> GraphError:
    """The error of a loop variable whose type changes."""
    argument, out = part.arguments[k], part.outputs[k]
    name = argument.op.name.rpartition("/")[2]
    message = (
        f"loop variable {k} ('{name}') has to keep its type: expected {_shown(given)}, got {_shown(made)} "
        f"from the body ({out.op.made_at})"
    )
    if element(given) != element(made):
        return GraphError(message, help="tf.cast(x, dtype) converts it, in the body or before the loop")
    return GraphError(message, help="shape_invariants=[...] with None for the extents that change")


def _place_token(block: Block, count: int, effects: bool) -> None:
    """Move the token, which stands last, behind the carried values; without effects there is none."""
    token = block.args[-1]
    if effects:
        moved = block.insert_arg(ControlType(), count)
        token.replace_all_uses_with(moved)
    block.erase_arg(token)


def _close_body(
    emit: Emitter,
    block: Block,
    count: int,
    outputs: Sequence[SSAValue],
    tokens: Sequence[SSAValue],
    effects: bool,
) -> Region:
    inner = replace(emit, block=block, after=(), tokens=[])
    values = list(outputs)
    if effects:
        values.append(inner(JoinOp(tokens)) if len(tokens) > 1 else [*tokens, block.args[count]][0])
    return _finish(emit, block, values, None)


# Calls


@rule("Call", elements=lambda *_, **__: [])
def call(emit: Emitter, *values: SSAValue, function: Subgraph) -> Sequence[SSAValue]:
    """The nodes of a function, in place."""
    from tfc.graph.building import emit_part

    if not emit.strict:
        raise Deferred("a call", [_renewed(emit, t.value.type) for t in function.outputs])
    outputs, tokens = emit_part(function, emit.block, values, emit.after)
    emit.tokens[:] = tokens
    return outputs


def _renewed(emit: Emitter, type_: Attribute) -> Attribute:
    """A type whose unknown extents are those of no other tensor."""
    if not isinstance(type_, TensorType):
        return type_
    dims = [emit.fresh() if isinstance(d, Expr) and is_anonymous(d) else d for d in shape_of(type_)]
    return tensor_type(dims, element(type_))
