"""Sums of products of tiles that lie in shared memory: by the threads of a block, or by tensor cores.

Both hold the sums of a block in registers of its threads, and say at the end which elements a thread has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import VectorType, f32
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.blocks import THREADS, Tile
from tfc.codegen.schedule.gpu.staging import Shelf, aligned, bound
from tfc.dialects import kernel
from tfc.dims import Dim

LANES = (4, 8)
"""Threads of a warp along rows and along columns, where they multiply."""

HIGH = 4
"""Rows (and columns) of sums that a thread holds as one value."""

STEP = 4
"""Terms that a thread reads at once of an operand whose terms are side by side: more take registers."""

UNROLL = 32
"""Terms that are written out; more are a loop."""

MMA_ROWS, MMA_COLUMNS = 16, 8
"""Of a product of tensor cores."""


@dataclass(frozen=True)
class Part:
    """Sums of a thread: neighbours along a row of the tile."""

    row: Dim
    column: Dim
    sums: SSAValue


class ThreadSums:
    """Every thread multiplies a column of the left by a row of the right tile, for one term after the other.

    Its rows are groups of four: side by side where the rows of the left tile are, else as far apart as there are threads.
    """

    def __init__(self, e: Emitter, tile: Tile, kind: Attribute, thread: Dim, x: Shelf, w: Shelf) -> None:
        self.e, self.tile, self.kind, self.x, self.w = e, tile, kind, x, w
        warp, lane = bound(e, thread // kernel.WARP), bound(e, thread % kernel.WARP)
        rows, columns = tile.warp
        self.rows = _Lines(x, rows, LANES[0], warp % tile.warps[0] * rows, lane // LANES[1])
        self.columns = _Lines(w, columns, LANES[1], warp // tile.warps[0] * columns, lane % LANES[1])
        for lines in (self.rows, self.columns):
            lines.start(e)

    def zeros(self) -> list[SSAValue]:
        """The sums before the first term."""
        type_ = VectorType(self.kind, [HIGH, HIGH])
        return [self.e.constant(0, type_)] * (self.rows.groups * self.columns.groups)

    def add(self, slot: Dim, sums: Sequence[SSAValue]) -> list[SSAValue]:
        """``sums`` and the products of a stage."""
        x, w = (lines.reader(self.e, slot) for lines in (self.rows, self.columns))
        if self.tile.depth <= UNROLL:
            return self._add(x, w, self.tile.depth, sums)
        whole = self.tile.depth // UNROLL * UNROLL
        with self.e.loop(whole, step=UNROLL, carried=sums) as loop:
            later = bound(self.e, self.rows.after(x, loop.variable)), bound(self.e, self.columns.after(w, loop.variable))
            loop.carry(self._add(*later, UNROLL, loop.carried))
        return self._add(self.rows.after(x, whole), self.columns.after(w, whole), self.tile.depth - whole, loop.results)

    def _add(self, x: Dim, w: Dim, depth: int, sums: Sequence[SSAValue]) -> list[SSAValue]:
        """``sums`` and the products of ``depth`` terms, of which the first lies at ``x`` and at ``w``."""
        made = list(sums)
        for first in range(0, depth, STEP):
            columns, rows = (self._terms(lines, at, first) for lines, at in ((self.rows, x), (self.columns, w)))
            for column, row in zip(columns, rows, strict=True):
                for n, one in enumerate(made):
                    a, b = column[n // len(row)], row[n % len(row)]
                    made[n] = self.e(kernel.OuterOp(a, b, one))
        return made

    def _terms(self, lines: _Lines, at: Dim, first: int) -> list[list[SSAValue]]:
        """For each of a few terms, the thread's elements, in groups."""
        return [[self._widened(v) for v in term] for term in lines.read(self.e, at, first)]

    def _widened(self, value: SSAValue) -> SSAValue:
        assert isinstance(value.type, VectorType), "elements come in groups"
        if value.type.element_type == self.kind:
            return value
        return self.e(kernel.CastOp("extf", value, VectorType(self.kind, [HIGH])))

    def parts(self, sums: Sequence[SSAValue]) -> Iterator[Part]:
        """The elements of this thread."""
        for n, tile in enumerate(sums):
            a, b = divmod(n, self.columns.groups)
            for i in range(HIGH):
                row, values = self.rows.place(HIGH * a + i), self.e(kernel.RowOp(tile, i))
                if self.columns.neighbours:
                    yield Part(row, self.columns.place(HIGH * b), values)
                    continue
                for j, one in enumerate(scalars(self.e, values)):
                    yield Part(row, self.columns.place(HIGH * b + j), one)


