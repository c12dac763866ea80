"""Tiles of operands that are read across their rows, as a transpose reads its own.

    y[i, j] = x[j, i] + b[j]      for a block of i and j:  turned[i, j] = x[j, i]     registers, 16 x 16 at a time
                                                           y[i, j] = turned[i, j] + b[j]

Lanes along ``j`` would gather one element from each of so many lines, and come back to these lines for the next
``i`` when they have left the cache. A block of the operand is turned into a buffer on the stack first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects.builtin import FixedBitwidthType, VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.lanes import factor
from tfc.dialects import kernel
from tfc.dims import Dim, Expr, symbol

ROWS = 32
"""Rows of the result in a block: two lines of an operand of f32."""

LEAST = 16
"""Extents from which on blocks pay."""


@dataclass
class Block:
    """The part of the result that is being computed.

    Attributes:
        row, column: the first row and the first column.
        rows, columns: how many there are.
        width: of the buffers.
        register: bits of a vector register.
        depth: the scope of the block.
        at: the variable of the row.
    """

    row: Dim
    column: Dim
    rows: Dim
    columns: Dim
    width: int
    register: int
    depth: int
    at: Expr
    made: dict[tuple[SSAValue, Dim], SSAValue] = field(default_factory=dict[tuple[SSAValue, Dim], SSAValue])

    def step(self, offset: Dim, lane: str) -> int | None:
        """How far apart the lanes of a load are, where it reads across rows that it should walk along."""
        step = factor(offset, lane)
        if not isinstance(step, int) or step in (0, 1):
            return None
        return step if factor(offset, str(self.at)) == 1 else None

    def base(self, offset: Dim, lane: str, step: int) -> Dim:
        """What is left of an offset at row 0 and column 0."""
        return offset - self.at - symbol(lane) * step

    def place(self, lane: str) -> Dim:
        """Where an element lies in the buffers."""
        return (self.at - self.row) * self.width + (symbol(lane) - self.column)

    def turned(self, e: Emitter, memory: SSAValue, kind: Attribute, offset: Dim, lane: str, step: int) -> SSAValue:
        """The buffer with the block of an operand, which is filled in the scope of the block.

        Args:
            offset: of the operand's element at row ``at`` and column ``lane``.
            step: how far its columns are apart.
        """
        base = self.base(offset, lane, step)
        if (memory, base) not in self.made:
            with e.at(0):
                buffer = e(kernel.ScratchOp(ROWS * self.width, kind))
            with e.at(self.depth):
                self._fill(e, buffer, memory, kind, base + self.row + self.column * step, step)
            self.made[memory, base] = buffer
        return self.made[memory, base]

    def _fill(self, e: Emitter, buffer: SSAValue, memory: SSAValue, kind: Attribute, first: Dim, step: int) -> None:
        bits = kind.bitwidth if isinstance(kind, FixedBitwidthType) else 64
        side = min(16, self.register // bits)
        tile = VectorType(kind, [side, side])
        whole_rows, whole_columns = self.rows // side * side, self.columns // side * side
        apart, width = e.constant(step), e.constant(self.width)
        with e.loop(whole_columns, step=side) as column, e.loop(whole_rows, step=side) as row:
            source = e.index(first + row.variable + column.variable * step)
            loaded = e(kernel.LoadOp(memory, source, tile, row_stride=apart))
            target = e.index(row.variable * self.width + column.variable)
            e(kernel.StoreOp(e(kernel.TransposeOp(loaded)), buffer, target, row_stride=width))

        def singly(rows: tuple[Dim, Dim], columns: tuple[Dim, Dim]) -> None:
            if rows[0] == rows[1] or columns[0] == columns[1]:
                return
            with e.loop(columns[1], lower=columns[0]) as column, e.loop(rows[1], lower=rows[0]) as row:
                source = e.index(first + row.variable + column.variable * step)
                one = e(kernel.LoadOp(memory, source, kind))
                e(kernel.StoreOp(one, buffer, e.index(row.variable * self.width + column.variable)))

        singly((whole_rows, self.rows), (0, self.columns))
        singly((0, whole_rows), (whole_columns, self.columns))
