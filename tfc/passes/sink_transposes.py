"""Choose in which order tensors lie in memory, so that few transposes are left.

    %a = tfc.transpose %conv by [0, 3, 1, 2]       %r = tfc.relu %conv
    %r = tfc.relu %a                          ->   %next = tfc.convolution %r ...
    %b = tfc.transpose %r by [0, 2, 3, 1]
    %next = tfc.convolution %b ...

Convolutions are channels-last; importers of channels-first models put transposes around
each. This pass keeps every transpose as a note on the value, its *form*, and lets what comes
after work in that form: elementwise operations, concatenation, padding, slices, pooling and
reductions do not care about the order of dims. A transpose is written only where somebody
needs the order itself: a result of the function, a reshape that merges dims, a contraction.
Notes of opposite transposes cancel, so a network has transposes only at its ends.

One walk in program order. Where operands of one operation come in different forms, the form
with the least to move wins; constants and broadcasts are made in any form at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from xdsl.context import Context
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.indexing import groups
from tfc.dialects.tfc.reduce import MeanOp, ReduceOp, WindowReduceOp
from tfc.dialects.tfc.shape import (
    BroadcastOp,
    ConcatOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tfc.dialects.tfc.state import GateOp
from tfc.dialects.tfc.transfer import DEVICE, ports
from tfc.dialects.tfc.types import UNKNOWN_DIM, is_ranked, shape_of
from tfc.dims import Dim, evaluate, names, product
from tfc.passes.blocks import blocks_of
from tfc.passes.elementwise import ELEMENTWISE
from tfc.passes.prune import prune_block
from tfc.passes.rewriting import Emitter, replace_value
from tfc.passes.rules.broadcasts import with_operands

Perm: TypeAlias = tuple[int, ...]

NOMINAL_DIM = 16
"""What a named extent counts for when sizes are compared."""

_UNKNOWN = next(iter(names(UNKNOWN_DIM)))


@dataclass(frozen=True)
class SinkTransposes(ModulePass):
    """Let operations work in the order of dims that data comes in; write few transposes."""

    name = "sink-transposes"
    EXACT: ClassVar[bool] = False
    """A sum over dims in another order rounds differently."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.walk():
            if isinstance(function, FuncOp):
                for block in blocks_of(function):
                    _Sinker(block).run()


@dataclass(frozen=True)
class Form:
    """A value as a transpose of what is stored: ``value = transpose(stored, perm)``."""

    stored: SSAValue
    perm: Perm


