"""The linker: libraries that it makes are loaded and called."""

from __future__ import annotations

import ctypes
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from llvm_objects import AARCH64, MODEL, compiled

from tfc.codegen.artifact import elf, libraries
from tfc.codegen.artifact.image import Image
from tfc.codegen.artifact.link import link
from tfc.codegen.artifact.weights import Weights
from tfc.errors import ArtifactError

pytestmark = pytest.mark.skipif(
    not (
        sys.platform == "linux"
        and elf.machine_of(Path(sys.executable).read_bytes()[:64]) == elf.EM_X86_64
    ),
    reason="runs what it links: needs x86-64 Linux",
)

WEIGHTS = np.arange(300_000, dtype=np.float32)


def library(path: Path, objects: list[bytes], weights: Weights | None = None) -> ctypes.CDLL:
    with path.open("w+b") as file:
        link(file, objects, weights or Weights(), "m_weights")
    return ctypes.CDLL(str(path))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("link") / "model.so"
    return library(path, [compiled(MODEL)], Weights([(128, WEIGHTS)], 1_200_192))


def test_code_calls_other_libraries(model: ctypes.CDLL) -> None:
    model.m_exp.restype, model.m_exp.argtypes = ctypes.c_double, [ctypes.c_double]
    assert model.m_exp(1.0) == pytest.approx(np.e)
    assert model.m_compare(b"same", b"same") == 0
    assert model.m_compare(b"a", b"b") < 0


def test_weights_are_aligned_and_read_only(model: ctypes.CDLL) -> None:
    model.m_weight.restype, model.m_weight.argtypes = ctypes.c_void_p, [ctypes.c_int64]
    start = model.m_weight(0)
    assert start % 64 == 0
    block = np.frombuffer((ctypes.c_uint8 * 1_200_192).from_address(start), np.uint8)
    np.testing.assert_array_equal(block[128:-64].view(np.float32), WEIGHTS)
    assert not block[:128].any()
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    rights = [
        r for a, r, *_ in maps if int(a.split("-")[0], 16) <= start < int(a.split("-")[1], 16)
    ]
    assert rights == ["r--p"]


def test_data_is_relocated_and_writable(model: ctypes.CDLL) -> None:
    model.m_text.restype, model.m_text.argtypes = ctypes.c_char_p, [ctypes.c_int64]
    assert model.m_text(0) == b"hello"
    assert [model.m_count(), model.m_count()] == [8, 9]


def test_only_the_interface_is_exported(model: ctypes.CDLL) -> None:
    image = Image.open(model._name)
    with pytest.raises(AttributeError):
        model.kernel  # noqa: B018
    with pytest.raises(AttributeError):
        model.m_weights  # noqa: B018
    assert image.undefined == ["exp", "strcmp"]
    assert image.defined == ["m_compare", "m_count", "m_exp", "m_text", "m_weight"]


def test_every_symbol_is_found_through_the_hash_table(tmp_path: Path) -> None:
    names = [f"m_{i}" for i in range(200)]
    text = "\n".join(f"define i32 @{n}() {{\n ret i32 {i}\n}}" for i, n in enumerate(names))
    found = library(tmp_path / "many.so", [compiled(text)])
    assert [getattr(found, n)() for n in names] == [*range(200)]
    with pytest.raises(AttributeError):
        found.m_200  # noqa: B018


def test_several_objects_and_none_of_the_optional_parts(tmp_path: Path) -> None:
    caller = compiled(
        "declare hidden i32 @g()\ndefine i32 @f() {\n %r = call i32 @g()\n ret i32 %r\n}"
    )
    callee = compiled("define hidden i32 @g() {\n ret i32 7\n}")
    assert library(tmp_path / "two.so", [caller, callee]).f() == 7


def test_a_function_of_no_library_is_an_error_at_link_time() -> None:
    text = "declare half @__truncsfhf2(float)\ndefine half @f(float %x) {\n %y = call half @__truncsfhf2(float %x)\n ret half %y\n}"
    with pytest.raises(ArtifactError, match="calls __truncsfhf2, which no C library defines"):
        link(io.BytesIO(), [compiled(text)], Weights(), "m_weights")


