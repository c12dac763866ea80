"""Random numbers: each node draws from a stream of its own, which goes on from run to run.

The stream is Philox with the node's seeds as key; where it stands is a hidden variable of the
node, read and moved on in each run. A stateless node draws from the stream of a seed that is data.
Numbers and steps are those of TensorFlow's CPU kernels: uniform ones bit for bit, normal ones up to the
last places of logarithm, sine and cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import Float64Type, IntegerType, f32, f64, i32, i64
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc import OPERATIONS
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.elementwise import CastOp, CompareOp, SelectOp
from tfc.dialects.tfc.random import U32, U64, PhiloxOp, RandomUniformOp
from tfc.dialects.tfc.reduce import CumulativeOp, ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ConcatOp, ReshapeOp, SliceOp
from tfc.dialects.tfc.state import AssignOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import LiteralAttr, element, shape_of, tensor_type
from tfc.dims import Dim, product
from tfc.errors import GraphError
from tfc.graph.dtypes import DType
from tfc.graph.emit import Emitter, rule
from tfc.graph.shape import TensorShape

STEP = 256
"""Blocks of the stream that TensorFlow sets aside for each element of a result."""

Stream = tuple[SSAValue, SSAValue]
"""The key and the counter."""


def _stream(emit: Emitter, seed: int, seed2: int, state: str, count: Dim) -> Stream:
    """The node's place in its stream, which moves on by what ``count`` elements may need."""
    handle = emit(VariableOp(state, tensor_type([], U64)))
    place, read = emit.all(ReadOp(handle, list(emit.after)))
    if not isinstance(count, int):
        raise GraphError("a random tensor needs extents that are numbers when it is compiled")
    token = emit(AssignOp(handle, emit.constant(count * STEP, U64), [read], "add"))
    emit.tokens[:] = [token]
    low = emit(CastOp(place, U32))
    high = emit(CastOp(_apply(emit, "shift_right", place, emit.constant(32, U64)), U32))
    words = [emit(ReshapeOp(w, [1])) for w in (low, high)]
    counter = emit(ConcatOp([*words, _words(emit, seed2)], 0))
    return _words(emit, seed), counter


def _words(emit: Emitter, value: int) -> SSAValue:
    words = np.array([value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF], np.uint32)
    return emit(ConstantOp(LiteralAttr.of(words)))


def _stateless(emit: Emitter, seed: SSAValue) -> Stream:
    """The stream of a seed of two numbers, which are scrambled first."""
    if emit.shape(seed) != (2,) or not isinstance(element(seed), IntegerType):
        raise GraphError(f"expected a seed of two integers, got {TensorShape.of(seed.type)}")
    wide = emit(CastOp(emit(CastOp(seed, i64)), U64))
    low = emit(CastOp(wide, U32))
    high = emit(CastOp(_apply(emit, "shift_right", wide, emit.full(32, U64, [2])), U32))
    pairs = emit(ConcatOp([emit(ReshapeOp(w, [2, 1])) for w in (low, high)], 1))
    key = emit(ConstantOp(LiteralAttr.of(np.array([0x3EC8F720, 0x02461E29], np.uint32))))
    mixed = emit(PhiloxOp(key, emit(ReshapeOp(pairs, [4])), [4]))
    first, second = (emit(SliceOp(mixed, [k], [2], [1])) for k in (0, 2))
    return first, emit(ConcatOp([emit.full(0, U32, [2]), second], 0))


def _apply(emit: Emitter, kind: str, *values: SSAValue) -> SSAValue:
    return emit(OPERATIONS[f"tfc.{kind}"](*values))


def _typed(_shape: SSAValue, dtype: DType, **_attributes: Any) -> Sequence[Attribute]:
    return [dtype.element]


def _sizes(emit: Emitter, shape: SSAValue) -> Sequence[Dim]:
    return emit.dims(shape)


@dataclass(frozen=True)
class Kind:
    """A distribution: numbers of it from a stream, and the nodes that draw from it."""

    name: str
    stateless: str
    draw: Callable[[Emitter, Stream, Sequence[Dim], DType], SSAValue]


def _uniform(emit: Emitter, stream: Stream, sizes: Sequence[Dim], dtype: DType) -> SSAValue:
    """Floats in ``[0, 1)``."""
    return emit(RandomUniformOp(*stream, sizes, dtype.element))


