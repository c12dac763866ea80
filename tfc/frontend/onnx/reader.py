"""Read an ONNX model: its protobuf without the weights, and the weights as views of the file.

    model = read_model("resnet50.onnx")
    model.proto.graph.node[0].op_type           "Conv"
    model.array(model.proto.graph.initializer[0])   a numpy view of the mapped file

No byte of a large initialiser is read here, whether it lies in the file or beside it
(*external data*). A file that is no model, or a damaged one, is a `ModelFileError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError

from tfc.dialects.tfc.types import Array
from tfc.errors import ModelFileError
from tfc.frontend.mapped import MappedFile, map_file
from tfc.frontend.onnx.wire import MalformedError, Payloads, split

ModelSource: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto | MappedFile | Model"

OLDEST_OPSET = 6
"""Of older operator sets, models are read whose operators have not changed until this one."""

DTYPES: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.UINT8: np.dtype("u1"),
    onnx.TensorProto.INT8: np.dtype("i1"),
    onnx.TensorProto.UINT16: np.dtype("<u2"),
    onnx.TensorProto.INT16: np.dtype("<i2"),
    onnx.TensorProto.INT32: np.dtype("<i4"),
    onnx.TensorProto.INT64: np.dtype("<i8"),
    onnx.TensorProto.BOOL: np.dtype("?"),
    onnx.TensorProto.FLOAT16: np.dtype("<f2"),
    onnx.TensorProto.DOUBLE: np.dtype("<f8"),
    onnx.TensorProto.UINT32: np.dtype("<u4"),
    onnx.TensorProto.UINT64: np.dtype("<u8"),
    onnx.TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}
"""The element types that tfc has, by their number in ONNX."""

_TYPED_FIELDS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float_data",
    onnx.TensorProto.DOUBLE: "double_data",
    onnx.TensorProto.INT64: "int64_data",
    onnx.TensorProto.UINT32: "uint64_data",
    onnx.TensorProto.UINT64: "uint64_data",
}
"""Where elements stand that are not in ``raw_data``; ``int32_data`` for all other types."""


class Model:
    """A model file: the graph, and where the elements of its tensors are."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        data: memoryview | None = None,
        payloads: Payloads | None = None,
        path: Path | None = None,
    ) -> None:
        self.proto, self.path = proto, path
        self._data, self._payloads = data, payloads or Payloads()
        self.beside: dict[str, memoryview] = {}
        """The files that external data was read from, by their paths within the model's folder."""

    @property
    def where(self) -> str:
        """The file's name, for errors."""
        return str(self.path) if self.path else "onnx model"

    @property
    def opsets(self) -> dict[str, int]:
        """The version of each operator domain; the default domain is "" (or "ai.onnx")."""
        return opsets(self.proto.opset_import)

    def array(self, tensor: onnx.TensorProto) -> Array:
        """The elements of ``tensor``, without a copy where they lie in one piece.

        Raises:
            ModelFileError: tfc lacks the type; bytes are missing; a path leaves the folder.
        """
        shape = self._shape(tensor)
        count = int(np.prod(shape, dtype=object))
        dtype = DTYPES.get(tensor.data_type)
        if dtype is None:
            raise self._error(
                tensor, f"has element type {_type_name(tensor.data_type)}, which tfc lacks"
            )
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            payload = self._external_bytes(tensor, count * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
            span = self._payloads.find(raw)
            assert span is None or self._data is not None, "a mark comes with the data it is about"
            payload = raw if span is None or self._data is None else self._data[span[0] : span[1]]
        else:
            return self._typed(tensor, dtype, count).reshape(shape)
        if len(payload) != count * dtype.itemsize:
            expected = f"{count * dtype.itemsize} bytes for {list(shape)} of {dtype.name}"
            raise self._error(tensor, f"is damaged: expected {expected}, got {len(payload)}")
        if dtype == np.bool_:  # a byte other than 0 and 1 is true, but not for numpy
            return (np.frombuffer(payload, np.uint8) != 0).reshape(shape)
        return np.frombuffer(payload, dtype).reshape(shape)

    def _shape(self, tensor: onnx.TensorProto) -> tuple[int, ...]:
        shape = tuple(tensor.dims)
        if any(d < 0 for d in shape) or len(shape) > 32:
            raise self._error(tensor, f"is damaged: its shape is {list(shape)[:32]}")
        if tensor.HasField("segment"):
            raise self._error(tensor, "is stored in segments, which tfc does not read")
        return shape

    def _typed(self, tensor: onnx.TensorProto, dtype: np.dtype[Any], count: int) -> Array:
        values = getattr(tensor, _TYPED_FIELDS.get(tensor.data_type, "int32_data"))
        if len(values) != count:
            raise self._error(tensor, f"is damaged: expected {count} elements, got {len(values)}")
        if tensor.data_type in _TYPED_FIELDS:
            return np.fromiter(values, dtype.newbyteorder("="), count)
        wide = np.fromiter(values, np.int32, count)
        if tensor.data_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16):
            return wide.astype(np.uint16).view(dtype)  # bit patterns, not numbers
        return wide.astype(dtype)

    def _external_bytes(self, tensor: onnx.TensorProto, size: int) -> memoryview:
        entries = {e.key: e.value for e in tensor.external_data}
        path = self._inside_folder(tensor, entries.get("location", ""))
        start = self._integer(tensor, entries, "offset", 0)
        length = self._integer(tensor, entries, "length", size)
        if length != size:
            raise self._error(tensor, f"expected {size} bytes of external data, got {length}")
        if size == 0:
            return memoryview(b"")
        name = os.path.relpath(path, self.path.resolve().parent) if self.path else ""
        if name not in self.beside:
            self.beside[name] = map_file(path)
        data = self.beside[name]
        if start + size > len(data):
            have = f"{path.name} has {len(data)} bytes"
            raise self._error(
                tensor, f"ends at byte {start + size} of its external data, but {have}"
            )
        return data[start : start + size]

    def _integer(
        self, tensor: onnx.TensorProto, entries: dict[str, str], key: str, default: int
    ) -> int:
        text = entries.get(key, str(default))
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise self._error(tensor, f"external data: expected an unsigned {key}, got {text!r}")
        return int(text)

    def _inside_folder(self, tensor: onnx.TensorProto, location: str) -> Path:
        if self.path is None:
            raise self._error(
                tensor,
                "has external data, but the model was not read from a file",
                "give the model's path, or load it with onnx.load(path)",
            )
        parts = re.split(r"[\\/]", location)
        if (
            not location
            or "\0" in location
            or parts[0] in ("", "~")
            or ":" in parts[0]
            or ".." in parts
        ):
            raise self._error(
                tensor, f"external data: {location!r} is no path inside the model's folder"
            )
        folder = self.path.resolve().parent
        path = (folder / location).resolve()
        if not path.is_relative_to(folder):
            raise self._error(
                tensor, f"external data: {location!r} leads out of the model's folder"
            )
        if not path.is_file():
            raise self._error(
                tensor, f"external data: there is no file {location!r} beside the model"
            )
        return path

    def _error(self, tensor: onnx.TensorProto, message: str, help: str = "") -> ModelFileError:
        return ModelFileError(f"tensor {tensor.name!r} {message}", where=self.where, help=help)


