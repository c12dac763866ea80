"""Every file of test/lit, in process; a marked few under real lit as well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from litfile import requirements, run_file

ROOT = Path(__file__).parents[1] / "lit"
FILES = sorted(ROOT.rglob("*.mlir"))
AVAILABLE: set[str] = set()


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(ROOT)) for f in FILES])
def test_lit(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = requirements(file) - AVAILABLE - {"lit"}
    if lacking:
        pytest.skip(f"requires {', '.join(sorted(lacking))}")
    monkeypatch.setenv("TFC_VERIFY", "1")
    monkeypatch.setenv("TFC_VALIDATE", "1")
    monkeypatch.chdir(tmp_path)  # where a crash leaves its reproducer
    run_file(file, tmp_path)


def test_under_real_lit() -> None:
    """The in-process runner and lit agree on what a RUN line means."""
    marked = [str(f) for f in FILES if "lit" in requirements(f)]
    assert marked, "no file is marked REQUIRES: lit"
    tool = Path(sys.executable).with_name("lit")
    command = [str(tool)] if tool.exists() else [shutil.which("lit") or "lit"]
    ran = subprocess.run([*command, "-v", *marked], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
