"""Products of quantised numbers become ``tfc.contract`` of bytes, four of them a step.

    dot(cast(x) - a, w)  ->  contract(x, panels(w - s)) - a * (sums of w's columns) + s * (sums of x's rows)

Importers write what a format means: operands widened to 32 bits, less their zero points. Machines
multiply unsigned bytes by signed ones, so signed ``x`` are moved by 128, as its zero point is, and constants
``w``, which are known less their zero points, by what brings them into range. The rest is arithmetic
modulo 2**32, so the result is the same in every bit. Only ``w`` has to be constant; the zero point of ``x``
may be computed by the model, as dynamic quantisation does.

The bytes of four terms stand side by side in ``x`` as it is, and in panels ``[panel, terms / 4, lane, 4]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tiles
from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.elementwise import AddOp, CastOp, MulOp, SubOp
from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.shape import BroadcastOp, PadOp, ReshapeOp, TransposeOp
from tfc.dialects.tfc.types import (
    Array,
    LiteralAttr,
    element,
    element_of,
    is_unsigned,
    shape_of,
    tensor_type,
)

if TYPE_CHECKING:
    from tfc.passes.pack_contractions import Sum

STEP = 4
"""Bytes of a step."""

FEW = 4
"""Columns of a group that are worth a tile."""

BYTE, SIGNED, WIDE = element_of(np.uint8), element_of(np.int8), element_of(np.int32)


@dataclass(frozen=True)
class Bytes:
    """A tensor of i32 that is ``value - zero - known``: unsigned bytes, a scalar of i32, and a number."""

    value: SSAValue
    zero: SSAValue | None
    known: int

    def zero_point(self, emit: Emit) -> SSAValue:
        """``zero + known``, a scalar of i32."""
        number = emit(ConstantOp(LiteralAttr.splat(self.known, np.dtype(np.int32))))
        return number if self.zero is None else emit(AddOp(self.zero, number))


def pack_bytes(op: DotOp | ConvolutionOp, target: Target, emit: Emit) -> SSAValue | None:
    """The contraction of bytes for a product of integers; None where it is none of bytes."""
    from tfc.passes.pack_contractions import joined, relaid, row_axis, sum_of

    x, w = op.operands
    terms_x, terms_w = _terms(op)
    weights = known_value(w) if element(x) == WIDE and terms_x == len(shape_of(x)) - 1 else None
    if weights is None or not weights.size or int(weights.max()) - int(weights.min()) > 255:
        return None
    filled = -weights.shape[terms_w] % STEP
    probe = sum_of(_probe(op, filled))
    columns = probe.columns
    if not isinstance(columns, int) or columns < (FEW if probe.own else 2) or not is_bytes(x):
        return None
    taken = bytes_of(x, emit)
    shift = 0 if weights.min() >= -128 and weights.max() <= 127 else int(weights.max()) - 127
    source = _padded(op, taken, filled, emit)
    amounts = [(0, filled if d == terms_w else 0) for d in range(weights.ndim)]
    whole = np.pad((weights - shift).astype(np.int8), amounts)
    row = row_axis(joined(probe.outer))
    lanes = _lanes(target, row, columns)
    packed = emit(ConstantOp(LiteralAttr.of(_panels(whole, probe, lanes))))
    found = relaid(probe, lanes)
    outer = joined(found.outer)
    row = row_axis(outer)
    *steps, depth = joined(found.inner)
    axes = [
        *(a for a in outer if a is not row),
        replace(row, role="row"),
        *steps,
        replace(depth, role="depth", extent=depth.extent // STEP, x=STEP, w=STEP * lanes),
        Axis("panel", tiles.ceil(columns, lanes), w=found.depth * lanes, y=lanes),
        Axis("column", columns, w=1, y=1),
    ]
    result = emit(ContractOp(source, packed, shape_of(op.result), axes, lanes, packed=True))
    if shift:
        result = emit(AddOp(result, _row_sums(op, source, filled, shift, emit)))
    if taken.zero is None and not taken.known:
        return result
    return emit(AddOp(result, _column_sums(op, taken, weights, emit)))


# Where bytes come from


def is_bytes(value: SSAValue) -> bool:
    """Whether a tensor of i32 is bytes less one number."""
    op = value.owner
    if isinstance(op, CastOp):
        kind = element(op.x)
        return isinstance(kind, IntegerType) and kind.width.data == 8
    if isinstance(op, TransposeOp | ReshapeOp):
        return is_bytes(op.x)
    if isinstance(op, SubOp | AddOp):
        return is_bytes(op.x) and _is_one_number(op.y)
    return False


def bytes_of(value: SSAValue, emit: Emit) -> Bytes:
    """The bytes that `is_bytes` has seen; signed ones are moved by 128."""
    op = value.owner
    if isinstance(op, CastOp):
        if is_unsigned(element(op.x)):
            return Bytes(op.x, None, 0)
        shape = shape_of(op.x)
        half = emit(ConstantOp(LiteralAttr.splat(128, np.dtype(np.uint8))))
        wide = emit(BroadcastOp(half, shape, []))
        return Bytes(emit(AddOp(emit(CastOp(op.x, BYTE)), wide)), None, 128)
    if isinstance(op, TransposeOp):
        inner = bytes_of(op.x, emit)
        moved = emit(TransposeOp(inner.value, op.perm.get_values()))
        return replace(inner, value=moved)
    if isinstance(op, ReshapeOp):
        inner = bytes_of(op.x, emit)
        return replace(inner, value=emit(ReshapeOp(inner.value, op.shape.data)))
    assert isinstance(op, SubOp | AddOp), "the question was asked before"
    inner = bytes_of(op.x, emit)
    sign = 1 if isinstance(op, SubOp) else -1
    if (number := known_value(op.y)) is not None:
        return replace(inner, known=inner.known + sign * int(number.flat[0]))
    scalar = _one_number(op.y, emit)
    if sign < 0 or inner.zero is not None:
        nothing = emit(ConstantOp(LiteralAttr.splat(0, np.dtype(np.int32)))) if inner.zero is None else inner.zero
        scalar = emit((AddOp if sign > 0 else SubOp)(nothing, scalar))
    return replace(inner, zero=scalar)


def _is_one_number(value: SSAValue) -> bool:
    op = value.owner
    if isinstance(op, ConstantOp):
        return op.value.data.is_splat
    if isinstance(op, CastOp | ReshapeOp):
        return _is_one_number(op.x)
    return isinstance(op, BroadcastOp) and all(n == 1 for n in shape_of(op.x))


def _one_number(value: SSAValue, emit: Emit) -> SSAValue:
    """The scalar of i32 that stands in every element of ``value``."""
    op = value.owner
    if isinstance(op, CastOp | ReshapeOp):
        scalar = _one_number(op.x, emit)
    else:
        assert isinstance(op, BroadcastOp), "the question was asked before"
        scalar = op.x if shape_of(op.x) == () else emit(ReshapeOp(op.x, []))
    kind = element(value)
    return scalar if element(scalar) == kind else emit(CastOp(scalar, kind))


def known_value(value: SSAValue) -> Array | None:
    """What a value is that follows from constants; folding leaves some that would grow the program."""
    op = value.owner
    if isinstance(op, ConstantOp):
        return op.value.data.array
    if not isinstance(op, CastOp | SubOp | AddOp | TransposeOp | ReshapeOp | BroadcastOp):
        return None
    operands = [known_value(o) for o in op.operands]
    if any(o is None for o in operands):
        return None
    return np.asarray(op.reference(*(o for o in operands if o is not None)))


# Forms


def _terms(op: DotOp | ConvolutionOp) -> tuple[int, int]:
    """The dims of ``x`` and ``w`` whose elements are added up and lie side by side; -1 for none."""
    if isinstance(op, ConvolutionOp):
        return len(shape_of(op.x)) - 1, len(shape_of(op.w)) - 2
    _, _, cx, cy = op.dims()
    return (cx[0], cy[0]) if len(cx) == 1 else (-1, -1)


def _probe(op: DotOp | ConvolutionOp, filled: int) -> DotOp | ConvolutionOp:
    """``op`` on operands that are padded already: of its indices."""
    terms_x, terms_w = _terms(op)
    shapes = [list(shape_of(o)) for o in op.operands]
    if isinstance(op, ConvolutionOp):
        strides, dilations, low, high = op.amounts()
        for d, amount in enumerate(zip(low, high, strict=True), 1):
            shapes[0][d] += sum(amount)
        none, groups = [0] * len(low), op.groups.value.data
        shapes[0][terms_x] += filled * groups
        shapes[1][terms_w] += filled
        x, w = Block(arg_types=[tensor_type(s, WIDE) for s in shapes]).args
        return ConvolutionOp(x, w, strides, dilations, none, none, groups)
    shapes[0][terms_x] += filled
    shapes[1][terms_w] += filled
    x, w = Block(arg_types=[tensor_type(s, WIDE) for s in shapes]).args
    return DotOp(x, w, *op.dims())


def _padded(op: DotOp | ConvolutionOp, taken: Bytes, filled: int, emit: Emit) -> SSAValue:
    """The bytes with what stands for 0 around them, and with terms up to a multiple of `STEP`."""
    x, shape = taken.value, list(shape_of(taken.value))
    low, high, groups = [0] * len(shape), [0] * len(shape), 1
    if isinstance(op, ConvolutionOp):
        before, after = op.amounts()[2:]
        low, high, groups = [0, *before, 0], [0, *after, 0], op.groups.value.data
    if not any([*low, *high, filled]):
        return x
    zero = emit(CastOp(taken.zero_point(emit), BYTE))
    if filled and groups > 1:  # each group for itself
        split = [*shape[:-1], groups, shape[-1] // groups]
        none = [0] * len(shape)
        x = emit(PadOp(emit(ReshapeOp(x, split)), zero, [*none, 0], [*none, filled]))
        x = emit(ReshapeOp(x, [*shape[:-1], shape[-1] + groups * filled]))
        filled = 0
    high[-1] += filled
    return emit(PadOp(x, zero, low, high)) if any([*low, *high]) else x


def _lanes(target: Target, row: Axis, columns: int) -> int:
    from tfc.passes.pack_contractions import lane_count

    return lane_count(target, SIGNED, row, columns)


def _panels(w: Array, probe: Sum, lanes: int) -> Array:
    """``w`` as ``[own batches, panel, inner..., terms / 4, lane, 4]``."""
    own = [int(a.extent) for a in probe.own]  # pyright: ignore # of a constant: numbers
    w = w.reshape([int(d) for d in probe.parts]).transpose(list(probe.order))  # pyright: ignore
    w = w.reshape([*own, -1, int(probe.columns)])  # pyright: ignore # a number: seen before
    w = np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, -w.shape[-1] % lanes)])
    w = w.reshape([*own, w.shape[-2] // STEP, STEP, -1, lanes])
    k = len(own)
    return np.ascontiguousarray(w.transpose([*range(k), k + 2, k, k + 3, k + 1]))


# What moving the numbers has changed


def _column_sums(op: DotOp | ConvolutionOp, taken: Bytes, weights: Array, emit: Emit) -> SSAValue:
    """Less the zero point of ``x`` times the sum of each column."""
    shape = shape_of(op.result)
    if isinstance(op, ConvolutionOp):
        sums, dims = weights.sum(tuple(range(weights.ndim - 1)), dtype=np.int32), [len(shape) - 1]
    else:
        bx, by, _, cy = op.dims()
        fx, fy = op.free()
        left = [d for d in range(weights.ndim) if d not in cy]
        sums = weights.sum(tuple(cy), dtype=np.int32).transpose([left.index(d) for d in [*by, *fy]])
        dims = [*range(len(bx)), *range(len(bx) + len(fx), len(shape))]
    numbers = emit(ConstantOp(LiteralAttr.of(np.asarray(-sums * np.int32(1 if taken.zero else taken.known), np.int32))))
    if taken.zero is not None:
        numbers = emit(MulOp(numbers, emit(BroadcastOp(taken.zero_point(emit), sums.shape, []))))
    return emit(BroadcastOp(numbers, shape, dims))


def _row_sums(
    op: DotOp | ConvolutionOp, source: SSAValue, filled: int, shift: int, emit: Emit
) -> SSAValue:
    """``shift`` times the sum of the bytes of each row."""
    shape = shape_of(op.result)
    wide = emit(CastOp(source, WIDE))
    if isinstance(op, ConvolutionOp):
        strides, dilations, low, _ = op.amounts()
        *window, terms, columns = shape_of(op.w)
        groups, none = op.groups.value.data, [0] * len(low)
        ones = np.full([*(int(n) for n in window), int(terms) + filled, groups], shift, np.int32)  # pyright: ignore
        ones[..., int(terms) :, :] = 0  # pyright: ignore # numbers: of a constant
        weights = emit(ConstantOp(LiteralAttr.of(ones)))
        sums = emit(ConvolutionOp(wide, weights, strides, dilations, none, none, groups))
        outer = shape_of(sums)
        apart = emit(BroadcastOp(sums, (*outer, columns // groups), range(len(outer))))
        return emit(ReshapeOp(apart, shape))
    bx, by, cx, cy = op.dims()
    fx, _ = op.free()
    extents = [int(shape_of(op.y)[d]) for d in [*by, *cy]]  # pyright: ignore # of a constant
    ones = np.full(extents, shift, np.int32)
    ones = np.pad(ones, [(0, 0)] * len(by) + [(0, filled)])
    weights = emit(ConstantOp(LiteralAttr.of(ones)))
    batch = list(range(len(by)))
    sums = emit(DotOp(wide, weights, bx, batch, cx, [len(by)]))
    return emit(BroadcastOp(sums, shape, range(len(bx) + len(fx))))
