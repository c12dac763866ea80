"""One peer with one workload in a process of its own: ``worker.py PEER WORKLOAD THREADS FOLDER``.

Prepares it, leaves its results in ``FOLDER/PEER.npz``, writes a line about both, and then for each line
with a number runs it so often and writes
the seconds of a run, by the clock and of the processor. `Worker` is the other end of that.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


class Worker:
    """Starts a worker, and waits until it has prepared the workload.

    Attributes:
        figures: what it said: ``prepare`` in seconds, ``memory`` in bytes, or an ``error``.
    """

    def __init__(self, peer: str, workload: str, threads: int, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, peer, workload, str(threads), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment(threads, folder),
        )  # fmt: skip
        line = self._read()
        self.figures: dict[str, Any] = json.loads(line) if line else {"error": self._error()}

    def seconds(self, runs: int) -> tuple[float, float]:
        """Seconds of a run, and of processor time: means of ``runs`` after one not counted."""
        assert self.process.stdin is not None, "it is a pipe"
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        wall, processor = self._read().split()
        return float(wall), float(processor)

    def close(self) -> None:
        self.process.communicate()

    def _read(self) -> str:
        assert self.process.stdout is not None, "it is a pipe"
        return self.process.stdout.readline()

    def _error(self) -> str:
        lines = self.process.communicate()[1].strip().splitlines()
        return lines[-1][:200] if lines else f"ended with {self.process.returncode}"


def environment(threads: int, folder: Path) -> dict[str, str]:
    """The environment in which every library uses this many threads, and caches in ``folder``."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    flags = (
        f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} "
        f"intra_op_parallelism_threads={threads}"
    )
    caches = {
        "TFC_CACHE_DIR": str(folder / "tfc"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    given = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | caches
    return os.environ | dict.fromkeys(names, str(threads)) | given


def main(peer: str, name: str, threads: str, folder: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print

    import numpy as np
    from peers import PEERS, Case, artifact_size
    from workloads import WORKLOADS

    def answer(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    case = Case(WORKLOADS[name](), Path(folder), int(threads), {})
    if PEERS[peer].draws:
        case.weights  # noqa: B018 # drawn before the clock starts
    start = time.perf_counter()
    for module in (PEERS[peer].package, *PEERS[peer].imports):
        import_module(module)
    figures: dict[str, Any] = {"import": time.perf_counter() - start}
    gc.collect()
    forget_peak()
    start = time.perf_counter()
    run = PEERS[peer].prepare(case)
    results = run()
    figures |= {"prepare": time.perf_counter() - start, "memory": peak()}
    results = results if isinstance(results, list | tuple) else [results]
    np.savez(Path(folder) / f"{peer}.npz", *[np.asarray(r) for r in results])
    if peer == "tfc" and not case.workload.trains:
        figures["artifact"] = artifact_size(run)
    answer(json.dumps(figures | case.notes))
    for line in sys.stdin:
        run()  # what ran before has emptied the caches
        count = range(int(line))
        processor, start = time.process_time(), time.perf_counter()
        for _ in count:
            run()
        wall, processor = time.perf_counter() - start, time.process_time() - processor
        answer(f"{wall / len(count)} {processor / len(count)}")


def forget_peak() -> None:
    """Let `peak` count from here, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak() -> int:
    """Most bytes of memory that this process has had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(x.split()[1]) for x in lines if x.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(*sys.argv[1:])
