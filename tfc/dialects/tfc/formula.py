"""Arithmetic on tensors: what `decompose` writes.

    f = Formula(emit)
    f.div(1.0, f.add(f.exp(f.neg(x)), 1.0))

A Python number stands for a tensor of the other operand's shape and element type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.base import Emit, TensorOp
from tfc.dialects.tfc.constant import splat_like
from tfc.dialects.tfc.elementwise import (
    AbsOp,
    AddOp,
    CastOp,
    CompareOp,
    DivOp,
    ExpOp,
    Log1pOp,
    LogOp,
    MaxOp,
    MinOp,
    MulOp,
    NegOp,
    RsqrtOp,
    SelectOp,
    SubOp,
    TanhOp,
)
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, TransposeOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim

Value: TypeAlias = "SSAValue | float"


class Formula:
    """Tensor arithmetic through ``emit``; each method is one operation."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit

    def _binary(self, op: type[TensorOp], x: Value, y: Value) -> SSAValue:
        if not isinstance(x, SSAValue):
            assert isinstance(y, SSAValue), "one of the two is a tensor"
            x = splat_like(self.emit, y, x)
        y = y if isinstance(y, SSAValue) else splat_like(self.emit, x, y)
        return self.emit(op(x, y))  # pyright: ignore[reportCallIssue] # a BinaryOp

    def add(self, x: Value, y: Value) -> SSAValue:
        return self._binary(AddOp, x, y)

    def sub(self, x: Value, y: Value) -> SSAValue:
        return self._binary(SubOp, x, y)

    def mul(self, x: Value, y: Value) -> SSAValue:
        return self._binary(MulOp, x, y)

    def div(self, x: Value, y: Value) -> SSAValue:
        return self._binary(DivOp, x, y)

    def max(self, x: Value, y: Value) -> SSAValue:
        return self._binary(MaxOp, x, y)

    def min(self, x: Value, y: Value) -> SSAValue:
        return self._binary(MinOp, x, y)

    def neg(self, x: SSAValue) -> SSAValue:
        return self.emit(NegOp(x))

    def abs(self, x: SSAValue) -> SSAValue:
        return self.emit(AbsOp(x))

    def exp(self, x: SSAValue) -> SSAValue:
        return self.emit(ExpOp(x))

    def log(self, x: SSAValue) -> SSAValue:
        return self.emit(LogOp(x))

    def log1p(self, x: SSAValue) -> SSAValue:
        return self.emit(Log1pOp(x))

    def tanh(self, x: SSAValue) -> SSAValue:
        return self.emit(TanhOp(x))

    def rsqrt(self, x: SSAValue) -> SSAValue:
        return self.emit(RsqrtOp(x))

    def cast(self, x: SSAValue, to: Attribute) -> SSAValue:
        return x if element(x) == to else self.emit(CastOp(x, to))

    def compare(self, predicate: str, x: SSAValue, y: Value) -> SSAValue:
        y = y if isinstance(y, SSAValue) else splat_like(self.emit, x, y)
        return self.emit(CompareOp(predicate, x, y))

    def select(self, condition: SSAValue, x: Value, y: Value) -> SSAValue:
        if not isinstance(x, SSAValue):
            assert isinstance(y, SSAValue), "one of the two is a tensor"
            x = splat_like(self.emit, y, x)
        y = y if isinstance(y, SSAValue) else splat_like(self.emit, x, y)
        return self.emit(SelectOp(condition, x, y))

    def zeros(self, x: SSAValue) -> SSAValue:
        """Zeros with the type of ``x``."""
        return splat_like(self.emit, x, 0)

    def reduce(self, kind: str, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        return self.emit(ReduceOp(x, kind, axes))

    def reshape(self, x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
        return x if tuple(shape) == shape_of(x) else self.emit(ReshapeOp(x, shape))

    def transpose(self, x: SSAValue, perm: Sequence[int]) -> SSAValue:
        return x if list(perm) == list(range(len(perm))) else self.emit(TransposeOp(x, perm))

    def broadcast(self, x: SSAValue, shape: Sequence[Dim], dims: Sequence[int]) -> SSAValue:
        return x if tuple(shape) == shape_of(x) else self.emit(BroadcastOp(x, shape, dims))

    def spread(self, x: SSAValue, like: SSAValue, axes: Sequence[int]) -> SSAValue:
        """What a reduction over ``axes`` left, repeated along them to the shape of ``like``."""
        shape = shape_of(like)
        return self.broadcast(x, shape, [d for d in range(len(shape)) if d not in axes])

    def along(self, x: SSAValue, like: SSAValue, axis: int) -> SSAValue:
        """The list ``x`` along one axis of the shape of ``like``."""
        return self.broadcast(x, shape_of(like), [axis])
