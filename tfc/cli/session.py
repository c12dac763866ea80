"""What ``tfc-opt`` does with one module: parse, run passes, interpret or emit.

Apart from `tfc.cli.opt`, so that ``--help`` and ``--version`` import none of this.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import VerifyException

from tfc.cli.reporting import USER, explain
from tfc.codegen.gpu.targets import is_gpu
from tfc.dialects import context
from tfc.errors import InternalError, OptionError, TfcError
from tfc.modulefile import module_text, read_module, save_blobs
from tfc.passes.instrumentation import Instrument
from tfc.passes.pipeline import parse, run_pipeline
from tfc.passes.reproducer import CrashReproducer, pipeline_of

_EXPECTED = re.compile(r"//\s*expected-error\s*\{\{(.*?)\}\}")


class Session:
    """The options of a run, and who watches its passes."""

    def __init__(
        self, options: argparse.Namespace, name: str, instruments: list[Instrument]
    ) -> None:
        self.options, self.name, self.instruments = options, name, instruments

    def process(self, text: str, first_line: int) -> str | bytes:
        """What the module ``text`` becomes, as text or as an object file."""
        ctx = context()
        ctx.allow_unregistered = self.options.allow_unregistered_dialect
        pipeline = self.options.passes
        if pipeline is None:
            pipeline = pipeline_of(text) or ""
        if mode := self.options.check_effects:
            pipeline = ",".join(p for p in (f"check-effects{{mode={mode}}}", pipeline) if p)
        passes = parse(pipeline, _machine(self.options))  # before a long parse of the module
        module = read_module(text, self.name, ctx, first_line=first_line)
        self._passes(module, passes, ctx)
        if self.options.run:
            return _interpret(module, self.options)
        return self._emit(module)

    def diagnose(self, text: str, first_line: int) -> tuple[str | bytes, int]:
        """Like `process`, with an error as the output; and the exit status.

        Where the text has ``// expected-error {{words}}``, the error must contain them.
        """
        expected = _EXPECTED.findall(text)
        try:
            output = self.process(text, first_line)
            message = None
        except (TfcError, VerifyException) as error:
            message = explain(error, "tfc-opt")[1]
            output = message + "\n"
        missing = [e for e in expected if message is None or e not in message]
        for words in missing:
            got = "none" if message is None else message
            sys.stderr.write(
                f"{self.name}:{first_line}: error: expected the error {words!r}, got {got}\n"
            )
        return output, USER if missing else 0

    def _passes(self, module: ModuleOp, passes: list[Any], ctx: Context) -> None:
        crash = CrashReproducer(Path(self.options.reproducer))
        verify = "each" if self.options.verify_each else None
        try:
            run_pipeline(
                module, passes, context=ctx, instruments=[*self.instruments, crash], verify=verify
            )
        except Exception as error:
            if crash.written is None:
                raise
            first = (str(error).splitlines() or [""])[0]
            raise InternalError(
                f"{type(error).__name__}: {first}; `tfc-opt {crash.written}` shows it again"
            ) from error

    def _emit(self, module: ModuleOp) -> str | bytes:
        form = self.options.target
        if form == "mlir":
            generic, locations = self.options.print_op_generic, self.options.print_debuginfo
            output = Path(self.options.output or "-")
            if output.suffix == ".mlir" and output.parent.is_dir():
                save_blobs(module, output.parent / "blobs")
            return module_text(module, generic=generic, locations=locations) + "\n"
        from tfc.cli.emission import emit_kernels

        return emit_kernels(module, form, self.options.target_triple, self.options.cpu)


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    """The values for passes that have an option of this name."""
    if is_gpu(options.target_triple, options.cpu):
        return {"gpu": options.cpu, "gpus": 1}
    given = {"cpu": options.cpu, "target": options.target_triple}
    return {k: v for k, v in given.items() if v is not None}


def _interpret(module: ModuleOp, options: argparse.Namespace) -> str:
    import numpy as np

    from tfc.passes.trials import generate_inputs, main_function, run_function

    given: dict[str, Any] = {}
    for item in options.input:
        name, equals, file = item.partition("=")
        if not equals:
            raise OptionError(f"expected --input NAME=FILE.npy, got {item!r}")
        try:
            given[name] = np.load(file, allow_pickle=False)
        except ValueError as error:
            raise OptionError(f"{file} is no .npy file: {error}") from None
    main = main_function(module)
    results = run_function(main, generate_inputs(main, options.seed, given))
    with np.printoptions(threshold=200, precision=7):
        lines = [f"{n}: {a.dtype}{list(a.shape)}\n{a}" for n, a in results.items()]
    return "\n".join(lines) + "\n"
