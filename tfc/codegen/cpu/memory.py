"""Rules for loads, stores and gathers.

A buffer's ``i1`` takes a byte, and any byte but 0 reads as true. Lanes that a mask leaves out are
never touched. Which form an access takes follows from its lane stride:

====================  ============================================================================
stride 1              one vector access; masked by an instruction where the target has one,
                      else by a loop over the valid lanes (a prefix) or a branch per lane
stride 0              one scalar load, in every lane
stride -1, 2, 3, 4    vector loads that stay inside the extent of the lanes, and shuffles
any other             one access per lane; under a mask, a loop over the valid lanes or a gather
====================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Operation, SSAValue

from tfc.codegen.cpu.arith import add, multiply
from tfc.codegen.cpu.ir import Code, Kind, constant_int, literal, shape_of
from tfc.dialects import kernel

if TYPE_CHECKING:
    from tfc.codegen.cpu.translate import Rule, Translator, Value

INDEX = Kind("i64")
SHUFFLED_STRIDES = range(2, 5)
LEAST_STREAMED = 16
"""Bytes of the smallest store that x86 has past the caches."""


class Access:
    """Lanes of one buffer that are ``stride`` elements apart.

    Attributes:
        kind: of the vector (or scalar) in registers.
        held: the same in memory: ``i8`` for ``i1``.
        mask: the truth of each lane; "" where all are.
        valid: where the mask is a prefix, how many lanes are true, as an operand.
        address: of the first lane.
    """

    def __init__(
        self, code: Code, kind: Kind, base: str, offset: str, stride: str, mask: str, valid: str
    ) -> None:
        self.code, self.kind, self.stride, self.mask, self.valid = code, kind, stride, mask, valid
        self.held = kind.of("i8") if kind.element == "i1" else kind
        self.align = self.held.width // 8
        # A masked lane may lie outside the buffer, and so may its address.
        self.flags = "" if mask else "inbounds "
        self.address = code.at(self.held.element, base, offset, self.flags)

    @property
    def step(self) -> int | None:
        """The stride, where it is known."""
        return constant_int(self.stride)

    @property
    def is_masked_instruction(self) -> bool:
        """Whether LLVM's masked operation is the best form: always right, not always fast."""
        fast = self.code.target.masks(self.held.width)
        return self.step == 1 and (fast or not self.valid)

    def element(self, number: str) -> str:
        """The address ``number`` elements after the first lane."""
        return self.code.at(self.held.element, self.address, number, self.flags)

    def lane(self, number: int | str) -> str:
        """The address of one lane."""
        return self.element(multiply(self.code, INDEX, str(number), self.stride))

    def addresses(self) -> str:
        """The addresses of all lanes, as a vector."""
        steps = Kind("i64", self.kind.lanes)
        offsets = "<" + ", ".join(f"i64 {i}" for i in range(steps.lanes)) + ">"
        if self.stride != "1":
            spread = self.code.splat(steps, self.stride)
            offsets = self.code.op(f"mul {steps.text} {offsets}, {spread}")
        return addresses(self.code, self.held, self.address, offsets)

    def read(self, address: str, kind: Kind) -> str:
        return self.code.op(f"load {kind.text}, ptr {address}, align {self.align}")

    def write(self, value: str, address: str, kind: Kind) -> None:
        self.code.do(f"store {kind.text} {value}, ptr {address}, align {self.align}")


def addresses(code: Code, held: Kind, base: str, offsets: str) -> str:
    return code.op(f"getelementptr {held.element}, ptr {base}, <{held.lanes} x i64> {offsets}")


def load(access: Access) -> str:
    """The lanes, as a value in registers; masked ones are zero."""
    value = _load(access)
    if access.held == access.kind:
        return value
    return access.code.op(f"icmp ne {access.held.text} {value}, {literal(access.held, 0)}")


def _load(access: Access) -> str:
    code, held, step = access.code, access.held, access.step
    if not held.lanes:
        return access.read(access.address, held)
    if access.mask:
        return _masked_load(access)
    if step == 1:
        return access.read(access.address, held)
    if step == 0:
        return code.splat(held, access.read(access.address, held.scalar))
    if step == -1:
        last = access.lane(held.lanes - 1)
        return code.shuffle(held, access.read(last, held), "poison", range(held.lanes)[::-1])
    if step is not None and step in SHUFFLED_STRIDES:
        return _shuffled_load(access, step)
    vector = "poison"
    for lane in range(held.lanes):
        one = access.read(access.lane(lane), held.scalar)
        vector = code.insert(held, vector, one, lane)
    return vector


def _shuffled_load(access: Access, step: int) -> str:
    """Every ``step``-th element, out of ``step`` vectors the last of which ends at the last lane."""
    code, held, lanes = access.code, access.held, access.held.lanes
    starts = [*range(0, (step - 1) * lanes, lanes), (step - 1) * (lanes - 1)]
    parts = [access.read(access.element(str(start)), held) for start in starts]
    owner = [max(k for k in range(step) if starts[k] <= lane * step) for lane in range(lanes)]
    result = parts[0]
    for k in range(1, step):
        first = 1 if k > 1 else step  # how far apart the lanes of earlier parts lie
        picks = [
            lanes + lane * step - starts[k] if owner[lane] == k else min(lane * first, lanes - 1)
            for lane in range(lanes)
        ]
        result = code.shuffle(held, result, parts[k], picks)
    return result


