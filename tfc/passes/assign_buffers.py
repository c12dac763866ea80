"""Give every buffer its place in the arena of its memory.

    %t = host.buffer "400"                     %y = host.output 0
    host.launch @k reads(%x) writes(%t)   ->   host.launch @k reads(%x) writes(%y)
    host.copy %t to %y, "400"

1. Two that are copied one to the other, and of which neither is written while the other is still needed, are
   one: an output is written directly, a value that a loop carries is updated where it stands.
2. A kernel that may work in place writes over an operand that nobody reads afterwards.
3. What is copied at the end of a loop's body all the same changes places with the copy: two pointers are
   exchanged, and no byte is moved.
4. What a kernel makes for a row of an array is written into the row at once.
5. What is left is laid out so that buffers needed at the same time do not overlap
   (`tfc.passes.memory_plan`).

Each memory has one arena: the host's, and that of each device. What is copied from one to the other stays two.
What is needed when is told by `tfc.passes.liveness`, with branches and loops taken into account.

Source: Chaitin et al., "Register allocation via coloring", Computer Languages 6, 1981: two names that are
copied may share a place unless one is written while the other is live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from tfc.dialects import host, kernel
from tfc.dims import Dim
from tfc.passes.liveness import Liveness, Owner, is_whole, owner, positions
from tfc.passes.memory_plan import SymbolicInterval, align_dim, plan_symbolic

DEVICE_ALIGNMENT = 256
"""Of every buffer in a device's memory: as its own allocations have it."""

PLACES = (host.BufferOp, host.OutputOp, host.VariableOp)
"""What may take the place of a buffer."""

Swapped = tuple[host.BufferOp, host.BufferOp, int]
"""Two that change places, and the steps of the loop where they do."""

Kernels = Mapping[str, kernel.FuncOp]


@dataclass(frozen=True)
class AssignBuffers(ModulePass):
    """Lay out the buffers of every host program in its arenas."""

    name = "assign-buffers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = {k.sym_name.data: k for k in op.ops if isinstance(k, kernel.FuncOp)}
        for program in op.ops:
            if isinstance(program, host.ProgramOp):
                assign(program, kernels)


def assign(program: host.ProgramOp, kernels: Kernels) -> None:
    """Do all of it for one program."""
    _owners_first(program.body.block)
    live = Liveness.of(program)
    copies = [op for op in live.steps if isinstance(op, host.CopyOp)]
    loops = [op for op in copies if op.parent is not program.body.block]
    _join_copied(sorted(loops, key=live.depth, reverse=True), live, kernels, [])
    swapped = _swap(live)
    _join_copied([op for op in copies if op.parent is not None], live, kernels, swapped)
    for copy in [op for op in copies if op.parent is not None and isinstance(op.target.owner, host.RowOp)]:
        _write_row(copy, copy.target.owner, live, swapped)  # pyright: ignore # it is a row
    for launch in [op for op in live.steps if isinstance(op, host.LaunchOp)]:
        _work_in_place(launch, kernels, live, swapped)
    for op in [op for op in program.body.block.ops if isinstance(op, host.BufferOp)]:
        if op.result.first_use is None:
            Rewriter.erase_op(op)
    buffers, intervals = live_intervals(live, swapped)
    totals: dict[str, StringAttr] = {}
    for memory in dict.fromkeys([host.HOST, *(b.memory for b in buffers)]):
        inside = [k for k, b in enumerate(buffers) if b.memory == memory]
        offsets, total = plan_symbolic([intervals[k] for k in inside])
        for k, offset in zip(inside, offsets, strict=True):
            buffers[k].properties["offset"] = StringAttr(str(offset))
        totals[memory] = StringAttr(str(total))
    program.properties["arena"] = totals.pop(host.HOST)
    program.properties["arenas"] = DictionaryAttr(totals)


def live_intervals(
    live: Liveness, swapped: Sequence[Swapped]
) -> tuple[list[host.BufferOp], list[SymbolicInterval]]:
    """The buffers of a program, and from which to which step each is needed.

    Two that change places are needed for as long as one of them is, and all through their loop.
    """
    buffers = [op for op in live.program.body.block.ops if isinstance(op, host.BufferOp)]
    needed = {b: live.needed(b) for b in buffers}
    for _ in swapped:  # a pair may meet another: as often as there are pairs
        for x, y, inside in swapped:
            needed[x] = needed[y] = needed[x] | needed[y] | inside
    spans = [SymbolicInterval(*_ends(needed[b]), _room(b)) for b in buffers]
    return buffers, spans


