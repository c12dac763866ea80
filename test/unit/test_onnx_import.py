"""Importing ONNX graphs: names, shapes that are given, functions, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_suite
import pytest
from onnx import helper
from onnx_models import FLOAT, INT, info, main, model, node, run

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.types import shape_of
from tfc.errors import ModelFileError, OptionError
from tfc.frontend.onnx.importer import import_onnx
from tfc.frontend.onnx.reader import read_model
from tfc.frontend.onnx.table import supported
from tfc.location import describe


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
            r"\(act\): Relu: expected 1 inputs, got 2",
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


def test_a_model_already_read() -> None:
    read = read_model(model([node("Relu", ["x"], ["y"])], [info("x", 2)]))
    assert import_onnx(read, name="heads").sym_name.data == "heads"


def test_inputs_that_become_constants() -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], [info("x", 6), info("s", 2, kind=INT)])
    function = main(import_onnx(proto, values={"s": [2, -1]}))
    assert len(function.args) == 1
    assert shape_of(function.body.block.last_op.operands[0]) == (2, 3)
    with pytest.raises(OptionError, match="no input 'shape'"):
        import_onnx(proto, values={"shape": [1]})


def test_the_documented_operators_are_those_of_the_table() -> None:
    """`docs/onnx.md` lists them all, sorted."""
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    listed = page.split("## Operators")[1].split("Operators that ONNX itself")[0].split()
    assert listed == supported()
