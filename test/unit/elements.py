"""Evaluate ``value_at`` one element after another, in numpy: lowering rules without a code generator.

    element(op, arrays, index)      what ``op`` says element ``index`` of its result is
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tfc.dialects import kernel
from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.scalar import kernel_element
from tfc.dialects.tfc.types import Array, dtype_of, shape_of
from tfc.dialects.tfc.types import element as element_type
from tfc.dims import Dim


class OutOfRangeError(Exception):
    """An index that a run would report."""


def kernel_dtype(kind: Attribute) -> np.dtype[Any]:
    """The numpy dtype of a kernel scalar type."""
    if isinstance(kind, IntegerType):
        return np.dtype(np.bool_) if kind.width.data == 1 else np.dtype(f"int{kind.width.data}")
    return np.dtype(np.float64 if isinstance(kind, Float64Type) else np.float32)


def element(op: TensorOp, arrays: Sequence[Array], index: Sequence[int]) -> Any:
    """Element ``index`` of the result of ``op`` on ``arrays``, in its kernel type."""
    at = NumpyAccess(op, arrays)
    with np.errstate(all="ignore"):
        return at.values[op.value_at(at, list(index))]


class NumpyAccess:
    """An `Access` whose values are numpy scalars, computed at once."""

    def __init__(self, op: TensorOp, arrays: Sequence[Array]) -> None:
        self.op, self.arrays = op, arrays
        self.values: dict[SSAValue, Any] = {}

    def put(self, value: Any, kind: Attribute) -> SSAValue:
        """A new SSA value that holds ``value``, in the kernel type of an element type."""
        computed = kernel_element(kind)
        ssa = Block(arg_types=[computed]).args[0]
        self.values[ssa] = np.asarray(value).astype(kernel_dtype(computed))[()]
        return ssa

    def emit(self, op: Operation) -> SSAValue:
        op.verify()
        args = [self.values[o] for o in op.operands]
        result = _evaluate(op, args)
        (ssa,) = op.results
        self.values[ssa] = np.asarray(result).astype(_bits_dtype(ssa.type))[()]
        return ssa

    def read(self, operand: int, index: Sequence[Dim]) -> SSAValue:
        array = self.arrays[operand]
        assert len(index) == array.ndim
        assert all(isinstance(i, int) and 0 <= i < n for i, n in zip(index, array.shape, strict=True)), index
        found = array[tuple(int(str(i)) for i in index)]
        kind = element_type(self.op.operands[operand])
        wide = found.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind not in "iu" else found
        return self.put(wide, kind)

    def constant(self, value: float | int | bool, element: Attribute) -> SSAValue:
        kind = kernel_element(element)
        if isinstance(kind, IntegerType) and (width := kind.width.data) > 1:
            bits = int(value) & ((1 << width) - 1)
            value = bits - (1 << width) if bits >> (width - 1) else bits
        return self.put(value, element)

    def value(self, index: Dim, element: Attribute) -> SSAValue:
        assert isinstance(index, int)
        return self.constant(index, element)

    def index(self, value: SSAValue, bound: Dim) -> Dim:
        found = int(self.values[value])
        if self.arrays[1].dtype.kind == "u":  # positions are the second operand; kernels know no signs
            found %= 1 << 8 * self.arrays[1].dtype.itemsize
        assert isinstance(bound, int)
        if not 0 <= found < bound:
            raise OutOfRangeError(found)
        return found

    def guard(
        self,
        inside: Sequence[tuple[Dim, Dim]],
        then: Callable[[], SSAValue],
        otherwise: Callable[[], SSAValue],
    ) -> SSAValue:
        holds = all(isinstance(i, int) and isinstance(n, int) and 0 <= i < n for i, n in inside)
        return then() if holds else otherwise()

    def fold(
        self,
        extents: Sequence[Dim],
        start: Sequence[SSAValue],
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
        *,
        combine: Callable[[SSAValue, SSAValue], SSAValue] | None = None,
        merge: Callable[[Sequence[SSAValue], Sequence[SSAValue]], Sequence[SSAValue]] | None = None,
    ) -> Sequence[SSAValue]:
        carried = list(start)
        for index in np.ndindex(*(int(str(n)) for n in extents)):
            following = list(body(list(index), carried))
            assert [v.type for v in following] == [v.type for v in carried]
            carried = following
        return carried


def _unsigned(x: Any) -> Any:
    return x.view(f"u{x.dtype.itemsize}") if x.dtype != np.bool_ else x


def _like(x: Any, result: Any) -> Any:
    """Bits of an unsigned result as the signed type of ``x``."""
    return np.asarray(result).astype(np.asarray(_unsigned(x)).dtype).view(x.dtype)[()]


def _safe(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Integer division that fails where hardware traps."""

    def divide(x: Any, y: Any) -> Any:
        assert y != 0, "division by zero"
        return function(int(x), int(y))

    return divide


