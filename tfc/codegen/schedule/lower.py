"""The kernel of a fusion, by the generator that its kind names."""

from __future__ import annotations

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule.nest import lower_nest
from tfc.dialects import kernel
from tfc.dialects.tfc.fusion import FusionOp
from tfc.errors import InternalError
from tfc.location import stamp


def lower_fusion(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """Write the kernel ``name`` for ``op``: operand buffers, result buffers, named dims."""
    if op.kind.data == "nest":
        function = lower_nest(op, name, target)
    else:
        raise InternalError(f"no generator for a fusion of kind {op.kind.data!r}")
    stamp(function, op.location)
    return function
