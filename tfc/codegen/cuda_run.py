"""A run of a model on a GPU: the operations of its program on a stream, and the functions around them.

    code = tfc_gpu_launch(model, gpu, 3, grid, block, shared, params, stream, "kernel 'add_max_3' (model.py:7)")

`Device` writes, inside ``NAME_enqueue``, what concerns the GPU; `run_functions` the ``NAME_run`` and
``NAME_run_device`` that call it. See `tfc.codegen.cuda`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.ir import Operation, SSAValue

from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.cpu.ir import Code
from tfc.codegen.cuda import (
    ALIGNMENT,
    ARENA,
    BACK,
    IN,
    MISALIGNED,
    NO_GPU_MEMORY,
    STAGING,
    STATUS,
    WEIGHTS,
    WIDEST,
    WITHIN,
    Layout,
    begin_copy,
    entered,
    guest_text,
    word_of,
)
from tfc.codegen.interface import (
    BAD_DIM,
    GPU,
    NULL_POINTER,
    Expressions,
    function_text,
    leave_if,
    new_code,
    place_of,
    string_text,
)
from tfc.dialects import host, kernel
from tfc.dims import Dim, parse
from tfc.location import describe

if TYPE_CHECKING:
    from tfc.codegen.run import Run


class Device:
    """The operations of a program that concern its GPU, in ``NAME_enqueue`` of a `tfc.codegen.run.Run`.

    Attributes:
        moving: whether copies from the device to the host's memory may be under way.
        unreported: whether kernels have run that may report an error that has not been looked for.
    """

    def __init__(self, run: Run, layout: Layout) -> None:
        self.run, self.layout = run, layout
        self.moving = self.unreported = False
        self.texts: list[str] = []

    @property
    def code(self) -> Code:
        return self.run.code

    def begin(self) -> None:
        """What stands at the start: addresses, and room in the arena."""
        code, arena, sizes = self.code, self.layout.arena_size, self.run.sizes
        code.lines.append(f"  %gpu = load ptr, ptr {place_of(code, GPU)}, align 8")
        if not isinstance(arena, int):
            leave_if(code, sizes.too_large(arena), f"i32 {NO_GPU_MEMORY}")
            what = self.text("memory for intermediate values on the GPU")
            self.leave(f"tfc_gpu_reserve(ptr %model, ptr %gpu, i64 {ARENA}, i64 {sizes.value(arena)}, ptr {what})")
        for name, word in (("arena", ARENA), ("weights", WEIGHTS)):
            code.lines.append(f"  %gpu_{name} = load ptr, ptr {code.at('i64', '%gpu', str(word))}, align 8")

    def text(self, words: str) -> str:
        """The symbol of a text."""
        symbol = f"{self.run.manifest.name}_told{len(self.texts)}"
        self.texts.append(string_text(symbol, words, "private"))
        return f"@{symbol}"

    def leave(self, call: str) -> None:
        """End the run where a call gives another code than 0."""
        found = self.code.op(f"call i32 @{call}")
        leave_if(self.code, self.code.op(f"icmp ne i32 {found}, 0"), f"i32 {found}")

    def settle(self) -> None:
        """Before the host looks at bytes, or at whether the kernels reported an error: wait."""
        what = "@tfc_gpu_kernels"
        if self.unreported:
            self.leave(f"tfc_gpu_status(ptr %model, ptr %gpu, ptr %stream, ptr {what})")
        elif self.moving:
            self.leave(f"tfc_gpu_wait(ptr %model, ptr %gpu, ptr %stream, ptr {what})")
        self.moving = self.unreported = False

    def before(self, op: Operation) -> None:
        """What has to be known before ``op`` begins."""
        if isinstance(op, host.ViewOp | host.SwapOp):  # addresses only
            return
        on_host = any(host.memory_of(o) == host.HOST for o in op.operands)
        is_copy = isinstance(op, host.CopyOp)
        written = [op.target] if is_copy else list(op.writes) if isinstance(op, host.LaunchOp) else []
        if self.unreported and any(isinstance(_owner(v), host.VariableOp) for v in written):
            self.settle()
        crosses = is_copy and host.memory_of(op.source) != host.memory_of(op.target)
        if on_host and not crosses:
            self.settle()

    def exchange(self, pending: tuple[bool, bool]) -> tuple[bool, bool]:
        """Go on with what may be ``moving`` and ``unreported``; gives what was."""
        found = self.moving, self.unreported
        self.moving, self.unreported = pending
        return found

    def enter_loop(self, op: host.WhileOp) -> None:
        """A loop begins: what any turn may have left is so."""
        inside = [o for o in op.walk() if isinstance(o, host.LaunchOp)]
        self.unreported = self.unreported or any(o.callee in self.run.reports for o in inside)
        self.moving = True

    def launch(self, op: host.LaunchOp, called: kernel.FuncOp, slots: int) -> None:
        """Begin a kernel whose arguments are in the slots."""
        status = self.code.op(f"load i64, ptr {self.code.at('i64', '%gpu', str(STATUS))}, align 8")
        self.code.do(f"store i64 {status}, ptr {self.code.at('i64', '%args', str(slots))}, align 8")
        grid = self.run.sizes.value(parse(called.grid.data))
        assert called.block is not None, "the verifier demands it"
        shared = called.shared.value.data if called.shared is not None else 0
        shape = f"i64 {grid}, i32 {called.block.value.data}, i32 {shared}, ptr %params, ptr %stream"
        where = describe(op.location)
        what = self.text(f"kernel '{op.callee}'{f' ({where})' if where else ''}")
        index = self.layout.kernels[op.callee]
        self.start_clock()
        self.leave(f"tfc_gpu_launch(ptr %model, ptr %gpu, i64 {index}, {shape}, ptr {what})")
        self.unreported = self.unreported or op.callee in self.run.reports
        self.stop_clock(op)

    def copy(self, op: host.CopyOp, target: str, source: str, size: str) -> None:
        """Begin a copy from, to or within the device's memory."""
        ends = [host.memory_of(v) == host.HOST for v in (op.source, op.target)]
        way = IN if ends[0] else BACK if ends[1] else WITHIN
        where = describe(op.location)
        what = self.text(f"a copy{f' ({where})' if where else ''}")
        self.start_clock()
        copied = begin_copy(self.code, "%gpu", way, target, source, size, "%stream", what)
        leave_if(self.code, self.code.op(f"icmp ne i32 {copied}, 0"), f"i32 {copied}")
        self.moving = self.moving or way == BACK
        self.stop_clock(op)

    def start_clock(self) -> None:
        if self.run.clock:
            self.code.op("call i32 @tfc_gpu_mark(ptr %gpu, i64 17, ptr %stream)")

    def stop_clock(self, op: host.LaunchOp | host.CopyOp) -> None:
        """With clocks, each operation is timed on the device, and waited for."""
        if self.run.clock:
            passed = self.code.op("call i64 @tfc_gpu_elapsed(ptr %gpu, ptr %stream)")
            self.run.clock.put(self.run.numbers[op], passed)

    def address(self, op: Operation) -> str | None:
        """The address of a constant or buffer in device memory; None for any other operation."""
        code = self.code
        if not isinstance(op, host.ConstantOp | host.BufferOp) or op.memory == host.HOST:
            return None
        if isinstance(op, host.ConstantOp):
            return code.at("i8", "%gpu_weights", str(self.layout.constants[op.offset.value.data]))
        assert op.offset is not None, "assign-buffers has run"
        return code.at("i8", "%gpu_arena", self.run.sizes.value(parse(op.offset.data)))


