"""Rules, and the driver that applies them until none fires.

    @rule
    def drop_double_negation(op: NegOp, emit: Emitter) -> Rewritten:
        \"""neg(neg(x)) -> x\"""
        return inner.x if (inner := producer(op.x, NegOp)) else None

A rule looks at one operation and gives the values that replace its results, or None where
it does not apply; what it emits stands before the operation. It changes nothing in place,
so the driver alone keeps the worklist, the locations, the name hints and the dead code:

* every emitted operation has the location of the operation that the rule replaces, and its
  discardable attributes (its device); what touches a variable has those of the variable;
* a result's name hint goes to the value that replaces it;
* an operation without a use left is erased at once, so "has one use" means what it says;
* a rule that goes round in circles is reported by name, never a hang.

Why not xDSL's own driver: it loses locations, tries every pattern on every operation, and
takes 100 us for a replacement where this one takes 25.
"""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, ClassVar, TypeAlias, TypeVar

from xdsl.context import Context
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.state import VariableOp
from tfc.dialects.tfc.types import ResourceType
from tfc.errors import InternalError
from tfc.location import UNKNOWN, describe, stamp
from tfc.passes.effects import is_dead

Rewritten: TypeAlias = SSAValue | Sequence[SSAValue] | None
"""What replaces the result, the results, or None: the rule does not apply."""

_Op = TypeVar("_Op", bound=Operation)


class Emitter:
    """Inserts operations before ``anchor`` with its location; a call gives the first result."""

    def __init__(self, anchor: Operation) -> None:
        self.anchor = anchor
        self.made: list[Operation] = []

    def __call__(self, op: Operation) -> SSAValue:
        self.add(op)
        return op.results[0]

    def add(self, op: Operation) -> Sequence[SSAValue]:
        """Insert ``op`` and give all its results."""
        block = self.anchor.parent
        assert block is not None, "a rule sees attached operations only"
        _stamp(op, self.anchor.location)
        for part in op.walk() if op.regions else (op,):
            for name, attribute in self._inherited(part).items():  # its device, above all
                part.attributes.setdefault(name, attribute)
        block.insert_op_before(op, self.anchor)
        self.made.append(op)
        return op.results

    def _inherited(self, op: Operation) -> Mapping[str, Attribute]:
        """What is said of ``op``: the same as of the anchor, but of what touches a variable as of the variable."""
        if not self.anchor.attributes or isinstance(op, VariableOp):
            return {}
        handle = next((o.owner for o in op.operands if isinstance(o.type, ResourceType)), self.anchor)
        return handle.attributes if isinstance(handle, Operation) else {}

    def undo(self) -> None:
        for op in reversed(self.made):
            op.detach()
            op.erase()


@dataclass(frozen=True)
class Rule:
    """A rewrite, the classes of operations it looks at, and whether it rounds differently."""

    name: str
    rewrite: Callable[[Any, Emitter], Rewritten]
    matches: tuple[type[Operation], ...]
    exact: bool


@typing.overload
def rule(function: Callable[[Any, Emitter], Rewritten], /) -> Rule: ...
@typing.overload
def rule(*, exact: bool) -> Callable[[Callable[[Any, Emitter], Rewritten]], Rule]: ...
def rule(
    function: Callable[[Any, Emitter], Rewritten] | None = None, *, exact: bool = True
) -> Rule | Callable[[Callable[[Any, Emitter], Rewritten]], Rule]:
    """Make a function a `Rule`; the type of its first parameter says what it looks at.

    Args:
        exact: whether the rewrite keeps every bit of every result. One that rounds
            differently says ``exact=False``, and whoever compares allows for it.
    """

    def make(f: Callable[[Any, Emitter], Rewritten]) -> Rule:
        first = next(iter(typing.get_type_hints(f).values()))
        classes = typing.get_args(first) if isinstance(first, UnionType) else (first,)
        return Rule(f.__name__.replace("_", "-"), f, classes, exact)

    return make if function is None else make(function)


