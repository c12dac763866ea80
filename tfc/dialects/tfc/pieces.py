"""Operations that take a part of a tensor, or put tensors together.

    tfc.slice %x from [0, 1] sizes [2, 2] strides [1, 1]        tfc.reverse %x over [0]
    tfc.pad %x with %v low [0, 1] high [2, 0] interior [0, 0]   tfc.concat %x, %y along 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def, var_operand_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.pointwise import formula
from tfc.dialects.tfc.types import (
    Array,
    ShapeAttr,
    Tensor,
    compatible,
    element,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require

IntList = DenseArrayBase.constr(i64)
Integer = IntegerAttr.constr(i64)


def integer(value: int) -> IntegerAttr:
    return IntegerAttr(int(value), i64)


def known(shape: Sequence[Dim]) -> list[int]:
    """The extents as integers. An interpreter has put numbers for names before it runs."""
    assert all(isinstance(d, int) for d in shape), f"{list(shape)} has names"
    return [d for d in shape if isinstance(d, int)]


@tfc_op
class SliceOp(TensorOp):
    """Elements ``starts[d] + i * strides[d]`` for ``i`` below ``sizes[d]``.

    (C1) ``starts``, ``sizes`` and ``strides`` have one entry for each dim of ``x``.
    (C2) Starts and sizes are at least 0, strides at least 1.
    (C3) The last element lies within ``x``.

    Source: ``tf.slice``, ``tf.strided_slice``.
    """

    name = "tfc.slice"
    x = operand_def(Tensor)
    starts = prop_def(ShapeAttr)
    sizes = prop_def(ShapeAttr)
    strides = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$x `from` $starts `sizes` $sizes `strides` $strides attr-dict `:` type($x) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        starts: Sequence[Dim],
        sizes: Sequence[Dim],
        strides: Sequence[int],
    ) -> None:
        properties = {
            "starts": ShapeAttr(tuple(starts)),
            "sizes": ShapeAttr(tuple(sizes)),
            "strides": ints(strides),
        }
        self.construct([SSAValue.get(x)], properties)

    def infer(self) -> Sequence[Attribute]:
        source, sizes = shape_of(self.x), self.sizes.data
        starts, strides = self.starts.data, list(self.strides.get_values())
        counts = [len(starts), len(sizes), len(strides)]
        require(counts == [len(source)] * 3, self, "C1", f"{len(source)} of each", counts)
        negative = any(isinstance(d, int) and d < 0 for d in (*starts, *sizes)) or any(t < 1 for t in strides)
        require(not negative, self, "C2", "starts and sizes >= 0, strides >= 1", f"{starts}, {sizes}, {strides}")
        for d, (n, start, size, stride) in enumerate(zip(source, starts, sizes, strides, strict=True)):
            end = start + (size - 1) * stride + 1
            past = isinstance(end, int) and isinstance(n, int) and end > n and size != 0
            require(not past, self, "C3", f"an end of at most {n} in dim {d}", end)
        return [tensor_type(sizes, element(self.x))]

    def reference(self, *args: Array) -> Array:
        starts, sizes, strides = known(self.starts.data), known(self.sizes.data), self.strides.get_values()
        parts = [slice(b, b + n * s, s) for b, n, s in zip(starts, sizes, strides, strict=True)]
        cut = args[0][tuple(parts)]
        return cut[tuple(slice(0, n) for n in sizes)]

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        each = zip(self.starts.data, index, self.strides.get_values(), strict=True)
        return at.read(0, [b + i * s for b, i, s in each])

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        strides = list(self.strides.get_values())
        each = zip(shape_of(self.x), self.starts.data, self.sizes.data, strides, strict=True)
        high = [n - b - ((size - 1) * s + 1 if size != 0 else 0) for n, b, size, s in each]
        return [padded(emit, g[0], self.starts.data, high, [s - 1 for s in strides])]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        cases = [((5, 7), (1, 2), (3, 4), (1, 1)), ((9,), (0,), (3,), (4,)), ((9,), (1,), (3,), (3,)),
                 ((4, 3), (4, 0), (0, 3), (1, 1)), ((2, 3, 5), (1, 0, 0), (1, 2, 3), (1, 2, 2)), ((), (), (), ())]  # fmt: skip

        def make(*args: Sequence[int]) -> object:
            return lambda x: cls(x, *args)

        return [Sample(make(*rest), float_range(*s)) for s, *rest in cases]  # pyright: ignore


@tfc_op
class ReverseOp(TensorOp):
    """The order of elements along ``axes`` turned round.

    (C1) ``axes`` are distinct axes of ``x``.

    Source: ``tf.reverse``.
    """

    name = "tfc.reverse"
    x = operand_def(Tensor)
    axes = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = "$x `along` $axes attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, axes: Sequence[int]) -> None:
        self.construct([SSAValue.get(x)], {"axes": ints(axes)})

    def infer(self) -> Sequence[Attribute]:
        axes, rank = list(self.axes.get_values()), len(shape_of(self.x))
        distinct = len(set(axes)) == len(axes) and all(0 <= a < rank for a in axes)
        require(distinct, self, "C1", f"distinct axes below {rank}", axes)
        return [tensor_type(shape_of(self.x), element(self.x))]

    def reference(self, *args: Array) -> Array:
        return np.flip(args[0], self.axes.get_values())

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        axes, shape = self.axes.get_values(), shape_of(self.x)
        return at.read(0, [shape[d] - 1 - i if d in axes else i for d, i in enumerate(index)])

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(ReverseOp(g[0], list(self.axes.get_values())))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(3, 5)
        return [Sample(lambda x: cls(x, [0]), x), Sample(lambda x: cls(x, [1, 0]), x), Sample(lambda x: cls(x, []), x),
                Sample(lambda x: cls(x, [1]), x[:, :0])]  # fmt: skip


@tfc_op
class PadOp(TensorOp):
    """``x`` with ``value`` around it, and ``interior`` times between its elements.

    (C1) ``low``, ``high`` and ``interior`` have one entry, at least 0, for each dim of ``x``.
    (C2) ``value`` is one element of the type of ``x``.

    Source: ``tf.pad``.
    """

    name = "tfc.pad"
    x = operand_def(Tensor)
    value = operand_def(Tensor)
    low = prop_def(IntList)
    high = prop_def(IntList)
    interior = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$x `with` $value `low` $low `high` $high `interior` $interior attr-dict "
        "`:` type($x) `,` type($value) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        value: SSAValue | Operation,
        low: Sequence[int],
        high: Sequence[int],
        interior: Sequence[int] | None = None,
    ) -> None:
        within = [0] * len(low) if interior is None else interior
        properties = {"low": ints(low), "high": ints(high), "interior": ints(within)}
        self.construct([SSAValue.get(x), SSAValue.get(value)], properties)

    def _amounts(self) -> list[list[int]]:
        return [list(p.get_values()) for p in (self.low, self.high, self.interior)]

    def infer(self) -> Sequence[Attribute]:
        source, amounts = shape_of(self.x), self._amounts()
        fits = all(len(a) == len(source) and min(a, default=0) >= 0 for a in amounts)
        require(fits, self, "C1", f"{len(source)} amounts >= 0", amounts)
        scalar = shape_of(self.value) == () and element(self.value) == element(self.x)
        require(scalar, self, "C2", f"tensor<{element(self.x)}>", self.value.type)
        shape = [
            low + high + (n if not between else n + (n - 1) * between if n != 0 else 0)
            for n, low, high, between in zip(source, *amounts, strict=True)
        ]
        return [tensor_type(shape, element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, value = args
        low, high, interior = self._amounts()
        spread = [n + max(n - 1, 0) * i for n, i in zip(x.shape, interior, strict=True)]
        shape = [n + b + a for n, b, a in zip(spread, low, high, strict=True)]
        result = np.full(shape, value, x.dtype)
        where = zip(low, spread, interior, strict=True)
        result[tuple(slice(b, b + n, i + 1) for b, n, i in where)] = x
        return result

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        low, high, interior = self._amounts()
        inside: list[tuple[Dim, Dim]] = []
        where: list[Dim] = []
        for i, n, b, a, between in zip(index, shape_of(self.x), low, high, interior, strict=True):
            position, step = i - b, between + 1
            if step > 1:
                inside += [(position, n * step), (position % step, 1)]
                position = position // step
            elif a or b:
                inside.append((position, n))
            where.append(position)
        return at.guard(inside, lambda: at.read(0, where), lambda: at.read(1, []))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, (low, _, interior) = formula(emit), self._amounts()
        inner = emit(SliceOp(g[0], low, shape_of(self.x), [i + 1 for i in interior]))
        axes = list(range(len(low)))
        return [inner, f.sub(f.reduce("sum", g[0], axes), f.reduce("sum", inner, axes))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, v = float_range(3, 4), np.array(9.5, np.float32)
        return [
            Sample(lambda x, v: cls(x, v, [1, 0], [0, 2]), x, v),
            Sample(lambda x, v: cls(x, v, [0, 2], [1, 0], [1, 2]), x, v),
            Sample(lambda x, v: cls(x, v, [0, 0], [0, 0]), x, v),
            Sample(lambda x, v: cls(x, v, [2, 0], [1, 0], [1, 0]), x[:0], v),
            Sample(lambda x, v: cls(x, v, [1], [1]), np.array([1, -2], np.int8), np.array(7, np.int8)),
        ]


def padded(
    emit: Emit, x: SSAValue, low: Sequence[Dim], high: Sequence[Dim], interior: Sequence[int]
) -> SSAValue:
    """``x`` with zeros around and between its elements; negative amounts cut off.

    Amounts that are functions of named dims are added by concatenation, and are not negative.
    """
    from tfc.dialects.tfc.constant import scalar_constant, splat

    known_low, known_high = ([a if isinstance(a, int) else 0 for a in amounts] for amounts in (low, high))
    around = [[max(a, 0) for a in amounts] for amounts in (known_low, known_high)]
    if any(a for amounts in (*around, interior) for a in amounts):
        x = emit(PadOp(x, emit(scalar_constant(0, element(x))), around[0], around[1], interior))
    before, after = ([max(-a, 0) for a in amounts] for amounts in (known_low, known_high))
    if any(before) or any(after):
        sizes = [n - b - a for n, b, a in zip(shape_of(x), before, after, strict=True)]
        x = emit(SliceOp(x, before, sizes, [1] * len(sizes)))
    for axis, amounts in enumerate(zip(low, high, strict=True)):
        if any(not isinstance(a, int) for a in amounts):
            shape = shape_of(x)
            ends = [0 if isinstance(a, int) else a for a in amounts]
            zeros = [splat(emit, (*shape[:axis], n, *shape[axis + 1 :]), 0, element(x)) for n in ends]
            x = emit(ConcatOp([zeros[0], x, zeros[1]], axis))
    return x


@tfc_op
class ConcatOp(TensorOp):
    """Operands one after another along ``axis``.

    (C1) There is an operand, and ``axis`` is one of its dims.
    (C2) Extents but that of ``axis``, and element types, are those of the first operand.

    Source: ``tf.concat``.
    """

    name = "tfc.concat"
    xs = var_operand_def(Tensor)
    axis = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = "$xs `along` $axis attr-dict `:` type($xs) `->` type($result)"

    def __init__(self, xs: Sequence[SSAValue | Operation], axis: int) -> None:
        self.construct([[SSAValue.get(x) for x in xs]], {"axis": integer(axis)})

    def infer(self) -> Sequence[Attribute]:
        axis = self.axis.value.data
        shapes = [shape_of(x) for x in self.xs]
        ranks = [len(s) for s in shapes]
        require(bool(ranks) and 0 <= axis < ranks[0], self, "C1", "an axis of the operands", f"{axis} of {ranks}")
        first = list(shapes[0])
        for x, shape in zip(self.xs, shapes, strict=True):
            same = len(shape) == len(first) and element(x) == element(self.xs[0])
            fits = same and all(d == axis or compatible(a, b) for d, (a, b) in enumerate(zip(shape, first, strict=True)))
            require(fits, self, "C2", f"{self.xs[0].type} but for dim {axis}", x.type)
            first = [a if isinstance(a, int) else b for a, b in zip(first, shape, strict=True)]
        total: Dim = 0
        for shape in shapes:
            total = total + shape[axis]
        first[axis] = total
        return [tensor_type(first, element(self.xs[0]))]

    def reference(self, *args: Array) -> Array:
        return np.concatenate(args, self.axis.value.data)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        return self._from(at, list(index), 0)

    def _from(self, at: Access, index: list[Dim], k: int) -> SSAValue:
        """The element from operand ``k`` or one after it; ``index`` counts from its start."""
        if k == len(self.xs) - 1:
            return at.read(k, index)
        axis = self.axis.value.data
        extent = shape_of(self.xs[k])[axis]
        beyond = [*index[:axis], index[axis] - extent, *index[axis + 1 :]]
        here = [(index[axis], extent)]
        return at.guard(here, lambda: at.read(k, index), lambda: self._from(at, beyond, k + 1))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        axis, start = self.axis.value.data, cast("Dim", 0)
        parts: list[SSAValue | None] = []
        for x in self.xs:
            shape = shape_of(x)
            starts: list[Dim] = [start if d == axis else 0 for d in range(len(shape))]
            parts.append(emit(SliceOp(g[0], starts, shape, [1] * len(shape))))
            start = start + shape[axis]
        return parts

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, y = float_range(2, 3), float_range(2, 4)
        return [
            Sample(lambda *xs: cls(xs, 1), x, y, x[:, :1]),
            Sample(lambda *xs: cls(xs, 0), x, x),
            Sample(lambda *xs: cls(xs, 0), x),
            Sample(lambda *xs: cls(xs, 1), x, y[:, :0], y),
            Sample(lambda *xs: cls(xs, 0), np.array([True]), np.array([False, True])),
        ]
