"""Spread what is known of shapes from the arguments on, and resolve what depends on it.

    %s = tfc.shape_of %x                  ->   %s = tfc.constant [8, 4]
    %r = tfc.dynamic_reshape %x to %t     ->   %r = tfc.reshape %x to ["batch", 4]

One walk in program order: each operation infers its result types from operands that are
already as precise as they get, and an operation with computed amounts becomes its static
counterpart as soon as they are known, as numbers or as functions of named dims. The arguments of a branch
are what its operands are. Those of a loop are what its first values are, as far as the body gives them back so:
that is tried on a copy of it.

Two options change what is known at the start: ``name-dims`` gives the unknown extents of
arguments the names d0, d1, ...; ``dims="batch=8"`` puts numbers for names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, UnrankedTensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.control import IfOp, WhileOp
from tfc.dialects.tfc.dynamic import (
    DynamicBroadcastOp,
    DynamicPadOp,
    DynamicReshapeOp,
    DynamicSliceOp,
)
from tfc.dialects.tfc.shape import BroadcastOp, PadOp, ReshapeOp, ReverseOp, ShapeOfOp, SliceOp
from tfc.dialects.tfc.symbolic import contents
from tfc.dialects.tfc.types import (
    UNKNOWN_DIM,
    ResourceType,
    ShapeAttr,
    element,
    is_static,
    joined,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, Expr, at_least, maximum, names, product, substitute, symbol
from tfc.errors import OptionError
from tfc.passes.rewriting import Emitter, replace

_UNKNOWN = next(iter(names(UNKNOWN_DIM)))


@dataclass(frozen=True)
class SimplifyShapes(ModulePass):
    """Infer shapes forward, and resolve operations with computed amounts."""

    name = "simplify-shapes"
    name_dims: bool = False
    """Give the unknown extents of arguments names."""
    dims: str = ""
    """Numbers for named dims: ``batch=8,seq=128``."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        numbers = _numbers(self.dims)
        for function in op.walk():
            if isinstance(function, FuncOp) and function.body.blocks:
                if self.name_dims:
                    _name_dims(function)
                if numbers:
                    _substitute(function, numbers)
                _infer(function.body.block)
                function.update_function_type()


def _numbers(text: str) -> dict[str, Dim]:
    pairs = [item.partition("=") for item in text.split(",") if item]
    try:
        return {name.strip(): int(value) for name, _, value in pairs}
    except ValueError:
        raise OptionError(f"expected dims like 'batch=8,seq=128', got {text!r}") from None


def _name_dims(function: FuncOp) -> None:
    used = {n for a in function.args for d in _extents(a) for n in names(d)}
    fresh = (symbol(f"d{k}") for k in range(1 << 30) if f"d{k}" not in used)
    for arg in function.args:
        if UNKNOWN_DIM in _extents(arg):
            shape = [next(fresh) if d == UNKNOWN_DIM else d for d in shape_of(arg)]
            _retype(arg, tensor_type(shape, element(arg)))


def _substitute(function: FuncOp, numbers: Mapping[str, Dim]) -> None:
    """Put numbers for names in the types of arguments and in all that operations say."""
    for arg in function.args:
        if isinstance(arg.type, TensorType):
            shape = [substitute(d, numbers) for d in shape_of(arg)]
            _retype(arg, tensor_type(shape, element(arg)))
    for op in function.walk():
        for name, attribute in op.properties.items():
            if isinstance(attribute, ShapeAttr):
                op.properties[name] = ShapeAttr(
                    tuple(substitute(d, numbers) for d in attribute.data)
                )
        arguments = (a for region in op.regions for b in region.blocks for a in b.args)
        for value in (*op.results, *arguments):
            if isinstance(value.type, TensorType) and not is_static(shape_of(value)):
                shape = [substitute(d, numbers) for d in shape_of(value)]
                _retype(value, tensor_type(shape, element(value)))


def _infer(block: Block) -> None:
    for op in list(block.ops):
        if not isinstance(op, TensorOp):
            continue
        if isinstance(op, IfOp):
            for region in op.regions:
                _enter(region, [o.type for o in op.inputs])
        elif isinstance(op, WhileOp):
            _infer_loop(op)
        _refresh(op)
        if (resolve := _RESOLVERS.get(type(op))) is None:
            continue
        emit = Emitter(op)
        if (value := resolve(op, emit)) is not None:
            replace(op, [value])


