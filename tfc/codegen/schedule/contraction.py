"""Matmul, batched matmul and convolution: register tiles over ``tfc.contract``.

    kernel.parallel over (own batches, blocks of rows, groups of panels) {
      for every chunk of the sum, and every panel of the group {
        for rows of the block, a tile at a time {
          tile = 0, or what the chunks before left
          for every step and depth { tile += column of x * row of the panel }   (kernel.outer)
          what the fusion does with the result, row by row; store
        }
      }
    }

``x`` is read in place, a number at a time; ``w`` in panels, a vector at a time. The row tiles of
a block follow each other, so that the panel stays in the L2 cache while they pass, and the
panels follow each other, so that the rows of ``x`` do. Where ``w`` is no constant, a task first copies
what it needs of a panel: the rows side by side, transposed where its columns are far apart, in f32
where it is stored in half precision. Rows of ``x`` that are far apart from term to term are copied likewise.

A long sum is cut into chunks, whose partial sums stand in the result, or in a buffer of the task where
that has another type; `blocking` says how. Every element is summed in an order that depends on shapes
only: results are the same for every number of threads.

Rows that fill no whole tile are computed twice (the last tile ends with the last row) where that is
cheap, else by a second, lower tile; columns that fill no whole vector are masked, and the last panel has as
many vectors as it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.axes import dot, indices
from tfc.codegen.schedule.blocking import (
    UNROLL,
    Blocking,
    Chunk,
    Problem,
    Sum,
    choose,
    cut,
    guess,
    known,
    steps_of,
)
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.evaluate import Evaluator
from tfc.codegen.schedule.lanes import compute_type, linear, storage
from tfc.codegen.schedule.nest import begin
from tfc.codegen.schedule.panels import (
    Ahead,
    Operand,
    Part,
    asking_rows,
    bytes_of,
    copy_across,
    copy_along,
    copy_rows,
    parts_of,
)
from tfc.codegen.schedule.results import Batch, Results, in_place_pairs
from tfc.codegen.schedule.rows import Rows
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.types import element, is_float, shape_of
from tfc.dims import Dim, product

WORK = 1 << 18
"""Multiply-adds that are worth a thread: some 5 us."""


def lower_contraction(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``contraction``: one ``tfc.contract``, and elementwise
    operations on its result and on tensors that are broadcast to it, all of its shape."""
    contract = next(o for o in op.inner if isinstance(o, ContractOp))
    e, evaluator = begin(op, target)
    return _Generator(op, contract, e, evaluator, target).function(name)


