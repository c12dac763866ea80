"""Rules for tensor cores, and for copies to shared memory that go on beside other work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from xdsl.ir import Operation, SSAValue

from tfc.codegen.cpu.ir import Code, Kind
from tfc.codegen.gpu.memory import GLOBAL, SHARED, held
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value
    from tfc.codegen.gpu.translate import GpuTranslator

_WORD = Kind("i32")

_PAIR = Kind("half", 2)

_MMA = {
    "f16": "m16n8k16.row.col.f32.f32",
    "bf16": "m16n8k16.row.col.bf16",
    "tf32": "m16n8k8.row.col.tf32",
    "s8": "m16n8k32.row.col.s8",
    "u8s8": "m16n8k32.row.col.u8.s8",
}
"""LLVM's names of the units of `kernel.UNITS`."""


def _address(t: Translator, buffer: SSAValue, offset: SSAValue) -> str:
    kind = held(t.shape(buffer.type.element_type).kind)  # pyright: ignore # the verifier excludes others
    space = cast("GpuTranslator", t).spaces[buffer]
    return t.code.op(f"getelementptr {kind.text}, {space} {t.text(buffer)}, i64 {t.text(offset)}")


def _copy_async(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.CopyAsyncOp), "the table says so"
    code, size = t.code, op.bytes_moved
    target, source = _address(t, op.target, op.place), _address(t, op.source, op.at)
    # What is used once goes past the L1 cache, where that is to be had.
    name = f"llvm.nvvm.cp.async.{'cg' if size == 16 else 'ca'}.shared.global.{size}.s"
    code.module.declare(name, "void", [SHARED, GLOBAL, "i32"])
    read = str(size) if op.inside is None else code.select(t.text(op.inside), _WORD, str(size), "0", scalar=True)
    code.do(f"call void @{name}({SHARED} {target}, {GLOBAL} {source}, i32 {read})")


def _commit_async(t: Translator, op: Operation) -> None:
    name = "llvm.nvvm.cp.async.commit.group"
    t.code.module.declare(name, "void", [])
    t.code.do(f"call void @{name}()")


def _wait_async(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.WaitAsyncOp), "the table says so"
    name = "llvm.nvvm.cp.async.wait.group"
    t.code.module.declare(name, "void", ["i32"])
    t.code.do(f"call void @{name}(i32 {op.pending.value.data})")


def _load_matrix(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.LoadMatrixOp), "the table says so"
    count = t.shape(op.result.type).rows
    form = ".trans" if op.transposed is not None else ""
    name = f"llvm.nvvm.ldmatrix.sync.aligned.m8n8.x{count}{form}.b16.p3"
    address = _address(t, op.buffer, op.offset)
    return _call(t.code, name, _WORD, count, [(SHARED, address)])


def _round_tf32(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.RoundTf32Op), "the table says so"
    rounded = [_call(t.code, "llvm.nvvm.f2tf32.rna", _WORD, 1, [("float", v)])[0] for v in t.rows(op.value)]
    return rounded if isinstance(t.values[op.value], list) else rounded[0]


def _pack(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.PackOp), "the table says so"
    code, lanes, pair = t.code, t.rows(op.value), Kind("i16", 2)
    words: list[str] = []
    for low, high in zip(lanes[::2], lanes[1::2], strict=True):
        both = code.insert(pair, code.insert(pair, "poison", low, 0), high, 1)
        words.append(code.bitcast(pair, both, _WORD))
    return words


def _mma(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.MmaOp), "the table says so"
    unit = op.kind.data
    sums = t.shape(op.c.type).kind
    words = [*t.rows(op.a), *t.rows(op.b)]
    if unit == "f16":
        factors = [(_PAIR.text, t.code.bitcast(_WORD, w, _PAIR)) for w in words]
    else:
        factors = [("i32", w) for w in words]
    name = f"llvm.nvvm.mma.{_MMA[unit]}"
    return _call(t.code, name, sums, 4, [*factors, *((sums.text, c) for c in t.rows(op.c))])


def _call(code: Code, name: str, kind: Kind, count: int, operands: Sequence[tuple[str, str]]) -> list[str]:
    """Call an intrinsic that gives ``count`` values."""
    result = kind.text if count == 1 else f"{{ {', '.join([kind.text] * count)} }}"
    code.module.declare(name, result, [k for k, _ in operands])
    made = code.op(f"call {result} @{name}({', '.join(f'{k} {v}' for k, v in operands)})")
    return [made] if count == 1 else [code.op(f"extractvalue {result} {made}, {n}") for n in range(count)]


RULES: dict[type[Operation], Rule] = {
    kernel.CopyAsyncOp: _copy_async,
    kernel.CommitAsyncOp: _commit_async,
    kernel.WaitAsyncOp: _wait_async,
    kernel.LoadMatrixOp: _load_matrix,
    kernel.PackOp: _pack,
    kernel.RoundTf32Op: _round_tf32,
    kernel.MmaOp: _mma,
}
"""What each of them becomes on a GPU."""
