"""Attention as one operation: what a kernel can compute without the matrix of scores in memory.

    tfc.attention %q [0, 2, 1, 3], %k [0, 2, 1, 3], %v [0, 2, 1, 3] to [0, 2, 1, 3] scale 0.125

Each list names the dims of its tensor in the order batch..., rows, columns, so that heads are read and
written where they stand. `find-attention` makes the operation of a softmax between two dots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, opt_operand_def, opt_prop_def, prop_def, result_def

from tfc.dialects.tfc.activation import real
from tfc.dialects.tfc.base import Emit, Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.layer import Real
from tfc.dialects.tfc.nn import SoftmaxOp
from tfc.dialects.tfc.pointwise import HALVES
from tfc.dialects.tfc.reduce import accumulated
from tfc.dialects.tfc.shape import Integer, IntList, integer
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    compatible,
    dtype_of,
    element,
    element_of,
    is_bool,
    is_float,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require

INDEX = element_of(np.int64)


@tfc_op
class AttentionOp(TensorOp):
    """``softmax(mask(q . k^T * scale)) . v`` for each batch: sums over ``keys``, of which ``v`` has the rows.

    In the order that their lists say, ``q`` is ``[batch..., rows, depth]``, ``k`` ``[batch..., keys, depth]``,
    ``v`` ``[batch..., keys, columns]`` and the result ``[batch..., rows, columns]``. A ``mask`` of floats is
    added to the scores (``[batch..., rows, keys]``); where one of bools is false, the score is ``fill``, or -Infinity.
    With ``causal``, row ``i`` sees keys ``j <= i + causal`` only. f16 and bf16 are rounded after each
    product and after the softmax, as in the operations that this stands for.

    (C1) ``q``, ``k`` and ``v`` have one element type, of floating point.
    (C2) All have one rank, at least 2, and each list is a permutation of their dims.
    (C3) Batches, depths and the numbers of keys are equal.
    (C4) ``mask``, of floats or of bools, has the extents of the scores, or 1.

    Source: ``tf.nn.softmax`` between two ``tf.matmul``.
    """

    name = "tfc.attention"
    q = operand_def(Tensor)
    k = operand_def(Tensor)
    v = operand_def(Tensor)
    mask = opt_operand_def(Tensor)
    order_q = prop_def(IntList)
    order_k = prop_def(IntList)
    order_v = prop_def(IntList)
    order = prop_def(IntList)
    scale = prop_def(Real)
    fill = opt_prop_def(Real)
    causal = opt_prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$q $order_q `,` $k $order_k `,` $v $order_v `to` $order (`mask` $mask^)? `scale` $scale (`fill` $fill^)? "
        "(`causal` $causal^)? attr-dict `:` type($q) `,` type($k) `,` type($v) (`mask` type($mask)^)? "
        "`->` type($result)"
    )

    def __init__(
        self,
        q: SSAValue | Operation,
        k: SSAValue | Operation,
        v: SSAValue | Operation,
        mask: SSAValue | Operation | None = None,
        *,
        orders: Sequence[Sequence[int]],
        scale: float = 1.0,
        fill: float = -np.inf,
        causal: int | None = None,
    ) -> None:
        """``orders``: the lists of ``q``, ``k``, ``v`` and the result; ``fill``: -Infinity, or a finite number."""
        lists = zip(("order_q", "order_k", "order_v", "order"), orders, strict=True)
        properties: dict[str, Attribute | None] = {n: ints(o) for n, o in lists}
        properties |= {"scale": real(scale), "fill": None if fill == -np.inf else real(fill), "causal": None if causal is None else integer(causal)}
        optional = [] if mask is None else [SSAValue.get(mask)]
        self.construct([*(SSAValue.get(x) for x in (q, k, v)), optional], properties)

    @property
    def filling(self) -> float:
        """The score where a mask of bools is false."""
        return -np.inf if self.fill is None else self.fill.value.data

    def orders(self) -> list[list[int]]:
        """The lists of ``q``, ``k``, ``v`` and the result."""
        return [list(o.get_values()) for o in (self.order_q, self.order_k, self.order_v, self.order)]

    def sizes(self) -> tuple[list[Dim], Dim, Dim, Dim, Dim]:
        """``batch``, ``rows``, ``keys``, ``depth``, ``columns``."""
        q, k, v = ([shape_of(x)[d] for d in o] for x, o in zip((self.q, self.k, self.v), self.orders(), strict=False))
        batch = [a if isinstance(a, int) else b for a, b in zip(q[:-2], k[:-2], strict=True)]
        return batch, q[-2], k[-2] if isinstance(k[-2], int) else v[-2], q[-1], v[-1]

    def infer(self) -> Sequence[Attribute]:
        inputs = (self.q, self.k, self.v)
        kinds = [element(x) for x in inputs]
        same = is_float(kinds[0]) and len(set(kinds)) == 1
        require(same, self, "C1", "one element type of floating point", ", ".join(map(str, kinds)))
        rank, orders = len(shape_of(self.q)), self.orders()
        permutes = all(sorted(o) == list(range(rank)) for o in orders)
        fits = rank >= 2 and all(len(shape_of(x)) == rank for x in inputs) and permutes
        require(fits, self, "C2", f"tensors and permutations of {rank} dims", orders)
        q, k, v = ([shape_of(x)[d] for d in o] for x, o in zip(inputs, orders, strict=False))
        pairs = [*zip(q[:-2], k[:-2], strict=True), *zip(q[:-2], v[:-2], strict=True), (q[-1], k[-1]), (k[-2], v[-2])]
        require(all(compatible(a, b) for a, b in pairs), self, "C3", "equal extents", f"{q}, {k} and {v}")
        batch, rows, keys, _, columns = self.sizes()
        if self.mask is not None:
            scores, mask = [*batch, rows, keys], shape_of(self.mask)
            legal = len(mask) == rank and all(m == 1 or compatible(m, n) for m, n in zip(mask, scores, strict=True))
            legal = legal and (is_bool(element(self.mask)) or is_float(element(self.mask)))
            require(legal, self, "C4", f"a mask of bools or floats that fits {scores}", self.mask.type)
        extents = [*batch, rows, columns]
        return [tensor_type([extents[orders[3].index(d)] for d in range(rank)], kinds[0])]

    def reference(self, *args: Array) -> Array:
        q, k, v = (accumulated(np.transpose(a, o)) for a, o in zip(args[:3], self.orders(), strict=False))
        with np.errstate(all="ignore"):
            scores = q @ np.swapaxes(k, -1, -2) * self.scale.value.data
            if self.mask is not None and args[3].dtype == np.bool_:
                scores = np.where(args[3], scores, self.filling)
            elif self.mask is not None:
                scores = scores + accumulated(args[3])
            if self.causal is not None:
                row, key = np.indices(scores.shape[-2:])
                scores = np.where(key <= row + self.causal.value.data, scores, -np.inf)
            powers = np.exp(scores - np.max(scores, -1, keepdims=True, initial=-np.inf))
            mixed = (powers / np.sum(powers, -1, keepdims=True)) @ v
        return np.transpose(mixed, np.argsort(self.orders()[3])).astype(args[0].dtype)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        f, kind = Formula(emit), element(self.q)
        wide = f32 if dtype_of(kind) in HALVES else kind
        orders, rank = self.orders(), len(shape_of(self.q))
        (*bq, _, cq), (*bk, _, ck), (*bv, cv, _), order = orders
        scores = f.cast(emit(DotOp(self.q, self.k, bq, bk, [cq], [ck])), wide)
        if self.scale.value.data != 1:
            scores = f.mul(scores, self.scale.value.data)
        if self.mask is not None:
            scores = self._masked(f, scores, f.broadcast(self.mask, shape_of(scores), range(rank)))
        if self.causal is not None:
            scores = f.select(self._seen(f, scores), scores, -np.inf)
        shares = f.cast(emit(SoftmaxOp(scores, rank - 1)), kind)
        mixed = emit(DotOp(shares, self.v, list(range(rank - 2)), bv, [rank - 1], [cv]))
        return [f.transpose(mixed, [int(d) for d in np.argsort(order)])]

    def _masked(self, f: Formula, scores: SSAValue, mask: SSAValue) -> SSAValue:
        if is_bool(element(mask)):
            return f.select(mask, scores, self.filling)
        return f.add(scores, f.cast(mask, element(scores)))

    def _seen(self, f: Formula, scores: SSAValue) -> SSAValue:
        """Which scores are of keys that their row may see."""
        shape = shape_of(scores)
        row, key = (f.emit(IotaOp(shape[-2:], INDEX, k)) for k in (0, 1))
        assert self.causal is not None, "else all are"
        seen = f.compare("le", key, f.add(row, self.causal.value.data))
        return f.broadcast(seen, shape, [len(shape) - 2, len(shape) - 1])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        plain = [[0, 1, 2]] * 4
        heads = [[0, 2, 1, 3]] * 4

        def make(orders: Sequence[Sequence[int]], **options: Any) -> Any:
            return lambda *args: cls(*args, orders=orders, **options)

        q, k, v = float_range(2, 5, 4), float_range(2, 7, 4, low=-1), float_range(2, 7, 3)
        mask = float_range(1, 5, 7, low=-9, high=0)
        seen = np.arange(14).reshape(2, 1, 7) % 3 != 0
        out = [
            Sample(make(plain, scale=0.5), q, k, v),
            Sample(make(plain), q[:, :, :0], k[:, :, :0], v),
            Sample(make(plain), q[:, :0], k, v),
            Sample(make(plain, scale=-2.0), q, k, v, mask),
            Sample(make(plain, fill=-1e9), q, k, v, seen),
            Sample(make(plain, fill=-1e9), q, k, v, np.zeros((1, 1, 1), np.bool_)),
            Sample(make(plain, causal=2), q, k, v, seen),
            Sample(make(plain, causal=-1), q, q, q),  # the first row sees nothing: NaN
            Sample(make(heads), *(float_range(1, n, 3, 4) for n in (5, 6, 6))),
            Sample(make([[1, 2, 0], [2, 1, 0], [1, 0, 2], [2, 0, 1]], scale=0.3), *(float_range(*s) for s in ((4, 2, 5), (4, 7, 2), (7, 2, 3)))),
            Sample(make([[0, 1]] * 4), *(float_range(n, 4) for n in (1, 9, 9))),
        ]
        special = np.array([0, np.nan, np.inf, -np.inf, -0.0], np.float32).reshape(1, 5, 1)
        out += [Sample(make(plain), special, v[:1, :, :1], v[:1])]
        typed = (*HALVES, np.float64)
        out += [Sample(make(plain, scale=0.5), *(a.astype(t) for a in (q, k, v, mask))) for t in typed]
        return [Sample(s.make, *s.args, tolerance=1e-5) for s in out]
