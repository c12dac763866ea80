"""The README's programs do what the README says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import tfc as tf

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def program(section: str) -> str:
    """The Python of a section."""
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_training_learns_saves_and_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        exec(program("Train"), found)
    assert float(found["value"]) < 0.1  # pyright: ignore
    assert {p.name for p in tmp_path.iterdir()} >= {"train.so", "train.h", "circle.index", "checkpoint"}
    loaded = tf.load("train.so")
    losses = [loaded(found["points"], found["classes"]) for _ in range(20)]
    assert np.asarray(losses).reshape(-1)[-1] < float(found["value"])  # pyright: ignore # it goes on