def _bits(emit: Emitter, stream: Stream, sizes: Sequence[Dim], wide: bool) -> SSAValue:
    """Random bits as ui32 or ui64, of which each takes two words, the low one first."""
    if not wide:
        return emit(PhiloxOp(*stream, sizes))
    words = emit(PhiloxOp(*stream, [*sizes, 2]))
    parts = [emit(CastOp(_column(emit, words, k), U64)) for k in (0, 1)]
    upper = _apply(emit, "shift_left", parts[1], emit.full(32, U64, sizes))
    return _apply(emit, "or", parts[0], upper)


def _integers(
    emit: Emitter, stream: Stream, sizes: Sequence[Dim], low: SSAValue, high: SSAValue
) -> SSAValue:
    """Integers in ``[low, high)``: the remainder of random bits."""
    kind = element(low)
    assert isinstance(kind, IntegerType), "the function that makes the node checks this"
    wide = kind.width.data == 64
    bits = _bits(emit, stream, sizes, wide)
    span = emit(CastOp(_apply(emit, "sub", high, low), U64 if wide else U32))
    offset = emit(CastOp(_apply(emit, "rem", bits, emit.broadcast(span, sizes)), kind))
    return _apply(emit, "add", offset, emit.broadcast(low, sizes))


def _column(emit: Emitter, x: SSAValue, k: int) -> SSAValue:
    *rows, _ = shape_of(x)
    starts = [*(0 for _ in rows), k]
    part = emit(SliceOp(x, starts, [*rows, 1], [1] * len(starts)))
    return emit(ReshapeOp(part, rows))


def _box_muller(emit: Emitter, uniform: SSAValue, inner: Attribute) -> SSAValue:
    """Two normal numbers from each two uniform ones along the last dim.

    Source: Box, Muller, "A note on the generation of random normal deviates", 1958.
    """
    u, v = _column(emit, uniform, 0), _column(emit, uniform, 1)
    sizes = shape_of(u)
    f = _scalar_functions(emit, inner, sizes)
    radius = f("sqrt", f("mul", -2.0, f("log", f("max", u, 1e-7))))
    # The angle is rounded once: its last place is many of those of a sine near 0.
    wide = _scalar_functions(emit, f64, sizes)
    angle = _cast(emit, wide("mul", 2 * math.pi, _cast(emit, v, f64)), inner)
    halves = [f("mul", f(turn, angle), radius) for turn in ("sin", "cos")]
    return emit(ConcatOp([emit(ReshapeOp(h, [*sizes, 1])) for h in halves], len(sizes)))


def _normal(emit: Emitter, stream: Stream, sizes: Sequence[Dim], dtype: DType) -> SSAValue:
    """Mean 0, standard deviation 1."""
    inner, count = _working_type(dtype), product(sizes)
    pairs = (count + 1) // 2
    both = _box_muller(emit, emit(RandomUniformOp(*stream, [pairs, 2], inner)), inner)
    flat = emit(SliceOp(emit(ReshapeOp(both, [2 * pairs])), [0], [count], [1]))
    return _cast(emit, emit(ReshapeOp(flat, sizes)), dtype.element)


CANDIDATES = 16
"""Normal numbers from which those of a group are chosen: too few are left once in 1e15 times."""


