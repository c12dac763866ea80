"""Programs cut into one for each device: they finish, and give what the whole gives.

The operations of a device run in a thread, in the order of the text, with values of that device alone; what
others make reaches it through the pairs of ``tfc.send`` and ``tfc.recv``.
"""

from __future__ import annotations

from collections import Counter
from queue import Queue
from random import Random
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_random_graphs import QUIET, Program
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp

import tfc as tf
from tfc.compiler import load, lower
from tfc.devices import Placement
from tfc.dialects import context
from tfc.dialects.tfc.state import AssignOp, ReadOp, VariableOp
from tfc.dialects.tfc.transfer import FIRST_CPU, RecvOp, SendOp, device_of
from tfc.dialects.tfc.types import ControlType, tensor_type
from tfc.graph.specialise import Request
from tfc.options import Options
from tfc.passes.insert_transfers import InsertTransfers
from tfc.passes.place import Place
from tfc.runtime import interpreter

DEVICES = 3


def on_devices(random: Random, module: ModuleOp) -> ModuleOp:
    """``module`` with operations that want random devices."""
    variables: dict[str, str] = {}
    for op in module.walk():
        device = random.choice(["", "", *(f"/cpu:{k}" for k in range(DEVICES))])
        if isinstance(op, VariableOp):
            device = variables.setdefault(op.variable.data, device)
        if device and not isinstance(op, ReadOp | AssignOp | FuncOp | ReturnOp | ModuleOp):
            op.attributes["tfc.device"] = StringAttr(device)
    return module


def partitioned(module: ModuleOp) -> ModuleOp:
    """``module`` placed, and with transfers."""
    Place(cpus=DEVICES).apply(context(), module)
    InsertTransfers().apply(context(), module)
    module.verify()
    return module


class Machine(Thread):
    """The operations of one device."""

    def __init__(self, ops: list[Any], values: dict[Any, Any], wires: dict[Any, Queue[Any]], variables: Any) -> None:
        super().__init__(daemon=True)
        self.ops, self.values, self.wires, self.error = ops, values, wires, None
        self.meaning = interpreter._Run(variables)

    def run(self) -> None:
        try:
            for op in self.ops:
                if isinstance(op, RecvOp):
                    self.values[op.result] = self.wires[op.sent].get(timeout=20)
                    continue
                args = [self.values[o] for o in op.operands]  # what is not of this device is not there
                if isinstance(op, SendOp):
                    self.wires[op.result].put(args[0])
                else:
                    self.values.update(zip(op.results, self.meaning.operation(op, args), strict=True))
        except BaseException as error:
            self.error = error


def run_apart(module: ModuleOp, inputs: list[Any], variables: dict[str, Any]) -> list[Any]:
    """What a module gives whose devices run at the same time, each for itself."""
    function = next(op for op in module.walk() if isinstance(op, FuncOp))
    *ops, ending = function.body.block.ops
    wires = {op.result: Queue[Any]() for op in ops if isinstance(op, SendOp)}
    devices = {str(device_of(op)) for op in ops} | {FIRST_CPU.data}
    machines = {
        d: Machine([op for op in ops if str(device_of(op)) == d], {}, wires, variables) for d in sorted(devices)
    }
    first = machines[FIRST_CPU.data]
    first.values.update(zip(function.body.block.args, inputs, strict=True))
    for machine in machines.values():
        machine.start()
    for machine in machines.values():
        machine.join(30)
        assert not machine.is_alive(), "the devices wait for each other"
        if machine.error is not None:
            raise machine.error
    return [first.values[o] for o in ending.operands if not isinstance(o.type, ControlType)]



def run_compiled(module: ModuleOp, inputs: list[Any], variables: dict[str, Any]) -> list[Any]:
    """What native code for several virtual CPUs gives."""
    program = load(lower(module, Options(placement=Placement(cpus=DEVICES))))
    for k, port in enumerate(program.manifest.variables):
        variables[port.name] = np.array(variables[port.name])
        program.bind_variable(k, variables[port.name])
    return program.run(inputs)


def check(random: Random, compiled: bool = False) -> None:
    program = Program(random)
    inputs = list(program.feeds.values())
    types = [tensor_type(t.shape, tf.float32.element) for t in program.feeds]
    state: dict[str, Any] = {}
    interpreter.interpret(program.shuffled(Request(program.graph, [], [program.init])), [], state)
    whole, apart = dict(state), dict(state)
    request = Request(program.graph, program.fetches, program.targets, list(program.feeds), types)
    module = on_devices(random, program.shuffled(request))
    wanted = interpreter.interpret(module.clone(), inputs, whole)
    wanted = [w for w in wanted if w is not None]
    if compiled:
        for got, value in zip(run_compiled(module, inputs, apart), wanted, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-5)
        for name, value in whole.items():
            np.testing.assert_allclose(apart[name], value, rtol=1e-4, atol=1e-5)
        return
    cut = partitioned(module)
    for got, value in zip(run_apart(cut, inputs, apart), wanted, strict=True):
        np.testing.assert_array_equal(got, value)
    assert whole.keys() == apart.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(apart[name], value)
    sent = [op for op in cut.walk() if isinstance(op, SendOp)]
    for op in sent:
        assert [type(use.operation) for use in op.result.uses] == [RecvOp]
    ways = Counter((op.value, str(device_of(use.operation))) for op in sent for use in op.result.uses)
    assert all(count == 1 for count in ways.values()), "one transfer for each value and destination"


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_partitions_finish_and_give_what_the_whole_gives(random: Random) -> None:
    check(random)


@settings(max_examples=12, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_compiled_partitions_give_what_the_whole_gives(random: Random) -> None:
    check(random, compiled=True)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_three_thousand_partitions(random: Random) -> None:
    check(random)
