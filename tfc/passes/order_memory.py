"""Put the operations of ``@main`` into an order in which little memory is needed at once.

    %a = fusion(%x)        %a = fusion(%x)
    %b = fusion(%x)   ->   %c = sum(%a)       %a is gone before %b is there
    %c = sum(%a)           %b = fusion(%x)
    %d = sum(%b)           %d = sum(%b)

The order of the text is the order of the run, so this is where control edges for memory are added.
Only edges that are there are kept: uses, tokens, and the order of accesses to a variable. What
reads a variable's value stays before the next assignment of that variable, because the
value is the variable's own storage.

The pass says what it reached in the attributes ``tfc.peak_before`` and ``tfc.peak_after`` of the
function, in bytes; named dims count as 16 there. Inputs, constants and variables are not counted,
they are there anyway. Runs after fusion: what is fused needs no memory.

Source: Abadi et al., "TensorFlow: Large-scale machine learning on heterogeneous distributed
systems", 2015, section 5.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, TensorType, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.host import tensor_bytes
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.control import UpdateRowOp, accesses, variable_of
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.shape import IdentityOp, ReshapeOp
from tfc.dialects.tfc.state import AssignOp, GateOp, ReadOp, VariableOp
from tfc.dialects.tfc.transfer import RecvOp, SendOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, shape_of
from tfc.passes.blocks import blocks_of
from tfc.passes.memory_plan import at_sample
from tfc.passes.scheduling import Tasks, best_order, peak

_VIEWS = (ReshapeOp, IdentityOp, GateOp, GatherOp, SendOp)

_ELSEWHERE = (ConstantOp, VariableOp, ReadOp)
"""Operations whose results lie in the weights or in a variable."""


@dataclass(frozen=True)
class OrderMemory(ModulePass):
    """Order the operations of every function for a low peak of memory."""

    name = "order-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, FuncOp):
                for block in blocks_of(function):
                    _order(function, block)


def _order(function: FuncOp, block: Block) -> None:
    ops = list(block.ops)
    ending = [ops.pop()] if ops and isinstance(ops[-1], ReturnOp | YieldOp) else []
    tasks = tasks_of(ops, ending)
    order = best_order(tasks)
    before, after = peak(tasks, range(len(ops))), peak(tasks, order)
    if block is not function.body.block:
        if after < before:
            _put_in_order(block, ops, ending, order)
        return
    reached = IntegerAttr(min(before, after), i64)
    if after < before or function.attributes.get("tfc.peak_after") != reached:
        function.attributes["tfc.peak_before"] = IntegerAttr(before, i64)
        function.attributes["tfc.peak_after"] = reached
    if after < before:
        _put_in_order(block, ops, ending, order)


def _put_in_order(
    block: Block, ops: Sequence[Operation], ending: Sequence[Operation], order: Sequence[int]
) -> None:
    for op in (*ops, *ending):
        op.detach()
    block.add_ops([*(ops[k] for k in order), *ending])


def is_view(op: object) -> bool:
    """Whether the result of ``op`` is the bytes of its first operand: after fusion, a gather reads one row."""
    return isinstance(op, _VIEWS) or (isinstance(op, RecvOp) and op.is_view)


def tasks_of(ops: list[Operation], ending: Iterable[Operation] = ()) -> Tasks:
    """The operations as tasks; what those of ``ending`` use is kept to the end."""
    number = {op: k for k, op in enumerate(ops)}
    values: dict[SSAValue, int] = {}
    sizes: list[int] = []
    before: list[set[int]] = [set() for _ in ops]
    makes: list[list[int]] = [[] for _ in ops]
    reads: list[set[int]] = [set() for _ in ops]
    for k, op in enumerate(ops):
        before[k].update(number[w] for o in op.operands if isinstance(w := o.owner, Operation) and w in number)
        if is_view(op):
            _alias(op, values)
            continue
        reads[k].update(values[o] for o in op.operands if o in values)
        for result in op.results:
            if isinstance(result.type, TensorType) and not isinstance(op, _ELSEWHERE):
                values[result] = len(sizes)
                makes[k].append(len(sizes))
                sizes.append(_bytes(result))
    _order_accesses(ops, number, before)
    kept = frozenset(values[o] for op in ending for o in op.operands if o in values)
    return Tasks([sorted(b) for b in before], makes, [sorted(r) for r in reads], sizes, kept)


def _alias(op: Operation, values: dict[SSAValue, int]) -> None:
    if (known := values.get(op.operands[0])) is not None:
        values[op.results[0]] = known


def _bytes(value: SSAValue) -> int:
    if any(d == UNKNOWN_DIM for d in shape_of(value)):
        return 0  # no code is generated for it as it is
    return at_sample(tensor_bytes(value.type))


def _order_accesses(ops: list[Operation], number: dict[Operation, int], before: list[set[int]]) -> None:
    """Keep accesses to a variable, and uses of values read from it, before its next assignment.

    What reads an array stays before the operation that writes one of its rows, which then need not copy it;
    what reads a variable, before what only makes its next value, which then can work in the variable itself.
    """
    touched: dict[str, list[int]] = {}
    written: dict[str, int] = {}
    for k, op in enumerate(ops):
        if isinstance(op, UpdateRowOp):
            before[k].update(u for u in _users(op.array, number) if u < k)
        found = list(accesses(op))
        for name in {variable_of(a) for a in found}:
            if name in written:
                before[k].add(written[name])
        maker = _maker(op, number)
        for name in {variable_of(a) for a in found if isinstance(a, AssignOp)}:
            readers = touched.pop(name, ())
            before[k].update(t for t in readers if t < k)
            if maker is not None:
                before[maker].update(t for t in readers if t < maker)
            written[name] = k
        for access in found:
            if isinstance(access, ReadOp):
                users = _users(access.value, number) if access is op else ()
                touched.setdefault(variable_of(access), []).extend([k, *users])


def _maker(op: Operation, number: dict[Operation, int]) -> int | None:
    """The operation whose results are assigned, one by ``op``, and used by nothing else."""
    if not isinstance(op, AssignOp) or not isinstance(maker := op.value.owner, Operation):
        return None
    users = (use.operation for r in maker.results for use in r.uses)
    return number.get(maker) if all(isinstance(u, AssignOp) for u in users) else None


def _users(value: SSAValue, number: dict[Operation, int]) -> list[int]:
    found: list[int] = []
    for use in value.uses:
        if use.operation in number:
            found.append(number[use.operation])
            if is_view(use.operation) and use.index == 0:
                found += _users(use.operation.results[0], number)
    return found
