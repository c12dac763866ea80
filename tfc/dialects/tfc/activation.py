"""Activation functions and other short formulas of one element.

Each is a composite whose `formula` is its definition; `reference` is the same in numpy, in a
wider type. All of them are stable: no overflow where the result does not overflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.builtin import FloatAttr, UnitAttr, f64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, opt_prop_def, prop_def, result_def

from tfc.dialects.tfc.base import Emit, Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.elementwise import ErfOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.pointwise import HALVES, SPECIALS, widened
from tfc.dialects.tfc.types import Array, Tensor, compatible, element, is_bool, is_float, shape_of
from tfc.errors import require


def real(value: float) -> FloatAttr[Any]:
    """A property of floating point."""
    return FloatAttr(float(value), f64)


class ActivationOp(TensorOp):
    """A formula of each element of ``x``. (C1) Elements are floats, or as the operation says."""

    x = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"
    INTEGERS: ClassVar[bool] = False

    def __init__(self, x: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x)])

    def infer(self) -> Sequence[Attribute]:
        kind = element(self.x)
        fits = is_float(kind) or (self.INTEGERS and not is_bool(kind))
        require(fits, self, "C1", "elements of " + ("numbers" if self.INTEGERS else "floating point"), kind)
        return [self.x.type]

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        """The result in tensor arithmetic."""
        raise NotImplementedError

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        return [self.formula(Formula(emit), self.x)]

    def numpy(self, x: Array) -> Array:
        """The result in numpy, of floats of 32 or 64 bits."""
        raise NotImplementedError

    def reference(self, *args: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.numpy(widened(args[0]))).astype(args[0].dtype)

    def pull(self, f: Formula, g: SSAValue) -> SSAValue | None:
        """The gradient of ``x``, where there is a better one than that of `formula`."""
        return None

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        better = self.pull(Formula(emit), g[0])
        return super().grad(emit, *g) if better is None else [better]

    @classmethod
    def makers(cls) -> Sequence[Any]:
        """How to build the instances to test: one for each setting of the properties."""
        return [cls]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x = float_range(5, 7, low=-8.0, high=8.0)
        arrays = [x, SPECIALS, float_range(0, 3), *(x.astype(t) for t in (*HALVES, np.float64))]
        if cls.INTEGERS:
            arrays.append((x * 3).astype(np.int32))
        return [Sample(make, a, tolerance=1e-5) for make in cls.makers() for a in arrays]


@tfc_op
class SigmoidOp(ActivationOp):
    """``1 / (1 + exp(-x))``. Source: ``tf.sigmoid``."""

    name = "tfc.sigmoid"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        # exp(-|x|) never overflows; below 0 the other half is exact where 1 - sigmoid(-x) is not.
        small = f.exp(f.neg(f.abs(x)))
        return f.div(f.select(f.compare("lt", x, 0.0), small, 1.0), f.add(small, 1.0))

    def numpy(self, x: Array) -> Array:
        small = np.exp(-np.abs(x))
        return np.where(x < 0, small, 1) / (1 + small)

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return f.mul(g, f.mul(self.result, f.sub(1.0, self.result)))


@tfc_op
class ReluOp(ActivationOp):
    """``max(x, 0)``. Source: ``tf.nn.relu``."""

    name = "tfc.relu"
    INTEGERS: ClassVar = True

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.max(x, 0)

    def numpy(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return f.select(f.compare("gt", self.result, 0.0), g, 0.0)


@tfc_op
class Relu6Op(ActivationOp):
    """``min(max(x, 0), 6)``. Source: ``tf.nn.relu6``."""

    name = "tfc.relu6"
    INTEGERS: ClassVar = True

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.min(f.max(x, 0), 6)

    def numpy(self, x: Array) -> Array:
        return np.minimum(np.maximum(x, 0), 6)

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        inside = f.select(f.compare("lt", self.result, 6.0), g, 0.0)
        return f.select(f.compare("gt", self.result, 0.0), inside, 0.0)


@tfc_op
class ReciprocalOp(ActivationOp):
    """``1 / x``. Source: ``tf.math.reciprocal``."""

    name = "tfc.reciprocal"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.div(1.0, x)

    def numpy(self, x: Array) -> Array:
        return 1 / x

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return f.neg(f.mul(g, f.mul(self.result, self.result)))


@tfc_op
class SquareOp(ActivationOp):
    """``x * x``. Source: ``tf.square``."""

    name = "tfc.square"
    INTEGERS: ClassVar = True

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.mul(x, x)

    def numpy(self, x: Array) -> Array:
        return x * x

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return f.mul(g, f.mul(self.x, 2.0))


@tfc_op
class SoftplusOp(ActivationOp):
    """``log(1 + exp(x))``. Source: ``tf.nn.softplus``."""

    name = "tfc.softplus"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.add(f.max(x, 0.0), f.log1p(f.exp(f.neg(f.abs(x)))))

    def numpy(self, x: Array) -> Array:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return f.mul(g, f.emit(SigmoidOp(self.x)))


@tfc_op
class SoftsignOp(ActivationOp):
    """``x / (1 + |x|)``. Source: ``tf.nn.softsign``."""

    name = "tfc.softsign"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.div(x, f.add(f.abs(x), 1.0))

    def numpy(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        size = f.add(f.abs(self.x), 1.0)
        return f.div(g, f.mul(size, size))


@tfc_op
class MishOp(ActivationOp):
    """``x * tanh(softplus(x))``. Source: ONNX ``Mish``."""

    name = "tfc.mish"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.mul(x, f.tanh(f.emit(SoftplusOp(x))))

    def numpy(self, x: Array) -> Array:
        return x * np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


@tfc_op
class HardSwishOp(ActivationOp):
    """``x * min(max(x/6 + 1/2, 0), 1)``. Source: ONNX ``HardSwish``."""

    name = "tfc.hard_swish"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.mul(x, f.min(f.max(f.add(f.mul(x, 1 / 6), 0.5), 0.0), 1.0))

    def numpy(self, x: Array) -> Array:
        return x * np.minimum(np.maximum(x / 6 + 0.5, 0), 1)


class AlphaOp(ActivationOp):
    """A formula with the number ``alpha``."""

    alpha = prop_def(FloatAttr.constr(f64))
    assembly_format = "$x `alpha` $alpha attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, alpha: float = 1.0) -> None:
        self.construct([SSAValue.get(x)], {"alpha": real(alpha)})

    @property
    def a(self) -> float:
        return self.alpha.value.data

    @classmethod
    def makers(cls) -> Sequence[Any]:
        return [lambda x: cls(x, 0.25), lambda x: cls(x, 1.5)]


@tfc_op
class LeakyReluOp(AlphaOp):
    """``x`` above 0, ``alpha * x`` below. Source: ``tf.nn.leaky_relu``."""

    name = "tfc.leaky_relu"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.select(f.compare("gt", x, 0.0), x, f.mul(x, self.a))

    def numpy(self, x: Array) -> Array:
        return np.where(x > 0, x, self.a * x)


@tfc_op
class EluOp(AlphaOp):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below. Source: ``tf.nn.elu``."""

    name = "tfc.elu"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return _elu(f, x, self.a, 1.0)

    def numpy(self, x: Array) -> Array:
        return np.where(x > 0, x, self.a * np.expm1(x))

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return _elu_pull(f, g, self, 1.0, self.a, 1.0)


