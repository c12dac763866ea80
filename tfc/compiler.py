"""From a module in ``tfc`` to machine code: the passes, the kernels, one object file.

    lowered = lower(module, Options(cpu="x86-64-v3"))     # kernels and the host program
    binary = emit(lowered)                                # LLVM IR, then an object file
    save(binary, "model.so")                              # with model.h beside it
    program = load(lower(module, Options()))              # or run it in this process

The stages are those of `tfc.passes.pipeline`; everything after them stands here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp

from tfc.codegen import build
from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.artifact.weights import Weights
from tfc.codegen.cache import object_cache
from tfc.codegen.cpu.objects import compile_all
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cpu.translate import translate
from tfc.codegen.host import describe_program, emit_host
from tfc.codegen.known import KnownKernels
from tfc.codegen.pool import pool_llvm
from tfc.dialects import host, kernel
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
        """The bytes of the constants, read when they are written."""
        parts = [(op.offset.value.data, op.value.data) for op in self.constants]
        return Weights(parts, self.program.weights.value.data)


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
    functions = [lowered.known.written(k) if lowered.known else k for k in lowered.kernels]
    kernels = translate(functions, lowered.target, messages, linkage="internal")
    manifest = _describe(lowered, messages)
    interface = _interface(lowered, manifest, bound_weights=in_process, shared_pool=in_process)
    pool = "" if in_process else pool_llvm(lowered.target.triple)
    return "\n".join(part for part in (kernels, interface, pool) if part), manifest


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
    functions = {k.sym_name.data: k for k in lowered.kernels}
    fresh = [name for name in functions if name not in made]
    texts = [translate([functions[n]], target, messages, symbol=build.SYMBOL) for n in fresh]
    manifest = _describe(lowered, messages)
    interface = _interface(
        lowered, manifest, bound_weights=in_process, shared_pool=True, profiled=profiled
    )
    others = [f'target triple = "{target.triple}"\n{build.declarations([*functions])}{interface}']
    if not in_process:
        others.append(pool_llvm(target.triple, exported=True))
    objects = compile_all([*texts, *others], target)
    for name, data in zip(fresh, objects, strict=False):
        made[name] = data
        if known:
            known.keep(functions[name], data)
    return build.join([made[n] for n in functions], [*functions], objects[len(fresh) :]), manifest


def _describe(lowered: Lowered, messages: Sequence[str]) -> Manifest:
    threads = lowered.options.threads
    return describe_program(lowered.program, lowered.target, messages, threads=threads)


def _interface(lowered: Lowered, manifest: Manifest, **how: bool) -> str:
    return emit_host(lowered.program, lowered.kernels, manifest, **how)


def emit(lowered: Lowered) -> Binary:
    """Compile to an object file for an artifact."""
    data, manifest = emit_object(lowered)
    return Binary(manifest, data, lowered.weights, lowered)


def load(lowered: Lowered, *, profiled: bool = False) -> Program:
    """Compile into this process; ``profiled``: so that `Program.times` is there."""
    from tfc.runtime.jit import load_object
    from tfc.runtime.program import Program

    data, manifest = emit_object(lowered, in_process=True, profiled=profiled)
    library = load_object(data)
    constants = [op.value.data.contiguous() for op in lowered.constants]
    return Program(library.address, manifest.name, constants=constants, keep=library)


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
