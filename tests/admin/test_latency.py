"""Latencies of the last seconds."""

from __future__ import annotations

import pytest

from albkit.admin.latency import NOTHING, Latencies
from albkit.state.histogram import Histogram


def test_figures_are_of_the_last_ten_seconds() -> None:
    """Unknown at first; then what came since; after ten seconds the old is forgotten."""
    latencies, times = Latencies(10), Histogram()
    times.observe(5.0)

    def read(now: float) -> dict[str, float] | None:
        latencies.begin()
        return latencies.read("a", lambda: times, now)

    assert read(0) is None
    assert read(1) == NOTHING
    for _ in range(99):
        times.observe(0.01)
    times.observe(1.0)
    figures = read(2)
    assert figures is not None
    assert figures["count"] == 100
    assert (figures["p50"], figures["p90"]) == (pytest.approx(0.01, rel=0.1), pytest.approx(0.01, rel=0.1))
    times.observe(1.0)
    assert [(read(now) or {})["count"] for now in range(3, 15)] == [*[101] * 9, 1, 0, 0]
    assert latencies.known("a") == NOTHING
    assert latencies.known("b") is None


def test_many_take_turns() -> None:
    """Each reading computes a few, and all of them after some."""
    latencies = Latencies(3)
    read: list[int] = []

    def times(number: int) -> Histogram:
        read.append(number)
        return Histogram()

    for _ in range(6):
        latencies.begin()
        for number in range(10):
            latencies.read(str(number), lambda number=number: times(number), 0.0)  # type: ignore[misc]
    # In the first reading nobody knows how many there are.
    later = read[10:] if len(read) > 15 else read
    assert set(later) == set(range(10))
    assert len(read) <= 10 + 5 * 3


def test_target_that_has_gone_meanwhile_costs_nothing() -> None:
    """Its group does not know it any more."""
    latencies = Latencies(3)

    def gone() -> Histogram:
        raise LookupError

    latencies.begin()
    assert latencies.read("a", gone, 0.0) is None
    latencies.keep_only(())
    assert latencies.known("a") is None