def read_model(source: ModelSource) -> Model:
    """Read a model from a path, the bytes of a file, or a protobuf already in memory.

    Raises:
        ModelFileError: unreadable, truncated, no ONNX model, or newer than the ``onnx`` package.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, onnx.ModelProto):
        model = Model(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        model = _parse(memoryview(source).cast("B"), None)
    else:
        file = source if isinstance(source, MappedFile) else MappedFile(Path(source))
        model = _parse(file.data, file.path)
        file.beside = model.beside
    _check(model)
    return model


def opsets(imports: Any) -> dict[str, int]:
    """The versions that ``opset_import`` of a model or function asks for, by domain."""
    return {"" if o.domain == "ai.onnx" else o.domain: int(o.version) for o in imports}


def _parse(data: memoryview, path: Path | None) -> Model:
    where = str(path) if path else "onnx model"
    try:
        text, payloads = split(data)
        return Model(onnx.ModelProto.FromString(text), data, payloads, path)
    except (MalformedError, DecodeError) as error:
        raise ModelFileError(
            "not an ONNX model, or a truncated or damaged one", where=where, help=str(error).lower()
        ) from error


def _check(model: Model) -> None:
    proto, where = model.proto, model.where
    if not all(isinstance(t, str) for t in _texts(proto)):  # what is no UTF-8 arrives as bytes
        raise ModelFileError(
            "not an ONNX model, or a damaged one: a name in it is no text", where=where
        )
    if not proto.HasField("graph") or not proto.graph.output:
        raise ModelFileError("not an ONNX model: it has no graph with outputs", where=where)
    newest = onnx.defs.onnx_opset_version()
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelFileError(
            f"expected an IR version up to {onnx.IR_VERSION}, got {proto.ir_version}",
            where=where,
            help="a newer onnx package may read it: pip install --upgrade onnx",
        )
    version = model.opsets.get("")
    if version is None and any(n.domain in ("", "ai.onnx") for n in proto.graph.node):
        raise ModelFileError("the model names no version of the standard operators", where=where)
    if version is not None and not OLDEST_OPSET <= version <= newest:
        if version < OLDEST_OPSET and all(_unchanged(n, version) for n in proto.graph.node):
            return
        help = "a newer onnx package may know it: pip install --upgrade onnx"
        if version < OLDEST_OPSET:
            help = "onnx.version_converter.convert_version brings an old model up to date"
        raise ModelFileError(
            f"expected an operator set from {OLDEST_OPSET} to {newest}, got {version}",
            where=where,
            help=help,
        )


def _texts(proto: onnx.ModelProto) -> Iterator[Any]:
    """The names in a model."""
    yield from (o.domain for o in proto.opset_import)
    yield from _texts_of_graph(proto.graph)
    for function in proto.functions:
        yield from (
            function.name,
            function.domain,
            *function.input,
            *function.output,
            *function.attribute,
        )
        yield from (o.domain for o in function.opset_import)
        yield from _texts_of_nodes(function.node)


def _texts_of_graph(graph: onnx.GraphProto) -> Iterator[Any]:
    yield graph.name
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (d.dim_param for d in info.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for e in tensor.external_data for text in (e.key, e.value))
    yield from _texts_of_nodes(graph.node)


def _texts_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[Any]:
    for node in nodes:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name, attribute.t.name)
            if attribute.HasField("g"):
                yield from _texts_of_graph(attribute.g)


def _unchanged(node: onnx.NodeProto, version: int) -> bool:
    """Whether an operator is the same in set ``version`` and in the oldest that tfc imports."""
    names = (node.op_type, node.domain)
    if not version > 0 or not onnx.defs.has(node.op_type, version, node.domain):
        return False
    then, now = (onnx.defs.get_schema(names[0], v, names[1]) for v in (version, OLDEST_OPSET))
    return then.since_version == now.since_version


def _type_name(number: int) -> str:
    names = onnx.TensorProto.DataType
    return names.Name(number) if number in names.values() else f"number {number}"
