"""The host code of a model that runs on a GPU: what it has there, its launches, its copies.

    NAME_create      opens the driver, loads the kernels (PTX in the object, perhaps machine code beside it), makes
                     a stream, the arena, and copies of the constants
    NAME_run         host memory in and out: copies inputs there, runs, copies outputs back, waits once
    NAME_run_device  device memory in and out, on a stream of the caller's
    NAME_enqueue     (internal) the operations of the host program, begun on a stream in order

`cuda.ll` holds what no graph determines. A host that looks at bytes which come from the device waits for them
first; what outlives a run is not written before the kernels until then have reported no error. Where a
program does neither, the second run with the same addresses and dims is captured, and later ones replay it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

from tfc.codegen.artifact.manifest import ErrorMessage, Manifest
from tfc.codegen.cpu.ir import Code
from tfc.codegen.interface import (
    GPU,
    MESSAGE,
    NO_MEMORY,
    NULL_POINTER,
    VARIABLES,
    escaped,
    function_text,
    leave_if,
    new_code,
    place_of,
    string_text,
)
from tfc.dialects import host, kernel
from tfc.dims import Dim, evaluate
from tfc.errors import OptionError
from tfc.runtime import driver_api
from tfc.runtime.driver_api import NO_DRIVER, NO_GPU, OLD_GPU

NO_GPU_MEMORY, MISALIGNED = -23, -24
GPU_ERROR = -10000
"""Codes of the interface, beside those of `driver_api`; ``GPU_ERROR - r`` is the driver's result ``r``, where none of the others is about it."""

WORDS = 19
"""Of an instance's device state, before its kernels; see `cuda.ll`."""

GRAPHS = 8
"""How many captured graphs an instance keeps."""

STATUS, ARENA, STAGING, WEIGHTS, VARIABLE_MEMORY = 5, 6, 8, 10, 11
IN, BACK, WITHIN = range(3)
"""The ways of a copy: from the host's memory, to it, within the device's."""

ALIGNMENT = 256
"""Bytes of whose multiples a buffer in device memory begins."""

WIDEST = kernel.WIDEST
"""The same of inputs and outputs of the caller's: one access of a thread."""


@dataclass(frozen=True)
class Image:
    """The kernels of a model for a GPU.

    Attributes:
        cpu: the generation they are for: ``sm_90``.
        ptx: their text.
        cubin: the same as machine code, which needs no compilation where it fits; may be empty.
    """

    cpu: str
    ptx: str
    cubin: bytes = b""

    @property
    def capability(self) -> int:
        """Ten times the compute capability: 90."""
        return int(re.sub(r"\D", "", self.cpu))

    @property
    def is_exact(self) -> bool:
        """Whether it runs on this generation only, and not on later ones: ``sm_90a``."""
        return not self.cpu[-1].isdigit()


def errors(cpu: str) -> Iterator[ErrorMessage]:
    """What the interface of a model for the GPU ``cpu`` reports itself."""
    number = re.sub(r"\D", "", cpu)
    needs = f"{number[:-1]}.{number[-1]}"
    made = f"the model was compiled for a GPU ({cpu})"
    library = driver_api.LIBRARY
    yield ErrorMessage(NO_DRIVER, f"this machine has no CUDA driver: {library} was not found; {made}")
    yield ErrorMessage(NO_GPU, f"this machine has no such GPU: its CUDA driver finds too few; {made}")
    yield ErrorMessage(OLD_GPU, f"the GPU's compute capability is not {needs} or later; {made}")
    yield ErrorMessage(NO_GPU_MEMORY, "out of memory on the GPU")
    yield ErrorMessage(MISALIGNED, f"an address on the GPU is no multiple of {WIDEST} bytes")


def device_of(program: host.ProgramOp) -> str:
    """The GPU that a program uses; empty where it uses none.

    Raises:
        OptionError: it uses several.
    """
    found = program.devices
    if len(found) > 1:
        message = f"a model runs on one GPU beside the host; this one was placed on {', '.join(found)}"
        raise OptionError(message, help="tf.device with one GPU, or a model for each")
    return found[0] if found else ""


