"""Values that go from one device to another, and which device an operation runs on.

    %s = tfc.send %x {tfc.device = "/device:CPU:0"} : tensor<4xf32> -> !tfc.sent<tensor<4xf32>>
    %y = tfc.recv %s {tfc.device = "/device:GPU:0"} : !tfc.sent<tensor<4xf32>> -> tensor<4xf32>

Each of the two runs on one device, and what is sent is the only thing by which devices know of each other:
the operations of one device, in their order, are a program of their own. A token that is sent orders what one
device does after what another one did.

Source: Abadi et al., "TensorFlow: Large-scale machine learning on heterogeneous distributed systems", 2015,
section 3.2.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, StringAttr
from xdsl.ir import Attribute, Operation, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import base, irdl_attr_definition, operand_def, result_def

from tfc.devices import Device
from tfc.dialects.tfc.base import tfc_op
from tfc.dialects.tfc.state import StateOp
from tfc.dialects.tfc.types import Array, ControlType, Tensor

DEVICE = "tfc.device"
"""The attribute of an operation that names its device."""

FIRST_CPU = StringAttr(str(Device("localhost", 0, 0, "CPU", 0)))
"""Where the arguments and results of a program are."""


@irdl_attr_definition
class SentType(ParametrizedAttribute, TypeAttribute):
    """A value on its way between two devices."""

    name = "tfc.sent"
    content: Attribute


Sent = base(SentType)
Movable = Tensor | base(ControlType)


class TransferOp(StateOp):
    """One end of a transfer. It changes no value."""

    def reference(self, *args: Array) -> Array:
        return args[0]


@tfc_op
class SendOp(TransferOp):
    """Give ``value`` to another device, where one ``tfc.recv`` takes it."""

    name = "tfc.send"
    value = operand_def(Movable)
    result = result_def(Sent)
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(value)])

    def infer(self) -> Sequence[Attribute]:
        return [SentType(self.value.type)]


@tfc_op
class RecvOp(TransferOp):
    """Take what another device has sent; it is there afterwards."""

    name = "tfc.recv"
    sent = operand_def(Sent)
    result = result_def(Movable)
    assembly_format = "$sent attr-dict `:` type($sent) `->` type($result)"

    def __init__(self, sent: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(sent)])

    def infer(self) -> Sequence[Attribute]:
        assert isinstance(self.sent.type, SentType), "the declaration excludes this"
        return [self.sent.type.content]

    @property
    def is_view(self) -> bool:
        """Whether both devices share one memory: then the value is where it was."""
        source = self.sent.owner
        return isinstance(source, SendOp) and memory_of(source) == memory_of(self)


def ports(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[StringAttr]:
    """Where the arguments or results of a function are: on the first CPU unless ``tfc.device`` says it."""
    given = [a.data.get(DEVICE) for a in attributes] if attributes is not None else [None] * count
    return [d if isinstance(d, StringAttr) else FIRST_CPU for d in given]


def device_of(op: Operation) -> Device | None:
    """The device that an operation runs on; None where it has not been placed."""
    attribute = op.attributes.get(DEVICE)
    return Device.parse(attribute.data) if isinstance(attribute, StringAttr) else None


def memory_of(op: Operation) -> str:
    """The memory in which the results of ``op`` are, as `Device.memory` calls it; the host's where it is not placed."""
    device = device_of(op)
    return device.memory if device is not None else ""
