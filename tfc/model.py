"""A compiled model in Python: make one from a file, a protobuf or a graph, call it, save it.

    model = tfc.compile("model.onnx")
    y = model(x)                          # an array, or a tuple in declared order
    model.run({"x": x})                   # {"y": array}
    model.save("model.so")                # and model.h
    tfc.load("model.so")(x)               # needs ctypes and numpy only

`load` imports nothing of the compiler.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import index
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfc.dims import Dim, parse
from tfc.errors import ArtifactError, FeedError, OptionError, nearest

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from tfc.compiler import Lowered
    from tfc.devices import Placement
    from tfc.options import Options
    from tfc.profiling import Row
    from tfc.runtime.program import Program

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Signature:
    """An input or output of a model.

    Attributes:
        name: its name in the graph or file.
        shape: integers, and expressions where an extent depends on named dims.
        dtype: of numpy.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype[Any]


class Compiled:
    """A model that is ready to run in this process."""

    def __init__(self, program: Program, lowered: Callable[[], Lowered] | None = None) -> None:
        from tfc.runtime.program import dtype_of

        self._program, self._lowered = program, lowered
        ports = program.manifest.inputs, program.manifest.outputs
        self.inputs, self.outputs = (
            tuple(Signature(p.name, p.shape, dtype_of(p.dtype)) for p in side) for side in ports
        )

    @property
    def name(self) -> str:
        """The prefix of the model's symbols in C."""
        return self._program.manifest.name

    def __call__(self, *arrays: Any) -> Array | tuple[Array, ...]:
        """Run the model on inputs in declared order.

        Returns:
            The output, or a tuple of several in declared order; fresh arrays.

        Raises:
            FeedError: the number, a shape or a dtype does not fit; the input is named.
            RunError: the model reports an error (an index out of range).
        """
        called = self._program.call(*arrays)
        if called is not NotImplemented:
            return called
        results = self._program.run(arrays)
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Run the model on inputs by name; gives the outputs by name. Raises as calling does."""
        names = [s.name for s in self.inputs]
        if not isinstance(feeds, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] # callers are not checked
            raise FeedError(
                f"expected a dict from names of inputs to values, got {type(feeds).__name__}",
                help="model(x, ...) takes the inputs in their order",
            )
        for name in feeds:
            if name not in names:
                known = nearest(name, names) or f"the inputs are {', '.join(map(repr, names))}"
                raise FeedError(f"the model has no input {name!r}", help=known)
        missing = [n for n in names if n not in feeds]
        if missing:
            raise FeedError(f"no value for the input {', '.join(map(repr, missing))}")
        results = self._program.run([feeds[n] for n in names])
        return {s.name: r for s, r in zip(self.outputs, results, strict=True)}

    def arena_size(self, **extents: int) -> int:
        """Bytes of scratch memory of a run, for these extents of the named dims."""
        return self._program.arena_size(extents)

    def run_device(self, arrays: Sequence[Any], out: Sequence[Any] | None = None, stream: Any = None) -> list[Any]:
        """Run a model that was compiled for a GPU on arrays in its memory; see `docs/gpu.md`.

        Args:
            arrays: the inputs in declared order: arrays of any library on the GPU, used in place; others are
                copied there.
            out: where to put the outputs; fresh arrays where it is left out.
            stream: of the device, by its handle or as the object of PyCUDA, PyTorch, CuPy, Numba or CUDA's own
                packages, to begin the run on: it is not waited for, unless the model may report
                errors of its data. Without one it is.

        Returns:
            The outputs in declared order, `tfc.runtime.cuda.DeviceArray` or those of ``out``.

        Raises: as calling does.
        """
        return self._program.run_device(arrays, out, stream)

    def profile(self, *arrays: Any, runs: int = 20) -> list[Row]:
        """Run the model with a clock between its kernels.

        Args:
            arrays: the inputs in declared order.
            runs: how many runs to take the median of.

        Returns:
            A row for each kernel in the order of the run: its time, its work, its operations.

        Raises:
            ArtifactError: the model came from `load`: its code has no clocks.
            FeedError, RunError: as of a call.
        """
        if self._lowered is None:
            raise ArtifactError("a loaded model cannot be profiled", help="compile it in this process")
        from tfc.profiling import profile

        return profile(self._lowered(), arrays, runs, self._program)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as a shared library (.so) or an object (.o), and its C header.

        Raises:
            ArtifactError: the path cannot be written; or the model came from `load`, so that
                its file is the artifact.
        """
        if self._lowered is None:
            raise ArtifactError("a loaded model cannot be saved again", help="copy its file")
        from tfc.compiler import emit, save

        save(emit(self._lowered()), path)

    @property
    def variables(self) -> dict[str, Array]:
        """The variables by name: arrays that are the model's state, to be read and written. On a GPU they are
        `tfc.runtime.cuda.DeviceArray`."""
        ports = self._program.manifest.variables
        return {p.name: self._program.variable(k) for k, p in enumerate(ports)}

    def initialize(self) -> None:
        """Give the variables their initial values again: those of the session that it was compiled with, or
        what the initializers gave."""
        self._program.initialize()

    def save_variables(self, path: str | os.PathLike[str]) -> None:
        """Write the variables to a checkpoint that `tf.train.Saver` and ``NAME_restore`` in C read.

        Raises:
            CheckpointError: it cannot be written.
        """
        from tfc.checkpoint.bundle import write_bundle

        write_bundle(path, {n: np.asarray(v) for n, v in self.variables.items()})

    def restore_variables(self, path: str | os.PathLike[str]) -> None:
        """Read the variables from a checkpoint: all of them, or none if one does not fit.

        Raises:
            CheckpointError: there is none, it is damaged, or it lacks a variable or has another shape for it.
        """
        from tfc.checkpoint.bundle import Bundle
        from tfc.errors import CheckpointError

        bundle, variables = Bundle(os.fspath(path)), self.variables
        values = {n: bundle.read(n) for n in variables}
        for name, value in values.items():
            wanted = variables[name]
            if (value.dtype, value.shape) != (wanted.dtype, wanted.shape):
                message = f"{name!r} is {wanted.dtype}{list(wanted.shape)}, and {value.dtype}{list(value.shape)} in the checkpoint"
                raise CheckpointError(message, where=os.fspath(path))
        for name, value in values.items():
            variables[name][...] = value

    def __repr__(self) -> str:
        def side(signatures: Sequence[Signature]) -> str:
            return ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in signatures)

        return f"<tfc model {self.name}: ({side(self.inputs)}) -> ({side(self.outputs)})>"


