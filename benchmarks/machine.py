"""The machine that results come from: its name, and what it can do at most (`tfc.runtime.rates`)."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from tfc.runtime.rates import Rates, take_rates

SIZES = tuple(2**k for k in (18, 20, 22, 24, 26, 28))
"""Of the sets of bytes whose bandwidth is told."""


def rates_of(threads: int) -> Rates:
    """The machine's rates with this many threads."""
    return take_rates(threads, SIZES, tries=8)


def describe() -> dict[str, Any]:
    """The machine and its software, by name."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
