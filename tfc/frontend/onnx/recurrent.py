"""RNN, GRU and LSTM: a loop over the steps, after one product of the inputs of all steps.

Inside, sequences are ``[time, batch, n]``; a step takes the share of the gates that depends on the input and
the states, and gives the next states, the first of which is the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast as cast_type

from xdsl.dialects.builtin import i64
from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc import OPERATIONS
from tfc.dialects.tfc import activation as ops
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.elementwise import AddOp, MaxOp, MinOp, MulOp, SubOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Dim
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.regions import loop
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import (
    broadcast,
    cast,
    concat,
    extent,
    like,
    reshape,
    splat,
    squeeze,
    take,
    transpose,
    unsqueeze,
)

DEFAULTS = {"Affine": (1.0, 0.0), "Elu": (1.0, 0.0), "HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01, 0.0),
            "ScaledTanh": (1.0, 1.0), "ThresholdedRelu": (1.0, 0.0)}  # fmt: skip
"""Alpha and beta of the activations that have any."""

SIMPLE: dict[str, Callable[[SSAValue], Operation]] = {
    "Relu": ops.ReluOp, "Sigmoid": ops.SigmoidOp, "Softplus": ops.SoftplusOp, "Softsign": ops.SoftsignOp,
    "Tanh": lambda x: _tanh(x),
}  # fmt: skip


def _tanh(x: SSAValue) -> Operation:
    return cast_type(Callable[..., Operation], OPERATIONS["tfc.tanh"])(x)


Function = Callable[[SSAValue], SSAValue]
States = Sequence[SSAValue]


@dataclass(frozen=True)
class _Direction:
    """What one direction works with: weights ``[gates * hidden, n]``, biases, peepholes, activations."""

    node: Node
    hidden: int
    w: SSAValue
    r: SSAValue
    b: SSAValue | None
    """Both biases one after another."""
    p: SSAValue | None
    functions: Sequence[Function]

    def emit(self, op: Operation) -> SSAValue:
        return self.node.make(op)

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(AddOp(x, broadcast(self.node.emit, y, shape_of(x))))

    def mul(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(MulOp(x, broadcast(self.node.emit, y, shape_of(x))))

    def part(self, x: SSAValue, k: int, count: int = 1) -> SSAValue:
        """Gates ``k``, ``k + 1``, ... of the last axis, or of the only one."""
        axis = len(shape_of(x)) - 1
        return take(self.node.emit, x, axis, k * self.hidden, count * self.hidden)

    def rows(self, x: SSAValue, k: int, count: int) -> SSAValue:
        """The weights of ``count`` gates from number ``k`` on."""
        return take(self.node.emit, x, 0, k * self.hidden, count * self.hidden)

    def times(self, h: SSAValue, weights: SSAValue) -> SSAValue:
        """``h weights^T`` over the last axis."""
        return self.emit(DotOp(h, weights, [], [], [len(shape_of(h)) - 1], [1]))

    def activated(self, k: int, x: SSAValue) -> SSAValue:
        """Activation ``k`` of what has been clipped."""
        limit = self.node.attr("clip")
        if limit:
            x = self.emit(MinOp(x, like(self.node.emit, limit, x)))
            x = self.emit(MaxOp(x, like(self.node.emit, -limit, x)))
        return self.functions[k](x)


Step = Callable[[_Direction, SSAValue, States], States]


@onnx_op("RNN", since=7)
def plain(node: Node) -> Sequence[SSAValue]:
    return _recurrent(node, 1, ["Tanh"], _plain_step)


def _plain_step(d: _Direction, x: SSAValue, states: States) -> States:
    (h,) = states
    return [d.activated(0, d.add(x, d.times(h, d.r)))]


@onnx_op("GRU", since=7)
def gated(node: Node) -> Sequence[SSAValue]:
    return _recurrent(node, 3, ["Sigmoid", "Tanh"], _gated_step)


def _gated_step(d: _Direction, x: SSAValue, states: States) -> States:
    """Gates z, r, h. With ``linear_before_reset`` the product with the state comes before its reset."""
    (h,) = states
    zr = d.activated(0, d.add(d.part(x, 0, 2), d.times(h, d.rows(d.r, 0, 2))))
    z, reset = d.part(zr, 0), d.part(zr, 1)
    weights = d.rows(d.r, 2, 1)
    if d.node.attr("linear_before_reset"):
        inner = d.times(h, weights)
        inner = inner if d.b is None else d.add(inner, d.part(d.b, 5))
        inner = d.mul(reset, inner)
    else:
        inner = d.times(d.mul(reset, h), weights)
    candidate = d.activated(1, d.add(d.part(x, 2), inner))
    rest = d.emit(SubOp(like(d.node.emit, 1, z), z))
    return [d.add(d.mul(rest, candidate), d.mul(z, h))]


@onnx_op("LSTM", since=7)
def remembering(node: Node) -> Sequence[SSAValue]:
    return _recurrent(node, 4, ["Sigmoid", "Tanh", "Tanh"], _remembering_step)


def _remembering_step(d: _Direction, x: SSAValue, states: States) -> States:
    """Gates i, o, f, c; peepholes i, o, f."""
    h, c = states
    gates = d.add(x, d.times(h, d.r))
    i, o, f, g = (d.part(gates, k) for k in range(4))
    if d.p is not None:
        i, f = d.add(i, d.mul(c, d.part(d.p, 0))), d.add(f, d.mul(c, d.part(d.p, 2)))
    i = d.activated(0, i)
    if d.node.attr("input_forget"):
        f = d.emit(SubOp(like(d.node.emit, 1, i), i))
    else:
        f = d.activated(0, f)
    c = d.add(d.mul(f, c), d.mul(i, d.activated(1, g)))
    if d.p is not None:
        o = d.add(o, d.mul(c, d.part(d.p, 1)))
    return [d.mul(d.activated(0, o), d.functions[2](c)), c]


def _recurrent(node: Node, gates: int, defaults: Sequence[str], step: Step) -> Sequence[SSAValue]:
    """The outputs ``[time, directions, batch, hidden]`` and the last states ``[directions, batch, hidden]``."""
    emit, batchwise = node.emit, bool(node.attr("layout", 0))
    x = transpose(emit, node[0], [1, 0, 2]) if batchwise else node[0]
    hidden = shape_of(node[2])[-1]
    if not isinstance(hidden, int):
        node.fail(f"expected weights of known extents, got {list(shape_of(node[2]))}")
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(
        node.attr("direction")
    )
    if ways is None or shape_of(node[1])[0] != len(ways):
        node.fail(
            f"direction {node.attr('direction')!r} does not fit weights of shape {list(shape_of(node[1]))}"
        )
    count = 2 if gates == 4 else 1
    outputs: list[SSAValue] = []
    lasts: list[list[SSAValue]] = [[] for _ in range(count)]
    for k, backwards in enumerate(ways):
        own = _direction(node, k, len(ways), hidden, gates, defaults)
        first = [_first_state(node, 5 + s, k, batchwise, x, hidden) for s in range(count)]
        output, last = _walk(own, _projected(own, x, gates), first, backwards, step)
        outputs.append(unsqueeze(emit, output, [1]))
        for found, state in zip(lasts, last, strict=True):
            found.append(unsqueeze(emit, state, [0]))
    every, ends = concat(emit, outputs, 1), [concat(emit, found, 0) for found in lasts]
    if batchwise:
        every, ends = (
            transpose(emit, every, [2, 0, 1, 3]),
            [transpose(emit, e, [1, 0, 2]) for e in ends],
        )
    return [every, *ends]


def _direction(
    node: Node, k: int, ways: int, hidden: int, gates: int, defaults: Sequence[str]
) -> _Direction:
    def own(operand: int) -> SSAValue | None:
        value = node.get(operand)
        return None if value is None else squeeze(node.emit, take(node.emit, value, 0, k, 1), [0])

    w, r = own(1), own(2)
    assert w is not None, "the operand has been read"
    assert r is not None, "the operand has been read"
    functions = _activations(node, list(defaults) * ways)[
        k * len(defaults) : (k + 1) * len(defaults)
    ]
    return _Direction(node, hidden, w, r, own(3), own(7) if gates == 4 else None, functions)


def _projected(d: _Direction, x: SSAValue, gates: int) -> SSAValue:
    """The gates' share of the inputs of all steps, with the biases that are simply added."""
    found = d.times(x, d.w)
    if d.b is None:
        return found
    bias, own = d.part(d.b, 0, gates), d.part(d.b, gates, gates)
    if d.node.kind == "GRU" and d.node.attr("linear_before_reset"):
        own = concat(d.node.emit, [d.part(own, 0, 2), like(d.node.emit, 0, d.part(own, 2))], 0)
    return d.add(d.add(found, bias), own)


