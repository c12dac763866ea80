"""PTX for tests: kernels that apply one instruction to arrays, and modules that LLVM writes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tfc.codegen.llvm import Machine, new_generator, parse
from tfc.emulator import Module

HEAD = ".version 8.3\n.target sm_90\n.address_size 64\n"
_REGISTERS = {1: "%b", 2: "%h", 4: "%w", 8: "%d"}
_DECLARED = (
    ".reg .pred %p<8>; .reg .b16 %h<16>; .reg .b32 %w<32>; .reg .b64 %d<32>; .reg .b16 %b<16>;"
)
_ADDRESS = ".reg .b64 %a<16>; .reg .b32 %t<4>;"


def kernel(body: str, params: int, shared: str = "") -> str:
    """An entry ``k`` with that many words for parameters, loaded into ``%a0``, ``%a1``, ...; ``%t0`` is the thread."""
    listed = ", ".join(f".param .u64 p{n}" for n in range(params))
    loads = "\n".join(f"ld.param.u64 %a{n}, [p{n}];" for n in range(params))
    return f"{HEAD}.visible .entry k({listed})\n{{\n{_DECLARED}\n{_ADDRESS}\n{shared}\n{loads}\nmov.u32 %t0, %tid.x;\n{body}\nret;\n}}\n"


@cache
def module(text: str) -> Module:
    return Module(text)


def apply(instruction: str, *arrays: np.ndarray, result: Any, body: str = "") -> np.ndarray:
    """``instruction`` of as many threads as elements; its operands are ``d``, ``a``, ``b``, ``c``, ... by position.

    For instance ``apply("add.s32 {d}, {a}, {b};", x, y, result=np.int32)``.
    """
    count, kind = arrays[0].size, np.dtype(result)
    names: dict[str, str] = {}
    text = "cvt.u64.u32 %a15, %t0;\n"
    for n, array in enumerate(arrays):
        size = array.dtype.itemsize
        names["abcef"[n]] = register = f"{_REGISTERS[size]}{n + 1}"
        text += (
            f"mad.lo.u64 %a14, %a15, {size}, %a{n};\nld.global.b{8 * size} {register}, [%a14];\n"
        )
    names["d"] = register = f"{_REGISTERS[kind.itemsize]}15"
    text += instruction.format(**names)
    text += f"\nmad.lo.u64 %a14, %a15, {kind.itemsize}, %a{len(arrays)};\nst.global.b{8 * kind.itemsize} [%a14], {register};"
    out = np.zeros(count, kind)
    module(kernel(text, len(arrays) + 1)).launch(
        "k", 1, count, [*map(np.ascontiguousarray, arrays), out]
    )
    return out


@cache
def from_llvm(text: str, cpu: str = "sm_90", features: str = "+ptx83") -> str:
    """What LLVM makes of a module for a GPU."""
    return new_generator(Machine("nvptx64-nvidia-cuda", cpu, features, 2)).emit_assembly(
        parse(text)
    )


def launch(
    body: str, args: Sequence[Any], block: int = 32, grid: int = 1, shared: str = "", **options: Any
) -> None:
    """Run a kernel of that body."""
    module(kernel(body, len(args), shared)).launch("k", grid, block, args, **options)
