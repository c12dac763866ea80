"""A contraction whose memory access is written out: what `pack-contractions` makes.

    %y = tfc.contract %x, %w, 64 over #tfc.axes<"row 56 x=64 y=128", "depth 64 x=1 w=64",
        "panel 2 w=4096 y=64", "column 128 w=1 y=1"> packed : ...

Matmul, batched matmul and convolution of any rank are one sum,

    y[batch..., row, column] = sum of x[batch..., row, step..., depth] * w[batch..., step..., depth, column]

and differ only in how far each index moves in the three buffers. So an axis is an extent and
three distances, in elements. The columns stand in panels of ``lanes`` columns each, so that a
panel of ``w`` is read from its first byte to its last:

=========  ===========================================================================
batch      outer index of the result; ``w=0`` where all share one ``w``
row        the index of the result along which a register tile is high
step       outer index of the sum (the window of a convolution)
depth      inner index of the sum
panel      which ``lanes`` columns
column     columns in all; the last panel is filled with zeros where ``w`` is ``packed``, and only
           where it is not may columns lie elsewhere than side by side
=========  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, Data, Operation, SSAValue
from xdsl.irdl import irdl_attr_definition, operand_def, opt_prop_def, prop_def, result_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from tfc.dialects.tfc.base import Sample, TensorOp, float_range, tfc_op
from tfc.dialects.tfc.shape import Integer, integer
from tfc.dialects.tfc.types import Array, Tensor, element, shape_of, tensor_type
from tfc.dims import Dim, parse
from tfc.errors import require

ROLES = ("batch", "row", "step", "depth", "panel", "column")


@dataclass(frozen=True)
class Axis:
    """One index: how many values it takes, and how far one step moves in x, w and y."""

    role: str
    extent: Dim
    x: Dim = 0
    w: Dim = 0
    y: Dim = 0

    def __str__(self) -> str:
        moves = (
            f" {k}={str(getattr(self, k)).replace(' ', '')}" for k in "xwy" if getattr(self, k) != 0
        )
        return f"{self.role} {str(self.extent).replace(' ', '')}{''.join(moves)}"

    @classmethod
    def read(cls, text: str) -> Axis:
        """The inverse of ``str``.

        Raises:
            ValueError: ``text`` is not "ROLE EXTENT x=STRIDE w=STRIDE y=STRIDE".
        """
        role, extent, *moves = text.split()
        if role not in ROLES or any(m[:2] not in ("x=", "w=", "y=") for m in moves):
            raise ValueError(f"not an axis: {text!r}")
        return cls(role, parse(extent), **{m[0]: parse(m[2:]) for m in moves})


@irdl_attr_definition
class AxesAttr(Data[tuple[Axis, ...]]):
    """The axes of a contraction, outermost first."""

    name = "tfc.axes"

    def of(self, role: str) -> Sequence[Axis]:
        return [a for a in self.data if a.role == role]

    def one(self, role: str) -> Axis:
        return next(a for a in self.data if a.role == role)

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Axis, ...]:
        texts = parser.parse_comma_separated_list(parser.Delimiter.ANGLE, parser.parse_str_literal)
        try:
            return tuple(Axis.read(t) for t in texts)
        except ValueError as error:
            parser.raise_error(str(error))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_list([str(a) for a in self.data], printer.print_string_literal)


@tfc_op
class ContractOp(TensorOp):
    """A sum of products over affine accesses; see the module's docstring.

    f16 and bf16 are accumulated in f32. The order of the sum is not defined.

    (C1) ``x``, ``w`` and the result have one element type.
    (C2) There is one row, depth, panel and column axis, and ``lanes`` is at least 1.
    """

    name = "tfc.contract"
    x = operand_def(Tensor)
    w = operand_def(Tensor)
    lanes = prop_def(Integer)
    axes = prop_def(AxesAttr)
    packed = opt_prop_def(UnitAttr)
    result = result_def(Tensor)
    assembly_format = (
        "$x `,` $w `,` $lanes `over` $axes (`packed` $packed^)? attr-dict "
        "`:` type($x) `,` type($w) `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue | Operation,
        w: SSAValue | Operation,
        shape: Sequence[Dim],
        axes: Sequence[Axis],
        lanes: int,
        *,
        packed: bool = False,
    ) -> None:
        x, w = SSAValue.get(x), SSAValue.get(w)
        properties: dict[str, Attribute | None] = {
            "lanes": integer(lanes),
            "axes": AxesAttr(tuple(axes)),
            "packed": UnitAttr() if packed else None,
        }
        self.construct([x, w], properties, [tensor_type(shape, element(x))])

    def infer(self) -> Sequence[Attribute]:
        x, w = element(self.x), element(self.w)
        require(
            x == w == element(self.result),
            self,
            "C1",
            f"the element type {x}",
            f"{w} and {element(self.result)}",
        )
        roles = [a.role for a in self.axes.data]
        for role in ("row", "depth", "panel", "column"):
            require(roles.count(role) == 1, self, "C2", f"one axis {role!r}", roles.count(role))
        require(self.lanes.value.data >= 1, self, "C2", "lanes >= 1", self.lanes.value.data)
        return [self.result.type]  # where the axes lie in the result is known from its type alone

    def reference(self, *args: Array) -> Array:
        lanes, axes = self.lanes.value.data, self.axes
        kind = np.float32 if args[0].dtype.itemsize == 2 else args[0].dtype
        x, w = (a.astype(kind).ravel() for a in args)
        apart = _size(axes.one("column").w)
        w = np.concatenate([w, np.zeros(lanes * apart, kind)])  # the last panel of a w that is not packed
        outer, inner = [*axes.of("batch"), axes.one("row")], [*axes.of("step"), axes.one("depth")]
        panel, columns = axes.one("panel"), _size(axes.one("column").extent)
        xs = _view(x, [(a.extent, a.x) for a in outer + inner])
        ws = _view(w, [(a.extent, a.w) for a in [*outer, panel, *inner]] + [(lanes, apart)])
        result = np.zeros([_size(d) for d in shape_of(self.result)], kind)
        sums = np.zeros([*xs.shape[: len(outer)], ws.shape[len(outer)] * lanes], kind)
        for at in np.ndindex(*xs.shape[: len(outer)]):
            product = np.tensordot(ws[at], xs[at], (range(1, len(inner) + 1), range(len(inner))))
            sums[at] = product.reshape(-1)
        y = _view(
            result.reshape(-1), [(a.extent, a.y) for a in outer] + [(columns, axes.one("column").y)]
        )
        y[...] = sums[..., :columns]
        return result.astype(args[0].dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        rows = [
            Axis("row", 3, x=5, y=6),
            Axis("depth", 5, x=1, w=4),
            Axis("panel", 2, w=20, y=4),
            Axis("column", 6, w=1, y=1),
        ]
        plain = [rows[0], Axis("depth", 5, x=1, w=6), Axis("panel", 2, w=4, y=4), rows[3]]
        window = [
            Axis("batch", 2, x=14, y=15),
            Axis("row", 3, x=4, y=5),
            Axis("step", 2, x=2, w=10),
            Axis("depth", 2, x=1, w=5),
            Axis("panel", 2, w=4, y=4),
            Axis("column", 5, w=1, y=1),
        ]
        x = float_range(3, 5)
        panels = np.zeros((2, 5, 4), np.float32)
        panels.reshape(-1)[:] = float_range(40)
        return [
            Sample(lambda x, w: cls(x, w, [3, 6], rows, 4, packed=True), x, panels),
            Sample(lambda x, w: cls(x, w, [3, 6], plain, 4), x, float_range(5, 6)),
            Sample(
                lambda x, w: cls(x, w, [2, 3, 5], window, 4),
                float_range(2, 7, 2),
                float_range(2, 2, 5),
            ),
        ]


def _size(dim: Dim) -> int:
    assert isinstance(dim, int), "numpy sees shapes that are known"
    return dim


def _view(array: Array, axes: Sequence[tuple[Dim, Dim]]) -> Any:
    shape = [_size(n) for n, _ in axes]
    strides = [_size(s) * array.itemsize for _, s in axes]
    return np.lib.stride_tricks.as_strided(array, shape, strides)
