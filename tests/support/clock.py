"""Time and chance under the test's control."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from albkit.clock import SystemClock


class FakeClock:
    """Starts at odd, large values, so that code that expects time to begin at 0 shows."""

    def __init__(self, chance: Iterable[float] | Callable[[], float] = (0.5,)) -> None:
        self.now = 7_340_033.25
        self.wall = 1_790_000_123.5
        self._chance = chance if callable(chance) else itertools.cycle(chance).__next__
        self._drawn = 0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def random(self) -> float:
        return self._chance()

    def entropy(self, size: int) -> bytes:
        self._drawn += 1
        return bytes((self._drawn + index) % 256 for index in range(size))


def first_in_order() -> SystemClock:
    """The machine's time, and no chance: algorithms begin with their first target."""
    clock = SystemClock()
    clock.random = float
    return clock
