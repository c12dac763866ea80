"""``tf.Variable``: a tensor that keeps its value from run to run.

    w = tf.Variable(tf.zeros([784, 100]))       nodes Variable, Variable/Assign, Variable/read
    session.run(tf.global_variables_initializer())
    session.run(w.assign_add(delta))

A variable used as a tensor is its ``read`` node. Runs order reads and writes by data and by
`tf.control_dependencies` alone; a run in which two accesses to one variable, one of them a
write, have no order is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import UnrankedTensorType

from tfc.dialects.tfc.state import content_of
from tfc.errors import GraphError
from tfc.graph.arrays import group, no_op
from tfc.graph.critical import exclude
from tfc.graph.dtypes import DType
from tfc.graph.graph import Graph, GraphKeys, get_default_graph
from tfc.graph.node import Operation, Operators, Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.ordering import variable_of
from tfc.graph.shape import TensorShape
from tfc.graph.source import here, quoted
from tfc.graph.stores import SEPARATOR


class Variable(Operators):
    """A tensor that keeps its value from run to run.

    Args:
        initial_value: what the initializer puts into it: a tensor, a value, or a function that
            makes one. It gives shape and element type.
        trainable: whether optimizers change it; where left out, unless it is a local variable.
        collections: what to add it to, beside the trainable variables; the global variables
            where it is left out.
        constraint: a function of the value that optimizers apply after each step.
    """

    part_of: tuple[str, Any] | None = None
    """The name of the whole that it is a part of, and which part (`tfc.graph.partitioned.Part`)."""

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Sequence[str] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        dtype: Any = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
        **_unused: Any,
    ) -> None:
        if initial_value is None:
            raise quoted(GraphError("a variable needs an initial value"), here())
        keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        if trainable is None:
            trainable = GraphKeys.LOCAL_VARIABLES not in keys
        self.trainable, self.constraint = trainable, constraint
        graph = initial_value.graph if isinstance(initial_value, Tensor) else get_default_graph()
        # A variable outlives the scopes of control it is made in, as does its initializer.
        root, around = graph.root, graph.get_name_scope()
        prefix = root.name_scope(around and f"{around}/")
        with root.as_default(), root.control_dependencies(None), prefix, name_scope(name, "Variable") as scope:
            self._make(initial_value, dtype, scope)
        if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
            keys.append(GraphKeys.TRAINABLE_VARIABLES)
        self.graph.add_to_collections(keys, self)

    def _make(self, initial_value: Any, dtype: Any, scope: str) -> None:
        if callable(initial_value):
            with name_scope("Initializer"):
                initial_value = initial_value()
        self._initial_value = value = convert(initial_value, dtype, name="initial_value")
        if isinstance(value.type, UnrankedTensorType) or not value.shape.is_fully_defined():
            message = f"a variable needs an initial value of known shape, got {value.shape}"
            help = "its shape never changes, with validate_shape=False either; tf.reshape(x, [...]) fixes that of a value"
            raise quoted(GraphError(message, help=help), here())
        container = get_default_graph().container_name
        key = f"{container}{SEPARATOR}{scope[:-1]}" if container else scope[:-1]
        handle = {"container": container, "shared_name": key, "dtype": value.dtype, "shape": value.shape}
        self._variable = single("VariableV2", [], scope, **handle)
        self._initializer = single("Assign", [self._variable, value], "Assign").op
        self.graph.initializers[self._variable.op] = self._initializer
        self._snapshot = single("Identity", [self._variable], "read")

    @property
    def name(self) -> str:
        return self._variable.name

    @property
    def op(self) -> Operation:
        return self._variable.op

    @property
    def graph(self) -> Graph:
        return self._variable.graph

    @property
    def device(self) -> str:
        return self._variable.device

    @property
    def dtype(self) -> DType:
        return self._variable.dtype

    @property
    def shape(self) -> TensorShape:
        return self._variable.shape

    def get_shape(self) -> TensorShape:
        return self.shape

    @property
    def initializer(self) -> Operation:
        """The node that puts the initial value into the variable."""
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    def value(self) -> Tensor:
        """The ``read`` node: what the variable is where it is used as a tensor."""
        return self._snapshot

    def initialized_value(self) -> Tensor:
        """The value for another variable's initial value, whether or not this one has been initialized.

        In a run that initializes both, this one is initialized first; where it has no value in a run, its initial
        value stands for it.
        """
        from tfc.graph.control import cond

        return cond(is_variable_initialized(self), self.read_value, lambda: self._initial_value)

    def read_value(self) -> Tensor:
        """A new node that reads the variable, after the control dependencies around it."""
        return single("Identity", [self._variable], "read")

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """A node that replaces the value, and gives the new one.

        Args:
            use_locking: assignments of a run that have it come in the order in which they were made, where
                nothing else orders them.
        """
        return _assign("Assign", self, value, name, use_locking)

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """A node that adds to the value, and gives the new one."""
        return _assign("AssignAdd", self, delta, name, use_locking)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """A node that subtracts from the value, and gives the new one."""
        return _assign("AssignSub", self, delta, name, use_locking)

    def count_up_to(self, limit: int) -> Tensor:
        """`tf.count_up_to`."""
        return self._scatter("count_up_to", limit)

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_add` of the values of ``sparse_delta`` at its indices."""
        return self._scatter("scatter_add", sparse_delta.indices, sparse_delta.values, name=name)

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_sub` of the values of ``sparse_delta`` at its indices."""
        return self._scatter("scatter_sub", sparse_delta.indices, sparse_delta.values, name=name)

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_update` of the values of ``sparse_delta`` at its indices."""
        return self._scatter("scatter_update", sparse_delta.indices, sparse_delta.values, name=name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`tf.scatter_nd_add`."""
        return self._scatter("scatter_nd_add", indices, updates, name=name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`tf.scatter_nd_sub`."""
        return self._scatter("scatter_nd_sub", indices, updates, name=name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`tf.scatter_nd_update`."""
        return self._scatter("scatter_nd_update", indices, updates, name=name)

    def _scatter(self, function: str, *arguments: Any, **named: Any) -> Tensor:
        from tfc.graph import scatter

        return getattr(scatter, function)(self, *arguments, **named)

    def load(self, value: Any, session: Any = None) -> None:
        """Put ``value`` into the variable, now."""
        from tfc.graph.session import default_session

        default_session(session, self.graph).load(self, value)

    def eval(self, session: Any = None) -> Any:
        """The value now."""
        return self._snapshot.eval(session=session)

    def _as_tensor(self) -> Tensor:
        return self.read_value() if self._variable.op in get_default_graph().fresh else self._snapshot

    @property
    def handle(self) -> Tensor:
        """The variable itself, not its value: what is assigned to."""
        return self._variable

    def _as_graph_element(self) -> Tensor:
        return self._variable

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


def handle_of(ref: Any, type_: str) -> Tensor:
    """The handle of a variable that a node of kind ``type_`` changes.

    Raises:
        GraphError: ``ref`` is no variable.
    """
    handle = ref.handle if isinstance(ref, Variable) else ref
    if not isinstance(handle, Tensor) or not handle.is_handle:
        help = "a tensor is a value; only a tf.Variable can change"
        raise quoted(GraphError(f"'{type_}': expected a variable to assign to, got {ref!r}", help=help), here())
    return handle


def _assign(type_: str, ref: Any, value: Any, name: str | None, locked: bool | None) -> Tensor:
    handle = handle_of(ref, type_)
    with name_scope(name, type_, [handle]) as scope:
        value = convert(value, handle.dtype, name="value")
        shape = TensorShape.of(content_of(handle.value))
        if not value.shape.is_compatible_with(shape):
            message = f"'{type_}': expected a value of shape {shape} for the variable '{variable_of(handle).name}', got {value.shape}"
            help = f"it was made at {variable_of(handle).made_at}, and keeps its shape, with validate_shape=False either"
            raise quoted(GraphError(message, help=help), here())
        made = single(type_, [handle, value], scope)
    if locked:
        exclude(made.graph, made.op.name, f"variable {variable_of(handle).attrs['shared_name']}")
    return made


def assign(ref: Any, value: Any, validate_shape: Any = None, use_locking: Any = None, name: Any = None) -> Tensor:
    """A node that replaces the value of the variable ``ref``, and gives the new one."""
    return _assign("Assign", ref, value, name, use_locking)


def assign_add(ref: Any, value: Any, use_locking: Any = None, name: Any = None) -> Tensor:
    """A node that adds to the variable ``ref``, and gives the new value."""
    return _assign("AssignAdd", ref, value, name, use_locking)


def assign_sub(ref: Any, value: Any, use_locking: Any = None, name: Any = None) -> Tensor:
    """A node that subtracts from the variable ``ref``, and gives the new value."""
    return _assign("AssignSub", ref, value, name, use_locking)


def global_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Variable], name: str = "init") -> Operation:
    """A node that runs the initializers of ``var_list``."""
    return group(*[v.initializer for v in var_list], name=name) if var_list else no_op(name)


