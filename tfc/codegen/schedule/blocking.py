"""How the work of a contraction is cut: into tasks, and a long sum into chunks.

    for every chunk of the sum {                      which fits the L2 cache beside the rows of x
      [copy the chunk of the rows of x]
      for every panel of the task {
        [copy the chunk of the panel]
        for every row tile of the task { sum the chunk on top of what the chunks before left }
      }
    }

What is copied, and how large a chunk and a task are, follows from the shapes (`choose`), never from the
number of threads: neither do the bits of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from tfc.codegen.schedule import tiles, tuned
from tfc.codegen.schedule.tuned import Blocking, up_to
from tfc.dialects.tfc.packed import Axis
from tfc.dims import Dim, product

MANY = 64
"""What an extent counts for that is not known."""


UNROLL = 2
"""Steps of the depth in one iteration: they share its overhead. (1 to 4 measure alike; more steps
take more of LLVM's time.) Single rows take twice as many."""


@dataclass(frozen=True)
class Problem:
    """What the choice rests on.

    Attributes:
        height: rows of a tile.
        lanes: columns of a panel.
        rows, items: rows of an item, and items that share one ``w``.
        elsewhere: items that have a ``w`` each.
        panels: how many there are.
        sums: the axes of the sum, outermost first, the depth last.
        row: the axis of rows.
        column: the axis of columns.
        packed: whether ``w`` is in panels already.
        size, computed: bytes of an element in memory, and in a register.
        masked: whether a part of a vector is read by one instruction.
        machine, kind: the registers, and the type of an element, in words.
    """

    height: int
    lanes: int
    rows: Dim
    items: Dim
    elsewhere: Dim
    panels: Dim
    sums: Sequence[Axis]
    row: Axis
    column: Axis
    packed: bool
    size: int
    computed: int
    masked: bool
    machine: str
    kind: str

    @property
    def depth(self) -> int:
        """Terms of the sum."""
        return guess(product(a.extent for a in self.sums))

    @property
    def users(self) -> int:
        """Rows that use one panel."""
        return guess(self.items * self.rows)

    @property
    def must_copy(self) -> bool:
        """Whether panels cannot be read where they stand."""
        ragged = not self.masked and guess(self.column.extent) % self.lanes != 0
        return not self.packed and (self.column.w != 1 or ragged)

    def __str__(self) -> str:
        """The class of the problem, as the store of blockings has it."""
        w = "panels" if self.packed else "columns" if self.column.w != 1 else "rows"
        x = "columns" if self.row.x == 1 and self.sums[-1].x != 1 else "rows"
        columns = up_to(guess(self.column.extent))
        return (
            f"{self.machine} {self.kind} tile={self.height}x{self.lanes} users={up_to(self.users)} "
            f"columns={columns} depth={up_to(self.depth)} w={w} x={x}"
        )


def choose(p: Problem) -> Blocking:
    """The blocking of a contraction: what a search has found for its class, or by the rule."""
    if (found := tuned.find(str(p))) is not None:
        return replace(found, copies_w=found.copies_w or p.must_copy)
    return by_rule(p)


def by_rule(p: Problem) -> Blocking:
    """The blocking of a contraction, by what was measured on few shapes."""
    users, depth = p.users, p.depth
    apart = guess(p.sums[-1].w) * p.size
    spread = not p.packed and apart > tiles.NEAR_BYTES
    widened = p.computed > p.size and users >= tiles.COPIED_ROWS
    copies_w = widened or p.must_copy or (spread and users >= tiles.COPIED_ROWS)
    swept = spread and not copies_w
    width = p.lanes * (p.computed if copies_w else p.size)
    panel = tiles.PANEL_BYTES if p.height >= tiles.TALL else tiles.LOW_PANEL_BYTES
    most = tiles.COPY_BYTES if copies_w else panel if p.packed else tiles.CHUNK_BYTES
    chunk = tiles.SWEPT if swept else most // width
    across = p.row.x == 1 and p.sums[-1].x != 1
    copies_x = p.rows != 1 and (
        widened if not across else guess(p.sums[-1].x) * p.size > tiles.NEAR_BYTES or widened
    )
    rows = min(tiles.BLOCK_ROWS, tiles.BLOCK_BYTES // max(1, min(depth, chunk) * p.size))
    if copies_x:
        chunk = min(chunk, tiles.COPIED_TERMS)
        rows = min(rows, max(p.height, 3 * tiles.COPY_BYTES // (2 * min(depth, chunk) * p.computed)))
    rows = max(4 * p.height, rows)
    panels = 1
    if swept:
        panels = max(1, min(-(-tiles.SWEPT_COLUMNS // p.lanes), guess(p.panels) // 4))
    elif min(rows, users) * depth * p.size > tiles.BLOCK_BYTES or copies_x:
        panels = 8
    elif spread and depth <= tiles.THIN and users >= 256:
        rows, panels = 64, 8  # the result is what costs: it is written row after row
    others = guess(p.elsewhere) * -(-guess(p.panels) // panels)
    while panels > 1 and not swept and others * -(-users // rows) < tiles.TASKS:
        panels = -(-panels // 2)
        others = guess(p.elsewhere) * -(-guess(p.panels) // panels)
    if all(isinstance(n, int) for n in (p.rows, p.items, p.panels, p.elsewhere)) and others:
        rows = max(2 * p.height, min(rows, -(-users // -(-tiles.TASKS // others))))
    return Blocking(rows, panels, max(2, chunk), copies_w, copies_x)


@dataclass(frozen=True)
class Sum:
    """How a sum is cut: ``outer`` axes one step after the other, then pieces of the first of ``inner``.

    Attributes:
        length: of a piece.
        pieces: how many there are; 1 where the whole axis is one.
    """

    outer: Sequence[Axis]
    inner: Sequence[Axis]
    length: Dim
    pieces: Dim

    @property
    def count(self) -> Dim:
        """Chunks in all."""
        return product(a.extent for a in self.outer) * self.pieces

    @property
    def largest(self) -> int:
        """Terms of a chunk, at most; of a sum that is cut."""
        extents = [self.length, *(a.extent for a in self.inner[1:])]
        total = product(extents)
        assert isinstance(total, int), "chunks have a size that is known"
        return total


@dataclass(frozen=True)
class Chunk:
    """One piece of a sum: where it begins in x and w, and whether it is the first or last."""

    x: Dim
    w: Dim
    low: Dim
    high: Dim
    first: SSAValue | None = None
    last: SSAValue | None = None


def cut(axes: Sequence[Axis], most: int, step: int) -> Sum:
    """Cut a sum over ``axes``, outermost first, into chunks of ``most`` terms or fewer.

    Args:
        step: of which the length of pieces of the last axis should be a multiple.
    """
    extents = [a.extent for a in axes]
    at, rest = len(axes) - 1, 1
    while at and isinstance(n := extents[at], int) and rest * n <= most:
        at, rest = at - 1, rest * n
    extent = extents[at]
    length = max(1, most // max(1, rest))
    if isinstance(extent, int):
        pieces = max(1, -(-extent // length))
        length = -(-extent // pieces)
        if at == len(axes) - 1 and pieces > 1:
            length = -(-length // step) * step
            pieces = -(-extent // length)
        return Sum(axes[:at], axes[at:], length, pieces)
    return Sum(axes[:at], axes[at:], length, tiles.ceil(extent, length))


def steps_of(depth: Dim, height: int) -> int:
    """Steps of one iteration: a divisor of a known depth where there is one near."""
    wanted = UNROLL if height > 1 else 2 * UNROLL
    if not isinstance(depth, int):
        return wanted
    return next((u for u in (wanted, wanted + 1) if depth % u == 0), wanted)


def known(dim: Dim) -> bool:
    """Whether an extent is a number."""
    return isinstance(dim, int)


def guess(dim: Dim) -> int:
    """An extent, or what it is taken for."""
    return dim if isinstance(dim, int) else MANY
