"""Turn fusions into kernels, and the function around them into a host program.

    func.func @main(%x) {                       kernel.func @contract_max_0(...) { ... }
      %w = tfc.constant blob "5f3a..."          host.program @mlp {
      %y = tfc.fusion "contraction"(%x, %w)  ->   %x = host.input 0
      func.return %y                              %w = host.constant #tfc.literal<...> at 0
    }                                             %t = host.buffer "3200"
                                                  host.launch @contract_max_0 reads(%x, %w) writes(%t)
                                                  host.copy %t to %out, "3200"

Runs after ``fuse`` and ``order-memory``: the order of the text is the order of the run. Fusions that
are alike share one kernel. A reshape costs nothing: buffers are flat, and the row of an array is a part of
it. A variable that is read is its storage, unless something is assigned to it while the value is still
needed: then it is copied.

A result of a branch has a buffer, to which each region copies what it yields. A value that a loop carries
has one as well: it is copied there before the loop, and so is what the body yields. An array with another
row is a copy of the array, and of the row into it. ``assign-buffers`` leaves out the copies that nobody needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from tfc.codegen.cpu.targets import Target
from tfc.codegen.gpu.targets import GpuTarget
from tfc.codegen.known import KnownKernels
from tfc.codegen.schedule.gpu.row import lower_row
from tfc.codegen.schedule.lower import lower_fusion
from tfc.devices import Device
from tfc.dialects import host, kernel
from tfc.dialects.tfc.constant import UNREAD, ConstantOp
from tfc.dialects.tfc.control import (
    AssertOp,
    IfOp,
    PrintOp,
    RegionOp,
    UpdateRowOp,
    WhileOp,
    accesses,
    variable_of,
)
from tfc.dialects.tfc.fusion import FusionOp, YieldOp
from tfc.dialects.tfc.gather import GatherOp, out_of_range
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp
from tfc.dialects.tfc.state import AssignOp, GateOp, JoinOp, ReadOp, VariableOp
from tfc.dialects.tfc.transfer import DEVICE, RecvOp, SendOp, SentType, memory_of
from tfc.dialects.tfc.types import (
    UNKNOWN_DIM,
    LiteralAttr,
    ResourceType,
    TensorType,
    element,
    is_unsigned,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, names, symbol
from tfc.errors import GraphError, OptionError
from tfc.location import describe, stamp

ALIGNMENT = 64
"""Of every constant: one cache line, and the widest vector."""

@dataclass(frozen=True)
class LowerToKernels(ModulePass):
    """Write kernels and the host program of ``@main``."""

    name = "lower-to-kernels"
    target: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    """The GPU that kernels of operations on GPUs are for: a name of `tfc.codegen.gpu.targets.GPUS`."""
    model: str = "model"
    """The name of the program, the prefix of its symbols."""
    known: KnownKernels | None = None
    """Kernels that need no body, where somebody asks for none."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.parse(self.target, self.cpu)
        for function in [f for f in op.ops if isinstance(f, FuncOp) and f.sym_name.data == "main"]:
            kernels, program = _Lowering(function, target, self.gpu, self.model, self.known).run()
            op.body.block.insert_ops_before([*kernels, program], function)
            if self.known is None:
                Rewriter.erase_op(function)
            else:
                function.detach()  # it remembers what kernels without a body were


