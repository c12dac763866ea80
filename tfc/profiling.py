"""Where a run spends its time: seconds of each kernel, against what the machine could do.

    for row in model.profile(x, runs=20): ...
    print(*table(rows, rates), sep="\\n")

The model is compiled once more with clocks between its kernels, read in native code: 20 to 50 ns
for each, which are in the row. Seconds are the median of the runs after the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfc.codegen.host import timed
from tfc.dialects.host import LaunchOp
from tfc.dims import evaluate

if TYPE_CHECKING:
    from tfc.compiler import Lowered
    from tfc.runtime.program import Program
    from tfc.runtime.rates import Rates


@dataclass(frozen=True)
class Row:
    """A kernel that a run launches, or a copy, in the order of the text: in a loop it is launched many times.

    Attributes:
        kernel: its name in the code; "copy" where bytes are moved only.
        operations: what it computes, by names of operations without ``tfc.``.
        places: where these come from in the user's graph or file.
        seconds: median time that it takes in a run.
        share: of the run's time, 0 to 1.
        flops: operations on elements; a multiply-add counts as 2.
        moved: bytes of operands and results, each once a launch.
        times: how often it is launched.
        nodes: the nodes of the user's graph that it computes.
    """

    kernel: str
    operations: tuple[str, ...]
    places: str
    seconds: float
    share: float
    flops: int
    moved: int
    times: int = 1
    nodes: tuple[str, ...] = ()

    def efficiency(self, rates: Rates) -> float:
        """The share of the roofline that it reaches."""
        return rates.bound(self.flops, self.moved) / self.seconds if self.seconds else 0.0


def profile(
    lowered: Lowered, arrays: Sequence[Any], runs: int, like: Program | None = None
) -> list[Row]:
    """Run a model and time its kernels.

    Args:
        lowered: of the compiler.
        arrays: the inputs.
        runs: how often, at least 1; one more comes before.
        like: a program whose variables the runs begin with; its own stay as they are.
    """
    from tfc.compiler import load

    program = load(lowered, profiled=True)
    for k in range(len(program.manifest.variables) if like else 0):
        program.variable(k)[...] = like.variable(k) if like else 0
    operations = len(timed(lowered.program))
    times = program.times(2 * operations)
    program.run(arrays)
    samples = np.empty((runs, len(times)))
    for sample in samples:
        times[:] = 0
        program.run(arrays)
        sample[:] = times
    extents = {d.name: np.shape(arrays[d.input])[d.axis] for d in program.manifest.dims}
    medians = np.median(samples, axis=0)
    return list(_rows(lowered, medians[:operations] / 1e9, medians[operations:], extents))


def _rows(
    lowered: Lowered, seconds: NDArray[Any], counts: NDArray[Any], extents: dict[str, int]
) -> Iterator[Row]:
    works, whole = iter(lowered.works), max(float(seconds.sum()), 1e-12)
    for op, spent, count in zip(timed(lowered.program), map(float, seconds), map(int, counts), strict=True):
        if isinstance(op, LaunchOp):
            work = next(works)
            flops, moved = (count * evaluate(d, extents) for d in (work.flops, work.moved))
            yield Row(op.callee, work.operations, work.places, spent, spent / whole, flops, moved, count, work.nodes)
        else:
            moved = 2 * count * evaluate(op.size, extents)
            yield Row("copy", (), "", spent, spent / whole, 0, moved, count)


def report(lowered: Lowered, runs: int = 20) -> Iterator[str]:
    """The table of a model on random inputs."""
    from tfc.runtime.rates import measure_rates

    rates = None if lowered.program.devices else measure_rates(lowered.options.threads)
    yield from table(random_profile(lowered, runs), rates)


def costs(rows: Sequence[Row], kind: str = "CPU") -> str:
    """The rows as a file of costs, by which operations can be placed (`tfc.passes.costs`).

    Args:
        rows: of a program that ran on one device altogether.
        kind: of that device.
    """
    kernels = [{"nodes": row.nodes, "seconds": {kind: row.seconds}} for row in rows if row.nodes]
    return json.dumps({"kernels": kernels}, indent=1) + "\n"


def random_profile(lowered: Lowered, runs: int = 20) -> list[Row]:
    """The rows of a model whose inputs are random numbers, and zeros where they are integers.

    Named dims are 1: `Options.shapes` fixes them.
    """
    from tfc.codegen.host import describe_program
    from tfc.runtime.program import dtype_of

    random = np.random.default_rng(0)
    ports = describe_program(lowered.program, lowered.target)
    env = {d.name: 1 for d in ports.dims}
    shapes = [[evaluate(d, env) for d in port.shape] for port in ports.inputs]
    kinds = [dtype_of(port.dtype) for port in ports.inputs]
    arrays = [
        (random.standard_normal(shape) if kind.kind not in "iub" else np.zeros(shape)).astype(kind)
        for shape, kind in zip(shapes, kinds, strict=True)
    ]
    return profile(lowered, arrays, runs)


def table(rows: Sequence[Row], rates: Rates | None) -> Iterator[str]:
    """The rows as lines of text, one for all launches of a kernel, the slowest first.

    Args:
        rates: what the machine can do at most; None where that is not known, as of a GPU.
    """
    kernels: dict[str, list[Row]] = {}
    for row in rows:
        kernels.setdefault(row.kernel, []).append(row)
    yield f"{'ms':>9} {'share':>6} {'times':>5} {'GFLOP/s':>8} {'GB/s':>6} {'roof':>5}  kernel"
    for name, group in sorted(kernels.items(), key=lambda item: -_seconds(item[1])):
        yield f"{_numbers(group, rates)}  {name}: {' '.join(group[0].operations)}{_origin(group)}"
    yield f"{_numbers(rows, rates)}  in all"
    if rates is None:
        return
    peak = f"{rates.flops / 1e9:.0f} GFLOP/s, {rates.memory / 1e9:.0f} GB/s"
    yield f"roof: the least time that {peak} allow, as measured here"


def _numbers(group: Sequence[Row], rates: Rates | None) -> str:
    seconds = max(_seconds(group), 1e-12)
    flops, moved = sum(r.flops for r in group) / 1e9, sum(r.moved for r in group) / 1e9
    roof = f"{sum(rates.bound(r.flops, r.moved) for r in group) / seconds:.0%}" if rates else "-"
    share = sum(r.share for r in group)
    return (
        f"{seconds * 1e3:9.3f} {share:6.1%} {sum(r.times for r in group):5} {flops / seconds:8.1f} "
        f"{moved / seconds:6.1f} {roof:>5}"
    )


def _seconds(group: Sequence[Row]) -> float:
    return sum(row.seconds for row in group)


def _origin(group: Sequence[Row]) -> str:
    """Where the launches come from; the first few are told."""
    places = list(dict.fromkeys(row.places for row in group if row.places))
    more = f" and {len(places) - 2} more" if len(places) > 2 else ""
    return f"  [{'; '.join(places[:2])}{more}]" if places else ""
