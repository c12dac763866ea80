"""GPUs from Python: the driver's functions, and arrays in device memory.

    y = model(device_array)                  # a DeviceArray; nothing leaves the GPU
    torch.from_dlpack(y)                     # the same memory in another library, as cupy.asarray(y) is
    np.asarray(y)                            # a copy in the host's memory

Compiled models call the driver themselves; what stands here is for data that stays on the device between
calls. There is one driver in a process: that of ``libcuda.so.1``, or whatever `use_driver` was given (an
emulated GPU). Memory belongs to the primary context of its device, which all of CUDA's libraries share.

Importing this needs no GPU and no driver; the first use of one says what is missing.
"""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tfc.errors import FeedError, RunError
from tfc.runtime import driver_api as api
from tfc.runtime.dlpack import CUDA, exported, imported

Array = NDArray[Any]


def use_driver(table: int | None, keep: object = None) -> None:
    """Let ``table`` be the driver of models that are made from now on, and of arrays.

    Args:
        table: the address of a table as `tfc.runtime.driver_api` describes it; None for the machine's own.
        keep: what has to live as long as the table is used.
    """
    _given[:] = [(table, keep)] if table else []
    driver.cache_clear()


_given: list[tuple[int, object]] = []


def given_table() -> int:
    """The table that `use_driver` was given; 0 if there is none."""
    return _given[0][0] if _given else 0


def is_available() -> bool:
    """Whether there is a driver, and a GPU that it can use."""
    return gpus_here() > 0


def gpus_here() -> int:
    """How many GPUs this machine has, as far as its driver says; 0 without one."""
    try:
        return driver().count()
    except RunError:
        return 0


@cache
def driver() -> Driver:
    """The driver.

    Raises:
        RunError: this machine has none.
    """
    if _given:
        return Driver(_given[0][0], _given[0][1])
    if (found := _machines()) is None:
        help = "install NVIDIA's driver, or compile the model for the CPU"
        raise RunError(f"this machine has no CUDA driver: {api.LIBRARY} was not found", help=help)
    return found


@cache
def _machines() -> Driver | None:
    """The machine's own driver; None where it has none."""
    try:
        library = ctypes.CDLL(api.LIBRARY)
    except OSError:
        return None
    words = api.Table(*(_symbol(library, f) for f in api.FUNCTIONS))
    return Driver(ctypes.addressof(words), (library, words))


def _symbol(library: ctypes.CDLL, function: api.Function) -> int | None:
    for name in filter(None, (function.name, function.older)):
        if (found := getattr(library, name, None)) is not None:
            return ctypes.cast(found, ctypes.c_void_p).value
    return None


@dataclass(frozen=True)
class Properties:
    """What a GPU is like: its name, ten times its compute capability, its multiprocessors, bytes of memory."""

    name: str
    capability: int
    multiprocessors: int
    memory: int


