"""Adding up by position: what is read by a gather goes back where it was read.

A gather reads an element as often as its indices say, so its gradient is a sum of as many terms; all kinds
of gathers become one `tfc.segment_sum`, whose segments are the places along the axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.reduce import extent
from tfc.dialects.tfc.types import shape_of
from tfc.dims import Dim, product


def of_slices(emit: Emit, g: SSAValue, x: SSAValue, indices: SSAValue, axis: int, batch: int) -> SSAValue:
    """The gradient of ``x`` from that of ``tfc.gather %x at %indices``, of the type of ``x``."""
    f, shape, places = Formula(emit), shape_of(x), shape_of(indices)
    if not places and axis == 0:
        return emit(UpdateRowOp(f.zeros(x), indices, g))
    width = len(places) - batch
    # [batch, lead, picked, rest] -> [batch, picked, lead, rest]
    lead, picked = list(range(batch, axis)), list(range(axis, axis + width))
    rest = list(range(axis + width, axis + width + len(shape) - axis - 1))
    data = f.transpose(g, [*range(batch), *picked, *lead, *rest])
    if batch:
        indices = f.add(f.cast(indices, i64), _first_of_batch(f, x, axis, places, batch))
    summed = segment_sum(emit, data, indices, product(shape[:batch]) * shape[axis])
    # [batch, axis, lead, rest] -> [batch, lead, axis, rest]
    moved = [shape[d] for d in (*range(batch), axis, *lead, *range(axis + 1, len(shape)))]
    back = [*range(batch), *(d + 1 for d in lead), batch, *range(axis + 1, len(shape))]
    return f.transpose(f.reshape(summed, moved), back)


def of_elements(emit: Emit, g: SSAValue, x: SSAValue, indices: SSAValue, axis: int) -> SSAValue:
    """The gradient of ``x`` from that of ``tfc.gather_elements %x at %indices``, of the type of ``x``."""
    f, shape, places = Formula(emit), shape_of(x), shape_of(indices)
    position: SSAValue | None = None
    for d in range(len(shape)):
        here = f.cast(indices, i64) if d == axis else emit(IotaOp(places, i64, d))
        if position is None:
            position = here
        else:
            position = f.add(f.mul(position, extent(emit, x, [d], i64, places)), here)
    assert position is not None, "a gather has an axis"
    count = product(places)
    summed = segment_sum(emit, f.reshape(g, [count]), f.reshape(position, [count]), product(shape))
    return f.reshape(summed, shape)


def segment_sum(emit: Emit, data: SSAValue, ids: SSAValue, count: Dim) -> SSAValue:
    """``result[s] = sum of data[i] where ids[i] == s``, for ``s`` below ``count``."""
    from tfc.dialects.tfc.gradient import SegmentSumOp

    return emit(SegmentSumOp(data, ids, count))


def taken_back(emit: Emit, g: SSAValue, ids: SSAValue, data: SSAValue) -> SSAValue:
    """The gradient of ``data`` from that of its sums by ``ids``; that of what was dropped is 0."""
    from tfc.dialects.tfc.gather import GatherOp

    f, rows = Formula(emit), shape_of(ids)
    if shape_of(g)[0] == 0:
        return f.zeros(data)
    ids = f.cast(ids, i64)
    inside = f.compare("ge", ids, 0)
    below = f.compare("lt", ids, extent(emit, g, [0], i64, rows))
    safe = f.select(below, f.select(inside, ids, 0), 0)
    found = emit(GatherOp(g, safe, 0))
    spread = list(range(len(rows)))
    for holds in (inside, below):
        found = f.select(f.broadcast(holds, shape_of(found), spread), found, 0.0)
    return found


def _first_of_batch(f: Formula, x: SSAValue, axis: int, places: Sequence[Dim], batch: int) -> SSAValue:
    """How many places of earlier batches stand before those of each index."""
    lead = list(places[:batch])
    number = f.reshape(f.emit(IotaOp([product(lead)], i64, 0)), lead)
    wide = f.broadcast(number, places, range(batch))
    return f.mul(wide, extent(f.emit, x, [axis], i64, places))
