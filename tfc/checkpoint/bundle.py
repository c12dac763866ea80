"""Bundles of tensors: ``PREFIX.index`` says what there is, ``PREFIX.data-00000-of-00001`` holds the bytes.

The index is a sorted table (`tfc.checkpoint.table`) from names to dtype, shape, place and checksum; its first
entry tells how many data files there are. TensorFlow reads what is written here, and the other way round.

Writing is atomic: the data are written under a name that no index refers to, then the index takes the
place of the old one in one step. Who is killed in between leaves the old bundle, whole. A bundle that
overwrites another of one data file therefore calls its own ``-of-00002``.

Source: TensorFlow, ``tensor_bundle.proto``, ``tensor_bundle.h``.
"""

from __future__ import annotations

import contextlib
import glob
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfc.checkpoint.crc import crc32c, masked, unmasked
from tfc.checkpoint.table import read_table, table_bytes
from tfc.checkpoint.wire import fields, fixed32, message, number, varint_at
from tfc.errors import CheckpointError, nearest

Array = NDArray[Any]

DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9,
    "bool": 10, "bfloat16": 14, "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
"""The numbers of TensorFlow's ``DataType``, by numpy's names."""

_NAMES = {number: name for name, number in DTYPES.items()}
_STRING = 7
HEADER_KEY = b""
_MUCH = 1 << 22
"""So many bytes take numpy longer than a compiler takes to begin."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies.

    Attributes:
        dtype: the number of its ``DataType``.
        crc: the checksum of its bytes.
        slices: the extents (start, length) of its parts, where it was saved in parts.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple[tuple[tuple[int, int], ...], ...] = ()

    def to_bytes(self) -> bytes:
        dims = b"".join(message(2, number(1, n)) for n in self.shape)
        if self.slices:  # the parts have entries of their own
            parts = (b"".join(message(1, number(1, at) + number(2, n)) for at, n in part) for part in self.slices)
            return number(1, self.dtype) + message(2, dims) + b"".join(message(7, part) for part in parts)
        places = number(3, self.shard) + number(4, self.offset) + number(5, self.size)
        return number(1, self.dtype) + message(2, dims) + places + fixed32(6, masked(self.crc))

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """Raises IndexError, KeyError, TypeError or ValueError where the message is damaged."""
        found: dict[int, Any] = {}
        slices: list[tuple[tuple[int, int], ...]] = []
        for key, value in fields(data):
            if key == 7 and isinstance(value, bytes):
                slices.append(tuple(_extent(v) for k, v in fields(value) if k == 1 and isinstance(v, bytes)))
            found[key] = value
        shape = [dict(fields(v)).get(1, 0) for k, v in fields(found.get(2, b"")) if k == 2 and isinstance(v, bytes)]
        sizes = tuple(int(n) for n in shape)
        offset, size, crc = found.get(4, 0), found.get(5, 0), unmasked(found.get(6, 0))
        return cls(found.get(1, 0), sizes, found.get(3, 0), offset, size, crc, tuple(slices))


def _extent(data: bytes) -> tuple[int, int]:
    known = dict(fields(data))
    return int(known.get(1, 0)), int(known.get(2, -1))  # no length: the whole dim


def header(shards: int) -> bytes:
    """The first entry of an index: little-endian data in so many files, of version 1."""
    return number(1, shards) + message(3, number(1, 1))


def data_file(prefix: str, shard: int, shards: int) -> str:
    """The name of a data file."""
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


# Writing


@dataclass(frozen=True)
class Parts:
    """A tensor that is saved in parts.

    Attributes:
        shape: of the whole.
        parts: where each begins in the whole, and its elements.
    """

    shape: tuple[int, ...]
    parts: Sequence[tuple[tuple[int, ...], Array]]

    def whole(self) -> Array:
        """The tensor in one piece."""
        found = np.empty(self.shape, self.parts[0][1].dtype)
        for start, part in self.parts:
            found[tuple(slice(at, at + n) for at, n in zip(start, part.shape, strict=True))] = part
        return found


def write_bundle(prefix: str | os.PathLike[str], tensors: Mapping[str, Array | Parts]) -> None:
    """Write arrays by name, atomically: until it returns, and if it does not, an old bundle stays whole.

    Raises:
        CheckpointError: a dtype that bundles do not have, or the files cannot be written.
    """
    prefix = os.fspath(prefix)
    shards = _free_count(prefix)
    target, index = data_file(prefix, 0, shards), f"{prefix}.index"
    try:
        with open(target, "wb") as file:
            entries = dict(_written(file, tensors))
            _sync(file)
        sync_folder(prefix)  # the data file is there before an index speaks of it
        replace_bytes(index, table_bytes({HEADER_KEY: header(shards), **entries}))
    except OSError as error:
        for file in (target, f"{index}.tmp"):
            with contextlib.suppress(OSError):
                os.remove(file)
        raise CheckpointError(f"the checkpoint cannot be written: {error.strerror}", where=prefix) from None
    remove_data(prefix, keep=target)


def _free_count(prefix: str) -> int:
    """A number of shards that the index which is there, if any, does not have."""
    return 2 if shard_count(prefix) == 1 else 1


def shard_count(prefix: str) -> int:
    """How many data files the index speaks of; 0 where there is none that can be read.

    The first entry of the first block is the header: its key is empty, its first field the count.
    """
    try:
        with open(f"{prefix}.index", "rb") as file:
            start = file.read(16)
        return varint_at(start, 4)[0] if start[:2] == b"\0\0" and start[3] == 8 else 0
    except (OSError, IndexError, ValueError):
        return 0


def _written(file: Any, tensors: Mapping[str, Array | Parts]) -> Iterator[tuple[bytes, bytes]]:
    """Write the tensors in the order of their names; gives the entries."""
    offset = 0
    for name in sorted(tensors, key=str.encode):
        value, pieces = tensors[name], list[tuple[bytes, Array]]()
        if isinstance(value, Parts):
            extents = [tuple(zip(start, part.shape, strict=True)) for start, part in value.parts]
            pieces = [(_part_key(name, e), part) for e, (_, part) in zip(extents, value.parts, strict=True)]
            dtype = _number_of(name, value.parts[0][1])
            yield name.encode(), Entry(dtype, value.shape, slices=tuple(extents)).to_bytes()
        else:
            pieces = [(name.encode(), value)]
        for key, array in pieces:
            little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else None
            raw: Any = np.ascontiguousarray(array, little).reshape(-1).view(np.uint8)
            file.write(raw)
            entry = Entry(_number_of(name, array), array.shape, 0, offset, len(raw), checksum(raw))
            yield key, entry.to_bytes()
            offset += len(raw)


def _number_of(name: str, array: Array) -> int:
    if (dtype := DTYPES.get(array.dtype.name)) is None:
        known = ", ".join(DTYPES)
        raise CheckpointError(f"'{name}' is {array.dtype}, which checkpoints do not have", help=f"they have {known}")
    return dtype


def checksum(data: Any) -> int:
    """`crc32c` of contiguous bytes: compiled where there is much to do, and a compiler."""
    view = np.frombuffer(data, np.uint8)
    if view.nbytes >= _MUCH and find_spec("llvmlite"):
        from tfc.runtime.checksum import crc32c as compiled

        return compiled(view)
    return crc32c(view)


def remove_data(prefix: str, keep: str = "") -> None:
    """Remove the data files of a bundle, but for one."""
    for file in glob.glob(f"{glob.escape(prefix)}.data-?????-of-?????"):
        if file != keep:
            with contextlib.suppress(OSError):
                os.remove(file)


def remove_bundle(prefix: str) -> None:
    """Remove all files of a bundle, the index first."""
    for file in (f"{prefix}.index", f"{prefix}.meta"):
        with contextlib.suppress(OSError):
            os.remove(file)
    remove_data(prefix)


def replace_bytes(path: str, data: bytes) -> None:
    """Write a file in one step: until then the old one stays."""
    with open(f"{path}.tmp", "wb") as file:
        file.write(data)
        _sync(file)
    os.replace(f"{path}.tmp", path)
    sync_folder(path)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: str) -> None:
    """Make what happened to names in the folder of ``path`` last."""
    handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # a file system that cannot
    finally:
        os.close(handle)


# Reading


@dataclass
class Bundle:
    """A bundle that is read: the index at once, tensors when they are asked for.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """

    prefix: str
    entries: dict[str, Entry] = field(init=False)
    shards: int = field(init=False)

    def __post_init__(self) -> None:
        self.prefix = os.fspath(self.prefix)
        where = f"{self.prefix}.index"
        try:
            with open(where, "rb") as file:
                data = file.read()
        except OSError as error:
            help = _neighbours(self.prefix)
            raise CheckpointError(f"there is no checkpoint here: {error.strerror}", where=where, help=help) from None
        table = read_table(data, where)
        try:
            top = dict(fields(table.pop(HEADER_KEY)))
            self.shards = int(top.get(1, 0))
            self._parts = {k: v for k, v in table.items() if k[:1] == b"\0"}
            self.entries = {k.decode(): Entry.from_bytes(v) for k, v in table.items() if k[:1] != b"\0"}
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the index is damaged: {error}", where=where) from None
        if top.get(2, 0):
            raise CheckpointError("the checkpoint was written by a big-endian machine", where=where)
        self._files: dict[int, mmap.mmap | bytes] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in order."""
        return list(self.entries)

    def entry(self, name: str) -> Entry:
        """Raises `CheckpointError` for a name that is not there; the nearest are told."""
        if (found := self.entries.get(name)) is None:
            raise unknown_name(name, self.entries, self.prefix)
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """The extents of a tensor."""
        return self.entry(name).shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """numpy's dtype of a tensor; ``object`` for strings."""
        number = self.entry(name).dtype
        if number == _STRING:
            return np.dtype(object)
        if number not in _NAMES:
            raise CheckpointError(f"'{name}' has the dtype number {number}, which tfc does not know", where=self.prefix)
        if _NAMES[number] == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(_NAMES[number])

    def read(self, name: str) -> Array:
        """A tensor, as an array of its own; its checksum is compared.

        Raises:
            CheckpointError: an unknown name, a missing or short data file, or damaged bytes.
        """
        entry, dtype = self.entry(name), self.dtype(name)
        if entry.slices:
            return self._assembled(name, entry, dtype)
        raw = self._bytes(name, entry)
        if entry.dtype == _STRING:
            return _strings(raw, entry, f"{self.prefix}: {name}")
        if checksum(raw) != entry.crc:
            raise CheckpointError(
                f"the checksum of '{name}' is wrong: its data are damaged", where=data_file(self.prefix, entry.shard, self.shards)
            )
        count = int(np.prod(entry.shape, dtype=np.int64))
        if count * dtype.itemsize != entry.size:
            raise CheckpointError(
                f"'{name}' is {dtype}{list(entry.shape)}, and has {entry.size} bytes", where=self.prefix
            )
        return np.frombuffer(raw, dtype, count).reshape(entry.shape).copy()

    def _bytes(self, name: str, entry: Entry) -> memoryview:
        where = data_file(self.prefix, entry.shard, self.shards)
        if entry.shard not in self._files:
            try:
                with open(where, "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    self._files[entry.shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
            except OSError as error:
                raise CheckpointError(f"the data of '{name}' cannot be read: {error.strerror}", where=where) from None
        data = memoryview(self._files[entry.shard])
        if entry.offset + entry.size > len(data):
            raise CheckpointError(
                f"'{name}' ends at byte {entry.offset + entry.size}, the file at {len(data)}: it is cut off", where=where
            )
        return data[entry.offset : entry.offset + entry.size]

    def _assembled(self, name: str, entry: Entry, dtype: np.dtype[Any]) -> Array:
        """A tensor that was saved in parts."""
        whole = np.empty(entry.shape, dtype)
        for extents in entry.slices:
            part = self._parts.get(_part_key(name, extents))
            if part is None:
                raise CheckpointError(f"a part of '{name}' is missing: {extents}", where=self.prefix)
            found = Entry.from_bytes(part)
            raw = self._bytes(name, found)
            if checksum(raw) != found.crc:
                raise CheckpointError(f"the checksum of '{name}' is wrong: its data are damaged", where=self.prefix)
            place = tuple(slice(None) if n < 0 else slice(start, start + n) for start, n in extents)
            whole[place] = np.frombuffer(raw, dtype).reshape(whole[place].shape)
        return whole


def unknown_name(name: str, known: Iterable[str], where: str) -> CheckpointError:
    """The error of a name that is not there."""
    listed = list(known)
    help = nearest(name, listed) or f"it has {', '.join(listed[:8]) or 'nothing'}"
    return CheckpointError(f"the checkpoint has no '{name}'", where=where, help=help)


def _strings(raw: memoryview, entry: Entry, where: str) -> Array:
    """A tensor of strings: their lengths, a checksum of those, their bytes."""
    found = np.empty(int(np.prod(entry.shape, dtype=np.int64)), object)
    data = bytes(raw)
    try:
        lengths, at = list[int](), 0
        for _ in found:
            n, at = varint_at(data, at)
            lengths.append(n)
        # The checksum is of the lengths as numbers of 4 bytes (8 where they are larger), then of the rest.
        packed = b"".join(struct.pack("<I" if n <= 0xFFFFFFFF else "<Q", n) for n in lengths)
        whole = crc32c(data[at:], crc32c(packed))
        ok = crc32c(packed) == unmasked(struct.unpack_from("<I", data, at)[0]) and whole == entry.crc
        at += 4
        for k, n in enumerate(lengths):
            found[k] = data[at : at + n]
            at += n
    except (IndexError, ValueError, struct.error):
        ok = False
    if not ok:
        raise CheckpointError("the checksum of a tensor of strings is wrong: its data are damaged", where=where)
    return found.reshape(entry.shape)


def _part_key(name: str, extents: Iterable[tuple[int, int]]) -> bytes:
    """The key of one part of a tensor: name and extents in an encoding that sorts as they do."""
    parts = list(extents)
    text = name.encode().replace(b"\0", b"\0\xff")
    head = b"\0" + text + b"\0\x01" + _ordered(len(parts))
    return head + b"".join(_ordered_signed(start) + _ordered_signed(n) for start, n in parts)


def _ordered(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(data)]) + data


def _ordered_signed(value: int) -> bytes:
    """Seven bits of a number in each byte; so many leading ones as there are bytes."""
    count = 1
    while not -(1 << (7 * count - 1)) <= value < 1 << (7 * count - 1):
        count += 1
    mask = 0xFF00 >> count & 0xFF
    data = bytearray((value & (1 << (8 * count)) - 1).to_bytes(count, "big"))
    data[0] ^= mask
    return bytes(data)


def _neighbours(prefix: str) -> str:
    folder = os.path.dirname(prefix) or "."
    if not os.path.isdir(folder):
        return f"there is no folder {folder}"
    found = sorted(f[: -len(".index")] for f in os.listdir(folder) if f.endswith(".index"))
    near = nearest(os.path.basename(prefix), found)
    return near or (f"{folder} has {', '.join(found[-5:])}" if found else f"{folder} has no checkpoint")
