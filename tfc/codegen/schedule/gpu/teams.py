"""Threads of a block that compute a row together: how its elements are shared out, and how their parts become one.

    row of 1000, 32 threads, 4 elements each at a time:  thread t has 4*t .. 4*t + 3, then 128 + 4*t .., and so on
    sum of the row:  each thread sums its own elements; then shuffles within a warp, shared memory between warps

The elements of a thread are the same in each loop over rows of one length, and of a row that is not too long the
loops are written out: what one loop has computed of an element the next one still has in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce

from xdsl.dialects import arith
from xdsl.dialects.builtin import UnitAttr, VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.schedule.emit import Emitter
from tfc.dialects import kernel
from tfc.dims import Dim, Expr

HELD = 32
"""Elements of a row that a thread may have in registers."""

AHEAD = 4
"""Parts of a longer row that a turn of its loop has: so many loads are on their way at once."""

Values = Sequence[SSAValue]

Combine = Callable[[Values, Values], Values]
"""How what two members have becomes one."""


@dataclass
class Part:
    """A few elements of a row that a thread has, side by side.

    Attributes:
        first: the first of them: a symbol.
        valid: whether they are in the row, where that is not known; elsewhere ``first`` is moved into it.
    """

    first: Expr
    valid: SSAValue | None


@dataclass
class Team:
    """The threads that share rows.

    Attributes:
        e: what writes the kernel.
        block: the threads of the block.
        threads: how many there are in a team, a power of two.
        thread: the number of this thread in its block.
        member: its number among them.
        across: how far apart in the block the members are: 1, or as many as there are teams that stand side by side
            in each warp: 8 to 32.
        width: the most elements that a thread takes side by side.
        depth: the number of open scopes in which all threads of a team go the same way.
    """

    e: Emitter
    block: int
    threads: int
    thread: Expr
    member: Expr
    across: int
    width: int
    depth: int
    varying: set[str] = field(default_factory=set[str])
    """Symbols that differ between the members."""
    met: bool = False
    """Whether the threads have met at a barrier."""
    _parts: dict[Dim, list[Part]] = field(default_factory=dict[Dim, "list[Part]"])

    def __post_init__(self) -> None:
        self.varying |= {str(self.thread), str(self.member)}

    def width_of(self, extent: Dim) -> int:
        """Elements side by side, of which a row of this length has whole ones."""
        width = self.width
        while extent % width != 0:
            width //= 2
        return width

    def held(self, extent: Dim) -> bool:
        """Whether a thread may have all its elements of a row in registers."""
        return isinstance(extent, int) and self._turns(extent) * self.width_of(extent) <= HELD

    def _turns(self, extent: int) -> int:
        return -(-extent // (self.threads * self.width_of(extent)))

    def parts(self, extent: int) -> list[Part]:
        """This thread's parts of a row, written in the scope of the row."""
        if extent not in self._parts:
            with self.e.at(self.depth - 1):
                self._parts[extent] = [self._part(extent, k) for k in range(self._turns(extent))]
        return self._parts[extent]

    def _part(self, extent: Dim, turn: Dim, *, inside: bool = False) -> Part:
        width = self.width_of(extent)
        first = (turn * self.threads + self.member) * width
        valid = None
        end = (turn + 1) * self.threads * width
        if not inside and not (isinstance(end, int) and isinstance(extent, int) and end <= extent):
            valid = self.e.compare("slt", first, extent)
            first = self.e.minimum(first, extent - width)
        symbol = first if isinstance(first, Expr) and valid is not None else self.e.bind(self.e.index(first), "part")
        assert isinstance(symbol, Expr), "a symbol is one"
        self.varying.add(str(symbol))
        return Part(symbol, valid)

    def walk(self, extent: Dim, carried: Values, body: Callable[[Part, Values], Values]) -> Values:
        """``body(part, values carried so far)`` for each part of this thread, of a row of this length."""
        if isinstance(extent, int) and self.held(extent):
            for part in self.parts(extent):
                carried = body(part, carried)
            return carried
        chunk = self.threads * self.width_of(extent)
        whole, turns = extent // (AHEAD * chunk), (extent + (chunk - 1)) // chunk
        with self.e.loop(whole, carried=carried) as loop:
            values: Values = loop.carried
            for k in range(AHEAD):
                values = body(self._part(extent, loop.variable * AHEAD + k, inside=True), values)
            loop.carry(values)
        if turns == whole * AHEAD and extent % chunk == 0:
            return loop.results
        with self.e.loop(turns, whole * AHEAD, carried=loop.results) as rest:
            rest.carry(body(self._part(extent, rest.variable), rest.carried))
        return rest.results

    # What the members have, as one

    def combined(self, values: Values, combine: Combine) -> Values:
        """What all members have as one, which all of them get; its bits do not depend on who comes first."""
        if self.across != 1:
            return self._through_memory(values, combine)
        values = self._shuffled(values, min(self.threads, kernel.WARP), combine)
        warps = self.threads // kernel.WARP
        return values if warps <= 1 else self._between_warps(values, warps, combine)

    def _shuffled(self, values: Values, lanes: int, combine: Combine) -> Values:
        while lanes > 1:
            lanes //= 2
            values = combine(values, [self.e(kernel.ShuffleOp("xor", v, self.e.constant(lanes))) for v in values])
        return values

    def _between_warps(self, values: Values, warps: int, combine: Combine) -> Values:
        """A place in memory for each warp of the block; a team reads those of its own."""
        e, self.met = self.e, True
        with e.at(0):
            memories = [e(kernel.SharedOp(self.block // kernel.WARP, v.type)) for v in values]
        lane = e.bind(e.index(self.thread % kernel.WARP), "lane")

        def write() -> list[SSAValue]:
            for value, memory in zip(values, memories, strict=True):
                e(kernel.StoreOp(value, memory, e.index(self.thread // kernel.WARP)))
            return []

        e.branch(e.compare("eq", lane, 0), write)
        e(kernel.BarrierOp())
        own = self.thread // self.threads * warps + lane % warps if self.threads < self.block else lane % warps
        pairs = zip(values, memories, strict=True)
        return self._shuffled([e(kernel.LoadOp(m, e.index(own), v.type)) for v, m in pairs], warps, combine)

    def _through_memory(self, values: Values, combine: Combine) -> Values:
        """What the members of a warp have as one stands side by side in memory, and each member goes through it in
        order."""
        e, self.met, warps, lanes = self.e, True, self.block // kernel.WARP, kernel.WARP
        while lanes > self.across:
            lanes //= 2
            values = combine(values, [e(kernel.ShuffleOp("xor", v, e.constant(lanes))) for v in values])
        lane, warp = (e.bind(e.index(d)) for d in (self.thread % self.across, self.thread // kernel.WARP))
        memories: list[SSAValue] = []
        for value in values:
            kind, width = _lanes_of(value.type)
            with e.at(0):
                memories.append(e(kernel.SharedOp(warps * self.across * width, kind)))

        def write() -> list[SSAValue]:
            for value, memory in zip(values, memories, strict=True):
                place = e.index((warp * self.across + lane) * _lanes_of(value.type)[1])
                e(_aligned(kernel.StoreOp(value, memory, place)))
            return []

        if self.across == kernel.WARP:
            write()
        else:
            e.branch(e.compare("slt", self.thread % kernel.WARP, self.across), write)
        e(kernel.BarrierOp())

        def of(other: int) -> Values:
            found: list[SSAValue] = []
            for value, memory in zip(values, memories, strict=True):
                place = e.index((lane + other * self.across) * _lanes_of(value.type)[1])
                found.append(e(_aligned(kernel.LoadOp(memory, place, value.type))))
            return found

        return reduce(combine, [of(other) for other in range(warps)])


def _aligned(op: kernel.LoadOp | kernel.StoreOp) -> kernel.LoadOp | kernel.StoreOp:
    """Of lanes, one access."""
    value = op.result if isinstance(op, kernel.LoadOp) else op.value
    if isinstance(value.type, VectorType):
        op.attributes[kernel.ALIGNED] = UnitAttr()
    return op


def _lanes_of(type_: Attribute) -> tuple[Attribute, int]:
    if isinstance(type_, VectorType):
        return type_.element_type, type_.get_shape()[0]
    return type_, 1


def both(e: Emitter, x: SSAValue | None, y: SSAValue | None) -> SSAValue | None:
    """Whether both of two conditions hold, of which each may be known to hold."""
    if x is None or y is None:
        return x if y is None else y
    return e(arith.AndIOp(x, y))
