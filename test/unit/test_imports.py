"""Which folder may import which: data flows one way, and so do imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tfc

ROOT = Path(tfc.__file__).parent

FORBIDDEN = {
    "dialects": ("passes", "codegen", "runtime", "graph", "frontend", "cli", "compiler", "model"),
    "passes": ("codegen", "graph", "frontend", "cli", "compiler", "model"),
    "codegen": ("passes", "graph", "frontend", "cli", "compiler", "model"),
    "frontend": ("passes", "codegen", "runtime", "graph", "cli"),
    "checkpoint": ("dialects", "passes", "codegen", "graph", "frontend", "cli", "compiler", "model"),
    "runtime": ("passes", "graph", "frontend", "cli", "emulator"),
    "emulator": ("dialects", "passes", "graph", "frontend", "cli", "compiler", "model"),
}
"""For each folder, the parts of tfc that it imports nowhere."""

ALLOWED = {
    # The interpreter is what validate-each-pass compares with; it is no device.
    ("passes", "tfc.runtime.interpreter"),
    # So is the adapter of onnx's own test suite, which runs models both ways.
    ("frontend", "tfc.runtime.interpreter"),
    # What a machine is like is data: packing asks for the width of its vectors and its tiles.
    ("passes", "tfc.codegen.cpu.targets"),
    ("passes", "tfc.codegen.schedule.tiles"),
    ("passes", "tfc.codegen.gpu.targets"),
    ("passes", "tfc.codegen.schedule.gpu.blocks"),
}


def imports(path: Path) -> set[str]:
    """The modules of tfc that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return {name for name in found if name.split(".")[0] == "tfc"}


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_imports_go_one_way(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in sorted(imports(path))
        if len(name.split(".")) > 1 and name.split(".")[1] in FORBIDDEN[folder]
        if not any(folder == f and (name.startswith(a) or a.startswith(f"{name}.")) for f, a in ALLOWED)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import tfc", ("xdsl", "llvmlite", "onnx")),
        ("import tfc; tfc.load", ("xdsl", "llvmlite", "onnx")),
        ("import tfc.runtime.program", ("xdsl", "llvmlite", "onnx")),
        ("import tfc.runtime.loader", ("xdsl", "llvmlite", "onnx")),
        ("import tfc.checkpoint.bundle", ("xdsl", "llvmlite", "onnx")),
    ],
)
def test_what_stays_unimported(statement: str, absent: tuple[str, ...]) -> None:
    program = f"import sys; {statement}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not set(absent) & set(out.split())
