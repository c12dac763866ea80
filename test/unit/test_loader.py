"""Loading compiled models: what a good one does, and what each bad file says."""

from __future__ import annotations

import dataclasses
import gc
import io
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from llvm_objects import AARCH64, MODEL, X86, compiled, scale_manifest, scale_model

from tfc.codegen.artifact.image import Image
from tfc.codegen.artifact.link import link
from tfc.codegen.artifact.object import write_object
from tfc.codegen.artifact.weights import Weights
from tfc.errors import ArtifactError, FeedError, OptionError
from tfc.runtime.loader import load_program

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="loads x86-64 Linux code"
)


def made(path: Path, code: bytes | None = None, weight: float = 3.0, name: str = "scale") -> Path:
    write = link if path.suffix == ".so" else write_object
    weights = Weights([(0, np.float32([weight]))], 64)
    with path.open("w+b") as file:
        write(file, [code or scale_model(name)], weights, f"{name}_weights")
    return path


@pytest.mark.parametrize("name", ["model.so", "model.o"])
def test_a_model_of_any_length_runs(tmp_path: Path, name: str) -> None:
    program = load_program(made(tmp_path / name))
    for n in (1, 3, 64):
        x = np.arange(n, dtype=np.float32)
        (y,) = program.run([x])
        np.testing.assert_array_equal(y, 3 * x)
    with pytest.raises(FeedError, match="expected float32"):
        program.run([np.zeros((2, 2), np.float32)])


@pytest.mark.parametrize("threads", [-1, 1025, 1 << 40, "2", 2.0, True])
def test_a_number_of_threads_that_cannot_be_says_so(tmp_path: Path, threads: object) -> None:
    path = made(tmp_path / "model.so")
    with pytest.raises(OptionError, match="from 0 to 1024, got"):
        load_program(path, threads=threads)  # type: ignore[arg-type]


def test_two_loads_are_two_instances(tmp_path: Path) -> None:
    path = made(tmp_path / "model.so")
    first, second = load_program(path), load_program(path)
    for _ in range(3):
        first.run([np.ones(2, np.float32)])
    assert (int(first.variable(0)), int(second.variable(0))) == (3, 0)


def test_a_model_compiled_again_at_the_same_path_is_the_new_one(tmp_path: Path) -> None:
    one = np.ones(1, np.float32)
    path = tmp_path / "model.so"
    old = load_program(made(path, weight=2.0))
    path.unlink()
    new = load_program(made(path, weight=5.0))
    assert (float(old.run([one])[0][0]), float(new.run([one])[0][0])) == (2.0, 5.0)


def test_truncated_at_any_place_is_an_error(tmp_path: Path) -> None:
    for suffix in ("so", "o"):
        whole = made(tmp_path / f"whole.{suffix}").read_bytes()
        cut = tmp_path / f"cut.{suffix}"
        for size in [*range(0, 130), *range(130, len(whole), 97), len(whole) - 1]:
            cut.write_bytes(whole[:size])
            with pytest.raises(
                ArtifactError, match=r"truncated|empty|no 64-bit ELF|no section table"
            ):
                load_program(cut)


def test_damaged_bytes_never_end_in_another_exception(tmp_path: Path) -> None:
    whole = made(tmp_path / "model.so").read_bytes()
    bad = tmp_path / "bad.so"
    for position in range(0, len(whole), 41):
        bad.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            from tfc.runtime.loader import manifest_of

            manifest_of(Image.open(bad))
        except ArtifactError:
            pass


@pytest.mark.parametrize("suffix", ["o", "so"])
def test_a_damaged_file_is_not_loaded(tmp_path: Path, suffix: str) -> None:
    """LLVM's loader ends the process at a relocation that makes no sense."""
    whole, bad = made(tmp_path / f"whole.{suffix}").read_bytes(), tmp_path / f"bad.{suffix}"
    for position in range(64, len(whole), 211):
        bad.unlink(missing_ok=True)  # an earlier one may still be in memory, page by page
        bad.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            program = load_program(bad)
        except ArtifactError:
            continue
        assert suffix == "so"  # in its weights, or in the magic number of the seal
        program.run([np.ones(1, np.float32)])


