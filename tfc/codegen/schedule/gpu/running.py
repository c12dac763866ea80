"""Running sums and products on a GPU.

Where dims follow the axis, a thread walks along it with the total so far, and neighbouring threads have neighbouring
columns. Else a warp has a row:

    scf.for over pieces of the row, carrying what was before {
      each lane: four neighbours, combined one after the other
      five shuffles: what the lanes before have
      result = what was before, the lanes before, and the neighbours before
    }
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.evaluate import ThreadEvaluator
from tfc.codegen.schedule.gpu.teams import both
from tfc.codegen.schedule.lanes import compute_type
from tfc.codegen.schedule.nest import emitter_of
from tfc.dialects import kernel
from tfc.dialects.tfc.combine import combine, identity
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.reduce import CumulativeOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim, Expr, product

SIDE_BY_SIDE = 4
"""Neighbours that a lane has of a long row."""

BLOCK = 128


def lower_running(op: FusionOp, name: str, target: GpuTarget) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``running``: one ``tfc.cumulative``."""
    (inner,) = (o for o in op.inner if isinstance(o, CumulativeOp))
    e, arguments = emitter_of(op)
    if 0 in shape_of(inner.x):
        return e.finish(name, grid=0, target="gpu", block=BLOCK)
    running = _Running(inner, e, ThreadEvaluator(e, arguments))
    return running.of_rows(name) if running.columns == 1 else running.of_columns(name)


class _Running:
    def __init__(self, op: CumulativeOp, e: Emitter, ev: ThreadEvaluator) -> None:
        self.op, self.e, self.ev = op, e, ev
        shape, axis = shape_of(op.x), op.axis.value.data
        self.rows, self.count, self.columns = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
        self.of = element(op.x)
        self.start = e.constant(identity(op.kind.data, self.of), compute_type(self.of))

    def combine(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return combine(self.e, self.op.kind.data, self.of, x, y)

    def place(self, row: Dim, i: Dim, column: Dim) -> Dim:
        """Where element ``i`` of the walk lies."""
        at = self.count - 1 - i if self.op.reverse else i
        return (row * self.count + at) * self.columns + column

    def load(self, at: Dim) -> SSAValue:
        return self.ev.load(self.ev.buffers[self.op.x], self.of, at)

    def store(self, value: SSAValue, at: Dim) -> None:
        self.ev.store(value, self.e.buffers[-1], self.of, at)

    def of_columns(self, name: str) -> kernel.FuncOp:
        e, walks = self.e, self.rows * self.columns
        grid = -(-walks // BLOCK) if isinstance(walks, int) else (walks + (BLOCK - 1)) // BLOCK
        with e.parallel(grid) as p:
            t = e.bind(e(kernel.ThreadOp()), "t")
            i = e.bind(e.index(p * BLOCK + t), "i")

            def walk() -> list[SSAValue]:
                row, column = (e.bind(e.index(d)) for d in (i // self.columns, i % self.columns))
                with e.loop(self.count, carried=[self.start]) as loop:
                    at = self.place(row, loop.variable, column)
                    total = self.combine(loop.carried[0], self.load(at))
                    self.store(loop.carried[0] if self.op.exclusive else total, at)
                    loop.carry([total])
                return []

            e.branch(e.compare("slt", i, walks), walk)
        return e.finish(name, grid=grid, target="gpu", block=BLOCK, in_place=[0, 1])

    def of_rows(self, name: str) -> kernel.FuncOp:
        e, count, warps = self.e, self.count, BLOCK // kernel.WARP
        beside = SIDE_BY_SIDE if not isinstance(count, int) or count >= kernel.WARP * SIDE_BY_SIDE else 1
        piece = kernel.WARP * beside
        grid = -(-self.rows // warps) if isinstance(self.rows, int) else (self.rows + (warps - 1)) // warps
        exact = isinstance(self.rows, int) and self.rows % warps == 0
        with e.parallel(grid) as p:
            t = e.bind(e(kernel.ThreadOp()), "t")
            lane = e.bind(e.index(t % kernel.WARP), "lane")
            number = e.bind(e.index(p * warps + t // kernel.WARP), "row")
            # All threads of a warp have to come to its shuffles: those without a row take the last one.
            there = None if exact else e.compare("slt", number, self.rows)
            row = number if exact else e.minimum(number, self.rows - 1)
            pieces = -(-count // piece) if isinstance(count, int) else (count + (piece - 1)) // piece
            with e.loop(pieces, carried=[self.start]) as loop:
                first = e.bind(e.index(loop.variable * piece + lane * beside), "first")
                loop.carry([self._piece(row, first, lane, beside, loop.carried[0], there)])
        return e.finish(name, grid=grid, target="gpu", block=BLOCK)

    def _piece(
        self, row: Dim, first: Expr, lane: Expr, beside: int, before: SSAValue, there: SSAValue | None
    ) -> SSAValue:
        """Write the piece of a row that begins with lane 0; gives what the row has up to its end."""
        e, inside = self.e, list[SSAValue]()
        own: list[SSAValue] = []
        for k in range(beside):
            inside.append(e.compare("slt", first + k, self.count))
            value = self.load(self.place(row, e.minimum(first + k, self.count - 1), 0))
            value = e(kernel.SelectOp(inside[-1], value, self.start))
            own.append(value if not own else self.combine(own[-1], value))
        upto = self._scanned(own[-1], lane)
        one = e.constant(1)
        of_lanes = e(kernel.ShuffleOp("up", upto, one))
        based = e(kernel.SelectOp(e.compare("eq", lane, 0), before, self.combine(before, of_lanes)))
        results = [self.combine(based, value) for value in own]
        self._write(row, first, [based, *results] if self.op.exclusive else results, inside, there)
        last = e(kernel.ShuffleOp("index", upto, e.constant(kernel.WARP - 1)))
        return self.combine(before, last)

    def _scanned(self, value: SSAValue, lane: Expr) -> SSAValue:
        """What this lane and those before it have."""
        e, apart = self.e, 1
        while apart < kernel.WARP:
            other = e(kernel.ShuffleOp("up", value, e.constant(apart)))
            value = e(kernel.SelectOp(e.compare("sge", lane, apart), self.combine(other, value), value))
            apart *= 2
        return value

    def _write(
        self, row: Dim, first: Expr, values: Sequence[SSAValue], inside: Sequence[SSAValue], there: SSAValue | None
    ) -> None:
        for k, (value, holds) in enumerate(zip(values, inside, strict=False)):

            def write(k: int = k, value: SSAValue = value) -> list[SSAValue]:
                self.store(value, self.place(row, first + k, 0))
                return []

            condition = both(self.e, holds, there)
            assert condition is not None, "one of them is"
            self.e.branch(condition, write)
