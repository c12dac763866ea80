"""The tables of operations in ``docs/operations.md`` and the README, from the operations themselves.

    | `tfc.softmax` | composite | ``exp(x) / sum(exp(x))`` along ``axis``. | ``tf.nn.softmax`` |

``tools/op-table`` writes them; a test says when they are stale. The README's has names only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tfc.dialects.tfc import FAMILIES
from tfc.dialects.tfc.base import OPERATIONS, TensorOp
from tfc.dialects.tfc.state import StateOp

MARKS = {"rows": "operations", "names": "operation names"}
"""Which table stands between which pair of comments ``<!-- ...: begin -->``, ``<!-- ...: end -->``."""


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


def _families() -> Iterator[tuple[str, list[type[TensorOp]]]]:
    """The title of each family of operations, and its operations by name."""
    for family in FAMILIES:
        ours = [op for op in OPERATIONS.values() if op.__module__ == family.__name__]
        if ours:
            title = (family.__doc__ or "").split("\n")[0].rstrip(".")
            yield title, sorted(ours, key=lambda op: op.name)


def rows() -> Iterator[str]:
    """One line of Markdown for each operation, family by family."""
    for title, operations in _families():
        yield from ("", f"### {title}", "", "| operation | kind | meaning | source |", "|---|---|---|---|")
        for op in operations:
            meaning, source = (t.replace("``", "`").replace("|", "\\|") for t in _summary(op))
            yield f"| `{op.name}` | {kind(op)} | {meaning} | {source} |"
    yield ""


def names() -> Iterator[str]:
    """One line of Markdown for each family of operations."""
    yield from ("", "| family | operations |", "|---|---|")
    for title, operations in _families():
        listed = " ".join(op.name.removeprefix("tfc.") for op in operations)
        yield f"| {title.replace('`', '')} | {listed} |"


def refreshed(page: str) -> str:
    """``page`` with the tables between their marks made anew."""
    for table, mark in MARKS.items():
        begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
        if begin in page:
            before, rest = page.split(begin)
            lines = rows() if table == "rows" else names()
            page = before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1]
    return page


def main() -> None:
    """Refresh the files that are named, in place."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