def test_files_that_are_no_model_say_so(tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("not a library, but long enough to have the header of one, if it were " * 3)
    other = tmp_path / "other.so"
    with other.open("w+b") as file:
        link(
            file,
            [
                compiled(
                    MODEL.replace("@m_weights = external", "@m_weights = ").replace(
                        "[0 x i8]", "[1 x i8] zeroinitializer"
                    )
                )
            ],
            Weights(),
            "no",
        )
    cases = [
        (text, "no 64-bit ELF"),
        (other, "holds no model of tfc"),
        (tmp_path / "missing.so", "no such file"),
        (tmp_path, "is a directory"),
    ]
    for path, reason in cases:
        with pytest.raises(ArtifactError, match=reason):
            load_program(path)


def test_a_model_for_another_machine_says_so(tmp_path: Path) -> None:
    path = tmp_path / "arm.o"
    path.write_bytes(compiled("define i32 @f() {\n ret i32 1\n}", AARCH64))
    with pytest.raises(ArtifactError, match="made for aarch64, this machine is x86_64"):
        load_program(path)


def test_another_interface_version_says_so(tmp_path: Path) -> None:
    newer = dataclasses.replace(scale_manifest("scale"), abi=99)
    with pytest.raises(ArtifactError, match="interface version 99, this tfc reads version 1"):
        load_program(made(tmp_path / "newer.so", scale_model(manifest=newer)))


def test_a_model_without_its_functions_says_so(tmp_path: Path) -> None:
    text = scale_manifest("scale").to_json()
    quoted = text.replace("\\", "\\5C").replace('"', "\\22")
    code = compiled(f'@scale_manifest = constant [{len(text) + 1} x i8] c"{quoted}\\00"')
    with pytest.raises(ArtifactError, match="lacks scale_abi, scale_error"):
        load_program(made(tmp_path / "part.so", code))


ALONE = """
import sys
import numpy as np
from tfc.runtime.loader import load_program
program = load_program(sys.argv[1])
assert program.run([np.ones(2, np.float32)])[0].tolist() == [3.0, 3.0]
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & set(sys.argv[2:]), loaded
"""


@pytest.mark.parametrize(
    ("name", "absent"),
    [("model.so", ["xdsl", "llvmlite", "onnx", "lark"]), ("model.o", ["xdsl", "onnx", "lark"])],
)
def test_a_library_needs_numpy_only_and_an_object_llvmlite(
    tmp_path: Path, name: str, absent: list[str]
) -> None:
    command = [sys.executable, "-c", ALONE, str(made(tmp_path / name)), *absent]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_symbols_stay_apart_between_models(tmp_path: Path) -> None:
    a = load_program(made(tmp_path / "a.so", weight=2.0))
    b = load_program(made(tmp_path / "b.so", weight=4.0))
    one = np.ones(1, np.float32)
    assert [float(p.run([one])[0][0]) for p in (a, b)] == [2.0, 4.0]
    del a, b
    gc.collect()


def test_bytes_are_the_same_for_every_hash_seed(tmp_path: Path) -> None:
    script = """
import io, sys
sys.path.insert(0, sys.argv[1])
from test_loader import made
from pathlib import Path
made(Path(sys.argv[2]))
"""
    files = [tmp_path / "1.so", tmp_path / "2.so"]
    for seed, path in enumerate(files):
        command = [sys.executable, "-c", script, str(Path(__file__).parent), str(path)]
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": str(seed)}, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_image_lists_what_a_library_needs() -> None:
    file = io.BytesIO()
    link(file, [scale_model()], Weights([(0, np.float32([1]))], 4), "scale_weights")
    image = Image(file.getvalue())
    assert image.undefined == ["calloc", "free"]
    assert "scale_run" in image.defined
    assert X86.startswith(image.machine_name.replace("-", "_"))
