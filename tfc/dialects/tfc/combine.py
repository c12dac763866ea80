"""How two elements become one: what reductions over dims, windows and runs share."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.dialects.utils.enum_attribute import EnumAttribute
from xdsl.ir import Attribute, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import irdl_attr_definition
from xdsl.utils.str_enum import StrEnum

from tfc.dialects.tfc.base import Access, Emit
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.scalar import Scalars, integer_range
from tfc.dialects.tfc.types import (
    Array,
    is_bool,
    is_float,
    is_unsigned,
)


class ReduceKind(StrEnum):
    SUM = "sum"
    PROD = "prod"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    """How a reduction combines two elements."""

    name = "tfc.reduce_kind"


UFUNCS: dict[str, Any] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip


def identity(kind: str, element: Attribute) -> float | int | bool:
    """The value that changes nothing when it is combined with another."""
    if kind in ("sum", "or"):
        return 0
    if kind == "prod":
        return 1
    if is_float(element):
        return float("-inf") if kind == "max" else float("inf")
    assert isinstance(element, IntegerType), "element types are floats and integers"
    low, high = integer_range(element)
    return low if kind == "max" else high if kind == "min" else -1 if not is_unsigned(element) else high


def combine(emit: Emit, kind: str, element: Attribute, x: SSAValue, y: SSAValue) -> SSAValue:
    """Two elements into one, in kernel types."""
    names = {"sum": "add", "prod": "mul"}
    name = names.get(kind, kind)
    if name in ("max", "min") and (is_unsigned(element) or is_bool(element)):
        name = "u" + name
    return Scalars(emit).binary(name, x, y)


def takes(kind: str, element: Attribute) -> bool:
    """Whether a reduction is defined on the element type."""
    if kind in ("and", "or"):
        return not is_float(element)
    return kind in ("max", "min") or not is_bool(element)


def accumulated(x: Array) -> Array:
    """Floats in f64, so that sums of a reference are exact but for the last rounding."""
    return x.astype(np.float64) if x.dtype in HALVES or x.dtype == np.float32 else x


class ExtremeKind(StrEnum):
    MAX = "max"
    MIN = "min"


@irdl_attr_definition
class ExtremeKindAttr(EnumAttribute[ExtremeKind], SpacedOpaqueSyntaxAttribute):
    """Which extreme is looked for."""

    name = "tfc.extreme"


def displaces(at: Access, kind: str, of: Attribute, x: SSAValue, best: SSAValue) -> SSAValue:
    """Whether ``x`` takes the place of ``best`` before it: beyond it, or the first NaN."""
    s = Scalars(at.emit)
    word = "gt" if kind == "max" else "lt"
    if not is_float(of):
        return s.compare(("u" if is_unsigned(of) or is_bool(of) else "s") + word, x, best)
    first_nan = s.bit_and(s.compare("uno", x, x), s.compare("ord", best, best))
    return s.bit_or(s.compare("o" + word, x, best), first_nan)
