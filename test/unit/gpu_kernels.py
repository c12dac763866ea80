"""Programs of operations' samples for a GPU, and what their kernels take of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from test_operations import module_of, reference
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Region

from tfc.codegen.gpu.assemble import Usage, usage
from tfc.codegen.gpu.ptx import ptx
from tfc.compiler import Lowered, lower
from tfc.devices import Placement
from tfc.dialects.tfc.base import OPERATIONS, Sample
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.options import Options

GPU = "/device:GPU:0"


def samples_of(name: str) -> list[Sample]:
    """The samples of an operation that a GPU may get; panels are laid out for the tiles of a CPU."""

    def packed(sample: Sample) -> bool:
        op = module_of(sample)[1]
        return isinstance(op, ContractOp) and op.packed is not None

    return [s for s in OPERATIONS[name].samples() if not packed(s)]


def on_gpu(cpu: str = "sm_80") -> Options:
    """All of a program on one GPU, inputs and outputs as well."""
    return Options(gpu=cpu, placement=Placement(gpus=1, prefer=GPU, ports=GPU))


def program_of(
    samples: Sequence[Sample], types: Sequence[Attribute] | None = None, cpu: str = "sm_80"
) -> tuple[Lowered, list[Array], list[Array]]:
    """One program of all ``samples`` for a GPU, its arguments, and the references."""
    arrays = [np.array(a, order="C") for s in samples for a in s.args]
    types = types or [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    block = Block(arg_types=types)
    arguments, want = list(block.args), list[Array]()
    results = []
    for sample in samples:
        own, arguments = arguments[: len(sample.args)], arguments[len(sample.args) :]
        op = sample.make(*own)
        block.add_op(op)
        want += reference(module_of(sample)[1], sample)
        results += op.results
    block.add_op(func.ReturnOp(*results))
    function = func.FuncOp("main", (types, [r.type for r in results]), Region(block))
    return lower(ModuleOp([function]), on_gpu(cpu)), arrays, want


def used(name: str, cpu: str) -> dict[str, Usage]:
    """What the kernels of an operation's samples take, by name."""
    program, _, _ = program_of(samples_of(name), cpu=cpu)
    kernels = [k for k in program.kernels if k.target.data == "gpu"]
    return usage(ptx(kernels, cpu), cpu) if kernels else {}
