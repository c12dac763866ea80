"""Checkpoints: the files of TensorFlow, both ways; nothing lost when a process is killed or a file damaged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfc as tf
from tfc.checkpoint.bundle import DTYPES, Bundle, Parts, data_file, shard_count, write_bundle
from tfc.checkpoint.crc import crc32c, masked, unmasked
from tfc.checkpoint.table import read_table, table_bytes, unsnapped

GOLDEN = Path(__file__).parents[1] / "data" / "bundle" / "all"
"""Written by TensorFlow 2.21's Saver: every dtype, a scalar, nothing, a variable in two parts."""


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def dtype_named(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


# Files


def test_the_checksum_of_castagnoli():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20), st.integers(0, 2**32 - 1))
def test_checksums_go_on_where_they_stopped(size: int, cut: int, seed: int):
    data = np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()
    cut = min(cut, size)
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)
    assert unmasked(masked(seed)) == seed


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=300), max_size=60))
def test_tables_are_read_as_written(entries: dict[bytes, bytes]):
    assert list(read_table(table_bytes(entries), "t").items()) == sorted(entries.items())


def test_a_table_of_many_blocks():
    entries = {f"key{k:05d}".encode(): bytes([k % 256]) * 1000 for k in range(2000)}
    assert read_table(table_bytes(entries), "t") == entries


def test_snappy():
    literal = bytes([5, 4 << 2]) + b"abcde"
    assert unsnapped(literal) == b"abcde"
    # "ab", then 10 bytes from 2 back in the short form and the long ones.
    assert unsnapped(bytes([12, 1 << 2]) + b"ab" + bytes([(10 - 4) << 2 | 1, 2])) == b"ab" * 6
    assert unsnapped(bytes([12, 1 << 2]) + b"ab" + bytes([9 << 2 | 2, 2, 0])) == b"ab" * 6
    assert unsnapped(bytes([12, 1 << 2]) + b"ab" + bytes([9 << 2 | 3, 2, 0, 0, 0])) == b"ab" * 6
    with pytest.raises(ValueError, match="before the beginning"):
        unsnapped(bytes([12, 1 << 2]) + b"ab" + bytes([9 << 2 | 2, 9, 0]))


def test_what_tensorflow_wrote():
    bundle = Bundle(str(GOLDEN))
    names = {bundle.dtype(n).name for n in bundle.names}
    assert names >= {*DTYPES} - {"complex128"}
    assert bundle.read("scalar") == np.float32(3.5)
    assert bundle.read("empty").shape == (0, 4)
    assert bundle.read("part").tolist() == np.arange(20.0).reshape(5, 4).tolist()
    assert [bundle.read(f"many/v{k:02d}").tolist() for k in range(40)] == [[k] * (k % 5 + 1) for k in range(40)]


def test_what_is_written_is_what_tensorflow_wrote(tmp_path: Path):
    """The same files, byte for byte."""
    bundle = Bundle(str(GOLDEN))
    part = bundle.read("part")
    parts = Parts((5, 4), [((0, 0), part[:3]), ((3, 0), part[3:])])
    write_bundle(tmp_path / "all", {n: parts if n == "part" else bundle.read(n) for n in bundle.names})
    for file in ("all.index", "all.data-00000-of-00001"):
        assert (tmp_path / file).read_bytes() == GOLDEN.with_name(file).read_bytes()


def test_every_dtype_and_special_values(tmp_path: Path):
    specials = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-40])
    tensors = {n: specials.astype(dtype_named(n)) for n in DTYPES if dtype_named(n).kind in "fcV"}
    tensors |= {n: np.array([0, 1, 3]).astype(n) for n in DTYPES if dtype_named(n).kind in "biu"}
    tensors |= {"": np.float32([]), "a/ü": np.zeros((0, 3), np.int8), "scalar": np.array(2.0)}
    del tensors[""]
    write_bundle(tmp_path / "b", tensors)
    bundle = Bundle(str(tmp_path / "b"))
    for name, array in tensors.items():
        assert bundle.read(name).tobytes() == array.tobytes()
        assert bundle.read(name).dtype == array.dtype
    with pytest.raises(tf.CheckpointError, match="'x' is <U1, which checkpoints do not have"):
        write_bundle(tmp_path / "c", {"x": np.array(["a"])})


