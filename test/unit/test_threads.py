"""The thread pool: exact, idle when idle, correct from several handles and after a fork."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_host import ADD, TARGET, add_kernel, sum_program

import tfc
from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.host import describe_program, emit_host
from tfc.codegen.pool import pool_llvm
from tfc.runtime.jit import load_object
from tfc.runtime.program import Program

SIZE = 200_003

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")


@pytest.fixture(scope="module")
def library():
    """y = 4*x with a pool of its own, as in an artifact."""
    program, kernels = sum_program(SIZE), [add_kernel(SIZE, grain=1000)]
    text = ADD + emit_host(program, kernels, describe_program(program, TARGET, threads=1))
    return load_object(compile_llvm(text + pool_llvm(TARGET.triple), TARGET))


def make(library, threads: int) -> Program:
    return Program(library.address, "sums", threads=threads, keep=library)


def os_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def has_threads(count: int) -> bool:
    """Whether there are so many; the kernel lists a thread for a moment after it was joined."""
    end = time.monotonic() + 2
    while os_threads() != count and time.monotonic() < end:
        time.sleep(0.001)
    return os_threads() == count


def test_the_number_of_threads_is_exact(library):
    before = os_threads()
    one = make(library, 1)
    assert has_threads(before)
    four, two = make(library, 4), make(library, 2)
    assert has_threads(before + 3)
    x = np.arange(SIZE, dtype=np.float32)
    for program in (one, four, two):
        np.testing.assert_array_equal(program.run([x])[0], 4 * x)
    assert has_threads(before + 3)
    del four, program
    assert has_threads(before + 3)  # the other handle holds the pool
    del two
    assert has_threads(before)


def test_the_pool_starts_again(library):
    before = os_threads()
    x = np.ones(SIZE, np.float32)
    for _ in range(20):
        program = make(library, 3)
        assert has_threads(before + 2)
        assert program.run([x])[0].sum() == 4 * SIZE
        del program
        assert has_threads(before)


def test_results_do_not_depend_on_the_number_of_threads(library):
    x = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    results = [make(library, n).run([x])[0].tobytes() for n in (1, 2, 3, 8)]
    assert len(set(results)) == 1


def test_two_instances_at_once(library):
    rng = np.random.default_rng(1)
    feeds = [rng.normal(size=SIZE).astype(np.float32) for _ in range(4)]
    programs = [make(library, n) for n in (2, 3, 1, 2)]
    failures: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.array_equal(programs[k].run([feeds[k]])[0], 4 * feeds[k]):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_one_instance_from_several_threads(library):
    program, failures = make(library, 2), []

    def work(scale: float) -> None:
        x = np.full(SIZE, scale, np.float32)
        for _ in range(30):
            if not np.array_equal(program.run([x])[0], 4 * x):
                failures.append(scale)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_nothing_spins_when_idle(library):
    program = make(library, 4)
    program.run([np.ones(SIZE, np.float32)])
    time.sleep(0.05)
    start = time.process_time()
    time.sleep(0.4)
    assert time.process_time() - start < 0.02


def test_many_short_jobs(library):
    """Jobs that follow each other while workers fall asleep and wake up."""
    program = make(library, 3)
    x = np.ones(SIZE, np.float32)
    out = [np.empty(SIZE, np.float32)]
    for k in range(300):
        out[0][:] = 0
        program.run([x], out=out)
        assert out[0].sum() == 4 * SIZE
        if k % 10 == 0:
            time.sleep(0.001)


def test_a_forked_child_runs_serially(library):
    program = make(library, 2)
    x = np.ones(SIZE, np.float32)
    program.run([x])
    time.sleep(0.01)  # the worker sleeps
    child = os.fork()
    if child == 0:
        good = program.run([x])[0].sum() == 4 * SIZE
        second = make(library, 2)
        good = good and second.run([x])[0].sum() == 4 * SIZE and os_threads() == 2
        os._exit(0 if good else 1)
    deadline = time.time() + 20
    while time.time() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert program.run([x])[0].sum() == 4 * SIZE


COUNT = """
define void @count(ptr %counters, i64 %lo, i64 %hi) {
entry:
  br label %check
check:
  %i = phi i64 [ %lo, %entry ], [ %n, %loop ]
  %more = icmp slt i64 %i, %hi
  br i1 %more, label %loop, label %exit
loop:
  %p = getelementptr i64, ptr %counters, i64 %i
  %v = load i64, ptr %p
  %w = add i64 %v, 1
  store i64 %w, ptr %p
  %n = add i64 %i, 1
  br label %check
exit:
  ret void
}
"""
"""Adds 1 to each counter of its range, without any protection."""


def test_each_iteration_runs_once_whatever_the_timing() -> None:
    """Thousands of short jobs of all sizes, from two threads that compete for one pool."""
    text = f'target triple = "{TARGET.triple}"\n{COUNT}{pool_llvm(TARGET.triple, exported=True)}'
    code = load_object(compile_llvm(text, TARGET))
    p, i32, i64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    parallel = ctypes.CFUNCTYPE(None, p, p, i64, i64, i32)(code.address("tfc_parallel"))
    acquire = ctypes.CFUNCTYPE(i32, i32)(code.address("tfc_pool_acquire"))
    release = ctypes.CFUNCTYPE(None)(code.address("tfc_pool_release"))
    assert acquire(5) == 0
    wrong: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(3000):
            size, grain = chance.randint(0, 300), chance.randint(1, 40)
            counters = np.zeros(size + 1, np.int64)
            parallel(code.address("count"), counters.ctypes.data, size, grain, chance.randint(1, 5))
            if counters.tolist() != [1] * size + [0]:
                wrong.append((size, grain))
            if chance.random() < 0.01:
                time.sleep(0.0002)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    release()
    assert not wrong


def test_beside_busy_processes() -> None:
    """Threads that stand in line are moved to where there is a core, and may run anywhere afterwards."""
    text = f'target triple = "{TARGET.triple}"\n{COUNT}{pool_llvm(TARGET.triple, exported=True)}'
    code = load_object(compile_llvm(text, TARGET))
    p, i32, i64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    parallel = ctypes.CFUNCTYPE(None, p, p, i64, i64, i32)(code.address("tfc_parallel"))
    assert ctypes.CFUNCTYPE(i32, i32)(code.address("tfc_pool_acquire"))(3) == 0
    cores = os.sched_getaffinity(0)
    counters = np.zeros(1 << 18, np.int64)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        for _ in range(400):
            parallel(code.address("count"), counters.ctypes.data, len(counters), 64, 3)
            time.sleep(0.0003)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert counters.tolist() == [400] * len(counters)
    assert all(os.sched_getaffinity(int(t)) == cores for t in os.listdir("/proc/self/task"))
    ctypes.CFUNCTYPE(None)(code.address("tfc_pool_release"))()


SHORT_OF_MEMORY = """
import os, resource, sys
import numpy as np
import tfc

