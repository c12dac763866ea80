"""An entry of a PTX module as LLVM IR for this machine: a function that runs one thread as far as it goes.

    .visible .entry f(...)    ->    define i32 @f(ptr %context, ptr %frame)

It begins where the frame says. At a wait (a barrier, an exchange in the warp) the thread writes down what it
shows to the others and where to go on, and returns; the scheduler in `runtime.ll` enters it again when they have
arrived. So threads need no stacks, and a kernel without waits is a plain loop over calls.

A register is an integer of its width in memory of the function, which LLVM makes values of, or in the frame
if it lives across a wait (`flow.py`). What instructions mean is in tables, one file for a family.

Source: NVIDIA, "PTX ISA", chapter 9 (instruction set).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfc.emulator.flow import Flow
from tfc.emulator.frame import DONE, FIELDS, SLOT, TRAP
from tfc.emulator.syntax import WIDTHS, Address, Instruction, Operand, PtxError, Variable, number

if TYPE_CHECKING:
    from collections.abc import Mapping

Rule = Callable[["Translator", Instruction], None]
"""Writes the meaning of an instruction."""

ENTRY = "step"
"""The name of the function in its text, which so depends on the code alone."""

FLOATS = {"f16": "half", "f32": "float", "f64": "double"}
_SPECIAL = {
    "%tid": "tid", "%ntid": "ntid", "%ctaid": "ctaid", "%nctaid": "nctaid",
}  # fmt: skip


class Translator:
    """One entry on its way to LLVM IR.

    Args:
        flow: its instructions, without calls.
        symbols: where variables of the module stand: space, and offset from the start of that space.
        shared_size: bytes of shared memory that these take.
        checked: whether accesses to memory are looked at.
    """

    def __init__(
        self, flow: Flow, symbols: Mapping[str, tuple[str, int]], shared_size: int, checked: bool
    ) -> None:
        self.flow, self.checked = flow, checked
        self.lines: list[str] = []
        self.helpers: dict[str, str] = {}
        self.sites: list[Instruction] = []
        self.resumes: list[str] = []
        self.symbols = dict(symbols)
        self.names = 0
        self.op = Instruction("", (), ())
        self.homes: dict[str, str] = {}
        self.shared_size = shared_size
        self.local_size = 0
        self.frame_size = FIELDS["registers"]
        self.shared_grain = 16
        self.global_grain = 16
        function = flow.function
        offset = 0
        for param in function.params:
            offset = -(-offset // param.align) * param.align
            self.symbols[param.name] = ("entry", offset)
            offset += param.size
        self.params_size = offset
        for variable in function.variables:
            self._place(variable)

    def _place(self, v: Variable) -> None:
        if v.space == "param":
            start = -(-self.frame_size // 16) * 16
            self.symbols[v.name], self.frame_size = ("frame", start), start + v.size
        elif v.space == "local":
            start = -(-self.local_size // v.align) * v.align
            self.symbols[v.name], self.local_size = ("local", start), start + v.size
        elif v.space == "shared":
            start = -(-self.shared_size // v.align) * v.align
            self.symbols[v.name], self.shared_size = ("shared", start), start + v.size
        else:
            raise PtxError(f"a variable of {v.space} memory inside a function: {v.name!r}")

    # Text.

    def fresh(self, prefix: str = "v") -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def set(self, text: str) -> str:
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {text}")
        return name

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def call(self, name: str, kind: str, arguments: Sequence[str], result: str = "") -> str:
        """A call of an intrinsic or helper whose arguments are all of one type."""
        result = result or kind
        self.helpers[name] = f"declare {result} @{name}({', '.join([kind] * len(arguments))})"
        return self.set(f"call {result} @{name}({', '.join(f'{kind} {a}' for a in arguments)})")

    def define(self, name: str, text: str) -> None:
        """A function of the text's own, once."""
        self.helpers[name] = text

    def fail(self, message: str, help: str = "") -> PtxError:
        where = f"ptx:{self.op.line}" + (f" ({self.op.source})" if self.op.source else "")
        return PtxError(message, where=where, help=help)

    def unknown(self) -> PtxError:
        return self.fail(f"the emulator does not know the instruction '{self.op.text}'")

    # Values.

    def width(self, kind: str) -> int:
        try:
            return WIDTHS[kind]
        except KeyError:
            raise self.unknown() from None

    def read(self, x: Operand, width: int, signed: bool = False) -> str:
        """The low ``width`` bits of an operand, as an integer."""
        if not isinstance(x, str):
            raise self.fail(f"expected a register or a number in '{self.op.text}', got {x!r}")
        if x in self.homes:
            own = WIDTHS[self.flow.function.registers[x]]
            value = self.set(f"load i{own}, ptr {self.homes[x]}")
            return self.resize(value, own, width, signed)
        if x.startswith("!"):
            return self.set(f"xor i1 {self.read(x[1:], 1)}, true")
        bits = number(x)
        if bits is not None:
            return self.literal(bits, width, x)
        if x.startswith("%") or x == "WARP_SZ":
            return self.resize(self.special(x), 64, width, False)
        if x in self.symbols:
            return self.resize(self.symbol(x), 64, width, False)
        raise self.fail(f"an unknown name {x!r} in '{self.op.text}'")

    def literal(self, bits: int, width: int, text: str = "") -> str:
        bits &= (1 << width) - 1
        return ("true" if bits else "false") if width == 1 else str(bits)

    def resize(self, value: str, own: int, width: int, signed: bool) -> str:
        if own == width:
            return value
        how = "trunc" if own > width else "sext" if signed else "zext"
        return self.set(f"{how} i{own} {value} to i{width}")

    def write(self, x: Operand, value: str, width: int, signed: bool = False) -> None:
        """Put an integer into a register, widened where that is wider; ``_`` drops it."""
        if x == "_":
            return
        if not isinstance(x, str) or x not in self.homes:
            raise self.fail(f"expected a register in '{self.op.text}', got {x!r}")
        own = WIDTHS[self.flow.function.registers[x]]
        self.do(f"store i{own} {self.resize(value, width, own, signed)}, ptr {self.homes[x]}")

    def float(self, x: Operand, kind: str) -> str:
        """An operand as a value of LLVM's type for ``kind``; f16 and f32 stay what they are."""
        text = FLOATS[kind]
        width = WIDTHS[kind]
        value = self.read(x, width)
        return self.set(f"bitcast i{width} {value} to {text}")

    def write_float(self, x: Operand, value: str, kind: str) -> None:
        width = WIDTHS[kind]
        self.write(x, self.set(f"bitcast {FLOATS[kind]} {value} to i{width}"), width)

    def slot(self, name: str) -> str:
        """A word of the launch's context."""
        place = self.set(f"getelementptr i64, ptr %context, i64 {SLOT[name]}")
        return self.set(f"load i64, ptr {place}" + (", !invariant.load !1" if name != "time" else ""))

    def field(self, name: str, kind: str = "i32") -> str:
        place = self.set(f"getelementptr i8, ptr %frame, i64 {FIELDS[name]}")
        return self.set(f"load {kind}, ptr {place}")

    def put_field(self, name: str, value: str, kind: str = "i32", offset: int = 0) -> None:
        place = self.set(f"getelementptr i8, ptr %frame, i64 {FIELDS[name] + offset}")
        self.do(f"store {kind} {value}, ptr {place}")

    def special(self, name: str) -> str:
        """A special register, as i64."""
        base, _, part = name.partition(".")
        if base == "%tid" and part:
            return self.set(f"zext i32 {self.field(f'tid_{part}')} to i64")
        if base in _SPECIAL and part:
            return self.slot(f"{_SPECIAL[base]}_{part}")
        thread = self.field("thread")
        if name == "WARP_SZ":
            return "32"
        lane = self.set(f"and i32 {thread}, 31")
        if name == "%laneid":
            return self.set(f"zext i32 {lane} to i64")
        if name == "%warpid":
            return self.set(f"zext i32 {self.set(f'lshr i32 {thread}, 5')} to i64")
        if name.startswith("%lanemask_"):
            bit = self.set(f"shl i32 1, {lane}")
            below = self.set(f"sub i32 {bit}, 1")
            upto = self.set(f"or i32 {bit}, {below}")
            found = {"eq": bit, "lt": below, "le": upto}.get(part := name[10:])
            found = found or self.set(f"xor i32 {below if part == 'ge' else upto}, -1")
            return self.set(f"zext i32 {found} to i64")
        if name in ("%clock", "%clock64", "%globaltimer"):
            return self.slot("time")
        if name in ("%dynamic_smem_size", "%total_smem_size"):
            return self.slot("dynamic_size" if name[1] == "d" else "shared_size")
        if name in ("%smid", "%nsmid", "%gridid"):
            return "1" if name == "%nsmid" else "0"
        raise self.fail(f"the emulator does not know the register {name!r}")

    def symbol(self, name: str) -> str:
        """The address of a variable in its space, as i64."""
        space, offset = self.symbols[name]
        if space == "shared":
            return str(offset)
        if space == "frame":
            base = self.set(f"getelementptr i8, ptr %frame, i64 {offset}")
            return self.set(f"ptrtoint ptr {base} to i64")
        base = self.local_base() if space == "local" else self.slot("params" if space == "entry" else "globals")
        return self.set(f"add i64 {base}, {offset}")

    def local_base(self) -> str:
        thread = self.set(f"zext i32 {self.field('thread')} to i64")
        offset = self.set(f"mul i64 {thread}, {self.slot('local_size')}")
        return self.set(f"add i64 {self.slot('locals')}, {offset}")

    def address(self, x: Operand) -> str:
        """``[base + offset]`` as i64."""
        if not isinstance(x, Address):
            raise self.fail(f"expected an address in '{self.op.text}', got {x!r}")
        base = self.read(x.base, 64)
        return base if not x.offset else self.set(f"add i64 {base}, {x.offset}")

    def pointer(self, address: str) -> str:
        return self.set(f"inttoptr i64 {address} to ptr")

    # Control.

    def site(self) -> int:
        """The number by which errors name the current instruction."""
        if not self.sites or self.sites[-1] is not self.op:
            self.sites.append(self.op)
        return len(self.sites) - 1

    def require(self, holds: str) -> None:
        """Leave with an error, which has been written down, unless the i1 ``holds``."""
        after = self.fresh("ok")
        self.do(f"br i1 {holds}, label %{after}, label %fail, !prof !0")
        self.start(after)

    def wait(self, state: int) -> None:
        """Return to the scheduler; what follows is executed when it lets the thread go on."""
        resume = self.fresh("resume")
        self.resumes.append(resume)
        self.put_field("pc", str(len(self.resumes)))
        self.put_field("flags", str(self.site()))
        self.put_field("state", str(state))
        self.do("ret i32 0")
        self.start(resume)

    def under(self, guard: str, then: Callable[[], None]) -> None:
        if not guard:
            then()
            return
        yes, after = self.fresh("do"), self.fresh("skip")
        self.do(f"br i1 {self.read(guard, 1)}, label %{yes}, label %{after}")
        self.start(yes)
        then()
        self.do(f"br label %{after}")
        self.start(after)

    def function(self, rules: Mapping[str, Rule]) -> str:
        """The definition of the entry."""
        registers = self.flow.function.registers
        entry: list[str] = []
        for place, (name, kind) in enumerate(registers.items()):
            bits = WIDTHS[kind]
            self.homes[name] = f"%r{place}"
            if name in self.flow.kept:
                align = max(1, bits // 8)
                start = -(-self.frame_size // align) * align
                entry.append(f"  %r{place} = getelementptr i8, ptr %frame, i64 {start}")
                self.frame_size = start + align
            else:
                entry.append(f"  %r{place} = alloca i{bits}")
        for place, block in enumerate(self.flow.blocks):
            self.start(f"b{place}")
            ended = False
            for op in block:
                self.op = op
                ended = self.instruction(op, rules, place)
            if not ended:
                self.do(f"br label %b{place + 1}")
        self.start(f"b{len(self.flow.blocks)}")
        self.leave()
        self.start("fail")
        self.do("ret i32 1")
        self.frame_size = -(-self.frame_size // 64) * 64
        pc = "  %pc.place = getelementptr i8, ptr %frame, i64 0\n  %pc = load i32, ptr %pc.place\n"
        cases = " ".join(f"i32 {k + 1}, label %{r}" for k, r in enumerate(self.resumes))
        pc += f"  switch i32 %pc, label %b0 [ {cases} ]\n"
        head = f"define i32 @{ENTRY}(ptr nocapture %context, ptr noalias nocapture %frame) nounwind {{\nentry:\n"
        return head + "\n".join(entry) + "\n" + pc + "\n".join(self.lines) + "\n}\n"

    def leave(self) -> None:
        self.put_field("state", str(DONE))
        self.do("ret i32 0")

    def instruction(self, op: Instruction, rules: Mapping[str, Rule], block: int) -> bool:
        """Write ``op``; gives whether it ends its block."""
        if op.name in ("bra", "brx", "ret", "exit", "trap"):
            return self.jump(op, block)
        rule = rules.get(op.name)
        if rule is None:
            raise self.unknown()
        self.under(op.guard, lambda: rule(self, op))
        return False

    def jump(self, op: Instruction, block: int) -> bool:
        after = f"%b{block + 1}"
        if op.name == "bra":
            target = f"%b{self.flow.target(op, op.operands[0])}"
            if op.guard:
                self.do(f"br i1 {self.read(op.guard, 1)}, label {target}, label {after}")
            else:
                self.do(f"br label {target}")
            return True
        end = self.fresh("end")
        if op.guard:
            self.do(f"br i1 {self.read(op.guard, 1)}, label %{end}, label {after}")
            self.start(end)
        if op.name == "brx":
            table = self.flow.function.tables[str(op.operands[1])]
            cases = " ".join(f"i32 {k}, label %b{self.flow.target(op, t)}" for k, t in enumerate(table))
            self.do(f"switch i32 {self.read(op.operands[0], 32)}, label %fail [ {cases} ]")
        elif op.name == "trap":
            holds = self.report(TRAP)
            self.do(f"br i1 {holds}, label %fail, label %fail")
        else:
            self.leave()
        return True

    def report(self, code: int, address: str = "0") -> str:
        """Write an error down; gives false."""
        return self.set(
            f"call i1 @report(ptr %context, ptr %frame, i64 {code}, i64 {self.site()}, i64 {address}, i64 0)"
        )
