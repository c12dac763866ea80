"""A linker for x86-64 Linux: relocatable objects to a shared library, in Python.

    link(file, [code], weights, "mlp_weights")

So a model becomes a library without a C toolchain, and equal models become equal bytes on every
host. The library has these segments, one after the other in the file and a page apart in memory:

    R    headers, dynamic symbols, hash table, relocations, read-only data
    RX   code, and a stub `jmp *slot` for each function of libc or libm
    RW   data that the loader relocates, the dynamic section, address slots; then read-only
    RW   data, zeroed data
    R    weights, streamed

Weights come last: code reaches their first byte within 2 GB however many there are. Large ones begin at
a huge page of the file and of memory, so that the system can map such pages. Functions of
other libraries are bound at load. Sections for debuggers and the full symbol table follow.

Source: System V ABI, AMD64 supplement 1.0, chapters 4 and 5.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

from tfc.codegen.artifact import elf, libraries
from tfc.codegen.artifact.elf import Object, Relocation, Section, Strings, Symbol
from tfc.codegen.artifact.object import with_weights
from tfc.codegen.artifact.seal import seal
from tfc.codegen.artifact.weights import Weights
from tfc.errors import ArtifactError

PAGE = 4096
HUGE_PAGE = 1 << 21
PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
PF_X, PF_W, PF_R = 1, 2, 4
DT_NULL, DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_RELAENT = (
    0, 1, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
DT_STRSZ, DT_SYMENT, DT_FLAGS, DT_FLAGS_1, DT_RELACOUNT = 10, 11, 30, 0x6FFFFFFB, 0x6FFFFFF9
BIND_NOW, NOW = 8, 1


class R(IntEnum):
    """How a relocation's value is computed: what ``R_X86_64_...`` means."""

    ABS64 = 1
    PC32 = 2
    PLT32 = 4
    GLOB_DAT = 6
    RELATIVE = 8
    GOTPCREL = 9
    ABS32 = 10
    PC64 = 24
    GOTPCRELX = 41
    REX_GOTPCRELX = 42


_BY_SLOT = (R.GOTPCREL, R.GOTPCRELX, R.REX_GOTPCRELX)
_DYNAMIC = struct.Struct("<QQ")
_STUB = 8
_KNOWN = (elf.SHT_PROGBITS, elf.SHT_NOBITS, elf.SHT_X86_64_UNWIND)


def link(file: BinaryIO, objects: Sequence[bytes], weights: Weights, symbol: str) -> None:
    """Write the shared library that ``objects`` and ``weights`` make.

    Args:
        file: empty, open for binary writing, seekable.
        objects: relocatable x86-64 ELF objects with position-independent code.
        weights: streamed into a segment of their own.
        symbol: the name under which the code refers to the weights.

    Raises:
        ArtifactError: the code needs something that a shared library cannot have, or
            a function that is in none of libc, libm and pthread.
    """
    target = elf.join([elf.read(o) for o in objects])
    if target.machine != elf.EM_X86_64:
        raise ArtifactError("expected x86-64 objects")
    made = _Link(with_weights(target, weights, symbol))
    made.write(file)
    data = next((s for s in made.segments if any(isinstance(t.data, Weights) for t in s.sections)), None)
    seal(file, *((data.offset, data.file_size) if data else ()))


@dataclass
class _Segment:
    """Sections that are mapped with the same rights."""

    rights: int
    sections: list[Section]
    relro: bool = False
    offset: int = 0
    address: int = 0
    file_size: int = 0
    memory_size: int = 0
    align: int = PAGE

    def row(self, type_: int = PT_LOAD, align: int = 0) -> bytes:
        sizes = (self.file_size, self.memory_size, align or self.align)
        return elf.SEGMENT.pack(type_, self.rights, self.offset, self.address, self.address, *sizes)


