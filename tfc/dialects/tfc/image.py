"""Pooling and resizing of images in channels-last order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import UnitAttr, f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
)

from tfc.dialects.tfc.base import Emit, Sample, float_range, ints, tfc_op
from tfc.dialects.tfc.constant import ConstantOp, splat
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.layer import LayerOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import WindowOp, WindowReduceOp, accumulated, window_view
from tfc.dialects.tfc.shape import Integer, IntList, integer
from tfc.dialects.tfc.types import (
    Array,
    Shape,
    Tensor,
    dtype_of,
    element,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.errors import require


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
