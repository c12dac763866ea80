"""The kernels of a program as PTX: one text, an entry for each kernel.

    text = ptx(kernels, "sm_90")
    .visible .entry relu(.param .u64 ... relu_param_0, ...)

Parameters are 8 bytes each: the arguments of the ``kernel.func`` in order (addresses of buffers on the device, at
multiples of 16 bytes, and named dims by value), then the address of an ``i32`` status on the device, where a failed
``kernel.check`` leaves its code unless another was there first.

A launch has ``max(1, min(grid, 2**31 - 1))`` blocks (none where the grid is 0) of ``block`` threads, and ``shared`` bytes of
dynamic shared memory: attributes of the ``kernel.func``.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfc.codegen.build import SYMBOL
from tfc.codegen.gpu.pieces import Piece, join, piece_of
from tfc.codegen.gpu.targets import PTX_VERSION, GpuTarget
from tfc.codegen.gpu.translate import translate
from tfc.codegen.llvm import Machine, generator, parse
from tfc.dialects.kernel import FuncOp
from tfc.errors import InternalError

_EMPTY = "\t.section\t.debug_macinfo\t{\t}\n"
"""What LLVM writes for the sections that it was told to leave out."""

CODEGEN_LEVEL = 2
"""LLVM's effort. The driver's own compiler optimises what comes out once more."""


def ptx(kernels: Sequence[FuncOp], cpu: str | None = None, messages: list[str] | None = None) -> str:
    """PTX of kernels for a GPU.

    Args:
        kernels: functions with ``target = "gpu"``.
        cpu: the GPU: a name of `tfc.codegen.gpu.targets.GPUS`.
        messages: what ``kernel.check`` may report, code ``k`` being ``messages[k - 1]``; messages
            that are not in it are appended.

    Raises:
        OptionError: there is no such GPU.
        InternalError: an operation stands there for which there is no rule.
    """
    target = GpuTarget.parse(cpu)
    messages = [] if messages is None else messages
    return join([piece(k, target, messages) for k in kernels], [k.sym_name.data for k in kernels])


def piece(kernel: FuncOp, target: GpuTarget, messages: list[str]) -> Piece:
    """PTX of one kernel, to be joined with others; raises as `ptx`."""
    return piece_of(ptx_of_llvm(translate([kernel], target, messages, symbol=SYMBOL), target))


def ptx_of_llvm(text: str, target: GpuTarget) -> str:
    """PTX of LLVM IR.

    Raises:
        InternalError: ``text`` is not valid IR; the message shows the line.
    """
    try:
        module = parse(text)
    except RuntimeError as error:
        raise InternalError(f"bug in tfc: invalid LLVM IR\n{error}") from error
    text = generator(machine_of(target)).emit_assembly(module)
    return text.replace(_EMPTY, "")


def machine_of(target: GpuTarget) -> Machine:
    """How LLVM calls ``target``."""
    return Machine(target.triple, target.cpu, f"+ptx{PTX_VERSION}", CODEGEN_LEVEL)