def _elu(f: Formula, x: SSAValue, alpha: float, stretch: float) -> SSAValue:
    from tfc.dialects.tfc.elementwise import Expm1Op

    scaled = x if stretch == 1.0 else f.div(x, stretch)
    return f.select(f.compare("gt", x, 0.0), x, f.mul(f.emit(Expm1Op(scaled)), alpha))


def _elu_pull(
    f: Formula, g: SSAValue, op: ActivationOp, above: float, limit: float, stretch: float
) -> SSAValue:
    """``g`` times the slope: ``above`` above 0, below it what the result is above its limit ``-limit``.

    That of the formula would be 0 times an infinite exponential for a large ``x``.
    """
    below = f.add(op.result, limit)
    slope = below if stretch == 1.0 else f.mul(below, stretch)
    return f.mul(g, f.select(f.compare("gt", op.x, 0.0), above, slope))


@tfc_op
class CeluOp(AlphaOp):
    """``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` below. Source: ONNX ``Celu``."""

    name = "tfc.celu"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return _elu(f, x, self.a, self.a)

    def numpy(self, x: Array) -> Array:
        return np.where(x > 0, x, self.a * np.expm1(x / self.a))

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        return _elu_pull(f, g, self, 1.0, self.a, 1.0 / self.a)


@tfc_op
class ThresholdedReluOp(AlphaOp):
    """``x`` above ``alpha``, else 0. Source: ONNX ``ThresholdedRelu``."""

    name = "tfc.thresholded_relu"

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.select(f.compare("gt", x, self.a), x, 0.0)

    def numpy(self, x: Array) -> Array:
        return np.where(x > self.a, x, 0)


