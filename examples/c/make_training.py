"""Write train.o, train.h and what a training should do: data.bin, and losses.txt from Python.

A network of two layers learns to tell two spirals apart, by momentum. One run of the model is one step: it takes
the points and their classes, gives the loss, and changes the variables.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tfc as tf

POINTS, HIDDEN, STEPS = 200, 32, 60


def spirals() -> tuple[np.ndarray, np.ndarray]:
    """Points of two spirals, and which each belongs to."""
    rng = np.random.default_rng(0)
    turn = np.sqrt(rng.random(POINTS // 2)) * 6
    arm = np.stack([turn * np.cos(turn), turn * np.sin(turn)], 1) / 6
    points = np.concatenate([arm, -arm]) + rng.normal(size=(POINTS, 2)) * 0.02
    return points.astype(np.float32), np.repeat([0, 1], POINTS // 2).astype(np.int32)


def graph() -> tuple[list[tf.Tensor], list[object]]:
    """The inputs, and what a step fetches."""
    tf.set_random_seed(0)
    x = tf.placeholder(tf.float32, [POINTS, 2], name="x")
    label = tf.placeholder(tf.int32, [POINTS], name="label")
    w1 = tf.get_variable("w1", [2, HIDDEN])
    b1 = tf.get_variable("b1", [HIDDEN], initializer=tf.random_uniform_initializer(-1.0, 1.0))
    w2 = tf.get_variable("w2", [HIDDEN, 2])
    b2 = tf.get_variable("b2", [2], initializer=tf.zeros_initializer())
    logits = tf.matmul(tf.tanh(tf.matmul(x, w1) * 3.0 + b1), w2) + b2
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits)
    loss = tf.reduce_mean(each, name="loss")
    step = tf.train.MomentumOptimizer(0.3, 0.9).minimize(loss)
    return [x, label], [loss, step]


def main(folder: Path) -> None:
    points, labels = spirals()
    inputs, fetches = graph()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.compile(fetches, inputs, name="train", session=session).save(folder / "train.o")
        feeds = dict(zip(inputs, (points, labels), strict=True))
        losses = [session.run(fetches, feeds)[0] for _ in range(STEPS)]
    (folder / "data.bin").write_bytes(points.tobytes() + labels.tobytes())
    (folder / "losses.txt").write_text("".join(f"{loss:.6f}\n" for loss in losses))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
