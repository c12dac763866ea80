"""Placement by costs: the simulation, the search, and what a pass makes of them."""

from __future__ import annotations

import json
import time
from itertools import product
from random import Random

import pytest
from graphs import Graph
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, StringAttr, f32
from xdsl.dialects.func import FuncOp

from tfc.dialects import context
from tfc.dialects.tfc import elementwise as ew
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.transfer import device_of
from tfc.dialects.tfc.types import tensor_type
from tfc.errors import OptionError
from tfc.passes.costs import Costs
from tfc.passes.place import Place
from tfc.passes.placing import Problem, best, greedy, makespan, on_one


def problem(random: Random, tasks: int) -> Problem:
    """A random graph of tasks on two devices, of which the second is mostly faster."""
    sizes = [random.choice([0, 1000, 10**5, 10**6]) for _ in range(2)]
    source, inputs, seconds = [-1, -1], list[list[int]](), list[list[float]]()
    for task in range(tasks):
        near = range(max(0, len(source) - 6), len(source))
        inputs.append(sorted(random.sample(near, random.randint(0, min(3, len(near))))))
        slow = 10 ** random.uniform(-6, -2)
        seconds.append([slow, max(4e-6, slow / 10 ** random.uniform(-1, 2.5))])
        source.append(task)
        sizes.append(random.choice([0, 10, 1000, 10**5, 10**6, 10**7]))
    group = [random.randrange(k + 1) if random.random() < 0.1 else k for k in range(tasks)]
    names = {g: k for k, g in enumerate(dict.fromkeys(group))}
    candidates = [[0, 1] if random.random() < 0.9 else [random.randrange(2)] for _ in names]
    return Problem(
        seconds, [names[g] for g in group], candidates, inputs, source, sizes,
        wanted=[(len(source) - 1, 0)], processor=[0, 1], memory=[0, 1],
        transfer=lambda size, x, y: (1e-5, size / 2e10),
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 10))
def test_small_graphs_are_placed_as_well_as_by_trying_all(random: Random, tasks: int) -> None:
    p = problem(random, tasks)
    places, least = best(p)
    assert least == makespan(p, places)
    assert all(d in c for d, c in zip(places, p.candidates, strict=True))
    assert least <= 1.1 * min(makespan(p, s) for s in product(*p.candidates))


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_no_placement_takes_longer_than_one_device(random: Random, tasks: int) -> None:
    p = problem(random, tasks)
    places, least = best(p, work=40 * tasks)
    assert least == makespan(p, places)
    assert least <= min(makespan(p, on_one(p, d)) for d in (0, 1))
    assert least <= makespan(p, greedy(p))
    assert best(p, work=40 * tasks) == (places, least)


def test_the_search_is_close_to_the_best_on_average() -> None:
    random, excess = Random(7), list[float]()
    for _ in range(60):
        p = problem(random, random.randint(4, 8))
        _, least = best(p, work=150 * len(p.group))  # fewer than there are placements
        excess.append(least / min(makespan(p, s) for s in product(*p.candidates)))
    assert sum(x <= 1.1 for x in excess) >= 55


def layers(count: int, n: int = 1024) -> ModuleOp:
    graph = Graph([tensor_type([n, n], f32)])
    value = graph.values[0]
    for k in range(count):
        value = graph(DotOp(value, graph.values[0], [], [], [1], [0]) if k % 2 == 0 else ew.NegOp(value))
    return graph.finish([value])


def devices(module: ModuleOp) -> list[str]:
    function = next(op for op in module.walk() if isinstance(op, FuncOp))
    return [d.memory for op in function.body.block.ops if (d := device_of(op)) is not None]


def test_large_work_goes_to_the_fast_device_and_small_work_stays() -> None:
    large, small = layers(6), layers(6, n=4)
    for module in (large, small):
        Place(gpus=1).apply(context(), module)
    assert devices(large) == ["GPU:0"] * 6
    assert devices(small) == [""] * 6


