"""Kernels given as text, compiled for this machine and called on numpy arrays."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding as llvm
from xdsl.context import Context
from xdsl.dialects import arith, builtin, math, scf
from xdsl.parser import Parser

from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import ISAS, Target, host_features
from tfc.codegen.cpu.translate import translate
from tfc.dialects.kernel import FuncOp, Kernel

RUNNABLE = [
    name for name, isa in ISAS.items() if isa.arch == "x86_64" and set(isa.needs) <= host_features()
] or ["native"]
"""The ISAs that this machine can run."""

OLDEST_AND_NEWEST = sorted({RUNNABLE[0], RUNNABLE[-1]})
"""For what depends little on the ISA."""


def parse(text: str) -> list[FuncOp]:
    """The kernels of a module's text."""
    context = Context()
    for dialect in (builtin.Builtin, arith.Arith, math.Math, scf.Scf, Kernel):
        context.load_dialect(dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    return [op for op in module.body.block.ops if isinstance(op, FuncOp)]


class Compiled:
    """The kernel ``k`` of a text, callable with arrays and integers for its arguments."""

    def __init__(self, text: str, cpu: str) -> None:
        self.target = Target.parse(None, cpu)
        self.messages: list[str] = []
        self.llvm = translate(parse(text), self.target, self.messages)
        self.object = compile_llvm(self.llvm, self.target)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        host = llvm.Target.from_default_triple().create_target_machine()
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host)
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(self.object))
        self.engine.finalize_object()
        address = self.engine.get_function_address("k")
        slots, index = ctypes.c_void_p, ctypes.c_int64
        self.function = ctypes.CFUNCTYPE(None, slots, index, index)(address)

    def __call__(self, *args: Any, lo: int = 0, hi: int = 1, status: int = 0) -> int:
        """Run iterations ``lo`` to ``hi``; gives the status afterwards."""
        state = np.array([status], np.int32)
        values = [a.ctypes.data if isinstance(a, np.ndarray) else int(a) for a in args]
        slots = np.array([*values, state.ctypes.data], np.int64)
        self.function(slots.ctypes.data, lo, hi)
        return int(state[0])


@cache
def compiled(text: str, cpu: str = "native") -> Compiled:
    return Compiled(text, cpu)


def elementwise(
    op: str, lanes: int, element: str, operands: int = 1, result: str = "", attributes: str = ""
) -> str:
    """A kernel that applies ``op`` (with its operands' names) to whole vectors."""

    def of(kind: str) -> str:
        return f"vector<{lanes}x{kind}>" if lanes else kind

    result, lanes_or_one = result or element, max(1, lanes)
    names = "abc"[:operands]
    arguments = ", ".join(f"%{n}: memref<?x{element}>" for n in names)
    loads = "\n".join(
        f"%v{n} = kernel.load %{n}[%off] : memref<?x{element}>, {of(element)}" for n in names
    )
    values = ", ".join(f"%v{n}" for n in names)
    type_ = f"{of(element)} to {of(result)}" if result != element else of(element)
    return f"""
    kernel.func @k({arguments}, %y: memref<?x{result}>, %n: index)
        attributes {{dims = ["n"], grid = "n", grain = 1}} {{
      %c = arith.constant {lanes_or_one} : index
      kernel.parallel %i to %n {{
        %off = arith.muli %i, %c : index
        {loads}
        %r = {op} {values} {attributes} : {type_}
        kernel.store %r, %y[%off] : {of(result)}, memref<?x{result}>
      }}
    }}"""


def apply(
    op: str, *arrays: np.ndarray, lanes: int = 16, cpu: str = "native", result: Any = None, element: str = "", to: str = "",
    attributes: str = "",
) -> np.ndarray:
    """``op`` on whole arrays of one dtype."""
    first = arrays[0]
    kinds = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.bool_): "i1"}
    kind = element or kinds.get(first.dtype) or f"i{first.dtype.itemsize * 8}"
    given = np.dtype(result) if result is not None else first.dtype
    gives = to or (kinds.get(given) or f"i{given.itemsize * 8}" if result is not None else kind)
    step = max(1, lanes)
    padded = [np.concatenate([a.ravel(), np.ones(-a.size % step, a.dtype)]) for a in arrays]
    out = np.zeros(padded[0].size, given)
    blocks = out.size // step
    run = compiled(elementwise(op, lanes, kind, len(arrays), gives, attributes), cpu)
    assert run(*padded, out, blocks, hi=blocks) == 0
    return out[: first.size].reshape(first.shape)

