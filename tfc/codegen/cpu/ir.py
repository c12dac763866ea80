"""Writing LLVM IR as text: types, literals, and the instructions of a function in order.

    code = Code(module)
    x = code.op("load <8 x float>, ptr %p, align 4")     # -> "%v1"
    y = code.intrinsic("fmuladd", F32x8, [x, x, x])       # declares it, and calls it

Text is written directly, not through a builder of objects: a kernel of 1,000 instructions
takes 3 ms this way, and what LLVM reads is what one sees.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    MemRefType,
    VectorType,
)
from xdsl.ir import Attribute

from tfc.codegen.cpu.targets import Target

WIDTHS = {"float": 32, "double": 64, "half": 16, "bfloat": 16, "ptr": 64}


@dataclass(frozen=True, slots=True)
class Kind:
    """A scalar (``lanes`` is 0) or vector type of LLVM."""

    element: str
    lanes: int = 0

    @property
    def text(self) -> str:
        return f"<{self.lanes} x {self.element}>" if self.lanes else self.element

    @property
    def mangled(self) -> str:
        """How intrinsics spell the type: ``v16f32``."""
        letter = "f" if self.is_float else "i"
        base = {"bfloat": "bf16", "ptr": "p0"}.get(self.element, f"{letter}{self.width}")
        return f"v{self.lanes}{base}" if self.lanes else base

    @property
    def width(self) -> int:
        """Bits of an element."""
        return WIDTHS.get(self.element) or int(self.element[1:])

    @property
    def is_float(self) -> bool:
        return self.element in ("float", "double", "half", "bfloat")

    @property
    def bits(self) -> Kind:
        """Integers of the same width."""
        return Kind(f"i{self.width}", self.lanes)

    @property
    def truth(self) -> Kind:
        """What a comparison gives."""
        return Kind("i1", self.lanes)

    @property
    def scalar(self) -> Kind:
        return Kind(self.element)

    def of(self, element: str) -> Kind:
        """The same lanes of another element type."""
        return Kind(element, self.lanes)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a value of the kernel dialect is held: ``rows`` values of one kind (0: just one)."""

    kind: Kind
    rows: int = 0


def element_name(type_: Attribute) -> str:
    """The LLVM type of an element. Half floats are integers until `arith.extf` reads them."""
    match type_:
        case Float32Type():
            return "float"
        case Float64Type():
            return "double"
        case Float16Type() | BFloat16Type():
            return "i16"
        case IndexType():
            return "i64"
        case IntegerType():
            return f"i{type_.width.data}"
        case MemRefType():
            return "ptr"
        case _:
            raise NotImplementedError(f"kernels have no values of type {type_}")


@lru_cache(maxsize=4096)
def shape_of(type_: Attribute) -> Shape:
    """How a value of this type is held."""
    if not isinstance(type_, VectorType):
        return Shape(Kind(element_name(type_)))
    name, sizes = element_name(type_.element_type), type_.get_shape()
    if len(sizes) == 1:
        return Shape(Kind(name, sizes[0]))
    rows, columns = sizes
    return Shape(Kind(name, columns if columns > 1 else 0), rows)


def literal(kind: Kind, value: float | int | bool) -> str:
    """A constant, in every lane where ``kind`` is a vector."""
    text = scalar_literal(kind.element, value)
    if not kind.lanes:
        return text
    if text in ("0", "0x0000000000000000"):
        return "zeroinitializer"
    return f"splat ({kind.element} {text})"


def scalar_literal(element: str, value: float | int | bool) -> str:
    if element == "float":
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if element == "double":
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if element == "i1":
        return "true" if value else "false"
    width = int(element[1:])
    wrapped = int(value) & ((1 << width) - 1)
    return str(wrapped - (1 << width) if wrapped >> (width - 1) else wrapped)


def constant_int(text: str) -> int | None:
    """The value of an integer literal; None for anything else."""
    return int(text) if text.lstrip("-").isdigit() else None


@dataclass
class Module:
    """What the kernels of one text share: declarations, helper functions, constants.

    Attributes:
        messages: what ``kernel.check`` reports: code ``k`` is ``messages[k - 1]``.
    """

    target: Target
    messages: list[str] = field(default_factory=list[str])
    declarations: dict[str, str] = field(default_factory=dict[str, str])
    helpers: dict[str, str] = field(default_factory=dict[str, str])
    bodies: list[str] = field(default_factory=list[str])

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> None:
        if name not in self.declarations:
            self.declarations[name] = f"declare {result} @{name}({', '.join(arguments)}) nounwind"

    def code(self, message: str) -> int:
        """The error code of ``message``."""
        if message not in self.messages:
            self.messages.append(message)
        return self.messages.index(message) + 1

    @property
    def text(self) -> str:
        parts = [*self.declarations.values(), "", *self.helpers.values(), *self.bodies]
        head = f'target triple = "{self.target.triple}"\n'
        return head + "\n".join(parts) + '\n!0 = !{!"branch_weights", i32 1, i32 4000}\n!1 = !{}\n!2 = !{i32 1}\n'


