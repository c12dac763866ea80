"""Contractions on a GPU: through `pack-contractions`, `fuse` and the tile generator, run by the emulator, which checks
every access, barrier and race; and what NVIDIA's assembler says of the code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from gpu_harness import GpuRunner
from harness import fusion
from hypothesis import given, settings
from hypothesis import strategies as st
from test_contraction import MATMUL, conv, dot, filter_gradient, function, numbers, value
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from tfc.codegen.gpu.assemble import assembler
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.gpu import blocks, contraction
from tfc.codegen.schedule.gpu.blocks import Problem, Tile
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import AddOp, CastOp, NegOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.shape import BroadcastOp, PadOp, ReshapeOp
from tfc.dialects.tfc.transfer import DEVICE
from tfc.dialects.tfc.types import Array, element_of, shape_of, tensor_type
from tfc.dims import Dim, evaluate, symbol
from tfc.errors import OptionError
from tfc.passes.pipeline import run_pipeline

BF16 = ml_dtypes.bfloat16
GPU = StringAttr("/device:GPU:0")


def execute(module: ModuleOp, *args: Array, cpu: str, dims: Mapping[str, int]) -> Array:
    """Run a fused function: each fusion as a kernel of a GPU."""
    (main,) = module.ops
    assert isinstance(main, FuncOp)
    block = main.body.block
    known: dict[SSAValue, Array] = dict(zip(block.args, args, strict=True))
    for op in block.ops:
        operands = [known[o] for o in op.operands]
        if isinstance(op, FusionOp):
            known.update(zip(op.results, GpuRunner(op, cpu)(*operands, dims=dims), strict=True))
        elif isinstance(op, ConstantOp):
            known[op.results[0]] = op.value.data.array
        elif isinstance(op, ReshapeOp):
            known[op.results[0]] = operands[0].reshape([evaluate(d, dims) for d in op.shape.data])
        else:
            assert isinstance(op, ReturnOp), op
            return operands[0]
    raise AssertionError("no return")


def check(
    make: Any,
    x: Array,
    w: Array,
    *,
    names: Mapping[int, str] | None = None,
    cpu: str = "sm_90",
    tf32: bool = False,
    after: Any = lambda y: [],
) -> ModuleOp:
    """Compare with the reference of the operation; the error bound is that of a sum of its depth.

    Args:
        names: dims of ``x`` that are named.
        after: operations on the result, which are fused.
    """
    names = names or {}
    shape: list[Dim] = [symbol(names[d]) if d in names else n for d, n in enumerate(x.shape)]
    types = [tensor_type(shape, element_of(x.dtype)), tensor_type(w.shape, element_of(w.dtype))]

    def body(*args: SSAValue) -> Sequence[Operation]:
        made = make(*args)
        return [made, *after(made.results[0])]

    module = function(types, body)
    for op in module.walk():
        if isinstance(op, TensorOp):
            op.attributes[DEVICE] = GPU
    run_pipeline(module, "pack-contractions,fuse", options={"gpu": cpu, "allow_tf32": tf32})
    got = execute(module, x, w, cpu=cpu, dims={n: x.shape[d] for d, n in names.items()})
    static = make(value(x), value(w))
    exact = static.reference(x.astype(np.float64), w.astype(np.float64))
    size = static.reference(np.abs(x).astype(np.float64), np.abs(w).astype(np.float64))
    terms = static.reference(np.ones(x.shape), np.ones(w.shape))
    accumulated = np.float64 if x.dtype == np.float64 else np.float32
    # A factor that is rounded to tf32 is off by 2**-11 of itself.
    bound = ((terms + 2) * np.finfo(accumulated).eps + (2.0**-10 if tf32 else 0)) * size
    kept = ml_dtypes.finfo(x.dtype)
    bound = bound + float(kept.eps) * np.abs(exact) + float(kept.smallest_subnormal)
    if not list(after(static.results[0])):
        assert got.shape == exact.shape
        assert (np.abs(got.astype(np.float64) - exact) <= bound).all()
    return module


def kinds() -> list[Any]:
    return [(np.float32, False), (np.float32, True), (np.float64, False), (np.float16, False), (BF16, False)]


def ways() -> list[Any]:
    """Every kind of product with both operands either way round; what is like another one is slow."""
    found: list[Any] = []
    for dtype, tf32 in kinds():
        for a, b in ((1, 0), (1, 1), (0, 0), (0, 1)):
            for m, k, n in ((40, 48, 56), (37, 29, 51)):
                usual = dtype in (np.float32, np.float16) and (k == 48) == (a == b)
                found.append(pytest.param(dtype, tf32, a, b, m, k, n, marks=[] if usual else pytest.mark.slow))
    return found


@pytest.mark.parametrize(("dtype", "tf32", "a", "b", "m", "k", "n"), ways())
def test_operands_either_way_round(dtype: Any, tf32: bool, a: int, b: int, m: int, k: int, n: int) -> None:
    x, w = ((m, k) if a else (k, m)), ((k, n) if b == 0 else (n, k))
    check(dot([], [], [a], [b]), numbers(*x, dtype=dtype), numbers(*w, dtype=dtype), tf32=tf32)


LIKE_F16 = pytest.param("bf16", marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", ["f16", "f32", "f64", "tf32", LIKE_F16])
def test_every_tile(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks along each way, the last ones not full, and more tiles of terms than stages."""
    dtype: Any = {"f64": np.float64, "f16": np.float16, "bf16": BF16}.get(kind, np.float32)
    for tile in blocks.TILES[kind]:
        monkeypatch.setattr(contraction, "choose", lambda *_, tile=tile: tile)
        k = tile.depth * (tile.stages + 1) + 8
        x, w = numbers(tile.rows + 3, k, dtype=dtype), numbers(k, tile.columns + 8, dtype=dtype)
        check(MATMUL, x, w, tf32=kind == "tf32")


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (1, 300, 40), (5, 0, 3), (3, 4, 2), (8, 3, 8), (130, 16, 1)])
def test_small_and_empty(m: int, k: int, n: int) -> None:
    check(MATMUL, numbers(m, k), numbers(k, n))


