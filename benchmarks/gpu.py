"""Models on a GPU beside their peers: ``python benchmarks/gpu.py [PATTERN ...]``.

    matmul-f32-4096      2.93 ms     46.9 TFLOP/s    0.71 x peak     torch 1.02    torch compiled 1.01    jax 1.05

A figure is the median of several times on the device, each between two events around so many runs that they take a
tenth of a second; inputs and results stay in its memory. Behind each peer that is installed stands its time over
that of tfc. What arithmetic bounds is held against the best product of matrices of its type that any of them reached, what
memory bounds against a copy of 1 GB (bytes read and bytes written). Results are first compared with numpy's. Without a
GPU it says so; ``--emulate`` runs every case small on the emulator, to see that it is right.
"""

from __future__ import annotations

import argparse
import ctypes
import fnmatch
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import ml_dtypes
import networks
import numpy as np
from form import Array, Workload
from onnx_form import drawn_weights, model_of

import tfc
import tfc as tf
from tfc.runtime import cuda

Run = Callable[[], Any]
"""Begins one run; what comes out stays on the device."""

SECONDS, TIMES = 0.1, 9
"""Length of one figure, and how many there are."""

TOLERANCES = {"f32": 2e-5, "tf32": 2e-3, "bf16": 2e-2}
"""Of the largest value of the reference."""

