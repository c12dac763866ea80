"""Kernels to LLVM IR: one pass over a ``kernel.func``, a table of rules per operation.

    kernel.func @f(%x: memref<?xf32>, ...) { ... }
    ->  define hidden void @f(ptr %args, i64 %lo, i64 %hi)

``args`` is an array of 8-byte slots: the arguments in order (pointers and indices), then a
pointer to an ``i32`` status, where a failed ``kernel.check`` leaves its code unless another was
there first. ``lo`` to ``hi`` is the part of ``kernel.parallel`` that this call is to do.

What comes out goes to code generation as it is, without LLVM's optimiser: constants are
literals, loops are rotated (one branch an iteration) with a phi per carried value, and a
tile is its rows, each a value of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects import scf
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tfc.codegen.cpu import arith as arith_rules
from tfc.codegen.cpu import math as math_rules
from tfc.codegen.cpu import memory, tiles
from tfc.codegen.cpu.ir import Code, Kind, Module, Shape, constant_int, shape_of
from tfc.codegen.cpu.targets import Target
from tfc.dialects import kernel
from tfc.errors import InternalError
from tfc.location import describe

Value = str | list[str]
"""What stands for a value: the text of an LLVM operand, or one for each row of a tile."""

Rule = Callable[["Translator", Operation], Value | None]
"""Writes an operation's instructions and gives its result, if it has one."""


def translate(
    functions: Sequence[kernel.FuncOp],
    target: Target,
    messages: list[str] | None = None,
    *,
    linkage: str = "hidden",
    symbol: str | None = None,
) -> str:
    """LLVM IR of some kernels.

    Args:
        functions: what to translate; names are kept.
        target: the machine the code is for.
        messages: what ``kernel.check`` may report, code ``k`` being ``messages[k - 1]``; messages
            that are not in it are appended.
        linkage: "hidden", or "internal" where the callers stand in the same text: two models
            in one program may then have kernels of one name.
        symbol: the name of a single kernel in the text, instead of its own.

    Raises:
        InternalError: an operation stands there for which there is no rule.
    """
    module = Module(target, [] if messages is None else messages)
    for function in functions:
        module.bodies.append(Translator(module).function(function, linkage, symbol))
    return module.text


