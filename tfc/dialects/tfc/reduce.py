"""Many elements become one: over whole dims, or running along a dim. Windows are in `window.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import IntegerType, UnitAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, opt_prop_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, flat, float_range, ints, tfc_op
from tfc.dialects.tfc.combine import (
    UFUNCS,
    ExtremeKind,
    ExtremeKindAttr,
    ReduceKind,
    ReduceKindAttr,
    accumulated,
    combine,
    displaces,
    identity,
    takes,
)
from tfc.dialects.tfc.constant import ConstantOp, splat, splat_like
from tfc.dialects.tfc.elementwise import CastOp, DivOp, MulOp
from tfc.dialects.tfc.pointwise import HALVES, SPECIALS, formula
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.shape import BroadcastOp, Integer, IntList, ShapeOfOp, SliceOp, integer
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    dtype_of,
    element,
    is_bool,
    is_float,
    is_static,
    shape_of,
    tensor_type,
)
from tfc.dialects.tfc.window import (
    WindowArgMaxOp,
    WindowOp,
    WindowReduceOp,
    window_fits,
    window_positions,
    window_result,
    window_view,
)
from tfc.dims import Dim, product
from tfc.errors import require

if TYPE_CHECKING:
    from tfc.dialects.tfc.formula import Formula

__all__ = [
    "ArgReduceOp", "CumulativeOp", "ExtremeKindAttr", "MeanOp", "ReduceKind", "ReduceKindAttr", "ReduceOp", "WindowArgMaxOp",
    "WindowOp", "WindowReduceOp", "accumulated", "combine", "identity", "window_fits", "window_positions",
    "window_result", "window_view",
]  # fmt: skip


def _distinct(axes: Sequence[int], rank: int) -> bool:
    return len(set(axes)) == len(axes) and all(0 <= a < rank for a in axes)


def kept(shape: Sequence[Dim], axes: Sequence[int]) -> list[Dim]:
    """The extents that a reduction over ``axes`` leaves."""
    return [n for d, n in enumerate(shape) if d not in axes]


@tfc_op
class ReduceOp(TensorOp):
    """All elements along ``axes`` combined; these dims are dropped. Over nothing: the identity.

    Sums of floats are added in any order, in f32 for f16 and bf16.

    (C1) ``axes`` are distinct axes of ``x``.
    (C2) ``sum`` and ``prod`` take numbers, ``and`` and ``or`` integers or bool.

    Source: ``tf.reduce_sum``, ``tf.reduce_prod``, ``tf.reduce_max``, ``tf.reduce_all``, ...
    """

    name = "tfc.reduce"
    x = operand_def(Tensor)
    kind = prop_def(ReduceKindAttr)
    axes = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = "$kind $x `over` $axes attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, kind: str, axes: Sequence[int]) -> None:
        properties = {"kind": ReduceKindAttr(ReduceKind(kind)), "axes": ints(axes)}
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        shape, axes = shape_of(self.x), list(self.axes.get_values())
        require(_distinct(axes, len(shape)), self, "C1", f"distinct axes below {len(shape)}", axes)
        kind = str(self.kind.data)
        require(takes(kind, element(self.x)), self, "C2", f"elements that {kind} takes", element(self.x))
        return [tensor_type(kept(shape, axes), element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, axes = args[0], tuple(self.axes.get_values())
        start = identity(self.kind.data, element(self.x))
        wide = accumulated(x)
        initial = np.array(start).astype(wide.dtype) if x.dtype != np.bool_ else bool(start)
        with np.errstate(all="ignore"):
            result = UFUNCS[self.kind.data].reduce(wide, axis=axes, initial=initial, dtype=wide.dtype)
            return np.asarray(result).astype(x.dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        shape, axes = shape_of(self.x), list(self.axes.get_values())
        kind, of = str(self.kind.data), element(self.x)

        def both(x: SSAValue, y: SSAValue) -> SSAValue:
            return combine(at.emit, kind, of, x, y)

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            outer, within = iter(index), dict(zip(axes, inner, strict=True))
            full = [within[d] if d in within else next(outer) for d in range(len(shape))]
            return [both(carried[0], at.read(0, full))]

        start = at.constant(identity(kind, of), of)
        return at.fold([shape[a] for a in axes], [start], step, combine=both)[0]

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, kind, axes = formula(emit), str(self.kind.data), list(self.axes.get_values())
        if kind == "sum":
            return [f.spread(g[0], self.x, axes)]
        if kind == "prod":
            return [self._grad_of_product(f, g[0], axes)]
        # Equal extremes share the gradient.
        best = f.compare("eq", self.x, f.spread(self.result, self.x, axes))
        count = f.reduce("sum", f.cast(best, element(self.x)), axes)
        return [f.select(best, f.spread(f.div(g[0], count), self.x, axes), 0.0)]

    def _grad_of_product(self, f: Formula, g: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Of a 0, the product of the others; of what stands beside a 0, nothing."""
        is_zero = f.compare("eq", self.x, 0.0)
        others = f.select(is_zero, 1.0, self.x)
        zeros = f.reduce("sum", f.cast(is_zero, element(self.x)), axes)
        rest = f.mul(g, f.reduce("prod", others, axes))
        alone, none = (f.select(f.compare("eq", zeros, n), rest, 0.0) for n in (1.0, 0.0))
        beside = f.div(f.spread(none, self.x, axes), others)
        return f.select(is_zero, f.spread(alone, self.x, axes), beside)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(kind: str, axes: Sequence[int]) -> Any:
            return lambda x: cls(x, kind, axes)

        x, whole = float_range(3, 5, 7, low=0.5), (float_range(4, 3) * 9).astype(np.int32)
        out = [Sample(make(k, a), x) for k in ("sum", "prod", "max", "min") for a in ([2], [0, 1], [1], [], [2, 0, 1])]
        out += [Sample(make(k, [0]), SPECIALS) for k in ("sum", "prod", "max", "min")]
        out += [Sample(make(k.value, [1]), whole.astype(t)) for k in ReduceKind for t in (np.int32, np.uint8)]
        out += [Sample(make(k, [1]), whole % 3 == 0) for k in ("max", "min", "and", "or")]
        out += [Sample(make(k, [0]), x[:0, 0]) for k in ("sum", "prod", "max", "min")]
        return out + [Sample(make("sum", [2]), x.astype(t), tolerance=1e-6) for t in (*HALVES, np.float64)]


