"""Every operation on its samples through the whole compiler: the compiled result is the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from test_operations import SAMPLED, built_on_names, close, module_of, reference
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Region

from tfc.compiler import load, lower
from tfc.dialects.tfc.base import OPERATIONS, Sample
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.options import Options

CHUNK = 12
"""Samples of one module: fewer compilations, and errors that still point at something."""

COMPILED = [n for n in SAMPLED if not issubclass(OPERATIONS[n], DynamicOp)]


def compiled(
    samples: Sequence[Sample], types: Sequence[Attribute] | None = None
) -> tuple[list[Array], list[Array]]:
    """What a program of all ``samples``, on arguments of ``types``, gives, and their references."""
    arrays = [np.array(a, order="C") for s in samples for a in s.args]
    types = types or [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    block = Block(arg_types=types)
    arguments, want = list(block.args), list[Array]()
    results = []
    for sample in samples:
        own, arguments = arguments[: len(sample.args)], arguments[len(sample.args) :]
        op = sample.make(*own)
        block.add_op(op)
        want += reference(module_of(sample)[1], sample)
        results += op.results
    block.add_op(func.ReturnOp(*results))
    function = func.FuncOp("main", (types, [r.type for r in results]), Region(block))
    program = load(lower(ModuleOp([function]), Options()))
    return list(program.run(arrays)), want


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_is_the_reference(name: str) -> None:
    samples = OPERATIONS[name].samples()
    for start in range(0, len(samples), CHUNK):
        part = samples[start : start + CHUNK]
        found, want = compiled(part)
        for k, (got, array) in enumerate(zip(found, want, strict=True)):
            tolerance = max(part[k].tolerance, 4e-6)
            close(got, array, tolerance, f"{name}, sample {start + k}")


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_with_named_dims(name: str) -> None:
    """One program for any size: extents are arguments of its kernels."""
    part: list[Sample] = []
    types: list[Attribute] = []
    for sample in OPERATIONS[name].samples():
        if sample.args and sample.args[0].ndim and (found := built_on_names(sample)) is not None:
            part.append(sample)
            types += [o.type for o in found[1].operands]
        if len(part) == 4:
            break
    if not part:
        return  # no operand, or one whose extents the operation has to know
    for k, (got, want) in enumerate(zip(*compiled(part, types), strict=True)):
        close(got, want, max(part[k].tolerance, 4e-6), f"{name}, sample {k}")