class Translator:
    """One kernel on its way to LLVM IR."""

    machines = "cpus"

    def __init__(self, module: Module) -> None:
        self.code = Code(module)
        self.values: dict[SSAValue, Value] = {}
        self.status = ""

    @property
    def rules(self) -> Mapping[type[Operation], Rule]:
        """What each operation becomes."""
        return RULES

    def shape(self, type_: Attribute) -> Shape:
        """How a value of this type is held."""
        return shape_of(type_)

    def function(
        self, op: kernel.FuncOp, linkage: str = "hidden", symbol: str | None = None
    ) -> str:
        """The definition of ``op``, as text."""
        code = self.code
        arguments = op.body.block.args
        for number, argument in enumerate(arguments):
            slot = code.at("i64", "%args", str(number))
            kind = "ptr" if isinstance(argument.type, MemRefType) else "i64"
            self.values[argument] = code.op(f"load {kind}, ptr {slot}, align 8, !noundef !1")
        if any(isinstance(o, kernel.CheckOp) for o in op.walk()):
            slot = code.at("i64", "%args", str(len(arguments)))
            self.status = code.op(f"load ptr, ptr {slot}, align 8, !noundef !1")
        self.block(op.body.block)
        if any(kernel.STREAMING in o.attributes for o in op.walk()) and code.target.isa.streams:
            # Such stores pass others: whoever learns of the kernel's end has to see them.
            code.module.declare("llvm.x86.sse.sfence", "void", [])
            code.do("call void @llvm.x86.sse.sfence()")
        head = f"define {linkage} void @{symbol or op.sym_name.data}(ptr %args, i64 %lo, i64 %hi)"
        body = "\n".join([*code.entry, *code.lines])
        return f"{head} nounwind {code.target.attributes} {{\nentry:\n{body}\n  ret void\n}}\n"

    def block(self, block: Block) -> list[Value]:
        """Write the operations of ``block``; gives what its terminator yields."""
        for op in block.ops:
            if isinstance(op, scf.YieldOp):
                return [self.values[v] for v in op.arguments]
            rule = self.rules.get(type(op))
            if rule is None:
                where = describe(op.location)
                raise InternalError(f"bug in tfc: no rule for '{op.name}' on {self.machines} {where}".rstrip())
            result = self.apply(rule, op)
            if result is not None:
                self.values[op.results[0]] = result
        return []

    def apply(self, rule: Rule, op: Operation) -> Value | None:
        """Write what ``rule`` makes of ``op``."""
        return rule(self, op)

    def text(self, value: SSAValue) -> str:
        """The operand that stands for a value that is no tile."""
        found = self.values[value]
        assert isinstance(found, str), "the verifier excludes tiles here"
        return found

    def rows(self, value: SSAValue) -> list[str]:
        """The rows of a tile; a value that is none has one."""
        found = self.values[value]
        return [found] if isinstance(found, str) else found

    def each_row(
        self, op: Operation, rule: Callable[[Shape, Sequence[str]], str]
    ) -> Value:
        """Apply ``rule`` to the operands of ``op``, or to each row of theirs."""
        shape = self.shape(op.results[0].type)
        operands = [self.values[o] for o in op.operands]
        if not shape.rows:
            return rule(shape, [o for o in operands if isinstance(o, str)])
        columns = [[o] * shape.rows if isinstance(o, str) else o for o in operands]
        return [rule(shape, row) for row in zip(*columns, strict=True)]

    # Control flow.

    def loop(
        self,
        kind: Kind,
        bounds: tuple[str, str, str],
        carried: Sequence[tuple[Shape, Value]],
        body: Callable[[str, list[Value]], list[Value]],
    ) -> list[Value]:
        """A rotated loop over ``start, stop, step`` that carries values; gives their last ones."""
        code, (start, stop, step) = self.code, bounds
        known = [constant_int(t) for t in bounds]
        trips = _trip_count(known)
        if trips == 0:
            return [v for _, v in carried]
        if trips == 1:
            return body(start, [v for _, v in carried])
        head, leave = code.fresh("loop"), code.fresh("done")
        if trips is None:
            code.branch(code.op(f"icmp slt {kind.text} {start}, {stop}"), head, leave)
        else:
            code.jump(head)
        before = code.block
        code.start(head)
        place = len(code.lines)
        counter = f"%{code.fresh('i')}"
        phis = [self._names(value) for _, value in carried]
        yielded = body(counter, phis)
        following = code.op(f"add nsw {kind.text} {counter}, {step}")
        latch = code.block
        code.branch(code.op(f"icmp slt {kind.text} {following}, {stop}"), head, leave)
        entering = [f"  {counter} = phi {kind.text} [ {start}, %{before} ], [ {following}, %{latch} ]"]
        for (shape, first), name, last in zip(carried, phis, yielded, strict=True):
            entering += _phis(shape, name, (first, before), (last, latch))
        code.lines[place:place] = entering
        code.start(leave)
        if trips is not None:
            return yielded
        results: list[Value] = []
        for (shape, first), last in zip(carried, yielded, strict=True):
            name = self._names(first)
            code.lines += _phis(shape, name, (first, before), (last, latch))
            results.append(name)
        return results

    def _names(self, like: Value) -> Value:
        """New names for a value held as ``like``."""
        if isinstance(like, str):
            return f"%{self.code.fresh('p')}"
        return [f"%{self.code.fresh('p')}" for _ in like]

    def choose(
        self,
        condition: str,
        shapes: Sequence[Shape],
        then: Callable[[], list[Value]],
        otherwise: Callable[[], list[Value]] | None,
        hint: str = "",
    ) -> list[Value]:
        """Branch, and join the values of both sides."""
        code = self.code
        yes, no, after = code.fresh("then"), code.fresh("else"), code.fresh("join")
        code.branch(condition, yes, no if otherwise else after, hint)
        code.start(yes)
        first = then()
        ends = [code.block]
        code.jump(after)
        second: list[Value] = []
        if otherwise:
            code.start(no)
            second = otherwise()
            ends.append(code.block)
            code.jump(after)
        code.start(after)
        results: list[Value] = []
        for shape, x, y in zip(shapes, first, second, strict=True):
            name = self._names(x)
            code.lines += _phis(shape, name, (x, ends[0]), (y, ends[1]))
            results.append(name)
        return results


