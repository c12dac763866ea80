"""Floating-point arithmetic and conversions.

Halves and bfloats are computed in wider formats and rounded once: exact, as these have more than twice the
digits. Approximate functions (``ex2.approx``, ``rsqrt.approx``, ...) are computed as well as this machine can; what
rests on their errors, a GPU must show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfc.emulator.integers import signed
from tfc.emulator.syntax import WIDTHS, Instruction, Operand
from tfc.emulator.translate import FLOATS, Rule, Translator

_PARTS = {"f16x2": "f16", "bf16x2": "bf16", "f32x2": "f32"}
_ROUNDINGS = {"rz", "rm", "rp"}

TO_BFLOAT = """define internal i16 @bfloat.of.float(float %x) alwaysinline {
  %bits = bitcast float %x to i32
  %high = lshr i32 %bits, 16
  %odd = and i32 %high, 1
  %bias = add i32 %odd, 32767
  %sum = add i32 %bits, %bias
  %rounded = lshr i32 %sum, 16
  %nan = fcmp uno float %x, 0.0
  %chosen = select i1 %nan, i32 32767, i32 %rounded
  %result = trunc i32 %chosen to i16
  ret i16 %result
}
"""

TO_ODD = """define internal float @float.odd(double %x) alwaysinline {
  ; To the neighbour with an odd last bit where a digit is lost: rounding again is then as rounding once.
  %near = fptrunc double %x to float
  %back = fpext float %near to double
  %exact = fcmp ueq double %back, %x
  %size = call double @llvm.fabs.f64(double %x)
  %reached = call double @llvm.fabs.f64(double %back)
  %over = fcmp ogt double %reached, %size
  %bits = bitcast float %near to i32
  %less = sub i32 %bits, 1
  %down = select i1 %over, i32 %less, i32 %bits
  %odd = or i32 %down, 1
  %kept = select i1 %exact, i32 %bits, i32 %odd
  %result = bitcast i32 %kept to float
  ret float %result
}
"""


def carrier(kind: str) -> str:
    """The type of LLVM that a value of ``kind`` is held in."""
    return "float" if kind == "bf16" else FLOATS[kind]


def operand(t: Translator, x: Operand, kind: str) -> str:
    """An operand in the carrier of its type."""
    if kind == "bf16":
        return from_bits(t, t.read(x, 16), kind)
    return t.float(x, kind)


def from_bits(t: Translator, bits: str, kind: str) -> str:
    if kind == "bf16":
        return t.set(f"bitcast i32 {t.set(f'shl i32 {t.resize(bits, 16, 32, False)}, 16')} to float")
    return t.set(f"bitcast i{WIDTHS[kind]} {bits} to {FLOATS[kind]}")


def bits_of(t: Translator, value: str, kind: str) -> str:
    """The bits of a value in its carrier; a bfloat is rounded."""
    if kind == "bf16":
        t.define("bfloat.of.float", TO_BFLOAT)
        return t.set(f"call i16 @bfloat.of.float(float {value})")
    return t.set(f"bitcast {FLOATS[kind]} {value} to i{WIDTHS[kind]}")


def widened(t: Translator, value: str, held: str, to: str) -> str:
    return value if held == to else t.set(f"fpext {held} {value} to {to}")


def narrowed(t: Translator, value: str, held: str, kind: str) -> str:
    """The bits of ``value`` rounded once to ``kind``."""
    if held == "double" and kind in ("f16", "bf16"):
        t.define("llvm.fabs.f64", "declare double @llvm.fabs.f64(double)")
        t.define("float.odd", TO_ODD)
        value, held = t.set(f"call float @float.odd(double {value})"), "float"
    target = carrier(kind)
    if held != target:
        value = t.set(f"{'fptrunc' if held != 'half' else 'fpext'} {held} {value} to {target}")
    return bits_of(t, value, kind)


def flushed(t: Translator, op: Instruction, value: str, kind: str) -> str:
    """Subnormals of f32 are zeros under ``.ftz``."""
    if "ftz" not in op.modifiers or kind != "f32":
        return value
    small = t.set(f"fcmp olt float {t.call('llvm.fabs.f32', 'float', [value])}, 0x3810000000000000")
    zero = t.call("llvm.copysign.f32", "float", ["0.0", value])
    return t.set(f"select i1 {small}, float {zero}, float {value}")


def arithmetic(count: int, compute: Callable[[Translator, Instruction, str, list[str]], str]) -> Rule:
    """An operation of ``count`` operands, on one value or each of a pair, in a format of twice the digits."""

    def rule(t: Translator, op: Instruction) -> None:
        kind = op.type
        if kind in _PARTS:
            part = _PARTS[kind]
            width = WIDTHS[part]
            whole = [t.read(x, 2 * width) for x in op.operands[1 : 1 + count]]
            result = "0"
            for half in range(2):
                values = [from_bits(t, _piece(t, v, width, half), part) for v in whole]
                one = t.resize(_one(t, op, part, values), width, 2 * width, False)
                result = t.set(f"or i{2 * width} {result}, {t.set(f'shl i{2 * width} {one}, {width * half}')}")
            t.write(op.operands[0], result, 2 * width)
        else:
            values = [operand(t, x, kind) for x in op.operands[1 : 1 + count]]
            t.write(op.operands[0], _one(t, op, kind, values), WIDTHS[kind])

    def _one(t: Translator, op: Instruction, kind: str, values: Sequence[str]) -> str:
        if _ROUNDINGS & set(op.modifiers):
            raise t.unknown()
        held = carrier(kind)
        values = [flushed(t, op, v, kind) for v in values]
        format = {"f16": "double", "bf16": "double"}.get(kind, held) if op.name in ("fma", "mad") else held
        format = "float" if format == "half" else format
        values = [widened(t, v, held, format) for v in values]
        found = compute(t, op, format, values)
        if "sat" in op.modifiers:
            low = t.call(f"llvm.maxnum.{_mangled(format)}", format, [found, "0.0"])
            found = t.call(f"llvm.minnum.{_mangled(format)}", format, [low, "1.0"])
        if "relu" in op.modifiers:
            found = t.call(f"llvm.maximum.{_mangled(format)}", format, [found, "0.0"])
        if format == "float" and kind == "f32":
            found = flushed(t, op, found, kind)
        return narrowed(t, found, format, kind)

    return rule


def _piece(t: Translator, whole: str, width: int, half: int) -> str:
    return t.resize(t.set(f"lshr i{2 * width} {whole}, {width * half}") if half else whole, 2 * width, width, False)


def _mangled(format: str) -> str:
    return "f64" if format == "double" else "f32"


def _binary(name: str) -> Rule:
    return arithmetic(2, lambda t, op, f, v: t.set(f"{name} {f} {v[0]}, {v[1]}"))


def _function(name: str) -> Rule:
    return arithmetic(1, lambda t, op, f, v: t.call(f"llvm.{name}.{_mangled(f)}", f, v))


def _extreme(t: Translator, op: Instruction, format: str, v: list[str]) -> str:
    name = ("maximum" if op.name == "max" else "minimum") + ("" if "NaN" in op.modifiers else "num")
    if "xorsign" in op.modifiers:
        raise t.unknown()
    return t.call(f"llvm.{name}.{_mangled(format)}", format, v)


def _reciprocal(t: Translator, op: Instruction, format: str, v: list[str]) -> str:
    if op.name == "rsqrt":
        v = [t.call(f"llvm.sqrt.{_mangled(format)}", format, v)]
    return t.set(f"fdiv {format} 1.0, {v[0]}")


def sign_bit(t: Translator, op: Instruction) -> None:
    """``neg`` and ``abs`` change the sign's bit and nothing else."""
    kind = op.type
    part = _PARTS.get(kind, kind)
    width, bits = WIDTHS[kind], WIDTHS[part]
    mask = sum(1 << (k + bits - 1) for k in range(0, width, bits))
    x = t.read(op.operands[1], width)
    if op.name == "neg":
        t.write(op.operands[0], t.set(f"xor i{width} {x}, {mask}"), width)
    else:
        t.write(op.operands[0], t.set(f"and i{width} {x}, {~mask & (1 << width) - 1}"), width)


