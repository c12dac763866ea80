"""Tensors in a ``.safetensors`` file, by the package of that name: ``pip install tfc[safetensors]``.

    write_flat("model.safetensors", {"w": w})
    read_flat("model.safetensors")["w"]

Source: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfc.checkpoint.bundle import replace_bytes
from tfc.errors import CheckpointError

Array = NDArray[Any]
SUFFIX = ".safetensors"

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64",
}  # fmt: skip


def write_flat(path: str, tensors: Mapping[str, Array]) -> None:
    """Write arrays by name, in one step: an old file stays whole until the new one is.

    Raises:
        CheckpointError: a dtype that such files do not have, or the file cannot be written.
    """
    for name, array in tensors.items():
        if array.dtype.name not in _DTYPES.values():
            raise CheckpointError(f"'{name}' is {array.dtype}, which safetensors files do not have", where=path)
    data = _package("safetensors.numpy").save({n: np.asarray(a, order="C") for n, a in tensors.items()})
    try:
        replace_bytes(path, data)
    except OSError as error:
        raise CheckpointError(f"the checkpoint cannot be written: {error.strerror}", where=path) from None


def read_flat(path: str) -> dict[str, Array]:
    """All arrays of a file, by name.

    Raises:
        CheckpointError: there is none, it is damaged, or it has a dtype that tfc does not know.
    """
    package = _package("safetensors")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CheckpointError(f"there is no checkpoint here: {error.strerror}", where=path) from None
    try:
        found = package.deserialize(data)
    except package.SafetensorError as error:
        raise CheckpointError(f"the file is damaged: {error}", where=path) from None
    return {name: _array(name, said, path) for name, said in sorted(found, key=lambda item: item[0])}


def _array(name: str, said: Mapping[str, Any], path: str) -> Array:
    if (kind := _DTYPES.get(said["dtype"])) is None:
        raise CheckpointError(f"'{name}' is {said['dtype']}, which tfc does not know", where=path)
    if kind == "bfloat16":
        import ml_dtypes

        dtype = np.dtype(ml_dtypes.bfloat16)
    else:
        dtype = np.dtype(kind)
    return np.frombuffer(said["data"], dtype).reshape(said["shape"]).copy()


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise CheckpointError("safetensors files need a package", help="pip install safetensors") from None


class FlatFile:
    """A file that is read, with the interface of `tfc.checkpoint.bundle.Bundle`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.prefix = os.fspath(path)
        self._tensors = read_flat(self.prefix)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.read(name).shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self.read(name).dtype

    def read(self, name: str) -> Array:
        from tfc.checkpoint.bundle import unknown_name

        if name not in self._tensors:
            raise unknown_name(name, self._tensors, self.prefix)
        return self._tensors[name]
