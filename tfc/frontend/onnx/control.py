"""Branches and loops: If, Loop, Scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from xdsl.dialects.builtin import i1, i64
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.dynamic import DynamicBroadcastOp, DynamicSliceOp
from tfc.dialects.tfc.elementwise import AddOp, AndOp, SubOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.select import CompareOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, Shape, element, is_static, shape_of
from tfc.dims import Dim
from tfc.frontend.onnx.node import Node, TensorSequence, Value
from tfc.frontend.onnx.regions import branch, loop, tried
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    Emitter,
    cast,
    concat,
    constant_array,
    extent,
    ints,
    reshape,
    splat,
    squeeze,
    take,
    transpose,
    unsqueeze,
)

UNROLLED = 64
"""A loop of at most so many turns is written out where extents depend on the turn."""


@onnx_op("If")
def either(node: Node) -> Sequence[Value]:
    """One of two subgraphs, whose nodes see the values around them; at once where the condition is constant."""
    condition = node.array(0)
    scope, graphs = node.scope, [node.attributes[k] for k in ("then_branch", "else_branch")]
    if condition is not None:
        if condition.size != 1:
            node.fail(f"expected a condition of one element, got {condition.size}")
        return scope.importer.subgraph(graphs[0 if condition.reshape(()) else 1], scope)
    then, otherwise = (_tensors(node, graph) for graph in graphs)
    return branch(node.emit, _truth(node.emit, node[0]), then, otherwise)


def _tensors(node: Node, graph: onnx.GraphProto) -> Callable[..., Sequence[SSAValue]]:
    """A function of the subgraph's inputs that emits its nodes and gives its outputs."""

    def run(*inputs: SSAValue) -> Sequence[SSAValue]:
        results = node.scope.importer.subgraph(graph, node.scope, inputs)
        if any(isinstance(v, TensorSequence) for v in results):
            node.fail(
                "a subgraph gives a sequence, and only a condition that is constant allows that"
            )
        return [v for v in results if isinstance(v, SSAValue)]

    return run


def _truth(emit: Emitter, x: SSAValue) -> SSAValue:
    return reshape(emit, x, [])


@onnx_op("Loop")
def repeat(node: Node) -> Sequence[SSAValue]:
    """A subgraph again and again, as often as the first operand says and while the second holds."""
    emit, graph = node.emit, node.attributes["body"]
    run = _tensors(node, graph)
    states = [node[k] for k in range(2, len(node))]
    start, most = splat(emit, 0, i64), node.get(0)
    most = None if most is None else reshape(emit, cast(emit, most, i64), [])
    going = splat(emit, True, i1) if node.get(1) is None else _truth(emit, node[1])
    made = len(graph.output) - 1 - len(states)
    turns = constant_array(most)
    if (
        turns is not None
        and turns <= UNROLLED
        and _never_ends_early(node, graph)
        and _is_open(node, run, [start, going, *states])
    ):
        return _unrolled(node, run, int(turns), going, states)
    rows = _row_types(node, run, [start, going, *states], 1 + len(states)) if made else []
    arrays = [_blank(node, most, *row) for row in rows]

    def condition(i: SSAValue, go: SSAValue, *_: SSAValue) -> Sequence[SSAValue]:
        if most is None:
            return [go]
        return [emit(AndOp(go, emit(CompareOp("lt", i, most))))]

    def body(i: SSAValue, go: SSAValue, *rest: SSAValue) -> Sequence[SSAValue]:
        old, filled = rest[: len(states)], rest[len(states) :]
        again, *results = run(i, go, *old)
        new, row = results[: len(states)], results[len(states) :]
        done = [emit(UpdateRowOp(a, i, r)) for a, r in zip(filled, row, strict=True)]
        return [emit(AddOp(i, splat(emit, 1, i64))), _truth(emit, again), *new, *done]

    count, _, *results = loop(emit, [start, going, *states, *arrays], condition, body)
    final, scans = results[: len(states)], results[len(states) :]
    if _never_ends_early(node, graph):
        return [*final, *scans]
    return [*final, *(_first_rows(emit, s, count) for s in scans)]


