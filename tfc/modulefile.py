"""Modules as files: the text, and the bytes of its constants beside it.

    out.mlir           tfc.constant "blob 5f3a..." : tensor<784x100xf32>
    blobs/5f3a....npy  its bytes

Large constants are not in the text of a module. A file that is to be read again, by another
process, has them in a folder beside it, each under its digest and so at most once.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError

from tfc.errors import ModelFileError
from tfc.location import UNKNOWN

if TYPE_CHECKING:
    from tfc.dialects.tfc.types import Literal

_BLOB = re.compile(r'blob "?([0-9a-f]{8,})')


def module_text(op: Operation, *, generic: bool = False, locations: bool = False) -> str:
    """The text of a module or another operation."""
    stream = StringIO()
    Printer(stream=stream, print_generic_format=generic, print_debuginfo=locations).print_op(op)
    return stream.getvalue()


def read_module(text: str, name: str, context: Context, *, first_line: int = 1) -> ModuleOp:
    """Parse a module; operations without a location of their own get their line of ``name``.

    Args:
        first_line: the line of the file at which ``text`` starts.

    Raises:
        ModelFileError: the text is no module; it is quoted with a caret.
    """
    if not text.strip():
        raise ModelFileError("expected a module, and there is nothing in the file", where=name)
    blobs = load_blobs(text, Path(name).parent / "blobs")
    try:
        module = _LocatingParser(context, text, name, first_line).parse_module()
    except ParseError as error:
        if error.span.input.content != text:  # of an assembly format, when a dialect was loaded
            raise
        raise _parse_failure(error, name, first_line) from None
    del blobs  # the module holds those that it uses
    return module


def write_module(module: ModuleOp, path: Path, header: str = "") -> None:
    """Write a module so that `load_blobs` and a parser read it back.

    Args:
        header: comment lines (``// ...``) that come first.
    """
    save_blobs(module, path.parent / "blobs")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + module_text(module) + "\n", encoding="utf-8")


def save_blobs(module: ModuleOp, folder: Path) -> None:
    """Write the constants that are not in the text to ``folder``, unless they are there."""
    for literal in _literals(module):
        if " blob " in literal.key:
            file = folder / f"{literal.key.rsplit(' ', 1)[1]}.npy"
            if not file.exists():
                _save(file, literal)


def load_blobs(text: str, folder: Path) -> list[Literal]:
    """Read the constants that ``text`` names from ``folder``; keep the list while parsing."""
    digests = dict.fromkeys(_BLOB.findall(text)) if folder.is_dir() else {}
    files = [folder / f"{d}.npy" for d in digests]
    return [_load(f) for f in files if f.exists()]


class _LocatingParser(Parser):
    """A parser that remembers where each operation stands."""

    def __init__(self, context: Context, text: str, name: str, first_line: int) -> None:
        super().__init__(context, text, name)
        self._name = StringAttr(name)
        self._first_line = first_line
        self._line_starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def parse_operation(self) -> Operation:
        start = self._current_token.span.start
        op = super().parse_operation()
        if op.location == UNKNOWN:
            line = bisect_right(self._line_starts, start)
            column = start - self._line_starts[line - 1] + 1
            number = IntAttr(line - 1 + self._first_line)
            op.location = FileLineColLoc(self._name, number, IntAttr(column))
        return op


def _parse_failure(error: ParseError, name: str, first_line: int) -> ModelFileError:
    place = error.span.get_location()
    content = error.span.input.content
    text = content.decode() if isinstance(content, bytes) else content
    line = text.split("\n")[place.line - 1]
    caret = " " * (place.col - 1) + "^" + "~" * max(0, min(error.span.len, len(line)) - 1)
    where = f"{name}:{place.line + first_line - 1}:{place.col}"
    return ModelFileError(f"{error.msg.strip()}\n{line}\n{caret}", where=where)


def _save(file: Path, literal: Literal) -> None:
    import numpy as np

    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as stream:
        np.save(stream, literal.array)
    os.replace(part, file)


def _load(file: Path) -> Literal:
    import ml_dtypes
    import numpy as np

    from tfc.dialects.tfc.types import Literal

    array = np.load(file, mmap_mode="r", allow_pickle=False)
    # The format knows bfloat16 only as two bytes without a meaning.
    literal = Literal(array.view(ml_dtypes.bfloat16) if array.dtype.kind == "V" else array)
    _ = literal.key  # from here on the parser finds it by its digest
    return literal


def _literals(module: ModuleOp) -> Iterable[Literal]:
    from tfc.dialects.tfc.types import LiteralAttr

    initial = module.attributes.get("tfc.initial")
    if isinstance(initial, DictionaryAttr):
        yield from (v.data for v in initial.data.values() if isinstance(v, LiteralAttr))
    for op in module.walk():
        for attribute in op.properties.values():
            if isinstance(attribute, LiteralAttr):
                literal: Literal = attribute.data
                yield literal
