"""``tf.get_variable`` and ``tf.variable_scope``: variables found again by name.

    with tf.variable_scope("conv1"):
        w = tf.get_variable("weights", [5, 5, 32, 32])          conv1/weights
    with tf.variable_scope("conv1", reuse=True):
        tf.get_variable("weights", [5, 5, 32, 32]) is w

Names depend on variable scopes alone, not on name scopes; a variable scope opens a name scope too.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from tfc.errors import GraphError
from tfc.graph.dtypes import DType, as_dtype, float32
from tfc.graph.graph import Graph, GraphKeys, get_default_graph, graph_of
from tfc.graph.initializers import (
    Initializer,
    Zeros,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)
from tfc.graph.node import Tensor
from tfc.graph.ops import as_array
from tfc.graph.partitioned import Part, PartitionedVariable, extents_of, parts_of
from tfc.graph.shape import TensorShape
from tfc.graph.source import describe, here, quoted
from tfc.graph.variables import Variable


class _AutoReuse:
    """Reuse a variable where there is one, else make it."""

    def __repr__(self) -> str:
        return "tf.AUTO_REUSE"


AUTO_REUSE = _AutoReuse()
Reuse = bool | _AutoReuse | None


class VariableScope:
    """A prefix of names, and defaults for the variables made under it."""

    def __init__(self, name: str, reuse: Reuse, original_name_scope: str = "", **defaults: Any) -> None:
        self.name, self._reuse = name, reuse
        self.defaults = defaults
        """Of ``initializer``, ``regularizer``, ``dtype``, ``custom_getter``, ``partitioner``, ``constraint``."""
        self.original_name_scope = original_name_scope
        """The prefix of the names of nodes that were made where the scope was first opened."""

    @property
    def reuse(self) -> Reuse:
        return self._reuse

    def reuse_variables(self) -> None:
        """From now on only find variables, make none."""
        self._reuse = True

    @property
    def initializer(self) -> Any:
        return self.defaults.get("initializer")

    @property
    def regularizer(self) -> Any:
        return self.defaults.get("regularizer")

    @property
    def dtype(self) -> DType:
        return as_dtype(self.defaults.get("dtype", float32))

    @property
    def custom_getter(self) -> Any:
        return self.defaults.get("custom_getter")

    @property
    def partitioner(self) -> Any:
        return self.defaults.get("partitioner")

    @property
    def constraint(self) -> Any:
        return self.defaults.get("constraint")

    def set_initializer(self, initializer: Any) -> None:
        self.defaults["initializer"] = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.defaults["regularizer"] = regularizer

    def set_dtype(self, dtype: Any) -> None:
        self.defaults["dtype"] = dtype

    def set_custom_getter(self, custom_getter: Any) -> None:
        self.defaults["custom_getter"] = custom_getter

    def set_partitioner(self, partitioner: Any) -> None:
        self.defaults["partitioner"] = partitioner

    def get_collection(self, name: str) -> list[Any]:
        """What the collection ``name`` has under the scope."""
        prefix = f"{self.name}/" if self.name else ""
        return [v for v in get_default_graph().get_collection(name) if v.name.startswith(prefix)]

    def global_variables(self) -> list[Variable]:
        """The global variables under the scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Variable]:
        """The local variables under the scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Variable]:
        """The trainable variables under the scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def __repr__(self) -> str:
        return f"<tf.VariableScope '{self.name}' reuse={self.reuse}>"


