"""Write kernel IR: an insertion point, constants made once, and index arithmetic.

    e = Emitter([buffer, buffer], dims=["batch"])
    with e.parallel(symbol("batch")) as i:              # i is a `Dim`: a fresh loop symbol
        at = e.index(768 * i + 3)                      # arith.muli, arith.addi
        e(kernel.StoreOp(value, e.buffers[0], at))
    func = e.finish("name", grid=symbol("batch"))

Loop variables are symbols in the sense of `tfc.dims`, so schedules compute indices with ``+ - * //
%`` and `index` turns the polynomial into operations. A part of an index is computed in the outermost
loop where all its symbols are known, and once there; the constant part is added last, so
that it becomes the displacement of an address.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    VectorType,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from tfc.dialects import kernel
from tfc.dims import Atom, Dim, Expr, Monomial, symbol
from tfc.location import UNKNOWN

INDEX = IndexType()


@dataclass
class Scope:
    """A block under construction, the symbols bound in it, and the indices computed in it."""

    block: Block
    symbols: dict[str, SSAValue] = field(default_factory=dict[str, SSAValue])
    known: dict[Dim | Monomial, SSAValue] = field(default_factory=dict["Dim | Monomial", SSAValue])
    elements: dict[object, SSAValue] = field(default_factory=dict[object, SSAValue])
    """Elements of tensors computed in this block, for the evaluator."""


class Loop:
    """An ``scf.for`` under construction: its variable, what it carries, and in the end its results."""

    def __init__(self, variable: Dim, carried: Sequence[SSAValue]) -> None:
        self.variable, self.carried = variable, list(carried)
        self.results: Sequence[SSAValue] = ()

    def carry(self, values: Sequence[SSAValue]) -> None:
        """The values for the next iteration, or after the last one the results."""
        self.carried = list(values)


class Emitter:
    """Builds the body of one kernel function; calling it inserts an operation."""

    def __init__(self, arguments: Sequence[Attribute], dims: Sequence[str] = ()) -> None:
        entry = Block(arg_types=[*arguments, *(INDEX for _ in dims)])
        self.dims = tuple(dims)
        self.arguments = list(arguments)
        self.buffers: Sequence[SSAValue] = entry.args[: len(arguments)]
        self.scopes = [Scope(entry)]
        self.scopes[0].symbols.update(zip(dims, entry.args[len(arguments) :], strict=True))
        self._constants: dict[tuple[Attribute, object], SSAValue] = {}
        self._last_constant: Operation | None = None
        self._symbols = 0
        self.location: LocationAttr = UNKNOWN
        """Where operations come from that are inserted now."""

    def __call__(self, op: Operation) -> SSAValue:
        """Insert ``op`` and give its first result."""
        op.location = self.location
        self.scopes[-1].block.add_op(op)
        return op.results[0] if op.results else _NOTHING

    def finish(
        self,
        name: str,
        *,
        grid: Dim = 1,
        grain: int = 1,
        target: str = "cpu",
        in_place: Sequence[int] = (),
        block: int = 0,
    ) -> kernel.FuncOp:
        """The function; nothing may be emitted any more.

        Args:
            grid: the extent of its `parallel`.
            grain: the least number of iterations that are worth a thread.
            target: "cpu" or "gpu".
            in_place: pairs of arguments that may share memory.
            block: the threads of a block on a GPU.
        """
        assert len(self.scopes) == 1, "a loop is still open"
        region = Region(self.scopes[0].block)
        types = [*self.arguments, *(INDEX for _ in self.dims)]
        made = kernel.FuncOp(
            name,
            types,
            region,
            dims=self.dims,
            grid=str(grid),
            grain=grain,
            target=target,
            in_place=in_place,
            block=block,
        )
        if block and (size := kernel.shared_layout(made)[1]) > kernel.STATIC_SHARED:
            made.shared = IntegerAttr(size, i64)
        return made

    # Constants

    def constant(self, value: float | int | bool, type_: Attribute = INDEX) -> SSAValue:
        """A constant of a scalar or vector type; made once, at the top of the function."""
        key = (type_, repr(value))
        if (known := self._constants.get(key)) is None:
            op = arith.ConstantOp(_attribute(value, type_))  # pyright: ignore
            block = self.scopes[0].block
            if self._last_constant is not None:
                block.insert_op_after(op, self._last_constant)
            elif block.first_op is not None:
                block.insert_op_before(op, block.first_op)
            else:
                block.add_op(op)
            self._last_constant = op
            known = self._constants[key] = op.results[0]
        return known

    # Indices

    def bind(self, value: SSAValue, name: str = "i") -> Expr:
        """A fresh symbol whose value is ``value``; it belongs to the innermost open loop."""
        self._symbols += 1
        fresh = f"_{name}{self._symbols}"
        self.scopes[-1].symbols[fresh] = value
        return symbol(fresh)

    def value(self, name: str) -> SSAValue:
        """The value of a symbol."""
        return next(s.symbols[name] for s in reversed(self.scopes) if name in s.symbols)

    def index(self, dim: Dim) -> SSAValue:
        """The value of ``dim`` as an ``index``."""
        if isinstance(dim, int):
            return self.constant(dim)
        if (known := self._lookup(dim)) is not None:
            return known
        offset = sum(c for m, c in dim.terms if not m)
        if offset:
            return self._remember(
                dim, arith.AddiOp, self.index(dim - offset), self.constant(offset)
            )
        *outer, (monomial, coefficient) = sorted(dim.terms, key=lambda t: self._depth_of(t[0]))
        last = Expr(((monomial, abs(coefficient)),))
        if not outer and coefficient > 0:
            return self._term(monomial, coefficient)
        rest = self.index(Expr(dim_order(outer)) if outer else 0)
        kind = arith.AddiOp if coefficient > 0 else arith.SubiOp
        return self._remember(dim, kind, rest, self.index(last))

    def minimum(self, x: Dim, y: Dim) -> Dim:
        """The smaller of two indices, as a symbol where it is not known."""
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        return self.bind(self(arith.MinSIOp(self.index(x), self.index(y))), "min")

    def maximum(self, x: Dim, y: Dim) -> Dim:
        """The larger of two indices. (`dims.maximum` takes names for extents, which are not 0.)"""
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        return self.bind(self(arith.MaxSIOp(self.index(x), self.index(y))), "max")

    def compare(self, predicate: str, x: Dim, y: Dim) -> SSAValue:
        """``x predicate y`` of indices as ``i1``; predicates are arith's (``slt``, ``ult``, ...)."""
        return self(kernel.CompareOp(predicate, self.index(x), self.index(y)))

    # Structure

    @contextmanager
    def parallel(self, upper: Dim) -> Generator[Expr]:
        """``kernel.parallel``; gives its variable."""
        bound = self.index(upper)
        with self._scope(Block(arg_types=[INDEX])) as block:
            yield self.bind(block.args[0], "p")
        self(kernel.ParallelOp(bound, Region(block)))

    @contextmanager
    def loop(
        self, upper: Dim, lower: Dim = 0, step: int = 1, carried: Sequence[SSAValue] = ()
    ) -> Generator[Loop]:
        """``scf.for``. Call `Loop.carry` inside where values are carried."""
        first, last, stride = self.index(lower), self.index(upper), self.constant(step)
        initial = list(carried)
        with self._scope(Block(arg_types=[INDEX, *(c.type for c in initial)])) as block:
            loop = Loop(self.bind(block.args[0]), block.args[1:])
            yield loop
            self(scf.YieldOp(*loop.carried))
        op = scf.ForOp(first, last, stride, initial, Region(block))
        self(op)
        loop.results = op.results

    @contextmanager
    def at(self, depth: int) -> Generator[None]:
        """Insert at the end of the block ``depth`` levels in."""
        scopes, self.scopes = self.scopes, self.scopes[: depth + 1]
        yield
        self.scopes = scopes

    def branch(
        self,
        condition: SSAValue,
        then: Callable[[], Sequence[SSAValue]],
        otherwise: Callable[[], Sequence[SSAValue]] | None = None,
    ) -> Sequence[SSAValue]:
        """``scf.if``; both sides give values of the same types, or none."""
        blocks: list[Block] = []
        types: list[Attribute] = []
        for side in (then, otherwise):
            if side is not None:
                with self._scope(Block()) as block:
                    values = side()
                    types = [v.type for v in values]
                    self(scf.YieldOp(*values))
                blocks.append(block)
        regions = [Region(b) for b in blocks]
        op = scf.IfOp(condition, types, regions[0], regions[1] if otherwise else None)
        self(op)
        return op.results

    @contextmanager
    def _scope(self, block: Block) -> Generator[Block]:
        # The loop itself is inserted when it is complete: until then what an inner index needs
        # from outside goes to the end of the enclosing block, which is before the loop.
        self.scopes.append(Scope(block))
        yield block
        self.scopes.pop()

    # Parts of an index

    def _lookup(self, key: Dim | Monomial) -> SSAValue | None:
        return next((s.known[key] for s in reversed(self.scopes) if key in s.known), None)

    def _depth(self, name: str) -> int:
        for depth in range(len(self.scopes) - 1, -1, -1):
            if name in self.scopes[depth].symbols:
                return depth
        raise KeyError(f"no value is bound to the dim {name!r}")

    def _depth_of(self, monomial: Monomial) -> int:
        return max((self._atom_depth(a) for a in monomial), default=0)

    def _atom_depth(self, atom: Atom) -> int:
        if atom.function == "name":
            return self._depth(str(atom.args[0]))
        return max(self._dim_depth(d) for d in atom.args if not isinstance(d, str))

    def _dim_depth(self, dim: Dim) -> int:
        return 0 if isinstance(dim, int) else max(self._depth_of(m) for m, _ in dim.terms)

    def _remember(self, key: Dim, kind: type[Operation], x: SSAValue, y: SSAValue) -> SSAValue:
        scope = self.scopes[self._dim_depth(key)]
        op = kind(x, y)  # pyright: ignore # the binary operations of arith
        scope.block.add_op(op)
        scope.known[key] = op.results[0]
        return op.results[0]

    def _term(self, monomial: Monomial, coefficient: int) -> SSAValue:
        atoms = sorted(monomial, key=self._atom_depth)
        key = Expr(((monomial, coefficient),))
        if coefficient != 1:
            unscaled = self.index(Expr(((monomial, 1),)))
            return self._remember(key, arith.MuliOp, unscaled, self.constant(coefficient))
        if len(atoms) == 1:
            return self._atom(atoms[0])
        head = self.index(Expr(((tuple(sorted(atoms[:-1], key=str)), 1),)))
        return self._remember(key, arith.MuliOp, head, self.index(Expr((((atoms[-1],), 1),))))

    def _atom(self, atom: Atom) -> SSAValue:
        if atom.function == "name":
            return self.value(str(atom.args[0]))
        x, y = (d for d in atom.args if not isinstance(d, str))
        key = Expr((((atom,), 1),))
        if atom.function == "max":
            return self._remember(key, arith.MaxSIOp, self.index(x), self.index(y))
        if _is_natural(x) and _is_natural(y):
            kind = arith.DivUIOp if atom.function == "floordiv" else arith.RemUIOp
            return self._remember(key, kind, self.index(x), self.index(y))
        if atom.function == "floordiv":
            return self._remember(key, arith.FloorDivSIOp, self.index(x), self.index(y))
        whole = Expr((((Atom("floordiv", (x, y)),), 1),)) * y
        return self._remember(key, arith.SubiOp, self.index(x), self.index(whole))


