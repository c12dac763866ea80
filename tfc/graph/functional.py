"""Loops over the first axis: ``tf.map_fn``, ``tf.scan``, ``tf.foldl``, ``tf.foldr``.

    tf.scan(lambda total, x: total + x, xs)            running sums

Each is a `while_loop` over arrays; a list or tuple of tensors is walked row by row together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfc.errors import GraphError
from tfc.graph import nest
from tfc.graph.arrays import shape
from tfc.graph.control import while_loop
from tfc.graph.dtypes import as_dtype, int32
from tfc.graph.node import Tensor
from tfc.graph.ops import constant, convert, name_scope
from tfc.graph.source import here, quoted
from tfc.graph.tensor_array import TensorArray

Structure = Any


def _rows(elems: Structure, what: str) -> tuple[list[Tensor], list[TensorArray], Any]:
    """The tensors, arrays of their rows, and how many rows there are."""
    leaves = [convert(e) for e in nest.flatten(elems)]
    if not leaves:
        raise quoted(GraphError(f"'tfc.{what}': expected at least one tensor to walk, got none"), here())
    for t in leaves:
        if t.shape.ndims == 0:
            message = f"'tfc.{what}': expected tensors of rank 1 or more, got '{t.name}' {t.shape} from {t.op.made_at}"
            raise quoted(GraphError(message), here())
    counts = {t.shape[0] for t in leaves if t.shape.ndims is not None} - {None}
    if len(counts) > 1:
        message = f"'tfc.{what}': expected tensors of one number of rows, got {sorted(counts)}"
        raise quoted(GraphError(message), here())
    count = constant(counts.pop(), int32, name="n") if counts else shape(leaves[0])[0]
    return leaves, [TensorArray(t.dtype, size=count).unstack(t) for t in leaves], count


def _checked(function: Any, what: str) -> None:
    if not callable(function):
        raise quoted(GraphError(f"'tfc.{what}': expected a function, got {function!r}"), here())


def map_fn(
    fn: Callable[[Structure], Structure],
    elems: Structure,
    dtype: Structure = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Structure:
    """``fn`` of each row of ``elems``, stacked.

    Args:
        fn: a function of one row of each tensor.
        elems: a tensor, or a structure of tensors with one number of rows.
        dtype: the element types of the results, in their structure; that of ``elems`` where left out.

    Source: TensorFlow 1's ``tf.map_fn``.
    """
    _checked(fn, "map_fn")
    with name_scope(name, "map", nest.flatten(elems)):
        leaves, rows, count = _rows(elems, "map_fn")
        form = nest.pack(elems, [t.dtype for t in leaves]) if dtype is None else dtype
        kinds = [as_dtype(d) for d in nest.flatten(form)]
        made = [TensorArray(kind, size=count) for kind in kinds]

        def body(i: Tensor, arrays: Any) -> Any:
            result = fn(nest.pack(elems, [r.read(i) for r in rows]))
            nest.check_same(form, result, "'tfc.map_fn': dtype (or elems) and what the function gives")
            values = [convert(v, preferred=kind) for v, kind in zip(nest.flatten(result), kinds, strict=True)]
            return i + 1, [a.write(i, v) for a, v in zip(arrays, values, strict=True)]

        _, made = while_loop(lambda i, _: i < count, body, (constant(0, int32, name="i"), made))
        return nest.pack(form, [a.stack() for a in made])


def scan(
    fn: Callable[[Structure, Structure], Structure],
    elems: Structure,
    initializer: Structure = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Structure:
    """What `foldl` (with ``reverse``, `foldr`) has after each row, stacked.

    Args:
        fn: a function of what has been made so far and one row of each tensor.
        initializer: what there is before the first row; the first row itself where left out, which is
            then the first result.

    Source: TensorFlow 1's ``tf.scan``.
    """
    _checked(fn, "scan")
    with name_scope(name, "scan", nest.flatten(elems)):
        _, rows, count = _rows(elems, "scan")
        first, begin, done = _beginning(elems, rows, initializer, count, reverse)
        leaves = nest.flatten(first)
        made = [TensorArray(v.dtype, size=count) for v in leaves]
        if initializer is None:
            made = [a.write(begin, v) for a, v in zip(made, leaves, strict=True)]

        def body(i: Tensor, so_far: Any, arrays: Any) -> Any:
            at = (count - 1 - i) if reverse else i
            result = fn(so_far, nest.pack(elems, [r.read(at) for r in rows]))
            nest.check_same(first, result, "'tfc.scan': the initializer and what the function gives")
            values = [convert(v, preferred=f.dtype) for v, f in zip(nest.flatten(result), leaves, strict=True)]
            return i + 1, nest.pack(first, values), [a.write(at, v) for a, v in zip(arrays, values, strict=True)]

        loop_vars = (constant(done, int32, name="i"), first, made)
        *_, made = while_loop(lambda i, *_: i < count, body, loop_vars)
        return nest.pack(first, [a.stack() for a in made])


def _beginning(elems: Any, rows: Any, initializer: Any, count: Any, reverse: bool) -> tuple[Any, Any, int]:
    """What there is before the walk, the place of the first row, and how many rows that used."""
    begin = count - 1 if reverse else 0
    if initializer is None:
        return nest.pack(elems, [r.read(begin) for r in rows]), begin, 1
    return nest.map_structure(convert, initializer), begin, 0


def _fold(what: str, fn: Any, elems: Any, initializer: Any, reverse: bool, name: str | None) -> Any:
    _checked(fn, what)
    with name_scope(name, what, nest.flatten(elems)):
        _, rows, count = _rows(elems, what)
        first, _, done = _beginning(elems, rows, initializer, count, reverse)

        def body(i: Tensor, so_far: Any) -> Any:
            at = (count - 1 - i) if reverse else i
            return i + 1, fn(so_far, nest.pack(elems, [r.read(at) for r in rows]))

        _, last = while_loop(lambda i, _: i < count, body, (constant(done, int32, name="i"), first))
        return last


def foldl(
    fn: Callable[[Structure, Structure], Structure], elems: Structure, initializer: Structure = None,
    parallel_iterations: int = 10, back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
) -> Structure:  # fmt: skip
    """``fn`` of what has been made so far and the next row, from the first row to the last.

    Args:
        initializer: what there is before the first row; the first row itself where left out.

    Source: TensorFlow 1's ``tf.foldl``.
    """
    return _fold("foldl", fn, elems, initializer, False, name)


def foldr(
    fn: Callable[[Structure, Structure], Structure], elems: Structure, initializer: Structure = None,
    parallel_iterations: int = 10, back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
) -> Structure:  # fmt: skip
    """`foldl` from the last row to the first. Source: TensorFlow 1's ``tf.foldr``."""
    return _fold("foldr", fn, elems, initializer, True, name)
