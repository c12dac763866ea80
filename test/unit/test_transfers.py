"""Programs cut into one for each device: they finish, and give what the whole gives.

The operations of a device run in a thread, in the order of the text, with values of that device alone; what
others make reaches it through the pairs of ``tfc.send`` and ``tfc.recv``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
from tfc.runtime.cuda import DeviceArray

CPUS = ("/cpu:0", "/cpu:1", "/cpu:2")


def on_devices(random: Random, module: ModuleOp, devices: Sequence[str]) -> ModuleOp:
    """``module`` with operations that want random ones of ``devices``."""
    variables: dict[str, str] = {}
    for op in module.walk():
        device = random.choice(["", "", *devices])
        if isinstance(op, VariableOp):
            device = variables.setdefault(op.variable.data, device)
        if device and not isinstance(op, ReadOp | AssignOp | FuncOp | ReturnOp | ModuleOp):
            op.attributes["tfc.device"] = StringAttr(device)
    return module


def partitioned(module: ModuleOp) -> ModuleOp:
    """``module`` placed, and with transfers."""
    Place(cpus=len(CPUS)).apply(context(), module)
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



class Run:
    """A random graph with operations on random devices, and what a run gives and leaves in variables."""

    def __init__(self, random: Random, devices: Sequence[str]) -> None:
        program = Program(random)
        self.inputs = list(program.feeds.values())
        types = [tensor_type(t.shape, tf.float32.element) for t in program.feeds]
        self.state: dict[str, Any] = {}
        interpreter.interpret(program.shuffled(Request(program.graph, [], [program.init])), [], self.state)
        request = Request(program.graph, program.fetches, program.targets, list(program.feeds), types)
        self.module = on_devices(random, program.shuffled(request), devices)
        self.left = dict(self.state)
        given = interpreter.interpret(self.module.clone(), self.inputs, self.left)
        self.given = [v for v in given if v is not None]

    def check(self, given: Sequence[Any], left: dict[str, Any], **tolerance: float) -> None:
        assert left.keys() == self.left.keys()
        for got, wanted in zip([*given, *left.values()], [*self.given, *(self.left[n] for n in left)], strict=True):
            np.testing.assert_allclose(got, wanted, **tolerance)


def check(random: Random) -> None:
    run = Run(random, CPUS)
    cut, left = partitioned(run.module), dict(run.state)
    run.check(run_apart(cut, run.inputs, left), left, rtol=0)
    sent = [op for op in cut.walk() if isinstance(op, SendOp)]
    for op in sent:
        assert [type(use.operation) for use in op.result.uses] == [RecvOp]
    ways = Counter((op.value, str(device_of(use.operation))) for op in sent for use in op.result.uses)
    assert all(count == 1 for count in ways.values()), "one transfer for each value and destination"


def check_compiled(random: Random, devices: Sequence[str] = CPUS, gpu: str | None = None) -> None:
    """The same with native code, on virtual CPUs or with a GPU."""
    run = Run(random, devices)
    placement = Placement(cpus=len(CPUS), gpus=1 if gpu else 0)
    program = load(lower(run.module, Options(placement=placement, gpu=gpu)))
    left = dict(run.state)
    for k, port in enumerate(program.manifest.variables):
        left[port.name] = np.array(left[port.name])
        if port.memory:
            left[port.name] = DeviceArray.of(left[port.name])
        program.bind_variable(k, left[port.name])
    given = program.run(run.inputs)
    run.check(given, {n: np.asarray(v.numpy() if isinstance(v, DeviceArray) else v) for n, v in left.items()},
              rtol=1e-4, atol=1e-5)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_partitions_finish_and_give_what_the_whole_gives(random: Random) -> None:
    check(random)


@settings(max_examples=12, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_compiled_partitions_give_what_the_whole_gives(random: Random) -> None:
    check_compiled(random)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_three_thousand_partitions(random: Random) -> None:
    check(random)
