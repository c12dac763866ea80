"""Calls of a model that Python's interpreter makes directly, by ``NAME_dispatch`` of its code.

    call = native_call(address_of_dispatch, signature)
    y = call(x)              # NotImplemented where x is not exactly what the signature says

Checks, the fresh outputs, the lock and the run itself take a few hundred nanoseconds. Whatever is not a
plain numpy array of the very dtype and shape is left to `tfc.runtime.program`, which says what is wrong
or converts it. The code looks into objects as CPython and numpy lay them out; where a probe finds
something else (another interpreter, a build without the GIL), there is no native call.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tfc.codegen.dispatch import WORDS
from tfc.runtime.arrays import allocator

_METH_FASTCALL = 0x80
_HEAD = 16
"""Bytes of an object before what it holds: a count of references and its type."""

_FUNCTIONS = {
    "vectorcall": "PyObject_Vectorcall",
    "incref": "Py_IncRef",
    "decref": "Py_DecRef",
    "new_tuple": "PyTuple_New",
    "set_item": "PyTuple_SetItem",
    "save_thread": "PyEval_SaveThread",
    "restore_thread": "PyEval_RestoreThread",
    "new_integer": "PyLong_FromLong",
}


class _MethodDef(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@dataclass(frozen=True)
class Call:
    """What a native call goes by: one set of shapes.

    Attributes:
        handle: the model's handle.
        dims: the values of the named dims.
        inputs, outputs: shape and dtype of each.
        spans: where the memory of each variable begins and ends.
        lock: held while the model runs.
        failure: called with the code of a run that failed; raises.
    """

    handle: int
    dims: Sequence[int]
    inputs: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
    outputs: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
    spans: Sequence[tuple[int, int]]
    lock: threading.Lock
    failure: Callable[[int], Any]


def unusual(*_arrays: Any) -> Any:
    """The call of a model that has no native one."""
    return NotImplemented


def native_call(function: int, name: str, call: Call) -> Callable[..., Any]:
    """A builtin function of the inputs that gives the output, or a tuple of several.

    Args:
        function: the address of ``NAME_dispatch``.
        name: what the function is called.
        call: what it goes by; the model has to outlive the function.
    """
    functions = _functions()
    if functions is None or not function:
        return unusual
    acquire, release = call.lock.acquire, call.lock.release
    make_array = allocator(call.outputs)
    alive: list[Any] = [make_array, acquire, release, call.failure, NotImplemented]
    extents = [d for shape, _ in call.inputs for d in shape]
    rows, results = len(WORDS), len(WORDS) + 4 * len(call.inputs)
    spans = results + 2 * len(call.outputs)
    dims = spans + 2 * len(call.spans)
    shapes = dims + len(call.dims)
    table = np.zeros(shapes + len(extents), np.int64)
    start = table.ctypes.data
    word = {
        "inputs": len(call.inputs),
        "outputs": len(call.outputs),
        "array_type": id(np.ndarray),
        "empty": id(make_array),
        "acquire": id(acquire),
        "release": id(release),
        "failure": id(call.failure),
        "unusual": id(NotImplemented),
        "model": call.handle,
        "dims": start + 8 * dims if call.dims else 0,
        "input_rows": start + 8 * rows,
        "output_rows": start + 8 * results,
        "variables": len(call.spans),
        "spans": start + 8 * spans,
    } | functions
    table[: len(WORDS)] = [word[w] for w in WORDS]
    at = shapes
    for k, (shape, dtype) in enumerate(call.inputs):
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        table[rows + 4 * k : rows + 4 * k + 4] = [id(dtype), len(shape), start + 8 * at, size]
        at += len(shape)
        alive.append(dtype)
    for k, (shape, dtype) in enumerate(call.outputs):
        table[results + 2 * k : results + 2 * k + 2] = [id(shape), id(dtype)]
        alive += [shape, dtype]
    for k, span in enumerate(call.spans):
        table[spans + 2 * k : spans + 2 * k + 2] = span
    table[dims:shapes] = call.dims
    table[shapes:] = extents
    method = _MethodDef(name.encode(), function, _METH_FASTCALL, None)
    make = ctypes.pythonapi["PyCFunction_NewEx"]
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
    # What stands for the module keeps alive what the table and the function point to.
    return make(ctypes.addressof(method), table, (method, *alive))


@cache
def _functions() -> dict[str, int] | None:
    """The addresses of the interpreter's functions; None where its objects look otherwise."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != _HEAD or not _laid_out():
        return None
    try:
        found = {k: ctypes.cast(ctypes.pythonapi[f], ctypes.c_void_p).value for k, f in _FUNCTIONS.items()}
    except (AttributeError, ValueError):
        return None
    return {k: v for k, v in found.items() if v}


def _laid_out() -> bool:
    """Whether arrays are laid out as the code reads them."""
    for array in (np.zeros((2, 3, 5), np.float32), np.zeros((4, 6), np.int64)[::2], np.zeros((), np.bool_)):
        words = np.frombuffer(ctypes.string_at(id(array), np.ndarray.__basicsize__), np.int64)
        if len(words) < 9 or ctypes.sizeof(ctypes.c_void_p) != 8:
            return False
        flags = array.flags
        bits = int(flags.c_contiguous) | int(flags.aligned) << 8
        extents = tuple(ctypes.string_at(int(words[4]), 8 * array.ndim)) if array.ndim else ()
        if (
            (words[1], words[2], words[7]) != (id(np.ndarray), array.ctypes.data, id(array.dtype))
            or words[3] & 0xFFFFFFFF != array.ndim
            or extents != tuple(np.array(array.shape, np.int64).tobytes())
            or words[8] & 257 != bits
        ):
            return False
    return True
