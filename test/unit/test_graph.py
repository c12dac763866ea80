"""The graph API: names, shapes, operators, errors that quote the user's line."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfc as tf
from tfc.graph.specialise import specialise


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def run(fetches, feed=None):
    """What the interpreter gives, with which compiled code agrees."""
    wanted = tf.Session(interpret=True).run(fetches, feed)
    got = tf.Session().run(fetches, feed)
    for x, y in zip(*([v] if isinstance(v, np.ndarray | np.generic) else v for v in (got, wanted)), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    return wanted


def test_import_is_light():
    code = "import sys, tfc; print([m for m in ('xdsl', 'numpy', 'llvmlite', 'lark') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_exists():
    for name in dir(tf):
        assert hasattr(tf, name), name


def test_an_unknown_name_is_suggested():
    with pytest.raises(AttributeError, match="did you mean 'matmul'"):
        tf.matmull  # noqa: B018


# Names.


def test_names_are_made_unique():
    a, b = tf.constant(1.0), tf.constant(2.0)
    assert [a.name, b.name] == ["Const:0", "Const_1:0"]
    assert [(a + b).name for _ in range(3)] == ["add:0", "add_1:0", "add_2:0"]
    with tf.name_scope("scope"):
        assert (a + b).name == "scope/add:0"
        with tf.name_scope("inner"):
            assert (a * 2.0).op.name == "scope/inner/mul"
    with tf.name_scope("scope") as scope:
        assert scope == "scope_1/"
        assert (a + b).name == "scope_1/add:0"
    with tf.name_scope(scope):  # a name that ends in a slash is entered again
        assert (a + b).name == "scope_1/add_1:0"
    with tf.name_scope(None):
        assert tf.add(a, b).name == "Add:0" or tf.add(a, b).name.startswith("Add")


def test_upper_and_lower_case_are_one_name():
    x = tf.constant(1.0)
    assert (x + x).name == "add:0"
    assert tf.add(x, x).name == "Add_1:0"


def test_numbers_beside_tensors_are_named_constants():
    x = tf.placeholder(tf.float32, [2], name="x")
    y = x * 2
    assert [t.name for t in y.op.inputs] == ["x:0", "mul/y:0"]
    z = 1 - x
    assert [t.name for t in z.op.inputs] == ["sub/x:0", "x:0"]


def test_a_variable_makes_its_four_nodes():
    tf.Variable(tf.zeros([2]), name="w")
    assert [op.name for op in tf.get_default_graph().get_operations()] == ["zeros", "w", "w/Assign", "w/read"]


def test_bad_names_are_refused():
    with pytest.raises(tf.GraphError, match="not a valid name"):
        tf.constant(1.0, name="a b")
    with pytest.raises(tf.GraphError, match="5 is not a valid name"):
        tf.constant(1.0, name=5)
    with pytest.raises(tf.GraphError, match="'5' is not a valid name"), tf.name_scope(5):
        pass
    with pytest.raises(tf.GraphError, match="not a valid name"), tf.name_scope("-x"):
        pass


def test_look_up_by_name_suggests_the_nearest():
    tf.constant(1.0, name="weights")
    graph = tf.get_default_graph()
    assert graph.get_tensor_by_name("weights:0").op is graph.get_operation_by_name("weights")
    with pytest.raises(tf.GraphError, match=r"no operation 'weight'[\s\S]*did you mean 'weights'"):
        graph.get_operation_by_name("weight")
    with pytest.raises(tf.GraphError, match=r"'weights:0' is its first result"):
        graph.get_tensor_by_name("weights")
    with pytest.raises(tf.GraphError, match="has 1 results"):
        graph.get_tensor_by_name("weights:3")
    with pytest.raises(tf.GraphError, match="names a tensor"):
        graph.get_operation_by_name("weights:0")


# Several graphs.


def test_two_graphs_live_side_by_side():
    one, two = tf.Graph(), tf.Graph()
    with one.as_default():
        x = tf.constant(1.0, name="x")
        with two.as_default():
            y = tf.constant(2.0, name="x")
        assert tf.get_default_graph() is one
    assert (x.name, y.name) == ("x:0", "x:0")
    assert tf.Session(graph=one, interpret=True).run(x + 1) == 2.0
    assert tf.Session(graph=two, interpret=True).run(y + 1) == 3.0


def test_tensors_of_two_graphs_are_refused_with_both_lines():
    with tf.Graph("left").as_default():
        x = tf.constant(1.0, name="x")
    with tf.Graph("right").as_default():
        y = tf.constant(2.0, name="y")
    with pytest.raises(tf.GraphError) as caught:
        x + y
    text = str(caught.value)
    lines = [no for no, line in enumerate(Path(__file__).read_text().splitlines(), 1) if "name=\"x\")" in line]
    assert "graph 'left'" in text
    assert "graph 'right'" in text
    assert any(f"test_graph.py:{no})" in text for no in lines)
    assert text.count("test_graph.py") >= 4
    assert "x + y" in text


def test_a_graph_grows_only_until_it_is_finalized():
    tf.get_default_graph().finalize()
    with pytest.raises(tf.GraphError, match="is finalized"):
        tf.constant(1.0)


# Shapes and element types.


def test_shapes_are_inferred_as_far_as_known():
    x = tf.placeholder(tf.float32, [None, 784], name="x")
    w, b = tf.ones([784, 100]), tf.ones([100])
    y = tf.nn.relu(tf.matmul(x, w) + b)
    assert y.shape.as_list() == [None, 100]
    assert str(y.shape) == "(?, 100)"
    assert tf.reduce_sum(y, axis=1).shape.as_list() == [None]
    assert tf.reduce_mean(y).shape.as_list() == []
    assert tf.reshape(y, [-1, 10, 10]).shape.as_list() == [None, 10, 10]
    assert tf.transpose(y).shape.as_list() == [100, None]
    assert tf.concat([y, y], 1).shape.as_list() == [None, 200]
    assert tf.placeholder(tf.float32).shape.ndims is None
    assert (tf.placeholder(tf.float32) + 1.0).shape.ndims is None
    assert str(tf.placeholder(tf.float32, ["batch", 3]).shape) == "(batch, 3)"


def test_computed_shapes_are_followed():
    x = tf.placeholder(tf.float32, ["batch", 4, 6])
    flat = tf.reshape(x, tf.stack([tf.shape(x)[0], -1]))
    assert str(flat.shape) == "(batch, 24)"
    half = tf.reshape(x, [tf.shape(x)[0] * 2, 12])
    assert str(half.shape) == "(2*batch, 12)"


def test_a_shape_is_stated_and_checked():
    x = tf.placeholder(tf.float32)
    x.set_shape([None, 3])
    assert x.shape.as_list() == [None, 3]
    with pytest.raises(tf.GraphError, match="not compatible"):
        x.set_shape([None, 4])


def test_element_types_compare_with_numpys():
    assert tf.float32 == np.float32
    assert tf.float32 == "float32"
    assert np.dtype(np.int64) == tf.int64.numpy
    assert tf.int8 != tf.uint8
    assert tf.float32 is not None
    assert {tf.float32: 1}[tf.as_dtype(np.float32)] == 1
    assert tf.constant(1).dtype is tf.int32
    assert tf.constant(1.5).dtype is tf.float32
    assert tf.constant(np.float64(1.5)).dtype is tf.float64
    assert tf.constant(True).dtype is tf.bool
    assert tf.constant([1, 2**40]).dtype is tf.int64
    with pytest.raises(tf.GraphError, match="did you mean"):
        tf.as_dtype("flot32")


def test_numbers_take_the_element_type_of_the_tensor():
    x = tf.constant([1, 2], tf.float64)
    assert (x + 1).dtype is tf.float64
    assert (2 * x).dtype is tf.float64
    with pytest.raises(tf.GraphError, match=r"expected int32, got 2.5"):
        tf.constant([1, 2]) + 2.5
    with pytest.raises(tf.GraphError, match=r"float32 and int32[\s\S]*tf.cast"):
        tf.constant([1.0]) + tf.constant([1])


# Errors quote the user's line.


def test_a_mistake_is_reported_at_the_users_line():
    x = tf.placeholder(tf.float32, [8, 64], name="x")
    w = tf.placeholder(tf.float32, [10, 64], name="w")
    with pytest.raises(tf.GraphError) as caught:
        h = tf.matmul(x, w)  # noqa: F841
    first, quote, caret, note, help_ = str(caught.value).splitlines()
    assert "test_graph.py:" in first
    assert "error: 'tfc.matmul' (C2): expected dim(x, -1) = dim(y, -2), got 64 and 10" in first
    assert quote.strip().startswith("h = tf.matmul(x, w)")
    assert caret == "        ^~~~~~~~~~~~~~~"
    assert note.startswith("note: x:0 is float32 (8, 64) from ")
    assert help_ == "help: transpose_b=True contracts 64 with 64"


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: tf.ones([2, 3]) + tf.ones([4, 3]), r"broadcast together, got \(2, 3\) and \(4, 3\)"),
        (lambda: tf.reshape(tf.ones([2, 3]), [4, 2]), "6 elements do not fill"),
        (lambda: tf.zeros([3, -2]), "not negative, got -2"),
        (lambda: tf.zeros(None), "at least 0, got None"),
        (lambda: tf.random_uniform([3, -2]), r"at least 0, got \[3, -2\]"),
        (lambda: tf.tile(tf.ones([2]), [-1]), r"at least 0, got \[-1\]"),
        (lambda: tf.nn.max_pool(tf.ones([1, 8, 8, 3]), 2, 0, "SAME"), "windows of at least 1"),
        (lambda: tf.concat([tf.ones([2, 3]), tf.ones([2, 4])], 0), "tfc.concat"),
        (lambda: tf.reduce_sum(tf.ones([2]), 1), r"expected an axis in \[-1, 1\), got 1"),
        (lambda: tf.transpose(tf.ones([2, 3]), [0, 0]), "permutation"),
        (lambda: tf.exp(tf.constant(1)), "floating-point input, got int32"),
        (lambda: tf.squeeze(tf.ones([2]), 0), "extent 1 at axis 0, got 2"),
        (lambda: tf.ones([2, 3])[5], "index 5 is out of range"),
        (lambda: tf.ones([2])[0, 0], "2 indices for a tensor of rank 1"),
        (lambda: tf.nn.conv2d(tf.ones([1, 8, 8, 3]), tf.ones([3, 3, 4, 8]), [1, 1, 1, 1], "SAME"), "channels"),
        (lambda: tf.nn.bias_add(tf.ones([2, 3]), tf.ones([4])), "bias of 3 elements, got 4"),
        (lambda: tf.split(tf.ones([5]), 2), "do not split into 2"),
        (lambda: tf.constant("text"), "no tensor of numbers"),
        (lambda: tf.Variable(tf.placeholder(tf.float32)), "known shape"),
        (lambda: tf.assign(tf.constant(1.0), 2.0), "only a tf.Variable"),
        (lambda: tf.where(tf.constant([True])), "depends on values"),
    ],
)
def test_mistakes_name_the_rule_and_the_line(build, words):
    with pytest.raises(tf.GraphError, match=words) as caught:
        build()
    assert "test_graph.py:" in str(caught.value)


def test_a_failed_node_leaves_no_trace():
    x = tf.ones([2, 3])
    before = len(list(tf.get_default_graph().block.ops)), tf.get_default_graph().size
    with pytest.raises(tf.GraphError):
        tf.matmul(x, x)
    assert (len(list(tf.get_default_graph().block.ops)), tf.get_default_graph().size) == before


def test_tensors_refuse_to_be_values():
    x = tf.ones([2])
    for use in (lambda: list(x), lambda: len(x), lambda: bool(x), lambda: np.asarray(x), lambda: np.sin(x)):
        with pytest.raises(TypeError):
            use()


# Operators and indexing, against numpy.


def test_operators_agree_with_numpy():
    a = np.array([[5.0, -3.0], [2.0, 7.0]], np.float32)
    b = np.array([2.0, -4.0], np.float32)
    x, y = tf.constant(a), tf.constant(b)
    pairs = [
        (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (x // y, a // b),
        (x % y, np.mod(a, b)), (abs(x) ** y, np.abs(a) ** b), (-x, -a), (x @ x, a @ a),
        (1 + x, 1 + a), (1 - x, 1 - a), (3 * x, 3 * a), (1 / x, 1 / a), (7 // x, 7 // a),
        (7 % x, np.mod(7, a)), (2**y, 2**b), (x < y, a < b), (x <= y, a <= b), (x > y, a > b),
        (x >= y, a >= b), (a * y, a * b), (np.float32(2) + x, 2 + a),
    ]  # fmt: skip
    got = run([p[0] for p in pairs])
    for value, (tensor, wanted) in zip(got, pairs, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, err_msg=tensor.name)


def test_integer_and_bool_operators_agree_with_numpy():
    a, b = np.array([7, -7, 6], np.int32), np.array([2, 2, -4], np.int32)
    p, q = a > 0, b > 0
    x, y, u, v = (tf.constant(c) for c in (a, b, p, q))
    pairs = [
        (x // y, a // b), (x % y, a % b), (x / y, a / b), (x & y, a & b), (x | y, a | b), (x ^ y, a ^ b),
        (~x, ~a), (u & v, p & q), (u | v, p | q), (u ^ v, p ^ q), (~u, ~p),
    ]  # fmt: skip
    for value, (tensor, wanted) in zip(run([p[0] for p in pairs]), pairs, strict=True):
        np.testing.assert_array_equal(value, wanted, err_msg=tensor.name)
        assert value.dtype == wanted.dtype


@pytest.mark.parametrize(
    "key",
    [
        np.s_[1], np.s_[-1], np.s_[1:], np.s_[:-1], np.s_[::2], np.s_[::-1], np.s_[3:0:-2], np.s_[..., 1],
        np.s_[1, ..., 0], np.s_[:, None], np.s_[None, 1, ..., None, 2], np.s_[:, 1:3, ::-2], np.s_[5:9],
        np.s_[-100:100], np.s_[2:1], np.s_[...], np.s_[0, 1, 2], np.s_[:, -2], np.s_[-1:-4:-1], np.s_[None],
    ],
)  # fmt: skip
def test_indexing_is_numpys(key):
    a = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    np.testing.assert_array_equal(run(tf.constant(a)[key]), a[key])


def test_indexing_by_a_tensor():
    a = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    x, i = tf.constant(a), tf.placeholder(tf.int32, [])
    for k in (0, 3, -1):
        got = run([x[i], x[1:, i % 3], x[..., i % 3, 2:], x[i, 0]], {i: k})
        for value, wanted in zip(got, [a[k], a[1:, k % 3], a[..., k % 3, 2:], a[k, 0]], strict=True):
            np.testing.assert_array_equal(value, wanted)
    with pytest.raises(tf.GraphError, match=r"tf\.gather"):
        x[[0, 2]]
    with pytest.raises(tf.GraphError, match="single ellipsis"):
        x[..., ...]


# Operations, against numpy.


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


A = np.linspace(-2, 3, 24, dtype=np.float32).reshape(2, 3, 4)
M = np.arange(12, dtype=np.float32).reshape(3, 4) - 5

RNG = np.random.default_rng(0)
IMAGE, FILTER = RNG.normal(size=(2, 7, 7, 4)).astype(np.float32), RNG.normal(size=(3, 3, 4, 6)).astype(np.float32)

CASES = {
    "sum": (lambda: tf.reduce_sum(A, [0, 2]), lambda: A.sum((0, 2))),
    "mean keepdims": (lambda: tf.reduce_mean(A, 1, keepdims=True), lambda: A.mean(1, keepdims=True)),
    "max of all": (lambda: tf.reduce_max(A), lambda: A.max()),
    "no axes": (lambda: tf.reduce_sum(A, []), lambda: A),
    "any": (lambda: tf.reduce_any(tf.constant(A > 2), -1), lambda: (A > 2).any(-1)),
    "logsumexp": (lambda: tf.reduce_logsumexp(A, 1), lambda: np.log(np.exp(A).sum(1))),
    "argmax": (lambda: tf.argmax(M, 1), lambda: M.argmax(1)),
    "argmin": (lambda: tf.argmin(M, output_type=tf.int32), lambda: M.argmin(0).astype(np.int32)),
    "matmul transposed": (lambda: tf.matmul(M, M, transpose_b=True), lambda: M @ M.T),
    "matmul transposed a": (lambda: tf.matmul(M, M, transpose_a=True), lambda: M.T @ M),
    "batched matmul": (lambda: tf.matmul(A, M, transpose_b=True), lambda: A @ M.T),
    "batched matmul broadcasts": (lambda: tf.matmul(A[:, None], A, transpose_b=True), lambda: A[:, None] @ A.swapaxes(1, 2)),
    "einsum": (lambda: tf.einsum("bij,kj->bki", A, M), lambda: np.einsum("bij,kj->bki", A, M)),
    "einsum dots": (lambda: tf.einsum("...ij,...j->...i", A, A[:, 0]), lambda: np.einsum("...ij,...j->...i", A, A[:, 0])),
    "einsum of three": (lambda: tf.einsum("ij,jk,kl->il", M, M.T, M), lambda: M @ M.T @ M),
    "einsum sums out": (lambda: tf.einsum("ij->j", M), lambda: M.sum(0)),
    "tensordot": (lambda: tf.tensordot(A, M, [[2], [1]]), lambda: np.tensordot(A, M, [[2], [1]])),
    "cumsum": (lambda: tf.cumsum(M, 1, exclusive=True), lambda: np.cumsum(M, 1) - M),
    "stack": (lambda: tf.stack([M, M + 1], 1), lambda: np.stack([M, M + 1], 1)),
    "concat": (lambda: tf.concat([M, M[:1]], 0), lambda: np.concatenate([M, M[:1]])),
    "tile": (lambda: tf.tile(M, [2, 3]), lambda: np.tile(M, [2, 3])),
    "pad": (lambda: tf.pad(M, [[1, 2], [0, 3]], constant_values=7), lambda: np.pad(M, [[1, 2], [0, 3]], constant_values=7)),
    "pad reflect": (lambda: tf.pad(M, [[1, 2], [2, 0]], "REFLECT"), lambda: np.pad(M, [[1, 2], [2, 0]], "reflect")),
    "pad symmetric": (lambda: tf.pad(M, [[1, 2], [2, 0]], "SYMMETRIC"), lambda: np.pad(M, [[1, 2], [2, 0]], "symmetric")),
    "gather": (lambda: tf.gather(M, [2, 0, 2], axis=1), lambda: M[:, [2, 0, 2]]),
    "gather rows": (lambda: tf.gather(A, [[1, 0]]), lambda: A[[[1, 0]]]),
    "one hot": (lambda: tf.one_hot([2, 0], 3, 5.0, -1.0), lambda: np.where(np.eye(3)[[2, 0]] > 0, 5.0, -1.0).astype(np.float32)),
    "where": (lambda: tf.where(M > 0, M, -M), lambda: np.abs(M)),
    "where rows": (lambda: tf.where([True, False, True], M, -M), lambda: np.where([[True], [False], [True]], M, -M)),
    "cast": (lambda: tf.cast(M / 3, tf.int32), lambda: (M / 3).astype(np.int32)),
    "clip": (lambda: tf.clip_by_value(M, -2, 3), lambda: np.clip(M, -2, 3)),
    "range": (lambda: tf.range(3, 18, 4), lambda: np.arange(3, 18, 4, dtype=np.int32)),
    "range down": (lambda: tf.range(5, 0, -2), lambda: np.arange(5, 0, -2, dtype=np.int32)),
    "range of floats": (lambda: tf.range(6.5), lambda: np.arange(6.5, dtype=np.float32)),
    "range of mixed": (lambda: tf.range(1, 3.1, 0.5), lambda: np.arange(1, 3.1, 0.5, dtype=np.float32)),
    "fill": (lambda: tf.fill([2, 3], 7.0), lambda: np.full((2, 3), 7, np.float32)),
    "ones like": (lambda: tf.ones_like(M), lambda: np.ones_like(M)),
    "transpose": (lambda: tf.transpose(A, [2, 0, 1]), lambda: A.transpose(2, 0, 1)),
    "expand and squeeze": (lambda: tf.squeeze(tf.expand_dims(M, -1), [2]), lambda: M),
    "reverse": (lambda: tf.reverse(M, [1]), lambda: M[:, ::-1]),
    "slice": (lambda: tf.slice(M, [1, 0], [-1, 2]), lambda: M[1:, :2]),
    "split by sizes": (lambda: tf.split(M, [1, 3], 1)[1], lambda: M[:, 1:]),
    "unstack": (lambda: tf.unstack(M)[1], lambda: M[1]),
    "band part": (lambda: tf.matrix_band_part(M, 0, -1), lambda: np.triu(M)),
    "add n": (lambda: tf.add_n([M, M, M]), lambda: 3 * M),
    "softmax": (lambda: tf.nn.softmax(A), lambda: softmax(A)),
    "log softmax": (lambda: tf.nn.log_softmax(M), lambda: np.log(softmax(M))),
    "relu6": (lambda: tf.nn.relu6(M), lambda: np.clip(M, 0, 6)),
    "leaky relu": (lambda: tf.nn.leaky_relu(M, 0.1), lambda: np.where(M > 0, M, np.float32(0.1) * M)),
    "elu": (lambda: tf.nn.elu(M), lambda: np.where(M > 0, M, np.expm1(M))),
    "softplus": (lambda: tf.nn.softplus(M), lambda: np.log1p(np.exp(M))),
    "selu": (lambda: tf.nn.selu(M), lambda: 1.0507010 * np.where(M > 0, M, 1.6732632 * np.expm1(M))),
    "gelu": (lambda: tf.nn.gelu(M), lambda: M * 0.5 * (1 + np.vectorize(math.erf)(M / np.sqrt(2)))),
    "swish": (lambda: tf.nn.swish(M), lambda: M / (1 + np.exp(-M))),
    "lrn": (
        lambda: tf.nn.lrn(A[:, :, None], 1, 2.0, 0.5, 0.75),
        lambda: (A / (2 + 0.5 * sum(np.pad(A * A, [(0, 0), (0, 0), (1, 1)])[..., k : k + 4] for k in range(3))) ** 0.75)[:, :, None],
    ),
    "l2 normalize": (lambda: tf.nn.l2_normalize(M, 1), lambda: M / np.linalg.norm(M, axis=1, keepdims=True)),
    "resize": (
        lambda: tf.image.resize_bilinear(A[..., None], [3, 7], align_corners=True),
        lambda: np.stack([[np.interp(np.linspace(0, 3, 7), range(4), row) for row in image] for image in A])[..., None],
    ),
    "fused batch norm": (
        lambda: tf.nn.fused_batch_norm(IMAGE, np.ones(4), np.zeros(4), epsilon=0.0)[0],
        lambda: (IMAGE - IMAGE.mean((0, 1, 2))) / IMAGE.std((0, 1, 2)),
    ),
    "l2 loss": (lambda: tf.nn.l2_loss(M), lambda: (M * M).sum() / 2),
    "bias add": (lambda: tf.nn.bias_add(A, M[0]), lambda: A + M[0]),
    "moments": (lambda: tf.nn.moments(A, [0, 1])[1], lambda: A.var((0, 1))),
    "batch norm": (lambda: tf.nn.batch_normalization(M, 1.0, 4.0, 2.0, 3.0, 0.0), lambda: (M - 1) / 2 * 3 + 2),
    "sparse xent": (
        lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1, 0, 3], logits=M),
        lambda: -np.log(softmax(M))[range(3), [1, 0, 3]],
    ),
    "xent": (
        lambda: tf.nn.softmax_cross_entropy_with_logits(labels=np.eye(3, 4, dtype=np.float32), logits=M),
        lambda: -np.log(softmax(M))[range(3), range(3)],
    ),
    "sigmoid xent": (
        lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=np.ones_like(M), logits=M),
        lambda: np.log1p(np.exp(-M)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operations_agree_with_numpy(case):
    build, wanted = CASES[case]
    got, expected = run(build()), np.asarray(wanted())
    assert got.shape == expected.shape
    assert got.dtype == (np.float32 if expected.dtype == np.float64 else expected.dtype)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def convolve(x, w, stride, low, high, dilation=1, groups=1):
    """Convolution by its definition, NHWC and HWIO."""
    x = np.pad(x, [(0, 0), (low, high), (low, high), (0, 0)])
    kh, kw, cin, out = w.shape
    n, h, wide, _ = x.shape
    oh, ow = ((s - (k - 1) * dilation - 1) // stride + 1 for s, k in ((h, kh), (wide, kw)))
    y = np.zeros((n, oh, ow, out), np.float64)
    per = out // groups
    for o in range(out):
        chans = slice(o // per * cin, (o // per + 1) * cin)
        for i in range(oh):
            for j in range(ow):
                rows = slice(i * stride, i * stride + (kh - 1) * dilation + 1, dilation)
                cols = slice(j * stride, j * stride + (kw - 1) * dilation + 1, dilation)
                y[:, i, j, o] = (x[:, rows, cols, chans] * w[..., o]).sum((1, 2, 3))
    return y.astype(np.float32)


def test_convolutions_agree_with_the_definition():
    depthwise = RNG.normal(size=(3, 3, 4, 2)).astype(np.float32)
    flat = depthwise.reshape(3, 3, 1, 8)
    pairs = [
        (tf.nn.conv2d(IMAGE, FILTER, [1, 1, 1, 1], "SAME"), convolve(IMAGE, FILTER, 1, 1, 1)),
        (tf.nn.conv2d(IMAGE, FILTER, [1, 2, 2, 1], "SAME"), convolve(IMAGE, FILTER, 2, 1, 1)),
        (tf.nn.conv2d(IMAGE[:, :6, :6], FILTER, 2, "SAME"), convolve(IMAGE[:, :6, :6], FILTER, 2, 0, 1)),
        (tf.nn.conv2d(IMAGE, FILTER, 1, "VALID", dilations=2), convolve(IMAGE, FILTER, 1, 0, 0, 2)),
        (tf.nn.conv2d(IMAGE, FILTER[:, :, :2], 1, "VALID"), convolve(IMAGE, FILTER[:, :, :2], 1, 0, 0, 1, 2)),
        (
            tf.nn.conv2d(IMAGE.transpose(0, 3, 1, 2), FILTER, [1, 1, 2, 2], "SAME", data_format="NCHW"),
            convolve(IMAGE, FILTER, 2, 1, 1).transpose(0, 3, 1, 2),
        ),
        (tf.nn.depthwise_conv2d(IMAGE, depthwise, [1, 1, 1, 1], "SAME"), convolve(IMAGE, flat, 1, 1, 1, 1, 4)),
    ]
    for value, (_, wanted) in zip(run([p[0] for p in pairs]), pairs, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)


def test_a_transposed_convolution_is_the_transpose():
    x, w = IMAGE, FILTER
    y = tf.nn.conv2d(x, w, 2, "SAME")
    g = RNG.normal(size=y.shape.as_list()).astype(np.float32)
    back = tf.nn.conv2d_transpose(g, w, x.shape, 2, "SAME")
    forward, backward = run([y, back])
    np.testing.assert_allclose((forward * g).sum(), (x * backward).sum(), rtol=1e-4)


def test_pools_agree_with_numpy():
    x = IMAGE[:, :6, :6]
    windows = x.reshape(2, 3, 2, 3, 2, 4)
    counts = convolve(np.ones((1, 7, 7, 1), np.float32), np.ones((3, 3, 1, 1), np.float32), 2, 1, 1)
    sums = convolve(IMAGE, np.ones((3, 3, 1, 4), np.float32), 2, 1, 1, 1, 4)
    pairs = [
        (tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"), windows.max((2, 4))),
        (tf.nn.avg_pool(x, 2, 2, "VALID"), windows.mean((2, 4))),
        (tf.nn.avg_pool(IMAGE, 3, 2, "SAME"), sums / counts),
    ]
    for value, (_, wanted) in zip(run([p[0] for p in pairs]), pairs, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)


# Scopes.


def test_devices_merge_from_the_inside():
    with tf.device("/job:worker/task:1"):
        a = tf.constant(1.0)
        with tf.device("/gpu:0"):
            b = tf.constant(1.0)
            with tf.device(lambda op: "/cpu:0" if op.type == "Const" else ""):
                c = tf.constant(1.0)
            with tf.device(None):
                d = tf.constant(1.0)
    assert a.device == "/job:worker/task:1"
    assert b.device == "/job:worker/task:1/device:GPU:0"
    assert c.device == "/job:worker/task:1/device:CPU:0"
    assert d.device == ""


def test_colocation_takes_the_device_of_its_target():
    with tf.device("/cpu:1"):
        a = tf.constant(1.0, name="a")
    with tf.device("/gpu:0"), tf.colocate_with(a):
        b = tf.constant(2.0)
    assert b.device == "/device:CPU:1"
    assert b.op.colocated == ("a",)


def test_a_bad_device_is_refused_at_the_line():
    with pytest.raises(tf.GraphError, match=r"test_graph.py[\s\S]*unknown type TPU"), tf.device("/device:TPU:0"):
        pass


def test_control_dependencies_nest_and_end():
    a, b = tf.constant(1.0, name="a"), tf.constant(2.0, name="b")
    with tf.control_dependencies([a]):
        with tf.control_dependencies([b]):
            c = tf.no_op()
        d = tf.no_op()
        with tf.control_dependencies(None):
            e = tf.no_op()
    names = [[o.name for o in op.control_inputs] for op in (c, d, e)]
    assert names == [["a", "b"], ["a"], []]


def test_collections_keep_what_is_added():
    v = tf.Variable(1.0, name="v")
    w = tf.Variable(2.0, name="w", trainable=False)
    tf.add_to_collection("mine", v)
    assert tf.global_variables() == [v, w]
    assert tf.trainable_variables() == [v]
    assert tf.get_collection("mine") == [v]
    assert tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope="w") == [w]


# Modules.


def test_a_helper_costs_nothing():
    def dense(x, w, b):
        return tf.nn.relu(tf.matmul(x, w) + b)

    def build(use_helper):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [4, 3], name="x")
            w, b = np.ones((3, 2), np.float32), np.ones(2, np.float32)
            y = dense(x, w, b) if use_helper else tf.nn.relu(tf.matmul(x, w) + b)
            return str(specialise(y, [x]))

    assert build(True) == build(False)


def test_modules_have_named_extents():
    x = tf.placeholder(tf.float32, ["batch", 3], name="x")
    y = tf.identity(x @ np.ones((3, 2), np.float32), name="y")
    text = str(specialise(y, [x]))
    assert '"tfc.name" = "x"' in text or 'tfc.name = "x"' in text
    assert '#tfc.dims<["batch", ""]>' in text
    assert "#tfc.dims" not in str(specialise(y, [x], shapes={"x": [5, 3]}))
    with pytest.raises(tf.GraphError, match="there is no input 'z'"):
        specialise(y, [x], shapes={"z": [1]})


def test_extents_that_may_differ_are_refused():
    x, y = (tf.placeholder(tf.float32, [None, 2], name=n) for n in "xy")
    with pytest.raises(tf.GraphError, match=r"extents x_0 and y_0 may differ[\s\S]*one name"):
        specialise(x + y)
    specialise(x + y, [x, y], shapes={"x": ["n", 2], "y": ["n", 2]})


def test_an_unknown_rank_is_refused_when_compiled():
    x = tf.placeholder(tf.float32, name="x")
    with pytest.raises(tf.GraphError, match="shape of the input 'x:0' is unknown"):
        specialise(x + 1)


def test_nodes_have_tensorflows_names():
    x = tf.placeholder(tf.float32, [2, 3])
    w = tf.Variable(tf.random_uniform([3, 4], -1, 1), name="w")
    y = tf.nn.softmax(tf.matmul(x, w) + tf.zeros([4]))
    tf.reduce_mean(y, 1)
    tf.reduce_sum(y)
    tf.argmax(y, 1)
    tf.reshape(y, [8])
    tf.concat([y, y], 0)
    y[1:]
    tf.gather(y, [0])
    x / 2
    tf.group(w.assign_add(tf.ones([3, 4])))
    assert [op.name for op in tf.get_default_graph().get_operations()] == [
        "Placeholder", "random_uniform/shape", "random_uniform/min", "random_uniform/max",
        "random_uniform/RandomUniform", "random_uniform/sub", "random_uniform/mul", "random_uniform",
        "w", "w/Assign", "w/read", "MatMul", "zeros", "add", "Softmax", "Mean/reduction_indices", "Mean",
        "Const", "Sum", "ArgMax/dimension", "ArgMax", "Reshape/shape", "Reshape", "concat/axis", "concat",
        "strided_slice/stack", "strided_slice/stack_1", "strided_slice/stack_2", "strided_slice",
        "GatherV2/indices", "GatherV2/axis", "GatherV2", "truediv/y", "truediv", "ones", "AssignAdd", "group_deps",
    ]  # fmt: skip