@tfc_op
class SeluOp(ActivationOp):
    """``gamma * x`` above 0, ``gamma * alpha * (exp(x) - 1)`` below. Source: ``tf.nn.selu``."""

    name = "tfc.selu"
    alpha = prop_def(FloatAttr.constr(f64))
    gamma = prop_def(FloatAttr.constr(f64))
    assembly_format = "$x `alpha` $alpha `gamma` $gamma attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self,
        x: SSAValue | Operation,
        alpha: float = 1.6732632423543772,
        gamma: float = 1.0507009873554805,
    ) -> None:
        self.construct([SSAValue.get(x)], {"alpha": real(alpha), "gamma": real(gamma)})

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.mul(_elu(f, x, self.alpha.value.data, 1.0), self.gamma.value.data)

    def numpy(self, x: Array) -> Array:
        return self.gamma.value.data * np.where(x > 0, x, self.alpha.value.data * np.expm1(x))

    def pull(self, f: Formula, g: SSAValue) -> SSAValue:
        gamma = self.gamma.value.data
        return _elu_pull(f, g, self, gamma, gamma * self.alpha.value.data, 1.0)


@tfc_op
class HardSigmoidOp(ActivationOp):
    """``min(max(alpha * x + beta, 0), 1)``. Source: ONNX ``HardSigmoid``."""

    name = "tfc.hard_sigmoid"
    alpha = prop_def(FloatAttr.constr(f64))
    beta = prop_def(FloatAttr.constr(f64))
    assembly_format = "$x `alpha` $alpha `beta` $beta attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, alpha: float = 0.2, beta: float = 0.5) -> None:
        self.construct([SSAValue.get(x)], {"alpha": real(alpha), "beta": real(beta)})

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        return f.min(f.max(f.add(f.mul(x, self.alpha.value.data), self.beta.value.data), 0.0), 1.0)

    def numpy(self, x: Array) -> Array:
        return np.minimum(np.maximum(self.alpha.value.data * x + self.beta.value.data, 0), 1)


@tfc_op
class GeluOp(ActivationOp):
    """``x * P(X <= x)`` for a standard normal ``X``; ``approximate`` takes the formula with tanh.

    Source: ``tf.nn.gelu``.
    """

    name = "tfc.gelu"
    approximate = opt_prop_def(UnitAttr)
    assembly_format = "(`approximate` $approximate^)? $x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, approximate: bool = False) -> None:
        self.construct([SSAValue.get(x)], {"approximate": UnitAttr() if approximate else None})

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        if not self.approximate:
            normal = f.add(f.emit(ErfOp(f.mul(x, math.sqrt(0.5)))), 1.0)
            return f.mul(f.mul(x, 0.5), normal)
        cube = f.mul(f.mul(x, x), x)
        inner = f.mul(f.add(x, f.mul(cube, 0.044715)), math.sqrt(2 / math.pi))
        return f.mul(f.mul(x, 0.5), f.add(f.tanh(inner), 1.0))

    def numpy(self, x: Array) -> Array:
        if self.approximate:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x * math.sqrt(0.5)))

    @classmethod
    def makers(cls) -> Sequence[Any]:
        return [lambda x: cls(x, False), lambda x: cls(x, True)]


