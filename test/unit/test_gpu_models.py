"""Whole models on an emulated GPU: compiled, run from Python and from sessions, saved, loaded, and when things go wrong."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfc as tf
from tfc.cli.compile import main as tfc_compile
from tfc.emulator.driver import Driver
from tfc.errors import ArtifactError, NoGpuError, OptionError, RunError
from tfc.profiling import report
from tfc.runtime import cuda
from tfc.runtime import driver_api as api
from tfc.runtime.cuda import DeviceArray

pytestmark = pytest.mark.usefixtures("gpu")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def network() -> tf.Tensor:
    x = tf.placeholder(tf.float32, [None, 6], name="x")
    hidden = tf.nn.relu(tf.matmul(x, tf.constant(random(6, 5))) + tf.constant(random(5)))
    return tf.nn.softmax(tf.matmul(hidden, tf.constant(random(5, 3))), name="y")


def test_a_network_gives_what_it_gives_on_the_cpu(gpu: Driver) -> None:
    y = network()
    model, reference = tf.compile(y, device="gpu", cpu="sm_90"), tf.compile(y)
    for batch in (1, 7, 7, 7, 40, 2):
        x = random(batch, 6)
        np.testing.assert_allclose(model(x), reference(x), rtol=1e-5, atol=1e-6)
        there = model(DeviceArray.of(x))
        assert isinstance(there, DeviceArray)
        np.testing.assert_array_equal(there.numpy(), model(x))
        into = DeviceArray.empty((batch, 3), np.float32)
        assert model.run_device([x], [into])[0] is into
        np.testing.assert_array_equal(into.numpy(), model(x))
    assert gpu.calls["cuGraphLaunch"] > 0
    assert "GPU:0" in str([p.memory for p in model._program.manifest.inputs])


def test_a_model_for_a_gpu_that_is_not_here(tmp_path: Path, gpu: Driver) -> None:
    cuda.use_driver(None)
    if cuda.is_available():
        pytest.skip("there is a GPU")
    x = random(4, 6)
    model = tf.compile(network(), device="gpu", cpu="sm_90")
    assert repr(model) == "<tfc model model: (x: float32[x_0, 6]) -> (y: float32[x_0, 3])>"
    for use in (lambda: model(x), lambda: model.run({"x": x}), model.initialize, lambda: model.profile(x)):
        with pytest.raises(NoGpuError, match=r"libcuda\.so\.1 was not found; the model was compiled for a GPU"):
            use()
    model.save(tmp_path / "net.so")
    with pytest.raises(NoGpuError, match="no CUDA driver"):
        tf.load(tmp_path / "net.so")
    cuda.use_driver(gpu.table, gpu)
    np.testing.assert_array_equal(tf.load(tmp_path / "net.so")(x), model(x))


def test_a_model_that_was_met_before_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TFC_CACHE", "1")
    y, x = network(), random(4, 6)
    expected = tf.compile(y, device="gpu")(x)
    monkeypatch.setattr("tfc.compiler.lower", lambda *_: pytest.fail("it is compiled again"))
    np.testing.assert_array_equal(tf.compile(y, device="gpu")(x), expected)


def test_the_gpu_that_is_here_is_what_code_is_for(gpu: Driver) -> None:
    assert tf.compile(network(), device="gpu")._program.manifest.gpu.cpu == "sm_90"
    cuda.use_driver((older := Driver(capability=87)).table, older)
    assert tf.compile(network(), device="gpu")._program.manifest.gpu.cpu == "sm_86"
    with pytest.raises(ArtifactError, match=r"the GPU's compute capability is not 9\.0 or later"):
        tf.compile(network(), cpu="sm_90")(random(4, 6))
    with pytest.raises(ArtifactError, match="this machine has no such GPU"):
        tf.compile(network(), device="gpu:3")(random(4, 6))
    with pytest.raises(OptionError, match="cpu 'sm_90' is a GPU, the device is cpu"):
        tf.compile(network(), device="cpu", cpu="sm_90")


def test_checks_of_the_graph_are_errors_as_on_the_cpu() -> None:
    indices = tf.placeholder(tf.int32, [2], name="i")
    y = tf.gather(tf.constant(random(4, 3)), indices)
    errors: list[str] = []
    for device in ("cpu", "gpu"):
        model = tf.compile(y, device=device)
        np.testing.assert_array_equal(model(np.array([3, 1], np.int32)), random(4, 3)[[3, 1]])
        with pytest.raises(RunError) as raised:
            model(np.array([3, 4], np.int32))
        errors.append(str(raised.value))
        np.testing.assert_array_equal(model(np.array([0, 0], np.int32)), random(4, 3)[[0, 0]])
    assert errors[0] == errors[1]
    assert "test_gpu_models.py" in errors[0]


def test_a_kernel_that_fails_is_named(gpu: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFC_GPU_SYNC", "1")
    model = tf.compile(tf.nn.relu(tf.placeholder(tf.float32, [4]) + 1.0), device="gpu")
    gpu.fail("cuLaunchKernel", api.ILLEGAL_ADDRESS)
    with pytest.raises(RunError, match=r"kernel 'add_max_0' \(.*test_gpu_models\.py:\d+ .*CUDA_ERROR_ILLEGAL_ADDRESS"):
        model(random(4))
    with pytest.raises(RunError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        model(random(4))


def test_too_little_memory(gpu: Driver) -> None:
    model = tf.compile(network(), device="gpu")
    gpu.fail("cuMemAlloc_v2", api.OUT_OF_MEMORY)
    with pytest.raises(RunError, match="memory for inputs and outputs on the GPU: CUDA_ERROR_OUT_OF_MEMORY"):
        model(random(1000, 6))
    model(random(1000, 6))


# Sessions.


def test_variables_of_a_session_live_on_the_gpu() -> None:
    with tf.device("/gpu:0"):
        v = tf.Variable(random(5, 3), name="v")
        step = tf.assign_add(v, tf.ones([5, 3]))
    total = tf.reduce_sum(v)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(step)
        assert isinstance(session._store.arrays["v"], DeviceArray)
        np.testing.assert_allclose(session.run(v), random(5, 3) + 3)
        np.testing.assert_allclose(session.run(total), (random(5, 3) + 3).sum(), rtol=1e-5)
        v.load(np.zeros((5, 3), np.float32), session)
        np.testing.assert_array_equal(session.run(step), np.ones((5, 3)))


def test_a_variable_is_in_one_memory() -> None:
    v = tf.Variable(np.ones(3, np.float32), name="v")
    with tf.Session() as session:
        v.load(np.full(3, 5.0, np.float32), session)  # no program has it yet
        session._store.array("v", (3,), np.dtype(np.float32), "GPU:0")
        np.testing.assert_array_equal(session._store.arrays["v"].numpy(), np.full(3, 5.0))
        with pytest.raises(RunError, match="the variable 'v' is on GPU:0, and a run wants it on the host"):
            session._store.array("v", (3,), np.dtype(np.float32), "")


def test_a_graph_on_both(gpu: Driver) -> None:
    x = tf.placeholder(tf.float32, [4, 3])
    with tf.device("/cpu:0"):
        a = tf.exp(x)
    with tf.device("/gpu:0"):
        b = tf.nn.relu(a - 1.0) * 2.0
    with tf.device("/cpu:0"):
        c = b + a
    with tf.device("/gpu:0"):
        d = tf.reduce_sum(c, 1)
    with tf.Session() as session:
        value = random(4, 3)
        expected = (np.maximum(np.exp(value) - 1, 0) * 2 + np.exp(value)).sum(1)
        np.testing.assert_allclose(session.run(d, {x: value}), expected, rtol=1e-5)
        np.testing.assert_allclose(session.run([d, c], {x: value})[0], expected, rtol=1e-5)
    assert gpu.calls["cuLaunchKernel"] == 4


def test_training_on_the_gpu_is_training_on_the_cpu() -> None:
    losses: list[list[float]] = []
    for device in ("/cpu:0", "/gpu:0"):
        tf.reset_default_graph()
        with tf.device(device):
            x, y = tf.placeholder(tf.float32, [8, 4]), tf.placeholder(tf.float32, [8, 1])
            w, b = tf.Variable(random(4, 1)), tf.Variable(np.zeros(1, np.float32))
            loss = tf.reduce_mean(tf.square(tf.matmul(x, w) + b - y))
            train = tf.train.AdamOptimizer(0.1).minimize(loss)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            feeds = {x: random(8, 4), y: random(8, 1)}
            losses.append([session.run([loss, train], feeds)[0] for _ in range(6)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("offset", [0, 1])
def test_rows_are_written_without_a_look_at_their_number(offset: int, gpu: Driver) -> None:
    x, turns = tf.placeholder(tf.float32, [5, 300], name="x"), 5
    _, rows = tf.while_loop(
        lambda i, _: i < turns,
        lambda i, rows: (i + 1, rows.write(i + offset, tf.tanh(tf.gather(x, i)))),
        [tf.constant(0), tf.TensorArray(tf.float32, turns)],
    )
    model, value = tf.compile(rows.stack(), [x], device="gpu", cpu="sm_90"), random(5, 300)
    if offset:
        with pytest.raises(RunError, match=r"an index is out of range \[0, 5\)"):
            model(value)
        return
    model(value)  # memory for its arguments is there now
    before = gpu.calls["cuStreamSynchronize"]
    np.testing.assert_allclose(model(value), np.tanh(value), rtol=1e-5, atol=1e-6)
    looks = turns + 1  # at the condition
    assert gpu.calls["cuStreamSynchronize"] - before == looks + 1, "and one at the result"


def test_a_loop_on_the_gpu() -> None:
    with tf.device("/gpu:0"):
        x = tf.placeholder(tf.float32, [3])
        y = tf.while_loop(lambda v: tf.reduce_sum(v) < 100.0, lambda v: v * 2.0, [x])
    with tf.Session() as session:
        np.testing.assert_array_equal(session.run(y, {x: np.array([1, 2, 3], np.float32)}), [32, 64, 96])


def test_what_a_graph_asserts_is_read_back() -> None:
    x = tf.placeholder(tf.float32, [3])
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x > 0), [x])]):
        y = tf.identity(x) * 2.0
    model = tf.compile(y, device="gpu")
    np.testing.assert_array_equal(model(np.ones(3, np.float32)), np.full(3, 2.0))
    with pytest.raises(RunError, match=r"assertion failed: \[-1 2 3\]"):
        model(np.array([-1, 2, 3], np.float32))


def test_a_checkpoint_of_variables_on_the_gpu(tmp_path: Path) -> None:
    with tf.device("/gpu:0"):
        v = tf.Variable(random(3, 2), name="v")
        clear = tf.assign(v, tf.zeros([3, 2]))
    saver = tf.train.Saver()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        path = saver.save(session, tmp_path / "model")
        session.run(clear)
        saver.restore(session, path)
        np.testing.assert_array_equal(session.run(v), random(3, 2))


# Artifacts.


def saved(folder: Path) -> Path:
    path = folder / "net.so"
    model = tf.compile(network(), device="gpu", cpu="sm_90", name="net")
    model.save(path)
    return path


def test_an_artifact_runs_where_there_is_a_driver(tmp_path: Path, gpu: Driver) -> None:
    from tfc.codegen.artifact.image import Image

    path = saved(tmp_path)
    x = random(9, 6)
    np.testing.assert_allclose(tf.load(path)(x), tf.compile(network())(x), rtol=1e-5, atol=1e-6)
    undefined = Image.open(path).undefined
    assert {"dlopen", "dlsym"} <= set(undefined)
    assert not [s for s in undefined if s.startswith("cu")]
    header = (tmp_path / "net.h").read_text()
    assert "int net_run_device(net_model *model" in header
    assert "#define net_GPU_ARENA_SIZE(x_0)" in header


def test_a_state_on_the_gpu_is_saved_and_restored(tmp_path: Path) -> None:
    v = tf.Variable(random(3), name="v")
    with tf.Session():
        model = tf.compile(tf.assign_add(v, tf.ones([3])), device="gpu", name="count")
    model.save(tmp_path / "count.so")
    loaded = tf.load(tmp_path / "count.so")
    for k in (1, 2):
        np.testing.assert_allclose(loaded(), random(3) + k, rtol=1e-6)
    path = str(tmp_path / "state").encode()
    program = loaded._program

    def call(name: str) -> int:
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(program._address(f"count_{name}"))
        return function(program._handle, path)

    assert call("save") == 0
    loaded.initialize()
    np.testing.assert_allclose(loaded.variables["v"].numpy(), random(3), rtol=1e-6)
    assert call("restore") == 0
    np.testing.assert_allclose(loaded(), random(3) + 3, rtol=1e-6)
    model.restore_variables(tmp_path / "state")
    np.testing.assert_allclose(model(), random(3) + 3, rtol=1e-6)


def test_ptx_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "func.func @main(%x : tensor<8xf32>) -> tensor<8xf32> {\n  %y = tfc.exp %x : tensor<8xf32> -> tensor<8xf32>\n  func.return %y : tensor<8xf32>\n}\n"
    (tmp_path / "m.mlir").write_text(text)
    assert tfc_compile([str(tmp_path / "m.mlir"), "--emit=ptx", "--cpu=sm_80", "-q"]) == 0
    assert ".target sm_80" in capsys.readouterr().out
    assert tfc_compile([str(tmp_path / "m.mlir"), "-o", str(tmp_path / "m.so"), "--device=gpu", "--cpu=sm_90", "-q"]) == 0
    x = random(8)
    np.testing.assert_allclose(tf.load(tmp_path / "m.so")(x), np.exp(x), rtol=1e-6)


C_PROGRAM = """
#include <stdio.h>
#include "net.h"

