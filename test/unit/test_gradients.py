"""Every operation's ``grad`` on its samples: against differences of the reference, and compiled.

A sample with operands of floats is moved to a point where the operation is smooth, in f64. Its
gradients, for random ones of the results, must agree with central differences along random
directions; and the compiled gradients with the interpreted ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from test_operations import SAMPLED, module_of
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue

from tfc.compiler import load, lower
from tfc.dialects.tfc.base import OPERATIONS, Sample, TensorOp, flat
from tfc.dialects.tfc.constant import splat_like
from tfc.dialects.tfc.differentiate import MissingGradient, is_real, vjp
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.elementwise import MulOp
from tfc.dialects.tfc.shape import ConcatOp, SliceOp
from tfc.dialects.tfc.types import Array, element_of, tensor_type
from tfc.options import Options
from tfc.runtime.interpreter import interpret

MISSING = ("tfc.contract", "tfc.dynamic_broadcast", "tfc.dynamic_slice")
"""Operations without gradient. The first is made after differentiation; the others are replaced by their
static forms where the amounts are known."""

FLAT = (
    "tfc.and", "tfc.arg_reduce", "tfc.argsort", "tfc.bitcast", "tfc.ceil", "tfc.compare", "tfc.floor", "tfc.floordiv",
    "tfc.is_finite", "tfc.is_inf", "tfc.is_nan", "tfc.merge_runs", "tfc.not", "tfc.or", "tfc.radix_pass", "tfc.round", "tfc.shape_of",
    "tfc.shift_left", "tfc.shift_right", "tfc.sign", "tfc.window_arg_max", "tfc.xor",
)  # fmt: skip
"""Operations that say that their result moves in steps."""

STEP = 1e-6
"""Of the differences, whose error is about 1e-10 of what they compare."""

Transform = Callable[[Array], Array]
DOMAINS: Sequence[Transform] = (lambda x: x, lambda x: np.abs(x) + 1.1, lambda x: 0.9 * np.tanh(x))
"""Where else to look if a function is not defined at a point."""


def smooth(sample: Sample) -> list[Array] | None:
    """Operands in f64 near those of the sample, at which all results are finite numbers of f64."""
    rng = np.random.default_rng(0)
    for domain in DOMAINS:
        args: list[Array] = []
        for a in sample.args:
            if a.dtype.kind in "biu":
                args.append(a)
                continue
            x = a.astype(np.float64)
            with np.errstate(all="ignore"):
                usual = np.isfinite(x) & (np.abs(x) < 1e3) & (np.abs(x) > 1e-3)
            x = np.where(usual, x, rng.uniform(0.2, 1.5, x.shape)) + rng.uniform(-0.03, 0.03, x.shape)
            args.append(domain(x))
        if all(v.dtype == np.float64 and np.isfinite(v).all() for v in run(sample, args)):
            return args
    return None


def run(sample: Sample, args: Sequence[Array]) -> list[Array]:
    op = module_of(Sample(sample.make, *args))[1]
    with np.errstate(all="ignore"):
        found = op.reference(*args)
    return [np.asarray(v) for v in (found if isinstance(found, tuple) else [found])]


def gradient_module(make: Callable[..., TensorOp], args: Sequence[Array], seeds: Sequence[Array]) -> ModuleOp:
    """``@main`` from the operands and the gradients of the results to those of the operands of floats."""
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in (*args, *seeds)]
    block = Block(arg_types=types)
    operands, gs = block.args[: len(args)], block.args[len(args) :]

    def emit(op: Operation) -> SSAValue:
        block.add_op(op)
        return op.results[0]

    op = make(*operands)
    block.add_op(op)
    inputs = [o for o in operands if is_real(o)]
    found = vjp([op], zip(op.results, gs, strict=True), inputs, emit)
    results = [splat_like(emit, x, 0) if g is None else g for g, x in zip(found, inputs, strict=True)]
    assert [r.type for r in results] == [x.type for x in inputs]
    block.add_op(func.ReturnOp(*results))
    return ModuleOp([func.FuncOp("main", (types, [r.type for r in results]), Region(block))])


def differentiable(name: str) -> bool:
    op = OPERATIONS[name]
    return name not in MISSING and op.grad is not flat and any(a.dtype.kind not in "biu" for s in op.samples() for a in s.args)


DIFFERENTIABLE = [n for n in SAMPLED if differentiable(n)]


def test_what_moves_in_steps_says_so() -> None:
    assert {n for n in SAMPLED if OPERATIONS[n].grad is flat} == set(FLAT)


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_gradient_is_an_error(name: str) -> None:
    sample = next(s for s in OPERATIONS[name].samples() if s.args[0].dtype.kind == "f")
    _, op = module_of(sample)
    with pytest.raises(MissingGradient, match=f"'{name}' has no gradient"):
        vjp([op], [(op.results[0], op.results[0])], [op.operands[0]], lambda new: new.results[0])


@pytest.mark.parametrize(("cut", "joined"), [(2, True), (1, False)])
def test_the_gradient_of_slices_is_theirs_beside_each_other(cut: int, joined: bool) -> None:
    """Where slices overlap, or leave something out, it is a sum."""
    x = np.ones((3, 4), np.float32)

    def make(x: SSAValue) -> SSAValue:
        left, right = SliceOp(x, [0, 0], [3, 2], [1, 1]), SliceOp(x, [0, cut], [3, 2], [1, 1])
        made.extend([left, right, last := MulOp(left, right)])
        return last.result

    made: list[Operation] = []
    block = Block(arg_types=[tensor_type(x.shape, element_of(x.dtype))])
    result = make(block.args[0])
    found = vjp(list(made), [(result, result)], [block.args[0]], lambda new: new.results[0])
    assert isinstance(found[0], SSAValue)
    assert isinstance(found[0].owner, ConcatOp) == joined


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_is_that_of_differences(name: str) -> None:
    for k, sample in enumerate(distinct(OPERATIONS[name].samples())):
        if (args := smooth(sample)) is None:
            continue
        rng = np.random.default_rng(k)
        seeds = [rng.standard_normal(v.shape).astype(v.dtype) for v in run(sample, args)]
        found = iter(interpret(gradient_module(sample.make, args, seeds), [*args, *seeds]))
        gs = [next(found) if a.dtype.kind == "f" else None for a in args]
        for _ in range(2):
            moves = [None if g is None else rng.standard_normal(g.shape) for g in gs]
            forward, back = (
                run(sample, [a if m is None else a + sign * STEP * m for a, m in zip(args, moves, strict=True)])
                for sign in (1, -1)
            )
            want = sum(float(np.sum(s * (f - b))) for s, f, b in zip(seeds, forward, back, strict=True)) / (2 * STEP)
            got = sum(float(np.sum(g * m)) for g, m in zip(gs, moves, strict=True) if g is not None)
            size = max(sum(float(np.sum(np.abs(g * m))) for g, m in zip(gs, moves, strict=True) if g is not None), 1.0)
            assert abs(got - want) <= 1e-6 * size, f"{name}, sample {k}: {got} for {want}"


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if not issubclass(OPERATIONS[n], DynamicOp)])
def test_compiled_gradient_is_the_interpreted(name: str) -> None:
    for k, sample in enumerate(distinct(OPERATIONS[name].samples())[:4]):
        if (args := smooth(sample)) is None:
            continue
        rng = np.random.default_rng(k)
        seeds = [rng.standard_normal(v.shape).astype(v.dtype) for v in run(sample, args)]
        arrays = [np.array(a, order="C") for a in (*args, *seeds)]
        want = interpret(gradient_module(sample.make, args, seeds), arrays)
        got = load(lower(gradient_module(sample.make, args, seeds), Options())).run(arrays)
        for x, y in zip(got, want, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, err_msg=f"{name}, sample {k}")


def distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Samples that differ in more than their element types: in f64, others are alike."""
    kept: dict[Any, Sample] = {}
    for s in samples:
        if any(a.dtype.kind not in "biu" for a in s.args):
            _, op = module_of(s)
            names = frozenset((n, str(p)) for n, p in op.properties.items())
            kept.setdefault((names, *(a.shape for a in s.args)), s)
    return list(kept.values())
