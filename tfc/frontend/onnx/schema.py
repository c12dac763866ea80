"""What the ``onnx`` package says of an operator: attributes, operands, and functions.

The importers take defaults from here, so that they follow the operator set of the model:
``axis`` of Softmax is 1 before 13 and -1 since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import onnx
from onnx.defs import SchemaError

from tfc.errors import ModelFileError
from tfc.frontend.onnx.reader import DTYPES

Definition: TypeAlias = Any
"""An ``onnx.defs.OpSchema``, whose stubs lack half of its members."""

_KINDS = onnx.AttributeProto

_FIELDS: dict[int, str] = {
    _KINDS.FLOAT: "f",
    _KINDS.INT: "i",
    _KINDS.STRING: "s",
    _KINDS.TENSOR: "t",
    _KINDS.GRAPH: "g",
    _KINDS.FLOATS: "floats",
    _KINDS.INTS: "ints",
    _KINDS.STRINGS: "strings",
}

TYPE_NAMES: dict[Any, str] = {
    dtype.newbyteorder("="): f"tensor({onnx.TensorProto.DataType.Name(number).lower()})"
    for number, dtype in DTYPES.items()
}
"""How schemas spell an element type: ``tensor(float)``."""


@cache
def schema(domain: str, name: str, version: int) -> Definition | None:
    """The definition of an operator in an operator set; None where the set has none."""
    try:
        return onnx.defs.get_schema(name, version, domain)
    except SchemaError:
        return None


@cache
def defaults(definition: Definition) -> dict[str, Any]:
    """The attributes that have a default, with their values."""
    found = {n: a.default_value for n, a in definition.attributes.items()}
    return {n: value(a) for n, a in found.items() if a.name}


def value(attribute: onnx.AttributeProto) -> Any:
    """An attribute as a Python value: strings decoded, lists as lists."""
    field = _FIELDS.get(attribute.type)
    if field is None:
        raise ModelFileError(f"attribute {attribute.name!r} has a type that tfc lacks")
    found = getattr(attribute, field)
    if field == "s":
        return found.decode("utf-8", "replace")
    if field == "strings":
        return [s.decode("utf-8", "replace") for s in found]
    return list(found) if field in ("floats", "ints") else found


def read_attributes(
    node: onnx.NodeProto, definition: Definition | None, outer: Mapping[str, onnx.AttributeProto]
) -> dict[str, Any]:
    """The attributes of a node, checked against its definition, defaults filled in.

    Args:
        outer: attributes of the function around the node, which its own may refer to.
    """
    given: dict[str, onnx.AttributeProto] = {}
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            given[attribute.name] = attribute
        elif attribute.ref_attr_name in outer:
            given[attribute.name] = outer[attribute.ref_attr_name]
    if definition is None:
        return {n: value(a) for n, a in given.items()}
    for name, attribute in given.items():
        declared = definition.attributes.get(name)
        if declared is None:
            known = ", ".join(definition.attributes) or "none"
            raise ModelFileError(
                f"{node.op_type} has no attribute {name!r}", help=f"it has: {known}"
            )
        if int(declared.type.value) != attribute.type:
            kind = declared.type.name.lower()
            raise ModelFileError(f"attribute {name!r} of {node.op_type}: expected {kind}")
    for name, declared in definition.attributes.items():
        if declared.required and name not in given:
            raise ModelFileError(f"{node.op_type} lacks its attribute {name!r}")
    return defaults(definition) | {n: value(a) for n, a in given.items()}


@cache
def _operands(definition: Definition) -> list[tuple[str, str, frozenset[str], bool]]:
    """Name, type variable, allowed types and homogeneity of each formal operand."""
    allowed = {
        c.type_param_str: frozenset(c.allowed_type_strs) for c in definition.type_constraints
    }
    return [
        (p.name, p.type_str, allowed.get(p.type_str, frozenset([p.type_str])), p.is_homogeneous)
        for p in definition.inputs
    ]


_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional


def check_operands(name: str, definition: Definition, types: Sequence[str | None]) -> None:
    """Raise `ModelFileError` unless the number and the element types of operands fit.

    Args:
        types: as in `TYPE_NAMES`; None where an optional operand is left out.
    """
    if not definition.min_input <= len(types) <= definition.max_input:
        few, many = definition.min_input, definition.max_input
        expected = f"{few} to {many}" if few < many else str(few)
        raise ModelFileError(f"{name}: expected {expected} inputs, got {len(types)}")
    operands = _operands(definition)
    bound: dict[str, str] = {}
    for i, type_ in enumerate(types):
        operand, variable, allowed, homogeneous = operands[min(i, len(operands) - 1)]
        if type_ is None:
            if i < definition.min_input and definition.inputs[i].option != _OPTIONAL:
                raise ModelFileError(f"{name}: input {operand!r} is left out")
            continue
        if type_ not in allowed:
            some = ", ".join(sorted(allowed)[:12])
            raise ModelFileError(f"{name}: input {operand!r}: expected one of {some}, got {type_}")
        if homogeneous and bound.setdefault(variable, type_) != type_:
            raise ModelFileError(
                f"{name}: input {operand!r}: expected {bound[variable]}, got {type_}"
            )


def function_of(
    node: onnx.NodeProto, version: int, types: Sequence[onnx.TypeProto]
) -> onnx.FunctionProto | None:
    """The definition of an operator in terms of simpler ones, where ONNX gives one."""
    definition = schema(node.domain, node.op_type, version)
    if definition is None:
        return None
    if definition.has_function:
        return definition.function_body
    if not definition.has_context_dependent_function:
        return None
    known = [v for v in definition.context_dependent_function_opset_versions if v <= version]
    text = definition.get_context_dependent_function_with_opset_version(
        max(known, default=definition.since_version),
        node.SerializeToString(),
        [t.SerializeToString() for t in types],
    )
    return onnx.FunctionProto.FromString(text) if text else None
