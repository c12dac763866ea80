"""Tensor types and their extents; constants whose bytes stay out of the IR.

    tensor<?x768xf32, #tfc.dims<["batch", ""]>>     a named dim
    tfc.constant [1.0, 2.5] : tensor<2xf32>          few elements: in the text
    tfc.constant splat 0.5 : tensor<64x64xf32>       one value
    tfc.constant blob "5f3a..." : tensor<784x100xf32>   bytes in a side table, by digest

A tensor's `shape_of` is a tuple of `Dim`: integers, and expressions over named dims. A dim
that is `?` without a name is unknown (`UNKNOWN_DIM`); specialising or naming the inputs
removes those before code is generated.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import weakref
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    NoneAttr,
    Signedness,
    StringAttr,
    TensorType,
    UnrankedTensorType,
)
from xdsl.ir import Attribute, Data, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import base, irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from tfc.dims import Dim, Expr, parse
from tfc.errors import GraphError

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[Dim, ...]
AnyTensor: TypeAlias = "TensorType[Attribute] | UnrankedTensorType[Attribute]"

Tensor = base(TensorType) | base(UnrankedTensorType)
"""The constraint of an operand or result that is a tensor, ranked or not."""

UNKNOWN_DIM = parse("__unknown__")
"""The extent of a ``?`` that has no name."""

_NAMED: list[tuple[Any, Attribute]] = [
    (np.float16, Float16Type()),
    (ml_dtypes.bfloat16, BFloat16Type()),
    (np.float32, Float32Type()),
    (np.float64, Float64Type()),
    (np.bool_, IntegerType(1)),
]

ELEMENT_TYPES: dict[np.dtype[Any], Attribute] = {np.dtype(t): element for t, element in _NAMED} | {
    np.dtype(f"{'u' if unsigned else ''}int{width}"): IntegerType(
        width, Signedness.UNSIGNED if unsigned else Signedness.SIGNLESS
    )
    for width in (8, 16, 32, 64)
    for unsigned in (False, True)
}
"""Signed integers are signless in the IR, as in MLIR's own dialects; unsigned ones ``ui8``."""

_DTYPES = {element: dtype for dtype, element in ELEMENT_TYPES.items()}


def dtype_of(element: Attribute) -> np.dtype[Any]:
    """The numpy dtype of an element type."""
    return _DTYPES[element]


def element_of(dtype: Any) -> Attribute:
    """The element type of a numpy dtype.

    Raises:
        KeyError: tfc has no such element type (complex, string, object).
    """
    return ELEMENT_TYPES[np.dtype(dtype)]


def is_float(element: Attribute) -> bool:
    return isinstance(element, Float16Type | BFloat16Type | Float32Type | Float64Type)


def is_unsigned(element: Attribute) -> bool:
    return isinstance(element, IntegerType) and element.signedness.data == Signedness.UNSIGNED


def is_bool(element: Attribute) -> bool:
    return isinstance(element, IntegerType) and element.width.data == 1


@irdl_attr_definition
class DimsAttr(ParametrizedAttribute):
    """The names of a tensor's unknown extents, "" where the extent is a known integer."""

    name = "tfc.dims"
    names: ArrayAttr[StringAttr]


@irdl_attr_definition
class ControlType(ParametrizedAttribute, TypeAttribute):
    """An effect that has happened: operations that take one run after those that gave it."""

    name = "tfc.control"


@irdl_attr_definition
class ResourceType(ParametrizedAttribute, TypeAttribute):
    """A handle of a variable that holds a tensor of this type."""

    name = "tfc.resource"
    content: Attribute


@irdl_attr_definition
class ShapeAttr(Data[Shape]):
    """Extents, or positions along them, in the text of an operation: ``[2, "2*batch + 1"]``."""

    name = "tfc.shape"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Shape:
        def extent() -> Dim:
            text = parser.parse_optional_str_literal()
            return parser.parse_integer() if text is None else parse(text)

        return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, extent))

    def print_parameter(self, printer: Printer) -> None:
        def show(dim: Dim) -> None:
            printer.print_string(str(dim)) if isinstance(dim, int) else printer.print_string_literal(str(dim))

        with printer.in_square_brackets():
            printer.print_list(self.data, show)


