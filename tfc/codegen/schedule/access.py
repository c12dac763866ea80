"""What an operation sees of its operands while an `Evaluator` computes one of its elements.

`TensorOp.value_at` is written against the protocol `Access`; this is the only implementation
that makes code: reads go back to the evaluator, guards become branches or masks, folds loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType, VectorType, i64
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.codegen.schedule.emit import INDEX
from tfc.codegen.schedule.lanes import Index, Lanes, compute_type
from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.types import element, is_float, is_unsigned
from tfc.dims import Dim, names
from tfc.location import describe

if TYPE_CHECKING:
    from tfc.codegen.schedule.evaluate import Evaluator


POSITIONS = 1
"""The operand that holds positions, of every operation that has such."""


class OperandAccess:
    """The operands of one operation, as `value_at` sees them; implements `Access`."""

    def __init__(self, evaluator: Evaluator, op: TensorOp) -> None:
        self.evaluator, self.op = evaluator, op

    def emit(self, op: Operation) -> SSAValue:
        return self.evaluator.e(op)

    def read(self, operand: int, index: Sequence[Dim]) -> SSAValue:
        return self.evaluator.element(self.op.operands[operand], index)

    def constant(self, value: float | int | bool, element: Attribute) -> SSAValue:
        ev = self.evaluator
        return ev.e.constant(value, ev.vector_type(compute_type(element)))

    def value(self, index: Dim, element: Attribute) -> SSAValue:
        ev = self.evaluator
        ev.opaque |= names(index)
        varies = ev.varies(index)
        raw = ev.vector_index(index) if varies else ev.e.index(index)
        with ev.standing(len(ev.e.scopes) - 1, ev.lane if varies else None):
            cast = ev.e(kernel.CastOp("index", raw, ev.vector_type(i64)))
            result = self._from_i64(cast, element)
        return ev.splat(result)

    def _from_i64(self, value: SSAValue, kind: Attribute) -> SSAValue:
        ev = self.evaluator
        target = compute_type(kind)
        wanted = ev.vector_type(target)
        if is_float(kind):
            return ev.e(kernel.CastOp("sitofp", value, wanted))
        assert isinstance(target, IntegerType), "an element is a float or an integer"
        return value if target == i64 else ev.e(kernel.CastOp("trunci", value, wanted))

    def index(self, value: SSAValue, bound: Dim) -> Dim:
        ev = self.evaluator
        uniform = isinstance(value.owner, kernel.SplatOp)
        if uniform:
            value = value.owner.value  # pyright: ignore
        lane = None if uniform else ev.lane
        with ev.standing(len(ev.e.scopes) - 1, lane):
            wide = self._as_index(value, is_unsigned(element(self.op.operands[POSITIONS])))
            limit = ev.e.index(bound)
            if lane is not None:
                limit = ev.e(kernel.SplatOp(limit, wide.type))
            inside = ev.e(kernel.CompareOp("ult", wide, limit))
            reported = inside
            if lane is not None and lane.mask is not None:
                outside = ev.e(arith.XOrIOp(lane.mask, ev.e.constant(True, lane.mask.type)))
                reported = ev.e(arith.OrIOp(inside, outside))
            where = describe(self.op.location)
            name = f"{where}: " if where else ""
            ev.e(kernel.CheckOp(reported, f"{name}'{self.op.name}': an index is out of range [0, {bound})"))
            zero = ev.e.constant(0, wide.type)
            safe = ev.e(kernel.SelectOp(inside, wide, zero))
            result = ev.e.bind(safe, "data")
        if lane is not None:
            ev.vectors[str(result)] = safe
        return result

    def _as_index(self, value: SSAValue, unsigned: bool) -> SSAValue:
        ev = self.evaluator
        scalar = value.type.element_type if isinstance(value.type, VectorType) else value.type
        if isinstance(scalar, IntegerType) and scalar.width.data < 64:
            widen = "extui" if unsigned else "extsi"
            value = ev.e(kernel.CastOp(widen, value, ev.vector_type(i64)))
        return ev.e(kernel.CastOp("index", value, ev.vector_type(INDEX)))

    def guard(
        self,
        inside: Sequence[tuple[Dim, Dim]],
        then: Callable[[], SSAValue],
        otherwise: Callable[[], SSAValue],
    ) -> SSAValue:
        ev = self.evaluator
        open_: list[tuple[Dim, Dim]] = []
        for i, n in inside:
            reach = ev.bounds(i)
            if reach is None or not isinstance(n, int):
                open_.append((i, n))
            elif reach[1] < 0 or reach[0] >= n:
                return otherwise()
            elif reach[0] < 0 or reach[1] >= n:
                open_.append((i, n))
        for i, n in open_:
            ev.opaque |= names(i) | names(n)
        uniform = [c for c in open_ if not ev.varies(c[0])]
        varying = [c for c in open_ if ev.varies(c[0])]
        if uniform:
            return self._branch(uniform, lambda: self._masked(varying, then, otherwise), otherwise)
        return self._masked(varying, then, otherwise)

    def _branch(
        self,
        inside: Sequence[tuple[Dim, Dim]],
        then: Callable[[], SSAValue],
        otherwise: Callable[[], SSAValue],
    ) -> SSAValue:
        ev = self.evaluator
        condition: SSAValue | None = None
        for i, n in inside:
            holds = ev.e.compare("ult", i, n)
            condition = holds if condition is None else ev.e(arith.AndIOp(condition, holds))
        assert condition is not None, "called with conditions"

        def side(value: Callable[[], SSAValue]) -> Callable[[], Sequence[SSAValue]]:
            def emit() -> Sequence[SSAValue]:
                saved, ev.floor = ev.floor, len(ev.e.scopes) - 1
                result = ev.splat(value())
                ev.floor = saved
                return [result]

            return emit

        return ev.e.branch(condition, side(then), side(otherwise))[0]

    def _masked(
        self,
        inside: Sequence[tuple[Dim, Dim]],
        then: Callable[[], SSAValue],
        otherwise: Callable[[], SSAValue],
    ) -> SSAValue:
        ev, lane = self.evaluator, self.evaluator.lane
        if not inside:
            return then()
        assert lane is not None, "an index varies over lanes"
        condition: SSAValue | None = None
        for i, n in inside:
            limit = ev.vector_index(n)
            holds = ev.e(kernel.CompareOp("ult", ev.vector_index(i), limit))
            condition = holds if condition is None else ev.e(arith.AndIOp(condition, holds))
        assert condition is not None, "called with conditions"
        saved, ev.floor = ev.floor, len(ev.e.scopes) - 1
        sides: list[SSAValue] = []
        for holds, value in ((condition, then), (self._negated(condition), otherwise)):
            mask = holds if lane.mask is None else ev.e(arith.AndIOp(holds, lane.mask))
            with ev.standing(len(ev.e.scopes) - 1, Lanes(lane.variable, lane.width, mask, True)):
                sides.append(ev.splat(value()))
        ev.floor = saved
        return ev.e(kernel.SelectOp(condition, *sides))

    def _negated(self, condition: SSAValue) -> SSAValue:
        true = self.evaluator.e.constant(True, condition.type)
        return self.evaluator.e(arith.XOrIOp(condition, true))

    def fold(
        self,
        extents: Sequence[Dim],
        start: Sequence[SSAValue],
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
        *,
        combine: Callable[[SSAValue, SSAValue], SSAValue] | None = None,
        merge: Callable[[Sequence[SSAValue], Sequence[SSAValue]], Sequence[SSAValue]] | None = None,
    ) -> Sequence[SSAValue]:
        ev = self.evaluator
        last = extents[-1] if extents else 1
        vector = ev.lane is None and combine is not None and len(start) == 1 and ev.width(last) > 1
        carried = list(start)
        if vector:
            assert combine is not None, "checked above"
            width = ev.width(last)
            wide = ev.e(kernel.SplatOp(carried[0], VectorType(carried[0].type, [width])))
            (partial,) = self._loops(extents[:-1], (), [wide], self._lane_loop(last, width, body))
            return [self._halved(partial, width, combine)]
        return self._loops(extents, (), carried, body)

    def _loops(
        self,
        extents: Sequence[Dim],
        index: Index,
        carried: Sequence[SSAValue],
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
    ) -> Sequence[SSAValue]:
        ev = self.evaluator
        if not extents:
            return body(index, carried)
        if extents[0] == 1:
            return self._loops(extents[1:], (*index, 0), carried, body)
        if ev.varies(extents[0]):
            return self._ragged(extents, index, carried, body)
        with ev.e.loop(extents[0], carried=carried) as loop:
            ev.ranged(loop.variable, extents[0])
            saved, ev.folds = ev.folds, (*ev.folds, str(loop.variable))
            values = self._loops(extents[1:], (*index, loop.variable), loop.carried, body)
            ev.folds = saved
            loop.carry([ev.splat(v) for v in values])
        return loop.results

    def _ragged(
        self,
        extents: Sequence[Dim],
        index: Index,
        carried: Sequence[SSAValue],
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
    ) -> Sequence[SSAValue]:
        """A loop whose extent differs from lane to lane: to the longest, the others masked."""
        ev, lane = self.evaluator, self.evaluator.lane
        assert lane is not None, "an extent varies over lanes"
        ends = ev.vector_index(extents[0])
        longest = ev.e.bind(ev.e(kernel.ReduceLanesOp("max", ends)), "longest")
        with ev.e.loop(longest, carried=carried) as loop:
            active = ev.e(kernel.CompareOp("slt", ev.vector_index(loop.variable), ends))
            mask = active if lane.mask is None else ev.e(arith.AndIOp(active, lane.mask))
            saved, ev.floor = ev.floor, len(ev.e.scopes) - 1
            with ev.standing(len(ev.e.scopes) - 1, Lanes(lane.variable, lane.width, mask, True)):
                values = self._loops(extents[1:], (*index, loop.variable), loop.carried, body)
                pairs = zip(values, loop.carried, strict=True)
                loop.carry([ev.e(kernel.SelectOp(active, ev.splat(v), c)) for v, c in pairs])
            ev.floor = saved
        return loop.results

    def _lane_loop(
        self,
        extent: Dim,
        width: int,
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
    ) -> Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]]:
        """The innermost loop of a reduction, with one partial result in each lane."""
        ev = self.evaluator

        def run(index: Sequence[Dim], carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            main = extent // width * width
            partial = carried[0]
            if not isinstance(main, int) or main > 0:
                with ev.e.loop(main, step=width, carried=[partial]) as loop:
                    ev.ranged(loop.variable, extent)
                    with ev.vectorised(loop.variable, width, None):
                        saved, ev.folds = ev.folds, (*ev.folds, str(loop.variable))
                        loop.carry([ev.splat(v) for v in body((*index, loop.variable), loop.carried)])
                        ev.folds = saved
                partial = loop.results[0]
            if isinstance(extent, int) and extent % width == 0:
                return [partial]
            variable = ev.e.bind(ev.e.index(main), "tail")
            mask = ev.e(kernel.MaskOp(ev.e.index(extent - main), width))
            with ev.vectorised(variable, width, mask):
                (value,) = body((*index, variable), [partial])
                return [ev.e(kernel.SelectOp(mask, ev.splat(value), partial))]

        return run

    def _halved(
        self, partial: SSAValue, width: int, combine: Callable[[SSAValue, SSAValue], SSAValue]
    ) -> SSAValue:
        ev = self.evaluator
        while width > 1:
            low, high = (ev.e(kernel.HalfOp(partial, upper)) for upper in (False, True))
            partial = combine(low, high)
            width //= 2
        return partial
