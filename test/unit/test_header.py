"""The C header: it compiles without a warning as C99 and as C++, whatever the names are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tfc import dims
from tfc.codegen.artifact.header import c_expression, render
from tfc.codegen.artifact.manifest import (
    C_TYPES,
    ErrorMessage,
    Manifest,
    TargetSpec,
    named_dims,
    ports,
)

BATCH, LENGTH = dims.symbol("batch_size"), dims.symbol("len")
TARGET = TargetSpec("x86_64-unknown-linux-gnu", "x86-64-v3", ("avx2", "fma"))


def model(name: str = "net") -> Manifest:
    taken: set[str] = set()
    inputs = ports(
        [("x:0", "float32", (BATCH, 784)), ("class", "int64", (LENGTH,)), ("größe", "bool", ())],
        taken,
    )
    outputs = ports(
        [("x:0", "float16", (BATCH * LENGTH + 1, LENGTH // 2)), ("*/ evil /*??/", "float64", (0,))],
        taken,
    )
    variables = ports([("w/read", "float32", (784, 10))], taken)
    return Manifest(
        name,
        TARGET,
        inputs,
        outputs,
        variables,
        named_dims(inputs, (d for p in outputs for d in p.shape), taken),
        threads=2,
        arena_size=dims.maximum(BATCH * 64, LENGTH * 3_000_000_000),
        weights_size=5_000_000_000,
        errors=(
            ErrorMessage(1, "index out of range /* here", "model.py:3"),
            ErrorMessage(2, "line\nbreak"),
        ),
    )


def empty() -> Manifest:
    return Manifest("nothing", TARGET, (), ())


def every_type() -> Manifest:
    inputs = ports((f"in {t}", t, (2, 3)) for t in C_TYPES)
    return Manifest("types", TARGET, inputs, ports((f"out {t}", t, (3, 2)) for t in C_TYPES))


USE = """
#include "model.h"
int64_t shape[] = net_x_0_SHAPE(8);
float input[net_x_0_ELEMENTS(8)];
int use(void);
int use(void)
{
    net_model *m;
    net_args args = {0};
    int error = net_create(&m, 0);
    args.batch_size = 8;
    args.x_0 = input;
    if (!error)
        error = net_call(m, &args);
    if (net_abi() != net_ABI || net_arena_size(&shape[0]) > net_ARENA_SIZE(8, 2 + 1))
        return (int)net_variable_w_read(m)[0];
    net_destroy(m);
    return error;
}
"""
C99 = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-x", "c"]
CPP = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-x", "c++"]


@pytest.mark.parametrize("compiler", [C99, CPP], ids=["c99", "c++17"])
@pytest.mark.parametrize("made", [model, empty, every_type])
def test_header_compiles_without_a_warning(compiler: list[str], made, tmp_path: Path) -> None:
    if not shutil.which(compiler[0]):
        pytest.skip(f"needs {compiler[0]}")
    (tmp_path / "model.h").write_text(render(made()))
    use = USE if made is model else '#include "model.h"\n#include "model.h"\nint use(void);\n'
    if compiler is CPP:
        use = use.replace("{0}", "{}")
    (tmp_path / "use.c").write_text(use)
    command = [*compiler, "-fsyntax-only", str(tmp_path / "use.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_expressions_mean_in_c_what_they_mean_here(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    n, m = dims.symbol("n"), dims.symbol("m")
    cases = [
        n + 1,
        3 * (n // 2) - n * m,
        (n * m + 7) % 5,
        dims.maximum(n - 3, m // 4) * 2,
        1 << 40,
        n * (1 << 33),
    ]
    texts = [c_expression(c, {"n": "n", "m": "m"}) for c in cases]
    body = "".join(f'printf("%lld\\n", (long long)({t}));' for t in texts)
    program = f"#include <stdint.h>\n#include <stdio.h>\nint main(void) {{ int64_t n = 11, m = 22; {body} return (int)(n - n + m - m); }}"
    path = tmp_path / "program"
    subprocess.run(["gcc", "-x", "c", "-", "-o", path], input=program, text=True, check=True)
    found = [int(v) for v in subprocess.check_output([path], text=True).split()]
    assert found == [dims.evaluate(c, {"n": 11, "m": 22}) for c in cases]


def test_the_header_is_a_function_of_the_manifest() -> None:
    text = render(model())
    assert render(Manifest.from_json(model().to_json())) == text
    assert '/* "x:0": float32[batch_size, 784] */' in text
    assert " * 1: model.py:3: index out of range / * here" in text