def _enter(region: Region, types: Sequence[Attribute]) -> None:
    """Infer inside of a region whose arguments are of ``types``, where that is more than they say."""
    for argument, type_ in zip(region.block.args, types, strict=True):
        _retype(argument, _more_precise(argument.type, type_))
    _infer(region.block)


def _infer_loop(op: WhileOp) -> None:
    count = len(op.carried)
    declared = [a.type for a in op.body.block.args[:count]]
    guess = [_more_precise(d, o.type) for d, o in zip(declared, op.carried, strict=True)]
    fixed = [o.type for o in op.invariants]
    while guess != declared:
        tried = op.clone()
        _enter(tried.body, [*guess, *fixed])
        given = [v.type for v in tried.yielded(tried.body)]
        tried.erase()
        wider = [joined(g, t) for g, t in zip(guess, given, strict=True)]
        if wider == guess:
            break
        guess = wider
    for region in op.regions:
        _enter(region, [*guess, *fixed])
    for result, type_ in zip(op.results, guess, strict=True):
        _retype(result, _more_precise(result.type, type_))


def _refresh(op: TensorOp) -> None:
    if all(isinstance(r.type, TensorType) and is_static(shape_of(r)) for r in op.results):
        return  # nothing is more precise
    inferred = op.result_types_of_operands()
    for result, type_ in zip(op.results, inferred, strict=True):
        if result.type != type_:
            _retype(result, _more_precise(result.type, type_))


def _more_precise(declared: Attribute, inferred: Attribute) -> Attribute:
    """What both say of a tensor together."""
    if isinstance(inferred, UnrankedTensorType) and isinstance(declared, TensorType):
        return declared
    if not isinstance(inferred, TensorType) or not isinstance(declared, TensorType):
        return inferred
    pairs = zip(shape_of(declared), shape_of(inferred), strict=True)
    return tensor_type([_known(a, b) for a, b in pairs], inferred.element_type)


def _known(declared: Dim, inferred: Dim) -> Dim:
    if isinstance(inferred, int) or isinstance(declared, int):
        return inferred if isinstance(inferred, int) else declared
    return declared if _UNKNOWN in names(inferred) else inferred


def _retype(value: SSAValue, type_: Attribute) -> None:
    value._type = type_  # pyright: ignore # xDSL replaces the value instead, and every use of it


def _extents(value: SSAValue) -> Sequence[Dim]:
    if isinstance(value.type, ResourceType) or not isinstance(value.type, TensorType):
        return ()
    return shape_of(value)


def _dims(value: SSAValue) -> list[Dim] | None:
    """The entries of a list of i64, where all are known."""
    found = contents(value)
    if found is None:
        return None
    entries = [int(d) if isinstance(d, int | np.integer) else d for d in found.reshape(-1)]
    return None if any(isinstance(d, Expr) and _UNKNOWN in names(d) for d in entries) else entries


def _shape_of(op: ShapeOfOp, emit: Emitter) -> SSAValue | None:
    shape = shape_of(op.x)
    return emit(ConstantOp(np.array(shape, np.int64))) if is_static(shape) else None


def _reshape(op: DynamicReshapeOp, emit: Emitter) -> SSAValue | None:
    if (shape := _dims(op.shape)) is None:
        return None
    if -1 in shape:
        rest = product(d for d in shape if d != -1)
        total = product(shape_of(op.x))
        if rest == 0 or (isinstance(total, Expr) and _UNKNOWN in names(total)):
            return None
        shape[shape.index(-1)] = total // rest
    return emit(ReshapeOp(op.x, shape))


def _broadcast(op: DynamicBroadcastOp, emit: Emitter) -> SSAValue | None:
    if (shape := _dims(op.shape)) is None:
        return None
    source = shape_of(op.x)
    rank = max(len(shape), len(source))
    wide = [*[1] * (rank - len(shape)), *shape]
    offset = rank - len(source)
    for d, n in enumerate(source, offset):
        if wide[d] == 1:
            wide[d] = n
        elif n not in (1, wide[d]) or _UNKNOWN in names(n):
            return None  # a name that may be 1 when the program runs, or not
    return emit(BroadcastOp(op.x, wide, list(range(offset, rank))))


