"""Kernels for a GPU are made one by one: joined into one text, and kept for the next model that has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfc
from tfc import compiler
from tfc.codegen import known, lower_to_kernels
from tfc.codegen.gpu import assemble, ptx
from tfc.codegen.gpu.pieces import join, piece_of
from tfc.codegen.gpu.targets import GpuTarget
from tfc.compiler import Lowered, lower
from tfc.dialects.tfc.fusion import FusionOp
from tfc.model import as_module
from tfc.options import Options, choose_device


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that are generated."""
    names: list[str] = []
    plain: Callable[..., Any] = lower_to_kernels.lower_fusion

    def noted(op: FusionOp, name: str, target: Any) -> Any:
        names.append(name)
        return plain(op, name, target)

    monkeypatch.setattr(lower_to_kernels, "lower_fusion", noted)
    return names


def lowered(outputs: Callable[[], Any]) -> Lowered:
    options = Options(name="model", **choose_device("gpu", "sm_90", None))
    with tfc.Graph().as_default():
        return lower(as_module(outputs(), None, options), options)


def image(model: Lowered) -> tuple[str, bytes]:
    made = compiler._image(model, [], assembled=True)  # pyright: ignore[reportPrivateUsage]
    assert made is not None
    return made.ptx, made.cubin


def one_line(size: int = 70) -> Any:
    x = tfc.placeholder(tfc.float32, [size, 90], name="x")
    d = tfc.placeholder(tfc.float64, [size], name="d")
    return [tfc.nn.softmax(x), tfc.matmul(x, tfc.transpose(x)), tfc.sin(d), tfc.cos(d * 2) + tfc.sin(d)]


def other_lines() -> Any:
    x = tfc.placeholder(tfc.float32, [70, 90], name="other")
    d = tfc.placeholder(tfc.float64, [70], name="d2")
    return [tfc.nn.softmax(x), tfc.matmul(x, tfc.transpose(x)), tfc.sin(d), tfc.cos(d * 2) + tfc.sin(d)]


def two_lines() -> Any:
    d = tfc.placeholder(tfc.float64, [70], name="d")
    t = tfc.cos(d * 2)
    return t + tfc.sin(d)


def test_a_kernel_is_written_once(folder: Path, written: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = image(lowered(one_line))
    count = len(written)
    assert count == first[0].count(".visible .entry") > 2
    assert image(lowered(one_line)) == first
    assert len(written) == count
    monkeypatch.setenv("TFC_CACHE", "0")
    assert image(lowered(one_line)) == first
    assert len(written) == 2 * count
    assert image(lowered(lambda: one_line(71))) != first


def test_a_kernel_of_another_model_names_its_lines(
    folder: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = image(lowered(one_line))
    count = len(written)
    again, _ = image(lowered(other_lines))
    assert len(written) == count
    assert again != first
    image(lowered(two_lines))  # one kernel of it has operations of two lines, which share none
    assert len(written) == count + 1
    monkeypatch.setenv("TFC_CACHE", "0")
    assert image(lowered(other_lines))[0] == again


def test_kernels_that_report_errors_are_not_kept(folder: Path, written: list[str]) -> None:
    def gathered() -> Any:
        x, i = tfc.placeholder(tfc.float32, [9, 5]), tfc.placeholder(tfc.int32, [4])
        return tfc.gather(x, i)

    texts = [image(lowered(gathered))[0] for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(written) == 2


def test_what_is_damaged_is_made_again(folder: Path, written: list[str]) -> None:
    first, count = image(lowered(one_line)), len(written)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    assert image(lowered(one_line)) == first
    assert len(written) == 2 * count


def test_a_helper_that_kernels_share_stands_once(folder: Path) -> None:
    text, _ = image(lowered(one_line))
    assert text.count(".version") == text.count(".address_size") == 1
    assert text.count(") sin(") == 1
    assert text.count("two_over_pi[160]") == 1
    labels = [line.split(":")[0] for line in text.splitlines() if line.startswith("$L__")]
    assert len(labels) == len(set(labels))
    assert known.SYMBOL not in text


def test_a_text_is_cut_at_the_top_level() -> None:
    text = (
        "//\n// Generated\n\n.version 8.0\n.target sm_90\n.address_size 64\n\n"
        ".extern .shared .align 128 .b8 s[];\n.func f(\n\t.param .b32 a\n)\n;\n"
        ".func f(\n\t.param .b32 a\n)\n{\n$L__BB0_1:\n\tret;\n}\n"
        "\t// .globl\ttfc_kernel\n.visible .entry tfc_kernel(\n\t.param .u64 tfc_kernel_param_0\n)\n"
        '{\n\t{ // callseq 0, 0\n\t} // callseq 0\n\t.loc\t1 7 0\n\t.loc\t2 0 0\n\tret;\n}\n\t.file\t1 "a.py"\n\t.file\t2 "tfc_kernel"\n'
    )
    piece = piece_of(text)
    assert len(piece.parts) == 4
    assert piece.places == [("a.py", 7), ("tfc_kernel", 0)]
    joined = join([piece, piece.at([("b.py", 8), ("a.py", 0)])], ["k", "l"])
    assert [joined.count(t) for t in (".version", ".shared", ".func f", ".entry k(", ".entry l(")] == [1, 1, 2, 1, 1]
    locs = [line for line in joined.splitlines() if ".loc" in line]
    assert locs == ["\t.loc\t1 7 0", "\t.loc\t2 0 0", "\t.loc\t3 8 0", "\t.loc\t1 0 0"]
    assert [line for line in joined.splitlines() if ".file" in line] == [
        '\t.file\t1 "a.py"', '\t.file\t2 "k"', '\t.file\t3 "b.py"',
    ]  # fmt: skip
    assert join([], []) == "\n"


@pytest.mark.skipif(not assemble.assembler(), reason="there is no ptxas")
def test_machine_code_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lowered(lambda: tfc.sin(tfc.placeholder(tfc.float32, [40])))
    text = ptx.ptx([k for k in model.kernels if k.target.data == "gpu"], GpuTarget.parse("sm_90").cpu)
    first = assemble.assemble(text, "sm_90")
    monkeypatch.setattr(assemble, "_run", lambda *_: pytest.fail("it is assembled again"))
    assert assemble.assemble(text, "sm_90") == first != b""
    with pytest.raises(pytest.fail.Exception):
        assemble.assemble(text + "\n", "sm_90")
