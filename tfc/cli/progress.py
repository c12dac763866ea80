"""How far a long compilation is: one line on a terminal, repainted; nothing anywhere else.

     42%  fold-constants           12 s

It shows itself after a second, so a short compilation prints nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from tfc.passes.instrumentation import Instrument

PATIENCE = 1.0
"""Seconds before the line is first painted."""

PERIOD = 0.2
"""Seconds between two paintings."""


class Progress:
    """The line, painted by a thread of its own while the block runs.

    Args:
        stream: where to paint; stderr if left out. Nothing is painted where it is no terminal.
        quiet: paint nothing at all.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.quiet = quiet or not self.stream.isatty()
        self.label, self.share = "starting", 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._paint_all, daemon=True)

    def at(self, label: str, share: float) -> None:
        """Say what is being done, and how much of the whole is behind: 0 to 1."""
        self.label, self.share = label, share

    def __enter__(self) -> Self:
        if not self.quiet:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def line(self, seconds: float) -> str:
        """What is painted after so many seconds."""
        return f"{self.share:4.0%}  {self.label:<28.28} {seconds:4.0f} s"

    def _paint_all(self) -> None:
        painted = False
        wait = PATIENCE
        began = time.monotonic()
        while not self._done.wait(wait):
            self._say(f"\r{self.line(time.monotonic() - began)}")
            painted, wait = True, PERIOD
        if painted:
            self._say(f"\r{' ' * len(self.line(0))}\r")

    def _say(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def watching(progress: Progress, passes: int, first: float, last: float) -> Instrument:
    """An instrument that moves ``progress`` from ``first`` to ``last`` in so many ``passes``."""
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from tfc.passes.instrumentation import Instrument

    class Watch(Instrument):
        count = 0

        def before(self, pass_: ModulePass, module: ModuleOp) -> None:
            share = min(1.0, self.count / max(1, passes))
            progress.at(pass_.name, first + (last - first) * share)
            self.count += 1

    return Watch()
