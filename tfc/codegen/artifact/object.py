"""The object artifact: LLVM's code and the weights in one relocatable ELF file.

    code.o: calls, and the undefined symbol mlp_weights   ->   model.o: the same, and a section
    .rodata.mlp_weights with the bytes, where the symbol is

A linker, ours (`link.py`) or the user's, sees nothing special in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from tfc.codegen.artifact import elf
from tfc.codegen.artifact.seal import is_whole, seal
from tfc.codegen.artifact.weights import ALIGNMENT, Weights
from tfc.errors import ArtifactError

REACH = (1 << 31) - (1 << 26)
"""Bytes that a 32-bit displacement spans, less 64 MB for code: what a linker may put between."""


def write_object(file: BinaryIO, objects: Sequence[bytes], weights: Weights, symbol: str) -> None:
    """Write one relocatable object with the code of ``objects`` and the weights.

    Args:
        file: empty, open for binary writing, seekable.
        objects: relocatable objects as LLVM emits them.
        weights: streamed; may be empty.
        symbol: the name under which the code refers to the weights.

    Raises:
        ArtifactError: not ELF, damaged, or too large for a linker to place.
    """
    if not weights.size and len(objects) == 1:
        file.write(objects[0])
        if elf.machine_of(objects[0]) is not None and is_whole(objects[0]) is None:
            seal(file)
        return
    if any(elf.machine_of(o) is None for o in objects):
        raise ArtifactError(
            "weights can be put into 64-bit little-endian ELF objects only, and this target's are not",
            help="--emit=llvm or --emit=asm writes the code; link the weights to it yourself",
        )
    if weights.size > REACH:
        raise ArtifactError(
            f"{weights.size:,} bytes of weights do not fit into an object: its code reaches 2 GB",
            help="write a shared library (-o model.so): there the weights lie behind the code",
        )
    elf.write(with_weights(elf.join([elf.read(o) for o in objects]), weights, symbol), file)
    seal(file)


def with_weights(target: elf.Object, weights: Weights, symbol: str) -> elf.Object:
    """Define ``symbol`` in ``target`` as the start of a section that holds ``weights``."""
    found = target.symbol(symbol)
    if found is None:
        return target  # the code reads no weights
    if found.is_defined:
        raise ArtifactError(f"the code defines {symbol!r} itself")
    flags = elf.SHF_ALLOC
    section = elf.Section(f".rodata.{symbol}", elf.SHT_PROGBITS, flags, ALIGNMENT, weights)
    found.section, found.value, found.size = section, 0, weights.size
    found.type, found.visibility = elf.STT_OBJECT, elf.STV_HIDDEN
    target.sections.append(section)
    return target