@pytest.mark.parametrize(("cpu", "dtype"), [("sm_70", np.float32), ("sm_75", BF16), ("sm_75", np.float16), ("sm_80", BF16)])
def test_lesser_gpus(cpu: str, dtype: Any) -> None:
    """Without asynchronous copies, and without tensor cores of these shapes."""
    check(MATMUL, numbers(33, 40, dtype=dtype), numbers(40, 24, dtype=dtype), cpu=cpu)


@pytest.mark.parametrize("n", [10, 64])
@pytest.mark.parametrize("m", [1, 65])
def test_symbolic_rows(m: int, n: int) -> None:
    check(MATMUL, numbers(m, 20), numbers(20, n), names={0: "batch"})


def test_special_values() -> None:
    """What is not in a tile is zero, and read by nobody: infinities and NaN stay in their rows and columns."""
    x, w = numbers(35, 20), numbers(20, 37)
    x[34, 3], x[2, 19], w[0, 36] = np.inf, np.nan, -np.inf
    module = packed(MATMUL, x, w)
    with np.errstate(invalid="ignore"):
        want = x.astype(np.float64) @ w.astype(np.float64)
    np.testing.assert_allclose(execute(module, x, w, cpu="sm_90", dims={}), want, rtol=1e-5, atol=1e-5)


def test_long_sums_are_cut() -> None:
    module = check(MATMUL, numbers(16, 8192, dtype=BF16), numbers(8192, 16, dtype=BF16))
    (op,) = [o for o in module.walk() if isinstance(o, ContractOp)]
    assert str(element_of(np.dtype(np.float32))) in str(op.result.type)


def test_long_sums_of_several_products_are_cut() -> None:
    module = check(lambda x, w: DotOp(x, w, [0], [0], [2], [1]), numbers(3, 16, 4096), numbers(3, 4096, 24))
    (op,) = [o for o in module.walk() if isinstance(o, ContractOp)]
    pieces, *rest = shape_of(op.result)
    assert (pieces > 1, rest) == (True, [3, 16, 24])


