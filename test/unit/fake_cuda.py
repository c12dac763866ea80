"""A driver for tests of host code: device memory is an array, a kernel is a Python function.

    gpu = FakeDriver({"double": lambda grid, block, x, y, status: ...})
    program = Program(address, "m", driver=gpu.table)

It keeps a list of its calls by name. Streams run at once; capturing records calls, and a graph repeats them. A
result can be put in the place of a function's next one (`fail`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfc.runtime import driver_api as api

CAPABILITY = 9, 0
PRIMARY = 0xC0
"""The device's primary context."""


@dataclass
class FakeDriver:
    """One GPU, or as many as ``devices``."""

    kernels: Mapping[str, Callable[..., None]] = field(default_factory=dict)
    devices: int = 1
    capability: tuple[int, int] = CAPABILITY
    memory: int = 1 << 30
    calls: list[str] = field(default_factory=list)
    launches: list[tuple[str, int, int]] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    capturable: bool = True
    current: int = 0
    """The context of all threads."""
    foreign: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Addresses of other contexts, and other GPUs."""

    def __post_init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._sticky = 0
        self._blocks: dict[int, Any] = {}
        self._names: dict[int, str] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._capture: list[Callable[[], None]] | None = None
        self._next = 1 << 20
        self._texts: dict[str, Any] = {}
        self._functions = [self._wrap(f) for f in api.FUNCTIONS]
        self.words = api.Table(*(ctypes.cast(f, ctypes.c_void_p) for f in self._functions))

    @property
    def table(self) -> int:
        return ctypes.addressof(self.words)

    @property
    def allocated(self) -> int:
        """Blocks of device memory that have not been given back."""
        return len(self._blocks)

    def fail(self, name: str, result: int, *, sticky: bool = False) -> None:
        """The next call of ``name`` gives ``result``; all after it too where the error is sticky."""
        self._failures[name] = result
        self._sticky_after = result if sticky else 0

    def _wrap(self, function: api.Function) -> Any:
        body = getattr(self, f"_{function.name}", None)

        def call(*arguments: Any) -> int:
            self.calls.append(function.name)
            if function.name in self._failures:
                result = self._failures.pop(function.name)
                self._sticky = self._sticky or self._sticky_after
                return result
            if self._sticky and function.name not in ("cuGetErrorName", "cuGetErrorString"):
                return self._sticky
            return (body(*arguments) if body else 0) or 0

        return function.type(call)

    def _handle(self) -> int:
        self._next += 8
        return self._next

    def _do(self, action: Callable[[], None]) -> None:
        if self._capture is None:
            action()
        else:
            self._capture.append(action)

    def _find(self, address: int, size: int) -> int:
        """An address in device memory, where ``size`` bytes are allocated."""
        for start, block in self._blocks.items():
            if start <= address and address + size <= start + len(block):
                return address
        raise AssertionError(f"{size} bytes at {address:#x} are not in device memory")

    # The functions.

    def _cuDeviceGetCount(self, out: int) -> None:
        ctypes.c_int32.from_address(out).value = self.devices

    def _cuDeviceGetName(self, out: int, size: int, _device: int) -> None:
        ctypes.memmove(out, b"fake\0", 5)

    def _cuDeviceGet(self, out: int, ordinal: int) -> None:
        ctypes.c_int32.from_address(out).value = ordinal

    def _cuDeviceGetAttribute(self, out: int, attribute: int, _device: int) -> None:
        found = {api.COMPUTE_CAPABILITY_MAJOR: self.capability[0], api.COMPUTE_CAPABILITY_MINOR: self.capability[1]}
        ctypes.c_int32.from_address(out).value = found.get(attribute, 0)

    def _cuDevicePrimaryCtxRetain(self, out: int, _device: int) -> None:
        ctypes.c_uint64.from_address(out).value = PRIMARY

    def _cuCtxSetCurrent(self, context: int | None) -> None:
        self.current = context or 0

    def _cuCtxGetCurrent(self, out: int) -> None:
        ctypes.c_uint64.from_address(out).value = self.current

    def _cuPointerGetAttribute(self, out: int, which: int, address: int) -> int:
        if address not in self._blocks and address not in self.foreign:
            return api.INVALID_VALUE
        context, ordinal = self.foreign.get(address, (PRIMARY, 0))
        if which == api.POINTER_CONTEXT:
            ctypes.c_uint64.from_address(out).value = context
        else:
            ctypes.c_int32.from_address(out).value = ordinal
        return 0

    def _cuModuleLoadData(self, out: int, image: int) -> int:
        data = ctypes.string_at(image)
        self.images.append(data)
        if data.startswith(b"\x7fELF"):
            return api.NO_BINARY_FOR_GPU
        ctypes.c_uint64.from_address(out).value = self._handle()
        return 0

    def _cuModuleGetFunction(self, out: int, _module: int, name: int) -> int:
        text = ctypes.string_at(name).decode()
        if text not in self.kernels:
            return api.NOT_FOUND
        handle = self._handle()
        self._names[handle] = text
        ctypes.c_uint64.from_address(out).value = handle
        return 0

    def _cuMemAlloc_v2(self, out: int, size: int) -> int:
        if size > self.memory - sum(map(len, self._blocks.values())):
            return api.OUT_OF_MEMORY
        block = np.full(size + 256, 0xA5, np.uint8)  # nothing is 0 by itself
        skip = -block.ctypes.data % 256
        block = block[skip : skip + size]
        self._blocks[block.ctypes.data] = block
        ctypes.c_uint64.from_address(out).value = block.ctypes.data
        return 0

    def _cuMemFree_v2(self, address: int) -> None:
        del self._blocks[address]

    def _cuMemcpyHtoDAsync_v2(self, target: int, source: int, size: int, _stream: int) -> None:
        self._do(lambda: ctypes.memmove(self._find(target, size), source, size) and None)

    def _cuMemcpyDtoHAsync_v2(self, target: int, source: int, size: int, _stream: int) -> None:
        self._do(lambda: ctypes.memmove(target, self._find(source, size), size) and None)

    def _cuMemcpyDtoDAsync_v2(self, target: int, source: int, size: int, _stream: int) -> None:
        self._do(lambda: ctypes.memmove(self._find(target, size), self._find(source, size), size) and None)

    def _cuMemsetD8Async(self, target: int, byte: int, size: int, _stream: int) -> None:
        self._do(lambda: ctypes.memset(self._find(target, size), byte, size) and None)

    def _cuStreamCreate(self, out: int, _flags: int) -> None:
        ctypes.c_uint64.from_address(out).value = self._handle()

    def _cuStreamSynchronize(self, _stream: int) -> int:
        return api.STREAM_CAPTURE_UNSUPPORTED if self._capture is not None else 0

    def _cuLaunchKernel(self, function: int, gx: int, gy: int, gz: int, bx: int, *rest: Any) -> None:
        name, arguments = self._names[function], rest[4]
        body = self.kernels[name]
        count = body.__code__.co_argcount - 2
        values = [
            ctypes.c_uint64.from_address(ctypes.c_uint64.from_address(arguments + 8 * k).value).value
            for k in range(count)
        ]

        def launch() -> None:
            self.launches.append((name, gx, bx))
            body(gx, bx, *values)

        assert (gy, gz) == (1, 1)
        self._do(launch)

    def _cuStreamBeginCapture_v2(self, _stream: int, _mode: int) -> int:
        if not self.capturable:
            return api.STREAM_CAPTURE_UNSUPPORTED
        self._capture = []
        return 0

    def _cuStreamEndCapture(self, _stream: int, out: int) -> None:
        handle = self._handle()
        self._graphs[handle], self._capture = self._capture or [], None
        ctypes.c_uint64.from_address(out).value = handle

    def _cuGraphInstantiateWithFlags(self, out: int, graph: int, _flags: int) -> None:
        ctypes.c_uint64.from_address(out).value = handle = self._handle()
        self._graphs[handle] = self._graphs[graph]

    def _cuGraphLaunch(self, graph: int, _stream: int) -> None:
        for action in self._graphs[graph]:
            action()

    def _text(self, text: str, out: int) -> None:
        buffer = self._texts.setdefault(text, ctypes.create_string_buffer(text.encode()))
        ctypes.c_uint64.from_address(out).value = ctypes.addressof(buffer)

    def _cuGetErrorName(self, result: int, out: int) -> None:
        self._text(api.ERROR_NAMES[result], out)

    def _cuGetErrorString(self, result: int, out: int) -> None:
        self._text(f"what {api.ERROR_NAMES[result]} means", out)

    def _cuMemGetInfo_v2(self, free: int, total: int) -> None:
        used = sum(map(len, self._blocks.values()))
        ctypes.c_size_t.from_address(free).value = self.memory - used
        ctypes.c_size_t.from_address(total).value = self.memory


def at(address: int, count: int, dtype: Any = np.float32) -> np.ndarray:
    """An array in the driver's memory."""
    block = (ctypes.c_ubyte * (count * np.dtype(dtype).itemsize)).from_address(address)
    return np.frombuffer(block, dtype)