KINDS = {"f32": np.dtype(np.float32), "tf32": np.dtype(np.float32), "bf16": np.dtype(ml_dtypes.bfloat16)}


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Attributes:
        kind: of its elements and products: "f32", "tf32" or "bf16".
        inputs: makes them, each a new draw.
        graph: the outputs of tfc's graph, from its placeholders; None for a workload of `form`.
        peer: the same in torch or jax, by the functions of their modules.
        reference: what numpy makes of it.
        flops, moved: operations, and bytes that have to be read or written; 0 where the other one bounds.
    """

    name: str
    kind: str
    inputs: Callable[[], list[Array]]
    graph: Callable[..., Any] | None = None
    torch: Callable[..., Any] | None = None
    jax: Callable[..., Any] | None = None
    reference: Callable[..., Any] | None = None
    workload: Workload | None = None
    flops: float = 0
    moved: float = 0


# What is measured


def cases(small: bool) -> Iterator[Case]:
    """All cases; in sizes for an emulator if ``small``."""
    for kind in KINDS:
        for n in (48,) if small else (512, 1024, 2048, 4096, 8192):
            yield matmul(kind, n)
    yield elementwise(1 << (10 if small else 26))
    for kind in ("f32", "bf16"):
        rows, columns = (5, 96) if small else (16384, 4096)
        yield of_rows("softmax", kind, rows, columns)
        yield of_rows("layer-norm", kind, rows, columns)
        yield attention(kind, *((2, 40, 16) if small else (16, 2048, 64)))
        yield decoding(kind, *((2, 300, 16) if small else (64, 8192, 128)))
        yield vector(kind, *((300, 40) if small else (8192, 8192)))
    yield from of_networks(small)


def draw(kind: str, *shapes: tuple[int, ...]) -> Callable[[], list[Array]]:
    random = np.random.default_rng(1)
    return lambda: [random.standard_normal(s, np.float32).astype(KINDS[kind]) for s in shapes]


def matmul(kind: str, n: int) -> Case:
    return Case(
        f"matmul-{kind}-{n}", kind, draw(kind, (n, n), (n, n)), tf.matmul, lambda t, x, y: t.matmul(x, y),
        lambda j, x, y: j.numpy.matmul(x, y), lambda x, y: x @ y, flops=2.0 * n**3,
    )  # fmt: skip


def elementwise(n: int) -> Case:
    """Four operations on three operands: one pass over memory."""
    return Case(
        f"relu(x*y+z)-{n >> 20 or n}{'M' if n >> 20 else ''}", "f32", draw("f32", *[(n,)] * 3), lambda x, y, z: tf.nn.relu(x * y + z),
        lambda t, x, y, z: t.relu(x * y + z), lambda j, x, y, z: j.nn.relu(x * y + z), lambda x, y, z: np.maximum(x * y + z, 0),
        moved=16.0 * n,
    )  # fmt: skip


def of_rows(what: str, kind: str, rows: int, columns: int) -> Case:
    size = KINDS[kind].itemsize

    def norm(x: Any) -> Any:
        mean = tf.reduce_mean(x, 1, keepdims=True)
        apart = x - mean
        return apart * tf.rsqrt(tf.reduce_mean(apart * apart, 1, keepdims=True) + 1e-5)

    def reference(x: Array) -> Array:
        if what == "softmax":
            powers = np.exp(x - x.max(1, keepdims=True))
            return powers / powers.sum(1, keepdims=True)
        return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)

    def jax_(j: Any, x: Any) -> Any:
        return j.nn.softmax(x, -1) if what == "softmax" else j.nn.standardize(x, -1, epsilon=1e-5)

    torch_ = {
        "softmax": lambda t, x: t.softmax(x, -1),
        "layer-norm": lambda t, x: t.nn.functional.layer_norm(x, x.shape[-1:]),
    }[what]
    graph = tf.nn.softmax if what == "softmax" else norm
    name = f"{what}-{kind}-{rows}x{columns}"
    return Case(name, kind, draw(kind, (rows, columns)), graph, torch_, jax_, reference, moved=2.0 * size * rows * columns)


def vector(kind: str, rows: int, columns: int) -> Case:
    """A vector times a matrix: a layer for one token."""
    size = KINDS[kind].itemsize
    return Case(
        f"vector-{kind}-{rows}x{columns}", kind, draw(kind, (1, rows), (rows, columns)), tf.matmul, lambda t, x, y: t.matmul(x, y),
        lambda j, x, y: j.numpy.matmul(x, y), lambda x, y: x @ y, moved=float(size) * rows * columns,
    )  # fmt: skip


def decoding(kind: str, heads: int, tokens: int, width: int) -> Case:
    """Attention of one new token to all before it: keys and values are read once."""
    one, moved = attention(kind, heads, tokens, width, rows=1), 2.0 * KINDS[kind].itemsize * heads * tokens * width
    return replace(one, name=f"decoding-{kind}-{heads}x{tokens}x{width}", flops=0, moved=moved)


def attention(kind: str, heads: int, tokens: int, width: int, rows: int = 0) -> Case:
    """Scaled dot-product attention of one item, without a mask, of all tokens or of some ``rows``."""
    shape, scale = (1, heads, tokens, width), width**-0.5

    def graph(q: Any, k: Any, v: Any) -> Any:
        return tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * scale), v)

    def reference(q: Array, k: Array, v: Array) -> Array:
        scores = q @ np.swapaxes(k, -1, -2) * scale
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True) @ v

    def jax_(j: Any, q: Any, k: Any, v: Any) -> Any:
        return j.nn.softmax(q @ j.numpy.swapaxes(k, -1, -2) * scale, -1) @ v

    return Case(
        f"attention-{kind}-{heads}x{tokens}x{width}", kind, draw(kind, (1, heads, rows or tokens, width), shape, shape), graph,
        lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v), jax_, reference,
        flops=4.0 * heads * tokens**2 * width,
    )  # fmt: skip


def of_networks(small: bool) -> Iterator[Case]:
    """Networks of the CPU's benchmarks, and larger batches of them."""
    if small:
        made = [networks.resnet50(32, 8, (1, 1)), networks.bert(1, 32, 2, 12), networks.gpt2(1, 32, 2, 7, 50)]
    else:
        made = [networks.resnet50(), networks.resnet50(batch=32), networks.bert(), networks.bert(batch=32), networks.gpt2()]
    for workload in made:
        batch = next(iter(workload.inputs.values())).shape[0] if workload.name != "gpt2" else 1
        for kind in ("f32", "tf32"):
            yield Case(
                f"{workload.name}-{batch}-{kind}", kind, lambda w=workload: list(w.inputs.values()), workload=workload,
                flops=workload.flops if workload.name != "gpt2" else 0, moved=workload.moved if workload.name == "gpt2" else 0,
            )  # fmt: skip


# Who runs it


def of_tfc(case: Case, inputs: Sequence[Array], cpu: str | None) -> tuple[Run, Callable[[], list[Array]]]:
    """tfc's run, on a stream, and what it gives."""
    options: dict[str, Any] = {"device": "gpu", "cpu": cpu, "allow_tf32": case.kind == "tf32"}
    if case.workload is not None:
        model = tfc.compile(model_of(case.workload), name="model", **options)
    else:
        assert case.graph is not None, "a case is a graph or a workload"
        with tf.Graph().as_default():
            feeds = [tf.placeholder(tf.as_dtype(a.dtype), a.shape, name=f"x{k}") for k, a in enumerate(inputs)]
            model = tfc.compile(case.graph(*feeds), feeds, name="model", **options)
    held = [cuda.DeviceArray.of(a) for a in inputs]
    out = model.run_device(held)
    return (lambda: model.run_device(held, out, stream=_stream())), lambda: [np.asarray(o) for o in out]


