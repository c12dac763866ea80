"""The emulated GPU: what each instruction means, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx import apply, from_llvm, kernel, launch, module

from tfc.emulator import Module, PtxError

I32 = np.array([0, 1, -1, 2, 5, -7, 31, 32, 33, 2**31 - 1, -(2**31), 123456789, -987654321, 255, 256, 65537], np.int32)
U32 = I32.view(np.uint32)
I64 = np.concatenate([I32.astype(np.int64), [2**63 - 1, -(2**63), 2**40 + 3, -(2**33)]])
F32 = np.array(
    [0.0, -0.0, 1.0, -1.5, 0.5, 2.5, -2.5, 3.5, 1e-40, -1e-42, 3e38, np.inf, -np.inf, np.nan, 0.1, 7e9], np.float32
)
pairs = [(x, y) for x in range(len(I32)) for y in range(len(I32))]
HALF_RANGE = np.where(abs(F32) > 6e4, np.copysign(np.float32(np.inf), F32), F32)
X32, Y32 = (I32[[p[k] for p in pairs]] for k in range(2))
FX, FY = (F32[[p[k] for p in pairs]] for k in range(2))


def shift(how: str) -> Callable[[Any, Any], Any]:
    def compute(x: Any, y: Any) -> Any:
        by = np.minimum(y.view(np.uint32), 32).astype(np.int64)
        if how == "left":
            return (x.view(np.uint32).astype(np.uint64) << by.astype(np.uint64)).astype(np.uint32).view(np.int32)
        wide = x.astype(np.int64) if how == "right" else x.view(np.uint32).astype(np.int64)
        return (wide >> by).astype(np.uint32).view(np.int32)

    return compute


def quotient(x: Any, y: Any) -> Any:
    out = np.full_like(x, -1)
    ok = y != 0
    out[ok] = (np.sign(x[ok].astype(np.int64)) * np.sign(y[ok]) * (abs(x[ok].astype(np.int64)) // abs(y[ok].astype(np.int64)))).astype(np.int64).astype(np.uint32).view(np.int32)
    return out


TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add.s32": np.add,
    "sub.s32": np.subtract,
    "mul.lo.s32": np.multiply,
    "mul.hi.s32": lambda x, y: ((x.astype(np.int64) * y) >> 32).astype(np.int32),
    "mul.hi.u32": lambda x, y: ((x.view(np.uint32).astype(np.uint64) * y.view(np.uint32)) >> 32).astype(np.uint32).view(np.int32),
    "and.b32": np.bitwise_and,
    "or.b32": np.bitwise_or,
    "xor.b32": np.bitwise_xor,
    "min.s32": np.minimum,
    "max.u32": lambda x, y: np.maximum(x.view(np.uint32), y.view(np.uint32)).view(np.int32),
    "shl.b32": shift("left"),
    "shr.s32": shift("right"),
    "shr.u32": shift("logical"),
    "div.s32": quotient,
    "rem.s32": lambda x, y: np.where(y == 0, x, x.astype(np.int64) - quotient(x, y).astype(np.int64) * y).astype(np.int32),
    "add.sat.s32": lambda x, y: np.clip(x.astype(np.int64) + y, -(2**31), 2**31 - 1).astype(np.int32),
}


@pytest.mark.parametrize("name", TWO)
def test_integers(name: str) -> None:
    with np.errstate(all="ignore"):
        want = TWO[name](X32, Y32)
    np.testing.assert_array_equal(apply(f"{name} {{d}}, {{a}}, {{b}};", X32, Y32, result=np.int32), want)


ONE: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "not.b32": (I32, np.int32, np.invert),
    "neg.s32": (I32, np.int32, np.negative),
    "abs.s32": (I32, np.int32, np.abs),
    "popc.b32": (I32, np.int32, lambda x: [bin(int(v)).count("1") for v in x.view(np.uint32)]),
    "clz.b32": (I32, np.int32, lambda x: [32 - int(v).bit_length() for v in x.view(np.uint32)]),
    "popc.b64": (I64, np.int32, lambda x: [bin(int(v)).count("1") for v in x.view(np.uint64)]),
    "brev.b32": (I32, np.uint32, lambda x: [int(f"{int(v):032b}"[::-1], 2) for v in x.view(np.uint32)]),
    "bfind.u32": (I32, np.int32, lambda x: [int(v).bit_length() - 1 for v in x.view(np.uint32)]),
    "bfind.s32": (I32, np.int32, lambda x: [int(v if v >= 0 else ~v).bit_length() - 1 for v in x]),
    "cvt.s64.s32": (I32, np.int64, lambda x: x),
    "cvt.u64.u32": (I32, np.int64, lambda x: x.view(np.uint32)),
    "cvt.s32.s8": (I32, np.int32, lambda x: x.astype(np.int8)),
    "cvt.u32.u16": (I32, np.uint32, lambda x: x.astype(np.uint16)),
    "cvt.sat.s8.s32": (I32, np.int32, lambda x: np.clip(x, -128, 127)),
    "cvt.sat.u8.s32": (I32, np.int32, lambda x: np.clip(x, 0, 255)),
    "cvt.rn.f32.s32": (I32, np.float32, lambda x: x.astype(np.float32)),
    "cvt.rn.f32.u32": (I32, np.float32, lambda x: x.view(np.uint32).astype(np.float32)),
    "cvt.rn.f32.s64": (I64, np.float32, lambda x: x.astype(np.float32)),
    "cvt.rn.f64.u64": (I64, np.float64, lambda x: x.view(np.uint64).astype(np.float64)),
    "cvt.rn.f16.s32": (I32, np.float16, lambda x: x.astype(np.float16)),
    "cvt.rn.bf16.f32": (F32, ml_dtypes.bfloat16, lambda x: x.astype(ml_dtypes.bfloat16)),
    "cvt.rn.f16.f32": (F32, np.float16, lambda x: x.astype(np.float16)),
    "cvt.f64.f32": (F32, np.float64, lambda x: x),
    "cvt.rn.f32.f64": (F32.astype(np.float64) * (1 + 2**-30), np.float32, lambda x: x.astype(np.float32)),
    "cvt.rn.f16.f64": (F32.astype(np.float64) * (1 + 2**-30), np.float16, lambda x: x.astype(np.float16)),
    "cvt.f32.f16": (HALF_RANGE.astype(np.float16), np.float32, lambda x: x),
    "cvt.f32.bf16": (F32.astype(ml_dtypes.bfloat16), np.float32, lambda x: x.astype(np.float32)),
    "cvt.rni.f32.f32": (F32, np.float32, np.rint),
    "cvt.rzi.f32.f32": (F32, np.float32, np.trunc),
    "cvt.rmi.f32.f32": (F32, np.float32, np.floor),
    "cvt.rpi.f32.f32": (F32, np.float32, np.ceil),
    "cvt.rzi.s32.f32": (F32, np.int32, lambda x: np.nan_to_num(np.clip(np.trunc(x.astype(np.float64)), -(2**31), 2**31 - 1), nan=0)),
    "cvt.rni.u32.f32": (F32, np.uint32, lambda x: np.nan_to_num(np.clip(np.rint(x.astype(np.float64)), 0, 2**32 - 1), nan=0)),
    "cvt.rzi.s64.f32": (F32, np.int64, lambda x: [-(2**63) if np.isnan(v) else int(max(min(float(v), 2.0**62), -(2.0**63))) if abs(v) < 1e30 else 2**63 - 1 if v > 0 else -(2**63) for v in x]),
    "cvt.sat.f32.f32": (F32, np.float32, lambda x: np.nan_to_num(np.clip(x, 0, 1), nan=0) + 0.0),
    "cvt.rn.ftz.f32.f64": (F32.astype(np.float64), np.float32, lambda x: np.where(abs(x) < 2.0**-126, np.copysign(0, x), x)),
    "neg.f32": (F32, np.float32, np.negative),
    "abs.f32": (F32, np.float32, np.abs),
    "sqrt.rn.f32": (F32, np.float32, np.sqrt),
    "rcp.rn.f32": (F32, np.float32, lambda x: 1 / x),
    "rsqrt.approx.f32": (F32, np.float32, lambda x: 1 / np.sqrt(x)),
    "ex2.approx.f32": (F32, np.float32, np.exp2),
    "lg2.approx.f32": (F32, np.float32, np.log2),
    "tanh.approx.f32": (F32, np.float32, np.tanh),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_one_operand(name: str) -> None:
    x, kind, meaning = ONE[name]
    with np.errstate(all="ignore"):
        want = np.asarray(meaning(x)).astype(kind)
    instruction = f"{name} {{d}}, {{a}};"
    got = apply(instruction, x, result=kind)
    if "approx" in name:
        np.testing.assert_allclose(got, want, rtol=3e-7)
    else:
        np.testing.assert_array_equal(_bits(got), _bits(want))


def _bits(x: Any) -> Any:
    """Floats by their bits, NaNs all the same."""
    if x.dtype.kind in "biu":
        return x
    wide = x.astype(np.float64)
    return np.where(np.isnan(wide), "nan", [f"{v.hex()}" for v in wide.tolist()])


FLOATS: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
}


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("name", FLOATS)
def test_floats(name: str, kind: str) -> None:
    dtype = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64}[kind]
    with np.errstate(all="ignore"):
        x, y = FX.astype(dtype), FY.astype(dtype)
        want = FLOATS[name](x, y)
    got = apply(f"{name}.rn.{kind} {{d}}, {{a}}, {{b}};", x, y, result=dtype)
    np.testing.assert_array_equal(_bits(got), _bits(want))


def test_division_and_extremes() -> None:
    with np.errstate(all="ignore"):
        got = apply("div.rn.f32 {d}, {a}, {b};", FX, FY, result=np.float32)
        np.testing.assert_array_equal(_bits(got), _bits(FX / FY))
        got = apply("min.f32 {d}, {a}, {b};", FX, FY, result=np.float32)
        np.testing.assert_array_equal(got, np.fmin(FX, FY))
        got = apply("max.NaN.f32 {d}, {a}, {b};", FX, FY, result=np.float32)
        np.testing.assert_array_equal(got, np.maximum(FX, FY))
        got = apply("copysign.f32 {d}, {a}, {b};", FX, FY, result=np.float32)
        np.testing.assert_array_equal(_bits(got), _bits(np.copysign(FY, FX)))


def test_fused_multiply_add_rounds_once() -> None:
    x = np.array([1 + 2**-12, 3.0, 1e15], np.float32)
    got = apply("fma.rn.f32 {d}, {a}, {a}, {b};", x, -x * x, result=np.float32)
    want = [float(a) * float(a) - float(np.float32(a * a)) for a in x]
    np.testing.assert_array_equal(got, np.array(want, np.float32))
    h = np.array([1 + 2**-10, 0.1, 3.14], np.float16)
    got = apply("fma.rn.f16 {d}, {a}, {a}, {b};", h, -h * h, result=np.float16)
    np.testing.assert_array_equal(got, (h.astype(float) ** 2 - (h * h).astype(float)).astype(np.float16))


def test_pairs_of_halves() -> None:
    x = np.linspace(-3, 3, 32).astype(np.float16)
    got = apply("mul.rn.f16x2 {d}, {a}, {a};", x.view(np.uint32), result=np.uint32)
    np.testing.assert_array_equal(got.view(np.float16), x * x)
    f = np.linspace(-3, 3, 8, dtype=np.float32)
    got = apply("cvt.rn.bf16x2.f32 {d}, {a}, {b};", f, 2 * f, result=np.uint32).view(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(got[0::2], (2 * f).astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(got[1::2], f.astype(ml_dtypes.bfloat16))


COMPARISONS = {
    "lt": lambda x, y: x < y, "leu": lambda x, y: ~(x > y), "eq": lambda x, y: x == y, "neu": lambda x, y: x != y,
    "ne": lambda x, y: (x < y) | (x > y), "num": lambda x, y: ~(np.isnan(x) | np.isnan(y)),
    "nan": lambda x, y: np.isnan(x) | np.isnan(y), "geu": lambda x, y: ~(x < y),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_compare_floats(name: str) -> None:
    got = apply(f"setp.{name}.f32 %p1, {{a}}, {{b}}; selp.b32 {{d}}, 1, 0, %p1;", FX, FY, result=np.int32)
    np.testing.assert_array_equal(got, COMPARISONS[name](FX, FY))


def test_compare_integers_and_combine() -> None:
    text = "setp.gt.s32 %p0, {a}, 3; setp.lt.and.u32 %p1|%p2, {a}, {b}, %p0; selp.b32 {d}, 2, 0, %p1; @%p2 add.s32 {d}, {d}, 1;"
    less = X32.view(np.uint32) < Y32.view(np.uint32)
    want = 2 * (less & (X32 > 3)) + (~less & (X32 > 3))
    np.testing.assert_array_equal(apply(text, X32, Y32, result=np.int32), want)


words = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(words, words, st.integers(0, 40), st.integers(0, 40))
def test_fields(x: int, y: int, place: int, length: int) -> None:
    def run(text: str) -> int:
        a, b, c, e = (np.array([v], np.uint32) for v in (x, y, place, length))
        return int(apply(text, a, b, c, e, result=np.uint32)[0])

    inside = min(length, max(0, 32 - place))
    mask = (1 << inside) - 1
    want = (x >> place) & mask
    assert run("bfe.u32 {d}, {a}, {c}, {e};") == want
    sign = x >> min(place + length - 1, 31) & 1 if length else 0
    assert run("bfe.s32 {d}, {a}, {c}, {e};") == (want | (~mask if sign else 0)) & 0xFFFFFFFF
    window = (((1 << length) - 1) << place) & 0xFFFFFFFF
    assert run("bfi.b32 {d}, {a}, {b}, {c}, {e};") == (x << place & window) | (y & ~window & 0xFFFFFFFF)
    by = place & 31
    both = y << 32 | x
    assert run("shf.l.wrap.b32 {d}, {a}, {b}, {c};") == (both << by >> 32) & 0xFFFFFFFF
    assert run("shf.r.wrap.b32 {d}, {a}, {b}, {c};") == (both >> by) & 0xFFFFFFFF
    picked = 0
    for k in range(4):
        pick = place * 2654435761 >> 4 * k & 15
        byte = both >> 8 * (pick & 7) & 255
        picked |= (byte if not pick & 8 else 255 if byte > 127 else 0) << 8 * k
    assert run("mul.lo.u32 %w9, {c}, 2654435761; prmt.b32 {d}, {a}, {b}, %w9;") == picked
    want = sum(_signed(x >> k) * _signed(y >> k) for k in (0, 8, 16, 24)) + place
    assert run("dp4a.s32.s32 {d}, {a}, {b}, {c};") == want & 0xFFFFFFFF
    assert run("lop3.b32 {d}, {a}, {b}, {c}, 0xE8;") == (x & y) | (x & place) | (y & place)


def _signed(x: int) -> int:
    return (x & 255) - 256 * (x >> 7 & 1)


def test_wide_products() -> None:
    got = apply("mad.wide.s32 {d}, {a}, {b}, {c};", X32, Y32, X32.astype(np.int64), result=np.int64)
    np.testing.assert_array_equal(got, X32.astype(np.int64) * Y32 + X32)
    x = I64[:, None].repeat(4, 1).ravel()
    y = np.tile(I64[-4:], len(I64))
    want = [(int(a) * int(b) >> 64) & (2**64 - 1) for a, b in zip(x, y, strict=True)]
    got = apply("mul.hi.s64 {d}, {a}, {b};", x, y, result=np.uint64)
    np.testing.assert_array_equal(got, np.array(want, np.uint64))


def test_unknown_instruction_is_named() -> None:
    with pytest.raises(PtxError, match=r"ptx:11: error: the emulator does not know the instruction 'frob.u32'"):
        launch("frob.u32 %w1, %w2;", [])
    with pytest.raises(PtxError, match="unknown name 'nowhere'"):
        launch("mov.u32 %w1, nowhere;", [])
    with pytest.raises(PtxError, match="expected a declaration"):
        Module("hello")
    with pytest.raises(PtxError, match="unknown label 'away'"):
        launch("bra away;", [])


def test_locals_constants_calls_and_tables() -> None:
    """What LLVM makes of arrays on the stack, constant tables, calls and a switch."""
    text = from_llvm(
        """
        target triple = "nvptx64-nvidia-cuda"
        @c = internal addrspace(4) constant [4 x i32] [i32 10, i32 20, i32 30, i32 40]
        @g = internal addrspace(1) global [4 x i32] [i32 1, i32 2, i32 3, i32 4]
        declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
        define internal i32 @twice(i32 %x, ptr %p) noinline {
          %y = mul i32 %x, 2
          %old = load i32, ptr %p
          %z = add i32 %y, %old
          store i32 %z, ptr %p
          ret i32 %z
        }
        define ptx_kernel void @k(ptr addrspace(1) %out, i32 %n) {
          %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
          %a = alloca [4 x i32], align 4
          %i = and i32 %t, 3
          %cp = getelementptr i32, ptr addrspace(4) @c, i32 %i
          %cv = load i32, ptr addrspace(4) %cp
          %gp = getelementptr i32, ptr addrspace(1) @g, i32 %i
          %gv = load i32, ptr addrspace(1) %gp
          %ap = getelementptr i32, ptr %a, i32 %i
          store i32 %cv, ptr %ap
          %r = call i32 @twice(i32 %gv, ptr %ap)
          %again = call i32 @twice(i32 %r, ptr %ap)
          %op = getelementptr i32, ptr addrspace(1) %out, i32 %t
          switch i32 %i, label %rest [ i32 0, label %zero
            i32 1, label %one
            i32 2, label %two
            i32 3, label %three
            i32 4, label %rest ]
        zero:
          store i32 %again, ptr addrspace(1) %op
          ret void
        one:
          %o = add i32 %again, 1000
          store i32 %o, ptr addrspace(1) %op
          br label %rest
        two:
          %w = add i32 %again, 2000
          store i32 %w, ptr addrspace(1) %op
          br label %rest
        three:
          %e = sub i32 %again, %n
          store i32 %e, ptr addrspace(1) %op
          br label %rest
        rest:
          ret void
        }"""
    )
    out = np.zeros(8, np.int32)
    Module(text).launch("k", 1, 8, [out, 7])

    def value(i: int) -> int:
        first = 2 * (i + 1) + 10 * (i + 1)
        return 2 * first + first + [0, 1000, 2000, -7][i]

    np.testing.assert_array_equal(out, [value(i % 4) for i in range(8)])


ATOMICS = {
    "add.s32": (np.int32, lambda x: x.sum()),
    "add.f32": (np.float32, lambda x: x.sum()),
    "min.s32": (np.int32, lambda x: min(x.min(), 0)),
    "max.u32": (np.uint32, lambda x: x.max()),
    "or.b32": (np.int32, lambda x: np.bitwise_or.reduce(x)),
    "add.u64": (np.uint64, lambda x: x.sum()),
    "add.noftz.f16": (np.float16, lambda x: x.sum()),
}


@pytest.mark.parametrize("name", ATOMICS)
def test_atomics(name: str) -> None:
    dtype, meaning = ATOMICS[name]
    x = (np.arange(32) * 3 - (16 if np.dtype(dtype).kind != "u" else 0)).astype(dtype)
    out, old = np.zeros(1, dtype), np.zeros(32, dtype)
    bits, register = 8 * x.itemsize, {2: "%h", 4: "%w", 8: "%d"}[x.itemsize]
    body = f"""cvt.u64.u32 %a5, %t0; mad.lo.u64 %a6, %a5, {x.itemsize}, %a0; mad.lo.u64 %a7, %a5, {x.itemsize}, %a2;
    ld.global.b{bits} {register}1, [%a6]; atom.global.{name} {register}2, [%a1], {register}1;
    st.global.b{bits} [%a7], {register}2;"""
    launch(body, [x, out, old])
    assert out[0] == meaning(x)
    assert old[0] == 0


def test_compare_and_swap_keeps_the_first() -> None:
    out = np.zeros(1, np.int32)
    launch("add.u32 %w1, %t0, 5; atom.relaxed.sys.global.cas.b32 %w2, [%a0], 0, %w1;", [out])
    assert out[0] == 5


def test_special_registers_and_grids() -> None:
    out = np.zeros((2, 3, 40, 4), np.int32)
    body = """mov.u32 %w1, %ctaid.y; mov.u32 %w2, %nctaid.x; mov.u32 %w3, %ctaid.x; mad.lo.u32 %w4, %w1, %w2, %w3;
    mov.u32 %w5, %ntid.x; mov.u32 %w6, %tid.y; mad.lo.u32 %w7, %w6, %w5, %t0; mad.lo.u32 %w8, %w4, 40, %w7;
    mad.wide.u32 %a1, %w8, 16, %a0; mov.u32 %w9, %laneid; mov.u32 %w10, %warpid; mov.u32 %w11, %lanemask_lt;
    st.global.v4.b32 [%a1], {%w4, %w9, %w10, %w11};"""
    module(kernel(body, 1)).launch("k", (3, 2), (20, 2), [out])
    place = np.arange(40)
    for b, got in enumerate(out.reshape(6, 40, 4)):
        np.testing.assert_array_equal(got[:, 0], b)
        np.testing.assert_array_equal(got[:, 1], place % 32)
        np.testing.assert_array_equal(got[:, 2], place // 32)
        np.testing.assert_array_equal(got[:, 3].view(np.uint32), (1 << (place % 32).astype(np.int64)) - 1)
