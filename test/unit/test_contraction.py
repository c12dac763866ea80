"""Contractions: matmuls and convolutions through `pack-contractions`, `fuse` and the tile generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from harness import Runner, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import blocking, contraction, tiles, tuned
from tfc.dialects.tfc.activation import GeluOp, ReluOp
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.convolution_gradient import ConvBackpropFilterOp
from tfc.dialects.tfc.elementwise import AddOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import AxesAttr, Axis, ContractOp
from tfc.dialects.tfc.pieces import ConcatOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp
from tfc.dialects.tfc.types import Array, LiteralAttr, element_of, shape_of, tensor_type
from tfc.dims import Dim, evaluate, symbol
from tfc.errors import InternalError
from tfc.passes import pack_contractions
from tfc.passes.pack_contractions import of_convolution, of_dot, pays, sum_of
from tfc.passes.pipeline import run_pipeline

Body = Callable[..., Sequence[Operation]]


def function(types: Sequence[Any], body: Body) -> ModuleOp:
    """A module whose function has arguments of ``types`` and returns the last result of ``body``."""
    block = Block(arg_types=types)
    operations = list(body(*block.args))
    block.add_ops([*operations, ReturnOp(operations[-1].results[0])])
    signature = ([*types], [operations[-1].results[0].type])
    return ModuleOp([FuncOp("main", signature, Region(block))])


def execute(
    module: ModuleOp,
    *args: Array,
    dims: Mapping[str, int] | None = None,
    target: Target | None = None,
    pieces: int = 3,
) -> Array:
    """Run a fused function: each fusion as a kernel, called for ``pieces`` of its range."""
    (main,) = module.ops
    assert isinstance(main, FuncOp)
    block = main.body.block
    values: dict[SSAValue, Array] = dict(zip(block.args, args, strict=True))
    for op in block.ops:
        operands = [values[o] for o in op.operands]
        if isinstance(op, FusionOp):
            values.update(
                zip(
                    op.results,
                    Runner.of_fusion(op, target)(*operands, dims=dims, pieces=pieces),
                    strict=True,
                )
            )
        elif isinstance(op, ConstantOp):
            values[op.results[0]] = op.value.data.array
        elif isinstance(op, ReshapeOp):
            values[op.results[0]] = operands[0].reshape(
                [evaluate(d, dims or {}) for d in op.shape.data]
            )
        else:
            assert isinstance(op, ReturnOp), op
            return operands[0]
    raise AssertionError("no return")


def check(
    make: Callable[[SSAValue, SSAValue], TensorOp],
    x: Array,
    w: Array,
    *,
    constant: bool = False,
    packs: bool = True,
    names: Mapping[int, str] | None = None,
    cpu: str | None = None,
) -> ModuleOp:
    """Compare with the reference of the operation; the error bound is that of a sum of its depth.

    Args:
        constant: whether ``w`` is known when the model is compiled.
        packs: whether the pass takes the operation.
        names: dims of ``x`` that are named.
    """
    names = names or {}
    shape: list[Dim] = [symbol(names[d]) if d in names else n for d, n in enumerate(x.shape)]
    tx, tw = tensor_type(shape, element_of(x.dtype)), tensor_type(w.shape, element_of(w.dtype))

    def body(*args: SSAValue) -> Sequence[Operation]:
        if not constant:
            return [make(*args)]
        weights = ConstantOp(LiteralAttr.of(w))
        return [weights, make(args[0], weights.results[0])]

    module = function([tx] if constant else [tx, tw], body)
    source = next(o for o in module.walk() if isinstance(o, DotOp | ConvolutionOp | ConvBackpropFilterOp))
    static = make(*(value(a) for a in (x, w)))
    options = {"cpu": cpu} if cpu else {}
    run_pipeline(module, "pack-contractions,fuse", options=options)
    assert packs == any(isinstance(o, ContractOp) for o in module.walk()), source
    dims = {n: x.shape[d] for d, n in names.items()}
    target = Target.parse(None, cpu) if cpu else None
    got = execute(module, *([x] if constant else [x, w]), dims=dims, target=target)
    exact = static.reference(x.astype(np.float64), w.astype(np.float64))
    size = static.reference(np.abs(x).astype(np.float64), np.abs(w).astype(np.float64))
    terms = static.reference(np.ones(x.shape), np.ones(w.shape))
    # Each addition rounds a sum of at most ``size``, in f32 for halves; then the result is rounded.
    accumulated = np.float64 if x.dtype == np.float64 else np.float32
    kept = ml_dtypes.finfo(x.dtype)
    bound = (terms + 1) * np.finfo(accumulated).eps * size
    bound = bound + float(kept.eps) * np.abs(exact) + float(kept.smallest_subnormal)
    assert got.shape == exact.shape
    assert (np.abs(got.astype(np.float64) - exact) <= bound).all()
    return module


def value(array: Array) -> SSAValue:
    return values(tensor_type(array.shape, element_of(array.dtype)))[0]


def numbers(*shape: int, dtype: Any = np.float32) -> Array:
    rng = np.random.default_rng(len(shape) * 100 + sum(shape))
    return rng.uniform(-1, 1, shape).astype(dtype)


def dot(
    batch_x: Sequence[int],
    batch_y: Sequence[int],
    contract_x: Sequence[int],
    contract_y: Sequence[int],
) -> Any:
    return lambda x, y: DotOp(x, y, batch_x, batch_y, contract_x, contract_y)


MATMUL = dot([], [], [1], [0])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 5, 7), (3, 4, 2), (7, 9, 16), (13, 17, 65), (129, 31, 100), (6, 64, 128), (50, 3, 300)],
)
def test_matmul(m: int, k: int, n: int, constant: bool) -> None:
    check(MATMUL, numbers(m, k), numbers(k, n), constant=constant)


@pytest.mark.parametrize("m", [1, 2, 5, 6, 7, 64, 200])
@pytest.mark.parametrize("n", [10, 64, 96])
def test_symbolic_rows(m: int, n: int) -> None:
    check(MATMUL, numbers(m, 20), numbers(20, n), constant=True, names={0: "batch"})


def test_symbolic_rows_of_several_dims() -> None:
    make = dot([], [], [2], [0])
    module = check(make, numbers(3, 14, 20), numbers(20, 64), constant=True, names={0: "batch"})
    (op,) = [o for o in module.walk() if isinstance(o, ContractOp)]
    assert op.axes.one("row").extent == symbol("batch") * 14


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_dot_of_any_dims(data: st.DataObject) -> None:
    draw_dot(data)


def draw_dot(data: st.DataObject) -> None:
    """Batch, free and contracted dims of any number, in any order."""
    extents = st.integers(1, 9)
    batch = data.draw(st.lists(extents, max_size=2))
    inner = data.draw(st.lists(extents, min_size=1, max_size=2))
    rows = data.draw(st.lists(extents, max_size=2))
    columns = data.draw(st.lists(st.integers(1, 40), max_size=2))
    x = [
        *(("b", i, n) for i, n in enumerate(batch)),
        *(("k", i, n) for i, n in enumerate(inner)),
        *(("m", i, n) for i, n in enumerate(rows)),
    ]
    y = [*x[: len(batch) + len(inner)], *(("n", i, n) for i, n in enumerate(columns))]
    x, y = data.draw(st.permutations(x)), data.draw(st.permutations(y))

    def positions(of: list[Any], role: str) -> list[int]:
        return [d for _, d in sorted((i, d) for d, (r, i, _) in enumerate(of) if r == role)]

    make = dot(positions(x, "b"), positions(y, "b"), positions(x, "k"), positions(y, "k"))
    a, b = (numbers(*(n for _, _, n in of)) for of in (x, y))
    check(make, a, b, packs=_packs(make, a, b))


def _packs(make: Any, x: Array, y: Array) -> bool:
    op = make(value(x), value(y))
    return pays(op, of_dot(op))


@pytest.mark.parametrize("shape", [(0, 5, 7), (5, 0, 7), (5, 7, 0)])
def test_empty(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    check(MATMUL, numbers(m, k), numbers(k, n), packs=False)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_floats(dtype: Any) -> None:
    check(MATMUL, numbers(13, 20, dtype=dtype), numbers(20, 70, dtype=dtype), constant=True)


def test_integers_stay() -> None:
    check_ints = numbers(4, 5, dtype=np.float32) * 9
    x = check_ints.astype(np.int32)
    module = function(
        [tensor_type((4, 5), element_of(x.dtype)), tensor_type((5, 4), element_of(x.dtype))],
        lambda a, b: [MATMUL(a, b)],
    )
    run_pipeline(module, "pack-contractions,fuse")
    np.testing.assert_array_equal(execute(module, x, x.T.copy()), x @ x.T)


def test_attention_with_a_symbolic_length() -> None:
    """q k^T and p v, where the length is a row, a column and a depth."""
    q = numbers(2, 37, 3, 16)
    kinds = tensor_type([2, symbol("length"), 3, 16], element_of(np.float32))
    scores = function([kinds, kinds], lambda a, b: [DotOp(a, b, [0, 2], [0, 2], [3], [3])])
    run_pipeline(scores, "pack-contractions,fuse")
    assert any(isinstance(o, ContractOp) for o in scores.walk())
    s = execute(scores, q, q, dims={"length": 37})
    np.testing.assert_allclose(s, np.einsum("bshd,bthd->bhst", q, q), rtol=1e-4, atol=1e-5)
    weights = tensor_type([2, 3, symbol("length"), symbol("length")], element_of(np.float32))
    context = function([weights, kinds], lambda a, b: [DotOp(a, b, [0, 1], [0, 2], [3], [1])])
    run_pipeline(context, "pack-contractions,fuse")
    assert any(isinstance(o, ContractOp) for o in context.walk())
    c = execute(context, s, q, dims={"length": 37})
    np.testing.assert_allclose(c, np.einsum("bhst,bthd->bhsd", s, q), rtol=1e-4, atol=1e-4)


def conv(
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    groups: int = 1,
) -> Any:
    return lambda x, w: ConvolutionOp(x, w, strides, dilations, low, high, groups)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(
    ("x", "w", "make"),
    [
        ((2, 9, 7, 5), (3, 3, 5, 20), conv([1, 1], [1, 1], [1, 1], [1, 1])),
        ((1, 14, 14, 3), (7, 7, 3, 64), conv([2, 2], [1, 1], [3, 3], [3, 3])),
        ((2, 8, 8, 32), (1, 1, 32, 48), conv([1, 1], [1, 1], [0, 0], [0, 0])),
        ((2, 8, 8, 32), (1, 1, 32, 48), conv([2, 2], [1, 1], [0, 0], [0, 0])),
        ((1, 11, 13, 4), (3, 2, 4, 9), conv([1, 2], [2, 3], [2, 0], [0, 1])),
        ((2, 7, 7, 12), (3, 3, 4, 30), conv([1, 1], [1, 1], [1, 1], [1, 1], 3)),
        ((3, 21, 6), (5, 6, 17), conv([2], [1], [2], [2])),
        ((1, 4, 5, 6, 3), (2, 3, 2, 3, 16), conv([1] * 3, [1] * 3, [0, 1, 1], [1, 1, 0])),
        ((4, 7, 7, 64), (7, 7, 64, 10), conv([1, 1], [1, 1], [0, 0], [0, 0])),
    ],
)  # fmt: skip
def test_convolution(x: Sequence[int], w: Sequence[int], make: Any, constant: bool) -> None:
    check(make, numbers(*x), numbers(*w), constant=constant)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_convolution_of_any_window(data: st.DataObject) -> None:
    """Windows, strides, dilations, padding and groups at random, in one to three dims."""
    draw, rank = data.draw, data.draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    window, strides, dilations, low, high = each(1, 3), each(1, 3), each(1, 2), each(0, 2), each(0, 2)
    least = [max(0, (n - 1) * d + 1 - a - b) for n, d, a, b in zip(window, dilations, low, high, strict=True)]
    image = [n + more for n, more in zip(least, each(1, 8), strict=True)]
    groups, inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    x = numbers(draw(st.integers(1, 2)), *image, groups * inputs)
    w = numbers(*window, inputs, groups * outputs)
    make = conv(strides, dilations, low, high, groups)
    op = make(value(x), value(w))
    named = {0: "batch"} if draw(st.booleans()) else {}
    check(make, x, w, constant=draw(st.booleans()), packs=pays(op, of_convolution(op)), names=named)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_gradient_to_any_filter(data: st.DataObject) -> None:
    """Windows, strides, dilations, padding and groups at random; images that no tap sees all of."""
    draw, rank = data.draw, data.draw(st.integers(1, 2))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    window, strides, dilations, low, high = each(1, 3), each(1, 3), each(1, 2), each(0, 2), each(0, 2)
    least = [max(1, (n - 1) * d + 1 - a - b) for n, d, a, b in zip(window, dilations, low, high, strict=True)]
    image = [n + more for n, more in zip(least, each(0, 8), strict=True)]
    groups, inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    x, w = numbers(draw(st.integers(1, 3)), *image, groups * inputs), (*window, inputs, groups * outputs)
    amounts = (strides, dilations, low, high, groups)
    g = numbers(*shape_of(ConvolutionOp(value(x), value(numbers(*w)), *amounts).result))  # pyright: ignore
    make = filter_gradient(w, *amounts)
    op = make(value(x), value(g))
    check(make, x, g, packs=pays(op, sum_of(op)), names={0: "batch"} if draw(st.booleans()) else {})


def filter_gradient(*arguments: Any) -> Any:
    return lambda x, g: ConvBackpropFilterOp(x, g, *arguments)


@pytest.mark.parametrize("make", [dot([], [], [0], [0]), filter_gradient((1, 5, 9), [1], [1], [0], [0], 1)])
def test_long_sums_are_added_in_pieces(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of one length, whose number follows from the shapes; their results are added up."""
    monkeypatch.setattr(pack_contractions, "PIECE", 12)
    x, g = (numbers(*(() if k else (12,)), 12, n) for k, n in ((0, 5), (0, 9)))
    if make(value(x), value(g)).name == "tfc.dot":
        x, g = x[0].copy(), g[0].copy()
        x, g = np.tile(x, (8, 1)), np.tile(g, (8, 1))
    module = check(make, x, g)
    (op,) = [o for o in module.walk() if isinstance(o, ContractOp)]
    assert shape_of(op.result)[0] in (8, 12)


