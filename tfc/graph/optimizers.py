"""``tf.train``'s optimizers: what is done to variables with their gradients.

    step = tf.train.AdamOptimizer(1e-3).minimize(loss)
    session.run(step, {x: ..., y: ...})

A step is one node for each variable (`tfc.graph.rules.train`): it changes the variable and its slots, which
are variables of the same shape, named after it. Steps come after the reads of the variables that
other nodes share, so a loss that is fetched beside a step is the loss before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from tfc.errors import GraphError
from tfc.graph.arrays import fill, group
from tfc.graph.graph import Graph, GraphKeys, get_default_graph
from tfc.graph.math import cast
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable

Rate = Any
"""A number, a tensor, or a function that gives one."""


class Optimizer:
    """What all optimizers share; a subclass says its slots and the inputs of its node.

    Args:
        use_locking: for TensorFlow's signature: steps of one run never overlap.
        name: the name of its slots and nodes.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2
    STEP: ClassVar[str] = ""
    """The kind of its node."""
    SLOTS: ClassVar[Mapping[str, float]] = {}
    """What it keeps for each variable, with the first values."""

    def __init__(self, use_locking: bool = False, name: str = "Optimizer") -> None:
        if not name:
            raise quoted(GraphError("an optimizer needs a name"), here())
        self._name = name
        self._slots: dict[str, dict[Variable, Variable]] = {k: {} for k in self.slots()}
        self._shared: dict[tuple[str, Graph], Variable] = {}

    def get_name(self) -> str:
        return self._name

    # What a subclass says.

    def kind(self) -> str:
        """The kind of its node."""
        return self.STEP

    def slots(self) -> Mapping[str, float]:
        """What it keeps for each variable, with the first values."""
        return self.SLOTS

    def first_slot(self, name: str, var: Variable) -> Any:
        """The first value of a slot, a number."""
        return self.slots()[name]

    def inputs(self, grad: Tensor, scalar: Callable[[str, Rate], Tensor]) -> Sequence[Tensor]:
        """The inputs of the node after the variable and its slots; ``scalar`` makes them of numbers."""
        raise NotImplementedError

    def attributes(self) -> Mapping[str, Any]:
        """The attributes of the node."""
        return {}

    def prepare(self, var_list: Sequence[Variable]) -> None:
        """Make what all variables share."""

    def finish(self, steps: Sequence[Operation]) -> Sequence[Any]:
        """What else has to run, after ``steps``."""
        return ()

    # What a user calls.

    def minimize(
        self,
        loss: Any,
        global_step: Variable | None = None,
        var_list: Iterable[Variable] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """A node that makes ``loss`` smaller: `compute_gradients` and `apply_gradients`.

        Args:
            loss: what shall become small; its elements are added up.
            global_step: a variable that counts the steps.
            var_list: what is changed; all trainable variables where left out.

        Raises:
            GraphError: no variable has an influence on ``loss``.
        """
        pairs = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        if all(g is None for g, _ in pairs):
            names = ", ".join(v.name for _, v in pairs)
            help = "gradients end at integers, at tf.stop_gradient and at variables that are not read"
            message = f"the loss {loss!r} does not depend on any of the variables {names}"
            raise quoted(GraphError(message, help=help), here())
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Iterable[Variable] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Any, Variable]]:
        """Pairs of gradient and variable; the gradient is None where ``loss`` does not depend on it."""
        from tfc.graph.gradients import gradients

        if not isinstance(loss, Tensor):
            raise quoted(GraphError(f"expected a tensor as loss, got {loss!r}"), here())
        keys = loss.graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
        wanted = keys if var_list is None else list(flat_variables(var_list))
        if not wanted:
            raise quoted(GraphError("there are no variables to optimize"), here())
        found = gradients(loss, wanted, grad_loss)
        return list(zip(found, wanted, strict=True))

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], global_step: Variable | None = None, name: str | None = None
    ) -> Operation:
        """A node that takes one step.

        Args:
            grads_and_vars: what `compute_gradients` gives, perhaps changed; pairs without a gradient
                are left out.

        Raises:
            GraphError: there is no gradient, or one does not fit its variable.
        """
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            raise quoted(GraphError("no gradients are given for any variable"), here())
        for _, v in pairs:
            if not isinstance(v, Variable):
                raise quoted(GraphError(f"expected a pair of gradient and variable, got {v!r}"), here())
        self.prepare([v for _, v in pairs])
        slots = {v: [self._slot(n, v) for n in self._slots] for _, v in pairs}
        with name_scope(name, self._name, [pairs[0][1].handle]) as scope:
            scalars: dict[tuple[str, Any], Tensor] = {}

            def scalar(label: str, value: Rate) -> Tensor:
                if label not in known:  # a number is float32 first, as everywhere
                    known[label] = cast(convert(value() if callable(value) else value, name=label), dtype)
                return known[label]

            steps: list[Operation] = []
            for grad, var in pairs:
                dtype = var.dtype
                known = _of_dtype(scalars, dtype)
                with name_scope(f"update_{var.op.name}"):
                    steps.append(self._step(grad, var, slots[var], scalar))
            final = group(*steps, *self.finish(steps), name="update" if global_step is not None else scope)
            if global_step is not None:
                final = counted(global_step, [final], scope)
        get_default_graph().add_to_collection(GraphKeys.TRAIN_OP, final)
        return final

    def _step(self, grad: Any, var: Variable, slots: Sequence[Variable], scalar: Any) -> Operation:
        graph, sparse = var.graph, hasattr(grad, "indices")
        values = convert(grad.values if sparse else grad, name="gradient")
        inputs = [v.handle for v in (var, *slots)] + list(self.inputs(values, scalar))
        kind = f"Sparse{self.kind()}" if sparse else self.kind()
        reads = [v.value().op for v in (var, *slots)]
        with graph.control_dependencies(reads):
            step = single(kind, [*inputs, *([grad.indices] if sparse else [])], kind, **self.attributes())
            if var.constraint is None:
                return step.op
        with graph.control_dependencies([step]):
            return var.assign(var.constraint(var.read_value())).op

    # Slots.

    def get_slot_names(self) -> list[str]:
        """What is kept for each variable."""
        return sorted(self._slots)

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """What is kept under ``name`` for ``var``, once there is a step."""
        return self._slots.get(name, {}).get(var)

    def variables(self) -> list[Variable]:
        """All slots, and what all variables share."""
        kept = [v for slot in self._slots.values() for v in slot.values()]
        return sorted([*self._shared.values(), *kept], key=lambda v: v.name)

    def _slot(self, name: str, var: Variable) -> Variable:
        known = self._slots[name]
        if var not in known:
            with var.graph.name_scope(None), var.graph.colocate_with(var.op):
                first = self.first_slot(name, var)
                label = f"{var.op.name}/{self._name}"
                known[var] = Variable(lambda: fill(var.shape, convert(first, var.dtype)), False, name=label)
        return known[var]

    def shared(self, name: str, first: Any, like: Variable) -> Variable:
        """A variable of one number for all variables."""
        key = name, like.graph
        if key not in self._shared:
            with like.graph.name_scope(None), like.graph.colocate_with(like.op):
                self._shared[key] = Variable(convert(first), False, name=name)
        return self._shared[key]


