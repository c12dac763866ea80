"""Walks along the axes of a contraction: from one joint index to one of each, and to offsets."""

from __future__ import annotations

from collections.abc import Sequence

from tfc.dialects.tfc.packed import Axis
from tfc.dims import Dim, product


def indices(flat: Dim, axes: Sequence[Axis]) -> list[Dim]:
    """The index along each axis, from their joint index."""
    found: list[Dim] = []
    for axis in reversed(axes[1:]):
        found.append(flat % axis.extent)
        flat = flat // axis.extent
    return [flat, *reversed(found)] if axes else []


def spread(axis: Axis, i: Dim, shape: Sequence[Dim], index: list[Dim]) -> None:
    """Add index ``i`` of an axis to the dims of the result that it runs along."""
    strides = [product(shape[d + 1 :]) for d in range(len(shape))]
    inner = next((d for d in reversed(range(len(shape))) if strides[d] == axis.y), None)
    if inner is None:  # groups of a convolution: several steps of the last dim
        index[-1] = index[-1] + i * axis.y
        return
    for d in range(inner, -1, -1):
        if d == 0 or product(shape[d : inner + 1]) == axis.extent:
            index[d] = index[d] + i
            return
        index[d] = index[d] + i % shape[d]
        i = i // shape[d]


def dot(index: Sequence[Dim], strides: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for i, stride in zip(index, strides, strict=True):
        total = total + i * stride
    return total
