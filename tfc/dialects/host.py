"""The host program: which kernels run on which bytes, in which order.

    host.program @mlp attributes {dims = ["batch"], inputs = [#host.port<"x", tensor<...>>], ...} {
      %x = host.input 0 : memref<?xf32>
      %w = host.constant #tfc.literal<"blob 5f3a..." : tensor<784x100xf32>> at 0 : memref<78400xf32>
      %t = host.buffer "400*batch" at "0" : memref<?xf32>
      %y = host.output 0 : memref<?xf32>
      host.launch @dot_1 reads(%x, %w) writes(%t) : ...
      host.launch @relu_2 reads(%t) writes(%y) : ...
    }

Every byte has an owner: the caller (inputs, outputs), the model's weights (constants), the
model's handle (variables), or the arena (buffers). Sizes and offsets are in bytes and may
be expressions over ``dims``. The operations run in the order of the text; ``assign-buffers``
gives buffers their place in the arena. Branches and loops have regions that see all buffers:

    host.while {                               host.if %p : memref<1xi1> {
      host.launch @less reads(%i, %n)            host.launch @f reads(%x) writes(%y) ...
          writes(%more) ...                    } else {
    } more %more : memref<1xi1> do {             host.copy %x to %y, "400" ...
      host.launch @step ...                    }
    }

Buffers are typed as the kernels see them: flat, signless (see `tfc.dialects.kernel`). The ports
keep the types of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerAttr,
    IntegerType,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    TensorType,
    UnitAttr,
    i64,
)
from xdsl.ir import Attribute, Block, Dialect, ParametrizedAttribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    IsolatedFromAbove,
    MemoryAllocEffect,
    MemoryReadEffect,
    MemoryWriteEffect,
    NoTerminator,
    Pure,
    RecursiveMemoryEffect,
    SymbolOpInterface,
)
from xdsl.utils.exceptions import VerifyException

from tfc.dialects.kernel import FuncOp, buffer_type
from tfc.dialects.tfc.types import LiteralAttr, dtype_of, shape_of
from tfc.dims import Dim, parse, product

Buffer = base(MemRefType)


@irdl_attr_definition
class PortAttr(ParametrizedAttribute):
    """An input, output or variable: its name in the user's graph, and its type there."""

    name = "host.port"
    label: StringAttr
    content: TensorType[Attribute]


def port(name: str, type_: Attribute) -> PortAttr:
    """The port ``name`` of a tensor type."""
    assert isinstance(type_, TensorType), "ports are ranked"
    return PortAttr(StringAttr(name), type_)


def kernel_element(element: Attribute) -> Attribute:
    """How kernels type an element: integers are signless."""
    return IntegerType(element.width) if isinstance(element, IntegerType) else element


def tensor_bytes(type_: Attribute) -> Dim:
    """The size of a tensor's buffer. ``i1`` takes one byte."""
    assert isinstance(type_, TensorType), "buffers hold ranked tensors"
    return product(shape_of(type_)) * dtype_of(type_.element_type).itemsize


def buffer_of(type_: Attribute) -> MemRefType[Attribute]:
    """The buffer type of a tensor type."""
    assert isinstance(type_, TensorType), "buffers hold ranked tensors"
    size = product(shape_of(type_))
    return buffer_type(kernel_element(type_.element_type), size if isinstance(size, int) else None)


_PORTS = ("inputs", "outputs", "variables")
_SHOWN = ("dims", *_PORTS, "arena", "weights", "requires")


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """One model: its interface, and the operations of a run.

    ``dims`` are the named dims in the order of the C interface, ``arena`` is the bytes of scratch
    memory (set by ``assign-buffers``), ``weights`` the bytes of all constants. Each entry of
    ``requires`` is an expression of dims that is at least 0, and the error of a run where it is not.

    (C1) Positions of inputs, outputs and variables are those of ports.
    (C2) A launch names a kernel of the module, and gives it buffers of the elements it takes.
    """

    name = "host.program"
    sym_name = prop_def(SymbolNameConstraint())
    dims = prop_def(ArrayAttr[StringAttr])
    inputs = prop_def(ArrayAttr[PortAttr])
    outputs = prop_def(ArrayAttr[PortAttr])
    variables = prop_def(ArrayAttr[PortAttr])
    arena = prop_def(StringAttr)
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

    @property
    def arena_size(self) -> Dim:
        return parse(self.arena.data)

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
        empty = {k for k, v in shown.items() if isinstance(v, ArrayAttr) and not len(v)}
        printer.print_op_attributes(shown | self.attributes, reserved_attr_names=empty, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body)


class PortOp(IRDLOperation):
    """A buffer that the caller or the handle owns, by its position among the ports."""

    index = prop_def(IntegerAttr.constr(i64))
    result = result_def(Buffer)
    traits = traits_def(Pure())
    assembly_format = "$index attr-dict `:` type($result)"

    def __init__(self, index: int, result: Attribute) -> None:
        super().__init__(properties={"index": IntegerAttr(index, i64)}, result_types=[result])

    @property
    def position(self) -> int:
        return self.index.value.data


