"""A model's object file from one object for each kernel, and one for the rest.

    objects = compile_all([kernel texts, interface, pool], target)
    data = join(objects[:n], names, objects[n:])

A kernel is translated under one name, `SYMBOL`, whatever the model calls it: so its text, and the
object that the cache has for it, are the same in every model with that kernel. Joining gives it
the model's name, and makes it and the thread pool private to the object, as models share no names.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from tfc.codegen.artifact import elf
from tfc.codegen.cpu.targets import Target

SYMBOL = "tfc_kernel"
"""What every kernel is called in an object of its own."""

POOL = ("tfc_parallel", "tfc_pool_acquire", "tfc_pool_release")
"""The functions of the thread pool."""


def is_joined(target: Target) -> bool:
    """Whether objects of ``target`` can be joined: 64-bit ELF."""
    others = ("darwin", "macos", "ios", "windows", "wasm")
    return target.pointer_bits == 64 and not any(word in target.triple for word in others)


def declarations(names: Sequence[str]) -> str:
    """LLVM declarations of kernels in other objects."""
    return "".join(f"declare hidden void @{name}(ptr, i64, i64) nounwind\n" for name in names)


def join(kernels: Sequence[bytes], names: Sequence[str], others: Sequence[bytes]) -> bytes:
    """One relocatable object.

    Args:
        kernels: objects that define `SYMBOL`.
        names: what the model calls each of them.
        others: objects that call them by these names, and the thread pool.
    """
    parts = [elf.read(data) for data in kernels]
    for part, name in zip(parts, names, strict=True):
        symbol = part.symbol(SYMBOL)
        assert symbol is not None, "the translator defines it"
        symbol.name = name
    parts += map(elf.read, others)
    for number, part in enumerate(parts):
        _number_locals(part, number)
        if number:
            _drop_notes(part)
    joined = elf.join(parts)
    for name in (*names, *POOL):
        symbol = joined.symbol(name)
        if symbol is not None and symbol.is_defined:
            symbol.binding, symbol.visibility = elf.STB_LOCAL, elf.STV_DEFAULT
    file = io.BytesIO()
    elf.write(joined, file)
    return file.getvalue()


def _number_locals(part: elf.Object, number: int) -> None:
    """Give private labels names that no other part has: LLVM's loader finds them by name."""
    for symbol in part.symbols:
        named = symbol.name and symbol.type not in (elf.STT_FILE, elf.STT_SECTION)
        if named and symbol.binding == elf.STB_LOCAL:
            symbol.name = f"{symbol.name}.{number}"


def _drop_notes(part: elf.Object) -> None:
    """Leave out what is about a whole object: notes and attributes, which the first part has."""
    kept = [s for s in part.sections if s.flags & elf.SHF_ALLOC or s.name.startswith(".debug")]
    part.sections = kept
    part.symbols = [s for s in part.symbols if s.section is None or s.section in kept]