@tfc_op
class ClipOp(ActivationOp):
    """``min(max(x, low), high)``; without a bound, nothing is cut on that side.

    (C1) Elements are numbers.

    Source: ``tf.clip_by_value``.
    """

    name = "tfc.clip"
    low = opt_prop_def(FloatAttr.constr(f64))
    high = opt_prop_def(FloatAttr.constr(f64))
    assembly_format = "$x (`low` $low^)? (`high` $high^)? attr-dict `:` type($x) `->` type($result)"
    INTEGERS: ClassVar = True

    def __init__(
        self, x: SSAValue | Operation, low: float | None = None, high: float | None = None
    ) -> None:
        # An infinite bound cuts nothing, but NaN stays NaN either way.
        properties = {
            "low": None if low is None or low == -math.inf else real(low),
            "high": None if high is None or high == math.inf else real(high),
        }
        self.construct([SSAValue.get(x)], properties)

    def formula(self, f: Formula, x: SSAValue) -> SSAValue:
        if self.low is not None:
            x = f.max(x, self._bound(self.low))
        return x if self.high is None else f.min(x, self._bound(self.high))

    def _bound(self, bound: FloatAttr[Any]) -> float | int:
        """The bound in the elements' range."""
        from tfc.dialects.tfc.scalar import integer_range

        kind, value = element(self.x), bound.value.data
        if is_float(kind):
            return value
        low, high = integer_range(kind)  # pyright: ignore # (C1): an integer
        return low if value <= low else high if value >= high else int(value)

    def numpy(self, x: Array) -> Array:
        if self.low is not None:
            x = np.maximum(x, np.array(self._bound(self.low)).astype(x.dtype))
        return x if self.high is None else np.minimum(x, np.array(self._bound(self.high)).astype(x.dtype))

    @classmethod
    def makers(cls) -> Sequence[Any]:
        bounds = [(-1.0, 2.0), (None, 3.0), (0.0, None), (None, None), (2.0, -2.0), (-1e4, float("inf"))]

        def make(low: float | None, high: float | None) -> Any:
            return lambda x: cls(x, low, high)

        return [make(*b) for b in bounds]


@tfc_op
class SquaredDifferenceOp(TensorOp):
    """``(x - y) * (x - y)``.

    (C1) ``x`` and ``y`` have one type, of numbers.

    Source: ``tf.math.squared_difference``.
    """

    name = "tfc.squared_difference"
    x = operand_def(Tensor)
    y = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = "$x `,` $y attr-dict `:` type($x) `,` type($y) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, y: SSAValue | Operation) -> None:
        self.construct([SSAValue.get(x), SSAValue.get(y)])

    def infer(self) -> Sequence[Attribute]:
        x, y = shape_of(self.x), shape_of(self.y)
        same = len(x) == len(y) and all(compatible(a, b) for a, b in zip(x, y, strict=True))
        same = same and element(self.x) == element(self.y) and not is_bool(element(self.x))
        require(same, self, "C1", self.x.type, self.y.type)
        return [self.x.type]

    def reference(self, *args: Array) -> Array:
        x, y = (widened(a) for a in args)
        with np.errstate(all="ignore"):
            return np.asarray((x - y) * (x - y)).astype(args[0].dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f = Formula(emit)
        difference = f.sub(self.x, self.y)
        return [f.mul(difference, difference)]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, y = float_range(3, 5), float_range(3, 5, low=1.0, high=-3.0)
        kinds = [np.float32, np.float64, np.float16, np.int32]
        return [Sample(cls, (x * 3).astype(t), y.astype(t), tolerance=1e-6) for t in kinds]
