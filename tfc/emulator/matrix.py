"""Matrix instructions of a warp: ``mma.sync``, ``ldmatrix``, ``stmatrix``, ``movmatrix``.

Fragments of all types follow one rule. A register has ``p = 32 / bits`` elements; thread ``4 g + t`` of the warp holds

    A[g + 8 (r % 2)][4 p (r // 2) + p t + e]      element e of register r of A (m x k)
    B[4 p r + p t + e][g]                         of B (k x n)
    C[g + 8 i][2 t + j]                           number 2 i + j of C and D (m x n)

Each thread shows its parts of A and B, and computes its own four elements of D.

Source: NVIDIA, "PTX ISA", 9.7.15 (warp-level matrix instructions).
"""

from __future__ import annotations

from tfc.emulator.floats import bits_of, from_bits, narrowed
from tfc.emulator.memory import READS, WRITES, place, space_of
from tfc.emulator.syntax import Address, Instruction, Operand
from tfc.emulator.translate import Rule, Translator
from tfc.emulator.warp import lane, seen, show

BITS = {"tf32": 32, "f16": 16, "bf16": 16, "s8": 8, "u8": 8, "e4m3": 8, "e5m2": 8}


def _parts(x: Operand) -> tuple[Operand, ...]:
    return x if isinstance(x, tuple) else (x,)


def multiply(t: Translator, op: Instruction) -> None:
    """``mma.sync.aligned.m16n8kK.row.col.dtype.atype.btype.ctype d, a, b, c``."""
    to, left, right, held = op.modifiers[-4:]
    shape = next((m for m in op.modifiers if m.startswith("m16n8k")), "")
    known = {("f32", "f32"), ("f16", "f16"), ("s32", "s32")}
    if not shape or BITS.get(left, 8) != BITS.get(right) or (to, held) not in known or "sp" in op.modifiers:
        raise t.unknown()
    if left[0] == "e" or (to == "s32") != (left[1:] == "8") or "satfinite" in op.modifiers:
        raise t.unknown()
    count = 32 // BITS[left]
    steps = int(shape[6:]) // (4 * count)
    a, b, c = (_parts(x) for x in op.operands[1:4])
    if (len(a), len(b)) != (2 * steps, steps):
        raise t.fail(f"'{op.text}' takes {2 * steps} and {steps} registers, got {len(a)} and {len(b)}")
    show(t, "-1", [t.read(x, 32) for x in (*a, *b)])
    values = _accumulators(t, c, held)
    name = f"mma.{shape}.{left}.{right}"
    t.define(name, _helper(name, left, right, steps, to))
    kind = "i32" if to == "s32" else "float"
    group, quad = t.set(f"lshr i32 {lane(t)}, 2"), t.set(f"and i32 {lane(t)}, 3")
    result = f"{{ {', '.join([kind] * 4)} }}"
    first = seen_first(t)
    words = ", ".join(f"{kind} {v}" for v in values)
    step = t.slot("frame_size")
    found = t.set(f"call {result} @{name}(ptr {first}, i64 {step}, i32 {group}, i32 {quad}, {words})")
    out = [t.set(f"extractvalue {result} {found}, {k}") for k in range(4)]
    targets = _parts(op.operands[0])
    if to == "f16":
        for k, target in enumerate(targets):
            low, high = (t.resize(narrowed(t, v, "float", "f16"), 16, 32, False) for v in out[2 * k : 2 * k + 2])
            t.write(target, t.set(f"or i32 {t.set(f'shl i32 {high}, 16')}, {low}"), 32)
    else:
        for target, value in zip(targets, out, strict=True):
            t.write(target, value if to == "s32" else bits_of(t, value, "f32"), 32)


def _accumulators(t: Translator, c: tuple[Operand, ...], held: str) -> list[str]:
    if held == "s32":
        return [t.read(x, 32) for x in c]
    if held == "f32":
        return [from_bits(t, t.read(x, 32), "f32") for x in c]
    values: list[str] = []
    for x in c:
        word = t.read(x, 32)
        for half in range(2):
            bits = t.resize(t.set(f"lshr i32 {word}, {16 * half}"), 32, 16, False)
            values.append(t.set(f"fpext half {from_bits(t, bits, 'f16')} to float"))
    return values


