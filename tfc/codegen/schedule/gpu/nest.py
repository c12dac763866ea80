"""A fusion of elementwise, data-moving and reducing operations on a GPU.

    elements    a thread has a few neighbouring elements of the result       y = relu(x + b)
    tiles       the same where operands lie across the result                y = transpose(x) + b
    rows        the threads of a team share the reductions of a row          softmax, layer norm, sums of rows
    columns     the warps of a block share those of neighbouring columns     sums of columns, a vector times a matrix

The elements themselves come from the same evaluator as on a CPU. Neighbouring threads read neighbouring memory, 16 bytes
each where everything allows it. Which of these it is, how many threads make a team, and how wide accesses are is
told by a dry run that records every load. No result depends on the order in which threads come.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.gpu.evaluate import ThreadEvaluator
from tfc.codegen.schedule.gpu.teams import HELD, Part, Team, Values, both
from tfc.codegen.schedule.gpu.turned import ROWS, SIDE, Tile
from tfc.codegen.schedule.lanes import Index, Read, factor, linear
from tfc.codegen.schedule.nest import delinearise, dry_run, emitter_of, ungroup
from tfc.dialects import kernel
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.reduce import ArgReduceOp, ReduceOp
from tfc.dialects.tfc.types import Shape, dtype_of, element, shape_of
from tfc.dims import Dim, Expr, product

BLOCK = 256
"""Threads of a block, where nothing asks for another number."""

BUSY = 1 << 15
"""Threads that keep a GPU busy: with fewer, each has less to do."""

FULL = 1 << 17
"""Threads that fill a GPU: sums of so many columns need not be shared, however long they are."""

FEW, LONG = 32, 512
"""Terms of a sum that are not worth sharing, and that are so where there are columns for a busy GPU."""

BESIDE = 8
"""Threads of a warp that have neighbouring columns, at least: 16 bytes each are a line of memory."""

PARTS = 4
"""Parts of a row that a thread has, where the row is long enough."""

MOST = 512
"""Threads of a team, but for rows that only 1024 have in registers."""


def lower_nest(op: FusionOp, name: str, target: GpuTarget) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``nest``; its results have one shape."""
    nest = _Nest(op)
    if any(isinstance(d, int) and d == 0 for d in nest.shape):
        return nest.finish(name, 0, kernel.WARP)
    return nest.lower(name)


