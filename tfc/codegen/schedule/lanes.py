"""How elements of tensors are held while they are computed, and where they lie.

    Lanes("_i3", 64)             the loop variable ``_i3`` stands for 64 indices at once
    linear([2, 1], [4, 3])       the offset of element (2, 1)
    compute_type(f16)            f32
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float64Type,
    IntegerType,
    f32,
    i1,
)
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc.types import is_float, is_unsigned
from tfc.dims import Atom, Dim, Expr, names

Index = tuple[Dim, ...]


@dataclass(frozen=True)
class Lanes:
    """The loop variable that stands for a vector of indices, and which of its lanes are valid."""

    variable: str
    width: int
    mask: SSAValue | None = None
    """Lanes past the end of the loop (and those that a guard excludes) are false."""
    guarded: bool = False
    """Whether a guard, not only the end of the loop, contributes to the mask."""


@dataclass(frozen=True)
class Read:
    """A load of the dry run: what the choice of loops rests on."""

    buffer: SSAValue
    offset: Dim
    folds: tuple[str, ...]
    """The variables of the reductions around the load, innermost last."""


def linear(index: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """The offset of an element of a contiguous tensor.

    >>> linear([2, 1], [4, 3])
    7
    """
    offset: Dim = 0
    for i, extent in zip(index, shape, strict=True):
        offset = offset * extent + i
    return offset


def factor(offset: Dim, name: str) -> Dim | None:
    """The factor of ``name`` in an offset that is linear in it, else None."""
    if isinstance(offset, int):
        return 0
    atom = Atom("name", (name,))
    total: Dim = 0
    for monomial, scale in offset.terms:
        rest = list(monomial)
        if atom in rest:
            rest.remove(atom)
            total = total + (Expr(((tuple(rest), scale),)) if rest else scale)
        if any(name in names(Expr((((a,), 1),))) for a in rest):
            return None
    return total


def storage(kind: Attribute) -> Attribute:
    """The element type of a buffer of a tensor element type: integers are signless."""
    if isinstance(kind, IntegerType) and is_unsigned(kind):
        return IntegerType(kind.width.data)
    return kind


def compute_type(kind: Attribute) -> Attribute:
    """The type that values of a tensor element type are computed in."""
    return f32 if isinstance(kind, Float16Type | BFloat16Type) else storage(kind)


def lane_bits(kind: Attribute) -> int:
    """The bits of a lane that computes a tensor element type."""
    computed = compute_type(kind)
    if isinstance(computed, Float64Type):
        return 64
    if isinstance(computed, IntegerType) and computed != i1:
        return computed.width.data
    return 32 if is_float(kind) else 8
