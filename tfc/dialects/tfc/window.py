"""Sliding windows: pooling without its last step, and where the largest element stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, flat, float_range, ints, tfc_op
from tfc.dialects.tfc.combine import (
    UFUNCS,
    ReduceKind,
    ReduceKindAttr,
    accumulated,
    combine,
    displaces,
    identity,
)
from tfc.dialects.tfc.pieces import IntList, padded
from tfc.dialects.tfc.pointwise import HALVES, SPECIALS, formula
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.types import (
    Array,
    Shape,
    Tensor,
    element,
    is_bool,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require


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

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        from tfc.dialects.tfc.gradient import WindowUnpoolOp

        shape, windows = shape_of(self.x), self.windows()
        if self.kind.data == "sum":
            return [self._grad_of_sum(emit, g[0])]
        x = self.x if self.kind.data == "max" else formula(emit).neg(self.x)
        return [emit(WindowUnpoolOp(emit(WindowArgMaxOp(x, *windows)), g[0], shape, *windows))]

    def _grad_of_sum(self, emit: Emit, g: SSAValue) -> SSAValue:
        """Each element was in as many windows as the turned window now finds of the spread ``g``."""
        window, strides, dilations, low, _ = self.windows()
        reach = [(w - 1) * d for w, d in zip(window, dilations, strict=True)]
        each = zip(shape_of(self.x), shape_of(g), strides, low, strict=True)
        high = [n + b - ((m - 1) * s + 1) for n, m, s, b in each]
        before = [r - b for r, b in zip(reach, low, strict=True)]
        spread = padded(emit, g, before, high, [s - 1 for s in strides])
        ones, none = [1] * len(window), [0] * len(window)
        return emit(WindowReduceOp(spread, "sum", window, ones, dilations, none, none))

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
            better = s.bit_or(is_first, displaces(at, "max", of, x, carried[0]))
            return [s.select(better, x, carried[0]), s.select(better, here, carried[1])]

        start = [at.constant(identity("max", of), of), at.constant(-1, i64)]
        return at.fold(window, start, step)[1]

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Sequence[int]) -> Any:
            return lambda x: cls(x, *args)

        square = ((1, 3, 2), (1, 2, 2), (1, 1, 1), (0, 1, 0), (0, 1, 1))
        line = ((3,), (2,), (1,), (1,), (1,))
        x = np.round(float_range(2, 7, 6))
        return [Sample(make(*square), x), Sample(make(*line), SPECIALS), Sample(make(*line), (x[0, 0] * 9).astype(np.int8)),
                Sample(make(*line), np.full(4, -np.inf, np.float32))]  # fmt: skip
