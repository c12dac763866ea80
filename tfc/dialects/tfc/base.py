"""What every ``tfc`` operation has: one class carries all its rules side by side.

=============  =================================================================================
``infer``      the result types from the operands: for the builder, the verifier and passes
``reference``  the meaning, in plain numpy: for folding, the interpreter and every test
``value_at``   one element of the result from elements of the operands (a *primitive*):
               every code generator, for every target, is driven by it
``decompose``  the same computation in simpler operations (a *composite*)
``grad``       gradients of the operands from those of the results
``samples``    small instances, on which the tests check all of the above against each other
=============  =================================================================================

A primitive has ``value_at``, a composite ``decompose``, a state operation neither.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, cast

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, TensorType, UnrankedTensorType, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, traits_def
from xdsl.traits import MemoryEffect, Pure

from tfc.dialects.definition import define, is_plain
from tfc.dialects.tfc.types import SMALL_ENOUGH, Array, agrees, check_countable, dtype_of, element
from tfc.dims import Dim
from tfc.errors import require

OPERATIONS: dict[str, type[TensorOp]] = {}
"""Every ``tfc`` operation by its name: the dialect, the tests and the documents walk this."""

UNKNOWN_TYPE: Attribute = UnrankedTensorType(i64)
"""The type of a result between its creation and `TensorOp.infer`."""

Emit = Callable[[Operation], SSAValue]
"""Inserts an operation and gives its (first) result."""


class Access(Protocol):
    """What a generator offers to ``value_at``: elements of operands, in scalar or vector form.

    An index is a `Dim` over loop variables, so index arithmetic is ordinary arithmetic and
    the generator sees which loads are contiguous. Values are scalars or vectors of kernel
    types (signless integers, floats); an op written here never knows which.
    """

    emit: Emit

    def read(self, operand: int, index: Sequence[Dim]) -> SSAValue:
        """Element ``index`` of operand number ``operand``."""
        ...

    def constant(self, value: float | int | bool, element: Attribute) -> SSAValue:
        """A constant of a tensor element type."""
        ...

    def value(self, index: Dim, element: Attribute) -> SSAValue:
        """An index as a value: what ``iota`` yields."""
        ...

    def index(self, value: SSAValue, bound: Dim) -> Dim:
        """An integer value as an index in ``[0, bound)``: for gather.

        A value outside is reported when the program runs, and memory stays safe.
        """
        ...

    def guard(
        self,
        inside: Sequence[tuple[Dim, Dim]],
        then: Callable[[], SSAValue],
        otherwise: Callable[[], SSAValue],
    ) -> SSAValue:
        """``then()`` where ``0 <= i < n`` for all ``(i, n)`` of ``inside``, else ``otherwise()``.

        Loads of ``then`` touch memory only where the condition holds.
        """
        ...

    def fold(
        self,
        extents: Sequence[Dim],
        start: Sequence[SSAValue],
        body: Callable[[Sequence[Dim], Sequence[SSAValue]], Sequence[SSAValue]],
        *,
        combine: Callable[[SSAValue, SSAValue], SSAValue] | None = None,
        merge: Callable[[Sequence[SSAValue], Sequence[SSAValue]], Sequence[SSAValue]] | None = None,
    ) -> Sequence[SSAValue]:
        """A loop over ``extents`` that carries values: ``body(index, carried) -> carried``.

        Args:
            combine: how two partial results become one. With it (one carried value) the
                generator may split the loop over vector lanes or threads; without it the order is kept.
            merge: the same for any carried values, of which ``start`` may be part of each: for threads.
        """
        ...


class TensorOp(IRDLOperation, ABC):
    """An operation on tensors by value, without side effects unless it declares some."""

    HEAVY: ClassVar[bool] = False
    """Whether an element costs far more than a load: computed once, never in two places."""

    def construct(
        self,
        operands: Sequence[SSAValue | Sequence[SSAValue]],
        properties: Mapping[str, Attribute | None] | None = None,
        types: Sequence[Attribute] | None = None,
        results: int = 1,
    ) -> None:
        """Construct in place: ``types`` are the results' types, inferred where left out."""
        given = {k: v for k, v in (properties or {}).items() if v is not None}
        made = list(types or [UNKNOWN_TYPE] * results)
        if is_plain(type(self), len(operands)) and all(isinstance(o, SSAValue) for o in operands):
            plain = cast("Sequence[SSAValue]", operands)
            Operation.__init__(self, operands=plain, properties=given, result_types=made)
        else:
            IRDLOperation.__init__(self, operands=operands, properties=given, result_types=made)
        if types is None:
            self.refresh()

    def refresh(self) -> None:
        """Set the result types to what `infer` says of the operands."""
        for result, type_ in zip(self.results, self.result_types_of_operands(), strict=True):
            result._type = type_  # pyright: ignore # the one place where xDSL's value changes type

    def result_types_of_operands(self) -> Sequence[Attribute]:
        """`infer`, or unranked tensors where the rank of an operand is not known."""
        if any(isinstance(o.type, UnrankedTensorType) for o in self.operands):
            return [UnrankedTensorType(e) for e in self.infer_elements()]
        types = self.infer()
        for type_ in types:
            if isinstance(type_, TensorType) and math.prod(sizes := type_.get_shape()) > SMALL_ENOUGH:
                check_countable(sizes, dtype_of(type_.element_type).itemsize)
        return types

    @abstractmethod
    def infer(self) -> Sequence[Attribute]:
        """The result types, from operands that are all ranked. Raises `tfc.rules.RuleError`."""

    def infer_elements(self) -> Sequence[Attribute]:
        """The results' element types, where ranks are unknown; the first operand's unless said."""
        return [element(self.operands[0])] * len(self.results)

    @abstractmethod
    def reference(self, *args: Array) -> Array | tuple[Array, ...]:
        """The result(s) in numpy: the meaning of the operation."""

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        """Element ``index`` of the result. Defined by primitives with one result."""
        raise NotImplementedError(f"{self.name} is no primitive")

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        """Values that replace the results, made of simpler operations. Defined by composites."""
        raise NotImplementedError(f"{self.name} is no composite")

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        """The gradients of the operands from those of the results: a vector-Jacobian product.

        Made of ordinary operations, so that it has a gradient again. A composite has that of what it
        is made of, unless its class knows a better one; `flat` is that of what moves in steps.

        Args:
            g: of each result (a value of its type), None where nothing depends on that result.

        Returns:
            One for each operand: a value of its type, or None for zero. What is said of integers
            and bools does not count.

        Raises:
            MissingGradient: the operation has none.
        """
        from tfc.dialects.tfc.differentiate import of_composite

        return of_composite(self, emit, g)

    @classmethod
    def is_primitive(cls) -> bool:
        return cls.value_at is not TensorOp.value_at

    @classmethod
    def is_composite(cls) -> bool:
        return cls.decompose is not TensorOp.decompose

    @classmethod
    @abstractmethod
    def samples(cls) -> Sequence[Sample]:
        """Small instances for the tests: odd shapes, each attribute, special values."""

    def verify_(self) -> None:
        for result, type_ in zip(self.results, self.result_types_of_operands(), strict=True):
            require(agrees(result.type, type_), self, "type", type_, result.type)


