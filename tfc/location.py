"""Where an operation comes from: the user's line, or the node of a model file.

    loc("dense/add"("model.py":12:1))     made by the graph API
    loc("Conv_7")                         imported from a file

Every rewrite keeps locations: `stamped` gives the operations made inside it the location
of the operation they replace, and `fuse` joins those of operations that become one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    FileLineColLoc,
    FusedLoc,
    IntAttr,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Operation

UNKNOWN = UnknownLoc()
_PACKAGE = str(Path(__file__).parent)


def caller() -> FileLineColLoc:
    """The file and line of the innermost frame outside tfc: the user's own line."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] # 1 us; inspect takes 1 ms
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return FileLineColLoc(StringAttr(frame.f_code.co_filename), IntAttr(frame.f_lineno), IntAttr(1))


def named(name: str, inner: LocationAttr = UNKNOWN) -> NameLoc:
    """The location of the node ``name``, made at ``inner``."""
    return NameLoc(StringAttr(name), inner)


def fuse(locations: Iterable[LocationAttr]) -> LocationAttr:
    """One location for operations that become one; duplicates are left out."""
    distinct: dict[LocationAttr, None] = {}
    for location in locations:
        distinct.update((p, None) for p in parts(location) if p != UNKNOWN)
    if len(distinct) <= 1:
        return next(iter(distinct), UNKNOWN)
    return FusedLoc(ArrayAttr(list(distinct)), NoneAttr())


def stamp(op: Operation, location: LocationAttr) -> None:
    """Give ``op`` and the operations inside it ``location`` where they have none."""
    for inner in op.walk():
        if inner.location == UNKNOWN:
            inner.location = location


def describe(location: LocationAttr) -> str:
    """The location in words for an error: ``model.py:12 (dense/add)``, or empty."""
    match location:
        case FileLineColLoc():
            return f"{location.filename.data}:{location.line.data}"
        case NameLoc():
            inner = describe(cast(LocationAttr, location.location))
            return f"{inner} ({location.desc.data})" if inner else location.desc.data
        case FusedLoc():
            texts = [describe(p) for p in parts(location)]
            return ", ".join(t for t in texts[:3] if t) + (", ..." if len(texts) > 3 else "")
        case _:
            return ""


def nodes_of(location: LocationAttr) -> list[str]:
    """The names of all nodes that a location tells."""
    return list(dict.fromkeys(p.desc.data for p in parts(location) if isinstance(p, NameLoc)))


def parts(location: LocationAttr) -> list[LocationAttr]:
    """The locations that a fused one is made of; another one itself."""
    if isinstance(location, FusedLoc):
        return list(cast("ArrayAttr[LocationAttr]", location.locations))
    return [location]
