"""A run in several steps, each with feeds and fetches of its own.

    run = session.partial_run_setup([a, b, train], [x, y])
    value = session.partial_run(run, a, {x: 1.0})
    session.partial_run(run, [b, train], {y: value * 2})

Every node runs at most once in all steps together: a step is a program of its own, compiled when it is
first taken, whose results are what it fetches and what later steps will read of it. A run that is
given up is forgotten with its handle: the session keeps programs only, no values.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfc.dialects.tfc.types import Array, tensor_type
from tfc.errors import GraphError
from tfc.graph.feeds import as_dict, as_fed, check_shape
from tfc.graph.fetches import Fetches, key_of
from tfc.graph.node import Operation, Tensor
from tfc.graph.source import here, quoted
from tfc.graph.specialise import Request, as_feed, closure, unfed

if TYPE_CHECKING:
    from tfc.graph.session import Entry, Session


_SOURCES = ("Const", "VariableV2")
"""Nodes that stand in each step that reads them: they do nothing."""


@dataclass
class Stage:
    """What has run, and what is known, between two steps.

    Attributes:
        nodes: all that the steps together run.
        fetches, feeds: what is still to be fetched, and to be fed.
        done: the nodes that have run.
        held: the tensors whose values later steps read.
        steps: the ways on from here, by what they fetch and feed.
    """

    nodes: Sequence[Operation]
    fetches: frozenset[Tensor | Operation]
    feeds: frozenset[Tensor]
    done: frozenset[Operation] = frozenset()
    held: frozenset[Tensor] = frozenset()
    steps: dict[Hashable, Step] = field(default_factory=dict[Hashable, "Step"])


@dataclass
class Step:
    """A program from one stage to the next.

    Attributes:
        answer: what is fetched.
        inputs, outputs: of the program: held or fed before, fetched or held after.
    """

    answer: Fetches
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    request: Request
    after: Stage
    entries: dict[Hashable, Entry] = field(default_factory=dict[Hashable, "Entry"])


class PartialRun:
    """The handle of a run in steps, which holds the values between them."""

    def __init__(self, session: Session, stage: Stage) -> None:
        self.session, self.stage = session, stage
        self.values: dict[Tensor, Array] = {}

    def step(self, fetches: Any, feed_dict: Mapping[Any, Any] | None) -> Any:
        """The values of ``fetches``, in their structure; see `Session.partial_run`."""
        given = as_dict(feed_dict or {})
        key = key_of(fetches), tuple(given)
        if (step := self.stage.steps.get(key)) is None:
            step = self.stage.steps[key] = _step(self.session, self.stage, fetches, list(given))
        values = dict(self.values)
        for name, value in given.items():
            t = as_feed(self.session.graph, name)
            values[t] = as_fed(t, value)
            check_shape(t, values[t])
        values.update(self._run(step, [values[t] for t in step.inputs]))
        self.stage = step.after
        # Copies: the caller has the arrays that were fed and fetched, and may change them.
        self.values = {t: np.array(values[t]) for t in step.after.held}
        return step.answer.rebuild([values[t] for t in step.answer.tensors])

    def _run(self, step: Step, fed: list[Array]) -> dict[Tensor, Any]:
        if not step.outputs and not step.request.targets:
            return {}
        shapes = tuple(v.shape for v in fed)
        if (entry := step.entries.get(shapes)) is None:
            types = [tensor_type(v.shape, t.dtype.element) for t, v in zip(step.inputs, fed, strict=True)]
            entry = step.entries[shapes] = self.session.compile(replace(step.request, types=types))
        return dict(zip(step.outputs, self.session.execute(entry, fed), strict=True))


def first_stage(session: Session, fetches: Any, feeds: Sequence[Any]) -> Stage:
    """The stage before the first step.

    Raises:
        FeedError: a placeholder is needed that no step feeds.
    """
    wanted = Fetches(session.graph, fetches, session)
    fed = [as_feed(session.graph, f) for f in feeds]
    nodes = closure(wanted.tensors, wanted.targets, fed)
    for op in nodes:
        if op.type == "Placeholder":
            raise unfed(op)
    return Stage(nodes, frozenset([*wanted.tensors, *wanted.targets]), frozenset(fed))


def _step(session: Session, stage: Stage, fetches: Any, feeds: Sequence[Any]) -> Step:
    answer = Fetches(session.graph, fetches, session)
    fed = [as_feed(session.graph, f) for f in feeds]
    _require_announced("fed", fed, stage.feeds)
    _require_announced("fetched", [*answer.tensors, *answer.targets], stage.fetches)
    known = stage.held | set(fed)
    wanted = [t for t in answer.tensors if t not in known]
    targets = [op for op in answer.targets if op not in stage.done]
    nodes = closure(wanted, targets, list(known), stage.done)
    for op in nodes:
        if op.type == "Placeholder":
            raise unfed(op)
    done = stage.done | {op for op in nodes if op.type not in _SOURCES}
    later = stage.fetches - set(answer.tensors) - set(answer.targets)
    read_later = {t for op in stage.nodes if op not in done for t in op.inputs} | later
    made = {t for op in nodes if op in done for t in op.values()}
    outputs = [*wanted, *(t for t in _in_order(made & read_later) if t not in wanted and not t.is_handle)]
    inputs = _in_order(known & ({t for op in nodes for t in op.inputs}))
    held = frozenset(t for t in read_later if isinstance(t, Tensor) and (t in known or t in outputs))
    after = Stage(stage.nodes, later, stage.feeds - set(fed), done, held)
    request = Request(session.graph, outputs, targets, inputs, done=stage.done)
    return Step(answer, inputs, outputs, request, after)


def _in_order(tensors: frozenset[Tensor] | set[Tensor]) -> list[Tensor]:
    return sorted(tensors, key=lambda t: (t.op.index, t.value_index))


def _require_announced(verb: str, found: Sequence[Any], open_: frozenset[Any]) -> None:
    for f in found:
        if f not in open_:
            message = f"'{f.name}' cannot be {verb} in this step: partial_run_setup did not name it, or it was {verb} before"
            names = ", ".join(sorted(f"'{o.name}'" for o in open_))
            raise quoted(GraphError(message, help=f"still to be {verb}: {names or 'nothing'}"), here())
