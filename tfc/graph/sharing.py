"""What concurrent runs of a session may do to its variables: many read, or one writes.

    with state.reading: ...        with state.writing: ...

So a run sees the variables as no other run is just changing them, and no update is lost. Runs that touch
no variable need neither.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any


class State:
    """A lock that many readers, or one writer hold. A writer that waits lets no more readers in."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.changed = threading.Condition(self.mutex)
        self.readers = self.waiting = 0
        self.reading, self.writing = Reading(self), Writing(self)


class Guard(ABC):
    """One of the two ways to hold a `State`."""

    def __init__(self, state: State) -> None:
        self._state = state

    @abstractmethod
    def __enter__(self) -> None:
        """Wait for those that exclude this."""

    @abstractmethod
    def __exit__(self, *_exception: object) -> None:
        """Let others go on."""

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, guarded."""

        def guarded(*arguments: Any) -> Any:
            with self:
                return call(*arguments)

        return guarded


class Reading(Guard):
    """Nobody writes meanwhile."""

    def __enter__(self) -> None:
        state = self._state
        with state.mutex:  # much faster than by way of the condition
            while state.waiting:
                state.changed.wait()
            state.readers += 1

    def __exit__(self, *_exception: object) -> None:
        state = self._state
        with state.mutex:
            state.readers -= 1
            if not state.readers and state.waiting:
                state.changed.notify_all()


class Writing(Guard):
    """Nobody else reads or writes meanwhile."""

    def __enter__(self) -> None:
        state = self._state
        state.mutex.acquire()
        if not state.readers:
            return
        state.waiting += 1
        try:
            while state.readers:
                state.changed.wait()
        except BaseException:  # interrupted: the others must not wait for it
            state.waiting -= 1
            state.changed.notify_all()
            state.mutex.release()
            raise
        state.waiting -= 1
        state.changed.notify_all()  # whoever waited for this one waits for the mutex now

    def __exit__(self, *_exception: object) -> None:
        self._state.mutex.release()
