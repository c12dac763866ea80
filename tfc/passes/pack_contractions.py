"""Matmuls and convolutions become ``tfc.contract``: panels of the right operand, strides for the left.

    dot(x, w)             ->  contract(x, panels(w))
    convolution(x, w)     ->  contract(pad(x), panels(w))
    panels(w)             ->  transpose(reshape(pad(w)))        : [N / lanes, K, lanes]

A contraction reads a vector of ``w`` and some numbers of ``x`` for each step of its sum. In panels the
vectors stand in the order in which they are read; ``x`` needs no such help, and is read in place, a
window of a convolution included: along a row of the image its ``width * channels`` numbers are one
run. Constant weights are packed here and now, each once, whatever their size.

Axes that are walked alike in ``x``, ``w`` and the result are joined: a 1x1 convolution is one matmul over all
places of all images.

A right operand that is computed by the model itself is laid out by a kernel of its own where many rows use it and
vectors of it are far apart. Elsewhere it is read in place, whichever way its columns lie: the kernel copies what it needs of
it. One that is put together from parts for a product with vectors is read by a sum, part by part. A GPU reads every right operand in place, as its blocks copy tiles of it to
shared memory, either way round; it has so many blocks at work that long sums of small results are cut
into pieces for them, in f32. A product with a vector is a sum there (`split-reductions`). What the generic loop nest does as
well stays: integers (but for bytes, see `pack_bytes`), depthwise convolutions, products with a vector, sums of one or two terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, Float64Type, ModuleOp, f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.codegen.cpu.targets import Target
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.gpu import blocks
from tfc.codegen.schedule.gpu.blocks import Problem
from tfc.dialects.tfc.base import Emit, TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.control import is_invariant
from tfc.dialects.tfc.convolution_gradient import ConvBackpropFilterOp
from tfc.dialects.tfc.elementwise import CastOp, MulOp
from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, ConcatOp, PadOp, ReshapeOp, SliceOp, TransposeOp
from tfc.dialects.tfc.transfer import device_of
from tfc.dialects.tfc.types import Array, LiteralAttr, Shape, dtype_of, element, is_float, shape_of
from tfc.dims import Dim, product
from tfc.passes.pack_bytes import WIDE, pack_bytes
from tfc.passes.rewriting import Emitter, Rewritten, Rule, RuleSet, apply_rules
from tfc.runtime.arrays import LINE, empty

PIECES, PIECE, PIECES_SIZE = 16, 1024, 1 << 20
"""A long sum is cut into so many pieces at most, of so many terms at least, whose results together have
so many elements at most."""

SHORT = 4
"""Rows that make a low tile: another axis is taken where there is a longer one."""


Contraction = DotOp | ConvolutionOp | ConvBackpropFilterOp

Packed = dict[tuple[SSAValue, tuple[Dim, ...], tuple[int, ...], int], SSAValue]
"""The panels made so far: of what, how it was taken apart, and how wide they are."""


@dataclass(frozen=True)
class PackContractions(ModulePass):
    """Give every contraction of floats the form that its generator reads.

    Attributes:
        cpu, target: what code is generated for: panels are as wide as its tiles.
        gpu: the same for operations that are placed on a GPU.
        allow_tf32: whether GPUs may round factors of f32 to 10 bits behind the point, as their tensor cores do.
    """

    name = "pack-contractions"
    EXACT: ClassVar[bool] = False
    """Sums are added in another order."""
    cpu: str | None = None
    target: str | None = None
    gpu: str | None = None
    allow_tf32: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine, gpu = Target.parse(self.target, self.cpu), GpuTarget.parse(self.gpu)
        packed: Packed = {}

        def pack(op: Contraction, emit: Emitter) -> Rewritten:
            if (device := device_of(op)) is not None and device.kind == "GPU":
                return on_gpu(op, gpu, emit, self.allow_tf32)
            if not isinstance(op, ConvBackpropFilterOp) and element(op.x) == WIDE:
                return pack_bytes(op, machine, emit)
            found = sum_of(op)
            if isinstance(op, DotOp) and joins_parts(op, found):
                return summed(op, found, emit)
            return contract(op, found, machine, emit, packed) if pays(op, found) else None

        rule = Rule("pack", pack, (DotOp, ConvolutionOp, ConvBackpropFilterOp), exact=False)
        apply_rules(op, RuleSet([rule]))


@dataclass(frozen=True)
class Sum:
    """A contraction as indices, before its right operand is laid out.

    Attributes:
        low, high: what ``x`` is padded with; ``outer`` and ``inner`` move in the padded ``x``.
        outer: indices of the result but for its columns, outermost first.
        inner: indices of the sum, outermost first.
        columns: how many there are.
        stride: how far apart neighbouring columns are in ``w``; None where that differs.
        parts: the dims of ``w``, taken apart where it has groups.
        order: those dims as own batches, inner axes, columns.
    """

    low: Sequence[int]
    high: Sequence[int]
    outer: Sequence[Axis]
    inner: Sequence[Axis]
    columns: Dim
    stride: Dim | None
    parts: Shape
    order: Sequence[int]

    @property
    def own(self) -> Sequence[Axis]:
        """The batch axes along which ``w`` differs."""
        return [a for a in self.outer if a.w != 0]

    @property
    def rows(self) -> Dim:
        """Rows of the result that share one ``w``."""
        return product(a.extent for a in self.outer if a.w == 0)

    @property
    def depth(self) -> Dim:
        """Terms of each sum."""
        return product(a.extent for a in self.inner)


def sum_of(op: Contraction) -> Sum:
    """The indices of a contraction."""
    if isinstance(op, DotOp):
        return of_dot(op)
    return of_convolution(op) if isinstance(op, ConvolutionOp) else of_filter_gradient(op)


def of_dot(op: DotOp) -> Sum:
    """The indices of a dot."""
    x, y, result = shape_of(op.x), shape_of(op.y), shape_of(op.result)
    bx, by, cx, cy = op.dims()
    fx, fy = op.free()
    sx, sy, sr = strides(x), strides(y), strides(result)
    batch = [
        Axis("batch", result[k], sx[i], sy[j], sr[k])
        for k, (i, j) in enumerate(zip(bx, by, strict=True))
    ]
    rows = [Axis("batch", x[d], sx[d], 0, sr[len(bx) + k]) for k, d in enumerate(fx)]
    pairs = sorted(zip(cx, cy, strict=True))
    inner = [Axis("step", x[i], sx[i], sy[j]) for i, j in pairs]
    columns = joined([Axis("column", y[d], w=sy[d]) for d in fy])
    stride = columns[0].w if len(columns) == 1 else None if columns else 1
    order = [*by, *(j for _, j in pairs), *fy]
    none = [0] * len(x)
    return Sum(none, none, [*batch, *rows], inner, product(y[d] for d in fy), stride, y, order)


def of_convolution(op: ConvolutionOp) -> Sum:
    """The indices of a convolution."""
    w, result = shape_of(op.w), shape_of(op.result)
    steps, dilations, low, high = op.amounts()
    low, high = [0, *low, 0], [0, *high, 0]
    padded = [n + a + b for n, a, b in zip(shape_of(op.x), low, high, strict=True)]
    sx, sw, sr = strides(padded), strides(w), strides(result)
    groups, spatial = op.groups.value.data, range(1, len(padded) - 1)
    columns = w[-1] // groups
    places = [Axis("batch", result[d], sx[d] * steps[d - 1], 0, sr[d]) for d in spatial]
    outer = [Axis("batch", result[0], sx[0], 0, sr[0]), *places]
    taps = [Axis("step", w[d - 1], sx[d] * dilations[d - 1], sw[d - 1]) for d in spatial]
    inner = [*taps, Axis("step", w[-2], 1, sw[-2])]
    rank = len(w)
    if groups == 1:
        return Sum(low, high, outer, inner, columns, 1, w, range(rank))
    own = Axis("batch", groups, w[-2], columns, columns)
    order = [rank - 1, *range(rank - 1), rank]
    return Sum(low, high, [own, *outer], inner, columns, 1, (*w[:-1], groups, columns), order)


def of_filter_gradient(op: ConvBackpropFilterOp) -> Sum:
    """The indices of the gradient of a convolution to its filter: the sum is over items and places."""
    x, g, result = shape_of(op.x), shape_of(op.g), shape_of(op.result)
    steps, dilations, low, _ = op.amounts()
    # As far as any place reaches with any tap; what lies behind that is not read.
    ends = [
        (k - 1) * d + (m - 1) * s + 1
        for k, m, s, d in zip(result[:-2], g[1:-1], steps, dilations, strict=True)
    ]
    reach = [end - n - b for end, n, b in zip(ends, x[1:-1], low, strict=True)]
    high = [max(0, r) if isinstance(r, int) else 0 for r in reach]  # (C3) sees that they are known
    low, high = [0, *low, 0], [0, *high, 0]
    padded = [n + a + b for n, a, b in zip(x, low, high, strict=True)]
    sx, sg, sr = strides(padded), strides(g), strides(result)
    groups, spatial = op.group_count(), range(1, len(x) - 1)
    columns = g[-1] // groups
    taps = [Axis("batch", result[d - 1], sx[d] * dilations[d - 1], 0, sr[d - 1]) for d in spatial]
    outer = [*taps, Axis("batch", result[-2], 1, 0, sr[-2])]
    places = [Axis("step", g[d], sx[d] * steps[d - 1], sg[d]) for d in spatial]
    inner = [Axis("step", g[0], sx[0], sg[0]), *places]
    rank = len(g)
    if groups == 1:
        return Sum(low, high, outer, inner, columns, 1, g, range(rank))
    own = Axis("batch", groups, result[-2], columns, columns)
    order = [rank - 1, *range(rank - 1), rank]
    return Sum(low, high, [own, *outer], inner, columns, 1, (*g[:-1], groups, columns), order)


def pays(op: Contraction, found: Sum, few: int = 4) -> bool:
    """Whether tiles beat the generic loop nest; up to ``few`` rows, dot products of what lies side by side do not need them."""
    extents = [found.columns, found.depth, *(a.extent for a in found.outer)]
    if not is_float(element(op.operands[0])) or 0 in extents:
        return False
    if found.columns == 1 or found.depth in (1, 2):
        return False
    if not isinstance(op, DotOp):  # depthwise or nearly so: a nest has channels for lanes
        return op.groups.value.data == 1 or not isinstance(found.columns, int) or found.columns >= 4
    low = isinstance(found.rows, int) and found.rows <= few
    runs = [(a.x, a.w) for a in joined(found.inner)] == [(1, 1)]
    return not (low and runs and not isinstance(op.y.owner, ConstantOp))  # a dot product for each


def contract(
    op: Contraction, found: Sum, target: Target, emit: Emit, packed: Packed
) -> SSAValue:
    """The contraction, of ``x`` in place and of ``w`` in a form of which vectors are read."""
    x, w = op.operands
    zero = LiteralAttr.splat(0, dtype_of(element(x)))
    row = row_axis(joined(found.outer))
    lanes = lane_count(target, element(x), row, found.columns)
    form, last = layout(w, found, lanes), None
    if form == "panels":
        if isinstance(w.owner, ConstantOp) or is_invariant(w):  # a copy in each run is better made at once
            last = narrow(found.columns, lanes, tiles.vector_lanes(target, element(x)))
        key = (w, tuple(found.parts), tuple(found.order), lanes)
        if key not in packed:
            fold, what = folding(emit), (w, found, lanes)
            packed[key] = panels(fold, *what) if last is None else trimmed(fold, *what, last)
        w, found = packed[key], relaid(found, lanes, last)
    elif form == "rows":
        w, found = rows_by_columns(emit, w, found), relaid(found, None)
        found = replace(found, stride=1)
    pieces = pieces_of(found, element(x)) if form == "in place" else 1
    if pieces > 1:
        found = in_pieces(found, pieces, product(shape_of(op.result)))
    if any(found.low) or any(found.high):
        x = emit(PadOp(x, emit(ConstantOp(zero)), found.low, found.high))
    outer = joined(found.outer)
    row = row_axis(outer)
    *steps, depth = joined(found.inner)
    stride = 1 if form == "panels" or found.stride is None else found.stride
    apart = found.depth * lanes if form == "panels" else lanes * stride
    axes = [
        *(a for a in outer if a is not row),
        replace(row, role="row"),
        *steps,
        replace(depth, role="depth"),
        Axis("panel", tiles.ceil(found.columns, lanes), w=apart, y=lanes),
        Axis("column", found.columns, w=stride, y=1),
    ]
    shape = shape_of(op.result)
    if pieces == 1:
        return emit(ContractOp(x, w, shape, axes, lanes, packed=form == "panels", last=last))
    parts = emit(ContractOp(x, w, (pieces, *shape), axes, lanes))
    return emit(ReduceOp(parts, "sum", [0]))


def on_gpu(op: Contraction, target: GpuTarget, emit: Emit, allow_tf32: bool) -> Rewritten:
    """A contraction as a GPU computes it: in blocks, or as the sum that a product with a vector is."""
    found = sum_of(op)
    if isinstance(op, DotOp) and 1 in (found.rows, found.columns):
        extents = [found.columns, found.depth, *(a.extent for a in found.outer)]
        return summed(op, found, emit) if is_float(element(op.x)) and 0 not in extents else None
    return blocked(op, found, target, emit, allow_tf32) if pays(op, found, few=0) else None


def joins_parts(op: DotOp, found: Sum) -> bool:
    """Whether a product with vectors is all that reads a matrix put together from parts, rows below rows, as keys and values
    of earlier tokens and a new one are: a sum reads the parts where they are."""
    parts, extents = op.y.owner, [found.columns, found.depth, *(a.extent for a in found.outer)]
    if not isinstance(parts, ConcatOp) or parts.axis.value.data == len(shape_of(op.y)) - 1:
        return False
    wide = isinstance(element(op.x), Float32Type | Float64Type)
    return found.rows == 1 and 0 not in extents and wide and op.y.has_one_use()


def summed(op: DotOp, found: Sum, emit: Emit) -> SSAValue:
    """dot(vector, matrix) -> reduce(broadcast(vector) * matrix): no element of the matrix is used twice, so there is nothing
    to share in blocks, and the sum is cut and taken as any other one is."""
    bx, by, cx, cy = op.dims()
    sides = [(op.x, bx, cx), (op.y, by, cy)]
    (vector, *dims), (matrix, batch, inner) = sides if found.rows == 1 else sides[::-1]
    kind, shape, extents = element(op.x), shape_of(matrix), shape_of(vector)
    pairs = sorted(zip([*batch, *inner], [*dims[0], *dims[1]], strict=True))
    kept = [d for _, d in pairs]
    vector = transposed(emit, vector, [*(d for d in range(len(extents)) if d not in kept), *kept])
    vector = emit(ReshapeOp(vector, [extents[d] for d in kept]))
    spread = emit(BroadcastOp(vector, shape, [d for d, _ in pairs]))
    if dtype_of(kind).itemsize == 2:  # products and sums are rounded once
        spread, matrix = emit(CastOp(spread, f32)), emit(CastOp(matrix, f32))
    total = emit(ReduceOp(emit(MulOp(spread, matrix)), "sum", sorted(inner)))
    left = [d for d in range(len(shape)) if d not in inner]
    order = [*batch, *(d for d in left if d not in batch)]
    total = emit(ReshapeOp(transposed(emit, total, [left.index(d) for d in order]), shape_of(op.result)))
    return total if element(total) == kind else emit(CastOp(total, kind))


def transposed(emit: Emit, value: SSAValue, perm: Sequence[int]) -> SSAValue:
    return value if list(perm) == sorted(perm) else emit(TransposeOp(value, perm))


def blocked(op: Contraction, found: Sum, target: GpuTarget, emit: Emit, allow_tf32: bool) -> SSAValue:
    """The contraction as a GPU computes it, in blocks: of both operands in place."""
    x, w = op.operands
    kind = element(x)
    precision = "tf32" if allow_tf32 and isinstance(kind, Float32Type) else ""
    if found.stride is None:
        w, found = rows_by_columns(emit, w, found), replace(relaid(found, None), stride=1)
    stride = 1 if found.stride is None else found.stride
    problem = Problem(found.rows, found.columns, found.depth, product(a.extent for a in found.own))
    own = blocks.product_kind(kind, target, tf32=bool(precision))
    pieces = blocks.pieces(problem, found.inner[0].extent, own, target)
    low: Sequence[int] = ()
    if any(found.low) or any(found.high):
        if (inside := in_window(op, found)) is not None:
            found, low = inside, found.low
        else:
            zero = LiteralAttr.splat(0, dtype_of(kind))
            x = emit(PadOp(x, emit(ConstantOp(zero)), found.low, found.high))
    if pieces > 1:
        found = in_pieces(found, pieces, product(shape_of(op.result)))
    # What is padded is walked dim by dim: each says whether an element is inside.
    outer = [a for a in found.outer if a.extent != 1] if low else joined(found.outer)
    row = row_axis(outer)
    *steps, depth = ([a for a in found.inner if a.extent != 1] if low else joined(found.inner)) or [Axis("step", 1)]
    axes = [
        *(a for a in outer if a is not row),
        replace(row, role="row"),
        *steps,
        replace(depth, role="depth"),
        Axis("panel", found.columns, w=stride, y=1),
        Axis("column", found.columns, w=stride, y=1),
    ]
    shape = shape_of(op.result)
    if pieces == 1:
        return emit(ContractOp(x, w, shape, axes, 1, precision=precision, low=low))
    sums = None if isinstance(kind, Float64Type) else f32
    parts = emit(ContractOp(x, w, (pieces, *shape), axes, 1, precision=precision, sums=sums, low=low))
    total = emit(ReduceOp(parts, "sum", [0]))
    return total if element(total) == kind else emit(CastOp(total, kind))


def in_window(op: Contraction, found: Sum) -> Sum | None:
    """The sum over ``x`` as it is, its axes saying along which dim they go; None where extents are not known."""
    x = shape_of(op.operands[0])
    if isinstance(op, DotOp) or not all(isinstance(n, int) for n in x[1:]):
        return None
    padded = [n + a + b for n, a, b in zip(x, found.low, found.high, strict=True)]
    apart, steps, last = strides(padded), strides(x), len(x) - 1
    spatial = list(range(1, last))
    own = [last] * len(found.own)
    if isinstance(op, ConvolutionOp):
        dims = [*own, 0, *spatial], [*spatial, last]
    else:
        dims = [*own, *spatial, last], [0, *spatial]

    def along(axes: Sequence[Axis], dims: Sequence[int]) -> list[Axis]:
        return [replace(a, x=a.x // apart[d] * steps[d], dim=d) for a, d in zip(axes, dims, strict=True)]

    return replace(found, outer=along(found.outer, dims[0]), inner=along(found.inner, dims[1]))


def pieces_of(found: Sum, kind: Attribute) -> int:
    """Into how many pieces, of one length, a sum is cut that is much longer than the result is large.

    One task for each of them reads both operands once, where tasks for parts of the result
    would read them again and again: gradients of filters, sums over a batch.
    """
    total, extent, depth = found.rows * found.columns, found.inner[0].extent, found.depth
    if found.own or not isinstance(kind, Float32Type | Float64Type):
        return 1
    if not (isinstance(total, int) and isinstance(extent, int) and isinstance(depth, int)):
        return 1
    most = min(PIECES, depth // PIECE, PIECES_SIZE // max(1, total))
    return max((n for n in range(1, most + 1) if extent % n == 0), default=1)


def in_pieces(found: Sum, pieces: int, size: Dim) -> Sum:
    """``found`` with one result of ``size`` elements for each piece of its outermost index."""
    first, *inner = found.inner
    extent = first.extent // pieces
    piece = replace(first, role="batch", extent=pieces, x=first.x * extent, w=first.w * extent, y=size)
    return replace(
        found, outer=[piece, *found.outer], inner=[replace(first, extent=extent), *inner]
    )


# The right operand


def lane_count(target: Target, kind: Attribute, row: Axis, columns: Dim) -> int:
    """Columns in a panel."""
    native = tiles.vector_lanes(target, kind)
    if isinstance(columns, int) and columns < native:
        return 1 << (columns - 1).bit_length()
    return native * tiles.choose_vectors(target, kind, row.extent, columns, row.x)


def layout(w: SSAValue, found: Sum, lanes: int) -> str:
    """How ``w`` is read: ``panels``, ``in place``, or as a matrix, row after row (``rows``)."""
    if isinstance(w.owner, ConstantOp) or (is_invariant(w) and isinstance(found.columns, int)):
        return "panels"
    if found.stride is None:
        return "rows"
    return "panels" if shared_by_blocks(w, found, lanes) else "in place"


def shared_by_blocks(w: SSAValue, found: Sum, lanes: int) -> bool:
    """Whether several blocks of rows would each copy all panels of ``w``: it is laid out once for them instead."""
    kind, rows, columns = element(w), found.rows, found.columns
    if not isinstance(kind, Float32Type | Float64Type) or pieces_of(found, kind) > 1:
        return False
    if not (isinstance(rows, int) and isinstance(found.depth, int) and isinstance(columns, int)):
        return False
    spread = columns % lanes == 0  # a transpose with guards is slower than the copies
    if found.stride == 1:
        apart = joined(found.inner)[-1].w * (kind.bitwidth // 8)
        spread = not isinstance(apart, int) or apart > tiles.NEAR_BYTES
    return spread and rows >= 2 * tiles.BLOCK_ROWS and found.depth >= tiles.THIN


def rows_by_columns(emit: Emit, w: SSAValue, found: Sum) -> SSAValue:
    """``w`` as ``[own batches, depth, columns]``."""
    w = taken_apart(emit, w, found)
    if list(found.order) != sorted(found.order):
        w = emit(TransposeOp(w, found.order))
    shape = (product(a.extent for a in found.own), found.depth, found.columns)
    return w if shape_of(w) == shape else emit(ReshapeOp(w, shape))


def panels(emit: Emit, w: SSAValue, found: Sum, lanes: int) -> SSAValue:
    """``w`` as ``[own batches..., panel, inner..., lane]``, filled up with zeros: one transpose,
    of ``w`` with its columns cut into panels where they stand."""
    assert isinstance(found.columns, int), "panels are made of columns that are known"
    kept = len(found.own) + len(found.inner)
    order, shape = list(found.order), list(found.parts)
    outer, columns = order[:kept], order[kept:]
    if columns != list(range(columns[0], columns[0] + len(columns))):  # not side by side
        w = rows_by_columns(emit, w, found)
        outer, columns, shape = [0, 1], [2], list(shape_of(w))
        own = 1
    else:
        own = len(found.own)
        w = taken_apart(emit, w, found)
    at, width = columns[0], len(columns)
    before, after = shape[:at], shape[at + width :]
    fill = -found.columns % lanes
    if fill:
        if width > 1:
            w = emit(ReshapeOp(w, [*before, found.columns, *after]))
        zero = emit(ConstantOp(LiteralAttr.splat(0, dtype_of(element(w)))))
        none = [0] * (len(before) + 1 + len(after))
        w = emit(PadOp(w, zero, none, [fill if d == at else 0 for d in range(len(none))]))
    w = emit(ReshapeOp(w, [*before, tiles.ceil(found.columns, lanes), lanes, *after]))
    outer = [d if d < at else d - width + 2 for d in outer]
    perm = [*outer[:own], at, *outer[own:], at + 1]
    return w if perm == sorted(perm) else emit(TransposeOp(w, perm))


def narrow(columns: Dim, lanes: int, native: int) -> int | None:
    """The lanes of the last panel, where whole vectors of its columns are fewer than ``lanes``."""
    if not isinstance(columns, int) or columns <= lanes or columns % lanes == 0:
        return None
    needed = -(-(columns % lanes) // native) * native
    return needed if needed < lanes else None


def trimmed(emit: Emit, w: SSAValue, found: Sum, lanes: int, last: int) -> SSAValue:
    """`panels` of which the last has ``last`` lanes: ``[own batches, all panels one after the other]``."""
    assert isinstance(found.columns, int), "panels are made of columns that are known"
    rows, columns = rows_by_columns(emit, w, found), found.columns
    own, depth, _ = shape_of(rows)
    whole = columns // lanes * lanes
    # Both are made before one is folded: what nobody uses any more is given up then.
    ends = [(0, whole), (whole, columns - whole)]
    body, rest = map(emit, [SliceOp(rows, [0, 0, a], [own, depth, size], [1, 1, 1]) for a, size in ends])
    zero = emit(ConstantOp(LiteralAttr.splat(0, dtype_of(element(w)))))
    rest = emit(PadOp(rest, zero, [0, 0, 0], [0, 0, last - (columns - whole)]))
    cut = emit(ReshapeOp(body, [own, depth, whole // lanes, lanes]))
    parts = emit(TransposeOp(cut, [0, 2, 1, 3])), rest
    flat = [emit(ReshapeOp(p, [own, product(shape_of(p)[1:])])) for p in parts]
    return emit(ConcatOp(flat, 1))


def folding(emit: Emit) -> Emit:
    """``emit``, but operations on constants become constants at once."""
    steps: set[SSAValue] = set()

    def made(op: Operation) -> SSAValue:
        literals = [o.owner.value.data for o in op.operands if isinstance(o.owner, ConstantOp)]
        if isinstance(op, ConstantOp) or len(literals) < len(op.operands):
            return emit(op)
        assert isinstance(op, TensorOp), "panels are made of tensor operations"
        value = np.asarray(op.reference(*(x.array for x in literals)))
        value = np.ascontiguousarray(value) if isinstance(op, ReshapeOp) else in_lines(value)
        for literal in literals:
            literal.release()  # weights that are mapped from a file need not stay in memory
        operands = list(op.operands)
        op.erase()
        for step in steps.intersection(operands):  # as large as the weights: not kept until pruned
            if not any(step.uses) and isinstance(owner := step.owner, ConstantOp):
                steps.remove(step)
                owner.detach()
                owner.erase()
                owner.properties.clear()  # operations are cycles, which Python frees late
        steps.add(result := emit(ConstantOp(LiteralAttr.of(value))))
        return result

    return made


def in_lines(array: Array) -> Array:
    """``array``, or a copy that begins a line of the caches: a vector that stands in two takes two loads
    (a ResNet-50 then needs a tenth more time)."""
    if array.flags.c_contiguous and array.ctypes.data % LINE == 0:
        return array
    copy = empty(array.shape, array.dtype, LINE)
    copy[...] = array
    return copy


def taken_apart(emit: Emit, w: SSAValue, found: Sum) -> SSAValue:
    """``w`` with its groups, if it has some, as a dim of their own."""
    return w if found.parts == shape_of(w) else emit(ReshapeOp(w, found.parts))


def relaid(found: Sum, lanes: int | None, last: int | None = None) -> Sum:
    """``found`` with the strides of ``[own batches, depth, columns]``, in panels of ``lanes``, the last of ``last``."""
    wide: Dim = found.columns if lanes is None else lanes
    whole = found.columns if lanes is None else tiles.ceil(found.columns, lanes) * lanes
    whole -= 0 if lanes is None or last is None else lanes - last
    inner = [
        replace(a, w=s * wide)
        for a, s in zip(found.inner, strides([a.extent for a in found.inner]), strict=True)
    ]
    apart = iter(strides([a.extent for a in found.own]))
    outer = [
        replace(a, w=next(apart) * found.depth * whole) if a.w != 0 else a for a in found.outer
    ]
    return replace(found, inner=inner, outer=outer)


# Axes


def strides(shape: Sequence[Dim]) -> list[Dim]:
    """How far apart neighbours along each dim are, in elements of a row-major tensor."""
    return [product(shape[d + 1 :]) for d in range(len(shape))]


def joined(axes: Sequence[Axis]) -> list[Axis]:
    """The same walk with fewer axes: an axis that begins where the next one ends is one with it."""
    found: list[Axis] = []
    for axis in (a for a in axes if a.extent != 1):
        if found and all(getattr(found[-1], k) == getattr(axis, k) * axis.extent for k in "xwy"):
            axis = replace(axis, extent=found.pop().extent * axis.extent)
        found.append(axis)
    return found


def row_axis(outer: Sequence[Axis]) -> Axis:
    """The axis along which tiles are high: the innermost one, unless it is very short."""
    shared = [a for a in outer if a.w == 0]
    if not shared:
        return Axis("row", 1)
    long = [a for a in shared if not isinstance(a.extent, int) or a.extent >= SHORT]
    return (long or shared)[-1]
