"""Matmul, batched matmul and convolution on a GPU: tiles in shared memory over ``tfc.contract``.

    kernel.parallel over (own batches, blocks of rows, blocks of columns) {
      begin to copy the first tiles of both operands to shared memory
      for every tile of terms {
        wait for its copy; barrier
        begin to copy a tile that is needed later, in the place of the one before
        every thread: sums += products of the tiles          (threads, or tensor cores)
      }
      what the fusion does with the sums, in registers; store
    }

A block computes a tile of the result for one item of the batches along which ``w`` differs; all other batches are rows,
so that small images of a convolution share a block. Every term of the sum is an index along the axes of the sum, so
a convolution is a matmul whose left operand is walked through several axes (implicit GEMM).

`blocks` chooses tiles, `staging` copies operands, `sums` multiplies. Elements are summed in one order, by shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from xdsl.dialects.builtin import VectorType
from xdsl.ir import SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.axes import dot, indices, spread
from tfc.codegen.schedule.contraction import in_place_pairs
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.blocks import Problem, choose, product_kind
from tfc.codegen.schedule.gpu.evaluate import ThreadEvaluator
from tfc.codegen.schedule.gpu.staging import Ring, Source, Stage, Walk, Window, both, bound
from tfc.codegen.schedule.gpu.sums import Part, Sums, scalars, sums_of
from tfc.codegen.schedule.lanes import compute_type, linear, storage
from tfc.codegen.schedule.nest import emitter_of
from tfc.codegen.schedule.tiles import ceil
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim, product
from tfc.errors import OptionError
from tfc.location import describe

TOGETHER = 8
"""Blocks of rows that follow each other before the next block of columns: both operands then stay in the L2 cache."""


def lower_contraction(op: FusionOp, name: str, target: GpuTarget) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``contraction``: one ``tfc.contract``, and elementwise
    operations on its result and on tensors that are broadcast to it, all of its shape.

    Raises:
        OptionError: its right operand is packed for a CPU.
    """
    contract = next(o for o in op.inner if isinstance(o, ContractOp))
    if contract.packed is not None:
        where = describe(op.location)
        raise OptionError(
            f"{where}: 'tfc.contract' has a right operand in panels, which CPUs read".removeprefix(": "),
            help="pack-contractions leaves it as it is where the operation is on a GPU by then",
        )
    e, buffers = emitter_of(op)
    return _Generator(op, contract, e, ThreadEvaluator(e, buffers), target).function(name)


@dataclass(frozen=True)
class _Block:
    """The part of the result of one block: its item, and its first row and column."""

    own: Sequence[Dim]
    row: Dim
    column: Dim


