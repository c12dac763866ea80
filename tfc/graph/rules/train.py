"""Steps of optimizers: nodes that change a variable and its moments, as TensorFlow's kernels do.

    ApplyMomentum(var, accum, lr, grad, momentum)       accum = momentum * accum + grad
                                                        var = var - lr * accum

A step reads the variables, computes all new values and assigns them; fusion makes one kernel of it
that works in place. The formulas below are plain arithmetic, so numpy's arrays run through them too.

The gradient of a sparse step is rows at ``indices``; rows of equal index are added up. Rows that are
not touched stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc import OPERATIONS
from tfc.dialects.tfc.elementwise import CompareOp, SelectOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.shape import BroadcastOp
from tfc.dialects.tfc.state import AssignOp, JoinOp, ReadOp
from tfc.dialects.tfc.types import ResourceType, element, shape_of
from tfc.errors import GraphError
from tfc.graph.dtypes import of_element
from tfc.graph.emit import Deferred, Emitter, element_at, rule
from tfc.graph.rules.state import read
from tfc.graph.shape import TensorShape

# The formulas


def gradient_descent(var: Any, alpha: Any, delta: Any) -> Sequence[Any]:
    return [var - alpha * delta]


def momentum(var: Any, accum: Any, lr: Any, grad: Any, momentum: Any, use_nesterov: bool = False) -> Sequence[Any]:
    accum = accum * momentum + grad
    if use_nesterov:
        return [var - (grad * lr + accum * momentum * lr), accum]
    return [var - accum * lr, accum]


def adagrad(var: Any, accum: Any, lr: Any, grad: Any) -> Sequence[Any]:
    accum = accum + grad * grad
    return [var - lr * grad / accum.sqrt(), accum]


def adadelta(var: Any, accum: Any, accum_update: Any, lr: Any, rho: Any, epsilon: Any, grad: Any) -> Sequence[Any]:
    accum = accum * rho + grad * grad * (1 - rho)
    update = (accum_update + epsilon).sqrt() / (accum + epsilon).sqrt() * grad
    return [var - update * lr, accum, accum_update * rho + update * update * (1 - rho)]


def rms_prop(
    var: Any, ms: Any, mom: Any, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Any
) -> Sequence[Any]:
    ms = ms + (grad * grad - ms) * (1 - rho)
    mom = mom * momentum + grad * lr / (ms + epsilon).sqrt()
    return [var - mom, ms, mom]


def centered_rms_prop(
    var: Any, mg: Any, ms: Any, mom: Any, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Any
) -> Sequence[Any]:
    ms = ms + (grad * grad - ms) * (1 - rho)
    mg = mg + (grad - mg) * (1 - rho)
    mom = mom * momentum + grad * lr / (ms - mg * mg + epsilon).sqrt()
    return [var - mom, mg, ms, mom]


def adam(
    var: Any, m: Any, v: Any, beta1_power: Any, beta2_power: Any, lr: Any, beta1: Any, beta2: Any,
    epsilon: Any, grad: Any, use_nesterov: bool = False,
) -> Sequence[Any]:  # fmt: skip
    """Kingma, Ba, "Adam: A method for stochastic optimization", 2014: the form before section 2.1."""
    alpha = lr * (1 - beta2_power).sqrt() / (1 - beta1_power)
    m = m + (grad - m) * (1 - beta1)
    v = v + (grad * grad - v) * (1 - beta2)
    ahead = m * beta1 + grad * (1 - beta1) if use_nesterov else m
    return [var - ahead * alpha / (v.sqrt() + epsilon), m, v]


def adam_weight_decay(
    var: Any, m: Any, v: Any, beta1_power: Any, beta2_power: Any, lr: Any, beta1: Any, beta2: Any,
    epsilon: Any, weight_decay: Any, grad: Any,
) -> Sequence[Any]:  # fmt: skip
    """Loshchilov, Hutter, "Decoupled weight decay regularization", 2017: the decay is no gradient."""
    return adam(var - var * weight_decay, m, v, beta1_power, beta2_power, lr, beta1, beta2, epsilon, grad)


def ftrl(
    var: Any, accum: Any, linear: Any, grad: Any, lr: Any, l1: Any, l2: Any, l2_shrinkage: Any,
    lr_power: float = -0.5,
) -> Sequence[Any]:  # fmt: skip
    """McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013."""

    def power(x: Any) -> Any:
        return x.sqrt() if lr_power == -0.5 else x ** -lr_power

    total = accum + grad * grad
    linear = linear + grad + var * l2_shrinkage * 2 - (power(total) - power(accum)) / lr * var
    shrunk = (linear.sign() * l1 - linear) / (power(total) / lr + l2 * 2)
    return [shrunk.where(linear.abs() > l1, 0), total, linear]


def proximal(var: Any, lr: Any, l1: Any, l2: Any, grad: Any) -> Any:
    """The step of ``var`` down the gradient, and toward 0 by both norms."""
    ahead = var - grad * lr
    return ahead.sign() * (ahead.abs() - lr * l1).positive() / (lr * l2 + 1)


def proximal_gradient_descent(var: Any, alpha: Any, l1: Any, l2: Any, delta: Any) -> Sequence[Any]:
    return [proximal(var, alpha, l1, l2, delta)]


def proximal_adagrad(var: Any, accum: Any, lr: Any, l1: Any, l2: Any, grad: Any) -> Sequence[Any]:
    accum = accum + grad * grad
    return [proximal(var, lr / accum.sqrt(), l1, l2, grad), accum]


@dataclass(frozen=True)
class Step:
    """A kind of step.

    Attributes:
        formula: the new values of its variables from all its inputs.
        variables: how many of the inputs are variables, first those.
        gradient: the number of the input that is the gradient.
        zero_moves: whether rows without a gradient change all the same, or would do so in the formula.
    """

    formula: Callable[..., Sequence[Any]]
    variables: int
    gradient: int
    zero_moves: bool = True


STEPS: dict[str, Step] = {
    "ApplyGradientDescent": Step(gradient_descent, 1, 2, zero_moves=False),
    "ApplyMomentum": Step(momentum, 2, 3),
    "ApplyAdagrad": Step(adagrad, 2, 3),
    "ApplyAdadelta": Step(adadelta, 3, 6),
    "ApplyRMSProp": Step(rms_prop, 3, 7),
    "ApplyCenteredRMSProp": Step(centered_rms_prop, 4, 8),
    "ApplyAdam": Step(adam, 3, 9),
    "ApplyAdamWeightDecay": Step(adam_weight_decay, 3, 10),
    "ApplyFtrl": Step(ftrl, 3, 3),
    "ApplyProximalGradientDescent": Step(proximal_gradient_descent, 1, 4),
    "ApplyProximalAdagrad": Step(proximal_adagrad, 2, 5),
}
"""Every kind of step, with TensorFlow's order of inputs."""


