"""What is measured: kernels, small graphs and networks, by the name that the command takes.

Inputs and weights are seeded random numbers: no downloads. Every definition takes its sizes, so
that tests run the same lines on small ones.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from form import Array, Workload
from networks import bert, gpt2, resnet50
from training import train_cnn, train_gpt, train_lstm, train_mlp


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def matmul(n: int) -> Workload:
    """Both operands are inputs."""
    inputs = {"x": normal(1, n, n), "y": normal(2, n, n)}
    return Workload(
        f"matmul{n}", f"matmul {n}, both variable", lambda f, v: f.matmul(v["x"], v["y"]),
        inputs, 2.0 * n**3, 12.0 * n * n,
    )  # fmt: skip


def dense(rows: int, n: int) -> Workload:
    """A constant right-hand side."""
    inputs = {"x": normal(3, rows, n)}
    return Workload(
        f"dense{rows}", f"matmul [{rows}, {n}] by constant [{n}, {n}]",
        lambda f, v: f.matmul(v["x"], f.weight(n, n)),
        inputs, 2.0 * rows * n * n, 4.0 * (2 * rows * n + n * n),
    )  # fmt: skip


def mlp(batch: int, sizes: tuple[int, ...] = (784, 100, 100, 10)) -> Workload:
    """ReLU between the layers, cross-entropy at the end."""
    labels = np.random.default_rng(4).integers(0, sizes[-1], batch)
    inputs = {"x": normal(5, batch, sizes[0]), "labels": labels}
    layers = list(pairwise(sizes))

    def compute(f: Any, v: dict[str, Any]) -> Any:
        h = v["x"]
        for k, (i, o) in enumerate(layers):
            h = f.matmul(h, f.weight(i, o, scale=(2 / i) ** 0.5)) + f.weight(o, scale=0.1)
            h = f.relu(h) if k < len(layers) - 1 else h
        return f.cross_entropy(h, v["labels"])

    weights = sum(i * o + o for i, o in layers)
    flops = 2.0 * batch * sum(i * o for i, o in layers)
    title = f"MLP {'-'.join(map(str, sizes))}, batch {batch}, cross-entropy"
    return Workload("mlp", title, compute, inputs, flops, 4.0 * weights + inputs["x"].nbytes)


def fusion(rows: int, columns: int) -> Workload:
    """What costs is how often memory is walked, and three transcendental functions an element."""
    inputs = {"x": normal(6, rows, columns)}
    inputs |= {name: normal(7 + k, columns) for k, name in enumerate("abc")}

    def compute(f: Any, v: dict[str, Any]) -> Any:
        x = v["x"]
        y = f.gelu(x * v["a"] + v["b"]) * f.sigmoid(x) + f.tanh(x - v["c"])
        return f.mean_last(y)

    size = rows * columns
    title = f"gelu * sigmoid + tanh, row mean, {rows}x{columns}"
    return Workload("fusion", title, compute, inputs, 70.0 * size, 4.0 * size)


def softmax(rows: int, columns: int) -> Workload:
    size = rows * columns
    inputs = {"x": normal(10, rows, columns)}
    return Workload(
        "softmax", f"softmax [{rows}, {columns}]", lambda f, v: f.softmax(v["x"]),
        inputs, 25.0 * size, 8.0 * size,
    )  # fmt: skip


def layer_norm(rows: int, columns: int) -> Workload:
    size = rows * columns
    inputs = {"x": normal(11, rows, columns), "s": normal(12, columns), "b": normal(13, columns)}
    return Workload(
        "layernorm", f"layer norm [{rows}, {columns}]",
        lambda f, v: f.layer_norm(v["x"], v["s"], v["b"], 1e-5),
        inputs, 8.0 * size, 8.0 * size,
    )  # fmt: skip


def lstm(steps: int, batch: int, hidden: int) -> Workload:
    """All hidden states of one layer."""
    shape = (steps, batch, hidden)
    inputs = {"x": normal(14, *shape)}
    flops = steps * 2.0 * batch * 2 * hidden * 4 * hidden
    moved = 4.0 * (2 * steps * batch * hidden + 8 * hidden * hidden)
    title = f"LSTM {hidden}, {steps} steps, batch {batch}"
    return Workload("lstm", title, lambda f, v: f.lstm(v["x"], shape, hidden), inputs, flops, moved)


def attention(length: int, heads: int = 12, part: int = 64) -> Workload:
    """Of every token to all, from queries, keys and values."""
    inputs = {name: normal(18 + k, 1, heads, length, part) for k, name in enumerate("qkv")}
    return Workload(
        f"attention{length}", f"attention of {length} tokens, {heads} heads of {part}",
        lambda f, v: f.attention(v["q"], v["k"], v["v"], part),
        inputs, 4.0 * heads * length**2 * part, 16.0 * heads * length * part,
    )  # fmt: skip


def tiny(n: int) -> Workload:
    """The cost of a call."""
    inputs = {"x": normal(15, n), "w": normal(16, n), "b": normal(17, n)}
    return Workload(
        "tiny", f"relu(x * w + b) of {n} elements",
        lambda f, v: f.relu(v["x"] * v["w"] + v["b"]), inputs, 3.0 * n, 16.0 * n,
    )  # fmt: skip


TABLE: dict[str, Callable[[], Workload]] = {
    "matmul1024": lambda: matmul(1024),
    "mlp": lambda: mlp(256),
    "fusion": lambda: fusion(2048, 2048),
    "softmax": lambda: softmax(4096, 1024),
    "layernorm": lambda: layer_norm(4096, 768),
    "resnet50": resnet50,
    "bert": bert,
    "gpt2": gpt2,
    "lstm": lambda: lstm(64, 32, 128),
    "tiny": lambda: tiny(16),
    "train_mlp": train_mlp,
    "train_cnn": train_cnn,
    "train_lstm": train_lstm,
    "train_gpt": train_gpt,
}
"""What runs if the command names none."""

WORKLOADS: dict[str, Callable[[], Workload]] = TABLE | {
    "matmul256": lambda: matmul(256),
    "matmul512": lambda: matmul(512),
    "matmul2048": lambda: matmul(2048),
    "attention512": lambda: attention(512),
    "attention2048": lambda: attention(2048),
    "dense1": lambda: dense(1, 2048),
    "dense128": lambda: dense(128, 1024),
    **{f"dense{n}": lambda n=n: dense(n, n) for n in (256, 512, 1024, 2048)},
}
"""All."""
