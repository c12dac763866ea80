"""Compute what does not depend on the inputs while compiling.

    %a = tfc.constant [1.0, 2.0]
    %b = tfc.neg %a               ->   %b = tfc.constant [-1.0, -2.0]

The value is that of the operation's `reference`, which is its meaning. A splat stays a splat:
an elementwise operation on splats is computed on one element, and moving one costs nothing,
whatever its shape. Nothing random and nothing with an effect is folded.

Two budgets keep this cheap. ``max_bytes`` bounds what one fold may add to the program: the
bytes of its result less those of operands that die with it, so that a weight of any size may
be transposed but a small constant is not broadcast to a large one. ``max_seconds`` bounds
the time that the whole pass may spend in numpy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, ReverseOp, SliceOp, TransposeOp
from tfc.dialects.tfc.state import StateOp
from tfc.dialects.tfc.types import (
    Array,
    Literal,
    LiteralAttr,
    dtype_of,
    element,
    is_static,
    shape_of,
)
from tfc.errors import RunError
from tfc.passes.effects import is_pure
from tfc.passes.elementwise import ELEMENTWISE
from tfc.passes.rewriting import Emitter, replace

MOVES = (BroadcastOp, ReshapeOp, ReverseOp, SliceOp, TransposeOp)
"""Operations that numpy does without touching an element, or by one copy."""

FREE = (BroadcastOp, IotaOp)
"""Operations that cost a kernel nothing: folding one would only add bytes to the program."""

ELEMENTS_PER_SECOND = 2e7
"""A low guess of numpy's speed on the work that `_work` counts."""


@dataclass(frozen=True)
class FoldConstants(ModulePass):
    """Compute what does not depend on the inputs while compiling."""

    name = "fold-constants"
    max_bytes: int = 4 << 20
    """What one fold may add to the program."""
    max_seconds: float | int = 20.0
    """What all folds together may take."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _Folder(self).run(op)


@dataclass
class _Folder:
    budget: FoldConstants
    spent: float = 0.0
    folded: int = 0
    refused: int = 0
    """How many folds would have made the program larger."""

    def run(self, root: Operation) -> None:
        while True:
            self.folded = self.refused = 0
            for op in list(root.walk()):
                if op.parent is not None and isinstance(op, TensorOp) and _may_fold(op):
                    self._fold(op)
            if not (self.folded and self.refused):
                return  # else a constant may have lost users, so that replacing it adds less

    def _fold(self, op: TensorOp) -> None:
        literals = [_known(o) for o in op.operands]
        args = [x for x in literals if x is not None]
        if len(args) != len(literals):
            return
        start = time.perf_counter()
        try:
            values = self._values(op, args)
        except RunError:
            return  # the run says so, if it comes there: a branch may not be taken
        self.spent += time.perf_counter() - start
        if values is None:
            return
        emit = Emitter(op)
        constants = [emit(ConstantOp(LiteralAttr.of(v))) for v in values]
        if any(c.type != r.type for c, r in zip(constants, op.results, strict=True)):
            emit.undo()  # the result's type is vague: simplify-shapes comes first
            return
        replace(op, constants)
        self.folded += 1
        for literal in args:
            literal.release()

    def _values(self, op: TensorOp, literals: Sequence[Literal]) -> Sequence[Array] | None:
        splats = bool(literals) and all(x.is_splat and x.array.size for x in literals)
        if splats and isinstance(op, ELEMENTWISE):
            one = _computed(op, [x.array.reshape(-1)[:1] for x in literals])
            return [np.broadcast_to(one[0][0], _sizes(op.results[0]))]
        if splats and isinstance(op, MOVES):
            return [np.broadcast_to(literals[0].array.reshape(-1)[0], _sizes(op.results[0]))]
        grows = _grows(op)
        if grows > self.budget.max_bytes or (grows > 0 and isinstance(op, FREE)):
            self.refused += 1
            return None
        left = self.budget.max_seconds - self.spent
        if left <= 0 or _work(op, literals) / ELEMENTS_PER_SECOND > left:
            return None
        return _computed(op, [x.array for x in literals])


def _may_fold(op: TensorOp) -> bool:
    if isinstance(op, ConstantOp | StateOp) or isinstance(op.parent_op(), FusionOp):
        return False
    if not all(isinstance(o.owner, (ConstantOp, *FREE)) for o in op.operands):
        return False
    return is_pure(op) and all(_is_known(r) for r in op.results) and not op.regions


def _known(value: SSAValue) -> Literal | None:
    """A constant, or what a free operation makes of constants: a view, without bytes of its own."""
    owner = value.owner
    if isinstance(owner, ConstantOp):
        return owner.value.data
    if not isinstance(owner, FREE) or not _is_known(value):
        return None
    literals = [_known(o) for o in owner.operands]
    args = [x.array for x in literals if x is not None]
    return Literal(_computed(owner, args)[0]) if len(args) == len(literals) else None


def _grows(op: TensorOp) -> int:
    """The bytes that folding adds to the program."""
    made = sum(math.prod(_sizes(r)) * dtype_of(element(r)).itemsize for r in op.results)
    freed = 0
    for value in {o for o in op.operands if all(use.operation is op for use in o.uses)}:
        if isinstance(value.owner, ConstantOp) and not value.owner.value.data.is_splat:
            freed += value.owner.value.data.array.nbytes
    return made - freed


def _computed(op: TensorOp, args: Sequence[Array]) -> Sequence[Array]:
    found = op.reference(*args)
    return found if isinstance(found, tuple) else (np.asarray(found),)


def _is_known(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType) and is_static(shape_of(value))


def _sizes(value: SSAValue) -> list[int]:
    return [d for d in shape_of(value) if isinstance(d, int)]


def _work(op: TensorOp, literals: Sequence[Literal]) -> float:
    """About how many elements numpy touches; for a contraction, how many products it adds."""
    results = sum(math.prod(_sizes(r)) for r in op.results)
    operands = [x.array.size for x in literals]
    if isinstance(op, MOVES):
        return results / 50
    if op.name in ("tfc.dot", "tfc.convolution", "tfc.contract"):
        return results * math.sqrt(math.prod(operands) / max(results, 1))
    return results + sum(operands)
