"""Layers that bring numbers to one scale: by their own spread, by that of a batch, by neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    operand_def,
    opt_operand_def,
    prop_def,
    result_def,
)

from tfc.dialects.tfc.activation import real
from tfc.dialects.tfc.base import Sample, float_range, tfc_op
from tfc.dialects.tfc.constant import splat
from tfc.dialects.tfc.elementwise import PowOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.layer import LayerOp, Real
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import MeanOp, WindowReduceOp, window_view
from tfc.dialects.tfc.shape import Integer, integer
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    compatible,
    element,
    shape_of,
    tensor_type,
)
from tfc.errors import require


@tfc_op
class LayerNormOp(LayerOp):
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over the dims from ``axis`` on.

    The variance is the mean of the squared distances from the mean: two passes, no cancellation.

    (C1) ``x`` is of floating point.
    (C2) ``axis`` is one of its dims.
    (C3) ``scale`` and ``bias`` have the extents and elements of the normalised dims.

    Source: ONNX ``LayerNormalization``, ``tf.keras.layers.LayerNormalization``.
    """

    name = "tfc.layer_norm"
    x = operand_def(Tensor)
    scale = opt_operand_def(Tensor)
    bias = opt_operand_def(Tensor)
    axis = prop_def(Integer)
    epsilon = prop_def(Real)
    result = result_def(Tensor)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$x (`scale` $scale^)? (`bias` $bias^)? `from` $axis `epsilon` $epsilon attr-dict "
        "`:` type($x) (`scale` type($scale)^)? (`bias` type($bias)^)? `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        scale: SSAValue | Operation | None,
        bias: SSAValue | Operation | None,
        axis: int,
        epsilon: float,
    ) -> None:
        optional = [[] if v is None else [SSAValue.get(v)] for v in (scale, bias)]
        properties = {"axis": integer(axis), "epsilon": real(epsilon)}
        self.construct([SSAValue.get(x), *optional], properties)

    def infer(self) -> Sequence[Attribute]:
        axis, x = self.axis.value.data, shape_of(self.x)
        self.check_axis(axis)
        wanted = tensor_type(x[axis:], element(self.x))
        for value in (self.scale, self.bias):
            if value is not None:
                shape = shape_of(value)
                fits = len(shape) == len(x) - axis and all(map(compatible, shape, x[axis:]))
                fits = fits and element(value) == element(self.x)
                require(fits, self, "C3", wanted, value.type)
        return super().infer()

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x, *rest = args
        rank, axis = len(shape_of(x)), self.axis.value.data
        axes = inner = list(range(axis, rank))
        centred, inverse = self._centred(f, x)
        result = f.mul(centred, f.spread(inverse, x, axes))
        if self.scale is not None:
            result = f.mul(result, f.broadcast(rest.pop(0), shape_of(x), inner))
        return result if self.bias is None else f.add(result, f.broadcast(rest.pop(0), shape_of(x), inner))

    def numpy(self, *args: Array) -> Array:
        x, *rest = args
        axes = tuple(range(self.axis.value.data, x.ndim))
        centred = x - x.mean(axes, keepdims=True)
        variance = (centred * centred).mean(axes, keepdims=True)
        result = centred / np.sqrt(variance + self.epsilon.value.data)
        result = result * rest.pop(0) if self.scale is not None else result
        return result if self.bias is None else result + rest.pop(0)

    def pull(self, f: Formula, g: SSAValue, y: SSAValue, *args: SSAValue) -> Sequence[SSAValue | None]:
        x, *rest = args
        rank, axis = len(shape_of(x)), self.axis.value.data
        axes = list(range(axis, rank))
        centred, inverse = self._centred(f, x)
        spread = f.spread(inverse, x, axes)
        normal = f.mul(centred, spread)
        scale = rest[0] if self.scale is not None else None
        own = g if scale is None else f.mul(g, f.broadcast(scale, shape_of(x), axes))
        mean, along = (f.spread(f.emit(MeanOp(v, axes)), x, axes) for v in (own, f.mul(own, normal)))
        to_x = f.mul(spread, f.sub(f.sub(own, mean), f.mul(normal, along)))
        rows = list(range(axis))
        to_scale = [] if self.scale is None else [f.reduce("sum", f.mul(g, normal), rows)]
        return [to_x, *to_scale, *([] if self.bias is None else [f.reduce("sum", g, rows)])]

    def _centred(self, f: Formula, x: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The distances from the mean, and one divided by the standard deviation."""
        axes = list(range(self.axis.value.data, len(shape_of(x))))
        centred = f.sub(x, f.spread(f.emit(MeanOp(x, axes)), x, axes))
        variance = f.emit(MeanOp(f.mul(centred, centred), axes))
        return centred, f.rsqrt(f.add(variance, self.epsilon.value.data))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(3, 5, 8) + 100
        scale, bias = float_range(8), float_range(8, low=0.5)
        plane = float_range(5, 8)
        out = [
            Sample(lambda x, s, b: cls(x, s, b, 2, 1e-5), x, scale, bias, tolerance=1e-4),
            Sample(lambda x, s: cls(x, s, None, 2, 1e-3), x, scale, tolerance=1e-4),
            Sample(lambda x, b: cls(x, None, b, 1, 1e-5), x, plane, tolerance=1e-4),
            Sample(lambda x: cls(x, None, None, 1, 1e-5), x - 100, tolerance=1e-4),
        ]
        with_all = out[0].make
        out += [Sample(with_all, *((a - 50).astype(t) for a in (x, scale, bias)), tolerance=1e-3) for t in (*HALVES, np.float64)]
        return out


@tfc_op
class BatchNormOp(LayerOp):
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias``, each a list along ``axis``.

    It is a product and a sum, ``x * factor + (bias - mean * factor)``: NaN where ``variance + epsilon`` is 0.

    (C1) ``x`` is of floating point.
    (C2) ``axis`` is one of its dims.
    (C3) The four lists have one element, of the type of ``x``, for each along ``axis``.

    Source: ``tf.nn.batch_normalization``.
    """

    name = "tfc.batch_norm"
    x = operand_def(Tensor)
    scale = operand_def(Tensor)
    bias = operand_def(Tensor)
    mean = operand_def(Tensor)
    variance = operand_def(Tensor)
    epsilon = prop_def(Real)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$x `scale` $scale `bias` $bias `mean` $mean `variance` $variance `along` $axis `epsilon` $epsilon "
        "attr-dict `:` type($x) `,` type($scale) `,` type($bias) `,` type($mean) `,` type($variance) "
        "`->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        scale: SSAValue | Operation,
        bias: SSAValue | Operation,
        mean: SSAValue | Operation,
        variance: SSAValue | Operation,
        epsilon: float,
        axis: int,
    ) -> None:
        values = [SSAValue.get(v) for v in (x, scale, bias, mean, variance)]
        self.construct(values, {"epsilon": real(epsilon), "axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        self.check_axis(self.axis.value.data)
        for value in self.operands[1:]:
            self.check_list(value, self.axis.value.data, "C3")
        return super().infer()

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x, scale, bias, mean, variance = args
        axis = self.axis.value.data
        # Two lists computed once, so that a whole tensor costs one product and one sum.
        factor = f.mul(scale, f.rsqrt(f.add(variance, self.epsilon.value.data)))
        offset = f.sub(bias, f.mul(mean, factor))
        return f.add(f.mul(x, f.along(factor, x, axis)), f.along(offset, x, axis))

    def numpy(self, *args: Array) -> Array:
        x, *lists = args
        shape = [-1 if d == self.axis.value.data else 1 for d in range(x.ndim)]
        scale, bias, mean, variance = (v.reshape(shape) for v in lists)
        factor = scale / np.sqrt(variance + self.epsilon.value.data)
        return x * factor + (bias - mean * factor)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(axis: int) -> Any:
            return lambda x, *lists: cls(x, *lists, 1e-3, axis)  # pyright: ignore[reportCallIssue] # four lists

        x = float_range(2, 3, 4, 5)
        out: list[Sample] = []
        for axis, n in ((1, 3), (3, 5)):
            lists = [float_range(n), float_range(n, low=0.3), float_range(n, high=1.0), float_range(n, low=0.1)]
            for t in (np.float32, np.float64, np.float16):
                out.append(Sample(make(axis), *(a.astype(t) for a in (x, *lists)), tolerance=1e-4))
        no_spread = [float_range(2, 3), *(np.ones(3, np.float32),) * 3, np.zeros(3, np.float32)]
        return [*out, Sample(lambda *args: cls(*args, 0.0, 1), *no_spread)]  # pyright: ignore[reportCallIssue] # four lists


@tfc_op
class LrnOp(LayerOp):
    """``x / (bias + alpha * sum of x*x over size neighbours along axis)**beta``.

    The window reaches ``(size - 1) // 2`` elements down and ``size // 2`` up; ``alpha`` is not divided
    by ``size``.

    (C1) ``x`` is of floating point.
    (C2) ``axis`` is one of its dims, and ``size`` at least 1.

    Source: ``tf.nn.local_response_normalization``; ONNX ``LRN`` with ``alpha / size``.
    """

    name = "tfc.lrn"
    x = operand_def(Tensor)
    axis = prop_def(Integer)
    size = prop_def(Integer)
    alpha = prop_def(Real)
    beta = prop_def(Real)
    bias = prop_def(Real)
    result = result_def(Tensor)
    assembly_format = (
        "$x `along` $axis `size` $size `alpha` $alpha `beta` $beta `bias` $bias attr-dict "
        "`:` type($x) `->` type($result)"
    )

    def __init__(
        self, x: SSAValue | Operation, axis: int, size: int, alpha: float, beta: float, bias: float
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "axis": integer(axis),
            "size": integer(size),
            "alpha": real(alpha),
            "beta": real(beta),
            "bias": real(bias),
        }
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        self.check_axis(self.axis.value.data)
        require(self.size.value.data >= 1, self, "C2", "a size of at least 1", self.size.value.data)
        return super().infer()

    def _windows(self) -> list[list[int]]:
        rank, axis, size = len(shape_of(self.x)), self.axis.value.data, self.size.value.data

        def only(value: int, other: int) -> list[int]:
            return [value if d == axis else other for d in range(rank)]

        ones = [1] * rank
        return [only(size, 1), ones, ones, only((size - 1) // 2, 0), only(size // 2, 0)]

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x = args[0]
        total = f.emit(WindowReduceOp(f.mul(x, x), "sum", *self._windows()))
        base = f.add(f.mul(total, self.alpha.value.data), self.bias.value.data)
        beta = splat(f.emit, shape_of(x), self.beta.value.data, element(x))
        return f.div(x, f.emit(PowOp(base, beta)))

    def numpy(self, *args: Array) -> Array:
        x = args[0]
        view = window_view(x * x, self._windows(), 0)
        total = view.sum(tuple(range(x.ndim, 2 * x.ndim)))
        return x / (self.bias.value.data + self.alpha.value.data * total) ** self.beta.value.data

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda x: cls(x, *args)

        x = float_range(2, 7, 3)
        cases = [(1, 5, 0.02, 0.75, 1.0), (1, 4, 0.5, 0.5, 2.0), (2, 1, 1.0, 1.0, 1.0), (1, 13, 0.1, 0.75, 1.0)]
        return [Sample(make(*c), x.astype(t), tolerance=1e-4) for c in cases for t in (np.float32, np.float16)]
