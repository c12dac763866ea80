"""Steps of training: the loss, its gradients, and weights made better by plain gradient descent.

A workload whose result is a loss is trained by each library as its users would: a session of tfc with
variables, torch's autograd (as it is, and compiled), ``jax.value_and_grad`` under ``jit`` with weights that
are given back. A run is one step, and its result the loss before it; what is checked is the first.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from form import Array, Workload
from networks import affine, norm

RATE = 1e-3
"""Of learning: small, so that many runs stay with ordinary numbers."""


# Workloads


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def labels(seed: int, count: int, below: int) -> Array:
    return np.random.default_rng(seed).integers(0, below, count)


def train_mlp(batch: int = 128, sizes: tuple[int, ...] = (784, 512, 512, 10)) -> Workload:
    layers = list(pairwise(sizes))

    def compute(f: Any, v: dict[str, Any]) -> Any:
        h = v["x"]
        for k, (i, o) in enumerate(layers):
            h = f.matmul(h, f.weight(i, o, scale=(2 / i) ** 0.5)) + f.weight(o, scale=0.1)
            h = f.relu(h) if k < len(layers) - 1 else h
        return f.cross_entropy(h, v["labels"])

    inputs = {"x": normal(31, batch, sizes[0]), "labels": labels(32, batch, sizes[-1])}
    products = sum(i * o for i, o in layers)
    flops = 2.0 * batch * (3 * products - sizes[0] * sizes[1])  # no gradient of x
    title = f"training step of an MLP {'-'.join(map(str, sizes))}, batch {batch}"
    return Workload("train_mlp", title, compute, inputs, flops, 8.0 * products, trains=True)


def train_cnn(batch: int = 128, size: int = 28, channels: tuple[int, int] = (32, 64), width: int = 1024) -> Workload:
    """Two convolutions of 5x5 and pools, two dense layers: TensorFlow's tutorial for digits."""
    one, two = channels
    flat = two * (size // 4) ** 2

    def compute(f: Any, v: dict[str, Any]) -> Any:
        h = f.image(v["x"])
        for i, o in ((1, one), (one, two)):
            h = f.max_pool(f.relu(f.conv(h, f.filter(o, i, 5, 5, scale=(2 / (25 * i)) ** 0.5), 1, 2)), 2, 2, 0)
        h = f.flat(h, (batch, flat))
        h = f.relu(f.matmul(h, f.weight(flat, width, scale=(2 / flat) ** 0.5)) + f.weight(width, scale=0.1))
        return f.cross_entropy(f.matmul(h, f.weight(width, 10, scale=0.03)), v["labels"])

    inputs = {"x": normal(33, batch, 1, size, size), "labels": labels(34, batch, 10)}
    first, second, third = 25 * one * size**2, 25 * one * two * (size // 2) ** 2, flat * width + width * 10
    title = f"training step of a CNN, 5x5x{one}, 5x5x{two}, dense {width}, batch {batch}"
    flops = 2.0 * batch * (2 * first + 3 * (second + third))
    return Workload("train_cnn", title, compute, inputs, flops, 8.0 * flat * width, trains=True)


def train_lstm(steps: int = 64, batch: int = 32, hidden: int = 128) -> Workload:
    shape = (steps, batch, hidden)

    def compute(f: Any, v: dict[str, Any]) -> Any:
        last = f.element(f.lstm(v["x"], shape, hidden), steps - 1)
        return f.cross_entropy(f.matmul(last, f.weight(hidden, 10, scale=0.1)), v["labels"])

    inputs = {"x": normal(35, *shape), "labels": labels(36, batch, 10)}
    flops = steps * 2.0 * batch * hidden * 4 * hidden * 5
    title = f"training step of an LSTM {hidden}, {steps} steps, batch {batch}"
    return Workload("train_lstm", title, compute, inputs, flops, 64.0 * hidden**2, trains=True)


def train_gpt(layers: int = 4, width: int = 256, heads: int = 4, length: int = 128, batch: int = 4, words: int = 512) -> Workload:
    """A decoder on tokens; every token is to be told from those up to it."""
    part, rows = width // heads, batch * length
    mask = np.where(np.tril(np.ones((length, length))), 0, -1e9).astype(np.float32)

    def split(f: Any, t: Any) -> Any:
        return f.transpose(f.reshape(t, (batch, length, heads, part)), (0, 2, 1, 3))

    def compute(f: Any, v: dict[str, Any]) -> Any:
        h = f.take(f.weight(words, width, scale=0.1), v["tokens"])
        for _ in range(layers):
            q, k, value = (split(f, t) for t in f.split_last(affine(f, norm(f, h, width), width, 3 * width), 3))
            scores = f.matmul(q, f.transpose(k, (0, 1, 3, 2))) * part**-0.5 + v["mask"]
            mixed = f.transpose(f.matmul(f.softmax(scores), value), (0, 2, 1, 3))
            h = h + affine(f, f.reshape(mixed, (rows, width)), width, width)
            inner = f.gelu(affine(f, norm(f, h, width), width, 4 * width), approximate=True)
            h = h + affine(f, inner, 4 * width, width)
        return f.cross_entropy(affine(f, norm(f, h, width), width, words), v["labels"])

    inputs = {"tokens": labels(37, rows, words), "labels": labels(38, rows, words), "mask": mask}
    weights = 12 * layers * width**2 + words * width
    flops = 6.0 * rows * weights + 12.0 * layers * batch * length**2 * width
    title = f"training step of a GPT, {layers} x {width}, {batch} x {length} tokens"
    return Workload("train_gpt", title, compute, inputs, flops, 8.0 * weights, trains=True)


# Steps

Step = Callable[[], Any]


def tfc_step(workload: Workload, drawn: list[Array], threads: int) -> Step:
    """A session's run of loss and update."""
    from graph_form import GraphForm

    import tfc as tf

    with tf.Graph().as_default():
        inputs = {k: tf.placeholder(tf.as_dtype(a.dtype), a.shape) for k, a in workload.inputs.items()}
        (loss,) = GraphForm(drawn).run(workload, inputs)
        train = tf.train.GradientDescentOptimizer(RATE).minimize(loss)
        session = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads))
        session.run(tf.global_variables_initializer())
        feeds = {inputs[k]: a for k, a in workload.inputs.items()}
    return lambda: session.run([loss, train], feeds)[:1]


