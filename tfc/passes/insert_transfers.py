"""Bring values to the devices that use them, each once.

    %y = tfc.exp %x {CPU:0}              %y = tfc.exp %x {CPU:0}
    %a = tfc.neg %y {CPU:1}       ->     %s = tfc.send %y {CPU:0}      %r = tfc.recv %s {CPU:1}
    %b = tfc.abs %y {CPU:1}              %a = tfc.neg %r {CPU:1}       %b = tfc.abs %r {CPU:1}

However many operations of a device use a value, there is one pair for it. What costs no more to make than to
bring (constants, indices, broadcasts and views of what is there) is made again on the device. Tokens are
brought like values: so an operation comes after the effects of another device that it waits for. The arguments
and results of a function are on the first CPU; those of a branch or loop are where the operation is, but what a
region takes and does not change stays where it was made. Variables are never brought, only their values.

With ``lossy``, or where the operation that makes a value says ``tfc.lossy``, an f32 is cut to its upper 16 bits
before it is sent, and zeros are put in place of the others where it arrives: sign and exponent stay, of the
mantissa's 23 bits 7 do, so a value loses less than 2 to the -7 of itself. (A NaN that only has lower bits set,
as no operation makes it, becomes an infinity.)

The order of the text is an order of all operations in which each send comes before its recv, so devices that run
theirs in that order never wait for each other in a circle.

Runs after the layout is known, so that nothing is folded or moved through a transfer, and before fusion, which
does not cross one.

Source: Abadi et al., "TensorFlow: Large-scale machine learning on heterogeneous distributed systems", 2015,
sections 3.2.2 and 5.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from tfc.dialects.tfc.arithmetic import ShiftLeftOp, ShiftRightOp
from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.constant import ConstantOp, IotaOp, splat_like
from tfc.dialects.tfc.control import IfOp, RegionOp, WhileOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.select import BitcastOp, CastOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp
from tfc.dialects.tfc.transfer import DEVICE, FIRST_CPU, RecvOp, SendOp, ports
from tfc.dialects.tfc.types import element, element_of
from tfc.passes.effects import is_dead
from tfc.passes.rewriting import erase_dead

_U16, _U32 = element_of(np.uint16), element_of(np.uint32)

LOSSY = "tfc.lossy"
"""The attribute of an operation whose results may lose bits on their way."""

REMADE = (ConstantOp, IotaOp, BroadcastOp, ReshapeOp)
"""Operations that are repeated on a device, on what is brought there."""


@dataclass(frozen=True)
class InsertTransfers(ModulePass):
    """Let every operation use values of its own device.

    Attributes:
        lossy: send the upper 16 bits of f32 values.
    """

    name = "insert-transfers"
    EXACT: ClassVar[bool] = False
    lossy: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, FuncOp) and function.body.blocks:
                partition = _Partition.of(function, self.lossy)
                devices = {o.attributes[DEVICE] for o in function.walk() if DEVICE in o.attributes}
                if devices | {*partition.results, *partition.places.values()} != {FIRST_CPU}:
                    partition.block(function.body.block)


@dataclass
class _Partition:
    """Where the values of a function are, and which have been brought elsewhere."""

    lossy: bool
    places: dict[SSAValue, StringAttr]
    results: Sequence[StringAttr]
    """Where the function's results go."""
    brought: dict[tuple[SSAValue, StringAttr], SSAValue] = field(
        default_factory=dict[tuple[SSAValue, StringAttr], SSAValue]
    )

    @classmethod
    def of(cls, function: FuncOp, lossy: bool) -> _Partition:
        places: dict[SSAValue, StringAttr] = {}
        places.update(zip(function.args, ports(function.arg_attrs, len(function.args)), strict=True))
        return cls(lossy, places, ports(function.res_attrs, len(function.function_type.outputs)))

    def block(self, block: Block) -> None:
        for op in list(block.ops):
            for index, place in self.wanted(op):
                value = op.operands[index]
                if (there := self.places.get(value)) is not None and there != place:
                    op.operands[index] = self.bring(value, there, place, op)
            device = op.attributes.get(DEVICE)
            if isinstance(device, StringAttr):
                self.places.update(dict.fromkeys(op.results, device))
            if isinstance(op, RegionOp):
                self.regions(op)
        for op in reversed(list(block.ops)):
            if isinstance(op, REMADE) and op.parent is not None and is_dead(op):
                erase_dead(op)

    def wanted(self, op: Operation) -> Iterator[tuple[int, StringAttr]]:
        """The operands of ``op`` that have to be on a certain device."""
        device = op.attributes.get(DEVICE)
        if isinstance(op, ReturnOp):
            yield from ((k, d) for k, d in enumerate(self.results) if isinstance(op.operands[k].type, TensorType))
        elif isinstance(op, YieldOp) and isinstance(outer := op.parent_op(), RegionOp):
            device = outer.attributes.get(DEVICE)
        if not isinstance(device, StringAttr) or isinstance(op, RecvOp) or self.is_condition(op):
            return
        last = len(op.carried) if isinstance(op, WhileOp) else 0 if isinstance(op, IfOp) else len(op.operands)
        for index, value in enumerate(op.operands[:last]):
            if isinstance(value.type, TensorType) or not isinstance(op, YieldOp):
                yield index, device

    def is_condition(self, op: Operation) -> bool:
        """Whether ``op`` ends the condition of a loop, which the host looks at wherever it is."""
        loop = op.parent_op()
        return isinstance(op, YieldOp) and isinstance(loop, WhileOp) and op.parent is loop.condition.block

    def regions(self, op: RegionOp) -> None:
        taken = op.inputs if isinstance(op, IfOp) else op.operands
        for region in op.regions:
            for argument, value in zip(region.block.args, taken, strict=True):
                if value in self.places:
                    self.places[argument] = self.places[value]
            self.block(region.block)

    def bring(self, value: SSAValue, there: StringAttr, place: StringAttr, user: Operation) -> SSAValue:
        """``value``, which is ``there``, on the device ``place``."""
        if (known := self.brought.get((value, place))) is None:
            known = self.brought[value, place] = self.made(value, there, place, user)
            self.places[known] = place
            known.name_hint = value.name_hint
        return known

    def made(self, value: SSAValue, there: StringAttr, place: StringAttr, user: Operation) -> SSAValue:
        owner = value.owner
        if isinstance(owner, REMADE):
            operands = {o: self.bring(o, there, place, user) for o in owner.operands}
            copy = owner.clone(value_mapper=operands)
            copy.attributes[DEVICE] = place
            copy.location = owner.location
            _insert([copy], owner)
            return copy.results[0]
        made: list[Operation] = []

        def emit(op: Operation) -> SSAValue:
            made.append(op)
            return op.results[0]

        cuts = isinstance(value.type, TensorType) and element(value) == f32 and (self.lossy or _is_lossy(owner))
        sent = emit(SendOp(_cut(emit, value) if cuts else value))
        here = len(made)
        received = emit(RecvOp(sent))
        if cuts:
            received = _filled(emit, received)
        for k, op in enumerate(made):
            op.attributes[DEVICE] = there if k < here else place
            op.location = owner.location if isinstance(owner, Operation) else user.location
        _insert(made, owner)
        return received


def _is_lossy(owner: Operation | Block) -> bool:
    return isinstance(owner, Operation) and LOSSY in owner.attributes


def _cut(emit: Emit, x: SSAValue) -> SSAValue:
    """The upper 16 bits of each f32."""
    bits = emit(BitcastOp(x, _U32))
    return emit(CastOp(emit(ShiftRightOp(bits, splat_like(emit, bits, 16))), _U16))


def _filled(emit: Emit, x: SSAValue) -> SSAValue:
    """The f32 of 16 bits and 16 zeros."""
    bits = emit(CastOp(x, _U32))
    return emit(BitcastOp(emit(ShiftLeftOp(bits, splat_like(emit, bits, 16))), f32))


def _insert(ops: Sequence[Operation], owner: Operation | Block) -> None:
    """Put ``ops`` behind what gives the value they take: an operation, or a block as an argument."""
    point = InsertPoint.after(owner) if isinstance(owner, Operation) else InsertPoint.at_start(owner)
    Rewriter.insert_op(ops, point)
