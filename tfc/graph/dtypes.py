"""Element types as a graph's author names them: ``tf.float32``, ``tf.int64``, ...

    tf.float32 == np.float32        True: comparable with whatever numpy takes for a dtype
    tf.as_dtype("float32")          tf.float32
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from xdsl.ir import Attribute

from tfc.dialects.tfc.types import dtype_of, element_of
from tfc.errors import GraphError, nearest

_SHORT = {"float16": "half", "float32": "float", "float64": "double"}


class DType:
    """An element type. One object exists for each; `as_dtype` finds it."""

    __slots__ = ("_numpy", "name")

    def __init__(self, name: str, numpy: Any) -> None:
        self.name, self._numpy = name, np.dtype(numpy)

    @property
    def as_numpy_dtype(self) -> type[np.generic]:
        return self._numpy.type

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype."""
        return self._numpy

    @property
    def element(self) -> Attribute:
        """The element type in the IR."""
        return element_of(self._numpy)

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def text(self) -> str:
        """The word TensorFlow's messages use: ``float`` for float32, ``double``, ``half``."""
        return _SHORT.get(self.name, self.name)

    @property
    def size(self) -> int:
        return self._numpy.itemsize

    @property
    def is_bool(self) -> bool:
        return self.name == "bool"

    @property
    def is_floating(self) -> bool:
        return "float" in self.name

    @property
    def is_integer(self) -> bool:
        return "int" in self.name

    @property
    def is_unsigned(self) -> bool:
        return self.name.startswith("uint")

    @property
    def min(self) -> Any:
        return (ml_dtypes.finfo if self.is_floating else np.iinfo)(self._numpy).min

    @property
    def max(self) -> Any:
        return (ml_dtypes.finfo if self.is_floating else np.iinfo)(self._numpy).max

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        try:
            return other is not None and self._numpy == np.dtype(other)  # pyright: ignore # any spec
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self._numpy)

    def __repr__(self) -> str:
        return f"tf.{self.name}"


_NUMPY: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
    "bool": np.bool_,
} | {f"{u}int{w}": f"{u}int{w}" for w in (8, 16, 32, 64) for u in ("", "u")}

DTYPES = {name: DType(name, numpy) for name, numpy in _NUMPY.items()}
"""Every element type by its name."""

_BY_NUMPY = {d.numpy: d for d in DTYPES.values()}

float16, bfloat16, float32, float64 = (DTYPES[n] for n in ("float16", "bfloat16", "float32", "float64"))
int8, int16, int32, int64 = (DTYPES[f"int{w}"] for w in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DTYPES[f"uint{w}"] for w in (8, 16, 32, 64))
bool_ = DTYPES["bool"]
half, double = float16, float64


def as_dtype(spec: Any) -> DType:
    """The `DType` of a `DType`, a name, a numpy dtype or a Python type.

    Raises:
        GraphError: tfc has no such element type.
    """
    if isinstance(spec, DType):
        return spec
    if spec is float:  # as TensorFlow reads Python's types; numpy would say 64 bits
        return float32
    if spec is int:
        return int32
    if isinstance(spec, str) and spec in DTYPES:
        return DTYPES[spec]
    try:
        return _BY_NUMPY[np.dtype(spec)]
    except (TypeError, KeyError):
        help = nearest(str(spec), DTYPES) or f"the element types are {', '.join(DTYPES)}"
        raise GraphError(f"{spec!r} is no element type", help=help) from None


def of_element(element: Attribute) -> DType:
    """The `DType` of an element type of the IR."""
    return _BY_NUMPY[dtype_of(element)]
