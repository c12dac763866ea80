"""How a contraction is cut into blocks for a GPU: a table of tiles, and a model of what each costs.

    tile = choose(Problem(rows=4096, columns=4096, depth=1024, ...), target)

A tile is what one thread block computes of the result. Threads multiply f32 and f64 themselves (a thread
has 8x8 sums, or fewer); tensor cores multiply halves, and f32 where that may be rounded to tf32.

What bounds a kernel, for machines and tests to compare with: a multiprocessor does 128 multiply-adds of f32 a
cycle, a warp's ``8 * 8`` of them for each term need 4 to 6 reads of shared memory beside them, so up to
64 of 70 issue slots are arithmetic. A tile reads ``(rows + columns) * depth`` elements from memory or the L2 cache for
``rows * columns * depth`` multiply-adds: at 128x128 in f32 16 multiply-adds a byte, for which 132 multiprocessors at
1.7 GHz ask 1.8 TB/s of the L2 cache. Tensor cores do 1024 multiply-adds of bf16 a cycle through ``mma.sync``
(a Hopper's own instructions twice that): the same tile then asks 32 multiply-adds a byte, and 7 TB/s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type
from xdsl.ir import Attribute

from tfc.codegen.gpu.targets import GpuTarget
from tfc.dims import Dim

THREADS = ""
"""The unit of a tile whose threads multiply."""

MULTIPROCESSORS: Mapping[tuple[int, int], int] = {(7, 0): 80, (7, 5): 40, (8, 0): 108, (8, 6): 82, (8, 9): 128, (9, 0): 132}
"""Of a large GPU of each compute capability: what blocks are spread over."""

MANY = 4096
"""What an extent counts for that is not known."""

FILL = 1500
"""Cycles before the first term of a block's sum and after its last one."""

TRAFFIC = 24
"""Rows (or columns) of a tile at which its operands take as long to come as to be multiplied."""


PIECES, PIECE = 64, 128
"""A long sum is cut into so many pieces at most, of so many terms at least."""

LAUNCH = 4000
"""Cycles between one kernel and the next."""

BYTES = 2000
"""Bytes that memory moves in a cycle."""


LEAST_ROWS = 16
"""Rows of an attention that are worth blocks of their own."""

WIDEST_HEAD = 256, 128
"""The largest head whose sums threads have registers for, beside tensor cores and where they multiply themselves."""


@dataclass(frozen=True)
class Tile:
    """What one block computes.

    Attributes:
        rows, columns: of the result.
        depth: terms of the sum for which operands lie in shared memory at a time.
        warps: along rows, and along columns.
        stages: of shared memory: while one is multiplied, the others are on their way.
        unit: of `kernel.UNITS`; `THREADS` for none.
    """

    rows: int
    columns: int
    depth: int
    warps: tuple[int, int]
    stages: int
    unit: str = THREADS

    @property
    def threads(self) -> int:
        return 32 * self.warps[0] * self.warps[1]

    @property
    def warp(self) -> tuple[int, int]:
        """Rows and columns of one warp."""
        return self.rows // self.warps[0], self.columns // self.warps[1]


_SINGLE = (
    Tile(128, 128, 16, (4, 2), 2),
    Tile(128, 64, 16, (4, 2), 2),
    Tile(64, 128, 16, (2, 4), 2),
    Tile(64, 64, 16, (2, 2), 2),
    Tile(32, 64, 16, (1, 2), 2),
    Tile(32, 128, 16, (1, 4), 2),
    Tile(128, 32, 16, (4, 1), 2),
    Tile(16, 128, 32, (1, 4), 2),
)

_HALVES = (
    ((128, 128), 32, (2, 4), 4),
    ((128, 64), 32, (2, 2), 4),
    ((64, 128), 32, (2, 2), 4),
    ((64, 64), 32, (2, 2), 4),
    ((32, 64), 64, (1, 4), 4),
    ((16, 64), 64, (1, 4), 4),
)

