"""Workloads as ONNX models, with ONNX's own operators where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from form import Array, Form, Workload
from onnx import TensorProto, helper, numpy_helper

OPSET = 20


class Value:
    """A name in the graph, with arithmetic.

    Attributes:
        array: the contents of a constant.
    """

    def __init__(self, form: OnnxForm, name: str, array: Array | None = None) -> None:
        self.form, self.name, self.array = form, name, array

    def __add__(self, other: Any) -> Value:
        return self.form.node("Add", self, other)

    def __sub__(self, other: Any) -> Value:
        return self.form.node("Sub", self, other)

    def __mul__(self, other: Any) -> Value:
        return self.form.node("Mul", self, other)


class OnnxForm(Form):
    """Collects the nodes of a graph.

    Attributes:
        unroll: write an LSTM step by step, for compilers that lack the operator.
    """

    def __init__(self, unroll: bool = False) -> None:
        super().__init__()
        self.unroll = unroll
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def node(self, op: str, *inputs: Any, **attributes: Any) -> Value:
        """The first output of a new node; numbers and arrays become constants."""
        return self._nodes(op, inputs, 1, attributes)[0]

    def _nodes(
        self, op: str, inputs: Sequence[Any], outputs: int, attributes: dict[str, Any]
    ) -> list[Value]:
        name = f"{op.lower()}_{len(self.nodes)}"
        results = [f"{name}_{k}" for k in range(outputs)] if outputs > 1 else [name]
        given = [self.value(x).name for x in inputs]
        self.nodes.append(helper.make_node(op, given, results, name=name, **attributes))
        return [Value(self, r) for r in results]

    def value(self, x: Any) -> Value:
        if isinstance(x, Value):
            return x
        return self.keep(np.asarray(x, np.float32 if isinstance(x, float) else None))

    def keep(self, array: Array) -> Value:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return Value(self, name, array)

    def matmul(self, x: Value, y: Value) -> Value:
        return self.node("MatMul", x, y)

    def matmul_transposed(self, x: Value, y: Value) -> Value:
        return self.node("Gemm", x, y, transB=1)

    def relu(self, x: Value) -> Value:
        return self.node("Relu", x)

    def sigmoid(self, x: Value) -> Value:
        return self.node("Sigmoid", x)

    def tanh(self, x: Value) -> Value:
        return self.node("Tanh", x)

    def gelu(self, x: Value, approximate: bool = False) -> Value:
        return self.node("Gelu", x, approximate="tanh" if approximate else "none")

    def softmax(self, x: Value) -> Value:
        return self.node("Softmax", x, axis=-1)

    def layer_norm(self, x: Value, scale: Value, bias: Value, epsilon: float) -> Value:
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def mean_last(self, x: Value) -> Value:
        return self.node("ReduceMean", x, [-1], keepdims=0)

    def cross_entropy(self, logits: Value, labels: Value) -> Value:
        return self.node("SoftmaxCrossEntropyLoss", logits, labels, reduction="mean")

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return self.node("Reshape", x, list(shape))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        return self.node("Transpose", x, perm=perm)

    def concat(self, xs: Sequence[Value], axis: int) -> Value:
        return self.node("Concat", *xs, axis=axis)

    def split_last(self, x: Value, parts: int) -> Sequence[Value]:
        return self._nodes("Split", [x], parts, {"axis": -1, "num_outputs": parts})

    def take(self, x: Value, indices: Value) -> Value:
        return self.node("Gather", x, indices, axis=0)

    def element(self, x: Value, index: int) -> Value:
        return self.node("Gather", x, index, axis=0)

    def conv(self, x: Value, w: Value, stride: int, pad: int) -> Value:
        return self.node("Conv", x, w, strides=[stride] * 2, pads=[pad] * 4)

    def batch_norm(
        self, x: Value, scale: Value, bias: Value, mean: Value, variance: Value
    ) -> Value:
        return self.node("BatchNormalization", x, scale, bias, mean, variance, epsilon=1e-5)

    def max_pool(self, x: Value, window: int, stride: int, pad: int) -> Value:
        sizes = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("MaxPool", x, **sizes)

    def spatial_mean(self, x: Value) -> Value:
        return self.node("ReduceMean", x, [2, 3], keepdims=0)

    def lstm(self, x: Value, shape: tuple[int, int, int], hidden: int) -> Value:
        if self.unroll:
            return super().lstm(x, shape, hidden)
        weights = [self._lstm_weight(w) for w in self.lstm_weights(shape[2], hidden)]
        weights[2] = np.concatenate([weights[2], 0 * weights[2]])
        y = self.node("LSTM", x, *(w[None] for w in weights), hidden_size=hidden)
        return self.reshape(y, (shape[0], shape[1], hidden))

    def _lstm_weight(self, weight: Value) -> Array:
        """Transposed, its gates in ONNX's order: input, output, forget, cell."""
        i, f, c, o = np.split(self.constants.pop(weight.name), 4, -1)
        return np.concatenate([i, o, f, c], -1).T


def drawn_weights(workload: Workload) -> list[Array]:
    """The weights of the workload, in the order in which it asks for them."""
    form = OnnxForm()
    form.run(workload, {name: Value(form, name) for name in workload.inputs})
    return form.drawn


def model_of(workload: Workload, *, unroll: bool = False) -> onnx.ModelProto:
    """The workload as a model file; its outputs are ``y0``, ``y1``, ..."""
    form = OnnxForm(unroll)
    results = form.run(workload, {name: Value(form, name) for name in workload.inputs})
    names = [f"y{k}" for k in range(len(results))]
    last = [
        helper.make_node("Identity", [r.name], [n]) for r, n in zip(results, names, strict=True)
    ]
    graph = helper.make_graph(
        [*form.nodes, *last],
        workload.name,
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for k, a in workload.inputs.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names],
        [numpy_helper.from_array(a, k) for k, a in form.constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    outputs = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model
