"""A run that is known allocates nothing, in C or in Python: counted below malloc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COUNTER = r"""
#include <stddef.h>
static long count;
long malloc_count(void) { return count; }
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { __sync_fetch_and_add(&count, 1); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { __sync_fetch_and_add(&count, 1); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { __sync_fetch_and_add(&count, 1); return __libc_realloc(p, n); }
int posix_memalign(void **p, size_t a, size_t n) {
  __sync_fetch_and_add(&count, 1);
  return (*p = __libc_memalign(a, n)) ? 0 : 12;
}
"""

PROGRAM = """
import ctypes, gc, sys
import numpy as np
import tfc as tf

count = ctypes.CDLL(sys.argv[1]).malloc_count
count.restype = ctypes.c_long
x = tf.placeholder(tf.float32, [8, 20])
hidden = tf.layers.dense(x, 16, activation=tf.nn.relu)
loss = tf.reduce_mean(tf.square(tf.layers.dense(hidden, 3)))
step = tf.train.AdamOptimizer(1e-3).minimize(loss)
value = np.ones((8, 20), np.float32)
with tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=2)) as session:
    session.run(tf.global_variables_initializer())
    call = session.make_callable(step, [x])
    runs = [lambda: call(value), lambda: session.run(step, {x: value}), lambda: session.run([loss, step], {x: value})]
    for run in runs * 20:
        run()
    gc.disable()
    for run in runs:
        before = count()
        for _ in range(1000):
            run()
        print(count() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs glibc and a C compiler")
def test_steps_of_training_allocate_nothing(tmp_path: Path) -> None:
    (tmp_path / "count.c").write_text(COUNTER)
    library = str(tmp_path / "count.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(tmp_path / "count.c")], check=True)
    command = [sys.executable, "-c", PROGRAM, library]
    done = subprocess.run(command, env=os.environ | {"LD_PRELOAD": library}, capture_output=True, text=True, check=True)
    assert [int(n) for n in done.stdout.split()] == [0, 0, 0]