_types: dict[tuple[Shape, Attribute], TensorType[Attribute]] = {}


def tensor_type(shape: Iterable[Dim], element: Attribute) -> TensorType[Attribute]:
    """The tensor type with these extents; expressions go to the encoding."""
    dims = tuple([d if type(d) is int or isinstance(d, Expr) else int(d) for d in shape])
    if (known := _types.get((dims, element))) is None:  # making and verifying one takes 40 us
        known = _types[dims, element] = _tensor_type(dims, element)
    return known


def _tensor_type(dims: Shape, element: Attribute) -> TensorType[Attribute]:
    sizes = [d if isinstance(d, int) else DYNAMIC_INDEX for d in dims]
    if all(isinstance(d, int) or d == UNKNOWN_DIM for d in dims):
        return TensorType(element, sizes)
    texts = [StringAttr("" if isinstance(d, int) or d == UNKNOWN_DIM else str(d)) for d in dims]
    return TensorType(element, sizes, DimsAttr(ArrayAttr(texts)))


_shapes: dict[TensorType[Attribute], Shape] = {}


def shape_of(value: SSAValue | Attribute) -> Shape:
    """The extents of a ranked tensor (of a value, or of its type)."""
    type_ = value.type if isinstance(value, SSAValue) else value
    assert isinstance(type_, TensorType), f"{type_} has no shape; the verifier excludes this"
    if isinstance(type_.encoding, NoneAttr):
        return tuple(UNKNOWN_DIM if d == DYNAMIC_INDEX else d for d in type_.get_shape())
    if (known := _shapes.get(type_)) is None:  # reading names from text takes 20 us
        assert isinstance(type_.encoding, DimsAttr)
        pairs = zip(type_.get_shape(), type_.encoding.names, strict=True)
        known = tuple(
            d if d != DYNAMIC_INDEX else parse(n.data) if n.data else UNKNOWN_DIM for d, n in pairs
        )
        _shapes[type_] = known
    return known


def element(value: SSAValue | Attribute) -> Attribute:
    """The element type of a tensor (of a value, or of its type)."""
    type_ = value.type if isinstance(value, SSAValue) else value
    assert isinstance(type_, TensorType | UnrankedTensorType), "the verifier excludes this"
    return type_.element_type


def is_ranked(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType)


def is_static(shape: Sequence[Dim]) -> bool:
    return all(isinstance(d, int) for d in shape)


def check_countable(sizes: Sequence[int], itemsize: int) -> None:
    """Refuse a tensor whose bytes 64 bits cannot count; an extent that is not known counts as 1.

    Raises:
        GraphError: it has more.
    """
    if math.prod(d for d in sizes if d != DYNAMIC_INDEX) * itemsize > _MOST_BYTES:
        raise GraphError(f"a tensor of shape {list(sizes)} has more bytes than 64 bits can count")


_MOST_BYTES = 2**63 - 1

SMALL_ENOUGH = 2**59
"""So many elements can be counted, whatever they are."""


_assumed: ContextVar[list[tuple[Dim, Dim]] | None] = ContextVar("assumed", default=None)


def compatible(x: Dim, y: Dim) -> bool:
    """Whether two extents may be equal at run time: equal, or one of them not known."""
    if x == y:
        return True
    if not isinstance(x, Expr) and not isinstance(y, Expr):
        return False
    if (found := _assumed.get()) is not None:
        found.append((x, y))
    return True


def agrees(declared: Attribute, inferred: Attribute) -> bool:
    """Whether two types may be of one value: equal, but for what is not known of a tensor's shape."""
    if declared == inferred or not isinstance(declared, TensorType | UnrankedTensorType):
        return declared == inferred
    if not isinstance(inferred, TensorType | UnrankedTensorType) or element(declared) != element(inferred):
        return False
    if isinstance(declared, UnrankedTensorType) or isinstance(inferred, UnrankedTensorType):
        return True
    x, y = shape_of(declared), shape_of(inferred)
    return len(x) == len(y) and all(compatible(a, b) for a, b in zip(x, y, strict=True))


