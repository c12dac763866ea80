"""Devices by name: whole, in part, and merged as TensorFlow merges them.

    /job:worker/task:1  and inside it  /gpu:0     ->  /job:worker/task:1/device:GPU:0
    /gpu:0              and inside it  /cpu:0     ->  /device:CPU:0

The grammar stands in `device.lark`. A name that leaves parts out fits every device that has
the parts it gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from tfc.errors import GraphError, OptionError, nearest

_GRAMMAR = Path(__file__).with_name("device.lark")
KINDS = ("CPU", "GPU")
"""The types of device that tfc has code generators for."""

_WHOLE = re.compile(rf"/job:([a-zA-Z]\w*)/replica:(\d+)/task:(\d+)/device:({'|'.join(KINDS)}):(\d+)", re.ASCII)
"""A name that leaves nothing open, as `Device` writes it."""


@dataclass(frozen=True)
class Device:
    """A device, or the part of its name that is given; None is a part left open."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    kind: str | None = None
    index: int | None = None

    @staticmethod
    def parse(text: str) -> Device:
        """Read a name; the empty text leaves everything open.

        Raises:
            GraphError: it is no name of a device.
        """
        return _parse(text)

    def over(self, outer: Device) -> Device:
        """This inside ``outer``: its own parts win, the type and the index together."""
        merged = {f.name: _first(getattr(self, f.name), getattr(outer, f.name)) for f in fields(self)}
        if self.kind is not None and self.kind != outer.kind:
            merged["index"] = self.index
        return Device(**merged)

    def fits(self, whole: Device) -> bool:
        """Whether ``whole`` has every part that this one gives."""
        pairs = ((getattr(self, f.name), getattr(whole, f.name)) for f in fields(self))
        return all(mine is None or mine == theirs for mine, theirs in pairs)

    def meet(self, other: Device) -> Device | None:
        """The name that gives the parts of both; None where they contradict each other."""
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if mine is not None and theirs is not None and mine != theirs:
                return None
        return self.over(other)

    @property
    def memory(self) -> str:
        """What its memory is called: nothing for a CPU's, which is the host's, else its type and index."""
        return f"{self.kind}:{self.index or 0}" if self.kind not in (None, "CPU") else ""

    def without_kind(self) -> Device:
        """The same place with the type and the index left open."""
        return replace(self, kind=None, index=None)

    def __str__(self) -> str:
        parts = [f"/{n}:{v}" for n in ("job", "replica", "task") if (v := getattr(self, n)) is not None]
        if self.kind is not None or self.index is not None:
            index = "*" if self.index is None else self.index
            parts.append(f"/device:{self.kind or '*'}:{index}")
        return "".join(parts)


@dataclass(frozen=True)
class Placement:
    """Which devices there are for a program, and how its operations come to them.

    Attributes:
        cpus: how many CPUs; all but the first are virtual: they share its memory and its threads.
        gpus: how many GPUs.
        prefer: the device, or part of its name, of operations that want none; what is estimated to take the
            least time where it is left out.
        ports: the device whose memory inputs come in and outputs go to; the host's where it is left out.
        soft: run operations elsewhere whose device is not there, or has no code for them.
        lossy: send the upper 16 bits of f32 values from device to device.
        costs: measured costs, or the file they are in; see `tfc.passes.costs`.

    Raises:
        OptionError: there is no such number of devices, or no such file.
        GraphError: ``prefer`` is no name of a device.
    """

    cpus: int = 1
    gpus: int = 0
    prefer: str = ""
    ports: str = ""
    soft: bool = False
    lossy: bool = False
    costs: str = ""

    def __post_init__(self) -> None:
        if type(self.cpus) is not int or type(self.gpus) is not int or self.cpus < 1 or self.gpus < 0:
            raise OptionError(f"expected at least one CPU and no less than 0 GPUs, got {self.cpus!r} and {self.gpus!r}")
        Device.parse(self.prefer)
        if self.costs and not self.costs.lstrip().startswith("{"):  # what it says counts, not where it is
            try:
                text = Path(self.costs).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                reason = ((isinstance(error, OSError) and error.strerror) or str(error)).lower()
                raise OptionError(f"cannot read the costs: {self.costs!r}: {reason}") from None
            if not text.lstrip().startswith("{"):
                raise OptionError(f"cannot read the costs: {self.costs!r} holds no JSON object")
            object.__setattr__(self, "costs", text)


ANY = Device()
"""The name that leaves everything open."""


def join(texts: Iterable[str]) -> str:
    """Names merged from the innermost to the outermost."""
    merged = ANY
    for text in texts:
        merged = merged.over(Device.parse(text))
    return str(merged)


@cache
def _parse(text: str) -> Device:
    if not text:
        return ANY
    if (whole := _WHOLE.fullmatch(text)) is not None:  # without importing a parser
        job, replica, task, kind, index = whole.groups()
        return Device(job, int(replica), int(task), kind, int(index))
    from lark.exceptions import UnexpectedInput

    try:
        parts = _parser().parse(text).children
    except UnexpectedInput as error:
        at = max((error.column or 1) - 1, 0)
        raise GraphError(
            f"'{text}' is no name of a device: not understood from '{text[at:]}' on",
            help="names look like /device:GPU:0, /cpu:0 or /job:worker/task:1/device:CPU:0",
        ) from None
    found: dict[str, Any] = {}
    for part in parts:
        _read(part, found, text)
    return Device(**found)


@cache
def _parser() -> Any:
    from lark import Lark

    return Lark(_GRAMMAR.read_text(), parser="earley")


def _read(part: Any, found: dict[str, Any], text: str) -> None:
    """Enter one parsed part of the name ``text``."""
    name, args = part.data, part.children
    if name in ("device", "short"):
        kind, index = str(args[0]).upper(), _index(args[1])
        if kind != "*" and kind not in KINDS:
            known = [f"/device:{k}:0" for k in KINDS]
            help = nearest(kind, KINDS) or f"known are {', '.join(known)}"
            raise GraphError(f"'{text}' names a device of the unknown type {kind}", help=help)
        given = {"kind": None if kind == "*" else kind, "index": index}
    else:
        given = {name: str(args[0]) if name == "job" else _index(args[0])}
    for key, value in given.items():
        if key in found:
            raise GraphError(f"'{text}' names a device with two parts that say its {key}")
        found[key] = value


def _index(node: Any) -> int | None:
    return int(node.children[0]) if node is not None and node.children else None


def _first(mine: Any, theirs: Any) -> Any:
    return theirs if mine is None else mine
