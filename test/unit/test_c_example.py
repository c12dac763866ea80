"""The C example is compiled without a warning, and runs."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "c"

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@pytest.mark.parametrize("suffix", ["o", "so"])
def test_the_example_runs(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model, code = tmp_path / "mlp.onnx", tmp_path / f"mlp.{suffix}"
    subprocess.run([sys.executable, EXAMPLE / "make_model.py", model], check=True)
    compile_ = [sys.executable, "-m", "tfc.cli.compile", model, "-o", code, "--threads=2", "-q"]
    subprocess.run(compile_, check=True)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-D_POSIX_C_SOURCE=200809L"]
    command = ["cc", *flags, EXAMPLE / "main.c", f"-I{tmp_path}", code, "-o", tmp_path / "example"]
    subprocess.run([*command, "-lm", "-lpthread"], check=True)
    done = subprocess.run([tmp_path / "example"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 rows: the outputs sum to 3.000\n64 rows: the outputs sum to 64.000\n"


def test_the_makefile_is_right(tmp_path: Path) -> None:
    if not shutil.which("make") or platform.system() != "Linux":
        pytest.skip("needs make")
    for file in EXAMPLE.iterdir():
        if file.name in ("main.c", "make_model.py", "Makefile"):
            shutil.copy(file, tmp_path)
    command = ["make", "-C", str(tmp_path), "run", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
