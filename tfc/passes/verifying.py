"""Whether a module is well formed: what xDSL checks, and dominance, which it does not.

xDSL accepts a use before its definition. All regions of tfc have one block, so one walk
that remembers what has been defined finds any, at 1.6 us an operation.
"""

from __future__ import annotations

from xdsl.ir import Operation, Region, SSAValue
from xdsl.traits import IsolatedFromAbove
from xdsl.utils.exceptions import VerifyException

from tfc.location import describe


def verify_module(root: Operation) -> None:
    """Check every operation's own constraints, and that values are defined before use.

    Raises:
        VerifyException: (or its subclass `RuleError`) the first thing that does not hold.
    """
    root.verify()
    verify_dominance(root)


def verify_dominance(root: Operation) -> None:
    """Check that each operand is defined before its use, in the same or an outer region.

    Raises:
        VerifyException: the first operand that is not.
    """
    for region in root.regions:
        _region(region, set())


def _region(region: Region, seen: set[SSAValue]) -> None:
    added: list[SSAValue] = []
    for block in region.blocks:
        added.extend(block.args)
        seen.update(block.args)
        for op in block.ops:
            for operand in op._operands:  # pyright: ignore[reportPrivateUsage] # a view: 1 us
                if operand not in seen:
                    raise VerifyException(_message(op, operand))
            for inner in op.regions:
                isolated = op.has_trait(IsolatedFromAbove, value_if_unregistered=False)
                _region(inner, set() if isolated else seen)
            seen.update(op.results)
            added.extend(op.results)
    seen.difference_update(added)


def _message(op: Operation, operand: SSAValue) -> str:
    where = describe(op.location)
    number = list(op.operands).index(operand)
    owner = operand.owner
    source = f"the result of '{owner.name}'" if isinstance(owner, Operation) else "an argument"
    return (
        f"{where + ': ' if where else ''}'{op.name}': expected operand {number} to be defined "
        f"before its use in the same or an enclosing region, got {source} that is not"
    )
