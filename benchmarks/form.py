"""What a workload is written against, so that one definition runs on every library.

    def layer(f, x):
        return f.relu(f.matmul(x, f.weight(784, 100)) + f.weight(100))

``f`` is a form: `numpy_form` computes (in float64 it is the reference), `onnx_form` writes a model
file, `torch_form` and `jax_form` call those libraries by the functions their users would call. Values
have ``+ - * /``. Images are ``[n, c, h, w]`` for the workload; a form may keep them otherwise inside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Form(ABC):
    """The operations that workloads are made of, and the weights, made once and then kept.

    Weights are known by the order in which a workload asks for them, and so are their values.
    """

    def __init__(self, drawn: Sequence[Array] = ()) -> None:
        """Args: drawn: the weights as numbers, where another form has drawn them already."""
        self.drawn, self.kept = list(drawn), list[Any]()
        self._next = 0

    def run(self, workload: Workload, inputs: dict[str, Any]) -> tuple[Any, ...]:
        """The workload's results, on values of this form."""
        self._next = 0
        results = workload.compute(self, inputs)
        return results if isinstance(results, tuple) else (results,)

    def weight(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Any:
        """A constant of this shape, its elements from a normal distribution."""
        return self._kept(self.keep, shape, scale, shift)

    def filter(self, *shape: int, scale: float) -> Any:
        """A constant ``[out, in, h, w]`` for `conv`."""
        return self._kept(self.keep_filter, shape, scale, 0.0)

    def variance(self, n: int) -> Any:
        """A constant ``[n]`` of positive numbers."""
        return self._kept(lambda a: self.keep(abs(a)), (n,), 0.1, 1.0)

    def _kept(
        self, keep: Callable[[Array], Any], shape: tuple[int, ...], scale: float, shift: float
    ) -> Any:
        index, self._next = self._next, self._next + 1
        if index == len(self.drawn):
            drawn = np.random.default_rng([7, index]).standard_normal(shape, np.float32)
            drawn *= np.float32(scale)
            drawn += np.float32(shift)
            self.drawn.append(drawn)
        if index == len(self.kept):
            self.kept.append(keep(self.drawn[index]))
        return self.kept[index]

    def keep(self, array: Array) -> Any:
        """A constant in this form."""
        return array

    def keep_filter(self, array: Array) -> Any:
        """A filter ``[out, in, h, w]`` in this form."""
        return self.keep(array)

    def image(self, x: Any) -> Any:
        """An input ``[n, c, h, w]``, as this form keeps images."""
        return x

    @abstractmethod
    def matmul(self, x: Any, y: Any) -> Any: ...
    @abstractmethod
    def matmul_transposed(self, x: Any, y: Any) -> Any:
        """``x . y^T`` of two matrices."""

    @abstractmethod
    def relu(self, x: Any) -> Any: ...
    @abstractmethod
    def sigmoid(self, x: Any) -> Any: ...
    @abstractmethod
    def tanh(self, x: Any) -> Any: ...
    @abstractmethod
    def gelu(self, x: Any, approximate: bool = False) -> Any:
        """With erf, or approximated with tanh."""

    @abstractmethod
    def softmax(self, x: Any) -> Any:
        """Of the last axis."""

    @abstractmethod
    def layer_norm(self, x: Any, scale: Any, bias: Any, epsilon: float) -> Any:
        """Of the last axis."""

    @abstractmethod
    def mean_last(self, x: Any) -> Any: ...
    @abstractmethod
    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        """The mean over rows of ``-log softmax(logits)[label]``; a scalar."""

    @abstractmethod
    def reshape(self, x: Any, shape: Sequence[int]) -> Any: ...
    @abstractmethod
    def transpose(self, x: Any, perm: Sequence[int]) -> Any: ...
    @abstractmethod
    def concat(self, xs: Sequence[Any], axis: int) -> Any: ...
    @abstractmethod
    def split_last(self, x: Any, parts: int) -> Sequence[Any]: ...
    @abstractmethod
    def take(self, x: Any, indices: Any) -> Any:
        """Rows of ``x``."""

    @abstractmethod
    def element(self, x: Any, index: int) -> Any:
        """``x[index]``."""

    @abstractmethod
    def conv(self, x: Any, w: Any, stride: int, pad: int) -> Any: ...
    @abstractmethod
    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any: ...
    @abstractmethod
    def max_pool(self, x: Any, window: int, stride: int, pad: int) -> Any: ...
    @abstractmethod
    def spatial_mean(self, x: Any) -> Any:
        """``[n, c, h, w] -> [n, c]``"""

    def flat(self, x: Any, shape: Sequence[int]) -> Any:
        """Images as rows, each in the order ``[c, h, w]``: ``[n, c*h*w]``."""
        return self.reshape(x, shape)

    def attention(self, q: Any, k: Any, v: Any, width: int) -> Any:
        """``softmax(q . k^T / sqrt(width)) . v`` of ``[batch, heads, length, width]``."""
        scores = self.matmul(q, self.transpose(k, (0, 1, 3, 2))) * width**-0.5
        return self.matmul(self.softmax(scores), v)

    def lstm(self, x: Any, shape: tuple[int, int, int], hidden: int) -> Any:
        """An LSTM over ``x[step, batch, input]`` from zero; all its hidden states."""
        w, r, b = self.lstm_weights(shape[2], hidden)
        steps, before, states = self.matmul(x, w) + b, None, []
        for t in range(shape[0]):
            gates = self.element(steps, t)
            gates = gates if before is None else gates + self.matmul(before[0], r)
            i, f, c, o = self.split_last(gates, 4)
            cell = self.sigmoid(i) * self.tanh(c)
            cell = cell if before is None else self.sigmoid(f) * before[1] + cell
            before = self.sigmoid(o) * self.tanh(cell), cell
            states.append(self.reshape(before[0], (1, shape[1], hidden)))
        return self.concat(states, 0)

    def lstm_weights(self, width: int, hidden: int) -> tuple[Any, Any, Any]:
        """Weights of `lstm`: of inputs, of states, bias; gates are input, forget, cell, output."""
        gates = 4 * hidden
        return (
            self.weight(width, gates, scale=0.08),
            self.weight(hidden, gates, scale=0.08),
            self.weight(gates, scale=0.1),
        )


@dataclass(frozen=True)
class Workload:
    """Something to compute.

    Attributes:
        name: by which the command knows it.
        title: what it is, for a table.
        compute: ``(form, inputs) -> result or tuple of results``.
        inputs: seeded arrays by name.
        flops: floating-point operations of a run; a multiply-add counts as 2.
        moved: bytes that a run has to read and write at least once.
        trains: whether a run is a step of training; the result is then a loss.
    """

    name: str
    title: str
    compute: Callable[[Any, dict[str, Any]], Any] = field(repr=False)
    inputs: dict[str, Array] = field(repr=False)
    flops: float
    moved: float
    trains: bool = False
