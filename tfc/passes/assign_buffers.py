"""Give every buffer its place in one arena.

    %t = host.buffer "400"                     %y = host.output 0
    host.launch @k reads(%x) writes(%t)   ->   host.launch @k reads(%x) writes(%y)
    host.copy %t to %y, "400"

1. A buffer that is only copied into an output or a variable in the end is that output or variable
   from the start.
2. A kernel that may work in place writes over an operand that nobody reads afterwards.
3. What is left is laid out so that buffers needed at the same time do not overlap
   (`tfc.passes.memory_plan`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from tfc.dialects import host, kernel
from tfc.dims import Dim, parse
from tfc.passes.memory_plan import SymbolicInterval, plan_symbolic

Owner = host.BufferOp | host.InputOp | host.OutputOp | host.VariableOp | host.ConstantOp
"""The operation that a buffer of the program, through its views, begins with."""


@dataclass(frozen=True)
class AssignBuffers(ModulePass):
    """Lay out the buffers of every host program in its arena."""

    name = "assign-buffers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = {k.sym_name.data: k for k in op.ops if isinstance(k, kernel.FuncOp)}
        for program in op.ops:
            if isinstance(program, host.ProgramOp):
                assign(program, kernels)


def assign(program: host.ProgramOp, kernels: dict[str, kernel.FuncOp]) -> None:
    """Do all of it for one program."""
    block = program.body.block
    _owners_first(block)
    uses = Uses.of(program)
    _write_targets_directly(block, uses, kernels)
    uses = Uses.of(program)
    for launch in [op for op in block.ops if isinstance(op, host.LaunchOp)]:
        _work_in_place(launch, kernels[launch.callee], uses)
    for op in [op for op in block.ops if isinstance(op, host.BufferOp)]:
        if op.result.first_use is None:
            Rewriter.erase_op(op)
    buffers, intervals = live_intervals(program)
    offsets, total = plan_symbolic(intervals)
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.properties["offset"] = StringAttr(str(offset))
    program.properties["arena"] = StringAttr(str(total))


def live_intervals(program: host.ProgramOp) -> tuple[list[host.BufferOp], list[SymbolicInterval]]:
    """The buffers of a program, and from which to which step each is needed."""
    uses = Uses.of(program)
    buffers = [op for op in uses.steps if isinstance(op, host.BufferOp)]
    spans = [SymbolicInterval(uses.first(b), uses.last(b), b.size) for b in buffers]
    return buffers, spans


@dataclass
class Uses:
    """At which steps (launches and copies, counted) each owner's bytes are read or written."""

    program: host.ProgramOp
    steps: dict[Owner, list[int]] = field(default_factory=dict[Owner, list[int]])
    writes: dict[Owner, list[int]] = field(default_factory=dict[Owner, list[int]])
    number: dict[Operation, int] = field(default_factory=dict[Operation, int])
    acting: list[Operation] = field(default_factory=list[Operation])

    @classmethod
    def of(cls, program: host.ProgramOp) -> Uses:
        found = cls(program)
        for op in program.body.block.ops:
            if not isinstance(op, host.LaunchOp | host.CopyOp):
                continue
            step = found.number[op] = len(found.acting)
            found.acting.append(op)
            reads, writes = (
                (op.reads, op.writes) if isinstance(op, host.LaunchOp) else ((op.source,), (op.target,))
            )
            for value in (*reads, *writes):
                found.steps.setdefault(owner(value), []).append(step)
            for value in writes:
                found.writes.setdefault(owner(value), []).append(step)
        return found

    def first(self, op: Owner) -> int:
        return self.steps[op][0]

    def last(self, op: Owner) -> int:
        return self.steps[op][-1]

    def between(self, op: Owner, low: int, high: int) -> bool:
        """Whether the owner's bytes are touched at a step of ``low..high``."""
        return any(low <= s <= high for s in self.steps.get(op, ()))

    def merge(self, kept: Owner, gone: Owner) -> None:
        """``gone`` is now the same bytes as ``kept``."""
        for table in (self.steps, self.writes):
            table[kept] = sorted(table.get(kept, []) + table.pop(gone, []))

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


def owner(value: SSAValue) -> Owner:
    """Whose bytes ``value`` is, through views."""
    op = value.owner
    while isinstance(op, host.ViewOp):
        op = op.source.owner
    assert isinstance(op, Owner), "the verifier excludes other buffers"
    return op


