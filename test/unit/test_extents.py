"""What a program expects of named dims is checked before it touches memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from tfc.compiler import load, lower
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import AddOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.shape import SliceOp
from tfc.dialects.tfc.types import tensor_type
from tfc.dims import Dim, symbol
from tfc.errors import RunError
from tfc.location import named
from tfc.options import Options
from tfc.runtime.program import Program

N, M = symbol("n"), symbol("m")


def compiled(shapes: Sequence[Sequence[Dim]], make: Callable[..., TensorOp]) -> Program:
    types = [tensor_type(s, f32) for s in shapes]
    block = Block(arg_types=types)
    op = make(*block.args)
    op.location = named("node")
    block.add_ops([op, ReturnOp(op.results[0])])
    function = FuncOp("main", (types, [op.results[0].type]), Region(block))
    return load(lower(ModuleOp([function]), Options()))


def test_extents_that_must_be_equal() -> None:
    program = compiled([[N, 4], [M, 4]], AddOp)
    for n, m in ((3, 1), (1, 3), (2, 1000)):
        with pytest.raises(RunError, match="expected equal extents, n and m") as caught:
            program.run([np.ones((n, 4), np.float32), np.ones((m, 4), np.float32)])
        assert caught.value.where == "node"
    (y,) = program.run([np.ones((3, 4), np.float32)] * 2)
    assert y.tolist() == np.full((3, 4), 2).tolist()


def test_a_slice_that_must_lie_inside() -> None:
    program = compiled([[N]], lambda x: SliceOp(x, [5], [3], [1]))
    with pytest.raises(RunError, match="expected an end 8 of at most n"):
        program.run([np.ones(7, np.float32)])
    assert program.run([np.arange(8, dtype=np.float32)])[0].tolist() == [5, 6, 7]


def test_an_extent_below_zero() -> None:
    program = compiled([[N]], lambda x: SliceOp(x, [3], [N - 3], [1]))
    for n in (1, 2):
        with pytest.raises(RunError, match="expected an extent n-3 of at least 0"):
            program.run([np.ones(n, np.float32)])
    assert program.run([np.ones(3, np.float32)])[0].shape == (0,)
    assert program.run([np.ones(5, np.float32)])[0].shape == (2,)


@pytest.mark.parametrize("rows", [5, 300_000])
def test_a_gather_from_nothing_reads_nothing(rows: int) -> None:
    """Any index is out of range, and so is the 0 that takes its place."""

    def make(x: SSAValue) -> GatherOp:
        block = x.owner
        assert isinstance(block, Block)
        cut = SliceOp(x, [2, 0], [N - 2, rows], [1, 1])
        where = ConstantOp(np.arange(37) % 2)
        block.add_ops([cut, where])
        return GatherOp(cut, where, 0)

    program = compiled([[N, rows]], make)
    with pytest.raises(RunError, match=r"an index is out of range \[0, n-2\)"):
        program.run([np.ones((2, rows), np.float32)])
    x = np.arange(4 * rows, dtype=np.float32).reshape(4, rows)
    np.testing.assert_array_equal(program.run([x])[0], x[2:][np.arange(37) % 2])


def test_a_sum_over_nothing_is_zero() -> None:
    """Also where it is a contraction with a constant that has no element."""

    def make(x: SSAValue) -> DotOp:
        block = x.owner
        assert isinstance(block, Block)
        w = ConstantOp(np.zeros((0, 64), np.float32))
        block.add_op(w)
        return DotOp(x, w, [], [], [1], [0])

    (y,) = compiled([[7, 0]], make).run([np.ones((7, 0), np.float32)])
    np.testing.assert_array_equal(y, np.zeros((7, 64)))
