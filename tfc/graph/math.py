"""Arithmetic on tensors: ``tf.add``, ``tf.matmul``, ``tf.reduce_sum``, ... (also ``tf.math``).

Two operands broadcast as in numpy. A Python number beside a tensor takes its element type.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfc.errors import GraphError
from tfc.graph.dtypes import DType, as_dtype, bool_, float32, float64, int32, int64
from tfc.graph.node import Tensor
from tfc.graph.ops import binary, constant, convert, convert_pair, name_scope, single, unary
from tfc.graph.source import here, quoted

negative = unary("Neg", "``-x``.")
abs = unary("Abs", "``|x|``.")
sign = unary("Sign", "-1, 0 or 1.")
square = unary("Square", "``x * x``.")
exp = unary("Exp", "``e ** x``.")
expm1 = unary("Expm1", "``e ** x - 1``, exact near 0.")
log = unary("Log", "Natural logarithm.")
log1p = unary("Log1p", "``log(1 + x)``, exact near 0.")
sqrt = unary("Sqrt", "Square root.")
rsqrt = unary("Rsqrt", "``1 / sqrt(x)``.")
reciprocal = unary("Reciprocal", "``1 / x``.")
sin = unary("Sin", "Sine.")
cos = unary("Cos", "Cosine.")
tan = unary("Tan", "Tangent.")
asin = unary("Asin", "Inverse sine.")
acos = unary("Acos", "Inverse cosine.")
atan = unary("Atan", "Inverse tangent.")
sinh = unary("Sinh", "Hyperbolic sine.")
cosh = unary("Cosh", "Hyperbolic cosine.")
tanh = unary("Tanh", "Hyperbolic tangent.")
asinh = unary("Asinh", "Inverse hyperbolic sine.")
acosh = unary("Acosh", "Inverse hyperbolic cosine.")
atanh = unary("Atanh", "Inverse hyperbolic tangent.")
erf = unary("Erf", "The error function.")
erfc = unary("Erfc", "1 - the error function.")
floor = unary("Floor", "The largest whole number not above x.")
ceil = unary("Ceil", "The smallest whole number not below x.")
round = unary("Round", "The nearest whole number, half to even.")
rint = unary("Rint", "The nearest whole number, half to even.")
sigmoid = unary("Sigmoid", "``1 / (1 + e ** -x)``.")
softplus = unary("Softplus", "``log(1 + e ** x)``.")
softsign = unary("Softsign", "``x / (1 + |x|)``.")
is_nan = unary("IsNan", "Where x is NaN.")
is_inf = unary("IsInf", "Where x is infinite.")
is_finite = unary("IsFinite", "Where x is neither NaN nor infinite.")
logical_not = unary("LogicalNot", "Not, of bools.")

add = binary("AddV2", "``x + y``.", "Add")
subtract = binary("Sub", "``x - y``.")
multiply = binary("Mul", "``x * y``.")
realdiv = binary("RealDiv", "``x / y`` of floats.")
floordiv = binary("FloorDiv", "``x / y`` rounded down.", "floordiv")
floormod = binary("FloorMod", "The remainder of `floordiv`, with the sign of y.")
mod = floormod
truncatediv = binary("TruncateDiv", "``x / y`` of integers, rounded toward 0.")
truncatemod = binary("TruncateMod", "The remainder with the sign of x.")
pow = binary("Pow", "``x ** y``.")
maximum = binary("Maximum", "The larger; NaN if either is.")
minimum = binary("Minimum", "The smaller; NaN if either is.")
atan2 = binary("Atan2", "The angle of the point (y, x).")
squared_difference = binary("SquaredDifference", "``(x - y) ** 2``.")
equal = binary("Equal", "Where x = y.")
not_equal = binary("NotEqual", "Where x differs from y.")
less = binary("Less", "Where x < y.")
less_equal = binary("LessEqual", "Where x <= y.")
greater = binary("Greater", "Where x > y.")
greater_equal = binary("GreaterEqual", "Where x >= y.")
logical_and = binary("LogicalAnd", "And, of bools.")
logical_or = binary("LogicalOr", "Or, of bools.")
bitwise_and = binary("BitwiseAnd", "And, of bits.")
bitwise_or = binary("BitwiseOr", "Or, of bits.")
bitwise_xor = binary("BitwiseXor", "Exclusive or, of bits.")
left_shift = binary("LeftShift", "``x << y``.")
right_shift = binary("RightShift", "``x >> y``.")


def operator(type_: str, name: str, x: Any, y: Any) -> Tensor:
    """The node of a Python operator, named as TensorFlow names it."""
    with name_scope(None, name, [x, y]) as scope:
        return single(type_, convert_pair(x, y), scope)


def bit_operator(kind: str, name: str, x: Any, y: Any) -> Tensor:
    """``&``, ``|`` and ``^``: of bools logical, of integers on bits."""
    with name_scope(None, name, [x, y]) as scope:
        x, y = convert_pair(x, y)
        if x.dtype is not bool_:
            return single(f"Bitwise{kind}", [x, y], scope)
        return single("NotEqual" if kind == "Xor" else f"Logical{kind}", [x, y], scope)


def invert(x: Any, name: str | None = None) -> Tensor:
    """Not: of bools logical, of integers on bits."""
    with name_scope(name, "invert", [x]) as scope:
        x = convert(x)
        return single("LogicalNot" if x.dtype is bool_ else "Invert", [x], scope)


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    """Exclusive or, of bools."""
    with name_scope(name, None, [x, y]) as scope:
        return single("NotEqual", convert_pair(x, y), scope)


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y`` as Python divides: integers become floats first."""
    with name_scope(name, "truediv", [x, y]) as scope:
        x, y = convert_pair(x, y)
        if not x.dtype.is_floating and x.dtype is y.dtype:
            kind = float64 if x.dtype.size >= 4 else float32
            x, y = cast(x, kind), cast(y, kind)
        return single("RealDiv", [x, y], scope)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`truediv`."""
    return truediv(x, y, name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y`` as Python 2 divides: of integers rounded down."""
    with name_scope(name, "div", [x, y]) as scope:
        x, y = convert_pair(x, y)
        return single("RealDiv" if x.dtype.is_floating else "FloorDiv", [x, y], scope)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """``x`` with another element type. Floats are cut off toward 0 when they become integers."""
    kind = as_dtype(dtype)
    with name_scope(name, "Cast", [x]) as scope:
        x = convert(x, name="x")
        return x if x.dtype is kind else single("Cast", [x], scope, to=kind)