class Driver:
    """The driver's functions, by a table of their addresses."""

    def __init__(self, table: int, keep: object = None) -> None:
        self.table, self._keep = table, keep
        words = api.Table.from_address(table)
        self._functions = {f.name: f.type(words[k]) for k, f in enumerate(api.FUNCTIONS) if words[k]}
        self._contexts: dict[int, int] = {}
        self._spare: dict[tuple[int, int], list[int]] = {}
        """Blocks that are not used now, by their device and size."""
        self._lock = threading.Lock()

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function.

        Raises:
            RunError: its result is no success; the driver's name for it is given.
        """
        if name not in self._functions:
            raise RunError(f"the CUDA driver lacks {name}", help="update NVIDIA's driver")
        if result := self._functions[name](*arguments):
            raise RunError(f"{name}: {self.error(result)}")

    def error(self, result: int) -> str:
        """The name of a result, and what it means."""
        texts: list[str] = []
        for name in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            self._functions[name](result, ctypes.addressof(text))
            texts.append((text.value or b"an unknown error").decode("utf-8", "replace"))
        return ", ".join(texts)

    def count(self) -> int:
        """How many GPUs there are."""
        number = ctypes.c_int32()
        if self._functions["cuInit"](0):
            return 0
        self.call("cuDeviceGetCount", ctypes.addressof(number))
        return number.value

    def properties(self, ordinal: int = 0) -> Properties:
        """What a GPU is like."""
        device, name = self._device(ordinal), ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", ctypes.addressof(name), 256, device)

        def attribute(which: int) -> int:
            value = ctypes.c_int32()
            self.call("cuDeviceGetAttribute", ctypes.addressof(value), which, device)
            return value.value

        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        with self.within(ordinal):
            self.call("cuMemGetInfo_v2", ctypes.addressof(free), ctypes.addressof(total))
        capability = 10 * attribute(api.COMPUTE_CAPABILITY_MAJOR) + attribute(api.COMPUTE_CAPABILITY_MINOR)
        return Properties(name.value.decode(), capability, attribute(api.MULTIPROCESSOR_COUNT), total.value)

    @contextmanager
    def within(self, ordinal: int) -> Generator[None]:
        """Work in the primary context of a device; one that the caller has made current in this thread is so again
        afterwards."""
        primary, before = self.context(ordinal), ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.addressof(before))
        if before.value != primary:
            self.call("cuCtxSetCurrent", primary)
        try:
            yield
        finally:
            if before.value not in (None, primary):
                self.call("cuCtxSetCurrent", before)

    def context(self, ordinal: int) -> int:
        """The primary context of a device, the one that CUDA's runtime and its libraries use."""
        if ordinal not in self._contexts:
            context = ctypes.c_void_p()
            self.call("cuDevicePrimaryCtxRetain", ctypes.addressof(context), self._device(ordinal))
            self._contexts[ordinal] = context.value or 0
        return self._contexts[ordinal]

    def home(self, address: int) -> int:
        """The GPU that ``address`` is on.

        Raises:
            FeedError: it is in another context than the primary one of its GPU.
        """
        ordinal, context = ctypes.c_int32(), ctypes.c_void_p()
        ask = self._functions["cuPointerGetAttribute"]
        if ask(ctypes.addressof(ordinal), api.POINTER_DEVICE_ORDINAL, address):
            return 0  # the driver does not know it: whoever uses it meets that error
        # Memory of a pool belongs to no context.
        if ask(ctypes.addressof(context), api.POINTER_CONTEXT, address) or not context.value:
            return ordinal.value
        if context.value != self.context(ordinal.value):
            raise FeedError(
                f"expected an array in the primary context of GPU:{ordinal.value}, got one of another context",
                help="of PyCUDA: import pycuda.autoprimaryctx instead of pycuda.autoinit",
            )
        return ordinal.value

    def _device(self, ordinal: int) -> int:
        if not 0 <= ordinal < (count := self.count()):
            raise RunError(f"there is no GPU {ordinal}: the CUDA driver finds {count}")
        device = ctypes.c_int32()
        self.call("cuDeviceGet", ctypes.addressof(device), ordinal)
        return device.value

    # Memory.

    def allocate(self, size: int, ordinal: int = 0) -> Memory:
        """Device memory: a block that was used before, or a new one. It can be used again when the object has gone;
        what was begun on it has to be done then."""
        size = max(-(-size // _ROUND) * _ROUND, _ROUND)
        with self._lock:
            spare = self._spare.get((ordinal, size))
            if spare:
                return Memory(self, spare.pop(), size, ordinal)
        address = ctypes.c_uint64()
        with self.within(ordinal):
            try:
                self.call("cuMemAlloc_v2", ctypes.addressof(address), size)
            except RunError:
                if not self.release():
                    raise
                self.call("cuMemAlloc_v2", ctypes.addressof(address), size)
        return Memory(self, address.value, size, ordinal)

    def give(self, address: int, size: int, ordinal: int) -> None:
        """Keep a block for the next that asks for one of its size: asking the driver waits for the whole device."""
        with self._lock:
            self._spare.setdefault((ordinal, size), []).append(address)

    def release(self) -> int:
        """Give blocks that are not used back to the driver; gives how many bytes these were."""
        with self._lock:
            blocks, self._spare = self._spare, {}
        for (ordinal, _), addresses in blocks.items():
            with self.within(ordinal):
                for address in addresses:
                    self.call("cuMemFree_v2", address)
        return sum(size * len(addresses) for (_, size), addresses in blocks.items())

    def to_device(self, target: int, source: Array, ordinal: int) -> None:
        """Copy a dense array, and wait."""
        if source.nbytes:
            with self.within(ordinal):
                self.call("cuMemcpyHtoDAsync_v2", target, source.ctypes.data, source.nbytes, None)
                self.call("cuStreamSynchronize", None)

    def to_host(self, target: Array, source: int, ordinal: int) -> None:
        """Copy to a dense array, and wait."""
        if target.nbytes:
            with self.within(ordinal):
                self.call("cuMemcpyDtoHAsync_v2", target.ctypes.data, source, target.nbytes, None)
                self.call("cuStreamSynchronize", None)

    def pin(self, array: Array) -> None:
        """Keep an array's pages where they are as long as it lives, so that copies of it need no other one."""
        with self.within(0):
            self.call("cuMemHostRegister_v2", array.ctypes.data, array.nbytes, 0)
        weakref.finalize(array, self._unpin, array.ctypes.data)

    def _unpin(self, address: int) -> None:
        with self.within(0):
            self.call("cuMemHostUnregister", address)


_ROUND = 512
"""Bytes of whose multiples blocks are asked for."""


class Memory:
    """A block of device memory."""

    def __init__(self, driver: Driver, address: int, size: int, ordinal: int) -> None:
        self.address = address
        weakref.finalize(self, driver.give, address, size, ordinal)


class DeviceArray:
    """A dense array in the memory of a GPU.

    Other libraries use it in place through DLPack or ``__cuda_array_interface__``; numpy gets a copy. Reading and
    writing elements copies all of it: meant for looking at values, and for setting variables.

    Args:
        address: of its first byte, on the device.
        owner: what keeps the memory alive.
        ordinal: which GPU.
    """

    def __init__(
        self, address: int, shape: Sequence[int], dtype: np.dtype[Any], owner: object, ordinal: int = 0
    ) -> None:
        self.address, self.shape, self.dtype = address, tuple(shape), dtype
        self.owner, self.ordinal = owner, ordinal

    @classmethod
    def empty(cls, shape: Sequence[int], dtype: Any, ordinal: int = 0) -> DeviceArray:
        """A fresh array, its values undefined."""
        dtype = np.dtype(dtype)
        memory = driver().allocate(math.prod(shape) * dtype.itemsize, ordinal)
        return cls(memory.address, shape, dtype, memory, ordinal)

    @classmethod
    def of(cls, value: Any, ordinal: int = 0) -> DeviceArray:
        """A copy of an array on the device."""
        source = np.ascontiguousarray(value).reshape(np.shape(value))
        made = cls.empty(source.shape, source.dtype, ordinal)
        driver().to_device(made.address, source, ordinal)
        return made

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def numpy(self) -> Array:
        """A copy in the host's memory."""
        found = np.empty(self.shape, self.dtype)
        driver().to_host(found, self.address, self.ordinal)
        return found

    def clone(self) -> DeviceArray:
        """A copy on the device."""
        made, found = DeviceArray.empty(self.shape, self.dtype, self.ordinal), driver()
        if self.nbytes:
            with found.within(self.ordinal):
                found.call("cuMemcpyDtoDAsync_v2", made.address, self.address, self.nbytes, None)
                found.call("cuStreamSynchronize", None)
        return made

    def copy(self) -> Array:
        """The same, by the name that numpy's arrays have for it."""
        return self.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("an array on a GPU cannot be an array of numpy without a copy")
        found = self.numpy()
        return found if dtype is None else found.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        return self.numpy()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is Ellipsis:
            whole = np.empty(self.shape, self.dtype)
            whole[...] = value
        else:
            whole = self.numpy()
            whole[key] = value
        driver().to_device(self.address, whole, self.ordinal)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array of rank 0")
        return self.shape[0]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        about = {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False)}
        return about | {"strides": None, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.ordinal

    def __dlpack__(self, **_wishes: Any) -> Any:
        return exported(self, self.address, self.shape, self.dtype, (CUDA, self.ordinal))

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)} on GPU:{self.ordinal}>"


