"""Kernels for a GPU to LLVM IR for NVPTX; the rules for ``arith`` and ``math`` are those of CPUs.

    kernel.func @f(%x: memref<?xf32>, ..., %n: index) attributes {target = "gpu", block = 256, ...}
    ->  define ptx_kernel void @f(ptr addrspace(1) %a0, ..., i64 %a1, ptr addrspace(1) %status) "nvvm.reqntid"="256"

A thread's vectors are held as their lanes, a tile as all of its elements: a GPU's registers are scalars, but for loads and
stores. ``kernel.parallel`` goes over its range by the blocks of the grid. `tfc.codegen.gpu.ptx` says what parameters are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
from xdsl.dialects import scf
from xdsl.dialects.builtin import DenseArrayBase, IntegerType, MemRefType, VectorType
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.codegen.cpu.ir import Kind, Shape, element_name
from tfc.codegen.cpu.translate import RULES as SHARED_RULES
from tfc.codegen.cpu.translate import Rule, Translator, Value
from tfc.codegen.gpu import lanes, matrix, memory, threads
from tfc.codegen.gpu.library import GpuModule
from tfc.codegen.gpu.memory import GLOBAL
from tfc.codegen.gpu.targets import GpuTarget
from tfc.dialects import kernel

RESIDENT = 512
"""Threads of a multiprocessor that have 128 registers each."""

CARRIED = 66
"""Sums for which a thread has room in them; with more it may have twice as many registers."""


def translate(
    functions: Sequence[kernel.FuncOp],
    target: GpuTarget,
    messages: list[str] | None = None,
    *,
    symbol: str | None = None,
) -> str:
    """LLVM IR of some kernels; see `tfc.codegen.gpu.ptx.ptx` for the arguments.

    Args:
        symbol: the name of a single kernel in the text, instead of its own.
    """
    # What is shared of code generation asks a target for a few facts, which both kinds have.
    module = GpuModule(target, [] if messages is None else messages)  # pyright: ignore[reportArgumentType]
    for function in functions:
        module.bodies.append(GpuTranslator(module).function(function, symbol=symbol))
    return module.text


@lru_cache(maxsize=4096)
def shape_of(type_: Attribute) -> Shape:
    """How a value of this type is held: as many scalars as it has elements."""
    if not isinstance(type_, VectorType):
        return Shape(Kind(element_name(type_)))
    count = 1
    for size in type_.get_shape():
        count *= size
    return Shape(Kind(element_name(type_.element_type)), count)


class GpuTranslator(Translator):
    """One kernel on its way to LLVM IR."""

    machines = "GPUs"

    def __init__(self, module: GpuModule) -> None:
        super().__init__(module)
        self.lines, self.scope = module.lines, 0
        self.spaces: dict[SSAValue, str] = {}
        """The pointer type of each buffer."""
        self.constant: set[SSAValue] = set()
        """Buffers that nobody writes while the kernel runs."""
        self.places: dict[Operation, int] = {}
        """Where shared buffers lie that are part of the memory that the launch asks for."""
        self.name = ""

    @property
    def rules(self) -> Mapping[type[Operation], Rule]:
        return RULES

    def shape(self, type_: Attribute) -> Shape:
        return shape_of(type_)

    def apply(self, rule: Rule, op: Operation) -> Value | None:
        start = len(self.code.lines)
        made = rule(self, op)
        if (place := self.lines.place(self.scope, op.location)) != 0:
            lines = self.code.lines
            lines[start:] = [x if ", !dbg " in x or x[0] != " " else f"{x}, !dbg !{place}" for x in lines[start:]]
        return made

    def function(self, op: kernel.FuncOp, linkage: str = "", symbol: str | None = None) -> str:
        """The definition of ``op``, as text; its name and linkage are its own."""
        assert op.block is not None, "the verifier demands it"
        code, entry = self.code, op.body.block
        self.name = symbol or op.sym_name.data
        self.constant = _read_only(op)
        if op.shared is not None:
            self.places = kernel.shared_layout(op)[0]
        parameters: list[str] = []
        for number, argument in enumerate(entry.args):
            name = self.values[argument] = f"%a{number}"
            if isinstance(argument.type, MemRefType):
                self.spaces[argument] = GLOBAL
                alone = "noalias " if argument not in _overlapping(op) else ""
                parameters.append(f"{GLOBAL} {alone}align {kernel.WIDEST} {name}")
            else:
                parameters.append(f"i64 {name}")
        self.scope = self.lines.function(self.name, op.location)
        self.status = "%status"
        parameters.append(f"{GLOBAL} align 4 {self.status}")
        self.block(entry)
        body = "\n".join([*code.entry, *code.lines])
        head = f"define ptx_kernel void @{self.name}({', '.join(parameters)})"
        if resident := _resident(op):
            head += f' "nvvm.minctasm"="{resident}"'
        return f'{head} nounwind "nvvm.reqntid"="{op.block.value.data}" !dbg !{self.scope} {{\nentry:\n{body}\n  ret void\n}}\n'


def _resident(op: kernel.FuncOp) -> int:
    """The blocks at least that a multiprocessor shall have at a time; 0 where the assembler may choose.

    Sums stay in registers. Threads that multiply have so many that one block is enough, before any is spilled for
    a second one; beside tensor cores, whose operands come and go, `RESIDENT` threads hide what others wait for.
    """
    kinds = {type(o) for o in op.walk()}
    if kernel.MmaOp in kinds and op.block is not None:
        most = max((_carried(o) for o in op.walk() if isinstance(o, scf.ForOp)), default=0)
        return max(1, RESIDENT // op.block.value.data // (2 if most > CARRIED else 1))
    return int(kernel.OuterOp in kinds)


def _carried(loop: scf.ForOp) -> int:
    """The numbers that a loop carries in registers."""
    types = [v.type for v in loop.iter_args]
    return sum(int(np.prod(t.get_shape())) if isinstance(t, VectorType) else 1 for t in types)


def _overlapping(op: kernel.FuncOp) -> set[SSAValue]:
    """The arguments that may share memory with another."""
    if op.in_place is None:
        return set()
    pairs = cast("DenseArrayBase[IntegerType]", op.in_place)
    return {op.body.block.args[k] for k in pairs.get_values()}


def _read_only(op: kernel.FuncOp) -> set[SSAValue]:
    written = {o.buffer for o in op.walk() if isinstance(o, kernel.StoreOp)}
    unfit = written | _overlapping(op)
    return {a for a in op.body.block.args if isinstance(a.type, MemRefType) and a not in unfit}


ONLY_ON_CPUS = (kernel.AlignedOp, kernel.PrefetchOp, kernel.DotBytesOp)

RULES: dict[type[Operation], Rule] = {
    **{op: rule for op, rule in SHARED_RULES.items() if op not in ONLY_ON_CPUS},
    **memory.RULES,
    **lanes.RULES,
    **threads.RULES,
    **matrix.RULES,
}
"""What each operation becomes on a GPU."""
