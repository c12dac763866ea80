"""Code generation on several cores: processes that take LLVM text and give back objects.

    objects = generate_all(texts, machine)

LLVM as llvmlite holds it does one thing at a time, so threads would not help. A worker is a Python
that imports llvmlite and this file only (a tenth of a second), and is told everything over its
pipes: it does not import the caller's main module. This process works too, so what workers do is
gained, and what they fail to do it does itself. They are started where there is enough to do and a
core that is idle, and end with it.

    TFC_JOBS    how many processes generate code at once, 1 for this one alone
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tfc.codegen.llvm import Machine, generate, generator

if TYPE_CHECKING:
    from subprocess import Popen

CHARACTERS_PER_SECOND = 1_200_000
"""Of LLVM text, as one core generates it."""

MIN_SECONDS = 0.3
"""Estimated work below which no worker is started: two cores then gain 0.1 s or less."""


def generate_all(texts: Sequence[str], machine: Machine) -> list[bytes]:
    """An object of each text, in order; raises as `generate` does."""
    work = _Work(texts, machine)
    helpers = [threading.Thread(target=work.help) for _ in range(_helpers(texts))]
    for helper in helpers:
        helper.start()
    try:
        work.drain()
    except BaseException:
        work.waiting.clear()
        raise
    finally:
        for worker in list(work.starting):  # all is done already
            worker.kill()
        for helper in helpers:
            helper.join()
    work.drain()  # what a helper gave back
    return work.results()


def _helpers(texts: Sequence[str]) -> int:
    """How many workers are worth their start."""
    seconds = sum(map(len, texts)) / CHARACTERS_PER_SECOND
    if seconds < MIN_SECONDS or not _is_python():
        return 0
    return max(0, min(_jobs(), len(texts), round(seconds / MIN_SECONDS) + 1) - 1)


def _jobs() -> int:
    """How many processes may work: as many as there are idle cores, and this one."""
    given = os.environ.get("TFC_JOBS", "")
    if given.isascii() and given.isdigit():
        return int(given)
    try:
        return len(os.sched_getaffinity(0)) - max(0, round(os.getloadavg()[0]) - 1)
    except (AttributeError, OSError):  # not on this system
        return os.cpu_count() or 1


def _is_python() -> bool:
    """Whether running `sys.executable` starts a Python, and not the program that embeds one."""
    return bool(sys.executable) and Path(sys.executable).name.startswith("python")


class _Work:
    """Texts that wait, the longest first, and the objects that are made."""

    def __init__(self, texts: Sequence[str], machine: Machine) -> None:
        self.texts, self.machine = texts, machine
        order = sorted(range(len(texts)), key=lambda k: -len(texts[k]))
        self.waiting = deque(order)
        self.made: dict[int, bytes] = {}
        self.starting: list[Popen[bytes]] = []

    def drain(self) -> None:
        """Generate in this process until nothing waits."""
        with suppress(IndexError):
            while True:
                k = self.waiting.popleft()
                self.made[k] = generate(self.texts[k], self.machine)

    def help(self) -> None:
        """Let a worker do it; where that fails, its text waits again."""
        k: int | None = None
        try:
            worker = _start()
            with worker, worker.stdin as to, worker.stdout as back:  # pyright: ignore # both are pipes
                send(to, json.dumps(self.machine).encode())
                self.starting.append(worker)
                receive(back)  # it is ready: until then, work waits for this process
                self.starting.remove(worker)
                while self.waiting:
                    k = self.waiting.popleft()
                    send(to, self.texts[k].encode())
                    if data := receive(back):
                        self.made[k] = data
                        k = None
                    else:  # invalid: this process says why
                        break
                worker.kill()  # it has nothing to tidy up
        except (OSError, EOFError, IndexError):
            pass
        if k is not None:
            self.waiting.append(k)

    def results(self) -> list[bytes]:
        return [self.made[k] for k in range(len(self.texts))]


def _start() -> Popen[bytes]:
    """A worker: a Python that finds modules where this one does, and runs `serve`."""
    import subprocess

    import tfc

    path = [str(Path(tfc.__file__).parent.parent), *filter(None, sys.path)]
    program = f"import sys; sys.path[:] = {path!r}; from tfc.codegen.workers import serve; serve()"
    command = [sys.executable, "-I", "-S", "-c", program]
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none)


def serve() -> None:
    """Say that one is ready; answer texts with objects, an empty one where the text is invalid."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        machine = Machine(*json.loads(receive(source)))
        generator(machine)
        send(sink, b"ready")
        while True:
            text = receive(source).decode()
            try:
                data = generate(text, machine)
            except RuntimeError:
                data = b""
            send(sink, data)


def send(pipe: IO[bytes], data: bytes) -> None:
    """Write ``data`` behind its length."""
    pipe.write(len(data).to_bytes(8, "little") + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    """What `send` wrote; raises EOFError where the other side is gone."""
    return _exactly(pipe, int.from_bytes(_exactly(pipe, 8), "little"))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data
