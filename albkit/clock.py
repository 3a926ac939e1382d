"""Time and randomness, passed as arguments. No other module asks the system for either, so that tests can control both."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

__all__ = ("SYSTEM", "Clock", "SystemClock", "http_date")


class Clock(Protocol):
    """A source of time and randomness."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; it never goes back. For durations and deadlines."""

    def time(self) -> float:
        """Seconds since 1970 (UTC). For dates, cookies and trace ids."""

    def random(self) -> float:
        """A random number of [0, 1), for choices that need not be secret."""

    def entropy(self, size: int, /) -> bytes:
        """Return `size` unpredictable bytes."""


class SystemClock:
    """The clock and the random generators of the machine."""

    __slots__ = ("entropy", "monotonic", "random", "time")

    def __init__(self) -> None:
        # The functions themselves, not methods that call them: requests ask for the time often.
        self.monotonic: Callable[[], float] = time.monotonic
        self.time: Callable[[], float] = time.time
        self.random: Callable[[], float] = random.random
        self.entropy: Callable[[int], bytes] = os.urandom


SYSTEM: Clock = SystemClock()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4)
def http_date(second: int) -> bytes:
    """Format a moment as an HTTP date (RFC 9110 section 5.6.7). `strftime` would use the program's locale."""
    year, month, day, hour, minute, seconds, weekday, *_ = time.gmtime(second)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{seconds:02} GMT".encode()