@dataclass
class _Sinker:
    block: Block
    forms: dict[SSAValue, Form] = field(default_factory=dict[SSAValue, Form])
    """Values that are not stored as they are."""
    written: dict[tuple[SSAValue, Perm], SSAValue] = field(
        default_factory=dict[tuple[SSAValue, Perm], SSAValue]
    )
    wanted: dict[SSAValue, Perm] = field(default_factory=dict[SSAValue, Perm])

    def run(self) -> None:
        prune_block(self.block)  # nothing is written for users that are dead
        operations = list(self.block.ops)
        self._ask(operations)
        for op in operations:
            handler = _HANDLERS.get(type(op))
            if handler is None and isinstance(op, ELEMENTWISE):
                handler = _elementwise
            if handler is None or not handler(self, op):
                self._write_operands(op)
        prune_block(self.block)

    def form(self, value: SSAValue) -> Form:
        return self.forms.get(value) or Form(value, identity(value))

    def set_form(self, value: SSAValue, stored: SSAValue, perm: Perm) -> None:
        """Say that ``value`` is ``transpose(stored, perm)``."""
        if stored.name_hint is None:
            stored.name_hint = value.name_hint
        if is_identity(perm):
            replace_value(value, stored)
        else:
            self.forms[value] = Form(stored, perm)

    def in_form(self, value: SSAValue, perm: Perm, anchor: Operation) -> SSAValue:
        """What is stored for ``value`` in the form ``perm``, written before ``anchor``."""
        form = self.form(value)
        if form.perm == perm:
            return form.stored
        if is_identity(form.perm) and isinstance(value.owner, BroadcastOp):
            return _broadcast_in_form(self, value.owner, perm, anchor)
        # value = T(s, q) and value = T(r, p), so r = T(s, [q[d] for d in inverse(p)]).
        change = tuple(form.perm[d] for d in inverse(perm))
        return self.transposed(form.stored, change, anchor, _location(value, anchor))

    def costs(self, value: SSAValue, perm: Perm) -> int:
        """About how many elements `in_form` moves."""
        form = self.form(value)
        if form.perm == perm or isinstance(form.stored.owner, ConstantOp):
            return 0
        if is_identity(form.perm) and isinstance(value.owner, BroadcastOp):
            return 0
        change = tuple(form.perm[d] for d in inverse(perm))
        free = (form.stored, change) in self.written or moves_nothing(shape_of(form.stored), change)
        return 0 if free else size_of(value)

    def transposed(
        self, value: SSAValue, perm: Perm, anchor: Operation, location: LocationAttr
    ) -> SSAValue:
        if is_identity(perm):
            return value
        if (known := self.written.get((value, perm))) is None:
            emit = Emitter(anchor)
            shape = shape_of(value)
            if moves_nothing(shape, perm):
                op = ReshapeOp(value, [shape[d] for d in perm])
            else:
                op = TransposeOp(value, perm)
            op.location = location
            if (device := _device_of(value)) is not None:  # where the value is, not where it is read
                op.attributes[DEVICE] = device
            known = emit(op)
            known.name_hint = value.name_hint
            self.written[value, perm] = known
        return known

    def _write_operands(self, op: Operation) -> None:
        """Let ``op``, and what is in its regions, see values as they are."""
        for inner in op.walk():
            for number, operand in enumerate(inner.operands):
                if operand in self.forms:
                    form = self.forms[operand]
                    location = _location(operand, op)
                    inner.operands[number] = self.transposed(form.stored, form.perm, op, location)

    def _ask(self, operations: Sequence[Operation]) -> None:
        """In which form the users of each value would like it, from the last operation back."""
        for op in reversed(operations):
            if isinstance(op, TransposeOp):
                after = self.wanted.get(op.result, identity(op.result))
                perm = inverse(op.perm.get_values())
                self.wanted.setdefault(op.x, tuple(after[d] for d in perm))
            elif isinstance(op, (*ELEMENTWISE, ConcatOp, PadOp, SliceOp, WindowReduceOp)):
                perm = self.wanted.get(op.results[0], ())
                for operand in op.operands:
                    if perm and len(identity(operand)) == len(perm):
                        self.wanted.setdefault(operand, perm)

    def best_form(self, op: Operation, operands: Sequence[SSAValue]) -> Perm:
        """The form in which the operands of ``op`` together cost least."""
        plain = identity(operands[0])
        candidates = dict.fromkeys(self.form(o).perm for o in operands)
        candidates.setdefault(plain)
        wanted = self.wanted.get(op.results[0], plain)

        def badness(perm: Perm) -> tuple[int, bool, bool]:
            return sum(self.costs(o, perm) for o in operands), perm != wanted, perm != plain

        return min(candidates, key=badness)


def _location(value: SSAValue, user: Operation) -> LocationAttr:
    """Where a value comes from: the transpose that is written now, or what stood after it."""
    owner = value.owner
    return owner.location if isinstance(owner, Operation) else user.location


def identity(value: SSAValue) -> Perm:
    return tuple(range(len(shape_of(value)))) if is_ranked(value) else ()


def is_identity(perm: Sequence[int]) -> bool:
    return all(d == k for k, d in enumerate(perm))


def inverse(perm: Sequence[int]) -> Perm:
    result = [0] * len(perm)
    for k, d in enumerate(perm):
        result[d] = k
    return tuple(result)


def moves_nothing(shape: Sequence[Dim], perm: Sequence[int]) -> bool:
    """Whether a transpose keeps the order of all dims that are not 1: a reshape then."""
    kept = [d for d in perm if shape[d] != 1]
    return kept == sorted(kept) and not any(_UNKNOWN in names(n) for n in shape)


