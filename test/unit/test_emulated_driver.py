"""The emulated driver: what host code may rely on, and what it must be ready for."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from ptx import kernel

from tfc.emulator.driver import Driver
from tfc.runtime import driver_api as api

DOUBLE = kernel(
    "mov.u32 %w5, %ctaid.x; mad.lo.u32 %w6, %w5, 32, %t0; cvt.u64.u32 %a5, %w6; setp.ge.u64 %p0, %a5, %a1;"
    "@%p0 bra end; mad.lo.u64 %a6, %a5, 4, %a0; ld.global.b32 %w1, [%a6]; add.s32 %w1, %w1, %w1; st.global.b32 [%a6], %w1; end:",
    2,
)


class Host:
    """Host code in Python: calls through the table, with words to put results into."""

    def __init__(self, driver: Driver, enter: bool = True) -> None:
        self.driver = driver
        words = api.Table.from_address(driver.table)
        self.functions = {f.name: f.type(words[k]) for k, f in enumerate(api.FUNCTIONS)}
        self.word = ctypes.c_uint64()
        self.out = ctypes.addressof(self.word)
        if enter:
            self("cuInit", 0)
            self("cuCtxSetCurrent", self.get("cuDevicePrimaryCtxRetain", 0))

    def __call__(self, name: str, *arguments: Any, code: int = 0) -> None:
        found = self.functions[name](*arguments)
        assert found == code, (name, found, self.driver.message)

    def get(self, name: str, *arguments: Any, code: int = 0) -> int:
        """The first argument is where the result goes."""
        self.word.value = 0
        self(name, self.out, *arguments, code=code)
        return self.word.value

    def function(self, text: str = DOUBLE) -> int:
        self.image = ctypes.create_string_buffer(text.encode())
        module = self.get("cuModuleLoadData", ctypes.addressof(self.image))
        name = ctypes.create_string_buffer(b"k")
        return self.get("cuModuleGetFunction", module, ctypes.addressof(name))

    def launch(self, function: int, memory: int, count: int, stream: int | None = None, code: int = 0) -> None:
        values = (ctypes.c_uint64 * 2)(memory, count)
        pointers = (ctypes.c_void_p * 2)(*(ctypes.addressof(values) + 8 * k for k in range(2)))
        blocks = -(-count // 32)
        self("cuLaunchKernel", function, blocks, 1, 1, 32, 1, 1, 0, stream, ctypes.addressof(pointers), None, code=code)

    def words(self, code: int) -> str:
        place = ctypes.c_char_p()
        self("cuGetErrorString", code, ctypes.addressof(place))
        return (place.value or b"").decode()


@pytest.fixture
def host() -> Host:
    return Host(Driver(memory=1 << 20))


def test_a_kernel_over_copied_data(host: Host) -> None:
    x, stream = np.arange(100, dtype=np.int32), host.get("cuStreamCreate", api.STREAM_NON_BLOCKING)
    memory, function = host.get("cuMemAlloc_v2", x.nbytes), host.function()
    host("cuMemcpyHtoDAsync_v2", memory, x.ctypes.data, x.nbytes, stream)
    host.launch(function, memory, 100, stream)
    out = np.zeros_like(x)
    host("cuMemcpyDtoHAsync_v2", out.ctypes.data, memory, x.nbytes, stream)
    host("cuStreamSynchronize", stream)
    np.testing.assert_array_equal(out, 2 * x)
    host("cuMemsetD8Async", memory, 1, 8, stream)
    host("cuMemcpyDtoDAsync_v2", memory + 200, memory, 8, stream)
    host("cuMemcpyDtoHAsync_v2", out.ctypes.data, memory, x.nbytes, stream)
    assert out[0] == out[50] == 0x01010101
    host("cuMemFree_v2", memory)
    host("cuMemFree_v2", memory, code=api.INVALID_VALUE)
    host("cuStreamDestroy_v2", stream)


def test_a_captured_graph_runs_when_it_is_launched(host: Host) -> None:
    x, stream = np.arange(40, dtype=np.int32), host.get("cuStreamCreate", 1)
    memory, function = host.get("cuMemAlloc_v2", x.nbytes), host.function()
    host("cuMemcpyHtoDAsync_v2", memory, x.ctypes.data, x.nbytes, stream)
    host("cuStreamBeginCapture_v2", stream, api.CAPTURE_MODE_THREAD_LOCAL)
    host.launch(function, memory, 40, stream)
    host.launch(function, memory, 20, stream)
    host("cuStreamSynchronize", stream, code=api.STREAM_CAPTURE_UNSUPPORTED)
    host("cuMemAlloc_v2", host.out, 4, code=api.STREAM_CAPTURE_UNSUPPORTED)
    host("cuStreamEndCapture", stream, host.out)
    graph = host.word.value
    executable = host.get("cuGraphInstantiateWithFlags", graph, 0)
    host("cuGraphDestroy", graph)
    out = np.zeros_like(x)
    for turn in range(3):
        host("cuMemcpyDtoHAsync_v2", out.ctypes.data, memory, x.nbytes, stream)
        np.testing.assert_array_equal(out, x * np.where(x < 20, 4**turn, 2**turn))
        host("cuGraphLaunch", executable, stream)
    host("cuGraphExecDestroy", executable)
    host("cuGraphLaunch", executable, stream, code=api.INVALID_HANDLE)


def test_a_failed_kernel_shows_at_the_next_call_and_loses_the_context(host: Host) -> None:
    memory, function = host.get("cuMemAlloc_v2", 64), host.function()
    host.launch(function, memory, 17)
    host("cuStreamSynchronize", None, code=api.ILLEGAL_ADDRESS)
    host("cuMemAlloc_v2", host.out, 64, code=api.ILLEGAL_ADDRESS)
    assert "kernel 'k', 'ld.global.b32' in thread (16, 0, 0) of block (0, 0, 0)" in host.words(api.ILLEGAL_ADDRESS)
    host("cuDevicePrimaryCtxRelease_v2", 0)
    host("cuCtxSetCurrent", host.get("cuDevicePrimaryCtxRetain", 0))
    host.get("cuMemAlloc_v2", 64)


def test_faults_on_request(host: Host) -> None:
    memory, function = host.get("cuMemAlloc_v2", 128), host.function()
    host.driver.fail("cuMemAlloc_v2", api.OUT_OF_MEMORY, after=1)
    host.get("cuMemAlloc_v2", 128)
    host("cuMemAlloc_v2", host.out, 128, code=api.OUT_OF_MEMORY)
    host.get("cuMemAlloc_v2", 128)
    host("cuMemAlloc_v2", host.out, 1 << 20, code=api.OUT_OF_MEMORY)
    host.driver.fail("cuLaunchKernel", api.LAUNCH_FAILED)
    host.launch(function, memory, 32)
    host("cuStreamSynchronize", None, code=api.LAUNCH_FAILED)


def test_what_a_driver_refuses(host: Host) -> None:
    bare = Host(Driver(devices=2), enter=False)
    bare("cuDeviceGetCount", bare.out, code=api.NOT_INITIALIZED)
    bare("cuInit", 0)
    assert bare.get("cuDeviceGetCount") == 2
    bare("cuMemAlloc_v2", bare.out, 4, code=api.INVALID_CONTEXT)
    bare("cuDeviceGet", bare.out, 2, code=api.INVALID_DEVICE)
    none = Host(Driver(devices=0), enter=False)
    none("cuInit", 0, code=api.NO_DEVICE)
    image = ctypes.create_string_buffer(b".version 8.0\n.target sm_90\nnonsense;")
    host("cuModuleLoadData", host.out, ctypes.addressof(image), code=api.INVALID_PTX)
    assert "unknown declaration 'nonsense'" in host.words(api.INVALID_PTX)
    image = ctypes.create_string_buffer(b"\x7fELF" + bytes(60))
    host("cuModuleLoadData", host.out, ctypes.addressof(image), code=api.NO_BINARY_FOR_GPU)
    image = ctypes.create_string_buffer(DOUBLE.replace("sm_90", "sm_100a").encode())
    host("cuModuleLoadData", host.out, ctypes.addressof(image), code=api.NO_BINARY_FOR_GPU)
    memory = host.get("cuMemAlloc_v2", 64)
    host("cuMemcpyHtoDAsync_v2", memory + 32, host.out, 64, None, code=api.INVALID_VALUE)
    function = host.function()
    host("cuFuncSetAttribute", function, api.FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 << 10, code=api.INVALID_VALUE)
    host("cuFuncSetAttribute", function, api.FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 << 10)
    host("cuLaunchKernel", function, 0, 1, 1, 32, 1, 1, 0, None, host.out, None, code=api.INVALID_VALUE)
    host("cuModuleUnload", 12345, code=api.INVALID_HANDLE)


def test_events_and_attributes(host: Host) -> None:
    start, end = (host.get("cuEventCreate", 0) for _ in range(2))
    host("cuEventRecord", start, None)
    host("cuEventRecord", end, None)
    host("cuEventSynchronize", end)
    elapsed = ctypes.c_float(-1)
    host("cuEventElapsedTime_v2", ctypes.addressof(elapsed), start, end)
    assert elapsed.value >= 0
    assert host.get("cuDeviceGetAttribute", api.COMPUTE_CAPABILITY_MAJOR, 0) == 9
    total = ctypes.c_uint64()
    host("cuMemGetInfo_v2", host.out, ctypes.addressof(total))
    assert total.value == 1 << 20
    assert host.driver.calls["cuEventRecord"] == 2
