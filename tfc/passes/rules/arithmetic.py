"""Rewrites of elementwise operations.

They hold for every NaN, infinity and signed zero: ``x + 0.0`` is not ``x`` (it turns -0.0
into 0.0), ``x + -0.0`` is; ``x * 0.0`` is not 0.0. Those that round differently say so.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type, IntegerType
from xdsl.ir import Attribute

from tfc.dialects.tfc.constant import splat_like
from tfc.dialects.tfc.elementwise import (
    AbsOp,
    AddOp,
    AndOp,
    BinaryOp,
    BitcastOp,
    CastOp,
    CompareOp,
    DivOp,
    FloordivOp,
    FloormodOp,
    MaxOp,
    MinOp,
    MulOp,
    NegOp,
    NotOp,
    OrOp,
    PowOp,
    RemOp,
    SelectOp,
    ShiftLeftOp,
    ShiftRightOp,
    SubOp,
    XorOp,
)
from tfc.dialects.tfc.types import dtype_of, element, is_bool, is_float, is_unsigned
from tfc.passes.rewriting import Emitter, Rewritten, producer, rule
from tfc.passes.rules.constants import is_constant_like, is_uniform, uniform

MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
INVERTED = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


@rule
def constant_to_the_right(op: BinaryOp, emit: Emitter) -> Rewritten:
    """c + x -> x + c, for every commutative operation"""
    if op.COMMUTATIVE and is_constant_like(op.x) and not is_constant_like(op.y):
        return emit(type(op)(op.y, op.x))
    return None


@rule
def constant_to_the_right_of_comparison(op: CompareOp, emit: Emitter) -> Rewritten:
    """c < x -> x > c"""
    if is_constant_like(op.x) and not is_constant_like(op.y):
        return emit(CompareOp(MIRRORED[op.predicate.data], op.y, op.x))
    return None


@rule
def add_zero(op: AddOp, emit: Emitter) -> Rewritten:
    """x + -0.0 -> x; for integers x + 0 -> x"""
    return op.x if is_uniform(op.y, -0.0 if is_float(element(op.x)) else 0) else None


@rule
def sub_zero(op: SubOp, emit: Emitter) -> Rewritten:
    """x - 0.0 -> x; for integers also x - x -> 0"""
    if is_uniform(op.y, 0):
        return op.x
    if op.x is op.y and not is_float(element(op.x)):
        return splat_like(emit, op.x, 0)
    return None


@rule
def mul_one(op: MulOp, emit: Emitter) -> Rewritten:
    """x * 1 -> x;  x * -1.0 -> neg(x);  for integers x * 0 -> 0"""
    if is_uniform(op.y, 1):
        return op.x
    if is_float(element(op.x)):
        return emit(NegOp(op.x)) if is_uniform(op.y, -1) else None
    return op.y if is_uniform(op.y, 0) else None


@rule
def div_one(op: DivOp | FloordivOp, emit: Emitter) -> Rewritten:
    """x / 1 -> x"""
    if is_float(element(op.x)) and isinstance(op, FloordivOp):
        return None  # it rounds
    return op.x if is_uniform(op.y, 1) else None


@rule
def remainder_of_one(op: RemOp | FloormodOp, emit: Emitter) -> Rewritten:
    """x mod 1 -> 0, for integers"""
    if not is_float(element(op.x)) and is_uniform(op.y, 1):
        return splat_like(emit, op.x, 0)
    return None


@rule
def shift_zero(op: ShiftLeftOp | ShiftRightOp, emit: Emitter) -> Rewritten:
    """x << 0 -> x"""
    return op.x if is_uniform(op.y, 0) else None


@rule
def div_by_power_of_two(op: DivOp, emit: Emitter) -> Rewritten:
    """x / c -> x * (1 / c), where c is a power of two: both round the same real number"""
    kind = element(op.x)
    if not is_float(kind) or (divisor := uniform(op.y)) is None:
        return None
    number = float(divisor)
    if number == 0 or not np.isfinite(number) or abs(np.frexp(number)[0]) != 0.5:
        return None
    exponent = int(np.frexp(number)[1]) - 1
    least = _least_exponent(kind)
    if not least <= -exponent <= -least or not least <= exponent <= -least:
        return None
    return emit(MulOp(op.x, splat_like(emit, op.y, 1 / number)))


@rule
def add_negated(op: AddOp, emit: Emitter) -> Rewritten:
    """x + neg(y) -> x - y"""
    if inner := producer(op.y, NegOp):
        return emit(SubOp(op.x, inner.x))
    if inner := producer(op.x, NegOp):
        return emit(SubOp(op.y, inner.x))
    return None


@rule
def sub_negated(op: SubOp, emit: Emitter) -> Rewritten:
    """x - neg(y) -> x + y"""
    return emit(AddOp(op.x, inner.x)) if (inner := producer(op.y, NegOp)) else None


@rule
def negated_twice(op: NegOp | NotOp, emit: Emitter) -> Rewritten:
    """neg(neg(x)) -> x;  not(not(x)) -> x"""
    return inner.x if (inner := producer(op.x, type(op))) else None


@rule
def absolute_of_sign_change(op: AbsOp, emit: Emitter) -> Rewritten:
    """abs(neg(x)) -> abs(x);  abs(abs(x)) -> abs(x);  for unsigned integers abs(x) -> x"""
    if is_unsigned(element(op.x)):
        return op.x
    if inner := producer(op.x, AbsOp):
        return inner.result
    if inner := producer(op.x, NegOp):
        return emit(AbsOp(inner.x))
    return None


@rule
def equal_operands(op: MaxOp | MinOp | AndOp | OrOp, emit: Emitter) -> Rewritten:
    """max(x, x) -> x, and so min, and, or"""
    return op.x if op.x is op.y else None


@rule
def xor_of_equal_operands(op: XorOp, emit: Emitter) -> Rewritten:
    """xor(x, x) -> 0"""
    return splat_like(emit, op.x, 0) if op.x is op.y else None


@rule
def bits_with_constant(op: AndOp | OrOp | XorOp, emit: Emitter) -> Rewritten:
    """and(x, 0) -> 0;  and(x, ~0) -> x;  or(x, 0) -> x;  or(x, ~0) -> ~0;  xor(x, 0) -> x"""
    if (mask := uniform(op.y)) is None:
        return None
    none, all_ = bool(mask == 0), bool(mask == np.invert(np.zeros_like(mask)))
    if isinstance(op, AndOp):
        return op.y if none else op.x if all_ else None
    if isinstance(op, OrOp):
        return op.x if none else op.y if all_ else None
    return op.x if none else None


@rule
def constants_together(op: BinaryOp, emit: Emitter) -> Rewritten:
    """op(op(x, c), d) -> op(x, op(c, d)), where that is exact: max, min, and, or, xor; integers"""
    exact = isinstance(op, MaxOp | MinOp | AndOp | OrOp | XorOp) or (
        isinstance(op, AddOp | MulOp) and not is_float(element(op.x))
    )
    inner = op.x.owner
    if not exact or type(inner) is not type(op) or not is_constant_like(op.y):
        return None
    assert isinstance(inner, BinaryOp), "it has the class of op"
    if is_constant_like(inner.x) or not is_constant_like(inner.y):
        return None
    return emit(type(op)(inner.x, emit(type(op)(inner.y, op.y))))


@rule
def power_zero_or_one(op: PowOp, emit: Emitter) -> Rewritten:
    """pow(x, 1) -> x;  pow(x, 0) -> 1, also for NaN"""
    if is_uniform(op.y, 1):
        return op.x
    exponent = uniform(op.y)
    return splat_like(emit, op.x, 1) if exponent is not None and exponent == 0 else None


@rule(exact=False)
def small_power(op: PowOp, emit: Emitter) -> Rewritten:
    """pow(x, 2) -> x * x;  pow(x, 3) -> x * x * x;  pow(x, -1) -> 1 / x

    At most one rounding more than the exact power, and twenty times faster.
    """
    if not is_float(element(op.x)) or (exponent := uniform(op.y)) is None:
        return None
    if exponent == 2:
        return emit(MulOp(op.x, op.x))
    if exponent == 3:
        return emit(MulOp(emit(MulOp(op.x, op.x)), op.x))
    if exponent == -1:
        return emit(DivOp(splat_like(emit, op.x, 1), op.x))
    return None


@rule
def select_known(op: SelectOp, emit: Emitter) -> Rewritten:
    """select(true, x, y) -> x;  select(c, x, x) -> x"""
    if op.x is op.y:
        return op.x
    if (condition := uniform(op.condition)) is None:
        return None
    return op.x if condition else op.y


@rule
def select_not(op: SelectOp, emit: Emitter) -> Rewritten:
    """select(not(c), x, y) -> select(c, y, x)"""
    inner = producer(op.condition, NotOp)
    return emit(SelectOp(inner.x, op.y, op.x)) if inner else None


@rule
def select_of_truth(op: SelectOp, emit: Emitter) -> Rewritten:
    """select(c, true, false) -> c;  select(c, false, true) -> not(c)"""
    if not is_bool(element(op.x)):
        return None
    x, y = uniform(op.x), uniform(op.y)
    if x is None or y is None or bool(x) is bool(y):
        return None
    return op.condition if x else emit(NotOp(op.condition))


@rule
def not_of_comparison(op: NotOp, emit: Emitter) -> Rewritten:
    """not(x == y) -> x != y;  for integers also not(x < y) -> x >= y"""
    inner = producer(op.x, CompareOp)
    if inner is None or (is_float(element(inner.x)) and inner.predicate.data not in ("eq", "ne")):
        return None  # NaN is neither less nor greater nor equal
    return emit(CompareOp(INVERTED[inner.predicate.data], inner.x, inner.y))


@rule
def comparison_with_itself(op: CompareOp, emit: Emitter) -> Rewritten:
    """x == x -> true;  x < x -> false, for integers"""
    if op.x is not op.y or is_float(element(op.x)):
        return None
    return splat_like(emit, op.result, op.predicate.data in ("eq", "le", "ge"))


@rule
def cast_to_itself(op: CastOp | BitcastOp, emit: Emitter) -> Rewritten:
    """cast(x, the type of x) -> x"""
    return op.x if op.to == element(op.x) else None


@rule
def cast_of_widening(op: CastOp, emit: Emitter) -> Rewritten:
    """cast(cast(x, T), U) -> cast(x, U), where T holds every value of x"""
    inner = producer(op.x, CastOp)
    if inner is None or not _holds_all(inner.to, element(inner.x)):
        return None
    return emit(CastOp(inner.x, op.to))


@rule
def bitcast_of_bitcast(op: BitcastOp, emit: Emitter) -> Rewritten:
    """bitcast(bitcast(x, T), U) -> bitcast(x, U)"""
    inner = producer(op.x, BitcastOp)
    return emit(BitcastOp(inner.x, op.to)) if inner else None


_MANTISSA = {Float16Type: 11, BFloat16Type: 8, Float32Type: 24, Float64Type: 53}
_EXPONENT = {Float16Type: 5, BFloat16Type: 8, Float32Type: 8, Float64Type: 11}


def _least_exponent(kind: Attribute) -> int:
    """The exponent of the smallest normal number."""
    return 2 - 2 ** (_EXPONENT[type(kind)] - 1)  # pyright: ignore[reportArgumentType] # a float


def _holds_all(wide: Attribute, narrow: Attribute) -> bool:
    """Whether each value of ``narrow`` is a value of ``wide``."""
    if is_float(wide):
        if is_float(narrow):
            w, n = type(wide), type(narrow)
            return _MANTISSA[w] >= _MANTISSA[n] and _EXPONENT[w] >= _EXPONENT[n]  # pyright: ignore
        bits = 1 if is_bool(narrow) else dtype_of(narrow).itemsize * 8 - (not is_unsigned(narrow))
        return _MANTISSA[type(wide)] >= bits and _EXPONENT[type(wide)] > 5  # pyright: ignore
    if is_float(narrow) or is_bool(wide):
        return wide == narrow
    if is_bool(narrow):
        return True
    assert isinstance(wide, IntegerType), "it is no float"
    assert isinstance(narrow, IntegerType), "it is no float"
    if is_unsigned(wide):
        return is_unsigned(narrow) and wide.width.data >= narrow.width.data
    return wide.width.data >= narrow.width.data + is_unsigned(narrow)


RULES = (
    constant_to_the_right, constant_to_the_right_of_comparison,
    add_zero, sub_zero, mul_one, div_one, remainder_of_one, shift_zero,
    div_by_power_of_two, add_negated, sub_negated, negated_twice, absolute_of_sign_change,
    equal_operands, xor_of_equal_operands, bits_with_constant, constants_together,
    power_zero_or_one, small_power, select_known, select_not, select_of_truth,
    not_of_comparison, comparison_with_itself, cast_to_itself, cast_of_widening,
    bitcast_of_bitcast,
)  # fmt: skip
