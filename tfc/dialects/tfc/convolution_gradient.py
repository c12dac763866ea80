"""The gradients of a convolution: to its input, a convolution itself, and to its filter, a sum of products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, float_range, ints, tfc_op
from tfc.dialects.tfc.contraction import ContractionOp, ConvolutionOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.pieces import Integer, IntList, ReverseOp, integer, known, padded
from tfc.dialects.tfc.reduce import accumulated
from tfc.dialects.tfc.types import (
    Array,
    Shape,
    ShapeAttr,
    Tensor,
    compatible,
    element,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require


class ConvolutionGradOp(ContractionOp):
    """What the two gradients of a convolution share."""

    def amounts(self) -> list[list[int]]:
        """``[strides, dilations, low, high]``."""
        names = ("strides", "dilations", "low", "high")
        return [list(self.properties[n].get_values()) for n in names]  # pyright: ignore # IntList

    def group_count(self) -> int:
        return self.properties["groups"].value.data  # pyright: ignore # an integer

    def attributes_of_forward(self) -> tuple[list[int], list[int], list[int], list[int], int]:
        """``strides, dilations, low, high, groups``, as constructors take them."""
        strides, dilations, low, high = self.amounts()
        return strides, dilations, low, high, self.group_count()

    def check_forward(self, x: Shape, w: Shape, g: SSAValue) -> None:
        """That ``g`` has the type of the result of a convolution of ``x`` with ``w``."""
        kind = element(self.operands[0])
        require(is_float(kind) and element(g) == kind, self, "C1", "one element type of floats", f"{kind} and {element(g)}")
        forward = _forward(tensor_type(x, kind), tensor_type(w, kind), *self.amounts(), self.group_count())
        wanted = shape_of(forward.result)
        fits = len(wanted) == len(shape_of(g)) and all(map(compatible, wanted, shape_of(g)))
        require(fits, self, "C2", forward.result.type, g.type)


def _forward(x: Attribute, w: Attribute, *amounts: Any) -> ConvolutionOp:
    """The convolution of values of these types that nothing computes: for its result type."""
    image, filter_ = Block(arg_types=[x, w]).args
    return ConvolutionOp(image, filter_, *amounts)


def _padded(emit: Emit, x: SSAValue, low: Sequence[int], high: Sequence[int], interior: Sequence[int]) -> SSAValue:
    """``x`` with zeros around and between its spatial dims; negative amounts cut off."""
    return padded(emit, x, [0, *low, 0], [0, *high, 0], [0, *interior, 0])


@tfc_op
class ConvBackpropInputOp(ConvolutionGradOp):
    """The gradient of a convolution with filter ``w`` to its input, of shape ``input_shape``.

    (C1) ``w`` and ``g`` have one element type, of floats.
    (C2) ``g`` has the shape of the convolution's result.
    (C3) The spatial dims of ``input_shape`` and ``g`` differ by a number known at compile time.

    Source: ``tf.raw_ops.Conv2DBackpropInput``; ONNX ``ConvTranspose``.
    """

    name = "tfc.conv_backprop_input"
    w = operand_def(Tensor)
    g = operand_def(Tensor)
    input_shape = prop_def(ShapeAttr)
    strides = prop_def(IntList)
    dilations = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    groups = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$w `,` $g `to` $input_shape `strides` $strides `dilations` $dilations `low` $low `high` $high "
        "`groups` $groups attr-dict `:` type($w) `,` type($g) `->` type($result)"
    )

    def __init__(
        self,
        w: SSAValue | Operation,
        g: SSAValue | Operation,
        input_shape: Sequence[Dim],
        strides: Sequence[int],
        dilations: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
        groups: int,
    ) -> None:
        names = ("strides", "dilations", "low", "high")
        lists = (strides, dilations, low, high)
        properties: dict[str, Attribute | None] = {n: ints(v) for n, v in zip(names, lists, strict=True)}
        properties |= {"groups": integer(groups), "input_shape": ShapeAttr(tuple(input_shape))}
        self.construct([SSAValue.get(w), SSAValue.get(g)], properties)

    def infer(self) -> Sequence[Attribute]:
        shape = self.input_shape.data
        self.check_forward(shape, shape_of(self.w), self.g)
        require(None not in self._high(), self, "C3", "static padding", f"{list(shape)} from {self.g.type}")
        return [tensor_type(shape, element(self.w))]

    def _low(self) -> list[int]:
        _, dilations, low, _ = self.amounts()
        sizes = known(shape_of(self.w)[:-2])
        return [(k - 1) * d - b for k, d, b in zip(sizes, dilations, low, strict=True)]

    def _high(self) -> list[int | None]:
        """Padding of the spread ``g`` after its last element; None where it is not a number."""
        strides, _, low, _ = self.amounts()
        each = zip(self.input_shape.data[1:-1], shape_of(self.g)[1:-1], strides, low, strict=True)
        amounts = [n + b - ((m - 1) * s + 1) for n, m, s, b in each]
        return [a if isinstance(a, int) else None for a in amounts]

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, (strides, dilations, _, _), groups = Formula(emit), self.amounts(), self.group_count()
        rank = len(strides)
        high = [a for a in self._high() if a is not None]
        g = _padded(emit, self.g, self._low(), high, [s - 1 for s in strides])
        w = emit(ReverseOp(self.w, list(range(rank)))) if rank else self.w
        *window, inputs, outputs = shape_of(w)
        # [window, c/groups, groups, o/groups] -> [window, o/groups, groups, c/groups]
        split = f.reshape(w, [*window, inputs, groups, outputs // groups])
        turned = f.transpose(split, [*range(rank), rank + 2, rank + 1, rank])
        w = f.reshape(turned, [*window, outputs // groups, inputs * groups])
        zeros, ones = [0] * rank, [1] * rank
        return [emit(ConvolutionOp(g, w, ones, dilations, zeros, zeros, groups))]

    def reference(self, *args: Array) -> Array:
        w, g = (accumulated(a) for a in args)
        strides, dilations, low, high = self.amounts()
        groups, shape = self.group_count(), known(self.input_shape.data)
        padded = np.zeros([shape[0], *(n + b + a for n, b, a in zip(shape[1:-1], low, high, strict=True)), shape[-1]], w.dtype)
        inputs, outputs = w.shape[-2], w.shape[-1] // groups
        for tap in np.ndindex(*w.shape[:-2]):
            cut = _tap_slices(tap, g.shape[1:-1], strides, dilations)
            for k in range(groups):
                part = g[..., k * outputs : (k + 1) * outputs] @ w[tap][:, k * outputs : (k + 1) * outputs].T
                padded[(slice(None), *cut, slice(k * inputs, (k + 1) * inputs))] += part
        inner = [slice(b, b + n) for b, n in zip(low, shape[1:-1], strict=True)]
        return padded[(slice(None), *inner, slice(None))].astype(args[0].dtype)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        rest = self.attributes_of_forward()
        to_w = ConvBackpropFilterOp(g[0], self.g, shape_of(self.w), *rest)
        return [emit(to_w), emit(ConvolutionOp(g[0], self.w, *rest))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda w, g: cls(w, g, *args)

        return [Sample(make(c.x.shape, *c.amounts), c.w, c.g, tolerance=1e-4) for c in _cases()]


@tfc_op
class ConvBackpropFilterOp(ConvolutionGradOp):
    """The gradient of a convolution of ``x`` to its filter, of shape ``filter_shape``.

    (C1) ``x`` and ``g`` have one element type, of floats.
    (C2) ``g`` has the shape of the convolution's result.
    (C3) The spatial dims of ``x`` and ``g`` differ by a number known at compile time.

    Source: ``tf.raw_ops.Conv2DBackpropFilter``.
    """

    name = "tfc.conv_backprop_filter"
    x = operand_def(Tensor)
    g = operand_def(Tensor)
    filter_shape = prop_def(ShapeAttr)
    strides = prop_def(IntList)
    dilations = prop_def(IntList)
    low = prop_def(IntList)
    high = prop_def(IntList)
    groups = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$x `,` $g `to` $filter_shape `strides` $strides `dilations` $dilations `low` $low `high` $high "
        "`groups` $groups attr-dict `:` type($x) `,` type($g) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        g: SSAValue | Operation,
        filter_shape: Sequence[Dim],
        strides: Sequence[int],
        dilations: Sequence[int],
        low: Sequence[int],
        high: Sequence[int],
        groups: int,
    ) -> None:
        names = ("strides", "dilations", "low", "high")
        lists = (strides, dilations, low, high)
        properties: dict[str, Attribute | None] = {n: ints(v) for n, v in zip(names, lists, strict=True)}
        properties |= {"groups": integer(groups), "filter_shape": ShapeAttr(tuple(filter_shape))}
        self.construct([SSAValue.get(x), SSAValue.get(g)], properties)

    def infer(self) -> Sequence[Attribute]:
        shape = self.filter_shape.data
        self.check_forward(shape_of(self.x), shape, self.g)
        require(None not in self._high(), self, "C3", "static padding", f"{self.x.type} and {self.g.type}")
        sizes = [d for d in shape_of(self.g)[1:-1] if isinstance(d, int)]
        require(len(sizes) == len(shape) - 2, self, "C3", "static spatial dims of g", self.g.type)
        return [tensor_type(shape, element(self.x))]

    def _high(self) -> list[int | None]:
        """Padding of ``x`` after its last element, so that the sum has as many places as the filter."""
        strides, dilations, low, _ = self.amounts()
        extents = (self.filter_shape.data[:-2], shape_of(self.x)[1:-1], shape_of(self.g)[1:-1])
        each = zip(*extents, strides, dilations, low, strict=True)
        amounts = [(k - 1) * d + (m - 1) * s + 1 - n - b for k, n, m, s, d, b in each]
        return [a if isinstance(a, int) else None for a in amounts]

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        x, g, groups = shape_of(self.x), shape_of(self.g), self.group_count()
        *taps, channel, output = index
        group: Dim = 0 if groups == 1 else output // (g[-1] // groups)
        of = channel + group * (x[-1] // groups)

        def pair(inner: Sequence[Dim], total: SSAValue, then: Callable[..., SSAValue]) -> SSAValue:
            item, *places = inner
            where: list[Dim] = []
            inside: list[tuple[Dim, Dim]] = []
            each = zip(places, taps, x[1:-1], *self.amounts(), strict=True)
            for place, tap, n, stride, dilation, low, high in each:
                where.append(place * stride + tap * dilation - low)
                inside += [(where[-1], n)] if low or high else []

            def product() -> SSAValue:
                return then(at.read(0, [item, *where, of]), at.read(1, [item, *places, output]))

            return at.guard(inside, product, lambda: total)

        return self.sum_of_products(at, g[:-1], pair)

    def reference(self, *args: Array) -> Array:
        x, g = (accumulated(a) for a in args)
        strides, dilations, low, high = self.amounts()
        groups, shape = self.group_count(), known(self.filter_shape.data)
        padded = np.pad(x, [(0, 0), *zip(low, high, strict=True), (0, 0)])
        result = np.zeros(shape, x.dtype)
        inputs, outputs = shape[-2], shape[-1] // groups
        for tap in np.ndindex(*shape[:-2]):
            seen = padded[(slice(None), *_tap_slices(tap, g.shape[1:-1], strides, dilations))]
            for k in range(groups):
                left = seen[..., k * inputs : (k + 1) * inputs].reshape(-1, inputs)
                right = g[..., k * outputs : (k + 1) * outputs].reshape(-1, outputs)
                result[tap][:, k * outputs : (k + 1) * outputs] = left.T @ right
        return result.astype(args[0].dtype)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        rest = self.attributes_of_forward()
        to_x = ConvBackpropInputOp(g[0], self.g, shape_of(self.x), *rest)
        return [emit(to_x), emit(ConvolutionOp(self.x, g[0], *rest))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(*args: Any) -> Any:
            return lambda x, g: cls(x, g, *args)

        return [Sample(make(c.w.shape, *c.amounts), c.x, c.g, tolerance=1e-4) for c in _cases()]


def _tap_slices(tap: Sequence[int], places: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[slice]:
    """What one element of the filter sees of the padded input, one element for each place."""
    each = zip(tap, places, strides, dilations, strict=True)
    return [slice(t * d, t * d + (m - 1) * s + 1, s) for t, m, s, d in each]


class _Case:
    """A convolution and a gradient of its result, for the samples."""

    def __init__(self, x: Array, w: Array, *amounts: Any) -> None:
        self.x, self.w, self.amounts = x, w, amounts
        op = _forward(_type_of(x), _type_of(w), *amounts)
        shape = known(shape_of(op.result))
        self.g = float_range(*shape, low=-1.0).astype(x.dtype)


def _type_of(x: Array) -> Attribute:
    from tfc.dialects.tfc.types import element_of

    return tensor_type(x.shape, element_of(x.dtype))


def _cases() -> list[_Case]:
    x, w = float_range(2, 6, 7, 4), float_range(3, 2, 4, 6)
    return [
        _Case(x, w, [1, 1], [1, 1], [0, 0], [0, 0], 1),
        _Case(x, w, [2, 3], [1, 1], [1, 0], [1, 1], 1),
        _Case(x, w, [2, 1], [2, 1], [2, 1], [1, 2], 1),
        _Case(x, w[:, :, :2].copy(), [2, 2], [1, 1], [1, 1], [0, 0], 2),
        _Case(x, float_range(3, 3, 1, 8), [1, 2], [1, 1], [1, 1], [1, 1], 4),
        _Case(x.astype(np.float64), float_range(1, 1, 4, 3).astype(np.float64), [3, 3], [1, 1], [0, 0], [0, 0], 1),
        _Case(x[0], float_range(2, 4, 3), [2], [1], [3], [0], 1),
    ]