@dataclass
class _Lowering:
    function: FuncOp
    target: Target
    gpu: str | None
    model: str
    known: KnownKernels | None = None
    kernels: dict[object, kernel.FuncOp] = field(default_factory=dict[object, kernel.FuncOp])
    buffers: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    constants: dict[tuple[LiteralAttr, str], SSAValue] = field(
        default_factory=dict[tuple[LiteralAttr, str], SSAValue]
    )
    offsets: dict[LiteralAttr, int] = field(default_factory=dict[LiteralAttr, int])
    """Where in the weights each constant is, on however many devices."""
    variables: dict[str, tuple[host.PortAttr, SSAValue]] = field(
        default_factory=dict[str, tuple[host.PortAttr, SSAValue]]
    )
    block: Block = field(default_factory=Block)
    """Where operations go: the program's, or that of a region."""
    weights: int = 0
    assigned: dict[Block, dict[str, list[Operation]]] = field(
        default_factory=dict[Block, dict[str, list[Operation]]]
    )

    def run(self) -> tuple[Sequence[kernel.FuncOp], host.ProgramOp]:
        body = self.function.body.block
        inputs = self.ports(self.function.arg_attrs, [a.type for a in body.args], "input")
        last = body.last_op
        assert isinstance(last, ReturnOp), "the verifier demands a terminator"
        returned = [o for o in last.operands if isinstance(o.type, TensorType)]
        outputs = self.ports(self.function.res_attrs, [o.type for o in returned], "output")
        taken = port_memories(self.function.arg_attrs, len(body.args))
        given = port_memories(self.function.res_attrs, len(last.operands))
        given = [m for m, o in zip(given, last.operands, strict=True) if isinstance(o.type, TensorType)]
        for k, argument in enumerate(body.args):
            self.buffers[argument] = self.emit(host.InputOp(k, host.buffer_of(argument.type), taken[k]))
        places = [self.emit(host.OutputOp(k, host.buffer_of(o.type), given[k])) for k, o in enumerate(returned)]
        self.program, self.positions = self.block, dict[Operation, int]()
        self.lower_all(body)
        for value, place in zip(returned, places, strict=True):
            self.emit(host.CopyOp(self.buffer(value), place, host.tensor_bytes(value.type)))
        variables = [port for port, _ in self.variables.values()]
        program = host.ProgramOp(
            self.model,
            inputs,
            outputs,
            variables,
            named_dims([shape_of(a.type) for a in body.args]),
            Region(self.block),
            weights=self.weights,
            requires=self.function.attributes.get("tfc.requires"),  # pyright: ignore # require-extents
        )
        program.location = self.function.location
        reported = {k: v for k, v in self.function.attributes.items() if k.startswith("tfc.peak_")}
        program.attributes.update(reported)  # what order-memory reached
        return list(self.kernels.values()), program

    def ports(
        self, attributes: ArrayAttr[DictionaryAttr] | None, types: Sequence[Attribute], word: str
    ) -> list[host.PortAttr]:
        """The ports of arguments or results, by their attribute ``tfc.name``."""
        given = [a.data for a in attributes] if attributes is not None else [{}] * len(types)
        labels = [a.get("tfc.name") for a in given]
        return [
            host.port(n.data if isinstance(n, StringAttr) else f"{word}{k}", t)
            for k, (n, t) in enumerate(zip(labels, types, strict=False))
        ]

    def emit(self, op: Operation, source: Operation | None = None) -> SSAValue:
        if source is not None:
            stamp(op, source.location)
        self.block.add_op(op)
        return op.results[0] if op.results else _NOTHING

    def owner(self, op: Operation, source: Operation) -> SSAValue:
        """Emit what gives a buffer where all regions see it."""
        stamp(op, source.location)
        self.program.add_op(op)
        return op.results[0]

    def copy(self, value: SSAValue, target: SSAValue, type_: Attribute, source: Operation) -> None:
        self.emit(host.CopyOp(value, target, host.tensor_bytes(type_)), source)

    def buffer(self, value: SSAValue) -> SSAValue:
        """The buffer that holds ``value``; constants get their place when they are first needed."""
        owner = value.owner
        if isinstance(owner, ConstantOp) and UNREAD not in owner.attributes:
            key = owner.value, memory_of(owner)
            if key not in self.constants:
                if owner.value not in self.offsets:
                    self.offsets[owner.value] = self.weights
                    self.weights += -(-owner.value.data.array.nbytes // ALIGNMENT) * ALIGNMENT
                op = host.ConstantOp(owner.value, self.offsets[owner.value], host.buffer_of(value.type), key[1])
                self.constants[key] = self.owner(op, owner)
            return self.constants[key]
        return self.buffers[value]

    def lower_all(self, block: Block) -> None:
        self.positions.update((op, k) for k, op in enumerate(block.ops))
        for op in block.ops:
            self.lower(op)

    def lower(self, op: Operation) -> None:
        _require_extents(op)
        match op:
            case ConstantOp() | BroadcastOp() if UNREAD in op.attributes:
                self.fresh(op.results[0], op)
            case FusionOp():
                self.fusion(op)
            case ReshapeOp():
                self.buffers[op.results[0]] = self.buffer(op.operands[0])
            case GateOp():
                self.buffers[op.results[0]] = self.buffer(op.operands[0])
            case SendOp() | RecvOp():
                self.transfer(op)
            case VariableOp():
                self.variable(op)
            case ReadOp():
                self.read(op)
            case AssignOp():
                self.assign(op)
            case GatherOp():
                self.row(op)
            case UpdateRowOp():
                self.update_row(op)
            case IfOp():
                self.branch(op)
            case WhileOp():
                self.loop(op)
            case AssertOp() | PrintOp():
                self.message(op)
            case ConstantOp() | JoinOp() | ReturnOp() | YieldOp():
                pass
            case _:
                raise _too_early("fuse", f"'{op.name}' is in no fusion")

    # Kernels

    def fusion(self, op: FusionOp) -> None:
        function = self.kernel(op)
        made = [self.fresh(r, op) for r in op.results]
        reads = [self.buffer(o) for o in op.operands]
        self.emit(host.LaunchOp(function.sym_name.data, reads, made), op)

    def fresh(self, value: SSAValue, source: Operation) -> SSAValue:
        made = self.buffers[value] = self.room(value.type, memory_of(source), source)
        return made

    def room(self, type_: Attribute, memory: str, source: Operation) -> SSAValue:
        """A new buffer."""
        size = host.tensor_bytes(type_)
        return self.owner(host.BufferOp(size, host.buffer_of(type_), memory=memory), source)

    # Devices

    def transfer(self, op: SendOp | RecvOp) -> None:
        """What is sent stays where it is, and is copied where it is received, unless the memory is the same.

        Of a token nothing is left: the operations of a program begin in one order, and what a device has begun
        it does in this order.
        """
        value, taken = op.results[0], op.operands[0]
        moved = value.type.content if isinstance(value.type, SentType) else value.type
        if not isinstance(moved, TensorType):
            return
        if isinstance(op, SendOp) or op.is_view:
            self.buffers[value] = self.buffer(taken)
        else:
            self.copy(self.buffer(taken), self.fresh(value, op), value.type, op)

    def seen(self, value: SSAValue, source: Operation) -> SSAValue:
        """A buffer with the bytes of ``value`` that the host itself can look at."""
        buffer = self.buffer(value)
        if host.memory_of(buffer) == host.HOST:
            return buffer
        made = self.room(value.type, host.HOST, source)
        self.copy(buffer, made, value.type, source)
        return made

    def kernel(self, op: FusionOp) -> kernel.FuncOp:
        on_gpu = memory_of(op) != host.HOST
        key = structure(op), on_gpu
        if (known := self.kernels.get(key)) is None:
            name = f"{kernel_name(op)}_{len(self.kernels)}"
            gpu = GpuTarget.parse(self.gpu) if on_gpu else None
            known = self.known.find(op, name, key[0], gpu) if self.known else None
            known = self.kernels[key] = known or lower_fusion(op, name, gpu or self.target)
            if any(isinstance(o, kernel.CheckOp) for o in known.walk()):
                del self.kernels[key]  # its error names the place in the user's graph
                self.kernels[op] = known
        return known

    # Variables

    def variable(self, op: VariableOp) -> None:
        handle = op.results[0].type
        assert isinstance(handle, ResourceType), "the declaration says so"
        name = op.variable.data
        if name not in self.variables:
            port = host.port(name, handle.content)
            made = host.VariableOp(len(self.variables), host.buffer_of(handle.content), memory_of(op))
            self.variables[name] = (port, self.owner(made, op))
        self.buffers[op.results[0]] = self.variables[name][1]

    def read(self, op: ReadOp) -> None:
        value, storage = op.results[0], self.buffers[op.handle]
        if not self.overwritten(op):
            self.buffers[value] = storage
            return
        self.copy(storage, self.fresh(value, op), value.type, op)

    def overwritten(self, op: ReadOp) -> bool:
        """Whether the variable is assigned to before the last use of the value read."""
        name, position = variable_of(op), self.positions
        assert op.parent is not None, "the operation stands in a block"
        start, end = position[op], self.last_use(op.results[0])
        # A loop that takes the value may read it after it assigned to the variable.
        ends = {o: end + isinstance(o, RegionOp) for o in self.assigning(op.parent).get(name, ())}
        return any(start < position[o] < last for o, last in ends.items())

    def assigning(self, block: Block) -> Mapping[str, Sequence[Operation]]:
        """The operations of a block that assign to each variable, themselves or inside."""
        if block not in self.assigned:
            found = self.assigned[block] = {}
            for op in block.ops:
                for access in accesses(op):
                    if isinstance(access, AssignOp):
                        found.setdefault(variable_of(access), []).append(op)
        return self.assigned[block]

    def last_use(self, value: SSAValue) -> int:
        """The position of the last operation that reads the bytes of ``value``."""
        last = -1
        for use in value.uses:
            user = use.operation
            last = max(last, self.positions[user])
            if isinstance(user, ReshapeOp | GateOp | GatherOp | SendOp) or (isinstance(user, RecvOp) and user.is_view):
                last = max(last, self.last_use(user.results[0]))
        return last

    def assign(self, op: AssignOp) -> None:
        if op.kind.data != "set":
            raise _too_early("expand-updates", f"'{op.name}' is no whole assignment")
        self.copy(self.buffer(op.value), self.buffers[op.handle], op.value.type, op)

    # Rows of arrays

    def row(self, op: GatherOp) -> None:
        """A row is where it stands, unless the array may be written before the row is read; or on a device, whose
        kernels expect buffers to begin at multiples of more than an element."""
        array = self.buffer(op.x)
        view = self.emit(self.row_of(array, op, op.x, op.indices), op)
        written = any(isinstance(use.operation, UpdateRowOp) for use in op.x.uses)
        if written or host.memory_of(array) != host.HOST:
            self.copy(view, self.fresh(op.result, op), op.result.type, op)
        else:
            self.buffers[op.result] = view

    def update_row(self, op: UpdateRowOp) -> None:
        made = self.fresh(op.result, op)
        self.copy(self.buffer(op.array), made, op.result.type, op)
        if host.memory_of(made) != host.HOST:
            function = self.kernels[op] = lower_row(op, f"update_row_{len(self.kernels)}")
            reads = [made, self.buffer(op.index), self.buffer(op.value)]
            self.emit(host.LaunchOp(function.sym_name.data, reads, [made]), op)
            return
        place = self.emit(self.row_of(made, op, op.array, op.index), op)
        self.copy(self.buffer(op.value), place, op.value.type, op)

    def row_of(self, array: SSAValue, op: GatherOp | UpdateRowOp, x: SSAValue, index: SSAValue) -> host.RowOp:
        extent, *rest = shape_of(x)
        row = tensor_type(rest, element(x))
        where = describe(op.location)
        message = f"{where}: {out_of_range(op, extent)}" if where else out_of_range(op, extent)
        return host.RowOp(
            array,
            self.seen(index, op),
            extent,
            host.tensor_bytes(row),
            message,
            host.buffer_of(row),
            is_unsigned(element(index)),
        )

    # Messages

    def message(self, op: AssertOp | PrintOp) -> None:
        data, types = [self.seen(v, op) for v in op.data], [v.type for v in op.data]
        summarize = op.summarize.value.data
        if isinstance(op, PrintOp):
            self.emit(host.PrintOp(op.texts, data, types, summarize), op)
            return
        where = describe(op.location)
        self.emit(host.AssertOp(self.seen(op.predicate, op), op.texts, data, types, summarize, where), op)

    # Branches and loops

    def region(self, region: Region, arguments: Sequence[SSAValue], places: Sequence[SSAValue]) -> Region:
        """The operations of a region, whose results go to ``places``."""
        block, outer = region.block, self.block
        tensors = [a for a in block.args if isinstance(a.type, TensorType)]
        self.buffers.update(zip(tensors, arguments, strict=True))
        self.block = Block()
        self.lower_all(block)
        last = block.last_op
        assert isinstance(last, YieldOp), "the verifier demands a terminator"
        values = [o for o in last.operands if isinstance(o.type, TensorType)]
        moves = [(self.buffer(v), p, v) for v, p in zip(values, places, strict=True)]
        for source, target, value in self.in_order(moves, last):
            self.copy(source, target, value.type, last)
        made, self.block = self.block, outer
        return Region(made)

    def in_order(self, moves: Sequence[Move], source: Operation) -> Sequence[Move]:
        """Moves that are made at once as moves one after the other: no place is read after it is written."""
        pending = [m for m in moves if m[0] is not m[1]]
        ordered: list[Move] = []
        while pending:
            read = [_root(s) for s, _, _ in pending]
            free = next(
                (m for k, m in enumerate(pending) if m[1] not in (*read[:k], *read[k + 1 :])), None
            )
            if free is None:  # they go round in a circle: one value steps aside
                value, place, what = pending.pop(0)
                aside = self.room(what.type, host.memory_of(value), source)
                self.copy(value, aside, what.type, source)
                pending.append((aside, place, what))
            else:
                pending.remove(free)
                ordered.append(free)
        return ordered

    def tensors(self, values: Sequence[SSAValue]) -> list[SSAValue]:
        """The buffers of those that are no tokens."""
        return [self.buffer(v) for v in values if isinstance(v.type, TensorType)]

    def places(self, op: IfOp | WhileOp) -> list[SSAValue]:
        return [self.fresh(r, op) for r in op.results if isinstance(r.type, TensorType)]

    def branch(self, op: IfOp) -> None:
        inputs, places = self.tensors(op.inputs), self.places(op)
        then, otherwise = (self.region(r, inputs, places) for r in op.regions)
        self.emit(host.IfOp(self.seen(op.predicate, op), then, otherwise), op)

    def loop(self, op: WhileOp) -> None:
        places, invariants = self.places(op), self.tensors(op.invariants)
        first = [o for o in op.carried if isinstance(o.type, TensorType)]
        for value, place in zip(first, places, strict=True):
            self.copy(self.buffer(value), place, value.type, op)
        (more,) = op.yielded(op.condition)
        holds = self.room(more.type, host.HOST, op)
        condition = self.region(op.condition, [*places, *invariants], [holds])
        body = self.region(op.body, [*places, *invariants], places)
        self.emit(host.WhileOp(holds, condition, body), op)


Move = tuple[SSAValue, SSAValue, SSAValue]
"""A buffer, where its bytes go, and the value that they are."""


def _root(buffer: SSAValue) -> SSAValue:
    """The buffer of which ``buffer`` is a row."""
    while isinstance(buffer.owner, host.RowOp):
        buffer = buffer.owner.source
    return buffer


_NOTHING: SSAValue = None  # pyright: ignore # of operations without a result


def _require_extents(op: Operation) -> None:
    """Refuse an operation whose results have extents that nobody knows before they are computed.

    Raises:
        GraphError: it has one.
    """
    for result in op.results:
        if isinstance(result.type, TensorType) and UNKNOWN_DIM in shape_of(result):
            shape = ", ".join("?" if d == UNKNOWN_DIM else str(d) for d in shape_of(result))
            raise GraphError(
                f"'{op.name}': expected extents that follow from those of the inputs, got ({shape}), which depends on values",
                where=describe(op.location),
                help="compiled code knows all extents before it runs; tf.Session(interpret=True) runs this, slowly",
            )


def _too_early(before: str, reason: str) -> OptionError:
    return OptionError(
        f"lower-to-kernels comes after {before}: {reason}",
        help="-p optimise,lower runs all passes, in order",
    )


def structure(op: FusionOp) -> object:
    """What two fusions have in common if they can share a kernel."""
    numbers: dict[SSAValue, int] = {a: k for k, a in enumerate(op.block.args)}
    rows: list[object] = [op.kind, *(a.type for a in op.block.args)]
    for inner in op.block.ops:
        operands = tuple(numbers[o] for o in inner.operands)
        properties = tuple(sorted(inner.properties.items(), key=lambda p: p[0]))
        rows.append((inner.name, operands, properties, tuple(r.type for r in inner.results)))
        numbers.update((r, len(numbers)) for r in inner.results)
    return tuple(rows)


def kernel_name(op: FusionOp) -> str:
    """The operations of a fusion in a symbol: ``contract_add_max``."""
    silent = {"constant", "broadcast", "reshape"}
    words = [o.name.removeprefix("tfc.") for o in op.inner]
    told = list(dict.fromkeys(w for w in words if w not in silent)) or words
    return "_".join(told[:4])


def port_memories(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[str]:
    """The memories of arguments or results: of the device that their ``tfc.device`` names, else the host's."""
    given = [a.data.get(DEVICE) for a in attributes] if attributes is not None else [None] * count
    return [Device.parse(d.data).memory if isinstance(d, StringAttr) else host.HOST for d in given]


def named_dims(shapes: Sequence[Sequence[Dim]]) -> list[str]:
    """The named dims of the inputs, in the order in which a plain extent tells them."""
    found: dict[str, None] = {}
    for shape in shapes:
        for extent in shape:
            found.update((n, None) for n in names(extent) if extent == symbol(n))
    return list(found)