int main(void)
{
    float x[2 * 6] = {0}, y[2 * 3];
    net_model *model;
    net_args args = {0};
    int error = net_create(&model, 0);
    args.x = x;
    args.y = y;
    args.x_0 = 2;
    if (!error)
        error = net_call(model, &args);
    puts(net_error(error));
    net_destroy(model);
    return error != 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_a_c_program_says_what_is_missing(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "main.c").write_text(C_PROGRAM)
    command = ["gcc", "-std=c99", "-Wall", "-Werror", "-pedantic", "main.c", "./net.so", "-lm", "-lpthread", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    cuda.use_driver(None)
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if cuda.is_available():
        assert done.stdout == "no error\n"
    else:
        assert "this machine has no CUDA driver: libcuda.so.1 was not found" in done.stdout


LIBCUDA = """
/* A driver of one GPU whose memory is the host's, and whose kernel @add_max_0 is max(x + 1, 0). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define OK(name, ...) int name(__VA_ARGS__) { return 0; }

OK(cuInit, unsigned f) OK(cuCtxSetCurrent, void *c) OK(cuCtxGetCurrent, void **c) OK(cuModuleUnload, void *m) OK(cuDevicePrimaryCtxRelease_v2, int d)
OK(cuStreamDestroy_v2, void *s) OK(cuStreamSynchronize, void *s)
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int k) { *d = k; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : 0; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = malloc(1); return 0; }
int cuModuleLoadData(void **m, const char *text) { *m = strstr(text, ".entry add_max_0") ? malloc(1) : 0; return *m ? 0 : 218; }
int cuModuleGetFunction(void **f, void *m, const char *name) { *f = malloc(1); return strcmp(name, "add_max_0") ? 500 : 0; }
int cuStreamCreate(void **s, unsigned f) { *s = malloc(1); return 0; }
int cuMemAlloc_v2(uint64_t *p, size_t n) { *p = (uint64_t)aligned_alloc(256, (n + 255) / 256 * 256); return 0; }
int cuMemFree_v2(uint64_t p) { free((void *)p); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, void *s) { memcpy((void *)to, from, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, void *s) { memcpy(to, (void *)from, n); return 0; }
int cuMemsetD8Async(uint64_t p, unsigned char b, size_t n, void *s) { memset((void *)p, b, n); return 0; }

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **params, void **extra)
{
    const float *x = *(float **)params[0];
    float *y = *(float **)params[1];
    int64_t n = *(int64_t *)params[2];
    for (int64_t k = 0; k < n; k++)
        y[k] = x[k] + 1 > 0 ? x[k] + 1 : 0;
    return gy == 1 && gz == 1 && by == 1 && bz == 1 && shared == 0 && !extra ? 0 : 1;
}
"""

C_RUN = """
#include <stdio.h>
#include "net.h"

int main(void)
{
    float x[3] = {-5, 0, 2}, y[3] = {0};
    net_model *model;
    net_args args = {0};
    int error = net_create(&model, 0);
    args.x = x;
    args.y = y;
    args.x_0 = 3;
    for (int run = 0; run < 3 && !error; run++)
        error = net_call(model, &args);
    printf("%s %g %g %g\\n", net_error(error), y[0], y[1], y[2]);
    net_destroy(model);
    return error != 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_a_c_program_finds_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, and a function that it lacks (of graphs) only when that is used."""
    monkeypatch.setenv("TFC_PTXAS", "")
    y = tf.nn.relu(tf.placeholder(tf.float32, [None], name="x") + 1.0, name="y")
    tf.compile(y, device="gpu", cpu="sm_90", name="net").save(tmp_path / "net.so")
    (tmp_path / "main.c").write_text(C_RUN)
    (tmp_path / "cuda.c").write_text(LIBCUDA)
    for command in (
        ["gcc", "-std=gnu11", "-w", "-shared", "-fPIC", "cuda.c", "-o", "libcuda.so.1"],
        ["gcc", "-std=c99", "-Wall", "-Werror", "main.c", "./net.so", "-lm", "-lpthread", "-o", "main"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        ["./main"], cwd=tmp_path, capture_output=True, text=True, check=False, env={"LD_LIBRARY_PATH": str(tmp_path)}
    )
    assert done.stdout == "no error 0 1 3\n"


def test_profile(gpu: Driver) -> None:
    model: Any = tf.compile(network(), device="gpu", cpu="sm_90")
    rows = model.profile(random(4, 6), runs=2)
    assert len(rows) >= 2
    assert all(row.seconds > 0 and row.times == 1 for row in rows)
    lines = list(report(model._lowered(), runs=1))
    assert all("    -  " in line for line in lines[1:])  # no roof of the CPU's
