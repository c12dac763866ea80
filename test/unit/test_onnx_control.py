"""ONNX's branches, loops and recurrent operators, interpreted and compiled, against other implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import FLOAT, INT, info, model, node, run

import tfc
from tfc.errors import ModelFileError
from tfc.frontend.onnx.backend import InterpretedBackend

BOOL = onnx.TensorProto.BOOL
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def check(proto: onnx.ModelProto, expected: Any = None, tolerance: float = 1e-5, **feeds: Any) -> None:
    """That interpreter, compiled code and ONNX's reference (or ``expected``) agree."""
    arrays = {n: np.asarray(a) for n, a in feeds.items()}
    if expected is None:
        expected = onnx.reference.ReferenceEvaluator(proto).run(None, arrays)
    compiled = tfc.compile(proto)
    native = compiled.run(arrays)
    outputs = [native[o.name] for o in compiled.outputs]
    for got in (run(proto, **arrays), outputs):
        for a, b in zip(got, expected, strict=True):
            assert a.shape == b.shape
            assert np.allclose(a, b, rtol=tolerance, atol=tolerance)


def graph(nodes: Any, inputs: Any, outputs: Any) -> onnx.GraphProto:
    results = [o if isinstance(o, onnx.ValueInfoProto) else helper.make_value_info(o, onnx.TypeProto()) for o in outputs]
    return helper.make_graph(nodes, "inner", inputs, results)


# If


def conditional() -> onnx.ModelProto:
    """Branches that read values around them; one holds another If."""
    inner = graph([node("Add", ["x", "t"], ["p1"])], [], ["p1"])
    other = graph([node("Sub", ["x", "w"], ["p2"])], [], ["p2"])
    then = graph(
        [node("Mul", ["x", "w"], ["t"]), node("Not", ["p"], ["q"]), node("If", ["q"], ["u"], then_branch=inner, else_branch=other)],
        [],
        ["t", "u"],
    )
    otherwise = graph([node("Neg", ["x"], ["n"]), node("Identity", ["x"], ["m"])], [], ["n", "m"])
    nodes = [node("If", ["p"], ["y", "z"], then_branch=then, else_branch=otherwise)]
    inputs = [info("p", kind=BOOL), info("x", "n", 3)]
    return model(nodes, inputs, ("y", "z"), w=np.float32([1, 2, 3]))


@pytest.mark.parametrize("p", [True, False])
def test_a_branch_is_chosen_when_the_model_runs(p: bool) -> None:
    check(conditional(), p=p, x=X)


def test_branches_have_to_agree() -> None:
    then = graph([node("Identity", ["x"], ["a"])], [], ["a"])
    otherwise = graph([node("Transpose", ["x"], ["b"])], [], ["b"])
    proto = model([node("If", ["p"], ["y"], "choice", then_branch=then, else_branch=otherwise)], [info("p", kind=BOOL), info("x", 2, 3)])
    with pytest.raises(ModelFileError, match=r"\(choice\).*result 0 of the branches: expected one type"):
        tfc.compile(proto)


# Loop


def doubling(limit: float) -> onnx.ModelProto:
    """Doubles x until its sum is above a limit, at most n times; collects what there was before each turn."""
    nodes = [
        node("Identity", ["h"], ["row"]), node("Add", ["h", "h"], ["h1"]), node("ReduceSum", ["h1"], ["s"], keepdims=0),
        node("Less", ["s", "limit"], ["again"]),
    ]  # fmt: skip
    body = graph(
        nodes, [info("i", kind=INT), info("go", kind=BOOL), info("h", 2, 3)], ["again", "h1", "row"]
    )
    inputs = [info("n", kind=INT), info("x", 2, 3)]
    return model([node("Loop", ["n", "", "x"], ["y", "rows"], body=body)], inputs, ("y", "rows"), limit=np.float32(limit))


def test_a_loop_may_end_early() -> None:
    """How many rows there are depends on values, so only the interpreter gives them."""
    for n, limit in ((3, 1e9), (10, 100.0), (0, 1.0)):
        proto, feeds, state, rows = doubling(limit), {"n": np.int64(n), "x": X + 2}, X + 2, list[Any]()
        for _ in range(n):
            rows.append(state)
            state = state + state
            if state.sum() >= limit:
                break
        expected = [state, np.array(rows).reshape(-1, 2, 3)]
        for a, b in zip(InterpretedBackend.run_model(proto, list(feeds.values())), expected, strict=True):
            assert a.shape == b.shape
            assert np.allclose(a, b)


def test_a_loop_whose_count_and_end_are_fed() -> None:
    body = graph(
        [node("MatMul", ["h", "w"], ["h1"]), node("ReduceMax", ["h1"], ["s"], keepdims=0), node("Less", ["s", "limit"], ["again"])],
        [info("i", kind=INT), info("go", kind=BOOL), info("h", 2, 3)],
        ["again", "h1"],
    )
    w = np.float32([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1]])
    proto = model(
        [node("Loop", ["n", "go0", "x"], ["y"], body=body)],
        [info("n", kind=INT), info("go0", kind=BOOL), info("x", 2, 3), info("limit")],
        w=w,
    )
    for n, go, limit in ((5, True, 1e9), (50, True, 20.0), (5, False, 1e9), (0, True, 1.0)):
        state = X + 2
        for _ in range(n if go else 0):
            state = state @ w
            if state.max() >= limit:
                break
        check(proto, [state], n=np.int64(n), go0=go, x=X + 2, limit=np.float32(limit))


