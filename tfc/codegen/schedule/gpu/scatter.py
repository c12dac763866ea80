"""Sums by position on a GPU: a block for each segment, which looks for its ids.

    kernel.parallel over segments (and blocks of columns) {
      for 32 ids at a time: the lanes of a warp compare one each; ballot
        for each lane that found the segment, in order: sums += its row, a few neighbouring columns a lane
      the sums of the warps, each of which went through a part of the ids
    }

Each element is added up in the order of the data, whatever comes first, and no two blocks write one place. A segment
that no id names costs a walk through the ids, which stay in the caches.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.evaluate import ThreadEvaluator
from tfc.codegen.schedule.gpu.teams import Part, Team, Values, both
from tfc.codegen.schedule.lanes import compute_type
from tfc.codegen.schedule.nest import emitter_of
from tfc.codegen.schedule.scatter import position
from tfc.dialects import kernel
from tfc.dialects.tfc.combine import combine
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.types import dtype_of, element, shape_of
from tfc.dims import Dim, Expr, product

BUSY = 2048
"""Warps that keep a GPU busy."""

HELD = 32
"""Sums of a thread."""


def lower_scatter(op: FusionOp, name: str, target: GpuTarget) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``scatter``: one ``tfc.segment_sum``."""
    (inner,) = (o for o in op.inner if isinstance(o, SegmentSumOp))
    e, arguments = emitter_of(op)
    segments, *rest = shape_of(inner.result)
    if 0 in (segments, *rest):
        return e.finish(name, grid=0, target="gpu", block=kernel.WARP)
    return _Scatter(inner, e, ThreadEvaluator(e, arguments), segments, product(rest)).function(name)


class _Scatter:
    def __init__(self, op: SegmentSumOp, e: Emitter, ev: ThreadEvaluator, segments: Dim, width: Dim) -> None:
        self.op, self.e, self.ev, self.segments, self.width = op, e, ev, segments, width
        self.data, self.ids, self.result = ev.buffers[op.data], ev.buffers[op.segment_ids], e.buffers[-1]
        self.rows = product(shape_of(op.segment_ids))
        self.kind = compute_type(element(op.data))
        self.lanes = 1
        while isinstance(width, int) and width % (2 * self.lanes) == 0 and 2 * self.lanes * dtype_of(element(op.data)).itemsize <= kernel.WIDEST:
            self.lanes *= 2
        known = width if isinstance(width, int) else HELD * kernel.WARP
        self.held = max(1, min(HELD // self.lanes, -(-known // (kernel.WARP * self.lanes))))
        """Neighbouring columns that a thread has, so many times."""

    def function(self, name: str) -> kernel.FuncOp:
        e, step = self.e, kernel.WARP * self.lanes * self.held
        chunks = -(-self.width // step) if isinstance(self.width, int) else (self.width + (step - 1)) // step
        grid = self.segments * chunks
        warps = self._warps(grid)
        with e.parallel(grid) as p:
            t = e.bind(e(kernel.ThreadOp()), "t")
            lane, member = (e.bind(e.index(d), n) for d, n in ((t % kernel.WARP, "lane"), (t // kernel.WARP, "member")))
            segment, chunk = (p, 0) if chunks == 1 else (e.bind(e.index(p // chunks)), e.bind(e.index(p % chunks)))
            team = Team(e, warps * kernel.WARP, warps, t, member, kernel.WARP, 1, len(e.scopes))
            parts = [self._part((chunk * self.held + k) * kernel.WARP * self.lanes + lane * self.lanes) for k in range(self.held)]
            sums = self._sums(segment, lane, member, warps, parts)
            if warps > 1:
                sums = team.combined(sums, lambda x, y: [self._add(a, b) for a, b in zip(x, y, strict=True)])
            first = e.compare("eq", member, 0) if warps > 1 else None
            for part, value in zip(parts, sums, strict=True):
                self._store(segment, part, value, both(e, first, part.valid))
            if team.met:
                e(kernel.BarrierOp())
        return e.finish(name, grid=grid, target="gpu", block=warps * kernel.WARP)

    def _warps(self, grid: Dim) -> int:
        """Warps that share the ids of a segment."""
        warps = 1
        while isinstance(grid, int) and isinstance(self.rows, int) and warps < 32 and grid * warps < BUSY:
            if self.rows < 4 * kernel.WARP * warps:
                break
            warps *= 2
        return warps

    def _part(self, first: Dim) -> Part:
        """The columns from ``first`` on, or the last ones where these are beyond."""
        exact = isinstance(self.width, int) and self.width % (kernel.WARP * self.lanes * self.held) == 0
        valid = None if exact else self.e.compare("slt", first, self.width)
        held = first if exact else self.e.minimum(first, self.width - self.lanes)
        symbol = self.e.bind(self.e.index(held), "column")
        self.ev.multiple(symbol, self.lanes)
        return Part(symbol, valid)

    def _sums(self, segment: Dim, lane: Expr, member: Expr, warps: int, parts: Sequence[Part]) -> Values:
        """What the rows of a segment add up to, of this warp's part of the ids."""
        e, rows, warp = self.e, self.rows, kernel.WARP
        of = VectorType(self.kind, [self.lanes]) if self.lanes > 1 else self.kind
        zeros = [e.constant(0, of) for _ in parts]
        if rows == 0:
            return zeros
        low, high = 0, rows
        if warps > 1 and isinstance(rows, int):
            each = -(-rows // (warps * warp)) * warp
            low, high = member * each, e.minimum(member * each + each, rows)
        with e.loop(high, lower=low, step=warp, carried=zeros) as loop:
            mine = e.bind(e.index(loop.variable + lane), "mine")
            inside = e.compare("slt", mine, high)
            found = position(e, self.ids, e.minimum(mine, rows - 1), element(self.op.segment_ids))
            same = e(kernel.CompareOp("eq", found, e.index(segment)))
            matches = e(kernel.BallotOp(e(arith.AndIOp(inside, same))))
            count = e.bind(e(kernel.CastOp("index", e(math.CtPopOp(matches)), e.index(0).type)), "count")
            with e.loop(count, carried=[matches, *loop.carried]) as each_match:
                left, *sums = each_match.carried
                place = e(kernel.CastOp("index", e(math.CountTrailingZerosOp(left)), e.index(0).type))
                row = loop.variable + e.bind(place, "place")
                made = [self._add(s, self._load(row, p)) for s, p in zip(sums, parts, strict=True)]
                rest = e(arith.AndIOp(left, e(arith.SubiOp(left, e.constant(1, i32)))))
                each_match.carry([rest, *made])
            loop.carry(each_match.results[1:])
        return loop.results

    def _load(self, row: Dim, part: Part) -> SSAValue:
        with self.ev.taking(part, self.width, self.lanes):
            return self.ev.load(self.data, element(self.op.data), row * self.width + part.first)

    def _store(self, segment: Dim, part: Part, value: SSAValue, valid: SSAValue | None) -> None:
        def write() -> list[SSAValue]:
            with self.ev.taking(part, self.width, self.lanes):
                self.ev.store(value, self.result, element(self.op.result), segment * self.width + part.first)
            return []

        if valid is None:
            write()
        else:
            self.e.branch(valid, write)

    def _add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return combine(self.e, "sum", element(self.op.data), x, y)