@dataclass
class _Lines:
    """The lines of one operand that a thread multiplies.

    Attributes:
        count: lines of the warp.
        across: threads of the warp that share them.
        first: the first line of the warp.
        lane: which of these threads this one is.
    """

    stage: Shelf
    count: int
    across: int
    first: Dim
    lane: Dim

    def start(self, e: Emitter) -> None:
        self.own = bound(e, self.first + self.lane * (HIGH if self.neighbours else 1))

    @property
    def neighbours(self) -> bool:
        return not self.stage.along_terms

    @property
    def groups(self) -> int:
        return self.count // (self.across * HIGH)

    def place(self, k: int) -> Dim:
        """Line ``k`` of the thread."""
        if self.neighbours:
            return self.own + k // HIGH * HIGH * self.across + k % HIGH
        return self.own + k * self.across

    def reader(self, e: Emitter, slot: Dim) -> Dim:
        """Where the thread's first element of a stage lies."""
        return bound(e, self.stage.place(slot, self.own, 0))

    def after(self, at: Dim, terms: Dim) -> Dim:
        """Where the element lies that is so many terms after ``at``."""
        return at + terms * (self.stage.pitch if self.neighbours else 1)

    def read(self, e: Emitter, at: Dim, first: int) -> list[list[SSAValue]]:
        """The groups of the thread for each of `STEP` terms."""
        kind, memory, pitch = self.stage.kind, self.stage.memory, self.stage.pitch

        def load(offset: Dim, lanes: int) -> SSAValue:
            return aligned(e, kernel.LoadOp(memory, e.index(offset), VectorType(kind, [lanes])))

        if self.neighbours:
            apart = HIGH * self.across
            return [[load(at + (first + k) * pitch + g * apart, HIGH) for g in range(self.groups)] for k in range(STEP)]
        lines = [load(at + k * self.across * pitch + first, STEP) for k in range(HIGH * self.groups)]
        terms = [list(t) for t in zip(*(scalars(e, line) for line in lines), strict=True)]
        return [[vector(e, term[g : g + HIGH]) for g in range(0, len(term), HIGH)] for term in terms]


