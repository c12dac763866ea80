"""ONNX's own backend suite, by the interpreter and as native code."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_suite
import pytest
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

from tfc.errors import ModelFileError
from tfc.frontend.onnx.backend import CompiledBackend, InterpretedBackend

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

_HOME = Path(tempfile.gettempdir()) / "tfc-onnx-suite"

FAST_MODELS = frozenset({"test_squeezenet", "test_resnet50"})
"""The others of the nine stored models are slow tests."""


def _classes(backend: type, prefix: str, nodes: frozenset[str]) -> dict[str, type]:
    """The suite's classes under other names; node tests other than ``nodes`` are slow ones."""
    classes = onnx_suite.suite(backend, __name__, _HOME)
    onnx_suite.slow(classes["OnnxBackendRealModelTest"], FAST_MODELS)
    onnx_suite.slow(classes["OnnxBackendNodeModelTest"], nodes)
    return {name.replace("OnnxBackend", prefix): made for name, made in classes.items()}


_ALL = frozenset(c.name for c in onnx_suite.cases("node"))
globals().update(_classes(InterpretedBackend, "TestInterpreted", _ALL))
globals().update(_classes(CompiledBackend, "TestCompiled", onnx_suite.of_stage_1("node")))


@pytest.mark.parametrize("group", onnx_suite.GROUPS)
def test_what_is_excluded_is_refused(group: str) -> None:
    """A test may be left out only as long as tfc refuses its model, with a `ModelFileError`."""
    left_out = set(onnx_suite.excluded(group))
    accepted: list[str] = []
    for case in onnx_suite.cases(group):
        if case.name not in left_out:
            continue
        try:
            prepared = InterpretedBackend.prepare(onnx_suite.model(group, case.name))
            for inputs, _ in case.data_sets or ():  # what depends on values is refused here
                prepared.run(inputs)
        except ModelFileError:
            continue
        accepted.append(case.name)
    assert not accepted, "these are imported by now: take them out of the tables"


@pytest.mark.parametrize("name", onnx_suite.different("node"))
def test_what_differs_still_differs(name: str) -> None:
    (case,) = (c for c in onnx_suite.cases("node") if c.name == name)
    prepared = InterpretedBackend.prepare(case.model)
    for inputs, expected in case.data_sets:
        with pytest.raises(AssertionError):
            Runner.assert_similar_outputs(expected, prepared.run(inputs), case.rtol, case.atol)


def test_only_few_are_excluded() -> None:
    """The share of each group that runs; 1467 of 1884 node tests when this was written."""
    shares = {
        g: 1 - len(onnx_suite.excluded(g)) / len(onnx_suite.cases(g)) for g in onnx_suite.GROUPS
    }
    assert shares["pytorch-converted"] == 1
    assert shares["pytorch-operator"] == 1
    assert shares["simple"] > 0.6
    assert shares["node"] > 0.75


def _relu() -> onnx.ModelProto:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [info("x", 1, ["n"])],
        [info("y", 1, ["n"])],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])


@pytest.mark.parametrize("backend", [InterpretedBackend, CompiledBackend])
def test_adapter(backend: Any) -> None:
    """The three ways to run, results by position and by name."""
    x = np.array([-1.0, 2.0], np.float32)
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    (y,) = backend.run_model(_relu(), [x])
    np.testing.assert_array_equal(y, [0.0, 2.0])
    np.testing.assert_array_equal(backend.prepare(_relu()).run({"x": x})["y"], y)
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    np.testing.assert_array_equal(backend.run_node(node, [x, x])[0], x + x)


def test_shapes_that_are_inputs() -> None:
    """A Reshape by a fed shape is built for each value of it."""
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Reshape", ["x", "s"], ["y"])], "g",
        [info("x", 1, [6]), info("s", 7, [2])], [info("y", 1, [None, None])],
    )  # fmt: skip
    prepared = InterpretedBackend.prepare(onnx.helper.make_model(graph))
    x = np.arange(6, dtype=np.float32)
    for shape in ([2, 3], [3, 2], [-1, 6]):
        (y,) = prepared.run([x, np.array(shape, np.int64)])
        np.testing.assert_array_equal(y, x.reshape(shape))


def test_stored_outputs_are_read() -> None:
    """The nine models agree with the outputs stored beside them (not with a run of onnx)."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    stored = sorted(folder.glob("*_output_0.pb"))
    assert len(stored) == 9
    for path in stored:
        array = numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
        assert array.size == 1000
