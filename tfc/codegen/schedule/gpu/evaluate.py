"""Elements of fused tensors on a GPU, as `tfc.codegen.schedule.evaluate` computes them, by one thread.

What differs: lanes are a thread's own few elements, so a loop of its own is not vectorised; and a load whose lanes lie
side by side tells where it begins at a multiple of its size, which wide accesses need.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from xdsl.dialects.builtin import FixedBitwidthType, IntegerType, UnitAttr, VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.schedule.access import OperandAccess
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.evaluate import Evaluator
from tfc.codegen.schedule.gpu.teams import Part, Team, Values
from tfc.codegen.schedule.gpu.turned import Tile
from tfc.codegen.schedule.lanes import Index, storage
from tfc.codegen.schedule.nest import ungroup
from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dims import Dim, Expr, names, product


class ThreadEvaluator(Evaluator):
    """Emits elements of the values of a fusion as one thread of a GPU computes them."""

    def __init__(self, emitter: Emitter, buffers: dict[SSAValue, SSAValue]) -> None:
        super().__init__(emitter, buffers, 1)
        self.multiples: dict[str, int] = {}
        """Of what number the values of a symbol are multiples."""
        self.team: Team | None = None
        """The threads that share the folds of a row."""

        self.tile: Tile | None = None
        """The part of the result for which operands that are read across their rows are turned."""
        self.mine = False
        """Whether what is being computed differs between the threads of the team."""

    def width(self, extent: Dim) -> int:
        return 1

    def computed(self, value: SSAValue, index: Index) -> SSAValue:
        saved, varying = self.mine, self.team.varying if self.team is not None else ()
        self.mine = any(n in varying for d in index for n in names(d))
        made = super().computed(value, index)
        self.mine = saved
        return made

    def multiple(self, variable: Dim, of: int) -> None:
        """Note that a symbol stands for multiples of a number."""
        self.multiples[str(variable)] = of

    @contextmanager
    def taking(self, part: Part, extent: Dim, width: int) -> Generator[None]:
        """Compute elements of a part of a row of ``extent``, ``width`` of them as lanes."""
        self.multiple(part.first, width)
        self.ranged(part.first, extent)
        if width == 1:
            yield
            return
        with self.vectorised(part.first, width, None):
            yield

    def access(self, op: TensorOp) -> OperandAccess:
        return ThreadAccess(self, op)

    def load(self, buffer: SSAValue, kind: Attribute, offset: Dim, *, widen: bool = True) -> SSAValue:
        if self.tile is not None and (place := self.tile.place(buffer, storage(kind), offset)) is not None:
            buffer, offset = place
        return super().load(buffer, kind, offset, widen=widen)

    def _load(self, buffer: SSAValue, stored: Attribute, offset: Dim) -> SSAValue:
        value = super()._load(buffer, stored, offset)
        self._mark(value.owner, offset)
        return value

    def store(
        self, value: SSAValue, buffer: SSAValue, kind: Attribute, offset: Dim, *, streaming: bool = False
    ) -> None:
        super().store(value, buffer, kind, offset)
        self._mark(self.e.scopes[-1].block.last_op, offset)

    def _mark(self, op: object, offset: Dim) -> None:
        """Say so where a load or store of lanes is one access."""
        if not isinstance(op, kernel.LoadOp | kernel.StoreOp) or op.lane_stride is not None or self.lane is None:
            return
        value = op.result if isinstance(op, kernel.LoadOp) else op.value
        if isinstance(value.type, VectorType) and self._begins(offset, value.type):
            op.attributes[kernel.ALIGNED] = UnitAttr()

    def _begins(self, offset: Dim, lanes: VectorType[Attribute]) -> bool:
        """Whether an offset is a multiple of the lanes, or of as many as one access takes."""
        of = lanes.element_type
        size = max(8, of.bitwidth) // 8 if isinstance(of, FixedBitwidthType | IntegerType) else 8
        step = min(lanes.get_shape()[0], kernel.WIDEST // size)
        if isinstance(offset, int):
            return offset % step == 0
        return all(self._multiple_of(t) % step == 0 for t in offset.terms)

    def _multiple_of(self, term: tuple[Sequence[object], int]) -> int:
        atoms, known = term
        for atom in atoms:
            known *= self.multiples.get(str(Expr((((atom,), 1),))), 1)  # pyright: ignore[reportArgumentType]
        return known


class ThreadAccess(OperandAccess):
    """What an operation sees of its operands; the threads of a team share what they all need."""

    evaluator: ThreadEvaluator

    def index(self, value: SSAValue, bound: Dim) -> Dim:
        ev, result = self.evaluator, super().index(value, bound)
        if ev.mine and ev.team is not None:
            ev.team.varying |= names(result)
        return result

    def fold(
        self,
        extents: Sequence[Dim],
        start: Sequence[SSAValue],
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
        *,
        combine: Callable[[SSAValue, SSAValue], SSAValue] | None = None,
        merge: Callable[[Values, Values], Values] | None = None,
    ) -> Sequence[SSAValue]:
        ev, team, size = self.evaluator, self.evaluator.team, product(extents)
        if combine is not None:
            merge = lambda x, y: [combine(x[0], y[0])]  # noqa: E731
        together = team is not None and not ev.mine and len(ev.e.scopes) == team.depth
        if team is None or merge is None or not together or size in (0, 1):
            return super().fold(extents, start, body, combine=combine)
        width = team.width_of(size) if ev.lane is None else 1
        dims = list(range(len(extents)))

        def one(part: Part, carried: Values) -> Values:
            index = ungroup([part.first], [dims], tuple(extents))
            with ev.taking(part, size, width):
                values = [ev.splat(v) for v in body(index, carried)]
            if part.valid is None:
                return values
            valid = part.valid
            return [ev.e(kernel.SelectOp(valid, v, c)) for v, c in zip(values, carried, strict=True)]

        first = [ev.e(kernel.SplatOp(v, VectorType(v.type, [width]))) if width > 1 else ev.splat(v) for v in start]
        partial = team.walk(size, first, one)
        while width > 1:
            low, high = ([ev.e(kernel.HalfOp(v, upper)) for v in partial] for upper in (False, True))
            partial, width = merge(low, high), width // 2
        return team.combined(partial, merge)
