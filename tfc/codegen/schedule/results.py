"""What becomes of a tile of a contraction: the rest of the fusion, row by row, and the store."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.codegen.schedule.axes import spread
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.evaluate import Evaluator
from tfc.codegen.schedule.lanes import compute_type, linear
from tfc.codegen.schedule.panels import parts_of
from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.elementwise import ElementwiseOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim

Batch = Sequence[tuple[Axis, Dim]]
"""The batch axes of a contraction and the indices along them."""

LIGHT = 6
"""Operations on a tile's rows while they are in registers; more (or a costly one) take the rows
from a buffer, one at a time: less code, and no accumulators in the way."""


def in_place_pairs(op: FusionOp, contract: ContractOp) -> Sequence[int]:
    """Pairs of an operand that is read just where a result of its type is written: a residual, or a variable
    that the sum changes."""
    pairs: list[int] = []
    for position, argument in enumerate(op.block.args):
        readers = [u.operation for u in argument.uses]
        if all(isinstance(r, ElementwiseOp) for r in readers):
            for k, value in enumerate(op.results_inside):
                if value.type == argument.type == contract.result.type:
                    pairs += [position, len(op.operands) + k]
    return pairs


class Results:
    """The results of one kernel.

    Attributes:
        kept: whether partial sums may stand in the first result.
        columns_at: the first column of each part of the panel that is being computed.
        masks: which lanes of them are columns.
    """

    def __init__(
        self, op: FusionOp, contract: ContractOp, e: Emitter, evaluator: Evaluator
    ) -> None:
        self.op, self.contract, self.e, self.evaluator = op, contract, e, evaluator
        self.row, self.columns = contract.axes.one("row"), contract.axes.one("column")
        self.parts = parts_of(contract.lanes.value.data)
        self.kind: Attribute = compute_type(element(contract.result))
        first = op.results_inside[0]
        self.kept = element(first) == self.kind and shape_of(first) == shape_of(contract.result)
        self.columns_at: list[Dim] = []
        self.masks: list[SSAValue | None] = []
        evaluator.bound[contract.result] = lambda _: self.current
        self.current: SSAValue

    def index(self, at: Sequence[tuple[Axis, Dim]]) -> tuple[Dim, ...]:
        """The index in the result, from the indices along the axes."""
        shape = shape_of(self.contract.result)
        index: list[Dim] = [0] * len(shape)
        for axis, i in at:
            spread(axis, i, shape, index)
        return tuple(index)

    def store(self, sums: Sequence[SSAValue], buffer: SSAValue, offset: Dim, row: Dim) -> None:
        """Write a tile as it is; its rows are ``row`` elements apart."""
        rows = self.e.index(row)
        for part, tile, mask in zip(self.parts, sums, self.masks, strict=True):
            at = self.e.index(offset + part.first)
            self.e(kernel.StoreOp(tile, buffer, at, row_stride=rows, mask=mask))

    def finish(
        self, height: int, row: Dim, batch: Batch, offset: Dim, sums: Sequence[SSAValue]
    ) -> None:
        """Apply the rest of the fusion to the rows of the tile, and store them."""
        operations = [o for o in self.op.inner if o is not self.contract]
        if not operations and self.kept:
            for position in range(len(self.op.results_inside)):
                buffer = self.e.buffers[len(self.op.operands) + position]
                self.store(sums, buffer, offset, self.row.y)
        elif height > 1 and (len(operations) > LIGHT or any(_heavy(o) for o in operations)):
            self._finish_from_buffer(height, row, batch, sums)
        else:
            for part, tile in enumerate(sums):
                for r in range(height):
                    self._finish_row(part, self.e(kernel.RowOp(tile, r)), row + r, batch)

    def _finish_from_buffer(
        self, height: int, row: Dim, batch: Batch, sums: Sequence[SSAValue]
    ) -> None:
        with self.evaluator.standing(0, None):
            buffers = [self.e(kernel.ScratchOp(height * p.lanes, self.kind)) for p in self.parts]
        for part, tile, buffer in zip(self.parts, sums, buffers, strict=True):
            self.e(
                kernel.StoreOp(tile, buffer, self.e.index(0), row_stride=self.e.index(part.lanes))
            )
        with self.e.loop(height) as loop:
            for number, (part, buffer) in enumerate(zip(self.parts, buffers, strict=True)):
                at = self.e.index(loop.variable * part.lanes)
                values = self.e(kernel.LoadOp(buffer, at, VectorType(self.kind, [part.lanes])))
                self._finish_row(number, values, row + loop.variable, batch)

    def _finish_row(self, number: int, values: SSAValue, row: Dim, batch: Batch) -> None:
        ev, e, part = self.evaluator, self.e, self.parts[number]
        shape = shape_of(self.contract.result)
        first = self.columns_at[number]
        # A symbol even where there is one panel: it stands for all lanes.
        column = e.bind(e.index(first), "column") if isinstance(first, int) else first
        index = self.index([*batch, (self.row, row), (self.columns, column)])
        self.current = values
        ev.floor = len(e.scopes) - 1  # what a row needs is loaded here, not kept across the sum
        with ev.vectorised(column, part.lanes, self.masks[number]):
            for position, value in enumerate(self.op.results_inside):
                buffer = e.buffers[len(self.op.operands) + position]
                ev.store(ev.element(value, index), buffer, element(value), linear(index, shape))
        ev.floor = 0


def _heavy(op: Operation) -> bool:
    return isinstance(op, TensorOp) and op.HEAVY
