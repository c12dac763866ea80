"""Attention as one kernel: scores are there for a block of rows and a chunk of keys at a time.

    kernel.parallel over (batches, blocks of rows) {
      for every chunk of keys that a row of the block sees {
        copy the keys, turned: lanes are keys
        scores = rows of q times the keys, a tile at a time
        for every row { scale and mask; top = the largest so far; powers of the rest, their sum;
                        what was summed before times exp(top before - top) }
        sums += powers times rows of v, a tile at a time
      }
      sums / totals; store
    }

The scores of a chunk, its keys and the sums of the block stay in the L2 cache. Sizes follow from the shapes alone,
and so do the bits of the result. Scores, powers and sums of halves are f32. A row that sees no key has
0 / 0 as its result, as in the operations that this stands for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float64Type, UnitAttr, VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.axes import indices
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.lanes import compute_type, linear, storage
from tfc.codegen.schedule.nest import begin
from tfc.codegen.schedule.panels import Part, copy_across, copy_along, parts_of
from tfc.dialects import kernel
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import Axis
from tfc.dialects.tfc.types import element, is_bool, shape_of
from tfc.dims import Dim, product

ROWS = 96
"""Rows of a block, at most about: each uses the copy of the keys once."""

CHUNK = 256
"""Keys of a chunk."""

VECTORS = 4
"""Registers side by side in a tile."""

UNROLL = 2
"""Terms of a sum in one iteration."""


def lower_attention(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``attention``: one ``tfc.attention``."""
    (attention,) = (o for o in op.inner if isinstance(o, AttentionOp))
    e, evaluator = begin(op, target)
    return _Generator(attention, e, evaluator.buffers, target).function(name)


