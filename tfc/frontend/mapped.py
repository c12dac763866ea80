"""The bytes of a model file: mapped, and known by a digest of all of them.

    file = MappedFile(Path("bert.onnx"))
    file.digest                     "3f9a...": equal for equal files
    file.data                       a view of the mapped file; bytes are read when they are touched

The digest is read from the file, not from the mapping, so that its pages do not count as memory of the process.
It may be noted beside what the system says of the file: its place, its size, and when it was changed. A file of
which all that is the same is not read again. The time of the last change of its entry (ctime) is among it, which
nobody can set back; and a file that was changed so shortly before it was read that a later change might bear the
same time is not noted.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from tfc.errors import ModelFileError

_PIECE = 16 << 20
"""Bytes that are digested at a time by one thread; SHA-256 of a core is slower than memory."""
_STEP = 1 << 18

_TICK, _COARSE_TICK = 100_000_000, 2_000_000_000
"""Nanoseconds between two times that a file system surely tells apart; the second where it notes whole seconds."""


class Notes(Protocol):
    """Where digests are noted; what fails is a miss."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


class MappedFile:
    """A model file, and the files beside it in which it keeps weights.

    Attributes:
        beside: the latter by their paths within the folder, once the model was read.
        notes: of digests; None where files are read each time.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._folder = path, path.resolve().parent
        self.beside: Mapping[str, memoryview] = {}
        self.notes: Notes | None = None
        self._digest = ""

    @cached_property
    def data(self) -> memoryview:
        """Raises a ModelFileError where the file is empty or cannot be read."""
        return map_file(self.path)

    @property
    def digest(self) -> str:
        """Raises a ModelFileError where the file cannot be read."""
        self._digest = self._digest or digest_of_file(self.path, self.notes)
        return self._digest

    def parts(self) -> dict[str, memoryview]:
        """All its bytes, in pieces under names that say what is in those beside it."""
        beside = {f"{digest_of_file(self._folder / n, self.notes)} {n}": data for n, data in self.beside.items()}
        return {"": self.data} | beside

    def part(self, name: str) -> memoryview | None:
        """One of them; None where the file beside it is now another."""
        digest, _, beside = name.partition(" ")
        if not beside:
            return self.data
        try:
            path = self._folder / beside
            return map_file(path) if digest_of_file(path, self.notes) == digest else None
        except ModelFileError:
            return None


def map_file(path: Path) -> memoryview:
    """The bytes of a file, read when they are touched.

    Raises:
        ModelFileError: it is empty or cannot be read.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ModelFileError("the file is empty", where=str(path))
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def digest_of_file(path: Path, notes: Notes | None = None) -> str:
    """SHA-256 of the digests of its pieces, in hexadecimal; read in ``notes``, or noted there, where that is safe.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        if notes is None or os.name != "posix":  # elsewhere ctime is another time
            return _digest_of(path)
        begun, status = time.time_ns(), path.stat()
        key = _key_of(path, status)
        if (noted := notes.get(key)) is not None:
            return noted.decode()
        digest = _digest_of(path)
        if _is_settled(status, begun) and _key_of(path, path.stat()) == key:
            notes.put(key, digest.encode())
        return digest
    except OSError as error:
        raise _unreadable(path, error) from error


def _key_of(path: Path, status: os.stat_result) -> str:
    said = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return hashlib.sha256(f"{said} {os.path.realpath(path)}".encode(errors="surrogateescape")).hexdigest()


def _is_settled(status: os.stat_result, begun: int) -> bool:
    """Whether a change after the time ``begun`` bears another time than the last one before it."""
    last = max(status.st_mtime_ns, status.st_ctime_ns)
    return begun - last > (_TICK if last % 1_000_000_000 else _COARSE_TICK)


def _digest_of(path: Path) -> str:
    from concurrent.futures import ThreadPoolExecutor

    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        size = os.fstat(file.fileno()).st_size
        pieces = threads.map(lambda start: _digest_of_piece(path, start), range(0, max(size, 1), _PIECE))
        return hashlib.sha256(b"".join([size.to_bytes(8, "little"), *pieces])).hexdigest()


def _digest_of_piece(path: Path, start: int) -> bytes:
    digest, step, left = hashlib.sha256(), memoryview(bytearray(_STEP)), _PIECE
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while left and (count := file.readinto(step[: min(left, _STEP)])):
            digest.update(step[:count])
            left -= count
    return digest.digest()


def _unreadable(path: Path, error: Exception) -> ModelFileError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ModelFileError(f"cannot be read: {reason.lower()}", where=str(path))
