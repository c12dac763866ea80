"""The operands of a contraction, and copies of what a task reads often: vectors side by side, term after term.

    copy_along    lanes that are neighbours in memory: vectors are moved as they are
    copy_across   lanes that are rows in memory: square tiles are transposed on the way
    copy_rows     rows of terms, as they are

A half is widened to f32 where the copy holds that. Nothing outside of the operand is read: lanes past
its end are zero, or, where they are rows, what its last row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute, SSAValue

from tfc.codegen.schedule.emit import Emitter
from tfc.dialects import kernel
from tfc.dims import Dim

Place = tuple[SSAValue, Attribute, Dim]
"""A buffer, the type of its elements, and where in it."""

COPIED_AT_ONCE = 4
"""Terms that are copied in one iteration."""


@dataclass(frozen=True)
class Ahead:
    """What is asked for while a panel is used: the next one, a part of it by each tile.

    Attributes:
        place: where the part of this tile begins.
        pace: elements of it for each term of the sum.
    """

    place: Dim
    pace: int


@dataclass(frozen=True)
class Operand:
    """How an operand is read in the loops of a sum.

    Attributes:
        kind: of its elements in ``buffer``.
        row: how far one row is from the next (of ``x``).
        moves: how far apart neighbours along each axis of the chunk are.
        ahead: of ``w``, where the panel after it is not in the caches yet.
    """

    buffer: SSAValue
    kind: Attribute
    start: Dim
    row: Dim
    moves: Sequence[Dim]
    ahead: Ahead | None = None

    def moved(self, axis: int, i: Dim) -> Operand:
        ahead = self.ahead
        if ahead is not None:
            ahead = replace(ahead, place=ahead.place + i * self.moves[axis] // self.moves[-1] * ahead.pace)
        return replace(self, start=self.start + i * self.moves[axis], ahead=ahead)

    def overlaps(self, height: int) -> bool:
        """Whether the next terms of a tile are rows of it: LLVM would keep what two of them share in
        registers that the accumulators need (14x2 tiles ran at a third of the speed)."""
        row, term = self.row, self.moves[-1]
        if not (isinstance(row, int) and isinstance(term, int) and row and term):
            return False
        return max(row, term) % min(row, term) == 0 and max(row, term) // min(row, term) < height

    def asking(self, e: Emitter, steps: int) -> Callable[[Dim], object]:
        """What asks for the share of an iteration of ``steps`` terms, given the first of them."""
        if (ahead := self.ahead) is None:
            return lambda k: None
        first = e.bind(e.index(ahead.place))
        lines = -(-steps * ahead.pace * bytes_of(self.kind) // kernel.LINE)
        return lambda k: e(kernel.PrefetchOp(self.buffer, e.index(first + k * ahead.pace), lines))


def asking_rows(
    e: Emitter, place: Place, row: Dim, height: int, steps: int, lines: int | None = None
) -> Callable[[Dim], object]:
    """What asks for some lines of each of ``height`` rows, few in an iteration, given its first term.

    Args:
        place: where the first row begins; its elements are neighbours.
        row: from row to row.
        steps: terms of an iteration.
        lines: of a row; None for as many as an iteration takes elements of it.
    """
    buffer, kind, start = place
    line = kernel.LINE // bytes_of(kind)
    turns = max(1, line // steps)

    def ask(k: Dim) -> None:
        column = k // line if lines is None else k // (turns * steps) % lines
        for first in range(0, height, turns):
            r = k // steps % turns + first
            e(kernel.PrefetchOp(buffer, e.index(start + r * row + column * line), 1))

    return ask


def bytes_of(kind: Attribute) -> int:
    """Of an element in memory."""
    return max(8, getattr(kind, "bitwidth", 32)) // 8


@dataclass(frozen=True)
class Part:
    """Lanes of a panel that one vector type holds: panels of 48 lanes are 32 and 16."""

    first: int
    lanes: int


def parts_of(lanes: int) -> list[Part]:
    """Powers of two that make up ``lanes``, the largest first."""
    parts: list[Part] = []
    at = 0
    for bit in range(lanes.bit_length() - 1, -1, -1):
        if lanes >> bit & 1:
            parts.append(Part(at, 1 << bit))
            at += 1 << bit
    return parts


def copy_along(
    e: Emitter, source: Place, place: Place, terms: tuple[Dim, Dim], *,
    lanes: int, move: Dim, lane_move: Dim, valid: Dim | None, native: int,
) -> None:  # fmt: skip
    """Copy ``lanes`` neighbours for each of ``terms``.

    Args:
        terms: from the first to the last but one.
        move: from term to term in the source; in the copy it is ``lanes``.
        lane_move: from lane to lane in the source; anything that `copy_across` cannot do.
        valid: how many lanes there are; None for all.
        native: lanes of a register.
    """
    parts = parts_of(lanes)
    masks = [
        None if valid is None else e(kernel.MaskOp(e.index(valid - p.first), p.lanes)) for p in parts
    ]
    apart = None if lane_move == 1 else e.index(lane_move)

    def term(k: Dim) -> None:
        for part, mask in zip(parts, masks, strict=True):
            at = e.index(source[2] + k * move + part.first * lane_move)
            type_ = VectorType(source[1], [part.lanes])
            value = e(kernel.LoadOp(source[0], at, type_, lane_stride=apart, mask=mask))
            _put(e, value, place, place[2] + k * lanes + part.first)

    _each(e, terms, COPIED_AT_ONCE, lambda first, count: [term(first + u) for u in range(count)])


def copy_across(
    e: Emitter, source: Place, place: Place, terms: tuple[Dim, Dim], *,
    lanes: int, move: Dim, lane_move: Dim, valid: Dim | None, native: int,
) -> None:  # fmt: skip
    """Copy ``lanes`` rows of terms that are neighbours, transposed; arguments as of `copy_along`.

    Up to ``native`` terms behind the last one are written, too.
    """
    side = min(native, 1 << (lanes.bit_length() - 1))
    if move != 1 or side < 2 or lanes % side:
        copy_along(
            e, source, place, terms, lanes=lanes, move=move, lane_move=lane_move, valid=valid, native=native
        )  # fmt: skip
        return
    starts = [source[2] + lane * lane_move for lane in range(lanes)]
    if valid is not None:
        rows = [e.minimum(lane, valid - 1) for lane in range(lanes)]
        starts = [e.bind(e.index(source[2] + row * lane_move)) for row in rows]

    def block(k: Dim, mask: SSAValue | None) -> None:
        for first in range(0, lanes, side):
            rows = [
                e(kernel.LoadOp(source[0], e.index(at + k), VectorType(source[1], [side]), mask=mask))
                for at in starts[first : first + side]
            ]
            tile = e(kernel.TransposeOp(e(kernel.TileOp(rows))))
            for u in range(side):
                _put(e, e(kernel.RowOp(tile, u)), place, place[2] + (k + u) * lanes + first)

    low, high = terms
    end = low + (high - low) // side * side
    if end != low:
        with e.loop(end, lower=low, step=side) as loop:
            block(loop.variable, None)
    if end != high:
        with e.loop(high, lower=end, step=side) as loop:  # once
            block(loop.variable, e(kernel.MaskOp(e.index(high - loop.variable), side)))


def copy_rows(
    e: Emitter, source: Place, place: Place, terms: tuple[Dim, Dim], *,
    rows: Dim, row_moves: tuple[Dim, Dim], move: Dim, native: int,
) -> None:  # fmt: skip
    """Copy ``terms`` of each of some rows, whose terms stand side by side in the copy.

    Args:
        rows: how many there are.
        row_moves: from row to row, in the source and in the copy.
        move: from term to term in the source.
    """
    lanes, (low, high) = 4 * native, terms
    apart = None if move == 1 else e.index(move)
    end = low + (high - low) // lanes * lanes
    with e.loop(rows) as row:
        r = row.variable

        def some(k: Dim, width: int, mask: SSAValue | None) -> None:
            at = e.index(source[2] + r * row_moves[0] + k * move)
            type_ = VectorType(source[1], [width])
            value = e(kernel.LoadOp(source[0], at, type_, lane_stride=apart, mask=mask))
            _put(e, value, place, place[2] + r * row_moves[1] + k, mask)

        if end != low:
            with e.loop(end, lower=low, step=lanes) as loop:
                some(loop.variable, lanes, None)
        if end != high:
            with e.loop(high, lower=end, step=native) as loop:
                some(loop.variable, native, e(kernel.MaskOp(e.index(high - loop.variable), native)))


def _put(e: Emitter, value: SSAValue, place: Place, at: Dim, mask: SSAValue | None = None) -> None:
    kind = value.type.element_type if isinstance(value.type, VectorType) else value.type
    if kind != place[1]:
        wide = VectorType(place[1], value.type.get_shape()) if isinstance(value.type, VectorType) else place[1]
        value = e(kernel.CastOp("extf", value, wide))
    e(kernel.StoreOp(value, place[0], e.index(at), mask=mask))


def _each(
    e: Emitter, terms: tuple[Dim, Dim], many: int, body: Callable[[Dim, int], object]
) -> None:
    """``body(first, count)`` for all terms, ``many`` at a time and the rest one by one."""
    low, high = terms
    whole = isinstance(low, int) and isinstance(high, int) and (high - low) % many == 0
    end = high if whole else low + (high - low) // many * many
    if end != low:
        with e.loop(end, lower=low, step=many) as loop:
            body(loop.variable, many)
    if end != high:
        with e.loop(high, lower=end) as loop:
            body(loop.variable, 1)
