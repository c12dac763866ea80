"""Random modules of `tfc` operations, for hypothesis.

    @given(modules())
    def test_something(case: Case) -> None: run(case.module)

A graph has a few arguments of small odd shapes and a chain of operations drawn from all
families that frontends use; most draw operands from what was made last, so that chains get
long. `convolutional` graphs are channels-first, with transposes around each convolution, as an
importer writes them, and may have a batch that is only named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from xdsl.builder import Builder
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, f32, f64, i1, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from tfc.dialects.tfc import activation as act
from tfc.dialects.tfc import elementwise as ew
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.reduce import ReduceOp, WindowReduceOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    IdentityOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.types import element, is_float, shape_of, tensor_type
from tfc.dims import symbol
from tfc.location import named


class Case:
    """A module that hypothesis shows as its text."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module

    def __repr__(self) -> str:
        return f"Case:\n{self.module}\n"


Draw = Callable[[st.SearchStrategy[Any]], Any]
EXTENTS = (1, 2, 3, 5)


class Graph:
    """A module under construction: one function ``@main``."""

    def __init__(self, types: Sequence[Any]) -> None:
        self.block = Block(arg_types=types)
        self.values: list[SSAValue] = list(self.block.args)
        self._builder = Builder(InsertPoint.at_end(self.block))
        self._count = 0

    def __call__(self, op: Operation) -> SSAValue:
        """Append an operation and remember its result."""
        op.location = named(f"n{self._count}")
        self._count += 1
        self._builder.insert(op)
        self.values.append(op.results[0])
        return op.results[0]

    def finish(self, results: Sequence[SSAValue]) -> ModuleOp:
        """The module that returns ``results``."""
        self._builder.insert(ReturnOp(*results))
        inputs = [a.type for a in self.block.args]
        function = FuncOp("main", (inputs, [r.type for r in results]), Region(self.block))
        function.arg_attrs = _named("x", len(inputs))  # pyright: ignore
        function.res_attrs = _named("y", len(results))  # pyright: ignore
        return ModuleOp([function])


def _named(prefix: str, count: int) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr(
        [DictionaryAttr({"tfc.name": StringAttr(f"{prefix}{k}")}) for k in range(count)]
    )


@st.composite
def modules(draw: Draw, max_operations: int = 14) -> Case:
    """A module of small tensors of f32, i32 and i1."""
    count = draw(st.integers(1, 3))
    shapes = [
        tuple(draw(st.lists(st.sampled_from(EXTENTS), min_size=0, max_size=4)))
        for _ in range(count)
    ]
    kinds = [draw(st.sampled_from([f32, f32, f32, i32])) for _ in range(count)]
    g = Graph([tensor_type(s, k) for s, k in zip(shapes, kinds, strict=True)])
    for _ in range(draw(st.integers(1, max_operations))):
        make = draw(st.sampled_from(MAKERS))
        make(draw, g)
    outputs = g.values[-1:] + draw(st.lists(st.sampled_from(g.values), max_size=2))
    return Case(g.finish(list(dict.fromkeys(outputs))))


@st.composite
def convolutional(draw: Draw, max_operations: int = 10) -> Case:
    """A channels-first network: convolutions inside transposes, and what stands between them."""
    channels = draw(st.sampled_from([2, 4]))
    g = Graph([tensor_type([draw(st.sampled_from([1, 2, symbol("n")])), channels, 6, 5], f32)])
    value = g.values[0]
    earlier = [value]
    for _ in range(draw(st.integers(1, max_operations))):
        make = draw(st.sampled_from(CONVOLUTIONAL))
        value = make(draw, g, value, earlier)
        earlier.append(value)
    pooled = g(ReduceOp(value, "sum", [2, 3]))
    return Case(g.finish(draw(st.sampled_from([[pooled], [value], [pooled, value]]))))


def _pick(
    draw: Draw, g: Graph, fits: Callable[[SSAValue], bool] = lambda _: True
) -> SSAValue | None:
    found = [v for v in g.values if fits(v)]
    if not found:
        return None
    recent = found[-3:]
    return draw(st.sampled_from(recent if draw(st.booleans()) else found))


def _float(value: SSAValue) -> bool:
    return is_float(element(value))


def _sizes(value: SSAValue) -> list[int]:
    return [int(d) for d in shape_of(value) if isinstance(d, int)]


def _ranked(least: int) -> Callable[[SSAValue], bool]:
    return lambda v: len(shape_of(v)) >= least


NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, -2.5)


def _constant(draw: Draw, g: Graph) -> None:
    like = _pick(draw, g)
    assert like is not None, "a graph has an argument"
    sizes, kind = _sizes(like), element(like)
    if kind == i1:
        array = np.full(sizes, draw(st.booleans()))
    elif draw(st.booleans()):
        dtype = np.float32 if is_float(kind) else np.int32
        array = np.full(sizes, draw(st.sampled_from(NUMBERS))).astype(dtype)
    else:
        dtype = np.float32 if is_float(kind) else np.int32
        array = (np.arange(int(np.prod(sizes))).reshape(sizes) % 5 - 2).astype(dtype)
    g(ConstantOp(array))


