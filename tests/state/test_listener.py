"""What is counted for a listener (`state/listener.py`)."""

from __future__ import annotations

import pytest

from albkit.state.listener import ListenerCounters

CLASSES = ("responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx")


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (0, None),
        (101, None),
        (199, None),
        (200, "responses_2xx"),
        (299, "responses_2xx"),
        (300, "responses_3xx"),
        (399, "responses_3xx"),
        (400, "responses_4xx"),
        (499, "responses_4xx"),
        (500, "responses_5xx"),
        (599, "responses_5xx"),
    ],
)
def test_exchange_counts_with_its_bytes_under_the_class_of_its_status(status: int, counted: str | None) -> None:
    """No status, and one of a tunnel, belong to no class."""
    counters = ListenerCounters()
    counters.exchange_ended(40, status)
    counters.exchange_ended(2, status)
    assert (counters.exchanges, counters.processed_bytes) == (2, 42)
    assert {name: getattr(counters, name) for name in CLASSES} == {name: 2 * (name == counted) for name in CLASSES}
