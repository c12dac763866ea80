"""Imported operators: shapes that are computed, what changed between versions, whole networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import helper
from onnx_models import FLOAT, INT, info, main, model, node, run

import tfc
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.types import shape_of
from tfc.errors import ModelFileError
from tfc.frontend.onnx.importer import import_onnx
from tfc.runtime.interpreter import interpret

# Shapes that are computed


def _heads() -> onnx.ModelProto:
    """What exporters write to split attention heads: x [b, s, 12] -> [b, 3, s, 4]."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["b"]), node("Gather", ["shape", "one"], ["s"]),
        node("Unsqueeze", ["b", "axes"], ["b1"]), node("Unsqueeze", ["s", "axes"], ["s1"]),
        node("Concat", ["b1", "s1", "heads", "width"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["r"]),
        node("Transpose", ["r"], ["y"], perm=[0, 2, 1, 3]),
    ]  # fmt: skip
    constants = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "axes": np.int64([0]),
        "heads": np.int64([3]),
        "width": np.int64([-1]),
    }
    return model(nodes, [info("x", "b", "s", 12)], **constants)


def test_shape_computations_leave_no_dynamic_operation() -> None:
    function = main(import_onnx(_heads()))
    assert not any(isinstance(op, DynamicOp) for op in function.body.block.ops)
    assert [str(d) for d in shape_of(function.body.block.last_op.operands[0])] == [
        "b",
        "3",
        "s",
        "4",
    ]
    for b, s in ((1, 1), (2, 5)):
        x = np.random.default_rng(0).random((b, s, 12)).astype(np.float32)
        np.testing.assert_array_equal(
            run(_heads(), x=x)[0], x.reshape(b, s, 3, 4).transpose(0, 2, 1, 3)
        )


def test_causal_mask_of_a_named_length() -> None:
    """Range, Less and Where over an extent that is only known when the program runs."""
    nodes = [
        node("Shape", ["x"], ["shape"], start=1, end=2), node("Squeeze", ["shape"], ["n"]),
        node("Range", ["zero", "n", "one"], ["i"]), node("Unsqueeze", ["i", "last"], ["rows"]),
        node("Less", ["rows", "i"], ["later"]), node("Where", ["later", "off", "x"], ["y"]),
    ]  # fmt: skip
    constants = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "last": np.int64([1]),
        "off": np.float32(-1),
    }
    proto = model(nodes, [info("x", "n", "n")], **constants)
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    np.testing.assert_array_equal(
        run(proto, x=x)[0], np.where(np.triu(np.ones((3, 3)), 1) > 0, -1, x)
    )


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_triangle_whose_diagonal_is_computed(upper: int, shift: int) -> None:
    """The mask of a decoder with a cache: k follows from an extent that is only known when the program runs."""
    nodes = [
        node("Shape", ["x"], ["n"], start=1, end=2), node("Add", ["n", "shift"], ["k"]),
        node("Trilu", ["x", "k"], ["y"], upper=upper),
    ]  # fmt: skip
    proto = model(nodes, [info("x", "b", "n", "m")], shift=np.int64([shift]))
    x = np.arange(1, 41, dtype=np.float32).reshape(2, 4, 5)
    expected = (np.triu if upper else np.tril)(x, 4 + shift)
    np.testing.assert_array_equal(run(proto, x=x)[0], expected)
    np.testing.assert_array_equal(tfc.compile(proto)(x), expected)


SLICES = [
    slice(1, None), slice(None, -1), slice(-2, None), slice(None, 3), slice(2, 100), slice(-100, 2), slice(5, 2),
    slice(None, None, 2), slice(1, -1, 3), slice(None, None, -1), slice(-1, 0, -2), slice(3, None, -1),
]  # fmt: skip


@pytest.mark.parametrize("cut", SLICES, ids=str)
@pytest.mark.parametrize("size", ["n", 6])
def test_slices(cut: slice, size: int | str) -> None:
    """Every form, on a known extent and on a named one of several sizes."""
    limits = np.iinfo(np.int64)
    step = 1 if cut.step is None else cut.step
    start = (0 if step > 0 else limits.max) if cut.start is None else cut.start
    stop = (limits.max if step > 0 else limits.min) if cut.stop is None else cut.stop
    constants = {n: np.int64([v]) for n, v in (("a", start), ("b", stop), ("c", 1), ("d", step))}
    proto = model(
        [node("Slice", ["x", "a", "b", "c", "d"], ["y"])], [info("x", 2, size)], **constants
    )
    for n in (1, 2, 3, 6, 7) if size == "n" else (6,):
        x = np.arange(2 * n, dtype=np.float32).reshape(2, n)
        try:
            (y,) = run(proto, x=x)
        except ModelFileError:
            assert size == "n", "a known extent is always sliced"
            return
        np.testing.assert_array_equal(y, x[:, cut])


