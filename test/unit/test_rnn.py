"""``tf.nn.rnn_cell`` and ``tf.nn.dynamic_rnn`` against the formulas in numpy, interpreted and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tfc as tf
from tfc.errors import GraphError

cells = tf.nn.rnn_cell
DEPTH, UNITS, BATCH, TIME = 3, 4, 2, 5
CHANCE = np.random.default_rng(7)
X = CHANCE.normal(size=(BATCH, TIME, DEPTH)).astype(np.float32)
LENGTHS = np.array([5, 3], np.int32)


@pytest.fixture(autouse=True)
def graph() -> Iterator[Any]:
    with tf.Graph().as_default() as g:
        g.seed = 3
        yield g


@pytest.fixture(params=["interpreted", "compiled"])
def session(request: pytest.FixtureRequest, graph: Any) -> Any:
    return tf.Session(graph=graph, interpret=request.param == "interpreted")


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def basic(x: Any, h: Any, w: Any) -> Any:
    h = np.tanh(np.concatenate([x, h], 1) @ w["kernel"] + w["bias"])
    return h, h


def gru(x: Any, h: Any, w: Any) -> Any:
    r, u = np.split(sigmoid(np.concatenate([x, h], 1) @ w["gates/kernel"] + w["gates/bias"]), 2, 1)
    c = np.tanh(np.concatenate([x, r * h], 1) @ w["candidate/kernel"] + w["candidate/bias"])
    h = u * h + (1 - u) * c
    return h, h


def lstm(x: Any, state: Any, w: Any) -> Any:
    c, h = state
    i, j, f, o = np.split(np.concatenate([x, h], 1) @ w["kernel"] + w["bias"], 4, 1)
    if "w_f_diag" in w:
        i, f = i + w["w_i_diag"] * c, f + w["w_f_diag"] * c
    c = c * sigmoid(f + 1) + sigmoid(i) * np.tanh(j)
    if "projection/kernel" in w:
        c = np.clip(c, -0.5, 0.5)
    o = o + w["w_o_diag"] * c if "w_o_diag" in w else o
    h = np.tanh(c) * sigmoid(o)
    if "projection/kernel" in w:
        h = np.clip(h @ w["projection/kernel"], -0.1, 0.1)
    return h, (c, h)


def walk(step: Any, x: Any, state: Any, weights: Any, lengths: Any = None) -> Any:
    """Outputs ``[batch, time, n]`` and the last state."""
    outputs: list[Any] = []
    for t in range(x.shape[1]):
        y, new = step(x[:, t], state, weights)
        if lengths is not None:
            going = (t < lengths)[:, None]
            y = np.where(going, y, 0)
            both = zip(new, state, strict=True) if isinstance(new, tuple) else [(new, state)]
            chosen = tuple(np.where(going, a, b) for a, b in both)
            new = chosen if isinstance(new, tuple) else chosen[0]
        outputs.append(y)
        state = new
    return np.stack(outputs, 1), state


def zeros(width: int = UNITS) -> Any:
    return np.zeros((BATCH, width), np.float32)


KINDS: dict[str, tuple[Any, Any, Any]] = {
    "basic_rnn_cell": (lambda: cells.BasicRNNCell(UNITS), basic, zeros()),
    "gru_cell": (lambda: cells.GRUCell(UNITS), gru, zeros()),
    "basic_lstm_cell": (lambda: cells.BasicLSTMCell(UNITS), lstm, (zeros(), zeros())),
    "lstm_cell": (
        lambda: cells.LSTMCell(UNITS, use_peepholes=True, cell_clip=0.5, num_proj=2, proj_clip=0.1),
        lstm,
        (zeros(), zeros(2)),
    ),
}


def weights_under(session: Any, prefix: str) -> dict[str, Any]:
    found = {v.op.name: v for v in tf.global_variables() if v.op.name.startswith(prefix + "/")}
    values = session.run(list(found.values()))
    return {name[len(prefix) + 1 :]: value for name, value in zip(found, values, strict=True)}


@pytest.mark.parametrize("name", KINDS)
def test_dynamic_rnn(session: Any, name: str) -> None:
    make, step, state = KINDS[name]
    x, n = tf.placeholder(tf.float32, [None, None, DEPTH]), tf.placeholder(tf.int32, [None])
    cell = make()
    every, last = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    some, end = tf.nn.dynamic_rnn(cell, x, n, initial_state=last)
    assert every.shape.as_list() == [None, None, cell.output_size]
    session.run(tf.global_variables_initializer())
    weights = weights_under(session, f"rnn/{name}")
    assert set(weights) == {v.op.name.partition(f"{name}/")[2] for v in cell.variables}
    got = session.run([every, last, some, end], {x: X, n: LENGTHS})
    outputs, final = walk(step, X, state, weights)
    assert np.allclose(got[0], outputs, atol=1e-5)
    assert np.allclose(_flat(got[1]), _flat(final), atol=1e-5)
    outputs, final = walk(step, X, final, weights, LENGTHS)
    assert np.allclose(got[2], outputs, atol=1e-5)
    assert np.allclose(_flat(got[3]), _flat(final), atol=1e-5)
    assert not got[2][1, 3:].any()


def _flat(state: Any) -> Any:
    return np.concatenate([np.ravel(s) for s in state]) if isinstance(state, tuple) else np.ravel(state)


def test_names_and_first_values_are_tensorflows() -> None:
    x = tf.placeholder(tf.float32, [BATCH, TIME, DEPTH])
    many = cells.MultiRNNCell([cells.BasicLSTMCell(UNITS), cells.GRUCell(UNITS)])
    tf.nn.dynamic_rnn(many, x, dtype=tf.float32)
    assert [v.name for v in tf.trainable_variables()] == [
        "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/kernel:0", "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/bias:0",
        "rnn/multi_rnn_cell/cell_1/gru_cell/gates/kernel:0", "rnn/multi_rnn_cell/cell_1/gru_cell/gates/bias:0",
        "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/kernel:0", "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/bias:0",
    ]  # fmt: skip
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    biases = [session.run(v) for v in tf.trainable_variables() if v.op.name.endswith("bias")]
    assert [set(b.tolist()) for b in biases] == [{0.0}, {1.0}, {0.0}]


def test_static_and_dynamic_are_one(session: Any) -> None:
    x, n = tf.placeholder(tf.float32, [BATCH, 2, DEPTH]), tf.placeholder(tf.int32, [BATCH])
    cell = cells.MultiRNNCell([cells.LSTMCell(UNITS), cells.ResidualWrapper(cells.BasicRNNCell(UNITS))])
    steps, state = tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32, sequence_length=n)
    outputs, last = tf.nn.dynamic_rnn(cell, x, n, dtype=tf.float32)
    session.run(tf.global_variables_initializer())
    got = session.run([tf.stack(steps, 1), state, outputs, last], {x: X[:, :2], n: [2, 1]})
    assert np.allclose(got[0], got[2], atol=1e-6)
    assert isinstance(got[3][0], cells.LSTMStateTuple)
    assert np.allclose(got[1][0].c, got[3][0].c, atol=1e-6)
    assert np.allclose(got[1][1], got[3][1], atol=1e-6)


def test_both_directions(session: Any) -> None:
    x, n = tf.placeholder(tf.float32, [BATCH, TIME, DEPTH]), tf.placeholder(tf.int32, [BATCH])
    pair = cells.GRUCell(UNITS), cells.BasicLSTMCell(UNITS)
    (fw, bw), (sf, sb) = tf.nn.bidirectional_dynamic_rnn(*pair, x, n, dtype=tf.float32)
    every, *_ = tf.nn.static_bidirectional_rnn(*pair, tf.unstack(x, axis=1), dtype=tf.float32, sequence_length=n)
    session.run(tf.global_variables_initializer())
    names = {v.op.name.rpartition("/")[0] for v in tf.global_variables()}
    assert "bidirectional_rnn/bw/basic_lstm_cell" in names
    got = session.run([fw, bw, sf, sb], {x: X, n: LENGTHS})
    turned = X.copy()
    for b, count in enumerate(LENGTHS):
        turned[b, :count] = X[b, :count][::-1]
    w = weights_under(session, "bidirectional_rnn/bw/basic_lstm_cell")
    back, last = walk(lstm, turned, (zeros(), zeros()), w, LENGTHS)
    for b, count in enumerate(LENGTHS):
        assert np.allclose(got[1][b, :count], back[b, :count][::-1], atol=1e-5)
    assert np.allclose(got[3].c, last[0], atol=1e-5)
    forward, last = walk(gru, X, zeros(), weights_under(session, "bidirectional_rnn/fw/gru_cell"), LENGTHS)
    assert np.allclose(got[0], forward, atol=1e-5)
    assert np.allclose(got[2], last, atol=1e-5)
    if session._interpret:  # the same nodes for each step: compiled above
        static = session.run(tf.stack(every, 1), {x: X, n: LENGTHS})
        assert np.allclose(static, np.concatenate(got[:2], 2), atol=1e-5)


def test_a_cell_of_ones_own(session: Any) -> None:
    class Counter(cells.RNNCell):
        state_size = property(lambda self: {"n": 1, "x": DEPTH})
        output_size = property(lambda self: 1)

        def call(self, inputs: Any, state: Any) -> Any:
            scale = tf.get_variable("scale", [], initializer=tf.ones_initializer())
            n = state["n"] + scale
            return n, {"n": n, "x": inputs}

    x = tf.placeholder(tf.float32, [TIME, BATCH, DEPTH])
    y, state = tf.nn.dynamic_rnn(Counter(), x, dtype=tf.float32, time_major=True)
    session.run(tf.global_variables_initializer())
    got = session.run([y, state], {x: X.transpose(1, 0, 2)})
    assert got[0][:, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert np.array_equal(got[1]["x"], X[:, -1])


def test_dropout_keeps_the_share_and_the_scale(session: Any) -> None:
    x = tf.placeholder(tf.float32, [64, 8, 32])
    cell = cells.DropoutWrapper(cells.BasicRNNCell(32, activation=lambda v: v * 0 + 1), output_keep_prob=0.5, seed=4)
    y, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    session.run(tf.global_variables_initializer())
    got = session.run([y, state], {x: np.zeros((64, 8, 32), np.float32)})
    assert set(np.unique(got[0]).tolist()) == {0.0, 2.0}
    assert abs(got[0].mean() - 1) < 0.05
    assert (got[0][:, 0] != got[0][:, 1]).any()
    assert (got[1] == 1).all()


def test_sequences_are_reversed(session: Any) -> None:
    x = tf.placeholder(tf.float32, [BATCH, TIME, DEPTH])
    y = tf.reverse_sequence(x, LENGTHS, seq_axis=1, batch_axis=0)
    z = tf.reverse_sequence(x, [1, 3, 2, 0, 1], seq_axis=2, batch_axis=1)
    got, other = session.run([y, z], {x: X})
    assert np.array_equal(other[:, 1], X[:, 1, ::-1])
    assert np.array_equal(other[:, 2], X[:, 2, [1, 0, 2]])
    assert np.array_equal(got[0], X[0, ::-1])
    assert np.array_equal(got[1], X[1, [2, 1, 0, 3, 4]])


def refused(function: Any) -> str:
    with pytest.raises(GraphError) as caught:
        function()
    assert "test_rnn.py:" in str(caught.value)
    return str(caught.value)


def test_mistakes() -> None:
    cell, x = cells.BasicLSTMCell(UNITS), tf.placeholder(tf.float32, [BATCH, TIME, DEPTH])
    assert "expected an initial_state or a dtype" in refused(lambda: tf.nn.dynamic_rnn(cell, x))
    assert "expected inputs [batch, time, ...]" in refused(lambda: tf.nn.dynamic_rnn(cell, x[0], dtype=tf.float32))
    assert "expected inputs of a known width" in refused(
        lambda: tf.nn.dynamic_rnn(cell, tf.placeholder(tf.float32, [2, 3, None]), dtype=tf.float32)
    )
    assert "expected one structure" in refused(lambda: tf.nn.dynamic_rnn(cell, x, initial_state=tf.zeros([2, 4])))
    assert "a vector of integers" in refused(lambda: tf.nn.dynamic_rnn(cell, x, [1.0, 2.0], dtype=tf.float32))
    assert "expected a list of inputs" in refused(lambda: tf.nn.static_rnn(cell, x, dtype=tf.float32))
    assert "the same cell stands twice" in refused(lambda: cells.MultiRNNCell([cell] * 2))
    assert "expected a number of units" in refused(lambda: cells.GRUCell(0))
    assert "output_keep_prob in [0, 1], got 2" in refused(lambda: cells.DropoutWrapper(cell, output_keep_prob=2))
    tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    assert "width 3, as before, got 2" in refused(lambda: tf.nn.dynamic_rnn(cell, x[:, :, :2], dtype=tf.float32))