def saturate_cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`cast`, with what does not fit moved to the nearest value that does."""
    kind = as_dtype(dtype)
    with name_scope(name, "saturate_cast", [x]) as scope:
        x = convert(x)
        low, high = builtins.max(x.dtype.min, kind.min), builtins.min(x.dtype.max, kind.max)
        return cast(clip_by_value(x, low, high), kind, name=scope)


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    return cast(x, float32, name)


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    return cast(x, int32, name)


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    return cast(x, int64, name)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """The sum of tensors of one shape."""
    values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    with name_scope(name, "AddN", values) as scope:
        tensors = [convert(v) for v in values]
        if not tensors:
            raise quoted(GraphError("'tfc.add_n': expected at least one input, got none"), here())
        return single("AddN", tensors, scope)


accumulate_n = add_n


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Tensor:
    """``t`` moved into ``[clip_value_min, clip_value_max]``."""
    with name_scope(name, "clip_by_value", [t]) as scope:
        t = convert(t, name="t")
        upper = minimum(t, clip_value_max)
        return maximum(upper, clip_value_min, name=scope)


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of matrices: the last two dims of each; dims before them broadcast."""
    with name_scope(name, "MatMul", [a, b]) as scope:
        a, b = convert_pair(a, b, ("a", "b"))
        x, y = transpose_a or adjoint_a, transpose_b or adjoint_b
        ranks = [t.shape.ndims for t in (a, b)]
        if all(r is None for r in ranks) or any(r is not None and r > 2 for r in ranks):
            return single("BatchMatMulV2", [a, b], scope, adj_x=x, adj_y=y)
        return single("MatMul", [a, b], scope, transpose_a=x, transpose_b=y)


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """Sums of products by named axes: ``einsum("bij,bjk->bik", x, y)``."""
    with name_scope(name, "einsum", list(inputs)) as scope:
        return single("Einsum", [convert(x) for x in inputs], scope, equation=equation)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """The product summed over ``axes`` of a and of b: a number of last and first, or two lists."""
    with name_scope(name, "Tensordot", [a, b]) as scope:
        a, b = convert_pair(a, b, ("a", "b"))
        ranks = [t.shape.ndims for t in (a, b)]
        if ranks[0] is None or ranks[1] is None:
            raise quoted(GraphError("'tfc.tensordot': expected inputs of known rank"), here())
        m, n = ranks[0], ranks[1]
        if isinstance(axes, int):
            axes = [list(range(m - axes, m)), list(range(axes))]
        pairs = [[x] if isinstance(x, int) else list(x) for x in axes]
        labels = [chr(97 + k) for k in range(m + n)]
        left, right = labels[:m], labels[m:]
        for i, j in zip(*pairs, strict=True):
            right[j] = left[i]
        out = [c for c in left + right if (c in left) != (c in right)]
        equation = f"{''.join(left)},{''.join(right)}->{''.join(out)}"
        return single("Einsum", [a, b], scope, equation=equation)