def _slice(op: DynamicSliceOp, emit: Emitter) -> SSAValue | None:
    lists = [_dims(v) for v in (op.starts, op.limits, op.strides)]
    parts: list[_Part] = []
    if any(v is None for v in lists):
        return None
    for n, start, limit, stride in zip(
        shape_of(op.x), *(v for v in lists if v is not None), strict=True
    ):
        part = _part(n, start, limit, stride)
        if part is None:
            return None
        parts.append(part)
    cut = emit(
        SliceOp(op.x, [p.start for p in parts], [p.size for p in parts], [p.stride for p in parts])
    )
    turned = [d for d, p in enumerate(parts) if p.turned]
    return emit(ReverseOp(cut, turned)) if turned else cut


@dataclass
class _Part:
    """Of one dim: ``size`` elements from ``start`` on, ``stride`` apart, in reverse if turned."""

    start: Dim
    size: Dim
    stride: int
    turned: bool = False


def _part(n: Dim, start: Dim, limit: Dim, stride: Dim) -> _Part | None:
    """What ``start:limit:stride`` means in numpy for an extent of ``n``."""
    if not isinstance(stride, int) or stride == 0 or (isinstance(n, Expr) and _UNKNOWN in names(n)):
        return None
    if isinstance(n, int) and isinstance(start, int) and isinstance(limit, int):
        end = None if stride < 0 and limit < -n else limit
        places = range(*slice(start, end, stride).indices(n))
        if stride > 0 or not places:
            return _Part(places.start if places else 0, len(places), max(stride, 1))
        return _Part(places[-1], len(places), -stride, turned=len(places) > 1)
    if stride < 0:
        return _backwards(n, start, limit, stride)
    low, high = _position(start, n), _position(limit, n)
    size = high - low if stride == 1 else (high - low + stride - 1) // stride
    return _Part(low, maximum(size, 0), stride)


def _backwards(n: Dim, start: Dim, limit: Dim, stride: int) -> _Part | None:
    """All of a dim in reverse: the one form that has a meaning without knowing ``n``."""
    from_end = isinstance(start, int) and (start == -1 or start >= 1 << 30)
    to_start = isinstance(limit, int) and limit < -(1 << 30)
    return _Part(0, n, 1, turned=True) if from_end and to_start and stride == -1 else None


def _position(where: Dim, n: Dim) -> Dim:
    """A start or limit as a position from 0 to ``n``."""
    if isinstance(where, int) and where < 0:
        return maximum(n + where, 0)
    if at_least(n, where):
        return where
    if at_least(where, n) or (isinstance(where, int) and where >= 1 << 30):
        return n
    return where + n - maximum(where, n)  # the smaller of the two


def _pad(op: DynamicPadOp, emit: Emitter) -> SSAValue | None:
    low, high = _dims(op.low), _dims(op.high)
    if low is None or high is None:
        return None
    if not all(isinstance(d, int) for d in (*low, *high)):
        return None
    before, after = ([d for d in v if isinstance(d, int)] for v in (low, high))
    value = op.x
    if any(d > 0 for d in (*before, *after)):
        value = emit(
            PadOp(value, op.value, [max(d, 0) for d in before], [max(d, 0) for d in after])
        )
    if any(d < 0 for d in (*before, *after)):
        starts = [max(-d, 0) for d in before]
        sizes = [n - b - max(-a, 0) for n, b, a in zip(shape_of(value), starts, after, strict=True)]
        value = emit(SliceOp(value, starts, sizes, [1] * len(sizes)))
    return value


_RESOLVERS: dict[type[Operation], Callable[..., SSAValue | None]] = {
    ShapeOfOp: _shape_of,
    DynamicReshapeOp: _reshape,
    DynamicBroadcastOp: _broadcast,
    DynamicSliceOp: _slice,
    DynamicPadOp: _pad,
}
