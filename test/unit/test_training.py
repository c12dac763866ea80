"""A hundred steps of small models with every optimizer: what TensorFlow makes of the same variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_models import MODELS, OPTIMIZERS, STEPS, build, digest, off

import tfc as tf

KNOWN = np.load(Path(__file__).parents[1] / "data" / "training.npz")
QUICK = {"mlp-sgd", "mlp-adam", "mlp-ftrl", "cnn-momentum", "lstm-rmsprop", "transformer-adam"}
CASES = [
    pytest.param(m, o, marks=() if f"{m}-{o}" in QUICK else pytest.mark.slow, id=f"{m}-{o}")
    for m in MODELS
    for o in OPTIMIZERS
]


def train(model, optimizer, dtype):
    tf.reset_default_graph()
    step, loss, variables = build(tf, model, optimizer, dtype)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, step])[0] for _ in range(STEPS)]
        assert session.run(tf.train.get_global_step()) == STEPS
        return digest(losses, session.run(variables))


@pytest.mark.parametrize(("model", "optimizer"), CASES)
def test_as_tensorflow_trains(model, optimizer):
    found = train(model, optimizer, np.float64)
    np.testing.assert_allclose(found, KNOWN[f"{model}-{optimizer}"], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("model", "optimizer"), CASES)
def test_single_precision_is_within_1e_5(model, optimizer):
    assert off(train(model, optimizer, np.float32), KNOWN[f"{model}-{optimizer}"]) <= 1e-5