class _Generator:
    """Writes one kernel; see the module's docstring for its loops."""

    def __init__(
        self, op: FusionOp, contract: ContractOp, e: Emitter, evaluator: ThreadEvaluator, target: GpuTarget
    ) -> None:
        self.op, self.contract, self.e, self.evaluator, self.target = op, contract, e, evaluator, target
        axes = contract.axes
        batches = axes.of("batch")
        self.own = [a for a in batches if a.w != 0]
        self.lines = [*(a for a in batches if a.w == 0), axes.one("row")]
        self.columns = axes.one("column")
        self.sums = [*axes.of("step"), axes.one("depth")]
        self.rows, self.depth = (product(a.extent for a in group) for group in (self.lines, self.sums))
        self.items = product(a.extent for a in self.own)
        self.kind = compute_type(element(contract.result))
        tf32 = contract.precision is not None and contract.precision.data == "tf32"
        kind = product_kind(element(contract.x), target, tf32=tf32)
        self.tile = choose(Problem(self.rows, self.columns.extent, self.depth, self.items), kind, target)
        self.high, self.wide = ceil(self.rows, self.tile.rows), ceil(self.columns.extent, self.tile.columns)

    def function(self, name: str) -> kernel.FuncOp:
        empty = 0 in (self.rows, self.columns.extent, self.items)
        grid = 0 if empty else self.items * self.high * self.wide
        with self.e.parallel(grid) as task:
            if not empty:
                self._task(task)
        pairs = in_place_pairs(self.op, self.contract)
        return self.e.finish(name, grid=grid, target="gpu", block=self.tile.threads, in_place=pairs)

    # One block

    def _task(self, task: Dim) -> None:
        block = self._block(task)
        thread = self.e.bind(self.e(kernel.ThreadOp()), "t")
        x, w = self._stages(block, thread)
        sums = sums_of(self.e, self.tile, self.kind, thread, x.shelf, w.shelf)
        result = self._sum(x, w, sums)
        for part in sums.parts(result):
            self._finish(block, part)
        self.e(kernel.BarrierOp())  # the next block's tiles take the place of these

    def _block(self, task: Dim) -> _Block:
        e, high, wide = self.e, self.high, self.wide
        item, place = bound(e, task // (high * wide)), bound(e, task % (high * wide))
        if isinstance(high, int) and high % TOGETHER == 0:
            band, place = bound(e, place // (TOGETHER * wide)), bound(e, place % (TOGETHER * wide))
            row, column = band * TOGETHER + place % TOGETHER, place // TOGETHER
        else:
            row, column = place // wide, place % wide
        own = [bound(e, i) for i in indices(item, self.own)]
        return _Block(own, bound(e, row * self.tile.rows), bound(e, column * self.tile.columns))

    def _stages(self, block: _Block, thread: Dim) -> tuple[Stage, Stage]:
        contract, column = self.contract, (self.columns.extent, self.columns.w)
        buffers = self.evaluator.buffers

        def source(value: SSAValue, of: str, lines: Sequence[tuple[Dim, Dim]]) -> Source:
            starts = [getattr(a, of) for a in self.own]
            terms = Walk.of([(a.extent, getattr(a, of)) for a in self.sums])
            start = bound(self.e, dot(block.own, starts))
            return Source(buffers[value], storage(element(value)), start, starts, Walk.of(lines), terms)

        x = source(contract.x, "x", [(a.extent, a.x) for a in self.lines])
        if contract.padding:
            x = self._in_windows(x, block)
        w = source(contract.w, "w", [column])
        make = partial(Stage, self.e, tile=self.tile, target=self.target, thread=thread)
        return (
            make(source=x, lines=self.tile.rows, first=block.row),
            make(source=w, lines=self.tile.columns, first=block.column),
        )

    def _in_windows(self, x: Source, block: _Block) -> Source:
        """The left operand where it is read beyond its ends; its walks keep their axes, which say where that is."""
        shape, padding = shape_of(self.contract.x), self.contract.padding
        apart = [product(shape[d + 1 :]) for d in range(len(shape))]

        def moves(axes: Sequence[Axis], d: int) -> list[Dim]:
            return [a.x // apart[d] if a.dim == d else 0 for a in axes]

        windows: list[Window] = []
        for d, low in enumerate(padding):
            lines, terms = moves(self.lines, d), moves(self.sums, d)
            fixed = low - dot(block.own, moves(self.own, d))
            ends = [(axis.extent - 1) * n for axis, n in zip([*self.lines, *self.sums], [*lines, *terms], strict=True)]
            last, extent = sum(ends, start=0) - low, shape[d]
            if low or not (isinstance(last, int) and isinstance(extent, int) and last < extent):
                windows.append(Window(extent, fixed, lines, terms))
        steps = [low * n for low, n in zip(padding, apart, strict=True)]
        start = bound(self.e, x.start - sum(steps, start=0))
        walks = [Walk(tuple((a.extent, a.x) for a in axes)) for axes in (self.lines, self.sums)]
        return replace(x, start=start, starts=[*x.starts, *steps], lines=walks[0], terms=walks[1], windows=windows)

    def _sum(self, x: Stage, w: Stage, sums: Sums) -> Sequence[SSAValue]:
        """The loop over tiles of terms."""
        e, count = self.e, self.tile.stages
        ring = Ring(e, (x, w), count, self.tile.depth, ceil(self.depth, self.tile.depth))
        for number in range(count - 1):
            ring.keep(number, ring.fetch(number, number), number)
        with e.loop(ring.tiles, carried=[e.constant(0), e.constant(count - 1), *sums.zeros()]) as loop:
            slot, later = (e.bind(v, "slot") for v in loop.carried[:2])
            number = loop.variable + (count - 1)
            ring.wait()
            held = ring.fetch(later, number)
            result = sums.add(slot, loop.carried[2:])
            ring.keep(later, held, number)
            loop.carry([ring.next(slot), ring.next(later), *result])
        return loop.results[2:]

    # Results

    def _finish(self, block: _Block, part: Part) -> None:
        """Apply the rest of the fusion to neighbours of a row, and store them."""
        e = self.e
        lanes = part.sums.type.get_shape()[0] if isinstance(part.sums.type, VectorType) else 1
        shape = shape_of(self.contract.result)
        if self.columns.extent % lanes != 0 or self.columns.y != 1:
            for i, one in enumerate(scalars(e, part.sums)):
                self._finish_lanes(block, part.row, part.column + i, one, 1, shape)
            return
        self._finish_lanes(block, part.row, part.column, part.sums, lanes, shape)

    def _finish_lanes(
        self, block: _Block, row: Dim, column: Dim, sums: SSAValue, lanes: int, shape: Sequence[Dim]
    ) -> None:
        e = self.e
        row, column = bound(e, block.row + row), bound(e, block.column + column)
        low = None if self.rows % self.tile.rows == 0 else e.compare("slt", row, self.rows)
        left = None
        if self.columns.extent % self.tile.columns != 0:
            left = e.compare("slt", column, self.columns.extent)
        inside = both(e, low, left)

        def store() -> Sequence[SSAValue]:
            self._store(block, row, column, sums, lanes, shape)
            return ()

        store() if inside is None else e.branch(inside, store)

    def _store(
        self, block: _Block, row: Dim, column: Dim, sums: SSAValue, lanes: int, shape: Sequence[Dim]
    ) -> None:
        e, ev = self.e, self.evaluator
        index: list[Dim] = [0] * len(shape)
        places = zip([*self.own, *self.lines, self.columns], [*block.own, *self._lines(row), column], strict=True)
        for axis, i in places:
            spread(axis, i, shape, index)
        ev.bound[self.contract.result] = lambda _: sums
        saved, ev.floor = ev.floor, len(e.scopes) - 1  # what it needs is loaded here, not kept across the sum
        if lanes == 1:
            self._store_all(tuple(index))
        else:
            ev.multiple(column, lanes)
            with ev.vectorised(column, lanes, None):
                self._store_all(tuple(index))
        ev.floor = saved

    def _lines(self, row: Dim) -> list[Dim]:
        return [bound(self.e, i) for i in indices(row, self.lines)]

    def _store_all(self, index: tuple[Dim, ...]) -> None:
        ev = self.evaluator
        made = [ev.element(value, index) for value in self.op.results_inside]  # all are read before any is written
        for position, (value, one) in enumerate(zip(self.op.results_inside, made, strict=True)):
            buffer = self.e.buffers[len(self.op.operands) + position]
            ev.store(one, buffer, element(value), linear(index, shape_of(value)))
