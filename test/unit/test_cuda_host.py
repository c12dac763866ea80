"""The host code of programs on a GPU: what it does with the driver, against one that is made of Python functions."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_cuda import PRIMARY, FakeDriver, at
from xdsl.parser import Parser

from tfc.codegen.cpu.objects import compile_llvm
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cuda import Image
from tfc.codegen.host import describe_program, emit_host
from tfc.dialects import context, host, kernel
from tfc.errors import ArtifactError, FeedError, RunError
from tfc.runtime import driver_api as api
from tfc.runtime.cuda import DeviceArray, as_device_array, handle_of, is_on_device
from tfc.runtime.cuda import driver as cuda_driver
from tfc.runtime.jit import JitLibrary, load_object
from tfc.runtime.program import Program

IMAGE = Image("sm_90", ".version 8.0")
GPU_KERNEL = 'attributes {dims = [], grid = "1", block = 32 : i64, target = "gpu"}'

ROWS = """
kernel.func @step(%x : memref<?xf32>, %w: memref<4xf32>, %y : memref<?xf32>, %batch: index)
    attributes {dims = ["batch"], grid = "3*batch", block = 64 : i64, target = "gpu"} {
}
host.program @m attributes {dims = ["batch"], inputs = [#host.port<"x", tensor<?x4xf32, #tfc.dims<["batch", ""]>>>],
    outputs = [#host.port<"y", tensor<?x4xf32, #tfc.dims<["batch", ""]>>>],
    arena = "0", arenas = {"GPU:0" = "16*batch"}, weights = 64 : i64} {
  %x = host.input 0 on "GPU:0" : memref<?xf32>
  %y = host.output 0 on "GPU:0" : memref<?xf32>
  %w = host.constant <"[1.0, 2.0, 3.0, 4.0]" : tensor<4xf32>> on "GPU:0" at 0 : memref<4xf32>
  %t = host.buffer "16*batch" on "GPU:0" at "0" : memref<?xf32>
  host.launch @step reads(%x, %w) writes(%t) : memref<?xf32>, memref<4xf32> -> memref<?xf32>
  host.launch @step reads(%t, %w) writes(%y) : memref<?xf32>, memref<4xf32> -> memref<?xf32>
}
"""


def step(_grid: int, _block: int, x: int, w: int, y: int, batch: int, _status: int) -> None:
    """Rows of x times w."""
    at(y, 4 * batch)[:] = (at(x, 4 * batch).reshape(-1, 4) * at(w, 4)).reshape(-1)


def build(text: str, messages: Sequence[str] = (), image: Image = IMAGE) -> tuple[JitLibrary, Any]:
    module = Parser(context(), text).parse_module()
    module.verify()
    program = next(o for o in module.ops if isinstance(o, host.ProgramOp))
    kernels = [o for o in module.ops if isinstance(o, kernel.FuncOp)]
    target = Target.parse()
    manifest = describe_program(program, target, messages, gpu=image.cpu)
    code = emit_host(program, kernels, manifest, bound_weights=True, shared_pool=True, image=image)
    return load_object(compile_llvm(f'target triple = "{target.triple}"\n{code}', target)), program


def start(
    text: str, kernels: Mapping[str, Callable[..., None]], messages: Sequence[str] = (), **driver: Any
) -> tuple[Program, FakeDriver]:
    """A program and the driver that it uses."""
    library, program = build(text, messages, driver.pop("image", IMAGE))
    gpu = FakeDriver(kernels, **driver)
    use(library, gpu)
    weights = [op.value.data.array for op in program.body.block.ops if isinstance(op, host.ConstantOp)]
    return Program(library.address, "m", constants=weights, keep=(library, gpu)), gpu


def use(library: JitLibrary, gpu: FakeDriver) -> None:
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(library.address("m_use_driver"))(gpu.table)


def test_runs_with_host_memory_and_replays_what_repeats() -> None:
    program, gpu = start(ROWS, {"step": step})
    assert gpu.images == [b".version 8.0"]
    for batch, calls in ((3, []), (3, ["cuStreamBeginCapture_v2", "cuGraphLaunch"]), (3, ["cuGraphLaunch"]), (5, [])):
        gpu.calls.clear()
        x = np.random.default_rng(batch).normal(size=(batch, 4)).astype(np.float32)
        (y,) = program.run([x])
        np.testing.assert_allclose(y, x * np.square([1.0, 2.0, 3.0, 4.0]), rtol=1e-6)
        assert [c for c in gpu.calls if c in ("cuStreamBeginCapture_v2", "cuGraphLaunch")] == calls
        assert gpu.launches[-2:] == [("step", 3 * batch, 64)] * 2
        grown = gpu.calls.count("cuMemAlloc_v2")  # before memory that may be in use is given back
        assert gpu.calls.count("cuStreamSynchronize") == 1 + grown
    del program
    assert gpu.allocated == 0
    assert [c for c in gpu.calls if not c.startswith("cuCtx")][-2:] == ["cuModuleUnload", "cuDevicePrimaryCtxRelease_v2"]


def test_graphs_of_several_sizes_are_kept() -> None:
    program, gpu = start(ROWS, {"step": step})
    program.run([np.ones((20, 4), np.float32)])  # memory is large enough from here on
    gpu.calls.clear()
    for _ in range(3):
        for batch in (2, 9, 4):
            x = np.full((batch, 4), batch, np.float32)
            np.testing.assert_array_equal(program.run([x])[0], x * np.square([1, 2, 3, 4]))
    assert gpu.calls.count("cuGraphInstantiateWithFlags") == 3
    assert gpu.calls.count("cuGraphLaunch") == 6
    for batch in range(1, 20):
        program.run([np.ones((batch, 4), np.float32)])
    assert gpu.calls.count("cuGraphExecDestroy") == 3  # the oldest make room
    del program
    gc.collect()
    destroyed = gpu.calls.count("cuGraphExecDestroy")
    assert destroyed == gpu.calls.count("cuGraphInstantiateWithFlags")


def test_a_driver_that_cannot_capture_is_not_asked_again() -> None:
    program, gpu = start(ROWS, {"step": step}, capturable=False)
    x = np.ones((2, 4), np.float32)
    for _ in range(4):
        np.testing.assert_array_equal(program.run([x])[0], x * np.square([1, 2, 3, 4]))
    assert gpu.calls.count("cuStreamBeginCapture_v2") == 1


def test_each_launch_is_waited_for_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFC_GPU_SYNC", "1")
    program, gpu = start(ROWS, {"step": step})
    x = np.ones((2, 4), np.float32)
    program.run([x])
    gpu.calls.clear()
    program.run([x])
    assert gpu.calls.count("cuStreamSynchronize") == 3
    assert "cuStreamBeginCapture_v2" not in gpu.calls


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ({"devices": 0}, "this machine has no such GPU"),
        ({"capability": (8, 6)}, r"the GPU's compute capability is not 9\.0 or later"),
        ({"memory": 128}, "out of memory on the GPU"),
        ({"kernels": {}}, "CUDA_ERROR_NOT_FOUND"),
        ({"capability": (10, 0), "image": Image("sm_90a", "")}, r"capability is not 9\.0"),
    ],
)
def test_what_keeps_a_model_from_being_made(driver: dict[str, Any], message: str) -> None:
    kernels = driver.pop("kernels", {"step": step})
    library, _ = build(ROWS, image=driver.pop("image", IMAGE))
    gpu = FakeDriver(kernels, **driver)
    use(library, gpu)
    with pytest.raises(ArtifactError, match=message):
        Program(library.address, "m", keep=(library, gpu))
    assert gpu.allocated == 0


@pytest.mark.parametrize("name", ["cuInit", "cuDevicePrimaryCtxRetain", "cuModuleLoadData", "cuStreamCreate", "cuMemAlloc_v2"])
def test_a_driver_that_fails_says_how(name: str) -> None:
    library, _ = build(ROWS)
    gpu = FakeDriver({"step": step})
    use(library, gpu)
    gpu.fail(name, api.LAUNCH_FAILED)
    with pytest.raises(ArtifactError, match="CUDA_ERROR_LAUNCH_FAILED"):
        Program(library.address, "m", keep=(library, gpu))
    assert gpu.allocated == 0


def test_machine_code_is_preferred_and_text_is_what_is_left() -> None:
    _, gpu = start(ROWS, {"step": step}, image=Image("sm_90", "text", b"\x7fELF\0binary"))
    assert [i[:4] for i in gpu.images] == [b"\x7fELF", b"text"]
    _, gpu = start(ROWS, {"step": step}, image=Image("sm_90", "text", b"\x7fELF\0binary"), capability=(10, 0))
    assert gpu.images == [b"text"]


def test_a_launch_that_fails_names_the_kernel_and_its_line() -> None:
    program, gpu = start(ROWS, {"step": step})
    x = np.ones((2, 4), np.float32)
    gpu.fail("cuLaunchKernel", api.LAUNCH_OUT_OF_RESOURCES)
    with pytest.raises(RunError, match=r"kernel 'step'.*CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, what"):
        program.run([x])
    np.testing.assert_array_equal(program.run([x])[0], x * np.square([1, 2, 3, 4]))


def test_a_kernel_that_fails_ends_all_later_runs() -> None:
    program, gpu = start(ROWS, {"step": step})
    x = np.ones((2, 4), np.float32)
    program.run([x])
    gpu.fail("cuStreamSynchronize", api.ILLEGAL_ADDRESS, sticky=True)
    for _ in range(2):
        with pytest.raises(RunError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            program.run([x])


def test_too_little_memory_for_a_large_batch() -> None:
    program, _ = start(ROWS, {"step": step}, memory=4096)
    with pytest.raises(RunError, match=r"memory for .*: CUDA_ERROR_OUT_OF_MEMORY"):
        program.run([np.ones((1000, 4), np.float32)])
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(program.run([x])[0], x * np.square([1, 2, 3, 4]))


CHECKED = f"""
kernel.func @look(%x : memref<4xf32>, %y : memref<4xf32>) {GPU_KERNEL} {{
  %no = arith.constant false
  kernel.check %no, "model.py:3: 'tfc.gather': an index is too large" : i1
}}
kernel.func @double(%x : memref<4xf32>, %y : memref<4xf32>) {GPU_KERNEL} {{
}}
host.program @m attributes {{dims = [], inputs = [#host.port<"x", tensor<4xf32>>], outputs = [#host.port<"y", tensor<4xf32>>],
    variables = [#host.port<"v", tensor<4xf32>>], arena = "0", arenas = {{"GPU:0" = "256"}}, weights = 0 : i64}} {{
  %x = host.input 0 : memref<4xf32>
  %y = host.output 0 : memref<4xf32>
  %v = host.variable 0 on "GPU:0" : memref<4xf32>
  %t = host.buffer "16" on "GPU:0" at "0" : memref<4xf32>
  host.copy %x to %t, "16" : memref<4xf32>, memref<4xf32>
  host.launch @look reads(%t) writes(%t) : memref<4xf32> -> memref<4xf32>
  host.launch @double reads(%t) writes(%v) : memref<4xf32> -> memref<4xf32>
  host.copy %v to %y, "16" : memref<4xf32>, memref<4xf32>
}}
"""


def look(_grid: int, _block: int, x: int, y: int, status: int) -> None:
    """x + 1; an error where one is negative."""
    at(y, 4)[:] = at(x, 4) + 1
    if (at(y, 4) < 0).any():
        at(status, 1, np.int32)[:] = 1


def double(_grid: int, _block: int, x: int, y: int, _status: int) -> None:
    at(y, 4)[:] = 2 * at(x, 4)


def test_what_kernels_report_comes_before_variables_change() -> None:
    program, gpu = start(CHECKED, {"look": look, "double": double}, ["model.py:3: 'tfc.gather': an index is too large"])
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(program.run([x])[0], 2 * (x + 1))
    launched = len(gpu.launches)
    with pytest.raises(RunError, match=r"model\.py:3: .*'tfc\.gather': an index is too large"):
        program.run([x - 5])
    assert gpu.launches[launched:] == [("look", 1, 32)]  # and not the kernel that writes the variable
    np.testing.assert_array_equal(program.run([x])[0], 2 * (x + 1))


LOOP = f"""
kernel.func @double(%x : memref<4xf32>, %y : memref<4xf32>) {GPU_KERNEL} {{
}}
kernel.func @less(%x : memref<4xf32>, %y : memref<1xi1>) {GPU_KERNEL} {{
}}
host.program @m attributes {{dims = [], inputs = [#host.port<"x", tensor<4xf32>>], outputs = [#host.port<"y", tensor<4xf32>>],
    arena = "64", arenas = {{"GPU:0" = "512"}}, weights = 0 : i64}} {{
  %x = host.input 0 : memref<4xf32>
  %y = host.output 0 : memref<4xf32>
  %t = host.buffer "16" on "GPU:0" at "0" : memref<4xf32>
  %p = host.buffer "1" on "GPU:0" at "256" : memref<1xi1>
  %more = host.buffer "1" at "0" : memref<1xi1>
  host.copy %x to %t, "16" : memref<4xf32>, memref<4xf32>
  host.while {{
    host.launch @less reads(%t) writes(%p) : memref<4xf32> -> memref<1xi1>
    host.copy %p to %more, "1" : memref<1xi1>, memref<1xi1>
  }} more %more : memref<1xi1> do {{
    host.launch @double reads(%t) writes(%t) : memref<4xf32> -> memref<4xf32>
  }}
  host.if %more : memref<1xi1> {{
    host.copy %x to %y, "16" : memref<4xf32>, memref<4xf32>
  }} else {{
    host.copy %t to %y, "16" : memref<4xf32>, memref<4xf32>
  }}
}}
"""


def test_a_loop_whose_condition_is_on_the_device() -> None:
    def less(_grid: int, _block: int, x: int, y: int, _status: int) -> None:
        at(y, 1, np.uint8)[:] = at(x, 4).sum() < 100

    program, gpu = start(LOOP, {"double": double, "less": less})
    x = np.arange(1, 5, dtype=np.float32)
    np.testing.assert_array_equal(program.run([x])[0], 16 * x)
    assert [n for n, _, _ in gpu.launches] == ["less", "double"] * 4 + ["less"]
    assert gpu.calls.count("cuStreamSynchronize") == 5 + 1


COUNT = f"""
kernel.func @double(%x : memref<4xf32>, %y : memref<4xf32>) {GPU_KERNEL} {{
}}
host.program @m attributes {{dims = [], inputs = [], outputs = [#host.port<"y", tensor<4xf32>>],
    variables = [#host.port<"v", tensor<4xf32>>], arena = "0", weights = 0 : i64}} {{
  %y = host.output 0 on "GPU:0" : memref<4xf32>
  %v = host.variable 0 on "GPU:0" : memref<4xf32>
  host.launch @double reads(%v) writes(%v) : memref<4xf32> -> memref<4xf32>
  host.copy %v to %y, "16" : memref<4xf32>, memref<4xf32>
}}
"""


@pytest.fixture
def cuda() -> Any:
    """A driver for `tfc.runtime.cuda`."""
    from tfc.runtime import cuda

    gpu = FakeDriver({"double": double, "step": step})
    cuda.use_driver(gpu.table, gpu)
    yield gpu
    cuda.use_driver(None)


def test_variables_live_on_the_device(cuda: FakeDriver) -> None:
    library, _ = build(COUNT)
    program = Program(library.address, "m", keep=library)
    np.testing.assert_array_equal(program.variable(0).numpy(), np.zeros(4))
    program.variable(0)[...] = [1, 2, 3, 4]
    for k in range(1, 4):  # the third run replays the second one
        np.testing.assert_array_equal(program.run([])[0], np.array([1, 2, 3, 4]) * 2.0**k)
    np.testing.assert_array_equal(np.asarray(program.variable(0)), [8, 16, 24, 32])
    assert cuda.calls.count("cuGraphLaunch") == 2
    other = DeviceArray.of(np.ones(4, np.float32))
    program.bind_variable(0, other)
    np.testing.assert_array_equal(program.run([])[0], np.full(4, 2.0))
    np.testing.assert_array_equal(other.numpy(), np.full(4, 2.0))
    assert other[1] == 2.0
    other[1:3] = 7
    np.testing.assert_array_equal(other.copy(), [2, 7, 7, 2])


def test_variables_from_c(cuda: FakeDriver) -> None:
    library, _ = build(COUNT)
    program = Program(library.address, "m", keep=library)
    read, write = (
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(library.address(f"m_{word}"))
        for word in ("read", "write")
    )
    there, back = np.arange(4, dtype=np.float32), np.empty(4, np.float32)
    assert write(program._handle, 0, there.ctypes.data) == 0
    program.run([])
    assert read(program._handle, 0, back.ctypes.data) == 0
    np.testing.assert_array_equal(back, 2 * there)
    assert read(program._handle, 1, back.ctypes.data) == -1
    assert read(program._handle, 0, None) == -1


def test_arrays_on_the_device_are_used_in_place(cuda: FakeDriver) -> None:
    library, _ = build(ROWS)
    weights = np.array([1, 2, 3, 4], np.float32)
    program = Program(library.address, "m", constants=[weights], keep=library)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    there = DeviceArray.of(x)
    cuda.calls.clear()
    (y,) = program.run([there])
    assert isinstance(y, DeviceArray)
    assert not any("Memcpy" in c for c in cuda.calls)
    np.testing.assert_array_equal(y.numpy(), x * weights**2)
    into = DeviceArray.empty((3, 4), np.float32)
    assert program.run_device([there], [into])[0] is into
    np.testing.assert_array_equal(into.numpy(), x * weights**2)
    with pytest.raises(FeedError, match=r"input 'x': expected float32\[3, 4\], got float64\[3, 4\]"):
        program.run([DeviceArray.of(x.astype(np.float64))])
    with pytest.raises(FeedError, match=r"output 'y': expected float32\[3, 4\], got float32\[4, 4\]"):
        program.run_device([there], [DeviceArray.empty((4, 4), np.float32)])
    part = DeviceArray(there.address + 4, (2, 4), np.dtype(np.float32), there)  # begins at no multiple of 16 bytes
    np.testing.assert_array_equal(program.run([part])[0].numpy(), x.reshape(-1)[1:9].reshape(2, 4) * weights**2)
    with pytest.raises(RunError, match="an address on the GPU is no multiple of 16 bytes"):
        program.run_device([there], [DeviceArray(into.address + 4, (3, 4), into.dtype, into)])
    waits = cuda.calls.count("cuStreamSynchronize")
    program.run_device([there], [into], stream=0x5)
    assert cuda.calls.count("cuStreamSynchronize") == waits


class _Foreign:
    """An array of another library."""

    def __init__(self, array: DeviceArray, strides: tuple[int, ...] | None = None) -> None:
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | {"strides": strides}
        self.array = array


def test_arrays_of_other_libraries(cuda: FakeDriver) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = DeviceArray.of(x)
    for other in (_Foreign(there), _Foreign(there, (12, 4)), _Packed(there)):
        assert is_on_device(other)
        found = as_device_array(other)
        assert (found.address, found.shape, found.dtype) == (there.address, (2, 3), np.float32)
    with pytest.raises(FeedError, match="expected a dense array"):
        as_device_array(_Foreign(there, (4, 8)))
    assert not is_on_device(x)
    assert not is_on_device(1.0)


def test_the_callers_context_stays_current(cuda: FakeDriver) -> None:
    library, _ = build(ROWS)
    program = Program(library.address, "m", constants=[np.ones(4, np.float32)], keep=library)
    for own in (PRIMARY, 0xD00):
        cuda.current = own
        for _ in range(3):
            program.run([np.ones((2, 4), np.float32)])
        assert cuda.current == own
    array = DeviceArray.of(np.ones(4, np.float32))
    cuda_driver().pin(np.ones(4))
    assert (array.clone().numpy().tolist(), cuda.current) == ([1] * 4, 0xD00)
    cuda.calls.clear()
    del program
    assert "cuModuleUnload" in cuda.calls
    assert cuda.current == 0xD00


def test_arrays_of_other_contexts(cuda: FakeDriver) -> None:
    there = DeviceArray.of(np.ones(4, np.float32))
    cuda.foreign[there.address] = (0xD00, 0)
    with pytest.raises(FeedError, match=r"expected an array in the primary context of GPU:0, got one of another.*\n.*autoprimaryctx"):
        as_device_array(_Foreign(there))
    cuda.devices, cuda.foreign[there.address] = 2, (PRIMARY, 1)
    assert as_device_array(_Foreign(there)).ordinal == 1
    cuda.foreign[there.address] = (0, 0)  # of a pool
    assert as_device_array(_Foreign(there)).address == there.address
    assert as_device_array(_Foreign(DeviceArray.empty([4], np.float32))).ordinal == 0


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (None, 0),
        (7, 7),
        (SimpleNamespace(handle=7), 7),  # pycuda.driver.Stream
        (SimpleNamespace(handle=ctypes.c_void_p(7)), 7),  # numba.cuda
        (SimpleNamespace(handle=ctypes.c_void_p(None)), 0),
        (SimpleNamespace(ptr=7), 7),  # cupy.cuda.Stream
        (SimpleNamespace(cuda_stream=7), 7),  # torch.cuda.Stream
        (SimpleNamespace(handle="of something else", __cuda_stream__=lambda: (0, 7)), 7),  # cuda.core.Stream
        (np.int64(7), 7),  # a number, as cuda.bindings' CUstream is to int
    ],
)
def test_streams_of_other_libraries(stream: Any, handle: int) -> None:
    assert handle_of(stream) == handle


def test_no_stream() -> None:
    with pytest.raises(FeedError, match="expected a CUDA stream or its handle, got list"):
        handle_of([])


class _Packed:
    """An array of another library that knows DLPack only."""

    def __init__(self, array: DeviceArray) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, stream: int) -> Any:
        assert stream == 1
        return self.array.__dlpack__()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "uint16", "bool"])
def test_capsules(cuda: FakeDriver, dtype: str) -> None:
    from tfc.runtime import dlpack

    before = len(dlpack._alive)
    array = DeviceArray.of(np.zeros((0, 3) if dtype == "int8" else (2, 3), dtype))
    found = dlpack.imported(array)
    assert (found.dtype, found.shape, found.device) == (array.dtype, array.shape, (dlpack.CUDA, 0))
    assert len(dlpack._alive) == before + 1
    del found
    gc.collect()
    assert len(dlpack._alive) == before
    unused = array.__dlpack__()
    del unused
    gc.collect()
    assert len(dlpack._alive) == before


def test_memory_is_given_back(cuda: FakeDriver) -> None:
    driver = cuda_driver()
    array = DeviceArray.of(np.ones(4))
    address = array.address
    del array
    assert DeviceArray.of(np.zeros(7)).address == address  # one block, used again
    assert cuda.allocated == 1
    assert driver.release() == 512
    assert cuda.allocated == 0
    assert driver.release() == 0


def test_spare_memory_is_given_back_where_there_is_none(cuda: FakeDriver) -> None:
    cuda.memory = 4096
    DeviceArray.empty([2048], np.uint8)
    DeviceArray.empty([4096], np.uint8)
    with pytest.raises(RunError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        DeviceArray.empty([8192], np.uint8)


def test_a_gpu_by_its_properties(cuda: FakeDriver) -> None:
    from tfc.runtime.cuda import driver, is_available

    assert is_available()
    assert (driver().properties().name, driver().properties().capability) == ("fake", 90)
    with pytest.raises(RunError, match="there is no GPU 3"):
        driver().properties(3)
    cuda.fail("cuMemAlloc_v2", api.OUT_OF_MEMORY)
    with pytest.raises(RunError, match="cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY"):
        DeviceArray.empty([4], np.float32)


def test_no_driver_is_said() -> None:
    from tfc.runtime.cuda import driver, is_available

    if is_available():
        pytest.skip("there is a driver")
    with pytest.raises(RunError, match=r"no CUDA driver: libcuda\.so\.1 was not found"):
        driver()
    library, _ = build(ROWS)
    with pytest.raises(ArtifactError, match=r"libcuda\.so\.1 was not found; the model was compiled for a GPU \(sm_90\)"):
        Program(library.address, "m", keep=library)


@pytest.mark.parametrize(("value", "captures"), [("0", 0), ("1", 1)])
def test_replaying_is_an_option(monkeypatch: pytest.MonkeyPatch, value: str, captures: int) -> None:
    monkeypatch.setenv("TFC_GPU_GRAPHS", value)
    program, gpu = start(ROWS, {"step": step})
    x = np.ones((2, 4), np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(program.run([x])[0], x * np.square([1, 2, 3, 4]))
    assert gpu.calls.count("cuStreamBeginCapture_v2") == captures