def _is_open(
    node: Node, run: Callable[..., Sequence[SSAValue]], inputs: Sequence[SSAValue]
) -> bool:
    """Whether extents of what the body gives depend on which turn it is."""
    types = tried(node.emit, [v.type for v in inputs], run)
    return any(UNKNOWN_DIM in shape_of(t) for t in types)


def _unrolled(
    node: Node,
    run: Callable[..., Sequence[SSAValue]],
    turns: int,
    going: SSAValue,
    states: Sequence[SSAValue],
) -> Sequence[SSAValue]:
    """The turns one after another, each with its number as a constant."""
    collected: list[list[SSAValue]] = []
    for k in range(turns):
        _, *results = run(splat(node.emit, k, i64), going, *states)
        states, rows = results[: len(states)], results[len(states) :]
        collected.append([unsqueeze(node.emit, r, [0]) for r in rows])
    return [*states, *(concat(node.emit, list(rows), 0) for rows in zip(*collected, strict=True))]


def _row_types(
    node: Node, run: Callable[..., Sequence[SSAValue]], inputs: Sequence[SSAValue], skip: int
) -> list[tuple[Shape, Attribute]]:
    """Shape and element type of what the body gives for one turn."""
    types = tried(node.emit, [v.type for v in inputs], run)[skip:]
    return [(shape_of(t), element(t)) for t in types]


def _blank(node: Node, most: SSAValue | None, row: Shape, kind: Attribute) -> SSAValue:
    """An array of zeros with a row for each turn."""
    if most is None:
        node.fail(
            "a loop without a count cannot collect rows",
            "the first input says how often it runs at most",
        )
    known = constant_array(most)
    if known is not None:
        return splat(node.emit, 0, kind, (max(int(known), 0), *row))
    dims = node.dims(0)
    if dims is not None:
        return splat(node.emit, 0, kind, (dims[0], *row))
    if not is_static(row):
        node.fail(f"rows of shape {list(row)} in a number that depends on values")
    sizes = [reshape(node.emit, most, [1]), ints(node.emit, [d for d in row if isinstance(d, int)])]
    return node.make(DynamicBroadcastOp(splat(node.emit, 0, kind), concat(node.emit, sizes, 0)))


def _never_ends_early(node: Node, graph: onnx.GraphProto) -> bool:
    """Whether only the count ends the loop: its condition is true, passed on or made true."""
    given = node.array(1) if node.get(1) is not None else np.array(True)
    name = graph.output[0].name
    for made in graph.node:
        if name in made.output:
            if made.op_type == "Constant":
                return (
                    given is not None
                    and bool(given.all())
                    and bool(onnx.numpy_helper.to_array(made.attribute[0].t).all())
                )
            if made.op_type == "Identity" and made.input[0] == graph.input[1].name:
                return given is not None and bool(given.all())
            return False
    return given is not None and bool(given.all()) and name == graph.input[1].name


def _first_rows(emit: Emitter, x: SSAValue, count: SSAValue) -> SSAValue:
    rank, full = len(shape_of(x)), np.iinfo(np.int64).max
    limits = [reshape(emit, count, [1]), ints(emit, [full] * (rank - 1))]
    limit = concat(emit, limits, 0) if rank > 1 else limits[0]
    return emit(DynamicSliceOp(x, ints(emit, [0] * rank), limit, ints(emit, [1] * rank)))


@onnx_op("Scan", since=9)
def scan(node: Node) -> Sequence[SSAValue]:
    """A subgraph on one row of each sequence after another, which gives a row of each result."""
    count = node.attr("num_scan_inputs")
    states, inputs = node.all()[: len(node) - count], node.all()[len(node) - count :]
    made = len(node.attributes["body"].output) - len(states)
    axes = {
        "inputs": node.attr("scan_input_axes") or [0] * count,
        "outputs": node.attr("scan_output_axes") or [0] * made,
    }
    backwards = {
        "inputs": node.attr("scan_input_directions") or [0] * count,
        "outputs": node.attr("scan_output_directions") or [0] * made,
    }
    moved = [_to_front(node, x, a) for x, a in zip(inputs, axes["inputs"], strict=True)]
    final, scans = _scan(node, states, moved, backwards)
    return [*final, *(_from_front(node, s, a) for s, a in zip(scans, axes["outputs"], strict=True))]


