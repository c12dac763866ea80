"""Branches and loops, checks and messages, and the rows that loops write.

    %r = tfc.if %p (%a) : (tensor<3xf32>) -> (tensor<3xf32>) {
    ^bb0(%x: tensor<3xf32>):
      tfc.yield %x : tensor<3xf32>
    } else { ... }

    %i, %s = tfc.while (%zero, %x) with (%w) : (tensor<i32>, tensor<3xf32>), (tensor<3xf32>)
        -> (tensor<i32>, tensor<3xf32>) {
    ^bb0(%i0: tensor<i32>, %s0: tensor<3xf32>, %w0: tensor<3xf32>):
      ...
      tfc.yield %more : tensor<i1>
    } do {
    ^bb0(%i1: tensor<i32>, %s1: tensor<3xf32>, %w1: tensor<3xf32>):
      ...
      tfc.yield %i2, %s2 : tensor<i32>, tensor<3xf32>
    }

A region sees its arguments and nothing else, so what an operation depends on are its operands, here as
everywhere. Effects inside begin with a token among the arguments and end with one that is yielded;
handles are made inside by ``tfc.variable``.

An array that a loop fills is carried by the loop: ``tfc.update_row`` gives the array with another row, and
compiled code writes the row where the array stands if nobody needs the old one. ``tfc.gather`` at a scalar
reads a row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr, TensorType, i1, i64
from xdsl.ir import Attribute, BlockArgument, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
    eq,
    operand_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, MemoryWriteEffect, RecursiveMemoryEffect

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.constant import splat_like
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherOp, check_range, is_integer
from tfc.dialects.tfc.state import AssignOp, ReadOp, StateOp, VariableOp
from tfc.dialects.tfc.types import (
    Array,
    ControlType,
    Tensor,
    agrees,
    compatible,
    element,
    joined,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim
from tfc.errors import require

Token = base(ControlType)
Carried = Tensor | base(ControlType)
Predicate = eq(tensor_type([], i1))

SUMMARIZE = 3
"""So many elements of a value are shown at each end, where nothing else is said."""


class RegionOp(StateOp):
    """An operation with regions of one block each, whose arguments are (some of) its operands."""

    def yielded(self, region: Region) -> Sequence[SSAValue]:
        """What a region ends with."""
        last = region.block.last_op
        assert isinstance(last, YieldOp), "the verifier demands a terminator"
        return last.operands

    def verify_(self) -> None:
        for region in self.regions:
            block = region.first_block
            ends = block is not None and isinstance(block.last_op, YieldOp)
            require(ends, self, "C1", "regions that end with tfc.yield", block and block.last_op)
        super().verify_()

    def require_arguments(self, region: Region, operands: Sequence[SSAValue]) -> None:
        _require_types(self, "C2", "region arguments", [o.type for o in operands], region.block.args)


def _require_types(
    op: Operation, label: str, what: str, wanted: Sequence[Attribute], values: Sequence[SSAValue]
) -> None:
    types = [v.type for v in values]
    fits = len(types) == len(wanted) and all(map(agrees, types, wanted))
    require(fits, op, label, f"{what} {_listed(wanted)}", _listed(types))


def _are_alike(x: Attribute, y: Attribute) -> bool:
    """Whether two types differ in extents at most."""
    if not isinstance(x, TensorType) or not isinstance(y, TensorType):
        return agrees(x, y)
    return element(x) == element(y) and len(shape_of(x)) == len(shape_of(y))


def _listed(types: Sequence[Attribute]) -> str:
    return f"({', '.join(map(str, types))})"


@tfc_op
class IfOp(RegionOp):
    """What ``then`` gives where ``predicate`` is true, and what ``otherwise`` gives where it is not.

    Only one of the two is run.

    (C1) Both regions end with ``tfc.yield``.
    (C2) Their arguments have the types of ``inputs``.
    (C3) Both yield as many values, of the same types but for extents.

    Source: ``tf.cond``.
    """

    name = "tfc.if"
    predicate = operand_def(Predicate)
    inputs = var_operand_def(Carried)
    outputs = var_result_def(Carried)
    then = region_def("single_block")
    otherwise = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), RecursiveMemoryEffect())
    assembly_format = (
        "$predicate `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs) $then `else` $otherwise"
    )

    def __init__(
        self, predicate: SSAValue | Operation, inputs: Sequence[SSAValue], then: Region, otherwise: Region
    ) -> None:
        IRDLOperation.__init__(
            self,
            operands=[SSAValue.get(predicate), list(inputs)],
            result_types=[_types_yielded(then)],
            regions=[then, otherwise],
        )
        self.refresh()

    def infer(self) -> Sequence[Attribute]:
        for region in self.regions:
            self.require_arguments(region, self.inputs)
        then, otherwise = ([v.type for v in self.yielded(r)] for r in self.regions)
        fits = len(then) == len(otherwise) and all(map(_are_alike, then, otherwise))
        require(fits, self, "C3", f"yields of {_listed(then)}", _listed(otherwise))
        return [joined(x, y) for x, y in zip(then, otherwise, strict=True)]


@tfc_op
class WhileOp(RegionOp):
    """``body``, which gives the next ``carried`` values, again and again while ``condition`` holds.

    ``invariants`` are the same each time. The results are the values carried last.

    (C1) Both regions end with ``tfc.yield``.
    (C2) Their arguments have the types of ``carried`` and then ``invariants``.
    (C3) ``condition`` yields one ``tensor<i1>``.
    (C4) ``body`` yields the types of ``carried``, as its arguments have them.

    Source: ``tf.while_loop``.
    """

    name = "tfc.while"
    carried = var_operand_def(Carried)
    invariants = var_operand_def(Carried)
    outputs = var_result_def(Carried)
    condition = region_def("single_block")
    body = region_def("single_block")
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(IsolatedFromAbove(), RecursiveMemoryEffect())
    assembly_format = (
        "`(` $carried `)` `with` `(` $invariants `)` attr-dict `:` `(` type($carried) `)` `,` "
        "`(` type($invariants) `)` `->` `(` type($outputs) `)` $condition `do` $body"
    )

    def __init__(
        self, carried: Sequence[SSAValue], invariants: Sequence[SSAValue], condition: Region, body: Region
    ) -> None:
        IRDLOperation.__init__(
            self,
            operands=[list(carried), list(invariants)],
            result_types=[_types_yielded(body)],
            regions=[condition, body],
        )
        self.refresh()

    def infer(self) -> Sequence[Attribute]:
        for region in self.regions:
            self.require_arguments(region, self.operands)
        asked = [v.type for v in self.yielded(self.condition)]
        require(asked == [tensor_type([], i1)], self, "C3", "a condition that yields tensor<i1>", _listed(asked))
        carried = [a.type for a in self.body.block.args[: len(self.carried)]]
        _require_types(self, "C4", "a body that yields", carried, self.yielded(self.body))
        return carried


def _types_yielded(region: Region) -> list[Attribute]:
    last = region.block.last_op
    return [o.type for o in last.operands] if isinstance(last, YieldOp) else []


def is_invariant(value: SSAValue) -> bool:
    """Whether ``value`` is an argument of a loop's region that is the same in each turn."""
    if not isinstance(value, BlockArgument):
        return False
    loop = value.owner.parent_op()
    return isinstance(loop, WhileOp) and value.index >= len(loop.carried)


