"""Watching a pipeline: print, dump, time, trace rules, and keep what a crash needs.

    --print-ir-before=NAMES  --print-ir-after-all  --print-ir-after-change
    --dump-ir=DIR            --time-report         TFC_DEBUG=3 (rules)

Everything goes to stderr or to files, never into the IR on stdout. An `Instrument` hears
of each pass; the pipeline knows none of them by name.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from tfc.location import describe
from tfc.modulefile import module_text, write_module
from tfc.passes.rewriting import Rule, observing


class Instrument:
    """Hears what a pipeline does. The base class ignores all of it."""

    def start(self, ctx: Context, module: ModuleOp) -> None:
        """Before the first pass."""

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        """Before ``pass_`` runs."""

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        """After ``pass_`` ran, for ``seconds``."""

    def failed(self, pass_: ModulePass, error: Exception) -> None:
        """After ``pass_`` raised ``error``; the module may be half rewritten."""

    def verified(self, module: ModuleOp, seconds: float) -> None:
        """After the module was verified."""

    def finish(self, module: ModuleOp) -> None:
        """After the last pass, or after an error."""


@dataclass
class PrintBefore(Instrument):
    """Print the module before the passes of these names."""

    names: Collection[str]

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        if pass_.name in self.names:
            _say(f"// before {pass_}\n{module_text(module)}\n")


@dataclass
class PrintAfter(Instrument):
    """Print the module after each pass, or after those that changed it."""

    only_changes: bool = False
    last: str = ""

    def start(self, ctx: Context, module: ModuleOp) -> None:
        self.last = module_text(module) if self.only_changes else ""

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        text = module_text(module)
        if self.only_changes and text == self.last:
            return
        self.last = text
        _say(f"// after {pass_}\n{text}\n")


@dataclass
class DumpIr(Instrument):
    """Write the module before the first and after each pass: ``DIR/03-fold-constants.mlir``.

    ``tfc-opt`` reads the files back; constants are in ``DIR/blobs``, each once.
    """

    directory: Path
    count: int = 0

    def start(self, ctx: Context, module: ModuleOp) -> None:
        # Pipelines that follow each other in one directory go on counting.
        self.directory.mkdir(parents=True, exist_ok=True)
        self.count = len(list(self.directory.glob("[0-9]*.mlir")))
        self._write("input", module)

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        self._write(pass_.name, module)

    def _write(self, name: str, module: ModuleOp) -> None:
        write_module(module, self.directory / f"{self.count:02d}-{name}.mlir")
        self.count += 1


@dataclass
class TraceRules(Instrument):
    """Name each rule that fires, and where."""

    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, ctx: Context, module: ModuleOp) -> None:
        self.stack.enter_context(observing(self._fired))

    def finish(self, module: ModuleOp) -> None:
        self.stack.close()

    def _fired(self, rule: Rule, op: Operation) -> None:
        where = describe(op.location)
        _say(f"// rule {rule.name} at '{op.name}'{' from ' + where if where else ''}\n")


@dataclass
class TimeReport(Instrument):
    """What each pass took, with the verifier counted, and the operations it left.

      ms      %  what                       operations
    41.2  100.0  total                      1203 -> 810
    12.0   29.1    canonicalize             1203 -> 1100
     9.9   24.0    (verify, 2 times)
    """

    rows: list[tuple[str, float, int, int]] = field(
        default_factory=list[tuple[str, float, int, int]]
    )
    verify_seconds: float = 0.0
    verify_count: int = 0
    started: float = 0.0
    size: int = 0
    first_size: int = 0

    def start(self, ctx: Context, module: ModuleOp) -> None:
        self.rows.clear()
        self.verify_seconds, self.verify_count = 0.0, 0
        self.size = self.first_size = _size(module)
        self.started = time.perf_counter()

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        size = _size(module)
        self.rows.append((str(pass_), seconds, self.size, size))
        self.size = size

    def verified(self, module: ModuleOp, seconds: float) -> None:
        self.verify_seconds += seconds
        self.verify_count += 1

    def finish(self, module: ModuleOp) -> None:
        _say("\n".join(self.lines(time.perf_counter() - self.started)) + "\n")

    def lines(self, total: float) -> Iterator[str]:
        """The report, for a pipeline that took ``total`` seconds."""
        yield f"{'ms':>9}  {'%':>5}  {'what':<44} operations"
        yield self._line("total", total, total, f"{self.first_size} -> {self.size}")
        for name, seconds, before, after in self.rows:
            yield self._line(f"  {name}", seconds, total, f"{before} -> {after}")
        if self.verify_count:
            times = f"  (verify, {self.verify_count} times)"
            yield self._line(times, self.verify_seconds, total, "")

    def _line(self, name: str, seconds: float, total: float, sizes: str) -> str:
        share = 100 * seconds / total if total else 0.0
        return f"{seconds * 1e3:9.1f}  {share:5.1f}  {name:<44} {sizes}".rstrip()


def from_environment() -> list[Instrument]:
    """What ``TFC_DEBUG`` and ``TFC_DUMP`` ask for.

    ``TFC_DEBUG=1`` times the passes, ``2`` prints the module after each that changed it,
    ``3`` names each rule that fired. ``TFC_DUMP=dir`` keeps the module after each pass.
    ``TFC_VALIDATE=1`` interprets it before and after each pass and compares.
    """
    level = os.environ.get("TFC_DEBUG", "0")
    number = int(level) if level.isdigit() else 0
    found: list[Instrument] = []
    if number >= 3:
        found.append(TraceRules())
    if number >= 2:
        found.append(PrintAfter(only_changes=True))
    if directory := os.environ.get("TFC_DUMP"):
        found.append(DumpIr(Path(directory)))
    if number >= 1:
        found.append(TimeReport())
    if os.environ.get("TFC_VALIDATE") == "1":
        from tfc.passes.validate import ValidateEachPass

        found.append(ValidateEachPass())
    return found


def _size(module: ModuleOp) -> int:
    return sum(1 for _ in module.walk()) - 1


def _say(text: str) -> None:
    sys.stderr.write(text)