def _owner(value: SSAValue) -> Operation:
    op = value.owner
    while isinstance(op, host.ViewOp | host.RowOp):
        op = op.source.owner
    assert isinstance(op, Operation), "a program has no arguments"
    return op


def run_functions(run: Run, layout: Layout) -> str:
    """``NAME_run`` and ``NAME_run_device``, around ``NAME_enqueue``."""
    texts = {
        "tfc_gpu_context": "the context of the GPU",
        "tfc_gpu_kernels": "a kernel (with TFC_GPU_SYNC=1 in the environment, the message says which)",
        "tfc_gpu_staging": "memory for inputs and outputs on the GPU",
        "tfc_gpu_moving": "copying inputs or outputs",
    }
    name = run.manifest.name
    strings = "".join(string_text(k, v, "private") for k, v in texts.items())
    return strings + "".join(
        (
            _begin(run, layout),
            _run_device(name, layout, bool(run.reports)),
            _run_host(run.manifest, layout, bool(run.reports)),
        )
    )


def _begin(run: Run, layout: Layout) -> str:
    """``NAME_begin``: all of a run on a stream, as it is or replayed."""
    name, code = run.manifest.name, new_code()
    arguments = "ptr %model, ptr %inputs, ptr %outputs, ptr %dims, ptr %stream"
    if not layout.is_captured or run.clock:
        code.do(f"ret i32 {code.op(f'call i32 @{name}_enqueue({arguments})')}")
        return function_text(f"internal i32 @{name}_begin({arguments})", code)
    missing = code.op("icmp eq ptr %model, null")
    for count, array in _arrays(layout):
        if count:
            missing = code.op(f"or i1 {missing}, {code.op(f'icmp eq ptr {array}, null')}")
    leave_if(code, missing, f"i32 {NULL_POINTER}")
    code.entry.append(f"  %key = alloca [{max(1, layout.key_bytes // 8)} x i64], align 8")
    at = 0
    for count, array in _arrays(layout):
        if count:
            code.op(f"call ptr @memcpy(ptr {code.at('i64', '%key', str(at))}, ptr {array}, i64 {8 * count})")
        at += count
    gpu = code.op(f"load ptr, ptr {place_of(code, GPU)}, align 8")
    given = "ptr %inputs, ptr %outputs, ptr %dims, ptr %stream"
    key = f"ptr %key, i64 {layout.key_bytes}, ptr @tfc_gpu_kernels"
    ran = code.op(f"call i32 @tfc_gpu_replay(ptr @{name}_enqueue, ptr %model, ptr {gpu}, {given}, {key})")
    code.do(f"ret i32 {ran}")
    return function_text(f"internal i32 @{name}_begin({arguments})", code)


