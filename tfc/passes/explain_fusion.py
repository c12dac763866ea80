"""What ``--explain-fusion`` prints: the operations of each kernel, and why its result is stored.

    contract_add_max_0 (contraction)
        tfc.contract     conv1
        tfc.add          bias1
        tfc.max          relu1
      stored: a contraction reads its operands from memory; read in contract_add_max_1

It asks `tfc.passes.fuse` for its plan before that pass runs; the names of kernels are known when
`lower-to-kernels` has run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from tfc.dialects.host import LaunchOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.control import RegionOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.location import describe
from tfc.passes.fuse import Group, plan
from tfc.passes.instrumentation import Instrument


@dataclass(eq=False)
class Explained:
    """A kernel to be: its operations from first to last, why its result is stored, who reads it."""

    kind: str
    operations: list[str]
    reason: str
    readers: list[Explained] = field(default_factory=list["Explained"])
    name: str = ""


@dataclass
class ExplainFusion(Instrument):
    """Tell which operations share a kernel, and why others do not."""

    kernels: list[Explained] = field(default_factory=list[Explained])
    copied: list[str] = field(default_factory=list[str])
    known: dict[Operation, Explained] = field(default_factory=dict[Operation, Explained])

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        if pass_.name == "fuse":
            for function in functions(module):
                self.explain(function)
        elif pass_.name == "lower-to-kernels":  # each fusion becomes a launch, in this order
            self.kernels = [self.known[op] for f in functions(module) for op in fusions(f)]

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        if pass_.name == "fuse":
            found = [op for f in functions(module) for op in fusions(f)]
            self.known = dict(zip(found, self.kernels, strict=True))
        elif pass_.name == "lower-to-kernels":
            launches = (op for op in module.walk() if isinstance(op, LaunchOp))
            for kernel, launch in zip(self.kernels, launches, strict=True):
                kernel.name = launch.callee

    def explain(self, function: FuncOp) -> None:
        """Keep the plan for ``function`` as text: its operations will not outlive the pass."""
        self.explain_block(function.body.block)

    def explain_block(self, block: Block) -> None:
        """The same for a block, with the branches and loops in it."""
        made = plan(block)
        found = {id(g): Explained(g.kind, _told(g), made.reasons[g.root]) for g in made.kernels()}
        for group in made.kernels():
            found[id(group)].readers = list(_readers(group, made.groups, found))
        roots = {g.root: found[id(g)] for g in made.kernels()}
        for op in block.ops:
            if op in roots:
                self.kernels.append(roots[op])
            elif isinstance(op, RegionOp):
                for region in op.regions:
                    self.explain_block(region.block)
        copies = (op for op in block.ops if op in made.reasons and op not in made.groups)
        self.copied += [f"{_line(op)}  {made.reasons[op]}" for op in copies]

    def finish(self, module: ModuleOp) -> None:
        sys.stderr.write("".join(f"{line}\n" for line in self.lines()))

    def lines(self) -> Iterator[str]:
        """The report."""
        names = {k: k.name or f"kernel {n}" for n, k in enumerate(self.kernels)}
        for kernel, name in names.items():
            yield f"{name} ({kernel.kind})"
            yield from (f"    {line}" for line in kernel.operations)
            readers = ", ".join(names[r] for r in kernel.readers)
            yield f"  stored: {kernel.reason}{f'; read in {readers}' if readers else ''}"
        if self.copied:
            yield "in no kernel of their own"
            yield from (f"    {line}" for line in self.copied)


def functions(module: ModuleOp) -> list[FuncOp]:
    return [op for op in module.ops if isinstance(op, FuncOp) and not op.is_declaration]


def fusions(function: FuncOp) -> list[FusionOp]:
    return [op for op in function.walk() if isinstance(op, FusionOp)]


def _readers(
    group: Group, groups: Mapping[Operation, Group], found: Mapping[int, Explained]
) -> Iterator[Explained]:
    users = (use.operation for r in group.root.results for use in r.uses)
    yield from {id(g): found[id(g)] for u in users if (g := groups.get(u)) is not None}.values()


def _told(group: Group) -> list[str]:
    return [_line(op) for op in reversed(group.members) if not isinstance(op, ConstantOp)]


def _line(op: Operation) -> str:
    return f"{op.name:<16} {describe(op.location)}".rstrip()
