"""At which steps of a host program the bytes of its buffers are still needed.

Steps are the operations that touch bytes, in the order of the text: launches, copies, the choices of branches
and loops. A set of steps is an integer with a bit for each. What is live is found backwards from the end,
where outputs and variables are: after a branch whatever one of its ways needs, around a loop whatever the
next turn needs, until nothing is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from tfc.dialects import host
from tfc.dims import Dim, parse

Owner = host.BufferOp | host.InputOp | host.OutputOp | host.VariableOp | host.ConstantOp
"""The operation that a buffer of the program, through its views, begins with."""


def owner(value: SSAValue) -> Owner:
    """Whose bytes ``value`` is, through views and rows."""
    op = value.owner
    while isinstance(op, host.ViewOp | host.RowOp):
        op = op.source.owner
    assert isinstance(op, Owner), "the verifier excludes other buffers"
    return op


def is_whole(value: SSAValue) -> bool:
    """Whether ``value`` starts where its owner's bytes start, and is no row."""
    op = value.owner
    while isinstance(op, host.ViewOp):
        if parse(op.offset.data) != 0:
            return False
        op = op.source.owner
    return not isinstance(op, host.RowOp)


def positions(steps: int) -> Iterator[int]:
    """The steps of a set."""
    while steps:
        bit = steps & -steps
        yield bit.bit_length() - 1
        steps ^= bit


@dataclass
class Liveness:
    """Where each owner's bytes are read, written and needed afterwards.

    Attributes:
        steps, number: the operations that touch bytes; a loop stands where its condition has been computed.
        reads, writes: the steps at which (some of) an owner's bytes are read or written.
        after: the steps after which its bytes are needed.
    """

    program: host.ProgramOp
    steps: list[Operation] = field(default_factory=list[Operation])
    number: dict[Operation, int] = field(default_factory=dict[Operation, int])
    reads: dict[Owner, int] = field(default_factory=dict[Owner, int])
    writes: dict[Owner, int] = field(default_factory=dict[Owner, int])
    after: dict[Owner, int] = field(default_factory=dict[Owner, int])
    spans: dict[Block, int] = field(default_factory=dict[Block, int])
    bytes: dict[Operation, tuple[list[Owner], list[Owner], list[Owner]]] = field(
        default_factory=dict[Operation, tuple[list[Owner], list[Owner], list[Owner]]]
    )
    """What each step reads, writes, and writes whole, as it was in the beginning."""

    @classmethod
    def of(cls, program: host.ProgramOp) -> Liveness:
        found = cls(program)
        found._count(program.body.block)
        owners = [op for op in program.body.block.ops if isinstance(op, Owner)]
        for op in owners:
            found.reads[op] = found.writes[op] = found.after[op] = 0
        flow = _Flow(found, {op: 1 << k for k, op in enumerate(owners)})
        stay = sum(flow.bits[op] for op in owners if isinstance(op, host.OutputOp | host.VariableOp))
        flow.block(program.body.block, stay)
        found._collect(owners, flow.out)
        return found

    def _count(self, block: Block) -> None:
        first = len(self.steps)
        for op in block.ops:
            if isinstance(op, host.WhileOp):
                self._count(op.condition.block)
                self._step(op)
                self._count(op.body.block)
            elif isinstance(op, host.IfOp):
                self._step(op)
                self._count(op.then.block)
                self._count(op.otherwise.block)
            elif not isinstance(op, Owner | host.ViewOp):
                self._step(op)
        self.spans[block] = (1 << len(self.steps)) - (1 << first)

    def _step(self, op: Operation) -> None:
        self.number[op] = len(self.steps)
        self.steps.append(op)
        taken, given = touched(op)
        written = [(owner(v), is_whole(v)) for v in given]
        whole = [o for o, all_ in written if all_]
        self.bytes[op] = [owner(v) for v in taken], [o for o, _ in written], whole

    def _collect(self, owners: Sequence[Owner], out: dict[int, int]) -> None:
        """From the owners that are live after each step, the steps after which each owner is live."""
        for op, step in self.number.items():
            taken, given, _ = self.bytes[op]
            for one in taken:
                self.reads[one] |= 1 << step
            for one in given:
                self.writes[one] |= 1 << step
        before = 0
        since: dict[int, int] = {}
        for step in range(len(self.steps) + 1):
            now = out.get(step, 0)
            for k in positions(before ^ now):
                if now >> k & 1:
                    since[k] = step
                else:
                    self.after[owners[k]] |= (1 << step) - (1 << since[k])
            before = now

    def span(self, block: Block) -> int:
        """All steps of a block."""
        return self.spans[block]

    def depth(self, op: Operation) -> int:
        """In how many loops and branches ``op`` stands."""
        count, parent = 0, op.parent_op()
        while parent is not None and parent is not self.program:
            count, parent = count + 1, parent.parent_op()
        return count

    def needed(self, op: Owner) -> int:
        """The steps at which its bytes are touched or have to stay."""
        return self.reads[op] | self.writes[op] | self.after[op]

    def size(self, op: Owner) -> Dim | None:
        """Bytes of a buffer or port."""
        program = self.program
        match op:
            case host.BufferOp():
                return op.size
            case host.OutputOp():
                return host.tensor_bytes(program.outputs.data[op.position].content)
            case host.VariableOp():
                return host.tensor_bytes(program.variables.data[op.position].content)
            case _:
                return None

    def forget(self, copy: host.CopyOp) -> None:
        """A copy between two that are one will be erased."""
        step = 1 << self.number[copy]
        self.reads[owner(copy.source)] &= ~step
        self.writes[owner(copy.target)] &= ~step

    def merge(self, kept: Owner, gone: Owner) -> None:
        """``gone`` is now the same bytes as ``kept``."""
        for table in (self.reads, self.writes, self.after):
            table[kept] |= table.pop(gone)


def touched(op: Operation) -> tuple[Sequence[SSAValue], Sequence[SSAValue]]:
    """What a step reads, and what it writes."""
    match op:
        case host.LaunchOp():
            return op.reads, op.writes
        case host.CopyOp():
            return (op.source,), (op.target,)
        case host.RowOp():
            return (op.index,), ()
        case host.IfOp() | host.WhileOp():
            return (op.predicate,), ()
        case _:
            return op.operands, ()


@dataclass
class _Flow:
    """Sets of owners that are live, from the end of a program to its start."""

    live: Liveness
    bits: dict[Owner, int]
    out: dict[int, int] = field(default_factory=dict[int, int])
    """The owners that are live after each step."""

    def block(self, block: Block, after: int) -> int:
        """What is live before ``block`` if ``after`` is after it."""
        for op in reversed(block.ops):
            if isinstance(op, host.WhileOp):
                after = self.loop(op, after)
            elif op in self.live.number:
                if isinstance(op, host.IfOp):
                    after = self.block(op.then.block, after) | self.block(op.otherwise.block, after)
                self.out[self.live.number[op]] = after
                after = self.before(op, after)
        return after

    def loop(self, op: host.WhileOp, after: int) -> int:
        again = 0
        while True:
            self.out[self.live.number[op]] = after | again
            start = self.block(op.condition.block, self.before(op, after | again))
            turn = self.block(op.body.block, start)
            if turn == again:
                return start
            again = turn

    def before(self, op: Operation, after: int) -> int:
        taken, given, whole = self.live.bytes[op]
        for one in whole:
            after &= ~self.bits[one]
        for one in taken:
            after |= self.bits[one]
        if len(whole) < len(given):
            for one in given:
                after |= self.bits[one] if one not in whole else 0
        return after
