"""The part of CUDA's driver interface that tfc uses: names, order, and types of arguments.

    table = Table()                     one word for each function, in this order
    table[index("cuMemAlloc_v2")]       its address

One list serves all sides: compiled models call the driver through a table of its functions in this
order, `tfc.runtime.cuda` fills such a table from ``libcuda.so.1``, and the emulator of a GPU gives one of its
own. Handles (contexts, modules, functions, streams, events, graphs) and addresses of host memory are
pointers; addresses of device memory are numbers of 64 bits.

Source: CUDA Driver API, https://docs.nvidia.com/cuda/cuda-driver-api.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_i32, _u32, _u64, _size = ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t
_ptr, _u8 = ctypes.c_void_p, ctypes.c_uint8


@dataclass(frozen=True)
class Function:
    """A function of the driver; its result is a ``CUresult``, an ``int`` that is 0 where it succeeds.

    Attributes:
        name: the symbol in the driver's library.
        arguments: their types, in order.
        older: the symbol that older drivers have instead, with the same arguments.
    """

    name: str
    arguments: tuple[Any, ...]
    older: str = ""

    @property
    def type(self) -> Any:
        """The function's type for ctypes."""
        return ctypes.CFUNCTYPE(_i32, *self.arguments)


FUNCTIONS: tuple[Function, ...] = (
    Function("cuInit", (_u32,)),  # flags
    Function("cuDriverGetVersion", (_ptr,)),  # int *version
    Function("cuDeviceGet", (_ptr, _i32)),  # int *device, ordinal
    Function("cuDeviceGetCount", (_ptr,)),  # int *count
    Function("cuDeviceGetName", (_ptr, _i32, _i32)),  # char *name, bytes, device
    Function("cuDeviceGetAttribute", (_ptr, _i32, _i32)),  # int *value, attribute, device
    Function("cuDevicePrimaryCtxRetain", (_ptr, _i32)),  # context *out, device
    Function("cuDevicePrimaryCtxRelease_v2", (_i32,)),  # device
    Function("cuCtxSetCurrent", (_ptr,)),  # context
    Function("cuModuleLoadData", (_ptr, _ptr)),  # module *out, PTX text with a NUL or a cubin
    Function("cuModuleUnload", (_ptr,)),
    Function("cuModuleGetFunction", (_ptr, _ptr, _ptr)),  # function *out, module, name
    Function("cuFuncSetAttribute", (_ptr, _i32, _i32)),  # function, attribute, value
    Function("cuMemAlloc_v2", (_ptr, _size)),  # u64 *out, bytes
    Function("cuMemFree_v2", (_u64,)),
    Function("cuMemHostRegister_v2", (_ptr, _size, _u32)),  # memory, bytes, flags
    Function("cuMemHostUnregister", (_ptr,)),
    Function("cuMemcpyHtoDAsync_v2", (_u64, _ptr, _size, _ptr)),  # target, source, bytes, stream
    Function("cuMemcpyDtoHAsync_v2", (_ptr, _u64, _size, _ptr)),
    Function("cuMemcpyDtoDAsync_v2", (_u64, _u64, _size, _ptr)),
    Function("cuMemsetD8Async", (_u64, _u8, _size, _ptr)),  # target, byte, bytes, stream
    Function("cuStreamCreate", (_ptr, _u32)),  # stream *out, flags
    Function("cuStreamDestroy_v2", (_ptr,)),
    Function("cuStreamSynchronize", (_ptr,)),
    Function("cuEventCreate", (_ptr, _u32)),  # event *out, flags
    Function("cuEventDestroy_v2", (_ptr,)),
    Function("cuEventRecord", (_ptr, _ptr)),  # event, stream
    Function("cuEventSynchronize", (_ptr,)),
    Function("cuEventElapsedTime_v2", (_ptr, _ptr, _ptr), "cuEventElapsedTime"),  # float *ms, start, end
    Function("cuStreamWaitEvent", (_ptr, _ptr, _u32)),  # stream, event, flags
    # function, grid x y z, block x y z, dynamic shared bytes, stream, void **arguments, void **extra
    Function("cuLaunchKernel", (_ptr, _u32, _u32, _u32, _u32, _u32, _u32, _u32, _ptr, _ptr, _ptr)),
    Function("cuStreamBeginCapture_v2", (_ptr, _i32)),  # stream, mode
    Function("cuStreamEndCapture", (_ptr, _ptr)),  # stream, graph *out
    Function("cuGraphInstantiateWithFlags", (_ptr, _ptr, _u64)),  # executable *out, graph, flags
    Function("cuGraphLaunch", (_ptr, _ptr)),  # executable, stream
    Function("cuGraphExecDestroy", (_ptr,)),
    Function("cuGraphDestroy", (_ptr,)),
    Function("cuGetErrorName", (_i32, _ptr)),  # result, const char **out
    Function("cuGetErrorString", (_i32, _ptr)),
    Function("cuMemGetInfo_v2", (_ptr, _ptr)),  # size_t *free, size_t *total
    Function("cuCtxGetCurrent", (_ptr,)),  # context *out; null where there is none
    Function("cuPointerGetAttribute", (_ptr, _i32, _u64)),  # void *value, attribute, address
)
"""All of them, in the order of a table."""

