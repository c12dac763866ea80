"""Arithmetic, comparison, reduction and contraction: nodes of TensorFlow's ``math`` family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects.builtin import i1
from xdsl.ir import Attribute, SSAValue

from tfc.dialects.tfc import OPERATIONS
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.elementwise import CastOp, CompareOp
from tfc.dialects.tfc.reduce import ArgReduceOp, CumulativeOp, MeanOp, ReduceOp
from tfc.dialects.tfc.shape import IdentityOp, ReshapeOp, TransposeOp
from tfc.dialects.tfc.types import element, is_bool, is_float
from tfc.dims import Dim
from tfc.errors import GraphError
from tfc.graph.dtypes import DType, of_element
from tfc.graph.emit import Emitter, rule

FLOAT_UNARY = {
    **{n.capitalize(): n for n in ["exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan"]},
    **{n.capitalize(): n for n in ["sinh", "cosh", "asinh", "acosh", "atanh", "tanh", "erf", "erfc", "floor", "ceil"]},
    **{"Rint": "round", "Sigmoid": "sigmoid", "Reciprocal": "reciprocal", "Inv": "reciprocal"},
    **{"Softplus": "softplus", "Softsign": "softsign"},
    **{"IsNan": "is_nan", "IsInf": "is_inf", "IsFinite": "is_finite"},
}
"""Nodes of one floating-point input, and the operation that each becomes."""

UNARY = {"Neg": "neg", "Abs": "abs", "Sign": "sign", "Square": "square", "Relu": "relu", "Relu6": "relu6"}
"""Nodes of one numeric input."""

BINARY = {
    **{"Add": "add", "AddV2": "add", "Sub": "sub", "Mul": "mul", "RealDiv": "div", "Div": "div"},
    **{"TruncateDiv": "div", "FloorDiv": "floordiv", "FloorMod": "floormod", "Mod": "rem"},
    **{"Pow": "pow", "Maximum": "max", "Minimum": "min", "Atan2": "atan2", "TruncateMod": "rem"},
    **{"SquaredDifference": "squared_difference", "LogicalAnd": "and", "LogicalOr": "or"},
    **{"BitwiseAnd": "and", "BitwiseOr": "or", "BitwiseXor": "xor"},
    **{"LeftShift": "shift_left", "RightShift": "shift_right"},
}
"""Nodes of two inputs that broadcast."""

COMPARE = {
    **{"Equal": "eq", "NotEqual": "ne", "Less": "lt"},
    **{"LessEqual": "le", "Greater": "gt", "GreaterEqual": "ge"},
}
REDUCE = {"Sum": "sum", "Prod": "prod", "Max": "max", "Min": "min", "All": "and", "Any": "or"}


def same_element(kind: str, x: SSAValue, y: SSAValue) -> None:
    """Refuse inputs of two element types."""
    mine, theirs = element(x), element(y)
    if mine != theirs:
        a, b = of_element(mine), of_element(theirs)
        message = f"'tfc.{kind}': expected inputs of one element type, got {a.name} and {b.name}"
        raise GraphError(message, help=f"tf.cast(y, tf.{a.name}) converts the second")


def _define_unary(type_: str, kind: str, floats: bool) -> None:
    def emit_unary(emit: Emitter, x: SSAValue) -> SSAValue:
        if floats and not is_float(element(x)):
            got = of_element(element(x)).name
            message = f"'tfc.{kind}': expected a floating-point input, got {got}"
            raise GraphError(message, help="tf.cast(x, tf.float32) converts it")
        return emit(_operation(kind)(x))

    rule(type_, elements=_bools if kind.startswith("is_") else None)(emit_unary)


def _define_binary(type_: str, kind: str) -> None:
    def emit_binary(emit: Emitter, x: SSAValue, y: SSAValue) -> SSAValue:
        same_element(kind, x, y)
        if type_.startswith("Logical") and not is_bool(element(x)):
            raise GraphError(f"'tfc.{kind}': expected bool inputs, got {of_element(element(x)).name}")
        return emit(_operation(kind)(*emit.together(x, y)))

    rule(type_)(emit_binary)


def _define_compare(type_: str, predicate: str) -> None:
    def emit_compare(emit: Emitter, x: SSAValue, y: SSAValue) -> SSAValue:
        same_element("compare", x, y)
        return emit(CompareOp(predicate, *emit.together(x, y)))

    rule(type_, elements=_bools)(emit_compare)


def _define_reduce(type_: str, kind: str) -> None:
    def emit_reduce(emit: Emitter, x: SSAValue, axes: SSAValue, keep_dims: bool = False) -> SSAValue:
        if kind in ("and", "or") and not is_bool(element(x)):
            raise GraphError(f"'{type_}': expected a bool input, got {of_element(element(x)).name}")
        return reduced(emit, x, axes, keep_dims, lambda axes: ReduceOp(x, kind, axes))

    rule(type_)(emit_reduce)


def _bools(*_values: SSAValue, **_attributes: Any) -> Sequence[Attribute]:
    return [i1]


def _operation(kind: str) -> Callable[..., Any]:
    return OPERATIONS[f"tfc.{kind}"]


for _type, _kind in FLOAT_UNARY.items():
    _define_unary(_type, _kind, floats=True)
for _type, _kind in UNARY.items():
    _define_unary(_type, _kind, floats=False)
for _type, _kind in BINARY.items():
    _define_binary(_type, _kind)
for _type, _kind in COMPARE.items():
    _define_compare(_type, _kind)
for _type, _kind in REDUCE.items():
    _define_reduce(_type, _kind)


@rule("LogicalNot", "Invert")
def logical_not(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit(_operation("not")(x))


@rule("Round")
def round_half_even(emit: Emitter, x: SSAValue) -> SSAValue:
    return emit(_operation("round")(x)) if is_float(element(x)) else emit(IdentityOp(x))


@rule("AddN")
def add_n(emit: Emitter, *xs: SSAValue) -> SSAValue:
    total = xs[0]
    for x in xs[1:]:
        same_element("add", total, x)
        total = emit(_operation("add")(total, x))
    return total if len(xs) > 1 else emit(IdentityOp(total))


@rule("Cast", elements=lambda x, to: [to.element])
def cast(emit: Emitter, x: SSAValue, to: DType) -> SSAValue:
    return emit(IdentityOp(x) if element(x) == to.element else CastOp(x, to.element))


def axes_of(emit: Emitter, x: SSAValue, axes: SSAValue) -> list[int]:
    """A node's axes input, counted from the front, sorted, each once."""
    return sorted({emit.axis(x, a) for a in emit.ints(axes)})


