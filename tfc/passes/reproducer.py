"""When a pass crashes: keep a file that shows the crash again.

    // tfc reproducer: 'canonicalize' failed
    // pipeline: canonicalize
    // KeyError: ...
    module { ... }

``tfc-opt crash.mlir`` runs the pipeline of such a header when no other is given. The module
is the input of the failing pass alone, where running the passes before it again gives one.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import VerifyException

from tfc.errors import TfcError
from tfc.modulefile import write_module
from tfc.passes.instrumentation import Instrument

HEADER = "// tfc reproducer:"
_PIPELINE = re.compile(r"^// pipeline: (.*)$", re.MULTILINE)


@dataclass
class CrashReproducer(Instrument):
    """Writes ``path`` when a pass raises what is no error of the user."""

    path: Path
    passed: list[ModulePass] = field(default_factory=list[ModulePass])
    context: Context | None = None
    original: ModuleOp | None = None
    written: Path | None = None

    def start(self, ctx: Context, module: ModuleOp) -> None:
        self.context, self.original = ctx, module.clone()
        self.passed.clear()

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        self.passed.append(pass_)

    def failed(self, pass_: ModulePass, error: Exception) -> None:
        if isinstance(error, TfcError | VerifyException):
            return
        assert self.original is not None, "a pass fails after the start"
        module, pipeline = self._shortest(pass_)
        self.written = write_reproducer(self.path, module, pipeline, error)

    def finish(self, module: ModuleOp) -> None:
        self.original = None

    def _shortest(self, failing: ModulePass) -> tuple[ModuleOp, list[ModulePass]]:
        assert self.original is not None
        assert self.context is not None
        module = self.original.clone()
        try:
            for pass_ in self.passed:
                pass_.apply(self.context, module)
        except Exception:  # another crash on the way: the whole pipeline shows one
            return self.original, [*self.passed, failing]
        return module, [failing]


def write_reproducer(
    path: Path, module: ModuleOp, pipeline: list[ModulePass], error: Exception
) -> Path:
    """Write a module and the pipeline that fails on it."""
    names = ",".join(map(str, pipeline))
    frames = "".join(traceback.format_exception(error)).rstrip().splitlines()
    lines = [f"{HEADER} {pipeline[-1].name!r} failed", f"// pipeline: {names}"]
    lines += [f"//   {frame}" for frame in frames[:200]]
    write_module(module, path, "\n".join(lines) + "\n")
    return path


def pipeline_of(text: str) -> str | None:
    """The pipeline in the header of a reproducer, or None: the text is none."""
    if not text.startswith(HEADER):
        return None
    found = _PIPELINE.search(text)
    return found[1] if found else None
