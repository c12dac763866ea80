"""The host program as LLVM IR: the C interface of a model.

    kernels = translate(functions, target, messages)
    text = kernels + emit_host(program, functions, manifest) + pool_llvm(target.triple)
    object = compile_llvm(text, target)

One call runs the whole model: ``NAME_run`` fills the argument slots of each kernel and calls it,
through the thread pool where its grid is worth more than one thread. A model's state is a
handle, an array of 8-byte slots:

    threads | arena | its capacity | weights | own variables | message | loop | its pool | gpu | address of variable 0 | ...

The message is that of the last run where an assertion of the graph did not hold, or where a GPU failed. What
a model has on its GPU is described in `cuda.ll`.

Constants lie in one block, the symbol ``NAME_weights`` (hidden, defined elsewhere in the object);
with ``bound_weights`` there is no such symbol, and ``NAME_bind_weights`` is given a table of the
constants' addresses instead: a program in this process uses arrays where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tfc.codegen.artifact.manifest import (
    ErrorMessage,
    GpuSpec,
    Manifest,
    Port,
    TargetSpec,
    named_dims,
    ports,
)
from tfc.codegen.cpu.ir import Code
from tfc.codegen.cpu.targets import Target
from tfc.codegen.cuda import (
    GPU_ERROR,
    Image,
    Layout,
    constants_text,
    device_of,
    emit_create,
    guest_text,
    runtime_llvm,
    upload_function,
    variable_functions,
)
from tfc.codegen.cuda import errors as gpu_errors
from tfc.codegen.dispatch import dispatch_llvm
from tfc.codegen.interface import (
    ALIGNMENT,
    ARENA,
    BAD_DIM,
    BAD_EXTENT,
    BAD_THREADS,
    GPU,
    LARGEST_DIM,
    MESSAGE,
    MISSING_FEATURE,
    NO_MEMORY,
    NO_THREADS,
    NULL_POINTER,
    OWNED,
    PARALLEL,
    POOL,
    THREADS,
    VARIABLES,
    WEIGHTS,
    Expressions,
    function_text,
    leave_if,
    located,
    memory_functions,
    new_code,
    place_of,
    string_text,
)
from tfc.codegen.isa import BASELINE, checked, missing_llvm
from tfc.codegen.pool import DECLARATIONS, MAX_THREADS
from tfc.codegen.run import Run, timed, times_function
from tfc.codegen.state import ERRORS as STATE_ERRORS
from tfc.dialects import host, kernel
from tfc.dialects.tfc.types import dtype_of, shape_of
from tfc.dims import Dim, evaluate


def describe_program(
    program: host.ProgramOp, target: Target, messages: Sequence[str] = (), *, threads: int = 1, gpu: str = ""
) -> Manifest:
    """The manifest of a program whose kernels report ``messages``, beside what it reports itself.

    Args:
        gpu: the generation of the GPU that it uses, if it uses one.
    """
    own = [op.message.data for op in program.walk() if isinstance(op, host.RowOp)]
    messages = list(dict.fromkeys([*messages, *own]))
    asserts = [op for op in program.walk() if isinstance(op, host.AssertOp)]
    taken: set[str] = set()
    inputs = _placed(ports(_described(program.inputs), taken), program, host.InputOp)
    outputs = _placed(ports(_described(program.outputs), taken), program, host.OutputOp)
    variables = _placed(ports(_described(program.variables), taken), program, host.VariableOp)
    needed = [d for p in (*outputs, *variables) for d in p.shape]
    dims = named_dims(inputs, [*needed, *program.arena_sizes.values()], taken)
    spec = GpuSpec(gpu, program.arena_sizes.get(device_of(program), 0)) if gpu else None
    return Manifest(
        name=program.sym_name.data,
        target=TargetSpec(target.triple, target.cpu, target.required_features),
        inputs=inputs,
        outputs=outputs,
        variables=variables,
        dims=dims,
        threads=threads,
        arena_size=program.arena_size,
        weights_size=program.weights.value.data,
        errors=(
            *(gpu_errors(gpu) if gpu else ()),
            *_errors(target, [d.name for d in dims], messages, program.requirements, bool(variables)),
            *(ErrorMessage(k, o.message, o.place.data) for k, o in enumerate(asserts, len(messages) + 1)),
        ),
        gpu=spec,
    )


def _placed(found: tuple[Port, ...], program: host.ProgramOp, kind: type[host.PortOp]) -> tuple[Port, ...]:
    """Ports with the memory that the program has them in."""
    memories = {op.position: op.memory for op in program.body.block.ops if isinstance(op, kind)}
    return tuple(replace(p, memory=memories.get(k, host.HOST)) for k, p in enumerate(found))


def _described(given: Iterable[host.PortAttr]) -> Iterator[tuple[str, str, Sequence[Dim]]]:
    for p in given:
        yield p.label.data, str(dtype_of(p.content.element_type)), shape_of(p.content)


def _errors(
    target: Target,
    dims: Sequence[str],
    messages: Sequence[str],
    required: Sequence[tuple[Dim, str]],
    variables: bool,
) -> Iterator[ErrorMessage]:
    yield ErrorMessage(NULL_POINTER, "a pointer is null")
    yield ErrorMessage(NO_MEMORY, "out of memory")
    yield ErrorMessage(BAD_THREADS, f"the number of threads is not in 0..{MAX_THREADS}")
    yield ErrorMessage(NO_THREADS, "the system gives no more threads")
    yield from STATE_ERRORS if variables else ()
    for k, feature in enumerate(checked(target.triple, target.required_features), 1):
        text = f"this CPU lacks {feature}; the model was compiled for {target.cpu}"
        yield ErrorMessage(MISSING_FEATURE - k, text)
    for k, name in enumerate(dims):
        yield ErrorMessage(BAD_DIM - k, f"the dim {name} is not in 1..{LARGEST_DIM}")
    for k, (_, message) in enumerate(required):
        yield located(BAD_EXTENT - k, message)
    for k, message in enumerate(messages, 1):
        yield located(k, message)


def emit_host(
    program: host.ProgramOp,
    kernels: Sequence[kernel.FuncOp],
    manifest: Manifest,
    *,
    bound_weights: bool = False,
    shared_pool: bool = False,
    profiled: bool = False,
    stateful: bool = False,
    image: Image | None = None,
) -> str:
    """LLVM IR of the C interface, to be put behind that of the kernels.

    Args:
        program: the host program, its buffers assigned.
        kernels: the kernels it launches; their names are used, not their bodies.
        manifest: what `describe_program` said.
        bound_weights: take the constants' addresses from ``NAME_bind_weights``.
        shared_pool: call a thread pool defined in another object.
        profiled: sum up the time of each operation in `timed`, in nanoseconds, and behind that how often it
            was run, in a table of the model's that ``NAME_times`` gives.
        image: the kernels for its GPU, where it uses one.
    """
    name = manifest.name
    layout = Layout(program, kernels) if image else None
    times = 2 * len(timed(program)) if profiled else 0
    target = manifest.target
    features = checked(target.triple, target.features)
    parts = [
        _DECLARATIONS,
        memory_functions(target.triple),
        _USE_POOL.replace("NAME", name),
        DECLARATIONS if shared_pool else "",
        f"define i32 @{name}_abi() nounwind {{\n  ret i32 {manifest.abi}\n}}\n",
        string_text(f"{name}_manifest", manifest.to_json()),
        _gpu_functions(manifest, image, layout, bound_weights),
        _error_function(name, manifest.errors, bool(image)),
        missing_llvm(features),
        _create(program, manifest, BASELINE if features else "", bound_weights, stateful, times, image, layout),
        _destroy(name, bool(image)),
        _message_function(name),
        Expressions(manifest).size_function(),
        Run(program, kernels, manifest, bound_weights, profiled, layout).text(),
        _variable_functions(name, len(manifest.variables), bool(image)),
        f"declare i32 @{name}_init(ptr) nounwind\n" if stateful else "",
        _mirror_function(manifest) if stateful and image else "",
    ]
    if Target.parse(target.triple, target.cpu).pointer_bits == 64:
        parts.append(dispatch_llvm(name))
    if profiled:
        parts.append(times_function(manifest))
    if bound_weights:
        uploads = layout is not None and layout.constants
        result = f"  %result = call i32 @{name}_upload(ptr %model, ptr %table)\n  ret i32 %result" if uploads else "  ret i32 0"
        parts.append(_BIND_WEIGHTS.replace("NAME", name).replace("RESULT", result))
    elif manifest.weights_size:
        parts.append(f"@{name}_weights = external hidden constant i8, align {ALIGNMENT}\n")
    text = "\n".join(p for p in parts if p)
    return one_module(text) if image else text


def _gpu_functions(manifest: Manifest, image: Image | None, layout: Layout | None, bound: bool) -> str:
    if image is None or layout is None:
        return ""
    return "".join(
        (
            runtime_llvm(manifest.name),
            constants_text(manifest, image, layout),
            upload_function(manifest.name, layout, bound),
            variable_functions(manifest, layout),
        )
    )


def one_module(*parts: str) -> str:
    """Texts of several modules as one: what one declares, another defines or declares too."""
    text = "\n".join(p for p in parts if p)
    known = {m[1] for m in re.finditer(r"^define [^@]*@(\w+)", text, re.MULTILINE)}
    lines = list[str]()
    for line in text.split("\n"):
        declared = re.match(r"declare [^@]*@([\w.]+)|@(\w+) = external", line)
        if declared is None:
            lines.append(line)
        elif (name := declared[1] or declared[2]) not in known:
            known.add(name)
            lines.append(line)
    return "\n".join(lines)


_DECLARATIONS = """
declare ptr @calloc(i64, i64) nounwind
declare void @free(ptr) nounwind
declare ptr @memcpy(ptr, ptr, i64) nounwind
"""

_USE_POOL = f"""
; Run a kernel's iterations on the threads of the caller, if there are such, or of the pool.
define internal void @tfc_share(ptr %model, ptr %fn, ptr %args, i64 %n, i64 %grain, i32 %threads) nounwind {{
entry:
  %slot = getelementptr i64, ptr %model, i64 {PARALLEL}
  %parallel = load ptr, ptr %slot, align 8
  %none = icmp eq ptr %parallel, null
  br i1 %none, label %ours, label %theirs
ours:
  call void @tfc_parallel(ptr %fn, ptr %args, i64 %n, i64 %grain, i32 %threads)
  ret void
theirs:
  %small = icmp sle i64 %n, %grain
  br i1 %small, label %alone, label %share
alone:
  call void %fn(ptr %args, i64 0, i64 %n)
  ret void
share:
  %place = getelementptr i64, ptr %model, i64 {POOL}
  %pool = load ptr, ptr %place, align 8
  call void %parallel(ptr %pool, ptr %fn, ptr %args, i64 %n, i64 %grain)
  ret void
}}

