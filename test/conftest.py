"""For all tests: what is compiled is generated, not found from an earlier run."""

from __future__ import annotations

import os

os.environ["TFC_CACHE"] = "0"
