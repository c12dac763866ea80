"""What `Session.run` is asked for: a tensor, a node, a name, or lists, tuples and dicts of them.

    Fetches(graph, {"loss": loss, "step": (train, None)})

The values come back in the same structure; a node and None give None.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph.graph import Graph
from tfc.graph.node import Operation, Tensor
from tfc.graph.slices import IndexedSlices, IndexedSlicesValue
from tfc.graph.source import here, quoted
from tfc.graph.specialise import as_fetch
from tfc.graph.variables import Query

Rebuild = Callable[[Sequence[Any]], Any]


def key_of(fetches: Any) -> Hashable:
    """What two equal requests have in common: structure and tensors."""
    kind = type(fetches)
    if kind is Tensor or kind is str or fetches is None:
        return fetches
    if isinstance(fetches, list | tuple):
        return kind, tuple(map(key_of, fetches))
    if isinstance(fetches, dict):
        return kind, tuple(fetches), tuple(map(key_of, fetches.values()))
    try:
        hash(fetches)
    except TypeError:
        raise _unfetchable(fetches) from None
    return fetches


class Fetches:
    """A request to a session, taken apart.

    Attributes:
        tensors: what has to be computed, each once.
        targets: the nodes that have to run.
        rebuild: the structure from the values of ``tensors``.
        bare: whether it is one tensor, in no structure.
    """

    def __init__(self, graph: Graph, fetches: Any, session: Any = None) -> None:
        self._graph, self._session = graph, session
        self._slots: dict[Tensor, int] = {}
        self._targets: dict[Operation, None] = {}
        self.rebuild: Rebuild = self._read(fetches)
        self.tensors = list(self._slots)
        self.targets = list(self._targets)
        self.bare = len(self.tensors) == 1 and not isinstance(fetches, list | tuple | dict) and not self.targets

    def _read(self, fetches: Any) -> Rebuild:
        if fetches is None:
            return _nothing
        if isinstance(fetches, dict):
            return self._read_dict(fetches)
        if isinstance(fetches, list | tuple):
            return self._read_sequence(fetches)
        if isinstance(fetches, IndexedSlices):
            return self._read(IndexedSlicesValue(fetches.values, fetches.indices, fetches.dense_shape))
        if isinstance(fetches, Query):
            return lambda values: fetches.answer(self._session)
        try:
            found = as_fetch(self._graph, fetches)
        except GraphError:
            if isinstance(fetches, str | Tensor | Operation) or hasattr(fetches, "_as_tensor"):
                raise
            raise _unfetchable(fetches) from None
        if isinstance(found, Operation):
            self._targets[found] = None
            return _nothing
        slot = self._slots.setdefault(found, len(self._slots))
        return lambda values: values[slot]

    def _read_dict(self, fetches: dict[Any, Any]) -> Rebuild:
        kind, keys = type(fetches), list(fetches)
        parts = [self._read(v) for v in fetches.values()]
        return lambda values: kind(zip(keys, (p(values) for p in parts), strict=True))

    def _read_sequence(self, fetches: Any) -> Rebuild:
        parts = [self._read(f) for f in fetches]
        kind = type(fetches)
        if hasattr(kind, "_fields"):  # a named tuple
            return lambda values: kind(*(p(values) for p in parts))
        if kind is list and all(p is not _nothing for p in parts) and self._plain(fetches):
            return list
        return lambda values: kind(p(values) for p in parts)

    def _plain(self, fetches: list[Any]) -> bool:
        """Whether the values of all slots, in order, are the answer."""
        flat = [f for f in fetches if isinstance(f, Tensor)]
        return len(flat) == len(fetches) == len(self._slots) and flat == list(self._slots)


def _unfetchable(fetches: Any) -> GraphError:
    message = f"cannot fetch {fetches!r} of type {type(fetches).__name__}"
    help = "fetch tensors, variables, operations or their names, or lists, tuples and dicts of them"
    return quoted(GraphError(message, help=help), here())


def _nothing(_values: Sequence[Any]) -> None:
    return None
