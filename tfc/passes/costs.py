"""What operations and transfers take, in seconds, on each kind of device: estimated, or as measured.

    costs = Costs.read('{"kernels": [{"nodes": ["dense/MatMul"], "seconds": {"CPU": 0.0012}}]}')
    costs.seconds(op, "GPU"), costs.transfer(4096, "", "GPU:0")

The estimate is a roofline: the larger one of arithmetic at its peak rate and of bytes at the memory's, and what it takes
to begin; with a branch or loop on a device the host waits for each value by which it goes on. It is made before
fusion, so what an elementwise operation makes for the only operation that reads it, elementwise or a sum, counts as
if it never reached memory and were no kernel of its own. Named dims count as 16, a loop as 16 turns.

`DEVICES` and `LINKS` are data: what the makers say of the devices, not measured here; they tell orders of magnitude.
A file of costs can give others, and seconds of kernels by the names of their nodes, as `tfc.profiling.costs` writes
them. The seconds of a kernel are shared out among its operations in proportion to their estimates.

    {"devices": {"GPU": {"flops": 6e13, "bandwidth": 4.8e12, "launch": 3e-6}},
     "links": {"CPU-GPU": {"latency": 1e-5, "bandwidth": 5e10}},
     "kernels": [{"nodes": ["dense/MatMul", "dense/add"], "seconds": {"CPU": 0.0012}}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, TypeVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from tfc.dialects.host import tensor_bytes
from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp, IotaOp
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.control import RegionOp, WhileOp
from tfc.dialects.tfc.convolution_gradient import ConvBackpropInputOp, ConvolutionGradOp
from tfc.dialects.tfc.elementwise import ElementwiseOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import BroadcastOp, IdentityOp, ReshapeOp
from tfc.dialects.tfc.state import StateOp
from tfc.dialects.tfc.transfer import RecvOp, SendOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, dtype_of, element, shape_of
from tfc.dialects.tfc.window import WindowOp
from tfc.dims import product
from tfc.errors import OptionError
from tfc.location import nodes_of
from tfc.passes.count_work import flops
from tfc.passes.memory_plan import SAMPLE, at_sample

FREE = (ConstantOp, IotaOp, BroadcastOp, IdentityOp, ReshapeOp, SendOp, RecvOp)
"""Operations that cost nothing where they are used."""

_HEAVY = 16
"""Operations of the polynomial behind one element of an exponential or a sine."""


@dataclass(frozen=True)
class Speed:
    """A kind of device.

    Attributes:
        flops: f32 operations a second.
        bandwidth: bytes a second of its memory.
        launch: seconds that a kernel takes that does nothing.
    """

    flops: float
    bandwidth: float
    launch: float


@dataclass(frozen=True)
class Link:
    """Between two memories: seconds until the first byte is there, and bytes a second."""

    latency: float
    bandwidth: float


DEVICES: Mapping[str, Speed] = {
    "CPU": Speed(1e11, 1.5e10, 1e-6),  # a core of a server with 512-bit vectors
    "GPU": Speed(6e13, 4.8e12, 4e-6),  # an H200, without its matrix units
}

LINKS: Mapping[str, Link] = {
    "CPU-GPU": Link(1e-5, 5e10),  # PCIe 5.0 with 16 lanes
    "GPU-GPU": Link(1e-5, 4e11),  # NVLink 4
}

_Row = TypeVar("_Row", Speed, Link)


@dataclass(frozen=True)
class Measured:
    """A kernel that has been timed: the nodes it comes from, and its seconds on each kind of device."""

    nodes: frozenset[str]
    seconds: Mapping[str, float]


@dataclass
class Costs:
    """The cost model of a program; see the module."""

    devices: Mapping[str, Speed] = field(default_factory=lambda: DEVICES)
    links: Mapping[str, Link] = field(default_factory=lambda: LINKS)
    kernels: Sequence[Measured] = ()
    shares: dict[Operation, tuple[Mapping[str, float], float]] = field(
        default_factory=dict[Operation, "tuple[Mapping[str, float], float]"]
    )
    """Of operations in kernels that were timed: the kernel's seconds, and which part of them is theirs."""
    works: dict[Operation, tuple[float, float, int]] = field(
        default_factory=dict[Operation, tuple[float, float, int]]
    )
    """What `work` has said."""

    @classmethod
    def read(cls, text: str) -> Costs:
        """The model that a file of costs describes; the one of the tables for an empty text.

        Raises:
            OptionError: the text has another form.
        """
        try:
            said = json.loads(text or "{}")
            kernels = [
                Measured(frozenset(map(str, k["nodes"])), {d: float(s) for d, s in k["seconds"].items()})
                for k in said.pop("kernels", ())
            ]
            devices = _rows(DEVICES, said.pop("devices", {}), Speed(1e11, 1e10, 1e-6))
            links = _rows(LINKS, said.pop("links", {}), Link(1e-5, 1e10))
            if said:
                raise ValueError(f"unknown entry {next(iter(said))!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            help = '{"devices": {...}, "links": {...}, "kernels": [{"nodes": [...], "seconds": {"CPU": 0.001}}]}'
            why = f"a kernel lacks {error}" if isinstance(error, KeyError) else error
            raise OptionError(f"the costs are not understood: {why}", help=help) from None
        return cls(devices, links, kernels)

    def share_out(self, ops: Sequence[Operation]) -> None:
        """Give operations their parts of the kernels that were timed."""
        kernel_of = {name: k for k in self.kernels for name in k.nodes}
        members: dict[int, list[Operation]] = {}
        for op in ops if kernel_of else ():
            found = next((kernel_of[n] for n in nodes_of(op.location) if n in kernel_of), None)
            if found is not None and not _is_free(op):
                members.setdefault(id(found), []).append(op)
        for kernel in self.kernels:
            those = members.get(id(kernel), [])
            weights = [self.estimated(op, "CPU") for op in those]
            whole = sum(weights) or 1.0
            self.shares.update((op, (kernel.seconds, w / whole)) for op, w in zip(those, weights, strict=True))

    def seconds(self, op: Operation, kind: str) -> float:
        """What ``op`` takes on a device of this kind."""
        seconds, share = self.shares.get(op, ({}, 0.0))
        return seconds[kind] * share if kind in seconds else self.estimated(op, kind)

    def estimated(self, op: Operation, kind: str) -> float:
        speed = self.devices[kind]
        if op not in self.works:
            self.works[op] = work(op)
        done, moved, kernels = self.works[op]
        looks = _choices(op) * self.transfer(1, "", kind)[0] if kind != "CPU" else 0.0
        return max(done / speed.flops, moved / speed.bandwidth) + kernels * speed.launch + looks

    def transfer(self, size: int, source: str, target: str) -> tuple[float, float]:
        """The latency and the seconds for ``size`` bytes between two memories, as `Device.memory` calls them."""
        kinds = sorted((m.partition(":")[0] or "CPU") for m in (source, target))
        link = self.links["-".join(kinds)]
        return link.latency, size / link.bandwidth


def _rows(known: Mapping[str, _Row], given: Mapping[str, Mapping[str, Any]], default: _Row) -> dict[str, _Row]:
    """The table ``known`` with what is given instead."""
    names = {f.name for f in fields(default)}
    made = dict(known)
    for key, values in given.items():
        if unknown := values.keys() - names:
            raise ValueError(f"{key} has no {sorted(unknown)[0]!r}; it has {', '.join(sorted(names))}")
        numbers = {k: float(v) for k, v in values.items()}
        if any(v < 0 or (v == 0 and k in ("flops", "bandwidth")) for k, v in numbers.items()):
            raise ValueError(f"{key} has a rate that is not above 0")
        made[key] = replace(made.get(key, default), **numbers)
    return made


def work(op: Operation) -> tuple[float, float, int]:
    """Operations on elements, bytes of memory and kernels of ``op``."""
    if isinstance(op, RegionOp):
        parts = [work(inner) for region in op.regions for inner in region.block.ops]
        turns = SAMPLE if isinstance(op, WhileOp) else 1
        done, moved, kernels = (turns * sum(p[k] for p in parts) for k in range(3))
        return done, moved, int(kernels)
    if _is_free(op) or isinstance(op, StateOp):
        return 0.0, 0.0, 0
    read = [o for o in dict.fromkeys(op.operands) if not (isinstance(o.owner, Operation) and _joins(o.owner))]
    moved = sum(map(size_of, read))
    if _joins(op):
        return _arithmetic(op), moved, 0
    return _arithmetic(op), moved + sum(map(size_of, op.results)), 1


def _choices(op: Operation) -> int:
    """How often the host looks at a value to go on: in each turn of a loop, and before a branch."""
    if not isinstance(op, RegionOp):
        return 0
    inside = sum(_choices(inner) for region in op.regions for inner in region.block.ops)
    return SAMPLE * (1 + inside) if isinstance(op, WhileOp) else 1 + inside


def size_of(value: SSAValue) -> int:
    """Bytes of a value; none of a token."""
    return _size(value.type) if isinstance(value.type, TensorType) else 0


@lru_cache(1024)
def _size(type_: TensorType) -> int:
    return 0 if UNKNOWN_DIM in shape_of(type_) else at_sample(tensor_bytes(type_))


def _is_free(op: Operation) -> bool:
    return isinstance(op, FREE) or not isinstance(op, TensorOp | FusionOp)


def _joins(op: Operation) -> bool:
    """Whether the kernel of its only user will compute ``op``."""
    if not isinstance(op, ElementwiseOp):
        return False
    user = op.results[0].get_user_of_unique_use()
    return isinstance(user, ElementwiseOp | ReduceOp) and user.parent is op.parent


def _arithmetic(op: Operation) -> float:
    match op:
        case FusionOp():
            return float(sum(_arithmetic(inner) for inner in op.inner))
        case DotOp():
            x = shape_of(op.x)
            return 2.0 * _elements(op.results[0]) * at_sample(product([x[d] for d in op.dims()[2]]))
        case ConvolutionOp():
            return 2.0 * _elements(op.result) * at_sample(product(shape_of(op.w)[:-1]))
        case ConvolutionGradOp():
            w = op.operands[0] if isinstance(op, ConvBackpropInputOp) else op.results[0]
            return 2.0 * _elements(op.operands[1]) * at_sample(product(shape_of(w)[:-1]))
        case AttentionOp():
            keys = shape_of(op.k)[list(op.order_k.get_values())[-2]]
            return 4.0 * _elements(op.q) * at_sample(keys)
        case WindowOp():
            return float(_elements(op.results[0]) * at_sample(product(op.windows()[0])))
        case ContractOp():
            return float(at_sample(flops(op)))
        case _:
            many = _HEAVY if isinstance(op, TensorOp) and op.HEAVY else 1
            return float(many * max(map(_elements, (*op.operands, *op.results)), default=0))


def _elements(value: SSAValue) -> int:
    return size_of(value) // dtype_of(element(value)).itemsize if isinstance(value.type, TensorType) else 0


def in_words(seconds: float) -> str:
    """A time as people write it: ``12.3 us``."""
    for factor, unit in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