def dim_order(terms: Sequence[tuple[Monomial, int]]) -> tuple[tuple[Monomial, int], ...]:
    """Terms in the order that the normal form of an `Expr` keeps."""
    return tuple(sorted(terms, key=lambda t: (-len(t[0]), [str(a) for a in t[0]])))


def _is_natural(dim: Dim) -> bool:
    """Whether ``dim`` is never negative: its names stand for extents and counters, from 0 on."""
    if isinstance(dim, int):
        return dim >= 0
    return all(c > 0 and all(_is_natural_atom(a) for a in m) for m, c in dim.terms)


def _is_natural_atom(atom: Atom) -> bool:
    if atom.function == "name":
        return True
    natural = [_is_natural(d) for d in atom.args if not isinstance(d, str)]
    return any(natural) if atom.function == "max" else all(natural)


def _attribute(value: float | int | bool, type_: Attribute) -> Attribute:
    if isinstance(type_, VectorType):
        kind = type_.element_type
        splat = float(value) if not isinstance(_attribute(value, kind), IntegerAttr) else int(value)
        return DenseIntOrFPElementsAttr.from_list(type_, [splat])  # pyright: ignore
    if isinstance(type_, IndexType | IntegerType):
        return IntegerAttr(int(value), type_)  # pyright: ignore
    return FloatAttr(float(value), type_)  # pyright: ignore


_NOTHING: SSAValue = None  # pyright: ignore # of operations without a result
