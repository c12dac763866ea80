"""The program of TensorFlow's white paper, with its ``...`` filled in and Python 3's print."""

from __future__ import annotations

import numpy as np
import pytest

PROGRAM = """
import tfc as tf

b = tf.Variable(tf.zeros([100]))                        # 100-d vector, init to zeroes
W = tf.Variable(tf.random_uniform([784,100],-1,1))      # 784x100 matrix w/rnd vals
x = tf.placeholder(name="x")                            # Placeholder for input
relu = tf.nn.relu(tf.matmul(W, x) + b)                  # Relu(Wx+b)
C = tf.reduce_sum(relu)                                 # Cost computed as a function of Relu

s = tf.Session(interpret=interpret)
s.run(tf.global_variables_initializer())
for step in range(0, 10):
    input = construct(step)                             # Create 100-d vector for input
    result = s.run(C, feed_dict={x: input})             # Fetch cost, feeding x=input
    print(step, result)
    results.append(result)
weights = s.run(W)
"""


@pytest.mark.parametrize("interpret", [True, False], ids=["interpreted", "compiled"])
def test_the_white_papers_program(interpret, capsys):
    import tfc as tf

    tf.reset_default_graph()
    vectors = np.random.default_rng(0).normal(size=(10, 100, 1)).astype(np.float32)
    names = {"construct": lambda step: vectors[step], "results": [], "interpret": interpret}
    exec(compile(PROGRAM, "white_paper.py", "exec"), names)
    weights = names["weights"]
    assert weights.shape == (784, 100)
    assert -1 <= weights.min() < weights.max() < 1
    wanted = [np.maximum(weights @ v + np.zeros(100, np.float32), 0).sum() for v in vectors]
    np.testing.assert_allclose(names["results"], wanted, rtol=1e-4)
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert names["s"].compilations == 3
