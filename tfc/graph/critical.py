"""Accesses that exclude each other: ``tf.CriticalSection``, and assignments with ``use_locking``.

    lock = tf.CriticalSection()
    adds = [lock.execute(lambda: v.assign(v.read_value() + x)) for x in xs]

Which of them comes first does not matter to who says so; in a run they happen in the order in which they were
made (`tfc.passes.check_effects.order_exclusive`). Runs exclude each other by themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from tfc.graph.graph import Graph, get_default_graph
from tfc.graph.ops import name_scope

Result = TypeVar("Result")
_numbers = itertools.count()


def exclude(graph: Graph, node: str, section: str) -> None:
    """Note that the node of this name belongs to a section."""
    graph.exclusive[node] = graph.exclusive.get(node, frozenset()) | {section}


class CriticalSection:
    """What is executed in it happens one after the other.

    Args:
        shared_name: sections of one name are one section.
    """

    def __init__(self, name: str | None = None, shared_name: str | None = None) -> None:
        self.name = shared_name or name or f"critical_section_{next(_numbers)}"

    def execute(self, fn: Callable[[], Result], exclusive_resource_access: bool = True, name: str | None = None) -> Result:
        """What ``fn`` returns; the nodes that it makes belong to the section.

        A variable that ``fn`` reads has to be read in it: ``v.read_value()``.
        """
        graph = get_default_graph()
        known = len(graph.get_operations())
        with name_scope(name, "critical_section_execute"):
            result: Any = fn()
        for op in graph.get_operations()[known:]:
            exclude(graph, op.name, f"section {self.name}")
        return result