class _Generator:
    """Writes one kernel; see the module's docstring for its loops."""

    def __init__(
        self, op: FusionOp, contract: ContractOp, e: Emitter, evaluator: Evaluator, target: Target
    ) -> None:
        self.op, self.contract, self.e, self.evaluator = op, contract, e, evaluator
        axes = contract.axes
        self.row, self.depth = axes.one("row"), axes.one("depth")
        self.panel, self.columns = axes.one("panel"), axes.one("column")
        self.own = [a for a in axes.of("batch") if a.w != 0]
        self.shared = [a for a in axes.of("batch") if a.w == 0]
        self.lanes = contract.lanes.value.data
        self.parts, self.apart = parts_of(self.lanes), self.lanes  # a last panel may be narrower
        self.stored: Attribute = storage(element(contract.x))
        self.kind: Attribute = compute_type(element(contract.result))
        self.native = tiles.vector_lanes(target, self.kind)
        self.x = evaluator.buffers[contract.x]
        self.w = evaluator.buffers[contract.w]
        self.whole = isinstance(self.columns.extent, int) and self.columns.extent % self.lanes == 0
        self.items = product(a.extent for a in self.shared)
        self.results = Results(op, contract, e, evaluator)
        self._cut(target)

    # How the work is cut

    def _cut(self, target: Target) -> None:
        """Choose chunks of the sum, the rows (of one item of the batch, or of several whole ones) and
        the panels of a task."""
        axes = [*self.contract.axes.of("step"), self.depth]
        vectors = max(1, self.lanes // self.native)
        most = tiles.most_rows(
            target, self.stored, vectors, self.row.x if self.row.x != 1 else self.depth.x
        )
        low = max(1, tiles.LATENCY // vectors)
        rows, size = self.row.extent, bytes_of(self.stored) * self.contract.terms
        height = Rows(rows, most, low, True).height
        self.blocking = how = choose(
            Problem(
                height=height,
                lanes=self.lanes,
                rows=rows,
                items=self.items,
                elsewhere=product(a.extent for a in self.own),
                panels=self.panel.extent,
                sums=axes,
                row=self.row,
                column=self.columns,
                packed=bool(self.contract.packed),
                size=size,
                computed=bytes_of(self.kind),
                masked=target.masks(8 * size),
                machine=f"{target.vector_bits}x{target.registers}",
                kind=str(self.stored),
            )
        )
        whole = not how.copies_w and not how.copies_x and not all(known(a.extent) for a in axes)
        self.sum = Sum((), axes, axes[0].extent, 1) if whole else cut(axes, how.chunk, UNROLL)
        self.kept = self.results.kept
        # What an element is made of is written over where that may be: each is then computed once.
        self.in_place = in_place_pairs(self.op, self.contract) if self.sum.count == 1 else []
        self.rows = Rows(rows, most, low, self.sum.count == 1 and not self.in_place)
        self.group = how.panels if self.kept or self.sum.count == 1 else 1
        self._blocks(how)

    def _blocks(self, how: Blocking) -> None:
        """Rows of a task, in tiles and items."""
        wanted, rows, items = how.rows, self.row.extent, self.items
        if not self.kept and self.sum.count != 1:
            wanted = max(self.rows.height, min(wanted, tiles.COPY_BYTES // (4 * self.lanes)))
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
        self.groups = tiles.ceil(self.panel.extent, self.group)
        self.block_rows = self.tiles_per_block * self.rows.height
        # The rows that all panels share stay in the cache while one panel after the other is read, once.
        depth = product([*(a.extent for a in self.contract.axes.of("step")), self.depth.extent])
        size = guess(items) * guess(rows) * guess(depth) * bytes_of(self.stored) * self.contract.terms
        self.rows_last = bool(self.contract.packed) and size <= tiles.BLOCK_BYTES

    @property
    def grid(self) -> Dim:
        """Tasks; none where the result is empty."""
        own = product(a.extent for a in self.own)
        return own * self.item_blocks * self.row_blocks * self.groups

    def function(self, name: str) -> kernel.FuncOp:
        with self.e.parallel(self.grid) as task:
            if self.grid != 0:
                self._task(task)
        sums = product([*(a.extent for a in self.contract.axes.of("step")), self.depth.extent])
        rows = self.rows.height * min(self.tiles_per_block, guess(self.rows.tiles))
        work = rows * self.items_per_block * self.lanes * self.group * guess(sums)
        return self.e.finish(
            name, grid=self.grid, grain=max(1, WORK // max(1, work)), in_place=self.in_place
        )

    # One task

    def _task(self, task: Dim) -> None:
        extents = [self.groups, self.row_blocks, self.item_blocks]
        if self.rows_last:
            extents = [self.row_blocks, self.item_blocks, self.groups]
        walked: list[Dim] = []
        for extent in extents:
            walked.append(self._bound(task % extent))
            task = task // extent
        group, self.block, items = walked if not self.rows_last else (walked[2], *walked[:2])
        task = self._bound(task)
        own = [self._bound(i) for i in indices(task, self.own)]
        x = dot(own, [a.x for a in self.own])
        self.first_item = items * self.items_per_block
        self._scratch()
        self.first = self._first_row() if self.blocking.copies_x else 0
        with self._chunks() as chunk:
            if self.blocking.copies_x:
                with self._each_item(self.first_item) as item:
                    shared = [self._bound(i) for i in indices(self._bound(item), self.shared)]
                    at = self._bound(x + dot(shared, [a.x for a in self.shared]))
                    self._copy_rows(at, self._bound(item - self.first_item), chunk)
            with self._each_panel(group) as panel:
                self._as_wide(panel, lambda panel=panel, chunk=chunk: self._tiles(own, x, panel, chunk))

    def _tiles(self, own: Sequence[Dim], x: Dim, panel: Dim, chunk: Chunk) -> None:
        """All tiles of a task in one panel."""
        column = self._bound(panel * self.lanes)
        self.results.columns_at = [self._bound(column + p.first) for p in self.parts]
        self.results.masks = [
            self._mask(at, p) for at, p in zip(self.results.columns_at, self.parts, strict=True)
        ]
        w = self._panel(own, panel, chunk)
        with self._each_item(self.first_item) as item:
            shared = [self._bound(i) for i in indices(item, self.shared)]
            at = self._bound(x + dot(shared, [a.x for a in self.shared]))
            local = item - self.first_item
            batch = [*zip(self.own, own, strict=True), *zip(self.shared, shared, strict=True)]
            tile = _Tile(self._rows_of_item(at, local, chunk), w, batch, local, chunk)
            self.rows.each(
                self.e, self.block, self.tiles_per_block, lambda h, r: self._tile(h, r, tile)
            )

    def _as_wide(self, panel: Dim, body: Callable[[], None]) -> None:
        """``body`` with as many vectors as have columns: the last panel may need fewer."""
        columns, panels = self.columns.extent, self.panel.extent
        left = columns % self.lanes if isinstance(columns, int) else 0
        needed = min(-(-left // self.native) * self.native, self.contract.narrow)
        if panels == 1 or needed in (0, self.lanes):
            body()
            return

        def of(lanes: int, whole: bool, apart: int) -> Callable[[], Sequence[SSAValue]]:
            def run() -> Sequence[SSAValue]:
                self.parts = self.results.parts = parts_of(lanes)
                self.whole, self.apart = whole, apart
                body()
                self.parts, self.whole, self.apart = parts_of(self.lanes), False, self.lanes
                return ()

            return run

        last = self.e.compare("eq", panel, panels - 1)
        self.e.branch(last, of(needed, left == needed, self.contract.narrow), of(self.lanes, True, self.lanes))

    @contextmanager
    def _each_panel(self, group: Dim) -> Generator[Dim]:
        if self.group == 1:
            yield group
            return
        first = group * self.group
        last: Dim = first + self.group
        if self.panel.extent % self.group != 0:
            last = self.e.minimum(self.panel.extent, last)
        with self.e.loop(last, lower=first) as loop:
            yield loop.variable

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
        cut_axis, count = self.sum.inner[0], self.sum.count
        if count == 1:
            yield Chunk(0, 0, 0, cut_axis.extent)
            return
        certain = isinstance(count, int)
        # Something is stored even where nothing is summed: one chunk at least, without terms.
        chunks = count if certain else self.e.maximum(count, 1)
        with self.e.loop(chunks) as loop:
            pieces = self.sum.pieces
            piece = self._bound(loop.variable % pieces) if pieces != 1 else 0
            at = indices(loop.variable // pieces if pieces != 1 else loop.variable, self.sum.outer)
            low: Dim = piece * self.sum.length
            high = cut_axis.extent
            if pieces != 1:
                high = self.e.minimum(low + self.sum.length, high)
            if not certain:
                some = self.e.minimum(product(a.extent for a in self.sum.outer), 1)
                high = low + (high - low) * some
            yield Chunk(
                dot(at, [a.x for a in self.sum.outer]),
                dot(at, [a.w for a in self.sum.outer]),
                low,
                high,
                self.e.compare("eq", loop.variable, 0),
                self.e.compare("eq", loop.variable, chunks - 1),
            )

    # Copies of a task

    def _scratch(self) -> None:
        """Buffers for what is copied, and for partial sums that have no other place."""
        most = self.sum.largest if self.blocking.copies_w or self.blocking.copies_x else 0
        with self.evaluator.standing(0, None):
            if self.blocking.copies_w:
                self.copied_w = self.e(kernel.ScratchOp((most + self.native) * self.lanes, self.kind))
            if self.blocking.copies_x:
                self.across = self.row.x == 1 and self.depth.x != 1
                self.row_lanes = -(-self.block_rows // self.native) * self.native
                rows = self.row_lanes if self.across else self.block_rows
                self.copied_x = self.e(kernel.ScratchOp(self.items_per_block * most * rows, self.kind))
            if self.sum.count != 1 and not self.kept:
                size = self.items_per_block * self.block_rows * self.lanes
                self.partial = self.e(kernel.ScratchOp(size, self.kind))

    def _compact(self, lanes: int) -> list[Dim]:
        """The moves of the axes of a chunk in a copy of it."""
        extents = [self.sum.length, *(a.extent for a in self.sum.inner[1:])]
        return [product(extents[k + 1 :]) * lanes for k in range(len(extents))]

    def _panel(self, own: Sequence[Dim], panel: Dim, chunk: Chunk) -> Operand:
        """The panel as the sum reads it: where it stands, or a copy of its chunk."""
        start = dot([*own, panel], [*(a.w for a in self.own), self.panel.w])
        start = self._bound(start) + chunk.w * self.apart // self.lanes
        moves = [a.w * self.apart // self.lanes for a in self.sum.inner]
        if not self.blocking.copies_w:
            return Operand(self.w, self.stored, start, 0, moves)
        compact = self._compact(self.apart)
        copy = copy_along if self.columns.w == 1 else copy_across
        whole = self.whole or self.contract.packed
        valid = None if whole else self._bound(self.columns.extent - panel * self.lanes)

        def run(source: Dim, place: Dim, low: Dim, high: Dim) -> None:
            copy(
                self.e, (self.w, self.stored, source), (self.copied_w, self.kind, place), (low, high),
                lanes=self.apart, move=moves[-1], lane_move=self.columns.w, valid=valid, native=self.native,
            )  # fmt: skip

        self._each_run(chunk, run, moves, compact, start, -(chunk.low * compact[0]))
        return Operand(self.copied_w, self.kind, -(chunk.low * compact[0]), 0, compact)

    def _first_row(self) -> Dim:
        """The first row of the task's block."""
        rows, first = self.row.extent, self.block * self.block_rows
        if not isinstance(rows, int):
            return self._bound(first)
        if self.rows.tall != self.rows.tiles:
            shorter = self.e.maximum(self.block * self.tiles_per_block - self.rows.tall, 0)
            return self._bound(first - shorter)
        return self.e.minimum(first, rows - self.rows.height) if rows % self.rows.height else first

    def _rows_of_item(self, x: Dim, item: Dim, chunk: Chunk) -> Operand:
        """The rows as the sum reads them: where they stand, or in the copy of their chunk."""
        if not self.blocking.copies_x:
            moves = [a.x for a in self.sum.inner]
            return Operand(self.x, self.stored, x + chunk.x, self.row.x, moves)
        compact, row, size = self._row_places()
        start = item * size - self.first * row - chunk.low * compact[0]
        return Operand(self.copied_x, self.kind, start, row, compact)

    def _row_places(self) -> tuple[list[Dim], int, int]:
        """In a copy of rows: how far terms, rows and items are apart.

        Rows that are neighbours in memory stay that, term after term; others follow each other.
        """
        if self.across:
            return self._compact(self.row_lanes), 1, self.sum.largest * self.row_lanes
        return self._compact(1), self.sum.largest, self.sum.largest * self.block_rows

    def _copy_rows(self, x: Dim, item: Dim, chunk: Chunk) -> None:
        """Copy the chunk of the task's rows of one item."""
        compact, apart, size = self._row_places()
        moves = [a.x for a in self.sum.inner]
        valid = self._bound(self.row.extent - self.first)

        def run(source: Dim, place: Dim, low: Dim, high: Dim) -> None:
            if self.across:
                copy_along(
                    self.e, (self.x, self.stored, source), (self.copied_x, self.kind, place), (low, high),
                    lanes=self.row_lanes, move=moves[-1], lane_move=1, valid=valid, native=self.native,
                )  # fmt: skip
                return
            rows = self.e.minimum(valid, self.block_rows)
            copy_rows(
                self.e, (self.x, self.stored, source), (self.copied_x, self.kind, place), (low, high),
                rows=rows, row_moves=(self.row.x, apart), move=moves[-1], native=self.native,
            )  # fmt: skip

        source = x + self.first * self.row.x + chunk.x
        self._each_run(chunk, run, moves, compact, source, item * size - chunk.low * compact[0])

    def _each_run(
        self,
        chunk: Chunk,
        run: Callable[[Dim, Dim, Dim, Dim], None],
        moves: Sequence[Dim],
        compact: Sequence[Dim],
        source: Dim,
        place: Dim,
    ) -> None:
        """``run(source, place, low, high)`` for each walk along the depth in a chunk."""
        axes = self.sum.inner

        def walk(k: int, source: Dim, place: Dim) -> None:
            low, high = (chunk.low, chunk.high) if k == 0 else (0, axes[k].extent)
            if k == len(axes) - 1:
                run(self._bound(source), self._bound(place), low, high)
                return
            with self.e.loop(high, lower=low) as loop:
                i = loop.variable
                walk(k + 1, source + i * moves[k], place + i * compact[k])

        walk(0, source, place)

    # One tile

    def _tile(self, height: int, row: Dim, tile: _Tile) -> None:
        index = self.results.index([*tile.batch, (self.row, row), (self.columns, self.results.columns_at[0])])
        offset = linear(index, shape_of(self.contract.result))
        chunk = tile.chunk
        place = (self.e.buffers[len(self.op.operands)], offset, self.row.y)
        if chunk.first is not None and not self.kept:
            first = self.block * self.block_rows
            if isinstance(self.row.extent, int) and self.rows.tall != self.rows.tiles:
                first = first - self.e.maximum(self.block * self.tiles_per_block - self.rows.tall, 0)
            local = (tile.item * self.block_rows + row - first) * self.lanes
            place = (self.partial, local, self.lanes)
        zeros = [self.e.constant(0, VectorType(self.kind, [height, p.lanes])) for p in self.parts]
        self.sums_at = place if chunk.first is not None and self.kept else None
        x = replace(tile.x, start=tile.x.start + row * tile.x.row)
        w = replace(tile.w, ahead=self._ahead(height, row, tile))
        found = self._sum(0, x, w, chunk, zeros)
        if chunk.first is None or chunk.last is None:
            self.results.finish(height, row, tile.batch, offset, found)
            return
        sums = self.e.branch(chunk.first, lambda: found, lambda: self._on_top(found, place))

        def finish() -> Sequence[SSAValue]:
            self.results.finish(height, row, tile.batch, offset, sums)
            return ()

        def keep() -> Sequence[SSAValue]:
            self.results.store(sums, *place)
            return ()

        self.e.branch(chunk.last, finish, keep)

    def _ahead(self, height: int, row: Dim, tile: _Tile) -> Ahead | None:
        """Panels of weights follow each other in memory, which is busy only while a first tile reads one: the
        others ask for the next panel meanwhile."""
        cut = self.sum.count != 1
        terms = self.sum.length * product(a.extent for a in self.sum.inner[1:])
        if not self.contract.packed or self.blocking.copies_w or height == 1 or not isinstance(terms, int):
            return None
        if self.panel.extent == 1 and not cut:
            return None
        width = self.lanes * self.contract.terms
        rows = min(self.block_rows, guess(self.row.extent))
        pace = -(-width * height // max(height, rows * self.items_per_block))
        following = self.panel.w if cut and self.group != 1 else terms * width
        done = (row - self.block * self.block_rows + tile.item * rows) * (terms * pace // height)
        moves = tile.w.moves
        begun = tile.w.start + tile.chunk.low * (moves[0] - moves[0] // moves[-1] * pace)
        return Ahead(self._bound(begun + following + done), pace)

    def _on_top(self, sums: Sequence[SSAValue], place: tuple[SSAValue, Dim, Dim]) -> Sequence[SSAValue]:
        """``sums`` and those of the chunks before, which the loop over this one has asked for."""
        buffer, offset, rows = place[0], place[1], self.e.index(place[2])
        add = arith.AddfOp if is_float(self.kind) else arith.AddiOp
        before = [
            self.e(kernel.LoadOp(buffer, self.e.index(offset + p.first), t.type, row_stride=rows, mask=m))
            for p, t, m in zip(self.parts, sums, self.results.masks, strict=True)
        ]
        return [self.e(add(x, y)) for x, y in zip(before, sums, strict=True)]

    def _sum(
        self, axis: int, x: Operand, w: Operand, chunk: Chunk, sums: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        """Loops over the axes of a chunk, the depth innermost, that carry the tile."""
        axes = self.sum.inner
        low, high = (chunk.low, chunk.high) if axis == 0 else (0, axes[axis].extent)
        if axis == len(axes) - 1:
            return self._depth(x, w, low, high, sums)
        with self.e.loop(high, lower=low, carried=sums) as loop:
            i = loop.variable
            loop.carry(self._sum(axis + 1, x.moved(axis, i), w.moved(axis, i), chunk, loop.carried))
        return loop.results

    def _depth(
        self, x: Operand, w: Operand, low: Dim, high: Dim, sums: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        x_at, w_at = self._bound(x.start), self._bound(w.start)
        height = sums[0].type.get_shape()[0]  # pyright: ignore # a tile
        cut = not (isinstance(low, int) and isinstance(high, int))
        unroll = UNROLL if cut and height > 1 else steps_of(self.depth.extent, height)
        tight = height * self.lanes // self.native >= tiles.TIGHT and self.sum.count != 1
        if x.overlaps(height) or tight:
            unroll = 1
        extent, length = self.depth.extent, self.sum.length if len(self.sum.inner) == 1 else 0
        whole = isinstance(extent, int) and extent % unroll == 0 and length % unroll == 0
        main = high if whole else low + (high - low) // unroll * unroll

        asks = [w.asking(self.e, unroll), *self._rows_asked(replace(x, start=x_at), height, unroll)]

        def step(k: Dim, sums: Sequence[SSAValue]) -> Sequence[SSAValue]:
            return self._step(x_at + k * x.moves[-1], w_at + k * w.moves[-1], x, w, height, sums)

        if main != low:
            with self.e.loop(main, lower=low, step=unroll, carried=sums) as loop:
                for ask in asks:
                    ask(loop.variable)
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

    def _rows_asked(self, x: Operand, height: int, steps: int) -> list[Callable[[Dim], object]]:
        """Where a sum is cut, the partial sums of this tile come from afar, and the rows of the next one; but beside
        panels that are asked for (`_ahead`) rows are not: 2048 took 1.06 times as long."""
        asks: list[Callable[[Dim], object]] = []
        ahead = self.contract.packed and not self.blocking.copies_w
        if self.sum.count != 1 and not ahead and not self.blocking.copies_x and x.moves[-1] == 1:
            following = (x.buffer, x.kind, x.start + height * x.row)
            asks.append(asking_rows(self.e, following, x.row, height, steps))
        if self.sums_at:
            buffer, offset, row = self.sums_at
            lines = max(1, self.lanes * bytes_of(self.kind) // kernel.LINE)
            asks.append(asking_rows(self.e, (buffer, self.kind, offset), row, height, steps, lines))
        return asks

    def _step(
        self, x_at: Dim, w_at: Dim, x: Operand, w: Operand, height: int, sums: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        """``sums`` and the products of one column of x with one row of the panel."""
        rows = self.e.index(x.row)
        terms = self.contract.terms
        column = self.e(
            kernel.LoadOp(x.buffer, self.e.index(x_at), VectorType(x.kind, [height, terms]), row_stride=rows)
        )
        column = column if terms > 1 else self._widen(column)
        whole = self.contract.packed or self.blocking.copies_w
        result: list[SSAValue] = []
        for part, tile, mask in zip(self.parts, sums, self.results.masks, strict=True):
            type_ = VectorType(w.kind, [part.lanes * terms])
            at = self.e.index(w_at + part.first * terms)
            row = self.e(kernel.LoadOp(w.buffer, at, type_, mask=None if whole else mask))
            if terms > 1:
                result.append(self.e(kernel.DotBytesOp(column, row, tile)))
            else:
                result.append(self.e(kernel.OuterOp(column, self._widen(row), tile)))
        return result

    def _widen(self, value: SSAValue) -> SSAValue:
        assert isinstance(value.type, VectorType), "rows and columns are vectors"
        if value.type.element_type == self.kind:
            return value
        return self.e(kernel.CastOp("extf", value, VectorType(self.kind, value.type.get_shape())))


@dataclass(frozen=True)
class _Tile:
    """What the tiles of one item and panel share; ``item`` counts from the first one of the task."""

    x: Operand
    w: Operand
    batch: Batch
    item: Dim
    chunk: Chunk
