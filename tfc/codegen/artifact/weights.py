"""The constants of a model as one block of bytes that never exists as a whole.

    Weights([(0, w), (313600, b)], size=314000).chunks()  ->  bytes of w, zeros, bytes of b, zeros

A part is an array, a constant of the IR, or a function that makes the array when its turn comes
(a packed copy of a weight). Chunks are views of the arrays where those are contiguous, so writing
a model needs little memory beyond its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Where the block starts in memory; one cache line, and the widest vector."""

_CHUNK = 1 << 20


class HasArray(Protocol):
    """A constant of the IR (`tfc.dialects.tfc.types.Literal`)."""

    array: NDArray[Any]


Content: TypeAlias = "NDArray[Any] | HasArray | Callable[[], NDArray[Any]]"


@dataclass(frozen=True)
class Weights:
    """What lies where in the block; parts in order of their offsets, not overlapping."""

    parts: Sequence[tuple[int, Content]] = ()
    size: int = 0

    def chunks(self) -> Iterator[memoryview]:
        """The bytes from first to last, in pieces."""
        position = 0
        for offset, content in self.parts:
            assert offset >= position, "parts are in order and do not overlap"
            yield from _zeros(offset - position)
            position = offset
            for chunk in _bytes_of(_array(content)):
                position += len(chunk)
                yield chunk
        assert position <= self.size, "parts lie inside the block"
        yield from _zeros(self.size - position)

    def write(self, file: BinaryIO) -> None:
        """Append the bytes to ``file``."""
        for chunk in self.chunks():
            file.write(chunk)

    def fill(self, block: NDArray[np.uint8]) -> None:
        """Write the bytes into ``block``, which has ``size`` of them."""
        position = 0
        for chunk in self.chunks():
            block[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
            position += len(chunk)


def _array(content: Content) -> NDArray[Any]:
    if isinstance(content, np.ndarray):
        return content
    return cast(HasArray, content).array if hasattr(content, "array") else cast(Any, content)()


def _bytes_of(array: NDArray[Any]) -> Iterator[memoryview]:
    """Row-major little-endian bytes; strided arrays are copied piece by piece."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.size == 0:
        return
    if array.flags.c_contiguous:
        flat = array.reshape(-1).view(np.uint8)
        yield memoryview(cast(Any, flat))
    elif array.nbytes <= _CHUNK:
        yield from _bytes_of(np.ascontiguousarray(array))
    else:
        rows = max(1, _CHUNK * array.shape[0] // array.nbytes)
        for first in range(0, array.shape[0], rows):
            piece = array[first : first + rows]
            yield from _bytes_of(piece[0] if len(piece) == 1 else np.ascontiguousarray(piece))


def _zeros(count: int) -> Iterator[memoryview]:
    empty = memoryview(bytes(min(count, _CHUNK)))
    for first in range(0, count, _CHUNK):
        yield empty[: min(_CHUNK, count - first)]
