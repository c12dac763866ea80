"""How a graph's nodes become operations of the ``tfc`` dialect.

A *rule* emits one kind of node:

    @rule("Square")
    def square(emit: Emitter, x: SSAValue) -> SSAValue:
        return emit(SquareOp(x))

The graph runs it twice: when the node is made, on what is known of the shapes then, so that a
mistake is reported at the user's own line; and when a signature is compiled, on the shapes
that are fed. Rules therefore hold every decision that depends on a shape (numpy's
broadcasting, SAME padding, negative axes), and a node keeps nothing but its inputs and
attributes, which are those of TensorFlow's node of that name.

A rule that needs a rank or a value which only a feed will tell raises `Deferred`: the node's
results then have an unknown shape until the signature is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from xdsl.dialects.builtin import LocationAttr, UnrankedTensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.shape import BroadcastOp
from tfc.dialects.tfc.symbolic import contents
from tfc.dialects.tfc.types import (
    UNKNOWN_DIM,
    LiteralAttr,
    ResourceType,
    Shape,
    dtype_of,
    element,
    shape_of,
)
from tfc.dims import Dim, Expr, maximum, names
from tfc.errors import GraphError

Results: TypeAlias = "SSAValue | Sequence[SSAValue] | None"
Attributes: TypeAlias = dict[str, Any]
Elements: TypeAlias = Callable[..., Sequence[Attribute]]
RULES: dict[str, Rule] = {}
"""Every kind of node by its name."""


class Deferred(Exception):
    """What the rule needs is only known when values are fed.

    Args:
        needed: what that is, in words.
        types: the results' types as far as they are known; unknown shapes where left out.
    """

    def __init__(self, needed: str, types: Sequence[Attribute] = ()) -> None:
        self.needed, self.types = needed, types
        super().__init__(needed)


@dataclass(frozen=True)
class Rule:
    """How one kind of node is emitted, and its results' element types where shapes are unknown."""

    emit: Callable[..., Results]
    elements: Elements


def rule(*types: str, elements: Elements | None = None) -> Callable[[Callable[..., Results]], Any]:
    """Enter a function as the rule of the nodes ``types``.

    Args:
        elements: the results' element types from the inputs (values) and the attributes; the
            first input's where left out.
    """

    def enter(function: Callable[..., Results]) -> Callable[..., Results]:
        for name in types:
            RULES[name] = Rule(function, elements or _first_element)
        return function

    return enter


def _first_element(*values: SSAValue, **_attributes: Any) -> Sequence[Attribute]:
    return [element_at(values[0])]


def element_at(value: SSAValue) -> Attribute:
    """The element type of a tensor, or of what a variable's handle holds."""
    type_ = value.type
    return element(type_.content if isinstance(type_, ResourceType) else type_)