model = tfc.load(sys.argv[1], threads=2)
threads = lambda: len(os.listdir("/proc/self/task"))
before = threads()
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (64 << 20), resource.RLIM_INFINITY))
try:
    tfc.load(sys.argv[1], threads=200)
except tfc.ArtifactError as error:
    assert "gives no more threads" in str(error), error
else:
    raise AssertionError("200 stacks fit 64 MB")
assert threads() == before, (threads(), before)
x = np.ones((300, 300), np.float32)
assert model(x).sum() == 2 * 300 * 300
"""


def test_threads_that_were_started_end_where_a_later_one_cannot_be(tmp_path: Path):
    graph = tfc.Graph()
    with graph.as_default():
        x = tfc.placeholder(tfc.float32, [300, 300], name="x")
        tfc.compile(x * 2.0, [x]).save(tmp_path / "model.so")
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path / "model.so")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


OWN_POOL = r"""
#include "model.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 5, SIZE = 300 * 300 };

typedef struct { model_task *task; void *args; int64_t lo, hi; } part;
typedef struct { int loops; } own_pool;

static void *work(void *given)
{
    part *p = given;
    p->task(p->args, p->lo, p->hi);
    return 0;
}

static void parallel_for(void *pool, model_task *task, void *args, int64_t n, int64_t grain)
{
    pthread_t threads[PARTS];
    part parts[PARTS];
    ((own_pool *)pool)->loops += n > grain;
    for (int k = 0; k < PARTS; k++) {
        part p = {task, args, n * k / PARTS, n * (k + 1) / PARTS};
        parts[k] = p;
        pthread_create(&threads[k], 0, work, &parts[k]);
    }
    for (int k = 0; k < PARTS; k++)
        pthread_join(threads[k], 0);
}

int main(void)
{
    static float x[SIZE], first[SIZE], second[SIZE];
    own_pool pool = {0};
    model_model *model;
    model_args args = {0};
    for (int i = 0; i < SIZE; i++)
        x[i] = (float)(i % 97) / 7;
    if (model_create(&model, 1)) return 1;
    args.x = x; args.output0 = first;
    if (model_call(model, &args)) return 2;
    if (model_use_pool(0, parallel_for, &pool) == 0) return 3;
    if (model_use_pool(model, parallel_for, &pool)) return 4;
    args.output0 = second;
    if (model_call(model, &args)) return 5;
    if (memcmp(first, second, sizeof first)) return 6;
    int loops = pool.loops;
    if (loops < 1) return 7;
    if (model_use_pool(model, 0, 0) || model_call(model, &args) || pool.loops != loops) return 8;
    model_destroy(model);
    return 0;
}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_kernels_run_on_the_threads_of_a_caller(tmp_path: Path):
    graph = tfc.Graph()
    with graph.as_default():
        x = tfc.placeholder(tfc.float32, [300, 300], name="x")
        y = tfc.identity(tfc.nn.softmax(tfc.matmul(x, x)), name="output0")
        tfc.compile(y, [x], name="model").save(tmp_path / "model.so")
    (tmp_path / "main.c").write_text(OWN_POOL)
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", tmp_path / "main.c"]
    command += [tmp_path / "model.so", f"-I{tmp_path}", "-o", tmp_path / "main", "-lpthread"]
    subprocess.run(command, check=True)
    assert subprocess.run([tmp_path / "main"], timeout=60).returncode == 0