define i32 @NAME_use_pool(ptr %model, ptr %parallel, ptr %pool) nounwind {{
  %null = icmp eq ptr %model, null
  br i1 %null, label %bad, label %good
bad:
  ret i32 {NULL_POINTER}
good:
  %slot = getelementptr i64, ptr %model, i64 {PARALLEL}
  store ptr %parallel, ptr %slot, align 8
  %place = getelementptr i64, ptr %model, i64 {POOL}
  store ptr %pool, ptr %place, align 8
  ret i32 0
}}
"""

_BIND_WEIGHTS = """
; table: the address of each constant, in the order of their offsets
define i32 @NAME_bind_weights(ptr %model, ptr %table) nounwind {
  %slot = getelementptr i64, ptr %model, i64 3
  store ptr %table, ptr %slot, align 8
RESULT
}
"""


def _error_function(name: str, errors: Sequence[ErrorMessage], gpu: bool = False) -> str:
    texts = {0: "no error"} | {e.code: f"{e.where}: {e.text}" if e.where else e.text for e in errors}
    strings = [string_text(f"{name}_text{k}", t, "private") for k, t in enumerate(texts.values())]
    strings.append(string_text(f"{name}_text_unknown", "unknown error", "private"))
    cases = " ".join(f"i32 {c}, label %c{k}" for k, c in enumerate(texts))
    returns = "\n".join(f"c{k}:\n  ret ptr @{name}_text{k}" for k in range(len(texts)))
    other = f"unknown:\n  ret ptr @{name}_text_unknown\n"
    if gpu:
        other = (
            f"unknown:\n  %driver = icmp sle i32 %code, {GPU_ERROR}\n  br i1 %driver, label %name, label %none\n"
            f"name:\n  %text = call ptr @tfc_gpu_error(i32 %code)\n  ret ptr %text\n"
            f"none:\n  ret ptr @{name}_text_unknown\n"
        )
    return "".join(strings) + (
        f"define ptr @{name}_error(i32 %code) nounwind {{\n"
        f"  switch i32 %code, label %unknown [ {cases} ]\n{returns}\n{other}}}\n"
    )


def _message_function(name: str) -> str:
    """``NAME_message``: the error of the last run in words, where they depend on its values; else null."""
    code = new_code()
    leave_if(code, code.op("icmp eq ptr %model, null"), "ptr null")
    code.do(f"ret ptr {code.op(f'load ptr, ptr {place_of(code, MESSAGE)}, align 8')}")
    return function_text(f"ptr @{name}_message(ptr %model)", code)


def _create(
    program: host.ProgramOp,
    manifest: Manifest,
    attributes: str,
    bound: bool,
    stateful: bool,
    times: int,
    image: Image | None,
    layout: Layout | None,
) -> str:
    code, name = new_code(), manifest.name
    leave_if(code, code.op("icmp eq ptr %out, null"), f"i32 {NULL_POINTER}")
    code.do("store ptr null, ptr %out, align 8")
    lacks = code.op("call i32 @tfc_missing()")
    some = code.op(f"icmp ne i32 {lacks}, 0")
    leave_if(code, some, f"i32 {code.op(f'sub i32 {MISSING_FEATURE}, {lacks}')}")
    too_many = code.op(f"icmp ugt i32 %given, {MAX_THREADS}")
    leave_if(code, too_many, f"i32 {BAD_THREADS}")
    default = code.op("icmp eq i32 %given, 0")
    threads = code.op(f"select i1 {default}, i32 {manifest.threads}, i32 %given")
    slots = VARIABLES + len(manifest.variables) + times
    code.lines.append(f"  %model = call ptr @calloc(i64 {slots}, i64 8)")
    leave_if(code, code.op("icmp eq ptr %model, null"), f"i32 {NO_MEMORY}")
    wide = code.op(f"sext i32 {threads} to i64")
    code.do(f"store i64 {wide}, ptr {place_of(code, THREADS)}, align 8")
    if not bound and manifest.weights_size:
        code.do(f"store ptr @{name}_weights, ptr {place_of(code, WEIGHTS)}, align 8")
        code.do(f"call void @tfc_huge(ptr @{name}_weights, i64 {manifest.weights_size})")
    _own_variables(code, manifest, bool(image), stateful)
    if image and layout:
        for found in emit_create(code, manifest, image, layout, bound):
            failed, on = code.fresh("failed"), code.fresh("on")
            code.branch(code.op(f"icmp ne i32 {found}, 0"), failed, on)
            code.start(failed)
            _release(code, found, bool(image))
            code.start(on)
    if isinstance(size := program.arena_size, int) and size:
        _allocate(code, ARENA, size, bool(image))
    several = code.op(f"icmp sgt i32 {threads}, 1")
    code.branch(several, "pool", "done")
    code.start("pool")
    failed = code.op(f"call i32 @tfc_pool_acquire(i32 {threads})")
    bad = code.op(f"icmp ne i32 {failed}, 0")
    code.branch(bad, "no_threads", "done")
    code.start("no_threads")
    _release(code, NO_THREADS, bool(image))
    code.start("done")
    if stateful:
        made = code.op(f"call i32 @{name}_init(ptr %model)")
        if image:
            failed, on = code.fresh("failed"), code.fresh("on")
            code.branch(code.op(f"icmp ne i32 {made}, 0"), failed, on)
            code.start(failed)
            code.do(f"call void @{name}_destroy(ptr %model)")
            code.do(f"ret i32 {made}")
            code.start(on)
    code.do("store ptr %model, ptr %out, align 8")
    code.do("ret i32 0")
    head = f"i32 @{name}_create(ptr %out, i32 %given)"
    return (guest_text if image else function_text)(head, code, f"{attributes} ")


def _variable_offsets(manifest: Manifest, mirrors: bool) -> tuple[list[int], int]:
    """Where variables are in the memory of an instance, and the bytes of all; with ``mirrors`` of those on a GPU."""
    offsets, total = list[int](), 0
    for port in manifest.variables:
        offsets.append(total)
        if port.memory and not mirrors:
            continue
        size = evaluate(port.bytes, {})  # variables have static shapes
        total += (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return offsets, total


def _own_variables(code: Code, manifest: Manifest, gpu: bool, stateful: bool) -> None:
    """Storage for the variables: pages of zeros that cost nothing until they are touched."""
    offsets, total = _variable_offsets(manifest, stateful)
    if not total:
        return
    memory = code.op(f"call ptr @calloc(i64 1, i64 {total + ALIGNMENT})")
    code.do(f"store ptr {memory}, ptr {place_of(code, OWNED)}, align 8")
    failed, on = code.fresh("full"), code.fresh("on")
    code.branch(code.op(f"icmp eq ptr {memory}, null"), failed, on)
    code.start(failed)
    _release(code, NO_MEMORY, gpu)
    code.start(on)
    base = _aligned(code, memory)
    code.do(f"call void @tfc_huge(ptr {base}, i64 {total})")
    for k, offset in enumerate(offsets):
        if not manifest.variables[k].memory:
            place = code.at("i8", base, str(offset))
            code.do(f"store ptr {place}, ptr {place_of(code, VARIABLES + k)}, align 8")


def _aligned(code: Code, memory: str) -> str:
    """The next address where variables may begin."""
    address = code.op(f"ptrtoint ptr {memory} to i64")
    rest = code.op(f"and i64 {address}, {ALIGNMENT - 1}")
    return code.at("i8", memory, code.op(f"sub i64 {ALIGNMENT}, {rest}"))


def _mirror_function(manifest: Manifest) -> str:
    """``NAME_mirror``: the bytes of a variable in the host's memory, for checkpoints."""
    offsets, _ = _variable_offsets(manifest, True)
    code = new_code()
    base = _aligned(code, code.op(f"load ptr, ptr {place_of(code, OWNED)}, align 8"))
    cases = " ".join(f"i32 {k}, label %v{k}" for k in range(len(offsets)))
    code.do(f"switch i32 %index, label %v0 [ {cases} ]")
    for k, (offset, port) in enumerate(zip(offsets, manifest.variables, strict=True)):
        code.start(f"v{k}")
        place = code.op(f"load ptr, ptr {place_of(code, VARIABLES + k)}, align 8")
        code.do(f"ret ptr {code.at('i8', base, str(offset)) if port.memory else place}")
    return function_text(f"hidden ptr @{manifest.name}_mirror(ptr %model, i32 %index)", code)