def variable_of(op: ReadOp | AssignOp) -> str:
    """The name of the variable that is accessed."""
    assert isinstance(op.handle.owner, VariableOp), "handles come from variables"
    return op.handle.owner.variable.data


def accesses(op: Operation) -> Iterator[ReadOp | AssignOp]:
    """The accesses to variables that ``op`` is, or that happen in its regions."""
    if isinstance(op, ReadOp | AssignOp):
        yield op
    elif isinstance(op, RegionOp):
        for inner in op.walk():
            if isinstance(inner, ReadOp | AssignOp):
                yield inner


# Rows of arrays


@tfc_op
class UpdateRowOp(TensorOp):
    """``array`` with ``value`` in the place of row ``index``.

    An index outside ``[0, dim(array, 0))`` is an error when the program runs.

    (C1) ``index`` is one integer.
    (C2) ``array`` has a dim, and ``value`` the type of one of its rows.

    Source: ``tf.TensorArray.write``.
    """

    name = "tfc.update_row"
    array = operand_def(Tensor)
    index = operand_def(Tensor)
    value = operand_def(Tensor)
    result = result_def(Tensor)
    assembly_format = (
        "$array `at` $index `with` $value attr-dict "
        "`:` type($array) `,` type($index) `,` type($value) `->` type($result)"
    )

    def __init__(
        self, array: SSAValue | Operation, index: SSAValue | Operation, value: SSAValue | Operation
    ) -> None:
        self.construct([SSAValue.get(v) for v in (array, index, value)])

    def infer(self) -> Sequence[Attribute]:
        scalar = shape_of(self.index) == () and is_integer(element(self.index))
        require(scalar, self, "C1", "an index that is one integer", self.index.type)
        array, value = shape_of(self.array), shape_of(self.value)
        fits = len(array) == len(value) + 1 and all(map(compatible, array[1:], value))
        same = element(self.array) == element(self.value)
        require(fits and same, self, "C2", f"one row of {self.array.type}", self.value.type)
        return [self.array.type]

    def reference(self, *args: Array) -> Array:
        array, index, value = args
        check_range(self, index, array.shape[0])
        result = np.array(array)
        result[int(index)] = value
        return result

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        extent = shape_of(self.array)[0]
        place = at.index(at.read(1, []), extent)
        here = [(index[0] - place, 1)]
        return at.guard(here, lambda: at.read(2, index[1:]), lambda: at.read(0, index))

    def grad(self, emit: Emit, *g: Any) -> Sequence[SSAValue | None]:
        old = emit(UpdateRowOp(g[0], self.index, splat_like(emit, self.value, 0)))
        return [old, None, emit(GatherOp(g[0], self.index, 0))]

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        x, v = float_range(4, 3), np.array([7.0, np.nan, -0.0], np.float32)
        return [
            Sample(cls, x, np.array(2), v), Sample(cls, x, np.array(0, np.int32), v),
            Sample(cls, x[:, 0], np.array(3, np.uint8), v[0]),
            Sample(cls, x[:, :0], np.array(1), v[:0]), Sample(cls, x > 0, np.array(1, np.int8), v > 0),
            Sample(cls, x.astype(np.uint8), np.array(3), v[:1].astype(np.uint8).repeat(3)),
            Sample(cls, x.reshape(2, 2, 3), np.array(1), np.stack([v, v])),
        ]  # fmt: skip