UNARY = (
    ew.NegOp,
    ew.AbsOp,
    ew.TanhOp,
    ew.FloorOp,
    ew.SignOp,
    ew.IsNanOp,
    act.ReluOp,
    act.SigmoidOp,
    act.SquareOp,
)


def _unary(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, _float)) is not None:
        g(draw(st.sampled_from(UNARY))(x))


def _not(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, lambda v: not _float(v))) is not None:
        g(ew.NotOp(x))


FLOAT_BINARY = (ew.AddOp, ew.SubOp, ew.MulOp, ew.MaxOp, ew.MinOp, ew.DivOp, ew.PowOp)
INT_BINARY = (ew.AddOp, ew.SubOp, ew.MulOp, ew.MaxOp, ew.MinOp, ew.AndOp, ew.OrOp, ew.XorOp, ew.FloordivOp,
              ew.FloormodOp, ew.RemOp)  # fmt: skip
BOOL_BINARY = (ew.AndOp, ew.OrOp, ew.XorOp)


def _binary(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g)
    assert x is not None, "a graph has an argument"
    y = _pick(draw, g, lambda v: v.type == x.type)
    assert y is not None, "x has its own type"
    kinds = FLOAT_BINARY if _float(x) else BOOL_BINARY if element(x) == i1 else INT_BINARY
    g(draw(st.sampled_from(kinds))(x, y))


def _compare(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g, lambda v: element(v) != i1)
    if x is not None:
        y = _pick(draw, g, lambda v: v.type == x.type)
        predicate = draw(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]))
        g(ew.CompareOp(predicate, x, y or x))


def _select(draw: Draw, g: Graph) -> None:
    c = _pick(draw, g, lambda v: element(v) == i1)
    if c is None:
        return
    x = _pick(draw, g, lambda v: shape_of(v) == shape_of(c))
    assert x is not None, "c has its own shape"
    y = _pick(draw, g, lambda v: v.type == x.type)
    g(ew.SelectOp(c, x, y or x))


def _cast(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g, lambda v: element(v) in (f32, i32, i1))
    if x is not None:
        g(ew.CastOp(g(ew.CastOp(x, f64)), draw(st.sampled_from([f32, i32]))))


def _reshape(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g)
    assert x is not None, "a graph has an argument"
    sizes = _sizes(x)
    merged = [int(np.prod(sizes[:2])), *sizes[2:]] if len(sizes) >= 2 else [1, *sizes]
    others = [
        sizes,
        [*sizes, 1],
        [int(np.prod(sizes))],
        merged,
        [d for d in sizes if d != 1],
        [1, *sizes],
    ]
    g(
        ReshapeOp(
            x,
            draw(st.sampled_from(others))[:5]
            if len(sizes) < 4
            else draw(st.sampled_from([sizes, merged])),
        )
    )


def _transpose(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, _ranked(2))) is not None:
        g(TransposeOp(x, draw(st.permutations(range(len(shape_of(x)))))))


def _broadcast(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g, lambda v: len(shape_of(v)) <= 3)
    if x is None:
        return
    sizes = _sizes(x)
    shape = [draw(st.sampled_from([2, 3])) if d == 1 and draw(st.booleans()) else d for d in sizes]
    at = draw(st.integers(0, len(sizes)))
    dims = [d + (d >= at) for d in range(len(sizes))]
    if draw(st.booleans()):
        g(BroadcastOp(x, [*shape[:at], draw(st.sampled_from([1, 2])), *shape[at:]], dims))
    else:
        g(BroadcastOp(x, shape, list(range(len(sizes)))))


def _slice(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g, _ranked(1))
    if x is None:
        return
    starts, sizes, strides = [], [], []
    for n in _sizes(x):
        stride = draw(st.sampled_from([1, 1, 2]))
        start = draw(st.integers(0, max(n - 1, 0)))
        most = (n - start + stride - 1) // stride
        starts.append(start)
        sizes.append(draw(st.sampled_from([most, 1])) if n else 0)
        strides.append(stride)
    if draw(st.booleans()):
        starts, strides, sizes = [0] * len(starts), [1] * len(starts), _sizes(x)
    g(SliceOp(x, starts, sizes, strides))


def _pad(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, lambda v: _float(v) and len(shape_of(v)) >= 1)) is not None:
        amounts = st.lists(st.integers(0, 1), min_size=len(shape_of(x)), max_size=len(shape_of(x)))
        value = g(ConstantOp(np.array(draw(st.sampled_from(NUMBERS)), np.float32)))
        if element(x) == f32:
            g(PadOp(x, value, draw(amounts), draw(amounts)))


