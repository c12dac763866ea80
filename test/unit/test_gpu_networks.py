"""Networks and trainings on an emulated GPU give what they give on the CPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from training_models import MODELS, build

import tfc as tf
from tfc.dialects.tfc.types import Array
from tfc.emulator.driver import Driver

onnx = pytest.importorskip("onnx")

STEPS = ("adam", "momentum", "rmsprop", "ftrl")
LARGE = ("squeezenet", "resnet50", "densenet121", "inception_v1", "inception_v2", "zfnet512", "bvlc_alexnet")


pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("name", ["shufflenet", *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)])
def test_networks(demo: ModuleType, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    onnx.save(demo.with_weights(onnx.load(str(demo.LIGHT / f"light_{name}.onnx"))), str(path))
    reference, model = tf.compile(path), tf.compile(path, device="gpu")
    x = demo.noise(reference)
    expected = reference(x)
    assert np.ptp(expected) > 1e-4, "a network whose outputs are all equal shows nothing"
    np.testing.assert_allclose(model(x), expected, rtol=1e-3, atol=1e-6)


def trained(model: str, optimizer: str, device: str) -> list[Array]:
    """The losses of some steps in f32, and the variables afterwards."""
    with tf.Graph().as_default(), tf.device(device):
        step, loss, variables = build(tf, model, optimizer, np.float32)
        with tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as session:
            session.run(tf.global_variables_initializer())
            losses = [session.run([loss, step])[0] for _ in range(5)]
            return [np.array(losses), *session.run(variables)]


@pytest.mark.parametrize(("model", "optimizer"), list(zip(MODELS, STEPS, strict=True)))
def test_trainings(gpu: Driver, model: str, optimizer: str) -> None:
    expected, found = (trained(model, optimizer, d) for d in ("/device:CPU:0", "/device:GPU:0"))
    assert gpu.calls["cuLaunchKernel"] > 5
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