def _masked_load(access: Access) -> str:
    code, held = access.code, access.held
    if access.is_masked_instruction:
        return masked_load(code, held, access.address, access.mask)
    if not access.valid:
        return masked_gather(code, held, access.addresses(), access.mask)
    copy = code.copy(held)
    code.do(f"store {held.text} {literal(held, 0)}, ptr {copy}, align 64")

    def body(lane: str) -> None:
        one = access.read(access.lane(lane), held.scalar)
        access.write(one, code.at(held.element, copy, lane), held.scalar)

    _each_lane(code, access.valid, held.lanes, body)
    return code.op(f"load {held.text}, ptr {copy}, align 64")


def store(access: Access, value: str) -> None:
    """Write the lanes of ``value``."""
    code, held = access.code, access.held
    if held != access.kind:
        value = code.cast("zext", access.kind, value, held)
    if not held.lanes:
        access.write(value, access.address, held)
    elif access.mask:
        _masked_store(access, value)
    elif access.step == 1:
        access.write(value, access.address, held)
    elif access.step == -1:
        flipped = code.shuffle(held, value, "poison", range(held.lanes)[::-1])
        access.write(flipped, access.lane(held.lanes - 1), held)
    else:
        for lane in range(held.lanes):
            access.write(code.extract(held, value, lane), access.lane(lane), held.scalar)


def _masked_store(access: Access, value: str) -> None:
    code, held = access.code, access.held
    if access.valid == "1":
        # LLVM 22 writes too many bytes where a vector is narrowed before it is stored under a
        # constant mask of one lane: AVX-512 then stores that lane as it was before.
        access.write(code.extract(held, value, 0), access.address, held.scalar)
        return
    if access.is_masked_instruction:
        name = f"llvm.masked.store.{held.mangled}.p0"
        truth = held.truth.text
        code.module.declare(name, "void", [held.text, "ptr", truth])
        address = f"ptr align {access.align} {access.address}"
        code.do(f"call void @{name}({held.text} {value}, {address}, {truth} {access.mask})")
        return
    if not access.valid:
        name = f"llvm.masked.scatter.{held.mangled}.v{held.lanes}p0"
        pointers, truth = f"<{held.lanes} x ptr>", held.truth.text
        code.module.declare(name, "void", [held.text, pointers, truth])
        where = f"{pointers} align {access.align} {access.addresses()}"
        code.do(f"call void @{name}({held.text} {value}, {where}, {truth} {access.mask})")
        return
    copy = code.copy(held)
    code.do(f"store {held.text} {value}, ptr {copy}, align 64")

    def body(lane: str) -> None:
        one = access.read(code.at(held.element, copy, lane), held.scalar)
        access.write(one, access.lane(lane), held.scalar)

    _each_lane(code, access.valid, held.lanes, body)


def _each_lane(code: Code, valid: str, lanes: int, body: Callable[[str], None]) -> None:
    """A loop over the lanes below ``valid``, of ``lanes`` at most."""
    few = code.op(f"icmp slt i64 {valid}, {lanes}")
    stop = code.op(f"select i1 {few}, i64 {valid}, i64 {lanes}")
    head, leave, before = code.fresh("lane"), code.fresh("done"), code.block
    code.branch(code.op(f"icmp sgt i64 {stop}, 0"), head, leave)
    code.start(head)
    lane, following = f"%{code.fresh('i')}", f"%{code.fresh('i')}"
    code.do(f"{lane} = phi i64 [ 0, %{before} ], [ {following}, %{head} ]")
    body(lane)
    code.do(f"{following} = add nsw i64 {lane}, 1")
    code.branch(code.op(f"icmp slt i64 {following}, {stop}"), head, leave)
    code.start(leave)


def masked_load(code: Code, held: Kind, address: str, mask: str) -> str:
    name, truth = f"llvm.masked.load.{held.mangled}.p0", held.truth.text
    code.module.declare(name, held.text, ["ptr", truth, held.text])
    where = f"ptr align {held.width // 8} {address}"
    return code.op(f"call {held.text} @{name}({where}, {truth} {mask}, {held.text} {literal(held, 0)})")


def masked_gather(code: Code, held: Kind, pointers: str, mask: str) -> str:
    name, truth = f"llvm.masked.gather.{held.mangled}.v{held.lanes}p0", held.truth.text
    kind = f"<{held.lanes} x ptr>"
    code.module.declare(name, held.text, [kind, truth, held.text])
    where = f"{kind} align {held.width // 8} {pointers}"
    return code.op(f"call {held.text} @{name}({where}, {truth} {mask}, {held.text} {literal(held, 0)})")


