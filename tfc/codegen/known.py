"""Kernels that were generated before, found by the structure of their fusion.

    known = KnownKernels(target, cache)
    function = known.find(fusion, "add_max_3")      # a kernel without a body, or None
    known.keep(function, data)                      # its object, for the next model that has it

A fusion says all about its kernel but the target and the generators. So a kernel whose structure has been
met is not written again: a ``kernel.func`` whose block is empty stands for it in the module, and its
object goes into the model's. Whoever wants to see it (the LLVM text of a model) gets it by `written`.

The key holds the state of tfc's own files, so an entry is not used by another version of the generators.
A kernel that reports errors is not kept: it names the place in the user's graph.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IndexType, IntegerType
from xdsl.ir import Attribute, Block, Region

from tfc.codegen.cache import ObjectCache, key_of, state_of_compiler
from tfc.codegen.cpu.objects import machine_of
from tfc.codegen.cpu.targets import Target
from tfc.dialects import host, kernel
from tfc.dialects.tfc.types import SMALL, LiteralAttr
from tfc.location import stamp

if TYPE_CHECKING:
    from tfc.dialects.tfc.fusion import FusionOp

INDEX = IndexType()


class KnownKernels:
    """The kernels of one model that need not be generated, and those that will not be again."""

    def __init__(self, target: Target, cache: ObjectCache) -> None:
        self.target, self.cache = target, cache
        self.objects: dict[str, bytes] = {}
        """The object of each kernel without a body, by its name in the model."""
        self._fusions: dict[str, FusionOp] = {}
        self._keys: dict[str, str] = {}
        self._texts: dict[Attribute, str] = {}

    def find(self, op: FusionOp, name: str, structure: object) -> kernel.FuncOp | None:
        """The kernel ``name`` for ``op``, without a body; None where it has to be generated.

        Args:
            structure: what fusions with the same kernel have in common.
        """
        key = key_of(f"{state_of_compiler()} {self._text(structure)}", machine_of(self.target))
        entry = self.cache.get(key)
        if entry is None:
            self._keys[name] = key
            return None
        head, _, data = entry.partition(b"\n")
        said: dict[str, Any] = json.loads(head)
        types = [*_buffers(op), *(INDEX for _ in said["dims"])]
        function = kernel.FuncOp(name, types, Region(Block(arg_types=types)), **said)
        stamp(function, op.location)
        self.objects[name], self._fusions[name] = data, op
        return function

    def keep(self, function: kernel.FuncOp, data: bytes) -> None:
        """Note the object of a kernel that `find` did not have."""
        if (key := self._keys.pop(function.sym_name.data, None)) is None or _reports(function):
            return
        pairs = cast("DenseArrayBase[IntegerType] | None", function.in_place)
        said = {
            "dims": [d.data for d in function.dims],
            "grid": function.grid.data,
            "grain": function.grain.value.data,
            "target": function.target.data,
            "in_place": list(pairs.get_values()) if pairs else [],
        }
        self.cache.put(key, json.dumps(said).encode() + b"\n" + data)

    def written(self, function: kernel.FuncOp) -> kernel.FuncOp:
        """``function`` with its body."""
        from tfc.codegen.schedule.lower import lower_fusion

        name = function.sym_name.data
        return lower_fusion(self._fusions[name], name, self.target) if name in self.objects else function

    def _text(self, part: object) -> str:
        """A part of a structure as a text: equal texts, equal parts."""
        if isinstance(part, tuple):
            return f"({','.join(map(self._text, part))})"  # pyright: ignore # of anything
        if not isinstance(part, Attribute):
            return repr(part)
        if (known := self._texts.get(part)) is None:
            known = self._texts[part] = _text_of(part)
        return known


def _text_of(attribute: Attribute) -> str:
    match attribute:
        case LiteralAttr():
            literal = attribute.data
            if literal.array.size >= SMALL and not literal.is_splat:
                return literal.key
            some = literal.array.reshape(-1)[:1] if literal.is_splat else literal.array
            return f"{literal.array.dtype}{list(literal.array.shape)} {literal.is_splat} {some.tobytes().hex()}"
        case FloatAttr():
            return f"{attribute.type} {attribute.value.data.hex()}"
        case _:
            return str(attribute)


def _buffers(op: FusionOp) -> list[Attribute]:
    return [host.buffer_of(v.type) for v in (*op.operands, *op.results)]


def _reports(function: kernel.FuncOp) -> bool:
    return any(isinstance(op, kernel.CheckOp) for op in function.walk())
