"""The models that are measured, made from seeded numpy arrays: no downloads.

Each is an ONNX model with its inputs, and, where it is short, the same computation in the array
API that numpy, torch and jax share, so that they can run it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
OPSET = 17


@dataclass(frozen=True)
class Workload:
    """A model to run.

    Attributes:
        flops: floating-point operations of a run; a multiply-add counts as 2.
        moved: bytes that a run has to read and write at least once.
        arrays: the computation on arrays of any library with numpy's names; it takes the library
            and the constants and inputs in it. None where only model files are run.
    """

    name: str
    model: onnx.ModelProto = field(repr=False)
    inputs: dict[str, Array] = field(repr=False)
    flops: float
    moved: float
    constants: dict[str, Array] = field(default_factory=dict, repr=False)
    arrays: Callable[..., Any] | None = field(default=None, repr=False)


class Builder:
    """Collects the nodes of an ONNX graph."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array: Array, name: str = "") -> str:
        name = name or f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale))

    def model(self, inputs: dict[str, Array], output: str, shape: Sequence[int]) -> onnx.ModelProto:
        """The graph so far, with the value ``output`` as its output ``y``."""

        def info(name: str, dtype: Any, shape: Sequence[int]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", [output], ["y"])],
            "benchmark",
            [info(k, a.dtype, a.shape) for k, a in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))],
            [numpy_helper.from_array(a, k) for k, a in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def matmul(n: int) -> Workload:
    """``x[n, n] . w[n, n]`` with constant ``w``."""
    b = Builder(n)
    w = b.normal(n, n)
    x = {"x": b.random.standard_normal((n, n), dtype=np.float32)}
    y = b.node("MatMul", "x", w)
    model = b.model(x, y, (n, n))
    return Workload(
        f"matmul {n}", model, x, 2.0 * n**3, 12.0 * n * n, {"w": b.constants[w]}, lambda xp, w, x: xp.matmul(x, w)
    )


def chain(rows: int, columns: int) -> Workload:
    """Ten simple operations on each element: what costs is how often memory is walked."""
    b = Builder(3)
    shape = (rows, columns)
    x = {"x": b.random.standard_normal(shape, dtype=np.float32)}
    a, c = b.normal(columns), b.normal(columns)
    v = b.node("Add", b.node("Mul", "x", a), c)
    v = b.node("Relu", v)
    v = b.node("Mul", b.node("Add", v, "x"), v)
    v = b.node("Sub", v, a)
    v = b.node("Abs", v)
    v = b.node("Sqrt", v)
    v = b.node("Add", b.node("Mul", v, "x"), c)

    def arrays(xp: Any, a: Any, c: Any, x: Any) -> Any:
        v = x * a + c
        v = xp.maximum(v, 0 * v)
        v = (v + x) * v
        return xp.sqrt(xp.abs(v - a)) * x + c

    constants = {"a": b.constants[a], "c": b.constants[c]}
    size = rows * columns
    return Workload(f"chain {rows}x{columns}", b.model(x, v, shape), x, 10.0 * size, 8.0 * size, constants, arrays)


def activations(rows: int, columns: int) -> Workload:
    """``tanh(x) * sigmoid(x) + exp(-x*x)``: transcendentals on each element."""
    b = Builder(4)
    shape = (rows, columns)
    x = {"x": b.random.standard_normal(shape, dtype=np.float32)}
    v = b.node("Mul", b.node("Tanh", "x"), b.node("Sigmoid", "x"))
    v = b.node("Add", v, b.node("Exp", b.node("Neg", b.node("Mul", "x", "x"))))
    size = rows * columns

    def arrays(xp: Any, x: Any) -> Any:
        return xp.tanh(x) / (1 + xp.exp(-x)) + xp.exp(-x * x)

    return Workload(f"activations {rows}x{columns}", b.model(x, v, shape), x, 64.0 * size, 8.0 * size, {}, arrays)


def softmax(rows: int, columns: int) -> Workload:
    """Softmax of each row."""
    b = Builder(5)
    shape = (rows, columns)
    x = {"x": b.random.standard_normal(shape, dtype=np.float32)}
    v = b.node("Softmax", "x", axis=-1)
    size = rows * columns

    def arrays(xp: Any, x: Any) -> Any:
        e = xp.exp(x - xp.amax(x, 1)[:, None])
        return e / e.sum(1)[:, None]

    return Workload(f"softmax {rows}x{columns}", b.model(x, v, shape), x, 25.0 * size, 8.0 * size, {}, arrays)


def layer_norm(rows: int, columns: int) -> Workload:
    """Layer normalisation of each row."""
    b = Builder(6)
    shape = (rows, columns)
    x = {"x": b.random.standard_normal(shape, dtype=np.float32)}
    v = b.node("LayerNormalization", "x", g := b.normal(columns), c := b.normal(columns), axis=-1)
    size = rows * columns

    def arrays(xp: Any, g: Any, c: Any, x: Any) -> Any:
        d = x - x.mean(1)[:, None]
        return d / xp.sqrt((d * d).mean(1)[:, None] + 1e-5) * g + c

    constants = {"g": b.constants[g], "c": b.constants[c]}
    return Workload(f"layer norm {rows}x{columns}", b.model(x, v, shape), x, 8.0 * size, 8.0 * size, constants, arrays)


def mlp(batch: int) -> Workload:
    """784-100-100-10 with ReLU and softmax."""
    b = Builder(2)
    x = {"x": b.random.standard_normal((batch, 784), dtype=np.float32)}
    v, names, flops = "x", [], 0
    for k, (i, o) in enumerate([(784, 100), (100, 100), (100, 10)]):
        names += [w := b.normal(i, o, scale=(2 / i) ** 0.5), c := b.normal(o, scale=0.1)]
        v = b.node("Add", b.node("MatMul", v, w), c)
        v = b.node("Relu", v) if k < 2 else b.node("Softmax", v, axis=-1)
        flops += 2 * batch * i * o

    def arrays(xp: Any, x: Any, **p: Any) -> Any:
        for k in range(0, len(names), 2):
            x = xp.matmul(x, p[names[k]]) + p[names[k + 1]]
            if k < 4:
                x = xp.maximum(x, 0 * x)
        e = xp.exp(x - xp.amax(x, 1)[:, None])
        return e / e.sum(1)[:, None]

    constants = {n: b.constants[n] for n in names}
    moved = sum(a.nbytes for a in constants.values()) + x["x"].nbytes
    return Workload(f"mlp batch {batch}", b.model(x, v, (batch, 10)), x, flops, moved, constants, arrays)


def resnet50() -> Workload:
    """The ResNet-50 that ships with the onnx package, its constant weights made random."""
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    model = onnx.load(path)
    graph, random = model.graph, np.random.default_rng(7)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    kept = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    made = [n for n in graph.node if n.op_type == "ConstantOfShape"]
    normalised = {name for n in kept if n.op_type == "BatchNormalization" for name in n.input[1:]}
    variances = {n.input[4] for n in kept if n.op_type == "BatchNormalization"}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    used = {name for n in kept for name in n.input}
    for name in used & set(shapes):
        graph.initializer.append(numpy_helper.from_array(shapes[name], name))
    for node in made:
        shape = tuple(int(d) for d in shapes[node.input[0]])
        name = node.output[0]
        if name in normalised:
            values = random.uniform(0.5, 1.0, shape) if name in variances else random.normal(0.5, 0.1, shape)
        else:
            values = random.normal(0, (2 / max(1, int(np.prod(shape[1:])))) ** 0.5, shape)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    (data,) = [i for i in graph.input if i.name in used and i.name not in shapes]
    del graph.input[:]
    graph.input.append(data)
    shape = [d.dim_value for d in data.type.tensor_type.shape.dim]
    x = {data.name: random.standard_normal(shape, dtype=np.float32)}
    return Workload("resnet-50", model, x, 8.18e9, 103e6)


def bert(layers: int = 12, width: int = 768, heads: int = 12, length: int = 128) -> Workload:
    """BERT-base's encoder on embeddings: post-norm layers, no mask."""
    b = Builder(8)
    x = {"x": b.random.standard_normal((1, length, width), dtype=np.float32)}
    split = b.constant(np.array([1, length, heads, width // heads]))
    join = b.constant(np.array([1, length, width]))
    scale = b.constant(np.array((width // heads) ** -0.5, np.float32))
    half, one, root = (b.constant(np.array(c, np.float32)) for c in (0.5, 1.0, 2.0**-0.5))

    def dense(v: str, i: int, o: int) -> str:
        return b.node("Add", b.node("MatMul", v, b.normal(i, o, scale=0.02)), b.normal(o, scale=0.02))

    def norm(v: str) -> str:
        g, c = b.constant(np.ones(width, np.float32)), b.normal(width, scale=0.02)
        return b.node("LayerNormalization", v, g, c, axis=-1)

    v = "x"
    for _ in range(layers):
        q, k, value = (b.node("Reshape", dense(v, width, width), split) for _ in range(3))
        q, value = (b.node("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, value))
        k = b.node("Transpose", k, perm=[0, 2, 3, 1])
        scores = b.node("Softmax", b.node("Mul", b.node("MatMul", q, k), scale), axis=-1)
        mixed = b.node("Transpose", b.node("MatMul", scores, value), perm=[0, 2, 1, 3])
        v = norm(b.node("Add", v, dense(b.node("Reshape", mixed, join), width, width)))
        h = dense(v, width, 4 * width)
        erf = b.node("Add", b.node("Erf", b.node("Mul", h, root)), one)
        v = norm(b.node("Add", v, dense(b.node("Mul", b.node("Mul", h, erf), half), 4 * width, width)))
    weights = sum(a.nbytes for a in b.constants.values())
    flops = layers * (2 * length * width * width * 12 + 4 * length * length * width)
    return Workload("bert-base", b.model(x, v, (1, length, width)), x, flops, weights)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    **{f"matmul{n}": lambda n=n: matmul(n) for n in (256, 512, 1024, 2048)},
    "mlp": lambda: mlp(256),
    "chain": lambda: chain(2048, 2048),
    "activations": lambda: activations(2048, 2048),
    "softmax": lambda: softmax(4096, 1024),
    "layernorm": lambda: layer_norm(4096, 768),
    "resnet50": resnet50,
    "bert": bert,
}
"""Every workload by the name that the command takes."""
