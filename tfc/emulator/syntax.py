"""PTX text as data: variables, functions, and instructions with their operands.

    module = parse(text)
    module.functions["f"].body      [Instruction("add", ("rn", "f32"), ("%r3", "%r1", "%r2")), ...]

PTX is flat: statements that end in a semicolon, labels, and braces that open a scope of names. Its nested part,
the operands, has three kinds of brackets. So the text is cut by regular expressions, which is quick enough for
modules of many thousand lines.

Source: NVIDIA, "PTX ISA", chapters 4 and 5 (syntax, state spaces).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeAlias

from tfc.errors import TfcError

Operand: TypeAlias = "str | Address | tuple[Operand, ...]"
"""A register, number, symbol or label as text; a place in memory; or several of them in braces."""


class PtxError(TfcError):
    """PTX text that the emulator cannot read or has no meaning for."""


@dataclass(frozen=True, slots=True)
class Address:
    """``[base + offset]``; the base is a register, a variable, or a number."""

    base: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        name: the opcode up to the first dot.
        modifiers: what follows it, dots removed.
        operands: in order; ``p|q`` is a pair in braces.
        guard: the predicate that it is executed under, with ``!`` where negated; "" for none.
        line: of the PTX text, from 1.
        source: ``file:line`` that the code was made from, "" if the text has no ``.loc``.
    """

    name: str
    modifiers: tuple[str, ...]
    operands: Sequence[Operand]
    guard: str = ""
    line: int = 0
    source: str = ""

    @property
    def text(self) -> str:
        return ".".join((self.name, *self.modifiers))

    @property
    def type(self) -> str:
        """The last modifier, which is the type of most instructions."""
        return self.modifiers[-1] if self.modifiers else ""


