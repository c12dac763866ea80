"""CRC-32C of large arrays by compiled code: that of `tfc.codegen.state`, in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from tfc.checkpoint.crc import unmasked
from tfc.runtime.program import pointer_to


def crc32c(data: Any) -> int:
    """The checksum of a contiguous array of bytes; calls do not hold Python's lock."""
    return unmasked(_compiled()(pointer_to(data), data.nbytes))


@cache
def _compiled() -> Callable[[int, int], int]:
    from tfc.codegen.cpu.objects import compile_all
    from tfc.codegen.cpu.targets import Target
    from tfc.codegen.state import crc32c_llvm
    from tfc.runtime.jit import load_object

    target = Target.parse()
    (data,) = compile_all([f'target triple = "{target.triple}"\n{crc32c_llvm(target.required_features)}'], target)
    library = load_object(data)
    function: Any = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int64)(library.address("tfc_crc32c"))
    function.library = library  # its code lives as long as the function
    return function
