"""Instructions of AVX-512 that do at once what takes several elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from tfc.codegen.cpu.ir import Code, Kind, scalar_literal
from tfc.codegen.cpu.number import Number

REGISTER = 512


def has_scale(kind: Kind, features: tuple[str, ...]) -> bool:
    """Whether values of this type are some whole registers, a power of two of them."""
    parts, rest = divmod(kind.lanes * kind.width, REGISTER)
    return "avx512f" in features and not rest and parts.bit_count() == 1


def scale(y: Number, n: Number) -> Number:
    """``y * 2**n``, rounded once, to the same bits as elsewhere; ``n`` is an integer held as a float."""
    code, part = y.code, Kind(y.kind.element, REGISTER // y.kind.width)
    name = f"llvm.x86.avx512.mask.scalef.{'ps' if y.kind.width == 32 else 'pd'}.512"
    mask = f"i{part.lanes}"
    code.module.declare(name, part.text, [part.text] * 3 + [mask, "i32"])
    results: list[str] = []
    for x, k in zip(_registers(y), _registers(n), strict=True):
        operands = f"{part.text} {x}, {part.text} {k}, {part.text} zeroinitializer"
        # All lanes; rounding as the control register says.
        results.append(code.op(f"call {part.text} @{name}({operands}, {mask} -1, i32 4)"))
    return y.new(_joined(code, results, y.kind))


def has_lookup(x: Number) -> bool:
    """Whether `lookup` may be used in the code of ``x``."""
    return "avx512f" in x.code.target.required_features


def lookup(tables: Sequence[Sequence[float]], index: Number) -> list[Number]:
    """``t[index % len(t)]`` for each table: f32 from one or two registers, by 32 bits of index a lane.

    Any number of lanes, and a scalar, have it; one that fills no register takes a whole one.
    """
    code, kind, places = index.code, index.kind.of("float"), _registers(index)
    return [index.new(_joined(code, _lookup(code, t, places), kind), kind) for t in tables]


def _lookup(code: Code, table: Sequence[float], places: Sequence[str]) -> list[str]:
    floats, indices = Kind("float", 16), Kind("i32", 16)
    assert len(table) in (16, 32), "a table is one register or two"
    texts = [f"float {scalar_literal('float', c)}" for c in table]
    parts = [f"<{', '.join(texts[k : k + 16])}>" for k in range(0, len(table), 16)]
    kinds = [floats, indices, floats][: 1 + len(parts)]
    name = f"llvm.x86.avx512.{'permvar.sf' if len(parts) == 1 else 'vpermi2var.ps'}.512"
    code.module.declare(name, floats.text, [k.text for k in kinds])
    first, *second = parts
    return [
        code.call(name, floats, list(zip(kinds, [first, place, *second], strict=True)))
        for place in places
    ]


def _registers(x: Number) -> list[str]:
    """The lanes of ``x`` in registers, poison in what is left of the last one."""
    code, lanes, each = x.code, max(1, x.kind.lanes), REGISTER // x.kind.width
    whole = Kind(x.kind.element, lanes)
    text = x.text if x.kind.lanes else code.insert(whole, "poison", x.text, 0)
    return [
        code.shuffle(whole, text, "poison", [min(i, lanes) for i in range(start, start + each)])
        for start in range(0, lanes, each)
    ]


def _joined(code: Code, registers: Sequence[str], kind: Kind) -> str:
    """A value of ``kind`` from its registers."""
    parts, part = [*registers], Kind(kind.element, REGISTER // kind.width)
    while len(parts) > 1:
        parts += ["poison"] * (len(parts) % 2)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [code.shuffle(part, a, b, range(2 * part.lanes)) for a, b in pairs]
        part = Kind(kind.element, 2 * part.lanes)
    if not kind.lanes:
        return code.extract(part, parts[0], 0)
    return parts[0] if part == kind else code.shuffle(part, parts[0], "poison", range(kind.lanes))
