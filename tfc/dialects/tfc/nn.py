"""Layers of neural networks, as composites of reductions, contractions and arithmetic.

f16 and bf16 are computed in f32 inside a layer that reduces, and rounded once at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import FloatAttr, IntegerType, UnitAttr, f32, f64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
)

from tfc.dialects.tfc.activation import real
from tfc.dialects.tfc.base import Emit, Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.constant import ConstantOp, IotaOp, splat
from tfc.dialects.tfc.elementwise import CompareOp, PowOp, SelectOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import MeanOp, WindowOp, WindowReduceOp, accumulated, window_view
from tfc.dialects.tfc.shape import BroadcastOp, Integer, IntList, integer
from tfc.dialects.tfc.types import (
    Array,
    Shape,
    Tensor,
    compatible,
    dtype_of,
    element,
    is_bool,
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


def _softmax_samples(cls: Any) -> Sequence[Sample]:
    def make(axis: int) -> Any:
        return lambda x: cls(x, axis)

    x = float_range(3, 5, 4, low=-9.0, high=9.0)
    extremes = np.array([[1e30, 0.0], [-np.inf, 1.0], [np.nan, 1.0], [-1e30, -1e30]], np.float32)
    out = [Sample(make(a), x, tolerance=1e-5) for a in (0, 1, 2)]
    out += [Sample(make(1), extremes, tolerance=1e-5), Sample(make(0), x[:, :0, 0])]
    return out + [Sample(make(2), x.astype(t), tolerance=1e-5) for t in (*HALVES, np.float64)]


@tfc_op
class SoftmaxOp(LayerOp):
    """``exp(x) / sum(exp(x))`` along ``axis``.

    (C1) ``x`` is of floating point.
    (C2) ``axis`` is one of its dims.

    Source: ``tf.nn.softmax``.
    """

    name = "tfc.softmax"
    x = operand_def(Tensor)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = "$x `along` $axis attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, axis: int) -> None:
        self.construct([SSAValue.get(x)], {"axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        self.check_axis(self.axis.value.data)
        return super().infer()

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x, axes = args[0], [self.axis.value.data]
        shifted = f.sub(x, f.spread(f.reduce("max", x, axes), x, axes))
        powers = f.exp(shifted)
        # One division a row instead of one an element; the sum is at least 1.
        scale = f.div(1.0, f.reduce("sum", powers, axes))
        return f.mul(powers, f.spread(scale, x, axes))

    def numpy(self, *args: Array) -> Array:
        x, axis = args[0], self.axis.value.data
        powers = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
        return powers / np.sum(powers, axis, keepdims=True)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return _softmax_samples(cls)


@tfc_op
class LogSoftmaxOp(LayerOp):
    """The logarithm of softmax along ``axis``, without its underflow.

    (C1) ``x`` is of floating point.
    (C2) ``axis`` is one of its dims.

    Source: ``tf.nn.log_softmax``.
    """

    name = "tfc.log_softmax"
    x = operand_def(Tensor)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = "$x `along` $axis attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, axis: int) -> None:
        self.construct([SSAValue.get(x)], {"axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        self.check_axis(self.axis.value.data)
        return super().infer()

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x, axes = args[0], [self.axis.value.data]
        shifted = f.sub(x, f.spread(f.reduce("max", x, axes), x, axes))
        total = f.log(f.reduce("sum", f.exp(shifted), axes))
        return f.sub(shifted, f.spread(total, x, axes))

    def numpy(self, *args: Array) -> Array:
        x, axis = args[0], self.axis.value.data
        shifted = x - np.max(x, axis, keepdims=True, initial=-np.inf)
        return shifted - np.log(np.sum(np.exp(shifted), axis, keepdims=True))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return _softmax_samples(cls)


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
        axes, inner = list(range(axis, rank)), list(range(axis, rank))
        centred = f.sub(x, f.spread(f.emit(MeanOp(x, axes)), x, axes))
        variance = f.emit(MeanOp(f.mul(centred, centred), axes))
        inverse = f.rsqrt(f.add(variance, self.epsilon.value.data))
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
        return (x - mean) / np.sqrt(variance + self.epsilon.value.data) * scale + bias

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
        return out


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


@tfc_op
class BiasAddOp(TensorOp):
    """``x`` plus the list ``bias`` along ``axis``.

    (C1) ``axis`` is one of the dims of ``x``, whose elements are numbers.
    (C2) ``bias`` has one element, of the type of ``x``, for each along ``axis``.

    Source: ``tf.nn.bias_add``.
    """

    name = "tfc.bias_add"
    x = operand_def(Tensor)
    bias = operand_def(Tensor)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = "$x `,` $bias `along` $axis attr-dict `:` type($x) `,` type($bias) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, bias: SSAValue | Operation, axis: int) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(bias)], {"axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        x, bias, axis = shape_of(self.x), shape_of(self.bias), self.axis.value.data
        kind = element(self.x)
        require(0 <= axis < len(x) and not is_bool(kind), self, "C1", f"numbers, an axis below {len(x)}", f"{kind}, {axis}")
        fits = len(bias) == 1 and compatible(bias[0], x[axis]) and element(self.bias) == kind
        require(fits, self, "C2", tensor_type([x[axis]], kind), self.bias.type)
        return [self.x.type]

    def reference(self, *args: Array) -> Array:
        x, bias = args
        shape = [-1 if d == self.axis.value.data else 1 for d in range(x.ndim)]
        return np.asarray(x + bias.reshape(shape)).astype(x.dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f = Formula(emit)
        return [f.add(self.x, f.along(self.bias, self.x, self.axis.value.data))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(2, 3, 5)
        return [
            Sample(lambda x, b: cls(x, b, 2), x, float_range(5)),
            Sample(lambda x, b: cls(x, b, 1), x, float_range(3)),
            Sample(lambda x, b: cls(x, b, 1), (x * 9).astype(np.int8), np.array([1, 2, 127], np.int8)),
        ]


@tfc_op
class AveragePoolOp(WindowOp):
    """The mean under a sliding window; the padding counts only if ``include_pad``.

    (C1) ``window``, ``strides``, ``low`` and ``high`` have an entry for each dim of ``x``.
    (C2) Window and strides are at least 1, padding at least 0, and a window fits.
    (C3) Elements are floats.

    Source: ``tf.nn.avg_pool``, which leaves out the padding.
    """

    name = "tfc.average_pool"
    x = operand_def(Tensor)
    window = prop_def(IntList)
    strides = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    include_pad = opt_prop_def(UnitAttr)
    result = result_def(Tensor)
    assembly_format = (
        "$x `window` $window `strides` $strides `low` $low `high` $high (`include_pad` $include_pad^)? "
        "attr-dict `:` type($x) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        window: Sequence[int],
        strides: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
        include_pad: bool,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "window": ints(window),
            "strides": ints(strides),
            "low": ints(low),
            "high": ints(high),
            "include_pad": UnitAttr() if include_pad else None,
        }
        self.construct([SSAValue.get(x)], properties)

    def windows(self) -> list[list[int]]:
        lists = [list(p.get_values()) for p in (self.window, self.strides, self.low, self.high)]
        return [*lists[:2], [1] * len(lists[0]), *lists[2:]]

    def infer(self) -> Sequence[Attribute]:
        shape = self.check_windows(shape_of(self.x))
        require(is_float(element(self.x)), self, "C3", "elements of floating point", element(self.x))
        return [tensor_type(shape, element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, axes = accumulated(args[0]), tuple(range(args[0].ndim, 2 * args[0].ndim))
        total = window_view(x, self.windows(), 0).sum(axes)
        outside = 1 if self.include_pad else 0
        count = window_view(np.ones(x.shape), self.windows(), outside).sum(axes)
        with np.errstate(all="ignore"):
            return np.asarray(total / count).astype(args[0].dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, kind = Formula(emit), element(self.x)
        x = f.cast(self.x, f32) if dtype_of(kind) in HALVES else self.x
        total = f.emit(WindowReduceOp(x, "sum", *self.windows()))
        return [f.cast(f.div(total, self._count(f, x, shape_of(total))), kind)]

    def _count(self, f: Formula, x: SSAValue, shape: Shape) -> SSAValue:
        window, strides, dilations, low, high = self.windows()
        size = int(np.prod(window))
        padded = [d for d in range(len(shape)) if low[d] or high[d]]
        if self.include_pad or not padded:
            return splat(f.emit, shape, float(size), element(x))
        # Counting ones along the padded dims alone is cheap, and is folded where they are static.
        inner = [[p[d] for d in padded] for p in (window, strides, dilations, low, high)]
        ones = splat(f.emit, [shape_of(x)[d] for d in padded], 1.0, element(x))
        count = f.emit(WindowReduceOp(ones, "sum", *inner))
        others = size // int(np.prod(inner[0]))
        if others != 1:
            count = f.mul(count, float(others))
        return f.broadcast(count, shape, padded)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda x: cls(x, *args)

        x = float_range(2, 6, 7, 3)
        windows = [((1, 2, 3, 1), (1, 2, 2, 1), (0, 0, 0, 0), (0, 0, 0, 0)),
                   ((1, 3, 3, 1), (1, 2, 1, 1), (0, 1, 1, 0), (0, 0, 2, 0)),
                   ((1, 3, 2, 1), (1, 1, 1, 1), (0, 1, 0, 0), (0, 1, 0, 0))]  # fmt: skip
        kinds = [np.float32, np.float16, np.float64]
        return [Sample(make(*w, p), x.astype(t), tolerance=1e-5) for w in windows for p in (True, False) for t in kinds]


@tfc_op
class ResizeBilinearOp(LayerOp):
    """An image ``[n, h, w, c]`` at another size, by linear interpolation.

    Where a pixel of the result stands in ``x``: ``align_corners``: corners on corners;
    ``half_pixel``: centres at half numbers; neither: position times ``h / height``.

    (C1) ``x`` is of floating point.
    (C2) It has four dims; ``h``, ``w``, ``height`` and ``width`` are static and at least 1.
    (C3) Not both of ``align_corners`` and ``half_pixel``.

    Source: ``tf.raw_ops.ResizeBilinear``.
    """

    name = "tfc.resize_bilinear"
    x = operand_def(Tensor)
    height = prop_def(Integer)
    width = prop_def(Integer)
    align_corners = opt_prop_def(UnitAttr)
    half_pixel = opt_prop_def(UnitAttr)
    result = result_def(Tensor)
    assembly_format = (
        "$x `to` $height `,` $width (`align_corners` $align_corners^)? (`half_pixel` $half_pixel^)? "
        "attr-dict `:` type($x) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        height: int,
        width: int,
        align_corners: bool = False,
        half_pixel: bool = False,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "height": integer(height),
            "width": integer(width),
            "align_corners": UnitAttr() if align_corners else None,
            "half_pixel": UnitAttr() if half_pixel else None,
        }
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        super().infer()
        shape = shape_of(self.x)
        sizes = [*shape[1:3], self.height.value.data, self.width.value.data]
        legal = len(shape) == 4 and all(isinstance(d, int) and d >= 1 for d in sizes)
        require(legal, self, "C2", "four dims and static sizes >= 1", f"{self.x.type} to {sizes[2:]}")
        both = self.align_corners is not None and self.half_pixel is not None
        require(not both, self, "C3", "align_corners or half_pixel", "both")
        result = [shape[0], sizes[2], sizes[3], shape[3]]
        return [tensor_type(result, element(self.x))]

    def _points(self, old: int, new: int) -> tuple[Array, Array, Array]:
        """For each of ``new`` positions: the neighbours below and above, and the weight of the latter."""
        at = np.arange(new, dtype=np.float32)
        if self.align_corners and new > 1:
            at = at * np.float32((old - 1) / (new - 1))
        elif self.half_pixel:
            at = (at + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
        else:
            at = at * np.float32(old / new)
        floor = np.floor(at)
        below = np.maximum(floor, 0).astype(np.int64)
        above = np.minimum(np.ceil(at), old - 1).astype(np.int64)
        return below, above, (at - floor).astype(np.float32)

    def _axes(self) -> list[tuple[int, int, int]]:
        shape = shape_of(self.x)
        sizes = (self.height.value.data, self.width.value.data)
        return [(axis, int(n), new) for axis, n, new in zip((2, 1), shape[2:0:-1], sizes[::-1], strict=True) if isinstance(n, int)]

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x = args[0]
        for axis, old, new in self._axes():
            below, above, weight = self._points(old, new)
            low, high = (f.emit(GatherOp(x, f.emit(ConstantOp(i)), axis)) for i in (below, above))
            share = f.emit(ConstantOp(weight.astype(dtype_of(element(x)))))
            x = f.add(low, f.mul(f.sub(high, low), f.along(share, low, axis)))
        return x

    def numpy(self, *args: Array) -> Array:
        x = args[0]
        for axis, old, new in self._axes():
            below, above, weight = self._points(old, new)
            low, high = np.take(x, below, axis), np.take(x, above, axis)
            x = low + (high - low) * weight.reshape([-1 if d == axis else 1 for d in range(4)])
        return x

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda x: cls(x, *args)

        x = float_range(2, 3, 4, 2)
        modes = [(False, False), (True, False), (False, True)]
        sizes = [(6, 5), (2, 3), (1, 1), (3, 4)]
        out = [Sample(make(*s, *m), x, tolerance=1e-5) for s in sizes for m in modes]
        return [*out, Sample(make(5, 5, False, True), x.astype(np.float16), tolerance=1e-3)]


@tfc_op
class OneHotOp(TensorOp):
    """``on`` where the index along the new dim ``axis`` of ``depth`` is ``indices``, else ``off``.

    (C1) ``indices`` are integers; ``axis`` is a dim of the result; ``depth`` is at least 0.
    (C2) ``on`` and ``off`` are single elements of one type.

    Source: ``tf.one_hot``.
    """

    name = "tfc.one_hot"
    indices = operand_def(Tensor)
    on = operand_def(Tensor)
    off = operand_def(Tensor)
    depth = prop_def(Integer)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$indices `,` $on `,` $off `depth` $depth `along` $axis attr-dict "
        "`:` type($indices) `,` type($on) `,` type($off) `->` type($result)"
    )

    def __init__(
        self,
        indices: SSAValue | Operation,
        depth: int,
        on: SSAValue | Operation,
        off: SSAValue | Operation,
        axis: int,
    ) -> None:
        values = [SSAValue.get(v) for v in (indices, on, off)]
        self.construct(values, {"depth": integer(depth), "axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        shape, axis, depth = shape_of(self.indices), self.axis.value.data, self.depth.value.data
        kind = element(self.indices)
        whole = isinstance(kind, IntegerType) and not is_bool(kind)
        legal = whole and 0 <= axis <= len(shape) and depth >= 0
        require(legal, self, "C1", f"integers, an axis up to {len(shape)}, a depth >= 0", f"{kind}, {axis}, {depth}")
        scalars = shape_of(self.on) == shape_of(self.off) == () and self.on.type == self.off.type
        require(scalars, self, "C2", "single elements of one type", f"{self.on.type} and {self.off.type}")
        return [tensor_type([*shape[:axis], depth, *shape[axis:]], element(self.on))]

    def infer_elements(self) -> Sequence[Attribute]:
        return [element(self.on)]

    def reference(self, *args: Array) -> Array:
        indices, on, off = args
        axis = self.axis.value.data
        shape = [-1 if d == axis else 1 for d in range(indices.ndim + 1)]
        here = np.arange(self.depth.value.data).reshape(shape) == np.expand_dims(indices, axis)
        return np.where(here, on, off)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        shape, axis = shape_of(self.result), self.axis.value.data
        kind = element(self.indices)
        dims = [d for d in range(len(shape)) if d != axis]
        wanted = emit(BroadcastOp(self.indices, shape, dims))
        here = emit(CompareOp("eq", emit(IotaOp(shape, kind, axis)), wanted))
        on, off = (emit(BroadcastOp(v, shape, [])) for v in (self.on, self.off))
        return [emit(SelectOp(here, on, off))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(depth: int, axis: int) -> Any:
            return lambda i, on, off: cls(i, depth, on, off, axis)

        i, on, off = np.array([[0, 2, -1], [1, 5, 3]]), np.array(1.5, np.float32), np.array(-1, np.float32)
        out = [Sample(make(4, a), i.astype(t), on, off) for a in (0, 1, 2) for t in (np.int64, np.int32)]
        return [*out, Sample(make(3, 0), np.array(1), np.array(True), np.array(False)), Sample(make(0, 1), i[0], on, off)]


@tfc_op
class SparseSoftmaxCrossEntropyOp(TensorOp):
    """The loss of each row: ``-log_softmax(logits)[label]``.

    A label outside ``[0, classes)`` is an error when the program runs.

    (C1) ``logits`` are floats of shape ``[rows..., classes]``.
    (C2) ``labels`` are integers of shape ``[rows...]``.

    Source: ``tf.nn.sparse_softmax_cross_entropy_with_logits``.
    """

    name = "tfc.sparse_softmax_cross_entropy"
    logits = operand_def(Tensor)
    labels = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$logits `,` $labels attr-dict `:` type($logits) `,` type($labels) `->` type($result)"

    def __init__(self, logits: SSAValue | Operation, labels: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(logits), SSAValue.get(labels)])

    def infer(self) -> Sequence[Attribute]:
        logits, labels = shape_of(self.logits), shape_of(self.labels)
        fits = is_float(element(self.logits)) and len(logits) >= 1
        require(fits, self, "C1", "floats of rank 1 or more", self.logits.type)
        kind = element(self.labels)
        whole = isinstance(kind, IntegerType) and not is_bool(kind)
        same = len(labels) == len(logits) - 1 and all(map(compatible, labels, logits[:-1]))
        require(whole and same, self, "C2", f"integers of shape {list(logits[:-1])}", self.labels.type)
        return [tensor_type(logits[:-1], element(self.logits))]

    def reference(self, *args: Array) -> Array:
        logits, labels = args
        x = accumulated(logits)
        shifted = x - np.max(x, -1, keepdims=True, initial=-np.inf)
        picked = np.take_along_axis(shifted, labels[..., None].astype(np.int64), -1)[..., 0]
        return np.asarray(np.log(np.sum(np.exp(shifted), -1)) - picked).astype(logits.dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, kind = Formula(emit), element(self.logits)
        x = f.cast(self.logits, f32) if dtype_of(kind) in HALVES else self.logits
        axis = len(shape_of(x)) - 1
        shifted = f.sub(x, f.spread(f.reduce("max", x, [axis]), x, [axis]))
        total = f.log(f.reduce("sum", f.exp(shifted), [axis]))
        picked = f.emit(GatherOp(shifted, self.labels, axis, axis))
        return [f.cast(f.sub(total, picked), kind)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(4, 5, low=-6.0, high=6.0)
        labels = np.array([0, 4, 2, 2])
        deep = Sample(cls, x.reshape(2, 2, 5), labels.reshape(2, 2).astype(np.int32), tolerance=1e-5)
        return [Sample(cls, x, labels, tolerance=1e-5), deep, Sample(cls, x.astype(np.float16), labels, tolerance=1e-3)]


@tfc_op
class L2LossOp(LayerOp):
    """``sum(x * x) / 2`` of all elements. (C1) They are floats. Source: ``tf.nn.l2_loss``."""

    name = "tfc.l2_loss"
    x = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x)])

    def infer(self) -> Sequence[Attribute]:
        super().infer()
        return [tensor_type([], element(self.x))]

    def formula(self, f: Formula, *args: SSAValue) -> SSAValue:
        x = args[0]
        return f.mul(f.reduce("sum", f.mul(x, x), list(range(len(shape_of(x))))), 0.5)

    def numpy(self, *args: Array) -> Array:
        return np.sum(args[0] * args[0]) / 2

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        arrays = [float_range(3, 5), float_range(7).astype(np.float16), np.array(3.0), float_range(0, 2)]
        return [Sample(cls, a, tolerance=1e-5) for a in arrays]


@tfc_op
class AddNOp(TensorOp):
    """The sum of all operands, from the first to the last.

    (C1) There is an operand, and all have one type, of numbers.

    Source: ``tf.add_n``.
    """

    name = "tfc.add_n"
    xs = var_operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$xs attr-dict `:` type($xs) `->` type($result)"

    def __init__(self, xs: Sequence[SSAValue | Operation]) -> None:
        self.construct([[SSAValue.get(x) for x in xs]])

    def infer(self) -> Sequence[Attribute]:
        require(len(self.xs) > 0, self, "C1", "an operand", "none")
        first = self.xs[0]
        for x in self.xs:
            shapes = shape_of(x), shape_of(first)
            same = len(shapes[0]) == len(shapes[1]) and all(map(compatible, *shapes))
            same = same and element(x) == element(first) and not is_bool(element(x))
            require(same, self, "C1", first.type, x.type)
        return [first.type]

    def reference(self, *args: Array) -> Array:
        return np.asarray(sum(accumulated(a) for a in args)).astype(args[0].dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, total = Formula(emit), self.xs[0]
        for x in self.xs[1:]:
            total = f.add(total, x)
        return [total]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(3, 5)
        return [Sample(lambda *xs: cls(xs), *[x] * n, tolerance=1e-6) for n in (1, 2, 5)] + [
            Sample(lambda *xs: cls(xs), np.array([1, 2]), np.array([-5, 7]))
        ]
