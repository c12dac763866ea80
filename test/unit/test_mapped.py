"""Digests of files that are noted: a file that did not change is not read again, and any other is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfc.codegen.cache import ObjectCache
from tfc.codegen.programs import program_cache
from tfc.errors import ModelFileError
from tfc.frontend import mapped
from tfc.frontend.mapped import digest_of_file
from tfc.options import Options


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read; all count as changed long ago."""
    names: list[str] = []
    plain = mapped._digest_of  # pyright: ignore[reportPrivateUsage]

    def noted(path: Path) -> str:
        names.append(path.name)
        return plain(path)

    monkeypatch.setattr(mapped, "_digest_of", noted)
    monkeypatch.setattr(mapped, "_is_settled", lambda *_: True)
    return names


@pytest.fixture
def notes(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path / "notes")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_is_read_once(tmp_path: Path, notes: ObjectCache, read: list[str]) -> None:
    path = written(tmp_path / "a", b"1" * 1000)
    digest = digest_of_file(path)
    assert [digest_of_file(path, notes) for _ in range(3)] == [digest] * 3
    assert read == ["a"] * 2  # once without notes
    link = tmp_path / "link"
    link.symlink_to(path)
    assert digest_of_file(link, notes) == digest
    assert read == ["a"] * 2


def test_a_file_with_the_same_size_and_time_is_another(tmp_path: Path, notes: ObjectCache, read: list[str]) -> None:
    path = written(tmp_path / "a", b"1" * 1000)
    old, before = digest_of_file(path, notes), path.stat()
    path.write_bytes(b"2" * 1000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert digest_of_file(path, notes) == digest_of_file(path) != old


def test_a_file_that_takes_the_place_of_another_is_read(tmp_path: Path, notes: ObjectCache, read: list[str]) -> None:
    path, other = (written(tmp_path / n, n.encode() * 1000) for n in "ab")
    old, status = digest_of_file(path, notes), path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)
    assert digest_of_file(path, notes) == digest_of_file(path) != old


def test_a_file_that_changed_just_now_is_not_noted(tmp_path: Path, notes: ObjectCache) -> None:
    settled = mapped._is_settled  # pyright: ignore[reportPrivateUsage]
    path = written(tmp_path / "a", b"1")
    status = path.stat()
    last = max(status.st_mtime_ns, status.st_ctime_ns)
    assert not settled(status, last)
    assert not settled(status, last - 10**12)  # another clock
    assert settled(status, last + 3 * 10**9)
    # Whole seconds are told by file systems that know no fractions.
    whole = os.stat_result((0,) * 7 + (1, 1, 1), {"st_mtime_ns": 10**9, "st_ctime_ns": 10**9})
    assert not settled(whole, 2 * 10**9)
    assert settled(whole, 4 * 10**9)
    assert digest_of_file(path, notes) == digest_of_file(path)
    assert not [p for p in notes.folder.rglob("*") if p.is_file()]


def test_a_file_that_changes_while_it_is_read_is_not_noted(
    tmp_path: Path, notes: ObjectCache, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plain = written(tmp_path / "a", b"1"), mapped._digest_of  # pyright: ignore[reportPrivateUsage]

    def changing(given: Path) -> str:
        digest = plain(given)
        given.write_bytes(b"22")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "_digest_of", changing)
        old = digest_of_file(path, notes)
    assert digest_of_file(path, notes) == digest_of_file(path) != old


def test_a_damaged_note_is_none(tmp_path: Path, notes: ObjectCache, read: list[str]) -> None:
    path = written(tmp_path / "a", b"1")
    digest = digest_of_file(path, notes)
    (note,) = [p for p in notes.folder.rglob("*") if p.is_file()]
    data = bytearray(note.read_bytes())
    data[-1] ^= 1
    note.write_bytes(bytes(data))
    assert digest_of_file(path, notes) == digest_of_file(path, notes) == digest
    assert len(read) == 2


def test_many_note_at_once(tmp_path: Path, notes: ObjectCache, read: list[str]) -> None:
    paths = [written(tmp_path / str(k), bytes([k]) * 5000) for k in range(4)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda p: digest_of_file(p, notes), paths * 8))
    assert found == [digest_of_file(p) for p in paths] * 8
    assert [digest_of_file(p, notes) for p in paths] == found[:4]


def test_what_cannot_be_read_is_an_error(tmp_path: Path, notes: ObjectCache) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        digest_of_file(tmp_path / "gone", notes)


def test_without_a_cache_nothing_is_noted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = program_cache(Options())
    assert cache is not None
    assert cache.notes.folder == folder / "files"
    monkeypatch.setenv("TFC_CACHE", "0")
    assert program_cache(Options()) is None
