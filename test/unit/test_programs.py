"""Programs that were compiled before: found by all that has a say in them, checked, and made again where damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import (
    ArrayAttr,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    StringAttr,
    f32,
    f64,
    i32,
    i64,
)
from xdsl.ir import Attribute

import tfc
from tfc import compiler
from tfc.codegen import programs
from tfc.codegen.programs import ProgramCache, program_cache
from tfc.dialects.tfc.types import LiteralAttr
from tfc.model import as_module
from tfc.modulekey import AttributeTexts, SaidByModule
from tfc.options import Options

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 96), np.float32)


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that pass through the compiler."""
    names: list[str] = []

    def noted(module: Any, options: Options) -> Any:
        names.append(options.name)
        return lower(module, options)

    lower: Callable[..., Any] = compiler.lower
    monkeypatch.setattr(compiler, "lower", noted)
    return names


def write(path: Path, change: float = 0.0, *, beside: bool = False) -> Path:
    """A model with a constant that is packed (``w``), one that is used where it is (``t``), and a small one."""
    rng = np.random.default_rng(1)
    w, t = rng.standard_normal((96, 200), np.float32), rng.standard_normal((3000, 200), np.float32)
    w[5, 7] += change
    arrays = {"w": w, "t": t, "b": rng.standard_normal(200).astype(np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Gather", ["t", "i"], ["r"]),
        helper.make_node("Mul", ["a", "r"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 96]),
        helper.make_tensor_value_info("i", TensorProto.INT64, ["n"]),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 200])
    constants = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, [output], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (path.parent / "weights.bin").unlink(missing_ok=True)
    onnx.save_model(made, path, save_as_external_data=beside, location="weights.bin")
    return path


def run(model: tfc.Compiled) -> bytes:
    return np.asarray(model(X, np.array([2999, 0, 7]))).tobytes()


def kept(folder: Path, what: str) -> list[Path]:
    programs.wait_until_kept()
    return sorted(p for p in (folder / what).rglob("*") if p.is_file())


# Models from files


def test_a_file_that_was_met_is_not_compiled_again(tmp_path: Path, folder: Path, lowered: list[str]) -> None:
    path = write(tmp_path / "net.onnx")
    first, again = tfc.compile(path), tfc.compile(path)
    assert lowered == ["net"]
    assert run(again) == run(first)
    assert again.inputs == first.inputs
    (block,) = kept(folder, "weights")
    assert 96 * 200 * 4 <= block.stat().st_size < 200_000  # the table is in the file, at its place


