"""``tf.train.ExponentialMovingAverage``: variables that follow others slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph.arrays import group, zeros
from tfc.graph.graph import GraphKeys, get_default_graph
from tfc.graph.math import cast, minimum
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import convert, name_scope
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable, trainable_variables

_COLLECTION = GraphKeys.MOVING_AVERAGE_VARIABLES


def assign_moving_average(variable: Variable, value: Any, decay: Any, name: str | None = None) -> Tensor:
    """``variable = decay * variable + (1 - decay) * value``; what it was is what other nodes share."""
    with name_scope(name, "AssignMovingAvg", [variable.handle]) as scope:
        share = 1 - convert(decay, variable.dtype)
        return variable.assign_sub((variable.value() - convert(value)) * share, name=scope)


class ExponentialMovingAverage:
    """Averages of variables and tensors, in which older values count less and less.

    Args:
        decay: how much of the average is kept in each step.
        num_updates: a count of steps; ``decay`` is at most ``(1 + n) / (10 + n)``, so that an average
            follows quickly at first.
        zero_debias: of averages of tensors, which begin with 0, divide by what of them is not that 0.
    """

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        self._decay, self._num_updates, self._debias, self._name = decay, num_updates, zero_debias, name
        self._averages: dict[Any, Variable] = {}
        self._weights: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        return self._name

    def apply(self, var_list: Sequence[Any] | None = None) -> Operation:
        """A node that moves the averages of ``var_list`` (all trainable variables where left out).

        Raises:
            GraphError: an average of integers, or of the same variable twice.
        """
        wanted = trainable_variables() if var_list is None else list(var_list)
        for v in wanted:
            if not v.dtype.is_floating:
                raise quoted(GraphError(f"the average of '{v.name}' of {v.dtype.name}: expected floats"), here())
            if v in self._averages:
                raise quoted(GraphError(f"there is an average of '{v.name}' already"), here())
            self._make(v)
        with name_scope(self._name) as scope:
            decay: Any = self._decay
            if self._num_updates is not None:
                count = cast(self._num_updates, wanted[0].dtype if wanted else None)
                decay = minimum(convert(decay, count.dtype), (1 + count) / (10 + count))
            moves = [self._move(v, decay) for v in wanted]
            return group(*moves, name=scope)

    def _make(self, v: Any) -> None:
        graph, is_variable = v.graph, isinstance(v, Variable)
        with graph.control_dependencies(None), graph.name_scope(None), graph.colocate_with(v.op):
            first = v.initialized_value() if is_variable else lambda: zeros(v.shape, v.dtype)
            self._averages[v] = Variable(first, False, name=f"{v.op.name}/{self._name}")
            if self._debias and not is_variable:
                self._weights[v] = Variable(0.0, False, name=f"{v.op.name}/{self._name}/weight", dtype=v.dtype)
        kept = graph.get_collection_ref(_COLLECTION)
        if is_variable and v not in kept:
            kept.append(v)

    def _move(self, v: Any, decay: Any) -> Any:
        average, value = self._averages[v], v.read_value() if isinstance(v, Variable) else v
        weight = self._weights.get(v)
        with get_default_graph().control_dependencies([average.value().op]):
            if weight is None:
                return assign_moving_average(average, value, decay)
            share = 1 - convert(decay, average.dtype)
            total = weight.value() + (1 - weight.value()) * share
            biased = average.value() * weight.value()
            moved = biased - (biased - value) * share
            return group(weight.assign(total), average.assign(moved / total))

    def average(self, var: Any) -> Variable | None:
        """The average of ``var``, once there is one."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the average of ``var``, which need not exist."""
        known = self._averages.get(var)
        return known.op.name if known is not None else f"{var.op.name}/{self._name}"

    def variables_to_restore(self, moving_avg_variables: Sequence[Variable] | None = None) -> dict[str, Variable]:
        """Variables by the names under which their averages are saved, or they themselves."""
        from tfc.graph.variables import global_variables

        graph = get_default_graph()
        moving = [*trainable_variables(), *graph.get_collection(_COLLECTION)]
        wanted = dict.fromkeys(moving if moving_avg_variables is None else moving_avg_variables)
        found = {self.average_name(v): v for v in wanted}
        averages = set(self._averages.values())
        found.update((v.op.name, v) for v in global_variables() if v not in wanted and v not in averages)
        return found
