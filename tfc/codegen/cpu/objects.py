"""LLVM IR text to machine code, by llvmlite.

No IR passes run: the generators write what an optimiser would leave, and code generation at
level 1 then gives the speed of O3 at a third of its compile time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tfc.codegen.cpu.targets import Target
from tfc.errors import InternalError

if TYPE_CHECKING:
    from llvmlite import binding as llvm

CODEGEN_LEVEL = 1
"""LLVM's effort: 2 and 3 gained nothing on kernels, 0 costs a factor of two to three."""


def compile_llvm(text: str, target: Target, *, opt: int = CODEGEN_LEVEL) -> bytes:
    """An object file of the functions in ``text`` (position independent, small code model).

    Args:
        text: LLVM IR.
        target: what to generate for.
        opt: effort of code generation, 0 to 3.

    Raises:
        InternalError: ``text`` is not valid IR; the message shows the line.
    """
    return machine(target, opt).emit_object(parse(text))


def llvm_assembly(text: str, target: Target, *, opt: int = CODEGEN_LEVEL) -> str:
    """The same as assembly text."""
    return machine(target, opt).emit_assembly(parse(text))


def parse(text: str) -> llvm.ModuleRef:
    """The verified module of ``text``."""
    binding = _llvm()
    try:
        module = binding.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"bug in tfc: invalid LLVM IR\n{error}") from error
    return module


@cache
def machine(target: Target, opt: int = CODEGEN_LEVEL) -> llvm.TargetMachine:
    """LLVM's code generator for ``target``."""
    return _llvm().Target.from_triple(target.triple).create_target_machine(
        cpu=target.isa.llvm, features=target.features, opt=opt, reloc="pic", codemodel="small"
    )


@cache
def _llvm():  # pyright: ignore # a module: llvmlite is imported when code is first generated
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding
