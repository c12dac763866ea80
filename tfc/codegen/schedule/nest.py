"""One loop nest for a fusion of elementwise, data-moving and reducing operations.

    softmax over rows of 1000:     kernel.parallel %row to 4096 {
                                     maximum of the row          (scf.for over vectors)
                                     exponentials into a row, and their sum
                                     scf.for over vectors: divide, store
                                   }

The nest runs over the elements of the result; `evaluate.Evaluator` supplies everything inside.
What is decided here, from a dry run that records every load:

* which adjacent dims are walked as one (all loads step through them alike),
* whether the innermost loop or the reductions inside it are vectorised,
* where the innermost loop is cut, so that what is concatenated along it needs no guards,
* which costly values are kept for a row (`kept.py`), and how the work is cut for threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, pairwise
from math import prod

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from tfc.codegen.cpu.targets import Target
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.schedule.emit import Emitter
from tfc.codegen.schedule.evaluate import Evaluator
from tfc.codegen.schedule.kept import heavy_at_the_end, rows_of, stays_in_place
from tfc.codegen.schedule.lanes import Index, Read, factor, lane_bits, linear, storage
from tfc.codegen.schedule.turned import LEAST, ROWS, Block
from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.pieces import ConcatOp
from tfc.dialects.tfc.types import Shape, element, is_static, shape_of
from tfc.dims import Dim, Expr, evaluate, names, product

CHUNK = 8192
"""Elements of one parallel iteration where a single long dim is cut."""

STREAMED = 24 << 20
"""Bytes moved by a kernel from which on its results go past the caches: more than a few cores' share of the
last one. Measured: 1.4 times as fast as through them for a softmax of 16 MB, and slower below 8 MB."""

WORK = 16384
"""Elements that are worth a thread: about 5 us."""

STREAMS = 64
"""Places that are written in turn at most, so that an operand is read in its order: each takes a page."""

SEAMS = 16
"""Loops that a row is walked in at most: each is code of its own."""

HEAVY = 3
"""Elements that take the time of one exponential, or of what costs alike."""

BUSY = 3
"""Costly operations from which on a loop computes longer than it waits for memory, and lacks registers for four vectors
at a time. Measured for gelu, sigmoid and tanh of one row: 42 cycles a vector two at a time, 47 four at a time; and
with the next row asked for, the memory behind 2,048 rows costs 0.2 ms instead of 0.7."""


def lower_nest(op: FusionOp, name: str, target: Target) -> kernel.FuncOp:
    """The kernel of a fusion of kind ``nest``; its results have one shape."""
    outputs = op.results_inside
    shape = shape_of(outputs[0])
    e, ev = begin(op, target)
    if any(isinstance(d, int) and d == 0 for d in shape):
        return e.finish(name, grid=0)
    plan = dry_run(op, *begin(op, target))
    groups = plan.groups
    extents = [product(shape[d] for d in g) for g in groups]
    lanes = bool(extents) and plan.vectorise
    outer, inner = (extents[:-1], extents[-1]) if lanes else (extents, 1)
    ev.kept = rows_of(op)
    # Of rows, what the last loop would compute again is better kept in the result than sent past the caches.
    again = plan.folds and heavy_at_the_end(op, ev.kept)
    streams = lanes and target.isa.streams and _outgrows_caches(op) and not again
    if lanes and not streams:
        ev.kept = rows_of(op, groups[-1])
    results = e.buffers[len(op.operands) :]

    def store_all(variables: Sequence[Dim], streaming: bool = False) -> None:
        index = ungroup(variables, groups, shape)
        made = [ev.element(value, index) for value in outputs]  # all are read before any is written
        for buffer, one, value in zip(results, made, outputs, strict=True):
            ev.store(one, buffer, element(value), linear(index, shape), streaming=streaming)

    seams = _seams(op) if lanes and len(groups[-1]) == 1 and groups[-1][0] == len(shape) - 1 else []

    def walk(variables: Sequence[Dim], start: Dim, count: Dim, whole: Dim | None = None) -> None:
        def each(streaming: bool = False) -> Sequence[SSAValue]:
            ev.each_lane(count, lambda i: store_all([*variables, i], streaming), start=start, whole=whole)
            return ()

        if not streams:
            each()
            return
        at = e.index(linear(ungroup([*variables, start], groups, shape), shape))
        fits = [e(kernel.AlignedOp(buffer, at)) for buffer in results]
        e.branch(reduce(lambda x, y: e(arith.AndIOp(x, y)), fits), lambda: each(True), each)

    if lanes and plan.across is not None:
        grid = _in_blocks(e, ev, plan.across, extents, target.vector_bits, store_all)
        grain = max(1, WORK // (ROWS * ev.width(inner)))
        return e.finish(name, grid=grid, grain=grain, in_place=[n for pair in plan.in_place for n in pair])
    chunked = lanes and not plan.folds and _worth_cutting(outer, inner)
    chunks = -(-inner // CHUNK) if isinstance(inner, int) else (inner + (CHUNK - 1)) // CHUNK
    grid = product(outer) * (chunks if chunked else 1)
    order = _order_of_source(plan, extents) if lanes and not chunked else [*range(len(outer))]
    with e.parallel(grid) as p:
        variables = delinearise(ev, p, [*(outer[k] for k in order), *([chunks] if chunked else [])])
        variables = [*(variables[order.index(k)] for k in range(len(outer))), *variables[len(outer) :]]
        if len(outer) == 1 and isinstance(row := variables[0], Expr):
            ev.ahead = str(row)
        if chunked:
            *variables, chunk = variables
            first = chunk * CHUNK
            walk(variables, first, e.minimum(inner - first, CHUNK), inner if isinstance(inner, int) else None)
        elif lanes and isinstance(inner, int):
            for start, end in pairwise([0, *seams, inner]):
                walk(variables, start, end - start)
        elif lanes:
            walk(variables, 0, inner)
        else:
            store_all(variables)
    per_iteration = CHUNK if chunked else max(1, plan.work(shape) // max(1, guess(product(outer))))
    per_iteration *= max(1, HEAVY * sum(inner.HEAVY for inner in op.inner if isinstance(inner, TensorOp)))
    return e.finish(
        name,
        grid=grid,
        grain=max(1, WORK // max(1, per_iteration)),
        in_place=[n for pair in plan.in_place if stays_in_place(op, pair[0], ev.kept) for n in pair],
    )


def _order_of_source(plan: Plan, extents: Sequence[Dim]) -> Sequence[int]:
    """The groups but for the last, in the order in which the one operand of a kernel has them, where it has runs of
    whole lines: reading along it and writing to several places in turn is faster than the reverse (1.2 to 1.5 times, a
    matrix cut into panels or heads). In the order of the result elsewhere."""
    own = [*range(len(extents) - 1)]
    if len(plan.reads) != 1 or plan.folds:
        return own
    (read,) = plan.reads
    steps = [factor(read.offset, plan.variables[group[-1]]) for group in plan.groups]
    sizes = [n for n in (*steps, *extents) if isinstance(n, int)]
    if len(sizes) < len(steps) + len(extents) or steps[-1] != 1:
        return own
    if sizes[-1] * lane_bits(element(read.buffer)) < 8 * kernel.LINE:
        return own
    order = sorted(own, key=lambda k: -sizes[k])
    inward = [sizes[len(steps) + k] for at, k in enumerate(order) if at > k]
    return order if prod(inward) <= STREAMS else own


def _seams(op: FusionOp) -> Sequence[int]:
    """Where along the last dim of the result one part of what is concatenated there ends, and the next begins."""
    last = shape_of(op.results_inside[0])[-1]
    found: set[int] = set()
    for inner in op.inner:
        if isinstance(inner, ConcatOp) and inner.axis.value.data == len(shape_of(inner.result)) - 1:
            extents = [shape_of(x)[-1] for x in inner.xs]
            if shape_of(inner.result)[-1] == last and is_static(extents):
                found.update(accumulate(extents[:-1]))  # pyright: ignore # they are integers
    return sorted(found - {0, last}) if len(found) < SEAMS else []


def _in_blocks(
    e: Emitter,
    ev: Evaluator,
    across: int,
    extents: Sequence[Dim],
    register: int,
    store_all: Callable[[Sequence[Dim]], None],
) -> Dim:
    """Blocks of rows (along group ``across``) and columns (along the last group); gives their number."""
    rows, columns = extents[across], extents[-1]
    assert isinstance(rows, int) and isinstance(columns, int), "blocks are of static dims"  # noqa: PT018
    width = ev.width(columns)
    outer = [n for k, n in enumerate(extents[:-1]) if k != across]
    cuts = [*outer, -(-rows // ROWS), -(-columns // width)]
    with e.parallel(product(cuts)) as p:
        *others, i, j = delinearise(ev, p, cuts)
        row, column = i * ROWS, j * width
        high = ROWS if rows % ROWS == 0 else e.minimum(rows - row, ROWS)
        wide = width if columns % width == 0 else e.minimum(columns - column, width)
        depth = len(e.scopes) - 1
        with e.loop(row + high, lower=row) as loop:
            at = loop.variable
            assert isinstance(at, Expr), "it is a symbol"
            ev.ranged(at, rows)
            ev.block = Block(row, column, high, wide, width, register, depth, at)
            variables = [*others[:across], at, *others[across:]]
            ev.each_lane(wide, lambda k: store_all([*variables, k]), start=column, whole=columns)
            ev.block = None
    return product(cuts)


def begin(op: FusionOp, target: Target | GpuTarget) -> tuple[Emitter, Evaluator]:
    """What writes the kernel of a fusion: its arguments are the operands, the results and the named dims."""
    e, arguments = emitter_of(op)
    bits = max((lane_bits(element(v)) for v in _all_values(op) if lane_bits(element(v)) >= 8), default=32)
    busy = sum(inner.HEAVY for inner in op.inner if isinstance(inner, TensorOp)) >= BUSY
    widest = (2 if busy else 4) * max(1, target.vector_bits // max(bits, 32))
    return e, Evaluator(e, arguments, widest, busy)


def emitter_of(op: FusionOp) -> tuple[Emitter, dict[SSAValue, SSAValue]]:
    """An emitter with the arguments of the kernel of a fusion, and the buffer of each operand."""
    values = [*op.block.args, *op.results_inside]
    dims = sorted({n for v in _all_values(op) for d in shape_of(v) for n in names(d)})
    buffers = [kernel.buffer_type(storage(element(v)), size_of(shape_of(v))) for v in values]
    e = Emitter(buffers, dims)
    return e, dict(zip(op.block.args, e.buffers, strict=False))


def _all_values(op: FusionOp) -> list[SSAValue]:
    return [*op.block.args, *(r for inner in op.inner for r in inner.results)]


def size_of(shape: Shape) -> int | None:
    return evaluate(product(shape), {}) if is_static(shape) else None


def ungroup(variables: Sequence[Dim], groups: Sequence[Sequence[int]], shape: Shape) -> Index:
    """The index of every dim, from one variable for each group of adjacent dims."""
    index: list[Dim] = [0] * len(shape)
    for variable, group in zip(variables, groups, strict=False):
        rest = variable
        for d in reversed(group[1:]):
            index[d], rest = rest % shape[d], rest // shape[d]
        index[group[0]] = rest
    return tuple(index)


def delinearise(ev: Evaluator, p: Dim, extents: Sequence[Dim]) -> list[Dim]:
    """One variable for each extent, from the variable of their product."""
    variables: list[Dim] = []
    for extent in reversed(extents[1:]):
        if extent == 1:
            variables.append(0)
            continue
        variables.append(_bound(ev, p % extent, extent))
        p = p // extent
    if extents:
        variables.append(_bound(ev, p, extents[0]) if extents[0] != 1 else 0)
    return variables[::-1]


def _bound(ev: Evaluator, value: Dim, extent: Dim) -> Dim:
    if isinstance(value, int):
        return value
    variable = ev.e.bind(ev.e.index(value))
    ev.ranged(variable, extent)
    return variable


def _outgrows_caches(op: FusionOp) -> bool:
    """Whether results leave the caches before the kernel ends, and are most of what it moves."""
    sizes = [_bytes(v) for v in (*op.operands, *op.results)]
    written = sum(sizes[len(op.operands) :])
    return sum(sizes) >= STREAMED and 3 * written >= sum(sizes)


def _bytes(value: SSAValue) -> int:
    """Of a tensor, or 0 where that is not known."""
    return (size_of(shape_of(value)) or 0) * lane_bits(element(value)) // 8


def _worth_cutting(outer: Sequence[Dim], inner: Dim) -> bool:
    rows = product(outer)
    if isinstance(inner, int) and inner < 2 * CHUNK:
        return False
    return not isinstance(rows, int) or rows < 64


def guess(dim: Dim, of_name: int = 16) -> int:
    """A size to reckon with where an extent is not known."""
    return evaluate(dim, dict.fromkeys(names(dim), of_name))


# The dry run


@dataclass(frozen=True)
class Plan:
    """What a dry run of the elements tells about the nest."""

    groups: Sequence[Sequence[int]]
    """Adjacent dims of the result that one variable walks, outermost first."""
    vectorise: bool
    """Whether lanes run along the last group; else along the reductions."""
    folds: bool
    """Whether something is reduced."""
    across: int | None
    """The group along which operands lie contiguously that lanes would read across; None for no such operand."""
    in_place: Sequence[tuple[int, int]]
    """Operands that may share the memory of a result, with the place of that among the arguments."""
    reduced: int
    """Elements read by reductions for each element of the result, at least 1."""
    reads: Sequence[Read]
    """Every load."""
    variables: Sequence[str]
    """What the index along each dim of the result is called in them."""
    opaque: Collection[str]
    """The variables on which more depends than where loads read."""
    ranges: Mapping[str, int]
    """The extents of variables that are known."""

    def work(self, shape: Shape) -> int:
        return guess(product(shape)) * self.reduced


def dry_run(op: FusionOp, e: Emitter, ev: Evaluator) -> Plan:
    """Compute one element as scalars and look at the loads; what is emitted is of no use."""
    outputs = op.results_inside
    shape = shape_of(outputs[0])
    with e.parallel(1):
        variables = [e.bind(e.constant(0), "d") for _ in shape]
        for variable, extent in zip(variables, shape, strict=True):
            ev.ranged(variable, extent)
        for value in outputs:
            ev.element(value, variables)
    texts = [str(v) for v in variables]
    free = [d for d in range(len(shape)) if shape[d] != 1]
    groups: list[list[int]] = []
    for d in free:
        if groups and _walk_alike(ev, texts, shape, groups[-1][-1], d):
            groups[-1].append(d)
        else:
            groups.append([d])
    last = texts[groups[-1][-1]] if groups else ""
    folds = any(r.folds for r in ev.reads)
    return Plan(
        groups=groups,
        vectorise=bool(groups) and not _reduces_along_rows(ev.reads, last),
        folds=folds,
        across=None if folds or len(groups) < 2 else _across(ev, texts, shape, groups),
        in_place=_in_place(op, ev.reads, variables, shape),
        reduced=max([1, *(_reduced(ev, r) for r in ev.reads)]),
        reads=ev.reads,
        variables=texts,
        opaque=ev.opaque,
        ranges=ev.ranges,
    )


def _across(
    ev: Evaluator, texts: Sequence[str], shape: Shape, groups: Sequence[Sequence[int]]
) -> int | None:
    """The group that some operand has side by side, where the last group has its elements far apart."""

    def extent(k: int) -> int:
        return size_of(tuple(shape[d] for d in groups[k])) or 0

    if extent(-1) < LEAST or any(texts[d] in ev.opaque for d in groups[-1]):
        return None
    for k, group in enumerate(groups[:-1]):
        if extent(k) < LEAST or any(texts[d] in ev.opaque for d in group):
            continue
        for read in ev.reads:
            step = factor(read.offset, texts[groups[-1][-1]])
            wide = lane_bits(element(read.buffer)) >= 16 and isinstance(step, int)
            if wide and step not in (0, 1) and factor(read.offset, texts[group[-1]]) == 1:
                return k
    return None


def _walk_alike(ev: Evaluator, texts: Sequence[str], shape: Shape, d: int, e: int) -> bool:
    """Whether dims ``d`` and ``e`` (the next that is not 1) can be walked by one variable."""
    if texts[d] in ev.opaque or texts[e] in ev.opaque:
        return False
    for read in ev.reads:
        x, y = factor(read.offset, texts[d]), factor(read.offset, texts[e])
        if x is None or y is None or x != y * shape[e]:
            return False
    return True


def _reduces_along_rows(reads: Sequence[Read], last: str) -> bool:
    """Whether a reduction walks memory contiguously while the last dim of the result jumps."""
    for read in reads:
        if read.folds:
            inner, across = factor(read.offset, read.folds[-1]), factor(read.offset, last)
            if inner == 1 and across not in (0, 1):
                return True
    return False


def _reduced(ev: Evaluator, read: Read) -> int:
    return int(product(ev.ranges.get(name, 16) for name in read.folds))  # pyright: ignore


def _in_place(op: FusionOp, reads: Sequence[Read], variables: Sequence[Dim], shape: Shape) -> Sequence[tuple[int, int]]:
    """Pairs of an operand that is read just where a result of its element type is written."""
    identity = linear([v if n != 1 else 0 for v, n in zip(variables, shape, strict=True)], shape)
    pairs: list[tuple[int, int]] = []
    for position, argument in enumerate(op.block.args):
        offsets = [r for r in reads if r.buffer is argument]
        same = offsets and all(r.offset == identity and not r.folds for r in offsets)
        for k, value in enumerate(op.results_inside):
            alike = storage(element(value)) == storage(element(argument))
            if same and alike and shape_of(argument) == shape:
                pairs.append((position, len(op.operands) + k))
    return pairs
