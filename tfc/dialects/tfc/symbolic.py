"""What small integer tensors hold, as numbers or as functions of named dims.

    %s = tfc.shape_of %x : tensor<?x4xf32, #tfc.dims<["batch", ""]>> -> tensor<2xi64>
    %t = tfc.mul %s, %two                      contents(%t) = [2*batch, 8]

Models compute shapes by tensor operations; this follows them without running the program, so that
importers and ``simplify-shapes`` find the amounts of a reshape or slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc.arithmetic import DivOp, FloordivOp, FloormodOp, RemOp
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.elementwise import AddOp, MaxOp, MinOp, MulOp, NegOp, SubOp
from tfc.dialects.tfc.gather import GatherElementsOp, GatherOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.select import CastOp, CompareOp, SelectOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    IdentityOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    ShapeOfOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.state import GateOp
from tfc.dialects.tfc.types import (
    SMALL,
    UNKNOWN_DIM,
    Array,
    dtype_of,
    element,
    is_bool,
    is_float,
    is_static,
    shape_of,
)
from tfc.dims import Dim, Expr, at_least, maximum, names, product
from tfc.errors import TfcError

_UNKNOWN = names(UNKNOWN_DIM)


class _NotKnownError(Exception):
    """Nothing is known of a tensor."""


def contents(value: SSAValue) -> Array | None:
    """The elements of an integer tensor with fewer than `SMALL` of them, as an array of `Dim`.

    An element of which nothing is known contains `UNKNOWN_DIM`; None where that is all there is
    to say. Only static shapes are followed.
    """
    if not isinstance(value.type, TensorType) or is_float(element(value)) or is_bool(element(value)):
        return None
    try:
        return _find(value, {})
    except _NotKnownError:
        return None


def _find(value: SSAValue, seen: dict[SSAValue, Array]) -> Array:
    if value not in seen:
        seen[value] = _evaluate(value, seen)
    return seen[value]


def _evaluate(value: SSAValue, seen: dict[SSAValue, Array]) -> Array:
    op = value.owner
    if not isinstance(op, TensorOp) or len(op.results) != 1 or not _is_small(value):
        raise _NotKnownError
    if isinstance(op, ShapeOfOp):
        if not isinstance(op.x.type, TensorType):
            raise _NotKnownError
        return _objects(list(shape_of(op.x)), (len(shape_of(op.x)),))
    if isinstance(op, ConstantOp):
        return op.value.data.array.astype(object)
    if isinstance(op, GateOp):  # when it is there changes nothing about what it is
        return _find(op.value, seen)
    args = [_find(o, seen) for o in op.operands]
    if all(_is_numeric(a) for a in args):
        return _by_reference(op, args)
    rule = _RULES.get(type(op))
    if rule is None:
        raise _NotKnownError
    return rule(op, *args)


def _is_small(value: SSAValue) -> bool:
    if not isinstance(value.type, TensorType):
        return False
    shape = shape_of(value)
    size = product(shape)
    return is_static(shape) and isinstance(size, int) and size < SMALL and dtype_of(element(value)) not in HALVES


def _is_numeric(array: Array) -> bool:
    return not any(isinstance(d, Expr) for d in array.flat)


def _objects(values: list[Any], shape: tuple[int, ...]) -> Array:
    """An object array of this shape; numpy would try to look inside the elements."""
    result = np.empty(len(values), object)
    result[:] = values
    return result.reshape(shape)


def _by_reference(op: TensorOp, args: list[Array]) -> Array:
    """Numbers alone: the operation's own meaning."""
    return _moved(op, *(a.astype(dtype_of(element(o))) for a, o in zip(args, op.operands, strict=True)))


def _moved(op: TensorOp, *args: Array) -> Array:
    """An operation that only moves elements does the same with symbolic ones."""
    try:
        return np.asarray(op.reference(*args)).astype(object)
    except (NotImplementedError, TfcError, AssertionError, ValueError, IndexError):
        raise _NotKnownError from None  # no meaning without a run, or an error that a run reports


def _indexed(op: TensorOp, x: Array, indices: Array) -> Array:
    if not _is_numeric(indices):
        raise _NotKnownError
    return _moved(op, x, indices.astype(np.int64))


def _cast(op: CastOp, x: Array) -> Array:
    if is_float(op.to) or is_bool(op.to) or is_float(element(op.x)) or is_bool(element(op.x)):
        raise _NotKnownError
    return x


