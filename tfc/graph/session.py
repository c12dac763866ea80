"""``tf.Session``: runs a graph.

    with tf.Session() as session:
        session.run(init)
        y = session.run(relu, feed_dict={x: value})

What a run needs of the graph is compiled when it is first asked for, once for each *signature*:
the fetches, the fed tensors, and their shapes. Later runs look the compiled program up; the
graph may grow between them. Variables live in the session, as arrays that all its programs
share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from xdsl.ir import Operation as Instruction

from tfc.devices import Placement
from tfc.dialects.tfc.types import Array, tensor_type
from tfc.errors import FeedError, GraphError, RunError
from tfc.graph.feeds import as_dict, as_fed, check_shape
from tfc.graph.fetches import Fetches, Rebuild, key_of
from tfc.graph.graph import Graph, get_default_graph
from tfc.graph.node import Operation
from tfc.graph.partial import PartialRun, Stage, first_stage
from tfc.graph.programs import Runnable, compiled, interpreted, no_call
from tfc.graph.sharing import Guard
from tfc.graph.source import describe, here, name_of, quoted
from tfc.graph.specialise import Request, as_feed, extract
from tfc.graph.stores import reset, store_of
from tfc.options import check_mode
from tfc.runtime.cuda import gpus_here

Shapes = tuple[tuple[int, ...], ...]


class ConfigProto:
    """Options of a session, by the names that TensorFlow gives them.

    Args:
        allow_soft_placement: run nodes elsewhere whose device is not there.
        device_count: how many devices of each type there are: ``{"CPU": 2}`` makes two virtual ones. GPUs are
            those that the CUDA driver finds where this does not say it.
        lossy_transfers: send the upper 16 bits of f32 values from device to device.
        placement_costs: a file with measured costs, by which operations are placed that ask for no device.
        intra_op_parallelism_threads: threads of a run; 0 for 1.
        check_effects: what is done about accesses to a variable that have no order: error, warn or
            order; see `tfc.passes.check_effects`.
        memory_limit: bytes that a run may need at once beside what it is fed, gives, and the variables.
    """

    def __init__(
        self,
        allow_soft_placement: bool = False,
        device_count: Mapping[str, int] | None = None,
        intra_op_parallelism_threads: int = 0,
        log_device_placement: bool = False,
        check_effects: str = "error",
        memory_limit: int | None = None,
        lossy_transfers: bool = False,
        placement_costs: str = "",
        **_others: Any,
    ) -> None:
        check_mode(check_effects)
        self.check_effects, self.memory_limit = check_effects, memory_limit
        self.allow_soft_placement, self.log_device_placement = allow_soft_placement, log_device_placement
        self.device_count = dict(device_count or {})
        self.placement = Placement(
            cpus=max(self.device_count.get("CPU", 1), 1),
            gpus=self.device_count["GPU"] if "GPU" in self.device_count else gpus_here(),
            soft=allow_soft_placement,
            lossy=lossy_transfers,
            costs=placement_costs,
        )
        self.intra_op_parallelism_threads = intra_op_parallelism_threads


@dataclass
class Entry:
    """A compiled signature."""

    program: Runnable
    reads: dict[Operation, Instruction]
    """Variables that must have a value, with what reads each; empty once all have."""
    guard: Guard | None
    """What is held while it runs; nothing where it touches no variable."""
    sets: set[str]
    """Variables that have a value after a run; empty after it."""
    uses: Mapping[Operation, Instruction]
    """What is assigned from variables that had no value when it was compiled."""
    missed: Collection[str]
    """Variables without a value that it is compiled for: it is another program once one has."""


class _Plan:
    """Fetches and fed tensors: what is the same for all shapes that are fed."""

    def __init__(self, session: Session, fetches: Any, feeds: Sequence[Any]) -> None:
        graph = session.graph
        self.fetches = Fetches(graph, fetches, session)
        self.feeds = [as_feed(graph, f) for f in feeds]
        if len(set(self.feeds)) < len(self.feeds):
            raise quoted(GraphError("a tensor is fed twice"), here())
        self.dtypes = [t.dtype.numpy for t in self.feeds]
        # A fed tensor that is fetched too is not computed.
        self.wanted = [t for t in self.fetches.tensors if t not in self.feeds]
        self.passed = {
            k: self.feeds.index(t) for k, t in enumerate(self.fetches.tensors) if t in self.feeds
        }
        self.idle = not self.wanted and not self.fetches.targets
        self.entries: dict[Shapes, Entry] = {}
        self.rebuild = self.fetches.rebuild
        self.call: Callable[..., Any] = no_call
        """The native call of the program that ran last: NotImplemented where its shapes are not those fed."""
        self.kept: Entry | None = None
        """Whose call that is."""
        self.answer: Rebuild | None = None
        """The fetched structure from what `call` gives; None where that is the same."""

    def keep(self, entry: Entry) -> None:
        """Call the program of ``entry`` natively from now on, if nothing has to be done beside it."""
        if self.passed or entry.reads or entry.sets or entry.missed or entry is self.kept:
            return
        self.kept = entry
        program, rebuild, single = entry.program, self.rebuild, len(self.wanted) == 1

        def answer(found: Any) -> Any:
            return rebuild(program.unwrapped([found] if single else list(found)))

        self.answer = None if self.fetches.bare and not program.scalars else answer
        self.call = program.call if entry.guard is None else entry.guard.around(program.call)

    def merge(self, values: Sequence[Array], fed: Sequence[Array]) -> list[Any]:
        """The values of all fetched tensors, of which some were fed."""
        computed = iter(values)
        count = len(self.fetches.tensors)
        return [
            fed[self.passed[k]].copy() if k in self.passed else next(computed) for k in range(count)
        ]


class Session:
    """Runs parts of a graph, and holds the values of its variables.

    Args:
        target: what it is connected to: sessions of one target share their variables (`tfc.graph.stores`);
            without one they are its own.
        graph: the graph to run; the default graph where left out.
        config: options.
        interpret: run by the reference interpreter instead of compiled code: slow, for tests
            and for finding out who is wrong.
    """

    def __init__(
        self,
        target: str = "",
        graph: Graph | None = None,
        config: ConfigProto | None = None,
        *,
        interpret: bool = False,
    ) -> None:
        self.graph = graph or get_default_graph()
        if config is not None and not isinstance(config, ConfigProto):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"expected config=tf.ConfigProto(...), got {type(config).__name__}")
        self.config = config or ConfigProto()
        self.compilations = 0
        """How many signatures have been compiled."""
        self._interpret = interpret
        self._plans: dict[Hashable, _Plan] = {}
        self._stages: dict[Hashable, Stage] = {}
        self.target, self._store = target, store_of(target)
        self._store.sessions.add(self)
        self._initialized = self._store.initialized
        self._lock, self._state = threading.RLock(), self._store.state
        self._closed = False
        self._entered: list[Any] = []

    def run(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: Any = None,
        run_metadata: Any = None,
    ) -> Any:
        """Run what ``fetches`` needs.

        Args:
            fetches: a tensor, variable, node or name; or lists, tuples and dicts of them.
            feed_dict: values for tensors, which take the place of what computes them.

        Returns:
            The values in the structure of ``fetches``; None for a node.

        Raises:
            FeedError: a placeholder is not fed, or a value does not fit.
            GraphError: an unknown tensor, or shapes that do not fit each other.
            RunError: a variable has no value yet, or the program reports an error.
        """
        if feed_dict:
            if not isinstance(feed_dict, dict):
                feed_dict = as_dict(feed_dict)
            key = key_of(fetches), tuple(feed_dict)
            plan = self._plans.get(key)
            if plan is None or self._closed:
                plan = self._plan(key, fetches, list(feed_dict))
            found = plan.call(*feed_dict.values())
            if found is NotImplemented:
                return self._execute(plan, list(feed_dict.values()))
        else:
            key = key_of(fetches), ()
            plan = self._plans.get(key)
            if plan is None or self._closed:
                plan = self._plan(key, fetches, ())
            found = plan.call()
            if found is NotImplemented:
                return self._execute(plan, [])
        return found if plan.answer is None else plan.answer(found)

    def _execute(self, plan: _Plan, fed: list[Any]) -> Any:
        for k, dtype in enumerate(plan.dtypes):
            value = fed[k]
            if type(value) is not np.ndarray or value.dtype is not dtype:
                fed[k] = as_fed(plan.feeds[k], value)
        entry = plan.entries.get(tuple([v.shape for v in fed]))
        if entry is None or not self._initialized.isdisjoint(entry.missed):
            if plan.idle:
                for t, v in zip(plan.feeds, fed, strict=True):
                    check_shape(t, v)
                return plan.rebuild(plan.merge((), fed))
            entry = self._entry(plan, fed)
        values = self.execute(entry, fed)
        plan.keep(entry)
        if plan.passed:
            values = plan.merge(values, fed)
        return plan.rebuild(values)

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function of the values of ``feed_list`` that runs ``fetches``: `run` without the look-up."""
        feeds = tuple(feed_list or ())
        plan = self._plan((key_of(fetches), feeds), fetches, feeds)
        count = len(feeds)

        def call(*values: Any) -> Any:
            if len(values) != count:
                raise FeedError(f"expected {count} values, got {len(values)}")
            if self._closed:
                self._check_open()
            found = plan.call(*values)
            if found is NotImplemented:
                return self._execute(plan, list(values))
            return found if plan.answer is None else plan.answer(found)

        return call

    def partial_run_setup(self, fetches: Any, feeds: Sequence[Any] | None = None) -> PartialRun:
        """Begin a run in several steps (`partial_run`), which together fetch and feed these.

        Returns:
            The handle of the run, which holds its values between steps.

        Raises:
            FeedError: a placeholder is needed that is not among ``feeds``.
        """
        self._check_open()
        key = key_of(fetches), tuple(feeds or ())
        with self._lock:
            if key not in self._stages:
                self._stages[key] = first_stage(self, fetches, feeds or ())
            return PartialRun(self, self._stages[key])

    def partial_run(self, handle: PartialRun, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Any:
        """Run on, to ``fetches``: no node runs twice in all steps of a handle.

        Raises:
            GraphError: a fetch or feed that the setup did not name, or that an earlier step had.
            FeedError, RunError: as in `run`; the handle is then as before the step.
        """
        self._check_open()
        if getattr(handle, "session", None) is not self:
            raise quoted(GraphError(f"expected a handle of this session's partial_run_setup, got {handle!r}"), here())
        with self._lock:
            return handle.step(fetches, feed_dict)

    # What is done once.

    def _plan(self, key: Hashable, fetches: Any, feeds: Sequence[Any]) -> _Plan:
        self._check_open()
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = _Plan(self, fetches, feeds)
            return plan

    def _entry(self, plan: _Plan, fed: Sequence[Array]) -> Entry:
        """Compile a signature."""
        with self._lock:
            shapes = tuple([v.shape for v in fed])
            if (known := plan.entries.get(shapes)) is not None and self._initialized.isdisjoint(known.missed):
                return known
            for t, v in zip(plan.feeds, fed, strict=True):
                check_shape(t, v)
            types = [tensor_type(v.shape, t.dtype.element) for t, v in zip(plan.feeds, fed, strict=True)]
            request = Request(self.graph, plan.wanted, plan.fetches.targets, plan.feeds, types)
            entry = plan.entries[shapes] = self.compile(request)
            return entry

    def compile(self, request: Request) -> Entry:
        """A request as a program on the session's variables."""
        found = extract(replace(request, begun=self._initialized))
        make = interpreted if self._interpret else compiled
        program = make(found, self._storage, self.config)
        self.compilations += 1
        state = self._state
        changes = any(e.writes is not None for e in found.effects.values())
        guard = state.writing if changes else state.reading if found.effects else None
        return Entry(program, dict(found.reads), guard, set(found.sets), found.uses, found.missed)

    def execute(self, entry: Entry, fed: Sequence[Array]) -> Sequence[Any]:
        """The outputs of a program, if the variables that it reads have values.

        Raises:
            RunError: one has none; its line and the reader's are named.
        """
        if entry.reads:
            self._check_initialized(entry)
        if entry.guard is None:
            values = entry.program(fed)
        else:
            with entry.guard:
                values = entry.program(fed)
        if entry.sets:
            self._initialized.update(entry.sets)
            entry.sets = set()
        return values

    def _storage(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], memory: str | None = None) -> Any:
        """The array that holds a variable, in ``memory`` where a program binds it."""
        return self._store.array(name, shape, dtype, memory)

    def _check_initialized(self, entry: Entry) -> None:
        for variable, reader in list(entry.reads.items()):
            if not self.is_initialized(variable):
                user, help = entry.uses.get(variable), "run tf.global_variables_initializer() first"
                purpose = ""
                if user is not None:
                    purpose = f" for '{name_of(user.location)}' ({describe(user.location)})"
                    if name_of(user.location) in {op.name for op in self.graph.initializers.values()}:
                        help += f", or use {variable.name}'s initialized_value() in the initial value"
                raise RunError(
                    f"Attempting to use uninitialized value {variable.name}: the variable was made at "
                    f"{variable.made_at}, '{name_of(reader.location)}' reads it{purpose}",
                    where=describe(reader.location),
                    help=help,
                )
        entry.reads.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise RunError("Attempted to use a closed Session.", where=describe(here()))

    def is_initialized(self, variable: Operation) -> bool:
        """Whether a variable has a value."""
        return variable.attrs["shared_name"] in self._initialized

    def value_of(self, variable: Operation) -> Array:
        """A copy of what a variable holds. Raises as `values_of`."""
        return self.values_of([variable])[0]

    def values_of(self, variables: Sequence[Operation]) -> list[Array]:
        """Copies of what variables hold, all at one time between runs that change any.

        Raises:
            RunError: one has no value yet.
        """
        for variable in variables:
            if not self.is_initialized(variable):
                help = "run tf.global_variables_initializer() first"
                message = f"Attempting to use uninitialized value {variable.name}"
                raise RunError(message, where=variable.made_at, help=help)
        with self._state.reading:
            return [self._store.arrays[v.attrs["shared_name"]].copy() for v in variables]

    def load(self, variable: Any, value: Any) -> None:
        """Put ``value`` into a variable, now."""
        self.load_all([(variable, value)])

    def load_all(self, values: Sequence[tuple[Any, Any]]) -> None:
        """Put values into variables, now and in one step: all of them, or none.

        Raises:
            FeedError: a value does not fit its variable.
        """
        self._check_open()
        arrays = [(v.handle, as_fed(v.handle, value)) for v, value in values]
        for handle, array in arrays:
            check_shape(handle, array)
        with self._state.writing:
            for handle, array in arrays:
                name = handle.op.attrs["shared_name"]
                self._storage(name, array.shape, array.dtype)[...] = array
                self._initialized.add(name)

    # Life.

    @staticmethod
    def reset(target: str, containers: Sequence[str] | None = None, config: ConfigProto | None = None) -> None:
        """Close the sessions of ``target`` and forget the variables of ``containers``, or all.

        Raises:
            GraphError: no target.
        """
        reset(target, containers)

    def close(self) -> None:
        """Give compiled programs and variables back; the session cannot run any more."""
        self._closed = True
        self._plans.clear()
        self._stages.clear()
        if not self.target:
            self._store.forget()

    @contextmanager
    def as_default(self) -> Any:
        """``tensor.eval()`` and ``operation.run()`` use this session inside."""
        _sessions().append(self)
        try:
            yield self
        finally:
            _sessions().remove(self)

    def __enter__(self) -> Session:
        for scope in (self.graph.as_default(), self.as_default()):
            scope.__enter__()
            self._entered.append(scope)
        return self

    def __exit__(self, *exception: Any) -> None:
        while self._entered:
            self._entered.pop().__exit__(*exception)
        self.close()


class InteractiveSession(Session):
    """A session that is the default one from when it is made until it is closed."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        _sessions().append(self)

    def close(self) -> None:
        if self in _sessions():
            _sessions().remove(self)
        super().close()


# The default session of a thread.

_local = threading.local()


def _sessions() -> list[Session]:
    if not hasattr(_local, "sessions"):
        _local.sessions = []
    return _local.sessions


def get_default_session() -> Session | None:
    """The innermost session of ``with session:`` or ``session.as_default()``."""
    stack = _sessions()
    return stack[-1] if stack else None


def default_session(session: Session | None, graph: Graph) -> Session:
    """``session``, or the default one, which must be of ``graph``.

    Raises:
        GraphError: there is none, or it is of another graph.
    """
    found = session or get_default_session()
    if found is None:
        help = "use `with tf.Session() as session:`, or eval(session=...)"
        raise quoted(GraphError("there is no default session", help=help), here())
    if found.graph is not graph:
        message = f"the session is of {found.graph.label}, the tensor of {graph.label}"
        raise quoted(GraphError(message), here())
    return found
