"""PTX as a GPU's machine code, by NVIDIA's assembler where this machine has it.

    data = assemble(text, "sm_90")       a cubin; empty where there is no assembler

An artifact with machine code starts at once on the generation that it is for. It has the PTX too, which the driver
compiles for any later one, so nothing depends on an assembler being there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tfc.errors import InternalError

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
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        source.write_text(text, encoding="ascii")
        command = [assembler(), f"-arch={cpu}", "-o", str(made), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InternalError(f"bug in tfc: ptxas refuses the code for {cpu}\n{done.stderr.strip()}")
        return made.read_bytes()


@cache
def _known() -> frozenset[str]:
    """The generations that the assembler knows."""
    told = subprocess.run([assembler(), "--help"], capture_output=True, text=True, check=False).stdout
    return frozenset(word.strip("'.,") for word in told.split() if word.strip("'.,").startswith("sm_"))
