"""Structures of tensors: lists, tuples, named tuples and dicts of them, as loops and branches take and give.

    flatten({"b": [x, y], "a": z})                  [z, x, y]: dicts by the order of their keys
    pack({"b": [0, 0], "a": 0}, [z, x, y])          {"b": [x, y], "a": z}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph.source import here, quoted


def is_structure(value: Any) -> bool:
    """Whether ``value`` is a list, tuple or dict, not a leaf."""
    return isinstance(value, list | tuple | dict)


def flatten(structure: Any) -> list[Any]:
    """The leaves in order; dicts by the order of their keys."""
    return list(_leaves(structure))


def _leaves(structure: Any) -> Iterator[Any]:
    if not is_structure(structure):
        yield structure
        return
    for part in _parts(structure):
        yield from _leaves(part)


def _parts(structure: Any) -> Iterable[Any]:
    return (structure[k] for k in sorted(structure)) if isinstance(structure, dict) else structure


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """``leaves`` in the form of ``structure``."""
    rest = iter(leaves)
    packed = _pack(structure, rest)
    assert next(rest, rest) is rest, "as many leaves as the structure has"
    return packed


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if not is_structure(structure):
        return next(leaves)
    if isinstance(structure, dict):
        packed = {k: _pack(structure[k], leaves) for k in sorted(structure)}
        return type(structure)((k, packed[k]) for k in structure)
    parts = [_pack(part, leaves) for part in structure]
    return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """``function`` of the leaves that stand at one place, in the form of the first structure."""
    return pack(structures[0], [function(*leaves) for leaves in zip(*map(flatten, structures), strict=True)])


def check_same(x: Any, y: Any, what: str) -> None:
    """Raise a `GraphError` unless both have one form; lists, tuples and dicts differ."""
    if not _same(x, y):
        raise quoted(GraphError(f"{what}: expected one structure, got {shown(x)} and {shown(y)}"), here())


def _same(x: Any, y: Any) -> bool:
    if is_structure(x) != is_structure(y):
        return False
    if not is_structure(x):
        return True
    if isinstance(x, dict) or isinstance(y, dict):
        return isinstance(x, dict) and isinstance(y, dict) and set(x) == set(y) and all(_same(x[k], y[k]) for k in x)
    return type(x) is type(y) and len(x) == len(y) and all(map(_same, x, y))


def shown(structure: Any) -> str:
    """The form in words, a dot for each leaf: ``(., [., .])``."""
    if not is_structure(structure):
        return "."
    if isinstance(structure, dict):
        return "{" + ", ".join(f"{k!r}: {shown(structure[k])}" for k in sorted(structure)) + "}"
    inside = ", ".join(map(shown, structure))
    if isinstance(structure, list):
        return f"[{inside}]"
    name = type(structure).__name__ if hasattr(structure, "_fields") else ""
    return f"{name}({inside}{',' if len(structure) == 1 and not name else ''})"
