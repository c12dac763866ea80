"""Kernels in PTX on this processor.

    module = Module(ptx)
    module.launch("add", grid=4, block=128, args=[x, y, out, 512])

Arrays are device memory as they lie. In checked mode, the default, each access to memory is looked at: whether it lies
in an allocation and is aligned, whether a thread reads what another writes at the same time, and whether shared memory
was written before it is read. A launch that goes wrong raises an `EmulationError` that names kernel, thread, address,
the line of the PTX text and the line of the program that the code was made from.

Threads run one after another, each until it waits for others; so results do not depend on luck, and what a real
device may do in another order is found by the checks.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from tfc.codegen.llvm import binding
from tfc.emulator import copies, floats, frame, integers, matrix, memory, warp
from tfc.emulator.flow import Flow, inlined
from tfc.emulator.frame import CONTEXT, FIELDS, SLOT
from tfc.emulator.syntax import Instruction, PtxError, parse
from tfc.emulator.syntax import Module as Parsed
from tfc.emulator.translate import ENTRY, Rule, Translator
from tfc.errors import TfcError

if TYPE_CHECKING:
    from llvmlite import binding as llvm

Array = np.ndarray[Any, Any]

RULES: dict[str, Rule] = {
    **floats.RULES,
    **integers.RULES,
    **memory.RULES,
    **warp.RULES,
    **matrix.RULES,
    **copies.RULES,
}
"""What each instruction means."""

WATCHED = 1 << 26
"""The largest allocation, in bytes, whose cells are watched for races between threads."""

STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a kernel may declare; more has to be asked for at the launch."""

MANY = 1 << 14
"""Threads of a launch from which on its code is worth optimising."""

_HELPERS = """
declare i1 @report(ptr nocapture, ptr nocapture readonly, i64, i64, i64, i64)
declare i1 @check.shared(ptr nocapture, ptr nocapture readonly, i64, i64, i64, i64)
declare i1 @check.global(ptr nocapture, ptr nocapture readonly, i64, i64, i64, i64)
declare i1 @check.generic(ptr nocapture, ptr nocapture readonly, i64, i64, i64, i64)
declare i1 @check.source(ptr nocapture, ptr nocapture readonly, i64, i64, i64, i64)
declare i1 @check.local(ptr nocapture, ptr nocapture readonly, i1, i64, i64)
declare void @arrive(ptr nocapture, i32)
declare i32 @members(ptr nocapture, ptr nocapture readonly, i32)
declare i1 @async.copy(ptr nocapture, ptr nocapture, i64, i64, i32, i32, i64)
declare i1 @async.wait(ptr nocapture, ptr nocapture, i32, i64, i1)
declare float @llvm.fma.f32(float, float, float)
!0 = !{!"branch_weights", i32 2000, i32 1}
!1 = !{}
"""
_lock = threading.RLock()


class EmulationError(TfcError):
    """A kernel did what it must not do.

    Attributes:
        kind: one of the codes of `tfc.emulator.frame`.
    """

    def __init__(self, message: str, *, kind: int = 0, where: str = "", help: str = "") -> None:
        super().__init__(message, where=where, help=help)
        self.kind = kind