def torch_step(workload: Workload, drawn: list[Array], threads: int, compiled: bool = False) -> Step:
    import torch
    from torch_form import TorchForm, arguments

    torch.set_num_threads(threads)
    form = TorchForm(drawn, unroll=compiled)
    inputs = arguments(workload.inputs)
    with torch.no_grad():
        form.run(workload, inputs)
    layers = [p for layer in form.layers.values() for p in layer.parameters()]
    weights = [w.requires_grad_() for w in [w.clone() for w in form.kept]]
    form.kept = list(weights)
    trained = [*weights, *layers]
    function = torch.compile(lambda v: form.run(workload, v)) if compiled else lambda v: form.run(workload, v)

    def step() -> list[Array]:
        (loss,) = function(inputs)
        loss.backward()
        with torch.no_grad():
            for w in trained:
                if w.grad is not None:
                    w -= RATE * w.grad
                    w.grad = None
        return [loss.detach().numpy()]

    return step


def jax_step(workload: Workload, drawn: list[Array], threads: int) -> Step:
    import jax
    from jax_form import JaxForm

    form = JaxForm(drawn)
    jax.eval_shape(lambda inputs: form.run(workload, inputs), workload.inputs)
    state, inputs = [jax.device_put(form.kept)], jax.device_put(workload.inputs)

    def loss_of(weights: list[Any], inputs: dict[str, Any]) -> Any:
        form.kept = list(weights)
        return form.run(workload, inputs)[0]

    def step(weights: list[Any], inputs: dict[str, Any]) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights, inputs)
        return loss, [w - RATE * g for w, g in zip(weights, gradients, strict=True)]

    jitted = jax.jit(step, donate_argnums=0)

    def run() -> list[Array]:
        loss, state[0] = jitted(state[0], inputs)
        jax.block_until_ready(state[0])
        return [np.asarray(loss)]

    return run
