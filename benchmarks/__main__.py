"""Measure tfc beside its peers: ``python benchmarks [WORKLOAD ...]``.

All peers run in one process, in turn, round after round, so that what else the machine does meets
all alike. A figure is the median of the rounds, with the spread of the middle half; ratios are
of medians. Results are checked against each other before they are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("workloads", nargs="*", help="which to run; all if left out")
    parser.add_argument("--threads", type=int, default=1, help="threads of every peer (default 1)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of all peers (default 15)")
    parser.add_argument("--seconds", type=float, default=0.1, help="least length of one figure")
    parser.add_argument("--peers", help="comma-separated; those that are installed if left out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(options.threads)  # before numpy is imported
    os.environ.setdefault(
        "XLA_FLAGS",
        f"--xla_cpu_multi_thread_eigen={str(options.threads > 1).lower()} "
        f"intra_op_parallelism_threads={options.threads}",
    )
    if options.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    from models import WORKLOADS
    from peers import PEERS, runs_on

    unknown = [w for w in options.workloads if w not in WORKLOADS]
    if unknown:
        print(f"unknown workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}", file=sys.stderr)
        return 2
    wanted = options.peers.split(",") if options.peers else list(PEERS)
    rows: list[dict[str, Any]] = []
    print(header(options.threads))
    for name in options.workloads or WORKLOADS:
        workload = WORKLOADS[name]()
        peers = [p for p in wanted if runs_on(p, workload)]
        figures = measure(workload, {p: PEERS[p] for p in peers}, options)
        rows.append({"workload": workload.name, "threads": options.threads, "peers": figures})
        print(row(workload, figures), flush=True)
    if options.json:
        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
        options.json.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n")
    return 0


def measure(workload: Any, peers: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a run for each peer: median, quartiles, and how long preparing took."""
    import numpy as np

    runs, figures, reference = {}, {}, None
    for name, prepare in peers.items():
        start = time.perf_counter()
        runs[name] = prepare(workload, options.threads)
        result = np.asarray(runs[name]())
        figures[name] = {"prepare": time.perf_counter() - start}
        reference = result if reference is None else reference
        error = float(np.max(np.abs(result - reference)) / max(1e-30, float(np.max(np.abs(reference)))))
        if not error < 1e-4:
            raise SystemExit(f"{workload.name}: {name} differs by {error:.1e} from {next(iter(peers))}")
    samples: dict[str, list[float]] = {name: [] for name in runs}
    counts = {name: repetitions(run, options.seconds) for name, run in runs.items()}
    for _ in range(options.rounds):
        for name, run in runs.items():
            run()  # what ran before has emptied the caches
            start = time.perf_counter()
            for _ in range(counts[name]):
                run()
            samples[name].append((time.perf_counter() - start) / counts[name])
    for name, values in samples.items():
        quarters = statistics.quantiles(values, n=4)
        figures[name] |= {"median": statistics.median(values), "low": quarters[0], "high": quarters[2]}
    return figures


def repetitions(run: Any, seconds: float) -> int:
    start = time.perf_counter()
    run()
    return max(1, int(seconds / max(1e-7, time.perf_counter() - start)))


def header(threads: int) -> str:
    line = f"{cpu_name()}, {threads} thread{'s' if threads > 1 else ''}; ms, median (middle half)"
    return f"{line}\n\n{'workload':<24}{'tfc':>22}  peer / tfc: above 1 tfc is faster"


def row(workload: Any, figures: dict[str, Any]) -> str:
    def text(name: str) -> str:
        f = figures[name]
        return f"{f['median'] * 1e3:.3f} ({f['low'] * 1e3:.3f}-{f['high'] * 1e3:.3f})"

    ours = figures.get("tfc")
    cells = [f"{workload.name:<24}{text('tfc') if ours else '-':>22}"]
    for name in figures:
        if name != "tfc" and ours:
            cells.append(f"{name} {figures[name]['median'] / ours['median']:.2f} [{text(name)}]")
    if ours:
        cells.append(f"{workload.flops / ours['median'] / 1e9:.1f} GFLOP/s, first result {ours['prepare']:.2f} s")
    return "  ".join(cells)


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
