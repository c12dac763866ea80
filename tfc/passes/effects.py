"""What an operation does beside giving its results: what a pass may drop, merge or move.

xDSL answers per operation by collecting sets from traits, at 5 us each; the answer for an
operation without regions depends on its class alone, so it is kept per class.
"""

from __future__ import annotations

from xdsl.ir import Operation
from xdsl.traits import MemoryEffectKind, RecursiveMemoryEffect, get_effects

_known: dict[type[Operation], tuple[bool, bool]] = {}


def is_pure(op: Operation) -> bool:
    """Whether two of it with equal operands give equal results, and nothing else happens."""
    return _effects(op)[0]


def is_removable(op: Operation) -> bool:
    """Whether nobody misses it when no result is used: it is pure, or only reads."""
    return _effects(op)[1]


def is_dead(op: Operation) -> bool:
    """Whether no result is used and nobody misses it."""
    return all(r.first_use is None for r in op.results) and is_removable(op)


def _effects(op: Operation) -> tuple[bool, bool]:
    if (known := _known.get(type(op))) is not None:
        return known
    effects = get_effects(op)
    if effects is None:  # an operation that says nothing may do anything
        answer = False, False
    else:
        answer = not effects, all(e.kind == MemoryEffectKind.READ for e in effects)
    if not op.has_trait(RecursiveMemoryEffect, value_if_unregistered=False):
        _known[type(op)] = answer
    return answer
