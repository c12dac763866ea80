"""tfc as a backend of the ``onnx`` package: what its conformance suite runs.

    from tfc.frontend.onnx.backend import CompiledBackend
    CompiledBackend.run_model(onnx.load("model.onnx"), [x])

There are two: one compiles, one interprets by the numpy references of the operations. A model
whose shapes depend on the values of an input (a Reshape by a fed shape) is compiled for each
such value when it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict
from xdsl.dialects.builtin import ModuleOp, TensorType

import tfc
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.types import UNKNOWN_DIM, Array, shape_of
from tfc.errors import ModelFileError
from tfc.frontend.onnx.importer import import_onnx
from tfc.frontend.onnx.reader import DTYPES, Model, ModelSource, read_model
from tfc.frontend.onnx.scan import check_operators
from tfc.frontend.onnx.signature import free_inputs, input_element
from tfc.runtime.interpreter import interpret

Program: TypeAlias = "Callable[[Mapping[str, Array]], Sequence[Array]]"

SHAPE_SIZE = 64
"""An input with at most this many elements may be a shape, axes, scales, or the like."""


class Prepared(BackendRep):
    """A model that is ready to run; see the module's docstring on inputs that are shapes."""

    def __init__(self, model: Model, build: Callable[[ModuleOp], Program]) -> None:
        self.model, self.build = model, build
        self.inputs = [i.name for i in free_inputs(model)]
        self.outputs = [o.name for o in model.proto.graph.output]
        self._cache: dict[tuple[bytes, ...], Program] = {}
        self._program: Program | None = None
        check_operators(model)
        for info in free_inputs(model):
            input_element(model, info)
        try:
            module = import_onnx(model)
        except ModelFileError:
            if not self._shape_inputs():
                raise
        else:
            if not self._shape_inputs() or not _depends_on_values(module):
                self._program = build(module)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        feeds = (
            inputs if isinstance(inputs, Mapping) else dict(zip(self.inputs, inputs, strict=True))
        )
        arrays = {n: np.asarray(a) for n, a in feeds.items()}
        if self._program is not None:
            results = self._program(arrays)
        else:
            bound = {n: arrays[n] for n in self._shape_inputs() if arrays[n].size <= SHAPE_SIZE}
            rest = {n: a for n, a in arrays.items() if n not in bound}
            results = self._specialised(bound)(rest)
        return namedtupledict("Outputs", self.outputs)(*results)

    def _specialised(self, bound: Mapping[str, Array]) -> Program:
        """The program for these values of the inputs that are shapes."""
        key = tuple(a.tobytes() + str(a.shape).encode() for a in bound.values())
        if key not in self._cache:
            self._cache[key] = self.build(import_onnx(self.model, values=bound))
        return self._cache[key]

    def _shape_inputs(self) -> list[str]:
        """The inputs that may decide about shapes: lists and numbers, no larger tensors."""
        found: list[str] = []
        for info in free_inputs(self.model):
            kind = info.type.tensor_type
            sizes = [d.dim_value for d in kind.shape.dim if d.HasField("dim_value")]
            if (
                kind.elem_type in DTYPES
                and len(kind.shape.dim) <= 1
                and np.prod(sizes) <= SHAPE_SIZE
            ):
                found.append(info.name)
        return found


def _depends_on_values(module: ModuleOp) -> bool:
    """Whether an extent is only known once the model runs."""
    return any(
        isinstance(op, DynamicOp)
        or any(isinstance(r.type, TensorType) and UNKNOWN_DIM in shape_of(r) for r in op.results)
        for op in module.walk()
    )


class InterpretedBackend(Backend):
    """Runs models by the numpy references: slow, and the meaning of every operation."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"

    @classmethod
    def build(cls, module: ModuleOp) -> Program:
        return lambda feeds: interpret(module, feeds)

    @classmethod
    def prepare(cls, model: ModelSource, device: str = "CPU", **kwargs: Any) -> Prepared:
        """Import the model (and compile it, where no extent depends on values).

        Raises:
            ModelFileError: tfc cannot import it.
        """
        return Prepared(read_model(model), cls.build)

    @classmethod
    def run_model(
        cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node as a model of its own; its outputs take the types that it computes."""
        arrays = [np.asarray(a) for a in inputs]
        names = [n for n in node.input if n]
        infos = [
            onnx.helper.make_tensor_value_info(
                n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape
            )
            for n, a in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in node.output if n]
        graph = onnx.helper.make_graph([node], node.op_type, infos, outputs)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        opset = onnx.helper.make_opsetid(node.domain, version)
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=[opset]), arrays, device)


class CompiledBackend(InterpretedBackend):
    """Runs models as native code."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def build(cls, module: ModuleOp) -> Program:
        model = tfc.compile(module, **cls.OPTIONS)
        names = [o.name for o in model.outputs]

        def run(feeds: Mapping[str, Array]) -> Sequence[Array]:
            by_name = model.run(feeds)
            return [by_name[n] for n in names]

        return run


prepare = CompiledBackend.prepare
run_model = CompiledBackend.run_model
run_node = CompiledBackend.run_node
supports_device = CompiledBackend.supports_device
is_compatible = CompiledBackend.is_compatible
