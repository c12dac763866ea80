"""Programs with variables, compiled: the same values and the same state as by the interpreter."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from tfc.compiler import load, lower
from tfc.dialects.tfc.elementwise import AddOp, MulOp, NegOp, SubOp
from tfc.dialects.tfc.shape import ReshapeOp
from tfc.dialects.tfc.state import AssignOp, GateOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import tensor_type
from tfc.options import Options
from tfc.runtime.interpreter import interpret

TYPE = tensor_type([24], f32)
NAMES = ("v", "w")


class Writer:
    """A function under construction; each access is ordered after those it conflicts with."""

    def __init__(self) -> None:
        self.block = Block(arg_types=[TYPE])
        self.values: list[SSAValue] = [self.block.args[0]]
        self.handles = {n: self.add(VariableOp(n, TYPE)).results[0] for n in NAMES}
        self.last_write: dict[str, list[SSAValue]] = {n: [] for n in NAMES}
        self.since: dict[str, list[SSAValue]] = {n: [] for n in NAMES}

    def add(self, op: Operation) -> Operation:
        self.block.add_op(op)
        return op

    def read(self, name: str) -> SSAValue:
        op = self.add(ReadOp(self.handles[name], self.last_write[name]))
        self.since[name].append(op.results[1])
        return op.results[0]

    def assign(self, name: str, value: SSAValue, kind: str) -> None:
        after = self.since[name] + self.last_write[name]
        op = self.add(AssignOp(self.handles[name], value, after, kind))
        self.last_write[name], self.since[name] = [op.results[0]], []

    def finish(self, *values: SSAValue) -> ModuleOp:
        tokens = [t for n in NAMES for t in self.last_write[n]]
        results = [*values, *tokens]
        self.block.add_op(ReturnOp(*results))
        types = [TYPE], [r.type for r in results]
        return ModuleOp([FuncOp("main", types, Region(self.block))])


def random_program(chance: random.Random) -> ModuleOp:
    w = Writer()
    for _ in range(chance.randint(3, 20)):
        name, x, y = chance.choice(NAMES), chance.choice(w.values), chance.choice(w.values)
        match chance.randrange(7):
            case 0 | 1:
                w.values.append(w.read(name))
            case 2:
                w.assign(name, x, chance.choice(["set", "set", "add", "sub"]))
            case 3:
                w.values.append(w.add(chance.choice([AddOp, SubOp])(x, y)).results[0])
            case 4:
                w.values.append(w.add(NegOp(x)).results[0])
            case 5:
                flat = w.add(ReshapeOp(x, [4, 6])).results[0]
                w.values.append(w.add(ReshapeOp(flat, [24])).results[0])
            case _:
                w.values.append(w.add(GateOp(x, w.last_write[name])).results[0])
    return w.finish(*(chance.choice(w.values) for _ in range(chance.randint(1, 3))))


def check(module: ModuleOp, runs: int = 2) -> None:
    """Run both ways, state carried from run to run."""
    reference = module.clone()
    program = load(lower(module, Options()))
    x = np.arange(24, dtype=np.float32)
    state = {n: np.full(24, k + 1, np.float32) for k, n in enumerate(NAMES)}
    places = {p.name: k for k, p in enumerate(program.manifest.variables)}
    for name, place in places.items():
        program.variable(place)[...] = state[name]
    count = len(program.manifest.outputs)
    for run in range(runs):
        wanted = interpret(reference, [x + run], state)[:count]
        for got, value in zip(program.run([x + run]), wanted, strict=True):
            np.testing.assert_array_equal(got, value)
        for name, place in places.items():
            np.testing.assert_array_equal(program.variable(place), state[name])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_random_programs(seed: int) -> None:
    check(random_program(random.Random(seed)))


def test_a_swap() -> None:
    w = Writer()
    v, u = w.read("v"), w.read("w")
    w.assign("v", u, "set")
    w.assign("w", v, "set")
    check(w.finish(v), runs=3)


def test_the_old_value_is_returned() -> None:
    w = Writer()
    old = w.read("v")
    w.assign("v", w.block.args[0], "add")
    check(w.finish(old, w.read("v")))


@pytest.mark.parametrize("kind", ["set", "add", "sub"])
def test_an_assignment_of_the_variable_itself(kind: str) -> None:
    w = Writer()
    w.assign("v", w.read("v"), kind)
    check(w.finish(w.read("v")))


def test_a_training_step_needs_no_copy() -> None:
    """v = v - 0.1*(v*x): one kernel, in place."""
    from tfc.dialects import host

    w = Writer()
    old = w.read("v")
    step = w.add(MulOp(old, w.block.args[0])).results[0]
    w.assign("v", step, "sub")
    module = w.finish()
    program = lower(module, Options()).program
    kinds = [type(op) for op in program.body.block.ops if isinstance(op, host.LaunchOp | host.CopyOp)]
    assert kinds == [host.LaunchOp]
    assert program.arena_size == 0
