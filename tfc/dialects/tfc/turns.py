"""How many turns a loop takes, and which values count them: from counters that its condition compares with a
number or extent."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import TensorType, i1, i32, i64
from xdsl.ir import BlockArgument, SSAValue

from tfc.dialects.tfc.control import WhileOp
from tfc.dialects.tfc.elementwise import AddOp, AndOp, CompareOp, SubOp
from tfc.dialects.tfc.gather import is_integer
from tfc.dialects.tfc.select import CastOp
from tfc.dialects.tfc.shape import IdentityOp
from tfc.dialects.tfc.state import GateOp
from tfc.dialects.tfc.symbolic import contents
from tfc.dialects.tfc.types import element, is_float, is_unsigned
from tfc.dims import Dim, at_least, maximum


def most_turns(op: WhileOp) -> Dim | None:
    """The most turns that a loop takes, from a counter that its condition compares; None if unknown."""
    bounds = [b for part in _parts(op.yielded(op.condition)[0]) if (b := _bound(op, part)) is not None]
    numbers = [b for b in bounds if isinstance(b, int)]
    return min(numbers) if numbers else bounds[0] if bounds else None


def all_turns(op: WhileOp) -> Dim | None:
    """How many turns a loop takes that ends for no other reason than its counter; None if unknown."""
    (*others, only) = _parts(op.yielded(op.condition)[0])
    return None if others else _bound(op, only)


def count_of(op: WhileOp, value: SSAValue) -> tuple[Dim, int] | None:
    """What ``value``, of the body, is in the first turn, and what each turn adds to it; None if it does not count."""
    inner = value.owner
    if not isinstance(value.type, TensorType) or not is_integer(element(value)):
        return None
    if isinstance(value, BlockArgument):
        k = value.index
        if inner is not op.body.block or k >= len(op.carried):
            return None
        start, step = number(op.carried[k]), step_of(op, k)
        return (start, step) if start is not None and isinstance(step, int) else None
    if isinstance(inner, IdentityOp | GateOp):
        return count_of(op, inner.operands[0])
    if isinstance(inner, CastOp) and element(value) in (i32, i64) and is_integer(element(inner.x)):
        return count_of(op, inner.x)
    if isinstance(inner, AddOp | SubOp) and (k := number(inner.y)) is not None:
        found = count_of(op, inner.x)
        return found and (found[0] + (k if isinstance(inner, AddOp) else -k), found[1])
    return None


def visits_all(op: WhileOp, index: SSAValue, rows: Dim) -> bool:
    """Whether ``index``, of the body, is each of the numbers below ``rows`` in one turn."""
    count = count_of(op, index)
    if count is None or all_turns(op) != rows:
        return False
    return count == (0, 1) or count == (rows - 1, -1)


def _parts(value: SSAValue) -> list[SSAValue]:
    """The values that all have to hold."""
    value = _behind(value)
    op = value.owner
    return _parts(op.x) + _parts(op.y) if isinstance(op, AndOp) and element(value) == i1 else [value]


def _behind(value: SSAValue) -> SSAValue:
    """What ``value`` is, whatever it waits for."""
    while isinstance(value.owner, IdentityOp | GateOp):
        value = value.owner.operands[0]
    return value


_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def _bound(op: WhileOp, value: SSAValue) -> Dim | None:
    """The turns that a comparison of a counter with a number lets happen."""
    compare = value.owner
    if not isinstance(compare, CompareOp) or is_float(element(compare.x)):
        return None
    predicate = str(compare.predicate.data)
    left, right = _behind(compare.x), _behind(compare.y)
    for x, y, kind in ((left, right, predicate), (right, left, _MIRRORED.get(predicate))):
        if kind not in _MIRRORED or not isinstance(x, BlockArgument) or x.index >= len(op.carried):
            continue
        start, step, end = number(op.carried[x.index]), step_of(op, x.index), _in_condition(op, y)
        if is_unsigned(element(x)) and kind in ("gt", "ge"):
            continue
        if kind in ("gt", "ge") and start is not None and isinstance(step, int) and end is not None:
            start, step, end, kind = -start, -step, -end, _MIRRORED[kind]  # it counts down
        if kind in ("lt", "le") and start is not None and isinstance(step, int) and step > 0 and end is not None:
            turns = (end + (1 if kind == "le" else 0) - start + step - 1) // step
            return turns if at_least(turns, 0) else maximum(turns, 0)
    return None


def number(value: SSAValue) -> Dim | None:
    """The one element of an integer tensor, if it is known."""
    found = contents(_behind(value))
    if found is None or found.size != 1:
        return None
    dim = found.reshape(-1)[0]
    return int(dim) if isinstance(dim, int | np.integer) else dim


def _in_condition(op: WhileOp, value: SSAValue) -> Dim | None:
    """The same for a value of the condition: an invariant is what is passed to the loop."""
    if isinstance(value, BlockArgument):
        k = value.index
        same = k >= len(op.carried) or _behind(op.yielded(op.body)[k]) is op.body.block.args[k]
        return number(op.operands[k]) if same else None
    return number(value)


def step_of(op: WhileOp, k: int) -> Dim | None:
    """What a turn adds to carried value ``k``; None if it does something else."""
    argument, add = op.body.block.args[k], _behind(op.yielded(op.body)[k]).owner
    if not isinstance(add, AddOp | SubOp) or not is_integer(element(add.result)):
        return None
    x, y = _behind(add.x), _behind(add.y)
    if isinstance(add, SubOp):
        less = number(y) if x is argument and not is_unsigned(element(x)) else None
        return None if less is None else -less
    other = y if x is argument else x if y is argument else None
    return None if other is None else number(other)
