"""Object files in this process: load their bytes, find their symbols.

    library = load_object(compile_llvm(text, target))
    program = Program(library.address, "mlp", constants=arrays, keep=library)

Objects loaded here share one thread pool, an object of its own that is never unloaded: the code
that workers stand in must not go away.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

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
            binding.parse_assembly(f'target triple = "{target.triple}"'), fresh_machine(target)
        )
        try:
            self._engine.add_object_file(binding.ObjectFileRef.from_data(data))
            self._engine.finalize_object()
        except RuntimeError as error:
            raise ArtifactError(f"the object file cannot be loaded: {error}") from error

    def address(self, symbol: str) -> int:
        """The address of ``symbol``, 0 where the object has none."""
        return self._engine.get_global_value_address(symbol)


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

