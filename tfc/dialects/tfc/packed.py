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

Of bytes, a step of the depth is four terms: side by side in ``x``, and in each lane of a panel.

With ``low``, ``x`` is read as if so many zeros stood before each of its dims, and as many behind as are asked for. An axis that
moves in ``x`` then says along which dim: ``"row 14 x=64 y=128 in=2"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, StringAttr, UnitAttr, f32
from xdsl.ir import Attribute, Data, Operation, SSAValue
from xdsl.irdl import irdl_attr_definition, operand_def, opt_prop_def, prop_def, result_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from tfc.dialects.tfc.base import Sample, TensorOp, float_range, ints, tfc_op
from tfc.dialects.tfc.shape import Integer, IntList, integer
from tfc.dialects.tfc.types import (
    Array,
    Tensor,
    dtype_of,
    element,
    element_of,
    shape_of,
    tensor_type,
)
from tfc.dims import Dim, parse
from tfc.errors import require

BYTE = element_of(np.uint8)

ROLES = ("batch", "row", "step", "depth", "panel", "column")


@dataclass(frozen=True)
class Axis:
    """One index: how many values it takes, and how far one step moves in x, w and y; and along which dim of x, where
    that is padded (else -1)."""

    role: str
    extent: Dim
    x: Dim = 0
    w: Dim = 0
    y: Dim = 0
    dim: int = -1

    def __str__(self) -> str:
        moves = (
            f" {k}={str(getattr(self, k)).replace(' ', '')}" for k in "xwy" if getattr(self, k) != 0
        )
        along = f" in={self.dim}" if self.dim >= 0 else ""
        return f"{self.role} {str(self.extent).replace(' ', '')}{''.join(moves)}{along}"

    @classmethod
    def read(cls, text: str) -> Axis:
        """The inverse of ``str``.

        Raises:
            ValueError: ``text`` is not "ROLE EXTENT x=STRIDE w=STRIDE y=STRIDE in=DIM".
        """
        role, extent, *moves = text.split()
        dim = int(moves.pop()[3:]) if moves and moves[-1].startswith("in=") else -1
        if role not in ROLES or any(m[:2] not in ("x=", "w=", "y=") for m in moves):
            raise ValueError(f"not an axis: {text!r}")
        return cls(role, parse(extent), **{m[0]: parse(m[2:]) for m in moves}, dim=dim)


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

    f16 and bf16 are accumulated in f32. The order of the sum is not defined. With ``precision`` "tf32" a machine may
    round factors of f32 to 10 bits behind the point.

    (C1) ``x``, ``w`` and the result have one element type; or ``x`` is u8, ``w`` i8 and packed, the result i32; or
         ``x`` and ``w`` are halves, the result f32.
    (C2) There is one row, depth, panel and column axis, and ``lanes`` is at least 1.
    (C3) ``precision`` is "tf32", and the elements are f32; or it is left out.
    (C4) ``low`` has an entry for each dim of ``x``, at least 0, and is left out of bytes; axes name dims of ``x`` where it is given.
    (C5) ``last`` has room for its columns, is below ``lanes``, and of a packed ``w``.
    """

    name = "tfc.contract"
    x = operand_def(Tensor)
    w = operand_def(Tensor)
    lanes = prop_def(Integer)
    axes = prop_def(AxesAttr)
    packed = opt_prop_def(UnitAttr)
    precision = opt_prop_def(StringAttr)
    low = opt_prop_def(IntList)
    last = opt_prop_def(Integer)
    result = result_def(Tensor)
    assembly_format = (
        "$x `,` $w `,` $lanes `over` $axes (`packed` $packed^)? (`last` $last^)? (`precision` $precision^)? "
        "(`low` $low^)? attr-dict "
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
        precision: str = "",
        sums: Attribute | None = None,
        low: Sequence[int] = (),
        last: int | None = None,
    ) -> None:
        """``sums``: the element type of the result, where it is not that of ``x``; ``last``: the lanes of the last panel
        of a packed ``w``, where they are fewer."""
        x, w = SSAValue.get(x), SSAValue.get(w)
        properties: dict[str, Attribute | None] = {
            "lanes": integer(lanes),
            "axes": AxesAttr(tuple(axes)),
            "packed": UnitAttr() if packed else None,
            "precision": StringAttr(precision) if precision else None,
            "low": ints(low) if low else None,
            "last": None if last is None else integer(last),
        }
        kind = sums or (element_of(np.int32) if element(x) == BYTE else element(x))
        self.construct([x, w], properties, [tensor_type(shape, kind)])

    def over(self, shape: Sequence[Dim], axes: Sequence[Axis]) -> ContractOp:
        """The same over other axes, with a result of ``shape``."""
        return ContractOp(
            self.x, self.w, shape, axes, self.lanes.value.data, packed=self.packed is not None,
            precision=self.precision.data if self.precision else "", sums=element(self.result), low=self.padding,
            last=None if self.last is None else self.narrow,
        )  # fmt: skip

    @property
    def padding(self) -> Sequence[int]:
        """Zeros before each dim of ``x``; empty where it is read as it is."""
        return tuple(self.low.get_values()) if self.low is not None else ()

    @property
    def narrow(self) -> int:
        """Lanes of the last panel of ``w``."""
        return (self.lanes if self.last is None else self.last).value.data

    @property
    def terms(self) -> int:
        """Terms of a step of the depth."""
        return 4 if element(self.x) == BYTE else 1

    def infer(self) -> Sequence[Attribute]:
        x, w, result = (element(v) for v in (self.x, self.w, self.result))
        if x == BYTE:
            wanted = (element_of(np.int8), element_of(np.int32))
            fits = (w, result) == wanted and self.packed is not None
            require(fits, self, "C1", "panels of i8 and a result of i32", f"{w} and {result}")
        else:
            sums = [x, f32] if isinstance(x, Float16Type | BFloat16Type) else [x]
            require(x == w and result in sums, self, "C1", f"the element type {x}", f"{w} and {result}")
        roles = [a.role for a in self.axes.data]
        for role in ("row", "depth", "panel", "column"):
            require(roles.count(role) == 1, self, "C2", f"one axis {role!r}", roles.count(role))
        require(self.lanes.value.data >= 1, self, "C2", "lanes >= 1", self.lanes.value.data)
        if self.precision is not None:
            kind = self.precision.data if isinstance(x, Float32Type) else str(x)
            require(kind == "tf32", self, "C3", "tf32 of f32", kind)
        self._check_padding()
        if self.last is not None:
            lanes, columns = self.lanes.value.data, self.axes.one("column").extent
            least = 1 if not isinstance(columns, int) else (columns - 1) % lanes + 1
            legal = least <= self.narrow < lanes and self.packed is not None
            require(legal, self, "C5", f"a last panel of {least} to {lanes - 1} packed lanes", self.narrow)
        return [self.result.type]  # where the axes lie in the result is known from its type alone

    def _check_padding(self) -> None:
        rank, dims = len(shape_of(self.x)), [a.dim for a in self.axes.data if a.x != 0]
        if self.low is None:
            require(set(dims) <= {-1}, self, "C4", "low, where axes name dims", dims)
            return
        legal = len(self.padding) == rank and min(self.padding, default=0) >= 0 and self.terms == 1
        require(legal, self, "C4", f"{rank} numbers from 0 on", self.padding)
        require(all(0 <= d < rank for d in dims), self, "C4", f"axes along dims below {rank}", dims)

    def _padded(self, x: Array) -> tuple[Array, list[Axis]]:
        """``x`` with its zeros, and the axes as they move in it."""
        reach = [0] * x.ndim
        steps = [_steps(x.shape)[a.dim] for a in self.axes.data]
        for axis, step in zip(self.axes.data, steps, strict=True):
            if axis.dim >= 0:
                reach[axis.dim] += (_size(axis.extent) - 1) * (_size(axis.x) // step)
        pairs = zip(self.padding, reach, x.shape, strict=True)
        padded = np.pad(x, [(low, max(0, end + 1 - low - n)) for low, end, n in pairs])
        apart = _steps(padded.shape)
        moved = [
            replace(a, x=_size(a.x) // step * apart[a.dim]) if a.dim >= 0 else a
            for a, step in zip(self.axes.data, steps, strict=True)
        ]
        return padded, moved

    def _filled(self, w: Array, axes: AxesAttr) -> tuple[Array, AxesAttr]:
        """``w`` with a last panel as wide as the others, and the axes as they move in it."""
        lanes, last, panel = self.lanes.value.data, self.narrow, axes.one("panel")
        depth, panels = _size(panel.w) // lanes, _size(panel.extent)
        wide = (panels - 1) * lanes
        rows = w.reshape(-1, depth * (wide + last))
        end = np.zeros((len(rows), depth, lanes), w.dtype)
        end[:, :, :last] = rows[:, depth * wide :].reshape(len(rows), depth, last)
        filled = np.concatenate([rows[:, : depth * wide], end.reshape(len(rows), -1)], 1)
        own = [
            replace(a, w=_size(a.w) // (wide + last) * panels * lanes) if a.role == "batch" else a for a in axes.data
        ]
        return filled, AxesAttr(tuple(own))

    def reference(self, *args: Array) -> Array:
        lanes, axes = self.lanes.value.data, self.axes
        if self.terms > 1:
            return self._reference_of_bytes(*args)
        if self.low is not None:
            x, moved = self._padded(args[0])
            args, axes = (x, args[1]), AxesAttr(tuple(moved))
        if self.last is not None:
            w, axes = self._filled(args[1], axes)
            args = (args[0], w)
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
        return result.astype(dtype_of(element(self.result)))

    def _reference_of_bytes(self, *args: Array) -> Array:
        lanes, axes = self.lanes.value.data, self.axes
        outer, inner = [*axes.of("batch"), axes.one("row")], [*axes.of("step"), axes.one("depth")]
        panel, columns = axes.one("panel"), _size(axes.one("column").extent)
        x, w = (a.astype(np.int32).ravel() for a in args)
        xs = _view(x, [*((a.extent, a.x) for a in outer + inner), (4, 1)])
        ws = _view(w, [*((a.extent, a.w) for a in [*outer, panel, *inner]), (lanes, 4), (4, 1)])
        result = np.zeros([_size(d) for d in shape_of(self.result)], np.int32)
        y = _view(result.reshape(-1), [*((a.extent, a.y) for a in outer), (columns, axes.one("column").y)])
        for at in np.ndindex(*xs.shape[: len(outer)]):
            flat = ws[at].reshape(ws.shape[len(outer)], -1, lanes, 4)
            products = flat * xs[at].reshape(1, -1, 1, 4)
            y[at] = products.sum((1, 3), dtype=np.int32).reshape(-1)[:columns]
        return result

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
        of_bytes = [
            Axis("row", 3, x=8, y=6),
            Axis("depth", 2, x=4, w=16),
            Axis("panel", 2, w=32, y=4),
            rows[3],
        ]
        x = float_range(3, 5)
        panels = np.zeros((2, 5, 4), np.float32)
        panels.reshape(-1)[:] = float_range(40)
        return [
            Sample(lambda x, w: cls(x, w, [3, 6], rows, 4, packed=True), x, panels),
            Sample(lambda x, w: cls(x, w, [3, 6], plain, 4), x, float_range(5, 6)),
            Sample(
                lambda x, w: cls(x, w, [3, 6], of_bytes, 4, packed=True),
                np.arange(232, 256).astype(np.uint8).reshape(3, 8),
                np.arange(-128, -64).astype(np.int8).reshape(2, 2, 4, 4),
            ),
            Sample(
                lambda x, w: cls(x, w, [2, 3, 5], window, 4),
                float_range(2, 7, 2),
                float_range(2, 2, 5),
            ),
        ]


def _steps(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each dim."""
    return [int(np.prod(shape[d + 1 :], dtype=np.int64)) for d in range(len(shape))]


def _size(dim: Dim) -> int:
    assert isinstance(dim, int), "numpy sees shapes that are known"
    return dim


def _view(array: Array, axes: Sequence[tuple[Dim, Dim]]) -> Any:
    shape = [_size(n) for n, _ in axes]
    strides = [_size(s) * array.itemsize for _, s in axes]
    return np.lib.stride_tricks.as_strided(array, shape, strides)