def compile(
    model: Any,
    feeds: Sequence[Any] | None = None,
    *,
    name: str | None = None,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    cpu: str | None = None,
    device: str | None = None,
    placement: Placement | None = None,
    threads: int = 1,
    check_effects: str = "error",
    memory_limit: int | None = None,
    allow_tf32: bool = False,
    validate_each_pass: bool = False,
    session: Any = None,
) -> Compiled:
    """Compile a model for this machine.

    Args:
        model: the path of an ONNX file, an ``onnx.ModelProto``, a module in ``tfc``; or tensors
            of a graph (one, or a list), the outputs of the model.
        feeds: for tensors of a graph, the tensors that become inputs, in order; the
            placeholders that the outputs need where it is left out.
        name: the prefix of symbols; made from the file's name where it is left out.
        shapes: extents that replace an input's declared ones; texts name dims.
        cpu: what code is generated for, "native" if left out; or the GPU ("sm_90").
        device: where all of the model runs: "cpu" or "gpu" (or "gpu:1"); what ``cpu`` is if left out. On a GPU
            it takes and gives numpy's arrays, or arrays of any library that are there already (`tfc.runtime.cuda`).
            "auto": where `tf.device` says it, and else where it is done first (`docs/placement.md`).
        placement: the same as "auto", with the devices that there are, costs that were measured, and more.
        threads: how many threads a run uses.
        check_effects: what is done about accesses to a variable that have no order: "error", "warn", or
            "order", which keeps the order in which they were made.
        memory_limit: bytes that a run may need at once beside inputs, outputs, weights and variables: kernels
            are run again instead of keeping their results, until it fits or a `MemoryLimitError` says what does not.
        allow_tf32: on a GPU, whether its tensor cores may multiply f32: factors are rounded to 10 bits behind
            the point (a relative error of 5e-4 at most each), sums stay f32.
        validate_each_pass: interpret the module before and after every pass; slow.
        session: for tensors of a graph, the session whose values its variables have.

    Raises:
        TfcError: the model cannot be read or compiled; the message says where and why.
    """
    from tfc.codegen.artifact.manifest import model_name
    from tfc.options import Options, choose_device

    if name is None:
        stem = os.path.splitext(os.path.basename(model))[0] if isinstance(model, str | os.PathLike) else "model"
        name = model_name(stem)
    check_fits(cpu)
    options = Options(
        name=name,
        **choose_device(device, cpu, placement),
        threads=threads,
        shapes=_shapes(shapes),
        check_effects=check_effects,
        memory_limit=memory_limit,
        allow_tf32=allow_tf32,
        validate_each_pass=validate_each_pass,
    )
    if isinstance(model, str | os.PathLike) and (found := _compile_file(model, options)):
        return Compiled(*found)
    from tfc.compiler import compile_module

    return Compiled(*compile_module(as_module(model, feeds, options, session), options))


