"""What a compiled model says about itself: names, types, shapes, target, sizes, errors.

    {"abi": 1, "name": "mlp", "inputs": [{"name": "x:0", "identifier": "x_0",
     "dtype": "float32", "shape": ["batch", 784]}], ...}

One description serves all readers: the C header is printed from it, the compiled code embeds it
as the string ``NAME_manifest``, and the loader checks and calls the model by it. It is JSON in
ASCII, with a fixed order of keys, so that equal models give equal bytes.

Extents are integers or texts of expressions over the named dims (`tfc.dims`). A named dim is
bound by one axis of one input, whose extent is exactly that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfc import dims
from tfc.dims import Dim
from tfc.errors import ArtifactError, OptionError

ABI = 1
"""The version of the C interface. It changes when a caller would have to be compiled again."""

C_TYPES = {
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "float32": "float",
    "float64": "double",
    "bool": "uint8_t",
} | {f"{u}int{w}": f"{u}int{w}_t" for u in ("", "u") for w in (8, 16, 32, 64)}
"""Every dtype of a port, by numpy's name, and the C type of its elements.

C99 has no half floats: their bits are passed. A bool is one byte, 0 or 1.
"""

ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "bool": 1} | {
    f"{u}int{w}": w // 8 for u in ("", "u") for w in (8, 16, 32, 64)
}
"""Bytes of one element."""


@dataclass(frozen=True)
class TargetSpec:
    """The machine that the code was made for."""

    triple: str
    cpu: str
    features: tuple[str, ...] = ()
    """Instruction sets that the code uses beyond the architecture's baseline: ``avx2``, ``fma``."""


