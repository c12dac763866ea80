"""Run one kernel on arrays: fusion -> kernel.func -> LLVM -> this process.

runner = Runner.of_fusion(fusion)
(y,) = runner(x, w, dims={"batch": 3})
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from llvmlite import binding
from xdsl.dialects.test import TestOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cpu.translate import translate
from tfc.codegen.schedule.lower import lower_fusion
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.types import Array, Shape, dtype_of, element, shape_of
from tfc.dims import evaluate, parse


def values(*types: Attribute) -> Sequence[SSAValue]:
    """Values of these types, of no particular origin."""
    return TestOp(result_types=list(types)).results


def fusion(
    kind: str,
    types: Sequence[Attribute],
    body: Callable[..., Sequence[Operation]],
    results: int = 1,
) -> FusionOp:
    """A fusion over operands of ``types``; ``body`` gives its operations in order, and the
    first results of the last ``results`` of them are what it yields."""
    block = Block(arg_types=types)
    operations = list(body(*block.args))
    block.add_ops(operations)
    outputs = [op.results[0] for op in operations[-results:]]
    block.add_op(YieldOp(outputs))
    return FusionOp(kind, values(*types), [v.type for v in outputs], Region(block))


class Runner:
    """A compiled kernel. Buffers have red zones of NaN (or -1) around them that must stay."""

    def __init__(
        self,
        function: kernel.FuncOp,
        shapes: Sequence[tuple[Shape, Any]],
        target: Target | None = None,
    ):
        self.kernel, self.shapes = function, shapes
        self.target = target or Target.parse()

    @classmethod
    def of_fusion(cls, op: FusionOp, target: Target | None = None) -> Runner:
        target = target or Target.parse()
        function = lower_fusion(op, "kernel_under_test", target)
        function.verify()
        return cls(function, [(shape_of(r), dtype_of(element(r))) for r in op.results], target)

    @cached_property
    def llvm(self) -> str:
        return translate([self.kernel], self.target)

    @cached_property
    def code(self) -> Callable[..., None]:
        """The function ``(args, lo, hi)``."""
        compiled = compile_llvm(self.llvm, self.target)
        machine = binding.Target.from_triple(self.target.triple).create_target_machine(
            cpu=self.target.isa.llvm,
            features=self.target.features,
            codemodel="jitdefault",
            jit=True,
        )
        self.engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        self.engine.add_object_file(binding.ObjectFileRef.from_data(compiled))
        self.engine.finalize_object()
        address = self.engine.get_function_address(self.kernel.sym_name.data)
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)

    def grid(self, dims: Mapping[str, int]) -> int:
        return evaluate(parse(self.kernel.grid.data), dims)

    def __call__(
        self, *arrays: Array, dims: Mapping[str, int] | None = None, pieces: int = 1
    ) -> tuple[Array, ...]:
        """The results; ``pieces`` is how many calls share the range of ``kernel.parallel``."""
        dims = dims or {}
        held = [np.ascontiguousarray(a) for a in arrays]
        padded = [
            _padded([evaluate(d, dims) for d in shape], dtype) for shape, dtype in self.shapes
        ]
        outputs = [p[1] for p in padded]
        status = ctypes.c_int32(0)
        slots = [a.ctypes.data for a in (*held, *outputs)]
        slots += [dims[d.data] for d in self.kernel.dims] + [ctypes.addressof(status)]
        table = (ctypes.c_int64 * len(slots))(*slots)
        grid = self.grid(dims)
        for k in range(pieces):
            self.code(ctypes.addressof(table), grid * k // pieces, grid * (k + 1) // pieces)
        assert status.value == 0, f"kernel.check reports code {status.value}"
        for whole, inside in padded:
            zone = whole.view(np.uint8)
            size = inside.size * inside.itemsize
            outside = np.concatenate([zone[:ZONE], zone[ZONE + size :]])
            assert (outside == FILL).all(), "wrote outside"
        return tuple(o.copy() for o in outputs)


ZONE, FILL = 256, 0x7B


def _padded(shape: Sequence[int], dtype: Any) -> tuple[Array, Array]:
    """Bytes, and an array in their middle, which begins a line of the caches."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    whole = np.full(size + 2 * ZONE + 64, FILL, np.uint8)
    whole = whole[-whole.ctypes.data % 64 :][: size + 2 * ZONE]
    return whole, whole[ZONE : ZONE + size].view(dtype).reshape(shape)
