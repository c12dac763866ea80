"""Small ONNX models made in place, for the tests of the importer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from tfc.frontend.onnx.importer import import_onnx
from tfc.runtime.interpreter import interpret

FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

node = helper.make_node


def info(name: str, *dims: int | str | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
    functions: Sequence[onnx.FunctionProto] = (),
    **weights: Any,
) -> onnx.ModelProto:
    """A model; ``weights`` are its initialisers."""
    arrays = [numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items()]
    results = [helper.make_value_info(o, onnx.TypeProto()) for o in outputs]
    graph = helper.make_graph(nodes, "graph", inputs, results, arrays)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


def main(module: ModuleOp) -> FuncOp:
    module.verify()
    (function,) = module.ops
    assert isinstance(function, FuncOp)
    return function


def run(proto: onnx.ModelProto, **feeds: Any) -> list[np.ndarray]:
    return interpret(import_onnx(proto), {n: np.asarray(a) for n, a in feeds.items()})
