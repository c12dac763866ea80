"""Importing ONNX graphs: names, shapes, versions of operators, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_suite
import pytest
from onnx import helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

import tfc
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.types import shape_of
from tfc.errors import ModelFileError, OptionError
from tfc.frontend.onnx.importer import import_onnx
from tfc.frontend.onnx.reader import read_model
from tfc.frontend.onnx.table import supported
from tfc.location import describe
from tfc.runtime.interpreter import interpret

FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


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


node = helper.make_node


def test_the_first_stage_is_supported() -> None:
    assert set(supported()) >= onnx_suite.STAGE_1


# Signature and locations


def test_names_and_locations() -> None:
    """Arguments, results and operations carry the model's names; a nameless node its outputs'."""
    nodes = [node("Relu", ["x"], ["r"], name="act"), node("Add", ["r", "b"], ["y"])]
    function = main(import_onnx(model(nodes, [info("x", 2)], b=np.float32([1, 2]))))
    assert 'tfc.name = "x"' in str(function)
    assert 'tfc.name = "y"' in str(function)
    places = [describe(op.location) for op in function.body.block.ops]
    assert places[:3] == ["act", "b", "Add -> y"]


def test_named_and_unnamed_dims() -> None:
    """Names stay; others come from the input and the axis; what is no identifier becomes one."""
    inputs = [
        info("x", "batch", None, 3),
        info("data/0", "2 * batch", "a-b", "a.b"),
        info("z", "lambda"),
    ]
    function = main(import_onnx(model([node("Identity", ["x"], ["y"])], inputs)))
    shapes = [[str(d) for d in shape_of(a)] for a in function.args]
    assert shapes == [["batch", "x_1", "3"], ["2*batch", "a_b", "a_b_1"], ["d_lambda"]]


def test_given_shapes() -> None:
    """A number given for a named dim holds wherever the name stands."""
    inputs = [info("x", "n", None), info("z", "n", "n")]
    proto = model([node("Identity", ["x"], ["y"])], inputs)
    function = main(import_onnx(proto, shapes={"x": (4, "width")}))
    assert [[str(d) for d in shape_of(a)] for a in function.args] == [["4", "width"], ["4", "4"]]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"X": (1, 2)}, "no input 'X'"),
        ({"x": (1,)}, "expected 2 extents, got 1"),
        ({"x": (1, 3)}, "expected extent 2 at axis 1, got 3"),
        ({"x": (-1, 2)}, "expected extents of at least 0"),
        ({"x": ("a b", 2)}, "expected an extent or a name, got 'a b'"),
        ({"x": (1, 2), "z": (2,)}, "expected one extent for 'n', got 1 and 2"),
    ],
)
def test_given_shapes_that_do_not_fit(shapes: dict[str, Any], message: str) -> None:
    proto = model([node("Identity", ["x"], ["y"])], [info("x", "n", 2), info("z", "n")])
    with pytest.raises(OptionError) as caught:
        import_onnx(proto, shapes=shapes)
    assert message in str(caught.value)


def test_an_input_without_shape() -> None:
    """Its rank must be given."""
    proto = model([node("Relu", ["x"], ["y"])], [helper.make_tensor_value_info("x", FLOAT, None)])
    with pytest.raises(ModelFileError, match="--shape x="):
        import_onnx(proto)
    assert shape_of(main(import_onnx(proto, shapes={"x": (2, 3)})).args[0]) == (2, 3)


def test_initialisers_that_old_models_list_as_inputs() -> None:
    proto = model(
        [node("Add", ["x", "w"], ["y"])], [info("x", 2), info("w", 2)], w=np.float32([1, 2])
    )
    assert len(main(import_onnx(proto)).args) == 1


def test_weights_are_not_copied() -> None:
    """The constant is a view of the bytes that were read."""
    weight = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    data = model(
        [node("MatMul", ["x", "w"], ["y"])], [info("x", 1, 64)], w=weight
    ).SerializeToString()
    (constant,) = (
        op for op in main(import_onnx(data)).body.block.ops if isinstance(op, ConstantOp)
    )
    array = constant.value.data.array
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


# Graphs


def test_nodes_out_of_order_are_sorted() -> None:
    nodes = [node("Neg", ["r"], ["y"]), node("Relu", ["x"], ["r"])]
    np.testing.assert_array_equal(
        run(model(nodes, [info("x", 2)]), x=np.float32([-1, 2]))[0], [0, -2]
    )


def test_a_cycle() -> None:
    nodes = [
        node("Add", ["x", "b"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="second"),
        node("Relu", ["b"], ["y"]),
    ]
    with pytest.raises(ModelFileError, match="cycle through or before the nodes first, second"):
        import_onnx(model(nodes, [info("x", 2)]))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [node("Relu", ["z"], ["y"], name="act")],
            r"\(act\): error: Relu reads 'z', which nothing defines",
        ),
        ([node("Relu", ["x"], ["a"])], "no value 'y'"),
        (
            [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"], name="n")],
            r"\(n\): .*'y' is the output of two nodes",
        ),
        ([node("Relu", ["x"], ["y"], name="act", alpha=1.0)], r"\(act\): .*no attribute 'alpha'"),
        ([node("Concat", ["x", "x"], ["y"], name="cat")], r"\(cat\): .*lacks its attribute 'axis'"),
        (
            [node("Concat", ["x", "x"], ["y"], name="cat", axis=1.0)],
            r"\(cat\): .*'axis' of Concat: expected int",
        ),
        (
            [node("Concat", ["x", "x"], ["y"], name="cat", axis=5)],
            r"\(cat\): .*axis of a tensor of rank 2, got 5",
        ),
        ([node("MatMul", ["x", "x"], ["y"], name="mm")], r"\(mm\): .*tfc.dot"),
        (
            [node("Add", ["x", "b"], ["y"], name="add")],
            r"\(add\): .*broadcast, got \[2, 3\] and \[4\]",
        ),
        (
            [node("Add", ["x", "i"], ["y"], name="add")],
            r"\(add\): .*expected tensor\(float\), got tensor\(int64\)",
        ),
        (
            [node("Relu", ["x", "x"], ["y"], name="act")],
            r"\(act\): Relu: expected 1 to 1 inputs, got 2",
        ),
        (
            [node("Gather", ["x", "x"], ["y"], name="g")],
            r"\(g\): .*input 'indices': expected one of",
        ),
        ([node("Transpose", ["x"], ["y"], name="t", perm=[0, 0])], r"\(t\): .*tfc.transpose"),
        ([node("Reshape", ["x", "i"], ["y"], name="r")], r"\(r\): "),
        (
            [node("Split", ["x"], ["y", "z"], name="s", axis=0, num_outputs=3)],
            r"\(s\): .*2 outputs",
        ),
    ],
)
def test_errors_name_the_node(nodes: list[onnx.NodeProto], message: str) -> None:
    proto = model(nodes, [info("x", 2, 3)], b=np.float32([1, 2, 3, 4]), i=np.int64([4, 4]))
    with pytest.raises(
        ModelFileError, match=message.replace(r"\): Relu: exp", r"\): error: Relu: exp")
    ):
        import_onnx(proto)


def test_all_lacking_operators_are_listed_at_once() -> None:
    nodes = [
        node("NonZero", ["x"], ["a"], name="nz1"), node("NonZero", ["x"], ["b"], name="nz2"),
        node("Mystery", ["x"], ["c"], name="m", domain="own"), node("Relu", ["x"], ["y"]),
        node("Inverse", ["x"], ["d"], name="inv"),
    ]  # fmt: skip
    with pytest.raises(ModelFileError) as caught:
        import_onnx(model(nodes, [info("x", 2, 2)]))
    text = str(caught.value)
    assert "needs 3 operators that tfc lacks" in text
    assert "NonZero (x2): nz1, nz2" in text
    assert "own.Mystery" in text
    assert "Inverse (unknown in version 18 of its domain)" in text


@pytest.mark.parametrize("kind", ["sequence", "optional"])
def test_inputs_that_are_no_tensors(kind: str) -> None:
    inner = helper.make_tensor_type_proto(FLOAT, [2])
    make = (
        helper.make_sequence_type_proto if kind == "sequence" else helper.make_optional_type_proto
    )
    proto = model([node("Identity", ["x"], ["y"])], [helper.make_value_info("x", make(inner))])
    with pytest.raises(ModelFileError, match=f"input 'x'.*expected a tensor, got a {kind}"):
        import_onnx(proto)


def test_functions_of_the_model() -> None:
    """They are inlined; attributes are handed on, with their defaults; left-out inputs are none."""
    body = [node("LeakyRelu", ["a"], ["l"]), node("Clip", ["l", "", "top"], ["out"])]
    body[0].attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "own", "Act", ["a", "top"], ["out"], body, [helper.make_opsetid("", 18)], ["slope"]
    )
    nodes = [
        node("Act", ["x", "b"], ["p"], domain="own", slope=0.5, name="f"),
        node("Act", ["x"], ["q"], domain="own", slope=0.25),
    ]
    proto = model(nodes, [info("x", 3)], ("p", "q"), functions=[function], b=np.float32(1))
    p, q = run(proto, x=np.float32([-2, 0.5, 4]))
    np.testing.assert_array_equal(p, [-1, 0.5, 1])
    np.testing.assert_array_equal(q, [-0.5, 0.5, 4])
    places = {describe(op.location) for op in main(import_onnx(proto)).body.block.ops}
    assert "f/LeakyRelu -> l" in places


def test_a_function_that_calls_itself() -> None:
    body = [node("Loop1", ["a"], ["out"], domain="own")]
    function = helper.make_function(
        "own", "Loop1", ["a"], ["out"], body, [helper.make_opsetid("own", 1)], []
    )
    with pytest.raises(ModelFileError):
        import_onnx(
            model([node("Loop1", ["x"], ["y"], domain="own")], [info("x", 3)], functions=[function])
        )


@pytest.mark.parametrize("condition", [True, False])
def test_if_with_a_known_condition(condition: bool) -> None:
    """Only the branch that is taken is imported, and sees the values around it."""
    branches = [
        helper.make_graph(
            [node(op, ["r"], [op])], op, [], [helper.make_value_info(op, onnx.TypeProto())]
        )
        for op in ("Neg", "Exp")
    ]
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    proto = model(nodes, [info("x", 2)], c=np.array(condition))
    x = np.float32([-1, 2])
    expected = -np.maximum(x, 0) if condition else np.exp(np.maximum(x, 0))
    np.testing.assert_allclose(run(proto, x=x)[0], expected, rtol=1e-6)


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


def test_a_model_already_read() -> None:
    read = read_model(_heads())
    assert import_onnx(read, name="heads").sym_name.data == "heads"


def test_inputs_that_become_constants() -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], [info("x", 6), info("s", 2, kind=INT)])
    function = main(import_onnx(proto, values={"s": [2, -1]}))
    assert len(function.args) == 1
    assert shape_of(function.body.block.last_op.operands[0]) == (2, 3)
    with pytest.raises(OptionError, match="no input 'shape'"):
        import_onnx(proto, values={"shape": [1]})


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
