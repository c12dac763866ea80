"""Refuse a program whose arena is above the limit, and say what is in the way.

Runs last, where the arenas are laid out: that of each memory has to be within the limit. The error names the moment
at which most is needed, and what is there then: each buffer with its size and the lines it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tfc.dialects import host
from tfc.dims import Dim, names
from tfc.errors import MemoryLimitError, OptionError
from tfc.location import describe
from tfc.passes.liveness import Liveness, positions

_SHOWN = 12
"""Buffers that are listed: the largest."""


@dataclass(frozen=True)
class CheckMemory(ModulePass):
    """Raise an error where an arena of a host program is above ``memory-limit`` bytes."""

    name = "check-memory"
    memory_limit: int | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.ops:
            if self.memory_limit is not None and isinstance(program, host.ProgramOp):
                for memory, arena in program.arena_sizes.items():
                    _check(program, memory, arena, self.memory_limit)


def _check(program: host.ProgramOp, memory: str, arena: Dim, limit: int) -> None:
    if not isinstance(arena, int):
        raise OptionError(
            f"a limit of memory needs extents that are numbers; the arena is {arena} bytes",
            help=f"give {', '.join(sorted(map(str, names(arena))))} by shapes=, or --shape INPUT=EXTENTS",
        )
    if arena <= limit:
        return
    live = Liveness.of(program)
    ops = (op for op in program.body.block.ops if isinstance(op, host.BufferOp) and op.memory == memory)
    buffers = {op: live.needed(op) for op in ops}
    at: dict[int, list[tuple[int, str]]] = {}
    for buffer, steps in buffers.items():
        size = buffer.size
        assert isinstance(size, int), "the arena is a number"
        for step in positions(steps):
            at.setdefault(step, []).append((size, describe(buffer.location)))
    there = max(at.values(), key=lambda rows: sum(size for size, _ in rows))
    there.sort(key=lambda row: -row[0])
    lines = [f"  {size:>14,} bytes, made by {where or 'an operation without a name'}" for size, where in there[:_SHOWN]]
    if len(there) > _SHOWN:
        lines.append(f"  {sum(size for size, _ in there[_SHOWN:]):>14,} bytes in {len(there) - _SHOWN} others")
    listed = "\n".join(lines)
    where = f" of {memory}" if memory != host.HOST else ""
    message = f"a run needs {arena:,} bytes of memory{where} at once, and {limit:,} are allowed; there are then\n{listed}"
    raise MemoryLimitError(message, help="smaller extents (the batch), or a limit of what is listed")