def _is_whole(value: SSAValue) -> bool:
    """Whether ``value`` starts where its owner's bytes start."""
    op = value.owner
    while isinstance(op, host.ViewOp):
        if parse(op.offset.data) != 0:
            return False
        op = op.source.owner
    return True


def _owners_first(block: Block) -> None:
    """Move what has no operands to the start, so that any of it may replace another."""
    rest = list[Operation]()
    for op in list(block.ops):
        if not isinstance(op, Owner):
            op.detach()
            rest.append(op)
    block.add_ops(rest)


def _write_targets_directly(
    block: Block, uses: Uses, kernels: Mapping[str, kernel.FuncOp]
) -> None:
    for copy in [op for op in block.ops if isinstance(op, host.CopyOp)]:
        source, target = owner(copy.source), owner(copy.target)
        if not isinstance(source, host.BufferOp) or not isinstance(target, host.OutputOp | host.VariableOp):
            continue
        whole = _is_whole(copy.source) and _is_whole(copy.target)
        if whole and uses.size(source) == uses.size(target) and _may_be(source, target, copy, uses, kernels):
            uses.steps[target].remove(uses.number[copy])
            uses.steps[source].remove(uses.number[copy])
            uses.writes[target].remove(uses.number[copy])
            uses.merge(target, source)
            Rewriter.erase_op(copy)
            _replace(source, target)


def _may_be(
    source: host.BufferOp,
    target: host.OutputOp | host.VariableOp,
    copy: host.CopyOp,
    uses: Uses,
    kernels: Mapping[str, kernel.FuncOp],
) -> bool:
    """Whether ``source`` can be ``target`` from its first write on, without the copy."""
    done, born, dies = uses.number[copy], uses.first(source), uses.last(source)
    if uses.between(target, born + 1, done - 1):
        return False  # the old value of the target is still wanted, or another one is written
    maker = uses.acting[born]
    if uses.between(target, born, min(born, done - 1)) and not (
        isinstance(maker, host.LaunchOp)
        and _in_place(maker, kernels[maker.callee], target, source)
    ):
        return False
    if any(s > done for s in uses.writes.get(source, ())):
        return False
    return not any(done < s <= dies for s in uses.writes.get(target, ()))


def _in_place(launch: host.LaunchOp, function: kernel.FuncOp, old: Owner, new: Owner) -> bool:
    """Whether the kernel may write ``new`` over ``old``, of which it reads nothing else."""
    if function.in_place is None:
        return False
    flat: Sequence[int] = function.in_place.get_values()  # pyright: ignore # integers
    allowed = set(zip(flat[::2], flat[1::2], strict=True))
    taken = [k for k, o in enumerate(launch.operands) if owner(o) is old]
    written = [k for k, o in enumerate(launch.operands) if owner(o) is new]
    whole = all(_is_whole(launch.operands[k]) for k in (*taken, *written))
    return whole and len(written) == 1 and all((k, written[0]) in allowed for k in taken)


def _work_in_place(launch: host.LaunchOp, function: kernel.FuncOp, uses: Uses) -> None:
    step = uses.number[launch]
    for written in list(launch.writes):
        new = owner(written)
        if not isinstance(new, host.BufferOp | host.OutputOp) or uses.first(new) != step:
            continue
        for taken in list(launch.reads):
            old = owner(taken)
            if (
                isinstance(old, host.BufferOp)
                and uses.last(old) == step
                and uses.size(old) == uses.size(new)
                and _in_place(launch, function, old, new)
            ):
                uses.merge(new, old)
                _replace(old, new)
                break


def _replace(old: host.BufferOp, new: host.BufferOp | host.OutputOp | host.VariableOp) -> None:
    """Let ``new`` stand for ``old`` everywhere, under its type."""
    value: SSAValue = new.result
    block = new.parent
    assert block is not None, "the operation stands in the program"
    if old.result.type != new.result.type:
        view = host.ViewOp(new.result, old.result.type)
        Rewriter.insert_op(view, InsertPoint.after(_last_owner(block)))
        value = view.result
    old.result.replace_all_uses_with(value)
    Rewriter.erase_op(old)


def _last_owner(block: Block) -> Operation:
    """The last of the operations that `_owners_first` moved to the start."""
    last = block.first_op
    assert last is not None, "the program has owners"
    while isinstance(last.next_op, Owner):
        last = last.next_op
    return last
