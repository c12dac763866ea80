"""Arithmetic on elements: what `value_at` and `scalar` write, for scalars and vectors alike.

    s = Scalars(emit)
    s.select(s.compare("slt", x, s.constant_like(x, 0)), s.sub(zero, x), x)

A value is a scalar or a vector of a kernel type: signless integers, f32 and f64 (f16 and bf16
are computed in f32).
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    VectorType,
    f32,
)
from xdsl.ir import Attribute, SSAValue

from tfc.dialects import kernel
from tfc.dialects.tfc.base import Emit
from tfc.dialects.tfc.types import is_bool, is_float, is_unsigned


def kernel_element(element: Attribute) -> Attribute:
    """The type in which elements of a tensor are computed."""
    if isinstance(element, Float16Type | BFloat16Type):
        return f32
    return IntegerType(element.width.data) if isinstance(element, IntegerType) else element


def element_type(x: SSAValue) -> Attribute:
    """The kernel type of one lane of ``x``."""
    return x.type.element_type if isinstance(x.type, VectorType) else x.type


def with_element(x: SSAValue, element: Attribute) -> Attribute:
    """The type of ``x`` with lanes of another kernel type."""
    return VectorType(element, x.type.get_shape()) if isinstance(x.type, VectorType) else element


def constant_like(emit: Emit, x: SSAValue, value: float | int) -> SSAValue:
    """A constant of the type of ``x``, scalar or vector, in kernel types."""
    kind = element_type(x)
    if isinstance(kind, IntegerType):
        value = _wrapped(int(value), kind.width.data)
    if isinstance(x.type, VectorType):
        return emit(arith.ConstantOp(DenseIntOrFPElementsAttr.from_list(x.type, [value])))
    if isinstance(kind, IntegerType):
        return emit(arith.ConstantOp(IntegerAttr(int(value), kind)))
    return emit(arith.ConstantOp(FloatAttr(float(value), kind)))  # pyright: ignore # a float type


def zero_like(emit: Emit, x: SSAValue) -> SSAValue:
    return constant_like(emit, x, 0)


def _wrapped(value: int, width: int) -> int:
    """``value`` in the range of a signed integer of ``width`` bits (``i1``: 0 or 1)."""
    value &= (1 << width) - 1
    return value - (1 << width) if width > 1 and value >> (width - 1) else value


class Scalars:
    """Arithmetic through ``emit``; each method is one operation or a short formula."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit

    def constant_like(self, x: SSAValue, value: float | int) -> SSAValue:
        return constant_like(self.emit, x, value)

    def binary(self, name: str, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        """``arith.<name>f`` or ``arith.<name>i``; a Python number becomes a constant."""
        y = y if isinstance(y, SSAValue) else self.constant_like(x, y)
        op: Any = _BINARY[name][0 if is_float(element_type(x)) else 1]
        return self.emit(op(x, y))

    def add(self, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        return self.binary("add", x, y)

    def sub(self, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        return self.binary("sub", x, y)

    def mul(self, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        return self.binary("mul", x, y)

    def div(self, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        return self.binary("div", x, y)

    def bit_and(self, x: SSAValue, y: SSAValue | int) -> SSAValue:
        return self.binary("and", x, y)

    def bit_or(self, x: SSAValue, y: SSAValue | int) -> SSAValue:
        return self.binary("or", x, y)

    def bit_xor(self, x: SSAValue, y: SSAValue | int) -> SSAValue:
        return self.binary("xor", x, y)

    def minimum(self, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        return self.binary("min", x, y)

    def maximum(self, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        return self.binary("max", x, y)

    def neg(self, x: SSAValue) -> SSAValue:
        if is_float(element_type(x)):
            return self.emit(arith.NegfOp(x))
        return self.sub(zero_like(self.emit, x), x)

    def floor(self, x: SSAValue) -> SSAValue:
        return self.emit(math.FloorOp(x))

    def truncate(self, x: SSAValue) -> SSAValue:
        return self.emit(math.TruncOp(x))

    def exp(self, x: SSAValue) -> SSAValue:
        return self.emit(math.ExpOp(x))

    def compare(self, predicate: str, x: SSAValue, y: SSAValue | float | int) -> SSAValue:
        """``predicate`` as in arith: ``olt``, ``une`` for floats, ``slt``, ``ult`` for integers."""
        y = y if isinstance(y, SSAValue) else self.constant_like(x, y)
        return self.emit(kernel.CompareOp(predicate, x, y))

    def select(
        self, condition: SSAValue, x: SSAValue | float | int, y: SSAValue | float | int
    ) -> SSAValue:
        """``x`` where the condition holds, else ``y``; one of the two may be a Python number."""
        if not isinstance(x, SSAValue):
            assert isinstance(y, SSAValue), "one of the two is a value"
            x = self.constant_like(y, x)
        y = y if isinstance(y, SSAValue) else self.constant_like(x, y)
        return self.emit(kernel.SelectOp(condition, x, y))

    def polynomial(self, x: SSAValue, coefficients: list[float]) -> SSAValue:
        """``c[0] + c[1]*x + c[2]*x*x + ...`` by Horner's rule."""
        *rest, last = coefficients
        result = self.constant_like(x, last)
        for c in reversed(rest):
            result = self.add(self.mul(result, x), c)
        return result

    def convert(self, x: SSAValue, source: Attribute, target: Attribute) -> SSAValue:
        """Between tensor element types; float to integer saturates and maps NaN to 0."""
        if is_bool(target) and not is_bool(source):
            return self.compare("une" if is_float(source) else "ne", x, 0)
        if is_float(source):
            return self._from_float(x, target)
        unsigned = is_unsigned(source) or is_bool(source)
        to = with_element(x, kernel_element(target))
        if is_float(target):
            return self.emit(kernel.CastOp("uitofp" if unsigned else "sitofp", x, to))
        return self.resize(x, kernel_element(target), unsigned=unsigned)

    def resize(self, x: SSAValue, target: Attribute, *, unsigned: bool) -> SSAValue:
        """An integer in another width: cut off, or extended by zeros or by its sign."""
        old, new = element_type(x), target
        assert isinstance(old, IntegerType), "integers only"
        assert isinstance(new, IntegerType), "integers only"
        to = with_element(x, new)
        if old.width.data == new.width.data:
            return x
        if old.width.data > new.width.data:
            return self.emit(kernel.CastOp("trunci", x, to))
        return self.emit(kernel.CastOp("extui" if unsigned else "extsi", x, to))

    def _from_float(self, x: SSAValue, target: Attribute) -> SSAValue:
        computed = kernel_element(target)
        to: Any = with_element(x, computed)
        if is_float(target):
            old = element_type(x)
            if old == computed:
                return x
            return self.emit(kernel.CastOp("truncf" if computed == f32 else "extf", x, to))
        assert isinstance(target, IntegerType), "element types are floats and integers"
        low, high = integer_range(target)
        fits = self.bit_and(
            self.compare("oge", x, float(low)), self.compare("olt", x, float(high + 1))
        )
        # Outside its range the conversion is undefined: convert 0 there, and put the bound after.
        safe = self.select(fits, x, 0.0)
        result = self.emit(kernel.CastOp("fptoui" if low == 0 else "fptosi", safe, to))
        bound = self.select(self.compare("olt", x, 0.0), low, self.constant_like(result, high))
        is_nan = self.compare("uno", x, x)
        return self.select(fits, result, self.select(is_nan, 0, bound))


def integer_range(element: IntegerType) -> tuple[int, int]:
    """The least and the largest value of an integer element type."""
    width = element.width.data
    if is_unsigned(element) or is_bool(element):
        return 0, (1 << width) - 1
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


_BINARY: dict[str, tuple[Any, Any]] = {
    "add": (arith.AddfOp, arith.AddiOp),
    "sub": (arith.SubfOp, arith.SubiOp),
    "mul": (arith.MulfOp, arith.MuliOp),
    "div": (arith.DivfOp, arith.DivSIOp),
    "udiv": (None, arith.DivUIOp),
    "rem": (None, arith.RemSIOp),
    "urem": (None, arith.RemUIOp),
    "min": (arith.MinimumfOp, arith.MinSIOp),
    "max": (arith.MaximumfOp, arith.MaxSIOp),
    "umin": (None, arith.MinUIOp),
    "umax": (None, arith.MaxUIOp),
    "and": (None, arith.AndIOp),
    "or": (None, arith.OrIOp),
    "xor": (None, arith.XOrIOp),
    "shl": (None, arith.ShLIOp),
    "lshr": (None, arith.ShRUIOp),
    "ashr": (None, arith.ShRSIOp),
}
