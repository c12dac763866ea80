"""Load a compiled model from a file: a shared library by ctypes, an object by llvmlite.

    program = load_program("model.so", threads=2)

Nothing of the compiler is imported: a program that only runs a model needs ctypes and numpy, and
llvmlite where the file is an object. A file is looked through before the system loads it, so
that one that is truncated, damaged, for another machine or no model at all is an error and no crash.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from pathlib import Path

from tfc.codegen.artifact import elf
from tfc.codegen.artifact.image import Image
from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.artifact.seal import is_whole
from tfc.codegen.pool import MAX_THREADS
from tfc.errors import ArtifactError, OptionError
from tfc.runtime.program import Address, Program

_INTERFACE = ("abi", "error", "arena_size", "create", "destroy", "run", "variable")
_MACHINES = {elf.EM_X86_64: ("x86_64", "amd64"), elf.EM_AARCH64: ("aarch64", "arm64")}

_lock = threading.Lock()
_seen: dict[str, list[tuple[int, int, int]]] = {}
"""For each path, the files that have been loaded from it: device, inode, time."""


def load_program(path: str | os.PathLike[str], *, threads: int = 0) -> Program:
    """An instance of the model in the file at ``path``.

    Args:
        path: a shared library or an object that `tfc-compile` or ``model.save`` wrote.
        threads: how many threads a run may use; 0 for as many as it was compiled for.

    Raises:
        ArtifactError: the file is missing, truncated, no model, of another interface version,
            or made for another machine; the message says which.
        OptionError: ``threads`` is no number from 0 to `MAX_THREADS`.
    """
    if type(threads) is not int or not 0 <= threads <= MAX_THREADS:
        raise OptionError(f"expected a number of threads from 0 to {MAX_THREADS}, got {threads!r}")
    path = os.path.realpath(path)
    image = Image.open(path)
    if platform.machine().lower() not in _MACHINES.get(image.machine, ()):
        raise ArtifactError(
            f"{path!r} is made for {image.machine_name}, this machine is {platform.machine()}",
            help="compile the model for it: tfc-compile --target=TRIPLE",
        )
    manifest = manifest_of(image)
    missing = [s for s in map(manifest.symbol, _INTERFACE) if s not in image.symbols]
    if missing:
        raise ArtifactError(f"{path!r} lacks {', '.join(missing)}: it is no whole model of tfc")
    whole = is_whole(image.data)
    if not whole and not (whole is None and image.is_library):  # others may have linked a library
        what = "is truncated, or no object of tfc: it has no digest" if whole is None else "is damaged or truncated"
        raise ArtifactError(f"{path!r} {what}", help="compile or copy it again")
    address, keep = _library(path) if image.is_library else _object(path)
    return Program(address, manifest.name, threads=threads, keep=keep)


def manifest_of(image: Image) -> Manifest:
    """The manifest embedded in a compiled model.

    Raises:
        ArtifactError: there is none, or several, or it cannot be read.
    """
    found = [name for name in image.defined if name.endswith("_manifest")]
    if len(found) != 1:
        what = f"{len(found)} models" if found else "no model"
        raise ArtifactError(f"{image.path!r} holds {what} of tfc: expected one NAME_manifest")
    manifest = Manifest.from_json(image.content(found[0]).rstrip(b"\0"))
    if manifest.symbol("manifest") != found[0]:
        raise ArtifactError(f"{image.path!r} is damaged: {found[0]} describes {manifest.name!r}")
    return manifest


def _library(path: str) -> tuple[Address, object]:
    try:
        library = ctypes.CDLL(_spelled(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        raise ArtifactError(f"the system cannot load {path!r}: {error}") from error

    def address(symbol: str) -> int:
        try:
            return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
        except AttributeError:
            return 0

    return address, library


def _spelled(path: str) -> str:
    """``path``, spelled anew when there is another file than at an earlier load.

    The system's loader compares names first: to it, a model that has been compiled again at
    the same path is the old one, which is still in memory.
    """
    status = Path(path).stat()
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
    with _lock:
        known = _seen.setdefault(path, [])
        if identity not in known:
            known.append(identity)
        folder, name = os.path.split(path)
        return os.path.join(folder, *["."] * known.index(identity), name)


def _object(path: str) -> tuple[Address, object]:
    try:
        from tfc.runtime.jit import load_object
    except ImportError as error:
        raise ArtifactError(
            f"loading the object {path!r} needs {error.name}",
            help="pip install llvmlite, or load a .so",
        ) from error
    library = load_object(Path(path).read_bytes())
    return library.address, library
