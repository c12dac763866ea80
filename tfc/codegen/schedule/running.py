"""Running sums and products: one walk along the axis, the total so far carried from element to element.

    kernel.parallel over rows (and blocks of columns, where dims follow the axis) {
      scf.for i along the axis, carrying total { total = total + x[i]; result[i] = total }
    }

Where dims follow the axis, lanes are neighbouring columns. A row is never cut, so the result does not depend on
the number of threads.
"""

from __future__ import annotations

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule.lanes import compute_type
from tfc.codegen.schedule.nest import WORK, begin
from tfc.dialects import kernel
from tfc.dialects.tfc.combine import combine, identity
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.reduce import CumulativeOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim, product


def lower_running(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``running``: one ``tfc.cumulative``."""
    (inner,) = (o for o in op.inner if isinstance(o, CumulativeOp))
    e, ev = begin(op, target)
    shape, axis, of = shape_of(inner.x), inner.axis.value.data, element(inner.x)
    count, columns = shape[axis], product(shape[axis + 1 :])
    if 0 in shape:
        return e.finish(name, grid=0)
    source, result = ev.buffers[inner.x], e.buffers[-1]
    lanes = ev.width(columns)
    blocks: Dim = (columns + (lanes - 1)) // lanes

    def walk(row: Dim, column: Dim) -> None:
        start = ev.splat(e.constant(identity(inner.kind.data, of), compute_type(of)))
        with e.loop(count, carried=[start]) as loop:
            i = count - 1 - loop.variable if inner.reverse else loop.variable
            at = (row * count + i) * columns + column
            total = combine(e, inner.kind.data, of, loop.carried[0], ev.load(source, of, at))
            ev.store(loop.carried[0] if inner.exclusive else total, result, of, at)
            loop.carry([total])

    grid = product(shape[:axis]) * blocks
    with e.parallel(grid) as p:
        if columns == 1:
            walk(p, 0)
        else:
            row, first = p // blocks, p % blocks * lanes
            valid = lanes if isinstance(columns, int) and columns % lanes == 0 else e.minimum(columns - first, lanes)
            ev.each_lane(valid, lambda column: walk(row, column), start=first)
    work = (count if isinstance(count, int) else 16) * lanes
    return e.finish(name, grid=grid, grain=max(1, WORK // max(1, work)), in_place=[0, 1])
