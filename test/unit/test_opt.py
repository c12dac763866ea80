"""``tfc-opt``: its streams, its errors, what it writes when something breaks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from litfile import Outcome, run_tool
from spoilers import SPOILERS

from tfc.passes import pipeline

MODULE = """
func.func @main(%x : tensor<3xf32>) -> tensor<3xf32> {
  %a = tfc.exp %x : tensor<3xf32> -> tensor<3xf32>
  %b = tfc.tanh %a : tensor<3xf32> -> tensor<3xf32>
  %c = tfc.add %b, %x : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
  %d = tfc.floor %c : tensor<3xf32> -> tensor<3xf32>
  func.return %d : tensor<3xf32>
}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, where in SPOILERS.items():
        monkeypatch.setitem(pipeline.PASSES, name, where)


def opt(*arguments: str, text: str = MODULE) -> Outcome:
    return run_tool(["tfc-opt", *arguments], text)


def fails(outcome: Outcome, status: int, *words: str) -> None:
    """The tool failed as it should: with these words, nothing on stdout, and no traceback."""
    assert outcome.status == status, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err, outcome.err


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "nothing in the file"), (b"\n \n", "nothing in the file"), (b"\0\xff\xfe", "got other bytes")]
)
def test_files_without_a_module(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.mlir").write_bytes(data)
    fails(opt("x.mlir"), 1, "x.mlir: error: expected a ", words)


def test_version_is_quick() -> None:
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-m", "tfc.cli.opt", "--version"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
    assert ran.stdout.startswith("tfc-opt ")
    assert min(times) < 0.4


def test_help_teaches() -> None:
    outcome = opt("--help")
    assert outcome.status == 0
    assert "tfc-opt model.mlir -p canonicalize,cse" in outcome.out
    assert "exit status" in outcome.out


def test_passes_are_listed_with_options_and_stages() -> None:
    outcome = opt("--list-passes")
    assert "fold-constants" in outcome.out
    assert "max-bytes=" in outcome.out
    assert "optimise" in outcome.out


def test_unknown_names_get_suggestions() -> None:
    fails(
        opt("-p", "canonicalise"), 2, "unknown pass 'canonicalise'", "did you mean 'canonicalize'"
    )
    fails(
        opt("-p", "fold-constants{max-byte=3}"),
        2,
        "no option 'max-byte'",
        "did you mean 'max-bytes'",
    )
    fails(opt("-p", "cse{x=3}"), 2, "'cse' has no option 'x'", "it takes none")
    fails(opt("-p", "fold-constants{max-bytes=abc}"), 2, "fold-constants")
    fails(opt("-p", "cse,,"), 2, "expected a pipeline like")
    fails(opt("--print-ir-before=sce"), 2, "unknown pass 'sce'", "did you mean 'cse'")
    fails(opt("--print-ir-after"), 2, "did you mean --print-ir-after-all")
    fails(opt("-t", "llvmm"), 2, "unknown target form 'llvmm'", "did you mean 'llvm'")
    fails(opt("-t", "ptx"), 2, "got one without", "-p optimise,lower")
    fails(opt("-t", "llvm"), 2, "got one without", "-p optimise,lower")
    fails(opt("-p", "lower-to-kernels"), 2, "comes after fuse", "-p optimise,lower")
    fails(opt("--seed=x"), 2, "argument --seed: invalid int value: 'x'", "--help")


def test_input_that_is_no_module() -> None:
    fails(opt(text="func.func @f( {"), 1, "<stdin>:1:", "error:", "^")
    fails(opt("nowhere.mlir"), 1, "nowhere.mlir: error: no such file")
    Path("bytes.mlir").write_bytes(b"\xff\xfe\x00")
    fails(opt("bytes.mlir"), 1, "expected a text file")
    fails(opt(text="tfc.nonsense"), 1, "<stdin>:1:", "not registered")
    fails(opt(text=MODULE.replace("tfc.tanh %a", "tfc.tanh %z")), 1, "error")


def test_rules_of_operations_name_the_line() -> None:
    broken = "\n\nfunc.func @f(%x : tensor<3xf32>) {\n  %y = tfc.tanh %x : tensor<3xf32> -> tensor<4xf32>\n  func.return\n}"
    fails(
        opt(text=broken),
        1,
        "<stdin>:4",
        "'tfc.tanh' (type): expected tensor<3xf32>, got tensor<4xf32>",
    )


def test_output_is_written_as_a_whole_or_not_at_all() -> None:
    assert opt("-o", "out.mlir").out == ""
    assert "tfc.tanh" in Path("out.mlir").read_text()
    fails(opt("-o", "no/such/folder/out.mlir"), 1, "no/such/folder/out.mlir: error")
    assert sorted(p.name for p in Path().iterdir()) == ["out.mlir"]


def test_only_the_module_goes_to_stdout() -> None:
    plain = opt("-p", "canonicalize").out
    shown = opt(
        "-p", "canonicalize", "--time-report", "--print-ir-after-all", "--print-ir-before=canonicalize",
        "--trace-rules", "--dump-ir=dump",
    )  # fmt: skip
    assert shown.out == plain
    assert "// before canonicalize" in shown.err
    assert "// after canonicalize" in shown.err
    assert "verify, 2 times" in shown.err


def test_only_changes_are_printed() -> None:
    text = MODULE.replace("tfc.floor %c", "tfc.identity %c")
    err = opt("-p", "cse,canonicalize,cse", "--print-ir-after-change", text=text).err
    assert err.count("// after") == 1
    assert "// after canonicalize" in err


def test_dumps_are_read_back_with_their_constants() -> None:
    numbers = ", ".join(f"{k}.5" for k in range(100))
    text = f"""
    func.func @main() -> tensor<100xf32> {{
      %c = tfc.constant [{numbers}] : tensor<100xf32>
      %n = tfc.neg %c : tensor<100xf32> -> tensor<100xf32>
      func.return %n : tensor<100xf32>
    }}"""
    expected = opt("-p", "fold-constants", "--dump-ir=dump", "--run", text=text).out
    files = sorted(p.name for p in Path("dump").glob("*.mlir"))
    assert files == ["00-input.mlir", "01-fold-constants.mlir"]
    assert len(list(Path("dump/blobs").iterdir())) == 2
    command = [sys.executable, "-m", "tfc.cli.opt", "dump/01-fold-constants.mlir", "--run"]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout == expected
    assert opt("-o", "new/out.mlir", text=text).status == 1
    Path("new").mkdir(exist_ok=True)
    assert opt("-o", "new/out.mlir", text=text).status == 0
    command[3] = "new/out.mlir"
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == expected


def test_constants_of_the_same_bytes_and_different_types_are_read_back() -> None:
    rows = ", ".join(str(k) for k in range(128))
    text = f"""
    func.func @main() -> (tensor<128xi32>, tensor<2x64xi32>) {{
      %a = tfc.constant [{rows}] : tensor<128xi32>
      %b = tfc.constant [{rows}] : tensor<2x64xi32>
      func.return %a, %b : tensor<128xi32>, tensor<2x64xi32>
    }}"""
    assert opt("-o", "out.mlir", text=text).status == 0
    assert len(list(Path("blobs").iterdir())) == 1
    command = [sys.executable, "-m", "tfc.cli.opt", "out.mlir", "--run"]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout == opt("--run", text=text).out
    Path("out.mlir").write_text(Path("out.mlir").read_text().replace("2x64xi32", "3x64xi32"))
    fails(opt("out.mlir", text=""), 1, "has 512 bytes, too many or too few for tensor<3x64xi32>")


def test_run_on_generated_and_on_given_inputs() -> None:
    first, second = opt("--run"), opt("--run", "--seed=7")
    assert first.out.startswith("result0: float32[3]")
    assert first.out != second.out
    assert first.out == opt("--run", "-p", "optimise").out
    np.save("x.npy", np.array([0.0, 10.0, -10.0], np.float32))
    assert "[  0.  11. -10.]" in opt("--run", "--input", "arg0=x.npy").out
    fails(opt("--run", "--input", "y=x.npy"), 1, "expected a name of ['arg0'], got 'y'")
    fails(opt("--run", "--input", "arg0"), 2, "expected --input NAME=FILE.npy")
    np.save("z.npy", np.zeros(4, np.float32))
    fails(opt("--run", "--input", "arg0=z.npy"), 1, "error")


def test_a_crash_leaves_a_file_that_crashes_again() -> None:
    fails(
        opt("-p", "cse,crash,prune"),
        3,
        "this is a bug in tfc",
        "tanh is too much",
        "tfc-opt tfc-opt-crash.mlir",
    )
    text = Path("tfc-opt-crash.mlir").read_text()
    assert "// pipeline: crash\n" in text
    fails(opt("tfc-opt-crash.mlir", "--reproducer=again.mlir"), 3, "tanh is too much")
    assert Path("again.mlir").exists()


def test_rules_that_go_round_are_named() -> None:
    fails(opt("-p", "go-round"), 3, "rules undo each other", "swap")


def test_a_use_before_its_definition_is_found() -> None:
    fails(
        opt("-p", "use-before-definition"), 1, "'tfc.tanh': expected operand 0 to be defined before"
    )


def test_validation_names_the_pass_the_rule_and_the_difference() -> None:
    outcome = opt("-p", "cse,change-values,prune", "--validate-each-pass")
    fails(outcome, 1, "the pass 'change-values' changed @main: result 0", "the largest difference at [",
          "tanh-is-odd", "tfc-opt", "3 operations")  # fmt: skip
    small = Path("validate-change-values.mlir")
    assert "tfc.floor" not in small.read_text()
    fails(opt(str(small), "--validate-each-pass"), 1, "change-values")
    assert opt("-p", "optimise", "--validate-each-pass").status == 0


def test_parts_of_a_file_and_expected_errors() -> None:
    good = "func.func @f() { func.return }\n"
    bad = "func.func @g(%x : tensor<2xf32>) {\n  %y = tfc.neg %x : tensor<2xf32> -> tensor<3xf32>\n  func.return\n}\n"
    text = good + "// -----\n" + bad
    outcome = opt("--split-input-file", "--verify-diagnostics", text=text)
    assert outcome.status == 0
    assert "func.func @f" in outcome.out
    assert (
        "<stdin>:4: error: 'tfc.neg' (type): expected tensor<2xf32>, got tensor<3xf32>"
        in outcome.out
    )
    right = bad + "// expected-error {{expected tensor<2xf32>}}\n"
    assert opt("--verify-diagnostics", text=right).status == 0
    wrong = good + "// expected-error {{expected tensor<2xf32>}}\n"
    outcome = opt("--verify-diagnostics", text=wrong)
    assert outcome.status == 1
    assert "got none" in outcome.err


def test_the_environment_asks_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODULE.replace("tfc.floor %c", "tfc.identity %c")
    monkeypatch.setenv("TFC_DUMP", "kept")
    for level, words in (
        ("1", "(verify, 2 times)"),
        ("2", "// after canonicalize"),
        ("3", "// rule "),
    ):
        monkeypatch.setenv("TFC_DEBUG", level)
        outcome = opt("-p", "canonicalize", text=text)
        assert words in outcome.err
        assert "rule drop-identity at 'tfc.identity' from <stdin>:6" in outcome.err or level < "3"
        assert outcome.out.startswith("builtin.module")
    assert len(list(Path("kept").glob("*.mlir"))) == 6
    monkeypatch.setenv("TFC_DEBUG", "0")
    monkeypatch.setenv("TFC_VALIDATE", "1")
    fails(opt("-p", "change-values"), 1, "the pass 'change-values' changed @main")
    fails(opt("-p", "use-before-definition"), 1, "it cannot be run any more")
    monkeypatch.delenv("TFC_VALIDATE")
    monkeypatch.setenv("TFC_VERIFY", "1")
    fails(opt("-p", "use-before-definition,prune"), 1, "to be defined before its use")


def test_assembly_and_object_files_come_from_kernels() -> None:
    lowered = ("-p", "optimise,lower", "--cpu=x86-64-v3")
    assert "define" in opt(*lowered, "-t", "llvm").out
    assert "vaddps" in opt(*lowered, "-t", "asm").out
    assert opt(*lowered, "-t", "obj", "-o", "kernels.o").out == ""
    assert Path("kernels.o").read_bytes()[:4] == b"\x7fELF"
    fails(opt(*lowered[:2], "-t", "llvm", "--cpu=x86-64-v9"), 2, "x86-64-v9")
    arm = ("--target-triple=aarch64-unknown-linux-gnu",)
    assert "fadd" in opt(*lowered[:2], *arm, "-t", "asm").out