def test_loops_inside_loops_see_what_is_around() -> None:
    inner = graph(
        [node("Mul", ["scale", "x"], ["add"]), node("Add", ["v", "add"], ["v1"]), node("Identity", ["go2"], ["again2"])],
        [info("j", kind=INT), info("go2", kind=BOOL), info("v", 2, 3)],
        ["again2", "v1"],
    )
    outer = graph(
        [
            node("Cast", ["i"], ["scale"], to=FLOAT), node("Loop", ["m", "go1", "h"], ["h1"], body=inner),
            node("Identity", ["go1"], ["again1"]),
            node("Identity", ["h1"], ["row"]),
        ],
        [info("i", kind=INT), info("go1", kind=BOOL), info("h", 2, 3)],
        ["again1", "h1", "row"],
    )  # fmt: skip
    proto = model([node("Loop", ["n", "yes", "x"], ["y", "rows"], body=outer)], [info("x", 2, 3)], ("y", "rows"),
                  n=np.int64(3), m=np.int64(2), yes=np.array(True))  # fmt: skip
    check(proto, [X + 6 * X, np.stack([X, X + 2 * X, X + 6 * X])], x=X)


def test_mistakes_of_loops() -> None:
    body = graph(
        [node("Concat", ["h", "h"], ["h1"], axis=0)], [info("i", kind=INT), info("go", kind=BOOL), info("h", 2, 3)], ["go", "h1"]
    )
    proto = model([node("Loop", ["n", "", "x"], ["y"], "grow", body=body)], [info("n", kind=INT), info("x", 2, 3)])
    with pytest.raises(ModelFileError, match="grow"):
        tfc.compile(model([node("Loop", ["n", "", "x", "x"], ["y"], "grow", body=body)], [info("n", kind=INT), info("x", 2, 3)]))
    assert run(proto, n=np.int64(3), x=X)[0].shape == (16, 3)
    endless = graph([node("Identity", ["i"], ["row"])], [info("i", kind=INT), info("go", kind=BOOL)], ["go", "row"])
    with pytest.raises(ModelFileError, match="a loop without a count cannot collect rows"):
        tfc.compile(model([node("Loop", ["", "go0"], ["y"], body=endless)], [info("go0", kind=BOOL)]))


# Scan


def test_scans_over_axes_and_directions() -> None:
    body = graph(
        [node("Add", ["s", "a"], ["t"]), node("Mul", ["t", "b"], ["s1"]), node("Sub", ["a", "b"], ["r"]), node("Identity", ["t"], ["q"])],
        [info("s", 2), info("a", 2), info("b", 2)],
        ["s1", "r", "q"],
    )
    attributes = {
        "num_scan_inputs": 2, "scan_input_axes": [1, 0], "scan_input_directions": [0, 1],
        "scan_output_axes": [-1, 0], "scan_output_directions": [1, 0],
    }  # fmt: skip
    proto = model(
        [node("Scan", ["s0", "x", "z"], ["y", "u", "v"], body=body, **attributes)],
        [info("s0", 2), info("x", 2, "n"), info("z", "n", 2)],
        ("y", "u", "v"),
    )
    z, s = X.T + 0.5, np.float32([1, -1])
    state, rows, kept = s, [], []
    for k in range(3):
        a, b = X[:, k], z[2 - k]
        t = state + a
        state = t * b
        rows.insert(0, a - b)
        kept.append(t)
    check(proto, [state, np.stack(rows, -1), np.stack(kept)], s0=s, x=X, z=z)


# Recurrent operators

TIME, BATCH, DEPTH, HIDDEN = 4, 3, 2, 5
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {"direction": "bidirectional", "activations": ["Affine", "LeakyRelu"], "activation_alpha": [0.5, 0.1], "activation_beta": [0.1]}),
    ("RNN", {"direction": "reverse", "activations": ["ScaledTanh"], "activation_alpha": [1.2], "activation_beta": [0.6], "clip": 0.4}),
    ("GRU", {"direction": "bidirectional", "linear_before_reset": 1}),
    ("GRU", {"direction": "reverse", "activations": ["HardSigmoid", "Softsign"], "clip": 0.7}),
    ("LSTM", {"direction": "bidirectional"}),
    ("LSTM", {"direction": "forward", "input_forget": 1, "clip": 0.5}),
    ("LSTM", {"direction": "reverse", "activations": ["Sigmoid", "Elu", "Relu"], "activation_alpha": [0.5]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "attributes"), CASES)