def _first_state(
    node: Node, operand: int, k: int, batchwise: bool, x: SSAValue, hidden: int
) -> SSAValue:
    given = node.get(operand)
    if given is None:
        return splat(node.emit, 0, element(x), (shape_of(x)[1], hidden))
    axis = 1 if batchwise else 0
    return squeeze(node.emit, take(node.emit, given, axis, k, 1), [axis])


def _walk(
    d: _Direction, projected: SSAValue, first: States, backwards: bool, step: Step
) -> tuple[SSAValue, States]:
    """The outputs ``[time, batch, hidden]`` and the last states; after the end of a sequence zeros and no change."""
    emit, node = d.node.emit, d.node
    steps: Dim = shape_of(projected)[0]
    turns = extent(emit, projected, 0, i64)
    lengths = None if node.get(4) is None else cast(emit, node[4], i64)
    start = splat(emit, 0, i64)
    array = splat(emit, 0, element(first[0]), (steps, *shape_of(first[0])))

    def body(i: SSAValue, filled: SSAValue, *old: SSAValue) -> Sequence[SSAValue]:
        one = splat(emit, 1, i64)
        t = emit(SubOp(emit(SubOp(turns, one)), i)) if backwards else i
        new = step(d, emit(GatherOp(projected, t, 0)), old)
        output = new[0]
        if lengths is not None:
            going = emit(CompareOp("lt", broadcast(emit, t, shape_of(lengths)), lengths))
            going = broadcast(emit, reshape(emit, going, [*shape_of(going), 1]), shape_of(output))
            new = [emit(SelectOp(going, a, b)) for a, b in zip(new, old, strict=True)]
            output = emit(SelectOp(going, output, like(emit, 0, output)))
        return [emit(AddOp(i, one)), emit(UpdateRowOp(filled, t, output)), *new]

    ask = lambda i, *_: [emit(CompareOp("lt", i, turns))]  # noqa: E731
    _, filled, *last = loop(emit, [start, array, *first], ask, body)
    return filled, last