def runtime_llvm(name: str) -> str:
    """What `cuda.ll` holds, for the model ``name``."""
    text = files("tfc.codegen").joinpath("cuda.ll").read_text("utf-8")
    names = b"".join(f"{f.name}\0{f.older}\0".encode() for f in driver_api.FUNCTIONS)
    used = set(re.findall(r"@tfc_(cu\w+)\(", text))
    return Template(text).substitute(
        name=name,
        words=WORDS,
        graphs=GRAPHS,
        bytes=8 * WORDS,
        error=GPU_ERROR,
        message=MESSAGE,
        no_driver=NO_DRIVER,
        no_gpu=NO_GPU,
        old_gpu=OLD_GPU,
        no_gpu_memory=NO_GPU_MEMORY,
        no_memory=NO_MEMORY,
        null_pointer=NULL_POINTER,
        count=len(driver_api.FUNCTIONS),
        library=driver_api.LIBRARY,
        library_size=len(driver_api.LIBRARY) + 1,
        names=escaped(names),
        names_size=len(names),
        calls="".join(_call(f) for f in driver_api.FUNCTIONS if f.name in used),
    )


_KINDS = {ctypes.c_int32: "i32", ctypes.c_uint32: "i32", ctypes.c_uint8: "i8 zeroext", ctypes.c_void_p: "ptr"}


def _call(function: driver_api.Function) -> str:
    """A function that calls one of the driver through a table."""
    arguments = ", ".join(f"{_KINDS.get(a, 'i64')} %a{k}" for k, a in enumerate(function.arguments))
    return f"""define internal i32 @tfc_{function.name}(ptr %table, {arguments}) nounwind {{
  %at = getelementptr ptr, ptr %table, i64 {driver_api.index(function.name)}
  %function = load ptr, ptr %at, align 8
  %result = call i32 %function({arguments})
  ret i32 %result
}}
"""


