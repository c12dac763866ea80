"""Reading ONNX files: every dtype, external data, memory, and files that are damaged."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tfc.errors import ModelFileError, TfcError
from tfc.frontend.onnx.importer import import_onnx
from tfc.frontend.onnx.reader import DTYPES, read_model
from tfc.frontend.onnx.wire import THRESHOLD, split

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def model_of(
    *tensors: onnx.TensorProto, nodes: list[onnx.NodeProto] | None = None
) -> onnx.ModelProto:
    """A model that gives its first initialiser."""
    name = tensors[0].name
    nodes = nodes or [helper.make_node("Identity", [name], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [], [helper.make_value_info("y", onnx.TypeProto())], tensors
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def values(dtype: np.dtype, count: int) -> np.ndarray:
    steps = np.arange(count) % 200
    return (steps % 2 == 0) if dtype == np.bool_ else steps.astype(dtype)


@pytest.mark.parametrize("number", DTYPES, ids=lambda n: onnx.TensorProto.DataType.Name(n))
@pytest.mark.parametrize("count", [0, 1, 6, THRESHOLD + 3], ids=lambda n: f"{n} elements")
def test_every_dtype_in_raw_data(tmp_path: Path, number: int, count: int) -> None:
    array = values(DTYPES[number], count)
    path = tmp_path / "m.onnx"
    tensor = helper.make_tensor("w", number, [count], array.tobytes(), raw=True)
    path.write_bytes(model_of(tensor).SerializeToString())
    for source in (path, path.read_bytes(), onnx.load(path)):
        model = read_model(source)
        found = model.array(model.proto.graph.initializer[0])
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("number", DTYPES, ids=lambda n: onnx.TensorProto.DataType.Name(n))
def test_every_dtype_in_typed_fields(number: int) -> None:
    array = values(DTYPES[number], 5)
    if (
        DTYPES[number].itemsize == 2
        and number != onnx.TensorProto.UINT16
        and number != onnx.TensorProto.INT16
    ):
        array = np.array([0.5, -1.0, 2.0, np.inf, 3.0]).astype(DTYPES[number])
    tensor = helper.make_tensor("w", number, [5], array.tolist())
    model = read_model(model_of(tensor))
    np.testing.assert_array_equal(model.array(model.proto.graph.initializer[0]), array)


def test_large_payloads_are_views_of_the_file(tmp_path: Path) -> None:
    """In initialisers and in Constant nodes; raw and packed floats alike; protobuf never sees them."""
    array = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    raw, packed = (
        numpy_helper.from_array(array, "w"),
        helper.make_tensor("p", 1, [64, 64], array.ravel()),
    )
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(array, "c"))
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of(raw, packed, nodes=[node]).SerializeToString())
    model = read_model(path)
    assert model.proto.ByteSize() < 400
    for tensor in (*model.proto.graph.initializer, model.proto.graph.node[0].attribute[0].t):
        found = model.array(tensor)
        np.testing.assert_array_equal(found, array)
        assert not found.flags.owndata
        assert not found.flags.writeable


def test_a_mark_cannot_be_forged() -> None:
    """Bytes that look like a mark of another reading are data."""
    array = np.random.default_rng(0).random(2048).astype(np.float32)
    data = model_of(numpy_helper.from_array(array, "w")).SerializeToString()
    text, _ = split(memoryview(data))
    model = read_model(text)
    with pytest.raises(ModelFileError, match="expected 8192 bytes"):
        model.array(model.proto.graph.initializer[0])


# External data


def external(tmp_path: Path, **entries: str) -> Path:
    array = np.arange(100, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(b"head" + array.tobytes())
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[100], data_location=1)
    given = {"location": "w.bin", "offset": "4", "length": "400"} | entries
    for key, value in given.items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of(tensor).SerializeToString())
    return path


def test_external_data(tmp_path: Path) -> None:
    model = read_model(external(tmp_path))
    found = model.array(model.proto.graph.initializer[0])
    np.testing.assert_array_equal(found, np.arange(100, dtype=np.float32))
    assert not found.flags.owndata


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/passwd"}, "no path inside the model's folder"),
        ({"location": "../w.bin"}, "no path inside the model's folder"),
        ({"location": "a\\..\\..\\w.bin"}, "no path inside the model's folder"),
        ({"location": "C:\\w.bin"}, "no path inside the model's folder"),
        ({"location": ""}, "no path inside the model's folder"),
        ({"location": "link.bin"}, "leads out of the model's folder"),
        ({"location": "missing.bin"}, "there is no file 'missing.bin' beside the model"),
        ({"location": "."}, "there is no file"),
        ({"offset": "8"}, "ends at byte 408 of its external data, but w.bin has 404 bytes"),
        ({"offset": "-4"}, "expected an unsigned offset, got '-4'"),
        ({"length": "399"}, "expected 400 bytes of external data, got 399"),
        ({"length": "many"}, "expected an unsigned length, got 'many'"),
    ],
)
def test_external_data_is_refused(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ModelFileError) as caught:
        import_onnx(external(folder, **entries))
    assert message in str(caught.value)
    assert "'w'" in str(caught.value)


def test_external_data_needs_a_path(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="was not read from a file"):
        import_onnx(external(tmp_path).read_bytes())


# Files that are no models


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="is a directory"):
        read_model(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelFileError, match="empty"):
        read_model(tmp_path / "empty.onnx")


@pytest.mark.parametrize(
    "data", [b"\x7fELF\x02\x01\x01" * 40, b"# a text\n" * 30, bytes(64), b"{}", b"\x08\x07"]
)
def test_other_files(data: bytes) -> None:
    with pytest.raises(ModelFileError, match="not an ONNX model"):
        read_model(data)


def test_versions() -> None:
    model = model_of(numpy_helper.from_array(np.zeros(1), "w"))
    model.ir_version = 1000
    with pytest.raises(ModelFileError, match="IR version"):
        read_model(model)
    model.ir_version = 10
    model.opset_import[0].version = 1000
    with pytest.raises(ModelFileError, match=r"operator set from 6 to \d+, got 1000"):
        read_model(model)
    model.opset_import[0].version = 0
    with pytest.raises(ModelFileError, match="operator set"):
        read_model(model)
    del model.opset_import[:]
    with pytest.raises(ModelFileError, match="names no version"):
        read_model(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": [3]}, "expected 12 bytes for \\[3\\] of float32, got 8"),
        ({"dims": [-2]}, "its shape is \\[-2\\]"),
        ({"data_type": onnx.TensorProto.STRING}, "element type STRING, which tfc lacks"),
        ({"data_type": onnx.TensorProto.FLOAT8E5M2}, "element type FLOAT8E5M2, which tfc lacks"),
        ({"data_type": 0}, "element type UNDEFINED"),
    ],
)
def test_damaged_tensors(change: dict[str, object], message: str) -> None:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    for field, value in change.items():
        if field == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, field, value)
    model = read_model(model_of(tensor))
    with pytest.raises(ModelFileError, match=message):
        model.array(model.proto.graph.initializer[0])


SMALL = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _network() -> bytes:
    """A few nodes of each kind of attribute, a payload above the threshold and one below."""
    weights = np.random.default_rng(1).random((8, 3, 7, 7)).astype(np.float32)
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[3, 3, 3, 3], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "v", "v", "v", "v"], ["b"], epsilon=1e-3),
        helper.make_node("MaxPool", ["b"], ["m"], kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([0, -1]))),
        helper.make_node("Reshape", ["m", "s"], ["r"]),
        helper.make_node("Softmax", ["r"], ["y"], axis=1),
    ]
    initializers = [
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(np.ones(8, np.float32), "v"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", 1, ["batch", 3, 16, 16])],
        [info("y", 1, ["batch", None])],
        initializers,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


NETWORK = _network()


def test_the_network_is_imported() -> None:
    import_onnx(NETWORK).verify()


def _survives(data: bytes) -> None:
    """Importing succeeds or says what is wrong; nothing else."""
    with contextlib.suppress(ModelFileError):
        import_onnx(data)


@SMALL
@given(st.integers(0, len(NETWORK) - 1))
def test_truncation(length: int) -> None:
    _survives(NETWORK[:length])


@SMALL
@given(
    st.lists(
        st.tuples(st.integers(0, len(NETWORK) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_flipped_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(NETWORK)
    for position, value in changes:
        data[position] = value
    _survives(bytes(data))


@SMALL
@given(st.integers(0, len(NETWORK)), st.binary(max_size=20), st.integers(0, 40))
def test_inserted_and_removed_bytes(position: int, inserted: bytes, removed: int) -> None:
    _survives(NETWORK[:position] + inserted + NETWORK[position + removed :])


@SMALL
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    _survives(data)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(st.data())
def test_flipped_bytes_outside_of_weights(data: st.DataObject) -> None:
    """More examples, where the structure is: the weights fill most of the file."""
    text, payloads = split(memoryview(NETWORK))
    start, stop = payloads.spans[0]
    places = st.integers(0, len(NETWORK) - 1).filter(lambda p: not start <= p < stop)
    changed = bytearray(NETWORK)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(places)] ^= 1 << data.draw(st.integers(0, 7))
    _survives(bytes(changed))
    assert len(text) < len(NETWORK)


def test_reading_does_not_load_the_weights(tmp_path: Path) -> None:
    """100 MB of weights: importing reads them for their digests, and copies none."""
    array = np.random.default_rng(0).random((5000, 5000), np.float32)
    path = tmp_path / "large.onnx"
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "g",
        [info("x", 1, ["n", 5000])],
        [info("y", 1, ["n", 5000])],
        [numpy_helper.from_array(array, "w")],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    program = """
import sys
from tfc.frontend.onnx.importer import import_onnx
def status(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
module = import_onnx(sys.argv[1])
print(status("RssAnon"))
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert int(run.stdout) < 120_000, "kB of memory that is not the mapped file"


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["tfc.compile(sys.argv[1])", "tfc.compile(sys.argv[1]).save(sys.argv[1] + '.so')"]
)
def test_peak_memory_of_compiling(tmp_path: Path, how: str) -> None:
    """400 MB of weights, each packed once: at most 1.3 times the weights and 300 MB in all."""
    weights = [np.random.default_rng(i).random((5000, 5000), np.float32) for i in range(4)]
    nodes = [helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"]) for i in range(4)]
    info = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(
        nodes, "g", [info("h0", 1, ["n", 5000])], [info("h4", 1, ["n", 5000])], tensors
    )
    path = tmp_path / "large.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    peak = "next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM'))"
    program = f"import sys, tfc; {how}; print({peak})"
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout.split()[-1]) * 1024 < 1.3 * 400e6 + 300e6


def test_errors_are_of_the_documented_kind() -> None:
    assert issubclass(ModelFileError, TfcError)
    assert ml_dtypes.bfloat16 in {d.type for d in DTYPES.values()}
