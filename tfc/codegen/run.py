"""``NAME_run``: the operations of a host program in order, with its branches and loops, as LLVM IR.

    %more = load i8, ptr ...          a condition that the kernels have computed
    br i1 ..., label %do1, label %done2

A kernel's arguments go into slots and it is called, through the thread pool where its grid is worth more than
one thread; one for a GPU is begun there (`tfc.codegen.cuda_run`). Buffers that change places have variables for their addresses, rows are addresses that
are computed when they are reached; nothing is allocated in a loop, and nothing but a kernel touches tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Block, Operation, SSAValue

from tfc.codegen.artifact.manifest import Manifest
from tfc.codegen.cuda import Layout
from tfc.codegen.cuda_run import Device, run_functions
from tfc.codegen.interface import (
    ARENA,
    BAD_DIM,
    BAD_EXTENT,
    CAPACITY,
    MESSAGE,
    NO_MEMORY,
    NULL_POINTER,
    THREADS,
    VARIABLES,
    WEIGHTS,
    Expressions,
    function_text,
    leave_if,
    located,
    new_code,
    place_of,
    string_text,
)
from tfc.codegen.messages import Shown, emit_text, messages_llvm
from tfc.dialects import host, kernel
from tfc.dialects.tfc.types import dtype_of, shape_of
from tfc.dims import Atom, Expr, names, parse


def timed(program: host.ProgramOp) -> list[host.LaunchOp | host.CopyOp]:
    """The operations of a program that take time, in the order of the text."""
    return [op for op in program.walk() if isinstance(op, host.LaunchOp | host.CopyOp)]


class Run:
    """``NAME_run``: the operations of the program in order."""

    def __init__(
        self,
        program: host.ProgramOp,
        kernels: Sequence[kernel.FuncOp],
        manifest: Manifest,
        bound_weights: bool,
        profiled: bool = False,
        layout: Layout | None = None,
    ) -> None:
        self.program, self.manifest, self.bound = program, manifest, bound_weights
        self.clock = Clock(self, manifest) if profiled else None
        self.kernels = {k.sym_name.data: k for k in kernels}
        self.sizes = Expressions(manifest)
        self.code = self.sizes.code
        constants = (op for op in program.body.block.ops if isinstance(op, host.ConstantOp))
        offsets = sorted({c.offset.value.data for c in constants})
        self.constant_index = {offset: k for k, offset in enumerate(offsets)}
        self.codes = {(e.text, e.where): e.code for e in manifest.errors if e.code > 0}
        self.rows: dict[host.RowOp, str] = {}
        """The addresses of rows."""
        self.places: dict[Operation, str] = {}
        """Where the addresses of buffers are that change places."""
        self.texts: list[str] = []
        """The texts of messages, as constants."""
        self.asserts = [op for op in program.walk() if isinstance(op, host.AssertOp)]
        self.numbers: dict[Operation, int] = {op: k for k, op in enumerate(timed(program))}
        self.reports = {n for n, k in self.kernels.items() if _reports(k)}
        self.gpu = Device(self, layout) if layout else None

    def text(self) -> str:
        code, most = self.code, self._most_slots()
        code.entry.append(f"  %args = alloca [{most} x i64], align 64")
        code.entry.append("  %status = alloca i32, align 4")
        code.entry.append("  store i32 0, ptr %status, align 4")
        self._check_pointers()
        self.sizes.read_dims(
            {k: f"i32 {NULL_POINTER if k < 0 else BAD_DIM - k}" for k in range(-1, len(self.manifest.dims))}
        )
        for k, (extent, _) in enumerate(self.program.requirements):
            if names(extent) <= {d.name for d in self.manifest.dims}:
                below = code.op(f"icmp slt i64 {self.sizes.value(extent)}, 0")
                leave_if(code, below, f"i32 {BAD_EXTENT - k}")
        if self.asserts or self.gpu:
            self._forget_message()
        self._reserve_arena()
        code.lines.append(f"  %weights = load ptr, ptr {place_of(code, WEIGHTS)}, align 8")
        threads = code.op(f"load i64, ptr {place_of(code, THREADS)}, align 8")
        code.lines.append(f"  %threads = trunc i64 {threads} to i32")
        if self.gpu:
            self._name_slots(most)
            self.gpu.begin()
        self._places()
        self._block(self.program.body.block)
        code.do("ret i32 0")
        arguments = "ptr %model, ptr %inputs, ptr %outputs, ptr %dims"
        said = messages_llvm() if self.texts else ""
        texts, name = said + "".join(self.texts), self.manifest.name
        if self.gpu is None:
            return texts + function_text(f"i32 @{name}_run({arguments})", code)
        enqueue = function_text(f"internal i32 @{name}_enqueue({arguments}, ptr %stream)", code)
        return texts + "".join(self.gpu.texts) + enqueue + run_functions(self, self.gpu.layout)

    def _name_slots(self, count: int) -> None:
        """The addresses of the slots: so CUDA takes arguments."""
        code = self.code
        code.entry.append(f"  %params = alloca [{count} x ptr], align 8")
        for k in range(count):
            code.do(f"store ptr {code.at('i64', '%args', str(k))}, ptr {code.at('ptr', '%params', str(k))}, align 8")

    def _places(self) -> None:
        """A variable for the address of each buffer that changes places with another."""
        swaps = [op for op in self.program.walk() if isinstance(op, host.SwapOp)]
        for buffer in dict.fromkeys(o.owner for op in swaps for o in op.operands):
            assert isinstance(buffer, host.BufferOp), "the verifier demands it"
            address, place = self._address(buffer.result), f"%{self.code.fresh('place')}"
            self.code.entry.append(f"  {place} = alloca ptr, align 8")
            self.code.do(f"store ptr {address}, ptr {place}, align 8")
            self.places[buffer] = place

    def _block(self, block: Block) -> None:
        """The operations of a block in order. What it computes of sizes is known inside of it only."""
        known = dict(self.sizes.known)
        before = self.clock.now() if self.clock else ""
        for op in block.ops:
            self._operation(op)
            if self.clock:
                timed = op in self.numbers and not self._is_on_gpu(op)
                before = self.clock.add(self.numbers[op], before) if timed else self.clock.now()
        self.sizes.known = known

    def _is_on_gpu(self, op: Operation) -> bool:
        """Whether a launch or copy is begun on the GPU."""
        return self.gpu is not None and any(host.memory_of(o) != host.HOST for o in op.operands)

    def _operation(self, op: Operation) -> None:
        code = self.code
        if self.gpu and not isinstance(op, host.WhileOp):
            self.gpu.before(op)
        match op:
            case host.LaunchOp():
                self._launch(op)
            case host.CopyOp():
                source, target = self._address(op.source), self._address(op.target)
                size = self.sizes.value(op.size)
                if self.gpu and self._is_on_gpu(op):
                    self.gpu.copy(op, target, source, size)
                else:
                    code.op(f"call ptr @memcpy(ptr {target}, ptr {source}, i64 {size})")
            case host.RowOp():
                self._row(op)
            case host.PrintOp():
                code.do(f"call void @tfc_text_print(ptr {self._text(op, op.data)})")
            case host.AssertOp():
                self._assert(op)
            case host.SwapOp():
                x, y = self.places[_operation(op.x)], self.places[_operation(op.y)]
                old, new = (code.op(f"load ptr, ptr {p}, align 8") for p in (x, y))
                code.do(f"store ptr {new}, ptr {x}, align 8")
                code.do(f"store ptr {old}, ptr {y}, align 8")
            case host.IfOp():
                then, otherwise, done = (code.fresh(n) for n in ("then", "else", "done"))
                code.branch(self._truth(op.predicate), then, otherwise)
                pending: list[tuple[bool, bool]] = []
                for label, region in ((then, op.then), (otherwise, op.otherwise)):
                    code.start(label)
                    self._block(region.block)
                    if self.gpu:
                        pending.append(self.gpu.exchange((False, False)))
                    code.jump(done)
                code.start(done)
                if self.gpu:
                    self.gpu.exchange((pending[0][0] or pending[1][0], pending[0][1] or pending[1][1]))
            case host.WhileOp():
                more, turn, done = (code.fresh(n) for n in ("while", "do", "done"))
                if self.gpu:
                    self.gpu.enter_loop(op)
                code.jump(more)
                code.start(more)
                self._block(op.condition.block)
                if self.gpu:
                    self.gpu.settle()
                code.branch(self._truth(op.predicate), turn, done)
                code.start(turn)
                self._block(op.body.block)
                if self.gpu:
                    self.gpu.exchange((False, False))  # as the condition left it
                code.jump(more)
                code.start(done)
            case _:
                pass  # what only gives a buffer

    def _assert(self, op: host.AssertOp) -> None:
        code = self.code
        fails, holds = code.fresh("fails"), code.fresh("holds")
        code.branch(self._truth(op.predicate), holds, fails)
        code.start(fails)
        known = dict(self.sizes.known)
        text = code.op(f"load ptr, ptr {self._text(op, op.data)}, align 8")
        self.sizes.known = known
        code.do(f"store ptr {text}, ptr {place_of(code, MESSAGE)}, align 8")
        first = max((e.code for e in self.manifest.errors), default=0) + 1 - len(self.asserts)
        code.do(f"ret i32 {first + self.asserts.index(op)}")
        code.start(holds)

    def _forget_message(self) -> None:
        place = place_of(self.code, MESSAGE)
        self.code.do(f"call void @free(ptr {self.code.op(f'load ptr, ptr {place}, align 8')})")
        self.code.do(f"store ptr null, ptr {place}, align 8")

    def _text(self, op: host.PrintOp | host.AssertOp, data: Sequence[SSAValue]) -> str:
        """A place with the message of ``op``."""
        texts: list[tuple[str, int]] = []
        for text in op.texts:
            symbol = f"{self.manifest.name}_words{len(self.texts)}"
            self.texts.append(string_text(symbol, text.data, "private"))
            texts.append((symbol, len(text.data.encode())))
        values: list[Shown] = []
        for value, content in zip(data, op.contents, strict=True):
            dtype = dtype_of(content.element_type)
            extents = [self.sizes.value(d) for d in shape_of(content)]
            few = op.summarize.value.data
            values.append(Shown(self._address(value), str(dtype), dtype.itemsize, extents, few))
        return emit_text(self.code, texts, values)

    def _truth(self, predicate: SSAValue) -> str:
        byte = self.code.op(f"load i8, ptr {self._address(predicate)}, align 1")
        return self.code.op(f"icmp ne i8 {byte}, 0")

    def _row(self, op: host.RowOp) -> None:
        """The address of a row, once its number is known to be one."""
        code, kind = self.code, op.index.type
        assert isinstance(kind, MemRefType), "buffers have this type"
        width = kind.element_type.width.data  # pyright: ignore # an index is an integer
        number = code.op(f"load i{width}, ptr {self._address(op.index)}, align {width // 8}")
        if width < 64:
            widen = "zext" if op.unsigned else "sext"
            number = code.op(f"{widen} i{width} {number} to i64")
        outside = code.op(f"icmp uge i64 {number}, {self.sizes.value(parse(op.extent.data))}")
        described = located(0, op.message.data)
        leave_if(code, outside, f"i32 {self.codes[described.text, described.where]}")
        offset = code.op(f"mul i64 {number}, {self.sizes.value(parse(op.bytes.data))}")
        self.rows[op] = code.at("i8", self._address(op.source), offset)

    def _most_slots(self) -> int:
        return 1 + max((len(k.body.block.args) for k in self.kernels.values()), default=0)

    def _check_pointers(self) -> None:
        code = self.code
        groups = {"%model": 0, "%inputs": len(self.manifest.inputs), "%outputs": len(self.manifest.outputs)}
        for array in [a for a, count in groups.items() if count or a == "%model"]:
            leave_if(code, code.op(f"icmp eq ptr {array}, null"), f"i32 {NULL_POINTER}")
        bad = "false"
        for array, count in groups.items():
            for k in range(count):
                null = code.op(f"icmp eq ptr {self._port(array, k)}, null")
                bad = null if bad == "false" else code.op(f"or i1 {bad}, {null}")
        if bad != "false":
            leave_if(code, bad, f"i32 {NULL_POINTER}")

    def _port(self, array: str, index: int) -> str:
        return self.code.op(f"load ptr, ptr {self.code.at('ptr', array, str(index))}, align 8")

    def _reserve_arena(self) -> None:
        """Grow the arena to what these dims need; one of static size is there already."""
        code, size = self.code, self.program.arena_size
        place = place_of(code, ARENA)
        if isinstance(size, Expr):
            leave_if(code, self.sizes.too_large(size), f"i32 {NO_MEMORY}")
            needed, capacity = self.sizes.value(size), place_of(code, CAPACITY)
            had = code.op(f"load i64, ptr {capacity}, align 8")
            code.branch(code.op(f"icmp sgt i64 {needed}, {had}"), "grow", "ready")
            code.start("grow")
            code.do(f"call void @free(ptr {code.op(f'load ptr, ptr {place}, align 8')})")
            code.do(f"store i64 0, ptr {capacity}, align 8")
            failed = code.op(f"call i32 @tfc_allocate(ptr {place}, i64 {needed})")
            leave_if(code, code.op(f"icmp ne i32 {failed}, 0"), f"i32 {NO_MEMORY}")
            code.do(f"store i64 {needed}, ptr {capacity}, align 8")
            code.jump("ready")
            code.start("ready")
        code.lines.append(f"  %arena = load ptr, ptr {place}, align 8")

    def _launch(self, op: host.LaunchOp) -> None:
        code, called = self.code, self.kernels[op.callee]
        slots = [("ptr", self._address(o)) for o in op.operands]
        slots += [("i64", self.sizes.known[Atom("name", (d.data,))]) for d in called.dims]
        on_gpu = self.gpu is not None and called.target.data == "gpu"
        if op.callee in self.reports and not on_gpu:
            slots.append(("ptr", "%status"))
        for k, (kind, value) in enumerate(slots):
            code.do(f"store {kind} {value}, ptr {code.at('i64', '%args', str(k))}, align 8")
        if self.gpu is not None and on_gpu:
            self.gpu.launch(op, called, len(slots))
            return
        extent, grain = parse(called.grid.data), called.grain.value.data
        grid = self.sizes.value(extent)
        if isinstance(extent, int) and extent <= grain:
            code.do(f"call void @{op.callee}(ptr %args, i64 0, i64 {grid})")
        else:
            arguments = f"ptr %model, ptr @{op.callee}, ptr %args, i64 {grid}, i64 {grain}, i32 %threads"
            code.do(f"call void @tfc_share({arguments})")
        if op.callee in self.reports:
            status = code.op("load i32, ptr %status, align 4")
            leave_if(code, code.op(f"icmp ne i32 {status}, 0"), f"i32 {status}")

    def _address(self, value: SSAValue) -> str:
        """The address of a buffer's first byte."""
        op = value.owner
        assert isinstance(op, Operation), "a program has no arguments"
        code = self.code
        if self.gpu and op not in self.places and (there := self.gpu.address(op)) is not None:
            return there
        match op:
            case host.InputOp():
                return self._port("%inputs", op.position)
            case host.OutputOp():
                return self._port("%outputs", op.position)
            case host.VariableOp():
                return self._port("%model", VARIABLES + op.position)
            case host.ConstantOp() if self.bound:
                return self._port("%weights", self.constant_index[op.offset.value.data])
            case host.ConstantOp():
                return code.at("i8", "%weights", str(op.offset.value.data))
            case host.RowOp():
                return self.rows[op]
            case host.BufferOp() if op in self.places:
                return code.op(f"load ptr, ptr {self.places[op]}, align 8")
            case host.BufferOp():
                assert op.offset is not None, "assign-buffers has run"
                return code.at("i8", "%arena", self.sizes.value(parse(op.offset.data)))
            case host.ViewOp():
                offset = self.sizes.value(parse(op.offset.data))
                return code.at("i8", self._address(op.source), offset)
            case _:
                raise AssertionError(f"'{op.name}' gives no buffer; the verifier excludes it")


