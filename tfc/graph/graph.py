"""A dataflow graph under construction, and the scopes its nodes are made in.

    with tf.Graph().as_default() as g:
        with tf.name_scope("dense"), tf.device("/gpu:0"):
            y = tf.matmul(x, w) + b             # nodes dense/MatMul and dense/add
    g.get_tensor_by_name("dense/add:0")

Each node is checked when it is made: its rule is emitted into a block of the graph, so that
the ``tfc`` operations' own constraints speak at the user's line.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from xdsl.dialects.builtin import UnrankedTensorType, UnrealizedConversionCastOp
from xdsl.ir import Attribute, Block, SSAValue

from tfc.devices import Device
from tfc.dims import Expr, symbol
from tfc.errors import GraphError, nearest
from tfc.graph import rules
from tfc.graph.emit import RULES, Deferred, Emitter, Results
from tfc.graph.node import Operation, Tensor
from tfc.graph.source import describe, here, quoted
from tfc.location import named

_OP_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-/]*\Z")
_SCOPE_NAME = re.compile(r"[A-Za-z0-9_.\-/]*\Z")
_numbers = count(1)

Element = Any
"""A node, a tensor or a variable."""


class GraphKeys:
    """Names of the collections that tfc itself fills."""

    GLOBAL_VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    ACTIVATIONS = "activations"
    BIASES = "biases"
    GLOBAL_STEP = "global_step"
    WEIGHTS = "weights"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    SUMMARIES = "summaries"
    TRAIN_OP = "train_op"
    UPDATE_OPS = "update_ops"
    INIT_OP = "init_op"


class Graph:
    """Nodes, in the order in which they were made; inputs come before what reads them."""

    ordered = False
    """Whether effects happen in the order in which they were written, as in a function."""
    closed = False
    """Whether this is a part of another graph that is complete."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"graph_{next(_numbers)}"
        self.made_at = describe(here())
        self.block = Block()
        """What the rules emitted: the graph as ``tfc`` operations, as far as shapes are known."""
        self.exclusive: dict[str, frozenset[str]] = {}
        """Names of nodes that exclude others, with the sections that they belong to."""
        self.seed: int | None = None
        self.initializers: dict[Operation, Operation] = {}
        """The assignment that first gives each variable a value."""
        self.gradient_functions: dict[Operation, Callable[..., Any]] = {}
        """Nodes that have a gradient of their own."""
        self.gradient_names: dict[Operation, str] = {}
        """Nodes whose gradient is one that is registered under a name."""
        self._gradient_names: dict[str, str] = {}
        self._operations: dict[str, Operation] = {}
        self._names: dict[str, int] = {}
        self._scope = ""
        self._dims = count()
        self._devices: list[_DeviceScope] = []
        self._controls: list[_ControlScope] = []
        self._colocated: list[Operation] = []
        self._collections: dict[str, list[Any]] = {}
        self._finalized = False
        self.container_name = ""
        """The container of the variables that are made now."""
        self._made = 0
        self.fresh: set[Operation] = set()
        """Variables whose value is read where it is used, as a function changes them."""

    @property
    def root(self) -> Graph:
        """The graph that this is a part of; itself, but for branches, loops and functions."""
        return self

    def sees(self, graph: Graph) -> bool:
        """Whether nodes here may read what ``graph`` computes."""
        return self is graph

    def inside(self, t: Tensor) -> Tensor:
        """The tensor that nodes here read for ``t``."""
        return t

    # Nodes.

    def create(
        self, type_: str, inputs: Sequence[Tensor] = (), name: str | None = None, **attrs: Any
    ) -> Operation:
        """Make a node of kind ``type_``.

        Args:
            name: wanted name, made unique; one that ends in ``/`` is taken as it is.

        Raises:
            GraphError: inputs of another graph, shapes or element types that do not fit.
        """
        place = here()
        if self._finalized:
            raise quoted(GraphError(f"the graph '{self.name}' is finalized and cannot change"), place)
        if not isinstance(name, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise quoted(GraphError(f"{name!r} is not a valid name of an operation"), place)
        self._check_graph(inputs, place)
        name = name[:-1] if name and name.endswith("/") else self.unique_name(name or type_)
        if not _OP_NAME.match(name):
            raise quoted(GraphError(f"'{name}' is not a valid name of an operation"), place)
        op = Operation(self, type_, name, inputs, attrs, named(name, place))
        op._outputs = tuple(Tensor(op, k, v) for k, v in enumerate(self._check(op)))  # pyright: ignore
        self._enter(op)
        return op

    def _check(self, op: Operation) -> Sequence[SSAValue]:
        """Emit the node on what is known of its inputs; errors name the user's line."""
        last = self.block.last_op
        rule = RULES[op.type]
        values = [t.value for t in op.inputs]
        emitter = Emitter(self.block, op.location, self.fresh_dim)
        try:
            return as_values(rule.emit(emitter, *values, **op.attrs))
        except Deferred as why:
            self._drop_after(last)
            unknown = [UnrankedTensorType(e) for e in rule.elements(*values, **op.attrs)]
            return self._stand_in(op, values, why.types or unknown)
        except GraphError as error:
            self._drop_after(last)
            raise quoted(error, op.location, describe_inputs(op.inputs)) from None

    def _stand_in(
        self, op: Operation, values: Sequence[SSAValue], types: Sequence[Attribute]
    ) -> Sequence[SSAValue]:
        stand_in = UnrealizedConversionCastOp.get(values, types)
        stand_in.location = op.location
        self.block.add_op(stand_in)
        return stand_in.results

    def _drop_after(self, last: Any) -> None:
        while (op := self.block.last_op) is not last and op is not None:
            self.block.erase_op(op)

    def _enter(self, op: Operation) -> None:
        """Give a new node what the scopes around it say, and a place in the graph."""
        controls: dict[Operation, None] = {}
        for scope in self._controls:
            if not any(t.op in scope.made for t in op.inputs):
                controls.update((c, None) for c in scope.operations if c is not op)
            if op.inputs:
                scope.made.add(op)
        op.control_inputs = tuple(controls)
        # What touches a variable runs where the variable is, whatever scopes are around.
        beside = [t.op for t in op.inputs if t.is_handle and not parts_of(op)]
        targets = beside or self._colocated
        if targets:
            op.colocated = tuple(c.name for c in targets)
            op.device = targets[-1].device
        for scope in () if beside else reversed(self._devices):
            if scope.ends:
                break
            op.device = str(Device.parse(op.device).over(Device.parse(scope.choose(op))))
        if op.type in self._gradient_names:
            self.gradient_names[op] = self._gradient_names[op.type]
        op.index = len(self._operations)
        self._operations[op.name] = op
        self.root._made += 1

    def _check_graph(self, inputs: Sequence[Tensor], place: Any) -> None:
        for t in inputs:
            if t.graph is not self:
                if t.graph.root is self.root:
                    raise quoted(leaked(t), place)
                other = next((u for u in inputs if u.graph is self), None)
                mine = f"'{other.name}' (made at {other.op.made_at})" if other is not None else "this operation"
                raise quoted(
                    GraphError(
                        f"'{t.name}' (made at {t.op.made_at}) is of {t.graph.label}, "
                        f"but {mine} is of {self.label}",
                        help="build both under one `with graph.as_default():`",
                    ),
                    place,
                )

    @property
    def label(self) -> str:
        """The graph in words, for errors."""
        return f"graph '{self.name}' (made at {self.made_at})"

    def fresh_dim(self) -> Expr:
        """A symbol for an extent that nothing is known of."""
        return symbol(f"_d{next(self._dims)}")

    # Names.

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """``name`` in the current scope, with ``_1``, ``_2``, ... where it is taken.

        Upper and lower case count as equal, as in TensorFlow.
        """
        name = f"{self._scope}/{name}" if self._scope else name
        key = name.lower()
        number = self._names.get(key, 0)
        if mark_as_used:
            self._names[key] = number + 1
        if number:
            base = key
            while key in self._names:
                key = f"{base}_{number}"
                number += 1
            if mark_as_used:
                self._names[key] = 1
            name = f"{name}_{number - 1}"
        return name

    @contextmanager
    def name_scope(self, name: str | None) -> Generator[str]:
        """Names of nodes made inside begin with ``name/``; gives that prefix.

        None and "" lead back to the root; a name that ends in ``/`` is taken as it is.
        """
        pattern = _SCOPE_NAME if self._scope else _OP_NAME
        if name and not (isinstance(name, str) and pattern.match(name)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise quoted(GraphError(f"'{name}' is not a valid name of a scope"), here())
        before = self._scope
        if not name:
            self._scope = ""
        else:
            self._scope = name[:-1] if name.endswith("/") else self.unique_name(name)
        try:
            yield f"{self._scope}/" if self._scope else ""
        finally:
            self._scope = before

    def get_name_scope(self) -> str:
        return self._scope

    # Scopes of devices, colocation, control.

    @contextmanager
    def device(self, device: Any) -> Generator[None]:
        """Nodes made inside are wanted on ``device``: a name, a function of the node, or None."""
        scope = _DeviceScope(device)
        self._devices.append(scope)
        try:
            yield
        finally:
            self._devices.pop()

    @contextmanager
    def colocate_with(self, op: Element, ignore_existing: bool = False) -> Generator[None]:
        """Nodes made inside share the device of ``op``."""
        saved = self._devices, self._colocated
        target = self.as_operation(op)
        self._devices = []  # the device of `op` decides, not the scopes around
        self._colocated = [target] if ignore_existing else [*self._colocated, target]
        try:
            yield
        finally:
            self._devices, self._colocated = saved

    @contextmanager
    def control_dependencies(self, control_inputs: Iterable[Element] | None) -> Generator[None]:
        """Nodes made inside run after ``control_inputs``; None forgets the scopes around."""
        saved = self._controls
        if control_inputs is None:
            self._controls = []
        else:
            wanted = [self.waited_for(c) for c in control_inputs]
            self._controls = [*saved, _ControlScope([c for c in wanted if c is not None])]
        try:
            yield
        finally:
            self._controls = saved

    @property
    def waits(self) -> bool:
        """Whether nodes made now come after others by a scope of control."""
        return any(scope.operations for scope in self._controls)

    @contextmanager
    def container(self, container_name: str) -> Generator[str]:
        """Variables made inside are kept in the container of that name, see `tfc.graph.stores`."""
        saved, self.container_name = self.container_name, container_name
        try:
            yield container_name
        finally:
            self.container_name = saved

    def waited_for(self, obj: Element) -> Operation | None:
        """The node that `control_dependencies` waits for."""
        return self.as_operation(obj)

    @contextmanager
    def gradient_override_map(self, op_type_map: Mapping[str, str]) -> Generator[None]:
        """Nodes made inside, of kinds in the map, have the gradient of that name: see `RegisterGradient`."""
        saved = self._gradient_names
        self._gradient_names = {**saved, **op_type_map}
        try:
            yield
        finally:
            self._gradient_names = saved

    # Looking up.

    def get_operations(self) -> list[Operation]:
        return list(self._operations.values())

    @property
    def size(self) -> int:
        """How many nodes there are, those of its parts too: a graph only grows."""
        return self.root._made

    def get_operation_by_name(self, name: str) -> Operation:
        """The node of that name.

        Raises:
            GraphError: there is none; the nearest names are suggested.
        """
        if (found := self._operations.get(name)) is not None:
            return found
        help = nearest(name, self._operations)
        if ":" in name:
            help = f"'{name}' names a tensor: use get_tensor_by_name"
        raise quoted(GraphError(f"{self.label} has no operation '{name}'", help=help), here())

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor of that name: ``operation:number``.

        Raises:
            GraphError: there is none; the nearest names are suggested.
        """
        head, colon, number = name.rpartition(":")
        if not colon or not number.isdigit():
            help = f"'{name}:0' is its first result" if name in self._operations else ""
            message = f"'{name}' is no name of a tensor: those end in a number, as in 'add:0'"
            raise quoted(GraphError(message, help=help), here())
        if head not in self._operations:
            known = (t.name for op in self._operations.values() for t in op.values())
            error = GraphError(f"{self.label} has no tensor '{name}'", help=nearest(name, known))
            raise quoted(error, here())
        outputs = self._operations[head].values()
        if int(number) >= len(outputs):
            message = f"the operation '{head}' has {len(outputs)} results: there is no '{name}'"
            raise quoted(GraphError(message), here())
        return outputs[int(number)]

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The tensor or node that ``obj`` is, names, or (a variable) stands for.

        Raises:
            GraphError: it is none, or is part of another graph.
        """
        if isinstance(obj, str):
            if allow_tensor and (":" in obj or not allow_operation):
                return self.get_tensor_by_name(obj)
            return self.get_operation_by_name(obj)
        convert = getattr(obj, "_as_graph_element", None)
        found = convert() if convert else obj
        if not isinstance(found, Tensor | Operation):
            kinds = " or ".join(["a tensor"] * allow_tensor + ["an operation"] * allow_operation)
            raise quoted(GraphError(f"expected {kinds}, got {type(obj).__name__} {obj!r}"), here())
        if found.graph is not self:
            if found.graph.root is self.root:
                raise quoted(leaked(found), here())
            where = found.op.made_at if isinstance(found, Tensor) else found.made_at
            message = f"'{found.name}' (made at {where}) is of {found.graph.label}, not of {self.label}"
            raise quoted(GraphError(message), here())
        if isinstance(found, Operation) and not allow_operation:
            raise quoted(GraphError(f"expected a tensor, got the operation '{found.name}'"), here())
        return found

    def as_operation(self, obj: Element) -> Operation:
        """The node that ``obj`` is, or that makes it."""
        found = self.as_graph_element(obj)
        return found.op if isinstance(found, Tensor) else found

    # Collections.

    def add_to_collection(self, name: str, value: Any) -> None:
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: str | Iterable[str], value: Any) -> None:
        for name in [names] if isinstance(names, str) else dict.fromkeys(names):
            self.add_to_collection(name, value)

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """What was added under ``name``, of which ``scope`` (a pattern) keeps a part."""
        found = list(self._collections.get(name, ()))
        if scope is None:
            return found
        return [v for v in found if re.match(scope, getattr(v, "name", ""))]

    def get_collection_ref(self, name: str) -> list[Any]:
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[str]:
        return [k for k, v in self._collections.items() if v]

    def clear_collection(self, name: str) -> None:
        self._collections.pop(name, None)

    # The rest.

    def finalize(self) -> None:
        """Forbid further nodes."""
        self._finalized = True

    @property
    def finalized(self) -> bool:
        return self._finalized

    @contextmanager
    def as_default(self) -> Generator[Graph]:
        """Nodes made inside go to this graph."""
        stack = _stack()
        stack.append(self)
        try:
            yield self
        finally:
            if not stack or stack[-1] is not self:
                raise GraphError("`with graph.as_default()` blocks were left in the wrong order")
            stack.pop()

    def __repr__(self) -> str:
        return f"<tf.Graph '{self.name}', {self.size} operations>"


class _DeviceScope:
    def __init__(self, device: Any) -> None:
        self.ends = device is None
        self.choose: Callable[[Operation], str]
        if callable(device):
            self.choose = lambda op: str(device(op) or "")
        else:
            text = str(device or "")
            try:
                Device.parse(text)
            except GraphError as error:
                raise quoted(error, here()) from None
            self.choose = lambda op: text


class _ControlScope:
    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self.made: set[Operation] = set()
        """Nodes made in the scope: what reads one of them is ordered already. Constants are left
        out, so that what reads one says for itself what it follows."""


def as_values(results: Results) -> Sequence[SSAValue]:
    """A rule's answer as a sequence."""
    if results is None:
        return ()
    return [results] if isinstance(results, SSAValue) else results


def parts_of(op: Operation) -> list[Graph]:
    """The graphs that a node runs: the branches of a condition, condition and body of a loop, a function."""
    return [v for v in op.attrs.values() if isinstance(v, Graph)]


def leaked(found: Tensor | Operation) -> GraphError:
    """The error of using what is made inside a branch, loop or function where it does not exist."""
    made_at = found.op.made_at if isinstance(found, Tensor) else found.made_at
    message = f"'{found.name}' (made at {made_at}) exists only inside {found.graph.label}, and is used outside"
    help = "what is needed outside has to be returned: by the branch, by the body as a loop variable, by the function"
    return GraphError(message, help=help)


def describe_inputs(inputs: Sequence[Tensor]) -> str:
    distinct = {t.name: t for t in inputs if t.op.type != "Const"}
    notes = [f"{n} is {t.dtype.name} {t.shape} from {t.op.made_at}" for n, t in distinct.items()]
    return "; ".join(notes)


# The default graph: one for each thread inside `as_default`, one for the process elsewhere.

_local = threading.local()
_default: list[Graph] = []


def _stack() -> list[Graph]:
    if not hasattr(_local, "graphs"):
        _local.graphs = []
    return _local.graphs


def get_default_graph() -> Graph:
    """The graph that nodes are made in."""
    if stack := _stack():
        return stack[-1]
    if not _default:
        _default.append(Graph("default"))
    return _default[0]


def reset_default_graph() -> None:
    """Begin a new default graph; the old one lives on where it is referred to.

    Raises:
        GraphError: inside a `with graph.as_default()`.
    """
    if _stack():
        raise quoted(GraphError("the default graph cannot be reset inside `as_default()`"), here())
    _default[:] = [Graph("default")]


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph of the first value that belongs to one, else the default graph.

    Inside a branch, loop or function that is the graph of its nodes, which may read what is around it.
    """
    default = get_default_graph()
    for value in values:
        if isinstance(graph := getattr(value, "graph", None), Graph):
            return default if graph.closed or default.sees(graph) else graph
    return default


@contextmanager
def name_scope(
    name: str | None, default_name: str | None = None, values: Iterable[Any] | None = None
) -> Generator[str]:
    """`Graph.name_scope` in the graph of ``values``, with a name for callers who give none."""
    graph = graph_of(values or ())
    with ExitStack() as stack:
        if graph is not get_default_graph():
            stack.enter_context(graph.as_default())
        yield stack.enter_context(graph.name_scope(default_name if name is None else name))


def device(device_name_or_function: Any) -> Any:
    """`Graph.device` of the default graph."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Element, ignore_existing: bool = False) -> Any:
    """`Graph.colocate_with` of the default graph."""
    return get_default_graph().colocate_with(op, ignore_existing)


def control_dependencies(control_inputs: Iterable[Element] | None) -> Any:
    """`Graph.control_dependencies` of the default graph."""
    return get_default_graph().control_dependencies(control_inputs)


def container(container_name: str) -> Any:
    """`Graph.container` of the default graph."""
    return get_default_graph().root.container(container_name)


def add_to_collection(name: str, value: Any) -> None:
    get_default_graph().add_to_collection(name, value)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    return get_default_graph().get_collection(key, scope)


def add_to_collections(names: str | Iterable[str], value: Any) -> None:
    get_default_graph().add_to_collections(names, value)


def get_collection_ref(key: str) -> list[Any]:
    return get_default_graph().get_collection_ref(key)


def set_random_seed(seed: int | None) -> None:
    """The seed that random operations of the default graph mix with their own."""
    get_default_graph().seed = seed


rules.load()
