"""What is known of a function before it is translated: calls inlined, blocks, what lives across a wait.

    flow = Flow(inlined(module, function))
    flow.kept       registers whose values a thread takes along when it waits for others

A thread that waits at a barrier, or for its warp, leaves its function and enters it again later. Registers
that are live there have their place in the thread's frame; all others are plain values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import reduce

from tfc.emulator.syntax import (
    Address,
    Function,
    Instruction,
    Label,
    Module,
    Operand,
    PtxError,
)

WAITING = {"bar", "barrier", "shfl", "vote", "match", "redux", "mma", "ldmatrix", "stmatrix", "movmatrix", "elect"}
"""Instructions at which a thread waits for others; it only passes at ``bar.arrive``."""

_NO_RESULT = {
    "st", "red", "bra", "brx", "cp", "membar", "fence", "ret", "exit", "trap", "prefetch", "prefetchu", "nanosleep",
    "discard", "applypriority", "stmatrix", "setmaxnreg", "griddepcontrol", "wgmma", "createpolicy", "pmevent",
}  # fmt: skip
_ENDS = {"ret", "exit", "trap"}
_DEPTH = 16
"""Calls inside calls; more are taken for recursion."""


def waits(op: Instruction) -> bool:
    """Whether a thread leaves its function at ``op``, to enter it again behind it."""
    if op.name in ("bar", "barrier"):
        return "arrive" not in op.modifiers
    return op.name in WAITING


def inlined(module: Module, function: Function, depth: int = 0) -> Function:
    """``function`` with the bodies of the functions that it calls, under names of their own."""
    if not any(isinstance(i, Instruction) and i.name == "call" for i in function.body):
        return function
    result = copy(function)
    result.registers, result.variables = dict(function.registers), list(function.variables)
    result.tables, result.body = dict(function.tables), []
    for number, item in enumerate(function.body):
        if isinstance(item, Label) or item.name != "call":
            result.body.append(item)
            continue
        results, name, arguments = _call(item)
        callee = module.functions.get(name)
        if callee is None:
            raise PtxError(f"a call of an unknown function {name!r}", where=f"ptx:{item.line}")
        if depth == _DEPTH:
            raise PtxError(f"calls of {name!r} inside each other", where=f"ptx:{item.line}", help="no recursion")
        callee = inlined(module, callee, depth + 1)
        _splice(result, callee, item, f".{depth}.{number}", [*results, *arguments])
    return result


def _call(op: Instruction) -> tuple[Sequence[str], str, Sequence[str]]:
    """Names of results, function, and arguments of a call."""

    def names(x: Operand) -> list[str]:
        return [n for n in x if isinstance(n, str)] if isinstance(x, tuple) else []

    first = 1 if isinstance(op.operands[0], tuple) else 0
    name = op.operands[first]
    if not isinstance(name, str) or name.startswith("%"):
        raise PtxError("calls through registers are not emulated", where=f"ptx:{op.line}")
    return names(op.operands[0]) if first else [], name, names(op.operands[-1])


def _splice(into: Function, callee: Function, call: Instruction, suffix: str, actual: Sequence[str]) -> None:
    bound = {v.name: a for v, a in zip([*callee.results, *callee.params], actual, strict=True)}
    own = {v.name for v in callee.variables} | set(callee.registers) | set(callee.tables)
    own |= {i.name for i in callee.body if isinstance(i, Label)}
    names = bound | {n: n + suffix for n in own}
    over, end = f"over{suffix}", f"end{suffix}"
    into.registers |= {n + suffix: kind for n, kind in callee.registers.items()}
    into.variables += [replace(v, name=v.name + suffix) for v in callee.variables]
    into.tables |= {n + suffix: [names[t] for t in targets] for n, targets in callee.tables.items()}
    if call.guard:
        guard = call.guard[1:] if call.guard.startswith("!") else f"!{call.guard}"
        into.body.append(Instruction("bra", (), (over,), guard, call.line, call.source))
    for item in callee.body:
        if isinstance(item, Label):
            into.body.append(Label(names[item.name]))
        elif item.name == "ret":
            into.body.append(replace(item, name="bra", modifiers=(), operands=(end,), guard=renamed(item.guard, names)))
        else:
            operands = tuple(_rename(x, names) for x in item.operands)
            into.body.append(replace(item, operands=operands, guard=renamed(item.guard, names)))
    into.body += [Label(end), Label(over)]


def renamed(name: str, names: Mapping[str, str]) -> str:
    return f"!{names.get(name[1:], name[1:])}" if name.startswith("!") else names.get(name, name)


def _rename(x: Operand, names: Mapping[str, str]) -> Operand:
    if isinstance(x, str):
        return renamed(x, names)
    if isinstance(x, Address):
        return Address(names.get(x.base, x.base), x.offset)
    return tuple(_rename(one, names) for one in x)


class Flow:
    """Blocks of a function without calls, and the registers that live across a wait."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.place = {name: 1 << k for k, name in enumerate(function.registers)}
        self.labels: dict[str, int] = {}
        self.blocks = self._split()
        self.waits = any(waits(i) for block in self.blocks for i in block)
        self.kept = self._kept() if self.waits else set[str]()

    def _split(self) -> list[list[Instruction]]:
        blocks: list[list[Instruction]] = [[]]
        for item in self.function.body:
            if isinstance(item, Label):
                if blocks[-1]:
                    blocks.append([])
                self.labels[item.name] = len(blocks) - 1
            else:
                blocks[-1].append(item)
                if item.name in _ENDS or item.name in ("bra", "brx"):
                    blocks.append([])
        return blocks

    def successors(self, number: int) -> list[int]:
        """Blocks that may follow; one behind the last is the function's end."""
        last = self.blocks[number][-1] if self.blocks[number] else None
        found: list[int] = []
        if last is not None and last.name == "bra":
            found.append(self.target(last, last.operands[0]))
        elif last is not None and last.name == "brx":
            table = self.function.tables.get(str(last.operands[1]), ())
            return [self.target(last, t) for t in table]
        if last is None or last.guard or last.name not in (*_ENDS, "bra"):
            found.append(number + 1)
        return [n for n in found if n < len(self.blocks)]

    def target(self, op: Instruction, label: Operand) -> int:
        if not isinstance(label, str) or label not in self.labels:
            raise PtxError(f"a branch to an unknown label {label!r}", where=f"ptx:{op.line}")
        return self.labels[label]

    def _sets(self, op: Instruction) -> tuple[int, int]:
        """Registers that ``op`` certainly overwrites, and those that it reads."""
        first = 0 if op.name in _NO_RESULT or not op.operands else 1
        if op.name in ("bar", "barrier") and "red" not in op.modifiers:
            first = 0
        defined = reduce(int.__or__, (self.place.get(n, 0) for n in _names(op.operands[:first])), 0)
        used = reduce(int.__or__, (self.place.get(n, 0) for n in _names((op.guard, *op.operands[first:]))), 0)
        if op.operands and isinstance(op.operands[0], Address):
            used |= self.place.get(op.operands[0].base, 0)
        return (0, used | defined) if op.guard else (defined, used)

    def _kept(self) -> set[str]:
        sets = [[self._sets(op) for op in block] for block in self.blocks]
        live = [0] * (len(self.blocks) + 1)
        following = [self.successors(n) for n in range(len(self.blocks))]
        changed = True
        while changed:
            changed = False
            for number in reversed(range(len(self.blocks))):
                alive = reduce(int.__or__, (live[n] for n in following[number]), 0)
                for defined, used in reversed(sets[number]):
                    alive = alive & ~defined | used
                changed |= alive != live[number]
                live[number] = alive
        kept = 0
        for number, block in enumerate(self.blocks):
            alive = reduce(int.__or__, (live[n] for n in following[number]), 0)
            for op, (defined, used) in zip(reversed(block), reversed(sets[number]), strict=True):
                if waits(op):
                    kept |= alive | used
                alive = alive & ~defined | used
        return {name for name, bit in self.place.items() if kept & bit}


def _names(operands: Sequence[Operand]) -> Iterator[str]:
    for x in operands:
        if isinstance(x, str):
            yield x.removeprefix("!")
        elif isinstance(x, Address):
            yield x.base
        else:
            yield from _names(x)
