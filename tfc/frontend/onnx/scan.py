"""What can be said of a graph before it is imported: its order, and the operators tfc lacks."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx
from onnx import helper

from tfc.errors import ModelFileError
from tfc.frontend.onnx.reader import Model, opsets
from tfc.frontend.onnx.schema import function_of, schema
from tfc.frontend.onnx.table import find

DEPTH = 8
"""How deep definitions of operators by other operators are followed."""

Functions = Mapping[tuple[str, str], onnx.FunctionProto]


def domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def label(node: onnx.NodeProto) -> str:
    """The node's name, or what it computes where it has none."""
    return node.name or f"{node.op_type} -> {', '.join(node.output)}"


def functions_of(model: Model) -> dict[tuple[str, str], onnx.FunctionProto]:
    """The functions that the model itself defines, by domain and name."""
    return {("" if f.domain == "ai.onnx" else f.domain, f.name): f for f in model.proto.functions}


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values a node needs: its inputs, and what its subgraphs take from around them."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            graph = attribute.g
            own = {i.name for i in graph.initializer} | {i.name for i in graph.input}
            own.update(o for n in graph.node for o in n.output)
            inner = [name for n in graph.node for name in reads(n)] + [o.name for o in graph.output]
            yield from (name for name in inner if name not in own)


def ordered(
    nodes: Sequence[onnx.NodeProto], known: Iterable[str], where: str
) -> list[onnx.NodeProto]:
    """The nodes, each after those whose outputs it reads; in file order where that allows.

    Raises:
        ModelFileError: a cycle; a value that nothing defines, or two nodes.
    """
    given = set(known)
    producers: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in node.output:
            if name and producers.setdefault(name, i) != i:
                raise ModelFileError(
                    f"{name!r} is the output of two nodes", where=f"{where} ({label(node)})"
                )
    waits = [0] * len(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        for name in set(reads(node)):
            if name in producers:
                waits[i] += 1
                users[producers[name]].append(i)
            elif name not in given:
                text = f"{node.op_type} reads {name!r}, which nothing defines"
                raise ModelFileError(text, where=f"{where} ({label(node)})")
    ready = [i for i, count in enumerate(waits) if not count]
    order: list[onnx.NodeProto] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for user in users[i]:
            waits[user] -= 1
            if not waits[user]:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        stuck = [label(nodes[i]) for i, count in enumerate(waits) if count]
        some = ", ".join(stuck[:5]) + (", ..." if len(stuck) > 5 else "")
        raise ModelFileError(
            f"the graph has a cycle through or before the nodes {some}", where=where
        )
    return order


def check_operators(model: Model) -> None:
    """Raise one `ModelFileError` that lists every operator that tfc lacks, and where it stands."""
    missing: dict[str, list[str]] = {}
    functions = functions_of(model)
    for node in _walk(model.proto.graph.node):
        for lacking in _lacking(node, model.opsets, functions, 0):
            missing.setdefault(lacking, []).append(label(node))
    if not missing:
        return
    count = "an operator" if len(missing) == 1 else f"{len(missing)} operators"
    lines = [f"the model needs {count} that tfc lacks"]
    for operator, labels in sorted(missing.items(), key=lambda m: (-len(m[1]), m[0])):
        some = ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
        lines.append(f"  {operator} (x{len(labels)}): {some}")
    raise ModelFileError("\n".join(lines), where=model.where)


def _walk(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and the nodes of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _walk(attribute.g.node)


def _lacking(
    node: onnx.NodeProto, versions: Mapping[str, int], functions: Functions, depth: int
) -> set[str]:
    """The operators that stand in the way of importing ``node``: itself, or parts of it."""
    space = domain(node)
    version = versions.get(space, 1)
    if (space, node.op_type) in functions:
        body: onnx.FunctionProto | None = functions[(space, node.op_type)]
    elif find(space, node.op_type, version):
        return set()
    else:
        body = _assumed_function(node, version)
    name = f"{space}.{node.op_type}" if space else node.op_type
    definition = schema(space, node.op_type, version)
    if body is None and definition is not None and definition.has_context_dependent_function:
        return set()  # ONNX decides by the operands' types, which the importer knows
    if body is None or depth >= DEPTH:
        if definition is None:
            return {f"{name} (unknown in version {version} of its domain)"}
        return {name}
    inner = {**versions, **opsets(body.opset_import)}
    parts = [_lacking(n, inner, functions, depth + 1) for n in _walk(body.node)]
    return {
        f"{name} (by way of {part})" if "by way" not in part else part for p in parts for part in p
    }


def _assumed_function(node: onnx.NodeProto, version: int) -> onnx.FunctionProto | None:
    """The operator's definition by others, before the types of its operands are known."""
    floats = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    try:
        return function_of(node, version, [floats] * len(node.input))
    except Exception:  # onnx raises what it likes where the assumption or the node is wrong
        return None
