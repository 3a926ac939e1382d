"""Whether a client sends its body more slowly than it may."""

from __future__ import annotations

from typing import Final

__all__ = ("MinBodyRate",)

_WINDOW: Final = 5.0
"""Seconds of being waited for over which the mean is taken: a pause of the network's is no slow client."""


_LONGEST_STEP: Final = 2.0
"""Seconds between two sweeps that count at the most: where the loop stood still for longer, nobody has taken what the client sent."""


class MinBodyRate:
    """Compares, sweep by sweep, what has come with what must come at least.

    Time in which the client is not waited for does not count: what it sends then waits in the kernel.

    Args:
        rate: Bytes per second.
    """

    __slots__ = ("_begin", "_rate", "_request", "_seconds", "_seen")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._seen = 0.0
        """The sweep before, where the client was awaited then; else 0."""
        self._seconds = 0.0
        self._begin = 0
        self._request = 0

    def is_too_slow(self, now: float, request: int, received: int, *, awaited: bool) -> bool:
        """One sweep.

        Args:
            now: The sweep's time.
            request: The number of the request that is going on: each has windows of its own.
            received: Bytes of it that have come so far.
            awaited: Whether the client has to send something now.
        """
        if request != self._request:
            self._request, self._seconds, self._begin = request, 0.0, received
        elif self._seen:
            self._seconds += min(now - self._seen, _LONGEST_STEP)
        self._seen = now if awaited else 0.0
        if self._seconds < _WINDOW:
            return False
        slow = received - self._begin < self._rate * self._seconds
        self._seconds, self._begin = 0.0, received
        return slow and awaited
