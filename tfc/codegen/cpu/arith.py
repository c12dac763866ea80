"""Rules for ``arith``: the table, and what a machine does not do by itself.

What LLVM leaves undefined is defined here, at the same values on every target:

* division by zero gives 0, its remainder 0; INT_MIN / -1 wraps around; nothing traps;
* a shift by the width or more gives 0, or the sign in every bit for ``shrsi``;
* a float becomes an integer by truncation, held to the integer's range; NaN becomes 0;
* ``maximumf`` and ``minimumf`` give NaN where an operand is NaN; of two zeros, either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from xdsl.dialects import arith
from xdsl.dialects.arith import CMPF_COMPARISON_OPERATIONS, CMPI_COMPARISON_OPERATIONS
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    FloatAttr,
    IntegerAttr,
    VectorType,
)
from xdsl.ir import Attribute, Operation

from tfc.codegen.cpu import halves
from tfc.codegen.cpu.ir import Code, Kind, Shape, constant_int, literal, scalar_literal
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value

Binary = Callable[[Code, Kind, str, str], str]
"""Writes ``x op y`` on values of one kind."""


def instruction(name: str) -> Binary:
    return lambda code, kind, x, y: code.op(f"{name} {kind.text} {x}, {y}")


def add(code: Code, kind: Kind, x: str, y: str) -> str:
    a, b = constant_int(x), constant_int(y)
    if a is not None and b is not None:
        return scalar_literal(kind.element, a + b)
    if a == 0:
        return y
    if b == 0:
        return x
    return code.op(f"add {kind.text} {x}, {y}")


def subtract(code: Code, kind: Kind, x: str, y: str) -> str:
    a, b = constant_int(x), constant_int(y)
    if a is not None and b is not None:
        return scalar_literal(kind.element, a - b)
    if b == 0:
        return x
    return code.op(f"sub {kind.text} {x}, {y}")


def multiply(code: Code, kind: Kind, x: str, y: str) -> str:
    a, b = constant_int(x), constant_int(y)
    if a is not None and b is not None:
        return scalar_literal(kind.element, a * b)
    if a == 0 or b == 1:
        return x
    if b == 0 or a == 1:
        return y
    return code.op(f"mul {kind.text} {x}, {y}")


def _divisor(code: Code, kind: Kind, x: str, y: str, *, signed: bool) -> tuple[str, str]:
    """A divisor that cannot trap (1 instead of 0, and of -1 below INT_MIN), and where y is 0."""
    one, zero = literal(kind, 1), literal(kind, 0)
    is_zero = code.op(f"icmp eq {kind.text} {y}, {zero}")
    unfit = is_zero
    if signed:
        least = literal(kind, -(1 << (kind.width - 1)))
        at_least = code.op(f"icmp eq {kind.text} {x}, {least}")
        minus = code.op(f"icmp eq {kind.text} {y}, {literal(kind, -1)}")
        wraps = code.op(f"and {kind.truth.text} {at_least}, {minus}")
        unfit = code.op(f"or {kind.truth.text} {is_zero}, {wraps}")
    return code.select(unfit, kind, one, y), is_zero


def divide(code: Code, name: str, kind: Kind, x: str, y: str) -> str:
    """``sdiv`` or ``udiv`` by a divisor that does not trap.

    Vectors of at most 32 bits divide as doubles: the quotient of two such integers is at least
    ``2**-31`` of itself away from the next integer, so cutting the rounded one off is exact. Machines
    have no vector division of integers; this is twice as fast as lane by lane.
    """
    if not kind.lanes or kind.width > 32:
        return code.op(f"{name} {kind.text} {x}, {y}")
    double, whole = kind.of("double"), kind.of("i32")
    to, back = ("sitofp", "fptosi") if name == "sdiv" else ("uitofp", "fptoui")
    numerator, denominator = (code.cast(to, kind, v, double) for v in (x, y))
    exact = code.op(f"fdiv {double.text} {numerator}, {denominator}")
    quotient = code.cast(back, double, exact, whole)
    return quotient if kind == whole else code.cast("trunc", whole, quotient, kind)


def _is_safe(y: str) -> bool:
    """Whether ``y`` is a literal that divides everything without a trap."""
    known = constant_int(y.removeprefix("splat (").removesuffix(")").split(" ")[-1])
    return known is not None and known not in (0, -1)


def _quotient(name: str, *, signed: bool) -> Binary:
    def rule(code: Code, kind: Kind, x: str, y: str) -> str:
        if y == "1":
            return x
        if _is_safe(y):
            return code.op(f"{name} {kind.text} {x}, {y}")
        fit, is_zero = _divisor(code, kind, x, y, signed=signed)
        quotient = divide(code, name, kind, x, fit)
        return code.select(is_zero, kind, literal(kind, 0), quotient)

    return rule


def _remainder(name: str, *, signed: bool) -> Binary:
    def rule(code: Code, kind: Kind, x: str, y: str) -> str:
        if _is_safe(y):
            return code.op(f"{name} {kind.text} {x}, {y}")
        fit, _ = _divisor(code, kind, x, y, signed=signed)  # a remainder by 1 is 0
        if not kind.lanes:
            return code.op(f"{name} {kind.text} {x}, {fit}")
        quotient = divide(code, "sdiv" if signed else "udiv", kind, x, fit)
        return code.op(f"sub {kind.text} {x}, {code.op(f'mul {kind.text} {quotient}, {fit}')}")

    return rule


def _floor_divide(code: Code, kind: Kind, x: str, y: str) -> str:
    return _rounded_quotient(code, kind, x, y, up=False)


def _ceil_divide(code: Code, kind: Kind, x: str, y: str) -> str:
    return _rounded_quotient(code, kind, x, y, up=True)


def _rounded_quotient(code: Code, kind: Kind, x: str, y: str, *, up: bool) -> str:
    """The truncated quotient, moved by one where it was cut in the other direction."""
    zero = literal(kind, 0)
    if _is_safe(y):
        fit, is_zero = y, ""
    else:
        fit, is_zero = _divisor(code, kind, x, y, signed=True)
    quotient = divide(code, "sdiv", kind, x, fit)
    rest = code.op(f"sub {kind.text} {x}, {code.op(f'mul {kind.text} {quotient}, {fit}')}")
    inexact = code.op(f"icmp ne {kind.text} {rest}, {zero}")
    signs = code.op(f"xor {kind.text} {rest}, {fit}")
    cut = code.op(f"icmp {'sge' if up else 'slt'} {kind.text} {signs}, {zero}")
    off = code.op(f"and {kind.truth.text} {inexact}, {cut}")
    moved = code.op(f"{'add' if up else 'sub'} {kind.text} {quotient}, {literal(kind, 1)}")
    result = code.select(off, kind, moved, quotient)
    return code.select(is_zero, kind, zero, result) if is_zero else result


def _ceil_divide_unsigned(code: Code, kind: Kind, x: str, y: str) -> str:
    quotient = _quotient("udiv", signed=False)(code, kind, x, y)
    product = code.op(f"mul {kind.text} {quotient}, {y}")
    more = code.op(f"icmp ult {kind.text} {product}, {x}")
    nonzero = code.op(f"icmp ne {kind.text} {y}, {literal(kind, 0)}")
    both = code.op(f"and {kind.truth.text} {more}, {nonzero}")
    return code.op(f"add {kind.text} {quotient}, {code.cast('zext', kind.truth, both, kind)}")


def _shift(name: str, *, arithmetic: bool = False) -> Binary:
    def rule(code: Code, kind: Kind, x: str, y: str) -> str:
        known = constant_int(y.removeprefix("splat (").removesuffix(")").split(" ")[-1])
        if known is not None and 0 <= known < kind.width:
            return code.op(f"{name} {kind.text} {x}, {y}")
        inside = code.op(f"icmp ult {kind.text} {y}, {literal(kind, kind.width)}")
        last = literal(kind, kind.width - 1)
        amount = code.select(inside, kind, y, last)
        shifted = code.op(f"{name} {kind.text} {x}, {amount}")
        return shifted if arithmetic else code.select(inside, kind, shifted, literal(kind, 0))

    return rule


def _integer_extreme(predicate: str) -> Binary:
    def rule(code: Code, kind: Kind, x: str, y: str) -> str:
        return code.select(code.op(f"icmp {predicate} {kind.text} {x}, {y}"), kind, x, y)

    return rule


def _extreme(predicate: str) -> Binary:
    """NaN where an operand is: the comparison gives ``y``, so only ``x`` is left to look at.

    Constants are no NaN, so with one as ``x`` a single instruction does it: relu.
    """

    def rule(code: Code, kind: Kind, x: str, y: str) -> str:
        if not y.startswith("%"):
            x, y = y, x
        better = code.select(code.op(f"fcmp {predicate} {kind.text} {x}, {y}"), kind, x, y)
        if not x.startswith("%") and not _holds_nan(x):
            return better
        return code.select(code.op(f"fcmp uno {kind.text} {x}, {x}"), kind, x, better)

    return rule


def _holds_nan(text: str) -> bool:
    """Whether a literal is NaN in some lane; literals show the bits of a double."""
    bits = [int(word.rstrip(",>)"), 16) for word in text.split() if word.startswith("0x")]
    return any(b & (1 << 63) - 1 > 0x7FF0000000000000 for b in bits)


def _extreme_number(predicate: str) -> Binary:
    """The other operand where one is NaN."""

    def rule(code: Code, kind: Kind, x: str, y: str) -> str:
        better = code.select(code.op(f"fcmp {predicate} {kind.text} {x}, {y}"), kind, x, y)
        return code.select(code.op(f"fcmp uno {kind.text} {y}, {y}"), kind, x, better)

    return rule


BINARY: dict[type[Operation], Binary] = {
    arith.AddiOp: add,
    arith.SubiOp: subtract,
    arith.MuliOp: multiply,
    arith.DivSIOp: _quotient("sdiv", signed=True),
    arith.DivUIOp: _quotient("udiv", signed=False),
    arith.RemSIOp: _remainder("srem", signed=True),
    arith.RemUIOp: _remainder("urem", signed=False),
    arith.FloorDivSIOp: _floor_divide,
    arith.CeilDivSIOp: _ceil_divide,
    arith.CeilDivUIOp: _ceil_divide_unsigned,
    arith.AndIOp: instruction("and"),
    arith.OrIOp: instruction("or"),
    arith.XOrIOp: instruction("xor"),
    arith.ShLIOp: _shift("shl"),
    arith.ShRUIOp: _shift("lshr"),
    arith.ShRSIOp: _shift("ashr", arithmetic=True),
    arith.MaxSIOp: _integer_extreme("sgt"),
    arith.MinSIOp: _integer_extreme("slt"),
    arith.MaxUIOp: _integer_extreme("ugt"),
    arith.MinUIOp: _integer_extreme("ult"),
}
"""Integers, and indices, which are 64-bit integers."""

FLOAT_BINARY: dict[type[Operation], Binary] = {
    arith.MaximumfOp: _extreme("ogt"),
    arith.MinimumfOp: _extreme("olt"),
    arith.MaxnumfOp: _extreme_number("ogt"),
    arith.MinnumfOp: _extreme_number("olt"),
}

FLOAT_INSTRUCTIONS: dict[type[Operation], str] = {
    arith.AddfOp: "fadd",
    arith.SubfOp: "fsub",
    arith.MulfOp: "fmul",
    arith.DivfOp: "fdiv",
}

_COMBINERS: dict[str, tuple[Binary, Binary]] = {
    "add": (instruction("fadd"), add),
    "mul": (instruction("fmul"), multiply),
    "max": (_extreme("ogt"), _integer_extreme("sgt")),
    "min": (_extreme("olt"), _integer_extreme("slt")),
    "umax": (_integer_extreme("ugt"), _integer_extreme("ugt")),
    "umin": (_integer_extreme("ult"), _integer_extreme("ult")),
    "and": (instruction("and"), instruction("and")),
    "or": (instruction("or"), instruction("or")),
}


def combine(code: Code, name: str, kind: Kind, x: str, y: str) -> str:
    """One step of a reduction: `kernel.COMBINERS` by name."""
    of_floats, of_integers = _COMBINERS[name]
    return (of_floats if kind.is_float else of_integers)(code, kind, x, y)


def _binary(rule: Binary) -> Rule:
    def write(t: Translator, op: Operation) -> Value:
        return t.each_row(op, lambda shape, args: rule(t.code, shape.kind, args[0], args[1]))

    return write


def _float_binary(name: str) -> Rule:
    def write(t: Translator, op: Operation) -> Value:
        head = f"{name}{_flags(op)}"
        return t.each_row(
            op, lambda shape, args: t.code.op(f"{head} {shape.kind.text} {args[0]}, {args[1]}")
        )

    return write


def _flags(op: Operation) -> str:
    """The fast-math flags of ``op``, spelled as LLVM does."""
    attribute = op.properties.get("fastmath")
    if not isinstance(attribute, arith.FastMathFlagsAttr) or not attribute.data:
        return ""
    words = sorted(flag.value for flag in attribute.data)
    return " fast" if len(words) == 7 else " " + " ".join(words)


def _negate(t: Translator, op: Operation) -> Value:
    head = f"fneg{_flags(op)}"
    return t.each_row(op, lambda shape, args: t.code.op(f"{head} {shape.kind.text} {args[0]}"))


def _constant(t: Translator, op: Operation) -> Value:
    assert isinstance(op, arith.ConstantOp), "the table says so"
    shape = t.shape(op.result.type)
    match op.value:
        case IntegerAttr():
            return literal(shape.kind, op.value.value.data)
        case FloatAttr():
            return literal(shape.kind, _number(op.value.value.data, op.result.type))
        case DenseIntOrFPElementsAttr():
            return _dense(op.value, shape.kind, shape.rows)
        case _:
            raise NotImplementedError(f"no rule for the constant {op.value}")


def _dense(attribute: DenseIntOrFPElementsAttr, kind: Kind, rows: int) -> Value:
    element = attribute.get_element_type()
    values = cast("Sequence[float | int]", attribute.get_values())  # kernels have no complex ones
    if attribute.is_splat():
        text = literal(kind, _number(values[0], element))
        return [text] * rows if rows else text
    numbers = [_number(v, element) for v in values]
    if not rows:
        return _listed(kind, numbers)
    width = max(1, kind.lanes)
    return [_listed(kind, numbers[r * width : (r + 1) * width]) for r in range(rows)]


def _listed(kind: Kind, numbers: Sequence[float | int]) -> str:
    texts = [f"{kind.element} {scalar_literal(kind.element, n)}" for n in numbers]
    return f"<{', '.join(texts)}>" if kind.lanes else texts[0].split(" ")[1]


def _number(value: float | int, type_: Attribute) -> float | int:
    """A constant as it is held: half floats by their bits."""
    if isinstance(type_, Float16Type):
        return halves.f16_bits(value)
    if isinstance(type_, BFloat16Type):
        return halves.bf16_bits(value)
    return value


def _compare(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.CompareOp | arith.CmpiOp | arith.CmpfOp), "the table says so"
    kind = t.shape(op.operands[0].type).kind
    if isinstance(op, kernel.CompareOp):
        predicate = op.predicate.data
    elif isinstance(op, arith.CmpiOp):
        predicate = CMPI_COMPARISON_OPERATIONS[op.predicate.value.data]
    else:
        predicate = CMPF_COMPARISON_OPERATIONS[op.predicate.value.data]
    head = f"fcmp{_flags(op)}" if kind.is_float else "icmp"
    return t.each_row(op, lambda _, args: t.code.op(f"{head} {predicate} {kind.text} {args[0]}, {args[1]}"))


def _select(t: Translator, op: Operation) -> Value:
    scalar = not t.shape(op.operands[0].type).kind.lanes

    def rule(shape: Shape, args: Sequence[str]) -> str:
        condition, yes, no = args
        if condition in ("true", "false"):
            return yes if condition == "true" else no
        return t.code.select(condition, shape.kind, yes, no, scalar=scalar)

    return t.each_row(op, rule)


def _cast(name: str) -> Rule:
    def write(t: Translator, op: Operation) -> Value:
        source = t.shape(op.operands[0].type).kind

        def rule(shape: Shape, args: Sequence[str]) -> str:
            if source == shape.kind:
                return args[0]
            return t.code.cast(name, source, args[0], shape.kind)

        return t.each_row(op, rule)

    return write


def _index_cast(*, signed: bool) -> Rule:
    def write(t: Translator, op: Operation) -> Value | None:
        source, target = (t.shape(v.type).kind for v in (op.operands[0], op.results[0]))
        if source.width > target.width:
            name = "trunc"
        else:
            name = "sext" if signed else "zext"
        return _cast(name)(t, op)

    return write


def _to_integer(*, signed: bool) -> Rule:
    def write(t: Translator, op: Operation) -> Value:
        source = t.shape(op.operands[0].type).kind
        return t.each_row(
            op, lambda shape, args: float_to_int(t.code, source, args[0], shape.kind, signed=signed)
        )

    return write


def float_to_int(code: Code, source: Kind, x: str, to: Kind, *, signed: bool) -> str:
    """Truncate ``x``, held to the range of ``to``; NaN gives 0.

    ``llvm.fptosi.sat`` means the same, but code generation for x86 takes it apart lane by lane.
    """
    bits = to.width - 1 if signed else to.width
    low, beyond = float(-(1 << bits) if signed else 0), float(1 << bits)
    # Converting in 32 bits at least: narrower conversions are not vector instructions.
    wide = to.of(f"i{max(32, to.width)}")
    at_low = code.op(f"fcmp oge {source.text} {x}, {literal(source, low)}")
    raised = code.select(at_low, source, x, literal(source, low))
    fits = code.op(f"fcmp olt {source.text} {raised}, {literal(source, beyond)}")
    held = code.select(fits, source, raised, literal(source, low))
    name = "fptosi" if signed or wide.width > to.width else "fptoui"
    result = code.cast(name, source, held, wide)
    result = code.select(fits, wide, result, literal(wide, (1 << bits) - 1))
    if signed:
        is_nan = code.op(f"fcmp uno {source.text} {x}, {x}")
        result = code.select(is_nan, wide, literal(wide, 0), result)
    return result if wide == to else code.cast("trunc", wide, result, to)


def _bitcast(t: Translator, op: Operation) -> Value:
    source = t.shape(op.operands[0].type).kind
    return t.each_row(op, lambda shape, args: t.code.bitcast(source, args[0], shape.kind))


def _extend_float(t: Translator, op: Operation) -> Value:
    source = t.shape(op.operands[0].type).kind
    element = _element(op.operands[0].type)

    def rule(shape: Shape, args: Sequence[str]) -> str:
        if isinstance(element, Float16Type | BFloat16Type):
            single = shape.kind.of("float")
            widen = halves.from_f16 if isinstance(element, Float16Type) else halves.from_bf16
            value = widen(t.code, source, args[0])
            return value if single == shape.kind else t.code.cast("fpext", single, value, shape.kind)
        return t.code.cast("fpext", source, args[0], shape.kind)

    return t.each_row(op, rule)


def _truncate_float(t: Translator, op: Operation) -> Value:
    source = t.shape(op.operands[0].type).kind
    element = _element(op.results[0].type)

    def rule(shape: Shape, args: Sequence[str]) -> str:
        value = args[0]
        if not isinstance(element, Float16Type | BFloat16Type):
            return t.code.cast("fptrunc", source, value, shape.kind)
        single = source.of("float")
        if source != single:
            value = halves.round_to_odd(t.code, source, value)
        narrow = halves.to_f16 if isinstance(element, Float16Type) else halves.to_bf16
        return narrow(t.code, single, value)

    return t.each_row(op, rule)


def _element(type_: Attribute) -> Attribute:
    return type_.element_type if isinstance(type_, VectorType) else type_


RULES: dict[type[Operation], Rule] = {
    arith.ConstantOp: _constant,
    kernel.CompareOp: _compare,
    kernel.SelectOp: _select,
    arith.CmpiOp: _compare,
    arith.CmpfOp: _compare,
    arith.SelectOp: _select,
    arith.NegfOp: _negate,
    arith.ExtFOp: _extend_float,
    arith.TruncFOp: _truncate_float,
    arith.BitcastOp: _bitcast,
    arith.IndexCastOp: _index_cast(signed=True),
    arith.ExtSIOp: _cast("sext"),
    arith.ExtUIOp: _cast("zext"),
    arith.TruncIOp: _cast("trunc"),
    arith.SIToFPOp: _cast("sitofp"),
    arith.UIToFPOp: _cast("uitofp"),
    arith.FPToSIOp: _to_integer(signed=True),
    arith.FPToUIOp: _to_integer(signed=False),
    **{op: _binary(rule) for op, rule in (BINARY | FLOAT_BINARY).items()},
    **{op: _float_binary(name) for op, name in FLOAT_INSTRUCTIONS.items()},
}
"""What each operation of ``arith`` becomes on a CPU."""


_CASTS: dict[str, Rule] = {
    "extf": RULES[arith.ExtFOp],
    "truncf": RULES[arith.TruncFOp],
    "extsi": RULES[arith.ExtSIOp],
    "extui": RULES[arith.ExtUIOp],
    "trunci": RULES[arith.TruncIOp],
    "sitofp": RULES[arith.SIToFPOp],
    "uitofp": RULES[arith.UIToFPOp],
    "fptosi": RULES[arith.FPToSIOp],
    "fptoui": RULES[arith.FPToUIOp],
    "index": RULES[arith.IndexCastOp],
    "bitcast": RULES[arith.BitcastOp],
}


def _convert(t: Translator, op: Operation) -> Value | None:
    assert isinstance(op, kernel.CastOp), "the table says so"
    return _CASTS[op.kind.data](t, op)


RULES[kernel.CastOp] = _convert