class Layout:
    """What a program has on its GPU.

    Attributes:
        device: its name: ``GPU:0``.
        kernels: the place of each kernel for it among its functions.
        constants: where in the memory for constants each one lies, by its offset in the weights.
        variables: the same of variables, by their position.
    """

    def __init__(self, program: host.ProgramOp, kernels: Sequence[kernel.FuncOp]) -> None:
        self.program, self.device = program, device_of(program)
        own = [k for k in kernels if k.target.data == "gpu"]
        self.functions = own
        self.kernels = {k.sym_name.data: index for index, k in enumerate(own)}
        self.constants, self.constant_bytes = host.device_weights(program, self.device, ALIGNMENT)
        self.variables = dict[int, int]()
        self.variable_bytes = 0
        for op in program.body.block.ops:
            if isinstance(op, host.VariableOp) and op.memory == self.device:
                self.variables[op.position] = self.variable_bytes
                size = evaluate(host.tensor_bytes(program.variables.data[op.position].content), {})
                self.variable_bytes += -(-size // ALIGNMENT) * ALIGNMENT

    @property
    def ordinal(self) -> int:
        return int(self.device.rpartition(":")[2])

    @property
    def arena_size(self) -> Dim:
        return self.program.arena_sizes.get(self.device, 0)

    @property
    def sizes(self) -> dict[int, int]:
        """The bytes of each constant, by its offset in the weights."""
        return {
            op.offset.value.data: op.value.data.array.nbytes
            for op in self.program.body.block.ops
            if isinstance(op, host.ConstantOp) and op.memory == self.device
        }

    @property
    def key_bytes(self) -> int:
        """Of what a captured graph is for: addresses of inputs and outputs, and dims."""
        program = self.program
        return 8 * (len(program.inputs) + len(program.outputs) + len(program.dims))

    @property
    def is_captured(self) -> bool:
        """Whether a run is nothing but kernels and copies on the device, so that it can be recorded."""
        ops = [op for op in self.program.walk() if op is not self.program]
        hosts = (host.IfOp, host.WhileOp, host.RowOp, host.PrintOp, host.AssertOp)
        memories = {host.memory_of(o) for op in ops if isinstance(op, host.LaunchOp | host.CopyOp) for o in op.operands}
        return memories == {self.device} and not any(isinstance(op, hosts) for op in ops)


def constants_text(manifest: Manifest, image: Image, layout: Layout) -> str:
    """The kernels as data, and their names."""
    names = b"".join(k.encode() + b"\0" for k in layout.kernels) or b"\0"
    parts = [
        string_text(f"{manifest.name}_ptx", image.ptx, "internal"),
        f'@{manifest.name}_kernels = internal constant [{len(names)} x i8] c"{escaped(names)}"\n',
    ]
    if image.cubin:
        data = escaped(image.cubin)
        parts.append(f'@{manifest.name}_cubin = internal constant [{len(image.cubin)} x i8] c"{data}", align 64\n')
    return "".join(parts)


def emit_create(code: Code, manifest: Manifest, image: Image, layout: Layout, bound: bool) -> Iterator[str]:
    """Write what ``NAME_create`` does for the GPU. Yields codes (values) that are not 0 where a step failed."""
    name = manifest.name
    cubin = f"@{name}_cubin" if image.cubin else "null"
    what = (
        f"i32 {layout.ordinal}, i32 {image.capability}, i32 {int(image.is_exact)}, ptr @{name}_ptx, ptr {cubin}, "
        f"ptr @{name}_kernels, i64 {len(layout.kernels)}, i64 {layout.key_bytes}"
    )
    yield code.op(f"call i32 @tfc_gpu_open(ptr {place_of(code, GPU)}, {what})")
    gpu = code.op(f"load ptr, ptr {place_of(code, GPU)}, align 8")
    for function in layout.functions:
        if function.shared is not None:
            index, size = layout.kernels[function.sym_name.data], function.shared.value.data
            yield code.op(f"call i32 @tfc_gpu_share(ptr {gpu}, i64 {index}, i32 {size})")
    arena = layout.arena_size
    blocks = {WEIGHTS: layout.constant_bytes, VARIABLE_MEMORY: layout.variable_bytes}
    blocks |= {ARENA: arena} if isinstance(arena, int) else {}
    for word, size in blocks.items():
        if size:
            result = code.op(f"call i32 @tfc_gpu_allocate(ptr {gpu}, i64 {word}, i64 {size})")
            yield code.op(f"call i32 @tfc_gpu_code(i32 {result})")
    if layout.variable_bytes:
        memory = word_of(code, gpu, VARIABLE_MEMORY)
        yield code.op(f"call i32 @tfc_gpu_clear(ptr {gpu}, ptr {memory}, i64 {layout.variable_bytes})")
        for position, offset in layout.variables.items():
            place = code.at("i8", memory, str(offset))
            code.do(f"store ptr {place}, ptr {place_of(code, VARIABLES + position)}, align 8")
    if not bound and layout.constants:
        code.do(f"store ptr @{name}_weights, ptr %source, align 8")
        code.entry.append("  %source = alloca ptr, align 8")
        yield code.op(f"call i32 @{name}_upload(ptr %model, ptr %source)")


def upload_function(name: str, layout: Layout, bound: bool) -> str:
    """``NAME_upload(model, table)``: copies of the constants in device memory.

    The table has the address of each of the program's constants (``bound``), or of all their bytes.
    """
    if not layout.constants:
        return ""
    constants = (op for op in layout.program.body.block.ops if isinstance(op, host.ConstantOp))
    offsets = sorted({op.offset.value.data for op in constants})
    code, sizes = new_code(), layout.sizes
    gpu, stream = entered(code)
    memory = word_of(code, gpu, WEIGHTS)
    for offset, place in layout.constants.items():
        if bound:
            source = code.op(f"load ptr, ptr {code.at('ptr', '%table', str(offsets.index(offset)))}, align 8")
        else:
            source = code.at("i8", code.op("load ptr, ptr %table, align 8"), str(offset))
        target = code.at("i8", memory, str(place))
        copied = begin_copy(code, gpu, IN, target, source, str(sizes[offset]), stream, "@tfc_gpu_upload")
        leave_if(code, code.op(f"icmp ne i32 {copied}, 0"), f"i32 {copied}")
    waited = code.op(f"call i32 @tfc_gpu_wait(ptr %model, ptr {gpu}, ptr {stream}, ptr @tfc_gpu_upload)")
    code.do(f"ret i32 {waited}")
    text = string_text("tfc_gpu_upload", "copying the weights to the GPU", "private")
    return text + guest_text(f"internal i32 @{name}_upload(ptr %model, ptr %table)", code)


def variable_functions(manifest: Manifest, layout: Layout) -> str:
    """``NAME_read`` and ``NAME_write``: a variable's bytes to and from host memory, wherever it is."""
    if not manifest.variables:
        return ""
    text = string_text("tfc_gpu_variable", "copying a variable", "private")
    for word, way in (("read", BACK), ("write", IN)):
        code = new_code()
        null = code.op("icmp eq ptr %model, null")
        no_memory = code.op("icmp eq ptr %memory, null")
        outside = code.op(f"icmp uge i32 %index, {len(manifest.variables)}")
        leave_if(code, code.op(f"or i1 {code.op(f'or i1 {null}, {no_memory}')}, {outside}"), f"i32 {NULL_POINTER}")
        labels = [code.fresh("variable") for _ in manifest.variables]
        cases = " ".join(f"i32 {k}, label %{label}" for k, label in enumerate(labels))
        code.do(f"switch i32 %index, label %{labels[0]} [ {cases} ]")
        for k, (label, port) in enumerate(zip(labels, manifest.variables, strict=True)):
            code.start(label)
            place = code.op(f"load ptr, ptr {place_of(code, VARIABLES + k)}, align 8")
            target, source = ("%memory", place) if way == BACK else (place, "%memory")
            size = evaluate(port.bytes, {})
            if k not in layout.variables:
                code.op(f"call ptr @memcpy(ptr {target}, ptr {source}, i64 {size})")
                code.do("ret i32 0")
                continue
            gpu, stream = entered(code)
            copied = begin_copy(code, gpu, way, target, source, str(size), stream, "@tfc_gpu_variable")
            leave_if(code, code.op(f"icmp ne i32 {copied}, 0"), f"i32 {copied}")
            waited = code.op(f"call i32 @tfc_gpu_wait(ptr %model, ptr {gpu}, ptr {stream}, ptr @tfc_gpu_variable)")
            code.do(f"ret i32 {waited}")
        text += guest_text(f"i32 @{manifest.name}_{word}(ptr %model, i32 %index, ptr %memory)", code)
    return text


def word_of(code: Code, gpu: str, word: int) -> str:
    """A word of an instance's device state, as an address."""
    return code.op(f"load ptr, ptr {code.at('i64', gpu, str(word))}, align 8")


def entered(code: Code) -> tuple[str, str]:
    """The device state of ``%model`` and its stream, with its context current in this thread."""
    gpu = code.op(f"load ptr, ptr {place_of(code, GPU)}, align 8")
    entered = code.op(f"call i32 @tfc_gpu_enter(ptr %model, ptr {gpu}, ptr @tfc_gpu_context)")
    leave_if(code, code.op(f"icmp ne i32 {entered}, 0"), f"i32 {entered}")
    return gpu, word_of(code, gpu, 4)


def guest_text(head: str, code: Code, attributes: str = "") -> str:
    """The text of a function that works in the GPU's context, and leaves the caller's own one current in its thread."""
    found = re.fullmatch(r"((?:internal )?)(\w+) @(\w+)\((.*)\)", head)
    assert found, f"no head of a function: {head}"
    linkage, result, name, arguments = found.groups()
    outer = new_code()
    before = outer.op("call ptr @tfc_gpu_before()")
    call = f"call {result} @{name}_there({arguments})"
    value = "" if result == "void" else f" {outer.op(call)}"
    if not value:
        outer.do(call)
    outer.do(f"call void @tfc_gpu_after(ptr {before})")
    outer.do(f"ret {result}{value}")
    inner = function_text(f"internal {result} @{name}_there({arguments})", code, attributes)
    return inner + function_text(f"{linkage}{result} @{name}({arguments})", outer)


def begin_copy(code: Code, gpu: str, way: int, target: str, source: str, size: str, stream: str, what: str) -> str:
    """Begin a copy; gives its code."""
    ends = f"ptr {target}, ptr {source}, i64 {size}, ptr {stream}"
    return code.op(f"call i32 @tfc_gpu_copy(ptr %model, ptr {gpu}, i32 {way}, {ends}, ptr {what})")
