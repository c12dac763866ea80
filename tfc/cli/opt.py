"""``tfc-opt``: read a module, run passes on it, print it or what becomes of it.

    tfc-opt model.mlir -p canonicalize,cse
    tfc-opt model.mlir -p optimise,lower -t llvm

The IR is all that goes to stdout; reports and dumps go to stderr or to files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfc.cli import looking
from tfc.cli.reporting import Parser, guarded, parse_arguments, write_output

EXAMPLES = """
examples:
  tfc-opt model.mlir                            parse, verify and print
  tfc-opt model.mlir -p canonicalize,cse        run two passes
  tfc-opt model.mlir -p 'fold-constants{max-bytes=1000},prune'
  tfc-opt model.mlir -p optimise                run all stages up to kernels
  tfc-opt model.mlir -p optimise,lower -t llvm  ... and print the LLVM IR of every kernel
  tfc-opt model.mlir --run --seed=1             interpret @main on generated inputs
  tfc-opt model.mlir --run --input x=x.npy      ... on an array of your own
  tfc-opt model.mlir -p cse --print-ir-after-change
  tfc-opt model.mlir -p optimise --validate-each-pass
                                                which pass changed a value?
  tfc-opt crash.mlir                            a reproducer runs the pipeline it names
  tfc-compile model.onnx --emit=tfc -o model.mlir && tfc-opt model.mlir -p optimise --time-report

exit status: 0 done; 1 an error in the input; 2 an error on the command line; 3 a bug in tfc
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The tool; gives the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if any(a in ("--version", "-v") for a in arguments):  # without importing what is not needed
        print(f"tfc-opt {_version()}")
        return 0
    try:
        options = parse_arguments(_parser(), arguments)
    except SystemExit as leaving:  # it has been said why
        return int(leaving.code or 0)
    return guarded("tfc-opt", lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tfc-opt",
        description="Read a tfc module, run passes on it, print it or what becomes of it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", nargs="?", default="-", help="the module to read; - (the default) is stdin")
    add("-o", "--output", metavar="FILE", help="where to write; stdout if left out")
    add("-p", "--passes", metavar="PIPELINE", help="passes and stages, in order; see --list-passes")
    add(
        "-t",
        "--target",
        default="mlir",
        metavar="FORM",
        help="mlir (the default), llvm, asm or obj; ptx of kernels for a GPU",
    )
    add("--check-effects", metavar="MODE", help="before other passes: check-effects{mode=MODE}")
    add("--list-passes", action="store_true", help="list passes with their options, and stages")
    add("-v", "--version", action="store_true", help="print the version")

    machine = parser.add_argument_group("the machine that code is for")
    machine.add_argument("--cpu", metavar="NAME", help="native, x86-64-v3, x86-64-v4, ...; sm_80, sm_90, ...")
    machine.add_argument("--target-triple", metavar="TRIPLE", help="aarch64-linux-gnu, ...")

    running = parser.add_argument_group("running the module by the numpy reference")
    running.add_argument("--run", action="store_true", help="interpret @main and print its results")
    running.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy")
    running.add_argument("--seed", type=int, default=0, help="for the inputs that are not given")

    looking.add_arguments(parser, "tfc-opt")

    text = parser.add_argument_group("reading and printing")
    text.add_argument("--split-input-file", action="store_true", help="parts end at // -----")
    text.add_argument(
        "--verify-diagnostics", action="store_true",
        help="print errors on stdout and go on; check them against // expected-error {{...}}",
    )  # fmt: skip
    text.add_argument("--allow-unregistered-dialect", action="store_true")
    text.add_argument("--print-op-generic", action="store_true")
    text.add_argument("--print-debuginfo", action="store_true", help="print locations")
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("tfc")


def _run(options: argparse.Namespace) -> int:
    if options.list_passes:
        from tfc.cli.listing import passes_and_stages

        write_output(options.output, passes_and_stages())
        return 0
    _check_form(options.target)
    text, name = _read(options.file)
    outputs: list[str | bytes] = []
    status = 0
    for part, first_line in _parts(text, options.split_input_file):
        from tfc.cli.session import Session

        session = Session(options, name, looking.instruments(options))
        if options.verify_diagnostics:
            output, part_status = session.diagnose(part, first_line)
            status = max(status, part_status)
        else:
            output = session.process(part, first_line)
        outputs.append(output)
    write_output(options.output, _joined(outputs))
    return status


def _check_form(form: str) -> None:
    from tfc.errors import OptionError, nearest

    known = ("mlir", "llvm", "asm", "obj", "ptx")
    if form not in known:
        raise OptionError(
            f"unknown target form {form!r}", help=nearest(form, known) or ", ".join(known)
        )


def _read(file: str) -> tuple[str, str]:
    name = "<stdin>" if file == "-" else file
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"), name
    except UnicodeDecodeError:
        from tfc.errors import ModelFileError

        raise ModelFileError("expected a text file in UTF-8, got other bytes", where=name) from None


def _parts(text: str, split: bool) -> Iterator[tuple[str, int]]:
    """Pieces of the input and the line at which each starts."""
    line = 1
    for part in text.split("// -----") if split else [text]:
        yield part, line
        line += part.count("\n")


def _joined(outputs: list[str | bytes]) -> str | bytes:
    binary = [o for o in outputs if isinstance(o, bytes)]
    if binary:
        return b"".join(binary)
    return "// -----\n".join(o for o in outputs if isinstance(o, str))


if __name__ == "__main__":
    sys.exit(main())