def test_it_takes_no_compiler_to_start_it(tmp_path: Path, folder: Path) -> None:
    path = write(tmp_path / "net.onnx")
    tfc.compile(path)
    program = (
        f"import sys, tfc; tfc.compile({os.fspath(path)!r})\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'xdsl', 'onnx', 'google'}))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not out.split()


def test_an_artifact_is_the_same(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "net.onnx")
    models = [tfc.compile(path), tfc.compile(path)]
    monkeypatch.setenv("TFC_CACHE", "0")
    models.append(tfc.compile(path))
    for k, model in enumerate(models):
        model.save(tmp_path / f"{k}.so")
    assert len({(tmp_path / f"{k}.so").read_bytes() for k in range(3)}) == 1


def test_another_weight_is_another_model(tmp_path: Path, folder: Path, lowered: list[str]) -> None:
    path = tmp_path / "net.onnx"
    first = run(tfc.compile(write(path)))
    second = run(tfc.compile(write(path, 1e-3)))
    assert first != second
    assert len(lowered) == 2
    assert run(tfc.compile(write(path))) == first
    assert len(lowered) == 2


def test_weights_beside_the_file_count(tmp_path: Path, folder: Path, lowered: list[str]) -> None:
    path = tmp_path / "net.onnx"
    first = run(tfc.compile(write(path, beside=True)))
    assert run(tfc.compile(path)) == first
    assert len(lowered) == 1
    text = path.read_bytes()
    second = run(tfc.compile(write(path, 1e-3, beside=True)))
    assert path.read_bytes() == text  # all that has changed is beside it
    assert second != first
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(tfc.TfcError, match=r"weights\.bin"):
        tfc.compile(path)


def test_what_is_no_model_is_the_same_error(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x80\x02 a pickle")
    (tmp_path / "b.onnx").write_bytes(bytes(100))
    for name, text in (("a", "a Python pickle"), ("b", "not an ONNX model"), ("c", "no such file")):
        with pytest.raises(tfc.TfcError, match=text):
            tfc.compile(tmp_path / f"{name}.onnx")


# Keys


@pytest.mark.parametrize(
    "other",
    [
        {"name": "other"},
        {"threads": 2},
        {"shapes": {"x": [3, 96]}},
        {"cpu": "x86-64-v3"},
        {"memory_limit": 1 << 20},
    ],
)
def test_every_option_has_a_say(tmp_path: Path, folder: Path, lowered: list[str], other: dict[str, Any]) -> None:
    path = write(tmp_path / "net.onnx")
    plain, found, *_ = [tfc.compile(path, **how) for how in ({}, other, {}, other)]
    assert len(lowered) == 2
    assert plain.name == "net"
    assert found.inputs[0].shape == (3, 96) if "shapes" in other else found.inputs[0].shape[1] == 96
    assert found.name == other.get("name", "net")


def test_other_files_of_tfc_and_other_packages_know_nothing(
    tmp_path: Path, folder: Path, lowered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "net.onnx")
    tfc.compile(path)
    for name in ("state_of_compiler", "_versions"):
        monkeypatch.setattr(programs, name, lambda: "others")
        tfc.compile(path)
    assert len(lowered) == 3


@pytest.mark.parametrize("name", ["TFC_DEBUG", "TFC_VERIFY", "TFC_DUMP", "TFC_VALIDATE"])
def test_who_watches_sees_the_passes(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert program_cache(Options()) is not None
    assert program_cache(Options(check_effects="warn")) is None
    assert program_cache(Options(validate_each_pass=True)) is None
    monkeypatch.setenv(name, "1")
    assert program_cache(Options()) is None


def test_it_can_be_switched_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFC_CACHE", "0")
    assert program_cache(Options()) is None


ATTRIBUTES: list[Attribute] = [
    IntAttr(1),
    StringAttr("1"),
    StringAttr("1, 2"),
    ArrayAttr([StringAttr("1"), StringAttr("2")]),
    ArrayAttr([ArrayAttr([StringAttr("1")]), StringAttr("2")]),
    IntegerAttr(1, i32),
    IntegerAttr(1, i64),
    FloatAttr(0.0, f32),
    FloatAttr(-0.0, f32),
    FloatAttr(0.0, f64),
    *(
        LiteralAttr.of(a)
        for a in (
            np.zeros(4, np.float32),
            -np.zeros(4, np.float32),
            np.zeros((2, 2), np.float32),
            np.zeros(4, np.int32),
            np.array([0, 0, 0, 1], np.int32),
            np.array([np.nan, 0], np.float32),
            np.array([0x7FC00001, 0], np.uint32).view(np.float32),
            np.arange(100, dtype=np.float32),
            np.arange(100, dtype=np.int32),
            np.arange(100, dtype=np.float32).reshape(10, 10),
        )
    ),
]


def test_attributes_have_texts_of_their_own() -> None:
    texts = AttributeTexts()
    assert len({texts.of(a) for a in ATTRIBUTES}) == len(ATTRIBUTES)
    assert [AttributeTexts().of(a) for a in ATTRIBUTES] == [texts.of(a) for a in ATTRIBUTES]


@pytest.mark.parametrize(
    "change",
    ["x * 2 + y", "x * 3 + y", "y * 2 + x", "x + y * 2", "x * 2 - y", "x * -0.0 + y", "x * 0.0 + y", "x + y"],
)
def test_a_module_is_known_by_all_that_it_says(change: str) -> None:
    def digest(text: str, size: int = 5, name: str = "x") -> str:
        with tfc.Graph().as_default():
            x, y = (tfc.placeholder(tfc.float32, [size], name=n) for n in (name, "y"))
            return SaidByModule(as_module(eval(text, {"x": x, "y": y}), [x, y], Options())).digest

    base = "x * 4 + y"
    assert digest(base) == digest(base)
    assert digest(base) != digest(change)
    assert digest(change) == digest(change)
    assert len({digest(change), digest(change, 6), digest(change, name="z")}) == 3


# Graphs and sessions


def test_a_session_of_a_known_graph_compiles_nothing(folder: Path, lowered: list[str]) -> None:
    def losses() -> list[float]:
        with tfc.Graph().as_default(), tfc.Session() as session:
            x = tfc.placeholder(tfc.float32, [3, 96])
            w = tfc.Variable(np.full((96, 4), 0.01, np.float32))
            c = tfc.constant(np.arange(12, dtype=np.float32).reshape(3, 4))
            loss = tfc.reduce_mean(tfc.square(tfc.matmul(x, w) - c))
            step = tfc.train.GradientDescentOptimizer(0.01).minimize(loss)
            session.run(tfc.global_variables_initializer())
            return [float(session.run([loss, step], {x: X})[0]) for _ in range(3)]

    first = losses()
    assert first[0] > first[1] > first[2]
    assert len(lowered) == 2  # the initializers, and a step
    assert losses() == first
    assert len(lowered) == 2


def test_variables_begin_with_their_own_values(folder: Path, lowered: list[str]) -> None:
    def counted(start: float) -> list[float]:
        with tfc.Graph().as_default():
            v = tfc.Variable(np.full(100, start, np.float32), name="v")
            model = tfc.compile(tfc.assign_add(v, tfc.ones([100])), [])
            return [float(np.asarray(model())[0]) for _ in range(2)]

    assert counted(1) == counted(1) == [2, 3]
    assert counted(5) == [6, 7]
    assert lowered.count("model") == 2 + 2  # each with the run of its initializer


def test_a_module_that_is_known_can_be_saved_and_profiled(tmp_path: Path, folder: Path) -> None:
    def compiled() -> tfc.Compiled:
        with tfc.Graph().as_default():
            x = tfc.placeholder(tfc.float32, [3, 96], name="x")
            return tfc.compile(tfc.nn.softmax(tfc.matmul(x, tfc.constant(X.T.copy()))), [x])

    models = [compiled(), compiled()]
    for k, model in enumerate(models):
        model.save(tmp_path / f"{k}.so")
    assert (tmp_path / "0.so").read_bytes() == (tmp_path / "1.so").read_bytes()
    assert [r.kernel for r in models[0].profile(X, runs=1)] == [r.kernel for r in models[1].profile(X, runs=1)]


# Entries


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "a flipped bit":
            data[len(data) // 2] ^= 4
        case "truncated":
            del data[-100:]
        case "a page of zeros":
            data[4096:8192] = bytes(4096)
        case "longer":
            data += bytes(64)
        case _:
            path.unlink()
            return
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("what", ["programs", "weights"])
@pytest.mark.parametrize("how", ["a flipped bit", "truncated", "a page of zeros", "longer", "gone"])
def test_what_is_damaged_is_made_again(
    tmp_path: Path, folder: Path, lowered: list[str], what: str, how: str
) -> None:
    path = write(tmp_path / "net.onnx")
    first = run(tfc.compile(path))
    (file,) = kept(folder, what)
    damaged(file, how)
    for _ in range(2):
        assert run(tfc.compile(path)) == first
    assert len(lowered) == 2
    assert len(kept(folder, what)) == 1


def test_processes_at_once_see_whole_programs(tmp_path: Path, folder: Path) -> None:
    path = write(tmp_path / "net.onnx")
    program = (
        "import sys, numpy as np, tfc\n"
        f"model = tfc.compile({os.fspath(path)!r})\n"
        "y = model(np.ones((1, 96), np.float32), np.array([3]))\n"
        "print(y.tobytes().hex())"
    )
    command = [sys.executable, "-c", program]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({p.communicate()[0] for p in running}) == 1
    assert not any(p.returncode for p in running)
    assert len(kept(folder, "weights")) == 1


def test_weights_are_bounded(tmp_path: Path, folder: Path, lowered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / f"{k}.onnx", k) for k in range(3)]
    tfc.compile(paths[0])
    size = kept(folder, "weights")[0].stat().st_size
    monkeypatch.setattr(programs, "MAX_WEIGHTS", 2 * size)
    tfc.compile(paths[1])
    os.utime(kept(folder, "weights")[0], ns=(1, 1))
    tfc.compile(paths[2])
    assert len(kept(folder, "weights")) == 2
    monkeypatch.setattr(programs, "MAX_WEIGHTS", size - 1)
    lowered.clear()
    run(tfc.compile(write(tmp_path / "large.onnx", 9)))
    run(tfc.compile(tmp_path / "large.onnx"))
    assert len(lowered) == 2
    assert len(kept(folder, "weights")) == 2


def test_only_the_owner_can_read_them(tmp_path: Path, folder: Path) -> None:
    tfc.compile(write(tmp_path / "net.onnx"))
    assert all(not p.stat().st_mode & 0o077 for p in [folder, *folder.rglob("*")])


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = Options(name="net")
    path = write(tmp_path / "net.onnx")
    from tfc.frontend.mapped import MappedFile

    cache = ProgramCache(tmp_path / "file", options, compiler.Target.parse())
    file = MappedFile(path)
    made = compiler.ready(compiler.lower(as_module(path, None, options), options))
    cache.put(file, made)
    assert cache.get(file) is None
    assert replace(made, constants=()).constants == ()
