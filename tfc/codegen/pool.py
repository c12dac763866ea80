"""The thread pool's LLVM IR for a target; `pool.ll` says how it works.

    tfc_parallel(fn, args, n, grain, threads)   fn(args, lo, hi) over all of [0, n)
    tfc_pool_acquire(threads) -> 0              hold workers for that many threads
    tfc_pool_release()                          let them go
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template

MAX_THREADS = 1024
"""The largest team; the pool's table of threads has this size."""

SPIN_NS = 100_000
"""How long an idle worker watches for the next job: longer than most kernels that it has no part in, as waking it
costs tens of microseconds in a virtual machine."""

DECLARATIONS = """
declare void @tfc_parallel(ptr, ptr, i64, i64, i32) nounwind
declare i32 @tfc_pool_acquire(i32) nounwind
declare void @tfc_pool_release() nounwind
"""
"""For code that uses a pool of another object."""

_PAUSES = {
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
    "arm64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}

_CORES = """
declare i64 @syscall(i64, ...) nounwind
declare i32 @sched_getcpu() nounwind
declare i32 @sched_getaffinity(i32, i64, ptr) nounwind
declare i32 @sched_setaffinity(i32, i64, ptr) nounwind
define internal i32 @tfc_thread() nounwind {
  %long = call i64 (i64, ...) @syscall(i64 GETTID)
  %id = trunc i64 %long to i32
  ret i32 %id
}
"""
"""The number of a thread on Linux, and the cores that it runs on."""

_NO_CORES = """
define internal i32 @tfc_thread() nounwind {
  ret i32 0
}
define internal i32 @sched_getcpu() nounwind {
  ret i32 -1
}
define internal i32 @sched_getaffinity(i32 %thread, i64 %size, ptr %set) nounwind {
  ret i32 -1
}
define internal i32 @sched_setaffinity(i32 %thread, i64 %size, ptr %set) nounwind {
  ret i32 -1
}
"""
"""For systems where threads stay where they are put: those functions as that which does nothing."""

_GETTID = {"x86_64": 186, "aarch64": 178}
"""The number of the system call."""


def _cores(triple: str) -> str:
    number = _GETTID.get(triple.split("-")[0]) if "linux" in triple else None
    return _NO_CORES if number is None else _CORES.replace("GETTID", str(number))


@cache
def pool_llvm(triple: str, *, exported: bool = False) -> str:
    """Definitions of the pool's functions: private to their object, or ``exported`` from it."""
    pause, declarations = _PAUSES.get(triple.split("-")[0], ("", ""))
    apple = "darwin" in triple or "macos" in triple
    text = files("tfc.codegen").joinpath("pool.ll").read_text("utf-8")
    return Template(text).substitute(
        pause=pause,
        declarations=declarations,
        cores=_cores(triple),
        linkage="" if exported else "internal",
        monotonic=6 if apple else 1,
        sig_setmask=3 if apple else 2,
        max_threads=MAX_THREADS,
        spin_ns=SPIN_NS,
    )
