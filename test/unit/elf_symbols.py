"""The symbols of ELF and wasm objects, read by hand: enough to see what they want from outside."""

from __future__ import annotations

import struct


def undefined_symbols(data: bytes) -> set[str]:
    """Names that a 64-bit little-endian ELF object refers to and does not define."""
    assert data[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
    (sections_at,) = struct.unpack_from("<Q", data, 40)
    entry, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, sections_at + i * entry) for i in range(count)]
    found: set[str] = set()
    for _, kind, _, _, offset, size, link, _, _, step in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        strings = sections[link][4]
        for at in range(offset, offset + size, step):
            name, _, _, section = struct.unpack_from("<IBBH", data, at)
            if section == 0 and name:
                found.add(data[strings + name : data.index(b"\0", strings + name)].decode())
    return found


def imported_functions(data: bytes) -> set[str]:
    """Functions that a wasm object imports."""
    assert data[:4] == b"\0asm", "not a wasm file"
    found: set[str] = set()
    at = 8
    while at < len(data):
        section = data[at]
        size, body = _unsigned(data, at + 1)
        at = body + size
        if section == 2:
            count, place = _unsigned(data, body)
            for _ in range(count):
                _, place = _name(data, place)
                name, place = _name(data, place)
                kind, place = data[place], place + 1
                if kind == 0:  # a function: its type
                    found.add(name)
                    _, place = _unsigned(data, place)
                elif kind == 3:  # a global: type and mutability
                    place += 2
                else:  # a table or a memory: limits
                    place += kind == 1
                    flags, place = _unsigned(data, place)
                    for _ in range(1 + (flags & 1)):
                        _, place = _unsigned(data, place)
    return found


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _name(data: bytes, at: int) -> tuple[str, int]:
    size, at = _unsigned(data, at)
    return data[at : at + size].decode(), at + size