@dataclass(frozen=True)
class Term:
    """A value in a formula; scalars stretch to the shape of what stands beside them."""

    emit: Emitter
    value: SSAValue

    def _number(self, other: Any) -> SSAValue:
        return other.value if isinstance(other, Term) else self.emit.constant(other, element(self.value))

    def _apply(self, kind: str, *operands: SSAValue) -> Term:
        return Term(self.emit, self.emit(OPERATIONS[f"tfc.{kind}"](*self.emit.together(*operands))))

    def __add__(self, other: Any) -> Term:
        return self._apply("add", self.value, self._number(other))

    def __sub__(self, other: Any) -> Term:
        return self._apply("sub", self.value, self._number(other))

    def __rsub__(self, other: Any) -> Term:
        return self._apply("sub", self._number(other), self.value)

    def __mul__(self, other: Any) -> Term:
        return self._apply("mul", self.value, self._number(other))

    def __truediv__(self, other: Any) -> Term:
        return self._apply("div", self.value, self._number(other))

    def __pow__(self, other: Any) -> Term:
        return self._apply("pow", self.value, self._number(other))

    def sqrt(self) -> Term:
        return self._apply("sqrt", self.value)

    def sign(self) -> Term:
        return self._apply("sign", self.value)

    def abs(self) -> Term:
        return self._apply("abs", self.value)

    def positive(self) -> Term:
        """The value where it is above 0, else 0."""
        return self._apply("max", self.value, self._number(0))

    def __gt__(self, other: Any) -> Term:
        x, y = self.emit.together(self.value, self._number(other))
        return Term(self.emit, self.emit(CompareOp("gt", x, y)))

    def where(self, condition: Term, other: Any) -> Term:
        """The value where ``condition`` holds, else ``other``."""
        c, x, y = self.emit.together(condition.value, self.value, self._number(other))
        return Term(self.emit, self.emit(SelectOp(c, x, y)))


