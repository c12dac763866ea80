"""For all tests: what is compiled is generated, not found from an earlier run."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache that is switched on."""
    monkeypatch.setenv("TFC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFC_CACHE", "1")
    return tmp_path / "cache"


@pytest.fixture
def gpu() -> Iterator[Any]:
    """An emulated GPU in place of the driver's, and an empty graph."""
    import tfc as tf
    from tfc.emulator.driver import Driver
    from tfc.runtime import cuda

    tf.reset_default_graph()
    driver = Driver()
    cuda.use_driver(driver.table, driver)
    yield driver
    cuda.use_driver(None)
