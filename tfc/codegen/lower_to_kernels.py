"""Turn fusions into kernels, and the function around them into a host program.

    func.func @main(%x) {                       kernel.func @contract_max_0(...) { ... }
      %w = tfc.constant blob "5f3a..."          host.program @mlp {
      %y = tfc.fusion "contraction"(%x, %w)  ->   %x = host.input 0
      func.return %y                              %w = host.constant #tfc.literal<...> at 0
    }                                             %t = host.buffer "3200"
                                                  host.launch @contract_max_0 reads(%x, %w) writes(%t)
                                                  host.copy %t to %out, "3200"

Runs after ``fuse`` and ``order-memory``: the order of the text is the order of the run. Fusions that
are alike share one kernel. A reshape costs nothing: buffers are flat. A variable that is read is its
storage, unless something is assigned to it while the value is still needed: then it is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from tfc.codegen.cpu.targets import Target
from tfc.codegen.schedule.lower import lower_fusion
from tfc.dialects import host, kernel
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.shape import ReshapeOp
from tfc.dialects.tfc.state import AssignOp, GateOp, JoinOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import LiteralAttr, ResourceType, TensorType, shape_of
from tfc.dims import Dim, names, symbol
from tfc.errors import OptionError
from tfc.location import stamp

ALIGNMENT = 64
"""Of every constant: one cache line, and the widest vector."""

@dataclass(frozen=True)
class LowerToKernels(ModulePass):
    """Write kernels and the host program of ``@main``."""

    name = "lower-to-kernels"
    target: str | None = None
    cpu: str | None = None
    model: str = "model"
    """The name of the program, the prefix of its symbols."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.parse(self.target, self.cpu)
        for function in [f for f in op.ops if isinstance(f, FuncOp) and f.sym_name.data == "main"]:
            kernels, program = _Lowering(function, target, self.model).run()
            op.body.block.insert_ops_before([*kernels, program], function)
            Rewriter.erase_op(function)


@dataclass
class _Lowering:
    function: FuncOp
    target: Target
    model: str
    kernels: dict[object, kernel.FuncOp] = field(default_factory=dict[object, kernel.FuncOp])
    buffers: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    constants: dict[LiteralAttr, SSAValue] = field(default_factory=dict[LiteralAttr, SSAValue])
    variables: dict[str, tuple[host.PortAttr, SSAValue]] = field(
        default_factory=dict[str, tuple[host.PortAttr, SSAValue]]
    )
    block: Block = field(default_factory=Block)
    weights: int = 0

    def run(self) -> tuple[Sequence[kernel.FuncOp], host.ProgramOp]:
        body = self.function.body.block
        inputs = self.ports(self.function.arg_attrs, [a.type for a in body.args], "input")
        last = body.last_op
        assert isinstance(last, ReturnOp), "the verifier demands a terminator"
        returned = [o for o in last.operands if isinstance(o.type, TensorType)]
        outputs = self.ports(self.function.res_attrs, [o.type for o in returned], "output")
        for k, argument in enumerate(body.args):
            self.buffers[argument] = self.emit(host.InputOp(k, host.buffer_of(argument.type)))
        places = [self.emit(host.OutputOp(k, host.buffer_of(o.type))) for k, o in enumerate(returned)]
        self.positions = {op: k for k, op in enumerate(body.ops)}
        for op in body.ops:
            self.lower(op)
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

    def buffer(self, value: SSAValue) -> SSAValue:
        """The buffer that holds ``value``; constants get their place when they are first needed."""
        owner = value.owner
        if isinstance(owner, ConstantOp):
            if owner.value not in self.constants:
                op = host.ConstantOp(owner.value, self.weights, host.buffer_of(value.type))
                self.constants[owner.value] = self.emit(op, owner)
                size = owner.value.data.array.nbytes
                self.weights += -(-size // ALIGNMENT) * ALIGNMENT
            return self.constants[owner.value]
        return self.buffers[value]

    def lower(self, op: Operation) -> None:
        match op:
            case FusionOp():
                self.fusion(op)
            case ReshapeOp():
                self.buffers[op.results[0]] = self.buffer(op.operands[0])
            case GateOp():
                self.buffers[op.results[0]] = self.buffer(op.operands[0])
            case VariableOp():
                self.variable(op)
            case ReadOp():
                self.read(op)
            case AssignOp():
                self.assign(op)
            case ConstantOp() | JoinOp() | ReturnOp():
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
        size = host.tensor_bytes(value.type)
        made = self.emit(host.BufferOp(size, host.buffer_of(value.type)), source)
        self.buffers[value] = made
        return made

    def kernel(self, op: FusionOp) -> kernel.FuncOp:
        key = structure(op)
        if (known := self.kernels.get(key)) is None:
            name = f"{kernel_name(op)}_{len(self.kernels)}"
            known = self.kernels[key] = lower_fusion(op, name, self.target)
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
            made = host.VariableOp(len(self.variables), host.buffer_of(handle.content))
            self.variables[name] = (port, self.emit(made, op))
        self.buffers[op.results[0]] = self.variables[name][1]

    def read(self, op: ReadOp) -> None:
        value, storage = op.results[0], self.buffers[op.handle]
        if not self.overwritten(op):
            self.buffers[value] = storage
            return
        self.emit(host.CopyOp(storage, self.fresh(value, op), host.tensor_bytes(value.type)), op)

    def overwritten(self, op: ReadOp) -> bool:
        """Whether the variable is assigned to before the last use of the value read."""
        start, end = self.positions[op], self.last_use(op.results[0])
        body = self.function.body.block.ops
        return any(
            isinstance(o, AssignOp)
            and self.buffers.get(o.handle, self.storage(o.handle)) is self.buffers[op.handle]
            and start < self.positions[o] < end
            for o in body
        )

    def storage(self, handle: SSAValue) -> SSAValue | None:
        owner = handle.owner
        assert isinstance(owner, VariableOp), "handles come from variables"
        known = self.variables.get(owner.variable.data)
        return known[1] if known else None

    def last_use(self, value: SSAValue) -> int:
        """The position of the last operation that reads the bytes of ``value``."""
        last = -1
        for use in value.uses:
            user = use.operation
            last = max(last, self.positions[user])
            if isinstance(user, ReshapeOp | GateOp):
                last = max(last, self.last_use(user.results[0]))
        return last

    def assign(self, op: AssignOp) -> None:
        if op.kind.data != "set":
            raise _too_early("expand-updates", f"'{op.name}' is no whole assignment")
        storage, value = self.buffers[op.handle], self.buffer(op.value)
        self.emit(host.CopyOp(value, storage, host.tensor_bytes(op.value.type)), op)


_NOTHING: SSAValue = None  # pyright: ignore # of operations without a result


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


def named_dims(shapes: Sequence[Sequence[Dim]]) -> list[str]:
    """The named dims of the inputs, in the order in which a plain extent tells them."""
    found: dict[str, None] = {}
    for shape in shapes:
        for extent in shape:
            found.update((n, None) for n in names(extent) if extent == symbol(n))
    return list(found)
