"""The nest generator: every primitive on its samples, and fusions of several operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from harness import Runner, fusion
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.ir import Operation, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import nest as generator
from tfc.dialects.tfc import Tfc
from tfc.dialects.tfc.base import OPERATIONS, Sample
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.elementwise import AddOp, DivOp, ExpOp, MulOp, SubOp, TanhOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ConcatOp, PadOp, SliceOp, TransposeOp
from tfc.dialects.tfc.types import (
    Array,
    LiteralAttr,
    dtype_of,
    element,
    element_of,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, symbol

assert Tfc.name == "tfc"  # importing the dialect enters every operation in OPERATIONS

F32 = element_of(np.float32)
ROUNDING = {np.dtype(np.float16): 2e-3, np.dtype(np.float32): 3e-6, np.dtype(np.float64): 1e-12}
"""Relative error of one operation: half a unit in the last place, and a few for polynomials."""

PRIMITIVES = {
    name: op
    for name, op in OPERATIONS.items()
    # Constants that are no splats are buffers; a contraction has a generator of its own.
    if op.is_primitive() and name not in ("tfc.constant", "tfc.contract")
}


SUMS = ("tfc.convolution", "tfc.cumulative", "tfc.dot", "tfc.reduce", "tfc.segment_sum", "tfc.window_reduce")
"""Operations that add: terms may cancel, so the error is relative to the largest result."""


def check(got: Array, want: Array, tolerance: float = 0.0, *, sums: bool = False) -> None:
    """Equal shapes, NaNs and infinities, and values within the rounding of the dtype."""
    assert got.shape == want.shape
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want)
        return
    bound = max(tolerance, ROUNDING.get(want.dtype, 1e-2))
    x, y = got.astype(np.float64), want.astype(np.float64)
    finite = np.abs(y[np.isfinite(y)])
    least = bound * (finite.max(initial=0.0) if sums else 1e-2) + 1e-38
    np.testing.assert_allclose(x, y, rtol=bound, atol=least, equal_nan=True)


def run_sample(sample: Sample, target: Target | None = None) -> tuple[Array, Array]:
    """What the compiled operation gives, and its reference."""
    arrays = [np.array(a, order="C") for a in sample.args]
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    op = fusion("nest", types, lambda *args: [sample.make(*args)])
    with np.errstate(all="ignore"):
        want = np.asarray(op.inner[0].reference(*arrays))  # pyright: ignore
    return Runner.of_fusion(op, target)(*arrays)[0], want


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_primitive(name: str) -> None:
    for sample in PRIMITIVES[name].samples():
        check(*run_sample(sample), sample.tolerance, sums=name in SUMS)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
@pytest.mark.parametrize(
    "name", ["tfc.add", "tfc.cast", "tfc.exp", "tfc.gather", "tfc.pad", "tfc.reduce", "tfc.window_reduce"]
)
def test_primitive_on_older_cpus(name: str, cpu: str) -> None:
    for sample in PRIMITIVES[name].samples()[:12]:
        check(*run_sample(sample, Target.parse(cpu=cpu)), sample.tolerance, sums=name in SUMS)


class Build:
    """Collects the operations of a fusion's body."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def __call__(self, op: Operation) -> SSAValue:
        self.operations.append(op)
        return op.results[0]


def nest(types: Sequence[Any], body: Callable[..., SSAValue], target: Target | None = None) -> Runner:
    def operations(*args: SSAValue) -> Sequence[Operation]:
        build = Build()
        body(build, *args)
        return build.operations

    return Runner.of_fusion(fusion("nest", types, operations), target)


def softmax(e: Build, x: SSAValue) -> SSAValue:
    shape, last = shape_of(x), len(shape_of(x)) - 1
    outer = list(range(last))
    top = e(BroadcastOp(e(ReduceOp(x, "max", [last])), shape, outer))
    y = e(ExpOp(e(SubOp(x, top))))
    return e(DivOp(y, e(BroadcastOp(e(ReduceOp(y, "sum", [last])), shape, outer))))


def softmax_reference(x: Array) -> Array:
    y = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return (y / y.sum(-1, keepdims=True)).astype(x.dtype)