class RuleSet:
    """Rules by the class of the operation they look at."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_class: dict[type[Operation], tuple[Rule, ...]] = {}

    def for_class(self, cls: type[Operation]) -> tuple[Rule, ...]:
        if (known := self._by_class.get(cls)) is None:
            known = tuple(r for r in self.rules if issubclass(cls, r.matches))
            self._by_class[cls] = known
        return known


Observer: TypeAlias = Callable[[Rule, Operation], None]
"""Called when a rule fires, with the operation it is about to replace."""

_observers: ContextVar[tuple[Observer, ...]] = ContextVar("observers", default=())


@contextmanager
def observing(observer: Observer) -> Generator[None]:
    """Within it, ``observer`` hears of each rule that fires."""
    token = _observers.set((*_observers.get(), observer))
    try:
        yield
    finally:
        _observers.reset(token)


def apply_rules(root: Operation, rules: RuleSet) -> int:
    """Apply ``rules`` inside ``root`` until none fires; the number of times one fired.

    Raises:
        InternalError: the rules undo each other, so this would go on for ever.
    """
    return _Driver(rules, root).run()


@dataclass
class _Driver:
    rules: RuleSet
    root: Operation
    pending: list[Operation] = field(default_factory=list[Operation])
    waiting: set[Operation] = field(default_factory=set[Operation])
    fired: Counter[str] = field(default_factory=Counter[str])
    observers: tuple[Observer, ...] = field(default_factory=_observers.get)

    def run(self) -> int:
        # Last in, first out: operations are visited in program order, and what a rule
        # emits is visited before anything that comes after it.
        self.pending = list(self.root.walk())[:0:-1]
        self.waiting = set(self.pending)
        limit = 100 * len(self.pending) + 1000
        count = 0
        while self.pending:
            op = self.pending.pop()
            self.waiting.discard(op)
            if op.parent is None:
                continue
            if self._visit(op):
                count += 1
                if count > limit:
                    raise InternalError(self._circle(op))
        return count

    def _visit(self, op: Operation) -> bool:
        if op.results and is_dead(op):
            self._erase(op)
            return False
        for candidate in self.rules.for_class(type(op)):
            emit = Emitter(op)
            found = candidate.rewrite(op, emit)
            if found is None:
                assert not emit.made, f"{candidate.name} emitted and then gave up"
                continue
            values = (found,) if isinstance(found, SSAValue) else tuple(found)
            if any(_differ(v, r) for v, r in zip(values, op.results, strict=True)):
                emit.undo()  # a more precise type is for simplify-shapes to spread
                continue
            for observer in self.observers:
                observer(candidate, op)
            self._replace(op, values, emit.made)
            self.fired[candidate.name] += 1
            return True
        return False

    def _replace(self, op: Operation, values: Sequence[SSAValue], made: list[Operation]) -> None:
        users: list[Operation] = []
        for result, value in zip(op.results, values, strict=True):
            users.extend(use.operation for use in result.uses)
            replace_value(result, value)
        self._erase(op)
        for user in reversed(users):
            self._push(user)
        for new in reversed(made):
            self._push(new)

    def _erase(self, op: Operation) -> None:
        # An operation that lost a user may now have one use, or none: look again.
        for operand in erase_dead(op):
            self._push(operand)

    def _push(self, op: Operation) -> None:
        if op not in self.waiting and op.parent is not None:
            self.waiting.add(op)
            self.pending.append(op)

    def _circle(self, op: Operation) -> str:
        often = ", ".join(f"{name} ({n} times)" for name, n in self.fired.most_common(3))
        where = describe(op.location)
        at = f" near {where}" if where else ""
        return f"rules undo each other{at}, last at '{op.name}'; most often fired: {often}"


def replace_value(old: SSAValue, new: SSAValue) -> None:
    """Let all users of ``old`` use ``new``, which takes its name hint if it has none."""
    for use in list(old.uses):
        use.operation.operands[use.index] = new
    if new.name_hint is None:
        new.name_hint = old.name_hint


def erase_dead(op: Operation) -> list[Operation]:
    """Erase ``op``, whose results have no use, and what only it used.

    Returns:
        The operations that lost a user and live on.
    """
    touched: dict[Operation, None] = {}
    pending = [op]
    while pending:
        dead = pending.pop()
        if dead.parent is None:
            continue
        touched.pop(dead, None)
        operands = {o.owner: None for o in dead.operands if isinstance(o.owner, Operation)}
        dead.parent.detach_op(dead)
        dead.erase()
        for owner in operands:
            if is_dead(owner):
                pending.append(owner)
            else:
                touched[owner] = None
    return [o for o in touched if o.parent is not None]


def replace(op: Operation, values: Sequence[SSAValue]) -> None:
    """Replace the results of ``op`` and erase it and what only it used."""
    for result, value in zip(op.results, values, strict=True):
        replace_value(result, value)
    erase_dead(op)


def producer(value: SSAValue, cls: type[_Op]) -> _Op | None:
    """The operation that gives ``value``, if it is a ``cls``."""
    owner = value.owner
    return owner if isinstance(owner, cls) else None


def _differ(x: SSAValue, y: SSAValue) -> bool:
    return x.type is not y.type and x.type != y.type  # comparing equal types takes 3 us


def _stamp(op: Operation, location: LocationAttr) -> None:
    if op.regions:
        stamp(op, location)
    elif op.location == UNKNOWN:
        op.location = location


class RulePass(ModulePass):
    """A pass that applies one set of rules until none fires."""

    RULES: ClassVar[RuleSet]

    @property
    def EXACT(self) -> bool:
        """Whether it keeps every bit of every value: all its rules do."""
        return all(r.exact for r in self.RULES.rules)

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_rules(op, self.RULES)
