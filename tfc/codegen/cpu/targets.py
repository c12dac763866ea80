"""What code generators need to know of a machine, as data.

    Target.parse()                                  this machine, with all it can do
    Target.parse(cpu="x86-64-v3")                   any x86-64 with AVX2 and FMA
    Target.parse("aarch64-linux-gnu", "neoverse-n1")

A cpu is an ISA (which instructions may be used), a few extensions of it that pay, and a
scheduling model. So the list of features that an artifact needs is known exactly, and two
hosts write the same bytes for one named cpu.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from tfc.errors import OptionError, nearest

if TYPE_CHECKING:
    from xdsl.ir import Attribute


@dataclass(frozen=True)
class Isa:
    """An instruction set.

    Attributes:
        arch: the first part of the triples that have it.
        llvm: its name for LLVM; "" for LLVM's default of the architecture.
        vector_bits: of one vector register.
        registers: how many vector registers there are.
        masked: least width in bits of elements that masked loads and stores take; 0: none do.
        half: whether f16 <-> f32 are instructions.
        brain: whether f32 -> bf16 is one that rounds to even, subnormal numbers too.
        rounding: whether floor, ceil and roundeven are instructions.
        fma: whether a fused multiply-add is one instruction.
        gather: whether gather instructions pay against loads of single lanes.
        streams: whether there are stores past the caches, of whole lines.
        inlining: how much more often than on a CPU a formula is written out before it is a function.
        features: added for LLVM, in its spelling.
        needs: features that a machine must have, in LLVM's spelling, to be checked at load.
    """

    arch: str
    llvm: str
    vector_bits: int
    registers: int
    masked: int = 0
    half: bool = False
    brain: bool = False
    rounding: bool = True
    fma: bool = True
    gather: bool = False
    streams: bool = False
    inlining: int = 1
    features: str = ""
    needs: tuple[str, ...] = ()


_V2 = ("cx16", "popcnt", "sahf", "sse3", "ssse3", "sse4.1", "sse4.2")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

ISAS: dict[str, Isa] = {
    "x86-64": Isa("x86_64", "x86-64", 128, 16, streams=True, rounding=False, fma=False),
    "x86-64-v2": Isa("x86_64", "x86-64-v2", 128, 16, streams=True, fma=False, needs=_V2),
    "x86-64-v3": Isa("x86_64", "x86-64-v3", 256, 16, streams=True, masked=32, half=True, needs=_V3),
    "x86-64-v4": Isa(
        "x86_64", "x86-64-v4", 512, 32, masked=8, half=True, gather=True, streams=True, needs=_V4
    ),
    "armv8": Isa("aarch64", "", 128, 32, half=True),
    "wasm-simd128": Isa("wasm32", "", 128, 16, fma=False, features="+simd128"),
    "rv64gcv": Isa("riscv64", "", 128, 32, masked=8, rounding=False, features="+m,+a,+f,+d,+c,+v"),
}
"""Every ISA that code is generated for."""

EXTENSIONS = ("avx512vbmi", "avx512vbmi2", "avx512vnni", "avxvnni")
"""Features beyond an x86 ISA that are used where a cpu has them."""

_VNNI = ("avx512vnni",)
_ICE = ("avx512vbmi", "avx512vbmi2", "avx512vnni")
_SPR = (*_ICE, "avxvnni")

CPUS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (name, ()) for name in ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")},
    **dict.fromkeys(("nehalem", "westmere", "sandybridge", "ivybridge"), ("x86-64-v2", ())),
    **dict.fromkeys(("haswell", "broadwell", "skylake"), ("x86-64-v3", ())),
    **dict.fromkeys(("znver1", "znver2", "znver3"), ("x86-64-v3", ())),
    **dict.fromkeys(("alderlake", "raptorlake"), ("x86-64-v3", ("avxvnni",))),
    "skylake-avx512": ("x86-64-v4", ()),
    "cascadelake": ("x86-64-v4", _VNNI),
    "cooperlake": ("x86-64-v4", _VNNI),
    **dict.fromkeys(("icelake-client", "icelake-server", "rocketlake"), ("x86-64-v4", _ICE)),
    **dict.fromkeys(("tigerlake", "znver4"), ("x86-64-v4", _ICE)),
    **dict.fromkeys(("sapphirerapids", "graniterapids", "znver5"), ("x86-64-v4", _SPR)),
    **dict.fromkeys(("armv8", "cortex-a53", "cortex-a72", "cortex-a76"), ("armv8", ())),
    **dict.fromkeys(("neoverse-n1", "neoverse-n2", "neoverse-v1", "apple-m1"), ("armv8", ())),
    "wasm-simd128": ("wasm-simd128", ()),
    "rv64gcv": ("rv64gcv", ()),
}
"""Each cpu that can be named: its ISA and extensions. LLVM schedules for it by that name."""

DEFAULT_CPUS = {"x86_64": "x86-64", "aarch64": "armv8", "wasm32": "wasm-simd128", "riscv64": "rv64gcv"}
"""What code is generated for where a triple is given and no cpu."""

_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Target:
    """A machine to generate code for; see `Target.parse`.

    Attributes:
        triple: as LLVM spells it.
        cpu: its name in `CPUS`; the host's own name where "native" was asked for.
        isa: its row in `ISAS`.
        extensions: features that are used beyond the ISA.
        tuning: the cpu that LLVM schedules for; "" for none in particular.
    """

    triple: str
    cpu: str
    isa: Isa = field(repr=False)
    extensions: tuple[str, ...] = ()
    tuning: str = ""

    @classmethod
    def parse(cls, triple: str | None = None, cpu: str | None = None) -> Target:
        """The target of a triple and a cpu; this machine where both are left out.

        Args:
            triple: "aarch64-linux-gnu"; None for this machine's.
            cpu: a name of `CPUS`, or "native"; None for the most compatible one of a given
                triple, and "native" without a triple.

        Raises:
            OptionError: tfc does not know the architecture or the cpu, or they do not fit.
        """
        if triple is None:
            cpu = cpu or "native"
            triple = _usual_triple(cpu)
        arch = _architecture(triple)
        cpu = cpu or DEFAULT_CPUS[arch]
        if cpu == "native":
            return _native(triple, arch)
        if cpu not in CPUS:
            fitting = [c for c, (isa, _) in CPUS.items() if ISAS[isa].arch == arch]
            known = nearest(cpu, ["native", *CPUS]) or f"known for {arch}: {', '.join(fitting)}"
            raise OptionError(f"unknown cpu {cpu!r}", help=known)
        name, extensions = CPUS[cpu]
        if ISAS[name].arch != arch:
            message = f"cpu {cpu!r} is of {ISAS[name].arch}, the target {triple!r} of {arch}"
            raise OptionError(message, help="leave out --target, or name a cpu of that architecture")
        return cls(triple, cpu, ISAS[name], extensions, "" if cpu in ISAS else cpu)

    @property
    def arch(self) -> str:
        return self.isa.arch

    @property
    def vector_bits(self) -> int:
        """Width of a vector register."""
        return self.isa.vector_bits

    @property
    def registers(self) -> int:
        """How many vector registers there are."""
        return self.isa.registers

    @property
    def masked_memory(self) -> bool:
        """Whether masked loads and stores of 32-bit elements are single instructions."""
        return bool(self.isa.masked)

    def masks(self, width: int) -> bool:
        """Whether masked loads and stores of elements of ``width`` bits are instructions."""
        return bool(self.isa.masked) and width >= self.isa.masked

    @property
    def dots_bytes(self) -> bool:
        """Whether four products of bytes and their sum are one instruction (VNNI)."""
        return bool(self.isa.vector_bits == 512 and "avx512vnni" in self.extensions) or (
            self.isa.vector_bits == 256 and "avxvnni" in self.extensions
        )

    @property
    def features(self) -> str:
        """LLVM's feature string."""
        extra = ",".join(f"+{e}" for e in self.extensions)
        return ",".join(f for f in (self.isa.features, extra) if f)

    @property
    def required_features(self) -> tuple[str, ...]:
        """What a machine must have to run the code, to be checked when an artifact is loaded."""
        return self.isa.needs + self.extensions

    @property
    def pointer_bits(self) -> int:
        return 32 if self.arch == "wasm32" else 64

    def lanes(self, element: Attribute) -> int:
        """How many elements of this type one vector register holds (i1 counts as a byte)."""
        # Here, as loading an object asks for this machine, and needs nothing of the compiler.
        from xdsl.dialects.builtin import FixedBitwidthType, IndexType

        if isinstance(element, IndexType):
            return self.vector_bits // 64
        assert isinstance(element, FixedBitwidthType), "buffers have no other elements"
        return self.vector_bits // max(8, element.bitwidth)

    @property
    def attributes(self) -> str:
        """Function attributes: full-width vectors are never split in halves."""
        words = [f'"prefer-vector-width"="{self.vector_bits}"']
        if self.tuning:
            words.append(f'"tune-cpu"="{self.tuning}"')
        return " ".join(words)


