"""The CUDA driver's interface over the emulator, so that host code for a GPU runs unchanged without one.

    gpu = Driver()
    cuda.use_driver(gpu.table, gpu)          # models compiled for a GPU now run here

A table of C functions in the order of `tfc.runtime.driver_api`. What is asked of a stream happens at once; while a
stream is captured it is written down instead, and done at each launch of the graph. As with a real driver, a
kernel that fails shows at the next call, and its context is lost; the text of that error (``cuGetErrorString``) is
the emulator's own. Device memory is memory of this process behind a table of allocations: copies and kernels may
touch what is allocated on their device, and nothing else.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from tfc.emulator import frame
from tfc.emulator.machine import STATIC_SHARED, EmulationError, Kernel, Memory, Module
from tfc.emulator.syntax import PtxError
from tfc.runtime import driver_api as api

VERSION = 13000
"""Of the driver, as CUDA numbers it: 13.0."""

OPTIN_SHARED = 227 << 10
"""The most shared memory of a block, in bytes, on an H100 or H200."""

Work = Callable[[], object]


class _ResultError(Exception):
    """A function's result other than success."""

    def __init__(self, code: int) -> None:
        super().__init__(api.ERROR_NAMES.get(code, str(code)))
        self.code = code


@dataclass
class _Device:
    """A GPU: its memory, its context, and the result of a kernel that failed."""

    ordinal: int
    memory: Memory = field(default_factory=Memory)
    retained: int = 0
    context: int = 0
    lost: int = 0


@dataclass
class _Stream:
    device: _Device
    captured: list[Work] | None = None


@dataclass
class _Function:
    module: Module
    kernel: Kernel
    device: _Device
    dynamic: int = STATIC_SHARED


@dataclass
class _Event:
    device: _Device
    at: float = -1.0