def test_slice_by_a_computed_length() -> None:
    """x[:, :n] of a table longer than any sequence: what positional embeddings do."""
    nodes = [
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Slice", ["table", "zero", "n"], ["part"]),
        node("Add", ["x", "part"], ["y"]),
    ]
    table = np.arange(16, dtype=np.float32)
    proto = model(nodes, [info("x", "n")], table=table, zero=np.int64([0]))
    x = np.ones(5, np.float32)
    np.testing.assert_array_equal(run(proto, x=x)[0], x + table[:5])


def test_expand_to_computed_extents() -> None:
    """PyTorch's ``expand`` compares each extent with -1 first; none of it is left."""
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Concat", ["shape", "four"], ["target"], axis=0),
        node("Shape", ["target"], ["rank"]), node("ConstantOfShape", ["rank"], ["ones"], value=helper.make_tensor("v", INT, [1], [1])),
        node("Mul", ["ones", "minus"], ["none"]), node("Equal", ["target", "none"], ["given"]),
        node("Where", ["given", "ones", "target"], ["extents"]),
        node("Unsqueeze", ["x", "two"], ["wide"]), node("Expand", ["wide", "extents"], ["y"]),
    ]  # fmt: skip
    proto = model(
        nodes, [info("x", "n", "m")], four=np.int64([4]), minus=np.int64(-1), two=np.int64([2])
    )
    assert not any(isinstance(op, DynamicOp) for op in main(import_onnx(proto)).body.block.ops)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run(proto, x=x)[0], np.broadcast_to(x[:, :, None], (2, 3, 4)))


def test_resize_to_the_extents_of_another_tensor() -> None:
    """Only the axes that change need known extents."""
    nodes = [
        node("Shape", ["x"], ["outer"], start=0, end=2), node("Shape", ["z"], ["inner"], start=2),
        node("Concat", ["outer", "inner"], ["sizes"], axis=0), node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest"),
    ]  # fmt: skip
    proto = model(nodes, [info("x", "batch", 1, 2, 2), info("z", "batch", 1, 4, 6)])
    x = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    (y,) = run(proto, x=x, z=np.zeros((2, 1, 4, 6), np.float32))
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(3, 3))


# Operators that changed


@pytest.mark.parametrize("opset", [7, 11, 13, 18, 21])
def test_axes_moved_from_attributes_to_inputs(opset: int) -> None:
    """Squeeze and Unsqueeze at 13, ReduceSum at 13, ReduceMean at 18."""

    def axes(
        op: str, since: int, source: str, target: str, *values: int, **more: int
    ) -> onnx.NodeProto:
        if opset < since:
            return node(op, [source], [target], axes=list(values), **more)
        weights[f"axes_{target}"] = np.int64(values)
        return node(op, [source, f"axes_{target}"], [target], **more)

    weights: dict[str, Any] = {}
    nodes = [
        axes("Unsqueeze", 13, "x", "u", 0, 3), axes("Squeeze", 13, "u", "q", 0),
        axes("ReduceSum", 13, "q", "s", 1, keepdims=0), axes("ReduceMean", 18, "s", "y", 1),
    ]  # fmt: skip
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (y,) = run(model(nodes, [info("x", 2, 3)], opset=opset, **weights), x=x)
    np.testing.assert_allclose(y, x.sum(1).reshape(2, 1))


