"""What a program expects of named dims is checked before it touches memory."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from tfc.compiler import load, lower
from tfc.dialects.tfc.elementwise import AddOp
from tfc.dialects.tfc.shape import SliceOp
from tfc.dialects.tfc.types import tensor_type
from tfc.dims import symbol
from tfc.errors import RunError
from tfc.location import named
from tfc.options import Options

N, M = symbol("n"), symbol("m")


def compiled(shapes, make):
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
