"""Run a module of `tfc` operations by their numpy references: the meaning of a program.

    interpret(module, {"x": x})        the results of @main, in order

Slow and obvious: the tests, ``tfc-opt --run`` and ``--validate-each-pass`` compare with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.ir import Block, Operation, SSAValue

from tfc.dialects.tfc.base import TensorOp
from tfc.dialects.tfc.control import AssertOp, IfOp, PrintOp, WhileOp, worded
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.packed import AxesAttr, Axis
from tfc.dialects.tfc.state import AssignOp, GateOp, JoinOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import (
    UNKNOWN_DIM,
    Array,
    ShapeAttr,
    compatible,
    dtype_of,
    element,
    is_static,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, Expr, evaluate, names, substitute
from tfc.errors import FeedError, GraphError, InternalError, RunError, TfcError
from tfc.location import describe

Variables = MutableMapping[str, Array]


def interpret(
    module: ModuleOp,
    inputs: Mapping[str, Array] | Sequence[Array],
    variables: Variables | None = None,
    turns: int | None = None,
) -> list[Array]:
    """The results of ``@main``, or of the only function.

    Args:
        inputs: arrays for the arguments, by name (``tfc.name``) or in order.
        variables: their values by name, changed by assignments; those left out begin as zeros.
        turns: how many turns all loops together may take; any number if left out.

    Raises:
        FeedError: an input is missing or does not fit its argument.
        GraphError: there is no such function, or an operation that has no reference.
        RunError: the program reports an error, or takes too many turns.
    """
    function = _main(module)
    arrays = _arguments(function, inputs)
    sizes = _sizes(function, arrays)
    if sizes:
        function = function.clone()
        for op in function.walk():
            _put_sizes(op, sizes)
    run = _Run({} if variables is None else variables, turns)
    return run.block(function.body.block, arrays)


def argument_names(function: func.FuncOp) -> list[str]:
    """The names of the arguments: ``arg0``, ``arg1``, ... where they have none."""
    given = function.arg_attrs.data if function.arg_attrs is not None else ()
    found: list[str] = []
    for k in range(len(function.args)):
        name = given[k].data.get("tfc.name") if k < len(given) else None
        found.append(name.data if isinstance(name, StringAttr) else f"arg{k}")
    return found


def _main(module: ModuleOp) -> func.FuncOp:
    functions = [op for op in module.walk() if isinstance(op, func.FuncOp)]
    for function in functions:
        if function.sym_name.data == "main" or len(functions) == 1:
            return function
    raise GraphError("expected a function @main to run, or only one function")


def _arguments(function: func.FuncOp, inputs: Mapping[str, Array] | Sequence[Array]) -> list[Array]:
    wanted = argument_names(function)
    if isinstance(inputs, Mapping):
        missing = [n for n in wanted if n not in inputs]
        if missing:
            raise FeedError(f"expected values for {', '.join(missing)}, got {', '.join(inputs) or 'none'}")
        arrays = [np.asarray(inputs[n]) for n in wanted]
    else:
        arrays = [np.asarray(a) for a in inputs]
        if len(arrays) != len(wanted):
            raise FeedError(f"expected {len(wanted)} inputs, got {len(arrays)}")
    for name, array, argument in zip(wanted, arrays, function.args, strict=True):
        _check_input(name, array, argument)
    return arrays


def _check_input(name: str, array: Array, argument: SSAValue) -> None:
    if not isinstance(argument.type, TensorType):
        return
    shape = shape_of(argument)
    fits = array.dtype == dtype_of(element(argument)) and array.ndim == len(shape)
    if not fits or any(isinstance(d, int) and d != n for d, n in zip(shape, array.shape, strict=True)):
        got = f"{array.dtype} of shape {list(array.shape)}"
        raise FeedError(f"expected {argument.type} for '{name}', got {got}")


def _sizes(function: func.FuncOp, arrays: Sequence[Array]) -> dict[str, int]:
    """The named dims of the arguments, from the extents of the arrays."""
    extents: list[tuple[Dim, int]] = []
    for argument, array in zip(function.args, arrays, strict=True):
        if isinstance(argument.type, TensorType):
            extents += zip(shape_of(argument), array.shape, strict=True)
    sizes = {str(d): n for d, n in extents if isinstance(d, Expr) and names(d) == {str(d)} and d != UNKNOWN_DIM}
    for dim, extent in extents:
        if names(dim) <= sizes.keys() and (expected := evaluate(dim, sizes)) != extent:
            raise FeedError(f"expected {dim} = {expected} for {sizes}, got an extent of {extent}")
    return sizes


def _put_sizes(op: Operation, sizes: Mapping[str, int]) -> None:
    """Numbers for names in all that an operation says: references know no names."""
    for name, attribute in op.properties.items():
        if isinstance(attribute, ShapeAttr):
            op.properties[name] = ShapeAttr(tuple(substitute(d, sizes) for d in attribute.data))
        elif isinstance(attribute, AxesAttr):
            op.properties[name] = AxesAttr(tuple(_sized_axis(a, sizes) for a in attribute.data))
    for value in (*op.results, *(a for r in op.regions for block in r.blocks for a in block.args)):
        if isinstance(value.type, TensorType) and not is_static(shape_of(value)):
            shape = [substitute(d, sizes) for d in shape_of(value)]
            value._type = tensor_type(shape, element(value))  # pyright: ignore # of our own clone


def _sized_axis(axis: Axis, sizes: Mapping[str, int]) -> Axis:
    extent, x, w, y = (substitute(d, sizes) for d in (axis.extent, axis.x, axis.w, axis.y))
    return replace(axis, extent=extent, x=x, w=w, y=y)


class _Run:
    """One run: the values of one region after another."""

    def __init__(self, variables: Variables, turns: int | None = None) -> None:
        self.variables, self.turns = variables, turns
        self.values: dict[SSAValue, Any] = {}

    def block(self, block: Block, arguments: Sequence[Any]) -> list[Array]:
        """The operands of the terminator; effects happen in program order, which keeps that of tokens."""
        self.values.update(zip(block.args, arguments, strict=True))
        for op in block.ops:
            args = [self.get(o, op) for o in op.operands]
            if isinstance(op, func.ReturnOp | YieldOp):
                return args
            self.values.update(zip(op.results, self.operation(op, args), strict=True))
        return []

    def get(self, value: SSAValue, user: Operation) -> Any:
        if value not in self.values:
            raise InternalError(f"'{user.name}' uses a value before its definition")
        return self.values[value]

    def operation(self, op: Operation, args: Sequence[Any]) -> Sequence[Any]:
        if (effect := _EFFECTS.get(type(op))) is not None:
            return effect(op, args, self.variables)
        match op:
            case FusionOp():
                return self.block(op.block, args)
            case IfOp():
                return self.block((op.then if args[0] else op.otherwise).block, args[1:])
            case WhileOp():
                return self.loop(op, args)
            case _:
                pass
        if not isinstance(op, TensorOp):
            raise GraphError(f"'{op.name}' has no reference", where=describe(op.location))
        found = _reference(op, args)
        results = list(found) if isinstance(found, tuple) else [found]
        for result, array in zip(op.results, results, strict=True):
            self.check(op, result, array)
        return results

    def loop(self, op: WhileOp, args: Sequence[Any]) -> Sequence[Any]:
        count = len(op.carried)
        carried, invariants = list(args[:count]), args[count:]
        while self.block(op.condition.block, [*carried, *invariants])[0]:
            carried = self.block(op.body.block, [*carried, *invariants])
            if self.turns is not None:
                self.turns -= 1
                if self.turns < 0:
                    raise RunError("a loop takes more turns than allowed", where=describe(op.location))
        return carried

    def check(self, op: TensorOp, result: SSAValue, array: Array) -> None:
        """That a reference keeps what the operation's type promises."""
        if not isinstance(result.type, TensorType):
            return
        shape, kind = shape_of(result), dtype_of(element(result))
        agrees = len(shape) == array.ndim and all(map(compatible, shape, array.shape))
        if array.dtype != kind or not agrees:
            got = f"{array.dtype}{list(array.shape)}"
            raise InternalError(f"'{op.name}' promises {result.type} and gives {got}\n{op}")


