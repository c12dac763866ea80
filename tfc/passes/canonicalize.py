"""Bring a module to a normal form, in which fewer things are left to say.

    %c = tfc.constant splat 4.0                %c = tfc.constant splat 0.25
    %a = tfc.transpose %x by [1, 0]            %b = tfc.mul %x, %c
    %b = tfc.transpose %a by [1, 0]       ->
    %d = tfc.div %b, %c

The rewrites are in `tfc.passes.rules`, by what they rewrite. They keep every value, to the
bit but for the few that say otherwise (`Rule.exact`). It runs early, so that later passes
see few forms, and again after those that leave work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfc.passes.rewriting import RulePass, RuleSet
from tfc.passes.rules import arithmetic, broadcasts, contraction, movement, reduction, state


@dataclass(frozen=True)
class Canonicalize(RulePass):
    """Apply the local rewrites of `tfc.passes.rules` until none fires."""

    name = "canonicalize"
    RULES: ClassVar[RuleSet] = RuleSet(
        (
            *movement.RULES,
            *arithmetic.RULES,
            *broadcasts.RULES,
            *reduction.RULES,
            *contraction.RULES,
            *state.RULES,
        )
    )
