"""Kernels that were generated before, found by the structure of their fusion.

    known = KnownKernels(target, cache)
    function = known.find(fusion, "add_max_3")      # a kernel without a body, or None
    known.keep(function, data)                      # its object, for the next model that has it
    known.keep_piece(function, piece)               # the same of a kernel for a GPU

A fusion says all about its kernel but the target and the generators. So a kernel whose structure has been
met is not written again: a ``kernel.func`` whose block is empty stands for it in the module, and its
object goes into the model's. Whoever wants to see it (the LLVM text of a model) gets it by `written`.

The key holds the state of tfc's own files, so an entry is not used by another version of the generators.
A kernel that reports errors is not kept: it names the place in the user's graph. The text of a kernel for a GPU tells
where instructions come from: what is kept says from which operation of the fusion.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IndexType, IntegerType
from xdsl.ir import Attribute, Block, Region

from tfc.codegen.build import SYMBOL
from tfc.codegen.cache import ObjectCache, key_of, state_of_compiler
from tfc.codegen.cpu.objects import machine_of
from tfc.codegen.cpu.targets import Target
from tfc.codegen.gpu.lines import shown_place
from tfc.codegen.gpu.pieces import Piece, Place
from tfc.codegen.gpu.ptx import machine_of as gpu_machine
from tfc.codegen.gpu.targets import GpuTarget
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
        self.pieces: dict[str, Piece] = {}
        """The same of kernels for a GPU."""
        self._fusions: dict[str, FusionOp] = {}
        self._keys: dict[str, str] = {}
        self._texts: dict[Attribute, str] = {}

    def find(
        self, op: FusionOp, name: str, structure: object, gpu: GpuTarget | None = None
    ) -> kernel.FuncOp | None:
        """The kernel ``name`` for ``op``, without a body; None where it has to be generated.

        Args:
            structure: what fusions with the same kernel have in common.
            gpu: what it is for, where that is a GPU.
        """
        machine = gpu_machine(gpu) if gpu else machine_of(self.target)
        key = key_of(f"{state_of_compiler()} {_alike(op) if gpu else ''} {self._text(structure)}", machine)
        self._fusions[name] = op
        if (entry := self.cache.get(key)) is None:
            self._keys[name] = key
            return None
        line, _, data = entry.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        types = [*_buffers(op), *(INDEX for _ in said["dims"])]
        function = kernel.FuncOp(name, types, Region(Block(arg_types=types)), **said)
        stamp(function, op.location)
        if gpu is None:
            self.objects[name] = data
        else:
            head, parts, numbers = json.loads(data)
            places = _places(op)
            self.pieces[name] = Piece(head, parts, [(places[k][0], places[k][1] if told else 0) for k, told in numbers])
        return function

    def keep(self, function: kernel.FuncOp, data: bytes) -> None:
        """Note the object of a kernel that `find` did not have."""
        if (key := self._keys.pop(function.sym_name.data, None)) is not None and not _reports(function):
            self.cache.put(key, json.dumps(_said(function)).encode() + b"\n" + data)

    def keep_piece(self, function: kernel.FuncOp, piece: Piece) -> None:
        """The same of a kernel for a GPU."""
        name = function.sym_name.data
        if name not in self._keys:
            return
        places = _places(self._fusions[name])
        files = [file for file, _ in places]
        try:
            numbers = [(places.index((f, line)), True) if line else (files.index(f), False) for f, line in piece.places]
        except ValueError:  # a place that the fusion does not have
            return
        self.keep(function, json.dumps([piece.head, piece.parts, numbers]).encode())

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


def _said(function: kernel.FuncOp) -> dict[str, Any]:
    """What a kernel without a body has to say."""
    pairs = cast("DenseArrayBase[IntegerType] | None", function.in_place)
    return {
        "dims": [d.data for d in function.dims],
        "grid": function.grid.data,
        "grain": function.grain.value.data,
        "target": function.target.data,
        "in_place": list(pairs.get_values()) if pairs else [],
        "block": function.block.value.data if function.block else 0,
        "shared": function.shared.value.data if function.shared else 0,
    }


def _places(op: FusionOp) -> list[Place]:
    """Where the operations of a fusion stand, and the fusion itself last."""
    return [shown_place(o.location, SYMBOL) for o in (*op.block.ops, op)]


def _alike(op: FusionOp) -> list[int]:
    """Which operations share a file, and which a line: LLVM may give them directives in common."""
    places = _places(op)
    files = [file for file, _ in places]
    return [*map(files.index, files), *map(places.index, places)]
