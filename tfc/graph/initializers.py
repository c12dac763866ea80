"""First values of variables: ``tf.zeros_initializer``, ``tf.glorot_uniform_initializer``, ...

An initializer is called with a shape and an element type and gives a tensor. Where one is wanted,
the class stands for its instance without arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfc.errors import GraphError
from tfc.graph import arrays, ops, random
from tfc.graph import math as math_
from tfc.graph.dtypes import as_dtype, float32
from tfc.graph.node import Tensor
from tfc.graph.source import here, quoted

_TRUNCATED_STDDEV = 0.87962566103423978
"""The standard deviation of the normal distribution cut off at two of its own."""


class Initializer:
    """Makes the first value of a variable."""

    dtype: Any = float32

    def __call__(self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None) -> Tensor:
        """A tensor of ``shape``, of the element type given here or to the initializer.

        Args:
            partition_info: of what whole the tensor is a part, for partitioned variables.
        """
        kind = as_dtype(self.dtype if dtype is None else dtype)
        wanted = [int(d) for d in shape]
        return self.make(wanted, kind, wanted if partition_info is None else list(partition_info.full_shape))

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        """The tensor; it is a part of one of the shape ``whole``."""
        raise NotImplementedError


class Zeros(Initializer):
    """All 0."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        return arrays.zeros(shape, dtype)


class Ones(Initializer):
    """All 1."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        return arrays.ones(shape, dtype)


class Constant(Initializer):
    """One value everywhere, or the elements of a list in row-major order."""

    def __init__(self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False) -> None:
        self.value, self.dtype = value, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        return ops.constant(self.value, dtype, shape)


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere."""

    def __init__(self, gain: float = 1.0, dtype: Any = float32) -> None:
        self.gain, self.dtype = gain, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        if len(shape) != 2:
            raise quoted(GraphError(f"the identity initializer makes matrices, got shape {shape}"), here())
        return ops.constant(self.gain * np.eye(shape[0], shape[1]), dtype)


class RandomUniform(Initializer):
    """Evenly distributed in ``[minval, maxval)``."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None, dtype: Any = float32) -> None:
        self.minval, self.maxval, self.seed, self.dtype = minval, maxval, seed, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        return random.random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class RandomNormal(Initializer):
    """Normally distributed."""

    def __init__(self, mean: float = 0.0, stddev: float = 1.0, seed: Any = None, dtype: Any = float32) -> None:
        self.mean, self.stddev, self.seed, self.dtype = mean, stddev, seed, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        return random.random_normal(shape, self.mean, self.stddev, dtype, self.seed)


class TruncatedNormal(RandomNormal):
    """Normally distributed, nothing beyond two standard deviations."""

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("uniform", "truncated_normal", "normal", "untruncated_normal")


class VarianceScaling(Initializer):
    """Random with the variance ``scale / n``, ``n`` the number of inputs or outputs of a unit.

    Args:
        mode: ``fan_in``, ``fan_out`` or ``fan_avg``: what ``n`` is.
        distribution: ``uniform``, ``truncated_normal`` (or ``normal``), ``untruncated_normal``.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, for the idea.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        dtype: Any = float32,
    ) -> None:
        if scale <= 0 or mode not in _MODES or distribution not in _DISTRIBUTIONS:
            expected = f"a scale above 0, a mode of {', '.join(_MODES)}, a distribution of {', '.join(_DISTRIBUTIONS)}"
            got = f"{scale}, {mode!r} and {distribution!r}"
            raise quoted(GraphError(f"the initializer 'variance_scaling': expected {expected}, got {got}"), here())
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.seed, self.dtype = seed, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        fan_in, fan_out = fans(whole)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, count)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.random_normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return random.truncated_normal(shape, 0.0, stddev, dtype, self.seed)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """How many inputs and outputs a unit has: of a matrix, or of filters ``[..., in, out]``."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    field = math.prod(shape[:-2])
    return float(field * shape[-2]), float(field * shape[-1])


class UniformUnitScaling(Initializer):
    """Uniform, such that the variance of ``x . w`` is about that of ``x``, times ``factor ** 2``."""

    def __init__(self, factor: float = 1.0, seed: Any = None, dtype: Any = float32) -> None:
        self.factor, self.seed, self.dtype = factor, seed, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        limit = math.sqrt(3.0 / max(1.0, math.prod(whole[:-1]))) * self.factor
        return random.random_uniform(shape, -limit, limit, dtype, self.seed)


class Orthogonal(Initializer):
    """A matrix whose columns (rows, where they are fewer) are orthonormal, times ``gain``; evenly distributed.

    More than two dims are a matrix whose columns are the last. It is the factor ``q`` of the polar decomposition
    of a normal matrix, found by polynomials in ``x . x^T``: some that lift small singular values by
    3.4 each, then Newton's, which doubles the digits each time.

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2013;
    Higham, "Functions of matrices", 2008, chapter 8.
    """

    LIFT = (3.4445, -4.7750, 2.0315)
    NEWTON = (1.875, -1.25, 0.375)

    def __init__(self, gain: float = 1.0, seed: Any = None, dtype: Any = float32) -> None:
        self.gain, self.seed, self.dtype = gain, seed, dtype

    def make(self, shape: list[int], dtype: Any, whole: list[int]) -> Tensor:
        if len(shape) < 2:
            raise quoted(GraphError(f"the orthogonal initializer makes at least matrices, got shape {shape}"), here())
        rows, columns = math.prod(shape[:-1]), shape[-1]
        wide = rows < columns
        x = random.random_normal([columns, rows] if not wide else [rows, columns], 0.0, 1.0, dtype, self.seed)
        x = x / math_.sqrt(math_.reduce_sum(math_.square(x)))
        for a, b, c in [self.LIFT] * 14 + [self.NEWTON] * 6:
            square = math_.matmul(x, x, transpose_b=True)
            x = x * a + math_.matmul(square * b + math_.matmul(square, square) * c, x)
        return arrays.reshape(x if wide else arrays.transpose(x), shape) * self.gain


def glorot_uniform(seed: Any = None, dtype: Any = float32) -> Initializer:
    """The default of `get_variable`: uniform, variance by the mean of inputs and outputs."""
    return VarianceScaling(1.0, "fan_avg", "uniform", seed, dtype)


def glorot_normal(seed: Any = None, dtype: Any = float32) -> Initializer:
    """Normal, variance by the mean of inputs and outputs."""
    return VarianceScaling(1.0, "fan_avg", "truncated_normal", seed, dtype)


def he_uniform(seed: Any = None) -> Initializer:
    """Uniform, for layers followed by a relu."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def he_normal(seed: Any = None) -> Initializer:
    """Normal, for layers followed by a relu."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: Any = None) -> Initializer:
    """Uniform, variance by the number of inputs."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


def lecun_normal(seed: Any = None) -> Initializer:
    """Normal, variance by the number of inputs."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


zeros, ones, constant, identity, orthogonal = Zeros, Ones, Constant, Identity, Orthogonal
random_uniform, random_normal, truncated_normal = RandomUniform, RandomNormal, TruncatedNormal
variance_scaling, uniform_unit_scaling = VarianceScaling, UniformUnitScaling
