"""Networks that are measured: ResNet-50, BERT-base, a step of GPT-2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from form import Workload


def resnet50(
    size: int = 224, width: int = 64, blocks: Sequence[int] = (3, 4, 6, 3), batch: int = 1
) -> Workload:
    """With the batch norms in it; the stride is in the 3x3 convolution."""

    def unit(f: Any, x: Any, i: int, o: int, k: int, stride: int = 1, gain: float = 1.0) -> Any:
        w = f.filter(o, i, k, k, scale=(2 / (i * k * k)) ** 0.5)
        scale, bias, mean = (f.weight(o, scale=0.1, shift=s) for s in (gain, 0.0, 0.0))
        return f.batch_norm(f.conv(x, w, stride, k // 2), scale, bias, mean, f.variance(o))

    def compute(f: Any, v: dict[str, Any]) -> Any:
        h = f.relu(unit(f, f.image(v["x"]), 3, width, 7, 2))
        h = f.max_pool(h, 3, 2, 1)
        before = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                y = f.relu(unit(f, h, before, inner, 1))
                y = f.relu(unit(f, y, inner, inner, 3, stride))
                y = unit(f, y, inner, 4 * inner, 1, gain=0.3)
                h = unit(f, h, before, 4 * inner, 1, stride) if not block else h
                h, before = f.relu(y + h), 4 * inner
        return f.matmul(f.spatial_mean(h), f.weight(before, 1000, scale=0.02)) + f.weight(1000)

    x = np.random.default_rng(20).standard_normal((batch, 3, size, size), np.float32)
    flops, weights = _count_resnet(size, width, blocks)
    return Workload("resnet50", f"ResNet-50, batch {batch}", compute, {"x": x}, batch * flops, 4.0 * weights)


def _count_resnet(size: int, width: int, blocks: Sequence[int]) -> tuple[float, int]:
    """Floating-point operations of the convolutions, and how many weights there are."""
    flops, weights, before, side = 0.0, 0, width, size // 4

    def conv(i: int, o: int, k: int, side: int) -> None:
        nonlocal flops, weights
        flops, weights = flops + 2.0 * i * o * k * k * side * side, weights + i * o * k * k + 4 * o

    conv(3, width, 7, size // 2)
    for stage, count in enumerate(blocks):
        inner = width << stage
        for block in range(count):
            conv(before, inner, 1, side)
            side = side // 2 if stage and not block else side
            conv(inner, inner, 3, side)
            conv(inner, 4 * inner, 1, side)
            if not block:
                conv(before, 4 * inner, 1, side)
            before = 4 * inner
    return flops + 2000.0 * before, weights + 1000 * before


def bert(
    layers: int = 12, width: int = 768, heads: int = 12, length: int = 128, batch: int = 1
) -> Workload:
    """BERT-base's encoder on embeddings: post-norm layers, no mask."""
    part = width // heads

    def compute(f: Any, v: dict[str, Any]) -> Any:
        h = v["x"]
        for _ in range(layers):
            parts = f.split_last(affine(f, h, width, 3 * width), 3)
            q, k, v_ = (
                f.transpose(f.reshape(t, (batch, length, heads, part)), (0, 2, 1, 3)) for t in parts
            )
            mixed = f.transpose(f.attention(q, k, v_, part), (0, 2, 1, 3))
            mixed = f.reshape(mixed, (batch, length, width))
            h = norm(f, h + affine(f, mixed, width, width), width, 1e-12)
            inner = f.gelu(affine(f, h, width, 4 * width))
            h = norm(f, h + affine(f, inner, 4 * width, width), width, 1e-12)
        return h

    x = np.random.default_rng(21).standard_normal((batch, length, width), np.float32)
    flops = batch * layers * (24.0 * length * width**2 + 4.0 * length**2 * width)
    moved = 4.0 * layers * (12 * width**2 + 13 * width)
    title = f"BERT-base, batch {batch}, {length} tokens"
    return Workload("bert", title, compute, {"x": x}, flops, moved)


def gpt2(
    layers: int = 12, width: int = 768, heads: int = 12, past: int = 511, words: int = 50257
) -> Workload:
    """A decode step: the logits of one token, and its keys and values; ``past`` ones are given."""
    part = width // heads

    def compute(f: Any, v: dict[str, Any]) -> Any:
        embedding = f.weight(words, width, scale=0.05)
        h = f.take(embedding, v["token"]) + f.take(f.weight(1024, width, scale=0.02), v["position"])
        keys, values = [], []
        for layer in range(layers):
            t = affine(f, norm(f, h, width), width, 3 * width)
            q, k, value = (f.reshape(t, (1, heads, 1, part)) for t in f.split_last(t, 3))
            keys.append(k)
            values.append(value)
            k = f.concat([f.element(v["keys"], layer), k], 2)
            value = f.concat([f.element(v["values"], layer), value], 2)
            mixed = f.reshape(f.attention(q, k, value, part), (1, width))
            h = h + affine(f, mixed, width, width)
            inner = f.gelu(affine(f, norm(f, h, width), width, 4 * width), approximate=True)
            h = h + affine(f, inner, 4 * width, width)
        logits = f.matmul_transposed(norm(f, h, width), embedding)
        return logits, f.concat(keys, 0), f.concat(values, 0)

    random = np.random.default_rng(22)
    cache = (layers, 1, heads, past, part)
    inputs = {
        "token": np.array([words // 2]),
        "position": np.array([past]),
        "keys": random.standard_normal(cache, np.float32),
        "values": random.standard_normal(cache, np.float32),
    }
    flops = layers * (24.0 * width**2 + 4.0 * (past + 1) * width) + 2.0 * words * width
    moved = 4.0 * (12 * layers * width**2 + words * width) + 2.0 * inputs["keys"].nbytes
    title = f"GPT-2, one token, {past + 1} keys and values"
    return Workload("gpt2", title, compute, inputs, flops, moved)


def affine(f: Any, x: Any, inputs: int, outputs: int) -> Any:
    """``x . w + b``"""
    return f.matmul(x, f.weight(inputs, outputs, scale=0.03)) + f.weight(outputs, scale=0.03)


def norm(f: Any, x: Any, width: int, epsilon: float = 1e-5) -> Any:
    """Layer norm with a scale and a bias."""
    scale, bias = f.weight(width, scale=0.1, shift=1.0), f.weight(width, scale=0.1)
    return f.layer_norm(x, scale, bias, epsilon)
