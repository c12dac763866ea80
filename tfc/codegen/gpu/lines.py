"""Where instructions come from, as PTX says it: lines of the user's files, or names of nodes.

    .loc 1 12 0        .file 1 "model.py"           made at line 12 of the graph's program
    .loc 2 1 0         .file 2 "Conv_7"             a node of a model file, which has no lines

A fault on the device, a profiler and the disassembly name them. Nothing but these directives is made.
"""

from __future__ import annotations

from xdsl.dialects.builtin import FileLineColLoc, LocationAttr, NameLoc

from tfc.location import parts

FIRST = 10
"""Numbers of metadata below are the module's own."""


class Lines:
    """The metadata of one text: files, functions and places in them."""

    def __init__(self) -> None:
        self.nodes: dict[str, int] = {}
        self._places: dict[tuple[int, LocationAttr], int] = {}
        self._unit = 0

    def _node(self, text: str) -> int:
        """The number of a piece of metadata, which stands in the text once."""
        return self.nodes.setdefault(text, FIRST + len(self.nodes))

    def _file(self, name: str) -> int:
        return self._node(f'!DIFile(filename: "{_shown(name)}", directory: "")')

    def function(self, name: str, location: LocationAttr) -> int:
        """The scope of a kernel."""
        file = self._file(_place(location)[0] or name)
        if not self._unit:
            kind = "language: DW_LANG_C, emissionKind: DebugDirectivesOnly"
            self._unit = self._node(f"distinct !DICompileUnit(file: !{file}, {kind})")
        type_ = self._node("!DISubroutineType(types: !1)")
        return self._node(
            f'distinct !DISubprogram(name: "{name}", file: !{file}, type: !{type_}, unit: !{self._unit}, '
            "spFlags: DISPFlagDefinition)"
        )

    def place(self, function: int, location: LocationAttr) -> int:
        """A place in a kernel; 0 where it is not known."""
        if (function, location) not in self._places:
            name, line = _place(location)
            number = 0
            if name:
                scope = self._node(f"!DILexicalBlockFile(scope: !{function}, file: !{self._file(name)}, discriminator: 0)")
                number = self._node(f"!DILocation(line: {line}, scope: !{scope})")
            self._places[function, location] = number
        return self._places[function, location]

    @property
    def text(self) -> str:
        if not self._unit:
            return ""
        flags = self._node('!{i32 2, !"Debug Info Version", i32 3}')
        head = f"!llvm.dbg.cu = !{{!{self._unit}}}\n!llvm.module.flags = !{{!{flags}}}\n"
        return head + "".join(f"!{number} = {text}\n" for text, number in self.nodes.items())


def shown_place(location: LocationAttr, kernel: str) -> tuple[str, int]:
    """The file that a directive names for ``location``, and the line; the name of the ``kernel`` where it is not known."""
    name, line = _place(location)
    return (_shown(name), line) if name else (kernel, 0)


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() and c not in '"\\' else "_" for c in name)


def _place(location: LocationAttr) -> tuple[str, int]:
    """A file and a line of it, or a node's name and 1."""
    named = ""
    for part in parts(location):
        if isinstance(part, NameLoc):
            named = named or part.desc.data
            inner = part.location
            part = inner if isinstance(inner, LocationAttr) else part
        if isinstance(part, FileLineColLoc):
            return part.filename.data, part.line.data
    return named, 1