def size_of(value: SSAValue) -> int:
    total = product(shape_of(value))
    return evaluate(total, dict.fromkeys(names(total), NOMINAL_DIM))


def _transpose(s: _Sinker, op: TransposeOp) -> bool:
    form = s.form(op.x)
    s.set_form(op.result, form.stored, tuple(form.perm[d] for d in op.perm.get_values()))
    return True


def _elementwise(s: _Sinker, op: Operation) -> bool:
    perm = s.best_form(op, op.operands)
    if is_identity(perm):
        return False
    stored = [s.in_form(o, perm, op) for o in op.operands]
    s.set_form(op.results[0], Emitter(op)(with_operands(op, stored)), perm)
    return True


def _concat(s: _Sinker, op: ConcatOp) -> bool:
    perm = s.best_form(op, op.xs)
    if is_identity(perm):
        return False
    xs = [s.in_form(x, perm, op) for x in op.xs]
    s.set_form(op.result, Emitter(op)(ConcatOp(xs, perm[op.axis.value.data])), perm)
    return True


def _gate(s: _Sinker, op: GateOp) -> bool:
    form = s.forms.get(op.value)
    if form is None:
        return False
    s.set_form(op.result, Emitter(op)(GateOp(form.stored, list(op.after))), form.perm)
    return True


def _pad(s: _Sinker, op: PadOp) -> bool:
    if (form := s.forms.get(op.x)) is None:
        return False
    back = inverse(form.perm)
    amounts = ([v.get_values()[d] for d in back] for v in (op.low, op.high, op.interior))
    s.set_form(op.result, Emitter(op)(PadOp(form.stored, op.value, *amounts)), form.perm)
    return True


def _slice(s: _Sinker, op: SliceOp) -> bool:
    if (form := s.forms.get(op.x)) is None:
        return False
    back = inverse(form.perm)
    starts, sizes = ([v.data[d] for d in back] for v in (op.starts, op.sizes))
    strides = [op.strides.get_values()[d] for d in back]
    s.set_form(op.result, Emitter(op)(SliceOp(form.stored, starts, sizes, strides)), form.perm)
    return True


def _reverse(s: _Sinker, op: ReverseOp) -> bool:
    if (form := s.forms.get(op.x)) is None:
        return False
    axes = sorted(form.perm[a] for a in op.axes.get_values())
    s.set_form(op.result, Emitter(op)(ReverseOp(form.stored, axes)), form.perm)
    return True


def _window(s: _Sinker, op: WindowReduceOp) -> bool:
    if (form := s.forms.get(op.x)) is None:
        return False
    back = inverse(form.perm)
    lists = (op.window, op.strides, op.dilations, op.low, op.high)
    amounts = ([v.get_values()[d] for d in back] for v in lists)
    s.set_form(
        op.result, Emitter(op)(WindowReduceOp(form.stored, op.kind.data, *amounts)), form.perm
    )
    return True


def _reduce(s: _Sinker, op: ReduceOp | MeanOp) -> bool:
    if (form := s.forms.get(op.x)) is None:
        return False
    dropped = [form.perm[a] for a in op.axes.get_values()]
    kept = [d for d in form.perm if d not in dropped]
    axes = sorted(dropped)
    new = (
        ReduceOp(form.stored, op.kind.data, axes)
        if isinstance(op, ReduceOp)
        else MeanOp(form.stored, axes)
    )
    s.set_form(op.result, Emitter(op)(new), tuple(sorted(kept).index(d) for d in kept))
    return True


def _broadcast(s: _Sinker, op: BroadcastOp) -> bool:
    if (form := s.forms.get(op.x)) is None:
        return False
    dims, shape = list(op.dims.get_values()), op.shape.data
    # Stored dim j goes where dim j of x would have gone; the other dims stay.
    perm = list(range(len(shape)))
    for k, d in enumerate(dims):
        perm[d] = dims[form.perm[k]]
    stored = Emitter(op)(BroadcastOp(form.stored, [shape[d] for d in inverse(perm)], dims))
    s.set_form(op.result, stored, tuple(perm))
    return True


