"""A training step as an artifact: initial values, steps, checkpoints from C, the same as in Python."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tfc as tf
from tfc.checkpoint.bundle import Bundle, data_file, shard_count, write_bundle

EXAMPLE = Path(__file__).parents[2] / "examples" / "c"
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-D_POSIX_C_SOURCE=200809L"]

DRIVER = r"""
#include <stdio.h>
#include <string.h>
#include "net.h"

/* Words: step, init, save PATH, restore PATH; "loop PATH" steps and saves for ever. */
int main(int argc, char **argv)
{
    static float x[net_x_ELEMENTS];
    float loss = 0.0f;
    net_model *model = NULL;
    net_args args = {0};
    if (net_create(&model, 0))
        return 1;
    for (int i = 0; i < (int)net_x_ELEMENTS; i++)
        x[i] = (float)(i % 7) - 3.0f;
    args.x = x;
    args.loss = &loss;
    for (int i = 1; i < argc; i++) {
        int error = 0;
        if (!strcmp(argv[i], "step"))
            error = net_step(model, &args);
        else if (!strcmp(argv[i], "init"))
            error = net_init(model);
        else if (!strcmp(argv[i], "save"))
            error = net_save(model, argv[++i]);
        else if (!strcmp(argv[i], "restore"))
            error = net_restore(model, argv[++i]);
        else
            for (;;) {
                net_step(model, &args);
                if (net_save(model, argv[i + 1]))
                    return 2;
                printf("%d\n", *net_variable_count(model));
                fflush(stdout);
            }
        printf("%d %.9g\n", error, (double)loss);
    }
    net_destroy(model);
    return 0;
}
"""


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def network() -> tuple[tf.Tensor, list[object], dict[str, tf.Variable]]:
    """Every step moves w by what x says, and counts."""
    tf.set_random_seed(3)
    x = tf.placeholder(tf.float32, [50, 40], name="x")
    w = tf.get_variable("layer/w", [40, 5])
    half = tf.Variable(np.array([1.5, -0.0, np.inf], np.float16), name="half")
    nothing = tf.Variable(np.zeros((0, 3), np.float32), name="nothing")
    count = tf.Variable(0, name="count")
    y = tf.matmul(x, w)
    loss = tf.reduce_mean(tf.square(y), name="loss")
    gradient = tf.matmul(x, y * (2.0 / 250.0), transpose_a=True)
    noise = tf.random_uniform([40, 5], seed=1) * 1e-3
    step = tf.group(w.assign_sub(0.1 * (gradient + noise)), half.assign(half * 1), nothing.assign(nothing * 1.0), count.assign_add(1))
    return x, [loss, step], {v.op.name: v for v in (w, half, nothing, count)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artifact and the driver; and the losses of Python."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("net")
    tf.reset_default_graph()
    x, fetches, _ = network()
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    tf.compile(fetches, [x], name="net", session=session).save(folder / "net.o")
    data = (np.arange(2000) % 7 - 3).astype(np.float32).reshape(50, 40)
    losses = [session.run(fetches, {x: data})[0] for _ in range(4)]
    np.save(folder / "losses.npy", np.array(losses))
    (folder / "driver.c").write_text(DRIVER)
    command = ["cc", *FLAGS, "driver.c", "net.o", "-o", "driver", "-lm", "-lpthread"]
    subprocess.run(command, check=True, cwd=folder)
    return folder


def drive(folder: Path, *words: object) -> list[tuple[int, float]]:
    out = subprocess.run([folder / "driver", *map(str, words)], capture_output=True, text=True, check=True, timeout=60)
    rows = (line.split() for line in out.stdout.splitlines())
    return [(int(code), float(loss)) for code, loss in rows]


def test_c_and_python_have_the_same_losses(built: Path) -> None:
    wanted = np.load(built / "losses.npy")
    got = drive(built, "step", "step", "init", "step", "step", "step", "step")
    assert [code for code, _ in got] == [0] * 7
    np.testing.assert_array_equal(np.float32([loss for _, loss in got[:2]]), wanted[:2])
    assert got[3][1] == got[0][1]


def test_a_checkpoint_from_c(built: Path, tmp_path: Path) -> None:
    """Python's saver reads it, and the training goes on as if nothing had been."""
    path = tmp_path / "ck"
    plain = drive(built, "step", "step", "step", "step")
    saved = drive(built, "step", "step", "save", path, "step", "init", "restore", path, "step")
    assert saved[2][0] == saved[5][0] == 0
    assert saved[3][1] == plain[2][1]
    # The random stream is no part of a checkpoint; the loss is of before the noise.
    assert saved[6][1] == plain[2][1]
    _, _, variables = network()
    session = tf.Session()
    tf.train.Saver(variables).restore(session, path)
    assert session.run(variables["count"]) == 2
    assert session.run(variables["half"]).view(np.uint16).tolist() == np.array([1.5, -0.0, np.inf], np.float16).view(np.uint16).tolist()
    assert set(Bundle(str(path)).names) == {"count", "half", "layer/w", "nothing"}


