"""Layers of neural networks, as composites of reductions, contractions and arithmetic.

f16 and bf16 are computed in f32 inside a layer that reduces, and rounded once at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType, f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    operand_def,
    prop_def,
    result_def,
    var_operand_def,
)

from tfc.dialects.tfc.base import Emit, Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.elementwise import CompareOp, SelectOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.image import AveragePoolOp, ResizeBilinearOp
from tfc.dialects.tfc.layer import LayerOp
from tfc.dialects.tfc.normalize import BatchNormOp, LayerNormOp, LrnOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import accumulated
from tfc.dialects.tfc.shape import BroadcastOp, Integer, integer
from tfc.dialects.tfc.types import (
    Array,
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

__all__ = [
    "AddNOp", "AveragePoolOp", "BatchNormOp", "BiasAddOp", "L2LossOp", "LayerNormOp", "LogSoftmaxOp", "LrnOp",
    "OneHotOp", "ResizeBilinearOp", "SoftmaxOp", "SparseSoftmaxCrossEntropyOp",
]  # fmt: skip


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

    def pull(self, f: Formula, g: SSAValue, y: SSAValue, *args: SSAValue) -> Sequence[SSAValue | None]:
        axes, share = [self.axis.value.data], f.mul(g, y)
        return [f.sub(share, f.mul(y, f.spread(f.reduce("sum", share, axes), y, axes)))]

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

    def pull(self, f: Formula, g: SSAValue, y: SSAValue, *args: SSAValue) -> Sequence[SSAValue | None]:
        axes = [self.axis.value.data]
        return [f.sub(g, f.mul(f.exp(y), f.spread(f.reduce("sum", g, axes), y, axes)))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return _softmax_samples(cls)


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

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, kind = Formula(emit), element(self.logits)
        shape = shape_of(self.logits)
        axis = len(shape) - 1
        wide = f32 if dtype_of(kind) in HALVES else kind
        likely = emit(SoftmaxOp(f.cast(self.logits, wide), axis))
        labels = f.broadcast(self.labels, shape, range(axis))
        here = f.compare("eq", emit(IotaOp(shape, element(self.labels), axis)), labels)
        distance = f.select(here, f.sub(likely, 1.0), likely)
        return [f.cast(f.mul(distance, f.spread(f.cast(g[0], wide), distance, [axis])), kind), None]

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

    def pull(self, f: Formula, g: SSAValue, y: SSAValue, *args: SSAValue) -> Sequence[SSAValue | None]:
        return [f.mul(args[0], f.broadcast(g, shape_of(args[0]), []))]

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

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [g[0]] * len(self.xs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(3, 5)
        return [Sample(lambda *xs: cls(xs), *[x] * n, tolerance=1e-6) for n in (1, 2, 5)] + [
            Sample(lambda *xs: cls(xs), np.array([1, 2]), np.array([-5, 7]))
        ]
