"""Integer arithmetic, logic, shifts, comparisons, selections and moves."""

from __future__ import annotations

from collections.abc import Callable

from tfc.emulator.syntax import Instruction
from tfc.emulator.translate import FLOATS, Rule, Translator

_SIMPLE = {"and": "and", "or": "or", "xor": "xor", "add": "add", "sub": "sub"}
_COMPARE = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_UNSIGNED = {"lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge"}
_FLOAT_COMPARE = {c: f"o{c}" for c in _COMPARE} | {f"{c}u": f"u{c}" for c in _COMPARE} | {"num": "ord", "nan": "uno"}
_FLOAT_COMPARE["ne"] = "one"


def is_float(kind: str) -> bool:
    return kind in FLOATS or kind in ("bf16", "f16x2", "bf16x2", "f32x2")


def signed(kind: str) -> bool:
    return kind.startswith("s")


def simple(t: Translator, op: Instruction) -> None:
    """``and`` ``or`` ``xor`` ``add`` ``sub``, with saturation where it says so."""
    width = t.width(op.type)
    x, y = (t.read(o, width) for o in op.operands[1:])
    if "sat" in op.modifiers:
        t.write(op.operands[0], t.call(f"llvm.s{op.name}.sat.i{width}", f"i{width}", [x, y]), width)
    elif "cc" in op.modifiers:
        raise t.unknown()
    else:
        t.write(op.operands[0], t.set(f"{_SIMPLE[op.name]} i{width} {x}, {y}"), width)