# The rules


def _define(type_: str, step: Step) -> None:
    def emit_dense(emit: Emitter, *inputs: SSAValue, **attributes: Any) -> SSAValue:
        content = _content(type_, inputs[0])
        gradient = inputs[step.gradient]
        if isinstance(gradient.type, UnrankedTensorType):
            raise Deferred("the shape of a gradient", [content])
        if emit.shape(gradient) != shape_of(content):
            shapes = f"{TensorShape.of(content)}, got {TensorShape.of(gradient.type)}"
            raise GraphError(f"'{type_}': expected a gradient of the variable's shape {shapes}")
        return _step(emit, type_, step, inputs, attributes, None)

    def emit_sparse(emit: Emitter, *given: SSAValue, **attributes: Any) -> SSAValue:
        *inputs, indices = given
        content = _content(type_, inputs[0])
        rows = inputs[step.gradient]
        if isinstance(rows.type, UnrankedTensorType) or isinstance(indices.type, UnrankedTensorType):
            raise Deferred("the shape of a gradient", [content])
        count, *rest = shape_of(content)
        if list(emit.shape(rows)[1:]) != rest:
            shapes = f"{TensorShape.of(content)}, got {TensorShape.of(rows.type)}"
            raise GraphError(f"'{type_}': expected rows of a gradient of shape {shapes}")
        touched = None
        if step.zero_moves:
            ones = emit.full(1, element(rows), emit.shape(indices))
            hits = Term(emit, emit(SegmentSumOp(ones, indices, count))) > 0
            touched = Term(emit, emit(BroadcastOp(hits.value, shape_of(content), [0])))
        inputs[step.gradient] = emit(SegmentSumOp(rows, indices, count))
        return _step(emit, type_, step, inputs, attributes, touched)

    rule(type_, elements=_of_first)(emit_dense)
    rule(f"Sparse{type_}", elements=_of_first)(emit_sparse)


def _of_first(*values: SSAValue, **_attributes: Any) -> Sequence[Attribute]:
    return [element_at(values[0])]


def _content(type_: str, handle: SSAValue) -> TensorType:
    if not isinstance(handle.type, ResourceType) or not isinstance(handle.type.content, TensorType):
        raise GraphError(f"'{type_}': expected a variable of known shape, got a tensor")
    return handle.type.content


def _step(
    emit: Emitter, type_: str, step: Step, inputs: Sequence[SSAValue], attributes: dict[str, Any],
    touched: Term | None,
) -> SSAValue:  # fmt: skip
    """Read the variables, compute, assign; where rows are ``touched`` only."""
    content = _content(type_, inputs[0])
    kind = element(content)
    for value in inputs:
        if element_at(value) != kind:
            names = f"{of_element(kind).name}, got {of_element(element_at(value)).name}"
            raise GraphError(f"'{type_}': expected inputs of the variable's element type {names}")
    handles, rest = inputs[: step.variables], inputs[step.variables :]
    for handle in handles[1:]:
        if _content(type_, handle) != content:
            shapes = f"{TensorShape.of(content)}, got {TensorShape.of(_content(type_, handle))}"
            raise GraphError(f"'{type_}': expected moments of the variable's shape {shapes}")
    reads = [emit.all(ReadOp(h, list(emit.after))) for h in handles]
    old = [Term(emit, value) for value, _ in reads]
    new = step.formula(*old, *(Term(emit, v) for v in rest), **attributes)
    tokens: list[SSAValue] = []
    for handle, (_, token), before, after in zip(handles, reads, old, new, strict=True):
        value = after if touched is None else after.where(touched, before)
        tokens.append(emit(AssignOp(handle, value.value, [*emit.after, token])))
    emit.tokens[:] = [emit(JoinOp(tokens)) if len(tokens) > 1 else tokens[0]]
    if 0 not in emit.used:
        return old[0].value
    return read(emit, inputs[0], list(emit.tokens))


for _type, _kind in STEPS.items():
    _define(_type, _kind)
