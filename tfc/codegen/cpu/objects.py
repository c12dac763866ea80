"""LLVM IR text to machine code, by llvmlite.

No IR passes run: the generators write what an optimiser would leave, and code generation at
level 1 then gives the speed of O3 at a third of its compile time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfc.codegen.cache import key_of, object_cache
from tfc.codegen.cpu.targets import Target
from tfc.codegen.llvm import Machine, generate, generator, new_generator
from tfc.codegen.llvm import parse as parse_llvm
from tfc.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    try:
        return generate(text, machine_of(target, opt))
    except RuntimeError as error:
        raise _invalid(error) from error


def compile_all(texts: Sequence[str], target: Target) -> list[bytes]:
    """An object file of each text, from the cache where it was made before.

    Raises:
        InternalError: a text is not valid IR.
    """
    cache, machine = object_cache(), machine_of(target)
    keys = [key_of(text, machine) for text in texts]
    made = {key: data for key in keys if cache and (data := cache.get(key))}
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in made}
    try:
        generated = [generate(text, machine) for text in missing.values()]
    except RuntimeError as error:
        raise _invalid(error) from error
    for key, data in zip(missing, generated, strict=True):
        made[key] = data
        if cache:
            cache.put(key, data)
    return [made[key] for key in keys]


def llvm_assembly(text: str, target: Target, *, opt: int = CODEGEN_LEVEL) -> str:
    """The same as assembly text."""
    return machine(target, opt).emit_assembly(parse(text))


def parse(text: str) -> llvm.ModuleRef:
    """The verified module of ``text``."""
    try:
        return parse_llvm(text)
    except RuntimeError as error:
        raise _invalid(error) from error


def _invalid(error: RuntimeError) -> InternalError:
    return InternalError(f"bug in tfc: invalid LLVM IR\n{error}")


def machine_of(target: Target, opt: int = CODEGEN_LEVEL) -> Machine:
    """How LLVM calls ``target``."""
    return Machine(target.triple, target.isa.llvm, target.features, opt)


def machine(target: Target, opt: int = CODEGEN_LEVEL) -> llvm.TargetMachine:
    """LLVM's code generator for ``target``."""
    return generator(machine_of(target, opt))


def fresh_machine(target: Target) -> llvm.TargetMachine:
    """A code generator of its own: an engine takes it over."""
    return new_generator(machine_of(target))
