"""Import an ONNX model as a module with one function, ``@main``.

    func.func @main(%x : tensor<?x3xf32, #tfc.dims<["batch", ""]>> {tfc.name = "x"})
        -> (tensor<?x10xf32, ...> {tfc.name = "y"})

Each node is given to its function of the table. An operator without one that ONNX defines by
simpler operators is imported through that definition; the model's own functions likewise.
Operations carry the node's name as their location.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from tfc import location
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.types import LiteralAttr, dtype_of, element, is_ranked, shape_of
from tfc.errors import ModelFileError, OptionError, TfcError, nearest
from tfc.frontend.onnx.node import Node, TensorSequence, Value
from tfc.frontend.onnx.reader import DTYPES, Model, ModelSource, opsets, read_model
from tfc.frontend.onnx.scan import check_operators, domain, functions_of, label, ordered
from tfc.frontend.onnx.schema import (
    TYPE_NAMES,
    Definition,
    check_operands,
    function_of,
    read_attributes,
    schema,
)
from tfc.frontend.onnx.signature import Shapes, arguments, free_inputs
from tfc.frontend.onnx.table import find
from tfc.frontend.onnx.values import Emitter

NESTING = 32
"""How deep functions may call functions; a model that calls itself never ends."""

_NUMBERS = {dtype.newbyteorder("="): number for number, dtype in DTYPES.items()}


@dataclass
class Scope:
    """The names that a graph, a subgraph or a function sees."""

    importer: GraphImporter
    model: Model
    values: dict[str, Value]
    initializers: dict[str, onnx.TensorProto]
    versions: Mapping[str, int]
    attributes: Mapping[str, onnx.AttributeProto] = field(
        default_factory=dict[str, onnx.AttributeProto]
    )
    path: tuple[str, ...] = ()

    def known(self) -> set[str]:
        return self.values.keys() | self.initializers.keys()


def import_onnx(
    source: ModelSource,
    shapes: Shapes | None = None,
    name: str = "",
    values: Mapping[str, Any] | None = None,
) -> ModuleOp:
    """Import a model.

    Args:
        source: a path, the bytes of a file, or a ``ModelProto``.
        shapes: extents of inputs by name, in place of the model's unknown or named ones.
        name: the module's name; the graph's name where it is left out.
        values: inputs that become constants, such as a shape that a Reshape needs to know.

    Raises:
        ModelFileError: the model cannot be read, or needs what tfc lacks.
        OptionError: ``shapes`` or ``values`` do not fit the inputs.
    """
    model = read_model(source)
    check_operators(model)
    return GraphImporter(model).module(shapes or {}, name or model.proto.graph.name, values or {})


class GraphImporter:
    """One import: appends the operations of all nodes to the body of ``@main``."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.functions = functions_of(model)
        self.block = Block()
        self.emit = Emitter(self.block)

    def module(self, shapes: Shapes, name: str, bound: Mapping[str, Any]) -> ModuleOp:
        graph = self.model.proto.graph
        inputs = free_inputs(self.model)
        _check_bound(bound, [i.name for i in inputs])
        scope = Scope(
            self, self.model, {}, {i.name: i for i in graph.initializer}, self.model.opsets
        )
        for info in inputs:
            if info.name in bound:
                scope.values[info.name] = self._bound(info, bound[info.name])
        fed = [i for i in inputs if i.name not in bound]
        types = arguments(self.model, fed, shapes)
        for info, type_ in types.items():
            argument = self.block.insert_arg(type_, len(self.block.args))
            argument.location = location.named(info)
            scope.values[info] = argument
        self._nodes(graph.node, scope)
        outputs = [self._tensor(o.name, scope, "the graph") for o in graph.output]
        self.block.add_op(ReturnOp(*outputs))
        names = [o.name for o in graph.output]
        main = FuncOp(
            "main",
            (list(types.values()), [o.type for o in outputs]),
            Region(self.block),
            arg_attrs=_names(list(types)),
            res_attrs=_names(names),
        )
        return ModuleOp([main], sym_name=StringAttr(name) if name else None)

    def subgraph(
        self, graph: onnx.GraphProto, outer: Scope, inputs: Sequence[Value] = ()
    ) -> list[Value]:
        """The results of a subgraph on ``inputs``, which sees the values around it."""
        initializers = outer.initializers | {i.name: i for i in graph.initializer}
        scope = Scope(
            self,
            outer.model,
            dict(outer.values),
            initializers,
            outer.versions,
            outer.attributes,
            outer.path,
        )
        for tensor in graph.initializer:
            scope.values.pop(tensor.name, None)
        if len(inputs) != len(graph.input):
            text = f"a subgraph takes {len(graph.input)} inputs, and is given {len(inputs)}"
            raise ModelFileError(text)
        scope.values |= {i.name: v for i, v in zip(graph.input, inputs, strict=True)}
        at = self.emit.location
        self._nodes(graph.node, scope)
        self.emit.location = at
        return [self._value(o.name, scope, "the subgraph") for o in graph.output]

    def _bound(self, info: onnx.ValueInfoProto, value: Any) -> SSAValue:
        dtype = DTYPES.get(info.type.tensor_type.elem_type, np.asarray(value).dtype)
        return self.emit(ConstantOp(LiteralAttr.of(np.array(value, dtype.newbyteorder("=")))))

    def _value(self, name: str, scope: Scope, reader: str) -> Value:
        if name not in scope.values:
            tensor = scope.initializers.get(name)
            if tensor is None:
                raise ModelFileError(f"{reader} has no value {name!r}", where=self.model.where)
            at, self.emit.location = self.emit.location, location.named(name)
            scope.values[name] = self.emit(ConstantOp(LiteralAttr.of(self.model.array(tensor))))
            self.emit.location = at
        return scope.values[name]

    def _tensor(self, name: str, scope: Scope, reader: str) -> SSAValue:
        value = self._value(name, scope, reader)
        if isinstance(value, TensorSequence):
            raise ModelFileError(
                f"the output {name!r} is a sequence, and tfc gives tensors", where=self.model.where
            )
        return value

    def _nodes(self, nodes: Sequence[onnx.NodeProto], scope: Scope) -> None:
        for node in ordered(nodes, scope.known(), self.model.where):
            self._node(node, scope)

    def _node(self, proto: onnx.NodeProto, scope: Scope) -> None:
        path = (*scope.path, label(proto))
        self.emit.location = location.named("/".join(path))
        try:
            for name, value in zip(proto.output, self._results(proto, scope, path), strict=False):
                if name and value is not None:
                    scope.values[name] = value
        except ModelFileError as error:
            raise error if error.where else self._located(error, path) from error
        except TfcError as error:
            raise self._located(error, path) from error
        except Exception as error:  # a damaged attribute can upset any function of the table
            text = f"{proto.op_type} is ill-formed: {type(error).__name__}: {error}"
            raise self._located(TfcError(text), path) from error
        lost = [n for n in proto.output if n and n not in scope.values]
        if lost:
            text = f"tfc does not compute the output {lost[0]!r} of {proto.op_type}"
            raise self._located(TfcError(text), path)

    def _located(self, error: TfcError, path: Sequence[str]) -> ModelFileError:
        where = f"{self.model.where} ({'/'.join(path)})"
        return ModelFileError(error.message, where=where, help=error.help)

    def _results(
        self, proto: onnx.NodeProto, scope: Scope, path: tuple[str, ...]
    ) -> Sequence[Value | None]:
        space = domain(proto)
        version = scope.versions.get(space, 1)
        operands = [self._value(n, scope, proto.op_type) if n else None for n in proto.input]
        while operands and operands[-1] is None:
            operands.pop()
        own = self.functions.get((space, proto.op_type))
        if own is not None:
            return self._inline(proto, own, operands, scope, path)
        definition = schema(space, proto.op_type, version)
        attributes = read_attributes(proto, definition, scope.attributes)
        if definition is not None and version >= 7:  # before, broadcasting had other types
            check_operands(proto.op_type, definition, [_type_name(v) for v in operands])
        function = find(space, proto.op_type, version)
        if function is not None:
            results = function(Node(proto, version, attributes, operands, self.emit, scope))
            return [results] if isinstance(results, SSAValue | TensorSequence) else results
        body = function_of(_resolved(proto, scope), version, [_type_proto(v) for v in operands])
        if body is None:
            raise ModelFileError(f"tfc lacks {proto.op_type} with operands of these types")
        return self._inline(proto, body, operands, scope, path, definition)

    def _inline(
        self,
        proto: onnx.NodeProto,
        body: onnx.FunctionProto,
        operands: Sequence[Value | None],
        outer: Scope,
        path: tuple[str, ...],
        definition: Definition | None = None,
    ) -> Sequence[Value | None]:
        """The results of a function's body on these operands."""
        if len(path) > NESTING:
            raise ModelFileError(f"functions call each other more than {NESTING} deep")
        if len(operands) > len(body.input):
            raise ModelFileError(
                f"{body.name}: expected {len(body.input)} inputs, got {len(operands)}"
            )
        given = {a.name: a for a in body.attribute_proto}
        if definition is not None:
            declared = {n: a.default_value for n, a in definition.attributes.items()}
            given |= {n: a for n, a in declared.items() if a.name}
        given |= {a.name: a for a in _resolved(proto, outer).attribute}
        bound = {n: v for n, v in zip(body.input, operands, strict=False) if v is not None}
        versions = {
            "": onnx.defs.onnx_opset_version(),
            **outer.versions,
            **opsets(body.opset_import),
        }
        scope = Scope(self, outer.model, bound, {}, versions, given, path)
        absent = set(body.input) - bound.keys()
        nodes = [_without(n, absent) for n in body.node] if absent else body.node
        self._nodes(nodes, scope)
        return [scope.values.get(o) for o in body.output]


