"""Rules for the threads of a block: their numbers, shared memory, barriers, shuffles, and the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from xdsl.ir import Operation

from tfc.codegen.cpu.ir import Code, Kind
from tfc.codegen.gpu.memory import SHARED, held
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value
    from tfc.codegen.gpu.translate import GpuTranslator

DYNAMIC = "tfc_dynamic_shared"
"""The symbol of the shared memory that a launch asks for."""

_WORD = Kind("i32")


def register(code: Code, name: str) -> str:
    """A special register as an index: ``tid.x``, ``ctaid.x``, ``nctaid.x``."""
    full = f"llvm.nvvm.read.ptx.sreg.{name}"
    code.module.declare(full, "i32", [])
    return code.cast("zext", _WORD, code.op(f"call i32 @{full}()"), Kind("i64"))


def _parallel(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.ParallelOp), "the table says so"
    index = op.body.block.args[0]

    def body(counter: str, _: list[Value]) -> list[Value]:
        t.values[index] = counter
        t.block(op.body.block)
        return []

    bounds = (register(t.code, "ctaid.x"), t.text(op.upper), register(t.code, "nctaid.x"))
    t.loop(Kind("i64"), bounds, [], body)


def _thread(t: Translator, op: Operation) -> Value:
    return register(t.code, "tid.x")


def _shared(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.SharedOp), "the table says so"
    gpu, helpers, align = cast("GpuTranslator", t), t.code.module.helpers, kernel.SHARED_ALIGNMENT
    gpu.spaces[op.result] = SHARED
    if op in gpu.places:
        helpers[DYNAMIC] = f"@{DYNAMIC} = external addrspace(3) global [0 x i8], align {align}"
        if not gpu.places[op]:
            return f"@{DYNAMIC}"
        return t.code.op(f"getelementptr inbounds i8, {SHARED} @{DYNAMIC}, i64 {gpu.places[op]}")
    (size,) = op.result.type.get_shape()
    name = f"{gpu.name}.{t.code.fresh('shared')}"
    kind = held(t.shape(op.result.type.element_type).kind)
    helpers[name] = f"@{name} = internal addrspace(3) global [{size} x {kind.text}] undef, align {align}"
    return f"@{name}"


def _barrier(t: Translator, op: Operation) -> None:
    name = "llvm.nvvm.barrier.cta.sync.aligned.all"
    t.code.module.declare(name, "void", ["i32"])
    t.code.do(f"call void @{name}(i32 0)")


_SHUFFLES = {"xor": ("bfly", 31), "down": ("down", 31), "up": ("up", 0), "index": ("idx", 31)}
"""PTX's names, and the last operand: the farthest lane that is read from."""


def _shuffle(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.ShuffleOp), "the table says so"
    kind = t.shape(op.value.type).kind
    lane = t.code.cast("trunc", Kind("i64"), t.text(op.lane), _WORD)
    return t.each_row(op, lambda _, args: shuffle(t.code, op.kind.data, kind, args[0], lane))


def shuffle(code: Code, name: str, kind: Kind, value: str, lane: str) -> str:
    """``kernel.shuffle`` of one scalar; ``lane`` is an i32."""
    bits = code.bitcast(kind, value, kind.bits)
    if kind.width < 32:
        moved = _move(code, name, code.cast("zext", kind.bits, bits, _WORD), lane)
        bits = code.cast("trunc", _WORD, moved, kind.bits)
    elif kind.width == 32:
        bits = _move(code, name, bits, lane)
    else:
        pair = Kind("i32", 2)
        halves, whole = code.bitcast(kind.bits, bits, pair), "poison"
        for half in range(2):
            one = _move(code, name, code.extract(pair, halves, half), lane)
            whole = code.insert(pair, whole, one, half)
        bits = code.bitcast(pair, whole, kind.bits)
    return code.bitcast(kind.bits, bits, kind)


def _move(code: Code, name: str, word: str, lane: str) -> str:
    mode, last = _SHUFFLES[name]
    full = f"llvm.nvvm.shfl.sync.{mode}.i32"
    code.module.declare(full, "i32", ["i32"] * 4)
    return code.op(f"call i32 @{full}(i32 -1, i32 {word}, i32 {lane}, i32 {last})")


def _ballot(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.BallotOp), "the table says so"
    name = "llvm.nvvm.vote.ballot.sync"
    t.code.module.declare(name, "i32", ["i32", "i1"])
    return t.code.op(f"call i32 @{name}(i32 -1, i1 {t.text(op.holds)})")


def _check(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.CheckOp), "the table says so"
    code, holds = t.code, [h for h in t.rows(op.holds) if h != "true"]
    if not holds:
        return
    all_ = holds[0]
    for one in holds[1:]:
        all_ = code.op(f"and i1 {all_}, {one}")
    number = code.module.code(op.message.data)

    def report() -> list[Value]:
        where = f"ptr addrspace(1) {t.status}"
        code.op(f'cmpxchg {where}, i32 0, i32 {number} syncscope("device") monotonic monotonic, align 4')
        return []

    t.choose(code.op(f"xor i1 {all_}, true"), [], report, None, hint=", !prof !0")


RULES: dict[type[Operation], Rule] = {
    kernel.ParallelOp: _parallel,
    kernel.ThreadOp: _thread,
    kernel.SharedOp: _shared,
    kernel.BarrierOp: _barrier,
    kernel.ShuffleOp: _shuffle,
    kernel.BallotOp: _ballot,
    kernel.CheckOp: _check,
}
"""What each of them becomes on a GPU."""
