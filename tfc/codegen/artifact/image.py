"""Look into an ELF file without loading it: is it whole, for which machine, what does it define.

The loader asks this before it hands a file to the operating system, whose own loader maps a
truncated library and then dies of the missing pages.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfc.codegen.artifact import elf
from tfc.errors import ArtifactError


@dataclass(frozen=True)
class Place:
    """Where a symbol lies: a section of the file, an address or offset, a size in bytes."""

    section: int
    value: int
    size: int


class Image:
    """An ELF64 object or shared library.

    Raises:
        ArtifactError: the file is none, is truncated, or is damaged.
    """

    def __init__(self, data: bytes | mmap.mmap, path: str = "") -> None:
        self.data, self.path = data, path
        header = bytes(data[: elf.HEADER.size])
        machine = elf.machine_of(header)
        if machine is None:
            raise ArtifactError(
                f"{path!r} is no 64-bit ELF file: not an object or library for Linux"
            )
        self.machine = machine
        fields = elf.HEADER.unpack(header)
        self.is_library = fields[1] == elf.ET_DYN
        self.check_segments(offset=fields[5], count=fields[10])
        self.sections = self.rows(elf.SECTION, fields[6], fields[12])
        if not fields[12]:
            raise ArtifactError(f"{path!r} has no section table: it was cut off or stripped of it")
        for row in self.sections:
            if row[1] != elf.SHT_NOBITS:
                self.require(row[4] + row[5])
        try:
            self.symbols = dict(self._symbols())
        except (struct.error, ValueError, IndexError) as error:
            raise ArtifactError(f"{path!r} is damaged: {error}") from error

    @classmethod
    def open(cls, path: str | Path) -> Image:
        """Map the file at ``path``; only the pages that are looked at are read."""
        try:
            with Path(path).open("rb") as file:
                if not Path(path).stat().st_size:
                    raise ArtifactError(f"{str(path)!r} is empty")
                return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ArtifactError(f"cannot read {str(path)!r}: {reason}") from error

    @property
    def machine_name(self) -> str:
        return elf.MACHINES.get(self.machine, f"machine {self.machine}")

    @property
    def undefined(self) -> list[str]:
        """The names that other libraries have to define, sorted."""
        return sorted(
            name for name, place in self.symbols.items() if place.section == elf.SHN_UNDEF
        )

    @property
    def defined(self) -> list[str]:
        """The names that other files can use, sorted."""
        return sorted(
            name for name, place in self.symbols.items() if place.section != elf.SHN_UNDEF
        )

    def content(self, name: str) -> bytes:
        """The bytes of the object ``name``, as they are in the file."""
        place = self.symbols[name]
        if place.section >= len(self.sections):
            raise ArtifactError(f"{self.path!r} has no contents for {name!r}")
        _, _, _, address, offset, size, *_ = self.sections[place.section]
        start = place.value - address
        if start < 0 or start + place.size > size:
            raise ArtifactError(f"{self.path!r} is damaged: {name!r} lies outside its section")
        return self.data[offset + start : offset + start + place.size]

    def check_segments(self, offset: int, count: int) -> None:
        for row in self.rows(elf.SEGMENT, offset, count):
            self.require(row[2] + row[5])

    def rows(self, row: struct.Struct, offset: int, count: int) -> list[tuple[int, ...]]:
        end = self.require(offset + count * row.size)
        return list(row.iter_unpack(self.data[offset:end]))

    def require(self, end: int) -> int:
        """Raise unless the file reaches to ``end``."""
        if end > len(self.data):
            raise ArtifactError(
                f"{self.path!r} is truncated: it has {len(self.data):,} bytes and refers to {end:,}",
                help="compile or copy it again",
            )
        return end

    def _symbols(self) -> Iterator[tuple[str, Place]]:
        wanted = elf.SHT_DYNSYM if self.is_library else elf.SHT_SYMTAB
        for row in self.sections:
            if row[1] != wanted:
                continue
            _, _, _, _, offset, size, link, *_ = row
            _, _, _, _, text, length, *_ = self.sections[link]
            strings = bytes(self.data[text : text + length])
            for name, info, _, section, value, extent in elf.SYMBOL.iter_unpack(
                self.data[offset : offset + size]
            ):
                if info >> 4 != elf.STB_LOCAL:
                    yield elf.string_at(strings, name), Place(section, value, extent)