class _Generator:
    """Writes one kernel; see the module's docstring for its loops."""

    def __init__(self, op: AttentionOp, e: Emitter, buffers: dict[SSAValue, SSAValue], target: Target) -> None:
        self.op, self.e, self.buffers = op, e, buffers
        self.result = e.buffers[-1]
        self.batch, self.rows, self.keys, self.depth, self.columns = op.sizes()
        self.stored = storage(element(op.q))
        self.kind: Attribute = compute_type(element(op.q))
        native = tiles.vector_lanes(target, self.kind)
        self.native, self.lanes = native, native * VECTORS
        self.height = max(1, tiles.most_rows(target, self.kind, VECTORS, 1))
        self.parts = parts_of(self.lanes)
        blocks = tiles.ceil(self.rows, ROWS)
        share = tiles.ceil(self.rows, blocks) if isinstance(blocks, int) and blocks else ROWS
        self.block = -(-(share if isinstance(share, int) else ROWS) // self.height) * self.height
        self.blocks = tiles.ceil(self.rows, self.block)
        few = isinstance(self.keys, int) and self.keys < CHUNK
        self.chunk = max(1, -(-self.keys // self.lanes)) * self.lanes if few else CHUNK  # pyright: ignore
        self.causal = None if op.causal is None else op.causal.value.data
        assert isinstance(self.depth, int) and isinstance(self.columns, int), "find-attention demands it"  # noqa: PT018
        self.deep = self.depth
        self.width = -(-self.columns // self.lanes) * self.lanes

    def function(self, name: str) -> kernel.FuncOp:
        e = self.e
        grid = product(self.batch) * self.blocks
        with e.parallel(grid) as task:
            if grid != 0 and self.columns != 0:
                self._task(task)
        return e.finish(name, grid=grid)

    def _task(self, task: Dim) -> None:
        e = self.e
        sizes = {"scores": self.block * self.chunk, "keys": self.chunk * (self.deep + self.native), "sums": self.block * self.width}
        with e.at(0):
            scratch = {k: e(kernel.ScratchOp(n, self.kind)) for k, n in sizes.items()}
            self.tops, self.totals = (e(kernel.ScratchOp(self.block, self.kind)) for _ in range(2))
            self.values = None if self.kind == self.stored else e(kernel.ScratchOp(self.chunk * self.width, self.kind))
        self.scores, self.turned, self.sums = scratch["scores"], scratch["keys"], scratch["sums"]
        block, task = self._bound(task % self.blocks), self._bound(task // self.blocks)
        batch = [self._bound(i) for i in indices(task, [Axis("batch", n) for n in self.batch])]
        first = self._bound(block * self.block)
        count = self._bound(e.minimum(self.rows - first, self.block))
        q, k, v, y = (
            self._matrix(x, order, batch)
            for x, order in zip((self.op.q, self.op.k, self.op.v, self.op.result), self.op.orders(), strict=True)
        )
        nothing = e.constant(0, self.kind)
        if not isinstance(self.keys, int):  # without keys all sums are 0, and not 0 / 0
            nothing = e(kernel.SelectOp(e.compare("eq", self.keys, 0), e.constant(1, self.kind), nothing))
        with e.loop(count) as loop:
            r = loop.variable
            self._put(e.constant(-_largest(self.kind), self.kind), self.tops, r)
            self._put(nothing, self.totals, r)
            self._each_vector(self.width, lambda c: self._put(self._zeros(self.lanes), self.sums, r * self.width + c))
        seen = self.keys
        if self.causal is not None:  # by the last row of the block, and one at least: else nothing is stored
            seen = e.minimum(e.maximum(first + count + self.causal, 1), self.keys)
        with e.loop(seen, step=self.chunk) as loop:
            key = loop.variable
            here = self._bound(e.minimum(seen - key, self.chunk))
            self._turn(k, key, here)
            wide = self._bound(tiles.ceil(here, self.lanes))
            with e.loop(wide) as panel:
                p = panel.variable
                self._each_tile(count, lambda h, r: self._score(h, r, q, first, p))
            with e.loop(count) as row:
                self._share(row.variable, batch, first, key, here, wide)
            self._mix(v, key, here, count)
        self._finish(y, first, count)

    # Where things are

    def _matrix(self, x: SSAValue, order: Sequence[int], batch: Sequence[Dim]) -> tuple[SSAValue, Dim, Dim, Dim]:
        """The buffer of an operand, where its matrix of this batch begins, and how far rows and columns are apart."""
        shape = shape_of(x)

        def offset(row: int, column: int) -> Dim:
            index: list[Dim] = [0] * len(shape)
            for d, i in zip(order, [*batch, row, column], strict=True):
                index[d] = i
            return linear(index, shape)

        start = self._bound(offset(0, 0))
        strides = [product(shape[d + 1 :]) for d in order[-2:]]
        return self.buffers.get(x, self.result), start, strides[0], strides[1]

    def _bound(self, value: Dim) -> Dim:
        return value if isinstance(value, int) else self.e.bind(self.e.index(value))

    def _put(self, value: SSAValue, buffer: SSAValue, at: Dim) -> None:
        self.e(kernel.StoreOp(value, buffer, self.e.index(at)))

    def _get(self, buffer: SSAValue, at: Dim, lanes: int = 0) -> SSAValue:
        return self.e(kernel.LoadOp(buffer, self.e.index(at), self._of(lanes)))

    def _of(self, lanes: int) -> Attribute:
        return VectorType(self.kind, [lanes]) if lanes else self.kind

    def _zeros(self, lanes: int) -> SSAValue:
        return self.e.constant(0, self._of(lanes))

    def _splat(self, x: SSAValue, lanes: int) -> SSAValue:
        return self.e(kernel.SplatOp(x, VectorType(x.type, [lanes])))

    def _each_vector(self, count: Dim, body: Callable[[Dim], None]) -> None:
        with self.e.loop(count, step=self.lanes) as loop:
            body(loop.variable)

    def _each_tile(self, count: Dim, tile: Callable[[int, Dim], None]) -> None:
        """``tile(height, first row)`` for ``count`` rows: of those that fill no tile, each is one."""
        whole = self._bound(count // self.height * self.height)
        with self.e.loop(whole, step=self.height) as loop:
            tile(self.height, loop.variable)
        rest = self.rows % self.block % self.height if isinstance(self.rows, int) else 1
        if rest == 0 or self.height == 1:
            return
        with self.e.loop(count, lower=whole, step=rest) as loop:  # known of the last block: one tile
            tile(rest, loop.variable)

    # The parts of a chunk

    def _turn(self, k: tuple[SSAValue, Dim, Dim, Dim], key: Dim, here: Dim) -> None:
        """Copy keys: a panel for each ``lanes`` of them, term after term."""
        buffer, start, row, column = k
        copy = copy_along if row == 1 else copy_across
        with self.e.loop(here, step=self.lanes) as loop:
            j = loop.variable
            source = self._bound(start + (key + j) * row)
            place = self._bound(j * (self.deep + self.native))
            copy(
                self.e, (buffer, self.stored, source), (self.turned, self.kind, place), (0, self.deep),
                lanes=self.lanes, move=column, lane_move=row, valid=self._bound(here - j), native=self.native,
            )  # fmt: skip

    def _score(self, height: int, r: Dim, q: tuple[SSAValue, Dim, Dim, Dim], first: Dim, p: Dim) -> None:
        """The products of rows of q and a panel of keys."""
        e, (buffer, start, row, column) = self.e, q
        x, w = self._bound(start + (first + r) * row), self._bound(p * (self.lanes * (self.deep + self.native)))
        tile = self._sum(
            height, (0, self.deep), [e.constant(0, VectorType(self.kind, [height, t.lanes])) for t in self.parts],
            lambda i: self._column(buffer, x + i * column, height, row, self.stored),
            lambda i, t: self._get(self.turned, w + i * self.lanes + t.first, t.lanes),
        )  # fmt: skip
        for part, sums in zip(self.parts, tile, strict=True):
            at = e.index(r * self.chunk + p * self.lanes + part.first)
            e(kernel.StoreOp(sums, self.scores, at, row_stride=e.index(self.chunk)))

    def _mix(self, v: tuple[SSAValue, Dim, Dim, Dim], key: Dim, here: Dim, count: Dim) -> None:
        """Add the products of the powers and the rows of v to the sums."""
        e, (buffer, start, row, column) = self.e, v
        source, kind, move = self._bound(start + key * row), self.stored, row
        if self.values is not None:
            with e.loop(self.width, step=self.lanes) as loop:
                c = loop.variable
                copy_along(
                    e, (buffer, self.stored, self._bound(source + c)), (self.values, self.kind, self._bound(c * self.chunk)),
                    (0, here), lanes=self.lanes, move=row, lane_move=column, valid=self._bound(self.columns - c), native=self.native,
                )  # fmt: skip
            buffer, kind, move = self.values, self.kind, self.lanes
        for c in range(0, self.width, self.lanes):
            at = c * self.chunk if self.values is not None else source + c
            masks = [self._mask(c + t.first, t) if self.values is None else None for t in self.parts]
            parts = [(t, m) for t, m in zip(self.parts, masks, strict=True)]

            def tile(height: int, r: Dim, c: int = c, at: Dim = at, parts: Sequence[tuple[Part, SSAValue | None]] = parts) -> None:
                rows = e.index(self.width)
                places = [e.index(r * self.width + c + t.first) for t in self.parts]
                types = [VectorType(self.kind, [height, t.lanes]) for t in self.parts]
                sums = [e(kernel.LoadOp(self.sums, p, t, row_stride=rows)) for p, t in zip(places, types, strict=True)]
                x = self._bound(r * self.chunk)
                masked = {t.first: m for t, m in parts}
                sums = self._sum(
                    height, (0, here), sums,
                    lambda j: self._column(self.scores, x + j, height, self.chunk, self.kind),
                    lambda j, t: e(kernel.LoadOp(buffer, e.index(at + j * move + t.first), VectorType(kind, [t.lanes]), mask=masked[t.first])),
                )  # fmt: skip
                for place, value in zip(places, sums, strict=True):
                    e(kernel.StoreOp(value, self.sums, place, row_stride=rows))

            self._each_tile(count, tile)

    def _mask(self, first: int, part: Part) -> SSAValue | None:
        """Which lanes of a part are columns."""
        assert isinstance(self.columns, int), "checked in the beginning"
        if first + part.lanes <= self.columns:
            return None
        return self.e(kernel.MaskOp(self.e.index(self.columns - first), part.lanes))

    def _column(self, buffer: SSAValue, at: Dim, height: int, row: Dim, kind: Attribute) -> SSAValue:
        loaded = self.e(kernel.LoadOp(buffer, self.e.index(at), VectorType(kind, [height, 1]), row_stride=self.e.index(row)))
        return self._wide(loaded)

    def _wide(self, value: SSAValue) -> SSAValue:
        scalar = value.type.element_type if isinstance(value.type, VectorType) else value.type
        if scalar == self.kind:
            return value
        wide = VectorType(self.kind, value.type.get_shape()) if isinstance(value.type, VectorType) else self.kind
        narrows = isinstance(scalar, Float64Type)
        return self.e(kernel.CastOp("truncf" if narrows else "extf", value, wide))

    def _sum(
        self, height: int, terms: tuple[Dim, Dim], tile: Sequence[SSAValue],
        column: Callable[[Dim], SSAValue], row: Callable[[Dim, Part], SSAValue],
    ) -> Sequence[SSAValue]:  # fmt: skip
        """``tile`` and the products of columns and rows, term after term."""

        def step(i: Dim, sums: Sequence[SSAValue]) -> list[SSAValue]:
            x = column(i)
            return [self.e(kernel.OuterOp(x, row(i, t), s)) for t, s in zip(self.parts, sums, strict=True)]

        low, high = terms
        end = self._bound(low + (high - low) // UNROLL * UNROLL)
        with self.e.loop(end, lower=low, step=UNROLL, carried=tile) as loop:
            for u in range(UNROLL):
                loop.carry(step(loop.variable + u, loop.carried))
        if isinstance(high, int) and high == end:
            return loop.results
        with self.e.loop(high, lower=end, carried=loop.results) as rest:
            rest.carry(step(rest.variable, rest.carried))
        return rest.results

    # One row of scores

    def _share(self, r: Dim, batch: Sequence[Dim], first: Dim, key: Dim, here: Dim, wide: Dim) -> None:
        """Scale and mask the scores of a row, and take their powers."""
        e, lanes = self.e, self.lanes
        begin = self._bound(r * self.chunk)
        end = self._bound(wide * lanes)
        seen = here if self.causal is None else self._bound(e.minimum(here, first + r + (self.causal + 1) - key))
        least = e.constant(float("-inf"), self._of(lanes))
        whole = self.causal is None and isinstance(self.keys, int) and self.keys % lanes == 0
        row = self._bound(first + r)
        with e.loop(end, step=lanes, carried=[least]) as loop:
            j = loop.variable
            valid = None if whole else e(kernel.MaskOp(e.index(seen - j), lanes))
            score = self._masked(self._get(self.scores, begin + j, lanes), batch, row, key + j, valid)
            if valid is not None:
                score = e(kernel.SelectOp(valid, score, least))
            self._put(score, self.scores, begin + j)
            loop.carry([e(arith.MaximumfOp(loop.carried[0], score))])
        before = self._get(self.tops, r)
        top = e(arith.MaximumfOp(before, e(kernel.ReduceLanesOp("max", loop.results[0]))))
        self._put(top, self.tops, r)
        level = self._splat(top, lanes)
        with e.loop(end, step=lanes, carried=[self._zeros(lanes)]) as powers:
            at = begin + powers.variable
            power = self._power(e(arith.SubfOp(self._get(self.scores, at, lanes), level)))
            self._put(power, self.scores, at)
            powers.carry([e(arith.AddfOp(powers.carried[0], power))])
        fade = self._power(e(arith.SubfOp(before, top)))
        total = e(arith.MulfOp(self._get(self.totals, r), fade))
        self._put(e(arith.AddfOp(total, e(kernel.ReduceLanesOp("add", powers.results[0])))), self.totals, r)
        factor = self._splat(fade, lanes)

        def rescale(c: Dim) -> None:
            at = r * self.width + c
            self._put(e(arith.MulfOp(self._get(self.sums, at, lanes), factor)), self.sums, at)

        self._each_vector(self.width, rescale)

    def _power(self, x: SSAValue) -> SSAValue:
        op = math.ExpOp(x)
        op.attributes[kernel.NEVER_POSITIVE] = UnitAttr()
        return self.e(op)

    def _masked(self, score: SSAValue, batch: Sequence[Dim], row: Dim, key: Dim, valid: SSAValue | None) -> SSAValue:
        """Scores of ``row`` from ``key`` on, as they go into the softmax."""
        e, op = self.e, self.op
        scale = op.scale.value.data
        if scale != 1:
            score = e(arith.MulfOp(score, e.constant(scale, self._of(self.lanes))))
        if op.mask is None:
            return score
        shape, kind = shape_of(op.mask), storage(element(op.mask))
        index = [0 if n == 1 else i for n, i in zip(shape, [*batch, row, key], strict=True)]
        at, buffer = e.index(linear(index, shape)), self.buffers[op.mask]
        if shape[-1] == 1:
            mask = self._splat(e(kernel.LoadOp(buffer, at, kind)), self.lanes)
        else:
            mask = e(kernel.LoadOp(buffer, at, VectorType(kind, [self.lanes]), mask=valid))
        if is_bool(element(op.mask)):
            fill = e.constant(op.filling, self._of(self.lanes))
            return e(kernel.SelectOp(mask, score, fill))
        return e(arith.AddfOp(score, self._wide(mask)))

    def _finish(self, y: tuple[SSAValue, Dim, Dim, Dim], first: Dim, count: Dim) -> None:
        """Divide the sums by the totals, and store them."""
        e, (buffer, start, row, _) = self.e, y
        with e.loop(count) as loop:
            r = loop.variable
            total = self._splat(self._get(self.totals, r), self.lanes)
            at = self._bound(start + (first + r) * row)
            for c in range(0, self.width, self.lanes):
                value = e(arith.DivfOp(self._get(self.sums, r * self.width + c, self.lanes), total))
                if self.stored != self.kind:
                    value = e(kernel.CastOp("truncf", value, VectorType(self.stored, [self.lanes])))
                mask = self._mask(c, Part(c, self.lanes))
                e(kernel.StoreOp(value, buffer, e.index(at + c), mask=mask))


def _largest(kind: Attribute) -> float:
    """The largest finite number of a type."""
    return sys.float_info.max if isinstance(kind, Float64Type) else 3.4028234663852886e38
