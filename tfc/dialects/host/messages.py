"""What a host program says: messages that are printed, and those of assertions."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr, TensorType, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    operand_def,
    prop_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect

from tfc.dialects.definition import define
from tfc.dialects.host.buffers import Buffer


class MessageOp(IRDLOperation):
    """An operation that may say something: ``texts``, and between them the values of ``data``.

    ``contents`` are the types of the values in the graph; ``summarize`` as in ``tfc.print``.
    """

    texts = prop_def(ArrayAttr[StringAttr])
    contents = prop_def(ArrayAttr[TensorType])
    summarize = prop_def(IntegerAttr.constr(i64))


@define
class PrintOp(MessageOp):
    """Write the message to the standard error stream."""

    name = "host.print"
    data = var_operand_def(Buffer)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$texts `(` $data `)` `of` $contents `shows` $summarize attr-dict `:` `(` type($data) `)`"

    def __init__(
        self, texts: ArrayAttr[StringAttr], data: Sequence[SSAValue], types: Sequence[Attribute], summarize: int
    ) -> None:
        super().__init__(operands=[data], properties=_message(texts, types, summarize))


@define
class AssertOp(MessageOp):
    """End the run with the message as its error where the byte of ``predicate`` is 0; it was made at ``place``."""

    name = "host.assert"
    predicate = operand_def(Buffer)
    data = var_operand_def(Buffer)
    place = prop_def(StringAttr)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$predicate `,` $texts `(` $data `)` `of` $contents `shows` $summarize `at` $place attr-dict "
        "`:` type($predicate) `,` `(` type($data) `)`"
    )

    def __init__(
        self,
        predicate: SSAValue,
        texts: ArrayAttr[StringAttr],
        data: Sequence[SSAValue],
        types: Sequence[Attribute],
        summarize: int,
        place: str,
    ) -> None:
        properties = {**_message(texts, types, summarize), "place": StringAttr(place)}
        super().__init__(operands=[predicate, data], properties=properties)

    @property
    def message(self) -> str:
        """The error without its values."""
        return "...".join(t.data for t in self.texts)


def _message(texts: ArrayAttr[StringAttr], types: Sequence[Attribute], summarize: int) -> dict[str, Attribute]:
    return {"texts": texts, "contents": ArrayAttr(list(types)), "summarize": IntegerAttr(summarize, i64)}
