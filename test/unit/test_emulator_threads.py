"""The emulated GPU: threads together. Exchanges, barriers, matrices, asynchronous copies, and the checks."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx import from_llvm, kernel, launch, module

from tfc.emulator import EmulationError

LOAD = "mad.wide.u32 %a9, %t0, 4, %a0; ld.global.b32 %w1, [%a9];"
STORE = "mad.wide.u32 %a9, %t0, 4, %a1; st.global.b32 [%a9], %w2;"
LANES = np.arange(32)

SHUFFLES = {
    "bfly.b32 %w2|%p1, %w1, 5, 31": LANES ^ 5,
    "up.b32 %w2|%p1, %w1, 3, 0": np.where(LANES < 3, LANES, LANES - 3),
    "down.b32 %w2|%p1, %w1, 7, 31": np.where(LANES > 24, LANES, LANES + 7),
    "idx.b32 %w2|%p1, %w1, 9, 31": np.full(32, 9),
    "idx.b32 %w2|%p1, %w1, 2, 6175": LANES & 24 | 2,  # segments of 8 lanes
    "down.b32 %w2|%p1, %w1, 3, 6175": np.where((LANES & 7) > 4, LANES, LANES + 3),
}


@pytest.mark.parametrize("name", SHUFFLES)
def test_shuffle(name: str) -> None:
    x, out = np.random.default_rng(1).integers(0, 2**31, 64).astype(np.int32), np.zeros(64, np.int32)
    launch(f"{LOAD} shfl.sync.{name}, -1; {STORE}", [x, out], block=64)
    np.testing.assert_array_equal(out.reshape(2, 32), x.reshape(2, 32)[:, SHUFFLES[name]])


def test_shuffles_in_a_loop_sum_a_warp() -> None:
    x, out = np.arange(40, dtype=np.int32), np.zeros(40, np.int32)
    body = f"""{LOAD} mov.u32 %w2, %w1; mov.u32 %w3, 16;
    again: shfl.sync.bfly.b32 %w4, %w2, %w3, 31, -1; add.s32 %w2, %w2, %w4; shr.u32 %w3, %w3, 1;
    setp.ne.u32 %p0, %w3, 0; @%p0 bra again; {STORE}"""
    launch(body, [x, out], block=32)
    np.testing.assert_array_equal(out[:32], x[:32].sum())


def test_halves_of_a_warp_exchange_apart() -> None:
    x, out = np.arange(32, dtype=np.int32), np.zeros(32, np.int32)
    body = f"""{LOAD} setp.lt.u32 %p0, %t0, 16; @%p0 bra low;
    shfl.sync.idx.b32 %w2, %w1, 20, 31, 0xffff0000; bra.uni done;
    low: shfl.sync.idx.b32 %w2, %w1, 3, 31, 0xffff; shfl.sync.bfly.b32 %w2, %w2, 1, 31, 0xffff;
    done: {STORE}"""
    launch(body, [x, out])
    np.testing.assert_array_equal(out, np.where(np.arange(32) < 16, 3, 20))


def test_votes_and_reductions() -> None:
    x, out = (np.arange(32, dtype=np.int32) * 7) % 13 - 5, np.zeros((32, 8), np.int32)
    body = f"""{LOAD} setp.gt.s32 %p0, %w1, 0;
    vote.sync.ballot.b32 %w2, %p0, -1; vote.sync.any.pred %p1, %p0, -1; vote.sync.all.pred %p2, !%p0, -1;
    redux.sync.add.s32 %w3, %w1, -1; redux.sync.min.s32 %w4, %w1, -1; match.any.sync.b32 %w5, %w1, -1;
    selp.b32 %w6, 1, 0, %p1; selp.b32 %w7, 1, 0, %p2; elect.sync %w8|%p3, 0xfffffff0; selp.b32 %w9, 1, 0, %p3;
    mad.wide.u32 %a9, %t0, 32, %a1; st.global.v4.b32 [%a9], {{%w2, %w3, %w4, %w5}};
    st.global.v4.b32 [%a9+16], {{%w6, %w7, %w8, %w9}};"""
    launch(body.replace("elect.sync %w8|%p3, 0xfffffff0", "elect.sync %w8|%p3, -1"), [x, out])
    bits = sum(1 << k for k in range(32) if x[k] > 0)
    assert (out[:, 0].view(np.uint32) == bits).all()
    assert (out[:, 1] == x.sum()).all()
    assert (out[:, 2] == x.min()).all()
    same = [sum(1 << j for j in range(32) if x[j] == x[k]) for k in range(32)]
    np.testing.assert_array_equal(out[:, 3].view(np.uint32), same)
    assert (out[:, 4] == 1).all()
    assert (out[:, 5] == 0).all()
    np.testing.assert_array_equal(out[:, 7], np.arange(32) == 0)


def test_barriers_order_shared_memory() -> None:
    """A block reverses its part of an array through shared memory, in two turns of a loop."""
    x, out = np.arange(200, dtype=np.int32), np.zeros(200, np.int32)
    body = f"""{LOAD} mov.b32 %w5, 0;
    turn: mul.wide.u32 %a2, %t0, 4; mov.b64 %a3, tile; add.u64 %a4, %a3, %a2; st.shared.b32 [%a4], %w1; bar.sync 0;
    sub.u32 %w3, 99, %t0; mul.wide.u32 %a5, %w3, 4; add.u64 %a6, %a3, %a5; ld.shared.b32 %w2, [%a6]; bar.sync 0;
    add.s32 %w1, %w2, 1000; add.s32 %w5, %w5, 1; setp.lt.u32 %p0, %w5, 3; @%p0 bra turn; {STORE}"""
    launch(body, [x, out], block=100, shared=".shared .align 4 .b8 tile[400];")
    np.testing.assert_array_equal(out[:100], x[:100][::-1] + 2000)


def test_barriers_with_results_and_names() -> None:
    out = np.zeros((64, 4), np.int32)
    body = """setp.gt.u32 %p0, %t0, 59; bar.red.popc.u32 %w1, 0, %p0; bar.red.or.pred %p1, 0, %p0;
    bar.red.and.pred %p2, 0, %p0; selp.b32 %w2, 1, 0, %p1; selp.b32 %w3, 1, 0, %p2; mov.u32 %w4, %warpid;
    setp.eq.u32 %p3, %w4, 0; @%p3 bar.arrive 1, 64; @%p3 bra over; bar.sync 1, 64;
    over: mad.wide.u32 %a9, %t0, 16, %a0; st.global.v4.b32 [%a9], {%w1, %w2, %w3, %w4};"""
    launch(body, [out], block=64)
    np.testing.assert_array_equal(out[:, :3], [[4, 1, 0]] * 64)


MMA: dict[str, tuple[Any, int, str, Any]] = {
    "m16n8k8.row.col.f32.tf32.tf32.f32": (np.float32, 8, "f32", np.float32),
    "m16n8k4.row.col.f32.tf32.tf32.f32": (np.float32, 4, "f32", np.float32),
    "m16n8k8.row.col.f32.f16.f16.f32": (np.float16, 8, "f32", np.float32),
    "m16n8k16.row.col.f32.f16.f16.f32": (np.float16, 16, "f32", np.float32),
    "m16n8k16.row.col.f32.bf16.bf16.f32": (ml_dtypes.bfloat16, 16, "f32", np.float32),
    "m16n8k32.row.col.s32.s8.s8.s32": (np.int8, 32, "s32", np.int32),
    "m16n8k16.row.col.s32.u8.u8.s32": (np.uint8, 16, "s32", np.int32),
    "m16n8k16.row.col.f16.f16.f16.f16": (np.float16, 16, "f16", np.float16),
}


@pytest.mark.parametrize("name", MMA)
def test_matrix_products(name: str) -> None:
    """Fragments are packed as NVIDIA's pictures show them: by row and pair for A, by column for B."""
    dtype, k, _, to = MMA[name]
    rng = np.random.default_rng(3)
    a, b = rng.integers(-9, 9, (16, k)), rng.integers(-9, 9, (k, 8))
    c = rng.integers(-50, 50, (16, 8))
    if dtype is np.uint8:
        a, b = abs(a), abs(b)
    size = np.dtype(dtype).itemsize
    per, steps = 4 // size, k * size // 16
    lanes, g, q = np.arange(32), np.arange(32) >> 2, np.arange(32) & 3
    left = np.zeros((32, 2 * steps, per), dtype)
    right = np.zeros((32, steps, per), dtype)
    for lane in lanes:
        for r in range(2 * steps):
            for e in range(per):
                left[lane, r, e] = a[g[lane] + 8 * (r % 2), 4 * per * (r // 2) + per * q[lane] + e]
        for r in range(steps):
            for e in range(per):
                right[lane, r, e] = b[4 * per * r + per * q[lane] + e, g[lane]]
    held = np.zeros((32, 4), to)
    for n in range(4):
        held[:, n] = c[g + 8 * (n // 2), 2 * q + n % 2]
    words, counts = 16 // (4 // np.dtype(to).itemsize), (2 * steps, steps)
    text, place = "", 0
    for array, count in enumerate((*counts, words // 4)):
        text += f"mad.wide.u32 %a9, %t0, {4 * count}, %a{array};\n"
        for n in range(count):
            text += f"ld.global.b32 %w{place + n}, [%a9+{4 * n}];\n"
        place += count
    first, second = counts
    lists = ["{" + ", ".join(f"%w{n}" for n in span) + "}" for span in (range(first), range(first, first + second), range(first + second, place))]
    text += f"mma.sync.aligned.{name} {lists[2]}, {lists[0]}, {lists[1]}, {lists[2]};\nmad.wide.u32 %a9, %t0, {words}, %a2;\n"
    text += "".join(f"st.global.b32 [%a9+{4 * n}], %w{first + second + n};\n" for n in range(words // 4))
    launch(text, [left.view(np.uint32), right.view(np.uint32), held])
    found = np.zeros((16, 8))
    for n in range(4):
        found[g + 8 * (n // 2), 2 * q + n % 2] = held[:, n]
    np.testing.assert_array_equal(found, a @ b + c)


def test_tf32_has_ten_digits() -> None:
    """What a register has beyond them is not looked at."""
    a = np.zeros((32, 4), np.float32)
    a[:, 0] = 1 + 2**-10 + 2**-13
    b, c = np.ones((32, 2), np.float32), np.zeros((32, 4), np.float32)
    text = "mad.wide.u32 %a9, %t0, 16, %a0; ld.global.v4.b32 {%w0, %w1, %w2, %w3}, [%a9]; mad.wide.u32 %a9, %t0, 8, %a1;"
    text += "ld.global.v2.b32 {%w4, %w5}, [%a9]; mov.b32 %w6, 0;"
    text += "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%w7, %w8, %w9, %w10}, {%w0, %w1, %w2, %w3}, {%w4, %w5}, {%w6, %w6, %w6, %w6};"
    text += "mad.wide.u32 %a9, %t0, 16, %a2; st.global.v4.b32 [%a9], {%w7, %w8, %w9, %w10};"
    launch(text, [a, b, c])
    np.testing.assert_array_equal(c[:, 0], np.float32(4 * (1 + 2**-10)))


@pytest.mark.parametrize("trans", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_matrices_to_and_from_shared_memory(count: int, trans: bool) -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2**15, (4, 8, 8)).astype(np.uint16)
    out, back = np.zeros((32, count), np.uint32), np.zeros((4, 8, 8), np.uint16)
    registers = "{" + ", ".join(f"%w{n + 4}" for n in range(count)) + "}"
    how = f"sync.aligned.m8n8.x{count}{'.trans' if trans else ''}.shared.b16"
    body = f"""mad.wide.u32 %a3, %t0, 16, %a0; ld.global.v4.b32 {{%w0, %w1, %w2, %w3}}, [%a3];
    mul.wide.u32 %a4, %t0, 16; mov.b64 %a5, tile; add.u64 %a6, %a5, %a4; st.shared.v4.b32 [%a6], {{%w0, %w1, %w2, %w3}};
    bar.sync 0; ldmatrix.{how} {registers}, [%a6]; mad.wide.u32 %a7, %t0, {4 * count}, %a1;
    {" ".join(f"st.global.b32 [%a7+{4 * n}], %w{n + 4};" for n in range(count))}
    bar.sync 0; stmatrix.{how} [%a6], {registers}; bar.sync 0;
    ld.shared.v4.b32 {{%w0, %w1, %w2, %w3}}, [%a6]; mad.wide.u32 %a8, %t0, 16, %a2; st.global.v4.b32 [%a8], {{%w0, %w1, %w2, %w3}};"""
    launch(body, [x, out, back], shared=".shared .align 16 .b8 tile[512];")
    got = out.view(np.uint16).reshape(8, 4, count, 2)
    want = x[:count].transpose(0, 2, 1) if trans else x[:count]
    np.testing.assert_array_equal(got.transpose(2, 0, 1, 3).reshape(count, 8, 8), want)
    np.testing.assert_array_equal(back, x)


COPY = """mul.wide.u32 %a2, %t0, 16; add.u64 %a3, %a0, %a2; mov.b64 %a4, tile; add.u64 %a5, %a4, %a2;
cp.async.cg.shared.global [%a5], [%a3], 16; cp.async.commit_group; {wait} {barrier}
xor.b32 %w5, %t0, 1; mul.wide.u32 %a6, %w5, 16; add.u64 %a7, %a4, %a6; ld.shared.v4.b32 {{%w0, %w1, %w2, %w3}}, [%a7];
add.u64 %a8, %a1, %a2; st.global.v4.b32 [%a8], {{%w0, %w1, %w2, %w3}};"""
TILE = ".shared .align 16 .b8 tile[512];"


def test_asynchronous_copies_need_a_wait_and_a_barrier() -> None:
    x, out = np.arange(128, dtype=np.int32), np.zeros(128, np.int32)
    launch(COPY.format(wait="cp.async.wait_group 0;", barrier="bar.sync 0;"), [x, out], shared=TILE)
    np.testing.assert_array_equal(out.reshape(16, 2, 4), x.reshape(16, 2, 4)[:, ::-1])
    with pytest.raises(EmulationError, match=r"no barrier between|nothing was written"):
        launch(COPY.format(wait="cp.async.wait_group 0;", barrier=""), [x, out], shared=TILE)
    out[:] = 0
    late = COPY.format(wait="cp.async.wait_group 1;", barrier="bar.sync 0;")
    with pytest.raises(EmulationError, match=r"where thread \(1, 0, 0\) copies to, with no wait"):
        launch(late, [x, out], shared=TILE)
    launch(late, [x, out], shared=TILE, checked=False)
    assert not np.array_equal(out.reshape(16, 2, 4), x.reshape(16, 2, 4)[:, ::-1]), "the copy is made late"


def test_asynchronous_copies_fill_with_zeros() -> None:
    x, out = np.arange(1, 129, dtype=np.int32), np.zeros(128, np.int32)
    body = COPY.format(wait="cp.async.wait_all;", barrier="bar.sync 0;").replace("[%a3], 16;", "[%a3], 16, %w7;")
    launch("setp.lt.u32 %p0, %t0, 3; selp.b32 %w7, 8, 0, %p0;" + body, [x[:12], out], shared=TILE)
    want = np.zeros((32, 4), np.int32)
    want[:3, :2] = x.reshape(32, 4)[:3, :2]
    np.testing.assert_array_equal(out.reshape(16, 2, 4), want.reshape(16, 2, 4)[:, ::-1])


@given(st.integers(1, 96), st.integers(1, 5), st.integers(0, 400))
@settings(deadline=None, max_examples=20)
def test_a_reduction_over_blocks(block: int, grid: int, size: int) -> None:
    """Barriers in a loop of a block, partial warps, atomic sums of blocks: what a reduction is made of."""
    text = from_llvm(REDUCTION)
    x = np.random.default_rng(size).integers(-1000, 1000, size).astype(np.int32)
    out = np.zeros(1, np.int32)
    module(text).launch("k", grid, block, [x if size else out, out, size])
    assert out[0] == x.sum()


REDUCTION = """
target triple = "nvptx64-nvidia-cuda"
@s = internal addrspace(3) global [128 x i32] undef, align 16
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
define ptx_kernel void @k(ptr addrspace(1) %x, ptr addrspace(1) %out, i64 %n) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %b = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %g = call i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
  %c = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %bc = mul i32 %b, %c
  %i0 = add i32 %bc, %t
  %i = zext i32 %i0 to i64
  %st = mul i32 %b, %g
  %step = zext i32 %st to i64
  br label %head
head:
  %k = phi i64 [ %i, %entry ], [ %kn, %body ]
  %sum = phi i32 [ 0, %entry ], [ %sn, %body ]
  %in = icmp ult i64 %k, %n
  br i1 %in, label %body, label %share
body:
  %p = getelementptr i32, ptr addrspace(1) %x, i64 %k
  %v = load i32, ptr addrspace(1) %p
  %sn = add i32 %sum, %v
  %kn = add i64 %k, %step
  br label %head
share:
  %mine = getelementptr i32, ptr addrspace(3) @s, i32 %t
  store i32 %sum, ptr addrspace(3) %mine
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %fold
fold:
  %w = phi i32 [ 64, %share ], [ %half, %after ]
  %far = add i32 %t, %w
  %in1 = icmp ult i32 %far, %b
  %in2 = icmp ult i32 %t, %w
  %both = and i1 %in1, %in2
  br i1 %both, label %add, label %after
add:
  %q = getelementptr i32, ptr addrspace(3) @s, i32 %far
  %other = load i32, ptr addrspace(3) %q
  %own = load i32, ptr addrspace(3) %mine
  %more = add i32 %own, %other
  store i32 %more, ptr addrspace(3) %mine
  br label %after
after:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %half = lshr i32 %w, 1
  %again = icmp ne i32 %half, 0
  br i1 %again, label %fold, label %end
end:
  %first = icmp eq i32 %t, 0
  br i1 %first, label %write, label %done
write:
  %total = load i32, ptr addrspace(3) @s
  %old = atomicrmw add ptr addrspace(1) %out, i32 %total monotonic
  br label %done
done:
  ret void
}
"""

AT = "mul.wide.u32 %a2, %t0, 4; mov.b64 %a3, tile; add.u64 %a4, %a3, %a2; "
FAULTS: dict[str, tuple[str, str]] = {
    "outside": ("ld.global.b32 %w1, [%a0+128];", r"'ld.global.b32' in thread \(0, 0, 0\) of block \(0, 0, 0\): an access outside of all allocations, at 128 in an allocation of 128 bytes"),
    "before": ("st.global.b32 [%a0+-4], %w1;", "'st.global.b32'.*outside of all allocations"),
    "across the end": ("ld.global.v4.b32 {%w1, %w2, %w3, %w4}, [%a0+120];", "no multiple of 16|outside of all"),
    "misaligned": ("ld.global.v2.b32 {%w1, %w2}, [%a0+4];", "an address that is no multiple of 8"),
    "outside shared": (AT + "st.shared.b32 [%a4+512], %w1;", "outside of the 512 bytes of shared memory"),
    "uninitialised": (AT + "ld.shared.b32 %w1, [%a4];", "shared memory that nothing was written to"),
    "all write one": (AT + "st.shared.b32 [%a3], %w1;", r"'st.shared.b32' in thread \(1, 0, 0\).*a write to what thread \(0, 0, 0\) writes"),
    "read before the barrier": (AT + "st.shared.b32 [%a4], %w1; xor.b32 %w2, %t0, 1; mul.wide.u32 %a5, %w2, 4; add.u64 %a6, %a3, %a5; bar.sync 0; ld.shared.b32 %w3, [%a6]; st.shared.b32 [%a4], %w3;", r"a read of what thread \(0, 0, 0\) writes, with no barrier between"),
    "written by two, globally": ("st.global.b32 [%a0], %w1;", r"a write to what thread \(0, 0, 0\) writes"),
    "a barrier for some": ("setp.lt.u32 %p0, %t0, 7; @%p0 bra over; bar.sync 0; over:", r"a barrier that thread \(6, 0, 0\) does not come to"),
    "an exchange for some": ("setp.lt.u32 %p0, %t0, 7; @%p0 bra over; shfl.sync.bfly.b32 %w1, %w2, 1, 31, -1; over:", "threads of the warp that do not come"),
    "different exchanges": ("setp.lt.u32 %p0, %t0, 7; @%p0 bra over; shfl.sync.bfly.b32 %w1, %w2, 1, 31, -1; bra.uni end; over: bar.warp.sync -1; end:", "threads of the warp that do not come"),
    "a trap": ("trap;", "a trap"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(name: str) -> None:
    body, message = FAULTS[name]
    with pytest.raises(EmulationError, match=message) as caught:
        launch(body, [np.zeros(32, np.int32)], shared=TILE)
    assert str(caught.value).startswith("ptx:1")
    assert "kernel 'k'" in str(caught.value)


def test_blocks_that_write_one_place() -> None:
    with pytest.raises(EmulationError, match=r"block \(1, 0, 0\): a write to what thread \(0, 0, 0\) writes"):
        launch("mad.wide.u32 %a2, %t0, 4, %a0; st.global.b32 [%a2], %w1;", [np.zeros(32, np.int32)], grid=2)


def test_a_warp_is_ordered_by_its_own_barrier() -> None:
    out = np.zeros(32, np.int32)
    body = AT + """st.shared.b32 [%a4], %t0; bar.warp.sync -1; xor.b32 %w2, %t0, 1; mul.wide.u32 %a5, %w2, 4;
    add.u64 %a6, %a3, %a5; ld.shared.b32 %w3, [%a6]; add.u64 %a7, %a0, %a2; st.global.b32 [%a7], %w3;"""
    launch(body, [out], shared=TILE)
    np.testing.assert_array_equal(out, np.arange(32) ^ 1)


def test_without_checks_faults_pass() -> None:
    out = np.zeros(32, np.int32)
    launch("st.global.b32 [%a0], %t0;", [out], checked=False)
    assert out[0] == 31


def test_lines_of_the_program_are_named() -> None:
    text = kernel('.loc 1 42 7\nld.global.b32 %w1, [%a0+4096];', 1).replace(".address_size 64\n", '.address_size 64\n.file 1 "model.py"\n')
    with pytest.raises(EmulationError, match=r"^model.py:42: ptx:\d+: error: kernel 'k'"):
        module(text).launch("k", 1, 1, [np.zeros(4, np.int32)])


def test_dynamic_shared_memory_and_wrong_launches() -> None:
    out = np.zeros(32, np.int32)
    text = kernel(AT.replace("tile", "dyn") + "st.shared.b32 [%a4], %t0; ld.shared.b32 %w1, [%a4]; add.u64 %a5, %a0, %a2; st.global.b32 [%a5], %w1;", 1)
    text = text.replace(".address_size 64\n", ".address_size 64\n.extern .shared .align 16 .b8 dyn[];\n")
    module(text).launch("k", 1, 32, [out], shared=128)
    np.testing.assert_array_equal(out, np.arange(32))
    with pytest.raises(EmulationError, match="outside of the 64 bytes of shared memory"):
        module(text).launch("k", 1, 32, [out], shared=64)
    with pytest.raises(EmulationError, match="takes 1 arguments, got 2"):
        module(text).launch("k", 1, 32, [out, out])
    with pytest.raises(EmulationError, match="runs with 1 to 1024 threads"):
        module(text).launch("k", 1, 2048, [out])
    with pytest.raises(KeyError):
        module(text).launch("none", 1, 1, [])
