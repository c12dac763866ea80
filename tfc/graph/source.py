"""The user's own lines: where a node was made, and how an error quotes it.

    model.py:7:9: error: 'tfc.matmul' (C2): expected dim(x, -1) = dim(y, -2), got 64 and 10
        h = tf.matmul(x, w)
            ^~~~~~~~~~~~~~~
    note: x:0 is float32 (8, 64) from model.py:3; w:0 is float32 (10, 64) from model.py:4
    help: transpose_b=True contracts 64 with 64
"""

from __future__ import annotations

import contextlib
import linecache
import sys
from itertools import islice
from pathlib import Path
from types import CodeType

from xdsl.dialects.builtin import FileLineColLoc, IntAttr, LocationAttr, NameLoc, StringAttr

from tfc.errors import GraphError

_INSIDE = (str(Path(__file__).parent.parent), contextlib.__file__)
"""Files whose frames are not the user's: this package, and what runs its context managers."""
_Span = tuple[FileLineColLoc, int]
_spans: dict[tuple[CodeType, int], _Span] = {}
_ends: dict[FileLineColLoc, int] = {}


def here() -> FileLineColLoc:
    """The file, line and column of the innermost call outside tfc."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] # 1 us; inspect takes 1 ms
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame = frame.f_back
    key = (frame.f_code, frame.f_lasti)
    if (known := _spans.get(key)) is None:
        known = _spans[key] = _span(frame.f_code, frame.f_lasti, frame.f_lineno)
        _ends[known[0]] = known[1]
    return known[0]


def describe(location: LocationAttr) -> str:
    """``file:line``, for a note inside another error."""
    place = _place(location)
    return f"{place.filename.data}:{place.line.data}" if place else "an unknown line"


def name_of(location: LocationAttr) -> str:
    """The name of the node that something comes from; empty where it has none."""
    return location.desc.data if isinstance(location, NameLoc) else ""


def quoted(error: GraphError, location: LocationAttr, notes: str = "") -> GraphError:
    """The error, of the same class, with the user's line and a caret under the call."""
    place = _place(location)
    if place is None or error.where.startswith(place.filename.data):
        return error
    lines = [error.message, *_quote(place), *([f"note: {notes}"] if notes else [])]
    column = place.column.data
    where = f"{place.filename.data}:{place.line.data}" + (f":{column}" if column else "")
    return type(error)("\n".join(lines), where=where, help=error.help)


def _span(code: CodeType, instruction: int, line: int) -> _Span:
    positions = next(islice(code.co_positions(), instruction // 2, None), (line, None, None, None))
    start, end = positions[2], positions[3]
    if start is None or end is None or positions[0] != line:
        start, end = -1, -1
    elif positions[1] != line:
        end = start + 1
    column = IntAttr(start + 1)  # 0: unknown
    return FileLineColLoc(StringAttr(code.co_filename), IntAttr(line), column), end + 1


def _place(location: LocationAttr) -> FileLineColLoc | None:
    while isinstance(location, NameLoc):
        location = location.location  # pyright: ignore
    return location if isinstance(location, FileLineColLoc) else None


def _quote(place: FileLineColLoc) -> list[str]:
    text = linecache.getline(place.filename.data, place.line.data).rstrip()
    if not text:
        return []
    stripped = text.lstrip()
    # Columns count UTF-8 bytes; what stands before them is cut off the same way.
    before = len(text.encode()[: max(place.column.data - 1, 0)].decode(errors="ignore"))
    indent = len(text) - len(stripped)
    if place.column.data == 0:
        return [f"    {stripped}"]
    width = max(_ends.get(place, place.column.data + 1) - place.column.data, 1)
    width = min(width, max(len(text) - before, 1))
    return [f"    {stripped}", f"    {' ' * (before - indent)}^{'~' * (width - 1)}"]
