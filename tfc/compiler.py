"""From a module in ``tfc`` to machine code: the passes, the kernels, one object file.

    lowered = lower(module, Options(cpu="x86-64-v3"))     # kernels and the host program
    binary = emit(lowered)                                # LLVM IR, then an object file
    save(binary, "model.so")                              # with model.h beside it
    program = load(lower(module, Options()))              # or run it in this process

The stages are those of `tfc.passes.pipeline`; everything after them stands here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import DictionaryAttr, ModuleOp

from tfc.codegen import build
from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.artifact.weights import ALIGNMENT, Content, Weights
from tfc.codegen.cache import object_cache
from tfc.codegen.cpu.objects import compile_all
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cpu.translate import translate
from tfc.codegen.cuda import Image, device_of
from tfc.codegen.host import describe_program, emit_host, one_module
from tfc.codegen.interface import NO_MEMORY, NULL_POINTER
from tfc.codegen.known import KnownKernels
from tfc.codegen.pool import pool_llvm
from tfc.codegen.programs import Model, ProgramCache, Ready, program_cache, start
from tfc.codegen.state import state_llvm
from tfc.dialects import host, kernel
from tfc.dialects.tfc.state import INITIAL
from tfc.dialects.tfc.types import LiteralAttr
from tfc.errors import OptionError
from tfc.modulekey import SaidByModule
from tfc.options import Options
from tfc.passes.count_work import CountWork, Work
from tfc.passes.instrumentation import Instrument, from_environment
from tfc.passes.pipeline import run_pipeline

if TYPE_CHECKING:
    from tfc.runtime.program import Program


@dataclass(frozen=True)
class Lowered:
    """Kernels and the host program of one model."""

    module: ModuleOp
    target: Target
    options: Options
    works: Sequence[Work] = ()
    """What each launch of the program does, in order."""
    known: KnownKernels | None = None
    """The objects of kernels that have no body."""

    @property
    def program(self) -> host.ProgramOp:
        return next(op for op in self.module.ops if isinstance(op, host.ProgramOp))

    @property
    def kernels(self) -> Sequence[kernel.FuncOp]:
        return [op for op in self.module.ops if isinstance(op, kernel.FuncOp)]

    @property
    def cpu_kernels(self) -> Sequence[kernel.FuncOp]:
        """Those that run on the host."""
        return [k for k in self.kernels if k.target.data != "gpu"]

    @property
    def constants(self) -> Sequence[host.ConstantOp]:
        """The constants of the program in the order of their offsets, each once."""
        found = {
            op.offset.value.data: op
            for op in self.program.body.block.ops
            if isinstance(op, host.ConstantOp)
        }
        return [found[offset] for offset in sorted(found)]

    @property
    def weights(self) -> Weights:
        """The bytes of the constants and of initial values, read when they are written."""
        parts: list[tuple[int, Content]] = [(op.offset.value.data, op.value.data) for op in self.constants]
        places, size = self._places()
        parts += [(at, self.initial[name].data) for name, at in places.items() if at is not None]
        return Weights(parts, size)

    @property
    def initial(self) -> dict[str, LiteralAttr]:
        """The initial values of variables by name, as far as the module says them."""
        said = self.module.attributes.get(INITIAL)
        known = said.data if isinstance(said, DictionaryAttr) else {}
        return {n: v for n, v in known.items() if isinstance(v, LiteralAttr)}

    @property
    def initial_places(self) -> dict[str, int | None] | None:
        """Where in the weights the initial value of each variable is; None where it is zeros."""
        return self._places()[0] if INITIAL in self.module.attributes else None

    def _places(self) -> tuple[dict[str, int | None], int]:
        """The same, and the size of the weights with these values behind the constants."""
        found, end = dict[str, int | None](), self.program.weights.value.data
        for name, value in self.initial.items():
            found[name] = None
            if not _is_zeros(value):
                found[name] = end = -(-end // ALIGNMENT) * ALIGNMENT
                end += value.data.array.nbytes
        return found, end


@dataclass(frozen=True)
class Binary:
    """A compiled model: code whose weights are still outside."""

    manifest: Manifest
    object: bytes = field(repr=False)
    weights: Weights = field(repr=False)
    lowered: Lowered = field(repr=False)

    @property
    def llvm(self) -> str:
        """All of the code as one LLVM module."""
        return emit_llvm(self.lowered)[0]


def optimise(module: ModuleOp, options: Options) -> None:
    """Run the stages on ``tfc``, in place; `Options.shapes` have been applied before."""
    run_stages(module, "optimise", options)


def lower(module: ModuleOp, options: Options) -> Lowered:
    """Optimise ``module`` and lower it to kernels and a host program, in place."""
    counting, target = CountWork(), Target.parse(options.target, options.cpu)
    known = known_kernels(options)
    run_stages(module, "optimise,lower", options, counting, known=known)
    return Lowered(module, target, options, counting.works, known)


def known_kernels(options: Options) -> KnownKernels | None:
    """What the cache knows of kernels; None where each is written, for whoever looks at the stages."""
    target = Target.parse(options.target, options.cpu)
    if options.instruments or from_environment() or not build.is_joined(target):
        return None
    cache = object_cache()
    return KnownKernels(target, cache) if cache else None


def emit_llvm(lowered: Lowered, *, in_process: bool = False) -> tuple[str, Manifest]:
    """The model as one LLVM module, and its description.

    Args:
        in_process: for this process: constants are used where they are, and the thread pool
            is the process's; else the module is self-contained but for its weights.
    """
    messages: list[str] = []
    functions = [lowered.known.written(k) if lowered.known else k for k in lowered.cpu_kernels]
    kernels = translate(functions, lowered.target, messages, linkage="internal")
    image = _image(lowered, messages)
    manifest = _describe(lowered, messages, image)
    interface = _interface(lowered, manifest, image, bound_weights=in_process, shared_pool=in_process)
    if in_process:
        return one_module(kernels, interface), manifest
    pool = pool_llvm(lowered.target.triple)
    return one_module(kernels, interface, pool, _state(lowered, manifest)), manifest


def _is_zeros(value: LiteralAttr) -> bool:
    """Whether all bits are 0: then memory that is cleared has the value."""
    array = value.data.array
    if value.data.is_splat and array.size:
        array = array.reshape(-1)[:1]
    return not np.ascontiguousarray(array).reshape(-1).view(np.uint8).any()


def _state(lowered: Lowered, manifest: Manifest) -> str:
    """The functions of a model with variables; empty for one without."""
    if not manifest.stateful:
        return ""
    return state_llvm(manifest, lowered.initial_places, NULL_POINTER, NO_MEMORY)


def emit_object(
    lowered: Lowered, *, in_process: bool = False, profiled: bool = False
) -> tuple[bytes, Manifest]:
    """The same as one object file, in which each kernel was generated for itself or cached.

    Args:
        in_process: as of `emit_llvm`.
        profiled: with clocks between the kernels; see `tfc.codegen.host.emit_host`.
    """
    target = lowered.target
    if not build.is_joined(target):
        text, manifest = emit_llvm(lowered, in_process=in_process)
        return compile_all([text], target)[0], manifest
    messages: list[str] = []
    known = lowered.known
    made = dict(known.objects) if known else {}
    functions = {k.sym_name.data: k for k in lowered.cpu_kernels}
    fresh = [name for name in functions if name not in made]
    texts = [translate([functions[n]], target, messages, symbol=build.SYMBOL) for n in fresh]
    image = _image(lowered, messages, assembled=not in_process)
    manifest = _describe(lowered, messages, image)
    interface = _interface(
        lowered, manifest, image, bound_weights=in_process, shared_pool=True, profiled=profiled
    )
    others = [f'target triple = "{target.triple}"\n{build.declarations([*functions])}{interface}']
    if not in_process:
        others.append(pool_llvm(target.triple, exported=True))
        if state := _state(lowered, manifest):
            others.append(f'target triple = "{target.triple}"\n{state}')
    objects = compile_all([*texts, *others], target)
    for name, data in zip(fresh, objects, strict=False):
        made[name] = data
        if known:
            known.keep(functions[name], data)
    return build.join([made[n] for n in functions], [*functions], objects[len(fresh) :]), manifest


def _image(lowered: Lowered, messages: list[str], *, assembled: bool = False) -> Image | None:
    """The kernels of a program for its GPU, if it uses one; ``assembled``: as machine code too, where that can be made.

    Raises:
        OptionError: the program uses several GPUs, or one beside a host of 32 bits.
    """
    if not device_of(lowered.program):
        return None
    from tfc.codegen.gpu.assemble import assemble
    from tfc.codegen.gpu.pieces import join
    from tfc.codegen.gpu.ptx import piece
    from tfc.codegen.gpu.targets import GpuTarget

    if lowered.target.pointer_bits != 64:
        raise OptionError(f"a GPU has a host of 64 bits, and {lowered.target.triple} has fewer")
    target = GpuTarget.parse(lowered.options.gpu)
    functions = {k.sym_name.data: k for k in lowered.kernels if k.target.data == "gpu"}
    known = lowered.known
    pieces = dict(known.pieces) if known else {}
    for name in functions.keys() - pieces.keys():
        pieces[name] = piece(functions[name], target, messages)
        if known:
            known.keep_piece(functions[name], pieces[name])
    text = join([pieces[name] for name in functions], [*functions])
    return Image(target.cpu, text, assemble(text, target.cpu) if assembled else b"")


def _describe(lowered: Lowered, messages: Sequence[str], image: Image | None) -> Manifest:
    threads, gpu = lowered.options.threads, image.cpu if image else ""
    manifest = describe_program(lowered.program, lowered.target, messages, threads=threads, gpu=gpu)
    return replace(manifest, weights_size=lowered.weights.size)


def _interface(lowered: Lowered, manifest: Manifest, image: Image | None, **how: bool) -> str:
    stateful = manifest.stateful and not how["bound_weights"]
    return emit_host(lowered.program, lowered.kernels, manifest, stateful=stateful, image=image, **how)


def emit(lowered: Lowered) -> Binary:
    """Compile to an object file for an artifact."""
    data, manifest = emit_object(lowered)
    return Binary(manifest, data, lowered.weights, lowered)


def load(lowered: Lowered, *, profiled: bool = False) -> Program:
    """Compile into this process; ``profiled``: so that `Program.times` is there."""
    return start(ready(lowered, profiled=profiled))


def ready(lowered: Lowered, *, profiled: bool = False) -> Ready:
    """What `load` loads."""
    data, manifest = emit_object(lowered, in_process=True, profiled=profiled)
    constants = [op.value.data.contiguous() for op in lowered.constants]
    return Ready(manifest.name, data, constants, {n: v.data.array for n, v in lowered.initial.items()})


def compile_module(module: ModuleOp, options: Options) -> tuple[Program, Callable[[], Lowered]]:
    """Compile ``module`` into this process, or take the program that was made of an equal one.

    Returns:
        The program, and what gives its kernels: the module may be lowered only then.
    """
    if (programs := program_cache(options)) is None:
        lowered = lower(module, options)
        return load(lowered), lambda: lowered
    said = SaidByModule(module)
    if (found := programs.get(said)) is not None:
        return start(found), cache(lambda: lower(module, options))
    return compile_and_keep(module, options, programs, said)


def compile_and_keep(
    module: ModuleOp, options: Options, programs: ProgramCache, said: Model
) -> tuple[Program, Callable[[], Lowered]]:
    """The same for what ``programs`` do not have.

    Args:
        said: what ``module`` was made from.
    """
    lowered = lower(module, options)
    made = ready(lowered)
    programs.put(said, made)
    return start(made), lambda: lowered


def save(binary: Binary, path: str | os.PathLike[str]) -> None:
    """Write an artifact by the suffix of ``path`` (.so, .o) and its C header beside it.

    Raises:
        ArtifactError: the path cannot be written, or the target has no such artifact.
    """
    from tfc.codegen.artifact import write_artifact

    write_artifact(binary, Path(path))


def run_stages(
    module: ModuleOp,
    stages: str,
    options: Options,
    *watching: Instrument,
    known: KnownKernels | None = None,
) -> None:
    """Run passes and stages of `tfc.passes.pipeline` with what ``options`` say, in place.

    Args:
        watching: instruments beside those of the options or the environment.
        known: kernels that need no body.
    """
    given = {"cpu": options.cpu, "target": options.target, "model": options.name}
    given |= {"mode": options.check_effects, "memory_limit": options.memory_limit, "known": known}
    given |= dataclasses.asdict(options.placement) | {"gpu": options.gpu, "allow_tf32": options.allow_tf32}
    watchers = list(options.instruments) or from_environment()
    if options.validate_each_pass:
        from tfc.passes.validate import ValidateEachPass

        watchers.append(ValidateEachPass())
    run_pipeline(
        module,
        stages,
        options={k: v for k, v in given.items() if v is not None},
        instruments=[*watchers, *watching],
    )
