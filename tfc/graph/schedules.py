"""Learning rates that change with the number of steps: ``tf.train.exponential_decay``, ...

    rate = tf.train.exponential_decay(0.1, global_step, decay_steps=1000, decay_rate=0.9)
    tf.train.MomentumOptimizer(rate, 0.9).minimize(loss, global_step)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph.dtypes import float32
from tfc.graph.math import (
    cast,
    ceil,
    cos,
    equal,
    exp,
    floor,
    less_equal,
    maximum,
    minimum,
    multiply,
    pow,
)
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, is_tensor, name_scope
from tfc.graph.source import here, quoted


def _needs_step(global_step: Any, function: str) -> None:
    if global_step is None:
        raise quoted(GraphError(f"'{function}': expected a global_step, got None"), here())


def _progress(rate: Tensor, global_step: Any, decay_steps: Any, staircase: bool) -> Tensor:
    share = cast(global_step, rate.dtype) / cast(decay_steps, rate.dtype)
    return floor(share) if staircase else share


def exponential_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """``learning_rate * decay_rate ** (global_step / decay_steps)``; in whole steps with ``staircase``."""
    _needs_step(global_step, "exponential_decay")
    with name_scope(name, "ExponentialDecay", [learning_rate, global_step]) as scope:
        rate = convert(learning_rate, name="learning_rate")
        share = _progress(rate, global_step, decay_steps, staircase)
        return multiply(rate, pow(cast(decay_rate, rate.dtype), share), name=scope)


def natural_exp_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """``learning_rate * exp(-decay_rate * global_step / decay_steps)``."""
    _needs_step(global_step, "natural_exp_decay")
    with name_scope(name, "NaturalExpDecay", [learning_rate, global_step]) as scope:
        rate = convert(learning_rate, name="learning_rate")
        share = _progress(rate, global_step, decay_steps, staircase)
        return multiply(rate, exp(-cast(decay_rate, rate.dtype) * share), name=scope)


def inverse_time_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """``learning_rate / (1 + decay_rate * global_step / decay_steps)``."""
    _needs_step(global_step, "inverse_time_decay")
    with name_scope(name, "InverseTimeDecay", [learning_rate, global_step]):
        rate = convert(learning_rate, name="learning_rate")
        share = _progress(rate, global_step, decay_steps, staircase)
        return rate / (1 + cast(decay_rate, rate.dtype) * share)


def polynomial_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001, power: Any = 1.0,
    cycle: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """From ``learning_rate`` to ``end_learning_rate`` in ``decay_steps``, then constant.

    Args:
        cycle: begin again, each time over the next multiple of ``decay_steps``.
    """
    _needs_step(global_step, "polynomial_decay")
    with name_scope(name, "PolynomialDecay", [learning_rate, global_step]):
        rate = convert(learning_rate, name="learning_rate")
        step, steps = cast(global_step, rate.dtype), cast(decay_steps, rate.dtype)
        end, power = cast(end_learning_rate, rate.dtype), cast(power, rate.dtype)
        if cycle:
            first = cast(equal(step, 0), rate.dtype)
            steps = steps * (ceil(step / steps) + first)
        else:
            step = minimum(step, steps)
        return (rate - end) * pow(1 - step / steps, power) + end


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: Any = 0.0, name: str | None = None
) -> Tensor:
    """Half a cosine from ``learning_rate`` to ``alpha`` times that.

    Source: Loshchilov, Hutter, "SGDR", 2016.
    """
    _needs_step(global_step, "cosine_decay")
    with name_scope(name, "CosineDecay", [learning_rate, global_step]) as scope:
        rate = convert(learning_rate, name="learning_rate")
        steps = cast(decay_steps, rate.dtype)
        share = minimum(cast(global_step, rate.dtype), steps) / steps
        half = (1 + cos(share * math.pi)) * 0.5
        return multiply(rate, (1 - cast(alpha, rate.dtype)) * half + alpha, name=scope)


def linear_cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, num_periods: float = 0.5, alpha: float = 0.0,
    beta: float = 0.001, name: str | None = None,
) -> Tensor:  # fmt: skip
    """A cosine of ``num_periods`` under a line. Source: Bello et al., "Neural optimizer search", 2017."""
    _needs_step(global_step, "linear_cosine_decay")
    with name_scope(name, "LinearCosineDecay", [learning_rate, global_step]) as scope:
        rate = convert(learning_rate, name="learning_rate")
        steps = cast(decay_steps, rate.dtype)
        share = minimum(cast(global_step, rate.dtype), steps) / steps
        half = (1 + cos(share * (2 * num_periods * math.pi))) * 0.5
        return multiply(rate, (alpha + (1 - share)) * half + beta, name=scope)


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None) -> Tensor:
    """``values[0]`` up to and with ``boundaries[0]``, ``values[1]`` up to and with ``boundaries[1]``, ...

    Raises:
        GraphError: there is not one value more than there are boundaries, or their types differ.
    """
    if len(values) != len(boundaries) + 1:
        message = f"expected {len(boundaries) + 1} values for {len(boundaries)} boundaries, got {len(values)}"
        raise quoted(GraphError(f"'piecewise_constant': {message}"), here())
    with name_scope(name, "PiecewiseConstant", [x, *boundaries, *values]):
        from tfc.graph.arrays import where

        x = convert(x)
        numbers = any(isinstance(v, float) for v in values)
        parts = [convert(v, float32 if numbers and not is_tensor(v) else None) for v in values]
        result = parts[-1]
        for limit, value in zip(reversed(boundaries), reversed(parts[:-1]), strict=True):
            result = where(less_equal(x, convert(limit, x.dtype)), value, result)
        return result


def cosine_decay_restarts(
    learning_rate: Any, global_step: Any, first_decay_steps: Any, t_mul: float = 2.0, m_mul: float = 1.0,
    alpha: float = 0.0, name: str | None = None,
) -> Tensor:  # fmt: skip
    """`cosine_decay` again and again, each ``t_mul`` times as long and ``m_mul`` times as high.

    Source: Loshchilov, Hutter, "SGDR", 2016.
    """
    _needs_step(global_step, "cosine_decay_restarts")
    with name_scope(name, "SGDRDecay", [learning_rate, global_step]) as scope:
        from tfc.graph.math import log

        rate = convert(learning_rate, name="initial_learning_rate")
        done = cast(global_step, rate.dtype) / cast(first_decay_steps, rate.dtype)
        if t_mul == 1.0:
            period = floor(done)
            share = done - period
        else:
            period = floor(log(1 - done * (1 - t_mul)) / math.log(t_mul))
            start = (1 - pow(convert(t_mul, rate.dtype), period)) / (1 - t_mul)
            share = (done - start) / pow(convert(t_mul, rate.dtype), period)
        height = pow(convert(m_mul, rate.dtype), period)
        half = height * (1 + cos(maximum(share, 0) * math.pi)) * 0.5
        return multiply(rate, (1 - alpha) * half + alpha, name=scope)