def _quotient(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "arith.addf": np.add, "arith.subf": np.subtract, "arith.mulf": np.multiply, "arith.divf": np.divide,
    "arith.addi": np.add, "arith.subi": np.subtract, "arith.muli": np.multiply,
    "arith.maximumf": np.maximum, "arith.minimumf": np.minimum,
    "arith.maxsi": np.maximum, "arith.minsi": np.minimum,
    "arith.maxui": lambda x, y: _like(x, np.maximum(_unsigned(x), _unsigned(y))),
    "arith.minui": lambda x, y: _like(x, np.minimum(_unsigned(x), _unsigned(y))),
    "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or, "arith.xori": np.bitwise_xor,
    "arith.divsi": _safe(_quotient), "arith.remsi": _safe(lambda x, y: x - y * _quotient(x, y)),
    "arith.divui": lambda x, y: _like(x, _safe(lambda a, b: a // b)(_unsigned(x), _unsigned(y))),
    "arith.remui": lambda x, y: _like(x, _safe(lambda a, b: a % b)(_unsigned(x), _unsigned(y))),
    "arith.shli": np.left_shift, "arith.shrsi": np.right_shift,
    "arith.shrui": lambda x, y: _like(x, np.right_shift(_unsigned(x), _unsigned(y))),
    "math.atan2": np.arctan2, "math.powf": np.power, "math.copysign": np.copysign,
}  # fmt: skip

_UNARY: dict[str, Callable[[Any], Any]] = {
    "arith.negf": np.negative, "math.absf": np.abs, "math.exp": np.exp, "math.expm1": np.expm1,
    "math.log": np.log, "math.log1p": np.log1p, "math.sqrt": np.sqrt, "math.sin": np.sin, "math.cos": np.cos,
    "math.tan": np.tan, "math.asin": np.arcsin, "math.acos": np.arccos, "math.atan": np.arctan,
    "math.sinh": np.sinh, "math.cosh": np.cosh, "math.tanh": np.tanh, "math.asinh": np.arcsinh,
    "math.acosh": np.arccosh, "math.atanh": np.arctanh, "math.floor": np.floor, "math.ceil": np.ceil,
    "math.trunc": np.trunc, "math.roundeven": np.rint, "math.erf": lambda x: pymath.erf(x),
    "math.rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip

_CASTS: dict[str, Callable[[Any], Any]] = {
    "extf": lambda x: x, "truncf": lambda x: x, "sitofp": lambda x: x, "uitofp": _unsigned,
    "extsi": lambda x: x, "extui": _unsigned, "trunci": lambda x: x,
}  # fmt: skip

_PREDICATES: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "rd": lambda x, y: not (np.isnan(x) or np.isnan(y)),
    "no": lambda x, y: np.isnan(x) or np.isnan(y),
}  # fmt: skip


def _compare(predicate: str, x: Any, y: Any) -> Any:
    """``oeq``, ``une``, ``ord``, ``uno`` for floats; ``eq``, ``slt``, ``ult`` for integers."""
    if x.dtype.kind != "f" and predicate[0] == "u":
        x, y = _unsigned(x), _unsigned(y)
    return _PREDICATES[predicate[-2:]](x, y)


def _evaluate(op: Operation, args: Sequence[Any]) -> Any:
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, IntegerAttr | FloatAttr)
        return op.value.value.data
    if op.name in _BINARY:
        return _BINARY[op.name](*args)
    if op.name in _UNARY:
        return _UNARY[op.name](*args)
    if isinstance(op, kernel.CompareOp):
        return _compare(op.predicate.data, *args)
    if isinstance(op, kernel.SelectOp):
        return args[1] if args[0] else args[2]
    if op.name == "math.fma":
        return float(args[0]) * float(args[1]) + float(args[2])
    assert isinstance(op, kernel.CastOp), op.name
    return _cast(op.kind.data, op.result.type, args[0])


def _cast(kind: str, to: Attribute, x: Any) -> Any:
    if kind == "bitcast":
        return x.view(_bits_dtype(to))
    if kind == "truncf" and isinstance(to, Float16Type | BFloat16Type):
        return x.astype(dtype_of(to))
    if kind in ("fptosi", "fptoui"):
        assert isinstance(to, IntegerType)
        assert np.isfinite(x)
        width = to.width.data
        low, high = (-(2 ** (width - 1)), 2 ** (width - 1)) if kind == "fptosi" else (0, 2**width)
        assert low - 1 < x < high, "undefined outside the range"
        return int(x) - 2**width if int(x) >= 2 ** (width - 1) else int(x)
    return _CASTS[kind](x)


def _bits_dtype(kind: Attribute) -> np.dtype[Any]:
    return dtype_of(kind) if isinstance(kind, Float16Type | BFloat16Type) else kernel_dtype(kind)


def some_elements(op: TensorOp, most: int = 12) -> list[tuple[int, ...]]:
    """Up to ``most`` indices of the result, spread over it, the first and the last among them."""
    shape = [n for n in shape_of(op.results[0]) if isinstance(n, int)]
    size = int(np.prod(shape))
    picked = sorted({int(p) for p in np.linspace(0, size - 1, min(most, size))}) if size else []
    return [tuple(int(i) for i in np.unravel_index(p, shape)) for p in picked]
