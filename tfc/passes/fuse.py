"""Gather operations into ``tfc.fusion`` regions: one region is one kernel, one pass over memory.

    %b = broadcast %bias            %y = tfc.fusion "contraction"(%x, %w, %bias) {
    %c = contract %x, %w       ->     %c = contract ...   %b = broadcast ...
    %s = add %c, %b                   %s = add %c, %b
    %y = max %s, %zero                tfc.yield max(%s, 0) }

Operations are visited from last to first. One joins the group of its users when they all are in
one group and every use reads each element about once; else it starts a group and its result is
written to memory. Operations that only map indices (splats, broadcasts, slices) are copied into
every group that reads them.

A contraction takes elementwise users of its result as its epilogue, but for costly ones:
a polynomial on the accumulators gains nothing over a pass of its own (measured: 0 to 15 %
slower). A reduction joins users that read it through a broadcast along inner dims only: it is
then computed once a row. Through a broadcast along outer dims it would be computed again for each
of them. Sums that a reduction walks over are stored: attention's scores, of which a softmax is taken.

A value that is assigned to a variable and read on element by element is written by the kernel that
reads it: an optimizer's step, which changes a variable and its moments, is one kernel.

Runs last on ``tfc``: afterwards every operation is in a fusion, a view, a constant, or state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from tfc.dialects.tfc.attention import AttentionOp
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import UNREAD, ConstantOp, IotaOp
from tfc.dialects.tfc.control import UpdateRowOp
from tfc.dialects.tfc.elementwise import ElementwiseOp
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.gradient import SegmentSumOp
from tfc.dialects.tfc.indexing import groups as dim_groups
from tfc.dialects.tfc.merge import MergeRunsOp
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.radix import RadixPassOp
from tfc.dialects.tfc.reduce import ArgReduceOp, CumulativeOp, ReduceOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    GatherOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.state import AssignOp
from tfc.dialects.tfc.transfer import DEVICE, memory_of
from tfc.dialects.tfc.types import dtype_of, element, shape_of
from tfc.dims import Dim
from tfc.location import fuse as fuse_locations
from tfc.passes.blocks import blocks_of
from tfc.passes.effects import is_dead

MAX_OPERATIONS = 64
"""Operations in one kernel: more live values than this spill."""

MOVES = (TransposeOp, SliceOp, ReverseOp, PadOp, ConcatOp, ReshapeOp)
"""Operations that read every element of an operand at most once, at another index."""

FILLED = 4096
"""Bytes of one number over and over that are written by a kernel, where fewer are read from the weights."""

LEAVING = (AssignOp, UpdateRowOp, YieldOp)
"""Operations that take a value out of its block, to a place of its own."""


@dataclass
class Group:
    """Operations that become one fusion; the first one visited gives the result.

    Attributes:
        stored: further operations whose results the kernel writes, see `_joins_update`.
    """

    root: Operation
    kind: str = "nest"
    members: list[Operation] = field(default_factory=list[Operation])
    stored: list[Operation] = field(default_factory=list[Operation])

    @property
    def device(self) -> Attribute | None:
        """Where the kernel runs, if its operations have been placed."""
        return self.root.attributes.get(DEVICE)

    @property
    def outputs(self) -> list[Operation]:
        """The operations whose results are written to memory."""
        return [self.root, *self.stored]


@dataclass(frozen=True)
class Fuse(ModulePass):
    """Put every computing operation into a fusion region."""

    name = "fuse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, FuncOp):
                for block in blocks_of(function):
                    _fuse_block(block)


@dataclass
class Plan:
    """What becomes of the operations of a block.

    Attributes:
        groups: the kernel of each operation that is in one.
        reasons: why an operation is in none of its users' kernels: for each that starts a kernel,
            or is copied.
    """

    groups: dict[Operation, Group] = field(default_factory=dict[Operation, Group])
    reasons: dict[Operation, str] = field(default_factory=dict[Operation, str])

    def kernels(self) -> list[Group]:
        """The groups, from last to first."""
        return list({id(g): g for g in self.groups.values()}.values())

    def place(self, op: Operation) -> None:
        """Put ``op``, whose users all have their places, into a group."""
        groups, users = self.groups, _users(op)
        homes = {id(g): g for u in users if (g := groups.get(u)) is not None}
        if len(homes) > 1 and _are_updates(op, homes.values(), groups):
            merged, *others = (g for g in self.kernels() if id(g) in homes)
            for home in others:
                self.merge(merged, home)
            homes = {id(merged): merged}
        reason = _outside(users, groups) or (f"{len(homes)} kernels read it" if len(homes) > 1 else "")
        if any(_are_apart(h.device, op.attributes.get(DEVICE)) for h in homes.values()):
            homes, reason = {}, "another device reads it"
        if not reason:
            home = next(iter(homes.values()))
            reason = refusal(op, users, home)
            if not reason:
                groups[op] = home
                home.members.append(op)
                if isinstance(op, ContractOp):
                    home.kind = "contraction"
                return
        elif len(homes) == 1 and _joins_update(op, users, home := next(iter(homes.values())), groups):
            groups[op] = home
            home.members.append(op)
            home.stored.append(op)
            return
        grouped = bool(users) and all(u in groups for u in users)
        if grouped and is_free(op) and not any(_reads_memory(u) for u in users):
            self.reasons[op] = "copied into each kernel that reads it"
            return
        if isinstance(op, ConstantOp) and op.value.data.array.nbytes < FILLED:
            return  # who needs it whole reads it from the weights
        if isinstance(op, ReshapeOp) and not _moves_only_units(op):
            return  # it stays a view
        self.reasons[op] = reason
        groups[op] = Group(op, _kind(op), [op])


    def merge(self, home: Group, other: Group) -> None:
        """Make one kernel of two, in the place of the later one."""
        home.members += other.members
        home.stored += other.outputs
        self.groups.update(dict.fromkeys(other.members, home))


def plan(block: Block) -> Plan:
    """Decide which operations of ``block`` share a kernel; nothing is changed."""
    made = Plan()
    for op in reversed(list(block.ops)):
        if fusible(op):
            made.place(op)
    return made


def _fuse_block(block: Block) -> None:
    made = plan(block)
    for group in made.kernels():
        _outline(group, made.groups)
    _remove_dead(block)


def _joins_update(
    op: Operation, users: Sequence[Operation], home: Group, groups: Mapping[Operation, Group]
) -> bool:
    """Whether ``home``, which reads ``op`` element by element, stores it too, for who takes it away.

    An optimizer's step changes a variable and its moments, a turn of a loop several carried values: one kernel
    reads and writes each once.
    """
    if home.kind != "nest" or len(home.members) >= MAX_OPERATIONS or not isinstance(op, ElementwiseOp):
        return False
    outside = [u for u in users if u not in groups]
    return (
        all(isinstance(u, LEAVING) for u in outside)
        and _is_elementwise(home, op)
        and not any(groups.get(u) is home for u in after(outside))
    )


def _are_updates(op: Operation, homes: Collection[Group], groups: Mapping[Operation, Group]) -> bool:
    """Whether kernels that all read ``op`` element by element only make values that are assigned.

    They become one, as a step of Adadelta, which makes two variables of one difference.
    """
    outside = [u for home in homes for o in home.outputs for u in _users(o) if groups.get(u) is not home]
    together = {id(home) for home in homes}
    return (
        all(isinstance(u, AssignOp) for u in outside)
        and isinstance(op, ElementwiseOp)
        and all(home.kind == "nest" and _is_elementwise(home, op) for home in homes)
        and sum(len(home.members) for home in homes) < MAX_OPERATIONS
        and not any(id(groups.get(u)) in together for u in after(outside))
    )


def _is_elementwise(home: Group, op: Operation) -> bool:
    """Whether a kernel computes elements of the shape of ``op`` each for itself."""
    return shape_of(home.root.results[0]) == shape_of(op.results[0]) and all(
        isinstance(m, ElementwiseOp) or is_free(m) for m in home.members
    )


def after(ops: Sequence[Operation]) -> dict[Operation, None]:
    """``ops`` and all that depends on them."""
    found, pending = dict.fromkeys(ops), list(ops)
    while pending:
        new = [u for u in _users(pending.pop()) if u not in found]
        found.update(dict.fromkeys(new))
        pending += new
    return found


def _outside(users: Sequence[Operation], groups: Mapping[Operation, Group]) -> str:
    """Why a value that is read in no kernel, too, is stored."""
    if not users:
        return "nothing reads it"
    if all(u in groups for u in users):
        return ""
    names = dict.fromkeys(u.name for u in users if u not in groups)
    if "func.return" in names:
        return "it is an output"
    return f"read by {', '.join(names)}, which is in no kernel or in several"


def _are_apart(x: Attribute | None, y: Attribute | None) -> bool:
    """Whether operations are placed on different devices."""
    return x is not None and y is not None and x != y


def fusible(op: Operation) -> bool:
    """Whether ``op`` is computed by a kernel of ours (and is no plain view or stored constant)."""
    if UNREAD in op.attributes:
        return False
    if isinstance(op, ConstantOp):
        return op.value.data.is_splat
    if isinstance(op, ReshapeOp):
        return _moves_only_units(op) or _splits_what_is_reduced(op)
    if isinstance(op, UpdateRowOp) or (isinstance(op, GatherOp) and _is_stored_row(op)):
        return False
    return isinstance(op, ContractOp | AttentionOp) or (isinstance(op, TensorOp) and op.is_primitive())


def _is_stored_row(op: GatherOp) -> bool:
    """Whether ``op`` is one row of an array that is in memory: it can be read where it stands.

    On a device it is a kernel: the host would have to wait for the index.
    """
    if memory_of(op):
        return False
    row = shape_of(op.indices) == () and op.axis.value.data == 0
    array = op.x.owner
    return row and not (isinstance(array, Operation) and fusible(array))


def is_free(op: Operation) -> bool:
    """Whether reading an element of the result costs no more than reading one of the operand."""
    if isinstance(op, ConstantOp):
        return op.value.data.is_splat
    return isinstance(op, IotaOp | BroadcastOp | SliceOp) or (
        isinstance(op, ReshapeOp) and _moves_only_units(op)
    )


def _moves_only_units(op: ReshapeOp) -> bool:
    """Whether a reshape only adds or drops extents of 1."""
    return _long(op.operands[0]) == _long(op.results[0])


def _splits_what_is_reduced(op: ReshapeOp) -> bool:
    """Whether a reshape takes dims of a computed value apart, for reductions: memory need not hold it."""
    pairs = dim_groups(shape_of(op.operands[0]), shape_of(op.results[0]))
    return (
        isinstance(op.operands[0].owner, ElementwiseOp | PadOp)
        and all(isinstance(u, ReduceOp) for u in _users(op))
        and all(len(old) == 1 for old, _ in pairs)
    )


def _long(value: SSAValue) -> list[Dim]:
    """The extents of ``value`` that are not 1."""
    return [d for d in shape_of(value) if d != 1]


def refusal(op: Operation, users: Sequence[Operation], home: Group) -> str:
    """Why ``op`` does not become part of the kernel of its ``users``; "" where it does."""
    direct = next((WHOLE[kind] for u in users if (kind := _kind(u)) in WHOLE), None)
    if direct is not None:
        return f"{direct} reads its operands from memory"
    if _kind(op) in ("scatter", "running", "merge", "radix", "attention"):
        return "its kernel goes through its operands, not through its result"
    if len(home.members) >= MAX_OPERATIONS:
        return f"the kernel has {MAX_OPERATIONS} operations: more live values than this spill"
    if isinstance(op, ContractOp):
        if home.kind != "nest":
            return "the kernel has a contraction already"
        if home.stored:
            return "the kernel writes several results"
        return _no_epilogue(op, home)
    if is_free(op):
        return ""
    if home.kind == "contraction":
        return "in the kernel of a contraction it would be computed again for each tile"
    if not isinstance(op, (ElementwiseOp, GatherOp, *MOVES)) and _reduced_again(op, home):
        return "a reduction walks over it: its sums would be computed inside of that loop"
    again = next((u for u in users if not _reads_once(op, u)), None)
    return f"{again.name} reads elements of it more than once, or not in order" if again else ""


WHOLE = {
    "contraction": "a contraction", "scatter": "a sum by position", "running": "a running sum", "merge": "a pass of a sort",
    "radix": "a pass of a sort", "attention": "an attention",
}  # fmt: skip
"""Kinds of kernels that read their operands as they stand in memory, in words."""


def _kind(op: Operation) -> str:
    """The generator of a kernel that ends with ``op``."""
    if isinstance(op, ContractOp):
        return "contraction"
    if isinstance(op, AttentionOp):
        return "attention"
    if isinstance(op, CumulativeOp):
        return "running"
    if isinstance(op, MergeRunsOp):
        return "merge"
    if isinstance(op, RadixPassOp):
        return "radix"
    # Halves are summed in f32, which a nest does in registers, and so does the kernel of a GPU.
    wide = isinstance(op, SegmentSumOp) and (dtype_of(element(op.data)) not in HALVES or memory_of(op) != "")
    return "scatter" if wide else "nest"


def _reads_memory(op: Operation) -> bool:
    """Whether the kernel of ``op`` reads its operands as they stand in memory."""
    return _kind(op) in WHOLE


def _no_epilogue(op: ContractOp, home: Group) -> str:
    """Why ``home`` cannot be done on the accumulators: cheap elementwise work in their shape can.

    What else it holds maps indices of other operands (a bias that is broadcast).
    """
    shape = shape_of(op.results[0])
    behind: set[Operation] = {op}
    for member in reversed(home.members):  # from first to last
        if any(o.owner in behind for o in member.operands):
            if not isinstance(member, ElementwiseOp):
                return f"{member.name} is not elementwise: no epilogue of a contraction"
            if member.HEAVY:
                return f"{member.name} costs as much on the accumulators as in a pass of its own"
            if shape_of(member.results[0]) != shape:
                return f"{member.name} changes the shape: no epilogue of a contraction"
            behind.add(member)
        elif not is_free(member):
            return f"the kernel computes {member.name} besides: no epilogue of a contraction"
    return ""


def _reads_once(op: Operation, user: Operation) -> bool:
    """Whether ``user`` reads each element of ``op`` about once, so that none is computed twice."""
    assert isinstance(op, TensorOp), "only tensor operations are fused"
    if isinstance(user, ElementwiseOp):
        return True
    if isinstance(user, BroadcastOp):
        return _stretches_inside(user) and not isinstance(op, ArgReduceOp)
    if isinstance(op, ReduceOp | ArgReduceOp):
        return isinstance(user, ReshapeOp)
    if isinstance(user, ReduceOp):
        return isinstance(op, (ElementwiseOp, *MOVES))
    if isinstance(user, ArgReduceOp):
        return isinstance(op, ElementwiseOp) and not op.HEAVY
    if isinstance(user, GatherOp):
        return isinstance(op, ElementwiseOp) and op.results[0] is not user.operands[0]
    return isinstance(user, MOVES) and isinstance(op, (ElementwiseOp, *MOVES))


def _reduced_again(op: Operation, home: Group) -> bool:
    """Whether ``home`` reduces what it computes from ``op`` element by element."""
    pending, left = [op], set(home.members)
    while pending:
        users = left.intersection(_users(pending.pop()))
        left -= users
        for user in users:
            if isinstance(user, ReduceOp | ArgReduceOp):
                return True
            source, result = user.operands[0], user.results[0]
            if not isinstance(user, BroadcastOp) or _long(source) == _long(result):
                # else it is one sum for all that an inner loop walks over
                pending.append(user)
    return False


def _stretches_inside(op: BroadcastOp) -> bool:
    """Whether all dims that a broadcast adds or stretches come after those that it keeps."""
    source, result = shape_of(op.operands[0]), shape_of(op.results[0])
    kept = [d for k, d in enumerate(op.dims.get_values()) if source[k] != 1 or result[d] == 1]
    added = [d for d in range(len(result)) if d not in kept and result[d] != 1]
    return not kept or not added or max(kept) < min(added)


# Building the regions


def _users(op: Operation) -> list[Operation]:
    return list(dict.fromkeys(u.operation for r in op.results for u in r.uses))


def _outline(group: Group, groups: Mapping[Operation, Group]) -> None:
    """Move the members of ``group`` into a fusion that stands where its root stood."""
    members = group.members[::-1]  # visited from last to first
    copies: dict[SSAValue, SSAValue] = {}
    inputs: dict[SSAValue, SSAValue] = {}
    block = Block()
    inside = set(members)

    def mapped(value: SSAValue) -> SSAValue:
        if value in copies:
            return copies[value]
        owner = value.owner
        if isinstance(owner, Operation) and owner not in inside and is_free(owner) and fusible(owner):
            home = groups.get(owner)
            # What ends a larger group is read from memory: its operands live on only in there.
            return clone(owner) if home is None or len(home.members) == 1 else argument(value)
        return argument(value)

    def argument(value: SSAValue) -> SSAValue:
        if value not in inputs:
            inputs[value] = block.insert_arg(value.type, len(block.args))
        return inputs[value]

    def clone(op: Operation) -> SSAValue:
        direct = _reads_memory(op)
        mapping = {o: argument(o) if direct else mapped(o) for o in op.operands}
        copy = op.clone(value_mapper=mapping)
        block.add_op(copy)
        copies.update(zip(op.results, copy.results, strict=True))
        return copy.results[0]

    for member in members:
        clone(member)
    results = [r for op in group.outputs for r in op.results]
    block.add_op(YieldOp([copies[r] for r in results]))
    fusion = FusionOp(group.kind, list(inputs), [r.type for r in results], Region(block))
    fusion.location = fuse_locations(m.location for m in members)
    if group.device is not None:
        fusion.attributes[DEVICE] = group.device
    Rewriter.insert_op(fusion, InsertPoint.before(group.root))
    _move_behind(fusion, [u for op in group.stored for u in _users(op) if u not in groups])
    for old, new in zip(results, fusion.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)


def _move_behind(fusion: FusionOp, ops: Sequence[Operation]) -> None:
    """Let ``ops`` and all that depends on them stand after ``fusion``, in their order."""
    behind = after(ops)
    last: Operation = fusion
    op = fusion.parent.first_op if behind and fusion.parent is not None else fusion
    while op is not fusion and op is not None:
        op, here = op.next_op, op
        if here in behind:
            here.detach()
            Rewriter.insert_op(here, InsertPoint.after(last))
            last = here


def _remove_dead(block: Block) -> None:
    for op in reversed(list(block.ops)):
        if isinstance(op, TensorOp) and is_dead(op):
            op.detach()
            op.erase()

