"""Keep a run within a limit of memory: run cheap kernels again instead of keeping their results.

    %a = fusion(%x)               %a = fusion(%x)
    %b = fusion(%a)          ->   %b = fusion(%a)
    %c = fusion(%b, %a)           %a1 = fusion(%x)
                                  %c = fusion(%b, %a1)

Does nothing without a limit, or where the best order is within it. `tfc.passes.recomputation` says which
kernels; results keep every bit, as the same kernel runs on the same values. Runs after ``fuse``; afterwards
``order-memory`` may order the copies anew. What the arena needs in the end is known when it
is laid out: ``check-memory`` compares that with the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, TensorType, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.control import accesses, variable_of
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.state import AssignOp, ReadOp
from tfc.location import stamp
from tfc.passes.count_work import count
from tfc.passes.memory_plan import at_sample
from tfc.passes.order_memory import is_view, tasks_of
from tfc.passes.recomputation import Recomputation, Step
from tfc.passes.scheduling import best_order

_FLOPS, _BYTES = 50e9, 20e9
"""Work in a second that kernels are weighed by; their ratio matters."""


@dataclass(frozen=True)
class LimitMemory(ModulePass):
    """Run kernels again where that brings ``@main`` within ``memory-limit`` bytes."""

    name = "limit-memory"
    memory_limit: int | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if self.memory_limit is not None and isinstance(function, FuncOp) and function.body.blocks:
                again = _limit(function.body.block, self.memory_limit)
                if again:
                    function.attributes["tfc.recomputed"] = IntegerAttr(again, i64)


def _limit(block: Block, limit: int) -> int:
    """Bring a block within the limit, as far as that goes; gives how many kernels run again."""
    ops = list(block.ops)
    ending = [ops.pop()] if ops and isinstance(ops[-1], ReturnOp) else []
    tasks = tasks_of(ops, ending)
    # What is returned is written where the caller wants it.
    tasks = replace(tasks, sizes=[0 if v in tasks.kept else s for v, s in enumerate(tasks.sizes)])
    recomputation = Recomputation(tasks, [_cost(op) for op in ops], _until(ops))
    steps = recomputation.run(best_order(tasks), limit)
    again = len(steps) - len(ops)
    if again:
        _Rewriting(ops, tasks.reads, tasks.makes).run(block, steps, ending)
    return again


def _cost(op: Operation) -> float | None:
    """Seconds that running it again takes; None where it has effects, or is no kernel."""
    if not isinstance(op, FusionOp):
        return None
    work = count(op)
    return at_sample(work.flops) / _FLOPS + at_sample(work.moved) / _BYTES + 1e-6


def _until(ops: Sequence[Operation]) -> dict[int, set[int]]:
    """The assignments before which a task that reads a variable's own storage must have run."""
    assigned: dict[str, set[int]] = {}
    for k, op in enumerate(ops):
        for access in accesses(op):
            if isinstance(access, AssignOp):
                assigned.setdefault(variable_of(access), set()).add(k)
    found: dict[int, set[int]] = {}
    for k, op in enumerate(ops):
        for owner in (_root(o).owner for o in op.operands):
            if isinstance(owner, ReadOp) and (those := assigned.get(variable_of(owner))):
                found.setdefault(k, set()).update(those)
    return found


def _root(value: SSAValue) -> SSAValue:
    """The value whose bytes ``value`` is."""
    while isinstance(owner := value.owner, Operation) and is_view(owner):
        value = owner.operands[0]
    return value


@dataclass
class _Rewriting:
    """Puts steps into a block."""

    ops: Sequence[Operation]
    reads: Sequence[Sequence[int]]
    makes: Sequence[Sequence[int]]
    made: dict[int, SSAValue] = field(default_factory=dict[int, SSAValue])
    """The value of each version."""

    def run(self, block: Block, steps: Sequence[Step], ending: Sequence[Operation]) -> None:
        for op in (*self.ops, *ending):
            op.detach()
        self.number = {
            value: version
            for op, makes in zip(self.ops, self.makes, strict=True)
            for value, version in zip(_allocated(op, makes), makes, strict=True)
        }
        seen: set[int] = set()
        for step in steps:
            op = self.ops[step.task]
            if step.task in seen:
                again = op.clone()
                stamp(again, op.location)
                op = again
            seen.add(step.task)
            self.redirect(block, op, step)
            block.add_op(op)
            self.made.update(zip(step.makes, _allocated(op, step.makes), strict=True))
        block.add_ops(ending)

    def redirect(self, block: Block, op: Operation, step: Step) -> None:
        """Let ``op`` read the versions of its step."""
        for k, operand in enumerate(op.operands):
            version = self.number.get(_root(operand))
            if version is None or is_view(op):
                continue
            wanted = step.reads[list(self.reads[step.task]).index(version)]
            if wanted != version:
                op.operands[k] = self.viewed(block, operand, self.made[wanted])

    def viewed(self, block: Block, value: SSAValue, root: SSAValue) -> SSAValue:
        """``value`` as a view of ``root``, where it was one of another version."""
        view = value.owner
        if not isinstance(view, Operation) or not is_view(view):
            return root
        copy = view.clone()
        stamp(copy, view.location)
        copy.operands[0] = self.viewed(block, view.operands[0], root)
        block.add_op(copy)
        return copy.results[0]


def _allocated(op: Operation, versions: Sequence[int]) -> list[SSAValue]:
    """The results of ``op`` that need memory; those of a view or a variable's read need none."""
    return [r for r in op.results if isinstance(r.type, TensorType)] if versions else []
