"""Code for a machine that this one is not, run under an emulator where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kernel_runner import elementwise, parse
from test_math import UNARY, check, samples

from tfc.codegen.cpu.formulas import SINGLE
from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cpu.translate import translate

TOOLS = {
    "aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64"),
}

ROUNDING = ("floor", "ceil", "trunc", "roundeven")

DRIVER = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef void kernel(void **, int64_t, int64_t);
%(declarations)s
static kernel *const kernels[] = {%(names)s};
int main(int argc, char **argv) {
  int64_t blocks = atoll(argv[1]);
  size_t count = (size_t)blocks * 16;
  float *x = malloc(4 * count), *y = malloc(4 * count);
  int status = 0;
  if (argc != 2 || fread(x, 4, count, stdin) != count) return 1;
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    void *args[] = {x, y, (void *)blocks, &status};
    kernels[i](args, 0, blocks);
    if (status || fwrite(y, 4, count, stdout) != count) return 2;
  }
  return 0;
}
"""


@pytest.mark.parametrize("arch", TOOLS)
def test_formulas_on_another_machine(arch: str, tmp_path: Path) -> None:
    compiler, emulator = TOOLS[arch]
    if not (shutil.which(compiler) and shutil.which(emulator)):
        pytest.skip(f"needs {compiler} and {emulator}")
    target = Target.parse(f"{arch}-unknown-linux-gnu")
    names = [*UNARY, *ROUNDING]
    texts = [elementwise(f"math.{n}", 16, "f32").replace("@k(", f"@k_{n}(") for n in names]
    (tmp_path / "k.o").write_bytes(compile_llvm(translate(parse("\n".join(texts)), target), target))
    functions = [f"k_{n}" for n in names]
    declarations = "\n".join(f"kernel {f};" for f in functions)
    (tmp_path / "main.c").write_text(DRIVER % {"declarations": declarations, "names": ", ".join(functions)})
    command = [compiler, "-O1", "-static", "main.c", "k.o", "-o", "main", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    x = samples(np.float32, 4000)
    x = np.concatenate([x, np.ones(-x.size % 16, np.float32)])
    run = [emulator, *(["-cpu", "rv64,v=true"] if arch == "riscv64" else []), tmp_path / "main"]
    out = subprocess.run([*run, str(x.size // 16)], input=x.tobytes(), capture_output=True, check=True)
    results = np.frombuffer(out.stdout, np.float32).reshape(len(names), x.size)
    for name, result in zip(names, results, strict=True):
        if name in UNARY:
            check(name, SINGLE[name].ulp, result, x)
        else:
            function = {"roundeven": np.rint}.get(name) or getattr(np, name)
            np.testing.assert_array_equal(result, function(x))