@dataclass(frozen=True)
class Port:
    """An input, an output or a variable."""

    name: str
    """The name in the user's graph, any text."""
    identifier: str
    """The name in C: unique among all ports and named dims of the model."""
    dtype: str
    """numpy's name of the element type, one of `C_TYPES`."""
    shape: tuple[Dim, ...]
    memory: str = ""
    """Where the model itself has it: the name of a device (``GPU:0``), or empty for the host's memory."""

    def __post_init__(self) -> None:
        if self.dtype not in C_TYPES:
            raise ArtifactError(f"{self.name!r} is {self.dtype}, which has no C type")

    @property
    def bytes(self) -> Dim:
        return dims.product(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class NamedDim:
    """An extent that each run chooses, and the axis of the input that tells it."""

    name: str
    identifier: str
    input: int
    axis: int


@dataclass(frozen=True)
class ErrorMessage:
    """What a nonzero result of ``NAME_create`` or ``NAME_run`` means."""

    code: int
    text: str
    where: str = ""
    """``file:line`` of the user's graph, or the name of the node; empty where there is none."""


@dataclass(frozen=True)
class GpuSpec:
    """The GPU that a model's kernels were made for."""

    cpu: str
    """Its generation, ``sm_90``: this one or a later one runs them."""
    arena_size: Dim = 0
    """Bytes of scratch memory there, a function of the named dims."""


@dataclass(frozen=True)
class Manifest:
    """The description of one compiled model."""

    name: str
    """The prefix of every exported symbol; a C identifier."""
    target: TargetSpec
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    variables: tuple[Port, ...] = ()
    dims: tuple[NamedDim, ...] = ()
    threads: int = 1
    """The number of threads where the caller asks for 0."""
    arena_size: Dim = 0
    """Bytes of scratch memory that a run needs, a function of the named dims."""
    weights_size: int = 0
    errors: tuple[ErrorMessage, ...] = ()
    gpu: GpuSpec | None = None
    """Where some of it runs on one."""
    abi: int = field(default=ABI, kw_only=True)

    def __post_init__(self) -> None:
        check_name(self.name)

    def to_json(self) -> str:
        """ASCII text, one line, without NUL: fit for a C string."""
        return json.dumps(_plain(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            ArtifactError: the text is no manifest, or one of another ABI.
        """
        try:
            data = json.loads(text)
            abi = data["abi"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"the manifest of the model cannot be read: {error}") from error
        if abi != ABI:
            raise ArtifactError(
                f"the model has interface version {abi}, this tfc reads version {ABI}",
                help="compile the model again, or load it with the tfc that compiled it",
            )
        try:
            return _manifest(data)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"the manifest of the model lacks a part: {error!r}") from error

    @property
    def stateful(self) -> bool:
        """Whether there are variables, and functions that initialize, save and restore them: those need files,
        and sizes of 64 bits."""
        return bool(self.variables) and not self.target.triple.startswith(("wasm32", "arm-", "armv", "i386", "i686"))

    def symbol(self, suffix: str) -> str:
        """``NAME_run`` for ``run``."""
        return f"{self.name}_{suffix}"


def check_name(name: str) -> None:
    """Raise `OptionError` unless ``name`` can begin C symbols."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise OptionError(
            f"expected a model name of letters, digits and underscores, got {name!r}",
            help=f"--name={_identifier(name)} would do",
        )


def model_name(text: str) -> str:
    """A model name made from a file's stem: ``resnet-50`` gives ``resnet_50``."""
    name = _identifier(text).lstrip("_") or "model"
    return name if name[0].isalpha() else f"m{name}"


def ports(
    described: Iterable[tuple[str, str, Sequence[Dim]]], taken: set[str] | None = None
) -> tuple[Port, ...]:
    """Ports from (name, dtype, shape), with identifiers not in ``taken``, which it extends."""
    used = set[str]() if taken is None else taken
    return tuple(Port(n, _fresh(n, used), dtype, tuple(shape)) for n, dtype, shape in described)


def named_dims(
    inputs: Sequence[Port], needed: Iterable[Dim] = (), taken: set[str] | None = None
) -> tuple[NamedDim, ...]:
    """The named dims of ``inputs`` in order of appearance, each bound by its first plain axis.

    Args:
        inputs: their extents name the dims.
        needed: further extents (of outputs, variables, the arena) that have to be computable.
        taken: identifiers in use; extended.

    Raises:
        ArtifactError: a dim occurs only inside expressions, so that no input tells its size.
    """
    used = set[str]() if taken is None else taken
    found: dict[str, NamedDim] = {}
    for index, port in enumerate(inputs):
        for axis, extent in enumerate(port.shape):
            for name in dims.names(extent):
                if extent == dims.symbol(name) and name not in found:
                    found[name] = NamedDim(name, _fresh(name, used), index, axis)
    for extent in [*(d for p in inputs for d in p.shape), *needed]:
        for name in sorted(dims.names(extent) - set(found)):
            raise ArtifactError(
                f"no input tells the size of the dim {name!r}, which the extent {extent} needs"
            )
    return tuple(found.values())


def _identifier(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"
    return f"_{name}" if name[0].isdigit() else name


def _fresh(text: str, used: set[str]) -> str:
    base = name = _identifier(text).lstrip("_") or "x"
    if base[0].isdigit():
        base = name = f"t{base}"
    if name in RESERVED:
        name = f"{base}_"
    count = 1
    while name in used:
        count += 1
        name = f"{base}_{count}"
    used.add(name)
    return name


_RESERVED_TEXT = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept
    const const_cast consteval constexpr constinit continue co_await co_return co_yield decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend
    goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq
    private protected public register reinterpret_cast requires restrict return short signed sizeof
    static static_assert static_cast struct switch template this thread_local throw true try
    typedef typeid typename typeof union unsigned using virtual void volatile wchar_t while xor
    xor_eq fortran linux unix errno stdin stdout stderr NULL
"""
RESERVED = frozenset(_RESERVED_TEXT.split())
"""Words that C99, C11, C++ or their usual headers and compilers take for themselves."""


def _plain(value: Any) -> Any:
    if isinstance(value, dims.Expr):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        names = sorted(value.__dataclass_fields__, key=lambda f: f != "abi")
        return {n: _plain(getattr(value, n)) for n in names}
    return value


def _manifest(data: Mapping[str, Any]) -> Manifest:
    target = data["target"]
    return Manifest(
        name=data["name"],
        target=TargetSpec(target["triple"], target["cpu"], tuple(target["features"])),
        inputs=_ports(data["inputs"]),
        outputs=_ports(data["outputs"]),
        variables=_ports(data["variables"]),
        dims=tuple(NamedDim(**d) for d in data["dims"]),
        threads=data["threads"],
        arena_size=dims.parse(data["arena_size"]),
        weights_size=data["weights_size"],
        errors=tuple(ErrorMessage(**e) for e in data["errors"]),
        gpu=GpuSpec(gpu["cpu"], dims.parse(gpu["arena_size"])) if (gpu := data.get("gpu")) else None,
    )


def _ports(data: Iterable[Mapping[str, Any]]) -> tuple[Port, ...]:
    return tuple(
        Port(p["name"], p["identifier"], p["dtype"], tuple(dims.parse(d) for d in p["shape"]), p.get("memory", ""))
        for p in data
    )
