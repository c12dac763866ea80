"""Values that need no operand.

    tfc.constant [1.0, 2.5] : tensor<2xf32>             few elements
    tfc.constant splat 0.5 : tensor<64x64xf32>          one value in all of them
    tfc.constant blob "5f3a..." : tensor<784x100xf32>   bytes in a side table
    tfc.iota [2, "batch"] along 1 : tensor<2x?xi64, #tfc.dims<["", "batch"]>>
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import prop_def, result_def
from xdsl.parser import Parser
from xdsl.printer import Printer

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, tfc_op
from tfc.dialects.tfc.types import (
    Array,
    Literal,
    LiteralAttr,
    ShapeAttr,
    Tensor,
    dtype_of,
    element,
    element_of,
    is_bool,
    is_static,
    literal_text,
    read_literal,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require

UNREAD = "tfc.unread"
"""The attribute of a constant that no run reads: what stands there instead does not matter."""


@tfc_op
class ConstantOp(TensorOp):
    """A tensor known when the program is compiled.

    (C1) The type is static and that of the value.

    As a primitive only a splat: other constants are data, which kernels read as operands.

    Source: ``tf.constant``.
    """

    name = "tfc.constant"
    value = prop_def(LiteralAttr)
    result = result_def(Tensor)

    def __init__(self, value: Array | LiteralAttr | float | int | bool) -> None:
        attr = value if isinstance(value, LiteralAttr) else LiteralAttr.of(np.asarray(value))
        self.construct([], {"value": attr})

    def infer(self) -> Sequence[Attribute]:
        array = self.value.data.array
        return [tensor_type(array.shape, element_of(array.dtype))]

    def infer_elements(self) -> Sequence[Attribute]:
        return [element_of(self.value.data.array.dtype)]

    def verify_(self) -> None:
        inferred = self.infer()[0]
        require(self.result.type == inferred, self, "C1", inferred, self.result.type)

    def reference(self, *args: Array) -> Array:
        return self.value.data.array

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        array = self.value.data.array
        assert self.value.data.is_splat, "the generator passes other constants as operands"
        some = array.reshape(-1)[0] if array.size else array.dtype.type(0)  # of an empty one none is read
        return at.constant(python_scalar(some), element(self.result))

    @classmethod
    def parse(cls, parser: Parser) -> ConstantOp:
        text = _parse_text(parser)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        op = cls(LiteralAttr(read_literal(parser, text, parser.parse_type())))
        op.attributes.update(attributes)
        return op

    def print(self, printer: Printer) -> None:
        text = literal_text(self.value.data)
        printer.print_string(" ")
        if text.startswith("blob "):
            text = f'blob "{text[5:]}"'
        printer.print_string(text)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        values: list[Any] = [
            np.array([[1.0, -np.inf, np.nan]], np.float32), np.array(2.5, np.float64),
            np.array([True, False]), np.array([-1, 2**62], np.int64), np.array([2**64 - 1], np.uint64),
            np.zeros((0, 3), np.float32), np.arange(100, dtype=np.float16), np.full((8, 9), 0.1, np.float32),
            np.full((2, 2), -np.inf, element_dtype("bfloat16")),
        ]  # fmt: skip
        return [Sample(_constant(v)) for v in values]


def element_dtype(name: str) -> np.dtype[Any]:
    """The dtype called ``name``, ``bfloat16`` included."""
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def _constant(value: Array) -> Callable[[], ConstantOp]:
    return lambda: ConstantOp(value)


def python_scalar(value: Any) -> float | int | bool:
    """A numpy scalar of any element type as a Python number."""
    return value.item() if isinstance(value.item(), int | float | bool) else float(value)


def scalar_constant(value: float | int | bool, kind: Attribute) -> ConstantOp:
    """A tensor of rank 0."""
    return ConstantOp(LiteralAttr(Literal(np.array(value).astype(dtype_of(kind)))))


def splat_like(emit: Emit, x: SSAValue, value: float | int | bool, kind: Attribute | None = None) -> SSAValue:
    """A tensor of the shape of ``x`` with ``value`` everywhere, of its element type unless given."""
    return splat(emit, shape_of(x), value, kind or element(x))


def splat(emit: Emit, shape: Sequence[Dim], value: float | int | bool, kind: Attribute) -> SSAValue:
    """A tensor of ``shape`` with ``value`` everywhere."""
    if is_static(shape):
        sizes = [int(d) for d in shape if isinstance(d, int)]
        return emit(ConstantOp(LiteralAttr.splat(value, dtype_of(kind), sizes)))
    from tfc.dialects.tfc.shape import BroadcastOp

    return emit(BroadcastOp(emit(scalar_constant(value, kind)), shape, []))


@tfc_op
class IotaOp(TensorOp):
    """Each element is its index along ``axis``.

    (C1) ``axis`` is one of the result's dims.
    (C2) The element type is a number.

    Source: ``tf.range``.
    """

    name = "tfc.iota"
    shape = prop_def(ShapeAttr)
    axis = prop_def(IntegerAttr.constr(i64))
    element = prop_def()
    result = result_def(Tensor)
    assembly_format = "$shape `along` $axis `of` $element attr-dict `:` type($result)"

    def __init__(self, shape: Sequence[Dim], element: Attribute, axis: int) -> None:
        properties = {"shape": ShapeAttr(tuple(shape)), "axis": IntegerAttr(axis, i64), "element": element}
        self.construct([], properties)

    def infer(self) -> Sequence[Attribute]:
        rank = len(self.shape.data)
        require(0 <= self.axis.value.data < rank, self, "C1", f"an axis below {rank}", self.axis.value.data)
        require(not is_bool(self.element), self, "C2", "an element type of numbers", self.element)
        return [tensor_type(self.shape.data, self.element)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [self.element]

    def reference(self, *args: Array) -> Array:
        sizes = [int(d) for d in self.shape.data if isinstance(d, int)]
        assert len(sizes) == len(self.shape.data), "an interpreter has put numbers for names"
        column = [1] * len(sizes)
        axis = self.axis.value.data
        column[axis] = sizes[axis]
        return np.broadcast_to(np.arange(sizes[axis]).reshape(column).astype(dtype_of(self.element)), sizes)

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        return at.value(index[self.axis.value.data], self.element)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        names = [("int64", 0), ("int32", 1), ("float32", 2), ("uint8", 1), ("float16", 2)]
        return [Sample(_iota(n, a)) for n, a in names] + [Sample(lambda: IotaOp([0], i64, 0))]


def _iota(name: str, axis: int) -> Callable[[], IotaOp]:
    return lambda: IotaOp([3, 4, 5], element_of(np.dtype(name)), axis)


_WORDS = ("splat", "blob")


def _parse_text(parser: Parser) -> str:
    """The value of a constant, back in the form of `literal_text`."""
    for word in _WORDS:
        if parser.parse_optional_keyword(word):
            body = parser.parse_str_literal() if word == "blob" else _parse_nested(parser)
            return f"{word} {body}"
    return _parse_nested(parser)


def _parse_nested(parser: Parser) -> str:
    nested = parser.parse_optional_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: _parse_nested(parser)
    )
    if nested is not None:
        return "[" + ", ".join(nested) + "]"
    for word in ("true", "false", "nan", "inf"):
        if parser.parse_optional_keyword(word):
            return word
    if parser.parse_optional_punctuation("-"):  # pyright: ignore # "-inf"; numbers bring their sign
        return "-" + _parse_nested(parser)
    return repr(parser.parse_number())
