"""Train the models of `test/unit/training_models.py` with TensorFlow, and keep what comes out.

Also single steps of optimizers, rates, norms and averages (`training_steps.py`).

    python test/data/training.py        needs tensorflow 2; writes training.npz beside this file

The values are TensorFlow's in f64. A training in which its own losses in f32 are further than 1e-5 from those is
refused: nothing could be compared with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from training_models import MODELS, OPTIMIZERS, STEPS, build, digest, off
from training_steps import cases, flat


def train(model: str, optimizer: str, dtype: type) -> np.ndarray:
    with tf.Graph().as_default(), tf.Session() as session:
        step, loss, variables = build(tf, model, optimizer, dtype)
        session.run(tf.global_variables_initializer())
        losses = []
        for _ in range(STEPS):
            losses.append(session.run(loss))
            session.run(step)
        return digest(losses, session.run(variables))


if __name__ == "__main__":
    tf.disable_v2_behavior()
    pairs = [(m, o) for m in MODELS for o in OPTIMIZERS]
    kept = {f"{m}-{o}": train(m, o, np.float64) for m, o in pairs}
    for m, o in pairs:
        rounding = off(train(m, o, np.float32), kept[f"{m}-{o}"])
        assert rounding <= 1e-5, f"{m} with {o}: rounding alone moves a loss by {rounding:.1e}"
    for name, run in cases().items():
        with tf.Graph().as_default():
            kept[name] = flat(run(tf))
    np.savez_compressed(Path(__file__).with_name("training.npz"), **kept)
