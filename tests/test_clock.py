from __future__ import annotations

import time

from albkit.clock import SYSTEM, SystemClock


def test_system_clock_tells_the_machines_time() -> None:
    """Both clocks are the system's own, one never set back and one since 1970."""
    before = time.monotonic(), time.time()
    now = SYSTEM.monotonic(), SYSTEM.time()
    after = time.monotonic(), time.time()
    assert before[0] <= now[0] <= after[0]
    assert before[1] <= now[1] <= after[1]


def test_system_clock_gives_chance() -> None:
    """Numbers lie in [0, 1), and entropy has the length asked for and does not repeat."""
    clock = SystemClock()
    numbers = [clock.random() for _ in range(100)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) > 1
    assert len(clock.entropy(32)) == 32
    assert clock.entropy(32) != clock.entropy(32)
