"""Object files in this process: load their bytes, find their symbols.

    library = load_object(compile_llvm(text, target))
    program = Program(library.address, "mlp", constants=arrays, keep=library)

Objects loaded here share one thread pool, an object of its own that is never unloaded: the code
that workers stand in must not go away.

Code reaches its data by 32 bits, and LLVM's memory manager puts sections wherever memory is free: beside
a mapped file of 2 GB these may be too far apart. llvmlite's takes one piece for all of them.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

from tfc.codegen.artifact import elf
from tfc.codegen.build import POOL
from tfc.codegen.cpu.objects import compile_all, fresh_machine
from tfc.codegen.cpu.targets import Target
from tfc.codegen.pool import pool_llvm
from tfc.errors import ArtifactError

if TYPE_CHECKING:
    from llvmlite import binding as llvm

_lock = threading.Lock()


class JitLibrary:
    """The code of one object file, in memory as long as this lives."""

    def __init__(self, data: bytes) -> None:
        from llvmlite import binding

        target = Target.parse()
        self._engine: llvm.ExecutionEngine = binding.create_mcjit_compiler(
            binding.parse_assembly(f'target triple = "{target.triple}"'),
            fresh_machine(target),
            use_lmm=elf.machine_of(data) is not None,
        )
        try:
            self._engine.add_object_file(binding.ObjectFileRef.from_data(_with_slack(data)))
            self._engine.finalize_object()
        except RuntimeError as error:
            raise ArtifactError(f"the object file cannot be loaded: {error}") from error

    def address(self, symbol: str) -> int:
        """The address of ``symbol``, 0 where the object has none."""
        return self._engine.get_global_value_address(symbol)


def _with_slack(data: bytes) -> bytes:
    """An ELF object with an empty section for code, for constants and for variables each.

    llvmlite's memory manager reserves the sizes of sections, but then asks for room to align each.
    """
    if elf.machine_of(data) is None:
        return data
    header = list(elf.HEADER.unpack_from(data))
    start, size, count = header[6], header[11], header[12]
    rows = data[start : start + size * count]
    if size != elf.SECTION.size or len(rows) != size * count:
        return data  # damaged: LLVM says how
    needed = 4096 + sum(2 * row[8] + 64 for row in elf.SECTION.iter_unpack(rows))
    for flags in (elf.SHF_EXECINSTR, 0, elf.SHF_WRITE):
        flags |= elf.SHF_ALLOC
        rows += elf.SECTION.pack(0, elf.SHT_NOBITS, flags, 0, 0, needed, 0, 0, 16, 0)
    padding = bytes(-len(data) % 8)
    header[6], header[12] = len(data) + len(padding), count + 3
    return b"".join([elf.HEADER.pack(*header), data[elf.HEADER.size :], padding, rows])


def load_object(data: bytes) -> JitLibrary:
    """Load an object file that `compile_llvm` made for this machine.

    Raises:
        ArtifactError: the bytes are no object file.
    """
    with _lock:
        _shared_pool()
        return JitLibrary(data)


@cache
def _shared_pool() -> JitLibrary:
    """The process's thread pool; its functions become known to objects loaded later."""
    from llvmlite import binding

    target = Target.parse()
    (data,) = compile_all([pool_llvm(target.triple, exported=True)], target)
    pool = JitLibrary(data)
    for name in POOL:
        binding.add_symbol(name, pool.address(name))
    return pool
