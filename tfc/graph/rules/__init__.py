"""The rules of all kinds of nodes, one file per family; see `tfc.graph.emit`."""

from __future__ import annotations

from importlib import import_module

FAMILIES = ("arrays", "checks", "control", "gradient", "math", "nn", "random", "scatter", "sort", "state", "tensor_array", "train")


def load() -> None:
    """Enter every family's rules in `tfc.graph.emit.RULES`."""
    for family in FAMILIES:
        import_module(f"tfc.graph.rules.{family}")
