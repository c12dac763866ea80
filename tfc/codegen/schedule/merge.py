"""One pass of a merge sort: pairs of sorted runs, a stretch of the result at a time.

    kernel.parallel over stretches of the result {
      for every pair of runs that reaches into the stretch {
        how many elements of each run come before the stretch: bisection along its merge path
        scf.for: the smaller of two elements, without a branch
      }
    }

A stretch is cut by place in the result, so all cost the same however the runs interleave.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule.emit import INDEX
from tfc.codegen.schedule.nest import WORK, begin
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.merge import MergeRunsOp
from tfc.dialects.tfc.types import shape_of
from tfc.dims import Dim, product

STRETCH = 4096
"""Elements of the result that a task makes."""


def lower_merge(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``merge``: one ``tfc.merge_runs``."""
    (inner,) = (o for o in op.inner if isinstance(o, MergeRunsOp))
    e, ev = begin(op, target)
    *rows, count = shape_of(inner.x)
    if 0 in (*rows, count):
        return e.finish(name, grid=0)
    source, result = ev.buffers[inner.x], e.buffers[-1]
    stretches: Dim = (count + (STRETCH - 1)) // STRETCH
    steps = count.bit_length() if isinstance(count, int) else 31
    run = e.bind(e(arith.IndexCastOp(e(kernel.LoadOp(ev.buffers[inner.run], e.constant(0), i32)), INDEX)), "run")

    def read(at: Dim) -> SSAValue:
        return e(kernel.LoadOp(source, e.index(at), i64))

    def select(condition: SSAValue, x: Dim, y: Dim) -> SSAValue:
        return e(kernel.SelectOp(condition, e.index(x), e.index(y)))

    with e.parallel(product(rows) * stretches) as p:
        row, start = p // stretches * count, p % stretches * STRETCH
        stop = e.minimum(start + STRETCH, count)
        with e.loop((stop + (2 * run - 1)) // (2 * run), lower=start // (2 * run)) as pair:
            first = e.bind(e.index(pair.variable * (2 * run)), "first")
            middle = e.minimum(first + run, count)
            end = e.minimum(middle + run, count)
            begins, ends = e.maximum(start, first), e.minimum(stop, end)
            before = e.bind(e.index(begins - first), "before")

            def bisect() -> Sequence[SSAValue]:
                low = e.maximum(before - (end - middle), 0)
                high = e.minimum(before, middle - first)
                with e.loop(steps, carried=[e.index(low), e.index(high)]) as halves:
                    low, high = (e.bind(v) for v in halves.carried)
                    is_open = e.compare("slt", low, high)
                    half = e.bind(e.index((low + high) // 2), "half")
                    # Both places are in their runs, but where the search is over.
                    other = e.minimum(middle + e.maximum(before - half - 1, 0), end - 1)
                    x, y = read(row + e.minimum(first + half, middle - 1)), read(row + other)
                    more = e(arith.AndIOp(is_open, e(kernel.CompareOp("sle", x, y))))
                    high = e.bind(select(more, high, half), "high")
                    halves.carry([select(more, half + 1, low), select(is_open, high, e.bind(halves.carried[1]))])
                return [halves.results[0]]

            inside = e.compare("sgt", before, 0)
            (taken,) = e.branch(inside, bisect, lambda: [e.constant(0)])
            with e.loop(ends, lower=begins, carried=[e.index(first + e.bind(taken))]) as merge:
                i = e.bind(merge.carried[0], "left")
                j = e.bind(e.index(merge.variable - i + middle), "right")
                x, y = read(row + e.minimum(i, middle - 1)), read(row + e.minimum(j, end - 1))
                left = e(arith.OrIOp(e.compare("sge", j, end), e(kernel.CompareOp("sle", x, y))))
                left = e(arith.AndIOp(e.compare("slt", i, middle), left))
                # Masks, as selections become branches here, which random data mispredicts half of the time.
                mask = e(kernel.CastOp("extsi", left, i64))
                smaller = e(arith.XOrIOp(y, e(arith.AndIOp(e(arith.XOrIOp(x, y)), mask))))
                e(kernel.StoreOp(smaller, result, e.index(row + merge.variable)))
                merge.carry([e(arith.SubiOp(merge.carried[0], e(arith.IndexCastOp(mask, INDEX))))])
    return e.finish(name, grid=product(rows) * stretches, grain=max(1, WORK // STRETCH))