@pytest.mark.parametrize("operands", ["all", "least"])
def test_recurrent_operators(kind: str, attributes: dict[str, Any], operands: str) -> None:
    """With every operand (lengths, first states, peepholes) or only those that have to be."""
    peer = pytest.importorskip("onnxruntime")
    chance = np.random.default_rng(5)
    ways, gates = 2 if attributes["direction"] == "bidirectional" else 1, GATES[kind]

    def draw(*shape: int) -> Any:
        return chance.normal(size=shape, scale=0.7).astype(np.float32)

    weights: dict[str, Any] = {"w": draw(ways, gates * HIDDEN, DEPTH), "r": draw(ways, gates * HIDDEN, HIDDEN)}
    names, states = ["x", "w", "r"], ["h"] + ["c"] * (kind == "LSTM")
    feeds: dict[str, Any] = {"x": draw(TIME, BATCH, DEPTH)}
    inputs = [info("x", "t", BATCH, DEPTH)]
    if operands == "all":
        weights["b"] = draw(ways, 2 * gates * HIDDEN)
        names += ["b", "n", *(f"{s}0" for s in states)]
        feeds["n"] = np.int32([4, 1, 3])
        inputs.append(info("n", BATCH, kind=onnx.TensorProto.INT32))
        for s in states:
            feeds[f"{s}0"] = draw(ways, BATCH, HIDDEN)
            inputs.append(info(f"{s}0", ways, BATCH, HIDDEN))
        if kind == "LSTM":
            weights["p"] = draw(ways, 3 * HIDDEN)
            names.append("p")
    outputs = ["y", *(f"y_{s}" for s in states)]
    proto = model([node(kind, names, outputs, hidden_size=HIDDEN, **attributes)], inputs, outputs, opset=14, **weights)
    options = peer.SessionOptions()
    options.log_severity_level = 3
    session = peer.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    check(proto, session.run(None, feeds), 1e-4, **feeds)


@settings(deadline=None, max_examples=3)
@given(
    st.sampled_from(sorted(GATES)), st.sampled_from(["forward", "reverse", "bidirectional"]),
    st.tuples(st.integers(1, 5), st.integers(1, 33), st.integers(1, 20), st.integers(1, 100)), st.booleans(),
)  # fmt: skip
def test_recurrent_operators_of_any_size(kind: str, direction: str, sizes: tuple[int, ...], named: bool) -> None:
    """Each step in place, run after run, with the same bits on one thread and on two."""
    peer = pytest.importorskip("onnxruntime")
    (time, batch, depth, hidden), chance = sizes, np.random.default_rng(5)
    ways, gates = 2 if direction == "bidirectional" else 1, GATES[kind]
    shapes = {"w": (ways, gates * hidden, depth), "r": (ways, gates * hidden, hidden), "b": (ways, 2 * gates * hidden)}
    weights: dict[str, Any] = {k: chance.normal(size=s, scale=0.3).astype(np.float32) for k, s in shapes.items()}
    made = node(kind, ["x", *shapes], ["y", "y_h"], hidden_size=hidden, direction=direction)
    inputs = [info("x", "t" if named else time, batch, depth)]
    proto = model([made], inputs, ["y", "y_h"], opset=14, **weights)
    session = peer.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    one, two = (tfc.compile(proto, threads=k) for k in (1, 2))
    for _ in range(2):
        x = chance.normal(size=(time, batch, depth)).astype(np.float32)
        for a, b, want in zip(one(x), two(x), session.run(None, {"x": x}), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, want, rtol=1e-4, atol=1e-5)


# Random numbers


def test_random_numbers() -> None:
    like = {"dtype": onnx.TensorProto.DOUBLE}
    nodes = [
        node("RandomUniform", [], ["u"], "u", shape=[4000], low=-1.0, high=3.0),
        node("RandomUniform", [], ["seeded"], "s", shape=[4000], seed=2.0),
        node("RandomNormalLike", ["x"], ["n"], "n", mean=2.0, scale=3.0, **like),
        node("Bernoulli", ["x"], ["b"], "b"),
        node("Multinomial", ["logits"], ["m"], "m", sample_size=2000),
    ]
    logits = np.log(np.float32([[0.2, 0.5, 0.3], [1e-9, 1e-9, 1]]))
    proto = model(nodes, [info("x", 60, 70)], ("u", "seeded", "n", "b", "m"), logits=logits)
    feeds = {"x": np.full((60, 70), 0.25, np.float32)}
    compiled = tfc.compile(proto)
    first, second = compiled.run(feeds), compiled.run(feeds)
    for name, expected in zip(("u", "seeded", "n", "b", "m"), run(proto, **feeds), strict=True):
        assert np.allclose(first[name], expected, rtol=1e-4, atol=1e-5)
        assert not np.array_equal(first[name], second[name])
    assert abs(first["u"].mean() - 1) < 0.1
    assert first["u"].min() >= -1
    assert first["u"].max() < 3
    assert first["n"].dtype == np.float64
    assert abs(first["n"].mean() - 2) < 0.2
    assert abs(first["n"].std() - 3) < 0.2
    assert abs(first["b"].mean() - 0.25) < 0.03
    shares = np.bincount(first["m"][0], minlength=3) / 2000
    assert np.allclose(shares, [0.2, 0.5, 0.3], atol=0.05)
    assert (first["m"][1] == 2).all()
