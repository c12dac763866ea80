"""A small transformer learns to write like a text, letter by letter.

    pip install 'tfc[examples]'
    python examples/text/train.py --text docs/architecture.md --steps 600

The model predicts each letter from those before it; afterwards it is asked for some letters more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import trange

import tfc as tf

TEXT = Path(__file__).parents[2] / "docs" / "architecture.md"
LENGTH, WIDTH, HEADS, LAYERS = 64, 64, 4, 2


def norm(x, name):
    """Layer normalization along the last dim."""
    with tf.variable_scope(name):
        mean, variance = tf.nn.moments(x, [-1], keep_dims=True)
        gain = tf.get_variable("gain", [WIDTH], initializer=tf.ones_initializer())
        shift = tf.get_variable("shift", [WIDTH], initializer=tf.zeros_initializer())
        return (x - mean) * tf.rsqrt(variance + 1e-5) * gain + shift


def attention(x, batch):
    """Each letter looks at those before it; ``x: [batch * LENGTH, WIDTH]``."""

    def heads(part):
        parts = tf.reshape(part, [batch, LENGTH, HEADS, WIDTH // HEADS])
        return tf.transpose(parts, [0, 2, 1, 3])

    q, k, v = (heads(t) for t in tf.split(tf.layers.dense(x, 3 * WIDTH, name="qkv"), 3, axis=1))
    scores = tf.matmul(q, k, transpose_b=True) / np.sqrt(WIDTH // HEADS).astype(np.float32)
    later = np.triu(np.full((LENGTH, LENGTH), -1e9, np.float32), 1)
    mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores + later), v), [0, 2, 1, 3])
    return tf.layers.dense(tf.reshape(mixed, [batch * LENGTH, WIDTH]), WIDTH, name="mix")


def model(letters, batch, alphabet):
    """The logits of the next letter, ``[batch * LENGTH, alphabet]``, for ``letters: [batch, LENGTH]``."""
    small = tf.random_normal_initializer(stddev=0.1)
    table = tf.get_variable("letters", [alphabet, WIDTH], initializer=small)
    places = tf.get_variable("places", [LENGTH, WIDTH], initializer=small)
    x = tf.reshape(tf.gather(table, letters) + places, [batch * LENGTH, WIDTH])
    for k in range(LAYERS):
        with tf.variable_scope(f"layer{k}"):
            x = x + attention(norm(x, "before"), batch)
            h = tf.layers.dense(norm(x, "between"), 4 * WIDTH, tf.nn.gelu, name="wide")
            x = x + tf.layers.dense(h, WIDTH, name="narrow")
    return tf.layers.dense(norm(x, "after"), alphabet, name="logits")


def train(text, steps=600, batch=16, seed=0, progress=True):
    """Train on ``text``; gives the losses, and a function that continues a beginning."""
    alphabet = sorted(set(text))
    numbers = {c: k for k, c in enumerate(alphabet)}
    data = np.array([numbers[c] for c in text], np.int32)
    tf.reset_default_graph()
    tf.set_random_seed(seed)
    letters = tf.placeholder(tf.int32, [batch, LENGTH])
    following = tf.placeholder(tf.int32, [batch, LENGTH])
    with tf.variable_scope("model"):
        logits = model(letters, batch, len(alphabet))
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.reshape(following, [-1]), logits=logits)
    )
    count = tf.train.get_or_create_global_step()
    optimizer = tf.train.AdamOptimizer(tf.train.cosine_decay(3e-3, count, steps, 0.05))
    grads, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    grads, _ = tf.clip_by_global_norm(grads, 1.0)
    step = optimizer.apply_gradients(zip(grads, variables, strict=True), count)

    one = tf.placeholder(tf.int32, [1, LENGTH])
    at = tf.placeholder(tf.int32, [])
    with tf.variable_scope("model", reuse=True):
        guess = model(one, 1, len(alphabet))
    drawn = tf.multinomial(tf.expand_dims(tf.gather(guess, at), 0) * 1.5, 1)

    session = tf.Session()
    session.run(tf.global_variables_initializer())
    rng, losses = np.random.default_rng(seed), []
    bar = trange(steps, disable=not progress)
    for _ in bar:
        starts = rng.integers(0, len(data) - LENGTH - 1, batch)
        rows = np.stack([data[s : s + LENGTH + 1] for s in starts])
        losses.append(session.run([loss, step], {letters: rows[:, :-1], following: rows[:, 1:]})[0])
        bar.set_postfix(loss=f"{losses[-1]:.3f}")

    def write(beginning, more):
        written = [numbers[c] for c in beginning if c in numbers]
        for _ in range(more):
            last = np.zeros((1, LENGTH), np.int32)
            seen = written[-LENGTH:]
            last[0, : len(seen)] = seen
            written.append(int(session.run(drawn, {one: last, at: len(seen) - 1})[0, 0]))
        return "".join(alphabet[k] for k in written)

    return losses, write


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    losses, write = train(options.text.read_text(encoding="utf-8"), options.steps)
    print(f"loss {np.mean(losses[:5]):.2f} at first, {np.mean(losses[-20:]):.2f} at last\n")
    print(write("A kernel ", 300))


if __name__ == "__main__":
    main()
