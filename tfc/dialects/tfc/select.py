"""Comparisons, selection, and conversions between element types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from xdsl.dialects import math
from xdsl.dialects.builtin import FixedBitwidthType, IntegerType, i1
from xdsl.dialects.utils.enum_attribute import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import irdl_attr_definition, operand_def, prop_def, result_def
from xdsl.utils.str_enum import StrEnum

from tfc.dialects import kernel
from tfc.dialects.tfc.base import Emit, Sample, flat, float_range, tfc_op
from tfc.dialects.tfc.pointwise import HALVES, SPECIALS, ElementwiseOp, UnaryOp, formula
from tfc.dialects.tfc.scalar import (
    Scalars,
    element_type,
    integer_range,
    kernel_element,
    with_element,
)
from tfc.dialects.tfc.types import Array, Tensor, dtype_of, element, is_bool, is_float, is_unsigned
from tfc.errors import require


class Predicate(StrEnum):
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"


@irdl_attr_definition
class PredicateAttr(EnumAttribute[Predicate], SpacedOpaqueSyntaxAttribute):
    """How ``tfc.compare`` compares."""

    name = "tfc.predicate"


_UFUNCS: dict[str, Any] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


@tfc_op
class CompareOp(ElementwiseOp):
    """``x <predicate> y`` as i1. NaN is not equal to anything, nor less, nor greater.

    (C1) The operands have one shape.
    (C2) The operands have one element type.

    Source: ``tf.equal``, ``tf.less`` and their like.
    """

    name = "tfc.compare"
    x = operand_def(Tensor)
    y = operand_def(Tensor)
    predicate = prop_def(PredicateAttr)
    result = result_def(Tensor)
    assembly_format = "$predicate $x `,` $y attr-dict `:` type($x) `,` type($y) `->` type($result)"

    def __init__(self, predicate: str, x: SSAValue | Operation, y: SSAValue | Operation) -> None:
        properties = {"predicate": PredicateAttr(Predicate(predicate))}
        self.construct([SSAValue.get(x), SSAValue.get(y)], properties)

    def infer(self) -> Sequence[Attribute]:
        x, y = element(self.x), element(self.y)
        require(x == y, self, "C2", f"one element type, {x}", y)
        return super().infer()

    def infer_elements(self) -> Sequence[Attribute]:
        return [i1]

    def reference(self, *args: Array) -> Array:
        return np.asarray(_UFUNCS[self.predicate.data](*args))

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        predicate, kind = str(self.predicate.data), element(self.x)
        if is_float(kind):
            return emit(kernel.CompareOp("une" if predicate == "ne" else "o" + predicate, *args))
        if predicate not in ("eq", "ne"):
            predicate = ("u" if is_unsigned(kind) or is_bool(kind) else "s") + predicate
        return emit(kernel.CompareOp(predicate, *args))

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, y = (a.ravel() for a in np.meshgrid(SPECIALS, SPECIALS))
        i, u = np.array([-1, 0, 127, -128], np.int8), np.array([0, 1, 255, 128], np.uint8)
        b = np.array([True, False, True, False])
        h = float_range(3, 2, dtype=np.float16)
        pairs = [(x, y), (i, i[::-1].copy()), (u, u[::-1].copy()), (b, b[::-1].copy()), (h, h[::-1].copy())]

        def make(p: str) -> Any:
            return lambda x, y: cls(p, x, y)

        return [Sample(make(p.value), *pair) for p in Predicate for pair in pairs]


@tfc_op
class SelectOp(ElementwiseOp):
    """``x`` where ``condition`` holds, else ``y``.

    (C1) The operands have one shape.
    (C2) ``condition`` is i1; ``x`` and ``y`` have one element type.

    Source: ``tf.where``.
    """

    name = "tfc.select"
    condition = operand_def(Tensor)
    x = operand_def(Tensor)
    y = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = (
        "$condition `,` $x `,` $y attr-dict `:` type($condition) `,` type($x) `,` type($y) `->` type($result)"
    )

    def __init__(
        self, condition: SSAValue | Operation, x: SSAValue | Operation, y: SSAValue | Operation
    ) -> None:
        self.construct([SSAValue.get(v) for v in (condition, x, y)])

    def infer(self) -> Sequence[Attribute]:
        c, x, y = (element(v) for v in self.operands)
        require(c == i1 and x == y, self, "C2", f"a condition of i1 and elements of {x}", f"{c} and {y}")
        return super().infer()

    def infer_elements(self) -> Sequence[Attribute]:
        return [element(self.x)]

    def reference(self, *args: Array) -> Array:
        return np.where(*args)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return emit(kernel.SelectOp(*args))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        f = formula(emit)
        return [None, f.select(self.condition, g[0], 0.0), f.select(self.condition, 0.0, g[0])]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        c = np.arange(15).reshape(3, 5) % 3 == 0
        x = float_range(3, 5)
        kinds = [np.float32, *HALVES, np.int64, np.uint8, np.bool_]
        return [Sample(cls, c, (x * 3).astype(t), (x - 1).astype(t)) for t in kinds]


@tfc_op
class CastOp(ElementwiseOp):
    """Each element in another element type.

    Float to integer drops the fraction, saturates, and maps NaN to 0; to bool, everything but
    0 is true; integers wrap around; f64 and wide integers reach f16 and bf16 through f32.

    Source: ``tf.cast``.
    """

    name = "tfc.cast"
    x = operand_def(Tensor)
    to = prop_def()
    result = result_def(Tensor)
    assembly_format = "$x `to` $to attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, element: Attribute) -> None:
        self.construct([SSAValue.get(x)], {"to": element})

    def infer_elements(self) -> Sequence[Attribute]:
        return [self.to]

    def reference(self, *args: Array) -> Array:
        x, target = args[0], dtype_of(self.to)
        with np.errstate(all="ignore"):
            if x.dtype in HALVES or (target in HALVES and x.dtype != np.bool_):
                x = x.astype(np.float32)
            if is_float(element(self.x)) and isinstance(self.to, IntegerType) and not is_bool(self.to):
                return _saturated(x, self.to)
            return x.astype(target)

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return Scalars(emit).convert(args[0], element(self.x), self.to)

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        return [emit(CastOp(g[0], element(self.x)))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        floats = np.array([0.0, -0.0, 0.5, -0.7, 2.5, -3.99, 100.0, 1e10, -1e10, 3e38, np.inf, -np.inf, np.nan])
        wholes = np.array([0, 1, -1, 127, -128, 300, 65535, 2**31 - 1, -(2**40)])
        names = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
        kinds = [np.dtype(n) for n in names] + [np.dtype(ml_dtypes.bfloat16)]
        out: list[Sample] = []
        with np.errstate(all="ignore"):
            for source in kinds:
                x = (floats if source.kind == "f" or source in HALVES else wholes).astype(source)
                out += [Sample(_cast_to(target), x) for target in kinds]
        return out


def _cast_to(target: np.dtype[Any]) -> Any:
    from tfc.dialects.tfc.types import element_of

    return lambda x: CastOp(x, element_of(target))


def _saturated(x: Array, to: IntegerType) -> Array:
    low, high = integer_range(to)
    inside = (x >= low) & (x < float(high + 1))
    bound = np.where(x >= float(high + 1), np.array(high, dtype_of(to)), np.array(low, dtype_of(to)))
    bound = np.where(np.isnan(x), np.array(0, dtype_of(to)), bound)
    return np.where(inside, np.where(inside, x, 0).astype(dtype_of(to)), bound)


@tfc_op
class BitcastOp(ElementwiseOp):
    """The same bits read as another element type.

    (C2) Both element types have one width.

    Source: ``tf.bitcast``.
    """

    name = "tfc.bitcast"
    x = operand_def(Tensor)
    to = prop_def()
    result = result_def(Tensor)
    assembly_format = "$x `to` $to attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue | Operation, element: Attribute) -> None:
        self.construct([SSAValue.get(x)], {"to": element})

    def infer(self) -> Sequence[Attribute]:
        old, new = element(self.x), self.to
        assert isinstance(old, FixedBitwidthType), "every element type has a width"
        assert isinstance(new, FixedBitwidthType), "every element type has a width"
        require(old.bitwidth == new.bitwidth, self, "C2", f"{old.bitwidth} bits", f"{new}, {new.bitwidth} bits")
        return super().infer()

    def infer_elements(self) -> Sequence[Attribute]:
        return [self.to]

    def reference(self, *args: Array) -> Array:
        return np.ascontiguousarray(args[0]).reshape(args[0].shape).view(dtype_of(self.to))

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        x, old, new = args[0], element(self.x), self.to
        if old == new:
            return x
        if is_float(old) and kernel_element(old) != old:  # f16 and bf16 arrive as f32
            x = emit(kernel.CastOp("truncf", x, with_element(x, old)))
        stored = new if is_float(new) else kernel_element(new)
        if element_type(x) != stored:
            x = emit(kernel.CastOp("bitcast", x, with_element(x, stored)))
        if is_float(new) and kernel_element(new) != new:
            x = emit(kernel.CastOp("extf", x, with_element(x, kernel_element(new))))
        return x

    grad = flat

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        from tfc.dialects.tfc.types import element_of

        pairs = [("float32", "int32"), ("int32", "float32"), ("float64", "uint64"), ("uint8", "int8"),
                 ("float16", "int16"), ("uint16", "float16"), ("float32", "float32")]  # fmt: skip
        x = np.array([0.0, 1.0, 2.0, 100.0])

        def make(target: str) -> Any:
            return lambda x: cls(x, element_of(target))

        return [Sample(make(target), x.astype(source)) for source, target in pairs]


class ClassifyOp(UnaryOp):
    """A property of a float as i1."""

    def infer_elements(self) -> Sequence[Attribute]:
        return [i1]

    def reference(self, *args: Array) -> Array:
        return np.asarray(type(self).UFUNC(args[0]))

    grad = flat


@tfc_op
class IsNanOp(ClassifyOp):
    """Whether each element is NaN. Source: ``tf.math.is_nan``."""

    name = "tfc.is_nan"
    UFUNC: ClassVar = np.isnan

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return Scalars(emit).compare("uno", args[0], args[0])


@tfc_op
class IsInfOp(ClassifyOp):
    """Whether each element is infinite. Source: ``tf.math.is_inf``."""

    name = "tfc.is_inf"
    UFUNC: ClassVar = np.isinf

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return Scalars(emit).compare("oeq", emit(math.AbsFOp(args[0])), float("inf"))


@tfc_op
class IsFiniteOp(ClassifyOp):
    """Whether each element is neither NaN nor infinite. Source: ``tf.math.is_finite``."""

    name = "tfc.is_finite"
    UFUNC: ClassVar = np.isfinite

    def scalar(self, emit: Emit, *args: SSAValue) -> SSAValue:
        return Scalars(emit).compare("olt", emit(math.AbsFOp(args[0])), float("inf"))
