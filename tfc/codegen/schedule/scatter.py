"""Sums by position: rows of data added where their ids say.

    kernel.parallel over blocks of columns {
      zero the block of every segment
      for every id: if it names a segment { segment[id] += row, a vector at a time }
    }

The loop goes through the data once, so the time does not depend on the number of segments but for making
them zero. A task has some columns of all segments: each element is added up in the order of the
data, whatever the number of threads. Elements are added up in their own type.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType, VectorType, i64
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tiles
from tfc.codegen.schedule.emit import INDEX, Emitter
from tfc.codegen.schedule.lanes import storage
from tfc.codegen.schedule.nest import begin
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.types import element, is_float, is_unsigned, shape_of
from tfc.dims import Dim, product

_Part = Callable[[Dim, Attribute], object]

COLUMNS = 64
"""Columns of a task: a few lines of the caches of each row."""


def lower_scatter(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``scatter``: one ``tfc.segment_sum``."""
    (inner,) = (o for o in op.inner if isinstance(o, SegmentSumOp))
    e, evaluator = begin(op, target)
    data, ids, result = evaluator.buffers[inner.data], evaluator.buffers[inner.segment_ids], e.buffers[-1]
    kind = storage(element(inner.data))
    lanes = tiles.vector_lanes(target, kind)
    rows = product(shape_of(inner.segment_ids))
    segments, *rest = shape_of(inner.result)
    width = product(rest)
    blocks: Dim = tiles.ceil(width, COLUMNS)
    with e.parallel(blocks) as block:
        first = block * COLUMNS
        last = width if blocks == 1 else e.minimum(first + COLUMNS, width)

        def each_part(part: _Part) -> None:
            """``part(column, type)`` for vectors, then for single columns."""
            whole = e.bind(e.index(first + (last - first) // lanes * lanes))
            if lanes > 1:
                with e.loop(whole, lower=first, step=lanes) as loop:
                    part(loop.variable, VectorType(kind, [lanes]))
            with e.loop(last, lower=whole if lanes > 1 else first) as loop:
                part(loop.variable, kind)

        with e.loop(segments) as segment:
            at = segment.variable * width
            each_part(lambda c, t: e(kernel.StoreOp(e.constant(0, t), result, e.index(at + c))))
        with e.loop(rows) as row:
            where = position(e, ids, row.variable, element(inner.segment_ids))

            def add() -> list[SSAValue]:
                place, source = e.bind(where) * width, row.variable * width

                def part(c: Dim, t: Attribute) -> None:
                    old, new = (
                        e(kernel.LoadOp(b, e.index(at + c), t)) for b, at in ((result, place), (data, source))
                    )
                    total = e((arith.AddfOp if is_float(kind) else arith.AddiOp)(old, new))
                    e(kernel.StoreOp(total, result, e.index(place + c)))

                each_part(part)
                return []

            # As an unsigned number a negative id is beyond all segments, too.
            e.branch(e(kernel.CompareOp("ult", where, e.index(segments))), add)
    return e.finish(name, grid=blocks, grain=1)


def position(e: Emitter, ids: SSAValue, at: Dim, kind: Attribute) -> SSAValue:
    """An id as an index."""
    assert isinstance(kind, IntegerType), "the verifier demands integers"
    value = e(kernel.LoadOp(ids, e.index(at), storage(kind)))
    if is_unsigned(kind) and kind.width.data < 64:
        value = e(kernel.CastOp("extui", value, i64))
    return e(arith.IndexCastOp(value, INDEX))
