"""Instructions of AVX-512 that do at once, and to the same bits, what takes several elsewhere."""

from __future__ import annotations

from tfc.codegen.cpu.ir import Kind
from tfc.codegen.cpu.number import Number

REGISTER = 512


def has_scale(kind: Kind, features: tuple[str, ...]) -> bool:
    """Whether values of this type are some whole registers, a power of two of them."""
    parts, rest = divmod(kind.lanes * kind.width, REGISTER)
    return "avx512f" in features and not rest and parts.bit_count() == 1


def scale(y: Number, n: Number) -> Number:
    """``y * 2**n``, rounded once; ``n`` is an integer held as a float."""
    code, kind = y.code, y.kind
    lanes = REGISTER // kind.width
    part = Kind(kind.element, lanes)
    name = f"llvm.x86.avx512.mask.scalef.{'ps' if kind.width == 32 else 'pd'}.512"
    mask = f"i{lanes}"
    code.module.declare(name, part.text, [part.text] * 3 + [mask, "i32"])
    results: list[str] = []
    for start in range(0, kind.lanes, lanes):
        x, k = (code.shuffle(kind, v.text, "poison", range(start, start + lanes)) for v in (y, n))
        operands = f"{part.text} {x}, {part.text} {k}, {part.text} zeroinitializer"
        # All lanes; rounding as the control register says.
        results.append(code.op(f"call {part.text} @{name}({operands}, {mask} -1, i32 4)"))
    while len(results) > 1:
        pairs = zip(results[::2], results[1::2], strict=True)
        results = [code.shuffle(part, x, y, range(2 * part.lanes)) for x, y in pairs]
        part = Kind(kind.element, 2 * part.lanes)
    return y.new(results[0])
