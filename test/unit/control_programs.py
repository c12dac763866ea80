"""Random programs with branches and loops in each other, arrays of rows, variables and messages.

    module = random_program(seed)          @main(%x: 3x4, %y: 4, %n: i32) -> several results and a token

Loops end: each counts, to a constant, to the input ``n`` or to what depends on other values. Values stay small.
"""

from __future__ import annotations

from random import Random

import numpy as np
from xdsl.dialects.builtin import FunctionType, ModuleOp, f32, i1, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from tfc.dialects.tfc.arithmetic import FloormodOp
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import DotOp
from tfc.dialects.tfc.control import AssertOp, IfOp, PrintOp, UpdateRowOp, WhileOp
from tfc.dialects.tfc.elementwise import AddOp, MaxOp, MinOp, MulOp, NegOp, SubOp, TanhOp
from tfc.dialects.tfc.fusion import YieldOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.reduce import ReduceOp
from tfc.dialects.tfc.select import CompareOp
from tfc.dialects.tfc.shape import BroadcastOp, ReshapeOp, ReverseOp, TransposeOp
from tfc.dialects.tfc.state import AssignOp, JoinOp, ReadOp, VariableOp
from tfc.dialects.tfc.types import ControlType, tensor_type

ROWS, WIDTH = 3, 4
MATRIX, ROW, NUMBER = tensor_type([ROWS, WIDTH], f32), tensor_type([WIDTH], f32), tensor_type([], i32)
TRUTH, TOKEN = tensor_type([], i1), ControlType()
VARIABLES = {"u": MATRIX, "v": ROW}


def random_program(seed: int, size: int = 12, depth: int = 3) -> ModuleOp:
    """A module whose ``@main`` takes a matrix, a row and a number, and gives one of each and a token."""
    types = [MATRIX, ROW, NUMBER]
    block = Block(arg_types=types)
    maker = _Maker(Random(seed), block, list(block.args), depth)
    maker.token = maker.add(JoinOp([]))
    maker.grow(size)
    results = [maker.pick(t) for t in types]
    block.add_op(ReturnOp(*results, maker.token))
    function = FuncOp("main", FunctionType.from_lists(types, [*types, TOKEN]), Region(block))
    module = ModuleOp([function])
    module.verify()
    return module


