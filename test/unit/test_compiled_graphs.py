"""Random modules through the whole compiler give what the interpreter gives."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Case, convolutional, modules
from hypothesis import HealthCheck, given, settings

from tfc.compiler import load, lower
from tfc.options import Options
from tfc.passes.trials import Trial, difference, trials

few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def check(case: Case, options: Options) -> None:
    """Compiled code and the interpreter agree on ordinary inputs."""
    trial: Trial = trials(case.module, seed=1)[0]
    expected = trial.run(case.module)
    program = load(lower(case.module.clone(), options))
    found = program.run(list(trial.inputs.values()))
    actual = dict(zip(expected, map(np.asarray, found), strict=True))
    assert (words := difference(expected, actual, exact=False)) is None, words


@few
@given(case=modules())
def test_modules(case: Case) -> None:
    check(case, Options())


@few
@given(case=convolutional())
def test_convolutional_networks(case: Case) -> None:
    check(case, Options(threads=2))


@pytest.mark.slow
@many
@given(case=modules(max_operations=25))
def test_more_modules(case: Case) -> None:
    check(case, Options())


@pytest.mark.slow
@many
@given(case=convolutional(max_operations=20))
def test_more_convolutional_networks(case: Case) -> None:
    check(case, Options(threads=2))
