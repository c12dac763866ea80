"""A hundred steps of small models with every optimizer: what TensorFlow makes of the same variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_models import MODELS, OPTIMIZERS, STEPS, build, digest

import tfc as tf

KNOWN = np.load(Path(__file__).parents[1] / "data" / "training.npz")
QUICK = {"mlp-sgd", "mlp-adam", "mlp-ftrl", "cnn-momentum", "lstm-rmsprop", "transformer-adam"}
CASES = [
    pytest.param(m, o, marks=() if f"{m}-{o}" in QUICK else pytest.mark.slow, id=f"{m}-{o}")
    for m in MODELS
    for o in OPTIMIZERS
]


@pytest.mark.parametrize(("model", "optimizer"), CASES)
def test_as_tensorflow_trains(model, optimizer):
    tf.reset_default_graph()
    step, loss, variables = build(tf, model, optimizer)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, step])[0] for _ in range(STEPS)]
        found = digest(losses, session.run(variables))
        assert session.run(tf.train.get_global_step()) == STEPS
    np.testing.assert_allclose(found, KNOWN[f"{model}-{optimizer}"], rtol=1e-5, atol=1e-8)
