"""Random tensors, drawn anew in each run: ``tf.random_uniform``, ``tf.random_normal``, ...

The same seeds give the same numbers, on every target and with any number of threads. A node whose graph has
no seed and that is given none gets one by chance when it is made. ``tf.random.stateless_uniform`` and its
like are functions of a seed, which may be a tensor.
"""

from __future__ import annotations

import secrets
from typing import Any

from tfc.errors import GraphError
from tfc.graph.arrays import expand_dims, extents_tensor, gather, stack
from tfc.graph.arrays import shape as shape_of
from tfc.graph.dtypes import as_dtype, float32, int32, int64
from tfc.graph.graph import Graph, get_default_graph, set_random_seed
from tfc.graph.math import (
    add,
    cast,
    cumsum,
    exp,
    less_equal,
    minimum,
    multiply,
    reduce_max,
    reduce_sum,
    subtract,
)
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.sort import argsort
from tfc.graph.source import here, quoted

DEFAULT_GRAPH_SEED = 87654321
"""The graph's seed where only the operation has one; TensorFlow's number."""

SEED_LIMIT = 2**31 - 1

__all__ = [
    "categorical", "get_seed", "multinomial", "normal", "random_normal", "random_shuffle", "random_uniform",
    "set_random_seed", "shuffle", "stateless_categorical", "stateless_multinomial", "stateless_normal",
    "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform",
]  # fmt: skip


def get_seed(op_seed: int | None, graph: Graph | None = None) -> tuple[int, int]:
    """The two seeds of an operation: of its graph and of its own; by chance where neither has one."""
    graph = graph or get_default_graph()
    if graph.seed is None and op_seed is None:
        return secrets.randbits(63), secrets.randbits(63)
    first = DEFAULT_GRAPH_SEED if graph.seed is None else graph.seed
    second = graph.size if op_seed is None else op_seed
    seeds = int(first) % SEED_LIMIT, int(second) % SEED_LIMIT
    return (0, SEED_LIMIT) if seeds == (0, 0) else seeds  # TensorFlow takes two zeros for none


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


def random_shuffle(value: Any, seed: Any = None, name: Any = None) -> Tensor:
    """``value`` with its parts along the first dim in a random order.

    Each part has a random number, and they come in the order of these.
    """
    with name_scope(name, "RandomShuffle", [value]) as scope:
        x = convert(value, name="value")
        keys = _draw("RandomUniformInt", [stack([shape_of(x)[0]]), _least(), _most()], None, seed)
        return gather(x, argsort(keys), name=scope)


def _least() -> Tensor:
    return convert(-(2**31), int32, name="min")


def _most() -> Tensor:
    return convert(2**31 - 1, int32, name="max")


def multinomial(
    logits: Any, num_samples: Any, seed: Any = None, name: Any = None, output_dtype: Any = int64
) -> Tensor:
    """Classes drawn from ``logits: [batch, classes]``: ``[batch, num_samples]``."""
    with name_scope(name, "multinomial", [logits]) as scope:
        x = convert(logits, name="logits")
        return _classes(x, random_uniform(_drawn_shape(x, num_samples), seed=seed), output_dtype, scope)


def categorical(
    logits: Any, num_samples: Any, dtype: Any = int64, seed: Any = None, name: Any = None
) -> Tensor:
    """`multinomial`."""
    return multinomial(logits, num_samples, seed, name or "categorical", dtype)


def _drawn_shape(logits: Tensor, num_samples: Any) -> Tensor:
    if logits.shape.ndims not in (None, 2):
        raise quoted(GraphError(f"expected logits of shape [batch, classes], got {logits.shape}"), here())
    return stack([shape_of(logits)[0], convert(num_samples, int32)])


def _classes(logits: Tensor, uniform: Tensor, dtype: Any, name: str) -> Tensor:
    """The class of each number: how many sums of probabilities are not above it."""
    x = cast(logits, float32)
    weights = exp(subtract(x, reduce_max(x, 1, keepdims=True)))
    sums = cumsum(weights, 1)
    aim = multiply(uniform, reduce_sum(weights, 1, keepdims=True))
    passed = cast(less_equal(expand_dims(sums, 1), expand_dims(aim, 2)), int32)
    last = subtract(shape_of(x)[1], 1)
    return cast(minimum(reduce_sum(passed, 2), last), dtype, name=name)


# Functions of a seed


def _stateless(type_: str, shape: Any, seed: Any, name: str | None, *inputs: Any, **attrs: Any) -> Tensor:
    words = convert(seed, name="seed", preferred=int64)
    if not words.dtype.is_integer:
        raise quoted(GraphError(f"'{type_}': expected a seed of two integers, got {words.dtype.name}"), here())
    return single(type_, [extents_tensor(shape), words, *inputs], name, **attrs)


def stateless_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, name: Any = None
) -> Tensor:
    """Evenly distributed values in ``[minval, maxval)``, a function of ``seed``, two integers.

    Args:
        maxval: 1 for floats where it is left out; integers without either bound are all of their type.
    """
    kind = as_dtype(dtype)
    with name_scope(name, "stateless_random_uniform", [shape, seed, minval, maxval]) as scope:
        if kind.is_integer and minval is None and maxval is None:
            return _stateless("StatelessRandomUniformFullInt", shape, seed, scope, dtype=kind)
        if kind.is_integer and maxval is None:
            raise quoted(GraphError("'tfc.stateless_uniform': integers need a maxval"), here())
        low, high = convert(minval, kind, name="min"), convert(1 if maxval is None else maxval, kind, name="max")
        if kind.is_integer:
            return _stateless("StatelessRandomUniformInt", shape, seed, scope, low, high)
        drawn = _stateless("StatelessRandomUniform", shape, seed, None, dtype=kind)
        return add(multiply(drawn, subtract(high, low, name="sub"), name="mul"), low, name=scope)


def stateless_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, name: Any = None
) -> Tensor:
    """Normally distributed values, a function of ``seed``, two integers."""
    return _stateless_normal("StatelessRandomNormal", shape, seed, mean, stddev, dtype, name)


def stateless_truncated_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, name: Any = None
) -> Tensor:
    """Normally distributed values within two standard deviations, a function of ``seed``, two integers."""
    return _stateless_normal("StatelessTruncatedNormal", shape, seed, mean, stddev, dtype, name)


def _stateless_normal(type_: str, shape: Any, seed: Any, mean: Any, stddev: Any, dtype: Any, name: Any) -> Tensor:
    kind = as_dtype(dtype)
    with name_scope(name, "stateless_normal", [shape, seed, mean, stddev]) as scope:
        drawn = _stateless(type_, shape, seed, None, dtype=kind)
        scaled = multiply(drawn, convert(stddev, kind, name="stddev"), name="mul")
        return add(scaled, convert(mean, kind, name="mean"), name=scope)


def stateless_multinomial(
    logits: Any, num_samples: Any, seed: Any, output_dtype: Any = int64, name: Any = None
) -> Tensor:
    """`multinomial` as a function of ``seed``, two integers."""
    with name_scope(name, "stateless_multinomial", [logits, seed]) as scope:
        x = convert(logits, name="logits")
        return _classes(x, stateless_uniform(_drawn_shape(x, num_samples), seed), output_dtype, scope)


def stateless_categorical(
    logits: Any, num_samples: Any, seed: Any, dtype: Any = int64, name: Any = None
) -> Tensor:
    """`multinomial` as a function of ``seed``, two integers."""
    return stateless_multinomial(logits, num_samples, seed, dtype, name or "stateless_categorical")


uniform, normal, shuffle = random_uniform, random_normal, random_shuffle