class _Store:
    """The variables of a graph by name, and its open scopes."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.partitioned: dict[str, PartitionedVariable] = {}
        self.making: dict[str, str] = {}
        """Variables whose initial value is being made, and for which line."""
        self.scope = VariableScope("", False)
        self.opened: dict[str, int] = {}
        """How often each scope has been opened: for names made from a default."""

    def unique_scope(self, name: str) -> str:
        prefix = f"{self.scope.name}/" if self.scope.name else ""
        if not self.opened.get(prefix + name):
            return name
        number = 1
        while self.opened.get(f"{prefix}{name}_{number}"):
            number += 1
        return f"{name}_{number}"

    def close_inner(self, name: str) -> None:
        for key in self.opened:
            if not name or key.startswith(f"{name}/"):
                self.opened[key] = 0


_stores: WeakKeyDictionary[Graph, _Store] = WeakKeyDictionary()


def _store() -> _Store:
    return _stores.setdefault(get_default_graph().root, _Store())


def get_variable_scope() -> VariableScope:
    """The scope that `get_variable` uses now."""
    return _store().scope


@contextmanager
def variable_scope(
    name_or_scope: Any,
    default_name: str | None = None,
    values: Iterable[Any] | None = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Reuse = None,
    dtype: Any = None,
    use_resource: Any = None,
    constraint: Any = None,
    auxiliary_name_scope: bool = True,
) -> Generator[VariableScope]:
    """Variables made or found inside have names that begin with the scope's.

    Args:
        name_or_scope: a name under the current scope, or a scope to enter again.
        default_name: the name where none is given, made unique.
        reuse: True to find variables only, `AUTO_REUSE` to make those that are missing; inherited.
        initializer, regularizer, dtype, custom_getter, partitioner, constraint: defaults of `get_variable` inside.
        auxiliary_name_scope: whether nodes made inside have the name, too.
    """
    if name_or_scope is None and default_name is None:
        raise quoted(GraphError("a variable scope needs a name or a default name"), here())
    if name_or_scope is not None and not isinstance(name_or_scope, str | VariableScope):
        raise quoted(GraphError(f"expected a name or a variable scope, got {name_or_scope!r}"), here())
    graph = graph_of(values or ())
    with graph.as_default():
        store = _store()
        outer, opened = store.scope, dict(store.opened)
        given = {"initializer": initializer, "regularizer": regularizer, "dtype": dtype}
        given |= {"partitioner": partitioner, "constraint": constraint}
        if isinstance(name_or_scope, VariableScope):
            base, full = name_or_scope, name_or_scope.name
            short = full.rpartition("/")[2]
        else:
            base = outer
            short = name_or_scope or store.unique_scope(default_name or "")
            full = f"{outer.name}/{short}" if outer.name else short
        defaults = base.defaults | {k: v for k, v in given.items() if v is not None}
        if custom_getter is not None:
            defaults["custom_getter"] = _composed(base.defaults.get("custom_getter"), custom_getter)
        first = base.original_name_scope if base is name_or_scope else ""
        scope = VariableScope(full, reuse or base.reuse, first, **defaults)
        store.scope = scope
        store.opened[full] = store.opened.get(full, 0) + 1
        try:
            if not auxiliary_name_scope or not short:
                yield scope
            else:
                with graph.name_scope(short) as name_scope:
                    scope.original_name_scope = first or name_scope
                    yield scope
        finally:
            store.scope = outer
            store.close_inner(full)
            if isinstance(name_or_scope, VariableScope):
                store.opened = opened


def get_variable(
    name: Any,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Sequence[str] | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: Any = None,
    custom_getter: Any = None,
    constraint: Any = None,
    **_others: Any,
) -> Any:
    """The variable ``name`` of the current scope: made, or found where the scope reuses.

    Args:
        shape: its extents; left out where ``initializer`` is a tensor, which has one.
        dtype: float32 where neither it nor a tensor says otherwise.
        initializer: a tensor, an initializer, or a function of shape and dtype (or of nothing); where left
            out that of the scope, else `glorot_uniform` for floats and zeros for the rest.
        regularizer: a function of the variable whose value is collected as a loss.
        trainable: whether optimizers change it; where left out, unless it is a local variable.
        partitioner: a function of shape and dtype: in how many parts each dim is cut. The result is then a
            `PartitionedVariable`.
        custom_getter: a function that is called in place of this one, with this one first.
        constraint: a function of the value that optimizers apply after each step.

    Raises:
        GraphError: it exists and is not to be reused, is to be reused and does not exist, or
            has another shape or element type.
    """
    store = _store()
    scope = store.scope
    defaults = scope.defaults
    if not isinstance(name, str) or not name:
        raise quoted(GraphError(f"expected the name of a variable, got {name!r}"), here())
    full = f"{scope.name}/{name}" if scope.name else name
    given = {"dtype": dtype, "initializer": initializer, "regularizer": regularizer}
    given |= {"partitioner": partitioner, "constraint": constraint}
    arguments: dict[str, Any] = {k: defaults.get(k) if v is None else v for k, v in given.items()}
    arguments |= {"shape": shape, "trainable": trainable, "collections": collections, "reuse": scope.reuse}
    getter = defaults.get("custom_getter")
    if custom_getter is not None:
        getter = _composed(getter, custom_getter)
    with get_default_graph().name_scope(None):
        return _get(full, **arguments) if getter is None else getter(_get, full, **arguments)


def get_local_variable(name: str, *arguments: Any, collections: Sequence[str] | None = None, **named: Any) -> Any:
    """`get_variable` of a variable that is local: not trained, not saved."""
    keys = [GraphKeys.LOCAL_VARIABLES, *(collections or ())]
    return get_variable(name, *arguments, **(named | {"trainable": False, "collections": keys}))


def no_regularizer(_value: Any) -> None:
    """A regularizer that is none, against that of a scope."""


def _get(name: str, **arguments: Any) -> Any:
    """Find or make the variable of the full name."""
    partitioner = arguments.pop("partitioner", None)
    if partitioner is not None and arguments.get("shape") is not None:
        return _partitioned(name, partitioner, **arguments)
    return _one(name, **arguments)


def _one(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Sequence[str] | None = None,
    reuse: Reuse = None,
    constraint: Any = None,
    part: Part | None = None,
    **_others: Any,
) -> Variable:
    store = _store()
    known = store.variables.get(name)
    if known is not None:
        return _found(name, known, shape, dtype, reuse)
    if name in store.partitioned:
        raise quoted(GraphError(f"Variable {name} is partitioned: a partitioner finds it"), here())
    if reuse is True:
        message = (
            f"Variable {name} does not exist, or was not created with tf.get_variable(). "
            "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?"
        )
        raise quoted(GraphError(message), here())
    if (begun := store.making.get(name)) is not None:
        message = f"the initial value of the variable {name} needs that variable itself"
        chain = " needs ".join([*(f"'{n}' ({line})" for n, line in store.making.items()), f"'{name}'"])
        raise quoted(GraphError(f"{message}: {chain}", help=f"{begun} has to begin with something else"), here())
    store.making[name] = describe(here())
    try:
        first = _initial_value(name, shape, dtype, initializer, part)
        made = Variable(first, trainable, collections, name=name, dtype=dtype, constraint=constraint)
    finally:
        del store.making[name]
    store.variables[name] = made
    if shape is not None and not TensorShape(shape).is_compatible_with(made.shape):
        message = f"the initializer of the variable {name} gave the shape {made.shape}, not {TensorShape(shape)}"
        raise quoted(GraphError(message), here())
    _regularize(name, made, regularizer)
    return made


def _regularize(name: str, value: Any, regularizer: Any) -> None:
    if regularizer is None:
        return
    with get_default_graph().name_scope(f"{name}/Regularizer/"):
        loss = regularizer(value)
    if loss is not None:
        get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


def _partitioned(
    name: str, partitioner: Any, shape: Any, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    reuse: Reuse = None, **arguments: Any,
) -> PartitionedVariable:  # fmt: skip
    """Find or make a variable in parts."""
    store, whole = _store(), TensorShape(shape)
    if not whole.is_fully_defined():
        message = f"Shape of a new variable ({name}) must be fully defined, but instead was {whole}."
        raise quoted(GraphError(message), here())
    extents, kind = extents_of(whole), as_dtype(float32 if dtype is None else dtype)
    known = store.partitioned.get(name)
    if known is not None and not reuse:
        raise quoted(_exists(name, next(iter(known))), here())
    if name in store.variables:
        raise quoted(GraphError(f"Variable {name} exists and is not partitioned"), here())
    parts = parts_of(partitioner(shape=whole, dtype=kind), extents)
    variables = [
        _one(
            f"{name}/part_{k}", None if _is_value(initializer) else part.shape, dtype,
            part.of_value(initializer) if _is_value(initializer) else initializer,
            reuse=reuse, part=part, **arguments,
        )
        for k, part in enumerate(parts)
    ]  # fmt: skip
    if known is None:
        known = store.partitioned[name] = PartitionedVariable(name, whole, variables, parts)
        _regularize(name, known, regularizer)
    return known


def _exists(name: str, known: Variable) -> GraphError:
    return GraphError(
        f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or "
        f"reuse=tf.AUTO_REUSE in VarScope? Originally defined at: {known.op.made_at}"
    )


def _found(name: str, known: Variable, shape: Any, dtype: Any, reuse: Reuse) -> Variable:
    if not reuse:
        raise quoted(_exists(name, known), here())
    if shape is not None and not TensorShape(shape).is_compatible_with(known.shape):
        message = (
            f"Trying to share variable {name}, but specified shape {TensorShape(shape)} and found "
            f"shape {known.shape} (made at {known.op.made_at})"
        )
        raise quoted(GraphError(message), here())
    if dtype is not None and as_dtype(dtype) is not known.dtype:
        message = (
            f"Trying to share variable {name}, but specified dtype {as_dtype(dtype).name} and found "
            f"dtype {known.dtype.name} (made at {known.op.made_at})"
        )
        raise quoted(GraphError(message), here())
    return known


def _is_value(initializer: Any) -> bool:
    """Whether an initializer is a value, not what makes one."""
    return initializer is not None and (not callable(initializer) or isinstance(initializer, Tensor | Variable))


def _initial_value(name: str, shape: Any, dtype: Any, initializer: Any, part: Part | None) -> Any:
    """What `Variable` takes as the initial value."""
    kind = as_dtype(float32 if dtype is None else dtype)
    if initializer is None:
        initializer = glorot_uniform() if kind.is_floating else Zeros()
    if isinstance(initializer, type) or any(initializer is f for f in _FACTORIES):
        initializer = initializer()  # a class, or a function such as tf.glorot_uniform_initializer
    if _is_value(initializer):
        if shape is not None:
            raise quoted(GraphError("If initializer is a constant, do not specify shape."), here())
        return initializer if isinstance(initializer, Tensor | Variable) else as_array(initializer, dtype and kind)
    extents = TensorShape(shape)
    if shape is None and not isinstance(initializer, Initializer) and not _takes_arguments(initializer):
        return initializer
    if shape is None or not extents.is_fully_defined():
        message = f"Shape of a new variable ({name}) must be fully defined, but instead was {extents}."
        raise quoted(GraphError(message), here())
    if isinstance(initializer, Initializer):
        return lambda: initializer(extents_of(extents), kind, part)
    return lambda: initializer(extents_of(extents), dtype=kind)


def _takes_arguments(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.default is p.empty or p.kind is p.VAR_POSITIONAL for p in parameters)


_FACTORIES = (glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal)


def _composed(outer: Any, inner: Any) -> Any:
    """A custom getter that goes through the one of the scope around."""
    if outer is None:
        return inner

    def both(getter: Any, name: str, **arguments: Any) -> Any:
        return inner(lambda n, **a: outer(getter, n, **a), name, **arguments)

    return both
