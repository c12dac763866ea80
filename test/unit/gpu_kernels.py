"""Programs of operations' samples for a GPU, and what their kernels take of it."""

from __future__ import annotations

from collections.abc import Sequence

import test_operations as operations
from test_operations import module_of
from xdsl.ir import Attribute

from tfc.codegen.gpu.assemble import Usage, usage
from tfc.codegen.gpu.ptx import ptx
from tfc.compiler import Lowered, lower
from tfc.devices import Placement
from tfc.dialects.tfc.base import OPERATIONS, Sample
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.types import Array
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
    module, arrays, want = operations.program_of(samples, types)
    return lower(module, on_gpu(cpu)), arrays, want


def used(name: str, cpu: str) -> dict[str, Usage]:
    """What the kernels of an operation's samples take, by name."""
    program, _, _ = program_of(samples_of(name), cpu=cpu)
    kernels = [k for k in program.kernels if k.target.data == "gpu"]
    return usage(ptx(kernels, cpu), cpu) if kernels else {}
