"""The interpreter: names, variables and tokens, fusions, and what it says of wrong input."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from tfc.dialects import context
from tfc.errors import FeedError, GraphError, RunError
from tfc.runtime.interpreter import interpret

BATCH = 'tensor<?x3xf32, #tfc.dims<["batch", ""]>>'


def module(text: str) -> ModuleOp:
    parsed = Parser(context(), text).parse_module()
    parsed.verify()
    return parsed


NAMED = f"""
func.func @main(%x: {BATCH} {{tfc.name = "x"}}, %b: tensor<3xf32> {{tfc.name = "b"}})
    -> tensor<?xf32, #tfc.dims<["3*batch"]>> {{
  %w = tfc.broadcast %b to ["batch", 3] at [1] : tensor<3xf32> -> {BATCH}
  %s = tfc.add %x, %w : {BATCH}, {BATCH} -> {BATCH}
  %r = tfc.reshape %s to ["3*batch"] : {BATCH} -> tensor<?xf32, #tfc.dims<["3*batch"]>>
  func.return %r : tensor<?xf32, #tfc.dims<["3*batch"]>>
}}
"""


@pytest.mark.parametrize("batch", [1, 4])
def test_named_dims_take_the_sizes_of_the_inputs(batch: int) -> None:
    x, b = np.ones((batch, 3), np.float32), np.array([1, 2, 3], np.float32)
    program = module(NAMED)
    shown = str(program)
    (found,) = interpret(program, {"b": b, "x": x})
    np.testing.assert_array_equal(found, (x + b).reshape(-1))
    assert str(program) == shown, "the module is left as it was"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"x": np.ones((2, 3), np.float32)}, "values for b"),
        ({"x": np.ones((2, 4), np.float32), "b": np.ones(3, np.float32)}, "for 'x', got float32 of shape"),
        ({"x": np.ones((2, 3)), "b": np.ones(3, np.float32)}, "for 'x', got float64 of shape"),
    ],
)
def test_a_wrong_input_is_named(inputs: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(FeedError, match=words):
        interpret(module(NAMED), inputs)


def test_one_name_has_one_size() -> None:
    text = f"""func.func @main(%x: {BATCH}, %y: {BATCH}) -> {BATCH} {{
      %s = tfc.add %x, %y : {BATCH}, {BATCH} -> {BATCH}
      func.return %s : {BATCH}
    }}"""
    with pytest.raises(FeedError, match="expected batch"):
        interpret(module(text), [np.ones((2, 3), np.float32), np.ones((5, 3), np.float32)])


COUNTER = """
func.func @main(%d: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %h = tfc.variable "w" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %old, %r = tfc.read %h : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %a = tfc.assign KIND %h, %d after %r : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
  %new, %s = tfc.read %h after %a : !tfc.resource<tensor<2xf32>>, !tfc.control -> tensor<2xf32>, !tfc.control
  func.return %old, %new : tensor<2xf32>, tensor<2xf32>
}
"""


@pytest.mark.parametrize(("kind", "result"), [("set", [1, 2]), ("add", [11, 22]), ("sub", [9, 18])])
def test_variables_keep_what_is_assigned(kind: str, result: list[float]) -> None:
    variables = {"w": np.array([10, 20], np.float32)}
    step = np.array([1, 2], np.float32)
    old, new = interpret(module(COUNTER.replace("KIND", kind)), [step], variables)
    np.testing.assert_array_equal(old, [10, 20])
    np.testing.assert_array_equal(new, result)
    np.testing.assert_array_equal(variables["w"], result)


def test_variables_begin_as_zeros() -> None:
    old, new = interpret(module(COUNTER.replace("KIND", "sub")), [np.array([1, 2], np.float32)])
    np.testing.assert_array_equal(old, [0, 0])
    np.testing.assert_array_equal(new, [-1, -2])


def test_a_fusion_is_its_region() -> None:
    text = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = tfc.fusion "nest"(%x) : (tensor<4xf32>) -> tensor<4xf32> {
      ^bb0(%a: tensor<4xf32>):
        %b = tfc.add %a, %a : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
        tfc.yield %b : tensor<4xf32>
      }
      func.return %y : tensor<4xf32>
    }"""
    (found,) = interpret(module(text), [np.arange(4, dtype=np.float32)])
    np.testing.assert_array_equal(found, [0, 2, 4, 6])


def test_an_index_outside_is_reported() -> None:
    text = """func.func @main(%x: tensor<4xf32>, %i: tensor<2xi64>) -> tensor<2xf32> {
      %y = tfc.gather %x at %i along 0 batch 0 : tensor<4xf32>, tensor<2xi64> -> tensor<2xf32>
      func.return %y : tensor<2xf32>
    }"""
    with pytest.raises(RunError, match=r"an index is out of range \[0, 4\)"):
        interpret(module(text), [np.zeros(4, np.float32), np.array([0, -1])])


def test_there_must_be_a_main() -> None:
    text = "func.func @f() { func.return } func.func @g() { func.return }"
    with pytest.raises(GraphError, match="@main"):
        interpret(module(text), [])
