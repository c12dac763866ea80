"""The examples in Python do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_read(tmp_path):
    for package in ("sklearn", "tqdm", "matplotlib"):
        pytest.importorskip(package)
    digits = example("digits/train")
    share, losses = digits.train(progress=False)
    assert share >= 0.98
    assert sum(losses[-20:]) < 0.1 * sum(losses[:20])
    digits.plot(losses, tmp_path / "loss.svg")
    assert "<svg" in (tmp_path / "loss.svg").read_text()[:1000]


@pytest.mark.slow
def test_a_text_is_continued():
    pytest.importorskip("tqdm")
    losses, write = example("text/train").train("the quick brown fox jumps over the lazy dog. " * 40, 150, progress=False)
    assert sum(losses[-10:]) / 10 < 0.3
    assert "brown fox jumps" in write("the quick ", 40)
