"""Every operation on its samples on an emulated GPU: graph to PTX, every access checked; the result is the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from gpu_kernels import on_gpu, program_of, samples_of, used
from graphs import Case, convolutional, modules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sized_graphs import SizedGraph, sized_graphs
from test_compiled_graphs import check as check_graph
from test_compiled_operations import CHUNK, COMPILED
from test_operations import built_on_names, close
from xdsl.ir import Attribute

from tfc.codegen.gpu.assemble import assembler
from tfc.compiler import load, lower
from tfc.dialects.tfc.base import Sample
from tfc.emulator.driver import Driver
from tfc.passes.trials import difference, run_function
from tfc.runtime import cuda

REGISTERS, SHARED = 255, 48 << 10
"""What a thread has of registers, and a block of shared memory that is declared."""


@pytest.fixture(autouse=True, scope="module")
def driver() -> Iterator[Driver]:
    found = Driver(capability=90)
    cuda.use_driver(found.table, found)
    yield found
    cuda.use_driver(None)


@pytest.fixture(autouse=True)
def gpu(driver: Driver) -> Driver:
    """The GPU; one that a test has lost is there again for the next."""
    for device in driver.devices:
        device.lost = 0
    return driver


def check(name: str, samples: Sequence[Sample], types: Sequence[Attribute] | None = None) -> None:
    program, arrays, want = program_of(samples, types)
    elsewhere = [k.sym_name.data for k in program.kernels if k.target.data != "gpu"]
    assert not elsewhere, "all of it runs on the GPU"
    for k, (got, array) in enumerate(zip(load(program).run(arrays), want, strict=True)):
        close(np.asarray(got), array, max(samples[min(k, len(samples) - 1)].tolerance, 4e-6), f"{name}, result {k}")


def some(samples: Sequence[Sample], most: int = 6) -> Sequence[Sample]:
    """Up to ``most`` of them, the first and the last among them."""
    picked = sorted({int(k) for k in np.linspace(0, len(samples) - 1, min(most, len(samples)))})
    return [samples[k] for k in picked]


def general(name: str) -> tuple[list[Sample], list[Attribute]]:
    """Samples whose extents may have names, and the types of their arguments with names."""
    samples, types = list[Sample](), list[Attribute]()
    for sample in samples_of(name):
        if sample.args and sample.args[0].ndim and (found := built_on_names(sample)) is not None:
            samples.append(sample)
            types += [o.type for o in found[1].operands]
        if len(samples) == 2:
            break
    return samples, types


@pytest.mark.parametrize("name", COMPILED)
def test_on_a_gpu_is_the_reference(name: str) -> None:
    check(name, some(samples_of(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_all_samples_on_a_gpu(name: str) -> None:
    samples = samples_of(name)
    for start in range(0, len(samples), CHUNK):
        check(name, samples[start : start + CHUNK])


@pytest.mark.parametrize("name", COMPILED)
def test_on_a_gpu_with_named_dims(name: str) -> None:
    """One program for any size: extents are arguments of its kernels."""
    samples, types = general(name)
    if samples:
        check(name, samples, types)


few = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@few
@given(case=modules())
def test_random_modules(case: Case) -> None:
    check_graph(case, on_gpu())


@few
@given(case=convolutional())
def test_random_convolutional_networks(case: Case) -> None:
    check_graph(case, on_gpu())


def check_sized(graph: SizedGraph, cpu: str) -> None:
    """Twice, as the second run replays what the first one did: the reference, and the same bits."""
    function = next(iter(graph.module.ops))
    inputs = {f"x{k}": a for k, a in enumerate(graph.arrays)}
    want = run_function(function, inputs)  # pyright: ignore[reportArgumentType]
    program = load(lower(graph.module.clone(), on_gpu(cpu)))
    first, again = ([np.asarray(a) for a in program.run(graph.arrays)] for _ in range(2))
    assert (words := difference(want, dict(zip(want, first, strict=True)), exact=False)) is None, words
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


CPUS = st.sampled_from(["sm_75", "sm_80", "sm_90"])


@settings(few, max_examples=4)
@given(sized_graphs(), CPUS)
def test_graphs_of_any_extents(graph: SizedGraph, cpu: str) -> None:
    check_sized(graph, cpu)


@pytest.mark.slow
@many
@given(sized_graphs(operations=8), CPUS)
def test_more_graphs_of_any_extents(graph: SizedGraph, cpu: str) -> None:
    check_sized(graph, cpu)


@pytest.mark.slow
@many
@given(case=modules(max_operations=25))
def test_more_random_modules(case: Case) -> None:
    check_graph(case, on_gpu("sm_90"))


@pytest.mark.slow
@pytest.mark.skipif(not assembler(), reason="there is no ptxas")
@pytest.mark.parametrize("cpu", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", COMPILED)
def test_kernels_fit_a_multiprocessor(name: str, cpu: str) -> None:
    """The assembler takes each kernel, with no spilled register; `tools/gpu-kernels` shows what it says."""
    for kernel, u in used(name, cpu).items():
        assert u.registers <= REGISTERS, kernel
        assert not u.spilled, (kernel, u)
        assert u.shared <= SHARED, (kernel, u)
