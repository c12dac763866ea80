"""GPUs that code is generated for, as data.

    GpuTarget.parse("sm_90")        an H100 or H200: PTX that this and every later GPU can run
    GpuTarget.parse("sm_90a")       the same with its own instructions, for it alone

PTX is text that a GPU's driver translates for itself, so a name says the least that is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tfc.codegen.cpu.targets import Isa
from tfc.errors import OptionError, nearest

TRIPLE = "nvptx64-nvidia-cuda"
ARCHITECTURE = "nvptx64"

PTX_VERSION = 80
"""Of the language: 8.0, which drivers of CUDA 12 and later read."""

GPU_ISA = Isa(ARCHITECTURE, "", 128, 255, half=True, inlining=16)
"""What the rules that are shared with CPUs ask for: conversions, rounding and fma are instructions."""


@dataclass(frozen=True)
class Gpu:
    """What a generation of GPUs has.

    Attributes:
        major, minor: its compute capability.
        shared: bytes of shared memory that one block may have.
        copies_async: whether a thread goes on while it copies to shared memory (``cp.async``).
        tensor_halves, tensor_bf16, tensor_tf32, tensor_bytes: types that its tensor cores multiply: f16;
            bf16; f32 cut to 19 bits; i8.
        warpgroups: whether four warps multiply together, out of shared memory (``wgmma``).
        own: whether its code is for no later one.
    """

    major: int
    minor: int
    shared: int
    copies_async: bool = False
    tensor_halves: bool = True
    tensor_bf16: bool = False
    tensor_tf32: bool = False
    tensor_bytes: bool = False
    warpgroups: bool = False
    own: bool = False


_AMPERE = {"copies_async": True, "tensor_bf16": True, "tensor_tf32": True, "tensor_bytes": True}

GPUS: dict[str, Gpu] = {
    "sm_70": Gpu(7, 0, 96 << 10),
    "sm_75": Gpu(7, 5, 64 << 10, tensor_bytes=True),
    "sm_80": Gpu(8, 0, 163 << 10, **_AMPERE),
    "sm_86": Gpu(8, 6, 99 << 10, **_AMPERE),
    "sm_89": Gpu(8, 9, 99 << 10, **_AMPERE),
    "sm_90": Gpu(9, 0, 227 << 10, **_AMPERE),
    "sm_90a": Gpu(9, 0, 227 << 10, **_AMPERE, warpgroups=True, own=True),
}
"""Every GPU that can be named. Sources: CUDA C++ Programming Guide, "Compute Capabilities"."""

DEFAULT = "sm_80"
"""Where none is named."""


@dataclass(frozen=True)
class GpuTarget:
    """A GPU to generate code for; see `GpuTarget.parse`.

    Attributes:
        cpu: its name in `GPUS`.
        gpu: its row there.
    """

    cpu: str
    gpu: Gpu = field(repr=False)
    triple: str = TRIPLE
    isa: Isa = field(default=GPU_ISA, repr=False)
    required_features: tuple[str, ...] = ()
    attributes: str = ""
    """Function attributes, of which none are needed."""

    @classmethod
    def parse(cls, cpu: str | None = None) -> GpuTarget:
        """The target of a name of `GPUS`; `DEFAULT` for None.

        Raises:
            OptionError: there is no such GPU.
        """
        name = cpu or DEFAULT
        if name not in GPUS:
            help = nearest(name, list(GPUS)) or f"known: {', '.join(GPUS)}"
            raise OptionError(f"unknown GPU {name!r}", help=help)
        gpu = GPUS[name]
        return cls(name, gpu, isa=replace(GPU_ISA, brain=gpu.tensor_bf16))

    @property
    def arch(self) -> str:
        return ARCHITECTURE

    @property
    def vector_bits(self) -> int:
        """Of the widest access to memory."""
        return self.isa.vector_bits


def is_gpu(target: str | None, cpu: str | None) -> bool:
    """Whether a triple and a cpu name a GPU."""
    return (target or "").startswith("nvptx") or (cpu or "").startswith("sm_")
