"""The rule driver: what it keeps, what it cleans up, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from spoilers import GoRound
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.utils.exceptions import VerifyException

from tfc.dialects import context
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.elementwise import AddOp, CastOp, ExpOp, NegOp
from tfc.errors import InternalError
from tfc.location import describe
from tfc.modulefile import module_text, read_module
from tfc.passes.cse import Cse
from tfc.passes.effects import is_dead, is_pure, is_removable
from tfc.passes.rewriting import Emitter, Rewritten, RuleSet, apply_rules, observing, producer, rule
from tfc.passes.verifying import verify_dominance

SUM = """
func.func @main(%x : tensor<3xf32>) -> tensor<3xf32> {
  %e = tfc.exp %x {device = "a"} : tensor<3xf32> -> tensor<3xf32> loc("here")
  %n = tfc.neg %e : tensor<3xf32> -> tensor<3xf32>
  %s = tfc.add %n, %x {device = "b"} : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32> loc("there")
  func.return %s : tensor<3xf32>
}
"""


def module(text: str = SUM) -> ModuleOp:
    return read_module(text, "test.mlir", context())


def operations(root: ModuleOp) -> list[Operation]:
    function = next(op for op in root.ops if isinstance(op, FuncOp))
    return list(function.body.block.ops)


@rule
def double(op: AddOp, emit: Emitter) -> Rewritten:
    """neg(y) + x -> exp(exp(neg(y)))"""
    inner = producer(op.x, NegOp)
    return emit(ExpOp(emit(ExpOp(inner.result)))) if inner else None


def test_what_is_emitted_has_the_location_the_attributes_and_the_name() -> None:
    root = module()
    assert apply_rules(root, RuleSet([double])) == 1
    *_, first, second, _ = operations(root)
    assert [first.name, second.name] == ["tfc.exp", "tfc.exp"]
    assert describe(first.location) == describe(second.location) == "there"
    assert second.attributes["device"] == StringAttr("b")
    assert second.results[0].name_hint == "s"


@rule
def forget(op: AddOp, emit: Emitter) -> Rewritten:
    """x + y -> y"""
    return op.y


def test_what_only_the_replaced_operation_used_is_gone() -> None:
    root = module()
    apply_rules(root, RuleSet([forget]))
    assert [op.name for op in operations(root)] == ["func.return"]


@rule
def only_user(op: NegOp, emit: Emitter) -> Rewritten:
    """neg(x) -> x, where neg is the only user of x"""
    return op.x if op.x.has_one_use() else None


def test_an_operation_that_lost_a_user_is_seen_again() -> None:
    text = SUM.replace("tfc.add %n, %x", "tfc.add %n, %e").replace("return %s", "return %n")
    root = module(text)
    apply_rules(root, RuleSet([only_user, forget]))
    assert [op.name for op in operations(root)] == ["tfc.exp", "func.return"]


@rule
def change_type(op: NegOp, emit: Emitter) -> Rewritten:
    """neg(x) -> cast(x, f64), of another type"""
    from xdsl.dialects.builtin import f64

    return emit(CastOp(op.x, f64))


def test_a_value_of_another_type_replaces_nothing() -> None:
    root = module()
    before = module_text(root)
    assert apply_rules(root, RuleSet([change_type])) == 0
    assert module_text(root) == before


def test_observers_hear_of_rules_only_inside() -> None:
    heard: list[str] = []
    with observing(lambda fired, op: heard.append(f"{fired.name} {op.name}")):
        apply_rules(module(), RuleSet([forget]))
    apply_rules(module(), RuleSet([forget]))
    assert heard == ["forget tfc.add"]


def test_rules_that_undo_each_other_are_reported() -> None:
    with pytest.raises(
        InternalError, match=r"rules undo each other near there.* swap \(\d+ times\)"
    ):
        GoRound().apply(Context(), module())


def test_dominance() -> None:
    root = module()
    verify_dominance(root)
    first = operations(root)[0]
    parent = first.parent
    assert parent is not None, "it is in a function"
    first.detach()
    last = parent.last_op
    assert last is not None, "a function returns"
    parent.insert_op_before(first, last)
    with pytest.raises(
        VerifyException, match=r"'tfc\.neg': expected operand 0 to be defined before"
    ):
        verify_dominance(root)


def test_effects_of_state() -> None:
    text = """
    func.func @main(%x : tensor<2xf32>) {
      %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
      %y, %s = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
      %u = tfc.assign set %v, %x after %s : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
      %n = tfc.neg %y : tensor<2xf32> -> tensor<2xf32>
      func.return
    }"""
    variable, read, assign, neg, ret = operations(module(text))
    assert [is_pure(op) for op in (variable, read, assign, neg)] == [True, False, False, True]
    assert [is_removable(op) for op in (variable, read, assign, neg)] == [True, True, False, True]
    assert [is_dead(op) for op in (variable, read, assign, neg)] == [False, False, False, True]
    assert not is_removable(ret) or not ret.results


def test_large_constants_are_merged_by_all_their_bytes() -> None:
    x = np.arange(1000, dtype=np.float32)
    y = x.copy()
    y[1] = -1  # beside what is looked at first
    graph = Graph([])
    values = [graph(ConstantOp(a)) for a in (x, y, x.copy(), y.copy())]
    root = graph.finish(values)
    Cse().apply(Context(), root)
    first, second, ret = operations(root)
    assert [v.owner for v in ret.operands] == [first, second, first, second]
