"""The kernel of a fusion, by the generator that its kind names."""

from __future__ import annotations

from tfc.codegen.cpu.targets import Target
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.attention import lower_attention
from tfc.codegen.schedule.contraction import lower_contraction
from tfc.codegen.schedule.merge import lower_merge
from tfc.codegen.schedule.nest import lower_nest
from tfc.codegen.schedule.radix import lower_radix
from tfc.codegen.schedule.running import lower_running
from tfc.codegen.schedule.scatter import lower_scatter
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.errors import InternalError
from tfc.location import stamp

GENERATORS = {
    "nest": lower_nest,
    "contraction": lower_contraction,
    "attention": lower_attention,
    "scatter": lower_scatter,
    "running": lower_running,
    "merge": lower_merge,
    "radix": lower_radix,
}


def lower_fusion(op: FusionOp, name: str, target: Target | GpuTarget) -> kernel.FuncOp:
    """Write the kernel ``name`` for ``op``: operand buffers, result buffers, named dims.

    Raises:
        OptionError: there is no generator for it on that GPU.
    """
    if isinstance(target, GpuTarget):
        from tfc.codegen.schedule.gpu.lower import lower_for_gpu

        function = lower_for_gpu(op, name, target)
    else:
        generator = GENERATORS.get(op.kind.data)
        if generator is None:
            raise InternalError(f"no generator for a fusion of kind {op.kind.data!r}")
        function = generator(op, name, target)
    stamp(function, op.location)
    return function