def invert(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    t.write(op.operands[0], t.set(f"xor i{width} {t.read(op.operands[1], width)}, -1"), width)


def cnot(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    zero = t.set(f"icmp eq i{width} {t.read(op.operands[1], width)}, 0")
    t.write(op.operands[0], t.set(f"zext i1 {zero} to i{width}"), width)


def negate(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    t.write(op.operands[0], t.set(f"sub i{width} 0, {t.read(op.operands[1], width)}"), width)


def absolute(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    x = t.read(op.operands[1], width)
    minus = t.set(f"sub i{width} 0, {x}")
    below = t.set(f"icmp slt i{width} {x}, 0")
    t.write(op.operands[0], t.set(f"select i1 {below}, i{width} {minus}, i{width} {x}"), width)


def extreme(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    x, y = (t.read(o, width) for o in op.operands[1:3])
    name = f"llvm.{'s' if signed(op.type) else 'u'}{op.name}.i{width}"
    t.write(op.operands[0], t.call(name, f"i{width}", [x, y]), width)


def product(t: Translator, op: Instruction, part: str, x: str, y: str) -> tuple[str, int]:
    """A product, or half of it, and its width."""
    width = t.width(op.type)
    if part == "lo":
        return t.set(f"mul i{width} {x}, {y}"), width
    wide, sign = 2 * width, signed(op.type)
    x, y = (t.resize(v, width, wide, sign) for v in (x, y))
    both = t.set(f"mul i{wide} {x}, {y}")
    if part == "wide":
        return both, wide
    return t.resize(t.set(f"lshr i{wide} {both}, {width}"), wide, width, False), width


def multiply(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    part = next((m for m in op.modifiers if m in ("lo", "hi", "wide")), "lo")
    x, y = (t.read(o, width) for o in op.operands[1:3])
    value, found = product(t, op, part, x, y)
    t.write(op.operands[0], value, found, signed(op.type))


def multiply_add(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    part = next((m for m in op.modifiers if m in ("lo", "hi", "wide")), "lo")
    x, y = (t.read(o, width) for o in op.operands[1:3])
    value, found = product(t, op, part, x, y)
    third = t.read(op.operands[3], found, signed(op.type))
    if "sat" in op.modifiers or "cc" in op.modifiers:
        raise t.unknown()
    t.write(op.operands[0], t.set(f"add i{found} {value}, {third}"), found)


def multiply_24(t: Translator, op: Instruction) -> None:
    if op.modifiers[0] != "lo":
        raise t.unknown()
    sign = signed(op.type)
    values: list[str] = []
    for x in op.operands[1:3]:
        high = t.set(f"shl i32 {t.read(x, 32)}, 8")
        values.append(t.set(f"{'ashr' if sign else 'lshr'} i32 {high}, 8"))
    value = t.set(f"mul i32 {values[0]}, {values[1]}")
    if op.name == "mad24":
        value = t.set(f"add i32 {value}, {t.read(op.operands[3], 32)}")
    t.write(op.operands[0], value, 32)


def divide(t: Translator, op: Instruction) -> None:
    """Division by zero gives all ones, and leaves the dividend; so does no overflow trap."""
    width, sign = t.width(op.type), signed(op.type)
    x, y = (t.read(o, width) for o in op.operands[1:3])
    zero = t.set(f"icmp eq i{width} {y}, 0")
    bad, special = zero, "-1" if op.name == "div" else x
    safe = t.set(f"select i1 {zero}, i{width} 1, i{width} {y}")
    if sign:
        minus = t.set(f"icmp eq i{width} {y}, -1")
        safe = t.set(f"select i1 {minus}, i{width} 1, i{width} {safe}")
        negated = t.set(f"sub i{width} 0, {x}") if op.name == "div" else "0"
        special = t.set(f"select i1 {minus}, i{width} {negated}, i{width} {special}")
        bad = t.set(f"or i1 {zero}, {minus}")
    found = t.set(f"{'s' if sign else 'u'}{op.name} i{width} {x}, {safe}")
    t.write(op.operands[0], t.set(f"select i1 {bad}, i{width} {special}, i{width} {found}"), width)


def shift(t: Translator, op: Instruction) -> None:
    """Shifts by more than the width are shifts by the width."""
    width = t.width(op.type)
    x, by = t.read(op.operands[1], width), t.read(op.operands[2], 32)
    value = shifted(t, "shl" if op.name == "shl" else "ashr" if signed(op.type) else "lshr", x, by, width)
    t.write(op.operands[0], value, width)


def shifted(t: Translator, how: str, x: str, by: str, width: int) -> str:
    small = t.call("llvm.umin.i32", "i32", [by, str(width - 1 if how == "ashr" else width)])
    if how == "ashr":
        return t.set(f"ashr i{width} {x}, {t.resize(small, 32, width, False)}")
    inside = t.set(f"icmp ult i32 {small}, {width}")
    safe = t.set(f"select i1 {inside}, i32 {small}, i32 0")
    value = t.set(f"{how} i{width} {x}, {t.resize(safe, 32, width, False)}")
    return t.set(f"select i1 {inside}, i{width} {value}, i{width} 0")


def funnel(t: Translator, op: Instruction) -> None:
    low, high, by = (t.read(o, 32) for o in op.operands[1:4])
    if "clamp" in op.modifiers:
        by = t.call("llvm.umin.i32", "i32", [by, "32"])
    else:
        by = t.set(f"and i32 {by}, 31")
    high64, low64 = (t.resize(v, 32, 64, False) for v in (high, low))
    both = t.set(f"or i64 {t.set(f'shl i64 {high64}, 32')}, {low64}")
    by = t.resize(by, 32, 64, False)
    if op.modifiers[0] == "l":
        value = t.set(f"lshr i64 {t.set(f'shl i64 {both}, {by}')}, 32")
    else:
        value = t.set(f"lshr i64 {both}, {by}")
    t.write(op.operands[0], t.resize(value, 64, 32, False), 32)


def count_bits(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    x = t.read(op.operands[1], width)
    if op.name == "popc":
        t.write(op.operands[0], t.resize(t.call(f"llvm.ctpop.i{width}", f"i{width}", [x]), width, 32, False), 32)
    elif op.name == "brev":
        t.write(op.operands[0], t.call(f"llvm.bitreverse.i{width}", f"i{width}", [x]), width)
    else:
        t.write(op.operands[0], leading(t, x, width), 32)


def leading(t: Translator, x: str, width: int) -> str:
    name = f"llvm.ctlz.i{width}"
    t.define(name, f"declare i{width} @{name}(i{width}, i1)")
    return t.resize(t.set(f"call i{width} @{name}(i{width} {x}, i1 false)"), width, 32, False)


def find_bit(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    x = t.read(op.operands[1], width)
    if signed(op.type):
        x = t.set(f"xor i{width} {x}, {t.set(f'ashr i{width} {x}, {width - 1}')}")
    zeros = leading(t, x, width)
    none = t.set(f"icmp eq i32 {zeros}, {width}")
    found = zeros if "shiftamt" in op.modifiers else t.set(f"sub i32 {width - 1}, {zeros}")
    t.write(op.operands[0], t.set(f"select i1 {none}, i32 -1, i32 {found}"), 32)


def extract_field(t: Translator, op: Instruction) -> None:
    width, sign = t.width(op.type), signed(op.type)
    x = t.read(op.operands[1], width)
    place, length = (t.set(f"and i32 {t.read(o, 32)}, 255") for o in op.operands[2:4])
    end = t.call("llvm.umin.i32", "i32", [t.set(f"add i32 {place}, {length}"), str(width)])
    up = t.set(f"sub i32 {width}, {end}")
    down = t.call("llvm.usub.sat.i32", "i32", [str(width), t.call("llvm.usub.sat.i32", "i32", [end, place])])
    high = shifted(t, "shl", x, up, width)
    value = shifted(t, "ashr" if sign else "lshr", high, down, width)
    if sign:  # a field beyond the word is its sign; one of no bits is 0
        beyond = t.set(f"icmp uge i32 {place}, {width}")
        top = t.set(f"ashr i{width} {x}, {width - 1}")
        value = t.set(f"select i1 {beyond}, i{width} {top}, i{width} {value}")
    empty = t.set(f"icmp eq i32 {length}, 0")
    t.write(op.operands[0], t.set(f"select i1 {empty}, i{width} 0, i{width} {value}"), width)


def insert_field(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    x, y = (t.read(o, width) for o in op.operands[1:3])
    place, length = (t.set(f"and i32 {t.read(o, 32)}, 255") for o in op.operands[3:5])
    ones = t.set(f"xor i{width} {shifted(t, 'shl', '-1', length, width)}, -1")
    mask = shifted(t, "shl", ones, place, width)
    value = t.set(f"and i{width} {shifted(t, 'shl', x, place, width)}, {mask}")
    rest = t.set(f"and i{width} {y}, {t.set(f'xor i{width} {mask}, -1')}")
    t.write(op.operands[0], t.set(f"or i{width} {value}, {rest}"), width)


def permute(t: Translator, op: Instruction) -> None:
    """Each byte of the result is one of eight, or its sign."""
    if op.type != "b32":
        raise t.unknown()
    low, high, select = (t.read(o, 32) for o in op.operands[1:4])
    low64, high64 = (t.resize(v, 32, 64, False) for v in (low, high))
    both = t.set(f"or i64 {t.set(f'shl i64 {high64}, 32')}, {low64}")
    result = "0"
    for byte in range(4):
        pick = t.set(f"lshr i32 {select}, {4 * byte}")
        place = t.resize(t.set(f"shl i32 {t.set(f'and i32 {pick}, 7')}, 3"), 32, 64, False)
        found = t.resize(t.set(f"lshr i64 {both}, {place}"), 64, 8, False)
        sign = t.set(f"ashr i8 {found}, 7")
        wants = t.set(f"icmp ne i32 {t.set(f'and i32 {pick}, 8')}, 0")
        one = t.resize(t.set(f"select i1 {wants}, i8 {sign}, i8 {found}"), 8, 32, False)
        result = t.set(f"or i32 {result}, {t.set(f'shl i32 {one}, {8 * byte}')}")
    t.write(op.operands[0], result, 32)


def dot_bytes(t: Translator, op: Instruction) -> None:
    """``dp4a``: four products of bytes and a sum."""
    kinds = op.modifiers[-2:]
    x, y, total = (t.read(o, 32) for o in op.operands[1:4])
    for byte in range(4):
        parts = [
            t.resize(t.resize(t.set(f"lshr i32 {v}, {8 * byte}"), 32, 8, False), 8, 32, signed(kind))
            for v, kind in zip((x, y), kinds, strict=True)
        ]
        total = t.set(f"add i32 {total}, {t.set(f'mul i32 {parts[0]}, {parts[1]}')}")
    t.write(op.operands[0], total, 32)


def logic3(t: Translator, op: Instruction) -> None:
    """Any function of three bits, by its table."""
    x = [t.read(o, 32) for o in op.operands[1:4]]
    table = int(str(op.operands[4]), 0)
    inverse = [t.set(f"xor i32 {v}, -1") for v in x]
    result = "0"
    for row in range(8):
        if table >> row & 1:
            picks = [x[k] if row >> (2 - k) & 1 else inverse[k] for k in range(3)]
            term = t.set(f"and i32 {t.set(f'and i32 {picks[0]}, {picks[1]}')}, {picks[2]}")
            result = t.set(f"or i32 {result}, {term}")
    t.write(op.operands[0], result, 32)


def sad(t: Translator, op: Instruction) -> None:
    width, letter = t.width(op.type), "s" if signed(op.type) else "u"
    x, y, z = (t.read(o, width) for o in op.operands[1:4])
    high, low = (t.call(f"llvm.{letter}{m}.i{width}", f"i{width}", [x, y]) for m in ("max", "min"))
    t.write(op.operands[0], t.set(f"add i{width} {z}, {t.set(f'sub i{width} {high}, {low}')}"), width)


def compare(t: Translator, op: Instruction, how: str, kind: str) -> str:
    """``operands[1] how operands[2]`` as i1."""
    x, y = op.operands[1:3]
    if kind in ("f32", "f64", "f16", "bf16"):
        from tfc.emulator.floats import operand

        if how not in _FLOAT_COMPARE:
            raise t.unknown()
        text, values = ("float" if kind == "bf16" else FLOATS[kind]), [operand(t, o, kind) for o in (x, y)]
        return t.set(f"fcmp {_FLOAT_COMPARE[how]} {text} {values[0]}, {values[1]}")
    width = t.width(kind)
    if how in _UNSIGNED:
        test = _UNSIGNED[how]
    elif how in ("eq", "ne"):
        test = how
    elif how in _COMPARE:
        test = ("s" if signed(kind) else "u") + how
    else:
        raise t.unknown()
    return t.set(f"icmp {test} i{width} {t.read(x, width)}, {t.read(y, width)}")


def set_predicate(t: Translator, op: Instruction) -> None:
    """``setp.cmp.type p|q, a, b`` and ``setp.cmp.bool.type p|q, a, b, c``."""
    value = compare(t, op, op.modifiers[0], op.type)
    other = t.set(f"xor i1 {value}, true")
    if len(op.operands) > 3:
        how = next(m for m in op.modifiers if m in ("and", "or", "xor"))
        third = t.read(op.operands[3], 1)
        value, other = (t.set(f"{how} i1 {v}, {third}") for v in (value, other))
    first = op.operands[0]
    if isinstance(first, tuple):
        t.write(first[0], value, 1)
        t.write(first[1], other, 1)
    else:
        t.write(first, value, 1)


def set_value(t: Translator, op: Instruction) -> None:
    """``set.cmp.dtype.stype``: all ones or 1.0 where it holds."""
    to, kind = op.modifiers[-2:]
    holds = compare(t, op, op.modifiers[0], kind)
    if is_float(to):
        value = t.set(f"uitofp i1 {holds} to {FLOATS[to]}")
        t.write_float(op.operands[0], value, to)
    else:
        t.write(op.operands[0], t.set(f"sext i1 {holds} to i32"), 32)


def select(t: Translator, op: Instruction) -> None:
    width = t.width(op.type)
    x, y = (t.read(o, width) for o in op.operands[1:3])
    pick = t.read(op.operands[3], 1)
    t.write(op.operands[0], t.set(f"select i1 {pick}, i{width} {x}, i{width} {y}"), width)


def select_sign(t: Translator, op: Instruction) -> None:
    """``slct``: the first where the third is not negative."""
    width, kind = t.width(op.modifiers[-2]), op.type
    x, y = (t.read(o, width) for o in op.operands[1:3])
    if kind == "f32":
        pick = t.set(f"fcmp oge float {t.float(op.operands[3], 'f32')}, 0.0")
    else:
        pick = t.set(f"icmp sge i32 {t.read(op.operands[3], 32)}, 0")
    t.write(op.operands[0], t.set(f"select i1 {pick}, i{width} {x}, i{width} {y}"), width)


def move(t: Translator, op: Instruction) -> None:
    """A register, a number, an address; or parts of a word, put together or taken apart."""
    width = t.width(op.type)
    to, what = op.operands
    if isinstance(what, tuple):
        part = width // len(what)
        value = "0"
        for place, x in enumerate(what):
            one = t.resize(t.read(x, part), part, width, False)
            value = t.set(f"or i{width} {value}, {t.set(f'shl i{width} {one}, {place * part}')}")
        t.write(to, value, width)
    elif isinstance(to, tuple):
        part = width // len(to)
        value = t.read(what, width)
        for place, x in enumerate(to):
            t.write(x, t.resize(t.set(f"lshr i{width} {value}, {place * part}"), width, part, False), part)
    else:
        t.write(to, t.read(what, width), width)


def either(integer: Rule, floating: Callable[[], Rule]) -> Rule:
    """The rule of an opcode that integers and floats share."""

    def rule(t: Translator, op: Instruction) -> None:
        (floating() if is_float(op.type) else integer)(t, op)

    return rule


def _floats(name: str) -> Callable[[], Rule]:
    def get() -> Rule:
        from tfc.emulator import floats

        return floats.RULES[name]

    return get


RULES: dict[str, Rule] = {
    **{name: either(simple, _floats(name)) for name in ("add", "sub")},
    **dict.fromkeys(("and", "or", "xor"), simple),
    "not": invert,
    "cnot": cnot,
    "neg": either(negate, _floats("neg")),
    "abs": either(absolute, _floats("abs")),
    "min": either(extreme, _floats("min")),
    "max": either(extreme, _floats("max")),
    "mul": either(multiply, _floats("mul")),
    "mad": either(multiply_add, _floats("fma")),
    "mul24": multiply_24,
    "mad24": multiply_24,
    "div": either(divide, _floats("div")),
    "rem": divide,
    "shl": shift,
    "shr": shift,
    "shf": funnel,
    "popc": count_bits,
    "clz": count_bits,
    "brev": count_bits,
    "bfind": find_bit,
    "bfe": extract_field,
    "bfi": insert_field,
    "prmt": permute,
    "lop3": logic3,
    "dp4a": dot_bytes,
    "sad": sad,
    "setp": set_predicate,
    "set": set_value,
    "selp": select,
    "slct": select_sign,
    "mov": move,
}
