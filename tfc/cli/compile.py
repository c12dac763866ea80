"""``tfc-compile``: a model file becomes native code, with a C header beside it.

    tfc-compile model.onnx -o model.so            a shared library, and model.h
    tfc-compile model.onnx --emit=llvm            what the code looks like

Results go to files or to stdout; progress, reports and errors go to stderr.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfc.cli import looking
from tfc.cli.progress import Progress, watching
from tfc.cli.reporting import Parser, guarded, parse_arguments, write_output

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from tfc.codegen.known import KnownKernels
    from tfc.compiler import Binary
    from tfc.dims import Dim
    from tfc.options import Options
    from tfc.passes.instrumentation import Instrument

EXAMPLES = """
examples:
  tfc-compile model.onnx -o model.so        a shared library for this machine, and model.h
  tfc-compile model.onnx -o model.o         an object, to be linked into a program of yours
  tfc-compile model.onnx -o net.so --cpu=x86-64-v3
                                            runs on every x86-64 with AVX2
  tfc-compile model.onnx -o model.o --target=aarch64-linux-gnu
                                            for another machine
  tfc-compile model.onnx -o model.so --device gpu --cpu=sm_90
                                            runs on an NVIDIA GPU, called as on a CPU
  tfc-compile model.onnx --shape x=1x3x224x224
                                            fix the extents of an input
  tfc-compile model.onnx --shape x=batch,3,224,224
                                            ... or name one: any batch size, one library
  tfc-compile model.onnx --emit=tfc         look at a stage: tfc, kernel, host, llvm, asm; ptx on a GPU
  tfc-compile model.onnx --emit=tfc -o model.mlir
                                            ... with the constants beside it, for tfc-opt
  tfc-compile model.onnx --time-report      what each pass took
  tfc-compile model.onnx --profile-report   what each kernel takes when it runs

calling it:
  C        #include "model.h"; see the comment at its top. Link with -lm -lpthread.
  Python   import tfc; model = tfc.load("model.so"); y = model(x)

exit status: 0 done; 1 an error in the model or the file system; 2 an error on the command line;
3 a bug in tfc
"""

STAGES = {"tfc": "", "kernel": "optimise,fusion,kernels", "host": "optimise,lower"}
"""Forms of --emit that are modules, and the passes that lead there."""

TEXTS = ("llvm", "asm", "ptx")
_REPRODUCED = 1 << 26
"""Model files below this size have a copy kept while passes run, to reproduce a crash from."""

FORMS = (*STAGES, *TEXTS, "obj", "so")


def main(argv: Sequence[str] | None = None) -> int:
    """The tool; gives the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if any(a in ("--version", "-v") for a in arguments):  # without importing what is not needed
        from importlib.metadata import version

        print(f"tfc-compile {version('tfc')}")
        return 0
    try:
        options = parse_arguments(_parser(), arguments)
    except SystemExit as leaving:  # it has been said why
        return int(leaving.code or 0)
    return guarded("tfc-compile", lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tfc-compile",
        description="Compile a model file (ONNX, or a module of tfc) to native code.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", help="the model; what it is is told by its contents")
    add("-o", "--output", metavar="FILE", help="what to write: FILE.so, .o, .ll or .s; - is stdout")
    add("--emit", metavar="FORM", help=f"{', '.join(FORMS)}; by the name of the output if left out")
    add("--name", help="the prefix of the C functions; the output's name if left out")
    add("--shape", action="append", default=[], metavar="INPUT=EXTENTS",
        help="extents of an input: numbers or names, between them x or a comma")  # fmt: skip
    add(
        "--threads", default="1", metavar="N", help="threads of a run, if its caller asks for 0 (1)"
    )
    add("--check-effects", metavar="MODE", default="error",
        help="accesses to a variable without an order: error (the default), warn, or order")  # fmt: skip
    add("--memory-limit", metavar="SIZE",
        help="what a run may need at once: bytes, or 512KiB, 64MiB, 2GiB; kernels run again to keep within it")  # fmt: skip
    add("--allow-tf32", action="store_true",
        help="tensor cores of a GPU may multiply f32, rounded to 10 bits behind the point")  # fmt: skip
    add("-q", "--quiet", action="store_true", help="no progress and no summary")
    add("-v", "--version", action="store_true", help="print the version")

    machine = parser.add_argument_group("the machine that code is for")
    machine.add_argument(
        "--cpu", metavar="NAME", help="native (the default), x86-64-v3, x86-64-v4, ...; of GPUs sm_80, sm_90, ..."
    )
    machine.add_argument(
        "--device", metavar="NAME", help="where the model runs: cpu or gpu; what --cpu is if left out; auto: by costs"
    )
    machine.add_argument(
        "--target", metavar="TRIPLE", help="aarch64-linux-gnu, ...; this machine's"
    )
    machine.add_argument(
        "--placement-costs", metavar="FILE", help="what kernels take, as --save-costs writes it, for --device auto"
    )
    looking.add_arguments(parser, "tfc-compile")
    add("--profile-report", action="store_true",
        help="run the model here, on random numbers; tell the time and the work of each kernel")  # fmt: skip
    add("--save-costs", metavar="FILE",
        help="run the model here, on random numbers; write what its kernels take, for --placement-costs")  # fmt: skip
    return parser


