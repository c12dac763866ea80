"""Runs of a module in any order that its tokens and values allow.

    for variables, results in schedules(module, inputs, count=100): ...

Each block is run in an order drawn at random from all orders of its operations that respect uses. An
operation with regions runs as a whole; loops turn as often as they must.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation
from xdsl.traits import IsTerminator

from tfc.runtime.interpreter import _Run  # pyright: ignore[reportPrivateUsage]

Outcome = tuple[dict[str, Any], list[Any]]


class Shuffled(_Run):
    """Runs blocks in random orders."""

    def __init__(self, variables: dict[str, Any], chance: random.Random) -> None:
        super().__init__(variables)
        self.chance = chance

    def block(self, block: Block, arguments: Sequence[Any]) -> list[Any]:
        self.values.update(zip(block.args, arguments, strict=True))
        waits, users = dependencies(block)
        waits = dict(waits)
        ready = [op for op, count in waits.items() if not count]
        while ready:
            at = self.chance.randrange(len(ready))
            ready[at], ready[-1] = ready[-1], ready[at]
            op = ready.pop()
            args = [self.values[o] for o in op.operands]
            self.values.update(zip(op.results, self.operation(op, args), strict=True))
            for user in users[op]:
                waits[user] -= 1
                if not waits[user]:
                    ready.append(user)
        last = block.last_op
        assert last is not None
        return [self.values[o] for o in last.operands]


_known: dict[Block, tuple[dict[Operation, int], dict[Operation, list[Operation]]]] = {}


def dependencies(block: Block) -> tuple[dict[Operation, int], dict[Operation, list[Operation]]]:
    """How many operations of the block each one waits for, and who waits for it."""
    if (known := _known.get(block)) is None:
        waits: dict[Operation, int] = {}
        users: dict[Operation, list[Operation]] = {}
        for op in block.ops:
            if op.has_trait(IsTerminator):
                continue
            users[op] = []
            before = {o.owner for o in op.operands if isinstance(o.owner, Operation) and o.owner in waits}
            waits[op] = len(before)
            for other in before:
                users[other].append(op)
        known = _known[block] = waits, users
    return known


def schedules(
    module: ModuleOp, inputs: Sequence[Any] = (), start: Mapping[str, Any] | None = None, count: int = 100, seed: int = 0
) -> Iterator[Outcome]:
    """The variables and the results after each of ``count`` runs, all from ``start``."""
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    chance = random.Random(seed)
    for _ in range(count):
        variables = dict(start or {})
        results = Shuffled(variables, chance).block(function.body.block, inputs)
        yield variables, [r for r in results if r is not None]


def outcomes(module: ModuleOp, inputs: Sequence[Any] = (), start: Mapping[str, Any] | None = None, count: int = 100) -> list[Outcome]:
    """The different ones among `schedules`."""
    found: dict[Any, Outcome] = {}
    for variables, results in schedules(module, inputs, start, count):
        named = sorted(variables.items())
        key = (tuple(np.asarray(v).tobytes() for _, v in named), tuple(np.asarray(r).tobytes() for r in results))
        found.setdefault(key, (variables, results))
    return list(found.values())


