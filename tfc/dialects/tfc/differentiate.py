"""Gradients through a list of operations, from the last to the first.

    %y = tfc.dot %x, %w         vjp([dot], [(%y, %g)], [%x, %w], emit)
                                %dx = tfc.dot %g, %w
                                %dw = tfc.dot %x, %g

Each operation says itself what its operands get from its results (`TensorOp.grad`). Here their answers are
put together: only operations between the inputs and the seeds are asked, and a value that several
of them read gets the sum. Of a value that was cut into slices, which get their gradients one by one, it is
these beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc.base import Emit, TensorOp
from tfc.dialects.tfc.types import element, is_float, shape_of
from tfc.dims import Dim
from tfc.errors import GraphError, InternalError

if TYPE_CHECKING:
    from tfc.dialects.tfc.pieces import ConcatOp, PadOp

Gradient = SSAValue | None
"""A value of the type of what it is the gradient of; None is zero."""

Seeds = Iterable[tuple[SSAValue, Gradient]]
"""Values, each with its gradient."""


class MissingGradient(GraphError):
    """An operation between the inputs and the result that cannot be differentiated."""


def vjp(
    ops: Sequence[Operation], seeds: Seeds, inputs: Sequence[SSAValue], emit: Emit
) -> list[Gradient]:
    """The gradients of ``inputs``, given those of some results of ``ops``.

    Args:
        ops: operations in an order in which they can run.
        seeds: results (or inputs) and their gradients.
        inputs: values that come before ``ops``. Of one that is listed twice, the first has it all.

    Raises:
        MissingGradient: an operation on the way has none.
    """
    reached, path = _between(ops, inputs)
    found: dict[SSAValue, list[SSAValue]] = {}
    for value, g in seeds:
        found.setdefault(value, []).extend([] if g is None else [g])
    for op in reversed(path):
        gs = [_sum(emit, found.pop(r, [])) for r in op.results]
        if any(g is not None for g in gs):
            operands = list(op.operands)
            wanted = [o in reached for o in operands]
            for operand, g in zip(operands, _gradients(op, emit, gs, wanted), strict=True):
                if g is not None:
                    found.setdefault(operand, []).append(fitted(emit, g, operand))
    return [_sum(emit, found.pop(v, [])) for v in inputs]


def _gradients(
    op: Operation, emit: Emit, gs: Sequence[Gradient], wanted: Sequence[bool]
) -> Sequence[Gradient]:
    """What the operands of ``op`` get; integers and bools have no gradient."""
    assert isinstance(op, TensorOp), "only tensor operations give tensors"
    if op.regions:
        from tfc.dialects.tfc.control import RegionOp
        from tfc.dialects.tfc.control_gradient import of_region

        assert isinstance(op, RegionOp), "only branches and loops have regions before fusion"
        return of_region(op, emit, gs, wanted)
    return [g if is_real(o) else None for g, o in zip(op.grad(emit, *gs), op.operands, strict=True)]


def of_composite(op: TensorOp, emit: Emit, gs: Sequence[Gradient]) -> Sequence[Gradient]:
    """The gradient of what a composite is made of.

    Raises:
        MissingGradient: it is no composite.
    """
    if not op.is_composite():
        raise MissingGradient(f"'{op.name}' has no gradient")
    made: list[Operation] = []

    def record(new: Operation) -> SSAValue:
        made.append(new)
        return emit(new)

    return vjp(made, zip(op.decompose(record), gs, strict=True), op.operands, emit)


def is_real(value: SSAValue) -> bool:
    """Whether a value has a gradient at all: it is a tensor of floats."""
    return isinstance(value.type, TensorType | UnrankedTensorType) and is_float(element(value))


def fitted(emit: Emit, g: SSAValue, value: SSAValue) -> SSAValue:
    """``g`` in the type of ``value``: extents that were written differently, and are equal."""
    from tfc.dialects.tfc.shape import ReshapeOp

    if g.type == value.type:
        return g
    if element(g) != element(value) or len(shape_of(g)) != len(shape_of(value)):
        raise InternalError(f"a gradient of {value.type} is {g.type}")
    return emit(ReshapeOp(g, shape_of(value)))


def _between(
    ops: Sequence[Operation], inputs: Sequence[SSAValue]
) -> tuple[set[SSAValue], list[Operation]]:
    """What depends on ``inputs``, and the operations that do and give floats."""
    reached, path = set(inputs), list[Operation]()
    for op in ops:
        if not reached.isdisjoint(op.operands) and (real := [r for r in op.results if is_real(r)]):
            reached.update(real)
            path.append(op)
    return reached, path


def _sum(emit: Emit, gs: Sequence[SSAValue]) -> Gradient:
    """All that a value gets."""
    from tfc.dialects.tfc.elementwise import AddOp

    parts = _beside(gs)
    if parts is not None:
        gs = [emit(parts)]
    total: Gradient = None
    for g in gs:
        total = g if total is None else emit(AddOp(total, g))
    return total


def _beside(gs: Sequence[SSAValue]) -> ConcatOp | None:
    """What lies in zeros, each elsewhere along one axis and together everywhere, as one value."""
    from tfc.dialects.tfc.constant import ConstantOp
    from tfc.dialects.tfc.pieces import ConcatOp, PadOp

    pads = [op for g in gs if isinstance(op := g.owner, PadOp) and not any(op.interior.get_values())]
    if len(pads) < 2 or len(pads) < len(gs) or not all(
        isinstance(value := op.value.owner, ConstantOp) and not value.value.data.array.any() for op in pads
    ):
        return None
    moved = {d for op in pads for d, (a, b) in enumerate(_ends(op)) if a or b}
    if len(moved) != 1:
        return None
    (axis,) = moved
    pads.sort(key=lambda op: _ends(op)[axis][0])
    place: Dim = 0
    for op in pads:
        if _ends(op)[axis][0] != place:
            return None
        place = place + shape_of(op.x)[axis]
    return ConcatOp([op.x for op in pads], axis) if place == shape_of(gs[0])[axis] else None


def _ends(op: PadOp) -> list[tuple[int, int]]:
    return list(zip(op.low.get_values(), op.high.get_values(), strict=True))