def _broadcast_in_form(s: _Sinker, op: BroadcastOp, perm: Perm, anchor: Operation) -> SSAValue:
    """A broadcast written in another order of dims: only its small operand is moved."""
    places = [perm[d] for d in op.dims.get_values()]
    order = tuple(sorted(range(len(places)), key=places.__getitem__))
    x = s.transposed(op.x, order, anchor, op.location)
    shape = [op.shape.data[d] for d in inverse(perm)]
    return Emitter(anchor)(BroadcastOp(x, shape, sorted(places)))


def _reshape(s: _Sinker, op: ReshapeOp) -> bool:
    """A reshape works in any form in which the dims that it merges or splits lie side by side."""
    form = s.forms.get(op.x)
    old, new = shape_of(op.x), op.shape.data
    if form is None or 0 in old or any(_UNKNOWN in names(d) for d in (*old, *new)):
        return False
    runs: list[_Run] = []
    for before, after in groups(old, new):
        places = [form.perm[d] for d in before if old[d] != 1] or [form.perm[d] for d in before]
        beside = runs[-1].place + 0.5 if runs else -1.0  # for extents of 1 that are added
        together = places == list(range(places[0], places[0] + len(places))) if places else True
        runs.append(_Run(before, after, max(places, default=beside), together))
    runs.sort(key=lambda r: r.place)
    stored = form.stored
    if not all(r.together for r in runs):
        stored = s.in_form(op.x, inverse([d for r in runs for d in r.before]), op)
    order = [d for r in runs for d in r.after]
    made = Emitter(op)(ReshapeOp(stored, [new[d] for d in order]))
    s.set_form(op.result, made, inverse(order))
    return True


@dataclass
class _Run:
    """Dims of a reshape's operand and of its result that hold the same elements."""

    before: Sequence[int]
    after: Sequence[int]
    place: float
    """Where it stands in what is stored: at the place of its fastest dim."""
    together: bool


def _dot(s: _Sinker, op: DotOp) -> bool:
    """A contraction names its dims: it reads any form that keeps the order of its result."""
    bx, by, cx, cy = op.dims()
    fx, fy = op.free()
    x, y = s.form(op.x), s.form(op.y)
    if is_identity(x.perm) and is_identity(y.perm):
        return False
    if not _rising(x.perm, fx):
        x = Form(s.in_form(op.x, identity(op.x), op), identity(op.x))
    if not _rising(y.perm, fy):
        y = Form(s.in_form(op.y, identity(op.y), op), identity(op.y))
    lists = ([f.perm[d] for d in v] for f, v in ((x, bx), (y, by), (x, cx), (y, cy)))
    s.set_form(op.result, Emitter(op)(DotOp(x.stored, y.stored, *lists)), identity(op.result))
    return True


def _rising(perm: Perm, dims: Sequence[int]) -> bool:
    places = [perm[d] for d in dims]
    return places == sorted(places)


_HANDLERS: dict[type[Operation], Callable[..., bool]] = {
    BroadcastOp: _broadcast,
    ConcatOp: _concat,
    DotOp: _dot,
    GateOp: _gate,
    MeanOp: _reduce,
    PadOp: _pad,
    ReduceOp: _reduce,
    ReshapeOp: _reshape,
    ReverseOp: _reverse,
    SliceOp: _slice,
    TransposeOp: _transpose,
    WindowReduceOp: _window,
}
"""How an operation works in the form of its operand; True if it did."""


def _device_of(value: SSAValue) -> Attribute | None:
    """The device that a value is on; None where nothing has been placed."""
    if not isinstance(value, BlockArgument):
        return value.owner.attributes.get(DEVICE) if isinstance(value.owner, Operation) else None
    parent = value.owner.parent_op()
    if isinstance(parent, FuncOp):
        given = parent.arg_attrs
        return ports(given, len(parent.args))[value.index] if given is not None else None
    return parent.attributes.get(DEVICE) if parent is not None else None