class Driver:
    """An emulated driver.

    Args:
        devices: how many GPUs there are.
        memory: bytes of each.
        capability: ten times the compute capability of each.
        checked: whether kernels run with all checks.

    Attributes:
        table: the address of the table of functions.
        calls: how often each function was called.
        message: what went wrong last, in words.
    """

    def __init__(self, devices: int = 1, memory: int = 1 << 32, capability: int = 90, *, checked: bool = True) -> None:
        self.size, self.capability, self.checked = memory, capability, checked
        self.devices = [_Device(k) for k in range(devices)]
        self.calls: dict[str, int] = {}
        self.message = ""
        self._objects: dict[int, Any] = {}
        self._handles = count(0x1000, 16)
        self._faults: dict[str, list[tuple[int, int]]] = {}
        self._current = threading.local()
        self._lock = threading.RLock()
        self._ready = False
        self._texts: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._callbacks = [f.type(partial(self._call, f.name)) for f in api.FUNCTIONS]
        self._table = api.Table(*(ctypes.cast(c, ctypes.c_void_p).value for c in self._callbacks))
        self.table: int = ctypes.addressof(self._table)

    def fail(self, name: str, code: int, after: int = 0) -> None:
        """Let a call of the function ``name`` give ``code``: the next one, or that after ``after`` others.

        ``cuLaunchKernel`` so fails in the kernel: the call succeeds, and the context is lost.
        """
        self._faults.setdefault(name, []).append((self.calls.get(name, 0) + after, code))

    # Calls.

    def _call(self, name: str, *arguments: Any) -> int:
        with self._lock:
            number = self.calls.get(name, 0)
            self.calls[name] = number + 1
            try:
                fault = next((f for f in self._faults.get(name, ()) if f[0] == number), None)
                if fault and name != "cuLaunchKernel":
                    self._faults[name].remove(fault)
                    raise _ResultError(fault[1])
                if not self._ready and name not in ("cuInit", "cuGetErrorName", "cuGetErrorString", "cuDriverGetVersion"):
                    raise _ResultError(api.NOT_INITIALIZED)
                getattr(self, f"_{name}")(*arguments)
                if fault:
                    self._faults[name].remove(fault)
                    self._device().lost = fault[1]
            except _ResultError as error:
                return error.code
            except PtxError as error:
                self.message = str(error)
                return api.INVALID_PTX
            except EmulationError as error:
                self.message = str(error)
                return api.INVALID_VALUE
            return api.SUCCESS

    def _device(self) -> _Device:
        """The device of the current context, which must not be lost."""
        device = getattr(self._current, "device", None)
        if device is None or not device.retained:
            raise _ResultError(api.INVALID_CONTEXT)
        if device.lost:
            raise _ResultError(device.lost)
        return device

    def _new(self, thing: Any) -> int:
        handle = next(self._handles)
        self._objects[handle] = thing
        return handle

    def _get(self, handle: int | None, kind: type) -> Any:
        found = self._objects.get(handle or 0)
        if not isinstance(found, kind):
            raise _ResultError(api.INVALID_HANDLE)
        return found

    def _drop(self, handle: int | None, kind: type) -> None:
        self._get(handle, kind)
        del self._objects[handle or 0]

    def _stream(self, handle: int | None) -> _Stream:
        device = self._device()
        return self._get(handle, _Stream) if handle else _Stream(device)

    def _do(self, handle: int | None, work: Work) -> None:
        """``work`` on a stream: now, or at each launch of what is being captured."""
        stream = self._stream(handle)
        if stream.captured is not None:
            stream.captured.append(work)
        else:
            work()

    def _idle(self, device: _Device) -> None:
        """What a stream that is being captured forbids."""
        if any(isinstance(s, _Stream) and s.device is device and s.captured is not None for s in self._objects.values()):
            raise _ResultError(api.STREAM_CAPTURE_UNSUPPORTED)

    # Devices and contexts.

    def _cuInit(self, flags: int) -> None:
        if flags:
            raise _ResultError(api.INVALID_VALUE)
        if not self.devices:
            raise _ResultError(api.NO_DEVICE)
        self._ready = True

    def _cuDriverGetVersion(self, out: int) -> None:
        _put(out, "i", VERSION)

    def _cuDeviceGetCount(self, out: int) -> None:
        _put(out, "i", len(self.devices))

    def _known(self, ordinal: int) -> _Device:
        if not 0 <= ordinal < len(self.devices):
            raise _ResultError(api.INVALID_DEVICE)
        return self.devices[ordinal]

    def _cuDeviceGet(self, out: int, ordinal: int) -> None:
        _put(out, "i", self._known(ordinal).ordinal)

    def _cuDeviceGetName(self, out: int, size: int, ordinal: int) -> None:
        self._known(ordinal)
        text = b"emulated GPU"[: max(size - 1, 0)] + b"\0"
        ctypes.memmove(out, text, min(len(text), size))

    def _cuDeviceGetAttribute(self, out: int, which: int, ordinal: int) -> None:
        self._known(ordinal)
        values = {
            api.MAX_THREADS_PER_BLOCK: 1024,
            api.MULTIPROCESSOR_COUNT: 132,
            api.COMPUTE_CAPABILITY_MAJOR: self.capability // 10,
            api.COMPUTE_CAPABILITY_MINOR: self.capability % 10,
            api.MAX_SHARED_MEMORY_PER_BLOCK: STATIC_SHARED,
            api.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: OPTIN_SHARED,
        }
        if which not in values:
            raise _ResultError(api.INVALID_VALUE)
        _put(out, "i", values[which])

    def _cuDevicePrimaryCtxRetain(self, out: int, ordinal: int) -> None:
        device = self._known(ordinal)
        device.context = device.context or self._new(device)
        device.retained += 1
        _put(out, "Q", device.context)

    def _cuDevicePrimaryCtxRelease_v2(self, ordinal: int) -> None:
        device = self._known(ordinal)
        if not device.retained:
            raise _ResultError(api.INVALID_CONTEXT)
        device.retained -= 1
        if not device.retained:  # all that the context held is gone, an error as well
            device.memory, device.lost = Memory(), 0

    def _cuCtxSetCurrent(self, context: int | None) -> None:
        self._current.device = self._get(context, _Device) if context else None

    def _cuCtxGetCurrent(self, out: int) -> None:
        device = getattr(self._current, "device", None)
        _put(out, "Q", device.context if device is not None else 0)

    def _cuPointerGetAttribute(self, out: int, which: int, address: int) -> None:
        device = next((d for d in self.devices if d.memory.holds(address, 1)), None)
        if device is None or which not in (api.POINTER_CONTEXT, api.POINTER_DEVICE_ORDINAL):
            raise _ResultError(api.INVALID_VALUE)
        if which == api.POINTER_CONTEXT:
            _put(out, "Q", device.context)
        else:
            _put(out, "i", device.ordinal)

    def _cuMemGetInfo_v2(self, free: int, total: int) -> None:
        device = self._device()
        _put(free, "Q", self.size - device.memory.used)
        _put(total, "Q", self.size)

    # Modules.

    def _cuModuleLoadData(self, out: int, image: int) -> None:
        device = self._device()
        if ctypes.string_at(image, 4) == b"\x7fELF":
            self.message = "the emulator runs PTX, not machine code"
            raise _ResultError(api.NO_BINARY_FOR_GPU)
        module = Module(ctypes.string_at(image).decode("utf-8", "replace"), device.memory)
        target = module.parsed.target.removeprefix("sm_").rstrip("af")
        if target.isdigit() and int(target) > self.capability:
            self.message = f"PTX for sm_{target} on a device of sm_{self.capability}"
            raise _ResultError(api.NO_BINARY_FOR_GPU)
        _put(out, "Q", self._new(module))

    def _cuModuleUnload(self, handle: int | None) -> None:
        self._device()
        module = self._get(handle, Module)
        if module.globals and module.device.holds(module.globals, 1):
            module.device.free(module.globals)
        self._drop(handle, Module)

    def _cuModuleGetFunction(self, out: int, handle: int | None, name: int) -> None:
        device, module = self._device(), self._get(handle, Module)
        text = ctypes.string_at(name).decode("utf-8", "replace")
        if text not in module.entries:
            raise _ResultError(api.NOT_FOUND)
        _put(out, "Q", self._new(_Function(module, module.kernel(text, self.checked), device)))

    def _cuFuncSetAttribute(self, handle: int | None, which: int, value: int) -> None:
        self._device()
        function = self._get(handle, _Function)
        most = OPTIN_SHARED - function.kernel.shared_size
        if which != api.FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES or not 0 <= value <= most:
            raise _ResultError(api.INVALID_VALUE)
        function.dynamic = value

    def _cuLaunchKernel(
        self, handle: int | None, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int | None,
        arguments: int | None, extra: int | None,
    ) -> None:  # fmt: skip
        device, function = self._device(), self._get(handle, _Function)
        kernel: Kernel = function.kernel
        if extra or (kernel.params and not arguments) or function.device is not device:
            raise _ResultError(api.INVALID_VALUE)
        if gx > (1 << 31) - 1 or max(gy, gz) > 65535 or min(gx, gy, gz, bx, by, bz) < 1:
            raise _ResultError(api.INVALID_VALUE)
        total = shared + kernel.shared_size
        if bx * by * bz > kernel.max_threads or bz > 64 or total > max(function.dynamic + kernel.shared_size, STATIC_SHARED):
            raise _ResultError(api.INVALID_VALUE)
        values = bytearray(sum(kernel.params[-1]) if kernel.params else 0)
        for k, (offset, size) in enumerate(kernel.params):
            place = ctypes.c_void_p.from_address((arguments or 0) + 8 * k).value
            values[offset : offset + size] = ctypes.string_at(place or 0, size)

        def work() -> None:
            try:
                function.module.run(kernel, (gx, gy, gz), (bx, by, bz), bytes(values), shared, self.checked)
            except EmulationError as error:
                self.message = str(error)
                codes = {frame.OUTSIDE: api.ILLEGAL_ADDRESS, frame.MISALIGNED: api.MISALIGNED_ADDRESS}
                device.lost = codes.get(error.kind, api.LAUNCH_FAILED)

        self._do(stream, work)

    # Memory.

    def _cuMemAlloc_v2(self, out: int, size: int) -> None:
        device = self._device()
        self._idle(device)
        if not size:
            raise _ResultError(api.INVALID_VALUE)
        if device.memory.used + size > self.size:
            raise _ResultError(api.OUT_OF_MEMORY)
        _put(out, "Q", device.memory.allocate(size))

    def _cuMemFree_v2(self, start: int) -> None:
        device = self._device()
        self._idle(device)
        if start and start not in device.memory.pieces:
            raise _ResultError(api.INVALID_VALUE)
        if start:
            device.memory.free(start)

    def _cuMemHostRegister_v2(self, start: int | None, size: int, flags: int) -> None:
        self._device()
        if not start or not size:
            raise _ResultError(api.INVALID_VALUE)

    def _cuMemHostUnregister(self, start: int | None) -> None:
        self._device()
        if not start:
            raise _ResultError(api.INVALID_VALUE)

    def _copy(self, to: int | None, source: int | None, size: int, stream: int | None, *devices: int | None) -> None:
        memories = [d.memory for d in self.devices] if len(devices) > 1 else [self._device().memory]
        if size and not all(any(m.holds(start or 0, size) for m in memories) for start in devices):
            raise _ResultError(api.INVALID_VALUE)
        self._do(stream, lambda: ctypes.memmove(to or 0, source or 0, size))

    def _cuMemcpyHtoDAsync_v2(self, to: int, source: int | None, size: int, stream: int | None) -> None:
        self._copy(to, source, size, stream, to)

    def _cuMemcpyDtoHAsync_v2(self, to: int | None, source: int, size: int, stream: int | None) -> None:
        self._copy(to, source, size, stream, source)

    def _cuMemcpyDtoDAsync_v2(self, to: int, source: int, size: int, stream: int | None) -> None:
        self._copy(to, source, size, stream, to, source)

    def _cuMemsetD8Async(self, to: int, byte: int, size: int, stream: int | None) -> None:
        if size and not self._device().memory.holds(to, size):
            raise _ResultError(api.INVALID_VALUE)
        self._do(stream, lambda: ctypes.memset(to, byte, size))

    # Streams and events.

    def _cuStreamCreate(self, out: int, flags: int) -> None:
        _put(out, "Q", self._new(_Stream(self._device())))

    def _cuStreamDestroy_v2(self, handle: int | None) -> None:
        self._drop(handle, _Stream)

    def _cuStreamSynchronize(self, handle: int | None) -> None:
        if self._stream(handle).captured is not None:
            raise _ResultError(api.STREAM_CAPTURE_UNSUPPORTED)

    def _cuEventCreate(self, out: int, flags: int) -> None:
        _put(out, "Q", self._new(_Event(self._device())))

    def _cuEventDestroy_v2(self, handle: int | None) -> None:
        self._drop(handle, _Event)

    def _cuEventRecord(self, handle: int | None, stream: int | None) -> None:
        event = self._get(handle, _Event)

        def work() -> None:
            event.at = time.perf_counter()

        self._do(stream, work)

    def _cuEventSynchronize(self, handle: int | None) -> None:
        self._device()
        self._get(handle, _Event)

    def _cuEventElapsedTime_v2(self, out: int, start: int | None, end: int | None) -> None:
        first, last = self._get(start, _Event), self._get(end, _Event)
        if min(first.at, last.at) < 0:
            raise _ResultError(api.INVALID_HANDLE)
        _put(out, "f", 1e3 * (last.at - first.at))

    def _cuStreamWaitEvent(self, stream: int | None, handle: int | None, flags: int) -> None:
        self._get(handle, _Event)
        self._stream(stream)

    # Graphs.

    def _cuStreamBeginCapture_v2(self, handle: int | None, mode: int) -> None:
        self._device()
        stream = self._get(handle, _Stream)
        if stream.captured is not None:
            raise _ResultError(api.STREAM_CAPTURE_UNSUPPORTED)
        stream.captured = []

    def _cuStreamEndCapture(self, handle: int | None, out: int) -> None:
        stream = self._get(handle, _Stream)
        if stream.captured is None:
            raise _ResultError(api.INVALID_VALUE)
        work, stream.captured = stream.captured, None
        _put(out, "Q", self._new(tuple(work)))

    def _cuGraphInstantiateWithFlags(self, out: int, graph: int | None, flags: int) -> None:
        self._device()
        _put(out, "Q", self._new(list(self._get(graph, tuple))))

    def _cuGraphLaunch(self, executable: int | None, stream: int | None) -> None:
        work = self._get(executable, list)

        def replay() -> None:
            for one in work:
                one()

        self._do(stream, replay)

    def _cuGraphExecDestroy(self, executable: int | None) -> None:
        self._drop(executable, list)

    def _cuGraphDestroy(self, graph: int | None) -> None:
        self._drop(graph, tuple)

    # Errors.

    def _text(self, out: int, key: int, text: str) -> None:
        held = self._texts[key] = ctypes.create_string_buffer(text.encode())
        _put(out, "Q", ctypes.addressof(held))

    def _cuGetErrorName(self, code: int, out: int) -> None:
        if code not in api.ERROR_NAMES:
            raise _ResultError(api.INVALID_VALUE)
        self._text(out, code, api.ERROR_NAMES[code])

    def _cuGetErrorString(self, code: int, out: int) -> None:
        lost = any(d.lost == code for d in self.devices)
        known = api.ERROR_NAMES.get(code, "an unknown error").removeprefix("CUDA_ERROR_").replace("_", " ").lower()
        said = self.message if lost or code in (api.INVALID_PTX, api.NO_BINARY_FOR_GPU) else ""
        self._text(out, -1 - code, said or known)


def _put(place: int, kind: str, value: float) -> None:
    ctypes.memmove(place, struct.pack(kind, value), struct.calcsize(kind))
