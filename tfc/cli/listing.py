"""The text of ``tfc-opt --list-passes``."""

from __future__ import annotations

import dataclasses
import inspect
from textwrap import fill

from tfc.errors import OptionError
from tfc.passes.pipeline import PASSES, SETS, STAGES, pass_class


def passes_and_stages() -> str:
    """Every pass with its first line and its options, then the stages and what they are."""
    lines = ["passes:"]
    for name in PASSES:
        lines += _pass(name)
    lines += ["", "stages (each stands for its passes):"]
    for stage in STAGES:
        lines.append(f"  {stage.name:<18} = {stage.passes}")
        lines.append(fill(stage.holds, 96, initial_indent=" " * 6, subsequent_indent=" " * 6))
    lines += ["", "stages in a row:"]
    lines += [f"  {name:<18} = {stages}" for name, stages in SETS.items()]
    return "\n".join(lines) + "\n"


def _pass(name: str) -> list[str]:
    try:
        cls = pass_class(name)
    except (ImportError, AttributeError, OptionError) as error:
        return [f"  {name:<18} not in this build ({error})"]
    summary = (inspect.getdoc(cls) or "").splitlines()[0]
    lines = [f"  {name:<18} {summary}"]
    for field in dataclasses.fields(cls):
        value = "" if field.default is dataclasses.MISSING else f"={field.default}"
        lines.append(f"      {field.name.replace('_', '-')}{value.lower()}")
    return lines
