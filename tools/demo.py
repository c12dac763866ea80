"""The main job: an ONNX network becomes a shared library that needs no framework.

    ./tools/demo                      ResNet-50 of the onnx package: compile, load, run, compare
    ./tools/demo --model squeezenet   another of its networks
    ./tools/demo --keep DIR           keep the libraries and their headers

The onnx package brings networks of the real shapes with the outputs that a reference gave for
them. To be small, these files have one constant for all weights, and so one number for all
outputs. The demo therefore runs twice: on the file as it is, against the stored output; and on
the network with random weights, against the evaluator of the onnx package, which is numpy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

import tfc

RTOL, ATOL = 1e-3, 1e-7
"""The tolerances that the onnx package itself gives for the stored outputs."""

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

WRONG_IN_REFERENCE = {"LRN"}
"""Operators that the evaluator of onnx 1.23 gets wrong: its window lacks the last channel."""

SPREAD = {1: (0.5, 0.1), 2: (0.0, 0.1), 3: (0.0, 0.1), 4: (1.0, 0.1)}
"""Mean and deviation of what a batch normalisation takes: scale, bias, mean, variance."""


def main() -> int:
    options = _options()
    source = LIGHT / f"light_{options.model}.onnx"
    if not source.exists():
        known = sorted(p.stem.removeprefix("light_") for p in LIGHT.glob("*.onnx"))
        print(f"there is no {options.model!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tfc-demo-") as temporary:
        folder = Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"# {options.model} as it is in the onnx package: weights of one constant\n")
        library, _ = compile_ahead(source, folder / f"{options.model}-light.so", options.threads)
        stored = onnx.load_tensor(str(LIGHT / f"light_{options.model}_output_0.pb"))
        model = tfc.load(library)
        agrees = report(model(ramp(model)), numpy_helper.to_array(stored), "the stored output")

        network = with_weights(onnx.load(str(source)))
        if wrong := WRONG_IN_REFERENCE & {n.op_type for n in network.graph.node}:
            print(f"\nno second run: the reference computes {', '.join(wrong)} in another way")
            return 0 if agrees else 1
        print(f"\n# {options.model} with random weights\n")
        onnx.save(network, str(Path(temporary) / f"{options.model}.onnx"))
        source = Path(temporary) / f"{options.model}.onnx"
        library, seconds = compile_ahead(source, folder / f"{options.model}.so", options.threads)
        model = tfc.load(library)
        x = noise(model)
        agrees &= report(model(x), evaluated(network, x), "the evaluator of onnx")
        times = latencies(lambda: model(x))
        header = library.with_suffix(".h").stat().st_size
        print(f"latency   {np.median(times) * 1e3:.1f} ms, the median of {len(times)} runs")
        print(f"artifact  {library.stat().st_size / 1e6:.1f} MB, its header {header / 1e3:.1f} KB")
        print(f"compiled  in {seconds:.1f} s")
        return 0 if agrees else 1


def compile_ahead(source: Path, library: Path, threads: int) -> tuple[Path, float]:
    """Compile as a user does, by the tool; the library, and the seconds it took."""
    print(f"$ tfc-compile {source.name} -o {library.name} --threads={threads}", flush=True)
    command = [sys.executable, "-m", "tfc.cli.compile", str(source), "-o", str(library)]
    began = time.perf_counter()
    done = subprocess.run([*command, f"--threads={threads}"], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return library, time.perf_counter() - began


def with_weights(model: ModelProto) -> ModelProto:
    """``model`` with random weights in place of its constant ones.

    Their spread keeps the signal at its size from layer to layer (He et al., 2015).
    """
    graph, rng = model.graph, np.random.default_rng(0)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    users = {name: (n.op_type, k) for n in graph.node for k, name in enumerate(n.input)}
    filled = [n for n in graph.node if n.op_type == "ConstantOfShape" and n.input[0] in shapes]
    for node in filled:
        shape = tuple(int(d) for d in shapes[node.input[0]])
        operator, operand = users[node.output[0]]
        mean, spread = SPREAD[operand] if operator == "BatchNormalization" else (0.0, 0.1)
        if len(shape) > 1:
            spread = (2 / np.prod(shape[1:])) ** 0.5
        values = (mean + spread * rng.standard_normal(shape)).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    model.ir_version = 8  # older ones want every weight among the inputs
    return model


def evaluated(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """What the onnx package computes in numpy."""
    from onnx.reference import ReferenceEvaluator
    from onnx.version_converter import convert_version

    # Before version 14 its batch normalisation takes statistics from the batch itself.
    newer = convert_version(model, 15)
    weights = {t.name for t in newer.graph.initializer}
    (name,) = (i.name for i in newer.graph.input if i.name not in weights)
    return ReferenceEvaluator(newer).run(None, {name: x})[0]


def ramp(model: tfc.Compiled) -> np.ndarray:
    """The input for which the onnx package stores outputs."""
    shape = model.inputs[0].shape
    return (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)


def noise(model: tfc.Compiled) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(model.inputs[0].shape).astype(np.float32)


def report(got: np.ndarray, expected: np.ndarray, by: str) -> bool:
    """Print how the output compares; whether it agrees."""
    agrees = bool(np.allclose(got, expected, rtol=RTOL, atol=ATOL))
    worst = np.max(np.abs(got - expected))
    print(f"\noutput    {got.dtype}{list(got.shape)} from {got.min():.2g} to {got.max():.2g}")
    print(
        f"          {'agrees with' if agrees else 'DIFFERS from'} {by} (at most {worst:.1e} apart)"
    )
    return agrees


def latencies(call, at_most: float = 3.0) -> list[float]:
    """The seconds of some calls: 5 to 100, until ``at_most`` seconds are spent."""
    times: list[float] = []
    while len(times) < 5 or (sum(times) < at_most and len(times) < 100):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50", help="resnet50, squeezenet, vgg19, ...")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run (1)")
    parser.add_argument("--keep", metavar="DIR", help="where to keep the libraries")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
