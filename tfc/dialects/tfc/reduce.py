"""Many elements become one: over whole dims, over sliding windows, or running along a dim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType, UnitAttr, i64
from xdsl.dialects.utils.enum_attribute import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import irdl_attr_definition, operand_def, opt_prop_def, prop_def, result_def
from xdsl.utils.str_enum import StrEnum

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.constant import ConstantOp, splat, splat_like
from tfc.dialects.tfc.elementwise import CastOp, DivOp, MulOp
from tfc.dialects.tfc.pointwise import HALVES, SPECIALS
from tfc.dialects.tfc.scalar import Scalars, integer_range
from tfc.dialects.tfc.shape import BroadcastOp, Integer, IntList, ShapeOfOp, SliceOp, integer
from tfc.dialects.tfc.types import (
    Array,
    Shape,
    Tensor,
    dtype_of,
    element,
    is_bool,
    is_float,
    is_static,
    is_unsigned,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, product
from tfc.errors import require


class ReduceKind(StrEnum):
    SUM = "sum"
    PROD = "prod"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    """How a reduction combines two elements."""

    name = "tfc.reduce_kind"


UFUNCS: dict[str, Any] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip


def identity(kind: str, element: Attribute) -> float | int | bool:
    """The value that changes nothing when it is combined with another."""
    if kind in ("sum", "or"):
        return 0
    if kind == "prod":
        return 1
    if is_float(element):
        return float("-inf") if kind == "max" else float("inf")
    assert isinstance(element, IntegerType), "element types are floats and integers"
    low, high = integer_range(element)
    return low if kind == "max" else high if kind == "min" else -1 if not is_unsigned(element) else high


def combine(emit: Emit, kind: str, element: Attribute, x: SSAValue, y: SSAValue) -> SSAValue:
    """Two elements into one, in kernel types."""
    names = {"sum": "add", "prod": "mul"}
    name = names.get(kind, kind)
    if name in ("max", "min") and (is_unsigned(element) or is_bool(element)):
        name = "u" + name
    return Scalars(emit).binary(name, x, y)


def takes(kind: str, element: Attribute) -> bool:
    """Whether a reduction is defined on the element type."""
    if kind in ("and", "or"):
        return not is_float(element)
    return kind in ("max", "min") or not is_bool(element)


def accumulated(x: Array) -> Array:
    """Floats in f64, so that sums of a reference are exact but for the last rounding."""
    return x.astype(np.float64) if x.dtype in HALVES or x.dtype == np.float32 else x


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


class ExtremeKind(StrEnum):
    MAX = "max"
    MIN = "min"


@irdl_attr_definition
class ExtremeKindAttr(EnumAttribute[ExtremeKind], SpacedOpaqueSyntaxAttribute):
    """Which extreme is looked for."""

    name = "tfc.extreme"


def _better(at: Access, kind: str, of: Attribute, x: SSAValue, best: SSAValue) -> SSAValue:
    """Whether ``x`` takes the place of ``best`` before it: beyond it, or the first NaN."""
    s = Scalars(at.emit)
    word = "gt" if kind == "max" else "lt"
    if not is_float(of):
        return s.compare(("u" if is_unsigned(of) or is_bool(of) else "s") + word, x, best)
    first_nan = s.bit_and(s.compare("uno", x, x), s.compare("ord", best, best))
    return s.bit_or(s.compare("o" + word, x, best), first_nan)


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
            better = _better(at, self.kind.data, of, x, carried[0])
            return [s.select(better, x, carried[0]), s.select(better, found, carried[1])]

        start = [at.read(0, position(0)), at.constant(0, self.element)]
        return at.fold([shape_of(self.x)[axis]], start, step)[1]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(kind: str, axis: int, *rest: Attribute) -> Any:
            return lambda x: cls(x, kind, axis, *rest)

        x = float_range(3, 5, 4)
        ties, nans = np.round(x), np.where(np.abs(x) > 1.2, np.float32(np.nan), x)
        arrays = [x, ties, nans, (x * 9).astype(np.int8), (x + 3).astype(np.uint8), x > 0, x.astype(np.float16)]
        out = [Sample(make(k, a), v) for k in ("max", "min") for v in arrays for a in (0, 2)]
        return [*out, Sample(make("max", 0, IntegerType(32)), SPECIALS)]


def window_result(
    shape: Sequence[Dim],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
) -> list[Dim]:
    """How many places a dilated window has in each padded dim."""
    each = zip(shape, window, strides, dilations, low, high, strict=True)
    return [(n + b + a - (w - 1) * d - 1) // s + 1 for n, w, s, d, b, a in each]


def window_fits(
    shape: Sequence[Dim],
    window: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
) -> bool:
    """Whether the dilated window has a place in each padded dim; in an empty dim, one of 1 has none."""
    for n, w, d, b, a in zip(shape, window, dilations, low, high, strict=True):
        padded, span = n + b + a, (w - 1) * d + 1
        if isinstance(padded, int) and padded < span and (padded, span) != (0, 1):
            return False
    return True


def window_positions(
    index: Sequence[Dim],
    inner: Sequence[Dim],
    shape: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
) -> tuple[list[Dim], list[tuple[Dim, Dim]]]:
    """The element under place ``inner`` of window ``index``, and what keeps it off the padding."""
    each = zip(index, inner, strides, dilations, low, strict=True)
    where = [i * s + w * d - b for i, w, s, d, b in each]
    padded = zip(where, shape, low, high, strict=True)
    return where, [(p, n) for p, n, b, a in padded if b or a]


class WindowOp(TensorOp):
    """An operation on sliding windows: a window, strides, dilations and padding for every dim."""

    def windows(self) -> list[list[int]]:
        """``[window, strides, dilations, low, high]``."""
        names = ("window", "strides", "dilations", "low", "high")
        return [list(self.properties[n].get_values()) for n in names]  # pyright: ignore # IntList

    def check_windows(self, shape: Shape) -> Shape:
        """The result's extents, after (C1) and (C2)."""
        all_ = self.windows()
        counts = [len(p) for p in all_]
        require(counts == [len(shape)] * 5, self, "C1", f"{len(shape)} entries each", counts)
        least = [min(p, default=1) for p in all_]
        require(min(least[:3]) >= 1 and min(least[3:]) >= 0, self, "C2", "windows, strides, dilations >= 1, padding >= 0", all_)
        window, _, *rest = all_
        require(window_fits(shape, window, *rest), self, "C2", f"windows that fit into {list(shape)}", all_)
        return tuple(window_result(shape, *all_))


