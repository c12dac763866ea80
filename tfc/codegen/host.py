"""The host program as LLVM IR: the C interface of a model.

    kernels = translate(functions, target, messages)
    text = kernels + emit_host(program, functions, manifest) + pool_llvm(target.triple)
    object = compile_llvm(text, target)

One call runs the whole model: ``NAME_run`` fills the argument slots of each kernel and calls it,
through the thread pool where its grid is worth more than one thread. A model's state is a
handle, an array of 8-byte slots:

    threads | arena | its capacity | weights | own variables | message | address of variable 0 | ...

The message is that of the last run where an assertion of the graph did not hold.

Constants lie in one block, the symbol ``NAME_weights`` (hidden, defined elsewhere in the object);
with ``bound_weights`` there is no such symbol, and ``NAME_bind_weights`` is given a table of the
constants' addresses instead: a program in this process uses arrays where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Block, Operation, SSAValue

from tfc.codegen.artifact.manifest import (
    ErrorMessage,
    Manifest,
    TargetSpec,
    named_dims,
    ports,
)
from tfc.codegen.cpu.ir import Code, Module
from tfc.codegen.cpu.targets import Target
from tfc.codegen.dispatch import dispatch_llvm
from tfc.codegen.isa import BASELINE, checked, missing_llvm
from tfc.codegen.messages import Shown, emit_text, messages_llvm
from tfc.codegen.pool import DECLARATIONS, MAX_THREADS
from tfc.dialects import host, kernel
from tfc.dialects.tfc.types import dtype_of, shape_of
from tfc.dims import Atom, Dim, Expr, evaluate, names, parse

NULL_POINTER, NO_MEMORY, BAD_THREADS, NO_THREADS = -1, -3, -4, -5
MISSING_FEATURE, BAD_DIM, BAD_EXTENT = -100, -200, -1000
"""Codes of the interface itself; code ``BAD_DIM - k`` is about dim ``k``, and so on.

