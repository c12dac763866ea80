"""Attention on a GPU as one kernel: no score is ever in global memory.

    kernel.parallel over (batches, blocks of rows) {
      begin to copy the rows of q, and the first tiles of k and v, to shared memory
      for every tile of keys {
        scores = rows of q times the keys; scaled, masked
        top    = the largest score of each row so far
        shares = exp(scores - top); what was summed before is scaled by exp(top before - top)
        total += sums of the shares; result += shares times the rows of v
      }
      result / total; store
    }

A warp has 16 rows, and all keys of a tile: no other warp needs its scores. Tensor cores take shares of half
precision from the registers in which scores were left; where threads multiply, shares go through shared memory. Sums, scores
and powers are f32 (f64 of f64). Of causal attention, tiles of keys that no row of a block sees are left out.

A row that sees none of the keys has 0 / 0 as its result, and one without keys 0, as in the operations that this stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import UnitAttr, VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.blocks import THREADS, AttentionTile, Tile, attention_tile
from tfc.codegen.schedule.gpu.staging import Ring, Shelf, Source, Stage, Walk, aligned, both, bound
from tfc.codegen.schedule.gpu.sums import HIGH, LANES, TensorSums, ThreadSums, scalars, vector
from tfc.codegen.schedule.lanes import compute_type, storage
from tfc.codegen.schedule.nest import emitter_of
from tfc.codegen.schedule.tiles import ceil
from tfc.dialects import kernel
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.types import element, is_bool, shape_of
from tfc.dims import Dim, product
from tfc.errors import InternalError

Combine = Callable[[SSAValue, SSAValue], SSAValue]

STAGES = 2
"""Tiles of keys in shared memory: one that is used, and the next one on its way."""


def lower_attention(op: FusionOp, name: str, target: GpuTarget) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``attention``: one ``tfc.attention`` that `attention_tile` has a tile for."""
    (attention,) = (o for o in op.inner if isinstance(o, AttentionOp))
    _, rows, _, depth, columns = attention.sizes()
    tile = attention_tile(depth, columns, rows, element(attention.q), target)
    if tile is None:
        raise InternalError(f"no block has room for an attention over {attention.q.type}")
    e, buffers = emitter_of(op)
    return _Generator(attention, e, buffers, tile, target).function(name)


@dataclass(frozen=True)
class _Place:
    """How a tensor is walked: strides along its batches, rows and columns."""

    batch: Sequence[Dim]
    row: Dim
    column: Dim


@dataclass(frozen=True)
class _State:
    """What is known of each of a thread's rows: its largest score, the sum of its shares so far (of this thread's keys),
    and the sums of its result."""

    top: Sequence[SSAValue]
    total: Sequence[SSAValue]
    sums: Sequence[SSAValue]

    @property
    def values(self) -> list[SSAValue]:
        return [*self.top, *self.total, *self.sums]

    def like(self, values: Sequence[SSAValue]) -> _State:
        n = len(self.top)
        return _State(values[:n], values[n : 2 * n], values[2 * n :])


