"""Find the weights in the bytes of an ONNX file before protobuf does.

Protobuf copies every ``bytes`` field that it parses, and a 400 MB model is 400 MB of such
fields. So the message is read once at the level of its wire format: length-delimited fields
are skipped or entered, and each large payload of a ``TensorProto`` is replaced by a mark:

    graph { initializer { dims: 1000 raw_data: <4000 bytes> } }
    graph { initializer { dims: 1000 raw_data: <mark 0> } }      spans = [(57, 4057)]

What is left is small and is given to protobuf; the payloads are views of the file.

Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

THRESHOLD = 4096
"""Payloads below this many bytes are left to protobuf."""

DEPTH = 90
"""How deep messages are entered; protobuf itself refuses a depth of 100."""

MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {},
}
"""The fields of each message, by number, that lead to tensors."""

RAW_DATA, FLOAT_DATA, DOUBLE_DATA = 9, 4, 10
"""Fields of a tensor whose payload is its elements in little-endian order."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Piece = bytes | memoryview


class MalformedError(ValueError):
    """The bytes are no protobuf message."""


@dataclass
class Payloads:
    """Where the large payloads lie, and how a mark names one."""

    nonce: bytes = field(default_factory=lambda: os.urandom(16))
    """Makes a mark that no file can contain by chance or by intent."""
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def mark(self, start: int, stop: int) -> bytes:
        self.spans.append((start, stop))
        return self.nonce + (len(self.spans) - 1).to_bytes(8, "little")

    def find(self, raw: bytes) -> tuple[int, int] | None:
        """The span that ``raw`` marks, or None where ``raw`` is itself the payload."""
        if len(raw) != len(self.nonce) + 8 or not raw.startswith(self.nonce):
            return None
        return self.spans[int.from_bytes(raw[-8:], "little")]


def split(data: memoryview) -> tuple[bytes, Payloads]:
    """The message with marks in place of large payloads, and the payloads' places.

    Raises:
        MalformedError: a length or a tag does not fit.
    """
    payloads = Payloads()
    pieces = _Splitter(data, payloads).message(0, len(data), "model", 0)
    return b"".join(pieces), payloads


class _Splitter:
    def __init__(self, data: memoryview, payloads: Payloads) -> None:
        self.data, self.payloads = data, payloads

    def message(self, start: int, end: int, kind: str, depth: int) -> list[Piece]:
        """The bytes of one message in pieces, payloads replaced."""
        pieces: list[Piece] = []
        copied = position = start
        packed = self._packed(start, end) if kind == "tensor" else 0
        while position < end:
            tag_at = position
            number, wire, position, stop = self._field(position, end)
            if wire == BYTES and stop - position >= THRESHOLD:
                inner: Sequence[Piece] | None = None
                if kind == "tensor" and number in (RAW_DATA, packed):
                    number, inner = RAW_DATA, [self.payloads.mark(position, stop)]
                elif (entered := MESSAGES[kind].get(number)) and depth < DEPTH:
                    inner = self.message(position, stop, entered, depth + 1)
                if inner is not None:
                    size = sum(len(p) for p in inner)
                    head = _varint(number << 3 | BYTES) + _varint(size)
                    pieces += [self.data[copied:tag_at], head, *inner]
                    copied = stop
            position = stop
        pieces.append(self.data[copied:end])
        return pieces

    def _packed(self, start: int, end: int) -> int:
        """The one field of a tensor that holds all its elements packed; 0 if there is none."""
        seen: list[int] = []
        position = start
        while position < end:
            number, _, _, position = self._field(position, end)
            if number in (RAW_DATA, FLOAT_DATA, DOUBLE_DATA):
                seen.append(number)
        return seen[0] if len(seen) == 1 else 0

    def _field(self, position: int, end: int) -> tuple[int, int, int, int]:
        """Number and wire type of the field at ``position``, where its body starts and ends."""
        tag, position = self._read_varint(position, end)
        number, wire = tag >> 3, tag & 7
        stop = position
        if wire == VARINT:
            _, stop = self._read_varint(position, end)
        elif wire == BYTES:
            length, position = self._read_varint(position, end)
            stop = position + length
        elif wire in (FIXED64, FIXED32):
            stop = position + (8 if wire == FIXED64 else 4)
        else:
            raise MalformedError(f"wire type {wire} at byte {position}")
        if stop > end or number == 0:
            raise MalformedError(f"field {number} at byte {position} runs past its message")
        return number, wire, position, stop

    def _read_varint(self, position: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while position < end and shift < 70:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
        raise MalformedError(f"an integer at byte {position} does not end")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
