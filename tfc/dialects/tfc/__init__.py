"""The `tfc` dialect: tensors by value, one file for each family of operations."""

from __future__ import annotations

from xdsl.ir import Attribute, Dialect

from tfc.dialects.tfc import (
    activation,
    arithmetic,
    attention,
    constant,
    contraction,
    control,
    convolution_gradient,
    dynamic,
    elementwise,
    fusion,
    gather,
    gradient,
    image,
    merge,
    nn,
    normalize,
    packed,
    pieces,
    radix,
    random,
    reduce,
    select,
    shape,
    sort,
    state,
    transfer,
    window,
)
from tfc.dialects.tfc.base import OPERATIONS
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.packed import AxesAttr
from tfc.dialects.tfc.reduce import ExtremeKindAttr, ReduceKindAttr
from tfc.dialects.tfc.select import PredicateAttr
from tfc.dialects.tfc.state import AssignKindAttr
from tfc.dialects.tfc.transfer import SentType
from tfc.dialects.tfc.types import ControlType, DimsAttr, LiteralAttr, ResourceType, ShapeAttr

FAMILIES = (
    elementwise, arithmetic, select, activation, constant, shape, pieces, gather, dynamic, reduce, window, attention,
    contraction, packed, nn, normalize, image, gradient, convolution_gradient, random, state, control, merge, radix, sort, fusion,
    transfer,
)  # fmt: skip
"""The files of operations; importing one enters its operations in `OPERATIONS`."""

ATTRIBUTES: list[type[Attribute]] = [
    AssignKindAttr, AxesAttr, ControlType, DimsAttr, ExtremeKindAttr, LiteralAttr, PredicateAttr, ReduceKindAttr,
    ResourceType, SentType, ShapeAttr,
]  # fmt: skip

Tfc = Dialect("tfc", [*OPERATIONS.values(), FusionOp, YieldOp], ATTRIBUTES)
