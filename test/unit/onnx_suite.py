"""Which tests of ONNX's own backend suite tfc takes part in, and why not in the others.

A test is left out where its model needs an operator or a type of the tables below, or where it
is listed by name. `test_onnx_backend` also checks the reverse: what is left out is refused.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import onnx
import pytest
from onnx.backend.test import BackendTest
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

GROUPS = ("simple", "pytorch-converted", "pytorch-operator", "node")

OPERATORS = {
    "Adagrad Adam Momentum Gradient": "training steps come from the graph API",
    "TensorScatter MaxUnpool Col2Im RoiAlign": "not measured in models",
    "NonZero Compress Unique NonMaxSuppression": "the extents of the result depend on values",
    "DFT STFT MelWeightMatrix": "no Fourier transform",
    "GridSample DeformConv": "no sampling at computed places yet",
    "Optional OptionalHasElement OptionalGetElement": "no optional values",
    "ArrayFeatureExtractor Binarizer LabelEncoder TreeEnsemble": "the domain ai.onnx.ml is not of tensors",
    "StringNormalizer StringSplit StringConcat RegexFullMatch TfIdfVectorizer": "no strings",
    "ImageDecoder": "no image files",
    "Det": "not measured in models",
}
"""Operators that tfc lacks."""

TYPES = {
    "STRING": "no strings",
    "FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0 FLOAT4E2M1": "no floats below 16 bits",
    "INT4 UINT4 INT2 UINT2": "no integers below 8 bits",
    "COMPLEX64 COMPLEX128": "no complex numbers",
}
"""Element types that tfc lacks."""

TESTS = {
    r"test_(identity_opt|.*optional.*)": "an input is an optional value",
    r"test_(identity_sequence|loop13_seq|sequence_insert_at_.*|sequence_map_.*)": "an input is a sequence of unknown length",
    r"test_(if_seq|split_to_sequence_.*)": "an output is a sequence",
    r"test_training_dropout(_default)?(_mask)?": "dropped elements differ from the stored ones",
}
"""Models that tfc refuses for another reason; full names."""

DIFFERENT = {
    r"test_bernoulli.*": "random numbers differ from the stored ones",
    r"test_attention_4d_causal_fp16(_expanded)?": "the stored result was rounded to f16 after each step; tfc adds in f32",
}
"""Models that tfc runs with another result than the stored one."""


def _words(table: Iterable[str]) -> frozenset[str]:
    return frozenset(word for key in table for word in key.split())


STAGE_1 = _words(
    [
        "Add Sub Mul Div Neg Exp Log Sqrt Pow Erf Tanh Sigmoid Relu LeakyRelu Elu Selu Softplus Gelu Clip",
        "Abs Max Min Equal Less Greater And Not Where Cast Identity Constant ConstantOfShape Shape Reshape",
        "Flatten Transpose Squeeze Unsqueeze Concat Split Slice Gather Expand Pad MatMul Gemm Conv MaxPool",
        "AveragePool GlobalAveragePool BatchNormalization Softmax LayerNormalization ReduceMean ReduceSum",
        "Dropout",
    ]
)
"""The operators of the networks that tfc is made for; the compiled suite runs these always."""


@cache
def cases(group: str) -> tuple[TestCase, ...]:
    """The tests of a group, sorted by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the node tests compute overflows while they are made
        return tuple(sorted(load_model_tests(kind=group), key=lambda c: c.name))


@cache
def model(group: str, name: str) -> onnx.ModelProto:
    """The model of a test."""
    (case,) = (c for c in cases(group) if c.name == name)
    return case.model or onnx.load(os.path.join(case.model_dir, "model.onnx"))


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g.node)


def _types(proto: onnx.ModelProto) -> Iterator[str]:
    number = onnx.TensorProto.DataType.Name
    graph = proto.graph
    for info in (*graph.input, *graph.output):
        if info.type.HasField("tensor_type"):
            yield number(info.type.tensor_type.elem_type)
    for node in _nodes(graph.node):
        for attribute in node.attribute:
            if attribute.name == "to" and node.op_type in ("Cast", "BitCast"):
                yield number(attribute.i)


def operators(proto: onnx.ModelProto) -> set[str]:
    return {n.op_type for n in _nodes(proto.graph.node)}


@cache
def excluded(group: str) -> tuple[str, ...]:
    """The names of the tests of a group that tfc refuses."""
    lacking, strange = _words(OPERATORS), _words(TYPES)
    out: list[str] = []
    for case in cases(group):
        proto = model(group, case.name)
        named = any(re.fullmatch(pattern, case.name) for pattern in TESTS)
        if named or operators(proto) & lacking or strange.intersection(_types(proto)):
            out.append(case.name)
    return tuple(out)


def different(group: str) -> list[str]:
    """The names of the tests of a group whose stored result tfc does not give."""
    return [c.name for c in cases(group) if any(re.fullmatch(p, c.name) for p in DIFFERENT)]


def suite(backend: type, module: str, folder: Path) -> dict[str, type]:
    """The test classes of ONNX's suite for a backend, without what is excluded.

    Args:
        folder: where the suite puts the inputs that it makes for real models.
    """
    os.environ.setdefault("ONNX_HOME", str(folder))
    left_out = {f"{n}_cpu" for g in GROUPS for n in (*excluded(g), *different(g))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classes = BackendTest(backend, module).test_cases
    for made in classes.values():
        for name in [n for n in vars(made) if n.startswith("test_")]:
            if name.endswith("_cuda") or name in left_out:
                delattr(made, name)
    return classes


def of_stage_1(group: str) -> frozenset[str]:
    """The names of the tests whose model has operators of the first stage alone."""
    return frozenset(c.name for c in cases(group) if operators(model(group, c.name)) <= STAGE_1)


def slow(made: type, fast: frozenset[str]) -> None:
    """Mark the tests of a class slow, but for those in ``fast``."""
    for name, function in list(vars(made).items()):
        if name.startswith("test_") and name.removesuffix("_cpu") not in fast:
            setattr(made, name, pytest.mark.slow(function))
