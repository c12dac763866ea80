"""The operation that holds a host program: its interface, its memory, and what makes it valid."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    i64,
)
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl import IRDLOperation, prop_def, region_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, NoTerminator, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.definition import define
from tfc.dialects.host.buffers import (
    HOST,
    ConstantOp,
    InputOp,
    OutputOp,
    PlacedOp,
    PortAttr,
    PortOp,
    RowOp,
    VariableOp,
    memory_of,
)
from tfc.dialects.host.messages import AssertOp, PrintOp
from tfc.dialects.host.steps import IfOp, LaunchOp, WhileOp
from tfc.dialects.kernel import FuncOp
from tfc.dims import Dim, parse

_PORTS = ("inputs", "outputs", "variables")
_SHOWN = ("dims", *_PORTS, "arena", "arenas", "weights", "requires")


@define
class ProgramOp(IRDLOperation):
    """One model: its interface, and the operations of a run.

    ``dims`` are the named dims in the order of the C interface, ``arena`` is the bytes of scratch
    memory (set by ``assign-buffers``), ``arenas`` the same of each device with memory of its own, ``weights``
    the bytes of all constants. Each entry of ``requires`` is an expression of dims that is at least 0, and the
    error of a run where it is not.

    (C1) Positions of inputs, outputs and variables are those of ports.
    (C2) A launch names a kernel of the module, and gives it buffers of the elements it takes.
    (C3) The buffers of a launch are in one memory: that of a device where the kernel is for one, else the host's.
    (C4) What the host looks at itself is in its memory: predicates, numbers of rows, values of messages.
    """

    name = "host.program"
    sym_name = prop_def(SymbolNameConstraint())
    dims = prop_def(ArrayAttr[StringAttr])
    inputs = prop_def(ArrayAttr[PortAttr])
    outputs = prop_def(ArrayAttr[PortAttr])
    variables = prop_def(ArrayAttr[PortAttr])
    arena = prop_def(StringAttr)
    arenas = prop_def(DictionaryAttr)
    weights = prop_def(IntegerAttr)
    requires = prop_def(ArrayAttr[ArrayAttr[StringAttr]])
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NoTerminator())

    def __init__(
        self,
        name: str,
        inputs: Sequence[PortAttr],
        outputs: Sequence[PortAttr],
        variables: Sequence[PortAttr] = (),
        dims: Sequence[str] = (),
        body: Region | None = None,
        arena: Dim = 0,
        weights: int = 0,
        requires: ArrayAttr[ArrayAttr[StringAttr]] | None = None,
    ) -> None:
        super().__init__(
            properties={
                "requires": requires or ArrayAttr[ArrayAttr[StringAttr]]([]),
                "sym_name": StringAttr(name),
                "dims": ArrayAttr([StringAttr(d) for d in dims]),
                "inputs": ArrayAttr(list(inputs)),
                "outputs": ArrayAttr(list(outputs)),
                "variables": ArrayAttr(list(variables)),
                "arena": StringAttr(str(arena)),
                "arenas": DictionaryAttr({}),
                "weights": IntegerAttr(weights, i64),
            },
            regions=[body or Region(Block())],
        )

    def verify_(self) -> None:
        given = {InputOp.name: self.inputs, OutputOp.name: self.outputs, VariableOp.name: self.variables}
        parent = self.parent_op()
        kernels = {
            f.sym_name.data: f for f in (parent.regions[0].block.ops if parent else ()) if isinstance(f, FuncOp)
        }
        for op in self.body.walk():
            if isinstance(op, PortOp) and op.position >= len(ports := given[op.name]):
                message = f"expected a position below {len(ports)}, got {op.position}"
                raise VerifyException(f"'{op.name}' (C1): {message}")
            if isinstance(op, LaunchOp) and parent is not None:
                _verify_launch(op, kernels.get(op.callee))
            for value in _looked_at(op):
                if (memory := memory_of(value)) != HOST:
                    message = f"expected a buffer in the host's memory, got one of {memory}"
                    raise VerifyException(f"'{op.name}' (C4): {message}")

    @property
    def arena_size(self) -> Dim:
        return parse(self.arena.data)

    @property
    def arena_sizes(self) -> dict[str, Dim]:
        """The bytes of scratch memory in each memory that has some: `HOST`, ``GPU:0``, ..."""
        others = {k: parse(v.data) for k, v in self.arenas.data.items() if isinstance(v, StringAttr)}
        return {HOST: self.arena_size, **others}

    @property
    def devices(self) -> list[str]:
        """The devices whose memory is used, beside the host's."""
        placed = (op.device for op in self.body.block.ops if isinstance(op, PlacedOp))
        return sorted({d.data for d in placed if d is not None})

    @property
    def requirements(self) -> list[tuple[Dim, str]]:
        return [(parse(extent.data), message.data) for extent, message in self.requires]

    @property
    def dim_names(self) -> list[str]:
        return [d.data for d in self.dims]

    @classmethod
    def parse(cls, parser: Parser) -> ProgramOp:
        name = parser.parse_symbol_name()
        given = parser.parse_optional_attr_dict_with_keyword(("sym_name",))
        op = cls(name.data, (), (), body=parser.parse_region())
        for key, value in given.data.items() if given else ():
            (op.properties if key in _SHOWN else op.attributes)[key] = value
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        shown = {k: self.properties[k] for k in _SHOWN}
        empty = {k for k, v in shown.items() if isinstance(v, ArrayAttr | DictionaryAttr) and not v.data}
        printer.print_op_attributes(shown | self.attributes, reserved_attr_names=empty, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body)


def device_weights(program: ProgramOp, memory: str, alignment: int = 256) -> tuple[dict[int, int], int]:
    """Where in a device's memory its constants lie, by their offsets in the weights, and the bytes of all."""
    sizes = {
        op.offset.value.data: op.value.data.array.nbytes
        for op in program.body.block.ops
        if isinstance(op, ConstantOp) and op.memory == memory
    }
    places, end = dict[int, int](), 0
    for offset in sorted(sizes):
        places[offset] = end
        end += -(-sizes[offset] // alignment) * alignment
    return places, end


def _looked_at(op: Operation) -> Sequence[SSAValue]:
    """The buffers whose bytes the host itself reads when it runs ``op``."""
    match op:
        case RowOp():
            return (op.index,)
        case IfOp() | WhileOp():
            return (op.predicate,)
        case PrintOp() | AssertOp():
            return op.operands
        case _:
            return ()


def _verify_launch(launch: LaunchOp, kernel: FuncOp | None) -> None:
    if kernel is None:
        raise VerifyException(f"'{launch.name}' (C2): there is no kernel @{launch.callee}")
    taken = [t.element_type for t in kernel.function_type.inputs if isinstance(t, MemRefType)]
    given = [t.element_type for o in launch.operands if isinstance(t := o.type, MemRefType)]
    if taken != given:
        wanted, got = (", ".join(map(str, types)) for types in (taken, given))
        message = f"@{launch.callee} takes buffers of {wanted}; got {got}"
        raise VerifyException(f"'{launch.name}' (C2): {message}")
    there = sorted({memory_of(o) for o in launch.operands})
    is_device = kernel.target.data != "cpu"
    if len(there) > 1 or any((m != HOST) != is_device for m in there):
        wanted = "one device" if is_device else "the host"
        got = ", ".join(m or "the host" for m in there)
        raise VerifyException(f"'{launch.name}' (C3): @{launch.callee} takes buffers of {wanted}; got those of {got}")