def of_torch(case: Case, inputs: Sequence[Array], *, compiled: bool) -> Run:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = case.kind == "tf32"
    kind = torch.bfloat16 if case.kind == "bf16" else None
    held = [torch.from_numpy(np.ascontiguousarray(a.astype(np.float32) if kind else a)).cuda() for a in inputs]
    held = [h.to(kind) if kind else h for h in held]
    if case.workload is not None:
        from torch_form import TorchForm

        class OnGpu(TorchForm):
            """The workload with its weights on the GPU."""

            def keep(self, array: Array) -> Any:
                return super().keep(array).cuda()

            def keep_filter(self, array: Array) -> Any:
                return super().keep_filter(array).cuda()

        form = OnGpu(drawn_weights(case.workload))
        names = list(case.workload.inputs)

        def run() -> Any:
            return form.run(case.workload, dict(zip(names, held, strict=True)))  # pyright: ignore
    else:

        def run() -> Any:
            return case.torch(torch, *held)  # pyright: ignore[reportOptionalCall]

    made = torch.compile(run) if compiled else run

    def begun() -> Any:
        with torch.inference_mode() if not compiled else torch.no_grad():
            return made()

    begun()
    torch.cuda.synchronize()
    return begun


def of_jax(case: Case, inputs: Sequence[Array]) -> Run:
    import jax

    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if case.kind == "tf32" else "highest")
    assert case.jax is not None, "workloads have no form for jax on a GPU"
    held = [jax.device_put(a) for a in inputs]
    compute = jax.jit(lambda *values: case.jax(jax, *values))  # pyright: ignore[reportOptionalCall]
    return lambda: compute(*held)


def peers(case: Case) -> dict[str, Callable[[Sequence[Array]], Run]]:
    """Who else runs a case here."""
    found: dict[str, Callable[[Sequence[Array]], Run]] = {}
    if importlib.util.find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            found["torch"] = lambda inputs: of_torch(case, inputs, compiled=False)
            found["torch compiled"] = lambda inputs: of_torch(case, inputs, compiled=True)
    if importlib.util.find_spec("jax") and case.jax is not None:
        import jax

        if jax.default_backend() == "gpu":
            found["jax"] = lambda inputs: of_jax(case, inputs)
    return found


# Clocks


def _stream() -> int:
    """The stream of this program."""
    if not _made:
        value = ctypes.c_void_p()
        cuda.driver().call("cuStreamCreate", ctypes.addressof(value), 1)
        _made.append(value.value or 0)
    return _made[0]


_made: list[int] = []


def device_time(run: Run) -> float:
    """Seconds of one run of tfc, by events on its stream."""
    driver, events = cuda.driver(), [ctypes.c_void_p(), ctypes.c_void_p()]
    for event in events:
        driver.call("cuEventCreate", ctypes.addressof(event), 0)

    def taken(runs: int) -> float:
        driver.call("cuEventRecord", events[0], _stream())
        for _ in range(runs):
            run()
        driver.call("cuEventRecord", events[1], _stream())
        driver.call("cuEventSynchronize", events[1])
        milliseconds = ctypes.c_float()
        driver.call("cuEventElapsedTime_v2", ctypes.addressof(milliseconds), events[0], events[1])
        return milliseconds.value / 1e3

    return _median(taken)


def wall_time(run: Run, wait: Callable[[Any], object]) -> float:
    """Seconds of one run, of libraries with streams of their own: begun one after the other, waited for once."""

    def taken(runs: int) -> float:
        start, result = time.perf_counter(), None
        for _ in range(runs):
            result = run()
        wait(result)
        return time.perf_counter() - start

    return _median(taken)


def _median(taken: Callable[[int], float]) -> float:
    for _ in range(3):  # what is compiled or captured at first
        taken(1)
    runs = max(1, round(SECONDS / max(taken(3) / 3, 1e-7)))
    return statistics.median(taken(runs) / runs for _ in range(TIMES))


def copy_rate() -> float:
    """Bytes a second that a copy within device memory reads and writes."""
    driver, size = cuda.driver(), 1 << 30
    x, y = (driver.allocate(size) for _ in range(2))
    return 2 * size / device_time(lambda: driver.call("cuMemcpyDtoDAsync_v2", y.address, x.address, size, _stream()))


def waiting(name: str) -> Callable[[Any], object]:
    """What waits for a peer's runs, by what the last one gave."""
    if name.startswith("torch"):
        import torch

        return lambda _: torch.cuda.synchronize()
    return lambda result: result.block_until_ready()


# Figures


