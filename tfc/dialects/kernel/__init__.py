"""Loop nests over buffers: what a code generator writes and a target's translator reads.

    kernel.func @relu(%x: memref<?xf32>, %y: memref<?xf32>, %batch: index)
        attributes {dims = ["batch"], grid = "batch", grain = 16 : i64} {
      kernel.parallel %row to %batch {
        %at = arith.muli %row, %c64 : index
        %v = kernel.load %x[%at] : memref<?xf32>, vector<64xf32>
        ...
        kernel.store %r, %y[%at] : vector<64xf32>, memref<?xf32>
      }
    }

* A buffer is flat: a one-dimensional ``memref`` of elements (``?`` where its size is a
  function of named dims), addressed by an offset in elements. ``i1`` takes one byte.
* Values are scalars, vectors ``vector<n x T>`` and register tiles ``vector<r x c x T>``, whose
  rows are vectors (scalars where ``c`` is 1). Arithmetic is ``arith`` and ``math``; loops and
  branches are ``scf.for`` and ``scf.if``; ``arith.*`` and ``math.*`` apply to tiles row by row.
* Integers are signless; the operation says how to read them. Floats are f32 or f64 in
  arithmetic; f16 and bf16 stand only in buffers, loads, stores and the casts
  ``extf`` and ``truncf`` (round to nearest even). What ``arith`` restricts to scalars (comparisons,
  selection, conversions) stands here for both.
* A function has at most one ``kernel.parallel``, at its top: a CPU splits its range over
  threads, a GPU over the blocks of the grid. What stands before it is done by every thread.
* A kernel for a GPU (``target = "gpu"``) has ``block`` threads in a block, all of which run an
  iteration together; `threads` says how they differ and meet.
* The arguments are the operand buffers, the result buffers, and one ``index`` for each name
  of ``dims``. Buffers that are written overlap no other argument, but for those that
  ``in_place`` pairs.
"""

from xdsl.ir import Dialect, Operation

from tfc.dialects.kernel.function import (
    MAX_THREADS,
    SHARED_ALIGNMENT,
    STATIC_SHARED,
    WARP,
    FuncOp,
    ParallelOp,
    shared_layout,
)
from tfc.dialects.kernel.matrix import (
    UNITS,
    CommitAsyncOp,
    CopyAsyncOp,
    LoadMatrixOp,
    MatrixUnit,
    MmaOp,
    PackOp,
    RoundTf32Op,
    WaitAsyncOp,
)
from tfc.dialects.kernel.memory import (
    ALIGNED,
    LINE,
    STREAMING,
    WIDEST,
    AlignedOp,
    GatherOp,
    LoadOp,
    PrefetchOp,
    ScratchOp,
    StoreOp,
    buffer_type,
)
from tfc.dialects.kernel.threads import SHUFFLES, BallotOp, BarrierOp, SharedOp, ShuffleOp, ThreadOp
from tfc.dialects.kernel.values import (
    CASTS,
    COMBINERS,
    NEVER_POSITIVE,
    PREDICATES,
    CastOp,
    CheckOp,
    CompareOp,
    DotBytesOp,
    HalfOp,
    JoinOp,
    LanesOp,
    MaskOp,
    OuterOp,
    ReduceLanesOp,
    RowOp,
    SelectOp,
    SplatOp,
    TileOp,
    TransposeOp,
)

OPS: list[type[Operation]] = [
    FuncOp, ParallelOp, LoadOp, GatherOp, StoreOp, ScratchOp, AlignedOp, PrefetchOp, LanesOp, MaskOp, SplatOp,
    RowOp, TransposeOp, TileOp, OuterOp, DotBytesOp, CompareOp, SelectOp, CastOp, HalfOp, JoinOp, ReduceLanesOp, CheckOp,
    ThreadOp, SharedOp, BarrierOp, ShuffleOp, BallotOp,
    CopyAsyncOp, CommitAsyncOp, WaitAsyncOp, LoadMatrixOp, PackOp, RoundTf32Op, MmaOp,
]  # fmt: skip

Kernel = Dialect("kernel", OPS, [])

__all__ = [
    "ALIGNED", "CASTS", "COMBINERS", "LINE", "MAX_THREADS", "NEVER_POSITIVE", "OPS", "PREDICATES", "SHARED_ALIGNMENT", "SHUFFLES",
    "STATIC_SHARED", "STREAMING", "UNITS", "WARP", "WIDEST", "AlignedOp", "BallotOp", "BarrierOp", "CastOp", "CheckOp", "CommitAsyncOp",
    "CompareOp", "CopyAsyncOp", "DotBytesOp", "FuncOp", "GatherOp", "HalfOp", "JoinOp", "Kernel", "LanesOp", "LoadMatrixOp",
    "LoadOp", "MaskOp", "MatrixUnit", "MmaOp", "OuterOp", "PackOp", "ParallelOp", "PrefetchOp", "ReduceLanesOp", "RoundTf32Op", "RowOp",
    "ScratchOp", "SelectOp", "SharedOp", "ShuffleOp", "SplatOp", "StoreOp", "ThreadOp", "TileOp", "TransposeOp",
    "WaitAsyncOp", "buffer_type", "shared_layout",
]  # fmt: skip