def global_variables_initializer() -> Operation:
    """A node that initializes all global variables there are now."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """A node that initializes all local variables there are now."""
    return variables_initializer(local_variables())


class Query:
    """Something to fetch that the session itself answers."""

    def __init__(self, name: str, answer: Callable[[Any], Any]) -> None:
        self.name, self.answer = name, answer

    def __repr__(self) -> str:
        return f"<tf.Query '{self.name}'>"


def report_uninitialized_variables(var_list: Sequence[Variable] | None = None, name: str = "report_uninitialized_variables") -> Query:
    """To be fetched: the names of the variables that have no value yet, as an array of bytes."""
    wanted = [*global_variables(), *local_variables()] if var_list is None else list(var_list)

    def answer(session: Any) -> Any:
        return np.array([v.op.name.encode() for v in wanted if not session.is_initialized(v.op)], object)

    return Query(name, answer)


def is_variable_initialized(variable: Variable, name: str | None = None) -> Tensor:
    """Whether the variable has a value: one truth value.

    It has one in a run if it had one before, if the run initializes it, or if the control dependencies here
    assign one. ``tf.cond`` on it may read the variable in its first branch.
    """
    with name_scope(name, "IsVariableInitialized", [variable.handle]) as scope:
        return single("IsVariableInitialized", [handle_of(variable, "IsVariableInitialized")], scope)


initialize_all_variables = global_variables_initializer
