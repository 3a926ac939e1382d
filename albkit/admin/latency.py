"""How long targets took to answer in the last seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from albkit.state.histogram import Histogram

__all__ = ("Latencies",)

_WINDOW = 10.0
"""Seconds that the figures are of, or a little more: the time between two readings is added."""

NOTHING: dict[str, Any] = {"count": 0, "p50": None, "p90": None, "p99": None}


class _Window:
    """What one histogram was in the last seconds."""

    __slots__ = ("_snapshots", "latency")

    def __init__(self) -> None:
        self._snapshots: deque[tuple[float, int, Histogram]] = deque()
        self.latency: dict[str, Any] | None = None

    def read(self, histogram: Histogram, now: float) -> None:
        snapshots = self._snapshots
        count = histogram.count
        # Most targets of most groups are idle: nothing is copied for them.
        current = snapshots[-1][2] if snapshots and snapshots[-1][1] == count else histogram.snapshot()
        # The oldest one is the first that is old enough; those before it are not needed any more.
        while len(snapshots) > 1 and snapshots[1][0] <= now - _WINDOW:
            snapshots.popleft()
        if snapshots:
            oldest = snapshots[0]
            new = current.minus(oldest[2]) if oldest[2] is not current else None
            self.latency = _figures(new) if new is not None and new.count else NOTHING
        snapshots.append((now, count, current))


def _figures(histogram: Histogram) -> dict[str, Any]:
    return {
        "count": histogram.count,
        "p50": _rounded(histogram.p50),
        "p90": _rounded(histogram.p90),
        "p99": _rounded(histogram.p99),
    }


def _rounded(seconds: float | None) -> float | None:
    return round(seconds, 6) if seconds is not None else None


class Latencies:
    """The windows of the load balancer, of its groups, or of its targets.

    Args:
        most: How many windows to compute at each reading, in turns: each takes tens of microseconds. If there are more, the figures of each
            are of the time since its last turn, if that is longer than the window.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: dict[str, _Window] = {}
        self._place = 0
        self._first = 0
        self._total = 0

    def begin(self) -> None:
        """Begin a reading."""
        self._total = max(self._place, 1)
        self._first = (self._first + self._most) % self._total if self._total > self._most else 0
        self._place = 0

    def read(self, identity: str, times: Callable[[], Histogram], now: float) -> dict[str, Any] | None:
        """The figures of one; `None` until it was read twice.

        Args:
            identity: Its id.
            times: Returns all durations so far, which may change later. It is called only if it is the turn of this one.
            now: Seconds of the monotonic clock.
        """
        window = self._windows.get(identity)
        if window is None:
            window = self._windows[identity] = _Window()
        if (self._place - self._first) % self._total < self._most:
            # A target can leave its group between its description and this.
            with suppress(LookupError):
                window.read(times(), now)
        self._place += 1
        return window.latency

    def known(self, identity: str) -> dict[str, Any] | None:
        """The figures of the last reading."""
        window = self._windows.get(identity)
        return window.latency if window is not None else None

    def keep_only(self, present: Collection[str]) -> None:
        """Forget all others."""
        if len(present) < len(self._windows):
            self._windows = {identity: window for identity, window in self._windows.items() if identity in present}