def _activations(node: Node, defaults: Sequence[str]) -> list[Function]:
    names = [
        n.decode() if isinstance(n, bytes) else n for n in node.attr("activations") or defaults
    ]
    if len(names) < len(defaults):
        node.fail(f"expected {len(defaults)} activations, got {len(names)}")
    names = names[: len(defaults)]  # the standard's own default has those for two directions
    given = {n: iter(node.attr(f"activation_{n}") or ()) for n in ("alpha", "beta")}
    found: list[Function] = []
    for name in (n[0].upper() + n[1:] for n in names):
        alpha, beta = DEFAULTS.get(name, (0.0, 0.0))
        if name in DEFAULTS:
            alpha = next(given["alpha"], alpha)
            if name in ("Affine", "HardSigmoid", "ScaledTanh"):
                beta = next(given["beta"], beta)
        found.append(_activation(node, name, alpha, beta))
    return found


def _activation(node: Node, name: str, alpha: float, beta: float) -> Function:
    emit = node.emit
    if name in SIMPLE:
        return lambda x: emit(SIMPLE[name](x))

    def scaled(x: SSAValue, factor: float) -> SSAValue:
        return emit(MulOp(x, like(emit, factor, x)))

    match name:
        case "Affine":
            return lambda x: emit(AddOp(scaled(x, alpha), like(emit, beta, x)))
        case "ScaledTanh":
            return lambda x: scaled(emit(_tanh(scaled(x, beta))), alpha)
        case "Elu":
            return lambda x: emit(ops.EluOp(x, alpha))
        case "HardSigmoid":
            return lambda x: emit(ops.HardSigmoidOp(x, alpha, beta))
        case "LeakyRelu":
            return lambda x: emit(ops.LeakyReluOp(x, alpha))
        case "ThresholdedRelu":
            return lambda x: emit(ops.ThresholdedReluOp(x, alpha))
        case _:
            node.fail(f"the activation {name!r} is not known")