def test_depthwise_stays() -> None:
    check(
        conv([1, 1], [1, 1], [1, 1], [1, 1], 8),
        numbers(1, 5, 5, 8),
        numbers(3, 3, 1, 8),
        packs=False,
    )


@pytest.mark.parametrize(
    "make", [conv([1, 1], [1, 1], [1, 1], [1, 1]), conv([1, 1], [1, 1], [0, 0], [0, 0])]
)
def test_convolution_of_a_symbolic_batch(make: Any) -> None:
    check(make, numbers(3, 6, 5, 8), numbers(3, 3, 8, 20), constant=True, names={0: "batch"})
    check(make, numbers(3, 6, 5, 8), numbers(1, 1, 8, 20), constant=True, names={0: "batch"})


@pytest.mark.parametrize(("make", "x", "w"), [
    (MATMUL, (13, 700), (700, 70)), (conv([1, 1], [1, 1], [1, 1], [1, 1]), (1, 6, 7, 24), (3, 3, 24, 33)),
    (conv([1, 1], [1, 2], [1, 1], [1, 1]), (1, 6, 7, 24), (3, 3, 24, 33)),
])  # fmt: skip
def test_long_sums_are_cut(
    make: Any, x: Sequence[int], w: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partial sums stand in the result between the chunks."""
    monkeypatch.setattr(tiles, "PANEL_BYTES", 4096)
    check(make, numbers(*x), numbers(*w), constant=True)


@pytest.fixture
def eager_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every right operand and every row that may be copied is, in small chunks."""
    for name, amount in {"NEAR_BYTES": 0, "COPIED_ROWS": 1, "COPY_BYTES": 3000}.items():
        monkeypatch.setattr(tiles, name, amount)


@pytest.mark.usefixtures("eager_copies")
@pytest.mark.parametrize("cx", [0, 1])
@pytest.mark.parametrize("cy", [0, 1])
@pytest.mark.parametrize(
    ("m", "k", "n", "dtype"),
    [(5, 130, 67, np.float32), (40, 33, 9, np.float32), (9, 40, 20, np.float64), (20, 60, 67, ml_dtypes.bfloat16)],
)  # fmt: skip
def test_copies_of_panels_and_rows(m: int, k: int, n: int, cx: int, cy: int, dtype: Any) -> None:
    x, y = numbers(*((m, k) if cx else (k, m)), dtype=dtype), numbers(*((n, k) if cy else (k, n)), dtype=dtype)
    check(dot([], [], [cx], [cy]), x, y)


@pytest.fixture
def eager_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every right operand that may be laid out in panels is, and sums are cut."""
    for name, amount in {"NEAR_BYTES": 0, "BLOCK_ROWS": 1, "THIN": 1, "LOW_PANEL_BYTES": 3000}.items():
        monkeypatch.setattr(tiles, name, amount)


@pytest.mark.usefixtures("eager_panels")
@pytest.mark.parametrize("cx", [0, 1])
@pytest.mark.parametrize("cy", [0, 1])
@pytest.mark.parametrize(
    ("m", "k", "n", "dtype"),
    [(5, 130, 67, np.float32), (40, 33, 128, np.float32), (9, 40, 20, np.float64), (20, 60, 67, ml_dtypes.bfloat16)],
)  # fmt: skip
def test_panels_of_what_is_computed(m: int, k: int, n: int, cx: int, cy: int, dtype: Any) -> None:
    x, y = numbers(*((m, k) if cx else (k, m)), dtype=dtype), numbers(*((n, k) if cy else (k, n)), dtype=dtype)
    check(dot([], [], [cx], [cy]), x, y)


@pytest.mark.usefixtures("eager_panels")
@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_panels_of_any_dims(data: st.DataObject) -> None:
    draw_dot(data)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("constant", [False, True])
def test_rows_and_panels_of_halves_are_widened_once(dtype: Any, constant: bool) -> None:
    """Of both operands, in chunks, for items of several rows each."""
    check(MATMUL, numbers(40, 300, dtype=dtype), numbers(300, 70, dtype=dtype), constant=constant)
    x, w = numbers(2, 6, 7, 5, dtype=dtype), numbers(3, 3, 5, 20, dtype=dtype)
    check(conv([1, 2], [1, 1], [1, 1], [1, 1]), x, w, constant=constant)


@pytest.mark.usefixtures("eager_copies")
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
@pytest.mark.parametrize("cy", [0, 1])
def test_copies_of_lesser_cpus(cpu: str, cy: int) -> None:
    check(dot([], [], [0], [cy]), numbers(90, 29), numbers(*((41, 90) if cy else (90, 41))), cpu=cpu)


@pytest.mark.usefixtures("eager_copies")
@pytest.mark.parametrize("length", [1, 16, 37, 100])
def test_copies_of_symbolic_extents(length: int) -> None:
    """A named extent as rows, columns and depth, of operands in both orders."""
    for subscripts in ("bik,bjk->bij", "bki,bkj->bij", "bij,bjk->bik", "bji,bjk->bik"):
        left, right, result = subscripts.replace("->", ",").split(",")
        sizes: dict[str, Dim] = {"b": 2, "k": symbol("length"), "i": 19, "j": symbol("length")}
        shapes = [[sizes[c] for c in t] for t in (left, right)]
        inner = [c for c in left if c in right and c not in result]
        lists = [[t.index(c) for c in letters] for letters in ("b", inner) for t in (left, right)]
        module = function([tensor_type(s, element_of(np.float32)) for s in shapes], lambda a, b, q=lists: [DotOp(a, b, *q)])
        run_pipeline(module, "pack-contractions,fuse")
        dims = {"length": length}
        x, y = (numbers(*(evaluate(d, dims) for d in s)) for s in shapes)
        np.testing.assert_allclose(execute(module, x, y, dims=dims), np.einsum(subscripts, x, y), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("eager_copies")
@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_copies_of_any_dims(data: st.DataObject) -> None:
    draw_dot(data)


@pytest.mark.parametrize(("inner", "extents"), [(2, (3, 1, 40)), (1, (3, 1, 8)), (1, (1, 1, 65))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("named", [False, True])
def test_products_with_vectors_read_parts_where_they_are(
    inner: int, extents: tuple[int, int, int], dtype: Any, named: bool
) -> None:
    """Keys (the sum is along them) and values (across them) of earlier tokens, and of a new one."""
    heads, one, width = extents
    q = numbers(heads, 1, width if inner == 2 else 8, dtype=dtype)
    old, new = numbers(heads, 7, width, dtype=dtype), numbers(heads, one, width, dtype=dtype)
    past: Dim = symbol("past") if named else 7
    shapes = [[heads, 1, width if inner == 2 else past + 1], [heads, past, width], [heads, one, width]]

    def body(q: SSAValue, old: SSAValue, new: SSAValue) -> Sequence[Operation]:
        both = ConcatOp([old, new], 1)
        return [both, DotOp(q, both.result, [0], [0], [2], [inner])]

    module = function([tensor_type(s, element_of(np.dtype(dtype))) for s in shapes], body)
    run_pipeline(module, "pack-contractions,canonicalize,fuse")
    assert len([o for o in module.walk() if isinstance(o, FusionOp)]) == 1
    got = execute(module, q, old, new, dims={"past": 7})
    whole = np.concatenate([old, new], 1).astype(np.float64)
    exact = np.einsum("bik,bjk->bij" if inner == 2 else "bij,bjk->bik", q.astype(np.float64), whole)
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=0, atol=16 * float(ml_dtypes.finfo(dtype).eps))


@pytest.mark.parametrize(("m", "n"), [(1, 700), (5, 1100), (9, 300)])
def test_few_rows_sweep_the_right_operand(m: int, n: int) -> None:
    check(MATMUL, numbers(m, 70), numbers(70, n))


@pytest.mark.usefixtures("eager_copies")
@pytest.mark.parametrize(
    ("make", "x", "w"),
    [
        (dot([], [], [0], [1]), (130, 90), (70, 130)),
        (filter_gradient((2, 3, 5, 9), [1, 1], [1, 1], [0, 1], [1, 1], 1), (4, 8, 9, 5), (4, 8, 9, 9)),
    ],
)  # fmt: skip
def test_threads_do_not_change_a_bit_of_copies(make: Any, x: Any, w: Any) -> None:
    x, w = numbers(*x), numbers(*w)
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in (x, w)]
    module = function(types, lambda a, b: [make(a, b)])
    run_pipeline(module, "pack-contractions,fuse")
    whole = execute(module, x, w, pieces=1)
    assert all((execute(module, x, w, pieces=n) == whole).all() for n in (2, 5))


@pytest.mark.parametrize("m", [1, 7, 130, 400])
@pytest.mark.parametrize("named", [False, True])
def test_threads_do_not_change_a_bit(m: int, named: bool) -> None:
    x, w = numbers(m, 300), numbers(300, 200)
    types = [
        tensor_type([symbol("m") if named else m, 300], element_of(x.dtype)),
        tensor_type(w.shape, element_of(w.dtype)),
    ]
    module = function(types, lambda a, b: [MATMUL(a, b)])
    run_pipeline(module, "pack-contractions,fuse")
    whole = execute(module, x, w, dims={"m": m}, pieces=1)
    for pieces in (2, 3, 5):
        assert (execute(module, x, w, dims={"m": m}, pieces=pieces) == whole).all()


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("n", [10, 48, 67])
def test_lesser_cpus(cpu: str, n: int) -> None:
    check(MATMUL, numbers(23, 30), numbers(30, n), constant=True, cpu=cpu)
    check(MATMUL, numbers(23, 30), numbers(30, n), cpu=cpu)


@pytest.mark.parametrize("activation", [ReluOp, lambda x: GeluOp(x, approximate=False)])
@pytest.mark.parametrize(("m", "n"), [(20, 64), (23, 70), (1, 10)])
def test_epilogue(m: int, n: int, activation: Any) -> None:
    """Bias, residual and activation are part of the kernel where they are cheap."""
    x, w, bias, residual = numbers(m, 30), numbers(30, n), numbers(n), numbers(m, n)
    f32 = element_of(np.float32)

    def body(a: SSAValue, r: SSAValue) -> Sequence[Operation]:
        weights, b = ConstantOp(LiteralAttr.of(w)), ConstantOp(LiteralAttr.of(bias))
        y = MATMUL(a, weights.results[0])
        wide = BroadcastOp(b.results[0], (m, n), [1])
        s = AddOp(y.results[0], wide.results[0])
        t = AddOp(s.results[0], r)
        return [weights, b, y, wide, s, t, activation(t.results[0])]

    module = function([tensor_type((m, 30), f32), tensor_type((m, n), f32)], body)
    final = [o for o in module.walk() if isinstance(o, TensorOp)][-1]
    want = final.reference(x @ w + bias + residual)
    run_pipeline(module, "decompose,pack-contractions,fuse")
    got = execute(module, x, residual)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    if activation is ReluOp:
        assert len([o for o in module.walk() if isinstance(o, FusionOp)]) == 1


@pytest.mark.parametrize(("k", "n"), [(40, 64), (33, 126), (64, 1000)])
def test_panels_begin_a_line(k: int, n: int) -> None:
    """Also where they are the weights as they were, and those lie anywhere."""
    w = np.zeros(4 * k * n + 4, np.uint8)[4:].view(np.float32).reshape(k, n)
    w[...] = numbers(k, n)
    module = check(MATMUL, numbers(50, k), w, constant=True)
    (panels,) = (o.value.data.array for o in module.walk() if isinstance(o, ConstantOp))
    assert k * n <= panels.size < k * (n + 16)
    assert panels.ctypes.data % 64 == 0


def test_axes_text_is_read_back() -> None:
    axes = AxesAttr((Axis("row", symbol("n") * 2 + 1, x=symbol("n"), y=3), Axis("depth", 7, w=2)))
    assert tuple(Axis.read(str(a)) for a in axes.data) == axes.data
    with pytest.raises(ValueError, match="not an axis"):
        Axis.read("row 3 z=1")


@pytest.mark.parametrize("shape", list(tiles.HEIGHTS))
def test_tiles_fit_the_registers(shape: tuple[int, int]) -> None:
    """Accumulators, a row of the panel and one number of x; wide rows take x from memory."""
    _, registers = shape
    for vectors, rows in tiles.HEIGHTS[shape].items():
        assert rows * vectors + vectors + 1 <= registers


def test_what_a_search_has_found_is_used() -> None:
    """By its class, as the store says it; copies that are needed are made all the same."""
    x, w = numbers(40, 70), numbers(90, 70)
    seen: list[blocking.Problem] = []
    how = tuned.Blocking(rows=10, panels=2, chunk=8, copies_w=False, copies_x=True)
    assert tuned.Blocking.read(str(how)) == how
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contraction, "choose", lambda p: (seen.append(p), blocking.choose(p))[1])
        check(dot([], [], [1], [1]), x, w)
        with tuned.trying(str(seen[0]), how):
            assert blocking.choose(seen[0]) == replace(how, copies_w=True)
            check(dot([], [], [1], [1]), x, w)
    assert blocking.choose(seen[0]) == blocking.by_rule(seen[0])


def test_the_store_is_read() -> None:
    found = tuned.read(tuned.STORE.read_text())
    assert all(" : ".join((k, str(b))) in tuned.STORE.read_text() for k, b in found.items())
    with pytest.raises(InternalError, match=r"tuned.txt:2: expected 'rows=N"):
        tuned.read("# nothing\nsome class : rows=all")


@given(st.integers(0, 500), st.integers(1, 30))
def test_split_covers_all_rows(rows: int, most: int) -> None:
    cut = tiles.split(rows, most)
    assert cut.tall * cut.height + (cut.tiles - cut.tall) * (cut.height - 1) == rows
    assert cut.height <= most
    assert cut.tiles == -(-rows // most)
