"""Protocol buffers' wire format: the little of it that a checkpoint's index needs.

Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

Value = int | bytes


def varint(value: int) -> bytes:
    """An integer of up to 64 bits, seven in a byte; a negative one as its two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    """The integer at a place, and the place behind it. Raises IndexError or ValueError."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("an integer has more than 64 bits")


def number(field: int, value: int) -> bytes:
    """A field that holds an integer; left out where it is 0, as proto3 does."""
    return varint(field << 3) + varint(value) if value else b""


def message(field: int, contents: bytes) -> bytes:
    """A field that holds bytes or another message."""
    return varint(field << 3 | 2) + varint(len(contents)) + contents


def fixed32(field: int, value: int) -> bytes:
    """A field of four bytes."""
    return varint(field << 3 | 5) + value.to_bytes(4, "little")


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message by number. Raises IndexError or ValueError where it is none."""
    at = 0
    while at < len(data):
        tag, at = varint_at(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint_at(data, at)
        else:
            length, at = varint_at(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + length > len(data):
                raise ValueError("a field reaches beyond its message")
            value = data[at : at + length] if kind == 2 else int.from_bytes(data[at : at + length], "little")
            at += length
        yield tag >> 3, value
