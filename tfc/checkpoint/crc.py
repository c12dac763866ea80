"""CRC-32C, the checksum of checkpoints, at the speed of numpy.

A checksum is linear over bits, so a long text is cut into equal lanes: all lanes advance together, four
bytes a step (four tables, as in "slicing by 4"), then neighbours are joined in pairs. To join, the left
half is advanced by as many zero bytes as the right one has; that is a matrix over bits, applied by
tables too.

Source: Castagnoli et al., "Optimization of cyclic redundancy-check codes with 24 and 32 parity bits",
IEEE Transactions on Communications 41(6), 1993; Adler, zlib's ``crc32_combine``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, its bits reversed."""

_LANES, _LENGTH, _SHORT = 1 << 14, 256, 1024
"""The most lanes and their most bytes: a megabyte or a few stay in the cache. A short text has none."""
_MASK_DELTA = 0xA282EAD8

Words = NDArray[np.uint32]


def crc32c(data: Any, crc: int = 0) -> int:
    """The checksum of contiguous bytes (anything with the buffer protocol), going on from ``crc``."""
    view = np.frombuffer(data, np.uint8)
    while len(view) >= _SHORT:
        lanes = min(_LANES, 1 << (len(view) // 64).bit_length() - 1)
        length = min(len(view) // lanes // 4 * 4, _LENGTH)
        crc = _joined(_lanes(view[: lanes * length].reshape(lanes, length)), length, crc)
        view = view[lanes * length :]
    return _bytewise(view.tobytes(), crc)


def masked(crc: int) -> int:
    """A checksum as files hold it, so that a checksum over checksums stays useful."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def unmasked(crc: int) -> int:
    """The inverse of `masked`."""
    rotated = (crc - _MASK_DELTA) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


@cache
def tables(count: int = 4) -> list[Words]:
    """``tables[k][b]``: what byte ``b`` does to the checksum when ``k`` more bytes follow it."""
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, first >> 1 ^ np.uint32(POLYNOMIAL), first >> 1).astype(np.uint32)
    found = [first]
    for _ in range(count - 1):
        found.append((found[-1] >> 8 ^ first[found[-1] & 255]).astype(np.uint32))
    return found


def _bytewise(data: bytes, crc: int) -> int:
    table = _first_table()
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


@cache
def _first_table() -> list[int]:
    return tables()[0].tolist()


def _lanes(data: NDArray[np.uint8]) -> Words:
    """The checksum of each row, without what begins and ends one: from 0, not inverted."""
    words = np.ascontiguousarray(data.view("<u4").T)
    t0, t1, t2, t3 = tables()
    state = np.zeros(words.shape[1], np.uint32)
    low, total = np.empty_like(state), np.empty_like(state)
    for column in words:
        state ^= column
        np.take(t3, np.bitwise_and(state, 255, out=low), out=total, mode="clip")
        for table, shift in ((t2, 8), (t1, 16), (t0, 24)):
            np.bitwise_and(np.right_shift(state, shift, out=low), 255, out=low)
            total ^= np.take(table, low)
        state, total = total, state
    return state


def _joined(states: Words, length: int, crc: int) -> int:
    """The checksum of lanes of ``length`` bytes side by side, after a text with the checksum ``crc``."""
    states = states.copy()
    states[0] ^= np.uint32(_advanced(np.array([crc ^ 0xFFFFFFFF], np.uint32), length)[0])
    while len(states) > 1:
        states = _advanced(states[0::2], length) ^ states[1::2]
        length *= 2
    return int(states[0]) ^ 0xFFFFFFFF


def _advanced(states: Words, length: int) -> Words:
    """The states after ``length`` more zero bytes."""
    power = 0
    while length:
        if length & 1:
            rows = _zeros(power)
            states = rows[0][states & 255] ^ rows[1][states >> 8 & 255] ^ rows[2][states >> 16 & 255] ^ rows[3][states >> 24]
        length >>= 1
        power += 1
    return states


@cache
def _zeros(power: int) -> tuple[Words, Words, Words, Words]:
    """Tables of what ``2 ** power`` zero bytes do to each byte of a state."""
    if power == 0:
        every = np.arange(256, dtype=np.uint32)
        return tuple(_one_zero(every << np.uint32(8 * k)) for k in range(4))  # pyright: ignore[reportReturnType]
    half = 1 << (power - 1)
    return tuple(_advanced(row, half) for row in _zeros(power - 1))  # pyright: ignore[reportReturnType]


def _one_zero(states: Words) -> Words:
    return (states >> 8 ^ tables()[0][states & 255]).astype(np.uint32)
