"""Time and chance, as arguments: nothing else in the house asks the system for either."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

__all__ = ("SYSTEM", "Clock", "SystemClock", "http_date")


class Clock(Protocol):
    """What the house knows of time and chance."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, never set back: for durations and deadlines."""

    def time(self) -> float:
        """Seconds since 1970 (UTC): for dates, cookies and trace ids."""

    def random(self) -> float:
        """A number of [0, 1): for choices that need not be secret."""

    def entropy(self, size: int, /) -> bytes:
        """So many unpredictable bytes."""


class SystemClock:
    """The machine's own clock and chance."""

    __slots__ = ("entropy", "monotonic", "random", "time")

    def __init__(self) -> None:
        self.monotonic: Callable[[], float] = time.monotonic
        self.time: Callable[[], float] = time.time
        self.random: Callable[[], float] = random.random
        self.entropy: Callable[[int], bytes] = os.urandom


SYSTEM: Clock = SystemClock()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4)
def http_date(second: int) -> bytes:
    """A moment as HTTP writes it (RFC 9110 section 5.6.7), whatever the program's locale."""
    year, month, day, hour, minute, seconds, weekday, *_ = time.gmtime(second)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{seconds:02} GMT".encode()
