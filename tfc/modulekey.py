"""What a module says, as a digest: equal for two modules only if they compile to the same.

    SaidByModule(module).digest           "3f9a..."

Operations, their order, operands by number, attributes, types and locations count; name hints do not. Large
constants count by the digest of their bytes. Attributes are written by their structure, each once, which takes
less than a tenth of the time of printing the module.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr
from xdsl.ir import Attribute, Data, Operation, ParametrizedAttribute, SSAValue

from tfc.dialects.tfc.types import SMALL, Literal, LiteralAttr


class AttributeTexts:
    """Attributes as texts: equal texts, equal attributes."""

    def __init__(self) -> None:
        self._known: dict[Attribute, str] = {}
        self._seen: dict[int, tuple[Attribute, str]] = {}
        """By identity, which is found without a walk over the attribute."""
        self.literals: dict[str, Literal] = {}
        """The large constants that were met, by their keys."""

    def of(self, attribute: Attribute) -> str:
        if (seen := self._seen.get(id(attribute))) is not None:
            return seen[1]
        if (text := self._known.get(attribute)) is None:
            text = self._known[attribute] = self._written(attribute)
        self._seen[id(attribute)] = attribute, text
        return text

    def _written(self, attribute: Attribute) -> str:
        match attribute:
            case LiteralAttr():
                return self._literal(attribute.data)
            case ArrayAttr():
                return f"[{','.join(map(self.of, attribute.data))}]"
            case DictionaryAttr():
                return self.of_dict(attribute.data)
            case Data():
                data = cast("Data[Any]", attribute).data
                return f"{attribute.name} {data.hex() if isinstance(data, float) else repr(data)}"
            case ParametrizedAttribute():
                return f"{attribute.name}<{','.join(map(self.of, attribute.parameters))}>"
            case _:
                return str(attribute)

    def of_dict(self, given: Mapping[str, Attribute]) -> str:
        return f"{{{','.join([f'{name}={self.of(given[name])}' for name in sorted(given)])}}}"

    def _literal(self, literal: Literal) -> str:
        array = literal.array
        if array.size >= SMALL and not literal.is_splat:
            self.literals[literal.key] = literal
            return literal.key
        some = array.reshape(-1)[:1] if literal.is_splat else array
        return f"{array.dtype}{list(array.shape)} {literal.is_splat} {some.tobytes().hex()}"


class SaidByModule:
    """A module as what a program is made from; see `tfc.codegen.programs`.

    The digest is taken at once: the module may be changed afterwards.
    """

    def __init__(self, module: Operation) -> None:
        texts = AttributeTexts()
        lines = "\n".join(_lines(module, texts, {}))
        self.digest = hashlib.sha256(lines.encode()).hexdigest()
        # Passes replace constants by packed ones: what only the module held shall not stay in memory.
        self._literals = weakref.WeakValueDictionary(texts.literals)

    def parts(self) -> dict[str, memoryview]:
        """The bytes of large constants that are still in use."""
        return {key: _bytes(x) for key, x in self._literals.items() if x.array.flags.c_contiguous}

    def part(self, name: str) -> memoryview | None:
        literal = self._literals.get(name)
        return _bytes(literal) if literal and literal.array.flags.c_contiguous else None


def _lines(op: Operation, texts: AttributeTexts, numbers: dict[SSAValue, int]) -> Iterator[str]:
    operands = [numbers[o] for o in op.operands]
    results = [texts.of(r.type) for r in op.results]
    said = texts.of_dict(op.properties) + texts.of_dict(op.attributes)
    yield f"{op.name} {operands} {results} {said} {texts.of(op.location)}"
    for region in op.regions:
        for block in region.blocks:
            yield f"{{{[texts.of(a.type) for a in block.args]}"
            yield from (texts.of(a.location) for a in block.args)
            numbers.update((a, len(numbers) + k) for k, a in enumerate(block.args))
            for inner in block.ops:
                yield from _lines(inner, texts, numbers)
            yield "}"
    numbers.update((r, len(numbers) + k) for k, r in enumerate(op.results))


def _bytes(literal: Literal) -> memoryview:
    return memoryview(cast("Any", literal.array.reshape(-1).view(np.uint8)))