def test_a_checkpoint_from_python(built: Path, tmp_path: Path) -> None:
    _, _, variables = network()
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    session.run(variables["count"].assign(41))
    path = tf.train.Saver(variables).save(session, tmp_path / "ck")
    again = tmp_path / "again"
    rows = drive(built, "restore", path, "step", "save", again)
    assert [code for code, _ in rows] == [0, 0, 0]
    assert tf.train.load_variable(again, "count") == 42
    loaded = tf.compile(variables["count"].assign_add(1), session=session)
    loaded.restore_variables(again)
    assert int(loaded()) == 43


def test_checkpoints_that_do_not_fit(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "ck"
    drive(built, "save", path)
    start = drive(built, "step")[0][1]

    def code(where: object = path) -> int:
        (error, _), (_, loss) = drive(built, "restore", where, "step")
        assert error == 0 or loss == start  # nothing has changed
        return error

    assert code() == 0
    assert code(tmp_path / "nowhere") == -10
    assert drive(built, "save", tmp_path / "no" / "where")[0][0] == -10
    bundle = Bundle(str(path))
    values = {n: bundle.read(n) for n in bundle.names}
    write_bundle(tmp_path / "other", values | {"more": np.zeros(2)})
    write_bundle(tmp_path / "shape", values | {"layer/w": np.zeros((5, 40), np.float32)})
    assert code(tmp_path / "other") == code(tmp_path / "shape") == -11
    chance = random.Random(0)
    data, index = Path(data_file(str(path), 0, 1)), tmp_path / "ck.index"
    for file, wanted in ((data, -12), (index, -11)):
        good = file.read_bytes()
        for _ in range(8):
            bad = bytearray(good)
            bad[chance.randrange(len(bad) if file is data else len(bad) - 48)] ^= 1 << chance.randrange(8)
            file.write_bytes(bad)
            assert code() in (wanted, -10)  # a bit of the number of data files names another file
        file.write_bytes(good[:-1])
        assert code() == wanted
        file.write_bytes(good)
    assert code() == 0


def test_a_kill_leaves_a_whole_checkpoint(built: Path, tmp_path: Path) -> None:
    path, chance = tmp_path / "ck", random.Random(2)
    for _ in range(8):
        child = subprocess.Popen([built / "driver", "loop", path], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        promised = [int(line) for line in child.stdout.read().split() if line]
        child.stdout.close()
        child.wait()
        assert shard_count(str(path))
        bundle = Bundle(str(path))
        assert all(bundle.read(n) is not None for n in bundle.names)
        assert bundle.read("count") >= max(promised, default=1)
    assert drive(built, "restore", path, "save", path)[0][0] == 0
    assert len(list(tmp_path.iterdir())) <= 3


def test_the_example_trains(tmp_path: Path) -> None:
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    subprocess.run([sys.executable, EXAMPLE / "make_training.py", tmp_path], check=True)
    command = ["cc", *FLAGS, EXAMPLE / "train.c", f"-I{tmp_path}", tmp_path / "train.o", "-o", tmp_path / "train"]
    subprocess.run([*command, "-lm", "-lpthread"], check=True)
    done = subprocess.run([tmp_path / "train"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "as in Python" in done.stdout


# In Python


def test_a_model_begins_with_initial_values() -> None:
    """Those of the session, or what the initializers give, also where one variable begins with another."""
    a = tf.Variable([1.0, 2.0], name="a")
    b = tf.Variable(a * 10.0, name="b")
    step = [a.assign_add([1.0, 1.0]), b.assign_sub([1.0, 1.0])]
    alone = tf.compile(step)
    assert [v.tolist() for v in alone()] == [[2, 3], [9, 19]]
    session = tf.Session()
    a.load([5.0, 5.0], session)
    known = tf.compile(step, session=session)
    assert [v.tolist() for v in known()] == [[6, 6], [9, 19]]
    known.initialize()
    assert known.variables["a"].tolist() == [5, 5]


def test_a_loaded_model_begins_with_them_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(30, 7))
    v = tf.Variable(start, name="v", dtype=tf.float64)
    model = tf.compile(v.assign_add(np.ones((30, 7))))
    model.save(tmp_path / "m.so")
    loaded = tf.load(tmp_path / "m.so")
    np.testing.assert_array_equal(loaded(), start + 1)
    loaded.save_variables(tmp_path / "ck")
    np.testing.assert_array_equal(loaded(), start + 1 + 1)
    loaded.restore_variables(tmp_path / "ck")
    np.testing.assert_array_equal(loaded.variables["v"], start + 1)
    loaded.initialize()
    np.testing.assert_array_equal(loaded.variables["v"], start)
    write_bundle(tmp_path / "ck", {"v": np.zeros((3, 7))})
    with pytest.raises(tf.CheckpointError, match=r"'v' is float64\[30, 7\], and float64\[3, 7\] in the checkpoint"):
        loaded.restore_variables(tmp_path / "ck")


def test_initial_values_are_part_of_the_text(tmp_path: Path) -> None:
    from tfc.dialects import context
    from tfc.graph.specialise import specialise
    from tfc.modulefile import read_module, write_module

    v = tf.Variable(np.arange(100.0), name="v", dtype=tf.float64)
    module = specialise([v.assign_add(np.ones(100))])
    write_module(module, tmp_path / "m.mlir")
    again = read_module((tmp_path / "m.mlir").read_text(), str(tmp_path / "m.mlir"), context())
    assert tf.compile(again)().tolist() == (np.arange(100.0) + 1).tolist()
