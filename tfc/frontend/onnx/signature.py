"""The inputs of a model and their extents: numbers, named dims, and names given to the rest.

x: float["batch", 3, ?]      ->  tensor<?x3x?xf32>, dims "batch", "", "x_2"
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence

import onnx
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute

from tfc.dialects.tfc.types import element_of, tensor_type
from tfc.dims import Dim, names, parse, substitute, symbol
from tfc.errors import ModelFileError, OptionError, nearest
from tfc.frontend.onnx.reader import DTYPES, Model

Shapes = Mapping[str, Sequence["Dim | str | None"]]
"""Extents given by the user for some inputs: numbers, names, None to keep the model's."""

RESERVED = {"max", "__unknown__"}


def free_inputs(model: Model) -> list[onnx.ValueInfoProto]:
    """The inputs that a run feeds: old models also list their initialisers as inputs."""
    graph = model.proto.graph
    given = {i.name for i in graph.initializer}
    return [i for i in graph.input if i.name not in given]


def arguments(
    model: Model, inputs: Sequence[onnx.ValueInfoProto], shapes: Shapes
) -> dict[str, TensorType[Attribute]]:
    """Name and type of each input.

    Raises:
        ModelFileError: an input is no tensor, or one of a type tfc lacks, or has no known rank.
        OptionError: ``shapes`` names no input, or does not fit one.
    """
    known = [i.name for i in inputs]
    for name in shapes:
        if name not in known:
            help = nearest(name, known) or f"the inputs are {', '.join(known)}"
            raise OptionError(f"the model has no input {name!r}", help=help)
    elements = [input_element(model, i) for i in inputs]
    naming = _Naming(model, inputs, shapes)
    return {
        i.name: tensor_type(naming.extents(i), e) for i, e in zip(inputs, elements, strict=True)
    }


def input_element(model: Model, info: onnx.ValueInfoProto) -> Attribute:
    """The element type of an input. Raises `ModelFileError` where it is none that tfc has."""
    where = f"{model.where} (input {info.name!r})"
    if not info.type.HasField("tensor_type"):
        kind = (info.type.WhichOneof("value") or "value of no type").removesuffix("_type")
        raise ModelFileError(f"expected a tensor, got a {kind}", where=where)
    number = info.type.tensor_type.elem_type
    if number not in DTYPES:
        values = onnx.TensorProto.DataType
        name = values.Name(number) if number in values.values() else f"number {number}"
        raise ModelFileError(f"tfc has no element type {name}", where=where)
    return element_of(DTYPES[number].newbyteorder("="))


class _Naming:
    """Turns the dims of inputs into extents; one name stands for one extent everywhere."""

    def __init__(self, model: Model, inputs: Sequence[onnx.ValueInfoProto], shapes: Shapes) -> None:
        self.model, self.shapes = model, shapes
        params = [d.dim_param for i in inputs for d in i.type.tensor_type.shape.dim if d.dim_param]
        self.plain = {p for p in params if _is_name(p)}
        self.symbols: dict[str, Dim] = {}
        self.fixed: dict[str, Dim] = {}
        for param in params:
            self.symbols.setdefault(param, self._symbol(param))
        for info in inputs:
            self._fix(info)

    def extents(self, info: onnx.ValueInfoProto) -> list[Dim]:
        given = self.shapes.get(info.name)
        if given is None and not info.type.tensor_type.HasField("shape"):
            raise ModelFileError(
                "the model does not say the shape of this input",
                where=f"{self.model.where} (input {info.name!r})",
                help=f"give it: --shape {info.name}=1x3x224x224",
            )
        if given is None:
            given = [None] * len(info.type.tensor_type.shape.dim)
        return [self._extent(info, axis, choice) for axis, choice in enumerate(given)]

    def _extent(self, info: onnx.ValueInfoProto, axis: int, choice: Dim | str | None) -> Dim:
        if choice is not None:
            return substitute(_dim(choice, info), self.fixed)
        dims = info.type.tensor_type.shape.dim
        if axis < len(dims) and dims[axis].HasField("dim_value") and dims[axis].dim_value >= 0:
            return int(dims[axis].dim_value)
        if axis < len(dims) and dims[axis].dim_param:
            return substitute(self.symbols[dims[axis].dim_param], self.fixed)
        return symbol(self._unused(f"{info.name}_{axis}"))

    def _fix(self, info: onnx.ValueInfoProto) -> None:
        """Check a given shape against the model's, and note what it says of named dims."""
        given, dims = self.shapes.get(info.name), info.type.tensor_type.shape.dim
        if given is None or not info.type.tensor_type.HasField("shape"):
            return
        where = f"input {info.name!r}"
        if len(given) != len(dims):
            raise OptionError(
                f"expected {len(dims)} extents, got {len(given)}: {list(given)}", where=where
            )
        for axis, (choice, dim) in enumerate(zip(given, dims, strict=True)):
            if isinstance(choice, int) and choice < 0:
                raise OptionError(f"expected extents of at least 0, got {list(given)}", where=where)
            if (
                dim.HasField("dim_value")
                and isinstance(choice, int)
                and choice != dim.dim_value >= 0
            ):
                raise OptionError(
                    f"expected extent {dim.dim_value} at axis {axis}, got {choice}", where=where
                )
            name = str(self.symbols.get(dim.dim_param, ""))
            if choice is None or not _is_name(name):
                continue
            value = _dim(choice, info)
            if self.fixed.setdefault(name, value) != value:
                text = (
                    f"expected one extent for {dim.dim_param!r}, got {self.fixed[name]} and {value}"
                )
                raise OptionError(text, where=where)

    def _symbol(self, param: str) -> Dim:
        """A name as it is, arithmetic over names of other inputs, or a name made from the text."""
        if _is_name(param):
            return symbol(param)
        try:
            dim = parse(param)
        except (ValueError, RecursionError, MemoryError, ZeroDivisionError, OverflowError):
            dim = -1
        if not isinstance(dim, int) and names(dim) <= self.plain:
            return dim
        return symbol(self._unused(param))

    def _unused(self, text: str) -> str:
        base = re.sub(r"\W", "_", text, flags=re.ASCII)
        base = base if _is_name(base) else f"d_{base}"
        taken = self.plain | {str(s) for s in self.symbols.values()}
        candidates = [base, *(f"{base}_{i}" for i in range(1, len(taken) + 2))]
        return next(c for c in candidates if c not in taken)


def _dim(choice: Dim | str, info: onnx.ValueInfoProto) -> Dim:
    try:
        return parse(choice) if isinstance(choice, str) else choice
    except ValueError as error:
        raise OptionError(
            f"expected an extent or a name, got {choice!r}", where=f"input {info.name!r}"
        ) from error


def _is_name(text: str) -> bool:
    return (
        text.isascii()
        and text.isidentifier()
        and not keyword.iskeyword(text)
        and text not in RESERVED
    )
