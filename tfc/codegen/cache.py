"""Objects on disk by what they were made from, so that nothing is generated twice.

    cache = object_cache()                            # None where it is switched off
    key = key_of(text, machine)
    data = cache.get(key) or generate(text, machine)

A key is a digest of the LLVM text, the machine and the versions, so an entry never goes stale and is
the same for everyone who writes it. Writers rename finished files into place: a reader sees a
whole entry or none. An entry opens with the digest of its data; one that does not fit is removed and
made again. Entries lie in shards, each of which drops those not used for longest when it is full.

    TFC_CACHE_DIR   where (default: tfc in the user's cache folder, XDG_CACHE_HOME)
    TFC_CACHE=0     no cache

What stands in the folder is run as code: it is readable and writable by its owner only, and one
that belongs to another user is not used.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from tfc import __version__
from tfc.codegen.llvm import Machine, binding

SHARDS = 64
MAX_BYTES = 64 << 20
"""Of all shards together: about 10,000 kernels, so that looking through a shard takes a millisecond."""

Buffer: TypeAlias = Any
"""Bytes, or an array of them."""

_DIGEST = 32
_ROOT = Path(__file__).parents[1]
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def key_of(text: str, machine: Machine) -> str:
    """The name of the object that LLVM makes of ``text`` for ``machine``."""
    from llvmlite import __version__ as llvmlite_version

    llvm_version = ".".join(map(str, binding().llvm_version_info))
    parts = (__version__, llvmlite_version, llvm_version, *map(str, machine), text)
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def state_of_compiler() -> str:
    """A digest of tfc's files, and of what a search tries in this process: another one may mean other code."""
    from tfc.codegen.schedule import tuned

    return f"{_files()} {tuned.trials()}"


@cache
def _files() -> str:
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(_ROOT):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(files):
            status = os.stat(os.path.join(folder, name))
            digest.update(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def object_cache() -> ObjectCache | None:
    """The cache that the environment asks for; None if it is switched off or cannot be used."""
    if os.environ.get("TFC_CACHE", "1").lower() in ("0", "off", "no", "false"):
        return None
    given = os.environ.get("TFC_CACHE_DIR")
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(given) if given else Path(home) / "tfc"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):  # no home, or nothing may be written there
        return None
    ours = status.st_uid == getattr(os, "getuid", lambda: status.st_uid)()
    # What lies there is run: nobody else may be able to put it there.
    return ObjectCache(folder) if ours and not status.st_mode & _OTHERS_WRITE else None


@dataclass(frozen=True)
class ObjectCache:
    """Entries in the shards of a folder. No method raises: what fails is a miss.

    Attributes:
        folder: made when it is needed.
        max_bytes: of all entries.
        shards: in how many folders they lie; an entry is not larger than one.
    """

    folder: Path
    max_bytes: int = MAX_BYTES
    shards: int = SHARDS

    def get(self, key: str) -> bytes | None:
        """The object of ``key``; None where there is none, or a damaged one, which is removed."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            data = content[_DIGEST:]
            if hashlib.sha256(data).digest() == content[:_DIGEST]:
                os.utime(path)  # used just now
                return data
            path.unlink()
        except OSError:
            pass
        return None

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data``; others that were not used for long may go."""
        path, limit = self._path(key), self.max_bytes // self.shards
        if len(data) + _DIGEST > limit:
            return
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_whole(path, [hashlib.sha256(data).digest(), data])
            evict(path.parent, limit)

    def _path(self, key: str) -> Path:
        return self.folder / f"{int(key[:8], 16) % self.shards:02d}" / key


def write_whole(path: Path, pieces: Iterable[Buffer]) -> None:
    """Write a file that appears when it is finished.

    Raises:
        OSError: it cannot be written; then nothing is left.
    """
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def evict(folder: Path, limit: int) -> None:
    """Remove the files of ``folder`` that were not used for longest, until they have ``limit`` bytes at most.

    What a writer that died left behind is among them, in its turn.
    """
    found: list[tuple[int, int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process evicts too
                status = entry.stat()
                found.append((status.st_mtime_ns, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        with suppress(FileNotFoundError):
            os.unlink(path)
        total -= size
