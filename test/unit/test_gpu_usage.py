"""What nests, sums by position and running sums take of a GPU, as its assembler says: no spills, and room for many warps."""

from __future__ import annotations

import numpy as np
import pytest
from harness import fusion
from test_gpu_nest import F32, softmax, sums
from test_gpu_running import running
from test_gpu_scatter import scatter

from tfc.codegen.gpu.assemble import usage
from tfc.codegen.gpu.ptx import ptx
from tfc.codegen.gpu.targets import GPUS, GpuTarget
from tfc.codegen.schedule.lower import lower_fusion
from tfc.dialects.tfc.elementwise import ExpOp, TanhOp
from tfc.dialects.tfc.shape import TransposeOp
from tfc.dialects.tfc.types import tensor_type

FORMS = {
    "elements": fusion("nest", [tensor_type([4096, 768], F32)], lambda x: [y := ExpOp(x), TanhOp(y)]),
    "tiles": fusion("nest", [tensor_type([512, 300], F32)], lambda x: [TransposeOp(x, [1, 0])]),
    "warp_rows": softmax(4096, 100),
    "team_rows": softmax(4096, 1000),
    "block_rows": softmax(512, 32768),
    "long_rows": softmax(512, 100_000),
    "columns": sums((4096, 768), [0]),
    "scatter": scatter(np.zeros((4096, 768), np.float32), np.zeros(4096, np.int64), 30000),
    "running_rows": running([64, 5000], np.float32, "sum", 1),
    "running_columns": running([64, 5000], np.float32, "sum", 0),
}

REGISTERS = {"block_rows": 64, "scatter": 96}
"""At most, where it is not 48: a row of 32768 is in the registers of 1024 threads."""


@pytest.mark.parametrize("cpu", ["sm_80", "sm_90"])
def test_registers(cpu: str) -> None:
    target = GpuTarget.parse(cpu)
    text = ptx([lower_fusion(op, name, target) for name, op in FORMS.items()], cpu)
    used = usage(text, cpu)
    if not used:
        pytest.skip("there is no ptxas")
    assert used.keys() == FORMS.keys()
    for name, kernel in used.items():
        assert (kernel.spilled, kernel.stack) == (0, 0), name
        assert kernel.registers <= REGISTERS.get(name, 48), (name, kernel)
        assert kernel.shared <= 8 << 10, name


@pytest.mark.parametrize("cpu", sorted(GPUS))
def test_every_gpu_has_text(cpu: str) -> None:
    op = FORMS["warp_rows"]
    assert f".target {cpu}" in ptx([lower_fusion(op, "softmax", GpuTarget.parse(cpu))], cpu)
