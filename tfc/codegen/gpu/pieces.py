"""PTX of one kernel made alone, and many of them as one text.

    piece = piece_of(text)              LLVM's text for a kernel that is called `SYMBOL` there
    join([piece, ...], ["add_0", ...])  one text with one header, each helper once, the kernels by their names

A piece does not say where in the user's files its instructions come from, but that they come from the first, the
second, ... of its `places`: so it serves another model, whose lines are other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tfc.codegen.build import SYMBOL

Place: TypeAlias = tuple[str, int]
"""A file and a line of it, 0 where several lines had the same instruction."""

_FILE = re.compile(r'\t\.file\t(\d+) "(.*)"')
_CALL = re.compile(r" // callseq [\d, ]+$", re.MULTILINE)
"""A comment with a number that counts the calls which LLVM has met in this process."""

_LOC = re.compile(r"^\t\.loc\t(\d+) (\d+) \d+", re.MULTILINE)
_PLACED = re.compile(r"^\t\.loc\t(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """The text of a kernel.

    Attributes:
        head: the version, the target and the size of addresses.
        parts: the declarations at the top level in order, each under what tells it from others: the kernel, and
            functions, constants and shared memory that other pieces may have as well.
        places: where its instructions come from; ``.loc K`` in ``parts`` names the ``K``th.
    """

    head: str
    parts: Sequence[Sequence[str]]
    places: Sequence[Place]

    def at(self, places: Sequence[Place]) -> Piece:
        """The same, with instructions from other places."""
        return replace(self, places=places)


def piece_of(text: str) -> Piece:
    """The piece that LLVM's text is."""
    files = dict(_FILE.findall(text))
    places: dict[Place, int] = {}

    def placed(found: re.Match[str]) -> str:
        place = files[found[1]], int(found[2])
        return f"\t.loc\t{places.setdefault(place, len(places))}"

    head, parts = "", list[tuple[str, str]]()
    for part in _top_level(_LOC.sub(placed, _CALL.sub("", text))):
        if part.startswith((".version", ".target", ".address_size")):
            head += part
        elif not _FILE.match(part):
            parts.append((_told_by(part), part))
    return Piece(head, parts, list(places))


def join(pieces: Sequence[Piece], names: Sequence[str]) -> str:
    """One text of several pieces for one GPU.

    Args:
        names: what the kernel of each is called.
    """
    files: dict[str, int] = {}
    seen: set[str] = set()
    lines: list[str] = []
    for piece, name in zip(pieces, names, strict=True):
        places = [(files.setdefault(f.replace(SYMBOL, name), len(files) + 1), line) for f, line in piece.places]

        def placed(found: re.Match[str], places: Sequence[tuple[int, int]] = places) -> str:
            file, line = places[int(found[1])]
            return f"\t.loc\t{file} {line} 0"

        for key, part in piece.parts:
            if SYMBOL in key:
                part = part.replace(SYMBOL, name)
            elif key in seen:
                continue
            seen.add(key)
            # Labels are numbered by functions of one text.
            lines.append(_PLACED.sub(placed, part).replace("$L__", f"$L__{len(lines)}_"))
    lines += [f'\t.file\t{number} "{name}"\n' for name, number in files.items()]
    return (pieces[0].head if pieces else "") + "\n" + "".join(lines)


def _top_level(text: str) -> Iterator[str]:
    """The declarations of a text, without comments between them."""
    part, depth = list[str](), 0
    for line in text.splitlines(keepends=True):
        code = line.partition("//")[0]
        if not part and not code.strip():
            continue
        part.append(line)
        depth += code.count("{") - code.count("}") + code.count("(") - code.count(")")
        ended = code.rstrip().endswith((";", "}")) or code.startswith((".version", ".target", ".address", "\t.file"))
        if not depth and ended:
            yield "".join(part)
            part = []


def _told_by(part: str) -> str:
    """What two declarations have in common that are the same but for the numbers of labels."""
    head, body, _ = part.partition("{")
    return f"{head}{{" if body and ".func" in head else part if SYMBOL not in head else head
