"""Contractions of all kinds beside their peers: ``python benchmarks/contractions.py [PATTERN ...]``.

    square-512         1.21 ms    0.97 x peak    torch 0.98   numpy 1.01   onnxruntime 0.96

All run in this process on one thread, in turn; a figure is the least processor time of the calling
thread, so that other programs on the machine disturb little. Behind each peer stands its time over
that of tfc. Images are channels-last for tfc and torch, and channels-first for onnxruntime, as each likes
them best. ``--cpu`` compiles for a lesser machine (without peers), ``--check`` compares results only.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
from machine import rates_of  # noqa: E402
from xdsl.dialects.builtin import ModuleOp  # noqa: E402
from xdsl.dialects.func import FuncOp, ReturnOp  # noqa: E402
from xdsl.ir import Block, Operation, Region, SSAValue  # noqa: E402

from tfc.compiler import load, lower  # noqa: E402
from tfc.dialects.tfc.constant import ConstantOp  # noqa: E402
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp  # noqa: E402
from tfc.dialects.tfc.convolution_gradient import ConvBackpropFilterOp, ConvBackpropInputOp  # noqa: E402
from tfc.dialects.tfc.types import Array, LiteralAttr, element_of, tensor_type  # noqa: E402
from tfc.options import Options  # noqa: E402

Make = Callable[..., Operation]
Peer = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One contraction of two operands.

    Attributes:
        make: the operation of tfc on both operands.
        constant: whether the second operand is known when the model is compiled.
        products: multiply-adds.
        subscripts: the contraction for ``einsum``; "" for convolutions.
        image: what a convolution's peers are told: ``(kind, arguments)``.
    """

    name: str
    make: Make
    x: tuple[int, ...]
    w: tuple[int, ...]
    products: int
    subscripts: str = ""
    constant: bool = False
    image: tuple[Any, ...] = ()
    dtype: Any = np.float32
    operands: list[Array] = field(default_factory=list[Array])

    def arrays(self) -> list[Array]:
        """Both operands, drawn once."""
        if not self.operands:
            rng = np.random.default_rng(1)
            for shape in (self.x, self.w):
                drawn = rng.uniform(-1, 1, shape).astype(np.float32)
                self.operands.append(drawn.astype(self.dtype))
        return self.operands


def dot(name: str, subscripts: str, *, constant: bool = False, dtype: Any = np.float32, **n: int) -> Case:
    """A contraction of two tensors: ``bij,bjk->bik`` and the extents of its letters."""
    left, result = subscripts.split("->")
    left, right = left.split(",")
    batch = [c for c in result if c in left and c in right]
    inner = [c for c in left if c in right and c not in result]
    lists = [[t.index(c) for c in letters] for letters in (batch, inner) for t in (left, right)]
    assert [*batch, *(c for c in left if c not in right), *(c for c in right if c not in left)] == [*result], name
    shapes = [tuple(n[c] for c in t) for t in (left, right)]
    products = int(np.prod([n[c] for c in {*left, *right}]))
    return Case(
        name, lambda x, y: DotOp(x, y, *lists), *shapes, products, subscripts, constant, (), dtype
    )