def _arrays(layout: Layout) -> list[tuple[int, str]]:
    program = layout.program
    return [(len(program.inputs), "%inputs"), (len(program.outputs), "%outputs"), (len(program.dims), "%dims")]


def _run_device(name: str, layout: Layout, reports: bool) -> str:
    code = new_code()
    missing = code.op("icmp eq ptr %model, null")
    for count, array in _arrays(layout)[:2]:
        if count:
            missing = code.op(f"or i1 {missing}, {code.op(f'icmp eq ptr {array}, null')}")
    leave_if(code, missing, f"i32 {NULL_POINTER}")
    bits = "0"
    for count, array in _arrays(layout)[:2]:
        for k in range(count):
            address = code.op(f"load i64, ptr {code.at('ptr', array, str(k))}, align 8")
            bits = code.op(f"or i64 {bits}, {address}")
    odd = code.op(f"and i64 {bits}, {WIDEST - 1}")
    leave_if(code, code.op(f"icmp ne i64 {odd}, 0"), f"i32 {MISALIGNED}")
    gpu, own = entered(code)
    none = code.op("icmp eq ptr %given, null")
    stream = code.op(f"select i1 {none}, ptr {own}, ptr %given")
    arguments = f"ptr %model, ptr %inputs, ptr %outputs, ptr %dims, ptr {stream}"
    ran = code.op(f"call i32 @{name}_begin({arguments})")
    leave_if(code, code.op(f"icmp ne i32 {ran}, 0"), f"i32 {ran}")
    wait = f"(ptr %model, ptr {gpu}, ptr {stream}, ptr @tfc_gpu_kernels)"
    if reports:
        code.do(f"ret i32 {code.op(f'call i32 @tfc_gpu_status{wait}')}")
    else:
        leave_if(code, code.op(f"xor i1 {none}, true"), "i32 0")
        code.do(f"ret i32 {code.op(f'call i32 @tfc_gpu_wait{wait}')}")
    head = f"i32 @{name}_run_device(ptr %model, ptr %inputs, ptr %outputs, ptr %dims, ptr %given)"
    return guest_text(head, code)


