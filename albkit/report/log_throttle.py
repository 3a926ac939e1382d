"""Limits the rate of log lines that peers could cause any number of times."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ("LogThrottle",)


class LogThrottle:
    """Lets one line per second through, and counts the lines suppressed since the last one.

    Args:
        now: A monotonic clock, in seconds.
    """

    __slots__ = ("_kept_back", "_next", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = float("-inf")
        self._kept_back = 0

    def may_say(self) -> bool:
        """Whether a line may be written now. If so, write it, and append `also()`."""
        now = self._now()
        if now < self._next:
            self._kept_back += 1
            return False
        self._next = now + 1.0
        return True

    def also(self) -> str:
        """Say how many lines were suppressed before this one; empty if there were none."""
        count, self._kept_back = self._kept_back, 0
        return f"; {count} times more since the last such line" if count else ""
