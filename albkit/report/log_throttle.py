"""Limits the rate of log lines that peers could cause any number of times."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ("LogThrottle",)


class LogThrottle:
    """Lets some lines per second through, and counts the lines suppressed since the last one.

    Args:
        now: A monotonic clock, in seconds.
        lines: How many lines per second.
    """

    __slots__ = ("_kept_back", "_left", "_lines", "_next", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic, *, lines: int = 1) -> None:
        self._now = now
        self._lines = self._left = lines
        self._next = float("-inf")
        self._kept_back = 0

    def may_say(self) -> bool:
        """Whether a line may be written now. If so, write it, and append `also()`."""
        now = self._now()
        if now >= self._next:
            self._next = now + 1.0
            self._left = self._lines
        if not self._left:
            self._kept_back += 1
            return False
        self._left -= 1
        return True

    def take_suppressed(self) -> int:
        """Return how many lines were suppressed before this one."""
        count, self._kept_back = self._kept_back, 0
        return count

    def also(self) -> str:
        """Say how many lines were suppressed before this one; empty if there were none."""
        count = self.take_suppressed()
        return f"; {count} times more since the last such line" if count else ""
