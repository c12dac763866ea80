"""Link a shared library with a C compiler, for machines that our own linker does not know.

Looked for are ``cc`` where the machine is this one, a cross compiler of its usual name
(``aarch64-linux-gnu-gcc``), and the package ``ziglang``, which links for any.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from tfc.codegen.artifact import elf
from tfc.codegen.artifact.libraries import needed
from tfc.codegen.artifact.object import write_object
from tfc.codegen.artifact.weights import Weights
from tfc.errors import ArtifactError

_FLAGS = ("-shared", "-nostartfiles", "-Wl,--build-id=none", "-Wl,-z,now")
"""No initialisers and no identifier: equal models give equal libraries."""


def link_by_tool(file: BinaryIO, code: bytes, weights: Weights, symbol: str, triple: str) -> None:
    """Write the shared library of ``code`` and ``weights`` for ``triple``.

    Raises:
        ArtifactError: there is no linker for that machine here, or it fails.
    """
    command = linker(triple)
    libraries = [f"-l{name}" for name in needed(_undefined(code, symbol)) if name != "c"]
    with tempfile.TemporaryDirectory(prefix="tfc-link-") as folder:
        source, result = Path(folder) / "model.o", Path(folder) / "model.so"
        with source.open("w+b") as part:
            write_object(part, [code], weights, symbol)
        line = [*command, *_FLAGS, "-o", str(result), str(source), *libraries]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise ArtifactError(f"{command[0]} cannot link the model for {triple}: {reason}")
        with result.open("rb") as made:
            shutil.copyfileobj(made, file)


def linker(triple: str) -> list[str]:
    """The start of a command line that links for ``triple``.

    Raises:
        ArtifactError: there is none on this machine.
    """
    machine = triple.split("-")[0]
    names = [f"{machine}-linux-gnu-gcc"]
    if platform.machine() == machine and "linux" in triple and sys.platform == "linux":
        names.insert(0, "cc")
    for name in names:
        if found := shutil.which(name):
            return [found]
    if "linux" in triple and importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu"]
    raise ArtifactError(
        f"there is no linker for {triple} here: looked for {', '.join(names)} and ziglang",
        help="pip install ziglang, or write an object (-o model.o) and link it on that machine",
    )


def _undefined(code: bytes, symbol: str) -> set[str]:
    relocations = (r for section in elf.read(code).sections for r in section.relocations)
    return {r.symbol.name for r in relocations if not r.symbol.is_defined} - {symbol}
