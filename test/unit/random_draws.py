"""Random tensors in words that TensorFlow 1 and tfc both understand; ``tf`` is the one or the other.

`test/data/draws.py` keeps what TensorFlow draws, `test_random.py` compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SEEDS = ([1, 2], [-5, 2**40 + 3], [0, 0])
FLOATS, INTEGERS = ("float16", "float32", "float64"), ("int32", "int64")


def exact() -> dict[str, Any]:
    """What both draw bit for bit."""
    cases: dict[str, Any] = {}
    for seed in SEEDS:
        for name in FLOATS:
            cases[f"uniform-{name}-{seed}"] = lambda tf, s=seed, n=name: (
                stateless(tf).stateless_uniform([7, 3], seed_of(tf, s), dtype=getattr(tf, n))
            )
        for name in INTEGERS:
            cases[f"range-{name}-{seed}"] = lambda tf, s=seed, n=name: (
                stateless(tf).stateless_uniform([7, 3], seed_of(tf, s), -10, 1000, getattr(tf, n))
            )
        for name in (*INTEGERS, "uint32", "uint64"):
            cases[f"all-{name}-{seed}"] = lambda tf, s=seed, n=name: (
                stateless(tf).stateless_uniform([5], seed_of(tf, s), None, None, getattr(tf, n))
            )
    cases["between"] = lambda tf: stateless(tf).stateless_uniform([5], [3, 4], -2.0, 5.0)
    return cases


def near() -> dict[str, Any]:
    """What goes through logarithm, sine and cosine."""
    cases: dict[str, Any] = {}
    for seed in SEEDS:
        for name in FLOATS:
            for kind in ("normal", "truncated_normal"):
                cases[f"{kind}-{name}-{seed}"] = lambda tf, s=seed, n=name, k=kind: (
                    getattr(stateless(tf), f"stateless_{k}")([7, 9], seed_of(tf, s), dtype=getattr(tf, n))
                )
    return cases


def streams() -> dict[str, Any]:
    """Nodes that go on from run to run."""
    return {
        "uniform": lambda tf, s: tf.random_uniform([5], seed=s),
        "int32": lambda tf, s: tf.random_uniform([5], 0, 100, dtype=tf.int32, seed=s),
        "int64": lambda tf, s: tf.random_uniform([5], 0, 100, dtype=tf.int64, seed=s),
        "normal": lambda tf, s: tf.random_normal([5], seed=s),
        "truncated": lambda tf, s: tf.truncated_normal([5], seed=s),
    }


STREAM_SEEDS = ((5, 7), (None, 7), (0, 0))
"""Of the graph, and of the node."""


def stateless(tf: Any) -> Any:
    return tf.random


def seed_of(tf: Any, seed: list[int]) -> Any:
    return tf.constant(seed, tf.int64)


def three_runs(tf: Any, make: Any, seeds: Any) -> Any:
    """What a stream gives in three runs of one session."""
    tf.set_random_seed(seeds[0])
    drawn, session = make(tf, seeds[1]), tf.Session()
    return np.stack([session.run(drawn) for _ in range(3)])
