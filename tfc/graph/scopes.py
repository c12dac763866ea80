"""``tf.get_variable`` and ``tf.variable_scope``: variables found again by name.

    with tf.variable_scope("conv1"):
        w = tf.get_variable("weights", [5, 5, 32, 32])          conv1/weights
    with tf.variable_scope("conv1", reuse=True):
        tf.get_variable("weights", [5, 5, 32, 32]) is w

Names depend on variable scopes alone, not on name scopes; a variable scope opens a name scope too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from tfc.errors import GraphError
from tfc.graph.dtypes import as_dtype, float32
from tfc.graph.graph import Graph, GraphKeys, get_default_graph, graph_of
from tfc.graph.initializers import Initializer, Zeros, glorot_uniform
from tfc.graph.node import Tensor
from tfc.graph.ops import as_array
from tfc.graph.shape import TensorShape
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable


class _AutoReuse:
    """Reuse a variable where there is one, else make it."""

    def __repr__(self) -> str:
        return "tf.AUTO_REUSE"


AUTO_REUSE = _AutoReuse()
Reuse = bool | _AutoReuse | None


class VariableScope:
    """A prefix of names, and defaults for the variables made under it."""

    def __init__(self, name: str, reuse: Reuse, **defaults: Any) -> None:
        self.name, self._reuse = name, reuse
        self.defaults = defaults
        """Of ``initializer``, ``regularizer``, ``dtype``, ``custom_getter``."""
        self.original_name_scope = ""

    @property
    def reuse(self) -> Reuse:
        return self._reuse

    def reuse_variables(self) -> None:
        """From now on only find variables, make none."""
        self._reuse = True

    @property
    def initializer(self) -> Any:
        return self.defaults.get("initializer")

    def set_initializer(self, initializer: Any) -> None:
        self.defaults["initializer"] = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.defaults["regularizer"] = regularizer

    def global_variables(self) -> list[Variable]:
        """The global variables under the scope."""
        found = get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES)
        return [v for v in found if v.name.startswith(f"{self.name}/")]

    def trainable_variables(self) -> list[Variable]:
        """The trainable variables under the scope."""
        found = get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES)
        return [v for v in found if v.name.startswith(f"{self.name}/")]

    def __repr__(self) -> str:
        return f"<tf.VariableScope '{self.name}' reuse={self.reuse}>"


class _Store:
    """The variables of a graph by name, and its open scopes."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
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
    name_or_scope: str | VariableScope | None,
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
        initializer, regularizer, dtype, custom_getter: defaults of `get_variable` inside.
    """
    if name_or_scope is None and default_name is None:
        raise quoted(GraphError("a variable scope needs a name or a default name"), here())
    _refuse_partitioner(partitioner)
    graph = graph_of(values or ())
    with graph.as_default():
        store = _store()
        outer, opened = store.scope, dict(store.opened)
        given = {"initializer": initializer, "regularizer": regularizer, "dtype": dtype}
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
        scope = VariableScope(full, reuse or base.reuse, **defaults)
        store.scope = scope
        store.opened[full] = store.opened.get(full, 0) + 1
        try:
            if not auxiliary_name_scope or not short:
                yield scope
            else:
                with graph.name_scope(short) as name_scope:
                    scope.original_name_scope = name_scope
                    yield scope
        finally:
            store.scope = outer
            store.close_inner(full)
            if isinstance(name_or_scope, VariableScope):
                store.opened = opened


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Sequence[str] | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: Any = None,
    custom_getter: Any = None,
    constraint: Any = None,
    **_others: Any,
) -> Variable:
    """The variable ``name`` of the current scope: made, or found where the scope reuses.

    Args:
        shape: its extents; left out where ``initializer`` is a tensor, which has one.
        dtype: float32 where neither it nor a tensor says otherwise.
        initializer: a tensor, an initializer, or a function of shape and dtype; where left out
            that of the scope, else `glorot_uniform` for floats and zeros for integers.
        regularizer: a function of the variable whose value is collected as a loss.

    Raises:
        GraphError: it exists and is not to be reused, is to be reused and does not exist, or
            has another shape or element type.
    """
    _refuse_partitioner(partitioner)
    store = _store()
    scope = store.scope
    defaults = scope.defaults
    full = f"{scope.name}/{name}" if scope.name else name
    arguments: dict[str, Any] = {
        "shape": shape,
        "dtype": dtype if dtype is not None else defaults.get("dtype"),
        "initializer": initializer if initializer is not None else defaults.get("initializer"),
        "regularizer": regularizer if regularizer is not None else defaults.get("regularizer"),
        "trainable": trainable,
        "collections": collections,
        "reuse": scope.reuse,
    }
    getter = _composed(defaults.get("custom_getter"), custom_getter) if custom_getter else defaults.get("custom_getter")
    with get_default_graph().name_scope(None):
        if getter is not None:
            return getter(_get, full, **arguments)
        return _get(full, **arguments)


def _get(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Sequence[str] | None = None,
    reuse: Reuse = None,
    **_others: Any,
) -> Variable:
    """Find or make the variable of the full name."""
    known = _store().variables.get(name)
    if known is not None:
        return _found(name, known, shape, dtype, reuse)
    if reuse is True:
        message = (
            f"Variable {name} does not exist, or was not created with tf.get_variable(). "
            "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?"
        )
        raise quoted(GraphError(message), here())
    first = _initial_value(name, shape, dtype, initializer)
    made = Variable(first, trainable, collections, name=name, dtype=dtype)
    _store().variables[name] = made
    if regularizer is not None:
        with get_default_graph().name_scope(f"{name}/Regularizer/"):
            loss = regularizer(made.value())
        if loss is not None:
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return made


def _found(name: str, known: Variable, shape: Any, dtype: Any, reuse: Reuse) -> Variable:
    if not reuse:
        message = (
            f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or "
            f"reuse=tf.AUTO_REUSE in VarScope? Originally defined at: {known.op.made_at}"
        )
        raise quoted(GraphError(message), here())
    if shape is not None and not TensorShape(shape).is_compatible_with(known.shape):
        message = (
            f"Trying to share variable {name}, but specified shape {TensorShape(shape)} and found "
            f"shape {known.shape}"
        )
        raise quoted(GraphError(message), here())
    if dtype is not None and as_dtype(dtype) is not known.dtype:
        message = (
            f"Trying to share variable {name}, but specified dtype {as_dtype(dtype).name} and found "
            f"dtype {known.dtype.name}"
        )
        raise quoted(GraphError(message), here())
    return known


def _initial_value(name: str, shape: Any, dtype: Any, initializer: Any) -> Any:
    """What `Variable` takes as the initial value."""
    if initializer is None:
        kind = as_dtype(float32 if dtype is None else dtype)
        initializer = glorot_uniform() if kind.is_floating else Zeros()
    if isinstance(initializer, type):
        initializer = initializer()
    if not callable(initializer) or isinstance(initializer, Tensor | Variable):
        if shape is not None:
            raise quoted(GraphError("If initializer is a constant, do not specify shape."), here())
        return initializer if isinstance(initializer, Tensor | Variable) else as_array(initializer, dtype and as_dtype(dtype))
    extents = TensorShape(shape)
    if shape is None or not extents.is_fully_defined():
        message = f"Shape of a new variable ({name}) must be fully defined, but instead was {extents}."
        raise quoted(GraphError(message), here())
    make, kind = _as_initializer(initializer), as_dtype(float32 if dtype is None else dtype)
    return lambda: make(extents.as_list(), kind)


def _as_initializer(initializer: Any) -> Callable[..., Any]:
    """An initializer, or what a function without arguments gives (``tf.glorot_uniform_initializer``)."""
    if initializer in _FACTORIES:
        return initializer()
    return initializer if isinstance(initializer, Initializer) else lambda shape, dtype: initializer(shape, dtype=dtype)


def _factories() -> set[Any]:
    from tfc.graph import initializers as all_of

    names = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")
    return {getattr(all_of, n) for n in names}


_FACTORIES = _factories()


def _composed(outer: Any, inner: Any) -> Any:
    """A custom getter that goes through the one of the scope around."""
    if outer is None:
        return inner

    def both(getter: Any, name: str, **arguments: Any) -> Any:
        return inner(lambda n, **a: outer(getter, n, **a), name, **arguments)

    return both


def _refuse_partitioner(partitioner: Any) -> None:
    if partitioner is not None:
        raise quoted(GraphError("partitioned variables are not supported yet"), here())