def _of_dtype(scalars: dict[Any, Any], dtype: Any) -> dict[str, Tensor]:
    return scalars.setdefault(dtype, {})


def flat_variables(values: Iterable[Any]) -> Iterable[Variable]:
    """Variables, and the parts of partitioned ones."""
    for v in values:
        if isinstance(v, list | tuple):
            yield from flat_variables(v)
        elif hasattr(v, "_parts"):
            yield from v
        elif isinstance(v, Variable):
            yield v
        else:
            raise quoted(GraphError(f"expected a variable, got {v!r}"), here())


def counted(global_step: Variable, done: Sequence[Any], name: str) -> Operation:
    """A node that counts ``global_step`` up once ``done`` is; who fetches it too gets the count before."""
    graph = global_step.graph
    with graph.control_dependencies([*done, global_step.value().op]), graph.colocate_with(global_step.op):
        return global_step.assign_add(1, name=name).op


class GradientDescentOptimizer(Optimizer):
    """``var -= rate * gradient``."""

    STEP = "ApplyGradientDescent"

    def __init__(self, learning_rate: Rate, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._rate = learning_rate

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        return [scalar("learning_rate", self._rate), grad]


class MomentumOptimizer(Optimizer):
    """``accum = momentum * accum + gradient``; ``var -= rate * accum``.

    Args:
        use_nesterov: step from where the momentum leads to. Source: Sutskever et al., ICML 2013.
    """

    STEP = "ApplyMomentum"
    SLOTS = {"momentum": 0.0}

    def __init__(
        self, learning_rate: Rate, momentum: Rate, use_locking: bool = False, name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._rate, self._momentum, self._nesterov = learning_rate, momentum, use_nesterov

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        return [scalar("learning_rate", self._rate), grad, scalar("momentum", self._momentum)]

    def attributes(self) -> Mapping[str, Any]:
        return {"use_nesterov": self._nesterov}


class AdagradOptimizer(Optimizer):
    """``var -= rate * gradient / sqrt(sum of squares so far)``. Source: Duchi, Hazan, Singer, JMLR 2011."""

    STEP = "ApplyAdagrad"
    SLOTS = {"accumulator": 0.1}

    def __init__(
        self, learning_rate: Rate, initial_accumulator_value: float = 0.1, use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        if initial_accumulator_value <= 0:
            message = f"expected initial_accumulator_value above 0, got {initial_accumulator_value}"
            raise quoted(GraphError(message), here())
        self._rate, self._first = learning_rate, initial_accumulator_value

    def first_slot(self, name: str, var: Variable) -> Any:
        return self._first

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        return [scalar("learning_rate", self._rate), grad]


class AdadeltaOptimizer(Optimizer):
    """Steps as large as those before. Source: Zeiler, "ADADELTA", 2012."""

    STEP = "ApplyAdadelta"
    SLOTS = {"accum": 0.0, "accum_update": 0.0}

    def __init__(
        self, learning_rate: Rate = 0.001, rho: Rate = 0.95, epsilon: Rate = 1e-8, use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._rate, self._rho, self._epsilon = learning_rate, rho, epsilon

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        numbers = [scalar("lr", self._rate), scalar("rho", self._rho), scalar("epsilon", self._epsilon)]
        return [*numbers, grad]


class RMSPropOptimizer(Optimizer):
    """``var -= rate * gradient / sqrt(mean of squares)``. Source: Hinton's lecture 6e, 2012.

    Args:
        centered: divide by the deviation from the mean instead.
    """

    SLOTS = {"rms": 1.0, "momentum": 0.0}

    def __init__(
        self, learning_rate: Rate, decay: Rate = 0.9, momentum: Rate = 0.0, epsilon: Rate = 1e-10,
        use_locking: bool = False, centered: bool = False, name: str = "RMSProp",
    ) -> None:  # fmt: skip
        self._centered = centered
        super().__init__(use_locking, name)
        self._rate, self._decay, self._momentum, self._epsilon = learning_rate, decay, momentum, epsilon

    def kind(self) -> str:
        return "ApplyCenteredRMSProp" if self._centered else "ApplyRMSProp"

    def slots(self) -> Mapping[str, float]:
        return {"mg": 0.0, **self.SLOTS} if self._centered else self.SLOTS

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        given = {"learning_rate": self._rate, "decay": self._decay, "momentum": self._momentum, "epsilon": self._epsilon}
        return [*(scalar(k, v) for k, v in given.items()), grad]


class AdamOptimizer(Optimizer):
    """Moments of first and second order, corrected for their start. Source: Kingma, Ba, 2014."""

    STEP = "ApplyAdam"
    SLOTS = {"m": 0.0, "v": 0.0}

    def __init__(
        self, learning_rate: Rate = 0.001, beta1: Rate = 0.9, beta2: Rate = 0.999, epsilon: Rate = 1e-8,
        use_locking: bool = False, name: str = "Adam",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._rate, self._betas, self._epsilon = learning_rate, (beta1, beta2), epsilon

    def prepare(self, var_list: Sequence[Variable]) -> None:
        first = min(var_list, key=lambda v: v.name)
        for k, beta in enumerate(self._betas):
            self.shared(f"beta{k + 1}_power", beta() if callable(beta) else beta, first)

    def _powers(self) -> list[Variable]:
        graph = get_default_graph()
        return [v for (_, g), v in self._shared.items() if g is graph]

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        powers = [cast(p, grad.dtype) for p in self._powers()]
        given = {"learning_rate": self._rate, "beta1": self._betas[0], "beta2": self._betas[1], "epsilon": self._epsilon}
        return [*powers, *(scalar(k, v) for k, v in given.items()), *self.more(scalar), grad]

    def more(self, scalar: Any) -> Sequence[Tensor]:
        """Further inputs of the node, before the gradient."""
        return ()

    def finish(self, steps: Sequence[Operation]) -> Sequence[Any]:
        powers, graph = self._powers(), get_default_graph()
        with graph.control_dependencies([*steps, *(p.value().op for p in powers)]):
            return [
                p.assign(p * convert(b() if callable(b) else b, p.dtype)) for p, b in zip(powers, self._betas, strict=True)
            ]


class AdamWOptimizer(AdamOptimizer):
    """`AdamOptimizer` that makes variables smaller by ``weight_decay`` of themselves in each step.

    Source: Loshchilov, Hutter, 2017; ``tf.contrib.opt.AdamWOptimizer``.
    """

    STEP = "ApplyAdamWeightDecay"

    def __init__(
        self, weight_decay: Rate, learning_rate: Rate = 0.001, beta1: Rate = 0.9, beta2: Rate = 0.999,
        epsilon: Rate = 1e-8, use_locking: bool = False, name: str = "AdamW",
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta1, beta2, epsilon, use_locking, name)
        self._decay = weight_decay

    def more(self, scalar: Any) -> Sequence[Tensor]:
        return [scalar("weight_decay", self._decay)]


class FtrlOptimizer(Optimizer):
    """Follow the regularized leader. Source: McMahan et al., KDD 2013."""

    STEP = "ApplyFtrl"
    SLOTS = {"accum": 0.1, "linear": 0.0}

    def __init__(
        self, learning_rate: Rate, learning_rate_power: float = -0.5, initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0,
        use_locking: bool = False, name: str = "Ftrl", accum_name: str | None = None,
        linear_name: str | None = None, l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        strengths = [l1_regularization_strength, l2_regularization_strength, l2_shrinkage_regularization_strength]
        if min(initial_accumulator_value, *strengths) < 0 or learning_rate_power > 0:
            message = "expected a learning_rate_power of at most 0, and strengths of at least 0"
            raise quoted(GraphError(f"{message}, got {learning_rate_power} and {strengths}"), here())
        self._rate, self._power, self._first = learning_rate, learning_rate_power, initial_accumulator_value
        self._strengths = dict(zip(("l1", "l2", "l2_shrinkage"), strengths, strict=True))

    def first_slot(self, name: str, var: Variable) -> Any:
        return self._first if name == "accum" else 0.0

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        return [grad, scalar("learning_rate", self._rate), *(scalar(k, v) for k, v in self._strengths.items())]

    def attributes(self) -> Mapping[str, Any]:
        return {"lr_power": self._power}


class ProximalGradientDescentOptimizer(Optimizer):
    """Gradient descent that keeps variables small. Source: Duchi, Singer, JMLR 2009."""

    STEP = "ApplyProximalGradientDescent"

    def __init__(
        self, learning_rate: Rate, l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0,
        use_locking: bool = False, name: str = "ProximalGradientDescent",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._rate, self._l1, self._l2 = learning_rate, l1_regularization_strength, l2_regularization_strength

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        return [scalar("learning_rate", self._rate), scalar("l1", self._l1), scalar("l2", self._l2), grad]


class ProximalAdagradOptimizer(AdagradOptimizer):
    """`AdagradOptimizer` that keeps variables small. Source: Duchi, Singer, JMLR 2009."""

    STEP = "ApplyProximalAdagrad"

    def __init__(
        self, learning_rate: Rate, initial_accumulator_value: float = 0.1, l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0, use_locking: bool = False, name: str = "ProximalAdagrad",
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, initial_accumulator_value, use_locking, name)
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def inputs(self, grad: Tensor, scalar: Any) -> Sequence[Tensor]:
        return [scalar("learning_rate", self._rate), scalar("l1", self._l1), scalar("l2", self._l2), grad]
