"""Operations that stand in the backward pass of a network."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.constant import IotaOp, splat_like
from tfc.dialects.tfc.convolution_gradient import ConvBackpropFilterOp, ConvBackpropInputOp
from tfc.dialects.tfc.elementwise import RemOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.pointwise import HALVES, SPECIALS
from tfc.dialects.tfc.reduce import ReduceOp, WindowArgMaxOp, WindowOp, accumulated, combine, extent
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.shape import Integer, IntList, integer, known
from tfc.dialects.tfc.types import (
    Array,
    ShapeAttr,
    Tensor,
    compatible,
    element,
    is_bool,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, product
from tfc.errors import require

__all__ = [
    "BiasAddGradOp", "ConvBackpropFilterOp", "ConvBackpropInputOp", "MaxPoolGradOp", "ReluGradOp", "RsqrtGradOp",
    "SegmentSumOp", "WindowUnpoolOp",
]  # fmt: skip


@tfc_op
class BiasAddGradOp(TensorOp):
    """The sum of ``g`` over all dims but ``axis``. (C1) It is a dim of ``g``, whose elements are numbers.

    Source: ``tf.raw_ops.BiasAddGrad``.
    """

    name = "tfc.bias_add_grad"
    g = operand_def(Tensor)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = "$g `along` $axis attr-dict `:` type($g) `->` type($result)"

    def __init__(self, g: SSAValue | Operation, axis: int) -> None:
        self.construct([SSAValue.get(g)], {"axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        shape, axis = shape_of(self.g), self.axis.value.data
        legal = 0 <= axis < len(shape) and not is_bool(element(self.g))
        require(legal, self, "C1", f"numbers and an axis below {len(shape)}", f"{element(self.g)}, {axis}")
        return [tensor_type([shape[axis]], element(self.g))]

    def _others(self) -> list[int]:
        return [d for d in range(len(shape_of(self.g))) if d != self.axis.value.data]

    def reference(self, *args: Array) -> Array:
        return np.sum(accumulated(args[0]), tuple(self._others())).astype(args[0].dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        return [emit(ReduceOp(self.g, "sum", self._others()))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(4, 3, 5)
        return [Sample(lambda g: cls(g, 2), x, tolerance=1e-5), Sample(lambda g: cls(g, 1), x.astype(np.float16)),
                Sample(lambda g: cls(g, 0), x[:, 0, 0].copy())]  # fmt: skip


class PairGradOp(TensorOp):
    """A formula of a gradient and a forward result. (C1) Both have one type, of floats."""

    @abstractmethod
    def __init__(self, x: SSAValue | Operation, y: SSAValue | Operation) -> None: ...

    def infer(self) -> Sequence[Attribute]:
        x, y = self.operands
        same = len(shape_of(x)) == len(shape_of(y)) and all(map(compatible, shape_of(x), shape_of(y)))
        same = same and element(x) == element(y) and is_float(element(x))
        require(same, self, "C1", f"{x.type} of floats", y.type)
        return [x.type]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, y = float_range(3, 5), float_range(3, 5, low=3.0, high=-1.0)
        a, b = (v.ravel() for v in np.meshgrid(SPECIALS, SPECIALS))
        pairs = [(x, y), (a, b)] + [(x.astype(t), y.astype(t)) for t in (*HALVES, np.float64)]
        return [Sample(cls, *p, tolerance=1e-5) for p in pairs]


@tfc_op
class ReluGradOp(PairGradOp):
    """``g`` where ``y > 0``, else 0. (C1) Both have one type, of floats.

    Source: ``tf.raw_ops.ReluGrad``.
    """

    name = "tfc.relu_grad"
    g = operand_def(Tensor)
    y = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$g `,` $y attr-dict `:` type($g) `,` type($y) `->` type($result)"

    def __init__(self, g: SSAValue | Operation, y: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(g), SSAValue.get(y)])

    def reference(self, *args: Array) -> Array:
        g, y = args
        return np.where(y > 0, g, np.zeros((), g.dtype))

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f = Formula(emit)
        return [f.select(f.compare("gt", self.y, 0.0), self.g, 0.0)]


@tfc_op
class RsqrtGradOp(PairGradOp):
    """``-g/2 * y**3`` for ``y = rsqrt(x)``. (C1) Both have one type, of floats.

    Source: ``tf.raw_ops.RsqrtGrad``.
    """

    name = "tfc.rsqrt_grad"
    y = operand_def(Tensor)
    g = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$y `,` $g attr-dict `:` type($y) `,` type($g) `->` type($result)"

    def __init__(self, y: SSAValue | Operation, g: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(y), SSAValue.get(g)])

    def reference(self, *args: Array) -> Array:
        kind = args[0].dtype
        # In the type of the operands, so that y**3 overflows where compiled code does.
        y, g = (a.astype(np.float32) if kind in HALVES else a for a in args)
        with np.errstate(all="ignore"):
            cube = ((y * y).astype(kind).astype(y.dtype) * y).astype(kind).astype(y.dtype)
            half = (g * y.dtype.type(-0.5)).astype(kind).astype(y.dtype)
            return np.asarray(half * cube).astype(kind)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f = Formula(emit)
        return [f.mul(f.mul(self.g, -0.5), f.mul(f.mul(self.y, self.y), self.y))]


@tfc_op
class WindowUnpoolOp(WindowOp):
    """Give each window's ``g`` to the element that ``place`` names, and add up: the inverse of pooling.

    ``place`` is what ``tfc.window_arg_max`` gives; the result has ``shape``.

    (C1) The lists have an entry for each dim.
    (C2) Windows, strides and dilations are at least 1, padding at least 0, and a window fits.
    (C3) ``place`` is i64, ``g`` numbers, both with one entry for each window on ``shape``.

    Source: the second half of ``tf.raw_ops.MaxPoolGradWithArgmax``.
    """

    name = "tfc.window_unpool"
    place = operand_def(Tensor)
    g = operand_def(Tensor)
    shape = prop_def(ShapeAttr)
    window = prop_def(IntList)
    strides = prop_def(IntList)
    dilations = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$place `,` $g `to` $shape `window` $window `strides` $strides `dilations` $dilations "
        "`low` $low `high` $high attr-dict `:` type($place) `,` type($g) `->` type($result)"
    )

    def __init__(
        self,
        place: SSAValue | Operation,
        g: SSAValue | Operation,
        shape: Sequence[Dim],
        window: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
    ) -> None:
        names = ("window", "strides", "dilations", "low", "high")
        lists = (window, strides, dilations, low, high)
        properties: dict[str, Attribute | None] = {n: ints(v) for n, v in zip(names, lists, strict=True)}
        properties["shape"] = ShapeAttr(tuple(shape))
        self.construct([SSAValue.get(place), SSAValue.get(g)], properties)

    def infer(self) -> Sequence[Attribute]:
        places = self.check_windows(self.shape.data)
        for value in (self.place, self.g):
            shape = shape_of(value)
            fits = len(shape) == len(places) and all(map(compatible, shape, places))
            require(fits, self, "C3", f"shape {list(places)}", value.type)
        kinds = element(self.place) == IntegerType(64) and not is_bool(element(self.g))
        require(kinds, self, "C3", "places of i64 and numbers", f"{self.place.type} and {self.g.type}")
        return [tensor_type(self.shape.data, element(self.g))]

    def infer_elements(self) -> Sequence[Attribute]:
        return [element(self.g)]

    def reference(self, *args: Array) -> Array:
        place, g = args
        window, strides, dilations, low, _ = self.windows()
        result = np.zeros(known(self.shape.data), accumulated(g).dtype)
        taps = np.unravel_index(place, window)
        starts = np.indices(place.shape)
        where = [starts[d] * strides[d] + taps[d] * dilations[d] - low[d] for d in range(g.ndim)]
        np.add.at(result, tuple(where), g)
        return result.astype(g.dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        window, strides, dilations, low, _ = self.windows()
        of, places = element(self.g), shape_of(self.g)
        moving = [d for d, w in enumerate(window) if w > 1]

        def both(x: SSAValue, y: SSAValue) -> SSAValue:
            return combine(at.emit, "sum", of, x, y)

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            taps: list[Dim] = [0] * len(window)
            for d, tap in zip(moving, inner, strict=True):
                taps[d] = tap
            where: list[Dim] = []
            inside: list[tuple[Dim, Dim]] = []
            number: Dim = 0
            for d, tap in enumerate(taps):
                start = index[d] + low[d] - tap * dilations[d]
                inside.append((start, places[d] * strides[d]))
                inside += [(start % strides[d], 1)] if strides[d] > 1 else []
                where.append(start // strides[d])
                number = number * window[d] + tap

            def add() -> SSAValue:
                s = Scalars(at.emit)
                own = s.compare("eq", at.read(0, where), at.value(number, IntegerType(64)))
                return both(carried[0], s.select(own, at.read(1, where), 0))

            return [at.guard(inside, add, lambda: carried[0])]

        return at.fold([window[d] for d in moving], [at.constant(0, of)], step, combine=both)[0]

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f = Formula(emit)
        return [None, emit(GatherOp(f.reshape(g[0], [product(self.shape.data)]), self._position(f), 0))]

    def _position(self, f: Formula) -> SSAValue:
        """Of each window, the row-major position in the result of the element that ``place`` names."""
        places = shape_of(self.place)
        window, strides, dilations, low, _ = self.windows()
        position: SSAValue | None = None
        apart = math.prod(window)
        for d, (w, s, t, b) in enumerate(zip(window, strides, dilations, low, strict=True)):
            apart //= w
            tap = f.emit(RemOp(f.div(self.place, apart), splat_like(f.emit, self.place, w)))
            start = f.sub(f.mul(f.emit(IotaOp(places, i64, d)), s), b)
            here = f.add(start, f.mul(tap, t))
            size = extent(f.emit, self.result, [d], i64, places)
            position = here if position is None else f.add(f.mul(position, size), here)
        return f.zeros(self.place) if position is None else position

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda p, g: cls(p, g, *args)

        g = float_range(2, 3, 3)
        place = (np.arange(18).reshape(2, 3, 3) * 5 % 6).astype(np.int64)
        square = ((2, 6, 7), (1, 2, 3), (1, 2, 2), (1, 1, 1), (0, 0, 0), (0, 0, 0))
        line = ((5,), (3,), (1,), (1,), (0,), (0,))
        return [
            Sample(make(*square), place, g, tolerance=1e-6),
            Sample(make(*line), np.array([2, 1, 0]), np.array([1.0, 2.0, 4.0], np.float32)),
            Sample(make(*line), np.array([2, 1, 0]), np.array([1, 2, 4], np.int32)),
        ]


@tfc_op
class MaxPoolGradOp(WindowOp):
    """The gradient of max pooling: each ``g`` goes to the first maximum of its window.

    ``y``, the pooled ``x``, is what TensorFlow compares with; here the maximum is looked for again,
    so that a NaN gets its gradient too.

    (C1) ``window``, ``strides``, ``low`` and ``high`` have an entry for each dim of ``x``.
    (C2) Windows and strides are at least 1, padding at least 0, and a window fits.
    (C3) ``y`` and ``g`` have one entry for each window, of the element type of ``x``.

    Source: ``tf.raw_ops.MaxPoolGrad``.
    """

    name = "tfc.max_pool_grad"
    x = operand_def(Tensor)
    y = operand_def(Tensor)
    g = operand_def(Tensor)
    window = prop_def(IntList)
    strides = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$x `,` $y `,` $g `window` $window `strides` $strides `low` $low `high` $high attr-dict "
        "`:` type($x) `,` type($y) `,` type($g) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        y: SSAValue | Operation,
        g: SSAValue | Operation,
        window: Sequence[int],
        strides: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
    ) -> None:
        names = ("window", "strides", "low", "high")
        lists = (window, strides, low, high)
        properties = {n: ints(v) for n, v in zip(names, lists, strict=True)}
        self.construct([SSAValue.get(v) for v in (x, y, g)], properties)

    def windows(self) -> list[list[int]]:
        lists = [list(p.get_values()) for p in (self.window, self.strides, self.low, self.high)]
        return [*lists[:2], [1] * len(lists[0]), *lists[2:]]

    def infer(self) -> Sequence[Attribute]:
        places = self.check_windows(shape_of(self.x))
        for value in (self.y, self.g):
            shape = shape_of(value)
            fits = len(shape) == len(places) and all(map(compatible, shape, places))
            fits = fits and element(value) == element(self.x)
            require(fits, self, "C3", tensor_type(places, element(self.x)), value.type)
        return [self.x.type]

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        place = emit(WindowArgMaxOp(self.x, *self.windows()))
        return [emit(WindowUnpoolOp(place, self.g, shape_of(self.x), *self.windows()))]

    def reference(self, *args: Array) -> Array:
        x, _, g = args
        window, strides, _, low, _ = self.windows()
        result = np.zeros(x.shape, accumulated(g).dtype)
        for place in np.ndindex(*g.shape):
            starts = [i * s - b for i, s, b in zip(place, strides, low, strict=True)]
            cut = tuple(slice(max(b, 0), b + w) for b, w in zip(starts, window, strict=True))
            seen = x[cut].astype(np.float64)
            first = np.unravel_index(int(np.argmax(seen)), seen.shape)
            result[tuple(c.start + f for c, f in zip(cut, first, strict=True))] += g[place]
        return result.astype(x.dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda x, y, g: cls(x, y, g, *args)

        def sample(x: Array, *args: Any) -> Sample:
            from tfc.dialects.tfc.reduce import window_result, window_view

            window, strides, low, high = args
            all_ = [list(window), list(strides), [1] * x.ndim, list(low), list(high)]
            y = window_view(x, all_, -np.inf).max(tuple(range(x.ndim, 2 * x.ndim)))
            shape = [int(n) for n in window_result(x.shape, *all_) if isinstance(n, int)]
            return Sample(make(*args), x, y, float_range(*shape).astype(x.dtype), tolerance=1e-5)

        x, zero = np.round(float_range(2, 5, 6, 3)), (0, 0, 0, 0)
        return [
            sample(x, (1, 2, 2, 1), (1, 2, 2, 1), zero, zero),
            sample(x, (1, 3, 3, 1), (1, 2, 1, 1), (0, 1, 1, 0), (0, 1, 0, 0)),
            sample(x.astype(np.float64), (1, 3, 2, 1), (1, 1, 2, 1), zero, zero),
        ]


@tfc_op
class SegmentSumOp(TensorOp):
    """``result[s] = sum of data[i] where segment_ids[i] == s``; ids outside ``[0, count)`` are dropped.

    (C1) ``segment_ids`` are integers whose shape begins that of ``data``.
    (C2) Elements of ``data`` are numbers.

    Source: ``tf.math.unsorted_segment_sum``.
    """

    name = "tfc.segment_sum"
    data = operand_def(Tensor)
    segment_ids = operand_def(Tensor)
    count = prop_def(ShapeAttr)
    result = result_def(Tensor)
    assembly_format = (
        "$data `,` $segment_ids `count` $count attr-dict "
        "`:` type($data) `,` type($segment_ids) `->` type($result)"
    )

    def __init__(self, data: SSAValue | Operation, segment_ids: SSAValue | Operation, count: Dim) -> None:
        self.construct([SSAValue.get(data), SSAValue.get(segment_ids)], {"count": ShapeAttr((count,))})

    def infer(self) -> Sequence[Attribute]:
        data, ids = shape_of(self.data), shape_of(self.segment_ids)
        kind = element(self.segment_ids)
        whole = isinstance(kind, IntegerType) and not is_bool(kind)
        prefix = len(ids) <= len(data) and all(map(compatible, ids, data))
        require(whole and prefix, self, "C1", f"integers of a shape that begins {list(data)}", self.segment_ids.type)
        require(not is_bool(element(self.data)), self, "C2", "elements of numbers", element(self.data))
        return [tensor_type([*self.count.data, *data[len(ids) :]], element(self.data))]

    def reference(self, *args: Array) -> Array:
        data, ids = args
        count = known(self.count.data)[0]
        result = np.zeros((count, *data.shape[ids.ndim :]), accumulated(data).dtype)
        keep = (ids >= 0) & (ids < count)
        np.add.at(result, ids[keep], accumulated(data)[keep])
        return result.astype(data.dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        of, ids = element(self.data), shape_of(self.segment_ids)

        def both(x: SSAValue, y: SSAValue) -> SSAValue:
            return combine(at.emit, "sum", of, x, y)

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            s = Scalars(at.emit)
            own = s.compare("eq", at.read(1, inner), at.value(index[0], element(self.segment_ids)))
            return [both(carried[0], s.select(own, at.read(0, [*inner, *index[1:]]), 0))]

        return at.fold(list(ids), [at.constant(0, of)], step, combine=both)[0]

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        from tfc.dialects.tfc.scatter import taken_back

        return [taken_back(emit, g[0], self.segment_ids, self.data), None]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(count: int) -> Any:
            return lambda d, i: cls(d, i, count)

        x, ids = float_range(6, 3), np.array([0, 3, 0, -1, 2, 7])
        return [
            Sample(make(4), x, ids, tolerance=1e-6), Sample(make(4), x, ids.astype(np.int32), tolerance=1e-6),
            Sample(make(5), float_range(2, 3, 2), ids.reshape(2, 3), tolerance=1e-6),
            Sample(make(2), (x[:, 0] * 9).astype(np.int32), ids), Sample(make(3), x[:0], ids[:0]),
        ]  # fmt: skip