def test_several_data_files(tmp_path: Path):
    """What a sharded saver writes: entries that lie in other files."""
    write_bundle(tmp_path / "b", {"v": np.arange(3), "w": np.ones(4)})
    index = tmp_path / "b.index"
    table = read_table(index.read_bytes(), "b")
    (tmp_path / "b.data-00000-of-00001").rename(tmp_path / "b.data-00001-of-00003")
    from tfc.checkpoint.wire import fields, number

    moved = {k: v if not k else number(3, 1) + v for k, v in table.items()}
    moved[b""] = number(1, 3) + b"".join(number(k, v) for k, v in fields(table[b""]) if k == 2)
    index.write_bytes(table_bytes(moved))
    bundle = Bundle(str(tmp_path / "b"))
    assert bundle.read("v").tolist() == [0, 1, 2]
    assert bundle.read("w").tolist() == [1] * 4


# Damage


@pytest.fixture
def saved(tmp_path: Path) -> str:
    prefix = str(tmp_path / "b")
    write_bundle(prefix, {"v": np.arange(100.0), "w": np.ones((3, 4), np.float32)})
    return prefix


def everything(prefix: str) -> dict[str, np.ndarray]:
    bundle = Bundle(prefix)
    return {n: bundle.read(n) for n in bundle.names}


def test_every_flipped_bit_is_found(saved: str):
    chance = random.Random(0)
    for file in (f"{saved}.index", data_file(saved, 0, 1)):
        good = Path(file).read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            place = chance.randrange(len(bad))
            bad[place] ^= 1 << chance.randrange(8)
            Path(file).write_bytes(bad)
            try:
                found = everything(saved)
            except tf.CheckpointError:
                continue
            # What no checksum covers: the unused end of the footer.
            assert file.endswith(".index")
            assert place >= len(good) - 48
            assert found["v"].tolist() == list(range(100))
        Path(file).write_bytes(good)


