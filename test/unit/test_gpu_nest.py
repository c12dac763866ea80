"""The nest generator for GPUs: the forms that it chooses between, run by the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gpu_harness import GpuRunner
from harness import fusion
from test_nest import check
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, StringAttr
from xdsl.ir import Operation, SSAValue

from tfc.dialects import kernel
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import AddOp, DivOp, ExpOp, MulOp, SubOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.reduce import ArgReduceOp, ReduceOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.shape import BroadcastOp, TransposeOp
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.dims import Dim, symbol
from tfc.location import named

F32 = element_of(np.float32)


def softmax(rows: Dim, columns: Dim, dtype: Any = np.float32) -> FusionOp:
    def body(x: SSAValue) -> Sequence[Operation]:
        top = ReduceOp(x, "max", [1])
        shifted = SubOp(x, spread := BroadcastOp(top, [rows, columns], [0]))
        powers = ExpOp(shifted)
        total = ReduceOp(powers, "sum", [1])
        below = BroadcastOp(total, [rows, columns], [0])
        return [top, spread, shifted, powers, total, below, DivOp(powers, below)]

    return fusion("nest", [tensor_type([rows, columns], element_of(dtype))], body)


def softmax_of(x: Array) -> Array:
    with np.errstate(all="ignore"):
        powers = np.exp(x - x.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


def normal(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "columns"),
    # A thread for a row, part of a warp, a warp, several in a block, a whole block, and rows too long for registers.
    [(5, 1), (3, 2), (5, 7), (100, 10), (9, 33), (9, 96), (70, 1000), (3, 4096), (1, 33000)],
)
def test_softmax(rows: int, columns: int) -> None:
    x = normal(rows, columns)
    check(GpuRunner(softmax(rows, columns))(x)[0], softmax_of(x))


def test_softmax_of_named_dims_and_special_values() -> None:
    runner = GpuRunner(softmax(symbol("n"), symbol("m")))
    for rows, columns in ((3, 5), (2, 700), (0, 4)):
        x = normal(rows, columns)
        check(runner(x, dims={"n": rows, "m": columns})[0], softmax_of(x))
    x = normal(3, 8)
    x[0, 3], x[1, 0], x[2, 5] = np.nan, np.inf, -np.inf
    check(GpuRunner(softmax(3, 8))(x)[0], softmax_of(x))


def sums(shape: Sequence[Dim], axes: Sequence[int], kind: str = "sum") -> FusionOp:
    return fusion("nest", [tensor_type(shape, F32)], lambda x: [ReduceOp(x, kind, axes)])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((40, 1024), [1]), ((1024, 33), [0]), ((1003, 40), [0]), ((700, 130), [0]), ((64, 300), [0, 1]), ((8, 49, 96), [1]), ((4, 5, 6, 7), [1, 3]), ((2, 40, 3), [0, 1]),
     ((3, 0), [1]), ((70000,), [0])],
)  # fmt: skip
def test_sums(shape: Sequence[int], axes: Sequence[int]) -> None:
    x = normal(*shape)
    check(GpuRunner(sums(shape, axes))(x)[0], x.sum(tuple(axes)), sums=True)
    if x.size:
        check(GpuRunner(sums(shape, axes, "max"))(x)[0], x.max(tuple(axes)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(("terms", "columns"), [(300, 64), (1030, 36), (33, 7), (4500, 2)])
def test_a_vector_times_a_matrix(terms: int, columns: int, across: bool, dtype: Any) -> None:
    shape = (columns, terms) if across else (terms, columns)
    x, w = ((2 * normal(*s)).astype(dtype) for s in ((1, terms), shape))
    of = element_of(dtype)
    types = [tensor_type(a.shape, of) for a in (x, w)]
    op = fusion("nest", types, lambda a, b: [DotOp(a, b, [], [], [1], [int(across)])])
    wide = np.float64 if x.dtype.kind == "f" else dtype
    (got,) = GpuRunner(op)(x, w)
    check(got, (x.astype(wide) @ (w.T if across else w).astype(wide)).astype(dtype), sums=True)


@pytest.mark.parametrize("columns", [1, 6, 768])
def test_rows_beside_a_vector(columns: int) -> None:
    shape = [23, columns]

    def body(x: SSAValue, w: SSAValue, b: SSAValue) -> Sequence[Operation]:
        product = MulOp(x, w2 := BroadcastOp(w, shape, [1]))
        return [w2, product, b2 := BroadcastOp(b, shape, [0]), AddOp(product, b2)]

    types = [tensor_type(s, F32) for s in (shape, [columns], [23])]
    x, w, b = normal(*shape), normal(columns), normal(23)
    check(GpuRunner(fusion("nest", types, body))(x, w, b)[0], x * w + b[:, None])


@pytest.mark.parametrize("shape", [(5, 7, 3), (64, 64, 4), (33, 65, 2)])
def test_transposes(shape: tuple[int, int, int]) -> None:
    x = normal(*shape)
    for perm in ([1, 0, 2], [2, 0, 1], [0, 2, 1], [2, 1, 0]):
        op = fusion("nest", [tensor_type(shape, F32)], lambda v, p=perm: [TransposeOp(v, p)])
        np.testing.assert_array_equal(GpuRunner(op)(x)[0], x.transpose(perm))


@pytest.mark.parametrize("shape", [(3, 64, 33), (2, 32, 64)])
def test_transposes_beside_others(shape: tuple[int, int, int]) -> None:
    turned = [shape[0], shape[2], shape[1]]

    def body(x: SSAValue, y: SSAValue, b: SSAValue) -> Sequence[Operation]:
        across = TransposeOp(x, [0, 2, 1])
        total = AddOp(across, y)
        spread = BroadcastOp(b, turned, [1])
        return [across, total, spread, MulOp(total, spread)]

    op = fusion("nest", [tensor_type(s, F32) for s in (shape, turned, [shape[2]])], body)
    x, y, b = normal(*shape), normal(*turned), normal(shape[2])
    runner = GpuRunner(op)
    assert any(isinstance(o, kernel.SharedOp) for o in runner.kernel.walk())
    np.testing.assert_array_equal(runner(x, y, b)[0], (x.transpose(0, 2, 1) + y) * b[:, None])


def test_results_have_the_same_bits_in_every_run() -> None:
    x, runner = normal(300, 70), GpuRunner(sums((300, 70), [0]))
    first = runner(x)[0]
    assert first.tobytes() == runner(x)[0].tobytes()


@pytest.mark.parametrize(("shape", "axis"), [((5, 700), 1), ((700, 5), 0), ((2, 33000), 1), ((40, 9), 1)])
def test_places_of_extremes(shape: tuple[int, ...], axis: int) -> None:
    x = np.round(normal(*shape) * 3)  # ties: the first counts
    for kind, find in (("max", np.argmax), ("min", np.argmin)):
        op = fusion("nest", [tensor_type(shape, F32)], lambda v, k=kind: [ArgReduceOp(v, k, axis)])
        runner = GpuRunner(op)
        np.testing.assert_array_equal(runner(x)[0], find(x, axis))
        x[(1, 3) if axis else (3, 1)] = np.nan
        np.testing.assert_array_equal(runner(x)[0], find(x, axis))


def test_instructions_name_the_lines_that_they_come_from() -> None:
    def body(x: SSAValue) -> Sequence[Operation]:
        power, product = ExpOp(x), MulOp(x, x)
        power.location = named("power", FileLineColLoc(StringAttr("model.py"), IntAttr(12), IntAttr(1)))
        product.location = named('Mul "4"')
        return [power, product, AddOp(power, product)]

    runner = GpuRunner(fusion("nest", [tensor_type([300], F32)], body))
    x = normal(300)
    check(runner(x)[0], np.exp(x) + x * x)
    assert ".loc\t1 12 0" in runner.ptx or ".loc\t2 12 0" in runner.ptx
    assert '"model.py"' in runner.ptx
    assert '"Mul _4_"' in runner.ptx
    assert ".debug" not in runner.ptx


def test_rows_of_a_named_batch_are_read_in_wide_accesses() -> None:
    shape = [symbol("n"), 12]

    def body(x: SSAValue) -> Sequence[Operation]:
        return [power := ExpOp(x), AddOp(power, x)]

    runner = GpuRunner(fusion("nest", [tensor_type(shape, F32)], body))
    assert "ld.global.v4" in runner.ptx
    for n in (0, 1, 7):
        x = normal(n, 12)
        check(runner(x, dims={"n": n})[0], np.exp(x) + x, sums=True)


def test_rows_of_a_table_and_an_index_out_of_range() -> None:
    types = [tensor_type([50, 16], F32), tensor_type([9], element_of(np.int32))]
    runner = GpuRunner(fusion("nest", types, lambda table, ids: [GatherOp(table, ids, 0)]))
    assert "ld.global.nc.v4" in runner.ptx
    table, ids = normal(50, 16), np.arange(9, dtype=np.int32) * 5
    np.testing.assert_array_equal(runner(table, ids)[0], table[ids])
    ids[4] = 50
    runner(table, ids, fails=True)
    assert "an index is out of range [0, 50)" in runner.messages[0]


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.bool_, np.int64])
def test_accesses_are_16_bytes_of_any_type(dtype: Any) -> None:
    shape = [1 << 19, 16]  # large enough that each thread has as much

    def body(x: SSAValue) -> Sequence[Operation]:
        return [same := CompareOp("eq", x, x), SelectOp(same, x, x)]

    text = GpuRunner(fusion("nest", [tensor_type(shape, element_of(dtype))], body)).ptx
    stores = [line for line in text.splitlines() if "st.global" in line]
    assert len(stores) == 1, stores
    assert any(word in stores[0] for word in ("v4.b32", "v2.b64")), stores