def seen_first(t: Translator) -> str:
    """Where the first thread of the warp has what it showed."""
    from tfc.emulator.warp import seen_place

    return seen_place(t, "0")


def _helper(name: str, left: str, right: str, steps: int, to: str) -> str:
    """The function that computes four elements from what the warp shows."""
    kind = "i32" if to == "s32" else "float"
    count = 32 // BITS[left]
    lines: list[str] = []
    names = iter(range(1, 1_000_000))

    def put(text: str) -> str:
        value = f"%v{next(names)}"
        lines.append(f"  {value} = {text}")
        return value

    def words(thread: str, first: int, number: int) -> list[str]:
        offset = put(f"mul i64 {put(f'zext i32 {thread} to i64')}, %step")
        base = put(f"getelementptr i8, ptr %first, i64 {offset}")
        return [put(f"load i32, ptr {put(f'getelementptr i32, ptr {base}, i64 {first + k}')}") for k in range(number)]

    def elements(word: str, of: str) -> list[str]:
        if of == "tf32":
            return [put(f"bitcast i32 {put(f'and i32 {word}, -8192')} to float")]
        if of == "bf16":
            high = put(f"and i32 {word}, -65536")
            return [put(f"bitcast i32 {v} to float") for v in (put(f"shl i32 {word}, 16"), high)]
        if of == "f16":
            pair = put(f"bitcast i32 {word} to <2 x half>")
            wide = put(f"fpext <2 x half> {pair} to <2 x float>")
            return [put(f"extractelement <2 x float> {wide}, i32 {k}") for k in range(2)]
        bytes_ = put(f"bitcast i32 {word} to <4 x i8>")
        wide = put(f"{'sext' if of == 's8' else 'zext'} <4 x i8> {bytes_} to <4 x i32>")
        return [put(f"extractelement <4 x i32> {wide}, i32 {k}") for k in range(4)]

    total = [f"%c{k}" for k in range(4)]
    row = put("shl i32 %group, 2")
    pair = put("shl i32 %quad, 1")
    columns = [put(f"shl i32 {put(f'add i32 {pair}, {j}')}, 2") for j in range(2)]
    for quad in range(4):
        a = words(put(f"add i32 {row}, {quad}"), 0, 2 * steps)
        b = [words(put(f"add i32 {column}, {quad}"), 2 * steps, steps) for column in columns]
        for step in range(steps):
            rows = [elements(a[2 * step + i], left) for i in range(2)]
            cols = [elements(b[j][step], right) for j in range(2)]
            for e in range(count):
                for number in range(4):
                    x, y = rows[number // 2][e], cols[number % 2][e]
                    if kind == "float":
                        total[number] = put(f"call float @llvm.fma.f32(float {x}, float {y}, float {total[number]})")
                    else:
                        total[number] = put(f"add i32 {total[number]}, {put(f'mul i32 {x}, {y}')}")
    result = f"{{ {', '.join([kind] * 4)} }}"
    value = "undef"
    for k, part in enumerate(total):
        value = put(f"insertvalue {result} {value}, {kind} {part}, {k}")
    head = f"define internal {result} @{name}(ptr %first, i64 %step, i32 %group, i32 %quad, "
    head += ", ".join(f"{kind} %c{k}" for k in range(4)) + ") noinline nounwind {\n"
    return head + "\n".join(lines) + f"\n  ret {result} {value}\n}}\n"


def _row_addresses(t: Translator, op: Instruction, x: Operand, count: int, how: int, words: list[str]) -> None:
    """Show the address of the row of 16 bytes that this thread gives, after a look at it, and ``words``."""
    if not isinstance(x, Address):
        raise t.fail(f"expected an address in '{op.text}', got {x!r}")
    address = t.address(x)
    if space_of(op) != "shared":
        address = t.set(f"sub i64 {address}, {t.slot('shared')}")
    gives, over = t.fresh("row"), t.fresh("norow")
    t.do(f"br i1 {t.set(f'icmp ult i32 {lane(t)}, {8 * count}')}, label %{gives}, label %{over}")
    t.start(gives)
    place(t, _in_shared(op), address, 16, 2, how)
    t.do(f"br label %{over}")
    t.start(over)
    show(t, "-1", [t.set(f"trunc i64 {address} to i32"), *words])


def _in_shared(op: Instruction) -> Instruction:
    return op if space_of(op) == "shared" else Instruction(op.name, (*op.modifiers, "shared"), op.operands)


def _element(t: Translator, row: str, byte: str) -> str:
    address = t.set(f"add i64 {t.set(f'zext i32 {row} to i64')}, {t.set(f'zext i32 {byte} to i64')}")
    return t.pointer(t.set(f"add i64 {t.slot('shared')}, {address}"))


def _matrices(t: Translator, op: Instruction) -> int:
    count = next((int(m[1:]) for m in op.modifiers if m in ("x1", "x2", "x4")), 0)
    if not count or op.type != "b16" or "m8n8" not in op.modifiers:
        raise t.unknown()
    return count


def _quads(t: Translator) -> tuple[str, str]:
    return t.set(f"lshr i32 {lane(t)}, 2"), t.set(f"and i32 {lane(t)}, 3")


def load_matrix(t: Translator, op: Instruction) -> None:
    """``ldmatrix``: rows of 8 b16, whose addresses the threads give, become fragments."""
    count = _matrices(t, op)
    _row_addresses(t, op, op.operands[1], count, READS, [])
    group, quad = _quads(t)
    for number, target in enumerate(_parts(op.operands[0])):
        if "trans" in op.modifiers:
            value = "0"
            for half in range(2):
                giver = t.set(f"add i32 {t.set(f'shl i32 {quad}, 1')}, {8 * number + half}")
                place_ = _element(t, seen(t, giver), t.set(f"shl i32 {group}, 1"))
                one = t.resize(t.set(f"load i16, ptr {place_}"), 16, 32, False)
                value = t.set(f"or i32 {value}, {t.set(f'shl i32 {one}, {16 * half}')}")
        else:
            row = seen(t, t.set(f"add i32 {group}, {8 * number}"))
            value = t.set(f"load i32, ptr {_element(t, row, t.set(f'shl i32 {quad}, 2'))}")
        t.write(target, value, 32)


def store_matrix(t: Translator, op: Instruction) -> None:
    """``stmatrix``: the inverse of ``ldmatrix``."""
    count = _matrices(t, op)
    sources = _parts(op.operands[1])
    _row_addresses(t, op, op.operands[0], count, WRITES, [])
    group, quad = _quads(t)
    for number, source in enumerate(sources):
        value = t.read(source, 32)
        if "trans" in op.modifiers:
            for half in range(2):
                giver = t.set(f"add i32 {t.set(f'shl i32 {quad}, 1')}, {8 * number + half}")
                place_ = _element(t, seen(t, giver), t.set(f"shl i32 {group}, 1"))
                one = t.resize(t.set(f"lshr i32 {value}, {16 * half}"), 32, 16, False)
                t.do(f"store i16 {one}, ptr {place_}")
        else:
            row = seen(t, t.set(f"add i32 {group}, {8 * number}"))
            t.do(f"store i32 {value}, ptr {_element(t, row, t.set(f'shl i32 {quad}, 2'))}")


def transpose(t: Translator, op: Instruction) -> None:
    """``movmatrix.sync.aligned.m8n8.trans.b16``."""
    show(t, "-1", [t.read(op.operands[1], 32)])
    group, quad = _quads(t)
    shift = t.set(f"shl i32 {t.set(f'and i32 {group}, 1')}, 4")
    value = "0"
    for half in range(2):
        row = t.set(f"add i32 {t.set(f'shl i32 {quad}, 1')}, {half}")
        giver = t.set(f"add i32 {t.set(f'shl i32 {row}, 2')}, {t.set(f'lshr i32 {group}, 1')}")
        one = t.set(f"and i32 {t.set(f'lshr i32 {seen(t, giver)}, {shift}')}, 65535")
        value = t.set(f"or i32 {value}, {t.set(f'shl i32 {one}, {16 * half}')}")
    t.write(op.operands[0], value, 32)


RULES: dict[str, Rule] = {
    "mma": multiply,
    "ldmatrix": load_matrix,
    "stmatrix": store_matrix,
    "movmatrix": transpose,
}
