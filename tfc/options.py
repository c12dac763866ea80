"""What a compilation can be told; the command line and the Python API share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfc.codegen.pool import MAX_THREADS
from tfc.devices import Device, Placement
from tfc.errors import OptionError

if TYPE_CHECKING:
    from tfc.dims import Dim
    from tfc.passes.instrumentation import Instrument


EFFECTS = ("error", "warn", "order")
"""What can be done about accesses to a variable that have no order; see `tfc.passes.check_effects`."""


def check_mode(mode: str) -> None:
    """Raise `OptionError` unless ``mode`` is one of `EFFECTS`."""
    if mode not in EFFECTS:
        raise OptionError(f"expected check-effects to be {', '.join(EFFECTS)}, got {mode!r}")


@dataclass(frozen=True)
class Options:
    """Options of a compilation.

    Attributes:
        name: the prefix of the artifact's symbols, a C identifier.
        cpu: what code is generated for: a name of `tfc.codegen.cpu.targets.CPUS`; None for
            "native", or with ``target`` for the most compatible cpu of it.
        target: an LLVM triple; None for this machine.
        gpu: the GPU that kernels are for which are placed on one: a name of `tfc.codegen.gpu.targets.GPUS`.
        threads: how many threads a run uses, from 1 to `MAX_THREADS`.
        shapes: extents that replace the declared ones of an input, by its name.
        check_effects: one of `EFFECTS`.
        memory_limit: bytes that the arena of a run may have; kernels run again to keep within it.
        allow_tf32: whether tensor cores of GPUs may multiply f32, with 10 bits behind the point; sums are f32.
        validate_each_pass: interpret the module before and after every pass.
        placement: which devices there are, and how operations come to them.
        instruments: who watches the passes.

    Raises:
        OptionError: ``threads`` is no number in that range, ``check_effects`` another word, or the limit no size.
    """

    name: str = "model"
    cpu: str | None = None
    target: str | None = None
    gpu: str | None = None
    threads: int = 1
    shapes: Mapping[str, Sequence[Dim]] = field(default_factory=dict[str, "Sequence[Dim]"])
    check_effects: str = "error"
    memory_limit: int | None = None
    allow_tf32: bool = False
    validate_each_pass: bool = False
    placement: Placement = field(default_factory=Placement)
    instruments: Sequence[Instrument] = ()

    def __post_init__(self) -> None:
        # The artifact checks what its caller asks for, but trusts its own default.
        if type(self.threads) is not int or not 1 <= self.threads <= MAX_THREADS:
            expected = f"expected a number of threads from 1 to {MAX_THREADS}"
            raise OptionError(f"{expected}, got {self.threads!r}")
        check_mode(self.check_effects)
        if self.memory_limit is not None and (type(self.memory_limit) is not int or self.memory_limit < 0):
            raise OptionError(f"expected a limit of memory in bytes, got {self.memory_limit!r}")


def choose_device(device: str | None, cpu: str | None, placement: Placement | None = None) -> dict[str, Any]:
    """The `Options` of where a model runs, by the words that its user has.

    Args:
        device: "cpu", "gpu", "gpu:1", or a name as `tf.device` takes it: all runs there. "auto": where `tf.device`
            says it, and else on the CPU or a GPU, by costs. None for what ``cpu`` is, or ``placement``.
        cpu: a name of a CPU, or of a GPU (``sm_90``).
        placement: the devices that there are, and more.

    Raises:
        GraphError: ``device`` is no name of a device.
        OptionError: ``cpu`` is none for that device.
    """
    from tfc.codegen.gpu.targets import GpuTarget, is_gpu

    names_gpu = is_gpu(None, cpu)
    if placement is not None or device == "auto":
        if device not in ("auto", None):
            raise OptionError(f"a placement is given, and the device {device}", help="leave out one of them")
        gpu = GpuTarget.parse(cpu).cpu if names_gpu else this_gpu()
        there = placement or Placement(gpus=1 if gpu else 0)
        return {"cpu": None if names_gpu else cpu, "gpu": gpu if there.gpus else None, "placement": there}
    text = device or ("gpu" if names_gpu else "cpu")
    if text.lower() in ("cpu", "gpu"):
        text = f"{text}:0"
    where = Device.parse(text if text.startswith("/") else f"/{text}")
    if where.kind != "GPU":
        if names_gpu:
            raise OptionError(f"cpu {cpu!r} is a GPU, the device is {device}", help="leave out one of them")
        return {"cpu": cpu}
    gpu = GpuTarget.parse(cpu).cpu if names_gpu else this_gpu()
    name, count = str(where), (where.index or 0) + 1
    return {"cpu": None if names_gpu else cpu, "gpu": gpu, "placement": Placement(gpus=count, prefer=name, ports=name)}


def this_gpu() -> str | None:
    """The name (of `tfc.codegen.gpu.targets.GPUS`) of the first GPU here, or of the latest before it; None where there
    is none."""
    from tfc.codegen.gpu.targets import GPUS
    from tfc.runtime.cuda import driver, gpus_here

    if not gpus_here():
        return None
    has = driver().properties().capability
    fitting = [n for n, g in GPUS.items() if not g.own and 10 * g.major + g.minor <= has]
    return fitting[-1] if fitting else None