def _elementwise(rule: Callable[..., Dim | bool]) -> Callable[..., Array]:
    """Apply ``rule`` to each element; what depends on an unknown is unknown, even ``u - u``."""

    def apply(op: Operation, *args: Array) -> Array:
        rows = zip(*(a.reshape(-1) for a in args), strict=True)
        return _objects([_known(rule, row) for row in rows], args[0].shape)

    return apply


def _known(rule: Callable[..., Dim | bool], row: tuple[Any, ...]) -> Any:
    if any(isinstance(d, Expr) and names(d) & _UNKNOWN for d in row):
        return UNKNOWN_DIM
    return rule(*row)


def _truncated(x: Dim, y: Dim) -> Dim:
    """The quotient rounded toward zero, which for dims is that rounded down."""
    return x // y if at_least(x, 0) and at_least(y, 1) else UNKNOWN_DIM


def _remainder(x: Dim, y: Dim) -> Dim:
    return x % y if at_least(x, 0) and at_least(y, 1) else UNKNOWN_DIM


def _minimum(x: Dim, y: Dim) -> Dim:
    return x + y - maximum(x, y)


def _compare(op: CompareOp, x: Array, y: Array) -> Array:
    rule = _COMPARISONS[str(op.predicate.data)]

    def decide(a: Dim, b: Dim) -> bool:
        found = rule(a, b)
        if found is None or names(a) & _UNKNOWN or names(b) & _UNKNOWN:
            raise _NotKnownError
        return found

    rows = zip(x.reshape(-1), y.reshape(-1), strict=True)
    return _objects([decide(a, b) for a, b in rows], x.shape)


def _less(x: Dim, y: Dim) -> bool | None:
    return True if at_least(y, x + 1) else False if at_least(x, y) else None


def _equal(x: Dim, y: Dim) -> bool | None:
    if isinstance(x - y, int):
        return x == y
    return False if at_least(x, y + 1) or at_least(y, x + 1) else None


def _negated(found: bool | None) -> bool | None:
    return None if found is None else not found


_COMPARISONS: Mapping[str, Callable[[Dim, Dim], bool | None]] = {
    "eq": _equal,
    "ne": lambda x, y: _negated(_equal(x, y)),
    "lt": _less,
    "ge": lambda x, y: _negated(_less(x, y)),
    "gt": lambda x, y: _less(y, x),
    "le": lambda x, y: _negated(_less(y, x)),
}


def _select(op: SelectOp, condition: Array, x: Array, y: Array) -> Array:
    rows = zip(condition.reshape(-1), x.reshape(-1), y.reshape(-1), strict=True)
    return _objects([a if c else b for c, a, b in rows], x.shape)


def _reduce(op: ReduceOp, x: Array) -> Array:
    combine = _REDUCTIONS.get(str(op.kind.data))
    if combine is None:
        raise _NotKnownError
    rule, start = combine
    axes = list(op.axes.get_values())
    others = [d for d in range(x.ndim) if d not in axes]
    rows = np.transpose(x, [*others, *axes]).reshape(int(np.prod([x.shape[d] for d in others])), -1)
    folded = [reduce(lambda a, b: _known(rule, (a, b)), row[1:], row[0]) if len(row) else start for row in rows]
    return _objects(folded, tuple(x.shape[d] for d in others))


_REDUCTIONS: Mapping[str, tuple[Callable[[Dim, Dim], Dim], int]] = {
    "sum": (lambda x, y: x + y, 0),
    "prod": (lambda x, y: x * y, 1),
    "max": (maximum, -(2**63)),
    "min": (_minimum, 2**63 - 1),
}

_RULES: dict[type[Operation], Callable[..., Array]] = {
    **dict.fromkeys(
        (BroadcastOp, ConcatOp, IdentityOp, PadOp, ReshapeOp, ReverseOp, SliceOp, TransposeOp), _moved
    ),
    GatherOp: _indexed,
    GatherElementsOp: _indexed,
    CastOp: _cast,
    AddOp: _elementwise(lambda x, y: x + y),
    SubOp: _elementwise(lambda x, y: x - y),
    MulOp: _elementwise(lambda x, y: x * y),
    NegOp: _elementwise(lambda x: -x),
    MaxOp: _elementwise(maximum),
    MinOp: _elementwise(_minimum),
    DivOp: _elementwise(_truncated),
    FloordivOp: _elementwise(lambda x, y: x // y if at_least(y, 1) else UNKNOWN_DIM),
    RemOp: _elementwise(_remainder),
    FloormodOp: _elementwise(lambda x, y: x % y if at_least(y, 1) else UNKNOWN_DIM),
    CompareOp: _compare,
    SelectOp: _select,
    ReduceOp: _reduce,
}
