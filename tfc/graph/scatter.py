"""Changes of a part of a variable: ``tf.scatter_add``, ``tf.scatter_nd_update``, ...

    tf.scatter_update(table, [3, 5], rows)      rows 3 and 5 of the variable ``table``
    table.scatter_sub(tf.IndexedSlices(rows, [3, 5]))

Where a row comes several times, all its updates count; of those that replace it, the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfc.errors import GraphError
from tfc.graph.dtypes import int32
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.source import here, quoted
from tfc.graph.variables import handle_of


def _function(type_: str, doc: str) -> Callable[..., Tensor]:
    def scatter(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
        handle = handle_of(ref, type_)
        with name_scope(name, type_, [handle]) as scope:
            places = convert(indices, name="indices", preferred=int32)
            if not places.dtype.is_integer:
                raise quoted(GraphError(f"'{type_}': expected indices of integers, got {places.dtype.name}"), here())
            return single(type_, [handle, places, convert(updates, handle.dtype, name="updates")], scope)

    scatter.__doc__ = f"""{doc}

    Args:
        ref: the variable, of shape ``[rows, ...]``.
        indices: integers, of any shape{"; those along the last dim address one element or row" if "Nd" in type_ else ""}.
        updates: of the shape of ``indices`` and that of a row, or one number for all.

    Returns:
        The new value of the variable.

    Raises:
        RunError: an index outside, when the graph runs.
    """
    return scatter


scatter_add = _function("ScatterAdd", "A node that adds to rows of a variable.")
scatter_sub = _function("ScatterSub", "A node that subtracts from rows of a variable.")
scatter_mul = _function("ScatterMul", "A node that multiplies rows of a variable.")
scatter_div = _function("ScatterDiv", "A node that divides rows of a variable.")
scatter_min = _function("ScatterMin", "A node that makes rows of a variable at most ``updates``.")
scatter_max = _function("ScatterMax", "A node that makes rows of a variable at least ``updates``.")
scatter_update = _function("ScatterUpdate", "A node that replaces rows of a variable.")
scatter_nd_add = _function("ScatterNdAdd", "A node that adds to elements or rows of a variable.")
scatter_nd_sub = _function("ScatterNdSub", "A node that subtracts from elements or rows of a variable.")
scatter_nd_update = _function("ScatterNdUpdate", "A node that replaces elements or rows of a variable.")


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """A node that gives the integer in a variable and adds one to it; an error of the run at ``limit``."""
    handle = handle_of(ref, "CountUpTo")
    with name_scope(name, "CountUpTo", [handle]) as scope:
        return single("CountUpTo", [handle], scope, limit=int(limit))
