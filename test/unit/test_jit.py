"""Object files in this process, wherever its memory is free."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCATTERED = '''
import ctypes
from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import Target
from tfc.runtime.jit import load_object

def maps():
    with open("/proc/self/maps") as file:
        return [tuple(int(x, 16) for x in line.split()[0].split("-")) for line in file]

def reserve(address, size):
    fixed = 0x10 if address else 0
    return libc.mmap(address, size, 0, 0x4022 | fixed, -1, 0)  # none, private, no memory behind it

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

numbers = ",".join(f"double {k}.0" for k in range(4096))
text = f"""
target triple = "{Target.parse().triple}"
@table = internal constant [4096 x double] [{numbers}]
@state = internal global [8192 x double] zeroinitializer
define double @f(i64 %i) {{
  %p = getelementptr double, ptr @table, i64 %i
  %v = load double, ptr %p
  %q = getelementptr double, ptr @state, i64 %i
  store double %v, ptr %q
  ret double %v
}}
"""
data = compile_llvm(text, Target.parse())
load_object(data)

block = 3 << 30
taken = [reserve(None, block) for _ in range(2)]
while taken[-1] + block != taken[-2]:
    taken.append(reserve(None, block))
above = [m for m in maps() if taken[-1] <= m[0] < 1 << 47]
for (_, start), (end, _) in zip(above, above[1:]):
    if start < end:
        reserve(start, end - start)
libc.munmap(taken[-2] + block - 4 * 4096, 2 * 4096)  # room for the code, and none for the rest

library = load_object(data)
f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(library.address("f"))
assert [f(i) for i in (1, 100, 4095)] == [1.0, 100.0, 4095.0]
'''


@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux",
    reason="lays out memory as x86-64 Linux does",
)
def test_the_parts_of_an_object_are_near_each_other() -> None:
    """Code reaches its data by 32 bits: free memory may lie in pieces that are further apart."""
    done = subprocess.run(
        [sys.executable, "-c", SCATTERED], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
