"""Keeps tasks that have nothing to do for later use, so that a request costs no task of its own."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from albkit.proxy.sweep import Sweep

__all__ = ("ParkedTasks", "Retirable")


class Retirable(Protocol):
    """Something with a task that waits."""

    def retire(self) -> None:
        """End the task."""


Parked = TypeVar("Parked", bound=Retirable)


class ParkedTasks(Generic[Parked]):
    """The waiting tasks of one listener. Its connections share them: an idle connection keeps none.

    Each round of the sweep retires half of those that wait. So a busy listener always has some, and an idle one soon has none.
    """

    __slots__ = ("_is_closed", "_sweep", "waiting")

    def __init__(self, sweep: Sweep) -> None:
        self.waiting: list[Parked] = []
        """Take the last one, if there is one: `waiting.pop()`."""
        self._is_closed = False
        self._sweep = sweep
        sweep.add(self)

    def park(self, one: Parked) -> bool:
        """Keep a task until it is taken. Returns `False` if it is not needed: it has to end."""
        if self._is_closed:
            return False
        self.waiting.append(one)
        return True

    def discard(self, one: Parked) -> None:
        """Forget a task that has ended, if it was parked."""
        if one in self.waiting:
            self.waiting.remove(one)

    def sweep(self, now: float) -> None:
        """Retire half of the tasks that wait."""
        del now
        if self.waiting:
            self._retire((len(self.waiting) + 1) // 2)

    def close(self) -> None:
        """Retire every task, and keep none from now on."""
        self._is_closed = True
        self._sweep.discard(self)
        self._retire(len(self.waiting))

    def _retire(self, count: int) -> None:
        # The first ones wait longest.
        retired, self.waiting[:count] = self.waiting[:count], []
        for one in retired:
            one.retire()
