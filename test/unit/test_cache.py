"""The cache of objects on disk, and objects of models made from cached and joined parts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfc
from tfc.codegen import cache, known, lower_to_kernels
from tfc.codegen.artifact import elf
from tfc.codegen.artifact.link import link
from tfc.codegen.cache import SHARDS, ObjectCache, key_of, object_cache
from tfc.codegen.cpu import objects
from tfc.codegen.cpu.objects import compile_all, compile_llvm, machine_of
from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule import tuned
from tfc.codegen.schedule.tuned import Blocking
from tfc.compiler import Lowered, emit, emit_llvm, lower, save
from tfc.model import as_module
from tfc.options import Options

TARGET = Target.parse(cpu="x86-64-v3")
TEXTS = [f"define i32 @f() {{\n  ret i32 {k}\n}}\n" for k in range(3)]
KEY = "0123456789abcdef"


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that LLVM is given."""
    texts: list[str] = []

    def noted(text: str, *rest: Any) -> bytes:
        texts.append(text)
        return generate(text, *rest)

    generate: Callable[..., bytes] = objects.generate
    monkeypatch.setattr(objects, "generate", noted)
    return texts


def entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


# Entries


def test_an_entry_is_read_back(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    assert cache.get(KEY) is None
    cache.put(KEY, b"code")
    assert cache.get(KEY) == b"code"


@pytest.mark.parametrize("damage", [b"", b"short", bytes(40)])
def test_a_damaged_entry_is_a_miss_and_removed(tmp_path: Path, damage: bytes) -> None:
    cache = ObjectCache(tmp_path)
    cache.put(KEY, b"code")
    (path,) = entries(tmp_path)
    path.write_bytes(damage)
    assert cache.get(KEY) is None
    assert not path.exists()


def test_one_flipped_bit_is_seen(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    cache.put(KEY, b"code")
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert cache.get(KEY) is None


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    """Three entries of 1,000 bytes fit; the first is read before the fourth comes, so it stays."""
    cache = ObjectCache(tmp_path, max_bytes=3200 * SHARDS)
    for k in range(3):
        cache.put(f"{0:08x}{k}", bytes(1000))
        os.utime(entries(tmp_path)[k], ns=(k, k))
    assert cache.get(f"{0:08x}0") is not None
    cache.put(f"{0:08x}3", bytes(1000))
    assert [p.name[-1] for p in entries(tmp_path)] == ["0", "2", "3"]


def test_an_object_larger_than_a_shard_is_not_kept(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, max_bytes=1000 * SHARDS)
    cache.put(KEY, bytes(1000))
    assert not entries(tmp_path)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ObjectCache(tmp_path / "file")
    cache.put(KEY, b"code")
    assert cache.get(KEY) is None


def test_a_folder_that_others_can_write_is_not_used(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert object_cache() is None
    folder.chmod(0o755)
    assert object_cache() is not None


def test_only_the_owner_can_read_it(folder: Path) -> None:
    compile_all(TEXTS, TARGET)
    assert all(not p.stat().st_mode & 0o077 for p in [folder, *folder.rglob("*")])


@pytest.mark.parametrize("value", ["0", "off"])
def test_it_can_be_switched_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TFC_CACHE", value)
    assert object_cache() is None
    compile_all(TEXTS, TARGET)
    assert not folder.exists()


def test_the_users_cache_folder_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFC_CACHE", "1")
    monkeypatch.delenv("TFC_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert object_cache() == ObjectCache(tmp_path / "tfc")


def test_writers_at_once_leave_whole_entries(folder: Path) -> None:
    """Four processes write and read the same few entries; none ever sees part of one."""
    program = (
        "from tfc.codegen.cache import object_cache\n"
        "cache = object_cache()\n"
        "for n in range(200):\n"
        "    key, data = f'{n % 5:08x}', bytes([n % 5]) * 50_000\n"
        "    found = cache.get(key)\n"
        "    assert found is None or found == data\n"
        "    cache.put(key, data)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [p.wait() for p in running] == [0] * 4
    assert len(entries(folder)) == 5


# Keys


def test_a_key_depends_on_text_and_machine() -> None:
    machine = machine_of(TARGET)
    others = [machine_of(Target.parse(cpu="x86-64-v4")), machine_of(TARGET, 2)]
    keys = [key_of(TEXTS[0], m) for m in (machine, *others)] + [key_of(TEXTS[1], machine)]
    assert len(set(keys)) == 4


def test_a_text_is_generated_once(folder: Path, generated: list[str]) -> None:
    first = compile_all([*TEXTS, TEXTS[0]], TARGET)
    assert generated == TEXTS
    assert compile_all([*TEXTS, TEXTS[0]], TARGET) == first
    assert generated == TEXTS
    assert first == [compile_llvm(text, TARGET) for text in [*TEXTS, TEXTS[0]]]


def test_a_damaged_entry_is_made_again(folder: Path, generated: list[str]) -> None:
    first = compile_all(TEXTS, TARGET)
    entries(folder)[1].write_bytes(b"damaged")
    assert compile_all(TEXTS, TARGET) == first
    assert len(generated) == 4
    assert compile_all(TEXTS, TARGET) == first
    assert len(generated) == 4


# Models


def model(name: str = "net", threads: int = 1, *, target: str | None = None) -> Lowered:
    """Softmaxes and sums of several sizes: kernels with helper functions and constants."""
    with tfc.Graph().as_default():
        x = tfc.placeholder(tfc.float32, [300, 40], name="x")
        y = x
        for _ in range(2):
            y = tfc.nn.softmax(y) + tfc.tanh(tfc.reduce_sum(y, axis=0))
        y = tfc.matmul(y, tfc.constant(np.eye(40, 30, dtype=np.float32)))
        options = Options(name=name, threads=threads, target=target)
        return lower(as_module(y, [x], options), options)


def test_an_artifact_is_the_same_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = emit(model()).object
    assert emit(model()).object == made
    monkeypatch.setenv("TFC_CACHE", "0")
    assert emit(model()).object == made


def test_models_share_kernels(folder: Path, generated: list[str]) -> None:
    emit(model("one"))
    generated.clear()
    emit(model("two", threads=2))
    assert len(generated) == 1  # the interface, in which the name is


# Kernels that are known


def test_a_known_kernel_is_not_written_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model()
    made, text = emit(first).object, emit_llvm(first)[0]
    monkeypatch.setattr(lower_to_kernels, "lower_fusion", None)
    again = model()
    assert all(not k.body.block.ops for k in again.kernels)
    assert emit(again).object == made
    assert emit_llvm(again)[0] == text  # where they have bodies


def test_a_kernel_is_known_by_all_that_it_computes(folder: Path) -> None:
    def compiled(scale: float, of: str, size: int) -> Lowered:
        with tfc.Graph().as_default():
            x = tfc.placeholder(getattr(tfc, of), [size], name="x")
            options = Options(name="net")
            return lower(as_module(tfc.cast(x * scale, tfc.float32), [x], options), options)

    cases = [(2.0, "float32", 8), (-0.0, "float32", 8), (0.0, "float32", 8), (2.0, "float64", 8), (2.0, "float32", 9)]
    for case in cases:
        lowered = compiled(*case)
        assert all(k.body.block.ops for k in lowered.kernels), case
        emit(lowered)
    assert not any(k.body.block.ops for case in cases for k in compiled(*case).kernels)


def test_other_files_of_tfc_know_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emit(model())
    monkeypatch.setattr(known, "state_of_compiler", lambda: "others")
    assert all(k.body.block.ops for k in model().kernels)


def test_the_state_of_the_compiler_has_its_tables_and_what_a_search_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> str:
        cache._files.cache_clear()  # pyright: ignore[reportPrivateUsage]
        return cache.state_of_compiler()

    monkeypatch.setattr(cache, "_ROOT", tmp_path)
    states = [state()]
    with tuned.trying("512x32 f32", Blocking(64, 1, 256, copies_w=True, copies_x=False)):
        states.append(state())
    assert state() == states[0]
    (tmp_path / "tuned.txt").write_text("")
    states.append(state())
    os.utime(tmp_path / "tuned.txt", ns=(0, 0))
    states.append(state())
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("")
    assert len({*states, state()}) == 4
    cache._files.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_a_kernel_that_reports_errors_names_its_own_place(folder: Path) -> None:
    def gathering() -> tfc.Compiled:
        with tfc.Graph().as_default():
            x, i = tfc.placeholder(tfc.float32, [4], name="x"), tfc.placeholder(tfc.int32, [], name="i")
            return tfc.compile(tfc.gather(x, i), [x, i])

    places: list[str] = []
    for run in [gathering(), gathering()]:
        with pytest.raises(tfc.RunError) as error:
            run(np.zeros(4, np.float32), np.array(7, np.int32))
        places.append(error.value.where)
    assert all("test_cache.py" in p for p in places)


def test_who_looks_at_stages_sees_whole_kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emit(model())
    monkeypatch.setenv("TFC_DUMP", str(folder / "dump"))
    assert all(k.body.block.ops for k in model().kernels)


def test_joined_kernels_compute_what_one_module_computes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((300, 40), dtype=np.float32)
    for threads in (1, 2):
        lowered = model(threads=threads)
        whole = compile_llvm(emit_llvm(lowered)[0], lowered.target)
        binary = emit(lowered)
        results: list[bytes] = []
        for k, data in enumerate((whole, binary.object)):
            path = tmp_path / f"{threads}{k}.so"
            with path.open("wb") as file:
                link(file, [data], lowered.weights, "net_weights")
            results.append(tfc.load(path)(x).tobytes())
        save(binary, tmp_path / "net.o")
        results.append(tfc.load(tmp_path / "net.o")(x).tobytes())
        assert results[0] == results[1] == results[2]


def test_only_the_interface_is_visible() -> None:
    found = elf.read(emit(model(threads=2)).object).symbols
    visible = {s.name for s in found if s.is_defined and s.binding != elf.STB_LOCAL}
    assert visible
    assert all(name.startswith("net_") for name in visible)


@pytest.mark.parametrize("triple", ["x86_64-linux-gnu", "aarch64-linux-gnu", "riscv64-linux-gnu"])
def test_notes_stand_in_an_object_once(triple: str) -> None:
    found = elf.read(emit(model(target=triple)).object)
    names = [s.name for s in found.sections if not s.flags & elf.SHF_ALLOC]
    assert ".note.GNU-stack" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("triple", ["aarch64-apple-darwin", "x86_64-pc-windows-msvc", "wasm32"])
def test_where_objects_are_not_elf_a_model_is_one_text(triple: str, generated: list[str]) -> None:
    lowered = model(target=triple)
    assert elf.machine_of(emit(lowered).object) is None
    assert generated == [emit_llvm(lowered)[0]]
