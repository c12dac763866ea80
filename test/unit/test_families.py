"""Families of operations on generated shapes and attributes, against numpy written out naively."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from elements import element, some_elements
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.ir import Block

from tfc.dialects.tfc.base import TensorOp, float_range
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.gradient import ConvBackpropFilterOp, ConvBackpropInputOp
from tfc.dialects.tfc.indexing import groups, linear, reshaped_index, unravel
from tfc.dialects.tfc.random import PhiloxOp
from tfc.dialects.tfc.reduce import CumulativeOp, ReduceOp, WindowReduceOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.types import Array, element_of, shape_of, tensor_type
from tfc.dims import evaluate, parse, product

SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)
FULL = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def built(make: Callable[..., TensorOp], *args: Array) -> TensorOp:
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in args]
    return make(*Block(arg_types=types).args)


def agrees(make: Callable[..., TensorOp], want: Array, *args: Array, rounding: float = 0.0) -> None:
    """The type, the reference and the element form of an operation give what ``want`` says."""
    op = built(make, *args)
    op.verify()
    found = np.asarray(op.reference(*args))
    assert shape_of(op.results[0]) == want.shape
    np.testing.assert_allclose(found, want, rtol=rounding, atol=rounding, strict=True)
    for index in some_elements(op, 6):
        np.testing.assert_allclose(element(op, args, index), want[index], rtol=max(rounding, 1e-5), atol=1e-5)


@given(SHAPES, st.randoms())
@settings(deadline=None)
def test_transpose_and_reverse(shape: Sequence[int], random: Any) -> None:
    x, perm = float_range(*shape), list(range(len(shape)))
    random.shuffle(perm)
    agrees(lambda v: TransposeOp(v, perm), np.transpose(x, perm), x)
    axes = [a for a in perm if random.random() < 0.5]
    turned = x[tuple(slice(None, None, -1) if d in axes else slice(None) for d in range(x.ndim))]
    agrees(lambda v: ReverseOp(v, axes), turned, x)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
@settings(deadline=None)
def test_reshape(factors: list[int], data: st.DataObject) -> None:
    """Any two ways to bracket the same factors, in any order, and with ones in between."""

    def bracketed(order: Sequence[int]) -> tuple[int, ...]:
        cuts = sorted(data.draw(st.sets(st.integers(0, len(order)))))
        parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
        return tuple(int(np.prod(p, dtype=np.int64)) for p in parts)

    old, new = bracketed(factors), bracketed(data.draw(st.permutations(factors)))
    x = float_range(*old)
    agrees(lambda v: ReshapeOp(v, new), x.reshape(new), x)
    assert [product(old[i] for i in a) for a, _ in groups(old, new)] == [
        product(new[j] for j in b) for _, b in groups(old, new)
    ]


@given(FULL)
def test_an_index_and_its_position(shape: Sequence[int]) -> None:
    for position, index in enumerate(np.ndindex(*shape)):
        assert linear(index, shape) == position
        assert tuple(unravel(position, shape)) == index


def test_a_named_dim_keeps_its_index() -> None:
    """Splitting and merging other dims costs the batch no division."""
    b, i, j = parse("batch"), parse("i"), parse("j")
    assert reshaped_index([i, j], [b, 12], [b, 3, 4])[0] == i
    assert reshaped_index([i, j, parse("k")], [b, 3, 4], [b, 12]) == [i, 4 * j + parse("k")]
    merged = reshaped_index([i], [12 * b], [b, 3, 4])
    for position in range(24):
        got = [evaluate(d, {"i": position, "batch": 2}) for d in merged]
        assert got == [position // 12, position // 4 % 3, position % 4]


@given(FULL, st.data())
@settings(deadline=None)
def test_broadcast(shape: Sequence[int], data: st.DataObject) -> None:
    dims = sorted(data.draw(st.sets(st.sampled_from(range(len(shape))))))
    source = [data.draw(st.sampled_from([1, shape[d]])) for d in dims]
    x = float_range(*source)
    kept = [1] * len(shape)
    for n, d in zip(source, dims, strict=True):
        kept[d] = n
    agrees(lambda v: BroadcastOp(v, shape, dims), np.broadcast_to(x.reshape(kept), shape).copy(), x)


@given(SHAPES, st.data())
@settings(deadline=None)
def test_slice(shape: Sequence[int], data: st.DataObject) -> None:
    parts: list[tuple[int, int, int]] = []
    for n in shape:
        start = data.draw(st.integers(0, n))
        stride = data.draw(st.integers(1, 3))
        size = data.draw(st.integers(0, -(-(n - start) // stride)))
        parts.append((start, size, stride))
    x = float_range(*shape)
    want = x
    for d, (start, size, stride) in enumerate(parts):
        want = np.take(want, [start + k * stride for k in range(size)], axis=d)
    starts, sizes, strides = ([p[k] for p in parts] for k in range(3))
    agrees(lambda v: SliceOp(v, starts, sizes, strides), want, x)


@given(SHAPES, st.data())
@settings(deadline=None)
def test_pad(shape: Sequence[int], data: st.DataObject) -> None:
    low, high, interior = ([data.draw(st.integers(0, 2)) for _ in shape] for _ in range(3))
    x, value = float_range(*shape), np.array(7.5, np.float32)
    want = x
    for d, (b, a, i) in enumerate(zip(low, high, interior, strict=True)):
        n = want.shape[d]
        where = [b + k * (i + 1) for k in range(n)]
        extended = np.full([*want.shape[:d], b + a + n + max(n - 1, 0) * i, *want.shape[d + 1 :]], value, x.dtype)
        extended[(slice(None),) * d + (where,)] = want
        want = extended
    agrees(lambda v, w: PadOp(v, w, low, high, interior), want, x, value)


@given(FULL, st.data())
@settings(deadline=None)
def test_concat_undoes_a_cut(shape: Sequence[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[axis]), max_size=3)))
    x = float_range(*shape)
    agrees(lambda *parts: ConcatOp(parts, axis), x, *np.split(x, cuts, axis))


@given(FULL, st.data())
@settings(deadline=None)
def test_gather(shape: Sequence[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    batch = data.draw(st.integers(0, axis))
    tail = data.draw(st.lists(st.integers(1, 3), max_size=2))
    x, places = float_range(*shape), (*shape[:batch], *tail)
    indices = np.array([data.draw(st.integers(0, shape[axis] - 1)) for _ in range(int(np.prod(places)))], np.int64)
    indices = indices.reshape(places)
    want = np.zeros((*shape[:axis], *tail, *shape[axis + 1 :]), np.float32)
    for index in np.ndindex(*want.shape):
        lead, picked, rest = index[:axis], index[axis : axis + len(tail)], index[axis + len(tail) :]
        want[index] = x[(*lead, indices[(*lead[:batch], *picked)], *rest)]
    agrees(lambda v, i: GatherOp(v, i, axis, batch), want, x, indices)


@given(SHAPES, st.sampled_from(["sum", "prod", "max", "min"]), st.data())
@settings(deadline=None)
def test_reduce(shape: Sequence[int], kind: str, data: st.DataObject) -> None:
    axes = sorted(data.draw(st.sets(st.sampled_from(range(len(shape)))))) if shape else []
    x = float_range(*shape, low=-1.5)
    start = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}[kind]
    both = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[kind]
    want = np.full([n for d, n in enumerate(shape) if d not in axes], start)
    for index in np.ndindex(*shape):
        kept = tuple(i for d, i in enumerate(index) if d not in axes)
        want[kept] = both(want[kept], x[index])
    agrees(lambda v: ReduceOp(v, kind, axes), want.astype(np.float32), x, rounding=1e-6)


@given(st.integers(1, 7), st.booleans(), st.booleans())
@settings(deadline=None)
def test_cumulative(n: int, exclusive: bool, reverse: bool) -> None:
    x = float_range(n, 2)
    want = np.zeros_like(x)
    for i in range(n):
        inside = range(i + exclusive, n) if reverse else range(0, i + 1 - exclusive)
        want[i] = sum((x[k] for k in inside), np.zeros(2, np.float32))
    agrees(lambda v: CumulativeOp(v, "sum", 0, exclusive, reverse), want, x, rounding=1e-5)


WINDOW = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))


@given(st.lists(st.tuples(st.integers(1, 6), WINDOW), min_size=1, max_size=2), st.sampled_from(["sum", "max", "min"]))
@settings(deadline=None)
def test_window_reduce(dims: list[Any], kind: str) -> None:
    shape = [max(n, (w - 1) * d + 1) for n, (w, _, d, _, _) in dims]
    window, strides, dilations, low, high = ([p[1][k] for p in dims] for k in range(5))
    x = float_range(*shape)
    places = [(n + b + a - (w - 1) * d - 1) // s + 1
              for n, w, s, d, b, a in zip(shape, window, strides, dilations, low, high, strict=True)]  # fmt: skip
    want = np.zeros(places, np.float32)
    for index in np.ndindex(*places):
        seen: list[float] = []
        for tap in np.ndindex(*window):
            at = [i * s + t * d - b for i, s, t, d, b in zip(index, strides, tap, dilations, low, strict=True)]
            if all(0 <= p < n for p, n in zip(at, shape, strict=True)):
                seen.append(float(x[tuple(at)]))
        want[index] = {"sum": sum, "max": lambda v: max(v, default=-np.inf), "min": lambda v: min(v, default=np.inf)}[kind](seen)
    agrees(lambda v: WindowReduceOp(v, kind, window, strides, dilations, low, high), want, x, rounding=1e-5)


@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.data())
@settings(deadline=None)
def test_dot(batch: int, contract: int, free_x: int, free_y: int, data: st.DataObject) -> None:
    """Dims in any order: a sum over the contracted ones, written as a loop."""
    sizes = {f"{kind}{k}": data.draw(st.integers(1, 3)) for kind, n in
             (("b", batch), ("c", contract), ("x", free_x), ("y", free_y)) for k in range(n)}  # fmt: skip
    of_x = data.draw(st.permutations([n for n in sizes if n[0] != "y"]))
    of_y = data.draw(st.permutations([n for n in sizes if n[0] != "x"]))
    x, y = (float_range(*(sizes[n] for n in names)) for names in (of_x, of_y))
    bs, cs = ([n for n in sizes if n[0] == kind] for kind in "bc")
    result = [*bs, *(n for n in of_x if n[0] == "x"), *(n for n in of_y if n[0] == "y")]
    want = np.zeros([sizes[n] for n in result])
    for index in np.ndindex(*sizes.values()):
        place = dict(zip(sizes, index, strict=True))
        term = float(x[tuple(place[n] for n in of_x)]) * float(y[tuple(place[n] for n in of_y)])
        want[tuple(place[n] for n in result)] += term
    lists = [[names.index(n) for n in which] for which in (bs, cs) for names in (of_x, of_y)]
    agrees(lambda v, w: DotOp(v, w, *lists), want.astype(np.float32), x, y, rounding=1e-5)


def naive_convolution(x: Array, w: Array, s: int, d: int, low: int, high: int, groups: int) -> Array:
    """One spatial dim, by the definition."""
    n, length, channels = x.shape
    taps, inputs, outputs = w.shape
    places = (length + low + high - (taps - 1) * d - 1) // s + 1
    result = np.zeros((n, places, outputs))
    for b, p, o in np.ndindex(*result.shape):
        first = o // (outputs // groups) * (channels // groups)
        for t in range(taps):
            at = p * s + t * d - low
            if 0 <= at < length:
                result[b, p, o] += float(np.dot(x[b, at, first : first + inputs].astype(float), w[t, :, o].astype(float)))
    return result.astype(np.float32)


CONVOLUTIONS = st.tuples(
    st.integers(1, 2), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2),
    st.integers(0, 3), st.integers(0, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2),
)  # fmt: skip


@given(CONVOLUTIONS)
@settings(deadline=None)
def test_convolution_and_its_gradients(case: Any) -> None:
    """The gradients are the transposed linear maps: <conv(x, w), g> = <x, dx(g)> = <w, dw(g)>."""
    n, length, taps, s, d, low, high, groups, inputs, outputs = case
    length = max(length, (taps - 1) * d + 1)
    x, w = float_range(n, length, groups * inputs), float_range(taps, inputs, groups * outputs)
    amounts = ([s], [d], [low], [high], groups)
    want = naive_convolution(x, w, s, d, low, high, groups)
    agrees(lambda v, f: ConvolutionOp(v, f, *amounts), want, x, w, rounding=1e-4)
    g = float_range(*want.shape, low=-1.0)
    inner = float(np.sum(want.astype(np.float64) * g))
    dx = built(lambda v, y: ConvBackpropInputOp(v, y, x.shape, *amounts), w, g).reference(w, g)
    dw = built(lambda v, y: ConvBackpropFilterOp(v, y, w.shape, *amounts), x, g).reference(x, g)
    np.testing.assert_allclose(np.sum(x.astype(np.float64) * dx), inner, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.sum(w.astype(np.float64) * dw), inner, rtol=1e-4, atol=1e-3)


def test_philox_known_answers() -> None:
    """The three vectors of the reference implementation (Random123, kat_vectors)."""
    ones, zeros = [0xFFFFFFFF] * 6, [0] * 6
    digits = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    answers = [
        (zeros, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (ones, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (digits, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]
    for words, want in answers:
        key, counter = np.array(words[4:], np.uint32), np.array(words[:4], np.uint32)
        op = built(lambda k, c: PhiloxOp(k, c, [4]), key, counter)
        np.testing.assert_array_equal(op.reference(key, counter), np.array(want, np.uint32))
