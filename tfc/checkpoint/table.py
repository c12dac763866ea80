"""Sorted tables of keys and values in one file, as LevelDB and TensorFlow write them.

A table is blocks of entries, an index block that has the last key of each, and a footer. An entry
shares a beginning with the key before it:

    shared | rest | length | the rest of the key | value          (three varints first)

Behind each block stand one byte (0 plain, 1 compressed by snappy) and the checksum of both.

Source: LevelDB, ``doc/table_format.md``; snappy, ``format_description.txt``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tfc.checkpoint.crc import crc32c, masked
from tfc.checkpoint.wire import varint, varint_at
from tfc.errors import CheckpointError

MAGIC = 0xDB4775248B80FB57
BLOCK_SIZE = 1 << 18
"""A block ends once it has so many bytes."""

_FOOTER, _HANDLES, _RESTART = 48, 40, 16


@dataclass
class Table:
    """The file of a table, and where its parts are.

    Attributes:
        ends: where the value of each key ends.
        blocks: where the entries of each block begin, and where its checksum stands.
    """

    data: bytearray = field(default_factory=bytearray)
    ends: dict[bytes, int] = field(default_factory=dict[bytes, int])
    blocks: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def append(self, block: _Block) -> bytes:
        """Write a block; gives its handle."""
        start, contents = len(self.data), block.contents()
        plain = contents + b"\0"
        self.data += plain + struct.pack("<I", masked(crc32c(plain)))
        self.ends.update((k, start + end) for k, end in block.ends.items())
        self.blocks.append((start, start + len(plain)))
        return varint(start) + varint(len(contents))


def table_bytes(entries: Mapping[bytes, bytes]) -> bytes:
    """The file of a table: equal entries give equal bytes, those that TensorFlow writes."""
    return bytes(table_of(entries).data)


def table_of(entries: Mapping[bytes, bytes]) -> Table:
    """The same with the places of its parts; of the blocks those with entries."""
    table, block, index = Table(), _Block(), _Block(interval=1)
    keys = sorted(entries)
    for key, following in zip(keys, [*keys[1:], None], strict=False):
        block.add(key, entries[key])
        if following is None or block.size >= BLOCK_SIZE:
            handle = table.append(block)
            index.add(_successor(key) if following is None else _separator(key, following), handle)
            block = _Block()
    entry_blocks = list(table.blocks)
    handles = table.append(_Block()) + table.append(index)
    table.blocks = entry_blocks
    table.data += handles + bytes(_HANDLES - len(handles)) + struct.pack("<Q", MAGIC)
    return table


def _difference(x: bytes, y: bytes) -> int:
    """Where two texts begin to differ."""
    return next((k for k, (a, b) in enumerate(zip(x, y, strict=False)) if a != b), min(len(x), len(y)))


def _separator(key: bytes, following: bytes) -> bytes:
    """A short text that is not before ``key``, and before ``following``."""
    at = _difference(key, following)
    if at < min(len(key), len(following)) and key[at] + 1 < following[at]:
        return key[:at] + bytes([key[at] + 1])
    return key


def _successor(key: bytes) -> bytes:
    """A short text that is not before ``key``."""
    at = next((k for k, byte in enumerate(key) if byte != 255), len(key))
    return key[:at] + bytes([key[at] + 1]) if at < len(key) else key


def read_table(data: bytes, where: str) -> dict[bytes, bytes]:
    """The entries of a table, in order.

    Raises:
        CheckpointError: the bytes are no table, or damaged; ``where`` names the file.
    """
    if len(data) < _FOOTER:
        raise CheckpointError(f"expected a table of at least {_FOOTER} bytes, got {len(data)}: it is cut off", where=where)
    (magic,) = struct.unpack_from("<Q", data, len(data) - 8)
    if magic != MAGIC:
        raise CheckpointError("the file does not end as a table does: it is no checkpoint's index, or cut off", where=where)
    try:
        at = len(data) - _FOOTER
        at, properties = _handle(data, at)
        _block(data, properties, where)  # nothing is in it, but damage is
        _, index = _handle(data, at)
        entries: dict[bytes, bytes] = {}
        for _, handle in _entries(_block(data, index, where)):
            entries.update(_entries(_block(data, _handle(handle, 0)[1], where)))
        return entries
    except (IndexError, ValueError, struct.error) as error:
        raise CheckpointError(f"the table is damaged: {error}", where=where) from None


class _Block:
    def __init__(self, interval: int = _RESTART) -> None:
        self.data, self.last, self.count, self.interval = bytearray(), b"", 0, interval
        self.restarts = [0]
        self.ends: dict[bytes, int] = {}

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self.count and self.count % self.interval == 0:
            self.restarts.append(len(self.data))
        elif self.count:
            shared = _difference(key, self.last)
        self.data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        self.last, self.count = key, self.count + 1
        self.ends[key] = len(self.data)

    @property
    def size(self) -> int:
        return len(self.data) + 4 * len(self.restarts) + 4

    def contents(self) -> bytes:
        return bytes(self.data) + struct.pack(f"<{len(self.restarts) + 1}I", *self.restarts, len(self.restarts))


def _handle(data: bytes, at: int) -> tuple[int, tuple[int, int]]:
    offset, at = varint_at(data, at)
    size, at = varint_at(data, at)
    return at, (offset, size)


def _block(data: bytes, handle: tuple[int, int], where: str) -> bytes:
    start, size = handle
    stop = start + size
    if stop + 5 > len(data):
        raise ValueError(f"a block ends at byte {stop + 5}, the file at {len(data)}")
    (expected,) = struct.unpack_from("<I", data, stop + 1)
    if masked(crc32c(data[start : stop + 1])) != expected:
        raise CheckpointError(f"the checksum of the block at byte {start} is wrong: the file is damaged", where=where)
    kind = data[stop]
    if kind > 1:
        raise ValueError(f"a block is compressed by method {kind}")
    return unsnapped(data[start:stop]) if kind else data[start:stop]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = varint_at(block, at)
        rest, at = varint_at(block, at)
        length, at = varint_at(block, at)
        if shared > len(key) or at + rest + length > end:
            raise ValueError("an entry reaches beyond its block")
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + length]
        at += rest + length


def unsnapped(data: bytes) -> bytes:
    """What snappy compressed. Raises ValueError where the text is none of snappy's."""
    size, at = varint_at(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:  # a literal: its length here, or in the next 1 to 4 bytes
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(data[at : at + extra], "little")
                at += extra
            out += data[at : at + length + 1]
            at += length + 1
            continue
        width = (1, 2, 4)[(tag & 3) - 1]
        back = int.from_bytes(data[at : at + width], "little") | ((tag >> 5 << 8) if width == 1 else 0)
        length = (tag >> 2 & 7) + 4 if width == 1 else (tag >> 2) + 1
        at += width
        if not 0 < back <= len(out):
            raise ValueError("a copy reaches before the beginning")
        for _ in range(length):  # it may copy what it has just written
            out.append(out[-back])
    if len(out) != size:
        raise ValueError(f"a compressed block of {size} bytes has {len(out)}")
    return bytes(out)
