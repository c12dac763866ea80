"""Operands that neighbouring threads would read across their rows, as a transpose reads its own: through shared memory.

    y[i, j] = x[j, i] + b[j]      a block has 32 x 32 of the result, four elements a thread

    tile[j][i] = x[j, i]          neighbouring threads have neighbouring i
    barrier
    y[i, j] = tile[j][i] + b[j]   neighbouring threads have neighbouring j

Rows of the tile have one place more than elements, so that neither way two threads of a warp meet in a bank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.ir import Attribute, SSAValue

from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.lanes import factor
from tfc.dialects import kernel
from tfc.dims import Dim, Expr, names, symbol

SIDE = kernel.WARP
"""Rows and columns of a tile."""

ROWS = 8
"""Rows that the threads of a block do at once."""


@dataclass
class Tile:
    """The part of the result that a block computes.

    Attributes:
        e: what writes the kernel.
        first: the first row and the first column.
        extents: how many there are in all.
        x, y: the place of a thread: 32 beside each other, 8 below each other.
        rows: of each row symbol, the number of rows below ``y`` that it stands for.
        column: the symbol of the column.
        depth: the number of open scopes in which all threads go the same way.
    """

    e: Emitter
    first: tuple[Dim, Dim]
    extents: tuple[int, int]
    x: Expr
    y: Expr
    rows: Mapping[str, int]
    column: Expr
    depth: int
    made: dict[tuple[SSAValue, Dim], SSAValue] = field(default_factory=dict[tuple[SSAValue, Dim], SSAValue])

    def place(self, buffer: SSAValue, kind: Attribute, offset: Dim) -> tuple[SSAValue, Dim] | None:
        """Where an element of an operand is in shared memory; None where it is better read from its place.

        Args:
            kind: of the elements as they are stored.
        """
        column, row = str(self.column), next((r for r in self.rows if factor(offset, r) == 1), None)
        step = factor(offset, column)
        if row is None or not isinstance(step, int) or step in (0, 1) or len(self.e.scopes) != self.depth:
            return None
        base = offset - symbol(row) - self.column * step
        own = {column, str(self.x), str(self.y), *self.rows}
        if names(base) & own:
            return None
        if (buffer, base) not in self.made:
            self.made[buffer, base] = self._filled(buffer, kind, base, step)
        return self.made[buffer, base], self.x * (SIDE + 1) + self.y + self.rows[row]

    def _filled(self, buffer: SSAValue, kind: Attribute, base: Dim, step: int) -> SSAValue:
        e = self.e
        with e.at(0):
            tile = e(kernel.SharedOp(SIDE * (SIDE + 1), kind))
        row = e.minimum(self.first[0] + self.x, self.extents[0] - 1)
        for down in range(0, SIDE, ROWS):
            column = e.minimum(self.first[1] + self.y + down, self.extents[1] - 1)
            value = e(kernel.LoadOp(buffer, e.index(base + row + column * step), kind))
            e(kernel.StoreOp(value, tile, e.index((self.y + down) * (SIDE + 1) + self.x)))
        e(kernel.BarrierOp())
        return tile
