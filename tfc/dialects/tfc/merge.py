"""Merging sorted runs: one pass of a merge sort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, result_def

from tfc.dialects.tfc.base import Access, Sample, TensorOp, flat, tfc_op
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.types import Array, Tensor, element, shape_of, tensor_type
from tfc.dims import Dim
from tfc.errors import require


@tfc_op
class MergeRunsOp(TensorOp):
    """Sorted runs of ``run`` elements along the last dim, merged two by two; the last runs may be shorter.

    (C1) ``x`` holds 64-bit integers and has a last dim; ``run`` is one i32, at least 1.

    What is not sorted in runs gives its elements in some order.

    Source: merge paths, Odeh et al., "Merge Path - Parallel Merging Made Simple", 2012.
    """

    name = "tfc.merge_runs"
    x = operand_def(Tensor)
    run = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x `runs` $run attr-dict `:` type($x) `,` type($run) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, run: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(run)])

    def infer(self) -> Sequence[Attribute]:
        fits = element(self.x) == i64 and len(shape_of(self.x)) > 0 and self.run.type == tensor_type([], i32)
        require(fits, self, "C1", "i64 of rank 1 or more, and one i32", f"{self.x.type} and {self.run.type}")
        return [self.x.type]

    def reference(self, *args: Array) -> Array:
        return _in_runs(args[0], 2 * int(args[1]))

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        s, extent = Scalars(at.emit), shape_of(self.x)[-1]
        count, place = at.value(extent, i64), at.value(index[-1], i64)
        run = s.resize(at.read(1, []), i64, unsigned=False)

        def read(where: SSAValue) -> SSAValue:
            inside = s.minimum(s.maximum(where, 0), s.sub(count, 1))
            return at.read(0, [*index[:-1], at.index(inside, extent)])

        first = s.sub(place, s.binary("rem", place, s.add(run, run)))
        middle = s.minimum(s.add(first, run), count)
        end = s.minimum(s.add(middle, run), count)
        before = s.sub(place, first)

        def halve(_: Sequence[Dim], bounds: Sequence[SSAValue]) -> Sequence[SSAValue]:
            """How many of the elements before are of the left run: by bisection."""
            low, high = bounds
            half = s.binary("ashr", s.add(low, high), 1)
            other = s.sub(s.add(middle, before), s.add(half, 1))
            left = s.compare("sle", read(s.add(first, half)), read(other))
            is_open = s.compare("slt", low, high)
            more, less = s.bit_and(is_open, left), s.bit_and(is_open, s.bit_xor(left, 1))
            return [s.select(more, s.add(half, 1), low), s.select(less, half, high)]

        bounds = [s.maximum(s.sub(before, s.sub(end, middle)), 0), s.minimum(before, s.sub(middle, first))]
        steps = extent.bit_length() if isinstance(extent, int) else 31
        taken, _ = at.fold([steps], bounds, halve)
        i, j = s.add(first, taken), s.add(middle, s.sub(before, taken))
        x, y = read(i), read(j)
        left = s.bit_or(s.compare("sge", j, end), s.compare("sle", x, y))
        return s.select(s.bit_and(s.compare("slt", i, middle), left), x, y)

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        rng = np.random.default_rng(3)
        sizes = [(1, 1), (7, 1), (7, 2), (7, 8), (33, 4), (64, 16), (5000, 1024), (0, 1)]
        rows = [(rng.integers(-9, 9, (2, n)), run) for n, run in sizes]
        return [Sample(cls, _in_runs(x, run), np.array(run, np.int32)) for x, run in rows]


def _in_runs(x: Array, run: int) -> Array:
    """``x`` with each ``run`` elements of its rows sorted."""
    x = x.copy()
    for start in range(0, x.shape[-1], run):
        x[..., start : start + run].sort(axis=-1)
    return x