def _room(buffer: host.BufferOp) -> Dim:
    """The bytes that are kept for a buffer: offsets are sums of such."""
    return buffer.size if buffer.memory == host.HOST else align_dim(buffer.size, DEVICE_ALIGNMENT)


def _ends(steps: int) -> tuple[int, int]:
    first = (steps & -steps).bit_length() - 1
    return max(first, 0), max(steps.bit_length() - 1, 0)


def _owners_first(block: Block) -> None:
    """Move what has no operands to the start, so that any of it may replace another."""
    rest = list[Operation]()
    for op in list(block.ops):
        if not isinstance(op, Owner):
            op.detach()
            rest.append(op)
    block.add_ops(rest)


# Copies.


def _join_copied(
    copies: Sequence[host.CopyOp], live: Liveness, kernels: Kernels, swapped: Sequence[Swapped]
) -> None:
    """Make one of what is copied where that changes nothing. What changes places stays a buffer."""
    fixed = {b for x, y, _ in swapped for b in (x, y)}
    touching: dict[Owner, list[host.CopyOp]] = {}
    for copy in copies:
        for end in {owner(copy.source), owner(copy.target)}:
            touching.setdefault(end, []).append(copy)
    for copy in copies:
        if copy.parent is None:
            continue
        source, target = owner(copy.source), owner(copy.target)
        if host.memory_of(copy.source) != host.memory_of(copy.target):
            continue
        if source is target:
            if is_whole(copy.source) and is_whole(copy.target):
                _drop(copy, live)
            continue
        if not is_whole(copy.source) or not is_whole(copy.target) or live.size(source) != live.size(target):
            continue
        if (isinstance(source, host.OutputOp) and isinstance(target, host.BufferOp)) or source in fixed:
            source, target = target, source
        if not isinstance(source, host.BufferOp) or source in fixed or not isinstance(target, PLACES):
            continue
        if isinstance(target, host.VariableOp) and not _at_once(source, copy, live):
            continue
        between = [c for c in touching[source] if c.parent is not None and _joins(c, source, target)]
        if not _interfere(source, target, between, live, kernels):
            for made in between:
                _drop(made, live)
            live.merge(target, source)
            touching[target] += touching.pop(source)
            _replace(source, target)


def _joins(copy: host.CopyOp, x: Owner, y: Owner) -> bool:
    ends = owner(copy.source), owner(copy.target)
    return ends in ((x, y), (y, x)) and is_whole(copy.source) and is_whole(copy.target)


def _at_once(source: Owner, copy: host.CopyOp, live: Liveness) -> bool:
    """Whether ``source`` is made beside ``copy``: a variable has no value of a loop that may yet fail."""
    return all(live.steps[s].parent is copy.parent for s in positions(live.writes[source]))


def _drop(copy: host.CopyOp, live: Liveness) -> None:
    live.forget(copy)
    Rewriter.erase_op(copy)


def _interfere(
    x: Owner, y: Owner, copies: Sequence[host.CopyOp], live: Liveness, kernels: Kernels
) -> bool:
    """Whether ``x`` and ``y`` cannot be the same bytes once ``copies`` between them are gone."""
    gone = 0
    for copy in copies:
        gone |= 1 << live.number[copy]
    x_written, y_written = live.writes[x] & ~gone, live.writes[y] & ~gone
    if x_written & live.after[y] or y_written & live.after[x] or x_written & y_written:
        return True
    for new, old, hazards in (
        (x, y, x_written & live.reads[y] & ~gone),
        (y, x, y_written & live.reads[x] & ~gone),
    ):
        for step in positions(hazards):
            op = live.steps[step]
            if not isinstance(op, host.LaunchOp) or not _in_place(op, kernels[op.callee], old, new):
                return True
    return False


# Rows.


def _write_row(copy: host.CopyOp, row: host.RowOp, live: Liveness, swapped: Sequence[Swapped]) -> None:
    """Let the kernel that makes what is copied to a row write it there.

    From then on until the last use of what it made, nothing else may touch the array, nor change the row's number.
    """
    source, array, last = owner(copy.source), owner(row.source), live.number[copy]
    fixed = {b for x, y, _ in swapped for b in (x, y)}
    if not isinstance(source, host.BufferOp) or source in fixed or copy.source is not source.result:
        return
    if source.memory != host.HOST:
        return  # the kernels of a device expect buffers to begin at multiples of more than an element
    made = [*positions(live.writes[source])]
    launch = live.steps[made[0]] if len(made) == 1 else copy
    around = live.reads[source] | live.writes[source] | live.after[source]
    inside = isinstance(launch, host.LaunchOp) and launch.parent is copy.parent and launch.parent is row.parent
    if not inside or copy.target.type != source.result.type or around & ~live.span(_block(copy)) or made[0] > last:
        return
    first = live.number[launch]
    end = max(positions(live.reads[source] | 1 << last))
    during = (1 << (end + 1)) - (1 << first)
    touched = (live.reads[array] | live.writes[array]) & during & ~(1 << last)
    changed = live.writes[owner(row.index)] & ((1 << last) - (1 << first))
    if touched or changed or live.after[source] >> end & 1 or live.after[source] & ((1 << first) - 1):
        return
    row.detach()
    Rewriter.insert_op(row, InsertPoint.before(launch))
    _drop(copy, live)
    live.merge(array, source)
    _replace_by(source, row.result)


