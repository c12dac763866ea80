"""The options that look inside a compilation, the same for both tools.

    --print-ir-before=PASSES --print-ir-after-all --print-ir-after-change --dump-ir=DIR
    --time-report --trace-rules --explain-fusion --explain-placement --validate-each-pass

What they show goes to stderr or to files.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfc.passes.instrumentation import Instrument


def add_arguments(parser: argparse.ArgumentParser, tool: str) -> None:
    """Add the group "looking inside" to the parser of ``tool``."""
    looking = parser.add_argument_group("looking inside")
    add = looking.add_argument
    add("--print-ir-before", default="", metavar="PASSES", help="names, by commas")
    add("--print-ir-after-all", action="store_true")
    add("--print-ir-after-change", action="store_true")
    add("--dump-ir", metavar="DIR", help="one file for each pass, read back by tfc-opt")
    add("--time-report", action="store_true", help="what each pass took")
    add("--trace-rules", action="store_true", help="name each rule that fires")
    add("--explain-fusion", action="store_true", help="what each kernel computes, and why no more")
    add("--explain-placement", action="store_true", help="where each operation runs, and why")
    add("--verify-each", action="store_true", help="verify after every pass")
    add(
        "--validate-each-pass",
        action="store_true",
        help="interpret the module before and after each pass; name the first that changed a value",
    )
    add(
        "--reproducer",
        default=f"{tool}-crash.mlir",
        metavar="FILE",
        help=f"what a crash in a pass writes ({tool}-crash.mlir)",
    )


def instruments(options: argparse.Namespace) -> list[Instrument]:
    """Who watches the passes, by the parsed options."""
    from tfc.passes import instrumentation as watch

    found: list[Instrument] = watch.from_environment()
    if options.trace_rules:
        found.append(watch.TraceRules())
    if options.print_ir_before:
        found.append(watch.PrintBefore(_known_passes(options.print_ir_before.split(","))))
    if options.print_ir_after_all or options.print_ir_after_change:
        found.append(watch.PrintAfter(only_changes=not options.print_ir_after_all))
    if options.dump_ir:
        found.append(watch.DumpIr(Path(options.dump_ir)))
    if options.time_report:
        found.append(watch.TimeReport())
    if options.explain_fusion:
        from tfc.passes.explain_fusion import ExplainFusion

        found.append(ExplainFusion())
    if options.explain_placement:
        from tfc.passes.explain_placement import ExplainPlacement

        found.append(ExplainPlacement())
    if options.validate_each_pass:
        from tfc.passes.validate import ValidateEachPass

        found.append(ValidateEachPass(seed=getattr(options, "seed", 0), directory=Path.cwd()))
    return found


def _known_passes(names: list[str]) -> list[str]:
    from tfc.errors import OptionError, nearest
    from tfc.passes.pipeline import PASSES

    for name in names:
        if name not in PASSES:
            raise OptionError(f"unknown pass {name!r}", help=nearest(name, PASSES))
    return names