def _allocate(code: Code, slot: int, size: int, gpu: bool) -> None:
    place = place_of(code, slot)
    failed = code.op(f"call i32 @tfc_allocate(ptr {place}, i64 {size})")
    bad, out, on = code.op(f"icmp ne i32 {failed}, 0"), code.fresh("full"), code.fresh("on")
    code.branch(bad, out, on)
    code.start(out)
    _release(code, NO_MEMORY, gpu)
    code.start(on)


def _release(code: Code, result: int | str, gpu: bool) -> None:
    _free(code, gpu)
    code.do(f"ret i32 {result}")


def _free(code: Code, gpu: bool) -> None:
    if gpu:
        code.do(f"call void @tfc_gpu_close(ptr {code.op(f'load ptr, ptr {place_of(code, GPU)}, align 8')})")
    for slot in (ARENA, OWNED, MESSAGE):
        code.do(f"call void @free(ptr {code.op(f'load ptr, ptr {place_of(code, slot)}, align 8')})")
    code.do("call void @free(ptr %model)")


def _destroy(name: str, gpu: bool) -> str:
    code = new_code()
    leave_if(code, code.op("icmp eq ptr %model, null"), "void")
    threads = code.op(f"load i64, ptr {place_of(code, THREADS)}, align 8")
    several = code.op(f"icmp sgt i64 {threads}, 1")
    code.branch(several, "pool", "rest")
    code.start("pool")
    code.do("call void @tfc_pool_release()")
    code.jump("rest")
    code.start("rest")
    _free(code, gpu)
    code.do("ret void")
    return (guest_text if gpu else function_text)(f"void @{name}_destroy(ptr %model)", code)


