"""Find accesses to one variable whose order is left to chance.

    %a = tfc.assign add %v, %x          two writes, and neither has the other's token:
    %b = tfc.assign set %v, %y          an error that shows both lines and the missing edge

Two accesses to one variable, one of them a write, are a *race* unless one depends on the other, by values
or by tokens. An operation with regions is one access to all that its regions touch: it begins when its
operands are there and ends when everything inside has happened. So a loop's turns never race with each
other, and every block is judged for itself (docs/memory-model.md).

``mode`` says what is done about races: ``error`` refuses the module, ``warn`` reports them and goes on,
``order`` lets the access that the text has first happen first and reports the edges that it adds.

One walk in the order of the text: for each operation, the set of accesses that it depends on is a number
with a bit for each, those of a variable side by side, so all races of an access are one mask.
"""

from __future__ import annotations

import linecache
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import (
    DenseArrayBase,
    FileLineColLoc,
    FusedLoc,
    LocationAttr,
    ModuleOp,
    NameLoc,
    i32,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.traits import IsTerminator

from tfc.dialects.tfc.control import IfOp, WhileOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.state import AssignOp, JoinOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import ControlType, ResourceType
from tfc.errors import GraphError
from tfc.options import check_mode
from tfc.passes.effects import is_removable

_VERBS = {"set": "replaces", "add": "adds to", "sub": "subtracts from"}
_SHOWN = 20
"""So many races are shown; where there are more, they have the same few causes."""


@dataclass(frozen=True)
class CheckEffects(ModulePass):
    """Refuse, report or order accesses to a variable that have no order.

    Options:
        mode: error, warn or order.

    Raises:
        GraphError: there are such accesses, and ``mode`` is error.
        OptionError: another mode.
    """

    name = "check-effects"
    mode: str = "error"

    def __post_init__(self) -> None:
        check_mode(self.mode)

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        check(op, self.mode)


def check(module: ModuleOp, mode: str = "error") -> None:
    """What `CheckEffects` does, for those who have no pipeline."""
    races = list[Race]()
    for function in _functions(module):
        found = list[Race]()
        _check(function.body.block, _Collect(found, mode == "order"))
        races += _distinct(sorted(found, key=_Positions(function))) if found else []
    if races and mode == "error":
        raise _refusal(races)
    for race in races:
        sys.stderr.write(f"{race.where()}warning: {race.message(ordered=mode == 'order')}\n")


def order_first(module: ModuleOp, first: Collection[Operation]) -> None:
    """Let the assignments ``first`` happen before accesses that follow in the text and are unordered:
    a variable is initialized before it is used."""
    if first:
        for function in _functions(module):
            _check(function.body.block, lambda race: race.x.op in first)


def order_exclusive(module: ModuleOp, sections: Mapping[str, Collection[str]]) -> None:
    """Let operations of nodes that share a section happen in the order of the text, where they conflict.

    Args:
        sections: by the name of a node, the sections that it belongs to.
    """

    def shared(race: Race) -> bool:
        x, y = (sections.get(_name(a.op), ()) for a in (race.x, race.y))
        return any(s in y for s in x)

    if sections:
        for function in _functions(module):
            _check(function.body.block, shared)


def effects_of(module: ModuleOp) -> dict[str, Summary]:
    """What the functions of a module do to each variable, by its name."""
    found: dict[str, Summary] = {}
    for function in _functions(module):
        for name, summary in _Accesses(function.body.block).summaries().items():
            found.setdefault(name, summary)
    return found


def _functions(module: ModuleOp) -> Iterator[FuncOp]:
    return (op for op in module.ops if isinstance(op, FuncOp) and op.body.blocks)


# Accesses


@dataclass(frozen=True)
class Summary:
    """What an operation or a block does to one variable."""

    reads: Operation | None = None
    """What needs the value that was there before, if anything does."""
    writes: Operation | None = None
    """What changes it, if anything does."""
    sets: bool = False
    """Whether it has a new value afterwards in any case."""


@dataclass
class Access:
    """An operation of a block, and what it does to one variable."""

    op: Operation
    variable: str
    does: Summary

    @property
    def writes(self) -> bool:
        return self.does.writes is not None

    @property
    def actor(self) -> Operation:
        """The operation to show: inside a region, the one that reads or writes."""
        found = self.does.writes or self.does.reads
        assert found is not None, "an access reads or writes"
        return found


@dataclass(frozen=True, eq=False)
class Race:
    """Two accesses without an order; ``x`` stands before ``y`` in the text."""

    x: Access
    y: Access

    def where(self) -> str:
        place = _place(self.y.actor.location)
        return f"{_line(place)}: " if place else ""

    def message(self, ordered: bool = False) -> str:
        """Both accesses with their lines, and the edge that is missing, or that has been added."""
        x, y = self.x.actor, self.y.actor
        head = (
            f"two accesses to the variable '{self.x.variable}' have no order: "
            f"{_who(x)} {_verb(x)} it, {_who(y)} {_verb(y)} it"
        )
        edge = f"{_who(x)} before {_who(y)}"
        edge = f"added: {edge}, as the program has them" if ordered else f"missing: {edge}, or the other way"
        return "\n".join([head, *_shown(x), *_shown(y), edge])

    def help(self) -> str:
        """What to write."""
        place = _place(self.y.actor.location)
        if place is None or not place.filename.data.endswith(".py"):
            return "let one of them take the token of the other: `after %token`"
        accesses = (self.x.actor, self.y.actor)
        first = next((a for a in accesses if not isinstance(a, ReadOp)), accesses[0])
        name = _name(first)
        scope = f"with tf.control_dependencies([{name!r}]):" if name else "with tf.control_dependencies([...]):"
        later = ".read_value()" if any(isinstance(a, ReadOp) for a in accesses) else ".assign(...)"
        return (
            f"`{scope} ... {self.x.variable}{later}` comes after {_who(first)}; or run them apart; "
            "or check_effects='order' keeps the order in which they were made"
        )


class _Accesses:
    """All accesses of a block, in the order of the text."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.of_op: dict[Operation, list[Access]] = {}
        self.of_variable: dict[str, list[Access]] = defaultdict(list)
        for op in block.ops:
            if does := _effects(op):
                self.of_op[op] = [Access(op, name, d) for name, d in does.items()]
                for access in self.of_op[op]:
                    self.of_variable[access.variable].append(access)

    def contested(self) -> list[list[Access]]:
        """The accesses of each variable that may have a race."""
        lists = self.of_variable.values()
        return [a for a in lists if len(a) > 1 and any(x.writes for x in a)]

    def summaries(self) -> dict[str, Summary]:
        """What the whole block does to each variable."""
        found: dict[str, Summary] = {}
        settled = self._settled()
        for name, accesses in self.of_variable.items():
            needs = (a.does.reads for a in accesses if a.does.reads is not None and id(a) not in settled)
            writes = (a.does.writes for a in accesses if a.writes)
            found[name] = Summary(next(needs, None), next(writes, None), any(a.does.sets for a in accesses))
        return found

    def _settled(self) -> set[int]:
        """The accesses that come after one that sets the variable, whatever was there before."""
        lists = [a for a in self.of_variable.values() if len(a) > 1 and any(x.does.sets for x in a)]
        lists = [a for a in lists if any(x.does.reads is not None for x in a)]
        if not lists:
            return set()
        setters = [x for accesses in lists for x in accesses if x.does.sets]
        own = defaultdict[Operation, int](int)
        for k, x in enumerate(setters):
            own[x.op] |= 1 << k
        of_variable = defaultdict[str, int](int)
        for k, x in enumerate(setters):
            of_variable[x.variable] |= 1 << k
        before: dict[Operation, int] = {}
        found: set[int] = set()
        for op in self.block.ops:
            mask = _mask(op, before)
            found.update(id(a) for a in self.of_op.get(op, ()) if mask & of_variable.get(a.variable, 0))
            before[op] = mask | own.get(op, 0)
        return found


def _mask(op: Operation, before: dict[Operation, int]) -> int:
    """The bits of all that an operation depends on in its block."""
    mask = 0
    for operand in op.operands:
        owner = operand.owner
        if owner in before:
            mask |= before[owner]  # pyright: ignore[reportArgumentType] # no block is in there
    return mask


def _effects(op: Operation) -> dict[str, Summary]:
    """What an operation does to variables."""
    if op.regions:
        return _effects_inside(op)
    found: dict[str, Summary] = {}
    for operand in op.operands:
        handle = operand.owner
        if isinstance(operand.type, ResourceType) and isinstance(handle, VariableOp):
            sets = isinstance(op, AssignOp) and op.kind.data == "set"
            found[handle.variable.data] = Summary(None if sets else op, op if _writes(op) else None, sets)
    return found


def _writes(op: Operation) -> bool:
    return not is_removable(op)


def _effects_inside(op: Operation) -> dict[str, Summary]:
    """The effects of the regions: one of them is run for certain where all do the same."""
    inside = [_Accesses(b).summaries() for r in op.regions for b in r.blocks]
    found: dict[str, Summary] = {}
    for name in dict.fromkeys(n for summaries in inside for n in summaries):
        parts = [s.get(name, Summary()) for s in inside]
        reads = next((p.reads for p in parts if p.reads is not None), None)
        writes = next((p.writes for p in parts if p.writes is not None), None)
        found[name] = Summary(reads, writes, isinstance(op, IfOp) and all(p.sets for p in parts))
    return found


# Races


@dataclass
class _Collect:
    """Notes races; ``add`` says whether each shall get an edge."""

    found: list[Race]
    add: bool

    def __call__(self, race: Race) -> bool:
        self.found.append(race)
        return self.add


class _Positions:
    """The key that sorts races as the text has them."""

    def __init__(self, function: FuncOp) -> None:
        self.position = {op: k for k, op in enumerate(function.walk())}

    def __call__(self, race: Race) -> tuple[int, int]:
        return self.position.get(race.y.actor, 0), self.position.get(race.x.actor, 0)


def _check(block: Block, decide: Callable[[Race], bool]) -> None:
    """Give the races of a block, and of the blocks inside, to ``decide``; where it says so, the access that
    comes first in the text becomes one that happens first."""
    for op in list(block.ops):
        for region in op.regions:
            for inner in region.blocks:
                _check(inner, decide)
    accesses = _Accesses(block)
    if contested := accesses.contested():
        _BlockCheck(accesses, contested, decide).run()


@dataclass
class _BlockCheck:
    accesses: _Accesses
    contested: list[list[Access]]
    decide: Callable[[Race], bool]
    before: dict[Operation, int] = field(default_factory=dict[Operation, int])

    def run(self) -> None:
        numbered = [a for of_one in self.contested for a in of_one]
        bit = {id(a): k for k, a in enumerate(numbered)}
        rivals = self._rivals(bit)
        for op in list(self.accesses.block.ops):
            mask = _mask(op, self.before)
            mine = [a for a in self.accesses.of_op.get(op, ()) if id(a) in bit]
            for access in mine:
                left = rivals[id(access)] & ~mask
                while left:  # the latest first: what it follows needs no edge any more
                    rival = numbered[left.bit_length() - 1]
                    left ^= 1 << (left.bit_length() - 1)
                    if self.decide(Race(rival, access)):
                        self._add_edge(rival, access)
                        mask |= self.before[rival.op]
                        left &= ~mask
            for access in mine:
                mask |= 1 << bit[id(access)]
            self.before[op] = mask

    def _rivals(self, bit: dict[int, int]) -> dict[int, int]:
        """Of each access the earlier ones that it must not race with."""
        found: dict[int, int] = {}
        for of_one in self.contested:
            earlier = writers = 0
            for access in of_one:
                found[id(access)] = earlier if access.writes else writers
                earlier |= 1 << bit[id(access)]
                writers |= (1 << bit[id(access)]) if access.writes else 0
        return found

    def _add_edge(self, first: Access, second: Access) -> None:
        if (token := _token(first.op)) is None:
            old, new = first.op, _with_token(first.op)
            self.before[new] = self.before.pop(old)
            for access in self.accesses.of_op[old]:
                access.op = new
            token = _token(new)
        assert token is not None, "it has just been given one"
        _take(second.op, token, second.variable)


# Edges


def _token(op: Operation) -> SSAValue | None:
    return next((r for r in op.results if isinstance(r.type, ControlType)), None)


def _take(op: Operation, token: SSAValue, variable: str) -> None:
    """Let ``op``, and what it does inside to ``variable``, come after ``token``."""
    if token in op.operands:
        return
    op.operands = [*op.operands, token]  # tokens, inputs and invariants stand last
    sizes = op.properties.get("operandSegmentSizes")
    if isinstance(sizes, DenseArrayBase):
        counts = [int(n) for n in sizes.get_values()]
        op.properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, [*counts[:-1], counts[-1] + 1])
    for region in op.regions:
        block = region.block
        argument = block.insert_arg(ControlType(), len(block.args))
        for inner in list(block.ops):
            if variable in _effects(inner):
                _take(inner, argument, variable)


def _with_token(op: Operation) -> Operation:
    """An operation with regions again, with a token that everything inside has happened."""
    if isinstance(op, IfOp):
        for region in op.regions:
            _yield_token(region.block, [])
        regions = [op.detach_region(r) for r in list(op.regions)]
        return _replaced(op, IfOp(op.predicate, list(op.inputs), *regions))
    assert isinstance(op, WhileOp), "only branches and loops have effects inside"
    start = JoinOp([])
    start.location = op.location
    place = len(op.carried)
    for region in op.regions:
        argument = region.block.insert_arg(ControlType(), place)
        if region is op.body:
            _yield_token(region.block, [argument])
    block = op.parent
    assert block is not None, "an access stands in a block"
    block.insert_op_before(start, op)
    carried, invariants = [*op.carried, start.token], list(op.invariants)
    regions = [op.detach_region(r) for r in list(op.regions)]
    return _replaced(op, WhileOp(carried, invariants, *regions))


def _yield_token(block: Block, tokens: list[SSAValue]) -> None:
    """Let a region end with one more value: the token of all that happens in it."""
    last = block.last_op
    assert isinstance(last, YieldOp), "the verifier demands a terminator"
    tokens = [*tokens, *(t for op in block.ops if _effects(op) and (t := _token(op)) is not None)]
    join = JoinOp(tokens)
    join.location = last.location
    block.insert_op_before(join, last)
    last.operands = [*last.operands, join.token]


def _replaced(op: Operation, new: Operation) -> Operation:
    new.location = op.location
    new.attributes.update(op.attributes)
    block = op.parent
    assert block is not None, "an access stands in a block"
    block.insert_op_before(new, op)
    for old, result in zip(op.results, new.results, strict=False):  # the token is the last of the new ones
        old.replace_all_uses_with(result)
    block.erase_op(op)
    return new


# Words


def _distinct(races: list[Race]) -> list[Race]:
    """One race for all those of the same two nodes: a node may be several operations."""
    found: dict[object, Race] = {}
    for race in races:
        x, y = race.x.actor.location, race.y.actor.location
        key = (x, y, race.x.variable) if isinstance(x, NameLoc) and isinstance(y, NameLoc) else race
        found.setdefault(key, race)
    return list(found.values())


def _refusal(races: list[Race]) -> GraphError:
    texts = [races[0].message()]
    texts += [f"{race.where()}also: {race.message()}" for race in races[1:_SHOWN]]
    if len(races) > _SHOWN:
        texts.append(f"and {len(races) - _SHOWN} more")
    return GraphError("\n".join(texts), where=races[0].where()[:-2], help=races[0].help())


def _verb(op: Operation) -> str:
    if isinstance(op, AssignOp):
        return _VERBS[op.kind.data]
    return "changes" if _writes(op) else "reads"


def _name(op: Operation) -> str:
    """The name of the node that an operation comes from; empty where it has none."""
    return op.location.desc.data if isinstance(op.location, NameLoc) else ""


def _who(op: Operation) -> str:
    name = _name(op)
    return f"'{name}'" if name else f"`{str(op).splitlines()[0].strip()}`" if _place(op.location) is None else f"'{op.name}'"


def _shown(op: Operation) -> list[str]:
    """The user's line of an access; of a read also the line that uses its value."""
    lines = _source(op)
    if isinstance(op, ReadOp):
        users = (use.operation for use in op.value.uses)
        others = (u for u in users if _place(u.location) != _place(op.location) and not u.has_trait(IsTerminator))
        lines += next((_source(u) for u in others), [])
    return lines


def _source(op: Operation) -> list[str]:
    place = _place(op.location)
    if place is None:
        return []
    text = linecache.getline(place.filename.data, place.line.data).strip()
    return [f"    {_line(place)}: {text}".rstrip(": ")]


def _line(place: FileLineColLoc) -> str:
    return f"{place.filename.data}:{place.line.data}"


def _place(location: LocationAttr) -> FileLineColLoc | None:
    match location:
        case FileLineColLoc():
            return location
        case NameLoc():
            return _place(location.location)  # pyright: ignore[reportArgumentType]
        case FusedLoc():
            parts = (_place(part) for part in location.locations)  # pyright: ignore
            return next((p for p in parts if p is not None), None)
        case _:
            return None
