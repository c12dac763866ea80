"""The count of training steps: ``tf.train.get_or_create_global_step``."""

from __future__ import annotations

from typing import Any

from tfc.errors import GraphError
from tfc.graph.dtypes import int64
from tfc.graph.graph import Graph, GraphKeys, get_default_graph
from tfc.graph.initializers import Zeros
from tfc.graph.scopes import get_variable
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable


def get_global_step(graph: Graph | None = None) -> Variable | None:
    """The variable that counts the steps, where there is one.

    Raises:
        GraphError: there are several, or it is no integer of rank 0.
    """
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if not found:
        found = [v for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES) if v.op.name == "global_step"]
    if len(found) > 1:
        raise quoted(GraphError(f"there are {len(found)} global steps: {', '.join(v.name for v in found)}"), here())
    if found:
        assert_global_step(found[0])
    return found[0] if found else None


def assert_global_step(global_step: Any) -> None:
    """Refuse what cannot count steps.

    Raises:
        GraphError: it is no integer of rank 0.
    """
    if not global_step.dtype.is_integer or global_step.shape.as_list() != []:
        what = f"{global_step.dtype.name} {global_step.shape}"
        raise quoted(GraphError(f"expected an integer of rank 0 as global step, got '{global_step.name}' of {what}"), here())


def create_global_step(graph: Graph | None = None) -> Variable:
    """A new variable ``global_step``, which no optimizer changes but by counting.

    Raises:
        GraphError: there is one.
    """
    graph = graph or get_default_graph()
    if (known := get_global_step(graph)) is not None:
        raise quoted(GraphError(f"there is a global step already: '{known.name}' (made at {known.op.made_at})"), here())
    with graph.as_default(), graph.name_scope(None):
        keys = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP]
        return get_variable(GraphKeys.GLOBAL_STEP, [], int64, Zeros(), trainable=False, collections=keys)


def get_or_create_global_step(graph: Graph | None = None) -> Variable:
    """The variable that counts the steps."""
    known = get_global_step(graph)
    return create_global_step(graph) if known is None else known


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The number of steps that a session has taken."""
    return int(sess.run(global_step_tensor))
