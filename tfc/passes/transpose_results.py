"""Let a contraction write its result in the order of dims in which it is wanted.

    %y = tfc.contract ... "batch 12 .. y=8192", "row 128 .. y=64"     -> tensor<12x128x64xf32>
    %t = tfc.transpose %y by [1, 0, 2]                                -> tensor<128x12x64xf32>
becomes
    %t = tfc.contract ... "batch 12 .. y=64", "row 128 .. y=768"      -> tensor<128x12x64xf32>

An axis of a contraction says how far it moves in the result, so the transposes after the
heads of an attention cost nothing. It does not apply where columns would not stay side by
side, or where one axis runs over dims that a transpose takes apart. Runs after
`pack-contractions`, which writes the distances out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from tfc.dialects.tfc.packed import Axis, ContractOp
from tfc.dialects.tfc.shape import TransposeOp
from tfc.dialects.tfc.types import shape_of
from tfc.dims import Dim
from tfc.passes.rewriting import Emitter, Rewritten, RulePass, RuleSet, producer, rule


@rule
def write_transposed(op: TransposeOp, emit: Emitter) -> Rewritten:
    """transpose(contract(x, w)) -> contract(x, w) with other distances in the result"""
    inner = producer(op.x, ContractOp)
    if inner is None or not op.x.has_one_use():
        return None
    shape, perm = shape_of(op.x), list(op.perm.get_values())
    wanted = [shape[d] for d in perm]
    places = strides(wanted)
    moved = [places[perm.index(d)] for d in range(len(shape))]
    axes: list[Axis] = []
    for axis in inner.axes.data:
        y = axis.y if axis.role == "panel" else _moved(axis, shape, moved)
        if y is None or (axis.role == "column" and y != axis.y):
            return None
        axes.append(replace(axis, y=y))
    return emit(inner.over(wanted, axes))


def strides(shape: Sequence[Dim]) -> list[Dim]:
    """How far each dim moves in a row-major buffer."""
    found: list[Dim] = [1] * len(shape)
    for d in reversed(range(len(shape) - 1)):
        found[d] = found[d + 1] * shape[d + 1]
    return found


def _moved(axis: Axis, shape: Sequence[Dim], moved: Sequence[Dim]) -> Dim | None:
    """The distance of ``axis`` where dim ``d`` moves by ``moved[d]``; None if it has no one."""
    if axis.y == 0 or axis.extent == 1:
        return axis.y
    before = strides(shape)
    inner = next((d for d in range(len(shape)) if before[d] == axis.y and shape[d] != 1), None)
    if inner is None:
        return None
    covered, d = shape[inner], inner
    while covered != axis.extent:  # one axis over several dims: they must stay one
        outer = next((k for k in reversed(range(d)) if shape[k] != 1), None)
        if outer is None or moved[outer] != moved[d] * shape[d]:
            return None
        covered, d = covered * shape[outer], outer
    return moved[inner]


@dataclass(frozen=True)
class TransposeResults(RulePass):
    """Let contractions write their results in the order in which they are wanted."""

    name = "transpose-results"
    RULES: ClassVar[RuleSet] = RuleSet([write_transposed])