def _variable_functions(name: str, count: int, gpu: bool) -> str:
    """``NAME_variable``, the storage of a variable, and ``NAME_bind_variable``, which replaces it."""

    def place(code: Code, otherwise: str) -> str:
        """The slot that holds the address of variable ``%index``."""
        null = code.op("icmp eq ptr %model, null")
        outside = code.op(f"icmp uge i32 %index, {count}")
        leave_if(code, code.op(f"or i1 {null}, {outside}"), otherwise)
        wide = code.op("zext i32 %index to i64")
        return code.at("i64", "%model", code.op(f"add i64 {wide}, {VARIABLES}"))

    getter, setter = new_code(), new_code()
    address = place(getter, "ptr null")
    getter.do(f"ret ptr {getter.op(f'load ptr, ptr {address}, align 8')}")
    setter.do(f"store ptr %memory, ptr {place(setter, f'i32 {NULL_POINTER}')}, align 8")
    if gpu:  # a captured graph has the old address
        setter.do(f"call void @tfc_gpu_forget(ptr {setter.op(f'load ptr, ptr {place_of(setter, GPU)}, align 8')})")
    setter.do("ret i32 0")
    bind = f"i32 @{name}_bind_variable(ptr %model, i32 %index, ptr %memory)"
    return function_text(f"ptr @{name}_variable(ptr %model, i32 %index)", getter) + (
        function_text(bind, setter) if count else ""
    )
