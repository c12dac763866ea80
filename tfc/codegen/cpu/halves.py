"""Half floats: f16 and bf16 to f32 and back, exactly, without a library call.

Values are held as ``i16``. Where the target has no instruction for a conversion, LLVM would
call ``__truncsfhf2``, which libc does not have; the arithmetic is done here instead.
Rounding is to nearest, ties to even; NaN stays NaN.
"""

from __future__ import annotations

import struct

import numpy as np

from tfc.codegen.cpu.ir import Code, Kind, literal


def f16_bits(value: float) -> int:
    with np.errstate(over="ignore"):
        return int(np.float16(value).view(np.uint16))


def bf16_bits(value: float) -> int:
    with np.errstate(over="ignore"):
        (bits,) = struct.unpack("<I", np.float32(value).tobytes())
    if value != value:
        return 0x7FC0
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def from_bf16(code: Code, kind: Kind, x: str) -> str:
    """The f32 whose upper half is ``x``."""
    whole, single = kind.of("i32"), kind.of("float")
    wide = code.cast("zext", kind, x, whole)
    return code.bitcast(whole, code.op(f"shl {whole.text} {wide}, {literal(whole, 16)}"), single)


def to_bf16(code: Code, kind: Kind, x: str) -> str:
    """Round the f32 ``x``: add half of the last kept bit, and what breaks ties to even."""
    if code.target.isa.brain:
        brain = kind.of("bfloat")
        return code.bitcast(brain, code.cast("fptrunc", kind, x, brain), kind.of("i16"))
    whole = kind.bits
    bits = code.bitcast(kind, x, whole)
    upper = code.op(f"lshr {whole.text} {bits}, {literal(whole, 16)}")
    odd = code.op(f"and {whole.text} {upper}, {literal(whole, 1)}")
    bias = code.op(f"add {whole.text} {odd}, {literal(whole, 0x7FFF)}")
    rounded = code.op(f"add {whole.text} {bits}, {bias}")
    kept = code.op(f"lshr {whole.text} {rounded}, {literal(whole, 16)}")
    quiet = code.op(f"or {whole.text} {upper}, {literal(whole, 0x40)}")
    is_nan = code.op(f"fcmp uno {kind.text} {x}, {x}")
    result = code.select(is_nan, whole, quiet, kept)
    return code.cast("trunc", whole, result, whole.of("i16"))


def from_f16(code: Code, kind: Kind, x: str) -> str:
    """f16 to f32."""
    single = kind.of("float")
    if code.target.isa.half:
        half = kind.of("half")
        return code.cast("fpext", half, code.bitcast(kind, x, half), single)
    whole = kind.of("i32")
    wide = code.cast("zext", kind, x, whole)
    # Exponent and fraction moved to their place read as a number 2**112 times too small;
    # the product is exact, also for subnormals. Infinity and NaN want the whole exponent.
    magnitude = code.op(f"and {whole.text} {wide}, {literal(whole, 0x7FFF)}")
    moved = code.op(f"shl {whole.text} {magnitude}, {literal(whole, 13)}")
    number = code.bitcast(whole, moved, single)
    scaled = code.op(f"fmul {single.text} {number}, {literal(single, 2.0**112)}")
    special = code.op(f"icmp uge {whole.text} {magnitude}, {literal(whole, 0x7C00)}")
    infinite = code.op(f"or {whole.text} {moved}, {literal(whole, 0x7F800000)}")
    bits = code.select(special, whole, infinite, code.bitcast(single, scaled, whole))
    sign = code.op(f"and {whole.text} {wide}, {literal(whole, 0x8000)}")
    place = code.op(f"shl {whole.text} {sign}, {literal(whole, 16)}")
    return code.bitcast(whole, code.op(f"or {whole.text} {bits}, {place}"), single)


def to_f16(code: Code, kind: Kind, x: str) -> str:
    """f32 to f16."""
    short = kind.of("i16")
    if code.target.isa.half:
        half = kind.of("half")
        return code.bitcast(half, code.cast("fptrunc", kind, x, half), short)
    whole = kind.bits
    bits = code.bitcast(kind, x, whole)
    magnitude = code.op(f"and {whole.text} {bits}, {literal(whole, 0x7FFFFFFF)}")
    # Normal results: rebias the exponent, round by adding to the fraction.
    odd = code.op(f"and {whole.text} {_shift(code, whole, magnitude, 13)}, {literal(whole, 1)}")
    rebias = literal(whole, 0xFFF - (112 << 23))
    rounded = code.op(f"add {whole.text} {code.op(f'add {whole.text} {magnitude}, {rebias}')}, {odd}")
    normal = _shift(code, whole, rounded, 13)
    # Subnormal results: an addition to 0.5 rounds at the bit that counts.
    absolute = code.bitcast(whole, magnitude, kind)
    shifted = code.op(f"fadd {kind.text} {absolute}, {literal(kind, 0.5)}")
    small = code.op(
        f"sub {whole.text} {code.bitcast(kind, shifted, whole)}, {literal(whole, 0x3F000000)}"
    )
    is_small = code.op(f"icmp ult {whole.text} {magnitude}, {literal(whole, 113 << 23)}")
    result = code.select(is_small, whole, small, normal)
    over = code.op(f"icmp uge {whole.text} {magnitude}, {literal(whole, 143 << 23)}")
    result = code.select(over, whole, literal(whole, 0x7C00), result)
    payload = code.op(f"and {whole.text} {_shift(code, whole, magnitude, 13)}, {literal(whole, 0x3FF)}")
    quiet = code.op(f"or {whole.text} {payload}, {literal(whole, 0x7E00)}")
    is_nan = code.op(f"icmp ugt {whole.text} {magnitude}, {literal(whole, 0x7F800000)}")
    result = code.select(is_nan, whole, quiet, result)
    sign = code.op(f"and {whole.text} {_shift(code, whole, bits, 16)}, {literal(whole, 0x8000)}")
    return code.cast("trunc", whole, code.op(f"or {whole.text} {result}, {sign}"), short)


def _shift(code: Code, kind: Kind, x: str, by: int) -> str:
    return code.op(f"lshr {kind.text} {x}, {literal(kind, by)}")


def round_to_odd(code: Code, kind: Kind, x: str) -> str:
    """f64 to f32 such that rounding once more, to fewer bits, is as if it were the first time.

    The result is cut toward zero, and its last bit is set where anything was cut off.
    """
    single, whole = kind.of("float"), kind.of("i32")
    near = code.cast("fptrunc", kind, x, single)
    back = code.cast("fpext", single, near, kind)
    bits = code.bitcast(single, near, whole)
    larger = code.op(
        f"fcmp ogt {kind.text} {code.intrinsic('fabs', kind, [back])}, {code.intrinsic('fabs', kind, [x])}"
    )
    cut = code.op(f"sub {whole.text} {bits}, {code.cast('zext', kind.truth, larger, whole)}")
    inexact = code.op(f"fcmp one {kind.text} {back}, {x}")
    odd = code.op(f"or {whole.text} {cut}, {code.cast('zext', kind.truth, inexact, whole)}")
    return code.bitcast(whole, odd, single)
