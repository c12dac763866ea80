"""Rules for ``math``: a formula is written where it is used, or called as a helper of the module.

A helper is internal, one for each function and type: ``tfc.exp.v64f32``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects import math
from xdsl.ir import Operation

from tfc.codegen.cpu import formulas
from tfc.codegen.cpu.ir import Code, Kind, Module, literal
from tfc.codegen.cpu.number import Number
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value


def apply(code: Code, name: str, kind: Kind, operands: Sequence[str]) -> str:
    """The function ``name`` of some operands."""
    table = formulas.SINGLE if kind.element == "float" else formulas.DOUBLE
    formula = table[name]
    copies = code.copies[name, kind]
    if copies < formula.copies * code.target.isa.inlining:
        code.copies[name, kind] += 1
        return formula.write(*(Number(code, kind, o) for o in operands)).text
    full = helper(code.module, name, formula.write, kind, len(operands))
    return code.call(full, kind, [(kind, o) for o in operands])


def helper(
    module: Module, name: str, formula: Callable[..., Number], kind: Kind, arity: int
) -> str:
    """The name of the helper that computes ``formula``; written when first asked for."""
    full = f"tfc.{name}.{kind.mangled}"
    if full not in module.helpers:
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
    return lambda t, op: t.each_row(op, lambda shape, args: apply(t.code, name, shape.kind, args))


def _exp(t: Translator, op: Operation) -> Value:
    """Where the generator knows that operands are never positive it says so."""
    name = "exp_of_never_positive" if kernel.NEVER_POSITIVE in op.attributes else "exp"
    return t.each_row(op, lambda shape, args: apply(t.code, name, shape.kind, args))


def _intrinsic(name: str) -> Rule:
    return lambda t, op: t.each_row(
        op, lambda shape, args: t.code.intrinsic(name, shape.kind, args)
    )


def _rounding(name: str) -> Rule:
    def write(t: Translator, op: Operation) -> Value | None:
        # Halves away from zero is an instruction on few machines, and a library call elsewhere.
        if t.code.target.isa.rounding and name != "round":
            return _intrinsic(name)(t, op)
        return t.each_row(op, lambda shape, args: formula(t.code, shape.kind, args[0]))

    def formula(code: Code, kind: Kind, x: str) -> str:
        full = helper(code.module, name, formulas.ROUNDING[name], kind, 1)
        return code.call(full, kind, [(kind, x)])

    return write


def _absolute_integer(t: Translator, op: Operation) -> Value:
    def rule(kind: Kind, x: str) -> str:
        code = t.code
        negative = code.op(f"icmp slt {kind.text} {x}, {literal(kind, 0)}")
        return code.select(negative, kind, code.op(f"sub {kind.text} {literal(kind, 0)}, {x}"), x)

    return t.each_row(op, lambda shape, args: rule(shape.kind, args[0]))


def _count_zeros(name: str) -> Rule:
    """The count of 0 is the width."""

    def write(t: Translator, op: Operation) -> Value:
        def rule(kind: Kind, x: str) -> str:
            full = f"llvm.{name}.{kind.mangled}"
            t.code.module.declare(full, kind.text, [kind.text, "i1"])
            return t.code.op(f"call {kind.text} @{full}({kind.text} {x}, i1 false)")

        return t.each_row(op, lambda shape, args: rule(shape.kind, args[0]))

    return write


def _integer_power(t: Translator, op: Operation) -> Value:
    return t.each_row(op, lambda shape, args: integer_power(t.code, shape.kind, args[0], args[1]))


def integer_power(code: Code, kind: Kind, x: str, y: str) -> str:
    """``x**y`` by squaring, wrapping around; for ``y < 0`` the quotient ``1 / x**-y``, or 0."""
    full = helper(code.module, "ipow", _power_by_squaring, kind, 2)
    return code.call(full, kind, [(kind, x), (kind, y)])


def _power_by_squaring(x: Number, y: Number) -> Number:
    code, kind = x.code, x.kind
    head, done = code.fresh("loop"), code.fresh("done")
    code.jump(head)
    code.start(head)
    names = [f"%{code.fresh('p')}" for _ in range(3)]
    place = len(code.lines)
    result, square, left = (Number(code, kind, n) for n in names)
    odd = (left & 1).compare("ne", 0)
    following = [odd.where(result * square, result), square * square, left.unsigned_shift_right(1)]
    more = following[2].compare("ne", 0)
    some = more.text
    if kind.lanes:
        some = code.intrinsic("vector.reduce.or", more.kind, [some], result=Kind("i1"))
    code.branch(some, head, done)
    entering = zip(names, (literal(kind, 1), x.text, y.text), following, strict=True)
    code.lines[place:place] = [
        f"  {name} = phi {kind.text} [ {first}, %entry ], [ {last.text}, %{head} ]"
        for name, first, last in entering
    ]
    code.start(done)
    # 1 and -1 have inverses; an even -y has the parity of y itself.
    minus = (y & 1).compare("eq", 0).where(x * x, x)
    unit = x.compare("eq", 1) | x.compare("eq", -1)
    inverse = unit.where(minus, x.constant(0))
    return y.compare("slt", 0).where(inverse, following[0])


def _float_to_integer_power(t: Translator, op: Operation) -> Value:
    exponent = t.shape(op.operands[1].type).kind

    def rule(kind: Kind, x: str, y: str) -> str:
        return apply(t.code, "powf", kind, [x, t.code.cast("sitofp", exponent, y, kind)])

    return t.each_row(op, lambda shape, args: rule(shape.kind, args[0], args[1]))


FUNCTIONS: dict[type[Operation], str] = {
    math.Exp2Op: "exp2", math.ExpM1Op: "expm1",
    math.LogOp: "log", math.Log1pOp: "log1p", math.Log2Op: "log2", math.Log10Op: "log10",
    math.RsqrtOp: "rsqrt", math.CbrtOp: "cbrt", math.PowFOp: "powf", math.ErfOp: "erf",
    math.SinOp: "sin", math.CosOp: "cos", math.TanOp: "tan",
    math.AsinOp: "asin", math.AcosOp: "acos", math.AtanOp: "atan", math.Atan2Op: "atan2",
    math.SinhOp: "sinh", math.CoshOp: "cosh", math.TanhOp: "tanh",
    math.AsinhOp: "asinh", math.AcoshOp: "acosh", math.AtanhOp: "atanh",
}  # fmt: skip
"""Operations that are helpers, by the names of `formulas`."""

RULES: dict[type[Operation], Rule] = {
    math.AbsFOp: _intrinsic("fabs"),
    math.CopySignOp: _intrinsic("copysign"),
    math.SqrtOp: _intrinsic("sqrt"),
    math.FmaOp: _intrinsic("fmuladd"),
    math.CtPopOp: _intrinsic("ctpop"),
    math.CountLeadingZerosOp: _count_zeros("ctlz"),
    math.CountTrailingZerosOp: _count_zeros("cttz"),
    math.AbsIOp: _absolute_integer,
    math.IPowIOp: _integer_power,
    math.FPowIOp: _float_to_integer_power,
    math.FloorOp: _rounding("floor"),
    math.CeilOp: _rounding("ceil"),
    math.TruncOp: _rounding("trunc"),
    math.RoundOp: _rounding("round"),
    math.RoundEvenOp: _rounding("roundeven"),
    **{op: _rule(name) for op, name in FUNCTIONS.items()},
    math.ExpOp: _exp,
}
"""What each operation of ``math`` becomes on a CPU."""