def _block(op: Operation) -> Block:
    assert op.parent is not None, "the operation stands in a block"
    return op.parent


# Kernels in place.


def _in_place(launch: host.LaunchOp, function: kernel.FuncOp, old: Owner, new: Owner) -> bool:
    """Whether the kernel may write ``new`` over ``old``, of which it reads nothing else."""
    if function.in_place is None:
        return False
    flat: Sequence[int] = function.in_place.get_values()  # pyright: ignore # integers
    allowed = set(zip(flat[::2], flat[1::2], strict=True))
    count = len(launch.reads)
    taken = [k for k, o in enumerate(launch.reads) if owner(o) is old]
    written = [k for k, o in enumerate(launch.writes, count) if owner(o) is new]
    whole = all(is_whole(launch.operands[k]) for k in (*taken, *written))
    return whole and len(written) == 1 and all((k, written[0]) in allowed for k in taken)


def _work_in_place(
    launch: host.LaunchOp, kernels: Kernels, live: Liveness, swapped: Sequence[Swapped]
) -> None:
    fixed = {b for x, y, _ in swapped for b in (x, y)}
    for written in list(launch.writes):
        for taken in list(launch.reads):
            new, old = owner(written), owner(taken)
            if (
                isinstance(new, host.BufferOp | host.OutputOp)
                and isinstance(old, host.BufferOp)
                and old is not new
                and old not in fixed
                and live.size(old) == live.size(new)
                and not _interfere(new, old, [], live, kernels)
            ):
                live.merge(new, old)
                _replace(old, new)
                break


# Places that are exchanged.


def _swap(live: Liveness) -> list[Swapped]:
    """Exchange places where a loop's body copies in the end."""
    found: list[Swapped] = []
    for copy in [op for op in live.steps if isinstance(op, host.CopyOp) and op.parent is not None]:
        loop = copy.parent_op()
        if not isinstance(loop, host.WhileOp) or copy.parent is not loop.body.block:
            continue
        x, y = owner(copy.source), owner(copy.target)
        step = live.number[copy]
        rest = live.span(loop.body.block) >> (step + 1) << (step + 1)
        touched = (live.reads[x] | live.writes[x] | live.reads[y] | live.writes[y]) & rest
        if (
            isinstance(x, host.BufferOp)
            and isinstance(y, host.BufferOp)
            and is_whole(copy.source)
            and is_whole(copy.target)
            and x.bytes == y.bytes
            and x.memory == y.memory
            and not live.after[x] >> step & 1
            and not touched
        ):
            Rewriter.insert_op(host.SwapOp(x.result, y.result), InsertPoint.before(copy))
            Rewriter.erase_op(copy)
            live.writes[x] |= 1 << step
            live.reads[y] |= 1 << step
            found.append((x, y, live.span(loop.condition.block) | live.span(loop.body.block)))
    return found


def _replace(old: host.BufferOp, new: host.BufferOp | host.OutputOp | host.VariableOp) -> None:
    """Let ``new`` stand for ``old`` everywhere, under its type."""
    value: SSAValue = new.result
    block = new.parent
    assert block is not None, "the operation stands in the program"
    if old.result.type != new.result.type:
        view = host.ViewOp(new.result, old.result.type)
        Rewriter.insert_op(view, InsertPoint.after(_last_owner(block)))
        value = view.result
    _replace_by(old, value)


def _replace_by(old: host.BufferOp, value: SSAValue) -> None:
    old.result.replace_all_uses_with(value)
    Rewriter.erase_op(old)


def _last_owner(block: Block) -> Operation:
    """The last of the operations that `_owners_first` moved to the start."""
    last = block.first_op
    assert last is not None, "the program has owners"
    while isinstance(last.next_op, Owner):
        last = last.next_op
    return last