def _compile_file(
    path: str | os.PathLike[str], options: Options
) -> tuple[Program, Callable[[], Lowered]] | None:
    """The program of a file that is not text, as `tfc.compiler.compile_module` gives it.

    What was made of an equal file is found by its bytes, without reading the graph in it.
    """
    from tfc.codegen.programs import program_cache, start
    from tfc.frontend.files import open_file

    file, programs = open_file(path), program_cache(options)
    if programs is None or file is None:
        return None
    file.notes = programs.notes

    def module() -> ModuleOp:
        from tfc.frontend.onnx.importer import import_onnx

        return import_onnx(file, shapes=options.shapes, name=options.name)

    def lowered() -> Lowered:
        from tfc.compiler import lower

        return lower(module(), options)

    if (ready := programs.get(file)) is not None:
        return start(ready), cache(lowered)
    from tfc.compiler import compile_and_keep

    return compile_and_keep(module(), options, programs, file)


def check_fits(cpu: str | None) -> None:
    """Raises an OptionError where code for ``cpu`` is none for this kind of machine."""
    from tfc.codegen.cpu.targets import Target
    from tfc.codegen.gpu.targets import is_gpu

    if is_gpu(None, cpu):
        return
    asked, here = Target.parse(cpu=cpu).arch, Target.parse().arch
    if asked != here:
        raise OptionError(
            f"cpu {cpu!r} is of {asked}, this machine is of {here}: the code could not run here",
            help=f"tfc-compile --cpu={cpu} -o FILE writes it for another machine",
        )


def _shapes(shapes: Any) -> dict[str, list[Dim]]:
    """What ``shapes=`` gives for the inputs."""
    if shapes is not None and not isinstance(shapes, Mapping):
        raise OptionError(f"expected shapes={{name of an input: extents}}, got {type(shapes).__name__}")
    for name, extents in (shapes or {}).items():
        if not isinstance(extents, Sequence):
            raise OptionError(f"the shape of {name!r}: expected a list of extents, got {extents!r}")
    return {name: [_extent(name, d) for d in extents] for name, extents in (shapes or {}).items()}


def _extent(name: str, extent: Any) -> Dim:
    """An extent given for the input ``name``."""
    try:
        return parse(extent) if isinstance(extent, str) else int(index(extent))
    except (TypeError, ValueError):
        raise OptionError(
            f"the shape of {name!r}: {extent!r} is no extent", help="an extent is a number, a name, or arithmetic on them"
        ) from None


def as_module(
    model: Any, feeds: Sequence[Any] | None, options: Options, session: Any = None
) -> ModuleOp:
    """The module of whatever `compile` takes."""
    from xdsl.dialects.builtin import ModuleOp

    if isinstance(model, ModuleOp):
        return model
    if isinstance(model, str | os.PathLike):
        from tfc.frontend.files import read_file

        return read_file(model, options)
    if isinstance(model, bytes) or hasattr(model, "SerializeToString"):
        from tfc.frontend.onnx.importer import import_onnx

        return import_onnx(model, shapes=options.shapes, name=options.name)
    from tfc.graph.specialise import specialise

    return specialise(model, feeds, shapes=options.shapes, name=options.name, session=session)


def load(path: str | os.PathLike[str], *, threads: int = 0) -> Compiled:
    """Load an artifact that `tfc-compile` or `Compiled.save` wrote.

    Args:
        path: of a shared library, or of an object (which needs llvmlite).
        threads: how many threads a run may use; 0 for as many as it was compiled for.

    Raises:
        ArtifactError: it is missing, truncated, no model of tfc, or not for this machine.
    """
    from tfc.runtime.loader import load_program

    return Compiled(load_program(path, threads=threads))
