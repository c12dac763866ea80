"""LLVM's code generator behind one function; a process that does nothing else needs no more.

    data = generate(text, Machine("x86_64-unknown-linux-gnu", "x86-64-v3", "", 1))
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from llvmlite import binding as llvm


class Machine(NamedTuple):
    """What LLVM has to be told of a target.

    Attributes:
        triple: the platform.
        cpu: an instruction set by LLVM's name; "" for the default of the architecture.
        features: more of them, as ``+avx512vnni,...``.
        opt: the effort of code generation, 0 to 3.
    """

    triple: str
    cpu: str
    features: str
    opt: int


def generate(text: str, machine: Machine) -> bytes:
    """An object file of the functions in ``text``.

    Raises:
        RuntimeError: ``text`` is not valid IR; LLVM's message shows the line.
    """
    return generator(machine).emit_object(parse(text))


def parse(text: str) -> llvm.ModuleRef:
    """The verified module of ``text``; raises as `generate` does."""
    module = binding().parse_assembly(text)
    module.verify()
    return module


def new_generator(machine: Machine) -> llvm.TargetMachine:
    """A code generator: position independent, small code model."""
    target = binding().Target.from_triple(machine.triple)
    return target.create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=machine.opt, reloc="pic", codemodel="small"
    )


generator = cache(new_generator)
"""The same, kept for the next text."""


@cache
def binding():  # pyright: ignore # a module: llvmlite is imported when code is first generated
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding
