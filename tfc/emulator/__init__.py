"""An emulated NVIDIA GPU: the same PTX text that a driver gets, run and checked on this processor.

    module = Module(ptx)
    module.launch("add", grid=4, block=128, args=[x, y, out, 512])

PTX goes through `syntax` (text to instructions), `flow` (calls, blocks, what lives across waits) and `translate`
(LLVM IR of one thread, by the tables of rules in `integers`, `floats`, `memory`, `warp`, `matrix`, `copies`). `machine`
loads and launches, `runtime.ll` schedules threads and checks accesses, `driver` is the CUDA driver's interface over all
of it, so that host code for a GPU runs unchanged where there is none.
"""

from tfc.emulator.machine import MEMORY, EmulationError, Memory, Module
from tfc.emulator.syntax import PtxError

__all__ = ["MEMORY", "EmulationError", "Memory", "Module", "PtxError"]
