"""Index arithmetic over `Dim`: positions in row-major order, and back."""

from __future__ import annotations

from collections.abc import Sequence

from tfc.dims import Dim, at_least, product


def linear(index: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """The row-major position of ``index`` in ``shape``."""
    position: Dim = 0
    for i, n in zip(index, shape, strict=True):
        position = position * n + i
    return position


def unravel(position: Dim, shape: Sequence[Dim]) -> list[Dim]:
    """The index at a row-major position; the outermost entry needs no remainder."""
    outermost = next((d for d, n in enumerate(shape) if n != 1), len(shape))
    index: list[Dim] = []
    for n in reversed(shape[outermost + 1 :]):
        index.append(0 if n == 1 else position % n)
        position = position if n == 1 else position // n
    return [*[0] * outermost, *([position, *reversed(index)] if outermost < len(shape) else ())]


def groups(old: Sequence[Dim], new: Sequence[Dim]) -> list[tuple[range, range]]:
    """Shortest runs of dims of ``old`` and of ``new`` with equal products, from the left.

    >>> groups((8, 3, 4), (8, 12))
    [(range(0, 1), range(0, 1)), (range(1, 3), range(1, 2))]
    """
    result: list[tuple[range, range]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        end_i, end_j = min(i + 1, len(old)), min(j + 1, len(new))
        while product(old[i:end_i]) != product(new[j:end_j]):
            if end_i == len(old) and end_j == len(new):
                break
            left, right = product(old[i:end_i]), product(new[j:end_j])
            if (at_least(right, left) and end_i < len(old)) or end_j == len(new):
                end_i += 1
            else:
                end_j += 1
        result.append((range(i, end_i), range(j, end_j)))
        i, j = end_i, end_j
    return result


def reshaped_index(index: Sequence[Dim], shape: Sequence[Dim], source: Sequence[Dim]) -> list[Dim]:
    """Where element ``index`` of ``shape`` stands in ``source`` with as many elements.

    Dims that both share keep their index, so a reshape that merges or splits few dims has
    few divisions.
    """
    where: list[Dim] = []
    for old, new in groups(source, shape):
        position = linear([index[d] for d in new], [shape[d] for d in new])
        where += unravel(position, [source[d] for d in old])
    return where
