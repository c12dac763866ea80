"""Rules for loads, stores and gathers of a thread.

A buffer's ``i1`` takes a byte, and any byte but 0 reads as true. Lanes that a mask leaves out are never touched.
Lanes side by side are one access where the operation says that they are aligned (`kernel.ALIGNED`): 16 bytes at
most. Else each lane is an access of its own. Global buffers that nobody writes are read through the cache for constant data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from xdsl.dialects.builtin import MemRefType, VectorType
from xdsl.ir import Operation, SSAValue

from tfc.codegen.cpu.arith import add, multiply
from tfc.codegen.cpu.ir import Kind, Shape, literal
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value
    from tfc.codegen.gpu.translate import GpuTranslator

INDEX = Kind("i64")
GLOBAL, SHARED, LOCAL = "ptr addrspace(1)", "ptr addrspace(3)", "ptr"
"""The pointer types of buffers that are arguments, shared by a block, or a thread's own."""


def held(kind: Kind) -> Kind:
    """A scalar as it stands in memory."""
    return Kind("i8") if kind.element == "i1" else kind


class Memory:
    """A buffer as the rules see it.

    Attributes:
        kind: of an element in registers.
        held: of an element in memory.
        space: the type of its address.
    """

    def __init__(self, t: GpuTranslator, buffer: SSAValue) -> None:
        assert isinstance(buffer.type, MemRefType), "the verifier excludes others"
        self.t, self.code = t, t.code
        self.kind = t.shape(buffer.type.element_type).kind
        self.held = held(self.kind)
        self.space, self.base = t.spaces[buffer], t.text(buffer)
        self.flags = ", !invariant.load !1" if buffer in t.constant else ""
        self.size = self.held.width // 8

    def at(self, offset: str) -> str:
        """The address of an element."""
        if offset == "0":
            return self.base
        return self.code.op(f"getelementptr {self.held.text}, {self.space} {self.base}, i64 {offset}")

    def read(self, offset: str) -> str:
        loaded = self.code.op(f"load {self.held.text}, {self.space} {self.at(offset)}, align {self.size}{self.flags}")
        return self._as_value(loaded)

    def write(self, value: str, offset: str) -> None:
        self.code.do(f"store {self.held.text} {self._as_held(value)}, {self.space} {self.at(offset)}, align {self.size}")

    def read_many(self, offset: str, count: int) -> list[str]:
        """``count`` elements side by side, as few accesses as may be."""
        code, values = self.code, list[str]()
        for first, part in self._parts(count):
            where, kind = self.at(add(code, INDEX, offset, str(first))), Kind(self.held.element, part)
            align = part * self.size
            whole = code.op(f"load {kind.text}, {self.space} {where}, align {align}{self.flags}")
            values += [self._as_value(code.extract(kind, whole, lane)) for lane in range(part)]
        return values

    def write_many(self, values: Sequence[str], offset: str) -> None:
        code = self.code
        for first, part in self._parts(len(values)):
            where, kind = self.at(add(code, INDEX, offset, str(first))), Kind(self.held.element, part)
            whole = "poison"
            for lane, value in enumerate(values[first : first + part]):
                whole = code.insert(kind, whole, self._as_held(value), lane)
            code.do(f"store {kind.text} {whole}, {self.space} {where}, align {part * self.size}")

    def _parts(self, count: int) -> list[tuple[int, int]]:
        """The first element and the number of each access."""
        part = min(count, kernel.WIDEST // self.size)
        return [(first, part) for first in range(0, count, part)]

    def _as_value(self, loaded: str) -> str:
        return loaded if self.held == self.kind else self.code.op(f"icmp ne {self.held.text} {loaded}, 0")

    def _as_held(self, value: str) -> str:
        return value if self.held == self.kind else self.code.cast("zext", self.kind, value, self.held)


def _memory(t: Translator, buffer: SSAValue) -> Memory:
    return Memory(cast("GpuTranslator", t), buffer)


def _offsets(t: Translator, op: kernel.LoadOp | kernel.StoreOp, value: SSAValue) -> list[list[str]]:
    """The offset of every lane of every row."""
    code, step = t.code, t.text(op.lane_stride) if op.lane_stride else "1"
    sizes = value.type.get_shape() if isinstance(value.type, VectorType) else (1,)
    *rows, columns = sizes
    down = t.text(op.row_stride) if op.row_stride else "0"
    starts = [add(code, INDEX, t.text(op.offset), multiply(code, INDEX, down, str(r))) for r in range(*rows or [1])]
    return [[add(code, INDEX, s, multiply(code, INDEX, step, str(c))) for c in range(columns)] for s in starts]


def _is_one_access(op: kernel.LoadOp | kernel.StoreOp) -> bool:
    return kernel.ALIGNED in op.attributes and op.lane_stride is None and op.mask is None


def _load(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.LoadOp), "the table says so"
    memory, values = _memory(t, op.buffer), list[str]()
    for row in _offsets(t, op, op.result):
        if _is_one_access(op):
            values += memory.read_many(row[0], len(row))
        else:
            masks = t.rows(op.mask) if op.mask else ["true"] * len(row)
            values += [_masked(t, memory, m, o) for m, o in zip(masks, row, strict=True)]
    return values if isinstance(op.result.type, VectorType) else values[0]


def _masked(t: Translator, memory: Memory, mask: str, offset: str) -> str:
    """An element; 0 where the mask leaves it out."""
    zero = literal(memory.kind, 0)
    if mask in ("true", "false"):
        return memory.read(offset) if mask == "true" else zero
    (value,) = t.choose(mask, [Shape(memory.kind)], lambda: [memory.read(offset)], lambda: [zero])
    assert isinstance(value, str), "it is a scalar"
    return value


def _store(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.StoreOp), "the table says so"
    memory, values = _memory(t, op.buffer), t.rows(op.value)
    for number, row in enumerate(_offsets(t, op, op.value)):
        lanes = values[number * len(row) : (number + 1) * len(row)]
        if _is_one_access(op):
            memory.write_many(lanes, row[0])
            continue
        masks = t.rows(op.mask) if op.mask else ["true"] * len(row)
        for mask, value, offset in zip(masks, lanes, row, strict=True):
            _write_masked(t, memory, mask, value, offset)


def _write_masked(t: Translator, memory: Memory, mask: str, value: str, offset: str) -> None:
    def write() -> list[Value]:
        memory.write(value, offset)
        return []

    if mask == "true":
        write()
    elif mask != "false":
        t.choose(mask, [], write, None)


def _gather(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.GatherOp), "the table says so"
    memory, code, places = _memory(t, op.buffer), t.code, t.rows(op.offsets)
    narrow = t.shape(op.offsets.type).kind
    if narrow != INDEX:
        places = [code.cast("sext", narrow, p, INDEX) for p in places]
    offsets = [add(code, INDEX, t.text(op.offset), p) for p in places]
    masks = t.rows(op.mask) if op.mask else ["true"] * len(offsets)
    return [_masked(t, memory, m, o) for m, o in zip(masks, offsets, strict=True)]


def _scratch(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.ScratchOp), "the table says so"
    assert isinstance(op.result.type, MemRefType), "the verifier excludes others"
    cast("GpuTranslator", t).spaces[op.result] = LOCAL
    (size,) = op.result.type.get_shape()
    name = f"%{t.code.fresh('s')}"
    kind = held(t.shape(op.result.type.element_type).kind)
    t.code.entry.append(f"  {name} = alloca [{size} x {kind.text}], align {kernel.WIDEST}")
    return name


RULES: dict[type[Operation], Rule] = {
    kernel.LoadOp: _load,
    kernel.StoreOp: _store,
    kernel.GatherOp: _gather,
    kernel.ScratchOp: _scratch,
}
"""What each memory operation of ``kernel`` becomes on a GPU."""