# Checks and messages


class MessageOp(StateOp):
    """An operation that may show values to people.

    ``texts`` stand before, between and after the values of ``data``; of each value ``summarize`` elements
    are shown at both ends of each dim, all where it is negative (see `worded`).
    """

    @abstractmethod
    def shown(self) -> tuple[Sequence[StringAttr], int]:
        """The texts, and the number of values."""

    def infer(self) -> Sequence[Attribute]:
        texts, values = self.shown()
        require(len(texts) == values + 1, self, "C1", f"{values + 1} texts", len(texts))
        return [ControlType()]


@tfc_op
class AssertOp(MessageOp):
    """Stop the run with an error that shows ``texts`` and ``data`` unless ``predicate`` is true.

    (C1) There is one text more than values.

    Source: ``tf.debugging.Assert``.
    """

    name = "tfc.assert"
    predicate = operand_def(Predicate)
    data = var_operand_def(Tensor)
    after = var_operand_def(Token)
    texts = prop_def(ArrayAttr[StringAttr])
    summarize = prop_def(IntegerAttr.constr(i64))
    token = result_def(Token)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$predicate `,` $texts `(` $data `)` `shows` $summarize (`after` $after^)? attr-dict "
        "`:` `(` type($data) `)` (`,` type($after)^)? `->` type($token)"
    )

    def __init__(
        self,
        predicate: SSAValue | Operation,
        message: str | Sequence[str],
        data: Sequence[SSAValue] = (),
        after: Sequence[SSAValue] = (),
        summarize: int = SUMMARIZE,
    ) -> None:
        operands = [SSAValue.get(predicate), list(data), list(after)]
        self.construct(operands, _shown(message, len(data), summarize))

    def shown(self) -> tuple[Sequence[StringAttr], int]:
        return self.texts.data, len(self.data)


