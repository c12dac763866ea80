"""The tool tfc-compile: what it writes, what it shows, and the words of its errors."""

from __future__ import annotations

import ctypes
import io
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfc.cli.compile import FORMS, human, main, read_shape
from tfc.cli.progress import Progress
from tfc.codegen.artifact.image import Image
from tfc.dims import parse
from tfc.errors import OptionError
from tfc.runtime.loader import load_program

B = 'tensor<?x4xf32, #tfc.dims<["batch", ""]>>'
MODEL = f"""
func.func @main(%x : {B} {{tfc.name = "x"}}) -> ({B} {{tfc.name = "y"}}) {{
  %y = tfc.tanh %x : {B} -> {B}
  func.return %y : {B}
}}
"""
ALLOWED = ("c", "m", "pthread")

runs = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="loads x86-64 Linux code"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net-1.mlir"
    path.write_text(MODEL)
    return path


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and message of a run that fails; no traceback, nothing on stdout."""
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert status
    assert out == ""
    assert "Traceback" not in err
    return status, err


@runs
def test_library_and_header_are_written(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = model.with_suffix(".so")
    assert main([str(model), "-o", str(library), "--threads=2"]) == 0
    summary = capsys.readouterr().err
    assert "input    x: float32[batch, 4]" in summary
    assert "2 thread(s)" in summary
    header = library.with_suffix(".h").read_text()
    assert "#define net_1_THREADS 2" in header
    assert header.count("avx2") <= 2  # each feature is listed once, and has its error
    program = load_program(library)
    for rows in (1, 3, 64):
        x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
        np.testing.assert_allclose(program.run([x])[0], np.tanh(x), rtol=1e-6)
    assert sorted(p.name for p in model.parent.iterdir()) == ["net-1.h", "net-1.mlir", "net-1.so"]


@runs
def test_library_needs_libc_libm_and_pthread_only(model: Path) -> None:
    library = model.with_suffix(".so")
    assert main([str(model), "-o", str(library), "-q"]) == 0
    image = Image.open(library)
    assert all(name.startswith("net_1_") for name in image.defined)
    for name in image.undefined:
        found = [lib for lib in ALLOWED if _defines(lib, name)]
        assert found, f"{name} is in none of {ALLOWED}"


def _defines(library: str, name: str) -> bool:
    sonames = {"c": "libc.so.6", "m": "libm.so.6", "pthread": "libpthread.so.0"}
    return hasattr(ctypes.CDLL(sonames[library]), name)


def test_output_is_the_same_for_every_hash_seed(model: Path) -> None:
    def made(seed: str, suffix: str) -> bytes:
        output = model.with_suffix(suffix)
        command = [sys.executable, "-m", "tfc.cli.compile", str(model), "-o", str(output), "-q"]
        env = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([*command, "--target=x86_64-linux-gnu"], env=env, check=True)
        return output.read_bytes()

    for suffix in (".so", ".o"):
        assert made("1", suffix) == made("2", suffix)


@pytest.mark.parametrize("form", FORMS[:5])
def test_every_stage_can_be_seen(
    form: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(model), f"--emit={form}", "--target=x86_64-linux-gnu"]) == 0
    out, err = capsys.readouterr()
    sign = {
        "tfc": "tfc.tanh",
        "kernel": "kernel.func",
        "host": "host.program",
        "llvm": "define i32 @net_1_run(",
        "asm": "net_1_run:",
    }
    assert sign[form] in out
    assert err == ""


def test_assembly_and_llvm_include_the_weights(model: Path, tmp_path: Path) -> None:
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler, which is the assembler here")
    rng = np.random.default_rng(0)
    path = tmp_path / "w.onnx"
    onnx = pytest.importorskip("onnx")
    w = rng.standard_normal((32, 8)).astype(np.float32)
    path.write_bytes(matmul_model(onnx, w).SerializeToString())
    assembly = tmp_path / "w.s"
    assert main([str(path), "-o", str(assembly), "-q"]) == 0
    library = tmp_path / "by_cc.so"
    command = ["cc", "-shared", assembly.name, "-o", library.name, "-lm", "-lpthread"]
    subprocess.run(command, cwd=tmp_path, check=True)
    x = rng.standard_normal((5, 32)).astype(np.float32)
    np.testing.assert_allclose(load_program(library).run([x])[0], x @ w, rtol=1e-4, atol=1e-5)


def matmul_model(onnx, w: np.ndarray):
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [info("x", 1, ["batch", w.shape[0]])],
        [info("y", 1, ["batch", w.shape[1]])],
        [numpy_helper.from_array(w, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("suffix", [".so", ".o"])
def test_a_layer_takes_little_more_than_its_weights(suffix: str, tmp_path: Path) -> None:
    """relu(x[8, 784] W[784, 100] + b): weights + 64 KB, with its thread pool and header data."""
    onnx = pytest.importorskip("onnx")
    helper, info = onnx.helper, onnx.helper.make_tensor_value_info
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((784, 100)), "b": rng.standard_normal(100)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "layer",
        [info("x", 1, [8, 784])],
        [info("y", 1, [8, 100])],
        [onnx.numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    path = tmp_path / "layer.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    output = path.with_suffix(suffix)
    assert main([str(path), "-o", str(output), "-q"]) == 0
    assert output.stat().st_size <= 4 * (784 + 1) * 100 + 64 * 1024


@pytest.mark.slow
def test_a_large_model_is_compiled_in_little_memory(tmp_path: Path) -> None:
    """Peak memory of compiling 400 MB of weights: at most 1.3 times the weights + 300 MB."""
    onnx = pytest.importorskip("onnx")
    helper, info = onnx.helper, onnx.helper.make_tensor_value_info
    rng, n = np.random.default_rng(0), 5000
    weights = [rng.standard_normal((n, n), dtype=np.float32) for _ in range(4)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(4)],
        "large",
        [info("x0", 1, ["batch", n])],
        [info("x4", 1, ["batch", n])],
        [onnx.numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    path = tmp_path / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    command = [sys.executable, "-m", "tfc.cli.compile", str(path), "-o", str(tmp_path / "l.so")]
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, check=True)
    assert int(done.stdout) * 1024 < 1.3 * 400e6 + 300e6
    for file in tmp_path.iterdir():
        file.unlink()


def test_a_full_disk_behind_stdout_is_told(model: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = [sys.executable, "-m", "tfc.cli.compile", str(model), "--emit=tfc"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "no space left" in done.stderr


@runs
def test_shapes_can_be_given(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "m.onnx"
    path.write_bytes(matmul_model(onnx, np.ones((4, 2), np.float32)).SerializeToString())
    assert main([str(path), "-o", str(tmp_path / "m.so"), "--shape", "x=3x4", "-q"]) == 0
    program = load_program(tmp_path / "m.so")
    assert program.manifest.inputs[0].shape == (3, 4)
    assert program.manifest.dims == ()


def test_code_for_another_machine(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = model.with_suffix(".o")
    assert main([str(model), "-o", str(target), "--target=aarch64-linux-gnu"]) == 0
    assert Image.open(target).machine_name == "aarch64"
    capsys.readouterr()
    if not shutil.which("aarch64-linux-gnu-gcc") and platform.machine() != "aarch64":
        arguments = [model, "-o", model.with_suffix(".so"), "--target=aarch64-linux-gnu"]
        try:
            import ziglang  # noqa: F401
        except ImportError:
            status, message = failure(capsys, *arguments)
            assert status == 1
            assert "there is no linker for aarch64" in message


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--emit=kernels"], "did you mean 'kernel'"),
        (["--cpu=x86-64-v9"], "unknown cpu 'x86-64-v9'"),
        (["--target=x87-linux"], "unknown architecture 'x87'"),
        (["--threads=0"], "from 1 to 1024, got 0"),
        (["--threads=1025"], "from 1 to 1024, got 1025"),
        (["--threads=many"], "expected a number of threads, got 'many'"),
        (["--cpu=natve"], "did you mean 'native'"),
        (["-o"], "argument -o/--output: expected one argument"),
        (["--name=3 models"], "letters, digits and underscores"),
        (["--shape", "x:3"], "expected --shape INPUT=EXTENTS"),
        (["--shape", "x=3x-1"], "expected --shape INPUT=EXTENTS"),
        (["-o", "model.exe"], "cannot tell what to write"),
        (["--emit=so", "-o", "-"], "name it by -o"),
        (["--thread=2"], "did you mean --threads"),
    ],
)
def test_a_wrong_command_line_is_told_and_has_status_2(
    arguments: list[str], reason: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = failure(capsys, model, *arguments)
    assert (status, message.startswith("error: ")) == (2, True)
    assert reason in message


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"hello, this is no model\n", "got text"),
        (b'node { name: "x" op: "Placeholder" }\n', "a TensorFlow GraphDef as text"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b"\x7fELF" + bytes(100), "a compiled model is loaded by tfc.load"),
        (b"module {\n  func.func @main( {\n}", "error: "),
    ],
)
def test_a_file_that_is_no_model_is_told_and_has_status_1(
    contents: bytes | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    if contents is not None:
        path.write_bytes(contents)
    status, message = failure(capsys, path, "-o", tmp_path / "model.so")
    assert status == 1
    assert reason in message
    assert str(path) in message
    assert sorted(p.name for p in tmp_path.iterdir()) in ([], ["model.onnx"])


def test_output_is_checked_before_the_work(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    status, message = failure(capsys, model, "-o", tmp_path / "no" / "model.so")
    assert status == 1
    assert "there is no folder" in message
    assert time.monotonic() - began < 5
    (tmp_path / "taken.h").mkdir()
    status, message = failure(capsys, model, "-o", tmp_path / "taken.so")
    assert status == 1
    assert "taken.h" in message
    assert not (tmp_path / "taken.so").exists()


def test_shapes_are_read_in_both_spellings() -> None:
    batch = parse("batch")
    assert read_shape("x=1x3x224x224") == ("x", [1, 3, 224, 224])
    assert read_shape("x=batchx3x224") == ("x", [batch, 3, 224])
    assert read_shape("a=b:0=batch,2*batch,8") == ("a=b:0", [batch, 2 * batch, 8])
    assert read_shape("x=") == ("x", [])
    with pytest.raises(OptionError):
        read_shape("=3")


def test_sizes_are_written_as_people_do() -> None:
    assert [human(n) for n in (0, 999, 1000, 123_456, 102_400_000, 5_000_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1 KB",
        "123 KB",
        "102 MB",
        "5.00 GB",
    ]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "tfc-compile model.onnx -o model.so" in text
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tfc-compile ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_painted_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfc.cli.progress.PATIENCE", 0.02)
    for stream, quiet, painted in (
        (Terminal(), False, True),
        (Terminal(), True, False),
        (io.StringIO(), False, False),
    ):
        with Progress(stream, quiet=quiet) as progress:
            progress.at("fold-constants", 0.42)
            time.sleep(0.2)
        assert (" 42%  fold-constants" in stream.getvalue()) == painted
        assert stream.getvalue().endswith("\r") == painted