def _reduction_axes(x: Tensor, axis: Any) -> Any:
    """All axes where none is given, as a constant where the rank is known."""
    if axis is not None:
        return axis
    if x.shape.ndims is None:
        from tfc.graph.arrays import range_, rank

        return range_(0, rank(x))
    return constant(np.arange(x.shape.ndims, dtype=np.int32))


def _reduce(type_: str, x: Any, axis: Any, keepdims: Any, name: str | None, names: Any) -> Tensor:
    if names.get("reduction_indices") is not None:
        axis = names["reduction_indices"]
    keep = bool(names.get("keep_dims") if keepdims is None else keepdims)
    x = convert(x, name="input")
    axes = _reduction_axes(x, axis)
    with name_scope(name, type_, [x]) as scope:
        axes = convert(np.array([], np.int32) if axes == [] else axes, name="reduction_indices")
        return single(type_, [x, axes], scope, keep_dims=keep)


def reduce_sum(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """The sum over ``axis``: a number, a list, or None for all."""
    return _reduce("Sum", input_tensor, axis, keepdims, name, old)


def reduce_mean(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """The mean over ``axis``."""
    return _reduce("Mean", input_tensor, axis, keepdims, name, old)


def reduce_prod(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """The product over ``axis``."""
    return _reduce("Prod", input_tensor, axis, keepdims, name, old)


def reduce_max(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """The maximum over ``axis``."""
    return _reduce("Max", input_tensor, axis, keepdims, name, old)


def reduce_min(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """The minimum over ``axis``."""
    return _reduce("Min", input_tensor, axis, keepdims, name, old)


def reduce_all(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """Whether all bools over ``axis`` are true."""
    return _reduce("All", input_tensor, axis, keepdims, name, old)


def reduce_any(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """Whether any bool over ``axis`` is true."""
    return _reduce("Any", input_tensor, axis, keepdims, name, old)


def reduce_logsumexp(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, **old: Any) -> Tensor:
    """``log(sum(exp(x)))`` over ``axis``, without overflow."""
    with name_scope(name, "ReduceLogSumExp", [input_tensor]) as scope:
        from tfc.graph.arrays import reshape, shape, where, zeros_like

        x = convert(input_tensor)
        top = reduce_max(x, axis, keepdims=True, **{k: v for k, v in old.items() if k != "keep_dims"})
        top = where(is_finite(top), top, zeros_like(top))
        result = log(reduce_sum(exp(x - top), axis, keepdims, **old))
        return add(result, reshape(top, shape(result)), name=scope)


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None) -> Tensor:
    """The mean squared distance from the mean over ``axis``."""
    with name_scope(name, "reduce_variance", [input_tensor]) as scope:
        x = convert(input_tensor)
        centre = reduce_mean(x, axis, keepdims=True)
        return reduce_mean(squared_difference(x, centre), axis, keepdims, name=scope)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None) -> Tensor:
    """The standard deviation over ``axis``."""
    with name_scope(name, "reduce_std", [input_tensor]) as scope:
        return sqrt(reduce_variance(input_tensor, axis, keepdims), name=scope)


def _arg(type_: str, x: Any, axis: Any, dimension: Any, output_type: Any, name: str | None) -> Tensor:
    axis = dimension if axis is None else axis
    with name_scope(name, type_, [x]) as scope:
        x = convert(x, name="input")
        where = convert(0 if axis is None else axis, int32, name="dimension")
        return single(type_, [x, where], scope, output_type=as_dtype(output_type))


def argmax(
    input: Any, axis: Any = None, name: Any = None, dimension: Any = None, output_type: Any = int64
) -> Tensor:
    """The index of the maximum along ``axis`` (0 where left out), the first of equals."""
    return _arg("ArgMax", input, axis, dimension, output_type, name)


def argmin(
    input: Any, axis: Any = None, name: Any = None, dimension: Any = None, output_type: Any = int64
) -> Tensor:
    """The index of the minimum along ``axis`` (0 where left out), the first of equals."""
    return _arg("ArgMin", input, axis, dimension, output_type, name)


arg_max, arg_min = argmax, argmin


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: Any = None) -> Tensor:
    """Running sums along ``axis``."""
    return _cumulative("Cumsum", x, axis, exclusive, reverse, name)


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: Any = None) -> Tensor:
    """Running products along ``axis``."""
    return _cumulative("Cumprod", x, axis, exclusive, reverse, name)


def _cumulative(type_: str, x: Any, axis: Any, exclusive: bool, reverse: bool, name: Any) -> Tensor:
    with name_scope(name, type_, [x]) as scope:
        x = convert(x, name="x")
        where = convert(axis, int32, name="axis")
        return single(type_, [x, where], scope, exclusive=exclusive, reverse=reverse)


def dtype_of(x: Any) -> DType:
    """The element type that ``x`` has as a tensor."""
    return convert(x).dtype
