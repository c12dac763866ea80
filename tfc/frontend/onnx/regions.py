"""Branches and loops of `tfc` around operations that see the values outside.

    branch(emit, p, lambda: [f(x)], lambda: [g(x)])
    loop(emit, [i, s], lambda i, s: less(i, n), lambda i, s: [plus(i, one), f(s)])

The functions emit into a block of their own; what they read from outside becomes an argument of the region
afterwards, or is made again in it where it is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.ir import Operation as AnyOperation
from xdsl.traits import Pure

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.control import IfOp, WhileOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.types import agrees, element, joined, shape_of
from tfc.errors import ModelFileError
from tfc.frontend.onnx.values import Emitter

Body = Callable[..., Sequence[SSAValue]]
_ATTEMPTS = 8
"""So often a loop is emitted again, with extents that are open where the body changes them."""


def branch(emit: Emitter, predicate: SSAValue, then: Body, otherwise: Body) -> Sequence[SSAValue]:
    """What one of two functions gives.

    Raises:
        ModelFileError: they give values of types that cannot be one.
    """
    blocks = [_filled(emit, [], function) for function in (then, otherwise)]
    types = [[v.type for v in _yielded(b)] for b in blocks]
    if len(types[0]) != len(types[1]):
        raise ModelFileError(f"the branches give {len(types[0])} and {len(types[1])} values")
    for k, (x, y) in enumerate(zip(*types, strict=True)):
        if not agrees(x, y):
            raise ModelFileError(f"result {k} of the branches: expected one type, got {x} and {y}")
    captured = _isolate(blocks)
    return _emitted(emit, IfOp(predicate, captured, *map(Region, blocks)))


def loop(
    emit: Emitter, carried: Sequence[SSAValue], condition: Body, body: Body
) -> Sequence[SSAValue]:
    """The last ``carried`` values.

    Raises:
        ModelFileError: the body gives a value of a type that the loop cannot carry.
    """
    types = [v.type for v in carried]
    for _ in range(_ATTEMPTS):
        inner = _filled(emit, types, body)
        found = [
            _next_type(k, *pair)
            for k, pair in enumerate(zip(types, (v.type for v in _yielded(inner)), strict=True))
        ]
        if found == types:
            asked = _filled(emit, types, condition)
            captured = _isolate([asked, inner], len(types))
            return _emitted(emit, WhileOp(carried, captured, Region(asked), Region(inner)))
        _discard(inner)
        types = found
    raise ModelFileError("the extents of what the loop carries do not settle")


def _next_type(k: int, given: Attribute, made: Attribute) -> Attribute:
    if agrees(given, made):
        return given
    if element(given) == element(made) and len(shape_of(given)) == len(shape_of(made)):
        return joined(given, made)
    raise ModelFileError(
        f"value {k} that the loop carries has to keep its type: expected {given}, got {made}"
    )


def _filled(emit: Emitter, types: Sequence[Attribute], function: Body) -> Block:
    """A block with what ``function`` emits on its arguments."""
    block, around = Block(arg_types=types), emit.block
    emit.block = block
    try:
        results = function(*block.args)
    finally:
        emit.block = around
    for op in reversed(list(block.ops)):
        if (
            not any(r.first_use for r in op.results)
            and op.has_trait(Pure)
            and not _gives(op, results)
        ):
            block.erase_op(op)
    end = YieldOp(list(results))
    end.location = emit.location
    block.add_op(end)
    return block


def _gives(op: AnyOperation, results: Sequence[SSAValue]) -> bool:
    return any(r.owner is op for r in results)


def _yielded(block: Block) -> Sequence[SSAValue]:
    last = block.last_op
    assert isinstance(last, YieldOp), "every block has been given one"
    return last.operands


def _isolate(blocks: Sequence[Block], arguments: int = 0) -> list[SSAValue]:
    """Let the blocks read arguments, after the first ``arguments``, in place of values from outside; gives those."""
    outside = dict.fromkeys(
        o for block in blocks for op in block.ops for o in op.operands if _is_outside(o, block)
    )
    captured = [v for v in outside if not isinstance(v.owner, ConstantOp)]
    for block in blocks:
        inside: dict[SSAValue, SSAValue] = {}
        for k, v in enumerate(captured):
            inside[v] = block.insert_arg(v.type, arguments + k)
        for op in list(block.ops):
            if any(_is_outside(o, block) for o in op.operands):
                op.operands = [_inside(o, block, inside) for o in op.operands]
    return captured


def _is_outside(value: SSAValue, block: Block) -> bool:
    owner = value.owner
    return (owner if isinstance(owner, Block) else owner.parent) is not block


def _inside(value: SSAValue, block: Block, inside: dict[SSAValue, SSAValue]) -> SSAValue:
    if not _is_outside(value, block):
        return value
    if value not in inside:
        assert isinstance(value.owner, ConstantOp), "all others are arguments"
        made = value.owner.clone()
        first = block.first_op
        assert first is not None, "the block ends with a yield"
        block.insert_op_before(made, first)
        inside[value] = made.results[0]
    return inside[value]


def _discard(block: Block) -> None:
    for op in reversed(list(block.ops)):
        block.erase_op(op, safe_erase=False)


def _emitted(emit: Emitter, op: AnyOperation) -> Sequence[SSAValue]:
    op.location = emit.location
    emit.block.add_op(op)
    return op.results


def tried(emit: Emitter, types: Sequence[Attribute], function: Body) -> list[Attribute]:
    """The types of what ``function`` gives for arguments of ``types``; nothing of it is kept."""
    block = _filled(emit, types, function)
    found = [v.type for v in _yielded(block)]
    _discard(block)
    return found
