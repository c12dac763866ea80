"""Operands of a contraction on their way from global memory, through shared memory, to a block's threads.

A tile of an operand is ``lines`` (rows of the left, columns of the right one) by ``terms`` of the sum. It lies in
shared memory as it does in global memory: what are neighbours there are neighbours here, along terms or along
lines, so that a thread copies 16 bytes at a time where the extents allow, asynchronously where the GPU can.
Lines and terms outside of the operand are zeros, and not read.

Rows of the tile are a few elements longer than what they hold: then the rows that a warp reads together
stand in different banks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from xdsl.dialects import arith
from xdsl.dialects.builtin import UnitAttr, VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.axes import dot
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.blocks import Tile
from tfc.codegen.schedule.lanes import lane_bits
from tfc.dialects import kernel
from tfc.dims import Dim, product

CHUNK = 16
"""Bytes of the widest access of a thread."""

BANKS = 128
"""Bytes of all banks of shared memory."""


@dataclass(frozen=True)
class Walk:
    """An index that is one of several axes in a row: their extents and strides, outermost first."""

    axes: tuple[tuple[Dim, Dim], ...]

    @classmethod
    def of(cls, axes: Sequence[tuple[Dim, Dim]]) -> Walk:
        """The walk with the fewest axes: one that begins where the next one ends is one with it."""
        found: list[tuple[Dim, Dim]] = []
        for extent, stride in (a for a in axes if a[0] != 1):
            if found and found[-1][1] == stride * extent:
                extent = found.pop()[0] * extent
            found.append((extent, stride))
        return cls(tuple(found) or ((1, 0),))

    @property
    def extent(self) -> Dim:
        return product(n for n, _ in self.axes)

    def indices(self, e: Emitter, index: Dim) -> list[Dim]:
        """The index along each axis of element ``index``."""
        found: list[Dim] = []
        for extent, _ in reversed(self.axes[1:]):
            found.insert(0, index % extent)
            index = bound(e, index // extent)
        return [index, *found]

    def offset(self, indices: Sequence[Dim]) -> Dim:
        """How far an element is from the first one."""
        total: Dim = 0
        for i, (_, stride) in zip(indices, self.axes, strict=True):
            total = total + i * stride
        return total

    def run(self, unit: int) -> bool:
        """Whether it goes in runs of ``unit`` neighbours, from multiples of ``unit`` on."""
        extent, stride = self.axes[-1]
        outer = self.axes[:-1]
        return stride == 1 and extent % unit == 0 and all(s % unit == 0 for _, s in outer)

    def steps(self, unit: int) -> bool:
        """Whether each of its steps is a multiple of ``unit``."""
        return all(s % unit == 0 for _, s in self.axes)


@dataclass(frozen=True)
class Window:
    """A dim of an operand that is read beyond its ends, where zeros are: index ``lines . i + terms . k - low``.

    Attributes:
        extent: of the dim.
        low: zeros before it.
        lines, terms: how far each axis of the two walks goes along it.
    """

    extent: Dim
    low: Dim
    lines: Sequence[Dim]
    terms: Sequence[Dim]


@dataclass(frozen=True)
class Source:
    """An operand in global memory.

    Attributes:
        buffer: where it lies.
        kind: its elements there.
        start: where the part of this block's item begins.
        starts: what ``start`` is a sum of multiples of.
        lines, terms: how it is walked.
        windows: dims beyond whose ends it is read.
    """

    buffer: SSAValue
    kind: Attribute
    start: Dim
    starts: Sequence[Dim]
    lines: Walk
    terms: Walk
    windows: Sequence[Window] = ()

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return max(8, lane_bits_of(self.kind)) // 8

    def widest(self, walk: Walk, other: Walk) -> int:
        """Elements of the widest access along ``walk``."""
        unit = CHUNK // self.size
        while unit > 1:
            if walk.run(unit) and other.steps(unit) and all(s % unit == 0 for s in self.starts):
                return unit
            unit //= 2
        return 1

    @property
    def along_terms(self) -> bool:
        """Whether tiles have terms side by side (else lines)."""
        terms, lines = self.widest(self.terms, self.lines), self.widest(self.lines, self.terms)
        if terms == lines:
            return self.terms.axes[-1][1] == 1 or self.lines.axes[-1][1] != 1
        return terms > lines


@dataclass
class _Piece:
    """What a thread copies: where it is in the tile, what is known of it before the loop over terms."""

    line: Dim
    term: Dim
    offset: Dim = 0
    inside: SSAValue | None = None
    exists: SSAValue | None = None
    places: Sequence[Dim] = ()
    """Where the line is along each window."""


@dataclass
class Stage:
    """Tiles of one operand in shared memory, one for each stage.

    Attributes:
        lines: of a tile.
        first: the first line of this block.
        by_lines: whether a tile has its terms side by side, wherever they are in memory; as they are there if left out.
    """

    e: Emitter
    source: Source
    tile: Tile
    lines: int
    first: Dim
    target: GpuTarget
    thread: Dim
    by_lines: bool | None = None
    memory: SSAValue = field(init=False)

    def __post_init__(self) -> None:
        self.along_terms = self.source.along_terms if self.by_lines is None else self.by_lines
        walks = (self.source.terms, self.source.lines)
        along, across = walks if self.along_terms else walks[::-1]
        self.unit = self.source.widest(along, across)
        inner, self.outer = (self.tile.depth, self.lines) if self.along_terms else (self.lines, self.tile.depth)
        self.inner = inner
        self.pitch = inner + self._pad(inner)
        self.size = self.outer * self.pitch
        self.memory = self.e(kernel.SharedOp(self.tile.stages * self.size, self.source.kind))
        wide = self.unit * self.source.size
        self.is_async = self.target.gpu.copies_async and wide >= 4
        self._pieces = self._cut()

    def _pad(self, inner: int) -> int:
        """Elements after each row: rows of 16 bytes (of single words, which tensor cores take across rows) that
        are read together then lie in different banks."""
        size = self.source.size
        if self.tile.unit == "tf32" and not self.along_terms:
            return (2 * CHUNK - inner * size) % BANKS // size
        return (CHUNK if inner * size // CHUNK % 2 == 0 else 2 * CHUNK) // size

    def _cut(self) -> list[_Piece]:
        """The pieces of this thread."""
        e, threads, unit = self.e, self.tile.threads, self.unit
        row = self.inner // unit
        count = -(-self.inner * self.outer // (unit * threads))
        pieces: list[_Piece] = []
        first, side = bound(e, self.thread // row), bound(e, self.thread % row * unit)
        for i in range(count):
            if threads % row == 0:
                outer, inner = first + i * (threads // row), side
            elif row % threads == 0:
                outer, inner = i // (row // threads), self.thread * unit + i % (row // threads) * threads * unit
            else:
                number = bound(e, self.thread + i * threads)
                outer, inner = bound(e, number // row), bound(e, number % row * unit)
            line, term = (outer, inner) if self.along_terms else (inner, outer)
            piece = _Piece(line, term)
            if self.inner * self.outer % (unit * threads):
                piece.exists = e.compare("slt", outer, self.outer)
            at = bound(e, self.first + line)
            indices = [bound(e, i) for i in self.source.lines.indices(e, at)]
            piece.offset = bound(e, self.source.start + self.source.lines.offset(indices))
            piece.places = [bound(e, dot(indices, w.lines) - w.low) for w in self.source.windows]
            if self.source.lines.extent % self.lines != 0:
                piece.inside = e.compare("slt", at, self.source.lines.extent)
            pieces.append(piece)
        return pieces

    def begin(self, slot: Dim, first: Dim) -> list[SSAValue]:
        """Begin to bring the tile of the terms from ``first`` on into ``slot``; gives what `end` stores."""
        e, held = self.e, list[SSAValue]()
        known: dict[Dim, tuple[Dim, SSAValue | None, list[Dim]]] = {}
        for piece in self._pieces:
            if piece.term not in known:
                term = bound(e, first + piece.term)
                fits = self.source.terms.extent % self.tile.depth == 0
                within = None if fits else e.compare("slt", term, self.source.terms.extent)
                indices = [bound(e, i) for i in self.source.terms.indices(e, term)]
                places = [bound(e, dot(indices, w.terms)) for w in self.source.windows]
                known[piece.term] = bound(e, self.source.terms.offset(indices)), within, places
            offset, within, places = known[piece.term]
            for window, line, place in zip(self.source.windows, piece.places, places, strict=True):
                within = both(e, within, e.compare("ult", line + place, window.extent))  # also where it is negative
            held += self._move(piece, piece.offset + offset, slot, both(e, piece.inside, within))
        return held

    def _move(self, piece: _Piece, at: Dim, slot: Dim, inside: SSAValue | None) -> list[SSAValue]:
        e, kind = self.e, self.source.kind
        if not self.is_async:
            type_ = VectorType(kind, [self.unit]) if self.unit > 1 else kind
            return [self._read(type_, at, both(e, inside, piece.exists))]

        def copy() -> Sequence[SSAValue]:
            place = e.index(self.shelf.place(slot, piece.line, piece.term))
            e(kernel.CopyAsyncOp(self.source.buffer, e.index(at), self.memory, place, self.unit, inside))
            return ()

        copy() if piece.exists is None else e.branch(piece.exists, copy)
        return []

    def _read(self, type_: Attribute, at: Dim, inside: SSAValue | None) -> SSAValue:
        e = self.e

        def some() -> Sequence[SSAValue]:
            return [aligned(e, kernel.LoadOp(self.source.buffer, e.index(at), type_))]

        if inside is None:
            return some()[0]
        return e.branch(inside, some, lambda: [e.constant(0, type_)])[0]

    def end(self, slot: Dim, held: Sequence[SSAValue]) -> None:
        """Store what `begin` read, where copies are not asynchronous."""
        e = self.e
        for piece, value in zip(self._pieces, held, strict=False):

            def store(piece: _Piece = piece, value: SSAValue = value) -> Sequence[SSAValue]:
                aligned(e, kernel.StoreOp(value, self.memory, e.index(self.shelf.place(slot, piece.line, piece.term))))
                return ()

            store() if piece.exists is None else e.branch(piece.exists, store)

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.memory, self.source.kind, self.along_terms, self.pitch, self.size)


@dataclass(frozen=True)
class Shelf:
    """Tiles in shared memory, as those see them who multiply: ``lines`` of terms side by side, or the other way round.

    Attributes:
        memory, kind: where they lie, and of what elements.
        along_terms: whether terms are side by side.
        pitch: from one row to the next.
        size: from one stage to the next.
    """

    memory: SSAValue
    kind: Attribute
    along_terms: bool
    pitch: int
    size: int

    @property
    def turned(self) -> Shelf:
        """The same for a sum whose terms are these lines."""
        return replace(self, along_terms=not self.along_terms)

    def place(self, slot: Dim, line: Dim, term: Dim) -> Dim:
        """Where an element of a tile lies."""
        outer, inner = (line, term) if self.along_terms else (term, line)
        return slot * self.size + outer * self.pitch + inner


@dataclass(frozen=True)
class Ring:
    """The stages of a block: tiles of both operands, which are brought in order and used in order.

    Attributes:
        count: of stages.
        depth: terms of a tile.
        tiles: how many there are.
        before: what is on its way already, and there with the first tile.
    """

    e: Emitter
    stages: Sequence[Stage]
    count: int
    depth: int
    tiles: Dim
    before: Sequence[Stage] = ()

    @property
    def is_async(self) -> bool:
        return any(s.is_async for s in (*self.stages, *self.before))

    def wait(self) -> None:
        """Until the next tile is there, and all threads are done with the one before."""
        if self.is_async:
            self.e(kernel.WaitAsyncOp(self.count - 2))
        self.e(kernel.BarrierOp())

    def next(self, slot: Dim) -> SSAValue:
        """The slot after ``slot``."""
        last = self.e.compare("eq", slot, self.count - 1)
        return self.e(kernel.SelectOp(last, self.e.constant(0), self.e.index(slot + 1)))

    def fetch(self, slot: Dim, number: Dim) -> list[list[SSAValue]]:
        """Begin to bring tile ``number``, if there is one; gives what `keep` stores, of each operand."""
        e = self.e
        counts: list[int] = []
        types: list[Attribute] = []

        def some() -> Sequence[SSAValue]:
            parts = [s.begin(slot, number * self.depth) for s in self.stages]
            counts.extend(len(p) for p in parts)
            types.extend(v.type for p in parts for v in p)
            return [v for p in parts for v in p]

        if isinstance(number, int) and isinstance(self.tiles, int):
            values = some() if number < self.tiles else []
        elif all(s.is_async for s in self.stages):
            values = e.branch(e.compare("slt", number, self.tiles), some)
        else:
            exists = e.compare("slt", number, self.tiles)
            values = e.branch(exists, some, lambda: [e.constant(0, t) for t in types])
        if self.is_async:
            e(kernel.CommitAsyncOp())
        rest = iter(values)
        return [[next(rest) for _ in range(n)] for n in counts]

    def keep(self, slot: Dim, held: Sequence[Sequence[SSAValue]], number: Dim) -> None:
        """Store what `fetch` read into registers; zeros where there is no such tile, which nobody reads."""
        for stage, values in zip(self.stages, held, strict=False):
            if values:
                stage.end(slot, values)


def aligned(e: Emitter, op: kernel.LoadOp | kernel.StoreOp) -> SSAValue:
    """Insert an access of whose lanes is known that they are one (or some of 16 bytes)."""
    op.attributes[kernel.ALIGNED] = UnitAttr()
    return e(op)


def both(e: Emitter, x: SSAValue | None, y: SSAValue | None) -> SSAValue | None:
    """Whether both conditions hold that are there."""
    return reduce(lambda a, b: e(arith.AndIOp(a, b)), [v for v in (x, y) if v is not None]) if x or y else None


def bound(e: Emitter, value: Dim) -> Dim:
    """``value`` as one symbol, computed here and once."""
    return value if isinstance(value, int) else e.bind(e.index(value))


def lane_bits_of(kind: Attribute) -> int:
    """Bits of an element in memory."""
    return getattr(kind, "bitwidth", None) or lane_bits(kind)
