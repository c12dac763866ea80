"""The main job, once: an ONNX network becomes a shared library that needs no framework.

    ./tools/demo                    ResNet-50 of the onnx package: compile, load, run, compare
    ./tools/demo --model squeezenet another of its networks
    ./tools/demo --keep DIR         keep model.so and model.h

The onnx package brings nine networks and the outputs that a reference implementation gave for
them. Their shapes are the real ones, their weights are made up (constant), so the files are small.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RTOL, ATOL = 1e-3, 1e-7
"""The tolerances that the onnx package itself gives for these outputs."""


def main() -> int:
    options = _options()
    import onnx

    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    source = folder / f"light_{options.model}.onnx"
    if not source.exists():
        known = sorted(p.stem.removeprefix("light_") for p in folder.glob("*.onnx"))
        print(f"there is no {options.model!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tfc-demo-") as temporary:
        kept = Path(options.keep or temporary)
        kept.mkdir(parents=True, exist_ok=True)
        library = kept / "model.so"
        seconds = compile_ahead(source, library, options.threads)
        return run_and_compare(library, folder / f"light_{options.model}_output_0.pb", seconds)


def compile_ahead(source: Path, library: Path, threads: int) -> float:
    """Compile as a user does, by the tool in a process of its own; the seconds it took."""
    print(f"$ tfc-compile {source.name} -o {library.name} --threads={threads}", flush=True)
    command = [sys.executable, "-m", "tfc.cli.compile", str(source), "-o", str(library)]
    began = time.perf_counter()
    done = subprocess.run([*command, f"--threads={threads}"], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return time.perf_counter() - began


def run_and_compare(library: Path, expected_file: Path, compile_seconds: float) -> int:
    """Run the library, compare its output with the stored one, print the figures."""
    import onnx

    import tfc

    model = tfc.load(library)
    (given,) = model.inputs
    size = int(np.prod(given.shape))
    x = (np.arange(size).reshape(given.shape) / size).astype(np.float32)  # as the onnx package does
    y = model(x)
    expected = onnx.numpy_helper.to_array(onnx.load_tensor(str(expected_file)))
    worst = float(np.max(np.abs(y - expected) / (ATOL / RTOL + np.abs(expected))))
    agrees = bool(np.allclose(y, expected, rtol=RTOL, atol=ATOL))
    print(f"\noutput    {y.dtype}{list(y.shape)}, largest relative difference {worst:.1e}: "
          f"{'agrees with' if agrees else 'DIFFERS from'} the stored reference")  # fmt: skip
    times = latencies(lambda: model(x))
    print(
        f"latency   {np.median(times) * 1e3:.1f} ms (median of {len(times)}; best {min(times) * 1e3:.1f})"
    )
    print(f"artifact  {library.stat().st_size / 1e6:,.1f} MB, and a header of "
          f"{library.with_suffix('.h').stat().st_size / 1e3:.1f} KB")  # fmt: skip
    print(f"compiled  in {compile_seconds:.1f} s")
    return 0 if agrees else 1


def latencies(call, at_most: float = 3.0) -> list[float]:
    """The seconds of several calls: until ``at_most`` seconds are spent, at least 5, at most 100."""
    times: list[float] = []
    while len(times) < 5 or (sum(times) < at_most and len(times) < 100):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="resnet50", help="resnet50, squeezenet, densenet121, ..."
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of a run (1)")
    parser.add_argument("--keep", metavar="DIR", help="where to keep the library and its header")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