@dataclass(frozen=True, slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A place in a state space.

    Attributes:
        space: "reg" is none; one of global, const, shared, local, param.
        align: in bytes.
        size: in bytes; -1 for an array without extent (dynamic shared memory).
        initial: bytes it begins with.
    """

    name: str
    space: str
    align: int
    size: int
    initial: bytes = b""


@dataclass
class Function:
    """An entry or a device function."""

    name: str
    entry: bool
    params: list[Variable]
    results: list[Variable]
    registers: dict[str, str] = field(default_factory=dict[str, str])
    variables: list[Variable] = field(default_factory=list[Variable])
    body: list[Instruction | Label] = field(default_factory=list["Instruction | Label"])
    tables: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    max_threads: int = 1024


@dataclass
class Module:
    """All of a PTX text."""

    variables: list[Variable]
    functions: dict[str, Function]
    target: str


WIDTHS: dict[str, int] = {
    **{f"{kind}{bits}": bits for kind in "bsuf" for bits in (8, 16, 32, 64)},
    "pred": 1, "b128": 128, "f16x2": 32, "bf16x2": 32, "f32x2": 64, "tf32": 32, "bf16": 16,
}  # fmt: skip
"""Bits of each fundamental type."""

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STATEMENT = re.compile(
    r"\s*(?:(?P<open>\{)|(?P<close>\})|(?P<label>[\w$]+):(?!:)(?!\s*\.branchtargets)"
    r"|\.loc\s+(?P<loc>\d+\s+\d+)[^\n]*|(?P<directive>\.(?:pragma|section)\b[^;]*;)|(?P<body>[^;]*);)",
    re.DOTALL,
)
_HEAD = re.compile(
    r"\s*(?P<kinds>(?:\.(?:visible|weak|extern|noreturn)\s+)*)\.(?P<what>entry|func)\b\s*"
    r"(?:\((?P<results>[^)]*)\))?\s*(?P<name>[\w$]+)\s*(?:\((?P<params>[^)]*)\))?(?P<rest>[^{;]*)(?P<end>[{;])",
    re.DOTALL,
)
_DECLARED = re.compile(
    r"^(?:\.(?:visible|extern|weak|common)\s+)*\.(?P<space>global|const|shared|local|param)\s+"
    r"(?P<mods>(?:\.\w+\s+(?:\d+\s+)?)*)(?P<name>[\w$%]+)\s*(?P<dims>(?:\[\d*\])*)\s*(?:=\s*(?P<init>.*))?$",
    re.DOTALL,
)
_INSTRUCTION = re.compile(r"(?:@(?P<guard>!?[\w$%.]+)\s+)?(?P<opcode>[a-z][\w.:]*)\s*(?P<rest>.*)", re.DOTALL)
_TOP = re.compile(r"\s*(?:\.(version|target|address_size|file)\b([^\n]*)|;)")
_ADDRESS = re.compile(r"([\w$%.]+)\s*(?:([+-])\s*(-?\w+))?$")


def parse(text: str) -> Module:
    """The module that a PTX text describes.

    Raises:
        PtxError: it is none, or has a declaration that is not known; the message has the line.
    """
    return _Parser(text).module()


class _Parser:
    def __init__(self, text: str) -> None:
        self.original = text
        self.text = _COMMENT.sub(lambda m: "\n" * m[0].count("\n") or " ", text)
        self.ends = [m.start() for m in re.finditer("\n", self.text)]
        self.files: dict[int, str] = {}
        self.source = ""
        self.fresh = count()

    def line(self, place: int) -> int:
        return bisect_right(self.ends, place - 1) + 1

    def error(self, place: int, message: str) -> PtxError:
        return PtxError(message, where=f"ptx:{self.line(place)}")

    def module(self) -> Module:
        place, target = 0, ""
        variables: list[Variable] = []
        functions: dict[str, Function] = {}
        while self.text[place:].strip():
            if found := _TOP.match(self.text, place):
                if found[1] == "target":
                    target = found[2].split(",")[0].strip()
                elif found[1] == "file" and (named := re.match(r'\s*(\d+)\s+"([^"]*)"', found[2])):
                    self.files[int(named[1])] = named[2]
                place = found.end()
            elif found := _HEAD.match(self.text, place):
                place = found.end()
                function = self.head(found)
                if found["end"] == "{":
                    place = self.body(function, place)
                    functions[function.name] = function
            elif found := _STATEMENT.match(self.text, place):
                if found["body"] is None:
                    raise self.error(found.end(), f"expected a declaration, got {found[0].strip()!r}")
                variables.append(self.variable(found["body"], found.end()))
                place = found.end()
            else:
                raise self.error(place, f"expected a declaration, got {self.text[place : place + 40]!r}")
        return Module(variables, functions, target)

    def head(self, found: re.Match[str]) -> Function:
        def listed(group: str) -> list[Variable]:
            return [self.variable(p, found.start(group)) for p in (found[group] or "").split(",") if p.strip()]

        function = Function(found["name"], found["what"] == "entry", listed("params"), listed("results"))
        if limit := re.search(r"\.(?:maxntid|reqntid)\s+([\d,\s]+)", found["rest"]):
            function.max_threads = 1
            for n in limit[1].split(","):
                function.max_threads *= int(n)
        return function

    def variable(self, text: str, place: int) -> Variable:
        found = _DECLARED.match(text.strip())
        if found is None:
            raise self.error(place, f"unknown declaration {text.strip()!r}")
        words = found["mods"].replace(".", " ").split()
        kinds = [w for w in words if w in WIDTHS]
        if not kinds:
            raise self.error(place, f"a declaration of no known type {text.strip()!r}")
        width = max(1, WIDTHS[kinds[-1]] // 8) * (4 if "v4" in words else 2 if "v2" in words else 1)
        size = width
        for extent in re.findall(r"\[(\d*)\]", found["dims"]):
            size = size * int(extent) if extent else -1
        align = int(words[words.index("align") + 1]) if "align" in words else width
        align = width if "ptr" in words else max(align, 1)
        initial = self.initial(found["init"], kinds[-1], place) if found["init"] else b""
        return Variable(found["name"], found["space"], align, size, initial)

    def initial(self, text: str, kind: str, place: int) -> bytes:
        size, out = WIDTHS[kind] // 8, b""
        for word in text.strip().strip("{}").split(","):
            value = number(word.strip())
            if value is None:
                raise self.error(place, f"an initial value that is no number {word.strip()!r}")
            out += (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        return out

    def body(self, function: Function, place: int) -> int:
        """Read statements up to the closing brace of the function; gives the place behind it."""
        scopes: list[tuple[int, dict[str, str]]] = [(0, {})]
        while True:
            found = _STATEMENT.match(self.text, place)
            if found is None:
                raise self.error(place, "expected a statement, got the end of the text")
            here, place = found.end(), found.end()
            if found["open"]:
                scopes.append((len(function.body), {}))
            elif found["close"]:
                start, names = scopes.pop()
                if names:
                    function.body[start:] = [_renamed(item, names) for item in function.body[start:]]
                if not scopes:
                    return place
            elif found["label"]:
                function.body.append(Label(self.declare(found["label"], scopes)))
            elif found["loc"]:
                file, line = map(int, found["loc"].split())
                self.source = f"{self.files.get(file, '')}:{line}"
            elif found["body"] is not None and (text := found["body"].strip()):
                self.statement(function, text, here, scopes)

    def declare(self, name: str, scopes: Sequence[tuple[int, dict[str, str]]]) -> str:
        """A name of the innermost scope; it gets another one if that is not the function's."""
        if len(scopes) > 1:
            scopes[-1][1][name] = f"{name}.{next(self.fresh)}"
        return name

    def statement(
        self, function: Function, text: str, place: int, scopes: Sequence[tuple[int, dict[str, str]]]
    ) -> None:
        if text.startswith(".reg"):
            _, kind, names = text.split(None, 2)
            if kind[1:] not in WIDTHS:
                raise self.error(place, f"registers of unknown type {kind!r}")
            for name in names.split(","):
                many = re.match(r"\s*([\w$%]+)(?:<(\d+)>)?", name)
                assert many, "names of registers"
                for one in [f"{many[1]}{k}" for k in range(int(many[2]))] if many[2] else [many[1]]:
                    local = len(scopes) > 1
                    self.declare(one, scopes)
                    function.registers[scopes[-1][1][one] if local else one] = kind[1:]
        elif text.startswith("."):
            found = self.variable(text, place)
            if len(scopes) > 1:
                self.declare(found.name, scopes)
                found = replace(found, name=scopes[-1][1][found.name])
            function.variables.append(found)
        elif ".branchtargets" in text:
            label, targets = text.split(":", 1)
            function.tables[label.strip()] = [t.strip() for t in targets.replace(".branchtargets", "").split(",")]
        else:
            found = _INSTRUCTION.match(text)
            if found is None:
                raise self.error(place, f"expected an instruction, got {text!r}")
            name, *modifiers = found["opcode"].split(".")
            operands = self.operands(found["rest"], place)
            line = self.line(place)
            guard = found["guard"] or ""
            function.body.append(Instruction(name, tuple(modifiers), operands, guard, line, self.source))

    def operands(self, text: str, place: int) -> tuple[Operand, ...]:
        if not text:
            return ()
        if not any(c in text for c in "{[(|"):
            return tuple(w.strip() for w in text.split(","))
        return tuple(self.operand(w.strip(), place) for w in _split(text))

    def operand(self, text: str, place: int) -> Operand:
        if text[0] in "{(":
            return self.operands(text[1:-1].strip(), place)
        if text[0] == "[":
            parts = _split(text[1:-1])
            if len(parts) > 1:  # a tensor map and coordinates
                return tuple(self.operand(f"[{p}]" if k == 0 else p.strip(), place) for k, p in enumerate(parts))
            found = _ADDRESS.match(text[1:-1].strip())
            if found is None:
                raise self.error(place, f"an address of no known form {text!r}")
            offset = int(found[3], 0) if found[3] else 0
            return Address(found[1], -offset if found[2] == "-" else offset)
        if "|" in text:
            return tuple(w.strip() for w in text.split("|"))
        return text


def _split(text: str) -> list[str]:
    """``text`` cut at commas that stand in no bracket."""
    parts, depth, start = list[str](), 0, 0
    for place, c in enumerate(text):
        if c in "{[(":
            depth += 1
        elif c in "}])":
            depth -= 1
        elif c == "," and not depth:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _renamed(item: Instruction | Label, names: Mapping[str, str]) -> Instruction | Label:
    """The same with names of a scope replaced."""

    def rename(x: Operand) -> Operand:
        if isinstance(x, str):
            return names.get(x) or (f"!{names[x[1:]]}" if x[:1] == "!" and x[1:] in names else x)
        if isinstance(x, Address):
            return Address(names.get(x.base, x.base), x.offset)
        return tuple(rename(one) for one in x)

    if isinstance(item, Label):
        return Label(names.get(item.name, item.name))
    guard = rename(item.guard)
    assert isinstance(guard, str), "a guard is one name"
    return replace(item, operands=tuple(rename(x) for x in item.operands), guard=guard)


def number(text: str) -> int | None:
    """The bits of a literal, ``-5``, ``0x1fU``, ``0f3F800000``, ``0d3FF0000000000000``; None if it is none."""
    if text[:2] in ("0f", "0F", "0d", "0D"):
        return int(text[2:], 16)
    if not text or not (text[0].isdigit() or text[0] == "-"):
        return None
    return int(text.rstrip("U"), 0)
