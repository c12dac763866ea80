"""Sizes of register tiles and cache blocks, per instruction set.

A tile is ``rows x vectors`` accumulators. One step of the depth loads ``vectors`` vectors of the
right operand and ``rows`` numbers of the left one, and does ``rows * vectors`` multiply-adds: many
accumulators hide the loads and the latency, too many spill (7x4 of 32 registers runs at a third
of the speed of 6x4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.ir import Attribute

from tfc.codegen.cpu.targets import Target
from tfc.dims import Dim

HEIGHTS: Mapping[tuple[int, int], Mapping[int, int]] = {
    # (bits of a register, registers): {vectors: the most rows}, preferred first
    (512, 32): {4: 6, 3: 7, 2: 14, 1: 14, 8: 1},
    (256, 16): {2: 6, 1: 8, 4: 1},
    (128, 32): {4: 6, 2: 10, 3: 8, 1: 16, 8: 1},
    (128, 16): {2: 4, 3: 3, 1: 8, 4: 1},
}
"""Tiles that were measured not to spill."""

PANEL_BYTES, LOW_PANEL_BYTES, TALL = 640 * 1024, 200 * 1024, 10
"""The largest stretch of a panel that is read for one tile: it stays in the L2 cache. Tiles of fewer rows
than `TALL` read a panel faster than that supplies it, unless a good part of it is still in the L1 cache."""

TIGHT = 26
"""Accumulators that leave no registers for two steps of the sum at once, where it is cut into chunks."""

BYTE_HEIGHTS: Mapping[int, int] = {1: 4, 2: 3, 4: 1}
"""Tiles for bytes where products of four are not one instruction: what that takes needs registers, too."""

CHUNK_BYTES = 100 * 1024
"""The same of a right operand that is read where it stands."""

BLOCK_BYTES, BLOCK_ROWS = 512 * 1024, 384
"""Rows of the left operand that are used for one panel before the next: they stay there too."""

NEAR_BYTES = 1024
"""How far apart the vectors of a panel may be in memory: more costs a page or a set of the cache each."""

COPIED_ROWS = 16
"""Rows that use a panel, for which its copy pays."""

COPY_BYTES = 64 * 1024
"""The largest copy: it stands on the stack of a thread."""

COPIED_TERMS = 128
"""Terms of the sum in a chunk, where rows are copied, too."""

THIN = 128
"""A sum of so few terms that the result costs as much to write."""

SWEPT, SWEPT_COLUMNS = 16, 1024
"""Where few rows use a right operand whose rows are far apart: so many of its rows are walked along
together, for so many columns at a time, as memory likes it."""

TASKS = 10
"""Least number of pieces that the work is cut into where it can be. (More cost more than they help a few
threads: each reads its panel again; 32 took 1.6 times as long where panels are large and rows few.)"""

LATENCY = 8
"""Multiply-adds in flight that keep the units busy: two of them, each four cycles deep."""

LOADS = 1.25
"""Multiply-adds in the time of one load: a tile of one vector, 14 rows high, has a load for
each multiply-add, and reaches 0.8 of the speed of wider ones on an Ice Lake where they fill as well."""

SUPPLY = 5
"""Multiply-adds in the time in which 64 bytes of a panel come from the L2 cache: a low tile is no
faster than one of so many rows (5x64 was at 80 % of 14x32 where rows are 14)."""

PAGE, WAYS = 4096, 8
"""Rows a multiple of 4096 bytes apart share one set of the L1 cache, which holds so many lines."""

MANY, SINGLE = 420, 20
"""What an unknown number of rows is taken for: so many in full tiles, and so many one by one."""


@dataclass(frozen=True)
class Split:
    """Rows in tiles of almost equal height: ``tall`` tiles of ``height`` rows, then one less each."""

    height: int
    tall: int
    tiles: int


def vector_lanes(target: Target, element: Attribute) -> int:
    """Elements of the type that a sum is kept in (f32 for halves) that a register holds."""
    bits = getattr(element, "bitwidth", 32)
    return max(1, target.vector_bits // max(bits, 32))


def heights(target: Target, element: Attribute) -> Mapping[int, int]:
    """``{vectors: the most rows}`` of a target."""
    if getattr(element, "bitwidth", 32) == 8 and not target.dots_bytes:
        return BYTE_HEIGHTS
    registers = 32 if target.registers >= 32 else 16
    return HEIGHTS.get((target.vector_bits, registers), HEIGHTS[128, 16])


def split(rows: int, most: int) -> Split:
    """Cut ``rows`` into the fewest tiles of at most ``most`` rows."""
    tiles = -(-rows // most)
    height = -(-rows // tiles) if tiles else 1
    return Split(height, tiles - (height * tiles - rows), tiles)


def choose_vectors(
    target: Target, element: Attribute, rows: Dim, columns: Dim, stride: Dim = 0
) -> int:
    """How many vectors wide a panel should be.

    Args:
        rows, columns: of the result.
        stride: how far apart the rows of ``x`` are, in elements.
    """
    lanes = vector_lanes(target, element)
    supply = SUPPLY * target.vector_bits / 512
    few = isinstance(rows, int) and rows <= 1
    best, least = 1, float("inf")
    for vectors, most in heights(target, element).items():
        if most == 1 and not few:
            continue
        panels = -(-columns // (vectors * lanes)) if isinstance(columns, int) else 1 / vectors
        most = most_rows(target, element, vectors, stride)
        cost = panels * _row_cost(rows, vectors, most, supply)
        if cost < least * 0.97:  # a tile that is listed earlier is given up for a real gain only
            best, least = vectors, cost
    return best


def _row_cost(rows: Dim, vectors: int, most: int, supply: float) -> float:
    """Issue slots of all row tiles for one step of the depth."""

    def tile(height: int) -> float:
        return max(height * vectors, LOADS * (height + vectors), supply * vectors, LATENCY)

    if not isinstance(rows, int):
        return MANY / most * tile(most) + SINGLE * tile(1)
    cut = split(rows, most)
    return cut.tall * tile(cut.height) + (cut.tiles - cut.tall) * tile(max(1, cut.height - 1))


def most_rows(target: Target, element: Attribute, vectors: int, stride: Dim) -> int:
    """The height of a tile that is ``vectors`` wide, for rows that are ``stride`` elements apart."""
    known = heights(target, element)
    most = known.get(vectors, 1 if vectors > max(known) else max(1, 24 // vectors))
    size = getattr(element, "bitwidth", 32) // 8
    aliased = isinstance(stride, int) and stride * size % PAGE == 0 and stride
    return min(most, WAYS) if aliased else most


def ceil(x: Dim, y: int) -> Dim:
    """``x / y``, rounded up."""
    return -(-x // y) if isinstance(x, int) else (x + (y - 1)) // y
