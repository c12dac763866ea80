"""Sums of products: what nearly all arithmetic of a neural network is.

    tfc.dot %x, %y batch [0], [0] contract [2], [1]
    tfc.convolution %x, %w strides [2, 2] dilations [1, 1] low [0, 0] high [1, 1] groups 1

Every generator may contract ``x*y + z`` into one rounding and add in any order, in f32 for f16 and
bf16. ``value_at`` is one product after another; a faster generator takes floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.pointwise import HALVES, formula
from tfc.dialects.tfc.reduce import accumulated, combine, window_fits, window_result, window_view
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.shape import Integer, IntList, integer
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    compatible,
    element,
    is_bool,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require


class ContractionOp(TensorOp):
    """A sum of products of elements of ``x`` and another operand."""

    def sum_of_products(
        self,
        at: Access,
        extents: Sequence[Dim],
        pair: Any,
    ) -> SSAValue:
        """The sum over ``extents`` of the products of ``pair(index, then)``.

        ``pair`` calls ``then(x, y)`` with the factors, or gives the sum so far back unchanged.
        """
        of = element(self.operands[0])
        s = Scalars(at.emit)

        def both(x: SSAValue, y: SSAValue) -> SSAValue:
            return combine(at.emit, "sum", of, x, y)

        def step(inner: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            return [pair(inner, carried[0], lambda x, y: both(carried[0], s.mul(x, y)))]

        return at.fold(extents, [at.constant(0, of)], step, combine=both)[0]


@tfc_op
class DotOp(ContractionOp):
    """Multiply and add along ``contract``; dims of ``batch`` go together, all others are free.

    The result's dims are the batch dims, the free dims of ``x``, the free dims of ``y``.

    (C1) The lists for ``x`` and ``y`` have equal lengths and name distinct dims.
    (C2) Batch dims and contracted dims of ``x`` and ``y`` are equal, in the order of the lists.
    (C3) ``x`` and ``y`` have one element type, of numbers.

    Source: ``tf.einsum``, ``tf.matmul``.
    """

    name = "tfc.dot"
    x = operand_def(Tensor)
    y = operand_def(Tensor)
    batch_x = prop_def(IntList)
    batch_y = prop_def(IntList)
    contract_x = prop_def(IntList)
    contract_y = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = (
        "$x `,` $y `batch` $batch_x `,` $batch_y `contract` $contract_x `,` $contract_y attr-dict "
        "`:` type($x) `,` type($y) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        y: SSAValue | Operation,
        batch_x: Sequence[int],
        batch_y: Sequence[int],
        contract_x: Sequence[int],
        contract_y: Sequence[int],
    ) -> None:
        names = ("batch_x", "batch_y", "contract_x", "contract_y")
        values = (batch_x, batch_y, contract_x, contract_y)
        properties = {n: ints(v) for n, v in zip(names, values, strict=True)}
        self.construct([SSAValue.get(x), SSAValue.get(y)], properties)

    def dims(self) -> tuple[list[int], list[int], list[int], list[int]]:
        """``batch_x, batch_y, contract_x, contract_y`` as lists."""
        props = (self.batch_x, self.batch_y, self.contract_x, self.contract_y)
        a, b, c, d = (list(p.get_values()) for p in props)
        return a, b, c, d

    def free(self) -> tuple[list[int], list[int]]:
        """The dims of ``x`` and of ``y`` that are neither batched nor contracted."""
        bx, by, cx, cy = self.dims()
        x, y = len(shape_of(self.x)), len(shape_of(self.y))
        return [d for d in range(x) if d not in bx + cx], [d for d in range(y) if d not in by + cy]

    def infer(self) -> Sequence[Attribute]:
        x, y = shape_of(self.x), shape_of(self.y)
        bx, by, cx, cy = self.dims()
        for shape, named in ((x, bx + cx), (y, by + cy)):
            distinct = len(set(named)) == len(named) and all(0 <= d < len(shape) for d in named)
            lengths = len(bx) == len(by) and len(cx) == len(cy)
            require(distinct and lengths, self, "C1", f"distinct dims below {len(shape)}, in pairs", self.dims())
        for i, j in [*zip(bx, by, strict=True), *zip(cx, cy, strict=True)]:
            equal = compatible(x[i], y[j])
            require(equal, self, "C2", f"dim {i} of x = dim {j} of y", f"{x[i]} and {y[j]}")
        same = element(self.x) == element(self.y) and not is_bool(element(self.x))
        require(same, self, "C3", "one element type of numbers", f"{element(self.x)} and {element(self.y)}")
        batch = [a if isinstance(a := x[i], int) else y[j] for i, j in zip(bx, by, strict=True)]
        fx, fy = self.free()
        return [tensor_type([*batch, *(x[d] for d in fx), *(y[d] for d in fy)], element(self.x))]

    def reference(self, *args: Array) -> Array:
        letters = iter(ascii_letters)
        bx, by, cx, cy = self.dims()
        fx, fy = self.free()
        names_x = {d: next(letters) for d in range(args[0].ndim)}
        paired = dict(zip(by + cy, bx + cx, strict=True))
        names_y = {d: names_x[paired[d]] if d in paired else next(letters) for d in range(args[1].ndim)}
        result = [names_x[d] for d in bx + fx] + [names_y[d] for d in fy]
        text = f"{''.join(names_x.values())},{''.join(names_y.values())}->{''.join(result)}"
        with np.errstate(all="ignore"):
            # optimize: pairs go through BLAS, so that folding and tests take no minutes.
            wide = np.einsum(text, accumulated(args[0]), accumulated(args[1]), optimize=True)
            return np.asarray(wide).astype(args[0].dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        x, y = shape_of(self.x), shape_of(self.y)
        bx, by, cx, cy = self.dims()
        fx, fy = self.free()
        outer_x = dict(zip(bx + fx, index, strict=False))
        outer_y = dict(zip(by + fy, [*index[: len(by)], *index[len(by) + len(fx) :]], strict=True))

        def pair(inner: Sequence[Dim], total: SSAValue, then: Any) -> SSAValue:
            where_x = outer_x | dict(zip(cx, inner, strict=True))
            where_y = outer_y | dict(zip(cy, inner, strict=True))
            return then(
                at.read(0, [where_x[d] for d in range(len(x))]),
                at.read(1, [where_y[d] for d in range(len(y))]),
            )

        return self.sum_of_products(at, [x[d] for d in cx], pair)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [self._factor(emit, g[0], 0), self._factor(emit, g[0], 1)]

    def _factor(self, emit: Emit, g: SSAValue, which: int) -> SSAValue:
        """The gradient of one factor: ``g`` times the other one, along what only that one has."""
        bx, by, cx, cy = self.dims()
        (own_batch, own_contract), (batch, contract) = ((bx, cx), (by, cy))[:: 1 if which == 0 else -1]
        own_free, free = self.free()[:: 1 if which == 0 else -1]
        other = self.y if which == 0 else self.x
        first = len(bx) + (len(self.free()[0]) if which == 0 else 0)  # where the other's free dims are in g
        of_g = list(range(first, first + len(free)))
        lead = list(range(len(bx)))
        # The order of the dims that are left, with g as the first factor and as the second.
        pairs = dict(zip(contract, own_contract, strict=True))
        summed = [pairs[d] for d in sorted(contract)]
        g_first, g_last = ([*own_batch, *own_free, *summed], [*own_batch, *summed, *own_free])
        if g_last == sorted(g_last):
            return emit(DotOp(other, g, batch, lead, free, of_g))
        return formula(emit).transpose(
            emit(DotOp(g, other, lead, batch, of_g, free)), [int(d) for d in np.argsort(g_first)]
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Sequence[int]) -> Any:
            return lambda x, y: cls(x, y, *args)

        x, y = float_range(5, 7), float_range(7, 3)
        a, b = float_range(2, 3, 4, 5), float_range(2, 3, 5, 2)
        matmul = make([], [], [1], [0])
        out = [Sample(matmul, x, y), Sample(matmul, x[:0], y), Sample(matmul, x[:, :0], y[:0]), Sample(matmul, x[:, 0:1].copy(), y[0:1])]
        out += [Sample(make([0, 1], [0, 1], [3], [2]), a, b), Sample(make([0], [0], [1, 3], [1, 2]), a, b)]
        out += [Sample(make([], [], [], []), x[0], y[0]), Sample(make([], [], [0], [0]), x[0], y[:, 0].copy())]
        out += [Sample(make([], [], [0], [1]), x[:, :2].copy(), float_range(4, 5))]
        out += [Sample(make([1], [1], [0], [0]), x, x), Sample(matmul, (x * 9).astype(np.int32), (y * 9).astype(np.int32))]
        out += [Sample(matmul, x.astype(t), y.astype(t)) for t in (*HALVES, np.float64, np.int8, np.uint8)]
        return [Sample(s.make, *s.args, tolerance=1e-5) for s in out]


@tfc_op
class ConvolutionOp(ContractionOp):
    """Convolution in channels-last order, as neural networks mean it (the filter is not turned).

    ``x: [n, spatial..., c]``, ``w: [spatial..., c/groups, o]``, result ``[n, spatial..., o]``; group
    ``g`` makes the ``g``-th part of ``o`` from the ``g``-th part of ``c``.

    (C1) ``x`` and ``w`` have one rank, at least 2; the lists have an entry for each spatial dim.
    (C2) ``dim(w, -2) * groups = c``, and ``groups`` divides ``o``.
    (C3) Strides and dilations are at least 1, padding at least 0, and the filter fits.
    (C4) ``x`` and ``w`` have one element type, of numbers.

    Source: ``tf.nn.convolution``, ``tf.nn.depthwise_conv2d``.
    """

    name = "tfc.convolution"
    x = operand_def(Tensor)
    w = operand_def(Tensor)
    strides = prop_def(IntList)
    dilations = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    groups = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$x `,` $w `strides` $strides `dilations` $dilations `low` $low `high` $high `groups` $groups "
        "attr-dict `:` type($x) `,` type($w) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        w: SSAValue | Operation,
        strides: Sequence[int],
        dilations: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
        groups: int,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "strides": ints(strides),
            "dilations": ints(dilations),
            "low": ints(low),
            "high": ints(high),
            "groups": integer(groups),
        }
        self.construct([SSAValue.get(x), SSAValue.get(w)], properties)

    def amounts(self) -> list[list[int]]:
        """``[strides, dilations, low, high]``."""
        return [list(p.get_values()) for p in (self.strides, self.dilations, self.low, self.high)]

    def infer(self) -> Sequence[Attribute]:
        x, w = shape_of(self.x), shape_of(self.w)
        amounts, groups = self.amounts(), self.groups.value.data
        lengths = [len(a) for a in amounts]
        ranks = len(x) == len(w) >= 2 and lengths == [len(x) - 2] * 4
        require(ranks, self, "C1", f"one rank and {len(x) - 2} entries each", f"{self.w.type} and {lengths}")
        window, (inputs, outputs) = w[:-2], w[-2:]
        channels = groups >= 1 and compatible(inputs * groups, x[-1])
        divides = not isinstance(outputs, int) or (groups >= 1 and outputs % groups == 0)
        require(channels and divides, self, "C2", f"groups that divide {x[-1]} and {outputs}", f"{groups} of {inputs}")
        sizes = [d for d in window if isinstance(d, int)]
        require(len(sizes) == len(window), self, "C1", "a filter of static size", self.w.type)
        least = [min(a, default=1) for a in amounts]
        legal = min(least[:2]) >= 1 and min(least[2:]) >= 0
        require(legal, self, "C3", "strides, dilations >= 1 and padding >= 0", amounts)
        fits = window_fits(x[1:-1], sizes, *amounts[1:])
        require(fits, self, "C3", f"a filter that fits into {list(x[1:-1])}", list(window))
        spatial = window_result(x[1:-1], sizes, *amounts)
        same = element(self.x) == element(self.w) and not is_bool(element(self.x))
        require(same, self, "C4", "one element type of numbers", f"{element(self.x)} and {element(self.w)}")
        return [tensor_type([x[0], *spatial, outputs], element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, w = (accumulated(a) for a in args)
        strides, dilations, low, high = self.amounts()
        groups, rank = self.groups.value.data, len(strides)
        windows = [[1, *v, 1] for v in (w.shape[:-2], strides, dilations)] + [[0, *v, 0] for v in (low, high)]
        view = window_view(x, windows, 0)  # [n, places..., c, 1, window..., 1]
        view = view.reshape(*view.shape[: rank + 1], groups, w.shape[-2], *w.shape[:-2])
        filters = w.reshape(*w.shape[:-1], groups, w.shape[-1] // groups)
        places, window = ascii_letters[:rank], ascii_letters[rank : 2 * rank]
        text = f"N{places}GC{window},{window}CGO->N{places}GO"
        with np.errstate(all="ignore"):
            result = np.einsum(text, view, filters, optimize=True)
            return result.reshape(*view.shape[: rank + 1], w.shape[-1]).astype(args[0].dtype)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        x, w = shape_of(self.x), shape_of(self.w)
        groups = self.groups.value.data
        batch, *places, output = index
        group: Dim = 0 if groups == 1 else output // (w[-1] // groups)

        def pair(inner: Sequence[Dim], total: SSAValue, then: Any) -> SSAValue:
            *taps, channel = inner
            where: list[Dim] = []
            inside: list[tuple[Dim, Dim]] = []
            each = zip(places, taps, x[1:-1], *self.amounts(), strict=True)
            for place, tap, n, stride, dilation, low, high in each:
                where.append(place * stride + tap * dilation - low)
                inside += [(where[-1], n)] if low or high else []

            def product() -> SSAValue:
                return then(
                    at.read(0, [batch, *where, group * w[-2] + channel]),
                    at.read(1, [*taps, channel, output]),
                )

            return at.guard(inside, product, lambda: total)

        return self.sum_of_products(at, w[:-1], pair)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        from tfc.dialects.tfc.convolution_gradient import ConvBackpropFilterOp, ConvBackpropInputOp

        strides, dilations, low, high = self.amounts()
        rest = (strides, dilations, low, high, self.groups.value.data)
        to_x = ConvBackpropInputOp(self.w, g[0], shape_of(self.x), *rest)
        to_w = ConvBackpropFilterOp(self.x, g[0], shape_of(self.w), *rest)
        return [emit(to_x), emit(to_w)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda x, w: cls(x, w, *args)

        x, w = float_range(2, 6, 7, 4), float_range(3, 2, 4, 6)
        same = make([1, 1], [1, 1], [1, 0], [1, 1], 1)
        out = [Sample(same, x, w), Sample(make([2, 3], [1, 1], [0, 0], [0, 0], 1), x, w)]
        out += [Sample(make([1, 2], [2, 3], [2, 1], [1, 2], 1), x, w)]
        out += [Sample(make([1, 1], [1, 1], [0, 1], [0, 0], 2), x, w[:, :, :2].copy())]
        out += [Sample(make([2, 2], [1, 1], [1, 1], [0, 0], 4), x, float_range(3, 3, 1, 8))]
        out += [Sample(make([1, 1], [1, 1], [0, 0], [0, 0], 1), x, float_range(1, 1, 4, 3))]
        out += [Sample(make([2], [1], [2], [1], 1), x[0], float_range(3, 4, 2))]
        out += [Sample(make([1] * 3, [1] * 3, [0, 1, 0], [0] * 3, 1), x[None], float_range(2, 2, 2, 4, 2))]
        out += [Sample(make([], [], [], [], 1), x[0, 0], float_range(4, 3)), Sample(same, x[:0], w)]
        out += [Sample(same, x.astype(t), w.astype(t)) for t in (*HALVES, np.float64, np.int32)]
        return [Sample(s.make, *s.args, tolerance=1e-5) for s in out]