def test_softmax_counted_all_later_axes_as_one() -> None:
    x = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    e = np.exp(x)
    (old,) = run(
        model([node("Softmax", ["x"], ["y"], axis=1)], [info("x", 2, 3, 4)], opset=12), x=x
    )
    (new,) = run(
        model([node("Softmax", ["x"], ["y"], axis=1)], [info("x", 2, 3, 4)], opset=13), x=x
    )
    np.testing.assert_allclose(old, e / e.sum((1, 2), keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(new, e / e.sum(1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("opset", [7, 11, 21])
def test_clip_and_pad(opset: int) -> None:
    x = np.float32([[-2, 0.5, 3]])
    if opset < 11:
        nodes = [
            node("Clip", ["x"], ["c"], min=-1.0, max=1.0),
            node("Pad", ["c"], ["y"], pads=[0, 1, 0, 2], value=9.0),
        ]
        proto = model(nodes, [info("x", 1, 3)], opset=opset)
    else:
        nodes = [
            node("Clip", ["x", "low", "high"], ["c"]),
            node("Pad", ["c", "pads", "nine"], ["y"]),
        ]
        bounds = {
            "low": np.float32(-1),
            "high": np.float32(1),
            "pads": np.int64([0, 1, 0, 2]),
            "nine": np.float32(9),
        }
        proto = model(nodes, [info("x", 1, 3)], opset=opset, **bounds)
    np.testing.assert_array_equal(run(proto, x=x)[0], [[9, -1, 0.5, 1, 9, 9]])


@pytest.mark.parametrize("opset", [7, 10, 12, 22])
def test_dropout_does_nothing(opset: int) -> None:
    x = np.float32([1, 2])
    y, mask = run(
        model([node("Dropout", ["x"], ["y", "m"])], [info("x", 2)], ("y", "m"), opset=opset), x=x
    )
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(mask, [1, 1])
    assert mask.dtype == (np.float32 if opset < 10 else np.bool_)


def test_broadcasting_before_set_7() -> None:
    """Only with ``broadcast``, from ``axis`` on."""
    proto = model(
        [node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)],
        [info("x", 2, 3, 4)],
        opset=6,
        b=np.float32([1, 2, 3]),
    )
    x = np.zeros((2, 3, 4), np.float32)
    np.testing.assert_array_equal(run(proto, x=x)[0], x + np.float32([1, 2, 3])[:, None])


# Convolutions


@pytest.mark.parametrize("mode", ["VALID", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2])
def test_auto_pad(mode: str, stride: int) -> None:
    """The same amounts written out give the same result."""
    x = np.random.default_rng(0).random((1, 2, 7, 6)).astype(np.float32)
    w = np.random.default_rng(1).random((4, 2, 3, 2)).astype(np.float32)
    shared: dict[str, Any] = {"strides": [stride, stride]}
    amounts = [0, 0, 0, 0]
    if mode != "VALID":
        for i, (size, k) in enumerate(((7, 3), (6, 2))):
            total = max((-(-size // stride) - 1) * stride + k - size, 0)
            small, large = total // 2, total - total // 2
            amounts[i], amounts[i + 2] = (small, large) if mode == "SAME_UPPER" else (large, small)
    inputs = [info("x", 1, 2, 7, 6)]
    (a,) = run(model([node("Conv", ["x", "w"], ["y"], auto_pad=mode, **shared)], inputs, w=w), x=x)
    (b,) = run(model([node("Conv", ["x", "w"], ["y"], pads=amounts, **shared)], inputs, w=w), x=x)
    np.testing.assert_array_equal(a, b)


def test_a_batch_that_is_named() -> None:
    """One import serves every batch size."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2]), node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    w, b = rng.random((4, 3, 3, 3)).astype(np.float32), rng.random(4).astype(np.float32)
    proto = model(nodes, [info("x", "batch", 3, 8, 8)], w=w, b=b)
    x = rng.random((5, 3, 8, 8)).astype(np.float32)
    (together,) = run(proto, x=x)
    assert together.shape == (5, 4)
    for i in range(5):
        np.testing.assert_allclose(run(proto, x=x[i : i + 1])[0][0], together[i], rtol=1e-5)


# A whole network


def transformer(
    width: int = 16, heads: int = 2, words: int = 11, longest: int = 12
) -> onnx.ModelProto:
    """One encoder layer as PyTorch exports it: batch and length named, masks and positions computed."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    weights: dict[str, Any] = {
        "words": weight(words, width), "places": weight(longest, width),
        "zero": np.int64(0), "one": np.int64(1), "axis0": np.int64([0]), "ends": np.int64([1]), "axes12": np.int64([1, 2]),
        "heads": np.int64([heads]), "rest": np.int64([-1]), "width": np.int64([width]),
        "lowest": np.float32(-1e9), "root": np.float32(np.sqrt(width // heads)), "half": np.float32(0.5), "unit": np.float32(1), "sqrt2": np.float32(np.sqrt(2)),
        "scale": weight(width) + 1, "shift": weight(width), "up": weight(width, 4 * width), "down": weight(4 * width, width), "bias": weight(4 * width),
        **{n: weight(width, width) for n in ("wq", "wk", "wv", "wo")},
    }  # fmt: skip
    nodes = [
        node("Shape", ["ids"], ["shape"]),
        node("Gather", ["shape", "zero"], ["b"]), node("Gather", ["shape", "one"], ["s"]),
        node("Unsqueeze", ["b", "axis0"], ["b1"]), node("Unsqueeze", ["s", "axis0"], ["s1"]),
        node("Gather", ["words", "ids"], ["w"]),
        node("Slice", ["places", "axis0", "s1", "axis0"], ["p"]), node("Add", ["w", "p"], ["x"]),
        node("Unsqueeze", ["mask", "axes12"], ["m4"]), node("Cast", ["m4"], ["mf"], to=FLOAT),
        node("Sub", ["unit", "mf"], ["inv"]), node("Mul", ["inv", "lowest"], ["added"]),
        node("Concat", ["b1", "s1", "heads", "rest"], ["split"], axis=0),
        node("Concat", ["b1", "s1", "width"], ["joined"], axis=0),
    ]  # fmt: skip
    for n in "qkv":
        perm = [0, 2, 3, 1] if n == "k" else [0, 2, 1, 3]
        nodes += [
            node("MatMul", ["x", f"w{n}"], [f"{n}0"]), node("Reshape", [f"{n}0", "split"], [f"{n}1"]),
            node("Transpose", [f"{n}1"], [n], perm=perm),
        ]  # fmt: skip
    nodes += [
        node("MatMul", ["q", "k"], ["qk"]), node("Div", ["qk", "root"], ["scaled"]), node("Add", ["scaled", "added"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1), node("MatMul", ["attention", "v"], ["av"]),
        node("Transpose", ["av"], ["back"], perm=[0, 2, 1, 3]), node("Reshape", ["back", "joined"], ["flat"]),
        node("MatMul", ["flat", "wo"], ["o"]), node("Add", ["x", "o"], ["r"]),
        node("LayerNormalization", ["r", "scale", "shift"], ["n"], axis=-1),
        node("MatMul", ["n", "up"], ["u"]), node("Add", ["u", "bias"], ["ub"]),
        node("Div", ["ub", "sqrt2"], ["e0"]), node("Erf", ["e0"], ["e1"]), node("Add", ["e1", "unit"], ["e2"]),
        node("Mul", ["ub", "e2"], ["e3"]), node("Mul", ["e3", "half"], ["gelu"]),
        node("MatMul", ["gelu", "down"], ["d"]), node("Add", ["n", "d"], ["y"]),
    ]  # fmt: skip
    inputs = [info("ids", "batch", "length", kind=INT), info("mask", "batch", "length", kind=INT)]
    used = {name for n in nodes for name in n.input}
    return model(nodes, inputs, opset=17, **{n: w for n, w in weights.items() if n in used})


def test_a_transformer_of_named_batch_and_length() -> None:
    """One import and one program for all sizes; the reference is onnx's own."""
    proto = transformer()
    module = import_onnx(proto)
    assert not any(isinstance(op, DynamicOp) for op in main(module).body.block.ops)
    (result,) = main(module).body.block.last_op.operands
    assert [str(d) for d in shape_of(result)] == ["batch", "length", "16"]
    compiled = tfc.compile(import_onnx(proto))
    expected = onnx.reference.ReferenceEvaluator(proto)
    for batch, length in ((1, 1), (2, 7), (3, 12)):
        rng = np.random.default_rng(batch)
        feeds = {
            "ids": rng.integers(0, 11, (batch, length)),
            "mask": rng.integers(0, 2, (batch, length)),
        }
        feeds["mask"][:, 0] = 1
        (y,) = expected.run(None, feeds)
        np.testing.assert_allclose(interpret(module, feeds)[0], y, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(compiled.run(feeds)["y"], y, rtol=2e-5, atol=2e-5)
