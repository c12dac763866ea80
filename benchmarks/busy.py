"""What a busy neighbour costs: ``python benchmarks/busy.py [WORKLOAD ...] [--threads N] [--beside N]``.

Where all share the cores fairly and work flows to whoever has one, a model takes (threads + others) / cores times
as long as alone: 1.5 times with two threads and one busy process on two cores. Quiet windows and busy ones take
turns, as the machine itself is not the same from one second to the next; a figure is the mean time of a run, the
median over windows.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from onnx_form import model_of
from workloads import WORKLOADS

import tfc

SPIN = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(prog="busy.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="*", default=["resnet50", "bert", "lstm", "mlp"], help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beside", type=int, default=1, help="busy processes (default 1)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a window (default 0.5)")
    options = parser.parse_args()
    for name in options.workloads:
        workload = WORKLOADS[name]()
        model = tfc.compile(model_of(workload), threads=options.threads)
        inputs = [workload.inputs[port.name] for port in model.inputs]
        quiet, busy = measure(lambda: model(*inputs), options)  # noqa: B023 # called before the next turn
        q, b = statistics.median(quiet), statistics.median(busy)
        print(f"{name:10} quiet {1e3 * q:8.3f} ms  busy {1e3 * b:8.3f} ms  ratio {b / q:.2f}", flush=True)


def measure(run: Callable[[], object], options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Mean seconds of a run in each quiet and in each busy window."""
    neighbours = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(options.beside)]
    samples: tuple[list[float], list[float]] = [], []
    try:
        for k in range(2 * options.rounds):
            for process in neighbours:
                process.send_signal(signal.SIGCONT if k % 2 else signal.SIGSTOP)
            window(run, options.seconds / 5)
            samples[k % 2].append(window(run, options.seconds))
    finally:
        for process in neighbours:
            process.kill()
            process.wait()
    return samples


def window(run: Callable[[], object], seconds: float) -> float:
    """Mean seconds of a run, of as many as fit."""
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not count:
        run()
        count += 1
    return passed / count


if __name__ == "__main__":
    main()