Positive codes are those of ``kernel.check``.
"""

LARGEST_DIM = (1 << 31) - 1
ALIGNMENT = 64
_THREADS, _ARENA, _CAPACITY, _WEIGHTS, _OWNED, _MESSAGE, _VARIABLES = range(7)


def describe_program(
    program: host.ProgramOp, target: Target, messages: Sequence[str] = (), *, threads: int = 1
) -> Manifest:
    """The manifest of a program whose kernels report ``messages``, beside what it reports itself."""
    own = [op.message.data for op in program.walk() if isinstance(op, host.RowOp)]
    messages = list(dict.fromkeys([*messages, *own]))
    asserts = [op for op in program.walk() if isinstance(op, host.AssertOp)]
    taken: set[str] = set()
    inputs = ports(_described(program.inputs), taken)
    outputs = ports(_described(program.outputs), taken)
    variables = ports(_described(program.variables), taken)
    needed = [d for p in (*outputs, *variables) for d in p.shape]
    dims = named_dims(inputs, [*needed, program.arena_size], taken)
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
            *_errors(target, [d.name for d in dims], messages, program.requirements),
            *(ErrorMessage(k, o.message, o.place.data) for k, o in enumerate(asserts, len(messages) + 1)),
        ),
    )


def _described(given: Iterable[host.PortAttr]) -> Iterator[tuple[str, str, Sequence[Dim]]]:
    for p in given:
        yield p.label.data, str(dtype_of(p.content.element_type)), shape_of(p.content)


def _errors(
    target: Target, dims: Sequence[str], messages: Sequence[str], required: Sequence[tuple[Dim, str]]
) -> Iterator[ErrorMessage]:
    yield ErrorMessage(NULL_POINTER, "a pointer is null")
    yield ErrorMessage(NO_MEMORY, "out of memory")
    yield ErrorMessage(BAD_THREADS, f"the number of threads is not in 0..{MAX_THREADS}")
    yield ErrorMessage(NO_THREADS, "the system gives no more threads")
    for k, feature in enumerate(checked(target.triple, target.required_features), 1):
        text = f"this CPU lacks {feature}; the model was compiled for {target.cpu}"
        yield ErrorMessage(MISSING_FEATURE - k, text)
    for k, name in enumerate(dims):
        yield ErrorMessage(BAD_DIM - k, f"the dim {name} is not in 1..{LARGEST_DIM}")
    for k, (_, message) in enumerate(required):
        yield _located(BAD_EXTENT - k, message)
    for k, message in enumerate(messages, 1):
        yield _located(k, message)


def _located(code: int, message: str) -> ErrorMessage:
    """A message ``model.py:7: 'tfc.gather': ...`` with its place apart."""
    where, mark, rest = message.partition(": 'tfc.")
    return ErrorMessage(code, f"'tfc.{rest}", where) if mark else ErrorMessage(code, message)


def emit_host(
    program: host.ProgramOp,
    kernels: Sequence[kernel.FuncOp],
    manifest: Manifest,
    *,
    bound_weights: bool = False,
    shared_pool: bool = False,
    profiled: bool = False,
) -> str:
    """LLVM IR of the C interface, to be put behind that of the kernels.

    Args:
        program: the host program, its buffers assigned.
        kernels: the kernels it launches; their names are used, not their bodies.
        manifest: what `describe_program` said.
        bound_weights: take the constants' addresses from ``NAME_bind_weights``.
        shared_pool: call a thread pool defined in another object.
        profiled: sum up the time of each operation in `timed`, in nanoseconds, in a table of the
            model's that ``NAME_times`` gives.
    """
    name = manifest.name
    times = len(timed(program)) if profiled else 0
    target = manifest.target
    features = checked(target.triple, target.features)
    parts = [
        _DECLARATIONS,
        DECLARATIONS if shared_pool else "",
        f"define i32 @{name}_abi() nounwind {{\n  ret i32 {manifest.abi}\n}}\n",
        _string(f"{name}_manifest", manifest.to_json()),
        _error_function(name, manifest.errors),
        missing_llvm(features),
        _create(program, manifest, BASELINE if features else "", bound_weights, times),
        _destroy(name),
        _message_function(name),
        _Expressions(manifest).size_function(),
        _Run(program, kernels, manifest, bound_weights, profiled).text(),
        _variable_functions(name, len(manifest.variables)),
    ]
    if Target.parse(target.triple, target.cpu).pointer_bits == 64:
        parts.append(dispatch_llvm(name))
    if profiled:
        parts.append(_times_function(manifest))
    if bound_weights:
        parts.append(_BIND_WEIGHTS.replace("NAME", name))
    elif manifest.weights_size:
        parts.append(f"@{name}_weights = external hidden constant i8, align {ALIGNMENT}\n")
    return "\n".join(p for p in parts if p)


def timed(program: host.ProgramOp) -> list[host.LaunchOp | host.CopyOp]:
    """The operations of a program that take time, in the order of the text."""
    return [op for op in program.walk() if isinstance(op, host.LaunchOp | host.CopyOp)]


_DECLARATIONS = """
declare ptr @calloc(i64, i64) nounwind
declare void @free(ptr) nounwind
declare i32 @posix_memalign(ptr, i64, i64) nounwind
declare ptr @memcpy(ptr, ptr, i64) nounwind
"""

_BIND_WEIGHTS = """
; table: the address of each constant, in the order of their offsets
define i32 @NAME_bind_weights(ptr %model, ptr %table) nounwind {
  %slot = getelementptr i64, ptr %model, i64 3
  store ptr %table, ptr %slot, align 8
  ret i32 0
}
"""


def _code() -> Code:
    return Code(Module(Target.parse("x86_64", "x86-64")))  # only its text is used


def _function(head: str, code: Code, attributes: str = "") -> str:
    body = "\n".join([*code.entry, *code.lines])
    return f"define {head} nounwind {attributes}{{\nentry:\n{body}\n}}\n"


def _string(symbol: str, text: str, linkage: str = "") -> str:
    data = text.encode() + b"\0"
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data)
    return f'@{symbol} = {linkage} constant [{len(data)} x i8] c"{escaped}"\n'


def _error_function(name: str, errors: Sequence[ErrorMessage]) -> str:
    texts = {0: "no error"} | {e.code: f"{e.where}: {e.text}" if e.where else e.text for e in errors}
    strings = [_string(f"{name}_text{k}", t, "private") for k, t in enumerate(texts.values())]
    strings.append(_string(f"{name}_text_unknown", "unknown error", "private"))
    cases = " ".join(f"i32 {c}, label %c{k}" for k, c in enumerate(texts))
    returns = "\n".join(f"c{k}:\n  ret ptr @{name}_text{k}" for k in range(len(texts)))
    return "".join(strings) + (
        f"define ptr @{name}_error(i32 %code) nounwind {{\n"
        f"  switch i32 %code, label %unknown [ {cases} ]\n{returns}\n"
        f"unknown:\n  ret ptr @{name}_text_unknown\n}}\n"
    )


def _message_function(name: str) -> str:
    """``NAME_message``: the error of the last run in words, where they depend on its values; else null."""
    code = _code()
    _leave_if(code, code.op("icmp eq ptr %model, null"), "ptr null")
    code.do(f"ret ptr {code.op(f'load ptr, ptr {_slot(code, _MESSAGE)}, align 8')}")
    return _function(f"ptr @{name}_message(ptr %model)", code)


def _slot(code: Code, index: int) -> str:
    return code.at("i64", "%model", str(index))


def _leave_if(code: Code, condition: str, result: str) -> None:
    """Return ``result`` where ``condition`` holds."""
    out, on = code.fresh("leave"), code.fresh("on")
    code.branch(condition, out, on)
    code.start(out)
    code.do(f"ret {result}")
    code.start(on)


def _create(
    program: host.ProgramOp, manifest: Manifest, attributes: str, bound: bool, times: int = 0
) -> str:
    code, name = _code(), manifest.name
    _leave_if(code, code.op("icmp eq ptr %out, null"), f"i32 {NULL_POINTER}")
    code.do("store ptr null, ptr %out, align 8")
    lacks = code.op("call i32 @tfc_missing()")
    some = code.op(f"icmp ne i32 {lacks}, 0")
    _leave_if(code, some, f"i32 {code.op(f'sub i32 {MISSING_FEATURE}, {lacks}')}")
    too_many = code.op(f"icmp ugt i32 %given, {MAX_THREADS}")
    _leave_if(code, too_many, f"i32 {BAD_THREADS}")
    default = code.op("icmp eq i32 %given, 0")
    threads = code.op(f"select i1 {default}, i32 {manifest.threads}, i32 %given")
    slots = _VARIABLES + len(manifest.variables) + times
    code.lines.append(f"  %model = call ptr @calloc(i64 {slots}, i64 8)")
    _leave_if(code, code.op("icmp eq ptr %model, null"), f"i32 {NO_MEMORY}")
    wide = code.op(f"sext i32 {threads} to i64")
    code.do(f"store i64 {wide}, ptr {_slot(code, _THREADS)}, align 8")
    if not bound and manifest.weights_size:
        code.do(f"store ptr @{name}_weights, ptr {_slot(code, _WEIGHTS)}, align 8")
    _own_variables(code, manifest)
    if isinstance(size := program.arena_size, int) and size:
        _allocate(code, _ARENA, size)
    several = code.op(f"icmp sgt i32 {threads}, 1")
    code.branch(several, "pool", "done")
    code.start("pool")
    failed = code.op(f"call i32 @tfc_pool_acquire(i32 {threads})")
    bad = code.op(f"icmp ne i32 {failed}, 0")
    code.branch(bad, "no_threads", "done")
    code.start("no_threads")
    _release(code, NO_THREADS)
    code.start("done")
    code.do("store ptr %model, ptr %out, align 8")
    code.do("ret i32 0")
    head = f"i32 @{name}_create(ptr %out, i32 %given)"
    return _function(head, code, f"{attributes} ")


def _variable_offsets(manifest: Manifest) -> tuple[list[int], int]:
    offsets, total = list[int](), 0
    for port in manifest.variables:
        offsets.append(total)
        size = evaluate(port.bytes, {})  # variables have static shapes
        total += (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return offsets, total


def _own_variables(code: Code, manifest: Manifest) -> None:
    """Storage for the variables: pages of zeros that cost nothing until they are touched."""
    offsets, total = _variable_offsets(manifest)
    if not total:
        return
    memory = code.op(f"call ptr @calloc(i64 1, i64 {total + ALIGNMENT})")
    code.do(f"store ptr {memory}, ptr {_slot(code, _OWNED)}, align 8")
    failed, on = code.fresh("full"), code.fresh("on")
    code.branch(code.op(f"icmp eq ptr {memory}, null"), failed, on)
    code.start(failed)
    _release(code, NO_MEMORY)
    code.start(on)
    address = code.op(f"ptrtoint ptr {memory} to i64")
    rest = code.op(f"and i64 {address}, {ALIGNMENT - 1}")
    base = code.at("i8", memory, code.op(f"sub i64 {ALIGNMENT}, {rest}"))
    for k, offset in enumerate(offsets):
        place = code.at("i8", base, str(offset))
        code.do(f"store ptr {place}, ptr {_slot(code, _VARIABLES + k)}, align 8")


def _allocate(code: Code, slot: int, size: int) -> None:
    place = _slot(code, slot)
    failed = code.op(f"call i32 @posix_memalign(ptr {place}, i64 {ALIGNMENT}, i64 {size})")
    bad, out, on = code.op(f"icmp ne i32 {failed}, 0"), code.fresh("full"), code.fresh("on")
    code.branch(bad, out, on)
    code.start(out)
    code.do(f"store ptr null, ptr {place}, align 8")
    _release(code, NO_MEMORY)
    code.start(on)


def _release(code: Code, result: int) -> None:
    _free(code)
    code.do(f"ret i32 {result}")


def _free(code: Code) -> None:
    for slot in (_ARENA, _OWNED, _MESSAGE):
        code.do(f"call void @free(ptr {code.op(f'load ptr, ptr {_slot(code, slot)}, align 8')})")
    code.do("call void @free(ptr %model)")


def _destroy(name: str) -> str:
    code = _code()
    _leave_if(code, code.op("icmp eq ptr %model, null"), "void")
    threads = code.op(f"load i64, ptr {_slot(code, _THREADS)}, align 8")
    several = code.op(f"icmp sgt i64 {threads}, 1")
    code.branch(several, "pool", "rest")
    code.start("pool")
    code.do("call void @tfc_pool_release()")
    code.jump("rest")
    code.start("rest")
    _free(code)
    code.do("ret void")
    return _function(f"void @{name}_destroy(ptr %model)", code)


def _variable_functions(name: str, count: int) -> str:
    """``NAME_variable``, the storage of a variable, and ``NAME_bind_variable``, which replaces it."""

    def place(code: Code, otherwise: str) -> str:
        """The slot that holds the address of variable ``%index``."""
        null = code.op("icmp eq ptr %model, null")
        outside = code.op(f"icmp uge i32 %index, {count}")
        _leave_if(code, code.op(f"or i1 {null}, {outside}"), otherwise)
        wide = code.op("zext i32 %index to i64")
        return code.at("i64", "%model", code.op(f"add i64 {wide}, {_VARIABLES}"))

    getter, setter = _code(), _code()
    address = place(getter, "ptr null")
    getter.do(f"ret ptr {getter.op(f'load ptr, ptr {address}, align 8')}")
    setter.do(f"store ptr %memory, ptr {place(setter, f'i32 {NULL_POINTER}')}, align 8")
    setter.do("ret i32 0")
    bind = f"i32 @{name}_bind_variable(ptr %model, i32 %index, ptr %memory)"
    return _function(f"ptr @{name}_variable(ptr %model, i32 %index)", getter) + (
        _function(bind, setter) if count else ""
    )


class _Expressions:
    """Dims and sizes as LLVM values: ``%dims`` holds the named ones."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.code = _code()
        self.known: dict[Dim | Atom, str] = {}

    def read_dims(self, result: Mapping[int, str]) -> None:
        """Load the named dims; return ``result[k]`` where dim ``k`` is out of range."""
        code = self.code
        if not self.manifest.dims:
            return
        _leave_if(code, code.op("icmp eq ptr %dims, null"), result[-1])
        for k, dim in enumerate(self.manifest.dims):
            value = code.op(f"load i64, ptr {code.at('i64', '%dims', str(k))}, align 8")
            below = code.op(f"sub i64 {value}, 1")
            _leave_if(code, code.op(f"icmp uge i64 {below}, {LARGEST_DIM}"), result[k])
            self.known[Atom("name", (dim.name,))] = value

    def value(self, dim: Dim) -> str:
        """An extent or size as an ``i64``."""
        if isinstance(dim, int):
            return str(dim)
        if (found := self.known.get(dim)) is None:
            terms = [self._term([self._atom(a) for a in m], c) for m, c in dim.terms]
            found = terms[0]
            for term in terms[1:]:
                found = self.code.op(f"add i64 {found}, {term}")
            self.known[dim] = found
        return found

    def _term(self, factors: Sequence[str], coefficient: int) -> str:
        parts = [*factors, str(coefficient)] if coefficient != 1 or not factors else [*factors]
        product = parts[0]
        for part in parts[1:]:
            product = self.code.op(f"mul i64 {product}, {part}")
        return product

    def _atom(self, atom: Atom) -> str:
        if (found := self.known.get(atom)) is None:
            x, y = (self.value(a) for a in atom.args if not isinstance(a, str))
            found = self.known[atom] = getattr(self, f"_{atom.function}")(x, y)
        return found

    def _max(self, x: str, y: str) -> str:
        larger = self.code.op(f"icmp sgt i64 {x}, {y}")
        return self.code.op(f"select i1 {larger}, i64 {x}, i64 {y}")

    def _mod(self, x: str, y: str) -> str:
        """The remainder with the sign of the divisor, as Python has it."""
        rest = self.code.op(f"srem i64 {x}, {y}")
        mixed = self.code.op(f"xor i64 {rest}, {y}")
        other = self.code.op(f"icmp slt i64 {mixed}, 0")
        nonzero = self.code.op(f"icmp ne i64 {rest}, 0")
        adjust = self.code.op(f"and i1 {other}, {nonzero}")
        return self.code.op(f"add i64 {rest}, {self.code.op(f'select i1 {adjust}, i64 {y}, i64 0')}")

    def _floordiv(self, x: str, y: str) -> str:
        whole = self.code.op(f"sub i64 {x}, {self._mod(x, y)}")
        return self.code.op(f"sdiv i64 {whole}, {y}")

    def too_large(self, size: Dim) -> str:
        """Whether ``size``, a sum of products, is beyond memory: computed in doubles."""
        limit = "0x43D0000000000000"  # 2 to the 62
        return self.code.op(f"fcmp ogt double {self._real(size)}, {limit}")

    def _real(self, size: Dim) -> str:
        total = "0.0"
        for monomial, coefficient in size.terms if isinstance(size, Expr) else ():
            product = f"{abs(coefficient)}.0"
            for atom in monomial:
                factor = self.code.op(f"sitofp i64 {self._atom(atom)} to double")
                product = self.code.op(f"fmul double {product}, {factor}")
            total = self.code.op(f"fadd double {total}, {product}")
        return total

    def size_function(self) -> str:
        """``NAME_arena_size``: bytes, or -1 where the dims are out of range."""
        size = self.manifest.arena_size
        if isinstance(size, Expr):
            self.read_dims(dict.fromkeys(range(-1, len(self.manifest.dims)), "i64 -1"))
            _leave_if(self.code, self.too_large(size), "i64 -1")
        self.code.do(f"ret i64 {self.value(size)}")
        return _function(f"i64 @{self.manifest.name}_arena_size(ptr %dims)", self.code)


