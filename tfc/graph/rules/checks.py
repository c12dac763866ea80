"""Checks and messages: nodes that stop the run, or write to the standard error stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import TensorType, i1, i64
from xdsl.ir import Block, Operation, Region, SSAValue

from tfc.dialects.tfc import OPERATIONS
from tfc.dialects.tfc.control import AssertOp, IfOp, PrintOp
from tfc.dialects.tfc.elementwise import CompareOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.shape import IdentityOp
from tfc.dialects.tfc.state import AssignOp, GateOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import element, is_float, shape_of, tensor_type
from tfc.errors import GraphError
from tfc.graph.dtypes import of_element
from tfc.graph.emit import Deferred, Emitter, rule

Text = str | None
"""A piece of a message; None for the next value."""


def _texts(emit: Emitter, data: Sequence[SSAValue], pieces: Sequence[Text], first: str) -> list[str]:
    """The texts before, between and after the values: each piece in brackets, as TensorFlow shows them.

    Tensors have brackets of their own.
    """
    texts, values = [first], iter(data)
    for piece in pieces:
        if piece is not None:
            texts[-1] += f"[{piece}]"
            continue
        scalar = not emit.shape(next(values))
        texts[-1] += "[" if scalar else ""
        texts.append("]" if scalar else "")
    return texts


@rule("Assert", elements=lambda *_, **__: [])
def check(
    emit: Emitter, predicate: SSAValue, *data: SSAValue, pieces: Sequence[Text], summarize: int
) -> None:
    """An error of the run that shows ``data`` unless ``predicate`` is true."""
    if element(predicate) != i1:
        raise GraphError(f"'tfc.assert': expected a condition of type bool, got {of_element(element(predicate)).name}")
    texts = _texts(emit, data, pieces, "assertion failed: ")
    if rank := emit.rank(predicate):
        predicate = emit(ReduceOp(predicate, "and", range(rank)))
    # A token of one assertion stands for its data: what waits for the node waits for it.
    emit.tokens[:] = [emit(AssertOp(predicate, texts, data, list(emit.after), summarize))]


@rule("Print")
def show(
    emit: Emitter, x: SSAValue, *data: SSAValue, message: str, summarize: int, first_n: int, state: str
) -> SSAValue:
    """``x``, after ``data`` has been shown, the first ``first_n`` times: how often is a hidden variable."""
    texts = _texts(emit, data, [None] * len(data), message)
    texts[-1] += "\n"
    if first_n < 0:
        token = emit(PrintOp(texts, data, list(emit.after), summarize))
    else:
        handle = emit(VariableOp(state, tensor_type([], i64)))
        count, read = emit.all(ReadOp(handle, list(emit.after)))
        told = emit(AssignOp(handle, emit.constant(1, i64), [read], "add"))
        wanted = emit(CompareOp("lt", count, emit.constant(first_n, i64)))
        regions = [_silent(emit, [*data, told]) for _ in range(2)]
        *shown, before = regions[0].block.args
        message_op = PrintOp(texts, shown, [before], summarize)
        message_op.location = emit.location
        end = regions[0].block.last_op
        assert isinstance(end, YieldOp), "it has just been made"
        regions[0].block.insert_op_before(message_op, end)
        end.operands = [message_op.token]
        token = emit(IfOp(wanted, [*data, told], *regions))
    emit.tokens[:] = [token]
    return emit(GateOp(x, [token]))


def _silent(emit: Emitter, inputs: Sequence[SSAValue]) -> Region:
    """A branch that gives the last of its inputs, a token."""
    block = Block(arg_types=[v.type for v in inputs])
    end = YieldOp(block.args[-1:])
    end.location = emit.location
    block.add_op(end)
    return Region(block)


@rule("PrintV2", elements=lambda *_, **__: [])
def show_all(
    emit: Emitter, *data: SSAValue, texts: Sequence[str], summarize: int
) -> None:
    """``texts`` before, between and after the values."""
    emit.tokens[:] = [emit(PrintOp(list(texts), data, list(emit.after), summarize))]


@rule("CheckNumerics")
def check_numerics(emit: Emitter, x: SSAValue, message: str) -> SSAValue:
    """``x``, which has no NaN and no infinity; else an error of the run."""
    if not is_float(element(x)):
        return emit(IdentityOp(x))
    rank = emit.rank(x)
    tokens: Sequence[SSAValue] = emit.after
    for test, what in (("is_nan", "NaN"), ("is_inf", "Inf")):
        found = emit(_operation(test)(x))
        if rank:
            found = emit(ReduceOp(found, "or", range(rank)))
        tokens = [emit(AssertOp(emit(_operation("not")(found)), f"{message} : Tensor had {what} values", [], list(tokens)))]
    emit.tokens[:] = tokens
    return emit(GateOp(x, tokens))


def _operation(kind: str) -> Callable[..., Operation]:
    return OPERATIONS[f"tfc.{kind}"]


@rule("AssertShape")
def check_shape(
    emit: Emitter, x: SSAValue, message: str, least: int, most: int
) -> SSAValue:
    """``x``, whose rank is from ``least`` to ``most``."""
    if not isinstance(x.type, TensorType):
        raise Deferred("the rank of an input")
    rank = len(shape_of(x))
    if not least <= rank <= most:
        wanted = str(least) if least == most else f"{least} or more"
        raise GraphError(f"{message}expected a tensor of rank {wanted}, got one of rank {rank}")
    return emit(IdentityOp(x))

