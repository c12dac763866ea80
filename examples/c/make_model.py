"""Write mlp.onnx: two dense layers and a softmax, for any number of rows."""

from __future__ import annotations

import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

FEATURES, HIDDEN, CLASSES = 784, 100, 10


def make():
    """The model; ``batch`` is the name of its unknown number of rows."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((FEATURES, HIDDEN)) / FEATURES**0.5,
        "b1": rng.standard_normal(HIDDEN),
        "w2": rng.standard_normal((HIDDEN, CLASSES)) / HIDDEN**0.5,
        "b2": rng.standard_normal(CLASSES),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    save(make(), sys.argv[1] if len(sys.argv) > 1 else "mlp.onnx")
