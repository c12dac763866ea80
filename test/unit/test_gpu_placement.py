"""Graphs whose nodes are on CPUs and on an emulated GPU: they give what they give on one CPU."""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from control_programs import random_program
from test_transfers import check_compiled, on_devices

import tfc as tf
from tfc.compiler import load, lower
from tfc.devices import Placement
from tfc.emulator.driver import Driver
from tfc.options import Options
from tfc.runtime.cuda import DeviceArray
from tfc.runtime.interpreter import interpret

pytestmark = pytest.mark.usefixtures("gpu")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def trained(variable: str, layer: str, loss: str) -> list[Any]:
    """The losses of three steps, and the variables after them."""
    tf.reset_default_graph()
    x = tf.placeholder(tf.float32, [5, 8], name="x")
    with tf.device(variable):
        v = tf.Variable(random(8, 6))
    with tf.device(layer):
        h = tf.tanh(tf.matmul(x, v))
        w = tf.Variable(random(6, 2))
    with tf.device(loss):
        loss = tf.reduce_mean(tf.square(tf.matmul(h, w)))
    step = tf.train.AdamOptimizer(0.1).minimize(loss)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    losses = [session.run([loss, step], {x: random(5, 8)})[0] for _ in range(3)]
    return [*losses, session.run(v), session.run(w)]


@pytest.mark.parametrize("devices", [("/gpu:0", "/cpu:0", "/gpu:0"), ("", "", "")])
def test_a_training_on_two_devices_is_that_on_one(gpu: Driver, devices: tuple[str, str, str]) -> None:
    """Variables on one and arithmetic on the other; or wherever costs say, with variables on the GPU."""
    expected = trained("/cpu:0", "/cpu:0", "/cpu:0")
    assert not gpu.calls.get("cuLaunchKernel")
    for got, wanted in zip(trained(*devices), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert gpu.calls["cuLaunchKernel"]


def turned(device: str) -> list[Any]:
    """A loop and a branch with nodes and a variable on ``device``, and others on the CPU."""
    tf.reset_default_graph()
    x, w = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.float32, [4])
    with tf.device(device):
        v = tf.Variable(np.ones(4, np.float32))

    def body(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.device("/cpu:0"):
            a = tf.exp(y * 0.1) + w
        with tf.device(device):
            b = tf.tanh(a) * v
        with tf.control_dependencies([v.assign_add(b)]):
            return i + 1, b + a

    i, y = tf.while_loop(lambda i, y: i < 3, body, [tf.constant(0), x])
    with tf.device(device):
        z = tf.cond(y[0] > 0, lambda: y + w, lambda: y - w)
    session = tf.Session()
    session.run(v.initializer)
    return [*session.run([i, y, z], {x: random(4), w: random(4)}), session.run(v)]


def test_loops_and_branches_go_from_device_to_device() -> None:
    for got, wanted in zip(turned("/gpu:0"), turned("/cpu:0"), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_on_two_devices_are_those_on_one(seed: int) -> None:
    check_compiled(Random(seed), ("/cpu:0", "/gpu:0"), gpu="sm_90")


@pytest.mark.parametrize("seed", [2, 5, 6])
@pytest.mark.parametrize("device", ["/cpu:1", "/gpu:0"])
def test_random_control_flow_on_two_devices(
    seed: int, device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Branches and loops in each other, with variables and rows of arrays: some are decided when they are compiled."""
    module = on_devices(Random(seed), random_program(seed), ["/cpu:0", device])
    inputs = [random(3, 4), random(4), np.array(seed % 4, np.int32)]
    left = {"u": random(3, 4), "v": random(4)}
    state, held = dict(left), {}
    expected = [v for v in interpret(module.clone(), inputs, state) if v is not None]
    gpu = "sm_90" if "gpu" in device else None
    placement = Placement(cpus=2, gpus=1 if gpu else 0)
    program = load(lower(module, Options(placement=placement, gpu=gpu, check_effects="order")))
    for k, port in enumerate(program.manifest.variables):
        held[port.name] = DeviceArray.of(left[port.name]) if port.memory else left[port.name].copy()
        program.bind_variable(k, held[port.name])
    for got, wanted in zip(program.run(inputs), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    for name, value in held.items():
        array = value.numpy() if isinstance(value, DeviceArray) else value
        np.testing.assert_allclose(array, state[name], rtol=1e-4, atol=1e-5)


def test_models_are_placed_by_costs_and_by_devices(gpu: Driver, tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [None, 6], name="x")
    with tf.device("/gpu:0"):
        h = tf.nn.relu(tf.matmul(x, tf.constant(random(6, 5))))
    with tf.device("/cpu:0"):
        y = tf.nn.softmax(tf.matmul(h, tf.constant(random(5, 3))))
    model = tf.compile(y, device="auto")
    model.save(tmp_path / "model.so")
    loaded = tf.load(tmp_path / "model.so")
    for batch in (1, 9):
        value = random(batch, 6)
        scores = np.maximum(value @ random(6, 5), 0) @ random(5, 3)
        exps = np.exp(scores - scores.max(1, keepdims=True))
        for run in (model, loaded):
            launched = gpu.calls.get("cuLaunchKernel", 0)
            np.testing.assert_allclose(run(value), exps / exps.sum(1, keepdims=True), rtol=1e-5)
            assert gpu.calls["cuLaunchKernel"] == launched + 1


def test_a_gpu_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    with tf.device("/device:GPU:1"):
        y = tf.exp(tf.constant(random(3)), name="y")
    with pytest.raises(tf.GraphError, match=r"(?s)test_gpu_placement.py:\d+ \(\w+\): error: .* cannot run on /device:GPU:1: "
                       r"there is no such device; there are .*CPU:0, .*GPU:0\n.*allow_soft_placement"):  # fmt: skip
        tf.Session().run(y)
    with caplog.at_level(logging.WARNING, "tfc.place"):
        found = tf.Session(config=tf.ConfigProto(allow_soft_placement=True)).run(y)
    np.testing.assert_allclose(found, np.exp(random(3)), rtol=1e-6)
    assert "cannot run on /device:GPU:1" in caplog.text
