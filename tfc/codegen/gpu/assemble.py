"""PTX as a GPU's machine code, by NVIDIA's assembler where this machine has it.

    data = assemble(text, "sm_90")       a cubin; empty where there is no assembler

An artifact with machine code starts at once on the generation that it is for. It has the PTX too, which the driver
compiles for any later one, so nothing depends on an assembler being there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tfc.codegen.cache import ObjectCache, key_of, object_cache
from tfc.codegen.llvm import Machine
from tfc.errors import InternalError

SHARDS, MAX_BYTES = 8, 128 << 20
"""Of the folder of machine code."""

_PLACES = ("/usr/local/cuda/bin/ptxas", "/usr/local/bin/ptxas")


@cache
def assembler() -> str:
    """The path of ``ptxas``: that of ``TFC_PTXAS``, or where it usually is; empty where there is none."""
    named = os.environ.get("TFC_PTXAS")
    if named is not None:
        return named
    return shutil.which("ptxas") or next((p for p in _PLACES if os.access(p, os.X_OK)), "")


def assemble(text: str, cpu: str) -> bytes:
    """The machine code of PTX; empty where there is no assembler, or none that knows ``cpu``.

    Raises:
        InternalError: it refuses the text.
    """
    if not assembler() or cpu not in _known():
        return b""
    cache, key = _cache(), key_of(text, Machine(_version(), cpu, "", 0))
    if cache and (found := cache.get(key)) is not None:
        return found
    made = _run(text, cpu)[0]
    if cache:
        cache.put(key, made)
    return made


@dataclass(frozen=True)
class Usage:
    """What a kernel takes of a multiprocessor.

    Attributes:
        registers: of a thread.
        stack: bytes of local memory of a thread.
        spilled: bytes of registers that a thread stores in local memory and loads again.
        shared: bytes of shared memory that a block declares.
    """

    registers: int
    stack: int
    spilled: int
    shared: int


def usage(text: str, cpu: str) -> dict[str, Usage]:
    """What each kernel of a PTX text takes, by name; empty where there is no assembler, or none that knows ``cpu``.

    Raises:
        InternalError: it refuses the text.
    """
    if not assembler() or cpu not in _known():
        return {}
    found: dict[str, Usage] = {}
    for part in _run(text, cpu)[1].split("Compiling entry function")[1:]:

        def number(pattern: str, part: str = part) -> int:
            return sum(map(int, re.findall(pattern, part)))

        stack, spilled = number(r"(\d+) bytes stack"), number(r"(\d+) bytes spill")
        found[part.split("'")[1]] = Usage(number(r"Used (\d+) registers"), stack, spilled, number(r"(\d+) bytes smem"))
    return found


def _run(text: str, cpu: str) -> tuple[bytes, str]:
    """Machine code, and what the assembler says of it."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        source.write_text(text, encoding="ascii")
        command = [assembler(), "-v", f"-arch={cpu}", "-o", str(made), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InternalError(f"bug in tfc: ptxas refuses the code for {cpu}\n{done.stderr.strip()}")
        return made.read_bytes(), done.stdout + done.stderr


def _cache() -> ObjectCache | None:
    """What was assembled before, in a folder of its own: it is larger than a kernel's object."""
    objects = object_cache()
    return ObjectCache(objects.folder / "cubins", MAX_BYTES, SHARDS) if objects else None


@cache
def _version() -> str:
    return subprocess.run([assembler(), "--version"], capture_output=True, text=True, check=False).stdout


@cache
def _known() -> frozenset[str]:
    """The generations that the assembler knows."""
    told = subprocess.run([assembler(), "--help"], capture_output=True, text=True, check=False).stdout
    allowed = told.partition("--gpu-name")[2]
    return frozenset(re.findall(r"'(sm_\d+[af]?)'", allowed.partition("--help")[0]))
