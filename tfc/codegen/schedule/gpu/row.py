"""A row of an array, written where the array stands: the kernel of ``tfc.update_row`` on a GPU.

    array, index, value -> array        array[index] = value

The number of the row stays on the device: the host neither waits for it nor looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.gpu.evaluate import ThreadEvaluator
from tfc.codegen.schedule.lanes import storage
from tfc.codegen.schedule.nest import size_of
from tfc.dialects import kernel
from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import names, product

BLOCK = 256
"""Threads of a block, each of which writes an element."""


def lower_row(op: UpdateRowOp, name: str) -> kernel.FuncOp:
    """The kernel of ``op``: it reads and writes the array in one memory."""
    values = [op.array, op.index, op.value, op.result]
    dims = sorted({n for v in values for d in shape_of(v) for n in names(d)})
    e = Emitter([kernel.buffer_type(storage(element(v)), size_of(shape_of(v))) for v in values], dims)
    e.location = op.location
    _, index, value, result = e.buffers
    ev = ThreadEvaluator(e, dict(zip(values, e.buffers, strict=True)))
    width, kind = product(shape_of(op.value)), element(op.value)
    grid = width // BLOCK + 1  # one for the check of the index, if a row is empty
    with e.parallel(grid) as p:
        t = e.bind(e(kernel.ThreadOp()), "t")
        i = e.bind(e.index(p * BLOCK + t), "i")
        row = ev.access(op).index(ev.load(index, element(op.index), 0), shape_of(op.array)[0])

        def write() -> Sequence[SSAValue]:
            ev.store(ev.load(value, kind, i), result, kind, row * width + i)
            return ()

        e.branch(e.compare("slt", i, width), write)
    return e.finish(name, grid=grid, target="gpu", block=BLOCK, in_place=[0, 3])