@tfc_op
class PrintOp(MessageOp):
    """Write ``texts`` and ``data`` to the standard error stream.

    (C1) There is one text more than values.

    Source: ``tf.print``.
    """

    name = "tfc.print"
    data = var_operand_def(Tensor)
    after = var_operand_def(Token)
    texts = prop_def(ArrayAttr[StringAttr])
    summarize = prop_def(IntegerAttr.constr(i64))
    token = result_def(Token)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$texts `(` $data `)` `shows` $summarize (`after` $after^)? attr-dict "
        "`:` `(` type($data) `)` (`,` type($after)^)? `->` type($token)"
    )

    def __init__(
        self,
        message: str | Sequence[str],
        data: Sequence[SSAValue] = (),
        after: Sequence[SSAValue] = (),
        summarize: int = SUMMARIZE,
    ) -> None:
        self.construct([list(data), list(after)], _shown(message, len(data), summarize))

    def shown(self) -> tuple[Sequence[StringAttr], int]:
        return self.texts.data, len(self.data)


def _shown(message: str | Sequence[str], values: int, summarize: int) -> dict[str, Attribute]:
    """``message`` as the list of texts: one alone is followed by the values, a space between two."""
    if isinstance(message, str):
        message = [message + " ", *[" "] * (values - 1), ""] if values else [message]
    texts = ArrayAttr([StringAttr(t) for t in message])
    return {"texts": texts, "summarize": IntegerAttr(summarize, i64)}


def worded(op: AssertOp | PrintOp, values: Sequence[Array]) -> str:
    """The message of ``op`` with ``values`` for its data: what every way to run a program shows.

    Numbers are as C's ``printf`` writes them, truth values as 0 and 1. A float has 6 digits (f64: 15) where
    they tell its value, otherwise 9 (f64: 17).
    """
    texts = [t.data for t in op.texts]
    shown = [shown_value(v, op.summarize.value.data) for v in values]
    return texts[0] + "".join(v + t for v, t in zip(shown, texts[1:], strict=True))


def shown_value(value: Array, summarize: int) -> str:
    """A tensor in brackets, the middle of long dims left out: ``[[1 2 3 ... 7 8 9]]``."""
    if value.ndim == 0:
        return _number(value)
    count = len(value)
    if summarize < 0 or count <= 2 * summarize:
        parts = [shown_value(v, summarize) for v in value]
    else:
        ends = [*value[:summarize], None, *value[count - summarize :]]
        parts = ["..." if v is None else shown_value(v, summarize) for v in ends]
    return f"[{' '.join(parts)}]"


def _number(value: Array) -> str:
    if value.dtype.kind in "biu":
        return str(int(value))
    few, all_, kind = (15, 17, np.float64) if value.dtype == np.float64 else (6, 9, np.float32)
    short = f"{float(value):.{few}g}"
    tells = kind(short) == value.astype(kind) or np.isnan(value)
    return short if tells else f"{float(value):.{all_}g}"

