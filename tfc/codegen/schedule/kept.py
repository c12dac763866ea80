"""Rows of costly values that several inner loops read, such as the exponentials of a softmax.

    rows_of(op, [1])        {%exp: Row(trailing=1, summed=<reduce sum %exp>, home=0)}

Each is computed once, in one loop, into memory that the others read: that of the result where it
lies there in the same places and is overwritten last, else a buffer on the thread's stack. A
reduction of the very values is taken in the loop that computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from tfc.codegen.schedule.lanes import compute_type, lane_bits, storage
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.elementwise import ElementwiseOp
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.types import element, is_static, shape_of
from tfc.dims import evaluate, product

BYTES = 64 * 1024
"""The largest buffer for a row: it lives on a thread's stack and in its L1 or L2 cache."""


@dataclass(frozen=True)
class Row:
    """How a value is kept.

    Attributes:
        trailing: the number of dims that make a row: those that the reductions of the value run over.
        summed: a reduction of the row that is taken while it is filled.
        home: the number of the result in whose memory the row lies; None for a buffer of its own.
    """

    trailing: int
    summed: ReduceOp | None = None
    home: int | None = None


def rows_of(op: FusionOp, walked: Sequence[int] = ()) -> dict[SSAValue, Row]:
    """The values of ``op`` that are worth a row.

    Args:
        walked: the dims of the result that its innermost loop walks as one; none where rows may
            not lie in the result.
    """
    users = _users(op)
    kept: dict[SSAValue, Row] = {}
    for inner in op.inner:
        if not isinstance(inner, TensorOp) or not inner.HEAVY:
            continue
        value = inner.results[0]
        loops = _loops_reading(value, users)
        reductions = [r for r in loops if isinstance(r, ReduceOp)]
        if len(loops) < 2 or not reductions:
            continue
        shape, rank = shape_of(value), len(shape_of(value))
        axes = sorted(reductions[0].axes.get_values())
        if axes != list(range(rank - len(axes), rank)):
            continue
        summed = next((r for r in reductions if r.x is value and sorted(r.axes.get_values()) == axes), None)
        row = [d for d in axes if shape[d] != 1]
        taken = any(r.home is not None for r in kept.values())
        if list(walked) == row and not taken and _overwrites(op, value, users):
            kept[value] = Row(len(axes), summed, 0)
        elif is_static(row_shape := shape[rank - len(axes) :]):
            size = evaluate(product(row_shape), {}) * lane_bits(element(value)) // 8
            if size <= BYTES:
                kept[value] = Row(len(axes), summed)
    return kept


def stays_in_place(op: FusionOp, operand: int, kept: dict[SSAValue, Row]) -> bool:
    """Whether no row lies in the result before the last read of ``operand``, whose memory it may have."""
    at_home = [value for value, row in kept.items() if row.home is not None]
    users = _users(op)
    for value in at_home:
        made: set[Operation] = {value.owner} if isinstance(value.owner, Operation) else set()
        for inner in reversed(op.inner):
            if any(u in made for r in inner.results for u in users.get(r, [])):
                made.add(inner)
        reading = _after(op.block.args[operand], users, value)
        if not reading <= made:
            return False
    return True


def heavy_at_the_end(op: FusionOp, kept: dict[SSAValue, Row]) -> bool:
    """Whether the loop that writes the results computes costly values."""
    pending, seen = [*op.results_inside], set[SSAValue]()
    while pending:
        value = pending.pop()
        owner = value.owner
        if value in seen or value in kept or not isinstance(owner, TensorOp) or isinstance(owner, ReduceOp):
            continue
        seen.add(value)
        if owner.HEAVY:
            return True
        pending.extend(owner.operands)
    return False


def _users(op: FusionOp) -> dict[SSAValue, list[Operation]]:
    users: dict[SSAValue, list[Operation]] = {}
    for inner in op.block.ops:
        for operand in inner.operands:
            users.setdefault(operand, []).append(inner)
    return users


def _after(start: SSAValue, users: dict[SSAValue, list[Operation]], end: SSAValue) -> set[Operation]:
    """The operations that depend on ``start``, up to the one that makes ``end``."""
    found: set[Operation] = set()
    pending = [start]
    while pending:
        value = pending.pop()
        if value is not end:
            new = [u for u in users.get(value, []) if u not in found]
            found.update(new)
            pending += [r for u in new for r in u.results]
    return found


def _loops_reading(value: SSAValue, users: dict[SSAValue, list[Operation]]) -> list[Operation]:
    """The reductions and results that read ``value``, through elementwise operations."""
    found: dict[Operation, None] = {}
    pending = [value]
    seen: set[SSAValue] = set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for user in users.get(current, []):
            if isinstance(user, ReduceOp | YieldOp):
                found[user] = None
            else:
                pending.extend(user.results)
    return list(found)


def _overwrites(op: FusionOp, value: SSAValue, users: dict[SSAValue, list[Operation]]) -> bool:
    """Whether the only result takes the places of ``value``, each read last where it is written."""
    if len(op.results_inside) != 1:
        return False
    result = op.results_inside[0]
    if shape_of(result) != shape_of(value) or storage(element(result)) != compute_type(element(value)):
        return False
    pending, seen = [value], set[SSAValue]()
    while pending:
        for user in users.get(pending.pop(), []):
            if isinstance(user, ReduceOp | YieldOp):
                continue  # reductions of the row end before the result is begun
            if not isinstance(user, ElementwiseOp):
                return False
            pending += [r for r in user.results if r not in seen]
            seen.update(user.results)
    return True