def _architecture(triple: str) -> str:
    first = triple.split("-")[0]
    arch = _ALIASES.get(first, first)
    if arch not in DEFAULT_CPUS:
        message = f"unknown architecture {first!r} in target {triple!r}"
        raise OptionError(message, help=f"known: {', '.join([*DEFAULT_CPUS, *_ALIASES])}")
    return arch


def _usual_triple(cpu: str) -> str:
    """This machine's triple, or a usual one of the architecture that the cpu is of."""
    triple = host_triple()
    if cpu not in CPUS:
        return triple
    arch = ISAS[CPUS[cpu][0]].arch
    if arch == _architecture(triple):
        return triple
    return {"wasm32": "wasm32-unknown-unknown"}.get(arch, f"{arch}-unknown-linux-gnu")


@cache
def host_triple() -> str:
    """The triple of this machine."""
    from llvmlite import binding

    return binding.get_default_triple()


def _native(triple: str, arch: str) -> Target:
    if arch != _architecture(host_triple()):
        raise OptionError(f"cpu 'native' is this machine, which is no {arch}", help="name a cpu")
    return Target(triple, *_host(arch))


@cache
def host_features() -> frozenset[str]:
    """The features of this machine, in LLVM's spelling."""
    from llvmlite import binding

    return frozenset(name for name, has in binding.get_host_cpu_features().items() if has)


@cache
def _host(arch: str) -> tuple[str, Isa, tuple[str, ...], str]:
    from llvmlite import binding

    name, features = binding.get_host_cpu_name(), host_features()
    if arch != "x86_64":
        return name, ISAS[CPUS[DEFAULT_CPUS[arch]][0]], (), name if name in CPUS else ""
    fitting = [i for i in ISAS.values() if i.arch == arch and set(i.needs) <= features]
    extensions = tuple(e for e in EXTENSIONS if e in features)
    return name, fitting[-1], extensions, name if name in CPUS else ""