def _truncated_normal(emit: Emitter, stream: Stream, sizes: Sequence[Dim], dtype: DType) -> SSAValue:
    """Mean 0, standard deviation 1, those beyond 2 left out.

    Four numbers (of f64 two) form a group with a place of its own in the stream; they are the first of its
    numbers that are not beyond 2.
    """
    inner, count = _working_type(dtype), product(sizes)
    width = 2 if isinstance(inner, Float64Type) else 4
    groups = (count + width - 1) // width
    stride = width * STEP // 4
    uniform = emit(RandomUniformOp(*stream, [groups, CANDIDATES], inner, stride))
    halves = emit(ReshapeOp(uniform, [groups, CANDIDATES // 2, 2]))
    z = emit(ReshapeOp(_box_muller(emit, halves, inner), [groups, CANDIDATES]))
    good = emit(CompareOp("lt", _apply(emit, "abs", z), emit.full(2.0, inner, shape_of(z))))
    place = emit(CumulativeOp(emit(CastOp(good, i32)), "sum", 1))
    found = (groups, width, CANDIDATES)
    wanted = _apply(emit, "add", emit(IotaOp(found, i32, 1)), emit.full(1, i32, found))
    here = emit(CompareOp("eq", emit(BroadcastOp(place, found, [0, 2])), wanted))
    both = _apply(emit, "and", here, emit(BroadcastOp(good, found, [0, 2])))
    chosen = emit(SelectOp(both, emit(BroadcastOp(z, found, [0, 2])), emit.full(0.0, inner, found)))
    flat = emit(ReshapeOp(emit(ReduceOp(chosen, "sum", [2])), [groups * width]))
    part = emit(ReshapeOp(emit(SliceOp(flat, [0], [count], [1])), sizes))
    return _cast(emit, part, dtype.element)


KINDS = (
    Kind("RandomUniform", "StatelessRandomUniform", _uniform),
    Kind("RandomStandardNormal", "StatelessRandomNormal", _normal),
    Kind("TruncatedNormal", "StatelessTruncatedNormal", _truncated_normal),
)


def _define(kind: Kind) -> None:
    def emit_drawn(
        emit: Emitter, shape: SSAValue, dtype: DType, seed: int, seed2: int, state: str
    ) -> SSAValue:
        sizes = _sizes(emit, shape)
        if not emit.strict:
            return emit.full(0, dtype.element, sizes)
        return kind.draw(emit, _stream(emit, seed, seed2, state, product(sizes)), sizes, dtype)

    def emit_stateless(emit: Emitter, shape: SSAValue, seed: SSAValue, dtype: DType) -> SSAValue:
        sizes, stream = _sizes(emit, shape), _stateless(emit, seed)
        return kind.draw(emit, stream, sizes, dtype) if emit.strict else emit.full(0, dtype.element, sizes)

    rule(kind.name, elements=_typed)(emit_drawn)
    rule(kind.stateless, elements=lambda shape, seed, dtype: [dtype.element])(emit_stateless)


for _kind in KINDS:
    _define(_kind)


@rule("RandomUniformInt", elements=lambda shape, low, high, **_: [element(low)])
def random_uniform_int(
    emit: Emitter, shape: SSAValue, low: SSAValue, high: SSAValue, seed: int, seed2: int, state: str
) -> SSAValue:
    """Integers in ``[low, high)``."""
    sizes = _sizes(emit, shape)
    if not emit.strict:
        return emit.full(0, element(low), sizes)
    return _integers(emit, _stream(emit, seed, seed2, state, product(sizes)), sizes, low, high)


@rule("StatelessRandomUniformInt", elements=lambda shape, seed, low, high: [element(low)])
def stateless_uniform_int(
    emit: Emitter, shape: SSAValue, seed: SSAValue, low: SSAValue, high: SSAValue
) -> SSAValue:
    """Integers in ``[low, high)``."""
    sizes, stream = _sizes(emit, shape), _stateless(emit, seed)
    return _integers(emit, stream, sizes, low, high) if emit.strict else emit.full(0, element(low), sizes)


@rule("StatelessRandomUniformFullInt", elements=lambda shape, seed, dtype: [dtype.element])
def stateless_full_int(emit: Emitter, shape: SSAValue, seed: SSAValue, dtype: DType) -> SSAValue:
    """All integers of a type."""
    sizes, stream = _sizes(emit, shape), _stateless(emit, seed)
    if not emit.strict:
        return emit.full(0, dtype.element, sizes)
    return _cast(emit, _bits(emit, stream, sizes, dtype.size == 8), dtype.element)


def _working_type(dtype: DType) -> Attribute:
    return f64 if isinstance(dtype.element, Float64Type) else f32


def _cast(emit: Emitter, x: SSAValue, to: Attribute) -> SSAValue:
    return x if element(x) == to else emit(CastOp(x, to))


def _scalar_functions(
    emit: Emitter, kind: Attribute, sizes: Sequence[Dim]
) -> Callable[..., SSAValue]:
    """Elementwise operations whose operands may be Python numbers."""

    def apply(name: str, *operands: Any) -> SSAValue:
        values = [o if isinstance(o, SSAValue) else emit.full(o, kind, sizes) for o in operands]
        return _apply(emit, name, *values)

    return apply