def reduced(
    emit: Emitter,
    x: SSAValue,
    axes: SSAValue,
    keep_dims: bool,
    make: Callable[[list[int]], Any],
) -> SSAValue:
    """A reduction over a node's axes input, the reduced axes kept with extent 1 if wanted."""
    dropped = axes_of(emit, x, axes)
    if not dropped:
        return emit(IdentityOp(x))
    result = emit(make(dropped))
    if not keep_dims:
        return result
    shape = [1 if k in dropped else d for k, d in enumerate(emit.shape(x))]
    return emit(ReshapeOp(result, shape))


@rule("Mean")
def mean(emit: Emitter, x: SSAValue, axes: SSAValue, keep_dims: bool = False) -> SSAValue:
    if not is_float(element(x)):
        got = of_element(element(x)).name
        message = f"'tfc.mean': expected a floating-point input, got {got}"
        raise GraphError(message, help="tf.cast(x, tf.float32) converts it")
    return reduced(emit, x, axes, keep_dims, lambda axes: MeanOp(x, axes))


def _arg_elements(x: SSAValue, axis: SSAValue, output_type: DType) -> Sequence[Attribute]:
    return [output_type.element]


@rule("ArgMax", elements=_arg_elements)
def arg_max(emit: Emitter, x: SSAValue, axis: SSAValue, output_type: DType) -> SSAValue:
    return emit(ArgReduceOp(x, "max", emit.axis(x, emit.ints(axis)[0]), output_type.element))


@rule("ArgMin", elements=_arg_elements)
def arg_min(emit: Emitter, x: SSAValue, axis: SSAValue, output_type: DType) -> SSAValue:
    return emit(ArgReduceOp(x, "min", emit.axis(x, emit.ints(axis)[0]), output_type.element))


@rule("Cumsum")
def cumsum(emit: Emitter, x: SSAValue, axis: SSAValue, exclusive: bool, reverse: bool) -> SSAValue:
    return emit(CumulativeOp(x, "sum", emit.axis(x, emit.ints(axis)[0]), exclusive, reverse))


@rule("Cumprod")
def cumprod(emit: Emitter, x: SSAValue, axis: SSAValue, exclusive: bool, reverse: bool) -> SSAValue:
    return emit(CumulativeOp(x, "prod", emit.axis(x, emit.ints(axis)[0]), exclusive, reverse))


@rule("MatMul")
def matmul(
    emit: Emitter, x: SSAValue, y: SSAValue, transpose_a: bool = False, transpose_b: bool = False
) -> SSAValue:
    for v in (x, y):
        if (rank := emit.rank(v)) != 2:
            raise GraphError(f"'tfc.matmul' (C1): expected inputs of rank 2, got one of rank {rank}")
    return _product(emit, x, y, transpose_a, transpose_b)


@rule("BatchMatMulV2")
def batch_matmul(
    emit: Emitter, x: SSAValue, y: SSAValue, adj_x: bool = False, adj_y: bool = False
) -> SSAValue:
    for v in (x, y):
        if (rank := emit.rank(v)) < 2:
            raise GraphError(f"'tfc.matmul' (C1): expected inputs of rank 2 or more, got one of rank {rank}")
    return _product(emit, x, y, adj_x, adj_y)