def window_view(x: Array, windows: Sequence[Sequence[int]], fill: Any) -> Array:
    """``[places..., window...]``: what each window sees of ``x`` in padding of ``fill``."""
    window, strides, dilations, low, high = windows
    shape = [n + b + a for n, b, a in zip(x.shape, low, high, strict=True)]
    padded = np.full(shape, fill, x.dtype)
    padded[tuple(slice(b, b + n) for b, n in zip(low, x.shape, strict=True))] = x
    span = [(w - 1) * d + 1 for w, d in zip(window, dilations, strict=True)]
    if any(n < s for n, s in zip(shape, span, strict=True)):  # no place at all, in an empty tensor
        places = window_result(x.shape, *windows)
        return np.zeros([max(int(str(n)), 0) for n in places] + list(window), x.dtype)
    view = np.lib.stride_tricks.sliding_window_view(padded, span) if x.ndim else padded
    return view[tuple(slice(None, None, s) for s in (*strides, *dilations))]


@tfc_op
class WindowReduceOp(WindowOp):
    """The elements under a sliding window combined; padding counts as the identity.

    (C1) ``window``, ``strides``, ``dilations``, ``low`` and ``high`` have an entry for each dim of ``x``.
    (C2) The first three are at least 1, padding at least 0, and a window fits into the padded ``x``.
    (C3) ``kind`` is sum, max or min; elements are numbers.

    Source: ``tf.nn.max_pool``; with ``sum``, the inside of ``tf.nn.avg_pool``.
    """

    name = "tfc.window_reduce"
    x = operand_def(Tensor)
    kind = prop_def(ReduceKindAttr)
    window = prop_def(IntList)
    strides = prop_def(IntList)
    dilations = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$kind $x `window` $window `strides` $strides `dilations` $dilations `low` $low `high` $high "
        "attr-dict `:` type($x) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        kind: str,
        window: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "kind": ReduceKindAttr(ReduceKind(kind)),
            "window": ints(window),
            "strides": ints(strides),
            "dilations": ints(dilations),
            "low": ints(low),
            "high": ints(high),
        }
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        shape = self.check_windows(shape_of(self.x))
        fits = self.kind.data in ("sum", "max", "min") and not is_bool(element(self.x))
        require(fits, self, "C3", "sum, max or min of numbers", f"{self.kind.data} of {element(self.x)}")
        return [tensor_type(shape, element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, start = args[0], identity(self.kind.data, element(self.x))
        wide = accumulated(x)
        view = window_view(wide, self.windows(), start)
        axes = tuple(range(x.ndim, 2 * x.ndim))
        with np.errstate(all="ignore"):
            return np.asarray(UFUNCS[self.kind.data].reduce(view, axis=axes, dtype=wide.dtype)).astype(x.dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        kind, of, shape = str(self.kind.data), element(self.x), shape_of(self.x)
        window, *rest = self.windows()
        moving = [d for d, w in enumerate(window) if w > 1]

        def both(x: SSAValue, y: SSAValue) -> SSAValue:
            return combine(at.emit, kind, of, x, y)

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            places = dict(zip(moving, inner, strict=True))
            full = [places.get(d, 0) for d in range(len(shape))]
            where, inside = window_positions(index, full, shape, *rest)
            found = at.guard(inside, lambda: both(carried[0], at.read(0, where)), lambda: carried[0])
            return [found]

        start = at.constant(identity(kind, of), of)
        return at.fold([window[d] for d in moving], [start], step, combine=both)[0]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(kind: str, *args: Sequence[int]) -> Any:
            return lambda x: cls(x, kind, *args)

        x, one = float_range(2, 6, 7, 3), (1, 1, 1, 1)
        nhwc = [((1, 2, 3, 1), (1, 2, 2, 1), one, (0, 0, 0, 0), (0, 0, 0, 0)),
                ((1, 3, 3, 1), (1, 2, 1, 1), one, (0, 1, 1, 0), (0, 0, 2, 0)),
                ((1, 2, 2, 1), one, (1, 3, 2, 1), (0, 1, 0, 0), (0, 1, 0, 0)),
                (one, (1, 2, 3, 1), one, (0, 0, 0, 0), (0, 0, 0, 0))]  # fmt: skip
        out = [Sample(make(k, *w), x, tolerance=1e-6) for k in ("sum", "max", "min") for w in nhwc]
        line = ((3,), (2,), (1,), (1,), (1,))
        out += [Sample(make(k, *line), SPECIALS[:6]) for k in ("max", "min", "sum")]
        out += [Sample(make(k, *line), np.array([-5, 7, 100, -128], np.int8)) for k in ("max", "min", "sum")]
        halves = [Sample(make("max", *nhwc[1]), x.astype(t)) for t in (*HALVES, np.float64)]
        return [*out, *halves, Sample(make("max", *line), np.array([3, 0, 255], np.uint8))]


@tfc_op
class WindowArgMaxOp(WindowOp):
    """The row-major place inside each window of its largest element: the first of equals; a NaN wins.

    (C1) ``window``, ``strides``, ``dilations``, ``low`` and ``high`` have an entry for each dim of ``x``.
    (C2) The first three are at least 1, padding at least 0, and a window fits into the padded ``x``.
    (C3) No window lies in the padding alone; elements are numbers.

    Source: ``tf.nn.max_pool_with_argmax``, whose index is absolute.
    """

    name = "tfc.window_arg_max"
    x = operand_def(Tensor)
    window = prop_def(IntList)
    strides = prop_def(IntList)
    dilations = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$x `window` $window `strides` $strides `dilations` $dilations `low` $low `high` $high "
        "attr-dict `:` type($x) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        window: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
    ) -> None:
        names = ("window", "strides", "dilations", "low", "high")
        values = (window, strides, dilations, low, high)
        self.construct([SSAValue.get(x)], {n: ints(v) for n, v in zip(names, values, strict=True)})

    def infer(self) -> Sequence[Attribute]:
        shape = self.check_windows(shape_of(self.x))
        window, _, dilations, low, high = self.windows()
        span = [(w - 1) * d + 1 for w, d in zip(window, dilations, strict=True)]
        covered = all(max(b, a) < n for b, a, n in zip(low, high, span, strict=True))
        require(covered and not is_bool(element(self.x)), self, "C3", "numbers, and padding below the window", self.windows())
        return [tensor_type(shape, i64)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [i64]

    def reference(self, *args: Array) -> Array:
        x = args[0].astype(np.float32) if args[0].dtype in HALVES else args[0]
        view = window_view(x, self.windows(), identity("max", element(self.x)))
        real = window_view(np.ones(x.shape, np.int8), self.windows(), 0).reshape(*view.shape[: x.ndim], -1)
        flat = view.reshape(real.shape)
        found = np.argmax(flat, axis=-1)
        # Where only the least value occurs, padding would come first: take the first real element.
        in_padding = np.take_along_axis(real, found[..., None], -1)[..., 0] == 0
        return np.where(in_padding, np.argmax(real, axis=-1), found).astype(np.int64)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        of, shape = element(self.x), shape_of(self.x)
        window, *rest = self.windows()

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            s = Scalars(at.emit)
            place: Dim = 0
            for i, w in zip(inner, window, strict=True):
                place = place * w + i
            where, inside = window_positions(index, inner, shape, *rest)
            padding = at.constant(-1, i64)
            here = at.guard(inside, lambda: at.value(place, i64), lambda: padding)
            x = at.guard(inside, lambda: at.read(0, where), lambda: carried[0])
            is_first = s.bit_and(s.compare("slt", carried[1], 0), s.compare("sge", here, 0))
            better = s.bit_or(is_first, _better(at, "max", of, x, carried[0]))
            return [s.select(better, x, carried[0]), s.select(better, here, carried[1])]

        start = [at.constant(identity("max", of), of), at.constant(-1, i64)]
        return at.fold(window, start, step)[1]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Sequence[int]) -> Any:
            return lambda x: cls(x, *args)

        square = ((1, 3, 2), (1, 2, 2), (1, 1, 1), (0, 1, 0), (0, 1, 1))
        line = ((3,), (2,), (1,), (1,), (1,))
        x = np.round(float_range(2, 7, 6))
        return [Sample(make(*square), x), Sample(make(*line), SPECIALS), Sample(make(*line), (x[0, 0] * 9).astype(np.int8)),
                Sample(make(*line), np.full(4, -np.inf, np.float32))]  # fmt: skip


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

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(kind: str, axis: int, exclusive: bool, reverse: bool) -> Any:
            return lambda x: cls(x, kind, axis, exclusive, reverse)

        x, flags = float_range(3, 5, low=0.5), (False, True)
        out = [Sample(make(k, a, e, r), x, tolerance=1e-6) for k in ("sum", "prod") for a in (0, 1) for e in flags for r in flags]
        return [*out, Sample(make("sum", 0, True, False), (x[0] * 9).astype(np.int32)), Sample(make("sum", 1, True, True), x[:, :0])]
