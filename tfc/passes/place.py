"""Give every operation a device.

    %y = tfc.add %x, %x {tfc.device = "/gpu:0"}
    ->  {tfc.device = "/job:localhost/replica:0/task:0/device:GPU:0"}

What is known before: names of devices, whole or in part (``tfc.device``), and groups that must
share one: operations with a common label in ``tfc.colocate``, and a variable with all that reads
or assigns it. Groups are found by union-find. The name that a group wants is the meet of its
members' names; the first device that fits it, and has a kernel for each member, gets the group.
Who wants nothing runs on the first CPU, but a constant beside its only user.

Where there is no such device the pass says why: which two members contradict each other and
what ties them, which devices there are, or which operation has no kernel. With ``soft`` the
group goes elsewhere and the log says so.

Runs before decomposition: the parts of an operation run where it does. ``cpus=2`` makes two
virtual CPUs of one machine, so that programs for many devices can be tried anywhere.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from tfc.devices import ANY, Device
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.state import VariableOp
from tfc.dialects.tfc.transfer import DEVICE
from tfc.dialects.tfc.types import ResourceType
from tfc.errors import GraphError
from tfc.location import describe

COLOCATE = "tfc.colocate"
_log = logging.getLogger("tfc.place")


@dataclass(frozen=True)
class Place(ModulePass):
    """Give every operation a device.

    Attributes:
        cpus: how many CPU devices there are; all but the first are virtual.
        gpus: how many GPU devices there are.
        prefer: the device of operations that want none; by costs where it is left out.
        soft: move operations elsewhere whose device is not there or cannot run them.
        explain: log the device of every operation, and why.
    """

    name = "place"
    cpus: int = 1
    gpus: int = 0
    prefer: str = ""
    soft: bool = False
    costs: str = ""
    explain: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, FuncOp):
                _Placement(list(_placed(function)), devices(self.cpus, self.gpus), self.soft).run(self.explain)


def devices(cpus: int, gpus: int = 0) -> list[Device]:
    """The devices of this machine, the preferred one first."""
    counts = {"CPU": cpus, "GPU": gpus}
    return [Device("localhost", 0, 0, kind, k) for kind, n in counts.items() for k in range(n)]


def has_kernel(op: Operation, device: Device) -> bool:
    """Whether there is code for ``op`` on ``device``."""
    return device.kind == "CPU" or not isinstance(op, DynamicOp)


def _placed(function: FuncOp) -> Iterator[Operation]:
    """The operations that run on a device; those of a fusion run where it does."""
    for op in function.walk():
        inside = op.parent_op()
        if not isinstance(op, FuncOp | ReturnOp) and not isinstance(inside, FusionOp):
            yield op


@dataclass
class _Group:
    """Operations that must share a device."""

    members: list[Operation] = field(default_factory=list)
    wanted: Device = ANY
    place: Device | None = None
    reason: str = ""


class _Placement:
    def __init__(self, ops: Sequence[Operation], there: Sequence[Device], soft: bool) -> None:
        self.ops, self.there, self.soft = ops, there, soft
        self.wants = {op: w for op in ops if (w := wanted(op)) != ANY}
        self.ties = list(_ties(ops))

    def run(self, explain: bool) -> None:
        groups = self._groups()
        for group in {id(g): g for g in groups.values()}.values():
            self._choose(group)
        for op in self.ops:
            self._settle(op, groups, explain)

    # Groups.

    def _groups(self) -> dict[Operation, _Group]:
        """The group of each operation that wants something or is tied to another."""
        parent: dict[Operation, Operation] = {}

        def root(op: Operation) -> Operation:
            top = op
            while (above := parent.get(top, top)) is not top:
                top = above
            while parent.get(op, op) is not top:  # shorten the way for the next time
                parent[op], op = top, parent.get(op, op)
            return top

        for x, y, _ in self.ties:
            a, b = root(x), root(y)
            if a is not b:
                parent[b] = a
        groups: dict[Operation, _Group] = {}
        tied = {op for x, y, _ in self.ties for op in (x, y)}
        for op in self.ops:
            if op in self.wants or op in tied:
                group = groups.setdefault(root(op), _Group())
                group.members.append(op)
                groups[op] = group
        return groups

    # Choosing.

    def _choose(self, group: _Group) -> None:
        group.wanted = self._meet(group)
        fits = [d for d in self.there if group.wanted.fits(d)]
        lacking = None
        for device in fits:
            lacking = next((op for op in group.members if not has_kernel(op, device)), None)
            if lacking is None:
                group.place = device
                group.reason = f"wants {group.wanted}" if group.wanted != ANY else "wants nothing"
                return
        asking = next((op for op in group.members if op in self.wants), group.members[0])
        why = self._no_device(group.wanted) if lacking is None else f"{_name(lacking)} has no kernel for it"
        self._fall_back(group, asking, why)

    def _meet(self, group: _Group) -> Device:
        met = ANY
        for k, op in enumerate(group.members):
            want = self.wants.get(op, ANY)
            both = met.meet(want)
            if both is None:
                other = next(o for o in group.members[:k] if self.wants.get(o, ANY).meet(want) is None)
                error = self._conflict(other, op)
                if not self.soft:
                    raise error
                _log.warning("%s: %s\nnote: soft placement keeps the first", error.where, error.message)
                return met
            met = both
        return met

    def _fall_back(self, group: _Group, asking: Operation, why: str) -> None:
        message = f"{_name(asking)} cannot run on {group.wanted}: {why}"
        if not self.soft:
            help = "allow_soft_placement (place{soft=true}) runs it elsewhere"
            raise GraphError(message, where=describe(asking.location), help=help)
        softer = group.wanted.without_kind()
        fits = [d for d in self.there if softer.fits(d)] or list(self.there)
        usable = (d for d in fits if all(has_kernel(op, d) for op in group.members))
        group.place = next(usable, self.there[0])
        group.reason = f"soft placement: {why}"
        where = describe(asking.location)
        _log.warning("%s%s; it runs on %s", f"{where}: " if where else "", message, group.place)

    def _no_device(self, wanted: Device) -> str:
        return f"there is no such device; there are {', '.join(map(str, self.there))}" if wanted != ANY else (
            "there is no device"
        )

    # Errors.

    def _conflict(self, x: Operation, y: Operation) -> GraphError:
        """The smallest set of constraints that contradict each other: two names and a way between."""
        first = f"{_name(x)} wants {self.wants[x]}{_at(x)}"
        second = f"{_name(y)} wants {self.wants[y]}{_at(y)}"
        way = [f"note: {_name(a)} and {_name(b)} are tied by {why}" for a, b, why in self._way(x, y)]
        message = f"operations that must share a device want different ones: {first}, {second}"
        help = "drop one of the devices, or the colocation"
        return GraphError("\n".join([message, *way]), where=describe(y.location), help=help)

    def _way(self, x: Operation, y: Operation) -> list[Tie]:
        """The shortest chain of ties from ``x`` to ``y``."""
        beside: dict[Operation, list[Tie]] = {}
        for a, b, why in self.ties:
            beside.setdefault(a, []).append((a, b, why))
            beside.setdefault(b, []).append((b, a, why))
        came: dict[Operation, Tie | None] = {x: None}
        queue = deque([x])
        while queue and y not in came:
            op = queue.popleft()
            for tie in beside.get(op, ()):
                if tie[1] not in came:
                    came[tie[1]] = tie
                    queue.append(tie[1])
        way: list[Tie] = []
        step = came.get(y)
        while step is not None:
            way.append(step)
            step = came[step[0]]
        return way[::-1]

    # Writing down.

    def _settle(self, op: Operation, groups: Mapping[Operation, _Group], explain: bool) -> None:
        group = groups.get(op)
        if group is not None:
            place, why = group.place or self.there[0], group.reason
        else:
            place, why = self._beside_user(op, groups), "wants nothing"
        op.attributes[DEVICE] = StringAttr(str(place))
        op.attributes.pop(COLOCATE, None)
        if explain:
            _log.info("%s: %s (%s)", _name(op), place, why)

    def _beside_user(self, op: Operation, groups: Mapping[Operation, _Group]) -> Device:
        """The first device; for an operation without operands that of its only user."""
        users = {use.operation for r in op.results for use in r.uses} if not op.operands else set[Operation]()
        if len(users) == 1:
            group = groups.get(users.pop())
            if group is not None and group.place is not None and has_kernel(op, group.place):
                return group.place
        return self.there[0]


Tie = tuple[Operation, Operation, str]
"""Two operations that must share a device, and why."""


def wanted(op: Operation) -> Device:
    """The device that an operation asks for."""
    attribute = op.attributes.get(DEVICE)
    if not isinstance(attribute, StringAttr):
        return ANY
    try:
        return Device.parse(attribute.data)
    except GraphError as error:
        raise GraphError(error.message, where=describe(op.location), help=error.help) from None


def _ties(ops: Iterable[Operation]) -> Iterator[Tie]:
    """What must share a device: the same label, the same variable, a handle and its users."""
    first: dict[str, Operation] = {}
    for op in ops:
        labels = op.attributes.get(COLOCATE)
        names = cast("ArrayAttr[StringAttr]", labels) if isinstance(labels, ArrayAttr) else ()
        keys = [f"the label {label.data}" for label in names]
        if isinstance(op, VariableOp):
            keys.append(f"the variable '{op.variable.data}'")
        for key in keys:
            other = first.setdefault(key, op)
            if other is not op:
                yield other, op, key
        for operand in op.operands:
            if isinstance(operand.type, ResourceType) and isinstance(operand.owner, Operation):
                yield operand.owner, op, "the handle of a variable"


def _name(op: Operation) -> str:
    where = describe(op.location)
    node = where[where.rindex("(") + 1 : -1] if where.endswith(")") else ""
    return f"'{node}' ({op.name})" if node else f"'{op.name}'"


def _at(op: Operation) -> str:
    where = describe(op.location)
    return f" at {where.split(' ')[0]}" if where else ""