def _run(given: argparse.Namespace) -> int:
    from tfc.codegen.gpu.targets import is_gpu

    form, output = _destination(given)
    of_kernels = form == "ptx" or (form == "llvm" and is_gpu(given.target, None))
    options = _options(given, output)
    if output != "-" and form not in (*STAGES, "ptx"):
        from tfc.codegen.artifact.write import check_output

        check_output(output, form)  # before the work, not after it
    began = time.perf_counter()
    with Progress(quiet=given.quiet) as progress:
        if form in STAGES:
            _emit_module(given, options, form, output, progress)
            return 0
        if of_kernels:
            from tfc.cli.emission import emit_kernels

            module = _lowered(given, options, STAGES["kernel"], progress)
            write_output(output, emit_kernels(module, form, "nvptx64", options.gpu))
            return 0
        binary = _compiled(given, options, progress)
        compiled = time.perf_counter()
        progress.at("writing", 0.9)
        if output == "-":
            from tfc.codegen.artifact.write import text_of

            write_output("-", text_of(binary, form))
            return 0
        from tfc.codegen.artifact import write_artifact

        files = write_artifact(binary, output, form)
    if given.profile_report:
        from tfc.profiling import report

        sys.stderr.writelines(f"{line}\n" for line in report(binary.lowered))
    if given.save_costs:
        from tfc.profiling import costs, random_profile

        write_output(given.save_costs, costs(random_profile(binary.lowered)))
    if not given.quiet:
        times = {"compiling": compiled - began, "writing": time.perf_counter() - compiled}
        sys.stderr.write("\n".join(_summary(binary, files, times)) + "\n")
    return 0


def _destination(given: argparse.Namespace) -> tuple[str, str]:
    """The form that is asked for, and the file; ``-`` is stdout."""
    from tfc.codegen.artifact.write import form_of
    from tfc.errors import OptionError, nearest

    if given.emit is not None and given.emit not in FORMS:
        known = nearest(given.emit, FORMS) or f"known: {', '.join(FORMS)}"
        raise OptionError(f"unknown form {given.emit!r}", help=known)
    output = given.output
    form = given.emit or ("so" if output is None else form_of(output))
    if output is None:
        suffix = {"so": ".so", "obj": ".o"}.get(form)
        output = Path(given.file).stem + suffix if suffix else "-"
    if output == "-" and form in ("so", "obj"):
        raise OptionError(f"--emit={form} is written to a file: name it by -o")
    if (option := _running(given)) and form not in ("so", "obj"):
        raise OptionError(f"{option} runs code, --emit={form} makes none")
    return form, output


def _options(given: argparse.Namespace, output: str) -> Options:
    """The compiler's options; what can be wrong with them is said before any work."""
    from tfc.codegen.artifact.manifest import check_name, model_name
    from tfc.codegen.cpu.targets import Target
    from tfc.codegen.gpu.targets import is_gpu
    from tfc.devices import Placement
    from tfc.errors import OptionError
    from tfc.options import Options, choose_device

    if is_gpu(given.target, None):  # the kernels' triple; the host is this machine
        given.target, given.device = None, given.device or "gpu"
    if given.emit == "ptx" or output.endswith(".ptx"):
        given.device = given.device or "gpu"
    device = choose_device(given.device, given.cpu)
    if given.placement_costs is not None:
        there = device.get("placement", Placement())
        device["placement"] = dataclasses.replace(there, costs=given.placement_costs)
    target = Target.parse(given.target, device["cpu"])
    if (option := _running(given)) and target.arch != Target.parse().arch:
        raise OptionError(f"{option} runs the model here, and {target.triple} is elsewhere")
    if not given.threads.isascii() or not given.threads.isdigit():
        raise OptionError(f"expected a number of threads, got {given.threads!r}")
    if given.name is not None:
        check_name(given.name)
    return Options(
        name=given.name or model_name(Path(given.file if output == "-" else output).stem),
        **device,
        target=given.target,
        threads=int(given.threads),
        shapes=dict(map(read_shape, given.shape)),
        check_effects=given.check_effects,
        memory_limit=None if given.memory_limit is None else read_size(given.memory_limit),
        allow_tf32=given.allow_tf32,
    )


def _running(given: argparse.Namespace) -> str:
    """The option that asks for a run; empty where there is none."""
    return "--profile-report" if given.profile_report else "--save-costs" if given.save_costs else ""