class TensorSums:
    """Warps multiply matrices of 16 rows by ones of 8 columns; `kernel.matrix` says who holds what.

    Attributes:
        held: the left operand, where it is in registers: of a warp's 16 rows, a matrix after the other.
    """

    held: Sequence[SSAValue] = ()

    def __init__(self, e: Emitter, tile: Tile, kind: Attribute, thread: Dim, x: Shelf | None, w: Shelf) -> None:
        self.e, self.tile, self.x, self.w = e, tile, x, w
        self.unit = kernel.UNITS[tile.unit]
        warp, self.lane = bound(e, thread // kernel.WARP), bound(e, thread % kernel.WARP)
        self.rows, self.columns = tile.warp
        self.row = bound(e, warp % tile.warps[0] * self.rows)
        self.column = bound(e, warp // tile.warps[0] * self.columns)
        self.words = self.unit.depth // 8
        """Terms in a register."""
        self.group, self.member = bound(e, self.lane // 4), bound(e, self.lane % 4)
        # Lane 8j + r names row r of matrix j. Of the left operand, matrices 1 and 3 have the lower rows, 2 and 3 the
        # later terms; of the right one, 1 and 3 the later terms, 2 and 3 the next columns.
        near, r = self.lane // 8 % 2 * 8, self.lane % 8
        far = self.lane // 16
        half = self.unit.depth // 2
        if x is not None and self._by_matrices(x):
            line, term = (r + near, far * half) if x.along_terms else (near + 0, far * half + r)
            self.at_x = bound(e, x.place(0, self.row + line, term))
        if self._by_matrices(w):
            later = self.lane // 8 % 2 * half
            line, term = (r + far * 8, later) if w.along_terms else (far * 8, later + r)
            self.at_w = bound(e, w.place(0, self.column + line, term))

    def _by_matrices(self, stage: Shelf) -> bool:
        """Whether matrices are read whole: not where 32-bit terms would have to change places with lines."""
        return stage.along_terms or stage.kind != f32

    def zeros(self) -> list[SSAValue]:
        count = self.rows // MMA_ROWS * self.columns // MMA_COLUMNS
        return [self.e.constant(0, VectorType(self.unit.sums, [4]))] * count

    def add(self, slot: Dim, sums: Sequence[SSAValue]) -> list[SSAValue]:
        made = list(sums)
        x_slot, w_slot = (0 if s is None else bound(self.e, slot * s.size) for s in (self.x, self.w))
        for term in range(0, self.tile.depth, self.unit.depth):
            a = [self._left(x_slot, line, term) for line in range(0, self.rows, MMA_ROWS)]
            b = [m for line in range(0, self.columns, 2 * MMA_COLUMNS) for m in self._right(w_slot, line, term)]
            for n, one in enumerate(made):
                i, j = divmod(n, len(b))
                made[n] = self.e(kernel.MmaOp(self.tile.unit, a[i], b[j], one))
        return made

    def _left(self, slot: Dim, line: int, term: int) -> SSAValue:
        e, x = self.e, self.x
        if x is None:
            return self.held[term // self.unit.depth]
        if self._by_matrices(x):
            at = e.index(self.at_x + slot + x.place(0, line, term))
            return self._rounded(e(kernel.LoadMatrixOp(x.memory, at, 4, transposed=not x.along_terms)))
        pairs = [self._across(x, slot, self.row + line + self.group, term + far, 8) for far in (0, 4)]
        return self._rounded(e(kernel.JoinOp(*pairs)))

    def _right(self, slot: Dim, line: int, term: int) -> list[SSAValue]:
        """The matrices of two times eight columns."""
        e, w = self.e, self.w
        if self._by_matrices(w):
            at = e.index(self.at_w + slot + w.place(0, line, term))
            both = self._rounded(e(kernel.LoadMatrixOp(w.memory, at, 4, transposed=not w.along_terms)))
            return [e(kernel.HalfOp(both, upper)) for upper in (False, True)]
        lines = (line, line + MMA_COLUMNS)
        return [
            self._rounded(self._across(w, slot, self.column + n + self.group, term, 4 * w.pitch)) for n in lines
        ]

    def _across(self, stage: Shelf, slot: Dim, line: Dim, term: int, apart: int) -> SSAValue:
        """Two words of an operand whose lines are side by side."""
        e = self.e
        at = e.index(slot + stage.place(0, line, self.member + term))
        return e(kernel.LoadOp(stage.memory, at, VectorType(stage.kind, [2]), lane_stride=e.index(apart)))

    def _rounded(self, words: SSAValue) -> SSAValue:
        if self.tile.unit != "tf32":
            return words
        if words.type.element_type != f32:  # pyright: ignore # a vector
            words = self.e(kernel.CastOp("bitcast", words, VectorType(f32, words.type.get_shape())))  # pyright: ignore
        return self.e(kernel.RoundTf32Op(words))

    def parts(self, sums: Sequence[SSAValue]) -> Iterator[Part]:
        wide = self.columns // MMA_COLUMNS
        for n, four in enumerate(sums):
            i, j = divmod(n, wide)
            column = self.column + MMA_COLUMNS * j + 2 * self.member
            for upper in (False, True):
                row = self.row + MMA_ROWS * i + 8 * upper + self.group
                yield Part(row, column, self.e(kernel.HalfOp(four, upper)))


Sums = ThreadSums | TensorSums


def sums_of(e: Emitter, tile: Tile, kind: Attribute, thread: Dim, x: Shelf, w: Shelf) -> Sums:
    """Who multiplies, of a tile."""
    return (ThreadSums if tile.unit == THREADS else TensorSums)(e, tile, kind, thread, x, w)


def scalars(e: Emitter, values: SSAValue) -> list[SSAValue]:
    """The lanes of a vector."""
    if not isinstance(values.type, VectorType):
        return [values]
    return [one for upper in (False, True) for one in scalars(e, e(kernel.HalfOp(values, upper)))]


def vector(e: Emitter, lanes: Sequence[SSAValue]) -> SSAValue:
    """A vector of a power of two of scalars."""
    if len(lanes) == 1:
        return lanes[0]
    half = len(lanes) // 2
    return e(kernel.JoinOp(vector(e, lanes[:half]), vector(e, lanes[half:])))