def test_code_of_another_machine_is_an_error() -> None:
    with pytest.raises(ArtifactError, match="x86-64"):
        link(io.BytesIO(), [compiled("define i32 @f() {\n ret i32 1\n}", AARCH64)], Weights(), "w")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@t = thread_local global i32 5\ndefine ptr @f() {\n ret ptr @t\n}", "of no kind"),
        ("@a = external hidden global i32\ndefine ptr @f() {\n ret ptr @a\n}", "calls a, which no"),
    ],
)
def test_what_a_library_cannot_have_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        link(io.BytesIO(), [compiled(text)], Weights(), "m_weights")


def test_needed_libraries_come_from_the_calls() -> None:
    assert libraries.needed(["tanhf", "malloc"]) == ["c", "m"]
    assert libraries.needed(["pthread_create"]) == ["pthread"]
    assert libraries.needed([]) == []


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_readelf_finds_no_fault(model: ctypes.CDLL) -> None:
    done = subprocess.run(
        ["readelf", "-aW", model._name], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "GNU_RELRO" in done.stdout
    assert "BIND_NOW" in done.stdout


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_a_c_program_links_against_the_library(model: ctypes.CDLL, tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text("double m_exp(double);\nint main(void) { return m_exp(0.0) != 1.0; }\n")
    program = tmp_path / "main"
    subprocess.run(["cc", source, model._name, "-o", program], check=True)
    subprocess.run([program], check=True)


DEBUG = r"""
define i32 @m_answer() !dbg !5 {
  ret i32 42, !dbg !8
}
!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!2, !3}
!0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !1, emissionKind: FullDebug)
!1 = !DIFile(filename: "model.py", directory: ".")
!2 = !{i32 2, !"Dwarf Version", i32 4}
!3 = !{i32 2, !"Debug Info Version", i32 3}
!5 = distinct !DISubprogram(name: "NAME", file: !1, line: 7, type: !6, unit: !0, spFlags: DISPFlagDefinition)
!6 = !DISubroutineType(types: !{null})
!8 = !DILocation(line: 9, scope: !5)
"""


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_debug_information_is_kept(tmp_path: Path) -> None:
    text = DEBUG.replace("NAME", "answer"), DEBUG.replace("NAME", "other").replace("m_a", "m_o")
    found = library(tmp_path / "debug.so", [compiled(t) for t in text])
    assert found.m_answer() == 42
    command = ["readelf", "--debug-dump=info,decodedline", found._name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for word in ("answer", "other", "model.py"):
        assert word in done.stdout


@pytest.mark.skipif(not shutil.which("strip"), reason="needs strip")
def test_a_stripped_library_still_works(model: ctypes.CDLL, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped.so"
    subprocess.run(["strip", model._name, "-o", stripped], check=True)
    assert stripped.stat().st_size < Path(model._name).stat().st_size
    again = ctypes.CDLL(str(stripped))
    assert [again.m_count(), again.m_compare(b"a", b"a")] == [8, 0]


def test_large_weights_begin_at_a_huge_page_of_file_and_memory(tmp_path: Path) -> None:
    values = np.arange(5 << 20, dtype=np.float32)
    path = tmp_path / "model.so"
    with path.open("w+b") as file:
        link(file, [compiled(MODEL)], Weights([(0, values)], values.nbytes), "m_weights")
    data = path.read_bytes()
    rows = [elf.SEGMENT.unpack_from(data, elf.HEADER.size + k * elf.SEGMENT.size) for k in range(5)]
    offset, address, size, align = next((r[2], r[3], r[5], r[7]) for r in rows if r[5] == values.nbytes)
    assert (offset % (1 << 21), address % (1 << 21), align) == (0, 0, 1 << 21)
    assert data[offset : offset + size] == values.tobytes()
    ctypes.CDLL(str(path))