def test_epilogue() -> None:
    """A bias of the columns, what is added element by element, and a sign, in registers."""
    x, w, b, r = numbers(70, 24), numbers(24, 72), numbers(72), numbers(70, 72)
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in (x, w, b, r)]
    axes = [Axis("row", 70, x=24, y=72), Axis("depth", 24, x=1, w=72), Axis("panel", 72, w=1, y=1)]

    def body(x: SSAValue, w: SSAValue, b: SSAValue, r: SSAValue) -> Sequence[Operation]:
        product = ContractOp(x, w, [70, 72], [*axes, Axis("column", 72, w=1, y=1)], 1)
        wide = BroadcastOp(b, [70, 72], [1])
        biased = AddOp(product, wide)
        added = AddOp(biased, r)
        return [product, wide, biased, added, NegOp(added)]

    runner = GpuRunner(fusion("contraction", types, body), "sm_90")
    assert runner.kernel.in_place is not None, "the result may take the place of what is added"
    want = -(x @ w + b + r)
    np.testing.assert_allclose(runner(x, w, b, r)[0], want, rtol=1e-5, atol=1e-5)


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_dot_of_any_dims(data: st.DataObject) -> None:
    """Batch, free and contracted dims of any number, in any order."""
    extents = st.integers(1, 9)
    batch, inner, rows = (data.draw(st.lists(extents, min_size=n, max_size=2)) for n in (0, 1, 0))
    columns = data.draw(st.lists(st.integers(1, 20), max_size=2))
    x = [(role, i, n) for role, of in (("b", batch), ("k", inner), ("m", rows)) for i, n in enumerate(of)]
    y = [*x[: len(batch) + len(inner)], *(("n", i, n) for i, n in enumerate(columns))]
    x, y = data.draw(st.permutations(x)), data.draw(st.permutations(y))
    dtype, tf32 = data.draw(st.sampled_from(kinds()))

    def positions(of: list[Any], role: str) -> list[int]:
        return [d for _, d in sorted((i, d) for d, (r, i, _) in enumerate(of) if r == role)]

    make = dot(positions(x, "b"), positions(y, "b"), positions(x, "k"), positions(y, "k"))
    check(make, *(numbers(*(n for _, _, n in of), dtype=dtype) for of in (x, y)), tf32=tf32)