@pytest.mark.parametrize("shape", [(4, 1), (3, 5), (2, 3, 63), (2, 64), (5, 130), (1, 1000)])
def test_softmax_is_one_kernel(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(0, 4, shape).astype(np.float32)
    runner = nest([tensor_type(shape, F32)], softmax)
    check(runner(x)[0], softmax_reference(x))
    # The exponentials of a row are computed once, into a row buffer.
    assert str(runner.kernel).count("math.exp") <= 2  # whole vectors, and the last one


def test_exp_is_told_where_its_operand_is_never_positive() -> None:
    """Where the maximum is that of the very values, in their places; not of others, nor of columns."""

    def kernel(axis: int, dims: list[int], *, same: bool = True) -> str:
        def body(e: Build, x: SSAValue, y: SSAValue) -> SSAValue:
            top = e(ReduceOp(x if same else y, "max", [axis]))
            return e(ExpOp(e(SubOp(x, e(BroadcastOp(top, [6, 6], dims))))))

        return str(nest([tensor_type([6, 6], F32)] * 2, body).kernel)

    assert "never_positive" in kernel(1, [0])
    assert "never_positive" in kernel(0, [1])
    assert "never_positive" not in kernel(1, [1])
    assert "never_positive" not in kernel(1, [0], same=False)


def test_a_row_lies_in_the_result_where_that_is_overwritten_last() -> None:
    """No buffer of its own, so rows may be long; and no operand that is read later may have that memory."""

    def scaled(e: Build, x: SSAValue, y: SSAValue) -> SSAValue:
        return e(MulOp(softmax(e, x), y))

    x, y = np.random.default_rng(1).normal(0, 4, (2, 2, 40_000)).astype(np.float32)
    runner = nest([tensor_type(x.shape, F32)] * 2, scaled)
    check(runner(x, y)[0], softmax_reference(x) * y)
    assert "kernel.scratch" not in str(runner.kernel)
    assert str(runner.kernel).count("math.exp") == 1
    assert runner.kernel.in_place is None


@pytest.mark.parametrize(("costly", "registers"), [(2, 4), (3, 2)])
def test_busy_loops_have_fewer_vectors_and_ask_ahead(costly: int, registers: int) -> None:
    """The only loop over a row asks for the next row, where that is not what it waits for."""

    def total(e: Build, x: SSAValue) -> SSAValue:
        for _ in range(costly):
            x = e(TanhOp(x))
        return e(ReduceOp(x, "sum", [1]))

    x = np.random.default_rng(1).normal(0, 2, (3, 515)).astype(np.float32)
    want = x.astype(np.float64)
    for _ in range(costly):
        want = np.tanh(want)
    target = Target.parse()
    runner = nest([tensor_type(x.shape, F32)], total, target)
    np.testing.assert_allclose(runner(x)[0], want.sum(1), rtol=1e-5, atol=1e-3)
    width = registers * target.vector_bits // 32
    assert set(re.findall(r"math.tanh %\d+ : vector<(\d+)xf32>", str(runner.kernel))) == {str(width)}
    assert ("kernel.prefetch" in str(runner.kernel)) == (costly == 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_row_of_halves_is_kept_in_single_precision(dtype: Any) -> None:
    x = np.random.default_rng(1).normal(0, 4, (3, 200)).astype(dtype)
    runner = nest([tensor_type(x.shape, element_of(dtype))], softmax)
    assert str(runner.kernel).count("math.exp") == 2  # whole vectors, and the last one
    check(runner(x)[0], softmax_reference(x))


@pytest.mark.parametrize("cpu", ["x86-64", "native"])
@pytest.mark.parametrize("shape", [(5, 67), (1, 16_000), (40, 2048)])
def test_results_past_the_caches(shape: tuple[int, ...], cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a row begins a line they go past the caches; the bits are the same."""
    x = np.random.default_rng(2).normal(0, 4, shape).astype(np.float32)

    def scaled(e: Build, x: SSAValue) -> SSAValue:
        return e(AddOp(e(ExpOp(x)), x))

    target = Target.parse(None, cpu)
    for body in (softmax, scaled):
        through = nest([tensor_type(shape, F32)], body, target)(x)[0]
        with monkeypatch.context() as patch:
            patch.setattr("tfc.codegen.schedule.nest.STREAMED", 0)
            past = nest([tensor_type(shape, F32)], body, target)
        assert "{streaming}" in str(past.kernel)
        assert "!nontemporal" in past.llvm
        np.testing.assert_array_equal(past(x, pieces=min(3, shape[0]))[0], through)


@pytest.mark.parametrize(
    ("cpu", "dtype"),
    [*(("native", t) for t in (np.float16, ml_dtypes.bfloat16, np.float64, np.int32, np.int8)),
     *((cpu, np.float32) for cpu in ("x86-64", "x86-64-v3", "native"))],
)  # fmt: skip
@pytest.mark.parametrize(
    ("shape", "perm"), [((33, 70), (1, 0)), ((2, 65, 3, 40), (0, 3, 2, 1)), ((3, 31, 130), (2, 0, 1))]
)
def test_transposes(shape: tuple[int, ...], perm: tuple[int, ...], dtype: Any, cpu: str) -> None:
    """Blocks, their edges, and an operand beside that is read in order."""
    rng, kind = np.random.default_rng(3), element_of(dtype)
    turned = tuple(shape[d] for d in perm)
    x, y = rng.integers(-60, 60, shape).astype(dtype), rng.integers(-60, 60, turned).astype(dtype)

    def added(e: Build, x: SSAValue, y: SSAValue) -> SSAValue:
        return e(AddOp(e(TransposeOp(x, perm)), y))

    runner = nest([tensor_type(shape, kind), tensor_type(turned, kind)], added, Target.parse(None, cpu))
    assert ("kernel.transpose" in str(runner.kernel)) is (np.dtype(dtype).itemsize > 1)
    np.testing.assert_array_equal(runner(x, y, pieces=2)[0], x.transpose(perm) + y)


@pytest.mark.parametrize(
    ("shape", "perm", "turns"),
    [
        ((5, 3, 16), (1, 0, 2), True),
        ((2, 5, 3, 40), (2, 0, 1, 3), True),
        ((3, 2, 4, 33), (2, 1, 0, 3), True),
        ((5, 3, 15), (1, 0, 2), False),  # runs of less than a line
        ((3, 65, 16), (0, 1, 2), False),
        ((2, 3, 65, 16), (2, 0, 1, 3), False),  # 65 places would be written in turn
    ],
)
def test_what_moves_in_runs_is_read_in_order(
    shape: tuple[int, ...], perm: tuple[int, ...], turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)

    def made() -> Runner:
        return nest([tensor_type(shape, F32)], lambda e, x: e(TransposeOp(x, perm)), Target.parse(None, "x86-64-v3"))

    runner = made()
    np.testing.assert_array_equal(runner(x, pieces=2)[0], x.transpose(perm))
    monkeypatch.setattr(generator, "STREAMS", 0)
    assert (str(made().kernel) != str(runner.kernel)) is turns


def test_a_transpose_behind_a_guard_reads_only_what_is_there() -> None:
    """The block of an operand is turned in advance, so not where some of it may lie outside."""
    x = np.random.default_rng(3).normal(size=(3, 40, 50)).astype(np.float32)

    def joined(e: Build, x: SSAValue) -> SSAValue:
        return e(ConcatOp([e(TransposeOp(x, [0, 2, 1]))] * 2, axis))

    turned = x.transpose(0, 2, 1)
    for axis in range(3):
        runner = nest([tensor_type(x.shape, F32)], joined)
        np.testing.assert_array_equal(runner(x)[0], np.concatenate([turned, turned], axis))


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(0, 70), min_size=2, max_size=5), st.integers(1, 3), st.booleans())
def test_parts_beside_each_other(extents: list[int], rows: int, shifted: bool) -> None:
    """What is computed and then concatenated along the last dim has a loop for each part, without guards."""
    xs = [np.random.default_rng(k).standard_normal((rows, n), np.float32) for k, n in enumerate(extents)]
    y = np.zeros((rows, sum(extents)), np.float32) + np.float32(shifted)

    def joined(e: Build, y: SSAValue, *xs: SSAValue) -> SSAValue:
        found = e(ConcatOp([e(MulOp(x, x)) for x in xs], 1))
        return e(AddOp(found, y)) if shifted else found

    runner = nest([tensor_type(a.shape, F32) for a in (y, *xs)], joined)
    np.testing.assert_array_equal(runner(y, *xs)[0], np.concatenate([x * x for x in xs], 1) + y)


def test_softmax_of_named_dims() -> None:
    shape: tuple[Dim, ...] = (symbol("batch"), 3, symbol("seq"))
    runner = nest([tensor_type(shape, F32)], softmax)
    for batch, seq in [(1, 1), (2, 63), (3, 64), (5, 129)]:
        x = np.random.default_rng(seq).normal(0, 4, (batch, 3, seq)).astype(np.float32)
        check(runner(x, dims={"batch": batch, "seq": seq})[0], softmax_reference(x))


def test_pieces_give_the_same_bits() -> None:
    x = np.random.default_rng(1).normal(size=(37, 90)).astype(np.float32)
    runner = nest([tensor_type(x.shape, F32)], softmax)
    whole = runner(x)[0]
    for pieces in (2, 3, 8):
        np.testing.assert_array_equal(runner(x, pieces=pieces)[0], whole)


def test_rows_of_a_table() -> None:
    """An embedding: contiguous loads at an offset that was loaded, checked against the table."""
    table = np.random.default_rng(2).normal(size=(100, 48)).astype(np.float32)
    ids = np.array([[0, 99], [5, 7]])

    def body(e: Build, t: SSAValue, i: SSAValue) -> SSAValue:
        return e(GatherOp(t, i, 0))

    runner = nest([tensor_type(table.shape, F32), tensor_type(ids.shape, element_of(ids.dtype))], body)
    np.testing.assert_array_equal(runner(table, ids)[0], table[ids])
    assert "kernel.gather" not in str(runner.kernel)
    with pytest.raises(AssertionError, match="code 1"):
        runner(table, ids + 1)


def test_a_long_dim_is_cut_for_threads() -> None:
    x = np.arange(100_003, dtype=np.float32)
    runner = nest([tensor_type(x.shape, F32)], lambda e, v: e(AddOp(v, v)))
    assert runner.grid({}) > 1
    np.testing.assert_array_equal(runner(x, pieces=3)[0], x + x)


def test_adjacent_dims_are_walked_as_one() -> None:
    """[2, 3, 5, 7] plus a bias along dim 1: two loops, not four."""
    shape = (2, 3, 5, 7)
    runner = nest(
        [tensor_type(shape, F32), tensor_type((3,), F32)],
        lambda e, x, b: e(AddOp(x, e(BroadcastOp(b, shape, [1])))),
    )
    assert runner.grid({}) == 6
    x, b = np.random.default_rng(3).normal(size=shape).astype(np.float32), np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(runner(x, b)[0], x + b[:, None, None])


@st.composite
def chains(draw: st.DrawFn) -> tuple[Array, list[tuple[str, Any]]]:
    """An array and a chain of operations on it, as (name, arguments)."""
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(np.float32)
    return values, draw(st.lists(st.sampled_from(["transpose", "slice", "pad", "concat", "scale", "sum"]), max_size=5).map(lambda names: [(n, draw(st.integers(0, 7))) for n in names]))


def step(e: Build, x: SSAValue, name: str, k: int) -> SSAValue:
    shape = [d for d in shape_of(x) if isinstance(d, int)]
    rank = len(shape)
    axis = k % rank if rank else 0
    match name:
        case "transpose":
            return e(TransposeOp(x, [(d + k) % rank for d in range(rank)]))
        case "slice":
            starts = [min(1, n) for n in shape]
            return e(SliceOp(x, starts, [(n - s + 1) // 2 for n, s in zip(shape, starts, strict=True)], [2] * rank))
        case "pad":
            zero = e(ConstantOp(LiteralAttr.splat(1.5, dtype_of(element(x)))))
            return e(PadOp(x, zero, [k % 3] * rank, [1] * rank))
        case "concat" if rank:
            return e(ConcatOp([x, e(MulOp(x, x))], axis))
        case "sum" if rank:
            return e(ReduceOp(x, "sum", [axis]))
        case _:
            return e(AddOp(x, x))


@given(chains())
@settings(max_examples=60, deadline=None)
def test_chains_of_moves(case: tuple[Array, list[tuple[str, Any]]]) -> None:
    x, names = case

    def body(e: Build, v: SSAValue) -> SSAValue:
        for name, k in names:
            v = step(e, v, name, k)
        return e(AddOp(v, v))

    runner = nest([tensor_type(x.shape, F32)], body)
    build, values = Build(), {}
    want = x
    argument = fusion("nest", [tensor_type(x.shape, F32)], lambda v: [AddOp(v, v)]).block.args[0]
    values[argument] = x
    body(build, argument)
    for op in build.operations:
        want = op.reference(*(values[o] for o in op.operands))  # pyright: ignore
        values[op.results[0]] = want
    got = runner(x)[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
