"""The configuration of lit, for the files that also run under it: ``lit test/lit``."""

import os
import sys

import lit.formats

config.name = "tfc"  # noqa: F821
config.test_format = lit.formats.ShTest(execute_external=False)  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.test_source_root = os.path.dirname(__file__)  # noqa: F821
config.available_features.add("lit")  # noqa: F821
config.substitutions += [  # noqa: F821
    ("tfc-opt", f"{sys.executable} -m tfc.cli.opt"),
    ("tfc-compile", f"{sys.executable} -m tfc.cli.compile"),
    ("filecheck", f"{sys.executable} -m filecheck"),
]
config.environment["TFC_VERIFY"] = "1"  # noqa: F821
