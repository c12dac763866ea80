"""``tf.layers``: names, shapes and values of layers, and what batch normalization keeps up to date."""

from __future__ import annotations

import numpy as np
import pytest

import tfc as tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def started():
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def names():
    return [v.name for v in tf.global_variables()]


def test_layers_are_named_and_share_variables_as_scopes_say():
    x = tf.ones([2, 3])
    tf.layers.dense(x, 4)
    tf.layers.dense(x, 4, name="head")
    tf.layers.dense(x, 4, use_bias=False)
    assert names() == ["dense/kernel:0", "dense/bias:0", "head/kernel:0", "head/bias:0", "dense_1/kernel:0"]
    with pytest.raises(tf.GraphError, match="Variable head/kernel already exists"):
        tf.layers.dense(x, 4, name="head")
    tf.layers.dense(x, 4, name="head", reuse=True)
    layer = tf.layers.Dense(5, tf.nn.relu, kernel_initializer=tf.ones_initializer())
    one, two = layer(x), layer(x * 2)
    assert (len(names()), layer.trainable_variables) == (7, [layer.kernel, layer.bias])
    assert [v.tolist() for v in started().run([one, two])] == [[[3] * 5] * 2, [[6] * 5] * 2]


def test_dense_of_more_dims():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    layer = tf.layers.Dense(5, bias_initializer=tf.constant_initializer(2.0))
    y = layer(tf.constant(x))
    found, kernel = started().run([y, layer.kernel])
    np.testing.assert_allclose(found, x @ kernel + 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_convolutions_and_windows_have_their_shapes(data_format):
    first = data_format == "channels_first"

    def shaped(*extents):
        return [extents[0], extents[-1], *extents[1:-1]] if first else list(extents)

    x = tf.ones(shaped(2, 9, 7, 3))
    options = {"data_format": data_format}
    layers = tf.layers
    assert layers.conv2d(x, 4, 3, **options).shape == shaped(2, 7, 5, 4)
    assert layers.conv2d(x, 4, (3, 2), 2, "same", dilation_rate=1, **options).shape == shaped(2, 5, 4, 4)
    assert layers.separable_conv2d(x, 4, 3, depth_multiplier=2, **options).shape == shaped(2, 7, 5, 4)
    assert layers.conv2d_transpose(x, 4, 3, 2, **options).shape == shaped(2, 19, 15, 4)
    assert layers.conv2d_transpose(x, 4, 3, 2, "same", **options).shape == shaped(2, 18, 14, 4)
    assert layers.max_pooling2d(x, 2, 2, **options).shape == shaped(2, 4, 3, 3)
    assert layers.average_pooling2d(x, (2, 3), 2, "same", **options).shape == shaped(2, 5, 4, 3)
    assert layers.conv1d(tf.ones(shaped(2, 9, 3)), 4, 3, **options).shape == shaped(2, 7, 4)
    assert layers.flatten(x).shape == [2, 189]
    assert [v.shape.as_list() for v in tf.global_variables()[:4]] == [[3, 3, 3, 4], [4], [3, 2, 3, 4], [4]]
    started().run([layers.max_pooling1d(tf.ones(shaped(2, 9, 3)), 2, 2, **options), layers.conv2d(x, 4, 3, name="conv2d", reuse=True, **options)])


def test_a_convolution_is_that_of_its_kernel():
    x = tf.constant(np.random.default_rng(1).normal(size=(1, 5, 5, 2)).astype(np.float32))
    layer = tf.layers.Conv2D(3, 3, padding="same", activation=tf.nn.relu, kernel_regularizer=tf.nn.l2_loss)
    made = layer(x)
    wanted = tf.nn.relu(tf.nn.conv2d(x, layer.kernel, 1, "SAME") + layer.bias)
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    a, b, c, k = started().run([made, wanted, loss, layer.kernel])
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(c, np.sum(k * k) / 2, rtol=1e-6)


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("shape", [(8, 3), (4, 2, 2, 3)])
def test_batch_normalization_learns_mean_and_variance(shape, fed):
    rng = np.random.default_rng(2)
    x, flag = tf.placeholder(tf.float32, shape), tf.placeholder(tf.bool, [])
    layer = tf.layers.BatchNormalization(momentum=0.9)
    train = layer(x, training=flag if fed else True)
    infer = train if fed else layer(x, training=False)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert names() == [f"batch_normalization/{n}:0" for n in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert [v.trainable for v in layer.variables] == [True, True, False, False]
    session = started()
    mean, variance, axes = np.zeros(3), np.ones(3), tuple(range(len(shape) - 1))
    for _ in range(3):
        value = rng.normal(2.0, 3.0, shape).astype(np.float32)
        found = session.run([train, *updates], {x: value, flag: True} if fed else {x: value})[0]
        wanted = (value - value.mean(axes)) / np.sqrt(value.var(axes) + 1e-3)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        mean = 0.9 * mean + 0.1 * value.mean(axes)
        # Of images the variance of all is guessed, as TensorFlow's kernel does.
        variance = 0.9 * variance + 0.1 * value.var(axes, ddof=int(len(shape) == 4))
    np.testing.assert_allclose(session.run(layer.variables[2]), mean, rtol=1e-5)
    np.testing.assert_allclose(session.run(layer.variables[3]), variance, rtol=1e-5)
    found = session.run([infer, *updates] if fed else [infer], {x: value, flag: False} if fed else {x: value})[0]
    np.testing.assert_allclose(found, (value - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(session.run(layer.variables[2]), mean, rtol=1e-5)


def test_dropout_only_when_training():
    x, flag = tf.ones([1000]), tf.placeholder(tf.bool, [])
    off, on, fed = tf.layers.dropout(x), tf.layers.dropout(x, 0.4, training=True), tf.layers.dropout(x, 0.4, training=flag)
    session = tf.Session()
    assert off is x
    assert 0.3 < np.mean(session.run(on) == 0) < 0.5
    assert 0.3 < np.mean(session.run(fed, {flag: True}) == 0) < 0.5
    assert session.run(fed, {flag: False}).min() == 1


def test_misuse_is_told():
    with pytest.raises(tf.GraphError, match="expected units of at least 1, got 0"):
        tf.layers.dense(tf.ones([2, 3]), 0)
    with pytest.raises(tf.GraphError, match="known extent along axis -1"):
        tf.layers.dense(tf.placeholder(tf.float32, [2, None]), 3)
    with pytest.raises(tf.GraphError, match="'conv2d': expected inputs of rank 4"):
        tf.layers.conv2d(tf.ones([2, 3]), 3, 3)
    with pytest.raises(tf.GraphError, match="the padding 'same' or 'valid'"):
        tf.layers.conv2d(tf.ones([2, 5, 5, 3]), 3, 3, padding="full")
    with pytest.raises(tf.GraphError, match="renorm is not supported"):
        tf.layers.batch_normalization(tf.ones([2, 3]), renorm=True)