@irdl_op_definition
class InputOp(PortOp):
    """The caller's input: only read."""

    name = "host.input"


@irdl_op_definition
class OutputOp(PortOp):
    """The caller's output: undefined at first, overlaps nothing else."""

    name = "host.output"


@irdl_op_definition
class VariableOp(PortOp):
    """The storage of a variable: what a run leaves there, the next one finds."""

    name = "host.variable"


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A constant at ``offset`` of the model's weights: only read."""

    name = "host.constant"
    value = prop_def(LiteralAttr)
    offset = prop_def(IntegerAttr.constr(i64))
    result = result_def(Buffer)
    traits = traits_def(Pure())
    assembly_format = "$value `at` $offset attr-dict `:` type($result)"

    def __init__(self, value: LiteralAttr, offset: int, result: Attribute) -> None:
        properties = {"value": value, "offset": IntegerAttr(offset, i64)}
        super().__init__(properties=properties, result_types=[result])


@irdl_op_definition
class BufferOp(IRDLOperation):
    """``bytes`` of scratch memory, undefined at first; ``offset`` is its place in the arena."""

    name = "host.buffer"
    bytes = prop_def(StringAttr)
    offset = opt_prop_def(StringAttr)
    result = result_def(Buffer)
    traits = traits_def(MemoryAllocEffect())
    assembly_format = "$bytes (`at` $offset^)? attr-dict `:` type($result)"

    def __init__(self, size: Dim, result: Attribute, offset: Dim | None = None) -> None:
        place = None if offset is None else StringAttr(str(offset))
        super().__init__(
            properties={"bytes": StringAttr(str(size)), "offset": place}, result_types=[result]
        )

    @property
    def size(self) -> Dim:
        return parse(self.bytes.data)


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The bytes of ``source`` from ``offset`` on, under another type."""

    name = "host.view"
    source = operand_def(Buffer)
    offset = prop_def(StringAttr)
    result = result_def(Buffer)
    traits = traits_def(Pure())
    assembly_format = "$source `at` $offset attr-dict `:` type($source) `->` type($result)"

    def __init__(self, source: SSAValue, result: Attribute, offset: Dim = 0) -> None:
        properties = {"offset": StringAttr(str(offset))}
        super().__init__(operands=[source], properties=properties, result_types=[result])


@irdl_op_definition
class LaunchOp(IRDLOperation):
    """Run a kernel; its arguments are the buffers it reads, then those it writes.

    The dims, the grid and the grain are those of the ``kernel.func``.
    """

    name = "host.launch"
    kernel = prop_def(SymbolRefAttr)
    reads = var_operand_def(Buffer)
    writes = var_operand_def(Buffer)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$kernel `reads` `(` $reads `)` `writes` `(` $writes `)` attr-dict "
        "`:` type($reads) `->` type($writes)"
    )

    def __init__(self, kernel: str, reads: Sequence[SSAValue], writes: Sequence[SSAValue]) -> None:
        super().__init__(operands=[reads, writes], properties={"kernel": SymbolRefAttr(kernel)})

    @property
    def callee(self) -> str:
        return self.kernel.root_reference.data


@irdl_op_definition
class CopyOp(IRDLOperation):
    """Copy ``bytes`` bytes; the two do not overlap."""

    name = "host.copy"
    source = operand_def(Buffer)
    target = operand_def(Buffer)
    bytes = prop_def(StringAttr)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$source `to` $target `,` $bytes attr-dict `:` type($source) `,` type($target)"

    def __init__(self, source: SSAValue, target: SSAValue, size: Dim) -> None:
        properties = {"bytes": StringAttr(str(size))}
        super().__init__(operands=[source, target], properties=properties)

    @property
    def size(self) -> Dim:
        return parse(self.bytes.data)


@irdl_op_definition
class RowOp(IRDLOperation):
    """The ``bytes`` bytes of ``source`` from row ``index`` on; no other row is touched through it.

    ``message`` is the error of the run where the index is not in ``[0, extent)``.
    """

    name = "host.row"
    source = operand_def(Buffer)
    index = operand_def(Buffer)
    extent = prop_def(StringAttr)
    bytes = prop_def(StringAttr)
    message = prop_def(StringAttr)
    unsigned = opt_prop_def(UnitAttr)
    result = result_def(Buffer)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$source `at` (`unsigned` $unsigned^)? $index `below` $extent `rows` `of` $bytes `,` $message attr-dict "
        "`:` type($source) `,` type($index) `->` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        index: SSAValue,
        extent: Dim,
        size: Dim,
        message: str,
        result: Attribute,
        unsigned: bool = False,
    ) -> None:
        texts = {"extent": str(extent), "bytes": str(size), "message": message}
        properties: dict[str, Attribute | None] = {k: StringAttr(t) for k, t in texts.items()}
        properties["unsigned"] = UnitAttr() if unsigned else None
        super().__init__(operands=[source, index], properties=properties, result_types=[result])


@irdl_op_definition
class SwapOp(IRDLOperation):
    """Let each of two buffers be the bytes that the other one was: no byte is moved.

    (C1) Both are a ``host.buffer``, of one size.
    """

    name = "host.swap"
    x = operand_def(Buffer)
    y = operand_def(Buffer)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$x `,` $y attr-dict `:` type($x) `,` type($y)"

    def __init__(self, x: SSAValue, y: SSAValue) -> None:
        super().__init__(operands=[x, y])

    def verify_(self) -> None:
        sizes = [o.owner.bytes for o in self.operands if isinstance(o.owner, BufferOp)]
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise VerifyException(f"'{self.name}' (C1): expected two buffers of one size, got {sizes}")


@irdl_op_definition
class IfOp(IRDLOperation):
    """Run ``then`` where the byte of ``predicate`` is not 0, and ``otherwise`` where it is."""

    name = "host.if"
    predicate = operand_def(Buffer)
    then = region_def("single_block")
    otherwise = region_def("single_block")
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect())
    assembly_format = "$predicate `:` type($predicate) attr-dict-with-keyword $then `else` $otherwise"

    def __init__(self, predicate: SSAValue, then: Region, otherwise: Region) -> None:
        super().__init__(operands=[predicate], regions=[then, otherwise])


@irdl_op_definition
class WhileOp(IRDLOperation):
    """Run ``condition``; where the byte of ``predicate`` is not 0 then, run ``body``, and begin again."""

    name = "host.while"
    predicate = operand_def(Buffer)
    condition = region_def("single_block")
    body = region_def("single_block")
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect())
    assembly_format = (
        "$condition `more` $predicate `:` type($predicate) attr-dict-with-keyword `do` $body"
    )

    def __init__(self, predicate: SSAValue, condition: Region, body: Region) -> None:
        super().__init__(operands=[predicate], regions=[condition, body])


class MessageOp(IRDLOperation):
    """An operation that may say something: ``texts``, and between them the values of ``data``.

    ``contents`` are the types of the values in the graph; ``summarize`` as in ``tfc.print``.
    """

    texts = prop_def(ArrayAttr[StringAttr])
    contents = prop_def(ArrayAttr[TensorType])
    summarize = prop_def(IntegerAttr.constr(i64))


@irdl_op_definition
class PrintOp(MessageOp):
    """Write the message to the standard error stream."""

    name = "host.print"
    data = var_operand_def(Buffer)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$texts `(` $data `)` `of` $contents `shows` $summarize attr-dict `:` `(` type($data) `)`"

    def __init__(
        self, texts: ArrayAttr[StringAttr], data: Sequence[SSAValue], types: Sequence[Attribute], summarize: int
    ) -> None:
        super().__init__(operands=[data], properties=_message(texts, types, summarize))


@irdl_op_definition
class AssertOp(MessageOp):
    """End the run with the message as its error where the byte of ``predicate`` is 0; it was made at ``place``."""

    name = "host.assert"
    predicate = operand_def(Buffer)
    data = var_operand_def(Buffer)
    place = prop_def(StringAttr)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = (
        "$predicate `,` $texts `(` $data `)` `of` $contents `shows` $summarize `at` $place attr-dict "
        "`:` type($predicate) `,` `(` type($data) `)`"
    )

    def __init__(
        self,
        predicate: SSAValue,
        texts: ArrayAttr[StringAttr],
        data: Sequence[SSAValue],
        types: Sequence[Attribute],
        summarize: int,
        place: str,
    ) -> None:
        properties = {**_message(texts, types, summarize), "place": StringAttr(place)}
        super().__init__(operands=[predicate, data], properties=properties)

    @property
    def message(self) -> str:
        """The error without its values."""
        return "...".join(t.data for t in self.texts)


def _message(texts: ArrayAttr[StringAttr], types: Sequence[Attribute], summarize: int) -> dict[str, Attribute]:
    return {"texts": texts, "contents": ArrayAttr(list(types)), "summarize": IntegerAttr(summarize, i64)}


def _verify_launch(launch: LaunchOp, kernel: FuncOp | None) -> None:
    if kernel is None:
        raise VerifyException(f"'{launch.name}' (C2): there is no kernel @{launch.callee}")
    taken = [t.element_type for t in kernel.function_type.inputs if isinstance(t, MemRefType)]
    given = [t.element_type for o in launch.operands if isinstance(t := o.type, MemRefType)]
    if taken != given:
        wanted, got = (", ".join(map(str, types)) for types in (taken, given))
        message = f"@{launch.callee} takes buffers of {wanted}; got {got}"
        raise VerifyException(f"'{launch.name}' (C2): {message}")


Host = Dialect(
    "host",
    [
        ProgramOp, InputOp, OutputOp, VariableOp, ConstantOp, BufferOp, ViewOp, LaunchOp, CopyOp,
        RowOp, SwapOp, IfOp, WhileOp, PrintOp, AssertOp,
    ],
    [PortAttr],
)  # fmt: skip
