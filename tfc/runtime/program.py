"""A compiled model as a Python object: numpy arrays in, numpy arrays out.

    program = Program(library.address, "mlp", threads=2)
    (y,) = program.run([x])
    y = program.call(x)         # NotImplemented where x needs a closer look

It drives the C interface through ctypes, whatever holds the code: a shared library or the JIT.
Signatures and extents of named dims are prepared once. What is called often goes by `call`, a builtin
function for the shapes of the last run (`tfc.runtime.dispatch`). Only ctypes and numpy are needed.

A model that runs on a GPU takes arrays that are there already, of any library, in place of numpy's, and gives
such (`tfc.runtime.cuda`).

One program runs one call at a time (its scratch memory is shared by all); calls from several
threads wait for each other. Make two programs to run at once.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from tfc import dims
from tfc.codegen.artifact.manifest import ErrorMessage, Manifest, Port
from tfc.dims import Dim
from tfc.errors import ArtifactError, FeedError, NoGpuError, RunError
from tfc.runtime.arrays import empty
from tfc.runtime.dispatch import Call, native_call, unusual
from tfc.runtime.driver_api import NO_DRIVER, NO_GPU, OLD_GPU

Array: TypeAlias = NDArray[Any]
Extents: TypeAlias = tuple[int, ...]
Address = Callable[[str], int]
"""The address of a symbol; 0 where there is none."""

WIDEST = 16
"""Bytes of whose multiples arrays on a GPU begin."""

_MOST_SHAPES = 256
"""How many sets of named dims have their shapes kept."""

_int, _pointer = ctypes.c_int, ctypes.c_void_p
_address_of = ctypes.addressof
_from: Any = ctypes.c_char.from_buffer


@dataclass
class _Shapes:
    """Extents of named dims, inputs and outputs, and the native call for them once there is one."""

    dims: Extents
    inputs: list[Extents]
    outputs: list[Extents]
    call: Callable[..., Any] | None = None


class Program:
    """One instance of a compiled model: its variables, its scratch memory, its threads.

    Args:
        address: where the symbols of the model are.
        name: the model's name, the prefix of its symbols.
        threads: how many threads a run may use; 0 for as many as it was compiled for.
        constants: the constants of a model compiled with ``bound_weights``, in the order of their
            offsets; they are used where they are.
        keep: what has to live as long as the program (the library).
        where: for errors, the place in the user's graph of inputs by name.

    Attributes:
        call: `run` of the inputs as arguments, for plain arrays of the shapes of the last run: the
            output, a tuple of several, or NotImplemented where an input is anything else.

    Raises:
        ArtifactError: this machine cannot run the model, or the manifest cannot be read.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        *,
        threads: int = 0,
        constants: Sequence[Array] | None = None,
        keep: object = None,
        where: Mapping[str, str] | None = None,
    ) -> None:
        self._address, self._name, self._keep = address, name, keep
        self._where = where or {}
        self.manifest = manifest_of(address, name)
        if self.manifest.gpu:
            self._choose_driver()
            self._run_there = self._function("run_device", _int, *[_pointer] * 5)
        self._error = self._function("error", ctypes.c_char_p, _int)
        self._run = self._function("run", _int, _pointer, _pointer, _pointer, _pointer)
        self._lock = threading.Lock()
        self._handle = self._create(threads)
        said = self._function("message", ctypes.c_char_p, _pointer) if address(f"{name}_message") else None
        message = partial(_message, said, self._handle, self._lock)
        self._fail = partial(_fail, self.manifest.errors, self._error, message)
        self._bound: dict[int, Any] = {}
        self.initial: Mapping[str, Array] = {}
        """Initial values of variables that are not part of the code."""
        self.threads = threads or self.manifest.threads
        if constants is not None:
            self._bind_constants(constants)
        self._prepare()

    # The interface.

    def run(self, arrays: Sequence[Any], out: Sequence[Array] | None = None) -> list[Array]:
        """Run the model.

        Args:
            arrays: the inputs in order: numpy arrays of the right dtype, or what makes such.
            out: where to put the outputs; fresh arrays where it is left out.

        Returns:
            The outputs in order.

        Raises:
            FeedError: an input (or an array of ``out``) has another dtype or shape.
            RunError: the model itself reports an error.
        """
        count = len(arrays)
        if count != len(self.manifest.inputs):
            raise FeedError(f"expected {len(self.manifest.inputs)} inputs, got {count}")
        if self.manifest.gpu and out is None:
            from tfc.runtime.cuda import is_on_device

            if any(map(is_on_device, arrays)):
                return self.run_device(arrays)
        fed = [self._adapted(k, a) for k, a in enumerate(arrays)]
        shapes = self._shapes if self._shapes is not None else self._resolve(fed)
        for k, (a, shape) in enumerate(zip(fed, shapes.inputs, strict=True)):
            if a.shape != shape:
                raise self._misfit(k, a, shape)
        if out is None:
            results = [empty(s, d) for s, d in zip(shapes.outputs, self._out_dtypes, strict=True)]
        else:
            results = self._given(out, shapes.outputs, fed)
        with self._lock:
            self._pointers[:] = [pointer_to(a) for a in (*fed, *results)]
            if self._dims is not None:
                self._dims[:] = self._extents(fed)
            code = self._run(self._handle, self._inputs, self._outputs, self._dims)
        if code:
            self._fail(code)
        self.call = shapes.call or self._native(shapes)
        return results

    def run_device(self, arrays: Sequence[Any], out: Sequence[Any] | None = None, stream: Any = None) -> list[Any]:
        """Run the model on arrays in device memory.

        Args:
            arrays: the inputs in order: arrays of any library on the model's GPU, used in place; others are
                copied there.
            out: where to put the outputs: such arrays; fresh ones where it is left out.
            stream: of the device, by its handle or as the object of another library (`tfc.runtime.cuda.handle_of`),
                to begin the run on. It is then not waited for, unless the model may
                report errors; without one it is.

        Returns:
            The outputs in order, on the device; arrays of numpy where the model has its inputs and outputs in
            the host's memory.

        Raises:
            FeedError, RunError: as `run` does.
        """
        from tfc.runtime.cuda import DeviceArray, as_device_array, handle_of, is_on_device

        ports = *self.manifest.inputs, *self.manifest.outputs
        memories = {p.memory for p in ports} - {""}
        if not memories or not all(p.memory for p in ports):
            return self.run([np.asarray(a) if is_on_device(a) else a for a in arrays], out)
        ordinal = int(memories.pop().rpartition(":")[2])
        fed = [
            _aligned(as_device_array(a)) if is_on_device(a) else DeviceArray.of(self._adapted(k, a), ordinal)
            for k, a in enumerate(arrays)
        ]
        for a in fed:
            _require_on(a, ordinal)
        shapes = self._shapes if self._shapes is not None else self._resolve(fed)
        for k, (a, shape) in enumerate(zip(fed, shapes.inputs, strict=True)):
            if a.shape != shape or a.dtype != self._dtypes[k]:
                raise self._misfit(k, a, shape)
        if out is None:
            results = [DeviceArray.empty(s, d, ordinal) for s, d in zip(shapes.outputs, self._out_dtypes, strict=True)]
        else:
            results = [as_device_array(a) for a in out]
            for a in results:
                _require_on(a, ordinal)
            for a, shape, port, dtype in zip(
                results, shapes.outputs, self.manifest.outputs, self._out_dtypes, strict=True
            ):
                if (a.shape, a.dtype) != (shape, dtype):
                    wanted, got = _typed(shape, dtype), _typed(a.shape, a.dtype)
                    raise FeedError(f"output {port.name!r}: expected {wanted}, got {got}")
        with self._lock:
            self._pointers[:] = [a.address for a in (*fed, *results)]
            if self._dims is not None:
                self._dims[:] = self._extents(fed)
            code = self._run_there(self._handle, self._inputs, self._outputs, self._dims, handle_of(stream) or None)
        if code:
            self._fail(code)
        return results if out is None else list(out)

    def variable(self, index: int) -> Any:
        """The storage of a variable as an array: reading and writing it is the model's state.

        Of a variable on a GPU, a `tfc.runtime.cuda.DeviceArray`."""
        if index in self._bound:
            return self._bound[index]
        port = self.manifest.variables[index]
        shape, dtype = _static(port), dtype_of(port.dtype)
        storage = self._function("variable", _pointer, _pointer, _int)(self._handle, index)
        if port.memory:
            from tfc.runtime.cuda import DeviceArray

            return DeviceArray(storage or 0, shape, dtype, self, int(port.memory.rpartition(":")[2]))
        size = int(np.prod(shape)) * dtype.itemsize
        block: Any = (ctypes.c_ubyte * size).from_address(storage)
        block.owner = self  # the array holds the block, which holds the storage's owner
        return np.frombuffer(block, np.uint8, size).view(dtype).reshape(shape)

    def bind_variable(self, index: int, storage: Any) -> None:
        """Keep a variable in ``storage`` from now on: models share state by sharing arrays, in the memory where
        the variable is."""
        port = self.manifest.variables[index]
        wanted, got = (_static(port), dtype_of(port.dtype)), (storage.shape, storage.dtype)
        dense = bool(port.memory) or (storage.flags.c_contiguous and storage.flags.writeable)
        if wanted != got or not dense:
            kind = "" if wanted != got else ", read-only or strided"
            raise FeedError(f"variable {port.name!r}: expected {_typed(*wanted)}, got {_typed(*got)}{kind}")
        with self._lock:
            bind = self._function("bind_variable", _int, _pointer, _int, _pointer)
            bind(self._handle, index, storage.address if port.memory else pointer_to(storage))
            self._bound[index] = storage
            self._forget()

    def initialize(self) -> None:
        """Give the variables their initial values."""
        if self._address(f"{self._name}_init"):
            self._function("init", _int, _pointer)(self._handle)
            return
        for k, port in enumerate(self.manifest.variables):
            self.variable(k)[...] = self.initial.get(port.name, 0)

    def arena_size(self, extents: Mapping[str, int] | None = None) -> int:
        """Bytes of scratch memory that a run with these named dims needs."""
        return dims.evaluate(self.manifest.arena_size, extents or {})

    def times(self, count: int) -> NDArray[np.int64]:
        """Of a program that was compiled for it: the nanoseconds of each of its timed operations, then how
        often each was run, summed up over the runs; ``count`` numbers in all, writable."""
        place = self._function("times", _pointer, _pointer)(self._handle)
        table: Any = (ctypes.c_int64 * count).from_address(place)
        table.owner = self  # the array holds the table, which holds the storage's owner
        return np.frombuffer(table, np.int64, count)

    # Construction.

    def _symbol(self, suffix: str) -> int:
        return _symbol(self._address, self._name, suffix)

    def _function(self, suffix: str, result: Any, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(result, *arguments)(self._symbol(suffix))

    def _choose_driver(self) -> None:
        """Use the driver that this process uses, if one was given; else the code finds the machine's own."""
        from tfc.runtime.cuda import given_table

        if table := given_table():
            self._function("use_driver", _int, _pointer)(table)

    def _create(self, threads: int) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        code = self._function("create", _int, _pointer, _int)(ctypes.addressof(handle), threads)
        if code:
            raise self._refused(code)
        destroy = self._function("destroy", None, _pointer)
        weakref.finalize(self, _destroy, destroy, handle, self._lock, self._keep)
        return handle

    def _refused(self, code: int) -> ArtifactError:
        """Why there is no instance."""
        text, gpu = _text(self._error, code), self.manifest.gpu
        if gpu is None or all(e.code != code for e in self.manifest.errors):
            return ArtifactError(f"the CUDA driver refuses the model: {text}" if gpu else text)
        if code not in (NO_DRIVER, NO_GPU, OLD_GPU):
            return ArtifactError(text)
        writes = f"the model's save, or tfc-compile --device gpu --cpu={gpu.cpu} -o FILE,"
        return NoGpuError(text, help=f"{writes} writes it for a machine that has one")

    def _bind_constants(self, constants: Sequence[Array]) -> None:
        self._constants = [np.ascontiguousarray(c) for c in constants]
        self._table = (_pointer * max(1, len(constants)))(*map(pointer_to, self._constants))
        bind = self._function("bind_weights", _int, _pointer, _pointer)
        if code := bind(self._handle, ctypes.addressof(self._table)):
            raise self._refused(code)

    def _prepare(self) -> None:
        m = self.manifest
        self._dtypes = [dtype_of(p.dtype) for p in m.inputs]
        self._out_dtypes = [dtype_of(p.dtype) for p in m.outputs]
        self._pointers = (_pointer * (len(m.inputs) + len(m.outputs)))()
        self._inputs = ctypes.addressof(self._pointers)
        self._outputs = self._inputs + len(m.inputs) * ctypes.sizeof(_pointer)
        self._dims = (ctypes.c_int64 * len(m.dims))() if m.dims else None
        self._axes = [(d.input, d.axis) for d in m.dims]
        self._forget()

    def _forget(self) -> None:
        """Shapes and native calls are made anew: memory of the program has moved."""
        self._spans: list[tuple[int, int]] | None = None
        self._known: dict[Extents, _Shapes] = {}
        self._shapes = None if self.manifest.dims else self._shapes_for(())
        self.call: Callable[..., Any] = unusual

    def _variable_spans(self) -> list[tuple[int, int]]:
        """Where the memory of each variable begins and ends."""
        if self._spans is None:
            self._spans = list(self._find_spans())
        return self._spans

    def _find_spans(self) -> Iterator[tuple[int, int]]:
        place = self._function("variable", _pointer, _pointer, _int)
        for k, port in enumerate(self.manifest.variables):
            start = place(self._handle, k) or 0
            yield start, start + dims.evaluate(port.bytes, {})

    # Shapes.

    def _extents(self, fed: Sequence[Any]) -> Extents:
        return tuple(fed[k].shape[axis] for k, axis in self._axes)

    def _resolve(self, fed: Sequence[Any]) -> _Shapes:
        """The shapes for the named dims that ``fed`` shows."""
        try:
            extents = self._extents(fed)
        except IndexError:
            extents = ()
        if (known := self._known.get(extents)) is not None:
            return known
        for k, (a, port) in enumerate(zip(fed, self.manifest.inputs, strict=True)):
            if a.ndim != len(port.shape):
                raise self._misfit(k, a, port.shape)
        for dim, extent in zip(self.manifest.dims, extents, strict=True):
            if extent < 1:
                port = self.manifest.inputs[dim.input]
                raise self._misfit(dim.input, fed[dim.input], port.shape, f"{dim.name} is at least 1")
        if len(self._known) >= _MOST_SHAPES:
            self._known.clear()
        self._known[extents] = shapes = self._shapes_for(extents)
        return shapes

    def _shapes_for(self, extents: Extents) -> _Shapes:
        env = dict(zip((d.name for d in self.manifest.dims), extents, strict=True))
        sides = (self.manifest.inputs, self.manifest.outputs)
        inputs, outputs = ([tuple(dims.evaluate(d, env) for d in p.shape) for p in s] for s in sides)
        # The model reports an extent below 0; the outputs of that run need some shape.
        return _Shapes(extents, inputs, [tuple(max(d, 0) for d in shape) for shape in outputs])

    def _native(self, shapes: _Shapes) -> Callable[..., Any]:
        """The native call for ``shapes``."""
        call = Call(
            handle=self._handle.value or 0,
            dims=shapes.dims,
            inputs=list(zip(shapes.inputs, self._dtypes, strict=True)),
            outputs=list(zip(shapes.outputs, self._out_dtypes, strict=True)),
            spans=self._variable_spans(),
            lock=self._lock,
            failure=self._fail,
        )
        shapes.call = native_call(self._address(f"{self._name}_dispatch"), self._name, call)
        return shapes.call

    # The slow paths.

    def _adapted(self, index: int, value: Any) -> Array:
        """An input as a dense array in memory of its own; arrays of other dtypes are refused."""
        port, dtype = self.manifest.inputs[index], self._dtypes[index]
        if not isinstance(value, np.ndarray | np.generic):
            try:
                return np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
            except (TypeError, ValueError, OverflowError) as error:
                message = f"input {port.name!r}: expected {_typed(port.shape, dtype)}: {error}"
                raise FeedError(message, where=self._where.get(port.name, "")) from error
        if value.dtype != dtype:
            help = f"x.astype({dtype.name!r}) converts an array x"
            raise self._misfit(index, np.asarray(value), port.shape, help)
        array = np.require(value, dtype, ["C", "A", "E"])
        if self.manifest.variables:
            start = pointer_to(array)
            # A variable's memory is no input: the run may change it before it is read.
            if any(start < b and a < start + array.nbytes for a, b in self._variable_spans()):
                return array.copy()
        return array

    def _given(
        self, out: Sequence[Array], shapes: Sequence[Extents], fed: Sequence[Array]
    ) -> list[Array]:
        if len(out) != len(shapes):
            raise FeedError(f"expected {len(shapes)} arrays for outputs, got {len(out)}")
        for a, shape, port, dtype in zip(out, shapes, self.manifest.outputs, self._out_dtypes, strict=True):
            if a.shape != shape or a.dtype != dtype or not (a.flags.c_contiguous and a.flags.writeable):
                wanted, got = _typed(shape, dtype), _typed(a.shape, a.dtype)
                kind = "" if wanted != got else ", read-only or strided"
                raise FeedError(f"output {port.name!r}: expected {wanted}, got {got}{kind}")
        for k, (a, port) in enumerate(zip(out, self.manifest.outputs, strict=True)):
            if any(np.may_share_memory(a, other) for other in (*fed, *out[:k])):
                raise FeedError(f"output {port.name!r}: expected memory of its own, got that of another array")
        return list(out)

    def _misfit(self, index: int, got: Any, shape: Sequence[Dim], help: str = "") -> FeedError:
        port = self.manifest.inputs[index]
        wanted = _typed(shape, self._dtypes[index])
        message = f"input {port.name!r}: expected {wanted}, got {_typed(got.shape, got.dtype)}"
        return FeedError(message, where=self._where.get(port.name, ""), help=help)


class Later:
    """A program for a GPU that is not here. Its manifest is known; whoever wants more of it has it begun, and meets
    the error of that as long as there is no such GPU."""

    def __init__(self, manifest: Manifest, begin: Callable[[], Program]) -> None:
        self.manifest = manifest
        self._begun = cache(begin)  # errors are not kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._begun(), name)


def manifest_of(address: Address, name: str) -> Manifest:
    """What a model says of itself.

    Raises:
        ArtifactError: it is none of tfc's, or of another version.
    """
    return Manifest.from_json(ctypes.string_at(_symbol(address, name, "manifest")))


def _symbol(address: Address, name: str, suffix: str) -> int:
    if not (found := address(f"{name}_{suffix}")):
        raise ArtifactError(f"there is no symbol {name}_{suffix}", help="is it a model of tfc?")
    return found


def _aligned(array: Any) -> Any:
    """``array``, or a copy of it that begins where kernels expect it: a part of another one may begin anywhere."""
    return array if array.address % WIDEST == 0 else array.clone()


def _require_on(array: Any, ordinal: int) -> None:
    if array.size and array.ordinal != ordinal:
        raise FeedError(f"expected an array on GPU:{ordinal}, got one on GPU:{array.ordinal}", help="copy it there")


def _fail(
    errors: Sequence[ErrorMessage],
    text_of: Callable[[int], Any],
    message: Callable[[], bytes | None],
    code: int,
) -> None:
    """Raise what ``code``, the result of a run, means; ``message``: its words, where they tell values."""
    for error in errors:
        if error.code == code:
            said = message()
            raise RunError(error.text if said is None else said.decode("utf-8", "replace"), where=error.where)
    said = message()  # of the GPU's driver
    raise RunError(_text(text_of, code) if said is None else said.decode("utf-8", "replace"))


def _message(said: Callable[..., Any] | None, handle: ctypes.c_void_p, lock: threading.Lock) -> bytes | None:
    """The words of a model's last run; a model made before there were any has none."""
    with lock:  # the next run drops them
        return said(handle) if said is not None else None


def _text(text_of: Callable[[int], Any], code: int) -> str:
    return cast(bytes, text_of(code)).decode("utf-8", "replace")


def pointer_to(array: Array) -> int:
    """The address of an array's first element."""
    try:
        return _address_of(_from(array))
    except (TypeError, ValueError, BufferError):  # read-only, empty, or without a buffer format
        return array.__array_interface__["data"][0]


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a port; bfloat16 comes from ml_dtypes where that is installed."""
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:  # its bits, then
            return np.dtype(np.uint16)
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _static(port: Port) -> Extents:
    return tuple(dims.evaluate(d, {}) for d in port.shape)


def _typed(shape: Sequence[Dim], dtype: object) -> str:
    return f"{dtype}[{', '.join(str(d) for d in shape)}]"


def _destroy(
    destroy: Callable[[ctypes.c_void_p], None], handle: ctypes.c_void_p, lock: threading.Lock, keep: object
) -> None:
    """Free a model, at the latest when the interpreter ends; another thread may still run it."""
    del keep  # the library lives until here
    with lock:
        destroy(handle)
        handle.value = None
