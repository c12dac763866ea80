"""Programs that were compiled before, found by the model and by everything that has a say in their code.

    programs = program_cache(options)                 # None where nothing is kept
    ready = programs.get(model)                       # a Ready, or None
    programs.put(model, ready)

What is kept is the object and the constants as the code reads them: packed, folded, in order. So a model that
was met before runs without a pass, a kernel or a weight being made again, and of a model file without its
graph being read. Constants that are a part of the model's own bytes are named by their place there; the others
are kept, large ones in a file of their own.

    <cache>/programs/07/<key>      a line of JSON, the object, small constants     see `ObjectCache`
    <cache>/weights/<key>          large constants, each at a line of the caches; mapped where they are
    <cache>/files/03/<key>         the digest of a model file

The key is a digest of the model, the options, the target, the state of tfc's files and the versions of what it
builds on. Everything is checked when it is read: the entry by its digest, a block of constants by the digest
of the sums of its pieces, which is as fast as memory. Writers rename finished files into place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
import os
import platform
import shutil
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tfc.codegen.artifact.manifest import ITEM_SIZES
from tfc.codegen.build import is_joined
from tfc.codegen.cache import (
    ObjectCache,
    evict,
    key_of,
    object_cache,
    state_of_compiler,
    write_whole,
)
from tfc.codegen.cpu.objects import machine_of
from tfc.codegen.cpu.targets import Target
from tfc.errors import NoGpuError
from tfc.runtime.arrays import LINE, empty

if TYPE_CHECKING:
    from tfc.options import Options
    from tfc.runtime.program import Program

Array = NDArray[Any]

SHARDS, MAX_BYTES = 16, 256 << 20
"""Of the folder of programs."""

MAX_NOTES = 1 << 20
"""Bytes of all digests of files that are noted: about 10,000."""

MAX_WEIGHTS = 2 << 30
"""Bytes of all blocks of constants together. A model with more in one block is compiled anew each time."""

INLINE = 1 << 16
"""Constants that have fewer bytes in all stand in the entry."""

_PIECE = 2 << 20
"""Bytes that are written and checked at a time: those of a huge page, as which a file written so can be mapped."""

_writers: dict[Path, Thread] = {}
"""What wrote large constants last, or still does, by their file. Python ends after them."""

_WATCHING = ("TFC_DEBUG", "TFC_DUMP", "TFC_VALIDATE", "TFC_VERIFY")


class Model(Protocol):
    """What a program is made from.

    Attributes:
        digest: of all that it says.
    """

    @property
    def digest(self) -> str: ...
    def parts(self) -> Mapping[str, memoryview]:
        """Bytes that it holds, of which constants may be parts, under names."""
        ...

    def part(self, name: str) -> memoryview | None:
        """Those of a name that `parts` gave; None where they are not what they were."""
        ...


@dataclass(frozen=True)
class Ready:
    """A program that is ready to be loaded into this process.

    Attributes:
        name: the prefix of its symbols.
        constants: in the order of their offsets.
        initial: the values that variables begin with, by name.
    """

    name: str
    object: bytes
    constants: Sequence[Array]
    initial: Mapping[str, Array]


def program_cache(options: Options) -> ProgramCache | None:
    """The cache of programs compiled so; None where the environment or somebody who watches wants none."""
    target = Target.parse(options.target, options.cpu)
    watched = options.instruments or options.validate_each_pass or any(os.environ.get(n, "0") != "0" for n in _WATCHING)
    if watched or options.check_effects != "error" or not is_joined(target):
        # Who watches wants to see the passes, and warnings are given each time.
        return None
    objects = object_cache()
    return ProgramCache(objects.folder, options, target) if objects else None


class ProgramCache:
    """What is known of programs. No method raises: what fails is a miss.

    Attributes:
        notes: of the digests of model files; see `tfc.frontend.mapped`.
    """

    def __init__(self, folder: Path, options: Options, target: Target) -> None:
        self.notes = ObjectCache(folder / "files", MAX_NOTES, SHARDS)
        self._entries = ObjectCache(folder / "programs", MAX_BYTES, SHARDS)
        self._weights = folder / "weights"
        self._how = json.dumps([state_of_compiler(), _versions(), target.attributes, *_said(options)])
        self._machine = machine_of(target)

    def get(self, model: Model) -> Ready | None:
        """The program of ``model``, if all of it is there and whole."""
        key = self._key(model)
        if (writer := _writers.get(self._weights / key)) is not None:
            writer.join()
        if (entry := self._entries.get(key)) is None:
            return None
        line, _, rest = entry.partition(b"\n")
        head = json.loads(line)
        block = self._block(key, rest[head["object"] :], head["sums"])
        parts = {name: model.part(name) for name in head["parts"]}
        if block is None or None in parts.values():
            return None
        sources = [block, *(np.frombuffer(p, np.uint8) for p in parts.values() if p is not None)]

        def array(place: Sequence[Any]) -> Array:
            source, start, name, shape = place
            size = int(np.prod(shape, dtype=np.int64)) * ITEM_SIZES[name]
            return sources[source][start : start + size].view(_dtype(name)).reshape(shape)

        initial = {name: array(place) for name, place in head["initial"].items()}
        return Ready(head["name"], rest[: head["object"]], [array(p) for p in head["constants"]], initial)

    def put(self, model: Model, ready: Ready) -> None:
        """Keep a program; where it has large constants, in a thread, so that it runs meanwhile."""
        key, parts = self._key(model), dict(model.parts())
        block = _Block()
        sources = [(_address(p), p.nbytes) for p in parts.values()]

        def place(array: Array) -> Sequence[Any]:
            address = array.ctypes.data
            for k, (start, size) in enumerate(sources, 1):
                if start <= address and address + array.nbytes <= start + size and array.nbytes:
                    return k, address - start, array.dtype.name, array.shape
            return 0, block.add(array), array.dtype.name, array.shape

        head = {
            "name": ready.name,
            "object": len(ready.object),
            "parts": list(parts),
            "constants": [place(c) for c in ready.constants],
            "initial": {n: place(a) for n, a in ready.initial.items()},
        }

        def write(sums: str, inline: bytes = b"") -> None:
            self._entries.put(key, json.dumps({**head, "sums": sums}).encode() + b"\n" + ready.object + inline)

        def write_large() -> None:
            if (sums := self._keep(key, block)) is not None:
                write(sums)

        if block.size < INLINE:
            write("", b"".join(p.tobytes() for p in block.pieces()))
            return
        writer = Thread(target=write_large, name="tfc-cache")
        try:
            writer.start()
        except RuntimeError:  # Python is ending, or there are too many threads
            return write_large()
        _writers[self._weights / key] = writer

    def _key(self, model: Model) -> str:
        return key_of(f"{model.digest} {self._how}", self._machine)

    def _block(self, key: str, inline: bytes, sums: str) -> Array | None:
        """The kept constants in memory of their own, at the beginning of a line of the caches."""
        if not sums:
            block = empty((len(inline),), np.dtype(np.uint8))
            block[:] = np.frombuffer(inline, np.uint8)
            return block
        path = self._weights / key
        try:
            block, digest = _mapped(path)
            if digest == sums:
                os.utime(path)  # used just now
                return block
            path.unlink()
        except (OSError, ValueError):
            pass
        return None

    def _keep(self, key: str, block: _Block) -> str | None:
        """Write a block; what it is checked by, or None where there is no room."""
        sums: list[bytes] = []

        def pieces() -> Iterator[Array]:
            for piece in block.pieces():
                sums.append(_sum(piece))
                yield piece

        with suppress(OSError):
            self._weights.mkdir(mode=0o700, exist_ok=True)
            if block.size > min(MAX_WEIGHTS, shutil.disk_usage(self._weights).free // 4):
                return None
            evict(self._weights, MAX_WEIGHTS - block.size)
            write_whole(self._weights / key, pieces())
            return _digest(sums)
        return None


def wait_until_kept() -> None:
    """Return when nothing is written any more."""
    for writer in [*_writers.values()]:
        writer.join()


def start(ready: Ready) -> Program:
    """Load a program into this process; one for a GPU that is not here can be looked at and saved (`Later`)."""
    from tfc.runtime.jit import load_object
    from tfc.runtime.program import Later, Program, manifest_of

    library = load_object(ready.object)

    def begin() -> Program:
        program = Program(library.address, ready.name, constants=ready.constants, keep=library)
        program.initial = ready.initial
        if program.initial:
            program.initialize()
        return program

    try:
        return begin()
    except NoGpuError:
        return cast("Program", Later(manifest_of(library.address, ready.name), begin))


class _Block:
    """Constants one after the other, each at the beginning of a line."""

    def __init__(self) -> None:
        self.size = 0
        self._arrays: list[Array] = []
        self._places: dict[int, int] = {}

    def add(self, array: Array) -> int:
        """Where the bytes of ``array`` stand."""
        if (known := self._places.get(id(array))) is not None:
            return known
        place = self._places[id(array)] = self.size
        self._arrays.append(array)
        self.size += -(-array.nbytes // LINE) * LINE
        return place

    def pieces(self) -> Iterator[Array]:
        """All bytes, in pieces of the same size but for the last."""
        buffer, filled = np.empty(_PIECE, np.uint8), 0
        for array in self._arrays:
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            for source in (data, np.zeros(-len(data) % LINE, np.uint8)):
                start = 0
                while start < len(source):
                    count = min(len(source) - start, _PIECE - filled)
                    buffer[filled : filled + count] = source[start : start + count]
                    start, filled = start + count, filled + count
                    if filled == _PIECE:
                        yield buffer
                        filled = 0
        yield buffer[:filled]


def _mapped(path: Path) -> tuple[Array, str]:
    """The bytes of a block, which are the file's own, and what they are checked by.

    Raises:
        OSError, ValueError: it cannot be mapped, or is empty.
    """
    from concurrent.futures import ThreadPoolExecutor

    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for advice in ("MADV_HUGEPAGE", "MADV_WILLNEED"):
        with suppress(OSError, AttributeError):  # not all systems know them
            mapped.madvise(getattr(mmap, advice))
    block = np.frombuffer(mapped, np.uint8, len(mapped) // LINE * LINE)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        pieces = [block[k : k + _PIECE] for k in range(0, len(block), _PIECE)]
        return block, _digest([*threads.map(_sum, pieces)])


def _sum(piece: Array) -> bytes:
    """The size of a piece, a multiple of 8, and the sum of its words: taken as fast as memory is read."""
    return struct.pack("<QQ", len(piece), int(np.add.reduce(piece.view(np.uint64))))


def _digest(sums: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(sums)).hexdigest()


def _said(options: Options) -> Iterator[str]:
    for field in dataclasses.fields(options):
        if field.name != "instruments":
            yield f"{field.name} {getattr(options, field.name)!r}"


def _dtype(name: str) -> np.dtype[Any]:
    from tfc.runtime.program import dtype_of

    return dtype_of(name)


def _address(part: memoryview) -> int:
    return np.frombuffer(part, np.uint8).ctypes.data


@cache
def _versions() -> str:
    """Of what the compiler builds on, as far as it changes what is compiled."""
    from importlib.metadata import PackageNotFoundError, version

    found = [platform.python_version(), sys.byteorder]
    for name in ("numpy", "ml_dtypes", "onnx", "xdsl"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return " ".join(found)