def _run_host(manifest: Manifest, layout: Layout, reports: bool) -> str:
    """``NAME_run``: with copies of the ports that the program has on the device."""
    sizes = Expressions(manifest)
    code, name = sizes.code, manifest.name
    groups = {"%inputs": manifest.inputs, "%outputs": manifest.outputs}
    missing = code.op("icmp eq ptr %model, null")
    for array, ports in groups.items():
        if ports:
            missing = code.op(f"or i1 {missing}, {code.op(f'icmp eq ptr {array}, null')}")
    leave_if(code, missing, f"i32 {NULL_POINTER}")
    sizes.read_dims(
        {k: f"i32 {NULL_POINTER if k < 0 else BAD_DIM - k}" for k in range(-1, len(manifest.dims))}
    )
    gpu, stream = entered(code)
    places, total = dict[tuple[str, int], Dim](), 0
    for array, ports in groups.items():
        for k, port in enumerate(ports):
            if port.memory:
                places[array, k] = total
                total = total + (port.bytes + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT
    base = ""
    if places:
        leave_if(code, sizes.too_large(total), f"i32 {NO_GPU_MEMORY}")
        room = sizes.value(total + ALIGNMENT)  # an address even where all is empty
        what = f"i64 {STAGING}, i64 {room}, ptr @tfc_gpu_staging"
        reserved = code.op(f"call i32 @tfc_gpu_reserve(ptr %model, ptr {gpu}, {what})")
        leave_if(code, code.op(f"icmp ne i32 {reserved}, 0"), f"i32 {reserved}")
        base = word_of(code, gpu, STAGING)
    copies: list[tuple[str, str, str]] = []
    for array, ports in groups.items():
        code.entry.append(f"  {array}_there = alloca [{max(1, len(ports))} x ptr], align 8")
        for k, port in enumerate(ports):
            given = code.op(f"load ptr, ptr {code.at('ptr', array, str(k))}, align 8")
            leave_if(code, code.op(f"icmp eq ptr {given}, null"), f"i32 {NULL_POINTER}")
            there = given
            if port.memory:
                there = code.at("i8", base, sizes.value(places[array, k]))
                size = sizes.value(port.bytes)
                if array == "%inputs":
                    copied = begin_copy(code, gpu, IN, there, given, size, stream, "@tfc_gpu_moving")
                    leave_if(code, code.op(f"icmp ne i32 {copied}, 0"), f"i32 {copied}")
                else:
                    copies.append((given, there, size))
            code.do(f"store ptr {there}, ptr {code.at('ptr', f'{array}_there', str(k))}, align 8")
    arguments = f"ptr %model, ptr %inputs_there, ptr %outputs_there, ptr %dims, ptr {stream}"
    ran = code.op(f"call i32 @{name}_begin({arguments})")
    wait = f"(ptr %model, ptr {gpu}, ptr {stream}, ptr @tfc_gpu_kernels)"
    failed, on = code.fresh("failed"), code.fresh("on")
    code.branch(code.op(f"icmp ne i32 {ran}, 0"), failed, on)
    code.start(failed)  # what is under way still reads and writes the caller's memory
    code.op(f"call i32 @tfc_gpu_quiet(ptr {gpu}, ptr {stream})")
    code.do(f"ret i32 {ran}")
    code.start(on)
    for target, source, size in copies:
        copied = begin_copy(code, gpu, BACK, target, source, size, stream, "@tfc_gpu_moving")
        leave_if(code, code.op(f"icmp ne i32 {copied}, 0"), f"i32 {copied}")
    done = code.op(f"call i32 @tfc_gpu_{'status' if reports else 'wait'}{wait}")
    code.do(f"ret i32 {done}")
    return guest_text(f"i32 @{name}_run(ptr %model, ptr %inputs, ptr %outputs, ptr %dims)", code)
