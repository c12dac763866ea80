"""Random numbers as functions of a key and a counter: the same on every target, in any order.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the
layout of key, counter and outputs is that of TensorFlow's stateless generators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float64Type,
    IntegerAttr,
    IntegerType,
    Signedness,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, opt_prop_def, prop_def, result_def

from tfc.dialects.tfc.base import Access, Emit, Sample, TensorOp, tfc_op
from tfc.dialects.tfc.constant import splat_like
from tfc.dialects.tfc.elementwise import AndOp, BitcastOp, CastOp, OrOp, ShiftLeftOp
from tfc.dialects.tfc.formula import Formula
from tfc.dialects.tfc.indexing import linear
from tfc.dialects.tfc.scalar import Scalars
from tfc.dialects.tfc.shape import SliceOp, known
from tfc.dialects.tfc.types import (
    Array,
    ShapeAttr,
    Tensor,
    dtype_of,
    element_of,
    is_float,
    tensor_type,
)
from tfc.dims import Dim, product
from tfc.errors import require

U32 = IntegerType(32, Signedness.UNSIGNED)
U64 = IntegerType(64, Signedness.UNSIGNED)
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


class RandomOp(TensorOp):
    """An operation on ``key: tensor<2xui32>`` and ``counter: tensor<4xui32>``, least word first.

    ``stride`` is how many blocks further a row (along the last dim) begins than the one before; where it is
    left out, rows follow each other.
    """

    def check_seed(self) -> None:
        for value, words in zip(self.operands, (2, 4), strict=True):
            wanted = tensor_type([words], U32)
            require(value.type == wanted, self, "C1", wanted, value.type)


def _words(
    key: Array, counter: Array, shape: Sequence[Dim], stride: IntegerAttr[Any] | None, width: int
) -> Array:
    """The bits of all elements, of which each has ``width`` words, in a list."""
    extents = known(shape)
    count = int(np.prod(extents, dtype=np.int64)) * width
    if stride is None:
        return philox(key, counter, np.arange(-(-count // 4)))[:count]
    row = max(extents[-1] * width, 1)
    starts = np.arange(count // row)[:, None] * stride.value.data
    blocks = starts + np.arange(-(-row // 4))
    return philox(key, counter, blocks.reshape(-1)).reshape(len(starts), -1)[:, :row].reshape(-1)[:count]


@tfc_op
class PhiloxOp(RandomOp):
    """Random bits: Philox 4x32-10. Element ``i``, in row-major order, is word ``i % 4`` of block ``i // 4``,
    whose counter is ``counter + i // 4``. With a stride, so are the elements of each row.

    (C1) ``key`` is ``tensor<2xui32>`` and ``counter`` ``tensor<4xui32>``.
    (C2) A stride is not below 0, and there are rows to stride over.

    Source: ``tf.random.stateless_uniform`` with full range.
    """

    name = "tfc.philox"
    key = operand_def(Tensor)
    counter = operand_def(Tensor)
    shape = prop_def(ShapeAttr)
    stride = opt_prop_def(IntegerAttr.constr(i64))
    result = result_def(Tensor)
    assembly_format = (
        "$key `,` $counter `to` $shape (`stride` $stride^)? attr-dict "
        "`:` type($key) `,` type($counter) `->` type($result)"
    )
    HEAVY: ClassVar = True

    def __init__(
        self, key: SSAValue | Operation, counter: SSAValue | Operation, shape: Sequence[Dim], stride: int | None = None
    ) -> None:
        properties = {"shape": ShapeAttr(tuple(shape)), "stride": _stride(stride)}
        self.construct([SSAValue.get(key), SSAValue.get(counter)], properties)

    def infer(self) -> Sequence[Attribute]:
        self.check_seed()
        _check_stride(self, self.stride, self.shape.data)
        return [tensor_type(self.shape.data, U32)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [U32]

    def reference(self, *args: Array) -> Array:
        return _words(args[0], args[1], self.shape.data, self.stride, 1).reshape(known(self.shape.data))

    def value_at(self, at: Access, index: Sequence[Dim]) -> SSAValue:
        s, u64 = Scalars(at.emit), IntegerType(64)
        first: Dim = 0
        position = linear(index, self.shape.data)
        if self.stride is not None:
            first = linear(index[:-1], self.shape.data[:-1]) * self.stride.value.data
            position = index[-1]
        block, lane = at.value(first + position // 4, U64), at.value(position % 4, U32)
        counter = [s.resize(at.read(1, [k]), u64, unsigned=True) for k in range(4)]
        key = [s.resize(at.read(0, [k]), u64, unsigned=True) for k in range(2)]
        words = _rounds(s, _advanced(s, counter, block), key)
        chosen = words[3]
        for k in (2, 1, 0):
            chosen = s.select(s.compare("eq", lane, k), words[k], chosen)
        return chosen

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(shape: Sequence[int], stride: int | None = None) -> Any:
            return lambda k, c: cls(k, c, shape, stride)

        key = np.array([0xA4093822, 0x299F31D0], np.uint32)
        counter = np.array([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], np.uint32)
        ones = np.full(4, 2**32 - 1, np.uint32)
        return [Sample(make((4,)), key, counter), Sample(make((3, 5)), key, ones), Sample(make((0,)), key, counter),
                Sample(make(()), key * 0, counter * 0), Sample(make((2, 3, 6), 256), key, ones),
                Sample(make((3, 1), 0), key, counter)]  # fmt: skip


def _stride(stride: int | None) -> IntegerAttr[Any] | None:
    return None if stride is None else IntegerAttr(stride, i64)


def _check_stride(op: Operation, stride: IntegerAttr[Any] | None, shape: Sequence[Dim]) -> None:
    if stride is not None:
        good = stride.value.data >= 0 and len(shape) > 0
        require(good, op, "C2", "a stride of at least 0, and rows", f"{stride.value.data} and {list(shape)}")


_LOW = (1 << 32) - 1


def _advanced(s: Scalars, counter: Sequence[SSAValue], block: SSAValue) -> list[SSAValue]:
    """The 128-bit counter plus ``block``, as four words, each in 64 bits."""
    words: list[SSAValue] = []
    rest, carry = block, None
    for word in counter:
        total = s.add(word, s.bit_and(rest, _LOW))
        total = total if carry is None else s.add(total, carry)
        words.append(s.bit_and(total, _LOW))
        carry, rest = s.binary("lshr", total, 32), s.binary("lshr", rest, 32)
    return words


def _rounds(s: Scalars, counter: Sequence[SSAValue], key: Sequence[SSAValue]) -> list[SSAValue]:
    """Philox on words held in 64 bits, so that a product is one multiplication; four 32-bit words."""
    c, (k0, k1) = list(counter), key
    for turn in range(ROUNDS):
        if turn:
            k0 = s.bit_and(s.add(k0, KEY_STEPS[0]), _LOW)
            k1 = s.bit_and(s.add(k1, KEY_STEPS[1]), _LOW)
        p0, p1 = s.mul(c[0], MULTIPLIERS[0]), s.mul(c[2], MULTIPLIERS[1])
        high0, high1 = s.binary("lshr", p0, 32), s.binary("lshr", p1, 32)
        c = [s.bit_xor(s.bit_xor(high1, c[1]), k0), s.bit_and(p1, _LOW),
             s.bit_xor(s.bit_xor(high0, c[3]), k1), s.bit_and(p0, _LOW)]  # fmt: skip
    return [s.resize(w, IntegerType(32), unsigned=True) for w in c]


def philox(key: Array, counter: Array, numbers: Array) -> Array:
    """The words of 32 bits of some blocks by their numbers, from ``key: [2]`` and ``counter: [4]``, both uint32."""
    blocks = numbers.astype(np.uint64)
    low = np.uint64(_LOW)
    c: list[Array] = []
    carry: Array = np.zeros_like(blocks)
    for word, part in zip(counter, (blocks & low, blocks >> np.uint64(32), blocks * 0, blocks * 0), strict=True):
        total = np.uint64(word) + part + carry
        c.append(total & low)
        carry = total >> np.uint64(32)
    k = [np.uint64(w) for w in key]
    for turn in range(ROUNDS):
        if turn:
            k = [(w + np.uint64(step)) & low for w, step in zip(k, KEY_STEPS, strict=True)]
        p0, p1 = c[0] * np.uint64(MULTIPLIERS[0]), c[2] * np.uint64(MULTIPLIERS[1])
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k[0], p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ k[1], p0 & low]
    return np.stack(c, axis=1).reshape(-1).astype(np.uint32)


_MANTISSA: dict[type[Attribute], tuple[int, int]] = {Float16Type: (10, 15), BFloat16Type: (7, 127)}
"""Bits of the mantissa and bias of the exponent of the types that take one word an element."""


@tfc_op
class RandomUniformOp(RandomOp):
    """Evenly distributed floats in ``[0, 1)``, from the low bits of each word as mantissa.

    f64 takes two words an element: the high 20 bits of the mantissa from the first.

    (C1) ``key`` is ``tensor<2xui32>`` and ``counter`` ``tensor<4xui32>``.
    (C2) A stride is not below 0, and there are rows to stride over.
    (C3) The element type is of floating point.

    Source: ``tf.random.stateless_uniform``, bit for bit.
    """

    name = "tfc.random_uniform"
    key = operand_def(Tensor)
    counter = operand_def(Tensor)
    shape = prop_def(ShapeAttr)
    element = prop_def()
    stride = opt_prop_def(IntegerAttr.constr(i64))
    result = result_def(Tensor)
    assembly_format = (
        "$key `,` $counter `to` $shape (`stride` $stride^)? `of` $element attr-dict "
        "`:` type($key) `,` type($counter) `->` type($result)"
    )

    def __init__(
        self,
        key: SSAValue | Operation,
        counter: SSAValue | Operation,
        shape: Sequence[Dim],
        element: Attribute,
        stride: int | None = None,
    ) -> None:
        properties = {"shape": ShapeAttr(tuple(shape)), "element": element, "stride": _stride(stride)}
        self.construct([SSAValue.get(key), SSAValue.get(counter)], properties)

    def infer(self) -> Sequence[Attribute]:
        self.check_seed()
        _check_stride(self, self.stride, self.shape.data)
        require(is_float(self.element), self, "C3", "an element type of floats", self.element)
        return [tensor_type(self.shape.data, self.element)]

    def infer_elements(self) -> Sequence[Attribute]:
        return [self.element]

    def reference(self, *args: Array) -> Array:
        shape = known(self.shape.data)
        if isinstance(self.element, Float64Type):
            words = _words(args[0], args[1], self.shape.data, self.stride, 2).reshape(-1, 2).astype(np.uint64)
            bits = ((words[:, 0] & np.uint64(0xFFFFF)) << np.uint64(32)) | words[:, 1]
            return ((bits | np.uint64(1023 << 52)).view(np.float64) - 1.0).reshape(shape)
        mantissa, bias = _MANTISSA.get(type(self.element), (23, 127))
        bits = _words(args[0], args[1], self.shape.data, self.stride, 1) & np.uint32((1 << mantissa) - 1)
        word = np.uint32 if mantissa == 23 else np.uint16
        values = (bits | np.uint32(bias << mantissa)).astype(word).view(dtype_of(self.element))
        return np.asarray(values - np.ones((), values.dtype)).reshape(shape)

    def decompose(self, emit: Emit) -> Sequence[SSAValue]:
        if isinstance(self.element, Float64Type):
            return [self._of_pairs(emit)]
        mantissa, bias = _MANTISSA.get(type(self.element), (23, 127))
        words = emit(PhiloxOp(self.key, self.counter, self.shape.data, self.step()))
        bits = _masked(emit, words, (1 << mantissa) - 1, bias << mantissa)
        if mantissa != 23:
            bits = emit(CastOp(bits, element_of(np.uint16)))
        return [Formula(emit).sub(emit(BitcastOp(bits, self.element)), 1.0)]

    def step(self) -> int | None:
        """The stride as a number."""
        return None if self.stride is None else self.stride.value.data

    def _of_pairs(self, emit: Emit) -> SSAValue:
        f, count = Formula(emit), product(self.shape.data)
        shape: Sequence[Dim] = [count * 2] if self.stride is None else [*self.shape.data[:-1], self.shape.data[-1] * 2]
        words = f.reshape(emit(PhiloxOp(self.key, self.counter, shape, self.step())), [count, 2])
        high, low = (emit(CastOp(emit(SliceOp(words, [0, k], [count, 1], [1, 1])), U64)) for k in (0, 1))
        high = _masked(emit, high, 0xFFFFF, 1023 << 20)
        high = emit(ShiftLeftOp(high, splat_like(emit, high, 32)))
        values = emit(BitcastOp(emit(OrOp(high, low)), self.element))
        return f.sub(f.reshape(values, self.shape.data), 1.0)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def make(name: Any, shape: Sequence[int]) -> Any:
            return lambda k, c: cls(k, c, shape, element_of(name))

        key, counter = np.array([1, 2], np.uint32), np.array([7, 0, 5, 2**31], np.uint32)
        kinds = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
        strided = [Sample(lambda k, c, t=t: cls(k, c, (3, 6), element_of(t), 7), key, counter) for t in kinds]
        return [*(Sample(make(t, s), key, counter) for t in kinds for s in ((3, 5), (), (0, 2))), *strided]


def _masked(emit: Emit, bits: SSAValue, mask: int, ones: int) -> SSAValue:
    """``bits & mask | ones``."""
    kept = emit(AndOp(bits, splat_like(emit, bits, mask)))
    return emit(OrOp(kept, splat_like(emit, kept, ones)))
