"""Write a compiled model as files: code with its weights, and the C header beside it.

    write_artifact(binary, "out/model.so")    ->  out/model.so, out/model.h

    .so    a shared library            .ll    LLVM IR       with out/model.weights beside it: the
    .o     a relocatable object        .s     assembly      text includes that file by its name

All files appear at the end, the code last; where something fails, none does.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol

from tfc.codegen.artifact import elf
from tfc.codegen.artifact.header import render
from tfc.codegen.artifact.link import link
from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.artifact.object import write_object
from tfc.codegen.artifact.output import check_writable, replacing
from tfc.codegen.artifact.toolchain import link_by_tool
from tfc.codegen.artifact.weights import ALIGNMENT, Weights
from tfc.errors import OptionError, nearest

FORMS = {".so": "so", ".o": "obj", ".ll": "llvm", ".s": "asm"}
"""What is written, by the suffix of the file."""


class Binary(Protocol):
    """A compiled model in memory: code whose weights are still outside."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def llvm(self) -> str: ...
    @property
    def object(self) -> bytes: ...
    @property
    def weights(self) -> Weights: ...


def form_of(path: str | os.PathLike[str]) -> str:
    """The form that the suffix of ``path`` asks for: ``so``, ``obj``, ``llvm`` or ``asm``.

    Raises:
        OptionError: there is no such form.
    """
    suffix = Path(path).suffix
    if suffix not in FORMS:
        raise OptionError(
            f"cannot tell what to write from the name {os.fspath(path)!r}",
            help=nearest(suffix, FORMS) or f"end it in one of {', '.join(FORMS)}",
        )
    return FORMS[suffix]


def files_of(path: str | os.PathLike[str], form: str) -> list[Path]:
    """The files that `write_artifact` makes: the code, the header, perhaps the weights."""
    target = Path(path)
    if target.exists() and not target.is_file():  # /dev/null and pipes have nothing beside them
        return [target]
    beside = [".h"] if form in ("so", "obj") else [".h", ".weights"]
    return [target, *(target.with_suffix(suffix) for suffix in beside)]


def check_output(path: str | os.PathLike[str], form: str) -> None:
    """Raise `ArtifactError` where the files of an artifact cannot be written."""
    for file in files_of(path, form):
        check_writable(file)


def write_artifact(
    binary: Binary, path: str | os.PathLike[str], form: str | None = None
) -> list[Path]:
    """Write ``binary`` to ``path``, and its header with the suffix ``.h``.

    Args:
        binary: the compiled model.
        path: where to write.
        form: ``so``, ``obj``, ``llvm`` or ``asm``; by the suffix of ``path`` if left out.

    Returns:
        The files written, the code first.

    Raises:
        ArtifactError: a file cannot be written, or this target has no such form.
        OptionError: the suffix says nothing about the form.
    """
    form = form or form_of(path)
    main, *beside = files_of(path, form)
    written = [main]
    with ExitStack() as stack:
        code = stack.enter_context(replacing(main, executable=form == "so"))
        for name in beside:
            if name.suffix == ".weights" and not binary.weights.size:
                continue
            file = stack.enter_context(replacing(name))
            if name.suffix == ".h":
                file.write(render(binary.manifest).encode())
            else:
                binary.weights.write(file)
            written.append(name)
        _write_code(code, binary, form, written)
    return written


def _write_code(file: BinaryIO, binary: Binary, form: str, written: list[Path]) -> None:
    symbol = binary.manifest.symbol("weights")
    if form == "obj":
        write_object(file, [binary.object], binary.weights, symbol)
    elif form == "so" and elf.machine_of(binary.object) == elf.EM_X86_64:
        link(file, [binary.object], binary.weights, symbol)
    elif form == "so":
        link_by_tool(file, binary.object, binary.weights, symbol, binary.manifest.target.triple)
    else:
        weights = next((f.name for f in written if f.suffix == ".weights"), "")
        file.write(text_of(binary, form, weights).encode())


def text_of(binary: Binary, form: str, weights: str = "") -> str:
    """The code as LLVM IR or assembly; it includes the file ``weights`` if that is given."""
    lines = _included(binary.manifest.symbol("weights"), weights) if weights else []
    if form == "llvm":
        escaped = (line.replace("\\", "\\5C").replace('"', "\\22") for line in lines)
        return binary.llvm + "".join(f'\nmodule asm "{line}"' for line in escaped) + "\n"
    from tfc.codegen.cpu.objects import llvm_assembly
    from tfc.codegen.cpu.targets import Target

    spec = binary.manifest.target
    text = llvm_assembly(binary.llvm, Target.parse(spec.triple, spec.cpu))
    return text + "".join(f"{line}\n" for line in lines)


def _included(symbol: str, file: str) -> list[str]:
    """Assembly that defines ``symbol`` by the bytes of ``file``."""
    quoted = file.replace("\\", "\\\\").replace('"', '\\"')
    return [
        ".section .rodata",
        f".p2align {ALIGNMENT.bit_length() - 1}",
        f".globl {symbol}",
        f".hidden {symbol}",
        f"{symbol}:",
        f'.incbin "{quoted}"',
        ".text",
    ]
