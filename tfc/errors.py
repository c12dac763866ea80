"""Every error that tfc raises on purpose, and how it is worded.

    TfcError                    what a user can meet; never a bug in tfc
    ├── GraphError              a mistake in the user's graph (shape, dtype, name, wrong graph)
    │   └── RuleError           an operation breaks a rule of its own (in `tfc.rules`)
    ├── FeedError               a value fed to a run does not fit its placeholder
    ├── ModelFileError          a model file cannot be read, or needs operations tfc lacks
    ├── OptionError             an unknown or ill-formed option, pass, target
    ├── CheckpointError         a checkpoint cannot be read or written, or does not fit the variables
    ├── ArtifactError           a compiled artifact cannot be written, loaded or run here
    │   └── NoGpuError          the GPU that it was compiled for is not here
    ├── MemoryLimitError        a program needs more memory than is allowed
    └── RunError                the compiled program itself reports an error (index out of range)
    InternalError               a bug in tfc: it says so and shows the module

An error says where, which rule, expected, got, and what to do if tfc knows:

    model.py:7: error: 'tfc.matmul' (C2): expected dim(x, -1) = dim(y, -2), got 64 and 10
    help: transpose_b=True contracts 64 with 64
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a program that only loads compiled models needs no xDSL
    from xdsl.ir import Operation


class TfcError(Exception):
    """What a user can meet and mend.

    Args:
        message: which rule, expected, got; lower case, no full stop.
        where: ``file:line`` or the name of a node; empty where there is none.
        help: what to do about it, if known.
    """

    def __init__(self, message: str, *, where: str = "", help: str = "") -> None:
        self.message, self.where, self.help = message, where, help
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: error: {self.message}" if self.where else f"error: {self.message}"
        return f"{head}\nhelp: {self.help}" if self.help else head


class GraphError(TfcError):
    """A mistake in the user's graph."""


class FeedError(TfcError):
    """A value fed to a run does not fit its placeholder."""


class ModelFileError(TfcError):
    """A model file cannot be read, or needs operations that tfc lacks."""


class OptionError(TfcError):
    """An option, pass or target that tfc does not know, or an ill-formed one."""


class CheckpointError(TfcError):
    """A checkpoint cannot be read or written, or does not fit the variables."""


class ArtifactError(TfcError):
    """A compiled artifact cannot be written, loaded or run here."""


class NoGpuError(ArtifactError):
    """The GPU that a model was compiled for is not here, or is an older one."""


class MemoryLimitError(TfcError):
    """A program needs more memory at once than it is allowed; the message lists what is there then."""


class RunError(TfcError):
    """The compiled program reports an error: an index out of range, a failed check."""


class InternalError(Exception):
    """A bug in tfc."""


def require(holds: bool, op: Operation, label: str, expected: object, got: object, help: str = "") -> None:
    """Raise `tfc.rules.RuleError` unless ``holds``: "'tfc.transpose' (C1): expected X, got Y"."""
    if not holds:
        from tfc.location import describe
        from tfc.rules import RuleError

        message = f"'{op.name}' ({label}): expected {expected}, got {got}"
        raise RuleError(message, where=describe(op.location), help=help)


def nearest(name: str, known: Iterable[str]) -> str:
    """A help line with the known names closest to ``name``; empty where none is close."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