def _access(
    t: Translator, op: kernel.LoadOp | kernel.StoreOp, kind: Kind, offset: str
) -> Access:
    stride = t.text(op.lane_stride) if op.lane_stride else "1"
    mask, valid = "", ""
    if op.mask and kind.lanes:
        mask = t.text(op.mask)
        owner = op.mask.owner
        if isinstance(owner, kernel.MaskOp):
            valid = t.text(owner.valid)
    return Access(t.code, kind, t.text(op.buffer), offset, stride, mask, valid)


def _offsets(t: Translator, op: kernel.LoadOp | kernel.StoreOp, rows: int) -> list[str]:
    """The offset of each row."""
    first = t.text(op.offset)
    stride = t.text(op.row_stride) if op.row_stride else "0"
    steps = [multiply(t.code, INDEX, stride, str(row)) for row in range(rows)]
    return [add(t.code, INDEX, first, step) for step in steps]


def _load_op(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.LoadOp), "the table says so"
    shape = shape_of(op.result.type)
    if not shape.rows:
        return load(_access(t, op, shape.kind, t.text(op.offset)))
    return [load(_access(t, op, shape.kind, at)) for at in _offsets(t, op, shape.rows)]


def _store_op(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.StoreOp), "the table says so"
    shape = shape_of(op.value.type)
    offsets = _offsets(t, op, shape.rows) if shape.rows else [t.text(op.offset)]
    if kernel.STREAMING in op.attributes and _stream(_access(t, op, shape.kind, offsets[0]), t.text(op.value)):
        return
    for at, row in zip(offsets, t.rows(op.value), strict=True):
        store(_access(t, op, shape.kind, at), row)


def _stream(access: Access, value: str) -> bool:
    """Write whole lanes past the caches, which spares reading their lines; False where that cannot be."""
    held, size = access.held, access.held.lanes * access.held.width // 8
    if access.kind != held or access.mask or access.step != 1 or size < LEAST_STREAMED or not access.code.target.isa.streams:
        return False
    where = f"ptr {access.address}, align {min(size, kernel.LINE)}"
    access.code.do(f"store {held.text} {value}, {where}, !nontemporal !2")
    return True


def _element(t: Translator, op: kernel.AlignedOp | kernel.PrefetchOp, flags: str = "inbounds ") -> str:
    """The address that ``op`` is about."""
    kind = shape_of(op.buffer.type.element_type).kind  # pyright: ignore # the verifier excludes others
    held = "i8" if kind.element == "i1" else kind.element
    return t.code.at(held, t.text(op.buffer), t.text(op.offset), flags)


def _aligned_op(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.AlignedOp), "the table says so"
    address = t.code.op(f"ptrtoint ptr {_element(t, op)} to i64")
    low = t.code.op(f"and i64 {address}, {kernel.LINE - 1}")
    return t.code.op(f"icmp eq i64 {low}, 0")


def _prefetch_op(t: Translator, op: Operation) -> None:
    assert isinstance(op, kernel.PrefetchOp), "the table says so"
    code, first = t.code, _element(t, op, "")
    code.module.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
    for line in range(op.lines.value.data):
        where = code.at("i8", first, str(line * kernel.LINE), "")
        code.do(f"call void @llvm.prefetch.p0(ptr {where}, i32 0, i32 3, i32 1)")


def _gather_op(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.GatherOp), "the table says so"
    code, kind = t.code, shape_of(op.result.type).kind
    mask = t.text(op.mask) if op.mask else ""
    access = Access(code, kind, t.text(op.buffer), t.text(op.offset), "1", mask, "")
    held, offsets = access.held, t.text(op.offsets)
    places = _as_index(code, op.offsets, offsets)
    if mask:
        pointers = addresses(code, held, access.address, places)
        value = masked_gather(code, held, pointers, mask)
    else:
        value = _lane_by_lane(access, places)
    return value if held == kind else code.op(f"icmp ne {held.text} {value}, {literal(held, 0)}")


def _as_index(code: Code, value: SSAValue, text: str) -> str:
    source = shape_of(value.type).kind
    wide = source.of("i64")
    return text if source == wide else code.cast("sext", source, text, wide)


def _lane_by_lane(access: Access, places: str) -> str:
    code, held = access.code, access.held
    where, vector = Kind("i64", held.lanes), "poison"
    for lane in range(held.lanes):
        one = access.read(access.element(code.extract(where, places, lane)), held.scalar)
        vector = code.insert(held, vector, one, lane)
    return vector


def _scratch(t: Translator, op: Operation) -> Value:
    assert isinstance(op, kernel.ScratchOp), "the table says so"
    assert isinstance(op.result.type, MemRefType), "the verifier excludes this"
    (size,) = op.result.type.get_shape()
    kind = shape_of(op.result.type.element_type).kind
    return t.code.stack(kind.of("i8") if kind.element == "i1" else kind, size)


RULES: dict[type[Operation], Rule] = {
    kernel.LoadOp: _load_op,
    kernel.StoreOp: _store_op,
    kernel.GatherOp: _gather_op,
    kernel.ScratchOp: _scratch,
    kernel.AlignedOp: _aligned_op,
    kernel.PrefetchOp: _prefetch_op,
}
"""What each memory operation of ``kernel`` becomes on a CPU."""
