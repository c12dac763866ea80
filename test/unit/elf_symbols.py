"""The symbols of an ELF object, read by hand: enough to see what it wants from outside."""

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