def _resolved(proto: onnx.NodeProto, scope: Scope) -> onnx.NodeProto:
    """The node with references to attributes of the function around it replaced."""
    if not any(a.ref_attr_name for a in proto.attribute):
        return proto
    copy = onnx.NodeProto()
    copy.CopyFrom(proto)
    del copy.attribute[:]
    for attribute in proto.attribute:
        found = (
            scope.attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        )
        if found is not None:
            copy.attribute.add().CopyFrom(found)
            copy.attribute[-1].name = attribute.name
    return copy


def _without(proto: onnx.NodeProto, absent: set[str]) -> onnx.NodeProto:
    """The node of a function with operands left out that the caller leaves out."""
    if not absent.intersection(proto.input):
        return proto
    copy = onnx.NodeProto()
    copy.CopyFrom(proto)
    copy.input[:] = ["" if n in absent else n for n in proto.input]
    return copy


def _check_bound(bound: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in bound:
        if name not in known:
            raise OptionError(f"the model has no input {name!r}", help=nearest(name, known))


def _names(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr([DictionaryAttr({"tfc.name": StringAttr(n)}) for n in names])


def _type_name(value: Value | None) -> str | None:
    """As schemas spell it: ``tensor(float)``, ``seq(tensor(float))``."""
    if value is None:
        return None
    if isinstance(value, TensorSequence):
        return f"seq({TYPE_NAMES[dtype_of(value.kind)]})"
    return TYPE_NAMES[dtype_of(element(value))]


def _type_proto(value: Value | None) -> onnx.TypeProto:
    if value is None:
        return onnx.TypeProto()
    if isinstance(value, TensorSequence):
        inner = helper.make_tensor_type_proto(_NUMBERS[dtype_of(value.kind)], None)
        return helper.make_sequence_type_proto(inner)
    dims = (
        [d if isinstance(d, int) else str(d) for d in shape_of(value)] if is_ranked(value) else None
    )
    return helper.make_tensor_type_proto(_NUMBERS[dtype_of(element(value))], dims)
