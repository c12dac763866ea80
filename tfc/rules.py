"""The error of an operation that breaks a labelled constraint of its docstring.

It stands apart from `tfc.errors` because it is also one of xDSL's errors: loading a compiled
model needs the other classes, and must not import the compiler.
"""

from __future__ import annotations

from xdsl.utils.exceptions import VerifyException

from tfc.errors import GraphError


class RuleError(GraphError, VerifyException):
    """An operation breaks a labelled constraint of its docstring."""
