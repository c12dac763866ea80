"""Rules for ``math``: each function becomes a helper of the module, called where it is used.

A helper is internal, one for each function and type: ``tfc.exp.v64f32``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects import math
from xdsl.ir import Operation

from tfc.codegen.cpu import formulas
from tfc.codegen.cpu.ir import Code, Kind, Module
from tfc.codegen.cpu.number import Number

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value

Formula = Callable[..., Number]


def helper(module: Module, name: str, formula: Formula, kind: Kind, arity: int) -> str:
    """The name of the helper that computes ``formula``; written when first asked for."""
    full = f"tfc.{name}.{kind.mangled}"
    if full not in module.helpers:
        module.helpers[full] = ""  # holds the place: helpers that this one calls come later
        code = Code(module)
        names = [f"%{letter}" for letter in "xyz"[:arity]]
        result = formula(*(Number(code, kind, n) for n in names))
        parameters = ", ".join(f"{kind.text} {n}" for n in names)
        body = "\n".join([*code.entry, *code.lines])
        module.helpers[full] = (
            f"define internal {kind.text} @{full}({parameters}) nounwind "
            f"{module.target.attributes} {{\nentry:\n{body}\n  ret {kind.text} {result.text}\n}}\n"
        )
    return full


def _rule(name: str) -> Rule:
    def write(t: Translator, op: Operation) -> Value:
        def rule(kind: Kind, args: Sequence[str]) -> str:
            formula = (formulas.SINGLE if kind.element == "float" else formulas.DOUBLE)[name]
            full = helper(t.code.module, name, formula, kind, len(args))
            return t.code.call(full, kind, [(kind, a) for a in args])

        return t.each_row(op, lambda shape, args: rule(shape.kind, args))

    return write


def _intrinsic(name: str) -> Rule:
    def write(t: Translator, op: Operation) -> Value:
        return t.each_row(op, lambda shape, args: t.code.intrinsic(name, shape.kind, args))

    return write


RULES: dict[type[Operation], Rule] = {
    math.AbsFOp: _intrinsic("fabs"),
    math.CopySignOp: _intrinsic("copysign"),
    math.SqrtOp: _intrinsic("sqrt"),
    math.FmaOp: _intrinsic("fmuladd"),
    **{
        op: _rule(op.name.removeprefix("math."))
        for op in (math.ExpOp, math.TanhOp, math.LogOp, math.RsqrtOp)
    },
}
"""What each operation of ``math`` becomes on a CPU."""

