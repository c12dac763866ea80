"""The digest at the end of an object or library: damaged code is found before it is loaded.

    seal(file)                    ... | "tfc-seal" | start and size of what is left out | SHA-256
    is_whole(data)                True, False, or None where there is no seal

Loaders look at the sections of a file only, so what stands behind them changes nothing. LLVM's ends the
process at an object whose relocations make no sense, and damaged code does anything. The weights
of a library are left out: they are most of its bytes, and wrong ones only make wrong numbers.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from typing import BinaryIO

MAGIC = b"tfc-seal"
_ROW = struct.Struct("<8sQQ32s")
_CHUNK = 1 << 20


def seal(file: BinaryIO, start: int = 0, size: int = 0) -> None:
    """Append the digest of all of ``file`` but ``size`` bytes from ``start`` on.

    A file that cannot be read back (a device) gets none.
    """
    if not file.readable():
        return
    end = file.seek(0, 2)
    digest = hashlib.sha256(struct.pack("<QQ", start, size))
    for first, last in ((0, start), (start + size, end)):
        file.seek(first)
        while first < last:
            data = file.read(min(_CHUNK, last - first))
            digest.update(data)
            first += len(data)
    file.seek(end)
    file.write(_ROW.pack(MAGIC, start, size, digest.digest()))


def is_whole(data: bytes | mmap.mmap) -> bool | None:
    """Whether ``data`` is as it was sealed; None where it does not end in a seal, or a part of one."""
    end = len(data) - _ROW.size
    found = data[max(end, 0) :].find(MAGIC)
    if found or end < 0:
        return None if found < 0 else False
    _, start, size, expected = _ROW.unpack(data[end:])
    digest = hashlib.sha256(struct.pack("<QQ", start, size))
    with memoryview(data) as view:
        for first, last in ((0, start), (start + size, end)):
            digest.update(view[first : max(first, last)])
    return digest.digest() == expected
