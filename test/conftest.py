"""For all tests: what is compiled is generated, not found from an earlier run."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

os.environ["TFC_CACHE"] = "0"


@pytest.fixture(scope="session")
def demo() -> ModuleType:
    """``tools/demo.py``: the networks that ship with onnx, with weights."""
    path = Path(__file__).parents[1] / "tools" / "demo.py"
    spec = importlib.util.spec_from_file_location("demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
