"""The kernel of a fusion on a GPU, by the generator that its kind names."""

from __future__ import annotations

from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.gpu.attention import lower_attention
from tfc.codegen.schedule.gpu.contraction import lower_contraction
from tfc.codegen.schedule.gpu.nest import lower_nest
from tfc.codegen.schedule.gpu.running import lower_running
from tfc.codegen.schedule.gpu.scatter import lower_scatter
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.errors import OptionError
from tfc.location import describe

GENERATORS = {
    "nest": lower_nest,
    "contraction": lower_contraction,
    "attention": lower_attention,
    "scatter": lower_scatter,
    "running": lower_running,
    "merge": lower_nest,  # each element finds its place of its own, in as many steps as its run has bits
    "radix": lower_nest,
}
"""What writes the kernel of each kind of fusion."""


def lower_for_gpu(op: FusionOp, name: str, target: GpuTarget) -> kernel.FuncOp:
    """Write the kernel ``name`` for ``op``; see `tfc.codegen.schedule.lower.lower_fusion`.

    Raises:
        OptionError: there is no generator for it on GPUs.
    """
    generator = GENERATORS.get(op.kind.data)
    if generator is None:
        raise OptionError(
            f"{describe(op.location)}: no kernel for '{op.kind.data}' on {target.cpu}".removeprefix(": "),
            help='place it on a CPU: tf.device("/cpu:0")',
        )
    return generator(op, name, target)