@tfc_op
class MeanOp(TensorOp):
    """The mean along ``axes``, which are dropped. f16 and bf16 are added in f32; integers truncate.

    (C1) ``axes`` are distinct axes of ``x``.
    (C2) Elements are numbers.

    Source: ``tf.reduce_mean``.
    """

    name = "tfc.mean"
    x = operand_def(Tensor)
    axes = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = "$x `over` $axes attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, axes: Sequence[int]) -> None:
        self.construct([SSAValue.get(x)], {"axes": ints(axes)})

    def infer(self) -> Sequence[Attribute]:
        shape, axes = shape_of(self.x), list(self.axes.get_values())
        require(_distinct(axes, len(shape)), self, "C1", f"distinct axes below {len(shape)}", axes)
        require(not is_bool(element(self.x)), self, "C2", "elements of numbers", element(self.x))
        return [tensor_type(kept(shape, axes), element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, axes = args[0], tuple(self.axes.get_values())
        total = np.sum(accumulated(x), axis=axes, dtype=accumulated(x).dtype)
        count = int(np.prod([x.shape[a] for a in axes]))
        with np.errstate(all="ignore"):
            if is_float(element(self.x)):
                return np.asarray(total / np.float64(count)).astype(x.dtype)
            return np.asarray(np.trunc(total / max(count, 1))).astype(x.dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        axes, of = list(self.axes.get_values()), element(self.x)
        x, wide = widened(emit, self.x)
        total = emit(ReduceOp(x, "sum", axes))
        count = extent(emit, self.x, axes, element(total), shape_of(total))
        if not is_float(of):
            return [emit(DivOp(total, count))]
        if is_static(shape_of(self.x)) and (size := product(shape_of(self.x)[a] for a in axes)) and size != 0:
            assert isinstance(size, int), "the shape is static"
            exact = size & (size - 1) == 0  # multiplying by 1/2^k rounds as division does
            inverse = splat_like(emit, total, 1.0 / size)
            mean = emit(MulOp(total, inverse)) if exact else emit(DivOp(total, count))
        else:
            mean = emit(DivOp(total, count))
        return [emit(CastOp(mean, of)) if wide else mean]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(axes: Sequence[int]) -> Any:
            return lambda x: cls(x, axes)

        x = float_range(3, 5, 4)
        out = [Sample(make(a), x, tolerance=1e-6) for a in ([2], [0, 1], [0, 1, 2], [])]
        out += [Sample(make([1]), (x * 20).astype(t)) for t in (np.int32, np.float64, *HALVES)]
        return [*out, Sample(make([0]), x[:, :0])]


def widened(emit: Emit, x: SSAValue) -> tuple[SSAValue, bool]:
    """f16 and bf16 as f32, and whether that was so."""
    from xdsl.dialects.builtin import f32

    if dtype_of(element(x)) in HALVES:
        return emit(CastOp(x, f32)), True
    return x, False


def extent(emit: Emit, x: SSAValue, axes: Sequence[int], of: Attribute, shape: Sequence[Dim]) -> SSAValue:
    """The number of elements of ``x`` along ``axes``, as a tensor of ``shape`` and element type ``of``."""
    count = product(shape_of(x)[a] for a in axes)
    if isinstance(count, int):
        return splat(emit, shape, count, of)
    extents = emit(ShapeOfOp(x))
    total = emit(ConstantOp(np.array(1, np.int64)))
    for axis in axes:
        one = emit(ReduceOp(emit(SliceOp(extents, [axis], [1], [1])), "sum", [0]))
        total = emit(MulOp(total, one))
    return emit(BroadcastOp(emit(CastOp(total, of)), shape, []))


@tfc_op
class ArgReduceOp(TensorOp):
    """The index of the largest or smallest element along ``axis``: the first of equals; a NaN wins.

    (C1) ``axis`` is one of the dims, and not empty.
    (C2) The result's elements are integers.

    Source: ``tf.argmax``, ``tf.argmin``.
    """

    name = "tfc.arg_reduce"
    x = operand_def(Tensor)
    kind = prop_def(ExtremeKindAttr)
    axis = prop_def(Integer)
    element = prop_def()
    result = result_def(Tensor)
    assembly_format = "$kind $x `along` $axis `as` $element attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self, x: SSAValue | Operation, kind: str, axis: int, element: Attribute = i64
    ) -> None:
        properties = {"kind": ExtremeKindAttr(ExtremeKind(kind)), "axis": integer(axis), "element": element}
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        shape, axis = shape_of(self.x), self.axis.value.data
        holds = 0 <= axis < len(shape) and shape[axis] != 0
        require(holds, self, "C1", f"an axis below {len(shape)} that is not empty", axis)
        whole = isinstance(self.element, IntegerType) and not is_bool(self.element)
        require(whole, self, "C2", "an integer type", self.element)
        return [tensor_type(kept(shape, [axis]), self.element)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [self.element]

    def reference(self, *args: Array) -> Array:
        find = np.argmax if self.kind.data == "max" else np.argmin
        x = args[0].astype(np.float32) if args[0].dtype in HALVES else args[0]
        return np.asarray(find(x, axis=self.axis.value.data)).astype(dtype_of(self.element))

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        axis, of = self.axis.value.data, element(self.x)

        def position(i: Dim) -> list[Dim]:
            return [*index[:axis], i, *index[axis:]]

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            s, x = Scalars(at.emit), at.read(0, position(inner[0]))
            found = at.value(inner[0], self.element)
            better = displaces(at, self.kind.data, of, x, carried[0])
            return [s.select(better, x, carried[0]), s.select(better, found, carried[1])]

        def merge(one: Sequence[SSAValue], two: Sequence[SSAValue]) -> Sequence[SSAValue]:
            """The better of two, or the first of equals."""
            s = Scalars(at.emit)
            beyond, below = (displaces(at, self.kind.data, of, x[0], y[0]) for x, y in ((two, one), (one, two)))
            second = s.select(below, one[1], two[1])
            first = s.compare("ult", second, one[1])
            takes = s.bit_or(beyond, first)
            return [s.select(takes, x, y) for x, y in zip(two, one, strict=True)]

        start = [at.read(0, position(0)), at.constant(0, self.element)]
        return at.fold([shape_of(self.x)[axis]], start, step, merge=merge)[1]

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(kind: str, axis: int, *rest: Attribute) -> Any:
            return lambda x: cls(x, kind, axis, *rest)

        x = float_range(3, 5, 4)
        ties, nans = np.round(x), np.where(np.abs(x) > 1.2, np.float32(np.nan), x)
        arrays = [x, ties, nans, (x * 9).astype(np.int8), (x + 3).astype(np.uint8), x > 0, x.astype(np.float16)]
        out = [Sample(make(k, a), v) for k in ("max", "min") for v in arrays for a in (0, 2)]
        return [*out, Sample(make("max", 0, IntegerType(32)), SPECIALS)]


@tfc_op
class CumulativeOp(TensorOp):
    """Running sum or product along ``axis``; ``exclusive`` leaves out the element itself.

    (C1) ``axis`` is one of the dims.
    (C2) ``kind`` is sum or prod; elements are numbers.

    Source: ``tf.cumsum``, ``tf.math.cumprod``.
    """

    name = "tfc.cumulative"
    x = operand_def(Tensor)
    kind = prop_def(ReduceKindAttr)
    axis = prop_def(Integer)
    exclusive = opt_prop_def(UnitAttr)
    reverse = opt_prop_def(UnitAttr)
    result = result_def(Tensor)
    assembly_format = (
        "$kind $x `along` $axis (`exclusive` $exclusive^)? (`reverse` $reverse^)? attr-dict "
        "`:` type($x) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        kind: str,
        axis: int,
        exclusive: bool = False,
        reverse: bool = False,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "kind": ReduceKindAttr(ReduceKind(kind)),
            "axis": integer(axis),
            "exclusive": UnitAttr() if exclusive else None,
            "reverse": UnitAttr() if reverse else None,
        }
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        rank, axis = len(shape_of(self.x)), self.axis.value.data
        require(0 <= axis < rank, self, "C1", f"an axis below {rank}", axis)
        fits = self.kind.data in ("sum", "prod") and not is_bool(element(self.x))
        require(fits, self, "C2", "sum or prod of numbers", f"{self.kind.data} of {element(self.x)}")
        return [tensor_type(shape_of(self.x), element(self.x))]

    def reference(self, *args: Array) -> Array:
        axis, start = self.axis.value.data, identity(self.kind.data, element(self.x))
        turn: Callable[[Array], Array] = (lambda a: np.flip(a, axis)) if self.reverse else (lambda a: a)
        x = turn(accumulated(args[0]))
        run = UFUNCS[self.kind.data].accumulate(x, axis=axis, dtype=x.dtype) if x.size else x
        if self.exclusive and x.size:
            first = np.full_like(np.take(run, [0], axis), start)
            run = np.concatenate([first, np.delete(run, -1, axis)], axis)
        return turn(run).astype(args[0].dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        kind, of, axis = str(self.kind.data), element(self.x), self.axis.value.data
        here, own = index[axis], 0 if self.exclusive else 1
        before = shape_of(self.x)[axis] - 1 - here if self.reverse else here

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            i = shape_of(self.x)[axis] - 1 - inner[0] if self.reverse else inner[0]
            x = at.read(0, [*index[:axis], i, *index[axis + 1 :]])
            return [combine(at.emit, kind, of, carried[0], x)]

        return at.fold([before + own], [at.constant(identity(kind, of), of)], step)[0]

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, axis = formula(emit), self.axis.value.data
        turned = (self.exclusive is not None, self.reverse is None)
        if self.kind.data == "sum":
            return [emit(CumulativeOp(g[0], "sum", axis, *turned))]
        # Each product that an element is in, by the element: NaN of 0, as in TensorFlow.
        total = emit(CumulativeOp(f.mul(g[0], self.result), "sum", axis, *turned))
        return [f.div(total, self.x)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(kind: str, axis: int, exclusive: bool, reverse: bool) -> Any:
            return lambda x: cls(x, kind, axis, exclusive, reverse)

        x, flags = float_range(3, 5, low=0.5), (False, True)
        out = [Sample(make(k, a, e, r), x, tolerance=1e-6) for k in ("sum", "prod") for a in (0, 1) for e in flags for r in flags]
        wide, halves = float_range(2, 3, 67, low=0.5), x.astype(np.float16)
        out += [Sample(make("sum", 1, e, r), wide, tolerance=1e-6) for e in flags for r in flags]
        out += [Sample(make("sum", a, True, True), halves, tolerance=1e-3) for a in (0, 1)]
        return [*out, Sample(make("sum", 0, True, False), (x[0] * 9).astype(np.int32)), Sample(make("sum", 1, True, True), x[:, :0])]
