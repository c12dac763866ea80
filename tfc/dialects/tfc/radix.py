"""Sorting by some bits: one pass of a radix sort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Sample, TensorOp, flat, tfc_op
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.types import Array, Tensor, element, shape_of
from tfc.dims import Dim
from tfc.errors import require

MOST_BITS = 12
"""A table of counters has an entry for each value of the bits, and belongs into the first cache."""


@tfc_op
class RadixPassOp(TensorOp):
    """Each ``run`` elements along the last dim, in the order of their bits ``[shift, shift + bits)``; equal ones stay in order.

    (C1) ``x`` holds 64-bit integers and has a last dim of a known extent.
    (C2) ``run`` is positive, ``bits`` from 1 to 12, and the bits are among the 64.

    Passes from the lowest bits to the highest sort by all of them.

    Source: Knuth, "The Art of Computer Programming", volume 3, 5.2.5.
    """

    name = "tfc.radix_pass"
    x = operand_def(Tensor)
    run = prop_def(IntegerAttr.constr(i64))
    shift = prop_def(IntegerAttr.constr(i64))
    bits = prop_def(IntegerAttr.constr(i64))
    result = result_def(Tensor)
    assembly_format = "$x `runs` $run `bits` $shift `+` $bits attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, run: int, shift: int, bits: int) -> None:
        numbers = {"run": run, "shift": shift, "bits": bits}
        self.construct([SSAValue.get(x)], {k: IntegerAttr(n, i64) for k, n in numbers.items()})

    @property
    def numbers(self) -> tuple[int, int, int]:
        """``run``, ``shift`` and ``bits``."""
        return self.run.value.data, self.shift.value.data, self.bits.value.data

    def infer(self) -> Sequence[Attribute]:
        shape = shape_of(self.x)
        fits = element(self.x) == i64 and len(shape) > 0 and isinstance(shape[-1], int)
        require(fits, self, "C1", "i64 of rank 1 or more, whose last extent is a number", self.x.type)
        run, shift, bits = self.numbers
        fits = run > 0 and 1 <= bits <= MOST_BITS and 0 <= shift <= 64 - bits
        require(fits, self, "C2", f"a run and 1 to {MOST_BITS} of 64 bits", f"run {run}, bits {shift} + {bits}")
        return [self.x.type]

    def reference(self, *args: Array) -> Array:
        (x,), (run, shift, bits) = args, self.numbers
        places = np.broadcast_to(np.arange(x.shape[-1]) // run, x.shape)
        return np.take_along_axis(x, np.lexsort(((x >> shift) & ((1 << bits) - 1), places), axis=-1), -1)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        """By bisection: the least pair of bits and place at or below which stand as many as come before."""
        s, extent = Scalars(at.emit), shape_of(self.x)[-1]
        assert isinstance(extent, int), "(C1)"
        run, shift, bits = self.numbers
        run = min(run, extent)
        width, most = max(run - 1, 1).bit_length(), (1 << bits) - 1
        first, before = index[-1] // run * run, at.value(index[-1] % run, i64)

        def element_of(k: Dim) -> tuple[SSAValue, SSAValue]:
            """Element ``k`` of the run, and its bits with ``k`` below them; beyond the end more than all."""
            where = first + k
            value = at.guard([(where, extent)], lambda: at.read(0, [*index[:-1], where]), lambda: at.constant(0, i64))
            pair = s.bit_or(s.binary("shl", s.bit_and(s.binary("ashr", value, shift), most), width), at.value(k, i64))
            there = s.compare("slt", at.value(where, i64), at.value(extent, i64))
            return value, s.select(there, pair, at.constant(1 << (bits + width), i64))

        def halve(_: Sequence[Dim], bounds: Sequence[SSAValue]) -> Sequence[SSAValue]:
            low, high = bounds
            half = s.binary("ashr", s.add(low, high), 1)

            def count(k: Sequence[Dim], found: Sequence[SSAValue]) -> Sequence[SSAValue]:
                less = s.compare("sle", element_of(k[0])[1], half)
                return [s.add(found[0], s.select(less, at.constant(1, i64), at.constant(0, i64)))]

            more = s.compare("sle", at.fold([run], [at.constant(0, i64)], count)[0], before)
            return [s.select(more, s.add(half, 1), low), s.select(more, high, half)]

        ends = [at.constant(0, i64), at.constant(1 << (bits + width), i64)]
        wanted = at.fold([bits + width + 1], ends, halve)[0]

        def pick(k: Sequence[Dim], found: Sequence[SSAValue]) -> Sequence[SSAValue]:
            value, pair = element_of(k[0])
            return [s.select(s.compare("eq", pair, wanted), value, found[0])]

        return at.fold([run], [at.constant(0, i64)], pick)[0]

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        rng = np.random.default_rng(3)
        cases = [(1, 1, 0, 1), (5, 5, 0, 3), (7, 3, 61, 3), (3, 9, 32, 12), (0, 4, 0, 1)]
        return [
            Sample(lambda x, c=case: cls(x, *c[1:]), rng.integers(-(2**63), 2**63 - 1, (1, case[0]))) for case in cases
        ]