Table: Any = ctypes.c_void_p * len(FUNCTIONS)
"""The type of a table: the address of each function."""

_INDEX = {f.name: k for k, f in enumerate(FUNCTIONS)}


def index(name: str) -> int:
    """The place of a function in a table."""
    return _INDEX[name]


LIBRARY = "libcuda.so.1"
"""Where the driver's functions are."""

# Results (CUresult).
SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, DEINITIALIZED = range(5)
NO_DEVICE, INVALID_DEVICE, INVALID_IMAGE, INVALID_CONTEXT = 100, 101, 200, 201
NO_BINARY_FOR_GPU, INVALID_PTX, UNSUPPORTED_PTX_VERSION = 209, 218, 222
INVALID_HANDLE, NOT_FOUND, NOT_READY = 400, 500, 600
ILLEGAL_ADDRESS, LAUNCH_OUT_OF_RESOURCES, LAUNCH_TIMEOUT = 700, 701, 702
ASSERT, MISALIGNED_ADDRESS, LAUNCH_FAILED, NOT_SUPPORTED = 710, 716, 719, 801
STREAM_CAPTURE_UNSUPPORTED, STREAM_CAPTURE_INVALIDATED = 900, 901

ERROR_NAMES = {
    SUCCESS: "CUDA_SUCCESS",
    INVALID_VALUE: "CUDA_ERROR_INVALID_VALUE",
    OUT_OF_MEMORY: "CUDA_ERROR_OUT_OF_MEMORY",
    NOT_INITIALIZED: "CUDA_ERROR_NOT_INITIALIZED",
    DEINITIALIZED: "CUDA_ERROR_DEINITIALIZED",
    NO_DEVICE: "CUDA_ERROR_NO_DEVICE",
    INVALID_DEVICE: "CUDA_ERROR_INVALID_DEVICE",
    INVALID_IMAGE: "CUDA_ERROR_INVALID_IMAGE",
    INVALID_CONTEXT: "CUDA_ERROR_INVALID_CONTEXT",
    NO_BINARY_FOR_GPU: "CUDA_ERROR_NO_BINARY_FOR_GPU",
    INVALID_PTX: "CUDA_ERROR_INVALID_PTX",
    UNSUPPORTED_PTX_VERSION: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    INVALID_HANDLE: "CUDA_ERROR_INVALID_HANDLE",
    NOT_FOUND: "CUDA_ERROR_NOT_FOUND",
    NOT_READY: "CUDA_ERROR_NOT_READY",
    ILLEGAL_ADDRESS: "CUDA_ERROR_ILLEGAL_ADDRESS",
    LAUNCH_OUT_OF_RESOURCES: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
    LAUNCH_TIMEOUT: "CUDA_ERROR_LAUNCH_TIMEOUT",
    ASSERT: "CUDA_ERROR_ASSERT",
    MISALIGNED_ADDRESS: "CUDA_ERROR_MISALIGNED_ADDRESS",
    LAUNCH_FAILED: "CUDA_ERROR_LAUNCH_FAILED",
    NOT_SUPPORTED: "CUDA_ERROR_NOT_SUPPORTED",
    STREAM_CAPTURE_UNSUPPORTED: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    STREAM_CAPTURE_INVALIDATED: "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
}
"""The driver's own names of results that an emulator gives or tfc tells apart."""

# Attributes of devices (CUdevice_attribute) and functions (CUfunction_attribute).
MAX_THREADS_PER_BLOCK, MULTIPROCESSOR_COUNT = 1, 16
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
MAX_SHARED_MEMORY_PER_BLOCK, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 8, 97
FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8

# Attributes of addresses (CUpointer_attribute).
POINTER_CONTEXT, POINTER_DEVICE_ORDINAL = 1, 9

STREAM_NON_BLOCKING = 1
"""Of ``cuStreamCreate``: the stream does not wait for the legacy default stream."""

CAPTURE_MODE_THREAD_LOCAL, CAPTURE_MODE_RELAXED = 1, 2
"""Of ``cuStreamBeginCapture_v2``."""

EVENT_DISABLE_TIMING = 2

NO_DRIVER, NO_GPU, OLD_GPU = -20, -21, -22
"""What compiled models report where the GPU that they are for is not here; no results of the driver's."""
