"""The table of imported operators: one small function per operator and change of meaning.

    @onnx_op("Softmax", since=13)
    def softmax(node: Node) -> SSAValue:
        return node.emit(SoftmaxOp(node[0], node.axis()))

A function gets the node and gives the values of its outputs. ``since`` is the operator set
from which it holds; the entry with the largest ``since`` not above the model's is taken.
The files of the families fill the table when `load` imports them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from xdsl.ir import SSAValue

if TYPE_CHECKING:
    from tfc.frontend.onnx.node import Node, TensorSequence

Results: TypeAlias = "SSAValue | TensorSequence | Sequence[SSAValue | TensorSequence | None]"
"""The values of a node's outputs; None for an optional output that is not made."""

Importer: TypeAlias = "Callable[[Node], Results]"

FAMILIES = (
    "elementwise",
    "activation",
    "shape",
    "indexing",
    "reduce",
    "linear",
    "convolution",
    "normalize",
    "generate",
    "resize",
    "control",
    "sequence",
    "quantize",
    "random",
    "recurrent",
    "sort",
)

_table: dict[str, list[tuple[int, Importer]]] = {}


def onnx_op(*names: str, since: int = 1) -> Callable[[Importer], Importer]:
    """Enter a function for the operators ``names`` of the default domain."""

    def enter(function: Importer) -> Importer:
        for name in names:
            _table.setdefault(name, []).append((since, function))
        return function

    return enter


def find(domain: str, name: str, version: int) -> Importer | None:
    """The function that imports this operator of this operator set."""
    load()
    known = [e for e in _table.get(name, ()) if e[0] <= version] if not domain else []
    return max(known, key=lambda e: e[0])[1] if known else None


def supported() -> list[str]:
    """The operators that have an entry of their own."""
    load()
    return sorted(_table)


@cache
def load() -> None:
    """Import the files that fill the table."""
    for family in FAMILIES:
        import_module(f"tfc.frontend.onnx.{family}")