def copy_sign(t: Translator, op: Instruction) -> None:
    """``copysign d, a, b``: the size of b with the sign of a."""
    width = t.width(op.type)
    sign, size = (t.read(x, width) for x in op.operands[1:3])
    top = 1 << width - 1
    found = t.set(f"or i{width} {t.set(f'and i{width} {sign}, {top}')}, {t.set(f'and i{width} {size}, {top - 1}')}")
    t.write(op.operands[0], found, width)


def test_property(t: Translator, op: Instruction) -> None:
    value, text, m = t.float(op.operands[1], op.type), FLOATS[op.type], _mangled(FLOATS[op.type])
    masks = {"finite": 504, "infinite": 516, "number": 1020, "notanumber": 3, "normal": 264, "subnormal": 144}
    t.define(f"llvm.is.fpclass.{m}", f"declare i1 @llvm.is.fpclass.{m}({text}, i32)")
    found = t.set(f"call i1 @llvm.is.fpclass.{m}({text} {value}, i32 {masks[op.modifiers[0]]})")
    t.write(op.operands[0], found, 1)


def convert(t: Translator, op: Instruction) -> None:
    """``cvt``: between integers, between floats, and from one to the other."""
    if op.type == "f32" and op.modifiers[-2] in ("f16x2", "bf16x2"):
        part = op.modifiers[-2][:-2]
        high, low = (_float_to_float(t, op, operand(t, x, "f32"), "f32", part) for x in op.operands[1:3])
        high = t.set(f"shl i32 {t.resize(high, 16, 32, False)}, 16")
        t.write(op.operands[0], t.set(f"or i32 {high}, {t.resize(low, 16, 32, False)}"), 32)
        return
    to, kind = op.modifiers[-2:]
    floats = (*FLOATS, "bf16")
    if to == "tf32":
        t.write(op.operands[0], _tf32(t, op), 32)
    elif kind in floats and to in floats:
        t.write(op.operands[0], _float_to_float(t, op, operand(t, op.operands[1], kind), kind, to), WIDTHS[to])
    elif kind in floats:
        t.write(op.operands[0], _float_to_int(t, op, kind, to), WIDTHS[to], signed(to))
    elif to in floats:
        _int_to_float(t, op, kind, to)
    else:
        _int_to_int(t, op, kind, to)


