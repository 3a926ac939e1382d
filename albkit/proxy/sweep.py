"""One timer for all deadlines of a load balancer.

Connections only note that bytes moved. The sweep asks each of them regularly whether a deadline has passed. So a deadline takes effect
up to one round late, and costs nothing per request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from albkit.clock import Clock

__all__ = ("Sweep", "Swept", "interval_for")

_LONGEST_INTERVAL = 1.0
_SHORTEST_INTERVAL = 0.01
_TURNS = 3
"""Turns of the event loop between the timer and the look at the connections. The timer itself may be late. After these turns, the loop has
read what had arrived (uvloop reads after it has run its timers), and has resumed the tasks that waited for it."""
_log = logging.getLogger("albkit")


class Swept(Protocol):
    """Something with deadlines."""

    def sweep(self, now: float) -> None:
        """End what is overdue.

        Args:
            now: The clock's monotonic time, in seconds."""


def interval_for(shortest_deadline: float) -> float:
    """Seconds between two rounds: about a quarter of the shortest deadline, at least 0.01 and at most 1.

    It is slightly more than a quarter. Four rounds of exactly a quarter could add up to slightly less than the deadline, which would then
    take a fifth round.
    """
    return max(_SHORTEST_INTERVAL, min(_LONGEST_INTERVAL, shortest_deadline * 0.255))


class Sweep:
    """Calls `sweep` of everything that has deadlines, in regular rounds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, interval: float) -> None:
        self._loop = loop
        self._clock = clock
        self.interval = interval
        """Seconds between two rounds. A change takes effect after the next round."""
        self._due = 0.0
        self._put_off = False
        self._swept: set[Swept] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.add = self._swept.add
        self.discard = self._swept.discard

    def start(self) -> None:
        self._schedule()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = self._loop.time() + self.interval
        self._timer = self._loop.call_later(self.interval, self._round)

    def _round(self) -> None:
        late = self._loop.time() - self._due
        self._schedule()
        # If the event loop was blocked, it has not read what arrived meanwhile. Skip one round, so that no peer is taken for idle.
        self._put_off = late > self.interval and not self._put_off
        if not self._put_off:
            self._look_behind(_TURNS)

    def _look_behind(self, turns: int) -> None:
        """Look after so many turns of the event loop, unless the sweep is stopped before."""
        if turns:
            self._loop.call_soon(self._look_behind, turns - 1)
        elif self._timer is not None:
            self.look(self._clock.monotonic())

    def look(self, now: float) -> None:
        """One round."""
        # A copy, because connections join and leave while they are swept.
        for swept in tuple(self._swept):
            try:
                swept.sweep(now)
            except Exception:  # noqa: BLE001 - a bug in one connection must not disable the deadlines of all others
                _log.exception("sweeping %r failed", swept, extra={"albkit_event": "internal_error"})
