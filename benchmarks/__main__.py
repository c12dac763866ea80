"""Measure tfc beside its peers: ``python benchmarks [WORKLOAD ...]``.

Each peer stands ready in a process of its own, and they run in turn, round after round, so that
what else the machine does meets all alike. A figure is the median of the rounds, with the spread
of the middle half; ratios are of medians. Before that, results are held against numpy's in
float64. What the machine can do at most is measured in the same run. ``report.py`` makes a page of it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import onnx
from form import Workload
from machine import cpu_name, describe, rates_of
from numpy_form import NumpyForm
from onnx_form import model_of
from peers import PEERS
from worker import Worker
from workloads import TABLE, WORKLOADS

from tfc.runtime.rates import Rates

TOLERANCE = 1e-4
"""Of the largest value of the reference: f32 sums of thousands of terms, a dozen layers deep."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(WORKLOADS)}; or all")
    parser.add_argument("--threads", type=int, default=1, help="threads of every peer (default 1)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of all peers (default 15)")
    parser.add_argument("--seconds", type=float, default=0.1, help="least length of one figure")
    parser.add_argument("--beside", type=int, default=0, help="measure also beside so many busy processes")
    parser.add_argument("--peers", help="comma-separated; those that are installed if left out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    names = list(WORKLOADS) if options.workloads == ["all"] else options.workloads or list(TABLE)
    wanted = options.peers.split(",") if options.peers else list(PEERS)
    for name, known in [*((n, WORKLOADS) for n in names), *((p, PEERS) for p in wanted)]:
        if name not in known:
            print(f"unknown name {name!r}; there are {', '.join(known)}", file=sys.stderr)
            return 2
    if options.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    plural = "s" if options.threads > 1 else ""
    print(f"{cpu_name()}, {options.threads} thread{plural}; ms, median (middle half)\n")
    rates, rows = rates_of(options.threads), list[dict[str, Any]]()
    for name in names:
        workload = WORKLOADS[name]()
        figures = measure(workload, [p for p in wanted if PEERS[p].takes(name)], options)
        rates = rates.best(rates_of(options.threads))
        rows.append({**facts(workload), "peers": figures})
        print(summary(rows[-1], rates), flush=True)
        if options.json:
            options.json.write_text(json.dumps(document(options, rates, rows), indent=1) + "\n")
    return 0


def measure(workload: Workload, peers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """For each peer its figures: seconds of a run, and what preparing took; or its error."""
    with tempfile.TemporaryDirectory(prefix="tfc-bench-") as folder:
        write_models(workload, Path(folder))
        workers = {p: Worker(p, workload.name, options.threads, Path(folder)) for p in peers}
        figures = {p: worker.figures for p, worker in workers.items()}
        if "error" not in figures.get("tfc", {"error": ""}):
            again = Worker("tfc", workload.name, options.threads, Path(folder))
            figures["tfc"]["warm"] = again.figures["prepare"]  # the kernels are in the cache
            again.close()
        check(workload, Path(folder), figures)
        ready = {p: w for p, w in workers.items() if "error" not in figures[p]}
        samples = rounds(ready, options)
        beside: dict[str, list[tuple[float, float]]] = {}
        if options.beside:
            with busy(options.beside):
                beside = rounds(ready, options)
        for worker in workers.values():
            worker.close()
    for p, values in samples.items():
        walls, processor = zip(*values, strict=True)
        low, median, high = statistics.quantiles(walls, n=4)
        figures[p] |= {"median": median, "low": low, "high": high, "best": min(walls)}
        figures[p]["processor"] = statistics.median(processor)
    for p, values in beside.items():
        figures[p]["beside"] = statistics.median(wall for wall, _ in values)
    return figures


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but take a core."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def write_models(workload: Workload, folder: Path) -> None:
    """The workload as files, for peers that read them; nobody reads a step of training."""
    if workload.trains:
        return
    model = model_of(workload)
    onnx.save(model, folder / "model.onnx")
    if any(n.op_type == "LSTM" for n in model.graph.node):
        onnx.save(model_of(workload, unroll=True), folder / "unrolled.onnx")


def check(workload: Workload, folder: Path, figures: dict[str, Any]) -> None:
    """Note the error of each peer's results, and that a peer is wrong."""
    form = NumpyForm(np.float64)
    expected = form.run(workload, {k: form.keep(a) for k, a in workload.inputs.items()})
    for peer in [p for p in figures if "error" not in figures[p]]:
        with np.load(folder / f"{peer}.npz") as results:
            errors = [
                float(np.max(np.abs(results[k] - y)) / np.max(np.abs(y)))
                for k, y in zip(results, expected, strict=True)
            ]
        figures[peer]["deviation"] = max(errors)
        if not max(errors) < TOLERANCE:
            figures[peer]["error"] = f"wrong by {max(errors):.1e} of the largest value"


def rounds(
    workers: dict[str, Worker], options: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of a run of each, ``options.rounds`` times, in an order that turns."""
    counts = {p: max(1, int(options.seconds / w.seconds(1)[0])) for p, w in workers.items()}
    samples: dict[str, list[tuple[float, float]]] = {p: [] for p in workers}
    order = list(workers)
    for _ in range(options.rounds):
        order.append(order.pop(0))
        for p in order:
            samples[p].append(workers[p].seconds(counts[p]))
    return samples


def facts(workload: Workload) -> dict[str, Any]:
    keys = ("name", "title", "flops", "moved")
    return {k: getattr(workload, k) for k in keys}


def document(
    options: argparse.Namespace, rates: Rates, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Everything that was measured, as `report.py` reads it."""
    used = {p for row in rows for p in row["peers"]}
    return {
        "machine": describe(),
        "threads": options.threads,
        "rounds": options.rounds,
        "rates": {"flops": rates.flops, "bandwidth": rates.bandwidth},
        "versions": {PEERS[p].package: PEERS[p].version for p in PEERS if p in used},
        "results": rows,
    }


def summary(row: dict[str, Any], rates: Rates) -> str:
    """A line for the terminal."""

    def time(f: dict[str, Any]) -> str:
        return f"{f['median'] * 1e3:.4g} ({f['low'] * 1e3:.4g}-{f['high'] * 1e3:.4g})"

    peers, ours = row["peers"], row["peers"].get("tfc", {})
    cells = [f"{row['name']:<12}"]
    if "median" in ours:
        share = rates.bound(row["flops"], row["moved"]) / ours["median"]
        cells.append(
            f"tfc {time(ours)}, {share:.0%} of the roofline, first {ours['prepare']:.2f} s;"
        )
    for name, f in peers.items():
        if "error" in f:
            cells.append(f"{name}: {f['error']}")
        elif name != "tfc":
            ratio = f" x{f['median'] / ours['median']:.2f}" if "median" in ours else ""
            cells.append(f"{name}{ratio} [{time(f)}]")
    return "  ".join(cells)


if __name__ == "__main__":
    raise SystemExit(main())
