"""Write composites in primitives: ``softmax`` as ``max, sub, exp, sum, div``.

Each composite says itself what it is made of (`TensorOp.decompose`). The option ``keep``
names those that a later pass or kernel generator wants whole: ``decompose{keep=softmax,gelu}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tfc.dialects.tfc.base import TensorOp
from tfc.errors import InternalError
from tfc.passes.rewriting import Emitter, replace


@dataclass(frozen=True)
class Decompose(ModulePass):
    """Write composite operations in primitives, except those that are to be kept."""

    name = "decompose"
    EXACT: ClassVar[bool] = False
    """Its formula rounds after each step; the reference of a composite once."""
    keep: str | tuple[str, ...] = ()
    """Names without the dialect: ``softmax``."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        names = (self.keep,) if isinstance(self.keep, str) else self.keep
        kept = {n if n.startswith("tfc.") else f"tfc.{n}" for n in names}
        pending = [o for o in op.walk() if isinstance(o, TensorOp)][::-1]
        while pending:
            composite = pending.pop()
            if composite.parent is None or composite.name in kept or not composite.is_composite():
                continue
            pending += reversed(_decomposed(composite))


def _decomposed(op: TensorOp) -> list[TensorOp]:
    """Replace ``op``; what it became, which may hold composites again."""
    emit = Emitter(op)
    values = op.decompose(emit)
    for value, result in zip(values, op.results, strict=True):
        if value.type != result.type:
            raise InternalError(f"'{op.name}' decomposes into {value.type}, expected {result.type}")
    replace(op, values)
    return [o for o in emit.made if isinstance(o, TensorOp)]
