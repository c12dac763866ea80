"""Every pass keeps the meaning of random modules, and is at rest after it has run."""

from __future__ import annotations

import pytest
from graphs import Case, convolutional, modules
from hypothesis import HealthCheck, given, settings
from xdsl.dialects.builtin import ModuleOp

from tfc.dialects import context
from tfc.dialects.tfc.shape import TransposeOp
from tfc.location import UNKNOWN
from tfc.modulefile import module_text, read_module
from tfc.passes.pipeline import PASSES, parse, run_pipeline
from tfc.passes.trials import difference, trials
from tfc.passes.verifying import verify_module

MEANING = (
    "simplify-shapes", "canonicalize", "fold-constants", "cse", "prune", "decompose", "sink-transposes",
    "expand-updates", "order-memory",
)  # fmt: skip
"""Passes from tensors to tensors, by values alone."""

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def check(module: ModuleOp, pipeline: str) -> ModuleOp:
    """Run a pipeline on a copy; the copy computes the same, is valid and has locations."""
    tried = trials(module, seed=1)
    expected = [t.run(module) for t in tried]
    assert expected, "the module can be run"
    copy = module.clone()
    passes = parse(pipeline)
    run_pipeline(copy, passes, verify="each", instruments=[])
    verify_module(copy)
    exact = all(getattr(p, "EXACT", True) for p in passes)
    for x, t in zip(expected, tried, strict=True):
        assert (found := difference(x, t.run(copy), exact)) is None, found
    assert not [o for o in copy.walk() if o.name.startswith("tfc.") and o.location == UNKNOWN]
    return copy


@pytest.mark.parametrize("name", MEANING)
@quick
@given(case=modules())
def test_a_pass_keeps_the_meaning(name: str, case: Case) -> None:
    check(case.module, name)


@pytest.mark.parametrize("name", MEANING)
@quick
@given(case=modules())
def test_a_second_run_changes_nothing(name: str, case: Case) -> None:
    module = case.module
    run_pipeline(module, name, instruments=[])
    once = module_text(module)
    run_pipeline(module, name, instruments=[])
    assert module_text(module) == once


@quick
@given(case=modules(max_operations=25))
def test_all_stages_together(case: Case) -> None:
    check(case.module, "shapes,simplify,layout")


@quick
@given(case=convolutional())
def test_layout_of_convolutional_networks(case: Case) -> None:
    before = _transposes(case.module)
    after = check(case.module, "sink-transposes,fold-constants,canonicalize,cse,prune")
    assert _transposes(after) <= before


@quick
@given(case=modules())
def test_text_of_a_module_reads_back(case: Case) -> None:
    text = module_text(case.module)
    again = read_module(text, "test.mlir", context())
    assert module_text(again) == text


def test_every_pass_of_the_table_is_there() -> None:
    for name in PASSES:
        (pass_,) = parse(name)
        assert pass_.name == name


def _transposes(module: ModuleOp) -> int:
    return sum(isinstance(op, TransposeOp) for op in module.walk())
