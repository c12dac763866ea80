"""Operations that move elements and compute nothing: each result element is one operand element.

    tfc.reshape %x to [6, "batch"]            tfc.transpose %x by [1, 0]
    tfc.broadcast %x to [2, 3] at [1]

Parts of a tensor, and what is put together of several, are in `tfc.dialects.tfc.pieces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, flat, float_range, ints, tfc_op
from tfc.dialects.tfc.gather import GatherElementsOp, GatherOp
from tfc.dialects.tfc.indexing import reshaped_index
from tfc.dialects.tfc.pieces import (
    ConcatOp,
    Integer,
    IntList,
    PadOp,
    ReverseOp,
    SliceOp,
    integer,
    known,
)
from tfc.dialects.tfc.pointwise import formula
from tfc.dialects.tfc.types import (
    Array,
    Shape,
    ShapeAttr,
    Tensor,
    compatible,
    element,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, product
from tfc.errors import require

__all__ = [
    "BandPartOp", "BroadcastOp", "ConcatOp", "GatherElementsOp", "GatherOp", "IdentityOp", "IntList", "Integer",
    "PadOp", "ReshapeOp", "ReverseOp", "ShapeOfOp", "SliceOp", "TransposeOp", "integer", "known",
]  # fmt: skip

@tfc_op
class ReshapeOp(TensorOp):
    """The same elements in row-major order under other extents.

    (C1) The number of elements is kept.

    Source: ``tf.reshape``.
    """

    name = "tfc.reshape"
    x = operand_def(Tensor)
    shape = prop_def(ShapeAttr)
    result = result_def(Tensor)
    assembly_format = "$x `to` $shape attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, shape: Sequence[Dim]) -> None:
        self.construct([SSAValue.get(x)], {"shape": ShapeAttr(tuple(shape))})

    def infer(self) -> Sequence[Attribute]:
        old, new = product(shape_of(self.x)), product(self.shape.data)
        require(compatible(old, new), self, "C1", f"{old} elements", new)
        return [tensor_type(self.shape.data, element(self.x))]

    def reference(self, *args: Array) -> Array:
        return args[0].reshape(known(self.shape.data))

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        return at.read(0, reshaped_index(index, self.shape.data, shape_of(self.x)))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(ReshapeOp(g[0], shape_of(self.x)))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        pairs = [((6, 4), (2, 3, 4)), ((2, 3, 4), (2, 12)), ((2, 3, 4), (6, 4)), ((3, 4), (4, 3)),
                 ((1, 5, 1), (5,)), ((), (1, 1)), ((7, 1), (1, 7)), ((0, 3), (3, 0)), ((2, 3, 5), (30,))]  # fmt: skip

        def make(shape: Sequence[int]) -> object:
            return lambda x: cls(x, shape)

        return [Sample(make(new), float_range(*old)) for old, new in pairs]  # pyright: ignore


@tfc_op
class TransposeOp(TensorOp):
    """Axes in another order: ``dim(result, d) = dim(x, perm[d])``.

    (C1) ``perm`` is a permutation of the axes of ``x``.

    Source: ``tf.transpose``.
    """

    name = "tfc.transpose"
    x = operand_def(Tensor)
    perm = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = "$x `by` $perm attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, perm: Sequence[int]) -> None:
        self.construct([SSAValue.get(x)], {"perm": ints(perm)})

    def infer(self) -> Sequence[Attribute]:
        source, perm = shape_of(self.x), self.perm.get_values()
        axes = list(range(len(source)))
        require(sorted(perm) == axes, self, "C1", f"a permutation of {axes}", [*perm])
        return [tensor_type([source[d] for d in perm], element(self.x))]

    def reference(self, *args: Array) -> Array:
        return np.transpose(args[0], self.perm.get_values())

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        where: list[Dim] = [0] * len(index)
        for i, d in zip(index, self.perm.get_values(), strict=True):
            where[d] = i
        return at.read(0, where)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(TransposeOp(g[0], [int(d) for d in np.argsort(self.perm.get_values())]))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        cases = [((3, 5), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 1, 3, 4), (0, 3, 1, 2)), ((), ()), ((4, 0), (1, 0))]

        def make(perm: Sequence[int]) -> object:
            return lambda x: cls(x, perm)

        return [Sample(make(p), float_range(*s)) for s, p in cases]  # pyright: ignore


@tfc_op
class BroadcastOp(TensorOp):
    """Repeat: dim ``k`` of ``x`` becomes dim ``dims[k]`` of the result; dims of extent 1 stretch.

    (C1) ``dims`` is increasing, has one entry for each dim of ``x``, and lies in the result.
    (C2) Each extent of ``x`` is 1 or that of its dim of the result.

    Source: ``tf.broadcast_to``.
    """

    name = "tfc.broadcast"
    x = operand_def(Tensor)
    shape = prop_def(ShapeAttr)
    dims = prop_def(IntList)
    result = result_def(Tensor)
    assembly_format = "$x `to` $shape `at` $dims attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, shape: Sequence[Dim], dims: Sequence[int]) -> None:
        self.construct([SSAValue.get(x)], {"shape": ShapeAttr(tuple(shape)), "dims": ints(dims)})

    def infer(self) -> Sequence[Attribute]:
        source, shape, dims = shape_of(self.x), self.shape.data, list(self.dims.get_values())
        rising = sorted(set(dims)) == dims and all(0 <= d < len(shape) for d in dims)
        expected = f"{len(source)} increasing dims below {len(shape)}"
        require(rising and len(dims) == len(source), self, "C1", expected, dims)
        for n, d in zip(source, dims, strict=True):
            require(n == 1 or compatible(n, shape[d]), self, "C2", f"extent 1 or {shape[d]}", n)
        return [tensor_type(shape, element(self.x))]

    def reference(self, *args: Array) -> Array:
        shape = known(self.shape.data)
        kept = [1] * len(shape)
        for n, d in zip(args[0].shape, self.dims.get_values(), strict=True):
            kept[d] = n
        return np.broadcast_to(args[0].reshape(kept), shape)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        pairs = zip(shape_of(self.x), self.dims.get_values(), strict=True)
        return at.read(0, [0 if n == 1 and self.shape.data[d] != 1 else index[d] for n, d in pairs])

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f, dims, source = formula(emit), list(self.dims.get_values()), shape_of(self.x)
        stretched = [d for n, d in zip(source, dims, strict=True) if n == 1 and self.shape.data[d] != 1]
        axes = [d for d in range(len(self.shape.data)) if d not in dims or d in stretched]
        return [f.reshape(f.reduce("sum", g[0], axes) if axes else g[0], source)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        cases = [((3,), (2, 3), (1,)), ((3,), (3, 2), (0,)), ((), (2, 3), ()), ((1, 3), (4, 3), (0, 1)),
                 ((2, 1, 3), (5, 2, 4, 3), (1, 2, 3)), ((1,), (0,), (0,)), ((1, 1), (1, 1), (0, 1))]  # fmt: skip

        def make(shape: Sequence[int], dims: Sequence[int]) -> object:
            return lambda x: cls(x, shape, dims)

        return [Sample(make(shape, dims), float_range(*s)) for s, shape, dims in cases]  # pyright: ignore


@tfc_op
class ShapeOfOp(TensorOp):
    """The extents of ``x``: ``tensor<rank x i64>``. Source: ``tf.shape``."""

    name = "tfc.shape_of"
    x = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x)])

    def infer(self) -> Sequence[Attribute]:
        return [tensor_type([len(shape_of(self.x))], i64)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [i64]

    def reference(self, *args: Array) -> Array:
        return np.array(args[0].shape, np.int64)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        return self._extent(at, index[0], shape_of(self.x))

    def _extent(self, at: Access, i: Dim, shape: Shape) -> SSAValue:
        if not shape:
            return at.constant(0, i64)
        if len(shape) == 1:
            return at.value(shape[0], i64)
        return at.guard([(i, 1)], lambda: at.value(shape[0], i64), lambda: self._extent(at, i - 1, shape[1:]))

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [Sample(cls, np.zeros(s, np.float32)) for s in [(2, 3, 5), (7,), (), (0, 4)]]


@tfc_op
class BandPartOp(TensorOp):
    """Zero outside a band of the last two dims: ``lower`` diagonals below the main one, ``upper`` above.

    A negative number keeps all of that side.

    (C1) ``x`` has at least two dims.

    Source: ``tf.linalg.band_part``.
    """

    name = "tfc.band_part"
    x = operand_def(Tensor)
    lower = prop_def(Integer)
    upper = prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = "$x `lower` $lower `upper` $upper attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, lower: int, upper: int) -> None:
        self.construct([SSAValue.get(x)], {"lower": integer(lower), "upper": integer(upper)})

    def infer(self) -> Sequence[Attribute]:
        require(len(shape_of(self.x)) >= 2, self, "C1", "two dims or more", self.x.type)
        return [tensor_type(shape_of(self.x), element(self.x))]

    def reference(self, *args: Array) -> Array:
        x, lower, upper = args[0], self.lower.value.data, self.upper.value.data
        m, n = np.ogrid[: x.shape[-2], : x.shape[-1]]
        keep = ((lower < 0) | (m - n <= lower)) & ((upper < 0) | (n - m <= upper))
        return np.where(keep, x, np.zeros((), x.dtype))

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        *_, m, n = index
        *_, rows, columns = shape_of(self.x)
        lower, upper = self.lower.value.data, self.upper.value.data
        inside: list[tuple[Dim, Dim]] = []
        if lower >= 0:
            inside.append((lower + n - m, lower + columns))
        if upper >= 0:
            inside.append((upper + m - n, upper + rows))
        kind = element(self.x)
        return at.guard(inside, lambda: at.read(0, index), lambda: at.constant(0, kind))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(BandPartOp(g[0], self.lower.value.data, self.upper.value.data))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(2, 4, 5) + 10
        bands = [(0, 0), (-1, 0), (0, -1), (1, 2), (-1, -1), (9, 9)]

        def make(lower: int, upper: int) -> object:
            return lambda x: cls(x, lower, upper)

        return [Sample(make(*b), x.astype(t)) for b in bands for t in (np.float32, np.int32)]  # pyright: ignore


@tfc_op
class IdentityOp(TensorOp):
    """Its operand. Source: ``tf.identity``."""

    name = "tfc.identity"
    x = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x)])

    def infer(self) -> Sequence[Attribute]:
        return [self.x.type]

    def reference(self, *args: Array) -> Array:
        return args[0]

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        return [self.x]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [Sample(cls, float_range(2, 3)), Sample(cls, np.array(True))]
