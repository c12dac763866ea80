"""Every operation on its samples through the whole compiler: the compiled result is the reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from test_operations import SAMPLED, built_on_names, close, program_of
from xdsl.ir import Attribute

from tfc.compiler import load, lower
from tfc.dialects.tfc.base import OPERATIONS, Sample
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.types import Array
from tfc.options import Options

CHUNK = 12
"""Samples of one module: fewer compilations, and errors that still point at something."""

COMPILED = [n for n in SAMPLED if not issubclass(OPERATIONS[n], DynamicOp)]


def compiled(
    samples: Sequence[Sample], types: Sequence[Attribute] | None = None
) -> tuple[list[Array], list[Array]]:
    """What a program of all ``samples``, on arguments of ``types``, gives, and their references."""
    module, arrays, want = program_of(samples, types)
    program = load(lower(module, Options()))
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
