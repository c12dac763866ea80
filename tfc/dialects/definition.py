"""Definitions of operations that cost little: xDSL's, but for three things.

* The assembly format is read when an operation is first printed or parsed: reading those of all
  operations takes longer than compiling a small model.
* Operands and results of a fixed number are one look-up in a tuple, as the rules of all passes ask for them.
* Where they all are, an operation is made without counting its arguments against the definition (`is_plain`).

    @define
    class ThreadOp(IRDLOperation): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar, cast

from xdsl.ir import Operation, SSAValue
from xdsl.irdl import IRDLOperation, OpDef, irdl_op_definition
from xdsl.irdl.declarative_assembly_format import FormatProgram
from xdsl.irdl.operations import VariadicDef
from xdsl.parser import Parser
from xdsl.printer import Printer

_Op = TypeVar("_Op", bound=IRDLOperation)


def define(cls: type[_Op]) -> type[_Op]:
    """What `irdl_op_definition` does. An assembly format that is none is an error when it is first used."""
    text, cls.assembly_format = cls.assembly_format, None
    irdl_op_definition(cls)
    definition = cls.get_irdl_definition()
    if text is not None:
        cls.assembly_format = definition.assembly_format = text
        _print_by(cls, text, definition)
    for values, named in (("_operands", definition.operands), ("results", definition.results)):
        if not _variadic(named):
            for k, (name, _) in enumerate(named):
                setattr(cls, name, _Value(values, k))
    return cls


@cache
def is_plain(cls: type[IRDLOperation], operands: int) -> bool:
    """Whether an operation has this number of operands, and nothing else whose number is open."""
    definition = cls.get_irdl_definition()
    open_ = (definition.operands, definition.results)
    others = (definition.options, definition.regions, definition.successors)
    return len(definition.operands) == operands and not any(map(_variadic, open_)) and not any(others)


def _variadic(named: Sequence[tuple[str, Any]]) -> bool:
    return any(isinstance(what, VariadicDef) for _, what in named)


class _Value:
    """An operand or result by its position."""

    def __init__(self, values: str, position: int) -> None:
        self._values, self._position = values, position

    def __get__(self, op: Operation | None, cls: Any = None) -> SSAValue | _Value:
        return self if op is None else getattr(op, self._values)[self._position]

    def __set__(self, op: Operation, value: Any) -> None:
        raise NotImplementedError("operands and results are not written by name")


def _print_by(cls: type[_Op], text: str, definition: OpDef) -> None:
    @cache
    def program() -> FormatProgram:
        return FormatProgram.from_str(text, definition)

    def parse(cls: type[_Op], parser: Parser) -> _Op:
        return program().parse(parser, cls)

    def show(self: _Op, printer: Printer) -> None:
        program().print(printer, self)

    cls.parse = cast("Any", classmethod(parse))
    cls.print = cast("Any", show)