class _Run:
    """``NAME_run``: the operations of the program in order."""

    def __init__(
        self,
        program: host.ProgramOp,
        kernels: Sequence[kernel.FuncOp],
        manifest: Manifest,
        bound_weights: bool,
        profiled: bool = False,
    ) -> None:
        self.program, self.manifest, self.bound = program, manifest, bound_weights
        self.clock = _Clock(self, manifest) if profiled else None
        self.kernels = {k.sym_name.data: k for k in kernels}
        self.sizes = _Expressions(manifest)
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
                _leave_if(code, below, f"i32 {BAD_EXTENT - k}")
        if self.asserts:
            self._forget_message()
        self._reserve_arena()
        code.lines.append(f"  %weights = load ptr, ptr {_slot(code, _WEIGHTS)}, align 8")
        threads = code.op(f"load i64, ptr {_slot(code, _THREADS)}, align 8")
        code.lines.append(f"  %threads = trunc i64 {threads} to i32")
        self._places()
        self._block(self.program.body.block)
        code.do("ret i32 0")
        arguments = "ptr %model, ptr %inputs, ptr %outputs, ptr %dims"
        said = messages_llvm() if self.texts else ""
        return said + "".join(self.texts) + _function(f"i32 @{self.manifest.name}_run({arguments})", code)

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
                timed = op in self.numbers
                before = self.clock.add(self.numbers[op], before) if timed else self.clock.now()
        self.sizes.known = known

    def _operation(self, op: Operation) -> None:
        code = self.code
        match op:
            case host.LaunchOp():
                self._launch(op)
            case host.CopyOp():
                source, target = self._address(op.source), self._address(op.target)
                code.op(f"call ptr @memcpy(ptr {target}, ptr {source}, i64 {self.sizes.value(op.size)})")
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
                for label, region in ((then, op.then), (otherwise, op.otherwise)):
                    code.start(label)
                    self._block(region.block)
                    code.jump(done)
                code.start(done)
            case host.WhileOp():
                more, turn, done = (code.fresh(n) for n in ("while", "do", "done"))
                code.jump(more)
                code.start(more)
                self._block(op.condition.block)
                code.branch(self._truth(op.predicate), turn, done)
                code.start(turn)
                self._block(op.body.block)
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
        code.do(f"store ptr {text}, ptr {_slot(code, _MESSAGE)}, align 8")
        first = max((e.code for e in self.manifest.errors), default=0) + 1 - len(self.asserts)
        code.do(f"ret i32 {first + self.asserts.index(op)}")
        code.start(holds)

    def _forget_message(self) -> None:
        place = _slot(self.code, _MESSAGE)
        self.code.do(f"call void @free(ptr {self.code.op(f'load ptr, ptr {place}, align 8')})")
        self.code.do(f"store ptr null, ptr {place}, align 8")

    def _text(self, op: host.PrintOp | host.AssertOp, data: Sequence[SSAValue]) -> str:
        """A place with the message of ``op``."""
        texts: list[tuple[str, int]] = []
        for text in op.texts:
            symbol = f"{self.manifest.name}_words{len(self.texts)}"
            self.texts.append(_string(symbol, text.data, "private"))
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
        described = _located(0, op.message.data)
        _leave_if(code, outside, f"i32 {self.codes[described.text, described.where]}")
        offset = code.op(f"mul i64 {number}, {self.sizes.value(parse(op.bytes.data))}")
        self.rows[op] = code.at("i8", self._address(op.source), offset)

    def _most_slots(self) -> int:
        return 1 + max((len(k.body.block.args) for k in self.kernels.values()), default=0)

    def _check_pointers(self) -> None:
        code = self.code
        groups = {"%model": 0, "%inputs": len(self.manifest.inputs), "%outputs": len(self.manifest.outputs)}
        for array in [a for a, count in groups.items() if count or a == "%model"]:
            _leave_if(code, code.op(f"icmp eq ptr {array}, null"), f"i32 {NULL_POINTER}")
        bad = "false"
        for array, count in groups.items():
            for k in range(count):
                null = code.op(f"icmp eq ptr {self._port(array, k)}, null")
                bad = null if bad == "false" else code.op(f"or i1 {bad}, {null}")
        if bad != "false":
            _leave_if(code, bad, f"i32 {NULL_POINTER}")

    def _port(self, array: str, index: int) -> str:
        return self.code.op(f"load ptr, ptr {self.code.at('ptr', array, str(index))}, align 8")

    def _reserve_arena(self) -> None:
        """Grow the arena to what these dims need; one of static size is there already."""
        code, size = self.code, self.program.arena_size
        place = _slot(code, _ARENA)
        if isinstance(size, Expr):
            _leave_if(code, self.sizes.too_large(size), f"i32 {NO_MEMORY}")
            needed, capacity = self.sizes.value(size), _slot(code, _CAPACITY)
            had = code.op(f"load i64, ptr {capacity}, align 8")
            code.branch(code.op(f"icmp sgt i64 {needed}, {had}"), "grow", "ready")
            code.start("grow")
            code.do(f"call void @free(ptr {code.op(f'load ptr, ptr {place}, align 8')})")
            code.do(f"store ptr null, ptr {place}, align 8")
            code.do(f"store i64 0, ptr {capacity}, align 8")
            failed = code.op(f"call i32 @posix_memalign(ptr {place}, i64 {ALIGNMENT}, i64 {needed})")
            _leave_if(code, code.op(f"icmp ne i32 {failed}, 0"), f"i32 {NO_MEMORY}")
            code.do(f"store i64 {needed}, ptr {capacity}, align 8")
            code.jump("ready")
            code.start("ready")
        code.lines.append(f"  %arena = load ptr, ptr {place}, align 8")

    def _launch(self, op: host.LaunchOp) -> None:
        code, called = self.code, self.kernels[op.callee]
        slots = [("ptr", self._address(o)) for o in op.operands]
        slots += [("i64", self.sizes.known[Atom("name", (d.data,))]) for d in called.dims]
        if op.callee in self.reports:
            slots.append(("ptr", "%status"))
        for k, (kind, value) in enumerate(slots):
            code.do(f"store {kind} {value}, ptr {code.at('i64', '%args', str(k))}, align 8")
        extent, grain = parse(called.grid.data), called.grain.value.data
        grid = self.sizes.value(extent)
        if isinstance(extent, int) and extent <= grain:
            code.do(f"call void @{op.callee}(ptr %args, i64 0, i64 {grid})")
        else:
            arguments = f"ptr @{op.callee}, ptr %args, i64 {grid}, i64 {grain}, i32 %threads"
            code.do(f"call void @tfc_parallel({arguments})")
        if op.callee in self.reports:
            status = code.op("load i32, ptr %status, align 4")
            _leave_if(code, code.op(f"icmp ne i32 {status}, 0"), f"i32 {status}")

    def _address(self, value: SSAValue) -> str:
        """The address of a buffer's first byte."""
        op = value.owner
        assert isinstance(op, Operation), "a program has no arguments"
        code = self.code
        match op:
            case host.InputOp():
                return self._port("%inputs", op.position)
            case host.OutputOp():
                return self._port("%outputs", op.position)
            case host.VariableOp():
                return self._port("%model", _VARIABLES + op.position)
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


class _Clock:
    """Reads the time between the operations of a run."""

    def __init__(self, run: _Run, manifest: Manifest) -> None:
        self.run, self.first = run, _VARIABLES + len(manifest.variables)
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
        code, now = self.run.code, self.now()
        slot = _slot(code, self.first + index)
        passed = code.op(f"sub i64 {now}, {before}")
        total = code.op(f"add i64 {code.op(f'load i64, ptr {slot}, align 8')}, {passed}")
        code.do(f"store i64 {total}, ptr {slot}, align 8")
        return now


def _times_function(manifest: Manifest) -> str:
    code = _code()
    code.do(f"ret ptr {_slot(code, _VARIABLES + len(manifest.variables))}")
    clock = "declare i32 @clock_gettime(i32, ptr) nounwind\n"
    return clock + _function(f"ptr @{manifest.name}_times(ptr %model)", code)


def _operation(value: SSAValue) -> Operation:
    assert isinstance(value.owner, Operation), "a program has no arguments"
    return value.owner


def _reports(function: kernel.FuncOp) -> bool:
    return any(isinstance(op, kernel.CheckOp) for op in function.walk())
