"""Run one kernel of a GPU on arrays: fusion -> kernel.func -> PTX -> the emulator, which checks every access.

runner = GpuRunner(fusion, "sm_90")
(y,) = runner(x, w, dims={"batch": 3})
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from tfc.codegen.gpu.ptx import ptx
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.lower import lower_fusion
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.types import Array, dtype_of, element, shape_of
from tfc.dims import evaluate, parse
from tfc.emulator import Module

MOST_BLOCKS = 2**31 - 1


class GpuRunner:
    """A kernel for a GPU."""

    def __init__(self, op: FusionOp, cpu: str = "sm_80") -> None:
        self.op, self.cpu = op, cpu
        self.kernel = lower_fusion(op, "kernel_under_test", GpuTarget.parse(cpu))
        self.kernel.verify()
        self.messages: list[str] = []

    @cached_property
    def ptx(self) -> str:
        return ptx([self.kernel], self.cpu, self.messages)

    @cached_property
    def module(self) -> Module:
        return Module(self.ptx)

    def __call__(self, *arrays: Array, dims: Mapping[str, int] | None = None, fails: bool = False) -> tuple[Array, ...]:
        """The results; ``fails``: a check is expected to."""
        dims, kernel = dims or {}, self.kernel
        held = [_aligned(a) for a in arrays]
        outputs = [_room([evaluate(d, dims) for d in shape_of(r)], dtype_of(element(r))) for r in self.op.results]
        status = np.zeros(1, np.int32)
        grid = min(evaluate(parse(kernel.grid.data), dims), MOST_BLOCKS)
        assert kernel.block is not None, "it is for a GPU"
        given = [*held, *outputs, *(dims[d.data] for d in kernel.dims), status]
        shared = kernel.shared.value.data if kernel.shared is not None else 0
        if grid:
            self.module.launch(kernel.sym_name.data, grid, kernel.block.value.data, given, shared=shared)
        assert bool(status[0]) is fails, f"kernel.check reports code {status[0]}"
        return tuple(outputs)


def _room(shape: list[int], dtype: np.dtype) -> Array:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    whole = np.full(size + 64, 0x7B, np.uint8)
    return whole[-whole.ctypes.data % 64 :][:size].view(dtype).reshape(shape)


def _aligned(array: Array) -> Array:
    array = np.ascontiguousarray(array)
    room = _room(list(array.shape), array.dtype)
    room[...] = array
    return room