class _Nest:
    def __init__(self, op: FusionOp) -> None:
        self.op, self.outputs = op, op.results_inside
        self.shape: Shape = shape_of(self.outputs[0])
        self.e, arguments = emitter_of(op)
        self.ev = ThreadEvaluator(self.e, arguments)
        self.results = self.e.buffers[len(op.operands) :]

    def lower(self, name: str) -> kernel.FuncOp:
        e, arguments = emitter_of(self.op)
        self.plan = plan = dry_run(self.op, e, ThreadEvaluator(e, arguments))
        self.extents = [product(self.shape[d] for d in g) for g in plan.groups]
        folds = [r for r in plan.reads if r.folds]
        shared = [r for r in folds if any(isinstance(o, ReduceOp | ArgReduceOp | DotOp) for o in self.op.inner)]
        if not shared:
            return self.elements(name) if plan.across is None else self.tiles(name, plan.across)
        row = self._row(shared)
        terms = max((self._terms(r) for r in shared), default=0)
        if row < len(plan.groups):
            return self.rows(name, row)
        if terms < FEW:
            return self.elements(name)
        rows = product(self.extents)
        if not self.extents or not self._beside(shared):
            few = isinstance(rows, int) and rows < BUSY
            return self.rows(name, row) if few or self._contiguous(shared) else self.elements(name)
        if isinstance(rows, int) and rows >= (FULL if terms >= LONG else BUSY):
            return self.elements(name)
        return self.columns(name)

    # What the dry run tells

    def _row(self, folds: Sequence[Read]) -> int:
        """The first of the last groups of dims, on which no fold depends."""
        groups = self.plan.groups
        row = len(groups)
        while row and not any(self._depends(r, groups[row - 1]) for r in folds):
            row -= 1
        return row

    def _depends(self, read: Read, group: Sequence[int]) -> bool:
        return any(factor(read.offset, self.plan.variables[d]) != 0 for d in group)

    def _terms(self, read: Read) -> int:
        """How many elements a fold reads; many, where that is not known."""
        sizes = [self.plan.ranges.get(f, BUSY) for f in read.folds]
        return int(product(sizes)) if sizes else 1  # pyright: ignore[reportArgumentType]

    def _last(self) -> str:
        return self.plan.variables[self.plan.groups[-1][-1]]

    def _beside(self, folds: Sequence[Read]) -> bool:
        """Whether neighbouring results reduce neighbouring memory."""
        return all(factor(r.offset, self._last()) == 1 for r in folds if self._depends(r, self.plan.groups[-1]))

    def _contiguous(self, folds: Sequence[Read]) -> bool:
        return any(factor(r.offset, r.folds[-1]) == 1 for r in folds)

    def _width(self, variable: str, extent: Dim, threads: Dim) -> int:
        """Elements of a thread along ``variable``, which all accesses take as one, or as the same for all."""
        if variable in self.plan.opaque:
            return 1
        if any(factor(r.offset, variable) not in (0, 1) for r in self.plan.reads):
            return 1
        width = self._widest()
        while width > 1 and (extent % width != 0 or (isinstance(threads, int) and threads // width < BUSY and width > 4)):
            width //= 2
        return width

    def _row_width(self, row: int) -> int:
        """Elements side by side that a thread has of a row."""
        groups, plan = self.plan.groups, self.plan
        if len(groups) - row > 1:
            return 1
        for read in plan.reads:
            along = read.folds[-1] if read.folds else self._last() if row < len(groups) else ""
            if along and (factor(read.offset, along) not in (0, 1) or along in plan.opaque):
                return 1
            apart = [factor(read.offset, f) for f in read.folds]
            sizes = [plan.ranges.get(f) for f in read.folds]
            for outer, inner, size in zip(apart, apart[1:], sizes[1:], strict=False):
                if size is None or inner is None or outer != inner * size:
                    return 1  # what is reduced over is not one stretch of memory
        return self._widest()

    def _widest(self) -> int:
        """Elements that are one access in all buffers."""
        values = [*self.op.block.args, *self.outputs]
        return kernel.WIDEST // max(dtype_of(element(v)).itemsize for v in values)

    # The forms

    def elements(self, name: str) -> kernel.FuncOp:
        """Each thread has a few neighbouring elements."""
        e, ev, plan = self.e, self.ev, self.plan
        total = product(self.extents)
        width = self._width(self._last(), self.extents[-1], total) if self.extents else 1
        extents = [*self.extents[:-1], _quotient(self.extents[-1], width)] if self.extents else []
        threads = product(extents)
        block = BLOCK if not isinstance(threads, int) or threads >= BLOCK * 64 else kernel.WARP * 2
        grid = _up(threads, block)
        with e.parallel(grid) as p:
            t = e.bind(e(kernel.ThreadOp()), "t")
            i = e.bind(e.index(p * block + t), "i")

            def body() -> list[SSAValue]:
                # A number that all read is read here, too: it may stand where one of them writes.
                ev.floor = len(e.scopes) - 1
                variables = delinearise(ev, i, extents)
                if width > 1:
                    variables[-1] = e.bind(e.index(variables[-1] * width), "v")
                    with ev.taking(Part(variables[-1], None), self.extents[-1], width):
                        self.store(variables)
                else:
                    self.store(variables)
                return []

            exact = isinstance(threads, int) and threads % block == 0
            if exact:
                body()
            else:
                e.branch(e.compare("slt", i, threads), body)
        return self.finish(name, grid, block, [n for pair in plan.in_place for n in pair])

    def tiles(self, name: str, across: int) -> kernel.FuncOp:
        """A block has a tile of rows (along group ``across``) and columns (along the last group)."""
        e, ev = self.e, self.ev
        rows, columns = self.extents[across], self.extents[-1]
        assert isinstance(rows, int) and isinstance(columns, int), "tiles are of static dims"  # noqa: PT018
        outer = [n for k, n in enumerate(self.extents[:-1]) if k != across]
        cuts = [*outer, _up(rows, SIDE), _up(columns, SIDE)]
        grid = product(cuts)
        with e.parallel(grid) as p:
            *others, i, j = delinearise(ev, p, cuts)
            t = e.bind(e(kernel.ThreadOp()), "t")
            x, y = (e.bind(e.index(d), n) for d, n in ((t % SIDE, "x"), (t // SIDE, "y")))
            first = i * SIDE, j * SIDE
            column, beside = self._within(first[1] + x, columns)
            below = [self._within(first[0] + y + k, rows) for k in range(0, SIDE, ROWS)]
            numbers = {str(row): k * ROWS for k, (row, _) in enumerate(below)}
            ev.tile = Tile(e, first, (rows, columns), x, y, numbers, column, len(e.scopes))
            ev.floor = len(e.scopes) - 1
            for row, inside in below:
                self.store([*others[:across], row, *others[across:], column], both(e, inside, beside))
            if ev.tile.made:
                e(kernel.BarrierOp())  # the next tile comes to the same memory
        # Threads beyond the end read what others write: no matter, unless an operand stands where the result goes.
        exact = rows % SIDE == 0 and columns % SIDE == 0
        return self.finish(name, grid, SIDE * ROWS, [n for pair in self.plan.in_place for n in pair] if exact else ())

    def _within(self, index: Dim, extent: int) -> tuple[Expr, SSAValue | None]:
        """An index as a symbol, moved to the last one where it is beyond; and whether it was not."""
        valid = None if extent % SIDE == 0 else self.e.compare("slt", index, extent)
        symbol = self.e.bind(self.e.index(index if valid is None else self.e.minimum(index, extent - 1)))
        self.ev.ranged(symbol, extent)
        return symbol, valid

    def rows(self, name: str, row: int) -> kernel.FuncOp:
        """A team of threads has a row: the dims from group ``row`` on, for each index along those before."""
        e, ev = self.e, self.ev
        outer, inner = self.extents[:row], self.extents[row:]
        count, length = product(outer), product(inner)
        terms = max(self._terms(r) for r in self.plan.reads if r.folds)
        longest = max(terms, length) if isinstance(length, int) else BUSY
        width = self._row_width(row)
        team = _team_size(longest, width, count)
        block = max(team, 128)
        together = block // team
        grid = _up(count, together)
        with e.parallel(grid) as p:
            t = e.bind(e(kernel.ThreadOp()), "t")
            number, valid, member = p, None, t
            if together > 1:
                number = e.bind(e.index(p * together + t // team), "row")
                member = e.bind(e.index(t % team), "member")
                if not (isinstance(count, int) and count % together == 0):
                    # All threads of a warp have to come to its shuffles: those without a row take the last one.
                    valid = e.compare("slt", number, count)
                    number = e.minimum(number, count - 1)
            assert isinstance(number, Expr), "it is a symbol"
            variables = delinearise(ev, number, outer)
            self._begin_team(Team(e, block, team, t, member, 1, width, len(e.scopes)))
            if length == 1 and not inner:
                self._store_once(variables, valid)
            else:
                self._store_rows(variables, inner, row, valid)
            self._end_team()
        return self.finish(name, grid, block)

    def columns(self, name: str) -> kernel.FuncOp:
        """A few threads of a warp have neighbouring columns; the others, and the other warps, share their sums."""
        e, ev = self.e, self.ev
        width = self._width(self._last(), self.extents[-1], product(self.extents))
        across = max(BESIDE, kernel.WARP // width)
        extents = [*self.extents[:-1], _quotient(self.extents[-1], width)]
        columns = product(extents)
        terms = max(self._terms(r) for r in self.plan.reads if r.folds)
        grid, block = _up(columns, across), BLOCK
        while block < 2 * MOST and isinstance(grid, int) and grid * block < 2 * BUSY and terms >= 8 * block // across:
            block *= 2
        with e.parallel(grid) as p:
            t = e.bind(e(kernel.ThreadOp()), "t")
            lane, member = (e.bind(e.index(d), n) for d, n in ((t % across, "lane"), (t // across, "member")))
            number, valid = e.bind(e.index(p * across + lane), "column"), None
            if not (isinstance(columns, int) and columns % across == 0):
                valid = e.compare("slt", number, columns)
                clamped = e.minimum(number, columns - 1)
                assert isinstance(clamped, Expr), "it is a symbol"
                number = clamped
            variables = delinearise(ev, number, extents)
            if width > 1:
                variables[-1] = e.bind(e.index(variables[-1] * width), "v")
            self._begin_team(Team(e, block, block // across, t, member, across, 1, len(e.scopes)))
            first = variables[-1]
            assert isinstance(first, Expr), "it is a symbol"
            with ev.taking(Part(first, None), self.extents[-1], width):
                self._store_once(variables, valid)
            self._end_team()
        return self.finish(name, grid, block)

    def _begin_team(self, team: Team) -> None:
        # What does not depend on the row is computed for each row, too: where all threads of the team are.
        self.ev.team, self.ev.floor = team, team.depth - 1

    def _end_team(self) -> None:
        assert self.ev.team is not None, "it has begun"
        if self.ev.team.met:
            self.e(kernel.BarrierOp())  # the next row is summed up in the same memory

    # Stores

    def store(self, variables: Sequence[Dim], valid: SSAValue | None = None) -> None:
        """The elements of all results, at one index along each group of dims."""
        self.store_at(ungroup(variables, self.plan.groups, self.shape), valid)

    def store_at(self, index: Index, valid: SSAValue | None) -> None:
        """Compute the elements of all results at an index, then write them: some may stand where operands did."""
        e, ev = self.e, self.ev
        made = [ev.element(value, index) for value in self.outputs]

        def write() -> list[SSAValue]:
            for buffer, one, value in zip(self.results, made, self.outputs, strict=True):
                ev.store(one, buffer, element(value), linear(index, self.shape))
            return []

        if valid is None:
            write()
        else:
            e.branch(valid, write)

    def _store_once(self, variables: Sequence[Dim], valid: SSAValue | None) -> None:
        """What a whole team has computed is written by its first thread."""
        team = self.ev.team
        assert team is not None, "there is one"
        first = self.e.compare("eq", team.member, 0) if team.threads > 1 else None
        self.store(variables, both(self.e, first, valid))

    def _store_rows(self, variables: Sequence[Dim], inner: Sequence[Dim], row: int, valid: SSAValue | None) -> None:
        """Each thread writes its parts of the row."""
        ev, team, length = self.ev, self.ev.team, product(inner)
        assert team is not None, "there is one"
        width = team.width_of(length)
        merged = [d for g in self.plan.groups[row:] for d in g]
        dims = tuple(self.shape[d] for d in merged)

        def one(part: Part, _: Values) -> Values:
            within = ungroup([part.first], [range(len(dims))], dims)
            at = [*ungroup(variables, self.plan.groups[:row], self.shape)]
            for d, i in zip(merged, within, strict=True):
                at[d] = i
            with ev.taking(part, length, width):
                self.store_at(tuple(at), both(self.e, part.valid, valid))
            return ()

        team.walk(length, (), one)

    def finish(self, name: str, grid: Dim, block: int, in_place: Sequence[int] = ()) -> kernel.FuncOp:
        return self.e.finish(name, grid=grid, target="gpu", block=block, in_place=in_place)


def _team_size(longest: int, width: int, rows: Dim) -> int:
    """Threads for a row: a few neighbouring elements each, more of them where the row is long."""
    parts, size = -(-longest // width), 1
    while size < kernel.WARP and size < parts:
        size *= 2
    while size < MOST and size * PARTS < parts:
        size *= 2
    if size * PARTS < parts <= 2 * MOST * HELD // width:
        size = 2 * MOST
    while size < min(parts, 2 * MOST) and isinstance(rows, int) and rows * size < BUSY:
        size *= 2
    return size


def _up(extent: Dim, by: int) -> Dim:
    """A quotient, rounded up."""
    return -(-extent // by) if isinstance(extent, int) else (extent + (by - 1)) // by


def _quotient(extent: Dim, by: int) -> Dim:
    return extent // by if by > 1 else extent
