"""Keep the random numbers of `test/unit/random_draws.py` as TensorFlow draws them.

    python test/data/draws.py        needs tensorflow 2; writes draws.npz beside this file
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from random_draws import STREAM_SEEDS, exact, near, streams, three_runs

if __name__ == "__main__":
    tf.disable_v2_behavior()
    kept = {}
    for name, make in (exact() | near()).items():
        with tf.Graph().as_default(), tf.Session() as session:
            kept[name] = session.run(make(tf))
    for name, make in streams().items():
        for seeds in STREAM_SEEDS:
            with tf.Graph().as_default():
                kept[f"stream-{name}-{seeds}"] = three_runs(tf, make, seeds)
    np.savez_compressed(Path(__file__).with_name("draws.npz"), **kept)
