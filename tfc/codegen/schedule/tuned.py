"""Blockings that a search has found to be better than the rule, kept as text.

    512x32 f32 tile=6x64 users=128 columns=512 depth=1024 w=rows x=rows : rows=64 panels=1 chunk=256 copies=w

Before the colon stands a class of contractions: registers of the machine, element, tile, the number of rows
that use a panel, columns and terms, each up to a power of two, and how both operands lie. Behind it stands
what to do. The file is part of the compiler: what it says holds on every machine that compiles, so
artifacts stay the same bytes. ``benchmarks/tune.py`` writes it; a class without a line follows the rule
of `blocking.choose`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tfc.errors import InternalError

STORE = Path(__file__).with_name("tuned.txt")

_LINE = re.compile(r"rows=(\d+) panels=(\d+) chunk=(\d+) copies=(w?x?|none)$")


@dataclass(frozen=True)
class Blocking:
    """How a contraction is cut.

    Attributes:
        rows: of a task, about.
        panels: of a task.
        chunk: terms of the sum of a chunk, at most.
        copies_w, copies_x: whether a chunk of a panel, or of the rows, is copied before it is used.
    """

    rows: int
    panels: int
    chunk: int
    copies_w: bool
    copies_x: bool

    def __str__(self) -> str:
        copies = "w" * self.copies_w + "x" * self.copies_x or "none"
        return f"rows={self.rows} panels={self.panels} chunk={self.chunk} copies={copies}"

    @classmethod
    def read(cls, text: str) -> Blocking:
        """The inverse of ``str``.

        Raises:
            ValueError: it is not of that form.
        """
        if (found := _LINE.match(text.strip())) is None:
            raise ValueError(f"expected 'rows=N panels=N chunk=N copies=none|w|x|wx', got {text.strip()!r}")
        rows, panels, chunk = (max(1, int(n)) for n in found.groups()[:3])
        copies = found[4].replace("none", "")
        return cls(rows, panels, max(2, chunk), "w" in copies, "x" in copies)


_trials: dict[str, Blocking] = {}


def find(kind: str) -> Blocking | None:
    """What is known of a class of contractions."""
    return _trials.get(kind) or _stored().get(kind)


@contextmanager
def trying(kind: str, blocking: Blocking) -> Generator[None]:
    """Let a class be cut so, for a search."""
    _trials[kind] = blocking
    try:
        yield
    finally:
        del _trials[kind]


def trials() -> str:
    """What a search tries now, as text; empty where there is none."""
    return "".join(f"{kind} : {blocking}\n" for kind, blocking in _trials.items())


@cache
def _stored() -> Mapping[str, Blocking]:
    return read(STORE.read_text())


def read(text: str) -> dict[str, Blocking]:
    """The blockings of a store's text, by class."""
    found: dict[str, Blocking] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        kind, _, blocking = line.partition(" : ")
        try:
            found[kind.strip()] = Blocking.read(blocking)
        except ValueError as error:
            raise InternalError(f"{STORE.name}:{number}: {error}") from None
    return found


def up_to(size: int) -> int:
    """The power of two that a size is counted under."""
    return 1 << max(0, size - 1).bit_length()