def read_size(text: str) -> int:
    """Bytes: ``65536``, ``64KiB``, ``1.5MiB``, ``2GiB``.

    Raises:
        OptionError: the text has another form.
    """
    from tfc.errors import OptionError

    match = re.fullmatch(r"([0-9]+|[0-9]+\.[0-9]+(?=[KMG]))([KMG]iB|B?)", text)
    if match is None:
        raise OptionError(f"expected a size, got {text!r}", help="65536, 64KiB, 1.5MiB or 2GiB")
    return int(float(match[1]) * 1024 ** " KMG".index(match[2].strip("iB") or " "))


def read_shape(text: str) -> tuple[str, list[Dim]]:
    """An input and its extents: ``x=1x3x224``, ``x=batchx3x224`` or ``x=batch,2*n,224``.

    A comma separates any extents; an ``x`` does beside a digit.

    Raises:
        OptionError: the text has another form.
    """
    from tfc.dims import parse
    from tfc.errors import OptionError

    name, equals, extents = text.rpartition("=")
    words = extents.split(",") if "," in extents else re.split(r"(?<=\d)x|x(?=\d)", extents)
    try:
        dims = [parse(word.strip()) for word in words if word.strip() or len(words) > 1]
    except ValueError:
        dims = None
    if not equals or not name or dims is None or any(isinstance(d, int) and d < 0 for d in dims):
        raise OptionError(
            f"expected --shape INPUT=EXTENTS, got {text!r}",
            help="--shape x=1x3x224x224, or --shape x=batch,3,224,224 where one has a name",
        )
    return name, dims


def _compiled(given: argparse.Namespace, options: Options, progress: Progress) -> Binary:
    from tfc.codegen.cpu.targets import Target
    from tfc.compiler import Lowered, emit, known_kernels
    from tfc.passes.count_work import CountWork

    counting = CountWork()
    known = None if looking.instruments(given) else known_kernels(options)
    module = _lowered(given, options, STAGES["host"], progress, counting, known=known)
    progress.at("generating code", 0.5)
    target = Target.parse(options.target, options.cpu)
    return emit(Lowered(module, target, options, counting.works, known))


def _emit_module(
    given: argparse.Namespace, options: Options, form: str, output: str, progress: Progress
) -> None:
    from tfc.modulefile import module_text, write_module

    module = _lowered(given, options, STAGES[form], progress)
    if output == "-":
        write_output("-", module_text(module) + "\n")
    else:
        write_module(module, Path(output))


def _lowered(
    given: argparse.Namespace,
    options: Options,
    stages: str,
    progress: Progress,
    *others: Instrument,
    known: KnownKernels | None = None,
) -> ModuleOp:
    """The model after ``stages``, which ``others`` watch too."""
    from tfc.compiler import run_stages
    from tfc.errors import InternalError
    from tfc.frontend.files import read_file
    from tfc.passes.pipeline import parse
    from tfc.passes.reproducer import CrashReproducer

    progress.at("reading", 0.0)
    module = read_file(given.file, options)
    crash = CrashReproducer(Path(given.reproducer))
    watchers = [*looking.instruments(given), *others, watching(progress, len(parse(stages)), 0.05, 0.5)]
    if Path(given.file).stat().st_size < _REPRODUCED:
        watchers.append(crash)
    options = dataclasses.replace(options, instruments=watchers)
    try:
        run_stages(module, stages, options, known=known)
    except Exception as error:
        if crash.written is None:
            raise
        first = (str(error).splitlines() or [""])[0]
        raise InternalError(
            f"{type(error).__name__}: {first}; `tfc-opt {crash.written}` shows it again"
        ) from error
    return module


def _summary(binary: Binary, files: Sequence[Path], times: dict[str, float]) -> Iterator[str]:
    """What was made, for people."""
    manifest = binary.manifest
    for number, file in enumerate(files):
        size = file.stat().st_size
        parts = f"  weights {human(binary.weights.size)}, code {human(size - binary.weights.size)}"
        yield f"{file}  {human(size)}{parts if not number and binary.weights.size < size else ''}"
    for what, ports in (("input", manifest.inputs), ("output", manifest.outputs)):
        for port in ports:
            yield f"  {what:<8} {port.name}: {port.dtype}[{', '.join(map(str, port.shape))}]"
    arena = manifest.arena_size
    yield f"  {'arena':<8} {human(arena) if isinstance(arena, int) else f'{arena} bytes'}"
    target = manifest.target
    yield f"  {'target':<8} {target.triple}, {target.cpu}, {manifest.threads} thread(s)"
    if (gpu := manifest.gpu) is not None:
        room = human(gpu.arena_size) if isinstance(gpu.arena_size, int) else f"{gpu.arena_size} bytes"
        yield f"  {'gpu':<8} {gpu.cpu}, an arena of {room} there"
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())
    yield f"  {'time':<8} {sum(times.values()):.1f} s ({spent})"


def human(size: int) -> str:
    """A number of bytes as people write it."""
    if size < 1000:
        return f"{size} bytes"
    value = float(size)
    for unit in ("KB", "MB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:,.2f} GB"


if __name__ == "__main__":
    sys.exit(main())