class _Link:
    """One library in the making. The order of work: collect, lay out, fill, write."""

    def __init__(self, target: Object) -> None:
        self.target = target
        self.mapped = [s for s in target.sections if _is_mapped(s)]
        self.debug = _grouped(s for s in target.sections if s.name.startswith(".debug_"))
        self.address: dict[Section, int] = {}
        self.collect()
        self.make_sections()
        self.segments = self.lay_out()
        self.headers = self.number_headers()
        self.header_of = {s: i for i, row in enumerate(self.headers) for s in row}
        self.fill()

    def collect(self) -> None:
        """Find what the relocations need: slots, stubs, symbols of other libraries."""
        used = [(s, r) for s in self.mapped for r in s.relocations]
        undefined = {r.symbol: None for _, r in used if not r.symbol.is_defined}
        self.imports = sorted(undefined, key=lambda s: s.name)
        called = {r.symbol for _, r in used if r.type == R.PLT32}
        self.stubs = [s for s in self.imports if s in called]
        slots = {r.symbol: None for _, r in used if r.type in _BY_SLOT}
        self.slots = [*dict.fromkeys([*slots, *self.stubs])]
        self.absolute = [(s, r) for s, r in used if r.type == R.ABS64 and not r.symbol.absolute]
        exported = (s for s in self.target.symbols if _is_exported(s))
        self.exports = sorted(exported, key=lambda s: s.name)
        self.libraries = libraries.needed(s.name for s in self.imports)
        self.dynamic_symbols = [*self.imports, *self.exports]

    def make_sections(self) -> None:
        """The sections that no object has; their contents are zeros until `fill`."""
        self.strings = Strings()
        for name in [s.name for s in self.dynamic_symbols]:
            _ = self.strings[name]
        self.sonames = [self.strings[libraries.SONAMES[name]] for name in self.libraries]
        count = len(self.dynamic_symbols) + 1
        relocations = len(self.absolute) + len(self.slots)
        r, x, w = elf.SHF_ALLOC, elf.SHF_ALLOC | elf.SHF_EXECINSTR, elf.SHF_ALLOC | elf.SHF_WRITE
        self.hash = _section(".hash", elf.SHT_HASH, r, 4 * (2 + 2 * count), 4)
        self.dynsym = _section(
            ".dynsym", elf.SHT_DYNSYM, r, elf.SYMBOL.size * count, elf.SYMBOL.size
        )
        self.dynstr = Section(".dynstr", elf.SHT_STRTAB, r, 1, bytes(self.strings.data))
        self.rela = _section(
            ".rela.dyn", elf.SHT_RELA, r, elf.RELA.size * relocations, elf.RELA.size
        )
        self.plt = Section(".plt", elf.SHT_PROGBITS, x, 16, bytes(_STUB * len(self.stubs)))
        self.got = _section(".got", elf.SHT_PROGBITS, w, 8 * len(self.slots), 8)
        entries = len(self.dynamic_rows(placed=False))
        self.dynamic = _section(
            ".dynamic", elf.SHT_DYNAMIC, w, _DYNAMIC.size * entries, _DYNAMIC.size
        )

    def lay_out(self) -> list[_Segment]:
        """Give every section its place in the file and in memory."""
        weights = [s for s in self.mapped if isinstance(s.data, Weights)]
        for section in weights:
            if section.size >= 8 * HUGE_PAGE:
                section.align = HUGE_PAGE
        rest = [s for s in self.mapped if s not in weights]
        code = [s for s in rest if s.flags & elf.SHF_EXECINSTR]
        data = [s for s in rest if s.flags & elf.SHF_WRITE and s not in code]
        constant = [s for s in rest if s not in code and s not in data]
        relro = [s for s in data if s.name.startswith(".data.rel.ro")]
        zeroed = [s for s in data if s.type == elf.SHT_NOBITS]
        plain = [s for s in data if s not in relro and s not in zeroed]
        tables = [self.hash, self.dynsym, self.dynstr, self.rela]
        segments = [
            _Segment(PF_R, [*tables, *_grouped(constant)]),
            _Segment(PF_R | PF_X, [*_grouped(code), self.plt]),
            _Segment(PF_R | PF_W, [*_grouped(relro), self.dynamic, self.got], relro=True),
            _Segment(PF_R | PF_W, [*_grouped(plain), *_grouped(zeroed)]),
            _Segment(PF_R, weights),
        ]
        segments = [s for s in segments if any(t.size for t in s.sections)]
        # Rows for the segments, and for the dynamic section, the stack and the relocated data.
        offset = elf.HEADER.size + elf.SEGMENT.size * (len(segments) + 3)
        address = 0
        for segment in segments:
            offset, address = self.place(segment, offset, address)
        # The first one maps the headers too.
        first = segments[0]
        first.file_size += first.offset
        first.memory_size += first.offset
        first.offset = first.address = 0
        return segments

    def place(self, segment: _Segment, offset: int, address: int) -> tuple[int, int]:
        """Place one segment; the next free offset and the next free page."""
        widest = max(s.align for s in segment.sections)
        offset += -offset % widest
        # Equal remainders, so that pages of the file can be mapped.
        address += (offset - address) % max(widest, PAGE)
        segment.align = max(widest, PAGE)
        segment.offset, segment.address = offset, address
        for section in segment.sections:
            address += -address % section.align
            self.address[section] = address
            address += section.size
            if section.type != elf.SHT_NOBITS:  # zeroed sections are the last of theirs
                segment.file_size = address - segment.address
        end = address + -address % PAGE
        segment.memory_size = (end if segment.relro else address) - segment.address
        return offset + segment.file_size, end

    def number_headers(self) -> list[list[Section]]:
        """What each section header describes: neighbours of one name share one; 0 is none."""
        headers: list[list[Section]] = [[]]
        for sections in [*(s.sections for s in self.segments), self.debug]:
            present = (s for s in sections if s.size)
            headers += [[*group] for _, group in itertools.groupby(present, lambda s: s.name)]
        for group in headers:  # a debugger's section has no address: places in it are relative
            position = 0
            for section in group:
                if not section.flags & elf.SHF_ALLOC:
                    self.address[section] = position = position + -position % section.align
                    position += section.size
        return headers

    def fill(self) -> None:
        """Write addresses into tables and code, now that they are known."""
        self.relative: list[tuple[int, int, int]] = []
        self.symbolic: list[tuple[int, int, int]] = []
        numbers = {s: i + 1 for i, s in enumerate(self.dynamic_symbols)}
        self.slot_address = {s: self.address[self.got] + 8 * i for i, s in enumerate(self.slots)}
        self.stub_address = {
            s: self.address[self.plt] + _STUB * i for i, s in enumerate(self.stubs)
        }
        got = bytearray(self.got.size)
        for i, symbol in enumerate(self.slots):
            if symbol in numbers and not symbol.is_defined:
                entry = (self.slot_address[symbol], numbers[symbol] << 32 | R.GLOB_DAT, 0)
                self.symbolic.append(entry)
            elif symbol.absolute:
                struct.pack_into("<Q", got, 8 * i, symbol.value)
            else:
                self.relative.append((self.slot_address[symbol], R.RELATIVE, self.value(symbol)))
        for section, relocation in self.absolute:
            where = self.address[section] + relocation.offset
            if relocation.symbol.is_defined:
                value = self.value(relocation.symbol) + relocation.addend
                self.relative.append((where, R.RELATIVE, value))
            else:
                info = numbers[relocation.symbol] << 32 | R.ABS64
                self.symbolic.append((where, info, relocation.addend))
        self.got.data = bytes(got)
        self.plt.data = b"".join(map(self.stub, self.stubs))
        rows = (elf.RELA.pack(*row) for row in [*sorted(self.relative), *self.symbolic])
        self.rela.data = b"".join(rows).ljust(self.rela.size, b"\0")
        self.dynsym.data = bytes(elf.SYMBOL.size) + b"".join(
            self.symbol_row(s, self.strings, s.binding) for s in self.dynamic_symbols
        )
        self.hash.data = _hash_table([s.name for s in self.dynamic_symbols])
        self.dynamic.data = b"".join(_DYNAMIC.pack(*row) for row in self.dynamic_rows(placed=True))
        for section in [*self.mapped, *self.debug]:
            if section.relocations:
                section.data = self.relocated(section)

    def value(self, symbol: Symbol) -> int:
        """The address of a defined symbol, relative to where the library is loaded."""
        base = self.address.get(symbol.section, 0) if symbol.section else 0
        return base + symbol.value

    def stub(self, symbol: Symbol) -> bytes:
        """``jmp *slot(%rip)``, padded by a two-byte no-op."""
        after = self.stub_address[symbol] + 6
        return b"\xff\x25" + struct.pack("<i", self.slot_address[symbol] - after) + b"\x66\x90"

    def relocated(self, section: Section) -> bytes:
        assert isinstance(section.data, bytes), "only bytes have relocations"
        data = bytearray(section.data)
        for relocation in section.relocations:
            try:
                self.relocate(section, relocation, data)
            except struct.error as error:
                raise ArtifactError(
                    f"{relocation.symbol.name or 'a constant'!r} is out of reach of the code "
                    f"in {section.name}: more than 2 GB lie between"
                ) from error
        return bytes(data)

    def relocate(self, section: Section, relocation: Relocation, data: bytearray) -> None:
        symbol, offset, addend = relocation.symbol, relocation.offset, relocation.addend
        place = self.address.get(section, 0) + offset
        match relocation.type:
            case R.GOTPCREL | R.GOTPCRELX | R.REX_GOTPCRELX:
                struct.pack_into("<i", data, offset, self.slot_address[symbol] + addend - place)
            case R.PLT32 if not symbol.is_defined:
                struct.pack_into("<i", data, offset, self.stub_address[symbol] + addend - place)
            case R.PC32 | R.PLT32 if symbol.is_defined:
                struct.pack_into("<i", data, offset, self.value(symbol) + addend - place)
            case R.PC64 if symbol.is_defined:
                struct.pack_into("<q", data, offset, self.value(symbol) + addend - place)
            case R.ABS64 if not section.flags & elf.SHF_ALLOC or symbol.absolute:
                struct.pack_into("<q", data, offset, self.value(symbol) + addend)
            case R.ABS64 if section.flags & elf.SHF_WRITE:
                pass  # the loader's task: in `absolute`
            case R.ABS32 if not section.flags & elf.SHF_ALLOC:
                struct.pack_into("<I", data, offset, self.value(symbol) + addend)
            case _:
                raise ArtifactError(
                    f"relocation {relocation.type} against {symbol.name!r} in {section.name} "
                    "needs code that is not position-independent"
                )

    def symbol_row(self, symbol: Symbol, strings: Strings, binding: int) -> bytes:
        place = elf.SHN_ABS if symbol.absolute else elf.SHN_UNDEF
        if symbol.section:
            place = self.header_of.get(symbol.section, elf.SHN_ABS)
        value = self.value(symbol) if symbol.is_defined else 0
        info = binding << 4 | (symbol.type if symbol.is_defined else 0)
        return elf.SYMBOL.pack(strings[symbol.name], info, 0, place, value, symbol.size)

    def dynamic_rows(self, placed: bool) -> list[tuple[int, int]]:
        at = (
            self.address
            if placed
            else dict.fromkeys((self.hash, self.dynstr, self.dynsym, self.rela), 0)
        )
        rows = [(DT_NEEDED, name) for name in self.sonames]
        rows += [
            (DT_HASH, at[self.hash]),
            (DT_STRTAB, at[self.dynstr]),
            (DT_SYMTAB, at[self.dynsym]),
        ]
        rows += [(DT_STRSZ, self.dynstr.size), (DT_SYMENT, elf.SYMBOL.size)]
        if self.rela.size:
            rows += [(DT_RELA, at[self.rela]), (DT_RELASZ, self.rela.size)]
            rows += [
                (DT_RELAENT, elf.RELA.size),
                (DT_RELACOUNT, len(self.relative) if placed else 0),
            ]
        return [*rows, (DT_FLAGS, BIND_NOW), (DT_FLAGS_1, NOW), (DT_NULL, 0)]

    def write(self, file: BinaryIO) -> None:
        segments = self.segment_table()
        file.write(bytes(elf.HEADER.size) + segments)
        offsets: dict[Section, int] = {}
        for segment in self.segments:
            for section in segment.sections:
                offsets[section] = segment.offset + self.address[section] - segment.address
                if section.type != elf.SHT_NOBITS:
                    file.write(bytes(offsets[section] - file.tell()))
                    section.write(file)
        for section in self.debug:
            offsets[section] = elf.pad(file, section.align)
            section.write(file)
        table = _HeaderTable()
        for group in self.headers[1:]:
            table.add(group[0], offsets[group[0]], self.extent(group), *self.link_of(group[0]))
        self.write_symbols(file, table)
        table.write(file, len(segments) // elf.SEGMENT.size)

    def extent(self, group: Sequence[Section]) -> tuple[int, int]:
        """Address and size of sections that lie side by side."""
        first, last = self.address[group[0]], self.address[group[-1]] + group[-1].size
        return (first if group[0].flags & elf.SHF_ALLOC else 0), last - first

    def link_of(self, section: Section) -> tuple[int, int]:
        """What sh_link and sh_info of a table say: the table it refers to, its first global."""
        if section in (self.dynsym, self.dynamic):
            return self.header_of[self.dynstr], int(section is self.dynsym)
        return (self.header_of[self.dynsym], 0) if section in (self.hash, self.rela) else (0, 0)

    def segment_table(self) -> bytes:
        rows = [s.row() for s in self.segments]
        for segment in self.segments:
            if segment.relro:
                rows.append(segment.row(PT_GNU_RELRO, 1))
        home = next(s for s in self.segments if self.dynamic in s.sections)
        address, size = self.address[self.dynamic], self.dynamic.size
        offset = home.offset + address - home.address
        rows.append(
            _Segment(PF_R | PF_W, [], False, offset, address, size, size).row(PT_DYNAMIC, 8)
        )
        rows.append(_Segment(PF_R | PF_W, []).row(PT_GNU_STACK, 16))
        return b"".join(rows)

    def write_symbols(self, file: BinaryIO, table: _HeaderTable) -> None:
        """The full symbol table: names for debuggers and profilers."""
        strings = Strings()
        exported = set(self.exports)
        named = [
            s for s in self.target.symbols if s.name and s.type in (elf.STT_OBJECT, elf.STT_FUNC)
        ]
        private = [s for s in named if s.is_defined and s not in exported]
        rows = [bytes(elf.SYMBOL.size)]
        rows += [self.symbol_row(s, strings, elf.STB_LOCAL) for s in private]
        rows += [self.symbol_row(s, strings, s.binding) for s in self.dynamic_symbols]
        body = b"".join(rows)
        symtab = _section(".symtab", elf.SHT_SYMTAB, 0, len(body), elf.SYMBOL.size)
        strtab = Section(".strtab", elf.SHT_STRTAB, 0, 1, bytes(strings.data))
        strtab_number = table.count + 1
        table.add(symtab, elf.pad(file, 8), (0, len(body)), strtab_number, len(private) + 1)
        file.write(body)
        table.add(strtab, file.tell(), (0, strtab.size))
        strtab.write(file)


class _HeaderTable:
    """The section headers in the making; `write` puts them at the end of the file."""

    def __init__(self) -> None:
        self.names = Strings()
        self.rows = [bytes(elf.SECTION.size)]

    @property
    def count(self) -> int:
        return len(self.rows)

    def add(
        self, section: Section, offset: int, extent: tuple[int, int], link: int = 0, info: int = 0
    ) -> None:
        address, size = extent
        row = (section.type, section.flags, address, offset, size, link, info)
        name = self.names[section.name]
        self.rows.append(elf.SECTION.pack(name, *row, section.align, section.entry_size))

    def write(self, file: BinaryIO, segments: int) -> None:
        """The names, the table, and at the start of the file its header."""
        _ = self.names[".shstrtab"]
        strings = Section(".shstrtab", elf.SHT_STRTAB, 0, 1, bytes(self.names.data))
        self.add(strings, file.tell(), (0, strings.size))
        strings.write(file)
        offset = elf.pad(file, 8)
        file.write(b"".join(self.rows))
        file.seek(0)
        header, machine = elf.HEADER.size, elf.EM_X86_64
        counts = (header, elf.SEGMENT.size, segments, elf.SECTION.size, self.count, self.count - 1)
        file.write(
            elf.HEADER.pack(elf.IDENT, elf.ET_DYN, machine, 1, 0, header, offset, 0, *counts)
        )


def _section(name: str, type_: int, flags: int, size: int, entry: int) -> Section:
    return Section(name, type_, flags, 8, bytes(size), entry)


def _grouped(sections: Iterable[Section]) -> list[Section]:
    """Sections of one name side by side, otherwise in their order."""
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(section.name, []).append(section)
    return [s for group in groups.values() for s in group]


def _is_mapped(section: Section) -> bool:
    """Whether the program needs the section in memory; raises where that cannot be done."""
    if not section.flags & elf.SHF_ALLOC or not section.size or section.type == elf.SHT_NOTE:
        return False
    if section.type not in _KNOWN or section.flags & elf.SHF_TLS or section.align > PAGE:
        raise ArtifactError(
            f"section {section.name} (type {section.type:#x}, flags {section.flags:#x}, "
            f"alignment {section.align}) is of no kind that the linker knows"
        )
    return True


def _is_exported(symbol: Symbol) -> bool:
    is_global = symbol.binding != elf.STB_LOCAL and symbol.visibility == elf.STV_DEFAULT
    return is_global and symbol.is_defined


def _hash_table(names: Sequence[str]) -> bytes:
    """The hash table of the ABI: chains of the symbols 1, 2, ... that share a bucket."""
    buckets, chains = [0] * (len(names) + 1), [0] * (len(names) + 1)
    for number, name in enumerate(names, 1):
        bucket = _hash(name) % len(buckets)
        chains[number], buckets[bucket] = buckets[bucket], number
    counts = (len(buckets), len(chains))
    return struct.pack(f"<{2 + len(buckets) + len(chains)}I", *counts, *buckets, *chains)


def _hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
    return value