def _concat(draw: Draw, g: Graph) -> None:
    x = _pick(draw, g, _ranked(1))
    if x is None:
        return
    xs = [x] + [
        _pick(draw, g, lambda v: v.type == x.type) or x for _ in range(draw(st.integers(0, 2)))
    ]
    g(ConcatOp(xs, draw(st.integers(0, len(shape_of(x)) - 1))))


def _reverse(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, _ranked(1))) is not None:
        axes = draw(st.lists(st.integers(0, len(shape_of(x)) - 1), unique=True))
        g(ReverseOp(x, sorted(axes)))


def _reduce(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, lambda v: element(v) != i1)) is not None:
        axes = draw(st.lists(st.integers(0, max(len(shape_of(x)) - 1, 0)), unique=True))
        kinds = ["max", "min"] if _float(x) else ["sum", "max", "min"]
        g(ReduceOp(x, draw(st.sampled_from(kinds)), sorted(axes) if shape_of(x) else []))


def _gather(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, _ranked(1))) is None:
        return
    axis = draw(st.integers(0, len(shape_of(x)) - 1))
    n = _sizes(x)[axis]
    if n:
        indices = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3))
        g(GatherOp(x, g(ConstantOp(np.array(indices))), axis))


def _dot(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g, lambda v: element(v) == f32 and len(shape_of(v)) >= 2)) is None:
        return
    rank, n = len(shape_of(x)), _sizes(x)[-1]
    w = g(ConstantOp(np.linspace(-1, 1, n * 3, dtype=np.float32).reshape(n, 3)))
    g(DotOp(x, w, [], [], [rank - 1], [0]))


def _iota(draw: Draw, g: Graph) -> None:
    g(IotaOp([2, 3], draw(st.sampled_from([f32, i32])), draw(st.integers(0, 1))))


def _identity(draw: Draw, g: Graph) -> None:
    if (x := _pick(draw, g)) is not None:
        g(IdentityOp(x))


MAKERS = (
    _binary, _binary, _binary, _unary, _constant, _constant, _not, _compare, _select, _cast,
    _reshape, _reshape, _transpose, _transpose, _broadcast, _broadcast, _slice, _pad, _concat,
    _reverse, _reduce, _gather, _dot, _iota, _identity,
)  # fmt: skip


def _convolution(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    inside = g(TransposeOp(x, [0, 2, 3, 1]))
    channels = _sizes(x)[-3]
    weights = np.linspace(-0.3, 0.3, 9 * channels * channels, dtype=np.float32)
    w = g(ConstantOp(weights.reshape(channels, channels, 3, 3)))
    filters = g(TransposeOp(w, [2, 3, 1, 0]))
    made = g(ConvolutionOp(inside, filters, [1, 1], [1, 1], [1, 1], [1, 1], 1))
    return g(TransposeOp(made, [0, 3, 1, 2]))


def _bias(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    b = g(ConstantOp(np.arange(_sizes(x)[-3], dtype=np.float32)))
    return g(ew.AddOp(x, g(BroadcastOp(b, shape_of(x), [1]))))


def _activate(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    return g(draw(st.sampled_from([act.ReluOp, ew.TanhOp, ew.NegOp]))(x))


def _skip(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    same = [v for v in earlier if v.type == x.type]
    return g(ew.AddOp(x, draw(st.sampled_from(same)))) if same else x


def _pool(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    kind = draw(st.sampled_from(["max", "sum"]))
    one = [1, 1, 1, 1]
    return g(WindowReduceOp(x, kind, [1, 1, 3, 3], one, one, [0, 0, 1, 1], [0, 0, 1, 1]))


def _squeeze_excite(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    n, c, h, w = shape_of(x)
    pooled = g(ReshapeOp(g(ReduceOp(x, "max", [2, 3])), [n, c, 1, 1]))
    return g(ew.MulOp(x, g(BroadcastOp(g(ew.TanhOp(pooled)), [n, c, h, w], [0, 1, 2, 3]))))


def _shuffle(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    n, c, h, w = shape_of(x)
    split = g(ReshapeOp(x, [n, 2, c // 2, h, w]))
    return g(ReshapeOp(g(TransposeOp(split, [0, 2, 1, 3, 4])), [n, c, h, w]))


def _halves(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    n, c, h, w = shape_of(x)
    parts = [g(SliceOp(x, [0, k * c // 2, 0, 0], [n, c // 2, h, w], [1] * 4)) for k in (1, 0)]
    return g(ConcatOp(parts, 1))


def _padded(draw: Draw, g: Graph, x: SSAValue, earlier: list[SSAValue]) -> SSAValue:
    n, c, h, w = shape_of(x)
    zero = g(ConstantOp(np.array(0, np.float32)))
    wide = g(PadOp(x, zero, [0, 0, 1, 0], [0, 0, 0, 2]))
    return g(SliceOp(wide, [0, 0, 1, 1], [n, c, h, w], [1] * 4))


CONVOLUTIONAL = (
    _convolution, _convolution, _bias, _activate, _skip, _pool, _squeeze_excite, _shuffle, _halves, _padded,
)  # fmt: skip
