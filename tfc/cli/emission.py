"""What the kernels and the host program of a module become: LLVM IR, assembly, an object file."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp

from tfc.codegen.cpu.objects import compile_llvm, llvm_assembly
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cpu.translate import translate
from tfc.codegen.gpu.targets import GpuTarget, is_gpu
from tfc.compiler import Lowered, emit_llvm
from tfc.dialects.host import ProgramOp
from tfc.dialects.kernel import FuncOp
from tfc.errors import OptionError
from tfc.options import Options


def emit_kernels(module: ModuleOp, form: str, triple: str | None, cpu: str | None) -> str | bytes:
    """All ``kernel.func`` of ``module``, and its host program, in the given form: llvm, asm, obj or ptx.

    Where a GPU is named, and as ptx, these are the kernels for GPUs.

    Raises:
        OptionError: the module has no kernels, or the target is unknown.
    """
    kernels = [op for op in module.walk() if isinstance(op, FuncOp)]
    if not kernels:
        raise OptionError(
            f"expected a module with kernels for -t {form}, got one without",
            help="run the passes that make them first: -p optimise,lower",
        )
    if form == "ptx" or is_gpu(triple, cpu):
        return _for_gpu([k for k in kernels if k.target.data == "gpu"], form, cpu)
    target = Target.parse(triple, cpu)
    if any(isinstance(op, ProgramOp) for op in module.ops):
        text, _ = emit_llvm(Lowered(module, target, Options()))
    else:
        text = translate(kernels, target)
    if form == "llvm":
        return text
    if form == "asm":
        return llvm_assembly(text, target)
    return compile_llvm(text, target)


def _for_gpu(kernels: Sequence[FuncOp], form: str, cpu: str | None) -> str:
    from tfc.codegen.gpu import ptx, translate

    target = GpuTarget.parse(cpu)
    if not kernels:
        raise OptionError(f"expected kernels for {target.cpu}, got none", help="operations run where tfc.device says")
    if form == "obj":
        raise OptionError(f"of kernels for {target.cpu} there is no object", help="-t ptx, which its driver reads")
    return translate.translate(kernels, target) if form == "llvm" else ptx.ptx(kernels, target.cpu)
