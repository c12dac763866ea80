"""What is known of shape arithmetic without a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import Attribute, Block, SSAValue

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.elementwise import AddOp, CastOp, CompareOp, DivOp, MulOp, SelectOp, SubOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import ConcatOp, ReshapeOp, ShapeOfOp, SliceOp
from tfc.dialects.tfc.symbolic import contents
from tfc.dialects.tfc.types import UNKNOWN_DIM, element_of, tensor_type
from tfc.dims import Dim, evaluate, names, parse

F32 = element_of(np.float32)


def value(type_: Attribute) -> SSAValue:
    return Block(arg_types=[type_]).args[0]


def shape(*dims: Dim | str) -> SSAValue:
    """The shape of a tensor with these extents, as a value."""
    return ShapeOfOp(value(tensor_type([parse(d) for d in map(str, dims)], F32))).result


def constant(*numbers: int) -> SSAValue:
    return ConstantOp(np.array(numbers, np.int64)).result


def one(*numbers: int) -> SSAValue:
    return ConstantOp(np.array(numbers[0], np.int64)).result


def known(value: SSAValue) -> list[Dim] | None:
    found = contents(value)
    return None if found is None else list(found.reshape(-1))


def test_the_shape_of_a_flattened_batch() -> None:
    # reshape(x, [shape(x)[0], -1]) as exporters write it
    first = GatherOp(shape("batch", 3, 4, 4), one(0), 0).result
    target = ConcatOp([ReshapeOp(first, [1]).result, constant(-1)], 0).result
    assert known(target) == [parse("batch"), -1]


def test_arithmetic_of_extents() -> None:
    s = shape("batch", 8, "2*seq")
    assert known(MulOp(s, constant(2, 2, 2)).result) == [parse("2*batch"), 16, parse("4*seq")]
    assert known(DivOp(s, constant(1, 2, 2)).result) == [parse("batch"), 4, parse("seq")]
    assert known(SubOp(s, s).result) == [0, 0, 0]
    assert known(ReduceOp(s, "prod", [0]).result) == [parse("16*batch*seq")]
    assert known(SliceOp(s, [1], [2], [1]).result) == [8, parse("2*seq")]
    assert known(CastOp(CastOp(s, i32).result, i64).result) == [parse("batch"), 8, parse("2*seq")]


def test_a_choice_that_no_size_changes() -> None:
    # where(shape == -1, 1, shape): extents are never -1
    s = shape("batch", 8)
    is_rest = CompareOp("eq", s, constant(-1, -1)).result
    assert known(SelectOp(is_rest, constant(1, 1), s).result) == [parse("batch"), 8]
    depends = CompareOp("gt", s, constant(3, 3)).result
    assert known(SelectOp(depends, constant(1, 1), s).result) is None


def test_nothing_is_made_up_of_the_unknown() -> None:
    s = ShapeOfOp(value(tensor_type([UNKNOWN_DIM, 4], F32))).result
    assert known(SubOp(s, s).result) == [UNKNOWN_DIM, 0]
    assert known(AddOp(s, constant(1, 1)).result) == [UNKNOWN_DIM, 5]
    assert known(value(tensor_type([2], i64))) is None
    assert known(ConstantOp(np.zeros(3, np.float32)).result) is None
    assert known(ConstantOp(np.zeros(100, np.int64)).result) is None


def test_an_error_of_the_run_is_left_to_the_run() -> None:
    assert known(GatherOp(shape("batch", 8), one(2), 0).result) is None


OPS = {"add": AddOp, "sub": SubOp, "mul": MulOp}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_agrees_with_a_run(data: st.DataObject) -> None:
    """An expression over extents, evaluated, is what numpy computes from the sizes."""
    sizes = {"a": data.draw(st.integers(1, 9)), "b": data.draw(st.integers(1, 9))}
    dims: list[Dim] = [parse("a"), parse("b"), 6]
    found, symbolic = np.array([evaluate(d, sizes) for d in dims]), shape(*map(str, dims))
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(sorted(OPS)))
        numbers = data.draw(st.lists(st.integers(0, 5), min_size=3, max_size=3))
        symbolic = OPS[name](symbolic, constant(*numbers)).result
        found = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[name](found, numbers)
    result = known(symbolic)
    assert result is not None
    assert [evaluate(d, sizes) for d in result] == list(found)
    assert all(names(d) <= sizes.keys() for d in result)


@pytest.mark.parametrize("divisor", [2, 3])
def test_a_quotient_stays_exact(divisor: int) -> None:
    found = known(DivOp(shape("n"), constant(divisor)).result)
    assert found is not None
    assert [evaluate(found[0], {"n": n}) for n in range(1, 9)] == [n // divisor for n in range(1, 9)]
