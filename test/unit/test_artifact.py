"""Weights, output files, and the object artifact with weights inside."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from llvm_objects import AARCH64, MODEL, compiled

from tfc.codegen.artifact import elf
from tfc.codegen.artifact.object import write_object
from tfc.codegen.artifact.output import replacing
from tfc.codegen.artifact.seal import seal
from tfc.codegen.artifact.weights import Weights
from tfc.dialects.tfc.types import Literal
from tfc.errors import ArtifactError


def written(objects: list[bytes], weights: Weights, symbol: str = "m_weights") -> bytes:
    file = io.BytesIO()
    write_object(file, objects, weights, symbol)
    return file.getvalue()


def test_weights_of_every_kind_are_row_major_bytes_at_their_offsets() -> None:
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((3, 5)).astype(np.float32)
    strided = rng.standard_normal((600, 700)).T
    splat = np.broadcast_to(np.float32(0.5), (1000, 1000))
    half = np.ones(3, ml_dtypes.bfloat16)
    big_endian = np.arange(4, dtype=">i4")
    truth = np.array([True, False])
    arrays = [
        plain,
        strided,
        splat,
        half,
        big_endian,
        truth,
        np.zeros((0, 3)),
        np.float64(7).reshape(()),
    ]
    parts, position, expected = [], 0, b""
    for i, array in enumerate(arrays):
        content = (array, Literal(array), lambda array=array: array)[i % 3]
        parts.append((position, content))
        little = array.astype(array.dtype.newbyteorder("<"))
        expected += little.tobytes() + bytes(-array.nbytes % 64)
        position = len(expected)
    weights = Weights(parts, position)
    assert b"".join(weights.chunks()) == expected
    block = np.full(position, 255, np.uint8)
    weights.fill(block)
    assert block.tobytes() == expected


def test_chunks_are_views_where_they_can_be() -> None:
    array = np.zeros(1 << 22, np.float32)
    (chunk,) = Weights([(0, array)], array.nbytes).chunks()
    assert np.shares_memory(np.frombuffer(chunk, np.uint8), array)
    strided = np.broadcast_to(np.float32(1), (1 << 22, 4))
    assert max(len(c) for c in Weights([(0, strided)], strided.nbytes).chunks()) <= 1 << 21


def test_object_has_the_weights_where_the_symbol_is() -> None:
    array = np.arange(1000, dtype=np.float32)
    for triple in ("x86_64-unknown-linux-gnu", AARCH64):
        result = elf.read(written([compiled(MODEL, triple)], Weights([(0, array)], 4032)))
        symbol = result.symbol("m_weights")
        assert symbol is not None
        assert symbol.section is not None
        assert symbol.section.align == 64
        assert not symbol.section.flags & elf.SHF_WRITE
        assert symbol.section.data == array.tobytes() + bytes(32)
        assert symbol.visibility == elf.STV_HIDDEN


def test_writing_an_object_again_changes_nothing_but_its_layout() -> None:
    once = written([compiled(MODEL)], Weights([(0, np.ones(4))], 32))
    assert written([once], Weights()) == once
    file = io.BytesIO()
    elf.write(elf.read(once), file)
    seal(file)
    assert file.getvalue() == once


def test_objects_are_joined_by_name() -> None:
    caller = compiled(
        "declare hidden i32 @g()\ndefine i32 @f() {\n %r = call i32 @g()\n ret i32 %r\n}"
    )
    callee = compiled("define hidden i32 @g() {\n ret i32 7\n}")
    joined = elf.join([elf.read(caller), elf.read(callee)])
    g = joined.symbol("g")
    assert g is not None
    assert g.is_defined
    assert sum(s.name == "g" for s in joined.symbols) == 1
    with pytest.raises(ArtifactError, match="'g' is defined twice"):
        elf.join([elf.read(callee), elf.read(callee)])
    with pytest.raises(ArtifactError, match="different machines"):
        elf.join(
            [elf.read(callee), elf.read(compiled("define i32 @h() {\n ret i32 1\n}", AARCH64))]
        )


def test_a_damaged_object_is_an_error() -> None:
    whole = compiled(MODEL)
    for size in (0, 10, 63, 64, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ArtifactError, match=r"expected a relocatable|is damaged"):
            elf.read(whole[:size])


def test_a_target_that_is_not_elf_says_what_to_do() -> None:
    mach = compiled("define i32 @f() {\n ret i32 1\n}", "arm64-apple-macosx")
    assert written([mach], Weights()) == mach
    with pytest.raises(ArtifactError, match="ELF objects only"):
        written([mach], Weights([(0, np.ones(4))], 32))


def test_output_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model.so"
    target.write_bytes(b"before")
    with pytest.raises(TypeError), replacing(target) as file:
        file.write("half of it, then a mistake")  # type: ignore[arg-type]
    assert target.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["model.so"]
    link = tmp_path / "link.so"
    link.symlink_to("model.so")
    with replacing(link, executable=True) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"
    assert target.stat().st_mode & stat.S_IXUSR


def test_output_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError, match="there is no folder"),
        replacing(tmp_path / "no" / "x.so"),
    ):
        raise AssertionError("nothing is done before the check")
    with pytest.raises(ArtifactError, match="it is a directory"), replacing(tmp_path):
        raise AssertionError("nothing is done before the check")
    with replacing("/dev/null") as file:
        file.write(b"special files are written directly")


WRITE = """
import io, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from llvm_objects import MODEL, compiled
from tfc.codegen.artifact.link import link
from tfc.codegen.artifact.object import write_object
from tfc.codegen.artifact.weights import Weights
for write in (link, write_object):
    file = io.BytesIO()
    write(file, [compiled(MODEL)], Weights([(0, np.arange(99.0))], 832), "m_weights")
    sys.stdout.buffer.write(file.getvalue())
"""


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    def run(seed: str) -> bytes:
        env = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", WRITE, str(Path(__file__).parent)]
        return subprocess.run(command, env=env, check=True, capture_output=True).stdout

    assert run("1") == run("2") != b""
