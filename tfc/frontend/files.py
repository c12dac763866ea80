"""Which frontend reads a model file: told by its contents, not by its name.

    read_file("resnet50.onnx", options)     an ONNX model, whatever the file is called
    read_file("model.mlir", options)        a module in tfc, as `--emit=tfc` and --dump-ir write it

Files that other systems write are named, with the way to get from them to one that tfc reads.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tfc.errors import ModelFileError
from tfc.frontend.mapped import MappedFile

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from tfc.options import Options

_HEAD = 4096
_MODULE = re.compile(
    rb"^\s*(//|builtin\.module|module\b|func\.func|\"builtin\.module\"|#)", re.MULTILINE
)
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF", "an HDF5 file, as Keras writes it", "export it: tf2onnx or keras2onnx"),
    (
        0,
        b"PK\x03\x04",
        "a zip archive, as PyTorch and Keras write it",
        "export it: torch.onnx.export",
    ),
    (0, b"\x80\x02", "a Python pickle", "export the model: torch.onnx.export"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it: tf2onnx --tflite"),
    (0, b"\x7fELF", "machine code: an object or library", "a compiled model is loaded by tfc.load"),
    (0, b"ML\xefR", "MLIR bytecode", "print it as text: mlir-opt"),
)
"""Offset, bytes there, what such a file is, what to do with it."""


def read_file(path: str | os.PathLike[str], options: Options) -> ModuleOp:
    """The module of the model in the file at ``path``.

    Raises:
        ModelFileError: it cannot be read, is damaged, or is of a kind that tfc does not read.
    """
    if (file := open_file(path)) is None:
        return _read_text(os.fspath(path))
    from tfc.frontend.onnx.importer import import_onnx

    return import_onnx(file, shapes=options.shapes, name=options.name)


def open_file(path: str | os.PathLike[str]) -> MappedFile | None:
    """The file at ``path`` as bytes, or None where it is text; raises as `read_file`."""
    name = os.fspath(path)
    head = _head(name)
    for offset, magic, what, advice in _FOREIGN:
        if head[offset : offset + len(magic)] == magic:
            raise ModelFileError(
                f"this is {what}, not a model that tfc reads", where=name, help=advice
            )
    return None if _is_text(head) else MappedFile(Path(name))


def _head(name: str) -> bytes:
    if Path(name).is_dir():
        raise ModelFileError(
            "this is a folder, not a model file",
            where=name,
            help="a SavedModel is converted to ONNX by tf2onnx" if _is_saved_model(name) else "",
        )
    try:
        with open(name, "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ModelFileError((error.strerror or str(error)).lower(), where=name) from error
    if not head:
        raise ModelFileError("the file is empty", where=name)
    return head


def _is_saved_model(name: str) -> bool:
    return any((Path(name) / f"saved_model.{suffix}").exists() for suffix in ("pb", "pbtxt"))


def _is_text(head: bytes) -> bool:
    """Whether a file that begins so is text: the protobuf of a model has control characters."""
    try:
        text = head[: len(head) - 4].decode("utf-8") if len(head) == _HEAD else head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c >= " " or c in "\t\r\n\f" for c in text)


def _read_text(name: str) -> ModuleOp:
    head = _head(name)
    if not _MODULE.search(head):
        kind = "a TensorFlow GraphDef as text" if re.match(rb"\s*node\s*\{", head) else "text"
        raise ModelFileError(f"expected an ONNX model or a module of tfc, got {kind}", where=name)
    from tfc.dialects import context
    from tfc.modulefile import read_module

    return read_module(Path(name).read_text(encoding="utf-8"), name, context())
