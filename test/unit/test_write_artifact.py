"""An artifact as a whole: code, header and weights appear together, in every form."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest
from llvm_objects import AARCH64, MODEL, X86, compiled, scale_llvm, scale_manifest

from tfc.codegen.artifact import toolchain, write_artifact
from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.artifact.weights import Weights
from tfc.errors import ArtifactError, OptionError
from tfc.runtime.loader import load_program

runs = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="loads x86-64 Linux code"
)
needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@dataclass
class Made:
    manifest: Manifest
    llvm: str
    object: bytes
    weights: Weights


def model(weights: Weights | None = None) -> Made:
    text = scale_llvm(scale_manifest("scale"))
    return Made(
        scale_manifest("scale"),
        f'target triple = "{X86}"\n' + text,
        compiled(text),
        weights or Weights([(0, np.float32([3]))], 4),
    )


def triples(path: Path) -> bool:
    x = np.arange(5, dtype=np.float32)
    return bool(np.array_equal(load_program(path).run([x])[0], 3 * x))


@runs
@pytest.mark.parametrize("name", ["m.so", "m.o"])
def test_code_and_header_appear(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_artifact(model(), path) == [path, tmp_path / "m.h"]
    assert triples(path)
    assert "int scale_run(" in (tmp_path / "m.h").read_text()
    assert len(os.listdir(tmp_path)) == 2


@runs
@needs_cc
def test_assembly_includes_its_weights(tmp_path: Path) -> None:
    files = write_artifact(model(), tmp_path / 'odd "name".s')
    assert [f.suffix for f in files] == [".s", ".h", ".weights"]
    command = ["cc", "-shared", files[0].name, "-o", "m.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert triples(tmp_path / "m.so")


def test_llvm_includes_its_weights(tmp_path: Path) -> None:
    files = write_artifact(model(), tmp_path / "m.ll")
    assert [f.suffix for f in files] == [".ll", ".h", ".weights"]
    text = files[0].read_text()
    llvmlite.binding.parse_assembly(text).verify()
    assert r'module asm ".incbin \22m.weights\22"' in text
    assert files[2].read_bytes() == np.float32([3]).tobytes()


def test_nothing_appears_where_something_fails(tmp_path: Path) -> None:
    def broken() -> np.ndarray:
        raise MemoryError("no room to pack a weight")

    (tmp_path / "m.so").write_text("before")
    with pytest.raises(MemoryError):
        write_artifact(model(Weights([(0, broken)], 4)), tmp_path / "m.so")
    assert os.listdir(tmp_path) == ["m.so"]
    assert (tmp_path / "m.so").read_text() == "before"


def test_unknown_suffixes_are_told(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot tell what to write"):
        write_artifact(model(), tmp_path / "m.dll")


@runs
@needs_cc
def test_a_c_compiler_links_the_same_interface(tmp_path: Path) -> None:
    made = model()
    for name in ("1.so", "2.so"):
        with (tmp_path / name).open("w+b") as file:
            toolchain.link_by_tool(file, made.object, made.weights, "scale_weights", X86)
    assert triples(tmp_path / "1.so")
    assert (tmp_path / "1.so").read_bytes() == (tmp_path / "2.so").read_bytes()


def test_no_linker_for_a_machine_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    other = Made(scale_manifest("scale"), "", compiled(MODEL, AARCH64), Weights())
    other.manifest = Manifest("m", type(other.manifest.target)(AARCH64, "armv8"), (), ())
    with pytest.raises(ArtifactError, match="there is no linker for aarch64") as caught:
        write_artifact(other, tmp_path / "m.so")
    assert "write an object (-o model.o)" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_linker_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "linker", lambda triple: ["sh", "-c", "echo broken >&2; exit 1"])
    with (tmp_path / "m.so").open("w+b") as file, pytest.raises(ArtifactError, match="broken"):
        toolchain.link_by_tool(file, model().object, Weights(), "scale_weights", X86)


PEAK = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_write_artifact import model
from tfc.codegen.artifact import write_artifact
from tfc.codegen.artifact.weights import Weights

size = 25_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
parts = [(4 * size * k, lambda: np.broadcast_to(np.float32(1), (size,))) for k in range(2)]
write_artifact(model(Weights(parts, 8 * size)), sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["m.so", "m.o"])
def test_weights_are_streamed(tmp_path: Path, name: str) -> None:
    """200 MB of weights go to the file in pieces."""
    command = [sys.executable, "-c", PEAK, str(Path(__file__).parent), str(tmp_path / name)]
    grown = int(subprocess.run(command, check=True, capture_output=True).stdout)
    unit = 1 if sys.platform == "darwin" else 1024
    assert grown * unit < 60_000_000
    assert (tmp_path / name).stat().st_size > 200_000_000
    (tmp_path / name).unlink()
