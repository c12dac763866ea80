"""Values with operators, for writing formulas as LLVM IR.

    def square_plus_one(x: Number) -> Number:
        return x * x + 1.0

Python numbers become constants of the other operand's type. Each operator writes one
instruction; `Number.fma` is a fused multiply-add where the target has one, and a product and a sum
elsewhere, so a formula may not count on either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfc.codegen.cpu.ir import Code, Kind, literal


@dataclass(frozen=True, slots=True)
class Number:
    """An LLVM value: scalar or vector."""

    code: Code
    kind: Kind
    text: str

    def new(self, text: str, kind: Kind | None = None) -> Number:
        return Number(self.code, kind or self.kind, text)

    def constant(self, value: float | int, element: str = "") -> Number:
        """A constant in every lane."""
        kind = self.kind.of(element or self.kind.element)
        return self.new(literal(kind, value), kind)

    def _lift(self, other: Number | float | int) -> str:
        return other.text if isinstance(other, Number) else literal(self.kind, other)

    def _binary(self, name: str, other: Number | float | int) -> Number:
        return self.new(self.code.op(f"{name} {self.kind.text} {self.text}, {self._lift(other)}"))

    def _arithmetic(self, name: str, other: Number | float | int) -> Number:
        return self._binary(f"f{name}" if self.kind.is_float else name, other)

    def __add__(self, other: Number | float) -> Number:
        return self._arithmetic("add", other)

    def __sub__(self, other: Number | float) -> Number:
        return self._arithmetic("sub", other)

    def __mul__(self, other: Number | float) -> Number:
        return self._arithmetic("mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> Number:
        return self.constant(other) - self

    def __truediv__(self, other: Number | float) -> Number:
        return self._binary("fdiv", other)

    def __rtruediv__(self, other: float) -> Number:
        return self.constant(other) / self

    def __neg__(self) -> Number:
        return self.new(self.code.op(f"fneg {self.kind.text} {self.text}"))

    def __abs__(self) -> Number:
        return self.new(self.code.intrinsic("fabs", self.kind, [self.text]))

    def __and__(self, other: Number | int) -> Number:
        return self._binary("and", other)

    def __or__(self, other: Number | int) -> Number:
        return self._binary("or", other)

    def __xor__(self, other: Number | int) -> Number:
        return self._binary("xor", other)

    def __lshift__(self, other: Number | int) -> Number:
        return self._binary("shl", other)

    def __rshift__(self, other: Number | int) -> Number:
        """Of integers, keeping the sign."""
        return self._binary("ashr", other)

    def unsigned_shift_right(self, by: int) -> Number:
        return self._binary("lshr", by)

    def negated(self) -> Number:
        """The opposite of a truth."""
        return self._binary("xor", True)

    def fma(self, y: Number | float, z: Number | float) -> Number:
        """``self*y + z``."""
        operands = [self.text, self._lift(y), self._lift(z)]
        return self.new(self.code.intrinsic("fmuladd", self.kind, operands))

    def polynomial(self, coefficients: Sequence[float]) -> Number:
        """``c[0] + c[1]*x + c[2]*x*x + ...`` by Horner's rule."""
        *rest, last = coefficients
        result = self.constant(last)
        for coefficient in reversed(rest):
            result = result.fma(self, coefficient)
        return result

    def compare(self, predicate: str, other: Number | float | int) -> Number:
        """Truths; ``predicate`` as LLVM spells it (``olt``, ``slt``)."""
        name = "fcmp" if self.kind.is_float else "icmp"
        text = self.code.op(f"{name} {predicate} {self.kind.text} {self.text}, {self._lift(other)}")
        return self.new(text, self.kind.truth)

    def where(self, yes: Number | float | int, no: Number | float | int) -> Number:
        """``yes`` where this truth holds, else ``no``."""
        given = yes if isinstance(yes, Number) else no
        assert isinstance(given, Number), "one of the two tells the type"
        texts = [given._lift(yes), given._lift(no)]
        return given.new(self.code.select(self.text, given.kind, *texts))

    def at_most(self, bound: float) -> Number:
        """The smaller one; NaN stays NaN."""
        return self.compare("ogt", bound).where(self.constant(bound), self)

    def at_least(self, bound: float) -> Number:
        """The larger one; NaN stays NaN."""
        return self.compare("olt", bound).where(self.constant(bound), self)

    def is_nan(self) -> Number:
        return self.compare("uno", self)

    @property
    def bits(self) -> Number:
        """The same bits as an integer."""
        return self.new(self.code.bitcast(self.kind, self.text, self.kind.bits), self.kind.bits)

    def as_float(self) -> Number:
        """The bits of an integer as a float of its width."""
        kind = self.kind.of("float" if self.kind.width == 32 else "double")
        return self.new(self.code.bitcast(self.kind, self.text, kind), kind)

    def cast(self, name: str, element: str) -> Number:
        """LLVM's conversion ``name``."""
        kind = self.kind.of(element)
        return self.new(self.code.cast(name, self.kind, self.text, kind), kind)

    def widen(self) -> Number:
        return self.cast("fpext", "double")

    def narrow(self) -> Number:
        return self.cast("fptrunc", "float")

    def with_sign_of(self, other: Number) -> Number:
        """This magnitude and the sign of ``other``."""
        return self.new(self.code.intrinsic("copysign", self.kind, [self.text, other.text]))

    def with_sign_of_zero(self, other: Number) -> Number:
        """Where this is 0, with the sign of ``other``."""
        return self.compare("oeq", 0.0).where(self.with_sign_of(other), self)

    def sqrt(self) -> Number:
        return self.new(self.code.intrinsic("sqrt", self.kind, [self.text]))
