"""Device names, and where the operations of a graph run."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import tfc as tf
from tfc.devices import Device, join
from tfc.dialects.tfc.types import tensor_type
from tfc.graph.programs import place
from tfc.graph.specialise import Request, extract

CPU = "/job:localhost/replica:0/task:0/device:CPU:"
GPU = "/job:localhost/replica:0/task:0/device:GPU:"


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", ""),
        ("/gpu:0", "/device:GPU:0"),
        ("/GPU:1", "/device:GPU:1"),
        ("/device:gpu:2", "/device:GPU:2"),
        ("/device:CPU:*", "/device:CPU:*"),
        ("/device:CPU", "/device:CPU:*"),
        ("/job:worker/replica:0/task:3/device:GPU:1", "/job:worker/replica:0/task:3/device:GPU:1"),
        ("/cpu:0/task:1/job:ps", "/job:ps/task:1/device:CPU:0"),
        ("/job:my_job2", "/job:my_job2"),
        ("/task:*", ""),
    ],
)
def test_device_names(text, whole):
    assert str(Device.parse(text)) == whole
    assert Device.parse(str(Device.parse(text))) == Device.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu:0", "no name of a device"),
        ("/gpu", "no name of a device"),
        ("/device:GPU:x", "no name of a device"),
        ("/job:", "no name of a device"),
        ("/job:a/job:b", "two parts that say its job"),
        ("/gpu:0/cpu:0", "two parts that say its kind"),
        ("/device:GPPU:0", "did you mean 'GPU'"),
    ],
)
def test_what_is_no_device_name(text, words):
    with pytest.raises(tf.GraphError, match=words):
        Device.parse(text)


@pytest.mark.parametrize(
    ("inner", "outer", "merged"),
    [
        ("/gpu:0", "/job:worker/task:1", "/job:worker/task:1/device:GPU:0"),
        ("/cpu:0", "/gpu:1", "/device:CPU:0"),
        ("/job:a", "/job:b/gpu:1", "/job:a/device:GPU:1"),
        ("", "/gpu:1", "/device:GPU:1"),
        ("/device:GPU", "/gpu:1", "/device:GPU:1"),
        ("/device:CPU:*", "/gpu:1", "/device:CPU:*"),
    ],
)
def test_inner_names_win(inner, outer, merged):
    assert join([inner, outer]) == merged


def placed(*fetches, **config):
    """The device of each node of a run."""
    graph = tf.get_default_graph()
    tensors = [f for f in fetches if isinstance(f, tf.Tensor)]
    targets = [f for f in fetches if isinstance(f, tf.Operation)]
    inputs = [op.values()[0] for op in graph.get_operations() if op.type == "Placeholder"]
    types = [tensor_type(t.shape.as_list(), t.dtype.element) for t in inputs]
    found = extract(Request(graph, tensors, targets, inputs, types))
    place(found, tf.ConfigProto(log_device_placement=True, **config))
    devices = {}
    for op in found.module.walk():
        if (device := op.attributes.get("tfc.device")) is not None:
            devices.setdefault(op.location.desc.data, set()).add(device.data)
    return {name: where.pop() if len(where) == 1 else where for name, where in devices.items()}


def test_every_operation_gets_a_device():
    x = tf.ones([2, 3], name="x")
    with tf.device("/cpu:1"):
        y = tf.nn.relu(x + tf.ones([3], name="b"), name="y")
    found = placed(y * 2.0, device_count={"CPU": 2})
    assert (found["add"], found["y"], found["mul"]) == (CPU + "1", CPU + "1", CPU + "0")
    assert found["x"] == CPU + "1"  # beside its only user


def test_functions_place_operations():
    names = iter(["/cpu:0", "/cpu:1", "/cpu:0"])
    with tf.device(lambda op: next(names)):
        a, b = tf.constant(1.0, name="a"), tf.constant(2.0, name="b")
        c = tf.add(a, b, name="c")
    assert placed(c, device_count={"CPU": 2}) == {"a": CPU + "0", "b": CPU + "1", "c": CPU + "0"}


def test_a_variable_keeps_its_users():
    with tf.device("/cpu:1"):
        v = tf.Variable(1.0, name="v")
    found = placed(v.assign_add(1.0), device_count={"CPU": 2})
    assert found["v"] == found["AssignAdd"] == CPU + "1"


def test_colocation_follows_its_target():
    with tf.device("/cpu:1"):
        a = tf.constant([1.0, 2.0], name="a")
    with tf.colocate_with(a):
        b = tf.exp(tf.ones([2], name="one"), name="b")
    with tf.colocate_with(b):
        c = tf.negative(b, name="c")
    assert placed(a + c, device_count={"CPU": 2})["c"] == CPU + "1"


def test_what_touches_a_variable_ignores_the_scopes_around():
    with tf.device("/cpu:1"):
        v = tf.Variable(1.0, name="v")
    with tf.device("/cpu:0"):
        step = v.assign_add(1.0, name="step")
    assert placed(step, device_count={"CPU": 2})["step"] == CPU + "1"


def test_a_conflict_names_both_lines():
    v = tf.constant([1.0, 2.0], name="v")
    with tf.colocate_with(v), tf.device("/cpu:1"):
        one = tf.negative(v, name="one")
    with tf.colocate_with(v), tf.device("/cpu:0"):
        two = tf.exp(v, name="two")
    with pytest.raises(tf.GraphError) as caught:
        placed(one, two, device_count={"CPU": 2})
    text = str(caught.value)
    assert "'one' (tfc.neg) wants /device:CPU:1" in text
    assert "'two' (tfc.exp) wants /device:CPU:0" in text
    assert "'one' (tfc.neg) and 'v' (tfc.constant) are tied by the label loc:@v" in text
    assert text.count("test_place.py:") >= 3


def test_a_missing_device_is_an_error_or_a_soft_fallback(caplog):
    with tf.device("/device:GPU:1"):
        x = tf.constant(1.0, name="x")
    y = x + 1.0
    with pytest.raises(tf.GraphError, match=r"test_place.py:\d+ \(x\): error: 'x' .* there is no such device; there are"):
        tf.Session(interpret=True).run(y)
    with caplog.at_level(logging.WARNING, "tfc.place"):
        session = tf.Session(interpret=True, config=tf.ConfigProto(allow_soft_placement=True))
        assert session.run(y) == 2
    assert "'x' (tfc.constant) cannot run on /device:GPU:1" in caplog.text
    assert f"it runs on {CPU}0" in caplog.text


def test_other_jobs_are_not_here():
    with tf.device("/job:ps/task:0"):
        x = tf.constant(1.0, name="x")
    with pytest.raises(tf.GraphError, match="cannot run on /job:ps/task:0"):
        placed(x)


def test_virtual_gpus_take_what_they_can_run():
    with tf.device("/gpu:1"):
        x = tf.exp(tf.ones([2]), name="x")
    assert placed(x, device_count={"GPU": 2})["x"] == GPU + "1"


def test_explanations_are_logged(caplog):
    with tf.device("/cpu:0"):
        x = tf.constant(1.0, name="x")
    with caplog.at_level(logging.INFO, "tfc.place"):
        placed(x)
    assert f"'x' (tfc.constant): {CPU}0 (wants /device:CPU:0)" in caplog.text


def split_training(*devices):
    """A step of training whose layers and variables are on ``devices``, in turn; the losses of three steps."""
    tf.reset_default_graph()
    rng = np.random.default_rng(3)
    x = tf.placeholder(tf.float32, [5, 8], name="x")
    with tf.device(devices[0]):
        v = tf.Variable(rng.normal(size=(8, 6)).astype(np.float32))
    with tf.device(devices[1]):
        h = tf.tanh(tf.matmul(x, v))
        w = tf.Variable(rng.normal(size=(6, 2)).astype(np.float32))
    with tf.device(devices[2]):
        loss = tf.reduce_mean(tf.square(tf.matmul(h, w)))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    session = tf.Session(config=tf.ConfigProto(device_count={"CPU": 3}))
    session.run(tf.global_variables_initializer())
    fed = {x: rng.normal(size=(5, 8)).astype(np.float32)}
    return [session.run([loss, step], fed)[0] for _ in range(3)] + [session.run(v)]


def test_a_training_on_three_devices_is_that_on_one():
    for one, three in zip(split_training(*["/cpu:0"] * 3), split_training("/cpu:1", "/cpu:0", "/cpu:2"), strict=True):
        np.testing.assert_allclose(three, one, rtol=1e-6)


def test_values_lose_bits_on_their_way_only_where_they_may():
    x = tf.placeholder(tf.float32, [None])
    with tf.device("/cpu:1"):
        y = tf.negative(x)
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38, -1.17e-38]
    values = np.concatenate([np.random.default_rng(0).normal(size=4000), special]).astype(np.float32)
    exact = tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})).run(y, {x: values})
    np.testing.assert_array_equal(exact, -values)
    lossy = tf.Session(config=tf.ConfigProto(device_count={"CPU": 2}, lossy_transfers=True)).run(y, {x: values})
    cut = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    np.testing.assert_array_equal(lossy.view(np.uint32), (-cut).view(np.uint32))
    normal = np.isfinite(values) & (np.abs(values) > 1e-37)
    with np.errstate(all="ignore"):
        error = np.abs(lossy + values)
    assert np.all(error[normal] < 2.0**-7 * np.abs(values)[normal])


def test_towers_on_many_devices_share_variables():
    rng = np.random.default_rng(1)
    data = rng.normal(size=(8, 5)).astype(np.float32)
    with tf.device("/cpu:0"):
        w = tf.Variable(rng.normal(size=(5, 3)).astype(np.float32))
    optimizer, x = tf.train.GradientDescentOptimizer(0.1), tf.placeholder(tf.float32, [8, 5])
    towers = []
    for k, part in enumerate(tf.split(x, 4)):
        with tf.device(f"/cpu:{k + 1}"):
            loss = tf.reduce_sum(tf.square(tf.matmul(part, w)))
            towers.append(optimizer.compute_gradients(loss, [w])[0][0])
    step = optimizer.apply_gradients([(tf.add_n(towers), w)])
    session = tf.Session(config=tf.ConfigProto(device_count={"CPU": 5}))
    session.run(w.initializer)
    before = session.run(w)
    session.run(step, {x: data})
    np.testing.assert_allclose(session.run(w), before - 0.2 * data.T @ data @ before, rtol=1e-5, atol=1e-5)
    found = placed(step, device_count={"CPU": 5})
    assert {f"{CPU}{k}" for k in range(5)} <= {d for v in found.values() for d in ([v] if isinstance(v, str) else v)}