def flat(self: TensorOp, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
    """The ``grad`` of an operation whose result does not move when an operand moves a little."""
    return [None] * len(self.operands)


class Sample:
    """Arguments of an operation and how to build it on values of their types.

    >>> Sample(lambda x: NegOp(x), np.ones(3, np.float32))          # doctest: +SKIP
    """

    def __init__(self, make: Callable[..., TensorOp], *args: Array, tolerance: float = 0.0) -> None:
        self.make, self.args, self.tolerance = make, args, tolerance
        """``tolerance``: allowed relative error of compiled code, beside the dtype's own."""


_Op = TypeVar("_Op", bound=type[TensorOp])


def tfc_op(cls: _Op) -> _Op:
    """Define the operation and enter it in `OPERATIONS`; it is `Pure` unless it has an effect."""
    declared = [t for c in cls.__mro__ if "traits" in vars(c) for t in vars(c)["traits"].traits]
    if not any(isinstance(t, MemoryEffect) for t in declared):
        cls.traits = traits_def(*vars(cls).get("traits", traits_def()).traits, Pure())
    defined = define(cls)
    OPERATIONS[defined.name] = defined
    return cast(_Op, defined)


def ints(values: Sequence[int]) -> DenseArrayBase[Any]:
    """An array property of 64-bit integers, printed ``array<i64: 1, 2>``."""
    return DenseArrayBase.from_list(i64, [int(v) for v in values])


def float_range(*shape: int, dtype: Any = np.float32, low: float = -2.0, high: float = 2.0) -> Array:
    """Evenly spread values for samples, in an order that is not sorted."""
    size = int(np.prod(shape))
    order = (np.arange(size) * 7 + 3) % max(size, 1) if size % 7 else np.arange(size)[::-1]
    return (low + (high - low) * order / max(size - 1, 1)).astype(dtype).reshape(shape)