def _reference(op: TensorOp, args: Sequence[Array]) -> Array | tuple[Array, ...]:
    try:
        return op.reference(*args)
    except NotImplementedError:
        raise GraphError(f"'{op.name}' has no reference", where=describe(op.location)) from None
    except TfcError as error:
        error.where = error.where or describe(op.location)
        raise


def _name_of(handle: SSAValue) -> str:
    assert isinstance(handle.owner, VariableOp), "only tfc.variable makes handles"
    return handle.owner.variable.data


def _read(op: Any, args: Sequence[Any], variables: Variables) -> Sequence[Any]:
    name = _name_of(op.handle)
    if name not in variables:
        sizes = [d for d in shape_of(op.value) if isinstance(d, int)]
        variables[name] = np.zeros(sizes, dtype_of(element(op.value)))
    return [variables[name], None]


def _assign(op: Any, args: Sequence[Any], variables: Variables) -> Sequence[Any]:
    name, value, kind = _name_of(op.handle), np.array(args[1]), str(op.kind.data)
    if kind != "set":
        old = variables.get(name, np.zeros_like(value))
        value = (old + value if kind == "add" else old - value).astype(value.dtype)
    variables[name] = value
    return [None]


def _assert(op: Any, args: Sequence[Any], variables: Variables) -> Sequence[Any]:
    if not args[0]:
        raise RunError(worded(op, args[1 : 1 + len(op.data)]), where=describe(op.location))
    return [None]


def _print(op: Any, args: Sequence[Any], variables: Variables) -> Sequence[Any]:
    sys.stderr.write(worded(op, args[: len(op.data)]))
    sys.stderr.flush()
    return [None]


_EFFECTS: dict[type[Operation], Callable[[Any, Sequence[Any], Variables], Sequence[Any]]] = {
    VariableOp: lambda op, args, variables: [None],
    ReadOp: _read,
    AssignOp: _assign,
    GateOp: lambda op, args, variables: [args[0]],
    JoinOp: lambda op, args, variables: [None],
    AssertOp: _assert,
    PrintOp: _print,
}