def _product(emit: Emitter, x: SSAValue, y: SSAValue, transpose_x: bool, transpose_y: bool) -> SSAValue:
    """A product of matrices over the last two axes; axes before them broadcast."""
    same_element("matmul", x, y)
    a, b = emit.shape(x), emit.shape(y)
    inner_x, inner_y = (-2 if transpose_x else -1), (-1 if transpose_y else -2)
    _check_inner(emit, a[inner_x], b[inner_y], b[-3 - inner_y], inner_x, inner_y, transpose_y)
    batch = emit.joint_shape(a[:-2], b[:-2])
    if len(a) > 2 and len(b) == 2 and batch == a[:-2]:
        # One matrix for the whole batch: its rows are rows of one tall product.
        return emit(DotOp(x, y, [], [], [len(a) + inner_x], [2 + inner_y])) if not transpose_x else (
            _batched(emit, x, y, batch, inner_x, inner_y)
        )
    return _batched(emit, x, y, batch, inner_x, inner_y)


def _batched(
    emit: Emitter, x: SSAValue, y: SSAValue, batch: Sequence[Dim], inner_x: int, inner_y: int
) -> SSAValue:
    x = emit.broadcast(x, [*batch, *emit.shape(x)[-2:]])
    y = emit.broadcast(y, [*batch, *emit.shape(y)[-2:]])
    rank, axes = len(batch) + 2, range(len(batch))
    return emit(DotOp(x, y, axes, axes, [rank + inner_x], [rank + inner_y]))


def _check_inner(
    emit: Emitter, k: Dim, other: Dim, outer: Dim, axis_x: int, axis_y: int, transposed: bool
) -> None:
    known = isinstance(k, int) and isinstance(other, int)
    if k == other or not (known or emit.strict):
        return
    help = f"transpose_b={not transposed} contracts {k} with {outer}" if k == outer else ""
    message = f"'tfc.matmul' (C2): expected dim(x, {axis_x}) = dim(y, {axis_y}), got {k} and {other}"
    raise GraphError(message, help=help)


@rule("Einsum")
def einsum(emit: Emitter, *xs: SSAValue, equation: str) -> SSAValue:
    inputs, output = _read_equation(equation, [emit.rank(x) for x in xs])
    values = list(zip(xs, inputs, strict=True))
    while len(values) > 1:
        (x, a), (y, b), *rest = values
        needed = set(output).union(*(labels for _, labels in rest)) if rest else set(output)
        values = [_contract(emit, x, a, y, b, needed), *rest]
    x, labels = _sum_out(emit, *values[0], set(output))
    order = [labels.index(c) for c in output]
    return emit(TransposeOp(x, order)) if order != sorted(order) else emit(IdentityOp(x))


def _contract(
    emit: Emitter, x: SSAValue, a: str, y: SSAValue, b: str, needed: set[str]
) -> tuple[SSAValue, str]:
    """Two factors as one, with what neither the output nor another factor needs summed out."""
    same_element("einsum", x, y)
    x, a = _sum_out(emit, x, a, needed | set(b))
    y, b = _sum_out(emit, y, b, needed | set(a))
    for c in set(a) & set(b):
        m, n = emit.shape(x)[a.index(c)], emit.shape(y)[b.index(c)]
        if m != n and isinstance(m, int) and isinstance(n, int):
            raise GraphError(f"'tfc.einsum': expected one extent for '{c}', got {m} and {n}")
    both = [c for c in a if c in b]
    batch, summed = [c for c in both if c in needed], [c for c in both if c not in needed]
    axes = [[s.index(c) for c in g] for g in (batch, summed) for s in (a, b)]
    left = [c for c in a if c not in both] + [c for c in b if c not in both]
    return emit(DotOp(x, y, *axes)), "".join(batch + left)


def _sum_out(emit: Emitter, x: SSAValue, labels: str, needed: set[str]) -> tuple[SSAValue, str]:
    if len(set(labels)) != len(labels):
        raise GraphError(f"'tfc.einsum': a label stands twice in '{labels}': diagonals are not supported")
    axes = [k for k, c in enumerate(labels) if c not in needed]
    if not axes:
        return x, labels
    return emit(ReduceOp(x, "sum", axes)), "".join(c for c in labels if c in needed)


def _read_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Labels of each input and of the output; ``...`` becomes capital letters not in use."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise GraphError(f"'{equation}' names {len(terms)} inputs, got {len(ranks)}")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    widths = [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True)]
    width = max([w for t, w in zip(terms, widths, strict=True) if "..." in t], default=0)
    dots = "".join(free[:width])
    for t, w, rank in zip(terms, widths, ranks, strict=True):
        if w < 0 or (w > 0 and "..." not in t):
            raise GraphError(f"'{equation}' does not fit an input of rank {rank}: '{t}'")
    inputs = [t.replace("...", dots[width - w :]) for t, w in zip(terms, widths, strict=True)]
    if not arrow:
        once = [c for c in sorted(set("".join(inputs))) if "".join(inputs).count(c) == 1]
        right = dots + "".join(c for c in once if c not in dots)
    output = right.replace("...", dots)
    if unknown := set(output) - set("".join(inputs)):
        raise GraphError(f"'{equation}' gives '{min(unknown)}', which no input has")
    return inputs, output