@pytest.mark.parametrize(
    ("x", "w", "make"),
    [
        ((2, 9, 7, 5), (3, 3, 5, 20), conv([1, 1], [1, 1], [1, 1], [1, 1])),
        ((1, 14, 14, 3), (7, 7, 3, 64), conv([2, 2], [1, 1], [3, 3], [3, 3])),
        ((2, 8, 8, 32), (1, 1, 32, 48), conv([2, 2], [1, 1], [0, 0], [0, 0])),
        ((1, 11, 13, 4), (3, 2, 4, 9), conv([1, 2], [2, 3], [2, 0], [0, 1])),
        ((2, 7, 7, 12), (3, 3, 4, 30), conv([1, 1], [1, 1], [1, 1], [1, 1], 3)),
        ((3, 21, 6), (5, 6, 17), conv([2], [1], [2], [2])),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_convolution(x: Sequence[int], w: Sequence[int], make: Any, dtype: Any) -> None:
    check(make, numbers(*x, dtype=dtype), numbers(*w, dtype=dtype))


def some_convolution(draw: Any) -> tuple[Sequence[int], Sequence[int], Any]:
    """Shapes of an image and of its other operand, and the operation: a convolution, or the gradient of its filter."""
    rank, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2, 3]))
    n, inner, outer = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 8, 16])), draw(st.sampled_from([1, 4, 9, 20]))
    dims = [[draw(st.integers(*ends)) for ends in ((1, 12), (1, 4), (1, 3), (1, 2), (0, 3), (0, 3))] for _ in range(rank)]
    for one in dims:  # the filter has a place
        one[5] = max(one[5], (one[1] - 1) * one[3] + 1 - one[0] - one[4])
    sizes, taps, strides, dilations, low, high = (list(column) for column in zip(*dims, strict=True))
    filters = (*taps, inner, groups * outer)
    how = strides, dilations, low, high, groups
    if draw(st.booleans()):
        return [n, *sizes, groups * inner], filters, conv(*how)
    places = [(s + a + b - (k - 1) * d - 1) // t + 1 for s, k, t, d, a, b in dims]
    return [n, *sizes, groups * inner], [n, *places, groups * outer], filter_gradient(filters, *how)


def check_some_convolution(data: st.DataObject) -> None:
    x, w, make = some_convolution(data.draw)
    dtype, tf32 = data.draw(st.sampled_from(kinds()))
    names = data.draw(st.sampled_from([{}, {}, {0: "batch"}]))
    check(make, numbers(*x, dtype=dtype), numbers(*w, dtype=dtype), tf32=tf32, names=names)


@given(st.data())
@settings(max_examples=4, deadline=None)
def test_convolution_of_any_extents(data: st.DataObject) -> None:
    check_some_convolution(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_more_convolutions_of_any_extents(data: st.DataObject) -> None:
    check_some_convolution(data)


def test_padding_is_no_kernel_of_its_own() -> None:
    """The sum is over the image as it is; so is the gradient of a filter, also where it is cut into pieces."""
    x, w = numbers(2, 9, 7, 8), numbers(3, 3, 8, 16)
    g = numbers(2, 9, 7, 16)
    forward = conv([1, 1], [1, 1], [1, 1], [1, 1])
    backward = filter_gradient((3, 3, 8, 16), [1, 1], [1, 1], [1, 1], [1, 1], 1)
    for make, other in ((forward, w), (backward, g)):
        module = packed(make, x, other)
        (op,) = [o for o in module.walk() if isinstance(o, ContractOp)]
        assert op.padding == (0, 1, 1, 0)
        assert not any(isinstance(o, PadOp) for o in module.walk())
        assert all(Axis.read(str(a)) == a for a in op.axes.data)
        want = make(value(x), value(other)).reference(x, other)
        np.testing.assert_allclose(op.reference(x, other).reshape(want.shape), want, rtol=1e-4, atol=1e-4)
    cut = packed(backward, numbers(64, 9, 7, 8), numbers(64, 9, 7, 16))
    (op,) = [o for o in cut.walk() if isinstance(o, ContractOp)]
    assert op.axes.data[0].dim == 0, "pieces are of items"


def packed(make: Any, x: Array, w: Array) -> ModuleOp:
    """The module of one operation on a GPU, after `pack-contractions` and `fuse`."""
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in (x, w)]
    module = function(types, lambda a, b: [make(a, b)])
    for op in module.walk():
        op.attributes[DEVICE] = GPU
    run_pipeline(module, "pack-contractions,fuse", options={"gpu": "sm_90"})
    return module


def test_convolution_of_a_symbolic_batch() -> None:
    make = conv([1, 1], [1, 1], [1, 1], [1, 1])
    check(make, numbers(3, 6, 5, 8), numbers(3, 3, 8, 16), names={0: "batch"})


def test_gradient_to_a_filter() -> None:
    check(filter_gradient((3, 3, 5, 9), [1, 1], [1, 1], [1, 1], [1, 1], 1), numbers(2, 7, 6, 5), numbers(2, 7, 6, 9))


def test_the_same_bits_whatever_runs_first() -> None:
    """A block's sum depends on shapes alone: two launches give the same bits."""
    x, w = numbers(70, 100), numbers(100, 40)
    module = packed(MATMUL, x, w)
    first, second = (execute(module, x, w, cpu="sm_90", dims={}) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("cpu", ["sm_75", "sm_80"])
def test_rounding_to_bf16(cpu: str) -> None:
    """The bits that a CPU computes, by one instruction where there is one."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, 2000, dtype=np.uint64).astype(np.uint32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3.4e38, 1.00390625, 1.01171875], np.float32)
    x = np.concatenate([bits.view(np.float32), special])
    narrow = element_of(np.dtype(BF16))
    runner = GpuRunner(fusion("nest", [tensor_type(x.shape, element_of(x.dtype))], lambda v: [CastOp(v, narrow)]), cpu)
    assert ("cvt.rn.bf16.f32" in runner.ptx) == (cpu == "sm_80")
    (got,) = runner(x)
    with np.errstate(all="ignore"):
        want = x.astype(BF16)
    number = ~np.isnan(x)
    assert (got[number].view(np.uint16) == want[number].view(np.uint16)).all()
    assert np.isnan(got[~number].astype(np.float32)).all()


# Tiles


def test_blocks_fill_the_machine() -> None:
    """Large products take the largest tile; where that leaves multiprocessors idle, smaller ones, or pieces of the sum."""
    target = GpuTarget.parse("sm_90")
    large = blocks.choose(Problem(8192, 8192, 8192, 1), "bf16", target)
    assert (large.rows, large.columns) == (128, 128)
    small = Problem(512, 512, 512, 1)
    assert blocks.blocks(small, blocks.choose(small, "f32", target)) >= 64
    assert blocks.pieces(Problem(64, 64, 65536, 1), 65536, "f32", target) > 8
    assert blocks.pieces(Problem(8192, 8192, 8192, 1), 8192, "bf16", target) == 1
    assert blocks.pieces(Problem(symbol("n"), 64, 65536, 1), 65536, "f32", target) == 1


def test_only_who_asks_gets_tf32() -> None:
    f32 = element_of(np.dtype(np.float32))
    assert blocks.product_kind(f32, GpuTarget.parse("sm_90"), tf32=False) == "f32"
    assert blocks.product_kind(f32, GpuTarget.parse("sm_90"), tf32=True) == "tf32"
    assert blocks.product_kind(f32, GpuTarget.parse("sm_75"), tf32=True) == "f32"


def all_tiles() -> list[tuple[str, Tile]]:
    return [(kind, tile) for kind, tiles in blocks.TILES.items() for tile in tiles]


@pytest.mark.skipif(not assembler(), reason="there is no ptxas")
@pytest.mark.parametrize("cpu", ["sm_90", pytest.param("sm_80", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["f16", "f32", "f64", "tf32", LIKE_F16])
def test_tiles_fit_a_multiprocessor(kind: str, cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spills; registers of two blocks of tensor cores at a time, of one of 255 a thread where threads multiply."""
    dtype: Any = {"f64": np.float64, "f16": np.float16, "bf16": BF16}.get(kind, np.float32)
    of = element_of(np.dtype(dtype))
    limit = 128 if kind in ("f16", "bf16", "tf32") else 255
    for n, tile in enumerate(blocks.TILES[kind]):
        monkeypatch.setattr(contraction, "choose", lambda *_, tile=tile: tile)
        transposed = n % 2  # either way round
        b = 1 if transposed else 0
        types = [tensor_type([2048, 1024], of), tensor_type([1024, 1024], of)]
        module = function(types, lambda x, w, b=b: [DotOp(x, w, [], [], [1], [b])])
        for op in module.walk():
            op.attributes[DEVICE] = GPU
        run_pipeline(module, "pack-contractions,fuse", options={"gpu": cpu, "allow_tf32": kind == "tf32"})
        runner = next(GpuRunner(o, cpu) for o in module.walk() if isinstance(o, FusionOp))
        source = tmp_path / "k.ptx"
        source.write_text(runner.ptx)
        command = [assembler(), "-v", f"-arch={cpu}", "-o", str(tmp_path / "k.cubin"), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = done.stderr
        assert re.search(r"0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", said), (tile, said)
        registers = int(re.search(r"Used (\d+) registers", said)[1])  # pyright: ignore
        assert registers <= limit, (tile, said)
        asked = runner.kernel.shared
        shared = asked.value.data if asked is not None else 48 << 10
        assert shared <= 100 << 10, "two blocks have room in a multiprocessor"


def test_panels_are_for_cpus() -> None:
    arrays = numbers(4, 8), numbers(8, 6)
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    axes = [Axis("row", 4, x=8, y=6), Axis("depth", 8, x=1, w=4), Axis("panel", 2, w=32, y=4), Axis("column", 6, w=1, y=1)]
    packed = fusion("contraction", types, lambda x, w: [ContractOp(x, w, (4, 6), axes, 4, packed=True)])
    with pytest.raises(OptionError, match="in panels, which CPUs read"):
        contraction.lower_contraction(packed, "f", GpuTarget.parse("sm_90"))
