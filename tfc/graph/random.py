"""Random tensors, drawn anew in each run: ``tf.random_uniform``, ``tf.random_normal``, ...

The same seeds give the same numbers, on every target. A node whose graph has no seed and that is
given none gets one by chance when it is made.
"""

from __future__ import annotations

import secrets
from typing import Any

from tfc.errors import GraphError
from tfc.graph.arrays import extents_tensor
from tfc.graph.dtypes import as_dtype, float32
from tfc.graph.graph import Graph, get_default_graph, set_random_seed
from tfc.graph.math import add, multiply, subtract
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.source import here, quoted

DEFAULT_GRAPH_SEED = 87654321
"""The graph's seed where only the operation has one; TensorFlow's number."""

__all__ = [
    "get_seed", "normal", "random_normal", "random_uniform", "set_random_seed", "truncated_normal",
    "uniform",
]  # fmt: skip


def get_seed(op_seed: int | None, graph: Graph | None = None) -> tuple[int, int]:
    """The two seeds of an operation: of its graph and of its own."""
    graph = graph or get_default_graph()
    if graph.seed is not None:
        return graph.seed, graph.size if op_seed is None else op_seed
    if op_seed is not None:
        return DEFAULT_GRAPH_SEED, op_seed
    return secrets.randbits(63), secrets.randbits(63)


def _draw(type_: str, inputs: list[Tensor], name: str | None, seed: Any, **attrs: Any) -> Tensor:
    graph = get_default_graph()
    first, second = get_seed(seed, graph)
    with graph.name_scope(name or type_) as scope:
        state = f"{scope}state"
    return single(type_, inputs, scope, seed=first, seed2=second, state=state, **attrs)


def random_uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, seed: Any = None, name: Any = None
) -> Tensor:
    """Evenly distributed values in ``[minval, maxval)``; ``maxval`` is 1 for floats."""
    kind = as_dtype(dtype)
    if maxval is None:
        if kind.is_integer:
            raise quoted(GraphError("'tfc.random_uniform': integers need a maxval"), here())
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        sizes = extents_tensor(shape)
        low, high = convert(minval, kind, name="min"), convert(maxval, kind, name="max")
        if kind.is_integer:
            return _draw("RandomUniformInt", [sizes, low, high], scope, seed)
        uniform = _draw("RandomUniform", [sizes], None, seed, dtype=kind)
        return add(multiply(uniform, subtract(high, low, name="sub"), name="mul"), low, name=scope)


def random_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, seed: Any = None, name: Any = None
) -> Tensor:
    """Normally distributed values."""
    return _normal("RandomStandardNormal", "random_normal", shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, seed: Any = None, name: Any = None
) -> Tensor:
    """Normally distributed values, none further than two standard deviations from the mean."""
    return _normal("TruncatedNormal", "truncated_normal", shape, mean, stddev, dtype, seed, name)


def _normal(
    type_: str, default: str, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: Any, name: Any
) -> Tensor:
    kind = as_dtype(dtype)
    with name_scope(name, default, [shape, mean, stddev]) as scope:
        sizes = extents_tensor(shape)
        mean, stddev = convert(mean, kind, name="mean"), convert(stddev, kind, name="stddev")
        drawn = _draw(type_, [sizes], None, seed, dtype=kind)
        return add(multiply(drawn, stddev, name="mul"), mean, name=scope)


uniform, normal = random_uniform, random_normal
