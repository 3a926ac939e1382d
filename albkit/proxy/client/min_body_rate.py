"""The minimum rate at which a client must send a request body, as Kestrel's MinRequestBodyDataRate."""

from __future__ import annotations

from typing import Final

__all__ = ("MinBodyRate",)

_WINDOW: Final = 5.0
"""Seconds over which the rate is averaged, so that a short pause of the network does not count as a slow client."""

_LONGEST_STEP: Final = 2.0
"""The most seconds that count between two sweeps. If the event loop was blocked for longer, it did not read what the client sent."""


class MinBodyRate:
    """Compares, at each sweep, the bytes that have arrived with those that should have.

    Time in which the connection is not read does not count: what the client sends then waits in the kernel.

    Args:
        rate: Bytes per second.
    """

    __slots__ = ("_begin", "_rate", "_request", "_seconds", "_seen")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._seen = 0.0
        """When the last sweep was, if the load balancer waited for the client then; else 0."""
        self._seconds = 0.0
        self._begin = 0
        self._request = 0

    def is_too_slow(self, now: float, request: int, received: int, *, awaited: bool) -> bool:
        """Whether the client was too slow in the window that ends with this sweep.

        Args:
            now: The sweep's time.
            request: The number of the request that is in progress. A window covers one request only.
            received: Bytes of the request that have arrived so far.
            awaited: Whether the load balancer waits for the client to send.
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
