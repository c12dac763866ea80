"""``tf.nn.rnn_cell``: one step of a recurrent network.

    cell = tf.nn.rnn_cell.LSTMCell(128)
    output, state = cell(x, cell.zero_state(batch, tf.float32))

Names, gates and initial values of the variables are those of TensorFlow 1, so that its checkpoints fit. A cell
makes its variables when it is first used, in the variable scope of then, and uses them ever after.

A cell whose gates are linear in the input says so by `project` and `step`: `tf.nn.dynamic_rnn` then multiplies
the inputs of all steps at once, before its loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfc.errors import GraphError
from tfc.graph import nest
from tfc.graph.arrays import concat, slice_, split, stack, zeros
from tfc.graph.dtypes import as_dtype
from tfc.graph.graph import get_default_graph
from tfc.graph.initializers import Ones, Zeros
from tfc.graph.math import clip_by_value, matmul, sigmoid, tanh
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, is_tensor
from tfc.graph.scopes import get_variable, get_variable_scope, variable_scope
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM: its memory and its last output."""

    c: Any
    h: Any


Activation = Callable[[Any], Tensor]


class RNNCell:
    """A step: from an input ``[batch, n]`` and a state to an output ``[batch, output_size]`` and the next state.

    A class of one's own gives ``state_size``, ``output_size`` and ``call(inputs, state)``.
    """

    def __init__(self, trainable: bool = True, name: str | None = None, dtype: Any = None, **_others: Any) -> None:
        self.trainable, self.name, self.dtype = trainable, name, dtype

    @property
    def state_size(self) -> Any:
        """The width of the state, in its structure."""
        raise NotImplementedError(f"{type(self).__name__} has no state_size")

    @property
    def output_size(self) -> Any:
        """The width of the output."""
        raise NotImplementedError(f"{type(self).__name__} has no output_size")

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """The output and the next state."""
        raise NotImplementedError(f"{type(self).__name__} has no call")

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        with variable_scope(scope or get_variable_scope()):
            return self.call(inputs, state)

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros, in the structure of ``state_size``."""
        size = stack if is_tensor(batch_size) else list
        return nest.map_structure(lambda n: zeros(size([batch_size, n]), as_dtype(dtype)), self.state_size)


class LinearCell(RNNCell):
    """A cell whose gates are linear in its input, and that has variables of its own."""

    BASE = ""
    """What its scope is called where nobody says."""

    def __init__(self, units: Any, activation: Any, reuse: Any, name: str | None, dtype: Any) -> None:
        super().__init__(True, name, dtype)
        if not isinstance(units, int) or units < 1:
            raise quoted(GraphError(f"'tfc.{type(self).__name__}': expected a number of units, got {units!r}"), here())
        self.units: int = units
        self.activation, self._reuse = _activation(activation), reuse
        self._variables: dict[str, Variable] = {}
        self._depth: int | None = None
        self._parts: dict[tuple[str, int], Tensor] = {}

    @property
    def output_size(self) -> Any:
        return self.units

    @property
    def variables(self) -> list[Variable]:
        return list(self._variables.values())

    trainable_variables = weights = trainable_weights = variables

    def build(self, depth: int, dtype: Any) -> None:
        """Make the variables for inputs of width ``depth``."""
        raise NotImplementedError

    def project(self, x: Tensor) -> Tensor:
        """What of the gates depends on the input: ``[n, gates]`` of ``[n, depth]``."""
        raise NotImplementedError

    def step(self, projected: Tensor, state: Any) -> tuple[Any, Any]:
        """A step from what `project` gave."""
        raise NotImplementedError

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        return self.step(self.project(inputs), state)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        x = self.built(inputs, scope)
        return self.call(x, state)

    def built(self, inputs: Any, scope: Any = None) -> Tensor:
        """The input as a tensor of a known width, for which the variables are there."""
        x = convert(inputs)
        dims = x.shape.dims
        depth = None if not dims else dims[-1]
        if not isinstance(depth, int):
            message = f"'tfc.{type(self).__name__}': expected inputs of a known width, got '{x.name}' {x.shape}"
            raise quoted(GraphError(f"{message} from {x.op.made_at}", help="x.set_shape([None, n])"), here())
        if self._depth is None:
            self._depth = depth
            default = self.name or self.BASE
            first, fallback = (scope or default, None) if self._reuse or self.name else (scope, default)
            with variable_scope(first, fallback, reuse=self._reuse):
                self.build(depth, x.dtype)
        elif depth != self._depth:
            message = f"'tfc.{type(self).__name__}': expected inputs of width {self._depth}, as before, got {depth}"
            raise quoted(GraphError(message), here())
        return x

    def _add(self, name: str, shape: Sequence[int], dtype: Any, initializer: Any = None) -> None:
        kind = self.dtype or dtype
        self._variables[name] = get_variable(name, shape, kind, initializer=initializer, trainable=self.trainable)

    def _rows(self, name: str, first: int, count: int) -> Tensor:
        """Some rows of a variable: those for the input, or those for the state. They are cut out once, outside
        of loops, unless the function around changes the variable."""
        variable = self._variables[name]
        if variable.op in get_default_graph().fresh:
            return variable[first : first + count]
        if (name, first) not in self._parts:
            root = variable.graph
            with root.as_default(), root.control_dependencies(None), root.name_scope(None):
                part = slice_(variable, [first, 0], [count, -1], name=f"{variable.op.name}/part")
            self._parts[name, first] = part
        return self._parts[name, first]

    def _gates(self, projected: Tensor, h: Any, name: str = "kernel") -> Tensor:
        return projected + matmul(h, self._rows(name, self._depth or 0, self._state_width))

    @property
    def _state_width(self) -> int:
        return self.units

    def _from_input(self, x: Tensor, name: str = "kernel", bias: str = "bias") -> Tensor:
        return matmul(x, self._rows(name, 0, self._depth or 0)) + self._variables[bias]


def _activation(given: Any) -> Activation:
    if given is None:
        return tanh
    if isinstance(given, str):
        from importlib import import_module

        return getattr(import_module("tfc.graph.nn"), given)
    return given


class BasicRNNCell(LinearCell):
    """``tanh(x w + h u + b)``."""

    BASE = "basic_rnn_cell"

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, name: str | None = None, dtype: Any = None,
        **_others: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype)

    @property
    def state_size(self) -> Any:
        return self.units

    def build(self, depth: int, dtype: Any) -> None:
        self._add("kernel", [depth + self.units, self.units], dtype)
        self._add("bias", [self.units], dtype, Zeros())

    def project(self, x: Tensor) -> Tensor:
        return self._from_input(x)

    def step(self, projected: Tensor, state: Any) -> tuple[Any, Any]:
        output = self.activation(self._gates(projected, state))
        return output, output


class GRUCell(LinearCell):
    """A gated recurrent unit (Cho et al. 2014): ``r, u = sigmoid(..); h' = u h + (1 - u) tanh(x w + (r h) v + b)``."""

    BASE = "gru_cell"

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, kernel_initializer: Any = None,
        bias_initializer: Any = None, name: str | None = None, dtype: Any = None, **_others: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype)
        self._kernel, self._bias = kernel_initializer, bias_initializer

    @property
    def state_size(self) -> Any:
        return self.units

    def build(self, depth: int, dtype: Any) -> None:
        n = self.units
        self._add("gates/kernel", [depth + n, 2 * n], dtype, self._kernel)
        self._add("gates/bias", [2 * n], dtype, self._bias or Ones())
        self._add("candidate/kernel", [depth + n, n], dtype, self._kernel)
        self._add("candidate/bias", [n], dtype, self._bias or Zeros())

    def project(self, x: Tensor) -> Tensor:
        parts = [self._from_input(x, f"{part}/kernel", f"{part}/bias") for part in ("gates", "candidate")]
        return concat(parts, 1)

    def step(self, projected: Tensor, state: Any) -> tuple[Any, Any]:
        n = self.units
        r, u = split(sigmoid(self._gates(projected[:, : 2 * n], state, "gates/kernel")), 2, 1)
        candidate = self.activation(self._gates(projected[:, 2 * n :], r * state, "candidate/kernel"))
        output = u * state + (1 - u) * candidate
        return output, output


