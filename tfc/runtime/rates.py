"""What this machine can do at most, measured in a quarter of a second.

    rates = measure_rates(threads=1)
    rates.bound(flops=2e9, moved=12e6)       # seconds that no program can beat

Multiply-adds in registers give the one rate, copies of arrays the other: of several sizes, since
what fits a cache moves faster.

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
from tfc.runtime.jit import JitLibrary

CHAINS = 12
"""Independent sums: more than latency times throughput of any multiply-add unit."""

STEPS = 400_000
SIZES = tuple(1 << k for k in (16, 18, 20, 22, 24, 27))
"""Of the sets of bytes that are copied: from a first cache's to memory's."""

TRIES = 5


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

    def bound(self, flops: float, moved: float) -> float:
        """Least seconds in which so many operations and bytes are possible."""
        rates = [rate for size, rate in self.bandwidth.items() if size >= moved]
        return max(flops / self.flops, moved / max(rates, default=self.memory))


@cache
def measure_rates(threads: int = 1) -> Rates:
    """The rates with so many threads, the best of a few tries."""
    return Rates(_flops(threads), {size: _bandwidth(threads, size) for size in SIZES})


def _flops(threads: int) -> float:
    text, lanes = _multiply_adds()
    library = JitLibrary(compile_llvm(text, Target.parse()))
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(library.address("tfc_peak"))
    sums = [np.zeros(lanes, np.float32) for _ in range(threads)]
    works = [lambda s=s: call(s.ctypes.data, STEPS) for s in sums]
    return threads * 2.0 * CHAINS * lanes * STEPS / _best(works)


def _multiply_adds() -> tuple[str, int]:
    """A loop of independent multiply-adds, and how many lanes each has."""
    target = Target.parse()
    lanes = target.vector_bits // 32
    kind = f"<{lanes} x float>"
    names = range(CHAINS)
    phis = (f"  %a{k} = phi {kind} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in names)
    half = "splat (float 0.5)"
    adds = (f"  %b{k} = call {kind} @fma({kind} %a{k}, {kind} {half}, {kind} {half})" for k in names)
    sums = (f"  %s{k + 1} = fadd {kind} %s{k}, %b{k}" for k in range(1, CHAINS))
    lines = [
        "define void @tfc_peak(ptr %out, i64 %n) nounwind " + target.attributes + " {",
        "entry:",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %j, %loop ]",
        *phis,
        *adds,
        "  %j = add i64 %i, 1",
        "  %more = icmp slt i64 %j, %n",
        "  br i1 %more, label %loop, label %done",
        "done:",
        f"  %s1 = fadd {kind} %b0, zeroinitializer",
        *sums,
        f"  store {kind} %s{CHAINS}, ptr %out, align 4",
        "  ret void",
        "}",
        f"declare {kind} @fma({kind}, {kind}, {kind})",
    ]
    return "\n".join(lines).replace("@fma", f"@llvm.fmuladd.v{lanes}f32"), lanes


def _bandwidth(threads: int, size: int) -> float:
    """Bytes a second of copies: each thread has two arrays of half of ``size``."""
    again = max(1, (1 << 25) // size)
    pairs = [(np.ones(size // 2, np.uint8), np.ones(size // 2, np.uint8)) for _ in range(threads)]

    def copy(to: Any, source: Any) -> None:
        for _ in range(again):
            np.copyto(to, source)

    return threads * again * size / _best([lambda p=p: copy(*p) for p in pairs])


def _best(works: Sequence[Callable[[], Any]]) -> float:
    """Least seconds, of a few tries, in which threads finish ``works``, one each."""
    return min(_together(works) for _ in range(TRIES))


def _together(works: Sequence[Callable[[], Any]]) -> float:
    others = [threading.Thread(target=work) for work in works[1:]]
    start = time.perf_counter()
    for thread in others:
        thread.start()
    works[0]()
    for thread in others:
        thread.join()
    return time.perf_counter() - start
