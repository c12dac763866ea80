"""Where the values of variables are kept: in a session, or in what several sessions are connected to.

    server = tf.train.Server.create_local_server()
    a, b = tf.Session(server.target), tf.Session(server.target)         see each other's writes
    tf.Session.reset(server.target, ["experiment0"])                    forgets what a container holds

A session without a target has a store of its own, which ends with it. Sessions of one target share a
store, in which a variable is found by its name, of whatever graph; `tf.container` tells apart what would have
one name.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from tfc.dialects.tfc.types import Array
from tfc.errors import GraphError, RunError
from tfc.graph.sharing import State

if TYPE_CHECKING:
    from tfc.graph.session import Session

SEPARATOR = "//"
"""Between a container and the name of a variable in it."""


class Store:
    """Values of variables by name, and which of them have been given."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.initialized: set[str] = set()
        self.state = State()
        self.sessions: WeakSet[Session] = WeakSet()

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The array that holds a variable.

        Raises:
            RunError: another session has it in another shape or type.
        """
        if (known := self.arrays.get(name)) is None:
            known = self.arrays.setdefault(name, np.zeros(shape, dtype))
        if known.shape != shape or known.dtype != dtype:
            kept = f"{known.dtype} {list(known.shape)}"
            help = "tf.container keeps variables apart that have one name"
            raise RunError(f"the variable '{name}' is {kept} in another session, not {dtype} {list(shape)}", help=help)
        return known

    def forget(self, containers: Sequence[str] | None = None) -> None:
        """Drop the variables of ``containers``, "" for those in none; of all where left out."""
        for name in list(self.arrays):
            container = name.partition(SEPARATOR)[0] if SEPARATOR in name else ""
            if containers is None or container in containers:
                del self.arrays[name]
                self.initialized.discard(name)


_stores: dict[str, Store] = {}
_lock = threading.Lock()


def store_of(target: str) -> Store:
    """The store of the sessions that are connected to ``target``; a new one for ""."""
    if not target:
        return Store()
    with _lock:
        return _stores.setdefault(target, Store())


def reset(target: str, containers: Sequence[str] | None = None) -> None:
    """Close the sessions of ``target``, and forget its variables: those of ``containers``, or all.

    Raises:
        GraphError: no target: sessions without one share nothing.
    """
    if not target:
        help = "close the session: its variables end with it"
        raise GraphError("tf.Session.reset: sessions without a target have variables of their own", help=help)
    store = store_of(target)
    for session in list(store.sessions):
        session.close()
    store.forget(containers)
