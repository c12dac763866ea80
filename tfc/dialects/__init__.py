"""The dialects of tfc, and those of xDSL that its programs use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tfc.dialects import direct  # noqa: F401  # pyright: ignore[reportUnusedImport] # before any class of ours

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.ir import Dialect


def context() -> Context:
    """A context that knows every dialect of a tfc program, each imported when it is first met."""
    from xdsl.context import Context
    from xdsl.dialects.builtin import Builtin

    ctx = Context()
    ctx.load_dialect(Builtin)
    for name, factory in DIALECTS.items():
        ctx.register_dialect(name, factory)
    return ctx


def _arith() -> Dialect:
    from xdsl.dialects.arith import Arith

    return Arith


def _func() -> Dialect:
    from xdsl.dialects.func import Func

    return Func


def _host() -> Dialect:
    from tfc.dialects.host import Host

    return Host


def _kernel() -> Dialect:
    from tfc.dialects.kernel import Kernel

    return Kernel


def _math() -> Dialect:
    from xdsl.dialects.math import Math

    return Math


def _scf() -> Dialect:
    from xdsl.dialects.scf import Scf

    return Scf


def _tfc() -> Dialect:
    from tfc.dialects.tfc import Tfc

    return Tfc


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "arith": _arith,
    "func": _func,
    "host": _host,
    "kernel": _kernel,
    "math": _math,
    "scf": _scf,
    "tfc": _tfc,
}
