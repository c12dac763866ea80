"""Matrix products and Einstein sums, as `tfc.dot`."""

from __future__ import annotations

import string
from collections.abc import Sequence

from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from tfc.dialects.tfc.constant import IotaOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import AddOp, MulOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.select import CompareOp, SelectOp
from tfc.dialects.tfc.types import element, is_float, shape_of
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import broadcast, broadcast_shape, like, squeeze, transpose, unsqueeze


@onnx_op("MatMul")
def matmul(node: Node) -> SSAValue:
    return product(node, node[0], node[1])


def product(node: Node, x: SSAValue, y: SSAValue) -> SSAValue:
    """numpy.matmul: [.., m, k] by [.., k, n]; a missing axis of extent 1 is added and dropped."""
    row, column = len(shape_of(x)) == 1, len(shape_of(y)) == 1
    if not shape_of(x) or not shape_of(y):
        node.fail("expected operands of rank 1 or more")
    x = unsqueeze(node.emit, x, [0]) if row else x
    y = unsqueeze(node.emit, y, [1]) if column else y
    result = _batched(node, x, y)
    rank = len(shape_of(result))
    return squeeze(node.emit, result, [rank - 2] * row + [rank - 1] * column)


def _batched(node: Node, x: SSAValue, y: SSAValue) -> SSAValue:
    p, q = shape_of(x), shape_of(y)
    if len(q) == 2:  # all axes of x but the last are rows
        return node.make(DotOp(x, y, [], [], [len(p) - 1], [0]))
    batch = broadcast_shape(p[:-2], q[:-2])
    x = broadcast(node.emit, x, (*batch, *p[-2:]))
    y = broadcast(node.emit, y, (*batch, *q[-2:]))
    outer = list(range(len(batch)))
    return node.make(DotOp(x, y, outer, outer, [len(batch) + 1], [len(batch)]))


@onnx_op("Gemm")
def gemm(node: Node) -> SSAValue:
    x, y = node[0], node[1]
    if len(shape_of(x)) != 2 or len(shape_of(y)) != 2:
        node.fail(f"expected matrices, got {list(shape_of(x))} and {list(shape_of(y))}")
    contract_x = 0 if node.attr("transA") else 1
    contract_y = 1 if node.attr("transB") else 0
    result = node.make(DotOp(x, y, [], [], [contract_x], [contract_y]))
    result = _scaled(node, result, node.attr("alpha"))
    if node.get(2) is None or node.attr("beta") == 0:
        return result
    bias = _scaled(node, node[2], node.attr("beta"))
    return node.make(AddOp(result, broadcast(node.emit, bias, shape_of(result))))


def _scaled(node: Node, x: SSAValue, factor: float) -> SSAValue:
    if factor == 1:
        return x
    if not is_float(element(x)) and factor != int(factor):
        node.fail(f"a factor of {factor} does not fit integer operands")
    return node.make(MulOp(x, like(node.emit, factor, x)))


@onnx_op("Einsum")
def einsum(node: Node) -> SSAValue:
    """Operands one after another; a letter is summed once nothing after it needs it."""
    terms, result = _equation(node)
    values = [_diagonal(node, v, t) for v, t in zip(node.all(), terms, strict=True)]
    value, letters = values[0]
    for i, (other, more) in enumerate(values[1:], 1):
        needed = set(result).union(*(t for _, t in values[i + 1 :]))
        value, letters = _contract(node, value, letters, other, more, needed)
    value, letters = _sum_out(node, value, letters, set(result))
    missing = set(result) - set(letters)
    if missing:
        node.fail(f"{''.join(sorted(missing))} of the result stands in no operand")
    return transpose(node.emit, value, [letters.index(c) for c in result])


def _contract(
    node: Node, x: SSAValue, p: str, y: SSAValue, q: str, needed: set[str]
) -> tuple[SSAValue, str]:
    x, p = _sum_out(node, x, p, needed | set(q))
    y, q = _sum_out(node, y, q, needed | set(p))
    batch = [c for c in p if c in q and c in needed]
    inner = [c for c in p if c in q and c not in needed]
    x, y = _stretch(node, x, p, y, q)
    value = node.make(
        DotOp(
            x, y,
            [p.index(c) for c in batch], [q.index(c) for c in batch],
            [p.index(c) for c in inner], [q.index(c) for c in inner],
        )
    )  # fmt: skip
    free = [c for c in p if c not in q] + [c for c in q if c not in p]
    return value, "".join([*batch, *free])


def _stretch(node: Node, x: SSAValue, p: str, y: SSAValue, q: str) -> tuple[SSAValue, SSAValue]:
    """Both operands with equal extents of common letters: an extent of 1 broadcasts."""
    sizes = {
        c: broadcast_shape((n,), (shape_of(y)[q.index(c)],))[0]
        for c, n in zip(p, shape_of(x), strict=True)
        if c in q
    }
    wide_x = tuple(sizes.get(c, n) for c, n in zip(p, shape_of(x), strict=True))
    wide_y = tuple(sizes.get(c, n) for c, n in zip(q, shape_of(y), strict=True))
    return broadcast(node.emit, x, wide_x), broadcast(node.emit, y, wide_y)


def _sum_out(node: Node, x: SSAValue, letters: str, needed: set[str]) -> tuple[SSAValue, str]:
    axes = [i for i, c in enumerate(letters) if c not in needed]
    if not axes:
        return x, letters
    return node.make(ReduceOp(x, "sum", axes)), "".join(c for c in letters if c in needed)


def _diagonal(node: Node, x: SSAValue, letters: str) -> tuple[SSAValue, str]:
    """A letter that stands twice picks the diagonal: the rest is masked and summed away."""
    for i, c in enumerate(letters):
        j = letters.find(c, i + 1)
        if j < 0:
            continue
        dims = shape_of(x)
        rows, columns = node.make(IotaOp(dims, i64, i)), node.make(IotaOp(dims, i64, j))
        on = node.make(CompareOp("eq", rows, columns))
        kept = node.make(SelectOp(on, x, like(node.emit, 0, x)))
        summed = node.make(ReduceOp(kept, "sum", [j]))
        return _diagonal(node, summed, letters[:j] + letters[j + 1 :])
    return x, letters


def _equation(node: Node) -> tuple[Sequence[str], str]:
    """The letters of each operand and of the result, an ellipsis spelled out in capitals."""
    text = node.attr("equation").replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(node) or not set(left + right) <= set(string.ascii_letters + ".,"):
        node.fail(f"the equation {text!r} does not fit {len(node)} operands")
    spare = [c for c in string.ascii_uppercase + string.ascii_lowercase if c not in left + right]
    widths = [node.rank(i) - len(t.replace("...", "")) for i, t in enumerate(terms)]
    if any(w < 0 or (w and "..." not in t) for w, t in zip(widths, terms, strict=True)):
        node.fail(
            f"the equation {text!r} does not fit operands of ranks {[node.rank(i) for i in range(len(node))]}"
        )
    widest = max((w for w, t in zip(widths, terms, strict=True) if "..." in t), default=0)
    ellipsis = "".join(spare[:widest])
    spelled = [t.replace("...", ellipsis[widest - w :]) for w, t in zip(widths, terms, strict=True)]
    if not arrow:
        once = [c for c in sorted(set("".join(terms)) - {"."}) if "".join(terms).count(c) == 1]
        return spelled, ellipsis + "".join(once)
    return spelled, right.replace("...", ellipsis)