def _trip_count(bounds: Sequence[int | None]) -> int | None:
    """How often a loop over ``start, stop, step`` runs: 0, 1, 2 for "more"; None if not known."""
    start, stop, step = bounds
    if start is None or stop is None:
        return None
    if stop <= start:
        return 0
    if step is None:
        return None
    return 1 if start + step >= stop else 2


def _phis(shape: Shape, name: Value, *incoming: tuple[Value, str]) -> list[str]:
    if isinstance(name, str):
        sources = ", ".join(f"[ {value}, %{block} ]" for value, block in incoming)
        return [f"  {name} = phi {shape.kind.text} {sources}"]
    lines: list[str] = []
    for row, one in enumerate(name):
        lines += _phis(shape, one, *((value[row], block) for value, block in incoming))
    return lines


def _parallel(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.ParallelOp), "the table says so"
    index = op.body.block.args[0]

    def body(counter: str, _: list[Value]) -> list[Value]:
        t.values[index] = counter
        t.block(op.body.block)
        return []

    t.loop(Kind("i64"), ("%lo", "%hi", "1"), [], body)


def _for(t: Translator, op: Operation) -> None:
    assert isinstance(op, scf.ForOp), "the table says so"
    index, *names = op.body.block.args

    def body(counter: str, values: list[Value]) -> list[Value]:
        t.values[index] = counter
        t.values.update(zip(names, values, strict=True))
        return t.block(op.body.block)

    carried = [(t.shape(v.type), t.values[v]) for v in op.iter_args]
    bounds = (t.text(op.lb), t.text(op.ub), t.text(op.step))
    results = t.loop(t.shape(index.type).kind, bounds, carried, body)
    t.values.update(zip(op.results, results, strict=True))


def _if(t: Translator, op: Operation) -> None:
    assert isinstance(op, scf.IfOp), "the table says so"
    condition = t.text(op.cond)
    sides = [lambda r=region: t.block(r.block) for region in op.regions if region.blocks]
    if condition in ("true", "false"):
        taken = sides[0 if condition == "true" else 1 : ][:1]
        results = taken[0]() if taken else []
    else:
        shapes = [t.shape(r.type) for r in op.results]
        results = t.choose(condition, shapes, sides[0], sides[1] if len(sides) > 1 else None)
    t.values.update(zip(op.results, results, strict=True))


def _check(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.CheckOp), "the table says so"
    code, kind = t.code, t.shape(op.holds.type).kind
    holds = t.text(op.holds)
    if holds == "true" or holds == "splat (i1 true)":
        return
    if kind.lanes:
        holds = code.intrinsic("vector.reduce.and", kind, [holds], result=kind.scalar)
    number = code.module.code(op.message.data)
    failed = code.op(f"xor i1 {holds}, true")

    def report() -> list[Value]:
        code.op(f"cmpxchg ptr {t.status}, i32 0, i32 {number} monotonic monotonic, align 4")
        return []

    t.choose(failed, [], report, None, hint=", !prof !0")


RULES: dict[type[Operation], Rule] = {
    kernel.ParallelOp: _parallel,
    kernel.CheckOp: _check,
    scf.ForOp: _for,
    scf.IfOp: _if,
    **arith_rules.RULES,
    **math_rules.RULES,
    **memory.RULES,
    **tiles.RULES,
}
"""What each operation becomes on a CPU."""