@dataclass
class Emitter:
    """Puts operations at the end of a block; what a rule is given first."""

    block: Block
    location: LocationAttr
    fresh: Callable[[], Expr]
    """A symbol for an extent that nothing is known of."""
    strict: bool = False
    """Whether the shapes are final: code will be made of what is emitted."""
    after: Sequence[SSAValue] = ()
    """What must have happened before an effect of this node."""
    used: Collection[int] = (0, 1, 2, 3, 4, 5)
    """Which results something reads."""
    tokens: list[SSAValue] = field(default_factory=list)
    """The effects of this node: filled by the rule."""
    marks: dict[str, Attribute] = field(default_factory=dict)
    """Attributes of every operation of this node: where it wants to run."""
    results: Mapping[Any, SSAValue] = field(default_factory=dict[Any, SSAValue])
    """The results of nodes that have been emitted to the same block, by their tensors."""

    def __call__(self, op: Operation) -> SSAValue:
        return self.all(op)[0]

    def all(self, op: Operation) -> Sequence[SSAValue]:
        """Emit an operation and give all its results."""
        op.location = self.location
        if self.marks:
            op.attributes.update(self.marks)
        self.block.add_op(op)
        return op.results

    def shape(self, x: SSAValue) -> Shape:
        """The extents of ``x``. Raises `Deferred` where its rank is unknown."""
        if isinstance(x.type, UnrankedTensorType):
            raise Deferred("the rank of an input")
        return shape_of(x)

    def rank(self, x: SSAValue) -> int:
        return len(self.shape(x))

    def axis(self, x: SSAValue, axis: int, extra: int = 0) -> int:
        """``axis`` of ``x`` counted from the front; ``extra`` new axes may be addressed too."""
        rank = self.rank(x) + extra
        if not -rank <= axis < rank:
            raise GraphError(f"expected an axis in [{-rank}, {rank}), got {axis}")
        return axis % rank

    def dims(self, x: SSAValue) -> list[Dim]:
        """The elements of an integer tensor, where they follow from constants and shapes."""
        if (known := self.known(x)) is None:
            raise Deferred("the value of an input that says a shape or an axis")
        return known

    def known(self, x: SSAValue) -> list[Dim] | None:
        """`dims`, or None."""
        if isinstance(x.type, UnrankedTensorType):
            return None
        found = contents(x)
        if found is None:
            return None
        values: list[Dim] = [d if isinstance(d, Expr) else int(d) for d in found.reshape(-1)]
        return None if any(isinstance(d, Expr) and UNKNOWN_DIM in _symbols(d) for d in values) else values

    def ints(self, x: SSAValue) -> list[int]:
        """`dims` that are numbers: axes, paddings, permutations."""
        values = self.dims(x)
        numbers = [d for d in values if isinstance(d, int)]
        if len(numbers) != len(values):
            raise Deferred("the value of an input that says an axis or a size")
        return numbers

    def constant(self, value: Any, element: Attribute, shape: Sequence[int] = ()) -> SSAValue:
        """A tensor whose elements all are ``value``."""
        return self(ConstantOp(LiteralAttr.splat(value, dtype_of(element), shape)))

    def full(self, value: Any, element: Attribute, shape: Sequence[Dim]) -> SSAValue:
        """The same for extents that may be symbols."""
        sizes = [d for d in shape if isinstance(d, int)]
        if len(sizes) == len(shape):
            return self.constant(value, element, sizes)
        return self(BroadcastOp(self.constant(value, element), shape, []))

    def vector(self, values: Sequence[int], element: Attribute) -> SSAValue:
        return self(ConstantOp(LiteralAttr.of(np.array(values, dtype_of(element)))))

    def broadcast(self, x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
        """``x`` stretched to ``shape`` by numpy's rule."""
        mine = self.shape(x)
        if mine == tuple(shape):
            return x
        return self(BroadcastOp(x, shape, range(len(shape) - len(mine), len(shape))))

    def together(self, *values: SSAValue) -> Sequence[SSAValue]:
        """The values stretched to one shape by numpy's rule."""
        shape = self.joint_shape(*(self.shape(v) for v in values))
        return [self.broadcast(v, shape) for v in values]

    def joint_shape(self, *shapes: Sequence[Dim]) -> Shape:
        """The shape that numpy's broadcasting gives to tensors of these shapes."""
        rank = max(map(len, shapes))
        padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
        return tuple(self._joint(axis, shapes) for axis in zip(*padded, strict=True))

    def _joint(self, extents: Sequence[Dim], shapes: Sequence[Sequence[Dim]]) -> Dim:
        distinct = list(dict.fromkeys(d for d in extents if d != 1))
        if len(distinct) <= 1:
            return distinct[0] if distinct else 1
        numbers = [d for d in distinct if isinstance(d, int)]
        if len(numbers) > 1:
            texts = " and ".join(_shape_text(s) for s in shapes)
            raise GraphError(f"expected shapes that broadcast together, got {texts}")
        if self.strict:
            texts = " and ".join(map(str, distinct))
            raise GraphError(
                f"the extents {texts} may differ when the program runs",
                help="give extents that are always equal one name, or a number",
            )
        return numbers[0] if numbers else self.fresh()


def clamp(x: Dim, low: Dim, high: Dim) -> Dim:
    """``x`` moved into ``[low, high]``."""
    lower = maximum(x, low)
    return lower + high - maximum(lower, high)


def _symbols(dim: Expr) -> set[Dim]:
    from tfc.dims import symbol

    return {symbol(n) for n in names(dim)}


def _shape_text(shape: Sequence[Dim]) -> str:
    from tfc.graph.shape import TensorShape

    return str(TensorShape(list(shape)))
