"""The table of operations in ``docs/operations.md``, from the operations themselves.

    | `tfc.softmax` | composite | ``exp(x) / sum(exp(x))`` along ``axis``. | ``tf.nn.softmax`` |

``tools/op-table`` writes it; a test says when it is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tfc.dialects.tfc import FAMILIES
from tfc.dialects.tfc.base import OPERATIONS, TensorOp
from tfc.dialects.tfc.state import StateOp

BEGIN, END = "<!-- operations: begin -->", "<!-- operations: end -->"


def kind(op: type[TensorOp]) -> str:
    """How code comes from an operation."""
    if op.is_primitive():
        return "primitive"
    if op.is_composite():
        return "composite"
    return "state" if issubclass(op, StateOp) else "whole"


def _summary(op: type[TensorOp]) -> tuple[str, str]:
    """What an operation does, and where it comes from: its docstring's first paragraph and source."""
    text = " ".join((op.__doc__ or "").split("\n\n")[0].split())
    text = re.split(r" \(C\d\)| Source:", text)[0]
    source = re.search(r"Source:\s*(.*?)\.?\s*$", op.__doc__ or "", re.DOTALL)
    return text, " ".join(source[1].split()) if source else ""


def rows() -> Iterator[str]:
    """One line of Markdown for each operation, family by family."""
    for family in FAMILIES:
        ours = [op for op in OPERATIONS.values() if op.__module__ == family.__name__]
        if not ours:
            continue
        title = (family.__doc__ or "").split("\n")[0].rstrip(".")
        yield from ("", f"### {title}", "", "| operation | kind | meaning | source |", "|---|---|---|---|")
        for op in sorted(ours, key=lambda op: op.name):
            meaning, source = (t.replace("``", "`").replace("|", "\\|") for t in _summary(op))
            yield f"| `{op.name}` | {kind(op)} | {meaning} | {source} |"


def refreshed(page: str) -> str:
    """``page`` with the table between its markers made anew."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n".join(rows()) + "\n\n" + END + after


def main() -> None:
    """Refresh the files that are named, in place."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
