"""Matmul, batched matmul and convolution: register tiles over ``tfc.contract``.

    kernel.parallel over (own batches, blocks of rows, panels) {
      for rows of the block, a tile at a time {
        tile = 0
        for every step and depth { tile += column of x * row of the panel }   (kernel.outer)
        what the fusion does with the result, row by row; store
      }
    }

``x`` is read in place, a number at a time; ``w`` in panels, a vector at a time. The row tiles of
a block follow each other, so that the panel stays in the L2 cache while they pass, and the
panels of a block follow each other, so that its rows of ``x`` do. A sum too long for that is
cut into chunks, whose partial sums stand in the result. Every element is summed in an order that
depends on shapes only: results are the same for every number of threads.

Rows that fill no whole tile are computed twice (the last tile ends with the last row) where that is
cheap, else by a second, lower tile; columns that fill no whole vector are masked.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.evaluate import Evaluator
from tfc.codegen.schedule.lanes import compute_type, linear, storage
from tfc.codegen.schedule.nest import begin
from tfc.codegen.schedule.rows import Rows
from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim, product

Batch = Sequence[tuple[Axis, Dim]]
"""The batch axes of a contraction and the indices along them."""

UNROLL = 2
"""Steps of the depth in one iteration: they share its overhead. (1 to 4 measure alike; more steps
take more of LLVM's time.) Single rows take twice as many."""

LIGHT = 6
"""Operations on a tile's rows while they are in registers; more (or a costly one) take the rows
from a buffer, one at a time: less code, and no accumulators in the way."""

WORK = 1 << 18
"""Multiply-adds that are worth a thread: some 5 us."""

TASKS = 32
"""Least number of pieces that the work is cut into where it can be."""


def lower_contraction(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``contraction``: one ``tfc.contract``, and elementwise
    operations on its result and on tensors that are broadcast to it, all of its shape."""
    contract = next(o for o in op.inner if isinstance(o, ContractOp))
    e, evaluator = begin(op, target)
    return _Generator(op, contract, e, evaluator, target).function(name)


@dataclass(frozen=True)
class Part:
    """Lanes of a panel that one vector type holds: panels of 48 lanes are 32 and 16."""

    first: int
    lanes: int


class _Generator:
    """Writes one kernel; see the module's docstring for its loops."""

    def __init__(
        self, op: FusionOp, contract: ContractOp, e: Emitter, evaluator: Evaluator, target: Target
    ) -> None:
        self.op, self.contract, self.e, self.evaluator = op, contract, e, evaluator
        axes = contract.axes
        self.row, self.depth = axes.one("row"), axes.one("depth")
        self.panel, self.columns = axes.one("panel"), axes.one("column")
        self.steps = list(axes.of("step"))
        self.own = [a for a in axes.of("batch") if a.w != 0]
        self.shared = [a for a in axes.of("batch") if a.w == 0]
        self.lanes = contract.lanes.value.data
        self.parts = _parts(self.lanes)
        self.stored: Attribute = storage(element(contract.x))
        self.kind: Attribute = compute_type(element(contract.x))
        self.x = evaluator.buffers[contract.x]
        self.w = evaluator.buffers[contract.w]
        self.whole = isinstance(self.columns.extent, int) and self.columns.extent % self.lanes == 0
        self.sum = self._cut()
        vectors = max(1, self.lanes // tiles.vector_lanes(target, self.kind))
        most = tiles.most_rows(target, self.stored, vectors, self.row.x)
        self.rows = Rows(
            self.row.extent, most, max(1, tiles.LATENCY // vectors), self.sum.count == 1
        )
        self._blocks()
        evaluator.bound[contract.result] = lambda _: self.current
        self.current: SSAValue
        self.masks: list[SSAValue | None] = []

    # How the work is cut

    def _cut(self) -> Sum:
        """Cut the sum so that a stretch of a panel stays in cache, if partial sums have a place."""
        first = self.op.results_inside[0]
        kept = element(first) == self.kind and shape_of(first) == shape_of(self.contract.result)
        size = self.lanes * getattr(self.stored, "bitwidth", 32) // 8
        extents = [a.extent for a in (*self.steps, self.depth)]
        if not kept or not all(isinstance(n, int) for n in extents):
            return Sum((), tuple(self.steps), 0, 1)
        cut = 0
        while cut < len(self.steps) and _known(product(extents[cut:])) * size > tiles.PANEL_BYTES:
            cut += 1
        depth = _known(self.depth.extent)
        pieces = max(1, -(-depth * size // tiles.PANEL_BYTES)) if cut == len(self.steps) else 1
        length = -(-depth // (pieces * UNROLL)) * UNROLL if pieces > 1 else depth
        pieces = max(1, -(-depth // max(1, length)))
        return Sum(tuple(self.steps[:cut]), tuple(self.steps[cut:]), length, pieces)

    def _blocks(self) -> None:
        """Rows (of one item of the batch, or of several whole ones) that a task computes."""
        depth = self.depth.extent if isinstance(self.depth.extent, int) else 1024
        width = getattr(self.stored, "bitwidth", 32) // 8
        wanted = max(4 * self.rows.height, min(384, tiles.BLOCK_BYTES // max(1, depth * width)))
        items = product(a.extent for a in self.shared)
        elsewhere = product([self.panel.extent, *(a.extent for a in self.own)])
        total = items * self.row.extent
        if isinstance(total, int) and isinstance(elsewhere, int) and elsewhere:
            pieces = -(-TASKS // elsewhere)
            wanted = max(2 * self.rows.height, min(wanted, -(-total // pieces)))
        rows = self.row.extent
        self.items = items
        self.items_per_block = 1
        self.tiles_per_block = max(1, -(-wanted // self.rows.height))
        if isinstance(self.rows.tiles, int) and self.rows.tiles:
            blocks = -(-self.rows.tiles // self.tiles_per_block)
            self.tiles_per_block = -(-self.rows.tiles // blocks)
        if isinstance(rows, int) and 0 < rows <= wanted:
            most = wanted // rows
            if isinstance(items, int):
                most = -(-items // max(1, -(-items // most)))
            self.items_per_block = max(1, most)
        self.item_blocks = tiles.ceil(items, self.items_per_block)
        self.row_blocks = tiles.ceil(self.rows.tiles, self.tiles_per_block)

    @property
    def grid(self) -> Dim:
        """Tasks; none where the result is empty."""
        own = product(a.extent for a in self.own)
        return own * self.item_blocks * self.row_blocks * self.panel.extent

    def function(self, name: str) -> kernel.FuncOp:
        with self.e.parallel(self.grid) as task:
            if self.grid != 0:
                self._task(task)
        sums = product(a.extent for a in (*self.steps, self.depth))
        rows = self.rows.height * min(self.tiles_per_block, _guess(self.rows.tiles))
        work = rows * self.items_per_block * self.lanes * _guess(sums)
        return self.e.finish(name, grid=self.grid, grain=max(1, WORK // max(1, work)))

    # One task

    def _task(self, task: Dim) -> None:
        panel, task = self._bound(task % self.panel.extent), task // self.panel.extent
        block, task = self._bound(task % self.row_blocks), task // self.row_blocks
        items, task = self._bound(task % self.item_blocks), self._bound(task // self.item_blocks)
        own = [self._bound(i) for i in _indices(task, self.own)]
        column = self._bound(panel * self.lanes)
        self.columns_at = [self._bound(column + p.first) for p in self.parts]
        self.masks = [self._mask(at, p) for at, p in zip(self.columns_at, self.parts, strict=True)]
        x = _dot(own, [a.x for a in self.own])
        w = self._bound(_dot([*own, panel], [*(a.w for a in self.own), self.panel.w]))
        with self._chunks() as chunk:
            first = items * self.items_per_block
            with self._each_item(first) as item:
                shared = [self._bound(i) for i in _indices(item, self.shared)]
                x1 = self._bound(x + _dot(shared, [a.x for a in self.shared]))
                batch = [*zip(self.own, own, strict=True), *zip(self.shared, shared, strict=True)]
                self.rows.each(
                    self.e,
                    block,
                    self.tiles_per_block,
                    lambda h, r: self._tile(h, r, x1, w, batch, chunk),
                )

    @contextmanager
    def _each_item(self, first: Dim) -> Generator[Dim]:
        if self.items_per_block == 1 or self.items == 1:
            yield first
            return
        last: Dim = first + self.items_per_block
        if self.items % self.items_per_block != 0:
            last = self.e.minimum(self.items, last)
        with self.e.loop(last, lower=first) as loop:
            yield loop.variable

    def _bound(self, value: Dim) -> Dim:
        return value if isinstance(value, int) else self.e.bind(self.e.index(value))

    def _mask(self, first: Dim, part: Part) -> SSAValue | None:
        """Which lanes of a part are columns."""
        if self.whole:
            return None
        valid = self.e.index(self.columns.extent - first)
        return self.e(kernel.MaskOp(valid, part.lanes))

    @contextmanager
    def _chunks(self) -> Generator[Chunk]:
        """The loop over pieces of a long sum; nothing where the sum is one piece."""
        if self.sum.count == 1:
            yield Chunk(0, 0, 0, self.depth.extent)
            return
        with self.e.loop(self.sum.count) as loop:
            piece, rest = (
                self._bound(loop.variable % self.sum.pieces),
                loop.variable // self.sum.pieces,
            )
            at = _indices(rest, self.sum.outer)
            low: Dim = piece * self.sum.length
            high = (
                self.depth.extent
                if self.sum.pieces == 1
                else self.e.minimum(low + self.sum.length, self.depth.extent)
            )
            yield Chunk(
                _dot(at, [a.x for a in self.sum.outer]),
                _dot(at, [a.w for a in self.sum.outer]),
                low,
                high,
                self.e.compare("eq", loop.variable, 0),
                self.e.compare("eq", loop.variable, self.sum.count - 1),
            )

    # One tile

    def _tile(self, height: int, row: Dim, x: Dim, w: Dim, batch: Batch, chunk: Chunk) -> None:
        index = self._index([*batch, (self.row, row), (self.columns, self.columns_at[0])])
        offset = linear(index, shape_of(self.contract.result))
        sums = self._begin(height, offset, chunk)
        x = x + row * self.row.x + chunk.x
        sums = self._sum(self.sum.inner, x, w + chunk.w, chunk, sums)
        if chunk.last is None:
            self._finish(height, row, batch, offset, sums)
            return

        def finish() -> Sequence[SSAValue]:
            self._finish(height, row, batch, offset, sums)
            return ()

        def keep() -> Sequence[SSAValue]:
            self._store(sums, self.e.buffers[len(self.op.operands)], offset)
            return ()

        self.e.branch(chunk.last, finish, keep)

    def _begin(self, height: int, offset: Dim, chunk: Chunk) -> Sequence[SSAValue]:
        """Zero, or the partial sums of the chunks before."""
        types = [VectorType(self.kind, [height, p.lanes]) for p in self.parts]

        def zeros() -> Sequence[SSAValue]:
            return [self.e.constant(0, t) for t in types]

        def partial() -> Sequence[SSAValue]:
            buffer, rows = self.e.buffers[len(self.op.operands)], self.e.index(self.row.y)
            return [
                self.e(
                    kernel.LoadOp(
                        buffer, self.e.index(offset + p.first), t, row_stride=rows, mask=m
                    )
                )
                for p, t, m in zip(self.parts, types, self.masks, strict=True)
            ]

        return zeros() if chunk.first is None else self.e.branch(chunk.first, zeros, partial)

    def _sum(
        self, steps: Sequence[Axis], x: Dim, w: Dim, chunk: Chunk, sums: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        """Loops over the steps, and innermost over the depth, that carry the tile."""
        if not steps:
            return self._depth(x, w, chunk.low, chunk.high, sums)
        step, *rest = steps
        with self.e.loop(step.extent, carried=sums) as loop:
            i = loop.variable
            loop.carry(self._sum(rest, x + i * step.x, w + i * step.w, chunk, loop.carried))
        return loop.results

    def _depth(
        self, x: Dim, w: Dim, low: Dim, high: Dim, sums: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        x, w = self._bound(x), self._bound(w)
        height = sums[0].type.get_shape()[0]  # pyright: ignore # a tile
        unroll = UNROLL if self.sum.pieces > 1 else _unroll(self.depth.extent, height)
        whole = isinstance(self.depth.extent, int) and self.depth.extent % unroll == 0
        main = high if whole else low + (high - low) // unroll * unroll

        def step(k: Dim, sums: Sequence[SSAValue]) -> Sequence[SSAValue]:
            return self._step(x + k * self.depth.x, w + k * self.depth.w, height, sums)

        if main != low:
            with self.e.loop(main, lower=low, step=unroll, carried=sums) as loop:
                for u in range(unroll):
                    loop.carry(step(loop.variable + u, loop.carried))
            sums = loop.results
        if isinstance(main, int) and isinstance(high, int):
            for k in range(main, high):
                sums = step(k, sums)
        elif not whole:
            with self.e.loop(high, lower=main, carried=sums) as loop:
                loop.carry(step(loop.variable, loop.carried))
            sums = loop.results
        return sums

    def _step(self, x: Dim, w: Dim, height: int, sums: Sequence[SSAValue]) -> Sequence[SSAValue]:
        """``sums`` and the products of one column of x with one row of the panel."""
        rows = self.e.index(self.row.x)
        column = self.e(
            kernel.LoadOp(
                self.x, self.e.index(x), VectorType(self.stored, [height, 1]), row_stride=rows
            )
        )
        column = self._widen(column)
        result: list[SSAValue] = []
        for part, tile, mask in zip(self.parts, sums, self.masks, strict=True):
            type_ = VectorType(self.stored, [part.lanes])
            mask = None if self.contract.packed else mask
            row = self.e(kernel.LoadOp(self.w, self.e.index(w + part.first), type_, mask=mask))
            result.append(self.e(kernel.OuterOp(column, self._widen(row), tile)))
        return result

    def _widen(self, value: SSAValue) -> SSAValue:
        if self.stored == self.kind:
            return value
        assert isinstance(value.type, VectorType), "rows and columns are vectors"
        return self.e(kernel.CastOp("extf", value, VectorType(self.kind, value.type.get_shape())))

    # The result

    def _index(self, at: Sequence[tuple[Axis, Dim]]) -> tuple[Dim, ...]:
        """The index in the result, from the indices along the axes."""
        shape = shape_of(self.contract.result)
        index: list[Dim] = [0] * len(shape)
        for axis, i in at:
            _spread(axis, i, shape, index)
        return tuple(index)

    def _store(self, sums: Sequence[SSAValue], buffer: SSAValue, offset: Dim) -> None:
        rows = self.e.index(self.row.y)
        for part, tile, mask in zip(self.parts, sums, self.masks, strict=True):
            at = self.e.index(offset + part.first)
            self.e(kernel.StoreOp(tile, buffer, at, row_stride=rows, mask=mask))

    def _finish(
        self, height: int, row: Dim, batch: Batch, offset: Dim, sums: Sequence[SSAValue]
    ) -> None:
        """Apply the rest of the fusion to the rows of the tile, and store them."""
        operations = [o for o in self.op.inner if o is not self.contract]
        if not operations and self.stored == self.kind:
            for position in range(len(self.op.results_inside)):
                self._store(sums, self.e.buffers[len(self.op.operands) + position], offset)
        elif height > 1 and (len(operations) > LIGHT or any(_heavy(o) for o in operations)):
            self._finish_from_buffer(height, row, batch, sums)
        else:
            for part, tile in enumerate(sums):
                for r in range(height):
                    self._finish_row(part, self.e(kernel.RowOp(tile, r)), row + r, batch)

    def _finish_from_buffer(
        self, height: int, row: Dim, batch: Batch, sums: Sequence[SSAValue]
    ) -> None:
        with self.evaluator.standing(0, None):
            buffers = [self.e(kernel.ScratchOp(height * p.lanes, self.kind)) for p in self.parts]
        for part, tile, buffer in zip(self.parts, sums, buffers, strict=True):
            self.e(
                kernel.StoreOp(tile, buffer, self.e.index(0), row_stride=self.e.index(part.lanes))
            )
        with self.e.loop(height) as loop:
            for number, (part, buffer) in enumerate(zip(self.parts, buffers, strict=True)):
                at = self.e.index(loop.variable * part.lanes)
                values = self.e(kernel.LoadOp(buffer, at, VectorType(self.kind, [part.lanes])))
                self._finish_row(number, values, row + loop.variable, batch)

    def _finish_row(self, number: int, values: SSAValue, row: Dim, batch: Batch) -> None:
        ev, e, part = self.evaluator, self.e, self.parts[number]
        shape = shape_of(self.contract.result)
        first = self.columns_at[number]
        # A symbol even where there is one panel: it stands for all lanes.
        column = e.bind(e.index(first), "column") if isinstance(first, int) else first
        index = self._index([*batch, (self.row, row), (self.columns, column)])
        self.current = values
        ev.floor = len(e.scopes) - 1  # what a row needs is loaded here, not kept across the sum
        with ev.vectorised(column, part.lanes, self.masks[number]):
            for position, value in enumerate(self.op.results_inside):
                buffer = e.buffers[len(self.op.operands) + position]
                ev.store(ev.element(value, index), buffer, element(value), linear(index, shape))
        ev.floor = 0


@dataclass(frozen=True)
class Sum:
    """How a sum is cut: pieces of the outer steps and of the depth come one after the other."""

    outer: Sequence[Axis]
    inner: Sequence[Axis]
    length: int
    pieces: int

    @property
    def count(self) -> int:
        """Chunks in all."""
        return _known(product(a.extent for a in self.outer)) * self.pieces


@dataclass(frozen=True)
class Chunk:
    """One piece of a sum: where it begins in x and w, and whether it is the first or last."""

    x: Dim
    w: Dim
    low: Dim
    high: Dim
    first: SSAValue | None = None
    last: SSAValue | None = None


def _parts(lanes: int) -> list[Part]:
    """Powers of two that make up ``lanes``, the largest first."""
    parts: list[Part] = []
    at = 0
    for bit in range(lanes.bit_length() - 1, -1, -1):
        if lanes >> bit & 1:
            parts.append(Part(at, 1 << bit))
            at += 1 << bit
    return parts


def _unroll(depth: Dim, height: int) -> int:
    """Steps of one iteration: a divisor of a known depth where there is one near."""
    wanted = UNROLL if height > 1 else 2 * UNROLL
    if not isinstance(depth, int):
        return wanted
    return next((u for u in (wanted, wanted + 1) if depth % u == 0), wanted)


def _indices(flat: Dim, axes: Sequence[Axis]) -> list[Dim]:
    """The index along each axis, from their joint index."""
    found: list[Dim] = []
    for axis in reversed(axes[1:]):
        found.append(flat % axis.extent)
        flat = flat // axis.extent
    return [flat, *reversed(found)] if axes else []


def _spread(axis: Axis, i: Dim, shape: Sequence[Dim], index: list[Dim]) -> None:
    """Add index ``i`` of an axis to the dims of the result that it runs along."""
    strides = [product(shape[d + 1 :]) for d in range(len(shape))]
    inner = next((d for d in reversed(range(len(shape))) if strides[d] == axis.y), None)
    if inner is None:  # groups of a convolution: several steps of the last dim
        index[-1] = index[-1] + i * axis.y
        return
    for d in range(inner, -1, -1):
        if d == 0 or product(shape[d : inner + 1]) == axis.extent:
            index[d] = index[d] + i
            return
        index[d] = index[d] + i % shape[d]
        i = i // shape[d]


def _dot(index: Sequence[Dim], strides: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for i, stride in zip(index, strides, strict=True):
        total = total + i * stride
    return total


def _known(dim: Dim) -> int:
    assert isinstance(dim, int), "asked of static extents only"
    return dim


def _guess(dim: Dim) -> int:
    return dim if isinstance(dim, int) else 64


def _heavy(op: Operation) -> bool:
    return isinstance(op, TensorOp) and op.HEAVY
