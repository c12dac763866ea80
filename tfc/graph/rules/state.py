"""Variables: their handles, reads and assignments.

A variable's node gives a handle. Reading and assigning take the tokens of what must have
happened before (the node's control inputs) and leave a token of their own; nothing else
orders them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType, UnrankedTensorType, i1
from xdsl.ir import OpResult, SSAValue

from tfc.dialects.tfc.control import variable_of
from tfc.dialects.tfc.shape import IdentityOp
from tfc.dialects.tfc.state import AssignOp, GateOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import ResourceType, element, is_static, shape_of, tensor_type
from tfc.dims import Dim
from tfc.errors import GraphError
from tfc.graph.dtypes import DType, of_element
from tfc.graph.emit import Deferred, Emitter, element_at, rule
from tfc.graph.shape import TensorShape


@rule("VariableV2", elements=lambda **_: [])
def variable(emit: Emitter, shared_name: str, dtype: DType, shape: TensorShape, container: str = "") -> SSAValue:
    """The handle, by its name, which begins with the container's. Its content has a static shape."""
    sizes: list[Dim] = [d for d in shape.dims or () if isinstance(d, int)]
    return emit(VariableOp(shared_name, tensor_type(sizes, dtype.element)))


def read(emit: Emitter, handle: SSAValue, after: Sequence[SSAValue] | None = None) -> SSAValue:
    """The content of a variable once ``after`` has happened; leaves a token."""
    value, token = emit.all(ReadOp(handle, list(emit.after if after is None else after)))
    emit.tokens[:] = [token]
    return value


@rule("Identity", elements=lambda x: [element_at(x)])
def identity(emit: Emitter, x: SSAValue) -> SSAValue:
    """A value as it is; of a handle, the content now."""
    return read(emit, x) if isinstance(x.type, ResourceType) else emit(IdentityOp(x))


@dataclass
class Begun:
    """What is known of variables when a run begins.

    Attributes:
        names: the variables that have a value then, or get their first one in the run.
        missed: those that were asked for and are not among them.
    """

    names: frozenset[str]
    missed: set[str] = field(default_factory=set[str])


BEGUN: ContextVar[Begun | None] = ContextVar("BEGUN", default=None)
"""Of the run whose nodes are emitted; without one all variables have values, as in a compiled model."""


@rule("IsVariableInitialized", elements=lambda handle: [i1])
def is_initialized(emit: Emitter, handle: SSAValue) -> SSAValue:
    """Whether a variable has a value: known when the run is compiled."""
    begun = BEGUN.get()
    if not emit.strict:
        raise Deferred("whether a variable has a value", [tensor_type([], i1)])
    if begun is None or not isinstance(handle.owner, VariableOp):  # the value itself: of a frozen variable
        return emit.constant(True, i1)
    name = handle.owner.variable.data
    known = name in begun.names or _is_set_before(emit.after, name)
    if not known:
        begun.missed.add(name)
    return emit.constant(known, i1)


def _is_set_before(tokens: Sequence[SSAValue], name: str) -> bool:
    """Whether ``tokens`` come after an assignment to a variable."""
    pending, seen = list(tokens), set[SSAValue]()
    while pending:
        value = pending.pop()
        if value in seen or not isinstance(value, OpResult):
            continue
        seen.add(value)
        if isinstance(value.op, AssignOp) and value.op.kind.data == "set" and variable_of(value.op) == name:
            return True
        pending += value.op.operands
    return False


def _assign(emit: Emitter, handle: SSAValue, value: SSAValue, kind: str) -> SSAValue:
    content = _content(handle)
    if element(value) != element(content):
        names = f"{of_element(element(content)).name}, got {of_element(element(value)).name}"
        raise GraphError(f"'tfc.assign': expected a value of {names}")
    if isinstance(value.type, UnrankedTensorType):
        raise Deferred("the shape of an assigned value", [content])
    if emit.shape(value) != shape_of(content):
        if emit.strict or is_static(emit.shape(value)):
            shapes = f"{TensorShape.of(content)}, got {TensorShape.of(value.type)}"
            raise GraphError(f"'tfc.assign': expected a value of shape {shapes}")
        raise Deferred("the shape of an assigned value", [content])
    token = emit(AssignOp(handle, value, list(emit.after), kind))
    emit.tokens[:] = [token]
    if 0 not in emit.used:
        return value
    # What reads the result comes after the assignment.
    return emit(GateOp(value, [token])) if kind == "set" else read(emit, handle, [token])


def _content(handle: SSAValue) -> TensorType:
    if not isinstance(handle.type, ResourceType):
        raise GraphError("'tfc.assign': expected a variable, got a tensor")
    content = handle.type.content
    if not isinstance(content, TensorType):
        raise Deferred("the shape of a variable")
    return content


def _content_element(handle: SSAValue, value: SSAValue) -> Sequence[object]:
    return [element_at(handle)]


@rule("Assign", elements=_content_element)  # pyright: ignore
def assign(emit: Emitter, handle: SSAValue, value: SSAValue) -> SSAValue:
    return _assign(emit, handle, value, "set")


@rule("AssignAdd", elements=_content_element)  # pyright: ignore
def assign_add(emit: Emitter, handle: SSAValue, value: SSAValue) -> SSAValue:
    return _assign(emit, handle, value, "add")


@rule("AssignSub", elements=_content_element)  # pyright: ignore
def assign_sub(emit: Emitter, handle: SSAValue, value: SSAValue) -> SSAValue:
    return _assign(emit, handle, value, "sub")
