"""The row tiles of a contraction: which rows of the result are computed together.

A known number of rows is cut into tiles of almost equal height, or, where that costs little, into
equal ones of which the last two overlap: one piece of code less. An unknown number is walked in
full tiles, overlapping too, or where there are fewer rows than that in lower ones.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith

from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.emit import Emitter
from tfc.dims import Dim, Expr

WASTE = 0.03
"""The share of rows that may be computed twice to save a second, lower tile."""


class Rows:
    """The row tiles of one item of the batch.

    Attributes:
        low: the height of tiles for what is left of an unknown number of rows, before single rows.
        height: of most tiles.
        tiles: how many there are, the last of them perhaps lower or overlapping.
    """

    def __init__(self, rows: Dim, most: int, low: int, overlap: bool) -> None:
        self.rows, self.overlap, self.low = rows, overlap, low
        if isinstance(rows, int):
            cut = tiles.split(rows, most)
            self.height, self.tall, self.tiles = cut.height, cut.tall, cut.tiles
            if overlap and cut.height * cut.tiles - rows <= rows * WASTE:
                self.tall = self.tiles
        else:
            self.height = most
            self.tiles = tiles.ceil(rows, most)

    def each(self, e: Emitter, block: Dim, count: int, tile: Callable[[int, Dim], None]) -> None:
        """``tile(height, first row)`` for ``count`` tiles from number ``block * count`` on."""
        if not isinstance(self.rows, int):
            self._each_symbolic(e, self.rows, block, count, tile)
            return
        low: Dim = block * count
        high = e.minimum(low + count, self.tiles)
        if isinstance(self.tiles, int) and self.tiles <= count:
            low, high = 0, self.tiles
        if self.tiles == 1:
            tile(self.height, 0)
            return
        if self.tall == self.tiles:
            exact = self.rows % self.height == 0
            with e.loop(high, lower=low) as loop:
                at = loop.variable * self.height
                tile(self.height, at if exact else e.minimum(at, self.rows - self.height))
            return
        with e.loop(e.minimum(high, self.tall), lower=low) as loop:
            tile(self.height, loop.variable * self.height)
        with e.loop(high, lower=e.maximum(low, self.tall)) as loop:
            tile(self.height - 1, loop.variable * (self.height - 1) + self.tall)

    def _each_symbolic(
        self, e: Emitter, rows: Expr, block: Dim, count: int, tile: Callable[[int, Dim], None]
    ) -> None:
        height, low = self.height, block * count
        high = e.minimum(low + count, self.tiles)
        exact = rows % height == 0
        full = rows // height
        if self.overlap and not exact:  # the last tile ends with the last row
            enough = e.compare("sge", rows, height)
            full = e.bind(e(arith.SelectOp(enough, e.index(self.tiles), e.index(0))), "full")
        with e.loop(e.minimum(high, full), lower=low) as loop:
            at = loop.variable * height
            tile(height, e.minimum(at, rows - height) if self.overlap and not exact else at)
        if exact:
            return
        first = e.maximum(low * height, full * height)
        rest = e.maximum(e.minimum(rows, high * height) - first, 0)
        at = 0
        for lower in (self.low, 1) if 1 < self.low < height else (1,):
            end = rest // lower * lower
            with e.loop(end, lower=at, step=lower) as loop:
                tile(lower, first + loop.variable)
            at = end