def test_without_a_gpu_all_is_on_the_first_cpu() -> None:
    module = layers(4)
    Place(cpus=3).apply(context(), module)
    assert devices(module) == [""] * 4


def test_what_is_preferred_is_not_asked_for_costs() -> None:
    small = layers(4, n=4)
    Place(gpus=2, prefer="/gpu:1").apply(context(), small)
    assert devices(small) == ["GPU:1"] * 4


def test_measured_costs_decide() -> None:
    measured = {"kernels": [{"nodes": ["n0", "n1", "n2"], "seconds": {"CPU": 1e-6}}]}
    module = layers(3)
    Place(gpus=1, costs=json.dumps(measured)).apply(context(), module)
    assert devices(module) == [""] * 3
    slow = {"devices": {"GPU": {"flops": 1e8}}}
    module = layers(3)
    Place(gpus=1, costs=json.dumps(slow)).apply(context(), module)
    assert devices(module) == [""] * 3


def test_seconds_of_a_kernel_are_shared_out() -> None:
    costs = Costs.read('{"kernels": [{"nodes": ["n0", "n1"], "seconds": {"CPU": 0.5, "GPU": 0.25}}]}')
    ops = [op for op in layers(2).walk() if isinstance(op, DotOp | ew.NegOp)]
    costs.share_out(ops)
    assert sum(costs.seconds(op, "CPU") for op in ops) == pytest.approx(0.5)
    assert sum(costs.seconds(op, "GPU") for op in ops) == pytest.approx(0.25)
    assert costs.seconds(ops[0], "CPU") > costs.seconds(ops[1], "CPU")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"kernel": []}', '{"devices": {"GPU": {"flop": 1}}}', '{"devices": {"GPU": {"flops": 0}}}',
     '{"kernels": [{"nodes": ["a"]}]}', '{"kernels": [{"nodes": ["a"], "seconds": {"CPU": "soon"}}]}'],
)  # fmt: skip
def test_what_is_no_table_of_costs(text: str) -> None:
    with pytest.raises(OptionError, match="the costs are not understood"):
        Costs.read(text)


def test_explanations_tell_candidates_and_what_decided() -> None:
    graph = Graph([tensor_type([1024, 1024], f32)])
    x = graph(DotOp(graph.values[0], graph.values[0], [], [], [1], [0]))
    module = graph.finish([graph(ew.NegOp(x))])
    ops = [op for op in module.walk() if isinstance(op, ew.NegOp)]
    ops[0].attributes["tfc.device"] = StringAttr("/cpu:0")
    summary, *lines = Place(gpus=1).explained(module)
    assert summary.startswith("estimated for a run: ")
    assert "as far as possible on CPU:0" in summary
    assert "as far as possible on GPU:0" in summary
    assert lines[0].startswith("'n0' (tfc.dot): /job:localhost/replica:0/task:0/device:GPU:0 (")
    assert "on GPU:0, " in lines[0]
    assert lines[0].endswith(" on CPU:0; chosen by costs)")
    assert lines[1].endswith("CPU:0 (wants /device:CPU:0)")
    assert not any("tfc.device" in op.attributes for op in module.walk() if op not in ops)


def test_many_operations_are_placed_in_a_second() -> None:
    module = layers(5000, n=64)
    start = time.perf_counter()
    Place(gpus=2).apply(context(), module)
    assert time.perf_counter() - start < 3  # 0.6 s on an idle machine


def test_one_gpu_is_used_of_several_unless_the_graph_names_others() -> None:
    module = layers(4)
    Place(gpus=4).apply(context(), module)
    assert devices(module) == ["GPU:0"] * 4
    module = layers(4)
    last = [op for op in module.walk() if isinstance(op, ew.NegOp)][-1]
    last.attributes["tfc.device"] = StringAttr("/gpu:2")
    Place(gpus=4).apply(context(), module)
    assert devices(module) == ["GPU:2"] * 4