def _tf32(t: Translator, op: Instruction) -> str:
    """f32 with 10 digits after the point: to nearest, ties away from zero (rna) or to even (rn), or cut (rz)."""
    bits = t.read(op.operands[1], 32)
    nan = t.set(f"fcmp uno float {t.float(op.operands[1], 'f32')}, 0.0")
    if "rz" in op.modifiers:
        bias = "0"
    elif "rna" in op.modifiers:
        bias = "4096"
    else:
        odd = t.set(f"and i32 {t.set(f'lshr i32 {bits}, 13')}, 1")
        bias = t.set(f"add i32 {odd}, 4095")
    rounded = t.set(f"and i32 {t.set(f'add i32 {bits}, {bias}')}, -8192")
    return t.set(f"select i1 {nan}, i32 2147483647, i32 {rounded}")


def _float_to_float(t: Translator, op: Instruction, value: str, kind: str, to: str) -> str:
    integral = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
    held = carrier(kind)
    rounding = next((m for m in op.modifiers if m in integral), None)
    if held == "half":
        value, held = widened(t, value, "half", "float"), "float"
    value = flushed(t, op, value, kind)
    if rounding:
        value = t.call(f"llvm.{integral[rounding]}.{_mangled(held)}", held, [value])
    if "relu" in op.modifiers:
        value = t.call(f"llvm.maximum.{_mangled(held)}", held, [value, "0.0"])
    if "sat" in op.modifiers:
        low = t.call(f"llvm.maxnum.{_mangled(held)}", held, [value, "0.0"])
        value = t.call(f"llvm.minnum.{_mangled(held)}", held, [low, "1.0"])
    if _ROUNDINGS & set(op.modifiers):
        raise t.unknown()
    if to == "f64" and held == "float":
        return bits_of(t, widened(t, value, "float", "double"), "f64")
    if to == "f32" and held == "double":
        return bits_of(t, flushed(t, op, t.set(f"fptrunc double {value} to float"), "f32"), "f32")
    return narrowed(t, value, held, to)


