"""Code generation in several processes: the same objects, whatever happens to the workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfc.codegen import workers
from tfc.codegen.cpu.objects import compile_all, machine_of
from tfc.codegen.cpu.targets import Target
from tfc.codegen.llvm import generate
from tfc.errors import InternalError

TARGET = Target.parse(cpu="x86-64-v3")
MACHINE = machine_of(TARGET)
TEXTS = [f"define i32 @f{k}() {{\n  ret i32 {k}\n}}\n" for k in range(40)]

READY = "import sys; out = sys.stdout.buffer; out.write(b'\\5' + bytes(7) + b'ready'); out.flush(); "
"""The beginning of a program that is a worker for a while."""


@pytest.fixture(autouse=True)
def three_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers beside this process, however little there is to do."""
    monkeypatch.setattr(workers, "MIN_SECONDS", 1e-6)
    monkeypatch.setenv("TFC_JOBS", "3")


def run(program: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe)


def test_workers_make_what_this_process_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process does nothing until a worker has done something."""
    here = [generate(text, MACHINE) for text in TEXTS]
    monkeypatch.setattr(workers._Work, "drain", lambda _: None)  # pyright: ignore[reportPrivateUsage]
    assert workers.generate_all(TEXTS, MACHINE) == here


@pytest.mark.parametrize(
    "program",
    [
        "",
        "import time; time.sleep(600)",
        READY + "sys.stdin.buffer.read(80)",
        READY + "sys.stdin.buffer.read(80); out.write(bytes(3))",
    ],
    ids=["leaves", "never starts", "leaves while it works", "leaves while it answers"],
)
def test_a_worker_that_dies_is_replaced_by_this_process(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(workers, "_start", lambda: run(program))
    assert workers.generate_all(TEXTS, MACHINE) == [generate(text, MACHINE) for text in TEXTS]


def test_a_worker_that_cannot_start_is_replaced_by_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "python").touch()  # not executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert len(workers.generate_all(TEXTS, MACHINE)) == len(TEXTS)


def test_an_invalid_text_is_an_error_whoever_reads_it() -> None:
    with pytest.raises(InternalError, match="expected"):
        compile_all([*TEXTS, "define nothing"], TARGET)


def test_a_main_module_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    """What `multiprocessing` would import in every worker stands at the top of a script."""
    script = tmp_path / "script.py"
    script.write_text(
        "from test_workers import MACHINE, TEXTS, workers\n"
        "workers.MIN_SECONDS = 1e-6\n"
        "print(len(workers.generate_all(TEXTS, MACHINE)))\n"
    )
    here = str(Path(__file__).parent)
    program = f"import sys, runpy; sys.path.insert(0, {here!r}); runpy.run_path({str(script)!r}, run_name='__main__')"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [str(len(TEXTS))]


@pytest.mark.parametrize(
    ("seconds", "jobs", "executable", "count"),
    [
        (0.1, 8, "python3", 0),  # too little to do
        (0.4, 2, "python3", 1),
        (9.0, 4, "python3", 3),
        (9.0, 1, "python3", 0),  # switched off
        (9.0, 8, "editor", 0),  # a program that embeds Python: it would start once more
    ],
)
def test_how_many_workers_start(
    monkeypatch: pytest.MonkeyPatch, seconds: float, jobs: int, executable: str, count: int
) -> None:
    monkeypatch.setattr(workers, "MIN_SECONDS", 0.3)
    monkeypatch.setenv("TFC_JOBS", str(jobs))
    monkeypatch.setattr(sys, "executable", f"/usr/bin/{executable}")
    text = " " * int(seconds / 10 * workers.CHARACTERS_PER_SECOND)
    assert workers._helpers([text] * 10) == count  # pyright: ignore[reportPrivateUsage]


def test_a_busy_machine_gets_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFC_JOBS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4), raising=False)
    for load, jobs in ((0.2, 4), (1.1, 4), (2.0, 3), (4.0, 1), (9.0, -4)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert workers._jobs() == jobs  # pyright: ignore[reportPrivateUsage]