class _Generator:
    """Writes one kernel; see the module's docstring for its loop."""

    def __init__(
        self, op: AttentionOp, e: Emitter, buffers: dict[SSAValue, SSAValue], tile: AttentionTile, target: GpuTarget
    ) -> None:
        self.op, self.e, self.buffers, self.tile, self.target = op, e, buffers, tile, target
        self.batch, self.rows, self.keys, self.depth, self.columns = op.sizes()
        self.kind, self.stored = compute_type(element(op.q)), storage(element(op.q))
        self.row_blocks = ceil(self.rows, tile.rows)
        self.tensor = tile.unit != THREADS
        self.scores_tile = Tile(tile.rows, tile.keys, tile.depth, (tile.warps, 1), STAGES, tile.unit)
        self.result_tile = Tile(tile.rows, tile.columns, tile.keys, (tile.warps, 1), STAGES, tile.unit)

    def function(self, name: str) -> kernel.FuncOp:
        grid = product(self.batch) * self.row_blocks
        with self.e.parallel(grid) as task:
            if grid != 0:
                self._task(task)
        return self.e.finish(name, grid=grid, target="gpu", block=self.tile.threads)

    # One block

    def _task(self, task: Dim) -> None:
        e = self.e
        number, item = bound(e, task % self.row_blocks), bound(e, task // self.row_blocks)
        if self.op.causal is not None:  # the longest ones first
            number = bound(e, self.row_blocks - 1 - number)
        self.first = bound(e, number * self.tile.rows)
        at: list[Dim] = []
        for extent in reversed(self.batch):
            at.insert(0, bound(e, item % extent))
            item = bound(e, item // extent)
        self.at = at
        thread = self.thread = e.bind(e(kernel.ThreadOp()), "t")
        q, k, v = self._stages(thread)
        keep = q.begin(0, 0)
        q.end(0, keep)
        ring = Ring(e, (k, v), STAGES, self.tile.keys, ceil(self.keys, self.tile.keys), before=[q])
        ring.keep(0, ring.fetch(0, 0), 0)
        scores, result = self._sums(thread, replace(q.shelf, size=0), k.shelf.turned, v.shelf)
        state = self._begin(result)
        with e.loop(self._last_tile(ring.tiles), carried=[e.constant(0), e.constant(1), *state.values]) as loop:
            slot, later = (e.bind(c, "slot") for c in loop.carried[:2])
            ring.wait()
            held = ring.fetch(later, loop.variable + 1)
            key = bound(e, loop.variable * self.tile.keys)
            state = self._step(state.like(loop.carried[2:]), slot, key, scores, result)
            ring.keep(later, held, loop.variable + 1)
            loop.carry([ring.next(slot), ring.next(later), *state.values])
        self._finish(state.like(loop.results[2:]), result)
        e(kernel.BarrierOp())  # the next block's tiles take the place of these

    def _place(self, value: SSAValue, order: Sequence[int]) -> _Place:
        shape = shape_of(value)
        strides = [product(shape[d + 1 :]) for d in range(len(shape))]
        *batch, row, column = (strides[d] for d in order)
        return _Place(batch, row, column)

    def _stages(self, thread: Dim) -> tuple[Stage, Stage, Stage]:
        """Tiles of q (lines are its rows), of k (its depth) and of v (its columns): the terms of the latter are keys."""
        op, tile, e = self.op, self.tile, self.e

        def source(value: SSAValue, place: _Place, lines: tuple[Dim, Dim], terms: tuple[Dim, Dim]) -> Source:
            start = bound(e, sum((i * s for i, s in zip(self.at, place.batch, strict=True)), start=0))
            starts = place.batch
            return Source(self.buffers[value], self.stored, start, starts, Walk.of([lines]), Walk.of([terms]))

        q, k, v = (self._place(x, o) for x, o in zip((op.q, op.k, op.v), op.orders(), strict=False))
        whole = Tile(tile.rows, 0, tile.depth, (tile.warps, 1), 1, tile.unit)
        part = Tile(0, 0, tile.keys, (tile.warps, 1), STAGES, tile.unit)
        make = partial(Stage, e, target=self.target, thread=thread)
        return (
            make(source=source(op.q, q, (self.rows, q.row), (self.depth, q.column)),
                 tile=whole, lines=tile.rows, first=self.first, by_lines=True),
            make(source=source(op.k, k, (self.depth, k.column), (self.keys, k.row)), tile=part, lines=tile.depth, first=0),
            make(source=source(op.v, v, (self.columns, v.column), (self.keys, v.row)), tile=part, lines=tile.columns, first=0),
        )  # fmt: skip

    def _sums(self, thread: Dim, q: Shelf, k: Shelf, v: Shelf) -> tuple[ThreadSums | TensorSums, ThreadSums | TensorSums]:
        e = self.e
        if self.tensor:
            scores = TensorSums(e, self.scores_tile, self.kind, thread, q, k)
            return scores, TensorSums(e, self.result_tile, self.kind, thread, None, v)
        pitch = self.tile.keys + 4
        memory = e(kernel.SharedOp(self.tile.rows * pitch, self.kind))
        self.shares = Shelf(memory, self.kind, True, pitch, 0)
        scores = ThreadSums(e, self.scores_tile, self.kind, thread, q, k)
        return scores, ThreadSums(e, self.result_tile, self.kind, thread, self.shares, v)

    def _last_tile(self, tiles: Dim) -> Dim:
        """How many tiles of keys there are that a row of this block sees."""
        if self.op.causal is None:
            return tiles
        e, most = self.e, self.first + self.tile.rows + self.op.causal.value.data
        seen = e.maximum(bound(e, most + (self.tile.keys - 1)), 0)
        return e.minimum(tiles, bound(e, seen // self.tile.keys))

    # Rows of a thread

    def _begin(self, result: ThreadSums | TensorSums) -> _State:
        e, n = self.e, 2 if self.tensor else HIGH
        least, none = e.constant(float("-inf"), self.kind), e.constant(0, self.kind)
        if self.keys == 0:  # then all sums are 0, and not 0 / 0
            none = e.constant(1, self.kind)
        elif not isinstance(self.keys, int):
            none = e(kernel.SelectOp(e.compare("eq", self.keys, 0), e.constant(1, self.kind), none))
        return _State([least] * n, [none] * n, result.zeros())

    def _rows(self, sums: Sequence[SSAValue]) -> list[list[SSAValue]]:
        """What the thread has of each of its rows."""
        e = self.e
        if self.tensor:
            return [[p for s in sums for p in scalars(e, e(kernel.HalfOp(s, upper)))] for upper in (False, True)]
        return [[p for s in sums for p in scalars(e, e(kernel.RowOp(s, i)))] for i in range(HIGH)]

    def _row(self, sums: ThreadSums | TensorSums, k: int) -> Dim:
        """Row ``k`` of a thread, in the block."""
        return sums.row + sums.group + 8 * k if isinstance(sums, TensorSums) else sums.rows.place(k)

    def _column(self, sums: ThreadSums | TensorSums, k: int) -> Dim:
        """Column ``k`` of a thread's rows, in the tile."""
        if isinstance(sums, TensorSums):
            return sums.column + 8 * (k // 2) + 2 * sums.member + k % 2
        return sums.columns.place(k)

    def _across(self, value: SSAValue, combine: Combine) -> SSAValue:
        """``value`` combined over the threads that share its row."""
        lane, e = 1, self.e
        while lane < (4 if self.tensor else LANES[1]):
            value = combine(value, e(kernel.ShuffleOp("xor", value, e.constant(lane))))
            lane *= 2
        return value

    def _larger(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.e(arith.MaximumfOp(x, y))

    def _plus(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.e(arith.AddfOp(x, y))

    def _power(self, value: SSAValue) -> SSAValue:
        op = math.ExpOp(value)
        op.attributes[kernel.NEVER_POSITIVE] = UnitAttr()
        return self.e(op)

    # One tile of keys

    def _step(
        self, state: _State, slot: Dim, key: Dim, scores: ThreadSums | TensorSums, result: ThreadSums | TensorSums
    ) -> _State:
        e = self.e
        top, total, scales = list[SSAValue](), list[SSAValue](), list[SSAValue]()
        shares: list[list[SSAValue]] = []
        count = self.tile.keys // (4 if self.tensor else LANES[1])
        keys = [bound(e, key + self._column(scores, k)) for k in range(count)]
        for n, row in enumerate(self._rows(scores.add(slot, scores.zeros()))):
            seen = self._seen(row, bound(e, self.first + self._row(scores, n)), keys)
            new = self._larger(state.top[n], self._across(reduce(self._larger, seen), self._larger))
            # Of a row that has seen nothing yet all powers are 0.
            none = e(kernel.CompareOp("oeq", new, e.constant(float("-inf"), self.kind)))
            base = e(kernel.SelectOp(none, e.constant(0, self.kind), new))
            scales.append(self._power(e(arith.SubfOp(state.top[n], base))))
            shares.append([self._power(e(arith.SubfOp(one, base))) for one in seen])
            before = e(arith.MulfOp(state.total[n], scales[n]))
            total.append(self._plus(before, reduce(self._plus, shares[n])))
            top.append(new)
        return _State(top, total, self._mixed(self._scaled(state.sums, scales), shares, slot, scores, result))

    def _seen(self, row: Sequence[SSAValue], at: Dim, keys: Sequence[Dim]) -> list[SSAValue]:
        """The scores of a row: scaled, and masked."""
        e, op = self.e, self.op
        scale = op.scale.value.data
        seen = list(row) if scale == 1 else [e(arith.MulfOp(s, e.constant(scale, self.kind))) for s in row]
        if op.mask is not None:
            seen = self._masked(op.mask, seen, at, keys)
        least = e.constant(float("-inf"), self.kind)
        for n, key in enumerate(keys):
            inside = None if self.keys % self.tile.keys == 0 else e.compare("slt", key, self.keys)
            if op.causal is not None:
                inside = both(e, inside, e.compare("sle", key, at + op.causal.value.data))
            if inside is not None:
                seen[n] = e(kernel.SelectOp(inside, seen[n], least))
        return seen

    def _masked(self, mask: SSAValue, seen: Sequence[SSAValue], at: Dim, keys: Sequence[Dim]) -> list[SSAValue]:
        e, shape = self.e, shape_of(mask)
        place = self._place(mask, range(len(shape)))
        *batch, row, key = (0 if n == 1 else s for n, s in zip(shape, [*place.batch, place.row, place.column], strict=True))
        start = sum((i * s for i, s in zip(self.at, batch, strict=True)), start=0)
        # What is behind the last row or key is read where that is, and not used.
        if row != 0 and self.rows % self.tile.rows != 0:
            at = e.minimum(at, self.rows - 1)
        start = bound(e, start + at * row)
        made: list[SSAValue] = []
        for score, k in zip(seen, keys, strict=True):
            if key != 0 and self.keys % self.tile.keys != 0:
                k = e.minimum(k, self.keys - 1)
            value = e(kernel.LoadOp(self.buffers[mask], e.index(start + k * key), storage(element(mask))))
            if is_bool(element(mask)):
                made.append(e(kernel.SelectOp(value, score, e.constant(self.op.filling, self.kind))))
            else:
                made.append(self._plus(score, cast(e, value, self.kind)))
        return made

    def _scaled(self, sums: Sequence[SSAValue], scales: Sequence[SSAValue]) -> list[SSAValue]:
        """The sums of the result, for shares of new largest scores."""
        e = self.e
        if self.tensor:
            factor = vector(e, [s for s in scales for _ in range(2)])
        else:
            factor = e(kernel.TileOp([e(kernel.SplatOp(s, VectorType(self.kind, [HIGH]))) for s in scales]))
        return [e(arith.MulfOp(s, factor)) for s in sums]

    def _mixed(
        self,
        sums: Sequence[SSAValue],
        shares: Sequence[Sequence[SSAValue]],
        slot: Dim,
        scores: ThreadSums | TensorSums,
        result: ThreadSums | TensorSums,
    ) -> list[SSAValue]:
        """``sums`` and the shares times the rows of v."""
        e = self.e
        if isinstance(result, TensorSums):
            # Two products of scores side by side are an operand as it is.
            pairs = [[row[k : k + 2] for row in shares] for k in range(0, len(shares[0]), 2)]
            flat = [[x for pair in both_rows for x in pair] for both_rows in pairs]
            held = [vector(e, [*flat[k], *flat[k + 1]]) for k in range(0, len(flat), 2)]
            halves = [e(kernel.CastOp("truncf", h, VectorType(self.stored, [8]))) for h in held]
            result.held = [e(kernel.PackOp(h)) for h in halves]
        else:
            for n, row in enumerate(shares):
                for k, one in enumerate(row):
                    at = self.shares.place(0, self._row(scores, n), self._column(scores, k))
                    e(kernel.StoreOp(one, self.shares.memory, e.index(at)))
            e(kernel.BarrierOp())
        return result.add(slot, sums)

    # The result

    def _finish(self, state: _State, result: ThreadSums | TensorSums) -> None:
        e = self.e
        place = self._place(self.op.result, self.op.orders()[3])
        start = bound(e, sum((i * s for i, s in zip(self.at, place.batch, strict=True)), start=0))
        lanes = 2 if self.tensor else HIGH if isinstance(result, ThreadSums) and result.columns.neighbours else 1
        strides = [*place.batch, place.row, self.columns]
        if place.column != 1 or any(s % lanes != 0 for s in strides):
            lanes = 1
        for n, values in enumerate(self._rows(state.sums)):
            total = self._across(state.total[n], self._plus)
            row = bound(e, self.first + self._row(result, n))
            low = None if self.rows % self.tile.rows == 0 else e.compare("slt", row, self.rows)
            for k in range(0, len(values), lanes):
                shares = [e(arith.DivfOp(v, total)) for v in values[k : k + lanes]]
                column = bound(e, self._column(result, k))
                left = None if self.columns == self.tile.columns else e.compare("slt", column, self.columns)
                at = start + row * place.row + column * place.column
                self._store(vector(e, shares), at, both(e, low, left))

    def _store(self, value: SSAValue, at: Dim, inside: SSAValue | None) -> None:
        e = self.e
        buffer = e.buffers[-1]

        def store() -> Sequence[SSAValue]:
            made = cast(e, value, self.stored)
            aligned(e, kernel.StoreOp(made, buffer, e.index(at)))
            return ()

        store() if inside is None else e.branch(inside, store)


def cast(e: Emitter, value: SSAValue, kind: Attribute) -> SSAValue:
    """A float or a vector of floats as another type of float."""
    held = value.type.element_type if isinstance(value.type, VectorType) else value.type
    if held == kind:
        return value
    wide = getattr(held, "bitwidth", 0) < getattr(kind, "bitwidth", 0)
    to = VectorType(kind, value.type.get_shape()) if isinstance(value.type, VectorType) else kind
    return e(kernel.CastOp("extf" if wide else "truncf", value, to))