class Memory:
    """Device memory: pieces of this process's memory that kernels may touch."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.pieces: dict[int, Piece] = {}
        self.time = 1

    def allocate(self, size: int) -> int:
        """The address of ``size`` fresh bytes, all ones, at a multiple of 256."""
        held = np.full(max(size, 1) + 511, 0xFF, np.uint8)
        start = held.ctypes.data + -held.ctypes.data % 256
        self.add(Piece(start, size, held))
        return start

    def add(self, piece: Piece) -> None:
        with _lock:
            if piece.start not in self.pieces:
                self.starts.insert(bisect_right(self.starts, piece.start), piece.start)
            self.pieces[piece.start] = piece

    def free(self, start: int) -> None:
        """Give a piece back.

        Raises:
            KeyError: none begins there.
        """
        with _lock:
            del self.pieces[start]
            self.starts.remove(start)

    def holds(self, start: int, size: int) -> bool:
        """Whether ``size`` bytes from ``start`` lie in one piece."""
        place = bisect_right(self.starts, start) - 1
        if place < 0:
            return False
        piece = self.pieces[self.starts[place]]
        return start + size <= piece.start + piece.size

    @property
    def used(self) -> int:
        return sum(p.size for p in self.pieces.values())

    def near(self, address: int) -> str:
        """Words for where an address lies beside the pieces."""
        with _lock:
            place = bisect_right(self.starts, address) - 1
            if place < 0:
                return "before all allocations"
            piece = self.pieces[self.starts[place]]
        return f"at {address - piece.start:,} in an allocation of {piece.size:,} bytes"


@dataclass
class Piece:
    """An allocation: where it begins, its bytes, and what keeps it alive."""

    start: int
    size: int
    held: Any
    shadow: Array | None = field(default=None, repr=False)

    def watched(self, grain: int) -> int:
        """The address of a shadow for cells of ``1 << grain`` bytes; 0 for none."""
        words = 2 * ((self.size >> grain) + 2)
        if self.size > WATCHED:
            return 0
        if self.shadow is None or self.shadow.size < words:
            self.shadow = np.zeros(words, np.int64)
        return self.shadow.ctypes.data


MEMORY = Memory()
"""The memory of the emulated device; arrays are in it while a launch that got them runs."""


@dataclass(frozen=True)
class Kernel:
    """A translated entry.

    Attributes:
        llvm: the function that runs a thread, as LLVM IR.
        params: offset and size of each argument.
        sites: the instructions that errors name by number.
        grains: logarithms of the cells of shadows, for shared and global memory.
    """

    name: str
    llvm: str = field(repr=False)
    params: Sequence[tuple[int, int]]
    sites: Sequence[Instruction]
    frame_size: int
    local_size: int
    shared_size: int
    max_threads: int
    grains: tuple[int, int]


class Module:
    """A loaded PTX text.

    Args:
        text: the PTX.
        device: the memory that its kernels see.

    Raises:
        PtxError: the text is not PTX, or says what the emulator does not know.
    """

    def __init__(self, text: str, device: Memory = MEMORY) -> None:
        self.parsed = _parsed(text)
        self.device = device
        self.kernels: dict[tuple[str, bool], Kernel] = {}
        self.symbols: dict[str, tuple[str, int]] = {}
        self.globals_size = self.shared_size = 0
        initial: list[tuple[int, bytes]] = []
        for v in self.parsed.variables:
            if v.space == "shared":
                start = -(-self.shared_size // v.align) * v.align
                self.symbols[v.name], self.shared_size = ("shared", start), start + max(v.size, 0)
            else:
                start = -(-self.globals_size // v.align) * v.align
                self.symbols[v.name] = ("globals", start)
                self.globals_size = start + v.size
                initial.append((start, v.initial.ljust(v.size, b"\0")))
        self.globals = device.allocate(self.globals_size) if self.globals_size else 0
        for start, data in initial:
            ctypes.memmove(self.globals + start, data, len(data))

    @property
    def entries(self) -> list[str]:
        """The names of kernels."""
        return [f.name for f in self.parsed.functions.values() if f.entry]

    def kernel(self, name: str, checked: bool = True) -> Kernel:
        """The translated entry ``name``.

        Raises:
            KeyError: there is none.
        """
        found = self.kernels.get((name, checked))
        if found is None:
            with _lock:
                found = self.kernels[name, checked] = self._translated(name, checked)
        return found

    def _translated(self, name: str, checked: bool) -> Kernel:
        function = self.parsed.functions[name]
        if not function.entry:
            raise KeyError(name)
        flow = Flow(inlined(self.parsed, function))
        t = Translator(flow, self.symbols, self.shared_size, checked)
        # Variables without extent (dynamic shared memory) begin behind all that have one.
        open_ended = [v for v in self.parsed.variables if v.size < 0]
        for v in open_ended:
            t.shared_size = -(-t.shared_size // v.align) * v.align
        for v in open_ended:
            t.symbols[v.name] = ("shared", t.shared_size)
        body = t.function(RULES)
        text = "\n".join([*(h for n, h in t.helpers.items() if n not in _DECLARED), _HELPERS, body])
        params, offset = list[tuple[int, int]](), 0
        for p in function.params:
            offset = -(-offset // p.align) * p.align
            params.append((offset, p.size))
            offset += p.size
        grains = (t.shared_grain.bit_length() - 1, t.global_grain.bit_length() - 1)
        return Kernel(
            name, text, params, t.sites, t.frame_size, t.local_size, t.shared_size, function.max_threads,
            grains,
        )  # fmt: skip

    def launch(
        self,
        name: str,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        args: Sequence[Any],
        shared: int = 0,
        checked: bool = True,
    ) -> None:
        """Run a kernel to its end.

        Args:
            name: the entry.
            grid: blocks, up to three extents.
            block: threads of a block, up to three extents.
            args: for each parameter a contiguous array (its address), an integer, a float, or bytes.
            shared: bytes of dynamic shared memory.
            checked: whether accesses are looked at.

        Raises:
            EmulationError: the kernel failed, or cannot be launched so.
            PtxError: it has an instruction that is not known.
        """
        kernel = self.kernel(name, checked)
        values = bytearray(max((o + s for o, s in kernel.params), default=0) + 8)
        if len(args) != len(kernel.params):
            raise EmulationError(f"kernel '{name}' takes {len(kernel.params)} arguments, got {len(args)}")
        given: list[Piece] = []
        for (offset, size), value in zip(kernel.params, args, strict=True):
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise EmulationError(f"kernel '{name}' takes contiguous arrays")
                given.append(Piece(value.ctypes.data, value.nbytes, value))
                value = value.ctypes.data
            values[offset : offset + size] = _bytes(value, size)
        with _lock:
            added = [p for p in given if not self.device.holds(p.start, p.size)]
            for piece in added:
                self.device.add(piece)
            try:
                self.run(kernel, _three(grid), _three(block), bytes(values), shared, checked)
            finally:
                for start in {p.start for p in added}:
                    self.device.free(start)

    def run(
        self, kernel: Kernel, grid: tuple[int, ...], block: tuple[int, ...], params: bytes, shared: int, checked: bool
    ) -> None:
        """`launch` with the arguments as bytes, laid out as the kernel's parameters."""
        threads = block[0] * block[1] * block[2]
        if min(*grid, *block) < 1 or threads > kernel.max_threads:
            raise EmulationError(
                f"kernel '{kernel.name}' runs with 1 to {kernel.max_threads} threads in a block,"
                f" got a grid of {grid} and blocks of {block}"
            )
        with _lock:
            context = (ctypes.c_int64 * len(CONTEXT))()
            rounded = -(-threads // 32) * 32
            shared_size = kernel.shared_size + shared
            zeros = np.zeros
            held = {
                "params": _filled(len(params) + 64),
                "shared": _filled(shared_size + 64),
                "frames": zeros(kernel.frame_size * rounded + 64, np.uint8),
                "locals": _filled(kernel.local_size * rounded + 64),
                "queues": np.empty(frame.QUEUED * frame.QUEUE * rounded, np.uint8),
                "arrivals": zeros(16, np.int32),
                "shared_shadow": zeros(2 * ((shared_size >> kernel.grains[0]) + 2), np.int64),
                "table": self._table(kernel.grains[1] if checked else -1),
            }
            values: dict[str, int] = {n: _start(a) for n, a in held.items()}
            ctypes.memmove(values["params"], params, len(params))
            values |= {
                "shared_size": shared_size, "globals": self.globals, "frame_size": kernel.frame_size,
                "local_size": kernel.local_size, "threads": threads, "table_size": held["table"].size // 3,
                "hit": values["table"], "granule": kernel.grains[0] | kernel.grains[1] << 4,
                "time": self.device.time, "dynamic_size": shared,
            }  # fmt: skip
            for axis, n, m in zip("xyz", block, grid, strict=True):
                values |= {f"ntid_{axis}": n, f"nctaid_{axis}": m}
            for word, value in values.items():
                context[SLOT[word]] = value
            code = _compiled(kernel.llvm, quick=threads * grid[0] * grid[1] * grid[2] < MANY)
            failed = _launcher()(ctypes.addressof(context), code)
            self.device.time = context[SLOT["time"]] + 1
            if failed:
                raise self._error(kernel, {n: context[k] for n, k in SLOT.items()})

    def _table(self, grain: int) -> Array:
        """Allocations as words: start, end, and shadow."""
        rows = [(p.start, p.start + p.size, p.watched(grain) if grain >= 0 else 0) for p in self.device.pieces.values()]
        return np.array(rows or [(0, 0, 0)], np.int64).reshape(-1)

    def _error(self, kernel: Kernel, found: Mapping[str, int]) -> EmulationError:
        op = kernel.sites[found["error_site"]]
        block = tuple(found[f"ctaid_{a}"] for a in "xyz")
        thread = _thread(found["error_thread"], found)
        address, other = found["error_address"] & (1 << 64) - 1, found["error_other"]
        who = "several threads" if other == 2047 else f"thread {_thread(other - 1, found)}"
        shared = found["shared_size"]
        said = {
            frame.OUTSIDE: f"an access outside of all allocations, {self.device.near(address)}",
            frame.MISALIGNED: f"an address that is no multiple of {other}",
            frame.UNINITIALISED: "a read of shared memory that nothing was written to",
            frame.READ_AFTER_WRITE: f"a read of what {who} writes, with no barrier between",
            frame.WRITE_AFTER_READ: f"a write to what {who} reads, with no barrier between",
            frame.WRITE_AFTER_WRITE: f"a write to what {who} writes, with no barrier between",
            frame.ON_ITS_WAY: f"an access to where {who} copies to, with no wait for the copy between",
            frame.OUTSIDE_SHARED: f"an access outside of the {shared:,} bytes of shared memory",
            frame.OUTSIDE_LOCAL: "an access outside of the thread's local memory",
            frame.WARP_DIVERGED: "a wait for threads of the warp that do not come",
            frame.BARRIER_DIVERGED: f"a barrier that thread {_thread(other, found)} does not come to",
            frame.QUEUE_FULL: f"more than {frame.QUEUE} asynchronous copies of one thread under way",
            frame.TRAP: "a trap",
        }[found["error"]]
        place = f" at address {address:#x}" if address else ""
        where = (f"{op.source}: " if op.source else "") + f"ptx:{op.line}"
        return EmulationError(
            f"kernel '{kernel.name}', '{op.text}' in thread {thread} of block {block}: {said}{place}",
            kind=found["error"],
            where=where,
        )


def _thread(number: int, found: Mapping[str, int]) -> tuple[int, int, int]:
    x, y = found["ntid_x"], found["ntid_y"]
    return number % x, number // x % y, number // (x * y)


def _three(extents: int | Sequence[int]) -> tuple[int, ...]:
    given = (extents,) if isinstance(extents, int) else tuple(extents)
    return (*given, 1, 1)[:3]


def _bytes(value: Any, size: int) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, float | np.floating):
        return struct.pack("<d" if size == 8 else "<f", value)
    return (int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _filled(size: int) -> Array:
    return np.full(size, 0xFF, np.uint8)


def _start(array: Array) -> int:
    return array.ctypes.data + -array.ctypes.data % 64 if array.dtype == np.uint8 else array.ctypes.data


_DECLARED = {"members", "llvm.fma.f32"}


@lru_cache(maxsize=64)
def _parsed(text: str) -> Parsed:
    return parse(text)


_code: dict[tuple[str, bool], int] = {}
_engines: list[llvm.ExecutionEngine] = []


def _compiled(text: str, quick: bool) -> int:
    """The address of the step function of a text; the same text is compiled once in a process."""
    _launcher()
    key = hashlib.sha256(text.encode()).hexdigest(), quick
    if key not in _code:
        _code[key] = _loaded(text, quick).get_function_address(ENTRY)
    return _code[key]


def _loaded(text: str, quick: bool = False) -> llvm.ExecutionEngine:
    """Code in memory that is never given back: it is small, and kernels come again.

    Args:
        quick: compile in half of the time, for code that takes twice as long.
    """
    llvm = binding()
    module = llvm.parse_assembly(text)
    try:
        module.verify()
    except RuntimeError as error:
        raise PtxError(f"bug in the emulator: {error}") from error
    machine = _host(0 if quick else 1)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    if quick:
        passes.add_always_inliner_pass()
        passes.add_sroa_pass()
    else:
        passes = builder.getModulePassManager()
    passes.run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)
    return engine


def _host(opt: int) -> llvm.TargetMachine:
    llvm = binding()
    features = ",".join(f"{'+' if on else '-'}{name}" for name, on in llvm.get_host_cpu_features().items())
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=opt, codemodel="jitdefault", jit=True
    )


@cache
def _launcher() -> Any:
    """The function ``launch`` of the runtime; its helpers become known to kernels loaded later."""
    words: dict[str, Any] = FIELDS | SLOT
    words |= {f"f_{n}": o for n, o in FIELDS.items()}
    words |= {n: getattr(frame, n) for n in dir(frame) if n.isupper() and isinstance(getattr(frame, n), int)}
    text = "".join(files("tfc.emulator").joinpath(f"{part}.ll").read_text("utf-8") for part in ("checks", "runtime"))
    engine = _loaded(Template(text).substitute(words))
    for line in _HELPERS.splitlines():
        if line.startswith("declare") and "@llvm" not in line:
            name = line.split("@")[1].split("(")[0]
            binding().add_symbol(name, engine.get_function_address(name))
    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(engine.get_function_address("launch"))

