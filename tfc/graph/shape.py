"""Shapes as a graph's author sees them: sizes, ``None`` where unknown, names where named.

    tf.placeholder(tf.float32, [None, 784]).shape        (?, 784)
    tf.placeholder(tf.float32, ["batch", 784]).shape     (batch, 784)

In the IR every unknown extent of a graph has a symbol of its own, so that two tensors made
from one input are known to agree; those symbols begin with ``_`` and are shown as ``?``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from xdsl.dialects.builtin import UnrankedTensorType
from xdsl.ir import Attribute

from tfc.dialects.tfc.types import UNKNOWN_DIM, shape_of
from tfc.dims import Dim, Expr, names, parse
from tfc.errors import GraphError


class TensorShape:
    """The extents of a tensor, of which some or all may be unknown.

    Args:
        dims: integers, names, None for an unknown extent; None for an unknown rank.
    """

    def __init__(self, dims: Any = None) -> None:
        if isinstance(dims, TensorShape):
            self._dims = dims._dims
            return
        if dims is not None and not isinstance(dims, Sequence):
            dims = [dims] if isinstance(dims, int) or not hasattr(dims, "__iter__") else list(dims)
        if isinstance(dims, str):
            dims = [dims]
        self._dims: tuple[Dim | None, ...] | None = None if dims is None else tuple(map(_read, dims))

    @classmethod
    def of(cls, type_: Attribute) -> TensorShape:
        """The shape of a tensor type of the IR."""
        return cls(None) if isinstance(type_, UnrankedTensorType) else cls(shape_of(type_))

    @property
    def dims(self) -> tuple[Dim | None, ...] | None:
        """The extents: integers, named dims, None; or None where the rank is unknown."""
        return self._dims

    @property
    def ndims(self) -> int | None:
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """Sizes, None where an extent is not a number.

        Raises:
            ValueError: the rank is unknown.
        """
        if self._dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape")
        return [d if isinstance(d, int) else None for d in self._dims]

    def is_fully_defined(self) -> bool:
        return self._dims is not None and all(isinstance(d, int) for d in self._dims)

    def num_elements(self) -> int | None:
        """The number of elements, None where it is unknown."""
        if self._dims is None or not self.is_fully_defined():
            return None
        size = 1
        for d in self.as_list():
            size *= d or 0
        return size

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor may have this shape and the other."""
        mine, theirs = self._dims, TensorShape(other)._dims
        if mine is None or theirs is None:
            return True
        pairs = zip(mine, theirs, strict=False)
        return len(mine) == len(theirs) and all(
            x == y or not (isinstance(x, int) and isinstance(y, int)) for x, y in pairs
        )

    def merge_with(self, other: Any) -> TensorShape:
        """The shape of a tensor that has both.

        Raises:
            GraphError: no tensor has.
        """
        other = TensorShape(other)
        if not self.is_compatible_with(other):
            raise GraphError(f"shapes {self} and {other} are not compatible")
        if self._dims is None or other._dims is None:
            return other if self._dims is None else self
        return TensorShape([_sharper(x, y) for x, y in zip(self._dims, other._dims, strict=True)])

    def __iter__(self) -> Iterator[int | None]:
        return iter(self.as_list())

    def __len__(self) -> int:
        return len(self.as_list())

    def __getitem__(self, key: Any) -> Any:
        if self._dims is None:
            return TensorShape(None) if isinstance(key, slice) else None
        return TensorShape(self._dims[key]) if isinstance(key, slice) else self.as_list()[key]

    def __bool__(self) -> bool:
        return self._dims is not None

    def __eq__(self, other: object) -> bool:
        try:
            return self._shown() == TensorShape(other)._shown()
        except (GraphError, TypeError):
            return False

    def __hash__(self) -> int:
        return hash(self._shown())

    def _shown(self) -> tuple[Dim | None, ...] | None:
        if self._dims is None:
            return None
        return tuple(None if isinstance(d, Expr) and is_anonymous(d) else d for d in self._dims)

    def __str__(self) -> str:
        shown = self._shown()
        if shown is None:
            return "<unknown>"
        texts = ["?" if d is None else str(d) for d in shown]
        return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"

    def __repr__(self) -> str:
        return f"TensorShape({'None' if self._dims is None else str(self)})"


def is_anonymous(dim: Dim) -> bool:
    """Whether the extent has no name that an author gave."""
    return any(n.startswith("_") for n in names(dim))


def as_dim(size: int | str | Expr | None, fresh: Expr) -> Dim:
    """An author's extent as one of the IR: ``fresh`` where it is unknown."""
    return fresh if size is None else parse(size) if isinstance(size, str) else size


def _read(size: Any) -> Dim | None:
    if size is None or size == UNKNOWN_DIM:
        return None
    if isinstance(size, Expr):
        return size
    if isinstance(size, str):
        try:
            return parse(size)
        except ValueError as error:
            raise GraphError(f"{size!r} is no extent: give a number, a name or None") from error
    try:
        value = size.__index__()
    except AttributeError:
        raise GraphError(f"{size!r} is no extent: give a number, a name or None") from None
    if value == -1:
        return None
    if value < 0:
        raise GraphError(f"an extent is not negative, got {value}")
    return value


def _sharper(x: Dim | None, y: Dim | None) -> Dim | None:
    """Of two extents that agree, the one that says more."""
    if x is None or isinstance(y, int):
        return y
    return x
