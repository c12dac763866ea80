"""What this machine can do at most, measured in a quarter of a second.

    rates = measure_rates(threads=1)
    rates.bound(flops=2e9, moved=12e6)       # seconds that no program can beat

Loops are generated as tfc generates kernels: fused multiply-adds in registers, and reading and copying
arrays of several sizes, since what fits a cache moves faster.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import Target
from tfc.runtime.jit import load_object

CHAINS, UNROLL = 12, 4
"""Independent sums, more than latency times throughput of any multiply-add unit; steps of each in a turn."""

STEPS = 100_000
SIZES = tuple(1 << k for k in (16, 18, 20, 22, 24, 27))
"""Of the sets of bytes that are walked: from a first cache's to memory's."""

WALKED = 1 << 25
"""Bytes of one try, so that small sets are walked often."""


@dataclass(frozen=True)
class Rates:
    """Peak rates.

    Attributes:
        flops: f32 operations a second; a multiply-add counts as 2.
        bandwidth: bytes read or written a second, by the bytes that are walked.
    """

    flops: float
    bandwidth: Mapping[int, float]

    @property
    def memory(self) -> float:
        """The bandwidth of what fits no cache."""
        return self.bandwidth[max(self.bandwidth)]

    def best(self, other: Rates) -> Rates:
        """The higher of two measurements, rate by rate."""
        sizes = self.bandwidth
        return Rates(max(self.flops, other.flops), {s: max(sizes[s], other.bandwidth[s]) for s in sizes})

    def bytes_per_second(self, moved: float) -> float:
        """The rate for a set of ``moved`` bytes: of the probes that are not smaller, the best."""
        rates = [rate for size, rate in self.bandwidth.items() if size >= moved]
        return max(rates, default=self.memory)

    def bound(self, flops: float, moved: float) -> float:
        """Least seconds in which so many operations and bytes are possible."""
        return max(flops / self.flops, moved / self.bytes_per_second(moved))


@cache
def measure_rates(threads: int = 1) -> Rates:
    """The rates with so many threads, measured once in a process."""
    return take_rates(threads)


def take_rates(threads: int, sizes: Sequence[int] = SIZES, tries: int = 4) -> Rates:
    """The rates with so many threads, now: the best of ``tries`` for each of ``sizes``."""
    return Rates(_flops(threads, tries), {size: _bandwidth(size, threads, tries) for size in sizes})


def _flops(threads: int, tries: int) -> float:
    code, lanes = _loops()
    buffers = [np.full(256, 0.5, np.float32) for _ in range(threads)]
    works = [lambda b=b: code.fma(b.ctypes.data, STEPS) for b in buffers]
    return threads * 2.0 * CHAINS * UNROLL * lanes * STEPS / _best(works, tries)


def _bandwidth(size: int, threads: int, tries: int) -> float:
    """Bytes read, or read and written, a second; each thread has its own part of ``size``."""
    code, lanes = _loops()
    part = size // threads // 8 // lanes * lanes
    again = max(1, WALKED // size)
    halves = [(np.ones(part, np.float32), np.ones(part, np.float32)) for _ in range(threads)]

    def repeated(call: Callable[..., Any], *arguments: int) -> Callable[[], Any]:
        return lambda: [call(*arguments) for _ in range(again)]

    copies = [repeated(code.copy, y.ctypes.data, x.ctypes.data, part) for x, y in halves]
    whole = [np.ones(2 * part, np.float32) for _ in range(threads)]
    reads = [repeated(code.read, x.ctypes.data, x.ctypes.data, 2 * part) for x in whole]
    return threads * again * 8.0 * part / min(_best(copies, tries), _best(reads, tries))


def _best(works: Sequence[Callable[[], Any]], tries: int) -> float:
    """Least seconds in which threads finish ``works``, one each."""
    return min(_together(works) for _ in range(tries))


def _together(works: Sequence[Callable[[], Any]]) -> float:
    if len(works) == 1:
        start = time.perf_counter()
        works[0]()
        return time.perf_counter() - start
    barrier, spans = threading.Barrier(len(works)), list[tuple[float, float]]()

    def run(work: Callable[[], Any]) -> None:
        barrier.wait()
        start = time.perf_counter()
        work()
        spans.append((start, time.perf_counter()))

    threads = [threading.Thread(target=run, args=(w,)) for w in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


@dataclass(frozen=True)
class _Loops:
    """The generated code: ``fma(buffer, steps)``, ``copy(to, from, n)``, ``read(out, from, n)``."""

    fma: Any
    copy: Any
    read: Any
    library: Any


@cache
def _loops() -> tuple[_Loops, int]:
    """The code for this machine, and how many f32 one of its vectors has."""
    target = Target.parse()
    lanes = target.isa.vector_bits // 32
    text = (
        f'target triple = "{target.triple}"\n'
        + _fma_text(lanes)
        + _copy_text(lanes)
        + _read_text(lanes)
    )
    library = load_object(compile_llvm(text, target))

    def function(name: str, arguments: int) -> Any:
        return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(library.address(name))

    return _Loops(function("fma", 2), function("copy", 3), function("read", 3), library), lanes


def _fma_text(lanes: int) -> str:
    v = f"<{lanes} x float>"
    call = f"call {v} @llvm.fma.v{lanes}f32"
    phis = [f"%a{k}_0 = phi {v} [%x, %entry], [%a{k}_{UNROLL}, %loop]" for k in range(CHAINS)]
    steps = [
        f"%a{k}_{u + 1} = {call}({v} %a{k}_{u}, {v} %x, {v} %x)"
        for u in range(UNROLL)
        for k in range(CHAINS)
    ]
    stores = [
        line
        for k in range(CHAINS)
        for line in (
            f"%p{k} = getelementptr {v}, ptr %b, i64 {k}",
            f"store {v} %a{k}_{UNROLL}, ptr %p{k}, align 4",
        )
    ]
    return f"""
declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})
define void @fma(ptr %b, i64 %n) {{
entry:
  %x = load {v}, ptr %b, align 4
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  {chr(10).join([*phis, *steps])}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  {chr(10).join(stores)}
  ret void
}}
"""


def _copy_text(lanes: int) -> str:
    v = f"<{lanes} x float>"
    return f"""
define void @copy(ptr %to, ptr %from, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  %s = getelementptr float, ptr %from, i64 %i
  %d = getelementptr float, ptr %to, i64 %i
  %x = load {v}, ptr %s, align 4
  store {v} %x, ptr %d, align 4
  %j = add i64 %i, {lanes}
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def _read_text(lanes: int) -> str:
    v, chains = f"<{lanes} x i32>", range(4)
    phis = [f"%a{k} = phi {v} [zeroinitializer, %entry], [%b{k}, %loop]" for k in chains]
    steps = [
        line
        for k in chains
        for line in (
            f"%i{k} = add i64 %i, {k * lanes}",
            f"%s{k} = getelementptr i32, ptr %from, i64 %i{k}",
            f"%x{k} = load {v}, ptr %s{k}, align 4",
            f"%b{k} = or {v} %a{k}, %x{k}",
        )
    ]
    return f"""
define void @read(ptr %out, ptr %from, i64 %n) {{
entry:
  %last = sub i64 %n, {4 * lanes - 1}
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  {chr(10).join([*phis, *steps])}
  %j = add i64 %i, {4 * lanes}
  %more = icmp slt i64 %j, %last
  br i1 %more, label %loop, label %done
done:
  %c0 = or {v} %b0, %b1
  %c1 = or {v} %b2, %b3
  %c = or {v} %c0, %c1
  store {v} %c, ptr %out, align 4
  ret void
}}
"""
