"""The operations of a region once more, for its gradient, and what has to be kept for them.

    a = add x, dot(h, w)          what the gradient of a loop's body reads: y, made again from a, which is kept. Nothing
    y = tanh a                    else reads the product, and a says as much as it: x need not be read again

"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue
from xdsl.traits import is_side_effect_free

from tfc.dialects.tfc.activation import ActivationOp, SquaredDifferenceOp
from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.control import RegionOp
from tfc.dialects.tfc.differentiate import Gradient, MissingGradient, is_real, vjp
from tfc.dialects.tfc.elementwise import ElementwiseOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.nn import BiasAddOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    IdentityOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    ShapeOfOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.state import GateOp

CHEAP = (
    ElementwiseOp, ActivationOp, SquaredDifferenceOp, BiasAddOp, ConstantOp, IotaOp, BroadcastOp, ConcatOp, IdentityOp,
    PadOp, ReshapeOp, ReverseOp, ShapeOfOp, SliceOp, TransposeOp,
)  # fmt: skip
"""What costs about as much to compute again as to read."""


@dataclass
class RegionCopy:
    """The operations of a region at the end of another block, but for their effects.

    Attributes:
        values: of each value of the region the copy.
        kept: arguments that stand for what cannot be computed again, and what they stand for.
        opaque: those of them that come from a branch or loop with effects.
    """

    block: Block
    values: dict[SSAValue, SSAValue]
    made: dict[Operation, Operation] = field(default_factory=dict[Operation, Operation])
    kept: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    opaque: dict[SSAValue, Operation] = field(default_factory=dict[SSAValue, Operation])

    def take(self, source: Block) -> list[SSAValue]:
        """Copy all operations of ``source``; gives what it yields."""
        for op in source.ops:
            if isinstance(op, YieldOp):
                return [self.values.get(o, o) for o in op.operands]
            if isinstance(op, GateOp):
                self.values[op.result] = self.values[op.value]
            elif not is_side_effect_free(op):
                self._stand_in(op)
            elif any(isinstance(r.type, TensorType) for r in op.results):
                copy = op.clone(value_mapper=self.values)
                self.block.add_op(copy)
                self.values.update(zip(op.results, copy.results, strict=True))
                self.made[copy] = op
        raise AssertionError("a region ends with a yield")

    def _stand_in(self, op: Operation) -> None:
        for result in op.results:
            if isinstance(result.type, TensorType):
                argument = self.block.insert_arg(result.type, len(self.block.args))
                self.values[result] = argument
                self.kept[argument] = result
                if op.regions:
                    self.opaque[argument] = op

    def original(self, value: SSAValue) -> SSAValue:
        """What ``value`` is a copy of, or stands for."""
        if value in self.kept:
            return self.kept[value]
        assert isinstance(value, OpResult), "arguments are among what is kept"
        return self.made[value.op].results[value.index]

    def pull_back(
        self, seeds: Sequence[tuple[SSAValue, Gradient]], inputs: Sequence[SSAValue], emit: Emit
    ) -> list[Gradient]:
        """The gradients of ``inputs`` through the copies."""
        hidden = list(self.opaque)
        found = vjp(list(self.made), seeds, [*inputs, *hidden], emit)
        for argument, g in zip(hidden, found[len(inputs) :], strict=True):
            if g is not None and any(map(is_real, self.opaque[argument].operands)):
                raise MissingGradient("a branch or loop with effects inside of another one has no gradient")
        return found[: len(inputs)]

    def wanted(self, outs: Sequence[SSAValue], given: set[SSAValue], again: bool) -> list[SSAValue]:
        """What has to be kept so that ``outs`` can be computed.

        Args:
            given: arguments whose values are not there by themselves.
            again: whether all that can be computed again is.
        """
        found, readers = self._needed(outs, given, again, ())
        later = [self._later(v, readers) if v not in outs else v for v in found]
        return list(self._needed(outs, given, again, later)[0])

    def _needed(
        self, outs: Sequence[SSAValue], given: set[SSAValue], again: bool, kept: Collection[SSAValue]
    ) -> tuple[dict[SSAValue, None], dict[SSAValue, dict[Operation, None]]]:
        """What ``outs`` are computed from, ``kept`` among it, and the operations that read each value for that."""
        found: dict[SSAValue, None] = {}
        readers: dict[SSAValue, dict[Operation, None]] = {}
        seen, pending = set[SSAValue](), list(outs)[::-1]
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            if isinstance(value, BlockArgument):
                if value in given or value in self.kept:
                    found[value] = None
                continue
            assert isinstance(value, OpResult), "a value is a result or an argument"
            if value in kept or (value.op in self.made and not again and self._is_kept(value.op, given)):
                found[value] = None
                continue
            for operand in value.op.operands[::-1]:
                readers.setdefault(operand, {})[value.op] = None
                pending.append(operand)
        return found, readers

    def _later(self, value: SSAValue, readers: dict[SSAValue, dict[Operation, None]]) -> SSAValue:
        """What elementwise work makes of ``value``, where that is all that is read of it."""
        while isinstance(value, OpResult) and len(readers.get(value, ())) == 1:
            (reader,) = readers[value]
            if reader not in self.made or not isinstance(reader, ElementwiseOp) or reader.results[0].type != value.type:
                break
            value = reader.results[0]
        return value

    def _is_kept(self, op: Operation, given: set[SSAValue]) -> bool:
        if isinstance(op, RegionOp):  # one that has a gradient has further results by now
            return len(op.results) == len(self.made[op].results)
        if isinstance(op, GatherOp):
            return _comes_from(op.x, given | set(self.kept))
        return not isinstance(op, CHEAP)


def _comes_from(value: SSAValue, arguments: set[SSAValue]) -> bool:
    """Whether ``value`` depends on one of ``arguments``."""
    pending, seen = [value], set[SSAValue]()
    while pending:
        v = pending.pop()
        if v in arguments:
            return True
        if isinstance(v, OpResult) and v not in seen:
            pending += v.op.operands
        seen.add(v)
    return False