class Code:
    """The instructions of one function.

    Attributes:
        block: the label of the block being written: where a phi says control comes from.
        copies: how often a formula has been written out here.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.target = module.target
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.block = "entry"
        self.copies = Counter[tuple[str, Kind]]()
        self._count = 0
        self._places: dict[Kind, str] = {}

    def fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def op(self, text: str) -> str:
        """An instruction with a result; gives the result's name."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def start(self, label: str) -> None:
        """Begin the block ``label``."""
        self.lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")

    def branch(self, condition: str, then: str, otherwise: str, hint: str = "") -> None:
        self.lines.append(f"  br i1 {condition}, label %{then}, label %{otherwise}{hint}")

    def stack(self, kind: Kind, count: int) -> str:
        """Memory of the function's frame, aligned to a cache line."""
        name = f"%{self.fresh('s')}"
        self.entry.append(f"  {name} = alloca [{count} x {kind.text}], align 64")
        return name

    def copy(self, kind: Kind) -> str:
        """Memory of one value, to reach its lanes by address; the same each time."""
        if kind not in self._places:
            self._places[kind] = self.stack(kind, 1)
        return self._places[kind]

    def at(self, element: str, base: str, offset: str, flags: str = "inbounds ") -> str:
        """The address of element ``offset`` from ``base``."""
        if offset == "0":
            return base
        return self.op(f"getelementptr {flags}{element}, ptr {base}, i64 {offset}")

    def call(self, name: str, result: Kind, operands: Sequence[tuple[Kind, str]]) -> str:
        """Call a declared or emitted function."""
        arguments = ", ".join(f"{k.text} {v}" for k, v in operands)
        return self.op(f"call {result.text} @{name}({arguments})")

    def intrinsic(
        self, name: str, kind: Kind, operands: Sequence[str], *, result: Kind | None = None
    ) -> str:
        """``llvm.NAME.KIND`` on operands of one kind."""
        result = result or kind
        full = f"llvm.{name}.{kind.mangled}"
        self.module.declare(full, result.text, [kind.text] * len(operands))
        return self.call(full, result, [(kind, v) for v in operands])

    def cast(self, instruction: str, source: Kind, value: str, to: Kind) -> str:
        return self.op(f"{instruction} {source.text} {value} to {to.text}")

    def bitcast(self, source: Kind, value: str, to: Kind) -> str:
        return value if source == to else self.cast("bitcast", source, value, to)

    def select(self, condition: str, kind: Kind, yes: str, no: str, *, scalar: bool = False) -> str:
        """Lane by lane, or all lanes at once where the condition is ``scalar``."""
        truth = "i1" if scalar else kind.truth.text
        return self.op(f"select {truth} {condition}, {kind.text} {yes}, {kind.text} {no}")

    def splat(self, kind: Kind, scalar: str) -> str:
        """A scalar in every lane of ``kind``."""
        if not kind.lanes:
            return scalar
        if not scalar.startswith("%"):
            return "zeroinitializer" if scalar == "0" else f"splat ({kind.element} {scalar})"
        one = self.op(f"insertelement {kind.text} poison, {kind.element} {scalar}, i64 0")
        return self.op(
            f"shufflevector {kind.text} {one}, {kind.text} poison, <{kind.lanes} x i32> zeroinitializer"
        )

    def extract(self, kind: Kind, vector: str, lane: int) -> str:
        return self.op(f"extractelement {kind.text} {vector}, i64 {lane}")

    def insert(self, kind: Kind, vector: str, scalar: str, lane: int) -> str:
        return self.op(f"insertelement {kind.text} {vector}, {kind.element} {scalar}, i64 {lane}")

    def shuffle(self, kind: Kind, x: str, y: str, lanes: Sequence[int]) -> str:
        mask = ", ".join(f"i32 {i}" for i in lanes)
        return self.op(
            f"shufflevector {kind.text} {x}, {kind.text} {y}, <{len(lanes)} x i32> <{mask}>"
        )
