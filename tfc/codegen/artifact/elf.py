"""Relocatable ELF objects as Python objects: read LLVM's, join several, write one again.

A section knows its relocations, a relocation its symbol, a symbol its section, so nothing in
memory holds an index: sections are added, dropped and reordered freely, and `write` numbers
them. Files are little-endian ELF64 with RELA relocations (x86-64, aarch64, riscv64).

Source: System V ABI, chapters 4 and 5; gABI draft of 2013.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

from tfc.codegen.artifact.weights import Weights
from tfc.errors import ArtifactError

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SEGMENT = struct.Struct("<IIQQQQQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELA = struct.Struct("<QQq")
IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bit, little-endian, version 1

ET_REL, ET_DYN = 1, 3
EM_X86_64, EM_AARCH64 = 62, 183
MACHINES = {EM_X86_64: "x86-64", EM_AARCH64: "aarch64", 243: "riscv", 40: "arm", 3: "x86-32"}
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_NOTE = 1, 2, 3, 4, 8, 7
SHT_HASH, SHT_DYNAMIC, SHT_DYNSYM, SHT_GROUP = 5, 6, 11, 17
SHT_X86_64_UNWIND, SHT_LLVM_ADDRSIG = 0x70000001, 0x6FFF4C03
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK, SHF_TLS = 1, 2, 4, 0x40, 0x400
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = 1, 2, 3, 4
STV_DEFAULT, STV_HIDDEN = 0, 2
SHN_UNDEF, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFFF1, 0xFFF2, 0xFFFF

Contents: TypeAlias = "bytes | Weights | int"
"""What a section holds: bytes, weights that are streamed, or a count of zero bytes (NOBITS)."""


@dataclass(eq=False)
class Section:
    """A run of bytes that stays together."""

    name: str
    type: int
    flags: int
    align: int
    data: Contents
    entry_size: int = 0
    relocations: list[Relocation] = field(default_factory=list["Relocation"])

    @property
    def size(self) -> int:
        if isinstance(self.data, int):
            return self.data
        return self.data.size if isinstance(self.data, Weights) else len(self.data)

    def write(self, file: BinaryIO) -> None:
        """Append the contents to ``file``."""
        if isinstance(self.data, Weights):
            self.data.write(file)
        elif isinstance(self.data, bytes):
            file.write(self.data)


@dataclass(eq=False)
class Symbol:
    """A name for a place in a section, or for one that another file defines."""

    name: str
    binding: int
    type: int
    visibility: int
    section: Section | None
    """None: undefined, or absolute."""
    value: int
    size: int
    absolute: bool = False

    @property
    def is_defined(self) -> bool:
        return self.section is not None or self.absolute


@dataclass(frozen=True)
class Relocation:
    """Put the address of a symbol at an offset of a section, in the way of ``type``."""

    offset: int
    type: int
    symbol: Symbol
    addend: int


@dataclass
class Object:
    """A relocatable object."""

    machine: int
    flags: int
    sections: list[Section]
    symbols: list[Symbol]

    def symbol(self, name: str) -> Symbol | None:
        return next((s for s in self.symbols if s.name == name and s.binding != STB_LOCAL), None)


def machine_of(data: bytes) -> int | None:
    """The machine of an ELF64 little-endian file, None for any other file."""
    if len(data) < HEADER.size or data[:6] != IDENT[:6]:
        return None
    return struct.unpack_from("<H", data, 18)[0]


def read(data: bytes) -> Object:
    """The object in ``data``.

    Raises:
        ArtifactError: no relocatable little-endian ELF64 file, or a damaged one.
    """
    machine = machine_of(data)
    if machine is None or struct.unpack_from("<H", data, 16)[0] != ET_REL:
        raise ArtifactError("expected a relocatable 64-bit ELF object, got something else")
    try:
        return _Reader(data).object(machine)
    except (struct.error, IndexError, ValueError) as error:
        raise ArtifactError(f"the ELF object is damaged: {error}") from error


def join(objects: Sequence[Object]) -> Object:
    """One object with everything of ``objects``; global names are resolved among them.

    Raises:
        ArtifactError: two define the same name, or they are for different machines.
    """
    first = objects[0]
    result = Object(first.machine, first.flags, [], [])
    known: dict[str, Symbol] = {}
    for part in objects:
        if part.machine != first.machine:
            raise ArtifactError("cannot join objects of different machines")
        replaced: dict[Symbol, Symbol] = {}
        for symbol in part.symbols:
            if symbol.binding == STB_LOCAL:
                result.symbols.append(symbol)
            elif (other := known.get(symbol.name)) is None:
                known[symbol.name] = symbol
                result.symbols.append(symbol)
            else:
                _resolve(other, symbol)
                replaced[symbol] = other
        for section in part.sections:
            section.relocations = [
                Relocation(r.offset, r.type, replaced.get(r.symbol, r.symbol), r.addend)
                for r in section.relocations
            ]
            result.sections.append(section)
    return result


def write(target: Object, file: BinaryIO) -> None:
    """Write ``target`` as a relocatable object; ``file`` is empty and seekable."""
    strings = Strings()
    symbols = sorted(target.symbols, key=lambda s: s.binding != STB_LOCAL)
    numbers = {s: i + 1 for i, s in enumerate(symbols)}
    places = {s: i + 1 for i, s in enumerate(target.sections)}
    locals_ = sum(s.binding == STB_LOCAL for s in symbols)
    table = b"".join(_symbol_entry(s, places, strings) for s in symbols)
    symtab_index = len(target.sections) + 1
    headers = [bytes(SECTION.size)]
    relocations: list[bytes] = []
    file.write(bytes(HEADER.size))
    for section in target.sections:
        offset = pad(file, section.align)
        section.write(file)
        row = (section.type, section.flags, 0, offset, section.size, 0, 0)
        headers.append(SECTION.pack(strings[section.name], *row, section.align, section.entry_size))
    for section in target.sections:
        if section.relocations:
            rows = (_relocation_entry(r, numbers) for r in section.relocations)
            relocations.append(body := b"".join(rows))
            name = strings[".rela" + section.name]
            row = (SHT_RELA, SHF_INFO_LINK, 0, pad(file, 8), len(body), symtab_index)
            headers.append(SECTION.pack(name, *row, places[section], 8, RELA.size))
            file.write(body)
    # The symbol table has a fixed number: relocation sections follow it in the header table.
    offset = pad(file, 8)
    body = bytes(SYMBOL.size) + table
    file.write(body)
    string_index = len(headers) + 1
    row = (SHT_SYMTAB, 0, 0, offset, len(body), string_index, locals_ + 1, 8, SYMBOL.size)
    headers.insert(symtab_index, SECTION.pack(strings[".symtab"], *row))
    name = strings[".strtab"]
    row = (SHT_STRTAB, 0, 0, file.tell(), len(strings.data), 0, 0, 1, 0)
    headers.append(SECTION.pack(name, *row))
    file.write(strings.data)
    offset = pad(file, 8)
    file.write(b"".join(headers))
    file.seek(0)
    counts = (HEADER.size, 0, 0, SECTION.size, len(headers), string_index)
    file.write(HEADER.pack(IDENT, ET_REL, target.machine, 1, 0, 0, offset, target.flags, *counts))


class Strings:
    """A string table in the making: ``strings["name"]`` is the offset of the name."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._offsets: dict[str, int] = {"": 0}

    def __getitem__(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._offsets[text]


def pad(file: BinaryIO, alignment: int) -> int:
    """Fill ``file`` with zeros up to a multiple of ``alignment``; the position reached."""
    position = file.tell()
    gap = -position % max(alignment, 1)
    file.write(bytes(gap))
    return position + gap


def string_at(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        fields = HEADER.unpack_from(data)
        self.flags, offset, count, names = fields[7], fields[6], fields[12], fields[13]
        if offset + count * SECTION.size > len(data):
            raise ValueError("it ends before its section table")
        self.rows = [SECTION.unpack_from(data, offset + i * SECTION.size) for i in range(count)]
        strings = self.bytes_of(names)
        self.names = [string_at(strings, row[0]) for row in self.rows]

    def object(self, machine: int) -> Object:
        sections: dict[int, Section] = {}
        for index, row in enumerate(self.rows):
            _, type_, flags, _, _, size, _, _, align, entry = row
            if type_ == SHT_GROUP:
                raise ValueError(f"section groups are not supported ({self.names[index]})")
            if type_ in (0, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_LLVM_ADDRSIG):
                continue
            content = size if type_ == SHT_NOBITS else self.bytes_of(index)
            sections[index] = Section(
                self.names[index], type_, flags, max(align, 1), content, entry
            )
        symbols = list(self.symbols(sections))
        for index, row in enumerate(self.rows):
            if row[1] == SHT_RELA and row[7] in sections:
                sections[row[7]].relocations = list(self.relocations(index, symbols))
        return Object(machine, self.flags, [*sections.values()], symbols[1:])

    def bytes_of(self, index: int) -> bytes:
        _, _, _, _, offset, size, *_ = self.rows[index]
        if offset + size > len(self.data):
            raise ValueError(f"it ends inside section {index}")
        return self.data[offset : offset + size]

    def symbols(self, sections: dict[int, Section]) -> Iterator[Symbol]:
        for index, row in enumerate(self.rows):
            if row[1] != SHT_SYMTAB:
                continue
            strings = self.bytes_of(row[6])
            for name, info, other, place, value, size in SYMBOL.iter_unpack(self.bytes_of(index)):
                if place in (SHN_COMMON, SHN_XINDEX):
                    raise ValueError(
                        "common symbols and more than 65,279 sections are not supported"
                    )
                section = sections.get(place)
                text = string_at(strings, name)
                symbol = Symbol(text, info >> 4, info & 15, other & 3, section, value, size)
                symbol.absolute = place == SHN_ABS
                yield symbol

    def relocations(self, index: int, symbols: Sequence[Symbol]) -> Iterator[Relocation]:
        for offset, info, addend in RELA.iter_unpack(self.bytes_of(index)):
            yield Relocation(offset, info & 0xFFFFFFFF, symbols[info >> 32], addend)


def _resolve(kept: Symbol, other: Symbol) -> None:
    """Make ``kept`` stand for ``other`` too."""
    if kept.is_defined and other.is_defined:
        raise ArtifactError(f"the symbol {kept.name!r} is defined twice")
    if other.is_defined:
        kept.section, kept.value, kept.size = other.section, other.value, other.size
        kept.absolute, kept.type, kept.binding = other.absolute, other.type, other.binding
    # The most constraining one wins: internal 1, hidden 2, protected 3; default 0 is none.
    kept.visibility = min(filter(None, (kept.visibility, other.visibility)), default=STV_DEFAULT)


def _symbol_entry(symbol: Symbol, places: dict[Section, int], strings: Strings) -> bytes:
    place = SHN_ABS if symbol.absolute else places.get(symbol.section, 0) if symbol.section else 0
    info = symbol.binding << 4 | symbol.type
    name = strings[symbol.name]
    return SYMBOL.pack(name, info, symbol.visibility, place, symbol.value, symbol.size)


def _relocation_entry(relocation: Relocation, numbers: dict[Symbol, int]) -> bytes:
    info = numbers[relocation.symbol] << 32 | relocation.type
    return RELA.pack(relocation.offset, info, relocation.addend)