def conv(
    name: str, batch: int, size: Sequence[int], c: int, o: int, k: int, *, stride: int = 1,
    dilation: int = 1, groups: int = 1, kind: str = "forward", same: bool = True,
) -> Case:  # fmt: skip
    """A convolution of ``size`` places with a window of ``k`` in each dim, or one of its gradients."""
    rank = len(size)
    reach = (k - 1) * dilation
    low = reach // 2 if same else 0
    amounts = ([stride] * rank, [dilation] * rank, [low] * rank, [(reach - low) if same else 0] * rank, groups)
    out = [(n + (reach if same else 0) - reach - 1) // stride + 1 for n in size]
    x, w, g = (batch, *size, c), (*[k] * rank, c // groups, o), (batch, *out, o)
    products = int(np.prod(g)) * k**rank * (c // groups)
    image = (kind, rank, stride, low, dilation, groups)
    if kind == "filter":
        return Case(name, lambda x, g: ConvBackpropFilterOp(x, g, w, *amounts), x, g, products, image=(*image, w))
    if kind == "input":
        return Case(name, lambda w, g: ConvBackpropInputOp(w, g, x, *amounts), w, g, products, image=(*image, x))
    return Case(name, lambda x, w: ConvolutionOp(x, w, *amounts), x, w, products, constant=True, image=image)


def cases() -> Iterator[Case]:
    """Everything that is surveyed."""
    for n in (64, 128, 256, 512, 1024, 2048):
        yield dot(f"square-{n}", "ij,jk->ik", i=n, j=n, k=n)
    for m, n in ((1, 768), (1, 2048), (1, 4096), (8, 2048), (32, 1024)):
        yield dot(f"few-{m}x{n}", "ij,jk->ik", i=m, j=n, k=n)
        yield dot(f"few-{m}x{n}-constant", "ij,jk->ik", i=m, j=n, k=n, constant=True)
    yield dot("vector-2048x1", "ij,jk->ik", i=2048, j=2048, k=1)
    yield dot("vector-4096x1-constant", "ij,jk->ik", i=4096, j=1024, k=1, constant=True)
    yield dot("narrow-2048x4", "ij,jk->ik", i=2048, j=2048, k=4)
    yield dot("scores-12x128x64", "bik,bjk->bij", b=12, i=128, j=128, k=64)
    yield dot("values-12x128x64", "bij,bjk->bik", b=12, i=128, j=128, k=64)
    yield dot("scores-bihk", "bihk,bjhk->bhij", b=1, h=12, i=128, j=128, k=64)
    yield dot("values-bhij", "bhij,bjhk->bhik", b=1, h=12, i=128, j=128, k=64)
    yield dot("batched-16x512x64", "bik,bjk->bij", b=16, i=512, j=512, k=64)
    yield dot("batched-16x64x512", "bik,bkj->bij", b=16, i=512, j=64, k=512)
    yield dot("decode-scores", "bk,bjk->bj", b=12, j=512, k=64)
    yield dot("decode-values", "bj,bjk->bk", b=12, j=512, k=64)
    for m, k, n in ((128, 784, 512), (128, 512, 512), (128, 512, 10), (1024, 1024, 1024), (256, 768, 3072)):
        yield dot(f"train-{m}x{k}x{n}", "ij,jk->ik", i=m, j=k, k=n)
        yield dot(f"train-{m}x{k}x{n}-dw", "ji,jk->ik", i=k, j=m, k=n)
        yield dot(f"train-{m}x{k}x{n}-dx", "ij,kj->ik", i=m, j=n, k=k)
    for k in (3, 8, 16):
        yield dot(f"thin-{k}", "ij,jk->ik", i=512, j=k, k=512)
    yield dot("long-64x8192", "ij,jk->ik", i=64, j=8192, k=64)
    yield dot("long-64x65536-dw", "ji,jk->ik", i=64, j=65536, k=64)
    yield dot("odd-77x131x203", "ij,jk->ik", i=77, j=131, k=203)
    yield dot("odd-511", "ij,jk->ik", i=511, j=511, k=511)
    yield dot("odd-1000x37x1000", "ij,jk->ik", i=1000, j=37, k=1000)
    for n, name in ((1, "b1"), (32, "b32")):
        yield conv(f"conv1-{name}-56x256x64", n, (56, 56), 256, 64, 1)
        yield conv(f"conv1-{name}-14x256x1024", n, (14, 14), 256, 1024, 1)
        yield conv(f"conv1s2-{name}-56x256x512", n, (56, 56), 256, 512, 1, stride=2)
        yield conv(f"conv3-{name}-56x64", n, (56, 56), 64, 64, 3)
        yield conv(f"conv3-{name}-28x128", n, (28, 28), 128, 128, 3)
        yield conv(f"conv3-{name}-14x256", n, (14, 14), 256, 256, 3)
        yield conv(f"conv3-{name}-7x512", n, (7, 7), 512, 512, 3)
        yield conv(f"conv3s2-{name}-56x128", n, (56, 56), 128, 128, 3, stride=2)
        yield conv(f"conv5-{name}-28x32", n, (28, 28), 32, 64, 5)
        yield conv(f"conv7s2-{name}-224x3", n, (224, 224), 3, 64, 7, stride=2)
        yield conv(f"depthwise3-{name}-112x32", n, (112, 112), 32, 32, 3, groups=32)
        yield conv(f"depthwise3s2-{name}-56x128", n, (56, 56), 128, 128, 3, groups=128, stride=2)
        yield conv(f"depthwise3-{name}-14x512", n, (14, 14), 512, 512, 3, groups=512)
        yield conv(f"depthwise5-{name}-14x480", n, (14, 14), 480, 480, 5, groups=480)
    yield conv("conv3-dilated-28x128", 1, (28, 28), 128, 128, 3, dilation=2)
    yield conv("conv3-grouped-28x256", 1, (28, 28), 256, 256, 3, groups=32)
    yield conv("conv3-grouped-28x128x4", 1, (28, 28), 128, 128, 3, groups=4)
    yield conv("conv3-rgb-64x16", 8, (64, 64), 3, 16, 3)
    yield conv("conv1d-k9", 8, (1024,), 64, 64, 9)
    yield conv("conv3d-k3", 1, (16, 28, 28), 32, 32, 3)
    yield conv("transposed-28x128", 1, (56, 56), 64, 128, 4, stride=2, kind="input")
    for c, o, n in ((1, 32, 28), (32, 64, 14)):
        yield conv(f"mnist-5x5x{c}x{o}", 128, (n, n), c, o, 5)
        yield conv(f"mnist-5x5x{c}x{o}-dw", 128, (n, n), c, o, 5, kind="filter")
    yield conv("mnist-5x5x32x64-dx", 128, (14, 14), 32, 64, 5, kind="input")
    yield conv("resnet-56x64-dw", 16, (56, 56), 64, 64, 3, kind="filter")
    yield conv("resnet-14x256-dw", 16, (14, 14), 256, 256, 3, kind="filter")
    yield conv("resnet-56x64-dx", 16, (56, 56), 64, 64, 3, kind="input")
    yield conv("resnet-28x128s2-dw", 16, (56, 56), 128, 128, 3, stride=2, kind="filter")
    yield conv("depthwise-14x512-dw", 16, (14, 14), 512, 512, 3, groups=512, kind="filter")
    for kind in (np.float16, ml_dtypes.bfloat16):
        short = np.dtype(kind).name
        yield dot(f"{short}-1x4096", "ij,jk->ik", i=1, j=4096, k=4096, constant=True, dtype=kind)
        yield dot(f"{short}-128x1024", "ij,jk->ik", i=128, j=1024, k=1024, constant=True, dtype=kind)
        yield dot(f"{short}-512", "ij,jk->ik", i=512, j=512, k=512, dtype=kind)


# Who runs a case


def module_of(case: Case) -> ModuleOp:
    """A function that gives the contraction of its arguments."""
    arrays = case.arrays()
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    block = Block(arg_types=types[:1] if case.constant else types)
    operations: list[Operation] = []
    operands: list[SSAValue] = list(block.args)
    if case.constant:
        operations.append(ConstantOp(LiteralAttr.of(arrays[1])))
        operands.append(operations[0].results[0])
    operations.append(case.make(*operands))
    result = operations[-1].results[0]
    block.add_ops([*operations, ReturnOp(result)])
    return ModuleOp([FuncOp("main", ([*block.arg_types], [result.type]), Region(block))])


def tfc_(case: Case, cpu: str | None = None) -> Peer:
    options = Options(name="model", threads=1, cpu=cpu)
    program = load(lower(module_of(case), options))
    inputs = case.arrays()[: 1 if case.constant else 2]
    return lambda: program.run(inputs)[0]


def numpy_(case: Case) -> Peer | None:
    x, w = case.arrays()
    if not case.subscripts or case.dtype != np.float32:
        return None
    text = case.subscripts
    if text == "ij,jk->ik":
        return lambda: x @ w
    if text == "ji,jk->ik":
        return lambda: x.T @ w
    if text == "ij,kj->ik":
        return lambda: x @ w.T
    path = np.einsum_path(text, x, w, optimize="greedy")[0]
    return lambda: np.einsum(text, x, w, optimize=path)


def torch_(case: Case) -> Peer | None:
    import torch

    torch.set_num_threads(1)
    bits = case.dtype == ml_dtypes.bfloat16
    x, w = (
        torch.from_numpy(a.view(np.int16)).view(torch.bfloat16) if bits else torch.from_numpy(a)
        for a in case.arrays()
    )
    if case.subscripts:
        if case.constant and case.subscripts == "ij,jk->ik":
            weight = w.T.contiguous()
            return lambda: torch.nn.functional.linear(x, weight)
        if case.subscripts in ("bik,bjk->bij", "bij,bjk->bik", "bik,bkj->bij"):
            right = w.transpose(1, 2) if case.subscripts == "bik,bjk->bij" else w
            return lambda: torch.bmm(x, right)
        if case.subscripts in ("ij,jk->ik", "ji,jk->ik", "ij,kj->ik"):
            left = x.T if case.subscripts[0] == "j" else x
            right = w.T if case.subscripts[3] == "k" else w
            return lambda: torch.mm(left, right)
        return lambda: torch.einsum(case.subscripts, x, w)
    kind, rank, stride, low, dilation, groups, *shape = case.image
    front = lambda t: t.movedim(-1, 1)  # noqa: E731
    turned = lambda t: t.movedim(-1, 0).movedim(-1, 1)  # noqa: E731
    form = {2: torch.channels_last, 3: torch.channels_last_3d}.get(rank)
    lay = lambda t: t.contiguous(memory_format=form) if form else t.contiguous()  # noqa: E731
    F = torch.nn.functional
    same = {"stride": stride, "dilation": dilation, "groups": groups}
    if kind == "forward":
        run = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        image, weight = front(x), lay(turned(w))
        reach = (case.w[0] - 1) * dilation
        if reach % 2:
            return None
        return lambda: run(image, weight, padding=low, **same)
    if (case.x if kind == "input" else shape[0])[0] * dilation % 2 == 0:
        return None
    many = {k: [n] * rank for k, n in (("stride", stride), ("padding", low), ("dilation", dilation))}
    many["groups"] = groups
    if kind == "filter":
        image, g = front(x), front(w)
        size = turned(torch.empty(shape[0])).shape
        return lambda: torch.nn.grad.conv2d_weight(image, size, g, **many)
    weight, g = lay(turned(x)), front(w)
    size = front(torch.empty(shape[0])).shape
    return lambda: torch.nn.grad.conv2d_input(size, weight, g, **many)


def onnxruntime_(case: Case) -> Peer | None:
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    if case.dtype != np.float32 or (case.image and case.image[0] != "forward"):
        return None
    x, w = case.arrays()
    if case.subscripts == "ij,jk->ik":
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
    elif case.image:
        _, rank, stride, low, dilation, groups = case.image
        reach = (case.w[0] - 1) * dilation
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        w = np.ascontiguousarray(np.moveaxis(np.moveaxis(w, -1, 0), -1, 1))
        pads = [low] * rank + [reach - low] * rank
        lists = {"strides": [stride] * rank, "dilations": [dilation] * rank, "pads": pads}
        node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **lists)
    elif case.subscripts in ("bij,bjk->bik", "bik,bkj->bij"):
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
    else:
        return None
    info = lambda n, a: helper.make_tensor_value_info(n, 1, a.shape if a is not None else None)  # noqa: E731
    feeds = {"x": x} if case.constant else {"x": x, "w": w}
    stored = [numpy_helper.from_array(w, "w")] if case.constant else []
    graph = helper.make_graph([node], "g", [info(k, a) for k, a in feeds.items()], [info("y", None)], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)[0]


PEERS: dict[str, Callable[[Case], Peer | None]] = {
    "torch": torch_,
    "numpy": numpy_,
    "onnxruntime": onnxruntime_,
}


# Measuring


def measure(runs: dict[str, Peer], rounds: int, seconds: float) -> dict[str, float]:
    """Least processor time of a run of each, in seconds."""
    counts: dict[str, int] = {}
    for name, run in runs.items():
        run()
        start = time.thread_time()
        run()
        counts[name] = max(1, int(seconds / max(1e-6, time.thread_time() - start)))
    least = dict.fromkeys(runs, float("inf"))
    order = list(runs)
    for _ in range(rounds):
        order.append(order.pop(0))
        for name in order:
            run = runs[name]
            run()
            start = time.thread_time()
            for _ in range(counts[name]):
                run()
            least[name] = min(least[name], (time.thread_time() - start) / counts[name])
    return least


def deviation(case: Case, run: Peer) -> float:
    """The largest error over the largest value, against one other way to compute it in f64."""
    arrays = [a.astype(np.float64) for a in case.arrays()]
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    exact = case.make(*Block(arg_types=types).args).reference(*arrays)  # pyright: ignore
    return float(np.max(np.abs(run().astype(np.float64) - exact)) / np.max(np.abs(exact)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("patterns", nargs="*", help="names of cases, with * and ?")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated, or nothing")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.02, help="least length of one figure")
    parser.add_argument("--cpu", help="compile for this cpu, and run no peer")
    parser.add_argument("--check", action="store_true", help="also compare with the reference")
    parser.add_argument("--list", action="store_true", help="names only")
    options = parser.parse_args()
    chosen = [
        c for c in cases() if not options.patterns or any(fnmatch.fnmatch(c.name, p) for p in options.patterns)
    ]  # fmt: skip
    if options.list:
        print(*(c.name for c in chosen), sep="\n")
        return 0
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    peak = rates_of(1).flops
    print(f"peak {peak / 1e9:.0f} GFLOP/s")
    wanted = [p for p in options.peers.split(",") if p and not options.cpu]
    for case in chosen:
        runs: dict[str, Peer] = {"tfc": tfc_(case, options.cpu)}
        notes = f"  off by {deviation(case, runs['tfc']):.1e}" if options.check else ""
        for peer in wanted:
            run = PEERS[peer](case)
            if run is not None:
                runs[peer] = run
        least = measure(runs, options.rounds, options.seconds)
        ours = least.pop("tfc")
        rate = 2 * case.products / ours
        ratios = "  ".join(f"{p} {t / ours:5.2f}" for p, t in least.items())
        worst = min((t / ours for t in least.values()), default=9.0)
        mark = "!" if worst < 0.8 else " "
        print(f"{mark} {case.name:<28} {ours * 1e3:9.4f} ms {rate / 1e9:7.1f} GF {rate / peak:5.2f} of peak   {ratios}{notes}", flush=True)
        case.operands.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
