"""Random numbers: each node draws from a stream of its own, which goes on from run to run.

The stream is Philox with the node's seeds as key; where it stands is a hidden variable of the
node, read and moved on in each run. Numbers and steps are those of TensorFlow's CPU kernels,
but for the truncated normal, which inverts the distribution instead of drawing again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import Float64Type, IntegerType, f32, f64
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc import OPERATIONS
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.elementwise import CastOp
from tfc.dialects.tfc.random import U32, U64, PhiloxOp, RandomUniformOp
from tfc.dialects.tfc.shape import ConcatOp, ReshapeOp, SliceOp
from tfc.dialects.tfc.state import AssignOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import LiteralAttr, element, shape_of, tensor_type
from tfc.dims import Dim, product
from tfc.errors import GraphError
from tfc.graph.dtypes import DType
from tfc.graph.emit import Emitter, rule

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


def _apply(emit: Emitter, kind: str, *values: SSAValue) -> SSAValue:
    return emit(OPERATIONS[f"tfc.{kind}"](*values))


def _typed(_shape: SSAValue, dtype: DType, **_attributes: Any) -> Sequence[Attribute]:
    return [dtype.element]


def _sizes(emit: Emitter, shape: SSAValue) -> Sequence[Dim]:
    return emit.dims(shape)


@rule("RandomUniform", elements=_typed)
def random_uniform(
    emit: Emitter, shape: SSAValue, dtype: DType, seed: int, seed2: int, state: str
) -> SSAValue:
    """Floats in ``[0, 1)``."""
    sizes = _sizes(emit, shape)
    if not emit.strict:
        return emit.full(0, dtype.element, sizes)
    key, counter = _stream(emit, seed, seed2, state, product(sizes))
    return emit(RandomUniformOp(key, counter, sizes, dtype.element))


@rule("RandomUniformInt", elements=lambda shape, low, high, **_: [element(low)])
def random_uniform_int(
    emit: Emitter, shape: SSAValue, low: SSAValue, high: SSAValue, seed: int, seed2: int, state: str
) -> SSAValue:
    """Integers in ``[low, high)``."""
    sizes, kind = _sizes(emit, shape), element(low)
    if not emit.strict:
        return emit.full(0, kind, sizes)
    key, counter = _stream(emit, seed, seed2, state, product(sizes))
    assert isinstance(kind, IntegerType), "the function that makes the node checks this"
    wide = kind.width.data == 64
    if wide:
        words = emit(PhiloxOp(key, counter, [*sizes, 2]))
        parts = [emit(CastOp(_column(emit, words, k), U64)) for k in (0, 1)]
        upper = _apply(emit, "shift_left", parts[1], emit.full(32, U64, sizes))
        bits = _apply(emit, "or", parts[0], upper)
    else:
        bits = emit(PhiloxOp(key, counter, sizes))
    unsigned = U64 if wide else U32
    span = emit(CastOp(_apply(emit, "sub", high, low), unsigned))
    offset = emit(CastOp(_apply(emit, "rem", bits, emit.broadcast(span, sizes)), kind))
    return _apply(emit, "add", offset, emit.broadcast(low, sizes))


def _column(emit: Emitter, x: SSAValue, k: int) -> SSAValue:
    *rows, _ = shape_of(x)
    starts = [*(0 for _ in rows), k]
    part = emit(SliceOp(x, starts, [*rows, 1], [1] * len(starts)))
    return emit(ReshapeOp(part, rows))


@rule("RandomStandardNormal", elements=_typed)
def random_normal(
    emit: Emitter, shape: SSAValue, dtype: DType, seed: int, seed2: int, state: str
) -> SSAValue:
    """Mean 0, standard deviation 1, by Box and Muller: each two numbers from two uniform ones."""
    sizes = _sizes(emit, shape)
    if not emit.strict:
        return emit.full(0, dtype.element, sizes)
    count = product(sizes)
    key, counter = _stream(emit, seed, seed2, state, count)
    inner = _working_type(dtype)
    pairs = (count + 1) // 2
    uniform = emit(RandomUniformOp(key, counter, [pairs, 2], inner))
    u, v = _column(emit, uniform, 0), _column(emit, uniform, 1)
    f = _scalar_functions(emit, inner, [pairs])
    radius = f("sqrt", f("mul", -2.0, f("log", f("max", u, 1e-7))))
    angle = f("mul", 2 * math.pi, v)
    halves = [f("mul", f(turn, angle), radius) for turn in ("sin", "cos")]
    both = emit(ConcatOp([emit(ReshapeOp(h, [pairs, 1])) for h in halves], 1))
    flat = emit(SliceOp(emit(ReshapeOp(both, [2 * pairs])), [0], [count], [1]))
    return _cast(emit, emit(ReshapeOp(flat, sizes)), dtype)


@rule("TruncatedNormal", elements=_typed)
def truncated_normal(
    emit: Emitter, shape: SSAValue, dtype: DType, seed: int, seed2: int, state: str
) -> SSAValue:
    """Mean 0, standard deviation 1, nothing beyond 2: the inverse of the distribution of ``u``.

    The inverse of erf is M. Giles' polynomial ("Approximating the erfinv function", 2011), of
    which values below erf(sqrt(2)) need the central piece only.
    """
    sizes = _sizes(emit, shape)
    if not emit.strict:
        return emit.full(0, dtype.element, sizes)
    key, counter = _stream(emit, seed, seed2, state, product(sizes))
    inner = _working_type(dtype)
    u = emit(RandomUniformOp(key, counter, sizes, inner))
    f = _scalar_functions(emit, inner, sizes)
    bound = math.erf(math.sqrt(2.0))
    x = f("sub", f("mul", u, 2 * bound), bound)
    w = f("sub", f("neg", f("log1p", f("neg", f("mul", x, x)))), 2.5)
    total: Any = _GILES[0]
    for coefficient in _GILES[1:]:
        total = f("add", f("mul", total, w), coefficient)
    z = f("mul", f("mul", total, x), math.sqrt(2.0))
    return _cast(emit, f("min", f("max", z, -2.0), 2.0), dtype)


_GILES = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip


def _working_type(dtype: DType) -> Attribute:
    return f64 if isinstance(dtype.element, Float64Type) else f32


def _cast(emit: Emitter, x: SSAValue, dtype: DType) -> SSAValue:
    return x if element(x) == dtype.element else emit(CastOp(x, dtype.element))


def _scalar_functions(
    emit: Emitter, kind: Attribute, sizes: Sequence[Dim]
) -> Callable[..., SSAValue]:
    """Elementwise operations whose operands may be Python numbers."""

    def apply(name: str, *operands: Any) -> SSAValue:
        values = [o if isinstance(o, SSAValue) else emit.full(o, kind, sizes) for o in operands]
        return _apply(emit, name, *values)

    return apply
