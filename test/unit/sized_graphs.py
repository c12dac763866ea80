"""Random graphs whose extents lie about where kernels are cut: a warp, a block, a tile, a wide access.

    @given(sized_graphs())
    def test_something(graph: SizedGraph) -> None: run(graph.module, graph.arrays)

Tensors have one of a few shapes, some dims of them named; elements are of any type. Values stay small, so that halves do not
overflow, and what jumps (a comparison, the place of a maximum, an order) is asked of inputs only, where there is no
rounding: so a result may be compared with the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import ml_dtypes
import numpy as np
from graphs import Graph
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, i1
from xdsl.ir import Operation, SSAValue

from tfc.dialects.tfc import activation as act
from tfc.dialects.tfc import elementwise as ew
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.gather import GatherElementsOp, GatherOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.nn import SoftmaxOp
from tfc.dialects.tfc.normalize import LayerNormOp
from tfc.dialects.tfc.reduce import ArgReduceOp, CumulativeOp, ReduceOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.sort import ArgsortOp
from tfc.dialects.tfc.types import (
    Array,
    dtype_of,
    element,
    element_of,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, evaluate, symbol

EXTENTS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 96, 100, 127, 128, 129, 200, 255, 256, 257, 300, 512, 1000, 1025)  # fmt: skip
MOST = 30000
"""Elements of an input."""

FLOATS = (*[np.float32] * 5, np.float16, ml_dtypes.bfloat16, np.float64)
INTEGERS = (np.int32, np.int64, np.int8, np.uint8)
SPECIALS = (np.nan, np.inf, -np.inf, -0.0)


class SizedGraph:
    """A module of one function, and arrays for its arguments; shown as its text."""

    def __init__(self, rng: Random, operations: int = 5) -> None:
        self.rng = rng
        rank = rng.choice([1, 1, 2, 2, 2, 3, 3, 4])
        sizes = [rng.choice(EXTENTS) for _ in range(rank)]
        while np.prod(sizes) > MOST:
            sizes[sizes.index(max(sizes))] //= 2
        self.least = min(sizes)
        self.dims = {"nmkl"[d]: n for d, n in enumerate(sizes) if rng.random() < 0.2}
        self.shape: list[Dim] = [symbol(name) if (name := "nmkl"[d]) in self.dims else n for d, n in enumerate(sizes)]
        kind = rng.choice(FLOATS) if rng.random() < 0.8 else rng.choice(INTEGERS)
        self.special = kind in (np.float32, np.float64) and rng.random() < 0.2
        spread = [sorted(rng.sample(range(rank), rng.randint(0, rank - 1))) for _ in range(rng.randint(0, 2))]
        shapes: list[list[Dim]] = [self.shape] * rng.randint(1, 2) + [[self.shape[d] for d in kept] for kept in spread]
        shapes.append([rng.choice([1, 3, 32, 33, 70])])
        kinds = [kind] * (len(shapes) - 1) + [rng.choice([np.int32, np.int64])]
        self.arrays = [self._array(s, k, s is shapes[-1]) for s, k in zip(shapes, kinds, strict=True)]
        self.graph = Graph([tensor_type(s, element_of(np.dtype(k))) for s, k in zip(shapes, kinds, strict=True)])
        *self.values, self.ids = self.graph.values
        self.values += [self(BroadcastOp(v, self.shape, d)) for v, d in zip(self.values[-len(spread) :], spread, strict=False)]
        self.exact = set(self.values)
        """What nothing has rounded."""
        for _ in range(rng.randint(1, operations)):
            if (made := rng.choice(STEPS)(self)) is not None:
                self.values.append(made)
        results = dict.fromkeys([self.values[-1], *rng.sample(self.values, min(len(self.values), rng.randint(0, 2)))])
        made = [v for v in results if isinstance(v.owner, Operation)]
        self.module: ModuleOp = self.graph.finish(made or [self(ew.NegOp(self.values[-1]))])

    def __repr__(self) -> str:
        return f"SizedGraph of {self.dims}:\n{self.module}\n"

    def __call__(self, op: Operation) -> SSAValue:
        return self.graph(op)

    def _array(self, shape: Sequence[Dim], kind: Any, indices: bool) -> Array:
        rng = np.random.default_rng(self.rng.randint(0, 1 << 30))
        sizes = [evaluate(d, self.dims) for d in shape]
        if np.dtype(kind).kind in "iu":
            low = 0 if indices or np.dtype(kind).kind == "u" else -4
            return rng.integers(low, self.least if indices else 9, sizes).astype(kind)
        array = rng.standard_normal(sizes).astype(kind)
        if self.special:
            places = rng.integers(0, array.size, max(1, array.size // 20))
            array.flat[places] = rng.choice(SPECIALS, places.size)
        return array

    def pick(self, fits: Callable[[SSAValue], bool] = lambda _: True) -> SSAValue | None:
        """A value, of the last ones more often."""
        found = [v for v in self.values if fits(v)]
        return self.rng.choice(found[-3:] if self.rng.random() < 0.6 else found) if found else None

    def sizes(self, value: SSAValue) -> list[int]:
        return [evaluate(d, self.dims) for d in shape_of(value)]

    def axes(self, value: SSAValue) -> list[int]:
        """Some dims: the last, the first, or any."""
        rank = len(shape_of(value))
        return self.rng.choice([[rank - 1], [0], sorted(self.rng.sample(range(rank), self.rng.randint(1, rank)))])

    def small(self, value: SSAValue) -> SSAValue:
        """A value whose sums do not overflow."""
        return self(ew.TanhOp(value)) if is_float(element(value)) else value

    def fits(self, *sizes: int) -> bool:
        return int(np.prod(sizes)) <= 3 * MOST


def _float(value: SSAValue) -> bool:
    return is_float(element(value))


def _number(value: SSAValue) -> bool:
    return element(value) != i1


def _ranked(value: SSAValue) -> bool:
    return len(shape_of(value)) > 0


Step = Callable[[SizedGraph], SSAValue | None]


def unary(g: SizedGraph) -> SSAValue | None:
    makers = [ew.NegOp, ew.AbsOp, ew.TanhOp, act.ReluOp, act.SigmoidOp, ew.SinOp, ew.ErfOp]
    return None if (x := g.pick(_float)) is None else g(g.rng.choice(makers)(x))


def binary(g: SizedGraph) -> SSAValue | None:
    x = g.pick()
    assert x is not None, "there are arguments"
    y = g.pick(lambda v: v.type == x.type) or x
    if element(x) == i1:
        return g(g.rng.choice([ew.AndOp, ew.OrOp, ew.XorOp])(x, y))
    maker = g.rng.choice([ew.AddOp, ew.SubOp, ew.MaxOp, ew.MinOp, ew.MulOp])
    return g(maker(g.small(x) if maker is ew.MulOp else x, y))


def compare(g: SizedGraph) -> SSAValue | None:
    def exact(v: SSAValue) -> bool:
        return v in g.exact or not _float(v)

    if (x := g.pick(lambda v: _number(v) and exact(v))) is None:
        return None
    y = g.pick(lambda v: v.type == x.type and exact(v))
    return g(ew.CompareOp(g.rng.choice(["lt", "le", "eq", "ge"]), x, y or x))


def select(g: SizedGraph) -> SSAValue | None:
    """By a comparison; else by places along a dim."""
    if (x := g.pick(_ranked)) is None:
        return None
    shape = shape_of(x)
    condition = g.pick(lambda v: element(v) == i1 and shape_of(v) == shape)
    if condition is None:
        place = g(IotaOp(shape, element_of(np.int64), g.rng.randrange(len(shape))))
        bound = g(ConstantOp(np.array(g.rng.choice([0, 1, 5, 33]), np.int64)))
        condition = g(ew.CompareOp("lt", place, g(BroadcastOp(bound, shape, []))))
    return g(ew.SelectOp(condition, x, g.pick(lambda v: v.type == x.type) or x))


def reduced(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(lambda v: _number(v) and _ranked(v))) is None:
        return None
    kind = g.rng.choice(["max", "min", "sum", "sum"])
    return g(ReduceOp(g.small(x) if kind == "sum" else x, kind, g.axes(x)))


def reduced_and_spread(g: SizedGraph) -> SSAValue | None:
    """What softmax and norms are made of: a reduction of a row beside its elements."""
    if (x := g.pick(lambda v: _number(v) and _ranked(v))) is None:
        return None
    axes, kind = g.axes(x), g.rng.choice(["max", "min", "sum"])
    x = g.small(x) if kind == "sum" else x
    kept = [d for d in range(len(shape_of(x))) if d not in axes]
    spread = g(BroadcastOp(g(ReduceOp(x, kind, axes)), shape_of(x), kept))
    if kind == "sum" and _float(x):
        part = np.array(1 / np.prod([g.sizes(x)[d] for d in axes]), dtype_of(element(x)))
        spread = g(ew.MulOp(spread, g(BroadcastOp(g(ConstantOp(part)), shape_of(x), []))))
    return g(g.rng.choice([ew.SubOp, ew.AddOp])(x, spread))


def place_of_extreme(g: SizedGraph) -> SSAValue | None:
    x = g.pick(lambda v: _ranked(v) and _number(v) and v in g.exact)
    return None if x is None else g(ArgReduceOp(x, g.rng.choice(["max", "min"]), g.rng.randrange(len(shape_of(x)))))


def softmax(g: SizedGraph) -> SSAValue | None:
    x = g.pick(lambda v: _ranked(v) and _float(v))
    return None if x is None else g(SoftmaxOp(x, g.rng.randrange(len(shape_of(x)))))


def norm(g: SizedGraph) -> SSAValue | None:
    x = g.pick(lambda v: _ranked(v) and _float(v) and g.sizes(v)[-1] > 2)
    return None if x is None or g.special else g(LayerNormOp(x, None, None, len(shape_of(x)) - 1, 0.1))


def transpose(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(_ranked)) is None:
        return None
    rank = len(shape_of(x))
    return _as_exact(g, x, g(TransposeOp(x, g.rng.sample(range(rank), rank))))


def part(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(lambda v: _ranked(v) and all(isinstance(d, int) for d in shape_of(v)))) is None:
        return None
    sizes = g.sizes(x)
    starts = [g.rng.choice([0, g.rng.randrange(n)]) for n in sizes]
    steps = [g.rng.choice([1, 1, 2, 3]) for _ in sizes]
    left = [(n - start + step - 1) // step for n, start, step in zip(sizes, starts, steps, strict=True)]
    return _as_exact(g, x, g(SliceOp(x, starts, [g.rng.choice([n, max(1, n // 2)]) for n in left], steps)))


def _as_exact(g: SizedGraph, x: SSAValue, moved: SSAValue) -> SSAValue:
    if x in g.exact:
        g.exact.add(moved)
    return moved


def pad(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(lambda v: _ranked(v) and _number(v))) is None:
        return None
    value = g(ConstantOp(np.array(g.rng.choice([0, 1, 2]), dtype_of(element(x)))))
    low, high = ([g.rng.randint(0, 2) for _ in shape_of(x)] for _ in range(2))
    return g(PadOp(x, value, low, high))


def concat(g: SizedGraph) -> SSAValue | None:
    count = g.rng.randint(1, 3)
    if (x := g.pick(lambda v: _ranked(v) and g.fits(count, *g.sizes(v)))) is None:
        return None
    like = x.type
    others = [g.pick(lambda v: v.type == like) or x for _ in range(count - 1)]
    return g(ConcatOp([x, *others], g.rng.randrange(len(shape_of(x)))))


def reverse(g: SizedGraph) -> SSAValue | None:
    return None if (x := g.pick(_ranked)) is None else g(ReverseOp(x, g.axes(x)))


def merged(g: SizedGraph) -> SSAValue | None:
    """Two neighbouring dims as one."""
    if (x := g.pick(lambda v: len(shape_of(v)) > 1)) is None:
        return None
    shape = list(shape_of(x))
    d = g.rng.randrange(len(shape) - 1)
    return g(ReshapeOp(x, [*shape[:d], shape[d] * shape[d + 1], *shape[d + 2 :]]))


def gather(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(_ranked)) is None:
        return None
    sizes, axis, (count,) = g.sizes(x), g.rng.randrange(len(shape_of(x))), g.sizes(g.ids)
    if sizes[axis] < g.least or not g.fits(count, *sizes[:axis], *sizes[axis + 1 :]):
        return None
    return g(GatherOp(x, g.ids, axis))


def sum_by_position(g: SizedGraph) -> SSAValue | None:
    count = shape_of(g.ids)[0]
    x = g.pick(lambda v: _ranked(v) and _number(v) and shape_of(v)[0] == count)
    return None if x is None else g(SegmentSumOp(g.small(x), g.ids, g.rng.choice([1, 3, 33])))


def running(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(lambda v: _ranked(v) and _number(v))) is None:
        return None
    axis, exclusive, back = g.rng.randrange(len(shape_of(x))), g.rng.random() < 0.5, g.rng.random() < 0.5
    return g(CumulativeOp(g.small(x), "sum", axis, exclusive, back))


def order(g: SizedGraph) -> SSAValue | None:
    """The places that sort a dim, or what they sort."""
    x = g.pick(lambda v: _ranked(v) and _number(v) and v in g.exact)
    axis = g.rng.randrange(len(shape_of(x))) if x is not None else 0
    if x is None or not isinstance(shape_of(x)[axis], int):
        return None
    places = g(ArgsortOp(x, axis, g.rng.random() < 0.5))
    return places if g.rng.random() < 0.5 else g(GatherElementsOp(x, places, axis))


def product(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(lambda v: _ranked(v) and _float(v))) is None:
        return None
    axis, columns = g.rng.randrange(len(shape_of(x))), g.rng.choice([1, 3, 8, 17, 64])
    n = shape_of(x)[axis]
    if not isinstance(n, int) or not g.fits(columns, *g.sizes(x)):
        return None
    w = np.random.default_rng(n).standard_normal((n, columns)) / n**0.5
    return g(DotOp(g.small(x), g(ConstantOp(w.astype(dtype_of(element(x))))), [], [], [axis], [0]))


def cast(g: SizedGraph) -> SSAValue | None:
    if (x := g.pick(lambda v: v in g.exact or _float(v))) is None:
        return None
    wide = [np.float32, np.float64]
    to = wide if g.special else [*wide, np.float16, ml_dtypes.bfloat16] if _float(x) else [np.float32, np.int32, np.int64]
    return g(ew.CastOp(x, element_of(np.dtype(g.rng.choice(to)))))


STEPS: Sequence[Step] = (
    unary, unary, binary, binary, binary, compare, select, reduced, reduced, reduced_and_spread, reduced_and_spread,
    place_of_extreme, softmax, norm, transpose, transpose, part, pad, concat, reverse, merged, gather, sum_by_position,
    running, order, product, cast,
)  # fmt: skip


def sized_graphs(operations: int = 5) -> st.SearchStrategy[SizedGraph]:
    return st.randoms(use_true_random=False).map(lambda rng: SizedGraph(rng, operations))