def joined(x: Attribute, y: Attribute) -> Attribute:
    """The type of a value that is of type ``x`` or of type ``y``, which agree."""
    if x == y:
        return x
    if not isinstance(x, TensorType) or not isinstance(y, TensorType):
        return UnrankedTensorType(element(x))
    pairs = zip(shape_of(x), shape_of(y), strict=True)
    return tensor_type([a if a == b else UNKNOWN_DIM for a, b in pairs], element(x))


@contextmanager
def assumptions() -> Generator[list[tuple[Dim, Dim]], None, None]:
    """The pairs of extents that `compatible` takes to be equal inside the block, unproven."""
    found: list[tuple[Dim, Dim]] = []
    token = _assumed.set(found)
    try:
        yield found
    finally:
        _assumed.reset(token)


SMALL = 64
"""Constants below this many elements are written into the text."""

_blobs: weakref.WeakValueDictionary[str, Literal] = weakref.WeakValueDictionary()


class Literal:
    """A constant tensor. A splat is a numpy array with stride 0, so it costs no memory.

    ``key`` identifies dtype, shape and bytes; it is for texts. Hashing reads a few elements only, so
    that 400 MB of weights, of which no two are equal, are not read to find that out.
    """

    __slots__ = ("__weakref__", "_hash", "_key", "array")

    def __init__(self, array: Array) -> None:
        self.array = array
        self._key = ""
        self._hash: int | None = None

    @property
    def key(self) -> str:
        if not self._key:
            body = self._body()
            self._key = f"{self.array.dtype}{list(self.array.shape)} {body}"
            if body.startswith("blob"):
                _blobs[body[5:]] = self
                self.release()
        return self._key

    def contiguous(self) -> Array:
        """The elements in one piece. A view of other elements is replaced by its copy, and let go."""
        if self.is_splat:
            return np.ascontiguousarray(self.array)
        self.array = np.ascontiguousarray(self.array)
        return self.array

    def release(self) -> None:
        """Give back the memory of bytes that are mapped from a file; they are read again if touched.

        Weights are read once for their digest and once to be packed; between the two, and after,
        they need not stay in memory.
        """
        source: Any = self.array
        while isinstance(source, np.ndarray) and source.base is not None:
            source = source.base
        mapped = source.obj if isinstance(source, memoryview) else source
        if not isinstance(mapped, mmap.mmap) or not self.array.flags.c_contiguous:
            return
        first = self.array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE  # whole pages only
        length = (first + self.array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0 and hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED, start, length)

    def _body(self) -> str:
        array = self.array
        if self.is_splat:
            return "splat " + array.reshape(-1)[:1].tobytes().hex() if array.size else "empty"
        if array.size < SMALL:
            return array.tobytes().hex()
        contiguous = self.contiguous().reshape(-1).view(np.uint8)
        return "blob " + hashlib.blake2b(contiguous, digest_size=12).hexdigest()  # pyright: ignore

    @property
    def is_splat(self) -> bool:
        return self.array.size <= 1 or not any(
            s for s, n in zip(self.array.strides, self.array.shape, strict=True) if n > 1
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Literal) and hash(self) == hash(other) and self.key == other.key

    def __hash__(self) -> int:
        if self._hash is None:
            array = self.array
            some = array.flat[:: max(array.size // 16, 1)].tobytes()
            self._hash = hash((array.dtype.str, array.shape, self.is_splat, some))
        return self._hash

    def __repr__(self) -> str:
        return f"Literal({self.key})"


@irdl_attr_definition
class LiteralAttr(Data[Literal]):
    """The value of a constant; see the module's docstring for its text."""

    name = "tfc.literal"

    @classmethod
    def splat(cls, value: Any, dtype: Any, shape: Sequence[int] = ()) -> LiteralAttr:
        one = np.asarray(value, dtype)
        check_countable(shape, one.itemsize)
        return cls(Literal(np.broadcast_to(one, tuple(shape))))

    @classmethod
    def of(cls, array: Array) -> LiteralAttr:
        """The constant ``array``; one whose elements all have the same bits becomes a splat."""
        flat = array.reshape(-1)
        if array.size > 1 and _same_bits(flat):
            array = np.broadcast_to(flat[0], array.shape)
        return cls(Literal(array))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Literal:
        with parser.in_angle_brackets():
            text = parser.parse_str_literal()
            parser.parse_punctuation(":")
            return read_literal(parser, text, parser.parse_type())

    def print_parameter(self, printer: Printer) -> None:
        array = self.data.array
        with printer.in_angle_brackets():
            printer.print_string_literal(literal_text(self.data))
            printer.print_string(" : ")
            printer.print_attribute(tensor_type(array.shape, element_of(array.dtype)))


def _same_bits(flat: Array) -> bool:
    head = flat[: min(64, flat.size)]  # most weights differ at once: no pass over 100 MB
    bits = f"u{flat.dtype.itemsize}"
    if flat.dtype == np.bool_:
        bits = "u1"
    if flat.strides == (0,):
        return True
    if not bool(np.all(np.ascontiguousarray(head).view(bits) == np.ascontiguousarray(head[:1]).view(bits))):
        return False
    return bool(np.all(np.ascontiguousarray(flat).view(bits) == np.ascontiguousarray(flat[:1]).view(bits)))


def literal_text(literal: Literal) -> str:
    """``[1.0, nan]``, ``splat 0.5`` or ``blob 5f3a...``: what stands in the IR."""
    array = literal.array
    if literal.is_splat and array.ndim and array.size > 1:
        return f"splat {_number(array.reshape(-1)[0])}"
    if array.size < SMALL:
        return _nested(array.tolist() if array.dtype != ml_dtypes.bfloat16 else array.astype(np.float32).tolist())
    return literal.key[literal.key.index("blob") :]


def read_literal(parser: AttrParser, text: str, type_: Attribute) -> Literal:
    """The inverse of `literal_text`, for a tensor of ``type_``."""
    shape, dtype = shape_of(type_), dtype_of(element(type_))
    sizes = tuple(d for d in shape if isinstance(d, int))
    if len(sizes) != len(shape):
        parser.raise_error("a constant has a static shape")
    if text.startswith("splat "):
        return Literal(np.broadcast_to(np.asarray(_read_number(text[6:]), dtype), sizes))
    if text.startswith("blob "):
        found = _blobs.get(text[5:])
        if found is None:
            where = "they lie in the folder blobs beside a module that a tool wrote by -o FILE.mlir"
            parser.raise_error(f"no bytes are known for the constant {text}: {where}")
        return _as_type(found, sizes, dtype) or parser.raise_error(
            f"the constant {text} has {found.array.nbytes} bytes, too many or too few for {type_}"
        )
    words = text.replace("[", " ").replace("]", " ").replace(",", " ").split()
    values = np.array([_read_number(w) for w in words]).astype(dtype) if words else np.zeros(0, dtype)
    if values.size != int(np.prod(sizes)):
        parser.raise_error(f"expected {int(np.prod(sizes))} elements, got {values.size}")
    return Literal(values.reshape(sizes))


def _as_type(found: Literal, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Literal | None:
    """The bytes of ``found``; blobs are named by their bytes, and may be of several types."""
    if found.array.shape == sizes and found.array.dtype == dtype:
        return found
    if found.array.nbytes != math.prod(sizes) * dtype.itemsize:
        return None
    return Literal(found.contiguous().reshape(-1).view(dtype).reshape(sizes))


def _number(value: Any) -> str:
    item = float(value) if value.dtype == ml_dtypes.bfloat16 else value.item()
    return str(item).lower() if isinstance(item, bool) else repr(item)


def _nested(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_nested(v) for v in value) + "]"  # pyright: ignore
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _read_number(word: str) -> int | float | bool:
    if word in ("true", "false"):
        return word == "true"
    try:
        return int(word)
    except ValueError:
        return float(word)