def test_every_cut_is_found(saved: str):
    for file in (f"{saved}.index", data_file(saved, 0, 1)):
        good = Path(file).read_bytes()
        for size in {0, 1, 47, 48, len(good) // 2, len(good) - 1}:
            Path(file).write_bytes(good[:size])
            with pytest.raises(tf.CheckpointError, match=r"cut off|damaged|not end") as caught:
                everything(saved)
            assert saved in str(caught.value)
        Path(file).write_bytes(good)
    os.remove(data_file(saved, 0, 1))
    with pytest.raises(tf.CheckpointError, match="No such file"):
        Bundle(saved).read("v")


KILLED = """
import sys, numpy as np
from tfc.checkpoint.bundle import write_bundle
k = int(sys.argv[2])
print(flush=True)
while True:
    k += 1
    write_bundle(sys.argv[1], {"a": np.full(200_000, k), "b": np.full(3, k)})
    print(k, flush=True)
"""


def test_a_kill_leaves_a_whole_checkpoint(tmp_path: Path):
    """The same name again and again, killed at any moment: what is there is whole and not older than promised."""
    prefix, chance, last = str(tmp_path / "net"), random.Random(1), 0
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", KILLED, prefix, str(last)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.12))
        child.send_signal(signal.SIGKILL)
        promised = [int(line) for line in child.stdout.read().split()]
        child.stdout.close()
        child.wait()
        if not shard_count(prefix):
            assert not promised
            continue
        bundle = Bundle(prefix)
        a, b = bundle.read("a"), bundle.read("b")
        assert (a == a[0]).all()
        assert b.tolist() == [a[0]] * 3
        assert a[0] >= max(promised, default=last)
        last = int(a[0])
    assert last > 0
    write_bundle(prefix, {"a": np.zeros(3)})
    assert len(list(tmp_path.iterdir())) <= 3  # an index, its data; what a kill left is overwritten or taken away


SAVER = """
import sys, tfc as tf
v = tf.Variable(tf.zeros([50_000], tf.int32), name="v")
step = tf.Variable(0, name="step")
train = tf.group(v.assign_add(tf.ones([50_000], tf.int32)), step.assign_add(1))
session, saver = tf.Session(), tf.train.Saver(max_to_keep=2)
session.run(tf.global_variables_initializer())
if (path := tf.train.latest_checkpoint(sys.argv[1])):
    saver.restore(session, path)
    saver.recover_last_checkpoints(tf.train.get_checkpoint_state(sys.argv[1]).all_model_checkpoint_paths)
session.run(train)
print(flush=True)
while True:
    session.run(train)
    saver.save(session, sys.argv[1] + "/net", global_step=step)
    print(session.run(step), flush=True)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on(tmp_path: Path):
    """Whatever moment it is: the state file names a checkpoint that is whole, and at least the last promised one."""
    chance, last = random.Random(3), 0
    for _ in range(15):
        child = subprocess.Popen([sys.executable, "-c", SAVER, tmp_path], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
        promised = [int(line) for line in child.stdout.read().split()]
        child.stdout.close()
        child.wait()
        if (path := tf.train.latest_checkpoint(tmp_path)) is None:
            assert not promised
            continue
        reader = tf.train.load_checkpoint(path)
        step = int(reader.get_tensor("step"))
        assert set(reader.get_tensor("v").tolist()) == {step}
        assert step >= max(promised, default=last)
        last = step
    assert last > 10  # a kill may leave a checkpoint that no state file knows; it never takes a known one


# The saver


def make(**config) -> tuple[tf.Session, list[tf.Variable]]:
    v = tf.Variable(tf.ones([2, 3]), name="layer/v")
    w = tf.Variable([1, 2], name="layer/w")
    step = tf.Variable(0, name="step")
    session = tf.Session(**config)
    session.run(tf.global_variables_initializer())
    return session, [v, w, step]


def test_save_and_restore(tmp_path: Path):
    session, (v, w, step) = make()
    saver = tf.train.Saver()
    path = saver.save(session, tmp_path / "net", global_step=step)
    assert path == str(tmp_path / "net-0")
    v.load(np.zeros((2, 3)), session)
    session.run(step.assign_add(5))
    saver.restore(session, path)
    assert session.run([v, w, step])[0].tolist() == [[1] * 3] * 2
    assert session.run(step) == 0
    fresh = tf.Session()  # nothing has been initialized there
    saver.restore(fresh, tf.train.latest_checkpoint(tmp_path))
    assert fresh.run(w).tolist() == [1, 2]


def test_kept_checkpoints_and_the_state_file(tmp_path: Path):
    session, (v, _, _) = make()
    saver = tf.train.Saver(max_to_keep=2)
    paths = [saver.save(session, tmp_path / "net", global_step=k) for k in range(4)]
    assert saver.last_checkpoints == paths[2:]
    state = tf.train.get_checkpoint_state(tmp_path)
    assert state.model_checkpoint_path == paths[3]
    assert state.all_model_checkpoint_paths == paths[2:]
    assert tf.train.latest_checkpoint(tmp_path) == paths[3]
    assert [tf.train.checkpoint_exists(p) for p in paths] == [False, False, True, True]
    assert len(list(tmp_path.iterdir())) == 5
    again = tf.train.Saver(max_to_keep=2)
    again.recover_last_checkpoints(state.all_model_checkpoint_paths)
    again.save(session, tmp_path / "net", global_step=9)
    assert again.last_checkpoints == [paths[3], str(tmp_path / "net-9")]
    always = tf.train.Saver({"x": v}, max_to_keep=1, keep_checkpoint_every_n_hours=0.0)
    stay = [always.save(session, tmp_path / "often", global_step=k) for k in range(3)]
    assert all(tf.train.checkpoint_exists(p) for p in stay)
    assert tf.train.latest_checkpoint(tmp_path / "nowhere") is None


def test_relative_paths_move_with_the_folder(tmp_path: Path):
    session, _ = make()
    (tmp_path / "a").mkdir()
    saver = tf.train.Saver(save_relative_paths=True)
    saver.save(session, tmp_path / "a" / 'n"e t')
    (tmp_path / "a").rename(tmp_path / "b")
    assert tf.train.latest_checkpoint(tmp_path / "b") == str(tmp_path / "b" / 'n"e t')


def test_some_variables_under_other_names(tmp_path: Path):
    session, (v, w, _) = make()
    path = tf.train.Saver({"old/kernel": v}).save(session, tmp_path / "net")
    assert tf.train.list_variables(path) == [("old/kernel", [2, 3])]
    assert tf.train.load_variable(tmp_path, "old/kernel").shape == (2, 3)
    v.load(np.zeros((2, 3)), session)
    w.load([7, 7], session)
    tf.train.Saver({"old/kernel": v}).restore(session, path)
    assert session.run(v).sum() == 6
    assert session.run(w).tolist() == [7, 7]
    reader = tf.train.NewCheckpointReader(path)
    assert reader.has_tensor("old/kernel")
    assert reader.get_variable_to_dtype_map() == {"old/kernel": tf.float32}
    assert b"old/kernel (float32) (2, 3)" in reader.debug_string()


def test_what_does_not_fit_changes_nothing(tmp_path: Path):
    session, (v, w, step) = make()
    path = tf.train.Saver().save(session, tmp_path / "net")
    v.load(np.zeros((2, 3)), session)
    before = session.run([v, w, step])
    tf.train.Saver({"layer/b": w, "layer/v": v})
    cases = {
        "the checkpoint .* has no value for the variable 'layer/u'\nhelp: did you mean 'layer/[vw]'": {"layer/v": v, "layer/u": w},
        r"the variable 'layer/v' has the shape \[3, 2\], and \[2, 3\] in the checkpoint": {
            "layer/w": w, "layer/v": tf.Variable(tf.zeros([3, 2]))},
        "'layer/w' is float32, and int32 in the checkpoint": {"step": step, "layer/w": tf.Variable([1.0, 2.0])},
    }  # fmt: skip
    for message, names in cases.items():
        with pytest.raises(tf.CheckpointError, match=message) as caught:
            tf.train.Saver(names).restore(session, path)
        assert "test_checkpoint.py:" in str(caught.value)
    for prefix in (tmp_path / "nte", tmp_path / "no" / "net"):
        with pytest.raises(tf.CheckpointError, match=r"did you mean|there is no folder"):
            tf.train.Saver().restore(session, prefix)
    Path(data_file(path, 0, 1)).write_bytes(b"")
    with pytest.raises(tf.CheckpointError, match="cut off"):
        tf.train.Saver([v, w, step]).restore(session, path)
    for got, kept in zip(session.run([v, w, step]), before, strict=True):
        np.testing.assert_array_equal(got, kept)
    turned = tf.Variable(tf.zeros([3, 2]))
    write_bundle(path, {"layer/v": np.arange(6, dtype=np.float32).reshape(2, 3)})
    tf.train.Saver({"layer/v": turned}, reshape=True).restore(session, path)
    assert session.run(turned).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_variables_in_parts(tmp_path: Path):
    """Saved as TensorFlow does, under one name; restored into any other parts, or into one piece."""
    whole = np.arange(300.0, dtype=np.float32).reshape(100, 3)
    cut = tf.get_variable("table", [100, 3], partitioner=tf.fixed_size_partitioner(3))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    session.run(cut.assign(whole))
    path = tf.train.Saver().save(session, tmp_path / "net")
    bundle = Bundle(path)
    assert bundle.names == ["table"]
    assert bundle.entry("table").slices == (((0, 34), (0, 3)), ((34, 33), (0, 3)), ((67, 33), (0, 3)))
    np.testing.assert_array_equal(bundle.read("table"), whole)
    renamed = tf.train.Saver({"other": cut}).save(session, tmp_path / "other.safetensors")
    np.testing.assert_array_equal(tf.train.load_variable(renamed, "other"), whole)
    tf.reset_default_graph()
    plain = tf.get_variable("table", [100, 3])
    wide = tf.get_variable("wide", [100, 3], partitioner=tf.fixed_size_partitioner(2, axis=1))
    session = tf.Session()
    tf.train.Saver([plain]).restore(session, path)
    tf.train.Saver({"table": wide}).restore(session, path)
    np.testing.assert_array_equal(session.run(plain), whole)
    np.testing.assert_array_equal(session.run(tf.identity(wide)), whole)


def test_safetensors(tmp_path: Path):
    """In and out, every dtype; the file is that of the package."""
    package = pytest.importorskip("safetensors.numpy")
    session, (v, w, step) = make()
    path = str(tmp_path / "net.safetensors")
    assert tf.train.Saver().save(session, path) == path
    found = package.load_file(path)
    assert found["layer/v"].tolist() == [[1] * 3] * 2
    assert {n: a.shape for n, a in found.items()} == {"layer/v": (2, 3), "layer/w": (2,), "step": ()}
    package.save_file({"step": np.array(7, np.int32), "layer/v": np.zeros((2, 3), np.float32)}, path)
    tf.train.Saver([v, step]).restore(session, path)
    assert session.run(step) == 7
    assert tf.train.list_variables(path) == [("layer/v", [2, 3]), ("step", [])]
    with pytest.raises(tf.CheckpointError, match="no value for the variable 'layer/w'\nhelp: did you mean 'layer/v'"):
        tf.train.Saver([w]).restore(session, path)
    from tfc.checkpoint.flat import read_flat, write_flat

    names = [n for n in DTYPES if n != "complex128"]
    tensors = {n: np.array([0, 1, 3]).astype(dtype_named(n)).reshape(1, 3) for n in names}
    write_flat(path, tensors)
    for name, array in read_flat(path).items():
        assert (array.dtype, array.tobytes()) == (tensors[name].dtype, tensors[name].tobytes())
    Path(path).write_bytes(Path(path).read_bytes()[:-3])
    with pytest.raises(tf.CheckpointError, match="damaged"):
        read_flat(path)
    with pytest.raises(tf.CheckpointError, match="'z' is complex128"):
        write_flat(path, {"z": np.zeros(2, complex)})


def test_what_cannot_be_saved(tmp_path: Path):
    session, (v, _, _) = make()
    with pytest.raises(tf.CheckpointError, match="there is no folder"):
        tf.train.Saver().save(session, tmp_path / "a" / "net")
    with pytest.raises(tf.GraphError, match="expected a variable to save"):
        tf.train.Saver([v + 1.0])
    tf.Variable(1.0, name="late")
    with pytest.raises(tf.RunError, match="uninitialized value late"):
        tf.train.Saver().save(session, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_save_sees_one_moment(tmp_path: Path):
    """Two variables change together in one run; no checkpoint has one without the other."""
    a, b = tf.Variable(tf.zeros([5000]), name="a"), tf.Variable(tf.zeros([5000]), name="b")
    step = tf.group(a.assign_add(tf.ones([5000])), b.assign_add(tf.ones([5000])))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    saver, done = tf.train.Saver(max_to_keep=0), threading.Event()

    def train() -> None:
        while not done.is_set():
            session.run(step)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        paths = [saver.save(session, tmp_path / "net", global_step=k) for k in range(10)]
    finally:
        done.set()
        thread.join()
    for path in paths:
        reader = tf.train.load_checkpoint(path)
        values = {*reader.get_tensor("a").tolist(), *reader.get_tensor("b").tolist()}
        assert len(values) == 1


def test_the_compiled_checksum_is_the_same():
    from tfc.codegen.cpu.objects import compile_all
    from tfc.codegen.cpu.targets import Target
    from tfc.codegen.state import crc32c_llvm
    from tfc.runtime import checksum
    from tfc.runtime.jit import load_object

    data = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8)
    for size in (0, 1, 7, 8, 9, 4096, len(data)):
        assert checksum.crc32c(data[:size]) == crc32c(data[:size])
    # Without the processor's instruction, too.
    (code,) = compile_all([f'target triple = "{Target.parse().triple}"\n{crc32c_llvm()}'], Target.parse())
    library = load_object(code)
    import ctypes

    plain = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int64)(library.address("tfc_crc32c"))
    assert plain(data.ctypes.data, 50_001) == masked(crc32c(data[:50_001]))