class BasicLSTMCell(LinearCell):
    """A long short-term memory (Zaremba et al. 2014): ``c' = c sigmoid(f + 1) + sigmoid(i) tanh(j)``.

    Args:
        forget_bias: what is added to the forget gate.
        state_is_tuple: whether a state is an `LSTMStateTuple`, or both parts side by side.
    """

    BASE = "basic_lstm_cell"

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Any = None,
        reuse: Any = None, name: str | None = None, dtype: Any = None, **_others: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype)
        self._forget_bias, self._tuples = forget_bias, state_is_tuple

    @property
    def state_size(self) -> Any:
        sizes = LSTMStateTuple(self.units, self._state_width)
        return sizes if self._tuples else sum(sizes)

    def build(self, depth: int, dtype: Any) -> None:
        self._add("kernel", [depth + self._state_width, 4 * self.units], dtype)
        self._add("bias", [4 * self.units], dtype, Zeros())

    def project(self, x: Tensor) -> Tensor:
        return self._from_input(x)

    def step(self, projected: Tensor, state: Any) -> tuple[Any, Any]:
        c, h = state if self._tuples else split(state, [self.units, self._state_width], 1)
        i, j, f, o = split(self._gates(projected, h), 4, 1)
        c, h = self._next(c, i, self.activation(j), f, o)
        return h, LSTMStateTuple(c, h) if self._tuples else concat([c, h], 1)

    def _next(self, c: Any, i: Tensor, j: Tensor, f: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
        """The next memory and output from the gates."""
        memory = c * sigmoid(f + self._forget_bias) + sigmoid(i) * j
        return memory, self.activation(memory) * sigmoid(o)


class LSTMCell(BasicLSTMCell):
    """A long short-term memory with peepholes, clipping and a projection (Sak et al. 2014).

    Args:
        use_peepholes: whether the gates see the memory.
        cell_clip: the memory is moved into ``[-cell_clip, cell_clip]``.
        num_proj: the width of the output, which is then a linear function of what it were.
        proj_clip: the same for the projected output.
    """

    BASE = "lstm_cell"

    def __init__(
        self, num_units: int, use_peepholes: bool = False, cell_clip: float | None = None, initializer: Any = None,
        num_proj: int | None = None, proj_clip: float | None = None, num_unit_shards: Any = None,
        num_proj_shards: Any = None, forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Any = None,
        reuse: Any = None, name: str | None = None, dtype: Any = None, **_others: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, forget_bias, state_is_tuple, activation, reuse, name, dtype)
        self._peepholes, self._cell_clip, self._initializer = use_peepholes, cell_clip, initializer
        self._projected, self._proj_clip = num_proj, proj_clip

    @property
    def _state_width(self) -> int:
        return self._projected or self.units

    @property
    def output_size(self) -> Any:
        return self._state_width

    def build(self, depth: int, dtype: Any) -> None:
        n = self.units
        self._add("kernel", [depth + self._state_width, 4 * n], dtype, self._initializer)
        self._add("bias", [4 * n], dtype, Zeros())
        if self._peepholes:
            for gate in "fio":
                self._add(f"w_{gate}_diag", [n], dtype, self._initializer)
        if self._projected:
            self._add("projection/kernel", [n, self._projected], dtype, self._initializer)

    def _next(self, c: Any, i: Tensor, j: Tensor, f: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
        v = self._variables
        if self._peepholes:
            f, i = f + v["w_f_diag"] * c, i + v["w_i_diag"] * c
        memory = sigmoid(f + self._forget_bias) * c + sigmoid(i) * j
        if self._cell_clip is not None:
            memory = clip_by_value(memory, -self._cell_clip, self._cell_clip)
        if self._peepholes:
            o = o + v["w_o_diag"] * memory
        output = sigmoid(o) * self.activation(memory)
        if self._projected:
            output = matmul(output, v["projection/kernel"])
            if self._proj_clip is not None:
                output = clip_by_value(output, -self._proj_clip, self._proj_clip)
        return memory, output


class MultiRNNCell(RNNCell):
    """Cells one after another, each on the output of the one before; their states are a tuple."""

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        super().__init__()
        self.cells = list(cells)
        if not self.cells or not state_is_tuple:
            message = "'tfc.MultiRNNCell': expected a list of cells, and states in a tuple"
            raise quoted(GraphError(message), here())
        if len({id(c) for c in self.cells}) < len(self.cells):
            help = "[LSTMCell(n) for _ in range(k)] makes k cells; [cell] * k is one cell k times"
            raise quoted(GraphError("'tfc.MultiRNNCell': the same cell stands twice", help=help), here())

    @property
    def state_size(self) -> Any:
        return tuple(c.state_size for c in self.cells)

    @property
    def output_size(self) -> Any:
        return self.cells[-1].output_size

    @property
    def variables(self) -> list[Variable]:
        return [v for c in self.cells for v in getattr(c, "variables", [])]

    trainable_variables = weights = trainable_weights = variables

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        with variable_scope(scope or "multi_rnn_cell"):
            return self.call(inputs, state)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        states: list[Any] = []
        for k, (cell, old) in enumerate(zip(self.cells, state, strict=True)):
            with variable_scope(f"cell_{k}"):
                inputs, new = cell(inputs, old)
            states.append(new)
        return inputs, tuple(states)


class DropoutWrapper(RNNCell):
    """A cell some of whose inputs, states and outputs are dropped, others in each step.

    Args:
        input_keep_prob, output_keep_prob, state_keep_prob: the share that is kept. The memory of an LSTM is
            kept whole.
    """

    def __init__(
        self, cell: RNNCell, input_keep_prob: Any = 1.0, output_keep_prob: Any = 1.0, state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False, input_size: Any = None, dtype: Any = None, seed: int | None = None,
        dropout_state_filter_visitor: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if variational_recurrent or dropout_state_filter_visitor is not None:
            message = "'tfc.DropoutWrapper': variational_recurrent and dropout_state_filter_visitor are not supported"
            raise quoted(GraphError(message), here())
        for what, p in (("input", input_keep_prob), ("output", output_keep_prob), ("state", state_keep_prob)):
            if isinstance(p, int | float) and not 0 <= p <= 1:
                message = f"'tfc.DropoutWrapper': expected {what}_keep_prob in [0, 1], got {p}"
                raise quoted(GraphError(message), here())
        self.cell, self._seed = cell, seed
        self._keep = input_keep_prob, state_keep_prob, output_keep_prob

    @property
    def wrapped_cell(self) -> RNNCell:
        return self.cell

    @property
    def state_size(self) -> Any:
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        return self.cell.output_size

    @property
    def variables(self) -> list[Variable]:
        return getattr(self.cell, "variables", [])

    trainable_variables = weights = trainable_weights = variables

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        first, between, last = self._keep
        output, new = self.cell(self._dropped(inputs, first), state, scope)
        return self._dropped(output, last), self._dropped_state(new, between)

    def _dropped(self, x: Any, keep: Any) -> Any:
        from tfc.graph.nn import dropout

        if isinstance(keep, int | float) and keep >= 1:
            return x
        return nest.map_structure(lambda t: dropout(t, keep, seed=self._seed), x)

    def _dropped_state(self, state: Any, keep: Any) -> Any:
        if isinstance(state, LSTMStateTuple):
            return LSTMStateTuple(state.c, self._dropped(state.h, keep))
        if isinstance(state, tuple) and not hasattr(state, "_fields"):
            return tuple(self._dropped_state(s, keep) for s in state)
        return self._dropped(state, keep)


class ResidualWrapper(RNNCell):
    """A cell to whose output its input is added."""

    def __init__(self, cell: RNNCell, residual_fn: Any = None) -> None:
        super().__init__()
        self.cell, self._add = cell, residual_fn or (lambda x, y: x + y)

    @property
    def state_size(self) -> Any:
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        return self.cell.output_size

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        output, new = self.cell(inputs, state, scope)
        return self._add(inputs, output), new


__all__ = [
    "BasicLSTMCell", "BasicRNNCell", "DropoutWrapper", "GRUCell", "LSTMCell", "LSTMStateTuple", "MultiRNNCell",
    "RNNCell", "ResidualWrapper",
]  # fmt: skip
