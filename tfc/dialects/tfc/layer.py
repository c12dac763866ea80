"""What layers of floats share: their checks, and f16 and bf16 computed in f32, rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import FloatAttr, f32, f64
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.base import Emit, TensorOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import accumulated
from tfc.dialects.tfc.types import (
    Array,
    compatible,
    dtype_of,
    element,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.errors import require

Real = FloatAttr.constr(f64)


class LayerOp(TensorOp):
    """A layer on the float tensor ``x`` whose result has its type.

    (C1) ``x`` is of floating point.
    """

    def infer(self) -> Sequence[Attribute]:
        x = self.operands[0]
        require(is_float(element(x)), self, "C1", "elements of floating point", element(x))
        return [x.type]

    def check_axis(self, axis: int, label: str = "C2") -> None:
        rank = len(shape_of(self.operands[0]))
        require(0 <= axis < rank, self, label, f"an axis below {rank}", axis)

    def check_list(self, value: SSAValue, axis: int, label: str) -> None:
        """That ``value`` has one element for each along ``axis`` of ``x``."""
        x = self.operands[0]
        extent, kind = shape_of(x)[axis], element(x)
        shape = shape_of(value)
        fits = len(shape) == 1 and compatible(shape[0], extent) and element(value) == kind
        require(fits, self, label, tensor_type([extent], kind), value.type)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, kind = Formula(emit), element(self.operands[0])
        half = dtype_of(kind) in HALVES
        wide = [f.cast(o, f32) if half and element(o) == kind else o for o in self.operands]
        return [f.cast(self.formula(f, *wide), kind)]

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        """The result in tensor arithmetic, of f32 where operands are f16 or bf16."""
        raise NotImplementedError

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            wide = [accumulated(a) if a.dtype == args[0].dtype else a for a in args]
            return np.asarray(self.numpy(*wide)).astype(args[0].dtype)

    def numpy(self, *args: Array) -> Array:
        """The result in numpy, of f64."""
        raise NotImplementedError

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, kind = Formula(emit), element(self.operands[0])
        to = f32 if dtype_of(kind) in HALVES else kind
        wide = [f.cast(v, to) if element(v) == kind else v for v in (g[0], self.results[0], *self.operands)]
        better = self.pull(f, *wide)
        if better is None:
            return super().grad(emit, *g)
        return [None if v is None else f.cast(v, kind) for v in better]

    def pull(self, f: Formula, g: SSAValue, y: SSAValue, *args: SSAValue) -> Sequence[SSAValue | None] | None:
        """The gradients of the operands ``args``, where there are better ones than those of `formula`.

        ``y`` is the result. All are f32 where operands are f16 or bf16.
        """
        return None
