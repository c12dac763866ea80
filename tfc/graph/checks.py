"""Checks of values when the graph runs, and messages: ``tf.Assert``, ``tf.debugging``, ``tf.Print``.

    with tf.control_dependencies([tf.assert_positive(x)]):
        y = tf.log(x)

Each check is a node; it happens where something waits for it. A check of constants that fails is an error when
it is made, at the user's line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfc.errors import GraphError
from tfc.graph.arrays import group, identity
from tfc.graph.dtypes import as_dtype, bool_
from tfc.graph.graph import control_dependencies, get_default_graph
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import convert, convert_pair, name_scope, node, single
from tfc.graph.source import here, quoted

SUMMARIZE = 3
"""So many elements of a value are shown at each end of a dim."""


def _split(data: Sequence[Any]) -> tuple[list[Tensor], list[str | None]]:
    """Texts and values as the values alone and the pieces of a message, None where a value stands."""
    values: list[Tensor] = []
    pieces: list[str | None] = []
    for part in data:
        if isinstance(part, str | bytes):
            pieces.append(part.decode() if isinstance(part, bytes) else part)
        else:
            values.append(convert(part))
            pieces.append(None)
    return values, pieces


def Assert(condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None) -> Operation:
    """A node that stops the run with an error unless ``condition`` is true.

    Args:
        condition: a truth value, or a tensor of them that all have to be true.
        data: texts and tensors that the error shows.
        summarize: how many elements of each are shown at both ends of a dim; 3 where left out, -1 for all.

    Raises:
        GraphError: a condition that is known to be false.
    """
    if isinstance(condition, bool | np.bool_) and not condition:
        message = f"assertion failed: {' '.join(str(d) for d in data)}"
        raise quoted(GraphError(message), here())
    with name_scope(name, "Assert", [condition, *data]) as scope:
        holds = convert(condition, bool_, name="condition")
        values, pieces = _split(data)
        shown = SUMMARIZE if summarize is None else summarize
        return node("Assert", [holds, *values], scope, pieces=tuple(pieces), summarize=shown)


def Print(
    input_: Any,
    data: Sequence[Any],
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """``input_``, whose use writes ``message`` and ``data`` to the standard error stream.

    Args:
        first_n: only so many times in a session; always where it is left out or negative.
        summarize: how many elements of each are shown at both ends of a dim; 3 where left out, -1 for all.
    """
    with name_scope(name, "Print", [input_, *data]) as scope:
        values = [convert(d) for d in data]
        shown = SUMMARIZE if summarize is None else summarize
        inputs = [convert(input_), *values]
        most = -1 if first_n is None else first_n
        return single(
            "Print", inputs, scope, message=message or "", summarize=shown, first_n=most, state=f"{scope}count"
        )


def print_(
    *inputs: Any, sep: str = " ", end: str = "\n", summarize: int | None = None, name: str | None = None, **_others: Any
) -> Operation:
    """A node that writes texts and tensors to the standard error stream."""
    with name_scope(name, "PrintV2", [v for v in inputs if not isinstance(v, str)]) as scope:
        values, pieces = _split(inputs)
        texts = [""]
        for k, piece in enumerate(pieces):
            texts[-1] += sep if k else ""
            if piece is None:
                texts.append("")
            else:
                texts[-1] += piece
        texts[-1] += end
        shown = SUMMARIZE if summarize is None else summarize
        return node("PrintV2", values, scope, texts=tuple(texts), summarize=shown)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """``tensor``; an error of the run that shows ``message`` if it has a NaN or an infinity."""
    with name_scope(name, "CheckNumerics", [tensor]) as scope:
        return single("CheckNumerics", [convert(tensor)], scope, message=message)


def verify_tensor_all_finite(t: Any, msg: str, name: str | None = None) -> Tensor:
    """``t``; an error of the run that shows ``msg`` if it has a NaN or an infinity."""
    with name_scope(name, "VerifyFinite", [t]):
        x = convert(t, name="t")
        with control_dependencies([check_numerics(x, msg)]):
            return identity(x)


def assert_all_finite(x: Any, message: str, name: str | None = None) -> Tensor:
    """`verify_tensor_all_finite`, as later versions call it."""
    return verify_tensor_all_finite(x, message, name)


def add_check_numerics_ops() -> Operation:
    """A node that checks every floating-point tensor that the graph has now, in the order of the graph.

    Tensors inside branches and loops are not checked.
    """
    graph = get_default_graph()
    checks: list[Operation] = []
    for op in graph.get_operations():
        for t in op.values():
            if t.dtype.is_floating and not t.is_handle and op.type not in ("Argument", "CheckNumerics"):
                with control_dependencies(checks[-1:]):
                    checks.append(check_numerics(t, t.name).op)
    return group(*checks, name="check_numerics_ops")


# tf.assert_equal and the like


def _constant(t: Tensor) -> Any:
    return t.op.attrs["value"].data.array if t.op.type == "Const" else None


def _compared(x: Any, y: Any, what: str, rule: str, data: Any, summarize: Any, message: Any, name: Any) -> Operation:
    from importlib import import_module

    math = import_module("tfc.graph.math")
    with name_scope(name, f"assert_{rule}", [x, y]):
        x, y = convert_pair(x, y)
        a, b = _constant(x), _constant(y)
        head = f"{message}  " if message else ""
        if a is not None and b is not None and not np.all(_NUMPY[rule](a, b)):
            text = f"{head}Condition x {what} y did not hold: x = {a.tolist()}, y = {b.tolist()}"
            raise quoted(GraphError(text), here())
        if data is None:
            data = [f"{head}Condition x {what} y did not hold element-wise:", f"x ({x.name}) = ", x, f"y ({y.name}) = ", y]
        elif message:
            data = [message, *data]
        return Assert(math.reduce_all(getattr(math, rule)(x, y)), data, summarize)


_NUMPY: dict[str, Callable[..., Any]] = {
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
}  # fmt: skip


def _comparison(rule: str, what: str) -> Callable[..., Operation]:
    def check(x: Any, y: Any, data: Any = None, summarize: Any = None, message: Any = None, name: Any = None) -> Operation:
        return _compared(x, y, what, rule, data, summarize, message, name)

    check.__doc__ = f"A node that stops the run unless ``x {what} y`` holds for all elements."
    return check


assert_equal = _comparison("equal", "==")
assert_none_equal = _comparison("not_equal", "!=")
assert_less = _comparison("less", "<")
assert_less_equal = _comparison("less_equal", "<=")
assert_greater = _comparison("greater", ">")
assert_greater_equal = _comparison("greater_equal", ">=")


def _sign(rule: str, what: str) -> Callable[..., Operation]:
    def check(x: Any, data: Any = None, summarize: Any = None, message: Any = None, name: Any = None) -> Operation:
        x = convert(x)
        zero = np.zeros((), x.dtype.numpy)
        if data is None:
            head = f"{message}  " if message else ""
            data = [f"{head}Condition x {what} 0 did not hold element-wise:", f"x ({x.name}) = ", x]
            message = None
        return _compared(x, zero, what, rule, data, summarize, message, name)

    check.__doc__ = f"A node that stops the run unless ``x {what} 0`` holds for all elements."
    return check


assert_positive = _sign("greater", ">")
assert_negative = _sign("less", "<")
assert_non_negative = _sign("greater_equal", ">=")
assert_non_positive = _sign("less_equal", "<=")


def assert_near(
    x: Any, y: Any, rtol: Any = None, atol: Any = None, data: Any = None, summarize: Any = None,
    message: Any = None, name: Any = None,
) -> Operation:  # fmt: skip
    """A node that stops the run unless ``|x - y| <= atol + rtol * |y|`` holds for all elements."""
    from importlib import import_module

    math = import_module("tfc.graph.math")
    with name_scope(name, "assert_near", [x, y]):
        x, y = convert_pair(x, y)
        eps = 10 * np.finfo(x.dtype.numpy).eps if x.dtype.is_floating else 0
        rtol, atol = (convert(eps if v is None else v, x.dtype) for v in (rtol, atol))
        holds = math.reduce_all(math.less_equal(math.abs(x - y), atol + rtol * math.abs(y)))
        head = f"{message}  " if message else ""
        shown = data or [f"{head}x and y not equal to tolerance", f"x ({x.name}) = ", x, f"y ({y.name}) = ", y]
        return Assert(holds, shown, summarize)


def _ranked(x: Any, least: int, most: int, message: Any, name: Any, default: str) -> Operation:
    with name_scope(name, default, [x]) as scope:
        head = f"{message}  " if message else ""
        return node("AssertShape", [convert(x)], scope, message=head, least=least, most=most)


def assert_rank(x: Any, rank: int, data: Any = None, summarize: Any = None, message: Any = None, name: Any = None) -> Operation:
    """A node that refuses an ``x`` of another rank, as soon as the rank is known."""
    return _ranked(x, int(rank), int(rank), message, name, "assert_rank")


def assert_rank_at_least(
    x: Any, rank: int, data: Any = None, summarize: Any = None, message: Any = None, name: Any = None
) -> Operation:
    """A node that refuses an ``x`` of a lower rank, as soon as the rank is known."""
    return _ranked(x, int(rank), 2**31, message, name, "assert_rank_at_least")


def assert_scalar(tensor: Any, name: str | None = None, message: Any = None) -> Tensor:
    """``tensor``, which has rank 0."""
    assert_rank(tensor, 0, message=message, name=name)
    return convert(tensor)


def assert_type(tensor: Any, tf_type: Any, message: Any = None, name: Any = None) -> Operation:
    """A node that does nothing; an error here unless ``tensor`` has the element type."""
    from tfc.graph.arrays import no_op

    t, wanted = convert(tensor), as_dtype(tf_type)
    if t.dtype is not wanted:
        head = f"{message}  " if message else ""
        raise quoted(GraphError(f"{head}expected '{t.name}' of type {wanted.name}, got {t.dtype.name}"), here())
    return no_op(name or "assert_type")


def assert_integer(x: Any, message: Any = None, name: Any = None) -> Operation:
    """A node that does nothing; an error here unless ``x`` has integers."""
    t = convert(x)
    if not t.dtype.is_integer:
        head = f"{message}  " if message else ""
        raise quoted(GraphError(f"{head}expected '{t.name}' of an integer type, got {t.dtype.name}"), here())
    return assert_type(t, t.dtype, name=name or "assert_integer")
