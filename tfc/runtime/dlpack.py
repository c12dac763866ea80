"""Arrays of other libraries in place: DLPack, without a library for it.

    capsule = exported(owner, address, shape, dtype, (CUDA, 0))      for __dlpack__
    found = imported(tensor)                                         address, shape, dtype, device

Source: DLPack 0.8, the struct ``DLManagedTensor``; https://dmlc.github.io/dlpack.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfc.errors import FeedError

CPU, CUDA = 1, 2
"""Types of devices."""

_NAME, _USED = b"dltensor", b"used_dltensor"
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_BFLOAT = 4


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_alive: dict[int, object] = {}
"""What has been given away: by the address of its struct, until the taker calls the deleter."""


def _python(name: str, result: Any, *arguments: Any) -> Any:
    function = ctypes.pythonapi[name]
    function.restype, function.argtypes = result, arguments
    return function


_new = _python("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_rename = _python("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
_is_valid = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer_of = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)


@_Deleter
def _forget(managed: int) -> None:
    _alive.pop(managed, None)


@_Deleter
def _drop(capsule: int) -> None:
    """A capsule ends: what it holds is given back, unless somebody took it."""
    if _is_valid(capsule, _NAME):
        _alive.pop(_pointer_of(capsule, _NAME), None)


def exported(
    owner: object, address: int, shape: Sequence[int], dtype: np.dtype[Any], device: tuple[int, int]
) -> Any:
    """A capsule of a dense array, which ``owner`` keeps alive.

    Raises:
        FeedError: DLPack has no such dtype.
    """
    code = _BFLOAT if dtype.name == "bfloat16" else _CODES.get(dtype.kind)
    if code is None:
        raise FeedError(f"DLPack has no arrays of {dtype}")
    extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data, (tensor.device_type, tensor.device_id) = address, device
    tensor.ndim, tensor.code, tensor.bits, tensor.lanes = len(shape), code, 8 * dtype.itemsize, 1
    tensor.shape = ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = ctypes.cast(_forget, ctypes.c_void_p)
    place = ctypes.addressof(managed)
    _alive[place] = owner, managed, extents
    return _new(place, _NAME, ctypes.cast(_drop, ctypes.c_void_p))


@dataclass
class Imported:
    """An array of another library; its memory is given back with this."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: tuple[int, int]


def imported(value: Any, stream: int | None = None) -> Imported:
    """The array behind ``__dlpack__`` of ``value``, in place.

    Args:
        stream: of the device, on which the array shall be complete.

    Raises:
        FeedError: it is not dense, or of a type that numpy does not have.
    """
    capsule = value.__dlpack__() if stream is None else value.__dlpack__(stream=stream)
    place = _pointer(capsule, _NAME)
    managed = _Managed.from_address(place)
    tensor = managed.tensor
    shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
    dense = tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))
    if tensor.strides and math.prod(shape):
        strides = tuple(tensor.strides[k] for k in range(tensor.ndim))
        if any(s != d and n != 1 for s, d, n in zip(strides, dense, shape, strict=True)):
            raise FeedError(f"expected a dense array, got strides of {strides}", help="make a contiguous copy of it")
    dtype = _dtype(tensor.code, tensor.bits, tensor.lanes)
    found = Imported((tensor.data or 0) + tensor.byte_offset, shape, dtype, (tensor.device_type, tensor.device_id))
    _rename(capsule, _USED)
    if managed.deleter:
        weakref.finalize(found, _Deleter(managed.deleter), place)
    return found


def _dtype(code: int, bits: int, lanes: int) -> np.dtype[Any]:
    if code == _BFLOAT and lanes == 1:
        from tfc.runtime.program import dtype_of

        return dtype_of("bfloat16")
    kinds = {v: k for k, v in _CODES.items()}
    if lanes != 1 or code not in kinds or bits not in (8, 16, 32, 64):
        raise FeedError(f"expected numbers as numpy has them, got DLPack's type {code} of {bits} bits, {lanes} lanes")
    return np.dtype(np.bool_) if kinds[code] == "b" else np.dtype(f"{kinds[code]}{bits // 8}")
