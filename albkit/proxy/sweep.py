"""One timer for all deadlines of a load balancer.

Connections only note that bytes moved; now and then the sweep asks each whether it has been still for too long. A deadline so ends
late by up to one round, and costs nothing per request.
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
"""Of the loop before each look, which may have been late as well. By then it has read what had come, on uvloop behind its timers, and on
both whoever waited for that has been woken."""
_log = logging.getLogger("albkit")


class Swept(Protocol):
    """Something with deadlines."""

    def sweep(self, now: float) -> None:
        """End what is overdue. `now` is the clock's monotonic time, in seconds."""


def interval_for(shortest_deadline: float) -> float:
    """Seconds between two rounds: a quarter of the shortest deadline, one at the most, and so many that looking is not all there is.

    A little more than a quarter, so that four rounds are not a hair less than the deadline, and a fifth is waited for.
    """
    return max(_SHORTEST_INTERVAL, min(_LONGEST_INTERVAL, shortest_deadline * 0.255))


class Sweep:
    """Looks at everything with a deadline, round after round, while it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, interval: float) -> None:
        self._loop = loop
        self._clock = clock
        self.interval = interval
        """Seconds between two rounds; a change holds from the round after the next."""
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
        # A loop that stood still has heard of nobody: what came meanwhile is read first, before anyone is taken for silent.
        self._put_off = late > self.interval and not self._put_off
        if not self._put_off:
            self._look_behind(_TURNS)

    def _look_behind(self, turns: int) -> None:
        """Look after so many turns of the loop, unless the sweep was stopped meanwhile."""
        if turns:
            self._loop.call_soon(self._look_behind, turns - 1)
        elif self._timer is not None:
            self.look(self._clock.monotonic())

    def look(self, now: float) -> None:
        """One round."""
        for swept in tuple(self._swept):
            try:
                swept.sweep(now)
            except Exception:  # noqa: BLE001 - one connection in a bad way must not keep all the others from their deadlines
                _log.exception("sweeping %r failed", swept)