def _float_to_int(t: Translator, op: Instruction, kind: str, to: str) -> str:
    """Rounded, kept in the range of the type; NaN is 0, or the top bit where 64 bits take part."""
    integral = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
    rounding = next((m for m in op.modifiers if m in integral), None)
    if rounding is None:
        raise t.unknown()
    held, width = carrier(kind), WIDTHS[to]
    value = operand(t, op.operands[1], kind)
    if held == "half":
        value, held = widened(t, value, "half", "float"), "float"
    value = flushed(t, op, value, kind)
    value = t.call(f"llvm.{integral[rounding]}.{_mangled(held)}", held, [value])
    name = f"llvm.fpto{'s' if signed(to) else 'u'}i.sat.i{width}.{_mangled(held)}"
    found = t.call(name, held, [value], f"i{width}")
    if kind == "f64" or width == 64:
        nan = t.set(f"fcmp uno {held} {value}, 0.0")
        found = t.set(f"select i1 {nan}, i{width} {1 << width - 1}, i{width} {found}")
    return found


def _int_to_float(t: Translator, op: Instruction, kind: str, to: str) -> None:
    width = WIDTHS[kind]
    if _ROUNDINGS & set(op.modifiers):
        raise t.unknown()
    value = t.read(op.operands[1], width)
    # An integer of 64 bits has more digits than a double: it reaches a half through its nearest float
    # only where both agree, and halves end at 65504, so the way over a double is exact where it matters.
    held = "double" if to in ("f16", "bf16", "f64") else "float"
    value = t.set(f"{'s' if signed(kind) else 'u'}itofp i{width} {value} to {held}")
    t.write(op.operands[0], narrowed(t, value, held, to), WIDTHS[to])


def _int_to_int(t: Translator, op: Instruction, kind: str, to: str) -> None:
    own, width = t.width(kind), t.width(to)
    value = t.read(op.operands[1], own)
    if "sat" in op.modifiers:
        wide = max(own, width) + 1
        value = t.resize(value, own, wide, signed(kind))
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed(to) else (0, (1 << width) - 1)
        for test, bound in (("slt", low), ("sgt", high)):
            beyond = t.set(f"icmp {test} i{wide} {value}, {bound}")
            value = t.set(f"select i1 {beyond}, i{wide} {bound}, i{wide} {value}")
        t.write(op.operands[0], t.resize(value, wide, width, False), width, signed(to))
    else:
        t.write(op.operands[0], t.resize(value, own, width, signed(kind)), width, signed(to))


RULES: dict[str, Rule] = {
    "add": _binary("fadd"),
    "sub": _binary("fsub"),
    "mul": _binary("fmul"),
    "div": _binary("fdiv"),
    "fma": arithmetic(3, lambda t, op, f, v: t.call(f"llvm.fma.{_mangled(f)}", f, v)),
    "min": arithmetic(2, _extreme),
    "max": arithmetic(2, _extreme),
    "sqrt": _function("sqrt"),
    "rcp": arithmetic(1, _reciprocal),
    "rsqrt": arithmetic(1, _reciprocal),
    "ex2": _function("exp2"),
    "lg2": _function("log2"),
    "sin": _function("sin"),
    "cos": _function("cos"),
    "tanh": _function("tanh"),
    "neg": sign_bit,
    "abs": sign_bit,
    "copysign": copy_sign,
    "testp": test_property,
    "cvt": convert,
}
