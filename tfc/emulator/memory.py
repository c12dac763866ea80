"""Loads, stores, atomic operations, and addresses of state spaces.

Global, constant and local memory are memory of this machine at its own addresses; an address of shared memory is
an offset, and in the generic space the place where the block's shared memory lies here.
"""

from __future__ import annotations

from tfc.emulator.floats import bits_of, from_bits, narrowed, widened
from tfc.emulator.integers import signed
from tfc.emulator.syntax import WIDTHS, Address, Instruction, Operand
from tfc.emulator.translate import FLOATS, Rule, Translator

SPACES = ("global", "shared", "local", "const", "param")
READS, WRITES, ATOMIC, BEGINS = 0, 1, 2, 9
"""What an access does, for the checks; an atomic one also writes, and one that begins writes later."""


def space_of(op: Instruction) -> str:
    """The state space that an instruction names; "" for the generic one."""
    return next((m.split("::")[0] for m in op.modifiers if m.split("::")[0] in SPACES), "")


def place(t: Translator, op: Instruction, address: str, size: int, element: int, how: int) -> str:
    """A pointer to ``size`` bytes at an address of the instruction's space, looked at where checks are on."""
    space = space_of(op)
    if space == "shared":
        if t.checked:
            t.shared_grain = min(t.shared_grain, element)
            _check(t, "shared", address, size, how)
        return t.pointer(t.set(f"add i64 {t.slot('shared')}, {address}"))
    if t.checked and space in ("global", ""):
        t.global_grain = min(t.global_grain, element)
        if not space:
            t.shared_grain = min(t.shared_grain, element)
        _check(t, space or "generic", address, size, how)
    elif t.checked and space == "local":
        low = t.set(f"icmp uge i64 {address}, {t.local_base()}")
        end = t.set(f"add i64 {t.local_base()}, {t.slot('local_size')}")
        high = t.set(f"icmp ule i64 {t.set(f'add i64 {address}, {size}')}, {end}")
        inside = t.set(f"and i1 {low}, {high}")
        t.require(t.set(f"call i1 @check.local(ptr %context, ptr %frame, i1 {inside}, i64 {t.site()}, i64 {address})"))
    return t.pointer(address)


def _check(t: Translator, space: str, address: str, size: int, how: int) -> None:
    arguments = f"ptr %context, ptr %frame, i64 {address}, i64 {size}, i64 {t.site()}, i64 {how}"
    t.require(t.set(f"call i1 @check.{space}({arguments})"))


def at(t: Translator, pointer: str, offset: int) -> str:
    return t.set(f"getelementptr i8, ptr {pointer}, i64 {offset}") if offset else pointer


def _vector(x: Operand) -> tuple[Operand, ...]:
    return x if isinstance(x, tuple) else (x,)


def _ordered(op: Instruction) -> bool:
    """Whether an access is one that races may have: volatile, or ordered for other threads."""
    return bool({"volatile", "relaxed", "acquire", "release", "mmio"} & set(op.modifiers))


def load(t: Translator, op: Instruction) -> None:
    kind = op.type
    width = max(8, t.width(kind))
    targets = _vector(op.operands[0])
    size = width // 8
    address = t.address(op.operands[1])
    volatile = "volatile " if _ordered(op) else ""
    how = ATOMIC | 4 if _ordered(op) else READS
    pointer = place(t, op, address, size * len(targets), size, how)
    values = [
        t.set(f"load {volatile}i{width}, ptr {at(t, pointer, k * size)}, align {size}") for k in range(len(targets))
    ]
    for target, value in zip(targets, values, strict=True):
        t.write(target, value, width, signed(kind))


def store(t: Translator, op: Instruction) -> None:
    width = max(8, t.width(op.type))
    values = _vector(op.operands[1])
    size = width // 8
    address = t.address(op.operands[0])
    volatile = "volatile " if _ordered(op) else ""
    pointer = place(t, op, address, size * len(values), size, ATOMIC if _ordered(op) else WRITES)
    for k, x in enumerate(values):
        t.do(f"store {volatile}i{width} {t.read(x, width)}, ptr {at(t, pointer, k * size)}, align {size}")


_ATOMIC = {"add": "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg", "cas": "", "inc": "", "dec": ""}


