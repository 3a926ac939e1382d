"""Time and chance, as arguments: nothing else in the house asks the system for either."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ("SYSTEM", "Clock", "SystemClock")


class Clock(Protocol):
    """What the house knows of time and chance."""

    monotonic: Callable[[], float]
    """Seconds since an arbitrary moment, never set back: for durations and deadlines."""
    time: Callable[[], float]
    """Seconds since 1970 (UTC): for dates, cookies and trace ids."""
    random: Callable[[], float]
    """A number of [0, 1): for choices that need not be secret."""
    entropy: Callable[[int], bytes]
    """That many unpredictable bytes."""


class SystemClock:
    """The machine's own clock and chance."""

    __slots__ = ("entropy", "monotonic", "random", "time")

    def __init__(self) -> None:
        self.monotonic: Callable[[], float] = time.monotonic
        self.time: Callable[[], float] = time.time
        self.random: Callable[[], float] = random.random
        self.entropy: Callable[[int], bytes] = os.urandom


SYSTEM: Clock = SystemClock()