def compare(case: Case, inputs: Sequence[Array], got: Sequence[Array]) -> float:
    """The largest difference from numpy, over the largest value; of matrices, of the first rows."""
    if case.workload is not None:
        from numpy_form import NumpyForm

        names, exact = list(case.workload.inputs), [a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs]
        want = NumpyForm(np.float64).run(case.workload, dict(zip(names, exact, strict=True)))
    else:
        assert case.reference is not None, "a case is a graph or a workload"
        exact, few = [np.asarray(a, np.float64) for a in inputs], 64
        if case.name.startswith("matmul"):
            exact[0] = exact[0][:few]
        want = [case.reference(*exact)]
        got = [g[:few] if case.name.startswith("matmul") else g for g in got]
    errors = [np.max(abs(np.asarray(g, np.float64) - w)) / max(np.max(abs(w)), 1e-30) for g, w in zip(got, want, strict=True)]
    return float(max(errors))


@dataclass
class Figures:
    """What one case took."""

    case: Case
    seconds: float
    peers: dict[str, float]

    def line(self, peak: dict[str, float], copied: float) -> str:
        case, share = self.case, ""
        if case.flops:
            rate = case.flops / self.seconds
            share = f"{rate / 1e12:8.1f} TFLOP/s {rate / peak[case.kind]:6.2f} x peak" if case.kind in peak else ""
        elif case.moved:
            rate = case.moved / self.seconds
            share = f"{rate / 1e9:8.0f} GB/s    {rate / copied:6.2f} x copy"
        others = "   ".join(f"{n} {t / self.seconds:.2f}" for n, t in self.peers.items())
        return f"{case.name:28} {self.seconds * 1e3:9.3f} ms {share:30}   {others}"


def measure(case: Case) -> Figures:
    inputs = case.inputs()
    run, results = of_tfc(case, inputs, None)
    error = compare(case, inputs, results())
    if not error <= TOLERANCES[case.kind] * (20 if case.workload is not None else 1):
        raise SystemExit(f"{case.name}: differs from numpy by {error:.1e} of the largest value")
    seconds, others = device_time(run), dict[str, float]()
    for name, make in peers(case).items():
        try:
            others[name] = wall_time(make(inputs), waiting(name))
        except Exception as problem:  # a peer that cannot is no reason to stop
            print(f"{case.name}: {name}: {str(problem).splitlines()[0]}", file=sys.stderr)
    return Figures(case, seconds, others)


def peaks(rows: Sequence[Figures]) -> dict[str, float]:
    """The best rate of products of each type, by whomever."""
    best: dict[str, float] = {}
    for row in rows:
        if row.case.name.startswith("matmul"):
            rate = row.case.flops / min([row.seconds, *row.peers.values()])
            best[row.case.kind] = max(best.get(row.case.kind, 0.0), rate)
    return best


def measure_all(chosen: Sequence[Case]) -> None:
    """Measure and print the cases."""
    here, copied = cuda.driver().properties(), copy_rate()
    print(f"{here.name}, {here.multiprocessors} multiprocessors; a copy moves {copied / 1e9:.0f} GB/s", flush=True)
    for name in ("torch", "jax"):
        if not importlib.util.find_spec(name):
            print(f"{name} is not installed, so it is no peer here")
    print(flush=True)
    rows: list[Figures] = []
    for case in chosen:
        rows.append(measure(case))
        print(rows[-1].line(peaks(rows), copied), flush=True)


def emulate(chosen: Sequence[Case]) -> None:
    """Run the cases, small, on the emulator and compare them."""
    from tfc.emulator.driver import Driver

    gpu = Driver()
    cuda.use_driver(gpu.table, gpu)
    for case in chosen:
        inputs = case.inputs()
        _, results = of_tfc(case, inputs, "sm_90")
        print(f"{case.name:28} differs by {compare(case, inputs, results()):.1e} of the largest value", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__.split("\n")[0])  # pyright: ignore
    parser.add_argument("patterns", nargs="*", help="names of cases; all if left out")
    parser.add_argument("--emulate", action="store_true", help="run small cases on the emulator; no times")
    options = parser.parse_args(arguments)
    chosen = [c for c in cases(options.emulate) if not options.patterns or any(fnmatch.fnmatch(c.name, p) for p in options.patterns)]
    if options.emulate:
        emulate(chosen)
        return 0
    if not cuda.is_available():
        print("benchmarks/gpu.py: there is no GPU here (libcuda.so.1 was not found, or finds none)", file=sys.stderr)
        return 1
    with cuda.driver().within(0):
        measure_all(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
