"""Control flow whose direction is known when the model is compiled."""

from __future__ import annotations

from collections.abc import Sequence

from tfc.frontend.onnx.node import Node, Value
from tfc.frontend.onnx.table import onnx_op


@onnx_op("If")
def branch(node: Node) -> Sequence[Value]:
    """The branch that a constant condition takes; its nodes see the values around it."""
    condition = node.array(0)
    if condition is None or condition.size != 1:
        node.fail("tfc imports an If only where its condition is constant")
    graph = node.attributes["then_branch" if condition.reshape(()) else "else_branch"]
    return node.scope.importer.subgraph(graph, node.scope)
