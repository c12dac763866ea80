"""Compute elements of fused tensors on demand, in scalar or vector form.

    evaluator.element(value, [i, j])      # the operations that give element (i, j) of ``value``

An operation says how one element of its result comes from elements of its operands
(`TensorOp.value_at`); the evaluator follows that back to the buffers. Where it stands decides
how it computes:

* Inside `Evaluator.lanes` one loop variable stands for a whole vector of indices. A load is
  contiguous, a splat or a gather by the coefficient of that variable in its offset.
* An element whose index does not depend on an inner loop is computed outside of it, once: that
  alone turns a softmax into row maximum, row sum and a loop over the row.
* `Evaluator.kept` names values that are costly and read by several inner loops (the exponentials
  of a softmax): they are computed once into the memory of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    BFloat16Type,
    FixedBitwidthType,
    Float16Type,
    IndexType,
    UnitAttr,
    VectorType,
    f32,
)
from xdsl.ir import Attribute, BlockArgument, SSAValue

from tfc.codegen.schedule.access import OperandAccess
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.kept import Row
from tfc.codegen.schedule.lanes import (
    Index,
    Lanes,
    Read,
    compute_type,
    factor,
    linear,
    storage,
)
from tfc.codegen.schedule.signs import never_positive
from tfc.codegen.schedule.turned import Block
from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.elementwise import CastOp, ExpOp
from tfc.dialects.tfc.types import element, shape_of
from tfc.dims import Atom, Dim, Expr, evaluate, names, product, symbol
from tfc.errors import InternalError

AHEAD = range(1024, 32 * 1024)
"""Bytes of a row of which the next one is asked for: what the hardware does not foresee and a first cache holds."""


class Evaluator:
    """Emits elements of the values of one fusion region into an `Emitter`."""

    def __init__(self, emitter: Emitter, buffers: dict[SSAValue, SSAValue], widest: int, busy: bool = False) -> None:
        self.e = emitter
        self.buffers = buffers
        self.widest = widest
        """Lanes of the widest vector that is worth using."""
        self.busy = busy
        """Whether the first loop over a row computes longer than it waits for memory."""
        self.bound: dict[SSAValue, Callable[[Index], SSAValue]] = {}
        """Values that a generator computes itself (the result of a contraction)."""
        self.kept: dict[SSAValue, Row] = {}
        """Values of which a row is computed into memory."""
        self.filling: dict[SSAValue, SSAValue] = {}
        """Those whose row is being computed, and its memory."""
        self.block: Block | None = None
        """The block of the result for which operands that are read across their rows are turned."""
        self.ahead = ""
        """The variable of the rows that one thread does in order."""
        self.walks: dict[tuple[SSAValue, Dim], list[str]] = {}
        """The variables of the loops that walk each row of a buffer in turn."""
        self.lane: Lanes | None = None
        self.floor = 0
        self.folds: tuple[str, ...] = ()
        self.ranges: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        """Where the variables of loops begin that do not begin with 0."""
        self.vectors: dict[str, SSAValue] = {}
        """Symbols whose value differs from lane to lane: indices that were loaded."""
        self.reads: list[Read] = []
        self.opaque: set[str] = set()
        """Symbols used other than in the offset of a load."""

    # Elements

    def element(self, value: SSAValue, index: Sequence[Dim]) -> SSAValue:
        """Element ``index`` of ``value``: a vector where a lane variable is open, else a scalar."""
        at = tuple(
            0 if extent == 1 else i for i, extent in zip(index, shape_of(value), strict=True)
        )
        varying = self.lane is not None and any(self.varies(d) for d in at)
        depth = max([self.floor, *(self.depth(d) for d in at)])
        with self.standing(depth, self.lane if varying else None):
            key = (value, at, self.lane)
            known = next((s.elements[key] for s in reversed(self.e.scopes) if key in s.elements), None)
            if known is None:
                known = self.compute(value, at)
                self.e.scopes[-1].elements[key] = known
        return known if varying or self.lane is None else self.splat(known)

    def compute(self, value: SSAValue, index: Index) -> SSAValue:
        if (bound := self.bound.get(value)) is not None:
            return bound(index)
        if isinstance(value, BlockArgument):
            offset = linear(index, shape_of(value))
            self.reads.append(Read(value, offset, self.folds))
            if self.block is not None and self.lane is not None:
                return self.from_block(value, offset, self.block, self.lane)
            return self.load(self.buffers[value], element(value), offset)
        if (row := self.kept.get(value)) is not None:
            if value in self.filling:
                return self.filled(value, index, row)
            if not any(self.varies(d) for d in index[: len(index) - row.trailing]):
                return self.from_row(value, index, row)
        source = self.source(value)
        if source is not None and source not in self.filling and not any(self.varies(d) for d in index):
            self.row(source, index, self.kept[source])
            return self.element(value, index)
        return self.computed(value, index)

    def source(self, value: SSAValue) -> SSAValue | None:
        """The value whose rows ``value`` is a reduction of, taken while they are filled."""
        found = (v for v, row in self.kept.items() if row.summed is value.owner)
        return next(found, None)

    def computed(self, value: SSAValue, index: Index) -> SSAValue:
        op = value.owner
        assert isinstance(op, TensorOp), "fusions hold tensor operations only"
        around, self.e.location = self.e.location, op.location
        result = op.value_at(self.access(op), index)
        if isinstance(op, ExpOp) and isinstance(result.owner, math.ExpOp) and never_positive(op.operands[0]):
            result.owner.attributes[kernel.NEVER_POSITIVE] = UnitAttr()
        if isinstance(op, CastOp) and isinstance(element(value), Float16Type | BFloat16Type):
            narrow = self.vector_type(element(value))
            result = self.e(kernel.CastOp("extf", self.e(kernel.CastOp("truncf", result, narrow)), self.vector_type(f32)))
        self.e.location = around
        return result

    def access(self, op: TensorOp) -> OperandAccess:
        """How ``op`` sees its operands."""
        return OperandAccess(self, op)

    def from_block(self, value: SSAValue, offset: Dim, block: Block, lane: Lanes) -> SSAValue:
        """An operand's element, from its turned block where one helps and all of that may be read."""
        memory, kind, at = self.buffers[value], element(value), lane.variable
        step = block.step(offset, at)
        everywhere = self.floor <= block.depth and not lane.guarded
        if step is None or not everywhere or self.depth(block.base(offset, at, step)) > block.depth:
            return self.load(memory, kind, offset)
        return self.load(block.turned(self.e, memory, storage(kind), offset, at, step), kind, block.place(at))

    def from_row(self, value: SSAValue, index: Index, row: Row) -> SSAValue:
        """The element from the memory of its row, which is filled first where the row begins."""
        memory = self.row(value, index[: len(index) - row.trailing], row)
        return self.load(memory, compute_type(element(value)), self.place(value, index, row))

    def place(self, value: SSAValue, index: Index, row: Row) -> Dim:
        """Where an element lies in the memory of its row."""
        first = 0 if row.home is not None else len(index) - row.trailing
        return linear(index[first:], shape_of(value)[first:])

    def row(self, value: SSAValue, leading: Index, row: Row) -> SSAValue:
        """The memory of a row, in which all its elements are."""
        depth = max([self.floor, *(self.depth(d) for d in leading)])
        with self.standing(depth, None):
            key = ("row", value, leading)
            memory = next((s.elements[key] for s in reversed(self.e.scopes) if key in s.elements), None)
            if memory is None:
                memory = self.e.scopes[-1].elements[key] = self.memory(value, row)
                self.filling[value] = memory
                if row.summed is not None:
                    self.element(row.summed.result, leading)
                else:
                    self.fill(value, leading)
                del self.filling[value]
        return memory

    def memory(self, value: SSAValue, row: Row) -> SSAValue:
        if row.home is not None:
            return self.e.buffers[len(self.buffers) + row.home]
        size = evaluate(product(shape_of(value)[-row.trailing :]), {})
        with self.standing(0, None):
            return self.e(kernel.ScratchOp(size, compute_type(element(value))))

    def fill(self, value: SSAValue, leading: Index) -> None:
        def walk(index: Index, rest: Sequence[Dim]) -> None:
            def one(i: Dim) -> None:
                self.element(value, (*index, i))

            if len(rest) == 1:
                self.each_lane(rest[0], one)
                return
            with self.counted(rest[0]) as i:
                walk((*index, i), rest[1:])

        walk(leading, shape_of(value)[len(leading) :])

    def filled(self, value: SSAValue, index: Index, row: Row) -> SSAValue:
        """An element of a row that is being filled."""
        made = self.computed(value, index)
        self.store(made, self.filling[value], compute_type(element(value)), self.place(value, index, row))
        return made

    # Loops

    @contextmanager
    def counted(self, extent: Dim) -> Generator[Dim]:
        """A loop without carried values; gives its variable."""
        with self.e.loop(extent) as loop:
            self.ranged(loop.variable, extent)
            yield loop.variable

    def ranged(self, variable: Dim, extent: Dim, start: Dim = 0) -> None:
        if isinstance(variable, Expr) and isinstance(extent, int):
            self.ranges[str(variable)] = extent
            if isinstance(start, int) and start:
                self.starts[str(variable)] = start

    def each_lane(
        self,
        extent: Dim,
        body: Callable[[Dim], None],
        *,
        start: Dim = 0,
        whole: Dim | None = None,
    ) -> None:
        """``body(i)`` for ``start <= i < start + extent`` in vectors, the last one masked.

        Args:
            whole: the extent that the end is a multiple of or equal to, where ``extent`` is only
                known at run time: a chunk of a static dim needs no tail where it divides.
        """
        width = self.width(whole if whole is not None else extent)
        if width == 1:
            with self.e.loop(start + extent, lower=start) as loop:
                self.ranged(loop.variable, extent if start == 0 else start + extent, start)
                body(loop.variable)
            return
        main = extent // width * width
        if not isinstance(main, int) or main > 0:
            with (
                self.e.loop(start + main, lower=start, step=width) as loop,
                self.vectorised(loop.variable, width, None),
            ):
                self.ranged(loop.variable, extent if start == 0 else start + extent, start)
                body(loop.variable)
        if isinstance(extent, int) and extent % width == 0:
            return
        if whole is not None and isinstance(whole, int) and whole % width == 0:
            return
        self.tail(start + main, extent - main, width, body)

    def tail(self, first: Dim, valid: Dim, width: int, body: Callable[[Dim], None]) -> None:
        def masked() -> Sequence[SSAValue]:
            variable = self.e.bind(self.e.index(first), "tail")
            mask = self.e(kernel.MaskOp(self.e.index(valid), width))
            with self.vectorised(variable, width, mask):
                body(variable)
            return ()

        if isinstance(valid, int):
            masked()
        else:
            some = self.e(kernel.CompareOp("sgt", self.e.index(valid), self.e.constant(0)))
            self.e.branch(some, masked)

    @contextmanager
    def vectorised(self, variable: Dim, width: int, mask: SSAValue | None) -> Generator[None]:
        """Let ``variable`` stand for ``width`` indices from its value on."""
        saved, self.lane = self.lane, Lanes(str(variable), width, mask)
        yield
        self.lane = saved

    @contextmanager
    def standing(self, depth: int, lane: Lanes | None) -> Generator[None]:
        """Emit at the end of the loop body ``depth`` levels in, for these lanes."""
        scopes, saved = self.e.scopes, self.lane
        self.e.scopes, self.lane = scopes[: depth + 1], lane
        yield
        self.e.scopes, self.lane = scopes, saved

    def width(self, extent: Dim) -> int:
        """Lanes for a loop of ``extent``: wide vectors, unless much of the last one is wasted."""
        if not isinstance(extent, int):
            return self.widest
        if extent <= 2:
            return 1
        best, least = 1, float("inf")
        width = self.widest
        while width >= 4:
            vectors = -(-extent // width)
            wasted = vectors * width * (1 if width >= self.widest // 4 else 1.5)
            if wasted < least * 0.9:
                best, least = width, wasted
            width //= 2
        return best if best > 1 else 4

    # Memory

    def load(self, buffer: SSAValue, kind: Attribute, offset: Dim, *, widen: bool = True) -> SSAValue:
        stored = storage(kind)
        loaded = self._load(buffer, stored, offset)
        if widen and isinstance(kind, Float16Type | BFloat16Type):
            return self.e(kernel.CastOp("extf", loaded, self.vector_type(f32)))
        return loaded

    def _load(self, buffer: SSAValue, stored: Attribute, offset: Dim) -> SSAValue:
        lane = self.lane
        if lane is None:
            return self.e(kernel.LoadOp(buffer, self.e.index(offset), stored))
        result = VectorType(stored, [lane.width])
        stride = self.stride(offset)
        if stride is None:
            return self.e(kernel.GatherOp(buffer, self.e.constant(0), self.vector_index(offset), result, lane.mask))
        at = self.e.index(offset)
        if stride == 0:
            if lane.guarded and lane.mask is not None:  # no lane may be inside: read what is there
                some = self.e(kernel.ReduceLanesOp("or", lane.mask))
                at = self.e(kernel.SelectOp(some, at, self.e.constant(0)))
            return self.splat(self.e(kernel.LoadOp(buffer, at, stored)))
        if stride == 1 and lane.mask is None and self.ahead:
            self.prefetch(buffer, stored, offset, lane)
        step = None if stride == 1 else self.e.index(stride)
        return self.e(kernel.LoadOp(buffer, at, result, lane_stride=step, mask=lane.mask))

    def prefetch(self, buffer: SSAValue, stored: Attribute, offset: Dim, lane: Lanes) -> None:
        """Ask for the same place of the next row, in the second loop that walks a row, or the first where that is busy.

        The first loop waits for memory, the second has the row in the cache and leaves memory idle.
        """
        row = offset - symbol(lane.variable)
        loops = self.walks.setdefault((buffer, row), [])
        if lane.variable not in loops:
            loops.append(lane.variable)
        bytes_of = max(8, stored.bitwidth) // 8 if isinstance(stored, FixedBitwidthType) else 8
        step, lines = factor(offset, self.ahead), lane.width * bytes_of // kernel.LINE
        turn = 0 if self.busy else 1
        if loops.index(lane.variable) == turn and isinstance(step, int) and step * bytes_of in AHEAD and lines:
            self.e(kernel.PrefetchOp(buffer, self.e.index(offset + step), lines))

    def store(
        self, value: SSAValue, buffer: SSAValue, kind: Attribute, offset: Dim, *, streaming: bool = False
    ) -> None:
        """Store an element (or a vector of them) of tensor element type ``kind``; past the caches if ``streaming``."""
        lane = self.lane
        if isinstance(kind, Float16Type | BFloat16Type):
            value = self.e(kernel.CastOp("truncf", value, self.vector_type(kind)))
        if lane is None:
            self.e(kernel.StoreOp(value, buffer, self.e.index(offset)))
            return
        stride = self.stride(offset)
        if stride is None or stride == 0:
            raise InternalError(f"a store needs one offset for each lane, got {offset}")
        step = None if stride == 1 else self.e.index(stride)
        op = kernel.StoreOp(value, buffer, self.e.index(offset), lane_stride=step, mask=lane.mask)
        if streaming:
            op.attributes[kernel.STREAMING] = UnitAttr()
        self.e(op)

    # Types, splats, vector indices

    def vector_type(self, scalar: Attribute) -> Attribute:
        return scalar if self.lane is None else VectorType(scalar, [self.lane.width])

    def splat(self, value: SSAValue) -> SSAValue:
        if self.lane is None or isinstance(value.type, VectorType):
            return value
        return self.e(kernel.SplatOp(value, VectorType(value.type, [self.lane.width])))

    def varies(self, dim: Dim) -> bool:
        """Whether an index differs from lane to lane."""
        if self.lane is None:
            return False
        return any(n == self.lane.variable or n in self.vectors for n in names(dim))

    def depth(self, dim: Dim) -> int:
        return self.e._dim_depth(dim)  # pyright: ignore # one notion of depth for both

    def stride(self, offset: Dim) -> Dim | None:
        """How far apart the lanes of a load are; None where that is not one number."""
        assert self.lane is not None, "strides are of lanes"
        if isinstance(offset, int):
            return 0
        variable = Atom("name", (self.lane.variable,))
        stride: Dim = 0
        for monomial, coefficient in offset.terms:
            rest = list(monomial)
            if variable in rest:
                rest.remove(variable)
                stride = stride + Expr(((tuple(rest), coefficient),)) if rest else stride + coefficient
            if any(self.varies(Expr((((a,), 1),))) for a in rest):
                return None
        return stride

    def vector_index(self, dim: Dim) -> SSAValue:
        """An index as a vector of ``index``, one value a lane."""
        assert self.lane is not None, "only lanes need vectors of indices"
        kind = VectorType(IndexType(), [self.lane.width])
        if not self.varies(dim):
            return self.e(kernel.SplatOp(self.e.index(dim), kind))
        assert isinstance(dim, Expr), "an integer does not vary"
        fixed = [t for t in dim.terms if not self.varies(Expr((t,)))]
        total: SSAValue | None = None
        for monomial, coefficient in (t for t in dim.terms if t not in fixed):
            value = self.vector_atom(monomial[0])
            for atom in monomial[1:]:
                value = self.e(arith.MuliOp(value, self.vector_atom(atom)))
            if coefficient != 1:
                value = self.e(arith.MuliOp(value, self.e.constant(coefficient, kind)))
            total = value if total is None else self.e(arith.AddiOp(total, value))
        assert total is not None, "some term varies"
        if not fixed:
            return total
        base: Dim = 0
        for term in fixed:
            base = base + (Expr((term,)) if term[0] else term[1])
        return self.e(arith.AddiOp(total, self.e(kernel.SplatOp(self.e.index(base), kind))))

    def vector_atom(self, atom: Atom) -> SSAValue:
        assert self.lane is not None, "only lanes need vectors of indices"
        kind = VectorType(IndexType(), [self.lane.width])
        if atom.function == "name":
            name = str(atom.args[0])
            if name in self.vectors:
                return self.vectors[name]
            base = self.e(kernel.SplatOp(self.e.value(name), kind))
            if name != self.lane.variable:
                return base
            return self.e(arith.AddiOp(base, self.e(kernel.LanesOp(self.lane.width))))
        x, y = (self.vector_index(d) for d in atom.args if not isinstance(d, str))
        ops = {"floordiv": arith.FloorDivSIOp, "max": arith.MaxSIOp}
        if atom.function in ops:
            return self.e(ops[atom.function](x, y))
        whole = self.e(arith.MuliOp(self.e(arith.FloorDivSIOp(x, y)), y))
        return self.e(arith.SubiOp(x, whole))

    # What is known of an index

    def bounds(self, dim: Dim) -> tuple[int, int] | None:
        """The least and the greatest value of an index, where its loops are static."""
        if isinstance(dim, int):
            return dim, dim
        low = high = 0
        for monomial, coefficient in dim.terms:
            if not monomial:
                low, high = low + coefficient, high + coefficient
                continue
            if len(monomial) != 1 or (reach := self._reach(monomial[0])) is None:
                return None
            ends = [coefficient * r for r in reach]
            low, high = low + min(ends), high + max(ends)
        return low, high

    def _reach(self, atom: Atom) -> tuple[int, int] | None:
        if atom.function == "name":
            name = str(atom.args[0])
            extent = self.ranges.get(name)
            return None if extent is None else (self.starts.get(name, 0), extent - 1)
        if len(atom.args) == 1:
            return None
        x, y = atom.args
        if not isinstance(y, int) or y <= 0:
            return None
        inner = self.bounds(x)
        if atom.function == "mod":
            return (0, y - 1)
        if atom.function == "floordiv" and inner is not None:
            return inner[0] // y, inner[1] // y
        return None
