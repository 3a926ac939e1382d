"""Lines that peers could cause a million times a second."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ("LogThrottle",)


class LogThrottle:
    """Lets one line a second through, and knows how many it has kept back since the last one.

    Args:
        now: A monotonic clock, in seconds.
    """

    __slots__ = ("_kept_back", "_next", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = float("-inf")
        self._kept_back = 0

    def may_say(self) -> bool:
        """Whether a line may be written now; then it is to be written, with `also`."""
        now = self._now()
        if now < self._next:
            self._kept_back += 1
            return False
        self._next = now + 1.0
        return True

    def also(self) -> str:
        """How many lines were kept back before this one, in words; empty for none."""
        count, self._kept_back = self._kept_back, 0
        return f"; {count} times more since the last such line" if count else ""