class Clock:
    """Reads the time between the operations of a run."""

    def __init__(self, run: Run, manifest: Manifest) -> None:
        self.run, self.first = run, VARIABLES + len(manifest.variables)
        self.kind = 6 if "darwin" in manifest.target.triple else 1  # CLOCK_MONOTONIC

    def now(self) -> str:
        """Nanoseconds."""
        code = self.run.code
        if not any("%clock" in line for line in code.entry):
            code.entry.append("  %clock = alloca [2 x i64], align 8")
        code.op(f"call i32 @clock_gettime(i32 {self.kind}, ptr %clock)")
        seconds = code.op("load i64, ptr %clock, align 8")
        rest = code.op(f"load i64, ptr {code.at('i64', '%clock', '1')}, align 8")
        return code.op(f"add i64 {code.op(f'mul i64 {seconds}, 1000000000')}, {rest}")

    def add(self, index: int, before: str) -> str:
        """Add what has passed since ``before`` to the sum of operation ``index``; gives the time."""
        now = self.now()
        self.put(index, self.run.code.op(f"sub i64 {now}, {before}"))
        return now

    def put(self, index: int, passed: str) -> None:
        """Add nanoseconds to the sum of operation ``index``, which has been run once more."""
        code = self.run.code
        count = place_of(code, self.first + len(self.run.numbers) + index)
        often = code.op(f"load i64, ptr {count}, align 8")
        code.do(f"store i64 {code.op(f'add i64 {often}, 1')}, ptr {count}, align 8")
        slot = place_of(code, self.first + index)
        total = code.op(f"add i64 {code.op(f'load i64, ptr {slot}, align 8')}, {passed}")
        code.do(f"store i64 {total}, ptr {slot}, align 8")


def times_function(manifest: Manifest) -> str:
    code = new_code()
    code.do(f"ret ptr {place_of(code, VARIABLES + len(manifest.variables))}")
    clock = "declare i32 @clock_gettime(i32, ptr) nounwind\n"
    return clock + function_text(f"ptr @{manifest.name}_times(ptr %model)", code)


def _operation(value: SSAValue) -> Operation:
    assert isinstance(value.owner, Operation), "a program has no arguments"
    return value.owner


def _reports(function: kernel.FuncOp) -> bool:
    return any(isinstance(op, kernel.CheckOp) for op in function.walk())
