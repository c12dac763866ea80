"""Random graphs of the API: every order of their nodes, and compiled code, give one result.

A graph has placeholders, variables, nodes with several results and with none, and control
dependencies between them. It runs three times: interpreted in the order in which it was built, in
a random other order that keeps data and tokens, and compiled.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp

import tfc as tf
from tfc.dialects.tfc.types import tensor_type
from tfc.graph.specialise import Request, extract
from tfc.runtime.interpreter import interpret

EXTENTS = (1, 2, 3)
UNARY = (tf.negative, tf.tanh, tf.sigmoid, tf.nn.relu, tf.square, tf.identity, tf.abs)
BINARY = (tf.add, tf.subtract, tf.multiply, tf.maximum, tf.minimum, tf.squared_difference)


class Program:
    """A random graph, what to fetch of it, and what to feed."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.tensors: list[tf.Tensor] = []
        self.effects: list[tf.Operation] = []
        self.last: dict[tf.Variable, list[object]] = {}
        self.feeds: dict[tf.Tensor, np.ndarray] = {}
        self.graph = tf.Graph()
        with self.graph.as_default():
            for _ in range(random.randint(1, 3)):
                self.placeholder()
            for _ in range(random.randint(0, 2)):
                variable = tf.Variable(self.array(self.shape()))
                self.last[variable] = [variable.initializer]
            for _ in range(random.randint(3, 14)):
                random.choice([self.unary, self.unary, self.binary, self.binary, self.move, self.parts, self.state])()
            self.init = tf.global_variables_initializer()
        fetched = random.sample(self.tensors, min(len(self.tensors), 3))
        self.fetches = [*dict.fromkeys(fetched)]
        self.targets = random.sample(self.effects, min(len(self.effects), 2))

    def shape(self) -> list[int]:
        return [self.random.choice(EXTENTS) for _ in range(self.random.randint(1, 3))]

    def array(self, shape: list[int]) -> np.ndarray:
        size = int(np.prod(shape))
        return np.array([self.random.randint(-4, 4) / 4 for _ in range(size)], np.float32).reshape(shape)

    def any(self) -> tf.Tensor:
        return self.random.choice(self.tensors[-6:])

    def placeholder(self) -> None:
        value = self.array(self.shape())
        x = tf.placeholder(tf.float32, value.shape)
        self.feeds[x] = value
        self.tensors.append(x)

    def unary(self) -> None:
        self.tensors.append(self.random.choice(UNARY)(self.any()))

    def binary(self) -> None:
        x, y = self.any(), self.any()
        try:
            result = self.random.choice(BINARY)(x, y)
        except tf.GraphError:
            result = self.random.choice(BINARY)(x, tf.reduce_mean(y))
        self.tensors.append(tf.tanh(result))

    def move(self) -> None:
        x = self.any()
        moves = [lambda: tf.transpose(x), lambda: x[..., ::-1], lambda: tf.expand_dims(x, 0),
                 lambda: tf.reduce_sum(x, -1), lambda: tf.concat([x, x], -1), lambda: tf.reshape(x, [-1]),
                 lambda: tf.reduce_max(x, 0, keepdims=True), lambda: x * self.array([1])]  # fmt: skip
        if x.shape.ndims:
            self.tensors.append(self.random.choice(moves)())

    def parts(self) -> None:
        """A node with several results."""
        x = self.any()
        if x.shape.ndims:
            self.tensors += tf.split(tf.concat([x, x + 1.0], 0), 2)

    def state(self) -> None:
        """Read or change a variable, after what was done to it last."""
        if not self.last:
            return
        variable = self.random.choice(list(self.last))
        with tf.control_dependencies(self.last[variable]):
            if self.random.random() < 0.5:
                value = variable.read_value()
                self.tensors.append(value)
                self.last[variable].append(value)
                return
            delta = tf.reduce_mean(self.any())
            change = self.random.choice([variable.assign_add, variable.assign_sub])
            value = change(tf.zeros(variable.shape) + tf.tanh(delta))
        self.last[variable] = [value]
        self.effects.append(tf.group(value))
        self.tensors.append(value)

    def run(self, how: bool) -> list[np.ndarray]:
        """What two runs give, and the variables after them."""
        results = []
        with self.graph.as_default():
            session = tf.Session(interpret=how)
        session.run(self.init)
        for _ in range(2):
            values, _ = session.run((self.fetches, self.targets), self.feeds)
            results += values
        return results + session.run(list(self.last)) if self.last else results

    def run_shuffled(self) -> list[np.ndarray]:
        """The same in another order of the nodes."""
        state: dict[str, np.ndarray] = {}
        inputs = list(self.feeds.values())
        types = [tensor_type(t.shape, _element()) for t in inputs]
        results = []
        interpret(self.shuffled(Request(self.graph, [], [self.init])), [], state)
        for _ in range(2):
            feeds = list(self.feeds)
            request = Request(self.graph, self.fetches, self.targets, feeds, types)
            results += interpret(self.shuffled(request), inputs, state)
        return results + [state[v.op.name] for v in self.last]

    def shuffled(self, request: Request) -> ModuleOp:
        module = extract(request).module
        function = next(op for op in module.walk() if isinstance(op, FuncOp))
        waiting = list(function.body.block.ops)
        made = set(function.body.block.args)
        for op in waiting:
            op.detach()
        while waiting:
            ready = [op for op in waiting if all(o in made for o in op.operands)]
            ready = [op for op in ready if not isinstance(op, ReturnOp)] or ready
            op = self.random.choice(ready)
            waiting.remove(op)
            made.update(op.results)
            function.body.block.add_op(op)
        module.verify()
        return module


def _element():
    return tf.float32.element


def check(random: Random, *, compiled: bool) -> None:
    program = Program(random)
    expected = program.run(True)
    for got, wanted in zip(program.run_shuffled(), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    if compiled:
        for got, wanted in zip(program.run(False), expected, strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_every_order_gives_one_result(random: Random) -> None:
    check(random, compiled=False)


@settings(max_examples=10, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_compiled_code_agrees_with_the_interpreter(random: Random) -> None:
    check(random, compiled=True)


@pytest.mark.slow
@settings(max_examples=10000, deadline=None, suppress_health_check=QUIET)
@given(st.randoms(use_true_random=False))
def test_ten_thousand_graphs(random: Random) -> None:
    check(random, compiled=random.random() < 0.1)
