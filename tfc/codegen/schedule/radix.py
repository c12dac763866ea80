"""One pass of a radix sort: elements are counted by their bits, and then put where their bits begin.

    kernel.parallel over runs of elements {
      counters = 0
      for each element: counters[bits of it] += 1
      for each counter: what all before it have counted
      for each element: result[counters[bits of it]++] = element
    }

A run is not cut, so the result does not depend on the number of threads. There is no branch that random
data would mispredict.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType, i64
from xdsl.ir import SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.emit import INDEX
from tfc.codegen.schedule.nest import WORK, begin
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.radix import RadixPassOp
from tfc.dialects.tfc.types import shape_of
from tfc.dims import product


def lower_radix(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``radix``: one ``tfc.radix_pass``."""
    (inner,) = (o for o in op.inner if isinstance(o, RadixPassOp))
    e, ev = begin(op, target)
    *rows, count = shape_of(inner.x)
    assert isinstance(count, int), "(C1)"
    if 0 in (*rows, count):
        return e.finish(name, grid=0)
    run, shift, bits = inner.numbers
    run, size = min(run, count), 1 << bits
    runs = -(-count // run)
    source, result = ev.buffers[inner.x], e.buffers[-1]
    lanes = min(tiles.vector_lanes(target, i64), size)

    def digit(value: SSAValue) -> SSAValue:
        """Where the counter of an element stands."""
        moved = e(arith.ShRUIOp(value, e.constant(shift, i64)))
        return e(arith.IndexCastOp(e(arith.AndIOp(moved, e.constant(size - 1, i64))), INDEX))

    with e.parallel(product(rows) * runs) as p:
        first = p // runs * count + p % runs * run
        start, stop = e.bind(e.index(first)), e.minimum(first + run, p // runs * count + count)
        counters = e(kernel.ScratchOp(size, i64))
        with e.loop(size, step=lanes) as loop:
            zeros = e.constant(0, VectorType(i64, [lanes]) if lanes > 1 else i64)
            e(kernel.StoreOp(zeros, counters, e.index(loop.variable)))
        with e.loop(stop, lower=start) as loop:
            at = digit(e(kernel.LoadOp(source, e.index(loop.variable), i64)))
            more = e(arith.AddiOp(e(kernel.LoadOp(counters, at, i64)), e.constant(1, i64)))
            e(kernel.StoreOp(more, counters, at))
        before = e(arith.IndexCastOp(e.index(start), i64))
        with e.loop(size, carried=[before]) as loop:
            at = e.index(loop.variable)
            mine = e(kernel.LoadOp(counters, at, i64))
            e(kernel.StoreOp(loop.carried[0], counters, at))
            loop.carry([e(arith.AddiOp(loop.carried[0], mine))])
        with e.loop(stop, lower=start) as loop:
            value = e(kernel.LoadOp(source, e.index(loop.variable), i64))
            at = digit(value)
            place = e(kernel.LoadOp(counters, at, i64))
            e(kernel.StoreOp(value, result, e(arith.IndexCastOp(place, INDEX))))
            e(kernel.StoreOp(e(arith.AddiOp(place, e.constant(1, i64))), counters, at))
    return e.finish(name, grid=product(rows) * runs, grain=max(1, WORK // (run + size)))