class _Maker:
    """Adds operations to a block, on values that are there."""

    token: SSAValue

    def __init__(self, chance: Random, block: Block, values: list[SSAValue], depth: int) -> None:
        self.chance, self.block, self.depth = chance, block, depth
        self.values = values

    def add(self, op: Operation) -> SSAValue:
        self.block.add_op(op)
        if op.results[0].type != TOKEN:
            self.values.append(op.results[0])
        return op.results[0]

    def pick(self, type_: Attribute) -> SSAValue:
        found = [v for v in self.values if v.type == type_]
        if found and self.chance.random() < 0.95:
            return self.chance.choice(found[-6:])
        return self.add(self.constant(type_))

    def constant(self, type_: Attribute) -> ConstantOp:
        if type_ == NUMBER:
            return ConstantOp(np.array(self.chance.randrange(4), np.int32))
        if type_ == TRUTH:
            return ConstantOp(np.array(self.chance.random() < 0.5))
        shape = (ROWS, WIDTH) if type_ == MATRIX else (WIDTH,)
        if self.chance.random() < 0.5:
            return ConstantOp(np.full(shape, self.chance.choice([0.0, 0.5, -1.0]), np.float32))
        numbers = [self.chance.uniform(-1, 1) for _ in range(int(np.prod(shape)))]
        return ConstantOp(np.array(numbers, np.float32).reshape(shape))

    def index(self) -> SSAValue:
        """A number that is a row."""
        rows = self.add(ConstantOp(np.array(ROWS, np.int32)))
        return self.add(FloormodOp(self.pick(NUMBER), rows))

    def grow(self, size: int) -> None:
        for _ in range(size):
            kinds = [self.element, self.element, self.element, self.move, self.rows, self.number, self.state]
            if self.depth:
                kinds += [self.branch, self.loop, self.loop]
            self.chance.choice(kinds)()

    def element(self) -> None:
        type_ = self.chance.choice([MATRIX, ROW])
        x, y = self.pick(type_), self.pick(type_)
        op = self.chance.choice([AddOp, SubOp, MulOp, MaxOp, MinOp])
        self.add(TanhOp(self.add(op(x, y))) if self.chance.random() < 0.6 else NegOp(x))

    def move(self) -> None:
        x = self.pick(MATRIX)
        match self.chance.randrange(5):
            case 0:
                self.add(ReverseOp(x, [self.chance.randrange(2)]))
            case 1:
                turned = self.add(TransposeOp(x, [1, 0]))
                self.add(ReshapeOp(turned, [ROWS, WIDTH]))
            case 2:
                self.add(TanhOp(self.add(ReduceOp(x, "sum", [0]))))
            case 3:
                self.add(BroadcastOp(self.pick(ROW), [ROWS, WIDTH], [1]))
            case _:
                square = self.add(DotOp(x, self.pick(MATRIX), [], [], [1], [1]))
                self.add(TanhOp(self.add(DotOp(square, x, [], [], [1], [0]))))

    def rows(self) -> None:
        if self.chance.random() < 0.5:
            self.add(GatherOp(self.pick(MATRIX), self.index(), 0))
        else:
            self.add(UpdateRowOp(self.pick(MATRIX), self.index(), self.pick(ROW)))

    def number(self) -> None:
        op = self.chance.choice([AddOp, SubOp, MaxOp])
        self.add(op(self.pick(NUMBER), self.pick(NUMBER)))

    def truth(self) -> SSAValue:
        kind = self.chance.choice(["lt", "eq", "ge"])
        return self.add(CompareOp(kind, self.pick(NUMBER), self.pick(NUMBER)))

    def state(self) -> None:
        name = self.chance.choice(list(VARIABLES))
        handle = VariableOp(name, VARIABLES[name])
        self.block.add_op(handle)
        match self.chance.randrange(4):
            case 0 | 1:
                read = ReadOp(handle, [self.token])
                self.block.add_op(read)
                self.values.append(read.value)
                self.token = self.add(JoinOp([self.token, read.token]))
            case 2:
                kind = self.chance.choice(["set", "set", "add"])
                value = self.add(TanhOp(self.pick(VARIABLES[name])))
                self.token = self.add(AssignOp(handle, value, [self.token], kind))
            case _:
                number = self.pick(NUMBER)
                if self.chance.random() < 0.3:
                    limit = self.add(ConstantOp(np.array(1000, np.int32)))
                    small = self.add(CompareOp("lt", number, limit))
                    self.token = self.add(AssertOp(small, "too large:", [number], [self.token]))
                else:
                    self.token = self.add(PrintOp(["now ", "\n"], [number], [self.token]))

    # Regions

    def inside(self, types: list[Attribute]) -> _Maker:
        block = Block(arg_types=[*types, TOKEN])
        *values, token = block.args
        maker = _Maker(self.chance, block, list(values), self.depth - 1)
        maker.token = token
        return maker

    def several(self) -> list[SSAValue]:
        """Some values that go in."""
        return [self.pick(self.chance.choice([MATRIX, ROW, NUMBER])) for _ in range(self.chance.randrange(1, 5))]

    def branch(self) -> None:
        inputs = self.several()
        results = [self.chance.choice([MATRIX, ROW, NUMBER]) for _ in range(self.chance.randrange(1, 4))]
        regions: list[Region] = []
        for _ in range(2):
            maker = self.inside([v.type for v in inputs])
            maker.grow(self.chance.randrange(5))
            values = [maker.pick(t) for t in results]
            maker.block.add_op(YieldOp([*values, maker.token]))
            regions.append(Region(maker.block))
        op = IfOp(self.truth(), [*inputs, self.token], *regions)
        self.take(op)

    def loop(self) -> None:
        carried, invariants = self.several(), self.several()
        start = self.add(ConstantOp(np.array(0, np.int32)))
        limit = self.chance.choice([self.pick(NUMBER), self.add(self.constant(NUMBER))])
        most = self.add(ConstantOp(np.array(5, np.int32)))
        limit = self.add(MinOp(limit, most))
        # The counter and its limit come last, so that nothing picks the counter to be carried elsewhere.
        types = [*(v.type for v in carried), NUMBER, TOKEN, *(v.type for v in invariants), NUMBER]
        condition, body = Block(arg_types=types), Block(arg_types=types)
        count = len(carried)
        more = CompareOp("lt", condition.args[count], condition.args[-1])
        condition.add_ops([more, YieldOp([more.results[0]])])
        values: list[SSAValue] = [*body.args[: count + 1], *body.args[count + 2 :]]
        maker = _Maker(self.chance, body, values, self.depth - 1)
        maker.token = body.args[count + 1]
        one = maker.add(ConstantOp(np.array(1, np.int32)))
        following = maker.add(AddOp(body.args[count], one))
        maker.grow(self.chance.randrange(1, 7))
        results = [maker.pick(v.type) for v in carried]
        body.add_op(YieldOp([*results, following, maker.token]))
        op = WhileOp([*carried, start, self.token], [*invariants, limit], Region(condition), Region(body))
        self.take(op)

    def take(self, op: Operation) -> None:
        self.block.add_op(op)
        for result in op.results:
            if result.type == TOKEN:
                self.token = result
            else:
                self.values.append(result)