TILES: Mapping[str, Sequence[Tile]] = {
    "f32": _SINGLE,
    "f64": (Tile(64, 64, 8, (4, 2), 2), Tile(32, 64, 8, (2, 2), 2), Tile(16, 64, 16, (1, 2), 2)),
    "f16": [Tile(*size, depth, warps, stages, "f16") for size, depth, warps, stages in _HALVES],
    "bf16": [Tile(*size, depth, warps, stages, "bf16") for size, depth, warps, stages in _HALVES],
    "tf32": [Tile(*size, depth // 2, warps, stages, "tf32") for size, depth, warps, stages in _HALVES],
}
"""Tiles of each kind of product, preferred first."""

RATES: Mapping[str, int] = {"f32": 128, "f64": 64, "f16": 1024, "bf16": 1024, "tf32": 512}
"""Multiply-adds of a multiprocessor in a cycle, by threads or by tensor cores."""


@dataclass(frozen=True)
class Problem:
    """What the choice rests on: extents of the result and of the sum, and how many such products there are."""

    rows: Dim
    columns: Dim
    depth: Dim
    items: Dim


@dataclass(frozen=True)
class AttentionTile:
    """What a block of an attention holds: rows of ``q`` and of the result, and a tile of keys at a time.

    Attributes:
        rows: 16 for each of ``warps``, which share the keys.
        depth, columns: of ``q`` and ``v``, filled up to what is multiplied at once.
    """

    rows: int
    keys: int
    depth: int
    columns: int
    warps: int
    unit: str

    @property
    def threads(self) -> int:
        return 32 * self.warps

    def bytes_used(self, size: int) -> int:
        """Of shared memory, at most, where elements have ``size`` bytes."""
        tiles = (self.rows + 2 * self.keys) * (self.depth + 32 // size) + 2 * self.keys * (self.columns + 32 // size)
        return tiles * size + (self.rows * (self.keys + 8) * max(4, size) if self.unit == THREADS else 0)


def attention_tile(depth: Dim, columns: Dim, rows: Dim, kind: Attribute, target: GpuTarget) -> AttentionTile | None:
    """The tile of an attention over elements of ``kind``; None where no block can hold it, or none should.

    A few rows make few blocks, each of which would walk over all keys: they are better off as two products.
    """
    if not (isinstance(depth, int) and isinstance(columns, int) and depth > 0 and columns > 0):
        return None
    if isinstance(rows, int) and rows < LEAST_ROWS:
        return None
    product = product_kind(kind, target, tf32=False)
    unit = product if product in ("f16", "bf16") else THREADS
    steps = (16, 16) if unit else (4, 32)
    depth, columns = (-(-n // step) * step for n, step in zip((depth, columns), steps, strict=True))
    size = {"f16": 2, "bf16": 2, "f64": 8}.get(str(kind), 4)
    for limit in (target.gpu.shared // 2, target.gpu.shared):
        for keys in (64, 32):
            tile = AttentionTile(64, keys, depth, columns, 4, unit)
            if max(depth, columns) <= WIDEST_HEAD[unit == THREADS] and tile.bytes_used(size) <= limit:
                return tile
    return None


def product_kind(kind: Attribute, target: GpuTarget, *, tf32: bool) -> str:
    """How elements of a type are multiplied: a key of `TILES`.

    Halves become f32 in the threads of a GPU whose tensor cores have no such type.
    """
    gpu = target.gpu
    if isinstance(kind, Float64Type):
        return "f64"
    # The matrices of sm_70 and sm_75 have other shapes.
    if gpu.copies_async and isinstance(kind, Float16Type):
        return "f16"
    if gpu.tensor_bf16 and isinstance(kind, BFloat16Type):
        return "bf16"
    return "tf32" if tf32 and gpu.tensor_tf32 and isinstance(kind, Float32Type) else "f32"


def choose(p: Problem, kind: str, target: GpuTarget) -> Tile:
    """The tile that takes the fewest cycles, by the model; the larger one where that is close."""
    best, least = TILES[kind][0], float("inf")
    for tile in TILES[kind]:
        cost = cycles(p, tile, kind, target)
        if cost < least * 0.97:
            best, least = tile, cost
    return best


def pieces(p: Problem, extent: Dim, kind: str, target: GpuTarget) -> int:
    """Into how many pieces, of one length, a sum is cut: more blocks work at it, and their sums are added up after them.

    Args:
        extent: of the outermost index of the sum, which is what is cut.
    """
    counts = (p.rows, p.columns, p.items, p.depth, extent)
    if not all(isinstance(n, int) and n for n in counts):
        return 1
    best, least = 1, cycles(p, choose(p, kind, target), kind, target)
    for n in range(2, min(guess(extent), PIECES) + 1):
        if guess(extent) % n or guess(p.depth) // n < PIECE:
            continue
        part = replace(p, depth=guess(p.depth) // n, items=guess(p.items) * n)
        results = guess(p.rows) * guess(p.columns) * guess(p.items)
        cost = cycles(part, choose(part, kind, target), kind, target) + LAUNCH + 8 * n * results / BYTES
        if cost < least * 0.9:
            best, least = n, cost
    return best


def cycles(p: Problem, tile: Tile, kind: str, target: GpuTarget) -> float:
    """What a contraction takes with a tile: rounds of blocks over the machine, times what one takes."""
    rounds = -(-blocks(p, tile) // multiprocessors(target))
    # The operands of a multiply-add are shared by as many others as the tile is wide and high.
    traffic = TRAFFIC / tile.rows + TRAFFIC / tile.columns
    return rounds * (FILL + tile.rows * tile.columns * guess(p.depth) / RATES[kind] * (1 + traffic))


def blocks(p: Problem, tile: Tile) -> int:
    """Blocks of a contraction."""
    return guess(p.items) * -(-guess(p.rows) // tile.rows) * -(-guess(p.columns) // tile.columns)


def multiprocessors(target: GpuTarget) -> int:
    return MULTIPROCESSORS[target.gpu.major, target.gpu.minor]


def guess(dim: Dim) -> int:
    """An extent, or what it is taken for."""
    return dim if isinstance(dim, int) else MANY
