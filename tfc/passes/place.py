"""Give every operation a device.

    %y = tfc.add %x, %x {tfc.device = "/gpu:0"}
    ->  {tfc.device = "/job:localhost/replica:0/task:0/device:GPU:0"}

What is known before: names of devices, whole or in part (``tfc.device``), and groups that must
share one: operations with a common label in ``tfc.colocate``, and a variable with all that reads
or assigns it. Groups are found by union-find. The name that a group wants is the meet of its
members' names; it may have the devices that fit it and have a kernel for each member.

Where these are several, `tfc.passes.placing` looks for the placement by which all is done first, with the costs of
`tfc.passes.costs`; with ``prefer`` it is the first that fits this name. A variable that wants nothing is on the first
GPU, if there is one: several programs share it, and must agree. What stands in a branch or a loop and wants nothing
runs where this does, and that runs where what stands in it wants to. A constant is beside its only user. Of
devices that share a processor and a memory, as virtual CPUs do, the first is taken: so without a GPU all that wants
nothing runs on the first CPU. Of several GPUs that one is taken which an operation wants, or the first.

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
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.devices import ANY, Device, Placement
from tfc.dialects.tfc.control import RegionOp
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.state import VariableOp
from tfc.dialects.tfc.transfer import DEVICE, ports
from tfc.dialects.tfc.types import ResourceType
from tfc.errors import GraphError
from tfc.location import describe, nodes_of
from tfc.passes.costs import Costs, in_words, size_of
from tfc.passes.placing import Problem, best, makespan, on_one

COLOCATE = "tfc.colocate"
_log = logging.getLogger("tfc.place")


@dataclass(frozen=True)
class Place(ModulePass):
    """Give every operation a device.

    Attributes:
        cpus: how many CPU devices there are; all but the first are virtual.
        gpus: how many GPU devices there are.
        prefer: the device of operations that want none; by costs where it is left out.
        ports: the device that arguments and results are on; the first CPU where it is left out.
        soft: move operations elsewhere whose device is not there or cannot run them.
        costs: measured costs, or the file they are in.
        explain: log the device of every operation, and why.
    """

    name = "place"
    cpus: int = 1
    gpus: int = 0
    prefer: str = ""
    ports: str = ""
    soft: bool = False
    costs: str = ""
    explain: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in self.placed(op):
            found.write()
            for line in found.explained() if self.explain else ():
                _log.info("%s", line)

    def explained(self, module: ModuleOp) -> Iterator[str]:
        """Where each operation will be, and why; nothing is written down."""
        for found in self.placed(module):
            yield from found.explained()

    def placed(self, module: ModuleOp) -> Iterator[_Function]:
        there = devices(self.cpus, self.gpus)
        said = Placement(self.cpus, self.gpus, self.prefer, soft=self.soft, costs=self.costs)
        for function in module.ops:
            if isinstance(function, FuncOp) and function.body.blocks:
                if self.ports:
                    _place_ports(function, self.ports, there)
                found = _Function(function, there, said, Costs.read(said.costs))
                found.run()
                yield found


def devices(cpus: int, gpus: int = 0) -> list[Device]:
    """The devices of this machine, the preferred one first."""
    counts = {"CPU": cpus, "GPU": gpus}
    return [Device("localhost", 0, 0, kind, k) for kind, n in counts.items() for k in range(n)]


def has_kernel(op: Operation, device: Device) -> bool:
    """Whether there is code for ``op`` on ``device``."""
    return device.kind == "CPU" or not isinstance(op, DynamicOp)


def _place_ports(function: FuncOp, name: str, there: Sequence[Device]) -> None:
    """Say of tensors that a function takes and gives that they are on the device of this name."""
    place = next((d for d in there if Device.parse(name).fits(d)), None)
    if place is None:
        known = ", ".join(map(str, there))
        raise GraphError(f"arguments and results cannot be on {name}: there is no such device; there are {known}")
    device = DictionaryAttr({DEVICE: StringAttr(str(place))})
    inputs, outputs = function.function_type.inputs, function.function_type.outputs
    function.arg_attrs = _with(function.arg_attrs, inputs.data, device)
    function.res_attrs = _with(function.res_attrs, outputs.data, device)


def _with(
    given: ArrayAttr[DictionaryAttr] | None, types: Sequence[Attribute], more: DictionaryAttr
) -> ArrayAttr[DictionaryAttr]:
    """What is said of arguments or results, and ``more`` of the tensors among them."""
    rows = given.data if given is not None else [DictionaryAttr({})] * len(types)
    pairs = zip(rows, types, strict=True)
    return ArrayAttr([DictionaryAttr({**r.data, **more.data}) if isinstance(t, TensorType) else r for r, t in pairs])


def _placed(function: FuncOp) -> Iterator[Operation]:
    """The operations that run on a device; those of a fusion run where it does."""
    for op in function.walk():
        inside = op.parent_op()
        if not isinstance(op, FuncOp | ReturnOp | YieldOp) and not isinstance(inside, FusionOp):
            yield op


@dataclass(eq=False)
class _Group:
    """Operations that must share a device."""

    members: list[Operation] = field(default_factory=list[Operation])
    wanted: Device = ANY
    candidates: list[Device] = field(default_factory=list[Device])
    """What may be its device as far as is known, the preferred one first."""
    reason: str = ""

    @property
    def place(self) -> Device:
        return self.candidates[0]


class _Function:
    """Where the operations of one function run."""

    def __init__(self, function: FuncOp, there: Sequence[Device], said: Placement, costs: Costs) -> None:
        self.function, self.there, self.soft, self.costs = function, there, said.soft, costs
        self.prefer = Device.parse(said.prefer)
        self.ops = list(_placed(function))
        self.wants = {op: w for op in self.ops if (w := wanted(op)) != ANY}
        for op in reversed(self.ops):  # inner ones first
            inside = _wants_inside(op, self.wants) if op not in self.wants else set[Device]()
            if len(inside) == 1:
                self.wants[op] = inside.pop()
        self.ties = list(_ties(self.ops))
        gpus = [d for d in self.there if d.kind == "GPU"]
        named = [w for w in dict.fromkeys(self.wants.values()) if w.kind == "GPU" and w.index is not None]
        ours = [*(d for w in named for d in gpus if w.fits(d)), *gpus]
        self.open = {d for d in self.there if d.kind != "GPU" or d == ours[0]}
        """The devices among which costs choose."""
        self.groups: dict[Operation, _Group] = {}
        self.fitting: dict[Device, list[Device]] = {}
        """The devices that fit a name."""
        self.summary = ""

    def run(self) -> None:
        self._find_groups()
        distinct = list({id(g): g for g in self.groups.values()}.values())
        for group in distinct:
            self._choose(group)
        if any(len(g.candidates) > 1 for g in distinct):
            self._by_costs(distinct)

    def write(self) -> None:
        for op in self.ops:
            op.attributes[DEVICE] = StringAttr(str(self.place(op)))
            op.attributes.pop(COLOCATE, None)

    def place(self, op: Operation) -> Device:
        """The device of ``op``."""
        if (group := self.groups.get(op)) is not None:
            return group.place
        if not op.operands and not op.regions:
            users = {use.operation for r in op.results for use in r.uses}
            user = users.pop() if len(users) == 1 else None
            group = self.groups.get(user) if user is not None else None
            if group is not None and has_kernel(op, group.place):
                return group.place
        outer = op.parent_op()
        return self.place(outer) if isinstance(outer, RegionOp) else self.there[0]

    # Groups.

    def _find_groups(self) -> None:
        """The group of each operation that wants something, is tied to others, or may run on several devices."""
        several = len(self._distinct(self.there)) > 1 or self.prefer != ANY
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
        tied = {op for x, y, _ in self.ties for op in (x, y)}
        found: dict[Operation, _Group] = {}
        for op in self.ops:
            alone = several and op.parent_op() is self.function and (op.operands or op.regions)
            if op in self.wants or op in tied or alone:
                group = self.groups[op] = found.setdefault(root(op), _Group())
                group.members.append(op)

    # Choosing.

    def _choose(self, group: _Group) -> None:
        """The devices that a group may have."""
        group.wanted = self._meet(group)
        fits = self._fitting(group.wanted)
        lacking = {d: op for d in fits for op in group.members if not has_kernel(op, d)}
        usable = [d for d in fits if d not in lacking]
        if not usable:
            asking = next((op for op in group.members if op in self.wants), group.members[0])
            missing = next(iter(lacking.values()), None)
            why = self._no_device(group.wanted) if missing is None else f"{_name(missing)} has no kernel for it"
            self._fall_back(group, asking, why)
            return
        prefer = self.prefer
        if prefer == ANY and any(isinstance(op, VariableOp) for op in group.members):
            prefer = Device(kind="GPU")
        if prefer != ANY:
            usable = sorted(usable, key=lambda d: (not prefer.fits(d), d not in self.open))[:1]
        if len(usable) > 1:
            usable = self._distinct([d for d in usable if d in self.open] or usable)
        group.candidates = usable
        group.reason = f"wants {group.wanted}" if group.wanted != ANY else "wants nothing"

    def _fitting(self, name: Device) -> list[Device]:
        if name not in self.fitting:
            self.fitting[name] = [d for d in self.there if name.fits(d)]
        return self.fitting[name]

    def _distinct(self, fits: Sequence[Device]) -> list[Device]:
        """One of those that share a processor and a memory."""
        return list({d.memory: d for d in reversed(fits)}.values())[::-1]

    def _meet(self, group: _Group) -> Device:
        met = ANY
        for k, op in enumerate(group.members):
            if (want := self.wants.get(op)) is None:
                continue
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
            help = "allow_soft_placement (place{soft=true}, Placement(soft=True)) runs it elsewhere"
            raise GraphError(message, where=describe(asking.location), help=help)
        softer = group.wanted.without_kind()
        fits = [d for d in self.there if softer.fits(d)] or list(self.there)
        usable = [d for d in fits if all(has_kernel(op, d) for op in group.members)]
        group.candidates = [*usable, self.there[0]][:1]
        group.reason = f"soft placement: {why}"
        where = describe(asking.location)
        _log.warning("%s%s; it runs on %s", f"{where}: " if where else "", message, group.place)

    def _no_device(self, wanted: Device) -> str:
        return f"there is no such device; there are {', '.join(map(str, self.there))}" if wanted != ANY else (
            "there is no device"
        )

    # Costs.

    def _by_costs(self, groups: Sequence[_Group]) -> None:
        """Choose among candidates what is done first."""
        self.costs.share_out(self.ops)
        problem = self._problem(groups)
        places, least = best(problem)
        for group, place in zip(groups, places, strict=True):
            if len(group.candidates) > 1:
                chosen = self.there[place]
                group.candidates = [chosen, *(d for d in group.candidates if d != chosen)]
                group.reason = "chosen by costs" if group.wanted == ANY else f"{group.reason}, chosen by costs"
        alone = self._distinct(self.there)
        spans = ((_short(d), makespan(problem, on_one(problem, self.there.index(d)))) for d in alone)
        others = ", ".join(f"{in_words(s)} as far as possible on {d}" for d, s in spans)
        self.summary = f"estimated for a run: {in_words(least)}; {others}"

    def _problem(self, groups: Sequence[_Group]) -> Problem:
        """The operations of the function's own block as tasks."""
        number = {d: k for k, d in enumerate(self.there)}
        memories = list(dict.fromkeys(d.memory for d in self.there))
        member = {id(g): k for k, g in enumerate(groups)}
        kinds = [d.kind or "CPU" for d in self.there]
        values: dict[SSAValue, int] = {}
        source, sizes = list[int](), list[int]()

        def enter(value: SSAValue, origin: int) -> None:
            values[value] = len(source)
            source.append(origin)
            sizes.append(size_of(value))

        def device(port: StringAttr) -> int:
            return number.get(Device.parse(port.data), 0)

        body, given = self.function.body.block, ports(self.function.arg_attrs, len(self.function.args))
        for argument, port in zip(body.args, given, strict=True):
            enter(argument, -1 - device(port))
        tasks = [op for op in body.ops if op in self.groups]
        for k, op in enumerate(tasks):
            for result in op.results:
                enter(result, k)
        last, outputs = body.last_op, self.function.function_type.outputs
        ending = zip(last.operands if last else (), ports(self.function.res_attrs, len(outputs)), strict=True)
        memory = [memories.index(d.memory) for d in self.there]
        of_kind = {kind: [self.costs.seconds(op, kind) for op in tasks] for kind in dict.fromkeys(kinds)}
        return Problem(
            seconds=list(zip(*(of_kind[kind] for kind in kinds), strict=True)),
            group=[member[id(self.groups[op])] for op in tasks],
            candidates=[[number[d] for d in g.candidates] for g in groups],
            inputs=[list(dict.fromkeys(values[o] for o in op.operands if o in values)) for op in tasks],
            source=source,
            sizes=sizes,
            wanted=[(values[v], device(port)) for v, port in ending if v in values],
            processor=memory,
            memory=memory,
            transfer=lambda size, x, y: self.costs.transfer(size, memories[x], memories[y]),
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

    # Explaining.

    def explained(self) -> Iterator[str]:
        if self.summary:
            yield self.summary
        for op in self.ops:
            yield f"{_name(op)}: {self.place(op)} ({self._why(op)})"

    def _why(self, op: Operation) -> str:
        group = self.groups.get(op)
        if group is None:
            return "wants nothing" if op.operands else "beside its user"
        reason = group.reason
        if op not in self.wants and group.wanted != ANY:
            asking = next(o for o in group.members if o in self.wants)
            tie = self._way(op, asking)
            reason = f"shares the device of {_name(asking)}, by {tie[0][2] if tie else 'its group'}; that {reason}"
        if len(group.candidates) > 1:
            seconds = (f"{in_words(self.costs.seconds(op, d.kind or 'CPU'))} on {_short(d)}" for d in group.candidates)
            reason = f"{', '.join(seconds)}; {reason}"
        return reason


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


def _wants_inside(op: Operation, wants: Mapping[Operation, Device]) -> set[Device]:
    """What the operations of a branch or loop want."""
    if not isinstance(op, RegionOp):
        return set()
    return {wants[o] for region in op.regions for o in region.block.ops if o in wants}


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


def _short(device: Device) -> str:
    return f"{device.kind}:{device.index}"


def _name(op: Operation) -> str:
    nodes = nodes_of(op.location)
    return f"'{nodes[0]}' ({op.name})" if nodes else f"'{op.name}'"


def _at(op: Operation) -> str:
    where = describe(op.location)
    return f" at {where.split(' ')[0]}" if where else ""
