"""Where the values of variables are kept: in a session, or in what several sessions are connected to.

    server = tf.train.Server.create_local_server()
    a, b = tf.Session(server.target), tf.Session(server.target)         see each other's writes
    tf.Session.reset(server.target, ["experiment0"])                    forgets what a container holds

A session without a target has a store of its own, which ends with it. Sessions of one target share a
store, in which a variable is found by its name, of whatever graph; `tf.container` tells apart what would have
one name.

A variable is in the memory in which the first program that uses it has it: the host's (an array of numpy), or that
of a GPU (`tfc.runtime.cuda.DeviceArray`).
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
        self.arrays: dict[str, Any] = {}
        self.bound: set[str] = set()
        """The variables that programs use where they are."""
        self.initialized: set[str] = set()
        self.state = State()
        self.sessions: WeakSet[Session] = WeakSet()

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], memory: str | None = None) -> Any:
        """The array that holds a variable.

        Args:
            memory: where a program wants it: ``GPU:0``, or empty for the host's memory; wherever it is for None.

        Raises:
            RunError: another session has it in another shape or type, or another program in another memory.
        """
        if (known := self.arrays.get(name)) is None:
            known = self.arrays.setdefault(name, _placed(np.zeros(shape, dtype), memory or ""))
        if known.shape != shape or known.dtype != dtype:
            kept = f"{known.dtype} {list(known.shape)}"
            help = "tf.container keeps variables apart that have one name"
            raise RunError(f"the variable '{name}' is {kept} in another session, not {dtype} {list(shape)}", help=help)
        if memory is None:
            return known
        if (there := memory_of(known)) != memory:
            if name in self.bound:
                places = [m or "the host" for m in (there, memory)]
                help = "tf.device around the variable says where it is for all runs"
                raise RunError(f"the variable '{name}' is on {places[0]}, and a run wants it on {places[1]}", help=help)
            known = self.arrays[name] = _placed(np.asarray(known), memory)
        self.bound.add(name)
        return known

    def forget(self, containers: Sequence[str] | None = None) -> None:
        """Drop the variables of ``containers``, "" for those in none; of all where left out."""
        for name in list(self.arrays):
            container = name.partition(SEPARATOR)[0] if SEPARATOR in name else ""
            if containers is None or container in containers:
                del self.arrays[name]
                self.bound.discard(name)
                self.initialized.discard(name)


def memory_of(array: Any) -> str:
    """The memory that an array of a store is in: of a GPU (``GPU:0``), or empty for the host's."""
    return "" if isinstance(array, np.ndarray) else f"GPU:{array.ordinal}"


def _placed(array: Array, memory: str) -> Any:
    if not memory:
        return array
    from tfc.runtime.cuda import DeviceArray

    return DeviceArray.of(array, int(memory.rpartition(":")[2]))


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