def _to_front(node: Node, x: SSAValue, axis: int) -> SSAValue:
    rank = len(shape_of(x))
    axis = node.normal_axis(axis, rank)
    return transpose(node.emit, x, [axis, *(d for d in range(rank) if d != axis)])


def _from_front(node: Node, x: SSAValue, axis: int) -> SSAValue:
    rank = len(shape_of(x))
    axis = node.normal_axis(axis, rank)
    return transpose(node.emit, x, [*range(1, axis + 1), 0, *range(axis + 1, rank)])


def _scan(
    node: Node,
    states: Sequence[SSAValue],
    inputs: Sequence[SSAValue],
    backwards: Mapping[str, Sequence[int]],
) -> tuple[Sequence[SSAValue], Sequence[SSAValue]]:
    """The last states, and the results with a row for each turn."""
    emit = node.emit
    run = _tensors(node, node.attributes["body"])
    length: Dim = shape_of(inputs[0])[0]
    turns = extent(emit, inputs[0], 0, i64)

    def place(i: SSAValue, turned: int) -> SSAValue:
        one = splat(emit, 1, i64)
        return emit(SubOp(emit(SubOp(turns, one)), i)) if turned else i

    def step(i: SSAValue, old: Sequence[SSAValue]) -> Sequence[SSAValue]:
        pairs = zip(inputs, backwards["inputs"], strict=True)
        return run(*old, *(emit(GatherOp(x, place(i, b), 0)) for x, b in pairs))

    start = splat(emit, 0, i64)
    rows = _row_types(node, lambda i, *old: step(i, old), [start, *states], len(states))
    arrays = [splat(emit, 0, kind, (length, *row)) for row, kind in rows]

    def body(i: SSAValue, *rest: SSAValue) -> Sequence[SSAValue]:
        old, filled = rest[: len(states)], rest[len(states) :]
        results = step(i, old)
        new, row = results[: len(states)], results[len(states) :]
        triples = zip(filled, row, backwards["outputs"], strict=True)
        done = [emit(UpdateRowOp(a, place(i, b), r)) for a, r, b in triples]
        return [emit(AddOp(i, splat(emit, 1, i64))), *new, *done]

    ask = lambda i, *_: [emit(CompareOp("lt", i, turns))]  # noqa: E731
    _, *results = loop(emit, [start, *states, *arrays], ask, body)
    return results[: len(states)], results[len(states) :]


@onnx_op("Scan", since=8)
def scan_batches(node: Node) -> Sequence[SSAValue]:
    """The same for each entry of a batch, which stands first."""
    if node.get(0) is not None:
        node.fail("sequence_lens are not supported")
    operands = [node[k] for k in range(1, len(node))]
    count, batch = node.attr("num_scan_inputs"), shape_of(operands[0])[0]
    if not isinstance(batch, int):
        node.fail(f"expected a batch of known extent, got {batch}")
    made = len(node.attributes["body"].output) - (len(operands) - count)
    backwards = {"inputs": node.attr("directions") or [0] * count, "outputs": [0] * made}
    entries: list[list[SSAValue]] = []
    for b in range(batch):
        mine = [squeeze(node.emit, take(node.emit, x, 0, b, 1), [0]) for x in operands]
        split = len(mine) - count
        final, scans = _scan(node, mine[:split], mine[split:], backwards)
        entries.append([unsqueeze(node.emit, v, [0]) for v in (*final, *scans)])
    return [concat(node.emit, list(parts), 0) for parts in zip(*entries, strict=True)]