def atomic(t: Translator, op: Instruction) -> None:
    """``atom`` and ``red``. Threads run one after another here, so a load and a store are an atomic operation."""
    how = next((m for m in op.modifiers if m in (*_ATOMIC, "min", "max")), None)
    if how is None:
        raise t.unknown()
    kind = op.type
    targets = _vector(op.operands[0]) if op.name == "atom" else ()
    location, *given = op.operands[1:] if op.name == "atom" else op.operands
    width = t.width(kind)
    count = len(_vector(given[0]))
    pointer = place(t, op, t.address(location), width // 8 * count, width // 8, ATOMIC)
    for k in range(count):
        here = at(t, pointer, k * width // 8)
        old = t.set(f"load i{width}, ptr {here}")
        values = [t.read(_vector(g)[k], width) for g in given]
        t.do(f"store i{width} {_combined(t, how, kind, old, values)}, ptr {here}")
        if targets:
            t.write(targets[k], old, width)


def _combined(t: Translator, how: str, kind: str, old: str, given: list[str]) -> str:
    width = WIDTHS[kind]
    new = given[0]
    if how == "exch":
        return new
    if how == "cas":
        same = t.set(f"icmp eq i{width} {old}, {new}")
        return t.set(f"select i1 {same}, i{width} {given[1]}, i{width} {old}")
    if how in ("inc", "dec"):
        more = t.set(f"{'add' if how == 'inc' else 'sub'} i{width} {old}, 1")
        wraps = t.set(f"icmp uge i{width} {old}, {new}")
        if how == "inc":
            return t.set(f"select i1 {wraps}, i{width} 0, i{width} {more}")
        beyond = t.set(f"icmp ugt i{width} {old}, {new}")
        wraps = t.set(f"or i1 {beyond}, {t.set(f'icmp eq i{width} {old}, 0')}")
        return t.set(f"select i1 {wraps}, i{width} {new}, i{width} {more}")
    if kind in FLOATS or kind in ("bf16", "f16x2", "bf16x2"):
        return _float_combined(t, how, kind, old, new)
    if how in ("min", "max"):
        return t.call(f"llvm.{'s' if signed(kind) else 'u'}{how}.i{width}", f"i{width}", [old, new])
    return t.set(f"{_ATOMIC[how]} i{width} {old}, {new}")


def _float_combined(t: Translator, how: str, kind: str, old: str, new: str) -> str:
    if kind.endswith("x2"):
        result = "0"
        for half in range(2):
            parts = [t.resize(t.set(f"lshr i32 {v}, {16 * half}"), 32, 16, False) for v in (old, new)]
            one = t.resize(_float_combined(t, how, kind[:-2], *parts), 16, 32, False)
            result = t.set(f"or i32 {result}, {t.set(f'shl i32 {one}, {16 * half}')}")
        return result
    held = {"f16": "half", "bf16": "float"}.get(kind) or FLOATS[kind]
    x, y = (from_bits(t, v, kind) for v in (old, new))
    if held == "half":
        x, y = (widened(t, v, "half", "float") for v in (x, y))
        held = "float"
    if how == "add":
        value = t.set(f"fadd {held} {x}, {y}")
    else:
        value = t.call(f"llvm.{how}imumnum.{'f64' if held == 'double' else 'f32'}", held, [x, y])
    return narrowed(t, value, held, kind) if kind != held else bits_of(t, value, kind)


def convert_address(t: Translator, op: Instruction) -> None:
    """``cvta``: between a space and the generic one; only shared memory has offsets for addresses."""
    x = op.operands[1]
    address = t.read(x, 64) if not isinstance(x, Address) else t.address(x)
    if space_of(op) == "shared":
        how = "sub" if "to" in op.modifiers else "add"
        address = t.set(f"{how} i64 {address}, {t.slot('shared')}")
    elif space_of(op) == "param" and "to" not in op.modifiers:
        pass  # parameters lie in memory of this machine
    t.write(op.operands[0], address, 64)


def in_space(t: Translator, op: Instruction) -> None:
    address = t.read(op.operands[1], 64)
    space = space_of(op)
    if space == "shared":
        base, size = t.slot("shared"), t.slot("shared_size")
    elif space == "local":
        base, size = t.local_base(), t.slot("local_size")
    else:
        raise t.unknown()
    inside = t.set(f"icmp ult i64 {t.set(f'sub i64 {address}, {base}')}, {size}")
    t.write(op.operands[0], inside, 1)


def fence(t: Translator, op: Instruction) -> None:
    """What other blocks wrote may be read from now on: they have been waited for, or the program is at fault."""
    if not {"cta", "proxy"} & set(op.modifiers):
        t.put_field("fenced", "1", "i64")


def nothing(t: Translator, op: Instruction) -> None:
    """Hints to caches and clocks."""


RULES: dict[str, Rule] = {
    "ld": load,
    "ldu": load,
    "st": store,
    "atom": atomic,
    "red": atomic,
    "cvta": convert_address,
    "isspacep": in_space,
    "membar": fence,
    "fence": fence,
    "prefetch": nothing,
    "prefetchu": nothing,
    "nanosleep": nothing,
    "discard": nothing,
    "applypriority": nothing,
    "griddepcontrol": nothing,
    "setmaxnreg": nothing,
    "pmevent": nothing,
}