def is_on_device(value: Any) -> bool:
    """Whether ``value`` is an array in device memory, of whatever library."""
    if isinstance(value, np.ndarray):
        return False
    if isinstance(value, DeviceArray) or hasattr(value, "__cuda_array_interface__"):
        return True
    return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] == CUDA


def as_device_array(value: Any) -> DeviceArray:
    """An array of any library in device memory, in place, once what it is computed by is done.

    Raises:
        FeedError: it is not dense, or masked.
    """
    if isinstance(value, DeviceArray):
        return value
    if hasattr(value, "__dlpack__") and value.__dlpack_device__()[0] == CUDA:
        found = imported(value, _LEGACY)
        _wait(_LEGACY, found.device[1])
        return DeviceArray(found.address, found.shape, found.dtype, found, found.device[1])
    about = cast("dict[str, Any]", value.__cuda_array_interface__)
    dtype, shape, strides = np.dtype(about["typestr"]), tuple(about["shape"]), about.get("strides")
    dense = tuple(dtype.itemsize * math.prod(shape[k + 1 :]) for k in range(len(shape)))
    if about.get("mask") is not None:
        raise FeedError("expected a dense array, got a masked one")
    apart = strides is not None and any(s != d and n != 1 for s, d, n in zip(strides, dense, shape, strict=True))
    if apart and math.prod(shape):
        raise FeedError(f"expected a dense array, got strides of {strides}", help="make a contiguous copy of it")
    address, ordinal = about["data"][0], 0
    if math.prod(shape):
        ordinal = driver().home(address)
    if (stream := about.get("stream")) is not None:
        _wait(stream, ordinal)
    return DeviceArray(address, shape, dtype, value, ordinal)


def handle_of(stream: Any) -> int:
    """The driver's handle of a stream.

    Args:
        stream: a number, None for none, or a stream of PyCUDA, Numba (``handle``), CuPy (``ptr``), PyTorch (``cuda_stream``), or
            of CUDA's own packages (``__cuda_stream__``, or what ``int`` takes).

    Raises:
        FeedError: it is none of these.
    """
    if stream is None:
        return 0
    protocol: Any = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        return int(cast("tuple[int, int]", protocol() if callable(protocol) else protocol)[1])
    for name in ("cuda_stream", "handle", "ptr"):
        if (found := getattr(stream, name, None)) is not None:
            return int(getattr(found, "value", found) or 0)  # a number of ctypes, in Numba
    try:
        return int(stream)
    except (TypeError, ValueError):
        raise FeedError(f"expected a CUDA stream or its handle, got {type(stream).__name__}") from None


_LEGACY = 1
"""The stream that waits for the usual ones of its context, as both protocols number it; to the driver it is none."""


def _wait(stream: int, ordinal: int) -> None:
    with driver().within(ordinal):
        driver().call("cuStreamSynchronize", None if stream == _LEGACY else stream)
