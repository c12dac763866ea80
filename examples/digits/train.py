"""A convolutional network learns scikit-learn's digits: images of 8 by 8 pixels.

    pip install 'tfc[examples]'
    python examples/digits/train.py --plot loss.png

It is written as for TensorFlow 1: variables in layers, an optimizer, a session that is fed.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import trange

import tfc as tf


def network(images, training):
    """The logits of ten classes for ``images: [n, 8, 8, 1]``."""
    h = tf.layers.conv2d(images, 32, 3, padding="same", activation=tf.nn.relu, name="conv1")
    h = tf.layers.conv2d(h, 64, 3, padding="same", activation=tf.nn.relu, name="conv2")
    h = tf.layers.max_pooling2d(h, 2, 2)
    h = tf.layers.dense(tf.layers.flatten(h), 128, tf.nn.relu, name="hidden")
    h = tf.layers.dropout(h, 0.4, training=training)
    return tf.layers.dense(h, 10, name="logits")


def build(total_steps):
    """The graph: its inputs, the training step, the loss and the number of right answers."""
    images = tf.placeholder(tf.float32, [None, 8, 8, 1], name="images")
    labels = tf.placeholder(tf.int32, [None], name="labels")
    training = tf.placeholder_with_default(tf.constant(False), [], name="training")
    logits = network(images, training)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels), tf.int32))
    count = tf.train.get_or_create_global_step()
    rate = tf.train.cosine_decay(2e-3, count, total_steps)
    step = tf.train.AdamOptimizer(rate).minimize(loss, count)
    return images, labels, training, step, loss, right


def train(epochs=15, batch=64, seed=0, progress=True):
    """Train, and give the share of right answers on images that were held out, and the losses."""
    data, target = load_digits(return_X_y=True)
    data = (data / 16.0).reshape(-1, 8, 8, 1).astype(np.float32)
    x, x_test, y, y_test = train_test_split(data, target.astype(np.int32), test_size=0.2, random_state=seed)
    steps = len(x) // batch
    tf.reset_default_graph()
    tf.set_random_seed(seed)
    images, labels, training, step, loss, right = build(epochs * steps)
    order, losses = np.random.default_rng(seed), []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        bar = trange(epochs, disable=not progress, unit="epoch")
        for _ in bar:
            shuffled = order.permutation(len(x))
            for k in range(steps):
                rows = shuffled[k * batch : (k + 1) * batch]
                feeds = {images: x[rows], labels: y[rows], training: True}
                losses.append(session.run([loss, step], feeds)[0])
            bar.set_postfix(loss=f"{np.mean(losses[-steps:]):.4f}")
        found = session.run(right, {images: x_test, labels: y_test})
    return found / len(x_test), losses


def plot(losses, path):
    """Draw the loss of each step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.semilogy(losses, linewidth=0.7, label="batch")
    smooth = np.convolve(losses, np.ones(20) / 20, mode="valid")
    axes.semilogy(np.arange(19, len(losses)), smooth, label="mean of 20")
    axes.set_xlabel("step")
    axes.set_ylabel("cross entropy")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--plot", metavar="FILE", help="write the loss as a picture (png, svg, pdf)")
    options = parser.parse_args()
    share, losses = train(options.epochs)
    print(f"{share:.2%} of the held-out digits are read correctly")
    if options.plot:
        plot(losses, options.plot)


if __name__ == "__main__":
    main()
