"""The host program end to end: text, object, in-process code, numpy results."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ArrayAttr, IndexType, StringAttr, f32
from xdsl.ir import Block, Region

from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import Target
from tfc.codegen.host import describe_program, emit_host
from tfc.codegen.isa import checked, missing_llvm
from tfc.codegen.pool import pool_llvm
from tfc.dialects import host, kernel
from tfc.dialects.tfc.types import LiteralAttr, tensor_type
from tfc.dims import Dim, symbol
from tfc.errors import ArtifactError, FeedError, RunError
from tfc.runtime.jit import load_object
from tfc.runtime.program import Program

TARGET = Target.parse()
FLOATS = kernel.buffer_type(f32, None)

ADD = """
define internal void @add(ptr %args, i64 %lo, i64 %hi) {
entry:
  %x = load ptr, ptr %args
  %py = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %py
  %pz = getelementptr ptr, ptr %args, i64 2
  %z = load ptr, ptr %pz
  %none = icmp sge i64 %lo, %hi
  br i1 %none, label %exit, label %loop
loop:
  %i = phi i64 [ %lo, %entry ], [ %n, %loop ]
  %xi = getelementptr float, ptr %x, i64 %i
  %a = load float, ptr %xi
  %yi = getelementptr float, ptr %y, i64 %i
  %b = load float, ptr %yi
  %c = fadd float %a, %b
  %zi = getelementptr float, ptr %z, i64 %i
  store float %c, ptr %zi
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, %hi
  br i1 %more, label %loop, label %exit
exit:
  ret void
}
"""
"""z[i] = x[i] + y[i] over the grid."""

REPORT = """
define internal void @report(ptr %args, i64 %lo, i64 %hi) {
  %x = load ptr, ptr %args
  %v = load float, ptr %x
  %bad = fcmp olt float %v, 0.0
  br i1 %bad, label %fail, label %exit
fail:
  %ps = getelementptr ptr, ptr %args, i64 1
  %s = load ptr, ptr %ps
  store i32 1, ptr %s
  br label %exit
exit:
  ret void
}
"""
"""Code 1 where x[0] < 0."""


def add_kernel(grid: Dim, grain: int = 1, dims: Sequence[str] = ()) -> kernel.FuncOp:
    body = Region(Block(arg_types=[FLOATS] * 3 + [IndexType()] * len(dims)))
    return kernel.FuncOp("add", [FLOATS] * 3 + [IndexType()] * len(dims), body, dims=dims, grid=str(grid), grain=grain)


def report_kernel() -> kernel.FuncOp:
    block = Block(arg_types=[FLOATS])
    block.add_op(kernel.CheckOp(block.args[0], "the first element is negative"))
    return kernel.FuncOp("report", [FLOATS], Region(block))


def build(program: host.ProgramOp, kernels: Sequence[kernel.FuncOp], code: str, **options: object):
    """Compile and load; ``options`` are those of Program."""
    constants = options.get("constants")
    manifest = describe_program(program, TARGET, ["the first element is negative"], threads=1)
    text = code + emit_host(program, kernels, manifest, bound_weights=constants is not None, shared_pool=True)
    library = load_object(compile_llvm(text, TARGET))
    return Program(library.address, manifest.name, keep=library, **options)


def sum_program(size: Dim, *, dims: Sequence[str] = ()) -> host.ProgramOp:
    """y = (x + x) + (x + x), with the inner sum in the arena."""
    type_ = tensor_type([size], f32)
    buffer = host.buffer_of(type_)
    program = host.ProgramOp(
        "sums", [host.port("x", type_)], [host.port("y", type_)], dims=dims, arena=4 * size + 64
    )
    x, y = host.InputOp(0, buffer), host.OutputOp(0, buffer)
    t = host.BufferOp(4 * size, buffer, 64)
    first = host.LaunchOp("add", [x.result, x.result], [t.result])
    second = host.LaunchOp("add", [t.result, t.result], [y.result])
    program.body.block.add_ops([x, y, t, first, second])
    return program


def test_a_static_program_computes():
    run = build(sum_program(8), [add_kernel(8)], ADD)
    x = np.arange(8, dtype=np.float32)
    (y,) = run.run([x])
    np.testing.assert_array_equal(y, 4 * x)
    (again,) = run.run([x + 1])
    np.testing.assert_array_equal(again, 4 * (x + 1))
    np.testing.assert_array_equal(y, 4 * x)  # each call has outputs of its own


def test_named_dims_serve_any_size():
    n = symbol("n")
    run = build(sum_program(n, dims=["n"]), [add_kernel(n, dims=["n"])], ADD)
    for size in (1, 64, 3, 1000):
        x = np.random.default_rng(size).normal(size=size).astype(np.float32)
        np.testing.assert_array_equal(run.run([x])[0], 4 * x)
    assert run.arena_size({"n": 10}) == 104


def test_constants_from_bound_arrays():
    type_ = tensor_type([4], f32)
    buffer = host.buffer_of(type_)
    w = np.arange(4, dtype=np.float32)
    program = host.ProgramOp("biased", [host.port("x", type_)], [host.port("y", type_)], weights=80)
    x, y = host.InputOp(0, buffer), host.OutputOp(0, buffer)
    c = host.ConstantOp(LiteralAttr.of(w), 64, buffer)
    program.body.block.add_ops([x, y, c, host.LaunchOp("add", [x.result, c.result], [y.result])])
    run = build(program, [add_kernel(4)], ADD, constants=[w])
    np.testing.assert_array_equal(run.run([np.ones(4, np.float32)])[0], w + 1)


def counter_program() -> host.ProgramOp:
    """v = v + x; y = v."""
    type_ = tensor_type([4], f32)
    buffer = host.buffer_of(type_)
    ports = [host.port("x", type_)], [host.port("y", type_)], [host.port("v", type_)]
    program = host.ProgramOp("counter", *ports)
    x, y, v = host.InputOp(0, buffer), host.OutputOp(0, buffer), host.VariableOp(0, buffer)
    step = host.LaunchOp("add", [v.result, x.result], [v.result])
    copy = host.CopyOp(v.result, y.result, 16)
    program.body.block.add_ops([x, y, v, step, copy])
    return program


def test_variables_keep_state_and_can_be_shared():
    first, second = (build(counter_program(), [add_kernel(4)], ADD) for _ in range(2))
    one = np.ones(4, np.float32)
    assert first.run([one])[0].tolist() == [1] * 4
    assert first.run([one])[0].tolist() == [2] * 4
    assert second.run([one])[0].tolist() == [1] * 4
    assert first.variable(0).tolist() == [2] * 4
    shared = np.full(4, 10, np.float32)
    first.bind_variable(0, shared)
    second.bind_variable(0, shared)
    first.run([one])
    assert second.run([one])[0].tolist() == [12] * 4
    assert shared.tolist() == [12] * 4


def test_a_variable_outlives_its_program():
    program = build(counter_program(), [add_kernel(4)], ADD)
    program.run([np.ones(4, np.float32)])
    view = program.variable(0)
    del program
    assert view.tolist() == [1] * 4


def test_a_failed_check_is_a_run_error():
    type_ = tensor_type([4], f32)
    program = host.ProgramOp("checked", [host.port("x", type_)], [])
    x = host.InputOp(0, host.buffer_of(type_))
    program.body.block.add_ops([x, host.LaunchOp("report", [x.result], [])])
    run = build(program, [report_kernel()], REPORT)
    assert run.run([np.ones(4, np.float32)]) == []
    with pytest.raises(RunError, match="the first element is negative"):
        run.run([-np.ones(4, np.float32)])
    assert run.run([np.ones(4, np.float32)]) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(8, np.float64), r"input 'x': expected float32\[8\], got float64\[8\]"),
        (np.zeros(9, np.float32), r"expected float32\[8\], got float32\[9\]"),
        (np.zeros((8, 1), np.float32), r"got float32\[8, 1\]"),
        ("text", r"expected float32\[8\]: could not convert"),
    ],
)
def test_feeds_that_do_not_fit(value: object, words: str):
    run = build(sum_program(8), [add_kernel(8)], ADD, where={"x": "model.py:3"})
    with pytest.raises(FeedError, match=words) as caught:
        run.run([value])
    assert caught.value.where == "model.py:3"
    with pytest.raises(FeedError, match="expected 1 inputs, got 2"):
        run.run([np.zeros(8, np.float32)] * 2)


def test_feeds_that_are_made_to_fit():
    run = build(sum_program(8), [add_kernel(8)], ADD)
    x = np.arange(16, dtype=np.float32)
    assert run.run([x[::2]])[0].tolist() == (4 * x[::2]).tolist()
    assert run.run([[1.0] * 8])[0].tolist() == [4.0] * 8
    x.flags.writeable = False
    assert run.run([x[:8]])[0].tolist() == (4 * x[:8]).tolist()


def test_outputs_into_given_arrays():
    run = build(sum_program(8), [add_kernel(8)], ADD)
    y = np.empty(8, np.float32)
    assert run.run([np.ones(8, np.float32)], out=[y])[0] is y
    assert y.tolist() == [4.0] * 8
    with pytest.raises(FeedError, match=r"output 'y': expected float32\[8\], got float32\[4\]"):
        run.run([np.ones(8, np.float32)], out=[y[:4]])
    with pytest.raises(FeedError, match=r"output 'y': expected memory of its own"):
        run.run([y], out=[y])


def test_named_dims_are_checked():
    n = symbol("n")
    type_, twice = tensor_type([n], f32), tensor_type([2 * n], f32)
    program = sum_program(n, dims=["n"])
    program.properties["inputs"] = ArrayAttr([host.port("x", type_), host.port("z", twice)])
    run = build(program, [add_kernel(n, dims=["n"])], ADD)
    x = np.ones(3, np.float32)
    assert run.run([x, np.ones(6, np.float32)])[0].tolist() == [4.0] * 3
    with pytest.raises(FeedError, match=r"input 'z': expected float32\[6\], got float32\[7\]"):
        run.run([x, np.ones(7, np.float32)])
    with pytest.raises(FeedError, match="n is at least 1"):
        run.run([x[:0], x[:0]])
    with pytest.raises(FeedError, match=r"input 'x': expected float32\[n\], got float32\[\]"):
        run.run([np.float32(1), x])


def test_the_raw_interface_refuses_bad_arguments():
    n = symbol("n")
    program = sum_program(n, dims=["n"])
    manifest = describe_program(program, TARGET)
    kernels = [add_kernel(n, dims=["n"])]
    text = ADD + emit_host(program, kernels, manifest) + pool_llvm(TARGET.triple)
    library = load_object(compile_llvm(text, TARGET))

    def function(name: str, result: object, *arguments: object):
        return ctypes.CFUNCTYPE(result, *arguments)(library.address(f"sums_{name}"))

    p, i = ctypes.c_void_p, ctypes.c_int
    assert function("abi", i)() == manifest.abi
    create, run = function("create", i, p, i), function("run", i, p, p, p, p)
    error, size = function("error", ctypes.c_char_p, i), function("arena_size", ctypes.c_int64, p)
    assert error(create(None, 1)) == b"a pointer is null"
    handle = ctypes.c_void_p()
    assert b"number of threads" in error(create(ctypes.addressof(handle), -1))
    assert b"number of threads" in error(create(ctypes.addressof(handle), 4096))
    assert handle.value is None
    assert create(ctypes.addressof(handle), 1) == 0
    x, y = (ctypes.c_float * 4)(1, 2, 3, 4), (ctypes.c_float * 4)()
    inputs, outputs = (p * 1)(ctypes.addressof(x)), (p * 1)(ctypes.addressof(y))
    dims = (ctypes.c_int64 * 1)(4)
    assert run(handle, inputs, outputs, dims) == 0
    assert list(y) == [4, 8, 12, 16]
    for arguments in (
        (None, inputs, outputs, dims),
        (handle, None, outputs, dims),
        (handle, inputs, None, dims),
        (handle, inputs, outputs, None),
        (handle, (p * 1)(), outputs, dims),
        (handle, inputs, (p * 1)(), dims),
    ):
        assert error(run(*arguments)) == b"a pointer is null"
    for bad in (0, -1, 1 << 31, -(1 << 63)):
        dims[0] = bad
        assert b"the dim n is not in" in error(run(handle, inputs, outputs, dims))
        assert size(dims) == -1
    assert size(None) == -1
    assert error(12345) == b"unknown error"
    assert error(0) == b"no error"
    function("destroy", None, p)(handle)
    function("destroy", None, p)(None)


def test_an_arena_beyond_memory_is_an_error_code():
    n = symbol("n")
    program = sum_program(n, dims=["n"])
    program.properties["arena"] = StringAttr(str(n * n * n * 4))
    run = build(program, [add_kernel(n, dims=["n"])], ADD)
    somewhere = (ctypes.c_void_p * 1)(1)
    code = run._run(run._handle, somewhere, somewhere, (ctypes.c_int64 * 1)(1 << 30))
    assert run._error(code) == b"out of memory"


def test_the_isa_check_names_what_is_missing():
    features = ["sse4.2", "avx2", "avx512f"]
    if not TARGET.triple.startswith("x86_64"):
        pytest.skip("the check is for x86-64")
    from llvmlite import binding

    has = binding.get_host_cpu_features()
    text = missing_llvm(features).replace("internal i32 @tfc_missing", "i32 @missing_under_test")
    library = load_object(compile_llvm(text, TARGET))
    missing = [k for k, f in enumerate(features, 1) if not has[f]]
    found = ctypes.CFUNCTYPE(ctypes.c_int)(library.address("missing_under_test"))()
    assert found == (missing[0] if missing else 0)
    assert checked("aarch64-linux-gnu", features) == []
    # A feature that no x86-64 has: bit 10 of leaf 1's ECX on Intel is long gone.
    from tfc.codegen import isa

    isa.CPUID["none"] = (0x80000001, 0, isa.EBX, 31, 0)
    try:
        text = missing_llvm([*features[:1], "none"]).replace("internal i32 @tfc_missing", "i32 @missing_two")
    finally:
        del isa.CPUID["none"]
    library = load_object(compile_llvm(text, TARGET))
    assert ctypes.CFUNCTYPE(ctypes.c_int)(library.address("missing_two"))() in (1, 2)


def test_a_program_for_another_cpu_says_so():
    import dataclasses

    program = sum_program(8)
    manifest = describe_program(program, TARGET)
    errors = (*manifest.errors, dataclasses.replace(manifest.errors[0], code=-101, text="this CPU lacks x"))
    manifest = dataclasses.replace(manifest, errors=errors)
    text = emit_host(program, [add_kernel(8)], manifest, shared_pool=True)
    start = text.index("define internal i32 @tfc_missing")
    end = text.index("}", start)
    text = text[:start] + "define internal i32 @tfc_missing() {\n  ret i32 1\n" + text[end:]
    library = load_object(compile_llvm(ADD + text, TARGET))
    with pytest.raises(ArtifactError, match="this CPU lacks"):
        Program(library.address, "sums", keep=library)


def test_emission_is_deterministic():
    texts = {
        emit_host(p, [add_kernel(8)], describe_program(p, TARGET)) for p in (sum_program(8), sum_program(8))
    }
    assert len(texts) == 1


@pytest.mark.skipif(shutil.which("cc") is None, reason="links with the system's compiler")
def test_two_models_in_one_c_program(tmp_path: Path):
    """Their kernels have equal names, their pools too: all of that is private to each object."""
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.dialects.func import FuncOp, ReturnOp

    from tfc.compiler import emit, lower, save
    from tfc.dialects.tfc.elementwise import ExpOp
    from tfc.options import Options

    for name in ("one", "two"):
        type_ = tensor_type([4], f32)
        block = Block(arg_types=[type_])
        block.add_op(op := ExpOp(block.args[0]))
        block.add_op(ReturnOp(op.result))
        module = ModuleOp([FuncOp("main", ([type_], [type_]), Region(block))])
        save(emit(lower(module, Options(name=name))), tmp_path / f"{name}.o")
    calls = 'printf("%d %d\\n", one_abi(), two_abi());'
    headers = '#include "one.h"\n#include "two.h"\n#include <stdio.h>\n'
    (tmp_path / "main.c").write_text(f"{headers}int main(void) {{ {calls} return 0; }}\n")
    command = ["cc", "main.c", "one.o", "two.o", "-lm", "-lpthread", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run(tmp_path / "main", capture_output=True, check=True).stdout == b"1 1\n"


@pytest.mark.parametrize(
    ("triple", "machine"),
    [
        ("aarch64-unknown-linux-gnu", 183),
        ("riscv64-unknown-linux-gnu", 243),
        ("x86_64-unknown-linux-musl", 62),
        ("arm64-apple-macosx13.0.0", None),
    ],
)
def test_other_targets_are_emitted(triple: str, machine: int | None):
    """An object with the whole interface and the pool; the number is ELF's for the machine."""
    n = symbol("n")
    target = Target.parse(triple)
    program = sum_program(n, dims=["n"])
    text = emit_host(program, [add_kernel(n, dims=["n"])], describe_program(program, target))
    data = compile_llvm(f'target triple = "{triple}"\n{ADD}{text}{pool_llvm(triple)}', target)
    if machine is not None:
        assert data[:4] == b"\x7fELF"
        assert int.from_bytes(data[18:20], "little") == machine
    assert b"sums_run" in data
