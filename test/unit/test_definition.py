"""Definitions of operations: the same as xDSL's, but for what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import i32
from xdsl.ir import Block
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, result_def, var_operand_def

from tfc.dialects.definition import define, is_plain
from tfc.dialects.tfc.elementwise import AddOp
from tfc.dialects.tfc.types import element_of, tensor_type


class Sum(IRDLOperation):
    name = "test.sum"
    x = operand_def(i32)
    y = operand_def(i32)
    result = result_def(i32)
    assembly_format = "$x `,` $y attr-dict"


@define
class Ours(Sum):
    name = "test.ours"


@irdl_op_definition
class Theirs(Sum):
    name = "test.theirs"


@define
class Many(IRDLOperation):
    name = "test.many"
    first = operand_def(i32)
    rest = var_operand_def(i32)


def test_an_operation_is_the_same() -> None:
    x, y = Block(arg_types=[i32, i32]).args
    ours, theirs = (cls(operands=[x, y], result_types=[i32]) for cls in (Ours, Theirs))
    assert (ours.x, ours.y, ours.result) == (x, y, ours.results[0])
    assert str(ours) == str(theirs).replace("theirs", "ours")
    with pytest.raises(NotImplementedError):
        ours.x = y  # pyright: ignore
    many = Many(operands=[x, [y, x]])
    assert (many.first, tuple(many.rest)) == (x, (y, x))


def test_a_format_that_is_none_is_an_error_when_it_is_used() -> None:
    @define
    class Wrong(Sum):
        name = "test.wrong"
        assembly_format = "$x `,` $nothing"

    x, y = Block(arg_types=[i32, i32]).args
    op = Wrong(operands=[x, y], result_types=[i32])
    with pytest.raises(Exception, match="nothing"):
        str(op)


def test_what_is_made_the_short_way() -> None:
    assert is_plain(Ours, 2)
    assert not is_plain(Ours, 1)
    assert not is_plain(Many, 2)
    (x,) = Block(arg_types=[tensor_type([3], element_of(np.float32))]).args
    with pytest.raises(ValueError, match="2 operand"):
        AddOp.__new__(AddOp).construct([x])
